//! Whether an application is in sync, and whether it is time to sync it without being asked.

use jiff::{SignedDuration, Timestamp};
use resources::{Application, ApplicationSource, ObjectKey, OperationState, SyncStatus, Time, listed, option};

use crate::approval::approval;
use crate::compare::CompareOptions;
use crate::heal::HealHistory;
use crate::ownership::{Tracking, owner_of};
use crate::pin::{Pin, pin};
use crate::plan::{Part, ResourceState, short};
use crate::retry::{self, Retry, retry_decision};

/// The longest wait between two repairs of the same drift, in seconds.
const HEAL_LIMIT: i64 = 300;

/// Whether one object is as Git wants it. `None`: it does not count (a hook, an object of another application).
pub fn resource_status(state: &ResourceState, instance: &str, tracking: &Tracking) -> Option<SyncStatus> {
    if state.held_by.is_some() {
        return None;
    }
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
    /// The commits that its sources resolved to, in their order; of a pinned application those of its pin.
    pub revisions: &'a [String],
    /// What was repaired lately, after [`HealHistory::observe`]: each object waits by itself. `None`: they wait together, by the last
    /// operation.
    pub heals: Option<&'a HealHistory>,
    /// How often in a row a sync of these commits has failed, for the retry policy; `None`: somebody else looks after retries, and
    /// a sync that failed is not asked for again.
    pub failures: Option<u32>,
    /// It has nothing but hooks, and they have not run as they are now.
    pub hooks_due: bool,
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
        /// When to ask again because of others, which have to wait.
        again_at: Option<Timestamp>,
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
    let policy = application.spec.automated();
    let approved = policy.is_none().then(|| unused_approval(input)).flatten();
    if policy.is_none() && approved.is_none() {
        return no("the application has no automated sync policy");
    }
    if application.is_being_deleted() {
        return no("the application is being deleted");
    }
    let last = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    if application.operation.is_some() || last.is_some_and(|last| !last.phase.is_final()) {
        return no("an operation is in progress");
    }
    let pinned = match pin(application) {
        Ok(pinned) => pinned,
        Err(problem) => return AutoSync::No { reason: problem.to_string(), error: true, again_at: None },
    };
    if let Some(pinned) = pinned.as_ref().filter(|pinned| !pinned.is_at(input.revisions)) {
        return no(pinned.sentence(application));
    }
    match sync_status(input.resources, input.instance, input.tracking) {
        SyncStatus::Synced if input.hooks_due => {}
        SyncStatus::Synced => return no("the application is in sync"),
        SyncStatus::Unknown => return no("it is not known whether the application is in sync"),
        SyncStatus::OutOfSync => {}
    }
    let to_do: Vec<ObjectKey> = input
        .resources
        .iter()
        .filter(|state| is_actionable(state, input, policy.is_some_and(|policy| policy.prune)))
        .map(|state| state.key.clone())
        .collect();
    if to_do.is_empty() && !input.hooks_due {
        return no(
            "all that is left to do is to prune, and that is not allowed (syncPolicy.automated.prune, Prune=false)",
        );
    }
    let commit = short(input.revisions);
    if let Some(by) = approved {
        return AutoSync::Sync { reason: format!("{by} approved {commit}") };
    }
    match last.filter(|last| is_attempt_at(last, input, pinned.as_ref())) {
        None => AutoSync::Sync { reason: format!("{commit} has not been synced yet") },
        // The same commit, rendered to others: its parameters have changed.
        Some(last) if last.phase.is_success() && input.hooks_due => {
            AutoSync::Sync { reason: format!("the hooks of {commit} have not run yet as they are now") }
        }
        Some(last) if last.phase.is_success() => match (policy.is_some_and(|policy| policy.self_heal), input.heals) {
            (true, Some(history)) => heal_each(last, to_do, history, input.now),
            (true, None) => heal(last, to_do, input.now),
            (false, _) => no(format!("{commit} has been synced and the cluster was changed since; selfHeal is off")),
        },
        Some(last) => failed(last, &commit, input),
    }
}

/// Who approved these commits of an application that is not synced by itself, unless that has been followed.
fn unused_approval(input: &AutoInput<'_>) -> Option<String> {
    let given = approval(input.application).ok().flatten()?;
    (given.is_for(input.revisions) && given.used_by(input.application).is_none()).then_some(given.by)
}

