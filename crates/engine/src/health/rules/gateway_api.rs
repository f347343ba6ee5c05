//! Gateway API, and the policies of its implementations that report in the same manner: one answer from each gateway.

use jiff::Timestamp;
use resources::HealthStatus::{self, Degraded, Healthy, Progressing};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{
    Family, Line, OBSERVED, READY, UNOBSERVED, behind_in, by_age, list, no, otherwise, part_is_behind, rest, rule,
    worst, yes,
};
use crate::health::{Condition, GRACE, Health, condition, number};

/// Why something is not programmed, and will not be before somebody changes it.
const FOR_GOOD: &[&str] = &["AddressNotUsable", "Invalid", "NoResources"];

const GATEWAY: &[Line] = &[
    behind_in("Accepted"),
    behind_in("Programmed"),
    no("Accepted", Progressing).only(&["Pending"]),
    no("Accepted", Degraded).patient(),
    no("ResolvedRefs", Degraded).patient(),
    no("Programmed", Degraded).only(FOR_GOOD).patient(),
    no("Programmed", Progressing),
    yes("Programmed", Healthy),
    // Implementations of the first version.
    yes("Ready", Healthy),
    rest("Programmed"),
];

const ROUTE: &[Line] = &[by_age(parents)];
const POLICY: &[Line] = &[by_age(ancestors)];
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
        rule("gateway.networking.k8s.io", &["Gateway", "ListenerSet"], &[by_age(gateway)]),
        rule("gateway.networking.x-k8s.io", &["XListenerSet"], &[by_age(gateway)]),
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

fn parents(object: &Object, now: Timestamp) -> Health {
    each(object, "/status/parents", "parentRef", now)
}

fn ancestors(object: &Object, now: Timestamp) -> Health {
    each(object, "/status/ancestors", "ancestorRef", now)
}

/// The worst of what the gateways say.
pub(super) fn each(object: &Object, at: &str, reference: &str, now: Timestamp) -> Health {
    let parts = list(object, at);
    let counted = parts.iter().filter(|part| !is_left_behind(object, parts, part, reference));
    let answers = counted.map(|part| part_health(object, part, now));
    worst(answers).unwrap_or_else(|| Health::progressing("waiting for a gateway to take it"))
}

/// Whether an entry about an older generation will never be about the newest: what the object refers to no more, what another
/// controller has taken over, and what its own controller left as it was while it wrote the others.
fn is_left_behind(object: &Object, parts: &[Value], part: &Value, reference: &str) -> bool {
    if !part_is_behind(object, part) {
        return false;
    }
    let place = |reference: &Value| {
        let text =
            |field: &str, otherwise: &str| reference.get(field).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
        let kind = (text("group", "gateway.networking.k8s.io"), text("kind", "Gateway"));
        let port = reference.get("port").and_then(Value::as_i64);
        (kind, text("namespace", object.namespace()), text("name", ""), text("sectionName", ""), port)
    };
    let own = part.get(reference).map(place);
    let wanted = list(object, "/spec/parentRefs");
    let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| Some(place(wanted)) == own);
    let same = |other: &&Value| {
        other.get("controllerName") == part.get("controllerName")
            || (own.is_some() && other.get(reference).map(place) == own)
    };
    !is_wanted || parts.iter().filter(same).any(|other| !part_is_behind(object, other))
}

fn part_conditions(part: &Value) -> impl Iterator<Item = Condition<'_>> {
    part.get("conditions").and_then(Value::as_array).into_iter().flatten().map(condition)
}

/// What one gateway says of a route or a policy.
fn part_health(object: &Object, part: &Value, now: Timestamp) -> Health {
    if part_is_behind(object, part) {
        return Health::progressing(UNOBSERVED);
    }
    let mut accepted = false;
    for condition in part_conditions(part) {
        match condition.kind {
            "Accepted" | "ResolvedRefs" | "Programmed" if condition.is_false() && is_on_its_way(&condition) => {
                return Health::progressing(condition.text());
            }
            "Accepted" | "ResolvedRefs" | "Programmed" if condition.is_false() => {
                return refused(object, &condition, condition.text(), now);
            }
            "Accepted" => accepted = condition.is_true(),
            _ => {}
        }
    }
    if accepted { Health::healthy() } else { Health::progressing("waiting to be accepted") }
}

fn is_on_its_way(condition: &Condition<'_>) -> bool {
    condition.reason == "Pending" || (condition.kind == "Programmed" && !FOR_GOOD.contains(&condition.reason))
}

/// What it refers to (a gateway, a Service, a certificate that is being issued) often comes with the same push.
fn refused(object: &Object, condition: &Condition<'_>, message: impl Into<String>, now: Timestamp) -> Health {
    Health::degraded(message).after(GRACE, condition.since.or_else(|| object.created_at()), now)
}

fn gateway(object: &Object, now: Timestamp) -> Health {
    let found = GATEWAY.iter().find_map(|line| line.answer(object, now));
    match (found, listeners(object, now)) {
        (Some(found), Some(listeners)) if found.status < HealthStatus::Degraded => listeners,
        (found, listeners) => {
            found.or(listeners).unwrap_or_else(|| Health::progressing("waiting for a controller to program it"))
        }
    }
}

/// A listener whose certificate or route kinds cannot be had, or that conflicts with another.
fn listeners(object: &Object, now: Timestamp) -> Option<Health> {
    let newest = number(object, "/metadata/generation");
    list(object, "/status/listeners").iter().find_map(|listener| {
        let all = listener.get("conditions").and_then(Value::as_array)?;
        let wrong = all.iter().find_map(|value| {
            let seen = value.get("observedGeneration").and_then(Value::as_i64);
            let condition = condition(value);
            let is_wrong = match condition.kind {
                "ResolvedRefs" => condition.is_false(),
                "Accepted" => condition.is_false() && !is_on_its_way(&condition),
                "Programmed" => condition.is_false() && FOR_GOOD.contains(&condition.reason),
                "Conflicted" => condition.is_true(),
                _ => false,
            };
            (is_wrong && seen.is_none_or(|seen| newest.is_none_or(|newest| seen >= newest))).then_some(condition)
        })?;
        let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(refused(object, &wrong, format!("listener {name}: {}", wrong.text()), now))
    })
}
