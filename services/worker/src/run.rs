//! Putting a worker together, and taking it apart in order.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Bus;
use cluster::{Cluster, Kubeconfig, LiveStore};
use engine::ownership::Tracking;
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
use crate::tasks::Tasks;
use crate::term::Household;
use crate::tracker::Tracker;
use crate::{reconcile, term};

/// Runs one worker until `shutdown`. An API server or a broker that goes away, a lease that is lost, a part that breaks: the worker
/// goes on by itself when it can, in the same process. An error means that it could not even begin, and that waiting does
/// not mend it: its configuration has to be corrected.
pub async fn run(config: WorkerConfig, bus: Arc<dyn Bus>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let cluster_name = config.cluster.clone();
    let shutdown = shutdown.child_token();
    let metrics = Metrics::new("lockstep");
    let house = household(config, bus, &metrics).await?;
    let admin = serve_admin(&house, metrics, &shutdown)?;
    let ended = term::all(&house, &shutdown).await;
    shutdown.cancel();
    if let Some(admin) = admin {
        let _ = admin.await;
    }
    ended.with_context(|| format!("worker {cluster_name} stopped"))
}

async fn household(config: WorkerConfig, bus: Arc<dyn Bus>, metrics: &Metrics) -> anyhow::Result<Household> {
    let from = match &config.kubeconfig {
        Some(path) => Kubeconfig::File { path: path.clone(), context: config.context.clone() },
        None => Kubeconfig::InCluster,
    };
    let options = cluster::Options { field_manager: "lockstep".into(), ..cluster::Options::default() };
    let connected = Cluster::connect(&from, options).await;
    let cluster = connected.with_context(|| format!("cannot reach cluster {}", config.cluster))?;
    crate::metrics::register_requests(metrics, &cluster);
    let readiness = Readiness::default();
    readiness.set("started", Err("the cluster's applications have not been listed yet".into()));
    let credentials = Arc::new(SecretCredentials::new());
    let (git, renderer) = tools(&config, credentials.clone()).await?;
    crate::metrics::register_renders(metrics, &renderer);
    tell_sandbox(&renderer.sandbox(), &readiness);
    Ok(Household {
        forges: forges(&config)?,
        identity: identity(&config)?,
        publisher: Publisher::start(bus.clone(), &config.cluster),
        reports: Arc::new(ReportLog::start(bus.clone())),
        metrics: WorkerMetrics::register(metrics),
        config,
        bus,
        cluster,
        credentials,
        git,
        renderer,
        readiness,
    })
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

/// A context without a term: for a program that looks and does not work.
pub(crate) async fn context(
    config: WorkerConfig,
    cluster: Cluster,
    bus: Arc<dyn Bus>,
    metrics: &Metrics,
    credentials: Arc<SecretCredentials>,
    forges: Forges,
) -> anyhow::Result<Context> {
    let (git, renderer) = tools(&config, credentials.clone()).await?;
    let house = Household {
        identity: Identity::nobody(),
        publisher: Publisher::start(bus.clone(), &config.cluster),
        reports: Arc::new(ReportLog::start(bus.clone())),
        metrics: WorkerMetrics::register(metrics),
        readiness: Readiness::default(),
        config,
        bus,
        cluster: cluster.clone(),
        credentials,
        forges,
        git,
        renderer,
    };
    assemble(&house, cluster).await
}

/// What fetches and what renders.
async fn tools(config: &WorkerConfig, credentials: Arc<SecretCredentials>) -> anyhow::Result<(Git, Renderer)> {
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
    Ok((git, renderer))
}

/// A context with nothing in it yet; what `cluster` writes, it writes as that term.
pub(crate) async fn assemble(house: &Household, cluster: Cluster) -> anyhow::Result<Context> {
    let options = &house.config.options;
    let capabilities =
        Capabilities { version: cluster.version().await?, api_versions: cluster.api_versions().await?.into() };
    let settings = ObjectKey::new("", "ConfigMap", &options.namespace, CONFIG_MAP);
    let tracking = crate::customizations::tracking(cluster.get(&settings).await?.as_ref());
    Ok(with(house, cluster, capabilities, tracking))
}

fn with(house: &Household, cluster: Cluster, capabilities: Capabilities, tracking: Tracking) -> Context {
    let config = house.config.clone();
    let options = &config.options;
    let owner_of = {
        let tracking = tracking.clone();
        Arc::new(move |object: &resources::Object| engine::ownership::owner_of(object, &tracking))
    };
    let managers = vec![cluster.field_manager().to_owned(), reconcile::ARGO_CD.to_owned()];
    let live = LiveStore::with_managers(cluster.clone(), owner_of, managers);
    Context {
        live,
        git: house.git.clone(),
        renderer: house.renderer.clone(),
        publisher: house.publisher.clone(),
        reports: house.reports.clone(),
        tasks: Tasks::default(),
        registry: Default::default(),
        projects: Default::default(),
        application_sets: ApplicationSets::new(house.forges.clone()),
        heads: Default::default(),
        lanes: Default::default(),
        queue: Default::default(),
        metrics: house.metrics.clone(),
        capabilities: std::sync::Mutex::new(capabilities),
        troubles: Default::default(),
        customizations: Default::default(),
        tracking,
        listed: Default::default(),
        depending: Default::default(),
        index: Default::default(),
        tracker: std::sync::Mutex::new(Tracker::new(&config.cluster, &options.namespace, options.checks_per_commit)),
        previewed: Default::default(),
        control: cluster.managed_as("lockstep-status"),
        cluster,
        bus: house.bus.clone(),
        config,
    }
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
    house: &Household,
    metrics: Metrics,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<tokio::task::JoinHandle<Result<(), telemetry::TelemetryError>>>> {
    let Some(address) = house.config.admin_listen else { return Ok(None) };
    let shared = house.reports.clone();
    let admin = Admin::new(metrics, house.readiness.clone()).with_routes(move |routes| {
        let reports = shared.clone();
        routes.route(
            "/reports",
            actix_web::web::get().to(move || {
                let reports = reports.clone();
                async move { actix_web::web::Json::<Value>(reports.to_json()) }
            }),
        );
    });
    let bound = admin.bind(address)?;
    tracing::info!(address = %bound.address(), "admin.listening");
    Ok(Some(tokio::spawn(bound.run(shutdown.clone()))))
}

/// Deliveries wait until it is known what each application reads: before that, every push would seem to concern every one.
/// Renders are kept on disk, so this takes long only where there is nothing on disk; and not forever.
pub(crate) async fn first_renders(ctx: &Context) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while tokio::time::Instant::now() < deadline {
        if ctx.registry.all().iter().all(|managed| managed.state().rendered_once) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Names a replica in the lease. Whoever has the same data folder is the same replica, so a worker that was killed takes its own
/// lease back at once.
pub(crate) struct Identity {
    pub name: String,
    /// Locked for as long as the process lives.
    _file: Option<File>,
}

impl Identity {
    fn nobody() -> Self {
        Self { name: String::new(), _file: None }
    }
}

fn identity(config: &WorkerConfig) -> anyhow::Result<Identity> {
    let path = config.options.data_dir.join(&config.cluster).join("identity");
    let cannot = || format!("cannot use {}", path.display());
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(cannot)?;
    let new = || {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}_{}", host.trim(), uuid::Uuid::new_v4()).trim_start_matches('_').to_owned()
    };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        tracing::warn!(folder = %path.display(), "identity.taken: another worker has this data folder; give each its own");
        return Ok(Identity { name: new(), _file: None });
    }
    let mut name = String::new();
    file.read_to_string(&mut name).with_context(cannot)?;
    if name.trim().is_empty() {
        name = new();
        file.write_all(name.as_bytes()).with_context(cannot)?;
    }
    Ok(Identity { name: name.trim().to_owned(), _file: Some(file) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A context in which nothing runs, and the folder and the household that it needs. No API server is behind it.
    pub(crate) async fn idle() -> (Arc<Context>, (tempfile::TempDir, Household)) {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:9" } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let mut config = crate::config::tests::config("dev", folder.path());
        config.kubeconfig = Some(kubeconfig);
        let bus = bus::connect(&format!("journal:{}", folder.path().join("bus.db").display())).await.unwrap();
        let house = household(config, bus, &Metrics::new("test")).await.unwrap();
        let ctx = Arc::new(with(&house, house.cluster.clone(), Capabilities::default(), Default::default()));
        (ctx, (folder, house))
    }

    #[tokio::test]
    async fn requests_are_counted_by_class() {
        let metrics = Metrics::new("lockstep");
        let (_, (_folder, house)) = idle().await;
        crate::metrics::register_requests(&metrics, &house.cluster);
        let page = metrics.encode();
        for line in ["api_requests_in_flight{class=\"control\"} 0", "api_requests_waiting{class=\"bulk\"} 0"] {
            assert!(page.contains(&format!("lockstep_worker_{line}\n")), "{page}");
        }
    }

    #[test]
    fn a_data_folder_is_one_replica_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("dev")).unwrap();
        let config = crate::config::tests::config("dev", folder.path());
        let first = identity(&config).unwrap();
        assert_ne!(identity(&config).unwrap().name, first.name, "it is in use");
        let name = first.name.clone();
        drop(first);
        assert_eq!(identity(&config).unwrap().name, name, "as after a kill");
    }
}
