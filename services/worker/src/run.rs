//! Putting a worker together, and taking it apart in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, Topology};
use cluster::{Cluster, Kubeconfig, Lease, LiveStore};
use forge::{Credential, ForgeAccount, ForgeKind, Forges};
use git::{Credentials, Git, GitConfig, Grant, Remote, RepositoryUrl, SecretCredentials, StaticCredentials};
use render::{RenderConfig, Renderer, SandboxState};
use resources::ObjectKey;
use serde_json::Value;
use telemetry::{Admin, Metrics, Readiness};
use tokio_util::sync::CancellationToken;

use crate::application_sets::ApplicationSets;
use crate::config::WorkerConfig;
use crate::context::{Capabilities, Context};
use crate::customizations::CONFIG_MAP;
use crate::feedback::Publisher;
use crate::metrics::WorkerMetrics;
use crate::reports::ReportLog;
use crate::tracker::Tracker;
use crate::{application_sets, intake, outbox, poll, reconcile, sweep, watches};

/// How often deliveries that found no queue are looked for.
const REROUTE: Duration = Duration::from_secs(60);

/// Runs one worker until `shutdown`; returns early if it cannot go on.
pub async fn run(config: WorkerConfig, bus: Arc<dyn Bus>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let cluster_name = config.cluster.clone();
    let shutdown = shutdown.child_token();
    let from = match &config.kubeconfig {
        Some(path) => Kubeconfig::File { path: path.clone(), context: config.context.clone() },
        None => Kubeconfig::InCluster,
    };
    let connect = async |manager: &str| {
        let options = cluster::Options { field_manager: manager.into(), ..cluster::Options::default() };
        Cluster::connect(&from, options).await.with_context(|| format!("cannot reach cluster {cluster_name}"))
    };
    let cluster = connect("lockstep").await?;
    let control = connect("lockstep-status").await?;
    bus.declare(&Topology::for_cluster(&cluster_name)).await.context("cannot set up this cluster's queues")?;
    reroute(bus.as_ref()).await;

    let metrics = Metrics::new("lockstep");
    let readiness = Readiness::default();
    readiness.set("started", Err("the cluster's applications have not been listed yet".into()));
    let credentials = Arc::new(SecretCredentials::new());
    let forges = forges(&config)?;
    let ctx = Arc::new(context(config, (cluster, control), bus, &metrics, credentials.clone(), forges.clone()).await?);
    tell_sandbox(&ctx.renderer.sandbox(), &readiness);
    let admin = serve_admin(&ctx, metrics, readiness.clone(), &shutdown)?;

    let lease = tokio::select! {
        lease = hold_lease(&ctx) => lease?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut tasks = tokio::task::JoinSet::new();
    start_watches(&ctx, credentials, &mut tasks, &shutdown).await?;
    readiness.set("started", Ok(()));
    tracing::info!(cluster = cluster_name, applications = ctx.registry.count(), "worker.started");

    let reconciling = tokio::spawn(reconcile::run(ctx.clone()));
    tasks.spawn({
        let (ctx, shutdown) = (ctx.clone(), shutdown.clone());
        async move {
            first_renders(&ctx).await;
            intake::run(ctx, shutdown).await
        }
    });
    tasks.spawn(outbox::run(ctx.clone(), forges, shutdown.clone()));
    endless(&mut tasks, {
        let (ctx, shutdown) = (ctx.clone(), shutdown.clone());
        async move {
            first_renders(&ctx).await;
            poll::run(ctx, shutdown).await;
        }
    });
    endless(&mut tasks, reroute_now_and_then(ctx.clone(), shutdown.clone()));
    endless(&mut tasks, sweep::run(ctx.clone(), shutdown.clone()));
    endless(&mut tasks, application_sets::relist(ctx.clone(), shutdown.clone()));

    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = lease.lost() => Err(anyhow::anyhow!("another replica of this worker has taken over the lease")),
        Some(ended) = tasks.join_next() => ended.map_err(anyhow::Error::from).and_then(|ended| ended),
    };
    shutdown.cancel();
    ctx.queue.close();
    // What is half done is done again by whoever comes next; a moment lets most of it end well.
    let _ = tokio::time::timeout(Duration::from_secs(5), reconciling).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), async { while tasks.join_next().await.is_some() {} }).await;
    let _ = lease.release().await;
    if let Some(admin) = admin {
        let _ = admin.await;
    }
    ended.with_context(|| format!("worker {cluster_name} stopped"))
}

/// What was accepted while no worker's queue existed is waiting for one.
async fn reroute(bus: &dyn Bus) {
    match bus.reroute().await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, "bus.rerouted: deliveries that came while this cluster's queue did not exist")
        }
        Err(error) => tracing::warn!(%error, "bus.not_rerouted"),
    }
}

