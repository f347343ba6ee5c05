use gotmpl::Value;

use super::{ANY, Args, Entry, Result, size, value};

pub(super) const TABLE: &[Entry] = &[
    ("list", 0, ANY, |args| Ok(Value::List(args.values.into()))),
    ("tuple", 0, ANY, |args| Ok(Value::List(args.values.into()))),
    ("first", 1, 1, first),
    ("mustFirst", 1, 1, first),
    ("last", 1, 1, last),
    ("mustLast", 1, 1, last),
    ("rest", 1, 1, rest),
    ("mustRest", 1, 1, rest),
    ("initial", 1, 1, initial),
    ("mustInitial", 1, 1, initial),
    ("append", 2, 2, append),
    ("mustAppend", 2, 2, append),
    ("push", 2, 2, append),
    ("mustPush", 2, 2, append),
    ("prepend", 2, 2, prepend),
    ("mustPrepend", 2, 2, prepend),
    ("concat", 0, ANY, concat),
    ("reverse", 1, 1, reverse),
    ("mustReverse", 1, 1, reverse),
    ("uniq", 1, 1, unique),
    ("mustUniq", 1, 1, unique),
    ("without", 1, ANY, without),
    ("mustWithout", 1, ANY, without),
    ("has", 2, 2, has),
    ("mustHas", 2, 2, has),
    ("compact", 1, 1, compact),
    ("mustCompact", 1, 1, compact),
    ("slice", 1, ANY, slice),
    ("mustSlice", 1, ANY, slice),
    ("chunk", 2, 2, chunk),
    ("mustChunk", 2, 2, chunk),
];

fn list(items: impl IntoIterator<Item = Value>) -> Result<Value> {
    Ok(Value::List(items.into_iter().collect()))
}

fn first(args: &Args<'_>) -> Result<Value> {
    Ok(args.list(0)?.first().cloned().unwrap_or(Value::Nil))
}

fn last(args: &Args<'_>) -> Result<Value> {
    Ok(args.list(0)?.last().cloned().unwrap_or(Value::Nil))
}

fn rest(args: &Args<'_>) -> Result<Value> {
    list(args.list(0)?.iter().skip(1).cloned())
}

fn initial(args: &Args<'_>) -> Result<Value> {
    let items = args.list(0)?;
    list(items[..items.len().saturating_sub(1)].iter().cloned())
}

fn append(args: &Args<'_>) -> Result<Value> {
    list(args.list(0)?.iter().chain([&args.values[1]]).cloned())
}

fn prepend(args: &Args<'_>) -> Result<Value> {
    list([&args.values[1]].into_iter().chain(args.list(0)?).cloned())
}

fn concat(args: &Args<'_>) -> Result<Value> {
    let mut all = Vec::new();
    for index in 0..args.values.len() {
        all.extend(args.list(index)?.iter().cloned());
    }
    list(all)
}

fn reverse(args: &Args<'_>) -> Result<Value> {
    list(args.list(0)?.iter().rev().cloned())
}

fn unique(args: &Args<'_>) -> Result<Value> {
    let mut found: Vec<Value> = Vec::new();
    for item in args.list(0)? {
        if !found.iter().any(|it| value::equal(it, item)) {
            found.push(item.clone());
        }
    }
    list(found)
}

fn without(args: &Args<'_>) -> Result<Value> {
    list(args.list(0)?.iter().filter(|item| !args.rest(1).iter().any(|it| value::equal(it, item))).cloned())
}

fn has(args: &Args<'_>) -> Result<Value> {
    if args.values[1] == Value::Nil {
        return Ok(Value::Bool(false));
    }
    Ok(Value::Bool(args.list(1)?.iter().any(|it| value::equal(it, &args.values[0]))))
}

fn compact(args: &Args<'_>) -> Result<Value> {
    list(args.list(0)?.iter().filter(|it| !value::is_empty(it)).cloned())
}

fn slice(args: &Args<'_>) -> Result<Value> {
    let items = args.list(0)?;
    let start = if args.values.len() > 1 { args.whole(1)? } else { 0 };
    let end = if args.values.len() > 2 { args.whole(2)? } else { i64::try_from(items.len()).unwrap_or(i64::MAX) };
    match items.get(size(start)..size(end)) {
        Some(part) if start >= 0 && end >= 0 => list(part.iter().cloned()),
        _ => Err(args.error(format!("wants a range within 0 to {}", items.len()))),
    }
}

fn chunk(args: &Args<'_>) -> Result<Value> {
    let size = size(args.whole(0)?);
    if size == 0 {
        return Err(args.error("wants a size of at least 1"));
    }
    list(args.list(1)?.chunks(size).map(|part| Value::List(part.into())))
}
