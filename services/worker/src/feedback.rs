//! What goes back to the forge: published to this cluster's outbox in the order in which it was decided. The outbox keeps it
//! until the forge has taken it.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Message, names};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use wire::{Envelope, Feedback, TraceParent, feedback::Content};

use crate::tracker::{CommitCheck, Origin};

/// So many publishes may wait for their confirm at once; one channel needs no more to be busy.
const IN_FLIGHT: usize = 256;

/// Feedback and the trace it belongs to.
#[derive(Clone, Debug)]
pub struct Told {
    feedback: Feedback,
    trace: Option<TraceParent>,
}

/// Publishes feedback; cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::UnboundedSender<(Told, oneshot::Sender<()>)>,
}

/// Resolves once everything it stands for is on the broker's disk.
#[must_use = "a check that is not confirmed can be lost"]
#[derive(Debug)]
pub struct Confirmation(Vec<oneshot::Receiver<()>>);

impl Confirmation {
    /// Stands for nothing.
    pub fn nothing() -> Self {
        Self(Vec::new())
    }

    /// Stands for all of these.
    pub fn all(confirmations: impl IntoIterator<Item = Self>) -> Self {
        Self(confirmations.into_iter().flat_map(|one| one.0).collect())
    }

    /// Waits. Ends early only when the worker is being stopped.
    pub async fn confirmed(self) {
        for receiver in self.0 {
            // An error means that the publisher is gone: the worker stops, and what is not confirmed is decided again.
            let _ = receiver.await;
        }
    }
}

impl Publisher {
    /// Starts the task that publishes to the outbox of this cluster.
    pub fn start(bus: Arc<dyn Bus>, cluster: &str) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(publish_all(bus, names::feedback_queue(cluster), receiver));
        Self { queue: sender }
    }

    /// Hands over feedback. The order of calls is the order in the outbox.
    pub fn publish(&self, feedback: impl IntoIterator<Item = Told>) -> Confirmation {
        let mut receivers = Vec::new();
        for one in feedback {
            let (done, receiver) = oneshot::channel();
            if self.queue.send((one, done)).is_ok() {
                receivers.push(receiver);
            }
        }
        Confirmation(receivers)
    }

    /// Hands over checks.
    pub fn checks(&self, checks: Vec<CommitCheck>) -> Confirmation {
        self.publish(checks.into_iter().map(of_check))
    }
}

/// A deployment as feedback.
pub fn of_deployment(origin: &Origin, commit: &str, application: &str, deployment: wire::Deployment) -> Told {
    feedback(origin, commit, application.into(), Content::Deployment(deployment))
}

fn of_check(check: CommitCheck) -> Told {
    let application = check.application.map(|id| id.to_string()).unwrap_or_default();
    feedback(&check.origin, &check.commit, application, Content::Check(check.check))
}

fn feedback(origin: &Origin, commit: &str, application: String, content: Content) -> Told {
    let feedback = Feedback {
        forge: origin.forge.into(),
        repository: Some(origin.repository.clone()),
        commit: commit.into(),
        created_at_unix_us: Timestamp::now().as_microsecond(),
        delivery_id: origin.delivery.clone(),
        application,
        content: Some(content),
    };
    Told { feedback, trace: origin.trace }
}

async fn publish_all(
    bus: Arc<dyn Bus>,
    queue: String,
    mut receiver: mpsc::UnboundedReceiver<(Told, oneshot::Sender<()>)>,
) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            next = receiver.recv(), if in_flight.len() < IN_FLIGHT => match next {
                Some((told, done)) => in_flight.push(publish(bus.as_ref(), &queue, told, done)),
                None => break,
            },
            Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
        }
    }
    while in_flight.next().await.is_some() {}
}

/// Publishes until it is confirmed: feedback is decided once, and the bus comes back.
async fn publish(bus: &dyn Bus, queue: &str, told: Told, done: oneshot::Sender<()>) {
    let mut envelope = Envelope::feedback(&told.feedback);
    envelope.traceparent = told.trace.map(|trace| trace.child());
    let message = Message::from(envelope);
    let mut pause = Duration::from_millis(50);
    while let Err(error) = bus.publish(queue, queue, message.clone()).await {
        tracing::warn!(queue, %error, "feedback.not_published: the bus did not take it; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    let _ = done.send(());
}
