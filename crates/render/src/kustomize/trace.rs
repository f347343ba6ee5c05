//! What a kustomization refers to, directly and through the kustomizations that it builds upon.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::RenderError;
use crate::reads::Reads;
use crate::settings::{KUSTOMIZATION_NAMES, read_text};
use crate::tree::{self, Kind};
use crate::yaml::{self, Duplicates};

/// The files and folders that a build needs, and what is known about the rest.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Files, links and folders to write into the scratch folder.
    pub(crate) paths: BTreeSet<String>,
    /// Whether something is referred to that does not exist: then the tool's complaint is the truth.
    pub(crate) missing: bool,
    /// References to the network: the file they are in, and the address.
    pub(crate) remote: Vec<(String, String)>,
}

impl Trace {
    /// Follows everything from the kustomization of `folder`; `edited` replaces the content of that first one.
    pub(crate) fn of(
        reads: &mut Reads<'_>,
        index: usize,
        folder: &str,
        edited: Option<&Value>,
        with_helm: bool,
    ) -> Result<Self, RenderError> {
        let mut tracer = Tracer { reads, index, with_helm, trace: Self::default(), visited: BTreeSet::new() };
        tracer.kustomization(folder, edited)?;
        Ok(tracer.trace)
    }
}

impl Trace {
    /// Takes the whole repository. There is nothing left to try after this.
    pub(crate) fn widen(&mut self) {
        self.paths = [String::new()].into();
        self.missing = true;
    }
}

struct Tracer<'r, 'a> {
    reads: &'r mut Reads<'a>,
    index: usize,
    with_helm: bool,
    trace: Trace,
    visited: BTreeSet<String>,
}

/// A kustomization that is being read: where it is and what it is called.
struct Place<'p> {
    folder: &'p str,
    file: &'p str,
}

impl Tracer<'_, '_> {
    fn kustomization(&mut self, folder: &str, edited: Option<&Value>) -> Result<(), RenderError> {
        if !self.visited.insert(folder.to_owned()) {
            return Ok(());
        }
        let mut found = None;
        for name in KUSTOMIZATION_NAMES {
            let path = tree::join(folder, name).unwrap_or_default();
            if let Some((target, Kind::Blob)) = self.take(&path)? {
                found.get_or_insert((path, target));
            }
        }
        let Some((file, target)) = found else {
            self.trace.missing = true;
            return Ok(());
        };
        let content = match edited {
            Some(value) => value.clone(),
            None => match self.parse(&target)? {
                Some(value) => value,
                // The tool explains better what is wrong; it gets the whole folder to do so.
                None => return self.whole(folder),
            },
        };
        self.fields(&content, &Place { folder, file: &file })
    }

    fn parse(&self, path: &str) -> Result<Option<Value>, RenderError> {
        let text = read_text(self.reads, self.index, path)?;
        Ok(yaml::parse_single(&text, Duplicates::LastWins).ok())
    }

    fn fields(&mut self, content: &Value, place: &Place<'_>) -> Result<(), RenderError> {
        for field in ["resources", "bases", "components"] {
            for reference in texts(&content[field]) {
                if let Some((path, Kind::Tree)) = self.refer(place, reference)? {
                    self.kustomization(&path, None)?;
                }
            }
        }
        for field in ["crds", "configurations"] {
            for reference in texts(&content[field]) {
                self.refer(place, reference)?;
            }
        }
        for field in ["patches", "patchesJson6902", "replacements"] {
            for item in items(&content[field]) {
                if let Some(reference) = item["path"].as_str() {
                    self.refer(place, reference)?;
                }
            }
        }
        for reference in texts(&content["patchesStrategicMerge"]) {
            // An entry is the patch itself if there is no such file.
            if !reference.contains('\n') && self.exists(place, reference)? {
                self.refer(place, reference)?;
            }
        }
        if let Some(reference) = content["openapi"]["path"].as_str() {
            self.refer(place, reference)?;
        }
        for field in ["generators", "transformers", "validators"] {
            for reference in texts(&content[field]) {
                self.plugin(place, reference)?;
            }
        }
        for field in ["configMapGenerator", "secretGenerator"] {
            for generator in items(&content[field]) {
                self.generator(place, generator)?;
            }
        }
        self.charts(content, place)
    }

    /// A generator of ConfigMaps or Secrets.
    fn generator(&mut self, place: &Place<'_>, generator: &Value) -> Result<(), RenderError> {
        for reference in texts(&generator["files"]) {
            self.refer(place, reference.split_once('=').map_or(reference, |(_, path)| path))?;
        }
        for reference in texts(&generator["envs"]).chain(generator["env"].as_str()) {
            self.refer(place, reference)?;
        }
        Ok(())
    }

    /// The configuration of a built-in plugin: a file, a folder with a kustomization, or the text itself. It may name further
    /// files; whichever of its texts is a path that exists is taken along.
    fn plugin(&mut self, place: &Place<'_>, reference: &str) -> Result<(), RenderError> {
        let text = if self.exists(place, reference)? {
            match self.refer(place, reference)? {
                Some((path, Kind::Tree)) => return self.kustomization(&path, None),
                Some((path, _)) => read_text(self.reads, self.index, &path)?,
                None => return Ok(()),
            }
        } else if reference.contains('\n') || reference.contains('{') {
            reference.to_owned()
        } else {
            self.refer(place, reference)?;
            return Ok(());
        };
        for document in yaml::documents(&text) {
            if let Ok(value) = yaml::parse(&document, Duplicates::LastWins) {
                self.texts_that_are_paths(place, &value)?;
            }
        }
        Ok(())
    }

