//! A process that publishes to a journal is killed at a random moment, again and again: what it was told is stored is
//! there afterwards.
//!
//! This test has no harness: it starts itself as the process that is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bus::{Message, Topology, names};

const ROUNDS: usize = 5;
const IN_FLIGHT: usize = 16;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--publish") {
        Some(at) => publish(&arguments[at + 1], &arguments[at + 2]).await,
        None => survives().await,
    }
}

fn message(id: String) -> Message {
    Message { id, headers: [("traceparent".to_owned(), "00".to_owned())].into(), body: vec![7; 2000].into() }
}

/// Publishes for ever and prints each id that was confirmed.
async fn publish(address: &str, prefix: &str) {
    let bus = bus::connect(address).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (bus, next, prefix) = (bus.clone(), next.clone(), prefix.to_owned());
            tokio::spawn(async move {
                loop {
                    let id = format!("{prefix}-{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                    bus.publish(names::DELIVERIES, "github.push.a.b", message(id.clone())).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{id}").unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    // None of them ends unless it fails.
    futures::future::select_all(tasks).await.0.unwrap();
}

async fn survives() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("journal:{}", directory.path().join("bus.db").display());
    let mut confirmed = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--publish", &address, &round.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed while publishes are under way: right after one of its confirms has been read.
        let wanted = 20 + 37 * round;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        confirmed.extend(lines.by_ref().take(wanted).map(Result::unwrap));
        child.kill().unwrap();
        child.wait().unwrap();
        confirmed.extend(lines.map_while(Result::ok));
    }
    let bus = bus::connect(&address).await.unwrap();
    let stored = usize::try_from(bus.depth(&names::worker_queue("prod")).await.unwrap()).unwrap();
    assert!(stored >= confirmed.len(), "{stored} of {} are there", confirmed.len());
    let mut consumer = bus.consume(&names::worker_queue("prod"), 100).await.unwrap();
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..stored {
        let received = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await.unwrap().unwrap();
        found.insert(received.message.id.clone());
        received.ack().await.unwrap();
    }
    let lost: Vec<_> = confirmed.iter().filter(|id| !found.contains(*id)).collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
    println!("killed {ROUNDS} times: all {} confirmed messages are there", confirmed.len());
}
