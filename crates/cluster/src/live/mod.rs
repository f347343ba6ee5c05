//! The live objects that applications own, kept up to date by one watch per kind.

mod changes;
mod store;
mod writing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use resources::{Object, ObjectKey};
use tokio::sync::{Notify, watch};

pub use changes::LiveChanges;
pub use store::LiveChange;
pub use writing::Writing;

use crate::client::{Cluster, Selection};
use crate::discovery::ApiKind;
use crate::error::{ClusterError, Subject};
use crate::watch::{Keep, Sink, Watcher};
use changes::Subscribers;
use store::{Kept, Store};
use writing::Held;

/// Tells whose an object is, from its `apiVersion`, `kind` and `metadata` (labels and annotations included; nothing
/// else is there when it is asked).
pub type OwnerOf = Arc<dyn Fn(&Object) -> Option<String> + Send + Sync>;

/// How long [`LiveStore::ensure`] waits for the first list of a kind.
const FIRST_LIST: Duration = Duration::from_secs(60);

/// The store. Cheap to clone; its watches end with the last clone.
#[derive(Clone)]
pub struct LiveStore {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    shared: Arc<Shared>,
    kinds: RwLock<HashMap<(String, String), Slot>>,
}

struct Shared {
    owner_of: OwnerOf,
    managers: Vec<String>,
    /// The cluster's own.
    manager: String,
    /// Taken before `held`.
    store: RwLock<Store>,
    held: Mutex<Held>,
    subscribers: Subscribers,
}

/// One watched kind.
struct Slot {
    kind: ApiKind,
    state: Arc<watch::Sender<SlotState>>,
    wake: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
enum SlotState {
    Starting,
    Listed,
    Failed(ClusterError),
}

impl Drop for Inner {
    fn drop(&mut self) {
        for slot in self.kinds.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            slot.task.abort();
        }
    }
}

impl LiveStore {
    /// An empty store that watches nothing yet. Managed fields are kept of the cluster's own field manager.
    pub fn new(cluster: Cluster, owner_of: OwnerOf) -> Self {
        let managers = vec![cluster.field_manager().to_owned()];
        Self::with_managers(cluster, owner_of, managers)
    }

