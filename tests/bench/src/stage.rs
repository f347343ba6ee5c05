//! One cluster, one forge with one repository, and Lockstep with the journal as its bus.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use forge::webhook::Secret;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use github_double::{Double, DoubleOptions};
use harness::{ControlPlane, Lockstep, LockstepOptions, Tools, free_port};
use resources::Object;
use serde_json::{Value, json};

use crate::source::{self, NAME, OWNER, Source};
use crate::table::Row;
use crate::{http, machine, progress};

/// Lockstep's name of the cluster.
pub const CLUSTER: &str = "bench";
/// Where the Applications put their objects.
pub const NAMESPACE: &str = "bench";
/// Where the bare programs put theirs.
pub const FLOOR: &str = "floor";
const TOKEN: &str = "ghp_bench";
const SECRET: &str = "a-secret-of-the-benchmark";
/// What Lockstep may need at most, with 1,000 applications.
const MEMORY_MB: f64 = 120.0;

/// See the module's documentation. What is dropped first is first.
pub struct Stage {
    lockstep: Option<Lockstep>,
    /// The forge.
    pub forge: Double,
    /// Its repository.
    pub source: Source,
    /// The cluster as the bare programs reach it.
    pub cluster: Cluster,
    plane: ControlPlane,
    /// How many applications there are.
    pub count: usize,
    /// The kustomize program.
    pub kustomize: PathBuf,
    log_filter: String,
    receiver: u16,
    admin: u16,
    web: reqwest::Client,
    folder: tempfile::TempDir,
}

/// What the process needs, in MB.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Resident now.
    resident: f64,
    /// Resident at most so far.
    highest: f64,
}

