//! Cluster API, for both versions of its contract: v1beta1 has phases and failure messages, v1beta2 has conditions; and Metal³.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, OBSERVED, fewer, flag, is, item, no, otherwise, present, rest, rule, yes};

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
                yes("Available", Healthy),
                no("Available", Progressing),
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
        rule("cluster.x-k8s.io", &["MachineDeployment", "MachinePool", "MachineSet"], SCALED),
        rule(
            "cluster.x-k8s.io",
            &["MachineHealthCheck"],
            &[
                OBSERVED,
                no("RemediationAllowed", Degraded),
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
            // Without a cluster that it selects there is nothing to apply, and no condition.
            &[OBSERVED, no("ResourcesApplied", Degraded), otherwise(Healthy)],
        ),
        rule("controlplane.cluster.x-k8s.io", &["KubeadmControlPlane"], SCALED),
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
