//! *Report*: the result to the Application's status, to the commit as checks, and to the console as a message.
//!
//! The order is the promise: checks reach the outbox before the verdict reaches the annotation, so a kill in between has
//! them posted again and never lost.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use resources::{ApplicationStatus, Condition, SyncStatus, annotations, conditions};
use serde_json::{Map, Value, json};

use super::apply::Performed;
use super::settle::{Standing, standing};
use super::{Cause, Causes, Done, Pass, delete, discreet, drift, hooks, shared, status};
use crate::Context;
use crate::context::{application_key, locked};
use crate::feedback::{Confirmation, of_deployment};
use crate::metrics::OutcomeLabel;
use crate::registry::Managed;
use crate::tracker::{Conclusion, Verdict};
use crate::wanted::{self, Wanted};

/// While an application becomes healthy, it is looked at again after so long, and then ever less often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The steps came to an end.
pub async fn done(pass: &Pass<'_>, done: Done) {
    let ctx = pass.ctx;
    let limit = ctx.config.options.health_timeout;
    let settling = settling_for(pass, &done);
    let held = (done.waiting.as_deref(), done.drift.as_deref());
    let secrets = discreet::values(pass);
    let standing = match standing(&done.comparison, done.operation.as_ref(), held, settling, limit) {
        Standing::Pending(sentence) => Standing::Pending(secrets.mask(&sentence).into_owned()),
        Standing::Concluded(conclusion) => Standing::Concluded(discreet::conclusion(&secrets, conclusion)),
    };
    let mut timeline = pass.timeline.clone();
    if matches!(&standing, Standing::Concluded(conclusion) if conclusion.verdict == Verdict::Success) {
        timeline.mark("healthy");
    }
    let confirmation = match &standing {
        Standing::Concluded(conclusion) => conclude(pass, conclusion),
        Standing::Pending(sentence) => {
            // Health is judged once more when its time is up; approval has no time.
            if done.waiting.is_none() {
                let left = limit.saturating_sub(settling).max(Duration::from_secs(1));
                // Pods are not watched, and why they do not start is known only some time after their workload has changed.
                let left = left.min(settling.clamp(LOOK_AGAIN, 6 * LOOK_AGAIN));
                ctx.queue.push_after(pass.managed.id.clone(), Causes::of(Cause::Retry), left);
            }
            say(pass, sentence)
        }
    };
    let deployment = deployment(pass, &done, &standing);
    let now = Timestamp::now();
    let mut new = status::of(pass, &done, now);
    discreet::status(&secrets, &mut new);
    let stood = pass.managed.application().status.as_ref().map(|old| (old.sync_status(), old.health_status()));
    let stood = stood.unwrap_or((SyncStatus::Unknown, resources::HealthStatus::Unknown));
    let summary = Summary {
        sync: done.comparison.sync().to_string(),
        health: done.comparison.health.status.to_string(),
        created: done.operation.as_ref().map_or(0, |operation| operation.created),
        changed: done.operation.as_ref().map_or(0, |operation| operation.changed),
        pruned: done.operation.as_ref().map_or(0, |operation| operation.pruned),
        acted: done.operation.is_some(),
        healed: done
            .operation
            .as_ref()
            .and_then(|operation| Some(secrets.mask(operation.healed.as_ref()?).into_owned())),
    };
    confirmation.confirmed().await;
    deployment.confirmed().await;
    timeline.mark("reported");
    tell(pass, &standing, &summary, &timeline);
    remember(pass, &standing, timeline);
    let verdict_is_news = !pending(pass).is_empty();
    let verdict = match standing {
        Standing::Concluded(conclusion) => Some(conclusion),
        Standing::Pending(_) => None,
    };
    let hooks = done.operation.as_ref().and_then(|performed| hooks::ran(&done.desired, performed));
    write_and(pass, &new, verdict.as_ref(), now, Besides { hooks, ..Besides::default() }).await;
    if let Some(performed) = done.operation.as_ref().filter(|operation| operation.failure.is_some()) {
        retry_later(pass, performed);
    } else if done.operation.is_some() {
        pass.managed.state().refused = 0;
    }
    if super::plan::is_at_another_revision(&pass.application) {
        // What the application follows by itself is looked at again.
        ctx.queue.push(pass.managed.id.clone(), Causes::of(Cause::Retry));
    }
    if summary.acted || stood != (new.sync_status(), new.health_status()) || verdict_is_news {
        wake_dependents(pass);
    }
    if done.comparison.resources.iter().any(|resource| resource.desired.is_none() && resource.held_by.is_some()) {
        shared::wake(pass.ctx, &pass.managed.id);
    }
}

