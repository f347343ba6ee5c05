//! Asking a forge to send failed deliveries again. GitHub sends a webhook once: "GitHub does not automatically redeliver
//! failed deliveries" (<https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries>).
//!
//! [`Redeliveries`] speaks with the forge; [`Ledger`] decides, with no clock and no I/O of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::hooks::EVENTS;
use crate::{FeedbackError, RepositoryRef};

/// So long GitHub keeps deliveries and sends them again (GitHub Enterprise Server: seven days):
/// <https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks>
const KEPT: SignedDuration = SignedDuration::from_hours(72);
/// What has been read is read again so far back: an attempt may be listed before it has ended, and out of order.
const OVERLAP: SignedDuration = SignedDuration::from_mins(20);
/// How many intervals lie between a failed attempt and the next one that is asked for; then it is given up. At ten minutes
/// that is 0, 10 min, 1 h, 4 h and 12 h.
const WAITS: [u32; 5] = [0, 1, 6, 24, 72];
/// Where the receiver takes webhooks of GitHub, below whatever an ingress puts before it.
const RECEIVER_PATHS: [&str; 2] = ["/webhooks/github", "/api/webhook"];

/// A webhook that leads to a receiver of Lockstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    path: String,
    through: Option<RepositoryRef>,
}

impl Hook {
    /// By its path. An App acts through its installation for the repository `through`, without one as itself.
    pub fn new(path: impl Into<String>, through: Option<&RepositoryRef>) -> Self {
        Self { path: path.into(), through: through.cloned() }
    }

    /// Its path in the API, which no other webhook has: `/repos/acme/gateway/hooks/7`, `/orgs/acme/hooks/7`, `/app/hook`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn through(&self) -> Option<&RepositoryRef> {
        self.through.as_ref()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has taken it.
    Delivered,
    /// It has not, or was not reached.
    Failed,
    /// Not yet known.
    UnderWay,
}

impl Outcome {
    /// From what the forge lists: `OK` and 202; `failed to connect to host` and 502.
    pub(crate) fn of(status: &str, code: i64) -> Self {
        if (200..300).contains(&code) || status.eq_ignore_ascii_case("ok") {
            Self::Delivered
        } else if status.eq_ignore_ascii_case("pending") {
            Self::UnderWay
        } else {
            Self::Failed
        }
    }
}

/// One attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its own id.
    pub id: u64,
    /// The delivery's id, which all its attempts share.
    pub guid: String,
    /// `push`, `pull_request`, …
    pub event: String,
    /// When it was made.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// Lists failed deliveries and asks for them again. Errors are those of every call: who may not is
/// [`FeedbackError::Unauthorized`], with a message that names the permission.
#[async_trait]
pub trait Redeliveries: Send + Sync {
    /// The webhooks that tell Lockstep of this repository: its own, those of its organisation, the App's.
    async fn hooks(&self, repository: &RepositoryRef) -> Result<Vec<Hook>, FeedbackError>;

    /// The attempts of a webhook since then, newest first.
    async fn attempts(&self, hook: &Hook, since: Timestamp) -> Result<Vec<Attempt>, FeedbackError>;

    /// Has the delivery of this attempt sent again, with the same guid.
    async fn redeliver(&self, hook: &Hook, attempt: u64) -> Result<(), FeedbackError>;
}

/// Whether a webhook's address is one of a receiver of Lockstep.
pub(crate) fn leads_to_lockstep(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| RECEIVER_PATHS.iter().any(|path| url.path().trim_end_matches('/').ends_with(path)))
}

/// What is known of one webhook's deliveries that have not arrived.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    attempts: BTreeMap<u64, Attempt>,
    newest: Option<Timestamp>,
    /// By guid: an attempt that was asked for is not listed at once.
    asked: HashMap<String, Asked>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    times: usize,
    last: Timestamp,
}

/// The attempts of one delivery.
struct Tried<'a> {
    first: Timestamp,
    newest: &'a Attempt,
    count: usize,
}

impl Ledger {
    /// From when on the forge's list must be read.
    pub fn read_from(&self, now: Timestamp) -> Timestamp {
        let under_way = self.attempts.values().filter(|one| one.outcome == Outcome::UnderWay).map(|one| one.at).min();
        let known = self.newest.map(|newest| newest - OVERLAP);
        let from = known.map(|known| under_way.map_or(known, |under_way| known.min(under_way)));
        from.unwrap_or(Timestamp::MIN).max(now - KEPT)
    }

