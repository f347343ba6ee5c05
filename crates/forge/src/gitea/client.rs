use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Method, redirect};
use serde_json::Value;

use crate::accounts::{AccountError, Credential, ForgeClient};
use crate::error::Failure;
use crate::pulls::PageCache;
use crate::{FeedbackError, RepositoryRef};

const CALL_LIMIT: Duration = Duration::from_secs(20);

/// One account of a Gitea or Forgejo.
pub(crate) struct GiteaClient {
    http: Client,
    /// `https://git.example/api/v1`
    api_url: String,
    pub(super) pages: PageCache,
}

impl ForgeClient for GiteaClient {}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl GiteaClient {
    pub(crate) fn new(api_url: &str, credential: &Credential) -> Result<Self, AccountError> {
        // Fails if there is a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let invalid = |reason: String| AccountError::Invalid { what: "Gitea account", reason };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match credential {
            Credential::None => {}
            Credential::Token(token) => {
                let value = HeaderValue::from_str(&format!("token {token}"));
                let mut value = value.map_err(|_| invalid("the token has characters that no token has".into()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            Credential::App { .. } => return Err(invalid("Gitea has no Apps; use a token".into())),
        }
        let http = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .timeout(CALL_LIMIT)
            // A redirect could lead the token elsewhere, and turns a POST into a GET.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let base = api_url.trim_end_matches('/');
        let api_url = if base.ends_with("/api/v1") { base.to_owned() } else { format!("{base}/api/v1") };
        Ok(Self { http, api_url, pages: PageCache::default() })
    }

    /// Calls `path` below the repository's address. Any answer but one with a status in `expected` is an error.
    pub(super) async fn call(
        &self,
        repository: &RepositoryRef,
        method: Method,
        path: &str,
        body: Option<&Value>,
        tag: Option<&str>,
        expected: &[u16],
    ) -> Result<Answer, FeedbackError> {
        repository.check()?;
        let mut request = self.http.request(method, format!("{}{}{path}", self.api_url, repository.api_path()));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = request.send().await.map_err(on_the_way)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(on_the_way)?;
        if expected.contains(&status) {
            return Ok(Answer { status, headers, body });
        }
        if status < 400 {
            let message = format!("answered {status} where {expected:?} was expected; has it moved?");
            return Err(FeedbackError::Permanent { message });
        }
        Err(Failure::of(status, &headers, &body).classify(jiff::Timestamp::now()))
    }
}

fn on_the_way(error: reqwest::Error) -> FeedbackError {
    let error = error.without_url();
    let mut message = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        message = format!("{message}: {cause}");
    }
    FeedbackError::Transient { retry_after: None, message: crate::feedback::cut(&message, 300) }
}
