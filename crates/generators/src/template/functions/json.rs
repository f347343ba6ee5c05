use gotmpl::Value;

use super::{Args, Entry, Result, value};

pub(super) const TABLE: &[Entry] = &[
    ("toJson", 1, 1, |args| Ok(write(&args.values[0], true).into())),
    ("mustToJson", 1, 1, |args| Ok(write(&args.values[0], true).into())),
    ("toRawJson", 1, 1, |args| Ok(write(&args.values[0], false).into())),
    ("mustToRawJson", 1, 1, |args| Ok(write(&args.values[0], false).into())),
    ("toPrettyJson", 1, 1, pretty),
    ("mustToPrettyJson", 1, 1, pretty),
    ("fromJson", 1, 1, |args| Ok(serde_json::from_str(args.text(0)?).map_or(Value::Nil, |it| value::from_json(&it)))),
    ("mustFromJson", 1, 1, |args| {
        let parsed = serde_json::from_str(args.text(0)?)
            .map_err(|error| args.error(format!("cannot read the text: {error}")))?;
        Ok(value::from_json(&parsed))
    }),
];

fn pretty(args: &Args<'_>) -> Result<Value> {
    let mut out = String::new();
    write_into(&mut out, &args.values[0], true, Some(0));
    Ok(out.into())
}

/// JSON as Go writes it; `escape` makes it safe inside HTML.
fn write(value: &Value, escape: bool) -> String {
    let mut out = String::new();
    write_into(&mut out, value, escape, None);
    out
}

fn write_into(out: &mut String, value: &Value, escape: bool, depth: Option<usize>) {
    match value {
        Value::Nil | Value::Function(_) => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => out.push_str(&super::text(value)),
        Value::Float(number) => out.push_str(&self::number(*number)),
        Value::String(text) => out.push_str(&string(text, escape)),
        Value::List(items) => {
            enclosed(out, ('[', ']'), items.iter(), depth, |out, item, depth| write_into(out, item, escape, depth))
        }
        Value::Map(fields) => enclosed(out, ('{', '}'), fields.iter(), depth, |out, (name, value), depth| {
            out.push_str(&string(name, escape));
            out.push_str(if depth.is_some() { ": " } else { ":" });
            write_into(out, value, escape, depth);
        }),
    }
}

fn enclosed<T>(
    out: &mut String,
    (open, close): (char, char),
    items: impl ExactSizeIterator<Item = T>,
    depth: Option<usize>,
    mut write: impl FnMut(&mut String, T, Option<usize>),
) {
    let line = |out: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
    };
    let empty = items.len() == 0;
    let inner = depth.map(|depth| depth + 1);
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(out, inner);
        write(out, item, inner);
    }
    if !empty {
        line(out, depth);
    }
    out.push(close);
}

fn number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        value::float(number).replace("e-0", "e-")
    } else {
        number.to_string()
    }
}

fn string(text: &str, escape: bool) -> String {
    let quoted =
        serde_json::Value::from(text).to_string().replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    if escape { quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") } else { quoted }
}
