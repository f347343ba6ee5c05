//! What the API server fills in inside lists that count as one value, where it follows from the rest of the object: it is filled
//! in beforehand, so that such lists compare as a whole.

use std::borrow::Cow;

use resources::Object;
use serde_json::{Map, Value};

/// The manifest with what follows from it. Tolerations of a bare Pod follow from the cluster, so the live ones tell.
pub(super) fn filled<'o>(desired: &'o Object, live: &Object) -> Cow<'o, Object> {
    if !desired.group().is_empty() {
        return Cow::Borrowed(desired);
    }
    match desired.kind() {
        "LimitRange" => with_limits(desired),
        "Pod" => with_tolerations(desired, live),
        _ => Cow::Borrowed(desired),
    }
}

/// A container without a default gets the maximum, and without a default request the default, or else the minimum.
fn with_limits(desired: &Object) -> Cow<'_, Object> {
    let mut object = desired.clone();
    let Some(items) = object.0.pointer_mut("/spec/limits").and_then(Value::as_array_mut) else {
        return Cow::Borrowed(desired);
    };
    for item in items.iter_mut().filter(|item| item["type"] == "Container").filter_map(Value::as_object_mut) {
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(Value::Object(values)) = item.get(from).cloned() else { continue };
            let target = item.entry(to).or_insert(Value::Null);
            if target.is_null() {
                *target = Value::Object(Map::new());
            }
            let Some(target) = target.as_object_mut() else { continue };
            for (name, value) in values {
                target.entry(name).or_insert(value);
            }
        }
    }
    Cow::Owned(object)
}

/// Admission adds to each Pod that it stays for a while on a node that fails.
fn with_tolerations<'o>(desired: &'o Object, live: &Object) -> Cow<'o, Object> {
    let list = |object: &Object| object.at("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let (wanted, found) = (list(desired), list(live));
    let missing = found.get(wanted.len()..).unwrap_or_default();
    if wanted.is_empty() || missing.is_empty() || !missing.iter().all(is_added_by_admission) {
        return Cow::Borrowed(desired);
    }
    let mut object = desired.clone();
    if let Some(tolerations) = object.0.pointer_mut("/spec/tolerations").and_then(Value::as_array_mut) {
        tolerations.extend_from_slice(missing);
    }
    Cow::Owned(object)
}

fn is_added_by_admission(toleration: &Value) -> bool {
    let text = |field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
    let key = text("key").strip_prefix("node.kubernetes.io/").unwrap_or_default();
    match text("effect") {
        "NoExecute" => matches!(key, "not-ready" | "unreachable") && toleration["tolerationSeconds"] == 300,
        "NoSchedule" => key == "memory-pressure",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits() {
        for (item, want) in [
            (
                json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}),
                json!({"default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}}),
            ),
            (
                json!({"type": "Container", "default": {"cpu": "1"}, "max": {"cpu": "2"}, "defaultRequest": {"memory": "1Gi"}}),
                json!({"default": {"cpu": "1"}, "defaultRequest": {"cpu": "1", "memory": "1Gi"}}),
            ),
            (json!({"type": "Pod", "max": {"cpu": "2"}}), json!({})),
        ] {
            let range = Object(json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [item]}}));
            let got = filled(&range, &range);
            let got = |field: &str| got.at(&format!("/spec/limits/0/{field}")).cloned().unwrap_or_default();
            for field in ["default", "defaultRequest"] {
                assert_eq!(got(field), want[field], "{item} {field}");
            }
        }
    }

    #[test]
    fn tolerations() {
        let pod = |list: Value| Object(json!({"apiVersion": "v1", "kind": "Pod", "spec": {"tolerations": list}}));
        let own = json!({"key": "a", "operator": "Exists"});
        let added = |key: &str| {
            json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 300})
        };
        for (desired, live, agree) in [
            (json!([own]), json!([own, added("not-ready"), added("unreachable")]), true),
            (json!([own]), json!([own, {"key": "b", "operator": "Exists"}, added("not-ready")]), false),
            (json!([own, added("not-ready")]), json!([own]), false),
        ] {
            let (desired, live) = (pod(desired), pod(live));
            assert_eq!(*filled(&desired, &live) == live, agree, "{desired:?}");
        }
    }
}
