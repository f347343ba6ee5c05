//! From the queue of this cluster to the applications: which of them a delivery concerns, what is wanted of each, and only
//! then the acknowledgement.
//!
//! Deliveries of one repository are handled one after the other, those of different repositories side by side.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Received, names};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use git::{Commit, GitError, Remote, RepositoryKey, RepositoryUrl};
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wire::delivery::Event;
use wire::{Delivery, Envelope, PullRequestAction, Push, TraceParent};

use crate::index::Tracked;
use crate::reconcile::{Cause, Causes, render};
use crate::tracker::{CommitKey, Concerned, Conclusion, Origin, Verdict};
use crate::wanted::{Taken, Wanted};
use crate::ways::{self, Job, Routed};
use crate::{AppId, Context, heads};

/// Messages taken from the queue and not yet acknowledged.
const PREFETCH: u16 = 256;
/// A forge's API and Git can lag behind its webhook: so long is a commit asked for again.
const LAG: Duration = Duration::from_secs(300);
/// A forge that is well and does not show a commit for so long does not have it any more: somebody has pushed over it.
const OVERTAKEN: Duration = Duration::from_secs(60);

/// What to do with the message afterwards.
pub enum Handled {
    /// Everything it asks for is recorded.
    Done,
    /// Later.
    Retry(Duration, String),
    /// Never; a person has to look.
    Dead(String),
    /// What this says, later; the next message need not wait for it.
    Going(BoxFuture<'static, Handled>),
}

/// What waits in a lane.
pub enum Work {
    /// A message of this cluster's queue.
    Received(Received),
    /// What polling found.
    Found(Found),
}

/// What polling found by these ways, and who wants to know what came of it.
pub struct Found {
    delivery: Box<Delivery>,
    by: Vec<Remote>,
    attempt: u32,
    told: oneshot::Sender<Handled>,
}

/// Consumes this cluster's queue until the worker is stopped.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let queue = names::worker_queue(&ctx.config.cluster);
    let mut consumer = ctx.bus.consume(&queue, PREFETCH).await.context("cannot consume this cluster's queue")?;
    let mut lanes = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            received = consumer.next() => {
                let Some(received) = received else {
                    anyhow::bail!("the bus ended the consumer of {queue}; start the worker again once the bus is well");
                };
                let lane = lane_of(&received);
                if let Some(first) = ctx.lanes.enter(&lane, Work::Received(received)) {
                    lanes.spawn(serve(ctx.clone(), lane, first));
                }
            }
            Some(ended) = lanes.join_next(), if !lanes.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "intake.panicked: this is a defect of Lockstep, please report it");
                }
            }
        }
    }
    // What is not handled to its end goes back to the queue.
    lanes.shutdown().await;
    Ok(())
}

/// Messages with the same lane keep their order.
fn lane_of(received: &Received) -> String {
    let envelope = Envelope::try_from(&received.message).ok();
    let delivery = envelope.and_then(|envelope| envelope.open::<Delivery>().ok());
    delivery.as_ref().map(lane_of_delivery).unwrap_or_default()
}

fn lane_of_delivery(delivery: &Delivery) -> String {
    delivery.repository.as_ref().map(wire::Repository::full_name).unwrap_or_default().to_lowercase()
}

/// Somebody's turn in a lane. However it ends, the lane is free afterwards; what waits in it goes back to where it came from.
struct LaneTurn {
    ctx: Arc<Context>,
    lane: String,
    /// The lane is gone already, and may be somebody else's by now.
    ended: bool,
}

impl Drop for LaneTurn {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.ctx.lanes.abandon(&self.lane));
        }
    }
}

/// Handles the lane's work until there is none left.
async fn serve(ctx: Arc<Context>, lane: String, first: Work) {
    let mut turn = LaneTurn { ctx, lane, ended: false };
    let mut next = Some(first);
    while let Some(work) = next {
        match work {
            // Its connection is lost: it comes again over the new one, and working on both would be for nothing.
            Work::Received(received) if received.is_lost() => drop(received),
            Work::Received(received) => serve_received(&turn.ctx, received).await,
            Work::Found(Found { delivery, by, attempt, told }) => {
                let _ = told.send(handle_delivery(&turn.ctx, &delivery, Some(&by), None, attempt).await);
            }
        }
        next = turn.ctx.lanes.next(&turn.lane);
        turn.ended = next.is_none();
    }
}

