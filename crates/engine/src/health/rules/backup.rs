//! Backups: Velero, K8up, VolSync, Kanister.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, flag, is, otherwise, present, rest, rule, yes};

/// `…PartiallyFailed` on the way is still on the way; the last phase counts.
const VELERO: &[Line] = &[
    is("/status/phase", &["Completed"], Healthy),
    is("/status/phase", &["Failed", "FailedValidation", "PartiallyFailed"], Degraded).details(&[
        "/status/failureReason",
        "/status/validationErrors",
        "/status/message",
    ]),
    is("/status/phase", &["Canceled"], Degraded).details(&["/status/message"]),
    otherwise(Progressing).details(&["/status/phase"]),
];

const K8UP: &[Line] = &[yes("Completed", Degraded).only(&["Failed"]), yes("Completed", Healthy), rest("Progressing")];

const VOLSYNC: &[Line] = &[
    flag("/spec/paused", Suspended).says("paused"),
    is("/status/latestMoverStatus/result", &["Failed"], Degraded).details(&["/status/latestMoverStatus/logs"]),
    // Between the runs and during later ones alike.
    present("/status/lastSyncTime", Healthy),
    rest("Synchronizing"),
];

pub(super) const FAMILY: Family = Family {
    name: "Backups",
    rules: &[
        rule(
            "velero.io",
            &["Backup", "DataDownload", "DataUpload", "PodVolumeBackup", "PodVolumeRestore", "Restore"],
            VELERO,
        ),
        rule(
            "velero.io",
            &["BackupRepository"],
            &[
                is("/status/phase", &["Ready"], Healthy),
                is("/status/phase", &["NotReady"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "velero.io",
            &["BackupStorageLocation"],
            &[
                is("/status/phase", &["Available"], Healthy),
                is("/status/phase", &["Unavailable"], Degraded).details(&["/status/message"]),
                otherwise(Progressing),
            ],
        ),
        rule(
            "velero.io",
            &["Schedule"],
            &[
                flag("/spec/paused", Suspended).says("paused"),
                is("/status/phase", &["Enabled"], Healthy),
                is("/status/phase", &["FailedValidation"], Degraded).details(&["/status/validationErrors"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("k8up.io", &["Archive", "Backup", "Check", "Prune", "Restore"], K8UP),
        rule("volsync.backube", &["ReplicationDestination", "ReplicationSource"], VOLSYNC),
        rule(
            "cr.kanister.io",
            &["ActionSet"],
            &[
                is("/status/state", &["complete"], Healthy),
                is("/status/state", &["failed"], Degraded).details(&["/status/error/message"]),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
    ],
};
