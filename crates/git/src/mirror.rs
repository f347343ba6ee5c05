//! The folder that holds a repository's objects, and reading them.
//!
//! A mirror is a cache: everything in it can be fetched again. So nothing is written through to the disk at once
//! (`core.fsync=none`), and a mirror that is found damaged is thrown away and made anew.
//!
//! A mirror can also borrow: then it has no objects of its own and reads those of a repository on this disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use gix::ObjectId;
use gix::objs::Kind;
use sha2::{Digest, Sha256};

use crate::tree::{Tree, TreeCache};
use crate::{Commit, GitError, private};

/// A folder's list of names; the largest honest ones have some ten thousand names.
const MAX_TREE_BYTES: u64 = 32 << 20;
/// Handles kept ready for reading; more exist while more threads read at once.
const IDLE_HANDLES: usize = 4;
/// A lock of git's that is older belongs to a process that was killed: refs are locked for milliseconds.
const STALE_LOCK: Duration = Duration::from_secs(10);
/// A pack grows while it is received or written; one that has not for so long never will.
const STALE_PACK: Duration = Duration::from_secs(3600);
/// Above these the mirror is packed in the background.
const MAX_PACKS: usize = 24;
const MAX_LOOSE: usize = 3_000;

const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tbare = true
\tlogAllRefUpdates = false
\thooksPath = /dev/null
\tsharedRepository = 0600
\tfsync = none
\tbigFileThreshold = 16m
\tfilesRefLockTimeout = 2000
\tpackedRefsTimeout = 5000
[gc]
\tauto = 0
[maintenance]
\tauto = false
[protocol]
\tversion = 2
[fetch]
\twriteCommitGraph = false
\trecurseSubmodules = false
[advice]
\tfetchShowForcedUpdates = false
[pack]
\tthreads = 1
\twindowMemory = 64m
[http]
\tlowSpeedLimit = 1000
";

/// The mirror of one repository.
#[derive(Debug)]
pub(crate) struct Mirror {
    folder: PathBuf,
    repository: String,
    /// Whose objects are read, if not its own.
    lender: Option<PathBuf>,
    open: RwLock<Option<Arc<Handles>>>,
    trees: TreeCache,
    damaged: AtomicBool,
}

struct Handles {
    shared: gix::ThreadSafeRepository,
    idle: Mutex<Vec<gix::Repository>>,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handles")
    }
}

/// Where a ref of the remote stands in the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    /// What the ref names, which can be an annotated tag.
    pub named: ObjectId,
    /// The commit behind it.
    pub commit: Commit,
}

/// The ref under which a remote's ref is kept. A hash, because names on the remote come and go that cannot exist side by
/// side as files (`a` and `a/b`), or that some file systems cannot tell apart.
pub(crate) fn local_ref(full_ref: &str) -> String {
    format!("refs/remotes/lockstep/{}", &hex::encode(Sha256::digest(full_ref.as_bytes()))[..40])
}

impl Mirror {
    pub(crate) fn new(folder: PathBuf, repository: String) -> Self {
        Self {
            folder,
            repository,
            lender: None,
            open: RwLock::new(None),
            trees: TreeCache::default(),
            damaged: AtomicBool::new(false),
        }
    }

