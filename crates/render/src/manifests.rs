//! Manifests as a text, from a file or a pipe, outside of any commit.

use resources::Object;
use serde_json::Value;
use yaml::{Budget, Duplicates, Fault};

use crate::collect::collect;

/// Why a text cannot be read as manifests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}{}: {message}", at_line(*.line))]
pub struct Unreadable {
    /// Which document of the text, from 1.
    pub document: usize,
    /// Which line of the text, from 1; 0 where it is not known.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self { document: fault.document, line: fault.line, message: fault.message }
    }
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}

/// The objects of a text: any number of documents in YAML, or in JSON one after the other. Lists are taken apart.
pub fn objects(text: &str) -> Result<Vec<Object>, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with('{') {
        return from_yaml(text);
    }
    // A mapping in YAML's flow style begins like JSON.
    from_json(text).or_else(|error| from_yaml(text).map_err(|_| error))
}

fn from_yaml(text: &str) -> Result<Vec<Object>, Unreadable> {
    let (mut objects, mut budget) = (Vec::new(), Budget::default());
    for document in yaml::documents(text) {
        let value = yaml::parse(&document, Duplicates::Refuse, &mut budget)?;
        let wrong = |message| Unreadable { document: document.number, line: 0, message };
        collect(value, &mut objects).map_err(wrong)?;
    }
    Ok(objects)
}

fn from_json(text: &str) -> Result<Vec<Object>, Unreadable> {
    let mut objects = Vec::new();
    for (index, value) in serde_json::Deserializer::from_str(text).into_iter::<Value>().enumerate() {
        let document = index + 1;
        let mut value =
            value.map_err(|error| Unreadable { document, line: error.line(), message: error.to_string() })?;
        yaml::normalize(&mut value);
        collect(value, &mut objects).map_err(|message| Unreadable { document, line: 0, message })?;
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<String, String> {
        let found = objects(text).map_err(|error| error.to_string())?;
        Ok(found.iter().map(|object| object.key().to_string()).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn texts_of_any_kind() {
        let object =
            |name: &str| format!(r#"{{"apiVersion": "v1", "kind": "Secret", "metadata": {{"name": "{name}"}}}}"#);
        for (text, wanted) in [
            (String::new(), ""),
            ("# nothing\n---\n".into(), ""),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b, namespace: dev}\n".into(), "Secret a, Secret dev/b"),
            (format!("{}\n{}", object("a"), object("b")), "Secret a, Secret b"),
            (format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {}]}}"#, object("a"), object("b")), "Secret a, Secret b"),
            ("{apiVersion: v1, kind: Secret, metadata: {name: a}}".into(), "Secret a"),
            ("apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: a}}]".into(), "apps/Deployment a"),
        ] {
            assert_eq!(names(&text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, wanted) in [
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\na: b: c\n", "document 2, line 5"),
            (
                "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\nkind: Secret\n",
                "document 2: not a Kubernetes object: `apiVersion` is missing",
            ),
            (r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}} {"kind""#, "document 2, line 1"),
            ("- 1\n", "document 1: expected a Kubernetes object, found a list"),
        ] {
            let error = names(text).unwrap_err();
            assert!(error.contains(wanted), "{error:?} has no {wanted:?}");
        }
    }
}
