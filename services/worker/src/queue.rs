//! The keyed queue: one entry per key however often it is pushed, never the same key at two workers at once, and what is
//! pushed while a key is being worked on is worked on afterwards. That is what makes the newest commit win.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What a queue entry carries: several pushes of one key become one entry.
pub trait Merge {
    /// Takes up what a later push brings.
    fn merge(&mut self, later: Self);
}

/// See the module's documentation.
#[derive(Debug)]
pub struct KeyedQueue<K, C> {
    state: Mutex<State<K, C>>,
    ready: Notify,
}

#[derive(Debug)]
struct State<K, C> {
    order: VecDeque<K>,
    waiting: HashMap<K, C>,
    active: HashMap<K, bool>,
    delayed: HashMap<K, (Instant, C)>,
    closed: bool,
}

impl<K: Clone + Eq + Hash, C: Merge> Default for KeyedQueue<K, C> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                order: VecDeque::new(),
                waiting: HashMap::new(),
                active: HashMap::new(),
                delayed: HashMap::new(),
                closed: false,
            }),
            ready: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, C: Merge> KeyedQueue<K, C> {
    /// Adds an entry, or merges it into the one that waits for the same key. A delayed entry of the key comes along.
    pub fn push(&self, key: K, cause: C) {
        {
            let mut state = self.lock();
            let cause = match state.delayed.remove(&key) {
                Some((_, mut delayed)) => {
                    delayed.merge(cause);
                    delayed
                }
                None => cause,
            };
            state.add(key, cause);
        }
        self.ready.notify_one();
    }

    /// Adds an entry after a while. Any push of the key before then takes it along; the earlier of two delays holds.
    pub fn push_after(&self, key: K, cause: C, after: Duration) {
        {
            let mut state = self.lock();
            let mut due = Instant::now() + after;
            let cause = match state.delayed.remove(&key) {
                Some((earlier, mut delayed)) => {
                    due = due.min(earlier);
                    delayed.merge(cause);
                    delayed
                }
                None => cause,
            };
            state.delayed.insert(key, (due, cause));
        }
        self.ready.notify_one();
    }

    /// The next entry whose key nobody works on, as soon as there is one; `None` once the queue is closed.
    /// The caller must call [`KeyedQueue::done`] with the key afterwards.
    pub async fn pop(&self) -> Option<(K, C)> {
        loop {
            let notified = self.ready.notified();
            let next_due = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                state.promote(Instant::now());
                if let Some(entry) = state.take() {
                    if !state.order.is_empty() {
                        self.ready.notify_one();
                    }
                    return Some(entry);
                }
                state.delayed.values().map(|(due, _)| *due).min()
            };
            match next_due {
                Some(due) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => notified.await,
            }
        }
    }

    /// The work on a key has ended; what was pushed meanwhile becomes available.
    pub fn done(&self, key: &K) {
        {
            let mut state = self.lock();
            if state.active.remove(key) == Some(true) && state.waiting.contains_key(key) {
                state.order.push_back(key.clone());
            }
        }
        self.ready.notify_one();
    }

    /// Whether something waits for a key that is being worked on.
    pub fn is_waiting(&self, key: &K) -> bool {
        self.lock().waiting.contains_key(key)
    }

    /// How many entries wait, and how many are being worked on.
    pub fn len(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.active.len())
    }

    /// Ends every `pop`.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_waiters();
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<K, C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, C: Merge> State<K, C> {
    fn add(&mut self, key: K, cause: C) {
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.merge(cause);
            return;
        }
        self.waiting.insert(key.clone(), cause);
        match self.active.get_mut(&key) {
            Some(again) => *again = true,
            None => self.order.push_back(key),
        }
    }

    fn take(&mut self) -> Option<(K, C)> {
        let key = self.order.pop_front()?;
        let cause = self.waiting.remove(&key)?;
        self.active.insert(key.clone(), false);
        Some((key, cause))
    }

    fn promote(&mut self, now: Instant) {
        let due: Vec<K> = self.delayed.iter().filter(|(_, (at, _))| *at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some((_, cause)) = self.delayed.remove(&key) {
                self.add(key, cause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Commits(Vec<u32>);

    impl Merge for Commits {
        fn merge(&mut self, later: Self) {
            self.0.extend(later.0);
        }
    }

    fn queue() -> KeyedQueue<&'static str, Commits> {
        KeyedQueue::default()
    }

    #[tokio::test]
    async fn pushes_of_one_key_are_one_entry() {
        let queue = queue();
        queue.push("gateway", Commits(vec![1]));
        queue.push("ledger", Commits(vec![2]));
        queue.push("gateway", Commits(vec![3]));
        assert_eq!(queue.pop().await, Some(("gateway", Commits(vec![1, 3]))));
        assert_eq!(queue.pop().await, Some(("ledger", Commits(vec![2]))));
    }

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once() {
        let queue = queue();
        queue.push("gateway", Commits(vec![1]));
        queue.pop().await.unwrap();
        queue.push("gateway", Commits(vec![2]));
        assert!(queue.is_waiting(&"gateway"));
        assert!(tokio::time::timeout(Duration::from_millis(20), queue.pop()).await.is_err());
        queue.done(&"gateway");
        assert_eq!(queue.pop().await, Some(("gateway", Commits(vec![2]))));
        queue.done(&"gateway");
        assert_eq!(queue.len(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_entry_comes_when_due_or_with_the_next_push() {
        let queue = queue();
        queue.push_after("gateway", Commits(vec![1]), Duration::from_secs(60));
        queue.push("gateway", Commits(vec![2]));
        assert_eq!(queue.pop().await, Some(("gateway", Commits(vec![1, 2]))));
        queue.done(&"gateway");
        let start = Instant::now();
        queue.push_after("gateway", Commits(vec![3]), Duration::from_secs(60));
        queue.push_after("gateway", Commits(vec![4]), Duration::from_secs(5));
        assert_eq!(queue.pop().await, Some(("gateway", Commits(vec![3, 4]))));
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn closing_ends_the_wait() {
        let queue = std::sync::Arc::new(queue());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop().await }
        });
        tokio::task::yield_now().await;
        queue.close();
        assert_eq!(waiting.await.unwrap(), None);
    }
}
