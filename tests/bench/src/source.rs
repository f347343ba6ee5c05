//! The repository: one folder for each application with a ConfigMap and a Service, by Kustomize; its commits, made ahead;
//! and the webhooks that tell of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use forge::webhook::Secret;
use resources::Object;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The owner of the repository on the forge.
pub const OWNER: &str = "acme";
/// Its name.
pub const NAME: &str = "bench";
/// Where commits wait until they are pushed.
const AHEAD: &str = "refs/ahead/main";

/// The bare repository on the forge, and what will be pushed to it.
pub struct Source {
    /// Its folder.
    pub path: PathBuf,
    /// Where it is cloned from, without credentials.
    pub url: String,
    api: String,
    /// The head of `main`.
    head: String,
    ahead: std::collections::VecDeque<Pushed>,
}

/// A commit that changes one application.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Its id.
    pub commit: String,
    /// Its parent's.
    pub before: String,
    /// The application's number.
    pub application: usize,
    /// What its ConfigMap says afterwards.
    pub release: String,
}

/// The name of an application and of its objects.
pub fn name(application: usize) -> String {
    format!("app-{application:04}")
}

/// Its folder in the repository.
pub fn folder(application: usize) -> String {
    format!("apps/{}", name(application))
}

/// So many applications, evenly spread over all.
pub fn spread(count: usize, picks: usize) -> impl Iterator<Item = usize> {
    (0..picks).map(move |pick| if picks <= count { pick * count / picks } else { pick % count })
}

impl Source {
    /// Fills an empty bare repository: one commit with everything, and those to be pushed one by one.
    pub async fn fill(path: PathBuf, url: String, api: String, count: usize, pushes: usize) -> anyhow::Result<Self> {
        let mut stream = String::new();
        let commit = |stream: &mut String, reference: &str, message: &str| {
            let _ = write!(stream, "commit {reference}\ncommitter bench <bench@example.com> 1700000000 +0000\n");
            data(stream, message);
        };
        commit(&mut stream, "refs/heads/main", "All applications");
        for application in 0..count {
            for (file, text) in files(application) {
                let _ = writeln!(stream, "M 100644 inline {}/{file}", folder(application));
                data(&mut stream, &text);
            }
        }
        let mut plan = Vec::new();
        for (number, application) in spread(count, pushes).enumerate() {
            let release = format!("push-{number}");
            commit(&mut stream, AHEAD, &format!("Release {release} of {}", name(application)));
            if number == 0 {
                stream.push_str("from refs/heads/main\n");
            }
            let _ = writeln!(stream, "M 100644 inline {}/configmap.yaml", folder(application));
            data(&mut stream, &config_map(application, &release));
            plan.push((application, release));
        }
        import(&path, &stream).await?;
        let head = git(&path, &["rev-parse", "refs/heads/main"]).await?.trim().to_owned();
        let mut ahead = std::collections::VecDeque::new();
        if pushes > 0 {
            let commits = git(&path, &["rev-list", "--reverse", &format!("refs/heads/main..{AHEAD}")]).await?;
            let mut before = head.clone();
            for (commit, (application, release)) in commits.lines().zip(plan) {
                ahead.push_back(Pushed { commit: commit.to_owned(), before, application, release });
                before = commit.to_owned();
            }
        }
        Ok(Self { path, url, api, head, ahead })
    }

    /// Moves `main` to the next commit, as a push does; nobody is told.
    pub async fn push(&mut self) -> anyhow::Result<Pushed> {
        let next = self.ahead.pop_front().context("there are no more commits to push")?;
        git(&self.path, &["update-ref", "refs/heads/main", &next.commit, &self.head]).await?;
        self.head.clone_from(&next.commit);
        Ok(next)
    }

    /// The body of the webhook that tells of a push, about as large as GitHub's.
    pub fn payload(&self, pushed: &Pushed) -> Vec<u8> {
        payload(&self.url, &self.api, pushed)
    }
}

