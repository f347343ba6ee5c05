//! `status`: what was found and what was done, in the shape that users of `kubectl get applications` know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    application::{Destination, IgnoreDifference, ManagedNamespaceMetadata, SourceHydrator},
    operation::{InitiatedBy, Operation},
    source::ApplicationSource,
    support::{Extra, Time, open_enum, unset},
};

open_enum! {
    /// How well an object or an application is, from best to worst: a worse status is greater.
    pub enum HealthStatus {
        /// It does what it should.
        Healthy,
        /// It waits for somebody: a paused rollout, a suspended job.
        Suspended,
        /// It is on its way.
        Progressing,
        /// It does not exist.
        Missing,
        /// It failed.
        Degraded,
        /// It could not be found out; also any status this version does not know.
        #[default]
        Unknown,
    }
}

open_enum! {
    /// Whether the cluster has what Git has.
    pub enum SyncStatus {
        /// It has.
        Synced,
        /// It has not.
        OutOfSync,
        /// It could not be found out; also any status this version does not know.
        #[default]
        Unknown,
    }
}

open_enum! {
    /// Where an operation or a hook is.
    pub enum OperationPhase {
        /// It runs, or waits for its next try.
        #[default]
        Running,
        /// It was asked to stop and is stopping.
        Terminating,
        /// Everything it had to do is done.
        Succeeded,
        /// Something in the cluster failed: an object was refused, a hook failed.
        Failed,
        /// It could not be carried out.
        Error,
        /// A phase this version does not know.
        Unknown,
    }
}

open_enum! {
    /// What a sync did with one object.
    pub enum ResultCode {
        /// Applied.
        Synced,
        /// Could not be applied.
        SyncFailed,
        /// Deleted.
        Pruned,
        /// Should have been deleted, but pruning is off.
        PruneSkipped,
        /// A result this version does not know.
        #[default]
        Unknown,
    }
}

impl OperationPhase {
    /// Whether the operation has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }

