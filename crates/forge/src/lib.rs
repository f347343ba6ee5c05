//! GitHub and Gitea, as Lockstep sees them: webhooks in ([`webhook`]), checks and deployments out ([`feedback`], and
//! [`outbox`], which writes them in order and within the forge's limits), open pull requests ([`pulls`]), the webhook's own
//! installation ([`hooks`]), and failed deliveries once more ([`redelivery`], which only GitHub has). A forge is a folder with
//! the same files as its neighbour.
//!
//! This crate never reads Git content and never trusts a payload further than "look there": a credential is only ever
//! sent to the address that was configured with it, never to one that a payload names.
//!
//! ```
//! use forge::webhook::{self, Headers, Parsed, Secret};
//!
//! let secret = Secret::new("it's a secret to everybody")?;
//! let body = br#"{"zen":"Keep it logically awesome."}"#;
//! let signature = format!("sha256={}", hex::encode(secret.sign(body)));
//! let headers = Headers::from_iter([
//!     ("X-GitHub-Event", "ping"),
//!     ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
//!     ("X-Hub-Signature-256", signature.as_str()),
//!     ("Content-Type", "application/json"),
//! ]);
//! let kind = webhook::identify(&headers).expect("GitHub's headers");
//! let verified = webhook::verify(kind, &headers, body, &[secret])?;
//! assert!(matches!(webhook::parse(verified, 1_700_000_000_000), Parsed::Ping));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod error;
pub mod feedback;
mod gitea;
mod github;
pub mod hooks;
mod kind;
pub mod outbox;
pub mod pulls;
pub mod redelivery;
pub mod webhook;

pub use accounts::{Account, AccountError, Credential, ForgeAccount, ForgeClient, Forges};
pub use error::FeedbackError;
pub use kind::ForgeKind;

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryRef {
    /// User or organisation.
    pub owner: String,
    /// Name without `.git`.
    pub name: String,
}

impl RepositoryRef {
    /// Takes a repository apart from its clone or web address; None if the address does not end in `owner/name`.
    pub fn from_url(address: &str) -> Option<Self> {
        let path = address.trim_end_matches('/').trim_end_matches(".git");
        let mut parts = path.rsplit(['/', ':']);
        let (name, owner) = (parts.next()?, parts.next()?);
        (is_plain(owner) && is_plain(name)).then(|| Self { owner: owner.into(), name: name.into() })
    }

    /// Refuses names that would lead to another path of the API.
    pub(crate) fn check(&self) -> Result<(), FeedbackError> {
        if is_plain(&self.owner) && is_plain(&self.name) {
            return Ok(());
        }
        Err(FeedbackError::Permanent { message: "the repository's name is not one that a forge allows".into() })
    }

    /// The path of the repository in a REST API: `/repos/owner/name`.
    pub(crate) fn api_path(&self) -> String {
        format!("/repos/{}/{}", self.owner, self.name)
    }
}

impl From<&wire::Repository> for RepositoryRef {
    fn from(repository: &wire::Repository) -> Self {
        Self { owner: repository.owner.clone(), name: repository.name.clone() }
    }
}

impl std::fmt::Display for RepositoryRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// Whether a forge allows `name` for an owner or a repository.
pub(crate) fn is_plain(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_from_addresses() {
        let cases = [
            ("https://github.com/acme/gateway", Some("acme/gateway")),
            ("https://github.com/acme/gateway.git/", Some("acme/gateway")),
            ("git@github.com:acme/gateway.git", Some("acme/gateway")),
            ("ssh://git@git.example:2222/team/acme/web.site", Some("acme/web.site")),
            ("https://git.example/acme/..", None),
            ("https://git.example/acme/a%2fb", None),
            ("gateway", None),
            ("", None),
        ];
        for (address, expected) in cases {
            assert_eq!(RepositoryRef::from_url(address).map(|r| r.to_string()).as_deref(), expected, "{address}");
        }
    }
}
