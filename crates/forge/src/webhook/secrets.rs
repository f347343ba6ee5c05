use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::payload::Peek;

/// A webhook secret. It keeps the key of the signature, not the text, and shows neither.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl Secret {
    /// From the text that is also in the forge's webhook settings. White space at its ends is not part of it, as files
    /// usually end with a line break.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        Hmac::new_from_slice(text.as_bytes()).map(Self).map_err(|_| SecretError::Empty)
    }

    /// The signature of `body`: what a forge with this secret sends.
    pub fn sign(&self, body: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.finalize().into_bytes().into()
    }

    /// Whether `code` is the signature of `body`, compared in constant time.
    pub(super) fn signed(&self, body: &[u8], code: &[u8; 32]) -> bool {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(code).is_ok()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why the secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A secret without content would make everybody's signature valid.
    #[error("a webhook secret is empty; write a long random text, and the same in the forge's webhook settings")]
    Empty,
    /// The file is not what [`SecretBook::parse`] describes.
    #[error("the secrets file {path} is not valid: {reason}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong; it never quotes the file's content.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Which secrets may sign for which repositories.
///
/// The most specific entry counts alone: a repository with secrets of its own takes no others, nor does an owner.
/// Several secrets in one entry are all valid, so that one can be replaced without losing a webhook.
#[derive(Debug, Clone, Default)]
pub struct SecretBook {
    default: Vec<Secret>,
    owners: HashMap<String, Vec<Secret>>,
    repositories: HashMap<String, Vec<Secret>>,
}

impl SecretBook {
    /// The same secrets for everything.
    pub fn for_everything(secrets: Vec<Secret>) -> Self {
        Self { default: secrets, ..Self::default() }
    }

    /// Reads a secrets file. Relative paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let read = |source| SecretError::Read { path: path.to_owned(), source };
        Self::parse(&std::fs::read_to_string(path).map_err(read)?, path)
    }

    /// Reads the content of a secrets file: YAML, each secret in place or in a file of its own, or, where the file is
    /// not a mapping, one secret and nothing else.
    ///
    /// ```yaml
    /// default: [file: /run/secrets/webhook, "the one before, until every webhook has the new one"]
    /// owners:
    ///   acme: [file: acme-secret]
    /// repositories:
    ///   acme/gateway: ["…"]
    /// ```
    pub fn parse(text: &str, path: &Path) -> Result<Self, SecretError> {
        // A generated secret can look like any YAML scalar (`1e5`), so such a file is taken as it is.
        let is_mapping = text
            .lines()
            .any(|line| ["default:", "owners:", "repositories:"].iter().any(|key| line.trim_end().starts_with(key)));
        if !is_mapping {
            if text.trim().lines().count() > 1 {
                let reason = "it has several lines, but none begins with default:, owners: or repositories:".into();
                return Err(SecretError::Format { path: path.to_owned(), reason });
            }
            return Ok(Self::for_everything(vec![Secret::new(text)?]));
        }
        let file: SecretsFile = serde_saphyr::from_str(text).map_err(|error| SecretError::Format {
            path: path.to_owned(),
            reason: match error.location() {
                Some(at) => format!("line {}: not as documented (a list of secrets, or of file: PATH)", at.line()),
                None => "not as documented (default, owners, repositories: lists of secrets, or of file: PATH)".into(),
            },
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let all = |entries: Vec<SecretEntry>| -> Result<Vec<Secret>, SecretError> {
            entries.into_iter().map(|entry| entry.resolve(folder)).collect()
        };
        let map = |entries: HashMap<String, Vec<SecretEntry>>| -> Result<_, SecretError> {
            entries.into_iter().map(|(name, list)| Ok((name.to_ascii_lowercase(), all(list)?))).collect()
        };
        Ok(Self { default: all(file.default)?, owners: map(file.owners)?, repositories: map(file.repositories)? })
    }

    /// True if there is no secret at all, so that nothing could be verified.
    pub fn is_empty(&self) -> bool {
        self.default.is_empty()
            && self.owners.values().all(Vec::is_empty)
            && self.repositories.values().all(Vec::is_empty)
    }

    pub(super) fn is_scoped(&self) -> bool {
        !self.owners.is_empty() || !self.repositories.is_empty()
    }

    pub(super) fn default_secrets(&self) -> &[Secret] {
        &self.default
    }

    pub(super) fn secrets_for(&self, peek: &Peek) -> &[Secret] {
        let repository = peek.full_name.as_ref().and_then(|name| self.repositories.get(name));
        let owner = || peek.owner.as_ref().and_then(|owner| self.owners.get(owner));
        repository.or_else(owner).unwrap_or(&self.default)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    #[serde(default)]
    default: Vec<SecretEntry>,
    #[serde(default)]
    owners: HashMap<String, Vec<SecretEntry>>,
    #[serde(default)]
    repositories: HashMap<String, Vec<SecretEntry>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SecretEntry {
    Inline(String),
    File { file: PathBuf },
}

impl SecretEntry {
    fn resolve(self, folder: &Path) -> Result<Secret, SecretError> {
        match self {
            Self::Inline(text) => Secret::new(&text),
            Self::File { file } => {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path).map_err(|source| SecretError::Read { path, source })?;
                Secret::new(&text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peek(full_name: &str) -> Peek {
        Peek::at(format!(r#"{{"repository":{{"full_name":"{full_name}"}}}}"#).as_bytes())
    }

    #[test]
    fn the_most_specific_entry_counts_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("acme"), "from-file\n").unwrap();
        let text =
            "default: [d1, d2]\nowners:\n  Acme: [file: acme]\nrepositories:\n  acme/Gateway: [g]\n  acme/none: []\n";
        let book = SecretBook::parse(text, &folder.path().join("secrets.yaml")).unwrap();
        let cases: [(&str, &[&str]); 5] = [
            ("other/x", &["d1", "d2"]),
            ("acme/x", &["from-file"]),
            ("ACME/GATEWAY", &["g"]),
            ("acme/none", &[]),
            ("nonsense", &["d1", "d2"]),
        ];
        for (name, expected) in cases {
            let found: Vec<_> = book.secrets_for(&peek(name)).iter().map(|s| s.sign(b"x")).collect();
            let expected: Vec<_> = expected.iter().map(|s| Secret::new(s).unwrap().sign(b"x")).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn files() {
        let path = Path::new("secrets.yaml");
        let plain = SecretBook::parse("s3cret: with colon\n", path).unwrap();
        assert_eq!(plain.default.len(), 1);
        assert!(!plain.is_scoped());
        assert!(SecretBook::parse("default: []\n", path).unwrap().is_empty());
        for (text, message) in [
            ("", "empty"),
            ("default: ['']\n", "empty"),
            ("default: [top-secret]\nother: 1\n", "secrets.yaml is not valid"),
            ("owners: [top-secret]\n", "secrets.yaml is not valid"),
            ("default: [file: missing]\n", "cannot read"),
            ("one top-secret\ntwo\n", "several lines"),
        ] {
            let error = SecretBook::parse(text, path).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!error.contains("top-secret"), "{error}");
        }
        assert_eq!(format!("{:?}", Secret::new("top-secret").unwrap()), "Secret(…)");
    }
}
