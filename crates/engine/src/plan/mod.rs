//! What an operation will do, in which order.
//!
//! A plan is data: the same value is shown in a pull request, in the console and by the command line, and is carried out by the
//! worker. Only [`plan`] and [`deletion`] make one.

mod brake;
mod build;
mod delete;
mod hooks;
mod mask;
mod options;
mod order;
mod text;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use resources::{Application, Object, ObjectKey, SyncOperation, SyncResource, annotations};
use serde::Serialize;
use thiserror::Error;

pub use self::brake::Brake;
pub use self::build::plan;
pub use self::delete::deletion;
pub use self::hooks::{DeletePolicy, HOOK_DEADLINE, HookOutcome, HookStep, Part, hook_outcome, wave};
pub use self::options::{Propagation, StepOptions};
use crate::compare::Difference;
use crate::ownership::Tracking;

/// Annotation of a namespace that `CreateNamespace=true` created: the instance name of the application for which it was.
pub const CREATED_FOR: &str = "lockstep.dev/created-for";

/// The application for which a namespace was created, if one was. Whoever deletes that application may hand the namespace to
/// [`deletion`] when nobody else uses it.
pub fn created_for(namespace: &Object) -> Option<&str> {
    (namespace.kind() == "Namespace").then(|| namespace.annotation(CREATED_FOR)).flatten()
}

/// One object of an application: what Git wants, what the cluster has, and what differs.
#[derive(Clone)]
pub struct ResourceState {
    /// Which object. A hook with `generateName` has an empty name.
    pub key: ObjectKey,
    /// What Git wants; `None`: nothing, it would be pruned.
    pub desired: Option<Arc<Object>>,
    /// What the cluster has.
    pub live: Option<Arc<Object>>,
    /// What differs; `None`: not compared (a hook, or one side is missing).
    pub difference: Option<Difference>,
    /// Another application that has the object and wants it too, or wants what this one no longer does: the object is left to
    /// it, and the two do not take it from each other in turns.
    pub held_by: Option<String>,
}

impl fmt::Debug for ResourceState {
    // Objects may be Secrets, so they are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceState")
            .field("key", &self.key)
            .field("desired", &self.desired.is_some())
            .field("live", &self.live.is_some())
            .field("difference", &self.difference)
            .finish()
    }
}

impl ResourceState {
    /// Whether Git no longer has it and the cluster still has.
    pub fn requires_pruning(&self) -> bool {
        self.desired.is_none() && self.live.is_some()
    }
}

/// Everything that a plan depends on.
#[derive(Clone, Debug)]
pub struct PlanInput<'a> {
    /// The application.
    pub application: &'a Application,
    /// Its objects, in any order: what Git wants, and what it owns in the cluster.
    pub resources: &'a [ResourceState],
    /// The name under which it owns objects, see [`crate::ownership::instance_name`].
    pub instance: &'a str,
    /// How ownership is read.
    pub tracking: &'a Tracking,
    /// Whether what Git no longer has is deleted.
    pub prune: bool,
    /// Whether nobody asked for this operation.
    pub automated: bool,
    /// Only these objects; `None`: all.
    pub selected: Option<&'a [SyncResource]>,
    /// Whether hooks run. They never do when only some objects are synced.
    pub hooks: bool,
    /// Whether what cannot be updated is deleted and created (`syncStrategy.*.force`).
    pub force: bool,
    /// The operation's sync options; empty: the application's own.
    pub sync_options: &'a [String],
    /// The live destination namespace, where `CreateNamespace=true` asks for one.
    pub namespace: Option<&'a Object>,
    /// The commit that is synced; with several sources that of the first.
    pub revision: &'a str,
    /// The commits of several sources, in their order; may be empty with one.
    pub revisions: &'a [String],
    /// Whether the operation only tries (`dryRun`).
    pub dry_run: bool,
    /// When the operation began; part of the names of hooks with `generateName`.
    pub started_at: Timestamp,
}

impl<'a> PlanInput<'a> {
    /// The input of an operation as somebody asked for it.
    pub fn of_operation(
        application: &'a Application,
        operation: &'a SyncOperation,
        automated: bool,
        resources: &'a [ResourceState],
        (instance, tracking): (&'a str, &'a Tracking),
        (revision, started_at): (&'a str, Timestamp),
    ) -> Self {
        let selected = (!operation.resources.is_empty()).then_some(operation.resources.as_slice());
        Self {
            application,
            resources,
            instance,
            tracking,
            prune: operation.prune,
            automated,
            selected,
            hooks: operation.runs_hooks(),
            force: operation.is_forced(),
            sync_options: &operation.sync_options,
            namespace: None,
            revision,
            revisions: &operation.revisions,
            dry_run: operation.dry_run,
            started_at,
        }
    }
}

/// Part of an operation; phases follow each other in this order, and each waits for the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Phase {
    /// Hooks before the sync.
    PreSync,
    /// The application's objects.
    Sync,
    /// Hooks after the sync, when all is healthy.
    PostSync,
    /// Hooks after a sync that failed, and only then.
    SyncFail,
    /// Hooks before the application's objects are deleted.
    PreDelete,
    /// Deletion of the application's objects.
    Delete,
    /// Hooks after the application's objects are deleted.
    PostDelete,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreSync => "PreSync",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::SyncFail => "SyncFail",
            Self::PreDelete => "PreDelete",
            Self::Delete => "Delete",
            Self::PostDelete => "PostDelete",
        })
    }
}

