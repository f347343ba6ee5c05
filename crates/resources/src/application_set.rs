//! `ApplicationSet`: many Applications from one template.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    selector::{LabelSelector, LabelSelectorRequirement},
    status::{Health, ResourceStatus},
    support::{Extra, IntOrString, Time, kind, unset},
};

/// One set of Applications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSet {
    /// `argoproj.io/v1alpha1`.
    #[serde(default = "crate::support::api_version")]
    pub api_version: String,
    /// `ApplicationSet`.
    #[serde(default = "kind_name")]
    pub kind: String,
    /// Name, namespace, labels, annotations, finalizers.
    #[schemars(schema_with = "crate::support::metadata_schema")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ApplicationSetSpec,
    /// What was found and done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ApplicationSetStatus>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

kind!(ApplicationSet, "ApplicationSet");

fn kind_name() -> String {
    ApplicationSet::KIND.into()
}

/// What a set of Applications wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetSpec {
    /// Templates are Go templates, not `{{name}}`.
    #[serde(skip_serializing_if = "unset")]
    pub go_template: bool,
    /// Options of Go templates, such as `missingkey=error`.
    #[serde(skip_serializing_if = "unset")]
    pub go_template_options: Vec<String>,
    /// Where the parameters come from.
    pub generators: Vec<Generator>,
    /// The Application to make.
    pub template: Template,
    /// A Go template of a patch that is merged into each Application.
    #[serde(skip_serializing_if = "unset")]
    pub template_patch: String,
    /// What may be done to the Applications.
    #[serde(skip_serializing_if = "unset")]
    pub sync_policy: Option<ApplicationSetSyncPolicy>,
    /// In which order they are changed.
    #[serde(skip_serializing_if = "unset")]
    pub strategy: Option<Strategy>,
    /// Annotations and labels that others set and that are left alone.
    #[serde(skip_serializing_if = "unset")]
    pub preserved_fields: Option<PreservedFields>,
    /// Fields of Applications that others set and that are left alone.
    #[serde(skip_serializing_if = "unset")]
    pub ignore_application_differences: Vec<IgnoreApplicationDifference>,
    /// Kept; selectors of nested generators always count.
    #[serde(skip_serializing_if = "unset")]
    pub apply_nested_selectors: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The Application to make. Every string in it is a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Template {
    /// Its metadata.
    pub metadata: TemplateMetadata,
    /// Its spec, before the parameters are filled in.
    #[schemars(schema_with = "template_spec_schema")]
    pub spec: Map<String, Value>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Metadata of the Application to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Namespace; the set's own when empty.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Labels.
    #[serde(skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "unset")]
    pub annotations: BTreeMap<String, String>,
    /// Finalizers.
    #[serde(skip_serializing_if = "unset")]
    pub finalizers: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What may be done to the Applications.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetSyncPolicy {
    /// Deleting an Application leaves its objects in the cluster.
    #[serde(skip_serializing_if = "unset")]
    pub preserve_resources_on_deletion: bool,
    /// Which of create, update and delete are done; missing means all.
    #[serde(skip_serializing_if = "unset")]
    pub applications_sync: Option<ApplicationsSync>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// In which order Applications are changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Strategy {
    /// `AllAtOnce` (also when empty) or `RollingSync`.
    #[serde(skip_serializing_if = "unset")]
    pub r#type: String,
    /// The steps.
    #[serde(skip_serializing_if = "unset")]
    pub rolling_sync: Option<RollingSync>,
    /// `AllAtOnce` (also when empty) or `Reverse`.
    #[serde(skip_serializing_if = "unset")]
    pub deletion_order: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Steps, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingSync {
    /// The steps.
    #[serde(skip_serializing_if = "unset")]
    pub steps: Vec<RollingSyncStep>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Applications that are changed together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingSyncStep {
    /// Which, by their labels; `In` and `NotIn`.
    #[serde(skip_serializing_if = "unset")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
    /// How many at once: a number or a percentage; missing means all.
    #[serde(skip_serializing_if = "unset")]
    pub max_update: Option<IntOrString>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Annotations and labels that others set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PreservedFields {
    /// Names of annotations.
    #[serde(skip_serializing_if = "unset")]
    pub annotations: Vec<String>,
    /// Names of labels.
    #[serde(skip_serializing_if = "unset")]
    pub labels: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Fields of Applications that others set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IgnoreApplicationDifference {
    /// Name of the Application; empty means all.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// JSON pointers.
    #[serde(skip_serializing_if = "unset")]
    pub json_pointers: Vec<String>,
    /// jq paths.
    #[serde(skip_serializing_if = "unset")]
    pub jq_path_expressions: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One source of parameters: exactly one of the fields but `selector`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Generator {
    /// A list.
    #[serde(skip_serializing_if = "unset")]
    pub list: Option<ListGenerator>,
    /// Clusters.
    #[serde(skip_serializing_if = "unset")]
    pub clusters: Option<ClustersGenerator>,
    /// Folders or files in Git.
    #[serde(skip_serializing_if = "unset")]
    pub git: Option<GitGenerator>,
    /// Repositories of an organisation; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub scm_provider: Option<Map<String, Value>>,
    /// Clusters that another object lists; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub cluster_decision_resource: Option<Map<String, Value>>,
    /// Open pull requests.
    #[serde(skip_serializing_if = "unset")]
    pub pull_request: Option<PullRequestGenerator>,
    /// Each of one with each of another.
    #[serde(skip_serializing_if = "unset")]
    pub matrix: Option<MatrixGenerator>,
    /// One, completed by others.
    #[serde(skip_serializing_if = "unset")]
    pub merge: Option<MergeGenerator>,
    /// A service of your own; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub plugin: Option<Map<String, Value>>,
    /// Which of the results count, by their parameters.
    #[serde(skip_serializing_if = "unset")]
    pub selector: Option<LabelSelector>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ListGenerator {
    /// One set of parameters each.
    #[serde(skip_serializing_if = "unset")]
    pub elements: Vec<Value>,
    /// The same as a YAML text, which may be a template in a matrix.
    #[serde(skip_serializing_if = "unset")]
    pub elements_yaml: String,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClustersGenerator {
    /// Which, by the labels of their Secrets; missing means all and the local one.
    #[serde(skip_serializing_if = "unset")]
    pub selector: Option<LabelSelector>,
    /// More parameters, as `values.<name>`.
    #[serde(skip_serializing_if = "unset")]
    pub values: BTreeMap<String, String>,
    /// One set of parameters with all clusters in `clusters`.
    #[serde(skip_serializing_if = "unset")]
    pub flat_list: bool,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Folders or files in Git.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GitGenerator {
    /// Address of the repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Folders, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub directories: Vec<GitPath>,
    /// YAML or JSON files with parameters, as globs.
    #[serde(skip_serializing_if = "unset")]
    pub files: Vec<GitPath>,
    /// Branch, tag or commit; empty means the default branch.
    pub revision: String,
    /// How often to look again.
    #[serde(skip_serializing_if = "unset")]
    pub requeue_after_seconds: Option<i64>,
    /// Put before the names of the path parameters.
    #[serde(skip_serializing_if = "unset")]
    pub path_param_prefix: String,
    /// More parameters, as `values.<name>`.
    #[serde(skip_serializing_if = "unset")]
    pub values: BTreeMap<String, String>,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Folders or files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GitPath {
    /// A glob.
    pub path: String,
    /// Leave out instead of taking.
    #[serde(skip_serializing_if = "unset")]
    pub exclude: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Open pull requests: exactly one of the forges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PullRequestGenerator {
    /// On GitHub.
    #[serde(skip_serializing_if = "unset")]
    pub github: Option<GithubPullRequests>,
    /// On GitLab; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub gitlab: Option<Map<String, Value>>,
    /// On Gitea or Forgejo.
    #[serde(skip_serializing_if = "unset")]
    pub gitea: Option<GiteaPullRequests>,
    /// On Bitbucket Server; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub bitbucket_server: Option<Map<String, Value>>,
    /// On Bitbucket; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub bitbucket: Option<Map<String, Value>>,
    /// On Azure DevOps; not supported yet.
    #[serde(skip_serializing_if = "unset")]
    pub azuredevops: Option<Map<String, Value>>,
    /// Which count: one of the entries must match.
    #[serde(skip_serializing_if = "unset")]
    pub filters: Vec<PullRequestFilter>,
    /// How often to look again.
    #[serde(skip_serializing_if = "unset")]
    pub requeue_after_seconds: Option<i64>,
    /// More parameters, as `values.<name>`.
    #[serde(skip_serializing_if = "unset")]
    pub values: BTreeMap<String, String>,
    /// A repository that does not exist has no pull requests.
    #[serde(skip_serializing_if = "unset")]
    pub continue_on_repo_not_found_error: bool,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Pull requests of a repository on GitHub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GithubPullRequests {
    /// Organisation or person.
    pub owner: String,
    /// Name of the repository.
    pub repo: String,
    /// Address of the API; GitHub's own when empty.
    #[serde(skip_serializing_if = "unset")]
    pub api: String,
    /// A token.
    #[serde(skip_serializing_if = "unset")]
    pub token_ref: Option<SecretRef>,
    /// Secret with the credentials of a GitHub App.
    #[serde(skip_serializing_if = "unset")]
    pub app_secret_name: String,
    /// Labels that a pull request must have, all of them.
    #[serde(skip_serializing_if = "unset")]
    pub labels: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Pull requests of a repository on Gitea or Forgejo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GiteaPullRequests {
    /// Organisation or person.
    pub owner: String,
    /// Name of the repository.
    pub repo: String,
    /// Address of the server.
    pub api: String,
    /// A token.
    #[serde(skip_serializing_if = "unset")]
    pub token_ref: Option<SecretRef>,
    /// Do not check the server's certificate.
    #[serde(skip_serializing_if = "unset")]
    pub insecure: bool,
    /// Labels that a pull request must have, all of them.
    #[serde(skip_serializing_if = "unset")]
    pub labels: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One value of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    pub secret_name: String,
    /// Key in it.
    pub key: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A pull request must match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PullRequestFilter {
    /// Regular expression for the branch.
    #[serde(skip_serializing_if = "unset")]
    pub branch_match: Option<String>,
    /// Regular expression for the branch it goes to.
    #[serde(skip_serializing_if = "unset")]
    pub target_branch_match: Option<String>,
    /// Regular expression for the title.
    #[serde(skip_serializing_if = "unset")]
    pub title_match: Option<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Each of one with each of another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct MatrixGenerator {
    /// Exactly two; the second may use the parameters of the first.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(schema_with = "crate::support::free_list_schema")]
    pub generators: Vec<Generator>,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One, completed by others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct MergeGenerator {
    /// The first gives the sets of parameters, the others complete them.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(schema_with = "crate::support::free_list_schema")]
    pub generators: Vec<Generator>,
    /// Parameters by which they are matched.
    #[serde(skip_serializing_if = "unset")]
    pub merge_keys: Vec<String>,
    /// Replaces parts of the set's template.
    #[serde(skip_serializing_if = "unset")]
    pub template: Option<Template>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetStatus {
    /// What somebody should know.
    #[serde(skip_serializing_if = "unset")]
    pub conditions: Vec<ApplicationSetCondition>,
    /// Where each Application is in a rolling sync.
    #[serde(skip_serializing_if = "unset")]
    pub application_status: Vec<ApplicationSetApplicationStatus>,
    /// The Applications.
    #[serde(skip_serializing_if = "unset")]
    pub resources: Vec<ResourceStatus>,
    /// How many there are.
    #[serde(skip_serializing_if = "unset")]
    pub resources_count: i64,
    /// How well the set is.
    #[serde(skip_serializing_if = "unset")]
    pub health: Option<Health>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Something that somebody should know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetCondition {
    /// `ErrorOccurred`, `ParametersGenerated`, `ResourcesUpToDate`, `RolloutProgressing`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "unset")]
    pub last_transition_time: Option<Time>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Where an Application is in a rolling sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetApplicationStatus {
    /// Its name.
    pub application: String,
    /// Since when.
    #[serde(skip_serializing_if = "unset")]
    pub last_transition_time: Option<Time>,
    /// A sentence.
    pub message: String,
    /// `Waiting`, `Pending`, `Progressing` or `Healthy`.
    pub status: String,
    /// Number of its step.
    pub step: String,
    /// The commits it goes to.
    pub target_revisions: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

fn template_spec_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Which of create, update and delete are done to Applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ApplicationsSync {
    /// Only create.
    CreateOnly,
    /// Create and update.
    CreateUpdate,
    /// Create and delete.
    CreateDelete,
    /// All.
    Sync,
}

impl ApplicationsSync {
    /// Whether existing Applications are changed.
    pub fn updates(self) -> bool {
        matches!(self, Self::CreateUpdate | Self::Sync)
    }

    /// Whether Applications that the generators no longer give are deleted.
    pub fn deletes(self) -> bool {
        matches!(self, Self::CreateDelete | Self::Sync)
    }
}

impl ApplicationSetSpec {
    /// Which of create, update and delete are done.
    pub fn applications_sync(&self) -> ApplicationsSync {
        self.sync_policy.as_ref().and_then(|policy| policy.applications_sync).unwrap_or(ApplicationsSync::Sync)
    }

    /// Whether deleting an Application leaves its objects in the cluster.
    pub fn preserves_resources_on_deletion(&self) -> bool {
        self.sync_policy.as_ref().is_some_and(|policy| policy.preserve_resources_on_deletion)
    }
}

impl Generator {
    /// The fields that say which generator it is, those that are set.
    pub fn kinds(&self) -> Vec<&'static str> {
        let set = [
            ("list", self.list.is_some()),
            ("clusters", self.clusters.is_some()),
            ("git", self.git.is_some()),
            ("scmProvider", self.scm_provider.is_some()),
            ("clusterDecisionResource", self.cluster_decision_resource.is_some()),
            ("pullRequest", self.pull_request.is_some()),
            ("matrix", self.matrix.is_some()),
            ("merge", self.merge.is_some()),
            ("plugin", self.plugin.is_some()),
        ];
        set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }
}

impl PullRequestGenerator {
    /// The fields that say which forge it is, those that are set.
    pub fn forges(&self) -> Vec<&'static str> {
        let set = [
            ("github", self.github.is_some()),
            ("gitlab", self.gitlab.is_some()),
            ("gitea", self.gitea.is_some()),
            ("bitbucketServer", self.bitbucket_server.is_some()),
            ("bitbucket", self.bitbucket.is_some()),
            ("azuredevops", self.azuredevops.is_some()),
        ];
        set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }
}