/// The broker may lose a queue and get it back: what came in between is looked for now and then, not only at a start.
async fn reroute_now_and_then(ctx: Arc<Context>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REROUTE) => reroute(ctx.bus.as_ref()).await,
        }
    }
}

/// What confines the programs that render is said where an operator looks.
fn tell_sandbox(state: &SandboxState, readiness: &Readiness) {
    let landlock = state.support().landlock;
    let [(_, files), (_, tcp), (_, sockets), (_, signals), (_, processes), (_, syscalls)] = state.parts();
    if state.is_whole() {
        tracing::info!(landlock, files, tcp, sockets, signals, processes, syscalls, "sandbox.state: {state}");
    } else {
        tracing::warn!(landlock, files, tcp, sockets, signals, processes, syscalls, "sandbox.state: {state}");
    }
    readiness.note("render-sandbox", state.to_string());
}

pub(crate) async fn context(
    config: WorkerConfig,
    (cluster, control): (Cluster, Cluster),
    bus: Arc<dyn Bus>,
    metrics: &Metrics,
    credentials: Arc<SecretCredentials>,
    forges: Forges,
) -> anyhow::Result<Context> {
    let options = &config.options;
    let data = options.data_dir.join(&config.cluster);
    // What is fetched and rendered may be secret, also to the other users of the machine.
    git::private_folder(&data).with_context(|| format!("cannot use the data folder {}", data.display()))?;
    let credentials: Arc<dyn Credentials> = match &options.git_credentials_file {
        Some(file) => Arc::new(Both { first: credentials, second: Arc::new(StaticCredentials::from_file(file)?) }),
        None => credentials,
    };
    let git_config = GitConfig {
        root: data.join("git"),
        credentials,
        fetch_timeout: Duration::from_secs(300),
        stall_timeout: Duration::from_secs(60),
        max_repository_bytes: 8 << 30,
        allow_local: options.allow_local_git,
    };
    let git = Git::open(git_config).context("cannot use the folder for Git mirrors")?;
    let mut render_config = RenderConfig {
        cache_dir: data.join("renders"),
        helm: options.helm.clone(),
        kustomize: options.kustomize.clone(),
        sandbox: options.render_sandbox,
        ..RenderConfig::default()
    };
    if options.renders > 0 {
        render_config.parallel = options.renders;
    }
    let renderer = Renderer::new(render_config).await.context("cannot render")?;
    crate::metrics::register_renders(metrics, &renderer);
    let capabilities =
        Capabilities { version: cluster.version().await?, api_versions: cluster.api_versions().await?.into() };
    let settings = ObjectKey::new("", "ConfigMap", &options.namespace, CONFIG_MAP);
    let tracking = crate::customizations::tracking(cluster.get(&settings).await?.as_ref());
    let owner_of = {
        let tracking = tracking.clone();
        Arc::new(move |object: &resources::Object| engine::ownership::owner_of(object, &tracking))
    };
    let managers = vec![cluster.field_manager().to_owned(), reconcile::ARGO_CD.to_owned()];
    let live = LiveStore::with_managers(cluster.clone(), owner_of, managers);
    Ok(Context {
        live,
        git,
        renderer,
        publisher: Publisher::start(bus.clone(), &config.cluster),
        reports: ReportLog::start(bus.clone()),
        registry: Default::default(),
        projects: Default::default(),
        application_sets: ApplicationSets::new(forges),
        heads: Default::default(),
        lanes: Default::default(),
        queue: Default::default(),
        metrics: WorkerMetrics::register(metrics),
        capabilities: std::sync::Mutex::new(capabilities),
        customizations: Default::default(),
        tracking,
        listed: Default::default(),
        depending: Default::default(),
        index: Default::default(),
        tracker: std::sync::Mutex::new(Tracker::new(&config.cluster, &options.namespace, options.checks_per_commit)),
        previewed: Default::default(),
        cluster,
        control,
        bus,
        config,
    })
}

/// Credentials of the cluster's Secrets first, then those of the file.
struct Both {
    first: Arc<SecretCredentials>,
    second: Arc<StaticCredentials>,
}

#[async_trait::async_trait]
impl Credentials for Both {
    fn grant(&self, remote: &Remote) -> Grant {
        let grant = self.first.grant(remote);
        if grant.is_anonymous() { self.second.grant(remote) } else { grant }
    }

    async fn credential(&self, url: &RepositoryUrl, grant: &Grant) -> Option<git::Credential> {
        match self.second.credential(url, grant).await {
            Some(credential) => Some(credential),
            None => self.first.credential(url, grant).await,
        }
    }
}

