//! The URL of a repository, in every form that people write it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use url::Url;

use crate::GitError;
use crate::credentials::Secret;

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Encrypted HTTP.
    Https,
    /// Plain HTTP, for forges inside a trusted network.
    Http,
    /// SSH, written as a URL or in the short form `user@host:path`.
    Ssh,
    /// A folder on this machine; refused unless the configuration allows it.
    Local,
}

/// The URL of a repository.
///
/// `Display`, `Debug` and every error show it without user information, so a password that somebody wrote into a URL
/// is never shown.
#[derive(Clone)]
pub struct RepositoryUrl {
    transport: Transport,
    user: Option<String>,
    password: Option<Secret>,
    host: String,
    port: Option<u16>,
    path: String,
    /// The short ssh form, whose path is relative to the remote user's home.
    short: bool,
}

/// What two URLs of the same repository have in common: host and path, in lower case, without scheme, user, port and
/// `.git`. It is for finding the applications that an event concerns; what is fetched comes from the URL itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryKey(String);

/// Hosts that offer SSH on port 443 under a second name, and the name that everybody writes.
const SECOND_NAMES: &[(&str, &str)] = &[
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
    ("altssh.bitbucket.org", "bitbucket.org"),
    ("ssh.dev.azure.com", "dev.azure.com"),
];

impl RepositoryUrl {
    /// Reads `https://host[:port]/path`, `http://…`, `ssh://[user@]host[:port]/path`, `user@host:path`,
    /// `file:///path` or an absolute path.
    ///
    /// # Errors
    /// [`GitError::InvalidUrl`] for any other form, and for what git could take for something else than a repository
    /// (an option, another helper program).
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let text = text.trim();
        let invalid = |reason: &str| GitError::InvalidUrl { url: without_user(text), reason: reason.to_owned() };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid("it contains white space"));
        }
        let parsed = if text.starts_with('/') {
            Self::local(text)
        } else if text.contains("://") {
            Self::with_scheme(text)
        } else {
            Self::short_form(text)
        };
        let parsed = parsed.map_err(invalid)?;
        let starts_like_an_option = parsed.host.starts_with('-') || parsed.path.starts_with('-');
        if starts_like_an_option || parsed.user.as_deref().is_some_and(|u| u.starts_with('-')) {
            return Err(invalid("host, path and user must not begin with a dash"));
        }
        if parsed.path.trim_matches('/').is_empty() {
            return Err(invalid("it has no path"));
        }
        Ok(parsed)
    }

    fn local(path: &str) -> Result<Self, &'static str> {
        Ok(Self {
            transport: Transport::Local,
            user: None,
            password: None,
            host: String::new(),
            port: None,
            path: path.to_owned(),
            short: false,
        })
    }

    fn with_scheme(text: &str) -> Result<Self, &'static str> {
        // The URL standard would take the first part of the path for the host.
        if text.contains(":///") && !text.starts_with("file:") {
            return Err("it has no host");
        }
        let url = Url::parse(text).map_err(|_| "it cannot be read as a URL")?;
        let transport = match url.scheme() {
            "https" => Transport::Https,
            "http" => Transport::Http,
            "ssh" | "git+ssh" | "ssh+git" => Transport::Ssh,
            "file" => return Self::local(url.path()),
            "git" => return Err("the git:// protocol is neither encrypted nor authenticated; use https or ssh"),
            _ => return Err("the scheme must be https, http or ssh"),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must not have a query or a fragment");
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or("it has no host")?.to_ascii_lowercase();
        if host.contains('%') {
            return Err("the host contains characters that no host has");
        }
        let user = Some(url.username()).filter(|u| !u.is_empty()).map(decoded);
        let password = url.password().map(|p| Secret::new(decoded(p)));
        let path = url.path().to_owned();
        Ok(Self { transport, user, password, host, port: url.port(), path, short: false })
    }

    fn short_form(text: &str) -> Result<Self, &'static str> {
        let unknown = "it must begin with https://, ssh:// or user@host:";
        let (authority, path) = match text.strip_prefix('[') {
            Some(_) => return Err(unknown),
            None => text.split_once(':').ok_or(unknown)?,
        };
        // `ext::program` and its like would start a program, and `user:password@host` is no form of ssh's.
        let password = path.split('/').next().is_some_and(|first| first.contains('@'));
        if path.starts_with(':') || authority.contains('/') || password {
            return Err(unknown);
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()).filter(|u| !u.is_empty()), host),
            None => (None, authority),
        };
        let host_is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if host.is_empty() || !host_is_plain {
            return Err(unknown);
        }
        let (port, path) = match path.split_once('/') {
            // `git@ssh.github.com:443/acme/shop.git`: not a form that ssh knows, but one that forges show.
            Some((port, rest)) if SECOND_NAMES.iter().any(|(n, _)| *n == host) && port == "443" => (Some(443), rest),
            _ => (None, path),
        };
        Ok(Self {
            transport: Transport::Ssh,
            user,
            password: None,
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
            short: port.is_none(),
        })
    }

    /// How the repository is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The host in lower case; empty for a folder on this machine.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when it is not the scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path without leading and trailing slashes and without `.git`: `acme/shop`.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.transport == Transport::Local { &self.path } else { plain_path(&self.path) }
    }

    /// The user that the URL names, if any.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// What this URL has in common with every other URL of the same repository.
    #[must_use]
    pub fn key(&self) -> RepositoryKey {
        if self.transport == Transport::Local {
            return RepositoryKey(format!("file:{}", plain_path(&self.path)));
        }
        let host = self.host.trim_end_matches('.');
        let host = SECOND_NAMES.iter().find(|(second, _)| *second == host).map_or(host, |(_, name)| name);
        let path = plain_path(&self.path).to_lowercase();
        let path = match path.strip_prefix("v3/").filter(|_| host == "dev.azure.com") {
            // Azure's ssh form leaves out the `_git` that its https form has.
            Some(rest) => {
                rest.rsplit_once('/').map_or(path.clone(), |(project, name)| format!("{project}/_git/{name}"))
            }
            None => path,
        };
        RepositoryKey(format!("{host}/{path}"))
    }

    /// Whether both URLs are of the same repository, judged by their keys.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// The address for git's command line: without password, and for HTTP without user.
    pub(crate) fn address(&self) -> String {
        let port = self.port.map_or(String::new(), |p| format!(":{p}"));
        let user = self.user.as_deref().map_or(String::new(), |u| format!("{u}@"));
        match self.transport {
            Transport::Https => format!("https://{}{port}{}", self.host, self.path),
            Transport::Http => format!("http://{}{port}{}", self.host, self.path),
            Transport::Ssh if self.short => format!("{user}{}:{}", self.host, self.path),
            Transport::Ssh => format!("ssh://{user}{}{port}/{}", self.host, self.path.trim_start_matches('/')),
            Transport::Local => format!("file://{}", self.path),
        }
    }

    /// Scheme, host and port of an HTTP address.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.transport == Transport::Http { "http" } else { "https" };
        format!("{scheme}://{}{}", self.host, self.port.map_or(String::new(), |p| format!(":{p}")))
    }

    /// The name of the mirror's folder. Unlike the key it tells ports, schemes and letter case apart, so that two
    /// repositories, or two ways in with different credentials, never share objects.
    pub(crate) fn folder(&self) -> String {
        let path = self.path.trim_end_matches('/');
        let place = format!("{:?}\n{}\n{:?}\n{}\n{}", self.transport, self.host, self.port, self.short, path);
        let digest = hex::encode(Sha256::digest(place.as_bytes()));
        let name: String = self
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect();
        format!("{name}-{}.git", &digest[..24])
    }

    /// What credentials are compared by: kind of transport, host, port and path in lower case.
    pub(crate) fn place(&self) -> (bool, &str, Option<u16>, String) {
        (self.transport == Transport::Ssh, &self.host, self.port, plain_path(&self.path).to_lowercase())
    }
}

