//! One application, from the commit that is wanted of it to what the cluster and the forge are told. Eight steps, a file
//! each, in the order of the picture:
//!
//! [`resolve`] → [`render`] → [`compare`] → [`plan`] → [`gate`] → [`apply`] → [`settle`] → [`report`]
//!
//! Reconciling is level-triggered: whatever the cause, the same steps run on what is wanted now and what is live now, so it
//! may be done again at any time, also after a kill in the middle. A deletion takes a way of its own, [`delete`].

pub mod apply;
pub mod bearing;
pub mod cancel;
pub mod compare;
pub mod delete;
pub mod discreet;
pub mod drift;
pub mod explain;
pub mod gate;
pub mod hooks;
pub mod orphans;
pub mod permit;
pub mod plan;
pub mod preflight;
pub mod render;
pub mod report;
pub mod resolve;
pub mod settle;
pub mod shared;
pub mod status;
pub mod written;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::compare::CompareRules;
use resources::{Application, SyncStatus, annotations};

use self::permit::Permitted;
use crate::queue::Merge;
use crate::registry::{Desired, Managed};
use crate::timeline::Timeline;
use crate::tracker::{Conclusion, Verdict};
use crate::wanted::Wanted;
use crate::{AppId, Context, projects};

/// The field managers whose fields are ours: Argo CD's too, so that what it applied before is not left behind.
const MANAGERS: [&str; 2] = ["lockstep", ARGO_CD];
/// Argo CD's field manager.
pub(crate) const ARGO_CD: &str = "argocd-controller";
/// After so many passes in a row that could not come to an end, the Application's conditions say so.
const TROUBLED: u32 = 4;

/// Why an application is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The worker has started.
    Start,
    /// Somebody changed the Application (or its project).
    Changed,
    /// A delivery wants another commit.
    Delivery,
    /// A live object changed.
    Live,
    /// Somebody asked for a refresh; also: forget the cached render.
    HardRefresh,
    /// Something that failed for the moment is tried again.
    Retry,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Changed => "command",
            Self::Delivery => "delivery",
            Self::Live => "drift",
            Self::HardRefresh => "refresh",
            Self::Retry => "retry",
        }
    }
}

/// All causes since the last time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Causes(BTreeSet<Cause>);

impl Causes {
    /// One cause.
    pub fn of(cause: Cause) -> Self {
        Self(BTreeSet::from([cause]))
    }

    /// Whether this is among them.
    pub fn has(&self, cause: Cause) -> bool {
        self.0.contains(&cause)
    }

    /// Whether nothing but live changes is among them: what is desired is then known.
    pub fn only_live(&self) -> bool {
        self.0.iter().all(|cause| *cause == Cause::Live)
    }
}

impl Merge for Causes {
    fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

/// Why the steps ended early.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// For the moment: the cluster, the forge or the broker is away. Nothing is concluded.
    Later(String),
    /// It cannot be done until something changes.
    Failed {
        /// The condition's type, as Argo CD's users know it.
        condition: &'static str,
        /// For a person.
        sentence: String,
        /// What the commit's check says.
        verdict: Verdict,
    },
    /// A newer commit is wanted: begin again with that.
    Superseded,
}

impl Stop {
    /// A spec that cannot be followed.
    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::Failed {
            condition: resources::conditions::INVALID_SPEC_ERROR,
            sentence: sentence.into(),
            verdict: Verdict::Error,
        }
    }

    /// What is desired cannot be told.
    pub fn comparison(sentence: impl Into<String>) -> Self {
        Self::Failed {
            condition: resources::conditions::COMPARISON_ERROR,
            sentence: sentence.into(),
            verdict: Verdict::Error,
        }
    }

    /// What is desired could not be brought about.
    pub fn sync(sentence: impl Into<String>) -> Self {
        Self::Failed {
            condition: resources::conditions::SYNC_ERROR,
            sentence: sentence.into(),
            verdict: Verdict::Failure,
        }
    }
}

impl From<cluster::ClusterError> for Stop {
    fn from(error: cluster::ClusterError) -> Self {
        if error.is_transient() { Self::Later(error.to_string()) } else { Self::comparison(error.to_string()) }
    }
}

