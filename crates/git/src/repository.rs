//! The way in: all repositories, and one of them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gix::ObjectId;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::fetch::{Fetcher, Got, Listing, Shared, Target};
use crate::mirror::{Mirror, Tip};
use crate::process::Program;
use crate::revision::check_full_ref;
use crate::signature::Rings;
use crate::slots::Asker;
use crate::snapshot::Inner;
use crate::{
    Commit, Credentials, GitError, Grant, Remote, RepositoryUrl, Resolved, Revision, Snapshot, VersionRange, changes,
    private,
};

/// Digits in the name of a mirror's folder; an earlier version had 24.
const DIGITS: usize = 40;
/// How long the name of the default branch is believed while its commit agrees with `HEAD`'s.
const HEAD_BELIEVED: Duration = Duration::from_secs(600);
/// Version constraints whose tags are remembered. Beyond that all are forgotten until they are resolved again.
const MAX_MEANINGS: usize = 10_000;

/// How to fetch, from where, and how much.
pub struct GitConfig {
    /// The folder for the mirrors; made if it is not there. One process at a time.
    pub root: PathBuf,
    /// Who we are for each repository.
    pub credentials: Arc<dyn Credentials>,
    /// The limit for one `git fetch`, from start to end. A first fetch brings the whole history.
    pub fetch_timeout: Duration,
    /// How long HTTP may bring less than 1000 bytes a second; the whole fetch has the limit above, whatever its speed.
    pub stall_timeout: Duration,
    /// The largest mirror, in bytes as stored. Looked at while a fetch runs and before the next.
    pub max_repository_bytes: u64,
    /// Allow `file://` and absolute paths. Only for tests and tools: with it, whoever writes an Application's source can
    /// read every repository on the disk.
    pub allow_local: bool,
}

/// All repositories. Cheap to clone.
#[derive(Clone)]
pub struct Git {
    shared: Arc<Shared>,
    root: PathBuf,
    repositories: Arc<Mutex<Cores>>,
}

/// What belongs to an address and the credential that it is fetched with.
type Cores = HashMap<(RepositoryUrl, Grant), Arc<Core>>;

/// One repository: what its remote has, and its mirror. Shared by all whom the same credential serves.
pub struct Repository {
    core: Arc<Core>,
    asker: Asker,
}

struct Core {
    fetcher: Arc<Fetcher>,
    listing: tokio::sync::Mutex<Option<(Instant, Arc<Listing>)>>,
    head: Mutex<Option<(Instant, String)>>,
    /// The tags that version constraints were resolved to last.
    meanings: Mutex<HashMap<String, String>>,
}

/// What a fetch of a pushed commit brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where the ref stands now; a newer commit than the pushed one if there was another push.
    pub tip: Commit,
    /// Whether the ref contains the pushed commit. If not, it must not be applied: it was pushed away again, or never
    /// was there.
    pub reachable: bool,
    /// The commit that was pushed: of an annotated tag not the tag object, which some forges name.
    pub pushed: Commit,
}

impl Git {
    /// Prepares the folder; no repository is touched yet.
    ///
    /// # Errors
    /// [`GitError::NoGit`] without `git` on PATH, [`GitError::Disk`] if the folder cannot be made.
    pub fn open(config: GitConfig) -> Result<Self, GitError> {
        let root = std::path::absolute(&config.root).map_err(GitError::disk("finding the mirrors' folder"))?;
        private::private_folder(&root).map_err(GitError::disk(format!("creating {}", root.display())))?;
        close(&root);
        let shared = Shared {
            program: Program::find(&root)?,
            credentials: config.credentials,
            fetch_timeout: config.fetch_timeout,
            stall_timeout: config.stall_timeout,
            max_repository_bytes: config.max_repository_bytes,
            allow_local: config.allow_local,
            slots: Arc::default(),
            packing: Semaphore::new(1),
            rings: Rings::open(&root)?,
        };
        Ok(Self { shared: Arc::new(shared), root, repositories: Arc::default() })
    }

