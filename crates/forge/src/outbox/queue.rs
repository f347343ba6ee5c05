use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use wire::{Feedback, feedback::Content};

use super::limits::{Limits, Spent};
use crate::FeedbackError;
use crate::feedback::is_final;

/// Repository, commit, and context or environment.
type Key = (String, String, String);

/// What to do about calls that fail.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Wait after the first failure; doubled after each further one.
    pub first_wait: Duration,
    /// The longest wait between two attempts.
    pub longest_wait: Duration,
    /// How often what the forge does not have, or does not let us do, is tried: it may not have it yet.
    pub refused_attempts: u32,
    /// For how long a forge that is not well is tried, before the feedback is given up.
    pub patience: Duration,
    /// How long an account is left alone when the forge limits it without saying for how long.
    pub limited_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            refused_attempts: 6,
            patience: Duration::from_secs(24 * 3600),
            limited_wait: Duration::from_secs(60),
        }
    }
}

/// Decides what an account posts next. It does no I/O and reads no clock: `now` is the time since any fixed moment.
/// `H` is what the caller wants back when a feedback is settled.
pub struct Queue<H> {
    policy: Policy,
    spent: Spent,
    lanes: HashMap<Key, Lane<H>>,
    /// Lanes that could be posted at once, oldest first; final states apart, as they go first.
    ready: [BTreeMap<u64, Key>; 2],
    /// Lanes that wait after a failure.
    later: BTreeSet<(Duration, u64, Key)>,
    /// Lanes with nothing in them that are remembered for what was posted last.
    quiet: VecDeque<Key>,
    paused_until: Duration,
    limited_in_a_row: u32,
    sequence: u64,
}

struct Lane<H> {
    waiting: Option<Item<H>>,
    in_flight: bool,
    place: Place,
    failures: u32,
    failing_since: Option<Duration>,
    posted: Option<Rank>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    None,
    Ready { is_final: bool, sequence: u64 },
    Later { until: Duration, sequence: u64 },
}

struct Item<H> {
    feedback: Feedback,
    rank: Rank,
    handle: H,
}

/// What counts more: a final state before a pending one, then the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_final: bool,
    created_us: i64,
}

/// A feedback to post now.
pub struct Job<H> {
    /// What to write.
    pub feedback: Feedback,
    key: Key,
    rank: Rank,
    handle: H,
}

/// What [`Queue::next`] says.
#[expect(clippy::large_enum_variant, reason = "made once and taken apart at once")]
pub enum Next<H> {
    /// Post this, then tell the queue by [`Queue::posted`] or [`Queue::failed`].
    Post(Job<H>),
    /// Nothing before this time.
    At(Duration),
    /// Nothing until something is offered or a call ends.
    Idle,
}

/// Quiet lanes remembered: more than the commits and contexts that anything still comes for.
const MOST_QUIET: usize = 20_000;

impl<H> Queue<H> {
    /// An empty queue.
    pub fn new(limits: &Limits, policy: Policy) -> Self {
        Self {
            policy,
            spent: Spent::new(limits),
            lanes: HashMap::new(),
            ready: Default::default(),
            later: BTreeSet::new(),
            quiet: VecDeque::new(),
            paused_until: Duration::ZERO,
            limited_in_a_row: 0,
            sequence: 0,
        }
    }

    /// Takes a feedback. Returns the handle of what need not be posted any more because of it; that may be its own.
    pub fn offer(&mut self, feedback: Feedback, handle: H) -> Option<H> {
        let key = key_of(&feedback);
        let is_final = feedback.content.as_ref().is_some_and(is_final);
        let rank = Rank { is_final, created_us: feedback.created_at_unix_us };
        self.put(key, Item { feedback, rank, handle })
    }

    /// Number of feedbacks that wait.
    pub fn waiting(&self) -> usize {
        self.ready.iter().map(BTreeMap::len).sum::<usize>()
            + self.later.len()
            + self.lanes.values().filter(|lane| lane.in_flight && lane.waiting.is_some()).count()
    }

    /// What to post at `now`.
    pub fn next(&mut self, now: Duration) -> Next<H> {
        while let Some((until, sequence, key)) = self.later.first().cloned().filter(|(until, ..)| *until <= now) {
            self.later.remove(&(until, sequence, key.clone()));
            self.make_ready(&key);
        }
        let mut wake = self.later.first().map(|(until, ..)| *until);
        for is_final in [true, false] {
            if self.ready[usize::from(is_final)].is_empty() {
                continue;
            }
            let earliest = self.spent.earliest(now, is_final).max(self.paused_until);
            if earliest <= now {
                if let Some(job) = self.take(is_final) {
                    self.spent.spend(now);
                    return Next::Post(job);
                }
            } else {
                wake = Some(wake.map_or(earliest, |wake| wake.min(earliest)));
            }
        }
        wake.map_or(Next::Idle, Next::At)
    }

    /// The job was posted. Returns its handle, and that of a waiting feedback which has become needless.
    pub fn posted(&mut self, job: Job<H>) -> (H, Option<H>) {
        self.limited_in_a_row = 0;
        let Some(lane) = self.lanes.get_mut(&job.key) else { return (job.handle, None) };
        lane.in_flight = false;
        lane.failures = 0;
        lane.failing_since = None;
        lane.posted = lane.posted.max(Some(job.rank));
        let waiting = lane.waiting.take();
        let needless = match waiting {
            Some(item) => self.put(job.key, item),
            None => {
                self.remember(job.key);
                None
            }
        };
        (job.handle, needless)
    }

