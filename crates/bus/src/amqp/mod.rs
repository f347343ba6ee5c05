//! The bus over AMQP 0-9-1, for RabbitMQ 3.10 and later.

mod consume;
mod convert;
mod dead;
mod declare;
mod link;
mod publish;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use crate::{Bus, BusError, Consumer, Counters, DeadLetter, Message, PUBLISH_LIMIT, PublishError, Topology, names};
use link::Link;

pub(crate) struct Amqp {
    link: Arc<Link>,
    // Ends the connection and all consumers when the last handle is gone.
    _close: DropGuard,
}

impl Amqp {
    pub(crate) async fn connect(address: &str) -> Result<Self, BusError> {
        let link = Link::connect(address).await?;
        let close = link.closed.clone().drop_guard();
        Ok(Self { link, _close: close })
    }
}

#[async_trait]
impl Bus for Amqp {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        let live = self.link.live_until(0, Instant::now() + PUBLISH_LIMIT).await?;
        let declared = timeout(link::DECLARE_LIMIT, declare::declare(&live.connection, topology)).await;
        declared.unwrap_or_else(|_| Err(BusError::Unavailable("no answer to a declaration".to_owned())))?;
        self.link.remember(topology);
        Ok(())
    }

    async fn publish(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), PublishError> {
        self.link.publish(exchange, routing_key, &message, &[], None).await
    }

    async fn bury(&self, message: Message, reason: &str) -> Result<(), PublishError> {
        let headers = consume::dead_headers(None, 0, reason);
        self.link.publish(names::DEAD, "", &message, &headers, None).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, BusError> {
        consume::consume(&self.link, queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<u64, BusError> {
        dead::depth(&self.link, queue).await
    }

    async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
        dead::list(&self.link, limit).await
    }

    async fn replay(&self, id: &str) -> Result<(), BusError> {
        dead::replay(&self.link, id).await
    }

    async fn discard(&self, id: &str) -> Result<(), BusError> {
        dead::discard(&self.link, id).await
    }

    async fn reroute(&self) -> Result<u64, BusError> {
        dead::reroute(&self.link).await
    }

    async fn ping(&self) -> Result<(), BusError> {
        let limit = std::time::Duration::from_secs(2);
        let no_answer = || BusError::Unavailable(format!("{} does not answer", self.link.broker()));
        let live = self.link.live_until(0, Instant::now() + limit).await?;
        if live.connection.status().blocked() {
            return Err(BusError::Unavailable("the broker is short of memory or disk space".to_owned()));
        }
        let round_trip = async {
            let channel = live.connection.create_channel().await?;
            channel.close(200, convert::short("OK")).await
        };
        let answer = timeout(limit, round_trip).await.map_err(|_| no_answer())?;
        answer.map_err(|_| no_answer())
    }

    fn counters(&self) -> &Counters {
        &self.link.counters
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
