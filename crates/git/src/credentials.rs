//! Who we are for a forge: where credentials come from and how they look.

mod file;
mod secrets;

use std::fmt;

use async_trait::async_trait;

pub use file::StaticCredentials;
pub use secrets::{SecretCredentials, Taken};

use crate::RepositoryUrl;

/// A password, token or key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; only for handing it to the forge.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Not at all: a public repository.
    #[default]
    Anonymous,
    /// User name and password over HTTP; most forges take a token as the password.
    Basic {
        /// The user name. With a token most forges accept any that is not empty.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// A bearer token over HTTP.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A private key for SSH, in PEM or OpenSSH format, without a passphrase.
    SshKey {
        /// The key.
        private_key: Secret,
    },
}

/// What is needed to reach one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// How to prove who we are.
    pub authentication: Authentication,
    /// Skip the check of the forge's certificate (HTTPS) or host key (SSH). Only for trying things out.
    pub insecure: bool,
    /// PEM certificates to trust instead of the system's.
    pub ca_certificates: Option<String>,
    /// PEM client certificate for HTTPS.
    pub client_certificate: Option<String>,
    /// PEM key of the client certificate.
    pub client_key: Option<Secret>,
    /// Lines of a `known_hosts` file. Without it the system's and the user's files decide.
    pub known_hosts: Option<String>,
    /// The proxy for HTTP(S); without it the environment's decides.
    pub proxy: Option<String>,
}

impl Credential {
    /// User name and password over HTTP.
    #[must_use]
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        let authentication = Authentication::Basic { username: username.into(), password: Secret::new(password) };
        Self { authentication, ..Self::default() }
    }

    /// A forge's access token, sent as the password of a user name that GitHub, GitLab, Gitea and Bitbucket accept.
    #[must_use]
    pub fn token(token: impl Into<String>) -> Self {
        Self::basic("x-access-token", token)
    }

    /// A private key for SSH.
    #[must_use]
    pub fn ssh_key(private_key: impl Into<String>) -> Self {
        Self { authentication: Authentication::SshKey { private_key: Secret::new(private_key) }, ..Self::default() }
    }
}

/// Where credentials come from. Asked before every call to a forge, so short-lived tokens can be renewed here.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// The credential for this repository; `None` means anonymous.
    async fn credential(&self, url: &RepositoryUrl) -> Option<Credential>;
}

/// Anonymous for everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

#[async_trait]
impl Credentials for NoCredentials {
    async fn credential(&self, _: &RepositoryUrl) -> Option<Credential> {
        None
    }
}

/// Whether `url` lies under `prefix`: the same kind of transport, host and port, and a path that begins with the
/// prefix's. The host is compared as a whole, so that a prefix without a path gives nothing to `host.attacker.example`.
/// Returns the length of the prefix's path, by which the longest is found.
fn under(url: &RepositoryUrl, prefix: &Prefix) -> Option<usize> {
    let (ssh, host, port, path) = url.place();
    let same_place =
        prefix.ssh.is_none_or(|p| p == ssh) && prefix.host == host && (prefix.any_port || prefix.port == port);
    (same_place && path.starts_with(&prefix.path)).then_some(prefix.path.len())
}

/// The beginning of a URL: at least a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    /// `None`: over any transport.
    ssh: Option<bool>,
    host: String,
    port: Option<u16>,
    any_port: bool,
    path: String,
}

impl Prefix {
    /// Reads a URL, the beginning of one, or a host with or without port (then for any transport).
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(prefix) = Self::host_alone(text) {
            return Some(prefix);
        }
        // A repository needs a path and a prefix does not: complete it, and take the completion off again.
        const COMPLETION: &str = "~~";
        let complete = match text.split_once("://") {
            Some((_, rest)) if !rest.contains('/') => format!("{text}/{COMPLETION}"),
            None if !text.contains(':') && !text.starts_with('/') => format!("{text}:{COMPLETION}"),
            _ => format!("{text}{COMPLETION}"),
        };
        let url = RepositoryUrl::parse(&complete).ok()?;
        let (ssh, host, port, path) = url.place();
        let path = path.trim_end_matches(COMPLETION);
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        Some(Self { ssh: Some(ssh), host: host.to_owned(), port, any_port: false, path })
    }

    fn host_alone(text: &str) -> Option<Self> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let plain = !host.is_empty() && !host.contains(['/', '@', ':']);
        let host = host.to_ascii_lowercase();
        plain.then_some(Self { ssh: None, host, port, any_port: port.is_none(), path: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_one_host_and_the_paths_that_begin_with_it() {
        let cases = [
            ("https://github.com", "https://github.com/acme/shop", true),
            ("https://github.com/", "https://github.com/acme/shop", true),
            ("https://github.com/acme", "https://github.com/acme/shop.git", true),
            ("https://github.com/acme/", "https://github.com/acme/shop.git", true),
            ("https://GitHub.com/Acme", "https://github.com/acme/shop", true),
            ("https://github.com/acme/", "https://github.com/acme-corp/shop", false),
            ("https://github.com/acme", "https://github.com/acme-corp/shop", true),
            ("https://github.com/acme/shop.git", "https://github.com/acme/shop", true),
            ("https://github.com", "https://github.com.evil.example/acme/shop", false),
            ("https://github.com/acme", "https://evil.example/acme/shop", false),
            ("https://github.com", "git@github.com:acme/shop", false),
            ("https://forge.example:8443", "https://forge.example/acme/shop", false),
            ("https://forge.example:8443", "https://forge.example:8443/acme/shop", true),
            ("git@github.com:acme", "git@github.com:acme/shop.git", true),
            ("git@github.com:", "git@github.com:acme/shop.git", true),
            ("git@github.com", "git@github.com:acme/shop.git", true),
            ("ssh://git@github.com", "git@github.com:acme/shop.git", true),
            ("github.com", "https://github.com:444/acme/shop.git", true),
            ("github.com", "git@github.com:acme/shop.git", true),
            ("127.0.0.1:3000", "http://127.0.0.1:3000/acme/shop.git", true),
            ("127.0.0.1:3000", "http://127.0.0.1:4000/acme/shop.git", false),
            ("github.com", "https://api.github.com/acme/shop.git", false),
        ];
        for (prefix, url, wanted) in cases {
            let parsed = Prefix::parse(prefix);
            let url_parsed = RepositoryUrl::parse(url).unwrap();
            let found = parsed.as_ref().and_then(|p| under(&url_parsed, p)).is_some();
            assert_eq!(found, wanted, "{prefix} {url} {parsed:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", Credential::basic("joe", "hunter2"), Credential::ssh_key("hunter2"));
        assert!(!shown.contains("hunter2") && shown.contains("joe"), "{shown}");
    }
}
