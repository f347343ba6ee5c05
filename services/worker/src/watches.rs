//! What the worker watches in its cluster: Applications, ApplicationSets, AppProjects, the Secrets of repositories and
//! clusters, and the live objects that applications own. Each change becomes an entry of a queue.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use cluster::{ApiKind, ClusterError, Sink};
use git::{NamedSecret, SecretCredentials, Taken};
use resources::{AppProject, Application, ApplicationSet, Object, ObjectKey, annotations, conditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::{GROUP, application_key, locked};
use crate::customizations::CONFIG_MAP;
use crate::reconcile::{Cause, Causes, permit};
use crate::term::NotServed;
use crate::{AppId, Context, projects};

/// The label that tells what a Secret of the control namespace is for.
const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";

/// One of the control kinds as the cluster serves it.
pub async fn control_kind(ctx: &Context, kind: &str) -> anyhow::Result<ApiKind> {
    let found = ctx.cluster.kind(GROUP, Some("v1alpha1"), kind).await?;
    Ok(found.ok_or_else(|| NotServed(kind.to_owned()))?)
}

/// A watch that goes on until the worker is stopped.
async fn until_stopped(
    shutdown: &CancellationToken,
    what: &str,
    watch: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = watch => anyhow::bail!("the watch on {what} ended"),
    }
}

/// Watches Applications until the worker is stopped. `started` is fired after the first list.
pub async fn applications(
    ctx: Arc<Context>,
    started: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kind = control_kind(&ctx, "Application").await?;
    let mut sink = Applications { ctx: ctx.clone(), started };
    until_stopped(&shutdown, "Applications", ctx.cluster.feed(&kind, None, None, &mut sink)).await
}

struct Applications {
    ctx: Arc<Context>,
    started: CancellationToken,
}

impl Sink for Applications {
    fn known(&self) -> Vec<ObjectKey> {
        self.ctx.registry.all().iter().map(|managed| application_key(&managed.id)).collect()
    }

    fn applied(&mut self, object: Object) {
        let cause = if self.started.is_cancelled() { Cause::Changed } else { Cause::Start };
        take_application(&self.ctx, object, cause);
    }

    fn gone(&mut self, key: &ObjectKey) {
        forget_application(&self.ctx, &AppId::new(&key.namespace, &key.name));
    }

    fn complete(&mut self) {
        self.started.cancel();
    }

    fn failed(&mut self, error: ClusterError) {
        tracing::warn!(%error, "watch.failed: Applications");
    }
}

/// Takes up an Application as it is now: what it follows, what was wanted of it, and whether there is work. Returns its
/// identity if it is one of this cluster's.
pub fn take_application(ctx: &Arc<Context>, object: Object, cause: Cause) -> Option<AppId> {
    let id = AppId::new(object.namespace(), object.name());
    let elsewhere = || ctx.config.options.application_namespaces.iter();
    if id.namespace != ctx.namespace() && !elsewhere().any(|pattern| engine::glob::matches(pattern, &id.namespace)) {
        // They may be another installation's. Those that are ours still need an AppProject that permits their namespace.
        return None;
    }
    let known = object.at("/status/conditions").cloned();
    let application = match Application::parse(object.0) {
        Ok(application) => application,
        Err(invalid) => {
            tracing::warn!(application = %id, %invalid, "application.invalid: it is left alone until it is corrected");
            tell_invalid(ctx, id, known, invalid.to_string());
            return None;
        }
    };
    if !projects::is_ours(&application.spec.destination, ctx.cluster_name(), ctx.cluster.server()) {
        forget_application(ctx, &id);
        return None;
    }
    follow(ctx, &id, &application);
    if engine::dependencies::of(&application).is_empty() {
        locked(&ctx.depending).remove(&id);
    } else {
        locked(&ctx.depending).insert(id.clone());
    }
    let hard = application.annotation(annotations::REFRESH) == Some("hard");
    let known = ctx.registry.get(&id).is_some();
    let (managed, changed) = ctx.registry.upsert(application);
    if !known {
        resume(ctx, &managed);
    }
    if changed {
        ctx.queue.push(id.clone(), Causes::of(if hard { Cause::HardRefresh } else { cause }));
    }
    // A wave that waits inside an operation looks at children, too, and at termination.
    managed.newer.notify_waiters();
    ctx.application_sets.on_application(ctx, &id, Some(&managed.application()));
    Some(id)
}

