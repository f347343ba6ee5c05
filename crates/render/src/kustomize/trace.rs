//! What a kustomization refers to, directly and through the kustomizations that it builds upon: checked, and written anew.
//!
//! Nothing reaches Kustomize in its author's spelling. Every kustomization, and every configuration of a plugin, is read once,
//! held against the [`schema`](super::schema), and written for Kustomize as it was read: one line of JSON, each path in its
//! plainest form, with `./` before it, which no version takes for an address. What Kustomize builds is then what was checked,
//! whatever keys, anchors, encodings or names the original plays with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use yaml::{Budget, Cause, Duplicates, Fault};

use super::address::{forbidden, is_address, looks_like_address, without_credentials};
use super::schema::{self, KUSTOMIZATION, PLUGIN_KINDS, Reference};
use crate::reads::Reads;
use crate::settings::{KUSTOMIZATION_NAMES, read_text};
use crate::tree::{self, Kind};
use crate::{RenderError, Warning, helm};

/// How many kustomizations one source may be made of.
const MAX_KUSTOMIZATIONS: usize = 2_000;

/// The files and folders that a build needs, and what is known about the rest.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Files, links and folders to write into the scratch folder.
    pub(crate) paths: BTreeSet<String>,
    /// What is written in the place of what the repository has: path and text.
    pub(crate) checked: BTreeMap<String, String>,
    /// Whether something is fetched from the network, so that not everything is known that is read.
    pub(crate) remote: bool,
    /// What is odd, but no error.
    pub(crate) warnings: Vec<Warning>,
}

/// What a build may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    /// Whether charts are inflated.
    pub(super) helm: bool,
    /// Whether programs may use the network.
    pub(super) network: bool,
}

impl Trace {
    /// Follows everything from the kustomization of `folder`, which `edit` may change first.
    pub(super) fn of(
        reads: &mut Reads<'_>,
        index: usize,
        folder: &str,
        may: May,
        edit: impl FnOnce(&mut Value, &mut Reads<'_>) -> Result<(), RenderError>,
    ) -> Result<Self, RenderError> {
        let mut tracer = Tracer {
            reads,
            index,
            may,
            trace: Self::default(),
            visited: BTreeSet::new(),
            data: BTreeMap::new(),
            budget: Budget::default(),
        };
        let (file, mut content) = tracer.read(folder)?;
        edit(&mut content, &mut *tracer.reads)?;
        tracer.visited.insert(folder.to_owned());
        tracer.check(&Place { folder, file: &file }, content)?;
        tracer.finish()
    }
}

struct Tracer<'r, 'a> {
    reads: &'r mut Reads<'a>,
    index: usize,
    may: May,
    trace: Trace,
    visited: BTreeSet<String>,
    /// Files whose bytes count, with the kustomization that names them.
    data: BTreeMap<String, String>,
    budget: Budget<'static>,
}

/// A kustomization that is being read: where its paths begin, and the file that says them.
#[derive(Clone, Copy)]
struct Place<'p> {
    folder: &'p str,
    file: &'p str,
}

/// A fault in words, or another.
enum Trouble {
    Words(String),
    Error(RenderError),
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<RenderError> for Trouble {
    fn from(error: RenderError) -> Self {
        Self::Error(error)
    }
}

impl Trouble {
    fn of(self, file: &str) -> RenderError {
        match self {
            Self::Words(words) => RenderError::yaml(file, Fault::new(1, 0, words)),
            Self::Error(error) => error,
        }
    }
}

impl Tracer<'_, '_> {
    fn finish(self) -> Result<Trace, RenderError> {
        match self.data.iter().find(|(path, _)| self.trace.checked.contains_key(*path)) {
            Some((path, file)) => Err(RenderError::unsupported(
                format!("{file}: {path}, both as a part of the build and as data,"),
                "copy it to another file, and name that as data",
            )),
            None => Ok(self.trace),
        }
    }

