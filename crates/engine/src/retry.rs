//! When a sync that failed is tried again.
//!
//! ```
//! use engine::retry::{Retry, policy, retry_decision};
//! # let application = resources::Application::parse(serde_json::json!({
//! #     "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway"},
//! #     "spec": {"destination": {"name": "in-cluster"}, "syncPolicy": {"automated": {}}},
//! # })).unwrap();
//! # let failed: jiff::Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
//! // Once failed, asked right after it: the policy's first wait is five seconds.
//! let retry = retry_decision(&policy(&application, None), 1, failed, failed);
//! assert_eq!(retry, Retry::At { at: "2026-01-05T12:00:05Z".parse().unwrap(), attempt: 1 });
//! ```

use jiff::{SignedDuration, Timestamp};
use resources::{Application, Operation, RetryStrategy};

/// How often an automated sync is tried again where nobody says.
pub const LIMIT: i64 = 5;
/// The first wait after all quick tries have failed, in seconds; it doubles each time.
const SLOW: i64 = 600;
/// The longest wait after that.
const SLOWEST: i64 = 3600;

/// How a sync that failed is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How often, and with which waits.
    pub strategy: RetryStrategy,
    /// Whether it is tried on after that, at long intervals: what kept it from succeeding may have been put right in the cluster,
    /// where nobody tells.
    pub keeps_on: bool,
}

impl Policy {
    /// Whether the revision is resolved again before each try (`retry.refresh`). An automated sync follows Git anyway: a newer
    /// commit takes the place of a retry at once.
    pub fn refreshes(&self) -> bool {
        self.strategy.refresh
    }
}

/// The policy of an operation that somebody asked for (its own, else it is not tried again), or, without one, that of the
/// application's automated syncs: its `syncPolicy.retry`, else five times. With `selfHeal` it is tried on at long intervals, unless
/// the limit is 0.
pub fn policy(application: &Application, asked: Option<&Operation>) -> Policy {
    if let Some(operation) = asked {
        return Policy { strategy: operation.retry.clone().unwrap_or_default(), keeps_on: false };
    }
    let default = || RetryStrategy { limit: LIMIT, ..RetryStrategy::default() };
    let strategy = application.spec.retry().cloned().unwrap_or_else(default);
    let heals = application.spec.automated().is_some_and(|automated| automated.self_heal);
    Policy { keeps_on: heals && strategy.limit != 0, strategy }
}

/// What becomes of a sync that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It is tried again now.
    Now {
        /// Which retry this is; the first is 1.
        attempt: u32,
    },
    /// It is tried again at this time.
    At {
        /// When.
        at: Timestamp,
        /// Which retry that will be; the first is 1.
        attempt: u32,
    },
    /// It is not tried again by itself. A newer commit or a change of the Application begins anew.
    Never,
}

