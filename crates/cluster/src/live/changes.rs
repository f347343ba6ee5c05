//! How changes reach those who listen: what is pending is kept per object, newest state only, so a slow listener costs
//! bounded memory and misses no end state.

use std::sync::{Arc, Mutex, Weak};

use indexmap::IndexMap;
use resources::ObjectKey;
use tokio::sync::Notify;

use super::locked;
use super::store::LiveChange;

type Pending = IndexMap<(Arc<str>, ObjectKey), LiveChange>;

#[derive(Default)]
struct Mailbox {
    pending: Mutex<Pending>,
    arrived: Notify,
}

/// Everybody who listens.
#[derive(Default)]
pub(crate) struct Subscribers {
    boxes: Mutex<Vec<Weak<Mailbox>>>,
}

impl Subscribers {
    pub(crate) fn subscribe(&self) -> LiveChanges {
        let mailbox = Arc::new(Mailbox::default());
        locked(&self.boxes).push(Arc::downgrade(&mailbox));
        LiveChanges { mailbox }
    }

    pub(crate) fn tell(&self, changes: Vec<LiveChange>) {
        if changes.is_empty() {
            return;
        }
        locked(&self.boxes).retain(|weak| {
            let Some(mailbox) = weak.upgrade() else { return false };
            {
                let mut pending = locked(&mailbox.pending);
                for change in &changes {
                    pending.insert((change.owner.clone(), change.key.clone()), change.clone());
                }
            }
            mailbox.arrived.notify_one();
            true
        });
    }
}

/// A receiver of changes.
pub struct LiveChanges {
    mailbox: Arc<Mailbox>,
}

impl LiveChanges {
    /// The next change; waits for one. Cancelling it loses nothing.
    pub async fn recv(&mut self) -> LiveChange {
        loop {
            if let Some((_, change)) = locked(&self.mailbox.pending).shift_remove_index(0) {
                return change;
            }
            self.mailbox.arrived.notified().await;
        }
    }

    /// All pending changes, oldest object first; waits until there is one. Cheaper than [`LiveChanges::recv`] after a
    /// burst. Cancelling it loses nothing.
    pub async fn recv_all(&mut self) -> Vec<LiveChange> {
        loop {
            let pending = std::mem::take(&mut *locked(&self.mailbox.pending));
            if !pending.is_empty() {
                return pending.into_values().collect();
            }
            self.mailbox.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::Object;
    use serde_json::json;

    fn change(name: &str, version: Option<&str>) -> LiveChange {
        let object = version.map(|version| Arc::new(Object(json!({"metadata": {"resourceVersion": version}}))));
        LiveChange { key: ObjectKey::new("", "ConfigMap", "n", name), owner: "app".into(), object }
    }

    #[tokio::test]
    async fn a_slow_listener_gets_the_newest_state_of_each_object() {
        let subscribers = Subscribers::default();
        let (mut slow, mut quick) = (subscribers.subscribe(), subscribers.subscribe());
        subscribers.tell(vec![change("a", Some("1"))]);
        assert_eq!(quick.recv().await.object.unwrap().resource_version(), "1");
        subscribers.tell(vec![change("a", Some("2")), change("b", Some("3"))]);
        subscribers.tell(vec![change("a", None)]);

        let all = slow.recv_all().await;
        assert_eq!(all.len(), 2);
        assert!(all[0].object.is_none() && all[0].key.name == "a");
        assert_eq!(quick.recv_all().await.len(), 2);
        drop(slow);
        subscribers.tell(vec![change("c", None)]);
        assert_eq!(locked(&subscribers.boxes).len(), 1);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let subscribers = Subscribers::default();
        let mut listener = subscribers.subscribe();
        let waiting = tokio::spawn(async move { listener.recv().await.key.name });
        tokio::task::yield_now().await;
        subscribers.tell(vec![change("a", None)]);
        assert_eq!(waiting.await.unwrap(), "a");
    }
}
