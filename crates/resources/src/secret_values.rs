//! The values of Secrets as a list of texts that must not be told.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{ApplicationSource, Object, is_secret_digest};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What stands in the place of a value.
const MASK: &str = "***";
/// A shorter text is in every other sentence, and keeps nothing secret.
const SHORTEST: usize = 4;
/// A text of this length is found inside of words too.
const LONG: usize = 6;
/// Words that are values of many Secrets and tell nothing.
const WORDS: [&str; 8] = ["true", "false", "null", "none", "http", "https", "default", "Opaque"];

/// Texts that are taken out of whatever is told: log lines, conditions, checks.
#[derive(Clone, Debug, Default)]
pub struct SecretValues {
    /// Longest first, so that a value that contains another is taken out whole.
    values: Vec<String>,
    known: HashSet<String>,
}

impl SecretValues {
    /// The values of the Secrets among these objects.
    pub fn of<'o>(objects: impl IntoIterator<Item = &'o Object>) -> Self {
        let mut values = Self::default();
        for object in objects {
            values.add(object);
        }
        values.sorted()
    }

    /// What somebody gave a source to render with: the parameters and values of charts. Any of it may be a password.
    pub fn of_sources<'s>(sources: impl IntoIterator<Item = &'s ApplicationSource>) -> Self {
        let mut values = Self::default();
        for helm in sources.into_iter().filter_map(|source| source.helm.as_deref()) {
            for parameter in &helm.parameters {
                values.text(&parameter.value);
            }
            for value in helm.values_object.iter().flat_map(|map| map.values()) {
                values.leaves(value);
            }
            // A text that may not be YAML at all, which is why something fails.
            for line in helm.values.lines() {
                let value = line.split_once(": ").map_or(line, |(_, value)| value);
                values.text(value.trim().trim_start_matches("- ").trim_matches(['"', '\'', ' ', '{', '}', '[', ']']));
            }
        }
        values.sorted()
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for value in other.values {
            if self.known.insert(value.clone()) {
                self.values.push(value);
            }
        }
        self.sorted()
    }

    /// Without those that are names anyway: of an object, a namespace, a cluster.
    #[must_use]
    pub fn except<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: HashSet<&str> = names.into_iter().collect();
        self.values.retain(|value| !names.contains(value.as_str()));
        self
    }

    /// Whether there is nothing to take out.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A text without the values.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = Cow::Owned(without(&text, value));
            }
        }
        text
    }

    fn add(&mut self, object: &Object) {
        if !object.is_secret() {
            return;
        }
        for field in ["data", "stringData"] {
            if let Some(value) = object.0.get(field) {
                self.leaves(value);
            }
        }
        if let Some(text) = object.annotation(LAST_APPLIED) {
            match serde_json::from_str(text) {
                Ok(applied) => self.add(&Object(without_annotation(applied))),
                Err(_) => self.text(text),
            }
        }
    }

    fn leaves(&mut self, value: &Value) {
        match value {
            Value::Object(map) => map.values().for_each(|value| self.leaves(value)),
            Value::Array(items) => items.iter().for_each(|item| self.leaves(item)),
            Value::String(text) => self.text(text),
            Value::Number(number) => self.text(&number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A value as it is written, as what it decodes to, and as others quote it.
    fn text(&mut self, text: &str) {
        if is_secret_digest(text) {
            return;
        }
        self.one(text);
        let decoded = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        for text in decoded.as_deref().into_iter().chain([text]) {
            self.one(text);
            self.one(&STANDARD.encode(text));
            // A file is quoted line by line.
            text.lines().filter(|line| line.trim().len() >= LONG).for_each(|line| self.one(line.trim()));
            let quoted = Value::from(text).to_string();
            self.one(&quoted[1..quoted.len() - 1]);
        }
    }

    fn one(&mut self, text: &str) {
        let text = text.trim();
        if text.chars().count() >= SHORTEST && !WORDS.contains(&text) && self.known.insert(text.to_owned()) {
            self.values.push(text.to_owned());
        }
    }

    fn sorted(mut self) -> Self {
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self
    }
}

/// The annotation is not in itself, whatever somebody wrote there.
fn without_annotation(mut object: Value) -> Value {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    object
}

/// Short values are taken out where they stand alone, or no sentence could be read any more.
fn without(text: &str, value: &str) -> String {
    if value.chars().count() >= LONG {
        return text.replace(value, MASK);
    }
    let is_word = |c: char| c.is_alphanumeric();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        let whole = out.chars().chain(before.chars()).next_back().is_none_or(|c| !is_word(c))
            && after.chars().next().is_none_or(|c| !is_word(c));
        out.push_str(before);
        out.push_str(if whole { MASK } else { value });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(more: Value) -> Object {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Object(object)
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let applied = json!({"kind": "Secret", "apiVersion": "v1", "stringData": {"a": "applied-value"}}).to_string();
        for (fields, texts) in [
            (json!({"stringData": {"a": "hunter2hunter2"}}), vec!["got &{hunter2hunter2}", "aHVudGVyMmh1bnRlcjI="]),
            (json!({"data": {"a": "aHVudGVyMmh1bnRlcjI="}}), vec!["hunter2hunter2", "aHVudGVyMmh1bnRlcjI="]),
            (json!({"data": {"a": "not base64!"}}), vec!["not base64!"]),
            (json!({"stringData": "all-of-it"}), vec!["got &{all-of-it}"]),
            (
                json!({"stringData": {"a": {"b": "in-a-map", "c": ["in-a-list"]}}}),
                vec!["map[b:in-a-map c:[in-a-list]]"],
            ),
            (json!({"stringData": {"a": 123456}}), vec!["Value:123456"]),
            (
                json!({"stringData": {"a": "say \"yes\"\nto all of them"}}),
                vec![r#"say \"yes\"\nto all of them"#, "to all of them"],
            ),
            (json!({"metadata": {"annotations": {LAST_APPLIED: applied}}}), vec!["applied-value"]),
            (json!({"metadata": {"annotations": {LAST_APPLIED: "no json at all"}}}), vec!["no json at all"]),
            (json!({"stringData": {"pin": "5432"}}), vec!["port 5432", "5432"]),
        ] {
            let values = SecretValues::of([&secret(fields.clone())]);
            for text in texts {
                let masked = values.mask(text);
                let shown = text.split(['{', '}', ':', ' ', '[', ']']).filter(|part| part.len() > 6);
                assert!(masked.contains("***"), "{text} of {fields} is told");
                for part in shown.filter(|part| fields.to_string().contains(part)) {
                    assert!(!masked.contains(part), "{masked} tells {part}");
                }
            }
        }
    }

    #[test]
    fn sentences_stay_readable() {
        let values = SecretValues::of([
            &secret(json!({"stringData": {"a": "prod", "b": "true", "c": "abc", "user": "gateway", "d": "deploy"}})),
            &Object(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "plain-text"}})),
        ]);
        let values = values.except(["gateway"]);
        for (text, want) in [
            (
                "apps/Deployment dev/gateway: Force=true of abc in production",
                "apps/Deployment dev/gateway: Force=true of abc in production",
            ),
            ("no prod, and prod", "no ***, and ***"),
            ("plain-text", "plain-text"),
        ] {
            assert_eq!(values.mask(text), want);
        }
        assert!(SecretValues::default().is_empty() && !values.is_empty());
    }

    #[test]
    fn what_a_chart_is_given() {
        let source: ApplicationSource = serde_json::from_value(json!({"repoURL": "https://example.com/a", "helm": {
            "parameters": [{"name": "password", "value": "of-a-parameter"}],
            "valuesObject": {"db": {"password": "of-an-object"}},
            "values": "db:\n  password: \"of-a-text\"\n",
        }}))
        .unwrap();
        let values = SecretValues::of_sources([&source])
            .and(SecretValues::of([&secret(json!({"stringData": {"a": "of-a-secret"}}))]));
        let text = values.mask("bad of-a-parameter, of-an-object, of-a-text, of-a-secret").into_owned();
        assert_eq!(text, "bad ***, ***, ***, ***");
    }
}
