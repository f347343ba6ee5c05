//! The dead letters on a broker, and what found no queue.

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::convert::{Decoded, decode, own, short};
use super::declare::bounded;
use super::link::Link;
use crate::{BusError, DeadLetter, PUBLISH_LIMIT, names};

/// Messages taken for a look. Closing the channel returns those that were not acknowledged, in their order.
struct Look {
    channel: Channel,
    queue: &'static str,
}

impl Look {
    async fn at(link: &Link, queue: &'static str) -> Result<Self, BusError> {
        let live = link.live_until(0, Instant::now() + PUBLISH_LIMIT).await?;
        let channel = bounded(queue, live.connection.create_channel()).await?;
        Ok(Self { channel, queue })
    }

    async fn next(&self) -> Result<Option<Delivery>, BusError> {
        let get = self.channel.basic_get(short(self.queue), BasicGetOptions { no_ack: false });
        Ok(bounded(self.queue, get).await?.map(|message| message.delivery))
    }

    async fn end(self) {
        let _ = bounded(self.queue, self.channel.close(200, short("OK"))).await;
    }
}

async fn take(delivery: &Delivery) -> Result<(), BusError> {
    match bounded("", delivery.acker.ack(BasicAckOptions::default())).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(BusError::Lost),
    }
}

pub(super) async fn list(link: &Link, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
    let look = Look::at(link, names::DEAD).await?;
    let mut letters = Vec::new();
    while letters.len() < limit {
        match look.next().await? {
            Some(mut delivery) => letters.push(letter(decode(&mut delivery))),
            None => break,
        }
    }
    look.end().await;
    Ok(letters)
}

pub(super) async fn replay(link: &Link, id: &str) -> Result<(), BusError> {
    let (look, delivery, letter) = find(link, id).await?;
    let result = async {
        let queue = letter.queue.ok_or_else(|| BusError::NoWayBack(id.to_owned()))?;
        link.publish(names::DEFAULT, &queue, &letter.message, &[], None).await?;
        take(&delivery).await
    };
    let result = result.await;
    look.end().await;
    result
}

pub(super) async fn discard(link: &Link, id: &str) -> Result<(), BusError> {
    let (look, delivery, _) = find(link, id).await?;
    let result = take(&delivery).await;
    look.end().await;
    result
}

async fn find(link: &Link, id: &str) -> Result<(Look, Delivery, DeadLetter), BusError> {
    let look = Look::at(link, names::DEAD).await?;
    while let Some(mut delivery) = look.next().await? {
        let letter = letter(decode(&mut delivery));
        if letter.id == id {
            return Ok((look, delivery, letter));
        }
    }
    look.end().await;
    Err(BusError::NoDeadLetter(id.to_owned()))
}

fn letter(decoded: Decoded) -> DeadLetter {
    let ours = decoded.own.get(own::DEAD_ID).cloned();
    let attempts = decoded.number(own::ATTEMPT).unwrap_or(1);
    // One that we put here can have deaths from its time in the waiting rooms; they do not matter.
    if let Some(id) = ours {
        let at_unix_ms = decoded.number(own::DEAD_AT).unwrap_or_default();
        let reason = decoded.own.get(own::REASON).cloned().unwrap_or_default();
        let queue = decoded.own.get(own::QUEUE).cloned();
        return DeadLetter { id, message: decoded.message, queue, reason, at_unix_ms, attempts };
    }
    let death = decoded.death.unwrap_or_default();
    let reason = match death.reason.as_str() {
        "delivery_limit" => "delivered too often without being settled: it may be what ends its consumers".to_owned(),
        "" => "not known".to_owned(),
        other => format!("moved here by the broker: {other}"),
    };
    DeadLetter {
        id: format!("{}@{}@{}", decoded.message.id, death.queue, death.at_unix_s),
        message: decoded.message,
        queue: Some(death.queue).filter(|queue| !queue.is_empty()),
        reason,
        at_unix_ms: i64::try_from(death.at_unix_s.saturating_mul(1000)).unwrap_or_default(),
        attempts,
    }
}

pub(super) async fn depth(link: &Link, queue: &str) -> Result<u64, BusError> {
    let live = link.live_until(0, Instant::now() + PUBLISH_LIMIT).await?;
    let count = async {
        let channel = live.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let declared = channel.queue_declare(short(queue), options, FieldTable::default()).await?;
        let _ = channel.close(200, short("OK")).await;
        Ok(u64::from(declared.message_count()))
    };
    bounded(queue, count).await
}

pub(super) async fn reroute(link: &Link) -> Result<u64, BusError> {
    // What finds no queue this time comes back to the end of the same queue: go round once.
    let before = depth(link, names::UNROUTED).await?;
    let look = Look::at(link, names::UNROUTED).await?;
    let result = async {
        for _ in 0..before {
            let Some(mut delivery) = look.next().await? else { break };
            let (exchange, key) = (delivery.exchange.to_string(), delivery.routing_key.to_string());
            let decoded = decode(&mut delivery);
            link.publish(&exchange, &key, &decoded.message, &[], None).await?;
            take(&delivery).await?;
        }
        Ok(())
    };
    let result: Result<(), BusError> = result.await;
    look.end().await;
    result?;
    Ok(before.saturating_sub(depth(link, names::UNROUTED).await?))
}
