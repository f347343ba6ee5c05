//! Rollouts of Argo Rollouts, of every version: those since 1.0 say a phase, older ones have to be read from their parts.

use resources::Object;
use serde_json::Value;

use super::rule::{UNOBSERVED, list};
use super::{Condition, Health, find_condition, number, text};

const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";

pub(super) fn rollout(object: &Object) -> Health {
    if let Some(invalid) = find_condition(object, "InvalidSpec").filter(Condition::is_true) {
        return Health::degraded(invalid.text());
    }
    if !is_seen(object) {
        return Health::progressing(UNOBSERVED);
    }
    let is_on = |at: &str| object.at(at) == Some(&Value::Bool(true));
    if is_on("/spec/paused") {
        return Health::suspended("paused");
    }
    let (phase, message) = (text(object, "/status/phase"), text(object, "/status/message"));
    let said = if message.is_empty() { phase.to_owned() } else { format!("{phase}: {message}") };
    match phase {
        "" => {}
        "Healthy" => return Health::healthy(),
        "Degraded" => return Health::degraded(said),
        "Paused" => return Health::suspended(said),
        _ => return Health::progressing(said),
    }
    let ended = find_condition(object, "Progressing")
        .filter(|progress| matches!(progress.reason, "RolloutAborted" | "ProgressDeadlineExceeded"));
    if let Some(ended) = ended {
        return Health::degraded(ended.text());
    }
    if is_on("/status/abort") {
        return Health::degraded("aborted");
    }
    if !list(object, "/status/pauseConditions").is_empty() || is_on("/status/controllerPause") {
        return Health::suspended("paused");
    }
    counted(object).unwrap_or_else(|| switched(object))
}

/// Whether the controller has seen the newest spec, and that of the workload that it refers to.
///
/// The generation is a text; very old versions wrote a hash, which says nothing, also where it looks like a number.
fn is_seen(object: &Object) -> bool {
    if object.at("/status").is_none_or(Value::is_null) {
        return false;
    }
    let seen = match object.at("/status/observedGeneration") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
        None => None,
    };
    if let (Some(seen), Some(newest)) = (seen, number(object, "/metadata/generation"))
        && seen < newest
    {
        return false;
    }
    let refers = object.at("/spec/workloadRef").is_some_and(|reference| !reference.is_null());
    let seen = object.at("/status/workloadObservedGeneration").map(|seen| match seen {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    match object.annotation(WORKLOAD_GENERATION) {
        Some(newest) if refers => seen.as_deref() == Some(newest),
        _ => true,
    }
}

fn counted(object: &Object) -> Option<Health> {
    let count = |field: &str| number(object, field).unwrap_or(0);
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let (updated, available) = (count("/status/updatedReplicas"), count("/status/availableReplicas"));
    if updated < wanted {
        return Some(Health::progressing(format!("{updated} of {wanted} replicas updated")));
    }
    (available < updated).then(|| Health::progressing(format!("{available} of {updated} replicas available")))
}

/// Whether the newest pods are those that serve.
fn switched(object: &Object) -> Health {
    let newest = text(object, "/status/currentPodHash");
    if object.at("/spec/strategy/blueGreen").is_some() {
        let serves = !newest.is_empty() && text(object, "/status/blueGreen/activeSelector") == newest;
        return if serves { Health::healthy() } else { Health::progressing("the new pods do not serve yet") };
    }
    let stable = match text(object, "/status/stableRS") {
        "" => text(object, "/status/canary/stableRS"),
        stable => stable,
    };
    if !newest.is_empty() && stable == newest {
        Health::healthy()
    } else {
        Health::progressing("the new pods are not the stable ones yet")
    }
}
