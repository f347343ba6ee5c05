//! Requests to one API server, bounded and in order: what keeps the program alive goes first, then what tells people where
//! it stands, then the bulk of the work. Within a class those who ask take turns, however much each of them asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Leases.
    Lease,
    /// A status, an annotation, one object that is read.
    Control,
    /// Applies, deletions, lists.
    Bulk,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Lease, Self::Control, Self::Bulk];

    /// `lease`, `control`, `bulk`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Control => "control",
            Self::Bulk => "bulk",
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Lease => 0,
            Self::Control => 1,
            Self::Bulk => 2,
        }
    }
}

/// The requests of one class at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLoad {
    /// The class.
    pub priority: Priority,
    /// Sent, and not answered yet.
    pub in_flight: usize,
    /// Not sent yet.
    pub waiting: usize,
}

tokio::task_local! {
    static FLOW: Arc<str>;
}

/// Runs a future whose requests are a flow of their own: flows take turns, so that one with a thousand requests does not hold
/// up one with two. It does not extend to tasks that the future spawns.
pub async fn in_flow<F: Future>(name: impl Into<Arc<str>>, future: F) -> F::Output {
    FLOW.scope(name.into(), future).await
}

fn flow() -> Arc<str> {
    FLOW.try_with(Arc::clone).unwrap_or_default()
}

/// See the module's documentation.
pub(crate) struct Limiter {
    most: usize,
    /// By class.
    most_of: [usize; 3],
    state: Mutex<State>,
    waiting: [AtomicUsize; 3],
}

#[derive(Default)]
struct State {
    in_flight: [usize; 3],
    lines: [Line; 3],
}

/// Those of one class who wait.
#[derive(Default)]
struct Line {
    flows: HashMap<Arc<str>, VecDeque<oneshot::Sender<Slot>>>,
    /// Whose turn it is.
    turns: VecDeque<Arc<str>>,
}

impl Line {
    fn push(&mut self, flow: Arc<str>, who: oneshot::Sender<Slot>) {
        let line = self.flows.entry(flow.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(flow);
        }
        line.push_back(who);
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Slot>> {
        let flow = self.turns.pop_front()?;
        let line = self.flows.get_mut(&flow)?;
        let who = line.pop_front();
        if line.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        who
    }
}

/// The right to have one request under way, until it is dropped.
pub(crate) struct Slot {
    limiter: Arc<Limiter>,
    priority: Priority,
    held: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.held {
            self.limiter.clone().release(self.priority);
        }
    }
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limiter {
    /// At most so many requests at once. Neither class takes all of it: a quarter is never the bulk's, an eighth always is.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        let most_of = [most, (most - most / 8).max(1), (most - most / 4).max(1)];
        Arc::new(Self { most, most_of, state: Mutex::default(), waiting: Default::default() })
    }

