//! From a webhook to its 202, beside one confirmed publish of the same message by bare lapin on the same broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bus::{Message, Topology, names};
use forge::ForgeKind;
use forge::webhook::{self, Parsed, Secret};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use harness::{Lockstep, LockstepOptions, RabbitMq, free_port};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use wire::Envelope;

use crate::http;
use crate::machine::processor_time;
use crate::progress;
use crate::source::{self, NAME, OWNER, Pushed};
use crate::table::{Row, in_millis, number, percentile};

const SECRET: &str = "a-secret-of-the-benchmark";
/// Alternating rounds, so that both see the same machine.
const ROUNDS: usize = 4;
/// One after another, in each round.
const ALONE: usize = 500;
/// With many in flight, in each round.
const MANY: usize = 6_000;
const IN_FLIGHT: usize = 256;

/// Starts a broker and a receiver, and measures.
pub async fn measure(log_filter: &str) -> anyhow::Result<(Vec<Row>, String)> {
    progress("webhooks: a broker and a receiver");
    let broker = RabbitMq::start().await?;
    let shared = bus::connect(&broker.url).await?;
    shared.declare(&Topology::for_cluster("bench")).await?;
    shared.close().await;
    let folder = tempfile::Builder::new().prefix("lockstep-bench-").tempdir()?;
    let port = free_port()?;
    let secret_file = folder.path().join("secret");
    std::fs::write(&secret_file, SECRET)?;
    let arguments =
        ["receiver", "--bus", &broker.url, "--listen", &format!("127.0.0.1:{port}"), "--webhook-secret-file"];
    let mut receiver = Lockstep::start(LockstepOptions {
        binary: Some(Lockstep::binary().await?),
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .chain([secret_file.display().to_string()])
            .collect(),
        environment: vec![("RUST_LOG".to_owned(), log_filter.to_owned())],
        log: folder.path().join("receiver.log"),
        ready: Some(format!("http://127.0.0.1:{port}/readyz")),
    })
    .await?;
    let (own, pid) = (std::process::id(), receiver.pid().context("the receiver has ended")?);
    let request = Request::new()?;
    let bare = Bare::open(&broker.url, request.message()?).await?;
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    request.alone(port, 100, &mut Figures::default()).await?;
    bare.alone(100, &mut Figures::default()).await?;
    for round in 1..=ROUNDS {
        progress(&format!("webhooks: round {round} of {ROUNDS}"));
        bare.alone(ALONE, &mut theirs).await?;
        request.alone(port, ALONE, &mut ours).await?;
        bare.purge().await?;
        let before = processor_time(own);
        bare.many(MANY, &mut theirs).await?;
        theirs.client += processor_time(own) - before;
        bare.purge().await?;
        let before = (processor_time(own), processor_time(pid));
        request.many(port, MANY, &mut ours).await?;
        ours.client += processor_time(own) - before.0;
        ours.receiver += processor_time(pid) - before.1;
        bare.purge().await?;
    }
    receiver.terminate(Duration::from_secs(15)).await?;
    Ok((rows(&ours, &theirs), shares(&ours, &theirs)))
}

#[derive(Default)]
struct Figures {
    alone: Vec<Duration>,
    many: Vec<Duration>,
    took: Duration,
    /// Processor time of this program.
    client: Duration,
    /// And of the receiver.
    receiver: Duration,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
    fn rate(&self) -> f64 {
        self.many.len() as f64 / self.took.as_secs_f64()
    }
}

/// Who used the processors while many were in flight: on a machine that does all of it the rates are told by that.
fn shares(ours: &Figures, theirs: &Figures) -> String {
    let each = |time: Duration, figures: &Figures| {
        let count = u32::try_from(figures.many.len()).unwrap_or(u32::MAX).max(1);
        number((time / count).as_secs_f64() * 1e6)
    };
    format!(
        "With {IN_FLIGHT} in flight, a webhook costs {} µs of processor time in the receiver and {} µs in the client that sends it; \
         a bare publish costs {} µs in its client. The broker's share comes on top of both.",
        each(ours.receiver, ours),
        each(ours.client, ours),
        each(theirs.client, theirs)
    )
}

fn rows(ours: &Figures, theirs: &Figures) -> Vec<Row> {
    let at = |durations: &[Duration], hundredths| percentile(&in_millis(durations), hundredths);
    let both = |durations: &[Duration]| format!("{} ms (p99 {})", number(at(durations, 50)), number(at(durations, 99)));
    let time = |what: &str, ours: &[Duration], theirs: &[Duration], target| Row {
        what: what.to_owned(),
        lockstep: both(ours),
        floor: both(theirs),
        ratio: Some(at(ours, 50) / at(theirs, 50)),
        target,
        ..Row::default()
    };
    let rate = Row {
        what: format!("{IN_FLIGHT} in flight, a second"),
        lockstep: number(ours.rate()),
        floor: number(theirs.rate()),
        ratio: Some(ours.rate() / theirs.rate()),
        target: Some(0.9),
        at_least: true,
        ..Row::default()
    };
    vec![
        time("one after another", &ours.alone, &theirs.alone, Some(2.0)),
        rate,
        time(&format!("{IN_FLIGHT} in flight, each"), &ours.many, &theirs.many, None),
    ]
}

