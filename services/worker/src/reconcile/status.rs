//! The Application's status in the shape that users and their tools know.

use std::collections::BTreeSet;

use jiff::Timestamp;
use resources::{
    ApplicationStatus, ComparedTo, Condition, Health, Object, ObjectKey, OperationPhase, OperationState,
    ResourceResult, ResourceStatus, RevisionHistory, Summary, SyncResult, SyncState, annotations, conditions,
};
use serde_json::{Map, Value};

use super::apply::Performed;
use super::compare::{Comparison, Resource};
use super::{Done, Pass};
use crate::registry::Desired;
use crate::tracker::{Conclusion, Verdict};

/// The conditions that a pass sets and clears.
pub const OWN_CONDITIONS: [&str; 13] = [
    conditions::INVALID_SPEC_ERROR,
    conditions::COMPARISON_ERROR,
    conditions::SYNC_ERROR,
    conditions::UNKNOWN_ERROR,
    conditions::SHARED_RESOURCE_WARNING,
    conditions::REPEATED_RESOURCE_WARNING,
    conditions::EXCLUDED_RESOURCE_WARNING,
    conditions::ORPHANED_RESOURCE_WARNING,
    conditions::SYNC_WAITING,
    conditions::PINNED_WARNING,
    conditions::SELF_HEAL_WARNING,
    conditions::DRIFT_WARNING,
    conditions::IGNORE_DIFFERENCES_WARNING,
];

/// The status after the steps have come to an end.
pub fn of(pass: &Pass<'_>, done: &Done, now: Timestamp) -> ApplicationStatus {
    let application = pass.managed.application();
    let mut status = application.status.clone().unwrap_or_default();
    let spec = &pass.application.spec;
    let multi = spec.is_multi_source();
    let (revision, revisions) = revisions(&done.desired, multi);
    let (source, sources) = super::plan::recorded(&pass.application);
    status.sync = Some(SyncState {
        status: done.comparison.sync(),
        compared_to: Some(ComparedTo {
            source,
            sources,
            destination: spec.destination.clone(),
            ignore_differences: spec.ignore_differences.clone(),
            ..ComparedTo::default()
        }),
        revision,
        revisions,
        ..SyncState::default()
    });
    status.health = Some(moved(status.health.take(), Health::from(done.comparison.health.clone()), now));
    status.resources = done.comparison.resources.iter().map(|line| resource(line)).collect();
    status.summary = Some(Summary {
        external_urls: external_urls(&done.comparison),
        images: images(&done.comparison),
        is_app_of_apps: done.comparison.resources.iter().any(|resource| resource.key.kind == "Application"),
        ..Summary::default()
    });
    let types = &done.desired.rendered.source_types;
    status.source_type = if multi { String::new() } else { types.first().cloned().unwrap_or_default() };
    status.source_types = if multi { types.clone() } else { Vec::new() };
    status.controller_namespace = pass.ctx.namespace().into();
    let warnings = done.desired.warnings.iter().map(|(kind, message)| (kind.as_str(), message.clone()));
    let mut own: Vec<(&str, String)> = warnings.collect();
    if let Some((kind, sentence)) = pass.managed.state().broken.clone() {
        own.push((kind, sentence));
    }
    own.extend(pass.rules().warnings().iter().map(|warning| (conditions::IGNORE_DIFFERENCES_WARNING, warning.clone())));
    own.extend(excluded(pass, &done.desired).map(|sentence| (conditions::EXCLUDED_RESOURCE_WARNING, sentence)));
    if let Some(performed) = &done.operation {
        operation(&mut status, pass, done, performed);
        own.extend(performed.failure.clone().map(|failure| (conditions::SYNC_ERROR, failure)));
    }
    own.extend(done.failing.clone().map(|reason| (conditions::SYNC_ERROR, reason)));
    // Unchanged, or a confirmation could not be told from one that was meant for something before.
    own.extend(done.waiting.clone().map(|reason| (conditions::SYNC_WAITING, reason)));
    own.extend(done.comparison.shared().map(|sentence| (conditions::SHARED_RESOURCE_WARNING, sentence)));
    own.extend(done.drift.clone().map(|sentence| (conditions::DRIFT_WARNING, sentence)));
    own.extend(done.orphaned.clone().map(|sentence| (conditions::ORPHANED_RESOURCE_WARNING, sentence)));
    if let Ok(Some(pin)) = engine::pin::pin(&application) {
        own.push((conditions::PINNED_WARNING, pin.sentence(&application)));
    }
    own.extend(pass.managed.state().heals.sentence().map(|sentence| (conditions::SELF_HEAL_WARNING, sentence)));
    let condition = |(kind, message): (&str, String)| Condition {
        r#type: kind.into(),
        message,
        last_transition_time: Some(now.into()),
        ..Condition::default()
    };
    status.set_conditions(&OWN_CONDITIONS, own.into_iter().map(condition).collect());
    compact(&mut status);
    status
}

