//! What the double remembers. Times are microseconds since 1970.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

/// Text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One commit status as it was posted; the newest of a context is the one that counts.
#[derive(Clone, Debug, Serialize)]
pub struct CommitStatus {
    /// Grows with each status.
    pub id: i64,
    /// Full id of the commit.
    pub sha: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// What branch protection requires by name.
    pub context: String,
    /// At most 140 characters.
    pub description: Option<String>,
    /// Where "Details" leads.
    pub target_url: Option<String>,
    /// Login of who posted it.
    pub creator: String,
    /// When it was accepted, in microseconds since 1970.
    pub created_at_us: i64,
}

/// A deployment with its statuses, oldest first.
#[derive(Clone, Debug, Serialize)]
pub struct Deployment {
    /// Grows with each deployment.
    pub id: i64,
    /// Full id of the commit.
    pub sha: String,
    /// Branch, tag or commit as the caller named it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `deploy` unless the caller says otherwise.
    pub task: String,
    /// Name of the environment.
    pub environment: String,
    /// At most 140 characters.
    pub description: Option<String>,
    /// Whatever the caller attached.
    pub payload: Value,
    /// The environment will not exist later: a preview.
    pub transient_environment: bool,
    /// End users use it.
    pub production_environment: bool,
    /// Login of who made it.
    pub creator: String,
    /// When it was made, in microseconds since 1970.
    pub created_at_us: i64,
    /// When its newest status came, in microseconds since 1970.
    pub updated_at_us: i64,
    /// Oldest first.
    pub statuses: Vec<DeploymentStatus>,
}

/// One status of a deployment.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentStatus {
    /// Grows with each status.
    pub id: i64,
    /// `queued`, `pending`, `in_progress`, `success`, `failure`, `error` or `inactive`.
    pub state: String,
    /// At most 140 characters.
    pub description: String,
    /// Where the deployment can be seen; empty when not given.
    pub environment_url: String,
    /// Where its log can be read; empty when not given.
    pub log_url: String,
    /// Login of who posted it.
    pub creator: String,
    /// When it was accepted, in microseconds since 1970.
    pub created_at_us: i64,
}

/// How a webhook's payload is written into its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// The JSON itself.
    Json,
    /// `payload=<JSON>`, form-encoded: what GitHub does unless told otherwise.
    Form,
}

/// Whose events a webhook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Those of one repository.
    Repository,
    /// Those of all repositories of an owner.
    Organization,
    /// Those of all repositories that a GitHub App is installed in: here all there are.
    Integration,
}

impl Target {
    /// `X-GitHub-Hook-Installation-Target-Type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Organization => "organization",
            Self::Integration => "integration",
        }
    }
}

/// A webhook of a repository, an organisation or an App.
#[derive(Clone, Debug, Serialize)]
pub struct Hook {
    /// Id in the REST calls.
    pub id: i64,
    /// Whose events it is told of.
    pub target: Target,
    /// Where deliveries go.
    pub url: String,
    /// How the body is written.
    pub content_type: ContentType,
    #[serde(skip)]
    pub(crate) secret: Option<Secret>,
    /// `1` when the receiver's certificate is not checked.
    pub insecure_ssl: String,
    /// Names of events; `*` is all of them.
    pub events: Vec<String>,
    /// Nothing is sent while false.
    pub active: bool,
    /// When it was made, in microseconds since 1970.
    pub created_at_us: i64,
    /// When it was changed last, in microseconds since 1970.
    pub updated_at_us: i64,
    /// Status code and text of the newest delivery.
    pub last_response: Option<(u16, String)>,
}

impl Hook {
    /// Whether deliveries are signed.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    pub(crate) fn wants(&self, event: &str) -> bool {
        self.active && (event == "ping" || self.events.iter().any(|e| e == "*" || e == event))
    }
}

/// One attempt to deliver one webhook.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Id in the REST calls; a redelivery has its own.
    pub id: i64,
    /// `X-GitHub-Delivery`; a redelivery keeps it.
    pub guid: String,
    /// The webhook it was sent for.
    pub hook_id: i64,
    /// The App's installation, if it is the App's webhook.
    pub installation_id: Option<i64>,
    /// Owner of the repository.
    pub owner: String,
    /// Name of the repository.
    pub repository: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's `action`.
    pub action: Option<String>,
    /// Whether somebody asked for it to be sent again.
    pub redelivery: bool,
    /// When the request was sent, in microseconds since 1970.
    pub requested_at_us: i64,
    /// When it ended, in microseconds since 1970; absent while it is under way.
    pub responded_at_us: Option<i64>,
    /// What the receiver answered; 0 when it did not.
    pub status_code: u16,
    /// `OK`, or what went wrong.
    pub status: String,
    /// Headers of the request.
    pub request_headers: BTreeMap<String, String>,
    /// The payload, whatever the content type.
    #[serde(serialize_with = "shared")]
    pub payload: Arc<Value>,
    /// Headers of the answer.
    pub response_headers: BTreeMap<String, String>,
    /// Beginning of the answer's body.
    pub response_body: String,
}

