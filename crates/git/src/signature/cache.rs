//! Key rings, prepared once for each set of keys, and what was verified with them.
//!
//! A signature of an object never changes, and an object is named by its content, so a result holds for every repository. What
//! changes with time is a key: results are forgotten when one of the ring's keys expires.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gix::ObjectId;
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::keys::Keys;
use super::openpgp::{self, Home};
use super::{Signature, Verdict};
use crate::GitError;
use crate::process::Program;

/// Sets of keys that are ready; more than one only while they change.
const RINGS: usize = 4;
/// Results of a ring, twice: about 3 MB.
const RESULTS: usize = 10_000;

/// All key rings.
pub(crate) struct Rings {
    folder: PathBuf,
    /// The one used last stands last.
    ready: Mutex<Vec<Arc<Ring>>>,
    /// Bounds the programs that verify at once; they use the processor and do not wait.
    turns: Semaphore,
}

/// One set of keys, as `gpg` and `ssh-keygen` read it. Its files vanish with it.
pub(super) struct Ring {
    pub(super) keys: Keys,
    folder: TempDir,
    openpgp: OnceCell<Home>,
    results: Mutex<Results>,
}

/// Two generations: when the younger is full it becomes the older.
#[derive(Default)]
struct Results {
    young: HashMap<ObjectId, Known>,
    old: HashMap<ObjectId, Known>,
}

struct Known {
    signature: Signature,
    /// When that was found out, and from when on the signature is no longer valid, in seconds.
    at: u64,
    until: Option<u64>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

impl Rings {
    /// Prepares the folder. What a process before this one left is removed.
    pub(crate) fn open(root: &Path) -> Result<Self, GitError> {
        let folder = root.join("keys");
        let _ = std::fs::remove_dir_all(&folder);
        crate::private_folder(&folder).map_err(GitError::disk(format!("creating {}", folder.display())))?;
        let turns = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self { folder, ready: Mutex::default(), turns: Semaphore::new(turns) })
    }

    /// The ring of these keys.
    pub(super) fn get(&self, keys: &Keys) -> Result<Arc<Ring>, GitError> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let found = ready.iter().position(|ring| ring.keys == *keys);
        let found = found.map(|at| ready.remove(at)).filter(|ring| ring.is_there());
        let ring = match found {
            Some(ring) => ring,
            None => Arc::new(Ring::new(&self.folder, keys)?),
        };
        if ready.len() >= RINGS {
            ready.remove(0);
        }
        ready.push(Arc::clone(&ring));
        Ok(ring)
    }

    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}

impl Ring {
    fn new(root: &Path, keys: &Keys) -> Result<Self, GitError> {
        let failed = || GitError::disk("writing the keys that signatures are verified with");
        crate::private_folder(root).map_err(failed())?;
        let folder = TempDir::with_prefix_in(format!("{}-", &keys.id()[..16]), root).map_err(failed())?;
        let ring = Self { keys: keys.clone(), folder, openpgp: OnceCell::new(), results: Mutex::default() };
        std::fs::write(ring.allowed_signers(), &keys.ssh().allowed).map_err(failed())?;
        std::fs::write(ring.revoked_keys(), &keys.ssh().revoked).map_err(failed())?;
        Ok(ring)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn allowed_signers(&self) -> PathBuf {
        self.folder().join("allowed_signers")
    }

    pub(super) fn revoked_keys(&self) -> PathBuf {
        self.folder().join("revoked_keys")
    }

    /// Whether nobody has cleared the folder away: without the keys every signature would look like a stranger's.
    fn is_there(&self) -> bool {
        self.allowed_signers().is_file()
            && self.revoked_keys().is_file()
            && self.openpgp.get().is_none_or(|home| home.is_there())
    }

    /// The home for `gpg`, made when the first GPG signature is met.
    pub(super) async fn openpgp(&self, program: &Program) -> Result<&Home, GitError> {
        self.openpgp.get_or_try_init(|| openpgp::prepare(program, self.folder(), &self.keys)).await
    }

    /// What is known of an object.
    pub(super) fn known(&self, id: &ObjectId, now: u64) -> Option<Signature> {
        let expiries = self.openpgp.get().map_or(&[][..], |home| &home.expiries);
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(id, now, expiries)
    }

    /// Keeps a result. What is bad is looked at again: that may have been this machine's fault, or its clock's.
    pub(super) fn keep(&self, id: ObjectId, at: u64, verdict: &Verdict) {
        if matches!(verdict.signature, Signature::Bad { .. }) {
            return;
        }
        let known = Known { signature: verdict.signature.clone(), at, until: verdict.until };
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(id, known);
    }
}

impl Results {
    fn insert(&mut self, id: ObjectId, known: Known) {
        if self.young.len() >= RESULTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, known);
    }

