//! NetApp: Astra Control (now Trident protect) and Trident.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, flag, is, no, otherwise, present, rest, rule, yes};

const ERRORS: &[&str] = &["/status/error", "/status/errorMessage", "/status/message"];

/// What runs once.
const RUN: &[Line] = &[
    is("/status/state", &["Completed"], Healthy),
    is("/status/state", &["Blocked", "Error", "Failed"], Degraded).details(ERRORS),
    present("/status/state", Progressing),
    yes("Completed", Healthy),
    yes("Failed", Degraded),
    yes("Ready", Healthy),
    no("Ready", Degraded),
    otherwise(Progressing),
];

pub(super) const FAMILY: Family = Family {
    name: "NetApp",
    rules: &[
        rule(
            "astra.netapp.io",
            &["Application"],
            &[yes("Ready", Healthy), no("Ready", Degraded).patient(), rest("Ready")],
        ),
        rule(
            "astra.netapp.io",
            &["AppVault"],
            &[
                is("/status/state", &["Available", "available"], Healthy),
                is("/status/state", &["Error", "Failed", "error", "failed"], Degraded).details(ERRORS),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule("astra.netapp.io", &["Backup", "ExecHooksRun", "ResourceBackup", "ResticVolumeBackup", "Snapshot"], RUN),
        rule(
            "astra.netapp.io",
            &["ExecHook"],
            &[
                is("/spec/enabled", &["false"], Suspended).says("switched off"),
                flag("/spec/enabled", Healthy),
                otherwise(Progressing),
            ],
        )
        // Its runs say how they went.
        .never(&[Degraded]),
        rule(
            "trident.netapp.io",
            &["TridentBackendConfig"],
            &[
                is("/status/lastOperationStatus", &["Failed"], Degraded).details(&["/status/message"]),
                is("/status/phase", &["Lost", "Failed", "Unknown"], Degraded).details(&["/status/message"]),
                is("/status/lastOperationStatus", &["Success"], Healthy),
                is("/status/phase", &["Bound"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "trident.netapp.io",
            &["TridentOrchestrator"],
            &[
                is("/status/status", &["Installed"], Healthy),
                is("/status/status", &["Error", "Failed"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/status"]),
            ],
        ),
    ],
};