    fn kustomization(&mut self, folder: &str) -> Result<(), RenderError> {
        if !self.visited.insert(folder.to_owned()) {
            return Ok(());
        }
        self.not_too_many(folder)?;
        let (file, content) = self.read(folder)?;
        self.check(&Place { folder, file: &file }, content)
    }

    fn not_too_many(&self, folder: &str) -> Result<(), RenderError> {
        if self.visited.len() <= MAX_KUSTOMIZATIONS {
            return Ok(());
        }
        let message = format!("more than {MAX_KUSTOMIZATIONS} kustomizations are built: make it fewer");
        Err(RenderError::yaml(folder, Fault::new(1, 0, message)))
    }

    /// The kustomization of a folder: its file, and what it says.
    fn read(&mut self, folder: &str) -> Result<(String, Value), RenderError> {
        let mut found = None;
        for name in KUSTOMIZATION_NAMES {
            let path = tree::join(folder, name).unwrap_or_default();
            if let Some((target, Kind::Blob)) = self.take(&path)? {
                if let Some((other, _)) = found {
                    let message = format!("{path} is there, too, and Kustomize takes one only: remove one of them");
                    return Err(RenderError::yaml(other, Fault::new(1, 0, message)));
                }
                found = Some((path, target));
            }
        }
        let Some((file, target)) = found else {
            return Err(RenderError::Missing {
                path: tree::join(folder, KUSTOMIZATION_NAMES[0]).unwrap_or_default(),
                commit: self.reads.tree(self.index).commit(),
                hint: "Kustomize needs a kustomization in this folder".into(),
            });
        };
        let text = read_text(self.reads, self.index, &target)?;
        let content = self.parse(&file, &text)?;
        match content {
            Value::Null => Ok((file, Value::Object(serde_json::Map::new()))),
            content => Ok((file, content)),
        }
    }

    /// Reads as Kustomize does: of a key that is there twice the last one counts. It is told, since somebody meant the other.
    fn parse(&mut self, file: &str, text: &str) -> Result<Value, RenderError> {
        match yaml::parse_single(text, Duplicates::Refuse, &mut self.budget) {
            Err(fault) if fault.cause == Cause::DuplicateKey => {
                let message = format!("{file}, line {}: {}; the last one is used", fault.line, fault.message);
                self.trace.warnings.push(Warning { kind: "RepeatedKeyWarning".into(), message });
                yaml::parse_single(text, Duplicates::LastWins, &mut self.budget)
            }
            read => read,
        }
        .map_err(|fault| RenderError::yaml(file, fault))
    }

    /// Checks a kustomization, follows it, and notes how it is written for Kustomize.
    fn check(&mut self, place: &Place<'_>, mut content: Value) -> Result<(), RenderError> {
        self.follow(place, &mut content, KUSTOMIZATION).map_err(|trouble| trouble.of(place.file))?;
        let home = content["helmGlobals"]["chartHome"].as_str().map(str::to_owned);
        for chart in content["helmCharts"].as_array().into_iter().flatten() {
            self.chart(place, chart, home.as_deref()).map_err(|trouble| trouble.of(place.file))?;
        }
        self.trace.checked.insert(place.file.to_owned(), yaml::to_flow(&content) + "\n");
        Ok(())
    }

    fn follow(&mut self, place: &Place<'_>, value: &mut Value, fields: &[schema::Field]) -> Result<(), Trouble> {
        schema::walk(value, fields, &mut |at, reference, text: &mut String| self.reference(place, at, reference, text))
    }

