//! What a sync of one application would do, found out by somebody who is not the worker: the same steps *resolve*, *render*,
//! *compare*, *plan* and *gate*, in a process that ends after them. It changes nothing: it has no bus and no lease, takes part in
//! nothing, and writes to the cluster as dry runs only, to ask how an object would be afterwards.
//!
//! Of the cluster it lists the kinds that the application has, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use ::render::{SandboxMode, SandboxState};
use anyhow::{Context as _, bail};
use async_trait::async_trait;
use bus::{Bus, BusError, Consumer, Counters, DeadLetter, Message, PublishError, Topology};
use clap::Parser as _;
use cluster::{Cluster, Kubeconfig};
use engine::plan::{Counts, Plan};
use engine::sync::{AutoInput, AutoSync, should_sync};
use forge::Forges;
use git::SecretCredentials;
use jiff::Timestamp;
use resources::{
    AppProject, Application, Health, InitiatedBy, ObjectKey, Operation, SyncOperation, SyncStatus, Time, annotations,
};
use serde::Serialize;
use telemetry::Metrics;

use crate::context::{Context, GROUP, application_key};
use crate::customizations::CONFIG_MAP;
use crate::queue::Merge as _;
use crate::reconcile::compare::Comparison;
use crate::reconcile::permit::{self, Permitted};
use crate::reconcile::{Cause, Causes, Pass, Stop, compare, discreet, gate, hooks, plan, preflight, render, resolve};
use crate::{AppId, WorkerConfig, run, watches};

/// The worker's Lease is called so, followed by the name of its cluster.
const LEASE: &str = "lockstep-worker-";

/// Where and with what an application is looked at.
#[derive(Clone, Debug)]
pub struct Workbench {
    /// How the cluster is reached.
    pub kubeconfig: Kubeconfig,
    /// The namespace of the control resources.
    pub namespace: String,
    /// The cluster's name; `None`: that of its worker.
    pub cluster_name: Option<String>,
    /// For mirrors and renders; nothing in it is needed.
    pub data_dir: PathBuf,
    /// The helm program.
    pub helm: Option<PathBuf>,
    /// The kustomize program.
    pub kustomize: Option<PathBuf>,
    /// Git credentials beside those of the cluster's Secrets.
    pub git_credentials_file: Option<PathBuf>,
    /// Take repositories from paths too.
    pub allow_local_git: bool,
    /// Whether programs that render are confined.
    pub render_sandbox: SandboxMode,
}

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which application.
    pub id: AppId,
    /// Other revisions than it follows, one for each source; empty: what it follows.
    pub revisions: Vec<String>,
    /// As if somebody synced it, who may prune.
    pub prune: bool,
    /// Who that would be.
    pub by: String,
}

/// The answer.
pub struct Inspection {
    /// The application.
    pub application: Application,
    /// The commits of its sources.
    pub commits: Vec<String>,
    /// What is desired against what is live.
    pub comparison: Comparison,
    /// What a sync would do.
    pub plan: Arc<Plan>,
    /// Whether it may begin.
    pub decision: Decision,
    /// What people should know about the render.
    pub warnings: Vec<String>,
}

/// Whether a sync may begin now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Decision {
    /// There is nothing to do.
    Nothing,
    /// It may.
    Allowed {
        /// Who starts it.
        by: String,
    },
    /// It may not yet.
    Waiting {
        /// For what.
        sentence: String,
        /// When to look again, if time alone changes it.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
    },
    /// It may not.
    Denied {
        /// Why.
        sentence: String,
    },
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing to do"),
            Self::Allowed { by } => write!(f, "allowed, started by {by}"),
            // The gate's sentences begin so themselves.
            Self::Waiting { sentence, .. } if sentence.starts_with("waiting") => f.write_str(sentence),
            Self::Waiting { sentence, .. } => write!(f, "waiting: {sentence}"),
            Self::Denied { sentence } => write!(f, "denied: {sentence}"),
        }
    }
}

