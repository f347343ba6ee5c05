//! Knative: `Ready` is unknown on the way, and false when it failed.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, OBSERVED, READY, no, rest, rule, yes};

pub(super) const FAMILY: Family = Family {
    name: "Knative",
    rules: &[
        rule("eventing.knative.dev", &["Broker", "Trigger"], READY),
        rule("flows.knative.dev", &["Parallel", "Sequence"], READY),
        rule("messaging.knative.dev", &["Channel", "InMemoryChannel", "KafkaChannel", "Subscription"], READY),
        rule(
            "operator.knative.dev",
            &["KnativeEventing", "KnativeServing"],
            &[
                OBSERVED,
                yes("Ready", Healthy),
                no("DependenciesInstalled", Degraded),
                no("InstallSucceeded", Degraded),
                no("VersionMigrationEligible", Degraded),
                // Its pods are on their way, and `Ready` is false until they are there.
                no("DeploymentsAvailable", Progressing),
                no("Ready", Degraded),
                rest("Ready"),
            ],
        ),
        rule("serving.knative.dev", &["Configuration", "DomainMapping", "Revision", "Route", "Service"], READY),
        rule(
            "sources.knative.dev",
            &["ApiServerSource", "ContainerSource", "KafkaSource", "PingSource", "SinkBinding"],
            READY,
        ),
    ],
};
