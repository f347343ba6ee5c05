//! *Apply*: carries out a plan that was approved, wave by wave; each wave waits until the one before it is healthy.

use std::time::Duration;

use cluster::{Applied, ApplyOptions, ClusterError, DeleteOptions, Validate};
use engine::gate::Approved;
use engine::ownership::owner_of;
use engine::plan::{
    Action, DeletePolicy, HookOutcome, Phase, Plan, Propagation, Step, Wave, hook_outcome, is_deletion_approved,
};
use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use resources::{Object, ObjectKey, Operation, OperationPhase, ResourceResult, ResultCode};
use serde_json::json;

use super::plan::Request;
use super::{ARGO_CD, Pass, Stop, back_off, discreet, gate, preflight, report, settle, shared, status, written};
use crate::context::application_key;

/// So many requests of one operation are under way at once.
const PARALLEL: usize = 16;
/// How long an API server that is away is waited for inside an operation.
const PATIENCE: Duration = Duration::from_secs(60);
/// A Job that says so goes by itself after its end.
const LIFETIME: &str = "/spec/ttlSecondsAfterFinished";

/// What an operation did.
#[derive(Clone, Debug)]
pub struct Performed {
    /// As asked for.
    pub operation: Operation,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// A line for each object.
    pub results: Vec<ResourceResult>,
    /// Objects that were not there before.
    pub created: u32,
    /// Objects that were changed.
    pub changed: u32,
    /// Objects that were removed.
    pub pruned: u32,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What it did, in a sentence.
    pub message: String,
    /// What had drifted and was repaired.
    pub healed: Option<String>,
    /// Nothing was stored.
    pub dry_run: bool,
    /// Only some objects were synced.
    pub selective: bool,
    /// How often it was tried before.
    pub retries: i64,
}

impl Performed {
    /// Nobody asked for it: the sync policy did.
    pub fn automated(&self) -> bool {
        self.operation.initiated_by.as_ref().is_some_and(|by| by.automated)
    }
}

impl Performed {
    /// It repaired what had drifted, which is said with who had changed it.
    pub fn tell_healed(&mut self, drifted: String) {
        if self.failure.is_none() && self.created + self.changed + self.pruned > 0 {
            self.message = format!("healed drift: {drifted}");
            self.healed = Some(drifted);
        }
    }
}

struct Work<'a, 'p> {
    pass: &'a Pass<'p>,
    dry_run: bool,
    /// Whose fields it takes has to be asked for.
    asks: bool,
    /// A person asked for it.
    manual: bool,
    /// Namespaces that the plan creates.
    namespaces: Vec<String>,
    started: Timestamp,
    results: Vec<ResourceResult>,
    created: u32,
    changed: u32,
    pruned: u32,
    /// What was written and was so already.
    unchanged: Vec<ObjectKey>,
}

