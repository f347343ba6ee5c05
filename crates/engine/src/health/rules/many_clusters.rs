//! What spreads applications over clusters, or makes the clusters: Karmada, Gardener.

use jiff::Timestamp;
use resources::HealthStatus::{Degraded, Healthy, Progressing, Unknown};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{Family, Line, UNOBSERVED, behind, by_age, flag, is, item, list, otherwise, rule};
use crate::health::{Condition, GRACE, Health, find_condition, number};

/// Gardener sums its conditions and last operation up in a label.
const SHOOT: &[Line] = &[
    behind("/status/observedGeneration"),
    is(STATUS, &["healthy"], Healthy),
    is(STATUS, &["progressing"], Progressing).details(OPERATION),
    is(STATUS, &["unhealthy"], Degraded).details(OPERATION),
    is(STATUS, &["unknown"], Unknown).details(OPERATION),
    is("/status/lastOperation/state", &["Aborted", "Error", "Failed"], Degraded).details(OPERATION),
    is("/status/lastOperation/state", &["Pending", "Processing"], Progressing).details(OPERATION),
    flag("/status/hibernated", Healthy),
    item("/status/conditions", &[("status", "False")], Degraded),
    item("/status/conditions", &[("status", "Progressing")], Progressing),
    item("/status/conditions", &[("status", "Unknown")], Unknown),
    is("/status/lastOperation/state", &["Succeeded"], Healthy),
    otherwise(Progressing),
];
const STATUS: &str = "/metadata/labels/shoot.gardener.cloud~1status";
const OPERATION: &[&str] = &["/status/lastErrors/0/description", "/status/lastOperation/description"];

const BINDING: &[Line] = &[by_age(binding)];

pub(super) const FAMILY: Family = Family {
    name: "Karmada, Gardener",
    rules: &[
        rule("core.gardener.cloud", &["Shoot"], SHOOT),
        rule("work.karmada.io", &["ClusterResourceBinding", "ResourceBinding"], BINDING),
    ],
};

/// Where a resource was to go, whether it could be put there, and how well it is in each cluster.
fn binding(object: &Object, now: Timestamp) -> Health {
    if object.at("/status").is_none_or(Value::is_null) {
        return Health::progressing("waiting to be scheduled");
    }
    let newest = number(object, "/metadata/generation");
    if let (Some(newest), Some(seen)) = (newest, number(object, "/status/schedulerObservedGeneration"))
        && seen < newest
    {
        return Health::progressing(UNOBSERVED);
    }
    let is_false = |kind: &str| find_condition(object, kind).filter(Condition::is_false);
    if let Some(refused) = is_false("Scheduled").or_else(|| is_false("FullyApplied")) {
        let since = refused.since.or_else(|| object.created_at());
        return Health::degraded(refused.text()).after(GRACE, since, now);
    }
    let (clusters, known) = (list(object, "/spec/clusters"), list(object, "/status/aggregatedStatus"));
    for cluster in known {
        let field = |field: &str| cluster.get(field).and_then(Value::as_str).unwrap_or_default();
        let said = |words: &str| match field("appliedMessage") {
            "" => format!("cluster {}: {words}", field("clusterName")),
            message => format!("cluster {}: {message}", field("clusterName")),
        };
        if cluster.get("applied") == Some(&Value::Bool(false)) {
            return Health::degraded(said("not applied")).after(GRACE, object.created_at(), now);
        }
        match field("health") {
            "Unhealthy" => return Health::degraded(said("unhealthy")).after(GRACE, object.created_at(), now),
            "Unknown" => return Health::progressing(said("its health is not known yet")),
            _ => {}
        }
    }
    if known.is_empty() || known.len() < clusters.len() {
        return Health::progressing(format!("{} of {} clusters have answered", known.len(), clusters.len()));
    }
    Health::healthy()
}
