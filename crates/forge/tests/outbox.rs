//! The running outbox, with a forge that is played by the test and a clock that stands still until it is needed.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use forge::feedback::FeedbackWriter;
use forge::outbox::{Limits, Outbox, Outcome, Policy, Settle};
use forge::{FeedbackError, RepositoryRef};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Check, CheckState, Deployment, Feedback, Repository, feedback::Content};

/// Answers each call when the test says how, in the order of the calls.
struct Forge {
    calls: mpsc::UnboundedSender<(String, CheckState, Reply)>,
}

type Reply = oneshot::Sender<Result<(), FeedbackError>>;

#[async_trait]
impl FeedbackWriter for Forge {
    async fn check(&self, _: &RepositoryRef, _: &str, check: &Check) -> Result<(), FeedbackError> {
        let (answer, answered) = oneshot::channel();
        self.calls.send((check.context.clone(), check.state(), answer)).unwrap();
        answered.await.unwrap()
    }

    async fn deployment(&self, _: &RepositoryRef, _: &str, _: &Deployment) -> Result<(), FeedbackError> {
        unreachable!()
    }
}

/// Answers by a list, then with success; remembers when it was called.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<FeedbackError>>,
    calls: Mutex<Vec<Instant>>,
}

#[async_trait]
impl FeedbackWriter for Scripted {
    async fn check(&self, _: &RepositoryRef, _: &str, _: &Check) -> Result<(), FeedbackError> {
        self.calls.lock().unwrap().push(Instant::now());
        self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    async fn deployment(&self, _: &RepositoryRef, _: &str, _: &Deployment) -> Result<(), FeedbackError> {
        unreachable!()
    }
}

struct Handle(u32, mpsc::UnboundedSender<(u32, Outcome)>);

#[async_trait]
impl Settle for Handle {
    async fn settle(self, outcome: Outcome) {
        self.1.send((self.0, outcome)).unwrap();
    }
}

fn feedback(context: &str, state: CheckState, created: i64) -> Feedback {
    Feedback {
        repository: Some(Repository { owner: "acme".into(), name: "x".into(), ..Default::default() }),
        commit: "1".into(),
        content: Some(Content::Check(Check { context: context.into(), state: state.into(), ..Default::default() })),
        created_at_unix_us: created,
        ..Default::default()
    }
}

fn start(writer: Arc<dyn FeedbackWriter>) -> (Outbox<Handle>, CancellationToken, TaskTracker) {
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    let outbox = Outbox::start(writer, &Limits::unlimited(), Policy::default(), shutdown.clone(), &tracker);
    tracker.close();
    (outbox, shutdown, tracker)
}

#[tokio::test]
async fn posted_coalesced_and_left_behind() {
    let (calls, mut called) = mpsc::unbounded_channel();
    let (settled, mut outcomes) = mpsc::unbounded_channel();
    let (outbox, shutdown, tracker) = start(Arc::new(Forge { calls }));
    let offer = async |n, context, state, created| {
        outbox.offer(feedback(context, state, created), Handle(n, settled.clone())).await.unwrap();
    };
    offer(1, "a", CheckState::Pending, 1).await;
    let (_, state, first) = called.recv().await.unwrap();
    assert_eq!(state, CheckState::Pending);
    offer(2, "a", CheckState::Pending, 2).await;
    offer(3, "a", CheckState::Success, 3).await;
    assert_eq!(outcomes.recv().await.unwrap(), (2, Outcome::Coalesced));
    first.send(Ok(())).unwrap();
    assert_eq!(outcomes.recv().await.unwrap(), (1, Outcome::Posted));
    let (_, state, second) = called.recv().await.unwrap();
    assert_eq!(state, CheckState::Success);
    offer(4, "b", CheckState::Failure, 1).await;
    let (context, _, third) = called.recv().await.unwrap();
    assert_eq!(context, "b");
    third.send(Err(FeedbackError::Permanent { message: "422 no".into() })).unwrap();
    let (n, outcome) = outcomes.recv().await.unwrap();
    assert!(n == 4 && matches!(&outcome, Outcome::Dead { reason } if reason.contains("422 no")), "{outcome:?}");

    // What is under way is finished, what waits is left to whoever handed it in.
    offer(5, "a", CheckState::Failure, 4).await;
    shutdown.cancel();
    second.send(Ok(())).unwrap();
    tracker.wait().await;
    assert_eq!(outcomes.recv().await.unwrap(), (3, Outcome::Posted));
    assert!(outbox.offer(feedback("a", CheckState::Success, 9), Handle(6, settled.clone())).await.is_err());
    drop((outbox, settled));
    assert_eq!(outcomes.recv().await, None);
    assert!(called.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_are_waited_out() {
    let message = || "x".to_owned();
    let answers = VecDeque::from([
        FeedbackError::Transient { retry_after: None, message: message() },
        FeedbackError::RateLimited { retry_after: Some(Duration::from_secs(600)), message: message() },
    ]);
    let forge = Arc::new(Scripted { answers: Mutex::new(answers), ..Default::default() });
    let (settled, mut outcomes) = mpsc::unbounded_channel();
    let (outbox, shutdown, tracker) = start(forge.clone());
    outbox.offer(feedback("a", CheckState::Success, 1), Handle(1, settled)).await.unwrap();
    assert_eq!(outcomes.recv().await.unwrap(), (1, Outcome::Posted));
    let calls = forge.calls.lock().unwrap().clone();
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= Duration::from_secs(1) && waits[0] < Duration::from_millis(1300), "{waits:?}");
    assert!(waits[1] >= Duration::from_secs(600) && waits[1] < Duration::from_secs(601), "{waits:?}");
    shutdown.cancel();
    tracker.wait().await;
}
