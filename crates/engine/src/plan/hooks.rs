//! Hooks: objects that run in a phase instead of belonging to the application.

use resources::{HealthStatus, Object, annotations, parse_duration};
use serde::Serialize;
use serde_json::Value;

use super::Phase;
use crate::health::Health;

/// How long a hook may run that says nothing about it, in seconds.
pub const HOOK_DEADLINE: u64 = 3600;

/// What an object in Git is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Part of the application.
    Resource,
    /// A hook that runs in these phases.
    Hook(Vec<Phase>),
    /// Left out on purpose (`hook: Skip`).
    Skip,
    /// A hook for an occasion that does not occur here (a Helm test), or that nobody knows.
    Unknown(String),
}

impl Part {
    /// What an object's annotations make of it. Argo CD's annotation wins over Helm's.
    pub fn of(object: &Object) -> Self {
        if let Some(text) = object.annotation(annotations::HOOK).filter(|text| !text.trim().is_empty()) {
            return Self::read(text, |name| match name {
                "PreSync" => Some(Phase::PreSync),
                "Sync" => Some(Phase::Sync),
                "PostSync" => Some(Phase::PostSync),
                "SyncFail" => Some(Phase::SyncFail),
                "PreDelete" => Some(Phase::PreDelete),
                "PostDelete" => Some(Phase::PostDelete),
                _ => None,
            });
        }
        match object.annotation(annotations::HELM_HOOK).filter(|text| !text.trim().is_empty()) {
            // Helm 2 put CRDs ahead of everything that way; they belong to the application.
            Some(text) if names(text).eq(["crd-install"]) => Self::Resource,
            Some(text) => Self::read(text, |name| match name {
                "pre-install" | "pre-upgrade" => Some(Phase::PreSync),
                "post-install" | "post-upgrade" => Some(Phase::PostSync),
                "pre-delete" => Some(Phase::PreDelete),
                "post-delete" => Some(Phase::PostDelete),
                _ => None,
            }),
            None => Self::Resource,
        }
    }

    fn read(text: &str, phase: impl Fn(&str) -> Option<Phase>) -> Self {
        if names(text).eq(["Skip"]) {
            return Self::Skip;
        }
        let mut phases: Vec<Phase> = names(text).filter_map(phase).collect();
        phases.sort_unstable();
        phases.dedup();
        if phases.is_empty() { Self::Unknown(text.into()) } else { Self::Hook(phases) }
    }

    /// Whether it is a hook, in whatever phase.
    pub fn is_resource(&self) -> bool {
        *self == Self::Resource
    }
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// When a hook's object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DeletePolicy {
    /// Before the hook runs again.
    BeforeHookCreation,
    /// After it succeeded.
    HookSucceeded,
    /// After it failed.
    HookFailed,
}

/// What makes a step a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookStep {
    /// When its object is deleted.
    pub delete: Vec<DeletePolicy>,
    /// How many seconds it may run; after that it has failed.
    pub deadline_seconds: u64,
}

impl HookStep {
    /// The policies of a hook; without any it is deleted before it runs again, and fails after an hour.
    pub fn of(object: &Object) -> Self {
        Self::read(object).0
    }

    /// The same, and what is wrong with its annotations, to follow on the hook's name.
    pub(super) fn read(object: &Object) -> (Self, Option<String>) {
        let (deadline_seconds, problem) = deadline(object);
        (Self { delete: Self::policies(object), deadline_seconds }, problem)
    }

    fn policies(object: &Object) -> Vec<DeletePolicy> {
        let argo = object.annotation(annotations::HOOK_DELETE_POLICY);
        let helm = object.annotation(annotations::HELM_HOOK_DELETE_POLICY);
        let mut delete: Vec<DeletePolicy> = names(argo.or(helm).unwrap_or_default())
            .filter_map(|name| match name {
                "BeforeHookCreation" | "before-hook-creation" => Some(DeletePolicy::BeforeHookCreation),
                "HookSucceeded" | "hook-succeeded" => Some(DeletePolicy::HookSucceeded),
                "HookFailed" | "hook-failed" => Some(DeletePolicy::HookFailed),
                _ => None,
            })
            .collect();
        delete.sort_unstable();
        delete.dedup();
        if delete.is_empty() {
            delete.push(DeletePolicy::BeforeHookCreation);
        }
        delete
    }

    /// Whether the object is deleted at this occasion.
    pub fn deletes(&self, policy: DeletePolicy) -> bool {
        self.delete.contains(&policy)
    }
}

/// A deadline that cannot be read must not let a hook run for ever, nor end it at once.
fn deadline(object: &Object) -> (u64, Option<String>) {
    let Some(text) = object.annotation(annotations::HOOK_DEADLINE) else { return (HOOK_DEADLINE, None) };
    let problem = match parse_duration(text) {
        Ok(duration) if !duration.is_zero() => {
            return (duration.as_secs() + u64::from(duration.subsec_nanos() > 0), None);
        }
        Ok(_) => format!("{text:?} leaves it no time"),
        Err(problem) => problem,
    };
    (HOOK_DEADLINE, Some(format!("{}: {problem}; it has an hour", annotations::HOOK_DEADLINE)))
}

