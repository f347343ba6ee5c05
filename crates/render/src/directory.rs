//! Plain manifests: the YAML and JSON files of a folder, read straight from the object store.

use globset::{GlobBuilder, GlobMatcher};
use resources::{Directory, Object};

use crate::prepare::Ask;
use crate::reads::Reads;
use crate::tree::{Kind, SharedTree, file_name};
use crate::yaml::{self, Duplicates, Fault};
use crate::{Limits, RenderError};

/// A file with this comment is not a manifest, whatever it looks like.
const SKIP_MARK: &str = "+argocd:skip-file-rendering";

/// One file that may hold manifests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Where it was found: what a person calls it.
    pub(crate) shown: String,
    /// Where its content is, links followed.
    pub(crate) path: String,
    /// The id of its content.
    pub(crate) id: String,
}

/// The files that a directory source is made of, in order.
pub(crate) fn files(ask: &Ask<'_>, reads: &mut Reads<'_>) -> Result<Vec<File>, RenderError> {
    let settings = ask.source.directory.clone().unwrap_or_default();
    list(reads, ask.index, ask.folder, &settings, ask.field)
}

fn list(
    reads: &mut Reads<'_>,
    index: usize,
    folder: &str,
    settings: &Directory,
    field: &str,
) -> Result<Vec<File>, RenderError> {
    let include = glob(&settings.include, field, "include")?;
    let exclude = glob(&settings.exclude, field, "exclude")?;
    let mut found = Vec::new();
    for (path, entry) in reads.tree(index).list(folder, settings.recurse)? {
        let relative = path[folder.len()..].trim_start_matches('/');
        let extension = file_name(&path).rsplit_once('.').map_or("", |(_, extension)| extension);
        let known = matches!(extension, "yaml" | "yml" | "json" | "jsonnet");
        if matches!(entry.kind, Kind::Tree | Kind::Submodule) || !(known || settings.disable_extension_filter) {
            continue;
        }
        let excluded = exclude.as_ref().is_some_and(|glob| glob.is_match(relative));
        let included = include.as_ref().is_none_or(|glob| glob.is_match(relative));
        if excluded || !included {
            continue;
        }
        let (target, id) = if entry.kind == Kind::Symlink {
            let resolved = reads.resolve(index, &path)?;
            match resolved.entry {
                Some(target) if target.kind == Kind::Blob => (resolved.path, target.id),
                _ => continue,
            }
        } else {
            (path.clone(), entry.id)
        };
        if extension == "jsonnet" {
            return Err(RenderError::unsupported(
                format!("{path}: Jsonnet"),
                format!("commit its output as YAML, or leave it out with spec.{field}.directory.exclude"),
            ));
        }
        found.push(File { shown: path, path: target, id });
    }
    Ok(found)
}

/// In these patterns `*` also matches a slash, as people's Applications expect; two of them mean no more than one.
fn glob(pattern: &str, field: &str, name: &str) -> Result<Option<GlobMatcher>, RenderError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let mut pattern = pattern.to_owned();
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    GlobBuilder::new(&pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map(|glob| Some(glob.compile_matcher()))
        .map_err(|error| RenderError::settings(format!("{field}.directory.{name}"), error.to_string()))
}

/// Reads and parses the files.
pub(crate) fn parse(tree: &SharedTree, files: &[File], limits: &Limits) -> Result<Vec<Object>, RenderError> {
    let mut objects = Vec::new();
    let mut room = limits.output_bytes;
    for file in files {
        let content = tree.read(&file.path, limits.output_bytes)?;
        room = room.checked_sub(content.len() as u64).ok_or_else(|| RenderError::Limit {
            what: format!("the size of all manifests, reached at {},", file.shown),
            limit: format!("{} bytes", limits.output_bytes),
            setting: "max_output_bytes",
        })?;
        parse_file(&file.shown, &content, &mut objects)?;
        limits.check_objects(objects.len())?;
    }
    Ok(objects)
}

fn parse_file(shown: &str, content: &[u8], objects: &mut Vec<Object>) -> Result<(), RenderError> {
    let whole_file = |message: &str| {
        RenderError::yaml(shown, Fault { document: 1, line: 0, message: message.into(), duplicate_key: false })
    };
    let Ok(text) = std::str::from_utf8(content) else { return Err(whole_file("the file is not UTF-8 text")) };
    if text.contains(SKIP_MARK) {
        return Ok(());
    }
    let before = objects.len();
    let parsed = if shown.ends_with(".json") { parse_json(text, objects) } else { parse_yaml(text, objects) };
    match parsed {
        Ok(()) => Ok(()),
        // A values file or the configuration of another program that lies beside the manifests.
        Err(_) if objects.len() == before && !shown.ends_with(".json") && !looks_like_manifest(text) => {
            tracing::debug!(path = shown, "not a manifest: left out");
            Ok(())
        }
        Err(mut fault) => {
            if shown.ends_with(".json") {
                fault.message.push_str("; leave it out with `directory.exclude` if it is not a manifest");
            }
            Err(RenderError::yaml(shown, fault))
        }
    }
}

fn looks_like_manifest(text: &str) -> bool {
    ["apiVersion:", "kind:", "metadata:"].iter().all(|mark| text.contains(mark))
}

fn parse_yaml(text: &str, objects: &mut Vec<Object>) -> Result<(), Fault> {
    for document in yaml::documents(text) {
        let value = yaml::parse(&document, Duplicates::Refuse)?;
        yaml::collect(value, objects).map_err(|message| Fault {
            document: document.number,
            line: 0,
            message,
            duplicate_key: false,
        })?;
    }
    Ok(())
}

fn parse_json(text: &str, objects: &mut Vec<Object>) -> Result<(), Fault> {
    let fault = |line, message| Fault { document: 1, line, message, duplicate_key: false };
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| fault(error.line(), error.to_string()))?;
    yaml::normalize(&mut value);
    yaml::collect(value, objects).map_err(|message| fault(0, message))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
