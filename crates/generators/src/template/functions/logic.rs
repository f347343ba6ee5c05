use gotmpl::Value;

use super::{ANY, Entry, value};

pub(super) const TABLE: &[Entry] = &[
    ("default", 1, 2, |args| {
        let given = args.values.get(1).filter(|given| !value::is_empty(given));
        Ok(given.unwrap_or(&args.values[0]).clone())
    }),
    ("empty", 1, 1, |args| Ok(Value::Bool(value::is_empty(&args.values[0])))),
    ("coalesce", 0, ANY, |args| Ok(args.values.iter().find(|it| !value::is_empty(it)).cloned().unwrap_or(Value::Nil))),
    ("all", 0, ANY, |args| Ok(Value::Bool(!args.values.iter().any(value::is_empty)))),
    ("any", 0, ANY, |args| Ok(Value::Bool(!args.values.iter().all(value::is_empty)))),
    ("ternary", 3, 3, |args| Ok(args.values[if args.yes(2)? { 0 } else { 1 }].clone())),
    ("fail", 1, 1, |args| Err(gotmpl::TemplateError::Exec(args.text(0)?.to_owned()))),
    ("deepEqual", 2, 2, |args| Ok(Value::Bool(value::equal(&args.values[0], &args.values[1])))),
    ("deepCopy", 1, 1, |args| Ok(args.values[0].clone())),
    ("mustDeepCopy", 1, 1, |args| Ok(args.values[0].clone())),
    ("typeOf", 1, 1, |args| Ok(type_of(&args.values[0]).into())),
    ("typeIs", 2, 2, |args| Ok(Value::Bool(args.text(0)? == type_of(&args.values[1])))),
    ("typeIsLike", 2, 2, |args| Ok(Value::Bool(args.text(0)?.trim_start_matches('*') == type_of(&args.values[1])))),
    ("kindOf", 1, 1, |args| Ok(kind_of(&args.values[0]).into())),
    ("kindIs", 2, 2, |args| Ok(Value::Bool(args.text(0)? == kind_of(&args.values[1])))),
];

/// The name of the type in Go.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        other => other.type_name(),
    }
}

/// The name of the kind in Go.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        other => other.type_name(),
    }
}
