//! What differs between two commits, and which of them came first.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use gix::ObjectId;

use crate::GitError;
use crate::mirror::Mirror;
use crate::snapshot::{join_bytes, lossy};
use crate::tree::{EntryKind, Item, Tree};

/// Paths in one answer; a change of more files concerns everything anyway.
const MAX_CHANGED: usize = 500_000;
const MAX_DEPTH: usize = 256;

/// The paths of files that differ between two trees, sorted. Folders with the same id are not opened, so the cost follows
/// the change and not the repository.
pub(crate) fn changed_paths(mirror: &Mirror, a: ObjectId, b: ObjectId) -> Result<Vec<String>, GitError> {
    let mut changes = Changes {
        mirror,
        changed: Vec::new(),
        folders: vec![Pair { path: Vec::new(), depth: 0, a: Some(a), b: Some(b) }],
    };
    while let Some(pair) = changes.folders.pop() {
        changes.compare(&pair)?;
    }
    let mut changed = changes.changed;
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}

struct Changes<'a> {
    mirror: &'a Mirror,
    changed: Vec<String>,
    folders: Vec<Pair>,
}

/// The same folder before and after; `None` where it is not there.
struct Pair {
    path: Vec<u8>,
    depth: usize,
    a: Option<ObjectId>,
    b: Option<ObjectId>,
}

impl Changes<'_> {
    fn compare(&mut self, pair: &Pair) -> Result<(), GitError> {
        if pair.a == pair.b {
            return Ok(());
        }
        let before = self.read(pair.a, &pair.path)?;
        let after = self.read(pair.b, &pair.path)?;
        let (mut a, mut b) = (before.items().iter().peekable(), after.items().iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(x), Some(y)) => x.name.cmp(&y.name),
            };
            let x = if order.is_le() { a.next() } else { None };
            let y = if order.is_ge() { b.next() } else { None };
            self.entry(pair, x, y)?;
        }
    }

    fn entry(&mut self, pair: &Pair, a: Option<&Item>, b: Option<&Item>) -> Result<(), GitError> {
        if let (Some(a), Some(b)) = (a, b)
            && a.id == b.id
            && a.kind == b.kind
        {
            return Ok(());
        }
        let Some(item) = a.or(b) else { return Ok(()) };
        let path = join_bytes(&pair.path, &item.name);
        let folder = |item: Option<&Item>| item.filter(|i| i.kind == EntryKind::Tree).map(|i| i.id);
        if [a, b].into_iter().flatten().any(|i| i.kind != EntryKind::Tree) {
            self.changed.push(lossy(&path));
        }
        let (a, b) = (folder(a), folder(b));
        if a.is_some() || b.is_some() {
            if pair.depth == MAX_DEPTH {
                return Err(GitError::TooLarge {
                    what: format!("the depth of {:?}", lossy(&path)),
                    limit: MAX_DEPTH as u64,
                });
            }
            self.folders.push(Pair { path, depth: pair.depth + 1, a, b });
        }
        if self.changed.len() + self.folders.len() > MAX_CHANGED {
            return Err(GitError::TooLarge { what: "the number of changed files".into(), limit: MAX_CHANGED as u64 });
        }
        Ok(())
    }

    fn read(&self, id: Option<ObjectId>, path: &[u8]) -> Result<Arc<Tree>, GitError> {
        match id {
            Some(id) => self.mirror.tree(id, &lossy(path)),
            None => Ok(Arc::new(Tree::default())),
        }
    }
}

/// Whether `a` is `b` or in its history. Walks from both ends at once, newest first, and stops where they meet: near
/// ancestors and recently diverged branches are cheap, whatever the length of the history.
pub(crate) fn is_ancestor(mirror: &Mirror, a: ObjectId, b: ObjectId) -> Result<bool, GitError> {
    if a == b {
        return Ok(true);
    }
    mirror.with(|repository| match repository.merge_bases_many(a, &[b]) {
        Ok(bases) => Ok(bases.iter().any(|base| base.detach() == a)),
        // Old repositories have commits whose dates cannot be read; without dates it takes longer and works as well.
        Err(_) => walk_without_dates(mirror, repository, a, b),
    })
}

fn walk_without_dates(
    mirror: &Mirror,
    repository: &gix::Repository,
    a: ObjectId,
    b: ObjectId,
) -> Result<bool, GitError> {
    let mut seen = HashSet::from([b]);
    let mut ahead = VecDeque::from([b]);
    while let Some(next) = ahead.pop_front() {
        let commit = repository.find_commit(next).map_err(|e| mirror.damage(e))?;
        for parent in commit.parent_ids().map(gix::Id::detach) {
            if parent == a {
                return Ok(true);
            }
            if seen.insert(parent) {
                ahead.push_back(parent);
            }
        }
    }
    Ok(false)
}
