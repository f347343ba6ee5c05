//! The kinds of Kubernetes itself. The workload kinds are judged as `kubectl rollout status` does.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, by, by_age, is, otherwise, present, rest, rule, yes};
use crate::health::{apps, batch, core, extension, pod};

pub(super) const FAMILY: Family = Family {
    name: "Kubernetes",
    rules: &[
        rule("", &["PersistentVolumeClaim"], &[by_age(core::persistent_volume_claim)]),
        rule(
            "",
            &["PersistentVolume"],
            &[
                is("/status/phase", &["Available", "Bound", "Released"], Healthy),
                is("/status/phase", &["Failed"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/message"]),
            ],
        ),
        rule("", &["Pod"], &[by(pod::pod)]),
        rule("", &["ReplicationController"], &[by(apps::replica_set)]),
        // A load balancer that cannot be had is an event, and never in the Service's status.
        rule("", &["Service"], &[by(core::service)]).never(&[Degraded]),
        rule("apiextensions.k8s.io", &["CustomResourceDefinition"], &[by_age(extension::custom_resource_definition)]),
        rule("apiregistration.k8s.io", &["APIService"], &[by(extension::api_service)]).never(&[Degraded]),
        rule("apps", &["DaemonSet"], &[by(apps::daemon_set)]).never(&[Degraded]),
        rule("apps", &["Deployment"], &[by(apps::deployment)]),
        rule("apps", &["ReplicaSet"], &[by(apps::replica_set)]),
        rule("apps", &["StatefulSet"], &[by(apps::stateful_set)]).never(&[Degraded]),
        rule("autoscaling", &["HorizontalPodAutoscaler"], &[by_age(core::horizontal_pod_autoscaler)]),
        rule("batch", &["CronJob"], &[by(batch::cron_job)]).never(&[Progressing]),
        rule("batch", &["Job"], &[by(batch::job)]),
        rule(
            "certificates.k8s.io",
            &["CertificateSigningRequest"],
            &[
                yes("Denied", Degraded),
                yes("Failed", Degraded),
                present("/status/certificate", Healthy),
                rest("Approved"),
            ],
        ),
        rule("extensions", &["Ingress"], &[by(core::ingress)]).never(&[Degraded]),
        rule("networking.k8s.io", &["Ingress"], &[by(core::ingress)]).never(&[Degraded]),
        rule("policy", &["PodDisruptionBudget"], &[by_age(core::pod_disruption_budget)]),
    ],
};
