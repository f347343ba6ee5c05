//! Istio and its operators. The mesh's own kinds say little: most have a status only where something is wrong.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, Line, OBSERVED, is, item, no, otherwise, rest, rule, yes};

const CONFIGURATION: &[Line] = &[
    item("/status/validationMessages", &[("level", "ERROR")], Degraded).details(&[
        "/description",
        "/type/name",
        "/documentationUrl",
    ]),
    no("WaypointAccepted", Degraded),
    no("ZtunnelAccepted", Degraded),
    no("Reconciled", Progressing),
    otherwise(Healthy),
];

const SAIL: &[Line] = &[OBSERVED, no("Reconciled", Degraded), yes("Ready", Healthy), rest("Ready")];

pub(super) const FAMILY: Family = Family {
    name: "Istio",
    rules: &[
        rule("extensions.istio.io", &["WasmPlugin"], CONFIGURATION),
        rule(
            "install.istio.io",
            &["IstioOperator"],
            &[
                is("/status/status", &["HEALTHY"], Healthy),
                is("/status/status", &["ERROR", "ACTION_REQUIRED"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/status"]),
            ],
        ),
        rule(
            "networking.istio.io",
            &[
                "DestinationRule",
                "EnvoyFilter",
                "Gateway",
                "ProxyConfig",
                "ServiceEntry",
                "Sidecar",
                "VirtualService",
                "WorkloadEntry",
                "WorkloadGroup",
            ],
            CONFIGURATION,
        ),
        rule(
            "security.istio.io",
            &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"],
            CONFIGURATION,
        ),
        rule("telemetry.istio.io", &["Telemetry"], CONFIGURATION),
        rule("sailoperator.io", &["Istio", "IstioCNI", "IstioRevision", "ZTunnel"], SAIL),
    ],
};
