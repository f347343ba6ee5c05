//! Everything that runs for one story.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster::Cluster;
use harness::{ControlPlane, GitRepo, Lockstep, LockstepOptions, RabbitMq, Tools, free_port};
use tempfile::TempDir;

use crate::forge::{Check, Forge, Kind};
use crate::site::{self, Site};
use crate::wait::until;

/// Shared by the forge's webhooks and the receiver.
const SECRET: &str = "webhook-secret-of-the-stories";
/// Lines of each log that are printed when a story ends early.
const LAST_LINES: usize = 60;

/// Everything that runs for one story.
#[derive(Debug)]
pub struct Stage {
    /// The clusters with their workers, in the order of [`Stage::set`].
    pub sites: Vec<Site>,
    /// The receiver, a process of its own.
    pub receiver: Lockstep,
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub receiver_url: String,
    /// The forge.
    pub forge: Forge,
    /// The broker.
    pub broker: RabbitMq,
    finished: bool,
    folder: TempDir,
}

/// A repository as a member of the team has it.
#[derive(Debug)]
pub struct WorkingCopy {
    /// `OWNER/NAME`.
    pub name: String,
    /// The clone URL, as it appears in Applications.
    pub url: String,
    /// The working copy.
    pub git: GitRepo,
    push_url: String,
}

impl WorkingCopy {
    /// Makes a repository `OWNER/NAME` with a first commit.
    pub(crate) async fn new(forge: &Forge, name: &str, fill: impl FnOnce(&GitRepo) -> Result<()>) -> Result<Self> {
        let url = forge.create(name).await?;
        let git = GitRepo::new().await?;
        let login = format!("://{}:{}@", forge.user(), forge.token());
        let copy = Self { name: name.to_owned(), push_url: url.replacen("://", &login, 1), url, git };
        fill(&copy.git)?;
        copy.push("First").await?;
        Ok(copy)
    }

    /// Commits everything as it is, pushes it to `main`, and returns the commit.
    pub async fn push(&self, message: &str) -> Result<String> {
        self.push_to("main", message).await
    }

    /// Commits everything as it is, pushes it to a branch, and returns the commit.
    pub async fn push_to(&self, branch: &str, message: &str) -> Result<String> {
        let commit = self.git.commit(message).await?;
        self.push_commit(&commit, branch).await?;
        Ok(commit)
    }

    /// Makes `main` that commit, whatever it was before.
    pub async fn force(&self, commit: &str) -> Result<()> {
        let refs = format!("+{commit}:refs/heads/main");
        self.git.git(&["push", "--quiet", &self.push_url, &refs]).await.map(drop)
    }

    /// Pushes whatever a name means here to a full ref.
    pub async fn push_ref(&self, from: &str, to: &str) -> Result<()> {
        let refs = format!("{from}:{to}");
        self.git.git(&["push", "--quiet", &self.push_url, &refs]).await.map(drop)
    }

    /// Pushes a commit to a branch.
    pub async fn push_commit(&self, commit: &str, branch: &str) -> Result<()> {
        let refs = format!("{commit}:refs/heads/{branch}");
        self.git.git(&["push", "--quiet", &self.push_url, &refs]).await.map(drop)
    }
}

impl Stage {
    /// Starts a broker, a forge, a receiver, and for each name a cluster with its worker.
    pub async fn set(kind: Kind, clusters: &[&str]) -> Result<Self> {
        Self::redelivering(kind, clusters, "0").await
    }

