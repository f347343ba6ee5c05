//! Null in a manifest means that the field is not there. Templates leave it behind (`replicas:` with nothing after it), and an API
//! server takes it for a value: it refuses it where a custom resource has no use for one, makes a zero of it, or an owner of
//! whoever sent it. So it is taken out once, after the render, and neither comparison nor apply ever sees it.
//!
//! It stays where it is a value:
//! - in a custom resource, where the schema says `nullable`, and in what the schema leaves to anybody
//!   (`x-kubernetes-preserve-unknown-fields`): there it is what the author wants to be stored, as the null that takes a default
//!   away in the values of a chart;
//! - in a list, where it is an item;
//! - in what a built-in kind keeps as it is: the defaults and examples of a schema, parameters of a driver.
//!
//! An entry of labels or of a selector becomes the empty text, which is what the API server makes of it: one entry less would select
//! other objects, and many a selector cannot be changed any more.

use resources::Object;
use serde_json::{Map, Value};

use crate::kinds::is_builtin_group;

/// Whether there is any null in a map of the object.
pub fn has_nulls(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(|value| value.is_null() || has_nulls(value)),
        Value::Array(items) => items.iter().any(has_nulls),
        _ => false,
    }
}

/// Whether a schema decides what the nulls of this object mean.
pub fn needs_schema(object: &Object) -> bool {
    let own = |(name, value): (&String, &Value)| name != "metadata" && (value.is_null() || has_nulls(value));
    !is_builtin_group(object.group()) && object.0.as_object().is_some_and(|map| map.iter().any(own))
}

/// The schema of a kind, from the definition that brings it.
pub fn schema_of<'d>(definition: &'d Object, version: &str) -> Option<&'d Value> {
    let versions = definition.at("/spec/versions")?.as_array()?;
    let served = versions.iter().find(|served| served.get("name").and_then(Value::as_str) == Some(version))?;
    served.pointer("/schema/openAPIV3Schema")
}

/// Takes the nulls out that mean nothing. Of a custom resource without a schema only the metadata is known.
pub fn drop_nulls(object: &mut Object, schema: Option<&Value>) {
    let builtin = is_builtin_group(object.group());
    let kind = object.kind().to_owned();
    let Some(fields) = object.0.as_object_mut() else { return };
    if let Some(metadata) = fields.get_mut("metadata") {
        prune(metadata, Around { field: "metadata", parent: "" }, &[]);
    }
    if builtin {
        let kept = kept_of(&kind);
        fields.retain(|name, value| name == "metadata" || !value.is_null());
        let plain = matches!(kind.as_str(), "Service" | "ReplicationController");
        for (name, value) in fields.iter_mut().filter(|(name, _)| *name != "metadata" && !kept.contains(&name.as_str()))
        {
            if name == "spec" && plain {
                texts(value.get_mut("selector"));
            }
            prune(value, Around { field: name, parent: "" }, kept);
        }
        return;
    }
    let Some(schema) = schema else { return };
    fields.retain(|name, value| matches!(name.as_str(), "metadata") || !value.is_null() || stays(schema, name));
    for (name, value) in fields.iter_mut().filter(|(name, _)| *name != "metadata") {
        if let Place::Declared(schema) = place(schema, name) {
            by_schema(value, schema);
        }
    }
}

/// Below these fields of a built-in kind everything is kept as it is.
fn kept_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "CustomResourceDefinition" => &["default", "example", "enum"],
        "ControllerRevision" => &["data"],
        "ResourceClaim" | "ResourceClaimTemplate" | "DeviceClass" | "ResourceSlice" => &["parameters"],
        _ => &[],
    }
}

/// The names of a field and of the one around it.
#[derive(Clone, Copy)]
struct Around<'n> {
    field: &'n str,
    parent: &'n str,
}

impl Around<'_> {
    /// Whether the entries of this map are texts that tell objects apart.
    fn selects(&self) -> bool {
        match self.field {
            "labels" => self.parent == "metadata",
            "matchLabels" | "nodeSelector" => true,
            _ => false,
        }
    }
}

fn prune(value: &mut Value, around: Around<'_>, kept: &[&str]) {
    match value {
        Value::Object(map) => {
            if around.selects() {
                empty(map);
            }
            map.retain(|_, value| !value.is_null());
            for (name, value) in map.iter_mut().filter(|(name, _)| !kept.contains(&name.as_str())) {
                prune(value, Around { field: name, parent: around.field }, kept);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, around, kept)),
        _ => {}
    }
}

fn texts(map: Option<&mut Value>) {
    if let Some(Value::Object(map)) = map {
        empty(map);
    }
}

fn empty(map: &mut Map<String, Value>) {
    for value in map.values_mut().filter(|value| value.is_null()) {
        *value = "".into();
    }
}

/// What a schema says of a field.
enum Place<'s> {
    Declared(&'s Value),
    /// Anything may be there, and it is stored as it is.
    Free,
    /// The API server has a word to say about it.
    Unknown,
}

