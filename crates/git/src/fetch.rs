//! Fetching: one fetch at a time per repository, joined by all who wait.
//!
//! A request that arrives while a fetch runs waits for the next one, because the running one may have looked before the
//! request's push. All that wait at that moment share one `git fetch`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::error::Complaint;
use crate::mirror::{Mirror, Tip, local_ref};
use crate::process::{Failure, Program, Run};
use crate::signature::Rings;
use crate::slots::{Asker, Slots};
use crate::{Commit, Credentials, GitError, Grant, RepositoryUrl};

/// Refs fetched by one process.
const MAX_REFS: usize = 200;
/// Between two looks at whether the mirror needs packing.
const FETCHES_PER_LOOK: u64 = 32;
/// How often the size of a running fetch is looked at.
const SIZE_EVERY: Duration = Duration::from_millis(500);
const PACKING_LIMIT: Duration = Duration::from_secs(1800);

/// What somebody wants from the remote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A ref, wherever it stands now.
    Ref(String),
    /// A commit by its name.
    Commit(Commit),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    /// The ref stands here and is in the mirror.
    Tip(Tip),
    /// The commit is in the mirror.
    Here,
    /// The remote does not have it.
    Nothing,
}

struct Want {
    target: Target,
    /// The want is met without another fetch once the ref stands at this object.
    enough: Option<gix::ObjectId>,
    asker: Asker,
    reply: oneshot::Sender<Result<Got, GitError>>,
}

#[derive(Default)]
struct Waiting {
    wants: Vec<Want>,
    running: bool,
}

/// Fetches for one repository.
pub(crate) struct Fetcher {
    pub(crate) url: RepositoryUrl,
    /// The credential that it is fetched with.
    grant: Grant,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) shared: Arc<Shared>,
    waiting: Mutex<Waiting>,
    /// The repository answers from another address than its URL.
    redirects: AtomicBool,
    fetches: AtomicU64,
    packing: AtomicBool,
}

/// What all repositories have in common.
pub(crate) struct Shared {
    pub program: Program,
    pub credentials: Arc<dyn Credentials>,
    pub fetch_timeout: Duration,
    pub max_repository_bytes: u64,
    pub allow_local: bool,
    /// How long HTTP may be slower than the mirrors' configuration allows.
    pub stall_timeout: Duration,
    /// Bounds the processes that run at once over all repositories.
    pub slots: Arc<Slots>,
    pub packing: Semaphore,
    pub rings: Rings,
}

impl Fetcher {
    pub(crate) fn new(url: RepositoryUrl, grant: Grant, mirror: Mirror, shared: Arc<Shared>) -> Self {
        Self {
            url,
            grant,
            mirror: Arc::new(mirror),
            shared,
            waiting: Mutex::default(),
            redirects: AtomicBool::new(false),
            fetches: AtomicU64::new(0),
            packing: AtomicBool::new(false),
        }
    }

