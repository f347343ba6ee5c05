//! Manifests as people have them: read, written and read again without a loss, and accepted by our own CRDs.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use resources::*;
use serde_json::{Map, Value, json};

fn manifests(folder: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let documents = serde_saphyr::from_multiple::<Value>(&text).unwrap();
                found.extend(documents.into_iter().map(|document| (path.display().to_string(), document)));
            }
        }
    }
    found.retain(|(_, document)| document["apiVersion"] == API_VERSION);
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    found
}

fn all() -> Vec<(String, Value)> {
    // As it is when the test runs: a build folder may be shared by several checkouts.
    let here = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let mut all = manifests(&here.join("tests/manifests"));
    for folder in ["applicationsets", "bootstrap", "projects"] {
        all.extend(manifests(&here.join("../../examples/bitvault-gitops").join(folder)));
    }
    assert!(all.len() >= 8, "{}", all.len());
    all
}

/// What Go's `omitempty` would leave out: `""`, `false`, `0`, `[]`, `{}` in fields that have no other meaning for it.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| {
                let empty = value.as_str().is_some_and(str::is_empty) || *value == &json!(false) || *value == &json!(0);
                !(empty || value.as_array().is_some_and(Vec::is_empty))
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), without_empty(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

fn round_trip(manifest: &Value) -> Value {
    match manifest["kind"].as_str().unwrap() {
        "Application" => Application::parse(manifest.clone()).unwrap().to_object().0,
        "ApplicationSet" => ApplicationSet::parse(manifest.clone()).unwrap().to_object().0,
        "AppProject" => AppProject::parse(manifest.clone()).unwrap().to_object().0,
        other => panic!("{other}"),
    }
}

#[test]
fn nothing_is_lost() {
    for (file, manifest) in all() {
        let written = round_trip(&manifest);
        assert_eq!(without_empty(&written), without_empty(&manifest), "{file}");
        assert_eq!(round_trip(&written), written, "{file}: twice");
    }
}

#[test]
fn every_field_of_the_samples_is_known_to_the_types() {
    // A typo in a field's name would put it into `extra`, from where it is written again: only fields called future… may be there.
    let check = |file: &str, schema: &Value, manifest: &Value| {
        let mut unknown = Vec::new();
        unknown_fields(schema, manifest, String::new(), &mut unknown);
        unknown.retain(|field| !["future", "zone", "pace"].iter().any(|known| field.contains(known)));
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    };
    for (file, manifest) in all() {
        let crd = crds().into_iter().find(|crd| crd.at("/spec/names/kind") == Some(&manifest["kind"])).unwrap();
        check(&file, crd.at("/spec/versions/0/schema/openAPIV3Schema").unwrap(), &manifest);
    }
}

fn unknown_fields(schema: &Value, value: &Value, path: String, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            for (name, value) in fields {
                match properties.get(name) {
                    Some(schema) => unknown_fields(schema, value, format!("{path}.{name}"), unknown),
                    None => unknown.push(format!("{path}.{name}")),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                unknown_fields(&schema["items"], item, format!("{path}[]"), unknown);
            }
        }
        _ => {}
    }
}

/// The part of an API server's validation that matters here: the type of each value.
fn accepts(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return if value.is_i64() || value.is_string() { Ok(()) } else { Err(format!("{path}: {value}")) };
    }
    let fits = match schema.get("type").and_then(Value::as_str) {
        None => return Ok(()),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => return Err(format!("{path}: {other}")),
    };
    if !fits || schema.get("enum").is_some_and(|names| !names.as_array().unwrap().contains(value)) {
        return Err(format!("{path}: {value} is not {schema}"));
    }
    for item in value.as_array().into_iter().flatten() {
        accepts(&schema["items"], item, &format!("{path}[]"))?;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let child = schema.get("properties").and_then(|known| known.get(name)).or(schema.get("additionalProperties"));
        if let Some(child) = child {
            accepts(child, value, &format!("{path}.{name}"))?;
        }
    }
    Ok(())
}

