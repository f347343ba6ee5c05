//! Relational databases and their backups.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended, Unknown};
use resources::Object;
use serde_json::Value;

use crate::health::Health;
use crate::health::rule::{
    AVAILABLE_PROGRESSING_DEGRADED, Family, Line, OBSERVED, by, fewer, flag, is, list, no, otherwise, rest, rule, yes,
};
use crate::health::{find_condition, is_unobserved};

/// What a cluster applies to its databases: `applied` is the answer for the generation it has seen.
const APPLIED: &[Line] = &[
    OBSERVED,
    flag("/status/applied", Healthy),
    is("/status/applied", &["false"], Degraded).says("could not be applied").details(&["/status/message"]),
    otherwise(Progressing),
];

const PERCONA: &[Line] = &[
    OBSERVED,
    is("/status/state", &["error"], Degraded).details(&["/status/message", "/status/messages"]),
    is("/status/state", &["ready"], Healthy),
    is("/status/state", &["paused"], Suspended),
    UNKNOWN,
    otherwise(Progressing).details(&["/status/message", "/status/messages", "/status/state"]),
];

/// The operator could not find out.
const UNKNOWN: Line = is("/status/state", &["unknown"], Unknown);

const PERCONA_JOB: &[Line] = &[
    is("/status/state", &["Succeeded", "ready"], Healthy),
    is("/status/state", &["Failed", "error", "rejected"], Degraded).details(&[
        "/status/error",
        "/status/comments",
        "/status/stateDescription",
    ]),
    is("/status/state", &["Suspended"], Suspended),
    otherwise(Progressing).details(&["/status/state"]),
];

const MARIADB: &[Line] = &[
    flag("/spec/suspend", Suspended).says("suspended"),
    yes("Ready", Healthy),
    no("Ready", Degraded).only(&["Failed"]),
    rest("Ready"),
];

const MARIADB_JOB: &[Line] = &[
    // It has come to its end, which may be a bad one.
    yes("Complete", Degraded).only(MARIADB_FAILED),
    yes("Complete", Healthy),
    no("Complete", Degraded).only(MARIADB_FAILED),
    no("Complete", Suspended).only(&["JobSuspended"]),
    // It has a schedule and waits for its time.
    no("Complete", Healthy).only(&["CronJobScheduled", "CronJobSucess", "CronJobSuccess"]),
    rest("Complete"),
];

const MARIADB_FAILED: &[&str] = &["CronJobFailed", "Failed", "JobFailed"];

