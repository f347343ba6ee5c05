//! Jobs and CronJobs.

use jiff::Timestamp;
use resources::Object;
use serde_json::Value;

use super::{Health, conditions, number, text};

pub(super) fn job(object: &Object) -> Health {
    let mut suspended = None;
    for condition in conditions(object).filter(|condition| condition.is_true()) {
        match condition.kind {
            "Failed" => return Health::degraded(condition.text()),
            "Complete" => return Health::healthy(),
            "Suspended" => suspended = Some(condition.text()),
            _ => {}
        }
    }
    if let Some(message) = suspended {
        return Health::suspended(message);
    }
    let (active, failed) =
        (number(object, "/status/active").unwrap_or(0), number(object, "/status/failed").unwrap_or(0));
    let message = match (active, failed) {
        (0, 0) => "waiting to start".into(),
        (active, 0) => format!("{active} running"),
        (active, failed) => format!("{active} running, {failed} failed"),
    };
    Health::progressing(message)
}

pub(super) fn cron_job(object: &Object) -> Health {
    // Git wants it suspended, and it is: there is nothing to wait for, and what failed before is past.
    if object.at("/spec/suspend") == Some(&true.into()) {
        return Health::healthy();
    }
    let time = |pointer: &str| text(object, pointer).parse::<Timestamp>().ok();
    let running = object.at("/status/active").and_then(Value::as_array).map_or(0, Vec::len);
    // While a run is under way, or before the first success, nothing says that anything is wrong.
    match (time("/status/lastScheduleTime"), time("/status/lastSuccessfulTime")) {
        (Some(scheduled), Some(succeeded)) if running == 0 && succeeded < scheduled => {
            Health::degraded(format!("the run of {scheduled} did not succeed"))
        }
        _ => Health::healthy(),
    }
}
