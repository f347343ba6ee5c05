//! What people ask of this cluster's worker over the bus: each command becomes what `kubectl` could have written into the
//! Application, so that it outlives the process and is seen by everybody.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wire::{Command, command::Action};

use crate::context::application_key;
use crate::intake::Handled;
use crate::{AppId, Context};

/// Handles one command.
pub async fn handle(ctx: &Arc<Context>, command: &Command) -> Handled {
    if command.cluster != ctx.config.cluster {
        return Handled::Dead(format!(
            "the command is for cluster {:?}, not {:?}",
            command.cluster, ctx.config.cluster
        ));
    }
    let namespace =
        if command.application_namespace.is_empty() { ctx.namespace() } else { &command.application_namespace };
    let id = AppId::new(namespace, &command.application_name);
    let patch = match &command.action {
        Some(Action::Sync(sync)) => json!({ "operation": {
            "initiatedBy": { "username": command.issued_by },
            "sync": {
                "revision": sync.revision,
                "prune": sync.prune,
                "dryRun": sync.dry_run,
                "syncOptions": sync.sync_options,
            },
        } }),
        Some(Action::Refresh(refresh)) => {
            let kind = if refresh.hard { "hard" } else { "normal" };
            json!({ "metadata": { "annotations": { (resources::annotations::REFRESH): kind } } })
        }
        Some(Action::Terminate(_)) => json!({ "status": { "operationState": { "phase": "Terminating" } } }),
        None => return Handled::Dead("the command is of a kind that this worker does not know: update it".into()),
    };
    match ctx.control.merge_patch(&application_key(&id), &patch).await {
        Ok(_) => Handled::Done,
        Err(error) if error.is_transient() => Handled::Retry(Duration::from_secs(1), error.to_string()),
        Err(error) => Handled::Dead(format!("{id}: {error}")),
    }
}
