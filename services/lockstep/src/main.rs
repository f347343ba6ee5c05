//! The `lockstep` command: the programs, and what people need around them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod bus_address;
mod deliveries;
mod diff;
mod health;
mod up;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use telemetry::LogFormat;
use tokio_util::sync::CancellationToken;

/// Keeps Kubernetes clusters in lockstep with Git.
#[derive(Parser)]
#[command(name = "lockstep", version, about, max_term_width = 100)]
struct Cli {
    /// How log lines look.
    #[arg(long, global = true, env = "LOCKSTEP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a receiver and a worker for each cluster in one process.
    Up(up::Args),
    /// Run a receiver: webhooks in, deliveries out.
    Receiver(ReceiverProgram),
    /// Run the worker of one cluster.
    Worker(WorkerArgs),
    /// Print the CustomResourceDefinitions, for `kubectl apply --server-side -f -`.
    Crds,
    /// Configure the forge's webhook.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// See and replay what could not be handled.
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// See how applications are, what a sync would do, and have it done.
    #[command(subcommand)]
    App(app::Command),
    /// Show what a change in Git changes in the manifests, without any cluster. Exit code 1: they differ; 2: it cannot be told.
    ///
    /// PATH is a folder that a source could name (plain manifests, a kustomization, a chart), or a file with manifests. The
    /// Applications in what it renders to are rendered too, as they say it, as far as their sources are in this repository.
    Diff(diff::Args),
    /// Say how well the objects of a file are, such as the output of `kubectl get -o yaml`.
    Health(health::Args),
}

#[derive(clap::Args)]
struct ReceiverProgram {
    #[command(flatten)]
    bus: bus_address::Bus,
    #[command(flatten)]
    receiver: receiver::ReceiverArgs,
}

#[derive(clap::Args)]
struct WorkerArgs {
    #[command(flatten)]
    bus: bus_address::Bus,
    /// The cluster's name: in checks, queues and `destination.name`.
    #[arg(long, env = "LOCKSTEP_CLUSTER")]
    cluster: String,
    /// The cluster's kubeconfig; without it, the cluster the worker runs in.
    #[arg(long, env = "LOCKSTEP_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; without it, the current one.
    #[arg(long, env = "LOCKSTEP_CONTEXT")]
    context: Option<String>,
    /// Where /healthz, /readyz, /metrics and /reports are served.
    #[arg(long, env = "LOCKSTEP_ADMIN_LISTEN")]
    admin_listen: Option<std::net::SocketAddr>,
    #[command(flatten)]
    options: worker::Options,
}

fn main() -> ExitCode {
    // Before there is a thread: this process may have been started to become another program, confined.
    sandbox::enter_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads of this process");
    runtime.and_then(|runtime| runtime.block_on(run(Cli::parse()))).unwrap_or_else(|error| {
        eprintln!("Error: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// An error for people: the causes in one line. Where in the program it came about is for who works on it, and not for everybody whose
/// environment has RUST_BACKTRACE.
fn told(error: &anyhow::Error) -> String {
    if std::env::var_os("LOCKSTEP_BACKTRACE").is_some() { format!("{error:?}") } else { format!("{error:#}") }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // One provider for every TLS connection of the process; installing it twice is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match cli.command {
        Command::Up(args) => {
            telemetry::init_logs(cli.log_format, None)?;
            up::run(args, stop_on_signal()?).await
        }
        Command::Receiver(args) => {
            telemetry::init_logs(cli.log_format, None)?;
            let bus = args.bus.connect().await?;
            let done = receiver::run(args.receiver.config()?, bus.clone(), stop_on_signal()?).await;
            bus.close().await;
            done
        }
        Command::Worker(args) => {
            telemetry::init_logs(cli.log_format, None)?;
            let bus = args.bus.connect().await?;
            let config = worker::WorkerConfig {
                cluster: args.cluster,
                kubeconfig: args.kubeconfig,
                context: args.context,
                admin_listen: args.admin_listen,
                options: args.options,
            };
            let done = worker::run(config, bus.clone(), stop_on_signal()?).await;
            bus.close().await;
            done
        }
        Command::Crds => print_crds(),
        Command::Webhook(command) => webhook::run(command).await,
        Command::Deliveries(command) => deliveries::run(command).await,
        Command::App(command) => return app::run(command).await,
        Command::Diff(args) => return Ok(app::or_two(diff::run(args).await)),
        Command::Health(args) => health::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn print_crds() -> anyhow::Result<()> {
    for crd in resources::crds() {
        println!("---\n{}", serde_saphyr::to_string(&crd.0).context("cannot write YAML")?.trim_end());
    }
    Ok(())
}

/// Cancelled by SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn({
        let token = token.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            token.cancel();
            interrupt.recv().await;
            std::process::exit(130);
        }
    });
    Ok(token)
}

/// A bus as the programs share it.
pub type SharedBus = Arc<dyn bus::Bus>;
