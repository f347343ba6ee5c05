//! `AppProject`: what the applications of a team may use.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::support::{Extra, kind, unset};

/// One project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppProject {
    /// `argoproj.io/v1alpha1`.
    #[serde(default = "crate::support::api_version")]
    pub api_version: String,
    /// `AppProject`.
    #[serde(default = "kind_name")]
    pub kind: String,
    /// Name, namespace, labels, annotations, finalizers.
    #[schemars(schema_with = "crate::support::metadata_schema")]
    pub metadata: ObjectMeta,
    /// What is permitted.
    pub spec: AppProjectSpec,
    /// Tokens that were issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AppProjectStatus>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

kind!(AppProject, "AppProject");

fn kind_name() -> String {
    AppProject::KIND.into()
}

/// What is permitted to the applications of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AppProjectSpec {
    /// Repositories, as globs; `!` in front forbids.
    #[serde(skip_serializing_if = "unset")]
    pub source_repos: Vec<String>,
    /// Clusters and namespaces, as globs; `!` in front forbids.
    #[serde(skip_serializing_if = "unset")]
    pub destinations: Vec<ProjectDestination>,
    /// A sentence for people, at most 255 characters.
    #[serde(skip_serializing_if = "unset")]
    pub description: String,
    /// Who may do what.
    #[serde(skip_serializing_if = "unset")]
    pub roles: Vec<ProjectRole>,
    /// Cluster-scoped kinds that are permitted; empty permits none.
    #[serde(skip_serializing_if = "unset")]
    pub cluster_resource_whitelist: Vec<GroupKindName>,
    /// Cluster-scoped kinds that are forbidden.
    #[serde(skip_serializing_if = "unset")]
    pub cluster_resource_blacklist: Vec<GroupKindName>,
    /// Namespaced kinds that are forbidden.
    #[serde(skip_serializing_if = "unset")]
    pub namespace_resource_blacklist: Vec<GroupKind>,
    /// Namespaced kinds that are permitted; missing permits all, an empty list none.
    #[serde(skip_serializing_if = "unset")]
    pub namespace_resource_whitelist: Option<Vec<GroupKind>>,
    /// Watch for objects that no application owns.
    #[serde(skip_serializing_if = "unset")]
    pub orphaned_resources: Option<OrphanedResources>,
    /// When syncs may run.
    #[serde(skip_serializing_if = "unset")]
    pub sync_windows: Vec<SyncWindow>,
    /// Keys of which one must have signed the commit; the older form of `sourceIntegrity`.
    #[serde(skip_serializing_if = "unset")]
    pub signature_keys: Vec<SignatureKey>,
    /// Namespaces from which Applications may use this project, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub source_namespaces: Vec<String>,
    /// Only clusters that belong to this project.
    #[serde(skip_serializing_if = "unset")]
    pub permit_only_project_scoped_clusters: bool,
    /// Accounts to use for a destination.
    #[serde(skip_serializing_if = "unset")]
    pub destination_service_accounts: Vec<DestinationServiceAccount>,
    /// Which signatures a commit must carry.
    #[serde(skip_serializing_if = "unset")]
    pub source_integrity: Option<SourceIntegrity>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A cluster and a namespace, as globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ProjectDestination {
    /// Address of the API server.
    #[serde(skip_serializing_if = "unset")]
    pub server: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who may do what in a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ProjectRole {
    /// Name.
    pub name: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "unset")]
    pub description: String,
    /// Lines of the form `p, proj:<project>:<role>, applications, <action>, <project>/<application>, allow`.
    #[serde(skip_serializing_if = "unset")]
    pub policies: Vec<String>,
    /// Tokens that were issued.
    #[serde(skip_serializing_if = "unset")]
    pub jwt_tokens: Vec<JwtToken>,
    /// Groups of the identity provider.
    #[serde(skip_serializing_if = "unset")]
    pub groups: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A token that was issued; never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtToken {
    /// When, in seconds since 1970.
    pub iat: i64,
    /// Until when; 0 has no end.
    #[serde(skip_serializing_if = "unset")]
    pub exp: i64,
    /// Its id.
    #[serde(skip_serializing_if = "unset")]
    pub id: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Tokens of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtTokens {
    /// The tokens.
    #[serde(skip_serializing_if = "unset")]
    pub items: Vec<JwtToken>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A kind, as globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupKind {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A kind and perhaps a name, as globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupKindName {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name; empty means all.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Watch for objects that no application owns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OrphanedResources {
    /// Say so in a condition; missing means yes.
    #[serde(skip_serializing_if = "unset")]
    pub warn: Option<bool>,
    /// Objects to leave out.
    #[serde(skip_serializing_if = "unset")]
    pub ignore: Vec<GroupKindName>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A time in which syncs may or may not run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncWindow {
    /// `allow` or `deny`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// Start, as a cron expression of five fields.
    #[serde(skip_serializing_if = "unset")]
    pub schedule: String,
    /// Length, such as `1h30m`.
    #[serde(skip_serializing_if = "unset")]
    pub duration: String,
    /// Applications, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub applications: Vec<String>,
    /// Destination namespaces, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub namespaces: Vec<String>,
    /// Destination clusters, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub clusters: Vec<String>,
    /// Let syncs through that a person asked for.
    #[serde(skip_serializing_if = "unset")]
    pub manual_sync: bool,
    /// Time zone of the schedule; UTC when empty.
    #[serde(skip_serializing_if = "unset")]
    pub time_zone: String,
    /// All of the lists that are given must match, instead of one of them.
    #[serde(skip_serializing_if = "unset")]
    pub and_operator: bool,
    /// A sentence for people, at most 255 characters.
    #[serde(skip_serializing_if = "unset")]
    pub description: String,
    /// Let a running sync finish.
    #[serde(skip_serializing_if = "unset")]
    pub sync_overrun: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A key that may sign commits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SignatureKey {
    /// Its id.
    #[serde(rename = "keyID")]
    pub key_id: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The account to use for a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DestinationServiceAccount {
    /// Address of the API server, as a glob.
    pub server: String,
    /// Namespace, as a glob.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// `name` or `namespace:name`.
    pub default_service_account: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which signatures a commit must carry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceIntegrity {
    /// Rules for Git.
    #[serde(skip_serializing_if = "unset")]
    pub git: Option<GitIntegrity>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Signature rules for Git.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GitIntegrity {
    /// The first one that matches the repository counts.
    #[serde(skip_serializing_if = "unset")]
    pub policies: Vec<IntegrityPolicy>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Signature rules for some repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IntegrityPolicy {
    /// The repositories.
    pub repos: Vec<IntegrityRepo>,
    /// What must be signed.
    #[serde(skip_serializing_if = "unset")]
    pub gpg: Option<GpgPolicy>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IntegrityRepo {
    /// Its address, as a glob.
    pub url: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What must be signed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GpgPolicy {
    /// `none`, `head` (the commit) or `strict` (all since the last good one).
    pub mode: String,
    /// Ids of the keys.
    pub keys: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Tokens that were issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AppProjectStatus {
    /// By role.
    #[serde(skip_serializing_if = "unset")]
    pub jwt_tokens_by_role: BTreeMap<String, JwtTokens>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl OrphanedResources {
    /// Whether a condition is wanted.
    pub fn warns(&self) -> bool {
        self.warn != Some(false)
    }
}
