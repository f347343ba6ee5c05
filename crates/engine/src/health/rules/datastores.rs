//! Caches, search, queues and other stores.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, OBSERVED, READY, fewer, is, no, otherwise, rest, rule, yes};

const CLICKHOUSE: &[Line] = &[
    is("/spec/stop", &["yes", "true", "1"], Suspended).says("stopped"),
    is("/status/status", &["Completed"], Healthy),
    is("/status/status", &["Aborted"], Degraded).details(&["/status/error", "/status/errors"]),
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
                is("/status/health", &["red"], Degraded).says("health is red"),
                is("/status/health", &["yellow"], Progressing).says("health is yellow"),
                is("/status/health", &["green"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("agent.k8s.elastic.co", &["Agent"], STACK),
        rule("apm.k8s.elastic.co", &["ApmServer"], STACK),
        rule("beat.k8s.elastic.co", &["Beat"], STACK),
        rule("enterprisesearch.k8s.elastic.co", &["EnterpriseSearch"], STACK),
        rule("kibana.k8s.elastic.co", &["Kibana"], STACK),
        rule("logstash.k8s.elastic.co", &["Logstash"], STACK).never(&[Degraded]),
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
            READY,
        ),
    ],
};