/// An inspection for a machine.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    application: String,
    commits: &'a [String],
    sync: SyncStatus,
    health: Health,
    decision: &'a Decision,
    counts: Counts,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    plan: &'a Plan,
}

impl Serialize for Inspection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = Told {
            application: AppId::of(&self.application).to_string(),
            commits: &self.commits,
            sync: self.comparison.sync(),
            health: Health::from(self.comparison.health.clone()),
            decision: &self.decision,
            counts: self.plan.counts(),
            warnings: &self.warnings,
            plan: &self.plan,
        };
        told.serialize(serializer)
    }
}

/// Takes the steps up to the gate, and stops there.
pub async fn inspect(workbench: &Workbench, question: &Question) -> anyhow::Result<Inspection> {
    let options = cluster::Options { field_manager: "lockstep".into(), ..cluster::Options::default() };
    let cluster = Cluster::connect(&workbench.kubeconfig, options).await?;
    let found = cluster.get(&application_key(&question.id)).await?;
    let found = found.with_context(|| format!("there is no application {}", question.id))?;
    let application = Application::parse(found.0)
        .map_err(|invalid| anyhow::anyhow!("the Application {} is not valid: {invalid}", question.id))?;
    let ctx = Arc::new(context(workbench, cluster, &application).await?);
    load(&ctx, &application).await?;
    look(&ctx, application, question).await
}

/// A worker's context that takes part in nothing.
async fn context(workbench: &Workbench, cluster: Cluster, application: &Application) -> anyhow::Result<Context> {
    #[derive(clap::Parser)]
    struct Defaults {
        #[command(flatten)]
        options: crate::Options,
    }
    let mut options = Defaults::try_parse_from(["inspect"])?.options;
    options.namespace.clone_from(&workbench.namespace);
    options.data_dir.clone_from(&workbench.data_dir);
    options.git_credentials_file.clone_from(&workbench.git_credentials_file);
    options.allow_local_git = workbench.allow_local_git;
    options.render_sandbox = workbench.render_sandbox;
    if let Some(helm) = &workbench.helm {
        options.helm.clone_from(helm);
    }
    if let Some(kustomize) = &workbench.kustomize {
        options.kustomize.clone_from(kustomize);
    }
    let (kubeconfig, context) = match &workbench.kubeconfig {
        Kubeconfig::File { path, context } => (Some(path.clone()), context.clone()),
        Kubeconfig::InCluster => (None, None),
    };
    let name = match &workbench.cluster_name {
        Some(name) => name.clone(),
        None => cluster_name(&cluster, &workbench.namespace, application).await,
    };
    let config = WorkerConfig { cluster: name, kubeconfig, context, admin_listen: None, options };
    let credentials = Arc::new(SecretCredentials::new());
    let metrics = Metrics::new("lockstep");
    let forges = Forges::new(Vec::new())?;
    let ctx = run::context(config, cluster, Arc::new(NoBus::default()), &metrics, credentials.clone(), forges).await?;
    if let Err(error) = secrets(&ctx, &credentials).await {
        // Public repositories, and those of a credentials file, need none.
        tracing::warn!(%error, "secrets.not_read");
    }
    Ok(ctx)
}

