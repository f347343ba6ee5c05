//! Networks, ingress controllers and DNS.

use resources::HealthStatus::{Degraded, Healthy, Progressing};

use crate::health::rule::{Family, Line, OBSERVED, absent, is, no, otherwise, rest, rule, yes};

const NGINX: &[Line] = &[
    is("/status/state", &["Valid"], Healthy),
    is("/status/state", &["Invalid", "Warning"], Degraded).details(&["/status/message"]),
    otherwise(Progressing).details(&["/status/state"]),
];

const CILIUM_POLICY: &[Line] = &[no("Valid", Degraded), otherwise(Healthy)];

pub(super) const FAMILY: Family = Family {
    name: "Networks, ingress and DNS",
    rules: &[
        // It is valid or not as soon as it is read.
        rule("cilium.io", &["CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy"], CILIUM_POLICY)
            .never(&[Progressing]),
        rule(
            "cilium.io",
            &["CiliumLoadBalancerIPPool"],
            &[yes("cilium.io/PoolConflict", Degraded), otherwise(Healthy)],
        )
        .never(&[Progressing]),
        rule(
            "cilium.io",
            &["CiliumBGPClusterConfig"],
            &[
                yes("cilium.io/ConflictingClusterConfig", Degraded),
                yes("cilium.io/MissingPeerConfigs", Degraded),
                yes("cilium.io/NoMatchingNode", Degraded),
                otherwise(Healthy),
            ],
        )
        .never(&[Progressing]),
        rule("consul.hashicorp.com", &["*"], &[no("Synced", Degraded), yes("Synced", Healthy), rest("Synced")]),
        rule(
            "externaldns.k8s.io",
            &["DNSEndpoint"],
            &[absent("/status/observedGeneration", Progressing), OBSERVED, otherwise(Healthy)],
        )
        // External DNS says only what it has seen.
        .never(&[Degraded]),
        rule(
            "getambassador.io",
            &["Host"],
            &[
                is("/status/state", &["Ready"], Healthy),
                is("/status/state", &["Error"], Degraded).details(&["/status/errorReason"]),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule("k8s.nginx.org", &["Policy", "TransportServer", "VirtualServer", "VirtualServerRoute"], NGINX),
        rule("operator.tigera.io", &["Installation", "TigeraStatus"], TIGERA),
        rule(
            "projectcontour.io",
            &["HTTPProxy"],
            &[
                is("/status/currentStatus", &["valid"], Healthy),
                is("/status/currentStatus", &["invalid", "orphaned"], Degraded).details(&["/status/description"]),
                otherwise(Progressing).details(&["/status/description"]),
            ],
        ),
        rule(
            "projectcontour.io",
            &["ExtensionService"],
            &[yes("Valid", Healthy), no("Valid", Degraded), rest("Valid")],
        ),
    ],
};

const TIGERA: &[Line] = &[
    yes("Degraded", Degraded),
    yes("Progressing", Progressing),
    yes("Ready", Healthy),
    yes("Available", Healthy),
    no("Available", Degraded),
    rest("Ready"),
];