async fn serve_received(ctx: &Arc<Context>, received: Received) {
    // A message that makes the worker panic does so each time it comes.
    let handled = AssertUnwindSafe(handle(ctx, &received)).catch_unwind().await;
    let defect = "handling it ended in a panic, which is a defect of Lockstep: please report it with the worker's log";
    match handled.unwrap_or_else(|_| Handled::Dead(defect.into())) {
        Handled::Going(rest) => ctx.tasks.spawn(async move { settle(received, rest.await).await }),
        handled => settle(received, handled).await,
    }
}

async fn settle(received: Received, handled: Handled) {
    let done = match handled {
        Handled::Done => received.ack().await,
        Handled::Retry(after, reason) => {
            tracing::info!(%reason, attempt = received.attempt, "delivery.later: it comes again");
            received.retry(after, &reason).await
        }
        Handled::Dead(reason) => {
            tracing::warn!(%reason, "delivery.dead: see `lockstep deliveries dead`");
            received.dead_letter(&reason).await
        }
        Handled::Going(rest) => return Box::pin(async move { settle(received, rest.await).await }).await,
    };
    if let Err(error) = done {
        // The bus gives the message again; handling it twice changes nothing.
        tracing::warn!(%error, "delivery.not_settled");
    }
}

async fn handle(ctx: &Arc<Context>, received: &Received) -> Handled {
    let envelope = match Envelope::try_from(&received.message) {
        Ok(envelope) => envelope,
        Err(error) => return Handled::Dead(error.to_string()),
    };
    if envelope.r#type == wire::types::COMMAND {
        return match envelope.open::<wire::Command>() {
            Ok(command) => crate::commands::handle(ctx, &command).await,
            Err(error) => Handled::Dead(error.to_string()),
        };
    }
    match envelope.open::<Delivery>() {
        Ok(delivery) => handle_delivery(ctx, &delivery, None, envelope.traceparent.as_ref(), received.attempt).await,
        Err(error) => Handled::Dead(error.to_string()),
    }
}

/// Handles what polling found by these ways as if a delivery had told of it, in the lane of its repository; what one address shows
/// says nothing of another. Nothing brings it again, so it is tried until it is done.
pub async fn handle_found(ctx: &Arc<Context>, delivery: &Delivery, by: &[Remote]) {
    let lane = lane_of_delivery(delivery);
    let mut attempt = 1;
    loop {
        let (told, handled) = oneshot::channel();
        let found = Found { delivery: Box::new(delivery.clone()), by: by.to_vec(), attempt, told };
        if let Some(first) = ctx.lanes.enter(&lane, Work::Found(found)) {
            // A task of its own: whoever polls may be stopped, and what came into the lane meanwhile is not.
            ctx.tasks.spawn(serve(ctx.clone(), lane.clone(), first));
        }
        let handled = match handled.await {
            Ok(Handled::Going(rest)) => Ok(rest.await),
            handled => handled,
        };
        match handled {
            Ok(Handled::Done) => return,
            Ok(Handled::Retry(after, reason)) => {
                tracing::warn!(%reason, "poll.later: trying again");
                attempt += 1;
                tokio::time::sleep(after).await;
            }
            Ok(Handled::Dead(reason)) => return tracing::warn!(%reason, "poll.not_handled"),
            Ok(Handled::Going(rest)) => return drop(rest.await),
            // The worker stops; what moved is found again after the next start.
            Err(_) => return,
        }
    }
}

