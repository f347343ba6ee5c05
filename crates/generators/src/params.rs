//! Sets of parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One set of parameters. For Go templates a tree, for the older templates names with dots in them.
pub(crate) type Params = Map<String, Value>;

/// All values by their path: `metadata.labels.env`, `list.0`.
pub(crate) fn flatten(params: &Params) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (name, value) in params {
        flatten_into(&mut flat, name.clone(), value);
    }
    flat
}

fn flatten_into(flat: &mut BTreeMap<String, String>, name: String, value: &Value) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten_into(flat, format!("{name}.{key}"), value))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| flatten_into(flat, format!("{name}.{index}"), value));
        }
        value => {
            flat.insert(name, text(value));
        }
    }
}

/// A scalar as text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Both sets, the first one winning where they differ; maps are merged.
pub(crate) fn combine(first: &Params, second: &Params) -> Params {
    let mut combined = second.clone();
    overlay(&mut combined, first);
    combined
}

/// Puts `over` on top of `under`; maps are merged, everything else is replaced.
pub(crate) fn overlay(under: &mut Params, over: &Params) {
    for (name, value) in over {
        match (under.get_mut(name), value) {
            (Some(Value::Object(under)), Value::Object(over)) => overlay(under, over),
            _ => {
                under.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A set in a few words, for messages.
pub(crate) fn summary(params: &Params) -> String {
    let scalars = flatten(params).into_iter().filter(|(_, value)| value.len() <= 60);
    let parts: Vec<String> = scalars.take(6).map(|(name, value)| format!("{name}={value}")).collect();
    if parts.is_empty() { "no parameters".into() } else { parts.join(", ") }
}
