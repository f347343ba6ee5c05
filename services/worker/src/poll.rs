//! The backstop for lost webhooks: each followed repository is asked for its refs now and then, and what moved without a
//! delivery is handled as if one had come (G6).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use git::{Commit, GitError, Remote, RepositoryKey, RepositoryUrl, Revision};
use jiff::Timestamp;
use rand::Rng as _;
use resources::Application;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::{Delivery, Push, delivery::Event};

use crate::Context;
use crate::context::locked;
use crate::index::Tracked;
use crate::intake;
use crate::reconcile::permit;

/// At most so many repositories are asked at once after a start.
const CATCHING_UP: usize = 8;

/// Polls of one project that ask the same host at the same time.
const AT_A_HOST: usize = 8;
/// One that takes longer is given up until the next round.
const LIMIT: Duration = Duration::from_secs(600);

/// Polls until the worker is stopped.
pub async fn run(ctx: Arc<Context>, before: LastKnown, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = async {
            backlog_handled(&ctx).await;
            catch_up(&ctx, &before).await;
        } => {}
    }
    let interval = ctx.config.options.poll_interval;
    if interval.is_zero() {
        // Not wanted. A task that ends is a worker that cannot go on, so this one waits.
        return shutdown.cancelled().await;
    }
    let mut polls = Polls::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(jittered(interval)) => {}
        }
        let places = ctx.places();
        let followed: HashSet<&Remote> = places.iter().map(|place| &place.remote).collect();
        ctx.heads.retain(|place| followed.contains(&place.remote));
        let groups = by_repository(&ctx, places);
        let pause = interval / u32::try_from(groups.len().max(1)).unwrap_or(u32::MAX) / 2;
        for (repository, places) in groups {
            let project = places.first().and_then(|place| place.remote.project.clone());
            let (asking, handling, url) = (ctx.clone(), ctx.clone(), repository.0.clone());
            let ask = async move { moved(&asking, &known(&asking, &places).await).await };
            polls.start(repository, project, ask, |moved| async move { handle(&handling, &url, moved).await });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
            }
        }
    }
}

/// A repository, and the name of the credential that serves it: one list of refs tells of all that is followed there.
type Listed = (RepositoryUrl, String);

fn by_repository(ctx: &Context, places: BTreeSet<Tracked>) -> BTreeMap<Listed, Vec<Tracked>> {
    let mut groups: BTreeMap<Listed, Vec<Tracked>> = BTreeMap::new();
    for place in places {
        let served = ctx.git.grant(&place.remote).name().to_owned();
        groups.entry((place.remote.url.clone(), served)).or_default().push(place);
    }
    groups
}

/// The polls that are under way: side by side, so that a slow repository holds up no other.
#[derive(Default)]
struct Polls {
    tasks: JoinSet<()>,
    running: Arc<Mutex<HashSet<Listed>>>,
    /// The turns of a project at a host.
    turns: HashMap<(Option<Arc<str>>, String), Arc<Semaphore>>,
}

impl Polls {
    /// Begins a poll, if the one before of the same repository has ended: to ask, in a turn and within a limit, and then to
    /// handle what was found.
    fn start<M: Send, H: Future<Output = ()> + Send>(
        &mut self,
        repository: Listed,
        project: Option<Arc<str>>,
        asking: impl Future<Output = M> + Send + 'static,
        handle: impl FnOnce(M) -> H + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.turns.retain(|_, turns| Arc::strong_count(turns) > 1);
        let url = repository.0.clone();
        if !locked(&self.running).insert(repository.clone()) {
            return tracing::debug!(repository = %url, "poll.skipped: the one before it has not ended");
        }
        let turns = self.turns.entry((project, url.host().to_owned()));
        let turns = turns.or_insert_with(|| Arc::new(Semaphore::new(AT_A_HOST))).clone();
        let ended = Ended { running: self.running.clone(), repository };
        self.tasks.spawn(async move {
            let _ended = ended;
            let found = async {
                let _turn = turns.acquire().await;
                tokio::time::timeout(LIMIT, asking).await
            };
            match found.await {
                Ok(moved) => handle(moved).await,
                Err(_) => tracing::warn!(repository = %url, "poll.too_slow: it is asked again in the next round"),
            }
        });
    }
}

/// Removes a poll from those that are under way, however it ends.
struct Ended {
    running: Arc<Mutex<HashSet<Listed>>>,
    repository: Listed,
}

impl Drop for Ended {
    fn drop(&mut self) {
        locked(&self.running).remove(&self.repository);
    }
}

/// Between three and five quarters of it, so that many workers do not ask at the same moment.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.75..1.25))
}

/// Asks where these places of one repository stand, which the same credential serves, and handles what moved like a delivery.
pub async fn poll_places(ctx: &Arc<Context>, places: &[Tracked]) {
    let Some(Tracked { remote, .. }) = places.first() else { return };
    let moved = moved(ctx, &known(ctx, places).await).await;
    handle(ctx, &remote.url, moved).await;
}

