//! The stories.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bus::{Bus, BusError, Message, PublishError, Queue, Topology, names};
use bytes::Bytes;

use crate::{Place, depth, message, next, silent};

const KEY: &str = "github.push.acme.gateway";

fn worker() -> String {
    names::worker_queue("prod")
}

async fn declared(place: &Place) -> std::sync::Arc<dyn Bus> {
    let bus = place.bus().await;
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    bus
}

/// A queue of its own settings, reached by the default exchange.
fn only(queue: Queue) -> Topology {
    let mut topology = Topology::shared();
    topology.queues.push(queue);
    topology
}

pub(crate) async fn what_is_published_is_received_once(place: Place) {
    let bus = declared(&place).await;
    // A second declaration changes nothing.
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    bus.ping().await.unwrap();
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    bus.publish(names::DELIVERIES, KEY, message("d1")).await.unwrap();
    let received = next(&mut consumer).await;
    assert_eq!(received.message, message("d1"));
    assert_eq!((received.queue.as_str(), received.attempt), (worker().as_str(), 1));
    received.ack().await.unwrap();
    assert!(silent(&mut consumer).await);
    drop(consumer);
    depth(&*bus, &worker(), 0).await;
    let counts = bus.counters().snapshot();
    for name in ["published", "confirmed", "received", "acknowledged"] {
        assert!(counts.contains(&(name, 1)), "{name}: {counts:?}");
    }
}

pub(crate) async fn an_envelope_travels_whole(place: Place) {
    let bus = declared(&place).await;
    let command = wire::Command { id: "c1".into(), cluster: "prod".into(), ..Default::default() };
    let sent = wire::Envelope::command(&command).with_trace(wire::TraceParent::new_root());
    bus.publish(names::COMMANDS, "prod", sent.clone().into()).await.unwrap();
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    let received = next(&mut consumer).await;
    let envelope = wire::Envelope::try_from(&received.message).unwrap();
    assert_eq!(envelope, sent);
    assert_eq!(envelope.open::<wire::Command>().unwrap(), command);
    received.ack().await.unwrap();
}

pub(crate) async fn what_no_queue_takes_is_an_error(place: Place) {
    let bus = declared(&place).await;
    let cases = [(names::COMMANDS, "nowhere"), ("lockstep.unknown", KEY), (names::DEFAULT, "lockstep.worker.nowhere")];
    for (exchange, key) in cases {
        let error = bus.publish(exchange, key, message("d1")).await.unwrap_err();
        assert!(matches!(error, PublishError::Unroutable { .. }), "{exchange} {key}: {error}");
        // It does not spoil the next one.
        bus.publish(names::COMMANDS, "prod", message("d2")).await.unwrap();
    }
    depth(&*bus, &worker(), 3).await;
}

pub(crate) async fn every_publisher_gets_its_own_answer(place: Place) {
    let bus = declared(&place).await;
    let publishes = (0..200).map(|number| {
        let bus = bus.clone();
        tokio::spawn(async move {
            let key = if number % 3 == 0 { "nowhere" } else { "prod" };
            (number, bus.publish(names::COMMANDS, key, message(&number.to_string())).await)
        })
    });
    for result in futures::future::join_all(publishes).await {
        let (number, result) = result.unwrap();
        let unroutable = matches!(result, Err(PublishError::Unroutable { .. }));
        assert_eq!(unroutable, number % 3 == 0, "{number}: {result:?}");
    }
    depth(&*bus, &worker(), 133).await;
}

pub(crate) async fn deliveries_wait_for_the_first_worker(place: Place) {
    let receiver = place.bus().await;
    receiver.declare(&Topology::for_receiver()).await.unwrap();
    for id in ["d1", "d2"] {
        receiver.publish(names::DELIVERIES, KEY, message(id)).await.unwrap();
    }
    depth(&*receiver, names::UNROUTED, 2).await;
    // Still nobody there: they stay.
    assert_eq!(receiver.reroute().await.unwrap(), 0);
    depth(&*receiver, names::UNROUTED, 2).await;

    let bus = declared(&place).await;
    assert_eq!(bus.reroute().await.unwrap(), 2);
    receiver.publish(names::DELIVERIES, KEY, message("d3")).await.unwrap();
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    for id in ["d1", "d2", "d3"] {
        let received = next(&mut consumer).await;
        assert_eq!(received.message, message(id));
        received.ack().await.unwrap();
    }
    depth(&*bus, names::UNROUTED, 0).await;
}

