//! YAML and JSON text to objects, with the meaning that Kubernetes gives it.
//!
//! Kubernetes reads YAML 1.1 scalars (`yes`, `on`, `0755`), takes `3.0` for the integer 3 and keeps dates as text. So do we,
//! or an object would be compared with something that the API server never stored. Limits make alias bombs cheap to refuse.

use resources::Object;
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

/// How deep a document may nest. The deepest CustomResourceDefinitions have about 60 levels; a level takes about 10 KiB of stack
/// without optimization, and threads have 2 MiB. Results on disk are read by a JSON parser that stops at 128.
const MAX_DEPTH: usize = 100;
/// How large a document may become once its aliases are expanded.
const MAX_NODES: usize = 4_000_000;
const MAX_REPLAYED: usize = 100_000;

/// What a repeated key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// An error: somebody wrote it by hand and means one of the two.
    Refuse,
    /// The later one counts, as it does for those who apply the file with other tools.
    LastWins,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which document of the text, from 1.
    pub(crate) document: usize,
    /// Which line of the whole text, from 1; 0 where the parser does not say.
    pub(crate) line: usize,
    /// What the parser or the check says.
    pub(crate) message: String,
    /// Whether a repeated key was the reason.
    pub(crate) duplicate_key: bool,
}

/// One document of a text, and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    pub(crate) number: usize,
    pub(crate) first_line: usize,
    pub(crate) text: &'a str,
}

/// Cuts a text at its `---` lines. Documents without content are left out, but counted.
pub(crate) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let (mut number, mut start, mut first_line, mut line, mut at) = (0, 0, 1, 0, 0);
    let mut content = false;
    for row in text.split_inclusive('\n') {
        line += 1;
        let separator =
            row.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if let Some(rest) = separator {
            if content {
                number += 1;
                found.push(Document { number, first_line, text: &text[start..at] });
            }
            // `--- {a: b}` is a document on the line of its own separator.
            (start, first_line, content) = (at + 3, line, has_content(rest));
        } else if !content {
            content = has_content(row);
        }
        at += row.len();
    }
    if content {
        found.push(Document { number: number + 1, first_line, text: &text[start..] });
    }
    found
}

/// Whether a line is more than space, comment, directive or end-of-document mark.
fn has_content(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "...")
}

/// Parses one document.
pub(crate) fn parse(document: &Document<'_>, duplicates: Duplicates) -> Result<Value, Fault> {
    let fault = |error: serde_saphyr::Error| {
        let line = error.location().map_or(0, |at| at.line() as usize);
        Fault {
            document: document.number,
            line: if line == 0 { 0 } else { document.first_line + line - 1 },
            duplicate_key: matches!(error, serde_saphyr::Error::DuplicateMappingKey { .. }),
            message: plain_message(&error.to_string()),
        }
    };
    let mut value: Value =
        serde_saphyr::from_str_with_options(document.text, options(duplicates, document.text.len())).map_err(fault)?;
    normalize(&mut value);
    Ok(value)
}

/// Parses a text of one document; an empty one is null.
pub(crate) fn parse_single(text: &str, duplicates: Duplicates) -> Result<Value, Fault> {
    match documents(text).as_slice() {
        [] => Ok(Value::Null),
        [one] => parse(one, duplicates),
        [_, second, ..] => Err(Fault {
            document: second.number,
            line: second.first_line,
            message: "one document is expected here".into(),
            duplicate_key: false,
        }),
    }
}

/// The parser's message without its own position, which counts from the start of the document, and without advice to programmers.
fn plain_message(message: &str) -> String {
    let message = first_lines(message, 3);
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let message = match message.split_once(": ") {
        Some((position, rest)) if position.starts_with("line ") => rest,
        _ => message,
    };
    let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
    match message.rsplit_once(" at line ") {
        Some((rest, position)) if position.len() < 24 => rest.to_owned(),
        _ => message.to_owned(),
    }
}

fn options(duplicates: Duplicates, bytes: usize) -> serde_saphyr::Options {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_total_scalar_bytes: 4 * bytes + 16 * 1024 * 1024,
            max_documents: 1,
        },
        emit_comments: false,
        with_snippet: false,
        legacy_octal_numbers: true,
        duplicate_keys: match duplicates {
            Duplicates::Refuse => DuplicateKeyPolicy::Error,
            Duplicates::LastWins => DuplicateKeyPolicy::LastWins,
        },
    };
    options.alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED };
    options
}

/// Turns whole floating-point numbers into integers, as Go's JSON encoder prints them.
pub(crate) fn normalize(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0) {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(map) => map.values_mut().for_each(normalize),
        _ => {}
    }
}

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
#[path = "yaml_tests.rs"]
mod tests;
