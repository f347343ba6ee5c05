//! Helm: a chart in a folder of the repository, rendered by one `helm template`.

mod archive;
mod chart;
mod check;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use resources::Helm;

pub(crate) use check::{check_api_version, check_schemas, checked_kube_version};
use values::ValueFile;

use crate::RenderError;
use crate::prepare::Ask;
use crate::reads::Reads;
use crate::tool::{Run, Tool};
use crate::tree::SharedTree;

/// Helm refuses longer names for a release.
const MAX_RELEASE_NAME: usize = 53;

/// What a helm run needs.
#[derive(Debug)]
pub(crate) struct Work {
    /// Folder of the chart, links followed.
    pub(crate) folder: String,
    /// Files, links and folders to write into the scratch folder.
    pub(crate) paths: BTreeSet<String>,
    /// Charts to copy into `charts/` of another: from, to.
    pub(crate) copies: Vec<(String, String)>,
    /// Whether dependencies have to be fetched first.
    pub(crate) fetch: bool,
    /// Files for `--values`, then for `--set-file`.
    pub(crate) files: Vec<ValueFile>,
    /// Flags that need no file.
    flags: Vec<String>,
    release: String,
}

/// Finds the chart, its dependencies and its values.
pub(crate) fn prepare(ask: &Ask<'_>, reads: &mut Reads<'_>) -> Result<Work, RenderError> {
    let options = &ask.source.helm.clone().unwrap_or_default();
    if matches!(options.version.as_str(), "v2" | "2") {
        return Err(RenderError::settings(format!("{}.helm.version", ask.field), "Helm 2 is no longer supported"));
    }
    let mut chart = chart::Chart::new(reads.resolve(ask.index, ask.folder)?.path);
    chart.collect(reads, ask.index, ask.workshop.config.allow_network)?;
    if !options.skip_schema_validation {
        chart.check_schemas(reads, ask.index, ask.workshop)?;
    }
    let files = values::resolve(ask, reads, &chart.folder, options)?;
    let (namespace, field) = if options.namespace.is_empty() {
        (&ask.job.namespace, "destination.namespace".to_owned())
    } else {
        (&options.namespace, format!("{}.helm.namespace", ask.field))
    };
    check::check_namespace(namespace, &field)?;
    let mut flags = vec![format!("--namespace={namespace}")];
    let switches = [
        (!options.skip_crds, "--include-crds"),
        (options.skip_tests, "--skip-tests"),
        (options.skip_schema_validation, "--skip-schema-validation"),
    ];
    flags.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.to_owned()));
    for (at, parameter) in options.parameters.iter().enumerate() {
        let field = format!("{}.helm.parameters[{at}]", ask.field);
        check::check_parameter(&parameter.name, &field)?;
        if parameter.value.contains('\0') {
            return Err(RenderError::settings(format!("{field}.value"), "it has a zero byte in it"));
        }
        let flag = if parameter.force_string { "--set-string" } else { "--set" };
        let value = escape_commas(&ask.environment.substitute(&parameter.value));
        flags.push(format!("{flag}={}={value}", parameter.name));
    }
    let mut texts = files.iter().filter_map(ValueFile::text).chain(flags.iter().map(String::as_str));
    let sees_capabilities = texts.any(|text| text.contains(chart::CAPABILITIES))
        || chart.sees_capabilities(reads, ask.index, ask.workshop)?
        || values::see_capabilities(reads, &files)?;
    if sees_capabilities {
        flags.extend(capabilities(options, ask)?);
    }
    Ok(Work {
        release: release_name(options, ask)?,
        folder: chart.folder,
        paths: chart.paths,
        copies: chart.copies,
        fetch: chart.fetch,
        files,
        flags,
    })
}

fn first_of<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// What `.Capabilities` will say. Left out if the chart never asks, so that a new CRD in the cluster renders nothing anew.
fn capabilities(options: &Helm, ask: &Ask<'_>) -> Result<Vec<String>, RenderError> {
    let mut flags = Vec::new();
    let version = first_of(&options.kube_version, &ask.job.kube_version);
    if !version.is_empty() {
        let plain = checked_kube_version(version, &format!("{}.helm", ask.field))?;
        flags.push(format!("--kube-version={plain}"));
    }
    let api_versions =
        if options.api_versions.is_empty() { &*ask.job.api_versions } else { options.api_versions.as_slice() };
    for version in api_versions {
        check_api_version(version, &format!("{}.helm", ask.field))?;
    }
    if !api_versions.is_empty() {
        // Sorted, since the order in which a cluster lists them is no reason to render again.
        let sorted: std::collections::BTreeSet<&str> = api_versions.iter().map(String::as_str).collect();
        flags.push(format!("--api-versions={}", sorted.into_iter().collect::<Vec<_>>().join(",")));
    }
    Ok(flags)
}

