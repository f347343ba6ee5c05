//! Whether an application is in sync, and whether it is time to sync it without being asked.

use jiff::{SignedDuration, Timestamp};
use resources::{Application, ObjectKey, OperationState, SyncStatus, option};

use crate::compare::CompareOptions;
use crate::ownership::{Tracking, owner_of};
use crate::plan::{Part, ResourceState};

/// The longest wait between two repairs of the same drift, in seconds.
const HEAL_LIMIT: i64 = 300;

/// Whether one object is as Git wants it. `None`: it does not count (a hook, an object of somebody else).
pub fn resource_status(state: &ResourceState, instance: &str, tracking: &Tracking) -> Option<SyncStatus> {
    match (&state.desired, &state.live) {
        (Some(desired), _) if !Part::of(desired).is_resource() => None,
        (Some(_), None) => Some(SyncStatus::OutOfSync),
        (Some(_), Some(_)) => Some(match &state.difference {
            Some(difference) if difference.is_empty() => SyncStatus::Synced,
            Some(_) => SyncStatus::OutOfSync,
            None => SyncStatus::Unknown,
        }),
        (None, Some(live)) => {
            let ours = Part::of(live).is_resource() && owner_of(live, tracking).as_deref() == Some(instance);
            ours.then_some(SyncStatus::OutOfSync)
        }
        (None, None) => None,
    }
}

/// Whether an application is in sync: all of its objects are, extraneous ones with `IgnoreExtraneous` left aside.
pub fn sync_status(states: &[ResourceState], instance: &str, tracking: &Tracking) -> SyncStatus {
    let mut worst = SyncStatus::Synced;
    for state in states {
        let extraneous = state.desired.is_none();
        if extraneous && state.live.as_ref().is_some_and(|live| CompareOptions::of(live).ignore_extraneous) {
            continue;
        }
        worst = worst.max(resource_status(state, instance, tracking).unwrap_or(SyncStatus::Synced));
    }
    worst
}

/// Everything that the automated decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct AutoInput<'a> {
    /// The application with its status.
    pub application: &'a Application,
    /// Its objects.
    pub resources: &'a [ResourceState],
    /// The name under which it owns objects.
    pub instance: &'a str,
    /// How ownership is read.
    pub tracking: &'a Tracking,
    /// The commits that its sources resolved to, in their order.
    pub revisions: &'a [String],
    /// Now.
    pub now: Timestamp,
}

/// What the automated policy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AutoSync {
    /// Syncs.
    Sync {
        /// Why, as a sentence.
        reason: String,
    },
    /// Repairs drift of these objects.
    Heal {
        /// Which.
        resources: Vec<ObjectKey>,
        /// How often that was done in a row, this time included; for `autoHealAttemptsCount`.
        attempt: i64,
        /// Why, as a sentence.
        reason: String,
    },
    /// Nothing.
    No {
        /// Why, as a sentence.
        reason: String,
        /// Whether a person has to know (condition SyncError).
        error: bool,
        /// When to ask again, if nothing else happens.
        again_at: Option<Timestamp>,
    },
}

fn no(reason: impl Into<String>) -> AutoSync {
    AutoSync::No { reason: reason.into(), error: false, again_at: None }
}

