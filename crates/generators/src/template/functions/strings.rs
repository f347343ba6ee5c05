use gotmpl::Value;

use super::{ANY, Args, Entry, Result, size, strings, text, texts, value};

pub(super) const TABLE: &[Entry] = &[
    ("hello", 0, 0, |_| Ok("Hello!".into())),
    ("trim", 1, 1, |args| Ok(args.text(0)?.trim().into())),
    ("upper", 1, 1, |args| Ok(args.text(0)?.to_uppercase().into())),
    ("lower", 1, 1, |args| Ok(args.text(0)?.to_lowercase().into())),
    ("title", 1, 1, |args| Ok(title(args.text(0)?).into())),
    ("untitle", 1, 1, |args| Ok(untitle(args.text(0)?).into())),
    ("repeat", 2, 2, repeat),
    ("substr", 3, 3, substring),
    ("nospace", 1, 1, |args| Ok(args.text(0)?.split_whitespace().collect::<String>().into())),
    ("trunc", 2, 2, truncate),
    ("abbrev", 2, 2, |args| Ok(abbreviate(args.text(1)?, 0, args.whole(0)?).into())),
    ("abbrevboth", 3, 3, |args| Ok(abbreviate_both(args.text(2)?, args.whole(0)?, args.whole(1)?).into())),
    ("initials", 1, 1, |args| {
        Ok(args.text(0)?.split_whitespace().filter_map(|it| it.chars().next()).collect::<String>().into())
    }),
    ("wrap", 2, 2, |args| Ok(wrap(args.text(1)?, args.whole(0)?, "\n", false).into())),
    ("wrapWith", 3, 3, |args| Ok(wrap(args.text(2)?, args.whole(0)?, args.text(1)?, true).into())),
    ("contains", 2, 2, |args| Ok(Value::Bool(args.text(1)?.contains(args.text(0)?)))),
    ("hasPrefix", 2, 2, |args| Ok(Value::Bool(args.text(1)?.starts_with(args.text(0)?)))),
    ("hasSuffix", 2, 2, |args| Ok(Value::Bool(args.text(1)?.ends_with(args.text(0)?)))),
    ("quote", 0, ANY, |args| Ok(present(args).map(|it| value::quote(&text(it))).collect::<Vec<_>>().join(" ").into())),
    ("squote", 0, ANY, |args| {
        Ok(present(args).map(|it| format!("'{}'", text(it))).collect::<Vec<_>>().join(" ").into())
    }),
    ("cat", 0, ANY, |args| Ok(present(args).map(text).collect::<Vec<_>>().join(" ").into())),
    ("indent", 2, 2, |args| Ok(indent(args)?.into())),
    ("nindent", 2, 2, |args| Ok(format!("\n{}", indent(args)?).into())),
    ("replace", 3, 3, |args| Ok(args.text(2)?.replace(args.text(0)?, args.text(1)?).into())),
    ("plural", 3, 3, |args| Ok(args.text(if args.whole(2)? == 1 { 0 } else { 1 })?.into())),
    ("snakecase", 1, 1, |args| Ok(separated(args.text(0)?, '_').into())),
    ("kebabcase", 1, 1, |args| Ok(separated(args.text(0)?, '-').into())),
    ("camelcase", 1, 1, |args| Ok(camel(args.text(0)?).into())),
    ("swapcase", 1, 1, |args| Ok(swap(args.text(0)?).into())),
    ("trimAll", 2, 2, trim_all),
    ("trimall", 2, 2, trim_all),
    ("trimSuffix", 2, 2, |args| Ok(args.text(1)?.strip_suffix(args.text(0)?).unwrap_or(args.text(1)?).into())),
    ("trimPrefix", 2, 2, |args| Ok(args.text(1)?.strip_prefix(args.text(0)?).unwrap_or(args.text(1)?).into())),
    ("split", 2, 2, |args| Ok(numbered(pieces(args.text(1)?, args.text(0)?, ANY)))),
    ("splitn", 3, 3, |args| Ok(numbered(pieces(args.text(2)?, args.text(0)?, size(args.whole(1)?))))),
    ("splitList", 2, 2, |args| Ok(strings(pieces(args.text(1)?, args.text(0)?, ANY)))),
    ("join", 2, 2, |args| Ok(texts(&args.values[1]).join(args.text(0)?).into())),
    ("sortAlpha", 1, 1, sort),
    ("toString", 1, 1, |args| Ok(text(&args.values[0]).into())),
    ("toStrings", 1, 1, |args| Ok(strings(texts(&args.values[0])))),
];

