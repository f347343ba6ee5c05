//! Knative: `Ready` is unknown on the way, and false when it failed.

use crate::health::rule::{Family, READY, rule};

pub(super) const FAMILY: Family = Family {
    name: "Knative",
    rules: &[
        rule("eventing.knative.dev", &["Broker", "Trigger"], READY),
        rule("flows.knative.dev", &["Parallel", "Sequence"], READY),
        rule("messaging.knative.dev", &["Channel", "InMemoryChannel", "KafkaChannel", "Subscription"], READY),
        rule("operator.knative.dev", &["KnativeEventing", "KnativeServing"], READY),
        rule("serving.knative.dev", &["Configuration", "DomainMapping", "Revision", "Route", "Service"], READY),
        rule(
            "sources.knative.dev",
            &["ApiServerSource", "ContainerSource", "KafkaSource", "PingSource", "SinkBinding"],
            READY,
        ),
    ],
};