    /// The repository of a remote. Its mirror is made at the first use. It belongs to the address and to the credential that
    /// serves the remote at this moment: nobody sees what another's credential has fetched. So ask for it again whenever it
    /// is needed, and do not keep it.
    #[must_use]
    pub fn repository(&self, remote: impl Into<Remote>) -> Arc<Repository> {
        let remote: Remote = remote.into();
        let grant = self.shared.credentials.grant(&remote);
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let made = repositories.entry((remote.url, grant));
        let core = made.or_insert_with_key(|(url, grant)| {
            let mirror = Mirror::new(self.root.join(folder(url, grant)), url.to_string());
            let fetcher = Fetcher::new(url.clone(), grant.clone(), mirror, Arc::clone(&self.shared));
            Arc::new(Core {
                fetcher: Arc::new(fetcher),
                listing: tokio::sync::Mutex::new(None),
                head: Mutex::new(None),
                meanings: Mutex::default(),
            })
        });
        Arc::new(Repository { core: Arc::clone(core), asker: remote.project })
    }

    /// Which credential serves a remote at this moment.
    #[must_use]
    pub fn grant(&self, remote: &Remote) -> Grant {
        self.shared.credentials.grant(remote)
    }

    /// How many processes have been started since [`open`](Self::open): `git`, and for signatures `gpg` and `ssh-keygen`.
    #[must_use]
    pub fn processes_started(&self) -> u64 {
        self.shared.program.started()
    }
}

/// The name of a mirror's folder: of the address as git gets it, and of the credential.
fn folder(url: &RepositoryUrl, grant: &Grant) -> String {
    let login = (url.user(), url.password().map(crate::Secret::reveal));
    let place = format!("{}\n{login:?}\n{}", url.address(), grant.name());
    let digest = hex::encode(Sha256::digest(place.as_bytes()));
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{name}-{}.git", &digest[..DIGITS])
}

/// Takes mirrors that an earlier version made away from other users of the machine, and removes those that belonged to an
/// address alone: what they hold may have been fetched with anybody's credential.
fn close(root: &Path) {
    for path in std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let digest = name.strip_suffix(".git").and_then(|name| name.rsplit_once('-')).map(|(_, digest)| digest);
        let old = digest.is_some_and(|d| d.len() < DIGITS && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let closed = if old { std::fs::remove_dir_all(&path) } else { private::tighten(&path) };
        if let Err(error) = closed {
            tracing::warn!(path = %path.display(), %error, "mirror.not_closed: remove the folder, or take it away from other users");
        }
    }
}

