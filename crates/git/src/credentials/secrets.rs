//! Credentials from the Secrets that Argo CD's users have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::{Authentication, Credential, Credentials, Prefix, Secret, under};
use crate::RepositoryUrl;

/// The label by which a Secret says what it is.
const TYPE_LABEL: &str = "argocd.argoproj.io/secret-type";

/// Credentials kept up to date from Secrets labelled `argocd.argoproj.io/secret-type: repository` (one repository) or
/// `repo-creds` (every repository under a URL). Whoever watches the Secrets calls [`set`](Self::set) and
/// [`remove`](Self::remove).
///
/// A `repository` Secret that carries no credential itself takes it from the longest `repo-creds` prefix, as it does in
/// Argo CD. A prefix never reaches beyond its host.
#[derive(Default)]
pub struct SecretCredentials {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Entry>,
    known_hosts: Option<String>,
    certificates: BTreeMap<String, String>,
}

struct Entry {
    exact: bool,
    project: Option<String>,
    prefix: Prefix,
    credential: Credential,
}

/// What became of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in use.
    Used,
    /// It is none of ours: another label, or a repository that is not Git (Helm, OCI).
    Ignored,
    /// It is ours and says nothing usable; the reason is for a log line or a condition.
    Unusable(&'static str),
}

impl SecretCredentials {
    /// Empty: anonymous for everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a Secret as it is now. `name` identifies it for [`remove`](Self::remove); `labels` and the decoded `data`
    /// are the Secret's own. A Secret that is no longer usable is forgotten.
    pub fn set(&self, name: &str, labels: &BTreeMap<String, String>, data: &BTreeMap<String, Vec<u8>>) -> Taken {
        let (entry, taken) = match Entry::read(labels, data) {
            Ok(Some(entry)) => (Some(entry), Taken::Used),
            Ok(None) => (None, Taken::Ignored),
            Err(reason) => (None, Taken::Unusable(reason)),
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Some(entry) => state.secrets.insert(name.to_owned(), entry),
            None => state.secrets.remove(name),
        };
        taken
    }

    /// Forgets a Secret.
    pub fn remove(&self, name: &str) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).secrets.remove(name);
    }

    /// The lines of `ssh_known_hosts` in the ConfigMap `argocd-ssh-known-hosts-cm`.
    pub fn set_known_hosts(&self, lines: Option<String>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).known_hosts = lines.filter(|l| !l.trim().is_empty());
    }

    /// The data of the ConfigMap `argocd-tls-certs-cm`: host to PEM certificates.
    pub fn set_certificates(&self, by_host: BTreeMap<String, String>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).certificates = by_host;
    }

    /// The credential for a repository and the project that asks for it; a Secret of another project is not used.
    #[must_use]
    pub fn credential_for(&self, url: &RepositoryUrl, project: Option<&str>) -> Option<Credential> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .credential(url, |owner| project.is_none_or(|p| p == owner))
    }
}

impl State {
    fn credential(&self, url: &RepositoryUrl, permitted: impl Fn(&str) -> bool + Copy) -> Option<Credential> {
        let of = |exact: bool| {
            let covering =
                self.secrets.values().filter(move |e| e.exact == exact && e.project.as_deref().is_none_or(permitted));
            let measured = covering.filter_map(|e| {
                let length = under(url, &e.prefix)?;
                let whole = url.place().3.len() == length;
                (whole || !exact).then_some((length, e.project.is_none(), e))
            });
            // The longest; among equals the one of no project, which everybody may use.
            measured.max_by_key(|(length, shared, _)| (*length, *shared)).map(|(_, _, e)| &e.credential)
        };
        let own = of(true);
        let general = of(false);
        let mut credential = match (own, general) {
            (Some(own), Some(general)) if own.authentication == Authentication::Anonymous => {
                Credential { authentication: general.authentication.clone(), ..own.clone() }
            }
            (Some(own), _) => own.clone(),
            (None, Some(general)) => general.clone(),
            (None, None) => Credential::default(),
        };
        credential.known_hosts = credential.known_hosts.or_else(|| self.known_hosts.clone());
        credential.ca_certificates = credential.ca_certificates.or_else(|| self.certificates.get(url.host()).cloned());
        (credential != Credential::default()).then_some(credential)
    }
}

impl Entry {
    fn read(labels: &BTreeMap<String, String>, data: &BTreeMap<String, Vec<u8>>) -> Result<Option<Self>, &'static str> {
        let exact = match labels.get(TYPE_LABEL).map(String::as_str) {
            Some("repository") => true,
            Some("repo-creds") => false,
            _ => return Ok(None),
        };
        let text = |key: &str| {
            let value = data.get(key).and_then(|v| std::str::from_utf8(v).ok()).filter(|v| !v.trim().is_empty());
            value.map(str::to_owned)
        };
        if text("type").is_some_and(|kind| kind.trim() != "git") {
            return Ok(None);
        }
        let url = text("url").ok_or("it has no url")?;
        let prefix = Prefix::parse(&url).ok_or("its url cannot be used")?;
        let flag = |key: &str| text(key).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let authentication = if let Some(key) = text("sshPrivateKey") {
            Authentication::SshKey { private_key: Secret::new(key) }
        } else if let Some(token) = text("bearerToken") {
            Authentication::Bearer { token: Secret::new(token.trim()) }
        } else if let Some(password) = text("password") {
            let username = text("username").unwrap_or_else(|| "x-access-token".to_owned());
            Authentication::Basic {
                username: username.trim().to_owned(),
                password: Secret::new(password.trim_end_matches(['\r', '\n'])),
            }
        } else if text("githubAppID").is_some() || text("githubAppPrivateKey").is_some() {
            return Err("a GitHub App is not supported here; give the App to the forge account, or use a token");
        } else {
            Authentication::Anonymous
        };
        let credential = Credential {
            authentication,
            insecure: flag("insecure") || flag("insecureIgnoreHostKey"),
            client_certificate: text("tlsClientCertData"),
            client_key: text("tlsClientCertKey").map(Secret::new),
            proxy: text("proxy"),
            ..Credential::default()
        };
        Ok(Some(Self { exact, project: text("project"), prefix, credential }))
    }
}