/// Those that wait for this application look again.
fn wake_dependents(pass: &Pass<'_>) {
    let depending: Vec<_> = locked(&pass.ctx.depending).iter().cloned().collect();
    for id in depending {
        let Some(managed) = pass.ctx.registry.get(&id) else { continue };
        let on = engine::dependencies::of(&managed.application());
        if on.iter().any(|name| name.namespace == pass.managed.id.namespace && name.name == pass.managed.id.name) {
            pass.ctx.queue.push(id, Causes::of(Cause::Retry));
        }
    }
}

/// When an operation that failed is tried again, as its retry policy says.
pub fn next_try(pass: &Pass<'_>, performed: &Performed) -> Option<Timestamp> {
    performed.failure.as_ref()?;
    if performed.automated() && pass.application.spec.automated().is_none() {
        return None;
    }
    let failures = if performed.automated() {
        pass.managed.state().refused.saturating_add(1)
    } else {
        u32::try_from(performed.retries).unwrap_or(u32::MAX).saturating_add(1)
    };
    super::plan::next_try(&pass.application, &performed.operation, failures, performed.finished)
}

fn retry_later(pass: &Pass<'_>, performed: &Performed) {
    let next = next_try(pass, performed);
    if performed.automated() {
        let mut state = pass.managed.state();
        state.refused = state.refused.saturating_add(1);
    }
    let Some(at) = next else { return };
    let pause: Duration = at.duration_since(Timestamp::now()).try_into().unwrap_or_default();
    tracing::info!(pause_s = pause.as_secs(), "apply.retry: the sync was refused and is tried again");
    pass.ctx.queue.push_after(pass.managed.id.clone(), Causes::of(Cause::Retry), pause);
}

/// The steps ended early, for good.
pub async fn failed(pass: &Pass<'_>, kind: &'static str, conclusion: Conclusion) {
    let now = Timestamp::now();
    let conclusion = discreet::conclusion(&discreet::values(pass), conclusion);
    let mut new = pass.managed.application().status.clone().unwrap_or_default();
    if kind == conditions::COMPARISON_ERROR || kind == conditions::INVALID_SPEC_ERROR {
        let mut sync = new.sync.take().unwrap_or_default();
        sync.status = SyncStatus::Unknown;
        new.sync = Some(sync);
    }
    new.set_conditions(&status::OWN_CONDITIONS, vec![condition(kind, &conclusion.sentence, now)]);
    status::end_operation(&mut new, pass, &conclusion, now);
    let standing = Standing::Concluded(conclusion.clone());
    conclude(pass, &conclusion).confirmed().await;
    let mut timeline = pass.timeline.clone();
    timeline.mark("reported");
    let summary = Summary {
        sync: new.sync_status().to_string(),
        health: new.health_status().to_string(),
        acted: true,
        ..Summary::default()
    };
    tracing::info!(sentence = conclusion.sentence, "reconcile.failed");
    tell(pass, &standing, &summary, &timeline);
    remember(pass, &standing, timeline);
    if kind != conditions::SYNC_ERROR {
        pass.managed.state().broken = Some((kind, conclusion.sentence.clone()));
    }
    write_and(pass, &new, Some(&conclusion), now, Besides { refuses: true, ..Besides::default() }).await;
}

