//! Starting, stopping, and asking the double.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Call};
use crate::core::{Core, State, key};
use crate::faults::{Fault, Faults};
use crate::git::{Bare, GitError};
use crate::model::{
    ApiCall, Comment, CommitStatus, ContentType, Delivery, Deployment, Hook, Identity, PullRequest, Repository, Secret,
    Target,
};
use crate::openapi::{Openapi, OpenapiError, Violation};
use crate::reply::{Body, Reply};
use crate::routes;
use crate::time::now_us;
use crate::views::Links;
use crate::{http, webhooks};

/// What can go wrong while setting things up.
#[derive(Debug, thiserror::Error)]
pub enum DoubleError {
    /// The port is taken, or the system refuses.
    #[error("github-double cannot listen on 127.0.0.1:{port} ({source}); choose another port, or 0 for a free one")]
    Listen {
        /// As asked for.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// Files or threads.
    #[error("github-double: {0}")]
    Io(#[from] std::io::Error),
    /// Git.
    #[error("github-double: {0}")]
    Git(String),
    /// The description for the checks.
    #[error(transparent)]
    Openapi(#[from] OpenapiError),
    /// The HTTP client for webhooks.
    #[error("github-double: no HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// No name for a repository.
    #[error("{0:?} is no name for an owner or a repository; use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// There is one already.
    #[error("{0} exists already; choose another name or folder")]
    Exists(String),
    /// The forge would refuse it.
    #[error("GitHub would answer {status}: {message}")]
    Refused {
        /// Status code.
        status: u16,
        /// What is wrong.
        message: String,
    },
}

impl From<GitError> for DoubleError {
    fn from(error: GitError) -> Self {
        Self::Git(error.to_string())
    }
}

impl From<Reply> for DoubleError {
    fn from(reply: Reply) -> Self {
        let message = match &reply.body {
            Body::Json(value) => value["errors"][0]["message"].as_str().or(value["message"].as_str()),
            _ => None,
        };
        Self::Refused { status: reply.status, message: message.unwrap_or_default().to_owned() }
    }
}

/// How to start a [`Double`].
#[derive(Clone)]
pub struct DoubleOptions {
    /// 0 takes a free one.
    pub port: u16,
    /// Where the bare repositories are kept.
    pub root: PathBuf,
    /// When set, every call and git request needs this token (or one of [`Double::add_token`]).
    pub token: Option<String>,
    /// Login of that token's owner, and of whoever needs none.
    pub login: String,
    /// Path of the API's base. GitHub Enterprise Server has `/api/v3`; empty serves the calls at the root as github.com does.
    pub api_prefix: String,
    /// GitHub's OpenAPI description (see [`crate::assets::openapi`]); without it nothing is checked.
    pub openapi: Option<PathBuf>,
}

impl std::fmt::Debug for DoubleOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DoubleOptions")
            .field("port", &self.port)
            .field("root", &self.root)
            .field("token", &self.token.as_ref().map(|_| "[redacted]"))
            .field("login", &self.login)
            .field("api_prefix", &self.api_prefix)
            .field("openapi", &self.openapi)
            .finish()
    }
}

impl DoubleOptions {
    /// A free port, no token, the API at `/api/v3`, no checks.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            port: 0,
            root: root.into(),
            token: None,
            login: "octo-dev".to_owned(),
            api_prefix: "/api/v3".to_owned(),
            openapi: None,
        }
    }

    /// Listens on that port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Requires that token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Names the token's owner.
    #[must_use]
    pub fn login(mut self, login: impl Into<String>) -> Self {
        self.login = login.into();
        self
    }

    /// Serves the REST calls below that path.
    #[must_use]
    pub fn api_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.api_prefix = prefix.into();
        self
    }

    /// Checks everything against that description.
    #[must_use]
    pub fn openapi(mut self, path: impl Into<PathBuf>) -> Self {
        self.openapi = Some(path.into());
        self
    }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAccess {
    /// Everything.
    Write,
    /// Everything but webhooks, which cannot even be seen.
    NoHooks,
    /// Only `GET` and fetching, and no webhooks; 403 for the rest.
    Read,
}