/// One run through the steps.
pub struct Pass<'a> {
    /// What is shared.
    pub ctx: &'a Arc<Context>,
    /// The application and what is remembered of it.
    pub managed: &'a Arc<Managed>,
    /// The application as it was when the pass began.
    pub application: Arc<Application>,
    /// Why.
    pub causes: &'a Causes,
    /// What version of the wanted commits the pass works on.
    pub wanted_version: u64,
    /// When each step was reached.
    pub timeline: Timeline,
    /// The cluster as whoever writes the application's objects: the project may name a service account for it.
    pub writer: Cluster,
    rules: OnceLock<CompareRules>,
    scope: Scope,
    /// Which of the wanted commits it has gone past.
    bearing: bearing::Bearing,
}

/// Which of the wanted commits a pass can speak of.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// It did not ask where the revisions stand: of a commit that could not be rendered it knows nothing new.
    remembered: bool,
    /// It has compared before, and since then only objects have changed.
    compared: bool,
    /// It is about these commits, which somebody asked for, and no others.
    only: Option<Vec<String>>,
    /// The last sync failed: what it would have taken over is looked for.
    failed: bool,
}

impl<'a> Pass<'a> {
    /// A pass that begins now and writes as ourselves.
    pub fn new(
        ctx: &'a Arc<Context>,
        managed: &'a Arc<Managed>,
        application: Arc<Application>,
        causes: &'a Causes,
    ) -> Self {
        let (wanted_version, timeline) = {
            let state = managed.state();
            (state.wanted_version, state.timeline.clone())
        };
        let writer = ctx.cluster.clone();
        Self {
            ctx,
            managed,
            application,
            causes,
            wanted_version,
            timeline,
            writer,
            rules: OnceLock::new(),
            scope: Scope::default(),
            bearing: bearing::Bearing::default(),
        }
    }

    /// What of a difference counts: the application's word and the system's.
    pub fn rules(&self) -> &CompareRules {
        self.rules.get_or_init(|| {
            let settings = self.ctx.customizations.get();
            CompareRules::with_system(&self.application.spec.ignore_differences, &settings.system, &MANAGERS)
        })
    }

    /// Whether what the pass finds says anything about a wanted commit.
    fn speaks_of(&self, wanted: &Wanted) -> bool {
        let elsewhere = self.scope.only.as_ref().is_some_and(|only| !only.contains(&wanted.commit));
        let unseen = self.scope.remembered && wanted.verdict == Some(Verdict::Error);
        !elsewhere && !unseen
    }

    /// Whether something newer is wanted than what the pass works on.
    pub fn is_superseded(&self) -> bool {
        self.managed.state().wanted_version != self.wanted_version
    }

    /// What tracking calls the application.
    pub fn tracking_name(&self) -> String {
        self.managed.id.tracking_name(self.ctx.namespace())
    }
}

/// Reconciles applications until the queue is closed. Returns when every pass has ended.
pub async fn run(ctx: Arc<Context>) {
    let mut passes = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            next = ctx.queue.pop() => {
                let Some((id, causes)) = next else { break };
                let ctx = ctx.clone();
                passes.spawn(async move {
                    let turn = Turn { ctx, id };
                    // Whoever has many objects does not hold up those who have few.
                    let flow = turn.id.to_string();
                    cluster::in_flow(flow, reconcile(&turn.ctx, &turn.id, &causes)).await;
                });
            }
            Some(ended) = passes.join_next(), if !passes.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "reconcile.panicked: this is a defect of Lockstep, please report it");
                }
            }
        }
    }
    passes.shutdown().await;
}

/// An application's turn. It ends with the pass, however that ends: one that panics is tried again after a while.
struct Turn {
    ctx: Arc<Context>,
    id: AppId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.ctx.queue.done(&self.id);
        if std::thread::panicking() {
            self.ctx.queue.push_after(self.id.clone(), Causes::of(Cause::Retry), Duration::from_secs(60));
        }
    }
}