    /// Whether the operation has ended well.
    pub fn is_success(self) -> bool {
        self == Self::Succeeded
    }
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Every object of the application.
    #[serde(skip_serializing_if = "unset")]
    pub resources: Vec<ResourceStatus>,
    /// Whether the cluster has what Git has.
    #[serde(skip_serializing_if = "unset")]
    pub sync: Option<SyncState>,
    /// How well the application is.
    #[serde(skip_serializing_if = "unset")]
    pub health: Option<Health>,
    /// Past syncs, oldest first.
    #[serde(skip_serializing_if = "unset")]
    pub history: Vec<RevisionHistory>,
    /// What somebody should know.
    #[serde(skip_serializing_if = "unset")]
    pub conditions: Vec<Condition>,
    /// When Git and cluster were last compared.
    #[serde(skip_serializing_if = "unset")]
    pub reconciled_at: Option<Time>,
    /// The running or last operation.
    #[serde(skip_serializing_if = "unset")]
    pub operation_state: Option<OperationState>,
    /// When the status was last computed without asking Git.
    #[serde(skip_serializing_if = "unset")]
    pub observed_at: Option<Time>,
    /// `Directory`, `Kustomize`, `Helm` or `Plugin`.
    #[serde(skip_serializing_if = "unset")]
    pub source_type: String,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "unset")]
    pub source_types: Vec<String>,
    /// Addresses and images.
    #[serde(skip_serializing_if = "unset")]
    pub summary: Option<Summary>,
    /// Where the health of `resources` is kept (`appTree`: not here).
    #[serde(skip_serializing_if = "unset")]
    pub resource_health_source: String,
    /// Namespace of whoever looks after the Application.
    #[serde(skip_serializing_if = "unset")]
    pub controller_namespace: String,
    /// What the hydrator did.
    #[serde(skip_serializing_if = "unset")]
    pub source_hydrator: Option<SourceHydratorStatus>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Whether the cluster has what Git has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncState {
    /// The answer.
    pub status: SyncStatus,
    /// What was compared.
    #[serde(skip_serializing_if = "unset")]
    pub compared_to: Option<ComparedTo>,
    /// The commit of the only source.
    #[serde(skip_serializing_if = "unset")]
    pub revision: String,
    /// The commits of several sources, in their order.
    #[serde(skip_serializing_if = "unset")]
    pub revisions: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ComparedTo {
    /// The source.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<ApplicationSource>,
    /// The sources.
    #[serde(skip_serializing_if = "unset")]
    pub sources: Vec<ApplicationSource>,
    /// The destination.
    pub destination: Destination,
    /// What was left out.
    #[serde(skip_serializing_if = "unset")]
    pub ignore_differences: Vec<IgnoreDifference>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How well something is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Health {
    /// The answer; missing when it was never found out.
    #[serde(skip_serializing_if = "unset")]
    pub status: Option<HealthStatus>,
    /// A sentence.
    #[serde(skip_serializing_if = "unset")]
    pub message: String,
    /// When the answer last changed.
    #[serde(skip_serializing_if = "unset")]
    pub last_transition_time: Option<Time>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One object of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceStatus {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "unset")]
    pub group: String,
    /// API version.
    #[serde(skip_serializing_if = "unset")]
    pub version: String,
    /// Kind.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Whether the cluster has what Git has.
    #[serde(skip_serializing_if = "unset")]
    pub status: Option<SyncStatus>,
    /// How well it is; missing for kinds without health.
    #[serde(skip_serializing_if = "unset")]
    pub health: Option<Health>,
    /// It is a hook.
    #[serde(skip_serializing_if = "unset")]
    pub hook: bool,
    /// Git no longer has it.
    #[serde(skip_serializing_if = "unset")]
    pub requires_pruning: bool,
    /// Deleting it has to be confirmed.
    #[serde(skip_serializing_if = "unset")]
    pub requires_deletion_confirmation: bool,
    /// Its wave.
    #[serde(skip_serializing_if = "unset")]
    pub sync_wave: i64,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One past sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionHistory {
    /// Number, growing.
    pub id: i64,
    /// The commit of the only source.
    #[serde(skip_serializing_if = "unset")]
    pub revision: String,
    /// The commits of several sources, in their order.
    #[serde(skip_serializing_if = "unset")]
    pub revisions: Vec<String>,
    /// When it ended.
    pub deployed_at: Option<Time>,
    /// When it began.
    #[serde(skip_serializing_if = "unset")]
    pub deploy_started_at: Option<Time>,
    /// The source as it was.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<ApplicationSource>,
    /// The sources as they were.
    #[serde(skip_serializing_if = "unset")]
    pub sources: Vec<ApplicationSource>,
    /// Who asked.
    #[serde(skip_serializing_if = "unset")]
    pub initiated_by: Option<InitiatedBy>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Something that somebody should know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// One of the names in [`conditions`].
    pub r#type: String,
    /// A sentence.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "unset")]
    pub last_transition_time: Option<Time>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The running or last operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OperationState {
    /// What was asked for.
    pub operation: Operation,
    /// Where it is.
    pub phase: OperationPhase,
    /// A sentence.
    #[serde(skip_serializing_if = "unset")]
    pub message: String,
    /// What was done with each object.
    #[serde(skip_serializing_if = "unset")]
    pub sync_result: Option<SyncResult>,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended; with phase `Running`: when the last try ended.
    #[serde(skip_serializing_if = "unset")]
    pub finished_at: Option<Time>,
    /// How many tries failed.
    #[serde(skip_serializing_if = "unset")]
    pub retry_count: i64,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncResult {
    /// One entry for each object.
    #[serde(skip_serializing_if = "unset")]
    pub resources: Vec<ResourceResult>,
    /// The commit of the only source; empty with several sources.
    pub revision: String,
    /// The commits of several sources, in their order.
    #[serde(skip_serializing_if = "unset")]
    pub revisions: Vec<String>,
    /// The source that was synced.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<ApplicationSource>,
    /// The sources that were synced.
    #[serde(skip_serializing_if = "unset")]
    pub sources: Vec<ApplicationSource>,
    /// Metadata of the namespace that was created.
    #[serde(skip_serializing_if = "unset")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a sync did with one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceResult {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What was done.
    #[serde(skip_serializing_if = "unset")]
    pub status: Option<ResultCode>,
    /// A sentence, often the API server's.
    #[serde(skip_serializing_if = "unset")]
    pub message: String,
    /// `PreSync`, `Sync`, `PostSync`, `SyncFail`, …; empty for what is no hook.
    #[serde(skip_serializing_if = "unset")]
    pub hook_type: String,
    /// Where the hook or the object is.
    #[serde(skip_serializing_if = "unset")]
    pub hook_phase: Option<OperationPhase>,
    /// The phase in which it was handled.
    #[serde(skip_serializing_if = "unset")]
    pub sync_phase: String,
    /// Its images.
    #[serde(skip_serializing_if = "unset")]
    pub images: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Addresses and images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Summary {
    /// Where people find the application.
    #[serde(rename = "externalURLs", skip_serializing_if = "unset")]
    pub external_urls: Vec<String>,
    /// Images in use.
    #[serde(skip_serializing_if = "unset")]
    pub images: Vec<String>,
    /// It contains Applications.
    #[serde(skip_serializing_if = "unset")]
    pub is_app_of_apps: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What the hydrator did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceHydratorStatus {
    /// The running or last operation.
    #[serde(skip_serializing_if = "unset")]
    pub current_operation: Option<HydrateOperation>,
    /// The last that went well.
    #[serde(skip_serializing_if = "unset")]
    pub last_successful_operation: Option<HydrateOperation>,
    /// The last commit that was looked at.
    #[serde(skip_serializing_if = "unset")]
    pub last_compared_dry_revision: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One hydration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HydrateOperation {
    /// `Hydrating`, `Failed` or `Hydrated`.
    #[serde(skip_serializing_if = "unset")]
    pub phase: String,
    /// A sentence.
    #[serde(skip_serializing_if = "unset")]
    pub message: String,
    /// When it began.
    #[serde(skip_serializing_if = "unset")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "unset")]
    pub finished_at: Option<Time>,
    /// The commit that was rendered.
    #[serde(rename = "drySHA", skip_serializing_if = "unset")]
    pub dry_sha: String,
    /// The commit that was pushed.
    #[serde(rename = "hydratedSHA", skip_serializing_if = "unset")]
    pub hydrated_sha: String,
    /// The settings.
    #[serde(skip_serializing_if = "unset")]
    pub source_hydrator: Option<SourceHydrator>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Names of conditions.
pub mod conditions {
    /// Deleting the application failed.
    pub const DELETION_ERROR: &str = "DeletionError";
    /// The spec is wrong or not permitted.
    pub const INVALID_SPEC_ERROR: &str = "InvalidSpecError";
    /// Fetching, rendering or comparing failed.
    pub const COMPARISON_ERROR: &str = "ComparisonError";
    /// An automated sync failed.
    pub const SYNC_ERROR: &str = "SyncError";
    /// Anything else failed.
    pub const UNKNOWN_ERROR: &str = "UnknownError";
    /// Another application has the same object.
    pub const SHARED_RESOURCE_WARNING: &str = "SharedResourceWarning";
    /// Two sources have the same object.
    pub const REPEATED_RESOURCE_WARNING: &str = "RepeatedResourceWarning";
    /// An object is excluded by the settings.
    pub const EXCLUDED_RESOURCE_WARNING: &str = "ExcludedResourceWarning";
    /// The namespace has objects that no application owns.
    pub const ORPHANED_RESOURCE_WARNING: &str = "OrphanedResourceWarning";
    /// A sync is needed and waits for something: a window, an approval, a confirmation, another application.
    pub const SYNC_WAITING: &str = "SyncWaiting";
    /// The application stays at a commit and does not follow Git.
    pub const PINNED_WARNING: &str = "PinnedWarning";
    /// Somebody keeps changing what self-heal undoes.
    pub const SELF_HEAL_WARNING: &str = "SelfHealWarning";
    /// Objects differ from the commit that was synced, and nothing repairs them by itself.
    pub const DRIFT_WARNING: &str = "DriftWarning";
    /// A rule of `ignoreDifferences` cannot be applied.
    pub const IGNORE_DIFFERENCES_WARNING: &str = "IgnoreDifferencesWarning";
}

impl Condition {
    /// Whether it is an error: by convention the name ends in `Error`.
    pub fn is_error(&self) -> bool {
        self.r#type.ends_with("Error")
    }
}

impl ApplicationStatus {
    /// The sync status; `Unknown` before the first comparison.
    pub fn sync_status(&self) -> SyncStatus {
        self.sync.as_ref().map_or(SyncStatus::Unknown, |sync| sync.status)
    }

    /// The health; `Unknown` before the first comparison.
    pub fn health_status(&self) -> HealthStatus {
        self.health.as_ref().and_then(|health| health.status).unwrap_or(HealthStatus::Unknown)
    }

    /// Adds a past sync and forgets the oldest ones beyond `limit`.
    pub fn remember(&mut self, mut entry: RevisionHistory, limit: usize) {
        entry.id = self.history.iter().map(|past| past.id).max().map_or(0, |last| last + 1);
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(limit);
        self.history.drain(..surplus);
    }

    /// Sets the conditions of the given types to exactly `now`, keeping the time of those that were there with the same message,
    /// and leaves conditions of other types alone.
    pub fn set_conditions(&mut self, types: &[&str], now: Vec<Condition>) {
        let before = std::mem::take(&mut self.conditions);
        let known: BTreeMap<(String, String), Option<Time>> = before
            .iter()
            .map(|condition| ((condition.r#type.clone(), condition.message.clone()), condition.last_transition_time))
            .collect();
        self.conditions = before.into_iter().filter(|condition| !types.contains(&condition.r#type.as_str())).collect();
        self.conditions.extend(now.into_iter().map(|mut condition| {
            if let Some(since) = known.get(&(condition.r#type.clone(), condition.message.clone())) {
                condition.last_transition_time = *since;
            }
            condition
        }));
    }
}

impl Health {
    /// A status with a sentence.
    pub fn new(status: HealthStatus, message: impl Into<String>) -> Self {
        Self { status: Some(status), message: message.into(), ..Self::default() }
    }
}
