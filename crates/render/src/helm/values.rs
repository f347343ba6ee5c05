//! The values of a chart: files of this or another source, patterns, and what the Application says itself.

use globset::GlobBuilder;
use resources::Helm;

use super::chart::CAPABILITIES;
use super::check::check_parameter;
use crate::RenderError;
use crate::prepare::Ask;
use crate::reads::Reads;
use crate::settings::MAX_SETTINGS_BYTES;
use crate::tree::{self, Kind};

/// How many files with values one source may have.
const MAX_FILES: usize = 500;

/// One file on Helm's command line.
#[derive(Debug)]
pub(crate) struct ValueFile {
    /// What a person calls it, for messages.
    pub(crate) shown: String,
    content: Content,
    /// Set for `--set-file`: the parameter.
    parameter: Option<String>,
}

#[derive(Debug)]
enum Content {
    /// A file of a source's commit.
    File { source: usize, path: String },
    /// From the Application.
    Text(String),
}

impl ValueFile {
    /// The flag before the file's path.
    pub(super) fn flag(&self) -> String {
        match &self.parameter {
            Some(name) => format!("--set-file={name}="),
            None => "--values=".into(),
        }
    }

    /// What the Application says itself.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::File { .. } => None,
        }
    }

    /// What the result depends on, beside the content of files.
    pub(super) fn settings(&self) -> impl Iterator<Item = &str> {
        let content = match &self.content {
            Content::Text(text) => text.as_str(),
            Content::File { path, .. } => path.as_str(),
        };
        [self.parameter.as_deref().unwrap_or("values"), content].into_iter()
    }

    /// The bytes to write.
    pub(crate) fn bytes(&self, trees: &[tree::SharedTree]) -> Result<Vec<u8>, RenderError> {
        match &self.content {
            Content::Text(text) => Ok(text.clone().into_bytes()),
            Content::File { source, path } => trees[*source].read(path, MAX_SETTINGS_BYTES),
        }
    }
}

/// The name of the n-th file in the scratch folder: Helm splits its arguments at commas, so people's names will not do.
pub(crate) fn scratch_name(number: usize) -> String {
    format!("values-{number}.yaml")
}

/// All files in the order of Helm's precedence: value files, then the Application's values, then file parameters.
pub(super) fn resolve(
    ask: &Ask<'_>,
    reads: &mut Reads<'_>,
    chart: &str,
    options: &Helm,
) -> Result<Vec<ValueFile>, RenderError> {
    let mut files: Vec<ValueFile> = Vec::new();
    for (at, reference) in options.value_files.iter().enumerate() {
        let field = format!("{}.helm.valueFiles[{at}]", ask.field);
        let (source, path) = locate(ask, reference, &field, chart)?;
        let found = if path.contains(['*', '?', '[', '{']) && !is_there(reads, source, &path)? {
            matching(reads, source, &path, &field)?
        } else {
            vec![path.clone()]
        };
        let mut any = false;
        for path in found {
            let Some(file) = blob(reads, source, &path)? else { continue };
            any = true;
            let content = Content::File { source, path: file };
            files.push(ValueFile { shown: path, content, parameter: None });
        }
        if files.len() > MAX_FILES {
            return Err(RenderError::settings(field, format!("there are more than {MAX_FILES} files with values")));
        }
        if !any && !options.ignore_missing_value_files {
            let hint = format!("spec.{field} names it; correct it, or set ignoreMissingValueFiles");
            return Err(RenderError::Missing { path, commit: reads.tree(source).commit(), hint });
        }
    }
    let own = match &options.values_object {
        Some(object) if !object.is_empty() => {
            Some((serde_json::Value::Object(object.clone()).to_string(), "valuesObject"))
        }
        _ if !options.values.trim().is_empty() => Some((options.values.clone(), "values")),
        _ => None,
    };
    if let Some((text, name)) = own {
        let shown = format!("spec.{}.helm.{name}", ask.field);
        files.push(ValueFile { shown, content: Content::Text(text), parameter: None });
    }
    for (at, parameter) in options.file_parameters.iter().enumerate() {
        let field = format!("{}.helm.fileParameters[{at}]", ask.field);
        check_parameter(&parameter.name, &field)?;
        let field = format!("{field}.path");
        let (source, path) = locate(ask, &parameter.path, &field, chart)?;
        let Some(file) = blob(reads, source, &path)? else {
            let hint = format!("spec.{field} names it");
            return Err(RenderError::Missing { path, commit: reads.tree(source).commit(), hint });
        };
        let content = Content::File { source, path: file };
        files.push(ValueFile { shown: path, content, parameter: Some(parameter.name.clone()) });
    }
    Ok(files)
}

