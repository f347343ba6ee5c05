//! A validator for the part of OpenAPI 3.0's schemas that GitHub's description uses.
//!
//! Of its own because the dialect is not JSON Schema (`nullable`), because only a handful of keywords is needed, and because
//! it can do what a validator of the standard does not: report fields that the description does not know.

use std::collections::{HashMap, HashSet};

use regex::Regex;
use serde_json::Value;

/// Whether fields that the schema does not name are a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Allowed,
    Reported,
    /// Allowed in this object because another part of the schema may name them, reported further down.
    ReportedBelow,
}

impl Unknown {
    fn below(self) -> Self {
        if self == Self::Allowed { Self::Allowed } else { Self::Reported }
    }

    fn in_part(self) -> Self {
        if self == Self::Allowed { Self::Allowed } else { Self::ReportedBelow }
    }
}

/// Schemas by name, for `$ref`.
#[derive(Debug, Default)]
pub(crate) struct Schemas(pub(crate) HashMap<String, Value>);

const PREFIX: &str = "#/components/schemas/";

/// Name of the schema that a reference means.
pub(crate) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(PREFIX)
}

impl Schemas {
    /// What does not fit, each with the place: `$.head.repo.id: a string where integer is expected`.
    pub(crate) fn check(&self, schema: &Value, value: &Value, unknown: Unknown) -> Vec<String> {
        let mut problems = Vec::new();
        self.value(schema, value, "$", unknown, &mut problems);
        problems
    }

