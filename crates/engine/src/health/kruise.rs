//! OpenKruise's sets of pods, which can be paused, and stopped part of the way by a partition.

use resources::Object;
use serde_json::Value;

use super::rule::UNOBSERVED;
use super::{Condition, Health, conditions, is_unobserved, number, text};

const HELD: &str = "updated as far as its partition allows";

pub(super) fn clone_set(object: &Object) -> Health {
    if object.at("/spec/updateStrategy/paused") == Some(&Value::Bool(true)) {
        return Health::suspended("paused");
    }
    if is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    let count = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let to_update = number(object, "/status/expectedUpdatedReplicas");
    let to_update = to_update.unwrap_or_else(|| wanted - partition(object, "/spec/updateStrategy/partition", wanted));
    let updated = number(object, "/status/updatedReadyReplicas")
        .or_else(|| number(object, "/status/updatedAvailableReplicas"))
        .unwrap_or(0);
    let short = if count("readyReplicas") < wanted {
        Some(format!("{} of {wanted} replicas ready", count("readyReplicas")))
    } else {
        (updated < to_update).then(|| format!("{updated} of {to_update} replicas updated"))
    };
    // A failure that has been got over stays in the conditions.
    let failed = conditions(object).find(|c| matches!(c.kind, "FailedUpdate" | "FailedScale") && c.is_true());
    match (short, failed) {
        (Some(_), Some(failed)) => Health::degraded(failure(&failed)),
        (Some(short), None) => Health::progressing(short),
        (None, _) if count("updatedReplicas") < wanted && to_update < wanted => Health::suspended(HELD),
        (None, _) => Health::healthy(),
    }
}

fn failure(condition: &Condition<'_>) -> String {
    if condition.text().is_empty() { condition.kind.into() } else { condition.text().into() }
}

pub(super) fn daemon_set(object: &Object) -> Health {
    let count = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let wanted = count("desiredNumberScheduled");
    set(object, wanted, [count("updatedNumberScheduled"), count("numberAvailable")])
}

/// Advanced StatefulSets, and the sets of game servers, which are made of them.
pub(super) fn stateful_set(object: &Object) -> Health {
    let count = |field: &str| number(object, &format!("/status/{field}"));
    let wanted = number(object, "/spec/replicas").or_else(|| count("replicas")).unwrap_or(1);
    let ready = ["readyReplicas", "availableReplicas", "updatedAvailableReplicas"].into_iter().find_map(count);
    let [current, newest] = ["/status/currentRevision", "/status/updateRevision"].map(|at| text(object, at));
    let is_one = !newest.is_empty() && current == newest;
    let updated = count("updatedReplicas").unwrap_or(if is_one { wanted } else { 0 });
    set(object, wanted, [updated, ready.unwrap_or(0)])
}

fn set(object: &Object, wanted: i64, [updated, ready]: [i64; 2]) -> Health {
    let strategy = |field: &str| object.at(&format!("/spec/updateStrategy/{field}"));
    if strategy("rollingUpdate/paused") == Some(&Value::Bool(true)) {
        return Health::suspended("paused");
    }
    if object.at("/status").is_none_or(Value::is_null) || is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    let by_hand = strategy("type").and_then(Value::as_str) == Some("OnDelete");
    let held = partition(object, "/spec/updateStrategy/rollingUpdate/partition", wanted);
    let to_update = if by_hand { 0 } else { wanted - held };
    if updated < to_update {
        Health::progressing(format!("{updated} of {to_update} pods updated"))
    } else if ready < wanted {
        Health::progressing(format!("{ready} of {wanted} pods ready"))
    } else if held > 0 && updated < wanted && !by_hand {
        Health::suspended(HELD)
    } else {
        Health::healthy()
    }
}

/// How many stay as they are: a number, or so many in a hundred.
fn partition(object: &Object, at: &str, of: i64) -> i64 {
    match object.at(at) {
        Some(Value::String(text)) => match text.strip_suffix('%') {
            Some(percent) => percent.parse::<i64>().map_or(0, |percent| (of * percent + 99) / 100),
            None => text.parse().unwrap_or(0),
        },
        Some(value) => value.as_i64().unwrap_or(0),
        None => 0,
    }
    .clamp(0, of.max(0))
}
