//! *Plan*: which operation is to run, if one is, and what it will do.

use std::sync::Arc;
use std::time::Duration;

use engine::ownership::Tracking;
use engine::plan::{Plan, PlanInput, ResourceState, plan as decide};
use engine::sync::{AutoInput, AutoSync, should_sync};
use jiff::Timestamp;
use resources::{Application, InitiatedBy, Object, ObjectKey, Operation, SyncOperation, SyncStatus};

use super::compare::Comparison;
use super::{Cause, Causes, Pass, Stop};
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
    /// It was already running when this process began.
    pub resumed: bool,
}

impl Request {
    /// What is to be synced.
    pub fn sync(&self) -> SyncOperation {
        self.operation.sync.clone().unwrap_or_default()
    }
}

/// The revisions that an operation asks for instead of those that the Application follows.
pub fn asked_revisions(application: &Application) -> Vec<String> {
    let Some(sync) = asked(application).and_then(|operation| operation.sync.clone()) else { return Vec::new() };
    if sync.revisions.is_empty() { vec![sync.revision] } else { sync.revisions }
}

/// Whether somebody asked for an operation that has not ended.
pub fn is_asked(application: &Application) -> bool {
    asked(application).is_some()
}

/// The operation that somebody asked for: the `operation` field, or what was running when the process was killed.
fn asked(application: &Application) -> Option<&Operation> {
    if let Some(operation) = &application.operation {
        return Some(operation);
    }
    let state = application.status.as_ref()?.operation_state.as_ref()?;
    let automated = state.operation.initiated_by.as_ref().is_some_and(|by| by.automated);
    (!state.phase.is_final() && !automated && state.finished_at.is_none()).then_some(&state.operation)
}

/// The operation that is to run now, if any.
pub fn request(pass: &Pass<'_>, desired: &Desired, states: &[ResourceState], sync: SyncStatus) -> Option<Request> {
    if let Some(operation) = asked(&pass.application) {
        let running = pass.application.status.as_ref().and_then(|status| status.operation_state.as_ref());
        let resumed = pass.application.operation.is_none();
        let started = running.filter(|_| resumed).and_then(|state| state.started_at).map(|at| at.0);
        return Some(Request {
            operation: operation.clone(),
            automated: false,
            drift: false,
            started: started.unwrap_or_else(Timestamp::now),
            resumed,
        });
    }
    if sync != SyncStatus::OutOfSync {
        return None;
    }
    if pass.application.spec.automated().is_none() {
        // Nobody has asked and the policy does not: what would be done is planned all the same, for the check to say.
        return Some(automated(pass, desired, 0, false));
    }
    // An automated operation that a kill interrupted is decided again, so it must not stand in its own way.
    let application = without_interrupted(&pass.application);
    let decision = should_sync(&AutoInput {
        application: &application,
        resources: states,
        instance: &pass.tracking_name(),
        tracking: &Tracking::default(),
        revisions: &desired.commits,
        heals: None,
        failures: None,
        now: Timestamp::now(),
    });
    match decision {
        AutoSync::Sync { .. } => Some(automated(pass, desired, 0, false)),
        AutoSync::Heal { attempt, reason, .. } => {
            tracing::info!(application = %pass.managed.id, reason, "drift.found");
            Some(automated(pass, desired, attempt, true))
        }
        AutoSync::No { error: true, .. } if pass.causes.has(Cause::Retry) && pass.managed.take_retry() => {
            Some(automated(pass, desired, 0, false))
        }
        AutoSync::No { again_at, .. } => {
            if let Some(at) = again_at {
                let pause = at.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::from_secs(1));
                pass.ctx.queue.push_after(pass.managed.id.clone(), Causes::of(Cause::Live), pause);
            }
            None
        }
    }
}

fn without_interrupted(application: &Application) -> Application {
    let mut application = application.clone();
    if let Some(status) = &mut application.status {
        status.operation_state.take_if(|state| !state.phase.is_final());
    }
    application
}

fn automated(pass: &Pass<'_>, desired: &Desired, attempt: i64, drift: bool) -> Request {
    let spec = &pass.application.spec;
    let operation = Operation {
        sync: Some(SyncOperation {
            revision: desired.commits.first().cloned().unwrap_or_default(),
            revisions: if spec.is_multi_source() { desired.commits.clone() } else { Vec::new() },
            prune: spec.automated().is_some_and(|automated| automated.prune),
            auto_heal_attempts_count: attempt,
            ..SyncOperation::default()
        }),
        initiated_by: Some(InitiatedBy { automated: true, ..InitiatedBy::default() }),
        ..Operation::default()
    };
    Request { operation, automated: true, drift, started: Timestamp::now(), resumed: false }
}

/// The comparison as the engine takes it.
pub fn states(comparison: &Comparison) -> Vec<ResourceState> {
    let state = |resource: &super::compare::Resource| ResourceState {
        key: resource.key.clone(),
        desired: resource.desired.as_deref().cloned(),
        live: resource.live.clone(),
        difference: resource.difference.clone().filter(|_| resource.live.is_some()),
    };
    comparison.resources.iter().map(state).collect()
}

/// Decides what the operation does.
pub async fn plan(
    pass: &Pass<'_>,
    request: &Request,
    desired: &Desired,
    states: &[ResourceState],
) -> Result<Arc<Plan>, Stop> {
    let sync = request.sync();
    let tracking = Tracking::default();
    let instance = pass.tracking_name();
    let namespace = live_namespace(pass, &sync).await?;
    let revision = desired.commits.first().map_or("", String::as_str);
    let mut input = PlanInput::of_operation(
        &pass.application,
        &sync,
        request.automated,
        states,
        (&instance, &tracking),
        (revision, request.started),
    );
    input.namespace = namespace.as_ref();
    input.revisions = &desired.commits;
    // Healing drift brings back objects; it is no release, so hooks do not run, as in Argo CD.
    input.hooks = input.hooks && !request.drift;
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
