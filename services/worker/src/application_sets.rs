//! ApplicationSets of this cluster: expanded when they change, when a push changes what their generators read, and at once
//! when a pull request's event arrives. What a generator cannot tell is an error and removes nothing (G5).

mod bring;
mod pulls;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bring::{Brought, Found, bring_about, found};
use cluster::ClusterError;
use forge::Forges;
use generators::{Approvals, ClusterEntry};
use git::{Commit, RepositoryKey, RepositoryUrl};
use resources::{Application, ApplicationSet, Object, ObjectKey, annotations};
use serde_json::{Value, json};

pub use pulls::Heard;

use crate::context::{GROUP, locked};
use crate::index::Tracked;
use crate::lookup::{Answers, Asking, Pulls};
use crate::tracker::{Conclusion, Verdict};
use crate::{AppId, Context};

/// A pull request's event comes at once; the list is read again this often in case one was lost.
const RELIST: Duration = Duration::from_secs(1800);

/// See the module's documentation.
pub struct ApplicationSets {
    pub(crate) forges: Forges,
    sets: Mutex<HashMap<AppId, Arc<SetState>>>,
    pub(crate) clusters: Mutex<BTreeMap<String, ClusterEntry>>,
    pub(crate) pulls: Pulls,
}

/// One ApplicationSet.
pub struct SetState {
    id: AppId,
    set: Mutex<Arc<ApplicationSet>>,
    /// One expansion at a time.
    expanding: tokio::sync::Mutex<()>,
    answers: Mutex<Answers>,
    /// The commits of forks that may have a preview; on the set as an annotation, which only this worker writes.
    approvals: Mutex<Approvals>,
    /// Who changes them holds this until they are written.
    approving: tokio::sync::Mutex<()>,
    /// The Applications that the generators gave the last time.
    wanted: Mutex<HashSet<AppId>>,
    /// Those of them whose names are somebody else's.
    blocked: Mutex<HashSet<AppId>>,
    /// What found nothing the last time; not known after a start, nor while the set waits to be allowed to remove many.
    found_nothing: Mutex<Option<Vec<String>>>,
    trying: AtomicBool,
    /// The last expansion did not end well.
    stale: AtomicBool,
}

/// What a push or a pull request brought about.
#[derive(Debug, Default)]
pub struct Effects {
    /// Applications that were created or changed.
    pub applications: BTreeSet<AppId>,
    /// Applications that were removed: what they read may be gone, and that is no failure.
    pub removed: BTreeSet<AppId>,
    /// ApplicationSets that could not be expanded, as what they would be called in a check.
    pub failures: Vec<(AppId, Conclusion)>,
    /// ApplicationSets that cannot be expanded for the moment, because the cluster or the forge is away: and why.
    pub waiting: Vec<(AppId, String)>,
}

/// Why an expansion came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The generators or the template.
    #[error("{0}")]
    Expand(#[from] generators::ExpandError),
    /// The cluster, about one Application.
    #[error("Application {name}: {error}")]
    Cluster {
        /// Its name.
        name: String,
        /// What happened.
        error: ClusterError,
    },
    /// The name is somebody else's.
    #[error("{0}")]
    NotOurs(String),
    /// The brake.
    #[error(
        "would remove {removed} of {existing} Applications at once ({names}); if that is meant, set the annotation \
         lockstep.dev/allow-mass-deletion: \"true\" on the ApplicationSet{because}"
    )]
    MassDeletion {
        /// How many would go.
        removed: usize,
        /// Of how many.
        existing: usize,
        /// The first of them.
        names: String,
        /// What nothing was found for.
        because: String,
    },
    /// Not all that the generators give is known.
    #[error("{removed} would be removed, and stay while others cannot be made")]
    Unsure {
        /// The first of them.
        removed: String,
    },
    /// Several of these.
    #[error("{}", sentences(.0))]
    Several(Vec<SetError>),
}

fn sentences(errors: &[SetError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl SetError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Expand(error) => error.is_transient(),
            Self::Cluster { error, .. } => error.is_transient(),
            Self::NotOurs(_) | Self::MassDeletion { .. } | Self::Unsure { .. } => false,
            Self::Several(errors) => errors.iter().any(Self::is_transient),
        }
    }

    fn of(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several(errors)) } else { errors.pop() }
    }
}

impl ApplicationSets {
    /// None yet.
    pub fn new(forges: Forges) -> Self {
        Self { forges, sets: Mutex::default(), clusters: Mutex::default(), pulls: Pulls::default() }
    }

