//! What every part of the worker shares.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Bus;
use cluster::{ApiKind, Cluster, ClusterError, LiveStore};
use engine::health::Health;
use engine::ownership::Tracking;
use git::{Git, Remote, RepositoryKey, RepositoryUrl};
use jiff::Timestamp;
use render::Renderer;
use resources::{Destination, Object, ObjectKey, annotations};
use serde_json::json;

use crate::application_sets::ApplicationSets;
use crate::config::WorkerConfig;
use crate::customizations::Current;
use crate::feedback::{Confirmation, Publisher};
use crate::heads::Heads;
use crate::index::{Index, Tracked};
use crate::lanes::Lanes;
use crate::metrics::WorkerMetrics;
use crate::projects::Projects;
use crate::queue::KeyedQueue;
use crate::reconcile::Causes;
use crate::reconcile::orphans::Listed;
use crate::registry::{Managed, Registry};
use crate::reports::ReportLog;
use crate::tasks::Tasks;
use crate::tracker::{CommitCheck, CommitKey, Concerned, Conclusion, Origin, Tracker, Verdict};
use crate::troubles::Troubles;
use crate::wanted::{self, Taken, Wanted};
use crate::{AppId, intake};

/// The API group of the resources that people write.
pub const GROUP: &str = "argoproj.io";

/// Shared by every task of one worker.
pub struct Context {
    /// What the worker was told at its start.
    pub config: WorkerConfig,
    /// The cluster.
    pub cluster: Cluster,
    /// The same, as another field manager: what is written to Applications here is not what Git says of them.
    pub control: Cluster,
    /// Its live objects that applications own.
    pub live: LiveStore,
    /// Mirrors.
    pub git: Git,
    /// Sources to manifests.
    pub renderer: Renderer,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The way into the outbox.
    pub publisher: Publisher,
    /// The applications.
    pub registry: Registry,
    /// The AppProjects.
    pub projects: Projects,
    /// The ApplicationSets.
    pub application_sets: ApplicationSets,
    /// Where followed revisions stand.
    pub heads: Heads,
    /// Deliveries that are being handled, a lane for each repository.
    pub lanes: Lanes<intake::Work>,
    /// The applications to reconcile.
    pub queue: KeyedQueue<AppId, Causes>,
    /// Recent reports.
    pub reports: Arc<ReportLog>,
    /// What nobody waits for.
    pub tasks: Tasks,
    /// Counters.
    pub metrics: WorkerMetrics,
    /// What the cluster is: version and API versions, for Helm.
    pub capabilities: Mutex<Capabilities>,
    /// How ownership is written and read: as `argocd-cm` said when the worker started.
    pub tracking: Tracking,
    /// What `argocd-cm` says.
    pub customizations: Current,
    /// What was told of things that are away.
    pub(crate) troubles: Troubles,
    /// What namespaces held when orphans were looked for.
    pub(crate) listed: Listed,
    /// Applications that wait for others.
    pub(crate) depending: Mutex<HashSet<AppId>>,
    pub(crate) index: Mutex<Index>,
    pub(crate) tracker: Mutex<Tracker>,
    /// Repositories whose pull requests some ApplicationSet follows.
    pub(crate) previewed: Mutex<HashSet<Remote>>,
}

/// What charts may ask of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// `1.36.3`.
    pub version: String,
    /// `apps/v1`, `apps/v1/Deployment`, …
    pub api_versions: Arc<[String]>,
}

impl Context {
    /// The namespace of the control resources.
    pub fn namespace(&self) -> &str {
        &self.config.options.namespace
    }