    /// Takes note of attempts, known ones included.
    pub fn learn(&mut self, attempts: Vec<Attempt>, now: Timestamp) {
        for attempt in attempts {
            self.newest = self.newest.max(Some(attempt.at));
            if EVENTS.contains(&attempt.event.as_str()) {
                self.attempts.insert(attempt.id, attempt);
            }
        }
        let oldest = now - KEPT;
        let open = |tried: &Tried<'_>| tried.newest.outcome != Outcome::Delivered && tried.newest.at > oldest;
        let open = self.tried().into_iter().filter(|(_, tried)| open(tried)).map(|(guid, _)| guid.to_owned());
        let open: std::collections::HashSet<String> = open.collect();
        self.attempts.retain(|_, attempt| open.contains(&attempt.guid));
        self.asked.retain(|guid, _| open.contains(guid));
    }

    /// The failed attempts to ask for again now, those of the oldest delivery first: of each delivery that has not arrived
    /// the newest attempt, if it has waited long enough and there were not too many.
    pub fn due(&self, now: Timestamp, interval: Duration) -> Vec<Attempt> {
        let due = |tried: &Tried<'_>| {
            let asked = self.asked.get(&tried.newest.guid);
            let times = asked.map_or(0, |asked| asked.times).max(tried.count - 1);
            let last = asked.map_or(tried.newest.at, |asked| asked.last.max(tried.newest.at));
            let wait = WAITS.get(times).map(|intervals| interval.saturating_mul(*intervals));
            let waited = now.duration_since(last);
            tried.newest.outcome == Outcome::Failed
                && now.duration_since(tried.newest.at) < KEPT
                && wait.and_then(|wait| SignedDuration::try_from(wait).ok()).is_some_and(|wait| waited >= wait)
        };
        let mut found: Vec<Tried<'_>> = self.tried().into_values().filter(due).collect();
        found.sort_by_key(|tried| (tried.first, tried.newest.id));
        found.into_iter().map(|tried| tried.newest.clone()).collect()
    }

    /// The delivery is being asked for again.
    pub fn asked(&mut self, guid: &str, now: Timestamp) {
        let asked = self.asked.entry(guid.to_owned()).or_insert(Asked { times: 0, last: now });
        *asked = Asked { times: asked.times + 1, last: now };
    }

    fn tried(&self) -> HashMap<&str, Tried<'_>> {
        let mut tried: HashMap<&str, Tried<'_>> = HashMap::new();
        for attempt in self.attempts.values() {
            let new = Tried { first: attempt.at, newest: attempt, count: 0 };
            let known = tried.entry(&attempt.guid).or_insert(new);
            known.count += 1;
            known.first = known.first.min(attempt.at);
            if (attempt.at, attempt.id) > (known.newest.at, known.newest.id) {
                known.newest = attempt;
            }
        }
        tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// An attempt so many seconds ago.
    fn attempt(id: u64, guid: &str, event: &str, ago: i64, outcome: Outcome) -> Attempt {
        Attempt { id, guid: guid.into(), event: event.into(), at: time(-ago), outcome }
    }

    fn ledger(attempts: &[Attempt]) -> Ledger {
        let mut ledger = Ledger::default();
        // As a forge lists them.
        let mut listed = attempts.to_vec();
        listed.sort_by_key(|attempt| std::cmp::Reverse(attempt.at));
        ledger.learn(listed, time(0));
        ledger
    }

    fn due(ledger: &Ledger) -> Vec<u64> {
        ledger.due(time(0), INTERVAL).into_iter().map(|attempt| attempt.id).collect()
    }

    #[test]
    fn what_is_asked_for_again() {
        use Outcome::{Delivered, Failed, UnderWay};
        let push = |id, guid, ago, outcome| attempt(id, guid, "push", ago, outcome);
        // Redeliveries of one delivery that all failed; the newest so many seconds ago.
        let failed = |count: u64, ago: i64| -> Vec<Attempt> {
            (0..count).map(|n| push(n + 1, "a", ago + (count - n - 1) as i64 * HOUR, Failed)).collect()
        };
        let cases: [(&str, Vec<Attempt>, &[u64]); 20] = [
            ("nothing was sent", vec![], &[]),
            ("it arrived", vec![push(1, "a", 5, Delivered)], &[]),
            ("it failed", vec![push(1, "a", 0, Failed)], &[1]),
            ("it is under way", vec![push(1, "a", 5, UnderWay)], &[]),
            ("a pull request", vec![attempt(1, "a", "pull_request", 5, Failed)], &[1]),
            ("nobody needs it", vec![attempt(1, "a", "star", 5, Failed), attempt(2, "b", "ping", 5, Failed)], &[]),
            ("it arrived later", vec![push(1, "a", 900, Failed), push(2, "a", 5, Delivered)], &[]),
            ("listed out of order", vec![push(2, "a", 900, Failed), push(1, "a", 5, Delivered)], &[]),
            ("a person sent it again in vain", vec![push(1, "a", 3600, Delivered), push(2, "a", 900, Failed)], &[2]),
            ("sent again, under way", vec![push(1, "a", 3600, Failed), push(2, "a", 1, UnderWay)], &[]),
            (
                "the oldest first",
                vec![push(3, "c", 5, Failed), push(1, "a", 9, Failed), push(2, "b", 7, Failed)],
                &[1, 2, 3],
            ),
            (
                "by the delivery's age, not by the attempt's",
                vec![push(1, "a", 7200, Failed), push(2, "b", 6000, Failed), push(3, "a", 700, Failed)],
                &[3, 2],
            ),
            ("the second needs one interval", failed(2, 10 * MINUTE - 1), &[]),
            ("and has it", failed(2, 10 * MINUTE), &[2]),
            ("the third an hour", failed(3, HOUR), &[3]),
            ("the fifth half a day", failed(5, 12 * HOUR - 1), &[]),
            ("and has it", failed(5, 12 * HOUR), &[5]),
            ("that was often enough", failed(6, 48 * HOUR), &[]),
            ("just young enough", vec![push(1, "a", 72 * HOUR - 1, Failed)], &[1]),
            ("too old for the forge", vec![push(1, "a", 72 * HOUR, Failed)], &[]),
        ];
        for (what, attempts, expected) in cases {
            assert_eq!(due(&ledger(&attempts)), expected, "{what}");
        }
    }

    #[test]
    fn what_was_asked_for_counts_before_it_is_listed() {
        let mut ledger = ledger(&[attempt(1, "a", "push", 60, Outcome::Failed)]);
        let due_at = |ledger: &Ledger, second| !ledger.due(time(second), INTERVAL).is_empty();
        assert!(due_at(&ledger, 0));
        ledger.asked("a", time(0));
        assert!(!due_at(&ledger, 599), "the forge has said 202, and may need a while");
        assert!(due_at(&ledger, 600), "it was never listed");
        ledger.asked("a", time(600));
        assert!(!due_at(&ledger, 1200), "now an hour");
        // What was asked for is listed at last, and counts once.
        ledger.learn(vec![attempt(2, "a", "push", -610, Outcome::Failed)], time(620));
        assert!(!due_at(&ledger, 610 + 3599) && due_at(&ledger, 610 + 3600));
        ledger.learn(vec![attempt(3, "a", "push", -700, Outcome::Delivered)], time(720));
        assert!(!due_at(&ledger, 72 * HOUR) && ledger.attempts.is_empty() && ledger.asked.is_empty());
    }

    #[test]
    fn a_list_is_read_as_far_back_as_needed() {
        let from = |attempts: &[Attempt]| ledger(attempts).read_from(time(0)).duration_since(time(0)).as_secs();
        let cases: [(&str, &[Attempt], i64); 4] = [
            ("nothing is known", &[], -72 * HOUR),
            ("some is", &[attempt(1, "a", "star", 60, Outcome::Delivered)], -21 * MINUTE),
            (
                "one had not ended",
                &[attempt(1, "a", "push", 2 * HOUR, Outcome::UnderWay), attempt(2, "b", "push", 0, Outcome::Delivered)],
                -2 * HOUR,
            ),
            ("nothing came for a week", &[attempt(1, "a", "push", 168 * HOUR, Outcome::Delivered)], -72 * HOUR),
        ];
        for (what, attempts, expected) in cases {
            assert_eq!(from(attempts), expected, "{what}");
        }
    }

    #[test]
    fn outcomes() {
        let cases = [
            ("OK", 202, Outcome::Delivered),
            ("OK", 0, Outcome::Delivered),
            ("Invalid HTTP Response: 503", 503, Outcome::Failed),
            ("Invalid HTTP Response: 301", 301, Outcome::Failed),
            ("failed to connect to host", 502, Outcome::Failed),
            ("timed out", 0, Outcome::Failed),
            ("pending", 0, Outcome::UnderWay),
        ];
        for (status, code, expected) in cases {
            assert_eq!(Outcome::of(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn addresses_of_receivers() {
        let cases = [
            ("https://hooks.example.com/webhooks/github", true),
            ("https://hooks.example.com/lockstep/webhooks/github/", true),
            ("http://127.0.0.1:8080/api/webhook?x=y", true),
            ("https://hooks.example.com/webhooks/gitea", false),
            ("https://ci.example.com/github-webhook/", false),
            ("https://ci.example.com/?to=/webhooks/github", false),
            ("/webhooks/github", false),
            ("", false),
        ];
        for (url, expected) in cases {
            assert_eq!(leads_to_lockstep(url), expected, "{url}");
        }
    }
}
