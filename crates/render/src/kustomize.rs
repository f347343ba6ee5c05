//! Kustomize: the kustomization of a folder, with the Application's options edited into it.
//!
//! The real program runs once, on a folder that holds only what the kustomization refers to. The options are written into a copy
//! of the kustomization beforehand, with the effect of `kustomize edit`, so that no further process is needed.

mod edit;
mod trace;

use std::ffi::OsString;
use std::path::Path;

use resources::Kustomize;
use serde_json::Value;

pub(crate) use trace::Trace;

use crate::RenderError;
use crate::prepare::Ask;
use crate::reads::Reads;
use crate::settings::{KUSTOMIZATION_NAMES, read_text};
use crate::tool::{Run, Tool};
use crate::tree::{self, Kind};
use crate::yaml::{self, Duplicates};

/// What a kustomize run needs.
#[derive(Debug)]
pub(crate) struct Work {
    /// Folder of the kustomization, links followed.
    pub(crate) folder: String,
    /// What it refers to.
    pub(crate) trace: Trace,
    /// The edited kustomization: its path and text.
    pub(crate) edited: Option<(String, String)>,
    /// Flags after `build`.
    pub(crate) flags: Vec<String>,
}

/// Reads the kustomization, applies the options and finds everything that it refers to.
pub(crate) fn prepare(ask: &Ask<'_>, reads: &mut Reads<'_>, tool: &Tool) -> Result<Work, RenderError> {
    let (index, config) = (ask.index, &ask.workshop.config);
    let options = &ask.source.kustomize.clone().unwrap_or_default();
    check_version(options, tool, ask.field)?;
    let folder = reads.resolve(index, ask.folder)?.path;
    let mut edited = None;
    if edit::is_needed(options) {
        let (path, mut kustomization) = read_kustomization(reads, index, &folder)?;
        edit::apply(&mut kustomization, options, ask, reads, &folder)?;
        edited = Some((path, kustomization));
    }
    let with_helm = config.kustomize_build_options.iter().any(|flag| flag == "--enable-helm");
    let trace = Trace::of(reads, index, &folder, edited.as_ref().map(|(_, value)| value), with_helm)?;
    if let Some((path, reference)) = trace.remote.first().filter(|_| !config.allow_network) {
        return Err(RenderError::Remote { path: path.clone(), reference: reference.clone() });
    }
    let mut flags = config.kustomize_build_options.clone();
    if with_helm {
        flags.extend(helm_flags(options, ask));
    }
    Ok(Work { folder, trace, edited: edited.map(|(path, value)| (path, value.to_string())), flags })
}

/// How Kustomize is to call Helm for the charts of a kustomization.
fn helm_flags(options: &Kustomize, ask: &Ask<'_>) -> Vec<String> {
    let helm = match &ask.workshop.helm {
        Ok(tool) => &tool.path,
        Err(_) => &ask.workshop.config.helm,
    };
    let mut flags = vec!["--helm-command".to_owned(), helm.display().to_string()];
    let kube_version = first_of(&options.kube_version, &ask.job.kube_version);
    if !kube_version.is_empty() {
        flags.extend(["--helm-kube-version".to_owned(), kube_version.trim_start_matches('v').to_owned()]);
    }
    let api_versions =
        if options.api_versions.is_empty() { &*ask.job.api_versions } else { options.api_versions.as_slice() };
    flags.extend(api_versions.iter().flat_map(|version| ["--helm-api-versions".to_owned(), version.clone()]));
    flags
}

fn first_of<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn check_version(options: &Kustomize, tool: &Tool, field: &str) -> Result<(), RenderError> {
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    if options.version.is_empty() || plain(&options.version) == plain(&tool.version) {
        return Ok(());
    }
    Err(RenderError::settings(
        format!("{field}.kustomize.version"),
        format!(
            "{} is asked for, this worker has {}: remove the field, or run a worker with that version",
            options.version, tool.version
        ),
    ))
}

/// The kustomization of a folder, for editing.
fn read_kustomization(reads: &mut Reads<'_>, index: usize, folder: &str) -> Result<(String, Value), RenderError> {
    for name in KUSTOMIZATION_NAMES {
        let path = tree::join(folder, name).unwrap_or_default();
        let found = reads.resolve(index, &path)?;
        if !found.is(Kind::Blob) {
            continue;
        }
        let text = read_text(reads, index, &found.path)?;
        let mut value = yaml::parse_single(&text, Duplicates::Refuse).map_err(|f| RenderError::yaml(&path, f))?;
        if value.is_null() {
            value = Value::Object(serde_json::Map::new());
        }
        if !value.is_object() {
            let fault = yaml::Fault {
                document: 1,
                line: 0,
                message: "a kustomization must be a mapping".into(),
                duplicate_key: false,
            };
            return Err(RenderError::yaml(&path, fault));
        }
        return Ok((found.path, value));
    }
    Err(RenderError::Missing {
        path: tree::join(folder, KUSTOMIZATION_NAMES[0]).unwrap_or_default(),
        commit: reads.tree(index).commit(),
        hint: "a kustomize source needs one in its folder".into(),
    })
}

impl Work {
    /// The settings that the result depends on, beside the files.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &str> {
        let edited = self.edited.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]);
        [self.folder.as_str()].into_iter().chain(edited).chain(self.flags.iter().map(String::as_str))
    }

    /// Puts the edited kustomization in the place of the original.
    pub(crate) fn write_edited(&self, repository: &Path) -> std::io::Result<()> {
        let Some((path, text)) = &self.edited else { return Ok(()) };
        let target = repository.join(path);
        // The scratch copy may be a hard link or read-only: replace it, do not write through it.
        match std::fs::remove_file(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::write(target, text)
    }

    /// The command.
    pub(crate) fn run<'a>(&self, tool: &'a Tool, repository: &'a Path, home: &'a Path, network: bool) -> Run<'a> {
        let mut arguments: Vec<OsString> = vec!["build".into()];
        arguments.extend(self.flags.iter().map(OsString::from));
        arguments.push(repository.join(&self.folder).into());
        Run { tool, arguments, folder: repository, home, network }
    }

    /// What people should know beside the tool's own message.
    pub(crate) fn advice(message: &str) -> &'static str {
        // Kustomize before 5.8.1 asks Helm for its version with a flag that Helm 4 no longer has.
        if message.contains("unknown shorthand flag: 'c' in -c") {
            "this Kustomize cannot call Helm 4: install Kustomize 5.8.1 or newer. "
        } else {
            ""
        }
    }

    /// Whether a failure may come from a file that the trace did not know, so that the whole repository is worth a try.
    pub(crate) fn may_lack_files(&self, message: &str) -> bool {
        const MARKS: [&str; 6] =
            ["no such file", "not found", "doesn't exist", "evalsymlink", "unable to find", "must resolve to a file"];
        let message = message.to_ascii_lowercase();
        !self.trace.missing && MARKS.iter().any(|mark| message.contains(mark))
    }
}

#[cfg(test)]
mod tests;
