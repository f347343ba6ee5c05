//! The terms of a worker: it takes the lease, works, and when it cannot go on it stops everything of that term and begins
//! again, in the same process. What outlives a term is in [`Household`]; all else is made anew, as after a start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::{Bus, BusError, Topology};
use cluster::{Cluster, ClusterError, Lease, LeaseHeld, Lost};
use forge::Forges;
use git::{Git, SecretCredentials};
use render::Renderer;
use telemetry::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::WorkerConfig;
use crate::context::Context;
use crate::feedback::Publisher;
use crate::metrics::WorkerMetrics;
use crate::reports::ReportLog;
use crate::{application_sets, intake, outbox, poll, reconcile, run, sweep, watches};

/// What is half done is done again by whoever comes next; a moment lets most of it end well.
const MOMENT: Duration = Duration::from_secs(5);
/// A term that lasted for so long was a good one: the next trouble is a new one.
const GOOD_TERM: Duration = Duration::from_secs(60);

/// How often deliveries that found no queue are looked for.
const REROUTE: Duration = Duration::from_secs(60);

/// What a worker has from its start to its end.
pub(crate) struct Household {
    pub config: WorkerConfig,
    pub bus: Arc<dyn Bus>,
    /// As nobody's term: only the lease is asked for with it.
    pub cluster: Cluster,
    pub credentials: Arc<SecretCredentials>,
    pub forges: Forges,
    pub git: Git,
    pub renderer: Renderer,
    pub publisher: Publisher,
    pub reports: Arc<ReportLog>,
    pub metrics: WorkerMetrics,
    pub readiness: Readiness,
    /// Names this replica in the lease.
    pub identity: run::Identity,
}

/// How a term ended.
enum Ended {
    /// The worker is to stop.
    Asked,
    /// The lease is not ours any more.
    Lost(Lost),
    /// Something failed.
    Failed(anyhow::Error),
}

/// A kind that Lockstep cannot work without.
#[derive(Debug, thiserror::Error)]
#[error("the cluster has no {0} resource; install the CRDs: `lockstep crds | kubectl apply --server-side -f -`")]
pub(crate) struct NotServed(pub String);

/// One term after the other, until `shutdown`. Fails only before the first has begun to work, and only for what no waiting
/// mends.
pub(crate) async fn all(house: &Household, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let (mut begun, mut failures) = (false, 0);
    loop {
        let since = Instant::now();
        let ended = one(house, shutdown, &mut begun).await;
        if since.elapsed() > GOOD_TERM {
            failures = 0;
        }
        let error = match ended {
            Ended::Asked => return Ok(()),
            Ended::Lost(lost) => {
                tracing::warn!(
                    reason = %lost,
                    "worker.lease_lost: the work of this term has stopped; it begins again when the lease is free"
                );
                continue;
            }
            Ended::Failed(error) => error,
        };
        if !begun && !may_mend_itself(&error) && house.cluster.ready().await {
            return Err(error);
        }
        failures += 1;
        let pause = reconcile::back_off(failures);
        let sentence = format!("{error:#}");
        tracing::warn!(
            error = sentence,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "worker.stopped: it begins again"
        );
        house.readiness.set("started", Err(sentence));
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether the same may succeed later without a new configuration: somebody is away, or something is not there yet.
fn may_mend_itself(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cluster = cause.downcast_ref::<ClusterError>();
        cluster.is_some_and(|error| error.is_transient() || error.is_not_found())
            || matches!(cause.downcast_ref::<BusError>(), Some(BusError::Unavailable(_)))
            || cause.is::<NotServed>()
    })
}

async fn one(house: &Household, shutdown: &CancellationToken, begun: &mut bool) -> Ended {
    house.readiness.set("started", Err("standing by until the lease is free".into()));
    let lease = tokio::select! {
        () = shutdown.cancelled() => return Ended::Asked,
        lease = hold_lease(house) => match lease {
            Ok(lease) => lease,
            Err(error) => return Ended::Failed(error),
        },
    };
    tracing::info!(term = lease.term(), "worker.lease_held");
    house.readiness.set("started", Err("the cluster's applications have not been listed yet".into()));
    let ended = under(house, &lease, shutdown, begun).await;
    // One that cannot be given back in time expires.
    let _ = tokio::time::timeout(MOMENT, lease.release()).await;
    ended
}

async fn hold_lease(house: &Household) -> anyhow::Result<LeaseHeld> {
    let (namespace, name) = (&house.config.options.namespace, format!("lockstep-worker-{}", house.config.cluster));
    let held = Lease::hold(&house.cluster, namespace, &name, &house.identity.name).await;
    held.context("cannot take the worker's lease")
}

/// The work under one lease. When it returns nothing of it runs any more.
async fn under(house: &Household, lease: &LeaseHeld, shutdown: &CancellationToken, begun: &mut bool) -> Ended {
    let term = shutdown.child_token();
    let cluster = house.cluster.fenced(lease.fence());
    let ctx = tokio::select! {
        () = shutdown.cancelled() => return Ended::Asked,
        lost = lease.lost() => return Ended::Lost(lost),
        ctx = prepare(house, cluster) => match ctx {
            Ok(ctx) => Arc::new(ctx),
            Err(error) => return Ended::Failed(error),
        },
    };
    let mut tasks = JoinSet::new();
    let mut reconciling = JoinSet::new();
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ended::Asked,
        lost = lease.lost() => Ended::Lost(lost),
        error = work(house, &ctx, (&mut tasks, &mut reconciling), &term, begun) => Ended::Failed(error),
    };
    term.cancel();
    ctx.queue.close();
    for running in [&mut reconciling, &mut tasks] {
        let _ = tokio::time::timeout(MOMENT, async { while running.join_next().await.is_some() {} }).await;
        running.shutdown().await;
    }
    ctx.tasks.end().await;
    ended
}