/// The application asks to be left alone, so nothing is done about it, and no commit waits for that.
pub async fn skipped(pass: &Pass<'_>) {
    let sentence = format!("left alone: {} is set", annotations::SKIP_RECONCILE);
    let conclusion = Conclusion { verdict: Verdict::Success, sentence };
    conclude(pass, &conclusion).confirmed().await;
    remember(pass, &Standing::Concluded(conclusion.clone()), pass.timeline.clone());
    let unchanged = pass.managed.application().status.clone().unwrap_or_default();
    write(pass, &unchanged, Some(&conclusion), Timestamp::now()).await;
}

/// Something is away for longer than a moment: the Application's conditions say what, and nothing is concluded.
pub async fn troubled(pass: &Pass<'_>, sentence: &str) {
    let now = Timestamp::now();
    let mut new = pass.managed.application().status.clone().unwrap_or_default();
    new.set_conditions(&status::OWN_CONDITIONS, vec![condition(conditions::COMPARISON_ERROR, sentence, now)]);
    write(pass, &new, None, now).await;
}

fn condition(kind: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        r#type: kind.into(),
        message: message.into(),
        last_transition_time: Some(now.into()),
        ..Condition::default()
    }
}

/// Still on the way: says so in the checks.
pub async fn progress(pass: &Pass<'_>, sentence: &str) {
    say(pass, &discreet::told(pass, sentence)).confirmed().await;
}

/// The Application is gone: what was wanted of it ends with it.
pub async fn gone(ctx: &Arc<Context>, managed: &Managed) {
    let (wanted, application) = {
        let state = managed.state();
        (state.wanted.clone(), state.application.clone())
    };
    for wanted in &wanted {
        if let Some(key) = wanted.key() {
            let conclusion =
                Conclusion { verdict: Verdict::Superseded, sentence: "the application was removed".into() };
            ctx.conclude(&key, &managed.id, conclusion).confirmed().await;
        }
        if is_preview(&application) {
            let gone = wire::Deployment {
                environment: managed.id.name.clone(),
                state: wire::DeploymentState::Inactive.into(),
                description: "the preview was removed".into(),
                transient: true,
                ..Default::default()
            };
            let feedback = of_deployment(&wanted.origin(), &wanted.commit, &managed.id.to_string(), gone);
            ctx.publisher.publish([feedback]).confirmed().await;
        }
    }
    shared::wake(ctx, &managed.id);
    tracing::info!(application = %managed.id, "application.gone");
}

fn is_preview(application: &resources::Application) -> bool {
    application.annotation(delete::DELETE_NAMESPACE) == Some("true")
}

/// Since when the application is in sync and not yet healthy.
fn settling_for(pass: &Pass<'_>, done: &Done) -> Duration {
    let mut state = pass.managed.state();
    if done.operation.is_some() {
        state.settling_since = None;
    }
    let since = *state.settling_since.get_or_insert_with(Timestamp::now);
    Timestamp::now().duration_since(since).try_into().unwrap_or_default()
}

fn pending(pass: &Pass<'_>) -> Vec<Wanted> {
    pass.managed.state().wanted.iter().filter(|wanted| wanted.is_pending()).cloned().collect()
}

fn conclude(pass: &Pass<'_>, conclusion: &Conclusion) -> Confirmation {
    if pass.is_superseded() {
        return Confirmation::nothing();
    }
    let open: Vec<(Wanted, Conclusion)> = {
        let state = pass.managed.state();
        let open = state.wanted.iter();
        open.filter_map(|wanted| Some((wanted.clone(), verdict_on(pass, wanted, conclusion)?))).collect()
    };
    Confirmation::all(open.iter().filter_map(|(wanted, conclusion)| {
        let key = wanted.key()?;
        if !wanted.is_pending() {
            pass.ctx.reopen(&key);
        }
        Some(pass.ctx.conclude(&key, &pass.managed.id, conclusion.clone()))
    }))
}

