//! Version constraints, with the meaning that Argo CD's users know (that of Masterminds/semver).

use std::cmp::Ordering;
use std::fmt;

use semver::{BuildMetadata, Prerelease, Version};

/// A constraint over version numbers: `1.2.*`, `~1.2`, `^1`, `>=1.0.0 <2`, `1.0 - 2.0`, `1.x || 3.x`.
///
/// Parts next to each other (or with a comma between) must all hold, parts with `||` between are alternatives. A leading
/// `v` is allowed everywhere. A pre-release is considered only by an alternative that names a pre-release itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionRange {
    text: String,
    alternatives: Vec<Vec<Part>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Tilde,
    Caret,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Part {
    operator: Operator,
    version: Version,
    /// How many of major, minor and patch were given; the others are wildcards.
    given: u8,
}

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl VersionRange {
    /// Reads a constraint; the error is a sentence.
    ///
    /// # Errors
    /// What cannot be read, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let alternatives: Result<Vec<_>, String> = text.split("||").map(alternative).collect();
        Ok(Self { text: text.trim().to_owned(), alternatives: alternatives? })
    }

    /// Whether a version satisfies the constraint.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|parts| {
            let considered = version.pre.is_empty() || parts.iter().any(|part| !part.version.pre.is_empty());
            considered && parts.iter().all(|part| part.holds(version))
        })
    }

    /// The highest version among the names of tags that satisfies the constraint. Names that are no versions are passed
    /// over. Of several names of the same version (`1.2.0`, `v1.2.0`) the last in alphabetical order is taken, so that
    /// the answer does not depend on the order in which a forge lists them.
    #[must_use]
    pub fn best<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let versions = tags.into_iter().filter_map(|tag| Some((version(tag)?, tag)));
        let fitting = versions.filter(|(version, _)| self.contains(version));
        fitting.max_by(|(a, tag_a), (b, tag_b)| a.cmp_precedence(b).then_with(|| tag_a.cmp(tag_b))).map(|(_, tag)| tag)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads the name of a tag as a version: `v1.2.3`, `1.2`, `2`.
fn version(tag: &str) -> Option<Version> {
    let (version, given) = partial(tag)?;
    (given > 0).then_some(version)
}

fn alternative(text: &str) -> Result<Vec<Part>, String> {
    if let Some((low, high)) = text.split_once(" - ") {
        let low = part(&format!(">={}", low.trim()))?;
        let high = part(&format!("<={}", high.trim()))?;
        return Ok(vec![low, high]);
    }
    let spaced = text.replace(',', " ");
    let mut parts = Vec::new();
    let mut operator = String::new();
    for word in spaced.split_whitespace() {
        operator.push_str(word);
        // `>= 1.0`: an operator may stand apart from its version.
        if !word.ends_with(['<', '>', '=', '~', '^', '!']) {
            parts.extend(several(&operator)?);
            operator.clear();
        }
    }
    if !operator.is_empty() || parts.is_empty() {
        return Err(format!("{:?} lacks a version", text.trim()));
    }
    Ok(parts)
}

/// `>=1.0<2` without space between is two parts.
fn several(word: &str) -> Result<Vec<Part>, String> {
    let is_operator = |c: char| matches!(c, '<' | '>' | '=' | '~' | '^' | '!');
    let mut parts = Vec::new();
    let mut start = 0;
    let mut before = None;
    for (index, c) in word.char_indices() {
        if is_operator(c) && before.is_some_and(|b| !is_operator(b)) {
            parts.push(part(&word[start..index])?);
            start = index;
        }
        before = Some(c);
    }
    parts.push(part(&word[start..])?);
    Ok(parts)
}

fn part(text: &str) -> Result<Part, String> {
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)));
    let (rest, operator) = found.unwrap_or((text, Operator::Equal));
    let (version, given) = partial(rest).ok_or_else(|| format!("{rest:?} is not a version"))?;
    Ok(Part { operator, version, given })
}

/// Reads up to three numbers, of which the last ones may be missing or wildcards.
fn partial(text: &str) -> Option<(Version, u8)> {
    let text = text.trim();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, ""), |(t, b)| (t, b));
    let (numbers, pre) = text.split_once('-').map_or((text, ""), |(n, p)| (n, p));
    let mut version = Version::new(0, 0, 0);
    version.pre = Prerelease::new(pre).ok()?;
    version.build = BuildMetadata::new(build).ok()?;
    let fields = [&mut version.major, &mut version.minor, &mut version.patch];
    let mut given = 0;
    let mut wildcard = false;
    let mut words = numbers.split('.');
    for field in fields {
        match words.next() {
            Some("x" | "X" | "*") => wildcard = true,
            Some(_) if wildcard => {}
            Some(word) if word.bytes().all(|b| b.is_ascii_digit()) => {
                *field = word.parse().ok()?;
                given += 1;
            }
            Some(_) => return None,
            None => wildcard = true,
        }
    }
    // More than three numbers is no version, and neither is nothing at all.
    (words.next().is_none() && !numbers.is_empty()).then_some((version, given))
}