/// What Git wants and the settings of the system leave out.
fn excluded(pass: &Pass<'_>, desired: &Desired) -> Option<String> {
    let mut kinds: BTreeSet<(&str, &str)> =
        desired.objects.iter().map(|object| (object.group(), object.kind())).collect();
    kinds.retain(|(group, kind)| pass.ctx.is_excluded(group, kind));
    let named: Vec<String> = kinds
        .iter()
        .map(|(group, kind)| if group.is_empty() { (*kind).to_owned() } else { format!("{group}/{kind}") })
        .collect();
    (!named.is_empty()).then(|| format!("resource.exclusions in argocd-cm leave out {}", named.join(", ")))
}

/// An object in etcd has at most 1.5 MiB, and requests somewhat more than what is stored: of a large application the lines
/// that say nothing new are left out, first of the operation's result, then of the list of objects.
const MOST_BYTES: usize = 900_000;
/// So many objects are listed whatever they weigh.
const ALWAYS_LISTED: usize = 1_000;

fn compact(status: &mut ApplicationStatus) {
    // Cheap to know for all but the largest.
    let lines = status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
    if status.resources.len() + lines.map_or(0, |result| result.resources.len()) <= ALWAYS_LISTED {
        return;
    }
    let weight = |status: &ApplicationStatus| serde_json::to_vec(status).map_or(0, |text| text.len());
    if weight(status) <= MOST_BYTES {
        return;
    }
    if let Some(state) = &mut status.operation_state
        && let Some(result) = &mut state.sync_result
    {
        let all = result.resources.len();
        result.resources.retain(tells_something);
        result.resources.truncate(ALWAYS_LISTED);
        let left = all - result.resources.len();
        if left > 0 && state.phase.is_success() {
            state.message = format!("{} ({left} of {all} objects are not listed)", state.message);
        }
    }
    if weight(status) <= MOST_BYTES {
        return;
    }
    // What is not well comes first, and one of each kind, from which a restart learns what to watch.
    let mut kinds = BTreeSet::new();
    let mut listed = Vec::with_capacity(ALWAYS_LISTED);
    let mut rest = Vec::new();
    for resource in std::mem::take(&mut status.resources) {
        let fine = resource.status == Some(resources::SyncStatus::Synced)
            && resource.health.as_ref().is_none_or(|health| health.status == Some(resources::HealthStatus::Healthy));
        if kinds.insert((resource.group.clone(), resource.kind.clone())) || !fine {
            listed.push(resource);
        } else {
            rest.push(resource);
        }
    }
    listed.extend(rest);
    listed.truncate(3 * ALWAYS_LISTED);
    status.resources = listed;
    while weight(status) > MOST_BYTES && status.resources.len() > ALWAYS_LISTED {
        status.resources.truncate(status.resources.len() - ALWAYS_LISTED / 4);
    }
}

/// Whether a line of an operation's result is about anything but an object that was as it should be.
fn tells_something(result: &ResourceResult) -> bool {
    !result.hook_type.is_empty()
        || result.status != Some(resources::ResultCode::Synced)
        || !result.message.ends_with("unchanged")
}

fn revisions(desired: &Desired, multi: bool) -> (String, Vec<String>) {
    if multi {
        (String::new(), desired.commits.clone())
    } else {
        (desired.commits.first().cloned().unwrap_or_default(), Vec::new())
    }
}

