//! Pull requests from forks: which commit of one may have a preview.
//!
//! Anybody can open a pull request. What its branch holds runs in the cluster if it gets a preview, so a branch of somebody
//! else's repository gets none unless a maintainer says so, and then the commit that the maintainer has seen, not the next one.

use std::collections::BTreeMap;

use resources::{Application, ApplicationSet, annotations};
use serde_json::{Value, json};

use crate::{
    ExpandError, PullRequestEntry,
    params::{Params, flatten},
};

/// The label that lets a pull request in if the set names no other.
const LABEL: &str = "preview";

/// Whether pull requests from forks get previews, by `lockstep.dev/preview-forks` on the ApplicationSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkPolicy {
    /// `none`: never.
    Never,
    /// `labeled`, and without the annotation: at the commit that the pull request had when a maintainer set the label.
    Labeled(String),
    /// `all`: as those from the repository itself.
    Always,
}

impl ForkPolicy {
    /// What a set says.
    ///
    /// # Errors
    /// [`ExpandError::Parameters`] for a value that is none.
    pub fn of(set: &ApplicationSet) -> Result<Self, ExpandError> {
        let label = set.annotation(annotations::PREVIEW_LABEL).map_or(LABEL, str::trim);
        let label = if label.is_empty() { LABEL } else { label };
        match set.annotation(annotations::PREVIEW_FORKS).map(str::trim) {
            None | Some("labeled") => Ok(Self::Labeled(label.to_owned())),
            Some("none") => Ok(Self::Never),
            Some("all") => Ok(Self::Always),
            Some(other) => Err(ExpandError::parameters(
                &format!("metadata.annotations[{}]", annotations::PREVIEW_FORKS),
                format!("{other:?} is not known; the values are labeled, none and all"),
            )),
        }
    }

    /// The commit at which a pull request may have a preview, if at any.
    pub fn commit<'a>(&self, entry: &'a PullRequestEntry) -> Option<&'a str> {
        match self {
            _ if !entry.fork => Some(&entry.head_sha),
            Self::Always => Some(&entry.head_sha),
            Self::Never => None,
            Self::Labeled(label) => entry.approved.as_deref().filter(|_| entry.labels.contains(label)),
        }
    }

    /// Why the pull request's newest commit has no preview, and what can be done; `None` if it may have one. Short enough for a
    /// check.
    pub fn why_not(&self, entry: &PullRequestEntry) -> Option<String> {
        let commit = self.commit(entry);
        if commit == Some(&entry.head_sha) {
            return None;
        }
        let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
        Some(match (self, commit) {
            (Self::Labeled(label), Some(approved)) => format!(
                "the preview stays at {}: a maintainer sets the label {label:?} anew to have {} previewed",
                short(approved),
                short(&entry.head_sha)
            ),
            (Self::Labeled(label), None) if entry.labels.contains(label) => {
                format!("no preview: the label {label:?} was not set for this commit; a maintainer sets it anew")
            }
            (Self::Labeled(label), None) => {
                format!(
                    "no preview: the pull request is from a fork; a maintainer sets the label {label:?} to have one"
                )
            }
            _ => "no preview: the pull request is from a fork".to_owned(),
        })
    }
}

/// What an event tells of a pull request's labels.
#[derive(Clone, Debug)]
pub struct LabelEvent<'a> {
    /// The pull request, with its labels and its head as the event has them.
    pub pull: &'a PullRequestEntry,
    /// It was closed.
    pub closed: bool,
    /// A label was set.
    pub labeled: bool,
    /// Which label it was; empty if the forge does not say.
    pub label: &'a str,
    /// Who did it.
    pub sender: &'a str,
    /// The pull request as it was known before, if it was.
    pub before: Option<&'a PullRequestEntry>,
}

/// The commits of forks that maintainers have let in, by pull request (`github:acme/gateway#12`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<String, Approval>);

/// A maintainer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Approval {
    commit: String,
    by: String,
}

impl Approvals {
    /// Reads the annotation. What cannot be read approves nothing.
    pub fn parse(annotation: Option<&str>) -> Self {
        let entries = annotation.and_then(|text| serde_json::from_str::<BTreeMap<String, Value>>(text).ok());
        let read = |(pull, entry): (String, Value)| {
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            Some((pull, Approval { commit: text("commit")?, by: text("by").unwrap_or_default() }))
        };
        Self(entries.unwrap_or_default().into_iter().filter_map(read).collect())
    }