impl Stage {
    /// Starts everything but Lockstep, and creates the Applications.
    pub async fn set(count: usize, pushes: usize, log_filter: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-bench-").tempdir()?;
        let kustomize = Tools::ensure("kustomize").await?;
        let plane = ControlPlane::start(CLUSTER).await?;
        let cluster = Cluster::connect(&Kubeconfig::file(&plane.kubeconfig), Options::default()).await?;
        let forge = Double::start(DoubleOptions::new(folder.path().join("forge")).token(TOKEN)).await?;
        forge.create_repository(OWNER, NAME, None).await?;
        let path = forge.repository_path(OWNER, NAME).context("the forge has no repository")?;
        let (url, api) = (forge.clone_url(OWNER, NAME), forge.api_url().to_owned());
        let source = Source::fill(path, url, api, count, pushes).await?;
        let stage = Self {
            lockstep: None,
            forge,
            source,
            cluster,
            plane,
            count,
            kustomize,
            log_filter: log_filter.to_owned(),
            receiver: free_port()?,
            admin: free_port()?,
            web: reqwest::Client::builder().no_proxy().build()?,
            folder,
        };
        stage.prepare().await?;
        Ok(stage)
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        for crd in resources::crds() {
            self.cluster.apply(&crd, &ApplyOptions::default()).await?;
        }
        for name in ["argocd", NAMESPACE, FLOOR] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            self.cluster.apply(&Object(namespace), &ApplyOptions::default()).await?;
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.cluster.kind("argoproj.io", Some("v1alpha1"), "Application").await?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "the cluster does not serve Applications");
        }
        let started = Instant::now();
        let creations = (0..self.count).map(|application| {
            let object = self.application(application);
            async move {
                // Discovery may know the kind a moment before the API server takes objects of it.
                let options = ApplyOptions::default();
                loop {
                    match self.cluster.create(&object, &options).await {
                        Err(error) if error.is_not_found() && started.elapsed() < Duration::from_secs(30) => {}
                        done => return done.map(drop).map_err(anyhow::Error::from),
                    }
                }
            }
        });
        stream::iter(creations).buffer_unordered(16).try_collect::<Vec<()>>().await?;
        progress(&format!("{} Applications created in {:.1} s", self.count, started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn application(&self, application: usize) -> Object {
        Object(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": source::name(application), "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": self.source.url, "targetRevision": "main", "path": source::folder(application),
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": NAMESPACE },
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
        }))
    }

    /// Starts `lockstep up`, without waiting for anything.
    pub async fn start_lockstep(&mut self) -> anyhow::Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::write(at("token"), TOKEN)?;
        std::fs::write(at("secret"), SECRET)?;
        let credentials = format!("- url: {}\n  username: git\n  password: {TOKEN}\n", self.forge.url());
        std::fs::write(at("credentials.yaml"), credentials)?;
        let mut arguments = vec!["up".to_owned(), "--forge-unlimited".to_owned()];
        let kubeconfig = self.plane.kubeconfig.display();
        for (option, value) in [
            ("--cluster", format!("{CLUSTER}={kubeconfig}")),
            ("--data-dir", at("data").display().to_string()),
            ("--listen", format!("127.0.0.1:{}", self.receiver)),
            ("--worker-admin-port", self.admin.to_string()),
            ("--forge", format!("github={}", self.forge.api_url())),
            ("--forge-token-file", at("token").display().to_string()),
            ("--git-credentials-file", at("credentials.yaml").display().to_string()),
            ("--webhook-secret-file", at("secret").display().to_string()),
            ("--kustomize", self.kustomize.display().to_string()),
            // Only webhooks tell of commits here.
            ("--poll-interval", "24h".to_owned()),
            ("--redelivery-interval", "0".to_owned()),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        let options = LockstepOptions {
            binary: Some(Lockstep::binary().await?),
            arguments,
            environment: vec![("RUST_LOG".to_owned(), self.log_filter.clone())],
            log: at("lockstep.log"),
            ready: None,
        };
        self.lockstep = Some(Lockstep::start(options).await?);
        Ok(())
    }

    /// Fails early if Lockstep has ended.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        let running = self.lockstep.as_mut().is_some_and(Lockstep::is_running);
        anyhow::ensure!(running, "lockstep has ended");
        Ok(())
    }

    /// A connection to the receiver.
    pub async fn connect(&self) -> anyhow::Result<http::Connection> {
        http::Connection::open(self.receiver).await
    }

    /// Signs a webhook.
    pub fn request_head(&self, body: &[u8]) -> anyhow::Result<String> {
        Ok(source::request_head(&Secret::new(SECRET)?, body))
    }

    /// What `git -c http.extraHeader=…` needs.
    pub fn git_header(&self) -> String {
        format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("git:{TOKEN}")))
    }

    /// What the worker did lately.
    pub async fn reports(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.web.get(format!("http://127.0.0.1:{}/reports", self.admin)).send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the `lockstep` process needs now, without the programs that it starts.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let pid = self.lockstep.as_ref().and_then(Lockstep::pid).context("lockstep is not running")?;
        let read = |name: &str| {
            let value = machine::field(&format!("/proc/{pid}/status"), name)?;
            value.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0 / 1e6)
        };
        let (resident, highest) =
            read("VmRSS").zip(read("VmHWM")).context("the system does not tell a process's memory")?;
        Ok(Memory { resident, highest })
    }

    /// A file or folder of this stage.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lockstep's log.
    pub fn log(&self) -> String {
        self.lockstep.as_ref().map(Lockstep::log).unwrap_or_default()
    }

    /// Its last lines.
    pub fn end_of_log(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Stops everything in order.
    pub async fn strike(mut self) {
        if let Some(mut lockstep) = self.lockstep.take() {
            let _ = lockstep.terminate(Duration::from_secs(15)).await;
        }
        self.forge.stop().await;
    }
}

/// Memory after the first sync and at the end.
pub fn memory_rows(count: usize, first: &Memory, last: &Memory) -> Vec<Row> {
    let row = |what: &str, value: f64| Row {
        what: format!("{what}, {count} applications"),
        lockstep: format!("{value:.0} MB"),
        absolute: (count == 1000).then(|| (format!("≤ {MEMORY_MB} MB"), value <= MEMORY_MB)),
        ..Row::default()
    };
    let highest = Row { absolute: None, ..row("at most", last.highest) };
    vec![row("after the first sync", first.resident), row("at the end", last.resident), highest]
}
