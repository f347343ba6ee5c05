//! Which folders and files of a repository a generator means.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A pattern as people mean it: from the root of the repository, however that is written.
pub(crate) fn from_root(pattern: &str) -> String {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// Whether a folder matches a pattern. `*` and `?` stay within one part of the path, `[a-z]` and `[^a-z]` are classes, `\`
/// takes the next character as it is; there is no `**`. This is what Go's `path.Match` does.
pub(crate) fn directory_matches(pattern: &str, path: &str) -> Result<bool, String> {
    let wrong = || format!("{pattern:?} is not a valid pattern");
    matches_from(&pattern.chars().collect::<Vec<_>>(), &path.chars().collect::<Vec<_>>()).ok_or_else(wrong)
}

/// `None` for a pattern that is not valid, as far as it had to be read.
fn matches_from(pattern: &[char], text: &[char]) -> Option<bool> {
    let Some((first, rest)) = pattern.split_first() else { return Some(text.is_empty()) };
    match first {
        '*' => {
            let longest = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            for taken in 0..=longest {
                if matches_from(rest, &text[taken..])? {
                    return Some(true);
                }
            }
            Some(false)
        }
        '?' => match text.split_first() {
            Some((c, text)) if *c != '/' => matches_from(rest, text),
            _ => Some(false),
        },
        '[' => {
            let end = rest.iter().skip(1).position(|c| *c == ']')? + 1;
            let (class, rest) = (&rest[..end], &rest[end + 1..]);
            let Some((c, text)) = text.split_first() else { return Some(false) };
            if class_contains(class, *c)? { matches_from(rest, text) } else { Some(false) }
        }
        '\\' => {
            let (literal, rest) = rest.split_first()?;
            if text.first() == Some(literal) { matches_from(rest, &text[1..]) } else { Some(false) }
        }
        literal if text.first() == Some(literal) => matches_from(rest, &text[1..]),
        _ => Some(false),
    }
}

fn class_contains(class: &[char], c: char) -> Option<bool> {
    let (negated, mut class) = match class.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    while let Some((low, rest)) = class.split_first() {
        let (low, rest) = if *low == '\\' { rest.split_first()? } else { (low, rest) };
        let (high, rest) = match rest.split_first() {
            Some(('-', rest)) => rest.split_first()?,
            _ => (low, rest),
        };
        found |= (*low..=*high).contains(&c);
        class = rest;
    }
    Some(found != negated)
}

/// The files that these patterns select. `*` also crosses `/`, as in a `git ls-files` pattern, which is what people's
/// ApplicationSets were written for; a pattern without a wildcard is one file, or everything in one folder.
pub fn file_globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        let trimmed = from_root(pattern);
        let mut forms = vec![trimmed.clone()];
        if !trimmed.contains(['*', '?', '[']) {
            forms.push(format!("{trimmed}/**"));
        }
        for form in forms {
            let glob = GlobBuilder::new(&form).literal_separator(false).backslash_escape(true).build();
            globs.add(glob.map_err(|error| format!("{pattern:?} is not a valid pattern: {}", error.kind()))?);
        }
    }
    globs.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_begin_at_the_root() {
        for pattern in ["apps/*", "/apps/*", "./apps/*", "//apps//*/", ".//apps/./*", "/./apps/*"] {
            assert_eq!(from_root(pattern), "apps/*", "{pattern}");
            assert!(file_globs(&[pattern.to_owned()]).unwrap().is_match("apps/a"), "{pattern}");
        }
        for (pattern, expected) in [(".github/*", ".github/*"), ("/", ""), ("a/../b", "a/../b"), ("[.]/x", "[.]/x")] {
            assert_eq!(from_root(pattern), expected);
        }
    }

    #[test]
    fn directories() {
        for (pattern, path, expected) in [
            ("apps/*", "apps/a", Some(true)),
            ("apps/*", "apps/a/b", Some(false)),
            ("apps/*", "apps", Some(false)),
            ("*", "apps", Some(true)),
            ("*/*", "a/b", Some(true)),
            ("apps/**", "apps/a/b", Some(false)),
            ("envs/*/gateway", "envs/dev/gateway", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?c", "a/c", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("a\\*", "a*", Some(true)),
            ("a*b*c", "aXbYc", Some(true)),
            ("[a", "a", None),
        ] {
            assert_eq!(directory_matches(pattern, path).ok(), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn files() {
        for (pattern, path, expected) in [
            ("config.json", "config.json", true),
            ("config.json", "a/config.json", false),
            ("apps/*/config.json", "apps/a/config.json", true),
            ("apps/*/config.json", "apps/a/b/config.json", true),
            ("**/config.json", "a/b/config.json", true),
            ("apps", "apps/a/b.yaml", true),
            ("*.yaml", "a/b.yaml", true),
            ("a/[bc].yaml", "a/c.yaml", true),
        ] {
            assert_eq!(file_globs(&[pattern.into()]).unwrap().is_match(path), expected, "{pattern} {path}");
        }
    }
}
