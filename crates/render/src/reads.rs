//! What a render reads: every path that is looked at is noted with its id, also those that are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Entry, Kind, Resolved, SharedTree};
use crate::{Input, RenderError};

/// Looks at the commits of an application's sources and notes what it saw.
pub(crate) struct Reads<'a> {
    trees: &'a [SharedTree],
    seen: BTreeMap<(usize, String), Option<Entry>>,
}

impl<'a> Reads<'a> {
    pub(crate) fn new(trees: &'a [SharedTree]) -> Self {
        Self { trees, seen: BTreeMap::new() }
    }

    pub(crate) fn tree(&self, source: usize) -> &'a SharedTree {
        &self.trees[source]
    }

    /// What is at a path, links not followed.
    pub(crate) fn entry(&mut self, source: usize, path: &str) -> Result<Option<Entry>, RenderError> {
        let entry = self.trees[source].entry(path)?;
        self.seen.insert((source, path.into()), entry.clone());
        Ok(entry)
    }

    /// Where a path leads, links followed; each link is noted too. A folder is not: what is read in it decides, or `entry`
    /// says that all of it counts.
    pub(crate) fn resolve(&mut self, source: usize, path: &str) -> Result<Resolved, RenderError> {
        let resolved = self.trees[source].resolve(path)?;
        for (link, id) in &resolved.links {
            self.seen.insert((source, link.clone()), Some(Entry { kind: Kind::Symlink, id: id.clone() }));
        }
        if !resolved.is(Kind::Tree) {
            self.seen.insert((source, resolved.path.clone()), resolved.entry.clone());
        }
        Ok(resolved)
    }

    /// The content of a file that `resolve` has found.
    pub(crate) fn read(&self, source: usize, path: &str, max_bytes: u64) -> Result<Vec<u8>, RenderError> {
        self.trees[source].read(path, max_bytes)
    }

    /// Follows every link below a folder that was noted, and returns the paths outside of it that they lead to.
    pub(crate) fn follow_links(&mut self, source: usize, folder: &str) -> Result<BTreeSet<String>, RenderError> {
        let mut outside = BTreeSet::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for (path, entry) in self.trees[source].list(&folder, true)? {
                if entry.kind != Kind::Symlink {
                    continue;
                }
                let resolved = self.resolve(source, &path)?;
                let links = resolved.links.into_iter().map(|(link, _)| link);
                let known = |path: &str| outside.contains(path) || is_below(path, &folder);
                let mut new: Vec<String> = links.filter(|link| !known(link)).collect();
                if let Some(target) = resolved.entry.filter(|_| !known(&resolved.path)) {
                    new.push(resolved.path.clone());
                    if target.kind == Kind::Tree {
                        self.entry(source, &resolved.path)?;
                        folders.push(resolved.path);
                    }
                }
                outside.extend(new);
            }
        }
        Ok(outside)
    }

    /// Adds what another one noted.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.seen.extend(other.seen);
        self
    }

    /// Everything noted, without what a noted folder already covers.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let covered = |source: usize, path: &str| {
            let is_tree = |folder: &str| {
                matches!(self.seen.get(&(source, folder.to_owned())), Some(Some(Entry { kind: Kind::Tree, .. })))
            };
            !path.is_empty() && (is_tree("") || path.match_indices('/').any(|(at, _)| is_tree(&path[..at])))
        };
        self.seen
            .iter()
            .filter(|((source, path), _)| !covered(*source, path))
            .map(|((source, path), entry)| Input {
                source: *source,
                path: path.clone(),
                id: entry.as_ref().map(|e| e.id.clone()),
            })
            .collect()
    }
}

/// Whether a path is a folder or below it.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tree::memory::MemoryTree;

    #[test]
    fn a_folder_covers_what_is_below_it() {
        let tree = MemoryTree::new(&[("a/b/c.yaml", "x"), ("a-b/d.yaml", "y"), ("e.yaml", "z")]);
        let trees: [SharedTree; 1] = [Arc::new(tree)];
        let mut reads = Reads::new(&trees);
        for path in ["a/b/c.yaml", "a/b/missing", "a", "a-b/d.yaml", "e.yaml", "e.yaml.bak"] {
            reads.entry(0, path).unwrap();
        }
        let found: Vec<_> = reads.inputs().into_iter().map(|i| (i.path, i.id.is_some())).collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), true),
                ("a-b/d.yaml".to_owned(), true),
                ("e.yaml".to_owned(), true),
                ("e.yaml.bak".to_owned(), false)
            ]
        );
    }

    #[test]
    fn links_out_of_a_folder_are_followed_to_the_end() {
        let tree = MemoryTree::new(&[("shared/x/t.yaml", "x"), ("deep/y.yaml", "y")])
            .link("chart/templates", "../shared/x")
            .link("shared/x/more", "../../deep")
            .link("chart/same", "templates");
        let trees: [SharedTree; 1] = [Arc::new(tree)];
        let mut reads = Reads::new(&trees);
        reads.entry(0, "chart").unwrap();
        let outside = reads.follow_links(0, "chart").unwrap();
        assert_eq!(outside.into_iter().collect::<Vec<_>>(), ["deep", "shared/x"]);
    }
}
