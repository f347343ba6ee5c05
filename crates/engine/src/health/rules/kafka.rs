//! Kafka by others than Strimzi: Confluent for Kubernetes, and the operator that was Banzai Cloud's.

use resources::HealthStatus::{Degraded, Healthy, Progressing};
use resources::Object;
use serde_json::Value;

use crate::health::Health;
use crate::health::rule::{Family, Line, OBSERVED, ask, is, otherwise, rule};

const RUNNING: &[Line] = &[
    OBSERVED,
    is("/status/phase", &["RUNNING"], Healthy),
    is("/status/phase", &["FAILED", "ERROR"], Degraded).details(&["/status/conditions/0/message"]),
    otherwise(Progressing).details(&["/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Kafka: Confluent, Banzai Cloud",
    rules: &[
        rule(
            "platform.confluent.io",
            &["Connect", "ControlCenter", "Kafka", "KRaftController", "KsqlDB", "SchemaRegistry", "Zookeeper"],
            RUNNING,
        ),
        rule(
            "platform.confluent.io",
            &["Connector"],
            &[
                OBSERVED,
                is("/status/connectorState", &["FAILED"], Degraded)
                    .says("the connector failed")
                    .details(&["/status/trace"]),
                is("/status/state", &["ERROR", "FAILED"], Degraded).details(&["/status/conditions/0/message"]),
                ask(failed_tasks),
                is("/status/connectorState", &["RUNNING"], Healthy),
                is("/status/state", &["CREATED", "RUNNING"], Healthy),
                otherwise(Progressing).details(&["/status/connectorState", "/status/state"]),
            ],
        ),
        rule(
            "kafka.banzaicloud.io",
            &["KafkaCluster"],
            &[
                is("/status/state", &["ClusterReconciling", "ClusterRollingUpgrading"], Progressing),
                ask(brokers),
                is("/status/state", &["ClusterRunning"], Healthy),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
    ],
};

fn failed_tasks(object: &Object) -> Option<Health> {
    let failed = object.at("/status/failedTasksCount").and_then(Value::as_i64).filter(|failed| *failed > 0)?;
    Some(Health::degraded(format!("{failed} of its tasks failed")))
}

/// Of a running cluster, a broker whose settings are not the wanted ones, or that could not be taken in.
fn brokers(object: &Object) -> Option<Health> {
    let brokers = object.at("/status/brokersState")?.as_object()?;
    brokers.iter().find_map(|(id, broker)| {
        let field = |at: &str| broker.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (settings, action) = (field("/configurationState"), field("/gracefulActionState/cruiseControlState"));
        let is_in_sync = settings.is_empty() || settings == "ConfigInSync";
        let has_ended = action.is_empty() || action.ends_with("Succeeded") || action.ends_with("Succeed");
        if is_in_sync && has_ended {
            return None;
        }
        let said = if is_in_sync { action } else { settings };
        Some(Health::degraded(format!("broker {id}: {said}")))
    })
}
