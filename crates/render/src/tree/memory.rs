//! A commit made of literals, for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::{Entry, Kind, Resolved, Tree, join, parent};
use crate::RenderError;

/// Files and links by path; ids are digests of content, as Git's are.
#[derive(Default)]
pub(crate) struct MemoryTree {
    files: BTreeMap<String, (Kind, Vec<u8>)>,
    /// How often `read` and `list` were called: what the quick path must not do.
    pub(crate) reads: AtomicUsize,
}

impl MemoryTree {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, content) in files {
            tree.files.insert((*path).into(), (Kind::Blob, content.as_bytes().to_vec()));
        }
        tree
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.files.insert(path.into(), (Kind::Symlink, target.as_bytes().to_vec()));
        self
    }

    /// The same commit with some files changed, added, or (with `None`) removed.
    pub(crate) fn with(&self, changes: &[(&str, Option<&str>)]) -> Self {
        let mut files = self.files.clone();
        for (path, content) in changes {
            match content {
                Some(content) => files.insert((*path).into(), (Kind::Blob, content.as_bytes().to_vec())),
                None => files.remove(*path),
            };
        }
        Self { files, reads: AtomicUsize::new(0) }
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a String, &'a (Kind, Vec<u8>))> + use<'a> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.files.iter().filter(move |(name, _)| name.starts_with(&prefix))
    }

    fn tree_id(&self, path: &str) -> Option<String> {
        let mut hash = Sha256::new();
        let mut any = path.is_empty();
        for (name, (kind, content)) in self.below(path) {
            any = true;
            hash.update(format!("{}\0{kind:?}\0{}\0", &name[path.len()..], content.len()));
            hash.update(content);
        }
        any.then(|| hex::encode(hash.finalize()))
    }
}

impl Tree for MemoryTree {
    fn commit(&self) -> String {
        "abc1234".into()
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, RenderError> {
        if let Some((kind, content)) = self.files.get(path) {
            let mut hash = Sha256::new();
            hash.update(format!("{kind:?}"));
            hash.update(content);
            return Ok(Some(Entry { kind: *kind, id: hex::encode(hash.finalize()) }));
        }
        Ok(self.tree_id(path).map(|id| Entry { kind: Kind::Tree, id }))
    }

    fn resolve(&self, path: &str) -> Result<Resolved, RenderError> {
        walk(self, path)
    }

    fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, RenderError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let (_, content) = self.files.get(path).unwrap_or_else(|| panic!("{path} is read but not there"));
        if content.len() as u64 > max_bytes {
            return Err(RenderError::Repository { path: path.into(), message: "too large".into(), transient: false });
        }
        Ok(content.clone())
    }

    fn list(&self, path: &str, recursive: bool) -> Result<Vec<(String, Entry)>, RenderError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        let mut found = BTreeMap::new();
        for (name, _) in self.below(path) {
            for (at, _) in name[skip..].match_indices('/') {
                let folder = &name[..skip + at];
                if recursive || !folder[skip..].contains('/') {
                    found.insert(folder.to_owned(), ());
                }
            }
            if recursive || !name[skip..].contains('/') {
                found.insert(name.clone(), ());
            }
        }
        found.into_keys().map(|name| Ok((name.clone(), self.entry(&name)?.expect("listed")))).collect()
    }

    fn materialize(&self, paths: &[&str], into: &Path) -> Result<(), RenderError> {
        for (name, (kind, content)) in &self.files {
            let wanted = paths.iter().any(|p| p.is_empty() || name == p || name.starts_with(&format!("{p}/")));
            if !wanted {
                continue;
            }
            let target = into.join(name);
            std::fs::create_dir_all(target.parent().expect("has a folder")).expect("scratch");
            match kind {
                Kind::Symlink => {
                    std::os::unix::fs::symlink(String::from_utf8_lossy(content).as_ref(), target).expect("link")
                }
                _ => std::fs::write(target, content).expect("write"),
            }
        }
        Ok(())
    }
}

/// Follows links as an operating system does.
fn walk(tree: &MemoryTree, path: &str) -> Result<Resolved, RenderError> {
    match tree.entry(path)? {
        Some(entry) if entry.kind != Kind::Symlink => {
            return Ok(Resolved { path: path.into(), entry: Some(entry), links: Vec::new() });
        }
        _ => {}
    }
    let mut links = Vec::new();
    let mut current = String::new();
    let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    while let Some(part) = rest.pop() {
        let candidate = if current.is_empty() { part } else { format!("{current}/{part}") };
        let entry = match tree.entry(&candidate)? {
            None => {
                return Ok(Resolved { path: candidate, entry: None, links });
            }
            Some(entry) => entry,
        };
        if entry.kind != Kind::Symlink {
            current = candidate;
            continue;
        }
        let target = String::from_utf8_lossy(&tree.files[&candidate].1).into_owned();
        let leaves = || RenderError::LeavesRepository { path: candidate.clone(), reference: target.clone() };
        if target.starts_with('/') || links.len() == 40 {
            return Err(leaves());
        }
        let next = join(parent(&candidate), &target).ok_or_else(leaves)?;
        links.push((candidate.clone(), entry.id));
        current.clear();
        rest.extend(next.split('/').rev().filter(|p| !p.is_empty()).map(str::to_owned));
    }
    Ok(Resolved { entry: tree.entry(&current)?, path: current, links })
}