/// Phases of the operator for MongoDB's other editions and of many more: `Running`, `Pending`, `Reconciling`, `Failed`.
const RUNNING: &[Line] = &[
    OBSERVED,
    is("/status/phase", &["Running", "Updated"], Healthy),
    is("/status/phase", &["Failed", "Unsupported"], Degraded).details(&["/status/message"]),
    is("/status/phase", &["Stopped", "Disabled"], Suspended),
    otherwise(Progressing).details(&["/status/message", "/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Databases",
    rules: &[
        rule(
            "acid.zalan.do",
            &["postgresql"],
            &[
                is("/status/PostgresClusterStatus", &["Running"], Healthy),
                is(
                    "/status/PostgresClusterStatus",
                    &["CreateFailed", "Invalid", "SyncFailed", "UpdateFailed"],
                    Degraded,
                ),
                otherwise(Progressing).details(&["/status/PostgresClusterStatus"]),
            ],
        ),
        rule(
            "postgresql.cnpg.io",
            &["Cluster"],
            &[
                is("/metadata/annotations/cnpg.io~1hibernation", &["on"], Suspended).says("hibernated"),
                yes("cnpg.io/hibernation", Suspended),
                is("/status/phase", &["Cluster in healthy state"], Healthy),
                is("/status/phase", &["Waiting for user action"], Suspended).details(&["/status/phaseReason"]),
                is(
                    "/status/phase",
                    &[
                        "Cluster cannot execute instance online upgrade due to missing architecture binary",
                        "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
                        "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
                        "Cluster has incomplete or invalid image catalog",
                        "Cluster is in an unrecoverable state, needs manual intervention",
                        "Cluster is unrecoverable and needs manual intervention",
                        "Failing over",
                        "Not enough disk space",
                        "Unable to create required cluster objects",
                    ],
                    Degraded,
                )
                .details(&["/status/phaseReason"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "postgresql.cnpg.io",
            &["Backup"],
            &[
                is("/status/phase", &["completed"], Healthy),
                is("/status/phase", &["failed", "walArchivingFailing"], Degraded).details(&["/status/error"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "postgresql.cnpg.io",
            &["ScheduledBackup"],
            &[flag("/spec/suspend", Suspended).says("suspended"), otherwise(Healthy)],
        )
        // Its Backups tell how they went.
        .never(&[Progressing, Degraded]),
        rule(
            "postgresql.cnpg.io",
            &["Pooler"],
            &[
                flag("/spec/pgbouncer/paused", Suspended).says("paused"),
                fewer("/status/instances", "/spec/instances").says("instances running"),
                otherwise(Healthy),
            ],
        )
        .never(&[Degraded]),
        rule("postgresql.cnpg.io", &["Database", "Publication", "Subscription"], APPLIED),
        rule("postgres-operator.crunchydata.com", &["PostgresCluster"], &[by(crunchy)]).never(&[Degraded]),
        rule(
            "postgres-operator.crunchydata.com",
            &["PGUpgrade"],
            &[yes("Succeeded", Healthy), no("Succeeded", Degraded), rest("Progressing")],
        ),
        rule("pgv2.percona.com", &["PerconaPGCluster"], PERCONA),
        rule("pgv2.percona.com", &["PerconaPGBackup", "PerconaPGRestore"], PERCONA_JOB),
        rule("ps.percona.com", &["PerconaServerMySQL"], PERCONA),
        rule("ps.percona.com", &["PerconaServerMySQLBackup", "PerconaServerMySQLRestore"], PERCONA_JOB),
        rule("psmdb.percona.com", &["PerconaServerMongoDB"], PERCONA),
        rule("psmdb.percona.com", &["PerconaServerMongoDBBackup", "PerconaServerMongoDBRestore"], PERCONA_JOB),
        rule("pxc.percona.com", &["PerconaXtraDBCluster"], PERCONA),
        rule("pxc.percona.com", &["PerconaXtraDBClusterBackup", "PerconaXtraDBClusterRestore"], PERCONA_JOB),
        rule("k8s.mariadb.com", &["Connection", "Database", "Grant", "MariaDB", "MaxScale", "User"], MARIADB),
        rule("k8s.mariadb.com", &["Backup", "PhysicalBackup", "Restore", "SqlJob"], MARIADB_JOB),
        // Its group before version 0.0.23.
        rule(
            "mariadb.mmontes.io",
            &["Connection", "Database", "Grant", "MariaDB", "User"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                yes("Ready", Healthy),
                no("Ready", Degraded).only(&["Failed", "RestoreNotComplete"]),
                rest("Ready"),
            ],
        ),
        rule("mariadb.mmontes.io", &["Backup", "Restore", "SqlJob"], MARIADB_JOB),
        rule(
            "db.atlasgo.io",
            &["AtlasMigration", "AtlasSchema"],
            &[
                yes("Ready", Healthy),
                no("Ready", Suspended).only(&["ApprovalPending"]),
                no("Ready", Progressing).only(&["Reconciling", "Migrating", "ReadyToApply", "VerifyingFirstRun"]),
                no("Ready", Degraded),
                rest("Ready"),
            ],
        ),
        rule(
            "mysql.oracle.com",
            &["InnoDBCluster"],
            &[
                is("/status/cluster/status", &["ONLINE"], Healthy),
                is("/status/cluster/status", &["FINALIZING", "INITIALIZING", "ONLINE_PARTIAL", "PENDING"], Progressing),
                is(
                    "/status/cluster/status",
                    &[
                        "INVALID",
                        "NO_QUORUM",
                        "NO_QUORUM_UNCERTAIN",
                        "OFFLINE",
                        "OFFLINE_UNCERTAIN",
                        "ONLINE_UNCERTAIN",
                        "SPLIT_BRAIN",
                        "SPLIT_BRAIN_UNCERTAIN",
                        "UNKNOWN",
                    ],
                    Degraded,
                ),
                otherwise(Progressing).details(&["/status/cluster/status"]),
            ],
        ),
        rule("mongodbcommunity.mongodb.com", &["MongoDBCommunity"], RUNNING),
        rule("mongodb.com", &["MongoDB", "MongoDBMultiCluster", "MongoDBUser"], RUNNING),
        rule(
            "pingcap.com",
            &["TidbCluster"],
            &[flag("/spec/paused", Suspended).says("paused"), yes("Ready", Healthy), rest("Ready")],
        )
        .never(&[Degraded]),
        rule("scylla.scylladb.com", &["ScyllaCluster"], AVAILABLE_PROGRESSING_DEGRADED),
        rule(
            "apps.kubeblocks.io",
            &["Cluster"],
            &[
                OBSERVED,
                is("/status/phase", &["Running"], Healthy),
                is("/status/phase", &["Abnormal", "Failed"], Degraded).details(&["/status/message"]),
                is("/status/phase", &["Stopped"], Suspended),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "kubedb.com",
            &["*"],
            &[
                is("/status/phase", &["Ready"], Healthy),
                is("/status/phase", &["Critical", "NotReady"], Degraded),
                is("/status/phase", &["Halted"], Suspended),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
    ],
};

/// Each set of instances, the repository of its backups and the proxy.
fn crunchy(object: &Object) -> Health {
    let on = |at: &str| object.at(at) == Some(&true.into());
    if on("/spec/shutdown") {
        return Health::suspended("shut down");
    }
    if on("/spec/paused") {
        return Health::suspended("paused");
    }
    let sets = list(object, "/status/instances");
    if sets.is_empty() || is_unobserved(object) {
        return Health::progressing("waiting for its operator");
    }
    for set in sets {
        let count = |field: &str| set.get(field).and_then(Value::as_i64).unwrap_or(0);
        let (wanted, name) = (count("replicas"), set.get("name").and_then(Value::as_str).unwrap_or_default());
        for (field, words) in [("readyReplicas", "ready"), ("updatedReplicas", "updated")] {
            if count(field) < wanted {
                let count = count(field);
                return Health::progressing(format!("instances {name}: {count} of {wanted} replicas {words}"));
            }
        }
    }
    let waiting =
        ["PGBackRestRepoHostReady", "PGBackRestReplicaRepoReady", "PGBackRestReplicaCreate", "ProxyAvailable"];
    let waiting = waiting.into_iter().filter_map(|kind| find_condition(object, kind)).find(|c| c.is_false());
    waiting.map_or_else(Health::healthy, |condition| Health::progressing(condition.text()))
}
