//! The older template language: `{{name}}`.

use std::collections::BTreeMap;

/// Replaces `{{name}}`, blanks around the name ignored. What is unknown or not closed stays as it is.
pub(super) fn replace(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        out.push_str(before);
        match values.get(name.trim()) {
            Some(value) => out.push_str(value),
            None => {
                out.push_str("{{");
                out.push_str(name);
                out.push_str("}}");
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_known() {
        let values = [("name", "a"), ("path[0]", "envs"), ("path.basename", "b"), ("metadata.labels.x/y", "c")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (text, expected) in [
            ("plain", "plain"),
            ("{{name}}", "a"),
            ("{{ name }}-{{path[0]}}", "a-envs"),
            ("{{path.basename}}{{metadata.labels.x/y}}", "bc"),
            ("{{unknown}} {{ unknown }}", "{{unknown}} {{ unknown }}"),
            ("{{name", "{{name"),
            ("{{}} {{name}}", "{{}} a"),
            ("a}} {{name}}", "a}} a"),
        ] {
            assert_eq!(replace(text, &values), expected);
        }
    }
}
