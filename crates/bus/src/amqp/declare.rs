//! A topology on a broker.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Error, ErrorKind};
use tokio::time::timeout;

use super::convert::short;
use crate::{BusError, Exchange, ExchangeKind, Overflow, PUBLISH_LIMIT, Queue, Topology, names};

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// AMQP's number for what went wrong, if the broker gave one.
pub(super) fn reply_code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// The error in words of this crate.
pub(super) fn bus_error(name: &str, error: &Error) -> BusError {
    match reply_code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => BusError::Denied(error.to_string()),
        Some(NOT_FOUND) => BusError::NoQueue(name.to_owned()),
        Some(PRECONDITION_FAILED) => BusError::Mismatch { name: name.to_owned(), detail: error.to_string() },
        _ => BusError::Unavailable(error.to_string()),
    }
}

/// Asks the broker something about `name`, for no longer than [`PUBLISH_LIMIT`]: when a connection is lost at the wrong
/// moment, lapin never answers.
pub(super) async fn bounded<T>(name: &str, ask: impl Future<Output = lapin::Result<T>>) -> Result<T, BusError> {
    match timeout(PUBLISH_LIMIT, ask).await {
        Ok(answer) => answer.map_err(|error| bus_error(name, &error)),
        Err(_) => Err(BusError::Unavailable(format!("no answer within {PUBLISH_LIMIT:?}"))),
    }
}

/// Declares everything. An error closes a channel, so each gets a new one where the last failed.
pub(super) async fn declare(connection: &Connection, topology: &Topology) -> Result<(), BusError> {
    let mut channel = open(connection).await?;
    for exchange in &topology.exchanges {
        if let Err(error) = declare_exchange(&channel, exchange, false).await {
            channel = tolerate(connection, &exchange.name, &error).await?;
            declare_exchange(&channel, exchange, true).await.map_err(|_| bus_error(&exchange.name, &error))?;
        }
    }
    for queue in &topology.queues {
        let retry = queue.retry_queues().map(|name| (name, retry_arguments(queue)));
        for (name, arguments) in [(queue.name.clone(), arguments(queue))].into_iter().chain(retry) {
            if let Err(error) = declare_queue(&channel, &name, arguments, false).await {
                channel = tolerate(connection, &name, &error).await?;
                let passive = declare_queue(&channel, &name, FieldTable::default(), true).await;
                passive.map_err(|_| bus_error(&name, &error))?;
            }
        }
        if queue.retry {
            channel = own_exchange(connection, channel, queue).await?;
        }
    }
    for binding in &topology.bindings {
        let (queue, exchange, key) = (short(&binding.queue), short(&binding.exchange), short(&binding.key));
        let bound = channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await;
        if let Err(error) = bound {
            // Whoever may not bind relies on somebody who did.
            channel = tolerate(connection, &binding.queue, &error).await?;
            tracing::warn!(queue = binding.queue, exchange = binding.exchange, %error, "binding not made");
        }
    }
    let _ = channel.close(200, short("OK")).await;
    Ok(())
}

/// A work queue has an exchange of its own name, by which it and its waiting rooms are reached. The default exchange reaches
/// every queue, and a broker cannot say which ones a user may reach by it.
async fn own_exchange(connection: &Connection, mut channel: Channel, queue: &Queue) -> Result<Channel, BusError> {
    let exchange = Exchange { name: queue.name.clone(), kind: ExchangeKind::Direct, alternate: None };
    if let Err(error) = declare_exchange(&channel, &exchange, false).await {
        channel = tolerate(connection, &exchange.name, &error).await?;
        declare_exchange(&channel, &exchange, true).await.map_err(|_| bus_error(&exchange.name, &error))?;
        return Ok(channel);
    }
    for name in std::iter::once(queue.name.clone()).chain(queue.retry_queues()) {
        let bound = channel
            .queue_bind(
                short(&name),
                short(&queue.name),
                short(&name),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await;
        bound.map_err(|error| bus_error(&name, &error))?;
    }
    Ok(channel)
}

async fn open(connection: &Connection) -> Result<Channel, BusError> {
    connection.create_channel().await.map_err(|error| bus_error("", &error))
}

/// A user without the right to declare may still use what others declared: then its existence is enough.
async fn tolerate(connection: &Connection, name: &str, error: &Error) -> Result<Channel, BusError> {
    if reply_code(error) == Some(ACCESS_REFUSED) { open(connection).await } else { Err(bus_error(name, error)) }
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange, passive: bool) -> lapin::Result<()> {
    let kind = match exchange.kind {
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
    };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &exchange.alternate {
        arguments.insert(short("alternate-exchange"), text(alternate));
    }
    let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
    channel.exchange_declare(short(&exchange.name), kind, options, arguments).await
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable, passive: bool) -> lapin::Result<()> {
    let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
    channel.queue_declare(short(name), options, arguments).await.map(drop)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn quorum(max_length: u32, overflow: Overflow) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(short("x-queue-type"), text("quorum"));
    table.insert(short("x-max-length"), AMQPValue::LongLongInt(i64::from(max_length)));
    let overflow = match overflow {
        Overflow::Reject => "reject-publish",
        Overflow::DropHead => "drop-head",
    };
    table.insert(short("x-overflow"), text(overflow));
    table
}

fn arguments(queue: &Queue) -> FieldTable {
    let mut table = quorum(queue.max_length, queue.overflow);
    // Without it RabbitMQ 3 delivers for ever and RabbitMQ 4 drops after twenty times.
    table.insert(short("x-delivery-limit"), AMQPValue::LongLongInt(i64::from(queue.delivery_limit)));
    if queue.single_active {
        table.insert(short("x-single-active-consumer"), AMQPValue::Boolean(true));
    }
    if queue.dead_letters {
        dead_letters_to(&mut table, names::DEAD, None);
    }
    table
}

/// A waiting room: what expires in it goes back to its queue.
fn retry_arguments(queue: &Queue) -> FieldTable {
    let mut table = quorum(queue.max_length, Overflow::Reject);
    dead_letters_to(&mut table, &queue.name, Some(&queue.name));
    table
}

/// The broker keeps a message until its new place has confirmed it. It does so only for queues that refuse when full.
fn dead_letters_to(table: &mut FieldTable, exchange: &str, routing_key: Option<&str>) {
    table.insert(short("x-dead-letter-exchange"), text(exchange));
    table.insert(short("x-dead-letter-strategy"), text("at-least-once"));
    if let Some(key) = routing_key {
        table.insert(short("x-dead-letter-routing-key"), text(key));
    }
}
