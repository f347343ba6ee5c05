//! Networks, ingress controllers and DNS.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Unknown};
use resources::Object;

use crate::health::Health;
use crate::health::rule::{
    Family, Line, OBSERVED, UNOBSERVED, absent, ask, behind_in, is, no, otherwise, part_is_behind, rest, rule, when,
    yes,
};

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
                behind_in("Valid"),
                yes("Valid", Healthy),
                no("Valid", Degraded).patient(),
                is("/status/currentStatus", &["valid"], Healthy),
                is("/status/currentStatus", &["invalid", "orphaned"], Degraded).details(&["/status/description"]),
                otherwise(Progressing).details(&["/status/description"]),
            ],
        ),
        rule(
            "projectcontour.io",
            &["ExtensionService"],
            &[behind_in("Valid"), yes("Valid", Healthy), no("Valid", Degraded).patient(), rest("Valid")],
        ),
        rule(
            "proclaim.dogmatiq.io",
            &["DNSSDServiceInstance"],
            &[
                ask(unseen),
                no("Adopted", Degraded),
                when("Advertised", "Unknown", Degraded).only(&["AdvertiseError", "UnadvertiseError"]),
                no("Advertised", Degraded),
                // DNS takes some time to tell.
                no("Discoverable", Progressing),
                when("Adopted", "Unknown", Unknown),
                when("Advertised", "Unknown", Unknown),
                when("Discoverable", "Unknown", Unknown),
                yes("Discoverable", Healthy),
                otherwise(Progressing),
            ],
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

/// A condition of an older generation.
fn unseen(object: &Object) -> Option<Health> {
    let status = object.at("/status")?;
    part_is_behind(object, status).then(|| Health::progressing(UNOBSERVED))
}