/// Decides whether the automated policy starts a sync now.
pub fn should_sync(input: &AutoInput<'_>) -> AutoSync {
    let application = input.application;
    let Some(policy) = application.spec.automated() else { return no("the application has no automated sync policy") };
    if application.is_being_deleted() {
        return no("the application is being deleted");
    }
    let last = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    if application.operation.is_some() || last.is_some_and(|last| !last.phase.is_final()) {
        return no("an operation is in progress");
    }
    match sync_status(input.resources, input.instance, input.tracking) {
        SyncStatus::Synced => return no("the application is in sync"),
        SyncStatus::Unknown => return no("it is not known whether the application is in sync"),
        SyncStatus::OutOfSync => {}
    }
    let to_do: Vec<ObjectKey> = input
        .resources
        .iter()
        .filter(|state| is_actionable(state, input, policy.prune))
        .map(|state| state.key.clone())
        .collect();
    if to_do.is_empty() {
        return no(
            "all that is left to do is to prune, and that is not allowed (syncPolicy.automated.prune, Prune=false)",
        );
    }
    let commit = shown(input.revisions);
    match last.filter(|last| is_attempt_at(last, input)) {
        None => AutoSync::Sync { reason: format!("{commit} has not been synced yet") },
        Some(last) if last.phase.is_success() => {
            if policy.self_heal {
                heal(last, to_do, input.now)
            } else {
                no(format!("{commit} has been synced and the cluster was changed since; selfHeal is off"))
            }
        }
        Some(last) => AutoSync::No {
            reason: format!(
                "the last sync of {commit} failed ({}); it is tried again with the next commit or change of the application",
                if last.message.is_empty() { last.phase.as_str() } else { &last.message }
            ),
            error: true,
            again_at: None,
        },
    }
}

/// Drift is repaired at once, and with growing waits when it comes back at once.
fn heal(last: &OperationState, resources: Vec<ObjectKey>, now: Timestamp) -> AutoSync {
    let since = last.finished_at.map(|at| at.0);
    let rested = since.is_none_or(|since| now.duration_since(since) >= SignedDuration::from_secs(HEAL_LIMIT));
    let before = last.operation.sync.as_ref().map_or(0, |sync| sync.auto_heal_attempts_count);
    let before = if rested { 0 } else { before };
    if let (Some(since), true) = (since, before > 0) {
        let exponent = u32::try_from(before - 1).unwrap_or(u32::MAX);
        let wait = 2_i64.saturating_mul(3_i64.saturating_pow(exponent)).min(HEAL_LIMIT);
        let due = since.checked_add(SignedDuration::from_secs(wait)).unwrap_or(since);
        if now < due {
            return AutoSync::No {
                reason: format!(
                    "something keeps changing what was repaired {before} times; the next repair is at {due}"
                ),
                error: false,
                again_at: Some(due),
            };
        }
    }
    let count = resources.len();
    let reason = format!("{count} {} changed in the cluster", if count == 1 { "object was" } else { "objects were" });
    AutoSync::Heal { resources, attempt: before + 1, reason }
}

/// Whether a sync would do something about this object.
fn is_actionable(state: &ResourceState, input: &AutoInput<'_>, prune: bool) -> bool {
    if resource_status(state, input.instance, input.tracking) != Some(SyncStatus::OutOfSync) {
        return false;
    }
    let (None, Some(live)) = (&state.desired, &state.live) else { return true };
    let own =
        live.annotation(resources::annotations::SYNC_OPTIONS).and_then(|options| option(options.split(','), "Prune"));
    prune && own.or_else(|| input.application.sync_option("Prune")) != Some("false")
}

/// Whether the last operation was a whole sync of the same commits of the same sources.
fn is_attempt_at(last: &OperationState, input: &AutoInput<'_>) -> bool {
    let Some(result) = &last.sync_result else { return false };
    if let Some(sync) = &last.operation.sync {
        let partial = !sync.resources.is_empty() && sync.auto_heal_attempts_count == 0;
        if partial || sync.dry_run {
            return false;
        }
    }
    let spec = &input.application.spec;
    let (same_commits, same_sources) = if spec.is_multi_source() {
        (result.revisions == input.revisions, result.sources.is_empty() || result.sources == spec.sources)
    } else {
        (
            input.revisions == std::slice::from_ref(&result.revision),
            result.source.is_none() || result.source == spec.source,
        )
    };
    same_commits && same_sources
}

