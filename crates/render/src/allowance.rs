//! How much of time and memory the manifests of one source may take in this process, and whether they are still wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use yaml::{Cause, Fault};

use crate::{Limits, RenderError};

/// Whether somebody waits for the result of some work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ends the wish for work when it is dropped: with the render that asked for it.
#[derive(Debug, Default)]
pub(crate) struct Asker(Wanted);

impl Asker {
    /// For those who do the work.
    pub(crate) fn wanted(&self) -> Wanted {
        self.0.clone()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What the manifests of one source may take.
pub(crate) struct Allowance {
    wanted: Wanted,
    until: Instant,
    limits: Limits,
}

impl Allowance {
    /// From now on.
    pub(crate) fn new(wanted: Wanted, limits: &Limits) -> Self {
        Self { wanted, until: Instant::now() + limits.timeout, limits: *limits }
    }

    /// Whether the work has to stop.
    pub(crate) fn is_over(&self) -> bool {
        self.wanted.is_over() || Instant::now() >= self.until
    }

    /// What the parser may make of all texts together.
    pub(crate) fn budget<'w>(&self, stop: &'w (dyn Fn() -> bool + 'w)) -> yaml::Budget<'w> {
        yaml::Budget::new(MAX_NODES, self.limits.memory_bytes / SHARE_OF_MEMORY).watched(stop)
    }

    /// An error if the work has to stop.
    pub(crate) fn check(&self) -> Result<(), RenderError> {
        if self.is_over() { Err(self.stopped()) } else { Ok(()) }
    }

    /// A fault of the parser in words.
    pub(crate) fn error(&self, path: impl Into<String>, fault: Fault) -> RenderError {
        let path = path.into();
        match fault.cause {
            Cause::Syntax | Cause::DuplicateKey => RenderError::yaml(path, fault),
            Cause::Stopped => self.stopped(),
            Cause::Budget => RenderError::Limit {
                what: format!("what the manifests take in memory, reached in {path} ({}),", fault.message),
                limit: format!("{} MiB", (self.limits.memory_bytes / SHARE_OF_MEMORY) >> 20),
                setting: "memory_limit_bytes",
            },
        }
    }

    fn stopped(&self) -> RenderError {
        RenderError::Limit {
            what: "the time to read the manifests".into(),
            limit: format!("{:?}", self.limits.timeout),
            setting: "timeout",
        }
    }
}

/// How many values a source may have: the largest charts and sets of definitions have about half a million.
const MAX_NODES: u64 = 4_000_000;

/// Programs give their memory back when they end, this process keeps objects for a while: it gets a quarter of what they get. The
/// count is rather too high, so that about two thirds of it are taken.
const SHARE_OF_MEMORY: u64 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits =
        Limits { timeout: Duration::from_secs(3600), memory_bytes: 4 << 20, output_bytes: 1 << 20, objects: 10 };

    fn parse(allowance: &Allowance, text: &str) -> Result<(), RenderError> {
        let stop = || allowance.is_over();
        let mut budget = allowance.budget(&stop);
        yaml::parse_single(text, yaml::Duplicates::Refuse, &mut budget)
            .map(|_| ())
            .map_err(|fault| allowance.error("x.yaml", fault))
    }

    #[test]
    fn work_ends_when_nobody_waits_for_it_or_its_time_is_over() {
        let asker = Asker::default();
        let allowance = Allowance::new(asker.wanted(), &LIMITS);
        let long = "- 1\n".repeat(3_000);
        assert!(parse(&allowance, &long).is_ok() && allowance.check().is_ok());
        drop(asker);
        assert!(parse(&allowance, &long).is_err() && allowance.check().is_err());

        let asker = Asker::default();
        let late = Allowance::new(asker.wanted(), &Limits { timeout: Duration::ZERO, ..LIMITS });
        let error = parse(&late, &long).unwrap_err();
        assert!(error.to_string().contains("`timeout`") && error.is_transient(), "{error}");
    }

    #[test]
    fn memory_is_told_with_its_place() {
        let asker = Asker::default();
        let error = parse(&Allowance::new(asker.wanted(), &LIMITS), &"- [a, b]\n".repeat(10_000)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("x.yaml") && text.contains("limit of 1 MiB") && text.contains("memory_limit_bytes"),
            "{text}"
        );
        assert!(!error.is_transient());
    }
}
