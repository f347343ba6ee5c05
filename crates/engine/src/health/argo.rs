//! Applications and ApplicationSets as objects of an application (app of apps), promotions, and the pipelines of Numaflow.

use jiff::Timestamp;
use resources::{HealthStatus, Object};
use serde_json::Value;

use super::rule::{UNOBSERVED, list, part_is_behind};
use super::{Condition, GRACE, Health, conditions, find_condition, is_behind, text};

pub(super) fn application(object: &Object) -> Health {
    match text(object, "/status/health/status") {
        "" => Health::progressing("waiting for the application to be reconciled"),
        status => Health::new(HealthStatus::from(status), text(object, "/status/health/message")),
    }
}

pub(super) fn application_set(object: &Object) -> Health {
    if let Some(error) = find_condition(object, "ErrorOccurred").filter(|condition| condition.is_true()) {
        return Health::degraded(error.text());
    }
    let failed =
        ["ParametersGenerated", "ResourcesUpToDate"].into_iter().filter_map(|kind| find_condition(object, kind));
    if let Some(failed) = failed.into_iter().find(|condition| condition.is_false() && is_error(condition)) {
        return Health::degraded(failed.text());
    }
    if let Some(rollout) = find_condition(object, "RolloutProgressing").filter(|condition| condition.is_true()) {
        return Health::progressing(rollout.text());
    }
    match find_condition(object, "ResourcesUpToDate") {
        Some(current) if current.is_true() => Health::healthy(),
        Some(current) => Health::progressing(current.text()),
        None => Health::progressing("waiting for the ApplicationSet to be reconciled"),
    }
}

fn is_error(condition: &Condition<'_>) -> bool {
    condition.kind == "ParametersGenerated" || condition.reason.contains("Error")
}

/// GitOps Promoter: whether it could do its work (`Ready`), and then how far the promotion is.
///
/// What gates a commit says so environment by environment, or application by application; strategies and policies repeat it of the
/// commit that is active and of the one that is proposed.
pub(super) fn promoter(object: &Object) -> Health {
    let Some(ready) = find_condition(object, "Ready") else {
        return Health::progressing("waiting for its controller");
    };
    if behind(object) {
        return Health::progressing(UNOBSERVED);
    }
    if ready.is_false() && ready.reason == "ReconciliationError" {
        return Health::degraded(ready.text());
    }
    if !ready.is_true() {
        return Health::progressing(ready.text());
    }
    let (phases, under_way) = gates(object);
    let gate = |wanted: &str| phases.iter().find(|(_, phase)| *phase == wanted).map(|(gate, _)| *gate);
    if let Some(gate) = gate("failure") {
        return Health::degraded(format!("{gate} failed").trim_start());
    }
    if let Some(gate) = gate("pending") {
        return Health::progressing(format!("{gate} pending").trim_start());
    }
    // What is proposed is held up by its own gates; the environment is as it was.
    under_way.map_or_else(Health::healthy, Health::progressing)
}

/// Whether what is said is about an older generation.
fn behind(object: &Object) -> bool {
    is_behind(object) || object.at("/status").is_some_and(|status| part_is_behind(object, status))
}

/// What decides about what is active, and where each of them stands; and what is still to be promoted.
fn gates(object: &Object) -> (Vec<(&str, &str)>, Option<String>) {
    fn field<'a>(value: &'a Value, field: &str) -> &'a str {
        value.get(field).and_then(Value::as_str).unwrap_or_default()
    }
    let mut gates = vec![("", text(object, "/status/phase"))];
    for application in list(object, "/status/applicationsSelected") {
        gates.push((field(application, "name"), field(application, "phase")));
    }
    let environments = list(object, "/status/environments");
    gates.extend(environments.iter().map(|environment| (field(environment, "branch"), field(environment, "phase"))));
    let mut under_way = None;
    for place in environments.iter().chain(object.at("/status")) {
        let statuses = |side: &str| place.pointer(&format!("/{side}/commitStatuses")).and_then(Value::as_array);
        let of = |side: &str| statuses(side).into_iter().flatten().map(|s| (field(s, "key"), field(s, "phase")));
        gates.extend(of("active"));
        let sha = |side: &str| place.pointer(&format!("/{side}/dry/sha"));
        if sha("proposed") != sha("active") {
            let held = of("proposed").find(|(_, phase)| *phase != "success");
            under_way = Some(
                held.map_or("a promotion is under way".into(), |(key, phase)| format!("promotion: {key} {phase}")),
            );
        }
    }
    (gates, under_way)
}

/// Numaflow: while it runs, a condition that is false says what does not.
pub(super) fn numaflow(object: &Object, now: Timestamp) -> Health {
    let wrong = conditions(object).find(|condition| condition.is_false());
    let message = || match text(object, "/status/message") {
        "" => text(object, "/status/phase"),
        message => message,
    };
    match (text(object, "/status/phase"), wrong) {
        _ if behind(object) => Health::progressing(UNOBSERVED),
        ("Failed", _) => Health::degraded(message()),
        // Git wants it paused.
        ("Paused", _) => Health::healthy(),
        ("Running", Some(wrong)) if matches!(wrong.reason, "Progressing" | "Pending") => {
            Health::progressing(wrong.text())
        }
        ("Running", Some(wrong)) => {
            let said = if wrong.text().is_empty() { wrong.kind } else { wrong.text() };
            Health::degraded(said).after(GRACE, wrong.since.or_else(|| object.created_at()), now)
        }
        ("Running", None) => Health::healthy(),
        ("", _) => Health::progressing("waiting for its controller"),
        _ => Health::progressing(message()),
    }
}
