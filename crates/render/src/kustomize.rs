//! Kustomize: the kustomization of a folder, with the Application's options edited into it.
//!
//! The real program runs once, on a folder that holds only what the kustomization refers to. The options are written into a copy
//! of the kustomization beforehand, with the effect of `kustomize edit`, so that no further process is needed. What Kustomize
//! reads is not the author's text, but what was checked of it: [`trace`].

pub(crate) mod address;
mod edit;
mod schema;
mod trace;

use std::ffi::OsString;
use std::path::Path;

use resources::Kustomize;

pub(crate) use trace::Trace;

use crate::prepare::Ask;
use crate::reads::Reads;
use crate::tool::{Run, Tool};
use crate::{RenderError, helm};

/// What a kustomize run needs.
#[derive(Debug)]
pub(crate) struct Work {
    /// Folder of the kustomization, links followed.
    pub(crate) folder: String,
    /// What it refers to, and how that is written for Kustomize.
    pub(crate) trace: Trace,
    /// Flags after `build`.
    pub(crate) flags: Vec<String>,
}

/// Reads the kustomization, applies the options and finds everything that it refers to.
pub(crate) fn prepare(ask: &Ask<'_>, reads: &mut Reads<'_>, tool: &Tool) -> Result<Work, RenderError> {
    let (index, config) = (ask.index, &ask.workshop.config);
    let options = &ask.source.kustomize.clone().unwrap_or_default();
    check_version(options, tool, ask.field)?;
    let folder = reads.resolve(index, ask.folder)?.path;
    let with_helm = config.kustomize_build_options.iter().any(|flag| flag == "--enable-helm");
    let may = trace::May { helm: with_helm, network: config.allow_network };
    let trace = Trace::of(reads, index, &folder, may, |kustomization, reads| {
        if edit::is_needed(options) { edit::apply(kustomization, options, ask, reads, &folder) } else { Ok(()) }
    })?;
    let mut flags = config.kustomize_build_options.clone();
    if with_helm {
        flags.extend(helm_flags(options, ask)?);
    }
    Ok(Work { folder, trace, flags })
}

/// How Kustomize is to call Helm for the charts of a kustomization.
fn helm_flags(options: &Kustomize, ask: &Ask<'_>) -> Result<Vec<String>, RenderError> {
    let helm = match &ask.workshop.helm {
        Ok(tool) => &tool.path,
        Err(_) => &ask.workshop.config.helm,
    };
    let mut flags = vec!["--helm-command".to_owned(), helm.display().to_string()];
    let field = format!("{}.kustomize", ask.field);
    let kube_version = first_of(&options.kube_version, &ask.job.kube_version);
    if !kube_version.is_empty() {
        flags.extend(["--helm-kube-version".to_owned(), helm::checked_kube_version(kube_version, &field)?]);
    }
    let api_versions =
        if options.api_versions.is_empty() { &*ask.job.api_versions } else { options.api_versions.as_slice() };
    for version in api_versions {
        helm::check_api_version(version, &field)?;
        flags.extend(["--helm-api-versions".to_owned(), version.clone()]);
    }
    Ok(flags)
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

impl Work {
    /// The settings that the result depends on, beside the files.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &str> {
        let checked = self.trace.checked.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]);
        [self.folder.as_str()].into_iter().chain(checked).chain(self.flags.iter().map(String::as_str))
    }

    /// Puts what was checked in the place of the originals.
    pub(crate) fn write_checked(&self, repository: &Path) -> std::io::Result<()> {
        for (path, text) in &self.trace.checked {
            let target = repository.join(path);
            // The scratch copy may be a link or read-only: replace it, do not write through it.
            match std::fs::remove_file(&target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::write(target, text)?;
        }
        Ok(())
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
}

#[cfg(test)]
mod tests;
