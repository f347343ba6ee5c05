//! The chart's own files and those of its dependencies.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::RenderError;
use crate::cache::lock;
use crate::prepare::Workshop;
use crate::reads::Reads;
use crate::settings::read_text;
use crate::tree::{self, Kind, file_name};
use crate::yaml::{self, Duplicates};

/// What a template writes to ask for the cluster's version and its API versions.
pub(super) const CAPABILITIES: &str = "Capabilities";

/// How deep local charts may depend on each other.
const MAX_DEPTH: usize = 10;

/// Templates larger than this are taken to ask for everything.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

pub(super) struct Chart {
    pub(super) folder: String,
    pub(super) paths: BTreeSet<String>,
    pub(super) copies: Vec<(String, String)>,
    pub(super) fetch: bool,
    /// Folders of all charts, each with its id.
    folders: Vec<(String, String)>,
}

/// One entry of `dependencies` in Chart.yaml.
struct Dependency {
    name: String,
    version: String,
    repository: String,
}

impl Chart {
    pub(super) fn new(folder: String) -> Self {
        Self { folder, paths: BTreeSet::new(), copies: Vec::new(), fetch: false, folders: Vec::new() }
    }

    /// Finds everything that belongs to the chart.
    pub(super) fn collect(&mut self, reads: &mut Reads<'_>, index: usize, network: bool) -> Result<(), RenderError> {
        let folder = self.folder.clone();
        self.add(reads, index, &folder, &folder, network, 0)
    }

    /// Adds the chart in `folder`, which Helm will see in `place`.
    fn add(
        &mut self,
        reads: &mut Reads<'_>,
        index: usize,
        folder: &str,
        place: &str,
        network: bool,
        depth: usize,
    ) -> Result<(), RenderError> {
        let file = tree::join(folder, "Chart.yaml").unwrap_or_default();
        if depth > MAX_DEPTH {
            return Err(RenderError::settings(
                file,
                "the charts depend on each other in a circle: remove one dependency",
            ));
        }
        let id = reads.entry(index, folder)?.map(|entry| entry.id).unwrap_or_default();
        let found = reads.resolve(index, &file)?;
        if !found.is(Kind::Blob) {
            return Err(RenderError::Missing {
                path: file,
                commit: reads.tree(index).commit(),
                hint: "a helm source needs a chart in its folder".into(),
            });
        }
        let text = read_text(reads, index, &found.path)?;
        let content = yaml::parse_single(&text, Duplicates::LastWins).map_err(|f| RenderError::yaml(&file, f))?;
        self.paths.insert(folder.to_owned());
        let links = reads.follow_links(index, folder)?;
        self.paths.extend(links);
        self.folders.push((folder.to_owned(), id));

        for dependency in dependencies(&content) {
            if is_vendored(reads, index, folder, &dependency.name)? {
                continue;
            }
            let Some(local) = dependency.repository.strip_prefix("file://") else {
                self.fetch = true;
                if network {
                    continue;
                }
                return Err(missing_dependency(&file, &dependency));
            };
            let path = tree::join(folder, local).filter(|_| !local.starts_with('/')).ok_or_else(|| {
                RenderError::LeavesRepository { path: file.clone(), reference: dependency.repository.clone() }
            })?;
            let target = reads.resolve(index, &path)?;
            if !target.is(Kind::Tree) {
                let hint = format!("{file} names it as the dependency {}", dependency.name);
                return Err(RenderError::Missing { path, commit: reads.tree(index).commit(), hint });
            }
            let inner = format!("{}/charts/{}", place.trim_end_matches('/'), dependency.name);
            let inner = inner.trim_start_matches('/').to_owned();
            self.copies.push((target.path.clone(), inner.clone()));
            self.add(reads, index, &target.path, &inner, network, depth + 1)?;
        }
        Ok(())
    }