/// Carries out the plan. Errors are for what ends the pass; what the cluster refuses is the operation's result.
pub async fn apply(pass: &Pass<'_>, request: &Request, approved: &Approved) -> Result<Performed, Stop> {
    let plan = approved.plan();
    let sync = request.sync();
    pass.ctx.cluster.permits_writes().await?;
    announce(pass, request, plan).await?;
    let mut work = Work {
        pass,
        dry_run: sync.dry_run,
        // The comparison that found a drift tells who changed what.
        asks: !request.drift,
        manual: !request.automated,
        namespaces: created_namespaces(plan),
        started: request.started,
        results: Vec::new(),
        created: 0,
        changed: 0,
        pruned: 0,
        unchanged: Vec::new(),
    };
    let permitted = work.preflight(request, plan).await;
    let begun = permitted.is_ok();
    let outcome = if begun { work.waves(plan).await } else { permitted };
    if let Err(stop @ (Stop::Later(_) | Stop::Superseded)) = outcome {
        return Err(stop);
    }
    let failure = match outcome {
        Err(Stop::Failed { sentence, .. }) => Some(sentence),
        _ => None,
    };
    if failure.is_some() && begun && !settle::is_terminating(pass) {
        work.sync_fail(plan).await;
    }
    for skipped in &plan.skipped {
        let code = if skipped.prune { ResultCode::PruneSkipped } else { ResultCode::Synced };
        work.results.push(status::result(&skipped.key, "", code, skipped.reason.clone(), "Sync"));
    }
    pass.ctx.metrics.applied.inc_by(u64::from(work.created + work.changed));
    pass.ctx.metrics.pruned.inc_by(u64::from(work.pruned));
    if request.drift && failure.is_none() {
        let mut healed: Vec<ObjectKey> = plan.steps().map(|step| step.key.clone()).collect();
        healed.retain(|key| !work.unchanged.contains(key));
        if !healed.is_empty() {
            pass.ctx.metrics.healed.inc();
        }
        pass.managed.state().heals.healed(&healed, Timestamp::now());
    }
    work.learn();
    let message =
        if work.dry_run { "successfully dry-run".to_owned() } else { "successfully synced (all tasks run)".to_owned() };
    Ok(Performed {
        operation: request.operation.clone(),
        started: request.started,
        finished: Timestamp::now(),
        results: work.results,
        created: work.created,
        changed: work.changed,
        pruned: work.pruned,
        failure,
        message,
        healed: None,
        dry_run: sync.dry_run,
        selective: !sync.resources.is_empty(),
        retries: request.retries,
    })
}

/// An operation that somebody asked for, or one that may take long, is recorded before it begins: so it is seen, it can be
/// terminated, and it is taken up again after a kill. A short automated one is simply decided again.
async fn announce(pass: &Pass<'_>, request: &Request, plan: &Plan) -> Result<(), Stop> {
    let long = plan.waves.iter().filter(|wave| !wave.apply.is_empty() || !wave.prune.is_empty()).count() > 1;
    if (request.resumed && request.retries == 0) || (request.automated && !long) {
        return Ok(());
    }
    let mut operation = request.operation.clone();
    if let Some(sync) = &mut operation.sync {
        // Taken up after a kill, it goes on with the commits that were let in, and not with newer ones.
        match plan.commits() {
            [commit] if sync.revision.is_empty() => sync.revision.clone_from(commit),
            commits if commits.len() > 1 && sync.revisions.is_empty() => sync.revisions = commits.to_vec(),
            _ => {}
        }
    }
    let mut patch = json!({ "status": { "operationState": {
        "operation": operation,
        "phase": "Running",
        "message": "syncing",
        "startedAt": resources::Time(request.started),
        "finishedAt": null,
        "retryCount": request.retries,
        "syncResult": null,
    } } });
    if pass.application.operation.is_some() {
        patch["operation"] = serde_json::Value::Null;
    }
    let _writing = pass.managed.writing.lock().await;
    match announced(pass, patch).await {
        Ok(object) => {
            if let Ok(application) = resources::Application::parse(object.0) {
                pass.managed.update(application);
            }
            Ok(())
        }
        Err(error) => Err(Stop::Later(error.to_string())),
    }
}

/// Written to the Application that was looked at. If it is another by now, whoever changed it may hold a later lease.
async fn announced(pass: &Pass<'_>, mut patch: serde_json::Value) -> Result<Object, ClusterError> {
    let (control, key) = (&pass.ctx.control, application_key(&pass.managed.id));
    let version = pass.managed.application().metadata.resource_version.clone();
    patch["metadata"] = json!({ "resourceVersion": version });
    match control.merge_patch(&key, &patch).await {
        Err(error) if error.is_conflict() => {
            control.confirms_lease().await?;
            patch["metadata"] = json!({});
            control.merge_patch(&key, &patch).await
        }
        outcome => outcome,
    }
}