    /// Like [`LiveStore::new`], with the managers whose managed fields are kept. Those of others are dropped, since they are often
    /// larger than the object, but for those who wrote after these managers did.
    pub fn with_managers(cluster: Cluster, owner_of: OwnerOf, managers: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            owner_of,
            managers,
            manager: cluster.field_manager().to_owned(),
            store: RwLock::default(),
            held: Mutex::default(),
            subscribers: Subscribers::default(),
        });
        Self { inner: Arc::new(Inner { cluster, shared, kinds: RwLock::default() }) }
    }

    /// Returns when each of these kinds has been listed, and fails if one cannot be (its watch is tried again
    /// nevertheless, and the next call waits for that). Costs a look into a map for kinds that are watched already.
    pub async fn ensure(&self, kinds: &[ApiKind]) -> Result<(), ClusterError> {
        let mut waiting = Vec::new();
        for kind in kinds {
            if let Some(state) = self.slot(kind) {
                waiting.push((kind, state));
            }
        }
        for (kind, mut state) in waiting {
            let done = state.wait_for(|state| !matches!(state, SlotState::Starting));
            let subject = || Subject::new("list", ObjectKey::new(kind.group.clone(), kind.kind.clone(), "", "")).what();
            match tokio::time::timeout(FIRST_LIST, done).await {
                Ok(Ok(state)) => {
                    if let SlotState::Failed(error) = &*state {
                        return Err(error.clone());
                    }
                }
                Ok(Err(_)) => {
                    return Err(ClusterError::Config("the cluster is no longer used".to_owned()));
                }
                Err(_) => return Err(ClusterError::TimedOut { what: subject(), after: FIRST_LIST }),
            }
        }
        Ok(())
    }

    /// The state to wait for, or none if the kind is listed already.
    fn slot(&self, kind: &ApiKind) -> Option<watch::Receiver<SlotState>> {
        let id = (kind.group.clone(), kind.kind.clone());
        let look = |slot: &Slot| {
            // Not in the match itself: the borrow would last as long as it, and the new state could not be set.
            let state = slot.state.borrow().clone();
            match state {
                SlotState::Listed => None,
                SlotState::Starting => Some(slot.state.subscribe()),
                SlotState::Failed(_) => {
                    slot.state.send_replace(SlotState::Starting);
                    slot.wake.notify_one();
                    Some(slot.state.subscribe())
                }
            }
        };
        if let Some(slot) = self.inner.kinds.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return look(slot);
        }
        let mut slots = self.inner.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(id).or_insert_with(|| self.start(kind));
        look(slot)
    }

    fn start(&self, kind: &ApiKind) -> Slot {
        let shared = self.inner.shared.clone();
        let owner_of = shared.owner_of.clone();
        let keep: Keep = Arc::new(move |outline| owner_of(outline).is_some());
        let selection =
            Selection { kind: kind.clone(), namespace: None, selector: None, metadata_only: false, name: None };
        let watcher = Watcher::new(Arc::downgrade(&self.inner.cluster.inner), selection, Some(keep));
        let wake = watcher.wake();
        let state = Arc::new(watch::Sender::new(SlotState::Starting));
        let id = (kind.group.clone(), kind.kind.clone());
        let mut feed = Feed { shared, id, tell: state.clone() };
        let task = tokio::spawn(async move { watcher.feed(&mut feed).await });
        Slot { kind: kind.clone(), state, wake, task }
    }

    /// One object, if somebody owns it.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.store().get(key)
    }

    /// All objects of an owner, ordered by key.
    pub fn owned_by(&self, owner: &str) -> Vec<Arc<Object>> {
        self.store().owned_by(owner)
    }

    /// How many objects an owner has.
    pub fn count_owned_by(&self, owner: &str) -> usize {
        self.store().count_owned_by(owner)
    }

    /// The objects of an owner that came, changed or went since the last call, by our own writes, too; `None`: too many to name.
    /// Taken before the objects are looked at, it misses none. What an owner lost with its last object is not among them.
    pub fn take_touched(&self, owner: &str) -> Option<HashSet<ObjectKey>> {
        self.inner.shared.store.write().unwrap_or_else(PoisonError::into_inner).take_touched(owner)
    }

    /// Whether one of these managers owns fields of an object that are to become ours, for
    /// [`crate::ApplyOptions::needs_migration`]. Known of each object of the store, whichever managed fields are kept; of one
    /// that nobody owns yet nothing is known, and the answer is no.
    pub fn needs_migration(&self, key: &ObjectKey, from: &[String]) -> bool {
        self.store().needs_migration(key, from, &self.inner.shared.manager)
    }

    /// The kinds that are watched.
    pub fn kinds(&self) -> Vec<ApiKind> {
        let slots = self.inner.kinds.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().map(|slot| slot.kind.clone()).collect()
    }

    /// Whether a kind is watched and has been listed.
    pub fn has(&self, group: &str, kind: &str) -> bool {
        let slots = self.inner.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&(group.to_owned(), kind.to_owned()));
        slot.is_some_and(|slot| matches!(*slot.state.borrow(), SlotState::Listed))
    }

    /// How many objects are kept.
    pub fn len(&self) -> usize {
        self.store().len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes from now on. Every receiver gets each change that is the newest of its object; a slow one gets fewer,
    /// never a wrong end.
    pub fn changes(&self) -> LiveChanges {
        self.inner.shared.subscribers.subscribe()
    }

    /// Takes in the result of our own write, so that the store is never behind what we did. It is no change for
    /// [`LiveStore::changes`], unless the watch was faster; [`LiveStore::writing`] is for that. Objects of kinds that are not watched, or in another version than the watched one, are
    /// left to the watch.
    pub fn record(&self, object: &Object) {
        let id = (object.group().to_owned(), object.kind().to_owned());
        {
            let slots = self.inner.kinds.read().unwrap_or_else(PoisonError::into_inner);
            let Some(slot) = slots.get(&id) else { return };
            if slot.kind.version != object.version() {
                return;
            }
        }
        let shared = &self.inner.shared;
        let owner = (shared.owner_of)(object);
        let kept = shared.keep(object.clone());
        shared.update(|store| store.record(kept, owner.as_deref()));
    }

    fn store(&self) -> std::sync::RwLockReadGuard<'_, Store> {
        self.inner.shared.store.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn keep(&self, object: Object) -> Kept {
        Kept::new(object, &self.managers, &self.manager)
    }

    fn update(&self, change: impl FnOnce(&mut Store) -> Vec<LiveChange>) {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let changes = change(&mut store);
        // Told under the lock: two updates of one object must not overtake each other on the way.
        let changes = locked(&self.held).hold(changes);
        self.subscribers.tell(changes);
    }

    fn begin(&self, key: &ObjectKey) {
        locked(&self.held).begin(key);
    }

    fn end(&self, key: &ObjectKey, version: Option<&str>) {
        let _order = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let changes = locked(&self.held).end(key, version);
        self.subscribers.tell(changes);
    }
}

/// Feeds the store from one watch.
struct Feed {
    shared: Arc<Shared>,
    /// Group and kind.
    id: (String, String),
    tell: Arc<watch::Sender<SlotState>>,
}

impl Sink for Feed {
    fn known(&self) -> Vec<ObjectKey> {
        self.shared.store.read().unwrap_or_else(PoisonError::into_inner).keys_of(&self.id)
    }

    fn applied(&mut self, object: Object) {
        match (self.shared.owner_of)(&object) {
            Some(owner) => {
                let kept = self.shared.keep(object);
                self.shared.update(|store| store.changed(kept, &owner));
            }
            None => self.deleted(object),
        }
    }

    fn gone(&mut self, key: &ObjectKey) {
        self.shared.update(|store| store.remove(key).into_iter().collect());
    }

    /// In one step, and without what is newer than the list: our own writes.
    fn reset(&mut self, all: Vec<Object>, version: &str) {
        let owned = |object: Object| {
            let owner = (self.shared.owner_of)(&object)?;
            Some((self.shared.keep(object), owner))
        };
        let objects = all.into_iter().filter_map(owned).collect();
        self.shared.update(|store| store.reset(&self.id, version, objects));
    }

    fn deleted(&mut self, outline: Object) {
        self.shared.update(|store| store.lost(&outline));
    }

    fn complete(&mut self) {
        self.tell.send_replace(SlotState::Listed);
    }

    fn bookmark(&mut self, version: &str) {
        self.shared.update(|store| {
            store.bookmark(&self.id, version);
            Vec::new()
        });
    }

    fn failed(&mut self, error: ClusterError) {
        let (group, kind) = &self.id;
        tracing::warn!(group, kind, %error, "watch failed; trying again");
        // While the API server is away, what we know stays; where it refuses, we know nothing any more.
        if !error.is_transient() {
            self.shared.update(|store| store.forget(&self.id));
            self.tell.send_replace(SlotState::Failed(error));
        }
    }
}

/// What these locks guard is never left half changed, so a panic elsewhere does not make it unusable.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
