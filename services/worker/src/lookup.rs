//! What generators ask: Git, the clusters' Secrets, and the forge's pull requests. Every question about Git is remembered
//! with a digest of its answer, so that a push is known to change nothing without rendering a template.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use forge::{ForgeKind, RepositoryRef};
use generators::{
    Approvals, ClusterEntry, Lookup, LookupError, PullRequestEntry, PullRequestForge, PullRequestQuery, file_globs,
};
use git::{EntryKind, Remote, RepositoryUrl, Snapshot};
use resources::ApplicationSet;
use wire::PullRequestAction;

use crate::context::locked;
use crate::index::Tracked;
use crate::reconcile::Stop;
use crate::reconcile::permit::{self, Readable};
use crate::{Context, application_sets};

/// No file that a generator reads is larger.
const MAX_FILE: u64 = 4 << 20;
/// So long an event counts for more than a list that the forge may have made before it.
const EVENT_WINS: Duration = Duration::from_secs(300);

/// A question about Git.
#[derive(Clone, Debug, PartialEq)]
enum Question {
    Directories,
    Files(Vec<String>),
}

/// What a set asked the last time.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The places that were read.
    pub places: Vec<Tracked>,
    /// The repositories whose pull requests were asked for.
    pub previewed: HashSet<Remote>,
    pulls: HashSet<String>,
    git: Vec<(Tracked, Question, u64)>,
}

impl Answers {
    /// Whether pull requests of this repository ([`pulls_key`]) were asked for.
    pub fn asks_pulls_of(&self, repository: &str) -> bool {
        self.pulls.contains(repository)
    }
}

/// One expansion's questions.
pub struct Asking {
    ctx: Arc<Context>,
    /// On whose behalf.
    project: Option<Arc<str>>,
    /// The commits of forks that may have a preview.
    approvals: Approvals,
    answers: Mutex<Answers>,
    /// The numbers of the pull requests that are open, by repository.
    open: Mutex<BTreeMap<String, Vec<u64>>>,
}

impl Asking {
    /// Nothing asked yet.
    pub fn new(ctx: Arc<Context>, set: &ApplicationSet, approvals: Approvals) -> Self {
        let project = application_sets::project_of(set);
        Self { ctx, project, approvals, answers: Mutex::default(), open: Mutex::default() }
    }

    /// A repository as the set may see it.
    fn remote(&self, url: RepositoryUrl) -> Remote {
        Remote { url, project: self.project.clone() }
    }

    /// The pull requests that are open, by number, in the repositories that were asked for.
    pub fn open_pulls(&self) -> BTreeMap<String, Vec<u64>> {
        locked(&self.open).clone()
    }

    /// What was asked.
    pub fn answers(&self) -> Answers {
        locked(&self.answers).clone()
    }

    /// Asks the same questions about Git; tells whether all answers are the same, nothing if that cannot be told.
    pub async fn ask_git_again(&self, before: &Answers) -> Option<bool> {
        for (place, question, digest) in &before.git {
            let readable = permit::readable(&self.ctx, place.clone()).ok()?;
            let snapshot = self.snapshot(&readable).await.ok()?;
            let now = match question {
                Question::Directories => digest_of(&directories(&snapshot).ok()?),
                Question::Files(globs) => digest_of(&files(&snapshot, globs).ok()?),
            };
            if now != *digest {
                return Some(false);
            }
        }
        Some(true)
    }

    async fn snapshot(&self, readable: &Readable) -> Result<Snapshot, LookupError> {
        let place = readable.place();
        let failed = |error: git::GitError| {
            if error.is_transient() {
                LookupError::Unavailable(error.to_string())
            } else {
                LookupError::Refused(error.to_string())
            }
        };
        let commit = self.ctx.heads.resolve(&self.ctx.git, place).await.map_err(failed)?;
        permit::readable_at(&self.ctx, readable, &commit).await.map_err(refused)?;
        self.ctx.git.repository(&place.remote).snapshot(&commit).map_err(failed)
    }

    /// Remembered only if the project permits it: what is remembered is polled, and a webhook that names it has it fetched.
    fn place(&self, repository: &str, revision: &str) -> Result<Readable, LookupError> {
        let url = RepositoryUrl::parse(repository).map_err(|error| LookupError::Refused(error.to_string()))?;
        let revision = if revision.trim().is_empty() { "HEAD" } else { revision.trim() }.to_owned();
        let readable = permit::readable(&self.ctx, Tracked { remote: self.remote(url), revision }).map_err(refused)?;
        let mut answers = locked(&self.answers);
        if !answers.places.contains(readable.place()) {
            answers.places.push(readable.place().clone());
        }
        Ok(readable)
    }

