//! KubeVirt and its importer, and NVIDIA's GPU operator.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{
    AVAILABLE_PROGRESSING_DEGRADED, Family, Line, flag, is, no, otherwise, present, rest, rule, yes,
};

/// The operators of both report all three conditions, and `Progressing` as true until all is deployed.
const OPERATOR: &[Line] = &[
    yes("Degraded", Degraded),
    is("/status/phase", &["Deploying", "Deleting"], Progressing),
    is("/status/phase", &["Error"], Degraded),
    yes("Progressing", Progressing),
    no("Available", Degraded),
    yes("Available", Healthy),
    rest("Available"),
];

const NVIDIA: &[Line] = &[
    yes("Error", Degraded),
    is("/status/state", &["ready"], Healthy),
    is("/status/state", &["disabled", "ignored"], Suspended),
    otherwise(Progressing).details(&["/status/state"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Virtual machines and GPUs",
    rules: &[
        rule("cdi.kubevirt.io", &["CDI"], OPERATOR),
        rule(
            "cdi.kubevirt.io",
            &["DataVolume"],
            &[
                is("/status/phase", &["Succeeded"], Healthy),
                is("/status/phase", &["Failed", "Unknown"], Degraded),
                is("/status/phase", &["Paused"], Suspended),
                // It tries again and again.
                no("Running", Degraded).only(&["Error"]).patient(),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("hco.kubevirt.io", &["HyperConverged"], AVAILABLE_PROGRESSING_DEGRADED),
        rule("kubevirt.io", &["KubeVirt"], OPERATOR),
        rule(
            "kubevirt.io",
            &["VirtualMachine"],
            &[
                is("/status/printableStatus", &["Paused", "Stopped"], Suspended),
                is(
                    "/status/printableStatus",
                    &[
                        "CrashLoopBackOff",
                        "DataVolumeError",
                        "ErrImagePull",
                        "ErrorDataVolumeNotFound",
                        "ErrorPvcNotFound",
                        "ErrorUnschedulable",
                        "ImagePullBackOff",
                        "Unknown",
                    ],
                    Degraded,
                ),
                // A live migration does not interrupt it.
                is("/status/printableStatus", &["Migrating"], Healthy),
                no("Ready", Progressing),
                is("/status/printableStatus", &["Running"], Healthy),
                otherwise(Progressing).details(&["/status/printableStatus"]),
            ],
        ),
        rule(
            "kubevirt.io",
            &["VirtualMachineInstance"],
            &[
                yes("Paused", Suspended),
                is("/status/phase", &["Failed", "Unknown"], Degraded).details(&["/status/reason"]),
                is("/status/phase", &["Succeeded"], Healthy),
                no("Ready", Progressing),
                is("/status/phase", &["Running"], Healthy),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "kubevirt.io",
            &["VirtualMachineInstanceMigration"],
            &[
                is("/status/phase", &["Succeeded"], Healthy),
                is("/status/phase", &["Failed"], Degraded),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "snapshot.kubevirt.io",
            &["VirtualMachineSnapshot"],
            &[
                is("/status/phase", &["Failed"], Degraded).details(&["/status/error/message"]),
                flag("/status/readyToUse", Healthy),
                present("/status/error", Degraded).details(&["/status/error/message"]),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule("nvidia.com", &["ClusterPolicy", "NVIDIADriver"], NVIDIA),
    ],
};
