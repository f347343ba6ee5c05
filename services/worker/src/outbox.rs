//! From this cluster's outbox to the forges: what the worker decided to say is said, in order, within the forge's limits, and
//! kept until it is.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use bus::{Received, names};
use forge::Forges;
use forge::outbox::{Outboxes, Outcome, Policy, Settle};
use tokio_util::sync::CancellationToken;
use wire::{Envelope, Feedback};

use crate::Context;

/// Messages taken from the outbox and not yet acknowledged: enough to coalesce a burst.
const PREFETCH: u16 = 1000;

/// Empties the outbox until the worker is stopped.
pub async fn run(ctx: Arc<Context>, forges: Forges, shutdown: CancellationToken) -> anyhow::Result<()> {
    let queue = names::feedback_queue(ctx.cluster_name());
    let mut consumer = ctx.bus.consume(&queue, PREFETCH).await.context("cannot consume this cluster's outbox")?;
    let nowhere = forges.accounts().is_empty();
    if nowhere {
        tracing::warn!(
            "outbox.no_forge: no forge account is configured, so no check is written; give --forge KIND=API_URL"
        );
    }
    let outboxes = Outboxes::start(forges, Policy::default(), &shutdown);
    loop {
        let received = tokio::select! {
            () = shutdown.cancelled() => break,
            received = consumer.next() => received.with_context(|| format!("the bus ended the consumer of {queue}"))?,
        };
        let mut trace = None;
        let feedback = Envelope::try_from(&received.message).and_then(|envelope| {
            trace = envelope.traceparent.as_ref().map(wire::TraceParent::trace_id);
            envelope.open::<Feedback>()
        });
        match feedback {
            Ok(_) if nowhere => {
                if let Err(error) = received.ack().await {
                    tracing::warn!(%error, "feedback.not_settled");
                }
            }
            Ok(feedback) => {
                let handle = Handle { ctx: ctx.clone(), received, feedback: feedback.clone(), trace };
                if outboxes.offer(feedback, handle).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                if let Err(error) = received.dead_letter(&error.to_string()).await {
                    tracing::warn!(%error, "feedback.not_settled");
                }
            }
        }
    }
    outboxes.stopped().await;
    Ok(())
}

struct Handle {
    ctx: Arc<Context>,
    received: Received,
    feedback: Feedback,
    /// The webhook's.
    trace: Option<String>,
}

#[async_trait]
impl Settle for Handle {
    async fn settle(self, outcome: Outcome) {
        let settled = match outcome {
            Outcome::Posted => {
                tracing::info!(
                    commit = self.feedback.commit,
                    application = self.feedback.application,
                    trace_id = self.trace,
                    "feedback.posted"
                );
                self.ctx.reports.posted(&self.feedback.commit, &self.feedback.application);
                self.received.ack().await
            }
            Outcome::Coalesced => self.received.ack().await,
            Outcome::Dead { reason } => {
                tracing::warn!(commit = self.feedback.commit, %reason, "feedback.dead: see `lockstep deliveries dead`");
                self.received.dead_letter(&reason).await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "feedback.not_settled: it may be posted twice");
        }
    }
}
