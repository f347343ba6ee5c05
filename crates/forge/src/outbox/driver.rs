use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Feedback;

use super::limits::Limits;
use super::queue::{Job, Next, Policy, Queue};
use crate::feedback::FeedbackWriter;
use crate::{FeedbackError, Forges};

/// How a feedback ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The forge has it.
    Posted,
    /// A newer one, or a final one, has made it needless.
    Coalesced,
    /// The forge will not take it. To be kept where a person sees it.
    Dead {
        /// The forge's answer.
        reason: String,
    },
}

/// What is done when a feedback has ended: usually acknowledging the message it came in. A handle that is dropped
/// without being settled belongs to a feedback that this process did not finish.
#[async_trait]
pub trait Settle: Send + 'static {
    /// Called once, after the outcome is certain.
    async fn settle(self, outcome: Outcome);
}

/// The outbox has been shut down; what was offered is not taken and stays with whoever offered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is stopped; what was offered stays in its queue for the next process")]
pub struct OutboxStopped;

/// Offered, but not yet looked at; enough to keep the writer busy, little enough to notice a forge that is slow.
const INBOX: usize = 64;

/// The running writer of one account. Cloning gives another way in.
pub struct Outbox<H> {
    inbox: mpsc::Sender<(Feedback, H)>,
    waiting: Arc<AtomicUsize>,
}

impl<H> Clone for Outbox<H> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone(), waiting: self.waiting.clone() }
    }
}

impl<H: Settle> Outbox<H> {
    /// Starts a writer on `tracker`. On `shutdown` it takes nothing more, finishes the calls that are under way and
    /// settles them; whatever waits is dropped unsettled.
    pub fn start(
        writer: Arc<dyn FeedbackWriter>,
        limits: &Limits,
        policy: Policy,
        shutdown: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let (inbox, offered) = mpsc::channel(INBOX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let driver = Driver {
            writer,
            queue: Queue::new(limits, policy),
            concurrency: limits.concurrency.max(1),
            start: Instant::now(),
            calls: JoinSet::new(),
            jobs: HashMap::new(),
            settling: JoinSet::new(),
            waiting: waiting.clone(),
        };
        tracker.spawn(driver.run(offered, shutdown));
        Self { inbox, waiting }
    }

    /// Hands in a feedback; waits while the writer has more than it can look at.
    pub async fn offer(&self, feedback: Feedback, handle: H) -> Result<(), OutboxStopped> {
        self.inbox.send((feedback, handle)).await.map_err(|_| OutboxStopped)
    }

    /// Number of feedbacks that wait to be posted.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct Driver<H> {
    writer: Arc<dyn FeedbackWriter>,
    queue: Queue<H>,
    concurrency: usize,
    start: Instant,
    calls: JoinSet<Result<(), FeedbackError>>,
    jobs: HashMap<Id, Job<H>>,
    settling: JoinSet<()>,
    waiting: Arc<AtomicUsize>,
}

impl<H: Settle> Driver<H> {
    async fn run(mut self, mut offered: mpsc::Receiver<(Feedback, H)>, shutdown: CancellationToken) {
        let mut open = true;
        loop {
            let wake = self.post();
            self.waiting.store(self.queue.waiting(), Ordering::Relaxed);
            if !open && self.calls.is_empty() && wake.is_none() {
                break;
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                item = offered.recv(), if open => match item {
                    Some((feedback, handle)) => {
                        let needless = self.queue.offer(feedback, handle);
                        self.settle(needless, Outcome::Coalesced);
                    }
                    None => open = false,
                },
                Some(ended) = self.calls.join_next_with_id() => self.ended(ended),
                Some(_) = self.settling.join_next() => {}
                () = sleep_until(wake.unwrap_or_else(far_away)), if wake.is_some() => {}
            }
        }
        drop(offered);
        while let Some(ended) = self.calls.join_next_with_id().await {
            self.ended(ended);
        }
        while self.settling.join_next().await.is_some() {}
    }

    /// Starts what may be started; says when there is more to do.
    fn post(&mut self) -> Option<Instant> {
        while self.calls.len() < self.concurrency {
            match self.queue.next(self.start.elapsed()) {
                Next::Post(job) => {
                    let (writer, feedback) = (self.writer.clone(), job.feedback.clone());
                    let task = self.calls.spawn(async move { writer.write(&feedback).await });
                    self.jobs.insert(task.id(), job);
                }
                Next::At(time) => return Some(self.start + time),
                Next::Idle => return None,
            }
        }
        None
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), FeedbackError>), tokio::task::JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let message = "the call ended unexpectedly".into();
                (error.id(), Err(FeedbackError::Transient { retry_after: None, message }))
            }
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        let error = match result {
            Ok(()) => {
                let (handle, needless) = self.queue.posted(job);
                self.settle(Some(handle), Outcome::Posted);
                return self.settle(needless, Outcome::Coalesced);
            }
            Err(error) => error,
        };
        let (commit, repository) = (job.feedback.commit.clone(), job.feedback.repository.clone().unwrap_or_default());
        match self.queue.failed(job, &error, self.start.elapsed(), rand::random()) {
            Ok(needless) => {
                tracing::warn!(repository = repository.full_name(), commit, %error, "feedback will be tried again");
                self.settle(needless, Outcome::Coalesced);
            }
            Err((handle, reason)) => {
                tracing::error!(repository = repository.full_name(), commit, %error, "feedback is given up");
                self.settle(Some(handle), Outcome::Dead { reason });
            }
        }
    }

    fn settle(&mut self, handle: Option<H>, outcome: Outcome) {
        if let Some(handle) = handle {
            self.settling.spawn(handle.settle(outcome));
        }
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// A writer for each account, and the choice between them.
pub struct Outboxes<H> {
    forges: Forges,
    outboxes: HashMap<String, Outbox<H>>,
    tracker: TaskTracker,
}

impl<H: Settle> Outboxes<H> {
    /// Starts a writer for each account of `forges`.
    pub fn start(forges: Forges, policy: Policy, shutdown: &CancellationToken) -> Self {
        let tracker = TaskTracker::new();
        let start = |account: &crate::accounts::Account| {
            let writer: Arc<dyn FeedbackWriter> = account.client().clone();
            Outbox::start(writer, account.limits(), policy, shutdown.clone(), &tracker)
        };
        let outboxes = forges.accounts().iter().map(|account| (account.name().to_owned(), start(account))).collect();
        Self { forges, outboxes, tracker }
    }

    /// Hands a feedback to the account of its repository. Without one it is dead at once.
    pub async fn offer(&self, feedback: Feedback, handle: H) -> Result<(), OutboxStopped> {
        let repository = feedback.repository.as_ref();
        let account = repository.and_then(|repository| self.forges.for_repository(repository, feedback.forge()));
        match account.and_then(|account| self.outboxes.get(account.name())) {
            Some(outbox) => outbox.offer(feedback, handle).await,
            None => {
                let name = repository.map(|r| r.html_url.clone()).unwrap_or_default();
                let reason = format!("no {} account is configured for {name:?}", feedback.forge().name());
                handle.settle(Outcome::Dead { reason }).await;
                Ok(())
            }
        }
    }

    /// Number of feedbacks that wait, by account.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, usize)> {
        self.outboxes.iter().map(|(name, outbox)| (name.as_str(), outbox.waiting()))
    }

    /// Waits until all writers have ended, after `shutdown`.
    pub async fn stopped(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
