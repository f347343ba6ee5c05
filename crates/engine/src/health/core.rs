//! Services, Ingresses, volume claims and autoscalers.

use resources::Object;
use serde_json::Value;

use super::{Condition, Health, condition, conditions, text};

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

pub(super) fn persistent_volume_claim(object: &Object) -> Health {
    match text(object, "/status/phase") {
        "Bound" => Health::healthy(),
        "Lost" => Health::degraded("its volume is lost"),
        "Pending" => Health::progressing("waiting for a volume"),
        "" => Health::progressing("waiting for its controller"),
        other => Health::progressing(other),
    }
}

pub(super) fn horizontal_pod_autoscaler(object: &Object) -> Health {
    // Version 1 has no conditions of its own; the API server puts them into an annotation.
    if let Some(text) = object.annotation("autoscaling.alpha.kubernetes.io/conditions") {
        let list: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        return autoscaler(list.iter().map(condition));
    }
    autoscaler(conditions(object))
}

fn autoscaler<'a>(conditions: impl Iterator<Item = Condition<'a>>) -> Health {
    let mut healthy = false;
    for condition in conditions {
        match (condition.kind, condition.reason) {
            ("AbleToScale", "FailedGetScale" | "FailedUpdateScale")
            | ("ScalingActive", "FailedGetResourceMetric" | "FailedGetPodsMetric" | "FailedGetObjectMetric")
            | ("ScalingActive", "FailedGetExternalMetric" | "FailedGetContainerResourceMetric")
            | ("ScalingActive", "InvalidSelector" | "InvalidMetricSourceType" | "AmbiguousSelector") => {
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
