//! Cluster API, for both versions of its contract: v1beta1 has phases and failure messages, v1beta2 has conditions; and Metal³.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;

use crate::health::rule::{
    Family, Line, OBSERVED, ask, fewer, flag, is, item, no, otherwise, present, rest, rule, yes,
};
use crate::health::{Health, number};

const PAUSED: Line = flag("/spec/paused", Suspended).says("paused");
const FAILURE_MESSAGE: Line = present("/status/failureMessage", Degraded);
const FAILURE_REASON: Line = present("/status/failureReason", Degraded);
const FAILED: Line = is("/status/phase", &["Failed"], Degraded);
/// A false `Ready` has a severity in v1beta1: `Info` and `Warning` pass by themselves.
const ERROR: Line =
    item("/status/conditions", &[("type", "Ready"), ("status", "False"), ("severity", "Error")], Degraded);

/// Sets of machines, and control planes.
const SCALED: &[Line] = &[
    PAUSED,
    OBSERVED,
    FAILURE_MESSAGE,
    FAILURE_REASON,
    FAILED,
    ERROR,
    yes("RollingOut", Progressing),
    yes("ScalingUp", Progressing),
    yes("ScalingDown", Progressing),
    fewer("/status/readyReplicas", "/spec/replicas"),
    no("Ready", Progressing),
    no("Available", Progressing),
    is("/status/phase", SCALING, Progressing),
    present("/status", Healthy),
    otherwise(Progressing),
];

const SCALING: &[&str] = &["Pending", "Provisioning", "ScalingDown", "ScalingUp", "Scaling"];

/// How many machines a pool has is up to the cloud where it scales by itself: the pool says when it runs.
const POOL: &[Line] = &[
    PAUSED,
    OBSERVED,
    FAILURE_MESSAGE,
    FAILURE_REASON,
    FAILED,
    ERROR,
    yes("RollingOut", Progressing),
    yes("ScalingUp", Progressing),
    yes("ScalingDown", Progressing),
    no("Ready", Progressing),
    is("/status/phase", &["Running"], Healthy),
    fewer("/status/readyReplicas", "/spec/replicas"),
    is("/status/phase", SCALING, Progressing),
    present("/status", Healthy),
    otherwise(Progressing),
];

/// What the providers of infrastructure, bootstrap and control planes have in common.
const PROVIDER: &[Line] = &[
    OBSERVED,
    FAILURE_MESSAGE,
    FAILURE_REASON,
    ERROR,
    yes("Ready", Healthy),
    no("Ready", Progressing),
    flag("/status/ready", Healthy),
    flag("/status/initialization/provisioned", Healthy),
];

const OPERATOR: &[Line] = &[
    OBSERVED,
    no("PreflightCheckPassed", Progressing).only(&["WaitingForCoreProviderReady"]),
    no("PreflightCheckPassed", Degraded),
    ERROR,
    yes("Ready", Healthy),
    rest("Ready"),
];

pub(super) const FAMILY: Family = Family {
    name: "Cluster API",
    rules: &[
        rule(
            "cluster.x-k8s.io",
            &["Cluster"],
            &[
                PAUSED,
                OBSERVED,
                FAILURE_MESSAGE,
                FAILURE_REASON,
                FAILED,
                ERROR,
                yes("RollingOut", Progressing),
                no("Available", Progressing),
                no("Ready", Progressing),
                is("/status/phase", &["Pending", "Provisioning"], Progressing),
                yes("Available", Healthy),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "cluster.x-k8s.io",
            &["Machine"],
            &[
                OBSERVED,
                FAILURE_MESSAGE,
                FAILURE_REASON,
                FAILED,
                no("HealthCheckSucceeded", Degraded),
                ERROR,
                yes("Ready", Healthy),
                no("Ready", Progressing),
                is("/status/phase", &["Running"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("cluster.x-k8s.io", &["MachineDeployment", "MachineSet"], SCALED),
        rule("cluster.x-k8s.io", &["MachinePool"], POOL),
        rule(
            "cluster.x-k8s.io",
            &["MachineHealthCheck"],
            &[
                OBSERVED,
                no("RemediationAllowed", Degraded),
                ask(machines),
                yes("RemediationAllowed", Healthy),
                rest("RemediationAllowed"),
            ],
        ),
        rule(
            "cluster.x-k8s.io",
            &["ClusterClass"],
            &[
                OBSERVED,
                no("VariablesReconciled", Degraded),
                no("VariablesReady", Degraded),
                yes("VariablesReconciled", Healthy),
                yes("VariablesReady", Healthy),
                otherwise(Progressing),
            ],
        ),
        rule(
            "addons.cluster.x-k8s.io",
            &["ClusterResourceSet"],
            &[
                OBSERVED,
                no("ResourcesApplied", Degraded),
                yes("ResourcesApplied", Healthy),
                // Without a cluster that it selects there is nothing to apply, and no condition.
                present("/status/observedGeneration", Healthy),
                otherwise(Progressing),
            ],
        ),
        rule("controlplane.cluster.x-k8s.io", &["KubeadmControlPlane"], SCALED),
        rule(
            "controlplane.cluster.x-k8s.io",
            &["AWSManagedControlPlane"],
            &[
                OBSERVED,
                FAILURE_MESSAGE,
                ERROR,
                yes("EKSControlPlaneCreating", Progressing),
                yes("EKSControlPlaneUpdating", Progressing),
                yes("Ready", Healthy),
                no("Ready", Progressing),
                flag("/status/ready", Healthy),
                flag("/status/initialization/provisioned", Healthy),
                otherwise(Progressing),
            ],
        ),
        rule("bootstrap.cluster.x-k8s.io", &["*"], PROVIDER),
        rule("controlplane.cluster.x-k8s.io", &["*"], PROVIDER),
        rule("infrastructure.cluster.x-k8s.io", &["*"], PROVIDER),
        rule(
            "operator.cluster.x-k8s.io",
            &[
                "AddonProvider",
                "BootstrapProvider",
                "ControlPlaneProvider",
                "CoreProvider",
                "IPAMProvider",
                "InfrastructureProvider",
                "RuntimeExtensionProvider",
            ],
            OPERATOR,
        ),
        rule(
            "metal3.io",
            &["BareMetalHost"],
            &[
                is("/status/operationalStatus", &["error"], Degraded).details(&["/status/errorMessage"]),
                is("/status/operationalStatus", &["detached"], Suspended),
                is(
                    "/status/provisioning/state",
                    &["available", "ready", "provisioned", "externally provisioned"],
                    Healthy,
                ),
                otherwise(Progressing).details(&["/status/provisioning/state", "/status/operationalStatus"]),
            ],
        ),
    ],
};

/// Of a new cluster the machines come one after the other, and those that fail are replaced: that is what it is for.
fn machines(object: &Object) -> Option<Health> {
    let healthy = number(object, "/status/currentHealthy").unwrap_or(0);
    let expected = number(object, "/status/expectedMachines")?;
    (healthy < expected).then(|| Health::progressing(format!("{healthy} of {expected} machines healthy")))
}
