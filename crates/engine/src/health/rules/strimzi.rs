//! Strimzi: Kafka and what belongs to it. `Ready` and `NotReady` are two conditions, of which one is there.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, OBSERVED, fewer, is, no, otherwise, present, rest, rule, yes};

const PAUSED: Line = yes("ReconciliationPaused", Suspended).says("its reconciliation is paused");
const CREATING: Line = yes("NotReady", Progressing).only(&["Creating"]);

const LINES: &[Line] = &[
    PAUSED,
    OBSERVED,
    CREATING,
    yes("NotReady", Degraded),
    no("Ready", Degraded),
    yes("Ready", Healthy),
    rest("Ready"),
];

pub(super) const FAMILY: Family = Family {
    name: "Strimzi",
    rules: &[
        rule(
            "kafka.strimzi.io",
            &[
                "Kafka",
                "KafkaBridge",
                "KafkaConnect",
                "KafkaMirrorMaker",
                "KafkaMirrorMaker2",
                "KafkaTopic",
                "KafkaUser",
            ],
            LINES,
        ),
        rule(
            "kafka.strimzi.io",
            &["KafkaConnector"],
            &[
                PAUSED,
                OBSERVED,
                CREATING,
                yes("NotReady", Degraded),
                is("/status/connectorStatus/connector/state", &["FAILED"], Degraded)
                    .says("the connector failed")
                    .details(&["/status/connectorStatus/connector/trace"]),
                is("/status/connectorStatus/connector/state", &["PAUSED", "STOPPED"], Suspended),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "kafka.strimzi.io",
            &["KafkaRebalance"],
            &[
                PAUSED,
                yes("NotReady", Degraded),
                yes("Ready", Healthy),
                yes("ProposalReady", Suspended).says("its proposal waits for approval"),
                yes("Stopped", Suspended).says("stopped"),
                yes("Rebalancing", Progressing).says("rebalancing"),
                otherwise(Progressing),
            ],
        ),
        rule("kafka.strimzi.io", &["KafkaNodePool"], &[OBSERVED, present("/status", Healthy), otherwise(Progressing)])
            // The Kafka that it belongs to tells what is wrong.
            .never(&[Degraded]),
        rule(
            "core.strimzi.io",
            &["StrimziPodSet"],
            &[OBSERVED, fewer("/status/readyPods", "/status/pods").says("pods ready"), otherwise(Healthy)],
        )
        .never(&[Degraded]),
    ],
};
