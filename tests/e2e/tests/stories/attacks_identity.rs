//! One team attacks another by the addresses of repositories: to freeze what the other deploys, to get the other's token, to
//! read what the other has fetched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::objects::condition;

/// `canary:token-of-team-a`
const CANARY: &str = "Basic Y2FuYXJ5OnRva2VuLW9mLXRlYW0tYQ==";

/// Somebody's server: it has nothing, and writes down who asked for what, with which `Authorization`.
struct Canary {
    address: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Canary {
    /// `patient`: it never answers.
    async fn start(patient: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = shared.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut path, mut authorization, mut line) = (String::new(), String::new(), String::new());
                    while stream.read_line(&mut line).await.is_ok_and(|length| length > 2) {
                        if path.is_empty() {
                            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                        } else if let Some((_, value)) =
                            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
                        {
                            authorization = value.trim().to_owned();
                        }
                        line.clear();
                    }
                    seen.lock().unwrap().push((path, authorization));
                    if patient {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
                });
            }
        });
        Ok(Self { address, seen, task })
    }

    /// How often somebody asked for a path that begins like this, by what was sent along.
    fn asked(&self, path: &str) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for (_, authorization) in self.seen.lock().unwrap().iter().filter(|(asked, _)| asked.starts_with(path)) {
            *found.entry(authorization.clone()).or_default() += 1;
        }
        found
    }

    async fn is_asked(&self, path: &str) -> Result<()> {
        until(&format!("somebody asks for {path}"), async || {
            if self.asked(path).is_empty() { Err(format!("{:?}", self.seen.lock().unwrap())) } else { Ok(()) }
        })
        .await
    }
}

fn project(name: &str, repositories: &[&str]) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": name, "namespace": "argocd" },
        "spec": { "sourceRepos": repositories, "destinations": [{ "server": "*", "namespace": "*" }] },
    })
}

fn of_team(team: &str, name: &str, url: &str) -> Value {
    let mut app = application(name, url, "app", true);
    app["spec"]["project"] = team.into();
    app
}

fn secret(name: &str, kind: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "argocd", "labels": { "argocd.argoproj.io/secret-type": kind } },
        "stringData": data,
    })
}

/// Team B's Applications name team A's repository by other schemes, ports and spellings, before team A's own is there; one is
/// forbidden, one is answered by a server that says nothing.
#[tokio::test]
async fn nobody_freezes_another_teams_repository() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let (silent, absent) = (Canary::start(true).await?, Canary::start(false).await?);
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    let path = shop.url.strip_prefix(stage.forge.url()).context("the forge has another address")?.to_owned();
    stage.site().apply(project("team-a", &[&shop.url])).await?;
    stage.site().apply(project("team-b", &["*"])).await?;
    stage.site().apply(project("team-c", &["https://elsewhere.example/*"])).await?;
    let host = "http://127.0.0.1:1";
    for (team, name, url) in [
        ("team-c", "forbidden", format!("{host}{path}")),
        ("team-b", "silent", format!("{}{path}", silent.address)),
        ("team-b", "absent", format!("{}/./x/..{}", absent.address, path.to_uppercase().replace(".GIT", ""))),
        ("team-b", "ssh", format!("ssh://git@127.0.0.1:1{path}")),
    ] {
        stage.site().apply(of_team(team, name, &url)).await?;
    }
    silent.is_asked(&path).await?;
    condition(&stage, "forbidden", "InvalidSpecError", "does not permit the repository").await?;
    stage.site().apply(of_team("team-a", "shop", &shop.url)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    for content in ["2", "3", "4"] {
        shop.git.write("app/config.yaml", config_map("shop", content))?;
        let commit = shop.push("Another").await?;
        stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
        stage.site().has_content(NAMESPACE, "shop", content).await?;
    }
    // The forge's token went to the forge.
    for canary in [&silent, &absent] {
        let asked = canary.asked("/");
        ensure!(asked.keys().all(String::is_empty), "a credential of another address was sent: {asked:?}");
    }
    stage.strike().await
}

