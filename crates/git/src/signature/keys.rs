//! The keys that may have signed, as people give them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use crate::GitError;

const ALLOWED_SIGNERS: &str = "allowed_signers";
const REVOKED_KEYS: &str = "revoked_keys";
const PUBLIC_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The public keys that are known. Cheap to clone; the same content is the same key ring, however often it is read.
///
/// Knowing a key says that its signatures can be verified, and nothing about who may sign what: that is for the caller to
/// decide by [`Signature::Good`](crate::Signature::Good).
#[derive(Clone)]
pub struct Keys(Arc<Content>);

struct Content {
    id: String,
    openpgp: BTreeMap<String, String>,
    ssh: SshKeys,
}

/// SSH keys, checked and put in order for `ssh-keygen`.
#[derive(Default, Clone)]
pub(super) struct SshKeys {
    /// `allowed_signers` without comments.
    pub allowed: String,
    pub revoked: String,
    listed: Vec<Listed>,
    revoked_fingerprints: BTreeSet<String>,
}

#[derive(Clone)]
struct Listed {
    fingerprint: String,
    /// The end of its validity as `YYYYMMDDhhmmss`, UTC.
    before: Option<String>,
}

/// Why a key's owner could not sign, though the signature fits.
pub(super) enum Standing {
    Unknown,
    Revoked,
    Expired,
    /// Listed, but not valid then, or not for Git.
    NotValid,
}

impl Default for Keys {
    fn default() -> Self {
        Self::made(BTreeMap::new(), SshKeys::default())
    }
}

impl Keys {
    /// The ConfigMap in which Argo CD keeps GPG keys: what [`from_config_map`](Self::from_config_map) takes.
    pub const GPG_CONFIG_MAP: &'static str = "argocd-gpg-keys-cm";
    /// The ConfigMap of the SSH keys: what [`with_ssh`](Self::with_ssh) takes.
    pub const SSH_CONFIG_MAP: &'static str = "lockstep-ssh-keys";

    /// GPG keys from the data of `argocd-gpg-keys-cm`: an armored public key under its id. An entry may hold several keys;
    /// what counts is what is in them and not the name of the entry.
    ///
    /// # Errors
    /// [`GitError::InvalidKey`] names the entry that cannot be a public key. What looks like one is only read by `gpg` when
    /// the first signature is verified, and the error then is the same.
    pub fn from_config_map(data: BTreeMap<String, String>) -> Result<Self, GitError> {
        for (entry, text) in &data {
            let text = text.trim_start();
            let reason = if text.starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
                "it is a private key, which has no business here; revoke it, and put in the public key of another"
            } else if text.starts_with(PUBLIC_KEY) {
                continue;
            } else {
                "it is no armored public key; put in what `gpg --armor --export KEY` prints"
            };
            return Err(invalid(&format!("{} in {}", entry, Self::GPG_CONFIG_MAP), reason));
        }
        Ok(Self::made(data, SshKeys::default()))
    }

    /// The same GPG keys, and SSH keys from the data of `lockstep-ssh-keys`: under `allowed_signers` lines as `ssh-keygen` and
    /// git read them (`joe@example.com ssh-ed25519 AAAA…`, with `valid-after`, `valid-before` and `namespaces`; times are
    /// UTC), and under `revoked_keys` public keys, one a line.
    ///
    /// `valid-before` is held against the time that the commit names, as git does it: who has taken over a key can name any
    /// time, so a stolen key belongs among the revoked.
    ///
    /// # Errors
    /// [`GitError::InvalidKey`] names the line.
    pub fn with_ssh(self, data: BTreeMap<String, String>) -> Result<Self, GitError> {
        let mut keys = SshKeys::default();
        for (entry, text) in &data {
            let revoked = match entry.as_str() {
                ALLOWED_SIGNERS => false,
                REVOKED_KEYS => true,
                _ => {
                    let what = format!("{} in {}", entry, Self::SSH_CONFIG_MAP);
                    return Err(invalid(&what, "entries are allowed_signers and revoked_keys, nothing else"));
                }
            };
            let lines = text.lines().map(str::trim).enumerate();
            for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
                let what = || format!("line {} of {entry} in {}", number + 1, Self::SSH_CONFIG_MAP);
                let added = if revoked { keys.revoke(line) } else { keys.allow(line) };
                added.map_err(|reason| invalid(&what(), &reason))?;
            }
        }
        Ok(Self::made(self.0.openpgp.clone(), keys))
    }

    fn made(openpgp: BTreeMap<String, String>, ssh: SshKeys) -> Self {
        let mut hash = Sha256::new();
        let texts = openpgp.iter().flat_map(|(entry, text)| [entry.as_str(), text.as_str()]);
        for text in [ssh.allowed.as_str(), ssh.revoked.as_str()].into_iter().chain(texts) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(Arc::new(Content { id: hex::encode(hash.finalize()), openpgp, ssh }))
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.openpgp.is_empty() && self.0.ssh.listed.is_empty()
    }

    /// The name of the content.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    pub(super) fn openpgp(&self) -> &BTreeMap<String, String> {
        &self.0.openpgp
    }

    pub(super) fn ssh(&self) -> &SshKeys {
        &self.0.ssh
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} GPG, {} SSH)", self.0.openpgp.len(), self.0.ssh.listed.len())
    }
}

