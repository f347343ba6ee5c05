//! A value as text that every reader of YAML takes for the same.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes a value on one line, as JSON that is YAML, too: what a reader of YAML takes for a line break, a byte-order mark or
/// nothing at all is escaped.
pub fn to_flow(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value);
    out
}

fn node(out: &mut String, value: &Value) {
    match value {
        Value::String(value) => text(out, value),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                node(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                text(out, key);
                out.push_str(": ");
                node(out, value);
            }
            out.push('}');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            ' '..='~' => write!(out, "{c}"),
            // Letters of any language; not the marks and separators among them that YAML reads in ways of its own.
            '\u{a1}'..='\u{1fff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{2070}'..='\u{d7ff}' => {
                write!(out, "{c}")
            }
            '\u{1f300}'..='\u{1faff}' => write!(out, "{c}"),
            c if (c as u32) < 0x1_0000 => write!(out, "\\u{:04x}", c as u32),
            // JSON has no escape for these but a pair that YAML does not know.
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}
