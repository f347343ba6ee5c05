//! *Gate*: whether the plan may be carried out now: the project's rules, its windows, and somebody's word where the sync
//! policy wants one.

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use engine::accounts::acting_as;
use engine::approval;
use engine::dependencies::{self, Member, Name, Readiness, readiness};
use engine::gate::{Approved, Decision, GateInput, Trigger, gate as decide};
use engine::plan::Plan;
use engine::project::{Target, plan_violations, source_namespace_permitted};
use engine::windows::{self, WindowDecision, WindowRequest};
use jiff::Timestamp;
use resources::{AppProject, HealthStatus, SyncStatus};

use super::permit::{self, Permitted};
use super::plan::Request;
use super::{Pass, Stop};
use crate::registry::Managed;

/// What the gate decided.
pub enum Decided {
    /// Go.
    Approved(Approved),
    /// Not yet.
    Waiting {
        /// For what, in a sentence.
        sentence: String,
        /// When to ask again, if time alone can open the gate.
        until: Option<Duration>,
    },
}

/// The cluster as the account that the project names for the destination; as ourselves where it names none.
pub fn writer(pass: &Pass<'_>, project: &AppProject) -> Result<Cluster, Stop> {
    match acting_as(project, &pass.application, &target(pass)) {
        Ok(Some(user)) => Ok(pass.ctx.cluster.impersonating(&user)),
        Ok(None) => Ok(pass.ctx.cluster.clone()),
        Err(violation) => Err(Stop::invalid(violation.message)),
    }
}

/// What the application waits for, if it depends on others (`lockstep.dev/depends-on`).
pub fn waits_for_others(pass: &Pass<'_>) -> Result<Option<String>, Stop> {
    if dependencies::of(&pass.application).is_empty() {
        return Ok(None);
    }
    let members: Vec<Member> = pass.ctx.registry.all().iter().map(|managed| member(managed)).collect();
    let name = Name::new(&pass.managed.id.namespace, &pass.managed.id.name);
    match readiness(&name, &members) {
        Readiness::Ready => Ok(None),
        Readiness::WaitingFor { sentence, .. } | Readiness::Unknown { sentence, .. } => Ok(Some(sentence)),
        Readiness::Cycle { sentence, .. } => Err(Stop::invalid(sentence)),
    }
}

fn member(managed: &Managed) -> Member {
    let state = managed.state();
    let status = state.application.status.as_ref();
    Member {
        name: Name::new(&managed.id.namespace, &managed.id.name),
        depends_on: dependencies::of(&state.application),
        sync: status.map_or(SyncStatus::Unknown, |status| status.sync_status()),
        health: status.map_or(HealthStatus::Missing, |status| status.health_status()),
        pending: state.wanted.iter().any(|wanted| wanted.is_pending()),
    }
}

/// Whether a deletion may go on, and who deletes: as of a sync, what the project does not permit is not touched, and no hook runs
/// of a commit that nobody has let in.
pub fn deletes(pass: &Pass<'_>, plan: &Plan, commits: &[String]) -> Result<Cluster, Stop> {
    if plan.waves.iter().all(|wave| wave.apply.is_empty() && wave.prune.is_empty()) {
        // Nothing is touched, so an application without a project can still be removed.
        return Ok(pass.ctx.cluster.clone());
    }
    let project = permit::project_of(pass.ctx, &pass.application)?;
    let namespace = source_namespace_permitted(&project, pass.application.namespace(), pass.ctx.namespace());
    let violations = namespace.err().into_iter().chain(plan_violations(&project, &target(pass), plan));
    if let Some(violation) = violations.into_iter().next() {
        return Err(Stop::invalid(format!(
            "{}; or, to leave the objects as they are, remove the Application's finalizers",
            violation.message
        )));
    }
    if plan.waves.iter().all(|wave| wave.apply.is_empty()) {
        return writer(pass, &project);
    }
    let permitted = permit::permitted(pass.ctx, &pass.application)?;
    let approved = approval::approval(&pass.application).ok().flatten().is_some_and(|given| given.is_for(commits));
    if approval::is_required(&pass.application, Some(permitted.project()))
        && !approved
        && !approval::was_synced(&pass.application, commits)
    {
        return Err(Stop::invalid(format!(
            "the hooks around the deletion are of {}, which nobody has approved: lockstep app approve {}",
            commits.join(", "),
            pass.application.name()
        )));
    }
    writer(pass, permitted.project())
}

/// Whether a window has closed on an operation that began at this time: what it waits for now, and how long.
pub fn closed_since(pass: &Pass<'_>, manual: bool, started: Timestamp) -> Option<(String, Option<Duration>)> {
    let project = pass.ctx.projects.get(pass.application.spec.project())?;
    let target = target(pass);
    let request = WindowRequest {
        application: pass.application.name(),
        namespace: &pass.application.spec.destination.namespace,
        target: &target,
        manual,
        running_since: Some(started),
    };
    let now = Timestamp::now();
    match windows::decide(&project.spec.sync_windows, &request, now) {
        WindowDecision::Open => None,
        WindowDecision::Closed { reason, opens_at } => {
            Some((reason, opens_at.and_then(|at| at.duration_since(now).try_into().ok())))
        }
    }
}

/// Decides.
pub fn gate(pass: &Pass<'_>, permitted: &Permitted, request: &Request, plan: &Arc<Plan>) -> Result<Decided, Stop> {
    let by = request.operation.initiated_by.as_ref().map(|by| by.username.clone()).unwrap_or_default();
    let now = Timestamp::now();
    let decision = decide(&GateInput {
        application: &pass.application,
        project: Some(permitted.project()),
        target: &target(pass),
        control_namespace: pass.ctx.namespace(),
        trigger: if request.automated { Trigger::Automated } else { Trigger::Manual { by } },
        plan: plan.clone(),
        running_since: request.resumed.then_some(request.started),
        now,
    });
    match decision {
        Decision::Allowed(approved) => Ok(Decided::Approved(approved)),
        Decision::Waiting { reason, until } => {
            let until = until.map(|until| until.duration_since(now).try_into().unwrap_or(Duration::from_secs(1)));
            Ok(Decided::Waiting { sentence: reason, until })
        }
        Decision::Denied { reason } => Err(Stop::invalid(reason)),
    }
}

fn target(pass: &Pass<'_>) -> Target {
    permit::target(pass.ctx, &pass.application)
}
