use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a bus has done since it was connected, for metrics.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// All counters with their names, in a fixed order.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Publishes begun.
    published,
    /// Publishes that the broker confirmed.
    confirmed,
    /// Publishes that no queue took.
    unroutable,
    /// Publishes that the broker refused.
    refused,
    /// Publishes without an answer in time.
    timed_out,
    /// Publishes without a connection.
    unavailable,
    /// Publishes of messages over the limits.
    too_large,
    /// Messages handed to consumers.
    received,
    /// Messages settled as done.
    acknowledged,
    /// Messages put off.
    retried,
    /// Messages put to the dead letters by a consumer.
    dead_lettered,
    /// Messages given back without being settled.
    given_back,
    /// Times that the connection was lost.
    disconnected,
    /// Times that the connection was made again.
    reconnected,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_publish(&self, result: &Result<(), crate::PublishError>) {
        use crate::PublishError as E;
        Self::add(match result {
            Ok(()) => &self.confirmed,
            Err(E::Unroutable { .. }) => &self.unroutable,
            Err(E::Refused { .. }) => &self.refused,
            Err(E::TimedOut { .. }) => &self.timed_out,
            Err(E::Unavailable { .. }) => &self.unavailable,
            Err(E::TooLarge { .. }) => &self.too_large,
        });
    }
}