/// What a conclusion means for a wanted commit, if that is news: it has no verdict yet, or it failed and has recovered since.
fn verdict_on(pass: &Pass<'_>, wanted: &Wanted, conclusion: &Conclusion) -> Option<Conclusion> {
    if !pass.speaks_of(wanted) {
        return None;
    }
    if let Some(newer) = pass.bearing.overtaken_by(&wanted.commit) {
        // How the newer one fares says nothing of this one.
        let sentence = format!("superseded by {}", crate::intake::short(newer));
        return wanted.is_pending().then_some(Conclusion { verdict: Verdict::Superseded, sentence });
    }
    if wanted.verdict == Some(Verdict::Success) {
        return drift::is_told_by(conclusion).then(|| conclusion.clone());
    }
    let recovered =
        conclusion.verdict == Verdict::Success && matches!(wanted.verdict, Some(Verdict::Failure | Verdict::Error));
    (wanted.is_pending() || recovered).then(|| conclusion.clone())
}

fn say(pass: &Pass<'_>, sentence: &str) -> Confirmation {
    let checks = pending(pass).into_iter().filter_map(|wanted| wanted.key());
    Confirmation::all(checks.map(|key| pass.ctx.progress(&key, &pass.managed.id, sentence)))
}

/// A preview is a deployment with an address, on the pull request's commit.
fn deployment(pass: &Pass<'_>, done: &Done, standing: &Standing) -> Confirmation {
    if !is_preview(&pass.application) {
        return Confirmation::nothing();
    }
    let (state, description) = match standing {
        Standing::Concluded(Conclusion { verdict: Verdict::Success, sentence }) => {
            (wire::DeploymentState::Success, sentence.as_str())
        }
        Standing::Concluded(conclusion) => (wire::DeploymentState::Failure, conclusion.sentence.as_str()),
        Standing::Pending(sentence) => (wire::DeploymentState::InProgress, sentence.as_str()),
    };
    let url = status::external_urls(&done.comparison).into_iter().next().unwrap_or_default();
    let feedback = pending(pass).into_iter().map(|wanted| {
        let deployment = wire::Deployment {
            environment: pass.managed.id.name.clone(),
            state: state.into(),
            description: description.into(),
            environment_url: url.clone(),
            log_url: String::new(),
            transient: true,
        };
        of_deployment(&wanted.origin(), &wanted.commit, &pass.managed.id.to_string(), deployment)
    });
    pass.ctx.publisher.publish(feedback.collect::<Vec<_>>())
}

#[derive(Default)]
struct Summary {
    sync: String,
    health: String,
    created: u32,
    changed: u32,
    pruned: u32,
    acted: bool,
    healed: Option<String>,
}

/// A report, if there is something to tell: something was done, or a commit came a step further.
fn tell(pass: &Pass<'_>, standing: &Standing, summary: &Summary, timeline: &crate::timeline::Timeline) {
    let (outcome, message) = match standing {
        Standing::Pending(sentence) => (wire::Outcome::Waiting, sentence.clone()),
        Standing::Concluded(conclusion) => (
            match conclusion.verdict {
                Verdict::Success => wire::Outcome::Success,
                Verdict::Failure => wire::Outcome::Failure,
                Verdict::Error => wire::Outcome::Error,
                Verdict::Superseded => wire::Outcome::Superseded,
            },
            conclusion.sentence.clone(),
        ),
    };
    let message = match &summary.healed {
        Some(drift) => format!("{message}; healed drift: {drift}"),
        None => message,
    };
    let wanted = pending(pass);
    if !summary.acted && wanted.is_empty() {
        return;
    }
    if let Some(seconds) = timeline.between("received", "applied").filter(|_| summary.acted) {
        pass.ctx.metrics.push_to_applied.observe(seconds);
    }
    let name = outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
    pass.ctx.metrics.reconciles.get_or_create(&OutcomeLabel { outcome: name }).inc();
    let state = pass.managed.state();
    let first = wanted.first();
    let report = wire::Report {
        cluster: pass.ctx.cluster_name().into(),
        application_namespace: pass.managed.id.namespace.clone(),
        application_name: pass.managed.id.name.clone(),
        delivery_id: first.map(|wanted| wanted.delivery.clone()).unwrap_or_default(),
        repository: first.map(|wanted| wanted.repository.clone()).unwrap_or_default(),
        commit: first.map_or_else(
            || state.desired.as_ref().and_then(|desired| desired.commits.first().cloned()).unwrap_or_default(),
            |wanted| wanted.commit.clone(),
        ),
        cause: state.cause.into(),
        outcome: outcome.into(),
        message,
        steps: timeline.steps(),
        sync_status: summary.sync.clone(),
        health_status: summary.health.clone(),
        created: summary.created,
        changed: summary.changed,
        pruned: summary.pruned,
    };
    drop(state);
    pass.ctx.reports.add(report, first.and_then(|wanted| wanted.origin().trace));
}

