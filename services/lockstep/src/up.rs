//! `lockstep up`: a receiver and a worker for each cluster in one process, with the bus in one file or RabbitMQ.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::WorkerConfig;

/// The options of `lockstep up`.
#[derive(clap::Args)]
pub struct Args {
    /// A cluster, as NAME=KUBECONFIG or NAME=KUBECONFIG,CONTEXT. May be repeated; each gets a worker of its own.
    #[arg(long = "cluster", required = true)]
    clusters: Vec<String>,
    /// amqp://… for RabbitMQ; without it, a journal in the data folder.
    #[arg(long = "bus", env = "LOCKSTEP_BUS", hide_env_values = true)]
    bus: Option<String>,
    /// First port of the workers' admin addresses (health, metrics, reports): one each, counted up. 0: none.
    #[arg(long, default_value_t = 0)]
    worker_admin_port: u16,
    #[command(flatten)]
    receiver: receiver::ReceiverArgs,
    #[command(flatten)]
    options: worker::Options,
}

/// The longest pause before a worker that broke is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs until `shutdown`, or until one of the programs cannot begin. The receiver takes webhooks whatever becomes of a worker.
pub async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    git::private_folder(&args.options.data_dir)
        .with_context(|| format!("cannot use the data folder {}", args.options.data_dir.display()))?;
    let address =
        args.bus.clone().unwrap_or_else(|| format!("journal:{}", args.options.data_dir.join("bus.db").display()));
    let bus = bus::connect(&address).await.context("cannot use the bus")?;
    let mut programs: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut names = Vec::new();
    for (number, cluster) in args.clusters.iter().enumerate() {
        let config = worker_config(&args, number, cluster)?;
        // A queue that is not there yet would leave the first deliveries to the unrouted ones.
        bus.declare(&bus::Topology::for_cluster(&config.cluster)).await?;
        names.push(config.cluster.clone());
        programs.spawn(keep(config, bus.clone(), shutdown.clone()));
    }
    programs.spawn(receiver::run(args.receiver.config()?, bus.clone(), shutdown.clone()));
    tracing::info!(clusters = names.join(","), "up.started");
    let mut first = Ok(());
    while let Some(ended) = programs.join_next().await {
        let ended = ended.map_err(anyhow::Error::from).and_then(|ended| ended);
        if !shutdown.is_cancelled() {
            shutdown.cancel();
            first = ended.and_then(|()| Err(anyhow::anyhow!("a program ended without being asked to")));
        }
    }
    bus.close().await;
    first
}

/// Runs a worker, and again if it breaks. One that cannot even begin has to be configured otherwise, which is an error.
async fn keep(config: WorkerConfig, bus: Arc<dyn bus::Bus>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut pause = Duration::from_millis(500);
    let mut broken = false;
    loop {
        // In a task of its own, so that a panic is its own.
        let running = tokio::spawn(worker::run(config.clone(), bus.clone(), shutdown.clone()));
        let error = match running.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if !broken => return Err(error),
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        };
        broken = true;
        tracing::error!(
            cluster = config.cluster,
            error = format!("{error:#}"),
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "worker.broke: this is a defect of Lockstep, please report it; it is started again"
        );
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn worker_config(args: &Args, number: usize, cluster: &str) -> anyhow::Result<WorkerConfig> {
    let (name, rest) = cluster
        .split_once('=')
        .with_context(|| format!("--cluster {cluster:?} is not NAME=KUBECONFIG; write nonprod=/path/kubeconfig"))?;
    let (kubeconfig, context) = match rest.split_once(',') {
        Some((path, context)) => (path, Some(context.to_owned())),
        None => (rest, None),
    };
    let number = u16::try_from(number).context("too many clusters")?;
    let admin = (args.worker_admin_port > 0)
        .then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), args.worker_admin_port + number));
    Ok(WorkerConfig {
        cluster: name.to_owned(),
        kubeconfig: Some(PathBuf::from(kubeconfig)),
        context,
        admin_listen: admin,
        options: args.options.clone(),
    })
}