/// Keeps the transition time where the status is the same.
fn moved(before: Option<Health>, mut health: Health, now: Timestamp) -> Health {
    let before = before.unwrap_or_default();
    health.last_transition_time =
        if before.status == health.status { before.last_transition_time } else { Some(now.into()) };
    health
}

fn resource(resource: &Resource) -> ResourceStatus {
    let source = resource.desired.as_deref().or(resource.live.as_deref());
    let wave =
        source.and_then(|object| object.annotation(annotations::SYNC_WAVE)).and_then(|wave| wave.trim().parse().ok());
    let missing = resource.live.is_none() && resource.desired.is_some() && !resource.hook;
    let health = match (&resource.health, missing) {
        (Some(health), _) => Some(Health::from(health.clone())),
        (None, true) => Some(Health::new(resources::HealthStatus::Missing, "")),
        (None, false) => None,
    };
    ResourceStatus {
        group: resource.key.group.clone(),
        version: resource.version.clone(),
        kind: resource.key.kind.clone(),
        namespace: resource.key.namespace.clone(),
        name: resource.key.name.clone(),
        status: (!resource.hook).then_some(resource.status),
        health,
        hook: resource.hook,
        requires_pruning: resource.requires_pruning,
        sync_wave: wave.unwrap_or(0),
        ..ResourceStatus::default()
    }
}

fn operation(status: &mut ApplicationStatus, pass: &Pass<'_>, done: &Done, performed: &Performed) {
    let spec = &pass.application.spec;
    let multi = spec.is_multi_source();
    let (revision, revisions) = revisions(&done.desired, multi);
    let (source, sources) = super::plan::recorded(&pass.application);
    let failed = performed.failure.is_some();
    let mut message = performed.failure.clone().unwrap_or_else(|| performed.message.clone());
    let next = super::report::next_try(pass, performed).filter(|_| !performed.automated());
    let phase = match next {
        // Running, and ended: as in Argo CD, it waits to be tried again.
        Some(at) => {
            message = format!("{message}; retry {} is at {}", performed.retries + 1, resources::Time(at));
            OperationPhase::Running
        }
        None if failed => OperationPhase::Failed,
        None => OperationPhase::Succeeded,
    };
    status.operation_state = Some(OperationState {
        operation: performed.operation.clone(),
        phase,
        message,
        retry_count: performed.retries,
        sync_result: Some(SyncResult {
            resources: performed.results.clone(),
            revision: revision.clone(),
            revisions: revisions.clone(),
            source: source.clone(),
            sources: sources.clone(),
            ..SyncResult::default()
        }),
        started_at: Some(performed.started.into()),
        finished_at: Some(performed.finished.into()),
        ..OperationState::default()
    });
    if failed || performed.dry_run || performed.selective {
        return;
    }
    let entry = RevisionHistory {
        revision,
        revisions,
        deployed_at: Some(performed.finished.into()),
        deploy_started_at: Some(performed.started.into()),
        source,
        sources,
        initiated_by: performed.operation.initiated_by.clone(),
        ..RevisionHistory::default()
    };
    let repeats = status.history.last().is_some_and(|last| {
        last.revision == entry.revision
            && last.revisions == entry.revisions
            && last.source == entry.source
            && last.sources == entry.sources
    });
    // Healing drift brings nothing that could be rolled back to.
    if !repeats {
        status.remember(entry, spec.revision_history_limit());
    }
}

/// An operation that was running, or that was asked for, has ended with the pass.
pub fn end_operation(status: &mut ApplicationStatus, pass: &Pass<'_>, conclusion: &Conclusion, now: Timestamp) {
    let asked = pass.application.operation.clone();
    let running = status.operation_state.as_ref().is_some_and(|state| !state.phase.is_final());
    if asked.is_none() && !running && conclusion.verdict != Verdict::Failure {
        return;
    }
    let before = status.operation_state.take().unwrap_or_default();
    let operation = asked.unwrap_or_else(|| before.operation.clone());
    let phase = if conclusion.verdict == Verdict::Failure { OperationPhase::Failed } else { OperationPhase::Error };
    status.operation_state = Some(OperationState {
        operation,
        phase,
        message: conclusion.sentence.clone(),
        started_at: before.started_at.filter(|_| running).or(Some(now.into())),
        finished_at: Some(now.into()),
        sync_result: before.sync_result.filter(|_| running),
        ..OperationState::default()
    });
}

