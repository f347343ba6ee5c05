//! The address of one repository.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::parts::{Parts, default_port, first_name};
use crate::{InvalidUrl, Secret};

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

/// The address of a repository, normalized: what is equal is the same to every program on the way.
///
/// Scheme, host, port and path count, for SSH the user, too, and a password that somebody wrote into the URL. The letter case
/// of the path counts, and so does `.git` at its end: there are servers that tell these apart. What all ways to a repository
/// have in common is its [`key`](Self::key).
///
/// `Display`, `Debug` and every error show it without user information. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryUrl(Arc<Inner>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    transport: Transport,
    password: Option<Secret>,
    /// Without the password.
    parts: Parts,
}

/// What two URLs of the same repository have in common: host and path, in lower case, without scheme, user, port and
/// `.git`. It is for finding the applications that an event concerns; what is fetched comes from the URL itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryKey(String);

impl RepositoryUrl {
    /// Reads `https://host[:port]/path`, `http://…`, `ssh://[user@]host[:port]/path`, `user@host:path`,
    /// `file:///path` or an absolute path.
    ///
    /// # Errors
    /// [`InvalidUrl`] for any other form, for what git could take for something else than a repository (an option, another
    /// helper program), and for a path that leads out of its root or hides that it does.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason: &str| InvalidUrl { url: without_user(text.trim()), reason: reason.to_owned() };
        let mut parts = Parts::read(text).map_err(invalid)?;
        let transport = match parts.scheme.as_str() {
            "https" => Transport::Https,
            "http" => Transport::Http,
            "ssh" => Transport::Ssh,
            "file" => Transport::Local,
            "git" => {
                return Err(invalid("the git:// protocol is neither encrypted nor authenticated; use https or ssh"));
            }
            _ => return Err(invalid("the scheme must be https, http or ssh")),
        };
        if parts.plain_path().is_empty() {
            return Err(invalid("it has no path"));
        }
        let password = parts.password.take().map(Secret::new);
        if transport != Transport::Ssh && password.is_none() {
            // Nobody is told this name.
            parts.user = None;
        }
        Ok(Self(Arc::new(Inner { transport, password, parts })))
    }

    /// How the repository is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport
    }

    /// The host in lower case; empty for a folder on this machine.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.parts.host
    }

    /// The port, when it is not the scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.parts.port
    }

    /// The port that is contacted; nothing for a folder on this machine.
    #[must_use]
    pub fn effective_port(&self) -> Option<u16> {
        self.port().or_else(|| default_port(&self.0.parts.scheme))
    }

    /// The path without leading and trailing slashes and without `.git`: `acme/shop`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.parts.plain_path()
    }

    /// The user that the URL names, if anybody is told.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.0.parts.user.as_deref()
    }

    /// The password that somebody wrote into the URL.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.0.password.as_ref()
    }

    /// Whether the host is this machine, whatever anybody answers for its name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// What this URL has in common with every other URL of the same repository.
    #[must_use]
    pub fn key(&self) -> RepositoryKey {
        if self.transport() == Transport::Local {
            let path = self.0.parts.decoded_path();
            return RepositoryKey(format!("file:{}", crate::parts::plain(&path)));
        }
        let host = first_name(self.host()).unwrap_or(self.host());
        let path = self.path().to_lowercase();
        let path = match path.strip_prefix("v3/").filter(|_| host == "dev.azure.com") {
            // Azure's ssh form leaves out the `_git` that its https form has.
            Some(rest) => {
                rest.rsplit_once('/').map_or(path.clone(), |(project, name)| format!("{project}/_git/{name}"))
            }
            None => path,
        };
        RepositoryKey(format!("{host}/{path}"))
    }

    /// The address for git's command line: without password, and for HTTP without user. It is made of what was understood and
    /// not of what was written.
    #[must_use]
    pub fn address(&self) -> String {
        self.address_of(self.user())
    }

    fn address_of(&self, user: Option<&str>) -> String {
        let Parts { host, path, relative, .. } = &self.0.parts;
        let user = user.map_or(String::new(), |u| format!("{u}@"));
        match self.transport() {
            Transport::Https | Transport::Http => format!("{}/{path}", self.origin()),
            Transport::Ssh if *relative => format!("{user}{host}:{}", self.0.parts.decoded_path()),
            Transport::Ssh => format!("ssh://{user}{host}{}/{path}", self.shown_port()),
            Transport::Local => format!("file:///{path}"),
        }
    }

    fn shown_port(&self) -> String {
        self.port().map_or(String::new(), |p| format!(":{p}"))
    }

    /// Scheme, host and port of an HTTP address.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.transport() == Transport::Http { "http" } else { "https" };
        format!("{scheme}://{}{}", self.host(), self.shown_port())
    }
}

/// Whether a host is this machine, whatever anybody answers for its name.
pub(crate) fn is_loopback(host: &str) -> bool {
    let number = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    number.map_or(host == "localhost", |number| number.is_loopback())
}

/// Removes everything between the scheme and the last `@` of the authority, also from text that is no valid URL.
#[must_use]
pub fn without_user(text: &str) -> String {
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
        if self.transport() == Transport::Local {
            return write!(f, "/{}", self.0.parts.decoded_path());
        }
        f.write_str(&self.address_of(None))
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryUrl({self})")
    }
}

impl FromStr for RepositoryUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
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
        assert!(https.key() == RepositoryUrl::parse("git@github.com:acme/shop.git").unwrap().key());
        assert!(https.key() != RepositoryUrl::parse("git@github.com:acme/shop2.git").unwrap().key());
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
            assert!(matches!(refused, Err(InvalidUrl { .. })), "{text}: {refused:?}");
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
                Ok(url) => format!("{url} {url:?} {} {}", url.key(), url.address()),
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
    fn what_is_equal_is_fetched_from_one_address() {
        let url = |text: &str| RepositoryUrl::parse(text).unwrap();
        for (text, same) in [
            ("https://github.com/acme/shop", "https://joe@GitHub.com.:443//acme/./lib/../sh%6fp/"),
            ("git@github.com:/acme/shop", "ssh://git@github.com:22/acme/shop"),
            ("http://127.1:3000/acme/shop", "http://127.0.0.1:3000/acme/shop"),
            ("/srv/git/shop.git", "file:///srv//git/shop.git/"),
        ] {
            assert_eq!((url(text), url(text).address()), (url(same), url(same).address()), "{text} {same}");
        }
        let different = [
            "http://127.0.0.1:3000/acme/shop",
            "http://127.0.0.1:4000/acme/shop",
            "https://127.0.0.1:3000/acme/shop",
            "git@127.0.0.1:acme/shop",
            "eve@127.0.0.1:acme/shop",
            "ssh://git@127.0.0.1/acme/shop",
            "http://127.0.0.1:3000/acme/Shop",
            "http://127.0.0.1:3000/acme/shop.git",
            "http://127.0.0.1:3000/acme/shop%2B",
        ];
        let addresses: std::collections::BTreeSet<_> = different.iter().map(|t| (url(t), url(t).address())).collect();
        assert_eq!(addresses.len(), different.len());
        assert_ne!(url("https://x:a@github.com/acme/shop"), url("https://x:b@github.com/acme/shop"));
    }

    #[test]
    fn which_hosts_are_this_machine() {
        for (host, wanted) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("localhost", true),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), wanted, "{host}");
        }
    }
}
