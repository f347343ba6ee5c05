use std::cmp::Ordering;

use gotmpl::Value;
use semver::{BuildMetadata, Prerelease, Version};

use super::{Args, Entry, Result, value};

pub(super) const TABLE: &[Entry] = &[("semver", 1, 1, parts), ("semverCompare", 2, 2, compare)];

fn parts(args: &Args<'_>) -> Result<Value> {
    let text = args.text(0)?;
    let version = version(args, text)?;
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    Ok(value::map([
        ("Major".to_owned(), number(version.major)),
        ("Minor".to_owned(), number(version.minor)),
        ("Patch".to_owned(), number(version.patch)),
        ("Prerelease".to_owned(), version.pre.as_str().into()),
        ("Metadata".to_owned(), version.build.as_str().into()),
        ("Original".to_owned(), text.into()),
    ]))
}

fn compare(args: &Args<'_>) -> Result<Value> {
    let (constraint, text) = (args.text(0)?, args.text(1)?);
    let wrong = || args.error(format!("cannot read the constraint {constraint:?}"));
    let alternatives: Vec<Vec<Constraint>> =
        constraint.split("||").map(constraints).collect::<Option<_>>().ok_or_else(wrong)?;
    let version = version(args, text)?;
    Ok(Value::Bool(alternatives.iter().any(|all| all.iter().all(|one| one.allows(&version)))))
}

fn version(args: &Args<'_>, text: &str) -> Result<Version> {
    let read = parse(text).filter(|it| it.given > 0 && !it.open);
    read.map(|it| it.version).ok_or_else(|| args.error(format!("cannot read the version {text:?}")))
}

/// A version that may lack its last parts.
struct Partial {
    version: Version,
    /// How many of the three numbers are given.
    given: usize,
    /// The rest is `x` or `*`.
    open: bool,
}

/// `v1`, `1.2`, `1.2.3-beta+build`, `1.x`, `*`.
fn parse(text: &str) -> Option<Partial> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').unwrap_or((text, ""));
    let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
    let mut version = Version::new(0, 0, 0);
    let mut given = 0;
    let mut open = false;
    for (index, part) in numbers.split('.').enumerate() {
        if matches!(part, "x" | "X" | "*") {
            open = true;
            continue;
        }
        let number = part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        match index {
            _ if open => return None,
            0 => version.major = number,
            1 => version.minor = number,
            2 => version.patch = number,
            _ => return None,
        }
        given += 1;
    }
    version.pre = Prerelease::new(pre).ok()?;
    version.build = BuildMetadata::new(build).ok()?;
    Some(Partial { version, given, open })
}

struct Constraint {
    operator: &'static str,
    wanted: Partial,
}

const OPERATORS: &[&str] = &["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];

/// Constraints that must all hold: `>=1.2, <2`, `1.2 - 1.4`.
fn constraints(text: &str) -> Option<Vec<Constraint>> {
    let text = match text.split_once(" - ") {
        Some((low, high)) => format!(">={}, <={}", low.trim(), high.trim()),
        None => text.to_owned(),
    };
    let mut all = Vec::new();
    let mut words = text.split([',', ' ']).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let operator = OPERATORS.iter().find(|operator| word.starts_with(**operator)).copied().unwrap_or("");
        let version = match &word[operator.len()..] {
            "" => words.next()?,
            version => version,
        };
        all.push(Constraint { operator, wanted: parse(version)? });
    }
    if all.is_empty() { None } else { Some(all) }
}

impl Constraint {
    fn allows(&self, version: &Version) -> bool {
        let wanted = &self.wanted.version;
        // A pre-release counts only where the constraint names one.
        if !version.pre.is_empty()
            && wanted.pre.is_empty()
            && !matches!(self.operator, "=" | "" | "!=" if self.wanted.given == 3)
        {
            return false;
        }
        let order = version.cmp_precedence(wanted);
        let open = self.wanted.given < 3;
        match self.operator {
            "=" | "" if open => self.same_given(version),
            "=" | "" => order == Ordering::Equal,
            "!=" if open => !self.same_given(version),
            "!=" => order != Ordering::Equal,
            ">" if open => order == Ordering::Greater && !self.same_given(version),
            ">" => order == Ordering::Greater,
            "<" => order == Ordering::Less,
            ">=" | "=>" => order != Ordering::Less,
            "<=" | "=<" if open => order != Ordering::Greater || self.same_given(version),
            "<=" | "=<" => order != Ordering::Greater,
            "~" | "~>" => order != Ordering::Less && self.same(version, self.wanted.given.min(2)),
            _ => order != Ordering::Less && self.same(version, self.significant()),
        }
    }

    fn same_given(&self, version: &Version) -> bool {
        self.same(version, self.wanted.given)
    }

    /// Whether the first numbers are the same.
    fn same(&self, version: &Version, numbers: usize) -> bool {
        let wanted = &self.wanted.version;
        let pairs = [(version.major, wanted.major), (version.minor, wanted.minor), (version.patch, wanted.patch)];
        pairs.iter().take(numbers).all(|(one, two)| one == two)
    }

    /// How many numbers `^` keeps: up to the first that is not zero, among those that are given.
    fn significant(&self) -> usize {
        let wanted = &self.wanted.version;
        let first = [wanted.major, wanted.minor, wanted.patch].iter().position(|number| *number > 0).unwrap_or(2) + 1;
        first.min(self.wanted.given)
    }
}
