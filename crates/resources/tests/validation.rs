//! What validation says, and which field it names.
#![allow(clippy::unwrap_used)]

use resources::{AppProject, Application, ApplicationSet, Invalid};
use serde_json::{Value, json};

fn said(result: Result<(), Invalid>) -> String {
    result.err().map_or_else(|| "valid".into(), |invalid| invalid.to_string())
}

fn check(spec: Value) -> String {
    let manifest = json!({ "metadata": { "name": "a", "namespace": "argocd" }, "spec": spec });
    said(Application::parse(manifest).and_then(|application| application.validate()))
}

fn source(source: Value) -> String {
    check(json!({ "source": source, "destination": { "name": "prod" } }))
}

fn sources(sources: Value) -> String {
    check(json!({ "sources": sources, "destination": { "name": "prod" } }))
}

#[test]
fn applications() {
    let destination =
        |destination: Value| check(json!({ "source": { "repoURL": "a", "path": "b" }, "destination": destination }));
    let policy = |policy: Value| {
        check(
            json!({ "source": { "repoURL": "a", "path": "b" }, "destination": { "name": "x" }, "syncPolicy": policy }),
        )
    };
    for (found, expected) in [
        (source(json!({ "repoURL": "a", "path": "." })), "valid"),
        (source(json!({ "repoURL": "a", "chart": "b", "targetRevision": "1.x" })), "valid"),
        (source(json!({ "repoURL": "oci://example.com/charts/b", "targetRevision": "1.2.3" })), "valid"),
        (source(json!({ "path": "." })), "spec.source.repoURL: is missing"),
        (source(json!({ "repoURL": "a" })), "spec.source: has neither path nor chart"),
        (source(json!({ "repoURL": "a", "chart": "b" })), "spec.source.targetRevision: is missing"),
        (
            source(json!({ "repoURL": "a", "chart": "b", "path": "c", "targetRevision": "1" })),
            "spec.source: has both path and chart",
        ),
        (source(json!({ "repoURL": "a", "path": "/b" })), "spec.source.path: \"/b\" is absolute"),
        (source(json!({ "repoURL": "a", "path": "b/../.." })), "spec.source.path: \"b/../..\" leaves the repository"),
        (source(json!({ "repoURL": "a", "path": "b/../c" })), "valid"),
        (
            source(json!({ "repoURL": "a", "path": "b", "helm": {}, "kustomize": {} })),
            "spec.source: is of several types at once (helm, kustomize)",
        ),
        (
            source(json!({ "repoURL": "a", "path": "b", "helm": { "parameters": [{ "value": "x" }] } })),
            "spec.source.helm.parameters[0].name: is missing",
        ),
        (
            source(
                json!({ "repoURL": "a", "path": "b", "kustomize": { "replicas": [{ "name": "x", "count": "many" }] } }),
            ),
            "spec.source.kustomize.replicas[0].count: \"many\" is not",
        ),
        (
            source(json!({ "repoURL": "a", "path": "b", "kustomize": { "patches": [{}] } })),
            "spec.source.kustomize.patches[0]: give exactly one",
        ),
        (
            source(json!({ "repoURL": "a", "path": "b", "helm": { "valueFiles": "values.yaml" } })),
            "spec.source.helm.valueFiles: invalid type: string",
        ),
        (source(json!({ "repoURL": "a", "path": 1 })), "spec.source.path: invalid type: integer"),
        (
            sources(
                json!([{ "repoURL": "a", "ref": "values" }, { "repoURL": "b", "path": "c", "helm": { "valueFiles": ["$values/a.yaml"] } }]),
            ),
            "valid",
        ),
        (
            sources(
                json!([{ "repoURL": "a", "path": "c" }, { "repoURL": "b", "path": "c", "helm": { "valueFiles": ["$values/a.yaml"] } }]),
            ),
            "spec.sources[1].helm.valueFiles[0]: no source has the ref \"values\"",
        ),
        (
            sources(json!([{ "repoURL": "a", "ref": "v" }, { "repoURL": "b", "ref": "v" }])),
            "spec.sources[1].ref: \"v\" is the ref of another",
        ),
        (
            sources(json!([{ "repoURL": "a", "ref": "v", "chart": "c", "targetRevision": "1" }])),
            "spec.sources[0].ref: a chart cannot",
        ),
        (sources(json!([{ "repoURL": "a", "ref": "v/w" }])), "spec.sources[0].ref: use letters"),
        (sources(json!([])), "spec.source: is missing; give source or sources"),
        (
            sources(json!([{ "repoURL": "a", "path": ".", "helm": { "valueFiles": [1] } }])),
            "spec.sources[0].helm.valueFiles[0]: invalid type",
        ),
        (destination(json!({})), "spec.destination: names no cluster"),
        (destination(json!({ "name": "a", "server": "b" })), "spec.destination: names the cluster twice"),
        (destination(json!({ "name": "a", "namespace": "B" })), "spec.destination.namespace: \"B\" is not"),
        (
            policy(json!({ "retry": { "backoff": { "duration": "soon" } } })),
            "spec.syncPolicy.retry.backoff.duration: \"soon\" is not a duration",
        ),
        (policy(json!({ "automated": { "prune": "yes" } })), "spec.syncPolicy.automated.prune: invalid type"),
    ] {
        assert!(found.starts_with(expected), "expected {expected}\n   found {found}");
    }
}

#[test]
fn all_problems_are_said_at_once() {
    let found = check(json!({ "source": { "path": "/b" }, "destination": {}, "revisionHistoryLimit": -1 }));
    assert_eq!(found.matches("spec.").count(), 4, "{found}");
}