/// Addresses of Ingresses and load balancers.
pub fn external_urls(comparison: &Comparison) -> Vec<String> {
    let mut urls = BTreeSet::new();
    for resource in comparison.resources.iter() {
        let Some(object) = resource.live.as_deref().or(resource.desired.as_deref()) else { continue };
        if object.kind() != "Ingress" {
            continue;
        }
        let secure: BTreeSet<&str> = list(object, "/spec/tls")
            .flat_map(|tls| tls.get("hosts").and_then(Value::as_array).into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        for rule in list(object, "/spec/rules") {
            let Some(host) = rule.get("host").and_then(Value::as_str).filter(|host| !host.is_empty()) else { continue };
            let scheme = if secure.contains(host) { "https" } else { "http" };
            let path = rule.pointer("/http/paths/0/path").and_then(Value::as_str).unwrap_or("").trim_end_matches('/');
            urls.insert(format!("{scheme}://{host}{path}"));
        }
    }
    urls.into_iter().collect()
}

fn images(comparison: &Comparison) -> Vec<String> {
    let mut images = BTreeSet::new();
    for resource in comparison.resources.iter() {
        let Some(object) = resource.live.as_deref().or(resource.desired.as_deref()) else { continue };
        for spec in ["/spec/template/spec", "/spec", "/spec/jobTemplate/spec/template/spec"] {
            for containers in ["containers", "initContainers"] {
                for container in list(object, &format!("{spec}/{containers}")) {
                    images.extend(container.get("image").and_then(Value::as_str).map(str::to_owned));
                }
            }
        }
    }
    images.into_iter().collect()
}

fn list<'a>(object: &'a Object, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.at(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A line of an operation's result.
pub fn result(
    key: &ObjectKey,
    version: &str,
    code: resources::ResultCode,
    message: String,
    phase: &str,
) -> ResourceResult {
    ResourceResult {
        group: key.group.clone(),
        version: version.into(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        status: Some(code),
        message,
        sync_phase: phase.into(),
        ..ResourceResult::default()
    }
}

/// What a merge patch must say to get from the old status to the new; nothing if only the time would differ.
pub fn changes(old: &Value, new: &ApplicationStatus, now: Timestamp) -> Option<Value> {
    let mut new = serde_json::to_value(new).ok()?;
    let mut patch = difference(old, &new)?;
    let at = Value::from(resources::Time(now).to_string());
    new.as_object_mut()?.insert("reconciledAt".into(), at.clone());
    patch.as_object_mut()?.insert("reconciledAt".into(), at);
    Some(patch)
}

/// A JSON merge patch (RFC 7396) from one value to another; `None` where they are the same.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, value) in new {
        match old.get(name) {
            Some(before) => {
                if let Some(change) = difference(before, value) {
                    patch.insert(name.clone(), change);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_says_only_what_changed() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
            (json!({"a": {"x": 1, "y": [1]}}), json!({"a": {"x": 1, "y": [2]}}), Some(json!({"a": {"y": [2]}}))),
            (Value::Null, json!({"a": 1}), Some(json!({"a": 1}))),
        ];
        for (old, new, expected) in cases {
            assert_eq!(difference(&old, &new), expected, "{old} {new}");
        }
    }

    #[test]
    fn the_same_status_is_not_written_again() {
        let status = ApplicationStatus { source_type: "Helm".into(), ..ApplicationStatus::default() };
        let now = Timestamp::UNIX_EPOCH;
        let first = changes(&Value::Null, &status, now);
        assert!(first.is_some());
        let stored = json!({ "sourceType": "Helm", "reconciledAt": "2026-01-01T00:00:00Z" });
        let read: ApplicationStatus = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(changes(&stored, &read, now), None);
    }
}
