//! Management of APIs, and gateways that report in a manner of their own: 3scale, Gloo, Airlock.

use jiff::Timestamp;
use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;
use serde_json::Value;

use super::gateway_api::each;
use crate::health::rule::{Family, Line, ask, by_age, flag, is, list, no, otherwise, rest, rule, worst, yes};
use crate::health::{Health, find_condition, text};

/// All conditions are always there; the one that is true tells. `Failed` is tried again, `Orphan` has no account or product yet.
const THREESCALE: &[Line] = &[
    yes("Invalid", Degraded),
    yes("Orphan", Degraded).patient(),
    yes("Failed", Degraded).patient(),
    yes("Waiting", Suspended).patient(),
    yes("Ready", Healthy),
    yes("Synced", Healthy),
    otherwise(Progressing),
];

const DEVELOPER: &[Line] = &[
    yes("Invalid", Degraded),
    yes("Orphan", Degraded).patient(),
    yes("Failed", Degraded).patient(),
    flag("/spec/suspended", Suspended).says("suspended"),
    is("/status/accountState", &["pending", "rejected", "suspended"], Suspended),
    is("/status/developerUserState", &["pending", "suspended"], Suspended),
    // An account waits for its first user.
    yes("Waiting", Suspended).patient(),
    yes("Ready", Healthy),
    otherwise(Progressing),
];

const GLOO: &[Line] = &[ask(gloo), otherwise(Progressing)];

pub(super) const THREESCALE_FAMILY: Family = Family {
    name: "3scale",
    rules: &[
        rule(
            "apps.3scale.net",
            &["APIManager"],
            &[no("Preflights", Degraded), yes("Available", Healthy), rest("Available")],
        ),
        rule(
            "capabilities.3scale.net",
            &[
                "ActiveDoc",
                "ApplicationAuth",
                "Backend",
                "CustomPolicyDefinition",
                "OpenAPI",
                "Product",
                "ProxyConfigPromote",
            ],
            THREESCALE,
        ),
        rule(
            "capabilities.3scale.net",
            &["Application"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                is("/status/state", &["suspended", "pending"], Suspended),
                yes("Ready", Healthy),
                no("Ready", Degraded).patient(),
                rest("Ready"),
            ],
        ),
        rule("capabilities.3scale.net", &["DeveloperAccount", "DeveloperUser"], DEVELOPER),
        rule(
            "capabilities.3scale.net",
            &["Tenant"],
            &[yes("Ready", Healthy), no("Ready", Degraded).patient(), rest("Ready")],
        ),
    ],
};

pub(super) const GATEWAYS: Family = Family {
    name: "Gloo, Airlock",
    rules: &[
        rule(
            "gateway.solo.io",
            &["Gateway", "MatchableHttpGateway", "RouteOption", "RouteTable", "VirtualHostOption", "VirtualService"],
            GLOO,
        ),
        rule("gloo.solo.io", &["Proxy", "Settings", "Upstream", "UpstreamGroup"], GLOO),
        rule(
            "microgateway.airlock.com",
            &["*"],
            &[
                ask(airlock_policy_is_new),
                is("/status/status", &["Active", "Valid"], Healthy),
                is("/status/status", &["Error", "Invalid", "Warning"], Degraded),
                no("Accepted", Degraded).patient(),
                no("Valid", Degraded).patient(),
                no("ResolvedRefs", Degraded).patient(),
                no("Ready", Degraded).patient(),
                no("Programmed", Progressing),
                yes("Accepted", Healthy),
                yes("Valid", Healthy),
                yes("Ready", Healthy),
                yes("Programmed", Healthy),
                by_age(airlock_policy),
            ],
        ),
    ],
};

/// `status.state`, or one for each namespace that the controller runs in; older versions wrote the number of the state.
fn gloo(object: &Object) -> Option<Health> {
    let status = object.at("/status")?;
    let by_namespace = status.get("statuses").and_then(Value::as_object);
    let all = by_namespace.into_iter().flat_map(|all| all.values());
    worst(all.chain(std::iter::once(status)).filter_map(|status| {
        let state = status.get("state")?;
        let said = |otherwise: &str| {
            let reason = status.get("reason").and_then(Value::as_str).unwrap_or_default();
            if reason.is_empty() { otherwise.to_owned() } else { reason.to_owned() }
        };
        match (state.as_str(), state.as_i64()) {
            (Some("Pending"), _) | (_, Some(0)) => Some(Health::progressing(said("pending"))),
            (Some("Accepted"), _) | (_, Some(1)) => Some(Health::healthy()),
            (Some("Rejected"), _) | (_, Some(2)) => Some(Health::degraded(said("rejected"))),
            (Some("Warning"), _) | (_, Some(3)) => Some(Health::degraded(said("accepted with a warning"))),
            _ => None,
        }
    }))
}

/// In the mode without sidecars its kinds are policies of the Gateway API.
fn airlock_policy(object: &Object, now: Timestamp) -> Health {
    if list(object, "/status/ancestors").is_empty() {
        return Health::progressing("waiting for its controller");
    }
    each(object, "/status/ancestors", "ancestorRef", now)
}

fn airlock_policy_is_new(object: &Object) -> Option<Health> {
    let nothing = text(object, "/status/status").is_empty()
        && list(object, "/status/ancestors").is_empty()
        && ["Accepted", "Valid", "Ready", "Programmed"].into_iter().all(|kind| find_condition(object, kind).is_none());
    nothing.then(|| Health::progressing("waiting for its controller"))
}
