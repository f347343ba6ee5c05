//! What people ask of an application. Each command becomes what `kubectl` could have written into the Application, so that it
//! outlives the process and is seen by everybody. One way brings it over the bus to this cluster's worker; the other is for
//! programs that hold the cluster's credentials themselves: [`carry_out`] is the same for both.

mod orders;

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ClusterError};
use jiff::Timestamp;
use resources::Application;
use wire::Command;

pub use orders::{Order, REQUEST, Refused, approved_commits, order, rollback_entry};

use crate::context::application_key;
use crate::intake::Handled;
use crate::{AppId, Context};

/// So often a command is decided again because somebody changed the Application in between.
const ATTEMPTS: u32 = 8;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The cluster does not take it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The Application is not in a state for it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Handles a command that came over the bus.
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
    match carry_out(&ctx.control, &id, command).await {
        Ok(said) => {
            tracing::info!(application = %id, by = command.issued_by, said, "command.done");
            Handled::Done
        }
        Err(CommandError::Cluster(error)) if error.is_transient() || error.is_conflict() => {
            Handled::Retry(Duration::from_secs(1), error.to_string())
        }
        Err(error) => Handled::Dead(format!("{id}: {error}")),
    }
}

/// Writes what a command means into the Application, unless that was done before, and returns it as a sentence. The decision
/// counts for the Application as it was read: if it changes in between, it is made again.
pub async fn carry_out(cluster: &Cluster, id: &AppId, command: &Command) -> Result<String, CommandError> {
    let key = application_key(id);
    let mut attempt = 1;
    loop {
        let object = cluster.get(&key).await?.ok_or_else(|| ClusterError::NotFound(Box::new(key.clone())))?;
        let version = object.resource_version().to_owned();
        let application = Application::parse(object.0)
            .map_err(|invalid| Refused::new(format!("the Application is not valid, correct it first: {invalid}")))?;
        let Some(Order { mut patch, said }) = order(&application, command, Timestamp::now())? else {
            return Ok("done before".into());
        };
        patch["metadata"]["resourceVersion"] = version.into();
        match cluster.merge_patch(&key, &patch).await {
            Ok(_) => return Ok(said),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
