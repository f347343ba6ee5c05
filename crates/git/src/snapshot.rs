//! Reading the files of one commit, without a check-out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gix::ObjectId;
use gix::objs::Kind;

use crate::mirror::Mirror;
use crate::tree::{EntryKind, Tree};
use crate::{Commit, GitError};

/// As many symbolic links one after the other as Linux follows.
const MAX_LINKS: usize = 40;
const MAX_TARGET: u64 = 4096;
const MAX_DEPTH: usize = 256;
/// Names in one listing. A repository of a few hundred bytes can claim billions.
const MAX_LISTED: usize = 500_000;

/// The files of one commit. Cheap to make, to clone and to send; every read goes to the mirror's objects.
///
/// Paths are relative to the repository's root, with `/` between names; `""` and `"."` are the root. A path may lead
/// through symbolic links as long as they stay inside the repository, like on disk. One that leaves it is an error.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub mirror: Arc<Mirror>,
    pub commit: Commit,
    pub root: ObjectId,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Folder, file, link or submodule.
    pub kind: EntryKind,
    /// The id of its content: the same id is the same content, for a folder with everything beneath.
    pub id: String,
}

/// Where a path leads and which symbolic links it passes: everything that has to stay the same for it to lead there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The path without links, or the first name on the way that is not there.
    pub path: String,
    /// What stands there; `None` if nothing.
    pub entry: Option<Entry>,
    /// The links on the way, each by its own path without links.
    pub links: Vec<String>,
}

/// Where a path leads.
pub(crate) struct Found {
    /// The path without links, dots and double slashes.
    pub path: Vec<u8>,
    pub item: Option<(EntryKind, ObjectId)>,
    /// The links on the way, each by its own path without links.
    pub links: Vec<Vec<u8>>,
}

impl Snapshot {
    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &Commit {
        &self.inner.commit
    }

    /// What stands at a path. A symbolic link at the end is not followed.
    ///
    /// # Errors
    /// [`GitError::LeavesRepository`], [`GitError::Refused`], or a damaged mirror. A path that is not there is `None`.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, GitError> {
        Ok(self.walk(path.as_bytes(), false)?.item.map(Entry::from))
    }

    /// What stands at a path once every symbolic link is followed, and the path where it really is.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub fn follow(&self, path: &str) -> Result<Option<(String, Entry)>, GitError> {
        let found = self.walk(path.as_bytes(), true)?;
        Ok(found.item.map(|item| (lossy(&found.path), Entry::from(item))))
    }

    /// Where a path leads once every symbolic link is followed, and by which links.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub fn trail(&self, path: &str) -> Result<Trail, GitError> {
        let found = self.walk(path.as_bytes(), true)?;
        let links = found.links.iter().map(|link| lossy(link)).collect();
        Ok(Trail { path: lossy(&found.path), entry: found.item.map(Entry::from), links })
    }

    /// The content of a file of at most `max_bytes`; symbolic links are followed.
    ///
    /// # Errors
    /// [`GitError::NoSuchPath`], [`GitError::WrongKind`], [`GitError::TooLarge`], and as [`entry`](Self::entry).
    pub fn read(&self, path: &str, max_bytes: u64) -> Result<Bytes, GitError> {
        let found = self.walk(path.as_bytes(), true)?;
        let (kind, id) = found.item.ok_or_else(|| self.absent(path))?;
        if !kind.is_file() {
            return Err(GitError::WrongKind { path: path.to_owned(), found: kind.as_str(), wanted: "file" });
        }
        self.inner.mirror.object(id, Kind::Blob, max_bytes, path).map(Bytes::from)
    }

    /// What is in a folder, sorted by path: its own entries, or with `recursive` everything beneath it, folders
    /// included. Paths are from the repository's root and begin with `path` as it was given. Symbolic links are listed
    /// and not followed, except in `path` itself. Names that are not UTF-8 are shown with replacement characters.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn list(&self, path: &str, recursive: bool) -> Result<Vec<(String, Entry)>, GitError> {
        let found = self.walk(path.as_bytes(), true)?;
        let (kind, id) = found.item.ok_or_else(|| self.absent(path))?;
        if kind != EntryKind::Tree {
            return Err(GitError::WrongKind { path: path.to_owned(), found: kind.as_str(), wanted: "folder" });
        }
        let start: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let mut listed = Vec::new();
        let mut folders = vec![(start.join("/"), id, 0)];
        while let Some((folder, id, depth)) = folders.pop() {
            for item in self.inner.mirror.tree(id, &folder)?.items() {
                let path = join(&folder, &String::from_utf8_lossy(&item.name));
                refuse(item.hostile, &path)?;
                if recursive && item.kind == EntryKind::Tree {
                    if depth == MAX_DEPTH {
                        return Err(GitError::TooLarge {
                            what: format!("the depth of {folder:?}"),
                            limit: MAX_DEPTH as u64,
                        });
                    }
                    folders.push((path.clone(), item.id, depth + 1));
                }
                listed.push((path, Entry::from((item.kind, item.id))));
            }
            if listed.len() > MAX_LISTED {
                return Err(GitError::TooLarge {
                    what: format!("the number of files in {path:?}"),
                    limit: MAX_LISTED as u64,
                });
            }
        }
        listed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(listed)
    }

    pub(crate) fn absent(&self, path: &str) -> GitError {
        GitError::NoSuchPath { path: path.to_owned(), commit: self.inner.commit.short().to_owned() }
    }

    pub(crate) fn tree(&self, id: ObjectId, path: &[u8]) -> Result<Arc<Tree>, GitError> {
        if let Some(tree) = self.inner.mirror.cached_tree(&id) {
            return Ok(tree);
        }
        self.inner.mirror.tree(id, &lossy(path))
    }

    pub(crate) fn link_target(&self, id: ObjectId, path: &[u8]) -> Result<Vec<u8>, GitError> {
        let path = lossy(path);
        let target = self.inner.mirror.object(id, Kind::Blob, MAX_TARGET, &path)?;
        if target.is_empty() || target.contains(&0) {
            return Err(GitError::Refused { path, reason: "it is a symbolic link that leads nowhere".into() });
        }
        Ok(target)
    }

    /// Follows a path name by name as an operating system does, so that what is checked here is what happens on disk.
    pub(crate) fn walk(&self, path: &[u8], follow_last: bool) -> Result<Found, GitError> {
        let mut walk = Walk {
            snapshot: self,
            folders: vec![(Vec::new(), self.inner.root)],
            ahead: VecDeque::new(),
            links: Vec::new(),
        };
        walk.take_on(path, &lossy(path))?;
        walk.run(follow_last)
    }
}