/// Which source a reference is about, and which path in it.
fn locate(ask: &Ask<'_>, reference: &str, field: &str, chart: &str) -> Result<(usize, String), RenderError> {
    let leaves = || RenderError::LeavesRepository { path: format!("spec.{field}"), reference: reference.into() };
    if let Some(named) = reference.strip_prefix('$') {
        let (name, rest) = named.split_once('/').unwrap_or((named, ""));
        if let Some(source) = ask.job.sources.iter().position(|source| source.r#ref == name && !name.is_empty()) {
            let path = tree::join("", &ask.environment.substitute(rest)).ok_or_else(leaves)?;
            return Ok((source, path));
        }
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if is_name && !name.starts_with("ARGOCD_") {
            return Err(RenderError::settings(
                field,
                format!("no source has `ref: {name}`: add it, or correct the name"),
            ));
        }
    }
    let path = ask.environment.substitute(reference);
    if path.contains('\0') {
        return Err(RenderError::settings(field, "it has a zero byte in it"));
    }
    if path.contains("://") {
        return Err(RenderError::Remote { path: format!("spec.{field}"), reference: path });
    }
    let folder = if path.starts_with('/') { "" } else { chart };
    Ok((ask.index, tree::join(folder, &path).ok_or_else(leaves)?))
}

fn is_there(reads: &Reads<'_>, source: usize, path: &str) -> Result<bool, RenderError> {
    Ok(reads.tree(source).entry(path)?.is_some())
}

/// A file at a path, links followed; noted either way.
fn blob(reads: &mut Reads<'_>, source: usize, path: &str) -> Result<Option<String>, RenderError> {
    let found = reads.resolve(source, path)?;
    Ok(found.is(Kind::Blob).then_some(found.path))
}

/// The files that a pattern matches, in order of their paths. The folder that is searched counts as read.
fn matching(reads: &mut Reads<'_>, source: usize, pattern: &str, field: &str) -> Result<Vec<String>, RenderError> {
    let first =
        pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect::<Vec<_>>().join("/");
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| RenderError::settings(field, error.to_string()))?
        .compile_matcher();
    let folder = reads.resolve(source, &first)?;
    if !folder.is(Kind::Tree) {
        return Ok(Vec::new());
    }
    reads.entry(source, &folder.path)?;
    let all = reads.tree(source).list(&folder.path, true)?;
    let shown = |path: String| format!("{first}{}", &path[folder.path.len()..]).trim_start_matches('/').to_owned();
    let mut found: Vec<String> = all
        .into_iter()
        .filter(|(_, entry)| matches!(entry.kind, Kind::Blob | Kind::Symlink))
        .map(|(path, _)| shown(path))
        .filter(|path| glob.is_match(path))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Whether a values file holds a template that asks for the cluster's capabilities (charts may expand values with `tpl`).
pub(super) fn see_capabilities(reads: &Reads<'_>, files: &[ValueFile]) -> Result<bool, RenderError> {
    for file in files {
        if let Content::File { source, path } = &file.content {
            let content = reads.read(*source, path, MAX_SETTINGS_BYTES)?;
            if content.windows(CAPABILITIES.len()).any(|part| part == CAPABILITIES.as_bytes()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