/// Notes which places in Git the application follows: none while its project does not permit it, so that neither a webhook nor a
/// poll has a forbidden repository contacted on its behalf.
fn follow(ctx: &Context, id: &AppId, application: &Application) {
    let places = permit::permitted(ctx, application).map(|permitted| permitted.places()).unwrap_or_default();
    let left = locked(&ctx.index).track(id, places);
    ctx.forget_heads(&left);
}

/// An Application that does not say what it means gets a condition; its other status stays.
fn tell_invalid(ctx: &Arc<Context>, id: AppId, known: Option<serde_json::Value>, message: String) {
    let told = |condition: &serde_json::Value| condition["message"].as_str() == Some(&message);
    if known.iter().flat_map(|list| list.as_array().into_iter().flatten()).any(told) {
        return;
    }
    let now = resources::Time(jiff::Timestamp::now());
    let condition = json!({ "type": conditions::INVALID_SPEC_ERROR, "message": message, "lastTransitionTime": now });
    let tasks = &ctx.tasks;
    let ctx = ctx.clone();
    tasks.spawn(async move {
        let patch = json!({ "status": { "conditions": [condition], "sync": { "status": "Unknown" } } });
        if let Err(error) = ctx.control.merge_patch(&application_key(&id), &patch).await {
            tracing::warn!(application = %id, %error, "status.not_written");
        }
    });
}

/// After a start: what was wanted and not concluded is still promised.
fn resume(ctx: &Context, managed: &crate::registry::Managed) {
    let wanted = managed.state().wanted.clone();
    let mut tracker = locked(&ctx.tracker);
    for wanted in wanted {
        if let Some(key) = wanted.key() {
            tracker.resume(&key, wanted.origin(), &managed.id, wanted.conclusion());
        }
    }
}

fn forget_application(ctx: &Arc<Context>, id: &AppId) {
    let left = locked(&ctx.index).forget(id);
    ctx.forget_heads(&left);
    locked(&ctx.depending).remove(id);
    let Some(managed) = ctx.registry.remove(id) else { return };
    managed.newer.notify_waiters();
    ctx.application_sets.on_application(ctx, id, None);
    let tasks = &ctx.tasks;
    let ctx = ctx.clone();
    tasks.spawn(async move { crate::reconcile::report::gone(&ctx, &managed).await });
}

/// Watches AppProjects until the worker is stopped; a changed project is a cause for its applications.
pub async fn app_projects(
    ctx: Arc<Context>,
    started: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kind = control_kind(&ctx, "AppProject").await?;
    let mut sink = AppProjects { ctx: ctx.clone(), started };
    let watch = ctx.cluster.feed(&kind, Some(ctx.namespace()), None, &mut sink);
    until_stopped(&shutdown, "AppProjects", watch).await
}

struct AppProjects {
    ctx: Arc<Context>,
    started: CancellationToken,
}

impl Sink for AppProjects {
    fn known(&self) -> Vec<ObjectKey> {
        let key = |name: &String| ObjectKey::new(GROUP, AppProject::KIND, self.ctx.namespace(), name);
        self.ctx.projects.names().iter().map(key).collect()
    }

    fn applied(&mut self, object: Object) {
        take_project(&self.ctx, object);
    }

    fn gone(&mut self, key: &ObjectKey) {
        self.ctx.projects.remove(&key.name);
        wake_project(&self.ctx, &key.name);
    }

    fn complete(&mut self) {
        self.started.cancel();
    }

    fn failed(&mut self, error: ClusterError) {
        tracing::warn!(%error, "watch.failed: AppProjects");
    }
}

fn take_project(ctx: &Arc<Context>, object: Object) {
    let name = object.name().to_owned();
    match AppProject::parse(object.0) {
        Ok(project) => {
            if ctx.projects.set(project) {
                wake_project(ctx, &name);
            }
        }
        Err(invalid) => tracing::warn!(project = name, %invalid, "project.invalid: its last valid state counts"),
    }
}

