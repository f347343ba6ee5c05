use std::time::Duration;

/// Why a message was not accepted. Whatever it is, the caller still has the message and must not tell anybody that it
/// is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No queue takes messages of this exchange and key.
    #[error(
        "no queue takes {exchange:?} with key {routing_key:?}; is the program that declares it installed and of this version?"
    )]
    Unroutable {
        /// Where it was published.
        exchange: String,
        /// With which key.
        routing_key: String,
    },
    /// The broker is there and says no: a queue is full, or its memory or disk is short.
    #[error("the broker refused the message: {reason}; it can be sent again later")]
    Refused {
        /// What is known about why.
        reason: String,
    },
    /// The broker did not confirm in time. The message may or may not have been stored.
    #[error("the broker has not confirmed the message within {after:?}; it may be stored or not, send it again")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// There is no connection to the broker, or the journal cannot be written.
    #[error("the broker cannot be reached: {reason}")]
    Unavailable {
        /// What is known about why.
        reason: String,
    },
    /// The message can never be accepted.
    #[error("the message's {what} is {bytes} bytes long, at most {limit} can be sent")]
    TooLarge {
        /// `body`, `headers`, `id`, `routing key`, …
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
}

impl PublishError {
    /// Whether the same message may be accepted later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::TimedOut { .. } | Self::Unavailable { .. })
    }
}

/// Why something other than a publish failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The address of the bus is not one.
    #[error(
        "the bus address is not usable: {0}; write amqp://user:password@host:5672/vhost, amqps://… or journal:/path/file.db"
    )]
    Address(String),
    /// There is no connection to the broker, or the journal cannot be opened.
    #[error("the broker cannot be reached: {0}")]
    Unavailable(String),
    /// The broker does not let this user do that.
    #[error("the broker denies access: {0}; check the user's password, virtual host and permissions")]
    Denied(String),
    /// A queue or exchange of that name exists with other settings.
    #[error(
        "{name} exists on the broker with other settings ({detail}); empty and delete it, it is then declared anew"
    )]
    Mismatch {
        /// The queue or exchange.
        name: String,
        /// What the broker says.
        detail: String,
    },
    /// There is no such queue.
    #[error("there is no queue {0}; declare it first")]
    NoQueue(String),
    /// No dead letter has that id.
    #[error("there is no dead letter {0}; list them again, it may have been replayed already")]
    NoDeadLetter(String),
    /// The dead letter was never in a queue.
    #[error(
        "dead letter {0} was never in a queue, so there is none to return it to; let the forge send the webhook again"
    )]
    NoWayBack(String),
    /// The connection over which the message came is gone: it will come again, do not count on its having been settled.
    #[error("the connection over which the message came is gone; the message will come again")]
    Lost,
    /// Another process consumes from the same journal.
    #[error("{0} is in use by another process; a journal serves one process, use amqp:// for more")]
    InUse(String),
    /// A message had to be moved to another queue, and that failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The journal's file does not work.
    #[error("the journal does not work: {0}")]
    Storage(String),
    /// [`crate::Bus::close`] was called.
    #[error("the bus was closed")]
    Closed,
}
