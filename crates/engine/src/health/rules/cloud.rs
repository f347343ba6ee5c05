//! The operators of the clouds, Karpenter, and what creates clouds' resources from outside: Pulumi, kro, Cattle.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{
    Family, Line, OBSERVED, absent, behind, behind_in, flag, is, item, no, otherwise, present, rest, rule, when, yes,
};

const KARPENTER: &[Line] = &[behind_in("Ready"), yes("Ready", Healthy), no("Ready", Degraded), rest("Ready")];

pub(super) const AWS: Family = Family {
    name: "AWS: ACK, load balancer controller, Karpenter",
    rules: &[
        rule(
            "*.services.k8s.aws",
            &["*"],
            &[
                yes("ACK.Terminal", Degraded),
                // What it refers to may come with the same push.
                no("ACK.ReferencesResolved", Progressing),
                yes("ACK.Recoverable", Degraded),
                yes("ACK.ResourceSynced", Healthy),
                yes("Ready", Healthy),
                rest("ACK.ResourceSynced"),
            ],
        ),
        rule(
            "elbv2.k8s.aws",
            &["TargetGroupBinding"],
            &[absent("/status/observedGeneration", Progressing), OBSERVED, otherwise(Healthy)],
        )
        // What is wrong is told in events.
        .never(&[Degraded]),
        rule("karpenter.sh", &["NodePool"], KARPENTER),
        rule(
            "karpenter.sh",
            &["NodeClaim"],
            &[
                no("Launched", Degraded).only(&["LaunchFailed"]),
                when("Launched", "Unknown", Degraded).only(&["LaunchFailed"]),
                // It is being replaced, once its pods have found another place.
                yes("DisruptionReason", Suspended),
                no("Launched", Degraded).patient(),
                no("Registered", Degraded).patient(),
                no("Initialized", Degraded).patient(),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule("karpenter.k8s.aws", &["EC2NodeClass"], KARPENTER),
        rule(
            "iammanager.keikoproj.io",
            &["Iamrole"],
            &[
                is("/status/state", &["Ready"], Healthy),
                is(
                    "/status/state",
                    &["CreateError", "Error", "PolicyNotAllowed", "RolesMaxLimitReached", "UpdateError"],
                    Degraded,
                )
                .details(&["/status/errorDescription"]),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
    ],
};

const CONFIG_CONNECTOR: &[Line] = &[
    OBSERVED,
    present("/status/errors", Degraded).details(&["/status/errors"]),
    flag("/status/healthy", Healthy),
    otherwise(Progressing),
];

const ATTACHED: &[Line] = &[yes("Attached", Healthy), no("Attached", Degraded), rest("Attached")];

pub(super) const GOOGLE: Family = Family {
    name: "Google Cloud: Config Connector, GKE",
    rules: &[
        rule(
            "*.cnrm.cloud.google.com",
            &["*"],
            &[
                OBSERVED,
                yes("Ready", Healthy),
                // A database that it depends on takes its time.
                no("Ready", Progressing).only(&["Creating", "Deleting", "DependencyNotReady", "Updating"]),
                // What it depends on may come with the same push.
                no("Ready", Degraded).only(&["DependencyNotFound"]).patient(),
                no("Ready", Degraded),
                rest("Ready"),
            ],
        ),
        rule("core.cnrm.cloud.google.com", &["ConfigConnector", "ConfigConnectorContext"], CONFIG_CONNECTOR),
        rule("customize.core.cnrm.cloud.google.com", &["*"], CONFIG_CONNECTOR),
        rule("networking.gke.io", &["GCPBackendPolicy", "GCPGatewayPolicy", "HealthCheckPolicy"], ATTACHED),
        rule(
            "networking.gke.io",
            &["ManagedCertificate"],
            &[
                is("/status/certificateStatus", &["Active"], Healthy),
                is(
                    "/status/certificateStatus",
                    &["ProvisioningFailed", "ProvisioningFailedPermanently", "RenewalFailed"],
                    Degraded,
                ),
                // The domain does not lead here, or its records refuse; they may come with the same push.
                item("/status/domainStatus", &[("status", "FailedNotVisible")], Degraded)
                    .says("does not lead here")
                    .details(&["/domain"])
                    .patient(),
                item("/status/domainStatus", &[("status", "FailedCaaChecking")], Degraded)
                    .says("its CAA records cannot be read")
                    .details(&["/domain"])
                    .patient(),
                item("/status/domainStatus", &[("status", "FailedCaaForbidden")], Degraded)
                    .says("its CAA records forbid it")
                    .details(&["/domain"]),
                item("/status/domainStatus", &[("status", "FailedRateLimited")], Degraded)
                    .says("too many certificates")
                    .details(&["/domain"])
                    .patient(),
                otherwise(Progressing).details(&["/status/certificateStatus"]),
            ],
        ),
    ],
};

pub(super) const AZURE: Family = Family {
    name: "Azure: Service Operator, Karpenter",
    rules: &[
        rule(
            "*.azure.com",
            &["*"],
            &[
                behind_in("Ready"),
                yes("Ready", Healthy),
                // `Warning` is tried again, `Info` is on its way, `Error` is the end.
                item("/status/conditions", &[("type", "Ready"), ("severity", "Error")], Degraded),
                no("Ready", Progressing),
                present("/spec/azureName", Progressing).says("waiting for its operator"),
            ],
        ),
        rule("karpenter.azure.com", &["AKSNodeClass"], KARPENTER),
    ],
};

pub(super) const OTHERS: Family = Family {
    name: "Pulumi, kro, Rancher, Ansible, SAP",
    rules: &[
        rule(
            "services.cloud.sap.com",
            &["ServiceBinding", "ServiceInstance"],
            &[
                behind("/status/observedGeneration"),
                yes("Failed", Degraded),
                // Also while a change is under way, which is tried again.
                no("Succeeded", Degraded).only(&["CreateFailed", "DeleteFailed", "UpdateFailed"]),
                no("Succeeded", Progressing),
                yes("Ready", Healthy),
                is("/status/ready", &["True", "true"], Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "tower.ansible.com",
            &["AnsibleJob"],
            &[
                is("/status/ansibleJobResult/status", &["successful"], Healthy),
                is("/status/ansibleJobResult/status", &["canceled", "error", "failed"], Degraded)
                    .details(&["/status/message"]),
                yes("Failure", Degraded).patient(),
                otherwise(Progressing).details(&["/status/ansibleJobResult/status", "/status/message"]),
            ],
        ),
        rule(
            "pulumi.com",
            &["Stack"],
            &[
                OBSERVED,
                yes("Stalled", Degraded),
                yes("Reconciling", Progressing),
                is("/status/lastUpdate/state", &["failed"], Degraded)
                    .says("the last update failed")
                    .details(&["/status/lastUpdate/message"]),
                yes("Ready", Healthy),
                is("/status/lastUpdate/state", &["succeeded"], Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "kro.run",
            &["ResourceGraphDefinition"],
            &[
                is("/status/state", &["Active"], Healthy),
                no("Ready", Degraded),
                is("/status/state", &["Inactive"], Degraded),
                otherwise(Progressing),
            ],
        ),
        rule(
            "kro.run",
            &["*"],
            &[
                is("/status/state", &["ACTIVE"], Healthy),
                is("/status/state", &["FAILED", "ERROR"], Degraded).details(&["/status/conditions/0/message"]),
                is("/status/state", &["IN_PROGRESS", "DELETING"], Progressing),
                rest("Ready"),
            ],
        ),
        rule(
            "fleet.cattle.io",
            &["Bundle", "GitRepo"],
            &[
                flag("/spec/paused", Suspended).says("paused"),
                OBSERVED,
                yes("Stalled", Degraded),
                is("/status/display/state", &["ErrApplied"], Degraded).details(&["/status/display/message"]),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "helm.cattle.io",
            &["HelmChart"],
            &[yes("Failed", Degraded), present("/status/jobName", Healthy), otherwise(Progressing)],
        ),
        rule(
            "upgrade.cattle.io",
            &["Plan"],
            &[no("Validated", Degraded), yes("Complete", Healthy), no("Complete", Progressing), rest("LatestResolved")],
        ),
    ],
};
