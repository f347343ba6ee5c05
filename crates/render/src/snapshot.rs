//! A commit in a mirror, seen as a tree.

use std::path::Path;

use git::{EntryKind, GitError, Snapshot};

use crate::RenderError;
use crate::tree::{Entry, Kind, Resolved, Tree};

impl Tree for Snapshot {
    fn commit(&self) -> String {
        Snapshot::commit(self).short().to_owned()
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, RenderError> {
        Ok(Snapshot::entry(self, path).map_err(|e| failed(path, e))?.map(Entry::from))
    }

    fn resolve(&self, path: &str) -> Result<Resolved, RenderError> {
        let trail = self.trail(path).map_err(|e| failed(path, e))?;
        let mut links = Vec::with_capacity(trail.links.len());
        for link in trail.links {
            let id = Tree::entry(self, &link)?.map(|entry| entry.id).unwrap_or_default();
            links.push((link, id));
        }
        Ok(Resolved { path: trail.path, entry: trail.entry.map(Entry::from), links })
    }

    fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, RenderError> {
        Snapshot::read(self, path, max_bytes).map(Vec::from).map_err(|e| failed(path, e))
    }

    fn list(&self, path: &str, recursive: bool) -> Result<Vec<(String, Entry)>, RenderError> {
        let listed = Snapshot::list(self, path, recursive).map_err(|e| failed(path, e))?;
        Ok(listed.into_iter().map(|(path, entry)| (path, Entry::from(entry))).collect())
    }

    fn materialize(&self, paths: &[&str], into: &Path) -> Result<(), RenderError> {
        Snapshot::materialize(self, paths, into, git::Limits::default())
            .map(|_| ())
            .map_err(|error| failed(paths.first().copied().unwrap_or_default(), error))
    }
}

impl From<git::Entry> for Entry {
    fn from(entry: git::Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::Tree => Kind::Tree,
            EntryKind::Blob | EntryKind::Executable => Kind::Blob,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::Submodule => Kind::Submodule,
        };
        Self { kind, id: entry.id }
    }
}

fn failed(path: &str, error: GitError) -> RenderError {
    match error {
        GitError::LeavesRepository { path } => RenderError::LeavesRepository { path, reference: String::new() },
        error => RenderError::Repository {
            path: path.to_owned(),
            transient: error.is_transient(),
            message: error.to_string(),
        },
    }
}
