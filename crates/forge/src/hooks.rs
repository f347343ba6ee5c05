//! Installing Lockstep's webhook in a repository.

use async_trait::async_trait;

use crate::redelivery::leads_to_lockstep;
use crate::{FeedbackError, RepositoryRef};

/// What [`Hooks::ensure_webhook`] did. A forge never tells a webhook's secret, so one that exists is always written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// There was none with this address.
    Created,
    /// There was one; it now has these events and this secret.
    Updated,
}

/// The events that Lockstep needs.
pub const EVENTS: [&str; 2] = ["push", "pull_request"];

/// Installs webhooks.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// Makes sure that `repository` sends `events`, in JSON and signed with `secret`, to `url`.
    async fn ensure_webhook(
        &self,
        repository: &RepositoryRef,
        url: &str,
        secret: &str,
        events: &[&str],
    ) -> Result<Ensured, FeedbackError>;
}

/// A webhook as both forges list it.
#[derive(serde::Deserialize)]
pub(crate) struct HookJson {
    pub(crate) id: u64,
    #[serde(default)]
    config: HookConfig,
    active: Option<bool>,
}

/// The part of a webhook's configuration that matters.
#[derive(serde::Deserialize, Default)]
pub(crate) struct HookConfig {
    pub(crate) url: Option<String>,
}

impl HookJson {
    /// True if it sends to `url`, give or take a slash at the end.
    pub(crate) fn sends_to(&self, url: &str) -> bool {
        self.config.url.as_deref().is_some_and(|own| own.trim_end_matches('/') == url.trim_end_matches('/'))
    }

    /// True if it is switched on and leads to some receiver of Lockstep.
    pub(crate) fn is_lockstep(&self) -> bool {
        self.active != Some(false) && self.config.url.as_deref().is_some_and(leads_to_lockstep)
    }
}

pub(crate) fn read_hooks(body: &[u8]) -> Result<Vec<HookJson>, FeedbackError> {
    serde_json::from_slice(body).map_err(|error| FeedbackError::Permanent {
        message: format!("the list of webhooks is not what was expected: {error}"),
    })
}