    /// The job was not posted. `Err` gives its handle back for good, with the reason; `Ok` means that it will be tried
    /// again, and carries the handle of what has become needless. `jitter`, from 0 to 1, spreads the attempts.
    pub fn failed(
        &mut self,
        job: Job<H>,
        error: &FeedbackError,
        now: Duration,
        jitter: f64,
    ) -> Result<Option<H>, (H, String)> {
        let policy = self.policy;
        let Some(lane) = self.lanes.get_mut(&job.key) else { return Err((job.handle, error.to_string())) };
        lane.in_flight = false;
        let mut wait = doubled(policy.first_wait, lane.failures, policy.longest_wait);
        let mut counts = true;
        let give_up = match error {
            FeedbackError::RateLimited { retry_after, .. } => {
                if let Some(pause) = retry_after {
                    self.paused_until = self.paused_until.max(now + *pause);
                } else if self.paused_until <= now {
                    let longest = policy.longest_wait.max(policy.limited_wait);
                    self.paused_until = now + doubled(policy.limited_wait, self.limited_in_a_row, longest);
                    self.limited_in_a_row += 1;
                }
                // The account waits, not this feedback.
                (wait, counts) = (Duration::ZERO, false);
                false
            }
            FeedbackError::Transient { retry_after, .. } => {
                wait = wait.max(retry_after.unwrap_or_default());
                let since = *lane.failing_since.get_or_insert(now);
                now.saturating_sub(since) >= policy.patience
            }
            FeedbackError::Unauthorized { .. } | FeedbackError::NotFound { .. } => {
                lane.failures + 1 >= policy.refused_attempts
            }
            FeedbackError::Permanent { .. } => true,
        };
        if give_up {
            lane.failures = 0;
            lane.failing_since = None;
            self.unblock(job.key);
            return Err((job.handle, error.to_string()));
        }
        lane.failures += u32::from(counts);
        let until = now + wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) * 0.25);
        let newer = lane.waiting.take();
        let item = Item { feedback: job.feedback, rank: job.rank, handle: job.handle };
        let needless = newer.and_then(|newer| self.put(job.key.clone(), newer));
        let needless_too = self.put(job.key.clone(), item);
        if !wait.is_zero() {
            self.delay(&job.key, until);
        }
        // One lane holds one feedback, so at most one of the two was displaced.
        Ok(needless.or(needless_too))
    }

    fn put(&mut self, key: Key, item: Item<H>) -> Option<H> {
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        let stale = lane.posted.is_some_and(|posted| posted >= item.rank)
            || lane.waiting.as_ref().is_some_and(|waiting| waiting.rank > item.rank);
        if stale {
            return Some(item.handle);
        }
        let replaced = lane.waiting.replace(item);
        if !lane.in_flight && !matches!(lane.place, Place::Later { .. }) {
            self.make_ready(&key);
        }
        replaced.map(|item| item.handle)
    }

    /// Puts a lane into the list of its kind. A place once taken is kept as long as the kind stays.
    fn make_ready(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(item) = &lane.waiting else { return };
        let is_final = item.rank.is_final;
        match lane.place {
            Place::Ready { is_final: before, .. } if before == is_final => return,
            Place::Ready { is_final: before, sequence } => {
                self.ready[usize::from(before)].remove(&sequence);
            }
            Place::Later { .. } | Place::None => {}
        }
        self.sequence += 1;
        lane.place = Place::Ready { is_final, sequence: self.sequence };
        self.ready[usize::from(is_final)].insert(self.sequence, key.clone());
    }

    fn delay(&mut self, key: &Key, until: Duration) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if let Place::Ready { is_final, sequence } = lane.place {
            self.ready[usize::from(is_final)].remove(&sequence);
            lane.place = Place::Later { until, sequence };
            self.later.insert((until, sequence, key.clone()));
        }
    }

    fn take(&mut self, is_final: bool) -> Option<Job<H>> {
        let (_, key) = self.ready[usize::from(is_final)].pop_first()?;
        let lane = self.lanes.get_mut(&key)?;
        lane.place = Place::None;
        let item = lane.waiting.take()?;
        lane.in_flight = true;
        Some(Job { feedback: item.feedback, key, rank: item.rank, handle: item.handle })
    }

    fn unblock(&mut self, key: Key) {
        if self.lanes.get(&key).is_some_and(|lane| lane.waiting.is_some()) {
            self.make_ready(&key);
        } else {
            self.remember(key);
        }
    }

    fn remember(&mut self, key: Key) {
        self.quiet.push_back(key);
        while self.quiet.len() > MOST_QUIET {
            let Some(oldest) = self.quiet.pop_front() else { break };
            if self.lanes.get(&oldest).is_some_and(|lane| lane.waiting.is_none() && !lane.in_flight) {
                self.lanes.remove(&oldest);
            }
        }
    }
}

impl<H> Lane<H> {
    fn new() -> Self {
        Self { waiting: None, in_flight: false, place: Place::None, failures: 0, failing_since: None, posted: None }
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times)).min(longest)
}

fn key_of(feedback: &Feedback) -> Key {
    let repository = feedback.repository.as_ref().map(wire::Repository::full_name).unwrap_or_default();
    let context = match &feedback.content {
        Some(Content::Check(check)) => format!("check {}", check.context),
        Some(Content::Deployment(deployment)) => format!("deployment {}", deployment.environment),
        None => String::new(),
    };
    (repository.to_ascii_lowercase(), feedback.commit.clone(), context)
}

#[cfg(test)]
mod tests;
