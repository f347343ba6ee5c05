//! Hooks: objects that run in a phase instead of belonging to the application.

use resources::{Object, annotations};
use serde::Serialize;

use super::Phase;

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
}

impl HookStep {
    /// The policies of a hook; without any it is deleted before it runs again.
    pub fn of(object: &Object) -> Self {
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
        Self { delete }
    }

    /// Whether the object is deleted at this occasion.
    pub fn deletes(&self, policy: DeletePolicy) -> bool {
        self.delete.contains(&policy)
    }
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
