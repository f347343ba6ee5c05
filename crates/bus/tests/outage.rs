//! RabbitMQ stopped, killed, frozen, short of memory, or with somebody's hands in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, BusError, Message, PublishError, Queue, Topology, names};
use harness::rabbitmq::RabbitMq;
use tokio::task::JoinHandle;

const KEY: &str = "github.push.acme.gateway";
const PUBLISHERS: usize = 16;

fn message(id: &str) -> Message {
    Message { id: id.to_owned(), headers: Default::default(), body: vec![7; 8 * 1024].into() }
}

async fn declared(url: &str) -> Arc<dyn Bus> {
    let bus = bus::connect(url).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    bus
}

async fn publish(bus: &dyn Bus, id: &str) -> Result<(), PublishError> {
    bus.publish(names::DELIVERIES, KEY, message(id)).await
}

/// Publishes without a pause until told to stop; returns what was confirmed, and the longest that one publish took.
struct Load {
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<(Vec<String>, Duration)>>,
}

impl Load {
    fn start(bus: &Arc<dyn Bus>) -> Self {
        let (stop, confirmed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..PUBLISHERS).map(|task| {
            let (bus, stop, count) = (bus.clone(), stop.clone(), confirmed.clone());
            tokio::spawn(async move {
                let (mut confirmed, mut longest) = (Vec::new(), Duration::ZERO);
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (id, begun) = (format!("{task}-{number}"), Instant::now());
                    match publish(&*bus, &id).await {
                        Ok(()) => {
                            count.fetch_add(1, Ordering::Relaxed);
                            confirmed.push(id);
                        }
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                    longest = longest.max(begun.elapsed());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (confirmed, longest)
            })
        });
        let tasks = tasks.collect();
        Self { stop, confirmed, tasks }
    }

    async fn until_more(&self, more: usize) {
        let goal = self.confirmed.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.confirmed.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("nothing is confirmed any more");
    }

    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for task in self.tasks {
            let (confirmed, longest) = task.await.unwrap();
            assert!(longest < Duration::from_secs(9), "a publish took {longest:?}");
            all.extend(confirmed);
        }
        all
    }
}

