//! Confirmed publishes: the bus beside one bare lapin channel on the same broker, and the journal.
//!
//! `cargo run --release -p bus --example throughput`

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, Message, Topology, names};
use harness::rabbitmq::RabbitMq;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};

const KEY: &str = "github.push.acme.gateway";
const BODY: usize = 8 * 1024;
const SPAN: Duration = Duration::from_millis(600);
const ROUNDS: usize = 9;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs `publish` from `window` tasks for a while; messages per second, median and 99th percentile of one.
async fn measure<F, P>(window: usize, publish: F) -> Result<(f64, Duration, Duration), Error>
where
    F: Fn(usize) -> P + Clone + Send + 'static,
    P: Future<Output = Result<(), Error>> + Send,
{
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..window)
        .map(|_| {
            let (publish, next) = (publish.clone(), next.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < SPAN {
                    let one = Instant::now();
                    publish(next.fetch_add(1, Ordering::Relaxed)).await?;
                    times.push(one.elapsed());
                }
                Ok::<_, Error>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((rate, times[times.len() / 2], times[times.len() * 99 / 100]))
}

fn message(number: usize) -> Message {
    let headers = [("cloudEvents:type", "dev.lockstep.delivery.v1"), ("content-type", "application/protobuf")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Message { id: number.to_string(), headers, body: vec![7; BODY].into() }
}

async fn over_bus(bus: &Arc<dyn Bus>, window: usize) -> Result<(f64, Duration, Duration), Error> {
    let bus = bus.clone();
    let publish = move |number| {
        let bus = bus.clone();
        async move { Ok(bus.publish(names::DELIVERIES, KEY, message(number)).await?) }
    };
    measure(window, publish).await
}

async fn over_lapin(url: &str, window: usize) -> Result<(f64, Duration, Duration), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let publish = move |number| {
        let channel = channel.clone();
        async move {
            let message = message(number);
            let mut headers = lapin::types::FieldTable::default();
            for (name, value) in &message.headers {
                headers.insert(name.as_str().into(), lapin::types::AMQPValue::LongString(value.as_str().into()));
            }
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(message.id.as_str().into())
                .with_headers(headers);
            let options = BasicPublishOptions { mandatory: true, immediate: false };
            channel
                .basic_publish(names::DELIVERIES.into(), KEY.into(), options, &message.body, properties)
                .await?
                .await?;
            Ok(())
        }
    };
    measure(window, publish).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let broker = RabbitMq::start().await?;
    let amqp = bus::connect(&broker.url).await?;
    let directory = tempfile::tempdir()?;
    let journal = bus::connect(&format!("journal:{}", directory.path().join("bus.db").display())).await?;
    // Another connection, as the worker's is another than the receiver's.
    let worker = bus::connect(&broker.url).await?;
    amqp.declare(&Topology::for_receiver()).await?;
    for bus in [&worker, &journal] {
        bus.declare(&Topology::for_cluster("prod")).await?;
        // So that no queue fills up.
        let mut consumer = bus.consume(&names::worker_queue("prod"), 500).await?;
        tokio::spawn(async move {
            while let Some(received) = consumer.next().await {
                let _ = received.ack().await;
            }
        });
    }
    println!("{:>7} {:>9} {:>12} {:>10} {:>10}", "window", "", "messages/s", "median", "p99");
    for window in [1, 16, 64, 256, 1024] {
        let mut results: [Vec<(f64, Duration, Duration)>; 3] = Default::default();
        // In short turns, so that whatever else the machine does falls on all alike.
        for _ in 0..ROUNDS {
            for bus in [&worker, &journal] {
                while bus.depth(&names::worker_queue("prod")).await? > 1_000 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            results[0].push(over_lapin(&broker.url, window).await?);
            results[1].push(over_bus(&amqp, window).await?);
            results[2].push(over_bus(&journal, window).await?);
        }
        for (name, mut results) in ["lapin", "amqp", "journal"].into_iter().zip(results) {
            results.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, median, p99) = results[ROUNDS / 2];
            println!("{window:>7} {name:>9} {rate:>12.0} {median:>10.1?} {p99:>10.1?}");
        }
    }
    Ok(())
}
