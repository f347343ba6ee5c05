//! OpenShift, its Operator Lifecycle Manager, and Open Cluster Management.

use jiff::Timestamp;
use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{
    AVAILABLE_PROGRESSING_DEGRADED, Family, Line, OBSERVED, UNOBSERVED, ask, behind, behind_in, by_age, fewer, flag,
    is, list, no, otherwise, present, rest, rule, when, worst, yes,
};
use crate::health::{Condition, GRACE, Health, condition, find_condition, is_behind, number};

pub(super) const FAMILY: Family = Family {
    name: "OpenShift",
    rules: &[
        rule("apps.openshift.io", &["DeploymentConfig"], &[by_age(deployment_config)]),
        rule(
            "build.openshift.io",
            &["Build"],
            &[
                is("/status/phase", &["Complete"], Healthy),
                is("/status/phase", &["Failed", "Error", "Cancelled"], Degraded)
                    .details(&["/status/message", "/status/reason"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("config.openshift.io", &["ClusterOperator"], AVAILABLE_PROGRESSING_DEGRADED),
        rule(
            "config.openshift.io",
            &["ClusterVersion"],
            &[
                OBSERVED,
                yes("Failing", Degraded),
                yes("Progressing", Progressing),
                no("Available", Degraded),
                yes("Available", Healthy),
                rest("Available"),
            ],
        ),
        rule(
            "hive.openshift.io",
            &["ClusterDeployment"],
            &[
                yes("ProvisionStopped", Degraded),
                yes("ProvisionFailed", Degraded),
                yes("Hibernating", Suspended),
                flag("/spec/installed", Healthy),
                rest("Provisioned"),
            ],
        ),
        rule("imageregistry.operator.openshift.io", &["Config"], AVAILABLE_PROGRESSING_DEGRADED),
        rule(
            "machine.openshift.io",
            &["Machine"],
            &[
                present("/status/errorMessage", Degraded),
                is("/status/phase", &["Failed"], Degraded),
                is("/status/phase", &["Running"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "machine.openshift.io",
            &["MachineSet"],
            &[
                present("/status/errorMessage", Degraded),
                OBSERVED,
                fewer("/status/readyReplicas", "/spec/replicas"),
                otherwise(Healthy),
            ],
        ),
        rule(
            "machineconfiguration.openshift.io",
            &["MachineConfigPool"],
            &[
                flag("/spec/paused", Suspended).says("paused"),
                OBSERVED,
                yes("Degraded", Degraded),
                yes("NodeDegraded", Degraded),
                yes("RenderDegraded", Degraded),
                yes("Updating", Progressing),
                yes("Updated", Healthy),
                rest("Updated"),
            ],
        ),
        rule(
            "nmstate.io",
            &["NodeNetworkConfigurationPolicy"],
            &[yes("Degraded", Degraded), yes("Available", Healthy), yes("Ignored", Healthy), rest("Progressing")],
        ),
        rule(
            "oadp.openshift.io",
            &["DataProtectionApplication"],
            &[yes("Reconciled", Healthy), no("Reconciled", Degraded), rest("Reconciled")],
        ),
        rule(
            "operator.openshift.io",
            &["IngressController"],
            &[
                OBSERVED,
                no("Admitted", Degraded),
                yes("Degraded", Degraded),
                yes("Progressing", Progressing),
                no("Available", Degraded),
                // What it has and what it asked the cloud for are two things.
                no("DeploymentReplicasAllAvailable", Progressing),
                no("LoadBalancerReady", Progressing),
                no("DNSReady", Progressing),
                yes("Available", Healthy),
                rest("Available"),
            ],
        ),
        rule("route.openshift.io", &["Route"], &[ask(route)]),
        rule(
            "sriovnetwork.openshift.io",
            &["SriovNetworkNodeState"],
            &[
                is("/status/syncStatus", &["Succeeded"], Healthy),
                is("/status/syncStatus", &["Failed"], Degraded).details(&["/status/lastSyncError"]),
                otherwise(Progressing).details(&["/status/syncStatus"]),
            ],
        ),
        rule(
            "template.openshift.io",
            &["TemplateInstance"],
            &[yes("InstantiateFailure", Degraded), yes("Ready", Healthy), rest("Ready")],
        ),
    ],
};

pub(super) const OLM: Family = Family {
    name: "Operator Lifecycle Manager",
    rules: &[
        rule(
            "olm.operatorframework.io",
            &["ClusterCatalog"],
            &[no("Progressing", Degraded).only(&["Blocked"]), yes("Serving", Healthy), rest("Progressing")],
        ),
        rule(
            "olm.operatorframework.io",
            &["ClusterExtension"],
            &[
                no("Progressing", Degraded).only(&["Blocked"]),
                yes("Progressing", Progressing).except(&["Succeeded"]),
                yes("Installed", Healthy),
                rest("Installed"),
            ],
        ),
        rule(
            "operators.coreos.com",
            &["CatalogSource"],
            &[
                present("/status/reason", Degraded).details(&["/status/message"]),
                is("/status/connectionState/lastObservedState", &["READY"], Healthy),
                otherwise(Progressing).details(&["/status/connectionState/lastObservedState"]),
            ],
        ),
        rule(
            "operators.coreos.com",
            &["ClusterServiceVersion"],
            &[
                is("/status/phase", &["Succeeded"], Healthy),
                is("/status/phase", &["Failed"], Degraded).details(&["/status/message", "/status/reason"]),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule(
            "operators.coreos.com",
            &["InstallPlan"],
            &[
                is("/status/phase", &["Complete"], Healthy),
                is("/status/phase", &["Failed"], Degraded)
                    .details(&["/status/message", "/status/conditions/0/message"]),
                is("/status/phase", &["RequiresApproval"], Suspended).says("waiting for approval"),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "operators.coreos.com",
            &["Subscription"],
            &[
                yes("ResolutionFailed", Degraded),
                yes("BundleUnpackFailed", Degraded),
                yes("InstallPlanFailed", Degraded),
                is("/status/state", &["AtLatestKnown"], Healthy),
                // The installed version runs, and a newer one waits for somebody; without one, nothing runs.
                ask(waits_for_approval),
                yes("CatalogSourcesUnhealthy", Degraded),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
    ],
};

const POLICY: &[Line] = &[
    flag("/spec/disabled", Suspended).says("disabled"),
    OBSERVED,
    behind("/status/lastEvaluatedGeneration"),
    is("/status/compliant", &["Compliant"], Healthy),
    is("/status/compliant", &["NonCompliant"], Degraded),
    otherwise(Progressing).details(&["/status/compliant"]),
];

pub(super) const ACM: Family = Family {
    name: "Open Cluster Management",
    rules: &[
        rule(
            "addon.open-cluster-management.io",
            &["ManagedClusterAddOn"],
            &[yes("Degraded", Degraded), yes("Available", Healthy), no("Available", Degraded), rest("Available")],
        ),
        rule(
            "cluster.open-cluster-management.io",
            &["ManagedCluster"],
            &[
                no("HubAcceptedManagedCluster", Suspended),
                yes("ManagedClusterConditionAvailable", Healthy),
                no("ManagedClusterConditionAvailable", Degraded),
                // It has not been heard of for some time.
                when("ManagedClusterConditionAvailable", "Unknown", Degraded),
                otherwise(Progressing).says("waiting for the cluster to join"),
            ],
        ),
        rule(
            "cluster.open-cluster-management.io",
            &["Placement"],
            &[yes("PlacementMisconfigured", Degraded), yes("PlacementSatisfied", Healthy), rest("PlacementSatisfied")],
        ),
        rule(
            "operator.open-cluster-management.io",
            &["MultiClusterHub"],
            &[
                is("/status/phase", &["Running"], Healthy),
                is("/status/phase", &["Error"], Degraded),
                is("/status/phase", &["Paused"], Suspended).says("paused"),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "policy.open-cluster-management.io",
            &["CertificatePolicy", "ConfigurationPolicy", "OperatorPolicy"],
            POLICY,
        ),
        rule(
            "policy.open-cluster-management.io",
            &["Policy"],
            &[
                // Git wants it disabled.
                flag("/spec/disabled", Healthy),
                is("/status/compliant", &["Compliant"], Healthy),
                is("/status/compliant", &["NonCompliant"], Degraded),
                ask(selects_no_cluster),
                otherwise(Progressing).details(&["/status/compliant"]),
            ],
        ),
        rule(
            "work.open-cluster-management.io",
            &["ManifestWork"],
            &[
                behind_in("Applied"),
                no("Applied", Degraded),
                no("Available", Progressing),
                yes("Available", Healthy),
                rest("Applied"),
            ],
        ),
    ],
};

/// Each router that has taken the route says whether it admits it.
fn route(object: &Object) -> Option<Health> {
    let routers = list(object, "/status/ingress").iter().map(|router| {
        let admitted = router.get("conditions").and_then(Value::as_array).into_iter().flatten().map(condition);
        match admitted.into_iter().find(|condition| condition.kind == "Admitted") {
            Some(admitted) if admitted.is_true() => Health::healthy(),
            Some(admitted) if admitted.is_false() => Health::degraded(admitted.text()),
            _ => Health::progressing("waiting to be admitted"),
        }
    });
    worst(routers).or_else(|| Some(Health::progressing("waiting for a router to take it")))
}

/// Like a Deployment, with conditions of its own: whether enough pods run, and whether the newest version is the one that does.
fn deployment_config(object: &Object, now: Timestamp) -> Health {
    if object.at("/spec/paused") == Some(&Value::Bool(true)) {
        return Health::suspended("paused");
    }
    if object.at("/status").is_none_or(Value::is_null) || is_behind(object) {
        return Health::progressing(UNOBSERVED);
    }
    let (available, progress) = (find_condition(object, "Available"), find_condition(object, "Progressing"));
    if let Some(failed) = progress.filter(Condition::is_false) {
        return Health::degraded(failed.text());
    }
    let replicas = number(object, "/status/replicas").unwrap_or(0);
    if replicas == 0 && number(object, "/spec/replicas").unwrap_or(0) == 0 {
        return Health::healthy();
    }
    if available.is_none() && progress.is_none() {
        let (updated, ready) = (number(object, "/status/updatedReplicas"), number(object, "/status/availableReplicas"));
        let (wanted, least) = (number(object, "/spec/replicas").unwrap_or(1), updated.min(ready).unwrap_or(0));
        let is_there = least >= wanted;
        let message = format!("{least} of {wanted} replicas updated and available");
        return if is_there { Health::healthy() } else { Health::progressing(message) };
    }
    let is_available = available.is_some_and(|available| available.is_true());
    let is_newest = progress.is_some_and(|progress| progress.reason == "NewReplicationControllerAvailable");
    match (available, progress) {
        _ if is_available && is_newest => Health::healthy(),
        (Some(available), _) if !is_available && !is_newest => {
            Health::degraded(available.text()).after(GRACE, available.since.or_else(|| object.created_at()), now)
        }
        (_, Some(progress)) if is_available => Health::progressing(progress.text()),
        (Some(available), _) => Health::progressing(available.text()),
        (None, _) => Health::progressing("waiting for its pods"),
    }
}

fn waits_for_approval(object: &Object) -> Option<Health> {
    let pending = find_condition(object, "InstallPlanPending")?;
    (pending.is_true() && pending.reason == "RequiresApproval").then(|| {
        if object.at("/status/installedCSV").is_some() {
            Health::healthy()
        } else {
            Health::progressing("waiting for approval")
        }
    })
}

/// Where its placements have decided, and for no cluster, there is nothing that could comply.
fn selects_no_cluster(object: &Object) -> Option<Health> {
    let placements = list(object, "/status/placement");
    let decides =
        |placement: &Value| placement.get("decisions").and_then(Value::as_array).is_some_and(|d| !d.is_empty());
    let nothing = !placements.is_empty()
        && !placements.iter().any(decides)
        && list(object, "/status/status").is_empty()
        && object.at("/status/compliant").is_none();
    nothing.then(Health::healthy)
}
