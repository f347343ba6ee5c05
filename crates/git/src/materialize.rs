//! Writing parts of a commit to disk, for programs that need files.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::Kind;

use crate::GitError;
use crate::snapshot::{Snapshot, join_bytes, lossy, refuse};
use crate::tree::EntryKind;

/// What may be written at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and links together.
    pub max_files: u64,
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Bytes of one file.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 50,000 entries, 512 MiB in all, 64 MiB in one file.
    fn default() -> Self {
        Self { max_files: 50_000, max_bytes: 512 << 20, max_file_bytes: 64 << 20 }
    }
}

/// What has been written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Materialized {
    /// Files, folders and links.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Submodules on the way: each is an empty folder, since its files are in another repository.
    pub submodules: Vec<String>,
}

impl Snapshot {
    /// Writes files and folders (with everything beneath) to their places below `into`, which must be ours alone and used
    /// for this commit only; what is already there is kept. What a symbolic link points to is written too, so that it
    /// leads somewhere.
    ///
    /// Nothing is ever written outside `into`: a symbolic link that leaves the repository, a name such as `.git` or `..`,
    /// and a folder that is a link on disk are errors. Git LFS pointers are written as they are.
    ///
    /// # Errors
    /// [`GitError::NoSuchPath`], [`GitError::LeavesRepository`], [`GitError::Refused`], [`GitError::TooLarge`],
    /// [`GitError::Disk`]. Then an unknown part has been written.
    pub fn materialize(&self, paths: &[&str], into: &Path, limits: Limits) -> Result<Materialized, GitError> {
        fs::create_dir_all(into).map_err(GitError::disk(format!("creating {}", into.display())))?;
        let mut writer = Writer {
            snapshot: self,
            into,
            limits,
            done: BTreeSet::new(),
            todo: VecDeque::new(),
            written: Materialized::default(),
        };
        for path in paths {
            let found = self.walk(path.as_bytes(), false)?;
            let (kind, id) = found.item.ok_or_else(|| self.absent(path))?;
            writer.todo.push_back((found.path, kind, id));
            writer.links(found.links)?;
        }
        while let Some((path, kind, id)) = writer.todo.pop_front() {
            writer.write(path, kind, id)?;
        }
        Ok(writer.written)
    }
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    into: &'a Path,
    limits: Limits,
    /// Paths without links that are on disk.
    done: BTreeSet<Vec<u8>>,
    todo: VecDeque<(Vec<u8>, EntryKind, ObjectId)>,
    written: Materialized,
}

impl Writer<'_> {
    fn links(&mut self, links: Vec<Vec<u8>>) -> Result<(), GitError> {
        for link in links {
            let found = self.snapshot.walk(&link, false)?;
            if let Some((kind, id)) = found.item {
                self.todo.push_back((found.path, kind, id));
            }
        }
        Ok(())
    }

    fn write(&mut self, path: Vec<u8>, kind: EntryKind, id: ObjectId) -> Result<(), GitError> {
        if self.done.contains(&path) && kind != EntryKind::Tree {
            return Ok(());
        }
        match kind {
            EntryKind::Tree => return self.folder(path, id),
            EntryKind::Blob => self.file(&path, id, 0o644)?,
            EntryKind::Executable => self.file(&path, id, 0o755)?,
            EntryKind::Symlink => self.link(&path, id)?,
            EntryKind::Submodule => {
                self.make_folders(&path)?;
                self.written.submodules.push(lossy(&path));
            }
        }
        self.done.insert(path);
        Ok(())
    }

    fn folder(&mut self, path: Vec<u8>, id: ObjectId) -> Result<(), GitError> {
        // As a parent it may be on disk already; its content is what is asked for here.
        let mut listed = path.clone();
        listed.push(b'/');
        if !self.done.insert(listed) {
            return Ok(());
        }
        self.make_folders(&path)?;
        let tree = self.snapshot.tree(id, &path)?;
        for item in tree.items() {
            let child = join_bytes(&path, &item.name);
            refuse(item.hostile, &lossy(&child))?;
            self.todo.push_back((child, item.kind, item.id));
        }
        let ahead = self.todo.len() as u64 + self.written.files;
        if ahead > self.limits.max_files {
            return Err(self.too_many());
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], id: ObjectId, mode: u32) -> Result<(), GitError> {
        self.make_parent(path)?;
        let shown = lossy(path);
        let left = self.limits.max_bytes.saturating_sub(self.written.bytes);
        let content = self.snapshot.inner.mirror.object(id, Kind::Blob, self.limits.max_file_bytes, &shown)?;
        if content.len() as u64 > left {
            return Err(GitError::TooLarge {
                what: format!("the content of the folder at {shown:?}"),
                limit: self.limits.max_bytes,
            });
        }
        self.count(content.len() as u64)?;
        let place = self.place(path);
        let failed = || GitError::disk(format!("writing {shown:?}"));
        match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&place) {
            Ok(mut file) => file.write_all(&content).map_err(failed()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is(&place, fs::FileType::is_file) => Ok(()),
            Err(error) => Err(failed()(error)),
        }
    }

    fn link(&mut self, path: &[u8], id: ObjectId) -> Result<(), GitError> {
        // Following it is the check that it stays inside, and tells what to write for it to lead somewhere.
        let found = self.snapshot.walk(path, true)?;
        let target = self.snapshot.link_target(id, path)?;
        self.make_parent(path)?;
        self.count(target.len() as u64)?;
        let place = self.place(path);
        match std::os::unix::fs::symlink(OsStr::from_bytes(&target), &place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is(&place, fs::FileType::is_symlink) => {}
            Err(error) => return Err(GitError::disk(format!("writing {:?}", lossy(path)))(error)),
        }
        if let Some((kind, id)) = found.item {
            self.todo.push_back((found.path, kind, id));
        }
        // The first is this link itself.
        self.links(found.links.into_iter().skip(1).collect())
    }

    fn make_parent(&mut self, path: &[u8]) -> Result<(), GitError> {
        match path.iter().rposition(|b| *b == b'/') {
            Some(end) => self.make_folders(&path[..end]),
            None => Ok(()),
        }
    }

    /// Makes a folder and those above it. Every one must be a real folder: through a link we would write elsewhere.
    fn make_folders(&mut self, path: &[u8]) -> Result<(), GitError> {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        let ends: Vec<usize> = ends.chain(std::iter::once(path.len())).filter(|end| *end > 0).collect();
        for end in ends {
            let folder = &path[..end];
            if !self.done.insert(folder.to_vec()) {
                continue;
            }
            let place = self.place(folder);
            match fs::create_dir(&place) {
                Ok(()) => self.count(0)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists && is(&place, fs::FileType::is_dir) => {}
                Err(error) => return Err(GitError::disk(format!("creating the folder {:?}", lossy(folder)))(error)),
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), GitError> {
        self.written.files += 1;
        self.written.bytes += bytes;
        if self.written.files > self.limits.max_files { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> GitError {
        GitError::TooLarge { what: "the number of files to write".into(), limit: self.limits.max_files }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.into.join(OsStr::from_bytes(path))
    }
}

fn is(place: &Path, kind: impl Fn(&fs::FileType) -> bool) -> bool {
    fs::symlink_metadata(place).is_ok_and(|m| kind(&m.file_type()))
}