/// What is needed to open a pull request.
#[derive(Clone, Debug)]
pub struct NewPullRequest {
    /// One line.
    pub title: String,
    /// `branch`, or `owner:branch` of a fork.
    pub head: String,
    /// The branch it shall go into.
    pub base: String,
    /// Not ready for review.
    pub draft: bool,
}

impl NewPullRequest {
    /// Ready for review.
    pub fn new(title: &str, head: &str, base: &str) -> Self {
        Self { title: title.to_owned(), head: head.to_owned(), base: base.to_owned(), draft: false }
    }
}

/// A running double. Dropping it stops it; its repositories stay in its folder.
pub struct Double {
    core: Arc<Core>,
    server: ServerHandle,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Double {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Double").field("url", &self.core.links.web).finish_non_exhaustive()
    }
}

impl Double {
    /// Starts on its own threads, so that a test that blocks does not block the forge.
    pub async fn start(options: DoubleOptions) -> Result<Self, DoubleError> {
        // Whoever was first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(("127.0.0.1", options.port))
            .map_err(|source| DoubleError::Listen { port: options.port, source })?;
        let web = format!("http://{}", listener.local_addr()?);
        tokio::fs::create_dir_all(&options.root).await?;
        let openapi = match options.openapi {
            Some(path) => Some(
                tokio::task::spawn_blocking(move || Openapi::load(&path)).await.map_err(std::io::Error::other)??,
            ),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (events, received) = mpsc::unbounded_channel();
        let identity = Identity { login: options.login.clone(), write: true, hooks: true, expires_at_us: None };
        let api_prefix = options.api_prefix.trim_end_matches('/').to_owned();
        let core = Arc::new(Core {
            root: tokio::fs::canonicalize(&options.root).await?,
            links: Links { api: format!("{web}{api_prefix}"), web },
            api_prefix,
            authenticated: options.token.is_some(),
            login: options.login,
            openapi,
            // Proxies are for the outside; a webhook's receiver is not.
            http: reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            runtime: runtime.handle().clone(),
            events,
            writing: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(0),
            next_id: AtomicI64::new(1_000),
            state: Mutex::new(State {
                tokens: options.token.into_iter().map(|t| (t, identity.clone())).collect(),
                ..State::default()
            }),
        });
        let stop = CancellationToken::new();
        let (server, thread) = serve(core.clone(), listener, received, runtime, stop.clone()).await?;
        tracing::info!(url = core.links.web, "github-double listens");
        Ok(Self { core, server, stop, thread: Some(thread) })
    }

    /// Stops listening and sending.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.server.stop(false).await;
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.core.links.web
    }

    /// Base of the REST calls.
    pub fn api_url(&self) -> &str {
        &self.core.links.api
    }

    /// Where to clone a repository from and push it to.
    pub fn clone_url(&self, owner: &str, name: &str) -> String {
        format!("{}/{owner}/{name}.git", self.core.links.web)
    }

    /// The bare repository's folder; absent when there is no such repository.
    pub fn repository_path(&self, owner: &str, name: &str) -> Option<PathBuf> {
        self.core.state().repository(owner, name).map(|r| r.path.clone())
    }

    /// Makes a repository with the default branch `main`, which has a folder's files as its first commit.
    pub async fn create_repository(&self, owner: &str, name: &str, seed: Option<&Path>) -> Result<(), DoubleError> {
        create_repository(&self.core, owner, name, seed).await
    }

    /// Makes a fork of a repository, with its branches as they are now.
    pub async fn fork(&self, owner: &str, name: &str, into: &str) -> Result<(), DoubleError> {
        let from = self.core.bare(owner, name)?;
        create_repository(&self.core, into, name, None).await?;
        self.core.bare(into, name)?.copy(&from, false).await?;
        self.core.write(into, name, |r| r.fork = true)?;
        Ok(())
    }

    /// Lets another token in.
    pub fn add_token(&self, token: impl Into<String>, login: &str, access: TokenAccess) {
        let identity = Identity {
            login: login.to_owned(),
            write: access != TokenAccess::Read,
            hooks: access == TokenAccess::Write,
            expires_at_us: None,
        };
        self.core.state().tokens.insert(token.into(), identity);
    }

