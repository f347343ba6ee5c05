//! Who we are for a forge: where credentials come from and how they look.

mod file;
mod secrets;

use async_trait::async_trait;

pub use file::StaticCredentials;
pub use secrets::{NamedSecret, SecretCredentials, Taken};

use crate::{Remote, RepositoryUrl, Secret, Transport};

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

/// Which credential a remote gets: the name of what it comes from, never the secret. Remotes that are served by the same share
/// what has been fetched; others do not, because they may be shown something else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Grant(String);

impl Grant {
    /// No credential: what everybody may see.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The credential of this name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Whether it is no credential at all.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for no credential.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Where credentials come from.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Which credential this remote gets. A credential that belongs to a project serves no other.
    fn grant(&self, remote: &Remote) -> Grant;

    /// The credential that a grant names, if it still covers the URL. Asked before every call to a forge, so short-lived
    /// tokens can be renewed here.
    async fn credential(&self, url: &RepositoryUrl, grant: &Grant) -> Option<Credential>;
}

/// Anonymous for everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

#[async_trait]
impl Credentials for NoCredentials {
    fn grant(&self, _: &Remote) -> Grant {
        Grant::anonymous()
    }

    async fn credential(&self, _: &RepositoryUrl, _: &Grant) -> Option<Credential> {
        None
    }
}

/// Whether `url` lies under `prefix`: the same scheme, host and port, and a path that begins with the prefix's. The host is
/// compared as a whole, so that a prefix without a path gives nothing to `host.attacker.example`. Returns the length of the
/// prefix's path, by which the longest is found.
fn under(url: &RepositoryUrl, prefix: &Prefix) -> Option<usize> {
    let same_scheme = match prefix.transport {
        Some(transport) => transport == url.transport(),
        // Without a scheme nobody has said that the secret may be sent unencrypted, except to this machine itself.
        None => match url.transport() {
            Transport::Https | Transport::Ssh => true,
            Transport::Http => url.is_loopback(),
            Transport::Local => false,
        },
    };
    let same_port = match (prefix.transport, prefix.port) {
        (None, Some(port)) => url.effective_port() == Some(port),
        (_, port) => url.port() == port,
    };
    let same_place = same_scheme && same_port && prefix.host == url.host();
    (same_place && compared_path(url).starts_with(&prefix.path)).then_some(prefix.path.len())
}

/// The path as prefixes compare it.
fn compared_path(url: &RepositoryUrl) -> String {
    url.path().to_lowercase()
}

/// The beginning of a URL: at least a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    /// `None`: encrypted, over any transport.
    transport: Option<Transport>,
    host: String,
    /// `None`: the scheme's own.
    port: Option<u16>,
    path: String,
}

impl Prefix {
    /// Reads a URL, the beginning of one, or a host with or without port (then for any encrypted transport).
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // A repository needs a path and a prefix does not: complete it, and take the completion off again.
        const COMPLETION: &str = "~~";
        if let Some((host, port)) = host_alone(text) {
            let url = RepositoryUrl::parse(&format!("ssh://{host}/{COMPLETION}")).ok()?;
            return Some(Self { transport: None, host: url.host().to_owned(), port, path: String::new() });
        }
        let complete = match text.split_once("://") {
            Some((_, rest)) if !rest.contains('/') => format!("{text}/{COMPLETION}"),
            None if !text.contains(':') && !text.starts_with('/') => format!("{text}:{COMPLETION}"),
            _ => format!("{text}{COMPLETION}"),
        };
        let url = RepositoryUrl::parse(&complete).ok()?;
        let path = compared_path(&url);
        let path = path.trim_end_matches(COMPLETION);
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        Some(Self { transport: Some(url.transport()), host: url.host().to_owned(), port: url.port(), path })
    }
}

/// A host with or without port, and nothing else.
fn host_alone(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    (!host.is_empty() && !host.contains(['/', '@'])).then_some((host, port))
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
            ("https://github.com", "http://github.com/acme/shop", false),
            ("http://github.com", "https://github.com/acme/shop", false),
            ("https://github.com/acme", "http://github.com:443/acme/shop", false),
            ("https://github.com/acme", "https://github.com/other/../acme/shop", true),
            ("https://github.com/acme", "https://github.com/acme/../other/shop", false),
            ("https://github.com:443/acme", "https://x@github.com./%61cme/shop", true),
            ("https://forge.example:8443", "https://forge.example/acme/shop", false),
            ("https://forge.example:8443", "https://forge.example:8443/acme/shop", true),
            ("git@github.com:acme", "git@github.com:acme/shop.git", true),
            ("git@github.com:", "git@github.com:acme/shop.git", true),
            ("git@github.com", "git@github.com:acme/shop.git", true),
            ("ssh://git@github.com", "git@github.com:acme/shop.git", true),
            ("github.com", "https://github.com/acme/shop.git", true),
            ("github.com", "http://github.com/acme/shop.git", false),
            ("github.com", "https://github.com:444/acme/shop.git", false),
            ("forge.example:8443", "https://forge.example:8443/acme/shop.git", true),
            ("forge.example:8443", "http://forge.example:8443/acme/shop.git", false),
            ("forge.example:2222", "ssh://git@forge.example:2222/acme/shop.git", true),
            ("forge.example:443", "https://forge.example/acme/shop.git", true),
            ("forge.example:22", "https://forge.example/acme/shop.git", false),
            ("forge.example:22", "git@forge.example:acme/shop.git", true),
            ("localhost:3000", "http://localhost:3000/acme/shop.git", true),
            ("localhost.example:3000", "http://localhost.example:3000/acme/shop.git", false),
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