pub(crate) async fn every_cluster_gets_every_delivery_and_its_own_commands(place: Place) {
    let bus = declared(&place).await;
    bus.declare(&Topology::for_cluster("nonprod")).await.unwrap();
    bus.publish(names::DELIVERIES, KEY, message("delivery")).await.unwrap();
    bus.publish(names::COMMANDS, "nonprod", message("command")).await.unwrap();
    bus.publish(&names::feedback_queue("prod"), &names::feedback_queue("prod"), message("check")).await.unwrap();
    let expected: [(String, &[&str]); 4] = [
        (worker(), &["delivery"]),
        (names::worker_queue("nonprod"), &["delivery", "command"]),
        (names::feedback_queue("prod"), &["check"]),
        (names::feedback_queue("nonprod"), &[]),
    ];
    for (queue, ids) in expected {
        let mut consumer = bus.consume(&queue, 10).await.unwrap();
        for id in ids {
            let received = next(&mut consumer).await;
            assert_eq!(received.message.id, *id, "{queue}");
            received.ack().await.unwrap();
        }
        assert!(silent(&mut consumer).await, "{queue}");
    }
}

pub(crate) async fn one_consumer_works_and_the_next_takes_over(place: Place) {
    let (first, second) = (declared(&place).await, declared(&place).await);
    let mut active = first.consume(&worker(), 10).await.unwrap();
    bus_publish(&*first, "d1").await;
    let held = next(&mut active).await;
    let mut standby = second.consume(&worker(), 10).await.unwrap();
    bus_publish(&*first, "d2").await;
    assert!(silent(&mut standby).await);
    let fetched = next(&mut active).await;
    assert_eq!(fetched.message.id, "d2");
    drop(fetched);
    drop(active);
    // What the first one still holds is its own until it is settled.
    let taken_over = next(&mut standby).await;
    assert_eq!(taken_over.message.id, "d2");
    taken_over.ack().await.unwrap();
    held.ack().await.unwrap();
    bus_publish(&*first, "d3").await;
    let received = next(&mut standby).await;
    assert_eq!(received.message.id, "d3");
    received.ack().await.unwrap();
    depth(&*first, &worker(), 0).await;
}

async fn bus_publish(bus: &dyn Bus, id: &str) {
    bus.publish(names::DELIVERIES, KEY, message(id)).await.unwrap();
}

pub(crate) async fn a_queue_keeps_its_order(place: Place) {
    let bus = declared(&place).await;
    for number in 0..200 {
        bus_publish(&*bus, &number.to_string()).await;
    }
    let mut consumer = bus.consume(&worker(), 50).await.unwrap();
    for number in 0..200 {
        let received = next(&mut consumer).await;
        assert_eq!(received.message.id, number.to_string());
        received.ack().await.unwrap();
    }
    drop(consumer);
    // One that is given back is the next one again.
    for id in ["a", "b"] {
        bus_publish(&*bus, id).await;
    }
    let mut consumer = bus.consume(&worker(), 1).await.unwrap();
    let given_back = next(&mut consumer).await;
    // The first consumer may have had it for a moment while it was going.
    let attempt = given_back.attempt;
    assert_eq!(given_back.message.id, "a");
    drop(given_back);
    let again = next(&mut consumer).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("a", attempt + 1));
    again.ack().await.unwrap();
    assert_eq!(next(&mut consumer).await.message.id, "b");
}