/// A sync that failed is tried again as the policy says.
fn failed(last: &OperationState, commit: &str, input: &AutoInput<'_>) -> AutoSync {
    let why = if last.message.is_empty() { last.phase.as_str() } else { &last.message };
    let policy = retry::policy(input.application, None);
    let ended = last.finished_at.map_or(input.now, |at| at.0);
    let retry = input.failures.map_or(Retry::Never, |failures| retry_decision(&policy, failures, ended, input.now));
    let (then, again_at) = match retry {
        Retry::Now { attempt } => {
            return AutoSync::Sync {
                reason: format!("the last sync of {commit} failed ({why}); this is retry {attempt}"),
            };
        }
        Retry::At { at, attempt } => (format!("retry {attempt} is at {}", Time(at)), Some(at)),
        Retry::Never => ("it is tried again with the next commit or change of the application".into(), None),
    };
    AutoSync::No { reason: format!("the last sync of {commit} failed ({why}); {then}"), error: true, again_at }
}

/// Drift is repaired at once, and with growing waits when it comes back at once.
fn heal(last: &OperationState, resources: Vec<ObjectKey>, now: Timestamp) -> AutoSync {
    let since = last.finished_at.map(|at| at.0);
    let before = heals_before(last, now);
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
    AutoSync::Heal { reason: changed(resources.len()), resources, attempt: before + 1, again_at: None }
}

/// The same, where each object waits by itself.
fn heal_each(last: &OperationState, resources: Vec<ObjectKey>, history: &HealHistory, now: Timestamp) -> AutoSync {
    let (ready, waiting): (Vec<_>, Vec<_>) = resources.into_iter().partition(|key| history.is_due(key, now));
    let again_at = waiting.iter().filter_map(|key| history.due(key)).min();
    if ready.is_empty() {
        let objects = if waiting.len() == 1 { "1 object".into() } else { format!("{} objects", waiting.len()) };
        let due = again_at.map_or(String::new(), |at| format!("; the next repair is at {}", Time(at)));
        return AutoSync::No {
            reason: format!("something keeps changing {objects} back{due}"),
            error: false,
            again_at,
        };
    }
    AutoSync::Heal { reason: changed(ready.len()), resources: ready, attempt: heals_before(last, now) + 1, again_at }
}

/// How often drift was repaired in a row.
fn heals_before(last: &OperationState, now: Timestamp) -> i64 {
    let since = last.finished_at.map(|at| at.0);
    let rested = since.is_none_or(|since| now.duration_since(since) >= SignedDuration::from_secs(HEAL_LIMIT));
    if rested { 0 } else { last.operation.sync.as_ref().map_or(0, |sync| sync.auto_heal_attempts_count) }
}