    /// Waits for a turn. Dropping the future gives it up.
    pub(crate) async fn acquire(self: &Arc<Self>, priority: Priority) -> Slot {
        let (waiting, turn) = {
            let mut state = self.state();
            if self.has_room(&state, priority) && state.lines[priority.place()].turns.is_empty() {
                state.in_flight[priority.place()] += 1;
                return Slot { limiter: self.clone(), priority, held: true };
            }
            let (who, turn) = oneshot::channel();
            state.lines[priority.place()].push(flow(), who);
            (Waiting::begin(&self.waiting[priority.place()]), turn)
        };
        let slot = turn.await;
        drop(waiting);
        match slot {
            Ok(slot) => slot,
            // A line is never dropped with somebody in it.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many requests there are of each class.
    pub(crate) fn load(&self) -> [RequestLoad; 3] {
        let in_flight = self.state().in_flight;
        Priority::ALL.map(|priority| RequestLoad {
            priority,
            in_flight: in_flight[priority.place()],
            waiting: self.waiting[priority.place()].load(Ordering::Relaxed),
        })
    }

    fn has_room(&self, state: &State, priority: Priority) -> bool {
        let place = priority.place();
        state.in_flight.iter().sum::<usize>() < self.most && state.in_flight[place] < self.most_of[place]
    }

    fn release(self: Arc<Self>, ended: Priority) {
        self.state().in_flight[ended.place()] -= 1;
        while let Some((priority, who)) = self.next() {
            let slot = Slot { limiter: self.clone(), priority, held: true };
            if let Err(mut slot) = who.send(slot) {
                // Gave up. Not by dropping the slot: thousands who give up at once would be as many calls deep.
                slot.held = false;
                self.state().in_flight[priority.place()] -= 1;
            }
        }
    }

    /// Who is next, counted as in flight already.
    fn next(&self) -> Option<(Priority, oneshot::Sender<Slot>)> {
        let mut state = self.state();
        for priority in Priority::ALL {
            if self.has_room(&state, priority)
                && let Some(who) = state.lines[priority.place()].pop()
            {
                state.in_flight[priority.place()] += 1;
                return Some((priority, who));
            }
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    /// A request that waits: it is in its line once it has been polled.
    fn waits(limiter: &Arc<Limiter>, priority: Priority, flow: &str) -> BoxFuture<'static, Slot> {
        let (limiter, flow) = (limiter.clone(), flow.to_owned());
        let mut future = in_flow(flow, async move { limiter.acquire(priority).await }).boxed();
        assert!((&mut future).now_or_never().is_none(), "it had a turn at once");
        future
    }

    fn takes(limiter: &Arc<Limiter>, priority: Priority) -> Slot {
        limiter.acquire(priority).now_or_never().expect("there is room")
    }

    fn has_turn(future: &mut BoxFuture<'static, Slot>) -> Option<Slot> {
        future.now_or_never()
    }

    #[test]
    fn no_class_takes_everything() {
        let limiter = Limiter::new(32);
        let bulk: Vec<Slot> = (0..24).map(|_| takes(&limiter, Priority::Bulk)).collect();
        let mut one_more = waits(&limiter, Priority::Bulk, "a");
        let control: Vec<Slot> = (0..8).map(|_| takes(&limiter, Priority::Control)).collect();
        let load = limiter.load().map(|load| (load.in_flight, load.waiting));
        assert_eq!(load, [(0, 0), (8, 0), (24, 1)]);
        drop(control);
        assert!(has_turn(&mut one_more).is_none(), "room for others is not the bulk's");
        drop(bulk);
        assert!(has_turn(&mut one_more).is_some());
        let _control: Vec<Slot> = (0..28).map(|_| takes(&limiter, Priority::Control)).collect();
        let _waits = waits(&limiter, Priority::Control, "a");
        drop(takes(&limiter, Priority::Bulk));
    }

    #[test]
    fn what_is_urgent_goes_first() {
        let limiter = Limiter::new(1);
        let held = takes(&limiter, Priority::Bulk);
        let mut bulk = waits(&limiter, Priority::Bulk, "a");
        let mut control = waits(&limiter, Priority::Control, "a");
        let mut lease = waits(&limiter, Priority::Lease, "a");
        drop(held);
        let slot = has_turn(&mut lease).expect("the lease is first");
        assert!(has_turn(&mut control).is_none() && has_turn(&mut bulk).is_none());
        drop(slot);
        let slot = has_turn(&mut control).expect("then what tells people");
        assert!(has_turn(&mut bulk).is_none());
        drop(slot);
        assert!(has_turn(&mut bulk).is_some());
    }

    #[test]
    fn flows_take_turns() {
        let limiter = Limiter::new(1);
        let held = takes(&limiter, Priority::Bulk);
        let mut line: Vec<_> = ["large", "large", "large", "small", "large", "other"]
            .into_iter()
            .map(|flow| (flow, waits(&limiter, Priority::Bulk, flow)))
            .collect();
        drop(held);
        let mut order = Vec::new();
        while !line.is_empty() {
            let place =
                line.iter_mut().position(|(_, future)| has_turn(future).is_some()).expect("somebody has a turn");
            order.push(line.remove(place).0);
        }
        assert_eq!(order, ["large", "small", "other", "large", "large", "large"]);
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let limiter = Limiter::new(1);
        let held = takes(&limiter, Priority::Bulk);
        let gone: Vec<_> = (0..10_000).map(|_| waits(&limiter, Priority::Bulk, "a")).collect();
        let granted = waits(&limiter, Priority::Control, "a");
        let mut last = waits(&limiter, Priority::Bulk, "a");
        drop(gone);
        assert_eq!(limiter.load()[2].waiting, 1);
        drop(held);
        // It has been given its turn and goes without having taken it.
        drop(granted);
        let slot = has_turn(&mut last).expect("the only one left");
        drop(slot);
        assert!(limiter.load().iter().all(|load| load.in_flight == 0 && load.waiting == 0), "{:?}", limiter.load());
    }
}
