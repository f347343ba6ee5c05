//! Several ways to one repository: one team follows it by https and another by ssh, or each with credentials of its own. A
//! push is looked at by each of them, side by side, and none waits for another: what cannot be reached by one way, or only
//! slowly, holds up neither the others nor the next push.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use git::{GitError, Remote};
use jiff::Timestamp;
use tokio::time::Instant;
use wire::{Delivery, Push};

use crate::context::locked;
use crate::index::Tracked;
use crate::intake::{self, Handled, News, Outcome, RouteError};
use crate::reconcile::{Cause, Causes};
use crate::tracker::{CommitKey, Concerned, Conclusion, Origin, Verdict};
use crate::{AppId, Context};

/// So long the other ways are waited for once one has been looked at; then the next delivery has its turn meanwhile.
const GRACE: Duration = Duration::from_millis(500);
/// A way among several that does not answer for so long is left to the applications that use it: they ask again by themselves.
const PATIENCE: Duration = Duration::from_secs(20);

/// A push to one repository.
pub(crate) struct Job {
    pub(crate) ctx: Arc<Context>,
    pub(crate) delivery: Delivery,
    pub(crate) push: Push,
    pub(crate) origin: Origin,
    pub(crate) key: CommitKey,
    pub(crate) attempt: u32,
}

/// What has come of it so far.
pub(crate) enum Routed {
    /// Everything: nothing, or what is to be done about the delivery.
    All(Option<Handled>),
    /// Something; the rest goes on.
    Some(BoxFuture<'static, Option<Handled>>),
}

type Answer = (Remote, Vec<Tracked>, Result<Outcome, RouteError>);

/// Looks at a push by every way that these places use, and records what it means for the applications.
pub(crate) async fn route(job: Arc<Job>, places: impl IntoIterator<Item = Tracked>) -> Routed {
    let mut ways: BTreeMap<Remote, Vec<Tracked>> = BTreeMap::new();
    for place in places {
        ways.entry(place.remote.clone()).or_default().push(place);
    }
    let alone = ways.len() == 1;
    let mut heard = Heard::new(job.clone(), ways.keys().cloned().collect());
    let mut asking: FuturesUnordered<_> = ways
        .into_iter()
        .map(|(remote, places)| {
            let job = job.clone();
            Box::pin(async move {
                let outcome =
                    if alone { ask(&job, &remote, &places).await } else { patiently(&job, &remote, &places).await };
                (remote, places, outcome)
            })
        })
        .collect();
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => asking.next().await,
            Some(until) => match tokio::time::timeout_at(until, asking.next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        let Some(answer) = next else { return Routed::All(heard.end().await) };
        heard.take(answer).await;
        if heard.any && until.is_none() {
            until = Some(Instant::now() + GRACE);
        }
    }
    Routed::Some(Box::pin(async move {
        while let Some(answer) = asking.next().await {
            heard.take(answer).await;
        }
        heard.end().await
    }))
}

async fn ask(job: &Job, remote: &Remote, places: &[Tracked]) -> Result<Outcome, RouteError> {
    let default_branch = job.delivery.repository.as_ref().map_or("", |repository| repository.default_branch.as_str());
    intake::concerned_by_push(&job.ctx, remote, &job.push, default_branch, places).await
}

/// The same, again while it does not work for the moment.
async fn patiently(job: &Job, remote: &Remote, places: &[Tracked]) -> Result<Outcome, RouteError> {
    let mut pause = GRACE / 2;
    let mut last = None;
    let asking = async {
        loop {
            match ask(job, remote, places).await {
                Err(error) if error.is_passing() => last = Some(error),
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| {
        Err(last.unwrap_or(RouteError::Git(GitError::TimedOut { repository: remote.to_string(), after: PATIENCE })))
    })
}

/// What the ways have told.
struct Heard {
    job: Arc<Job>,
    unheard: BTreeSet<Remote>,
    /// One of them could be looked at.
    any: bool,
    /// ApplicationSets that could not be expanded yet.
    waiting: Vec<(AppId, String)>,
    failed: Vec<(Remote, Vec<Tracked>, RouteError)>,
    later: Option<String>,
    /// The commit; of an annotated tag it is known once one of them has looked.
    key: CommitKey,
    /// The commit's check was last left open for those that had not been heard.
    open: bool,
}

impl Heard {
    fn new(job: Arc<Job>, unheard: BTreeSet<Remote>) -> Self {
        let key = job.key.clone();
        Self { job, key, unheard, any: false, waiting: Vec::new(), failed: Vec::new(), later: None, open: false }
    }

    async fn take(&mut self, (remote, places, outcome): Answer) {
        self.unheard.remove(&remote);
        match outcome {
            Ok(outcome) => self.record(&remote, outcome).await,
            Err(error) => self.failed.push((remote, places, error)),
        }
    }

    async fn record(&mut self, remote: &Remote, outcome: Outcome) {
        let job = self.job.clone();
        let Job { ctx, delivery, origin, .. } = &*job;
        self.any = true;
        self.key.commit.clone_from(&outcome.pushed);
        let pushed = outcome.pushed;
        let sets = ctx.application_sets.on_push(ctx, &outcome.heads).await;
        let mut concerned = outcome.concerned;
        concerned.retain(|application| !sets.removed.contains(application));
        concerned.extend(sets.applications);
        let routed = Timestamp::now().as_microsecond();
        let mut concluded = sets.failures;
        let waiting = intake::wait_or_give_up(ctx, delivery, sets.waiting, &mut concluded);
        self.waiting.extend(waiting);
        for (application, newer) in outcome.superseded {
            let sentence = format!("superseded by {}", intake::short(&newer));
            concluded.push((application, Conclusion { verdict: Verdict::Superseded, sentence }));
        }
        self.open = !self.unheard.is_empty();
        let unheard = self.open.then(|| (AppId::new("", "another address"), "is being looked at".to_owned()));
        let news = News { concerned, concluded, waiting: self.waiting.clone(), unheard };
        let received_us = delivery.received_at_unix_ms * 1000;
        let later = intake::record(ctx, &remote.url, &pushed, origin, delivery, (received_us, routed), news).await;
        self.later = later.or(self.later.take());
    }

    /// All have been heard.
    async fn end(mut self) -> Option<Handled> {
        let job = self.job.clone();
        let Job { ctx, delivery, origin, attempt, .. } = &*job;
        let key = &self.key;
        if !self.any {
            // What is passing for one of them is tried again for all.
            self.failed.sort_by_key(|(.., error)| !error.is_passing());
            let (.., error) = self.failed.first()?;
            return intake::on_git_error(ctx, key, origin, delivery, *attempt, error).await;
        }
        if self.open {
            ctx.begin(key, origin, Concerned::new(), &self.waiting).confirmed().await;
        }
        for (remote, places, error) in &self.failed {
            tracing::warn!(repository = %remote, %error, "delivery.not_looked_at: by this address the commit cannot be had; those who use it ask again");
            for place in places {
                ctx.heads.forget(place);
                for application in locked(&ctx.index).followers(place) {
                    ctx.queue.push(application, Causes::of(Cause::Retry));
                }
            }
        }
        self.later.map(|reason| Handled::Retry(intake::pause_before(*attempt), reason))
    }
}