/// Handles one delivery.
async fn handle_delivery(
    ctx: &Arc<Context>,
    delivery: &Delivery,
    only: Option<&[Remote]>,
    trace: Option<&TraceParent>,
    attempt: u32,
) -> Handled {
    ctx.metrics.deliveries.inc();
    match &delivery.event {
        Some(Event::Push(push)) => {
            let repositories = followed_repositories(ctx, delivery);
            if repositories.is_empty() {
                return Handled::Done;
            }
            handle_push(ctx, delivery, push, (&repositories, only), trace, attempt).await
        }
        Some(Event::PullRequest(pull)) => handle_pull_request(ctx, delivery, pull, trace, attempt).await,
        None => {
            Handled::Dead("the delivery carries no event; it comes from a newer receiver: update the worker".into())
        }
    }
}

/// The delivery's repository, as far as something in this cluster follows it: a forge may offer it under several hosts.
fn followed_repositories(ctx: &Context, delivery: &Delivery) -> Vec<RepositoryKey> {
    let Some(repository) = &delivery.repository else { return Vec::new() };
    let mut found: Vec<RepositoryKey> = Vec::new();
    for address in repository.clone_urls.iter().chain([&repository.html_url]) {
        let Ok(url) = RepositoryUrl::parse(address) else { continue };
        let key = url.key();
        if !found.contains(&key) && ctx.follows(&key) {
            found.push(key);
        }
    }
    found
}

async fn handle_push(
    ctx: &Arc<Context>,
    delivery: &Delivery,
    push: &Push,
    (repositories, only): (&[RepositoryKey], Option<&[Remote]>),
    trace: Option<&TraceParent>,
    attempt: u32,
) -> Handled {
    if push.deleted {
        return Handled::Done;
    }
    let default_branch = delivery.repository.as_ref().map_or("", |repository| repository.default_branch.as_str());
    let origin = origin_of(delivery, trace);
    let mut handled: Option<Handled> = None;
    let mut going = Vec::new();
    for repository in repositories {
        let places: Vec<Tracked> = ctx
            .followed(repository)
            .into_iter()
            .filter(|place| only.is_none_or(|only| only.contains(&place.remote)))
            .filter(|place| may_follow(&place.revision, &push.r#ref, default_branch))
            .collect();
        let key = CommitKey { repository: repository.clone(), commit: push.pushed_commit().to_owned() };
        if places.is_empty() {
            // The pull request's own event brings the check of a commit that only a preview follows.
            if !ctx.is_previewed(repository) && !may_be_tag_object(push) {
                ctx.begin(&key, &origin, Concerned::new(), &[]).confirmed().await;
            }
            continue;
        }
        let (delivery, push, origin) = (delivery.clone(), push.clone(), origin.clone());
        match ways::route(Arc::new(Job { ctx: ctx.clone(), delivery, push, origin, key, attempt }), places).await {
            Routed::All(answer) => handled = answer.or(handled),
            Routed::Some(rest) => going.push(rest),
        }
    }
    if going.is_empty() {
        return handled.unwrap_or(Handled::Done);
    }
    Handled::Going(Box::pin(async move {
        let answers = futures::future::join_all(going).await;
        answers.into_iter().flatten().chain(handled).next().unwrap_or(Handled::Done)
    }))
}

/// ApplicationSets that could not be expanded hold the commit's check open for as long as a forge may lag; then they have
/// failed, and go on by themselves.
pub(crate) fn wait_or_give_up(
    ctx: &Arc<Context>,
    delivery: &Delivery,
    waiting: Vec<(AppId, String)>,
    concluded: &mut Vec<(AppId, Conclusion)>,
) -> Vec<(AppId, String)> {
    if is_young(delivery) {
        return waiting;
    }
    for (set, sentence) in waiting {
        ctx.application_sets.expand_later(ctx, &set);
        concluded.push((set, Conclusion { verdict: Verdict::Error, sentence }));
    }
    Vec::new()
}

fn is_young(delivery: &Delivery) -> bool {
    age_of(delivery) < LAG
}

fn age_of(delivery: &Delivery) -> Duration {
    let age = Timestamp::now().as_millisecond() - delivery.received_at_unix_ms;
    Duration::from_millis(u64::try_from(age).unwrap_or_default())
}

/// Half a second, doubled with each attempt, half a minute at most.
pub(crate) fn pause_before(attempt: u32) -> Duration {
    (Duration::from_millis(250) * 2u32.pow(attempt.clamp(1, 7))).min(Duration::from_secs(30))
}

/// What a push means for the applications.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) concerned: BTreeSet<AppId>,
    /// Concerned, and already at a newer commit that changes them again.
    pub(crate) superseded: Vec<(AppId, String)>,
    /// Where each place stands now.
    pub(crate) heads: Vec<(Tracked, Commit)>,
    /// The commit that was pushed: of an annotated tag, its commit.
    pub(crate) pushed: String,
}

/// Why a commit cannot be routed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// It is not on the ref any more: somebody pushed over it.
    #[error("no longer on {reference}: nothing to do")]
    NotReachable { reference: String },
    /// It cannot be had.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl RouteError {
    /// Whether it may work in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Git(error) if error.is_transient() || matches!(error, GitError::NotThereYet { .. }))
    }
}

