//! Credentials from the Secrets that Argo CD's users have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::{Authentication, Credential, Credentials, Grant, Prefix, compared_path, under};
use crate::{Remote, RepositoryUrl, Secret};

/// The label by which a Secret says what it is.
const TYPE_LABEL: &str = "argocd.argoproj.io/secret-type";

/// Credentials kept up to date from Secrets labelled `argocd.argoproj.io/secret-type: repository` (one repository) or
/// `repo-creds` (every repository under a URL). Whoever watches the Secrets calls [`reset`](Self::reset) with each whole list,
/// [`set`](Self::set) and [`remove`](Self::remove).
///
/// A Secret with a `project` serves that project only, and comes before one that serves everybody. A `repository` Secret that
/// carries no credential itself takes it from the longest `repo-creds` prefix, as it does in Argo CD. A prefix never reaches
/// beyond its scheme, host and port.
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

/// A Secret as it is.
#[derive(Clone, Debug)]
pub struct NamedSecret {
    /// What it is called.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its decoded data.
    pub data: BTreeMap<String, Vec<u8>>,
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
        let (entry, taken) = Entry::take(labels, data);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Some(entry) => state.secrets.insert(name.to_owned(), entry),
            None => state.secrets.remove(name),
        };
        taken
    }

    /// Takes all Secrets as they are now, in one step: one that is not among them is not used any more, even if nobody has
    /// told that it was deleted. Returns what became of each.
    pub fn reset(&self, secrets: impl IntoIterator<Item = NamedSecret>) -> Vec<(String, Taken)> {
        let mut entries = BTreeMap::new();
        let mut taken = Vec::new();
        for NamedSecret { name, labels, data } in secrets {
            let (entry, outcome) = Entry::take(&labels, &data);
            entries.extend(entry.map(|entry| (name.clone(), entry)));
            taken.push((name, outcome));
        }
        self.state.write().unwrap_or_else(PoisonError::into_inner).secrets = entries;
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

    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// The names of the Secrets that serve a remote: its own, and the general one.
    fn chosen(&self, remote: &Remote) -> [Option<&str>; 2] {
        let [own, general] = [true, false].map(|exact| {
            let covering = self.secrets.iter().filter(move |(_, entry)| entry.exact == exact);
            let measured = covering.filter_map(|(name, entry)| {
                let own = entry.serves(remote.project.as_deref())?;
                Some((own, entry.covers(&remote.url)?, name.as_str()))
            });
            // The project's own before everybody's, then the longest.
            measured.max_by_key(|(own, length, _)| (*own, *length)).map(|(.., name)| name)
        });
        let lacks = |name: &str| {
            self.secrets.get(name).is_none_or(|entry| entry.credential.authentication == Authentication::Anonymous)
        };
        [own, general.filter(|_| own.is_none_or(lacks))]
    }

    fn credential(&self, url: &RepositoryUrl, grant: &Grant) -> Option<Credential> {
        let [own, general] = named(grant).map(|part| {
            let (name, project) = part?;
            let entry = self.secrets.get(name)?;
            // It may be another one by now.
            let same = entry.project.as_deref().unwrap_or_default() == project && entry.covers(url).is_some();
            same.then_some(&entry.credential)
        });
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

/// The Secrets that a grant names, with their projects. Neither a name nor a project has spaces.
fn named(grant: &Grant) -> [Option<(&str, &str)>; 2] {
    let mut words = grant.name().split(' ');
    if words.next() != Some("secret") {
        return [None, None];
    }
    [(); 2].map(|()| words.next().zip(words.next()).filter(|(name, _)| !name.is_empty()))
}

impl Entry {
    fn take(labels: &BTreeMap<String, String>, data: &BTreeMap<String, Vec<u8>>) -> (Option<Self>, Taken) {
        match Self::read(labels, data) {
            Ok(Some(entry)) => (Some(entry), Taken::Used),
            Ok(None) => (None, Taken::Ignored),
            Err(reason) => (None, Taken::Unusable(reason)),
        }
    }

    /// Whether it may be used on behalf of a project, and then whether it is that project's own.
    fn serves(&self, project: Option<&str>) -> Option<bool> {
        match (self.project.as_deref(), project) {
            (None, _) => Some(false),
            (Some(own), Some(project)) if own == project => Some(true),
            (Some(_), _) => None,
        }
    }

    /// Whether it is for a URL, and then how much of its path it names.
    fn covers(&self, url: &RepositoryUrl) -> Option<usize> {
        let length = under(url, &self.prefix)?;
        (!self.exact || compared_path(url).len() == length).then_some(length)
    }

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
        Ok(Some(Self { exact, project: text("project").map(|project| project.trim().to_owned()), prefix, credential }))
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
    fn grant(&self, remote: &Remote) -> Grant {
        self.read(|state| {
            let chosen = state.chosen(remote);
            if chosen == [None, None] {
                return Grant::anonymous();
            }
            let words = chosen.map(|name| {
                let project = name.and_then(|name| state.secrets.get(name)).and_then(|entry| entry.project.as_deref());
                format!("{} {}", name.unwrap_or_default(), project.unwrap_or_default())
            });
            Grant::named(format!("secret {}", words.join(" ")))
        })
    }

    async fn credential(&self, url: &RepositoryUrl, grant: &Grant) -> Option<Credential> {
        self.read(|state| state.credential(url, grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, kind: &str, data: &[(&str, &str)]) -> NamedSecret {
        let labels = BTreeMap::from([(TYPE_LABEL.to_owned(), kind.to_owned())]);
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        NamedSecret { name: name.to_owned(), labels, data }
    }

    fn set(credentials: &SecretCredentials, name: &str, kind: &str, data: &[(&str, &str)]) -> Taken {
        let NamedSecret { name, labels, data } = secret(name, kind, data);
        credentials.set(&name, &labels, &data)
    }

    fn remote(url: &str, project: &str) -> Remote {
        let url = RepositoryUrl::parse(url).unwrap();
        if project.is_empty() { Remote::shared(url) } else { Remote::of(url, project) }
    }

    fn credential(credentials: &SecretCredentials, url: &str, project: &str) -> Option<Credential> {
        let remote = remote(url, project);
        let grant = credentials.grant(&remote);
        credentials.read(|state| state.credential(&remote.url, &grant))
    }

    fn password(credentials: &SecretCredentials, url: &str) -> Option<String> {
        password_for(credentials, url, "")
    }

    fn password_for(credentials: &SecretCredentials, url: &str, project: &str) -> Option<String> {
        match credential(credentials, url, project)?.authentication {
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
            ("http://f.example/acme/shop", None),
            ("http://f.example:443/acme/shop", None),
            ("https://f.example:8443/acme/shop", None),
        ];
        for (url, wanted) in cases {
            assert_eq!(password(&c, url).as_deref(), wanted, "{url}");
        }
        assert!(credential(&c, "https://f.example/acme/bare", "").unwrap().insecure);
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
    fn a_secret_of_a_project_is_for_that_project_and_comes_first() {
        let c = SecretCredentials::new();
        let shop = "https://f.example/acme/shop";
        for (name, kind, url, project) in [
            ("a", "repository", shop, "team-a"),
            ("b", "repo-creds", "https://f.example/acme", "team-b"),
            ("every", "repo-creds", "https://f.example/acme/shop", ""),
            ("host", "repo-creds", "https://f.example", " "),
        ] {
            set(&c, name, kind, &[("url", url), ("password", name), ("project", project)]);
        }
        for (url, project, wanted) in [
            (shop, "team-a", "a"),
            ("https://f.example/acme/shop.git", "team-a", "a"),
            (shop, "team-b", "b"),
            (shop, "team-c", "every"),
            (shop, "", "every"),
            ("https://f.example/acme/x", "team-a", "host"),
            ("https://f.example/acme/x", "team-b", "b"),
            ("https://f.example/acme/x", "default", "host"),
        ] {
            assert_eq!(password_for(&c, url, project).as_deref(), Some(wanted), "{url} {project}");
        }
        // Who is served by the same shares what was fetched, and nobody else.
        let grant = |project: &str| c.grant(&remote(shop, project));
        assert_eq!(grant("team-c"), grant(""));
        assert!(grant("team-a") != grant("") && grant("team-a") != grant("team-b"));
    }

    #[test]
    fn a_grant_ends_with_its_secret() {
        let c = SecretCredentials::new();
        let url = "https://f.example/acme/shop";
        let data = |project| [("url", url), ("password", "x"), ("project", project)];
        set(&c, "a", "repository", &data("team-a"));
        let of_a = remote(url, "team-a");
        let grant = c.grant(&of_a);
        let now = |grant: &Grant| c.read(|state| state.credential(&of_a.url, grant)).is_some();
        assert!(now(&grant) && !now(&Grant::anonymous()) && !now(&Grant::named("file x")));
        // Another Secret of the same name is another grant.
        set(&c, "a", "repository", &data("team-b"));
        assert!(!now(&grant));
        set(
            &c,
            "a",
            "repository",
            &[("url", "https://f.example/acme/other"), ("password", "x"), ("project", "team-a")],
        );
        assert!(!now(&grant));
        c.remove("a");
        assert!(!now(&grant) && c.grant(&of_a).is_anonymous());
    }

    #[test]
    fn a_list_replaces_everything() {
        let c = SecretCredentials::new();
        let of = |name: &str| [("url", format!("https://f.example/acme/{name}")), ("password", name.to_owned())];
        let with = |name: &str, kind: &str| {
            let data = of(name);
            secret(name, kind, &data.each_ref().map(|(key, value)| (*key, value.as_str())))
        };
        c.reset([with("one", "repository"), with("two", "repository")]);
        assert_eq!(password(&c, "https://f.example/acme/one").as_deref(), Some("one"));
        // While nobody watched, one was deleted and the other became something else.
        let taken = c.reset([with("two", "cluster"), with("three", "repository")]);
        assert_eq!(taken, [("two".to_owned(), Taken::Ignored), ("three".to_owned(), Taken::Used)]);
        for (name, wanted) in [("one", None), ("two", None), ("three", Some("three"))] {
            assert_eq!(password(&c, &format!("https://f.example/acme/{name}")).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn known_hosts_and_certificates_apply_to_anonymous_repositories_too() {
        let c = SecretCredentials::new();
        c.set_known_hosts(Some("f.example ssh-ed25519 AAAA".into()));
        c.set_certificates(BTreeMap::from([("f.example".to_owned(), "PEM".to_owned())]));
        let found = credential(&c, "https://f.example/a/b", "").unwrap();
        assert_eq!(found.ca_certificates.as_deref(), Some("PEM"));
        assert!(found.known_hosts.is_some());
    }
}
