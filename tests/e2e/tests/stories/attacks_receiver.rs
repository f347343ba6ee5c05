//! Hostile clients at the receiver's port. Under each of them a forge's signed webhook is taken, and the receiver, a process
//! of its own, keeps within its memory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::{Lockstep, LockstepOptions, RabbitMq, free_port};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SECRET: &str = "a-secret-of-the-attacked";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const MIB: usize = 1024 * 1024;
/// What the receiver may have had at its highest.
const MEMORY: usize = 200 * MIB;
/// Webhooks of a forge that are sent, one after another, before an attack ends.
const PROBES: usize = 40;
/// How long one of them may take before the test fails; a forge waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_large_bodies_without_a_signature() -> Result<()> {
    let target = Target::start(None).await?;
    let body = Arc::new(vec![b'x'; 25 * MIB]);
    let request = Request { head: head("", body.len()), body };
    let figures = target.under(move |address| fifty(address, vec![request.clone()], &[401])).await?;
    figures.within("fifty bodies of 25 MiB without a signature")
}

/// A signature that is none can be told only when the body is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_large_bodies_with_a_forged_signature() -> Result<()> {
    let target = Target::start(None).await?;
    let forged = signature_header(&"0".repeat(64));
    let large = Arc::new(vec![b'x'; 25 * MIB]);
    let small = Arc::new(vec![b'x'; 200 * 1024]);
    let requests = [large, small].map(|body| Request { head: head(&forged, body.len()), body });
    let figures = target.under(move |address| fifty(address, requests.to_vec(), &[401, 408, 503])).await?;
    figures.within("fifty bodies of 25 MiB and 200 KiB with a forged signature")
}

/// Somebody who knows the secret, and pushes what costs the most to read. All are taken in the end, as a forge or a person
/// sends again what was refused for want of memory or time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_signed_pushes_of_five_megabytes() -> Result<()> {
    let target = Target::start(None).await?;
    let requests: Vec<Request> = large_pushes().into_iter().map(signed).collect();
    let figures = target.under(move |address| until_taken(address, requests.clone())).await?;
    figures.within("fifty signed pushes of 5 MB")
}

/// More connections than the receiver may have files, which say nothing, half of a head, or a head and no body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_at_the_limit_of_open_files() -> Result<()> {
    let forged = head(&signature_header(&"0".repeat(64)), 100);
    let half = forged[..forged.len() / 2].to_owned();
    let endless = format!("POST /webhooks/github HTTP/1.1\r\nhost: x\r\n{}", "x-a: b".repeat(2_600));
    for (what, text) in [("nothing", String::new()), ("half a head", half), ("no body", forged), ("no end", endless)] {
        let target = Target::start(Some(256)).await?;
        let held = idle(target.address, 700, text.as_bytes()).await;
        let figures = target.beside(held).await?;
        figures.within(&format!("700 connections that send {what}, with 256 files"))?;
    }
    Ok(())
}

/// A receiver that is attacked.
struct Target {
    receiver: Lockstep,
    address: SocketAddr,
    broker: RabbitMq,
    _folder: tempfile::TempDir,
}

/// What was seen during an attack.
struct Figures {
    took: Vec<Duration>,
    peak: usize,
}