    /// Whether a template may look at the cluster's capabilities. Asked once per content of a folder, then remembered.
    pub(super) fn sees_capabilities(
        &self,
        reads: &Reads<'_>,
        index: usize,
        workshop: &Workshop,
    ) -> Result<bool, RenderError> {
        for (folder, id) in &self.folders {
            let known = lock(&workshop.charts).get(id);
            let sees = match known {
                Some(sees) => sees,
                None => {
                    let sees = folder_sees(reads, index, folder)?;
                    lock(&workshop.charts).put(id.clone(), sees, 1);
                    sees
                }
            };
            if sees {
                return Ok(true);
            }
        }
        // What links bring in from elsewhere is rare: it is not worth remembering.
        for path in self.paths.iter().filter(|path| !self.folders.iter().any(|(folder, _)| folder == *path)) {
            match reads.tree(index).entry(path)?.map(|entry| entry.kind) {
                Some(Kind::Tree) if folder_sees(reads, index, path)? => return Ok(true),
                Some(Kind::Blob) if file_sees(reads, index, path)? => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn folder_sees(reads: &Reads<'_>, index: usize, folder: &str) -> Result<bool, RenderError> {
    for (path, entry) in reads.tree(index).list(folder, true)? {
        if entry.kind == Kind::Blob && file_sees(reads, index, &path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn file_sees(reads: &Reads<'_>, index: usize, path: &str) -> Result<bool, RenderError> {
    if path.ends_with(".tgz") {
        return Ok(true);
    }
    let content = match reads.read(index, path, MAX_TEMPLATE_BYTES) {
        Ok(content) => content,
        Err(RenderError::Repository { transient: false, .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let has = |mark: &str| content.windows(mark.len()).any(|part| part == mark.as_bytes());
    Ok(has(CAPABILITIES) || (file_name(path) == "Chart.yaml" && has("kubeVersion")))
}

fn dependencies(chart: &Value) -> Vec<Dependency> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    chart["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|d| Dependency {
            name: text(&d["name"]),
            version: text(&d["version"]),
            repository: text(&d["repository"]),
        })
        .filter(|dependency| {
            !dependency.name.is_empty() && !dependency.name.contains(['/', '\\']) && dependency.name != ".."
        })
        .collect()
}

/// Whether `charts/` has a chart of that name: a folder, or an archive.
fn is_vendored(reads: &Reads<'_>, index: usize, folder: &str, name: &str) -> Result<bool, RenderError> {
    let charts = tree::join(folder, "charts").unwrap_or_default();
    if reads.tree(index).resolve(&format!("{charts}/{name}"))?.entry.is_some() {
        return Ok(true);
    }
    let target = reads.tree(index).resolve(&charts)?;
    if !target.is(Kind::Tree) {
        return Ok(false);
    }
    for (path, entry) in reads.tree(index).list(&target.path, false)? {
        let found = match entry.kind {
            Kind::Blob => {
                let archive = file_name(&path).strip_prefix(name).and_then(|rest| rest.strip_suffix(".tgz"));
                archive.is_some_and(|rest| {
                    rest.strip_prefix('-').is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
                })
            }
            // The folder of a chart may have any name.
            Kind::Tree => {
                let file = format!("{path}/Chart.yaml");
                let blob = reads.tree(index).entry(&file)?.is_some_and(|entry| entry.kind == Kind::Blob);
                blob && yaml::parse_single(&read_text(reads, index, &file)?, Duplicates::LastWins)
                    .is_ok_and(|chart| chart["name"] == name)
            }
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn missing_dependency(file: &str, dependency: &Dependency) -> RenderError {
    let Dependency { name, version, repository } = dependency;
    if repository.is_empty() {
        return RenderError::settings(
            file,
            format!("the dependency {name} is not in charts/ and has no repository: add it there"),
        );
    }
    let repository = match repository.split_once('@') {
        Some((scheme, rest)) if scheme.contains("://") => {
            format!("{}://{rest}", scheme.split("://").next().unwrap_or_default())
        }
        _ => repository.clone(),
    };
    RenderError::Remote {
        path: file.into(),
        reference: format!("chart {name} {version} of {repository} (run `helm dependency build` and commit charts/)"),
    }
}

/// Copies a folder inside the scratch copy of the repository. Links are followed, since they would lead elsewhere from the
/// new place, but only to places inside.
pub(super) fn copy_folder(repository: &Path, from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        let path = file.path().canonicalize()?;
        if !path.starts_with(repository.canonicalize()?) {
            return Err(std::io::Error::other(format!("{} leads out of the repository", file.path().display())));
        }
        if path.is_dir() {
            // The copy lies below what is copied if a chart depends on a chart above itself.
            if to.starts_with(&path) {
                continue;
            }
            copy_folder(repository, &path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
