use std::collections::VecDeque;
use std::time::Duration;

/// How many writes a forge takes, and how many at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// All must hold.
    pub windows: Vec<Window>,
    /// The share of each window, from 0 to 1, that pending states may use up; the rest is kept for final ones.
    pub pending_share: f64,
    /// Calls under way at the same time.
    pub concurrency: usize,
}

/// At most so many writes in any span of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Writes.
    pub writes: u32,
    /// In this time.
    pub span: Duration,
}

impl Limits {
    /// GitHub's: 80 content-creating calls a minute and 500 an hour.
    pub fn github() -> Self {
        let windows = [(80, 60), (500, 3600)];
        let windows = windows.map(|(writes, seconds)| Window { writes, span: Duration::from_secs(seconds) });
        Self { windows: windows.to_vec(), pending_share: 0.5, concurrency: 8 }
    }

    /// No limit but on the calls at once.
    pub fn unlimited() -> Self {
        Self { windows: Vec::new(), pending_share: 1.0, concurrency: 8 }
    }
}

/// The writes of the past, as far as they count. Times are since the start of the process.
#[derive(Debug)]
pub(super) struct Spent {
    windows: Vec<(Window, VecDeque<Duration>)>,
    pending_share: f64,
}

impl Spent {
    pub(super) fn new(limits: &Limits) -> Self {
        let windows = limits.windows.iter().map(|window| (*window, VecDeque::new())).collect();
        Self { windows, pending_share: limits.pending_share.clamp(0.0, 1.0) }
    }

    /// When the next write may start: `now`, or later.
    pub(super) fn earliest(&mut self, now: Duration, is_final: bool) -> Duration {
        let mut earliest = now;
        for (window, stamps) in &mut self.windows {
            while stamps.front().is_some_and(|stamp| *stamp + window.span <= now) {
                stamps.pop_front();
            }
            let share = if is_final { 1.0 } else { self.pending_share };
            // At least one, or nothing would ever be sent.
            let allowed = ((f64::from(window.writes) * share) as usize).max(1);
            if let Some(blocking) = stamps.len().checked_sub(allowed).and_then(|over| stamps.get(over)) {
                earliest = earliest.max(*blocking + window.span);
            }
        }
        earliest
    }

    pub(super) fn spend(&mut self, now: Duration) {
        for (_, stamps) in &mut self.windows {
            stamps.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_at_any_moment() {
        let seconds = Duration::from_secs;
        let limits = Limits {
            windows: vec![Window { writes: 4, span: seconds(60) }, Window { writes: 6, span: seconds(600) }],
            pending_share: 0.5,
            concurrency: 1,
        };
        let mut spent = Spent::new(&limits);
        for at in [0, 10] {
            assert_eq!(spent.earliest(seconds(at), false), seconds(at));
            spent.spend(seconds(at));
        }
        // Half is used: a pending state waits, a final one does not.
        assert_eq!(spent.earliest(seconds(11), false), seconds(60));
        assert_eq!(spent.earliest(seconds(11), true), seconds(11));
        spent.spend(seconds(11));
        spent.spend(seconds(12));
        assert_eq!(spent.earliest(seconds(13), true), seconds(60));
        spent.spend(seconds(60));
        spent.spend(seconds(70));
        // The longer window is full now.
        assert_eq!(spent.earliest(seconds(100), true), seconds(600));
        assert_eq!(spent.earliest(seconds(600), true), seconds(600));
    }

    #[test]
    fn without_windows_nothing_waits() {
        let mut spent = Spent::new(&Limits::unlimited());
        spent.spend(Duration::ZERO);
        assert_eq!(spent.earliest(Duration::ZERO, false), Duration::ZERO);
    }
}