impl Target {
    async fn start(open_files: Option<u32>) -> Result<Self> {
        let broker = RabbitMq::start().await?;
        let folder = tempfile::Builder::new().prefix("lockstep-attacked-").tempdir()?;
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, SECRET)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let program = Lockstep::binary().await?.display().to_string();
        // The shell's limits are both the soft and the hard one, and its process becomes the receiver's.
        let limits = open_files.map(|files| format!("ulimit -n {files}; ")).unwrap_or_default();
        let arguments = [
            "-c".to_owned(),
            format!("{limits}exec \"$0\" \"$@\""),
            program,
            "receiver".to_owned(),
            format!("--bus={}", broker.url),
            format!("--listen={address}"),
            format!("--admin-listen={admin}"),
            format!("--webhook-secret-file={}", secret_file.display()),
        ];
        let receiver = Lockstep::start(LockstepOptions {
            binary: Some("/bin/sh".into()),
            arguments: arguments.into(),
            log: folder.path().join("receiver.log"),
            ready: Some(format!("http://{admin}/readyz")),
            ..LockstepOptions::default()
        })
        .await?;
        Ok(Self { receiver, address, broker, _folder: folder })
    }

    /// Sends a forge's webhooks while an attack is made again and again.
    async fn under<F>(self, attack: impl Fn(SocketAddr) -> F + Send + 'static) -> Result<Figures>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let (address, enough) = (self.address, Arc::new(AtomicBool::new(false)));
        let until = enough.clone();
        let attack = tokio::spawn(async move {
            while !until.load(Ordering::Acquire) {
                attack(address).await?;
            }
            anyhow::Ok(())
        });
        let webhook = signed(push(20_000));
        let mut took = Vec::new();
        while !attack.is_finished() {
            took.push(self.probe(&webhook).await?);
            enough.store(took.len() >= PROBES, Ordering::Release);
        }
        attack.await??;
        self.end(took).await
    }

    /// Sends a forge's webhooks while an attack goes on by itself.
    async fn beside(self, held: JoinSet<()>) -> Result<Figures> {
        let webhook = signed(push(20_000));
        let mut took = Vec::new();
        while took.len() < PROBES {
            took.push(self.probe(&webhook).await?);
        }
        drop(held);
        self.end(took).await
    }

    async fn probe(&self, webhook: &Request) -> Result<Duration> {
        let begun = Instant::now();
        let sent = tokio::time::timeout(PATIENCE, webhook.send(self.address)).await;
        let status = sent.context("a signed webhook under attack gets no answer")??;
        ensure!(status == 202, "a signed webhook under attack: {status}\n{}", self.receiver.log());
        Ok(begun.elapsed())
    }

    async fn end(mut self, took: Vec<Duration>) -> Result<Figures> {
        ensure!(self.receiver.is_running(), "the receiver has ended\n{}", self.receiver.log());
        let peak = peak_memory(self.receiver.pid().context("the receiver has no process")?)?;
        self.receiver.terminate(Duration::from_secs(60)).await?;
        drop(self.broker);
        Ok(Figures { took, peak })
    }
}

impl Figures {
    /// Times are told and not judged: a test must not depend on the machine's.
    fn within(mut self, attack: &str) -> Result<()> {
        self.took.sort();
        let at = |hundredths: usize| self.took[(self.took.len() - 1) * hundredths / 100].as_secs_f64() * 1000.0;
        eprintln!(
            "{attack}: {} webhooks, median {:.1} ms, p99 {:.1} ms; {} MiB at the highest",
            self.took.len(),
            at(50),
            at(99),
            self.peak / MIB
        );
        ensure!(self.peak < MEMORY, "{attack}: the receiver had {} MiB", self.peak / MIB);
        Ok(())
    }
}

/// The most memory that a process has had.
fn peak_memory(pid: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[derive(Clone)]
struct Request {
    head: String,
    body: Arc<Vec<u8>>,
}

impl Request {
    /// Sends it on a connection of its own, and returns the status. A receiver that does not want the body says so before
    /// it is sent, and may hang up.
    async fn send(&self, address: SocketAddr) -> Result<u16> {
        let (mut read, mut write) = TcpStream::connect(address).await?.into_split();
        let sent = async {
            write.write_all(self.head.as_bytes()).await?;
            write.write_all(&self.body).await
        };
        let answered = async {
            let mut answer = vec![0; 12];
            read.read_exact(&mut answer).await.map(|_| answer)
        };
        tokio::pin!(sent, answered);
        let answer = tokio::select! {
            answer = &mut answered => answer?,
            _ = &mut sent => answered.await?,
        };
        let text = String::from_utf8_lossy(&answer);
        text.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok()).with_context(|| text.to_string())
    }
}

/// Fifty at once. What is not answered was hung up on, as a receiver under attack may do; an answer is one of `allowed`.
async fn fifty(address: SocketAddr, requests: Vec<Request>, allowed: &'static [u16]) -> Result<()> {
    let mut all = JoinSet::new();
    for number in 0..50 {
        let request = requests[number % requests.len()].clone();
        all.spawn(async move { request.send(address).await });
    }
    while let Some(answer) = all.join_next().await {
        if let Ok(status) = answer? {
            ensure!(allowed.contains(&status), "an attacker is answered {status}");
        }
    }
    Ok(())
}