    /// Asks the remote. With `enough`, a fetch that was already running may answer too, if it brought the ref there.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        target: Target,
        enough: Option<gix::ObjectId>,
        asker: Asker,
    ) -> Result<Got, GitError> {
        let (reply, answer) = oneshot::channel();
        let start = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.wants.push(Want { target, enough, asker, reply });
            !std::mem::replace(&mut waiting.running, true)
        };
        if start {
            // A task of its own: whoever asked first may go away, the others still wait.
            tokio::spawn(Arc::clone(self).serve());
        }
        answer.await.unwrap_or_else(|_| {
            Err(GitError::Failed { repository: self.url.to_string(), message: "the fetch was interrupted".into() })
        })
    }

    async fn serve(self: Arc<Self>) {
        loop {
            let batch = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.wants.is_empty() {
                    waiting.running = false;
                    return;
                }
                let count = waiting.wants.len().min(MAX_REFS);
                waiting.wants.drain(..count).collect::<Vec<_>>()
            };
            let this = Arc::clone(&self);
            // Isolated, so that a panic drops the replies of this batch and nothing else.
            let _ = tokio::spawn(async move { this.serve_batch(batch).await }).await;
        }
    }

    async fn serve_batch(self: &Arc<Self>, batch: Vec<Want>) {
        let mut by_target: BTreeMap<Target, Vec<oneshot::Sender<Result<Got, GitError>>>> = BTreeMap::new();
        let mut askers = BTreeSet::new();
        for want in batch {
            match self.already(&want) {
                Some(got) => drop(want.reply.send(Ok(got))),
                None if want.reply.is_closed() => {}
                None => {
                    askers.insert(want.asker);
                    by_target.entry(want.target).or_default().push(want.reply);
                }
            }
        }
        let askers: Vec<Asker> = askers.into_iter().collect();
        let answer = self.answer(by_target.keys().cloned().collect(), &askers);
        // Several runs of git may be needed, and a try again for each.
        let limit = self.shared.fetch_timeout * 2;
        let answers = tokio::time::timeout(limit, answer).await;
        let answers =
            answers.unwrap_or_else(|_| Err(GitError::TimedOut { repository: self.url.to_string(), after: limit }));
        for (target, replies) in by_target {
            let answer = match &answers {
                Ok(got) => got.get(&target).cloned().unwrap_or(Ok(Got::Nothing)),
                Err(error) => Err(error.clone()),
            };
            for reply in replies {
                let _ = reply.send(answer.clone());
            }
        }
    }

    fn already(&self, want: &Want) -> Option<Got> {
        let (Target::Ref(name), Some(enough)) = (&want.target, want.enough) else { return None };
        if self.mirror.is_damaged() {
            return None;
        }
        let tip = self.mirror.tip(name).ok().flatten()?;
        (tip.named == enough || tip.commit == Commit::from_id(enough)).then_some(Got::Tip(tip))
    }

    async fn answer(
        self: &Arc<Self>,
        targets: Vec<Target>,
        askers: &[Asker],
    ) -> Result<BTreeMap<Target, Result<Got, GitError>>, GitError> {
        let mut answers = BTreeMap::new();
        if targets.is_empty() {
            return Ok(answers);
        }
        self.permitted()?;
        let refs: Vec<String> =
            targets.iter().filter_map(|t| if let Target::Ref(name) = t { Some(name.clone()) } else { None }).collect();
        let absent = self.fetch_refs(refs.clone(), askers).await?;
        for name in refs {
            let got = if absent.contains(&name) {
                Ok(Got::Nothing)
            } else {
                self.mirror.tip(&name).and_then(|tip| {
                    tip.map(Got::Tip).ok_or_else(|| self.mirror.damage(format!("{name} was fetched and is not there")))
                })
            };
            answers.insert(Target::Ref(name), got);
        }
        for target in targets {
            if let Target::Commit(commit) = &target {
                let got = self.fetch_commit(commit, askers).await;
                answers.insert(target, got);
            }
        }
        self.look_after();
        Ok(answers)
    }

    fn permitted(&self) -> Result<(), GitError> {
        if self.url.transport() == crate::Transport::Local && !self.shared.allow_local {
            return Err(GitError::InvalidUrl {
                url: self.url.to_string(),
                reason: "repositories on the local disk are not allowed".into(),
            });
        }
        Ok(())
    }

    /// Fetches refs and returns those that the remote does not have.
    async fn fetch_refs(&self, refs: Vec<String>, askers: &[Asker]) -> Result<BTreeSet<String>, GitError> {
        let mut absent = BTreeSet::new();
        let mut wanted = refs;
        // A ref can vanish between the list and the fetch; more often than this it is no coincidence.
        for _ in 0..3 {
            if wanted.is_empty() {
                return Ok(absent);
            }
            let refspecs: Vec<String> = wanted.iter().map(|name| format!("+{name}:{}", local_ref(name))).collect();
            match self.git_fetch(&refspecs, self.negotiation_tips(&wanted), askers).await {
                Ok(()) => return Ok(absent),
                Err(failure) if failure.kind() == Some(Complaint::MissingRef) => {
                    // One missing ref fails the whole fetch. A list says at once which of them are missing.
                    let there = if wanted.len() == 1 {
                        BTreeSet::new()
                    } else {
                        self.list(&[], &wanted, askers).await?.names()
                    };
                    let (found, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|name| there.contains(name));
                    for name in missing {
                        self.mirror.forget(&name)?;
                        absent.insert(name);
                    }
                    wanted = found;
                }
                Err(failure) => return Err(failure.error(&self.url, self.shared.fetch_timeout)),
            }
        }
        Err(GitError::Unreachable {
            repository: self.url.to_string(),
            message: "its refs change faster than they can be fetched".into(),
        })
    }

    async fn fetch_commit(&self, commit: &Commit, askers: &[Asker]) -> Result<Got, GitError> {
        let id = commit.id()?;
        if !self.mirror.is_damaged() && self.mirror.has(&id) {
            return Ok(Got::Here);
        }
        match self.git_fetch(&[format!("+{commit}:{}", local_ref(commit.as_str()))], Vec::new(), askers).await {
            Ok(()) => Ok(Got::Here),
            Err(failure) if matches!(failure.kind(), Some(Complaint::NotOurs | Complaint::MissingRef)) => {
                Ok(Got::Nothing)
            }
            Err(failure) => Err(failure.error(&self.url, self.shared.fetch_timeout)),
        }
    }

    /// With what we have of the same refs, the remote finds out in one round what is missing. Without, git offers all.
    fn negotiation_tips(&self, refs: &[String]) -> Vec<String> {
        let known: Option<Vec<String>> = refs
            .iter()
            .take(20)
            .map(|name| self.mirror.tip(name).ok().flatten().map(|t| t.named.to_string()))
            .collect();
        known.filter(|_| refs.len() <= 20).unwrap_or_default()
    }

    /// One `git fetch`, tried again for what a second try in the same breath can mend.
    async fn git_fetch(&self, refspecs: &[String], tips: Vec<String>, askers: &[Asker]) -> Result<(), Failure> {
        let mut tips = tips;
        let mut pause = Duration::from_millis(20);
        let mut healed = false;
        let mut locked = 0;
        loop {
            if self.mirror.is_damaged() {
                self.mirror.reset().map_err(not_started)?;
                tips.clear();
            }
            self.mirror.prepare().map_err(not_started)?;
            let failure = match self.git_fetch_once(refspecs, &tips, askers).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match failure.kind() {
                Some(Complaint::Redirected) if !self.redirects.swap(true, Ordering::AcqRel) => {}
                Some(Complaint::Damaged) if !healed => {
                    healed = true;
                    drop(self.mirror.damage("git found it damaged"));
                    tracing::warn!(repository = %self.url, "the mirror is damaged and is fetched anew");
                }
                Some(Complaint::Locked) if locked < 5 => {
                    locked += 1;
                    self.mirror.clear_stale();
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn git_fetch_once(&self, refspecs: &[String], tips: &[String], askers: &[Asker]) -> Result<(), Failure> {
        let options = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--no-show-forced-updates",
            "--no-recurse-submodules",
            "--force",
            "--stdin",
        ];
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        arguments.extend(tips.iter().map(|tip| format!("--negotiation-tip={tip}").into()));
        arguments.push("--".into());
        arguments.push(self.url.address().into());
        let mut input = refspecs.join("\n");
        input.push('\n');
        let started = Instant::now();
        let before = self.mirror.unfinished();
        let result = tokio::select! {
            // In this order git is already at work when the size is looked at.
            biased;
            result = self.run(arguments, input.into_bytes(), askers) => result.map(drop),
            error = self.too_large() => Err(error),
        };
        if result.is_err() && !self.packing.load(Ordering::Acquire) {
            self.mirror.clear_unfinished(&before);
        }
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::debug!(repository = %self.url, refs = refspecs.len(), milliseconds, succeeded = result.is_ok(), "git fetch");
        result
    }

    /// Completes when the mirror has grown beyond the limit.
    async fn too_large(&self) -> Failure {
        let limit = self.shared.max_repository_bytes;
        loop {
            if self.mirror.bytes() > limit {
                return Failure::TooLarge { limit };
            }
            tokio::time::sleep(SIZE_EVERY).await;
        }
    }

    async fn run(&self, arguments: Vec<OsString>, input: Vec<u8>, askers: &[Asker]) -> Result<Vec<u8>, Failure> {
        let limit = self.shared.fetch_timeout;
        let slot = tokio::time::timeout(limit, self.shared.slots.take(askers, self.url.host())).await;
        let _slot = slot.map_err(|_| Failure::TimedOut)?;
        let credential = self.shared.credentials.credential(&self.url, &self.grant).await;
        let redirects = self.redirects.load(Ordering::Acquire);
        let mut access = self.shared.program.access(&self.url, credential, redirects).map_err(not_started)?;
        access.set("http.lowSpeedTime", &self.shared.stall_timeout.as_secs().max(1).to_string());
        self.shared.program.run(Run { mirror: self.mirror.folder(), arguments, input, limit }, &access).await
    }

    /// `git ls-remote`: what the remote has. With names only those.
    pub(crate) async fn list(&self, options: &[&str], names: &[String], askers: &[Asker]) -> Result<Listing, GitError> {
        self.permitted()?;
        self.mirror.prepare()?;
        let fixed = ["ls-remote", "--quiet"];
        let mut arguments: Vec<OsString> = fixed.iter().chain(options).map(OsString::from).collect();
        arguments.push("--".into());
        arguments.push(self.url.address().into());
        arguments.extend(names.iter().map(OsString::from));
        let mut output = self.run(arguments.clone(), Vec::new(), askers).await;
        let redirected = output.as_ref().err().is_some_and(|f| f.kind() == Some(Complaint::Redirected));
        if redirected && !self.redirects.swap(true, Ordering::AcqRel) {
            output = self.run(arguments, Vec::new(), askers).await;
        }
        let output = output.map_err(|failure| failure.error(&self.url, self.shared.fetch_timeout))?;
        Ok(Listing::read(&String::from_utf8_lossy(&output)))
    }

    /// Packs the mirror when it has gathered many small files: in the background, and readers do not notice.
    fn look_after(self: &Arc<Self>) {
        if !self.fetches.load(Ordering::Relaxed).is_multiple_of(FETCHES_PER_LOOK)
            || self.packing.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(failure) = this.pack_if_needed().await {
                tracing::warn!(repository = %this.url, error = ?failure, "packing the mirror failed; it goes on working, more slowly");
            }
            this.packing.store(false, Ordering::Release);
        });
    }

    async fn pack_if_needed(&self) -> Result<(), Failure> {
        let mirror = Arc::clone(&self.mirror);
        let needed = tokio::task::spawn_blocking(move || mirror.needs_packing()).await.unwrap_or(false);
        if needed { self.pack().await } else { Ok(()) }
    }

    /// Nothing is ever thrown away here: packs are merged, and what they contain is removed elsewhere.
    pub(crate) async fn pack(&self) -> Result<(), Failure> {
        let _turn = self.shared.packing.acquire().await;
        let started = Instant::now();
        for arguments in [&["repack", "--quiet", "-d", "-l", "--geometric=2"][..], &["pack-refs", "--all"][..]] {
            let arguments = arguments.iter().map(OsString::from).collect();
            let run = Run { mirror: self.mirror.folder(), arguments, input: Vec::new(), limit: PACKING_LIMIT };
            self.shared.program.run(run, &crate::process::Access::default()).await?;
        }
        self.mirror.reopen();
        tracing::debug!(repository = %self.url, milliseconds = started.elapsed().as_millis() as u64, "packed the mirror");
        Ok(())
    }
}