    /// Whether a generator reads the repository.
    pub fn follows(&self, repository: &RepositoryKey) -> bool {
        let reads =
            |state: &Arc<SetState>| locked(&state.answers).places.iter().any(|place| place.remote.key() == *repository);
        self.all().iter().any(reads)
    }

    /// The places of a repository that generators read.
    pub fn followed(&self, repository: &RepositoryKey) -> BTreeSet<Tracked> {
        self.places().into_iter().filter(|place| place.remote.key() == *repository).collect()
    }

    /// Every place that a generator reads.
    pub fn places(&self) -> Vec<Tracked> {
        let places: HashSet<Tracked> =
            self.all().iter().flat_map(|state| locked(&state.answers).places.clone()).collect();
        places.into_iter().collect()
    }

    /// Takes up an ApplicationSet as it is now, and expands it if it is another than before.
    pub fn take(&self, ctx: &Arc<Context>, set: ApplicationSet) {
        let id = AppId::new(set.namespace(), set.name());
        let set = Arc::new(set);
        let state = {
            let mut sets = locked(&self.sets);
            match sets.get(&id) {
                Some(state) => {
                    let before = std::mem::replace(&mut *locked(&state.set), set.clone());
                    let refreshed = set.annotation(annotations::APPLICATION_SET_REFRESH).is_some();
                    if before.spec == set.spec && notes(&before) == notes(&set) && !refreshed {
                        return;
                    }
                    state.clone()
                }
                None => {
                    let approvals = Approvals::parse(set.annotation(annotations::APPROVED_PREVIEWS));
                    let state = Arc::new(SetState {
                        id: id.clone(),
                        set: Mutex::new(set),
                        expanding: tokio::sync::Mutex::default(),
                        answers: Mutex::default(),
                        approvals: Mutex::new(approvals),
                        approving: tokio::sync::Mutex::default(),
                        wanted: Mutex::default(),
                        blocked: Mutex::default(),
                        found_nothing: Mutex::default(),
                        trying: AtomicBool::default(),
                        stale: AtomicBool::default(),
                    });
                    sets.insert(id, state.clone());
                    state
                }
            }
        };
        let tasks = &ctx.tasks;
        let ctx = ctx.clone();
        tasks.spawn(async move {
            if expand(&ctx, &state).await.error.is_some() {
                expand_until_done(&ctx, &state).await;
            }
        });
    }

    /// The ApplicationSet is gone; its Applications go by owner reference.
    pub fn remove(&self, ctx: &Context, id: &AppId) {
        locked(&self.sets).remove(id);
        self.refresh_previewed(ctx);
    }

    /// Those that are known.
    pub fn ids(&self) -> Vec<AppId> {
        locked(&self.sets).keys().cloned().collect()
    }

    /// A cluster's Secret, for the clusters generator.
    pub fn set_cluster(&self, object: &Object, labels: &BTreeMap<String, String>, data: &BTreeMap<String, Vec<u8>>) {
        let text =
            |name: &str| data.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let notes = object.at("/metadata/annotations").and_then(Value::as_object);
        let annotations =
            notes.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
        let entry = ClusterEntry {
            name: text("name"),
            server: text("server"),
            project: text("project"),
            labels: labels.clone(),
            annotations,
        };
        locked(&self.clusters).insert(object.name().to_owned(), entry);
    }

    /// The Secrets of clusters that are not kept are gone.
    pub fn retain_clusters(&self, keep: impl Fn(&str) -> bool) {
        locked(&self.clusters).retain(|secret, _| keep(secret));
    }

    /// The cluster's Secret is gone.
    pub fn remove_cluster(&self, secret: &str) {
        locked(&self.clusters).remove(secret);
    }

    /// A push moved these places: expands each set whose generators would now answer differently.
    pub async fn on_push(&self, ctx: &Arc<Context>, heads: &[(Tracked, Commit)]) -> Effects {
        let mut effects = Effects::default();
        for state in self.all() {
            let reads = locked(&state.answers).places.iter().any(|place| heads.iter().any(|(moved, _)| moved == place));
            if !reads || !(state.stale.load(Ordering::SeqCst) || answers_changed(ctx, &state).await) {
                continue;
            }
            self.expand_into(ctx, &state, &mut effects).await;
        }
        effects
    }