    /// Full id of the commit behind a branch, tag or id.
    pub async fn commit_id(&self, owner: &str, name: &str, revision: &str) -> Option<String> {
        self.core.bare(owner, name).ok()?.resolve(revision).await.ok()?
    }

    /// Statuses of a commit, oldest first. The commit is named by its full id (see [`Double::commit_id`]).
    pub fn statuses(&self, owner: &str, name: &str, sha: &str) -> Vec<CommitStatus> {
        self.look(owner, name, |r| r.statuses.iter().filter(|s| s.sha == sha).cloned().collect())
    }

    /// Statuses of all commits, oldest first.
    pub fn all_statuses(&self, owner: &str, name: &str) -> Vec<CommitStatus> {
        self.look(owner, name, |r| r.statuses.clone())
    }

    /// Deployments, oldest first.
    pub fn deployments(&self, owner: &str, name: &str) -> Vec<Deployment> {
        self.look(owner, name, |r| r.deployments.clone())
    }

    /// Webhooks, oldest first.
    pub fn hooks(&self, owner: &str, name: &str) -> Vec<Hook> {
        self.look(owner, name, |r| r.hooks.clone())
    }

    /// Comments on all pull requests, oldest first.
    pub fn comments(&self, owner: &str, name: &str) -> Vec<Comment> {
        self.look(owner, name, |r| r.comments.clone())
    }

    /// Pull requests by number, closed ones included.
    pub fn pull_requests(&self, owner: &str, name: &str) -> Vec<PullRequest> {
        self.look(owner, name, |r| r.pulls.values().cloned().collect())
    }

    fn look<T: Default>(&self, owner: &str, name: &str, look: impl FnOnce(&Repository) -> T) -> T {
        self.core.state().repository(owner, name).map(look).unwrap_or_default()
    }

    /// Webhooks that were sent for a repository, oldest first.
    pub fn deliveries(&self, owner: &str, name: &str) -> Vec<Delivery> {
        let wanted = key(owner, name);
        self.core.state().deliveries.iter().filter(|d| key(&d.owner, &d.repository) == wanted).cloned().collect()
    }

    /// REST calls in the order of their answers.
    pub fn calls(&self) -> Vec<ApiCall> {
        self.core.state().calls.clone()
    }

    /// Sends a delivery again, as the button on GitHub's page does.
    pub fn redeliver(&self, delivery: &Delivery) {
        let hook = self.core.state().hook(delivery.hook_id).cloned();
        if let Some(hook) = hook {
            webhooks::redeliver(&self.core, hook, delivery);
        }
    }

    /// Makes a signed webhook without a REST call.
    pub async fn add_hook(
        &self,
        owner: &str,
        name: &str,
        url: &str,
        secret: Option<&str>,
        events: &[&str],
    ) -> Result<i64, DoubleError> {
        let mut config = json!({"url": url, "content_type": "json"});
        if let Some(secret) = secret {
            config["secret"] = secret.into();
        }
        let path = format!("/repos/{owner}/{name}/hooks");
        let hook = self.call("POST", &path, json!({"config": config, "events": events})).await?;
        Ok(hook["id"].as_i64().unwrap_or_default())
    }

    /// Makes a signed webhook of an organisation, which is told of all its repositories.
    pub fn add_organization_hook(&self, organization: &str, url: &str, secret: Option<&str>, events: &[&str]) -> i64 {
        let hook = self.new_hook(Target::Organization, url, secret, events);
        let id = hook.id;
        self.core.state().organization_hooks.entry(organization.to_lowercase()).or_default().push(hook);
        id
    }

    /// Makes the App's signed webhook, which is told of all repositories, in place of the one before.
    pub fn set_app_hook(&self, url: &str, secret: Option<&str>, events: &[&str]) -> i64 {
        let hook = self.new_hook(Target::Integration, url, secret, events);
        let id = hook.id;
        self.core.state().app_hook = Some(hook);
        id
    }

    fn new_hook(&self, target: Target, url: &str, secret: Option<&str>, events: &[&str]) -> Hook {
        let now = now_us();
        Hook {
            id: self.core.id(),
            target,
            url: url.to_owned(),
            content_type: ContentType::Json,
            secret: secret.map(|secret| Secret(secret.to_owned())),
            insecure_ssl: "0".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            active: true,
            created_at_us: now,
            updated_at_us: now,
            last_response: None,
        }
    }

