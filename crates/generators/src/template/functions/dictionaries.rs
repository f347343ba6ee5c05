use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value;

use super::{ANY, Args, Entry, Result, text, value};

pub(super) const TABLE: &[Entry] = &[
    ("dict", 0, ANY, dictionary),
    ("get", 2, 2, |args| Ok(args.map(0)?.get(args.text(1)?).cloned().unwrap_or_else(|| "".into()))),
    ("set", 3, 3, set),
    ("unset", 2, 2, unset),
    ("hasKey", 2, 2, |args| Ok(Value::Bool(args.map(0)?.contains_key(args.text(1)?)))),
    ("pluck", 1, ANY, pluck),
    ("keys", 0, ANY, keys),
    ("values", 1, 1, |args| Ok(Value::List(args.map(0)?.values().cloned().collect()))),
    ("pick", 1, ANY, |args| filtered(args, true)),
    ("omit", 1, ANY, |args| filtered(args, false)),
    ("merge", 1, ANY, |args| merged(args, false)),
    ("mustMerge", 1, ANY, |args| merged(args, false)),
    ("mergeOverwrite", 1, ANY, |args| merged(args, true)),
    ("mustMergeOverwrite", 1, ANY, |args| merged(args, true)),
    ("dig", 3, ANY, dig),
    (super::INSIDE, 3, ANY, change_inside),
];

type Fields = BTreeMap<Arc<str>, Value>;

fn dictionary(args: &Args<'_>) -> Result<Value> {
    Ok(value::map(
        args.values.chunks(2).map(|pair| (text(&pair[0]), pair.get(1).cloned().unwrap_or_else(|| "".into()))),
    ))
}

fn set(args: &Args<'_>) -> Result<Value> {
    let mut fields = args.map(0)?.clone();
    fields.insert(args.text(1)?.into(), args.values[2].clone());
    Ok(fields.into())
}

fn unset(args: &Args<'_>) -> Result<Value> {
    let mut fields = args.map(0)?.clone();
    fields.remove(args.text(1)?);
    Ok(fields.into())
}

fn pluck(args: &Args<'_>) -> Result<Value> {
    let name = args.text(0)?;
    let mut found = Vec::new();
    for index in 1..args.values.len() {
        found.extend(args.map(index)?.get(name).cloned());
    }
    Ok(found.into())
}

fn keys(args: &Args<'_>) -> Result<Value> {
    let mut keys = Vec::new();
    for index in 0..args.values.len() {
        keys.extend(args.map(index)?.keys().map(|key| Value::String(key.clone())));
    }
    Ok(keys.into())
}

fn filtered(args: &Args<'_>, keep: bool) -> Result<Value> {
    let mut fields = args.map(0)?.clone();
    let mut named = Vec::new();
    for index in 1..args.values.len() {
        named.push(args.text(index)?);
    }
    fields.retain(|name, _| named.contains(&name.as_ref()) == keep);
    Ok(fields.into())
}

fn merged(args: &Args<'_>, overwrite: bool) -> Result<Value> {
    let mut fields = args.map(0)?.clone();
    for index in 1..args.values.len() {
        merge_into(&mut fields, args.map(index)?, overwrite);
    }
    Ok(fields.into())
}

fn merge_into(target: &mut Fields, source: &Fields, overwrite: bool) {
    for (name, value) in source {
        match (target.get_mut(name), value) {
            (Some(Value::Map(target)), Value::Map(source)) => merge_into(Arc::make_mut(target), source, overwrite),
            (Some(existing), value) => {
                if overwrite || value::is_empty(existing) {
                    *existing = value.clone();
                }
            }
            (None, value) => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

fn dig(args: &Args<'_>) -> Result<Value> {
    let last = args.values.len() - 1;
    let mut fields = args.map(last)?;
    let mut found = None;
    for index in 0..last - 1 {
        let Some(value) = fields.get(args.text(index)?) else { return Ok(args.values[last - 1].clone()) };
        match value {
            Value::Map(inner) => fields = inner,
            _ if index + 1 < last - 1 => {
                return Err(args.error(format!("finds no dictionary at {:?}", args.text(index)?)));
            }
            _ => {}
        }
        found = Some(value.clone());
    }
    Ok(found.unwrap_or(Value::Nil))
}

/// `(inside) "set" dictionary path …`: the dictionary with what the function makes of the one at the path.
fn change_inside(args: &Args<'_>) -> Result<Value> {
    let name = args.text(0)?;
    let Some(&(name, _, _, function)) = TABLE.iter().find(|(known, ..)| *known == name) else {
        return Err(args.error(format!("knows no function {name:?}")));
    };
    let path: Vec<String> = super::texts(&args.values[2]);
    changed(&args.values[1], &path, &|inner| {
        let values: Vec<Value> = [inner].into_iter().chain(args.rest(3)).cloned().collect();
        function(&Args { name, values: &values })
    })
}

fn changed(value: &Value, path: &[String], change: &dyn Fn(&Value) -> Result<Value>) -> Result<Value> {
    let Some((name, rest)) = path.split_first() else { return change(value) };
    let outer = Args { name: "set", values: std::slice::from_ref(value) };
    let mut fields = outer.map(0)?.clone();
    let inner = fields.get(name.as_str()).cloned().unwrap_or(Value::Nil);
    fields.insert(name.as_str().into(), changed(&inner, rest, change)?);
    Ok(fields.into())
}
