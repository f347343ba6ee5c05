//! The files that people write: manifests and definitions.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use resources::{Object, ObjectKey};

/// Who makes the object before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// We apply it, and nobody else.
    Applied,
    /// Made by `kubectl apply` on the client's side, and taken over by our apply.
    Adopted,
    /// Made by `kubectl apply` on the client's side, and never applied by us.
    Foreign,
}

/// One object as its author wrote it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object.
    pub object: Object,
    /// Who makes it.
    pub origin: Origin,
}

/// Everything that is read.
pub struct Sources {
    /// In the order of their files.
    pub manifests: Vec<Manifest>,
    /// Definitions that are written out.
    pub definitions: Vec<Object>,
}

impl Sources {
    /// Reads the folders `manifests` and `crds`.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut manifests = Vec::new();
        let mut seen: HashSet<ObjectKey> = HashSet::new();
        for file in files(&folder.join("manifests"))? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let origin = match &*name {
                "adopted" => Origin::Adopted,
                "foreign" => Origin::Foreign,
                _ => Origin::Applied,
            };
            for object in objects(&file)? {
                ensure!(seen.insert(object.key()), "{}: {} is there twice", file.display(), object.key());
                manifests.push(Manifest { object, origin });
            }
        }
        let definitions: Result<Vec<Vec<Object>>> =
            files(&folder.join("crds"))?.iter().map(|file| objects(file)).collect();
        Ok(Self { manifests, definitions: definitions?.into_iter().flatten().collect() })
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
        Ok(entries?.into_iter().map(|entry| entry.path()).collect())
    };
    let mut files = read().with_context(|| format!("cannot list {}", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Read as the worker reads them, so that a quoted number is text here too.
fn objects(file: &Path) -> Result<Vec<Object>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    render::objects(&text).with_context(|| file.display().to_string())
}
