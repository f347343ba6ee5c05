//! Flux: sources, Kustomizations, Helm releases, images and notifications; the Flux operator and the Terraform controller.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;

use crate::health::rule::{Family, Line, OBSERVED, absent, ask, flag, is, no, rest, rule, yes};
use crate::health::{Health, text};

/// While it tries, `Reconciling`, and `Ready` is unknown; when it failed and will try again, still `Reconciling`, and `Ready` says why.
const LINES: &[Line] = &[
    flag("/spec/suspend", Suspended).says("suspended"),
    ask(static_repository),
    OBSERVED,
    yes("Stalled", Degraded),
    no("Ready", Progressing).only(&["Progressing"]),
    // What it needs comes with the same push, a moment later.
    no("Ready", Degraded).only(&["ArtifactFailed", "DependencyNotReady", "SourceNotReady"]).patient(),
    no("Ready", Degraded),
    yes("Reconciling", Progressing),
    yes("Ready", Healthy),
    rest("Ready"),
];

const NOTIFICATION: &[Line] = &[
    flag("/spec/suspend", Suspended).says("suspended"),
    // Settings without a controller of their own since v1beta3.
    absent("/status/conditions", Healthy),
    OBSERVED,
    no("Ready", Degraded),
    yes("Ready", Healthy),
    rest("Ready"),
];

const OPERATOR: &[Line] = &[
    is("/metadata/annotations/fluxcd.controlplane.io~1reconcile", &["disabled"], Suspended).says("disabled"),
    OBSERVED,
    yes("Stalled", Degraded),
    yes("Reconciling", Progressing).except(&["ProgressingWithRetry"]),
    no("Ready", Degraded),
    yes("Ready", Healthy),
    rest("Ready"),
];

pub(super) const FAMILY: Family = Family {
    name: "Flux",
    rules: &[
        rule("helm.toolkit.fluxcd.io", &["HelmRelease"], LINES),
        rule("image.toolkit.fluxcd.io", &["ImagePolicy", "ImageRepository", "ImageUpdateAutomation"], LINES),
        rule("infra.contrib.fluxcd.io", &["Terraform"], LINES),
        rule("kustomize.toolkit.fluxcd.io", &["Kustomization"], LINES),
        rule("notification.toolkit.fluxcd.io", &["Alert", "Provider"], NOTIFICATION),
        rule("notification.toolkit.fluxcd.io", &["Receiver"], LINES),
        rule(
            "source.toolkit.fluxcd.io",
            &["Bucket", "ExternalArtifact", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository"],
            LINES,
        ),
        rule("source.extensions.fluxcd.io", &["ArtifactGenerator"], LINES),
        rule("fluxcd.controlplane.io", &["FluxInstance", "ResourceSet", "ResourceSetInputProvider"], OPERATOR),
    ],
};

/// A Helm repository in an OCI registry is an address that releases refer to: nothing is fetched, nothing is reported.
fn static_repository(object: &Object) -> Option<Health> {
    let is_static = object.kind() == "HelmRepository"
        && text(object, "/spec/type") == "oci"
        && object.at("/status/conditions").is_none();
    is_static.then(Health::healthy)
}