    /// Opens a pull request between two pushed branches.
    pub async fn open_pull_request(
        &self,
        owner: &str,
        name: &str,
        new: &NewPullRequest,
    ) -> Result<PullRequest, DoubleError> {
        let path = format!("/repos/{owner}/{name}/pulls");
        let body = json!({"title": new.title, "head": new.head, "base": new.base, "draft": new.draft});
        let opened = self.call("POST", &path, body).await?;
        let number = opened["number"].as_u64().unwrap_or_default();
        self.pull_request(owner, name, number)
    }

    /// Closes a pull request without merging it.
    pub async fn close_pull_request(&self, owner: &str, name: &str, number: u64) -> Result<PullRequest, DoubleError> {
        self.call("PATCH", &format!("/repos/{owner}/{name}/pulls/{number}"), json!({"state": "closed"})).await?;
        self.pull_request(owner, name, number)
    }

    /// Opens a closed pull request again.
    pub async fn reopen_pull_request(&self, owner: &str, name: &str, number: u64) -> Result<PullRequest, DoubleError> {
        self.call("PATCH", &format!("/repos/{owner}/{name}/pulls/{number}"), json!({"state": "open"})).await?;
        self.pull_request(owner, name, number)
    }

    /// Merges a pull request with a merge commit.
    pub async fn merge_pull_request(&self, owner: &str, name: &str, number: u64) -> Result<PullRequest, DoubleError> {
        self.call("PUT", &format!("/repos/{owner}/{name}/pulls/{number}/merge"), json!({})).await?;
        self.pull_request(owner, name, number)
    }

    /// Adds labels to a pull request.
    pub async fn add_labels(&self, owner: &str, name: &str, number: u64, labels: &[&str]) -> Result<(), DoubleError> {
        let path = format!("/repos/{owner}/{name}/issues/{number}/labels");
        self.call("POST", &path, json!({"labels": labels})).await.map(drop)
    }

    /// Takes a label from a pull request.
    pub async fn remove_label(&self, owner: &str, name: &str, number: u64, label: &str) -> Result<(), DoubleError> {
        let path = format!("/repos/{owner}/{name}/issues/{number}/labels/{label}");
        self.call("DELETE", &path, Value::Null).await.map(drop)
    }

    /// Makes a pull request a draft or ready for review; GitHub has no REST call for that.
    pub fn set_draft(&self, owner: &str, name: &str, number: u64, draft: bool) -> Result<(), DoubleError> {
        let id = (owner.to_owned(), name.to_owned(), number);
        Ok(api::set_draft(&self.core, &id, draft, &self.core.login)?)
    }

    fn pull_request(&self, owner: &str, name: &str, number: u64) -> Result<PullRequest, DoubleError> {
        let found = self.core.read(owner, name, |r| r.pulls.get(&number).cloned())?;
        Ok(found.ok_or_else(Reply::not_found)?)
    }

    /// A REST call without HTTP, token and log.
    async fn call(&self, method: &'static str, path: &str, body: Value) -> Result<Value, DoubleError> {
        let call = Call {
            route: routes::find(method, path).ok_or_else(Reply::not_found)?,
            query: HashMap::new(),
            body,
            accept: String::new(),
            address: format!("{}{path}", self.core.links.api),
            login: self.core.login.clone(),
        };
        let reply = api::handle(&self.core, &call).await;
        match reply.body {
            Body::Json(value) if reply.status < 300 => Ok(value),
            _ if reply.status < 300 => Ok(Value::Null),
            _ => Err(reply.into()),
        }
    }

    /// Replaces everything that is to go wrong.
    pub async fn faults(&self, faults: Faults) -> Result<(), DoubleError> {
        set_faults(&self.core, faults).await
    }

    /// Adds one thing that is to go wrong.
    pub fn fault(&self, fault: Fault) {
        self.core.state().faults.calls.push(fault);
    }

