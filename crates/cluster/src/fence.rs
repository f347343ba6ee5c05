//! What a write asks before it is sent: whether the lease that it is done under is still held. A program that was stopped and
//! goes on (a signal, a paused machine, no processor for a while) does not know that time has passed; whoever took its lease
//! meanwhile must not find older content written over newer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::error::ClusterError;
use crate::lease::{LeaseOptions, Lost};

/// A moment by both clocks. The monotonic one stands still while a machine sleeps, the other one can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that says more.
    pub(crate) fn age(&self) -> Duration {
        self.until(&Self::now())
    }

    fn until(&self, later: &Self) -> Duration {
        let wall = later.wall.duration_since(self.wall).unwrap_or_default();
        later.monotonic.saturating_duration_since(self.monotonic).max(wall)
    }
}

/// What may be written so long after the last renewal.
#[derive(Debug, PartialEq)]
enum Standing {
    /// Anything that takes no longer than this.
    Held(Duration),
    /// A renewal is overdue: the lease is looked at first.
    Overdue,
    /// Nothing: somebody else may hold the lease.
    Over,
}

fn standing(age: Duration, options: &LeaseOptions) -> Standing {
    let left = options.duration.saturating_sub(options.margin).saturating_sub(age);
    if left.is_zero() {
        Standing::Over
    } else if age > options.overdue() {
        Standing::Overdue
    } else {
        Standing::Held(left)
    }
}

/// Says whether writes are permitted under a [`crate::LeaseHeld`]. Cheap to clone; [`crate::Cluster::fenced`] makes every write
/// of a cluster ask it.
#[derive(Clone)]
pub struct Fence {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Somebody wants the lease to be looked at now.
    wanted: Notify,
    /// Counts the attempts to renew that have ended, however they did.
    attempts: watch::Sender<u64>,
    options: LeaseOptions,
    what: String,
}

struct State {
    /// Just before the last renewal that succeeded was sent.
    renewed: Moment,
    ended: Option<String>,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("lease", &self.inner.what).finish_non_exhaustive()
    }
}

