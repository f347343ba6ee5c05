//! Credentials from a file.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;

use super::{Authentication, Credential, Credentials, Grant, Prefix, under};
use crate::{GitError, Remote, RepositoryUrl, Secret};

/// Credentials read once from a YAML file: a list, of which the entry with the longest matching `url` is used, whoever asks.
///
/// ```yaml
/// - url: https://github.com/acme      # or `host: github.com`
///   token: ghp_…                      # or username and password, bearerToken, sshPrivateKey
/// ```
pub struct StaticCredentials {
    entries: Vec<(Prefix, Credential)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileEntry {
    #[serde(alias = "host")]
    url: String,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    bearer_token: Option<String>,
    ssh_private_key: Option<String>,
    known_hosts: Option<String>,
    ca_certificates: Option<String>,
    #[serde(default)]
    insecure: bool,
    proxy: Option<String>,
}

impl StaticCredentials {
    /// Reads the file.
    ///
    /// # Errors
    /// [`GitError::InvalidCredentials`] naming the file and the entry, never their secrets.
    pub fn from_file(path: &Path) -> Result<Self, GitError> {
        let named = |reason: String| GitError::InvalidCredentials { file: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Self::from_yaml(&text).map_err(named)
    }

    /// Reads the text of such a file; the error is a sentence without secrets.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { entries: Vec::new() });
        }
        // The parser's own message quotes the text around the error, and with it secrets.
        let list: Vec<FileEntry> = serde_saphyr::from_str(text).map_err(|_| {
            "it must be a YAML list of entries with url, and username and password, or token, bearerToken or sshPrivateKey".to_owned()
        })?;
        let mut entries = Vec::with_capacity(list.len());
        for (index, entry) in list.into_iter().enumerate() {
            let prefix =
                Prefix::parse(&entry.url).ok_or_else(|| format!("the url of entry {} is not usable", index + 1))?;
            entries.push((prefix, entry.credential().map_err(|what| format!("entry {}: {what}", index + 1))?));
        }
        Ok(Self { entries })
    }
}

impl FileEntry {
    fn credential(self) -> Result<Credential, &'static str> {
        let ways = [
            self.password.is_some(),
            self.token.is_some(),
            self.bearer_token.is_some(),
            self.ssh_private_key.is_some(),
        ];
        if ways.iter().filter(|given| **given).count() > 1 {
            return Err("give only one of password, token, bearerToken and sshPrivateKey");
        }
        let username = self.username;
        let authentication = if let Some(password) = self.password {
            let username = username.ok_or("a password needs a username")?;
            Authentication::Basic { username, password: Secret::new(password) }
        } else if let Some(token) = self.token {
            let username = username.unwrap_or_else(|| "x-access-token".to_owned());
            Authentication::Basic { username, password: Secret::new(token.trim()) }
        } else if let Some(token) = self.bearer_token {
            Authentication::Bearer { token: Secret::new(token.trim()) }
        } else if let Some(key) = self.ssh_private_key {
            Authentication::SshKey { private_key: Secret::new(key) }
        } else {
            Authentication::Anonymous
        };
        Ok(Credential {
            authentication,
            insecure: self.insecure,
            ca_certificates: self.ca_certificates,
            known_hosts: self.known_hosts,
            proxy: self.proxy,
            ..Credential::default()
        })
    }
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticCredentials({} entries)", self.entries.len())
    }
}

impl StaticCredentials {
    /// The entry for a URL, and its number.
    fn entry(&self, url: &RepositoryUrl) -> Option<(usize, &Credential)> {
        let entries = self.entries.iter().enumerate();
        let covering = entries.filter_map(|(at, (prefix, credential))| Some((under(url, prefix)?, at, credential)));
        // The first of several equally long ones, as it stands in the file.
        covering.rev().max_by_key(|(length, ..)| *length).map(|(_, at, credential)| (at, credential))
    }
}

#[async_trait]
impl Credentials for StaticCredentials {
    fn grant(&self, remote: &Remote) -> Grant {
        let name = self.entry(&remote.url).map(|(at, _)| {
            let Prefix { transport, host, port, path } = &self.entries[at].0;
            format!("file {transport:?} {host} {port:?} {path}")
        });
        name.map_or(Grant::anonymous(), Grant::named)
    }

    async fn credential(&self, url: &RepositoryUrl, grant: &Grant) -> Option<Credential> {
        let ours = grant.name().starts_with("file ");
        self.entry(url).filter(|_| ours).map(|(_, credential)| credential.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_prefix_gives_the_credential() {
        let file = "
- host: forge.example
  token: general
- url: https://forge.example/acme
  username: joe
  password: hunter2
- url: git@forge.example:acme
  sshPrivateKey: |
    KEY
";
        let credentials = StaticCredentials::from_yaml(file).unwrap();
        let of = async |url: &str| {
            let remote = Remote::of(RepositoryUrl::parse(url).unwrap(), "team");
            credentials.credential(&remote.url, &credentials.grant(&remote)).await
        };
        assert_eq!(of("https://forge.example/other/x").await, Some(Credential::token("general")));
        assert_eq!(of("https://forge.example/acme/x").await, Some(Credential::basic("joe", "hunter2")));
        assert_eq!(of("git@forge.example:acme/x").await, Some(Credential::ssh_key("KEY\n")));
        assert_eq!(of("https://other.example/acme/x").await, None);
        assert_eq!(of("http://forge.example/acme/x").await, None);
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for file in [
            "url: https://x/y\ntoken: hunter2",
            "- url: https://x/y\n  tokn: hunter2",
            "- url: https://x/y\n  password: hunter2",
            "- url: '::'\n  token: hunter2",
            "- url: https://x/y\n  token: hunter2\n  bearerToken: hunter2",
            "- url: https://x/y\n  token: \"hunter2",
        ] {
            let said = StaticCredentials::from_yaml(file).unwrap_err();
            assert!(!said.contains("hunter2") && !said.is_empty(), "{said}");
        }
        assert!(StaticCredentials::from_yaml("").is_ok());
    }
}
