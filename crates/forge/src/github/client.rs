use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use octocrab::Octocrab;
use octocrab::models::AppId;
use octocrab::service::middleware::retry::RetryConfig;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use serde_json::Value;

use super::feedback::Deployments;
use crate::accounts::{AccountError, Credential, ForgeClient};
use crate::error::Failure;
use crate::pulls::PageCache;
use crate::redelivery::Redeliveries;
use crate::{FeedbackError, RepositoryRef};

/// GitHub ends a request after ten seconds itself.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// One account of GitHub: a token, or an App with an installation for each owner.
pub(crate) struct GithubClient {
    root: Arc<Octocrab>,
    is_app: bool,
    has_credential: bool,
    /// By owner in lower case. Shared, not cloned: a clone of an `Octocrab` has a token of its own to ask for.
    installations: Mutex<HashMap<String, Arc<Octocrab>>>,
    pub(super) deployments: Deployments,
    pub(super) pages: PageCache,
}

impl ForgeClient for GithubClient {
    fn redeliveries(&self) -> Option<&dyn Redeliveries> {
        self.has_credential.then_some(self)
    }
}

/// octocrab's own type wants fields that are of no use here.
#[derive(serde::Deserialize)]
struct Installation {
    id: u64,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl GithubClient {
    /// Must be called inside a Tokio runtime, which octocrab's connection pool lives in.
    pub(crate) fn new(api_url: &str, credential: &Credential) -> Result<Self, AccountError> {
        let invalid =
            |error: octocrab::Error| AccountError::Invalid { what: "GitHub account", reason: error.to_string() };
        let builder = Octocrab::builder()
            // Retries are the outbox's: it knows what else waits, and which calls may be repeated.
            .add_retry_config(RetryConfig::None)
            .set_connect_timeout(Some(Duration::from_secs(5)))
            .set_read_timeout(Some(CALL_LIMIT))
            .base_uri(api_url.trim_end_matches('/'))
            .map_err(invalid)?;
        let builder = match credential {
            Credential::None => builder,
            Credential::Token(token) => builder.personal_token(token.as_str()),
            Credential::App { id, private_key_pem } => builder
                .app_from_rsa_pem(AppId(*id), private_key_pem.as_bytes())
                .map_err(|_| AccountError::PrivateKey)?,
        };
        Ok(Self {
            root: Arc::new(builder.build().map_err(invalid)?),
            is_app: matches!(credential, Credential::App { .. }),
            has_credential: !matches!(credential, Credential::None),
            installations: Mutex::default(),
            deployments: Deployments::default(),
            pages: PageCache::default(),
        })
    }

    /// Calls `path` below the repository's address. Any answer but one with a status in `expected` is an error.
    pub(super) async fn call(
        &self,
        repository: &RepositoryRef,
        method: Method,
        path: &str,
        body: Option<&Value>,
        expected: &[u16],
    ) -> Result<Answer, FeedbackError> {
        self.conditional(repository, method, path, body, None, expected).await
    }

    /// Like [`Self::call`], with the tag of what is known already.
    pub(super) async fn conditional(
        &self,
        repository: &RepositoryRef,
        method: Method,
        path: &str,
        body: Option<&Value>,
        tag: Option<&str>,
        expected: &[u16],
    ) -> Result<Answer, FeedbackError> {
        repository.check()?;
        let uri = format!("{}{path}", repository.api_path());
        self.exchange(Some(repository), method, uri, body, tag, expected).await
    }

    /// Calls any path of the API. An App acts by its installation for the repository `through`, without one as itself.
    pub(super) async fn exchange(
        &self,
        through: Option<&RepositoryRef>,
        method: Method,
        uri: String,
        body: Option<&Value>,
        tag: Option<&str>,
        expected: &[u16],
    ) -> Result<Answer, FeedbackError> {
        let sent = tokio::time::timeout(CALL_LIMIT, async {
            let client = match through {
                Some(repository) => self.client_for(repository).await?,
                None => self.root.clone(),
            };
            send(&client, method, uri, body, tag).await
        });
        let answer = sent.await.map_err(|_| FeedbackError::Transient {
            retry_after: None,
            message: format!("no answer within {} s", CALL_LIMIT.as_secs()),
        })??;
        if expected.contains(&answer.status) {
            return Ok(answer);
        }
        if answer.status < 400 {
            let message = format!("answered {} where {expected:?} was expected; has it moved?", answer.status);
            return Err(FeedbackError::Permanent { message });
        }
        Err(Failure::of(answer.status, &answer.headers, &answer.body).classify(jiff::Timestamp::now()))
    }

    /// Whether the account is a GitHub App.
    pub(super) fn is_app(&self) -> bool {
        self.is_app
    }

    /// The client that may act for the repository: of an App, the one of its owner's installation.
    async fn client_for(&self, repository: &RepositoryRef) -> Result<Arc<Octocrab>, FeedbackError> {
        if !self.is_app {
            return Ok(self.root.clone());
        }
        let owner = repository.owner.to_ascii_lowercase();
        if let Some(client) = self.installations().get(&owner) {
            return Ok(client.clone());
        }
        let answer =
            send(&self.root, Method::GET, format!("{}/installation", repository.api_path()), None, None).await?;
        let installation: Installation = match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|error| FeedbackError::Transient {
                retry_after: None,
                message: format!("the App's installation is not what was expected: {error}"),
            })?,
            404 => {
                let message = format!("the GitHub App is not installed for {repository}");
                return Err(FeedbackError::Unauthorized { message });
            }
            status => {
                return Err(Failure::of(status, &answer.headers, &answer.body).classify(jiff::Timestamp::now()));
            }
        };
        let client = Arc::new(self.root.installation(installation.id.into()).map_err(classify)?);
        self.installations().insert(owner, client.clone());
        Ok(client)
    }

    fn installations(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Octocrab>>> {
        self.installations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(
    client: &Octocrab,
    method: Method,
    uri: String,
    body: Option<&Value>,
    tag: Option<&str>,
) -> Result<Answer, FeedbackError> {
    let headers = tag.and_then(|tag| HeaderValue::from_str(tag).ok()).map(|tag| {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, tag);
        headers
    });
    let response = match method {
        Method::GET => client._get_with_headers(uri, headers).await,
        Method::PATCH => client._patch(uri, body).await,
        Method::DELETE => client._delete(uri, body).await,
        _ => client._post(uri, body).await,
    }
    .map_err(classify)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = client.body_to_string(response).await.map_err(classify)?;
    Ok(Answer { status, headers, body: body.into() })
}

/// Errors on the way, and those of the call that octocrab makes for itself: for an installation's token.
fn classify(error: octocrab::Error) -> FeedbackError {
    match error {
        octocrab::Error::GitHub { source, .. } => {
            let headers = source.headers.clone().unwrap_or_default();
            let body = serde_json::json!({ "message": source.message }).to_string();
            Failure::of(source.status_code.as_u16(), &headers, body.as_bytes()).classify(jiff::Timestamp::now())
        }
        octocrab::Error::JWT { .. } => {
            FeedbackError::Unauthorized { message: "the GitHub App's private key cannot sign".into() }
        }
        other => FeedbackError::Transient { retry_after: None, message: root_cause(&other) },
    }
}

/// octocrab's own texts carry backtraces; the innermost cause says what happened.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    crate::feedback::cut(cause.to_string().lines().next().unwrap_or_default(), 300)
}