    /// The same, with workers that ask the forge for failed deliveries in that interval.
    pub async fn redelivering(kind: Kind, clusters: &[&str], interval: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-e2e-").tempdir()?;
        // Both build what is missing; one after the other, so that their progress can be read.
        let tools = [Tools::ensure("helm").await?, Tools::ensure("kustomize").await?];
        let binary = Lockstep::binary().await?;
        let mut prepared = Vec::new();
        let (broker, forge) = tokio::try_join!(RabbitMq::start(), Forge::start(kind, folder.path()))?;
        for name in clusters {
            prepared.push((*name, site::prepare(name).await?));
        }
        std::fs::write(folder.path().join("webhook-secret"), SECRET)?;
        std::fs::write(folder.path().join("forge-token"), forge.token())?;
        let credentials =
            format!("- url: {}\n  username: {}\n  password: {}\n", forge.url(), forge.user(), forge.token());
        std::fs::write(folder.path().join("git-credentials.yaml"), credentials)?;
        let setting = Setting { folder: folder.path(), binary, tools, broker: &broker, forge: &forge, interval };
        let mut sites = Vec::new();
        for (name, (plane, cluster)) in prepared {
            sites.push(setting.site(name, plane, cluster).await?);
        }
        let (receiver, receiver_url) = setting.receiver().await?;
        Ok(Self { sites, receiver, receiver_url, forge, broker, finished: false, folder })
    }

    /// The first cluster.
    pub fn site(&self) -> &Site {
        &self.sites[0]
    }

    /// The first cluster, to stop and start things.
    pub fn site_mut(&mut self) -> &mut Site {
        &mut self.sites[0]
    }

    /// Another worker of the first cluster, with a data folder of its own: it stands by. It is not waited for.
    pub async fn replica(&self) -> Result<Lockstep> {
        let setting = Setting {
            folder: self.folder.path(),
            binary: Lockstep::binary().await?,
            tools: [Tools::ensure("helm").await?, Tools::ensure("kustomize").await?],
            broker: &self.broker,
            forge: &self.forge,
            interval: "0",
        };
        let site = self.site();
        let (arguments, _) = setting.worker(&site.name, &site.plane, "data-of-replica")?;
        setting.start(&format!("worker-{}-replica", site.name), arguments, None).await
    }

    /// A file of the story.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The secret that webhooks are signed with.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Makes a repository `OWNER/NAME` with a first commit, and then its webhook: the first commit is no delivery.
    pub async fn repository(&self, name: &str, fill: impl FnOnce(&GitRepo) -> Result<()>) -> Result<WorkingCopy> {
        let copy = WorkingCopy::new(&self.forge, name, fill).await?;
        self.install_webhook(&copy).await?;
        Ok(copy)
    }

    /// A working copy of a fork `OWNER/NAME` that the forge has, with what another has, on a new branch.
    pub async fn clone_of(&self, origin: &WorkingCopy, name: &str, branch: &str) -> Result<WorkingCopy> {
        let git = GitRepo::new().await?;
        git.git(&["fetch", "--quiet", &origin.push_url, "main"]).await?;
        git.git(&["checkout", "--quiet", "-B", branch, "FETCH_HEAD"]).await?;
        let other = |url: &str| url.replacen(&origin.name, name, 1);
        Ok(WorkingCopy { name: name.to_owned(), url: other(&origin.url), push_url: other(&origin.push_url), git })
    }

    async fn install_webhook(&self, copy: &WorkingCopy) -> Result<()> {
        let address = copy.url.trim_end_matches(".git").to_owned();
        let said = self
            .lockstep(&[
                "webhook".to_owned(),
                "install".into(),
                format!("--repository={address}"),
                format!("--url={}/webhooks/{}", self.receiver_url, self.forge.name()),
                format!("--forge={}={}", self.forge.name(), self.forge.api_url()),
                format!("--token-file={}", self.file("forge-token").display()),
                format!("--secret-file={}", self.file("webhook-secret").display()),
            ])
            .await?;
        ensure!(said.contains("created"), "lockstep webhook install says {said:?}");
        Ok(())
    }

