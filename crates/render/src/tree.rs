//! The files of one commit: what a render may read, and nothing beside it.

use std::path::Path;
use std::sync::Arc;

use crate::RenderError;

/// What a path of a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tree,
    Blob,
    Symlink,
    Submodule,
}

/// A path's kind and the id of its content: same id, same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

/// The files of one commit. Paths are relative to the root, without `./` or a trailing slash; the root is the empty path.
pub(crate) trait Tree: Send + Sync {
    /// The commit, shortened for messages.
    fn commit(&self) -> String;
    /// What is at a path; a symbolic link at its end is not followed.
    fn entry(&self, path: &str) -> Result<Option<Entry>, RenderError>;
    /// Where a path leads once its symbolic links are followed. One that leads out of the repository is an error.
    fn resolve(&self, path: &str) -> Result<Resolved, RenderError>;
    /// The content of a file.
    fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, RenderError>;
    /// What is below a folder, in order, with paths from the root.
    fn list(&self, path: &str, recursive: bool) -> Result<Vec<(String, Entry)>, RenderError>;
    /// Writes files and folders to the same paths below `into`.
    fn materialize(&self, paths: &[&str], into: &Path) -> Result<(), RenderError>;
}

pub(crate) type SharedTree = Arc<dyn Tree>;

/// Joins a reference to the folder it is relative to. `None`: it leaves the repository.
pub(crate) fn join(folder: &str, reference: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The folder of a path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Where a path leads once its symbolic links are followed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The path without links; if there is nothing, as far as it goes and one name more.
    pub(crate) path: String,
    /// What is there; `None` if nothing.
    pub(crate) entry: Option<Entry>,
    /// The links that were followed, with their ids.
    pub(crate) links: Vec<(String, String)>,
}

impl Resolved {
    /// Whether there is something of that kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.kind == kind)
    }
}

#[cfg(test)]
pub(crate) mod memory;

#[cfg(test)]
mod tests {
    use super::memory::MemoryTree;
    use super::*;

    #[test]
    fn references_stay_inside() {
        let table = [
            ("a/b", "../c", Some("a/c")),
            ("a", "./x//y/.", Some("a/x/y")),
            ("", "x", Some("x")),
            ("a", "..", Some("")),
            ("a", "../..", None),
            ("", "../x", None),
            ("a/b", "../../../a/b", None),
        ];
        for (folder, reference, expected) in table {
            assert_eq!(join(folder, reference).as_deref(), expected, "{folder} + {reference}");
        }
    }

    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        let tree = MemoryTree::new(&[("common/a.yaml", "x"), ("apps/web/own.yaml", "y")])
            .link("apps/web/shared", "../../common")
            .link("apps/web/one.yaml", "shared/a.yaml")
            .link("apps/web/gone.yaml", "nowhere/a.yaml")
            .link("apps/web/out", "../../../etc")
            .link("apps/web/absolute", "/etc/passwd")
            .link("loop/a", "b")
            .link("loop/b", "a");
        let found = |path: &str| tree.resolve(path).map(|r| (r.path, r.entry.is_some(), r.links.len()));
        assert_eq!(found("apps/web/own.yaml").unwrap(), ("apps/web/own.yaml".into(), true, 0));
        assert_eq!(found("apps/web/shared/a.yaml").unwrap(), ("common/a.yaml".into(), true, 1));
        assert_eq!(found("apps/web/one.yaml").unwrap(), ("common/a.yaml".into(), true, 2));
        assert_eq!(found("apps/web/gone.yaml").unwrap(), ("apps/web/nowhere".into(), false, 1));
        assert_eq!(found("apps/none/x").unwrap(), ("apps/none".into(), false, 0));
        for path in ["apps/web/out", "apps/web/out/passwd", "apps/web/absolute", "loop/a"] {
            assert!(matches!(found(path), Err(RenderError::LeavesRepository { .. })), "{path}");
        }
    }
}
