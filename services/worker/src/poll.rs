//! The backstop for lost webhooks: each followed repository is asked for its refs now and then, and what moved without a
//! delivery is handled as if one had come (G6).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use git::{Commit, RepositoryUrl, Revision};
use jiff::Timestamp;
use rand::Rng as _;
use resources::Application;
use tokio_util::sync::CancellationToken;
use wire::{Delivery, Push, delivery::Event};

use crate::Context;
use crate::index::Tracked;
use crate::intake;
use crate::reconcile::permit;
use crate::wanted::Wanted;

/// At most so many repositories are asked at once after a start.
const CATCHING_UP: usize = 8;

/// Polls until the worker is stopped.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = catch_up(&ctx) => {}
    }
    let interval = ctx.config.options.poll_interval;
    if interval.is_zero() {
        // Not wanted. A task that ends is a worker that cannot go on, so this one waits.
        return shutdown.cancelled().await;
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(jittered(interval)) => {}
        }
        ctx.heads.retain(|place| ctx.follows(&place.repository));
        let mut repositories: BTreeMap<String, (RepositoryUrl, Vec<Tracked>)> = BTreeMap::new();
        for place in ctx.places() {
            let Some(url) = ctx.url_of(&place.repository) else { continue };
            repositories.entry(url.to_string()).or_insert_with(|| (url, Vec::new())).1.push(place);
        }
        let pause = interval / u32::try_from(repositories.len().max(1)).unwrap_or(u32::MAX) / 2;
        for (url, places) in repositories.into_values() {
            poll_repository(&ctx, &url, &places).await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
            }
        }
    }
}

/// Between three and five quarters of it, so that many workers do not ask at the same moment.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.75..1.25))
}

/// Asks where these places of one repository stand, and handles what moved like a delivery.
pub async fn poll_repository(ctx: &Arc<Context>, url: &RepositoryUrl, places: &[Tracked]) {
    let mut known = Vec::with_capacity(places.len());
    for place in places {
        known.push((place.clone(), ctx.heads.known(place).await));
    }
    tell_moves(ctx, url, &known).await;
}

/// After a start: what moved while no worker was there and no webhook told of is handled like a delivery, too. The newest commit
/// that an earlier worker knew of is the last one that was wanted of an application, or else the last one that was synced.
async fn catch_up(ctx: &Arc<Context>) {
    let repositories = last_known(ctx);
    stream::iter(repositories.into_values())
        .for_each_concurrent(CATCHING_UP, |(url, places)| async move {
            let places: Vec<_> = places.into_iter().map(|(place, last)| (place, Some(last.commit))).collect();
            tell_moves(ctx, &url, &places).await;
        })
        .await;
}

/// A commit that an earlier worker knew of, and since when.
#[derive(Clone, Debug)]
struct Last {
    commit: Commit,
    at_ms: i64,
}

type LastKnown = BTreeMap<String, (RepositoryUrl, HashMap<Tracked, Last>)>;

fn last_known(ctx: &Context) -> LastKnown {
    let mut repositories = LastKnown::new();
    for managed in ctx.registry.all() {
        let (application, wanted) = {
            let state = managed.state();
            (state.application.clone(), state.wanted.clone())
        };
        let Ok(permitted) = permit::permitted(ctx, &application) else { continue };
        let places = permitted.places();
        // With sources in several places of one repository it is not known which one a wanted commit was of.
        let alone = |url: &RepositoryUrl| places.iter().filter(|(other, _)| other.key() == url.key()).count() == 1;
        for (number, (url, place)) in places.iter().enumerate() {
            let of_repository = |wanted: &&Wanted| wanted.repository_key() == Some(url.key());
            let wanted = wanted.iter().find(of_repository).filter(|_| alone(url));
            let wanted = wanted.and_then(|wanted| {
                Some(Last { commit: Commit::parse(&wanted.commit).ok()?, at_ms: wanted.received_at })
            });
            let Some(last) = wanted.or_else(|| last_synced(&application, number)) else { continue };
            let (_, known) = repositories.entry(url.to_string()).or_insert_with(|| (url.clone(), HashMap::new()));
            let newest = known.entry(place.clone()).or_insert_with(|| last.clone());
            if newest.at_ms < last.at_ms {
                *newest = last;
            }
        }
    }
    repositories
}

fn last_synced(application: &Application, source: usize) -> Option<Last> {
    let last = application.status.as_ref()?.history.last()?;
    let revision = resources::listed(&last.revision, &last.revisions).get(source)?.clone();
    Some(Last { commit: Commit::parse(&revision).ok()?, at_ms: last.deployed_at.as_ref()?.0.as_millisecond() })
}

/// Handles what does not stand where it is known to have stood.
async fn tell_moves(ctx: &Arc<Context>, url: &RepositoryUrl, places: &[(Tracked, Option<Commit>)]) {
    let repository = ctx.git.repository(url);
    let refs = match repository.remote_refs().await {
        Ok(refs) => refs,
        Err(error) => {
            tracing::warn!(repository = %url, %error, "poll.failed");
            return;
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
                    tracing::warn!(repository = %url, revision = place.revision, %error, "poll.failed");
                    None
                }
            },
        };
        let (Some((reference, tip)), Some(head)) = (found, known.clone()) else { continue };
        if head == tip {
            continue;
        }
        tracing::info!(repository = %url, revision = %place.revision, commit = %tip, "poll.moved: no webhook told of this commit");
        let delivery = delivery(ctx, url, &reference, &head, &tip);
        intake::handle_found(ctx, &delivery).await;
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
    let (owner, name) =
        url.path().trim_matches('/').trim_end_matches(".git").rsplit_once('/').unwrap_or(("", url.path()));
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