    fn value(&self, schema: &Value, value: &Value, at: &str, unknown: Unknown, problems: &mut Vec<String>) {
        if let Some(name) = reference(schema) {
            match self.0.get(name) {
                Some(schema) => self.value(schema, value, at, unknown, problems),
                None => problems.push(format!("{at}: the description has no schema {name}")),
            }
            return;
        }
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(kind) = schema["type"].as_str()
            && !is_a(kind, value)
        {
            problems.push(format!("{at}: {} where {kind} is expected", name_of(value)));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            problems.push(format!("{at}: {value} is none of the values allowed"));
        }
        self.combined(schema, value, at, unknown, problems);
        match value {
            Value::String(text) => string(schema, text, at, problems),
            Value::Number(number) => {
                range(schema, "minimum", "maximum", number.as_f64().unwrap_or_default(), at, problems)
            }
            Value::Array(items) => {
                range(schema, "minItems", "maxItems", items.len() as f64, at, problems);
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(schema, item, &format!("{at}[{index}]"), unknown.below(), problems);
                    }
                }
            }
            Value::Object(_) => self.object(schema, value, at, unknown, problems),
            _ => {}
        }
    }

    fn combined(&self, schema: &Value, value: &Value, at: &str, unknown: Unknown, problems: &mut Vec<String>) {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.value(part, value, at, unknown.in_part(), problems);
        }
        // GitHub's alternatives overlap, so that "exactly one" would refuse its own answers.
        for keyword in ["oneOf", "anyOf"] {
            let Some(parts) = schema[keyword].as_array() else { continue };
            let closest = parts
                .iter()
                .map(|part| {
                    let mut problems = Vec::new();
                    self.value(part, value, at, unknown.in_part(), &mut problems);
                    problems
                })
                .min_by_key(Vec::len);
            problems.extend(closest.unwrap_or_default());
        }
    }

    fn object(&self, schema: &Value, value: &Value, at: &str, unknown: Unknown, problems: &mut Vec<String>) {
        let Some(fields) = value.as_object() else { return };
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                problems.push(format!("{at}: {required} is missing"));
            }
        }
        let known = if unknown == Unknown::Reported { self.known_fields(schema) } else { None };
        for (name, field) in fields {
            let below = format!("{at}.{name}");
            match schema["properties"].get(name) {
                Some(schema) => self.value(schema, field, &below, unknown.below(), problems),
                None if schema["additionalProperties"].is_object() => {
                    self.value(&schema["additionalProperties"], field, &below, unknown.below(), problems);
                }
                None if schema["additionalProperties"] == false => problems.push(format!("{below}: not allowed")),
                None if known.as_ref().is_some_and(|known| !known.contains(name.as_str())) => {
                    problems.push(format!("{below}: GitHub knows no such field"));
                }
                None => {}
            }
        }
    }

    /// Fields that a schema names, in all its parts; `None` when it takes any.
    fn known_fields<'a>(&'a self, schema: &'a Value) -> Option<HashSet<&'a str>> {
        if let Some(name) = reference(schema) {
            return self.known_fields(self.0.get(name)?);
        }
        if schema["additionalProperties"] == true || schema["additionalProperties"].is_object() {
            return None;
        }
        let mut known: HashSet<&str> = schema["properties"].as_object()?.keys().map(String::as_str).collect();
        for keyword in ["allOf", "oneOf", "anyOf"] {
            for part in schema[keyword].as_array().into_iter().flatten() {
                known.extend(self.known_fields(part)?);
            }
        }
        Some(known)
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn string(schema: &Value, text: &str, at: &str, problems: &mut Vec<String>) {
    range(schema, "minLength", "maxLength", text.chars().count() as f64, at, problems);
    if let Some(pattern) = schema["pattern"].as_str()
        && let Ok(pattern) = Regex::new(pattern)
        && !pattern.is_match(text)
    {
        problems.push(format!("{at}: {text:?} does not match {pattern}"));
    }
    let fits = match schema["format"].as_str() {
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        // GitHub itself answers with an empty text where there is no address.
        Some("uri") => text.is_empty() || url::Url::parse(text).is_ok(),
        _ => true,
    };
    if !fits {
        problems.push(format!("{at}: {text:?} is no {}", schema["format"]));
    }
}

fn range(schema: &Value, least: &str, most: &str, number: f64, at: &str, problems: &mut Vec<String>) {
    if schema[least].as_f64().is_some_and(|limit| number < limit) {
        problems.push(format!("{at}: {number} is less than {least} {}", schema[least]));
    }
    if schema[most].as_f64().is_some_and(|limit| number > limit) {
        problems.push(format!("{at}: {number} is more than {most} {}", schema[most]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schemas() -> Schemas {
        let user = json!({"type": "object", "properties": {"login": {"type": "string"}}, "required": ["login"]});
        Schemas([("user".to_owned(), user)].into())
    }

    #[test]
    fn finds_what_does_not_fit() {
        let schema = json!({
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "state": {"type": "string", "enum": ["open", "closed"]},
                "at": {"type": "string", "format": "date-time", "nullable": true},
                "url": {"type": "string", "format": "uri"},
                "user": {"$ref": "#/components/schemas/user"},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
                "payload": {"oneOf": [{"type": "object", "additionalProperties": true}, {"type": "string"}]},
            },
        });
        for (value, expected) in [
            (json!({"id": 1}), None),
            (json!({}), Some("$: id is missing")),
            (json!({"id": "1"}), Some("$.id: a string where integer is expected")),
            (json!({"id": 0}), Some("$.id: 0 is less than minimum 1")),
            (json!({"id": 1, "state": "merged"}), Some("$.state: \"merged\" is none of the values allowed")),
            (json!({"id": 1, "at": null}), None),
            (json!({"id": 1, "at": "2026-01-01T00:00:00Z"}), None),
            (json!({"id": 1, "at": "yesterday"}), Some("$.at: \"yesterday\" is no \"date-time\"")),
            (json!({"id": 1, "url": null}), Some("$.url: null where string is expected")),
            (json!({"id": 1, "url": "no address"}), Some("$.url: \"no address\" is no \"uri\"")),
            (json!({"id": 1, "user": {}}), Some("$.user: login is missing")),
            (json!({"id": 1, "tags": ["abc", "abcd"]}), Some("$.tags[1]: 4 is more than maxLength 3")),
            (json!({"id": 1, "tags": ["a", "b", "c"]}), Some("$.tags: 3 is more than maxItems 2")),
            (json!({"id": 1, "payload": {"any": 1}}), None),
            (json!({"id": 1, "payload": "text"}), None),
            (json!({"id": 1, "payload": 7}), Some("$.payload: a number where object is expected")),
            (json!({"id": 1, "more": 2}), Some("$.more: GitHub knows no such field")),
        ] {
            let problems = schemas().check(&schema, &value, Unknown::Reported);
            assert_eq!(problems.first().map(String::as_str), expected, "{value}");
        }
        assert!(schemas().check(&schema, &json!({"id": 1, "more": 2}), Unknown::Allowed).is_empty());
    }

    #[test]
    fn parts_of_a_schema_know_each_others_fields() {
        let schema = json!({
            "allOf": [
                {"$ref": "#/components/schemas/user"},
                {"type": "object", "properties": {"id": {"type": "integer"}}},
            ],
            "properties": {},
        });
        let check = |value| schemas().check(&schema, &value, Unknown::Reported);
        assert!(check(json!({"login": "ada", "id": 1})).is_empty());
        assert_eq!(check(json!({"login": "ada", "x": 1})), ["$.x: GitHub knows no such field"]);
        assert_eq!(check(json!({"id": 1})), ["$: login is missing"]);
    }
}
