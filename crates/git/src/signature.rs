//! Who signed a commit or an annotated tag.
//!
//! An object is taken apart here ([`envelope`]), and what it holds is verified by `gpg` and `ssh-keygen`, the programs that made
//! it. Not by `git verify-commit`, which passes on whatever stands in the object: here `gpg` is only ever given one signature
//! packet and `ssh-keygen` one SSH signature, and one process is started where git starts two to four. Not by a library
//! either: rPGP would bring 57 crates and leaves expired and revoked keys, key flags and the binding of subkeys to its caller,
//! and Sequoia is LGPL. `ssh-keygen` is where `ssh` is; `gpg` is a package of 1.5 MB and needs no agent to verify.
//!
//! The programs get an empty environment, a time limit and a folder with nothing but the given public keys: no network, no
//! settings of the user or the system, no key that a signature brings along.

mod cache;
mod envelope;
mod history;
mod keys;
mod openpgp;
mod ssh;

use std::fmt;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;

pub(crate) use cache::Rings;
use cache::{Ring, now};
use envelope::{Block, Envelope};
pub use history::Verified;
pub use keys::Keys;

use crate::fetch::Fetcher;
use crate::mirror::Mirror;
use crate::repository::blocking;
use crate::{Commit, GitError, Repository, Revision};

/// What verifying a signature came to. Keys are named by the fingerprint: 40 hexadecimal digits in upper case for GPG (of the
/// main key, whichever subkey signed), `SHA256:…` for SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// There is none.
    None,
    /// It is right, and the key was valid: for GPG today, for SSH (as git does it) at the time that the commit names.
    Good {
        /// The key.
        key: String,
        /// The fingerprint of the GPG subkey that signed, where it is not the main key.
        subkey: Option<String>,
        /// Whose key that is: a GPG user id, or the principal of `allowed_signers`.
        signer: String,
    },
    /// It is not right, or nothing that can be verified.
    Bad {
        /// Why, as the rest of a sentence that begins with "its signature is not valid:".
        reason: String,
    },
    /// By a key that was not given, so nobody can tell.
    UnknownKey {
        /// The fingerprint; for old GPG signatures the id. Only what the signature says.
        key: String,
    },
    /// By a key that has expired.
    Expired {
        /// The key.
        key: String,
    },
    /// By a key that was revoked.
    Revoked {
        /// The key.
        key: String,
    },
}

impl Signature {
    /// The names by which a policy may mean the key of a good signature: the main key's, and the subkey's. None for others.
    pub fn good_keys(&self) -> impl Iterator<Item = &str> {
        let (key, subkey) = match self {
            Self::Good { key, subkey, .. } => (Some(key.as_str()), subkey.as_deref()),
            _ => (None, None),
        };
        key.into_iter().chain(subkey)
    }

    fn bad(reason: impl Into<String>) -> Self {
        Self::Bad { reason: reason.into() }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("it is not signed"),
            Self::Good { key, signer, .. } => write!(f, "signed by {signer} ({key})"),
            Self::Bad { reason } => write!(f, "its signature is not valid: {reason}"),
            Self::UnknownKey { key } => write!(f, "it is signed by {key}, a key that is not known here"),
            Self::Expired { key } => write!(f, "it is signed by {key}, a key that has expired"),
            Self::Revoked { key } => write!(f, "it is signed by {key}, a key that was revoked"),
        }
    }
}

impl Repository {
    /// Who signed a commit; given an annotated tag's own name, who signed the tag. It must have been fetched.
    ///
    /// # Errors
    /// [`GitError::NotFetched`]; [`GitError::InvalidKey`] for a key that is none; [`GitError::NoProgram`] without `gpg` or
    /// `ssh-keygen`; [`GitError::NotVerified`] when they did not get to an answer; [`GitError::TooLarge`] for a commit that no
    /// honest program makes. No error says anything about the signature, so nothing may be applied.
    pub async fn verify(&self, object: &Commit, keys: &Keys) -> Result<Signature, GitError> {
        self.verifier(keys)?.object(self.present(object)?).await
    }

