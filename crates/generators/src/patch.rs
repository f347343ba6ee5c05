//! `templatePatch`: a patch that is merged into each Application.

use serde_json::{Map, Value};

/// Merges a patch into an object, in the way of Kubernetes' strategic merge for Applications: maps are merged, lists are
/// replaced (but finalizers are added to), `null` deletes, `$patch: delete` deletes and `$patch: replace` replaces a map.
pub(crate) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(patch) => match patch.get("$patch").and_then(Value::as_str) {
                Some("delete") => {
                    target.remove(name);
                }
                Some("replace") => {
                    target.insert(name.clone(), Value::Object(cleaned(patch)));
                }
                _ => match target.get_mut(name) {
                    Some(Value::Object(target)) => merge(target, patch),
                    _ => {
                        target.insert(name.clone(), Value::Object(cleaned(patch)));
                    }
                },
            },
            Value::Array(added) if name == "finalizers" => {
                let kept = target.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(kept) = kept {
                    added.iter().for_each(|it| {
                        if !kept.contains(it) {
                            kept.push(it.clone());
                        }
                    });
                }
            }
            value => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A patch that meets nothing to merge with: without its directives and deletions.
fn cleaned(patch: &Map<String, Value>) -> Map<String, Value> {
    let mut clean = Map::new();
    merge(&mut clean, patch);
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_as_kubernetes_does() {
        for (target, patch, expected) in [
            (json!({ "a": 1 }), json!({ "b": 2 }), json!({ "a": 1, "b": 2 })),
            (json!({ "a": { "b": 1, "c": 2 } }), json!({ "a": { "c": 3 } }), json!({ "a": { "b": 1, "c": 3 } })),
            (json!({ "a": [1, 2] }), json!({ "a": [3] }), json!({ "a": [3] })),
            (json!({ "a": { "b": 1 } }), json!({ "a": { "b": null } }), json!({ "a": {} })),
            (json!({ "a": { "b": 1 } }), json!({ "a": { "$patch": "replace", "c": 2 } }), json!({ "a": { "c": 2 } })),
            (json!({ "a": { "b": 1 } }), json!({ "a": { "$patch": "delete" } }), json!({})),
            (json!({}), json!({ "a": { "b": null, "c": 1 } }), json!({ "a": { "c": 1 } })),
            (json!({ "finalizers": ["x"] }), json!({ "finalizers": ["x", "y"] }), json!({ "finalizers": ["x", "y"] })),
        ] {
            let mut merged = target.as_object().unwrap().clone();
            merge(&mut merged, patch.as_object().unwrap());
            assert_eq!(Value::Object(merged), expected, "{target} {patch}");
        }
    }
}
