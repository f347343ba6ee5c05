//! The way of an Application that is being deleted: hooks before it, its objects in the reverse of the order in which they came,
//! hooks after it, then the namespace if it was made for this application alone, then the finalizers.
//!
//! Each pass goes one step further, and how far it has come is in an annotation: a hook that has run does not run again after a
//! kill.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::{ApplyOptions, Cluster, ClusterError, DeleteOptions, Propagation};
use engine::ownership::owner_of;
use engine::plan::{
    DeletePolicy, HookOutcome, Part, Phase, Plan, Wave, created_for, deletion, hook_outcome, is_deletion_approved,
};
use jiff::Timestamp;
use resources::{Application, Condition, Object, ObjectKey, annotations, conditions};
use serde_json::json;

use super::apply::delete_options;
use super::{Cause, Causes, Pass, Stop, TROUBLED, back_off, gate, permit, render, resolve, shared};
use crate::Context;
use crate::context::application_key;
use crate::registry::Managed;

/// Set on an Application whose namespace is its own and goes with it; previews have it.
pub const DELETE_NAMESPACE: &str = "lockstep.dev/delete-namespace";
/// How far a deletion has come: a [`Stage`]. A person may set it to go on without a hook.
const STAGE: &str = "lockstep.dev/deletion-stage";
/// Something that the cluster does not tell of, or that waits for a person, is looked at again this often.
const PAUSE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

/// How far a deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The hooks before it run.
    Begun,
    /// They have ended: the objects go.
    Objects,
    /// The objects are gone: the hooks after it run.
    Hooks,
    /// They have ended: what is left of hooks goes, then the namespace if it is the application's own.
    Cleanup,
}

impl Stage {
    /// Reads the annotation; the error is for a person. A stage that nobody knows is none that has been reached: taking it for the
    /// last would leave the objects behind.
    fn of(application: &Application) -> Result<Self, String> {
        match application.annotation(STAGE) {
            None | Some("") => Ok(Self::Begun),
            Some("objects") => Ok(Self::Objects),
            Some("hooks") => Ok(Self::Hooks),
            Some("cleanup") => Ok(Self::Cleanup),
            Some(other) => Err(format!(
                "the annotation {STAGE} is {other:?}, which is no stage of a deletion: set it to objects, hooks or cleanup, or \
                 remove it"
            )),
        }
    }

    /// The phase that runs now, and what the annotation says after it. `None`: nothing is left but to clean up.
    fn phase(self) -> Option<(Phase, &'static str)> {
        match self {
            Self::Begun => Some((Phase::PreDelete, "objects")),
            Self::Objects => Some((Phase::Delete, "hooks")),
            Self::Hooks => Some((Phase::PostDelete, "cleanup")),
            Self::Cleanup => None,
        }
    }
}

/// What a step of a deletion came to.
enum Step {
    /// All of it is done.
    Done,
    /// It goes on when the cluster has done its part.
    Going,
    /// A person has to do something: a sentence says what.
    Stuck(String),
}

/// Goes one step further; comes back through the queue until nothing is left.
pub async fn advance(ctx: &Arc<Context>, managed: &Arc<Managed>) {
    let application = managed.application();
    let finalizers = application.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|name| is_ours(name)) {
        return;
    }
    let pause = match step(ctx, managed, &application, &finalizers).await {
        Ok(Step::Done) => {
            let left: Vec<&String> = finalizers.iter().filter(|name| !is_ours(name)).collect();
            let patch = json!({ "metadata": { "finalizers": left } });
            match ctx.control.merge_patch(&application_key(&managed.id), &patch).await {
                Ok(_) => return,
                Err(error) if error.is_not_found() => return,
                Err(error) => later(managed, &error.to_string()),
            }
        }
        Ok(Step::Going) => {
            managed.state().failures = 0;
            // The watch on the objects wakes us; this is for those that are not watched, such as the namespace.
            PAUSE
        }
        Ok(Step::Stuck(sentence)) => {
            tell(ctx, managed, &application, &sentence).await;
            PATIENCE
        }
        Err(Stop::Later(sentence) | Stop::Failed { sentence, .. }) => {
            let pause = later(managed, &sentence);
            if managed.state().failures >= TROUBLED {
                tell(ctx, managed, &application, &sentence).await;
            }
            pause
        }
        Err(Stop::Superseded) => PAUSE,
    };
    ctx.queue.push_after(managed.id.clone(), Causes::of(Cause::Retry), pause);
}

fn is_ours(finalizer: &str) -> bool {
    let name = finalizer.split('/').next().unwrap_or(finalizer);
    [annotations::RESOURCES_FINALIZER, annotations::PRE_DELETE_FINALIZER, annotations::POST_DELETE_FINALIZER]
        .contains(&name)
}