pub(super) fn invalid(key: &str, reason: &str) -> GitError {
    GitError::InvalidKey { key: key.to_owned(), reason: reason.to_owned() }
}

impl SshKeys {
    fn allow(&mut self, line: &str) -> Result<(), String> {
        let words = words(line);
        let (options, key) = match words.as_slice() {
            [_, kind, key, ..] if is_kind(kind) => ("", (kind, key)),
            [_, options, kind, key, ..] if is_kind(kind) => (options.as_str(), (kind, key)),
            _ => return Err("it is no `PRINCIPAL [OPTIONS] TYPE KEY`, like `joe@example.com ssh-ed25519 AAAA…`".into()),
        };
        let fingerprint = fingerprint(key.0, key.1)?;
        let mut before = None;
        for option in split(options, ',').into_iter().filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "valid-before" => before = Some(time(value)?),
                "valid-after" => drop(time(value)?),
                "namespaces" => {}
                "cert-authority" => {
                    return Err("certificates are not supported, because projects name keys; list the keys".into());
                }
                _ => return Err(format!("there is no option {name:?}")),
            }
        }
        self.listed.push(Listed { fingerprint, before });
        self.allowed.push_str(line);
        self.allowed.push('\n');
        Ok(())
    }

    fn revoke(&mut self, line: &str) -> Result<(), String> {
        let words = words(line);
        let [kind, key, ..] = words.as_slice() else {
            return Err("it is no `TYPE KEY`, like `ssh-ed25519 AAAA…`".into());
        };
        self.revoked_fingerprints.insert(fingerprint(kind, key)?);
        self.revoked.push_str(line);
        self.revoked.push('\n');
        Ok(())
    }

    /// How the owner of a key stood at a time (`YYYYMMDDhhmmss`, UTC), given that `ssh-keygen` did not take the signature.
    pub(super) fn standing(&self, fingerprint: &str, at: &str) -> Standing {
        if self.revoked_fingerprints.contains(fingerprint) {
            return Standing::Revoked;
        }
        let mut listed = self.listed.iter().filter(|key| key.fingerprint == fingerprint).peekable();
        if listed.peek().is_none() {
            return Standing::Unknown;
        }
        let over = |key: &Listed| key.before.as_deref().is_some_and(|before| before < at);
        if listed.all(over) { Standing::Expired } else { Standing::NotValid }
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// Words between white space, except within quotation marks.
fn words(line: &str) -> Vec<String> {
    let spaced = split(&line.replace('\t', " "), ' ');
    spaced.into_iter().filter(|word| !word.is_empty()).collect()
}

fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match parts.last_mut() {
            Some(part) if c != at || quoted => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// What `ssh-keygen -l` shows of a key.
fn fingerprint(kind: &str, key: &str) -> Result<String, String> {
    let blob = STANDARD.decode(key).map_err(|_| "the key is not readable (base64)".to_owned())?;
    // The key begins with its type, as a length and that many bytes.
    let length = blob.first_chunk::<4>().map_or(usize::MAX, |length| u32::from_be_bytes(*length) as usize);
    let said = length.checked_add(4).and_then(|end| blob.get(4..end));
    if said != Some(kind.as_bytes()) {
        return Err(format!("the key is no {kind} key, or it is cut off"));
    }
    Ok(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))))
}

