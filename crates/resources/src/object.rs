//! Any Kubernetes object, as JSON, with the few fields that every part of Lockstep asks for.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What identifies an object in one cluster. The version is left out on purpose: `apps/v1` and `apps/v1beta1` name the same
/// Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as in the manifest.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// A key from its four parts.
    pub fn new(
        group: impl Into<String>,
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    /// `apps/Deployment dev/gateway`, `Namespace dev`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A Kubernetes object. Never interpreted beyond `apiVersion`, `kind` and `metadata` unless a rule for its kind says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Value);

impl Object {
    /// `apiVersion`, or the empty string.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The version without its group.
    pub fn version(&self) -> &str {
        self.api_version().rsplit_once('/').map_or(self.api_version(), |(_, version)| version)
    }

    /// `kind`, or the empty string.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `metadata.name`, or the empty string.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`, or the empty string.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`, or the empty string.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`, or the empty string.
    pub fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// What identifies the object in its cluster.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.group(), self.kind(), self.namespace(), self.name())
    }

    /// One annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// One label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    /// Whether the API server has been asked to delete the object.
    pub fn is_being_deleted(&self) -> bool {
        self.0.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
    }

    /// The value at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// When the API server stored it first.
    pub fn created_at(&self) -> Option<jiff::Timestamp> {
        self.at("/metadata/creationTimestamp")?.as_str()?.parse().ok()
    }

    /// Group and kind that a CustomResourceDefinition brings.
    pub fn defines(&self) -> Option<(&str, &str)> {
        if self.kind() != "CustomResourceDefinition" || self.group() != "apiextensions.k8s.io" {
            return None;
        }
        let text = |pointer: &str| self.at(pointer).and_then(Value::as_str);
        Some((text("/spec/group")?, text("/spec/names/kind")?))
    }

    /// Sets an annotation, creating `metadata.annotations` where it is missing.
    pub fn set_annotation(&mut self, name: &str, value: &str) {
        self.set_in_metadata("annotations", name, value);
    }

    /// Sets a label, creating `metadata.labels` where it is missing.
    pub fn set_label(&mut self, name: &str, value: &str) {
        self.set_in_metadata("labels", name, value);
    }

    /// Sets `metadata.namespace`.
    pub fn set_namespace(&mut self, namespace: &str) {
        if let Some(metadata) = self.metadata_mut() {
            metadata.insert("namespace".into(), namespace.into());
        }
    }

    fn set_in_metadata(&mut self, field: &str, name: &str, value: &str) {
        let Some(metadata) = self.metadata_mut() else { return };
        let map = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if !map.is_object() {
            *map = Value::Object(Map::new());
        }
        if let Some(map) = map.as_object_mut() {
            map.insert(name.into(), value.into());
        }
    }

    fn metadata_mut(&mut self) -> Option<&mut Map<String, Value>> {
        let object = self.0.as_object_mut()?;
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut()
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }
}