    fn texts_that_are_paths(&mut self, place: &Place<'_>, value: &Value) -> Result<(), RenderError> {
        match value {
            Value::String(text) => {
                for reference in [text.as_str(), text.split_once('=').map_or("", |(_, path)| path)] {
                    let is_path =
                        !reference.is_empty() && !reference.contains('\n') && self.exists(place, reference)?;
                    if is_path && let Some((path, Kind::Tree)) = self.refer(place, reference)? {
                        self.whole(&path)?;
                    }
                }
                Ok(())
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.texts_that_are_paths(place, item)),
            Value::Object(map) => map.values().try_for_each(|item| self.texts_that_are_paths(place, item)),
            _ => Ok(()),
        }
    }

    /// Charts that the kustomization inflates with Helm.
    fn charts(&mut self, content: &Value, place: &Place<'_>) -> Result<(), RenderError> {
        let charts: Vec<&Value> = items(&content["helmCharts"]).collect();
        let old: Vec<&Value> = items(&content["helmChartInflationGenerator"]).collect();
        if charts.is_empty() && old.is_empty() {
            return Ok(());
        }
        if !self.with_helm {
            return Err(RenderError::unsupported(
                format!("{}: charts in a kustomization", place.file),
                "set `kustomize_build_options` to `--enable-helm` for this worker, or use a helm source",
            ));
        }
        let global_home = content["helmGlobals"]["chartHome"].as_str();
        for (chart, name, home, repository) in charts.iter().map(|c| (*c, &c["name"], global_home, &c["repo"])).chain(
            old.iter().map(|c| (*c, &c["chartName"], c["chartHome"].as_str().or(global_home), &c["chartRepoUrl"])),
        ) {
            let home = home.unwrap_or("charts");
            let name = name.as_str().unwrap_or_default();
            let versioned = format!("{home}/{name}-{}", chart["version"].as_str().unwrap_or_default());
            if self.exists(place, &format!("{home}/{name}"))? || self.exists(place, &versioned)? {
                if let Some((path, Kind::Tree)) = self.refer(place, home)? {
                    self.whole(&path)?;
                }
            } else if let Some(repository) = repository.as_str() {
                self.trace
                    .remote
                    .push((place.file.to_owned(), format!("chart {name} of {}", without_credentials(repository))));
            } else {
                self.refer(place, &format!("{home}/{name}"))?;
            }
            let files = texts(&chart["additionalValuesFiles"])
                .chain(chart["valuesFile"].as_str())
                .chain(chart["values"].as_str());
            for reference in files.collect::<Vec<_>>() {
                self.refer(place, reference)?;
            }
        }
        Ok(())
    }

    /// Whether a reference leads to something in the repository. Not noted: it is only a question.
    fn exists(&self, place: &Place<'_>, reference: &str) -> Result<bool, RenderError> {
        match tree::join(place.folder, reference).filter(|_| !reference.starts_with('/')) {
            Some(path) if !reference.is_empty() => Ok(self.reads.tree(self.index).resolve(&path)?.entry.is_some()),
            _ => Ok(false),
        }
    }

    /// Takes what a reference leads to; notes it as missing or remote if it leads to nothing.
    fn refer(&mut self, place: &Place<'_>, reference: &str) -> Result<Option<(String, Kind)>, RenderError> {
        let path = tree::join(place.folder, reference).filter(|_| !reference.starts_with('/'));
        if let Some(path) = &path
            && let Some(found) = self.take(path)?
        {
            return Ok(Some(found));
        }
        if is_remote(reference) {
            self.trace.remote.push((place.file.to_owned(), without_credentials(reference)));
        } else if path.is_none() {
            return Err(RenderError::LeavesRepository { path: place.file.to_owned(), reference: reference.to_owned() });
        } else {
            self.trace.missing = true;
        }
        Ok(None)
    }

    /// Takes a folder with everything in it.
    fn whole(&mut self, folder: &str) -> Result<(), RenderError> {
        self.reads.entry(self.index, folder)?;
        self.trace.paths.insert(folder.to_owned());
        let links = self.reads.follow_links(self.index, folder)?;
        self.trace.paths.extend(links);
        Ok(())
    }

    /// Notes a path and puts it on the list, unless it is a folder: of that, only what is referred to is needed.
    fn take(&mut self, path: &str) -> Result<Option<(String, Kind)>, RenderError> {
        let resolved = self.reads.resolve(self.index, path)?;
        self.trace.paths.extend(resolved.links.into_iter().map(|(link, _)| link));
        let Some(entry) = resolved.entry else { return Ok(None) };
        if entry.kind == Kind::Blob {
            self.trace.paths.insert(resolved.path.clone());
        }
        Ok(Some((resolved.path, entry.kind)))
    }
}

/// An address that Kustomize would fetch: a URL, `host/owner/repository`, or the short form of SSH.
fn is_remote(reference: &str) -> bool {
    let host = reference.split('/').next().unwrap_or_default();
    reference.contains("://")
        || reference.starts_with("git@")
        || reference.contains("?ref=")
        || reference.contains(".git")
        || (host.contains('.')
            && !host.starts_with('.')
            && reference.matches('/').count() >= 2
            && !has_extension(reference))
}

fn has_extension(reference: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|extension| reference.ends_with(extension))
}

/// An address without user name and password.
fn without_credentials(reference: &str) -> String {
    match reference.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or(authority))
        }
        None => reference.to_owned(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("https://github.com/o/r//path?ref=v1", true),
            ("github.com/o/r/path", true),
            ("git@github.com:o/r.git", true),
            ("ssh://git@host/r", true),
            ("../base", false),
            ("base", false),
            ("v1.2/base/x.yaml", false),
            ("./a.b/c/d", false),
        ];
        for (reference, expected) in table {
            assert_eq!(is_remote(reference), expected, "{reference}");
        }
        assert_eq!(without_credentials("https://me:secret@host/r"), "https://host/r");
    }
}
