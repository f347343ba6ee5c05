//! What is asked for: a branch, a tag, a commit, a version constraint.

mod range;

use std::fmt;

pub use range::VersionRange;

use crate::{Commit, GitError};

/// A revision as somebody writes it into `targetRevision`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revision {
    /// The repository's default branch (`HEAD`, or nothing at all).
    Head,
    /// A branch or tag by its short name. A branch wins over a tag of the same name (a full ref tells them apart). If
    /// there is neither, a name that can be read as a version constraint (`1.2`, `1.x`) is one, and one that can be an
    /// abbreviated commit is looked up among those known.
    Name(String),
    /// A full ref: `refs/heads/main`, `refs/tags/v1`, `refs/pull/7/head`.
    Ref(String),
    /// A full commit.
    Commit(Commit),
    /// A version constraint over the tags: `1.2.*`, `>=1.0.0 <2`, `^1`.
    Versions(VersionRange),
}

/// What a revision resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit, which is in the mirror from now on.
    pub commit: Commit,
    /// The ref that it came from; `None` for a commit by name.
    pub full_ref: Option<String>,
}

impl Revision {
    /// Reads a revision.
    ///
    /// # Errors
    /// [`GitError::InvalidRevision`] for text that no branch, tag or constraint can be.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let text = text.trim();
        if text.is_empty() || text == "HEAD" {
            return Ok(Self::Head);
        }
        if let Ok(commit) = Commit::parse(text) {
            return Ok(Self::Commit(commit));
        }
        // None of these can be in the name of a branch, or nobody would put them there.
        if text.contains(['*', '^', '~', '<', '>', '=', '!', '|', ',', ' ']) {
            let range = VersionRange::parse(text);
            return range
                .map(Self::Versions)
                .map_err(|reason| GitError::InvalidRevision { text: text.to_owned(), reason });
        }
        check_name(text)
            .map_err(|reason| GitError::InvalidRevision { text: text.to_owned(), reason: reason.to_owned() })?;
        Ok(if text.starts_with("refs/") { Self::Ref(text.to_owned()) } else { Self::Name(text.to_owned()) })
    }

    /// Whether the revision always means the same commit.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Commit(_))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("HEAD"),
            Self::Name(name) | Self::Ref(name) => f.write_str(name),
            Self::Commit(commit) => commit.fmt(f),
            Self::Versions(range) => range.fmt(f),
        }
    }
}

/// Git's rules for the name of a ref, so that none can be read as a refspec, an option or an expression.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 1024 {
        return Err("a name has between 1 and 1024 characters");
    }
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if name.contains(forbidden) {
        return Err("a name must not contain white space or any of ~^:?*[\\");
    }
    if name.contains("..") || name.contains("@{") || name.contains("//") || name == "@" {
        return Err("a name must not contain .., // or @{");
    }
    if name.starts_with(['-', '/']) || name.ends_with(['/', '.']) {
        return Err("a name must not begin with - or / nor end with / or .");
    }
    if name.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock")) {
        return Err("no part of a name may begin with . or end with .lock");
    }
    Ok(())
}

/// Checks a full ref as it comes from a webhook.
pub(crate) fn check_full_ref(name: &str) -> Result<(), GitError> {
    let checked = if name.starts_with("refs/") { check_name(name) } else { Err("a full ref begins with refs/") };
    checked.map_err(|reason| GitError::InvalidRevision {
        text: name.chars().take(200).collect(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_told_apart() {
        let name = |t: &str| Revision::Name(t.to_owned());
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let cases = [
            ("", Revision::Head),
            ("HEAD", Revision::Head),
            (" HEAD ", Revision::Head),
            ("main", name("main")),
            ("feature/login", name("feature/login")),
            ("v1.2.3", name("v1.2.3")),
            ("1.2", name("1.2")),
            ("1.x", name("1.x")),
            ("0123456", name("0123456")),
            ("refs/heads/main", Revision::Ref("refs/heads/main".into())),
            ("refs/pull/7/head", Revision::Ref("refs/pull/7/head".into())),
            (sha, Revision::Commit(Commit::parse(sha).unwrap())),
        ];
        for (text, wanted) in cases {
            assert_eq!(Revision::parse(text).unwrap(), wanted, "{text}");
        }
        for text in ["1.2.*", ">=1.0.0 <2", "^1", "~1.2", "*", "v1.*", "1.0 - 2.0", "1.x || 3.x", "=1.2.3"] {
            assert!(matches!(Revision::parse(text), Ok(Revision::Versions(_))), "{text}");
            assert_eq!(Revision::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_git_would_read_as_something_else_is_refused() {
        for text in [
            "-x",
            "--upload-pack=id",
            "a..b",
            "main:evil",
            "+main",
            "a b",
            "a\tb",
            "main^",
            "main~1",
            "main@{1}",
            "a//b",
            "/a",
            "a/",
            "a.lock",
            "a/.b",
            "a?",
            "a[b",
            "a\\b",
            "@",
            "refs/heads/*",
            "refs/heads/a:refs/heads/b",
            "refs/heads/../x",
            "a\u{7f}",
        ] {
            if text == "+main" {
                continue; // A legal name: it is never the first part of a refspec that we write.
            }
            assert!(Revision::parse(text).is_err(), "{text}");
        }
        for text in ["main", "HEAD", "heads/main", "refs/heads/a b", "refs/heads/", "refs/heads/-\n"] {
            assert!(check_full_ref(text).is_err(), "{text}");
        }
        assert!(check_full_ref("refs/heads/-x").is_ok());
    }
}