    /// The cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.config.cluster
    }

    /// How well a live object is, by the rules of this cluster.
    pub fn health(&self, object: &Object) -> Option<Health> {
        self.customizations.get().customizations.health(object, Timestamp::now())
    }

    /// Watches these kinds (group, version, kind), those of them that the cluster serves. What is watched already costs nothing.
    pub async fn watch_kinds(&self, kinds: &[(&str, &str, &str)]) -> Result<(), ClusterError> {
        let mut found: Vec<ApiKind> = Vec::new();
        for &(group, version, kind) in kinds {
            if !self.live.has(group, kind)
                && !found.iter().any(|known| known.group == group && known.kind == kind)
                && let Some(kind) = self.cluster.kind(group, Some(version), kind).await?
                && kind.watchable
            {
                found.push(kind);
            }
        }
        if found.is_empty() { Ok(()) } else { self.live.ensure(&found).await }
    }

    /// Whether objects of this kind are neither watched nor compared nor written.
    pub fn is_excluded(&self, group: &str, kind: &str) -> bool {
        let names =
            [self.cluster_name(), self.cluster.server(), Destination::IN_CLUSTER_NAME, Destination::IN_CLUSTER_SERVER];
        self.customizations.get().customizations.is_excluded(group, kind, &names)
    }

    /// Whether an application or an ApplicationSet follows the repository.
    pub fn follows(&self, repository: &RepositoryKey) -> bool {
        locked(&self.index).follows(repository)
            || self.application_sets.follows(repository)
            || self.is_previewed(repository)
    }

    /// Whether an ApplicationSet makes previews of the repository's pull requests.
    pub fn is_previewed(&self, repository: &RepositoryKey) -> bool {
        locked(&self.previewed).iter().any(|remote| remote.key() == *repository)
    }

    /// Which forge an address belongs to, as far as the configured accounts tell.
    pub fn forge_of(&self, url: &RepositoryUrl) -> wire::Forge {
        let account = self.application_sets.forges.for_url(&url.to_string(), None);
        account.map_or(wire::Forge::Unspecified, |(account, _)| account.kind().into())
    }

    /// The places of a repository that applications or ApplicationSets follow, whatever the way: each is fetched by its own
    /// address, on behalf of its own project, and stands where that shows.
    pub fn followed(&self, repository: &RepositoryKey) -> BTreeSet<Tracked> {
        let mut places = locked(&self.index).followed(repository);
        places.extend(self.application_sets.followed(repository));
        places
    }

    /// Every way to a repository that somebody follows.
    pub fn remotes(&self, repository: &RepositoryKey) -> BTreeSet<Remote> {
        let mut remotes: BTreeSet<Remote> = self.followed(repository).into_iter().map(|place| place.remote).collect();
        remotes.extend(locked(&self.previewed).iter().filter(|remote| remote.key() == *repository).cloned());
        remotes
    }

    /// The address of every repository that somebody follows.
    pub fn addresses(&self) -> BTreeSet<RepositoryUrl> {
        let mut followed: BTreeSet<RepositoryUrl> = self.places().into_iter().map(|place| place.remote.url).collect();
        followed.extend(locked(&self.previewed).iter().map(|remote| remote.url.clone()));
        followed
    }

    /// Every place that somebody follows.
    pub fn places(&self) -> BTreeSet<Tracked> {
        let mut places: BTreeSet<Tracked> = locked(&self.index).places().into_iter().collect();
        places.extend(self.application_sets.places());
        places
    }

    /// No application follows these places any more. What nobody is told of moves unseen, so whoever follows one of them next asks
    /// the forge where it stands.
    pub fn forget_heads(&self, left: &[Tracked]) {
        if left.is_empty() {
            return;
        }
        let read = self.application_sets.places();
        self.heads.retain(|place| !left.contains(place) || read.contains(place));
    }

    /// The applications that read one of the changed paths.
    pub fn concerned(&self, place: &Tracked, changed: &[String]) -> BTreeSet<AppId> {
        locked(&self.index).concerned(place, changed)
    }

    /// A commit concerns these applications from now on, and others, which ApplicationSets that cannot be expanded yet will
    /// tell of.
    pub fn begin(
        &self,
        key: &CommitKey,
        origin: &Origin,
        concerned: Concerned,
        expanding: &[(AppId, String)],
    ) -> Confirmation {
        let total = self.registry.count();
        self.publish_under_lock(|tracker| tracker.begin(key, origin.clone(), concerned, expanding, total))
    }

    /// An application is somewhere on its way.
    pub fn progress(&self, key: &CommitKey, application: &AppId, sentence: &str) -> Confirmation {
        let total = self.registry.count();
        self.publish_under_lock(|tracker| tracker.progress(key, application, sentence, total))
    }

    /// An application has ended with a commit.
    pub fn conclude(&self, key: &CommitKey, application: &AppId, conclusion: Conclusion) -> Confirmation {
        let total = self.registry.count();
        self.publish_under_lock(|tracker| tracker.conclude(key, application, conclusion, total))
    }

    /// A commit that has ended is looked at again: one of its applications has recovered.
    pub fn reopen(&self, key: &CommitKey) {
        let mut tracker = locked(&self.tracker);
        for managed in self.registry.all() {
            let state = managed.state();
            for wanted in state.wanted.iter().filter(|wanted| wanted.repository_key().as_ref() == Some(&key.repository))
            {
                let conclusion = wanted.conclusion_of(&key.commit);
                if conclusion.is_some() || wanted.commit == key.commit {
                    tracker.resume(key, wanted.origin(), &managed.id, conclusion);
                }
            }
        }
    }

    /// A commit ends before any application is concerned.
    pub fn tell(&self, key: &CommitKey, origin: &Origin, conclusion: Conclusion) -> Confirmation {
        self.publish_under_lock(|tracker| {
            tracker.end_waiting(key);
            let state = match conclusion.verdict {
                Verdict::Success | Verdict::Superseded => wire::CheckState::Success,
                Verdict::Failure => wire::CheckState::Failure,
                Verdict::Error => wire::CheckState::Error,
            };
            let check = wire::Check {
                context: tracker.context(None),
                state: state.into(),
                description: conclusion.sentence,
                target_url: String::new(),
            };
            vec![CommitCheck { commit: key.commit.clone(), origin: origin.clone(), application: None, check }]
        })
    }

    /// Checks go out in the order in which they were decided, so they are handed over before the tracker is let go.
    fn publish_under_lock(&self, decide: impl FnOnce(&mut Tracker) -> Vec<CommitCheck>) -> Confirmation {
        let mut tracker = locked(&self.tracker);
        let checks = decide(&mut tracker);
        self.publisher.checks(checks)
    }

    /// A commit is wanted of an application from now on, unless the event was handled before.
    pub fn want(&self, application: &Managed, wish: Wanted, received_us: i64, routed_us: i64) -> Taken {
        let mut state = application.state();
        let taken = wanted::take(&mut state.wanted, wish);
        if matches!(taken, Taken::New { .. }) {
            state.wanted_version += 1;
            state.timeline = crate::timeline::Timeline::default();
            state.timeline.mark_at("received", received_us);
            state.timeline.mark_at("routed", routed_us);
            state.cause = "delivery";
            state.settling_since = None;
            state.failures = 0;
            state.refused = 0;
            state.heals.forget();
        }
        taken
    }

    /// Writes the annotation until it says what is wanted. Returns early if the application is gone.
    pub async fn write_wanted(&self, application: &Managed) {
        let version = application.state().wanted_version;
        let mut pause = Duration::from_millis(50);
        loop {
            let _writing = application.writing.lock().await;
            let (text, writing) = {
                let state = application.state();
                if state.wanted_written >= version {
                    return;
                }
                (wanted::format(&state.wanted), state.wanted_version)
            };
            let patch = json!({ "metadata": { "annotations": { annotations::WANTED: text } } });
            match self.control.merge_patch(&application_key(&application.id), &patch).await {
                Ok(_) => {
                    application.state().wanted_written = writing;
                    return;
                }
                Err(error) if error.is_not_found() => return,
                Err(error) => {
                    tracing::warn!(application = %application.id, %error, "wanted.not_written; trying again");
                }
            }
            drop(_writing);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

/// The key of an Application in its cluster.
pub fn application_key(id: &AppId) -> ObjectKey {
    ObjectKey::new(GROUP, "Application", &id.namespace, &id.name)
}

/// What these locks guard is never left half changed, so a panic elsewhere does not make it unusable.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
