//! ApplicationSets of this cluster: expanded when they change, when a push changes what their generators read, and at once
//! when a pull request's event arrives. What a generator cannot tell is an error and removes nothing (G5).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{ApplyOptions, ClusterError, DeleteOptions};
use forge::Forges;
use generators::ClusterEntry;
use git::{Commit, RepositoryKey, RepositoryUrl};
use resources::{Application, ApplicationSet, Object, annotations};
use serde_json::{Value, json};

use crate::context::{GROUP, application_key, locked};
use crate::index::Tracked;
use crate::lookup::{Answers, Asking, Pulls};
use crate::reconcile::{Cause, delete};
use crate::tracker::{Conclusion, Verdict};
use crate::{AppId, Context, projects, watches};

/// The field manager of generated Applications: people may own other fields of them.
const MANAGER: &str = "lockstep-applicationset";
/// More Applications than this, and more than half of a set's, are not removed without a person's word.
const MASS_DELETION: usize = 5;
/// The annotation of an ApplicationSet by which a person lets it remove many Applications at once.
const ALLOW_MASS_DELETION: &str = "lockstep.dev/allow-mass-deletion";
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
    /// The cluster.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The brake.
    #[error(
        "would remove {removed} of {existing} Applications at once; if that is meant, set the annotation \
         lockstep.dev/allow-mass-deletion: \"true\" on the ApplicationSet"
    )]
    MassDeletion {
        /// How many would go.
        removed: usize,
        /// Of how many.
        existing: usize,
    },
}

