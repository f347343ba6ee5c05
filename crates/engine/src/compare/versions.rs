//! Versions of one kind that say the same in other words. A HorizontalPodAutoscaler is written as `autoscaling/v1` by many and
//! served as `autoscaling/v2` by all; both are compared as v2. Other kinds whose versions differ are a doubt, and the API server,
//! which converts them, has the word.

use std::borrow::Cow;

use resources::Object;
use serde_json::{Map, Value, json};

/// Where `autoscaling/v1` keeps what it has no field for.
const METRICS_NOTE: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// Where it shows parts of the status.
const STATUS_NOTES: [&str; 2] =
    ["autoscaling.alpha.kubernetes.io/conditions", "autoscaling.alpha.kubernetes.io/current-metrics"];
const V2: &str = "autoscaling/v2";

/// The two objects in one version. `None`: they are in different ones, and it is not known how to convert them.
pub(super) fn in_one_version<'o>(desired: &'o Object, live: &'o Object) -> Option<(Cow<'o, Object>, Cow<'o, Object>)> {
    if desired.version() == live.version() {
        return Some((Cow::Borrowed(desired), Cow::Borrowed(live)));
    }
    let autoscaler = |object: &Object| object.group() == "autoscaling" && object.kind() == "HorizontalPodAutoscaler";
    if !autoscaler(desired) || !autoscaler(live) {
        return None;
    }
    Some((Cow::Owned(upgraded(desired)?), Cow::Owned(upgraded(live)?)))
}

/// The autoscaler as `autoscaling/v2`.
pub(super) fn upgraded(object: &Object) -> Option<Object> {
    let mut object = object.clone();
    match object.version() {
        "v2" => return Some(object),
        "v2beta2" => {}
        "v2beta1" => {
            if let Some(metrics) = object.0.pointer_mut("/spec/metrics").and_then(Value::as_array_mut) {
                *metrics = metrics.iter().map(from_v2beta1).collect::<Option<_>>()?;
            }
        }
        "v1" if object.annotation(METRICS_NOTE).is_none() => {
            if let Some(notes) = object.0.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                notes.retain(|name, _| !STATUS_NOTES.contains(&name.as_str()));
            }
            if let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut)
                && let Some(percentage) = spec.shift_remove("targetCPUUtilizationPercentage")
                && !percentage.is_null()
            {
                let target = json!({"type": "Utilization", "averageUtilization": percentage});
                let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
                spec.insert("metrics".into(), Value::Array(vec![metric]));
            }
        }
        _ => return None,
    }
    object.0["apiVersion"] = V2.into();
    Some(object)
}

/// One metric of `autoscaling/v2beta1`, which has the target's fields beside the source's.
fn from_v2beta1(metric: &Value) -> Option<Value> {
    let r#type = metric.get("type")?.as_str()?;
    let mut field = r#type.to_owned();
    field.get_mut(..1)?.make_ascii_lowercase();
    let source = metric.get(&field)?.as_object()?;
    let get = |name: &str| source.get(name).filter(|value| !value.is_null()).cloned();
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.into(), value);
        }
    };
    let average = |name: &str| get(name).map(|value| json!({"type": "AverageValue", "averageValue": value}));
    match r#type {
        "Resource" | "ContainerResource" => {
            put("name", get("name"));
            put("container", get("container"));
            let utilization = get("targetAverageUtilization")
                .map(|value| json!({"type": "Utilization", "averageUtilization": value}));
            put("target", utilization.or_else(|| average("targetAverageValue")));
        }
        "Pods" | "Object" | "External" => {
            let mut name = Map::new();
            name.insert("name".into(), get("metricName")?);
            if let Some(selector) = get("selector").or_else(|| get("metricSelector")) {
                name.insert("selector".into(), selector);
            }
            put("metric", Some(Value::Object(name)));
            put("describedObject", get("target"));
            let value = || get("targetValue").map(|value| json!({"type": "Value", "value": value}));
            put("target", average("targetAverageValue").or_else(|| average("averageValue")).or_else(value));
        }
        _ => return None,
    }
    Some(json!({"type": r#type, field: out}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(version: &str, spec: Value) -> Object {
        Object(json!({
            "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec
        }))
    }

    #[test]
    fn metrics_in_every_version() {
        let cpu = json!([{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}
        }}]);
        let pods = json!([{"type": "Pods", "pods": {
            "metric": {"name": "rate", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "1k"}
        }}]);
        let object = json!([{"type": "Object", "object": {
            "metric": {"name": "rate"}, "describedObject": {"kind": "Ingress", "name": "a"},
            "target": {"type": "Value", "value": "10"}
        }}]);
        let external = json!([{"type": "External", "external": {
            "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "30"}
        }}]);
        for (version, spec, want) in [
            ("v1", json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}), Some(&cpu)),
            ("v1", json!({"maxReplicas": 3}), None),
            ("v2beta2", json!({"metrics": cpu}), Some(&cpu)),
            (
                "v2beta1",
                json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 80}}]}),
                Some(&cpu),
            ),
            (
                "v2beta1",
                json!({"metrics": [{"type": "Pods", "pods": {
                    "metricName": "rate", "targetAverageValue": "1k", "selector": {"matchLabels": {"a": "b"}}
                }}]}),
                Some(&pods),
            ),
            (
                "v2beta1",
                json!({"metrics": [{"type": "Object", "object": {
                    "metricName": "rate", "target": {"kind": "Ingress", "name": "a"}, "targetValue": "10"
                }}]}),
                Some(&object),
            ),
            (
                "v2beta1",
                json!({"metrics": [{"type": "External", "external": {
                    "metricName": "queue", "metricSelector": {"matchLabels": {"a": "b"}}, "targetAverageValue": "30"
                }}]}),
                Some(&external),
            ),
        ] {
            let got = upgraded(&autoscaler(version, spec.clone())).unwrap();
            assert_eq!(got.at("/spec/metrics"), want, "{version} {spec}");
            assert_eq!(got.version(), "v2");
            assert!(got.at("/spec/targetCPUUtilizationPercentage").is_none());
        }
    }

    #[test]
    fn notes_about_the_status_are_dropped() {
        let mut object = autoscaler("v1", json!({}));
        object.set_annotation("autoscaling.alpha.kubernetes.io/conditions", "[]");
        object.set_annotation("team", "shop");
        let got = upgraded(&object).unwrap();
        assert_eq!(got.at("/metadata/annotations"), Some(&json!({"team": "shop"})));
    }

    #[test]
    fn what_cannot_be_converted() {
        let mut noted = autoscaler("v1", json!({}));
        noted.set_annotation(METRICS_NOTE, "[]");
        let unknown = autoscaler("v2beta1", json!({"metrics": [{"type": "Other", "other": {}}]}));
        let v2 = autoscaler("v2", json!({}));
        for object in [noted, unknown, autoscaler("v3", json!({}))] {
            assert!(in_one_version(&object, &v2).is_none(), "{object:?}");
        }
        let crd = |version: &str| Object(json!({"apiVersion": format!("a.b/{version}"), "kind": "A"}));
        assert!(in_one_version(&crd("v1"), &crd("v2")).is_none());
        assert!(in_one_version(&crd("v1"), &crd("v1")).is_some());
    }
}
