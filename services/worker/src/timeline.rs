//! When each step of section 1 of the design was reached, from the webhook's arrival to the posted check.

use jiff::Timestamp;

/// The moments of one reconcile, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline(Vec<(String, i64)>);

impl Timeline {
    /// Notes that a step has just been reached.
    pub fn mark(&mut self, step: &str) {
        self.mark_at(step, Timestamp::now().as_microsecond());
    }

    /// Notes that a step was reached at a time (microseconds since 1970). The first time counts.
    pub fn mark_at(&mut self, step: &str, at: i64) {
        if at > 0 && !self.0.iter().any(|(name, _)| name == step) {
            self.0.push((step.into(), at));
        }
    }

    /// Takes up the moments of an earlier stretch of the same way.
    pub fn merge(&mut self, other: &Timeline) {
        for (step, at) in &other.0 {
            self.mark_at(step, *at);
        }
        self.0.sort_by_key(|(_, at)| *at);
    }

    /// As it stands in a report.
    pub fn steps(&self) -> Vec<wire::Step> {
        self.0.iter().map(|(name, at)| wire::Step { name: name.clone(), at_unix_us: *at }).collect()
    }
}
