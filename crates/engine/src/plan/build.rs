//! From states to steps.

use std::collections::BTreeMap;

use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use super::hooks::{HookStep, Part, wave};
use super::mask::masked;
use super::options::{Options, StepOptions, of_object};
use super::order::{Item, Slot, deletion_waves, sort};
use super::{
    Action, Brake, CREATED_FOR, Phase, Plan, PlanError, PlanInput, ResourceState, Skipped, Step, Wave, created_for,
};
use crate::ownership::{owner_of, stamp};

/// What becomes of an object that Git wants.
pub(super) enum Work {
    Step(Box<Step>),
    Unchanged,
}

/// Decides what an operation does.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let options = Options::new(input.application, input.sync_options, input.force);
    let mut draft = Draft::default();
    for state in input.resources {
        if !is_selected(input, &state.key) {
            continue;
        }
        match (&state.desired, &state.live) {
            (Some(desired), _) => draft.wanted(input, &options, state, desired)?,
            (None, Some(live)) => draft.unwanted(input, &options, state, live),
            (None, None) => {}
        }
    }
    draft.namespace(input, &options);
    Ok(draft.finish(input))
}

fn is_selected(input: &PlanInput<'_>, key: &ObjectKey) -> bool {
    input.selected.is_none_or(|selected| selected.iter().any(|resource| resource.selects(key)))
}

#[derive(Default)]
struct Draft {
    apply: Vec<Item<Work>>,
    prune: Vec<Item<Step>>,
    skipped: Vec<Skipped>,
    warnings: Vec<String>,
}

impl Draft {
    fn wanted(
        &mut self,
        input: &PlanInput<'_>,
        options: &Options<'_>,
        state: &ResourceState,
        desired: &Object,
    ) -> Result<(), PlanError> {
        match Part::of(desired) {
            Part::Resource => self.resource(options, state, desired),
            Part::Hook(phases) => {
                if input.hooks && input.selected.is_none() {
                    self.hook(input, options, state, desired, &phases);
                }
                Ok(())
            }
            Part::Skip => {
                self.skip(&state.key, "ignored (hook: Skip)", false);
                Ok(())
            }
            Part::Unknown(text) => {
                self.skip(&state.key, format!("ignored (nothing runs the hook {text:?})"), false);
                Ok(())
            }
        }
    }

    fn resource(&mut self, options: &Options<'_>, state: &ResourceState, desired: &Object) -> Result<(), PlanError> {
        let live = state.live.as_deref();
        if let Some(owner) = &state.held_by {
            if options.is_set("FailOnSharedResource") {
                return Err(PlanError::Shared { key: state.key.clone(), owner: owner.clone() });
            }
            self.warnings.push(format!("{} is also part of application {owner}", state.key));
            self.skip(&state.key, format!("ignored (application {owner} has it and wants it too)"), false);
            return Ok(());
        }
        let step_options = options.for_step(desired, live);
        let in_sync =
            live.is_some() && state.difference.as_ref().is_some_and(|difference| difference.is_certainly_empty());
        let slot = (Phase::Sync, wave(desired));
        if in_sync && options.is_set("ApplyOutOfSyncOnly") {
            return Ok(());
        }
        let work = if in_sync && !step_options.replace {
            Work::Unchanged
        } else {
            Work::Step(Box::new(Step {
                key: state.key.clone(),
                action: action(live, &step_options),
                object: Some(desired.clone()),
                uid: live.map(|live| live.uid().to_owned()).unwrap_or_default(),
                options: step_options,
                hook: None,
                difference: state
                    .difference
                    .clone()
                    .filter(|difference| !difference.missing)
                    .map(|difference| masked(&state.key, difference)),
                implicit: false,
            }))
        };
        self.apply.push(Item::new(slot, state.key.clone(), desired, work));
        Ok(())
    }

    fn hook(
        &mut self,
        input: &PlanInput<'_>,
        options: &Options<'_>,
        state: &ResourceState,
        desired: &Object,
        phases: &[Phase],
    ) {
        let live = state.live.as_deref();
        let (hook, problem) = HookStep::read(desired);
        self.warnings.extend(problem.map(|problem| format!("hook {}: {problem}", named_key(&state.key, desired))));
        // Hooks of a deletion are none of a sync's business.
        for phase in phases.iter().copied().filter(|phase| *phase <= Phase::SyncFail) {
            let moment = (phase, input.revision, input.started_at.as_second());
            let mut object = named(desired, moment, |key| self.apply.iter().any(|item| item.key == *key));
            if desired.name().is_empty() {
                // Whose it is was written when it had no name.
                let namespace = &input.application.spec.destination.namespace;
                stamp(&mut object, input.instance, namespace, input.tracking);
            }
            let key = ObjectKey { name: object.name().into(), ..state.key.clone() };
            let step = Step {
                key: key.clone(),
                action: Action::Hook,
                uid: live.map(|live| live.uid().to_owned()).unwrap_or_default(),
                options: options.for_step(desired, live),
                hook: Some(hook.clone()),
                difference: None,
                implicit: false,
                object: Some(object),
            };
            self.apply.push(Item::new((phase, wave(desired)), key, desired, Work::Step(Box::new(step))));
        }
    }

