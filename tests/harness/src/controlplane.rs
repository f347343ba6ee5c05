//! A Kubernetes cluster of one's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::process::{Process, Program, free_port, last_lines, signal};
use crate::tools::{Tools, on_path};

/// Three seconds on an idle machine, and much longer on one that compiles at the same time.
const START_LIMIT: Duration = Duration::from_secs(180);

/// What kind of cluster is wanted.
#[derive(Clone, Debug, Default)]
pub struct ControlPlaneOptions {
    /// Name of the cluster and of its context in the kubeconfig.
    pub name: String,
    /// Use this cluster instead of starting one.
    pub kubeconfig: Option<PathBuf>,
    /// Other users, as `NAME` or `NAME=GROUP,GROUP`; each gets a kubeconfig of its own.
    pub users: Vec<String>,
    /// An API server is enough: Deployments stay without pods. Then `kube-apiserver` and `etcd` of `KUBEBUILDER_ASSETS`
    /// or PATH will do.
    pub api_only: bool,
}

/// A cluster, stopped and removed when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Name of the cluster.
    pub name: String,
    /// A kubeconfig file of an administrator.
    pub kubeconfig: PathBuf,
    /// The API server's address.
    pub server: String,
    source: Source,
    // After what uses it: fields are dropped in this order.
    directory: Option<TempDir>,
}

#[derive(Debug)]
enum Source {
    Given,
    Local(Box<Local>),
    Binaries(Box<Binaries>),
}

impl ControlPlane {
    /// Starts a cluster with controllers and a stand-in for nodes.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_with(ControlPlaneOptions { name: name.to_owned(), ..Default::default() }).await
    }

    /// Starts, or takes, a cluster: the given kubeconfig; `kube-apiserver` and `etcd` in `KUBEBUILDER_ASSETS` or on PATH
    /// where an API server is enough; the local control plane, built from `deploy/local/controlplane`.
    pub async fn start_with(options: ControlPlaneOptions) -> Result<Self> {
        let name = if options.name.is_empty() { "local".to_owned() } else { options.name.clone() };
        if let Some(kubeconfig) = options.kubeconfig {
            ensure!(kubeconfig.is_file(), "there is no kubeconfig {}", kubeconfig.display());
            return Ok(Self { name, kubeconfig, server: String::new(), source: Source::Given, directory: None });
        }
        let directory = tempfile::Builder::new().prefix(&format!("lockstep-{name}-")).tempdir()?;
        let (server, source) = match binaries().filter(|_| options.api_only && options.users.is_empty()) {
            Some((api, etcd)) => {
                let binaries = Binaries::start(&name, directory.path(), api, etcd).await?;
                (binaries.server(), Source::Binaries(Box::new(binaries)))
            }
            None => {
                let program = Tools::ensure("controlplane").await.context(
                    "no cluster is to be had: pass --kubeconfig, or install Go 1.26 so that the local control plane can be built",
                )?;
                let (local, server) = Local::start(&program, &name, directory.path(), &options.users).await?;
                (server, Source::Local(Box::new(local)))
            }
        };
        let kubeconfig = directory.path().join("kubeconfig");
        Ok(Self { name, kubeconfig, server, source, directory: Some(directory) })
    }

    /// The kubeconfig of another user; see [`ControlPlaneOptions::users`].
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.kubeconfig.with_file_name(format!("kubeconfig-{user}"))
    }

    /// Whether pods, volumes and addresses come and go here, so that workloads become healthy.
    pub fn runs_workloads(&self) -> bool {
        !matches!(self.source, Source::Binaries(_))
    }

    /// The folder with the components' logs, if the cluster is ours.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(TempDir::path)
    }

    /// Kills the API server: connections break, and new ones are refused until [`ControlPlane::resume`].
    pub async fn pause(&mut self) -> Result<()> {
        match &mut self.source {
            Source::Given => bail!("a cluster that was given is not stopped"),
            Source::Local(local) => local.command("pause", "stopped").await,
            Source::Binaries(binaries) => binaries.pause().await,
        }
    }

    /// Starts the API server again, with its port and its data, and returns when it is ready.
    pub async fn resume(&mut self) -> Result<()> {
        match &mut self.source {
            Source::Given => bail!("a cluster that was given is not started"),
            Source::Local(local) => local.command("resume", "ready").await,
            Source::Binaries(binaries) => binaries.resume().await,
        }
    }

    /// Kills the API server and starts it again.
    pub async fn restart(&mut self) -> Result<()> {
        self.pause().await?;
        self.resume().await
    }

    /// Freezes everything: connections stay open, and nothing answers until [`ControlPlane::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends [`ControlPlane::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        match &self.source {
            Source::Given => {}
            Source::Local(local) => signal(name, &format!("-{}", local.pid)),
            Source::Binaries(binaries) => {
                for process in binaries.api.iter().chain(&binaries.etcd) {
                    process.signal_all(name);
                }
            }
        }
    }
}

