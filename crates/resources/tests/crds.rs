//! The CRDs: structural, and accepting what people have.
#![allow(clippy::unwrap_used)]

use resources::{Object, crds};
use serde_json::{Value, json};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

fn schema(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.at("/spec/names/kind") == Some(&json!(kind))).unwrap();
    crd.at("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

/// What the API server demands of a structural schema, for everything that can appear here.
fn check_structural(node: &Value, path: &str, problems: &mut Vec<String>) {
    let known = [
        "type",
        "description",
        "format",
        "properties",
        "items",
        "additionalProperties",
        "enum",
        "required",
        "anyOf",
        PRESERVE,
        "x-kubernetes-int-or-string",
    ];
    for name in node.as_object().unwrap().keys() {
        if !known.contains(&name.as_str()) {
            problems.push(format!("{path}: {name}"));
        }
    }
    let free = node.get(PRESERVE) == Some(&json!(true));
    if node.get("x-kubernetes-int-or-string").is_some() {
        if node["anyOf"] != json!([{ "type": "integer" }, { "type": "string" }]) {
            problems.push(format!("{path}: anyOf"));
        }
        return;
    }
    match node.get("type").map(|kind| kind.as_str().unwrap_or("not a string")) {
        None if free => {}
        Some("string" | "integer" | "boolean" | "object") => {}
        Some("array") if node.get("items").is_some() => {}
        other => problems.push(format!("{path}: type {other:?}")),
    }
    if node.get("properties").is_some() && node.get("additionalProperties").is_some() {
        problems.push(format!("{path}: properties beside additionalProperties"));
    }
    if node.get("type") == Some(&json!("object"))
        && !free
        && node.get("additionalProperties").is_none()
        && path != ".metadata"
    {
        problems.push(format!("{path}: drops what it does not know"));
    }
    for (name, child) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_structural(child, &format!("{path}.{name}"), problems);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(child) = node.get(name) {
            check_structural(child, &format!("{path}[]"), problems);
        }
    }
}

#[test]
fn schemas_are_structural_and_keep_unknown_fields() {
    for kind in ["Application", "ApplicationSet", "AppProject"] {
        let mut problems = Vec::new();
        check_structural(&schema(kind), "", &mut problems);
        assert!(problems.is_empty(), "{kind}:\n{}", problems.join("\n"));
    }
}

#[test]
fn every_field_has_a_type_and_most_a_description() {
    let at = |kind: &str, path: &str| {
        let pointer = path.split('.').fold(String::new(), |all, part| {
            let (name, list) = part.strip_suffix("[]").map_or((part, ""), |name| (name, "/items"));
            format!("{all}/properties/{name}{list}")
        });
        schema(kind).pointer(&pointer).unwrap_or_else(|| panic!("{kind} has no {path}")).clone()
    };
    for (kind, path, expected) in [
        ("Application", "spec.source.repoURL", "string"),
        ("Application", "spec.sources[].helm.valueFiles", "array"),
        ("Application", "spec.syncPolicy.automated.enabled", "boolean"),
        ("Application", "spec.syncPolicy.retry.limit", "integer"),
        ("Application", "operation.sync.resources[].kind", "string"),
        ("Application", "status.operationState.syncResult.resources[].hookPhase", "string"),
        ("Application", "status.history[].deployedAt", "string"),
        ("Application", "status.summary.externalURLs", "array"),
        ("ApplicationSet", "spec.generators[].matrix.generators", "array"),
        ("ApplicationSet", "spec.template.spec", "object"),
        ("ApplicationSet", "spec.syncPolicy.applicationsSync", "string"),
        ("AppProject", "spec.roles[].jwtTokens[].iat", "integer"),
        ("AppProject", "status.jwtTokensByRole", "object"),
    ] {
        let found = at(kind, path);
        assert_eq!(found["type"], json!(expected), "{kind} {path}");
        assert!(found["description"].as_str().is_some_and(|text| !text.is_empty()), "{kind} {path}");
    }
    assert_eq!(at("ApplicationSet", "spec.syncPolicy.applicationsSync")["enum"][0], json!("create-only"));
    assert_eq!(at("Application", "spec.source.kustomize.replicas[].count")["x-kubernetes-int-or-string"], json!(true));
    assert_eq!(at("Application", "status.reconciledAt")["format"], json!("date-time"));
}

#[test]
fn names_columns_and_subresources_are_those_that_people_know() {
    let crds = crds();
    let names = |crd: &Object| crd.at("/spec/names/shortNames").unwrap().clone();
    let version = |crd: &Object| crd.at("/spec/versions/0").unwrap().clone();
    assert_eq!(names(&crds[0]), json!(["app", "apps"]));
    assert_eq!(names(&crds[1]), json!(["appset", "appsets"]));
    assert_eq!(names(&crds[2]), json!(["appproj", "appprojs"]));
    let application = version(&crds[0]);
    assert!(application["subresources"].get("status").is_none());
    assert!(version(&crds[1])["subresources"].get("status").is_some());
    let columns: Vec<_> = application["additionalPrinterColumns"].as_array().unwrap().iter().collect();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Sync Status", "Health Status", "Revision", "Project"]);
    for crd in &crds {
        assert_eq!((version(crd)["served"].clone(), version(crd)["storage"].clone()), (json!(true), json!(true)));
        let size = serde_json::to_string(&crd.0).unwrap().len();
        assert!(size < 250_000, "{} has {size} bytes: too large for the annotation of kubectl apply", crd.name());
    }
}
