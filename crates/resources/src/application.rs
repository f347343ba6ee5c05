//! `Application`: what to sync, from where, to where and how.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    annotations,
    operation::{Operation, RetryStrategy},
    source::{ApplicationSource, Directory, Helm, Kustomize, NameValue, Plugin},
    status::ApplicationStatus,
    support::{Extra, kind, unset},
};

/// One application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// `argoproj.io/v1alpha1`.
    #[serde(default = "crate::support::api_version")]
    pub api_version: String,
    /// `Application`.
    #[serde(default = "kind_name")]
    pub kind: String,
    /// Name, namespace, labels, annotations, finalizers.
    #[schemars(schema_with = "crate::support::metadata_schema")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ApplicationSpec,
    /// What was found and done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ApplicationStatus>,
    /// The sync that is asked for or running; removed when it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

kind!(Application, "Application");

fn kind_name() -> String {
    Application::KIND.into()
}

/// What an Application wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// The only source; ignored when `sources` is set.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<ApplicationSource>,
    /// Several sources; set, they replace `source`.
    #[serde(skip_serializing_if = "unset")]
    pub sources: Vec<ApplicationSource>,
    /// Rendered manifests are pushed to a branch, and that branch is synced.
    #[serde(skip_serializing_if = "unset")]
    pub source_hydrator: Option<SourceHydrator>,
    /// Cluster and namespace.
    pub destination: Destination,
    /// The AppProject; empty means `default`.
    pub project: String,
    /// When and how to sync.
    #[serde(skip_serializing_if = "unset")]
    pub sync_policy: Option<SyncPolicy>,
    /// Fields whose difference does not count.
    #[serde(skip_serializing_if = "unset")]
    pub ignore_differences: Vec<IgnoreDifference>,
    /// Facts and links for people.
    #[serde(skip_serializing_if = "unset")]
    pub info: Vec<NameValue>,
    /// How many past syncs the status keeps. Use [`revision_history_limit`](Self::revision_history_limit).
    #[serde(skip_serializing_if = "unset")]
    pub revision_history_limit: Option<i64>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A cluster, by its address or its name, and a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Destination {
    /// Address of the API server; `https://kubernetes.default.svc` is the cluster where the Application is.
    #[serde(skip_serializing_if = "unset")]
    pub server: String,
    /// Name of the cluster; `in-cluster` is the cluster where the Application is.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Namespace for objects that name none.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// When and how to sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncPolicy {
    /// Sync without being asked. Use [`ApplicationSpec::automated`], which honours `enabled`.
    #[serde(skip_serializing_if = "unset")]
    pub automated: Option<Automated>,
    /// `Name=value` options of every sync.
    #[serde(skip_serializing_if = "unset")]
    pub sync_options: Vec<String>,
    /// How often a failed sync is tried again.
    #[serde(skip_serializing_if = "unset")]
    pub retry: Option<RetryStrategy>,
    /// Labels and annotations of the namespace that `CreateNamespace=true` creates.
    #[serde(skip_serializing_if = "unset")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Sync without being asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Automated {
    /// Delete what Git no longer has.
    #[serde(skip_serializing_if = "unset")]
    pub prune: bool,
    /// Sync again when somebody changes a live object.
    #[serde(skip_serializing_if = "unset")]
    pub self_heal: bool,
    /// Allow a sync that would delete everything.
    #[serde(skip_serializing_if = "unset")]
    pub allow_empty: bool,
    /// Off when `false`; missing means on.
    #[serde(skip_serializing_if = "unset")]
    pub enabled: Option<bool>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Labels and annotations of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ManagedNamespaceMetadata {
    /// Labels.
    #[serde(skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "unset")]
    pub annotations: BTreeMap<String, String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which fields of which objects are left out of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IgnoreDifference {
    /// API group, `*` for all; empty is the core group.
    #[serde(skip_serializing_if = "unset")]
    pub group: String,
    /// Kind, `*` for all.
    pub kind: String,
    /// Name; empty for all.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Namespace; empty for all.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// JSON pointers (RFC 6901).
    #[serde(skip_serializing_if = "unset")]
    pub json_pointers: Vec<String>,
    /// jq paths.
    #[serde(skip_serializing_if = "unset")]
    pub jq_path_expressions: Vec<String>,
    /// Fields that one of these managers owns; globs allowed.
    #[serde(skip_serializing_if = "unset")]
    pub managed_fields_managers: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Rendered manifests are pushed to a branch, and that branch is synced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceHydrator {
    /// What is rendered.
    pub dry_source: DrySource,
    /// What is synced.
    pub sync_source: SyncSource,
    /// Where to push when that is not the branch that is synced.
    #[serde(skip_serializing_if = "unset")]
    pub hydrate_to: Option<HydrateTo>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a hydrator renders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DrySource {
    /// Address of the Git repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Branch, tag or commit.
    pub target_revision: String,
    /// Folder in the repository.
    pub path: String,
    /// How to render a chart.
    #[serde(skip_serializing_if = "unset")]
    pub helm: Option<Helm>,
    /// How to render a kustomization.
    #[serde(skip_serializing_if = "unset")]
    pub kustomize: Option<Kustomize>,
    /// How to read a folder of plain manifests.
    #[serde(skip_serializing_if = "unset")]
    pub directory: Option<Directory>,
    /// A config management plugin.
    #[serde(skip_serializing_if = "unset")]
    pub plugin: Option<Plugin>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is synced after hydration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncSource {
    /// Branch.
    pub target_branch: String,
    /// Folder.
    pub path: String,
    /// Repository, when it is not the one that is rendered.
    #[serde(rename = "repoURL", skip_serializing_if = "unset")]
    pub repo_url: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The branch that a hydrator pushes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HydrateTo {
    /// Branch.
    pub target_branch: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Application {
    /// The sources: `sources` if there are any, else `source`.
    pub fn sources(&self) -> Vec<&ApplicationSource> {
        self.spec.sources()
    }

    /// Sync options of the Application; see [`ApplicationSpec::sync_option`].
    pub fn sync_option(&self, name: &str) -> Option<&str> {
        self.spec.sync_option(name)
    }

    /// The commit that an event asked for, and where it was recorded.
    pub fn wanted(&self) -> Option<&str> {
        self.annotation(annotations::WANTED)
    }
}

impl ApplicationSpec {
    /// How many past syncs are kept when the Application does not say.
    pub const DEFAULT_HISTORY: usize = 10;

    /// The sources: `sources` if there are any, else `source`. A hydrated Application has none of its own.
    pub fn sources(&self) -> Vec<&ApplicationSource> {
        if self.sources.is_empty() { self.source.iter().collect() } else { self.sources.iter().collect() }
    }

    /// Whether `sources` is used, which changes the shape of the status (`revisions` instead of `revision`).
    pub fn is_multi_source(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The project's name; `default` when none is given.
    pub fn project(&self) -> &str {
        if self.project.is_empty() { "default" } else { &self.project }
    }

    /// The automated policy, unless it is switched off by `enabled: false`.
    pub fn automated(&self) -> Option<&Automated> {
        let automated = self.sync_policy.as_ref()?.automated.as_ref()?;
        (automated.enabled != Some(false)).then_some(automated)
    }

    /// The sync options, `Name=value`.
    pub fn sync_options(&self) -> &[String] {
        self.sync_policy.as_ref().map_or(&[], |policy| &policy.sync_options)
    }

    /// The value of one sync option: `sync_option("CreateNamespace")` is `Some("true")`. The last one wins.
    pub fn sync_option(&self, name: &str) -> Option<&str> {
        option(self.sync_options().iter().map(String::as_str), name)
    }

    /// Whether a sync option is `true`.
    pub fn has_sync_option(&self, name: &str) -> bool {
        self.sync_option(name) == Some("true")
    }

    /// How many past syncs the status keeps; 0 keeps none.
    pub fn revision_history_limit(&self) -> usize {
        self.revision_history_limit.map_or(Self::DEFAULT_HISTORY, |limit| usize::try_from(limit).unwrap_or(0))
    }

    /// How a failed sync is tried again, if the Application says.
    pub fn retry(&self) -> Option<&RetryStrategy> {
        self.sync_policy.as_ref()?.retry.as_ref()
    }
}

/// The value of an option in a list of `Name=value`, blanks around it ignored. The last one wins.
///
/// ```
/// assert_eq!(resources::option("Prune=false, Force=true".split(','), "Force"), Some("true"));
/// ```
pub fn option<'a>(options: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let values = options.into_iter().filter_map(|option| option.trim().split_once('='));
    values.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).last()
}

impl Destination {
    /// Address of the cluster in which the Application itself is.
    pub const IN_CLUSTER_SERVER: &str = "https://kubernetes.default.svc";
    /// Name of the cluster in which the Application itself is.
    pub const IN_CLUSTER_NAME: &str = "in-cluster";

    /// Whether the destination is the cluster in which the Application itself is.
    pub fn is_in_cluster(&self) -> bool {
        if self.server.is_empty() {
            self.name == Self::IN_CLUSTER_NAME
        } else {
            self.server.trim_end_matches('/') == Self::IN_CLUSTER_SERVER
        }
    }
}