    fn unwanted(&mut self, input: &PlanInput<'_>, options: &Options<'_>, state: &ResourceState, live: &Object) {
        // Hooks that have run are cleaned up by their own policies.
        if !Part::of(live).is_resource() {
            return;
        }
        if let Some(heir) = &state.held_by {
            return self.skip(&state.key, format!("ignored (application {heir} wants it)"), false);
        }
        match owner_of(live, input.tracking) {
            Some(owner) if owner == input.instance => {}
            Some(owner) => return self.skip(&state.key, format!("ignored (belongs to application {owner})"), false),
            None => return self.skip(&state.key, "ignored (no application owns it)", false),
        }
        let policy = options.value(live, "Prune");
        if policy == Some("false") {
            return self.skip(&state.key, "ignored (no prune)", true);
        }
        if !input.prune {
            return self.skip(&state.key, "ignored (requires pruning)", true);
        }
        let step = Step {
            key: state.key.clone(),
            action: Action::Prune,
            object: None,
            uid: live.uid().into(),
            options: options.for_deletion(policy == Some("confirm")),
            hook: None,
            difference: None,
            implicit: false,
        };
        let mut item = Item::new((Phase::Sync, wave(live)), state.key.clone(), live, step);
        item.last = options.value(live, "PruneLast") == Some("true");
        self.prune.push(item);
    }

    fn skip(&mut self, key: &ObjectKey, reason: impl Into<String>, prune: bool) {
        self.skipped.push(Skipped { key: key.clone(), reason: reason.into(), prune });
    }

    /// `CreateNamespace=true`: the destination's namespace comes before everything else, unless Git brings it itself.
    fn namespace(&mut self, input: &PlanInput<'_>, options: &Options<'_>) {
        let name = input.application.spec.destination.namespace.as_str();
        let key = ObjectKey::new("", "Namespace", "", name);
        if name.is_empty() || !options.is_set("CreateNamespace") || self.apply.is_empty() {
            return;
        }
        if input.resources.iter().any(|state| state.key == key && state.desired.is_some()) {
            return;
        }
        let mut object = namespace_object(input, name);
        // Once written it stays, or the next apply would take it away.
        if input.namespace.is_none_or(|live| created_for(live) == Some(input.instance)) {
            object.set_annotation(CREATED_FOR, input.instance);
        }
        if let Some(live) = input.namespace {
            if live.is_being_deleted() {
                self.warnings.push(format!("namespace {name} is being deleted; the sync can go on when it is gone"));
            } else if has_metadata(live, &object) {
                return;
            }
        }
        let step_options = options.for_step(&object, None);
        let step = Step {
            key: key.clone(),
            action: if input.namespace.is_some() { Action::Update } else { Action::Create },
            uid: String::new(),
            options: step_options,
            hook: None,
            difference: None,
            implicit: true,
            object: Some(object.clone()),
        };
        let first: Slot = self.apply.iter().map(|item| item.slot).min().unwrap_or((Phase::Sync, 0));
        self.apply.push(Item::new(first, key, &object, Work::Step(Box::new(step))));
    }

    fn finish(mut self, input: &PlanInput<'_>) -> Plan {
        sort(&mut self.apply);
        sort(&mut self.prune);
        let last_applied =
            self.apply.iter().map(|item| item.slot).filter(|slot| slot.0 == Phase::Sync).map(|slot| slot.1).max();
        let deletions: Vec<&Step> = self.prune.iter().map(|item| &item.what).collect();
        let brake = Brake::of(input, &deletions);
        let mut waves = Waves::default();
        let numbers = deletion_waves(&self.prune, last_applied);
        for (item, number) in self.prune.into_iter().zip(numbers).rev() {
            waves.at((Phase::Sync, number)).prune.push(item.what);
        }
        for item in self.apply {
            match item.what {
                Work::Step(step) => waves.at(item.slot).apply.push(*step),
                Work::Unchanged => waves.at(item.slot).unchanged.push(item.key),
            }
        }
        self.skipped.sort_by(|a, b| (&a.key, &a.reason).cmp(&(&b.key, &b.reason)));
        self.warnings.sort();
        Plan {
            application: input.application.name().into(),
            revision: input.revision.into(),
            revisions: if input.revisions.len() > 1 { input.revisions.to_vec() } else { Vec::new() },
            dry_run: input.dry_run,
            brake,
            waves: waves.0.into_values().collect(),
            skipped: self.skipped,
            warnings: self.warnings,
        }
    }
}