/// Our own control plane. It watches its input itself, and ends with it.
#[derive(Debug)]
struct Local {
    child: Child,
    pid: u32,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Local {
    async fn start(program: &Path, name: &str, directory: &Path, users: &[String]) -> Result<(Self, String)> {
        let log = directory.join("controlplane.log");
        let mut command = Command::new(program);
        command.arg("-dir").arg(directory).args(["-name", name, "-stdin", "-ephemeral"]);
        for user in users {
            command.args(["-user", user]);
        }
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id().context("the control plane ended at once")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the control plane has no output")?;
        let mut local = Self { child, pid, input, lines: BufReader::new(output).lines(), log };
        let ready = local.answer().await?;
        let server = ready["server"].as_str().context("the control plane does not say its address")?.to_owned();
        Ok((local, server))
    }

    async fn command(&mut self, command: &str, expected: &str) -> Result<()> {
        let input = self.input.as_mut().context("the control plane takes no commands any more")?;
        input.write_all(format!("{command}\n").as_bytes()).await?;
        let answer = self.answer().await?;
        ensure!(answer["api"] == expected, "{command}: the control plane answers {answer}");
        Ok(())
    }

    async fn answer(&mut self) -> Result<Value> {
        match tokio::time::timeout(START_LIMIT, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok(serde_json::from_str(&line)?),
            Ok(_) => bail!("the control plane ended\n{}", last_lines(&self.log)),
            Err(_) => bail!("the control plane does not answer after {START_LIMIT:?}\n{}", last_lines(&self.log)),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // It may have been frozen.
        signal("CONT", &format!("-{}", self.pid));
        drop(self.input.take());
        let limit = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                signal("KILL", &format!("-{}", self.pid));
                let _ = self.child.start_kill();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `kube-apiserver` and `etcd`, as kubebuilder's test tools bring them.
fn binaries() -> Option<(PathBuf, PathBuf)> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let find = |name: &str| {
        let asset = assets.as_ref().map(|folder| folder.join(name)).filter(|file| file.is_file());
        asset.or_else(|| on_path(name))
    };
    Some((find("kube-apiserver")?, find("etcd")?))
}

/// A bare API server with its etcd.
#[derive(Debug)]
struct Binaries {
    api: Option<Process>,
    etcd: Option<Process>,
    program: Program,
    port: u16,
    token: String,
}

impl Binaries {
    async fn start(name: &str, directory: &Path, api: PathBuf, etcd: PathBuf) -> Result<Self> {
        let (port, client, peer) = (free_port()?, free_port()?, free_port()?);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let mut etcd = Program::new(etcd, directory.join("etcd.log")).arguments([
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls={}", url(client)),
            format!("--advertise-client-urls={}", url(client)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=default={}", url(peer)),
            "--unsafe-no-fsync".to_owned(),
        ]);
        etcd.scratch = Some(directory.to_owned());
        let token = hex::encode(rand::random::<[u8; 24]>());
        std::fs::write(directory.join("tokens.csv"), format!("{token},admin,admin,system:masters\n"))?;
        let (private, public) = signing_key()?;
        std::fs::write(directory.join("accounts.key"), private)?;
        std::fs::write(directory.join("accounts.pub"), public)?;
        let program = Program::new(api, directory.join("kube-apiserver.log")).arguments([
            format!("--etcd-servers={}", url(client)),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", path("certificates")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("accounts.pub")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection,ResourceQuota".to_owned(),
        ]);
        let etcd = etcd.start()?;
        let mut this = Self { api: None, etcd: Some(etcd), program, port, token };
        this.resume().await?;
        let authority = std::fs::read(directory.join("certificates/apiserver.crt"))?;
        std::fs::write(directory.join("kubeconfig"), this.kubeconfig(name, &authority).to_string())?;
        Ok(this)
    }

    fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    async fn pause(&mut self) -> Result<()> {
        let mut api = self.api.take().context("the API server is not running")?;
        api.kill().await?;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        ensure!(self.api.is_none(), "the API server is running already");
        let mut api = self.program.start()?;
        // Its certificate is made at the first start and is not known to us yet: whether it is ready is asked without
        // looking at it, and nothing is sent.
        api.ready(&format!("{}/readyz", self.server()), START_LIMIT).await?;
        self.api = Some(api);
        Ok(())
    }

    fn kubeconfig(&self, name: &str, authority: &[u8]) -> Value {
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.server(), "certificate-authority-data": authority}}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        })
    }
}

/// A new key pair for service account tokens, in PEM: the private and the public key.
fn signing_key() -> Result<(String, String)> {
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    /// A public key of P-256 up to its point (RFC 5480).
    const PUBLIC: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let random = ring::rand::SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| anyhow::anyhow!("cannot make a key"))?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random)
        .map_err(|reason| anyhow::anyhow!("cannot read the key that was made: {reason}"))?;
    let pem = |label: &str, bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let public = [&PUBLIC, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn listens(server: &str) -> bool {
        TcpStream::connect(server.trim_start_matches("https://")).is_ok()
    }

    #[tokio::test]
    async fn a_cluster_stops_starts_and_leaves_nothing() {
        let mut cluster = ControlPlane::start_with(ControlPlaneOptions {
            name: "test".into(),
            users: vec!["viewer=readers".into()],
            ..Default::default()
        })
        .await
        .unwrap();
        let server = cluster.server.clone();
        assert!(listens(&server) && cluster.runs_workloads());
        let text = std::fs::read_to_string(cluster.kubeconfig_of("viewer")).unwrap();
        assert!(text.contains(&server) && !text.contains("insecure"));
        cluster.pause().await.unwrap();
        assert!(!listens(&server));
        cluster.resume().await.unwrap();
        assert!(listens(&server));
        let folder = cluster.directory().unwrap().to_owned();
        drop(cluster);
        assert!(!listens(&server) && !folder.exists());
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_an_error() {
        let options = ControlPlaneOptions { kubeconfig: Some("/no/such/file".into()), ..Default::default() };
        assert!(ControlPlane::start_with(options).await.unwrap_err().to_string().contains("/no/such/file"));
    }
}
