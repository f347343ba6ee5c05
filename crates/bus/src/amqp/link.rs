//! One connection, held for as long as the bus lives: made again when it is lost, with the topology declared again.
//!
//! lapin can recover by itself, but gives up after a number of tries and does not recover a channel that failed alone.
//! Here both cases are one: build everything anew, as long as it takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::convert::short;
use super::declare::{bus_error, declare};
use crate::{BusError, Counters, Topology};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long the first connection is tried: programs and their broker are often started together.
const PATIENCE: Duration = Duration::from_secs(15);
pub(super) const DECLARE_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Belt and braces: the connection's state is looked at even if no event comes.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds. RabbitMQ suggests 60, which leaves publishers waiting for a dead broker.
const HEARTBEAT: u16 = 10;
/// Unconfirmed publishes at a time, in steps of 64 KiB; more of them do not make the broker faster.
const IN_FLIGHT: u32 = 1024;

/// A connection that works, with its channels.
pub(super) struct Live {
    pub(super) connection: Connection,
    /// For exchanges that always find a queue: any number of confirms in flight.
    pub(super) publisher: Channel,
    /// For all others: one at a time. A returned message does not say which publish it belongs to, and lapin gives it to
    /// whichever is confirmed next. Empty while a publish is under way, and if the last one was given up.
    pub(super) careful: tokio::sync::Mutex<Option<Channel>>,
    pub(super) generation: u64,
    /// Cancelled when this is no longer the connection to publish over: no confirm will come.
    pub(super) over: CancellationToken,
}

pub(super) struct Link {
    uri: AMQPUri,
    live: watch::Sender<Option<Arc<Live>>>,
    generation: AtomicU64,
    /// The newest generation of which somebody said that its publisher no longer works.
    broken: AtomicU64,
    look: Notify,
    topology: Mutex<Topology>,
    /// Exchanges that may be published to, and whether they always find a queue.
    exchanges: RwLock<HashMap<String, bool>>,
    last_error: Mutex<String>,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) counters: Counters,
    pub(super) closed: CancellationToken,
}