impl Work<'_, '_> {
    /// An apply that changed nothing says that there was no difference, whatever the comparison thought: the API server is asked about
    /// these from now on.
    fn learn(&self) {
        if self.dry_run || self.unchanged.is_empty() {
            return;
        }
        let mut state = self.pass.managed.state();
        state.misjudged.extend(self.unchanged.iter().cloned());
        // What has not changed is not compared again, and the answer would stay.
        state.compared = None;
    }

    /// Nothing is begun that is known not to end well.
    async fn preflight(&mut self, request: &Request, plan: &Plan) -> Result<(), Stop> {
        let refused = preflight::refused(self.pass, plan, request.drift || self.dry_run).await?;
        let Some(sentence) = preflight::sentence(&refused) else { return Ok(()) };
        let sentence = format!("nothing was changed: {sentence}");
        for (key, sentence) in refused {
            let result = status::result(&key, "", ResultCode::SyncFailed, sentence, &Phase::Sync.to_string());
            self.results.push(result);
        }
        Err(Stop::sync(sentence))
    }

    async fn waves(&mut self, plan: &Plan) -> Result<(), Stop> {
        let regular: Vec<&Wave> = plan.waves.iter().filter(|wave| wave.phase != Phase::SyncFail).collect();
        let last = regular.iter().rposition(|wave| !wave.apply.is_empty() || !wave.prune.is_empty());
        let Some(last) = last else { return Ok(()) };
        for (number, wave) in regular.iter().enumerate().take(last + 1) {
            if settle::is_terminating(self.pass) {
                return Err(Stop::sync("the operation was terminated"));
            }
            self.in_its_window().await?;
            // The wave before may have taken long.
            self.pass.ctx.cluster.permits_writes().await?;
            self.wave(wave).await?;
            let hooks = wave.apply.iter().any(|step| step.hook.is_some());
            if !self.dry_run && (number < last || hooks) {
                self.settled(wave).await?;
            }
        }
        Ok(())
    }

    async fn wave(&mut self, wave: &Wave) -> Result<(), Stop> {
        if wave.prune.iter().any(|step| step.options.confirm) {
            self.confirmed(wave).await?;
        }
        if !wave.prune.is_empty() && !self.dry_run {
            self.others_have_rendered().await;
        }
        let phase = wave.phase.to_string();
        self.prune(&wave.prune, &phase).await?;
        for tier in tiers(&wave.apply) {
            let pass = self.pass;
            let manner = Manner { dry_run: self.dry_run, asks: self.asks };
            let writes: Vec<_> = tier.iter().map(|step| perform_patiently(pass, step, manner)).collect();
            let outcomes: Vec<Result<Applied, ClusterError>> = stream::iter(writes).buffered(PARALLEL).collect().await;
            self.take(tier.iter().zip(outcomes).collect(), &phase)?;
            if !self.dry_run {
                self.watch(tier).await?;
            }
            let definitions: Vec<ObjectKey> = tier
                .iter()
                .filter(|step| step.key.kind == "CustomResourceDefinition")
                .map(|step| step.key.clone())
                .collect();
            if !definitions.is_empty() && !self.dry_run {
                settle::wave(self.pass, &definitions, &[]).await?;
            }
        }
        Ok(())
    }

    /// What was applied is watched before anybody waits for it: a kind may have come with this sync.
    async fn watch(&self, tier: &[Step]) -> Result<(), Stop> {
        let objects = tier.iter().filter_map(|step| step.object.as_ref());
        let kinds: Vec<_> = objects.map(|object| (object.group(), object.version(), object.kind())).collect();
        Ok(self.pass.ctx.watch_kinds(&kinds).await?)
    }

