//! `lockstep up`: receiver and worker in one process, with the journal as its bus and the GitHub double as its forge. The way
//! from it to its cluster can be closed.

use std::time::Duration;

use anyhow::Result;
use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use harness::{ControlPlane, GitRepo, Lockstep, LockstepOptions, Passage, Tools, free_port};
use resources::Object;
use serde_json::json;
use tempfile::TempDir;

use crate::forge::{Forge, Kind};
use crate::site::Site;
use crate::stage::WorkingCopy;

/// Shared by the forge's webhooks and the receiver.
const SECRET: &str = "webhook-secret-of-the-story";

/// See the module's documentation.
#[derive(Debug)]
pub struct Together {
    /// The cluster; `worker` is the whole program.
    pub site: Site,
    /// The program's way to its cluster.
    pub passage: Passage,
    /// The forge.
    pub forge: Forge,
    /// Where webhooks come in: `http://127.0.0.1:PORT`.
    pub receiver_url: String,
    finished: bool,
    _folder: TempDir,
}

impl Together {
    /// Starts everything. The cluster has a namespace for the Applications, and no CRDs yet.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-e2e-").tempdir()?;
        let tools = [Tools::ensure("helm").await?, Tools::ensure("kustomize").await?];
        let forge = Forge::start(Kind::Github, folder.path()).await?;
        let plane = ControlPlane::start("dev").await?;
        let cluster = Cluster::connect(&Kubeconfig::file(&plane.kubeconfig), Options::default()).await?;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } });
        cluster.apply(&Object(namespace), &ApplyOptions::default()).await?;
        let passage = Passage::to(&plane.server).await?;
        let kubeconfig = passage.kubeconfig(&plane.kubeconfig)?;
        std::fs::write(folder.path().join("webhook-secret"), SECRET)?;
        std::fs::write(folder.path().join("forge-token"), forge.token())?;
        let receiver_url = format!("http://127.0.0.1:{}", free_port()?);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let arguments = vec![
            "up".to_owned(),
            format!("--cluster=dev={}", kubeconfig.display()),
            format!("--listen={}", receiver_url.trim_start_matches("http://")),
            format!("--webhook-secret-file={}", file("webhook-secret")),
            format!("--data-dir={}", file("data")),
            format!("--forge={}={}", forge.name(), forge.api_url()),
            format!("--forge-token-file={}", file("forge-token")),
            format!("--helm={}", tools[0].display()),
            format!("--kustomize={}", tools[1].display()),
            "--forge-unlimited".into(),
            "--poll-interval=0".into(),
            "--redelivery-interval=0".into(),
        ];
        let options = LockstepOptions {
            arguments,
            log: folder.path().join("up.log"),
            ready: Some(format!("{receiver_url}/readyz")),
            ..LockstepOptions::default()
        };
        let worker = Lockstep::start(options).await?;
        // Its workers serve no admin address.
        let site = Site { name: "dev".into(), worker, cluster, plane, admin: String::new() };
        Ok(Self { site, passage, forge, receiver_url, finished: false, _folder: folder })
    }

    /// Makes a repository `OWNER/NAME` with a first commit, its webhook, and the Secret `NAME` with its credentials.
    pub async fn repository(&self, name: &str, fill: impl FnOnce(&GitRepo) -> Result<()>) -> Result<WorkingCopy> {
        let copy = WorkingCopy::new(&self.forge, name, fill).await?;
        let (owner, short) = name.split_once('/').unwrap_or(("", name));
        let url = format!("{}/webhooks/github", self.receiver_url);
        self.forge.github()?.add_hook(owner, short, &url, Some(SECRET), &["push"]).await?;
        self.site
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {
                    "name": short, "namespace": "argocd",
                    "labels": { "argocd.argoproj.io/secret-type": "repository" },
                },
                "stringData": { "url": copy.url, "username": self.forge.user(), "password": self.forge.token() },
            }))
            .await?;
        Ok(copy)
    }

    /// The end of a story that went well: the program ends in order.
    pub async fn strike(mut self) -> Result<()> {
        self.finished = true;
        let ended = self.site.worker.terminate(Duration::from_secs(30)).await?;
        anyhow::ensure!(ended.success(), "lockstep up ends with {ended}:\n{}", self.site.worker.log());
        Ok(())
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        if !self.finished {
            eprintln!("--- the log of lockstep up:\n{}", crate::stage::last(&self.site.worker.log()));
        }
    }
}