pub(crate) async fn concerned_by_push(
    ctx: &Arc<Context>,
    remote: &Remote,
    push: &Push,
    default_branch: &str,
    places: &[Tracked],
) -> Result<Outcome, RouteError> {
    let repository = ctx.git.repository(remote);
    let fetched = repository.fetch_pushed(&Commit::parse(&push.after)?, &push.r#ref).await?;
    let pushed = fetched.pushed.clone();
    let mut outcome = Outcome { pushed: pushed.to_string(), ..Outcome::default() };
    if !fetched.reachable {
        return Err(RouteError::NotReachable { reference: push.r#ref.clone() });
    }
    for place in places {
        // What a constraint or an ambiguous name means now, only the forge can say; and what the default branch is, if the
        // payload does not.
        let told = if place.revision == "HEAD" {
            !default_branch.is_empty()
        } else {
            names_exactly(&place.revision, &push.r#ref)
        };
        let commit = if told { pushed.clone() } else { heads::ask(&ctx.git, place).await? };
        let mut head = ctx.heads.hold(place).await;
        if !told && commit != pushed && head.commit().is_none_or(|known| *known == commit) {
            // Another branch, or a tag that is not the newest: nothing has moved here.
            head.advance(commit);
            continue;
        }
        if head.commit().is_none() && commit == pushed && fetched.tip != pushed {
            // After a start: the ref may stand further on than this delivery tells.
            head.advance(fetched.tip.clone());
        }
        let known = head.commit().cloned();
        // A forced push may go back to a commit that the one before contains.
        let goes_back = |head: &Commit| fetched.tip == commit && before(push).as_ref() == Some(head);
        let (from, newer) = match known {
            Some(head) if head == commit => (before(push), None),
            Some(lost) if !repository.has(&lost) => {
                // The mirror was made anew: what the forge says now is the newest.
                head.advance(if commit == pushed { fetched.tip.clone() } else { commit.clone() });
                (before(push), None)
            }
            Some(head) if !goes_back(&head) && repository.is_ancestor(&commit, &head)? => (before(push), Some(head)),
            Some(before) => {
                head.advance(commit.clone());
                (Some(before), None)
            }
            None => {
                head.advance(commit.clone());
                (before(push), None)
            }
        };
        drop(head);
        let concerned = match from.filter(|from| repository.has(from)) {
            Some(from) => {
                let concerned = ctx.concerned(place, &repository.changed_paths(&from, &commit)?);
                touched(ctx, place, &from, &commit, concerned).await
            }
            // Nothing to compare with: a new branch, or history we have not seen. Everything may have changed.
            None => ctx.concerned(place, &[String::new()]),
        };
        match newer {
            None => {
                outcome.heads.push((place.clone(), commit));
                outcome.concerned.extend(concerned);
            }
            Some(head) => {
                let again = ctx.concerned(place, &repository.changed_paths(&commit, &head)?);
                let again = touched(ctx, place, &commit, &head, again).await;
                for application in concerned {
                    if let Some(newer) = wanted_newer(ctx, &repository, &remote.key(), &application, &commit) {
                        // Deliveries have come out of order: what is wanted already contains this commit.
                        outcome.superseded.push((application, newer));
                    } else if again.contains(&application) {
                        outcome.superseded.push((application, head.to_string()));
                    } else {
                        outcome.concerned.insert(application);
                    }
                }
            }
        }
    }
    Ok(outcome)
}

/// The commit that is wanted of an application already, if it is a newer one that contains this commit.
fn wanted_newer(
    ctx: &Context,
    repository: &git::Repository,
    key: &RepositoryKey,
    application: &AppId,
    commit: &Commit,
) -> Option<String> {
    let managed = ctx.registry.get(application)?;
    let wanted = {
        let state = managed.state();
        state
            .wanted
            .iter()
            .find(|wanted| wanted.repository_key().as_ref() == Some(key))
            .map(|wanted| wanted.commit.clone())
    };
    let newer = Commit::parse(&wanted?).ok().filter(|newer| newer != commit && repository.has(newer))?;
    repository.is_ancestor(commit, &newer).ok()?.then(|| newer.to_string())
}

/// Those whose manifests the push changes, as far as that can be told at once.
async fn touched(
    ctx: &Arc<Context>,
    place: &Tracked,
    from: &Commit,
    to: &Commit,
    concerned: BTreeSet<AppId>,
) -> BTreeSet<AppId> {
    let mut touched = BTreeSet::new();
    for id in concerned {
        let untouched = match ctx.registry.get(&id) {
            Some(managed) => render::is_untouched(ctx, &managed, place, from, to).await,
            None => false,
        };
        if !untouched {
            touched.insert(id);
        }
    }
    touched
}

fn before(push: &Push) -> Option<Commit> {
    Commit::parse(&push.before).ok().filter(|commit| !commit.is_zero())
}

/// What to do about a failed fetch; `None` where the check has said it and nothing more can be done.
pub(crate) async fn on_git_error(
    ctx: &Arc<Context>,
    key: &CommitKey,
    origin: &Origin,
    delivery: &Delivery,
    attempt: u32,
    error: &RouteError,
) -> Option<Handled> {
    let not_there = matches!(error, RouteError::Git(GitError::NotThereYet { .. }));
    let gone = not_there && age_of(delivery) > OVERTAKEN;
    if error.is_passing() && is_young(delivery) && !gone {
        if not_there {
            let forge = (AppId::new("", "the forge"), "does not show the commit yet".to_owned());
            ctx.begin(key, origin, Concerned::new(), &[forge]).confirmed().await;
        }
        return Some(Handled::Retry(pause_before(attempt), error.to_string()));
    }
    let (verdict, sentence) = match error {
        RouteError::NotReachable { .. } => (Verdict::Superseded, error.to_string()),
        // Somebody has set the ref back. Should the forge show the commit after all, polling finds it.
        RouteError::Git(_) if gone => (Verdict::Superseded, format!("no longer there: {error}")),
        RouteError::Git(_) => (Verdict::Error, error.to_string()),
    };
    ctx.tell(key, origin, Conclusion { verdict, sentence: sentence.clone() }).confirmed().await;
    (verdict == Verdict::Error).then_some(Handled::Dead(sentence))
}

/// What a delivery means for this cluster.
pub(crate) struct News {
    /// Applications that want the commit.
    pub(crate) concerned: BTreeSet<AppId>,
    /// What is known to have ended already.
    pub(crate) concluded: Vec<(AppId, Conclusion)>,
    /// ApplicationSets that could not be expanded yet.
    pub(crate) waiting: Vec<(AppId, String)>,
    /// What else holds the commit's check open.
    pub(crate) unheard: Option<(AppId, String)>,
}

/// Records what is wanted of each application and wakes them. When it returns, all of it is on disk; what it returns is why
/// the delivery must come again.
pub(crate) async fn record(
    ctx: &Arc<Context>,
    url: &RepositoryUrl,
    commit: &str,
    origin: &Origin,
    delivery: &Delivery,
    (received_us, routed_us): (i64, i64),
    news: News,
) -> Option<String> {
    let key = CommitKey { repository: url.key(), commit: commit.into() };
    let mut confirmations = Vec::new();
    let mut superseded = Vec::new();
    let mut managed = Vec::new();
    let mut everybody = Concerned::new();
    let mut told = false;
    for id in &news.concerned {
        let Some(application) = ctx.registry.get(id) else { continue };
        let wanted = Wanted::new(url, commit, origin, delivery.received_at_unix_ms);
        let ended = match ctx.want(&application, wanted, received_us, routed_us) {
            Taken::Known(Some(conclusion)) => Some(conclusion),
            Taken::Known(None) => None,
            Taken::Told(conclusion) => {
                told = true;
                Some(conclusion)
            }
            Taken::New { superseded: older } => {
                superseded.extend(older.map(|(older, conclusion)| ctx.conclude(&older, id, conclusion)));
                None
            }
        };
        if ended.is_none() {
            managed.push(application);
        }
        everybody.insert(id.clone(), ended);
    }
    let concluded = news.concluded.into_iter().map(|(id, conclusion)| {
        let known = ctx.registry.get(&id).and_then(|known| known.conclusion_of(&key));
        // That a newer commit took its place does not mend what has failed.
        let conclusion = known.filter(|_| conclusion.verdict == Verdict::Superseded).unwrap_or(conclusion);
        (id, Some(conclusion))
    });
    let concluded: Concerned = concluded.collect();
    let open: Vec<(AppId, String)> = news.waiting.iter().cloned().chain(news.unheard).collect();
    let nothing_new = managed.is_empty() && !told && !everybody.is_empty() && concluded.is_empty() && open.is_empty();
    if nothing_new {
        // The bus has brought the event again: all of it was said before the verdicts were stored.
        return None;
    }
    everybody.extend(concluded);
    confirmations.push(ctx.begin(&key, origin, everybody, &open));
    for application in &managed {
        ctx.queue.push(application.id.clone(), Causes::of(Cause::Delivery));
        application.newer.notify_waiters();
    }
    // The annotation forgets the older commit, so what ends that has to be safe before.
    for confirmation in superseded {
        confirmation.confirmed().await;
    }
    let writes = managed.iter().map(|application| ctx.write_wanted(application));
    futures::future::join_all(writes).await;
    for confirmation in confirmations {
        confirmation.confirmed().await;
    }
    let (set, sentence) = news.waiting.into_iter().next()?;
    Some(format!("ApplicationSet {set}: {sentence}"))
}

async fn handle_pull_request(
    ctx: &Arc<Context>,
    delivery: &Delivery,
    pull: &wire::PullRequest,
    trace: Option<&TraceParent>,
    attempt: u32,
) -> Handled {
    let Some(head) = &pull.head else { return Handled::Dead("the pull request names no head commit".into()) };
    let Some(repository) = &delivery.repository else { return Handled::Dead("no repository".into()) };
    let Some(url) = repository.clone_urls.iter().find_map(|address| RepositoryUrl::parse(address).ok()) else {
        return Handled::Dead("the repository has no clone address that can be read".into());
    };
    if !ctx.is_previewed(&url.key()) {
        return Handled::Done;
    }
    let closed = pull.action() == PullRequestAction::Closed;
    let heard = match ctx.application_sets.hear(ctx, delivery.forge(), repository, pull).await {
        Ok(heard) => heard,
        Err(error) => return Handled::Retry(pause_before(attempt), error.to_string()),
    };
    if !closed
        && heard.previewed
        && let Ok(commit) = Commit::parse(&head.commit)
    {
        let reference = format!("refs/pull/{}/head", pull.number);
        if let Err(error) = fetch_by_any(ctx, &url.key(), &commit, &reference).await {
            let key = CommitKey { repository: url.key(), commit: head.commit.clone() };
            let origin = origin_of(delivery, trace);
            return on_git_error(ctx, &key, &origin, delivery, attempt, &error.into()).await.unwrap_or(Handled::Done);
        }
    }
    let sets = ctx.application_sets.on_pull_request(ctx, delivery.forge(), repository).await;
    let mut concluded = sets.failures;
    let waiting = wait_or_give_up(ctx, delivery, sets.waiting, &mut concluded);
    if closed {
        // No commit waits for what a closed pull request leaves behind.
        return match waiting.into_iter().next() {
            Some((set, sentence)) => Handled::Retry(pause_before(attempt), format!("ApplicationSet {set}: {sentence}")),
            None => Handled::Done,
        };
    }
    let received = delivery.received_at_unix_ms * 1000;
    let routed = Timestamp::now().as_microsecond();
    let origin = origin_of(delivery, trace);
    let news = News { concerned: sets.applications, concluded, waiting, unheard: None };
    if news.concerned.is_empty() && news.concluded.is_empty() && news.waiting.is_empty() {
        if let Some(sentence) = heard.why_not {
            let key = CommitKey { repository: url.key(), commit: head.commit.clone() };
            ctx.tell(&key, &origin, Conclusion { verdict: Verdict::Success, sentence }).confirmed().await;
        }
        return Handled::Done;
    }
    let later = record(ctx, &url, &head.commit, &origin, delivery, (received, routed), news).await;
    later.map_or(Handled::Done, |reason| Handled::Retry(pause_before(attempt), reason))
}

/// Whether the forge has a commit already, by any of the ways to the repository.
async fn fetch_by_any(
    ctx: &Arc<Context>,
    repository: &RepositoryKey,
    commit: &Commit,
    reference: &str,
) -> Result<(), GitError> {
    let asking = ctx.remotes(repository).into_iter().map(|remote| {
        let repository = ctx.git.repository(&remote);
        Box::pin(async move { repository.fetch_pushed(commit, reference).await.map(drop) })
    });
    let asking: Vec<_> = asking.collect();
    if asking.is_empty() {
        return Ok(());
    }
    futures::future::select_ok(asking).await.map(drop)
}

/// Where a delivery's commit came from.
fn origin_of(delivery: &Delivery, trace: Option<&TraceParent>) -> Origin {
    Origin {
        forge: delivery.forge(),
        repository: delivery.repository.clone().unwrap_or_default(),
        delivery: delivery.id.clone(),
        trace: trace.copied(),
    }
}

/// Whether a push may name a tag object, on which no forge takes a check, and does not say which commit it is of.
fn may_be_tag_object(push: &Push) -> bool {
    push.r#ref.starts_with("refs/tags/") && push.commit.is_empty()
}

/// Whether a revision as written can mean this ref.
fn may_follow(revision: &str, reference: &str, default_branch: &str) -> bool {
    if revision == "HEAD" {
        return default_branch.is_empty() || reference.strip_prefix("refs/heads/") == Some(default_branch);
    }
    if names_exactly(revision, reference) {
        return true;
    }
    // A constraint over tags, or `1.2` which may be one.
    reference.starts_with("refs/tags/") && Commit::parse(revision).is_err() && !revision.starts_with("refs/")
}

fn names_exactly(revision: &str, reference: &str) -> bool {
    revision == reference || reference.strip_prefix("refs/heads/") == Some(revision)
}

/// The first seven digits, as people write commits.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_revision_a_ref_moves() {
        let cases = [
            ("HEAD", "refs/heads/main", "main", true),
            ("HEAD", "refs/heads/dev", "main", false),
            ("HEAD", "refs/heads/dev", "", true),
            ("main", "refs/heads/main", "main", true),
            ("main", "refs/heads/main-2", "main", false),
            ("refs/heads/main", "refs/heads/main", "main", true),
            ("v1.2.0", "refs/tags/v1.2.0", "main", true),
            (">=1.0.0", "refs/tags/v1.2.0", "main", true),
            ("feature/x", "refs/heads/feature/x", "main", true),
            ("0123456789012345678901234567890123456789", "refs/tags/v1", "main", false),
        ];
        for (revision, reference, default_branch, expected) in cases {
            assert_eq!(may_follow(revision, reference, default_branch), expected, "{revision} {reference}");
        }
    }
}
