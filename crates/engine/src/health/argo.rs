//! Applications and ApplicationSets as objects of an application (app of apps).

use resources::{HealthStatus, Object};

use super::{Health, find_condition, text};

pub(super) fn application(object: &Object) -> Health {
    match text(object, "/status/health/status") {
        "" => Health::progressing("waiting for the application to be reconciled"),
        status => Health::new(HealthStatus::from(status), text(object, "/status/health/message")),
    }
}

pub(super) fn application_set(object: &Object) -> Health {
    if let Some(error) = find_condition(object, "ErrorOccurred").filter(|condition| condition.is_true()) {
        return Health::degraded(error.text());
    }
    if let Some(rollout) = find_condition(object, "RolloutProgressing").filter(|condition| condition.is_true()) {
        return Health::progressing(rollout.text());
    }
    match find_condition(object, "ResourcesUpToDate") {
        Some(current) if current.is_true() => Health::healthy(),
        Some(current) => Health::progressing(current.text()),
        None => Health::progressing("waiting for the ApplicationSet to be reconciled"),
    }
}
