//! *Plan*: which operation is to run, if one is, and what it will do.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use engine::heal::{self, Drift};
use engine::pin;
use engine::plan::{Plan, PlanInput, ResourceState, plan as decide};
use engine::retry::{self, Retry, retry_decision};
use engine::sync::{AutoInput, AutoSync, should_sync};
use jiff::Timestamp;
use resources::{
    Application, ApplicationSource, InitiatedBy, Object, ObjectKey, Operation, OperationPhase, OperationState,
    SyncOperation, SyncResource, SyncStatus, listed,
};

use super::compare::{Comparison, Resource};
use super::{Cause, Causes, Pass, Stop, hooks};
use crate::registry::Desired;

/// An operation that somebody, or the sync policy, asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// As it will stand in the status.
    pub operation: Operation,
    /// Nobody asked: the sync policy does.
    pub automated: bool,
    /// The commit was synced before, and the cluster has drifted from it.
    pub drift: bool,
    /// When it began.
    pub started: Timestamp,
    /// It was let through and begun before.
    pub resumed: bool,
    /// How often it was tried before.
    pub retries: i64,
}

impl Request {
    /// What is to be synced.
    pub fn sync(&self) -> SyncOperation {
        self.operation.sync.clone().unwrap_or_default()
    }
}

/// What is to be done about the comparison.
#[derive(Debug)]
pub enum Decided {
    /// An operation.
    Run(Box<Request>),
    /// Nothing. Where a person has to know why, that is the message of a condition.
    Nothing(Option<String>),
}

/// The sources that the application follows: those of an operation that brings its own, else those of its pin, else its spec's.
pub fn sources(application: &Application) -> Vec<ApplicationSource> {
    if let Some(sync) = asked(application).and_then(|operation| operation.sync.as_ref()) {
        if !sync.sources.is_empty() {
            return sync.sources.clone();
        }
        if let Some(source) = &sync.source {
            return vec![source.clone()];
        }
    }
    match pin::pin(application) {
        Ok(Some(pin)) => pin.followed(application),
        // What cannot be read is told by the gate, and nothing is synced by itself.
        _ => application.sources().into_iter().cloned().collect(),
    }
}

/// The sources as the status keeps them, of one and of several: where a pin only takes the place of the revisions, as the
/// Application has them.
pub fn recorded(application: &Application) -> (Option<ApplicationSource>, Vec<ApplicationSource>) {
    let spec = &application.spec;
    let multi = spec.is_multi_source();
    let sync = asked(application).and_then(|operation| operation.sync.as_ref());
    let asked = sync.filter(|sync| sync.source.is_some() || !sync.sources.is_empty());
    let pinned = pin::pin(application).ok().flatten().filter(|pin| !pin.sources.is_empty());
    match (asked, pinned) {
        (Some(sync), _) => (sync.source.clone().filter(|_| sync.sources.is_empty()), sync.sources.clone()),
        (None, Some(pin)) if multi => (None, pin.sources),
        (None, Some(pin)) => (pin.sources.into_iter().next(), Vec::new()),
        (None, None) => (spec.source.clone().filter(|_| !multi), spec.sources.clone()),
    }
}

/// The revisions that an operation asks for instead of those that the Application follows.
pub fn asked_revisions(application: &Application) -> Vec<String> {
    let Some(sync) = asked(application).and_then(|operation| operation.sync.clone()) else { return Vec::new() };
    listed(&sync.revision, &sync.revisions).to_vec()
}

/// Whether an operation was asked for at another revision than the one that the application follows.
pub fn is_at_another_revision(application: &Application) -> bool {
    asked_revisions(application).iter().any(|revision| !revision.is_empty())
}

/// What somebody asked for that is refused before anything is looked at.
pub fn can_be_followed(application: &Application) -> Result<(), Stop> {
    let sync = asked(application).and_then(|operation| operation.sync.as_ref());
    if sync.is_some_and(|sync| !sync.manifests.is_empty()) {
        return Err(Stop::sync(
            "operation.sync.manifests brings manifests that are not in Git; push them and sync that commit instead",
        ));
    }
    if is_terminated_between_tries(application) {
        return Err(Stop::sync("the operation was terminated"));
    }
    Ok(())
}

/// Whether an operation that waits for its next try was terminated.
fn is_terminated_between_tries(application: &Application) -> bool {
    let state = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    state.is_some_and(|state| state.phase == OperationPhase::Terminating && state.finished_at.is_some())
}