async fn prepare(house: &Household, cluster: Cluster) -> anyhow::Result<Context> {
    house
        .bus
        .declare(&Topology::for_cluster(&house.config.cluster))
        .await
        .context("cannot set up this cluster's queues")?;
    reroute(house.bus.as_ref()).await;
    run::assemble(house, cluster).await
}

/// What was accepted while no worker's queue existed is waiting for one.
async fn reroute(bus: &dyn Bus) {
    match bus.reroute().await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, "bus.rerouted: deliveries that came while this cluster's queue did not exist");
        }
        Err(error) => tracing::warn!(%error, "bus.not_rerouted"),
    }
}

/// The broker may lose a queue and get it back: what came in between is looked for now and then, not only at a start.
async fn reroute_now_and_then(bus: Arc<dyn Bus>, term: CancellationToken) {
    loop {
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep(REROUTE) => reroute(bus.as_ref()).await,
        }
    }
}

/// Starts everything, and returns when something of it has ended.
async fn work(
    house: &Household,
    ctx: &Arc<Context>,
    (tasks, reconciling): (&mut JoinSet<anyhow::Result<()>>, &mut JoinSet<anyhow::Result<()>>),
    term: &CancellationToken,
    begun: &mut bool,
) -> anyhow::Error {
    if let Err(error) = start_watches(ctx, house.credentials.clone(), tasks, term).await {
        return error;
    }
    *begun = true;
    house.readiness.set("started", Ok(()));
    tracing::info!(cluster = house.config.cluster, applications = ctx.registry.count(), "worker.started");
    let before = poll::last_known(ctx);
    endless(reconciling, reconcile::run(ctx.clone()));
    tasks.spawn({
        let (ctx, term) = (ctx.clone(), term.clone());
        async move {
            tokio::select! {
                () = term.cancelled() => return Ok(()),
                () = run::first_renders(&ctx) => {}
            }
            intake::run(ctx, term).await
        }
    });
    tasks.spawn(outbox::run(ctx.clone(), house.forges.clone(), term.clone()));
    endless(tasks, {
        let (ctx, term) = (ctx.clone(), term.clone());
        async move {
            tokio::select! {
                () = term.cancelled() => return,
                () = run::first_renders(&ctx) => {}
            }
            poll::run(ctx, before, term).await;
        }
    });
    endless(tasks, reroute_now_and_then(house.bus.clone(), term.clone()));
    endless(tasks, sweep::run(ctx.clone(), term.clone()));
    endless(tasks, application_sets::relist(ctx.clone(), term.clone()));
    tokio::select! {
        Some(ended) = tasks.join_next() => reason(ended),
        Some(ended) = reconciling.join_next() => reason(ended),
        else => anyhow::anyhow!("nothing runs any more"),
    }
}

/// Why a task that should go on has ended.
fn reason(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("a part of the worker ended without being asked to"),
        Ok(Err(error)) => error,
        Err(error) => anyhow::Error::from(error).context("a part of the worker broke"),
    }
}

/// A task that goes on until the worker is stopped, and cannot fail.
fn endless(tasks: &mut JoinSet<anyhow::Result<()>>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ok(())
    });
}

async fn start_watches(
    ctx: &Arc<Context>,
    credentials: Arc<SecretCredentials>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    term: &CancellationToken,
) -> anyhow::Result<()> {
    let listed = [(); 4].map(|()| CancellationToken::new());
    tasks.spawn(watches::secrets(ctx.clone(), credentials, listed[0].clone(), term.clone()));
    tasks.spawn(watches::app_projects(ctx.clone(), listed[1].clone(), term.clone()));
    tasks.spawn(watches::settings(ctx.clone(), listed[2].clone(), term.clone()));
    for started in &listed[..3] {
        first(started, tasks).await?;
    }
    tasks.spawn(watches::applications(ctx.clone(), listed[3].clone(), term.clone()));
    first(&listed[3], tasks).await?;
    tasks.spawn(watches::application_sets(ctx.clone(), term.clone()));
    endless(tasks, watches::live(ctx.clone(), term.clone()));
    Ok(())
}

/// Waits for a first list, or for the task that ends instead.
async fn first(started: &CancellationToken, tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        () = started.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => Err(reason(ended)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_failures_of_a_start_are_waited_for() {
        let unreachable = ClusterError::Unreachable { server: "https://c".into(), reason: "refused".into() };
        let forbidden = ClusterError::Forbidden { what: "list".into(), message: "no".into(), acting_as: None };
        let cases: [(anyhow::Error, bool); 7] = [
            (unreachable.into(), true),
            (NotServed("AppProject".into()).into(), true),
            (BusError::Unavailable("refused".into()).into(), true),
            (BusError::Denied("password".into()).into(), false),
            (forbidden.into(), false),
            (ClusterError::Config("no kubeconfig".into()).into(), false),
            (anyhow::anyhow!("cannot use the folder for Git mirrors"), false),
        ];
        for (error, mends) in cases {
            let error = error.context("worker nonprod");
            assert_eq!(may_mend_itself(&error), mends, "{error:#}");
        }
    }
}