/// The name that the cluster's worker goes by: its Lease has it, or else the destination.
async fn cluster_name(cluster: &Cluster, namespace: &str, application: &Application) -> String {
    let destination = &application.spec.destination;
    if !destination.is_in_cluster() && !destination.name.is_empty() {
        return destination.name.clone();
    }
    let leases = match cluster.kind("coordination.k8s.io", Some("v1"), "Lease").await {
        Ok(Some(kind)) => cluster.list(&kind, Some(namespace), None).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut names = leases.iter().filter_map(|lease| lease.name().strip_prefix(LEASE));
    match (names.next(), names.next()) {
        (Some(name), None) => name.to_owned(),
        _ => resources::Destination::IN_CLUSTER_NAME.to_owned(),
    }
}

/// Git credentials as the worker takes them from the cluster.
async fn secrets(ctx: &Context, credentials: &SecretCredentials) -> anyhow::Result<()> {
    let kind = ctx.cluster.kind("", Some("v1"), "Secret").await?.context("the cluster serves no Secrets")?;
    let objects = ctx.cluster.list(&kind, Some(ctx.namespace()), Some(annotations::SECRET_TYPE)).await?;
    watches::take_secrets(ctx, credentials, &objects);
    Ok(())
}

/// What the steps ask of the control namespace: the project, and other applications where this one depends on some.
async fn load(ctx: &Context, application: &Application) -> anyhow::Result<()> {
    let name = application.spec.project();
    let key = ObjectKey::new(GROUP, AppProject::KIND, ctx.namespace(), name);
    if let Some(found) = ctx.cluster.get(&key).await? {
        let project = AppProject::parse(found.0)
            .map_err(|invalid| anyhow::anyhow!("the AppProject {name} is not valid: {invalid}"))?;
        ctx.projects.set(project);
    }
    let settings = ObjectKey::new("", "ConfigMap", ctx.namespace(), CONFIG_MAP);
    ctx.customizations.set(ctx.cluster.get(&settings).await?.as_ref());
    if application.annotation(annotations::DEPENDS_ON).is_some() {
        let kind = watches::control_kind(ctx, Application::KIND).await?;
        for object in ctx.cluster.list(&kind, None, None).await? {
            if let Ok(other) = Application::parse(object.0) {
                ctx.registry.upsert(other);
            }
        }
    }
    Ok(())
}

async fn look(ctx: &Arc<Context>, application: Application, question: &Question) -> anyhow::Result<Inspection> {
    let manual = question.prune || !question.revisions.is_empty();
    let asked = as_asked(&application, question)?;
    let (managed, _) = ctx.registry.upsert(asked.clone());
    // Not only live objects: nothing is remembered here.
    let mut causes = Causes::of(Cause::Start);
    causes.merge(Causes::of(Cause::Changed));
    let pass = |application: Application| Pass::new(ctx, &managed, Arc::new(application), &causes);
    let asking = pass(asked.clone());
    let permitted = permit::permitted(ctx, &asking.application).map_err(told)?;
    let resolved = resolve::resolve(&asking, &permitted).await.map_err(told)?;
    let signed = Box::pin(permit::signed(ctx, &permitted, &asking.application, resolved)).await.map_err(told)?;
    let desired = Box::pin(render::render(&asking, signed)).await.map_err(told)?;
    // Where a sync follows at once the worker spares calls whose answers that sync gives; here none follows.
    let mut unhurried = asked;
    if let Some(policy) = &mut unhurried.spec.sync_policy {
        policy.automated = None;
    }
    let mut comparison = Box::pin(compare::compare(&pass(unhurried), &desired)).await.map_err(told)?;
    comparison.hooks_due = hooks::are_due(&asking, &desired);
    let states = plan::states(&comparison);

    let auto = (!manual && application.spec.automated().is_some()).then(|| {
        should_sync(&AutoInput {
            application: &application,
            resources: &states,
            instance: &asking.tracking_name(),
            tracking: &ctx.tracking,
            revisions: &desired.commits,
            heals: None,
            failures: None,
            hooks_due: comparison.hooks_due,
            now: Timestamp::now(),
        })
    });
    let mut request = request(&asking, &desired, &states, comparison.sync())?;
    request.automated = !manual;
    request.drift = matches!(auto, Some(AutoSync::Heal { .. }));
    let plan = Box::pin(plan::plan(&asking, &request, &desired, &states)).await.map_err(told)?;
    let decision = match auto {
        _ if plan.is_empty() => Decision::Nothing,
        // Hooks alone are no reason to sync.
        Some(_) if comparison.sync() == SyncStatus::Synced => Decision::Nothing,
        Some(AutoSync::No { reason, again_at, .. }) => Decision::Waiting {
            sentence: format!("it is not synced by itself: {reason}"),
            until: again_at.map(Time::from),
        },
        _ => decide(&asking, &permitted, &request, &plan, if manual { &question.by } else { "the sync policy" }),
    };
    let decision = match decision {
        // As the worker finds out before it writes anything.
        Decision::Allowed { by } => match preflight::refused(&asking, &plan, request.drift).await {
            Ok(refused) => match preflight::sentence(&refused) {
                Some(sentence) => {
                    let sentence = discreet::told(&asking, &sentence).into_owned();
                    Decision::Denied { sentence: format!("it would change nothing: {sentence}") }
                }
                None => Decision::Allowed { by },
            },
            Err(stop) => return Err(told(discreet::stop(&asking, stop))),
        },
        decision => decision,
    };
    let mut warnings: Vec<String> = desired.warnings.iter().map(|(_, message)| message.clone()).collect();
    let sandbox = ctx.renderer.sandbox();
    if !sandbox.is_whole() && sandbox != SandboxState::Off {
        warnings.push(format!("the sandbox for programs that render is {sandbox}"));
    }
    Ok(Inspection { application, commits: desired.commits.clone(), comparison, plan, decision, warnings })
}

/// The application as if the sync had been asked for that is to be looked at, and no other.
fn as_asked(application: &Application, question: &Question) -> anyhow::Result<Application> {
    let sources = application.sources().len();
    let multi = application.spec.is_multi_source();
    if !question.revisions.is_empty() && question.revisions.len() != sources.max(1) {
        bail!("{} has {sources} sources: give a revision for each, in their order", question.id);
    }
    let mut sync = SyncOperation {
        prune: question.prune || application.spec.automated().is_some_and(|automated| automated.prune),
        ..SyncOperation::default()
    };
    match question.revisions.as_slice() {
        [one] if !multi => sync.revision.clone_from(one),
        revisions => sync.revisions = revisions.to_vec(),
    }
    let mut asked = application.clone();
    asked.operation = Some(Operation {
        sync: Some(sync),
        initiated_by: Some(InitiatedBy { username: question.by.clone(), ..InitiatedBy::default() }),
        ..Operation::default()
    });
    // An order to the worker, which it follows itself.
    if let Some(annotations) = &mut asked.metadata.annotations {
        annotations.remove(annotations::REFRESH);
    }
    if let Some(status) = &mut asked.status {
        status.operation_state.take_if(|state| !state.phase.is_final());
    }
    Ok(asked)
}

fn request(
    pass: &Pass<'_>,
    desired: &crate::registry::Desired,
    states: &[engine::plan::ResourceState],
    sync: SyncStatus,
) -> anyhow::Result<plan::Request> {
    match plan::request(pass, desired, states, sync) {
        plan::Decided::Run(request) => Ok(*request),
        plan::Decided::Nothing(_) => bail!("there is no operation to plan; this is a defect, please report it"),
    }
}

fn decide(pass: &Pass<'_>, permitted: &Permitted, request: &plan::Request, plan: &Arc<Plan>, by: &str) -> Decision {
    match gate::gate(pass, permitted, request, plan) {
        Ok(gate::Decided::Approved(_)) => Decision::Allowed { by: by.to_owned() },
        Ok(gate::Decided::Waiting { sentence, until }) => Decision::Waiting {
            sentence,
            until: until.and_then(|until| Some(Timestamp::now().checked_add(until).ok()?.into())),
        },
        Err(Stop::Later(sentence)) => Decision::Waiting { sentence, until: None },
        Err(Stop::Failed { sentence, .. }) => Decision::Denied { sentence },
        Err(Stop::Superseded) => Decision::Waiting { sentence: "a newer commit is wanted".into(), until: None },
    }
}

fn told(stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Later(sentence) => anyhow::anyhow!("{sentence}; it may go in a moment"),
        Stop::Failed { sentence, .. } => anyhow::anyhow!(sentence),
        Stop::Superseded => anyhow::anyhow!("a newer commit came in between; try again"),
    }
}