fn changed(count: usize) -> String {
    format!("{count} {} changed in the cluster", if count == 1 { "object was" } else { "objects were" })
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
fn is_attempt_at(last: &OperationState, input: &AutoInput<'_>, pinned: Option<&Pin>) -> bool {
    let Some(result) = &last.sync_result else { return false };
    if last.operation.sync.as_ref().is_some_and(|sync| !sync.is_whole()) {
        return false;
    }
    if listed(&result.revision, &result.revisions) != input.revisions {
        return false;
    }
    let attempted: Vec<&ApplicationSource> =
        if result.sources.is_empty() { result.source.iter().collect() } else { result.sources.iter().collect() };
    let wanted: Vec<&ApplicationSource> = match pinned {
        Some(pin) if !pin.sources.is_empty() => pin.sources.iter().collect(),
        _ => input.application.spec.sources(),
    };
    // A pin takes the place of the revision that the source names.
    let same = |a: &ApplicationSource, b: &ApplicationSource| match pinned {
        None => a == b,
        Some(_) => {
            ApplicationSource { target_revision: String::new(), ..a.clone() }
                == ApplicationSource { target_revision: String::new(), ..b.clone() }
        }
    };
    attempted.is_empty() || attempted.len() == wanted.len() && attempted.iter().zip(&wanted).all(|(a, b)| same(a, b))
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
            desired: desired.then(|| Arc::new(object.clone())),
            live: live.then(|| Arc::new(object)),
            difference: (desired && live).then(|| Difference { fields, ..Difference::default() }),
            held_by: None,
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
            heals: None,
            failures: None,
            hooks_due: false,
            now: NOW.parse().unwrap(),
        })
    }

    /// Of an application that has nothing but hooks.
    fn ask_of_hooks(due: bool, last: Value, commit: &str) -> String {
        let application = Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway", "namespace": "argocd"},
            "spec": {
                "source": {"repoURL": "https://git.example.com/a", "path": "a"},
                "destination": {"name": "in-cluster", "namespace": "dev"},
                "syncPolicy": {"automated": {"selfHeal": true}},
            },
            "status": {"operationState": last},
        }))
        .unwrap();
        let hook = state(true, false, true, json!({"argocd.argoproj.io/hook": "PreSync"}));
        told(should_sync(&AutoInput {
            application: &application,
            resources: &[hook],
            instance: "gateway",
            tracking: &Tracking::default(),
            revisions: &[commit.to_owned()],
            heals: None,
            failures: Some(1),
            hooks_due: due,
            now: NOW.parse().unwrap(),
        }))
    }

    #[test]
    fn an_application_of_hooks_is_synced_when_they_are_others() {
        let ok = || last("Succeeded", "a", 0, "2026-01-05T11:59:00Z");
        let failed = || last("Failed", "a", 0, "2026-01-05T11:59:58Z");
        for (due, last, commit, want) in [
            (true, json!(null), "aaaaaaaaaa", "sync: aaaaaaa has not been synced yet"),
            (false, json!(null), "aaaaaaaaaa", "no: the application is in sync"),
            (true, ok(), "aaaaaaaaaa", "sync: the hooks of aaaaaaa have not run yet as they are now"),
            (false, ok(), "bbbbbbbbbb", "no: the application is in sync"),
            (true, ok(), "bbbbbbbbbb", "sync: bbbbbbb has not been synced yet"),
            (true, failed(), "aaaaaaaaaa", "error until 2026-01-05T12:00:03Z"),
            (true, json!({"operation": {}, "phase": "Running"}), "aaaaaaaaaa", "no: an operation is in progress"),
        ] {
            let got = ask_of_hooks(due, last.clone(), commit);
            assert!(got.starts_with(want), "{due} {last} {commit}: {got}");
        }
    }

    fn told(answer: AutoSync) -> String {
        match answer {
            AutoSync::Sync { reason } => format!("sync: {reason}"),
            AutoSync::Heal { attempt, reason, again_at: None, .. } => format!("heal {attempt}: {reason}"),
            AutoSync::Heal { reason, again_at: Some(at), .. } => format!("heal: {reason}; again at {at}"),
            AutoSync::No { reason, error: true, again_at: None } => format!("error: {reason}"),
            AutoSync::No { error: true, again_at: Some(at), .. } => format!("error until {at}"),
            AutoSync::No { again_at: Some(at), .. } => format!("no until {at}"),
            AutoSync::No { reason, .. } => format!("no: {reason}"),
        }
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
            let got = told(ask(policy.clone(), last.clone(), states, commit));
            assert!(got.starts_with(want), "{policy} {last}\n{got}\n{want}");
        }
    }

    #[test]
    fn a_partial_sync_is_no_attempt() {
        let mut partial = last("Succeeded", "a", 0, NOW);
        partial["operation"]["sync"]["resources"] = json!([{"kind": "ConfigMap", "name": "a"}]);
        assert!(matches!(ask(json!({}), partial, vec![drifted()], "aaaaaaaaaa"), AutoSync::Sync { .. }));
    }

    #[derive(Default)]
    struct More<'a> {
        states: Vec<ResourceState>,
        commit: &'a str,
        heals: Option<&'a HealHistory>,
        failures: Option<u32>,
    }

    /// The same with annotations and with what is counted.
    fn ask_more(annotations: Value, policy: Value, last: Value, more: More<'_>) -> String {
        let application = Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd", "annotations": annotations},
            "spec": {
                "source": {"repoURL": "https://git.example.com/a", "path": "a", "targetRevision": "main"},
                "destination": {"name": "in-cluster", "namespace": "dev"},
                "syncPolicy": {"automated": policy, "retry": {"limit": 2}},
            },
            "status": {"operationState": last},
        }))
        .unwrap();
        let states = if more.states.is_empty() { vec![drifted()] } else { more.states };
        let commit = if more.commit.is_empty() { "aaaaaaaaaa" } else { more.commit };
        told(should_sync(&AutoInput {
            application: &application,
            resources: &states,
            instance: "gateway",
            tracking: &Tracking::default(),
            revisions: &[commit.to_owned()],
            heals: more.heals,
            failures: more.failures,
            hooks_due: false,
            now: NOW.parse().unwrap(),
        }))
    }

    fn ended(phase: &str, source: Value, finished: &str) -> Value {
        let mut last = last(phase, "a", 0, finished);
        last["syncResult"]["source"] = source;
        last
    }

    fn at(revision: &str) -> Value {
        json!({"repoURL": "https://git.example.com/a", "path": "a", "targetRevision": revision})
    }

    #[test]
    fn a_pinned_application_follows_its_pin() {
        let pinned = |value: &str| json!({"lockstep.dev/pinned": value});
        let healed = || ended("Succeeded", at("main"), "2026-01-05T11:00:00Z");
        let older = json!({"repoURL": "https://git.example.com/a", "path": "older"});
        let with_sources = json!({"commits": ["aaaaaaaaaa"], "sources": [older]}).to_string();
        let heal = json!({"selfHeal": true});
        for (value, last, want) in [
            ("bbbbbbbbbb", json!(null), "no: pinned to bbbbbbb: other commits are not synced"),
            ("aaaaaaaaaa", json!(null), "sync: aaaaaaa has not been synced yet"),
            ("aaaaaaaaaa", healed(), "heal 1"),
            // Recorded with the pin's own revision, it is the same attempt.
            ("aaaaaaaaaa", ended("Succeeded", at("aaaaaaaaaa"), "2026-01-05T11:00:00Z"), "heal 1"),
            (&with_sources, ended("Succeeded", older.clone(), "2026-01-05T11:00:00Z"), "heal 1"),
            (&with_sources, healed(), "sync: aaaaaaa has not been synced yet"),
            ("aaaaaaaaaa,b", json!(null), "error: the annotation lockstep.dev/pinned cannot be read"),
        ] {
            let got = ask_more(pinned(value), heal.clone(), last.clone(), More::default());
            assert!(got.starts_with(want), "{value} {last}\n{got}\n{want}");
        }
    }

    #[test]
    fn an_approval_starts_a_manual_application_once() {
        let approved = |value: &str| json!({"lockstep.dev/approved": value});
        for (value, last, want) in [
            ("aaaaaaaaaa by ada at 2026-01-05T11:30:00Z", json!(null), "sync: ada approved aaaaaaa"),
            (
                "aaaaaaaaaa by ada at 2026-01-05T11:30:00Z",
                ended("Succeeded", at("main"), NOW),
                "sync: ada approved aaaaaaa",
            ),
            (
                "aaaaaaaaaa by ada at 2026-01-05T10:30:00Z",
                ended("Succeeded", at("main"), NOW),
                "no: the application has no",
            ),
            ("aaaaaaaaaa by ada", ended("Failed", at("main"), NOW), "no: the application has no"),
            ("bbbbbbbbbb by ada", json!(null), "no: the application has no automated sync policy"),
            ("aaaaaaa by ada", json!(null), "no: the application has no automated sync policy"),
            ("aaaaaaaaaa", json!(null), "no: the application has no automated sync policy"),
        ] {
            let got = ask_more(approved(value), json!(null), last.clone(), More::default());
            assert!(got.starts_with(want), "{value} {last}\n{got}\n{want}");
        }
    }

    #[test]
    fn retries() {
        let failed = |finished: &str| ended("Failed", at("main"), finished);
        for (failures, finished, want) in [
            (Some(1), "2026-01-05T11:59:54Z", "sync: the last sync of aaaaaaa failed (boom); this is retry 1"),
            (Some(1), "2026-01-05T11:59:56Z", "error until 2026-01-05T12:00:01Z"),
            (Some(2), "2026-01-05T11:59:56Z", "error until 2026-01-05T12:00:06Z"),
            (
                Some(3),
                "2026-01-05T11:00:00Z",
                "error: the last sync of aaaaaaa failed (boom); it is tried again with the next commit",
            ),
            (
                None,
                "2026-01-05T11:00:00Z",
                "error: the last sync of aaaaaaa failed (boom); it is tried again with the next commit",
            ),
        ] {
            let more = More { failures, ..More::default() };
            let got = ask_more(json!({}), json!({}), failed(finished), more);
            assert!(got.starts_with(want), "{failures:?}\n{got}\n{want}");
        }
        let heal = json!({"selfHeal": true});
        let more = More { failures: Some(3), ..More::default() };
        let got = ask_more(json!({}), heal.clone(), failed("2026-01-05T11:55:00Z"), more);
        assert_eq!(got, "error until 2026-01-05T12:05:00Z", "what is put right in the cluster is found");
        let more = More { failures: Some(1), commit: "bbbbbbbbbb", ..More::default() };
        let got = ask_more(json!({}), heal, failed("2026-01-05T11:59:59Z"), more);
        assert_eq!(got, "sync: bbbbbbb has not been synced yet", "a newer commit does not wait for a retry");
    }

    #[test]
    fn each_object_waits_by_itself() {
        let heal = json!({"selfHeal": true});
        let done = ended("Succeeded", at("main"), "2026-01-05T11:59:59Z");
        let (fought, other) = (drifted(), {
            let mut state = drifted();
            state.key.name = "b".into();
            state
        });
        let mut history = HealHistory::default();
        history.healed(std::slice::from_ref(&fought.key), "2026-01-05T11:59:59Z".parse().unwrap());
        for (states, want) in [
            (vec![fought.clone()], "no until 2026-01-05T12:00:01Z"),
            (vec![other.clone()], "heal 1: 1 object was changed"),
            (vec![fought, other], "heal: 1 object was changed in the cluster; again at 2026-01-05T12:00:01Z"),
        ] {
            let more = More { states, heals: Some(&history), ..More::default() };
            let got = ask_more(json!({}), heal.clone(), done.clone(), more);
            assert!(got.starts_with(want), "{got}\n{want}");
        }
    }
}