fn shown(revisions: &[String]) -> String {
    let short: Vec<String> = revisions.iter().map(|revision| revision.chars().take(7).collect()).collect();
    short.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use resources::Object;
    use serde_json::{Value, json};

    use super::*;
    use crate::compare::{Difference, FieldDifference};
    use crate::ownership::stamp;

    fn object(annotations: Value) -> Object {
        let mut object = Object(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "dev", "annotations": annotations},
        }));
        stamp(&mut object, "gateway", "dev", &Tracking::default());
        object
    }

    fn state(desired: bool, live: bool, same: bool, annotations: Value) -> ResourceState {
        let object = object(annotations);
        let field = FieldDifference { path: "data.a".into(), desired: None, live: None, changed_by: None };
        let fields = if same { vec![] } else { vec![field] };
        ResourceState {
            key: object.key(),
            desired: desired.then(|| object.clone()),
            live: live.then(|| Arc::new(object)),
            difference: (desired && live).then(|| Difference { fields, ..Difference::default() }),
        }
    }

    fn synced() -> ResourceState {
        state(true, true, true, json!({}))
    }
    fn drifted() -> ResourceState {
        state(true, true, false, json!({}))
    }
    fn missing() -> ResourceState {
        state(true, false, false, json!({}))
    }
    fn extra(annotations: Value) -> ResourceState {
        state(false, true, false, annotations)
    }

    #[test]
    fn status() {
        use SyncStatus::{OutOfSync, Synced};
        let mut foreign = extra(json!({}));
        let mut other = object(json!({}));
        stamp(&mut other, "other", "dev", &Tracking::default());
        foreign.live = Some(Arc::new(other));
        let hook = json!({"argocd.argoproj.io/hook": "PreSync"});
        for (states, want) in [
            (vec![], Synced),
            (vec![synced()], Synced),
            (vec![synced(), drifted()], OutOfSync),
            (vec![missing()], OutOfSync),
            (vec![extra(json!({}))], OutOfSync),
            (vec![extra(json!({"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}))], Synced),
            (vec![foreign], Synced),
            (vec![state(true, false, false, hook.clone())], Synced),
            (vec![extra(hook)], Synced),
        ] {
            assert_eq!(sync_status(&states, "gateway", &Tracking::default()), want, "{states:?}");
        }
    }

    const NOW: &str = "2026-01-05T12:00:00Z";

    /// `policy` is `syncPolicy.automated`, `last` the last operation's state.
    fn ask(policy: Value, last: Value, states: Vec<ResourceState>, commit: &str) -> AutoSync {
        let application = Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway", "namespace": "argocd"},
            "spec": {
                "source": {"repoURL": "https://git.example.com/a", "path": "a"},
                "destination": {"name": "in-cluster", "namespace": "dev"},
                "syncPolicy": {"automated": policy},
            },
            "status": {"operationState": last},
        }))
        .unwrap();
        should_sync(&AutoInput {
            application: &application,
            resources: &states,
            instance: "gateway",
            tracking: &Tracking::default(),
            revisions: &[commit.to_owned()],
            now: NOW.parse().unwrap(),
        })
    }

    fn last(phase: &str, path: &str, heals: i64, finished: &str) -> Value {
        json!({
            "operation": {"sync": {"autoHealAttemptsCount": heals}}, "phase": phase, "message": "boom",
            "startedAt": "2026-01-05T11:00:00Z", "finishedAt": finished,
            "syncResult": {"revision": "aaaaaaaaaa", "source": {"repoURL": "https://git.example.com/a", "path": path}},
        })
    }

    #[test]
    fn automated_decisions() {
        let on = json!({});
        let heal = json!({"selfHeal": true});
        let ok = || last("Succeeded", "a", 0, "2026-01-05T11:59:00Z");
        let failed = || last("Failed", "a", 0, "2026-01-05T11:59:00Z");
        let keep = json!({"argocd.argoproj.io/sync-options": "Prune=false"});
        for (policy, last, states, commit, want) in [
            (
                json!(null),
                json!(null),
                vec![missing()],
                "aaaaaaaaaa",
                "no: the application has no automated sync policy",
            ),
            (json!({"enabled": false}), json!(null), vec![missing()], "aaaaaaaaaa", "no: the application has no"),
            (on.clone(), json!(null), vec![missing()], "aaaaaaaaaa", "sync: aaaaaaa has not been synced yet"),
            (on.clone(), json!(null), vec![synced()], "aaaaaaaaaa", "no: the application is in sync"),
            (
                on.clone(),
                json!({"operation": {}, "phase": "Running"}),
                vec![missing()],
                "aaaaaaaaaa",
                "no: an operation is in progress",
            ),
            (on.clone(), json!(null), vec![extra(json!({}))], "aaaaaaaaaa", "no: all that is left to do is to prune"),
            (json!({"prune": true}), json!(null), vec![extra(json!({}))], "aaaaaaaaaa", "sync:"),
            (
                json!({"prune": true, "selfHeal": true}),
                ok(),
                vec![extra(keep)],
                "aaaaaaaaaa",
                "no: all that is left to do is to prune",
            ),
            (on.clone(), ok(), vec![drifted()], "bbbbbbbbbb", "sync: bbbbbbb has not been synced yet"),
            (
                on.clone(),
                ok(),
                vec![drifted()],
                "aaaaaaaaaa",
                "no: aaaaaaa has been synced and the cluster was changed since",
            ),
            (heal.clone(), ok(), vec![drifted()], "aaaaaaaaaa", "heal 1: 1 object was changed"),
            (on.clone(), failed(), vec![drifted()], "aaaaaaaaaa", "error: the last sync of aaaaaaa failed (boom)"),
            (heal.clone(), failed(), vec![drifted()], "aaaaaaaaaa", "error:"),
            (on.clone(), failed(), vec![drifted()], "bbbbbbbbbb", "sync:"),
            (on.clone(), super::tests::last("Failed", "b", 0, NOW), vec![drifted()], "aaaaaaaaaa", "sync:"),
            (
                heal.clone(),
                super::tests::last("Succeeded", "a", 1, "2026-01-05T11:59:59Z"),
                vec![drifted()],
                "aaaaaaaaaa",
                { "no until 2026-01-05T12:00:01Z" },
            ),
            (
                heal.clone(),
                super::tests::last("Succeeded", "a", 1, "2026-01-05T11:59:58Z"),
                vec![drifted()],
                "aaaaaaaaaa",
                "heal 2",
            ),
            (
                heal.clone(),
                super::tests::last("Succeeded", "a", 40, "2026-01-05T11:59:58Z"),
                vec![drifted()],
                "aaaaaaaaaa",
                { "no until 2026-01-05T12:04:58Z" },
            ),
            (
                heal,
                super::tests::last("Succeeded", "a", 40, "2026-01-05T11:00:00Z"),
                vec![drifted()],
                "aaaaaaaaaa",
                "heal 1",
            ),
        ] {
            let got = match ask(policy.clone(), last.clone(), states, commit) {
                AutoSync::Sync { reason } => format!("sync: {reason}"),
                AutoSync::Heal { attempt, reason, resources } => {
                    assert_eq!(resources.len(), 1);
                    format!("heal {attempt}: {reason}")
                }
                AutoSync::No { reason, error: true, .. } => format!("error: {reason}"),
                AutoSync::No { again_at: Some(at), .. } => format!("no until {at}"),
                AutoSync::No { reason, .. } => format!("no: {reason}"),
            };
            assert!(got.starts_with(want), "{policy} {last}\n{got}\n{want}");
        }
    }

    #[test]
    fn a_partial_sync_is_no_attempt() {
        let mut partial = last("Succeeded", "a", 0, NOW);
        partial["operation"]["sync"]["resources"] = json!([{"kind": "ConfigMap", "name": "a"}]);
        assert!(matches!(ask(json!({}), partial, vec![drifted()], "aaaaaaaaaa"), AutoSync::Sync { .. }));
    }
}