/// Whether somebody asked for an operation that has not ended.
pub fn is_asked(application: &Application) -> bool {
    asked(application).is_some()
}

/// The operation that somebody asked for: the `operation` field, or what was running when the process was killed, or what
/// failed and is tried again.
pub fn asked(application: &Application) -> Option<&Operation> {
    if let Some(operation) = &application.operation {
        return Some(operation);
    }
    running(application).map(|state| &state.operation)
}

/// An operation that somebody asked for and that has begun.
fn running(application: &Application) -> Option<&OperationState> {
    let state = application.status.as_ref()?.operation_state.as_ref()?;
    let automated = state.operation.initiated_by.as_ref().is_some_and(|by| by.automated);
    (!state.phase.is_final() && !automated).then_some(state)
}

/// The operation that is to run now, if any.
pub fn request(pass: &Pass<'_>, desired: &Desired, states: &[ResourceState], sync: SyncStatus) -> Decided {
    let application = &pass.application;
    if let Some(operation) = &application.operation {
        return Decided::Run(Box::new(Request {
            operation: operation.clone(),
            automated: false,
            drift: false,
            started: Timestamp::now(),
            resumed: false,
            retries: 0,
        }));
    }
    if let Some(state) = running(application) {
        if let Some(failed) = state.finished_at {
            let policy = retry::policy(application, Some(&state.operation));
            let failures = u32::try_from(state.retry_count).unwrap_or(u32::MAX).saturating_add(1);
            if let Retry::At { at, .. } = retry_decision(&policy, failures, failed.0, Timestamp::now()) {
                again_at(pass, Some(at));
                return Decided::Nothing(Some(state.message.clone()));
            }
        }
        return Decided::Run(Box::new(Request {
            operation: state.operation.clone(),
            automated: false,
            drift: false,
            started: state.started_at.map_or_else(Timestamp::now, |at| at.0),
            resumed: true,
            retries: state.retry_count + i64::from(state.finished_at.is_some()),
        }));
    }
    if sync != SyncStatus::OutOfSync {
        return Decided::Nothing(None);
    }
    // An automated operation that a kill interrupted is decided again, so it must not stand in its own way.
    let whole = without_interrupted(application);
    let now = Timestamp::now();
    // Nothing else is out of sync then.
    let hooks_due = hooks::are_due(pass, desired);
    let (decision, failures) = {
        let mut state = pass.managed.state();
        let drifts: Vec<Drift<'_>> = states
            .iter()
            .filter(|resource| resource.held_by.is_none())
            .filter(|resource| resource.live.is_none() || resource.difference.as_ref().is_none_or(|d| !d.is_empty()))
            .map(|resource| Drift { key: &resource.key, difference: resource.difference.as_ref() })
            .collect();
        state.heals.observe(&drifts, now);
        let decision = should_sync(&AutoInput {
            application: &whole,
            resources: states,
            instance: &pass.tracking_name(),
            tracking: &pass.ctx.tracking,
            revisions: &desired.commits,
            heals: Some(&state.heals),
            failures: Some(state.refused),
            hooks_due,
            now,
        });
        (decision, state.refused)
    };
    match decision {
        AutoSync::Sync { reason } => {
            tracing::debug!(application = %pass.managed.id, reason, failures, "sync.decided");
            Decided::Run(Box::new(automated(pass, desired, 0, Vec::new())))
        }
        AutoSync::Heal { attempt, reason, resources, again_at: others } => {
            tracing::info!(application = %pass.managed.id, reason, "drift.found");
            again_at(pass, others);
            let selected = if heal::runs_hooks(application) { Vec::new() } else { heal::selection(&resources) };
            Decided::Run(Box::new(Request { drift: true, ..automated(pass, desired, attempt, selected) }))
        }
        AutoSync::No { reason, error, again_at: at } => {
            again_at(pass, at);
            if application.spec.automated().is_none() {
                // Nobody has asked and the policy does not: what would be done is planned all the same, for the check to say.
                return Decided::Run(Box::new(automated(pass, desired, 0, Vec::new())));
            }
            Decided::Nothing(error.then_some(reason))
        }
    }
}

fn again_at(pass: &Pass<'_>, at: Option<Timestamp>) {
    let Some(at) = at else { return };
    let pause = at.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::from_millis(100));
    pass.ctx.queue.push_after(pass.managed.id.clone(), Causes::of(Cause::Live), pause);
}