/// Team A's Secrets are for team A, and for the scheme and the host that they name.
#[tokio::test]
async fn nobody_gets_another_teams_token_or_what_it_has_fetched() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let canary = Canary::start(false).await?;
    let login = json!({ "username": "canary", "password": "token-of-team-a" });
    let with = |more: Value| {
        let mut data = login.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    };
    let https = canary.address.replacen("http://", "https://", 1);
    for (name, kind, data) in [
        ("of-a", "repo-creds", json!({ "url": format!("{}/a", canary.address), "project": "team-a" })),
        ("one-of-a", "repository", json!({ "url": format!("{}/a/one", canary.address), "project": "team-a" })),
        ("encrypted", "repo-creds", json!({ "url": format!("{https}/b") })),
    ] {
        stage.site().apply(secret(name, kind, with(data))).await?;
    }
    for team in ["team-a", "team-b"] {
        stage.site().apply(project(team, &["*"])).await?;
    }
    for (team, name, path) in [
        ("team-b", "thief", "/a/one"),
        ("team-b", "thief-of-all", "/a/two.git"),
        ("team-b", "plain", "/b/shop"),
        ("team-a", "owner", "/a/three"),
    ] {
        stage.site().apply(of_team(team, name, &format!("{}{path}", canary.address))).await?;
    }
    for path in ["/a/one", "/a/two", "/b/shop", "/a/three"] {
        canary.is_asked(path).await?;
    }
    condition(&stage, "owner", "ComparisonError", "not found").await?;
    let owners = canary.asked("/a/three");
    ensure!(owners.contains_key(CANARY), "the owner's Secret was not used: {owners:?}");
    for path in ["/a/one", "/a/two", "/b/shop"] {
        let asked = canary.asked(path);
        ensure!(asked.keys().all(String::is_empty), "{path} was asked for with another team's token: {asked:?}");
    }
    // The Application becomes the other team's: so do its credentials.
    stage.site().patch_application("thief", json!({ "spec": { "project": "team-a" } })).await?;
    until("the Secret of the new project is used", async || {
        let asked = canary.asked("/a/one");
        if asked.contains_key(CANARY) { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await?;
    stage.strike().await
}

/// What team A's token has fetched is on the disk; team B's Application of the same address does not see it.
#[tokio::test]
async fn a_mirror_is_read_by_those_alone_whose_credential_has_made_it() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("secret", "1"))).await?;
    let data = json!({
        "url": shop.url, "username": stage.forge.user(), "password": stage.forge.token(), "project": "team-a",
    });
    stage.site().apply(secret("of-a", "repository", data)).await?;
    // For everybody there is one that the forge does not take.
    let wrong = json!({ "url": stage.forge.url(), "username": "x", "password": "wrong" });
    stage.site().apply(secret("wrong", "repo-creds", wrong)).await?;
    for team in ["team-a", "team-b"] {
        stage.site().apply(project(team, &["*"])).await?;
    }
    stage.site().apply(of_team("team-a", "shop", &shop.url)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let commit = shop.git.head().await?;
    for (name, revision) in [("by-branch", "main"), ("by-commit", commit.as_str()), ("by-start", &commit[..10])] {
        let mut app = of_team("team-b", name, &shop.url);
        app["spec"]["source"]["targetRevision"] = revision.into();
        app["spec"]["destination"]["namespace"] = "stolen".into();
        stage.site().apply(app).await?;
        condition(&stage, name, "ComparisonError", "refused access").await?;
    }
    ensure!(stage.site().content("stolen", "secret").await.is_err(), "another team's content was deployed");
    // A push is looked at by both, and only one of them sees it.
    shop.git.write("app/config.yaml", config_map("secret", "2"))?;
    let commit = shop.push("Another").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    ensure!(stage.site().content("stolen", "secret").await.is_err(), "another team's content was deployed");
    stage.strike().await
}
