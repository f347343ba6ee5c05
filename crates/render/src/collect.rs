//! Parsed documents to objects.

use resources::Object;
use serde_json::{Map, Value};

/// Appends a parsed document to `objects`: nothing for null, each item of a List, or the object itself.
pub(crate) fn collect(value: Value, objects: &mut Vec<Object>) -> Result<(), String> {
    let mut map = match value {
        Value::Null => return Ok(()),
        Value::Object(map) => map,
        other => return Err(format!("expected a Kubernetes object, found {}", kind_of(&other))),
    };
    if map.is_empty() {
        return Ok(());
    }
    let api_version = text(&map, "apiVersion")?;
    let kind = text(&map, "kind")?;
    if !kind.ends_with("List") || !matches!(map.get("items"), Some(Value::Array(_) | Value::Null)) {
        named(&map, &kind)?;
        objects.push(Object(Value::Object(map)));
        return Ok(());
    }
    let Some(Value::Array(items)) = map.remove("items") else { return Ok(()) };
    for mut item in items {
        // The items of a typed list (`ConfigMapList`) may leave out what the list already says.
        if let (Value::Object(item), Some(item_kind)) = (&mut item, kind.strip_suffix("List").filter(|k| !k.is_empty()))
        {
            item.entry("apiVersion").or_insert_with(|| api_version.clone().into());
            item.entry("kind").or_insert_with(|| item_kind.into());
        }
        collect(item, objects)?;
    }
    Ok(())
}

fn text(map: &Map<String, Value>, field: &str) -> Result<String, String> {
    match map.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None => Err(format!("not a Kubernetes object: `{field}` is missing")),
        Some(other) => Err(format!("`{field}` must be a non-empty string, found {}", kind_of(other))),
    }
}

fn named(map: &Map<String, Value>, kind: &str) -> Result<(), String> {
    let metadata = match map.get("metadata") {
        None | Some(Value::Null) => return Err(format!("{kind} has no `metadata.name`")),
        Some(Value::Object(metadata)) => metadata,
        Some(other) => return Err(format!("`metadata` of {kind} must be a mapping, found {}", kind_of(other))),
    };
    let present = |field: &str| metadata.get(field).is_some_and(|v| v.as_str().is_some_and(|s| !s.is_empty()));
    if present("name") || present("generateName") {
        return Ok(());
    }
    match metadata.get("name") {
        None | Some(Value::Null | Value::String(_)) => Err(format!("{kind} has no `metadata.name`")),
        Some(other) => {
            Err(format!("`metadata.name` of {kind} must be a string, found {}: put it in quotes", kind_of(other)))
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The first lines of a message, at most 2,000 characters.
pub(crate) fn first_lines(message: &str, lines: usize) -> String {
    let mut kept: Vec<&str> = message.trim().lines().map(str::trim_end).filter(|l| !l.is_empty()).take(lines).collect();
    if kept.is_empty() {
        kept.push("no message");
    }
    let mut text = kept.join("\n");
    if text.len() > 2_000 {
        let cut = (0..=2_000).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