    /// One text that Kustomize takes for an address or a path: followed, and written in its plainest form.
    fn reference(
        &mut self,
        place: &Place<'_>,
        at: &str,
        reference: Reference,
        text: &mut String,
    ) -> Result<(), Trouble> {
        match reference {
            Reference::Resource | Reference::Component => {
                let Some((path, kind)) = self.local(place, at, text)? else { return Ok(()) };
                match kind {
                    Kind::Tree => self.kustomization(&path)?,
                    _ if reference == Reference::Component => {
                        return Err(format!("`{at}`: {path} is no folder, and a component is one").into());
                    }
                    _ => {}
                }
                Ok(())
            }
            Reference::File => self.data(place, at, text),
            Reference::KeyedFile => self.keyed(place, at, text),
            Reference::Patch => self.patch(place, at, text),
            Reference::Plugin => self.plugin(place, at, text),
            Reference::ChartHome => {
                if is_address(text) {
                    return Err(format!("`{at}`: `{text}` is no folder of the repository").into());
                }
                *text = self.plain(place, text)?.1;
                Ok(())
            }
            // With the chart, of which they are parts.
            Reference::ChartRepository | Reference::ChartName => Ok(()),
            Reference::Argument => argument(at, text),
        }
    }

    /// A file that is read as it is.
    fn data(&mut self, place: &Place<'_>, at: &str, text: &mut String) -> Result<(), Trouble> {
        match self.local(place, at, text)? {
            Some((path, Kind::Blob)) => {
                self.data.insert(path, place.file.to_owned());
                Ok(())
            }
            Some((path, _)) => Err(format!("`{at}`: {path} is a folder, and a file is needed").into()),
            None => Ok(()),
        }
    }

    fn keyed(&mut self, place: &Place<'_>, at: &str, text: &mut String) -> Result<(), Trouble> {
        let (key, path) = match text.split_once('=') {
            Some((key, path)) if key.is_empty() || path.is_empty() || path.contains('=') => {
                return Err(format!("`{at}`: `{text}` is not `file` or `key=file`").into());
            }
            Some((key, path)) => (Some(key.to_owned()), path),
            None => (None, text.as_str()),
        };
        let mut path = path.to_owned();
        self.data(place, at, &mut path)?;
        *text = match key {
            Some(key) => format!("{key}={path}"),
            None => path,
        };
        Ok(())
    }

    /// A patch, or the file that has it.
    fn patch(&mut self, place: &Place<'_>, at: &str, text: &mut String) -> Result<(), Trouble> {
        // Kustomize tries it as a patch, then as a path, and of paths it fetches those that begin like this.
        let start = text.trim_start().get(..6).unwrap_or_default().to_ascii_lowercase();
        let fetched = start.starts_with("http:") || start == "https:";
        if !fetched && (text.contains('\n') || self.objects(text).is_some()) {
            // Left as it is: a text with a line break or a mapping is no address and no path.
            return match self.objects(text) {
                Some(_) => Ok(()),
                None => {
                    let first = text.trim_start().lines().next().unwrap_or_default();
                    Err(format!("`{at}` is neither a patch nor a file: `{first}`").into())
                }
            };
        }
        self.data(place, at, text)
    }

    /// The objects that a text says itself; `None` if it says none.
    fn objects(&mut self, text: &str) -> Option<Vec<Value>> {
        let documents: Vec<_> = yaml::documents(text).collect();
        let values: Result<Vec<Value>, Fault> = documents
            .iter()
            .map(|document| yaml::parse(document, Duplicates::LastWins, &mut self.budget))
            .filter(|value| !matches!(value, Ok(Value::Null)))
            .collect();
        values.ok().filter(|values| !values.is_empty() && values.iter().all(Value::is_object))
    }

    /// The configuration of a plugin: the text itself, a file, or a folder with a kustomization.
    fn plugin(&mut self, place: &Place<'_>, at: &str, text: &mut String) -> Result<(), Trouble> {
        if let Some(mut configurations) = self.objects(text) {
            for configuration in &mut configurations {
                self.configuration(place, at, configuration)?;
            }
            *text = written(&configurations);
            return Ok(());
        }
        match self.local(place, at, text)? {
            Some((path, Kind::Tree)) => self.plugin_folder(place, &path),
            Some((path, _)) => self.plugin_file(place, &path),
            None => Err(format!("`{at}`: configurations of plugins are taken from the repository only").into()),
        }
    }

