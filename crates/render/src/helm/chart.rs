//! The chart's own files and those of its dependencies.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use yaml::{Budget, Duplicates};

use super::check;
use crate::RenderError;
use crate::cache::lock;
use crate::kustomize::address::{forbidden, without_credentials};
use crate::prepare::Workshop;
use crate::reads::Reads;
use crate::settings::read_text;
use crate::tree::{self, Kind, file_name};

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
        let content = parse(reads, index, &file, &found.path)?;
        self.paths.insert(folder.to_owned());
        let links = reads.follow_links(index, folder)?;
        self.paths.extend(links);
        self.folders.push((folder.to_owned(), id));

        // Charts of the first API version have their dependencies in a file of their own; Helm takes it with the others, too.
        let requirements = tree::join(folder, "requirements.yaml").unwrap_or_default();
        let found = reads.resolve(index, &requirements)?;
        let (listed, file) = match found.is(Kind::Blob) {
            true => {
                let own = dependencies(&parse(reads, index, &requirements, &found.path)?);
                if own.is_empty() { (dependencies(&content), file) } else { (own, requirements) }
            }
            false => (dependencies(&content), file),
        };
        if network {
            check_fetched(reads, index, folder)?;
        }
        for dependency in listed {
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

    /// Refuses schemas that lead elsewhere: of the chart, and of those that it depends upon. Asked once per content of a folder.
    pub(super) fn check_schemas(
        &self,
        reads: &Reads<'_>,
        index: usize,
        workshop: &Workshop,
    ) -> Result<(), RenderError> {
        for (folder, id) in &self.folders {
            let known = lock(&workshop.schemas).get(id).is_some();
            if !known {
                check::check_schemas(reads, index, folder)?;
                lock(&workshop.schemas).put(id.clone(), (), 1);
            }
        }
        // What links bring in from elsewhere, under whatever name they have here.
        for path in self.paths.iter().filter(|path| !self.folders.iter().any(|(folder, _)| folder == *path)) {
            match reads.tree(index).entry(path)?.map(|entry| entry.kind) {
                Some(Kind::Tree) => check::check_schemas(reads, index, path)?,
                Some(Kind::Blob) => check::check_file(reads, index, path)?,
                _ => {}
            }
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

fn parse(reads: &Reads<'_>, index: usize, shown: &str, path: &str) -> Result<Value, RenderError> {
    let text = read_text(reads, index, path)?;
    yaml::parse_single(&text, Duplicates::LastWins, &mut Budget::default()).map_err(|f| RenderError::yaml(shown, f))
}

/// Where charts may be fetched: from what every file that `helm dependency build` reads says. Helm takes keys in any case of
/// letters, and so does this.
fn check_fetched(reads: &Reads<'_>, index: usize, folder: &str) -> Result<(), RenderError> {
    for name in ["Chart.yaml", "Chart.lock", "requirements.yaml", "requirements.lock"] {
        let path = tree::join(folder, name).unwrap_or_default();
        let found = reads.tree(index).resolve(&path)?;
        if !found.is(Kind::Blob) {
            continue;
        }
        for repository in repositories(&parse(reads, index, &path, &found.path)?) {
            let local = repository.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("file://"));
            let why = match local {
                Some(_) => {
                    let inside = !repository[7..].starts_with('/') && tree::join(folder, &repository[7..]).is_some();
                    (!inside).then_some("it leads out of the repository")
                }
                None if repository.is_empty() => None,
                None if repository.starts_with(['@', '-']) || repository.starts_with("alias:") => {
                    Some("repositories have no short names here")
                }
                None => forbidden(&repository),
            };
            if let Some(why) = why {
                let shown = without_credentials(&repository);
                return Err(RenderError::unsupported(
                    format!("{path}: the repository `{}`", shown.escape_debug()),
                    format!("{why}; run `helm dependency build` and commit charts/"),
                ));
            }
        }
    }
    Ok(())
}

/// Every repository that a file names, whatever way its key is written in.
fn repositories(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key.to_lowercase() == "repository" => vec![text.clone()],
                value => repositories(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(repositories).collect(),
        _ => Vec::new(),
    }
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
                blob && parse(reads, index, &file, &file).is_ok_and(|chart| chart["name"] == name)
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
    let repository = without_credentials(repository);
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
