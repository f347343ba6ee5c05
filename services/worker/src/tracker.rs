//! What becomes of a commit in this cluster: the applications it concerns, how far each has come, and the checks that say so.
//!
//! Holds nothing that must outlive the process: what is pending is rebuilt from the applications' `lockstep.dev/wanted`
//! annotation, and a check that may or may not have been posted is posted again.

use std::collections::{BTreeMap, HashMap};

use git::RepositoryKey;
use serde::{Deserialize, Serialize};
use wire::{Check, CheckState, TraceParent};

use crate::AppId;

/// A commit of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitKey {
    /// The repository the commit was pushed to.
    pub repository: RepositoryKey,
    /// Hexadecimal, whole.
    pub commit: String,
}

/// How a commit ended for one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The cluster has it, healthy.
    Success,
    /// It was tried and is not well: an object was refused, or is not healthy.
    Failure,
    /// It could not be tried: it does not render, a rule forbids it.
    Error,
    /// A newer commit took its place first.
    Superseded,
}

/// A verdict with a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// How it ended.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub sentence: String,
}

/// Where the commit came from, as needed to write back.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The forge that sent it.
    pub forge: wire::Forge,
    /// Its repository there.
    pub repository: wire::Repository,
    /// The delivery's id; empty when the commit was found by polling.
    pub delivery: String,
    /// The trace that the webhook's request began; it goes on to the check.
    pub trace: Option<TraceParent>,
}

/// The applications that a commit concerns, each with how it has ended with it, if it has already.
pub type Concerned = BTreeMap<AppId, Option<Conclusion>>;

/// A check to publish on a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitCheck {
    /// The commit.
    pub commit: String,
    /// Where it came from.
    pub origin: Origin,
    /// The application it speaks of; `None` for the cluster's own check.
    pub application: Option<AppId>,
    /// What to write.
    pub check: Check,
}

#[derive(Clone, Debug)]
enum Progress {
    Pending(String),
    /// An ApplicationSet that cannot be expanded for the moment: it holds the commit's check open and has none of its own.
    Expanding(String),
    Concluded(Conclusion),
}

#[derive(Debug)]
struct Commit {
    origin: Origin,
    applications: BTreeMap<AppId, Progress>,
    last: HashMap<Option<AppId>, (CheckState, String)>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Tracker {
    cluster: String,
    /// Above this many concerned applications only the failing ones get a check of their own.
    limit: usize,
    /// How long names are: `ns/name` only where the namespace is not the control namespace.
    control_namespace: String,
    commits: HashMap<CommitKey, Commit>,
}

impl Tracker {
    /// A tracker for the cluster of this name.
    pub fn new(cluster: &str, control_namespace: &str, limit: usize) -> Self {
        Self { cluster: cluster.into(), limit, control_namespace: control_namespace.into(), commits: HashMap::new() }
    }

    /// A commit concerns these applications (which may be none), and may concern others, which these
    /// ApplicationSets will tell of once they can be expanded.
    pub fn begin(
        &mut self,
        key: &CommitKey,
        origin: Origin,
        concerned: Concerned,
        expanding: &[(AppId, String)],
        total: usize,
    ) -> Vec<CommitCheck> {
        let commit = self.commits.entry(key.clone()).or_insert_with(|| Commit {
            origin: origin.clone(),
            applications: BTreeMap::new(),
            last: HashMap::new(),
        });
        commit.origin = origin;
        for (application, ended) in concerned {
            let progress = ended.map_or_else(|| Progress::Pending("waiting to be synced".into()), Progress::Concluded);
            commit.applications.insert(application, progress);
        }
        commit.applications.retain(|_, progress| !matches!(progress, Progress::Expanding(_)));
        for (set, sentence) in expanding {
            commit.applications.insert(set.clone(), Progress::Expanding(sentence.clone()));
        }
        self.checks(key, total)
    }