    /// A kustomization may change what it builds, also what plugins are told: only one that lists files is known beforehand.
    fn plugin_folder(&mut self, place: &Place<'_>, folder: &str) -> Result<(), Trouble> {
        let (file, content) = self.read(folder)?;
        let known = ["apiVersion", "kind", "metadata", "resources"];
        let mut keys = content.as_object().into_iter().flatten();
        if let Some((key, _)) = keys.find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(RenderError::unsupported(
                format!("{file}: `{key}` in a kustomization of plugins"),
                "list their files in `resources`, and nothing else",
            )
            .into());
        }
        // The paths in them begin where they are used.
        if !self.visited.insert(format!("{folder}\0{}", place.folder)) {
            return Ok(());
        }
        self.not_too_many(folder)?;
        let inner = Place { folder, file: &file };
        let mut content = content;
        let resources = content["resources"].as_array_mut().into_iter().flatten();
        for (number, resource) in resources.enumerate() {
            let at = format!("resources[{number}]");
            let Value::String(text) = resource else { return Err(format!("`{at}` must be text").into()) };
            match self.local(&inner, &at, text)? {
                Some((path, Kind::Tree)) => self.plugin_folder(place, &path)?,
                Some((path, _)) => self.plugin_file(place, &path)?,
                None => return Err(format!("`{at}`: plugins are taken from the repository only").into()),
            }
        }
        self.check(&inner, content)?;
        Ok(())
    }

    fn plugin_file(&mut self, place: &Place<'_>, path: &str) -> Result<(), Trouble> {
        let text = read_text(self.reads, self.index, path)?;
        let Some(mut configurations) = self.objects(&text) else {
            return Err(format!("{path} is no configuration of a plugin").into());
        };
        for configuration in &mut configurations {
            self.configuration(&Place { folder: place.folder, file: path }, "", configuration)
                .map_err(|trouble| trouble.of(path))?;
        }
        self.trace.checked.insert(path.to_owned(), written(&configurations));
        Ok(())
    }

    /// The configuration of one plugin, which has to be part of Kustomize.
    fn configuration(&mut self, place: &Place<'_>, at: &str, value: &mut Value) -> Result<(), Trouble> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let annotations = value["metadata"]["annotations"].as_object();
        let function = annotations.into_iter().flatten().any(|(key, _)| key.contains("/function"));
        let fields = PLUGIN_KINDS.iter().find(|(name, _)| *name == kind).map(|(_, fields)| *fields);
        let (Some(fields), "builtin", false) = (fields, api_version.as_str(), function) else {
            let at = if at.is_empty() { String::new() } else { format!(" in `{at}`") };
            return Err(RenderError::unsupported(
                format!("{}{at}: the plugin {kind} of `{api_version}`, which is a program or a container,", place.file),
                "use a plugin of Kustomize itself (`apiVersion: builtin`), or render in CI and commit the manifests",
            )
            .into());
        };
        self.follow(place, value, fields)?;
        if kind == "HelmChartInflationGenerator" {
            self.chart(place, value, value["chartHome"].as_str())?;
        }
        Ok(())
    }

    /// A chart that is inflated by Helm: it lies where Kustomize looks for it, or comes from the network.
    fn chart(&mut self, place: &Place<'_>, chart: &Value, home: Option<&str>) -> Result<(), Trouble> {
        if !self.may.helm {
            return Err(RenderError::unsupported(
                format!("{}: charts in a kustomization", place.file),
                "set `kustomize_build_options` to `--enable-helm` for this worker, or use a helm source",
            )
            .into());
        }
        let text = |field: &str| chart[field].as_str().unwrap_or_default();
        let (name, version, repository) = (text("name"), text("version"), text("repo"));
        for (what, part) in [("name", name), ("version", version)] {
            if part.contains(['/', '\\', ',']) || part.starts_with(['-', '.']) || part.contains("..") {
                return Err(format!("the {what} of a chart cannot be `{part}`").into());
            }
        }
        if name.is_empty() {
            return Err("a chart of `helmCharts` has no name".to_owned().into());
        }
        let home = home.unwrap_or("charts");
        let folder = match (version.is_empty(), repository.is_empty()) {
            (false, false) => format!("{home}/{name}-{version}/{name}"),
            _ => format!("{home}/{name}"),
        };
        let (path, _) = self.plain(place, &folder)?;
        if let Some((path, Kind::Tree)) = self.take(&path)? {
            self.whole(&path)?;
            return Ok(helm::check_schemas(self.reads, self.index, &path)?);
        }
        if repository.is_empty() {
            let hint = format!("{} names it as a chart", place.file);
            return Err(RenderError::Missing { path, commit: self.reads.tree(self.index).commit(), hint }.into());
        }
        self.fetched(place, repository, format!("chart {name} of {}", without_credentials(repository)))?;
        Ok(())
    }