/// Takes nothing and gives nothing.
#[derive(Debug, Default)]
struct NoBus(Counters);

fn refused() -> BusError {
    BusError::Unavailable("an inspection has no bus".into())
}

#[async_trait]
impl Bus for NoBus {
    async fn declare(&self, _: &Topology) -> Result<(), BusError> {
        Err(refused())
    }

    async fn publish(&self, _: &str, _: &str, _: Message) -> Result<(), PublishError> {
        Err(PublishError::Unavailable { reason: refused().to_string() })
    }

    async fn bury(&self, _: Message, _: &str) -> Result<(), PublishError> {
        Err(PublishError::Unavailable { reason: refused().to_string() })
    }

    async fn consume(&self, _: &str, _: u16) -> Result<Consumer, BusError> {
        Err(refused())
    }

    async fn depth(&self, _: &str) -> Result<u64, BusError> {
        Err(refused())
    }

    async fn dead(&self, _: usize) -> Result<Vec<DeadLetter>, BusError> {
        Err(refused())
    }

    async fn replay(&self, _: &str) -> Result<(), BusError> {
        Err(refused())
    }

    async fn discard(&self, _: &str) -> Result<(), BusError> {
        Err(refused())
    }

    async fn reroute(&self) -> Result<u64, BusError> {
        Err(refused())
    }

