//! `operation`: one sync, as somebody asks for it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ObjectKey,
    duration::parse_duration,
    source::{ApplicationSource, NameValue},
    support::{Extra, unset},
};

/// One sync, as somebody asks for it: a person, a command, or the automated policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    /// What to do.
    #[serde(skip_serializing_if = "unset")]
    pub sync: Option<SyncOperation>,
    /// Who asked.
    #[serde(skip_serializing_if = "unset")]
    pub initiated_by: Option<InitiatedBy>,
    /// Facts that whoever asked wants to keep with the operation.
    #[serde(skip_serializing_if = "unset")]
    pub info: Vec<NameValue>,
    /// How often a failed sync is tried again.
    #[serde(skip_serializing_if = "unset")]
    pub retry: Option<RetryStrategy>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a sync does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncOperation {
    /// Revision or commit; the source's own when empty.
    #[serde(skip_serializing_if = "unset")]
    pub revision: String,
    /// Revisions of several sources, in their order.
    #[serde(skip_serializing_if = "unset")]
    pub revisions: Vec<String>,
    /// Delete what Git no longer has.
    #[serde(skip_serializing_if = "unset")]
    pub prune: bool,
    /// Only try: nothing is changed.
    #[serde(skip_serializing_if = "unset")]
    pub dry_run: bool,
    /// With or without hooks.
    #[serde(skip_serializing_if = "unset")]
    pub sync_strategy: Option<SyncStrategy>,
    /// Only these objects; empty means all.
    #[serde(skip_serializing_if = "unset")]
    pub resources: Vec<SyncResource>,
    /// Replaces the Application's source; a rollback does that.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<ApplicationSource>,
    /// Replaces the Application's sources.
    #[serde(skip_serializing_if = "unset")]
    pub sources: Vec<ApplicationSource>,
    /// Manifests to apply instead of rendering the source.
    #[serde(skip_serializing_if = "unset")]
    pub manifests: Vec<String>,
    /// `Name=value` options; the Application's own when empty.
    #[serde(skip_serializing_if = "unset")]
    pub sync_options: Vec<String>,
    /// How often self-healing has tried since the last success.
    #[serde(skip_serializing_if = "unset")]
    pub auto_heal_attempts_count: i64,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// With or without hooks. Neither means with hooks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStrategy {
    /// Without hooks.
    #[serde(skip_serializing_if = "unset")]
    pub apply: Option<SyncStrategyOptions>,
    /// With hooks.
    #[serde(skip_serializing_if = "unset")]
    pub hook: Option<SyncStrategyOptions>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Options of a strategy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStrategyOptions {
    /// Delete and create what cannot be updated.
    #[serde(skip_serializing_if = "unset")]
    pub force: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One object of a selective sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncResource {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "unset")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; empty matches any.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who asked for an operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct InitiatedBy {
    /// The person's name.
    #[serde(skip_serializing_if = "unset")]
    pub username: String,
    /// The automated policy asked.
    #[serde(skip_serializing_if = "unset")]
    pub automated: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How often a failed sync is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryStrategy {
    /// How often; below zero without an end, 0 never.
    #[serde(skip_serializing_if = "unset")]
    pub limit: i64,
    /// How long to wait in between.
    #[serde(skip_serializing_if = "unset")]
    pub backoff: Option<Backoff>,
    /// Resolve the revision again before each try.
    #[serde(skip_serializing_if = "unset")]
    pub refresh: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How long to wait between two tries. Durations are written `5s`, `3m`, `1h30m`, or as seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Backoff {
    /// The first wait; 5 s when empty.
    #[serde(skip_serializing_if = "unset")]
    pub duration: String,
    /// By how much each wait grows; 2 when missing.
    #[serde(skip_serializing_if = "unset")]
    pub factor: Option<i64>,
    /// The longest wait; 3 min when empty.
    #[serde(skip_serializing_if = "unset")]
    pub max_duration: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl SyncOperation {
    /// Whether hooks run: not with the `apply` strategy, and not when only some objects are synced.
    pub fn runs_hooks(&self) -> bool {
        let apply = self.sync_strategy.as_ref().is_some_and(|strategy| strategy.apply.is_some());
        !apply && self.resources.is_empty()
    }

    /// Whether what cannot be updated is deleted and created.
    pub fn is_forced(&self) -> bool {
        let Some(strategy) = &self.sync_strategy else { return false };
        strategy.apply.as_ref().or(strategy.hook.as_ref()).is_some_and(|options| options.force)
    }
}

impl SyncResource {
    /// Whether this entry means the object. An entry without a namespace means the object in any.
    pub fn selects(&self, key: &ObjectKey) -> bool {
        self.group == key.group
            && self.kind == key.kind
            && self.name == key.name
            && (self.namespace.is_empty() || self.namespace == key.namespace)
    }
}

impl RetryStrategy {
    /// The wait before try number `attempt` (0 is the first retry): `duration × factorⁿ`, at most `maxDuration`. Values that do
    /// not parse count as missing; validation has named them.
    pub fn wait(&self, attempt: u32) -> Duration {
        let backoff = self.backoff.as_ref();
        let read = |text: Option<&String>, default| {
            text.filter(|text| !text.is_empty()).and_then(|text| parse_duration(text).ok()).unwrap_or(default)
        };
        let first = read(backoff.map(|backoff| &backoff.duration), Duration::from_secs(5));
        let most = read(backoff.map(|backoff| &backoff.max_duration), Duration::from_secs(180));
        let factor = backoff.and_then(|backoff| backoff.factor).unwrap_or(2).max(1);
        let factor = u32::try_from(factor).unwrap_or(u32::MAX);
        first.saturating_mul(factor.saturating_pow(attempt)).min(most)
    }
}

/// The revisions of a pair of fields, `revision` of one source and `revisions` of several, in the order of the sources.
pub fn listed<'a>(revision: &'a String, revisions: &'a [String]) -> &'a [String] {
    if revisions.is_empty() { std::slice::from_ref(revision) } else { revisions }
}

impl SyncOperation {
    /// Whether it changes the whole application: a dry run changes nothing, a selection not all. Repairs select what drifted, and
    /// leave the whole as the commit wants it.
    pub fn is_whole(&self) -> bool {
        !self.dry_run && (self.resources.is_empty() || self.auto_heal_attempts_count != 0)
    }
}
