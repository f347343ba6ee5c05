//! `lockstep app`: what people ask of applications, and see of them.
//!
//! There are two ways to an application. The kubeconfig is the usual one: the Application is read and changed there, with the
//! rights that its user has. The other is the bus, for those who hold no credential of the cluster: there its worker does what
//! is asked for, and nothing can be seen.

mod ask;
mod inspect;
mod orphans;
mod output;
mod reach;
mod show;
mod standing;
mod table;
mod tree;
mod unified;
mod wait;

use std::process::ExitCode;

pub use inspect::Color;
pub use output::print;
pub use unified::{Names, Pair, between, coloured};

/// The subcommands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the applications and how they are.
    List(show::List),
    /// Show how an application is, and what about it is not as it should be.
    Get(show::Get),
    /// Show the objects of an application and what they have brought about, down to the pod that does not start.
    Tree(reach::Named),
    /// Show the objects of an application's namespace that no application owns, where its project asks for them.
    Orphans(reach::Named),
    /// Show the past syncs of an application.
    History(reach::Named),
    /// Show what a sync would do, in which order, and whether it may begin. Changes nothing.
    Plan(inspect::PlanArgs),
    /// Show what the cluster has against what Git wants. Changes nothing. Exit code 1: they differ; 2: it cannot be told.
    Diff(inspect::DiffArgs),
    /// Sync an application, and wait until that is done. Exit code 1: it failed; 2: it took too long.
    Sync(ask::Sync),
    /// Wait for applications. Exit code 1: that failed; 2: it took too long.
    ///
    /// Without --sync, --health and --operation all three are waited for: in sync, healthy, and no operation under way.
    Wait(wait::Args),
    /// Let the commit be synced that an application waits with.
    Approve(ask::Approve),
    /// Sync again what was synced before, hooks included. An application that is synced by itself is pinned there.
    Rollback(ask::Rollback),
    /// Follow Git again after a rollback.
    Unpin(ask::Unpin),
    /// Look again, without waiting for a change.
    Refresh(ask::Refresh),
    /// End the operation that runs, or take back the one that has not begun.
    Terminate(ask::Terminate),
}

/// Runs a subcommand.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => show::list(args).await,
        Command::Get(args) => show::get(args).await,
        Command::Tree(args) => tree::run(args).await,
        Command::Orphans(args) => orphans::run(args).await,
        Command::History(args) => show::history(args).await,
        Command::Plan(args) => Ok(or_two(inspect::plan(args).await)),
        Command::Diff(args) => Ok(or_two(inspect::diff(args).await)),
        Command::Sync(args) => ask::sync(args).await,
        Command::Wait(args) => wait::run(args).await,
        Command::Approve(args) => ask::approve(args).await,
        Command::Rollback(args) => ask::rollback(args).await,
        Command::Unpin(args) => ask::unpin(args).await,
        Command::Refresh(args) => ask::refresh(args).await,
        Command::Terminate(args) => ask::terminate(args).await,
    }
}

/// Where 1 is an answer, what went wrong is a 2.
pub fn or_two(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("Error: {}", crate::told(&error));
        ExitCode::from(2)
    })
}
