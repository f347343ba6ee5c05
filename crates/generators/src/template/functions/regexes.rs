use gotmpl::Value;
use regex::{NoExpand, Regex};
use resources::go_regex;

use super::{Args, Entry, Result, strings};

pub(super) const TABLE: &[Entry] = &[
    ("regexMatch", 2, 2, |args| {
        Ok(Value::Bool(compiled(args).is_ok_and(|regex| args.text(1).is_ok_and(|text| regex.is_match(text)))))
    }),
    ("mustRegexMatch", 2, 2, |args| Ok(Value::Bool(compiled(args)?.is_match(args.text(1)?)))),
    ("regexFind", 2, 2, find),
    ("mustRegexFind", 2, 2, find),
    ("regexFindAll", 3, 3, find_all),
    ("mustRegexFindAll", 3, 3, find_all),
    ("regexReplaceAll", 3, 3, replace),
    ("mustRegexReplaceAll", 3, 3, replace),
    ("regexReplaceAllLiteral", 3, 3, replace_literally),
    ("mustRegexReplaceAllLiteral", 3, 3, replace_literally),
    ("regexSplit", 3, 3, split),
    ("mustRegexSplit", 3, 3, split),
    ("regexQuoteMeta", 1, 1, |args| Ok(quoted(args.text(0)?).into())),
];

fn compiled(args: &Args<'_>) -> Result<Regex> {
    let pattern = args.text(0)?;
    go_regex(pattern).map_err(|_| args.error(format!("cannot read the regular expression {pattern:?}")))
}

fn find(args: &Args<'_>) -> Result<Value> {
    Ok(compiled(args)?.find(args.text(1)?).map_or("", |found| found.as_str()).into())
}

/// A negative limit is none.
fn limit(args: &Args<'_>, index: usize) -> Result<usize> {
    Ok(usize::try_from(args.whole(index)?).unwrap_or(usize::MAX))
}

fn find_all(args: &Args<'_>) -> Result<Value> {
    let limit = limit(args, 2)?;
    Ok(strings(compiled(args)?.find_iter(args.text(1)?).take(limit).map(|found| found.as_str())))
}

fn replace(args: &Args<'_>) -> Result<Value> {
    Ok(compiled(args)?.replace_all(args.text(1)?, args.text(2)?).into_owned().into())
}

fn replace_literally(args: &Args<'_>) -> Result<Value> {
    Ok(compiled(args)?.replace_all(args.text(1)?, NoExpand(args.text(2)?)).into_owned().into())
}

/// As Go splits: no empty piece before a match of nothing at the beginning.
fn split(args: &Args<'_>) -> Result<Value> {
    let (regex, text, limit) = (compiled(args)?, args.text(1)?, limit(args, 2)?);
    if limit == 0 {
        return Ok(Value::List([].into()));
    }
    let (mut pieces, mut begin, mut end) = (Vec::new(), 0, 0);
    for found in regex.find_iter(text) {
        if pieces.len() + 1 == limit {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            pieces.push(&text[begin..end]);
        }
        begin = found.end();
    }
    if end != text.len() || text.is_empty() {
        pieces.push(&text[begin..]);
    }
    Ok(strings(pieces))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
