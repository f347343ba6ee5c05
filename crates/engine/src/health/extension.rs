//! What extends the API: CustomResourceDefinitions and APIServices.

use jiff::Timestamp;
use resources::Object;

use super::{GRACE, Health, conditions, find_condition};

pub(super) fn custom_resource_definition(object: &Object, now: Timestamp) -> Health {
    let (mut established, mut refused) = (false, None);
    for condition in conditions(object) {
        match condition.kind {
            "Terminating" if condition.is_true() => return Health::progressing(condition.text()),
            "NamesAccepted" if condition.is_false() => return Health::degraded(condition.text()),
            "NonStructuralSchema" if condition.is_true() => return Health::degraded(condition.text()),
            "KubernetesAPIApprovalPolicyConformant" if condition.is_false() => {
                return Health::degraded(condition.text());
            }
            "Established" if condition.is_true() => established = true,
            "Established" => refused = Some(condition),
            _ => {}
        }
    }
    match refused {
        _ if established => Health::healthy(),
        // It takes some seconds, not minutes.
        Some(condition) if condition.is_false() => {
            let health =
                Health::degraded(if condition.text().is_empty() { "not established" } else { condition.text() });
            health.after(GRACE, condition.since.or_else(|| object.created_at()), now)
        }
        _ => Health::progressing("waiting to be established"),
    }
}

pub(super) fn api_service(object: &Object) -> Health {
    match find_condition(object, "Available") {
        Some(available) if available.is_true() => Health::healthy(),
        Some(available) => Health::progressing(available.text()),
        None => Health::progressing("waiting to be available"),
    }
}
