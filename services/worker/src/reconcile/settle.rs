//! *Settle*: whether what was applied is well, wave by wave and in the end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::health::Health;
use engine::plan::{HookOutcome, hook_outcome};
use jiff::Timestamp;
use resources::{Application, HealthStatus, Object, ObjectKey, SyncStatus};

use super::apply::Performed;
use super::compare::Comparison;
use super::{Pass, Stop};
use crate::tracker::{Conclusion, Verdict};

/// Where an application stands with the commit that is wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// On its way, and where.
    Pending(String),
    /// At the end.
    Concluded(Conclusion),
}

/// A hook that is under way, and how long it may take.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its object.
    pub key: ObjectKey,
    /// Since its object was created.
    pub deadline: Duration,
    /// Its object goes by itself once it has ended.
    pub expires: bool,
}

/// Whether somebody wants the running operation to end.
pub fn is_terminating(pass: &Pass<'_>) -> bool {
    pass.managed.application().status.as_ref().is_some_and(|status| {
        status.operation_state.as_ref().is_some_and(|state| state.phase == resources::OperationPhase::Terminating)
    })
}

/// Waits until every one of these objects is healthy and every hook has ended; returns the first that is degraded, or has
/// failed, as an error.
pub async fn wave(pass: &Pass<'_>, keys: &[ObjectKey], hooks: &[Hook]) -> Result<(), Stop> {
    let mut deadline = tokio::time::Instant::now() + pass.ctx.config.options.health_timeout;
    let mut ended = HashSet::new();
    loop {
        let notified = pass.managed.newer.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if pass.is_superseded() {
            return Err(Stop::Superseded);
        }
        if is_terminating(pass) {
            return Err(Stop::sync("the operation was terminated"));
        }
        let running = hooks_running(pass, hooks, &mut ended)?;
        let mut waiting: Option<String> = None;
        for key in keys {
            let live: Option<Arc<Object>> = pass.ctx.live.get(key);
            match live.as_deref().and_then(|live| health(pass, live)) {
                Some(health) if health.status == HealthStatus::Degraded => {
                    return Err(Stop::sync(format!("{key}: {}", health.message)));
                }
                Some(health) if health.status != HealthStatus::Healthy => {
                    waiting.get_or_insert(format!("{key}: {}", said(health.status, &health.message)));
                }
                _ => {}
            }
        }
        if waiting.is_none() && running.is_some() {
            // Hooks have deadlines of their own; those of the objects begin when the hooks have ended.
            deadline = tokio::time::Instant::now() + pass.ctx.config.options.health_timeout;
        }
        let Some(sentence) = running.or(waiting) else { return Ok(()) };
        super::report::progress(pass, &sentence).await;
        tokio::select! {
            () = notified => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Stop::sync(format!("not healthy in time: {sentence}")));
        }
    }
}

/// How well an object of a wave is. What a child Application says counts once it is about its present spec; what only a later wave
/// can make well is not waited for.
fn health(pass: &Pass<'_>, live: &Object) -> Option<Health> {
    if engine::health::waits_for_later_waves(live) {
        return None;
    }
    let child = live.group() == crate::context::GROUP && live.kind() == "Application";
    if child && Application::parse(live.0.clone()).is_ok_and(|child| !is_observed(&child)) {
        return Some(Health::new(HealthStatus::Progressing, "waiting for the application to follow its new spec"));
    }
    pass.ctx.health(live)
}

fn is_observed(child: &Application) -> bool {
    let sync = child.status.as_ref().and_then(|status| status.sync.as_ref());
    let Some(compared) = sync.and_then(|sync| sync.compared_to.as_ref()) else { return false };
    let spec = &child.spec;
    let same = if spec.is_multi_source() { compared.sources == spec.sources } else { compared.source == spec.source };
    // One that is pinned follows something else than its spec says.
    let pinned = !matches!(engine::pin::pin(child), Ok(None));
    pinned || (same && compared.destination == spec.destination)
}

