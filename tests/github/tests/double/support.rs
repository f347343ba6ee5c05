//! A double, a working copy, a client and a receiver, each in one line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use github_double::{Delivery, Double, DoubleOptions, assets};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

pub const TOKEN: &str = "ghp_0123456789";
pub const SECRET: &str = "correct horse battery staple";
pub const SOON: Duration = Duration::from_secs(20);

/// A double with `acme/app` in it, whose every call is checked.
pub struct World {
    pub double: Double,
    pub folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("seed");
        std::fs::create_dir_all(seed.join("envs/dev")).unwrap();
        std::fs::write(seed.join("README.md"), "# app\n").unwrap();
        std::fs::write(seed.join("envs/dev/values.yaml"), "replicas: 1\n").unwrap();
        let options = DoubleOptions::new(folder.path().join("forge")).token(TOKEN).login("ada");
        let double = Double::start(options.openapi(assets::openapi().await.unwrap())).await.unwrap();
        double.create_repository("acme", "app", Some(&seed)).await.unwrap();
        Self { double, folder }
    }

    /// A clone made over HTTP.
    pub async fn clone(&self, folder: &str) -> WorkingCopy {
        let url = self.double.clone_url("acme", "app").replace("http://", &format!("http://ada:{TOKEN}@"));
        let path = self.folder.path().join(folder);
        git(self.folder.path(), &["clone", "--quiet", &url, folder]).await;
        WorkingCopy { path }
    }

    pub fn api(&self) -> Api {
        Api { base: self.double.api_url().to_owned(), token: Some(TOKEN.to_owned()), client: client() }
    }

    /// The first delivery of an event and action that has ended.
    pub async fn delivered(&self, event: &str, action: Option<&str>) -> Delivery {
        let find = |d: &Double| {
            let mut all = d.deliveries("acme", "app").into_iter();
            all.find(|d| d.event == event && d.action.as_deref() == action && d.responded_at_us.is_some())
        };
        let found = self.double.until(SOON, find).await;
        found.unwrap_or_else(|| panic!("no {event} {action:?} was delivered"))
    }

    /// Ends a test: nothing was other than GitHub describes it.
    pub fn end(self) {
        let violations: Vec<String> = self.double.violations().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

pub struct WorkingCopy {
    pub path: PathBuf,
}

impl WorkingCopy {
    pub async fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments).await
    }

    /// Writes a file, commits it, and gives the commit's id.
    pub async fn commit(&self, file: &str, text: &str, message: &str) -> String {
        let path = self.path.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--message", message]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// A new branch with one commit, pushed.
    pub async fn branch(&self, name: &str) -> String {
        self.git(&["switch", "--quiet", "--create", name, "origin/main"]).await;
        let commit = self.commit(&format!("{}.txt", name.replace('/', "-")), "new\n", name).await;
        self.git(&["push", "--quiet", "origin", name]).await;
        commit
    }
}

pub async fn git(directory: &Path, arguments: &[&str]) -> String {
    let (ok, text) = try_git(directory, arguments).await;
    assert!(ok, "git {arguments:?}: {text}");
    text
}

/// Whether it went well, and what it printed.
pub async fn try_git(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "advice.detachedHead=false"]).args(arguments);
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.com"),
    ] {
        command.env(name, value);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
}

/// What an App shows for itself.
pub fn app_token() -> String {
    use base64::Engine;
    let now = jiff::Timestamp::now().as_second();
    let part = |v: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
    let claims = json!({"iat": now - 60, "exp": now + 500, "iss": "1"});
    format!("{}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims))
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub struct Api {
    pub base: String,
    pub token: Option<String>,
    pub client: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["errors"][0]["message"].as_str().or(self.body["message"].as_str()).unwrap_or_default()
    }
}

impl Api {
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { base: self.base.clone(), token: token.map(str::to_owned), client: self.client.clone() }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status: status.as_u16(), body, headers }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body), &[]).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(body), &[]).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body), &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, &[]).await
    }
}

/// A webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub event: String,
    pub delivery: String,
    pub user_agent: String,
    pub content_type: String,
    pub signed: bool,
    pub payload: Value,
}

#[derive(Default)]
struct Inbox {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Option<(StatusCode, Duration)>>,
}

/// A receiver that checks signatures as a careful one does.
pub struct Receiver {
    pub url: String,
    inbox: Arc<Inbox>,
    server: actix_web::dev::ServerHandle,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhooks/github", listener.local_addr().unwrap());
        let inbox = Arc::new(Inbox::default());
        let data = web::Data::from(inbox.clone());
        let server = HttpServer::new(move || {
            let json = web::PayloadConfig::new(32 << 20);
            App::new().app_data(data.clone()).app_data(json).default_service(web::to(receive))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, inbox, server: handle }
    }

    pub fn received(&self) -> Vec<Received> {
        self.inbox.received.lock().unwrap().clone()
    }

    pub fn answer(&self, status: u16, after: Duration) {
        *self.inbox.answer.lock().unwrap() = Some((StatusCode::from_u16(status).unwrap(), after));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn receive(inbox: web::Data<Inbox>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let signature = hex::decode(header("x-hub-signature-256").trim_start_matches("sha256=")).unwrap();
    let content_type = header("content-type");
    let payload = if content_type == "application/json" {
        serde_json::from_slice(&body).unwrap()
    } else {
        let (_, payload) = url::form_urlencoded::parse(&body).find(|(name, _)| name == "payload").unwrap();
        serde_json::from_str(&payload).unwrap()
    };
    inbox.received.lock().unwrap().push(Received {
        event: header("x-github-event"),
        delivery: header("x-github-delivery"),
        user_agent: header("user-agent"),
        content_type,
        signed: mac.verify_slice(&signature).is_ok(),
        payload,
    });
    let answer = *inbox.answer.lock().unwrap();
    match answer {
        None => HttpResponse::Accepted().finish(),
        Some((status, after)) => {
            tokio::time::sleep(after).await;
            HttpResponse::build(actix_web::http::StatusCode::from_u16(status.as_u16()).unwrap()).finish()
        }
    }
}
