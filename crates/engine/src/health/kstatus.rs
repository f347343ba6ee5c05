//! The conventions that most custom resources follow: `observedGeneration`, and the conditions `Stalled`, `Reconciling`, `Ready`.

use resources::Object;

use super::{Health, conditions, number};

pub(super) fn custom_resource(object: &Object) -> Option<Health> {
    // Without a status there is nothing to judge: many kinds are pure settings.
    object.at("/status").filter(|status| !status.is_null())?;
    if let (Some(generation), Some(observed)) =
        (number(object, "/metadata/generation"), number(object, "/status/observedGeneration"))
        && observed < generation
    {
        return Some(Health::progressing("waiting for its controller to see the change"));
    }
    let mut answer = None;
    for condition in conditions(object) {
        match condition.kind {
            "Stalled" if condition.is_true() => return Some(Health::degraded(condition.text())),
            "Reconciling" if condition.is_true() => answer = Some(Health::progressing(condition.text())),
            "Ready" | "Available" if answer.is_none() => {
                answer = Some(match condition.status {
                    "True" => Health::healthy(),
                    _ => Health::progressing(condition.text()),
                });
            }
            _ => {}
        }
    }
    answer
}