impl Link {
    pub(super) async fn connect(address: &str) -> Result<Arc<Self>, BusError> {
        // The URL's own errors may quote it, and it has a password in it.
        let uri = parse(address)?;
        if address.starts_with("amqps:") {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let link = Arc::new(Self {
            uri,
            live: watch::Sender::new(None),
            generation: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            look: Notify::new(),
            topology: Mutex::default(),
            exchanges: RwLock::default(),
            last_error: Mutex::new("not connected yet".to_owned()),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT as usize)),
            counters: Counters::default(),
            closed: CancellationToken::new(),
        });
        let deadline = Instant::now() + PATIENCE;
        let live = loop {
            match link.bring_up().await {
                Ok(live) => break live,
                Err(error @ BusError::Denied(_)) => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(FIRST_PAUSE * 2).await,
            }
        };
        link.live.send_replace(Some(live));
        tokio::spawn(link.clone().hold());
        Ok(link)
    }

    /// `host:port`, without the secrets of the address.
    pub(super) fn broker(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    /// How many of the in-flight permits a body takes.
    pub(super) fn weight(body_bytes: usize) -> u32 {
        u32::try_from(body_bytes / (64 * 1024)).unwrap_or(IN_FLIGHT).saturating_add(1).min(IN_FLIGHT)
    }

    /// Keeps the connection until the bus is closed.
    async fn hold(self: Arc<Self>) {
        loop {
            let Some(live) = self.live.borrow().clone() else { return };
            tokio::select! {
                () = self.closed.cancelled() => break,
                () = self.until_broken(&live) => {}
            }
            self.live.send_replace(None);
            live.over.cancel();
            let lost = !live.connection.status().connected();
            if lost {
                Counters::add(&self.counters.disconnected);
                tracing::warn!(broker = self.broker(), "connection to the broker lost");
            }
            drop(live);
            tokio::select! {
                () = self.closed.cancelled() => return,
                live = self.bring_up_again() => self.live.send_replace(Some(live)),
            };
            if lost {
                Counters::add(&self.counters.reconnected);
                tracing::info!(broker = self.broker(), "connected to the broker again");
            }
        }
        let live = self.live.borrow().clone();
        if let Some(live) = live {
            let _ = timeout(CONNECT_LIMIT, live.connection.close(200, short("OK"))).await;
        }
        self.live.send_replace(None);
    }

    async fn until_broken(&self, live: &Live) {
        let mut events = Box::pin(live.connection.events_listener());
        loop {
            let reported = self.broken.load(Ordering::Acquire) >= live.generation;
            if reported || !live.connection.status().connected() || !live.publisher.status().connected() {
                return;
            }
            tokio::select! {
                event = events.next() => if event.is_none() { sleep(FIRST_PAUSE).await },
                () = self.look.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn bring_up_again(&self) -> Arc<Live> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.bring_up().await {
                Ok(live) => return live,
                Err(error) => {
                    tracing::warn!(broker = self.broker(), %error, retry_in_ms = pause.as_millis() as u64, "no connection to the broker");
                    *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                }
            }
            // Spread, so that a hundred workers do not come back in the same moment.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn bring_up(&self) -> Result<Arc<Live>, BusError> {
        let properties = ConnectionProperties::default().with_connection_name("lockstep".into());
        let connection = timeout(CONNECT_LIMIT, Connection::connect_uri(self.uri.clone(), properties)).await;
        let connection = connection
            .map_err(|_| BusError::Unavailable(format!("{} did not answer within {CONNECT_LIMIT:?}", self.broker())))?
            .map_err(|error| match bus_error("", &error) {
                BusError::Denied(detail) => BusError::Denied(detail),
                _ => BusError::Unavailable(format!("{}: {error}", self.broker())),
            })?;
        let topology = self.topology();
        let build = async {
            declare(&connection, &topology).await?;
            let publisher = open_publisher(&connection).await?;
            let careful = tokio::sync::Mutex::new(None);
            let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
            Ok((publisher, careful, generation))
        };
        let built = timeout(DECLARE_LIMIT, build).await;
        let (publisher, careful, generation) =
            built.unwrap_or_else(|_| Err(BusError::Unavailable(format!("{} does not answer", self.broker()))))?;
        let over = CancellationToken::new();
        Ok(Arc::new(Live { connection, publisher, careful, generation, over }))
    }

    /// Ends the connection and waits until the broker knows.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let mut live = self.live.subscribe();
        let _ = timeout(CONNECT_LIMIT, live.wait_for(Option::is_none)).await;
    }

    /// Says that this generation's publisher does not work. The next generation comes by itself.
    pub(super) fn report_broken(&self, generation: u64) {
        self.broken.fetch_max(generation, Ordering::AcqRel);
        self.look.notify_one();
    }

    /// The connection, if there is one at this moment.
    pub(super) fn live_now(&self, not: u64) -> Option<Arc<Live>> {
        if self.closed.is_cancelled() {
            return None;
        }
        self.live.borrow().as_ref().filter(|live| live.generation > not).cloned()
    }

    /// The connection, or the next one if `not` is already known not to work. None if the bus is closed.
    pub(super) async fn live(&self, not: u64) -> Option<Arc<Live>> {
        let mut live = self.live.subscribe();
        let usable = live.wait_for(|live| live.as_ref().is_some_and(|live| live.generation > not));
        tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            found = usable => found.ok().and_then(|live| live.clone()),
        }
    }

    /// The connection, waiting for it no longer than `deadline`.
    pub(super) async fn live_until(&self, not: u64, deadline: Instant) -> Result<Arc<Live>, BusError> {
        match timeout_at(deadline, self.live(not)).await {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(BusError::Closed),
            Err(_) => Err(BusError::Unavailable(self.why_unavailable())),
        }
    }

    pub(super) fn why_unavailable(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn topology(&self) -> Topology {
        self.topology.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remember(&self, topology: &Topology) {
        let mut known = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        known.merge(topology);
        let own = known.queues.iter().filter(|queue| queue.retry).map(|queue| (queue.name.clone(), false));
        let exchanges = known.exchanges.iter().map(|one| (one.name.clone(), known.always_routes(one)));
        let exchanges = own.chain(exchanges).collect();
        *self.exchanges.write().unwrap_or_else(PoisonError::into_inner) = exchanges;
    }

    /// Whether the exchange always finds a queue; none if it was not declared here.
    pub(super) fn always_routes(&self, exchange: &str) -> Option<bool> {
        if exchange.is_empty() {
            return Some(false);
        }
        self.exchanges.read().unwrap_or_else(PoisonError::into_inner).get(exchange).copied()
    }
}

pub(super) async fn open_publisher(connection: &Connection) -> Result<Channel, BusError> {
    let open = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    };
    open.await.map_err(|error: lapin::Error| bus_error("", &error))
}

fn parse(address: &str) -> Result<AMQPUri, BusError> {
    let url = url::Url::parse(address).map_err(|error| BusError::Address(error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(BusError::Address("it has no host".to_owned()));
    }
    let unusable = || BusError::Address("a part of it is not understood".to_owned());
    let mut uri: AMQPUri = address.parse().map_err(|_| unusable())?;
    if let Some(url::Host::Ipv6(host)) = url.host() {
        uri.authority.host = format!("[{host}]");
    }
    // A slash at the end is what people write for the default virtual host; to AMQP it is one without a name.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("amqp://localhost", Some(("localhost", 5672, "/", 10))),
            ("amqp://u:p%40ss@mq.example:1234/lockstep", Some(("mq.example", 1234, "lockstep", 10))),
            ("amqps://mq.example/", Some(("mq.example", 5671, "/", 10))),
            ("amqp://127.0.0.1:7/%2f?heartbeat=3", Some(("127.0.0.1", 7, "/", 3))),
            ("amqp://[::1]:7/x", Some(("[::1]", 7, "x", 10))),
            ("amqp://", None),
            ("amqp:host", None),
            ("amqp://u:secret@host:99999/", None),
            ("amqp://u:secret@host/?heartbeat=soon", None),
        ];
        for (address, expected) in cases {
            let parsed = parse(address);
            if let Err(error) = &parsed {
                assert!(!error.to_string().contains("secret"), "{error}");
            }
            let parsed = parsed.ok().map(|uri| {
                (uri.authority.host, uri.authority.port, uri.vhost, uri.query.heartbeat.unwrap_or_default())
            });
            let expected = expected.map(|(host, port, vhost, beat)| (host.to_owned(), port, vhost.to_owned(), beat));
            assert_eq!(parsed, expected, "{address}");
        }
    }

    #[test]
    fn large_messages_leave_less_room() {
        for (bytes, weight) in [(0, 1), (65_535, 1), (65_536, 2), (26 << 20, 417), (usize::MAX, IN_FLIGHT)] {
            assert_eq!(Link::weight(bytes), weight, "{bytes}");
        }
    }
}
