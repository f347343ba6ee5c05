//! *Gate*: whether the plan may be carried out now: the project's rules, its windows, and somebody's word where the sync
//! policy wants one.

use std::sync::Arc;
use std::time::Duration;

use engine::dependencies::{self, Member, Name, Readiness, readiness};
use engine::gate::{Approved, Decision, GateInput, Trigger, gate as decide};
use engine::plan::Plan;
use engine::project::{Target, application_violations};
use jiff::Timestamp;
use resources::{AppProject, Destination, HealthStatus, SyncStatus};

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

/// The application's project, if it permits the application's sources and destination. Asked before anything is fetched: a
/// repository that the project does not permit is not looked into.
pub fn permitted(pass: &Pass<'_>) -> Result<Option<Arc<AppProject>>, Stop> {
    let name = pass.application.spec.project();
    let Some(project) = pass.ctx.projects.get(name) else {
        return Err(Stop::invalid(format!(
            "project {name} does not exist: create the AppProject {name} in namespace {}, or correct spec.project",
            pass.ctx.namespace()
        )));
    };
    let violations = application_violations(&project, &pass.application, &target(pass), pass.ctx.namespace());
    if violations.is_empty() {
        return Ok(Some(project));
    }
    let sentences: Vec<String> = violations.into_iter().map(|violation| violation.message).collect();
    Err(Stop::invalid(sentences.join("; ")))
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

/// Decides.
pub fn gate(
    pass: &Pass<'_>,
    project: Option<&AppProject>,
    request: &Request,
    plan: &Arc<Plan>,
) -> Result<Decided, Stop> {
    let by = request.operation.initiated_by.as_ref().map(|by| by.username.clone()).unwrap_or_default();
    let now = Timestamp::now();
    let decision = decide(&GateInput {
        application: &pass.application,
        project,
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

/// Every name of this worker's cluster.
fn target(pass: &Pass<'_>) -> Target {
    Target::of(&pass.application.spec.destination).with(
        &[pass.ctx.cluster.server(), Destination::IN_CLUSTER_SERVER],
        &[pass.ctx.cluster_name(), Destination::IN_CLUSTER_NAME],
    )
}
