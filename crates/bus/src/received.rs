use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{BusError, Message};

/// How one kind of bus settles a message. A value that is dropped before it has settled gives the message back.
#[async_trait]
pub(crate) trait Settle: Send + Sync {
    async fn ack(self: Box<Self>) -> Result<(), BusError>;
    async fn retry(
        self: Box<Self>,
        message: Message,
        attempt: u32,
        after: Duration,
        reason: &str,
    ) -> Result<(), BusError>;
    async fn dead_letter(self: Box<Self>, message: Message, attempt: u32, reason: &str) -> Result<(), BusError>;
    /// The message will come again whatever is done here.
    fn is_lost(&self) -> bool;
}

/// A message that waits to be settled. Dropping it returns it to its queue, where it is the next one.
pub struct Received {
    /// The message.
    pub message: Message,
    /// The queue it came from.
    pub queue: String,
    /// How often it has been handed out, this time included: 1 is the first. Counts retries and deliveries that were not
    /// settled.
    pub attempt: u32,
    settle: Box<dyn Settle>,
}

impl Received {
    pub(crate) fn new(message: Message, queue: String, attempt: u32, settle: Box<dyn Settle>) -> Self {
        Self { message, queue, attempt, settle }
    }

    /// It is done and forgotten.
    pub async fn ack(self) -> Result<(), BusError> {
        self.settle.ack().await
    }

    /// It comes again, at the end of its queue, not before `after` and with `attempt` one higher. It is stored with its
    /// delay before it is taken from its queue, so a crash in between shows it twice and never loses it.
    pub async fn retry(self, after: Duration, reason: &str) -> Result<(), BusError> {
        self.settle.retry(self.message, self.attempt, after, reason).await
    }

    /// It cannot be handled: put it where a person sees it with the reason, and can send it back.
    pub async fn dead_letter(self, reason: &str) -> Result<(), BusError> {
        self.settle.dead_letter(self.message, self.attempt, reason).await
    }

    /// The connection that it came over is lost: the message comes again whatever is done with this one.
    pub fn is_lost(&self) -> bool {
        self.settle.is_lost()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message", &self.message)
            .field("queue", &self.queue)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The messages of one queue, in order. It survives the loss of the connection: what was not settled comes again.
/// Dropping it lets the next consumer take over; messages that were taken from it can still be settled.
pub struct Consumer {
    queue: String,
    messages: mpsc::Receiver<Received>,
    // Ends the task that fetches.
    _stop: DropGuard,
}

impl Consumer {
    pub(crate) fn new(queue: String, messages: mpsc::Receiver<Received>, stop: CancellationToken) -> Self {
        Self { queue, messages, _stop: stop.drop_guard() }
    }

    /// The next message. None after [`crate::Bus::close`]. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            let received = self.messages.recv().await?;
            // Fetched over a connection that is gone: it will come again, and working on both would be for nothing.
            if !received.is_lost() {
                return Some(received);
            }
        }
    }

    /// The queue that is consumed.
    pub fn queue(&self) -> &str {
        &self.queue
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}