fn place<'s>(schema: &'s Value, name: &str) -> Place<'s> {
    if let Some(declared) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return Place::Declared(declared);
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => Place::Declared(values),
        Some(Value::Bool(true)) => Place::Free,
        _ if is_true(schema, "x-kubernetes-preserve-unknown-fields") => Place::Free,
        _ => Place::Unknown,
    }
}

/// Whether a null in this field of a map is a value.
fn stays(schema: &Value, name: &str) -> bool {
    match place(schema, name) {
        Place::Declared(declared) => is_true(declared, "nullable"),
        Place::Free => true,
        // Written by encoders of Go for objects that were never stored; no schema declares it.
        Place::Unknown => name != "creationTimestamp",
    }
}

fn by_schema(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| !value.is_null() || stays(schema, name));
            for (name, value) in map {
                if let Place::Declared(schema) = place(schema, name) {
                    by_schema(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| by_schema(item, schema));
            }
        }
        _ => {}
    }
}

fn is_true(schema: &Value, field: &str) -> bool {
    schema.get(field).and_then(Value::as_bool) == Some(true)
}

/// How a live object is brought to take a change that the API server refuses because of fields which Git does not have and which it
/// filled in itself: `rollingUpdate` of a strategy that is to be `Recreate`. A merge patch of the maps around these fields, without
/// them. `None`: the refusal has another reason.
pub fn without_leftovers(desired: &Object, live: &Object, refused: &[String]) -> Option<Value> {
    let mut patch = Value::Object(Map::new());
    let mut any = false;
    for field in refused {
        let names: Vec<&str> = field.split('.').collect();
        let [around @ .., last] = names.as_slice() else { continue };
        if around.is_empty() || matches!(around[0], "metadata" | "status") || field.contains('[') {
            continue;
        }
        let pointer = format!("/{}", around.join("/"));
        let has =
            |object: &Object| object.at(&pointer).and_then(|map| map.get(*last)).is_some_and(|value| !value.is_null());
        if has(desired) || !has(live) {
            continue;
        }
        let mut at = &mut patch;
        for name in around {
            if !at[*name].is_object() {
                at[*name] = Value::Object(Map::new());
            }
            at = &mut at[*name];
        }
        let (Some(map), wanted) = (at.as_object_mut(), desired.at(&pointer).and_then(Value::as_object)) else {
            continue;
        };
        for (name, value) in wanted.into_iter().flatten() {
            map.insert(name.clone(), value.clone());
        }
        map.insert((*last).to_owned(), Value::Null);
        any = true;
    }
    any.then_some(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dropped(mut object: Value, schema: Option<&Value>) -> Value {
        let whole = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        for (name, value) in whole.as_object().unwrap() {
            if object.get(name).is_none() {
                object[name] = value.clone();
            }
        }
        let mut object = Object(object);
        drop_nulls(&mut object, schema);
        object.0
    }

    #[test]
    fn null_is_no_field_of_a_built_in_kind() {
        for (kind, field, given, want) in [
            ("apps/v1/Deployment", "spec", json!({"replicas": null}), json!({})),
            ("apps/v1/Deployment", "spec", json!(null), json!("gone")),
            (
                "v1/Service",
                "spec",
                json!({"ports": [{"port": 80, "protocol": null}]}),
                json!({"ports": [{"port": 80}]}),
            ),
            ("v1/Service", "spec", json!({"selector": {"app": null}}), json!({"selector": {"app": ""}})),
            ("v1/Service", "spec", json!({"selector": null}), json!({})),
            ("v1/ConfigMap", "data", json!({"FEATURE": null, "a": ""}), json!({"a": ""})),
            ("v1/ConfigMap", "data", json!(null), json!("gone")),
            (
                "v1/ConfigMap",
                "metadata",
                json!({"name": "a", "annotations": null, "creationTimestamp": null}),
                json!({"name": "a"}),
            ),
            (
                "v1/ConfigMap",
                "metadata",
                json!({"name": "a", "labels": {"a": null}, "annotations": {"a": null}}),
                json!({"name": "a", "labels": {"a": ""}, "annotations": {}}),
            ),
            ("v1/Secret", "stringData", json!({"a": null, "b": "c"}), json!({"b": "c"})),
            (
                "apps/v1/Deployment",
                "spec",
                json!({"strategy": {"type": "Recreate", "rollingUpdate": null}, "selector": {"matchLabels": null, "matchExpressions": null}}),
                json!({"strategy": {"type": "Recreate"}, "selector": {}}),
            ),
            (
                "apps/v1/Deployment",
                "spec",
                json!({"selector": {"matchLabels": {"a": null}}, "template": {"metadata": {"creationTimestamp": null, "labels": {"a": null}}}}),
                json!({"selector": {"matchLabels": {"a": ""}}, "template": {"metadata": {"labels": {"a": ""}}}}),
            ),
            (
                "v1/Pod",
                "spec",
                json!({"nodeSelector": {"disk": null}, "volumes": [{"name": "a", "emptyDir": null}],
                    "containers": [{"name": "a", "args": [null, "b"], "env": null, "resources": {"limits": {"cpu": null}}}]}),
                json!({"nodeSelector": {"disk": ""}, "volumes": [{"name": "a"}],
                    "containers": [{"name": "a", "args": [null, "b"], "resources": {"limits": {}}}]}),
            ),
            (
                "networking.k8s.io/v1/NetworkPolicy",
                "spec",
                json!({"ingress": [null], "podSelector": null}),
                json!({"ingress": [null]}),
            ),
            (
                "apiextensions.k8s.io/v1/CustomResourceDefinition",
                "spec",
                json!({"versions": [{"schema": {"properties": {"a": {"default": {"b": null}, "enum": [null], "nullable": null},
                    "labels": {"type": null}}}}]}),
                json!({"versions": [{"schema": {"properties": {"a": {"default": {"b": null}, "enum": [null]}, "labels": {}}}}]}),
            ),
            ("apps/v1/ControllerRevision", "data", json!({"a": null}), json!({"a": null})),
        ] {
            let (api, kind) = kind.rsplit_once('/').unwrap();
            let mut object = json!({"apiVersion": api, "kind": kind});
            object[field] = given.clone();
            let found = dropped(object, None).get(field).cloned().unwrap_or(json!("gone"));
            assert_eq!(found, want, "{kind} {given}");
        }
    }

    /// What an API server does with each of these was tried on a real one.
    #[test]
    fn a_schema_says_where_null_is_a_value() {
        let text = || json!({"type": "string"});
        let nullable = || json!({"type": "string", "nullable": true, "default": "d"});
        let free = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let mut mixed = free();
        mixed["properties"] = json!({"k": text()});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "plain": text(), "nul": nullable(), "free": free(), "mixed": mixed,
            "obj": {"type": "object", "properties": {"k": text(), "n": nullable()}},
            "map": {"type": "object", "additionalProperties": text()},
            "nmap": {"type": "object", "additionalProperties": nullable()},
            "list": {"type": "array", "items": {"type": "object", "properties": {"k": text(), "n": nullable()}}},
        }}}});
        for (spec, want) in [
            (json!({"plain": null}), json!({})),
            (json!({"nul": null}), json!({"nul": null})),
            (json!({"free": null}), json!({})),
            (json!({"free": {"a": null, "b": {"c": null}}}), json!({"free": {"a": null, "b": {"c": null}}})),
            (json!({"mixed": {"k": null, "j": null}}), json!({"mixed": {"j": null}})),
            (json!({"obj": {"k": null, "n": null}}), json!({"obj": {"n": null}})),
            (json!({"map": {"a": null}, "nmap": {"a": null}}), json!({"map": {}, "nmap": {"a": null}})),
            (json!({"list": [{"k": null, "n": null}, null]}), json!({"list": [{"n": null}, null]})),
            (json!({"typo": null, "creationTimestamp": null}), json!({"typo": null})),
            (json!(null), json!("gone")),
        ] {
            let custom = json!({"apiVersion": "example.com/v1", "kind": "Thing", "spec": spec,
                "metadata": {"name": "a", "annotations": null, "labels": {"a": null}}});
            assert!(needs_schema(&Object(custom.clone())), "{custom}");
            let known = dropped(custom.clone(), Some(&schema));
            assert_eq!(known.get("spec").cloned().unwrap_or(json!("gone")), want, "{spec}");
            assert_eq!(known["metadata"], json!({"name": "a", "labels": {"a": ""}}));
            // Nobody knows: the API server is asked.
            let unknown = dropped(custom, None);
            assert_eq!((&unknown["spec"], &unknown["metadata"]), (&spec, &known["metadata"]));
        }
        let only_metadata =
            json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a", "annotations": null}});
        assert!(has_nulls(&only_metadata) && !needs_schema(&Object(only_metadata)));
        assert!(!has_nulls(&json!({"args": [null, {"a": 1}]})));
    }

    #[test]
    fn a_definition_brings_its_schema() {
        let definition = Object(json!({"spec": {"versions": [
            {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}, {"name": "v2"}]}}));
        assert_eq!(schema_of(&definition, "v1"), Some(&json!({"type": "object"})));
        assert_eq!((schema_of(&definition, "v2"), schema_of(&definition, "v3")), (None, None));
    }

    #[test]
    fn what_was_filled_in_goes_with_the_change_that_it_forbids() {
        let deployment = |strategy: Value| {
            Object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"strategy": strategy}}))
        };
        let live = deployment(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}));
        let recreate = deployment(json!({"type": "Recreate"}));
        let patch = |desired: &Object, refused: &[&str]| {
            without_leftovers(desired, &live, &refused.iter().map(|&field| field.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            patch(&recreate, &["spec.strategy.rollingUpdate"]),
            Some(json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}))
        );
        // What Git has, what nobody has, and what is no plain path, is not taken out.
        for refused in
            [&["spec.strategy.type"][..], &["spec.other"], &["spec.list[0].x"], &["spec"], &["metadata.labels"], &[]]
        {
            assert_eq!(patch(&recreate, refused), None, "{refused:?}");
        }
        assert_eq!(patch(&live, &["spec.strategy.rollingUpdate"]), None);
    }
}