    async fn expand_into(&self, ctx: &Arc<Context>, state: &Arc<SetState>, effects: &mut Effects) {
        let brought = expand(ctx, state).await;
        // What was changed before something failed was changed all the same.
        effects.applications.extend(brought.changed);
        effects.removed.extend(brought.removed);
        match brought.error {
            None => {}
            // The delivery comes again, so that what the expansion brings about is still known as its doing.
            Some(error) if error.is_transient() => effects.waiting.push((state.id.clone(), error.to_string())),
            Some(error) => {
                let conclusion = Conclusion { verdict: Verdict::Error, sentence: error.to_string() };
                effects.failures.push((AppId::new(&state.id.namespace, &state.id.name), conclusion));
            }
        }
    }

    /// A project is another one now, and may permit its sets' generators more or less than before.
    pub fn on_project(&self, ctx: &Arc<Context>, name: &str) {
        for state in self.all() {
            if project_of(&locked(&state.set)).as_deref() == Some(name) {
                self.expand_later(ctx, &state.id);
            }
        }
    }

    /// Goes on without a delivery to wait for it.
    pub fn expand_later(&self, ctx: &Arc<Context>, id: &AppId) {
        let Some(state) = locked(&self.sets).get(id).cloned() else { return };
        let tasks = &ctx.tasks;
        let ctx = ctx.clone();
        tasks.spawn(async move { expand_until_done(&ctx, &state).await });
    }

    /// An Application has changed, or is gone: a set may have waited for its name, or wants it back.
    pub fn on_application(&self, ctx: &Arc<Context>, id: &AppId, now: Option<&Application>) {
        for state in self.all() {
            let concerned = match now {
                None => locked(&state.wanted).contains(id),
                Some(application) => {
                    locked(&state.blocked).contains(id)
                        && !matches!(found(&locked(&state.set), Some(&application.metadata)), Found::Foreign(_))
                }
            };
            if concerned {
                let (tasks, ctx) = (&ctx.tasks, ctx.clone());
                tasks.spawn(async move { expand_if_there(&ctx, &state).await });
            }
        }
    }

    fn all(&self) -> Vec<Arc<SetState>> {
        locked(&self.sets).values().cloned().collect()
    }

    fn refresh_previewed(&self, ctx: &Context) {
        let previewed = self.all().iter().flat_map(|state| locked(&state.answers).previewed.clone()).collect();
        *locked(&ctx.previewed) = previewed;
    }
}

/// Somebody tries until it is done; one is enough.
struct Trying<'a>(&'a SetState);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.trying.store(false, Ordering::SeqCst);
    }
}

/// The annotations that people write.
fn notes(set: &ApplicationSet) -> BTreeMap<&str, &str> {
    let all = set.metadata.annotations.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, _)| *name != annotations::APPROVED_PREVIEWS).collect()
}

/// Where an ApplicationSet is.
fn set_key(id: &AppId) -> ObjectKey {
    ObjectKey::new(GROUP, "ApplicationSet", &id.namespace, &id.name)
}

/// A set that is going takes its Applications with it; the watches may tell of them first.
async fn expand_if_there(ctx: &Arc<Context>, state: &Arc<SetState>) {
    let uid = locked(&state.set).metadata.uid.clone().unwrap_or_default();
    match ctx.cluster.get(&set_key(&state.id)).await {
        Ok(Some(set)) if set.uid() == uid && !set.is_being_deleted() => {
            if expand(ctx, state).await.error.is_some() {
                expand_until_done(ctx, state).await;
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(application_set = %state.id, %error, "application_set.not_read"),
    }
}

/// Expands, and tries again while the cluster or a forge is away.
async fn expand_until_done(ctx: &Arc<Context>, state: &Arc<SetState>) {
    if state.trying.swap(true, Ordering::SeqCst) {
        return;
    }
    let _trying = Trying(state);
    let mut failures = 0;
    loop {
        if !locked(&ctx.application_sets.sets).get(&state.id).is_some_and(|known| Arc::ptr_eq(known, state)) {
            return;
        }
        match expand(ctx, state).await.error {
            None => return,
            Some(error) if error.is_transient() => {
                failures += 1;
                if ctx.troubles.is_news(&error.to_string(), std::time::Instant::now()) {
                    tracing::warn!(application_set = %state.id, %error, "application_set.later: trying again");
                }
                tokio::time::sleep(crate::reconcile::back_off(failures)).await;
            }
            Some(error) => {
                tracing::warn!(application_set = %state.id, %error, "application_set.failed");
                if !matches!(error, SetError::Expand(generators::ExpandError::Lookup { .. })) {
                    return;
                }
                // A repository that the forge does not show yet (Gitea, for a moment after the first push), a token without
                // the right: mended where no event comes from.
                failures += 1;
                let interval = ctx.config.options.poll_interval;
                let soon = failures < 8 || interval.is_zero();
                let pause = if soon { crate::reconcile::back_off(failures) } else { interval };
                tokio::time::sleep(pause.max(Duration::from_millis(200))).await;
            }
        }
    }
}

/// Lists pull requests again now and then, until the worker is stopped.
pub async fn relist(ctx: Arc<Context>, shutdown: tokio_util::sync::CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RELIST) => {}
        }
        ctx.application_sets.pulls.forget_lists();
        for state in ctx.application_sets.all() {
            if !locked(&state.answers).previewed.is_empty() {
                expand_until_done(&ctx, &state).await;
            }
        }
    }
}