struct Walk<'a> {
    snapshot: &'a Snapshot,
    /// From the root to where we are: each folder's path and id.
    folders: Vec<(Vec<u8>, ObjectId)>,
    ahead: VecDeque<Vec<u8>>,
    links: Vec<Vec<u8>>,
}

impl Walk<'_> {
    /// Puts the names of a path before what is ahead. `shown` is what the error names.
    fn take_on(&mut self, path: &[u8], shown: &str) -> Result<(), GitError> {
        if path.first() == Some(&b'/') {
            return Err(GitError::LeavesRepository { path: shown.to_owned() });
        }
        for name in path.split(|b| *b == b'/').rev() {
            if !name.is_empty() && name != b"." {
                self.ahead.push_front(name.to_vec());
            }
        }
        Ok(())
    }

    fn run(mut self, follow_last: bool) -> Result<Found, GitError> {
        while let Some(name) = self.ahead.pop_front() {
            let (folder, id) = self.folders.last().cloned().unwrap_or((Vec::new(), self.snapshot.inner.root));
            let path = join_bytes(&folder, &name);
            if name == b".." {
                self.folders.pop();
                if self.folders.is_empty() {
                    return Err(self.leaves(&path));
                }
                continue;
            }
            let tree = self.snapshot.tree(id, &folder)?;
            let Some(item) = tree.get(&name) else { return self.absent(path) };
            refuse(item.hostile, &lossy(&path))?;
            match item.kind {
                EntryKind::Tree => self.folders.push((path, item.id)),
                EntryKind::Symlink if follow_last || !self.ahead.is_empty() => self.link(path, item.id)?,
                _ if self.ahead.is_empty() => {
                    return Ok(Found { path, item: Some((item.kind, item.id)), links: self.links });
                }
                _ => return self.absent(path),
            }
        }
        let (path, id) = self.folders.pop().unwrap_or((Vec::new(), self.snapshot.inner.root));
        Ok(Found { path, item: Some((EntryKind::Tree, id)), links: self.links })
    }

    fn link(&mut self, path: Vec<u8>, id: ObjectId) -> Result<(), GitError> {
        let target = self.snapshot.link_target(id, &path)?;
        let shown = format!("{} -> {}", lossy(&path), lossy(&target));
        if self.links.len() == MAX_LINKS {
            return Err(GitError::Refused { path: shown, reason: "too many symbolic links follow each other".into() });
        }
        self.links.push(path);
        self.take_on(&target, &shown)
    }

    /// Nothing stands at `path`; what is still ahead must not lead out of the repository all the same.
    fn absent(self, path: Vec<u8>) -> Result<Found, GitError> {
        let mut depth = self.folders.len();
        for name in &self.ahead {
            if name == b".." {
                depth -= 1;
                if depth == 0 {
                    return Err(self.leaves(&path));
                }
            } else {
                depth += 1;
            }
        }
        Ok(Found { path, item: None, links: self.links })
    }

    fn leaves(&self, path: &[u8]) -> GitError {
        let through = self.links.last().map_or(String::new(), |link| format!(" (through the link {})", lossy(link)));
        GitError::LeavesRepository { path: format!("{}{through}", lossy(path)) }
    }
}

impl From<(EntryKind, ObjectId)> for Entry {
    fn from((kind, id): (EntryKind, ObjectId)) -> Self {
        Self { kind, id: id.to_string() }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.inner.commit)
    }
}

pub(crate) fn refuse(hostile: bool, path: &str) -> Result<(), GitError> {
    if hostile {
        return Err(GitError::Refused { path: path.to_owned(), reason: "no honest repository has such a name".into() });
    }
    Ok(())
}

pub(crate) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(crate) fn join_bytes(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}
