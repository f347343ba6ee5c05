//! What is to go wrong: the next calls to a path, the time until a push is visible, webhooks that are lost.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Everything that is to go wrong from now on. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// The first that matches a call and is not used up answers it.
    #[serde(default)]
    pub calls: Vec<Fault>,
    /// How long a push stays invisible.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// That many webhooks are recorded as failed without being sent.
    #[serde(default)]
    pub lose_deliveries: u32,
}

/// How long after a push the forge's other parts do not know it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// REST calls do not find the commits.
    #[serde(default)]
    pub api_ms: u64,
    /// Fetches get the refs and objects of before.
    #[serde(default)]
    pub git_ms: u64,
}

/// One thing that goes wrong for the next calls to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `POST`, ...; absent is any.
    #[serde(default)]
    pub method: Option<String>,
    /// Path of a REST call below the API's base, or of a git request; `*` stands for anything, slashes included.
    pub path: String,
    /// Number of calls it answers.
    #[serde(default = "once")]
    pub times: u32,
    /// Carry the call out and lose only its answer.
    #[serde(default)]
    pub after: bool,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// It is answered with that status: 500, 502, 404, ...
    Status {
        /// The status code.
        status: u16,
    },
    /// The secondary rate limit: 403 or 429 with `Retry-After`.
    RetryAfter {
        /// 403 or 429.
        status: u16,
        /// The header's value.
        seconds: u64,
    },
    /// The primary rate limit: 403, nothing remaining.
    RateLimited {
        /// Until the limit is whole again.
        reset_in_seconds: u64,
    },
    /// No answer for that long, then 504.
    Hang {
        /// Longer than the caller waits.
        milliseconds: u64,
    },
    /// It is answered rightly, but late.
    Delay {
        /// How late.
        milliseconds: u64,
    },
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Once, for any method.
    pub fn new(path: impl Into<String>, kind: FaultKind) -> Self {
        Self { method: None, path: path.into(), times: 1, after: false, kind }
    }

    /// Answers with that status.
    pub fn status(path: impl Into<String>, status: u16) -> Self {
        Self::new(path, FaultKind::Status { status })
    }

    /// Answers 403 or 429 with `Retry-After`.
    pub fn retry_after(path: impl Into<String>, status: u16, seconds: u64) -> Self {
        Self::new(path, FaultKind::RetryAfter { status, seconds })
    }

    /// Does not answer for that long.
    pub fn hang(path: impl Into<String>, milliseconds: u64) -> Self {
        Self::new(path, FaultKind::Hang { milliseconds })
    }

    /// For that many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// For that method only.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_ascii_uppercase());
        self
    }

    /// Carries the call out first, so that only its answer is lost.
    #[must_use]
    pub fn after(mut self) -> Self {
        self.after = true;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.times > 0
            && self.method.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(method))
            && glob(&self.path).is_some_and(|g| g.is_match(path))
    }
}

impl Faults {
    /// Takes one use of the first fault that matches.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let fault = self.calls.iter_mut().find(|f| f.matches(method, path))?;
        fault.times -= 1;
        let taken = fault.clone();
        self.calls.retain(|f| f.times > 0);
        Some(taken)
    }

    pub(crate) fn take_lost_delivery(&mut self) -> bool {
        let lose = self.lose_deliveries > 0;
        self.lose_deliveries = self.lose_deliveries.saturating_sub(1);
        lose
    }
}

fn glob(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^{}$", regex::escape(pattern).replace(r"\*", ".*"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_answers_only_what_it_names_and_as_often_as_it_says() {
        let mut faults = Faults {
            calls: vec![Fault::status("/repos/*/statuses/*", 500).method("post").times(2)],
            ..Faults::default()
        };
        assert!(faults.take("GET", "/repos/a/b/statuses/c").is_none());
        assert!(faults.take("POST", "/repos/a/b/deployments").is_none());
        assert!(faults.take("POST", "/repos/a/b/statuses/c").is_some());
        assert!(faults.take("POST", "/repos/a/b/statuses/d").is_some());
        assert!(faults.take("POST", "/repos/a/b/statuses/e").is_none());
        assert!(faults.calls.is_empty());
    }

    #[test]
    fn the_control_endpoint_reads_what_the_documentation_shows() {
        let faults: Faults = serde_json::from_value(serde_json::json!({
            "calls": [{"path": "/repos/*", "times": 3, "kind": "retry_after", "status": 403, "seconds": 2}],
            "lag": {"git_ms": 250},
        }))
        .unwrap();
        assert_eq!(faults.calls, [Fault::retry_after("/repos/*", 403, 2).times(3)]);
        assert_eq!(faults.lag, Some(Lag { api_ms: 0, git_ms: 250 }));
    }
}