#[derive(Default)]
struct Waves(BTreeMap<Slot, Wave>);

impl Waves {
    fn at(&mut self, slot: Slot) -> &mut Wave {
        let empty = Wave { phase: slot.0, number: slot.1, prune: vec![], apply: vec![], unchanged: vec![] };
        self.0.entry(slot).or_insert(empty)
    }
}

fn action(live: Option<&Object>, options: &StepOptions) -> Action {
    match live {
        None => Action::Create,
        Some(_) if options.replace && options.force => Action::Recreate,
        Some(_) if options.replace => Action::Replace,
        Some(_) => Action::Update,
    }
}

/// The longest name that the API server generates: it becomes the value of a label (`job-name` of a Job's pods).
const LONGEST_NAME: usize = 63;

/// A hook with `generateName` gets a name that tells commit, phase and time, and that nothing else has: several hooks may have
/// one prefix.
pub(super) fn named(
    object: &Object,
    (phase, revision, unix_seconds): (Phase, &str, i64),
    is_taken: impl Fn(&ObjectKey) -> bool,
) -> Object {
    let mut object = object.clone();
    if !object.name().is_empty() {
        return object;
    }
    let Some(prefix) = object.at("/metadata/generateName").and_then(Value::as_str).map(str::to_owned) else {
        return object;
    };
    let commit: String = revision.chars().take(7).collect();
    let suffix = format!("{commit}-{phase}-{unix_seconds}");
    if let Some(metadata) = object.0.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), fitted(&prefix, &suffix).into());
        metadata.remove("generateName");
    }
    let mut number = 1;
    while is_taken(&object.key()) {
        number += 1;
        object.0["metadata"]["name"] = fitted(&prefix, &format!("{suffix}-{number}")).into();
    }
    object
}

/// Prefix and suffix as a name. A prefix that is too long is cut, and a digest of all of it tells it from others that begin the
/// same.
fn fitted(prefix: &str, suffix: &str) -> String {
    let (prefix, suffix) = (prefix.to_lowercase(), suffix.to_lowercase());
    if prefix.len() + suffix.len() <= LONGEST_NAME {
        return prefix + &suffix;
    }
    // FNV-1a: the same in every version of the program.
    let digest = prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let end = format!("{digest:08x}-{suffix}");
    let room = prefix.floor_char_boundary(LONGEST_NAME.saturating_sub(end.len() + 1));
    let cut = prefix[..room].trim_end_matches(['-', '.']);
    if cut.is_empty() { end } else { format!("{cut}-{end}") }
}

/// The key for a person: a hook with `generateName` has no name yet.
pub(super) fn named_key(key: &ObjectKey, object: &Object) -> String {
    let prefix = object.at("/metadata/generateName").and_then(Value::as_str).unwrap_or_default();
    if key.name.is_empty() { format!("{key}{prefix}") } else { key.to_string() }
}

fn namespace_object(input: &PlanInput<'_>, name: &str) -> Object {
    let mut object = Object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    let policy = input.application.spec.sync_policy.as_ref();
    if let Some(metadata) = policy.and_then(|policy| policy.managed_namespace_metadata.as_ref()) {
        for (name, value) in &metadata.labels {
            object.set_label(name, value);
        }
        for (name, value) in &metadata.annotations {
            object.set_annotation(name, value);
        }
    }
    object
}

/// Whether a live namespace has the labels and annotations that it should.
fn has_metadata(live: &Object, wanted: &Object) -> bool {
    ["/metadata/labels", "/metadata/annotations"].into_iter().all(|pointer| {
        let wanted = wanted.at(pointer).and_then(Value::as_object);
        wanted.into_iter().flatten().all(|(name, value)| live.at(pointer).and_then(|map| map.get(name)) == Some(value))
    })
}

/// The option of an object alone.
pub(super) fn own_option<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    of_object(object, name)
}
