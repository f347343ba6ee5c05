//! How an object is sent to the API server.

use std::borrow::Cow;
use std::sync::Arc;

use cluster::{Applied, ApplyOptions, Cluster, ClusterError};
use engine::compare::respecting;
use engine::nulls::without_leftovers;
use engine::plan::Step;
use resources::Object;
use serde_json::Value;

use super::Pass;

/// The object as it is sent: where ignored differences are respected, with the live object's values in their places.
pub async fn as_written<'o>(pass: &Pass<'_>, step: &Step, object: &'o Object) -> Result<Cow<'o, Object>, ClusterError> {
    let Some(live) = pass.ctx.live.get(&step.key).filter(|_| step.options.respect_ignore_differences) else {
        return Ok(Cow::Borrowed(object));
    };
    // Of a Secret's values the store has only digests.
    let whole = if object.is_secret() { pass.ctx.cluster.get(&step.key).await?.map(Arc::new) } else { Some(live) };
    Ok(whole.map_or(Cow::Borrowed(object), |live| Cow::Owned(respecting(object, &live, pass.rules()))))
}

/// Applies an object. Where a field that the API server filled in earlier, and that Git does not have, forbids the change, it is taken
/// out together with it: a server-side apply leaves alone what nobody owns.
pub async fn apply(
    cluster: &Cluster,
    object: &Object,
    live: Option<&Object>,
    options: &ApplyOptions,
) -> Result<Applied, ClusterError> {
    let error = match cluster.apply(object, options).await {
        Err(error) => error,
        applied => return applied,
    };
    let Some(patch) = live.and_then(|live| leftovers(&error, object, live)) else { return Err(error) };
    let patched = match cluster.merge_patch_with(&object.key(), &patch, options).await {
        Ok(patched) => patched,
        Err(again) if again.is_transient() => return Err(again),
        // It was not that.
        Err(_) => return Err(error),
    };
    if options.dry_run {
        return Ok(Applied { object: patched, created: false, changed: true, warnings: Vec::new(), taken: Vec::new() });
    }
    // What the patch wrote is then owned as if it had been applied.
    let mut options = options.clone();
    options.migrate_from.push(cluster.field_manager().to_owned());
    options.needs_migration = true;
    cluster.apply(object, &options).await
}

fn leftovers(error: &ClusterError, object: &Object, live: &Object) -> Option<Value> {
    let (ClusterError::Invalid { message, fields, .. } | ClusterError::Immutable { message, fields, .. }) = error
    else {
        return None;
    };
    if object.is_secret() || !message.contains("Forbidden: may not be specified") {
        return None;
    }
    without_leftovers(object, live, fields)
}