    /// One that reads the objects in another repository's folder of objects, beside those that are put into its own.
    pub(crate) fn borrowing(folder: PathBuf, repository: String, objects: PathBuf) -> Self {
        Self { lender: Some(objects), ..Self::new(folder, repository) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Makes the folder if there is none, and clears what a killed process left behind.
    pub(crate) fn prepare(&self) -> Result<(), GitError> {
        self.handles().map(drop)
    }

    fn handles(&self) -> Result<Arc<Handles>, GitError> {
        if let Some(handles) = self.open.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(Arc::clone(handles));
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = open.as_ref() {
            return Ok(Arc::clone(handles));
        }
        self.create()?;
        self.clear_stale();
        let opened = self.open_objects().or_else(|_| {
            // Whatever stands there, it is no repository.
            let _ = fs::remove_dir_all(&self.folder);
            self.create()?;
            self.open_objects()
        })?;
        let handles = Arc::new(Handles { shared: opened, idle: Mutex::new(Vec::new()) });
        *open = Some(Arc::clone(&handles));
        Ok(handles)
    }

    fn create(&self) -> Result<(), GitError> {
        let failed = || GitError::disk(format!("creating {}", self.folder.display()));
        create(&self.folder).map_err(failed())?;
        let Some(lender) = &self.lender else { return Ok(()) };
        let mut line = lender.as_os_str().as_encoded_bytes().to_vec();
        line.push(b'\n');
        fs::write(self.folder.join("objects/info/alternates"), line).map_err(failed())
    }

    fn open_objects(&self) -> Result<gix::ThreadSafeRepository, GitError> {
        let options = gix::open::Options::isolated().with(gix::sec::Trust::Full).open_path_as_is(true);
        // More slots than packs can gather between two rounds of maintenance, so that none is ever lacking.
        let options = options.object_store_slots(gix::odb::store::init::Slots::Given(512));
        options
            .open(&self.folder)
            .map_err(|error| GitError::Damaged { repository: self.repository.clone(), message: error.to_string() })
    }

    /// Throws everything away. Snapshots that are being read fail with [`GitError::Damaged`] or go on with what they
    /// have open.
    pub(crate) fn reset(&self) -> Result<(), GitError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let away = self.folder.with_extension(format!("damaged-{}", std::process::id()));
        let _ = fs::remove_dir_all(&away);
        match fs::rename(&self.folder, &away) {
            Ok(()) => drop(fs::remove_dir_all(&away)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(GitError::disk(format!("removing {}", self.folder.display()))(error)),
        }
        *open = None;
        self.damaged.store(false, Ordering::Release);
        Ok(())
    }

    /// Lets go of open packs, so that those which maintenance has replaced give their space back.
    pub(crate) fn reopen(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes locks and unfinished packs of processes that no longer run.
    pub(crate) fn clear_stale(&self) {
        for file in self.unfinished() {
            if age(&file) > STALE_PACK {
                let _ = fs::remove_file(file);
            }
        }
        let locks = |folder: PathBuf| files(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "lock"));
        for lock in locks(self.folder.clone()).chain(locks(self.folder.join("refs/remotes/lockstep"))) {
            if age(&lock) > STALE_LOCK {
                let _ = fs::remove_file(lock);
            }
        }
    }

    /// Packs that are being written at this moment.
    pub(crate) fn unfinished(&self) -> BTreeSet<PathBuf> {
        let unfinished = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("tmp_"));
        files(&self.folder.join("objects/pack")).into_iter().filter(unfinished).collect()
    }

    /// Removes what an interrupted fetch has left, but nothing that was there before it.
    pub(crate) fn clear_unfinished(&self, before: &BTreeSet<PathBuf>) {
        for file in self.unfinished().difference(before) {
            let _ = fs::remove_file(file);
        }
    }

    /// Size of all objects in bytes, unfinished packs included.
    pub(crate) fn bytes(&self) -> u64 {
        let folders = files(&self.folder.join("objects"));
        let objects = folders.iter().flat_map(|folder| files(folder));
        objects.filter_map(|p| fs::metadata(p).ok()).map(|m| m.len()).sum()
    }

    /// Whether packing would make reading faster. One of the 256 folders of loose objects stands for all.
    pub(crate) fn needs_packing(&self) -> bool {
        let packs = files(&self.folder.join("objects/pack"))
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "pack"))
            .count();
        let sample: usize = ["17", "6b"].iter().map(|f| files(&self.folder.join("objects").join(f)).len()).sum();
        packs > MAX_PACKS
            || sample * 128 > MAX_LOOSE
            || files(&self.folder.join("refs/remotes/lockstep")).len() > MAX_LOOSE
    }

    /// Runs a reading function on a handle of its own.
    pub(crate) fn with<R>(&self, read: impl Fn(&gix::Repository) -> Result<R, GitError>) -> Result<R, GitError> {
        match self.with_another_look(read) {
            // What is borrowed cannot be fetched anew.
            Err(GitError::Damaged { repository, message }) if self.lender.is_some() => {
                Err(GitError::Incomplete { repository, message })
            }
            result => result,
        }
    }

    fn with_another_look<R>(&self, read: impl Fn(&gix::Repository) -> Result<R, GitError>) -> Result<R, GitError> {
        let before = self.is_damaged();
        match self.with_open(&read) {
            Err(GitError::Damaged { .. }) if !before => {
                // Packing may have moved the object at this very moment: only what a fresh look misses is missing.
                let opened = self.open_objects()?;
                self.damaged.store(false, Ordering::Release);
                let again = read(&opened.to_thread_local());
                if again.is_ok() {
                    let handles = Arc::new(Handles { shared: opened, idle: Mutex::new(Vec::new()) });
                    *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(handles);
                }
                again
            }
            result => result,
        }
    }

    fn with_open<R>(&self, read: impl Fn(&gix::Repository) -> Result<R, GitError>) -> Result<R, GitError> {
        let handles = self.handles()?;
        let idle = handles.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let handle = idle.unwrap_or_else(|| handles.shared.to_thread_local());
        let result = read(&handle);
        let mut idle = handles.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_HANDLES {
            idle.push(handle);
        }
        result
    }

    pub(crate) fn damage(&self, message: impl std::fmt::Display) -> GitError {
        self.damaged.store(true, Ordering::Release);
        GitError::Damaged { repository: self.repository.clone(), message: message.to_string() }
    }

    pub(crate) fn has(&self, id: &ObjectId) -> bool {
        self.with(|repository| Ok(repository.has_object(id))).unwrap_or(false)
    }

    /// The commit behind an object: itself, or what an annotated tag names. `None` if it is not there.
    pub(crate) fn peel(&self, id: ObjectId) -> Result<Option<ObjectId>, GitError> {
        self.with(|repository| {
            let mut id = id;
            // Tags of tags are legal; a long chain of them is not honest.
            for _ in 0..10 {
                let Some(object) = repository.try_find_object(id).map_err(|e| self.damage(e))? else { return Ok(None) };
                match object.kind {
                    Kind::Commit => return Ok(Some(id)),
                    Kind::Tag => match object.into_tag().target_id() {
                        Ok(target) => id = target.detach(),
                        Err(_) => break,
                    },
                    Kind::Tree | Kind::Blob => break,
                }
            }
            Err(self.not_a_commit(id))
        })
    }

    /// The commit, if it is here.
    pub(crate) fn commit_id(&self, commit: &Commit) -> Result<ObjectId, GitError> {
        let absent = || GitError::NotFetched { repository: self.repository.clone(), commit: commit.to_string() };
        self.peel(commit.id()?)?.ok_or_else(absent)
    }

    /// A commit's folder.
    pub(crate) fn root(&self, commit: ObjectId) -> Result<ObjectId, GitError> {
        self.with(|repository| {
            let found = repository.find_commit(commit).map_err(|e| self.damage(e))?;
            // What came whole and makes no sense was pushed like this: fetching it anew would not mend it.
            found.tree_id().map(gix::Id::detach).map_err(|_| self.not_a_commit(commit))
        })
    }

    /// What an object that has been fetched is.
    pub(crate) fn kind(&self, id: ObjectId) -> Result<Kind, GitError> {
        self.with(|repository| repository.find_header(id).map(|header| header.kind()).map_err(|e| self.damage(e)))
    }

    pub(crate) fn not_a_commit(&self, id: ObjectId) -> GitError {
        GitError::NotACommit { repository: self.repository.clone(), what: id.to_string() }
    }

    /// Where a ref of the remote stood at the last fetch.
    pub(crate) fn tip(&self, full_ref: &str) -> Result<Option<Tip>, GitError> {
        let name = local_ref(full_ref);
        let named = self.with(|repository| {
            let reference = repository.try_find_reference(name.as_str()).map_err(|e| self.damage(e))?;
            Ok(reference.and_then(|r| r.try_id().map(gix::Id::detach)))
        })?;
        let Some(named) = named else { return Ok(None) };
        let commit = self.peel(named)?.ok_or_else(|| self.damage(format!("{full_ref} names a missing object")))?;
        Ok(Some(Tip { named, commit: Commit::from_id(commit) }))
    }

    /// Forgets a ref that the remote no longer has.
    pub(crate) fn forget(&self, full_ref: &str) -> Result<(), GitError> {
        let name = local_ref(full_ref);
        self.with(|repository| match repository.try_find_reference(name.as_str()) {
            Ok(Some(reference)) => reference.delete().map_err(|e| self.damage(e)),
            Ok(None) => Ok(()),
            Err(error) => Err(self.damage(error)),
        })
    }

    pub(crate) fn cached_tree(&self, id: &ObjectId) -> Option<Arc<Tree>> {
        self.trees.get(id)
    }

    /// Reads a folder.
    pub(crate) fn tree(&self, id: ObjectId, path: &str) -> Result<Arc<Tree>, GitError> {
        if let Some(tree) = self.trees.get(&id) {
            return Ok(tree);
        }
        let data = self.object(id, Kind::Tree, MAX_TREE_BYTES, path)?;
        let tree = Tree::parse(&data).map_err(|reason| GitError::Refused { path: path.to_owned(), reason })?;
        let tree = Arc::new(tree);
        self.trees.insert(id, &tree);
        Ok(tree)
    }

    /// Reads an object of at most `limit` bytes.
    pub(crate) fn object(&self, id: ObjectId, kind: Kind, limit: u64, path: &str) -> Result<Vec<u8>, GitError> {
        self.with(|repository| {
            let header = repository.try_find_header(id).map_err(|e| self.damage(e))?;
            let header = header.ok_or_else(|| self.damage(format!("object {id} of {path:?} is missing")))?;
            if header.kind() != kind {
                return Err(GitError::Refused {
                    path: path.to_owned(),
                    reason: format!("it is stored as a {}", header.kind()),
                });
            }
            if header.size() > limit {
                return Err(GitError::TooLarge { what: format!("{path:?} ({} bytes)", header.size()), limit });
            }
            repository.find_object(id).map(|mut object| std::mem::take(&mut object.data)).map_err(|e| self.damage(e))
        })
    }
}

