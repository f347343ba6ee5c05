//! How many processes may run at once, shared out so that nobody's slow repositories hold up anybody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// On whose behalf a process runs; nothing for nobody's.
pub(crate) type Asker = Option<Arc<str>>;

/// All together. Most of their time is waiting for the forge.
const ALL: usize = 24;
/// Of one project.
const OF_A_PROJECT: usize = 16;
/// Of one project at one host: its other hosts are not held up by a slow one.
const OF_A_HOST: usize = 12;

/// The slots. A project for which nothing runs gets one at once, whatever the others have taken.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: usize,
    projects: HashMap<Asker, usize>,
    hosts: HashMap<Claim, usize>,
    /// Whoever came first stands first.
    waiting: Vec<(Claim, oneshot::Sender<Slot>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Claim {
    project: Asker,
    host: Arc<str>,
}

/// One slot; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    claim: Claim,
}

impl Slots {
    /// Waits for a slot. Of several who ask for the same thing, it counts for the one that has the fewest.
    pub(crate) async fn take(self: &Arc<Self>, askers: &[Asker], host: &str) -> Option<Slot> {
        let waiting = {
            let mut state = self.lock();
            let fewest = askers.iter().min_by_key(|asker| state.of_project(asker));
            let claim = Claim { project: fewest.cloned().flatten(), host: host.into() };
            if state.is_free(&claim) {
                return Some(self.give(&mut state, claim));
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push((claim, sender));
            receiver
        };
        waiting.await.ok()
    }

    fn give(self: &Arc<Self>, state: &mut State, claim: Claim) -> Slot {
        state.all += 1;
        *state.projects.entry(claim.project.clone()).or_default() += 1;
        *state.hosts.entry(claim.clone()).or_default() += 1;
        Slot { slots: Arc::clone(self), claim }
    }

    fn give_back(self: &Arc<Self>, claim: &Claim) {
        let next = {
            let mut state = self.lock();
            state.all -= 1;
            let State { projects, hosts, waiting, .. } = &mut *state;
            lower(projects, &claim.project);
            lower(hosts, claim);
            waiting.retain(|(_, sender)| !sender.is_closed());
            let state = &mut *state;
            let eligible = state.waiting.iter().enumerate().filter(|(_, (claim, _))| state.is_free(claim));
            let first = eligible.min_by_key(|(_, (claim, _))| state.of_project(&claim.project)).map(|(at, _)| at);
            first.map(|at| {
                let (claim, sender) = state.waiting.remove(at);
                (self.give(state, claim), sender)
            })
        };
        // Outside the lock: if nobody waits any more, the slot comes back here.
        if let Some((slot, sender)) = next {
            let _ = sender.send(slot);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of_project(&self, project: &Asker) -> usize {
        self.projects.get(project).copied().unwrap_or_default()
    }

    fn is_free(&self, claim: &Claim) -> bool {
        let (project, host) = (self.of_project(&claim.project), self.hosts.get(claim).copied().unwrap_or_default());
        project == 0 || (self.all < ALL && project < OF_A_PROJECT && host < OF_A_HOST)
    }
}

fn lower<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(&self.claim);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Option<Slot>>>>;

    /// The slot, if there is one by now.
    fn look(waiting: &mut Waiting) -> Option<Slot> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => slot,
            Poll::Pending => None,
        }
    }

    fn ask(slots: &Arc<Slots>, project: &str, host: &str) -> Waiting {
        let (slots, project, host) = (Arc::clone(slots), Some(Arc::from(project)), host.to_owned());
        Box::pin(async move { slots.take(&[project], &host).await })
    }

    /// Takes as many as there are.
    fn greedy(slots: &Arc<Slots>, project: &str, host: &str) -> (Vec<Slot>, Waiting) {
        let mut taken = Vec::new();
        loop {
            let mut asked = ask(slots, project, host);
            match look(&mut asked) {
                Some(slot) => taken.push(slot),
                None => return (taken, asked),
            }
        }
    }

    #[test]
    fn a_slow_host_leaves_slots_for_the_project_and_a_greedy_project_for_the_others() {
        let slots = Arc::new(Slots::default());
        let (slow, _waits) = greedy(&slots, "a", "slow.example");
        assert_eq!(slow.len(), OF_A_HOST);
        let (_other, _waits2) = greedy(&slots, "a", "other.example");
        assert_eq!(slots.lock().of_project(&Some("a".into())), OF_A_PROJECT);
        let (b, _waits3) = greedy(&slots, "b", "slow.example");
        assert_eq!(b.len(), ALL - OF_A_PROJECT);
        // Everything is taken, and still nobody is left without.
        let (c, _waits4) = greedy(&slots, "c", "slow.example");
        assert_eq!(c.len(), 1);
    }

    #[test]
    fn who_waits_longest_with_least_comes_first() {
        let slots = Arc::new(Slots::default());
        let (mut a, mut a_waits) = greedy(&slots, "a", "h");
        assert!(look(&mut a_waits).is_none());
        let (mut b, mut b_waits) = greedy(&slots, "b", "h");
        assert_eq!((a.len(), b.len()), (OF_A_HOST, OF_A_HOST));
        drop((a.pop(), b.pop()));
        let (a_next, b_next) = (look(&mut a_waits), look(&mut b_waits));
        assert!(a_next.is_some() && b_next.is_some());
        // Whoever has gone away takes nothing with him.
        let mut gone = ask(&slots, "a", "h");
        assert!(look(&mut gone).is_none());
        drop(gone);
        drop((a, b, a_next, b_next));
        let state = slots.lock();
        assert!(state.all == 0 && state.projects.is_empty() && state.hosts.is_empty());
    }

    #[test]
    fn what_several_ask_for_counts_for_the_one_with_the_fewest() {
        let slots = Arc::new(Slots::default());
        let (_a, _waits) = greedy(&slots, "a", "h");
        let askers = [Some(Arc::from("a")), Some(Arc::from("b"))];
        let shared = Arc::clone(&slots);
        let mut both: Waiting = Box::pin(async move { shared.take(&askers, "h").await });
        let slot = look(&mut both);
        assert_eq!(slot.unwrap().claim.project.as_deref(), Some("b"));
    }
}
