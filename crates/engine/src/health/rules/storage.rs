//! Volumes, snapshots and object stores.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, Line, OBSERVED, flag, is, no, otherwise, present, rest, rule, yes};

const SNAPSHOT: &[Line] = &[
    flag("/status/readyToUse", Healthy),
    present("/status/error", Degraded).details(&["/status/error/message"]),
    otherwise(Progressing),
];

const CEPH: &[Line] = &[
    is("/status/phase", &["Error", "Failure", "ReconcileFailed"], Degraded).details(&["/status/info/error"]),
    OBSERVED,
    is("/status/phase", &["Connected", "Created", "Ready"], Healthy),
    otherwise(Progressing).details(&["/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Storage",
    rules: &[
        rule(
            "ceph.rook.io",
            &["CephCluster"],
            &[
                is("/status/phase", &["Error", "Failure"], Degraded).details(&["/status/message"]),
                is("/status/state", &["Error"], Degraded).details(&["/status/message"]),
                is("/status/ceph/health", &["HEALTH_ERR"], Degraded),
                OBSERVED,
                is("/status/phase", &["Connected", "Ready"], Healthy),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule(
            "ceph.rook.io",
            &[
                "CephBlockPool",
                "CephBlockPoolRadosNamespace",
                "CephClient",
                "CephFilesystem",
                "CephFilesystemMirror",
                "CephFilesystemSubVolumeGroup",
                "CephNFS",
                "CephObjectRealm",
                "CephObjectStore",
                "CephObjectStoreUser",
                "CephObjectZone",
                "CephObjectZoneGroup",
                "CephRBDMirror",
            ],
            CEPH,
        ),
        rule(
            "objectbucket.io",
            &["ObjectBucketClaim"],
            &[
                is("/status/phase", &["Bound", "bound"], Healthy),
                is("/status/phase", &["Failed", "failed"], Degraded),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "ocs.openshift.io",
            &["StorageCluster"],
            &[
                is("/status/phase", &["Error"], Degraded).details(&["/status/errorPlacement", "/status/message"]),
                yes("Degraded", Degraded),
                OBSERVED,
                is("/status/phase", &["Ready", "Ignored"], Healthy),
                yes("Available", Healthy),
                rest("Progressing"),
            ],
        ),
        rule(
            "longhorn.io",
            &["Volume"],
            &[
                is("/status/robustness", &["faulted"], Degraded).says("faulted: no replica is left"),
                is("/status/robustness", &["degraded"], Degraded).says("degraded: some replicas are missing"),
                is("/status/state", &["attaching", "creating", "deleting", "detaching"], Progressing),
                is("/status/robustness", &["healthy"], Healthy),
                is("/status/state", &["detached"], Healthy),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule("longhorn.io", &["Node"], &[yes("Ready", Healthy), no("Ready", Degraded), rest("Ready")]),
        rule(
            "longhorn.io",
            &["Backup"],
            &[
                is("/status/state", &["Completed"], Healthy),
                is("/status/state", &["Error"], Degraded).details(&["/status/error"]),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule(
            "longhorn.io",
            &["BackupTarget"],
            &[flag("/status/available", Healthy), yes("Unavailable", Degraded), otherwise(Progressing)],
        ),
        rule(
            "minio.min.io",
            &["Tenant"],
            &[
                is("/status/healthStatus", &["red"], Degraded).says("health is red").details(&["/status/currentState"]),
                is("/status/healthStatus", &["yellow"], Progressing).says("health is yellow"),
                is(
                    "/status/currentState",
                    &[
                        "Another MinIO Tenant already exists in the namespace",
                        "Different versions across MinIO Pools",
                        "Different versions across MinIO Zones",
                        "Pool Decommissioning Not Allowed",
                        "Statefulset not controlled by operator",
                        "Tenant credentials are not set properly",
                    ],
                    Degraded,
                ),
                is("/status/currentState", &["Initialized"], Healthy),
                otherwise(Progressing).details(&["/status/currentState"]),
            ],
        ),
        rule("snapshot.storage.k8s.io", &["VolumeSnapshot", "VolumeSnapshotContent"], SNAPSHOT),
    ],
};
