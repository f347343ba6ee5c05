//! Secrets and identities: External Secrets, Sealed Secrets, Vault, 1Password, Keycloak.

use resources::HealthStatus::{Degraded, Healthy, Progressing};
use resources::Object;

use crate::health::rule::{
    Family, Line, OBSERVED, READY, UNOBSERVED, ask, begins, flag, is, no, otherwise, present, rest, rule, yes,
};
use crate::health::{Health, find_condition, number, text};

const VAULT: &[Line] = &[
    flag("/status/valid", Healthy),
    is("/status/valid", &["false"], Degraded).says("not valid").details(&["/status/error"]),
    otherwise(Progressing),
];

pub(super) const FAMILY: Family = Family {
    name: "Secrets and identities",
    rules: &[
        rule(
            "bitnami.com",
            &["SealedSecret"],
            &[OBSERVED, yes("Synced", Healthy), no("Synced", Degraded), rest("Synced")],
        ),
        rule(
            "external-secrets.io",
            &["ExternalSecret"],
            &[
                ask(not_yet_synced),
                yes("Ready", Healthy),
                // Its store comes with the same push.
                no("Ready", Progressing).about(&["is not ready"]),
                no("Ready", Degraded),
                rest("Ready"),
            ],
        ),
        rule("external-secrets.io", &["ClusterPushSecret", "ClusterSecretStore", "PushSecret", "SecretStore"], READY),
        rule(
            "external-secrets.io",
            &["ClusterExternalSecret"],
            &[
                OBSERVED,
                // Of versions that say it in three conditions.
                yes("NotReady", Degraded),
                yes("PartiallyReady", Degraded),
                yes("Ready", Healthy),
                no("Ready", Degraded),
                present("/status/failedNamespaces", Degraded).says("namespaces that could not be served"),
                rest("Ready"),
            ],
        ),
        // The project before External Secrets; its status begins with `ERROR, ` and the reason.
        rule(
            "kubernetes-client.io",
            &["ExternalSecret"],
            &[
                OBSERVED,
                is("/status/status", &["SUCCESS"], Healthy),
                begins("/status/status", &["ERROR"], Degraded),
                otherwise(Progressing),
            ],
        ),
        rule(
            "k8s.keycloak.org",
            &["Keycloak"],
            &[OBSERVED, yes("HasErrors", Degraded), yes("Ready", Healthy), rest("Ready")],
        ),
        rule(
            "k8s.keycloak.org",
            &["KeycloakRealmImport"],
            &[yes("HasErrors", Degraded), yes("Done", Healthy), rest("Started")],
        ),
        rule("onepassword.com", &["OnePasswordItem"], READY),
        rule("secrets.hashicorp.com", &["VaultAuth", "VaultAuthGlobal", "VaultConnection"], VAULT),
    ],
};

/// The operator writes `GENERATION-HASH` of what it has synced. A secret that is created only once is never synced again.
fn not_yet_synced(object: &Object) -> Option<Health> {
    let ready = find_condition(object, "Ready").is_some_and(|ready| ready.is_true());
    if !ready || text(object, "/spec/refreshPolicy") == "CreatedOnce" {
        return None;
    }
    let synced: i64 = text(object, "/status/syncedResourceVersion").split('-').next()?.parse().ok()?;
    (synced < number(object, "/metadata/generation")?).then(|| Health::progressing(UNOBSERVED))
}
