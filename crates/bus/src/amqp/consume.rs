//! Consuming, over as many connections as it takes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::convert::{cut_reason, decode, own, short};
use super::declare::bounded;
use super::link::{Link, Live};
use crate::received::Settle;
use crate::retry::{due_unix_ms, now_unix_ms, remaining};
use crate::{BusError, Consumer, Counters, Message, PUBLISH_LIMIT, Received, RetryClass, names};

/// RabbitMQ's own limit for quorum queues.
const MAX_PREFETCH: u16 = 2000;
const PAUSE: Duration = Duration::from_millis(200);
/// How often a subscription's connection is looked at. lapin can leave those who wait when a connection is lost waiting
/// for ever.
const LOOK: Duration = Duration::from_millis(250);

struct Subscription {
    live: Arc<Live>,
    channel: Channel,
    deliveries: lapin::Consumer,
    /// Cancelled when the connection is lost, for those who are settling messages of it.
    gone: CancellationToken,
}

impl Subscription {
    fn works(&self) -> bool {
        self.live.connection.status().connected() && self.channel.status().connected()
    }
}

pub(super) async fn consume(link: &Arc<Link>, queue: &str, prefetch: u16) -> Result<Consumer, BusError> {
    let prefetch = prefetch.clamp(1, MAX_PREFETCH);
    let live = link.live_until(0, Instant::now() + PUBLISH_LIMIT).await?;
    let subscription = subscribe(&live, queue, prefetch).await?;
    let (send, receive) = mpsc::channel(usize::from(prefetch));
    let stop = link.closed.child_token();
    let pump = Pump { link: link.clone(), queue: queue.to_owned(), prefetch, send, stop: stop.clone() };
    tokio::spawn(pump.run(subscription));
    Ok(Consumer::new(queue.to_owned(), receive, stop))
}

async fn subscribe(live: &Arc<Live>, queue: &str, prefetch: u16) -> Result<Subscription, BusError> {
    let open = async {
        let channel = live.connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let deliveries = channel.basic_consume(short(queue), short(""), options, arguments).await?;
        Ok(Subscription { live: live.clone(), channel, deliveries, gone: CancellationToken::new() })
    };
    bounded(queue, open).await
}

struct Pump {
    link: Arc<Link>,
    queue: String,
    prefetch: u16,
    send: mpsc::Sender<Received>,
    stop: CancellationToken,
}

impl Pump {
    async fn run(self, first: Subscription) {
        let mut subscription = first;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    unsubscribe(subscription).await;
                    return;
                }
                () = self.forward(&mut subscription) => {}
            }
            subscription.gone.cancel();
            drop(subscription);
            tokio::select! {
                () = self.stop.cancelled() => return,
                again = self.subscribe_again() => match again {
                    Some(new) => subscription = new,
                    None => return,
                }
            }
        }
    }

    /// Until the connection, the channel or the queue is gone.
    async fn forward(&self, subscription: &mut Subscription) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                next = next_with_room(&self.send, &mut subscription.deliveries) => Some(next),
                _ = look.tick() => None,
            };
            let (room, delivery) = match next {
                Some(Some(next)) => next,
                Some(None) => return,
                None if subscription.works() => continue,
                None => return,
            };
            if let Some(received) = self.receive(delivery, subscription).await {
                Counters::add(&self.link.counters.received);
                room.send(received);
            }
        }
    }

    async fn receive(&self, mut delivery: Delivery, from: &Subscription) -> Option<Received> {
        let decoded = decode(&mut delivery);
        let attempt = decoded.attempt();
        let settle = Box::new(AmqpSettle {
            link: self.link.clone(),
            acker: delivery.acker,
            channel: from.channel.clone(),
            gone: from.gone.clone(),
            queue: self.queue.clone(),
            settled: false,
        });
        if let Some(wait) = decoded.number(own::DUE).and_then(remaining) {
            let due = decoded.number(own::DUE).unwrap_or_else(now_unix_ms);
            let reason = decoded.own.get(own::REASON).cloned().unwrap_or_default();
            if let Err(error) = settle.put_off(&decoded.message, attempt, wait, due, &reason).await {
                tracing::warn!(queue = self.queue, %error, "delayed message not put off further; trying again");
                sleep(PAUSE).await;
            }
            return None;
        }
        Some(Received::new(decoded.message, self.queue.clone(), attempt, settle))
    }

    async fn subscribe_again(&self) -> Option<Subscription> {
        loop {
            let live = self.link.live(0).await?;
            match subscribe(&live, &self.queue, self.prefetch).await {
                Ok(subscription) => {
                    tracing::info!(queue = self.queue, generation = live.generation, "consuming again");
                    return Some(subscription);
                }
                Err(error @ BusError::NoQueue(_)) => {
                    // Somebody deleted it: a new generation declares everything again.
                    tracing::warn!(queue = self.queue, %error, "queue is gone");
                    self.link.report_broken(live.generation);
                }
                Err(error) => tracing::debug!(queue = self.queue, %error, "not consuming yet"),
            }
            sleep(PAUSE).await;
        }
    }
}

