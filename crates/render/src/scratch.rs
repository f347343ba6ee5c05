//! Folders for programs to work in: made for one render, gone with it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tree::SharedTree;
use crate::{RenderConfig, RenderError};

const PREFIX: &str = "lockstep-render-";

/// A folder with a copy of what a program needs from the repository, and a home for the program.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// Makes the folder and writes the files into it.
    pub(crate) fn new<'p>(
        root: &Path,
        tree: &SharedTree,
        paths: impl Iterator<Item = &'p str>,
    ) -> Result<Self, RenderError> {
        let failed =
            |error: std::io::Error| RenderError::io(format!("writing to the scratch folder {}", root.display()), error);
        // The name tells whose it is, so that the next process removes what a killed one left behind.
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let scratch = Self { folder: TempDir::with_prefix_in(prefix, root).map_err(failed)? };
        std::fs::create_dir(scratch.repository()).map_err(failed)?;
        std::fs::create_dir(scratch.home()).map_err(failed)?;
        let paths: Vec<&str> = paths.collect();
        tree.materialize(&without_covered(&paths), &scratch.repository())?;
        Ok(scratch)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A message with the names that people know instead of scratch paths.
    pub(crate) fn readable(&self, message: &str) -> String {
        let repository = self.repository().display().to_string();
        let root = self.folder.path().display().to_string();
        message.replace(&format!("{repository}/"), "").replace(&repository, ".").replace(&format!("{root}/"), "")
    }
}

/// Leaves out what lies below another path: it would be written twice.
fn without_covered<'p>(paths: &[&'p str]) -> Vec<&'p str> {
    let inside = |path: &str, folder: &str| path != folder && crate::reads::is_below(path, folder);
    paths.iter().copied().filter(|path| !paths.iter().any(|other| inside(path, other))).collect()
}

/// Where scratch folders are made. Removes those of processes that are gone.
pub(crate) fn root(config: &RenderConfig) -> Result<PathBuf, RenderError> {
    let memory = Path::new("/dev/shm");
    let root = match &config.scratch_dir {
        Some(folder) => folder.clone(),
        None if tempfile::tempfile_in(memory).is_ok() => memory.to_owned(),
        None => std::env::temp_dir(),
    };
    let failed = |error: std::io::Error| RenderError::io(format!("using the scratch folder {}", root.display()), error);
    std::fs::create_dir_all(&root).map_err(failed)?;
    // Programs print real paths; messages are cleaned by comparing with them.
    let root = root.canonicalize().map_err(failed)?;
    // Helm would take a path with one of these for several, or for something else.
    if root.to_string_lossy().contains([',', '\\', '{', '}', '"', '\n']) {
        let why = "its path has a character in it that Helm's command line gives a meaning: set another folder";
        return Err(RenderError::io(format!("using the scratch folder {}", root.display()), why));
    }
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tree::memory::MemoryTree;

    #[test]
    fn what_another_path_covers_is_left_out() {
        assert_eq!(without_covered(&["a", "a/b", "ab", "c/d"]), ["a", "ab", "c/d"]);
        assert_eq!(without_covered(&["", "a"]), [""]);
    }

    #[test]
    fn a_folder_lives_as_long_as_its_render_and_messages_do_not_show_it() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(format!("{PREFIX}4194305-x"));
        std::fs::create_dir(&left).unwrap();
        let config = RenderConfig { scratch_dir: Some(root.path().into()), ..RenderConfig::default() };
        let root = super::root(&config).unwrap();
        assert!(!left.exists(), "no process has that id");
        let tree: SharedTree = Arc::new(MemoryTree::new(&[("a/x.yaml", "x"), ("b/y.yaml", "y")]));
        let scratch = Scratch::new(&root, &tree, ["a"].into_iter()).unwrap();
        let repository = scratch.repository();
        assert!(repository.join("a/x.yaml").exists() && !repository.join("b").exists());
        let message = format!("file {0}/a/x.yaml in {0}: broken", repository.display());
        assert_eq!(scratch.readable(&message), "file a/x.yaml in .: broken");
        drop(scratch);
        assert!(!repository.exists());
    }
}