    /// The annotation; `None` if there is nothing to remember.
    pub fn to_annotation(&self) -> Option<String> {
        let entry = |(pull, it): (&String, &Approval)| (pull.clone(), json!({ "commit": it.commit, "by": it.by }));
        (!self.0.is_empty()).then(|| Value::Object(self.0.iter().map(entry).collect()).to_string())
    }

    /// The commit that was let in.
    pub fn commit(&self, pull: &str) -> Option<&str> {
        self.0.get(pull).map(|approval| approval.commit.as_str())
    }

    /// Takes up an event of a pull request.
    ///
    /// Only the event of the label counts, and the commit in it: a label that stays says nothing of commits that were pushed
    /// since. Whoever opens a pull request on Gitea may give it any label from the start, and of labels that are set later Gitea
    /// does not say which one was new. So there this very commit must be known without the label, and another person have set it.
    pub fn take(&mut self, policy: &ForkPolicy, key: &str, event: &LabelEvent<'_>) {
        let ForkPolicy::Labeled(wanted) = policy else { return };
        if event.closed || !event.pull.fork || !event.pull.labels.contains(wanted) {
            self.0.remove(key);
            return;
        }
        let set_now = match event.label {
            "" => {
                let without = |before: &PullRequestEntry| {
                    !before.labels.contains(wanted)
                        && before.head_sha == event.pull.head_sha
                        && before.updated_at <= event.pull.updated_at
                };
                event.before.is_some_and(without) && !event.sender.is_empty() && event.sender != event.pull.author
            }
            label => label == wanted,
        };
        if event.labeled && set_now {
            let approval = Approval { commit: event.pull.head_sha.clone(), by: event.sender.to_owned() };
            self.0.insert(key.to_owned(), approval);
        }
    }

    /// Forgets the pull requests of a repository (`github:acme/gateway`) that are not among these.
    pub fn retain(&mut self, repository: &str, open: &[u64]) {
        self.0.retain(|pull, _| match pull.rsplit_once('#') {
            Some((known, number)) if known == repository => {
                number.parse().is_ok_and(|number: u64| open.contains(&number))
            }
            _ => true,
        });
    }
}

/// Whether these parameters are of a pull request from a fork.
pub(crate) fn is_of_fork(params: &Params) -> bool {
    match params.get("fork") {
        Some(Value::Bool(fork)) => *fork,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// Whether a revision of a repository would follow what the author of a fork pushes, whatever was approved.
pub(crate) fn follows_fork(params: &Params, repository: &str, revision: &str) -> bool {
    if !is_of_fork(params) {
        return false;
    }
    let flat = flatten(params);
    let text = |name: &str| flat.get(name).map_or("", String::as_str);
    let revision = revision.trim();
    let path = revision.strip_prefix("refs/").unwrap_or(revision);
    if path.starts_with("pull/") {
        return true;
    }
    let lower = repository.trim().to_lowercase();
    let lower = lower.trim_end_matches('/').trim_end_matches(".git");
    let head = text("head_repository").to_lowercase();
    let of_fork = !head.is_empty() && lower.strip_suffix(&head).is_some_and(|host| host.ends_with(['/', ':']));
    of_fork && revision != text("head_sha")
}

/// Checks that what was made for a fork's pull request stays at the commit that was approved.
pub(crate) fn check_pinned(policy: &ForkPolicy, params: &Params, application: &Application) -> Result<(), String> {
    if *policy == ForkPolicy::Always {
        return Ok(());
    }
    let sources = application.sources();
    let loose = sources.iter().find(|source| follows_fork(params, &source.repo_url, &source.target_revision));
    loose.map_or(Ok(()), |source| Err(unpinned(&source.target_revision)))
}

/// What to do about a revision that [`follows_fork`].
pub(crate) fn unpinned(revision: &str) -> String {
    format!(
        "the revision {revision:?} follows whatever the fork's author pushes; for pull requests from forks write {{{{.head_sha}}}}, \
         or set {}: all on the ApplicationSet",
        annotations::PREVIEW_FORKS
    )
}

#[cfg(test)]
mod tests;