/// Where these places stood when they were last heard of.
async fn known(ctx: &Context, places: &[Tracked]) -> Vec<(Tracked, Option<Commit>)> {
    let mut known = Vec::with_capacity(places.len());
    for place in places {
        known.push((place.clone(), ctx.heads.known(place).await));
    }
    known
}

/// Deliveries that wait tell of each commit for itself, and better than a comparison with the newest one: they go first.
async fn backlog_handled(ctx: &Context) {
    let queue = bus::names::worker_queue(&ctx.config.cluster);
    let (mut idle, deadline) = (0, tokio::time::Instant::now() + LIMIT);
    while idle < 3 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let waiting = ctx.bus.depth(&queue).await.unwrap_or(1);
        idle = if waiting == 0 && ctx.lanes.count() == 0 { idle + 1 } else { 0 };
    }
}

/// After a start: what moved while no worker was there and no webhook told of is handled like a delivery, too. The newest commit
/// that an earlier worker knew of is the last one that was wanted of an application, or else the last one that was synced.
async fn catch_up(ctx: &Arc<Context>, last: &LastKnown) {
    let last = &last.0;
    let groups = by_repository(ctx, last.keys().cloned().collect());
    stream::iter(groups)
        .for_each_concurrent(CATCHING_UP, |((url, _), places)| {
            let stood = |place: Tracked| {
                let commit = last.get(&place).map(|last| last.commit.clone());
                (place, commit)
            };
            let places: Vec<_> = places.into_iter().map(stood).collect();
            async move {
                match tokio::time::timeout(LIMIT, moved(ctx, &places)).await {
                    Ok(mut moved) => {
                        // Its delivery was in the queue.
                        moved.retain(|(_, tip), _| !is_wanted(ctx, &url, tip));
                        handle(ctx, &url, moved).await;
                    }
                    Err(_) => tracing::warn!(repository = %url, "poll.too_slow: it is asked again in the next round"),
                }
            }
        })
        .await;
}

/// A commit that an earlier worker knew of, and since when.
#[derive(Clone, Debug)]
struct Last {
    commit: Commit,
    at_ms: i64,
}

fn is_wanted(ctx: &Context, url: &RepositoryUrl, commit: &Commit) -> bool {
    let key = url.key();
    ctx.registry.all().iter().any(|managed| {
        let state = managed.state();
        state.wanted.iter().any(|one| one.commit == commit.as_str() && one.repository_key().as_ref() == Some(&key))
    })
}

/// Where each place stood when the last worker was there; to be asked before anything is reconciled.
#[derive(Debug, Default)]
pub struct LastKnown(HashMap<Tracked, Last>);

/// See [`LastKnown`].
pub fn last_known(ctx: &Context) -> LastKnown {
    let mut newest: HashMap<Tracked, Last> = HashMap::new();
    for managed in ctx.registry.all() {
        let (application, wanted) = {
            let state = managed.state();
            (state.application.clone(), state.wanted.clone())
        };
        let Ok(permitted) = permit::permitted(ctx, &application) else { continue };
        let places = permitted.places();
        // With sources in several places of one repository it is not known which one a wanted commit was of.
        let alone = |key: &RepositoryKey| places.iter().filter(|other| other.remote.key() == *key).count() == 1;
        for (number, place) in places.iter().enumerate() {
            let key = place.remote.key();
            let wanted = wanted.iter().find(|wanted| wanted.repository_key().as_ref() == Some(&key));
            let wanted = wanted.filter(|_| alone(&key)).and_then(|wanted| {
                Some(Last { commit: Commit::parse(&wanted.commit).ok()?, at_ms: wanted.received_at })
            });
            let Some(last) = wanted.or_else(|| last_synced(&application, number)) else { continue };
            let known = newest.entry(place.clone()).or_insert_with(|| last.clone());
            if known.at_ms < last.at_ms {
                *known = last;
            }
        }
    }
    LastKnown(newest)
}

fn last_synced(application: &Application, source: usize) -> Option<Last> {
    let last = application.status.as_ref()?.history.last()?;
    let revision = resources::listed(&last.revision, &last.revisions).get(source)?.clone();
    Some(Last { commit: Commit::parse(&revision).ok()?, at_ms: last.deployed_at.as_ref()?.0.as_millisecond() })
}

/// What moved without a delivery: ref and commit, to the commit before and those who follow it.
type Moved = BTreeMap<(String, Commit), (Commit, Vec<Remote>)>;