/// The first hook that is still running, in a sentence. One whose object is gone has ended, if it goes by itself or was seen to
/// end; else somebody took it away before that.
fn hooks_running(pass: &Pass<'_>, hooks: &[Hook], ended: &mut HashSet<ObjectKey>) -> Result<Option<String>, Stop> {
    let mut first = None;
    for hook in hooks {
        let Some(live) = pass.ctx.live.get(&hook.key) else {
            if !pass.ctx.live.has(&hook.key.group, &hook.key.kind) {
                return Err(Stop::Later(format!("hook {}: its kind is not watched", hook.key)));
            }
            if hook.expires || ended.contains(&hook.key) {
                continue;
            }
            return Err(Stop::sync(format!("hook {} was deleted before it had ended", hook.key)));
        };
        match hook_outcome(&live, pass.ctx.health(&live).as_ref()) {
            HookOutcome::Succeeded => {
                ended.insert(hook.key.clone());
            }
            HookOutcome::Failed { message } => return Err(Stop::sync(format!("hook {} failed: {message}", hook.key))),
            HookOutcome::Running { message } => {
                let since = live.created_at();
                let runs: Duration =
                    since.and_then(|since| Timestamp::now().duration_since(since).try_into().ok()).unwrap_or_default();
                let message = if message.is_empty() { "running".to_owned() } else { message };
                if runs > hook.deadline {
                    return Err(Stop::sync(format!(
                        "hook {} has not ended within {} s (lockstep.dev/hook-deadline): {message}",
                        hook.key,
                        hook.deadline.as_secs()
                    )));
                }
                first.get_or_insert(format!("hook {}: {message}", hook.key));
            }
        }
    }
    Ok(first)
}

/// Judges the whole application. Drift from a commit that was synced is told before anything that is waited for.
pub fn standing(
    comparison: &Comparison,
    operation: Option<&Performed>,
    (waiting, drift): (Option<&str>, Option<&str>),
    settling: Duration,
    limit: Duration,
) -> Standing {
    let conclude = |verdict, sentence: String| Standing::Concluded(Conclusion { verdict, sentence });
    if let Some(failed) = operation.and_then(|operation| operation.failure.as_deref()) {
        return conclude(Verdict::Failure, failed.to_owned());
    }
    if let Some(drift) = drift {
        return Standing::Concluded(super::drift::conclusion(drift));
    }
    if let Some(waiting) = waiting {
        return Standing::Pending(waiting.to_owned());
    }
    if let Some(contested) = comparison.contested() {
        return conclude(Verdict::Failure, contested);
    }
    let late = settling >= limit;
    if comparison.sync() == SyncStatus::OutOfSync && comparison.only_unpruned().is_none() {
        let sentence = format!("out of sync: {}", comparison.first_difference());
        return if late { conclude(Verdict::Failure, sentence) } else { Standing::Pending(sentence) };
    }
    match comparison.health.status {
        HealthStatus::Degraded => conclude(Verdict::Failure, said(HealthStatus::Degraded, &comparison.health.message)),
        HealthStatus::Progressing | HealthStatus::Missing | HealthStatus::Unknown => {
            let sentence = said(comparison.health.status, &comparison.health.message);
            if late {
                conclude(Verdict::Failure, format!("not healthy in time: {sentence}"))
            } else {
                Standing::Pending(sentence)
            }
        }
        HealthStatus::Healthy | HealthStatus::Suspended => {
            let extra = comparison.only_unpruned().map(|count| format!("; {count} objects are left to be pruned"));
            conclude(Verdict::Success, format!("synced, healthy{}", extra.unwrap_or_default()))
        }
    }
}

fn said(status: HealthStatus, message: &str) -> String {
    if message.is_empty() { status.to_string() } else { format!("{status}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(sync: SyncStatus, health: HealthStatus) -> Comparison {
        Comparison::for_test(sync, health, "1 of 3 replicas updated")
    }

    fn judged(sync: SyncStatus, health: HealthStatus, waiting: Option<&str>, seconds: u64) -> String {
        let settling = Duration::from_secs(seconds);
        match standing(&comparison(sync, health), None, (waiting, None), settling, Duration::from_secs(600)) {
            Standing::Pending(sentence) => format!("pending {sentence}"),
            Standing::Concluded(conclusion) => format!("{:?} {}", conclusion.verdict, conclusion.sentence),
        }
    }

    #[test]
    fn what_a_check_says() {
        use HealthStatus::{Degraded, Healthy, Progressing, Suspended};
        use SyncStatus::{OutOfSync, Synced};
        let cases = [
            (Synced, Healthy, None, 0, "Success synced, healthy"),
            (Synced, Suspended, None, 0, "Success synced, healthy"),
            (Synced, Progressing, None, 5, "pending Progressing: 1 of 3 replicas updated"),
            (Synced, Progressing, None, 600, "Failure not healthy in time: Progressing: 1 of 3 replicas updated"),
            (Synced, Degraded, None, 0, "Failure Degraded: 1 of 3 replicas updated"),
            (OutOfSync, Healthy, Some("waiting for approval"), 9999, "pending waiting for approval"),
        ];
        for (sync, health, waiting, seconds, expected) in cases {
            assert_eq!(judged(sync, health, waiting, seconds), expected);
        }
    }
}