impl fmt::Debug for SecretCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.state.read().unwrap_or_else(PoisonError::into_inner).secrets.len();
        write!(f, "SecretCredentials({count} secrets)")
    }
}

#[async_trait]
impl Credentials for SecretCredentials {
    async fn credential(&self, url: &RepositoryUrl) -> Option<Credential> {
        self.credential_for(url, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(credentials: &SecretCredentials, name: &str, kind: &str, data: &[(&str, &str)]) -> Taken {
        let labels = BTreeMap::from([(TYPE_LABEL.to_owned(), kind.to_owned())]);
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        credentials.set(name, &labels, &data)
    }

    fn password(credentials: &SecretCredentials, url: &str) -> Option<String> {
        match credentials.credential_for(&RepositoryUrl::parse(url).unwrap(), None)?.authentication {
            Authentication::Basic { password, .. } => Some(password.reveal().to_owned()),
            Authentication::Bearer { token } => Some(token.reveal().to_owned()),
            Authentication::SshKey { private_key } => Some(private_key.reveal().to_owned()),
            Authentication::Anonymous => None,
        }
    }

    #[test]
    fn a_repository_secret_is_for_one_url_and_repo_creds_for_all_beneath() {
        let c = SecretCredentials::new();
        assert_eq!(
            set(
                &c,
                "a",
                "repository",
                &[("url", "https://f.example/acme/shop"), ("username", "u"), ("password", "shop\n")]
            ),
            Taken::Used
        );
        assert_eq!(
            set(&c, "b", "repo-creds", &[("url", "https://f.example"), ("username", "u"), ("password", "host")]),
            Taken::Used
        );
        assert_eq!(
            set(&c, "c", "repo-creds", &[("url", "https://f.example/acme"), ("bearerToken", "acme")]),
            Taken::Used
        );
        assert_eq!(set(&c, "d", "repo-creds", &[("url", "git@f.example:acme"), ("sshPrivateKey", "key")]), Taken::Used);
        assert_eq!(
            set(&c, "e", "repository", &[("url", "https://f.example/acme/bare"), ("insecure", "true")]),
            Taken::Used
        );
        let cases = [
            ("https://f.example/acme/shop.git", Some("shop")),
            ("https://F.example/Acme/Shop", Some("shop")),
            ("https://f.example/acme/shop2", Some("acme")),
            ("https://f.example/other/x", Some("host")),
            ("https://f.example/acme/bare", Some("acme")),
            ("git@f.example:acme/shop", Some("key")),
            ("https://f.example.evil.example/acme/shop", None),
            ("https://g.example/acme/shop", None),
        ];
        for (url, wanted) in cases {
            assert_eq!(password(&c, url).as_deref(), wanted, "{url}");
        }
        assert!(
            c.credential_for(&RepositoryUrl::parse("https://f.example/acme/bare").unwrap(), None).unwrap().insecure
        );
        c.remove("a");
        assert_eq!(password(&c, "https://f.example/acme/shop").as_deref(), Some("acme"));
    }

    #[test]
    fn secrets_that_are_not_ours_or_not_usable_are_told_apart() {
        let c = SecretCredentials::new();
        let url = ("url", "https://f.example/acme/shop");
        assert_eq!(set(&c, "a", "cluster", &[url]), Taken::Ignored);
        assert_eq!(set(&c, "a", "repository", &[url, ("type", "helm")]), Taken::Ignored);
        assert!(matches!(set(&c, "a", "repository", &[("password", "x")]), Taken::Unusable(_)));
        assert!(matches!(set(&c, "a", "repository", &[url, ("githubAppID", "1")]), Taken::Unusable(_)));
        assert_eq!(set(&c, "a", "repository", &[url, ("type", "git"), ("password", "x")]), Taken::Used);
        // Taking away what made it usable takes away the credential.
        assert!(matches!(set(&c, "a", "repository", &[("password", "x")]), Taken::Unusable(_)));
        assert_eq!(password(&c, url.1), None);
    }

    #[test]
    fn a_secret_of_a_project_is_for_that_project() {
        let c = SecretCredentials::new();
        let url = RepositoryUrl::parse("https://f.example/acme/shop").unwrap();
        set(&c, "a", "repository", &[("url", "https://f.example/acme/shop"), ("password", "x"), ("project", "shop")]);
        assert!(c.credential_for(&url, Some("shop")).is_some());
        assert!(c.credential_for(&url, Some("other")).is_none());
        assert!(c.credential_for(&url, None).is_some());
    }

    #[test]
    fn known_hosts_and_certificates_apply_to_anonymous_repositories_too() {
        let c = SecretCredentials::new();
        c.set_known_hosts(Some("f.example ssh-ed25519 AAAA".into()));
        c.set_certificates(BTreeMap::from([("f.example".to_owned(), "PEM".to_owned())]));
        let found = c.credential_for(&RepositoryUrl::parse("https://f.example/a/b").unwrap(), None).unwrap();
        assert_eq!(found.ca_certificates.as_deref(), Some("PEM"));
        assert!(found.known_hosts.is_some());
    }
}
