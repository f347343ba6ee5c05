//! Values between JSON and the template engine, and their text as Go writes it.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use gotmpl::Value;
use serde_json::Value as Json;

use crate::params::Params;

pub(super) fn from_params(params: &Params) -> Value {
    Value::Map(Arc::new(params.iter().map(|(name, value)| (Arc::from(name.as_str()), from_json(value))).collect()))
}

pub(super) fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(real)) => Value::Float(real),
            (None, None) => Value::String(number.to_string().into()),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(fields) => from_params(fields),
    }
}

pub(super) fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Map(Arc::new(
        entries.into_iter().map(|(name, value)| (Arc::from(name), value)).collect::<BTreeMap<Arc<str>, _>>(),
    ))
}

/// A value as Go's `%v` writes it.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Float(real) => out.push_str(&float(*real)),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(fields) => {
            out.push_str("map[");
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                write(out, value);
            }
            out.push(']');
        }
        other => {
            // Writing to a String does not fail.
            let _ = write!(out, "{other}");
        }
    }
}

/// The shortest decimal that reads back as the same number, in Go's choice between `12.5` and `1.25e+06`.
pub(super) fn float(real: f64) -> String {
    if !real.is_finite() {
        return if real.is_nan() {
            "NaN".into()
        } else if real > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    let scientific = format!("{real:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        // Go counts six digits as the precision of a number that has none.
        Ok(exponent) if real != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => real.to_string(),
    }
}

/// A string in quotes, as Go's `%q` writes it.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || c == '\u{feff}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether sprig counts a value as not given.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_truthy()
}

/// Go's `reflect.DeepEqual`, as far as templates can tell.
pub(super) fn equal(one: &Value, two: &Value) -> bool {
    one == two
}
