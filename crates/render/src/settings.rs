//! What an Application says about one source, once the overrides in the repository and the build environment are applied.

use std::cell::Cell;

use resources::ApplicationSource;
use serde_json::Value;
use yaml::{Budget, Duplicates};

use crate::prepare::Job;
use crate::reads::Reads;
use crate::tree::{Kind, file_name};
use crate::{RenderError, tree};

/// Enough for any values file or kustomization that a person wrote.
pub(crate) const MAX_SETTINGS_BYTES: u64 = 4 << 20;

/// The names under which Kustomize looks for its file, in its order.
pub(crate) const KUSTOMIZATION_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// How a source is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceType {
    Directory,
    Kustomize,
    Helm,
}

impl SourceType {
    /// The word that `status.sourceType` has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "Directory",
            Self::Kustomize => "Kustomize",
            Self::Helm => "Helm",
        }
    }
}

/// The source with `.argocd-source.yaml` and `.argocd-source-<application>.yaml` of its folder merged in. Where a source is
/// and which revision of it is wanted cannot be overridden from inside of it.
pub(crate) fn with_overrides(
    source: &ApplicationSource,
    application: &str,
    reads: &mut Reads<'_>,
    index: usize,
    folder: &str,
) -> Result<ApplicationSource, RenderError> {
    let mut merged: Option<Value> = None;
    for name in [".argocd-source.yaml".to_owned(), format!(".argocd-source-{application}.yaml")] {
        let Some(path) = tree::join(folder, &name).filter(|path| file_name(path) == name) else { continue };
        let found = reads.resolve(index, &path)?;
        if !found.is(Kind::Blob) {
            continue;
        }
        let text = read_text(reads, index, &found.path)?;
        let patch = yaml::parse_single(&text, Duplicates::LastWins, &mut Budget::default())
            .map_err(|f| RenderError::yaml(&path, f))?;
        let target = match &mut merged {
            Some(value) => value,
            none => none.insert(serde_json::to_value(source).map_err(|e| RenderError::settings(&path, e.to_string()))?),
        };
        merge(target, &patch);
    }
    let Some(merged) = merged else { return Ok(source.clone()) };
    let merged: ApplicationSource = serde_json::from_value(merged)
        .map_err(|e| RenderError::settings("source", format!("after the overrides of .argocd-source files: {e}")))?;
    Ok(ApplicationSource {
        repo_url: source.repo_url.clone(),
        path: source.path.clone(),
        target_revision: source.target_revision.clone(),
        chart: source.chart.clone(),
        r#ref: source.r#ref.clone(),
        ..merged
    })
}

/// The folder of a source, from the root of its repository.
pub(crate) fn folder(source: &ApplicationSource, field: &str) -> Result<String, RenderError> {
    tree::join("", &source.path).ok_or_else(|| RenderError::LeavesRepository {
        path: format!("spec.{field}.path"),
        reference: source.path.clone(),
    })
}

/// How a source is rendered: as it says, or by the files that are there.
pub(crate) fn source_type(
    source: &ApplicationSource,
    field: &str,
    reads: &mut Reads<'_>,
    index: usize,
    folder: &str,
) -> Result<SourceType, RenderError> {
    let said = [
        (source.helm.is_some(), "helm"),
        (source.kustomize.is_some(), "kustomize"),
        (source.directory.is_some(), "directory"),
        (source.plugin.is_some(), "plugin"),
    ];
    let said: Vec<&str> = said.iter().filter(|(present, _)| *present).map(|(_, name)| *name).collect();
    match said.as_slice() {
        [] => {}
        ["helm"] => return Ok(SourceType::Helm),
        ["kustomize"] => return Ok(SourceType::Kustomize),
        ["directory"] => return Ok(SourceType::Directory),
        ["plugin"] => {
            return Err(RenderError::unsupported(
                format!("spec.{field}.plugin"),
                "render in CI and commit the manifests, or use helm, kustomize or a directory",
            ));
        }
        several => {
            let message = format!("{} exclude each other: keep one", several.join(" and "));
            return Err(RenderError::settings(field, message));
        }
    }
    let is_file = |found: Option<tree::Entry>| found.is_some_and(|e| matches!(e.kind, Kind::Blob | Kind::Symlink));
    let at = |name: &str| tree::join(folder, name).unwrap_or_default();
    // A folder with both is Kustomize for Argo CD, too: it looks for the kustomization last, and what it finds last counts.
    for name in KUSTOMIZATION_NAMES {
        if is_file(reads.entry(index, &at(name))?) {
            return Ok(SourceType::Kustomize);
        }
    }
    if is_file(reads.entry(index, &at("Chart.yaml"))?) {
        return Ok(SourceType::Helm);
    }
    Ok(SourceType::Directory)
}