    /// Takes up after a restart what an application's annotation says.
    pub fn resume(&mut self, key: &CommitKey, origin: Origin, application: &AppId, concluded: Option<Conclusion>) {
        let commit = self.commits.entry(key.clone()).or_insert_with(|| Commit {
            origin,
            applications: BTreeMap::new(),
            last: HashMap::new(),
        });
        let progress = concluded.map_or_else(|| Progress::Pending("waiting to be synced".into()), Progress::Concluded);
        commit.applications.insert(application.clone(), progress);
    }

    /// The application is still on its way; the sentence says where.
    pub fn progress(&mut self, key: &CommitKey, application: &AppId, sentence: &str, total: usize) -> Vec<CommitCheck> {
        let Some(commit) = self.commits.get_mut(key) else { return Vec::new() };
        match commit.applications.get_mut(application) {
            Some(Progress::Pending(was)) if was != sentence => *was = sentence.into(),
            _ => return Vec::new(),
        }
        self.checks(key, total)
    }

    /// The application has ended with the commit. A commit whose applications have all ended is forgotten.
    pub fn conclude(
        &mut self,
        key: &CommitKey,
        application: &AppId,
        conclusion: Conclusion,
        total: usize,
    ) -> Vec<CommitCheck> {
        let Some(commit) = self.commits.get_mut(key) else { return Vec::new() };
        let Some(progress) = commit.applications.get_mut(application) else { return Vec::new() };
        *progress = Progress::Concluded(conclusion);
        self.checks(key, total)
    }

    /// Nothing holds the commit's check open any more, if no application does.
    pub fn end_waiting(&mut self, key: &CommitKey) {
        let waits = |commit: &Commit| commit.applications.values().all(|one| matches!(one, Progress::Expanding(_)));
        if self.commits.get(key).is_some_and(waits) {
            self.commits.remove(key);
        }
    }

    /// Whether the application is still on its way with this commit.
    pub fn is_pending(&self, key: &CommitKey, application: &AppId) -> bool {
        self.commits
            .get(key)
            .and_then(|commit| commit.applications.get(application))
            .is_some_and(|progress| matches!(progress, Progress::Pending(_)))
    }

    /// How many commits are on their way.
    pub fn count(&self) -> usize {
        self.commits.len()
    }

    /// The context of an application's check: `lockstep/<cluster>/<application>`.
    pub fn context(&self, application: Option<&AppId>) -> String {
        match application {
            None => format!("lockstep/{}", self.cluster),
            Some(app) if app.namespace == self.control_namespace => format!("lockstep/{}/{}", self.cluster, app.name),
            Some(app) => format!("lockstep/{}/{}/{}", self.cluster, app.namespace, app.name),
        }
    }