    /// Who signed what a revision means, after [`resolve`](Self::resolve) or a fetch has said that it means this commit: the
    /// annotated tag where the revision is one, otherwise the commit.
    ///
    /// A tag is only good under its own name: the signed tag of an old release, pushed again as that of a new one, is bad.
    ///
    /// # Errors
    /// See [`verify`](Self::verify).
    pub async fn verify_revision(
        &self,
        revision: &Revision,
        commit: &Commit,
        keys: &Keys,
    ) -> Result<Signature, GitError> {
        let commit_id = self.present(commit)?;
        let Some((full_ref, tag)) = self.tag_of(revision, commit)? else {
            return self.verifier(keys)?.object(commit_id).await;
        };
        let signature = self.verifier(keys)?.object(tag).await?;
        let short = full_ref.as_deref().and_then(|name| name.strip_prefix("refs/tags/")).map(str::to_owned);
        if let (Signature::Good { .. }, Some(short)) = (&signature, short) {
            let mirror = Arc::clone(self.mirror());
            let said = blocking(move || Ok(read(&mirror, tag)?.name)).await?.unwrap_or_default();
            if said != short {
                return Ok(Signature::bad(format!("the tag was signed as {said:?} and stands at {short:?}")));
            }
        }
        Ok(signature)
    }

    /// The annotated tag by which a revision means a commit, with its ref where it has one. From what was fetched last.
    fn tag_of(&self, revision: &Revision, commit: &Commit) -> Result<Option<(Option<String>, ObjectId)>, GitError> {
        let id = commit.id()?;
        let mut names = match revision {
            Revision::Head => return Ok(None),
            Revision::Commit(named) => {
                let named = named.id()?;
                let tag = named != id && self.mirror().has(&named) && self.mirror().peel(named)? == Some(id);
                return Ok(tag.then_some((None, named)));
            }
            Revision::Ref(name) => vec![name.clone()],
            // In this order they were looked for.
            Revision::Name(name) => ["heads/", "tags/", ""].map(|folder| format!("refs/{folder}{name}")).to_vec(),
            Revision::Versions(_) => Vec::new(),
        };
        names.extend(self.meaning(revision));
        for name in names {
            if let Some(tip) = self.mirror().tip(&name)?
                && tip.commit == *commit
            {
                return Ok((tip.named != id).then_some((Some(name), tip.named)));
            }
        }
        Ok(None)
    }

    /// The object's id, if the object has been fetched.
    fn present(&self, object: &Commit) -> Result<ObjectId, GitError> {
        let id = object.id()?;
        if self.mirror().has(&id) {
            return Ok(id);
        }
        Err(GitError::NotFetched { repository: self.url().to_string(), commit: object.to_string() })
    }

    fn verifier(&self, keys: &Keys) -> Result<Verifier, GitError> {
        let fetcher = Arc::clone(self.fetcher());
        let ring = fetcher.shared.rings.get(keys)?;
        Ok(Verifier { fetcher, ring })
    }
}

/// Verifies objects of one repository with one set of keys.
#[derive(Clone)]
struct Verifier {
    fetcher: Arc<Fetcher>,
    ring: Arc<Ring>,
}

impl Verifier {
    async fn object(&self, id: ObjectId) -> Result<Signature, GitError> {
        if let Some(known) = self.ring.known(&id, now()) {
            return Ok(known);
        }
        let mirror = Arc::clone(&self.fetcher.mirror);
        let Envelope { payload, block, seconds, .. } = blocking(move || read(&mirror, id)).await?;
        let shared = &self.fetcher.shared;
        let asked = now();
        let verdict = match block {
            Block::Absent => return Ok(Signature::None),
            Block::Unusable(reason) => return Ok(Signature::bad(reason)),
            Block::OpenPgp(packet) => {
                let _turn = shared.rings.turn().await;
                let home = self.ring.openpgp(&shared.program).await?;
                openpgp::verify(&shared.program, &home.path, &packet, &payload).await?
            }
            Block::Ssh(text) => {
                let Some(seconds) = seconds else { return Ok(Signature::bad("the object's date cannot be read")) };
                let _turn = shared.rings.turn().await;
                ssh::verify(&shared.program, &self.ring, &text, &payload, seconds).await?
            }
        };
        self.ring.keep(id, asked, &verdict);
        Ok(verdict.signature)
    }
}

/// What a program said.
struct Verdict {
    signature: Signature,
    /// The second from which on the signature itself is no longer valid, if it says so.
    until: Option<u64>,
}

/// Reads a commit or a tag and takes it apart.
fn read(mirror: &Mirror, id: ObjectId) -> Result<Envelope, GitError> {
    let kind = mirror.kind(id)?;
    let data = |what| mirror.object(id, kind, envelope::MAX_OBJECT, &format!("{what} {id}"));
    match kind {
        Kind::Commit => Ok(Envelope::of_commit(&data("commit")?)),
        Kind::Tag => Ok(Envelope::of_tag(&data("tag")?)),
        Kind::Tree | Kind::Blob => Err(mirror.not_a_commit(id)),
    }
}