    /// A window that has closed since the operation began stops it before its next wave, unless the window lets it run over.
    async fn in_its_window(&self) -> Result<(), Stop> {
        while let Some((sentence, until)) = gate::closed_since(self.pass, self.manual, self.started) {
            if self.pass.is_superseded() {
                return Err(Stop::Superseded);
            }
            if settle::is_terminating(self.pass) {
                return Err(Stop::sync("the operation was terminated"));
            }
            report::progress(self.pass, &sentence).await;
            let pause = until.unwrap_or(PATIENCE).min(PATIENCE);
            tokio::select! {
                () = self.pass.managed.newer.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Every object of a tier is tried before the first refusal ends the operation, so that all of them are told at once.
    fn take(&mut self, outcomes: Vec<(&Step, Result<Applied, ClusterError>)>, phase: &str) -> Result<(), Stop> {
        let mut refused: Vec<String> = Vec::new();
        let mut away = None;
        for (step, outcome) in outcomes {
            match outcome {
                Ok(applied) => {
                    if applied.created {
                        self.created += 1;
                    } else if applied.changed {
                        self.changed += 1;
                    } else if step.hook.is_none() {
                        self.unchanged.push(step.key.clone());
                    }
                    let done = match (step.hook.is_some(), applied.created, applied.changed) {
                        (true, ..) => "hook started",
                        (_, true, _) => "created",
                        (_, _, true) => "configured",
                        _ => "unchanged",
                    };
                    let version = applied.object.version().to_owned();
                    let mut message = format!("{} {done}", step.key);
                    if let Some(taken) = taken(&applied) {
                        message = format!("{message}; {taken}");
                    }
                    let mut result = status::result(&step.key, &version, ResultCode::Synced, message, phase);
                    if step.hook.is_some() {
                        result.hook_type = phase.to_owned();
                        result.status = None;
                        result.hook_phase = Some(resources::OperationPhase::Running);
                    }
                    self.results.push(result);
                }
                Err(error) if error.is_transient() => away = Some(error.to_string()),
                // Nothing is stored, so the namespace is not there yet and the API server cannot say more.
                Err(ClusterError::NamespaceMissing { namespace, .. })
                    if self.dry_run && self.namespaces.contains(&namespace) =>
                {
                    self.created += 1;
                    let version = step.object.as_ref().map_or("", |object| object.version());
                    let message = format!("{} created (its namespace does not exist yet)", step.key);
                    self.results.push(status::result(&step.key, version, ResultCode::Synced, message, phase));
                }
                Err(error) => {
                    let version = step.object.as_ref().map_or("", |object| object.version());
                    let sentence = error.to_string();
                    self.results.push(status::result(
                        &step.key,
                        version,
                        ResultCode::SyncFailed,
                        sentence.clone(),
                        phase,
                    ));
                    refused.push(sentence);
                }
            }
        }
        match (refused.first(), away) {
            (Some(first), _) if refused.len() > 1 => {
                Err(Stop::sync(format!("{first} (and {} more)", refused.len() - 1)))
            }
            (Some(first), _) => Err(Stop::sync(first.clone())),
            (None, Some(away)) => Err(Stop::Later(away)),
            (None, None) => Ok(()),
        }
    }

    async fn prune(&mut self, steps: &[Step], phase: &str) -> Result<(), Stop> {
        let pass = self.pass;
        let dry_run = self.dry_run;
        let keys: Vec<&ObjectKey> = steps.iter().map(|step| &step.key).collect();
        let heirs = shared::heirs(pass.ctx, &pass.managed.id, &keys);
        let mut deletions = Vec::new();
        for step in steps {
            // Since it was planned, somebody may have taken it over.
            let reason = match heirs.get(&step.key) {
                Some(heir) => Some(format!("ignored (application {heir} wants it)")),
                None => self.of_another(step),
            };
            match reason {
                Some(reason) => {
                    self.results.push(status::result(&step.key, "", ResultCode::PruneSkipped, reason, phase));
                }
                None => deletions.push(delete_patiently(pass, step, dry_run)),
            }
        }
        let outcomes: Vec<_> = stream::iter(deletions).buffered(PARALLEL).collect().await;
        let (mut refused, mut away, mut going) = (None, None, Vec::new());
        for (step, outcome) in outcomes {
            match outcome {
                Err(error) if error.is_conflict() => {
                    let reason = "ignored (there is another object of this name now)".into();
                    self.results.push(status::result(&step.key, "", ResultCode::PruneSkipped, reason, phase));
                }
                Err(error) if error.is_transient() => away = Some(error.to_string()),
                Err(error) if !error.is_not_found() => {
                    let sentence = error.to_string();
                    self.results.push(status::result(&step.key, "", ResultCode::SyncFailed, sentence.clone(), phase));
                    refused.get_or_insert(sentence);
                }
                _ => {
                    self.pruned += 1;
                    self.results.push(status::result(&step.key, "", ResultCode::Pruned, "pruned".into(), phase));
                    going.push(step);
                }
            }
        }
        if let Some(sentence) = refused {
            return Err(Stop::sync(sentence));
        }
        if let Some(away) = away {
            return Err(Stop::Later(away));
        }
        if !dry_run {
            for step in going {
                self.gone(&step.key, &step.uid).await?;
            }
        }
        Ok(())
    }

    fn of_another(&self, step: &Step) -> Option<String> {
        let live = self.pass.ctx.live.get(&step.key)?;
        let owner = owner_of(&live, &self.pass.ctx.tracking)?;
        (owner != self.pass.tracking_name()).then(|| format!("ignored (belongs to application {owner} now)"))
    }

    /// What moves to another application in the same commit is not deleted between: those that have yet to render the commit are
    /// waited for, for a moment.
    async fn others_have_rendered(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while shared::is_awaited(self.pass) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until an object is gone, finalizers and dependants included.
    async fn gone(&self, key: &ObjectKey, uid: &str) -> Result<(), Stop> {
        let deadline = tokio::time::Instant::now() + self.pass.ctx.config.options.health_timeout;
        loop {
            let notified = self.pass.managed.newer.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let live = self.pass.ctx.live.get(key).filter(|live| uid.is_empty() || live.uid() == uid);
            if live.is_none() {
                return Ok(());
            }
            if self.pass.is_superseded() {
                return Err(Stop::Superseded);
            }
            tokio::select! {
                () = notified => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Stop::sync(format!("{key} was deleted and is still there; see its finalizers")));
            }
        }
    }

    /// Waits for the annotation by which a person confirms what is to be pruned.
    async fn confirmed(&self, wave: &Wave) -> Result<(), Stop> {
        let keys: Vec<String> =
            wave.prune.iter().filter(|step| step.options.confirm).map(|step| step.key.to_string()).collect();
        let sentence = format!("waiting for pruning confirmation of {}", keys.join(", "));
        while !is_deletion_approved(&self.pass.managed.application(), self.started) {
            if self.pass.is_superseded() {
                return Err(Stop::Superseded);
            }
            if settle::is_terminating(self.pass) {
                return Err(Stop::sync("the operation was terminated"));
            }
            report::progress(self.pass, &sentence).await;
            tokio::select! {
                () = self.pass.managed.newer.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        Ok(())
    }

    /// Waits for the wave's health and its hooks, and does what their policies say.
    async fn settled(&mut self, wave: &Wave) -> Result<(), Stop> {
        let (hooks, objects): (Vec<&Step>, Vec<&Step>) = wave.apply.iter().partition(|step| step.hook.is_some());
        let mut keys: Vec<ObjectKey> = objects.iter().map(|step| step.key.clone()).collect();
        keys.extend(wave.unchanged.iter().cloned());
        let waits: Vec<settle::Hook> = hooks
            .iter()
            .filter_map(|step| {
                let deadline = Duration::from_secs(step.hook.as_ref()?.deadline_seconds);
                let expires = step.object.as_ref().is_some_and(|object| object.at(LIFETIME).is_some());
                Some(settle::Hook { key: step.key.clone(), deadline, expires })
            })
            .collect();
        let outcome = settle::wave(self.pass, &keys, &waits).await;
        if let Err(Stop::Later(_) | Stop::Superseded) = outcome {
            return outcome;
        }
        let terminated = settle::is_terminating(self.pass);
        for step in hooks {
            let Some(hook) = &step.hook else { continue };
            let live = self.pass.ctx.live.get(&step.key);
            let health = live.as_deref().and_then(|live| self.pass.ctx.health(live));
            let ended = match live.as_deref() {
                Some(live) => hook_outcome(live, health.as_ref()),
                None if outcome.is_ok() => HookOutcome::Succeeded,
                None => HookOutcome::Failed { message: "it is gone".into() },
            };
            let (phase, policy, message) = match ended {
                HookOutcome::Succeeded => (OperationPhase::Succeeded, Some(DeletePolicy::HookSucceeded), String::new()),
                HookOutcome::Failed { message } => (OperationPhase::Failed, Some(DeletePolicy::HookFailed), message),
                // Another one has failed, or its own time is up, or the operation was terminated.
                HookOutcome::Running { message } => (OperationPhase::Failed, None, message),
            };
            for result in
                self.results.iter_mut().filter(|result| result.name == step.key.name && result.kind == step.key.kind)
            {
                result.hook_phase = Some(phase);
                if !message.is_empty() {
                    result.message.clone_from(&message);
                }
            }
            // What still runs would go on without anybody who waits for it.
            let stops = policy.is_none() && (terminated || hook.deletes(DeletePolicy::HookFailed));
            if stops || policy.is_some_and(|policy| hook.deletes(policy)) {
                let _ = self.pass.writer.delete(&step.key, &DeleteOptions::default()).await;
            }
        }
        outcome
    }

    /// Hooks for a sync that failed; that they fail too changes nothing.
    async fn sync_fail(&mut self, plan: &Plan) {
        for wave in plan.waves.iter().filter(|wave| wave.phase == Phase::SyncFail) {
            let ran = async {
                self.wave(wave).await?;
                if self.dry_run { Ok(()) } else { self.settled(wave).await }
            };
            if let Err(stop) = Box::pin(ran).await {
                let stop = discreet::stop(self.pass, stop);
                tracing::warn!(?stop, "apply.sync_fail_hook_failed");
            }
        }
    }
}

/// Which fields others had set otherwise, and who.
fn taken(applied: &Applied) -> Option<String> {
    const MOST: usize = 5;
    if applied.taken.is_empty() {
        return None;
    }
    let named = applied.taken.iter().take(MOST).map(|field| format!("{} from {}", field.field, field.manager));
    let named: Vec<String> = named.collect();
    let more = applied.taken.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("took {}{more}", named.join(", ")))
}

fn created_namespaces(plan: &Plan) -> Vec<String> {
    let namespaces = plan.steps().filter(|step| step.key.kind == "Namespace" && step.action == Action::Create);
    namespaces.map(|step| step.key.name.clone()).collect()
}

/// What must be there before the rest of its wave: namespaces and definitions, then what workloads refer to, then workloads.
/// The steps are in kind order already, so each tier is a stretch of them.
fn tiers(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| tier(&a.key) == tier(&b.key))
}

fn tier(key: &ObjectKey) -> u8 {
    match key.kind.as_str() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ResourceQuota"
        | "LimitRange"
        | "ServiceAccount"
        | "Secret"
        | "ConfigMap"
        | "StorageClass"
        | "PersistentVolume"
        | "PersistentVolumeClaim"
        | "ClusterRole"
        | "ClusterRoleBinding"
        | "Role"
        | "RoleBinding"
        | "Service"
        | "NetworkPolicy"
        | "AppProject" => 2,
        _ => 3,
    }
}

async fn delete_patiently<'s>(
    pass: &Pass<'_>,
    step: &'s Step,
    dry_run: bool,
) -> (&'s Step, Result<cluster::Deleted, ClusterError>) {
    let options = delete_options(step, dry_run);
    (step, patiently(|| pass.writer.delete(&step.key, &options)).await)
}

/// How an operation writes.
#[derive(Clone, Copy)]
struct Manner {
    dry_run: bool,
    asks: bool,
}

async fn perform_patiently(pass: &Pass<'_>, step: &Step, manner: Manner) -> Result<Applied, ClusterError> {
    patiently(|| perform(pass, step, manner)).await
}

async fn perform(pass: &Pass<'_>, step: &Step, Manner { dry_run, asks }: Manner) -> Result<Applied, ClusterError> {
    let cluster = &pass.writer;
    let Some(object) = &step.object else {
        return Err(ClusterError::Config(format!("the plan has no manifest for {}", step.key)));
    };
    let live = pass.ctx.live.get(&step.key);
    let object = &*written::as_written(pass, step, object).await?;
    // Whoever applied it before us: what Git drops shall go, although they own it.
    let predecessors: Vec<String> =
        step.options.migrate_from.iter().flat_map(|manager| [manager.clone(), ARGO_CD.to_owned()]).collect();
    let options = ApplyOptions {
        dry_run,
        validate: if step.options.validate { Validate::Strict } else { Validate::Ignore },
        live_version: live.as_ref().map(|live| live.resource_version().to_owned()),
        needs_migration: live.is_some() && pass.ctx.live.needs_migration(&step.key, &predecessors),
        migrate_from: predecessors,
        tell_taken: asks && live.is_some(),
        expects_live: !asks && live.is_some(),
        ..ApplyOptions::default()
    };
    if let Some(hook) = &step.hook
        && hook.deletes(DeletePolicy::BeforeHookCreation)
        && live.is_some()
    {
        remove(pass, step, dry_run).await?;
    }
    // The write's own watch event can come before its answer; it is no drift.
    let writing = (!dry_run).then(|| pass.ctx.live.writing(&step.key));
    let applied = match step.action {
        Action::Replace if live.is_some() => cluster.replace(object, &options).await,
        Action::Recreate => {
            remove(pass, step, dry_run).await?;
            cluster.apply(object, &options).await
        }
        _ => match written::apply(cluster, object, live.as_deref(), &options).await {
            // Only for what cannot be changed in place; a refusal by a policy would refuse the new object, too.
            Err(
                error @ (ClusterError::Immutable { .. } | ClusterError::Invalid { .. } | ClusterError::Conflict { .. }),
            ) if step.options.force && live.is_some() && !preflight::is_refusal(&error) => {
                remove(pass, step, dry_run).await?;
                cluster.apply(object, &options).await
            }
            applied => applied,
        },
    }?;
    if let Some(writing) = writing {
        writing.record(&applied.object);
    }
    Ok(applied)
}

async fn remove(pass: &Pass<'_>, step: &Step, dry_run: bool) -> Result<(), ClusterError> {
    let options = delete_options(step, dry_run);
    let deleted = pass.writer.delete(&step.key, &options).await;
    if dry_run {
        return Ok(());
    }
    match deleted {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while pass.writer.get(&step.key).await?.is_some() {
        if tokio::time::Instant::now() > deadline {
            let message = "is still being deleted; see its finalizers".to_owned();
            return Err(ClusterError::Conflict { key: Box::new(step.key.clone()), fields: Vec::new(), message });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// How a step's object is deleted.
pub(super) fn delete_options(step: &Step, dry_run: bool) -> DeleteOptions {
    DeleteOptions {
        propagation: match step.options.propagation {
            Propagation::Foreground => cluster::Propagation::Foreground,
            Propagation::Background => cluster::Propagation::Background,
            Propagation::Orphan => cluster::Propagation::Orphan,
        },
        uid: (!step.uid.is_empty()).then(|| step.uid.clone()),
        dry_run,
    }
}

/// Tries again while the API server is away: an operation that waits a moment ends well, one that gives up begins anew.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut failures = 0;
    loop {
        match call().await {
            Err(error) if error.is_transient() && tokio::time::Instant::now() < deadline => {
                failures += 1;
                tokio::time::sleep(back_off(failures).min(Duration::from_secs(2))).await;
            }
            outcome => return outcome,
        }
    }
}
