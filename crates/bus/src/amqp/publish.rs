//! Publishing with confirms.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{Instant, timeout_at};

use super::convert::{properties, short};
use super::declare::reply_code;
use super::link::{Link, Live, open_publisher};
use crate::{BusError, Counters, Message, PUBLISH_LIMIT, PublishError};

/// How one attempt over one connection ended.
enum Attempt {
    Done(Result<(), PublishError>),
    /// The channel or connection is gone, nobody knows about the message.
    Again,
}

impl Link {
    /// Publishes and waits for the confirm, over as many connections as the time limit allows.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
        own: &[(&str, String)],
        expires: Option<Duration>,
    ) -> Result<(), PublishError> {
        Counters::add(&self.counters.published);
        let result = self.publish_within(exchange, routing_key, message, own, expires).await;
        self.counters.count_publish(&result);
        result
    }

    async fn publish_within(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
        own: &[(&str, String)],
        expires: Option<Duration>,
    ) -> Result<(), PublishError> {
        message.check_size(exchange, routing_key)?;
        let unroutable = || PublishError::Unroutable { exchange: exchange.into(), routing_key: routing_key.into() };
        let always_routes = self.always_routes(exchange).ok_or_else(unroutable)?;
        let deadline = Instant::now() + PUBLISH_LIMIT;
        let timed_out = || PublishError::TimedOut { after: PUBLISH_LIMIT };
        let weight = Self::weight(message.body.len());
        // Most of the time nobody has to wait, and then no timer has to be set.
        let _permits = match self.in_flight.try_acquire_many(weight) {
            Ok(permits) => Ok(permits),
            Err(_) => timeout_at(deadline, self.in_flight.acquire_many(weight)).await.map_err(|_| timed_out())?,
        };
        let mut not = 0;
        loop {
            let live = match self.live_now(not) {
                Some(live) => live,
                None => self.live_until(not, deadline).await.map_err(|error| match error {
                    BusError::Unavailable(reason) => PublishError::Unavailable { reason },
                    other => PublishError::Unavailable { reason: other.to_string() },
                })?,
            };
            if live.connection.status().blocked() {
                let reason = "it is short of memory or disk space".to_owned();
                return Err(PublishError::Refused { reason });
            }
            let publish = Publish { exchange, routing_key, message, properties: properties(message, own, expires) };
            let attempt = async {
                if always_routes { publish.over(&live.publisher).await } else { publish.carefully(&live).await }
            };
            match timeout_at(deadline, live.over.run_until_cancelled(attempt)).await {
                Ok(Some(Attempt::Done(result))) => return result,
                Ok(Some(Attempt::Again) | None) => {
                    self.report_broken(live.generation);
                    not = live.generation;
                }
                Err(_) => return Err(timed_out()),
            }
        }
    }
}

struct Publish<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    message: &'a Message,
    properties: BasicProperties,
}

impl Publish<'_> {
    async fn over(self, channel: &Channel) -> Attempt {
        let Self { exchange, routing_key, message, properties } = self;
        let unroutable = || PublishError::Unroutable { exchange: exchange.into(), routing_key: routing_key.into() };
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let sent = channel.basic_publish(short(exchange), short(routing_key), options, &message.body, properties).await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match confirmed {
            Ok(Confirmation::Ack(None)) => Attempt::Done(Ok(())),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Attempt::Done(Err(unroutable())),
            Ok(Confirmation::Nack(None)) => {
                Attempt::Done(Err(PublishError::Refused { reason: "a queue that takes it is full".to_owned() }))
            }
            Ok(Confirmation::NotRequested) => Attempt::Again,
            // An exchange that is not there ends the channel for all who publish over it; only one of them is to blame.
            Err(error) if reply_code(&error) == Some(404) && names(&error, exchange) => {
                Attempt::Done(Err(unroutable()))
            }
            Err(error) if reply_code(&error) == Some(403) && names(&error, exchange) => {
                Attempt::Done(Err(PublishError::Refused { reason: error.to_string() }))
            }
            Err(_) => Attempt::Again,
        }
    }

    /// One at a time. The channel is taken out while it is used, so that giving up half-way leaves none behind: what
    /// comes late on the old one can then not be taken for an answer to the next publish.
    async fn carefully(self, live: &Live) -> Attempt {
        let mut slot = live.careful.lock().await;
        let channel = match slot.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => match open_publisher(&live.connection).await {
                Ok(channel) => channel,
                Err(_) => return Attempt::Again,
            },
        };
        let attempt = self.over(&channel).await;
        if channel.status().connected() {
            *slot = Some(channel);
        }
        attempt
    }
}

fn names(error: &lapin::Error, exchange: &str) -> bool {
    error.to_string().contains(&format!("'{exchange}'"))
}