#[test]
fn manifests_of_something_else() {
    let said = |manifest: Value| Application::parse(manifest).unwrap_err().to_string();
    assert_eq!(said(json!([])), "this is no manifest of an Application but a list");
    assert_eq!(said(json!({ "kind": "AppProject" })), "kind: expected Application, found AppProject");
    assert!(said(json!({ "apiVersion": "v1" })).starts_with("apiVersion: expected argoproj.io/v1alpha1"));
    assert_eq!(said(json!({ "metadata": {} })), "spec: is missing");
}

#[test]
fn application_sets() {
    let check = |spec: Value| {
        said(ApplicationSet::parse(json!({ "metadata": { "name": "a" }, "spec": spec })).and_then(|set| set.validate()))
    };
    let generator = |generator: Value| {
        check(json!({ "generators": [generator], "template": { "metadata": { "name": "x" }, "spec": {} } }))
    };
    let list = json!({ "list": { "elements": [] } });
    for (found, expected) in [
        (generator(list.clone()), "valid"),
        (generator(json!({})), "spec.generators[0]: has no generator; give list"),
        (generator(json!({ "lists": {} })), "spec.generators[0]: has no generator (lists is not one)"),
        (generator(json!({ "list": {}, "git": {} })), "spec.generators[0]: has several generators (list, git)"),
        (
            generator(json!({ "matrix": { "generators": [list] } })),
            "spec.generators[0].matrix.generators: has 1 entries",
        ),
        (generator(json!({ "merge": { "generators": [list, list] } })), "spec.generators[0].merge.mergeKeys: is empty"),
        (
            generator(
                json!({ "matrix": { "generators": [{ "matrix": { "generators": [list, { "matrix": { "generators": [list, list] } }] } }, list] } }),
            ),
            "spec.generators[0].matrix.generators[0].matrix.generators[1].matrix: is nested too deeply",
        ),
        (
            generator(json!({ "git": { "revision": "main", "directories": [{ "path": "*" }] } })),
            "spec.generators[0].git.repoURL: is missing",
        ),
        (generator(json!({ "git": { "repoURL": "a" } })), "spec.generators[0].git: has neither directories nor files"),
        (generator(json!({ "pullRequest": {} })), "spec.generators[0].pullRequest: names no forge"),
        (
            generator(
                json!({ "pullRequest": { "github": { "owner": "a", "repo": "b" }, "filters": [{ "branchMatch": "(" }] } }),
            ),
            "spec.generators[0].pullRequest.filters[0].branchMatch: is not a regular expression",
        ),
        (
            generator(
                json!({ "clusters": { "selector": { "matchExpressions": [{ "key": "a", "operator": "Is" }] } } }),
            ),
            "spec.generators[0].clusters.selector.matchExpressions[0].operator: \"Is\" is unknown",
        ),
        (
            check(json!({ "generators": [], "template": { "metadata": { "name": "x" }, "spec": {} } })),
            "spec.generators: is empty",
        ),
        (
            check(json!({ "generators": [list], "template": { "metadata": {}, "spec": {} } })),
            "spec.template.metadata.name: is missing",
        ),
        (
            check(json!({ "generators": [list], "template": { "metadata": { "name": "x" } }, "templatePatch": "a" })),
            "spec.templatePatch: needs goTemplate: true",
        ),
    ] {
        assert!(found.starts_with(expected), "expected {expected}\n   found {found}");
    }
}

#[test]
fn projects() {
    let check = |spec: Value| {
        said(
            AppProject::parse(json!({ "metadata": { "name": "p" }, "spec": spec }))
                .and_then(|project| project.validate()),
        )
    };
    let window = |change: Value| {
        let mut window = json!({ "kind": "deny", "schedule": "0 22 * * *", "duration": "8h", "applications": ["*"] });
        window.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        check(json!({ "syncWindows": [window] }))
    };
    let role = |policy: &str| check(json!({ "roles": [{ "name": "ci", "policies": [policy] }] }));
    for (found, expected) in [
        (check(json!({ "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }] })), "valid"),
        (check(json!({ "sourceRepos": ["!*"] })), "spec.sourceRepos[0]: forbids every repository"),
        (check(json!({ "sourceRepos": ["a", "a"] })), "spec.sourceRepos[1]: \"a\" is listed twice"),
        (check(json!({ "description": "x".repeat(256) })), "spec.description: is longer than 255"),
        (window(json!({})), "valid"),
        (window(json!({ "schedule": "@daily" })), "valid"),
        (window(json!({ "kind": "maybe" })), "spec.syncWindows[0].kind: \"maybe\" is neither"),
        (window(json!({ "schedule": "0 22 * *" })), "spec.syncWindows[0].schedule: \"0 22 * *\" is not"),
        (window(json!({ "duration": "long" })), "spec.syncWindows[0].duration: \"long\" is not a duration"),
        (role("p, proj:p:ci, applications, sync, p/*, allow"), "valid"),
        (
            role("p, proj:other:ci, applications, sync, p/*, allow"),
            "spec.roles[0].policies[0]: must be about \"proj:p:ci\"",
        ),
        (
            role("p, proj:p:ci, applications, sync, other/*, allow"),
            "spec.roles[0].policies[0]: must be about objects of this",
        ),
        (role("p, proj:p:ci, applications"), "spec.roles[0].policies[0]: must read"),
    ] {
        assert!(found.starts_with(expected), "expected {expected}\n   found {found}");
    }
}