/// What the next pass takes up.
fn remember(pass: &Pass<'_>, standing: &Standing, timeline: crate::timeline::Timeline) {
    let mut state = pass.managed.state();
    if state.wanted_version != pass.wanted_version {
        return;
    }
    match standing {
        Standing::Pending(_) => state.timeline.merge(&timeline),
        Standing::Concluded(_) => {
            state.timeline = Default::default();
            state.settling_since = None;
            state.failures = 0;
        }
    }
}

/// Writes what changed: status, verdict, the orders that have been followed.
async fn write(pass: &Pass<'_>, new: &ApplicationStatus, verdict: Option<&Conclusion>, now: Timestamp) {
    write_and(pass, new, verdict, now, Besides::default()).await;
}

/// What is written with a status.
#[derive(Default)]
struct Besides {
    /// What was asked for has been refused.
    refuses: bool,
    /// The hooks that ran, of an application that has nothing else.
    hooks: Option<String>,
}

async fn write_and(
    pass: &Pass<'_>,
    new: &ApplicationStatus,
    verdict: Option<&Conclusion>,
    now: Timestamp,
    besides: Besides,
) {
    let managed = pass.managed;
    let _writing = managed.writing.lock().await;
    let (old, metadata, version) = {
        let mut state = managed.state();
        let mut metadata = Map::new();
        if let Some(conclusion) = verdict
            && state.wanted_version == pass.wanted_version
        {
            let state = &mut *state;
            for wanted in &mut state.wanted {
                if let Some(conclusion) = verdict_on(pass, wanted, conclusion) {
                    wanted.verdict = Some(conclusion.verdict);
                    wanted.sentence = conclusion.sentence;
                    state.verdicts_unwritten = true;
                }
            }
        }
        if state.verdicts_unwritten {
            // Also those of an earlier pass, whose write was lost.
            metadata.insert(annotations::WANTED.into(), wanted::format(&state.wanted).into());
        }
        if pass.application.annotation(annotations::REFRESH).is_some() {
            metadata.insert(annotations::REFRESH.into(), Value::Null);
        }
        if let Some(hooks) = besides.hooks {
            metadata.insert(annotations::HOOKS_RAN.into(), hooks.into());
        }
        (state.status(), metadata, state.wanted_version)
    };
    let mut patch = Map::new();
    // What was asked for has been refused, and does not begin by itself some day.
    let refused = besides.refuses && pass.application.operation.is_some();
    if refused {
        patch.insert("operation".into(), Value::Null);
    }
    if let Some(status) = status::changes(&old, new, now) {
        patch.insert("status".into(), status);
    }
    if !metadata.is_empty() {
        patch.insert("metadata".into(), json!({ "annotations": metadata }));
    }
    if patch.is_empty() {
        return;
    }
    match pass.ctx.control.merge_patch(&application_key(&managed.id), &Value::Object(patch)).await {
        Ok(object) => {
            let mut state = managed.state();
            state.wanted_written = state.wanted_written.max(version);
            if state.wanted_version == version {
                state.verdicts_unwritten = false;
            }
            if let Some(status) = object.0.get("status")
                && let Ok(status) = serde_json::from_value(status.clone())
            {
                let application = Arc::make_mut(&mut state.application);
                application.status = Some(status);
                if refused {
                    application.operation = None;
                }
            }
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => {
            tracing::warn!(application = %managed.id, %error, "status.not_written; trying again");
            pass.ctx.queue.push_after(managed.id.clone(), Causes::of(Cause::Retry), Duration::from_secs(1));
        }
    }
}
