//! What the acts are played on, and how it is looked at.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use github_double::{CommitStatus, Double, DoubleOptions};
use harness::{
    ControlPlane, ControlPlaneOptions, GitRepo, Lockstep, LockstepOptions, Tools, free_port, repository_root,
};
use resources::{Object, ObjectKey};
use serde_json::Value;

use crate::Args;

/// The forge's token, which is also the Git password.
const TOKEN: &str = "demo-token";

/// One cluster.
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// What was started for it.
    pub plane: ControlPlane,
    /// A client of the audience's, with an administrator's rights.
    pub cluster: Cluster,
    /// Where its worker serves reports.
    pub admin: u16,
}

/// Everything that runs.
pub struct Stage {
    /// dev, staging, previews.
    pub nonprod: Place,
    /// Production, unless there is one cluster only.
    pub prod: Option<Place>,
    /// The forge.
    pub forge: Double,
    /// Working copies of a member of the team.
    pub gitops: GitRepo,
    /// See `gitops`.
    pub gateway: GitRepo,
    /// The receiver's port.
    pub receiver: u16,
    lockstep: Lockstep,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Starts everything.
    pub async fn set(args: &Args) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-demo-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let (helm, kustomize) = (Tools::ensure("helm").await?, Tools::ensure("kustomize").await?);
        println!("starting {} and a forge", if args.one_cluster { "a cluster" } else { "two clusters" });
        let mut given = args.kubeconfig.iter().cloned();
        let (first, second) = (given.next(), given.next());
        let admin = pair_of_free_ports()?;
        let (nonprod, prod) = if args.one_cluster {
            (place("nonprod", first, admin).await?, None)
        } else {
            let (nonprod, prod) = tokio::try_join!(place("nonprod", first, admin), place("prod", second, admin + 1))?;
            (nonprod, Some(prod))
        };
        let forge = Double::start(DoubleOptions::new(at("forge")).token(TOKEN)).await?;
        let (gitops, gateway) = repositories(&forge, folder.path()).await?;

        let secret_file = at("webhook-secret");
        let token_file = at("forge-token");
        let credentials = at("git-credentials.yaml");
        std::fs::write(&token_file, TOKEN)?;
        std::fs::write(&credentials, format!("- url: {}\n  username: git\n  password: {TOKEN}\n", forge.url()))?;
        let binary = Lockstep::binary().await?;
        let receiver = free_port()?;
        let mut arguments = vec!["--log-format".to_owned(), "json".into(), "up".into()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for place in [Some(&nonprod), prod.as_ref()].into_iter().flatten() {
            option("--cluster", format!("{}={}", place.name, place.plane.kubeconfig.display()));
        }
        if let Some(bus) = &args.bus {
            option("--bus", bus.clone());
        }
        option("--data-dir", at("data").display().to_string());
        option("--listen", format!("127.0.0.1:{receiver}"));
        option("--worker-admin-port", nonprod.admin.to_string());
        option("--forge", format!("github={}", forge.api_url()));
        option("--forge-token-file", token_file.display().to_string());
        option("--git-credentials-file", credentials.display().to_string());
        option("--helm", helm.display().to_string());
        option("--kustomize", kustomize.display().to_string());
        option("--webhook-secret-file", secret_file.display().to_string());
        arguments.push("--forge-unlimited".into());

        // The secret exists before the receiver starts: installing the webhook makes it.
        let http = reqwest::Client::builder().no_proxy().build()?;
        let install = Install { binary: &binary, forge: &forge, receiver, secret: &secret_file, token: &token_file };
        install.run().await?;
        for place in [Some(&nonprod), prod.as_ref()].into_iter().flatten() {
            prepare(place).await?;
        }
        let lockstep = Lockstep::start(LockstepOptions {
            binary: Some(binary),
            arguments,
            environment: Vec::new(),
            log: at("lockstep.log"),
            ready: Some(format!("http://127.0.0.1:{receiver}/readyz")),
        })
        .await?;
        let stage = Self { nonprod, prod, forge, gitops, gateway, receiver, lockstep, http, folder };
        for place in stage.places() {
            let ready = async || stage.get(place, "readyz").await.filter(|(ok, _)| *ok).map(|_| ());
            until(Duration::from_secs(60), ready)
                .await
                .with_context(|| format!("the worker of {} is not ready", place.name))?;
        }
        Ok(stage)
    }