fn forges(config: &WorkerConfig) -> anyhow::Result<Forges> {
    let options = &config.options;
    let mut accounts = Vec::new();
    for (number, forge) in options.forges.iter().enumerate() {
        let (kind, api_url) = forge
            .split_once('=')
            .with_context(|| format!("--forge {forge:?} is not KIND=API_URL; write github=https://api.github.com"))?;
        let kind: ForgeKind = kind.parse().map_err(|error| anyhow::anyhow!("--forge {forge:?}: {error}"))?;
        let read = |file: &Path| {
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the forge credential {}", file.display()))
        };
        let app =
            options.github_app_id.zip(options.github_app_key_file.as_deref()).filter(|_| kind == ForgeKind::Github);
        let credential = match (app, options.forge_token_files.get(number)) {
            (Some((id, key)), _) => Credential::App { id, private_key_pem: read(key)? },
            (None, Some(file)) => Credential::Token(read(file)?.trim().to_owned()),
            (None, None) => Credential::None,
        };
        let mut account = ForgeAccount::new(kind, api_url, credential);
        if options.forge_unlimited {
            account.limits = forge::outbox::Limits::unlimited();
        }
        accounts.push(account);
    }
    Ok(Forges::new(accounts)?)
}

fn serve_admin(
    ctx: &Arc<Context>,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<tokio::task::JoinHandle<Result<(), telemetry::TelemetryError>>>> {
    let Some(address) = ctx.config.admin_listen else { return Ok(None) };
    let shared = ctx.clone();
    let admin = Admin::new(metrics, readiness).with_routes(move |routes| {
        let ctx = shared.clone();
        routes.route(
            "/reports",
            actix_web::web::get().to(move || {
                let ctx = ctx.clone();
                async move { actix_web::web::Json::<Value>(ctx.reports.to_json()) }
            }),
        );
    });
    let bound = admin.bind(address)?;
    tracing::info!(address = %bound.address(), "admin.listening");
    Ok(Some(tokio::spawn(bound.run(shutdown.clone()))))
}

/// Deliveries wait until it is known what each application reads: before that, every push would seem to concern every one.
/// Renders are kept on disk, so this takes long only where there is nothing on disk; and not forever.
async fn first_renders(ctx: &Context) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while tokio::time::Instant::now() < deadline {
        if ctx.registry.all().iter().all(|managed| managed.state().rendered_once) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One replica works, the others stand by. Whoever has the same data folder is the same replica, so a worker that was killed
/// takes its own lease back at once.
async fn hold_lease(ctx: &Context) -> anyhow::Result<cluster::LeaseHeld> {
    let file = ctx.config.options.data_dir.join(ctx.cluster_name()).join("identity");
    let identity = match std::fs::read_to_string(&file) {
        Ok(identity) => identity,
        Err(_) => {
            let identity = uuid::Uuid::new_v4().to_string();
            std::fs::write(&file, &identity).with_context(|| format!("cannot write {}", file.display()))?;
            identity
        }
    };
    let name = format!("lockstep-worker-{}", ctx.cluster_name());
    Lease::hold(&ctx.cluster, ctx.namespace(), &name, identity.trim()).await.context("cannot take the worker's lease")
}

/// A task that goes on until the worker is stopped, and cannot fail.
fn endless(tasks: &mut tokio::task::JoinSet<anyhow::Result<()>>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ok(())
    });
}

async fn start_watches(
    ctx: &Arc<Context>,
    credentials: Arc<SecretCredentials>,
    tasks: &mut tokio::task::JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let listed = [(); 4].map(|()| CancellationToken::new());
    tasks.spawn(watches::secrets(ctx.clone(), credentials, listed[0].clone(), shutdown.clone()));
    tasks.spawn(watches::app_projects(ctx.clone(), listed[1].clone(), shutdown.clone()));
    tasks.spawn(watches::settings(ctx.clone(), listed[2].clone(), shutdown.clone()));
    for started in &listed[..3] {
        first(started, tasks).await?;
    }
    tasks.spawn(watches::applications(ctx.clone(), listed[3].clone(), shutdown.clone()));
    first(&listed[3], tasks).await?;
    tasks.spawn(watches::application_sets(ctx.clone(), shutdown.clone()));
    endless(tasks, watches::live(ctx.clone(), shutdown.clone()));
    Ok(())
}

/// Waits for a first list, or for the task that ends instead.
async fn first(
    started: &CancellationToken,
    tasks: &mut tokio::task::JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = started.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => {
            ended??;
            anyhow::bail!("a watch ended before its first list")
        }
    }
}