impl Part {
    fn holds(&self, v: &Version) -> bool {
        let own = &self.version;
        let order = v.cmp_precedence(own);
        match self.operator {
            Operator::Equal if self.given < 3 => self.agrees(v, self.given),
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual if self.given < 3 => !self.agrees(v, self.given),
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Less => order == Ordering::Less,
            Operator::GreaterEqual => order != Ordering::Less,
            // `>1.2` begins after all of 1.2, and `<=1.2` ends after all of it.
            Operator::Greater => order == Ordering::Greater && (self.given == 3 || !self.agrees(v, self.given)),
            Operator::LessEqual => order != Ordering::Greater || (self.given < 3 && self.agrees(v, self.given)),
            Operator::Tilde => order != Ordering::Less && self.agrees(v, self.given.min(2)),
            Operator::Caret => order != Ordering::Less && self.agrees(v, self.caret_width()),
        }
    }

    /// Whether the first `width` of major, minor and patch are the same.
    fn agrees(&self, v: &Version, width: u8) -> bool {
        let numbers = |v: &Version| [v.major, v.minor, v.patch];
        numbers(v)[..usize::from(width)] == numbers(&self.version)[..usize::from(width)]
    }

    /// How many numbers a caret keeps: up to the first that is not zero.
    fn caret_width(&self) -> u8 {
        let own = &self.version;
        match self.given {
            0 => 0,
            _ if own.major > 0 => 1,
            1 => 1,
            _ if own.minor > 0 => 2,
            2 => 2,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_as_in_argo_cd() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*", &["0.0.1", "1.2.3", "99.0.0"], &["1.0.0-rc.1"]),
            ("1.2.*", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9", "1.2.0-rc.1"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.0"]),
            ("1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("v1.2.*", &["1.2.0"], &["1.3.0"]),
            ("1.2.3", &["1.2.3", "1.2.3+build"], &["1.2.4"]),
            ("=1.2.3", &["1.2.3"], &["1.2.4"]),
            ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
            ("!=1.2", &["1.3.0"], &["1.2.0", "1.2.7"]),
            ("^1", &["1.0.0", "1.9.0"], &["2.0.0", "0.9.0"]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("^0.0", &["0.0.1", "0.0.9"], &["0.1.0"]),
            ("^0", &["0.0.1", "0.9.0"], &["1.0.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]),
            ("~1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("~1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("~>1.2", &["1.2.4"], &["1.3.0"]),
            (">1.2", &["1.3.0"], &["1.2.0", "1.2.9"]),
            (">1", &["2.0.0"], &["1.9.0"]),
            (">1.2.3", &["1.2.4"], &["1.2.3"]),
            (">=1.2", &["1.2.0", "3.0.0"], &["1.1.9"]),
            ("=>1.2", &["1.2.0"], &["1.1.9"]),
            ("<2", &["1.9.9", "0.1.0"], &["2.0.0"]),
            ("<=1.2", &["1.2.9", "1.0.0"], &["1.3.0"]),
            ("<=1", &["1.9.9"], &["2.0.0"]),
            (">=1.0.0 <2", &["1.0.0", "1.9.0"], &["2.0.0", "0.9.0"]),
            (">=1.0.0, <2", &["1.0.0", "1.9.0"], &["2.0.0", "0.9.0"]),
            (">= 1.0.0 < 2", &["1.0.0", "1.9.0"], &["2.0.0", "0.9.0"]),
            (">=1.0.0<2", &["1.0.0"], &["2.0.0"]),
            ("1.0 - 2.0", &["1.0.0", "2.0.9"], &["2.1.0", "0.9.9"]),
            ("1.x || 3.x", &["1.0.0", "3.1.0"], &["2.0.0"]),
            (">=1.0.0-0", &["1.0.0-rc.1", "1.0.0", "2.0.0-beta"], &["0.9.0"]),
            ("^1.0.0-0 <1.0.0", &["1.0.0-rc.1"], &["1.0.0"]),
            ("^1.0.0-0 || 2.*", &["1.0.0-rc.1", "2.0.0"], &["2.1.0-rc.1"]),
        ];
        for (text, inside, outside) in cases {
            let range = VersionRange::parse(text).unwrap();
            for v in *inside {
                assert!(range.contains(&Version::parse(v).unwrap()), "{text} must contain {v}");
            }
            for v in *outside {
                assert!(!range.contains(&Version::parse(v).unwrap()), "{text} must not contain {v}");
            }
        }
    }

    #[test]
    fn what_is_no_constraint_is_refused() {
        for text in ["", ">=", ">= ", "main*", "1.2.3.4", "^a", "1 || ", "|| 1", "release-*", "-", "1.2.*-rc!"] {
            assert!(VersionRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_highest_fitting_tag_is_taken_in_any_order() {
        let mut tags =
            vec!["v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0", "v1.11.0-rc.1", "nightly", "1.10.0", "v1", "release/1.99.0"];
        for _ in 0..tags.len() {
            tags.rotate_left(1);
            let best = |text: &str| VersionRange::parse(text).unwrap().best(tags.iter().copied());
            assert_eq!(best("1.*"), Some("v1.10.0"));
            assert_eq!(best("*"), Some("v2.0.0"));
            assert_eq!(best(">=1.10.0-0 <2"), Some("v1.11.0-rc.1"));
            assert_eq!(best("3.*"), None);
        }
    }
}