/// Where a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// It runs; what it does or waits for, for a person.
    Running {
        /// May be empty.
        message: String,
    },
    /// It has done what it should.
    Succeeded,
    /// It will not do it any more.
    Failed {
        /// Why.
        message: String,
    },
}

/// Where a hook is that exists, by its health as found by whoever knows the health rules in force ([`crate::health::health`]).
///
/// An object without health has done all it can by existing. One that is being deleted after it ended (a Job with a time to live)
/// has ended all the same. What is being deleted before counts as running until it is gone.
///
/// ```
/// use engine::plan::{HookOutcome, hook_outcome};
/// let job = resources::Object(serde_json::json!({
///     "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
///     "status": {"conditions": [{"type": "Failed", "status": "True", "message": "out of tries"}]},
/// }));
/// let outcome = hook_outcome(&job, engine::health::health(&job, jiff::Timestamp::now()).as_ref());
/// assert_eq!(outcome, HookOutcome::Failed { message: "out of tries".into() });
/// ```
pub fn hook_outcome(object: &Object, health: Option<&Health>) -> HookOutcome {
    if !object.is_being_deleted() {
        return outcome(health);
    }
    // Nothing that is being deleted is new any more.
    match outcome(crate::health::health(&undeleted(object), jiff::Timestamp::MAX).as_ref()) {
        HookOutcome::Running { .. } => HookOutcome::Running { message: "being deleted".into() },
        ended => ended,
    }
}

fn outcome(health: Option<&Health>) -> HookOutcome {
    let Some(health) = health else { return HookOutcome::Succeeded };
    let message = health.message.clone();
    match health.status {
        HealthStatus::Healthy => HookOutcome::Succeeded,
        HealthStatus::Progressing | HealthStatus::Suspended | HealthStatus::Missing => HookOutcome::Running { message },
        HealthStatus::Degraded | HealthStatus::Unknown => HookOutcome::Failed {
            message: if message.is_empty() { format!("its health is {}", health.status) } else { message },
        },
    }
}

fn undeleted(object: &Object) -> Object {
    let mut object = object.clone();
    if let Some(metadata) = object.0.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("deletionTimestamp");
    }
    object
}