/// Whatever happens to the broker, confirmed messages arrive at a consumer that was there before.
async fn survives(name: &str, twice: bool, graceful: bool) {
    let mut broker = RabbitMq::start().await.unwrap();
    let (publisher, worker) = (declared(&broker.url).await, declared(&broker.url).await);
    let mut consumer = worker.consume(&names::worker_queue("prod"), 50).await.unwrap();
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen_by_task = seen.clone();
    let consuming = tokio::spawn(async move {
        let mut lost = 0;
        while let Some(received) = consumer.next().await {
            let id = received.message.id.clone();
            if id == "delayed" && received.attempt == 1 {
                received.retry(Duration::from_secs(3), "later").await.unwrap();
                continue;
            }
            match received.ack().await {
                Ok(()) => drop(seen_by_task.lock().unwrap().insert(id)),
                Err(BusError::Lost) => lost += 1,
                Err(other) => panic!("{other}"),
            }
        }
        lost
    });
    // It waits for its next attempt while the broker goes.
    publish(&*publisher, "delayed").await.unwrap();
    let load = Load::start(&publisher);
    load.until_more(200).await;
    for _ in 0..if twice { 2 } else { 1 } {
        if graceful {
            broker.restart().await.unwrap();
        } else {
            broker.kill().await.unwrap();
            broker.start_again().await.unwrap();
        }
        load.until_more(200).await;
    }
    let mut confirmed = load.end().await;
    confirmed.insert("delayed".to_owned());
    let all_seen = async {
        while !confirmed.is_subset(&seen.lock().unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), all_seen).await.is_err() {
        let ready = publisher.depth(&names::worker_queue("prod")).await;
        let counters = worker.counters().snapshot();
        let missing: Vec<_> = confirmed.difference(&seen.lock().unwrap()).cloned().collect();
        panic!("{name}: {} confirmed and not seen: {missing:?}; {ready:?} ready; {counters:?}", missing.len());
    }
    assert!(publisher.counters().reconnected.load(Ordering::Relaxed) >= 1);
    worker.close().await;
    let lost = consuming.await.unwrap();
    println!("{name}: {} confirmed, all received; {lost} acknowledgements came too late", confirmed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing() {
    survives("restart", true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing() {
    survives("kill", false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_never_hangs() {
    let mut broker = RabbitMq::start().await.unwrap();
    let bus = declared(&broker.url).await;
    publish(&*bus, "d1").await.unwrap();
    let limits = Duration::from_secs(7)..Duration::from_secs(9);

    broker.pause();
    let begun = Instant::now();
    let (one, many) = tokio::join!(publish(&*bus, "d2"), bus.publish(names::COMMANDS, "prod", message("c1")),);
    for error in [one.unwrap_err(), many.unwrap_err()] {
        let waited = matches!(error, PublishError::TimedOut { .. } | PublishError::Unavailable { .. });
        assert!(waited && error.is_transient(), "{error}");
    }
    assert!(limits.contains(&begun.elapsed()), "{:?}", begun.elapsed());
    broker.resume();
    // An answer that comes late is nobody's: the next publishes get their own.
    let nowhere = bus.publish(names::COMMANDS, "nowhere", message("c2")).await.unwrap_err();
    assert!(matches!(nowhere, PublishError::Unroutable { .. }), "{nowhere}");
    publish(&*bus, "d3").await.unwrap();

    broker.kill().await.unwrap();
    let begun = Instant::now();
    let error = publish(&*bus, "d4").await.unwrap_err();
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
    assert!(limits.contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(bus.ping().await.is_err());
    assert!(bus.counters().unavailable.load(Ordering::Relaxed) >= 1);

    // A short outage is bridged: nobody has to send again.
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move {
            loop {
                match publish(&*bus, "d5").await {
                    Err(error) if error.is_transient() => {}
                    other => return other,
                }
            }
        }
    });
    broker.start_again().await.unwrap();
    waiting.await.unwrap().unwrap();
    bus.ping().await.unwrap();
}

/// Waits until the consumer gets exactly this message.
async fn expect(consumer: &mut bus::Consumer, id: &str) {
    let received = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await.unwrap().unwrap();
    assert_eq!(received.message.id, id);
    received.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_does_is_survived_or_explained() {
    let broker = RabbitMq::start().await.unwrap();
    let bus = declared(&broker.url).await;
    let worker = names::worker_queue("prod");
    let mut consumer = bus.consume(&worker, 10).await.unwrap();
    publish(&*bus, "d1").await.unwrap();
    expect(&mut consumer, "d1").await;

    // A queue deleted by hand is declared again and consumed again.
    broker.ctl(&["delete_queue", &worker]).await.unwrap();
    let again = async {
        while bus.depth(&worker).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
    publish(&*bus, "d2").await.unwrap();
    expect(&mut consumer, "d2").await;

    // An exchange deleted by hand costs one error, not more.
    broker.ctl(&["eval", "rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>, exchange, <<\"lockstep.deliveries\">>), false, <<\"test\">>)."]).await.unwrap();
    let back = async { while publish(&*bus, "d3").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    expect(&mut consumer, "d3").await;

    // A connection closed by hand.
    broker.ctl(&["close_all_connections", "test"]).await.unwrap();
    publish(&*bus, "d4").await.unwrap();
    expect(&mut consumer, "d4").await;

    // Short of memory: refused at once, and accepted again afterwards.
    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await.unwrap();
    let refused = async {
        loop {
            if let Err(PublishError::Refused { reason }) = publish(&*bus, "d5").await {
                return reason;
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert!(reason.contains("memory"), "{reason}");
    assert!(bus.ping().await.is_err());
    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    let accepted = async { while publish(&*bus, "d6").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), accepted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_and_settings() {
    let broker = RabbitMq::start().await.unwrap();
    let bus = declared(&broker.url).await;

    // Other settings than those of a queue that exists.
    let mut other = Topology::shared();
    other.queues.push(Queue { max_length: 7, ..Queue::work(names::worker_queue("prod")) });
    match bus.declare(&other).await {
        Err(BusError::Mismatch { name, .. }) => assert_eq!(name, names::worker_queue("prod")),
        other => panic!("{other:?}"),
    }
    publish(&*bus, "d1").await.unwrap();

    // A wrong password is said at once, and not shown.
    let begun = Instant::now();
    let error = bus::connect(&broker.url_for("guest", "hunter2")).await.err().unwrap();
    assert!(matches!(error, BusError::Denied(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"));
    assert!(begun.elapsed() < Duration::from_secs(10));

    // A receiver's own user: it may publish deliveries and dead letters, and touch no queue of a worker.
    broker.ctl(&["add_user", "receiver", "secret"]).await.unwrap();
    let write = "^lockstep\\.(deliveries|dead)$";
    broker.ctl(&["set_permissions", "receiver", "^$", write, "^$"]).await.unwrap();
    let receiver = bus::connect(&broker.url_for("receiver", "secret")).await.unwrap();
    receiver.declare(&Topology::for_receiver()).await.unwrap();
    publish(&*receiver, "d2").await.unwrap();
    receiver.bury(message("raw"), "not JSON").await.unwrap();
    let error = receiver.publish(names::COMMANDS, "prod", message("c1")).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(matches!(receiver.consume(&names::worker_queue("prod"), 1).await, Err(BusError::Denied(_))));
    publish(&*receiver, "d3").await.unwrap();
    assert_eq!(bus.depth(&names::worker_queue("prod")).await.unwrap(), 3);
}

#[tokio::test]
async fn an_address_that_cannot_work_is_explained() {
    let cases = [
        ("http://u:hunter2@localhost", "neither"),
        ("rabbit", "no scheme"),
        ("journal:", "no path"),
        ("amqp://", "address"),
        ("amqp://u:hunter2@localhost:1/?heartbeat=x", "not understood"),
    ];
    for (address, text) in cases {
        let error = bus::connect(address).await.err().unwrap().to_string();
        assert!(error.contains(text), "{address}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