/// What a step does with its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Creates it.
    Create,
    /// Applies what differs.
    Update,
    /// Replaces it as a whole.
    Replace,
    /// Deletes and creates it.
    Recreate,
    /// Runs a hook.
    Hook,
    /// Deletes it, and waits until it is gone.
    Prune,
}

/// One object and what is done with it.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which object.
    pub key: ObjectKey,
    /// What is done.
    pub action: Action,
    /// The manifest to apply; `None` for prunes. Never printed: it may be a Secret.
    #[serde(skip)]
    pub object: Option<Object>,
    /// The live object's uid, so that nothing else of the same name is deleted or replaced; empty: there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// How.
    pub options: StepOptions,
    /// What makes it a hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookStep>,
    /// What the step changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// It comes from `CreateNamespace=true` and not from Git.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub implicit: bool,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.action, self.key)
    }
}

/// What happens together: deletions first, then everything else in order. The next wave waits until all of it is healthy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its phase.
    pub phase: Phase,
    /// Its number; within a phase waves come in ascending order, in the phase Delete in descending order.
    pub number: i32,
    /// Deletions, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prune: Vec<Step>,
    /// Everything else, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apply: Vec<Step>,
    /// Objects of this wave that are in sync: nothing is written, but the next wave waits for their health too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<ObjectKey>,
}

/// An object that is left alone, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which object.
    pub key: ObjectKey,
    /// Why, as Argo CD words it where it has words for it: "ignored (requires pruning)".
    pub reason: String,
    /// Whether it should have been deleted and pruning is not allowed.
    pub prune: bool,
}

/// What an operation will do. Only [`plan`] and [`deletion`] make one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The application's name.
    pub application: String,
    /// The commit.
    pub revision: String,
    /// The commits of several sources, in their order; empty with one source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// It is only tried: nothing is changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// It would delete most of the application, so it waits for a confirmation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
    /// Waves in the order in which they run.
    pub waves: Vec<Wave>,
    /// What is left alone, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What a person should know, as sentences: objects that another application claims as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How much a plan does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Objects created.
    pub create: usize,
    /// Objects changed in place, replaced or recreated.
    pub update: usize,
    /// Objects deleted.
    pub prune: usize,
    /// Hooks run, without those for a failed sync.
    pub hooks: usize,
    /// Objects in sync already.
    pub unchanged: usize,
}

impl Plan {
    /// Whether nothing would be done unless something failed.
    pub fn is_empty(&self) -> bool {
        self.waves
            .iter()
            .filter(|wave| wave.phase != Phase::SyncFail)
            .all(|wave| wave.prune.is_empty() && wave.apply.is_empty())
    }

    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.waves.iter().flat_map(|wave| wave.prune.iter().chain(&wave.apply))
    }

    /// The commits of all sources, in their order.
    pub fn commits(&self) -> &[String] {
        resources::listed(&self.revision, &self.revisions)
    }

    /// The commits for a person: `0123456`, `0123456, 89abcde`.
    pub fn short_commits(&self) -> String {
        short(self.commits())
    }

    /// What the brake holds, for a person; see [`Brake::sentence`].
    pub fn brake_sentence(&self) -> Option<String> {
        self.brake.map(|brake| format!("the sync of {} {}", self.short_commits(), brake.sentence(&self.application)))
    }

    /// Deletions that wait until a person has confirmed them.
    pub fn to_confirm(&self) -> impl Iterator<Item = &ObjectKey> {
        self.steps().filter(|step| step.options.confirm).map(|step| &step.key)
    }

    /// How much it does.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for wave in self.waves.iter().filter(|wave| wave.phase != Phase::SyncFail) {
            counts.unchanged += wave.unchanged.len();
            counts.prune += wave.prune.len();
            for step in &wave.apply {
                match step.action {
                    Action::Create => counts.create += 1,
                    Action::Update | Action::Replace | Action::Recreate => counts.update += 1,
                    Action::Hook => counts.hooks += 1,
                    Action::Prune => counts.prune += 1,
                }
            }
        }
        counts
    }
}

/// Commits for a person.
pub(crate) fn short(commits: &[String]) -> String {
    let short: Vec<&str> = commits.iter().map(|commit| commit.get(..7).unwrap_or(commit)).collect();
    short.join(", ")
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// `FailOnSharedResource=true` and another application has it.
    #[error(
        "{key} belongs to application {owner}, and FailOnSharedResource=true forbids to share it; remove it from one of the two \
         applications, or remove the option"
    )]
    Shared {
        /// The object.
        key: ObjectKey,
        /// The other application.
        owner: String,
    },
}

/// Whether a person has confirmed the deletions of an operation that began at this time
/// (`argocd.argoproj.io/deletion-approved` on the Application).
pub fn is_deletion_approved(application: &Application, started_at: Timestamp) -> bool {
    application
        .annotation(annotations::DELETION_APPROVED)
        .and_then(|at| at.trim().parse::<Timestamp>().ok())
        // The annotation has whole seconds.
        .is_some_and(|at| at.as_second() >= started_at.as_second())
}

#[cfg(test)]
mod tests;