/// The wave of an object: Argo CD's annotation, else Helm's hook weight, else 0.
pub fn wave(object: &Object) -> i32 {
    [annotations::SYNC_WAVE, annotations::HELM_HOOK_WEIGHT]
        .into_iter()
        .find_map(|name| object.annotation(name)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(annotations: &[(&str, &str)]) -> Object {
        let mut object = Object(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}}));
        for (name, value) in annotations {
            object.set_annotation(name, value);
        }
        object
    }

    #[test]
    fn parts() {
        use Phase::{PostDelete, PostSync, PreDelete, PreSync, Sync, SyncFail};
        let (argo, helm) = (annotations::HOOK, annotations::HELM_HOOK);
        for (annotations, want) in [
            (vec![], Part::Resource),
            (vec![(argo, "PreSync")], Part::Hook(vec![PreSync])),
            (vec![(argo, "PostSync, PreSync")], Part::Hook(vec![PreSync, PostSync])),
            (vec![(argo, "Sync")], Part::Hook(vec![Sync])),
            (vec![(argo, "SyncFail")], Part::Hook(vec![SyncFail])),
            (vec![(argo, "PreDelete,PostDelete")], Part::Hook(vec![PreDelete, PostDelete])),
            (vec![(argo, "Skip")], Part::Skip),
            (vec![(argo, "Skip,Sync")], Part::Hook(vec![Sync])),
            (vec![(argo, "Nonsense")], Part::Unknown("Nonsense".into())),
            (vec![(argo, "")], Part::Resource),
            (vec![(helm, "pre-install,pre-upgrade")], Part::Hook(vec![PreSync])),
            (vec![(helm, "post-upgrade")], Part::Hook(vec![PostSync])),
            (vec![(helm, "crd-install")], Part::Resource),
            (vec![(helm, "test")], Part::Unknown("test".into())),
            (vec![(helm, "pre-rollback")], Part::Unknown("pre-rollback".into())),
            (vec![(helm, "pre-install"), (argo, "Sync")], Part::Hook(vec![Sync])),
        ] {
            assert_eq!(Part::of(&object(&annotations)), want, "{annotations:?}");
        }
    }

    #[test]
    fn delete_policies() {
        use DeletePolicy::{BeforeHookCreation, HookFailed, HookSucceeded};
        let (argo, helm) = (annotations::HOOK_DELETE_POLICY, annotations::HELM_HOOK_DELETE_POLICY);
        for (annotations, want) in [
            (vec![], vec![BeforeHookCreation]),
            (vec![(argo, "HookSucceeded")], vec![HookSucceeded]),
            (vec![(argo, "HookFailed, HookSucceeded")], vec![HookSucceeded, HookFailed]),
            (vec![(helm, "before-hook-creation,hook-succeeded")], vec![BeforeHookCreation, HookSucceeded]),
            (vec![(helm, "hook-failed"), (argo, "HookSucceeded")], vec![HookSucceeded]),
            (vec![(argo, "nonsense")], vec![BeforeHookCreation]),
        ] {
            assert_eq!(HookStep::of(&object(&annotations)).delete, want, "{annotations:?}");
        }
    }

    #[test]
    fn deadlines() {
        for (text, seconds, problem) in [
            (None, 3600, ""),
            (Some("10m"), 600, ""),
            (Some("90"), 90, ""),
            (Some("1500ms"), 2, ""),
            (Some("36h"), 129_600, ""),
            (
                Some("soon"),
                3600,
                "lockstep.dev/hook-deadline: \"soon\" is not a duration; write it as 5s, 3m or 1h30m; it has an hour",
            ),
            (Some("0s"), 3600, "lockstep.dev/hook-deadline: \"0s\" leaves it no time; it has an hour"),
            (Some("-5m"), 3600, "lockstep.dev/hook-deadline: \"-5m\" is not a duration"),
            (Some(""), 3600, "lockstep.dev/hook-deadline: \"\" is not a duration"),
        ] {
            let annotations: Vec<_> = text.map(|text| (annotations::HOOK_DEADLINE, text)).into_iter().collect();
            let (hook, said) = HookStep::read(&object(&annotations));
            assert_eq!(hook.deadline_seconds, seconds, "{text:?}");
            assert!(said.clone().unwrap_or_default().starts_with(problem), "{text:?} {said:?}");
            assert_eq!(said.is_some(), !problem.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn outcomes() {
        let pod = |phase: &str| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Never"}, "status": {"phase": phase}});
        let job = |condition: &str| json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": condition, "status": "True", "message": "said"}]}});
        let flow = |status: serde_json::Value| json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "status": status});
        let gone = |mut object: serde_json::Value| {
            object["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            object
        };
        let custom =
            |status: serde_json::Value| json!({"apiVersion": "example.com/v1", "kind": "Check", "status": status});
        for (object, want) in [
            (json!({"apiVersion": "batch/v1", "kind": "Job"}), "running: waiting to start"),
            (json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"active": 1}}), "running: 1 running"),
            (job("Complete"), "succeeded"),
            (job("Failed"), "failed: said"),
            (job("Suspended"), "running: said"),
            (gone(job("Complete")), "succeeded"),
            (gone(job("Failed")), "failed: said"),
            (gone(json!({"apiVersion": "batch/v1", "kind": "Job"})), "running: being deleted"),
            (pod("Pending"), "running: pending"),
            (pod("Running"), "running: running"),
            (pod("Succeeded"), "succeeded"),
            (pod("Failed"), "failed: failed"),
            (flow(json!(null)), "running"),
            (flow(json!({"phase": "Running", "message": "step 2"})), "running"),
            (flow(json!({"phase": "Succeeded"})), "succeeded"),
            (flow(json!({"phase": "Failed", "message": "step 2 failed"})), "failed"),
            (json!({"apiVersion": "v1", "kind": "ConfigMap"}), "succeeded"),
            (custom(json!({"conditions": [{"type": "Ready", "status": "False", "message": "soon"}]})), "running: soon"),
            (custom(json!({"conditions": [{"type": "Ready", "status": "True"}]})), "succeeded"),
            (custom(json!({"conditions": [{"type": "Stalled", "status": "True", "message": "no"}]})), "failed: no"),
        ] {
            let object = Object(object);
            let got = match hook_outcome(&object, crate::health::health(&object, jiff::Timestamp::MAX).as_ref()) {
                HookOutcome::Running { message } => format!("running: {message}"),
                HookOutcome::Succeeded => "succeeded".into(),
                HookOutcome::Failed { message } => format!("failed: {message}"),
            };
            let same = if want.contains(':') { got == want } else { got.split(':').next() == Some(want) };
            assert!(same, "{object:?}\n{got}\n{want}");
        }
        let config = Object(json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        let unknown = Health::new(HealthStatus::Unknown, "");
        assert_eq!(
            hook_outcome(&config, Some(&unknown)),
            HookOutcome::Failed { message: "its health is Unknown".into() }
        );
    }

    #[test]
    fn waves() {
        let (argo, helm) = (annotations::SYNC_WAVE, annotations::HELM_HOOK_WEIGHT);
        for (annotations, want) in [
            (vec![], 0),
            (vec![(argo, "5")], 5),
            (vec![(argo, " -3 ")], -3),
            (vec![(helm, "7")], 7),
            (vec![(helm, "7"), (argo, "1")], 1),
            (vec![(argo, "first")], 0),
        ] {
            assert_eq!(wave(&object(&annotations)), want, "{annotations:?}");
        }
    }
}
