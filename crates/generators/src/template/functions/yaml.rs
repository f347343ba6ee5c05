use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use gotmpl::Value;
use serde_json::Value as Json;
use yaml::{Budget, Duplicates};

use super::{Args, Entry, Result, value};

pub(super) const TABLE: &[Entry] = &[
    ("toYaml", 1, 1, |args| Ok(write(&args.values[0]).into())),
    ("fromYaml", 1, 1, |args| match read(args)? {
        Json::Null => Ok(BTreeMap::<Arc<str>, Value>::new().into()),
        Json::Object(fields) => Ok(value::from_params(&fields)),
        _ => Err(args.error("reads an object; use fromYamlArray for a list")),
    }),
    ("fromYamlArray", 1, 1, |args| match read(args)? {
        Json::Null => Ok(Value::List([].into())),
        list @ Json::Array(_) => Ok(value::from_json(&list)),
        _ => Err(args.error("reads a list; use fromYaml for an object")),
    }),
];

fn read(args: &Args<'_>) -> Result<Json> {
    parse(args.text(0)?).map_err(|reason| args.error(format!("cannot read the text: {reason}")))
}

/// A YAML document as JSON; nothing at all is `null`. As Go's usual library reads: the last of two equal names counts, 010 is
/// eight, and a text block at the very end has no line break that is not there.
pub(crate) fn parse(text: &str) -> std::result::Result<Json, String> {
    yaml::parse_single(text, Duplicates::LastWins, &mut Budget::default()).map_err(|fault| fault.to_string())
}

/// Where lines of plain text are broken.
const WIDTH: usize = 80;

/// YAML as Go's usual library writes it, without the last line break.
fn write(value: &Value) -> String {
    let mut out = String::new();
    write_node(&mut out, value, 0);
    out
}

fn write_node(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Map(fields) if !fields.is_empty() => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by(|(one, _), (two, _)| natural(one, two));
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    line(out, indent);
                }
                write_key(out, name);
                out.push(':');
                match value {
                    Value::Map(inner) if !inner.is_empty() => {
                        line(out, indent + 2);
                        write_node(out, value, indent + 2);
                    }
                    Value::List(items) if !items.is_empty() => {
                        line(out, indent);
                        write_node(out, value, indent);
                    }
                    value => {
                        out.push(' ');
                        write_node(out, value, indent + 2);
                    }
                }
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    line(out, indent);
                }
                out.push_str("- ");
                write_node(out, item, indent + 2);
            }
        }
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        Value::Nil | Value::Function(_) => out.push_str("null"),
        Value::String(text) => write_text(out, text, indent),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e21 => out.push_str(&number.to_string()),
        scalar => out.push_str(&value::text(scalar)),
    }
}

fn line(out: &mut String, indent: usize) {
    out.push('\n');
    out.push_str(&" ".repeat(indent));
}

/// The order of Go's library: numbers in names by their value, and other characters before letters, except within a number.
fn natural(one: &str, two: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { return a.len().cmp(&b.len()) };
    let after_digit = at > 0 && a[at - 1].is_ascii_digit();
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (one, two) if one || two => return if one == after_digit { Ordering::Less } else { Ordering::Greater },
        _ => {}
    }
    let digits = |chars: &[char]| chars[at..].iter().take_while(|c| c.is_ascii_digit()).collect::<String>();
    let (one, two) = (digits(&a), digits(&b));
    let (small, large) = (one.trim_start_matches('0'), two.trim_start_matches('0'));
    let value = small.len().cmp(&large.len()).then_with(|| small.cmp(large));
    value.then_with(|| one.len().cmp(&two.len())).then_with(|| a[at].cmp(&b[at]))
}

fn write_key(out: &mut String, name: &str) {
    if means_something_else(name) || !single_quotable(name) || name.contains('\n') {
        out.push_str(&double_quoted(name));
    } else if plain_allowed(name) {
        out.push_str(name);
    } else {
        out.push_str(&format!("'{}'", name.replace('\'', "''")));
    }
}

fn write_text(out: &mut String, text: &str, indent: usize) {
    if means_something_else(text) {
        out.push_str(&double_quoted(text));
    } else if text.contains('\n') && literal_allowed(text) {
        write_literal(out, text, indent);
    } else if plain_allowed(text) {
        write_folded(out, text, indent);
    } else if single_quotable(text) {
        out.push('\'');
        write_folded(out, &text.replace('\'', "''"), indent);
        out.push('\'');
    } else {
        out.push_str(&double_quoted(text));
    }
}