fn wake_project(ctx: &Arc<Context>, name: &str) {
    ctx.application_sets.on_project(ctx, name);
    for managed in ctx.registry.all() {
        let application = managed.application();
        if application.spec.project() == name {
            follow(ctx, &managed.id, &application);
            ctx.queue.push(managed.id.clone(), Causes::of(Cause::Changed));
        }
    }
}

/// Watches ApplicationSets until the worker is stopped.
pub async fn application_sets(ctx: Arc<Context>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let kind = control_kind(&ctx, "ApplicationSet").await?;
    let mut sink = Sets { ctx: ctx.clone() };
    let watch = ctx.cluster.feed(&kind, Some(ctx.namespace()), None, &mut sink);
    until_stopped(&shutdown, "ApplicationSets", watch).await
}

struct Sets {
    ctx: Arc<Context>,
}

impl Sink for Sets {
    fn known(&self) -> Vec<ObjectKey> {
        let key = |id: &AppId| ObjectKey::new(GROUP, ApplicationSet::KIND, &id.namespace, &id.name);
        self.ctx.application_sets.ids().iter().map(key).collect()
    }

    fn applied(&mut self, object: Object) {
        take_set(&self.ctx, object);
    }

    fn gone(&mut self, key: &ObjectKey) {
        self.ctx.application_sets.remove(&self.ctx, &AppId::new(&key.namespace, &key.name));
    }

    fn failed(&mut self, error: ClusterError) {
        tracing::warn!(%error, "watch.failed: ApplicationSets");
    }
}

fn take_set(ctx: &Arc<Context>, object: Object) {
    let id = AppId::new(object.namespace(), object.name());
    match ApplicationSet::parse(object.0) {
        Ok(set) => ctx.application_sets.take(ctx, set),
        Err(invalid) => {
            tracing::warn!(application_set = %id, %invalid, "application_set.invalid: it is left alone until it is corrected");
        }
    }
}

/// Watches the Secrets that hold repository credentials, and those that describe clusters for the clusters generator.
pub async fn secrets(
    ctx: Arc<Context>,
    credentials: Arc<SecretCredentials>,
    started: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kind = ctx.cluster.kind("", Some("v1"), "Secret").await?.context("the cluster serves no Secrets")?;
    let mut sink = Secrets { ctx: ctx.clone(), credentials, names: BTreeSet::new(), started };
    let watch = ctx.cluster.feed(&kind, Some(ctx.namespace()), Some(SECRET_TYPE), &mut sink);
    until_stopped(&shutdown, "Secrets", watch).await
}

struct Secrets {
    ctx: Arc<Context>,
    credentials: Arc<SecretCredentials>,
    names: BTreeSet<String>,
    started: CancellationToken,
}

impl Sink for Secrets {
    fn known(&self) -> Vec<ObjectKey> {
        self.names.iter().map(|name| ObjectKey::new("", "Secret", self.ctx.namespace(), name)).collect()
    }

    fn applied(&mut self, object: Object) {
        take_secret(&self.ctx, &self.credentials, &object);
        self.names.insert(object.name().to_owned());
    }

    fn gone(&mut self, key: &ObjectKey) {
        self.credentials.remove(&key.name);
        self.ctx.application_sets.remove_cluster(&key.name);
        self.names.remove(&key.name);
    }

    /// In one step, and the credentials outlive the sink: what an earlier one left there goes, too.
    fn reset(&mut self, all: Vec<Object>, _version: &str) {
        take_secrets(&self.ctx, &self.credentials, &all);
        self.names = all.iter().map(|object| object.name().to_owned()).collect();
    }

    fn complete(&mut self) {
        self.started.cancel();
    }

    fn failed(&mut self, error: ClusterError) {
        tracing::warn!(%error, "watch.failed: Secrets");
    }
}

/// Takes all Secrets as they are: one that is not among them was deleted while nobody watched.
pub(crate) fn take_secrets(ctx: &Context, credentials: &SecretCredentials, objects: &[Object]) {
    let is_cluster = |secret: &NamedSecret| secret.labels.get(SECRET_TYPE).map(String::as_str) == Some("cluster");
    let secrets: Vec<(&Object, NamedSecret)> = objects.iter().map(|object| (object, named(object))).collect();
    let clusters: Vec<_> = secrets.iter().filter(|(_, secret)| is_cluster(secret)).collect();
    ctx.application_sets.retain_clusters(|name| clusters.iter().any(|(_, secret)| secret.name == name));
    for (object, secret) in clusters {
        ctx.application_sets.set_cluster(object, &secret.labels, &secret.data);
    }
    for (name, taken) in credentials.reset(secrets.into_iter().map(|(_, secret)| secret)) {
        warn_unusable(&name, taken);
    }
}