pub(crate) async fn no_more_than_the_prefetch_is_under_way(place: Place) {
    let bus = declared(&place).await;
    for number in 0..12 {
        bus_publish(&*bus, &number.to_string()).await;
    }
    let mut consumer = bus.consume(&worker(), 5).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut consumer).await);
    }
    assert!(silent(&mut consumer).await);
    depth(&*bus, &worker(), 7).await;
    held.remove(0).ack().await.unwrap();
    assert_eq!(next(&mut consumer).await.message.id, "5");
}

pub(crate) async fn a_full_queue_refuses_and_loses_nothing(place: Place) {
    let bus = place.bus().await;
    let queue = Queue { max_length: 10, ..Queue::work("small") };
    bus.declare(&only(queue)).await.unwrap();
    let mut accepted = BTreeSet::new();
    let mut refused = 0;
    for number in 0..60 {
        let id = format!("d{number}");
        match bus.publish(names::DEFAULT, "small", message(&id)).await {
            Ok(()) => drop(accepted.insert(id)),
            Err(PublishError::Refused { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused >= 40, "{refused}");
    let mut consumer = bus.consume("small", 100).await.unwrap();
    let mut received = BTreeSet::new();
    for _ in 0..accepted.len() {
        let one = next(&mut consumer).await;
        received.insert(one.message.id.clone());
        one.ack().await.unwrap();
    }
    assert_eq!(received, accepted);
    depth(&*bus, "small", 0).await;
    bus.publish(names::DEFAULT, "small", message("again")).await.unwrap();
    assert_eq!(next(&mut consumer).await.message.id, "again");
}

pub(crate) async fn a_retry_comes_later_and_is_counted(place: Place) {
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    bus_publish(&*bus, "slow").await;
    let begun = Instant::now();
    next(&mut consumer).await.retry(Duration::from_millis(600), "not there yet").await.unwrap();
    bus_publish(&*bus, "other").await;
    let other = next(&mut consumer).await;
    assert_eq!(other.message.id, "other");
    other.ack().await.unwrap();
    for attempt in 2..4 {
        let again = next(&mut consumer).await;
        assert_eq!((&again.message, again.attempt), (&message("slow"), attempt));
        let wait = Duration::from_millis(600) * (attempt - 1);
        assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
        again.retry(Duration::from_millis(600), "still not there").await.unwrap();
    }
    let last = next(&mut consumer).await;
    assert_eq!(last.attempt, 4);
    last.ack().await.unwrap();
    depth(&*bus, &worker(), 0).await;
}

pub(crate) async fn a_long_wait_does_not_hold_up_a_short_one(place: Place) {
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    for id in ["long", "short"] {
        bus_publish(&*bus, id).await;
    }
    next(&mut consumer).await.retry(Duration::from_secs(3600), "rate limit").await.unwrap();
    next(&mut consumer).await.retry(Duration::from_millis(300), "busy").await.unwrap();
    let begun = Instant::now();
    let received = next(&mut consumer).await;
    assert_eq!((received.message.id.as_str(), received.attempt), ("short", 2));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    received.ack().await.unwrap();
}

pub(crate) async fn a_retry_outlives_the_consumer(place: Place) {
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    bus_publish(&*bus, "d1").await;
    next(&mut consumer).await.retry(Duration::from_millis(700), "later").await.unwrap();
    bus.close().await;
    assert!(consumer.next().await.is_none());
    drop((consumer, bus));
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("d1", 2));
    again.ack().await.unwrap();
}

pub(crate) async fn what_ends_its_consumers_goes_to_the_dead_letters(place: Place) {
    let bus = place.bus().await;
    let queue = Queue { delivery_limit: 2, ..Queue::work("fragile") };
    bus.declare(&only(queue)).await.unwrap();
    bus.publish(names::DEFAULT, "fragile", message("poison")).await.unwrap();
    bus.publish(names::DEFAULT, "fragile", message("good")).await.unwrap();
    for attempt in 1..=3 {
        // The connection goes with the message at hand, as when a program dies.
        let victim = place.bus().await;
        let mut consumer = victim.consume("fragile", 1).await.unwrap();
        let received = next(&mut consumer).await;
        assert_eq!((received.message.id.as_str(), received.attempt), ("poison", attempt));
        victim.close().await;
        drop((received, consumer));
    }
    let mut consumer = bus.consume("fragile", 1).await.unwrap();
    let good = next(&mut consumer).await;
    assert_eq!(good.message.id, "good");
    good.ack().await.unwrap();
    depth(&*bus, names::DEAD, 1).await;
    let letters = bus.dead(10).await.unwrap();
    assert_eq!(letters[0].message, message("poison"));
    assert_eq!(letters[0].queue.as_deref(), Some("fragile"));
    assert!(letters[0].reason.contains("too often"), "{}", letters[0].reason);
    assert!(letters[0].at_unix_ms > 1_600_000_000_000);
    bus.replay(&letters[0].id).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((&again.message, again.attempt), (&message("poison"), 1));
    again.ack().await.unwrap();
}

pub(crate) async fn dead_letters_are_listed_replayed_and_discarded(place: Place) {
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    for id in ["d1", "d2", "d3"] {
        bus_publish(&*bus, id).await;
        next(&mut consumer).await.dead_letter(&format!("{id} is broken")).await.unwrap();
    }
    // Looking does not take, however often.
    for _ in 0..30 {
        assert_eq!(bus.dead(2).await.unwrap().len(), 2);
    }
    depth(&*bus, names::DEAD, 3).await;
    let letters = bus.dead(10).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["d1 is broken", "d2 is broken", "d3 is broken"]);
    assert_eq!(letters[1].message, message("d2"));
    assert_eq!((letters[1].queue.as_deref(), letters[1].attempts), (Some(worker().as_str()), 1));

    bus.replay(&letters[1].id).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((&again.message, again.attempt), (&message("d2"), 1));
    again.ack().await.unwrap();
    bus.discard(&letters[0].id).await.unwrap();
    depth(&*bus, names::DEAD, 1).await;
    for id in [letters[1].id.as_str(), letters[0].id.as_str(), "nonsense"] {
        assert!(matches!(bus.replay(id).await, Err(BusError::NoDeadLetter(_))), "{id}");
        assert!(matches!(bus.discard(id).await, Err(BusError::NoDeadLetter(_))), "{id}");
    }
    assert_eq!(bus.dead(10).await.unwrap()[0].message.id, "d3");
}

pub(crate) async fn what_was_never_in_a_queue_cannot_go_back(place: Place) {
    let bus = place.bus().await;
    bus.declare(&Topology::for_receiver()).await.unwrap();
    bus.bury(message("raw"), "not JSON").await.unwrap();
    depth(&*bus, names::DEAD, 1).await;
    let letter = bus.dead(10).await.unwrap().remove(0);
    assert_eq!((letter.reason.as_str(), &letter.queue), ("not JSON", &None));
    assert!(matches!(bus.replay(&letter.id).await, Err(BusError::NoWayBack(_))));
    depth(&*bus, names::DEAD, 1).await;
    bus.discard(&letter.id).await.unwrap();
    depth(&*bus, names::DEAD, 0).await;
}

pub(crate) async fn reports_never_stop_a_worker(place: Place) {
    let bus = declared(&place).await;
    let reports = (0..1_100).map(|number| {
        let bus = bus.clone();
        tokio::spawn(async move { bus.publish(names::REPORTS, "prod.reconcile", message(&number.to_string())).await })
    });
    for result in futures::future::join_all(reports).await {
        result.unwrap().unwrap();
    }
    depth(&*bus, names::REPORTS_RECENT, 1_000).await;
    bus.declare(&Topology::for_console()).await.unwrap();
    bus.publish(names::REPORTS, "prod.reconcile", message("seen")).await.unwrap();
    let mut consumer = bus.consume(names::CONSOLE, 10).await.unwrap();
    assert_eq!(next(&mut consumer).await.message.id, "seen");
    assert_eq!(bus.depth(names::DEAD).await.unwrap(), 0);
}

pub(crate) async fn what_is_too_large_is_refused_at_once(place: Place) {
    let bus = declared(&place).await;
    let mut large = message("d1");
    large.body = Bytes::from(vec![0; bus::MAX_BODY_BYTES + 1]);
    let mut many = message("d1");
    many.headers.insert("cloudEvents:subject".to_owned(), "x".repeat(bus::MAX_HEADER_BYTES));
    for (what, message) in [("body", large), ("headers", many)] {
        let error = bus.publish(names::DELIVERIES, KEY, message).await.unwrap_err();
        assert!(matches!(&error, PublishError::TooLarge { what: found, .. } if *found == what), "{error}");
    }
    // The largest that is allowed arrives.
    let mut fits = message("d2");
    fits.body = Bytes::from(vec![7; 25 * 1024 * 1024]);
    fits.headers.insert("cloudEvents:subject".to_owned(), "x".repeat(bus::MAX_HEADER_BYTES - 200));
    bus.publish(names::DELIVERIES, KEY, fits.clone()).await.unwrap();
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    let received = next(&mut consumer).await;
    assert_eq!(received.message.headers, fits.headers);
    assert!(received.message.body == fits.body);
    received.dead_letter(&"long reason ".repeat(10_000)).await.unwrap();
    depth(&*bus, names::DEAD, 1).await;
}

pub(crate) async fn handles_do_not_end_each_other(place: Place) {
    let (first, second) = (declared(&place).await, declared(&place).await);
    let mut consumer = second.consume(&worker(), 10).await.unwrap();
    bus_publish(&*first, "d1").await;
    next(&mut consumer).await.ack().await.unwrap();
    first.close().await;
    let error = first.publish(names::DELIVERIES, KEY, message("d2")).await.unwrap_err();
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
    bus_publish(&*second, "d3").await;
    let received = next(&mut consumer).await;
    assert_eq!(received.message.id, "d3");
    received.ack().await.unwrap();
}

pub(crate) async fn unsettled_messages_come_again(place: Place) {
    let bus = declared(&place).await;
    for id in ["d1", "d2", "d3"] {
        bus_publish(&*bus, id).await;
    }
    let mut consumer = bus.consume(&worker(), 2).await.unwrap();
    let held = next(&mut consumer).await;
    bus.close().await;
    drop((consumer, held, bus));
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 10).await.unwrap();
    let mut seen: Vec<(Message, u32)> = Vec::new();
    for _ in 0..3 {
        let received = next(&mut consumer).await;
        seen.push((received.message.clone(), received.attempt));
        received.ack().await.unwrap();
    }
    assert_eq!(seen[0].0.id, "d1");
    assert_eq!(seen[0].1, 2);
    let ids: BTreeSet<_> = seen.iter().map(|(message, _)| message.id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["d1", "d2", "d3"]));
}

