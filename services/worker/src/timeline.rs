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

    /// Seconds between two steps, if both were reached.
    pub fn between(&self, from: &str, to: &str) -> Option<f64> {
        let at = |step: &str| self.0.iter().find(|(name, _)| name == step).map(|(_, at)| *at);
        let micros = u32::try_from(at(to)? - at(from)?).ok()?;
        Some(f64::from(micros) / 1e6)
    }

    /// As it stands in a report.
    pub fn steps(&self) -> Vec<wire::Step> {
        self.0.iter().map(|(name, at)| wire::Step { name: name.clone(), at_unix_us: *at }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_of_a_step_counts_and_merging_keeps_the_order() {
        let (mut first, mut second) = (Timeline::default(), Timeline::default());
        first.mark_at("received", 1_000_000);
        second.mark_at("applied", 1_500_000);
        second.mark_at("received", 9_000_000);
        first.merge(&second);
        let names: Vec<String> = first.steps().into_iter().map(|step| step.name).collect();
        assert_eq!(names, ["received", "applied"]);
        assert_eq!(first.between("received", "applied"), Some(0.5));
        assert_eq!(first.between("received", "healthy"), None);
    }
}