    async fn ping(&self) -> Result<(), BusError> {
        Err(refused())
    }

    fn counters(&self) -> &Counters {
        &self.0
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decisions_in_a_sentence() {
        let waiting = |sentence: &str| Decision::Waiting { sentence: sentence.into(), until: None };
        for (decision, want) in [
            (Decision::Nothing, "nothing to do"),
            (Decision::Allowed { by: "ada".into() }, "allowed, started by ada"),
            (waiting("waiting for ada"), "waiting for ada"),
            (waiting("a window"), "waiting: a window"),
            (Decision::Denied { sentence: "no".into() }, "denied: no"),
        ] {
            assert_eq!(decision.to_string(), want);
        }
        let until = Some(Time("2026-01-05T12:00:00Z".parse().unwrap()));
        let told = serde_json::to_value(Decision::Waiting { sentence: "a window".into(), until }).unwrap();
        assert_eq!(told, json!({"state": "waiting", "sentence": "a window", "until": "2026-01-05T12:00:00Z"}));
    }

    fn application(more: serde_json::Value) -> Application {
        let mut manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd", "annotations": {(annotations::REFRESH): "hard"}},
            "spec": {"source": {"repoURL": "https://git.example.com/a", "path": "a"}, "destination": {"name": "in-cluster"}},
            "operation": {"sync": {"revision": "other"}},
            "status": {"operationState": {"phase": "Running", "operation": {}}},
        });
        manifest["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Application::parse(manifest).unwrap()
    }

    #[test]
    fn the_sync_that_is_looked_at() {
        let question = |revisions: &[&str], prune: bool| Question {
            id: AppId::new("argocd", "gateway"),
            revisions: revisions.iter().map(|&revision| revision.to_owned()).collect(),
            prune,
            by: "ada".into(),
        };
        let source = |path: &str| json!({"repoURL": "https://git.example.com/a", "path": path});
        let two = || application(json!({"source": null, "sources": [source("a"), source("b")]}));
        let prunes = application(json!({"syncPolicy": {"automated": {"prune": true}}}));
        for (application, question, want) in [
            (application(json!({})), question(&[], false), Some(json!({}))),
            (application(json!({})), question(&["v1"], true), Some(json!({"revision": "v1", "prune": true}))),
            (application(json!({})), question(&["v1", "v2"], false), None),
            (prunes, question(&[], false), Some(json!({"prune": true}))),
            (two(), question(&["v1", "v2"], false), Some(json!({"revisions": ["v1", "v2"]}))),
            (two(), question(&["v1"], false), None),
        ] {
            let asked = as_asked(&application, &question);
            let Some(want) = want else {
                assert!(asked.is_err(), "{question:?}");
                continue;
            };
            let asked = asked.unwrap();
            assert_eq!(serde_json::to_value(asked.operation.unwrap().sync).unwrap(), want, "{question:?}");
            assert!(asked.status.unwrap().operation_state.is_none());
            assert!(!asked.metadata.annotations.unwrap().contains_key(annotations::REFRESH));
        }
    }
}