/// Decides, after `failures` tries in a row of the same commits of which the last ended at `last_failure`.
pub fn retry_decision(policy: &Policy, failures: u32, last_failure: Timestamp, now: Timestamp) -> Retry {
    let attempt = failures.max(1);
    let quick = policy.strategy.limit < 0 || i64::from(attempt) <= policy.strategy.limit;
    let wait = if quick {
        SignedDuration::try_from(policy.strategy.wait(attempt - 1)).unwrap_or(SignedDuration::MAX)
    } else if policy.keeps_on {
        let over = i64::from(attempt).saturating_sub(policy.strategy.limit).saturating_sub(1);
        let doubled = SLOW.saturating_mul(2_i64.saturating_pow(u32::try_from(over).unwrap_or(u32::MAX)));
        SignedDuration::from_secs(doubled.min(SLOWEST))
    } else {
        return Retry::Never;
    };
    let at = last_failure.checked_add(wait).unwrap_or(Timestamp::MAX);
    if at <= now { Retry::Now { attempt } } else { Retry::At { at, attempt } }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn application(sync_policy: Value) -> Application {
        Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway"},
            "spec": {"destination": {"name": "in-cluster"}, "syncPolicy": sync_policy},
        }))
        .unwrap()
    }

    /// The seconds after which each retry comes.
    fn waits(policy: &Policy, count: u32) -> Vec<Option<i64>> {
        let failed: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        let wait = |failures| match retry_decision(policy, failures, failed, failed) {
            Retry::At { at, attempt } => {
                assert_eq!(attempt, failures);
                assert_eq!(retry_decision(policy, failures, failed, at), Retry::Now { attempt }, "it is due then");
                Some(at.duration_since(failed).as_secs())
            }
            Retry::Now { .. } => Some(0),
            Retry::Never => None,
        };
        (1..=count).map(wait).collect()
    }

    #[test]
    fn automated_syncs() {
        let quick = [Some(5), Some(10), Some(20), Some(40), Some(80)];
        for (sync_policy, want) in [
            (json!({"automated": {}}), [&quick[..], &[None, None]].concat()),
            (json!({"automated": {"selfHeal": true}}), {
                [&quick[..], &[Some(600), Some(1200), Some(2400), Some(3600), Some(3600)]].concat()
            }),
            (json!({"automated": {}, "retry": {"limit": 1}}), vec![Some(5), None]),
            (json!({"automated": {"selfHeal": true}, "retry": {"limit": 1}}), vec![Some(5), Some(600), Some(1200)]),
            (json!({"automated": {"selfHeal": true}, "retry": {"limit": 0}}), vec![None]),
            (json!({"automated": {}, "retry": {"limit": -1}}), {
                [&quick[..], &[Some(160), Some(180), Some(180)]].concat()
            }),
            (
                json!({"automated": {}, "retry": {"limit": 9, "backoff": {"duration": "1m", "factor": 3, "maxDuration": "5m"}}}),
                vec![Some(60), Some(180), Some(300), Some(300)],
            ),
        ] {
            let got = waits(&policy(&application(sync_policy.clone()), None), u32::try_from(want.len()).unwrap());
            assert_eq!(got, want, "{sync_policy}");
        }
    }

    #[test]
    fn operations_that_were_asked_for() {
        let app = application(json!({"automated": {"selfHeal": true}, "retry": {"limit": 3}}));
        for (operation, want) in [
            (json!({}), vec![None]),
            (json!({"retry": {"limit": 2}}), vec![Some(5), Some(10), None]),
            (json!({"retry": {"limit": -1}}), vec![Some(5), Some(10), Some(20)]),
        ] {
            let asked: Operation = serde_json::from_value(operation.clone()).unwrap();
            let policy = policy(&app, Some(&asked));
            assert_eq!(waits(&policy, u32::try_from(want.len()).unwrap()), want, "{operation}");
        }
        let asked: Operation = serde_json::from_value(json!({"retry": {"limit": 2, "refresh": true}})).unwrap();
        assert!(policy(&app, Some(&asked)).refreshes() && !policy(&app, None).refreshes());
    }

    #[test]
    fn it_comes_to_an_end_whatever_the_numbers() {
        let endless =
            Policy { strategy: RetryStrategy { limit: i64::MIN, ..RetryStrategy::default() }, keeps_on: false };
        assert_eq!(waits(&endless, 1), [Some(5)]);
        let failed: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        assert!(matches!(retry_decision(&endless, u32::MAX, failed, failed), Retry::At { .. }));
        let keeps_on = Policy { strategy: RetryStrategy { limit: 1, ..RetryStrategy::default() }, keeps_on: true };
        let retry = retry_decision(&keeps_on, u32::MAX, failed, failed);
        assert!(matches!(retry, Retry::At { at, .. } if at.duration_since(failed).as_secs() == SLOWEST));
        assert_eq!(retry_decision(&keeps_on, 0, failed, Timestamp::MAX), Retry::Now { attempt: 1 });
    }
}