    /// Something from the network, if programs may use it and the address is one that they may use.
    fn fetched(&mut self, place: &Place<'_>, address: &str, shown: String) -> Result<(), RenderError> {
        if !self.may.network {
            return Err(RenderError::Remote { path: place.file.to_owned(), reference: shown });
        }
        if let Some(why) = forbidden(address) {
            return Err(RenderError::unsupported(
                format!("{}: the address {shown}", place.file),
                format!("{why}; copy what it leads to into the repository"),
            ));
        }
        self.trace.remote = true;
        Ok(())
    }

    /// A path of the repository and the plainest way to write it; an error if it leads out.
    fn plain(&self, place: &Place<'_>, text: &str) -> Result<(String, String), RenderError> {
        let leaves = || RenderError::LeavesRepository { path: place.file.to_owned(), reference: text.to_owned() };
        if text.chars().any(char::is_control) {
            let message = format!("`{}` is no path: it has a control character in it", text.escape_debug());
            return Err(RenderError::yaml(place.file, Fault::new(1, 0, message)));
        }
        if text.starts_with('/') {
            return Err(leaves());
        }
        let path = tree::join(place.folder, text).ok_or_else(leaves)?;
        Ok((path, plainest(text)))
    }

    /// Takes what a text leads to, and writes the text in its plainest form. `None`: it is fetched.
    fn local(&mut self, place: &Place<'_>, at: &str, text: &mut String) -> Result<Option<(String, Kind)>, Trouble> {
        if text.is_empty() {
            return Err(format!("`{at}` is empty: remove it").into());
        }
        if is_address(text) {
            self.fetched(place, text, without_credentials(text))?;
            return Ok(None);
        }
        let (path, plain) = self.plain(place, text)?;
        match self.take(&path)? {
            Some((target, kind @ (Kind::Tree | Kind::Blob))) => {
                *text = plain;
                Ok(Some((target, kind)))
            }
            _ if looks_like_address(text) => {
                Err(RenderError::Remote { path: place.file.to_owned(), reference: text.clone() }.into())
            }
            _ => {
                let hint = format!("`{at}` of {} names it", place.file);
                Err(RenderError::Missing { path, commit: self.reads.tree(self.index).commit(), hint }.into())
            }
        }
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

/// Objects in one text.
fn written(objects: &[Value]) -> String {
    objects.iter().map(yaml::to_flow).collect::<Vec<_>>().join("\n---\n") + "\n"
}

/// A path without detours, so that no part of it has a meaning of its own: `./x`, `../x`, `.`.
fn plainest(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    match parts.first() {
        None => ".".into(),
        Some(&"..") => parts.join("/"),
        Some(_) => format!("./{}", parts.join("/")),
    }
}

/// A text that becomes an argument of a program.
fn argument(at: &str, text: &str) -> Result<(), Trouble> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!("`{at}` cannot be `{}`: a program would take it for an option", text.escape_debug()).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_plainly() {
        for (path, expected) in [
            ("a/b.yaml", "./a/b.yaml"),
            ("./a//b/", "./a/b"),
            ("../base", "../base"),
            ("../../a/../b", "../../b"),
            ("a/..", "."),
            ("a/../..", ".."),
            (".", "."),
            ("-x", "./-x"),
            ("github.com/o/r", "./github.com/o/r"),
        ] {
            assert_eq!(plainest(path), expected, "{path}");
        }
    }
}
