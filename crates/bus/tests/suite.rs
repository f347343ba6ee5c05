//! What both kinds of bus promise: each story is told on the journal and on a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stories;

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Consumer, Message, Received};
use harness::rabbitmq::RabbitMq;

/// Where a story takes place: an empty bus of its own.
pub(crate) struct Place {
    address: String,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn journal() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("journal:{}", directory.path().join("bus.db").display());
        Self { address, _directory: Some(directory) }
    }

    /// Another handle, as another program would have.
    pub(crate) async fn bus(&self) -> Arc<dyn Bus> {
        bus::connect(&self.address).await.unwrap()
    }
}

pub(crate) fn message(id: &str) -> Message {
    let headers = [("cloudEvents:id", id), ("content-type", "application/protobuf")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Message { id: id.to_owned(), headers, body: format!("body of {id}").into() }
}

/// The next message, which has to come.
pub(crate) async fn next(consumer: &mut Consumer) -> Received {
    tokio::time::timeout(Duration::from_secs(30), consumer.next()).await.expect("no message came").unwrap()
}

/// Whether nothing comes for a while.
pub(crate) async fn silent(consumer: &mut Consumer) -> bool {
    tokio::time::timeout(Duration::from_millis(300), consumer.next()).await.is_err()
}

/// Waits until the queue has so many messages ready.
pub(crate) async fn depth(bus: &dyn Bus, queue: &str, wanted: u64) {
    let reached = async {
        while bus.depth(queue).await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), reached).await.is_err() {
        panic!("{queue} has {} messages, not {wanted}", bus.depth(queue).await.unwrap());
    }
}

macro_rules! stories {
    ($($name:ident)*) => {
        mod journal {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::stories::$name(super::Place::journal()).await;
                }
            )*
        }

        /// One broker for all stories, a virtual host for each.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn rabbitmq() {
            let broker = RabbitMq::start().await.unwrap();
            let names = [$(stringify!($name)),*];
            let add = names.map(|name| format!(
                "rabbit_vhost:add(<<\"{name}\">>, <<\"test\">>), \
                 rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, \
                 <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)"
            ));
            broker.ctl(&["eval", &format!("{}.", add.join(", "))]).await.unwrap();
            let place = |name: &str| Place { address: broker.url.replace("%2f", name), _directory: None };
            let mut failed = Vec::new();
            $(
                let begun = std::time::Instant::now();
                let told = tokio::spawn(stories::$name(place(stringify!($name)))).await;
                println!("{} in {:?}: {}", stringify!($name), begun.elapsed(), if told.is_ok() { "ok" } else { "FAILED" });
                failed.extend(told.err().map(|_| stringify!($name)));
            )*
            assert!(failed.is_empty(), "{failed:?}");
        }
    };
}

stories! {
    what_is_published_is_received_once
    an_envelope_travels_whole
    what_no_queue_takes_is_an_error
    every_publisher_gets_its_own_answer
    deliveries_wait_for_the_first_worker
    every_cluster_gets_every_delivery_and_its_own_commands
    one_consumer_works_and_the_next_takes_over
    a_queue_keeps_its_order
    no_more_than_the_prefetch_is_under_way
    a_full_queue_refuses_and_loses_nothing
    a_retry_comes_later_and_is_counted
    a_long_wait_does_not_hold_up_a_short_one
    a_retry_outlives_the_consumer
    what_ends_its_consumers_goes_to_the_dead_letters
    dead_letters_are_listed_replayed_and_discarded
    what_was_never_in_a_queue_cannot_go_back
    reports_never_stop_a_worker
    what_is_too_large_is_refused_at_once
    handles_do_not_end_each_other
    unsettled_messages_come_again
    nothing_is_lost_under_load
    a_queue_that_is_not_there_is_an_error
}