/// Asks again what the generators asked the last time, and tells whether an answer is another.
async fn answers_changed(ctx: &Arc<Context>, state: &SetState) -> bool {
    let before = locked(&state.answers).clone();
    let asking = Asking::new(ctx.clone(), &locked(&state.set), Approvals::default());
    asking.ask_git_again(&before).await.is_none_or(|same| !same)
}

/// Expands the set and brings its Applications about.
async fn expand(ctx: &Arc<Context>, state: &Arc<SetState>) -> Brought {
    let _expanding = state.expanding.lock().await;
    let set = locked(&state.set).clone();
    if set.is_being_deleted() {
        return Brought::default();
    }
    let asking = Asking::new(ctx.clone(), &set, locked(&state.approvals).clone());
    let expansion = generators::expand(&set, &asking).await;
    // What was asked counts even if the answer was an error: a push may mend it.
    *locked(&state.answers) = asking.answers();
    ctx.application_sets.refresh_previewed(ctx);
    pulls::forget_closed(ctx, state, &asking).await;
    let brought = match expansion {
        Ok(expansion) => bring_about(ctx, state, &set, expansion).await,
        Err(error) => Brought::failed(error.into()),
    };
    state.stale.store(brought.error.is_some(), Ordering::SeqCst);
    tell(ctx, &set, &brought).await;
    brought
}

/// The ApplicationSet's own conditions, written when they change.
async fn tell(ctx: &Arc<Context>, set: &ApplicationSet, brought: &Brought) {
    let error = brought.error.as_ref();
    let (occurred, message) = match error {
        Some(error) => ("True", error.to_string()),
        None if brought.notes.is_empty() => ("False", "Applications are as the generators say".to_owned()),
        None => ("False", format!("Applications are as the generators say. {}", brought.notes.join(". "))),
    };
    let conditions = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if conditions
        .iter()
        .any(|known| known.r#type == "ErrorOccurred" && known.status == occurred && known.message == message)
    {
        return;
    }
    let now = resources::Time(jiff::Timestamp::now());
    let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now });
    let up_to_date = if error.is_some() { "False" } else { "True" };
    let patch = json!({ "status": { "conditions": [
        condition("ErrorOccurred", occurred, if error.is_some() { "ExpansionFailed" } else { "ApplicationSetUpToDate" }),
        condition("ResourcesUpToDate", up_to_date, if error.is_some() { "ExpansionFailed" } else { "ApplicationSetUpToDate" }),
    ] } });
    let key = resources::ObjectKey::new(GROUP, "ApplicationSet", set.namespace(), set.name());
    if let Err(error) = ctx.cluster.merge_patch_status(&key, &patch).await {
        tracing::debug!(application_set = set.name(), %error, "application_set.status_not_written");
    }
}

/// The project on whose behalf a set asks: that of its Applications. One that is only known once the template is filled in may
/// be anything, so such a set gets the credentials that everybody may use, as in Argo CD.
pub fn project_of(set: &ApplicationSet) -> Option<Arc<str>> {
    let project = set.spec.template.spec.get("project").and_then(Value::as_str).filter(|name| !name.is_empty());
    let project = project.unwrap_or("default");
    (!project.contains("{{")).then(|| project.into())
}

/// The repository of a pull-request generator, as the forge's addresses spell it.
pub fn repository_url(html_or_api: &str, owner: &str, name: &str) -> Option<RepositoryUrl> {
    RepositoryUrl::parse(&format!("{}/{owner}/{name}", html_or_api.trim_end_matches('/'))).ok()
}