    fn remember(&self, readable: Readable, question: Question, digest: u64) {
        locked(&self.answers).git.push((readable.place().clone(), question, digest));
    }
}

#[async_trait]
impl Lookup for Asking {
    async fn git_directories(&self, repository: &str, revision: &str) -> Result<Vec<String>, LookupError> {
        let place = self.place(repository, revision)?;
        let snapshot = self.snapshot(&place).await?;
        let found = directories(&snapshot)?;
        self.remember(place, Question::Directories, digest_of(&found));
        Ok(found)
    }

    async fn git_files(
        &self,
        repository: &str,
        revision: &str,
        globs: &[String],
    ) -> Result<Vec<(String, Bytes)>, LookupError> {
        let place = self.place(repository, revision)?;
        let snapshot = self.snapshot(&place).await?;
        let found = files(&snapshot, globs)?;
        self.remember(place, Question::Files(globs.to_vec()), digest_of(&found));
        let read = |(path, _): (String, String)| {
            let content = snapshot.read(&path, MAX_FILE).map_err(|error| LookupError::Refused(error.to_string()))?;
            Ok((path, content))
        };
        found.into_iter().map(read).collect()
    }

    async fn clusters(&self) -> Result<Vec<ClusterEntry>, LookupError> {
        Ok(locked(&self.ctx.application_sets.clusters).values().cloned().collect())
    }

    async fn pull_requests(&self, query: &PullRequestQuery) -> Result<Vec<PullRequestEntry>, LookupError> {
        let kind = match query.forge {
            PullRequestForge::GitHub => ForgeKind::Github,
            PullRequestForge::Gitea => ForgeKind::Gitea,
        };
        let sets = &self.ctx.application_sets;
        {
            let mut answers = locked(&self.answers);
            answers.pulls.insert(pulls_key(kind.name(), &query.owner, &query.repository));
            answers.previewed.extend(addresses(&self.ctx, kind, query).into_iter().map(|url| self.remote(url)));
        }
        let account = sets.forges.accounts().iter().find(|account| account.kind() == kind).ok_or_else(|| {
            LookupError::Refused(format!("no {kind} account is configured; give the worker --forge {kind}=API_URL"))
        })?;
        let repository = RepositoryRef { owner: query.owner.clone(), name: query.repository.clone() };
        let key = pulls_key(kind.name(), &query.owner, &query.repository);
        let mut pulls = sets.pulls.list(account, &repository, &key).await?;
        for pull in pulls.iter_mut().filter(|pull| pull.fork) {
            pull.approved = self.approvals.commit(&format!("{key}#{}", pull.number)).map(str::to_owned);
        }
        locked(&self.open).insert(key, pulls.iter().map(|pull| pull.number).collect());
        Ok(pulls)
    }
}

/// Where the repository of a query may be cloned: what a delivery's addresses are held against.
fn addresses(ctx: &Context, kind: ForgeKind, query: &PullRequestQuery) -> Vec<RepositoryUrl> {
    let hosts = ctx.application_sets.forges.accounts().iter().filter(|account| account.kind() == kind);
    hosts
        .filter_map(|account| {
            application_sets::repository_url(&account.web_address()?, &query.owner, &query.repository)
        })
        .collect()
}

fn directories(snapshot: &Snapshot) -> Result<Vec<String>, LookupError> {
    let entries = snapshot.list("", true).map_err(|error| LookupError::Refused(error.to_string()))?;
    Ok(entries.into_iter().filter(|(_, entry)| entry.kind == EntryKind::Tree).map(|(path, _)| path).collect())
}

/// Path and content id of each file that a pattern matches.
fn files(snapshot: &Snapshot, globs: &[String]) -> Result<Vec<(String, String)>, LookupError> {
    let patterns = file_globs(globs).map_err(LookupError::Refused)?;
    let entries = snapshot.list("", true).map_err(|error| LookupError::Refused(error.to_string()))?;
    Ok(entries
        .into_iter()
        .filter(|(path, entry)| {
            matches!(entry.kind, EntryKind::Blob | EntryKind::Executable) && patterns.is_match(path)
        })
        .map(|(path, entry)| (path, entry.id))
        .collect())
}

fn refused(stop: Stop) -> LookupError {
    match stop {
        Stop::Failed { sentence, .. } => LookupError::Refused(sentence),
        Stop::Later(sentence) => LookupError::Unavailable(sentence),
        Stop::Superseded => LookupError::Unavailable("a newer commit is wanted".into()),
    }
}

