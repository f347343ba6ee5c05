//! CustomResourceDefinitions for every kind of the manifests that the API server does not bring.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Result, ensure};
use resources::Object;
use serde_json::{Value, json};

use crate::sources::Sources;

/// What the manifests of one kind tell about it.
#[derive(Default)]
struct Seen<'a> {
    versions: BTreeSet<&'a str>,
    namespaced: BTreeSet<bool>,
}

/// Those that are written out, Lockstep's own, and a general one for each other kind.
pub fn all(sources: &Sources) -> Result<Vec<Object>> {
    let mut definitions = sources.definitions.clone();
    definitions.extend(resources::crds());
    let text = |object: &Object, pointer: &str| {
        object.at(pointer).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    let defined = |object: &Object| (text(object, "/spec/group"), text(object, "/spec/names/kind"));
    let of_manifests = sources
        .manifests
        .iter()
        .map(|manifest| &manifest.object)
        .filter(|object| object.kind() == "CustomResourceDefinition");
    let known: HashSet<(String, String)> = definitions.iter().chain(of_manifests).map(defined).collect();
    let mut missing: BTreeMap<(&str, &str), Seen<'_>> = BTreeMap::new();
    for object in sources.manifests.iter().map(|manifest| &manifest.object) {
        let (group, kind) = (object.group(), object.kind());
        if is_served(group) || known.contains(&(group.to_owned(), kind.to_owned())) {
            continue;
        }
        let seen = missing.entry((group, kind)).or_default();
        seen.versions.insert(object.version());
        seen.namespaced.insert(!object.namespace().is_empty());
    }
    for ((group, kind), seen) in missing {
        ensure!(seen.namespaced.len() == 1, "some manifests of {group}/{kind} have a namespace and some have none");
        definitions.push(general(group, kind, &seen.versions, seen.namespaced.contains(&true)));
    }
    for definition in &mut definitions {
        if text(definition, "/spec/group").ends_with(".k8s.io") {
            definition.set_annotation("api-approved.kubernetes.io", "unapproved, for tests only");
        }
    }
    Ok(definitions)
}

/// Whether the API server serves a group by itself.
fn is_served(group: &str) -> bool {
    const SERVED: [&str; 15] = [
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "authentication.k8s.io",
    ];
    !group.contains('.') || SERVED.contains(&group)
}

/// A definition that takes anything, with a status of its own, as most have.
fn general(group: &str, kind: &str, versions: &BTreeSet<&str>, namespaced: bool) -> Object {
    let singular = kind.to_lowercase();
    let plural = plural(&singular);
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "spec": anything, "status": anything } });
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            json!({ "name": version, "served": true, "storage": index == 0, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema } })
        })
        .collect();
    Object(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular },
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    }))
}

fn plural(singular: &str) -> String {
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ if singular.ends_with(['s', 'x']) || singular.ends_with("ch") => format!("{singular}es"),
        _ => format!("{singular}s"),
    }
}
