//! cert-manager, with trust-manager and approver-policy.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, Line, READY, behind_in, is, no, otherwise, rest, rule, yes};

const ISSUER: &[Line] = &[
    behind_in("Ready"),
    yes("Ready", Healthy),
    // The secret of a new authority is on its way: a Certificate of the same push.
    no("Ready", Progressing).only(&["ErrGetKeyPair"]),
    no("Ready", Degraded),
    rest("Ready"),
];

const OLD: &[Line] = &[
    yes("Ready", Healthy),
    no("Ready", Progressing).only(&["TemporaryCertificate"]),
    no("Ready", Degraded).only(&["ConfigError", "Expired"]),
    no("Ready", Degraded).patient(),
    rest("Ready"),
];

const ACME: &[Line] = &[
    is("/status/state", &["valid"], Healthy),
    is("/status/state", &["invalid", "expired", "errored"], Degraded).details(&["/status/reason"]),
    otherwise(Progressing).details(&["/status/reason", "/status/state"]),
];

pub(super) const FAMILY: Family = Family {
    name: "cert-manager",
    rules: &[
        rule("acme.cert-manager.io", &["Challenge", "Order"], ACME),
        rule(
            "cert-manager.io",
            &["Certificate"],
            &[
                behind_in("Ready"),
                // Also while it is renewed, and if a renewal failed: it is good until it expires.
                yes("Ready", Healthy),
                no("Issuing", Degraded).except(&["Issued"]),
                yes("Issuing", Progressing),
                no("Ready", Degraded).only(&["ConfigError", "Expired"]),
                // Nobody issues it, and it is not there: a moment between two controllers, unless it lasts.
                no("Ready", Degraded).patient(),
                rest("Ready"),
            ],
        ),
        // Version 0.10 and before.
        rule("certmanager.k8s.io", &["Certificate"], OLD),
        rule("certmanager.k8s.io", &["ClusterIssuer", "Issuer"], ISSUER),
        rule(
            "cert-manager.io",
            &["CertificateRequest"],
            &[
                yes("InvalidRequest", Degraded),
                yes("Denied", Degraded),
                yes("Ready", Healthy),
                no("Ready", Degraded).only(&["Failed", "Denied"]),
                rest("Ready"),
            ],
        ),
        rule("cert-manager.io", &["ClusterIssuer", "Issuer"], ISSUER),
        rule("policy.cert-manager.io", &["CertificateRequestPolicy"], READY),
        rule(
            "trust.cert-manager.io",
            &["Bundle"],
            &[behind_in("Synced"), yes("Synced", Healthy), no("Synced", Degraded), rest("Synced")],
        ),
    ],
};