/// How long a repeated text may become.
const LONGEST: usize = 1 << 20;

fn present<'a>(args: &Args<'a>) -> impl Iterator<Item = &'a Value> {
    args.values.iter().filter(|it| **it != Value::Nil)
}

/// Go counts in bytes; half a character at the ends is left out.
fn bytes(text: &str, from: usize, to: usize) -> String {
    String::from_utf8_lossy(text.as_bytes().get(from..to).unwrap_or_default()).trim_matches('\u{fffd}').to_owned()
}

fn repeat(args: &Args<'_>) -> Result<Value> {
    let (times, text) = (args.whole(0)?, args.text(1)?);
    if times < 0 || size(times).saturating_mul(text.len()) > LONGEST {
        return Err(args.error("gives a text that is too long, or less than none"));
    }
    Ok(text.repeat(size(times)).into())
}

fn substring(args: &Args<'_>) -> Result<Value> {
    let (start, end, text) = (args.whole(0)?, args.whole(1)?, args.text(2)?);
    let length = text.len();
    let (from, to) = if start < 0 {
        (0, size(end))
    } else if end < 0 || size(end) > length {
        (size(start), length)
    } else {
        (size(start), size(end))
    };
    if from > to || to > length {
        return Err(args.error(format!("wants a range within 0 to {length}")));
    }
    Ok(bytes(text, from, to).into())
}

fn truncate(args: &Args<'_>) -> Result<Value> {
    let (count, text) = (args.whole(0)?, args.text(1)?);
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(ANY);
    Ok(match (count < 0, wanted < text.len()) {
        (_, false) => text.into(),
        (true, true) => bytes(text, text.len() - wanted, text.len()).into(),
        (false, true) => bytes(text, 0, wanted).into(),
    })
}

fn abbreviate(text: &str, offset: usize, width: i64) -> String {
    let width = size(width);
    if width < 4 || text.len() <= width {
        return text.to_owned();
    }
    let offset = offset.min(text.len().saturating_sub(width - 3));
    if offset <= 4 {
        return bytes(text, 0, width - 3) + "...";
    }
    if width < 7 {
        return text.to_owned();
    }
    if offset + width - 3 < text.len() {
        return format!("...{}", abbreviate(&bytes(text, offset, text.len()), 0, width as i64 - 3));
    }
    format!("...{}", bytes(text, text.len() - (width - 3), text.len()))
}

fn abbreviate_both(text: &str, left: i64, right: i64) -> String {
    if right < 4 || left > 0 && right < 7 { text.to_owned() } else { abbreviate(text, size(left), right) }
}

