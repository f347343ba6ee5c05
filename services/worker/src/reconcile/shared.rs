//! Objects that two applications want. The one that has it keeps it for as long as it wants it, and then the other one takes it
//! over: they do not take it from each other in turns, and what moves from one application to another is not deleted between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use engine::ownership::{INSTALLATION_ID, TRACKING_ID, owner_of};
use resources::{Object, ObjectKey};

use super::{Cause, Causes, Pass};
use crate::registry::Managed;
use crate::{AppId, Context};

/// The application that has this live object and wants it, if that is another one than the pass's.
pub fn holder(pass: &Pass<'_>, live: &Object) -> Option<String> {
    let owner = owner_of(live, &pass.ctx.tracking)?;
    let id = AppId::of_tracking_name(&owner, pass.ctx.namespace());
    if id == pass.managed.id {
        return None;
    }
    let managed = pass.ctx.registry.get(&id)?;
    wants(&managed, &live.key()).then_some(owner)
}

/// A desired object as its holder's: all but the owner counts, so two applications that want the same Namespace are both in sync.
pub fn as_theirs(pass: &Pass<'_>, desired: &Object, live: &Object) -> Object {
    let mut object = desired.clone();
    for name in [TRACKING_ID, INSTALLATION_ID] {
        if let Some(value) = live.annotation(name) {
            object.set_annotation(name, value);
        }
    }
    let label = &pass.ctx.tracking.label_key;
    if let (Some(_), Some(value)) = (desired.label(label), live.label(label)) {
        object.set_label(label, value);
    }
    object
}

/// The applications that want objects which this one has and wants no longer, for each of these that one wants. Those whose newest
/// commit is not permitted or cannot be rendered want nothing: they could not have it.
pub fn heirs(ctx: &Context, id: &AppId, keys: &[&ObjectKey]) -> HashMap<ObjectKey, String> {
    let asked: HashSet<&ObjectKey> = keys.iter().copied().collect();
    let mut heirs = HashMap::new();
    if asked.is_empty() {
        return heirs;
    }
    let names: HashSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    for other in ctx.registry.all() {
        if other.id == *id {
            continue;
        }
        let state = other.state();
        if state.broken.is_some() || state.application.is_being_deleted() {
            continue;
        }
        let Some(desired) = &state.desired else { continue };
        for object in desired.objects.iter().filter(|object| names.contains(object.name())) {
            let key = object.key();
            if asked.contains(&key) {
                heirs.entry(key).or_insert_with(|| other.id.tracking_name(ctx.namespace()));
            }
        }
    }
    heirs
}

fn wants(managed: &Managed, key: &ObjectKey) -> bool {
    let state = managed.state();
    if state.application.is_being_deleted() {
        return false;
    }
    match &state.desired {
        Some(desired) => desired.objects.iter().any(|object| object.name() == key.name && object.key() == *key),
        // It has not rendered since the start; its status says what it had.
        None => state.application.status.iter().flat_map(|status| &status.resources).any(|resource| {
            resource.name == key.name
                && resource.kind == key.kind
                && resource.group == key.group
                && resource.namespace == key.namespace
                && !resource.requires_pruning
        }),
    }
}

/// Whether another application has yet to render the commit that this one has rendered.
pub fn is_awaited(pass: &Pass<'_>) -> bool {
    let commits = match &pass.managed.state().desired {
        Some(desired) => desired.commits.clone(),
        None => return false,
    };
    pass.ctx.registry.all().iter().any(|other| {
        if other.id == pass.managed.id {
            return false;
        }
        let state = other.state();
        let behind = |commit: &String| state.desired.as_ref().is_none_or(|desired| !desired.commits.contains(commit));
        state.broken.is_none()
            && state
                .wanted
                .iter()
                .any(|wanted| wanted.is_pending() && commits.contains(&wanted.commit) && behind(&wanted.commit))
    })
}

/// Those that left an object to another application look again: this one has let objects go.
pub fn wake(ctx: &Arc<Context>, id: &AppId) {
    for other in ctx.registry.all() {
        if other.id != *id && other.state().shares {
            ctx.queue.push(other.id.clone(), Causes::of(Cause::Live));
        }
    }
}