fn without_interrupted(application: &Application) -> Cow<'_, Application> {
    let state = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    if state.is_none_or(|state| state.phase.is_final()) {
        // A copy is as large as the list of its objects.
        return Cow::Borrowed(application);
    }
    let mut application = application.clone();
    if let Some(status) = &mut application.status {
        status.operation_state = None;
    }
    Cow::Owned(application)
}

fn automated(pass: &Pass<'_>, desired: &Desired, attempt: i64, resources: Vec<SyncResource>) -> Request {
    let spec = &pass.application.spec;
    let operation = Operation {
        sync: Some(SyncOperation {
            revision: desired.commits.first().cloned().unwrap_or_default(),
            revisions: if spec.is_multi_source() { desired.commits.clone() } else { Vec::new() },
            prune: spec.automated().is_some_and(|automated| automated.prune),
            auto_heal_attempts_count: attempt,
            resources,
            ..SyncOperation::default()
        }),
        initiated_by: Some(InitiatedBy { automated: true, ..InitiatedBy::default() }),
        ..Operation::default()
    };
    Request { operation, automated: true, drift: false, started: Timestamp::now(), resumed: false, retries: 0 }
}

/// What becomes of an operation that failed: the moment of its next try, if there is one.
pub fn next_try(application: &Application, operation: &Operation, failures: u32, now: Timestamp) -> Option<Timestamp> {
    let automated = operation.initiated_by.as_ref().is_some_and(|by| by.automated);
    let policy = retry::policy(application, (!automated).then_some(operation));
    match retry_decision(&policy, failures, now, now) {
        Retry::Now { .. } => Some(now),
        Retry::At { at, .. } => Some(at),
        Retry::Never => None,
    }
}

/// The comparison as the engine takes it.
pub fn states(comparison: &Comparison) -> Vec<ResourceState> {
    comparison.resources.iter().map(|resource| state(resource)).collect()
}

/// Only what is out of sync, where a repair needs no more: nothing is pruned, and nobody asked for anything.
pub fn open_states(application: &Application, comparison: &Comparison) -> Option<Vec<ResourceState>> {
    let heals = application.spec.automated().is_some_and(|automated| automated.self_heal);
    let repairs = heals && !is_asked(application) && !heal::runs_hooks(application);
    (repairs && comparison.out().all(|resource| resource.desired.is_some()))
        .then(|| comparison.out().map(|resource| state(resource)).collect())
}

fn state(resource: &Resource) -> ResourceState {
    ResourceState {
        key: resource.key.clone(),
        desired: resource.desired.clone(),
        live: resource.live.clone(),
        difference: resource.difference.clone().filter(|_| resource.live.is_some()),
        held_by: resource.held_by.clone(),
    }
}

/// Decides what the operation does.
pub async fn plan(
    pass: &Pass<'_>,
    request: &Request,
    desired: &Desired,
    states: &[ResourceState],
) -> Result<Arc<Plan>, Stop> {
    let sync = request.sync();
    let instance = pass.tracking_name();
    let namespace = live_namespace(pass, &sync).await?;
    let revision = desired.commits.first().map_or("", String::as_str);
    let mut input = PlanInput::of_operation(
        &pass.application,
        &sync,
        request.automated,
        states,
        (&instance, &pass.ctx.tracking),
        (revision, request.started),
    );
    input.namespace = namespace.as_ref();
    input.revisions = &desired.commits;
    // Healing drift brings back objects; it is no release, so hooks do not run unless the application wants them to.
    input.hooks = input.hooks && (!request.drift || heal::runs_hooks(&pass.application));
    decide(&input).map(Arc::new).map_err(|error| Stop::sync(error.to_string()))
}

/// The destination namespace, where the operation may have to create it.
async fn live_namespace(pass: &Pass<'_>, sync: &SyncOperation) -> Result<Option<Object>, Stop> {
    let options = if sync.sync_options.is_empty() { pass.application.spec.sync_options() } else { &sync.sync_options };
    let name = &pass.application.spec.destination.namespace;
    if name.is_empty() || resources::option(options.iter().map(String::as_str), "CreateNamespace") != Some("true") {
        return Ok(None);
    }
    Ok(pass.ctx.cluster.get(&ObjectKey::new("", "Namespace", "", name)).await?)
}