fn write_literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = match text.strip_suffix('\n') {
        None => {
            out.push('-');
            text
        }
        Some(body) => {
            if body.is_empty() || body.ends_with('\n') {
                out.push('+');
            }
            body
        }
    };
    for part in body.split('\n') {
        if part.is_empty() {
            out.push('\n')
        } else {
            line(out, indent.max(2))
        }
        out.push_str(part);
    }
}

/// A text in one line, broken at single blanks once it is wider than [`WIDTH`].
fn write_folded(out: &mut String, text: &str, indent: usize) {
    let mut column = out.chars().rev().take_while(|c| *c != '\n').count();
    let chars: Vec<char> = text.chars().collect();
    for (index, &c) in chars.iter().enumerate() {
        let single =
            c == ' ' && index > 0 && chars[index - 1] != ' ' && chars.get(index + 1).is_some_and(|next| *next != ' ');
        if single && column > WIDTH {
            line(out, indent.max(2));
            column = indent.max(2);
        } else {
            out.push(c);
            column += 1;
        }
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if c.is_control() => out.push_str(&format!("\\x{:02X}", c as u32)),
            '\u{feff}' => out.push_str("\\uFEFF"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a text without quotes would be read as something other than that text.
fn means_something_else(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<", "=", ".inf", ".nan", "+.inf",
        "-.inf",
    ];
    let cased = |word: &str| {
        let upper = word.to_uppercase();
        let title: String = word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
        text == word || text == upper || text == title
    };
    WORDS.iter().any(|word| cased(word)) || is_number(text) || is_sexagesimal(text) || is_time(text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
    let radix = |prefix: &str, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| i64::from_str_radix(digits, radix).is_ok())
    };
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned.as_str(), None), |(mantissa, it)| (mantissa, Some(it)));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|it| {
        it.strip_prefix(['+', '-']).unwrap_or(it).len().min(1) == 1 && digits(it.strip_prefix(['+', '-']).unwrap_or(it))
    });
    let decimal = digits(before) && digits(after) && before.len() + after.len() > 0 && exponent_fits;
    decimal || radix("0x", 16) || radix("0b", 2) || radix("0o", 8)
}

/// `1:30`, which older YAML reads as a number.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, _) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let first = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let rest: Vec<&str> = parts.collect();
    first
        && !rest.is_empty()
        && rest.iter().all(|part| part.len() <= 2 && part.parse::<u8>().is_ok_and(|part| part < 60))
}

/// `2026-01-02`, with or without a time.
fn is_time(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or(text);
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3
        && parts[0].len() == 4
        && parts.iter().all(digits)
        && parts[1..].iter().all(|part| (1..=2).contains(&part.len()))
}

fn has_special_characters(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}'))
}

fn literal_allowed(text: &str) -> bool {
    !has_special_characters(text) && !text.ends_with(' ') && !text.contains(" \n")
}

fn single_quotable(text: &str) -> bool {
    !has_special_characters(text) && !text.contains(['\t', '\n'])
}

fn plain_allowed(text: &str) -> bool {
    let blank_after = |at: usize| text[at..].chars().nth(1).is_none_or(|next| next == ' ' || next == '\t');
    let first = match text.chars().next() {
        None => return false,
        Some(c) => c,
    };
    let starts_well = match first {
        '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => false,
        '-' | '?' | ':' => !blank_after(0),
        _ => true,
    };
    let inside_well = text.char_indices().skip(1).all(|(at, c)| match c {
        ':' => !blank_after(at),
        '#' => !text[..at].ends_with([' ', '\t']),
        _ => true,
    });
    let document = text.starts_with("---") || text.starts_with("...");
    starts_well && inside_well && !document && !text.starts_with(' ') && !text.ends_with(' ') && single_quotable(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As sigs.k8s.io/yaml does; `crates/yaml` has the rest of the table.
    #[test]
    fn texts_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("name: a\nmotd: |\n  hello", json!({"name": "a", "motd": "hello"})),
            ("motd: |\n  hello\n", json!({"motd": "hello\n"})),
            ("y: 1\n0x2: 2\n", json!({"true": 1, "2": 2})),
            ("a: 1\na: 010\n", json!({"a": 8})),
            ("# nothing\n", Json::Null),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        }
        assert!(parse("a: [").unwrap_err().contains("line"));
    }
}
