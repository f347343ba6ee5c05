//! What concerns only the file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::{BusError, Message, Topology, names};
use sqlx::Connection as _;

fn file() -> (tempfile::TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new folder").join("bus.db");
    let address = format!("journal:{}", path.display());
    (directory, path, address)
}

fn message(id: &str) -> Message {
    Message { id: id.to_owned(), headers: Default::default(), body: "body".into() }
}

async fn sql(path: &Path, statement: &'static str) {
    let mut db = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

async fn failure(address: &str) -> BusError {
    bus::connect(address).await.err().unwrap()
}

#[tokio::test]
async fn the_file_is_its_owner_s_alone() {
    let (_directory, path, address) = file();
    let bus = bus::connect(&address).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    for name in ["bus.db", "bus.db-wal"] {
        let mode = path.with_file_name(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn one_process_consumes() {
    let (_directory, path, address) = file();
    let bus = bus::connect(&address).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    // Another process: a lock belongs to an open file, not to its name.
    let other = File::create(path.with_file_name("bus.db.lock")).unwrap();
    other.lock().unwrap();
    let worker = names::worker_queue("prod");
    assert!(matches!(bus.consume(&worker, 1).await, Err(BusError::InUse(_))));
    // Publishing and looking need no lock.
    bus.publish(names::COMMANDS, "prod", message("c1")).await.unwrap();
    assert_eq!(bus.depth(&worker).await.unwrap(), 1);
    other.unlock().unwrap();
    let mut consumer = bus.consume(&worker, 1).await.unwrap();
    assert_eq!(consumer.next().await.unwrap().message.id, "c1");
}

#[tokio::test]
async fn what_another_process_publishes_is_noticed() {
    let (_directory, path, address) = file();
    let bus = bus::connect(&address).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    let mut consumer = bus.consume(&names::worker_queue("prod"), 1).await.unwrap();
    let publish = "INSERT INTO message (queue, id, exchange, routing_key, headers, body)
                   VALUES ('lockstep.worker.prod', 'elsewhere', '', '', '{}', x'00')";
    sql(&path, publish).await;
    let begun = Instant::now();
    let received = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await.unwrap().unwrap();
    assert_eq!(received.message.id, "elsewhere");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_explained() {
    let (_directory, path, address) = file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "this is no database, and long enough to be taken for one that is broken".repeat(20))
        .unwrap();
    let error = failure(&address).await;
    assert!(error.to_string().contains("not a database"), "{error}");

    std::fs::remove_file(&path).unwrap();
    drop(bus::connect(&address).await.unwrap());
    sql(&path, "PRAGMA user_version = 7").await;
    let error = failure(&address).await;
    assert!(error.to_string().contains("newer version"), "{error}");

    let error = failure(&format!("journal:{}/file.db", path.display())).await;
    assert!(matches!(error, BusError::Storage(_)), "{error}");
}

#[tokio::test]
async fn a_writer_that_fails_confirms_nothing_and_recovers() {
    let (_directory, path, address) = file();
    let bus = bus::connect(&address).await.unwrap();
    bus.declare(&Topology::for_cluster("prod")).await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    sql(&path, full).await;
    let error = bus.publish(names::COMMANDS, "prod", message("c1")).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("disk is full"), "{error}");
    sql(&path, "DROP TRIGGER full").await;
    bus.publish(names::COMMANDS, "prod", message("c2")).await.unwrap();
    assert_eq!(bus.depth(&names::worker_queue("prod")).await.unwrap(), 1);
}