fn plain_path(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/')
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Removes everything between the scheme and the last `@` of the authority, also from text that is no valid URL.
pub(crate) fn without_user(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text.as_str()),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}{authority}{path}")
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Local {
            return f.write_str(&self.path);
        }
        let anonymous = Self { user: None, password: None, ..self.clone() };
        f.write_str(&anonymous.address())
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryUrl({self})")
    }
}

impl FromStr for RepositoryUrl {
    type Err = GitError;

    fn from_str(text: &str) -> Result<Self, GitError> {
        Self::parse(text)
    }
}

impl RepositoryKey {
    /// `host/path`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryKey({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_repository_has_one_key() {
        let cases = [
            ("https://github.com/acme/shop", "github.com/acme/shop"),
            ("https://github.com/acme/shop.git", "github.com/acme/shop"),
            ("https://github.com/acme/shop.git/", "github.com/acme/shop"),
            ("https://github.com/acme/shop/", "github.com/acme/shop"),
            ("https://GitHub.com/Acme/Shop", "github.com/acme/shop"),
            ("  https://github.com/acme/shop ", "github.com/acme/shop"),
            ("https://user:pass@github.com/acme/shop.git", "github.com/acme/shop"),
            ("https://github.com:443/acme/shop", "github.com/acme/shop"),
            ("http://github.com/acme/shop", "github.com/acme/shop"),
            ("git@github.com:acme/shop.git", "github.com/acme/shop"),
            ("github.com:acme/shop.git", "github.com/acme/shop"),
            ("git@github.com:/acme/shop.git", "github.com/acme/shop"),
            ("ssh://git@github.com/acme/shop.git", "github.com/acme/shop"),
            ("ssh://git@github.com:22/acme/shop", "github.com/acme/shop"),
            ("ssh://git@ssh.github.com:443/acme/shop.git", "github.com/acme/shop"),
            ("git@ssh.github.com:443/acme/shop.git", "github.com/acme/shop"),
            ("git+ssh://git@GITHUB.com/acme/shop", "github.com/acme/shop"),
            ("ssh://git@altssh.gitlab.com:443/acme/group/shop.git", "gitlab.com/acme/group/shop"),
            ("ssh://git@altssh.bitbucket.org:443/acme/shop.git", "bitbucket.org/acme/shop"),
            ("http://127.0.0.1:3000/acme/shop.git", "127.0.0.1/acme/shop"),
            ("https://[::1]:3000/acme/shop.git", "[::1]/acme/shop"),
            ("https://bitbucket.example/scm/acme/shop.git", "bitbucket.example/scm/acme/shop"),
            ("https://dev.azure.com/acme/web/_git/shop", "dev.azure.com/acme/web/_git/shop"),
            ("https://acme@dev.azure.com/acme/web/_git/shop", "dev.azure.com/acme/web/_git/shop"),
            ("git@ssh.dev.azure.com:v3/acme/web/shop", "dev.azure.com/acme/web/_git/shop"),
            ("/srv/git/Shop.git", "file:srv/git/Shop"),
            ("file:///srv/git/Shop", "file:srv/git/Shop"),
        ];
        for (text, key) in cases {
            assert_eq!(RepositoryUrl::parse(text).unwrap().key().as_str(), key, "{text}");
        }
        let https = RepositoryUrl::parse("https://github.com/acme/shop").unwrap();
        assert!(https.matches(&RepositoryUrl::parse("git@github.com:acme/shop.git").unwrap()));
        assert!(!https.matches(&RepositoryUrl::parse("git@github.com:acme/shop2.git").unwrap()));
    }

    #[test]
    fn what_git_could_take_for_something_else_is_refused() {
        for text in [
            "",
            "shop",
            "acme/shop",
            "./shop",
            "--upload-pack=touch /tmp/x",
            "--upload-pack=x:y",
            "ext::sh -c id",
            "ext::id",
            "fd::17",
            "git://github.com/acme/shop",
            "ftp://github.com/acme/shop",
            "javascript://x/y",
            "https://",
            "https:///acme/shop",
            "https://github.com",
            "https://github.com/",
            "https://github.com/acme/shop?x=1",
            "https://github.com/acme/shop#x",
            "https://github.com/acme/sh op",
            "https://github.com/acme/shop\n--upload-pack=x",
            "ssh://-oProxyCommand=id/acme/shop",
            "-oProxyCommand=id:acme/shop",
            "git@-oProxyCommand=id:acme/shop",
            "git@github.com:-x",
            "git@github.com:",
            "git@github.com:/",
            "ssh://git@ho%20st/acme/shop",
            "-u@github.com:acme/shop",
        ] {
            let refused = RepositoryUrl::parse(text);
            assert!(matches!(refused, Err(GitError::InvalidUrl { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn user_information_is_never_shown() {
        for text in [
            "https://joe:hunter2@github.com/acme/shop",
            "https://hunter2@github.com/acme/shop",
            "ssh://joe:hunter2@github.com/acme/shop",
            "https://joe:hunter2@github.com/acme/shop?x",
            "ftp://joe:hunter2@github.com/acme/shop",
            "https://joe:hunter2@/acme/shop",
            "joe:hunter2@github.com:-x",
            "joe:hunter2@github.com/acme/shop",
        ] {
            let shown = match RepositoryUrl::parse(text) {
                Ok(url) => format!("{url} {url:?} {} {}", url.key(), url.folder()),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let url = RepositoryUrl::parse("https://jo%40e:p%2Fw@github.com/acme/shop").unwrap();
        assert_eq!(url.user(), Some("jo@e"));
        assert_eq!(url.password().unwrap().reveal(), "p/w");
        assert_eq!(url.address(), "https://github.com/acme/shop");
    }

    #[test]
    fn the_address_keeps_what_the_server_needs() {
        let cases = [
            ("git@github.com:acme/shop.git", "git@github.com:acme/shop.git"),
            ("ssh://git@forge.example:2222/acme/shop.git", "ssh://git@forge.example:2222/acme/shop.git"),
            ("git@ssh.github.com:443/acme/shop.git", "ssh://git@ssh.github.com:443/acme/shop.git"),
            ("https://Forge.example:8443/Acme/Shop.git", "https://forge.example:8443/Acme/Shop.git"),
            ("/srv/git/shop.git", "file:///srv/git/shop.git"),
        ];
        for (text, address) in cases {
            assert_eq!(RepositoryUrl::parse(text).unwrap().address(), address);
        }
    }

    #[test]
    fn a_mirror_belongs_to_one_place() {
        let folder = |text: &str| RepositoryUrl::parse(text).unwrap().folder();
        assert_eq!(folder("https://github.com/acme/shop"), folder("https://joe@GitHub.com:443/acme/shop/"));
        let different = [
            "http://127.0.0.1:3000/acme/shop",
            "http://127.0.0.1:4000/acme/shop",
            "https://127.0.0.1:3000/acme/shop",
            "git@127.0.0.1:acme/shop",
            "http://127.0.0.1:3000/acme/Shop",
        ];
        let folders: std::collections::BTreeSet<_> = different.iter().map(|t| folder(t)).collect();
        assert_eq!(folders.len(), different.len());
    }
}