fn later(managed: &Managed, sentence: &str) -> Duration {
    let failures = managed.failed_again();
    tracing::warn!(application = %managed.id, sentence, "delete.failed: trying again");
    back_off(failures)
}

/// A condition for what a person has to know.
async fn tell(ctx: &Context, managed: &Managed, application: &Application, sentence: &str) {
    let mut status = application.status.clone().unwrap_or_default();
    if status.conditions.iter().any(|known| known.r#type == conditions::DELETION_ERROR && known.message == sentence) {
        return;
    }
    let condition = Condition {
        r#type: conditions::DELETION_ERROR.into(),
        message: sentence.into(),
        last_transition_time: Some(Timestamp::now().into()),
        ..Condition::default()
    };
    status.set_conditions(&[conditions::DELETION_ERROR], vec![condition]);
    let patch = json!({ "status": { "conditions": status.conditions } });
    if let Err(error) = ctx.control.merge_patch(&application_key(&managed.id), &patch).await {
        tracing::warn!(application = %managed.id, %error, "status.not_written");
    }
}

async fn step(
    ctx: &Arc<Context>,
    managed: &Arc<Managed>,
    application: &Arc<Application>,
    finalizers: &[String],
) -> Result<Step, Stop> {
    // Rendered before anything is listed: it says what to look for.
    let rendered = wanted_hooks(ctx, managed, application).await?;
    watch_kinds(ctx, managed, application).await?;
    let deletion = Deletion::plan(ctx, managed, application, finalizers, rendered);
    let (plan, commits) = match deletion {
        Ok(planned) => planned,
        Err(sentence) => return Ok(Step::Stuck(sentence)),
    };
    let causes = Causes::of(Cause::Changed);
    let pass = Pass::new(ctx, managed, application.clone(), &causes);
    let writer = match gate::deletes(&pass, &plan, &commits) {
        Ok(writer) => writer,
        Err(Stop::Failed { sentence, .. }) => return Ok(Step::Stuck(sentence)),
        Err(stop) => return Err(stop),
    };
    let since = begun(application);
    loop {
        let stage = match Stage::of(&managed.application()) {
            Ok(stage) => stage,
            Err(sentence) => return Ok(Step::Stuck(sentence)),
        };
        let Some((phase, next)) = stage.phase() else { break };
        let waves = plan.waves.iter().filter(|wave| wave.phase == phase);
        let step = if phase == Phase::Delete {
            objects(ctx, &writer, application, waves, since).await?
        } else {
            hooks(ctx, &writer, waves, since).await?
        };
        if !matches!(step, Step::Done) {
            return Ok(step);
        }
        let patch = json!({ "metadata": { "annotations": { STAGE: next } } });
        let object = ctx.control.merge_patch(&application_key(&managed.id), &patch).await?;
        if let Ok(application) = Application::parse(object.0) {
            managed.update(application);
        }
    }
    if !left_hooks_gone(ctx, &writer, managed).await? || !namespace_gone(ctx, managed, application).await? {
        return Ok(Step::Going);
    }
    Ok(Step::Done)
}

fn begun(application: &Application) -> Timestamp {
    application.metadata.deletion_timestamp.as_ref().map_or_else(Timestamp::now, |at| at.0)
}

/// After a start nothing is watched yet: what the application had is in its status. A first sync that was killed has not
/// written it, but what it renders is known.
async fn watch_kinds(ctx: &Context, managed: &Managed, application: &Application) -> Result<(), Stop> {
    let mut named: BTreeSet<(String, String, String)> = BTreeSet::new();
    for resource in application.status.iter().flat_map(|status| &status.resources) {
        named.insert((resource.group.clone(), resource.version.clone(), resource.kind.clone()));
    }
    if let Some(desired) = &managed.state().desired {
        let desired = desired.objects.iter();
        named.extend(desired.map(|object| (object.group().into(), object.version().into(), object.kind().into())));
    }
    let kinds: Vec<_> = named.iter().map(|(group, version, kind)| (&**group, &**version, &**kind)).collect();
    Ok(ctx.watch_kinds(&kinds).await?)
}

struct Deletion;