impl Delivery {
    /// From the request until the answer, in microseconds.
    pub fn duration_us(&self) -> Option<i64> {
        self.responded_at_us.map(|end| end - self.requested_at_us)
    }

    /// Whether the receiver answered with 2xx.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

fn shared<S: serde::Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

/// One end of a pull request.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Side {
    /// Owner of the repository.
    pub owner: String,
    /// Name of the repository.
    pub repository: String,
    /// Name of the branch without `refs/heads/`.
    pub branch: String,
    /// Commit of the branch when the pull request was last updated.
    pub sha: String,
}

/// A pull request.
#[derive(Clone, Debug, Serialize)]
pub struct PullRequest {
    /// Id across all repositories.
    pub id: i64,
    /// Number within the repository.
    pub number: u64,
    /// One line.
    pub title: String,
    /// Text below it.
    pub body: Option<String>,
    /// False once closed or merged.
    pub open: bool,
    /// Not ready for review.
    pub draft: bool,
    /// Whether it ended in the base branch.
    pub merged: bool,
    /// Where the commits are.
    pub head: Side,
    /// Where they shall go.
    pub base: Side,
    /// Login of the author.
    pub author: String,
    /// Names in the order in which they were added.
    pub labels: Vec<String>,
    /// Microseconds since 1970.
    pub created_at_us: i64,
    /// Microseconds since 1970.
    pub updated_at_us: i64,
    /// Microseconds since 1970.
    pub closed_at_us: Option<i64>,
    /// Microseconds since 1970.
    pub merged_at_us: Option<i64>,
    /// Login of who merged it.
    pub merged_by: Option<String>,
    /// The test merge while open, the merge afterwards.
    pub merge_commit_sha: Option<String>,
    /// Whether head and base merge without a conflict.
    pub mergeable: Option<bool>,
    /// Number of commits.
    pub commits: u64,
    /// Lines.
    pub additions: u64,
    /// Lines.
    pub deletions: u64,
    /// Number of files.
    pub changed_files: u64,
}

/// A comment below a pull request or an issue.
#[derive(Clone, Debug, Serialize)]
pub struct Comment {
    /// Id in the REST calls.
    pub id: i64,
    /// The pull request.
    pub number: u64,
    /// Markdown.
    pub body: String,
    /// Login of the author.
    pub author: String,
    /// Microseconds since 1970.
    pub created_at_us: i64,
    /// Microseconds since 1970.
    pub updated_at_us: i64,
}

/// One REST call as it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct ApiCall {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path below the API's base, without the query.
    pub path: String,
    /// Path as GitHub's description writes it; empty for a call the double does not know.
    pub template: String,
    /// Status code of the answer.
    pub status: u16,
    /// Login of the caller; empty when not authenticated.
    pub login: String,
    /// When it arrived, in microseconds since 1970.
    pub at_us: i64,
    /// Until it was answered, in microseconds.
    pub duration_us: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub id: i64,
    pub name: String,
}

#[derive(Debug)]
pub(crate) struct Repository {
    pub id: i64,
    pub owner: String,
    pub name: String,
    pub private: bool,
    pub default_branch: String,
    pub fork: bool,
    pub created_at_us: i64,
    pub pushed_at_us: i64,
    pub path: PathBuf,
    /// What fetches read while the double plays a lag between push and fetch.
    pub replica: Option<PathBuf>,
    pub statuses: Vec<CommitStatus>,
    pub deployments: Vec<Deployment>,
    pub hooks: Vec<Hook>,
    pub pulls: BTreeMap<u64, PullRequest>,
    pub comments: Vec<Comment>,
    pub labels: IndexMap<String, Label>,
    /// Commits that the REST calls do not see yet.
    pub hidden: HashMap<String, Instant>,
}

impl Repository {
    pub(crate) fn open_pulls(&self) -> usize {
        self.pulls.values().filter(|p| p.open).count()
    }

    pub(crate) fn is_hidden(&self, sha: &str) -> bool {
        self.hidden.get(sha).is_some_and(|until| *until > Instant::now())
    }
}

/// Who a token is, and what it may do.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub login: String,
    pub write: bool,
    pub hooks: bool,
    /// Microseconds since 1970; `None` never.
    pub expires_at_us: Option<i64>,
}
