//! Real repositories and a loopback server that speaks git's protocol over HTTP, for the tests of this crate.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use git::{Commit, Credentials, Git, GitConfig, NoCredentials, RepositoryUrl};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Runs git in a folder and returns what it wrote, trimmed.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    git_input(folder, arguments, b"")
}

pub fn git_input(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Joe").env(format!("GIT_{who}_EMAIL"), "joe@example.com");
    }
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A bare repository that people push to, and a working copy of it.
pub struct Remote {
    pub folder: TempDir,
}

impl Remote {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--bare", "-b", "main", "acme/shop.git"]);
        git(folder.path(), &["init", "--quiet", "-b", "main", "work"]);
        let remote = Self { folder };
        git(&remote.work(), &["remote", "add", "origin", "../acme/shop.git"]);
        remote
    }

    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("acme/shop.git")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn url(&self) -> RepositoryUrl {
        RepositoryUrl::parse(self.bare().to_str().unwrap()).unwrap()
    }

    /// Writes files and commits them.
    pub fn commit(&self, files: &[(&str, &str)]) -> Commit {
        for (path, content) in files {
            let path = self.work().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--allow-empty", "-m", "change"]);
        self.id("HEAD")
    }

    pub fn push(&self, refspec: &str) {
        git(&self.work(), &["push", "--quiet", "--force", "origin", refspec]);
    }

    /// Writes, commits and pushes to main.
    pub fn pushed(&self, files: &[(&str, &str)]) -> Commit {
        let commit = self.commit(files);
        self.push("HEAD:refs/heads/main");
        commit
    }

    pub fn id(&self, revision: &str) -> Commit {
        Commit::parse(&git(&self.work(), &["rev-parse", revision])).unwrap()
    }
}

/// Mirrors in a folder of their own.
pub struct Mirrors {
    pub git: Git,
    pub folder: TempDir,
}

pub fn mirrors() -> Mirrors {
    mirrors_with(Arc::new(NoCredentials), |_| {})
}

pub fn mirrors_with(credentials: Arc<dyn Credentials>, change: impl FnOnce(&mut GitConfig)) -> Mirrors {
    let folder = tempfile::tempdir().unwrap();
    let mut config = GitConfig {
        root: folder.path().join("git"),
        credentials,
        fetch_timeout: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(60),
        max_repository_bytes: 1 << 30,
        allow_local: true,
    };
    change(&mut config);
    Mirrors { git: Git::open(config).unwrap(), folder }
}

impl Mirrors {
    /// The only mirror.
    pub fn mirror(&self) -> PathBuf {
        let mut folders = std::fs::read_dir(self.folder.path().join("git")).unwrap().flatten().map(|e| e.path());
        folders.find(|p| p.extension().is_some_and(|e| e == "git")).unwrap()
    }
}

/// What the server does beside serving.
#[derive(Default)]
pub struct Behaviour {
    /// `Authorization` that is asked for; without it 401.
    pub authorization: Mutex<Option<String>>,
    /// Where requests are sent on to, if anywhere: `http://host:port`.
    pub redirect: Mutex<Option<String>>,
    /// Paths with this beginning are sent on to the other beginning on the same host.
    pub moved: Mutex<Option<(String, String)>>,
    /// Accept connections and say nothing.
    pub silent: AtomicBool,
    /// Answer ten bytes a second.
    pub slow: AtomicBool,
    /// Answer this status to everything, if not zero.
    pub status: AtomicUsize,
    pub requests: AtomicUsize,
    /// `Authorization` as it came, for every request.
    pub seen: Mutex<Vec<Option<String>>>,
}

/// Serves the repositories below a folder.
pub struct Server {
    pub address: String,
    pub behaviour: Arc<Behaviour>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Arc::new(Behaviour::default());
        let (root, shared) = (root.to_owned(), Arc::clone(&behaviour));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, root.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, behaviour, task }
    }

    pub fn url(&self) -> RepositoryUrl {
        RepositoryUrl::parse(&format!("{}/acme/shop.git", self.address)).unwrap()
    }
}

async fn connection(stream: TcpStream, root: PathBuf, behaviour: Arc<Behaviour>) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    while let Some((line, headers, body)) = request(&mut stream).await {
        behaviour.requests.fetch_add(1, Ordering::SeqCst);
        behaviour.seen.lock().unwrap().push(headers.get("authorization").cloned());
        if behaviour.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let answer = answer(&line, &headers, body, &root, &behaviour).await;
        if behaviour.slow.load(Ordering::SeqCst) {
            for byte in answer {
                if stream.get_mut().write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            continue;
        }
        if stream.get_mut().write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>, Vec<u8>)> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await.ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut part = vec![0; size + 2];
            stream.read_exact(&mut part).await.ok()?;
            body.extend_from_slice(&part[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some((line, headers, body))
}

fn plain(status: &str, extra: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{extra}Content-Length: 0\r\n\r\n").into_bytes()
}

async fn answer(
    line: &str,
    headers: &BTreeMap<String, String>,
    body: Vec<u8>,
    root: &Path,
    behaviour: &Behaviour,
) -> Vec<u8> {
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let redirect = behaviour.redirect.lock().unwrap().clone();
    if let Some(to) = redirect {
        return plain("301 Moved Permanently", &format!("Location: {to}{target}\r\n"));
    }
    let moved = behaviour.moved.lock().unwrap().clone();
    if let Some(rest) = moved.as_ref().and_then(|(from, _)| target.strip_prefix(from.as_str())) {
        let (_, to) = moved.as_ref().unwrap();
        return plain("301 Moved Permanently", &format!("Location: http://{}{to}{rest}\r\n", headers["host"]));
    }
    let status = behaviour.status.load(Ordering::SeqCst);
    if status != 0 {
        return plain(&format!("{status} No"), "");
    }
    let wanted = behaviour.authorization.lock().unwrap().clone();
    if wanted.is_some() && headers.get("authorization") != wanted.as_ref() {
        return plain("401 Unauthorized", "WWW-Authenticate: Basic realm=\"forge\"\r\n");
    }
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path);
    command.env("QUERY_STRING", query).env("CONTENT_LENGTH", body.len().to_string());
    let passed = [
        ("content-type", "CONTENT_TYPE"),
        ("git-protocol", "GIT_PROTOCOL"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
    ];
    for (header, variable) in passed {
        if let Some(value) = headers.get(header) {
            command.env(variable, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        let _ = stdin.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.unwrap().stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let content = output.get(end + 4..).unwrap_or_default();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    let kept: String = head.lines().filter(|l| !l.starts_with("Status")).map(|l| format!("{l}\r\n")).collect();
    let mut answer = format!("HTTP/1.1 {status}\r\n{kept}Content-Length: {}\r\n\r\n", content.len()).into_bytes();
    answer.extend_from_slice(content);
    answer
}