    /// Calls allowed in an hour (5,000 on GitHub); the count begins anew.
    pub fn rate_limit(&self, limit: u64) {
        let mut state = self.core.state();
        state.rate.limit = limit;
        state.rate.used = 0;
    }

    /// What was not as GitHub describes it; a test ends with this empty.
    pub fn violations(&self) -> Vec<Violation> {
        self.core.state().violations.clone()
    }

    /// Changes with everything that happens.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.core.changed.subscribe()
    }

    /// Waits until `find` finds something, looking again whenever anything happened; `None` when the time is over.
    pub async fn until<T>(&self, within: Duration, mut find: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changes = self.changes();
        let search = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = find(self) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    // The sender lives as long as `self`.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, search).await.ok()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.cancel();
        // The command is on its way once this returns; there is nobody to wait for it.
        drop(self.server.stop(false));
    }
}

/// Runs the server and the webhooks on a thread until told to stop.
async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    events: mpsc::UnboundedReceiver<crate::events::Event>,
    runtime: tokio::runtime::Runtime,
    stop: CancellationToken,
) -> Result<(ServerHandle, std::thread::JoinHandle<()>), DoubleError> {
    let (started, handle) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("github-double".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(webhooks::run(core.clone(), events, stop));
            let data = web::Data::from(core);
            let server =
                HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(http::handle)))
                    .workers(2)
                    .shutdown_timeout(1)
                    .disable_signals()
                    .listen(listener);
            match server {
                Ok(server) => {
                    let server = server.run();
                    let _ = started.send(Ok(server.handle()));
                    if let Err(error) = server.await {
                        tracing::error!(%error, "github-double ended");
                    }
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        });
        runtime.shutdown_background();
    })?;
    let handle = handle.await.map_err(std::io::Error::other)??;
    Ok((handle, thread))
}

fn valid_name(name: &str) -> Result<(), DoubleError> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if letters && !name.is_empty() && !name.starts_with('.') && !name.ends_with(".git") {
        return Ok(());
    }
    Err(DoubleError::Name(name.to_owned()))
}

pub(crate) async fn create_repository(
    core: &Arc<Core>,
    owner: &str,
    name: &str,
    seed: Option<&Path>,
) -> Result<(), DoubleError> {
    valid_name(owner)?;
    valid_name(name)?;
    let path = core.root.join(owner).join(format!("{name}.git"));
    if path.exists() || core.state().repository(owner, name).is_some() {
        return Err(DoubleError::Exists(format!("{owner}/{name}")));
    }
    let bare = Bare::init(&path, "main").await?;
    if let Some(seed) = seed {
        bare.seed(&tokio::fs::canonicalize(seed).await?, "main").await?;
    }
    let now = now_us();
    let repository = Repository {
        id: core.id(),
        owner: owner.to_owned(),
        name: name.to_owned(),
        private: core.authenticated,
        default_branch: "main".to_owned(),
        fork: false,
        created_at_us: now,
        pushed_at_us: now,
        path,
        replica: None,
        statuses: Vec::new(),
        deployments: Vec::new(),
        hooks: Vec::new(),
        pulls: Default::default(),
        comments: Vec::new(),
        labels: Default::default(),
        hidden: HashMap::new(),
    };
    core.state().repositories.insert(key(owner, name), repository);
    core.notify();
    Ok(())
}

/// A lag of fetches needs a second copy of each repository, which follows the first late.
pub(crate) async fn set_faults(core: &Arc<Core>, faults: Faults) -> Result<(), DoubleError> {
    let _writing = core.writing.lock().await;
    let lagging = faults.lag.is_some_and(|lag| lag.git_ms > 0);
    let repositories: Vec<(String, String, PathBuf)> =
        core.state().repositories.values().map(|r| (r.owner.clone(), r.name.clone(), r.path.clone())).collect();
    for (owner, name, path) in repositories {
        let replica = if lagging {
            let copy = core.root.join(".replicas").join(uuid::Uuid::new_v4().to_string());
            let replica = Bare::init(&copy, "main").await?;
            replica.copy(&Bare(path), true).await?;
            Some(copy)
        } else {
            None
        };
        core.write(&owner, &name, |r| r.replica = replica)?;
    }
    core.state().faults = faults;
    Ok(())
}
