//! The name of a commit.

use std::fmt;
use std::str::FromStr;

use crate::GitError;

/// The full name of a commit: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, in lower case.
///
/// It is a type of its own so that a commit and a revision (what somebody asked for) cannot be confused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// Reads a full commit name; abbreviated ones are a [`Revision`](crate::Revision).
    ///
    /// # Errors
    /// [`GitError::InvalidCommit`] when the text is not 40 or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let text = text.trim();
        let full = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if full {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(GitError::InvalidCommit { text: text.chars().take(80).collect() })
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    /// True for the name of all zeros, by which forges say "no commit" (a created or deleted ref).
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }

    pub(crate) fn from_id(id: gix::ObjectId) -> Self {
        Self(id.to_string())
    }

    pub(crate) fn id(&self) -> Result<gix::ObjectId, GitError> {
        gix::ObjectId::from_hex(self.0.as_bytes()).map_err(|_| GitError::InvalidCommit { text: self.0.clone() })
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commit({})", self.0)
    }
}

impl FromStr for Commit {
    type Err = GitError;

    fn from_str(text: &str) -> Result<Self, GitError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Commit {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_names_are_commits() {
        let sha1 = "0123456789abcdef0123456789ABCDEF01234567";
        assert_eq!(Commit::parse(sha1).unwrap().as_str(), sha1.to_ascii_lowercase());
        assert_eq!(Commit::parse(sha1).unwrap().short(), "0123456");
        assert!(Commit::parse(&"a".repeat(64)).is_ok());
        assert!(Commit::parse(&"0".repeat(40)).unwrap().is_zero());
        for wrong in ["", "main", "0123456", &"g".repeat(40), &"a".repeat(41), &"é".repeat(20)] {
            assert!(Commit::parse(wrong).is_err(), "{wrong}");
        }
    }
}