/// There is room unless the channel is full of messages of a lost connection, which the consumer passes over.
async fn next_with_room<'a>(
    send: &'a mpsc::Sender<Received>,
    deliveries: &mut lapin::Consumer,
) -> Option<(mpsc::Permit<'a, Received>, Delivery)> {
    let room = send.reserve().await.ok()?;
    let delivery = deliveries.next().await?.ok()?;
    Some((room, delivery))
}

/// Tells the broker to send no more, and gives back what is on its way. The channel stays open as long as messages that
/// were taken from it wait to be settled.
async fn unsubscribe(mut subscription: Subscription) {
    let end = async {
        let tag = subscription.deliveries.tag();
        let _ = subscription.channel.basic_cancel(tag, BasicCancelOptions::default()).await;
        while let Some(Ok(delivery)) = subscription.deliveries.next().await {
            let _ = delivery.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await;
        }
    };
    let _ = timeout(PUBLISH_LIMIT, end).await;
}

struct AmqpSettle {
    link: Arc<Link>,
    acker: Acker,
    // Keeps the channel open.
    channel: Channel,
    gone: CancellationToken,
    queue: String,
    settled: bool,
}

impl AmqpSettle {
    async fn acknowledge(mut self: Box<Self>) -> Result<(), BusError> {
        self.settled = true;
        let ack = timeout(PUBLISH_LIMIT, self.acker.ack(BasicAckOptions::default()));
        match self.gone.run_until_cancelled(ack).await {
            Some(Ok(Ok(true))) => Ok(()),
            _ => Err(BusError::Lost),
        }
    }

    /// Stores the message in a waiting room, then takes it from its queue.
    async fn put_off(
        self: Box<Self>,
        message: &Message,
        attempt: u32,
        wait: Duration,
        due: i64,
        reason: &str,
    ) -> Result<(), BusError> {
        let (class, wait) = RetryClass::next(wait);
        let own = [(own::ATTEMPT, attempt.to_string()), (own::DUE, due.to_string()), (own::REASON, cut_reason(reason))];
        self.link.publish(&self.queue, &class.queue(&self.queue), message, &own, Some(wait)).await?;
        // The message is safe; if this acknowledgement is lost it comes twice.
        let _ = self.acknowledge().await;
        Ok(())
    }
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        let link = self.link.clone();
        self.acknowledge().await?;
        Counters::add(&link.counters.acknowledged);
        Ok(())
    }

    async fn retry(
        self: Box<Self>,
        message: Message,
        attempt: u32,
        after: Duration,
        reason: &str,
    ) -> Result<(), BusError> {
        let link = self.link.clone();
        self.put_off(&message, attempt.saturating_add(1), after, due_unix_ms(after), reason).await?;
        Counters::add(&link.counters.retried);
        Ok(())
    }

    async fn dead_letter(self: Box<Self>, message: Message, attempt: u32, reason: &str) -> Result<(), BusError> {
        let own = dead_headers(Some(&self.queue), attempt, reason);
        self.link.publish(names::DEAD, "", &message, &own, None).await?;
        Counters::add(&self.link.counters.dead_lettered);
        let _ = self.acknowledge().await;
        Ok(())
    }

    fn is_lost(&self) -> bool {
        self.acker.poisoned() || self.gone.is_cancelled()
    }
}

impl Drop for AmqpSettle {
    fn drop(&mut self) {
        if self.settled || self.gone.is_cancelled() || !self.acker.usable() {
            return;
        }
        Counters::add(&self.link.counters.given_back);
        // Without a runtime the connection is going too, and the broker takes the message back by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (acker, channel) = (self.acker.clone(), self.channel.clone());
            runtime.spawn(async move {
                let _ = timeout(PUBLISH_LIMIT, acker.nack(BasicNackOptions { requeue: true, multiple: false })).await;
                drop(channel);
            });
        }
    }
}

/// What makes a message a dead letter of ours.
pub(super) fn dead_headers(queue: Option<&str>, attempt: u32, reason: &str) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        (own::DEAD_ID, Uuid::now_v7().to_string()),
        (own::DEAD_AT, now_unix_ms().to_string()),
        (own::REASON, cut_reason(reason)),
        (own::ATTEMPT, attempt.to_string()),
    ];
    headers.extend(queue.map(|queue| (own::QUEUE, queue.to_owned())));
    headers
}
