//! The bus between Lockstep's programs: durable, at least once, in order per queue, with retry, delayed retry and dead
//! letters. Two ways behind one trait: RabbitMQ ([`connect`] with `amqp://…`) and a journal in one file for a single
//! process (`journal:/path/file.db`). One test suite runs on both.
//!
//! This crate never looks into a message, never acknowledges what a consumer did not settle, and never reports a publish
//! as done that is not on disk. It does not deduplicate: after a lost connection or a crash a message may come twice.
//!
//! ```no_run
//! use std::time::Duration;
//! use bus::{Topology, names};
//!
//! # async fn example(delivery: wire::Delivery) -> Result<(), Box<dyn std::error::Error>> {
//! let bus = bus::connect("journal:/var/lib/lockstep/bus.db").await?;
//! bus.declare(&Topology::for_cluster("prod")).await?;
//! bus.publish(names::DELIVERIES, &delivery.routing_key(), wire::Envelope::delivery(&delivery).into()).await?;
//!
//! let mut consumer = bus.consume(&names::worker_queue("prod"), 100).await?;
//! while let Some(received) = consumer.next().await {
//!     match wire::Envelope::try_from(&received.message) {
//!         Ok(envelope) if envelope.subject.is_none() => received.retry(Duration::from_secs(5), "not there yet").await?,
//!         Ok(_) => received.ack().await?,
//!         Err(error) => received.dead_letter(&error.to_string()).await?,
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod amqp;
mod counters;
mod error;
mod journal;
mod message;
mod received;
mod retry;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use counters::Counters;
pub use error::{BusError, PublishError};
pub use message::{MAX_BODY_BYTES, MAX_HEADER_BYTES, Message};
pub use received::{Consumer, Received};
pub use topology::{Binding, Exchange, ExchangeKind, Overflow, Queue, Topology, names};

pub(crate) use retry::RetryClass;

/// The longest that a publish takes, whatever the broker does. GitHub gives a webhook ten seconds.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(8);

/// A message that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it for [`Bus::replay`] and [`Bus::discard`].
    pub id: String,
    /// The message as it was published.
    pub message: Message,
    /// The queue it was in and goes back to; none if it was never in one.
    pub queue: Option<String>,
    /// Why it is here.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// How often it had been handed out.
    pub attempts: u32,
}

/// What both kinds of bus do.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Creates what is missing of the topology, and again whenever the broker has lost it.
    async fn declare(&self, topology: &Topology) -> Result<(), BusError>;

    /// Stores a message in every queue that wants it. Ok means: on disk. Takes at most [`PUBLISH_LIMIT`]; within it, a
    /// publish that was under way when the connection was lost is repeated on the next one.
    async fn publish(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), PublishError>;

    /// Stores a message among the dead letters that never was in a queue: authentic, but not understood.
    async fn bury(&self, message: Message, reason: &str) -> Result<(), PublishError>;

    /// The messages of a queue, at most `prefetch` (1 to 2000) of them unsettled at a time.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, BusError>;

    /// How many messages of the queue are ready to be delivered.
    async fn depth(&self, queue: &str) -> Result<u64, BusError>;

    /// The oldest dead letters.
    async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>, BusError>;

    /// Puts a dead letter back into the queue it came from, as if it had just been published.
    async fn replay(&self, id: &str) -> Result<(), BusError>;

    /// Forgets a dead letter.
    async fn discard(&self, id: &str) -> Result<(), BusError>;

    /// Publishes again what came when no worker's queue was there ([`names::UNROUTED`]), and returns how many messages
    /// have found a queue. For a worker to call once its queue is declared.
    async fn reroute(&self) -> Result<u64, BusError>;

    /// Whether a publish has a chance now.
    async fn ping(&self) -> Result<(), BusError>;

    /// What was done so far.
    fn counters(&self) -> &Counters;

    /// Ends all consumers and the connection. Unsettled messages go back to their queues.
    async fn close(&self);
}

/// Opens the bus at an address: `amqp://user:password@host:5672/vhost`, `amqps://…`, or `journal:/path/file.db`.
pub async fn connect(address: &str) -> Result<Arc<dyn Bus>, BusError> {
    match address.split_once(':') {
        Some(("amqp" | "amqps", _)) => Ok(Arc::new(amqp::Amqp::connect(address).await?)),
        Some(("journal", path)) if !path.is_empty() => Ok(Arc::new(journal::Journal::open(path.as_ref()).await?)),
        Some(("journal", _)) => Err(BusError::Address("it has no path".to_owned())),
        Some((scheme, _)) => Err(BusError::Address(format!("{scheme}: is neither amqp:, amqps: nor journal:"))),
        None => Err(BusError::Address("it has no scheme".to_owned())),
    }
}
