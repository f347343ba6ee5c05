//! A forge of one's own: the real Gitea, with its data in a scratch folder.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, Program, free_port};
use crate::tools::{Tools, on_path};

const CONFIGURATION: &str = include_str!("../../../deploy/local/gitea/app.ini");
const START_LIMIT: Duration = Duration::from_secs(120);
/// Debian's and everybody's number of the user who owns nothing. Gitea refuses to run as root.
const NOBODY: u32 = 65534;

/// A Gitea, stopped and removed when dropped.
#[derive(Debug)]
pub struct Gitea {
    /// `http://127.0.0.1:PORT`, the same after a restart.
    pub url: String,
    /// Name of the administrator.
    pub user: String,
    /// The administrator's access token, with all scopes.
    pub token: String,
    client: reqwest::Client,
    program: Program,
    process: Option<Process>,
    directory: TempDir,
}

impl Gitea {
    /// Starts a Gitea with an administrator and nothing else in it.
    pub async fn start() -> Result<Self> {
        let binary = Tools::ensure("gitea").await?;
        let directory = tempfile::Builder::new().prefix("lockstep-gitea-").tempdir()?;
        let port = free_port()?;
        let folder = directory.path().to_owned();
        let name = tokio::task::spawn_blocking(move || lay_out(&binary, &folder, port)).await??;
        let folder = directory.path();
        let program = program(folder, &name)?;
        let user = "lockstep-admin".to_owned();
        let token = first_user(&program, &user).await?;
        let url = format!("http://127.0.0.1:{port}");
        let mut this = Self { url, user, token, client: crate::http_client()?, program, process: None, directory };
        this.start_again().await?;
        Ok(this)
    }

    /// Starts it again after [`Gitea::stop`], with the data it had.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "Gitea is running already");
        let mut process = self.program.clone().arguments(["web"]).start()?;
        process.ready(&format!("{}/api/v1/version", self.url), START_LIMIT).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it in an orderly way. Its data stays.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Gitea is not running")?;
        process.terminate(Duration::from_secs(30)).await?;
        Ok(())
    }

    /// The folder with its data and its log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `URL/OWNER/REPOSITORY.git`, as it appears in webhooks and Applications.
    pub fn clone_url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.url)
    }

    /// The same with the administrator's credentials in it, for pushing.
    pub fn push_url(&self, repository: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        format!("http://{}:{}@{address}/{repository}.git", self.user, self.token)
    }

    /// Creates an organisation.
    pub async fn create_organisation(&self, name: &str) -> Result<()> {
        self.call(Method::POST, "/orgs", Some(json!({"username": name}))).await.map(drop)
    }

    /// Creates an empty repository `OWNER/NAME`, whose owner is an organisation or the administrator, and returns its
    /// clone URL.
    pub async fn create_repository(&self, repository: &str) -> Result<String> {
        let (owner, name) = repository.split_once('/').context("a repository is OWNER/NAME")?;
        let path = if owner == self.user { "/user/repos".to_owned() } else { format!("/orgs/{owner}/repos") };
        let body = json!({"name": name, "default_branch": "main", "private": false});
        self.call(Method::POST, &path, Some(body)).await?;
        Ok(self.clone_url(repository))
    }

    /// Adds a webhook that signs with `secret`, and returns its number.
    pub async fn create_hook(&self, repository: &str, url: &str, secret: &str, events: &[&str]) -> Result<u64> {
        let config = json!({"url": url, "content_type": "json", "secret": secret});
        let body = json!({"type": "gitea", "active": true, "events": events, "config": config});
        let hook = self.call(Method::POST, &format!("/repos/{repository}/hooks"), Some(body)).await?;
        hook["id"].as_u64().context("the hook has no number")
    }

    /// The repository's webhooks.
    pub async fn hooks(&self, repository: &str) -> Result<Vec<Value>> {
        list(self.call(Method::GET, &format!("/repos/{repository}/hooks"), None).await?)
    }

    /// Opens a pull request and returns its number.
    pub async fn open_pull(&self, repository: &str, head: &str, base: &str, title: &str) -> Result<u64> {
        let body = json!({"head": head, "base": base, "title": title});
        let pull = self.call(Method::POST, &format!("/repos/{repository}/pulls"), Some(body)).await?;
        pull["number"].as_u64().context("the pull request has no number")
    }

    /// Closes a pull request without merging it.
    pub async fn close_pull(&self, repository: &str, number: u64) -> Result<()> {
        let path = format!("/repos/{repository}/pulls/{number}");
        self.call(Method::PATCH, &path, Some(json!({"state": "closed"}))).await.map(drop)
    }

    /// Merges a pull request.
    pub async fn merge_pull(&self, repository: &str, number: u64) -> Result<()> {
        let path = format!("/repos/{repository}/pulls/{number}/merge");
        self.call(Method::POST, &path, Some(json!({"Do": "merge"}))).await.map(drop)
    }

    /// All statuses that were ever set on a commit, newest first: objects with `context`, `status`, `description`,
    /// `target_url`.
    pub async fn statuses(&self, repository: &str, commit: &str) -> Result<Vec<Value>> {
        list(self.call(Method::GET, &format!("/repos/{repository}/statuses/{commit}?limit=50"), None).await?)
    }

    /// The newest status of one context on a commit: `pending`, `success`, `failure`, `error`; none if there is none.
    pub async fn status(&self, repository: &str, commit: &str, context: &str) -> Result<Option<String>> {
        let statuses = self.statuses(repository, commit).await?;
        let newest = statuses.iter().filter(|s| s["context"] == context).max_by_key(|s| s["id"].as_u64());
        Ok(newest.and_then(|status| status["status"].as_str()).map(str::to_owned))
    }

    /// Any call of its API, with the path after `/api/v1`. Fails on any status that is not a success.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}/api/v1{path}", self.url))
            .header("authorization", format!("token {}", self.token));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} {path}: {status}: {text}");
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        // Before the folder goes.
        drop(self.process.take());
    }
}

fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(Vec::new()),
        other => bail!("a list was expected, not {other}"),
    }
}

/// Puts the program, what it reads and its configuration into the folder, and returns the user it is to run as.
fn lay_out(binary: &Path, folder: &Path, port: u16) -> Result<String> {
    let cached = binary.parent().context("the program is in no folder")?;
    for name in ["data", "repositories", "custom/conf", "home"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    // The cache may be where the other user cannot go; here they can.
    link(binary, &folder.join("gitea"))?;
    link(&cached.join("assets"), &folder.join("assets"))?;
    let root = id("-u")? == "0";
    let user = if root { id_of_nobody()? } else { id("-un")? };
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let configuration = CONFIGURATION
        .replace("@USER@", &user)
        .replace("@FOLDER@", &folder.to_string_lossy())
        .replace("@PORT@", &port.to_string())
        .replace("@SECRET@", &secret);
    std::fs::write(folder.join("custom/conf/app.ini"), configuration)?;
    if root {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        for name in ["data", "repositories", "custom", "custom/conf", "custom/conf/app.ini", "home"] {
            chown(folder.join(name), Some(NOBODY), Some(NOBODY))?;
        }
    }
    Ok(user)
}

/// Links a file or all files of a folder; copies where links cannot be.
fn link(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn id(flag: &str) -> Result<String> {
    let output = std::process::Command::new("id").arg(flag).output().context("cannot run id(1)")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn id_of_nobody() -> Result<String> {
    let output = std::process::Command::new("id").args(["-un", &NOBODY.to_string()]).output()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        !name.is_empty(),
        "there is no user number {NOBODY} to run Gitea as; run the tests as another user than root"
    );
    Ok(name)
}

/// Gitea as an unprivileged user.
fn program(folder: &Path, user: &str) -> Result<Program> {
    let gitea = folder.join("gitea").to_string_lossy().into_owned();
    let (path, arguments): (PathBuf, Vec<String>) = if id("-u")? == "0" {
        let setpriv = on_path("setpriv").context("setpriv is not installed (Debian: util-linux)")?;
        let number = NOBODY.to_string();
        let flags = [&format!("--reuid={number}"), &format!("--regid={number}"), "--clear-groups", "--", &gitea];
        (setpriv, flags.iter().map(|flag| (*flag).to_owned()).collect())
    } else {
        (gitea.into(), Vec::new())
    };
    let mut program = Program::new(path, folder.join("gitea.log")).arguments(arguments);
    let home = folder.join("home").to_string_lossy().into_owned();
    let work = folder.to_string_lossy().into_owned();
    program.environment = [("HOME", home), ("USER", user.to_owned()), ("GITEA_WORK_DIR", work)]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    program.directory = Some(folder.to_owned());
    program.scratch = Some(folder.to_owned());
    Ok(program)
}

/// Makes the database and the administrator, and returns the administrator's token.
async fn first_user(program: &Program, user: &str) -> Result<String> {
    run(program, &["migrate"]).await?;
    let mail = format!("{user}@example.com");
    let password = hex::encode(rand::random::<[u8; 16]>());
    let output = run(
        program,
        &[
            "admin",
            "user",
            "create",
            "--username",
            user,
            "--password",
            &password,
            "--email",
            &mail,
            "--admin",
            "--must-change-password=false",
            "--access-token",
            "--access-token-scopes",
            "all",
            "--access-token-name",
            "tests",
        ],
    )
    .await?;
    let token = output.split_whitespace().find(|word| word.len() == 40 && word.chars().all(|c| c.is_ascii_hexdigit()));
    token.map(str::to_owned).context("Gitea gave no access token")
}

async fn run(program: &Program, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new(&program.path);
    command.args(&program.arguments).args(arguments).envs(program.environment.iter().cloned());
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gitea {} failed\n{text}{errors}", arguments[0]);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GitRepo;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    /// Takes one HTTP request and returns it as text.
    async fn one_request(listener: &TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = stream.read(&mut buffer).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            if n == 0 || length.is_some_and(|length| body >= length) {
                break;
            }
        }
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        text
    }

    #[tokio::test]
    async fn from_a_push_to_a_signed_webhook_and_a_status() {
        let mut gitea = Gitea::start().await.unwrap();
        gitea.create_organisation("acme").await.unwrap();
        let clone_url = gitea.create_repository("acme/shop").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = format!("http://{}/webhooks/gitea", listener.local_addr().unwrap());
        let events = ["push", "pull_request"];
        gitea.create_hook("acme/shop", &receiver, "a secret", &events).await.unwrap();

        let repository = GitRepo::new().await.unwrap();
        repository.write("envs/dev/app.yaml", "a: 1\n").unwrap();
        let commit = repository.commit("first").await.unwrap();
        repository.push(&gitea.push_url("acme/shop"), "main").await.unwrap();
        let push = one_request(&listener).await;
        assert!(push.contains("X-Hub-Signature-256: sha256=") && push.contains("X-Gitea-Event: push"), "{push}");
        assert!(push.contains(&commit) && push.contains(&clone_url));

        repository.branch("feature").await.unwrap();
        repository.write("envs/dev/app.yaml", "a: 2\n").unwrap();
        let head = repository.commit("second").await.unwrap();
        repository.push(&gitea.push_url("acme/shop"), "feature").await.unwrap();
        assert!(one_request(&listener).await.contains("refs/heads/feature"));
        let number = gitea.open_pull("acme/shop", "feature", "main", "A change").await.unwrap();
        assert!(one_request(&listener).await.contains("\"action\": \"opened\""));

        let path = format!("/repos/acme/shop/statuses/{head}");
        let body = json!({"context": "lockstep/prod", "state": "success", "description": "all healthy"});
        gitea.call(Method::POST, &path, Some(body)).await.unwrap();
        assert_eq!(gitea.status("acme/shop", &head, "lockstep/prod").await.unwrap().as_deref(), Some("success"));

        gitea.stop().await.unwrap();
        gitea.start_again().await.unwrap();
        gitea.close_pull("acme/shop", number).await.unwrap();
        let folder = gitea.directory().to_owned();
        drop(gitea);
        assert!(!folder.exists());
    }
}
