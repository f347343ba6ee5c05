//! What is known about an object before its fields are looked at: which of them are never compared, and of which type some are.

use resources::Object;
use serde_json::Value;

use super::normal::{duration, quantity};
use super::path::Path;
use super::{IgnoreStatus, Settings};
use crate::glob::Pattern;

/// `resource.customizations.knownTypeFields`, one line of it.
#[derive(Clone, Debug)]
pub(super) struct KnownField {
    group: Pattern,
    kind: Pattern,
    path: Vec<String>,
    r#type: KnownType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownType {
    Quantity,
    Duration,
    /// A map of quantities.
    Quantities,
    /// A type of Kubernetes itself: what it leaves out when it is zero is known.
    Kubernetes,
}

impl KnownField {
    /// `field` is a path with dots, `r#type` as Argo CD names it: `core/Quantity`, `meta/v1/Duration`, `core/v1/PodSpec`.
    pub(super) fn new(group: &str, kind: &str, field: &str, r#type: &str) -> Result<Self, String> {
        let name = r#type.rsplit('/').next().unwrap_or_default();
        let known = match name {
            _ if !r#type.contains('/') || !name.starts_with(|c: char| c.is_ascii_uppercase()) => None,
            "Quantity" => Some(KnownType::Quantity),
            "Duration" => Some(KnownType::Duration),
            "ResourceList" => Some(KnownType::Quantities),
            _ => Some(KnownType::Kubernetes),
        };
        let (Some(known), false) = (known, field.is_empty()) else {
            return Err(format!(
                "knownTypeFields of {group}/{kind}: the field {field:?} of type {type:?} is not understood; name a field and a type, \
                 such as spec.template.spec and core/v1/PodSpec"
            ));
        };
        Ok(Self {
            group: Pattern::new(group),
            kind: Pattern::new(kind),
            path: field.split('.').map(str::to_owned).collect(),
            r#type: known,
        })
    }

    fn covers(&self, fields: &[&str]) -> bool {
        let below = |deeper: usize| fields.len() == self.path.len() + deeper;
        let fits = match self.r#type {
            KnownType::Quantity | KnownType::Duration => below(0),
            KnownType::Quantities => below(1),
            KnownType::Kubernetes => fields.len() >= self.path.len(),
        };
        fits && self.path.iter().zip(fields).all(|(own, field)| own == field)
    }
}

/// What an object is.
pub(super) struct Nature<'a> {
    pub(super) secret: bool,
    application: bool,
    /// A kind of Kubernetes itself, whose lists and defaults are known.
    pub(super) builtin: bool,
    /// A ClusterRole whose rules a controller fills in.
    aggregated: bool,
    /// A status in the manifest is not compared.
    status_skipped: bool,
    known: Vec<&'a KnownField>,
}

impl<'a> Nature<'a> {
    pub(super) fn of(object: &Object, settings: &'a Settings) -> Self {
        let (group, kind) = (object.group(), object.kind());
        Self {
            secret: group.is_empty() && kind == "Secret",
            application: group == "argoproj.io" && kind == "Application",
            builtin: crate::kinds::is_builtin_group(group),
            aggregated: settings.ignore_aggregated_roles
                && kind == "ClusterRole"
                && object.at("/aggregationRule").is_some_and(|rule| !rule.is_null()),
            status_skipped: match settings.ignore_status {
                IgnoreStatus::All => true,
                IgnoreStatus::Crd => kind == "CustomResourceDefinition" && group == "apiextensions.k8s.io",
                IgnoreStatus::None => false,
            },
            known: settings
                .known
                .iter()
                .filter(|known| known.kind.matches(kind) && known.group.matches(group))
                .collect(),
        }
    }

    /// The same for an answer of the API server, which never says anything of the status.
    pub(super) fn without_status(self) -> Self {
        Self { status_skipped: true, ..self }
    }

    /// Whether a field is never compared.
    pub(super) fn is_skipped(&self, path: &Path<'_>, name: &str) -> bool {
        match path.depth() {
            0 => match name {
                "apiVersion" | "kind" => true,
                "status" => self.status_skipped,
                "operation" => self.application,
                "data" | "stringData" => self.secret,
                "rules" => self.aggregated,
                _ => false,
            },
            1 => {
                path.field() == Some("metadata")
                    && matches!(
                        name,
                        "name"
                            | "generateName"
                            | "namespace"
                            | "uid"
                            | "resourceVersion"
                            | "generation"
                            | "creationTimestamp"
                            | "deletionTimestamp"
                            | "deletionGracePeriodSeconds"
                            | "managedFields"
                            | "selfLink"
                    )
            }
            2 => {
                path.field() == Some("annotations")
                    && path.top() == Some("metadata")
                    && matches!(
                        name,
                        "kubectl.kubernetes.io/last-applied-configuration" | "deployment.kubernetes.io/revision"
                    )
            }
            _ => false,
        }
    }

    /// Whether the type at a place is one of Kubernetes itself.
    pub(super) fn is_known_type(&self, path: &Path<'_>) -> bool {
        self.builtin || self.has_type(path, |known| known == KnownType::Kubernetes)
    }

    /// Whether two values mean the same by the type that a setting gives to their place.
    pub(super) fn same_by_type(&self, path: &Path<'_>, desired: &Value, live: &Value) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let by = |read: fn(&str) -> Option<i128>| {
            let number = |value: &Value| match value {
                Value::String(text) => read(text),
                Value::Number(number) => read(&number.to_string()),
                _ => None,
            };
            number(desired).is_some_and(|desired| number(live) == Some(desired))
        };
        (self.has_type(path, |known| matches!(known, KnownType::Quantity | KnownType::Quantities)) && by(quantity))
            || (self.has_type(path, |known| known == KnownType::Duration) && by(duration))
    }

    fn has_type(&self, path: &Path<'_>, wanted: impl Fn(KnownType) -> bool) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let fields = path.fields();
        self.known.iter().any(|known| wanted(known.r#type) && known.covers(&fields))
    }
}

/// Annotations with which Lockstep and Argo CD talk to themselves on live objects.
pub(super) fn is_own_note(path: &Path<'_>, name: &str) -> bool {
    path.depth() == 2
        && path.field() == Some("annotations")
        && path.top() == Some("metadata")
        && (name.starts_with("lockstep.dev/")
            || matches!(
                name,
                "argocd.argoproj.io/refresh" | "argocd.argoproj.io/hydrate" | "argocd.argoproj.io/deletion-approved"
            ))
}
