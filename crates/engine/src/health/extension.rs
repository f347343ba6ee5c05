//! What extends the API: CustomResourceDefinitions and APIServices.

use resources::Object;

use super::{Health, conditions, find_condition};

pub(super) fn custom_resource_definition(object: &Object) -> Health {
    let mut established = false;
    for condition in conditions(object) {
        match condition.kind {
            "Terminating" if condition.is_true() => return Health::progressing(condition.text()),
            "NamesAccepted" if condition.is_false() => return Health::degraded(condition.text()),
            "NonStructuralSchema" if condition.is_true() => return Health::degraded(condition.text()),
            "Established" => established = condition.is_true(),
            _ => {}
        }
    }
    if established { Health::healthy() } else { Health::progressing("waiting to be established") }
}

pub(super) fn api_service(object: &Object) -> Health {
    match find_condition(object, "Available") {
        Some(available) if available.is_true() => Health::healthy(),
        Some(available) => Health::progressing(available.text()),
        None => Health::progressing("waiting to be available"),
    }
}