/// The numbers of a version: `v1.30.1-gke.5+x` is `1.30.1`.
fn kube_version(version: &str) -> Option<String> {
    let plain = version.trim_start_matches('v');
    let end = plain.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(plain.len());
    let mut numbers: Vec<&str> = plain[..end].split('.').filter(|n| !n.is_empty()).take(3).collect();
    if numbers.len() < 2 {
        return None;
    }
    numbers.resize(3, "0");
    Some(numbers.join("."))
}

fn release_name(options: &Helm, ask: &Ask<'_>) -> Result<String, RenderError> {
    let (name, field) = if options.release_name.is_empty() {
        (ask.job.application.as_str(), "metadata.name of the Application".to_owned())
    } else {
        (options.release_name.as_str(), format!("{}.helm.releaseName", ask.field))
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = name.len() <= MAX_RELEASE_NAME
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || c == '-' || c == '.');
    if valid {
        return Ok(name.to_owned());
    }
    Err(RenderError::settings(
        field,
        format!(
            "`{name}` cannot be a release name (at most {MAX_RELEASE_NAME} of a-z, 0-9, `-`, `.`): set helm.releaseName"
        ),
    ))
}

/// A comma separates values on Helm's command line, unless it is escaped. A list in braces means it that way.
fn escape_commas(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    let mut escaped = String::with_capacity(value.len());
    let mut previous = ' ';
    for c in value.chars() {
        if c == ',' && previous != '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
        previous = c;
    }
    escaped
}

impl Work {
    /// The settings that the result depends on, beside the files.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().flat_map(ValueFile::settings);
        let copies = self.copies.iter().flat_map(|(from, to)| [from.as_str(), to.as_str()]);
        [self.folder.as_str(), self.release.as_str()]
            .into_iter()
            .chain(copies)
            .chain(self.flags.iter().map(String::as_str))
            .chain(files)
    }

    /// Completes the materialized charts: local dependencies go where Helm looks for them.
    pub(crate) fn copy_dependencies(&self, repository: &Path) -> std::io::Result<()> {
        for (from, to) in &self.copies {
            chart::copy_folder(repository, &repository.join(from), &repository.join(to))?;
        }
        Ok(())
    }

    /// Writes the values where the command expects them.
    pub(crate) fn write_files(&self, trees: &[SharedTree], home: &Path) -> Result<(), RenderError> {
        for (number, file) in self.files.iter().enumerate() {
            std::fs::write(home.join(values::scratch_name(number)), file.bytes(trees)?)
                .map_err(|e| RenderError::io(format!("writing {}", file.shown), e))?;
        }
        Ok(())
    }

    /// The command that renders.
    pub(crate) fn run<'a>(&self, tool: &'a Tool, repository: &'a Path, home: &'a Path, network: bool) -> Run<'a> {
        let mut arguments: Vec<OsString> = vec!["template".into()];
        for (number, file) in self.files.iter().enumerate() {
            let mut argument = OsString::from(file.flag());
            argument.push(home.join(values::scratch_name(number)));
            arguments.push(argument);
        }
        arguments.extend(self.flags.iter().map(OsString::from));
        arguments.extend(["--".into(), OsString::from(&self.release), repository.join(&self.folder).into()]);
        Run { tool, arguments, folder: repository, home, network }
    }

    /// The command that fetches dependencies from the network.
    pub(crate) fn fetch<'a>(&self, tool: &'a Tool, repository: &'a Path, home: &'a Path) -> Run<'a> {
        let arguments = vec!["dependency".into(), "build".into(), "--".into(), repository.join(&self.folder).into()];
        Run { tool, arguments, folder: repository, home, network: true }
    }

    /// Puts the names that people know back into a message.
    pub(crate) fn readable(&self, message: &str, home: &Path) -> String {
        let mut message = message.to_owned();
        for (number, file) in self.files.iter().enumerate().rev() {
            message = message.replace(&home.join(values::scratch_name(number)).display().to_string(), &file.shown);
        }
        message.replace("Use --debug flag to render out invalid YAML", "")
    }
}

#[cfg(test)]
mod tests;