impl Repository {
    /// The URL, for messages and for matching.
    #[must_use]
    pub fn url(&self) -> &RepositoryUrl {
        &self.core.fetcher.url
    }

    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.core.fetcher.mirror
    }

    pub(crate) fn fetcher(&self) -> &Arc<Fetcher> {
        &self.core.fetcher
    }

    async fn fetch(&self, target: Target, enough: Option<ObjectId>) -> Result<Got, GitError> {
        self.core.fetcher.fetch(target, enough, self.asker.clone()).await
    }

    async fn list(&self, options: &[&str], names: &[String]) -> Result<Listing, GitError> {
        self.core.fetcher.list(options, names, std::slice::from_ref(&self.asker)).await
    }

    /// Fetches what a webhook says was pushed: one `git fetch` of the ref in the common case, none if the ref is known to
    /// stand at this commit. `commit` may be an annotated tag's own name, as some forges send it.
    ///
    /// Always asks the remote unless the ref stands exactly at `commit`: a commit that the ref contains may be an older
    /// push, but also what a forced push has gone back to.
    ///
    /// # Errors
    /// [`GitError::NotThereYet`] when the forge does not have the ref or the commit, or shows the ref where it stood
    /// before the push: ask again for a while. Otherwise what prevented the fetch.
    pub async fn fetch_pushed(&self, commit: &Commit, full_ref: &str) -> Result<Fetched, GitError> {
        check_full_ref(full_ref)?;
        let id = commit.id()?;
        if let Some(tip) = self.known_tip(full_ref).await?
            && (tip.named == id || tip.commit == *commit)
        {
            return Ok(Fetched { pushed: tip.commit.clone(), tip: tip.commit, reachable: true });
        }
        let got = self.fetch(Target::Ref(full_ref.to_owned()), Some(id)).await?;
        let Got::Tip(tip) = got else { return Err(self.not_there_yet(full_ref)) };
        if tip.named == id || tip.commit == *commit {
            return Ok(Fetched { pushed: tip.commit.clone(), tip: tip.commit, reachable: true });
        }
        if !self.mirror().has(&id) && self.fetch(Target::Commit(commit.clone()), None).await? != Got::Here {
            return Err(self.not_there_yet(commit.as_str()));
        }
        let pushed = self.mirror().peel(id)?.ok_or_else(|| self.not_there_yet(commit.as_str()))?;
        let mirror = Arc::clone(self.mirror());
        let newest = tip.commit.id()?;
        let (contained, behind) = blocking(move || {
            let contained = changes::is_ancestor(&mirror, pushed, newest)?;
            Ok((contained, !contained && changes::is_ancestor(&mirror, newest, pushed)?))
        })
        .await?;
        if behind {
            return Err(self.not_there_yet(&format!("{full_ref} at {}", commit.short())));
        }
        Ok(Fetched { tip: tip.commit, reachable: contained, pushed: Commit::from_id(pushed) })
    }

    /// Finds out what a revision means now, and fetches that commit.
    ///
    /// # Errors
    /// [`GitError::RevisionNotFound`] when there is no such revision, otherwise what prevented the fetch.
    pub async fn resolve(&self, revision: &Revision) -> Result<Resolved, GitError> {
        match revision {
            Revision::Head => self.resolve_head().await,
            Revision::Ref(name) => {
                check_full_ref(name)?;
                self.resolve_ref(name).await?.ok_or_else(|| self.no_revision(revision, ""))
            }
            Revision::Name(name) => self.resolve_name(revision, name).await,
            Revision::Commit(commit) => self.resolve_commit(revision, commit).await,
            Revision::Versions(range) => self.resolve_versions(revision, range).await,
        }
    }

    /// The tag that a version constraint was resolved to last, which only the remote's list of tags can tell.
    pub(crate) fn meaning(&self, revision: &Revision) -> Option<String> {
        self.core.meanings.lock().unwrap_or_else(PoisonError::into_inner).get(&revision.to_string()).cloned()
    }

    fn remember(&self, revision: &Revision, full_ref: &str) {
        let mut meanings = self.core.meanings.lock().unwrap_or_else(PoisonError::into_inner);
        if meanings.len() >= MAX_MEANINGS {
            meanings.clear();
        }
        meanings.insert(revision.to_string(), full_ref.to_owned());
    }

    async fn resolve_ref(&self, full_ref: &str) -> Result<Option<Resolved>, GitError> {
        match self.fetch(Target::Ref(full_ref.to_owned()), None).await? {
            Got::Tip(tip) => Ok(Some(Resolved { commit: tip.commit, full_ref: Some(full_ref.to_owned()) })),
            Got::Here | Got::Nothing => Ok(None),
        }
    }

    async fn resolve_head(&self) -> Result<Resolved, GitError> {
        let known = self.core.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, branch)) = known
            && at.elapsed() < HEAD_BELIEVED
        {
            let both = tokio::join!(self.resolve_ref("HEAD"), self.resolve_ref(&branch));
            if let (Some(head), Some(branch)) = (both.0?, both.1?)
                && head.commit == branch.commit
            {
                return Ok(branch);
            }
        }
        let listing = self.list(&["--symref"], &["HEAD".to_owned()]).await?;
        let branch = listing.head.filter(|name| check_full_ref(name).is_ok());
        *self.core.head.lock().unwrap_or_else(PoisonError::into_inner) =
            branch.clone().map(|name| (Instant::now(), name));
        let resolved = self.resolve_ref(branch.as_deref().unwrap_or("HEAD")).await?;
        let resolved = resolved.ok_or_else(|| self.no_revision(&Revision::Head, " (the repository is empty)"))?;
        // Without the name of a branch (a remote whose HEAD stands at a commit) there is no ref that a push could move.
        Ok(Resolved { full_ref: branch, ..resolved })
    }

    async fn resolve_name(&self, revision: &Revision, name: &str) -> Result<Resolved, GitError> {
        for folder in ["refs/heads", "refs/tags"] {
            if let Some(resolved) = self.resolve_ref(&format!("{folder}/{name}")).await? {
                return Ok(resolved);
            }
        }
        // Also `heads/main`, which git itself would find.
        if name.contains('/')
            && let Some(resolved) = self.resolve_ref(&format!("refs/{name}")).await?
        {
            return Ok(resolved);
        }
        if let Ok(range) = VersionRange::parse(name)
            && let Ok(resolved) = self.resolve_versions(revision, &range).await
        {
            return Ok(resolved);
        }
        let abbreviated = (4..40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if !abbreviated {
            return Err(self.no_revision(revision, ""));
        }
        if self.find_abbreviated(name)?.is_none() {
            // A remote cannot be asked for a part of a name: fetch what most people mean.
            self.resolve_head().await?;
        }
        let commit =
            self.find_abbreviated(name)?.ok_or_else(|| self.no_revision(revision, "; give a commit's full name"))?;
        Ok(Resolved { commit, full_ref: None })
    }

    fn find_abbreviated(&self, digits: &str) -> Result<Option<Commit>, GitError> {
        let Ok(prefix) = gix::hash::Prefix::from_hex(digits) else { return Ok(None) };
        let found = self.mirror().with(|repository| {
            let mut candidates = std::collections::HashSet::new();
            repository.objects.lookup_prefix(prefix, Some(&mut candidates)).map_err(|e| self.mirror().damage(e))?;
            let commits = candidates
                .into_iter()
                .filter(|id| repository.find_header(*id).is_ok_and(|h| h.kind() == gix::objs::Kind::Commit));
            Ok(commits.collect::<Vec<ObjectId>>())
        })?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Commit::from_id(*one))),
            _ => Err(self.no_revision(&Revision::Name(digits.to_owned()), "; several commits begin like this")),
        }
    }

    async fn resolve_commit(&self, revision: &Revision, commit: &Commit) -> Result<Resolved, GitError> {
        if self.fetch(Target::Commit(commit.clone()), None).await? != Got::Here {
            return Err(self.no_revision(revision, ""));
        }
        let id =
            self.mirror().peel(commit.id()?)?.ok_or_else(|| self.mirror().damage("a fetched commit is missing"))?;
        Ok(Resolved { commit: Commit::from_id(id), full_ref: None })
    }

    async fn resolve_versions(&self, revision: &Revision, range: &VersionRange) -> Result<Resolved, GitError> {
        let listing = self.list(&["--tags"], &[]).await?;
        let tags = listing.refs.keys().filter_map(|name| name.strip_prefix("refs/tags/"));
        let best = range.best(tags).ok_or_else(|| self.no_revision(revision, "; no tag satisfies it"))?;
        let full_ref = format!("refs/tags/{best}");
        check_full_ref(&full_ref)?;
        self.remember(revision, &full_ref);
        self.resolve_ref(&full_ref).await?.ok_or_else(|| self.no_revision(revision, ""))
    }

    /// Branches and tags of the remote and their commits, for polling; annotated tags by the commit that they name. Calls
    /// at the same time share one `git ls-remote`.
    ///
    /// # Errors
    /// What prevented the listing.
    pub async fn remote_refs(&self) -> Result<Vec<(String, Commit)>, GitError> {
        let asked = Instant::now();
        let mut last = self.core.listing.lock().await;
        let shared = last.as_ref().filter(|(started, _)| *started > asked).map(|(_, listing)| Arc::clone(listing));
        let listing = match shared {
            Some(listing) => listing,
            None => {
                let started = Instant::now();
                let listing = Arc::new(self.list(&["--heads", "--tags"], &[]).await?);
                *last = Some((started, Arc::clone(&listing)));
                listing
            }
        };
        Ok(listing.refs.iter().map(|(name, commit)| (name.clone(), commit.clone())).collect())
    }

    /// Whether the commit has been fetched.
    #[must_use]
    pub fn has(&self, commit: &Commit) -> bool {
        commit.id().is_ok_and(|id| self.mirror().has(&id))
    }

    /// Whether `a` is `b` or in its history. Both must have been fetched.
    ///
    /// # Errors
    /// [`GitError::NotFetched`], or a damaged mirror.
    pub fn is_ancestor(&self, a: &Commit, b: &Commit) -> Result<bool, GitError> {
        changes::is_ancestor(self.mirror(), self.commit_id(a)?, self.commit_id(b)?)
    }

    /// The paths of files that differ between two commits, sorted; a file that was moved appears under both names. Folders
    /// that are the same are not looked into.
    ///
    /// # Errors
    /// [`GitError::NotFetched`], [`GitError::TooLarge`] for a change of more files than anybody would look at, or a
    /// damaged mirror.
    pub fn changed_paths(&self, a: &Commit, b: &Commit) -> Result<Vec<String>, GitError> {
        changes::changed_paths(self.mirror(), self.root(self.commit_id(a)?)?, self.root(self.commit_id(b)?)?)
    }

    /// The files of a commit that has been fetched. Nothing is fetched here.
    ///
    /// # Errors
    /// [`GitError::NotFetched`], or a damaged mirror.
    pub fn snapshot(&self, commit: &Commit) -> Result<Snapshot, GitError> {
        let root = self.root(self.commit_id(commit)?)?;
        Ok(Snapshot { inner: Arc::new(Inner { mirror: Arc::clone(self.mirror()), commit: commit.clone(), root }) })
    }

    /// Merges the mirror's small packs now; usually that happens in the background when there are many.
    ///
    /// # Errors
    /// What git said.
    pub async fn pack(&self) -> Result<(), GitError> {
        self.core.fetcher.pack().await.map_err(|failure| failure.error(self.url(), Duration::ZERO))
    }

    fn commit_id(&self, commit: &Commit) -> Result<ObjectId, GitError> {
        self.mirror().commit_id(commit)
    }

    fn root(&self, commit: ObjectId) -> Result<ObjectId, GitError> {
        self.mirror().root(commit)
    }

    /// Where a ref stood at the last fetch; nothing while the mirror is damaged.
    async fn known_tip(&self, full_ref: &str) -> Result<Option<Tip>, GitError> {
        if self.mirror().is_damaged() {
            return Ok(None);
        }
        Ok(self.mirror().tip(full_ref).ok().flatten())
    }

    fn not_there_yet(&self, what: &str) -> GitError {
        GitError::NotThereYet { repository: self.url().to_string(), what: what.to_owned() }
    }

    fn no_revision(&self, revision: &Revision, hint: &str) -> GitError {
        GitError::RevisionNotFound {
            repository: self.url().to_string(),
            revision: revision.to_string(),
            hint: hint.to_owned(),
        }
    }
}

/// Work that takes the processor for longer than the runtime's threads should be held.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, GitError> + Send + 'static,
) -> Result<R, GitError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(GitError::Disk { action: "reading the mirror".into(), message: "the work was interrupted".into() })
    })
}

impl fmt::Debug for GitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitConfig")
            .field("root", &self.root)
            .field("fetch_timeout", &self.fetch_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Git({})", self.root.display())
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.url())
    }
}
