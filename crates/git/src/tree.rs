//! Trees as they are stored: read once, checked, and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::objs::TreeRefIter;
use gix::objs::tree::EntryKind as RawKind;

/// What stands behind a name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A folder.
    Tree,
    /// A file.
    Blob,
    /// A file that can be executed.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// Another repository's commit. Its files are not part of this repository and are not fetched.
    Submodule,
}

impl EntryKind {
    /// For a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tree => "folder",
            Self::Blob => "file",
            Self::Executable => "executable file",
            Self::Symlink => "symbolic link",
            Self::Submodule => "submodule",
        }
    }

    /// Whether it is a file with content of its own.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::Blob | Self::Executable)
    }
}

#[derive(Debug)]
pub(crate) struct Item {
    pub name: Box<[u8]>,
    pub kind: EntryKind,
    pub id: ObjectId,
    /// The name is one that no honest repository has; it is never followed nor written.
    pub hostile: bool,
}

/// One folder, sorted by plain name (git's own order puts `a.x` before the folder `a`).
#[derive(Debug, Default)]
pub(crate) struct Tree {
    items: Vec<Item>,
}

impl Tree {
    pub(crate) fn parse(data: &[u8]) -> Result<Self, String> {
        let mut items = Vec::with_capacity(data.len() / 40);
        for entry in TreeRefIter::from_bytes(data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|_| "the folder's list of names cannot be read".to_owned())?;
            let kind = match entry.mode.kind() {
                RawKind::Tree => EntryKind::Tree,
                RawKind::Blob => EntryKind::Blob,
                RawKind::BlobExecutable => EntryKind::Executable,
                RawKind::Link => EntryKind::Symlink,
                RawKind::Commit => EntryKind::Submodule,
            };
            let name: Box<[u8]> = AsRef::<[u8]>::as_ref(entry.filename).into();
            items.push(Item { hostile: is_hostile(&name), name, kind, id: entry.oid.to_owned() });
        }
        items.sort_by(|a, b| a.name.cmp(&b.name));
        // The same name twice could be a link for the one who checks and a folder for the one who writes.
        match items.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => {
                Err(format!("the name {:?} stands twice in one folder", String::from_utf8_lossy(&pair[0].name)))
            }
            None => Ok(Self { items }),
        }
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Item> {
        self.items.binary_search_by(|item| (*item.name).cmp(name)).ok().map(|index| &self.items[index])
    }
}

/// Names that lead elsewhere, or into the `.git` of whoever checks them out on any file system.
fn is_hostile(name: &[u8]) -> bool {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return true;
    }
    // Most names are decided by their first character.
    if !matches!(name[0], b'.' | b'g' | b'G' | 0xe2 | 0xef) {
        return false;
    }
    let text = String::from_utf8_lossy(name);
    // Characters that HFS+ ignores, and what NTFS ignores at the end.
    let ignored =
        |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = text.chars().filter(|c| !ignored(*c)).collect::<String>().to_lowercase();
    let plain = plain.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']);
    plain == ".git" || plain == "git~1"
}

/// Trees by id. An id names its content, so nothing in here is ever stale; what has not been used for a while makes room.
#[derive(Debug, Default)]
pub(crate) struct TreeCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<ObjectId, Arc<Tree>>,
    old: HashMap<ObjectId, Arc<Tree>>,
    weight: usize,
}

/// Names kept in the young generation: with both generations about 10 MB at the most.
const MAX_WEIGHT: usize = 50_000;

impl TreeCache {
    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<Tree>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = generations.young.get(id) {
            return Some(Arc::clone(tree));
        }
        let tree = generations.old.remove(id)?;
        generations.keep(*id, &tree);
        Some(tree)
    }

    pub(crate) fn insert(&self, id: ObjectId, tree: &Arc<Tree>) {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).keep(id, tree);
    }
}

impl Generations {
    fn keep(&mut self, id: ObjectId, tree: &Arc<Tree>) {
        self.weight += tree.items.len() + 1;
        if self.weight > MAX_WEIGHT {
            self.old = std::mem::take(&mut self.young);
            self.weight = tree.items.len() + 1;
        }
        self.young.insert(id, Arc::clone(tree));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(names: &[(&str, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for (mode, name) in names {
            data.extend_from_slice(mode.as_bytes());
            data.push(b' ');
            data.extend_from_slice(name);
            data.push(0);
            data.extend_from_slice(&[7; 20]);
        }
        data
    }

    #[test]
    fn names_that_lead_elsewhere_are_marked() {
        for name in [
            ".",
            "..",
            ".git",
            ".GIT",
            ".Git",
            ".git ",
            ".git.",
            ".git . .",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".git:x",
            ".git::$INDEX",
            "a/b",
            "/",
        ] {
            assert!(is_hostile(name.as_bytes()), "{name:?}");
        }
        for name in
            [".gitignore", ".gitmodules", ".github", "git", "gitea", "...", ".gitx", "a.git", "\u{e9}", "git~2", "a\\b"]
        {
            assert!(!is_hostile(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn names_are_found_whatever_the_order_and_never_twice() {
        let tree = Tree::parse(&raw(&[
            ("100644", b"a.x"),
            ("40000", b"a"),
            ("120000", b"0"),
            ("160000", b"m"),
            ("100755", b"e"),
        ]))
        .unwrap();
        let kind = |name: &str| tree.get(name.as_bytes()).map(|i| i.kind);
        assert_eq!(kind("a"), Some(EntryKind::Tree));
        assert_eq!(kind("a.x"), Some(EntryKind::Blob));
        assert_eq!(kind("0"), Some(EntryKind::Symlink));
        assert_eq!(kind("m"), Some(EntryKind::Submodule));
        assert_eq!(kind("e"), Some(EntryKind::Executable));
        assert_eq!(kind("b"), None);
        assert!(Tree::parse(&raw(&[("120000", b"a"), ("40000", b"a")])).is_err());
        assert!(Tree::parse(b"100644 truncated").is_err());
    }

    #[test]
    fn the_cache_forgets_what_is_not_used() {
        let cache = TreeCache::default();
        let id = |n: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            ObjectId::from_bytes_or_panic(&bytes)
        };
        let tree = Arc::new(Tree::default());
        for n in 0..(3 * MAX_WEIGHT as u32) {
            cache.insert(id(n), &tree);
            assert!(cache.get(&id(0)).is_some(), "used all the time, so kept");
        }
        assert!(cache.get(&id(1)).is_none());
        let generations = cache.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * MAX_WEIGHT);
    }
}
