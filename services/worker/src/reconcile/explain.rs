//! Why a workload is not well: which of its pods cannot start, and for what reason.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::health::Health;
use jiff::Timestamp;
use resources::{HealthStatus, Object, ObjectKey};
use serde_json::Value;

use super::Pass;
use super::compare::{Comparison, Resource};

/// So many workloads of an application are looked into: the first ones tell enough.
const MOST: usize = 3;
/// What pods say is asked for again after so long.
const LIFETIME: Duration = Duration::from_secs(4);
/// The kinds that have pods and a selector for them.
const WORKLOADS: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Rollout"];

/// What was found of workloads, and when.
pub type Causes = HashMap<ObjectKey, (Instant, Option<String>)>;

/// Adds to the health of workloads what their pods say. What cannot be asked for is left out.
pub async fn explain(pass: &Pass<'_>, comparison: &mut Comparison) {
    let resources = &comparison.resources;
    let places = (0..resources.len()).filter(|&place| is_unwell(&resources[place])).take(MOST);
    let places: Vec<usize> = places.collect();
    if places.is_empty() {
        pass.managed.state().causes = None;
        return;
    }
    let mut known = pass.managed.state().causes.take().unwrap_or_default();
    known.retain(|_, (at, _)| at.elapsed() < LIFETIME);
    let resources = Arc::make_mut(&mut comparison.resources);
    for place in places {
        let resource = &mut resources[place];
        let Some(live) = resource.live.clone() else { continue };
        let (_, cause) = match known.get(&resource.key) {
            Some(known) => known.clone(),
            None => {
                let asked = (Instant::now(), worst_pod(pass, &live).await);
                known.insert(resource.key.clone(), asked.clone());
                asked
            }
        };
        let Some(cause) = cause else { continue };
        let Some(health) = &mut Arc::make_mut(resource).health else { continue };
        let before = if health.message.is_empty() { String::new() } else { format!("{}; ", health.message) };
        health.message = format!("{before}{cause}");
    }
    if !known.is_empty() {
        pass.managed.state().causes = Some(known);
    }
    comparison.judge();
}

fn is_unwell(resource: &Resource) -> bool {
    let unwell = |health: &Health| matches!(health.status, HealthStatus::Degraded | HealthStatus::Progressing);
    WORKLOADS.contains(&resource.key.kind.as_str()) && resource.health.as_ref().is_some_and(unwell)
}

async fn worst_pod(pass: &Pass<'_>, workload: &Object) -> Option<String> {
    let labels = workload.at("/spec/selector/matchLabels").and_then(Value::as_object)?;
    let selector: Vec<String> =
        labels.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    if selector.is_empty() {
        return None;
    }
    let kind = pass.ctx.cluster.kind("", Some("v1"), "Pod").await.ok()??;
    let pods = pass.ctx.cluster.list(&kind, Some(workload.namespace()), Some(&selector.join(","))).await.ok()?;
    let telling = pods.iter().filter(|pod| !pod.is_being_deleted()).filter_map(|pod| {
        let health = engine::health::health(pod, Timestamp::now()).filter(tells_something)?;
        Some((health.status, format!("{}: {}", pod.key(), health.message)))
    });
    telling.max_by_key(|(status, _)| *status).map(|(_, sentence)| sentence)
}

/// A pod that is on its way says nothing that the workload does not say itself.
fn tells_something(health: &Health) -> bool {
    match health.status {
        HealthStatus::Degraded => true,
        HealthStatus::Progressing => health.message.contains("cannot") || health.message.contains("keeps"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_cause_is_told() {
        for (status, message, told) in [
            (HealthStatus::Degraded, "container main cannot pull image x", true),
            (HealthStatus::Progressing, "cannot be scheduled: 0/1 nodes are available", true),
            (HealthStatus::Progressing, "waiting for main", false),
            (HealthStatus::Progressing, "pending", false),
            (HealthStatus::Healthy, "", false),
        ] {
            assert_eq!(tells_something(&Health::new(status, message)), told, "{message}");
        }
    }
}
