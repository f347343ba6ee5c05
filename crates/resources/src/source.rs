//! Where an Application's manifests come from: a repository and what to do with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::support::{Extra, IntOrString, unset};

/// One source: a path in a Git repository, a chart in a Helm repository, or only a name for other sources to refer to.
// An Application with its status holds its source a dozen times, mostly without options: boxed, they take no room where
// they are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSource {
    /// Address of the repository: Git (any form that `git` takes), Helm (`https://…`) or OCI (`oci://…`).
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Folder in the repository; empty for the root or for a chart.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// Branch, tag, commit or semver range; empty means the default branch. Use [`revision`](Self::revision).
    #[serde(skip_serializing_if = "unset")]
    pub target_revision: String,
    /// How to render a chart.
    #[serde(skip_serializing_if = "unset")]
    pub helm: Option<Box<Helm>>,
    /// How to render a kustomization.
    #[serde(skip_serializing_if = "unset")]
    pub kustomize: Option<Box<Kustomize>>,
    /// How to read a folder of plain manifests.
    #[serde(skip_serializing_if = "unset")]
    pub directory: Option<Box<Directory>>,
    /// A config management plugin; Lockstep runs none and says so.
    #[serde(skip_serializing_if = "unset")]
    pub plugin: Option<Box<Plugin>>,
    /// Name of the chart when the repository is a Helm or OCI repository.
    #[serde(skip_serializing_if = "unset")]
    pub chart: String,
    /// Name by which value files of the other sources refer to this one (`$name/path`).
    #[serde(skip_serializing_if = "unset")]
    pub r#ref: String,
    /// Name of the source, for people and for commands that address one of several.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Prefix of the tags that a semver range looks at, for repositories with several series of tags.
    #[serde(skip_serializing_if = "unset")]
    pub tag_prefix: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Options of `helm template`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Helm {
    /// Value files, relative to the source's path, from another source (`$ref/…`), or by URL; globs allowed; later wins.
    #[serde(skip_serializing_if = "unset")]
    pub value_files: Vec<String>,
    /// `--set`; wins over everything else.
    #[serde(skip_serializing_if = "unset")]
    pub parameters: Vec<HelmParameter>,
    /// Release name; the Application's name when empty.
    #[serde(skip_serializing_if = "unset")]
    pub release_name: String,
    /// Values as a YAML text; wins over `valueFiles`.
    #[serde(skip_serializing_if = "unset")]
    pub values: String,
    /// `--set-file`.
    #[serde(skip_serializing_if = "unset")]
    pub file_parameters: Vec<HelmFileParameter>,
    /// Helm's major version as people wrote it (`v3`); only kept.
    #[serde(skip_serializing_if = "unset")]
    pub version: String,
    /// Send the repository's credentials to other hosts as well.
    #[serde(skip_serializing_if = "unset")]
    pub pass_credentials: bool,
    /// A value file that does not exist is not an error.
    #[serde(skip_serializing_if = "unset")]
    pub ignore_missing_value_files: bool,
    /// Leave the chart's `crds/` folder out.
    #[serde(skip_serializing_if = "unset")]
    pub skip_crds: bool,
    /// Values as an object; wins over `values`.
    #[serde(skip_serializing_if = "unset")]
    pub values_object: Option<Map<String, Value>>,
    /// `.Release.Namespace`; the destination's namespace when empty.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Kubernetes version given to the chart; the cluster's when empty.
    #[serde(skip_serializing_if = "unset")]
    pub kube_version: String,
    /// API versions given to the chart; the cluster's when empty.
    #[serde(skip_serializing_if = "unset")]
    pub api_versions: Vec<String>,
    /// Leave test hooks out.
    #[serde(skip_serializing_if = "unset")]
    pub skip_tests: bool,
    /// Do not check the values against the chart's schema.
    #[serde(skip_serializing_if = "unset")]
    pub skip_schema_validation: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One value set on the command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HelmParameter {
    /// Path of the value, in Helm's notation.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// The value.
    #[serde(skip_serializing_if = "unset")]
    pub value: String,
    /// Keep the value a string (`--set-string`).
    #[serde(skip_serializing_if = "unset")]
    pub force_string: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One value read from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HelmFileParameter {
    /// Path of the value, in Helm's notation.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// File, relative to the source's path.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What to change in a kustomization before it is built.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Kustomize {
    /// Put before every name.
    #[serde(skip_serializing_if = "unset")]
    pub name_prefix: String,
    /// Put after every name.
    #[serde(skip_serializing_if = "unset")]
    pub name_suffix: String,
    /// Image overrides: `[old=]image[:tag][@digest]`.
    #[serde(skip_serializing_if = "unset")]
    pub images: Vec<String>,
    /// Labels for every object.
    #[serde(skip_serializing_if = "unset")]
    pub common_labels: BTreeMap<String, String>,
    /// Version of kustomize that was asked for; only kept.
    #[serde(skip_serializing_if = "unset")]
    pub version: String,
    /// Annotations for every object.
    #[serde(skip_serializing_if = "unset")]
    pub common_annotations: BTreeMap<String, String>,
    /// Overwrite labels that the kustomization sets.
    #[serde(skip_serializing_if = "unset")]
    pub force_common_labels: bool,
    /// Overwrite annotations that the kustomization sets.
    #[serde(skip_serializing_if = "unset")]
    pub force_common_annotations: bool,
    /// Namespace for every object.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Replace `$ARGOCD_APP_NAME` and its kin in annotation values.
    #[serde(skip_serializing_if = "unset")]
    pub common_annotations_envsubst: bool,
    /// Replica overrides.
    #[serde(skip_serializing_if = "unset")]
    pub replicas: Vec<KustomizeReplica>,
    /// Patches.
    #[serde(skip_serializing_if = "unset")]
    pub patches: Vec<KustomizePatch>,
    /// Components to add.
    #[serde(skip_serializing_if = "unset")]
    pub components: Vec<String>,
    /// A component that does not exist is not an error.
    #[serde(skip_serializing_if = "unset")]
    pub ignore_missing_components: bool,
    /// Do not add `commonLabels` to selectors.
    #[serde(skip_serializing_if = "unset")]
    pub label_without_selector: bool,
    /// Add `commonLabels` to pod templates, with `labelWithoutSelector`.
    #[serde(skip_serializing_if = "unset")]
    pub label_include_templates: bool,
    /// Kubernetes version given to charts that the kustomization inflates.
    #[serde(skip_serializing_if = "unset")]
    pub kube_version: String,
    /// API versions given to charts that the kustomization inflates.
    #[serde(skip_serializing_if = "unset")]
    pub api_versions: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Replicas of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizeReplica {
    /// Name of the workload.
    pub name: String,
    /// How many.
    pub count: IntOrString,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One patch: inline or a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizePatch {
    /// File with the patch.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// The patch itself.
    #[serde(skip_serializing_if = "unset")]
    pub patch: String,
    /// What it applies to.
    #[serde(skip_serializing_if = "unset")]
    pub target: Option<KustomizeTarget>,
    /// `allowNameChange`, `allowKindChange`.
    #[serde(skip_serializing_if = "unset")]
    pub options: BTreeMap<String, bool>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which objects a patch applies to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizeTarget {
    /// API group.
    #[serde(skip_serializing_if = "unset")]
    pub group: String,
    /// API version.
    #[serde(skip_serializing_if = "unset")]
    pub version: String,
    /// Kind.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// Name, as a regular expression.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Namespace, as a regular expression.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Annotation selector.
    #[serde(skip_serializing_if = "unset")]
    pub annotation_selector: String,
    /// Label selector.
    #[serde(skip_serializing_if = "unset")]
    pub label_selector: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A folder of plain manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Directory {
    /// Read folders below as well.
    #[serde(skip_serializing_if = "unset")]
    pub recurse: bool,
    /// How to evaluate Jsonnet files.
    #[serde(skip_serializing_if = "unset")]
    pub jsonnet: Option<Jsonnet>,
    /// Glob of files to leave out; `{a,b}` for several.
    #[serde(skip_serializing_if = "unset")]
    pub exclude: String,
    /// Glob of files to take; `{a,b}` for several.
    #[serde(skip_serializing_if = "unset")]
    pub include: String,
    /// Take files of any name, not only `.yaml`, `.yml`, `.json`.
    #[serde(skip_serializing_if = "unset")]
    pub disable_extension_filter: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How to evaluate Jsonnet files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Jsonnet {
    /// External variables.
    #[serde(skip_serializing_if = "unset")]
    pub ext_vars: Vec<JsonnetVar>,
    /// Top-level arguments.
    #[serde(skip_serializing_if = "unset")]
    pub tlas: Vec<JsonnetVar>,
    /// Library folders.
    #[serde(skip_serializing_if = "unset")]
    pub libs: Vec<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One variable for Jsonnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JsonnetVar {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// The value is an expression.
    #[serde(skip_serializing_if = "unset")]
    pub code: bool,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A config management plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Plugin {
    /// Name of the plugin.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Environment.
    #[serde(skip_serializing_if = "unset")]
    pub env: Vec<NameValue>,
    /// Parameters.
    #[serde(skip_serializing_if = "unset")]
    pub parameters: Vec<PluginParameter>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One parameter of a plugin: a string, a list or a map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PluginParameter {
    /// Name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Value as a string.
    #[serde(skip_serializing_if = "unset")]
    pub string: Option<String>,
    /// Value as a list.
    #[serde(skip_serializing_if = "unset")]
    pub array: Option<Vec<String>>,
    /// Value as a map.
    #[serde(skip_serializing_if = "unset")]
    pub map: Option<BTreeMap<String, String>>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A name with a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NameValue {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ApplicationSource {
    /// The revision that is asked for; `HEAD` when none is.
    pub fn revision(&self) -> &str {
        if self.target_revision.is_empty() { "HEAD" } else { &self.target_revision }
    }

    /// Whether the source is a chart of a Helm or OCI repository.
    pub fn is_chart(&self) -> bool {
        !self.chart.is_empty()
    }

    /// Whether the source only lends its files to others: it has a `ref` and nothing to render.
    pub fn is_ref_only(&self) -> bool {
        !self.r#ref.is_empty() && self.chart.is_empty() && self.path.is_empty()
    }
}
