//! OpenShift, its Operator Lifecycle Manager, and Open Cluster Management.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{
    AVAILABLE_PROGRESSING_DEGRADED, Family, OBSERVED, ask, behind_in, by, fewer, flag, is, list, no, otherwise,
    present, rest, rule, when, worst, yes,
};
use crate::health::{Health, apps, condition};

pub(super) const FAMILY: Family = Family {
    name: "OpenShift",
    rules: &[
        rule("apps.openshift.io", &["DeploymentConfig"], &[by(apps::deployment)]),
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
                yes("InstallPlanPending", Suspended).only(&["RequiresApproval"]).says("waiting for approval"),
                yes("CatalogSourcesUnhealthy", Degraded),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
    ],
};

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
            &["ConfigurationPolicy", "Policy"],
            &[
                flag("/spec/disabled", Suspended).says("disabled"),
                is("/status/compliant", &["Compliant"], Healthy),
                is("/status/compliant", &["NonCompliant"], Degraded),
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
