use gotmpl::Value;

use super::{Args, Entry, Result, value};

pub(super) const TABLE: &[Entry] = &[
    ("base", 1, 1, |args| Ok(base(args.text(0)?).into())),
    ("dir", 1, 1, |args| Ok(dir(args.text(0)?).into())),
    ("ext", 1, 1, |args| Ok(ext(args.text(0)?).into())),
    ("clean", 1, 1, |args| Ok(clean(args.text(0)?).into())),
    ("isAbs", 1, 1, |args| Ok(Value::Bool(args.text(0)?.starts_with('/')))),
    ("osBase", 1, 1, |args| Ok(base(args.text(0)?).into())),
    ("osDir", 1, 1, |args| Ok(dir(args.text(0)?).into())),
    ("osExt", 1, 1, |args| Ok(ext(args.text(0)?).into())),
    ("osClean", 1, 1, |args| Ok(clean(args.text(0)?).into())),
    ("osIsAbs", 1, 1, |args| Ok(Value::Bool(args.text(0)?.starts_with('/')))),
    ("urlParse", 1, 1, |args| Ok(parse_url(args.text(0)?))),
    ("urlJoin", 1, 1, join_url),
];

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// All but the last part of a path.
pub(crate) fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The shortest way to write a path.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

fn parse_url(url: &str) -> Value {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let is_scheme = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = rest.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", rest));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path, opaque) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (&rest[..end], &rest[end..], "")
        }
        None if !scheme.is_empty() && !rest.starts_with('/') => ("", "", rest),
        None => ("", rest, ""),
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hostname = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let decode = |text: &str| super::encodings::percent_decode(text);
    let parts = [
        ("scheme", scheme.to_ascii_lowercase()),
        ("host", host.into()),
        ("hostname", hostname.into()),
        ("path", decode(path)),
        ("query", query.into()),
        ("opaque", opaque.into()),
        ("fragment", decode(fragment)),
        ("userinfo", user.into()),
    ];
    value::map(parts.map(|(name, part)| (name.to_owned(), part.into())))
}

fn join_url(args: &Args<'_>) -> Result<Value> {
    let fields = args.map(0)?;
    let part = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let (scheme, host, user, path) = (part("scheme"), part("host"), part("userinfo"), part("path"));
    let mut url = String::new();
    if !scheme.is_empty() {
        url += &format!("{scheme}:");
    }
    let opaque = part("opaque");
    if opaque.is_empty() {
        if !host.is_empty() || !user.is_empty() || !scheme.is_empty() && path.starts_with("//") {
            url += "//";
            if !user.is_empty() {
                url += &format!("{user}@");
            }
            url += &host;
        }
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            url.push('/');
        }
        url += &super::encodings::percent_encode(&path);
    } else {
        url += &opaque;
    }
    for (mark, text) in [('?', part("query")), ('#', super::encodings::percent_encode(&part("fragment")))] {
        if !text.is_empty() {
            url.push(mark);
            url += &text;
        }
    }
    Ok(url.into())
}
