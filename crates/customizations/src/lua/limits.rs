//! How much one run of a script may take.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mlua::Error;
use serde_json::Value as Json;

use super::pattern::{Fault, Meter};

/// How long a script may run.
const TIME: Duration = Duration::from_secs(1);

/// How much memory a script may take beside its object.
pub(super) const MEMORY: usize = 16 * 1024 * 1024;

/// How large an object may be that a script judges: how many values, how many bytes of text, how many levels. What an API server
/// stores is smaller.
const OBJECT: (usize, usize, usize) = (200_000, 8 * 1024 * 1024, 500);

/// Whether an object is small enough to be given to a script.
pub(super) fn fits(object: &Json) -> bool {
    fn left(value: &Json, (values, bytes, levels): (usize, usize, usize)) -> Option<(usize, usize)> {
        let (values, levels) = (values.checked_sub(1)?, levels.checked_sub(1)?);
        match value {
            Json::String(text) => Some((values, bytes.checked_sub(text.len())?)),
            Json::Array(items) => {
                items.iter().try_fold((values, bytes), |(values, bytes), item| left(item, (values, bytes, levels)))
            }
            Json::Object(fields) => fields.iter().try_fold((values, bytes), |(values, bytes), (name, field)| {
                left(field, (values, bytes.checked_sub(name.len())?, levels))
            }),
            _ => Some((values, bytes)),
        }
    }
    left(object, OBJECT).is_some()
}

/// After how many instructions of Lua the clock is read.
pub(super) const EVERY: u32 = 50;

/// After how many steps of a pattern the clock is read.
const STEPS: u32 = 4096;

/// How often in a row a script may be stopped before it is tried only now and then.
const STRIKES: u32 = 3;

/// How long it then rests.
const REST: Duration = Duration::from_secs(60);

/// How often a script was stopped: one that never ends must not cost a second for each object that it judges.
#[derive(Debug, Default)]
pub(super) struct Strikes(Mutex<(u32, Option<Instant>)>);

impl Strikes {
    /// Whether the script is to be left alone now.
    pub(super) fn rests(&self) -> bool {
        let (count, last) = *self.locked();
        count >= STRIKES && last.is_some_and(|last| last.elapsed() < REST)
    }

    /// A run has ended, or was stopped.
    pub(super) fn count(&self, stopped: bool) {
        let mut strikes = self.locked();
        *strikes = if stopped { (strikes.0.saturating_add(1), Some(Instant::now())) } else { (0, None) };
    }

    fn locked(&self) -> MutexGuard<'_, (u32, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of one run.
#[derive(Debug)]
pub(super) struct Limits {
    started: Instant,
    steps: Cell<u32>,
}

impl Limits {
    /// The time starts now.
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), steps: Cell::new(0) }
    }

    /// How long the script has run, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.started.elapsed() >= TIME
    }

    /// Whether the script may go on.
    pub(super) fn check(&self) -> mlua::Result<()> {
        if self.is_over() { Err(Self::out_of_time()) } else { Ok(()) }
    }

    /// What is raised when it may not.
    pub(super) fn out_of_time() -> Error {
        Error::runtime("it was stopped after a second")
    }
}

impl Meter for Limits {
    fn step(&self) -> Result<(), Fault> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps % STEPS);
        if steps == STEPS && self.is_over() { Err(Fault::OutOfTime) } else { Ok(()) }
    }
}