/// Runs the steps once for one application.
#[tracing::instrument(name = "reconcile", skip_all, fields(application = %id))]
pub async fn reconcile(ctx: &Arc<Context>, id: &AppId, causes: &Causes) {
    let Some(managed) = ctx.registry.get(id) else { return };
    let application = managed.application();
    if application.metadata.deletion_timestamp.is_some() {
        managed.state().rendered_once = true;
        Box::pin(delete::advance(ctx, &managed)).await;
        return;
    }
    if !projects::is_ours(&application.spec.destination, ctx.cluster_name(), ctx.cluster.server()) {
        return;
    }
    let skips = application.annotation(annotations::SKIP_RECONCILE) == Some("true");
    {
        let mut state = managed.state();
        if state.cause != "delivery" || state.wanted.iter().all(|wanted| !wanted.is_pending()) {
            state.cause = causes.0.iter().next().map_or("start", |cause| cause.name());
        }
    }
    let mut pass = Pass::new(ctx, &managed, application, causes);
    if skips {
        managed.state().rendered_once = true;
        return Box::pin(report::skipped(&pass)).await;
    }
    let outcome = steps(&mut pass).await.map_err(|stop| discreet::stop(&pass, stop));
    managed.state().rendered_once = true;
    match outcome {
        Ok(done) => Box::pin(report::done(&pass, done)).await,
        Err(Stop::Superseded) => {
            tracing::debug!("reconcile.superseded: a newer commit is wanted");
            // A render that was given up has not done what a refresh asked for.
            let again = if causes.has(Cause::HardRefresh) { Cause::HardRefresh } else { Cause::Retry };
            ctx.queue.push(id.clone(), Causes::of(again));
        }
        Err(Stop::Later(sentence)) => {
            let failures = managed.failed_again();
            if ctx.troubles.is_news(&sentence, Instant::now()) {
                tracing::warn!(%sentence, failures, "reconcile.later: trying again");
            } else {
                tracing::debug!(%sentence, failures, "reconcile.later: trying again");
            }
            Box::pin(report::progress(&pass, &sentence)).await;
            if failures == TROUBLED {
                Box::pin(report::troubled(&pass, &sentence)).await;
            }
            ctx.queue.push_after(id.clone(), Causes::of(Cause::Retry), back_off(failures));
        }
        Err(Stop::Failed { condition, sentence, verdict }) => {
            Box::pin(report::failed(&pass, condition, Conclusion { verdict, sentence })).await;
        }
    }
}

/// What the steps came to.
pub struct Done {
    /// What is desired.
    pub desired: Arc<Desired>,
    /// How it compares with what is live now.
    pub comparison: compare::Comparison,
    /// The operation, if one was run.
    pub operation: Option<apply::Performed>,
    /// What the application waits for, if an operation is needed and may not start.
    pub waiting: Option<String>,
    /// Why it is not synced by itself although it should be: a sync failed before.
    pub failing: Option<String>,
    /// Objects of its namespace that no application owns, in a sentence, where the project wants to know.
    pub orphaned: Option<String>,
    /// What differs from the commit that was synced, if nothing has been done about it.
    pub drift: Option<String>,
}

/// After a start every application waits here at once for its turn to render: each step is boxed, so that what waits is
/// small.
async fn steps(pass: &mut Pass<'_>) -> Result<Done, Stop> {
    let permitted = permit::permitted(pass.ctx, &pass.application)?;
    let mut done = Box::pin(operate(pass, &permitted)).await?;
    let heals = pass.application.spec.automated().is_some_and(|automated| automated.self_heal);
    if done.operation.is_none() && !heals {
        done.drift = drift::sentence(pass, &done);
    }
    done.orphaned = Box::pin(orphans::sentence(pass, permitted.project())).await;
    Box::pin(explain::explain(pass, &mut done.comparison)).await;
    Ok(done)
}