#[test]
fn our_crds_accept_the_samples() {
    for (file, manifest) in all() {
        let crd = crds().into_iter().find(|crd| crd.at("/spec/names/kind") == Some(&manifest["kind"])).unwrap();
        let schema = crd.at("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        accepts(schema, &manifest, "").unwrap_or_else(|problem| panic!("{file}: {problem}"));
        accepts(schema, &round_trip(&manifest), "").unwrap_or_else(|problem| panic!("{file}, written: {problem}"));
    }
}

#[test]
fn the_examples_are_valid() {
    for (file, manifest) in all().into_iter().filter(|(file, _)| file.contains("examples")) {
        let result = match manifest["kind"].as_str().unwrap() {
            "Application" => Application::parse(manifest).unwrap().validate(),
            "ApplicationSet" => ApplicationSet::parse(manifest).unwrap().validate(),
            _ => AppProject::parse(manifest).unwrap().validate(),
        };
        assert_eq!(result, Ok(()), "{file}");
    }
}

fn application(spec: Value) -> Application {
    Application::parse(json!({ "metadata": { "name": "a", "namespace": "argocd" }, "spec": spec })).unwrap()
}

#[test]
fn defaults_are_those_that_people_rely_on() {
    let plain =
        application(json!({ "source": { "repoURL": "a", "path": "b" }, "destination": { "name": "in-cluster" } }));
    assert_eq!(plain.spec.project(), "default");
    assert_eq!(plain.sources()[0].revision(), "HEAD");
    assert_eq!(plain.spec.revision_history_limit(), 10);
    assert!(plain.spec.automated().is_none());
    assert!(!plain.spec.is_multi_source());
    assert!(plain.spec.destination.is_in_cluster());

    let policy = |automated: Value| application(json!({ "destination": {}, "syncPolicy": { "automated": automated } }));
    assert!(policy(json!({})).spec.automated().is_some());
    assert!(policy(json!({ "enabled": true })).spec.automated().is_some());
    assert!(policy(json!({ "enabled": false })).spec.automated().is_none());
    assert!(policy(Value::Null).spec.automated().is_none());

    let several = application(json!({
        "source": { "repoURL": "ignored" },
        "sources": [{ "repoURL": "a" }, { "repoURL": "b" }],
        "destination": {},
        "revisionHistoryLimit": 0,
        "syncPolicy": { "syncOptions": ["Prune=false", "CreateNamespace=true", "Prune=confirm"] },
    }));
    assert_eq!(several.sources().iter().map(|it| it.repo_url.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(several.spec.revision_history_limit(), 0);
    assert_eq!(several.sync_option("Prune"), Some("confirm"));
    assert!(several.spec.has_sync_option("CreateNamespace"));
    assert_eq!(several.sync_option("Replace"), None);
}

#[test]
fn statuses_of_a_later_version_are_read() {
    let manifest = json!({
        "metadata": { "name": "a" },
        "spec": { "destination": {} },
        "status": {
            "health": { "status": "Splendid" },
            "sync": { "status": "Almost" },
            "operationState": { "phase": "Paused", "operation": {}, "startedAt": "2026-01-02T03:04:05.678Z" },
        },
    });
    let status = Application::parse(manifest).unwrap().status.unwrap();
    assert_eq!(status.health_status(), HealthStatus::Unknown);
    assert_eq!(status.sync_status(), SyncStatus::Unknown);
    let operation = status.operation_state.unwrap();
    assert_eq!(operation.phase, OperationPhase::Unknown);
    assert_eq!(json!(operation.started_at), json!("2026-01-02T03:04:05Z"));
}

#[test]
fn a_status_that_cannot_be_read_counts_as_none() {
    let manifest =
        json!({ "metadata": { "name": "a" }, "spec": { "destination": {} }, "status": { "history": "lost" } });
    assert_eq!(Application::parse(manifest).unwrap().status, None);
}

#[test]
fn health_is_ordered_from_best_to_worst() {
    use HealthStatus::*;
    let mut all = [Unknown, Degraded, Missing, Progressing, Suspended, Healthy];
    all.sort();
    assert_eq!(all, [Healthy, Suspended, Progressing, Missing, Degraded, Unknown]);
}

#[test]
fn history_is_numbered_and_limited() {
    let mut status = ApplicationStatus::default();
    for number in 0..5 {
        status.remember(RevisionHistory { revision: format!("r{number}"), ..Default::default() }, 3);
    }
    let kept: Vec<_> = status.history.iter().map(|past| (past.id, past.revision.as_str())).collect();
    assert_eq!(kept, [(2, "r2"), (3, "r3"), (4, "r4")]);
    status.remember(RevisionHistory::default(), 0);
    assert!(status.history.is_empty());
}

#[test]
fn conditions_keep_the_time_since_when() {
    let at = |text: &str| Some(Time(text.parse().unwrap()));
    let condition = |kind: &str, message: &str, since: &str| Condition {
        r#type: kind.into(),
        message: message.into(),
        last_transition_time: at(since),
        ..Default::default()
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let mut status = ApplicationStatus {
        conditions: vec![
            condition(conditions::SYNC_ERROR, "a", old),
            condition(conditions::COMPARISON_ERROR, "b", old),
            condition(conditions::ORPHANED_RESOURCE_WARNING, "c", old),
        ],
        ..Default::default()
    };
    let now =
        vec![condition(conditions::SYNC_ERROR, "a", new), condition(conditions::COMPARISON_ERROR, "changed", new)];
    status.set_conditions(&[conditions::SYNC_ERROR, conditions::COMPARISON_ERROR], now);
    let found: Vec<_> = status.conditions.iter().map(|it| (it.message.as_str(), it.last_transition_time)).collect();
    assert_eq!(found, [("c", at(old)), ("a", at(old)), ("changed", at(new))]);
}

#[test]
fn waits_grow_up_to_the_longest() {
    let retry = |value: Value| serde_json::from_value::<RetryStrategy>(value).unwrap();
    let waits = |retry: &RetryStrategy| (0..4).map(|attempt| retry.wait(attempt).as_secs()).collect::<Vec<_>>();
    assert_eq!(waits(&retry(json!({}))), [5, 10, 20, 40]);
    let own = json!({ "backoff": { "duration": "1m", "factor": 3, "maxDuration": "5m" } });
    assert_eq!(waits(&retry(own)), [60, 180, 300, 300]);
    assert_eq!(retry(json!({})).wait(u32::MAX).as_secs(), 180);
}