impl Fence {
    pub(crate) fn new(what: String, renewed: Moment, options: LeaseOptions) -> Self {
        let state = Mutex::new(State { renewed, ended: None });
        let (wanted, attempts) = (Notify::new(), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { state, wanted, attempts, options, what }) }
    }

    /// Renewed by a request that was sent at this moment.
    pub(crate) fn renewed(&self, sent: Moment) {
        self.state().renewed = sent;
        self.attempted();
    }

    /// An attempt to renew has ended.
    pub(crate) fn attempted(&self) {
        self.inner.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// Nothing is permitted from now on.
    pub(crate) fn end(&self, lost: &Lost) {
        self.state().ended.get_or_insert_with(|| lost.to_string());
        self.attempted();
    }

    /// How long ago the lease was last renewed.
    pub(crate) fn age(&self) -> Duration {
        self.state().renewed.age()
    }

    /// Ready when the lease is to be looked at before its time.
    pub(crate) async fn wanted(&self) {
        self.inner.wanted.notified().await;
    }

    /// For a write that is sent now: how long it may take; none if the lease has to be looked at first.
    pub(crate) fn now(&self) -> Result<Option<Duration>, ClusterError> {
        let state = self.state();
        if let Some(lost) = &state.ended {
            return Err(self.fenced(lost.clone()));
        }
        Ok(match standing(state.renewed.age(), &self.inner.options) {
            Standing::Held(left) => Some(left),
            Standing::Overdue | Standing::Over => None,
        })
    }

    /// Returns when writes are permitted; looks at the lease first if its renewal is overdue.
    pub(crate) async fn permit(&self) -> Result<(), ClusterError> {
        match self.now()? {
            Some(_) => Ok(()),
            None => self.look().await,
        }
    }

    /// Asks the API server whether the lease is still ours, and returns when it has said so.
    pub(crate) async fn look(&self) -> Result<(), ClusterError> {
        let asked = Moment::now();
        let mut attempts = self.inner.attempts.subscribe();
        // One that is lost answers nobody any more.
        self.now()?;
        loop {
            self.inner.wanted.notify_one();
            // One that is under way may have been sent before, and then another one follows.
            let answered = tokio::time::timeout(self.inner.options.answered(), attempts.changed()).await;
            {
                let state = self.state();
                if let Some(lost) = &state.ended {
                    return Err(self.fenced(lost.clone()));
                }
                if state.renewed.monotonic > asked.monotonic {
                    return Ok(());
                }
                let age = state.renewed.age();
                if standing(age, &self.inner.options) == Standing::Over || !matches!(answered, Ok(Ok(()))) {
                    return Err(self.fenced(format!("it was last renewed {} s ago", age.as_secs())));
                }
            }
        }
    }

    fn fenced(&self, reason: String) -> ClusterError {
        ClusterError::Fenced { lease: self.inner.what.clone(), reason }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seen_by_whichever_clock_went_on() {
        let start = Moment::now();
        let after = |monotonic: u64, wall: i64| {
            let wall = if wall < 0 {
                start.wall - Duration::from_secs(wall.unsigned_abs())
            } else {
                start.wall + Duration::from_secs(wall.unsigned_abs())
            };
            start.until(&Moment { monotonic: start.monotonic + Duration::from_secs(monotonic), wall }).as_secs()
        };
        assert_eq!(after(2, 2), 2);
        assert_eq!(after(40, 40), 40, "stopped by a signal");
        assert_eq!(after(0, 3600), 3600, "the machine slept");
        assert_eq!(after(5, -3600), 5, "the clock was set back");
    }

    #[test]
    fn what_may_be_written_after_a_renewal() {
        let options = LeaseOptions::default();
        let at = |seconds: f64| standing(Duration::from_secs_f64(seconds), &options);
        assert_eq!(at(0.0), Standing::Held(Duration::from_secs(25)));
        assert_eq!(at(2.5), Standing::Held(Duration::from_secs_f64(22.5)));
        assert_eq!(at(3.5), Standing::Overdue);
        assert_eq!(at(24.9), Standing::Overdue);
        assert_eq!(at(25.0), Standing::Over);
        assert_eq!(at(4000.0), Standing::Over);
    }

    fn fence(age: Duration) -> Fence {
        let now = Moment::now();
        let renewed = Moment { monotonic: now.monotonic, wall: now.wall - age };
        Fence::new("n/worker".into(), renewed, LeaseOptions::default())
    }

    #[tokio::test]
    async fn an_overdue_lease_is_looked_at_before_a_write() {
        let fence = fence(Duration::from_secs(60));
        assert_eq!(fence.now().unwrap(), None);
        let writes = tokio::spawn({
            let fence = fence.clone();
            async move { fence.permit().await }
        });
        fence.wanted().await;
        fence.renewed(Moment::now());
        writes.await.unwrap().unwrap();
        assert!(fence.now().unwrap().is_some());
    }

    #[tokio::test]
    async fn nothing_is_written_under_a_lease_that_is_over() {
        let old = fence(Duration::from_secs(60));
        let writes = tokio::spawn({
            let fence = old.clone();
            async move { fence.permit().await }
        });
        old.wanted().await;
        // The API server did not answer.
        old.attempted();
        let error = writes.await.unwrap().unwrap_err();
        assert!(matches!(&error, ClusterError::Fenced { .. }) && error.is_transient(), "{error}");

        let lost = fence(Duration::ZERO);
        lost.end(&Lost::Taken { holder: "two".into() });
        for error in [lost.now().unwrap_err(), lost.permit().await.unwrap_err(), lost.look().await.unwrap_err()] {
            assert!(error.to_string().contains("two holds it"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_look_wants_an_answer_to_its_own_question() {
        let fence = fence(Duration::ZERO);
        let before = Moment::now();
        let looks = tokio::spawn({
            let fence = fence.clone();
            async move { fence.look().await }
        });
        fence.wanted().await;
        // Sent before it was asked.
        fence.renewed(before);
        fence.wanted().await;
        assert!(!looks.is_finished());
        fence.renewed(Moment::now());
        looks.await.unwrap().unwrap();
    }
}
