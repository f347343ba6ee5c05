use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::feedback::FeedbackWriter;
use crate::gitea::client::GiteaClient;
use crate::github::client::GithubClient;
use crate::hooks::Hooks;
use crate::outbox::Limits;
use crate::pulls::PullRequests;
use crate::redelivery::Redeliveries;
use crate::{ForgeKind, RepositoryRef};

/// Everything that Lockstep asks of a forge.
pub trait ForgeClient: FeedbackWriter + PullRequests + Hooks {
    /// The way to failed deliveries. `None` where the forge offers none, or only to those who have a credential.
    fn redeliveries(&self) -> Option<&dyn Redeliveries> {
        None
    }
}

/// Who Lockstep is at a forge.
#[derive(Clone)]
pub enum Credential {
    /// Nobody: for public reading, and for tests.
    None,
    /// A personal, bot or fine-grained token.
    Token(String),
    /// A GitHub App, acting through its installation at each repository's owner.
    App {
        /// The App's id.
        id: u64,
        /// Its private key, in PEM (PKCS#1 or PKCS#8).
        private_key_pem: String,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::App { id, .. } => write!(f, "App({id}, …)"),
        }
    }
}

/// An account at a forge, as it is configured.
#[derive(Debug, Clone)]
pub struct ForgeAccount {
    /// What it is called in logs and metrics.
    pub name: String,
    /// Which forge it is.
    pub kind: ForgeKind,
    /// Base of the REST API: `https://api.github.com`, `https://ghe.example/api/v3`, `https://git.example`.
    pub api_url: String,
    /// Hosts whose repositories it is for; `*` stands for any characters, and a host without a port for any port.
    /// Empty: the API's own host (`github.com` for `api.github.com`).
    pub hosts: Vec<String>,
    /// Who to be there.
    pub credential: Credential,
    /// How many writes the forge takes.
    pub limits: Limits,
}

impl ForgeAccount {
    /// An account for the API's own host, with the limits that its kind of forge has.
    pub fn new(kind: ForgeKind, api_url: &str, credential: Credential) -> Self {
        let limits = match kind {
            ForgeKind::Github => Limits::github(),
            ForgeKind::Gitea => Limits::unlimited(),
        };
        let (name, api_url) = (format!("{kind}:{}", host_of(api_url).unwrap_or_default()), api_url.to_owned());
        Self { name, kind, api_url, hosts: Vec::new(), credential, limits }
    }
}

/// Why an account cannot be used. Says nothing of the credential's content.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Something about it is not valid.
    #[error("the {what} is not usable: {reason}")]
    Invalid {
        /// Which thing.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key of a GitHub App.
    #[error("the GitHub App's private key is not an RSA key in PEM; download it again from the App's settings")]
    PrivateKey,
    /// The address of the API.
    #[error("the API address {0:?} of a forge is not an http or https URL; write it like https://api.github.com")]
    Address(String),
    /// Two accounts with one name.
    #[error("two forge accounts are called {0:?}; give them different names")]
    Twice(String),
}

/// An account that is ready to be used.
#[derive(Clone)]
pub struct Account {
    config: Arc<ForgeAccount>,
    hosts: Arc<[String]>,
    client: Arc<dyn ForgeClient>,
}

impl Account {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The forge's web pages, under which its repositories have their addresses: `https://github.com`.
    pub fn web_address(&self) -> Option<String> {
        let url = Url::parse(&self.config.api_url).ok()?;
        let host = host_of(&self.config.api_url)?;
        let host = if host == "api.github.com" { "github.com" } else { &host };
        Some(format!("{}://{host}", url.scheme()))
    }

    /// Which forge it is.
    pub fn kind(&self) -> ForgeKind {
        self.config.kind
    }

    /// How many writes the forge takes.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The way to the forge.
    pub fn client(&self) -> &Arc<dyn ForgeClient> {
        &self.client
    }
}

/// All accounts, and which of them is for which repository.
#[derive(Clone, Default)]
pub struct Forges(Vec<Account>);

impl Forges {
    /// Prepares the accounts. Must be called inside a Tokio runtime; nothing is sent yet.
    pub fn new(accounts: Vec<ForgeAccount>) -> Result<Self, AccountError> {
        let mut ready: Vec<Account> = Vec::new();
        for config in accounts {
            if ready.iter().any(|other| other.name() == config.name) {
                return Err(AccountError::Twice(config.name));
            }
            let host = host_of(&config.api_url).ok_or_else(|| AccountError::Address(config.api_url.clone()))?;
            let own = if host == "api.github.com" { "github.com".into() } else { host };
            let hosts = if config.hosts.is_empty() { vec![own] } else { config.hosts.clone() };
            let client: Arc<dyn ForgeClient> = match config.kind {
                ForgeKind::Github => Arc::new(GithubClient::new(&config.api_url, &config.credential)?),
                ForgeKind::Gitea => Arc::new(GiteaClient::new(&config.api_url, &config.credential)?),
            };
            ready.push(Account { hosts: hosts.into(), config: Arc::new(config), client });
        }
        Ok(Self(ready))
    }

    /// All of them.
    pub fn accounts(&self) -> &[Account] {
        &self.0
    }