fn digest_of(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What a repository's pull requests are remembered by: another forge can have a repository of the same name.
pub(crate) fn pulls_key(forge: &str, owner: &str, name: &str) -> String {
    format!("{forge}:{owner}/{name}").to_lowercase()
}

/// The open pull requests of each repository: listed once, then kept up to date by events.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<String, Known>>);

#[derive(Default)]
struct Known {
    listed: Option<BTreeMap<u64, PullRequestEntry>>,
    events: BTreeMap<u64, Event>,
}

/// The newest event of one pull request.
#[derive(Clone)]
struct Event {
    at: Instant,
    /// By the forge's clock; 0 if it does not say.
    updated_at: i64,
    /// `None` once it is closed.
    open: Option<PullRequestEntry>,
}

impl Known {
    fn open(&self) -> Option<Vec<PullRequestEntry>> {
        let mut open = self.listed.clone()?;
        for (number, event) in &self.events {
            match &event.open {
                Some(entry) => open.insert(*number, entry.clone()),
                None => open.remove(number),
            };
        }
        Some(open.into_values().collect())
    }
}

impl Pulls {
    /// Takes up an event, unless a newer one is known: forges send again what did not arrive.
    pub fn take(&self, repository: &str, pull: &wire::PullRequest) {
        let open = (pull.action() != PullRequestAction::Closed).then(|| entry_of_event(pull));
        let event = Event { at: Instant::now(), updated_at: pull.updated_at_unix_ms, open };
        let mut known = locked(&self.0);
        let known = known.entry(repository.to_owned()).or_default();
        let newest = known.events.get(&pull.number).map_or(0, |known| known.updated_at);
        if event.updated_at == 0 || event.updated_at >= newest {
            known.events.insert(pull.number, event);
        }
    }

    /// A pull request as it is known.
    pub fn known(&self, repository: &str, number: u64) -> Option<PullRequestEntry> {
        let known = locked(&self.0);
        let known = known.get(repository)?;
        match known.events.get(&number) {
            Some(event) => event.open.clone(),
            None => known.listed.as_ref()?.get(&number).cloned(),
        }
    }

    /// The lists are read again when they are needed next.
    pub fn forget_lists(&self) {
        for known in locked(&self.0).values_mut() {
            known.listed = None;
            known.events.retain(|_, event| event.at.elapsed() < EVENT_WINS);
        }
    }

    async fn list(
        &self,
        account: &forge::Account,
        repository: &RepositoryRef,
        key: &str,
    ) -> Result<Vec<PullRequestEntry>, LookupError> {
        if let Some(open) = locked(&self.0).get(key).and_then(Known::open) {
            return Ok(open);
        }
        let listed = account.client().open_pulls(repository).await.map_err(|error| {
            let sentence = format!("cannot list the pull requests of {repository}: {error}");
            if is_passing(&error) { LookupError::Unavailable(sentence) } else { LookupError::Refused(sentence) }
        })?;
        let mut known = locked(&self.0);
        let known = known.entry(key.to_owned()).or_default();
        known.listed = Some(listed.into_iter().map(|pull| (pull.number, entry_of_list(pull))).collect());
        Ok(known.open().unwrap_or_default())
    }
}

pub(crate) fn entry_of_event(pull: &wire::PullRequest) -> PullRequestEntry {
    let side = |side: &Option<wire::Side>| side.clone().unwrap_or_default();
    PullRequestEntry {
        number: pull.number,
        title: pull.title.clone(),
        branch: side(&pull.head).branch,
        target_branch: side(&pull.base).branch,
        head_sha: side(&pull.head).commit,
        author: pull.author.clone(),
        labels: pull.labels.clone(),
        draft: pull.draft,
        url: pull.html_url.clone(),
        head_repository: side(&pull.head).repository.map(|it| it.full_name()).unwrap_or_default(),
        fork: pull.is_from_fork(),
        author_association: pull.author_association.clone(),
        approved: None,
        updated_at: pull.updated_at_unix_ms,
    }
}

fn entry_of_list(pull: forge::pulls::OpenPull) -> PullRequestEntry {
    PullRequestEntry {
        number: pull.number,
        title: pull.title,
        branch: pull.head.branch,
        target_branch: pull.base.branch,
        head_sha: pull.head.commit,
        author: pull.author,
        labels: pull.labels,
        draft: pull.draft,
        url: pull.html_url,
        head_repository: pull.head.repository.map(|it| it.to_string()).unwrap_or_default(),
        fork: pull.fork,
        author_association: pull.author_association,
        approved: None,
        updated_at: pull.updated_at_unix_ms,
    }
}

fn is_passing(error: &forge::FeedbackError) -> bool {
    matches!(error, forge::FeedbackError::Transient { .. } | forge::FeedbackError::RateLimited { .. })
}
