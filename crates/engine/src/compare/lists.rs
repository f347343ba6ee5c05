//! How a list is to be read: as a map by key, as a set, or as one value.

use serde_json::Value;

use super::fields::Set;

/// What a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// Items are told apart by these fields, in alphabetical order.
    Keyed(Vec<String>),
    /// Scalars without an order.
    Set,
    /// One value: order and length count.
    Atomic,
}

/// What the API server knows about a list is told by the owned fields; what it does not tell, by the built-in types.
pub(super) fn list_kind(
    sets: &[Set<'_>],
    parent: Option<&str>,
    field: Option<&str>,
    builtin: bool,
    items: &[Value],
) -> ListKind {
    if let Some(kind) = from_fields(sets) {
        return kind;
    }
    let (Some(field), true) = (field, builtin) else { return ListKind::Atomic };
    if field == "finalizers" {
        return ListKind::Set;
    }
    let keys = known_keys(parent, field);
    let has_first = |item: &Value| keys.first().is_some_and(|key| item.get(key).is_some());
    if keys.is_empty() || items.is_empty() || !items.iter().all(has_first) {
        return ListKind::Atomic;
    }
    ListKind::Keyed(keys.iter().map(|key| (*key).to_owned()).collect())
}

fn from_fields(sets: &[Set<'_>]) -> Option<ListKind> {
    let mut leaf = false;
    for set in sets.iter().filter(|set| !set.above) {
        leaf |= set.fields.is_empty();
        for name in set.fields.keys() {
            if let Some(key) = name.strip_prefix("k:") {
                let Ok(Value::Object(map)) = serde_json::from_str(key) else { continue };
                let mut keys: Vec<String> = map.into_iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                return Some(ListKind::Keyed(keys));
            }
            if name.starts_with("v:") {
                return Some(ListKind::Set);
            }
        }
    }
    leaf.then_some(ListKind::Atomic)
}

/// Merge keys of the built-in types, in alphabetical order; the first one is what every item has.
fn known_keys(parent: Option<&str>, field: &str) -> &'static [&'static str] {
    match (parent, field) {
        (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets") => {
            &["name"]
        }
        (_, "volumeMounts") => &["mountPath"],
        (_, "volumeDevices") => &["devicePath"],
        (_, "hostAliases") => &["ip"],
        (_, "topologySpreadConstraints") => &["topologyKey", "whenUnsatisfiable"],
        (_, "resourceClaims" | "schedulingGates" | "webhooks" | "matchConditions" | "auditAnnotations") => &["name"],
        (Some("containers" | "initContainers"), "ports") => &["containerPort", "protocol"],
        (Some("spec"), "ports") => &["port", "protocol"],
        (_, "conditions") => &["type"],
        (_, "ownerReferences") => &["uid"],
        (None, "secrets") => &["name"],
        _ => &[],
    }
}

/// Maps of the built-in types that count as one value: whoever changes a part of one owns all of it.
pub(super) fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "podSelector"
            | "namespaceSelector"
            | "objectSelector"
            | "labelSelector"
            | "nodeSelector"
            | "fieldRef"
            | "resourceFieldRef"
            | "configMapKeyRef"
            | "secretKeyRef"
            | "matchConstraints"
            | "matchResources"
            | "paramRef"
    )
}

/// What a key field means where the manifest leaves it out.
pub(super) fn key_default(key: &str) -> Option<&'static str> {
    (key == "protocol").then_some("TCP")
}

/// Whether a list's order has a meaning although its items have keys.
pub(super) fn is_ordered(field: Option<&str>) -> bool {
    field == Some("initContainers")
}
