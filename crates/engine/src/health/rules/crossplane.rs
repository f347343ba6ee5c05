//! Crossplane: packages, definitions, and the managed resources of every provider.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, OBSERVED, exists, no, otherwise, rest, rule, yes};

const PACKAGE: &[Line] = &[
    no("Synced", Suspended).only(&["ReconcilePaused"]),
    no("Installed", Degraded).only(&["UnpackingPackage"]).patient(),
    // Its revisions are activated by hand.
    no("Installed", Suspended).only(&["InactivePackageRevision"]),
    no("Installed", Degraded),
    // Its pods are on their way.
    no("Healthy", Degraded)
        .about(&["has no condition of type \"Available\" yet", "deployment is unavailable"])
        .patient(),
    no("Healthy", Degraded),
    yes("Healthy", Healthy),
    rest("Healthy"),
];

const MANAGED: &[Line] = &[
    no("Synced", Suspended).only(&["ReconcilePaused"]),
    no("LastAsyncOperation", Degraded),
    no("Synced", Degraded),
    OBSERVED,
    yes("Ready", Healthy),
    no("Ready", Progressing),
    // Settings such as a ProviderConfig have no parameters for a provider.
    exists("/spec/forProvider", Progressing).says("waiting for its provider"),
];

const SETTINGS: &[Line] = &[otherwise(Healthy)];

pub(super) const FAMILY: Family = Family {
    name: "Crossplane",
    rules: &[
        rule("pkg.crossplane.io", &["Configuration", "Function", "Provider"], PACKAGE),
        rule(
            "apiextensions.crossplane.io",
            &["CompositeResourceDefinition"],
            &[no("Offered", Progressing), yes("Established", Healthy), rest("Established")],
        )
        // What is wrong with one is refused, or told in events.
        .never(&[Degraded]),
        rule("apiextensions.crossplane.io", &["Composition"], SETTINGS).never(&[Progressing, Degraded]),
        // Before version 0.10.
        rule(
            "stacks.crossplane.io",
            &["ClusterStackInstall", "StackInstall"],
            &[yes("Ready", Healthy), no("Synced", Degraded), rest("Ready")],
        ),
        rule("*.crossplane.io", &["*"], MANAGED),
        rule("*.upbound.io", &["*"], MANAGED),
    ],
};