    fn get(&mut self, id: &ObjectId, now: u64, expiries: &[u64]) -> Option<Signature> {
        if !self.young.contains_key(id) {
            let known = self.old.remove(id)?;
            self.insert(*id, known);
        }
        let known = self.young.get(id)?;
        let holds = known.until.is_none_or(|until| now < until)
            && !expiries.iter().any(|expiry| known.at <= *expiry && *expiry <= now);
        holds.then(|| known.signature.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ObjectId {
        ObjectId::from_hex(format!("{number:040x}").as_bytes()).unwrap()
    }

    fn known(at: u64, until: Option<u64>) -> Known {
        Known { signature: Signature::None, at, until }
    }

    #[test]
    fn results_are_bounded_and_those_in_use_stay() {
        let mut results = Results::default();
        for number in 0..RESULTS * 5 {
            results.insert(id(number), known(1, None));
            assert!(results.get(&id(0), 2, &[]).is_some(), "{number}");
        }
        assert!(results.young.len() + results.old.len() <= RESULTS * 2);
        assert!(results.get(&id(1), 2, &[]).is_none());
    }

    #[test]
    fn a_result_ends_with_the_signature_or_a_key() {
        let mut results = Results::default();
        results.insert(id(1), known(100, Some(200)));
        results.insert(id(2), known(100, None));
        let mut holds = |number, now, expiries: &[u64]| results.get(&id(number), now, expiries).is_some();
        assert!(holds(1, 199, &[]) && !holds(1, 200, &[]));
        assert!(holds(2, 1_000, &[99]));
        assert!(holds(2, 149, &[99, 150]) && !holds(2, 150, &[99, 150]));
        assert!(!holds(2, 100, &[100]));
    }

    #[test]
    fn rings_are_kept_by_content_and_made_again_when_their_files_are_gone() {
        let root = tempfile::tempdir().unwrap();
        let rings = Rings::open(root.path()).unwrap();
        let keys = |number: usize| {
            let text = format!("-----BEGIN PGP PUBLIC KEY BLOCK-----{number}");
            Keys::from_config_map([("A".to_owned(), text)].into()).unwrap()
        };
        let first = rings.get(&keys(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &rings.get(&keys(0)).unwrap()));
        std::fs::remove_dir_all(first.folder()).unwrap();
        let again = rings.get(&keys(0)).unwrap();
        assert!(!Arc::ptr_eq(&first, &again) && again.is_there());
        let folder = again.folder().to_owned();
        drop((first, again));
        for number in 1..=RINGS {
            rings.get(&keys(number)).unwrap();
        }
        assert!(!folder.exists());
        assert_eq!(std::fs::read_dir(root.path().join("keys")).unwrap().count(), RINGS);
        // A process that was killed leaves its rings behind, and the next one clears them away.
        std::mem::forget(rings.get(&keys(1)).unwrap());
        drop(rings);
        let rings = Rings::open(root.path()).unwrap();
        assert_eq!(std::fs::read_dir(root.path().join("keys")).unwrap().count(), 0);
        assert!(rings.get(&keys(1)).unwrap().is_there());
    }
}
