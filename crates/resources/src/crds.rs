//! Our CRDs, generated from the types: structural schemas that accept what Argo CD's accept and keep what they do not know.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{AppProject, Application, ApplicationSet, GROUP, Object};

/// A schema keeps members that it does not list.
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
/// A schema takes a number or a string.
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The CRDs of `Application`, `ApplicationSet` and `AppProject`.
///
/// ```
/// let names: Vec<_> = resources::crds().iter().map(|crd| crd.name().to_owned()).collect();
/// assert_eq!(names, ["applications.argoproj.io", "applicationsets.argoproj.io", "appprojects.argoproj.io"]);
/// ```
pub fn crds() -> Vec<Object> {
    let columns = json!([
        { "name": "Sync Status", "type": "string", "jsonPath": ".status.sync.status" },
        { "name": "Health Status", "type": "string", "jsonPath": ".status.health.status" },
        { "name": "Revision", "type": "string", "jsonPath": ".status.sync.revision", "priority": 10 },
        { "name": "Project", "type": "string", "jsonPath": ".spec.project", "priority": 10 },
    ]);
    // Status and operation of an Application are written like any other field: tools that people have patch them so.
    let application = version::<Application>(json!({ "additionalPrinterColumns": columns, "subresources": {} }));
    let set = version::<ApplicationSet>(json!({ "subresources": { "status": {} } }));
    vec![
        crd(Application::KIND, ["app", "apps"], application),
        crd(ApplicationSet::KIND, ["appset", "appsets"], set),
        crd(AppProject::KIND, ["appproj", "appprojs"], version::<AppProject>(json!({}))),
    ]
}

fn crd(kind: &str, short: [&str; 2], version: Value) -> Object {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    Object(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": { "app.kubernetes.io/part-of": "lockstep" },
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": short,
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }))
}

fn version<T: JsonSchema>(more: Value) -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("required".into(), json!(["metadata", "spec"]));
        root.insert(PRESERVE.into(), true.into());
        // The API server knows what is in metadata and takes no word about it.
        if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("metadata".into(), json!({ "type": "object" }));
        }
    }
    let mut version =
        json!({ "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
    if let (Some(version), Value::Object(more)) = (version.as_object_mut(), more) {
        version.extend(more);
    }
    version
}

/// Turns a JSON schema into what the API server calls structural: one type at each place, nothing that depends on a choice,
/// and a mark wherever unknown members are kept.
fn make_structural(schema: &mut Value) {
    if !schema.is_object() {
        *schema = json!({});
    }
    let Some(node) = schema.as_object_mut() else { return };
    unwrap_nullable(node);
    for name in ["$schema", "title", "default", "nullable", "minimum", "maximum", "writeOnly", "readOnly"] {
        node.remove(name);
    }
    if node.contains_key(INT_OR_STRING) {
        return;
    }
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    take_one_type(node);
    // Only the Rust types know what must be there; a lenient reader needs no list of it.
    node.remove("required");
    match node.remove("additionalProperties") {
        Some(Value::Bool(true)) => {
            node.insert(PRESERVE.into(), true.into());
        }
        Some(mut values @ Value::Object(_)) => {
            make_structural(&mut values);
            node.insert("additionalProperties".into(), values);
        }
        _ => {}
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    if let Some(items) = node.get_mut("items") {
        make_structural(items);
    }
    if !node.contains_key("type") {
        node.insert(PRESERVE.into(), true.into());
    }
}

/// `anyOf: [X, null]` and the like become X; the description stays.
fn unwrap_nullable(node: &mut Map<String, Value>) {
    if node.contains_key(INT_OR_STRING) {
        return;
    }
    for name in ["anyOf", "oneOf", "allOf"] {
        let Some(Value::Array(choices)) = node.remove(name) else { continue };
        let is_null = |choice: &Value| {
            choice.get("type").is_some_and(|it| it == "null") || choice.get("enum") == Some(&json!([null]))
        };
        let mut real: Vec<_> = choices.into_iter().filter(|choice| !is_null(choice)).collect();
        let names: Vec<_> = real.iter().flat_map(names_of).collect();
        if !names.is_empty() && names.len() >= real.len() {
            node.insert("type".into(), "string".into());
            node.insert("enum".into(), names.into());
        } else if let (1, Some(Value::Object(choice))) = (real.len(), real.pop()) {
            for (name, value) in choice {
                node.entry(name).or_insert(value);
            }
        }
    }
    if let Some(Value::Array(names)) = node.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
}

/// The names of a schema that is nothing but a list of names.
fn names_of(choice: &Value) -> Vec<Value> {
    let listed = choice.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
    choice.get("const").cloned().into_iter().chain(listed).collect()
}

fn take_one_type(node: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = node.get("type") {
        let first = types.iter().find(|name| *name != "null").cloned();
        node.remove("type");
        if let Some(first) = first {
            node.insert("type".into(), first);
        }
    }
    if node.get("type").is_some_and(|it| it == "object" || it == "array" || it == "boolean") {
        node.remove("format");
    }
}
