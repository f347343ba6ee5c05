//! Caches, search, queues and other stores.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended, Unknown};
use resources::Object;
use serde_json::Value;

use crate::health::Health;
use crate::health::rule::{
    Family, Line, OBSERVED, READY, absent, ask, fewer, is, list, no, otherwise, rest, rule, when, yes,
};

const CLICKHOUSE: &[Line] = &[
    is("/spec/stop", &["yes", "true", "1"], Suspended).says("stopped"),
    is("/status/status", &["Completed"], Healthy),
    is("/status/status", &["Aborted", "Error", "Failed"], Degraded).details(&["/status/error", "/status/errors"]),
    otherwise(Progressing).details(&["/status/status"]),
];

const OPENSEARCH: &[Line] = &[
    is("/status/phase", &["PENDING", "UPGRADING"], Progressing),
    is("/status/health", &["red"], Degraded).says("health is red"),
    is("/status/health", &["yellow"], Progressing).says("health is yellow"),
    is("/status/health", &["green"], Healthy),
    // Older operators say no health.
    is("/status/phase", &["RUNNING"], Healthy),
    otherwise(Progressing).details(&["/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Caches, search and other stores",
    rules: &[
        rule(
            "app.redislabs.com",
            &["RedisEnterpriseCluster"],
            &[
                is("/status/state", &["Running"], Healthy),
                is("/status/state", &["Error", "Invalid", "InvalidUpgrade"], Degraded),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule(
            "app.redislabs.com",
            &["RedisEnterpriseDatabase"],
            &[
                is("/status/status", &["active"], Healthy),
                is("/status/status", &["creation-failed"], Degraded),
                otherwise(Progressing).details(&["/status/status"]),
            ],
        ),
        rule(
            "redis.redis.opstreelabs.in",
            &["RedisCluster"],
            &[
                is("/status/state", &["Ready"], Healthy),
                is("/status/state", &["Failed"], Degraded).details(&["/status/reason"]),
                otherwise(Progressing).details(&["/status/reason", "/status/state"]),
            ],
        ),
        rule(
            "dragonflydb.io",
            &["Dragonfly"],
            &[is("/status/phase", &["Ready", "ready"], Healthy), otherwise(Progressing).details(&["/status/phase"])],
        )
        .never(&[Degraded]),
        rule(
            "hazelcast.com",
            &["Hazelcast"],
            &[
                is("/status/phase", &["Running"], Healthy),
                is("/status/phase", &["Failed"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule(
            "cassandra.datastax.com",
            &["CassandraDatacenter"],
            &[
                yes("Stopped", Suspended),
                OBSERVED,
                no("Valid", Degraded),
                is("/status/cassandraOperatorProgress", &["Updating"], Progressing).says("updating"),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "cassandra.rook.io",
            &["Cluster"],
            &[absent("/status/racks", Progressing), ask(racks), otherwise(Healthy)],
        )
        .never(&[Degraded]),
        rule("clickhouse.altinity.com", &["ClickHouseInstallation"], CLICKHOUSE),
        rule("clickhouse-keeper.altinity.com", &["ClickHouseKeeperInstallation"], CLICKHOUSE),
        rule("opensearch.opster.io", &["OpenSearchCluster"], OPENSEARCH),
        rule("opensearch.org", &["OpenSearchCluster"], OPENSEARCH),
        rule("jetstream.nats.io", &["Consumer", "KeyValue", "ObjectStore", "Stream"], READY),
        rule(
            "solr.apache.org",
            &["SolrCloud"],
            &[
                fewer("/status/readyReplicas", "/spec/replicas"),
                fewer("/status/upToDateNodes", "/spec/replicas").says("nodes up to date"),
                otherwise(Healthy),
            ],
        )
        .never(&[Degraded]),
        rule(
            "zookeeper.pravega.io",
            &["ZookeeperCluster"],
            &[
                yes("Error", Degraded),
                yes("Upgrading", Progressing),
                fewer("/status/readyReplicas", "/spec/replicas"),
                otherwise(Healthy),
            ],
        ),
    ],
};

/// A red health means that no pod is available, as it is in the beginning; what fails is the link to Elasticsearch.
const STACK: &[Line] = &[
    is("/status/health", &["unknown"], Unknown).says("health is unknown"),
    is("/status/associationStatus", &["Failed"], Degraded).says("its link to Elasticsearch failed"),
    is("/status/elasticsearchAssociationStatus", &["Failed"], Degraded).says("its link to Elasticsearch failed"),
    is("/status/kibanaAssociationStatus", &["Failed"], Degraded).says("its link to Kibana failed"),
    is("/status/fleetServerAssociationStatus", &["Failed"], Degraded).says("its link to the Fleet server failed"),
    OBSERVED,
    is("/status/health", &["red"], Progressing).says("health is red"),
    is("/status/health", &["yellow"], Progressing).says("health is yellow"),
    is("/status/health", &["green"], Healthy),
    otherwise(Progressing),
];

/// What ships logs and works on them has several pods, which are not replaced all at once: red is wrong, but in the beginning.
const SHIPPER: &[Line] = &[
    is("/status/elasticsearchAssociationStatus", &["Failed"], Degraded).says("its link to Elasticsearch failed"),
    is("/status/kibanaAssociationStatus", &["Failed"], Degraded).says("its link to Kibana failed"),
    OBSERVED,
    is("/status/health", &["unknown"], Unknown).says("health is unknown"),
    is("/status/health", &["red"], Degraded).says("health is red").patient(),
    is("/status/health", &["yellow"], Progressing).says("health is yellow"),
    is("/status/health", &["green"], Healthy),
    otherwise(Progressing),
];

pub(super) const ELASTIC: Family = Family {
    name: "Elastic Cloud on Kubernetes",
    rules: &[
        rule(
            "elasticsearch.k8s.elastic.co",
            &["Elasticsearch"],
            &[
                OBSERVED,
                is("/status/phase", &["Invalid", "Stalled"], Degraded),
                is("/status/phase", &["ApplyingChanges", "MigratingData"], Progressing),
                is("/status/health", &["unknown"], Unknown).says("health is unknown"),
                is("/status/health", &["red"], Degraded).says("health is red"),
                is("/status/health", &["yellow"], Progressing).says("health is yellow"),
                no("ReconciliationComplete", Progressing),
                // Green are the nodes that are there already.
                absent("/status/phase", Progressing),
                is("/status/health", &["green"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("agent.k8s.elastic.co", &["Agent"], STACK),
        rule("apm.k8s.elastic.co", &["ApmServer"], STACK),
        rule("beat.k8s.elastic.co", &["Beat"], SHIPPER),
        rule("enterprisesearch.k8s.elastic.co", &["EnterpriseSearch"], STACK),
        rule("kibana.k8s.elastic.co", &["Kibana"], STACK),
        rule("logstash.k8s.elastic.co", &["Logstash"], SHIPPER),
        rule("maps.k8s.elastic.co", &["ElasticMapsServer"], STACK),
        rule(
            "stackconfigpolicy.k8s.elastic.co",
            &["StackConfigPolicy"],
            &[
                OBSERVED,
                is("/status/phase", &["Ready"], Healthy),
                is("/status/phase", &["Conflict", "Error", "Invalid"], Degraded),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
    ],
};

pub(super) const RABBITMQ: Family = Family {
    name: "RabbitMQ",
    rules: &[
        rule(
            "rabbitmq.com",
            &["RabbitmqCluster"],
            &[
                no("ReconcileSuccess", Degraded),
                OBSERVED,
                no("ClusterAvailable", Progressing),
                yes("AllReplicasReady", Healthy),
                rest("AllReplicasReady"),
            ],
        ),
        rule(
            "rabbitmq.com",
            &[
                "Binding",
                "Exchange",
                "Federation",
                "OperatorPolicy",
                "Permission",
                "Policy",
                "Queue",
                "SchemaReplication",
                "Shovel",
                "SuperStream",
                "TopicPermission",
                "User",
                "Vhost",
            ],
            &[
                OBSERVED,
                yes("Ready", Healthy),
                no("Ready", Degraded),
                // Nobody has tried yet, or the broker could not be asked.
                when("Ready", "Unknown", Unknown),
                rest("Ready"),
            ],
        ),
    ],
};

/// Each rack of the datacenter has as many members as it asks for.
fn racks(object: &Object) -> Option<Health> {
    list(object, "/spec/datacenter/racks").iter().find_map(|rack| {
        let name = rack.get("name")?.as_str()?;
        let wanted = rack.get("members").and_then(Value::as_i64)?;
        let racks = object.at("/status/racks")?;
        let ready = racks.get(name).and_then(|rack| rack.get("readyMembers")).and_then(Value::as_i64).unwrap_or(0);
        (ready < wanted).then(|| Health::progressing(format!("rack {name}: {ready} of {wanted} members ready")))
    })
}