/// Makes the folder of a bare repository, complete or not at all.
fn create(folder: &Path) -> std::io::Result<()> {
    if fs::read_to_string(folder.join("config")).is_ok_and(|config| config == CONFIG) && folder.join("HEAD").exists() {
        return Ok(());
    }
    for part in ["", "objects/info", "objects/pack", "refs/heads", "refs/remotes/lockstep"] {
        private::private_folder(&folder.join(part))?;
    }
    for (name, content) in [("config", CONFIG), ("HEAD", "ref: refs/heads/main\n")] {
        let unfinished = folder.join(format!("{name}.{}.new", std::process::id()));
        private::write(&unfinished, content.as_bytes())?;
        fs::rename(&unfinished, folder.join(name))?;
    }
    Ok(())
}

/// Time since the last change; zero if it cannot be told.
pub(crate) fn age(path: &Path) -> Duration {
    let changed = fs::metadata(path).and_then(|m| m.modified());
    changed.ok().and_then(|t| SystemTime::now().duration_since(t).ok()).unwrap_or_default()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|e| e.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_made_once_and_heals() {
        let root = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(root.path().join("a.git"), "forge/a".into());
        mirror.prepare().unwrap();
        assert_eq!(mirror.tip("refs/heads/main").unwrap(), None);
        assert!(!mirror.needs_packing());
        // Rubbish where objects should be.
        mirror.reopen();
        fs::write(mirror.folder().join("config"), "[core\n").unwrap();
        mirror.prepare().unwrap();
        assert!(!mirror.is_damaged());
        let _ = mirror.damage("x");
        assert!(mirror.is_damaged());
        mirror.reset().unwrap();
        mirror.prepare().unwrap();
        assert!(!mirror.is_damaged());
    }

    #[test]
    fn locks_of_killed_processes_do_not_stay() {
        let root = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(root.path().join("a.git"), "forge/a".into());
        mirror.prepare().unwrap();
        let old = mirror.folder().join("refs/remotes/lockstep/x.lock");
        let new = mirror.folder().join("packed-refs.lock");
        let file = fs::File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        fs::File::create(&new).unwrap();
        mirror.clear_stale();
        assert!(!old.exists() && new.exists());
    }
}
