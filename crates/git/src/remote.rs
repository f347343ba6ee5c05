//! A repository as one project reaches it.

use std::fmt;
use std::sync::Arc;

use crate::{RepositoryKey, RepositoryUrl};

/// A repository, and on whose behalf it is contacted. Everything that is kept of a repository (where it stands, which objects
/// have been fetched) belongs to a remote: another way in, or another project's credentials, is another remote, and neither
/// decides what the other sees.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote {
    /// Where it is.
    pub url: RepositoryUrl,
    /// The project whose credentials may be used; nothing for nobody's, who get only those that everybody may use.
    pub project: Option<Arc<str>>,
}

impl Remote {
    /// The repository for a project.
    #[must_use]
    pub fn of(url: RepositoryUrl, project: &str) -> Self {
        Self { url, project: Some(project.into()) }
    }

    /// The repository for nobody in particular.
    #[must_use]
    pub fn shared(url: RepositoryUrl) -> Self {
        Self { url, project: None }
    }

    /// What it has in common with every other way to the same repository.
    #[must_use]
    pub fn key(&self) -> RepositoryKey {
        self.url.key()
    }
}

impl From<&RepositoryUrl> for Remote {
    fn from(url: &RepositoryUrl) -> Self {
        Self::shared(url.clone())
    }
}

impl From<&Self> for Remote {
    fn from(remote: &Self) -> Self {
        remote.clone()
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({} for {})", self.url, self.project.as_deref().unwrap_or("nobody"))
    }
}
