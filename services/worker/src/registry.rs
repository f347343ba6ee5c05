//! The applications of this cluster as the worker holds them: the newest object from the API server, what is wanted of each,
//! and what the last reconcile left behind to make the next one cheap.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::heal::HealHistory;
use render::Rendered;
use resources::{Application, Object, ObjectKey};
use serde_json::Value;
use tokio::sync::Notify;

use crate::AppId;
use crate::index::Tracked;
use crate::reconcile::compare::Compared;
use crate::reconcile::explain::Causes;
use crate::timeline::Timeline;
use crate::tracker::{CommitKey, Conclusion};
use crate::wanted::{self, Wanted};

/// One application and what the worker knows of it.
#[derive(Debug)]
pub struct Managed {
    /// Namespace and name.
    pub id: AppId,
    state: Mutex<State>,
    /// One writer at a time, so that an older annotation or status never lands after a newer one.
    pub writing: tokio::sync::Mutex<()>,
    /// Something newer is wanted: whoever waits inside an operation looks again.
    pub newer: Notify,
}

/// What changes about a [`Managed`].
#[derive(Debug)]
pub struct State {
    /// As last seen or written.
    pub application: Arc<Application>,
    /// The commits wanted, one for each repository.
    pub wanted: Vec<Wanted>,
    /// Grows with each change of `wanted`.
    pub wanted_version: u64,
    /// The version that the annotation has.
    pub wanted_written: u64,
    /// A verdict was reached that the annotation does not have yet.
    pub verdicts_unwritten: bool,
    /// Whether its first render since the start has been tried: until then every push seems to concern it.
    pub rendered_once: bool,
    /// The last render, ready to be compared.
    pub desired: Option<Arc<Desired>>,
    /// The last comparison, of which the next one takes what has not changed.
    pub compared: Option<Box<Compared>>,
    /// Since when the application is in sync but not yet healthy.
    pub settling_since: Option<jiff::Timestamp>,
    /// How often in a row a pass could not come to an end.
    pub failures: u32,
    /// How often in a row a render was given up for a newer commit.
    pub given_up: u32,
    /// How often the sync of the wanted commits was refused by the cluster.
    pub refused: u32,
    /// Why the newest commit could not be rendered or is not permitted; what was rendered before still holds.
    pub broken: Option<(&'static str, String)>,
    /// Objects of which an apply changed nothing although the comparison saw a difference: the API server is asked about them.
    pub misjudged: HashSet<ObjectKey>,
    /// Why workloads are not well, and when that was asked for.
    pub causes: Option<Box<Causes>>,
    /// It left an object to another application that wants it too.
    pub shares: bool,
    /// What was repaired lately.
    pub heals: HealHistory,
    /// The moments of the way so far, until it is concluded.
    pub timeline: Timeline,
    /// What started the current way, for the report.
    pub cause: &'static str,
}

impl State {
    /// `status` as the API server has it, for writing only what changed. Made when asked for: kept, it would be the largest
    /// part of an application's memory.
    pub fn status(&self) -> Value {
        self.application.status.as_ref().and_then(|status| serde_json::to_value(status).ok()).unwrap_or(Value::Null)
    }
}

/// What a render wants in the cluster, with namespace and owner filled in.
#[derive(Debug)]
pub struct Desired {
    /// What it was made from.
    pub rendered: Arc<Rendered>,
    /// The commits of the sources, in their order.
    pub commits: Vec<String>,
    /// The places the commits came from.
    pub places: Vec<Tracked>,
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// Hash of the spec it was made for.
    pub spec: String,
    /// What people should know about the render: condition type and message.
    pub warnings: Vec<(String, String)>,
    /// It was made before the cluster knew all of its kinds, and is made anew next time.
    pub open: bool,
}

impl Managed {
    fn new(id: AppId, application: Application) -> Self {
        let wanted = wanted::parse(application.annotation(resources::annotations::WANTED));
        Self {
            id,
            state: Mutex::new(State {
                application: Arc::new(slim(application)),
                wanted,
                wanted_version: 0,
                wanted_written: 0,
                verdicts_unwritten: false,
                rendered_once: false,
                desired: None,
                compared: None,
                settling_since: None,
                failures: 0,
                given_up: 0,
                refused: 0,
                misjudged: HashSet::new(),
                broken: None,
                causes: None,
                shares: false,
                heals: HealHistory::default(),
                timeline: Timeline::default(),
                cause: "start",
            }),
            writing: tokio::sync::Mutex::new(()),
            newer: Notify::new(),
        }
    }

    /// The state, locked. Never held across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a commit that is or was wanted has ended, as far as it is remembered.
    pub fn conclusion_of(&self, key: &CommitKey) -> Option<Conclusion> {
        let state = self.state();
        let of_repository =
            state.wanted.iter().find(|wanted| wanted.repository_key().as_ref() == Some(&key.repository));
        of_repository.and_then(|wanted| wanted.conclusion_of(&key.commit))
    }

    /// A pass could not come to an end once more; tells how often in a row.
    pub fn failed_again(&self) -> u32 {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.failures
    }

    /// The newest object.
    pub fn application(&self) -> Arc<Application> {
        self.state().application.clone()
    }

    /// The API server has this now. Tells whether anything but status and bookkeeping differs from before.
    pub fn update(&self, application: Application) -> bool {
        let mut state = self.state();
        let changed = is_other_work(&state.application, &application);
        state.application = Arc::new(slim(application));
        changed
    }
}

/// All applications; cheap to ask.
#[derive(Debug, Default)]
pub struct Registry {
    applications: Mutex<HashMap<AppId, Arc<Managed>>>,
}

impl Registry {
    /// One application.
    pub fn get(&self, id: &AppId) -> Option<Arc<Managed>> {
        self.lock().get(id).cloned()
    }

    /// Takes up what the API server says. Tells whether there is work to do, and whether it is new.
    pub fn upsert(&self, application: Application) -> (Arc<Managed>, bool) {
        let id = AppId::of(&application);
        let mut applications = self.lock();
        if let Some(managed) = applications.get(&id) {
            let managed = managed.clone();
            drop(applications);
            let changed = managed.update(application);
            return (managed, changed);
        }
        let managed = Arc::new(Managed::new(id.clone(), application));
        applications.insert(id, managed.clone());
        (managed, true)
    }

    /// The application is gone.
    pub fn remove(&self, id: &AppId) -> Option<Arc<Managed>> {
        self.lock().remove(id)
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<Managed>> {
        self.lock().values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, Arc<Managed>>> {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who owns which field is a third of an Application, and nobody here asks.
fn slim(mut application: Application) -> Application {
    application.metadata.managed_fields = None;
    application
}

/// Whether the newer object asks for something that the older did not: its spec, an operation, its deletion, or one of the
/// annotations that are orders.
fn is_other_work(before: &Application, after: &Application) -> bool {
    let orders = |application: &Application| {
        let mut annotations = application.metadata.annotations.clone().unwrap_or_default();
        annotations.remove(resources::annotations::WANTED);
        annotations.remove(resources::annotations::HOOKS_RAN);
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        annotations
    };
    before.spec != after.spec
        || (after.operation.is_some() && before.operation != after.operation)
        || before.metadata.deletion_timestamp != after.metadata.deletion_timestamp
        || before.metadata.finalizers != after.metadata.finalizers
        || orders(before) != orders(after)
}