/// Breaks a text at blanks so that no line is longer than `width` bytes, words that are longer excepted unless they are cut.
fn wrap(text: &str, width: i64, line_break: &str, cut_words: bool) -> String {
    let width = size(width).max(1);
    let mut out = String::new();
    let mut rest = text;
    while rest.len() > width {
        if let Some(trimmed) = rest.strip_prefix(' ') {
            rest = trimmed;
            continue;
        }
        let window = (0..=width + 1)
            .rev()
            .find(|end| rest.is_char_boundary((*end).min(rest.len())))
            .unwrap_or(0)
            .min(rest.len());
        let at = rest[..window]
            .rfind(' ')
            .or_else(|| if cut_words { None } else { rest[window..].find(' ').map(|it| it + window) });
        match at {
            Some(at) => {
                out.push_str(&rest[..at]);
                rest = &rest[at + 1..];
            }
            None if cut_words => {
                let end = (1..=width).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            None => break,
        }
        out.push_str(line_break);
    }
    out + rest
}

fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::new();
    for c in text.chars() {
        let starts = if previous.is_ascii() {
            !(previous.is_ascii_alphanumeric() || previous == '_')
        } else {
            !previous.is_alphanumeric() && previous.is_whitespace()
        };
        if starts {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        previous = c;
    }
    out
}

fn untitle(text: &str) -> String {
    let mut starts = true;
    let mut out = String::new();
    for c in text.chars() {
        if starts && !c.is_whitespace() {
            out.extend(c.to_lowercase())
        } else {
            out.push(c)
        }
        starts = c.is_whitespace();
    }
    out
}

fn indent(args: &Args<'_>) -> Result<String> {
    let (width, text) = (args.whole(0)?, args.text(1)?);
    let lines = text.matches('\n').count() + 1;
    if width < 0 || size(width).saturating_mul(lines) > LONGEST {
        return Err(args.error("wants a smaller number of blanks"));
    }
    let blanks = " ".repeat(size(width));
    Ok(format!("{blanks}{}", text.replace('\n', &format!("\n{blanks}"))))
}

fn trim_all(args: &Args<'_>) -> Result<Value> {
    let cut = args.text(0)?;
    Ok(args.text(1)?.trim_matches(|c| cut.contains(c)).into())
}

/// The pieces between separators; every character with an empty one.
fn pieces<'a>(text: &'a str, separator: &str, limit: usize) -> Vec<&'a str> {
    if separator.is_empty() {
        return text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    }
    text.splitn(limit, separator).collect()
}

fn numbered(pieces: Vec<&str>) -> Value {
    value::map(pieces.into_iter().enumerate().map(|(index, it)| (format!("_{index}"), it.into())))
}

fn sort(args: &Args<'_>) -> Result<Value> {
    let mut sorted = texts(&args.values[0]);
    sorted.sort();
    Ok(strings(sorted))
}

fn is_connector(c: char) -> bool {
    matches!(c, '_' | '-' | ' ') || c.is_whitespace()
}

/// `HTTPServer name` in lower case with a separator between the words.
fn separated(text: &str, separator: char) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let previous = index.checked_sub(1).map(|index| chars[index]);
        let next = chars.get(index + 1);
        if is_connector(c) {
            out.push(separator);
            continue;
        }
        let starts = match previous {
            Some(previous) if is_connector(previous) => false,
            Some(previous) if c.is_uppercase() => {
                previous.is_lowercase()
                    || previous.is_numeric()
                    || previous.is_uppercase() && next.is_some_and(|it| it.is_lowercase())
            }
            _ => false,
        };
        if starts {
            out.push(separator);
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The words joined, each with a capital and without a run of capitals at its beginning. Connectors at the ends stay, and all
/// but the last of several between two words.
fn camel(text: &str) -> String {
    let inner = text.trim_start_matches(is_connector);
    let (leading, inner) = (&text[..text.len() - inner.len()], inner.trim_end_matches(is_connector));
    let trailing = &text[leading.len() + inner.len()..];
    let mut out = leading.to_owned();
    let (mut starts, mut in_capitals) = (true, false);
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if is_connector(c) {
            if chars.peek().is_some_and(|next| is_connector(*next)) {
                out.push(c);
            }
            starts = true;
        } else if starts {
            out.extend(c.to_uppercase());
            (starts, in_capitals) = (false, c.is_uppercase());
        } else {
            in_capitals &= !c.is_lowercase();
            if in_capitals { out.extend(c.to_lowercase()) } else { out.push(c) }
        }
    }
    out + trailing
}

fn swap(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
    }
    out
}