    /// The clusters there are.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        [Some(&self.nonprod), self.prod.as_ref()].into_iter().flatten()
    }

    /// A live object.
    pub async fn live(&self, place: &Place, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Object> {
        place.cluster.get(&ObjectKey::new(group, kind, namespace, name)).await.ok().flatten()
    }

    /// `sync/health` of an Application.
    pub async fn standing(&self, place: &Place, name: &str) -> Option<String> {
        let application = self.live(place, "argoproj.io", "Application", "argocd", name).await?;
        let text = |pointer: &str| application.at(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        Some(format!("{}/{}", text("/status/sync/status"), text("/status/health/status")))
    }

    /// The newest status of a context on a commit of a repository of `acme`.
    pub async fn check(&self, repository: &str, commit: &str, context: &str) -> Option<CommitStatus> {
        let statuses = self.forge.statuses("acme", repository, commit);
        statuses.into_iter().filter(|status| status.context == context).max_by_key(|status| status.id)
    }

    /// The reports that a worker has made lately.
    pub async fn reports(&self, place: &Place) -> Vec<Value> {
        let Some((_, body)) = self.get(place, "reports").await else { return Vec::new() };
        serde_json::from_str(&body).unwrap_or_default()
    }

    async fn get(&self, place: &Place, path: &str) -> Option<(bool, String)> {
        let answer = self.http.get(format!("http://127.0.0.1:{}/{path}", place.admin)).send().await.ok()?;
        Some((answer.status().is_success(), answer.text().await.ok()?))
    }

    /// The last lines that Lockstep wrote.
    pub fn end_of_log(&self, lines: usize) -> String {
        let log = self.lockstep.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// For whoever wants to look around.
    pub fn say_where_everything_is(&self) {
        println!("\neverything stays up until Ctrl-C:");
        for place in self.places() {
            println!("  cluster {:8} export KUBECONFIG={}", place.name, place.plane.kubeconfig.display());
            println!("  worker  {:8} http://127.0.0.1:{}/reports, /metrics", place.name, place.admin);
        }
        println!("  receiver         http://127.0.0.1:{}/metrics", self.receiver);
        println!("  forge            {} (token {TOKEN})", self.forge.url());
        println!("  git              git clone {}", with_token(&self.forge.clone_url("acme", "bitvault-gitops")));
        println!("  log              {}", self.folder.path().join("lockstep.log").display());
        println!("try: kubectl get applications -n argocd");
    }

    /// Stops everything in order.
    pub async fn strike(mut self) {
        let _ = self.lockstep.terminate(Duration::from_secs(15)).await;
        self.forge.stop().await;
    }

    /// Where a member of the team pushes to.
    pub fn push_url(&self, repository: &str) -> String {
        with_token(&self.forge.clone_url("acme", repository))
    }

    /// A file of the scene.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn place(name: &'static str, kubeconfig: Option<PathBuf>, admin: u16) -> anyhow::Result<Place> {
    let options = ControlPlaneOptions { name: name.into(), kubeconfig, ..Default::default() };
    let plane = ControlPlane::start_with(options).await?;
    let cluster = Cluster::connect(&Kubeconfig::file(&plane.kubeconfig), Options::default()).await?;
    Ok(Place { name, plane, cluster, admin })
}

/// A free port whose successor is free, too: the workers' admin ports are counted up from the first.
fn pair_of_free_ports() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = free_port()?;
        if std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two free ports in a row")
}

/// What an administrator does before: the CRDs and the namespace.
async fn prepare(place: &Place) -> anyhow::Result<()> {
    for crd in resources::crds() {
        place.cluster.apply(&crd, &ApplyOptions::default()).await?;
    }
    let namespace = serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } });
    place.cluster.apply(&Object(namespace), &ApplyOptions::default()).await?;
    for kind in ["Application", "ApplicationSet", "AppProject"] {
        let served =
            async || place.cluster.kind("argoproj.io", Some("v1alpha1"), kind).await.ok().flatten().map(|_| ());
        until(Duration::from_secs(20), served)
            .await
            .with_context(|| format!("{} does not serve {kind}", place.name))?;
    }
    Ok(())
}

/// The two repositories of the example, with addresses on this forge. The services are added in the first act.
async fn repositories(forge: &Double, folder: &Path) -> anyhow::Result<(GitRepo, GitRepo)> {
    let home = forge.clone_url("acme", "X");
    let home = home.trim_end_matches("X.git").trim_end_matches("X").trim_end_matches('/');
    let mut copies = Vec::new();
    for (name, source) in [("bitvault-gitops", "examples/bitvault-gitops"), ("gateway", "examples/gateway")] {
        let seed = folder.join(name);
        copy(&repository_root().join(source), &seed, &|text| {
            harness::without_freeze(&text.replace("https://github.com/acme", home))
        })?;
        if name == "bitvault-gitops" {
            std::fs::rename(seed.join("envs"), folder.join("envs"))?;
        }
        forge.create_repository("acme", name, Some(&seed)).await?;
        copies.push(GitRepo::clone(&with_token(&forge.clone_url("acme", name))).await?);
    }
    let gateway = copies.pop().context("no working copy")?;
    let gitops = copies.pop().context("no working copy")?;
    Ok((gitops, gateway))
}

/// Copies a folder, editing text on the way.
pub fn copy(from: &Path, to: &Path, edit: &dyn Fn(&str) -> String) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, edit)?;
        } else {
            std::fs::write(&target, edit(&std::fs::read_to_string(entry.path())?))?;
        }
    }
    Ok(())
}

fn with_token(url: &str) -> String {
    url.replacen("://", &format!("://git:{TOKEN}@"), 1)
}

/// `lockstep webhook install`, as a team runs it.
struct Install<'a> {
    binary: &'a Path,
    forge: &'a Double,
    receiver: u16,
    secret: &'a Path,
    token: &'a Path,
}

impl Install<'_> {
    async fn run(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(self.binary);
        command.args(["webhook", "install", "--url", &format!("http://127.0.0.1:{}/webhooks/github", self.receiver)]);
        command.arg("--forge").arg(format!("github={}", self.forge.api_url()));
        command.arg("--secret-file").arg(self.secret).arg("--token-file").arg(self.token);
        for repository in ["bitvault-gitops", "gateway"] {
            command.args(["--repository", &format!("{}/acme/{repository}", self.forge.url().trim_end_matches('/'))]);
        }
        let output = command.output().await?;
        anyhow::ensure!(
            output.status.success(),
            "lockstep webhook install failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("  {line}");
        }
        Ok(())
    }
}

/// Looks until there is something to see.
pub async fn until<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        if start.elapsed() > limit {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