/// What does not stand where it is known to have stood.
async fn moved(ctx: &Arc<Context>, places: &[(Tracked, Option<Commit>)]) -> Moved {
    let mut moved = Moved::new();
    let Some((Tracked { remote, .. }, _)) = places.first() else { return moved };
    let repository = ctx.git.repository(remote);
    let refs = match repository.remote_refs().await {
        Ok(refs) => refs,
        Err(error) => {
            failed(ctx, &remote.url, &error);
            return moved;
        }
    };
    for (place, known) in places {
        let Ok(revision) = Revision::parse(&place.revision) else { continue };
        if revision.is_fixed() {
            continue;
        }
        let found = match tip_of(&revision, &refs) {
            Some(found) => Some(found),
            // The default branch, a tag, a constraint over tags: only the forge knows what it means now.
            None => match repository.resolve(&revision).await {
                Ok(resolved) => resolved.full_ref.map(|reference| (reference, resolved.commit)),
                Err(error) => {
                    failed(ctx, &remote.url, &error);
                    None
                }
            },
        };
        let (Some((reference, tip)), Some(head)) = (found, known.clone()) else { continue };
        if head == tip {
            continue;
        }
        tracing::info!(repository = %remote, revision = %place.revision, commit = %tip, "poll.moved: no webhook told of this commit");
        moved.entry((reference, tip)).or_insert_with(|| (head, Vec::new())).1.push(place.remote.clone());
    }
    moved
}

/// What moved is one delivery for all who follow it like this, and for nobody else.
async fn handle(ctx: &Arc<Context>, url: &RepositoryUrl, moved: Moved) {
    for ((reference, tip), (head, by)) in moved {
        let delivery = delivery(ctx, url, &reference, &head, &tip);
        intake::handle_found(ctx, &delivery, &by).await;
    }
}

fn failed(ctx: &Context, url: &RepositoryUrl, error: &GitError) {
    if ctx.troubles.is_news(&format!("{url}: {error}"), Instant::now()) {
        tracing::warn!(repository = %url, %error, "poll.failed");
    }
}

/// The branch that a revision means and where it stands.
fn tip_of(revision: &Revision, refs: &[(String, Commit)]) -> Option<(String, Commit)> {
    let name = match revision {
        Revision::Ref(name) => name.clone(),
        Revision::Name(name) => format!("refs/heads/{name}"),
        _ => return None,
    };
    refs.iter().find(|(known, _)| *known == name).cloned()
}

fn delivery(ctx: &Context, url: &RepositoryUrl, reference: &str, before: &Commit, after: &Commit) -> Delivery {
    let (owner, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
    Delivery {
        forge: ctx.forge_of(url).into(),
        id: format!("poll-{}", after.short()),
        repository: Some(wire::Repository {
            owner: owner.into(),
            name: name.into(),
            clone_urls: vec![url.to_string()],
            ..Default::default()
        }),
        event: Some(Event::Push(Push {
            r#ref: reference.into(),
            before: before.to_string(),
            after: after.to_string(),
            ..Default::default()
        })),
        received_at_unix_ms: Timestamp::now().as_millisecond(),
        body_sha256: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    fn at(url: &str) -> Listed {
        (RepositoryUrl::parse(url).unwrap(), String::new())
    }

    struct Told(UnboundedSender<&'static str>, UnboundedReceiver<&'static str>);

    impl Told {
        fn quick(&self, polls: &mut Polls, url: &'static str, project: &str) {
            let tell = self.0.clone();
            polls.start(
                at(url),
                Some(project.into()),
                async move { url },
                |url| async move { tell.send(url).unwrap() },
            );
        }

        async fn next(&mut self) -> &'static str {
            self.1.recv().await.unwrap()
        }
    }

    fn slow(polls: &mut Polls, url: &str, project: &str) {
        polls.start(at(url), Some(project.into()), pending::<()>(), |()| async {});
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_repository_holds_up_no_other_and_is_given_up() {
        let mut polls = Polls::default();
        let (sender, receiver) = unbounded_channel();
        let mut told = Told(sender, receiver);
        // All turns of a team at a host are taken by what never answers.
        for number in 0..2 * AT_A_HOST {
            slow(&mut polls, &format!("https://slow.example/acme/{number}"), "a");
        }
        told.quick(&mut polls, "https://slow.example/acme/0", "a");
        told.quick(&mut polls, "https://quick.example/acme/x", "a");
        assert_eq!(told.next().await, "https://quick.example/acme/x");
        told.quick(&mut polls, "https://slow.example/acme/x", "b");
        assert_eq!(told.next().await, "https://slow.example/acme/x");
        // Who waits for a turn gets it once the others are given up.
        told.quick(&mut polls, "https://slow.example/acme/last", "a");
        let start = tokio::time::Instant::now();
        assert_eq!(told.next().await, "https://slow.example/acme/last");
        assert!(start.elapsed() <= LIMIT * 3);
        told.quick(&mut polls, "https://slow.example/acme/0", "a");
        assert_eq!(told.next().await, "https://slow.example/acme/0");
    }
}
