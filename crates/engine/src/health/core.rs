//! Services, Ingresses, volume claims, autoscalers and disruption budgets.

use jiff::{SignedDuration, Timestamp};
use resources::Object;
use serde_json::Value;

use super::rule::UNOBSERVED;
use super::{Condition, GRACE, Health, condition, conditions, find_condition, is_behind, number, text};

/// So long a provisioner has to take up a claim, which it does at once, if it does not wait for a pod.
const TAKEN_UP: SignedDuration = SignedDuration::from_mins(1);
/// What says that a provisioner has been asked for a volume: `storage-provisioner`, also in its older form, and the node it is for.
const ASKED: [&str; 3] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
];

fn has_address(object: &Object) -> bool {
    object.at("/status/loadBalancer/ingress").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

pub(super) fn service(object: &Object) -> Health {
    if text(object, "/spec/type") == "LoadBalancer" && !has_address(object) {
        return Health::progressing("waiting for the load balancer's address");
    }
    Health::healthy()
}

pub(super) fn ingress(object: &Object) -> Health {
    if has_address(object) {
        Health::healthy()
    } else {
        Health::progressing("waiting for an ingress controller to give it an address")
    }
}

pub(super) fn persistent_volume_claim(object: &Object, now: Timestamp) -> Health {
    match text(object, "/status/phase") {
        "Bound" => Health::healthy(),
        "Lost" => Health::degraded("its volume is lost"),
        "Pending" => pending_claim(object, now),
        "" => Health::progressing("waiting for its controller"),
        other => Health::progressing(other),
    }
}

/// A class with the binding mode `WaitForFirstConsumer` does nothing for a claim until a pod uses it, and the claim does not say so:
/// what tells is that no provisioner has been asked.
fn pending_claim(object: &Object, now: Timestamp) -> Health {
    let volume = text(object, "/spec/volumeName");
    if !volume.is_empty() {
        return Health::progressing(format!("waiting for the volume {volume}"));
    }
    if ASKED.into_iter().any(|annotation| object.annotation(annotation).is_some()) {
        return Health::progressing("waiting for a volume");
    }
    match object.created_at() {
        Some(made) => {
            let message = "waiting for a volume, or for the first pod that uses it";
            Health::suspended(message).after(TAKEN_UP, Some(made), now)
        }
        None => Health::progressing("waiting for a volume"),
    }
}

pub(super) fn horizontal_pod_autoscaler(object: &Object, now: Timestamp) -> Health {
    // Version 1 has no conditions of its own; the API server puts them into an annotation.
    if let Some(text) = object.annotation("autoscaling.alpha.kubernetes.io/conditions") {
        let list: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        return autoscaler(object, list.iter().map(condition), now);
    }
    autoscaler(object, conditions(object), now)
}

fn autoscaler<'a>(object: &Object, conditions: impl Iterator<Item = Condition<'a>>, now: Timestamp) -> Health {
    let mut healthy = false;
    for condition in conditions {
        match (condition.kind, condition.reason) {
            // The first metrics arrive some time after the pods, and what it scales may come with the same push.
            ("AbleToScale", "FailedGetScale" | "FailedUpdateScale")
            | ("ScalingActive", "FailedGetResourceMetric" | "FailedGetPodsMetric" | "FailedGetObjectMetric")
            | ("ScalingActive", "FailedGetExternalMetric" | "FailedGetContainerResourceMetric") => {
                let since = condition.since.or_else(|| object.created_at());
                return Health::degraded(condition.text()).after(GRACE, since, now);
            }
            ("ScalingActive", "InvalidSelector" | "InvalidMetricSourceType" | "AmbiguousSelector") => {
                return Health::degraded(condition.text());
            }
            // Switched off by scaling the target to nothing: nothing is wrong.
            ("ScalingActive", "ScalingDisabled")
            | ("AbleToScale", "SucceededRescale" | "ReadyForNewScale" | "ScaleDownStabilized")
            | ("ScalingLimited", "DesiredWithinRange" | "TooFewReplicas" | "TooManyReplicas") => healthy = true,
            _ => {}
        }
    }
    if healthy { Health::healthy() } else { Health::progressing("waiting for its first decision") }
}

/// A budget that allows no disruption is as it was asked for (one replica, of which one has to be available); one whose pods are
/// too few is not.
pub(super) fn pod_disruption_budget(object: &Object, now: Timestamp) -> Health {
    if object.at("/status").is_none_or(Value::is_null) {
        return Health::progressing("waiting for its controller");
    }
    if is_behind(object) {
        return Health::progressing(UNOBSERVED);
    }
    let Some(refused) = find_condition(object, "DisruptionAllowed").filter(Condition::is_false) else {
        return Health::healthy();
    };
    let count = |field: &str| number(object, field).unwrap_or(0);
    let (current, desired) = (count("/status/currentHealthy"), count("/status/desiredHealthy"));
    let wrong = if refused.reason == "SyncFailed" {
        Health::degraded(refused.text())
    } else if current < desired {
        Health::degraded(format!("{current} of {desired} pods that have to be healthy are"))
    } else {
        return Health::healthy();
    };
    wrong.after(GRACE, refused.since.or_else(|| object.created_at()), now)
}
