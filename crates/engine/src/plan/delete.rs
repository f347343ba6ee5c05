//! The plan for deleting an application together with its objects.

use std::sync::Arc;

use jiff::Timestamp;
use resources::{Application, Object, ObjectKey, annotations};

use super::build::{named, named_key, own_option};
use super::hooks::{HookStep, Part, wave};
use super::options::{Options, Propagation};
use super::order::{Item, sort};
use super::{Action, Phase, Plan, Skipped, Step, Wave, created_for};
use crate::ownership::{Tracking, owner_of, stamp};

/// Decides what deleting an application deletes: its live objects in the reverse order of their creation, between the hooks of
/// the phases PreDelete and PostDelete (`hooks`: the rendered manifests, of which the others are left aside).
///
/// A namespace that was created for the application goes too, last of all, if the caller found that nobody else uses it and hands
/// it over with the rest. CustomResourceDefinitions stay, because with them every object of their kind would go, whoever owns it.
pub fn deletion(
    application: &Application,
    live: &[Arc<Object>],
    hooks: &[Object],
    propagation: Propagation,
    (instance, tracking): (&str, &Tracking),
    (revision, started_at): (&str, Timestamp),
) -> Plan {
    let options = Options::new(application, &[], false);
    let owner = (instance, application.spec.destination.namespace.as_str(), tracking);
    let mut items = Vec::new();
    let mut skipped = Vec::new();
    for object in live {
        let ours = owner_of(object, tracking).as_deref() == Some(instance) || created_for(object) == Some(instance);
        if !ours || !Part::of(object).is_resource() {
            continue;
        }
        if let Some(reason) = keeps(object, &options) {
            skipped.push(Skipped { key: object.key(), reason: reason.into(), prune: false });
            continue;
        }
        let confirm = ["Delete", "Prune"].iter().any(|name| options.value(object, name) == Some("confirm"));
        let mut step_options = options.for_deletion(confirm);
        step_options.propagation = propagation;
        let step = Step {
            key: object.key(),
            action: Action::Prune,
            object: None,
            uid: object.uid().into(),
            options: step_options,
            hook: None,
            difference: None,
            implicit: false,
        };
        items.push(Item::new((Phase::Delete, wave(object)), object.key(), object, step));
    }
    sort(&mut items);
    let mut warnings = Vec::new();
    let mut waves = hook_waves(&options, hooks, Phase::PreDelete, (revision, started_at), &owner, &mut warnings);
    for item in items.into_iter().rev() {
        match waves.last_mut() {
            Some(wave) if (wave.phase, wave.number) == item.slot => wave.prune.push(item.what),
            _ => waves.push(empty(item.slot.0, item.slot.1, vec![item.what], vec![])),
        }
    }
    waves.extend(hook_waves(&options, hooks, Phase::PostDelete, (revision, started_at), &owner, &mut warnings));
    warnings.sort();
    warnings.dedup();
    skipped.sort_by(|a, b| a.key.cmp(&b.key));
    Plan {
        application: application.name().into(),
        revision: revision.into(),
        revisions: Vec::new(),
        dry_run: false,
        brake: None,
        waves,
        skipped,
        warnings,
    }
}

fn keeps(object: &Object, options: &Options<'_>) -> Option<&'static str> {
    if object.group() == "apiextensions.k8s.io" && object.kind() == "CustomResourceDefinition" {
        return Some("kept (objects of other applications may need it)");
    }
    if own_option(object, "Delete").or_else(|| options.of_application("Delete")) == Some("false") {
        return Some("kept (Delete=false)");
    }
    if object.annotation(annotations::HELM_RESOURCE_POLICY).is_some_and(|policy| policy.trim() == "keep") {
        return Some("kept (helm.sh/resource-policy: keep)");
    }
    None
}

fn hook_waves(
    options: &Options<'_>,
    hooks: &[Object],
    phase: Phase,
    (revision, started_at): (&str, Timestamp),
    (instance, namespace, tracking): &(&str, &str, &Tracking),
    warnings: &mut Vec<String>,
) -> Vec<Wave> {
    let mut items: Vec<Item<Step>> = Vec::new();
    for hook in hooks.iter().filter(|hook| matches!(Part::of(hook), Part::Hook(phases) if phases.contains(&phase))) {
        let is_taken = |key: &ObjectKey| items.iter().any(|item| item.key == *key);
        let mut object = named(hook, (phase, revision, started_at.as_second()), is_taken);
        if hook.name().is_empty() {
            stamp(&mut object, instance, namespace, tracking);
        }
        let key: ObjectKey = object.key();
        let (hook_step, problem) = HookStep::read(hook);
        warnings.extend(problem.map(|problem| format!("hook {}: {problem}", named_key(&hook.key(), hook))));
        let step = Step {
            key: key.clone(),
            action: Action::Hook,
            uid: String::new(),
            options: options.for_step(hook, None),
            hook: Some(hook_step),
            difference: None,
            implicit: false,
            object: Some(object),
        };
        items.push(Item::new((phase, wave(hook)), key, hook, step));
    }
    sort(&mut items);
    let mut waves: Vec<Wave> = Vec::new();
    for item in items {
        match waves.last_mut() {
            Some(wave) if wave.number == item.slot.1 => wave.apply.push(item.what),
            _ => waves.push(empty(phase, item.slot.1, vec![], vec![item.what])),
        }
    }
    waves
}

fn empty(phase: Phase, number: i32, prune: Vec<Step>, apply: Vec<Step>) -> Wave {
    Wave { phase, number, prune, apply, unchanged: vec![] }
}