fn take_secret(ctx: &Context, credentials: &SecretCredentials, object: &Object) {
    let NamedSecret { name, labels, data } = named(object);
    if labels.get(SECRET_TYPE).map(String::as_str) == Some("cluster") {
        ctx.application_sets.set_cluster(object, &labels, &data);
    } else {
        ctx.application_sets.remove_cluster(&name);
    }
    // What has become a cluster's is no repository's any more.
    warn_unusable(&name, credentials.set(&name, &labels, &data));
}

fn warn_unusable(secret: &str, taken: Taken) {
    if let Taken::Unusable(reason) = taken {
        tracing::warn!(secret, reason, "secret.unusable: no repository uses it");
    }
}

fn named(object: &Object) -> NamedSecret {
    let decode = |(name, value)| Some((name, base64::engine::general_purpose::STANDARD.decode::<String>(value).ok()?));
    NamedSecret {
        name: object.name().to_owned(),
        labels: strings(object, "/metadata/labels"),
        data: strings(object, "/data").into_iter().filter_map(decode).collect(),
    }
}

fn strings(object: &Object, pointer: &str) -> BTreeMap<String, String> {
    let map = object.at(pointer).and_then(|value| value.as_object());
    map.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Watches `argocd-cm` until the worker is stopped; what it says of compare and health is a cause for every application.
pub async fn settings(
    ctx: Arc<Context>,
    started: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kind = ctx.cluster.kind("", Some("v1"), "ConfigMap").await?.context("the cluster serves no ConfigMaps")?;
    let mut sink = Settings { ctx: ctx.clone(), is_there: false, started };
    let watch = ctx.cluster.feed_one(&kind, Some(ctx.namespace()), CONFIG_MAP, &mut sink);
    until_stopped(&shutdown, CONFIG_MAP, watch).await
}

struct Settings {
    ctx: Arc<Context>,
    is_there: bool,
    started: CancellationToken,
}

impl Settings {
    fn take(&mut self, config_map: Option<&Object>) {
        self.is_there = config_map.is_some();
        if crate::customizations::tracking(config_map) != self.ctx.tracking {
            tracing::warn!(
                "tracking.changed: {CONFIG_MAP} names another way of tracking; it counts when the worker is started again"
            );
        }
        if self.ctx.customizations.set(config_map) {
            for managed in self.ctx.registry.all() {
                self.ctx.queue.push(managed.id.clone(), Causes::of(Cause::Changed));
            }
        }
    }
}

impl Sink for Settings {
    fn known(&self) -> Vec<ObjectKey> {
        let key = || ObjectKey::new("", "ConfigMap", self.ctx.namespace(), CONFIG_MAP);
        self.is_there.then(key).into_iter().collect()
    }

    fn applied(&mut self, object: Object) {
        self.take(Some(&object));
    }

    fn gone(&mut self, _: &ObjectKey) {
        self.take(None);
    }

    fn complete(&mut self) {
        self.started.cancel();
    }

    fn failed(&mut self, error: ClusterError) {
        tracing::warn!(%error, "watch.failed: {CONFIG_MAP}");
    }
}

/// Turns changes of live objects into entries of the queue until the worker is stopped.
pub async fn live(ctx: Arc<Context>, shutdown: CancellationToken) {
    let mut changes = ctx.live.changes();
    loop {
        let changes = tokio::select! {
            () = shutdown.cancelled() => return,
            changes = changes.recv_all() => changes,
        };
        let owners: HashSet<Arc<str>> = changes.into_iter().map(|change| change.owner).collect();
        for owner in owners {
            let id = AppId::of_tracking_name(&owner, ctx.namespace());
            if let Some(managed) = ctx.registry.get(&id) {
                ctx.queue.push(id, Causes::of(Cause::Live));
                managed.newer.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests;