/// One signed webhook, sent again and again under new ids.
struct Request {
    body: Arc<Vec<u8>>,
    head: Arc<String>,
}

impl Request {
    fn new() -> anyhow::Result<Self> {
        let commit = "0123456789abcdef0123456789abcdef01234567".to_owned();
        let pushed = Pushed { before: commit.clone(), commit, application: 1, release: "push-1".into() };
        let url = format!("https://forge.example/{OWNER}/{NAME}.git");
        let body = source::payload(&url, "https://forge.example/api/v3", &pushed);
        progress(&format!("webhooks: {} bytes each", body.len()));
        let head = source::request_head(&Secret::new(SECRET)?, &body);
        Ok(Self { body: Arc::new(body), head: Arc::new(head) })
    }

    /// What the receiver publishes for it.
    fn message(&self) -> anyhow::Result<(String, Message)> {
        let headers =
            [("content-type", "application/json"), ("x-github-event", "push"), ("x-github-delivery", "bench")];
        let raw = webhook::accept_unsigned(ForgeKind::Github, &headers.into_iter().collect(), self.body.as_slice())?;
        let Parsed::Delivery(delivery) = webhook::parse(raw, 0) else { bail!("the webhook is not understood") };
        let envelope = Envelope::delivery(&delivery).with_trace(wire::TraceParent::new_root());
        Ok((delivery.routing_key(), Message::from(envelope)))
    }

    async fn alone(&self, port: u16, count: usize, figures: &mut Figures) -> anyhow::Result<()> {
        let mut connection = http::Connection::open(port).await?;
        figures.alone.extend(self.deliver(&mut connection, count, 0).await?);
        Ok(())
    }

    async fn many(&self, port: u16, count: usize, figures: &mut Figures) -> anyhow::Result<()> {
        let mut connections = Vec::new();
        for _ in 0..IN_FLIGHT {
            connections.push(http::Connection::open(port).await?);
        }
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (number, mut connection) in connections.into_iter().enumerate() {
            let this = Self { body: self.body.clone(), head: self.head.clone() };
            let share = count / IN_FLIGHT + usize::from(number < count % IN_FLIGHT);
            tasks.spawn(async move { this.deliver(&mut connection, share, number).await });
        }
        while let Some(done) = tasks.join_next().await {
            figures.many.extend(done??);
        }
        figures.took += started.elapsed();
        Ok(())
    }

    async fn deliver(
        &self,
        connection: &mut http::Connection,
        count: usize,
        series: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(count);
        let run = uuid::Uuid::new_v4();
        for number in 0..count {
            let delivery = format!("{run}-{series}-{number}");
            let started = Instant::now();
            let status = connection.deliver(&self.head, &delivery, &self.body).await?;
            took.push(started.elapsed());
            ensure!(status == 202, "the receiver answers {status}");
        }
        Ok(took)
    }
}

/// Lapin alone: one connection, one channel.
struct Bare {
    channel: Channel,
    routing_key: ShortString,
    message: Message,
    properties: BasicProperties,
    _connection: Connection,
}

impl Bare {
    async fn open(url: &str, (routing_key, message): (String, Message)) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut table = FieldTable::default();
        for (name, value) in &message.headers {
            table.insert(short(name)?, AMQPValue::LongString(value.as_str().into()));
        }
        let properties =
            BasicProperties::default().with_headers(table).with_delivery_mode(2).with_message_id(short(&message.id)?);
        Ok(Self { channel, routing_key: short(&routing_key)?, message, properties, _connection: connection })
    }

    async fn publish(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let exchange = short(names::DELIVERIES)?;
        let properties = self.properties.clone();
        let sent =
            self.channel.basic_publish(exchange, self.routing_key.clone(), options, &self.message.body, properties);
        let confirmation = sent.await?.await?;
        ensure!(matches!(confirmation, Confirmation::Ack(None)), "the broker answers {confirmation:?}");
        Ok(started.elapsed())
    }

    async fn alone(&self, count: usize, figures: &mut Figures) -> anyhow::Result<()> {
        for _ in 0..count {
            figures.alone.push(self.publish().await?);
        }
        Ok(())
    }

    async fn many(&self, count: usize, figures: &mut Figures) -> anyhow::Result<()> {
        let started = Instant::now();
        let all = stream::iter((0..count).map(|_| self.publish())).buffer_unordered(IN_FLIGHT);
        figures.many.extend(all.try_collect::<Vec<Duration>>().await?);
        figures.took += started.elapsed();
        Ok(())
    }

    async fn purge(&self) -> anyhow::Result<()> {
        let queue = short(&names::worker_queue("bench"))?;
        self.channel.queue_purge(queue, QueuePurgeOptions::default()).await?;
        Ok(())
    }
}

fn short(text: &str) -> anyhow::Result<ShortString> {
    ShortString::try_new(text).ok().context("a name is too long")
}