    /// Runs a `lockstep` command to its end and returns what it prints.
    pub async fn lockstep(&self, arguments: &[String]) -> Result<String> {
        let mut command = tokio::process::Command::new(Lockstep::binary().await?);
        let output = command.args(arguments).kill_on_drop(true).output().await.context("cannot run lockstep")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lockstep {} failed: {errors}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until a commit has a check in this state whose sentence contains the words, and returns it.
    pub async fn expect(
        &self,
        copy: &WorkingCopy,
        commit: &str,
        context: &str,
        state: &str,
        words: &str,
    ) -> Result<Check> {
        until(&format!("{context} is {state} with {words:?} on {commit}"), async || {
            let mut checks = self.forge.checks(&copy.name, commit).await.map_err(|error| format!("{error:#}"))?;
            match checks.remove(context) {
                Some(check) if check.state == state && check.description.contains(words) => Ok(check),
                Some(check) => Err(format!("{check:?}")),
                None => Err(format!("there are only {checks:?}")),
            }
        })
        .await
    }

    /// The end of a story that went well: everything ends in order.
    pub async fn strike(mut self) -> Result<()> {
        self.finished = true;
        let limit = Duration::from_secs(30);
        self.receiver.terminate(limit).await.context("the receiver does not stop")?;
        for site in &mut self.sites {
            let ended = site.worker.terminate(limit).await.with_context(|| format!("the worker {}", site.name))?;
            ensure!(ended.success(), "the worker {} ends with {ended}:\n{}", site.name, last(&site.worker.log()));
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let workers = self.sites.iter().map(|site| (format!("worker {}", site.name), site.worker.log()));
        for (name, log) in workers.chain([("receiver".to_owned(), self.receiver.log())]) {
            eprintln!("--- the end of the log of {name}:\n{}", last(&log));
        }
        if let Some(folder) = std::env::var_os("LOCKSTEP_E2E_LOGS") {
            let _ = keep_logs(self.folder.path(), Path::new(&folder));
        }
    }
}

pub(crate) fn last(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn keep_logs(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// What the programs are started with.
struct Setting<'a> {
    folder: &'a Path,
    binary: PathBuf,
    /// Helm, Kustomize.
    tools: [PathBuf; 2],
    broker: &'a RabbitMq,
    forge: &'a Forge,
    /// How often the forge is asked for failed deliveries.
    interval: &'a str,
}

impl Setting<'_> {
    async fn start(&self, name: &str, arguments: Vec<String>, ready: Option<String>) -> Result<Lockstep> {
        let options = LockstepOptions {
            binary: Some(self.binary.clone()),
            arguments,
            environment: Vec::new(),
            log: self.folder.join(format!("{name}.log")),
            ready,
        };
        Lockstep::start(options).await
    }

    async fn receiver(&self) -> Result<(Lockstep, String)> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let arguments = vec![
            "receiver".to_owned(),
            format!("--bus={}", self.broker.url),
            format!("--listen=127.0.0.1:{port}"),
            format!("--webhook-secret-file={}", self.folder.join("webhook-secret").display()),
        ];
        Ok((self.start("receiver", arguments, Some(format!("{url}/readyz"))).await?, url))
    }

    /// The arguments of a worker, and where it says whether it is ready.
    fn worker(&self, name: &str, plane: &ControlPlane, data: &str) -> Result<(Vec<String>, String)> {
        let admin = free_port()?;
        let file = |name: &str| self.folder.join(name).display().to_string();
        let arguments = vec![
            "worker".to_owned(),
            format!("--bus={}", self.broker.url),
            format!("--cluster={name}"),
            format!("--kubeconfig={}", plane.kubeconfig.display()),
            format!("--admin-listen=127.0.0.1:{admin}"),
            format!("--data-dir={}", file(data)),
            format!("--forge={}={}", self.forge.name(), self.forge.api_url()),
            format!("--forge-token-file={}", file("forge-token")),
            format!("--git-credentials-file={}", file("git-credentials.yaml")),
            format!("--helm={}", self.tools[0].display()),
            format!("--kustomize={}", self.tools[1].display()),
            "--forge-unlimited".into(),
            "--poll-interval=0".into(),
            "--application-namespaces=team-*".into(),
            format!("--redelivery-interval={}", self.interval),
        ];
        Ok((arguments, format!("http://127.0.0.1:{admin}/readyz")))
    }

    async fn site(&self, name: &str, plane: ControlPlane, cluster: Cluster) -> Result<Site> {
        let (arguments, ready) = self.worker(name, &plane, "data")?;
        let admin = ready.trim_end_matches("/readyz").to_owned();
        let worker = self.start(&format!("worker-{name}"), arguments, Some(ready)).await?;
        Ok(Site { name: name.to_owned(), worker, cluster, plane, admin })
    }
}