/// Reads a file as text.
pub(crate) fn read_text(reads: &Reads<'_>, index: usize, path: &str) -> Result<String, RenderError> {
    let content = reads.read(index, path, MAX_SETTINGS_BYTES)?;
    String::from_utf8(content).map_err(|_| RenderError::Yaml {
        path: path.into(),
        document: 1,
        line: 0,
        message: "the file is not UTF-8 text".into(),
    })
}

/// A JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *target = patch.clone();
        }
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            merge(target.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The variables that a source may use, and whether it used one that changes with every commit.
pub(crate) struct Environment {
    variables: [(&'static str, String); 9],
    used_revision: Cell<bool>,
}

impl Environment {
    /// The variables of one source of a job.
    pub(crate) fn new(job: &Job, index: usize) -> Self {
        let (revision, source) = (&job.revisions[index], &job.sources[index]);
        let short = |length: usize| revision.get(..length).unwrap_or(revision).to_owned();
        Self {
            variables: [
                ("ARGOCD_APP_NAME", job.application.clone()),
                ("ARGOCD_APP_NAMESPACE", job.namespace.clone()),
                ("ARGOCD_APP_PROJECT_NAME", job.project.clone()),
                ("ARGOCD_APP_REVISION", revision.clone()),
                ("ARGOCD_APP_REVISION_SHORT", short(7)),
                ("ARGOCD_APP_REVISION_SHORT_8", short(8)),
                ("ARGOCD_APP_SOURCE_REPO_URL", job.repositories[index].clone()),
                ("ARGOCD_APP_SOURCE_PATH", source.path.clone()),
                ("ARGOCD_APP_SOURCE_TARGET_REVISION", source.target_revision.clone()),
            ],
            used_revision: Cell::new(false),
        }
    }

    /// Whether a variable was used whose value is the commit.
    pub(crate) fn used_revision(&self) -> bool {
        self.used_revision.get()
    }

    /// Replaces `$NAME` and `${NAME}`. A variable that does not exist is empty, and `$$` is a dollar sign.
    pub(crate) fn substitute(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            result.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, taken) = variable_name(after);
            match name {
                Some("$") => result.push('$'),
                Some(name) => result.push_str(&self.value(name)),
                None if taken == 0 => result.push('$'),
                None => {}
            }
            rest = &after[taken..];
        }
        result.push_str(rest);
        result
    }

    fn value(&self, name: &str) -> String {
        if name.starts_with("ARGOCD_APP_REVISION") {
            self.used_revision.set(true);
        }
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// The name after a dollar sign and how many bytes it takes, braces included. No name and no bytes: the dollar stands for itself.
fn variable_name(after: &str) -> (Option<&str>, usize) {
    if let Some(braced) = after.strip_prefix('{') {
        return match braced.find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&braced[..end]), end + 2),
            None => (None, 1),
        };
    }
    let Some(first) = after.chars().next() else { return (None, 0) };
    if first.is_ascii_digit() || "*#$@!?-".contains(first) {
        return (Some(&after[..1]), 1);
    }
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    if end == 0 { (None, 0) } else { (Some(&after[..end]), end) }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
