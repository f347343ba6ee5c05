//! Regular expressions as Go reads them, which is what ApplicationSets are written for.

use regex::Regex;

/// Compiles an expression in Go's syntax. `\d`, `\w`, `\s` and `\b` mean ASCII there, `[` in a class is a character like any other,
/// and `\Q…\E` is taken as it is.
///
/// # Errors
/// What is wrong with it, in a few words.
///
/// ```
/// let word = resources::go_regex(r"[^\w-]").unwrap();
/// assert_eq!(word.replace_all("grüße", "-"), "gr--e");
/// assert!(resources::go_regex("[").is_err());
/// ```
pub fn go_regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(&translated(pattern)).map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\x0c\r ";

fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escaped(&mut out, after, class),
            '[' if !class => {
                class = true;
                opened(&mut out, after)
            }
            '[' => match posix(after) {
                Some(length) => {
                    out.push_str(&rest[..=length]);
                    &after[length..]
                }
                None => {
                    out.push_str(r"\[");
                    after
                }
            },
            ']' if class => {
                class = false;
                out.push(c);
                after
            }
            // In a class these would mean something when doubled.
            '&' | '~' if class => {
                out.extend(['\\', c]);
                after
            }
            '-' if class && after.starts_with('-') => {
                out.push_str(r"-\-");
                &after[1..]
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What follows a backslash; returns the rest.
fn escaped<'a>(out: &mut String, rest: &'a str, class: bool) -> &'a str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let set = match c.to_ascii_lowercase() {
        'd' => Some(DIGIT),
        'w' => Some(WORD),
        's' => Some(SPACE),
        _ => None,
    };
    match (c, set) {
        (_, Some(set)) if c.is_ascii_uppercase() => out.push_str(&format!("[^{set}]")),
        (_, Some(set)) if class => out.push_str(set),
        (_, Some(set)) => out.push_str(&format!("[{set}]")),
        ('b', None) if !class => out.push_str(r"(?-u:\b)"),
        ('Q', None) if !class => {
            let (literal, after) = after.split_once(r"\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(literal));
            return after;
        }
        (_, None) => out.extend(['\\', c]),
    }
    after
}

/// The beginning of a class: a `]` at its first place is a character. Returns the rest.
fn opened<'a>(out: &mut String, rest: &'a str) -> &'a str {
    out.push('[');
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = after;
    }
    rest
}

/// The length of `:alpha:]` at the beginning.
fn posix(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix(':')?;
    let end = name.find(":]")?;
    name[..end].bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'^').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as Go's `regexp` answers.
    #[test]
    fn means_what_go_means() {
        for (pattern, text, expected) in [
            (r"[^\w-]", "grüße", "gr##e"),
            (r"\d", "1٣", "#٣"),
            (r"\D", "1٣", "1#"),
            (r"\s", "a\u{a0}b c", "a\u{a0}b#c"),
            (r"\S+", "a\u{a0}b c", "# #"),
            (r"[\s_]", "a_b c", "a#b#c"),
            (r"[^\D]", "a1", "a#"),
            (r"\bü", "ü", "ü"),
            (r"\bu", "üu", "ü#"),
            (r"[^[]", "a[", "#["),
            (r"[[:alpha:]_]", "a_1ä", "##1ä"),
            (r"[]x]", "]x[", "##["),
            (r"[^]]", "a]", "#]"),
            (r"[a&&b]", "&ab", "###"),
            (r"[+--]", "+,-.", "###."),
            (r"\Qa.b\Ec", "a.bc axbc", "# axbc"),
            (r"\Qa.b", "a.b", "#"),
            (r"(?i)feature/\w+", "Feature/ab", "#"),
            (r"\pL", "ü1", "#1"),
            (r"\[x\]", "[x]", "#"),
            (r"a\/b", "a/b", "#"),
        ] {
            assert_eq!(go_regex(pattern).unwrap().replace_all(text, "#"), expected, "{pattern} {text}");
        }
        for wrong in ["[", "(", r"\", "(?=a)"] {
            assert!(go_regex(wrong).is_err(), "{wrong}");
        }
    }
}