    /// What has to be written now: each check whose state or sentence is another than the last time.
    fn checks(&mut self, key: &CommitKey, total: usize) -> Vec<CommitCheck> {
        let Some(commit) = self.commits.get(key) else { return Vec::new() };
        let each = commit.applications.len() <= self.limit;
        let mut now: Vec<(Option<AppId>, CheckState, String)> = Vec::new();
        for (application, progress) in &commit.applications {
            let (state, sentence) = match progress {
                Progress::Expanding(_) => continue,
                Progress::Pending(sentence) => (CheckState::Pending, sentence.clone()),
                Progress::Concluded(conclusion) => (state_of(conclusion.verdict), conclusion.sentence.clone()),
            };
            if each || matches!(state, CheckState::Failure | CheckState::Error) {
                now.push((Some(application.clone()), state, sentence));
            }
        }
        let (state, sentence) = summary(&commit.applications, total);
        now.push((None, state, sentence));
        let contexts: Vec<String> = now.iter().map(|(application, ..)| self.context(application.as_ref())).collect();

        let Some(commit) = self.commits.get_mut(key) else { return Vec::new() };
        let mut checks = Vec::new();
        for ((application, state, sentence), context) in now.into_iter().zip(contexts) {
            let said = (state, sentence.clone());
            if commit.last.get(&application) == Some(&said) {
                continue;
            }
            commit.last.insert(application.clone(), said);
            checks.push(CommitCheck {
                commit: key.commit.clone(),
                origin: commit.origin.clone(),
                application,
                check: Check { context, state: state.into(), description: sentence, target_url: String::new() },
            });
        }
        if state != CheckState::Pending {
            self.commits.remove(key);
        }
        checks
    }
}

fn state_of(verdict: Verdict) -> CheckState {
    match verdict {
        // A commit that a newer one contains is not broken: the newer one's check says how it went.
        Verdict::Success | Verdict::Superseded => CheckState::Success,
        Verdict::Failure => CheckState::Failure,
        Verdict::Error => CheckState::Error,
    }
}

/// The cluster's own check: the worst of its applications, pending while one is.
fn summary(applications: &BTreeMap<AppId, Progress>, total: usize) -> (CheckState, String) {
    if applications.is_empty() {
        return (CheckState::Success, "no application concerned".into());
    }
    let count = applications.len();
    let mut pending: Vec<(&AppId, &str)> = Vec::new();
    let mut bad: Vec<(&AppId, &Conclusion)> = Vec::new();
    let mut superseded = 0;
    for (application, progress) in applications {
        match progress {
            Progress::Pending(sentence) | Progress::Expanding(sentence) => pending.push((application, sentence)),
            Progress::Concluded(conclusion) => match conclusion.verdict {
                Verdict::Success => {}
                Verdict::Superseded => superseded += 1,
                Verdict::Failure | Verdict::Error => bad.push((application, conclusion)),
            },
        }
    }
    if let [(application, sentence), ..] = pending.as_slice() {
        let done = count - pending.len();
        return (CheckState::Pending, format!("{done} of {count} done; {}: {sentence}", application.name));
    }
    let of = format!("{count} of {total} applications changed");
    match bad.as_slice() {
        [] if superseded == count => (CheckState::Success, format!("{of}, superseded by a newer commit")),
        [] if superseded > 0 => (
            CheckState::Success,
            format!("{of}, {} healthy, {superseded} superseded by a newer commit", count - superseded),
        ),
        [] => (CheckState::Success, format!("{of}, all healthy")),
        [(application, conclusion), rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let error = bad.iter().any(|(_, conclusion)| conclusion.verdict == Verdict::Error);
            let state = if error { CheckState::Error } else { CheckState::Failure };
            (state, format!("{}: {}{more}", application.name, conclusion.sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::new("argocd", name)
    }

    fn concerned<const N: usize>(names: [AppId; N]) -> Concerned {
        names.into_iter().map(|name| (name, None)).collect()
    }

    #[test]
    fn what_has_ended_is_not_opened_by_beginning() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        let ended = conclusion(Verdict::Failure, "Degraded");
        let all = Concerned::from([(app("gateway"), Some(ended)), (app("ledger"), None)]);
        let checks = tracker.begin(&key("a"), origin(), all, &[], 2);
        assert!(said(&checks).contains(&"lockstep/prod/gateway Failure: Degraded".to_owned()), "{checks:?}");
        let checks = tracker.conclude(&key("a"), &app("ledger"), conclusion(Verdict::Success, "synced"), 2);
        assert_eq!(said(&checks)[1], "lockstep/prod Failure: gateway: Degraded");
    }

    fn key(commit: &str) -> CommitKey {
        CommitKey {
            repository: git::RepositoryUrl::parse("https://github.com/acme/shop").unwrap().key(),
            commit: commit.into(),
        }
    }

    fn origin() -> Origin {
        Origin {
            forge: wire::Forge::Github,
            repository: wire::Repository::default(),
            delivery: "d1".into(),
            trace: None,
        }
    }

    fn said(checks: &[CommitCheck]) -> Vec<String> {
        checks
            .iter()
            .map(|check| format!("{} {:?}: {}", check.check.context, check.check.state(), check.check.description))
            .collect()
    }

    fn conclusion(verdict: Verdict, sentence: &str) -> Conclusion {
        Conclusion { verdict, sentence: sentence.into() }
    }

    #[test]
    fn a_set_that_cannot_be_expanded_holds_the_check_open_and_has_none() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        let waiting = [(app("services"), "the forge is away".to_owned())];
        let checks = tracker.begin(&key("a"), origin(), Concerned::new(), &waiting, 214);
        assert_eq!(said(&checks), ["lockstep/prod Pending: 0 of 1 done; services: the forge is away"]);
        // The delivery comes again, and the set has brought an application about.
        let checks = tracker.begin(&key("a"), origin(), concerned([app("gateway")]), &[], 214);
        assert_eq!(checks.len(), 2, "{checks:?}");
        let checks = tracker.conclude(&key("a"), &app("gateway"), conclusion(Verdict::Success, "synced"), 214);
        assert_eq!(said(&checks)[1], "lockstep/prod Success: 1 of 214 applications changed, all healthy");
    }

    #[test]
    fn a_commit_that_concerns_nothing_is_green_at_once() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        assert_eq!(
            said(&tracker.begin(&key("a"), origin(), Concerned::new(), &[], 214)),
            ["lockstep/prod Success: no application concerned"]
        );
        assert_eq!(tracker.count(), 0);
    }

    #[test]
    fn the_cluster_check_waits_for_all_and_tells_the_worst() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        let first = tracker.begin(&key("a"), origin(), concerned([app("gateway"), app("ledger")]), &[], 214);
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(|check| check.check.state() == CheckState::Pending));
        assert_eq!(
            said(&tracker.conclude(&key("a"), &app("gateway"), conclusion(Verdict::Success, "synced"), 214)),
            [
                "lockstep/prod/gateway Success: synced",
                "lockstep/prod Pending: 1 of 2 done; ledger: waiting to be synced",
            ]
        );
        assert_eq!(
            said(&tracker.conclude(&key("a"), &app("ledger"), conclusion(Verdict::Error, "cannot render"), 214)),
            ["lockstep/prod/ledger Error: cannot render", "lockstep/prod Error: ledger: cannot render"]
        );
        assert_eq!(tracker.count(), 0);
    }

    #[test]
    fn above_the_limit_only_failing_applications_get_their_own() {
        let mut tracker = Tracker::new("prod", "argocd", 1);
        assert_eq!(tracker.begin(&key("a"), origin(), concerned([app("gateway"), app("ledger")]), &[], 2).len(), 1);
        let checks = tracker.conclude(&key("a"), &app("ledger"), conclusion(Verdict::Failure, "Degraded"), 2);
        assert_eq!(
            said(&checks),
            [
                "lockstep/prod/ledger Failure: Degraded",
                "lockstep/prod Pending: 1 of 2 done; gateway: waiting to be synced",
            ]
        );
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_of_an_unknown_commit() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        tracker.begin(&key("a"), origin(), concerned([app("gateway")]), &[], 1);
        assert_eq!(tracker.progress(&key("a"), &app("gateway"), "applying", 1).len(), 2);
        assert!(tracker.progress(&key("a"), &app("gateway"), "applying", 1).is_empty());
        assert!(tracker.progress(&key("b"), &app("gateway"), "applying", 1).is_empty());
    }

    #[test]
    fn a_restart_remembers_how_others_ended() {
        let mut tracker = Tracker::new("prod", "argocd", 20);
        let failed = conclusion(Verdict::Failure, "Degraded");
        tracker.resume(&key("a"), origin(), &app("gateway"), Some(failed));
        tracker.resume(&key("a"), origin(), &app("ledger"), None);
        let checks = tracker.conclude(&key("a"), &app("ledger"), conclusion(Verdict::Success, "synced"), 2);
        assert!(said(&checks).contains(&"lockstep/prod Failure: gateway: Degraded".to_owned()), "{:?}", said(&checks));
    }
}