/// See [`Source::payload`].
pub fn payload(url: &str, api: &str, pushed: &Pushed) -> Vec<u8> {
    let page = url.trim_end_matches(".git");
    let full_name = format!("{OWNER}/{NAME}");
    let repository_api = format!("{api}/repos/{full_name}");
    let change = json!({
        "id": pushed.commit,
        "message": format!("Release {} of {}", pushed.release, name(pushed.application)),
        "timestamp": "2026-01-01T00:00:00Z",
        "url": format!("{page}/commit/{}", pushed.commit),
        "author": { "name": "bench", "email": "bench@example.com", "username": "bench" },
        "committer": { "name": "bench", "email": "bench@example.com", "username": "bench" },
        "added": [],
        "removed": [],
        "modified": [format!("{}/configmap.yaml", folder(pushed.application))],
    });
    let mut repository = json!({
        "id": 1, "name": NAME, "full_name": full_name, "private": true, "owner": { "login": OWNER, "name": OWNER },
        "html_url": page, "clone_url": url, "default_branch": "main",
        "statuses_url": format!("{repository_api}/statuses/{{sha}}"),
        "url": page,
    });
    // GitHub's repository has some forty addresses more, which make most of a payload's size.
    for field in 0..60 {
        repository[format!("address_{field:02}_url")] =
            Value::from(format!("{repository_api}/address-{field:02}{{/number}}{{?query}}"));
    }
    let payload = json!({
        "ref": "refs/heads/main", "before": pushed.before, "after": pushed.commit,
        "created": false, "deleted": false, "forced": false, "base_ref": null,
        "compare": format!("{page}/compare/{}...{}", &pushed.before[..12], &pushed.commit[..12]),
        "repository": repository, "pusher": { "name": "bench", "email": "bench@example.com" },
        "sender": { "login": "bench", "id": 2, "type": "User" },
        "commits": [change], "head_commit": change,
    });
    payload.to_string().into_bytes()
}

/// The head of a signed request, complete but for the delivery's id and the empty line.
pub fn request_head(secret: &Secret, body: &[u8]) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         User-Agent: GitHub-Hookshot/bench\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={}\r\n",
        body.len(),
        hex::encode(secret.sign(body))
    )
}

fn files(application: usize) -> [(&'static str, String); 3] {
    let kustomization = "resources:\n- configmap.yaml\n- service.yaml\n".to_owned();
    let name = name(application);
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  selector:\n    app: {name}\n  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n"
    );
    [
        ("kustomization.yaml", kustomization),
        ("configmap.yaml", config_map(application, "first")),
        ("service.yaml", service),
    ]
}

fn config_map(application: usize, release: &str) -> String {
    let name = name(application);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  application: {name}\n  release: {release}\n"
    )
}

/// What an application's folder renders to, as it is applied.
pub fn objects(application: usize, namespace: &str) -> [Object; 2] {
    let name = name(application);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    [config_map_object(application, namespace, "first"), Object(service)]
}

/// An application's ConfigMap at a release.
pub fn config_map_object(application: usize, namespace: &str, release: &str) -> Object {
    let name = name(application);
    Object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": namespace },
        "data": { "application": name, "release": release },
    }))
}

pub fn data(stream: &mut String, text: &str) {
    let _ = write!(stream, "data {}\n{text}\n", text.len());
}

pub async fn import(path: &Path, stream: &str) -> anyhow::Result<()> {
    let mut command = command(path);
    let mut child = command.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("git has no input")?;
    // An early end of git is told by its status.
    let _ = input.write_all(stream.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "git fast-import: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs git in a folder, with no configuration but the repository's.
pub async fn git(path: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = command(path).args(arguments).output().await?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// See [`git`].
pub fn command(path: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(path).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_spread_over_all_applications() {
        assert_eq!(spread(1000, 4).collect::<Vec<_>>(), [0, 250, 500, 750]);
        assert_eq!(spread(2, 5).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    }
}