impl Deletion {
    /// What is to be done; the inner error is for a person.
    fn plan(
        ctx: &Arc<Context>,
        managed: &Arc<Managed>,
        application: &Arc<Application>,
        finalizers: &[String],
        rendered: Result<(Vec<Object>, Vec<String>), String>,
    ) -> Result<(Plan, Vec<String>), String> {
        let resources = finalizers.iter().find(|name| name.starts_with(annotations::RESOURCES_FINALIZER));
        let background = resources.is_some_and(|name| name.ends_with("/background"));
        let propagation = match application.sync_option("PrunePropagationPolicy") {
            Some("orphan") => engine::plan::Propagation::Orphan,
            _ if background => engine::plan::Propagation::Background,
            _ => engine::plan::Propagation::Foreground,
        };
        let owner = managed.id.tracking_name(ctx.namespace());
        // Without the finalizer for it, objects stay.
        let mut live = if resources.is_some() { ctx.live.owned_by(&owner) } else { Vec::new() };
        // What another application wants too is left to it.
        let keys: Vec<ObjectKey> = live.iter().map(|object| object.key()).collect();
        let heirs = shared::heirs(ctx, &managed.id, &keys.iter().collect::<Vec<_>>());
        live.retain(|object| !heirs.contains_key(&object.key()));
        let (hooks, commits) = rendered?;
        let revision = application.status.as_ref().and_then(|status| status.sync.as_ref());
        let revision = revision.map(|sync| sync.revision.clone()).unwrap_or_default();
        let tracking = (owner.as_str(), &ctx.tracking);
        let plan = deletion(application, &live, &hooks, propagation, tracking, (&revision, begun(application)));
        Ok((plan, commits))
    }
}

/// The manifests of hooks that run around the deletion. Where they cannot be rendered any more and the application is known to
/// have hooks, a person decides: one may be the last backup.
async fn wanted_hooks(
    ctx: &Arc<Context>,
    managed: &Arc<Managed>,
    application: &Arc<Application>,
) -> Result<Result<(Vec<Object>, Vec<String>), String>, Stop> {
    let around = |object: &Object| matches!(Part::of(object), Part::Hook(phases) if phases.iter().any(|phase| matches!(phase, Phase::PreDelete | Phase::PostDelete)));
    let known = managed.state().desired.clone();
    let desired = match known {
        Some(desired) => desired,
        None => {
            let causes = Causes::of(Cause::Start);
            let pass = Pass::new(ctx, managed, application.clone(), &causes);
            let rendered = async {
                let permitted = permit::permitted(ctx, application)?;
                let resolved = resolve::resolve(&pass, &permitted).await?;
                let signed = permit::signed(ctx, &permitted, application, resolved).await?;
                render::render(&pass, signed).await
            };
            match Box::pin(rendered).await {
                Ok(desired) => desired,
                Err(Stop::Failed { sentence, .. }) => {
                    let resources = application.status.iter().flat_map(|status| &status.resources);
                    if Stage::of(application) == Ok(Stage::Cleanup)
                        || !resources.into_iter().any(|resource| resource.hook)
                    {
                        return Ok(Ok((Vec::new(), Vec::new())));
                    }
                    return Ok(Err(format!(
                        "the application has hooks, and what they are cannot be rendered any more: {sentence}. Mend it, or set \
                         the annotation {STAGE}: objects to delete without hooks before it"
                    )));
                }
                Err(stop) => return Err(stop),
            }
        }
    };
    let hooks = desired.objects.iter().filter(|object| around(object)).map(|object| (**object).clone()).collect();
    Ok(Ok((hooks, desired.commits.clone())))
}