/// Fifty at once, each again until it is taken.
async fn until_taken(address: SocketAddr, requests: Vec<Request>) -> Result<()> {
    let mut all = JoinSet::new();
    for number in 0..50 {
        let request = requests[number % requests.len()].clone();
        all.spawn(async move {
            loop {
                match request.send(address).await {
                    Ok(202) => return Ok(()),
                    Ok(503 | 408) => tokio::time::sleep(Duration::from_millis(500)).await,
                    other => anyhow::bail!("a signed push is answered {other:?}"),
                }
            }
        });
    }
    while let Some(taken) = all.join_next().await {
        taken??;
    }
    Ok(())
}

/// Keeps connections that say `text` and then nothing; one that is hung up on is opened again. It has been seen at once
/// when all were open, and goes on for as long as it is held.
async fn idle(address: SocketAddr, count: usize, text: &[u8]) -> JoinSet<()> {
    let (text, opened) = (Arc::<[u8]>::from(text), Arc::new(Semaphore::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..count {
        let (text, opened) = (text.clone(), opened.clone());
        all.spawn(async move {
            let mut first = true;
            loop {
                let connection = TcpStream::connect(address).await;
                if std::mem::take(&mut first) {
                    opened.add_permits(1);
                }
                let Ok(mut stream) = connection else { continue };
                let _ = stream.write_all(&text).await;
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    // A receiver that takes no more connections leaves the rest to the kernel, which takes some of them.
    let wanted = u32::try_from(count / 2).unwrap_or(u32::MAX);
    let _ = opened.acquire_many(wanted).await;
    all
}

fn head(signature: &str, length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
         x-github-delivery: d-1\r\n{signature}content-length: {length}\r\n\r\n"
    )
}

fn signature_header(code: &str) -> String {
    format!("x-hub-signature-256: sha256={code}\r\n")
}

fn signed(body: String) -> Request {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = signature_header(&hex::encode(mac.finalize().into_bytes()));
    Request { head: head(&signature, body.len()), body: Arc::new(body.into_bytes()) }
}

/// A push with `commits` in its list.
fn push_with(commits: &str) -> String {
    format!(
        r#"{{"ref":"refs/heads/main","before":"1111111111111111111111111111111111111111","after":"{COMMIT}",
        "repository":{{"full_name":"acme/gateway","clone_url":"https://forge.example/acme/gateway.git"}},
        "commits":[{commits}]}}"#
    )
}

/// A push as a forge sends it, of about so many bytes.
fn push(bytes: usize) -> String {
    let mut commits = format!(r#"{{"id":"{COMMIT}","added":["a"],"modified":[],"removed":[]}}"#);
    let message = "Pin the gateway to a new digest. ".repeat(60);
    while commits.len() < bytes {
        let number = commits.len();
        let _ = write!(
            commits,
            r#",{{"id":"{COMMIT}","message":"{message}","added":["envs/dev/{number}.yaml"],"modified":[],"removed":[]}}"#
        );
    }
    push_with(&commits)
}

/// Of 5 MB each: as a forge sends it, and as costs the most.
fn large_pushes() -> Vec<String> {
    const SIZE: usize = 5_000_000;
    let many = |one: &str| vec![one; SIZE / (one.len() + 1)].join(",");
    let paths = format!(r#"{{"id":"{COMMIT}","added":[{}],"modified":[],"removed":[]}}"#, many("\"a\""));
    let few_commits = vec![format!(r#"{{"added":[{}]}}"#, vec!["\"a\""; 250].join(",")); SIZE / 1_015].join(",");
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep = push(100).replacen('{', &format!(r#"{{"x":{nested},"#), 1);
    let escaped = push(100).replacen('{', &format!(r#"{{"ref":"{}","#, "\\u0061".repeat(SIZE / 6)), 1);
    let labels = push(100).replacen('{', &format!(r#"{{"labels":[{}],"#, many(r#"{"name":"a"}"#)), 1);
    vec![push(SIZE), push_with(&paths), push_with(&many("{}")), push_with(&few_commits), deep, escaped, labels]
}
