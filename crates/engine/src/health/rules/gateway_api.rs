//! Gateway API, and the policies of its implementations that report in the same manner: one answer from each gateway.

use resources::HealthStatus::{Degraded, Healthy, Progressing};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{
    Family, Line, OBSERVED, READY, UNOBSERVED, ask, behind_in, by, list, no, otherwise, part_is_behind, rest, rule,
    worst, yes,
};
use crate::health::{Condition, Health, condition};

const GATEWAY: &[Line] = &[
    behind_in("Accepted"),
    behind_in("Programmed"),
    no("Accepted", Progressing).only(&["Pending"]),
    no("Accepted", Degraded),
    ask(listeners),
    no("Programmed", Progressing).only(&["Pending", "AddressNotAssigned"]),
    no("Programmed", Degraded),
    yes("Programmed", Healthy),
    // Implementations of the first version.
    yes("Ready", Healthy),
    rest("Programmed"),
];

const ROUTE: &[Line] = &[by(parents)];
const POLICY: &[Line] = &[by(ancestors)];
const ACCEPTED: &[Line] =
    &[behind_in("Accepted"), yes("Accepted", Healthy), no("Accepted", Degraded), rest("Accepted")];

const ENFORCED: &[Line] =
    &[OBSERVED, no("Accepted", Degraded), yes("Enforced", Healthy), no("Enforced", Progressing), rest("Accepted")];

pub(super) const FAMILY: Family = Family {
    name: "Gateway API",
    rules: &[
        rule(
            "gateway.networking.k8s.io",
            &["GatewayClass"],
            &[
                behind_in("Accepted"),
                yes("Accepted", Healthy),
                no("Accepted", Progressing).only(&["Waiting", "Pending"]),
                no("Accepted", Degraded),
                rest("Accepted"),
            ],
        ),
        rule("gateway.networking.k8s.io", &["Gateway", "ListenerSet"], GATEWAY),
        rule("gateway.networking.x-k8s.io", &["XListenerSet"], GATEWAY),
        rule("gateway.networking.k8s.io", &["GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute", "UDPRoute"], ROUTE),
        rule("gateway.networking.k8s.io", &["BackendLBPolicy", "BackendTLSPolicy"], POLICY),
        rule("gateway.networking.x-k8s.io", &["XBackendTrafficPolicy"], POLICY),
        rule("policy.linkerd.io", &["HTTPRoute"], ROUTE),
        rule("gateway.envoyproxy.io", &["Backend"], ACCEPTED),
        rule(
            "gateway.envoyproxy.io",
            &[
                "BackendTrafficPolicy",
                "ClientTrafficPolicy",
                "EnvoyExtensionPolicy",
                "EnvoyPatchPolicy",
                "SecurityPolicy",
            ],
            POLICY,
        ),
        rule("gateway.kgateway.dev", &["BackendConfigPolicy", "HTTPListenerPolicy", "TrafficPolicy"], POLICY),
        rule("kuadrant.io", &["AuthPolicy", "DNSPolicy", "RateLimitPolicy", "TLSPolicy"], ENFORCED),
        rule("kuadrant.io", &["DNSRecord", "Kuadrant"], READY),
        // Permissions without a controller.
        rule("gateway.networking.k8s.io", &["ReferenceGrant"], &[otherwise(Healthy)]).never(&[Progressing, Degraded]),
    ],
};

fn parents(object: &Object) -> Health {
    each(object, "/status/parents", "waiting for a gateway to take it")
}

fn ancestors(object: &Object) -> Health {
    each(object, "/status/ancestors", "waiting for a gateway to take it")
}

fn each(object: &Object, at: &str, none: &str) -> Health {
    worst(list(object, at).iter().map(|part| part_health(object, part))).unwrap_or_else(|| Health::progressing(none))
}

fn part_conditions(part: &Value) -> impl Iterator<Item = Condition<'_>> {
    part.get("conditions").and_then(Value::as_array).into_iter().flatten().map(condition)
}

/// What one gateway says of a route or a policy.
fn part_health(object: &Object, part: &Value) -> Health {
    if part_is_behind(object, part) {
        return Health::progressing(UNOBSERVED);
    }
    let mut accepted = false;
    for condition in part_conditions(part) {
        match condition.kind {
            "Accepted" | "ResolvedRefs" | "Programmed" if condition.is_false() => {
                return if condition.reason == "Pending" {
                    Health::progressing(condition.text())
                } else {
                    Health::degraded(condition.text())
                };
            }
            "Accepted" => accepted = condition.is_true(),
            _ => {}
        }
    }
    if accepted { Health::healthy() } else { Health::progressing("waiting to be accepted") }
}

/// A listener whose certificate or route kinds cannot be had, or that conflicts with another.
fn listeners(object: &Object) -> Option<Health> {
    list(object, "/status/listeners").iter().find_map(|listener| {
        let wrong = part_conditions(listener).find(|condition| {
            (condition.kind == "ResolvedRefs" && condition.is_false())
                || (condition.kind == "Conflicted" && condition.is_true())
        })?;
        let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(Health::degraded(format!("listener {name}: {}", wrong.text())))
    })
}