/// Runs hooks wave by wave.
async fn hooks(
    ctx: &Context,
    writer: &Cluster,
    waves: impl Iterator<Item = &Wave>,
    since: Timestamp,
) -> Result<Step, Stop> {
    let waves: Vec<&Wave> = waves.collect();
    for wave in &waves {
        let mut running = false;
        for step in &wave.apply {
            let (Some(object), Some(hook)) = (&step.object, &step.hook) else { continue };
            let live = ctx.cluster.get(&step.key).await?;
            let of_this = |live: &Object| live.created_at().is_some_and(|at| at.as_second() >= since.as_second());
            match live {
                Some(live) if of_this(&live) => match hook_outcome(&live, ctx.health(&live).as_ref()) {
                    HookOutcome::Succeeded => {}
                    HookOutcome::Failed { message } => {
                        let key = &step.key;
                        return Ok(Step::Stuck(format!(
                            "hook {key} failed: {message}; delete it and it runs again, or set the annotation {STAGE} to go on"
                        )));
                    }
                    HookOutcome::Running { message } => {
                        let runs = Timestamp::now().duration_since(live.created_at().unwrap_or(since)).as_secs();
                        if u64::try_from(runs).unwrap_or_default() > hook.deadline_seconds {
                            let (key, limit) = (&step.key, hook.deadline_seconds);
                            return Ok(Step::Stuck(format!(
                                "hook {key} has not ended within {limit} s: {message}; delete it and it runs again"
                            )));
                        }
                        running = true;
                    }
                },
                Some(live) if owner_of(&live, &ctx.tracking) != owner_of(object, &ctx.tracking) => {
                    let key = &step.key;
                    return Ok(Step::Stuck(format!(
                        "hook {key} exists and is not of this application; rename one of them"
                    )));
                }
                Some(live) => {
                    // One of an earlier occasion.
                    if !live.is_being_deleted() {
                        remove(writer, &live, Propagation::Background).await?;
                    }
                    running = true;
                }
                None => {
                    writer.apply(object, &ApplyOptions::default()).await?;
                    running = true;
                }
            }
        }
        if running {
            return Ok(Step::Going);
        }
    }
    for step in waves.iter().flat_map(|wave| &wave.apply) {
        if step.hook.as_ref().is_some_and(|hook| hook.deletes(DeletePolicy::HookSucceeded)) {
            match writer.delete(&step.key, &DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(Step::Done)
}

/// Deletes the objects of the first wave that is left.
async fn objects(
    ctx: &Context,
    writer: &Cluster,
    application: &Application,
    mut waves: impl Iterator<Item = &Wave>,
    since: Timestamp,
) -> Result<Step, Stop> {
    let Some(wave) = waves.next() else { return Ok(Step::Done) };
    let unconfirmed: Vec<String> =
        wave.prune.iter().filter(|step| step.options.confirm).map(|step| step.key.to_string()).collect();
    if !unconfirmed.is_empty() && !is_deletion_approved(application, since) {
        return Ok(Step::Stuck(format!(
            "waiting for confirmation to delete {}: set the annotation {} to the time now",
            unconfirmed.join(", "),
            annotations::DELETION_APPROVED
        )));
    }
    for step in &wave.prune {
        if ctx.live.get(&step.key).is_some_and(|live| live.is_being_deleted()) {
            continue;
        }
        let options = delete_options(step, false);
        match writer.delete(&step.key, &options).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Step::Going)
}

/// Hooks of whatever phase do not outlive their application; true once there are none.
async fn left_hooks_gone(ctx: &Context, writer: &Cluster, managed: &Managed) -> Result<bool, ClusterError> {
    let application = managed.application();
    let finalizers = application.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|name| name.starts_with(annotations::RESOURCES_FINALIZER)) {
        return Ok(true);
    }
    let owned = ctx.live.owned_by(&managed.id.tracking_name(ctx.namespace()));
    let left: Vec<&Arc<Object>> = owned.iter().filter(|object| !Part::of(object).is_resource()).collect();
    for hook in left.iter().filter(|hook| !hook.is_being_deleted()) {
        remove(writer, hook, Propagation::Background).await?;
    }
    Ok(left.is_empty())
}

async fn remove(writer: &Cluster, object: &Object, propagation: Propagation) -> Result<(), ClusterError> {
    let options = DeleteOptions { propagation, uid: Some(object.uid().to_owned()), ..DeleteOptions::default() };
    match writer.delete(&object.key(), &options).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// Deletes the namespace that Lockstep made for this application alone; true once it is gone or is not ours to delete.
async fn namespace_gone(ctx: &Context, managed: &Managed, application: &Application) -> Result<bool, ClusterError> {
    let name = &application.spec.destination.namespace;
    if application.annotation(DELETE_NAMESPACE) != Some("true") || name.is_empty() {
        return Ok(true);
    }
    let key = ObjectKey::new("", "Namespace", "", name);
    let Some(namespace) = ctx.cluster.get(&key).await? else { return Ok(true) };
    let shared = ctx
        .registry
        .all()
        .iter()
        .any(|other| other.id != managed.id && other.application().spec.destination.namespace == *name);
    if shared || created_for(&namespace) != Some(&managed.id.tracking_name(ctx.namespace())) {
        return Ok(true);
    }
    if !namespace.is_being_deleted() {
        let options = DeleteOptions { uid: Some(namespace.uid().to_owned()), ..DeleteOptions::default() };
        ctx.cluster.delete(&key, &options).await?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_nobody_knows_is_not_reached() {
        for (annotation, want) in [
            (None, Some(Stage::Begun)),
            (Some(""), Some(Stage::Begun)),
            (Some("objects"), Some(Stage::Objects)),
            (Some("hooks"), Some(Stage::Hooks)),
            (Some("cleanup"), Some(Stage::Cleanup)),
            (Some("Cleanup"), None),
            (Some("done"), None),
        ] {
            let annotations = annotation.map(|stage| json!({ (STAGE): stage }));
            let application = Application::parse(json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
                "metadata": { "name": "shop", "namespace": "argocd", "annotations": annotations },
                "spec": { "destination": { "name": "in-cluster" }, "source": { "repoURL": "https://git.example.com/a" } },
            }))
            .unwrap();
            let read = Stage::of(&application);
            assert_eq!(read.as_ref().ok(), want.as_ref(), "{annotation:?}");
            assert!(read.is_ok() || read.unwrap_err().contains(STAGE));
        }
    }
}