/// `YYYYMMDD[hhmm[ss]][Z]` with all digits.
fn time(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{text:?} is no time; write YYYYMMDD or YYYYMMDDhhmmss, which is UTC"));
    }
    Ok(format!("{digits:0<14}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn an_entry_that_is_no_key_is_named() {
        let private = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n";
        for (text, want) in
            [("rubbish", "no armored public key"), ("", "no armored public key"), (private, "private key")]
        {
            let error = Keys::from_config_map(map(&[("4AEE18F83AFDEB23", text)])).unwrap_err().to_string();
            assert!(error.contains("4AEE18F83AFDEB23 in argocd-gpg-keys-cm") && error.contains(want), "{error}");
        }
        assert!(Keys::from_config_map(map(&[("4AEE18F83AFDEB23", &format!("\n{PUBLIC_KEY}\n"))])).is_ok());
        assert!(Keys::from_config_map(BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn lines_of_allowed_signers_are_checked() {
        for (line, want) in [
            ("joe@example.com KEY", ""),
            ("joe@example.com,*@example.org KEY a comment", ""),
            ("\"joe miller\" namespaces=\"git,file\",valid-after=\"20240101\",valid-before=\"202501010000Z\" KEY", ""),
            ("joe\tvalid-before=20240101000000 KEY", ""),
            ("KEY", "it is no `PRINCIPAL [OPTIONS] TYPE KEY`"),
            ("joe", "it is no `PRINCIPAL"),
            ("joe ssh-ed25519", "it is no `PRINCIPAL"),
            ("joe ssh-ed25519 !!!", "the key is not readable"),
            ("joe ssh-ed25519 AAAA", "the key is no ssh-ed25519 key, or it is cut off"),
            ("joe ssh-ed25519 /////w==", "the key is no ssh-ed25519 key, or it is cut off"),
            ("joe ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAB", "the key is no ssh-rsa key"),
            ("joe cert-authority KEY", "certificates are not supported"),
            ("joe valid-before=soon KEY", "\"soon\" is no time"),
            ("joe namespaces=git,verify-required KEY", "there is no option \"verify-required\""),
        ] {
            let text = format!("# people\n\n{}\n", line.replace("KEY", JOE));
            let keys = Keys::default().with_ssh(map(&[("allowed_signers", &text)]));
            match (keys, want) {
                (Ok(keys), "") => assert!(!keys.is_empty(), "{line}"),
                (Err(error), want) if !want.is_empty() => {
                    let error = error.to_string();
                    let place = "line 3 of allowed_signers in lockstep-ssh-keys";
                    assert!(error.contains(want) && error.contains(place), "{line}: {error}");
                }
                (got, _) => panic!("{line}: {got:?}"),
            }
        }
        assert!(Keys::default().with_ssh(map(&[("revoked_keys", JOE)])).unwrap().is_empty());
        assert!(Keys::default().with_ssh(map(&[("revoked_keys", "joe")])).is_err());
        let error = Keys::default().with_ssh(map(&[("signers", "x")])).unwrap_err().to_string();
        assert!(error.contains("signers in lockstep-ssh-keys"), "{error}");
    }

    #[test]
    fn the_same_keys_have_the_same_name_and_others_another() {
        let gpg = |text: &str| Keys::from_config_map(map(&[("A", &format!("{PUBLIC_KEY}{text}"))])).unwrap();
        let ssh = |entry, line: &str| Keys::default().with_ssh(map(&[(entry, line)])).unwrap();
        let allowed = format!("joe {JOE}");
        let keys = [Keys::default(), gpg("1"), gpg("2"), ssh("allowed_signers", &allowed), ssh("revoked_keys", JOE)];
        for (n, a) in keys.iter().enumerate() {
            for (m, b) in keys.iter().enumerate() {
                assert_eq!(a == b, n == m, "{n} {m}");
            }
        }
        assert_eq!(ssh("allowed_signers", &allowed), ssh("allowed_signers", &format!("# x\n  {allowed}\r\n")));
    }

    #[test]
    fn a_key_stands_as_its_best_line_says() {
        let standing = |options: &[&str], revoked: &str, at: &str| {
            let lines: Vec<String> = options.iter().map(|o| format!("joe {o} {JOE}")).collect();
            let data = map(&[("allowed_signers", &lines.join("\n")), ("revoked_keys", revoked)]);
            let keys = Keys::default().with_ssh(data).unwrap();
            let (kind, key) = JOE.split_once(' ').unwrap();
            match keys.ssh().standing(&fingerprint(kind, key).unwrap(), at) {
                Standing::Unknown => "unknown",
                Standing::Revoked => "revoked",
                Standing::Expired => "expired",
                Standing::NotValid => "not valid",
            }
        };
        let before = "valid-before=20240101";
        assert_eq!(standing(&[], "", "20240101000000"), "unknown");
        assert_eq!(standing(&[before], JOE, "20230101000000"), "revoked");
        assert_eq!(standing(&[before], "", "20240101000001"), "expired");
        assert_eq!(standing(&[before], "", "20240101000000"), "not valid");
        assert_eq!(standing(&[before], "", "20231231235959"), "not valid");
        assert_eq!(standing(&[before, "valid-before=20250101"], "", "20240601000000"), "not valid");
        assert_eq!(standing(&["namespaces=file"], "", "20240101000000"), "not valid");
    }
}