pub(crate) async fn nothing_is_lost_under_load(place: Place) {
    const TASKS: usize = 50;
    const EACH: usize = 40;
    let bus = declared(&place).await;
    let mut consumer = bus.consume(&worker(), 100).await.unwrap();
    let publishers: Vec<_> = (0..TASKS)
        .map(|task| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    bus.publish(names::DELIVERIES, KEY, message(&format!("{task}-{number}"))).await.unwrap();
                }
            })
        })
        .collect();
    // Some are retried, some given back, most are done.
    let mut done = BTreeSet::new();
    let mut count = 0_usize;
    while done.len() < TASKS * EACH {
        let received = next(&mut consumer).await;
        count += 1;
        match count % 50 {
            7 => received.retry(Duration::from_millis(50), "again").await.unwrap(),
            23 => drop(received),
            _ => {
                done.insert(received.message.id.clone());
                received.ack().await.unwrap();
            }
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert!(silent(&mut consumer).await);
    depth(&*bus, &worker(), 0).await;
}

pub(crate) async fn a_queue_that_is_not_there_is_an_error(place: Place) {
    let bus = declared(&place).await;
    assert!(matches!(bus.consume("nowhere", 1).await, Err(BusError::NoQueue(_))));
    assert!(matches!(bus.depth("nowhere").await, Err(BusError::NoQueue(_))));
    // And harms nobody.
    bus_publish(&*bus, "d1").await;
    depth(&*bus, &worker(), 1).await;
}
