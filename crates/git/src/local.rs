//! A repository on this disk, read where it is.
//!
//! This is for people's own tools, which are told by their user what to read. A source of an Application never comes here: it is
//! a URL, is fetched into a mirror, and [`GitConfig::allow_local`](crate::GitConfig::allow_local) decides about paths.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mirror::Mirror;
use crate::snapshot::Inner;
use crate::{Commit, GitError, Snapshot};

/// The objects of a repository on this disk, which is never written to. Works on any clone, shallow ones included.
///
/// Objects that are no part of it can be put into [`objects`](Self::objects) and are read like its own.
pub struct Local {
    mirror: Arc<Mirror>,
}

impl Local {
    /// Opens the objects of a repository: `git rev-parse --git-path objects` says where they are. `folder` is made, for what is
    /// ours; `name` is what messages call the repository.
    ///
    /// # Errors
    /// [`GitError::Disk`] if there are no objects, or if the folder cannot be made.
    pub fn open(folder: &Path, objects: &Path, name: &str) -> Result<Self, GitError> {
        let found = objects.canonicalize().and_then(|path| if path.is_dir() { Ok(path) } else { Err(not_a_folder()) });
        let objects =
            found.map_err(GitError::disk(format!("opening the repository's objects in {}", objects.display())))?;
        let absolute = std::path::absolute(folder).map_err(GitError::disk("finding a folder"))?;
        // Git reads such names as something else: more lines, a comment, a quoted name.
        let text = objects.as_os_str().as_encoded_bytes();
        if text.contains(&b'\n') || matches!(text.first(), Some(b'#' | b'"')) {
            return Err(GitError::Refused {
                path: objects.display().to_string(),
                reason: "a folder of objects with such a name cannot be borrowed from".into(),
            });
        }
        let mirror = Mirror::borrowing(absolute, name.to_owned(), objects);
        mirror.prepare()?;
        Ok(Self { mirror: Arc::new(mirror) })
    }

    /// The folder for further objects, for `GIT_OBJECT_DIRECTORY`.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.mirror.folder().join("objects")
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// [`GitError::NotFetched`] if there is no such commit, [`GitError::Incomplete`] if a part of it is missing.
    pub fn snapshot(&self, commit: &Commit) -> Result<Snapshot, GitError> {
        let root = self.mirror.root(self.mirror.commit_id(commit)?)?;
        Ok(Snapshot { inner: Arc::new(Inner { mirror: Arc::clone(&self.mirror), commit: commit.clone(), root }) })
    }
}

fn not_a_folder() -> std::io::Error {
    std::io::ErrorKind::NotADirectory.into()
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Local({})", self.mirror.folder().display())
    }
}
