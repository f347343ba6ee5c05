//! The conventions that most custom resources follow: `observedGeneration`, and the conditions `Stalled`, `Reconciling`, `Ready`.

use resources::Object;

use super::rule::UNOBSERVED;
use super::{Health, find_condition, number};

pub(super) fn custom_resource(object: &Object) -> Option<Health> {
    // Without a status there is nothing to judge: many kinds are pure settings.
    object.at("/status").filter(|status| !status.is_null())?;
    if let (Some(generation), Some(observed)) =
        (number(object, "/metadata/generation"), number(object, "/status/observedGeneration"))
        && observed < generation
    {
        return Some(Health::progressing(UNOBSERVED));
    }
    let is_true = |kind: &str| find_condition(object, kind).filter(|condition| condition.is_true());
    if let Some(stalled) = is_true("Stalled") {
        return Some(Health::degraded(stalled.text()));
    }
    if let Some(reconciling) = is_true("Reconciling") {
        return Some(Health::progressing(reconciling.text()));
    }
    let ready = find_condition(object, "Ready").or_else(|| find_condition(object, "Available"))?;
    Some(if ready.is_true() { Health::healthy() } else { Health::progressing(ready.text()) })
}