    /// The account for a repository's clone or web address, and the repository's name there. `kind` narrows the choice
    /// where it is known. A host with its port is preferred to a host without.
    pub fn for_url(&self, address: &str, kind: Option<ForgeKind>) -> Option<(&Account, RepositoryRef)> {
        let repository = RepositoryRef::from_url(address)?;
        let (host, port) = host_and_port(address)?;
        let with_port = port.map(|port| format!("{host}:{port}"));
        let fits = |account: &&Account, text: &str| {
            kind.is_none_or(|kind| account.kind() == kind) && account.hosts.iter().any(|glob| matches(glob, text))
        };
        let exact = with_port.as_deref().and_then(|text| self.0.iter().find(|account| fits(account, text)));
        let any_port = |glob: &String| matches(glob.split(':').next().unwrap_or_default(), &host);
        let account = exact.or_else(|| self.0.iter().find(|account| fits(account, &host))).or_else(|| {
            // The API may listen on another port than Git.
            let mut of_kind = self.0.iter().filter(|account| kind.is_none_or(|kind| account.kind() == kind));
            of_kind.find(|account| account.config.hosts.is_empty() && account.hosts.iter().any(any_port))
        })?;
        Some((account, repository))
    }

    /// The account for the repository of a delivery or a feedback: by its web address, else by its clone addresses.
    pub fn for_repository(&self, repository: &wire::Repository, forge: wire::Forge) -> Option<&Account> {
        let kind = ForgeKind::try_from(forge).ok();
        let addresses = std::iter::once(&repository.html_url).chain(&repository.clone_urls);
        addresses.into_iter().find_map(|address| self.for_url(address, kind)).map(|(account, _)| account)
    }
}

/// Host with its port, if the address names one.
fn host_of(address: &str) -> Option<String> {
    let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn host_and_port(address: &str) -> Option<(String, Option<u16>)> {
    if !address.contains("://") {
        // git@github.com:acme/gateway.git
        let (host, _) = address.split_once(':')?;
        let host = host.rsplit('@').next()?;
        return (!host.is_empty()).then(|| (host.to_ascii_lowercase(), None));
    }
    let url = Url::parse(address).ok()?;
    let host = url.host_str()?.to_ascii_lowercase();
    // A port of ssh says nothing about the one of the API.
    let port = url.port().filter(|_| url.scheme().starts_with("http"));
    Some((host, port))
}

/// Whether `text` fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("github.com", "github.com", true),
            ("github.com", "github.com.evil.example", false),
            ("*.github.com", "a.github.com", true),
            ("*.github.com", "github.com", false),
            ("*", "anything", true),
            ("git*.ex*ple", "git1.example", true),
            ("git*.ex*ple", "git1.exle", false),
            ("a*a", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[tokio::test]
    async fn the_account_is_chosen_by_host() {
        let account = |kind, api: &str, hosts: &[&str]| ForgeAccount {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..ForgeAccount::new(kind, api, Credential::Token("t0ken".into()))
        };
        let forges = Forges::new(vec![
            account(ForgeKind::Github, "https://api.github.com", &[]),
            account(ForgeKind::Github, "https://ghe.example/api/v3", &["ghe.example", "*.ghe.example"]),
            account(ForgeKind::Gitea, "http://127.0.0.1:3000", &[]),
            account(ForgeKind::Github, "http://127.0.0.1:4000", &[]),
        ])
        .unwrap();
        let (github, gitea) = (Some(ForgeKind::Github), Some(ForgeKind::Gitea));
        let cases = [
            ("https://github.com/acme/x", None, Some("github:api.github.com")),
            ("git@github.com:acme/x.git", None, Some("github:api.github.com")),
            ("ssh://git@pages.ghe.example:2222/acme/x", None, Some("github:ghe.example")),
            ("http://127.0.0.1:3000/acme/x", None, Some("gitea:127.0.0.1:3000")),
            ("http://127.0.0.1:4000/acme/x", None, Some("github:127.0.0.1:4000")),
            ("ssh://git@127.0.0.1:2200/acme/x", gitea, Some("gitea:127.0.0.1:3000")),
            ("http://127.0.0.1:5000/acme/x", github, Some("github:127.0.0.1:4000")),
            ("https://github.com/acme/x", gitea, None),
            ("https://github.com.evil.example/acme/x", None, None),
            ("https://api.github.com/acme", None, None),
            ("nonsense", None, None),
        ];
        for (address, kind, expected) in cases {
            let found = forges.for_url(address, kind).map(|(account, _)| account.name());
            assert_eq!(found, expected, "{address}");
        }
        assert!(!format!("{:?}", forges.0[0].config).contains("t0ken"));
    }

    #[tokio::test]
    async fn accounts_that_cannot_work() {
        let new = |kind, api: &str, credential| Forges::new(vec![ForgeAccount::new(kind, api, credential)]);
        let app = || Credential::App { id: 1, private_key_pem: "s3cret".into() };
        for (result, message) in [
            (new(ForgeKind::Github, "github.com", Credential::None), "https://api.github.com"),
            (new(ForgeKind::Github, "https://api.github.com", app()), "private key"),
            (new(ForgeKind::Gitea, "https://git.example", app()), "use a token"),
            (new(ForgeKind::Gitea, "https://git.example", Credential::Token("a\nb".into())), "token"),
        ] {
            let error = result.err().unwrap().to_string();
            assert!(error.contains(message) && !error.contains("s3cret"), "{error}");
        }
    }
}
