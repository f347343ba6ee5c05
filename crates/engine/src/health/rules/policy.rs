//! Policy engines: Kyverno, Gatekeeper, Kubewarden.

use resources::HealthStatus::{Degraded, Healthy, Progressing};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{Family, Line, READY, UNOBSERVED, by, flag, is, item, list, no, otherwise, rest, rule, yes};
use crate::health::{Health, number};

const KYVERNO: &[Line] = &[
    yes("Ready", Healthy),
    // Its webhooks are not there yet.
    no("Ready", Progressing).about(&["Not Ready", "Not ready", "not ready"]),
    no("Ready", Degraded),
    // Before version 1.8.
    flag("/status/ready", Healthy),
    rest("Ready"),
];

const KYVERNO_CEL: &[Line] = &[
    flag("/status/conditionStatus/ready", Healthy),
    item("/status/conditionStatus/conditions", &[("type", "RBACPermissionsGranted"), ("status", "False")], Degraded),
    item("/status/conditionStatus/conditions", &[("status", "False")], Progressing),
    otherwise(Progressing),
];

const KUBEWARDEN: &[Line] = &[
    is("/status/policyStatus", &["active"], Healthy),
    is("/status/policyStatus", &["unschedulable"], Degraded),
    otherwise(Progressing).details(&["/status/policyStatus"]),
];

const GATEKEEPER: &[Line] = &[by(gatekeeper)];

pub(super) const FAMILY: Family = Family {
    name: "Policies",
    rules: &[
        rule("kyverno.io", &["ClusterPolicy", "Policy"], KYVERNO),
        rule("kyverno.io", &["GlobalContextEntry"], READY),
        rule(
            "kyverno.io",
            &["UpdateRequest"],
            &[
                is("/status/state", &["Completed", "Skip"], Healthy),
                is("/status/state", &["Failed"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule(
            "policies.kyverno.io",
            &[
                "DeletingPolicy",
                "GeneratingPolicy",
                "ImageValidatingPolicy",
                "MutatingPolicy",
                "NamespacedDeletingPolicy",
                "NamespacedGeneratingPolicy",
                "NamespacedImageValidatingPolicy",
                "NamespacedMutatingPolicy",
                "NamespacedValidatingPolicy",
                "ValidatingPolicy",
            ],
            KYVERNO_CEL,
        ),
        rule(
            "policies.kubewarden.io",
            &["AdmissionPolicy", "AdmissionPolicyGroup", "ClusterAdmissionPolicy", "ClusterAdmissionPolicyGroup"],
            KUBEWARDEN,
        ),
        rule("constraints.gatekeeper.sh", &["*"], GATEKEEPER),
        rule("expansion.gatekeeper.sh", &["ExpansionTemplate"], GATEKEEPER),
        rule("mutations.gatekeeper.sh", &["Assign", "AssignImage", "AssignMetadata", "ModifySet"], GATEKEEPER),
        rule("templates.gatekeeper.sh", &["ConstraintTemplate"], GATEKEEPER),
    ],
};

/// Each of its pods says whether it has taken the object, and what is wrong with it.
fn gatekeeper(object: &Object) -> Health {
    let pods = list(object, "/status/byPod");
    for pod in pods {
        if let Some(error) = pod.get("errors").and_then(Value::as_array).and_then(|errors| errors.first()) {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("refused");
            return Health::degraded(message);
        }
    }
    let newest = number(object, "/metadata/generation").unwrap_or(0);
    let seen = |pod: &Value| pod.get("observedGeneration").and_then(Value::as_i64).is_none_or(|seen| seen >= newest);
    match pods {
        [] => Health::progressing("waiting for Gatekeeper"),
        pods if pods.iter().all(seen) => Health::healthy(),
        _ => Health::progressing(UNOBSERVED),
    }
}