/// Carries out what is to be done, if anything is.
async fn operate(pass: &mut Pass<'_>, permitted: &Permitted) -> Result<Done, Stop> {
    plan::can_be_followed(&pass.application)?;
    pass.writer = gate::writer(pass, permitted.project())?;
    let desired = desired(pass, permitted).await?;
    pass.timeline.mark("rendered");
    pass.scope.failed = pass.managed.state().refused > 0 || has_failed(&pass.application);
    let mut comparison = Box::pin(compare::compare(pass, &desired)).await?;
    comparison.hooks_due = hooks::are_due(pass, &desired);
    pass.scope.compared = true;
    pass.timeline.mark("compared");
    let waiting = held_by_a_pin(pass);
    let mut done = Done { desired, comparison, operation: None, waiting, failing: None, orphaned: None, drift: None };

    let out = done.comparison.sync() == SyncStatus::OutOfSync;
    if !out && !plan::is_asked(&pass.application) {
        return Ok(done);
    }
    let open = plan::open_states(&pass.application, &done.comparison);
    let partial = open.is_some();
    let mut states = open.unwrap_or_else(|| plan::states(&done.comparison));
    let request = match plan::request(pass, &done.desired, &states, done.comparison.sync()) {
        plan::Decided::Run(request) => *request,
        plan::Decided::Nothing(failing) => {
            done.failing = failing;
            return Ok(done);
        }
    };
    if partial && !request.drift {
        states = plan::states(&done.comparison);
    }
    let begins = !request.drift && !request.resumed;
    if begins && let Some(sentence) = gate::waits_for_others(pass)? {
        done.waiting = Some(sentence);
        return Ok(done);
    }
    let plan = Box::pin(plan::plan(pass, &request, &done.desired, &states)).await?;
    drop(states);
    pass.timeline.mark("planned");
    if request.automated && plan.is_empty() {
        return Ok(done);
    }
    let approved = match gate::gate(pass, permitted, &request, &plan)? {
        gate::Decided::Approved(approved) => approved,
        gate::Decided::Waiting { sentence, until } => {
            if let Some(until) = until {
                pass.ctx.queue.push_after(pass.managed.id.clone(), Causes::of(Cause::Retry), until);
            }
            done.waiting = Some(sentence);
            return Ok(done);
        }
    };
    pass.timeline.mark("gated");
    drop(plan);
    let drifted = if request.drift { drift::in_words(&done.comparison) } else { None };
    if request.drift && drift::may_be_a_later_holders(&done.comparison) {
        pass.ctx.cluster.confirms_lease().await?;
    }
    let mut performed = Box::pin(apply::apply(pass, &request, &approved)).await?;
    if let Some(drifted) = drifted {
        performed.tell_healed(drifted);
    }
    pass.timeline.mark("applied");
    if !performed.dry_run {
        pass.scope.failed = performed.failure.is_some();
        let due = done.comparison.hooks_due && (performed.failure.is_some() || performed.selective);
        done.comparison = Box::pin(compare::compare(pass, &done.desired)).await?;
        done.comparison.hooks_due = due;
    }
    done.operation = Some(performed);
    Ok(done)
}

/// What Git wants: what was rendered last if nothing but live objects has changed, or else resolved and rendered.
async fn desired(pass: &mut Pass<'_>, permitted: &Permitted) -> Result<Arc<Desired>, Stop> {
    let desired = match compare::remembered(pass) {
        Some(desired) => {
            pass.scope.remembered = true;
            pass.bearing = Box::pin(bearing::of_desired(pass, &desired)).await;
            desired
        }
        None => {
            let resolved = resolve::resolve(pass, permitted).await?;
            let at: Vec<_> = resolved.iter().map(|source| (source.tracked.clone(), source.commit.clone())).collect();
            pass.bearing = Box::pin(bearing::of(pass, &at)).await;
            let signed = Box::pin(permit::signed(pass.ctx, permitted, &pass.application, resolved)).await?;
            pass.timeline.mark("resolved");
            let desired = Box::pin(cancel::while_wanted(pass, render::render(pass, signed))).await?;
            pass.managed.state().broken = None;
            desired
        }
    };
    if plan::is_at_another_revision(&pass.application) {
        pass.scope.only = Some(desired.commits.clone());
    }
    pass.managed.state().rendered_once = true;
    Ok(desired)
}

fn has_failed(application: &Application) -> bool {
    let last = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    last.is_some_and(|last| last.phase.is_final() && !last.phase.is_success())
}

/// A commit that is wanted of an application that is pinned to another one has to wait, however well the application is.
fn held_by_a_pin(pass: &Pass<'_>) -> Option<String> {
    let pin = engine::pin::pin(&pass.application).ok().flatten()?;
    let state = pass.managed.state();
    let others = state.wanted.iter().any(|wanted| wanted.is_pending() && !pin.commits.contains(&wanted.commit));
    others.then(|| pin.sentence(&pass.application))
}

/// A fifth of a second, doubled with each failure, half a minute at most.
pub fn back_off(failures: u32) -> Duration {
    Duration::from_millis(200)
        .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_half_a_minute() {
        let millis: Vec<u128> = [0, 1, 2, 5, 9, 40].map(|failures| back_off(failures).as_millis()).into();
        assert_eq!(millis, [200, 200, 400, 3200, 30_000, 30_000]);
    }

    #[test]
    fn causes_merge() {
        let mut causes = Causes::of(Cause::Live);
        assert!(causes.only_live());
        causes.merge(Causes::of(Cause::Delivery));
        assert!(!causes.only_live() && causes.has(Cause::Delivery) && causes.has(Cause::Live));
    }
}
