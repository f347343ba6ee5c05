//! The workload kinds of `apps`, as `kubectl rollout status` judges them.

use resources::Object;

use super::rule::UNOBSERVED;
use super::{Health, find_condition, is_unobserved, number, text};

fn count(object: &Object, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or(0)
}

fn pods(count: i64, of: i64, what: &str) -> String {
    format!("{count} of {of} {} {what}", if of == 1 { "replica" } else { "replicas" })
}

pub(super) fn deployment(object: &Object) -> Health {
    if object.at("/spec/paused") == Some(&true.into()) {
        return Health::suspended("paused");
    }
    if is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    let failure = find_condition(object, "ReplicaFailure").filter(|condition| condition.is_true());
    let because = |message: String| match failure {
        Some(failure) => format!("{message}: {}", failure.text()),
        None => message,
    };
    if let Some(progress) = find_condition(object, "Progressing")
        && progress.reason == "ProgressDeadlineExceeded"
    {
        let message = if progress.message.is_empty() { "exceeded its progress deadline" } else { progress.message };
        return Health::degraded(because(message.into()));
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let (updated, all, available) =
        (count(object, "updatedReplicas"), count(object, "replicas"), count(object, "availableReplicas"));
    if updated < wanted {
        Health::progressing(because(pods(updated, wanted, "updated")))
    } else if all > updated {
        let old = all - updated;
        Health::progressing(format!("{old} old {} still to go", if old == 1 { "replica" } else { "replicas" }))
    } else if available < updated {
        Health::progressing(because(pods(available, updated, "available")))
    } else {
        Health::healthy()
    }
}

pub(super) fn stateful_set(object: &Object) -> Health {
    if is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "readyReplicas");
    if ready < wanted {
        return Health::progressing(pods(ready, wanted, "ready"));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy();
    }
    let updated = count(object, "updatedReplicas");
    // The API server fills in the partition 0, so only objects that it has not stored are judged by their revisions.
    if let Some(partition) = number(object, "/spec/updateStrategy/rollingUpdate/partition") {
        let to_update = (wanted - partition).max(0);
        let what = if partition > 0 { format!("updated (partition {partition})") } else { "updated".into() };
        let done = updated >= to_update;
        return if done { Health::healthy() } else { Health::progressing(pods(updated, to_update, &what)) };
    }
    if text(object, "/status/updateRevision") != text(object, "/status/currentRevision") {
        return Health::progressing(pods(updated, wanted, "updated"));
    }
    Health::healthy()
}

pub(super) fn daemon_set(object: &Object) -> Health {
    if is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy();
    }
    let wanted = count(object, "desiredNumberScheduled");
    let (updated, available) = (count(object, "updatedNumberScheduled"), count(object, "numberAvailable"));
    let nodes =
        |count: i64, what: &str| format!("{count} of {wanted} {} {what}", if wanted == 1 { "pod" } else { "pods" });
    if updated < wanted {
        Health::progressing(nodes(updated, "updated"))
    } else if available < wanted {
        Health::progressing(nodes(available, "available"))
    } else {
        Health::healthy()
    }
}

pub(super) fn replica_set(object: &Object) -> Health {
    if is_unobserved(object) {
        return Health::progressing(UNOBSERVED);
    }
    if let Some(failure) = find_condition(object, "ReplicaFailure").filter(|condition| condition.is_true()) {
        return Health::degraded(failure.text());
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let available = count(object, "availableReplicas");
    if available < wanted { Health::progressing(pods(available, wanted, "available")) } else { Health::healthy() }
}
