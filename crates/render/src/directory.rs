//! Plain manifests: the YAML and JSON files of a folder, read straight from the object store.

use globset::{GlobBuilder, GlobMatcher};
use resources::{Directory, Object};
use yaml::{Budget, Duplicates, Fault};

use crate::allowance::{Allowance, Wanted};
use crate::collect::collect;
use crate::prepare::Ask;
use crate::reads::{Reads, is_below};
use crate::tree::{Kind, SharedTree, file_name};
use crate::{Limits, RenderError};

/// How many files one directory source may look at.
const MAX_ENTRIES: usize = 100_000;
/// How many folders links of one directory source may lead to.
const MAX_LINKED: usize = 500;

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
    for (path, target) in entries(reads, index, folder, settings.recurse)? {
        let relative = path[folder.len()..].trim_start_matches('/');
        let extension = file_name(&path).rsplit_once('.').map_or("", |(_, extension)| extension);
        let known = matches!(extension, "yaml" | "yml" | "json" | "jsonnet");
        if !(known || settings.disable_extension_filter) {
            continue;
        }
        let excluded = exclude.as_ref().is_some_and(|glob| glob.is_match(relative));
        let included = include.as_ref().is_none_or(|glob| glob.is_match(relative));
        if excluded || !included {
            continue;
        }
        // Only now: a link that is left out may lead anywhere.
        let Some((target, id)) = target.file(reads, index)? else { continue };
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

/// Something that is no folder: a file of that id, or a link.
enum Target {
    File { path: String, id: String },
    Link(String),
}

impl Target {
    fn file(self, reads: &mut Reads<'_>, index: usize) -> Result<Option<(String, String)>, RenderError> {
        match self {
            Self::File { path, id } => Ok(Some((path, id))),
            Self::Link(path) => {
                let resolved = reads.resolve(index, &path)?;
                Ok(resolved.entry.filter(|target| target.kind == Kind::Blob).map(|target| (resolved.path, target.id)))
            }
        }
    }
}

/// What is in a folder by the names that a person sees, in order. Links to folders are followed like links to files, but each
/// folder is read once, so that a circle ends.
fn entries(
    reads: &mut Reads<'_>,
    index: usize,
    folder: &str,
    recurse: bool,
) -> Result<Vec<(String, Target)>, RenderError> {
    let mut found = Vec::new();
    let mut roots = vec![reads.tree(index).resolve(folder)?.path];
    let mut waiting = vec![(folder.to_owned(), roots[0].clone())];
    while let Some((shown, place)) = waiting.pop() {
        for (path, entry) in reads.tree(index).list(&place, recurse)? {
            // Read under its own name already, or about to be.
            if roots.iter().any(|root| *root != place && is_below(root, &place) && is_below(&path, root)) {
                continue;
            }
            let rest = path[place.len()..].trim_start_matches('/');
            let name = if shown.is_empty() { rest.to_owned() } else { format!("{shown}/{rest}") };
            match entry.kind {
                Kind::Tree | Kind::Submodule => {}
                Kind::Blob => found.push((name, Target::File { path, id: entry.id })),
                Kind::Symlink if recurse && leads_to_folder(reads, index, &path)? => {
                    let target = reads.resolve(index, &path)?.path;
                    if !roots.iter().any(|root| is_below(&target, root)) {
                        reads.entry(index, &target)?;
                        roots.push(target.clone());
                        waiting.push((name, target));
                    }
                }
                Kind::Symlink => found.push((name, Target::Link(path))),
            }
            if found.len() > MAX_ENTRIES || roots.len() > MAX_LINKED {
                let what = format!("it has more than {MAX_ENTRIES} files or {MAX_LINKED} linked folders");
                return Err(RenderError::settings(folder, format!("{what}: name a folder with fewer")));
            }
        }
    }
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(found)
}

/// Whether a link leads to a folder. One that leads out of the repository is told only where it is wanted.
fn leads_to_folder(reads: &Reads<'_>, index: usize, path: &str) -> Result<bool, RenderError> {
    match reads.tree(index).resolve(path) {
        Ok(resolved) => Ok(resolved.is(Kind::Tree)),
        Err(RenderError::LeavesRepository { .. }) => Ok(false),
        Err(error) => Err(error),
    }
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

/// Reads and parses the files, one after the other: of the texts only one is held.
pub(crate) fn parse(
    tree: &SharedTree,
    files: &[File],
    limits: &Limits,
    wanted: Wanted,
) -> Result<Vec<Object>, RenderError> {
    let allowance = Allowance::new(wanted, limits);
    let stop = || allowance.is_over();
    let mut parsing = Parsing { allowance: &allowance, budget: allowance.budget(&stop), limits, objects: Vec::new() };
    let mut room = limits.output_bytes;
    for file in files {
        allowance.check()?;
        let content = tree.read(&file.path, limits.output_bytes)?;
        room = room.checked_sub(content.len() as u64).ok_or_else(|| RenderError::Limit {
            what: format!("the size of all manifests, reached at {},", file.shown),
            limit: format!("{} bytes", limits.output_bytes),
            setting: "max_output_bytes",
        })?;
        parsing.file(&file.shown, &content)?;
    }
    Ok(parsing.objects)
}

struct Parsing<'p, 'w> {
    allowance: &'p Allowance,
    budget: Budget<'w>,
    limits: &'p Limits,
    objects: Vec<Object>,
}

impl Parsing<'_, '_> {
    fn file(&mut self, shown: &str, content: &[u8]) -> Result<(), RenderError> {
        let Ok(text) = std::str::from_utf8(content) else {
            return Err(RenderError::yaml(shown, Fault::new(1, 0, "the file is not UTF-8 text")));
        };
        if text.contains(SKIP_MARK) {
            return Ok(());
        }
        let before = self.objects.len();
        let parsed =
            if shown.ends_with(".json") { self.json(shown, text) } else { self.yaml(shown, text, Duplicates::Refuse) };
        match parsed {
            Ok(()) => Ok(()),
            // A values file or the configuration of another program that lies beside the manifests.
            Err(RenderError::Yaml { .. }) if self.objects.len() == before && !looks_like_manifest(text) => {
                tracing::debug!(path = shown, "not a manifest: left out");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn yaml(&mut self, shown: &str, text: &str, duplicates: Duplicates) -> Result<(), RenderError> {
        for document in yaml::documents(text) {
            let value = yaml::parse(&document, duplicates, &mut self.budget)
                .map_err(|fault| self.allowance.error(shown, fault))?;
            collect(value, &mut self.objects)
                .map_err(|message| RenderError::yaml(shown, Fault::new(document.number, 0, message)))?;
            self.limits.check_objects(self.objects.len())?;
        }
        Ok(())
    }

    /// JSON is YAML, too, and read like it to be counted; but what is none has to be told.
    fn json(&mut self, shown: &str, text: &str) -> Result<(), RenderError> {
        serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}'))
            .map_err(|error| RenderError::yaml(shown, Fault::new(1, error.line(), error.to_string())))?;
        self.yaml(shown, text, Duplicates::LastWins)
    }
}

/// Whether somebody meant a manifest, as Argo CD guesses it: then what is wrong with it is told.
fn looks_like_manifest(text: &str) -> bool {
    ["apiVersion", "kind", "metadata"].iter().all(|mark| {
        text.match_indices(mark).any(|(at, _)| {
            text[at + mark.len()..].trim_start_matches('"').trim_start_matches([' ', '\t']).starts_with(':')
        })
    })
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
