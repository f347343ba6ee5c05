//! The way of an Application that is being deleted: its objects go first, in the reverse of the order in which they came,
//! then the namespace if it was made for this application alone, then the finalizer.

use std::sync::Arc;
use std::time::Duration;

use cluster::{ClusterError, DeleteOptions, Propagation};
use engine::plan::created_for;
use resources::{Application, Object, ObjectKey, annotations};
use serde_json::json;

use super::{Cause, Causes, back_off};
use crate::Context;
use crate::context::application_key;
use crate::registry::Managed;

/// Set on an Application whose namespace is its own and goes with it; previews have it.
pub const DELETE_NAMESPACE: &str = "lockstep.dev/delete-namespace";

/// Goes one step further; comes back through the queue until nothing is left.
pub async fn advance(ctx: &Arc<Context>, managed: &Arc<Managed>) {
    let application = managed.application();
    let finalizers = application.metadata.finalizers.clone().unwrap_or_default();
    let Some(finalizer) = finalizers.iter().find(|name| name.starts_with(annotations::RESOURCES_FINALIZER)) else {
        return;
    };
    let propagation =
        if finalizer.ends_with("/background") { Propagation::Background } else { Propagation::Foreground };
    let failed = match objects_gone(ctx, managed, &application, propagation).await {
        Ok(false) => None,
        Ok(true) => match namespace_gone(ctx, managed, &application).await {
            Ok(false) => None,
            Ok(true) => {
                let left: Vec<&String> = finalizers.iter().filter(|name| *name != finalizer).collect();
                let patch = json!({ "metadata": { "finalizers": left } });
                match ctx.control.merge_patch(&application_key(&managed.id), &patch).await {
                    Ok(_) => return,
                    Err(error) if error.is_not_found() => return,
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        },
        Err(error) => Some(error),
    };
    let pause = match failed {
        None => {
            managed.state().failures = 0;
            // The watch on the objects wakes us; this is for those that are not watched, such as the namespace.
            Duration::from_millis(300)
        }
        Some(error) => {
            let failures = {
                let mut state = managed.state();
                state.failures = state.failures.saturating_add(1);
                state.failures
            };
            tracing::warn!(application = %managed.id, %error, "delete.failed: trying again");
            back_off(failures)
        }
    };
    ctx.queue.push_after(managed.id.clone(), Causes::of(Cause::Retry), pause);
}

/// Deletes the objects of the highest wave that is left; true once there are none.
async fn objects_gone(
    ctx: &Context,
    managed: &Managed,
    application: &Application,
    propagation: Propagation,
) -> Result<bool, ClusterError> {
    // After a start nothing is watched yet: what the application had is in its status.
    let mut kinds = Vec::new();
    for resource in application.status.iter().flat_map(|status| &status.resources) {
        if ctx.live.has(&resource.group, &resource.kind) {
            continue;
        }
        if let Some(kind) = ctx.cluster.kind(&resource.group, Some(&resource.version), &resource.kind).await?
            && !kinds.contains(&kind)
        {
            kinds.push(kind);
        }
    }
    ctx.live.ensure(&kinds).await?;
    let owner = managed.id.tracking_name(ctx.namespace());
    let live: Vec<Arc<Object>> = ctx.live.owned_by(&owner).into_iter().filter(|object| is_deletable(object)).collect();
    let Some(last) = live.iter().map(|object| wave(object)).max() else { return Ok(true) };
    for object in live.iter().filter(|object| wave(object) == last && !object.is_being_deleted()) {
        let options = DeleteOptions { propagation, uid: Some(object.uid().to_owned()), ..DeleteOptions::default() };
        match ctx.cluster.delete(&object.key(), &options).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// CustomResourceDefinitions stay, as in Argo CD: with them would go every object of their kinds, whoever owns it.
fn is_deletable(object: &Object) -> bool {
    let kept = object
        .annotation(annotations::SYNC_OPTIONS)
        .is_some_and(|options| options.split(',').any(|option| option.trim() == "Delete=false"));
    object.kind() != "CustomResourceDefinition" && !kept && object.annotation("helm.sh/resource-policy") != Some("keep")
}

fn wave(object: &Object) -> i64 {
    object.annotation(annotations::SYNC_WAVE).and_then(|wave| wave.trim().parse().ok()).unwrap_or(0)
}

/// Deletes the namespace that Lockstep made for this application alone; true once it is gone or is not ours to delete.
async fn namespace_gone(ctx: &Context, managed: &Managed, application: &Application) -> Result<bool, ClusterError> {
    let name = &application.spec.destination.namespace;
    if application.annotation(DELETE_NAMESPACE) != Some("true") || name.is_empty() {
        return Ok(true);
    }
    let key = ObjectKey::new("", "Namespace", "", name);
    let Some(namespace) = ctx.cluster.get(&key).await? else { return Ok(true) };
    let shared = ctx
        .registry
        .all()
        .iter()
        .any(|other| other.id != managed.id && other.application().spec.destination.namespace == *name);
    if shared || created_for(&namespace) != Some(&managed.id.tracking_name(ctx.namespace())) {
        return Ok(true);
    }
    if !namespace.is_being_deleted() {
        let options = DeleteOptions { uid: Some(namespace.uid().to_owned()), ..DeleteOptions::default() };
        ctx.cluster.delete(&key, &options).await?;
    }
    Ok(false)
}