impl SetError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Expand(error) => error.is_transient(),
            Self::Cluster(error) => error.is_transient(),
            Self::MassDeletion { .. } => false,
        }
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
                    if before.spec == set.spec && before.metadata.annotations == set.metadata.annotations && !refreshed
                    {
                        return;
                    }
                    state.clone()
                }
                None => {
                    let state = Arc::new(SetState {
                        id: id.clone(),
                        set: Mutex::new(set),
                        expanding: tokio::sync::Mutex::default(),
                        answers: Mutex::default(),
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
            if expand(&ctx, &state).await.is_err() {
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

    /// A pull request's event: what it says is known at once, without asking the forge.
    pub async fn on_pull_request(
        &self,
        ctx: &Arc<Context>,
        repository: &wire::Repository,
        pull: &wire::PullRequest,
    ) -> Effects {
        let mut effects = Effects::default();
        let all = self.all();
        if !all.iter().any(|state| locked(&state.answers).asks_pulls_of(repository)) {
            // Nothing is remembered of repositories that nobody asks about: anybody can make up their names.
            return effects;
        }
        self.pulls.take(repository, pull);
        for state in all {
            if locked(&state.answers).asks_pulls_of(repository) {
                self.expand_into(ctx, &state, &mut effects).await;
            }
        }
        effects
    }

    async fn expand_into(&self, ctx: &Arc<Context>, state: &Arc<SetState>, effects: &mut Effects) {
        match expand(ctx, state).await {
            Ok(brought) => {
                effects.applications.extend(brought.changed);
                effects.removed.extend(brought.removed);
            }
            // The delivery comes again, so that what the expansion brings about is still known as its doing.
            Err(error) if error.is_transient() => effects.waiting.push((state.id.clone(), error.to_string())),
            Err(error) => {
                let conclusion = Conclusion { verdict: Verdict::Error, sentence: error.to_string() };
                effects.failures.push((AppId::new(&state.id.namespace, &state.id.name), conclusion));
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
        match expand(ctx, state).await {
            Ok(_) => return,
            Err(error) if error.is_transient() => {
                failures += 1;
                tracing::warn!(application_set = %state.id, %error, "application_set.later: trying again");
                tokio::time::sleep(crate::reconcile::back_off(failures)).await;
            }
            Err(error) => {
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
    let asking = Asking::new(ctx.clone(), &locked(&state.set));
    asking.ask_git_again(&before).await.is_none_or(|same| !same)
}

/// The Applications that an expansion touched.
#[derive(Default)]
struct Brought {
    changed: BTreeSet<AppId>,
    removed: BTreeSet<AppId>,
}

/// Expands the set and brings its Applications about.
async fn expand(ctx: &Arc<Context>, state: &Arc<SetState>) -> Result<Brought, SetError> {
    let _expanding = state.expanding.lock().await;
    let set = locked(&state.set).clone();
    let asking = Asking::new(ctx.clone(), &set);
    let outcome = generators::expand(&set, &asking).await;
    // What was asked counts even if the answer was an error: a push may mend it.
    *locked(&state.answers) = asking.answers();
    ctx.application_sets.refresh_previewed(ctx);
    let outcome = match outcome {
        Ok(applications) => bring_about(ctx, &set, applications).await,
        Err(error) => Err(error.into()),
    };
    state.stale.store(outcome.is_err(), Ordering::SeqCst);
    tell(ctx, &set, outcome.as_ref().err()).await;
    outcome
}

async fn bring_about(
    ctx: &Arc<Context>,
    set: &ApplicationSet,
    applications: Vec<Application>,
) -> Result<Brought, SetError> {
    let policy = set.spec.applications_sync();
    let previews = !locked(&ctx.previewed).is_empty() && set.spec.generators.iter().any(makes_previews);
    let ours: Vec<Application> = applications
        .into_iter()
        .filter(|application| {
            projects::is_ours(&application.spec.destination, ctx.cluster_name(), ctx.cluster.server())
        })
        .collect();
    let uid = set.metadata.uid.clone().unwrap_or_default();
    let existing: Vec<AppId> = ctx
        .registry
        .all()
        .into_iter()
        .filter(|managed| {
            let owners = managed.application().metadata.owner_references.clone().unwrap_or_default();
            owners.iter().any(|owner| owner.uid == uid)
        })
        .map(|managed| managed.id.clone())
        .collect();
    let wanted: HashSet<AppId> = ours.iter().map(AppId::of).collect();
    let surplus: Vec<&AppId> = existing.iter().filter(|id| !wanted.contains(id)).collect();
    let allowed = set.annotation(ALLOW_MASS_DELETION) == Some("true");
    if policy.deletes() && surplus.len() > MASS_DELETION && surplus.len() * 2 > existing.len() && !allowed {
        return Err(SetError::MassDeletion { removed: surplus.len(), existing: existing.len() });
    }
    let mut brought = Brought::default();
    for application in ours {
        let id = AppId::of(&application);
        let manifest = manifest(set, &application, previews);
        match ctx.registry.get(&id) {
            Some(managed) if !policy.updates() || is_there(&managed.application(), &manifest) => continue,
            _ => {}
        }
        let options = ApplyOptions { field_manager: Some(MANAGER.into()), ..ApplyOptions::default() };
        let applied = ctx.cluster.apply(&manifest, &options).await?;
        watches::take_application(ctx, applied.object, Cause::Changed);
        brought.changed.insert(id);
    }
    if policy.deletes() {
        for id in surplus {
            match ctx.cluster.delete(&application_key(id), &DeleteOptions::default()).await {
                Ok(_) => tracing::info!(application = %id, "application_set.removed"),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            brought.removed.insert(id.clone());
        }
    }
    Ok(brought)
}

fn makes_previews(generator: &resources::Generator) -> bool {
    let nested = generator.matrix.iter().flat_map(|matrix| &matrix.generators);
    let merged = generator.merge.iter().flat_map(|merge| &merge.generators);
    generator.pull_request.is_some() || nested.chain(merged).any(makes_previews)
}

/// The Application as it is applied: what the template says, who made it, and for a preview that its namespace goes with it.
fn manifest(set: &ApplicationSet, application: &Application, preview: bool) -> Object {
    let metadata = &application.metadata;
    let mut notes = metadata.annotations.clone().unwrap_or_default();
    if preview {
        notes.entry(delete::DELETE_NAMESPACE.into()).or_insert_with(|| "true".into());
    }
    let mut object = json!({
        "apiVersion": application.api_version,
        "kind": "Application",
        "metadata": {
            "name": application.name(),
            "namespace": set.namespace(),
            "ownerReferences": [{
                "apiVersion": set.api_version,
                "kind": "ApplicationSet",
                "name": set.name(),
                "uid": set.metadata.uid.clone().unwrap_or_default(),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": application.spec,
    });
    let mut put = |name: &str, value: Value| object["metadata"][name] = value;
    if let Some(labels) = metadata.labels.as_ref().filter(|labels| !labels.is_empty()) {
        put("labels", json!(labels));
    }
    if !notes.is_empty() {
        put("annotations", json!(notes));
    }
    if let Some(finalizers) = metadata.finalizers.as_ref().filter(|finalizers| !finalizers.is_empty()) {
        put("finalizers", json!(finalizers));
    }
    Object(object)
}

/// Whether the Application has everything that the manifest says.
fn is_there(live: &Application, manifest: &Object) -> bool {
    let Ok(wanted) = Application::parse(manifest.0.clone()) else { return false };
    let has = |live: &Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        let empty = BTreeMap::new();
        let live = live.as_ref().unwrap_or(&empty);
        wanted.iter().flatten().all(|(name, value)| live.get(name) == Some(value))
    };
    let finalizers = live.metadata.finalizers.clone().unwrap_or_default();
    live.spec == wanted.spec
        && has(&live.metadata.labels, &wanted.metadata.labels)
        && has(&live.metadata.annotations, &wanted.metadata.annotations)
        && wanted.metadata.finalizers.iter().flatten().all(|name| finalizers.contains(name))
}

/// The ApplicationSet's own conditions, written when they change.
async fn tell(ctx: &Arc<Context>, set: &ApplicationSet, error: Option<&SetError>) {
    let (occurred, message) = match error {
        Some(error) => ("True", error.to_string()),
        None => ("False", "Applications are as the generators say".to_owned()),
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
