//! *Gate*: whether the plan may be carried out now: the project's rules, its windows, and somebody's word where the sync
//! policy wants one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use engine::accounts::acting_as;
use engine::approval;
use engine::dependencies::{self, Member, Name, Readiness, readiness};
use engine::gate::{Approved, Decision, GateInput, Trigger, gate as decide};
use engine::plan::Plan;
use engine::project::{Target, application_violations, plan_violations, source_permitted};
use engine::signatures::{Mode, Signature, signature_permitted, signature_policy};
use engine::windows::{self, WindowDecision, WindowRequest};
use git::{Commit, GitError, Keys, Revision};
use jiff::Timestamp;
use resources::{AppProject, Destination, HealthStatus, ObjectKey, SyncStatus};

use super::plan::Request;
use super::resolve::Resolved;
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
    let mut violations = application_violations(&project, &pass.application, &target(pass), pass.ctx.namespace());
    // An operation and a pin may bring sources of their own.
    let followed = super::plan::sources(&pass.application);
    violations.extend(followed.iter().filter_map(|source| source_permitted(&project, &source.repo_url).err()));
    violations.dedup_by(|a, b| a.message == b.message);
    if violations.is_empty() {
        return Ok(Some(project));
    }
    let sentences: Vec<String> = violations.into_iter().map(|violation| violation.message).collect();
    Err(Stop::invalid(sentences.join("; ")))
}

/// The cluster as the account that the project names for the destination; as ourselves where it names none.
pub fn writer(pass: &Pass<'_>, project: Option<&AppProject>) -> Result<Cluster, Stop> {
    let Some(project) = project else { return Ok(pass.ctx.cluster.clone()) };
    match acting_as(project, &pass.application, &target(pass)) {
        Ok(Some(user)) => Ok(pass.ctx.cluster.impersonating(&user)),
        Ok(None) => Ok(pass.ctx.cluster.clone()),
        Err(violation) => Err(Stop::invalid(violation.message)),
    }
}

/// Whether the commits carry the signatures that the project wants. Asked before anything is rendered.
pub async fn signed(pass: &Pass<'_>, project: Option<&AppProject>, resolved: &[Resolved]) -> Result<(), Stop> {
    let Some(project) = project else { return Ok(()) };
    for source in resolved {
        let address = source.url.to_string();
        let policy = signature_policy(project, &address).map_err(|violation| Stop::invalid(violation.message))?;
        if policy.mode == Mode::None {
            continue;
        }
        let keys = keys(pass).await?;
        let repository = pass.ctx.git.repository(&source.url);
        let failed = |error: GitError| {
            if error.is_transient() { Stop::Later(error.to_string()) } else { Stop::comparison(error.to_string()) }
        };
        let permitted = |commit: &Commit, signature: &git::Signature| {
            // A policy may name the main key or the subkey.
            let mut answers = verdicts(signature)
                .into_iter()
                .map(|verdict| signature_permitted(project, &address, commit.as_ref(), &verdict));
            let first = answers
                .next()
                .unwrap_or_else(|| signature_permitted(project, &address, commit.as_ref(), &Signature::Bad));
            first.or_else(|first| if answers.any(|answer| answer.is_ok()) { Ok(()) } else { Err(first) })
        };
        let refused: Vec<(Commit, git::Signature)> = if policy.mode == Mode::Strict {
            let last = pass.application.status.as_ref().and_then(|status| status.history.last());
            let last = last.and_then(|last| Commit::parse(&last.revision).ok());
            let trusted = |signature: &git::Signature| permitted(&source.commit, signature).is_ok();
            repository.verify_range(last.as_ref(), &source.commit, &keys, trusted).await.map_err(failed)?.refused
        } else {
            let revision = Revision::parse(&source.tracked.revision).map_err(failed)?;
            let signature = repository.verify_revision(&revision, &source.commit, &keys).await.map_err(failed)?;
            vec![(source.commit.clone(), signature)]
        };
        for (commit, signature) in &refused {
            permitted(commit, signature).map_err(|violation| Stop::invalid(violation.message))?;
        }
    }
    Ok(())
}

/// A good signature counts by each name of its key.
fn verdicts(signature: &git::Signature) -> Vec<Signature> {
    match signature {
        git::Signature::None => vec![Signature::None],
        git::Signature::Good { .. } => {
            signature.good_keys().map(|key| Signature::Good { key: key.to_owned() }).collect()
        }
        git::Signature::UnknownKey { key } => vec![Signature::UnknownKey { key: key.clone() }],
        git::Signature::Bad { .. } | git::Signature::Expired { .. } | git::Signature::Revoked { .. } => {
            vec![Signature::Bad]
        }
    }
}

/// The keys that signatures are verified with: GPG keys where Argo CD keeps them, and SSH keys beside them.
async fn keys(pass: &Pass<'_>) -> Result<Keys, Stop> {
    let data = async |name: &str| -> Result<BTreeMap<String, String>, Stop> {
        let key = ObjectKey::new("", "ConfigMap", pass.ctx.namespace(), name);
        let object = pass.ctx.cluster.get(&key).await?;
        let data = object.as_ref().and_then(|object| object.at("/data")).and_then(|data| data.as_object());
        let texts = data.into_iter().flatten();
        Ok(texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect())
    };
    let told = |error: GitError| Stop::comparison(error.to_string());
    Keys::from_config_map(data(Keys::GPG_CONFIG_MAP).await?)
        .map_err(told)?
        .with_ssh(data(Keys::SSH_CONFIG_MAP).await?)
        .map_err(told)
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

/// Whether a deletion's hooks may run, and who runs them: as of a sync, what the project does not permit is not done, and nothing
/// of a commit that nobody has let in.
pub fn deletes(pass: &Pass<'_>, plan: &Plan, commits: &[String]) -> Result<Cluster, Stop> {
    let hooks = plan.waves.iter().any(|wave| !wave.apply.is_empty());
    if !hooks {
        // Without its project an application can still be removed.
        let project = pass.ctx.projects.get(pass.application.spec.project());
        return writer(pass, project.as_deref());
    }
    let project = permitted(pass)?;
    let Some(found) = project.as_deref() else { return Ok(pass.ctx.cluster.clone()) };
    if let Some(violation) = plan_violations(found, &target(pass), plan).into_iter().next() {
        return Err(Stop::invalid(violation.message));
    }
    let approved = approval::approval(&pass.application).ok().flatten().is_some_and(|given| given.is_for(commits));
    if approval::is_required(&pass.application, Some(found))
        && !approved
        && !approval::was_synced(&pass.application, commits)
    {
        return Err(Stop::invalid(format!(
            "the hooks around the deletion are of {}, which nobody has approved: lockstep app approve {}",
            commits.join(", "),
            pass.application.name()
        )));
    }
    writer(pass, Some(found))
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
