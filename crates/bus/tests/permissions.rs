//! The users of docs/install.md, with the rights it gives them: each can do its work, and a worker reaches no other cluster's
//! queues.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Message, Topology, names};
use harness::rabbitmq::RabbitMq;

/// The three patterns (configure, write, read) that the document gives a user.
fn documented(user: &str) -> [String; 3] {
    let text = include_str!("../../../docs/install.md");
    let (_, rest) =
        text.split_once(&format!("set_permissions -p lockstep {user} ")).expect("the document names the user");
    let patterns: Vec<String> = rest.split('\'').skip(1).step_by(2).take(3).map(str::to_owned).collect();
    patterns.try_into().unwrap()
}

async fn connected(broker: &RabbitMq, user: &str) -> Arc<dyn Bus> {
    let [configure, write, read] = documented(user);
    broker.ctl(&["add_user", user, "secret"]).await.unwrap();
    broker.ctl(&["set_permissions", "-p", "lockstep", user, &configure, &write, &read]).await.unwrap();
    bus::connect(&broker.url_for(user, "secret").replace("%2f", "lockstep")).await.unwrap()
}

fn message(id: &str) -> Message {
    wire::Envelope::command(&wire::Command { id: id.into(), cluster: "prod".into(), ..Default::default() }).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_can_do_its_work_and_no_worker_reaches_another_clusters_queues() {
    let broker = RabbitMq::start().await.unwrap();
    broker.ctl(&["add_vhost", "lockstep"]).await.unwrap();
    broker.ctl(&["set_permissions", "-p", "lockstep", "guest", ".*", ".*", ".*"]).await.unwrap();
    let receiver = connected(&broker, "receiver").await;
    receiver.declare(&Topology::for_receiver()).await.unwrap();
    let nonprod = bus::connect(&broker.url.replace("%2f", "lockstep")).await.unwrap();
    nonprod.declare(&Topology::for_cluster("nonprod")).await.unwrap();

    let worker = connected(&broker, "worker-prod").await;
    worker.declare(&Topology::for_cluster("prod")).await.unwrap();
    receiver.publish(names::DELIVERIES, "github.push.acme.gateway", message("delivery")).await.unwrap();
    let queue = names::worker_queue("prod");
    let mut consumer = worker.consume(&queue, 10).await.unwrap();
    let received = consumer.next().await.unwrap();
    received.retry(Duration::from_millis(50), "once more").await.unwrap();
    let received = consumer.next().await.unwrap();
    assert_eq!(received.attempt, 2);
    received.dead_letter("enough").await.unwrap();
    let feedback = names::feedback_queue("prod");
    worker.publish(&feedback, &feedback, message("check")).await.unwrap();
    worker.publish(names::REPORTS, "prod.delivery", message("report")).await.unwrap();

    let before = nonprod.depth(&names::worker_queue("nonprod")).await.unwrap();
    for queue in [names::worker_queue("nonprod"), names::feedback_queue("nonprod")] {
        for exchange in [names::DEFAULT, &queue] {
            let refused = worker.publish(exchange, &queue, message("forged")).await;
            assert!(refused.is_err(), "{exchange:?} {queue}");
        }
    }
    for (exchange, key) in [(names::COMMANDS, "nonprod"), (names::DELIVERIES, "github.push.acme.gateway")] {
        assert!(worker.publish(exchange, key, message("forged")).await.is_err(), "{exchange} {key}");
    }
    assert_eq!(nonprod.depth(&names::worker_queue("nonprod")).await.unwrap(), before);
    assert_eq!(nonprod.depth(&names::feedback_queue("nonprod")).await.unwrap(), 0);
    // What was refused spoils nothing that is permitted.
    worker.publish(&feedback, &feedback, message("another check")).await.unwrap();
}
