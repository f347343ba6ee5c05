//! `lockstep app`: commands to a cluster's worker, over the bus. No cluster credential is needed, and none is used.

use jiff::Timestamp;
use wire::{Command as Message, Envelope, Refresh, Sync, Terminate, command::Action};

use crate::bus_address::Bus;

/// The subcommands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a sync: for an application without automated sync, this is the approval.
    Sync {
        #[command(flatten)]
        target: Target,
        /// Another revision than the one it follows.
        #[arg(long, default_value = "")]
        revision: String,
        /// Remove what Git no longer has.
        #[arg(long)]
        prune: bool,
        /// Store nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look again, without waiting for a change.
    Refresh {
        #[command(flatten)]
        target: Target,
        /// Forget the cached render, too.
        #[arg(long)]
        hard: bool,
    },
    /// End the running operation.
    Terminate {
        #[command(flatten)]
        target: Target,
    },
}

/// Which application of which cluster.
#[derive(clap::Args)]
pub struct Target {
    #[command(flatten)]
    bus: Bus,
    /// The cluster's name.
    #[arg(long)]
    cluster: String,
    /// The Application, as NAME or NAMESPACE/NAME.
    application: String,
}

/// Runs a subcommand.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let (target, action, said) = match command {
        Command::Sync { target, revision, prune, dry_run } => {
            (target, Action::Sync(Sync { revision, prune, dry_run, sync_options: Vec::new() }), "sync asked for")
        }
        Command::Refresh { target, hard } => (target, Action::Refresh(Refresh { hard }), "refresh asked for"),
        Command::Terminate { target } => (target, Action::Terminate(Terminate {}), "termination asked for"),
    };
    let (namespace, name) = target.application.split_once('/').unwrap_or(("", &target.application));
    let message = Message {
        id: uuid::Uuid::now_v7().to_string(),
        cluster: target.cluster.clone(),
        application_namespace: namespace.into(),
        application_name: name.into(),
        issued_by: std::env::var("USER").unwrap_or_else(|_| "lockstep".into()),
        issued_at_unix_ms: Timestamp::now().as_millisecond(),
        action: Some(action),
    };
    let bus = target.bus.connect().await?;
    // A bus publishes only to what it has been told of.
    bus.declare(&bus::Topology::shared()).await?;
    bus.publish(bus::names::COMMANDS, &target.cluster, Envelope::command(&message).into()).await?;
    bus.close().await;
    println!("{}: {said} of cluster {}'s worker", target.application, target.cluster);
    Ok(())
}