fn not_started(error: GitError) -> Failure {
    Failure::Local(error)
}

/// What a remote has.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Name to object, annotated tags by the commit that they name.
    pub refs: BTreeMap<String, Commit>,
    /// What `HEAD` stands for.
    pub head: Option<String>,
}

impl Listing {
    fn read(output: &str) -> Self {
        let mut listing = Self::default();
        let mut peeled = Vec::new();
        for line in output.lines() {
            let Some((object, name)) = line.split_once('\t') else { continue };
            if let Some(target) = object.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listing.head = Some(target.to_owned());
                }
                continue;
            }
            let Ok(commit) = Commit::parse(object) else { continue };
            match name.strip_suffix("^{}") {
                Some(tag) => peeled.push((tag.to_owned(), commit)),
                None => drop(listing.refs.insert(name.to_owned(), commit)),
            }
        }
        listing.refs.extend(peeled);
        listing
    }

    fn names(&self) -> BTreeSet<String> {
        self.refs.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_shows_tags_by_their_commits() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let output = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{a}\trefs/tags/v1\n{b}\trefs/tags/v1^{{}}\nrubbish\n"
        );
        let listing = Listing::read(&output);
        assert_eq!(listing.head.as_deref(), Some("refs/heads/main"));
        assert_eq!(listing.refs["refs/heads/main"].as_str(), a);
        assert_eq!(listing.refs["refs/tags/v1"].as_str(), b);
        assert_eq!(listing.refs.len(), 3);
    }
}
