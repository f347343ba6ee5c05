//! The journal's SQL. Each function works inside a transaction that the writer began.

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};
use std::path::Path;
use std::time::Duration;

use super::routes::{ExchangeRoutes, Room, Routes};
use crate::retry::now_unix_ms;
use crate::{BusError, DeadLetter, ExchangeKind, Message, Overflow, PublishError, Topology, names};

pub(super) type SqlResult<T> = Result<T, sqlx::Error>;

const SCHEMA_VERSION: i64 = 1;
/// Another process has the file only for the length of a transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the file. `Full` makes a commit wait for the disk; `Normal` leaves that to the next full one, and survives the
/// death of the process all the same.
pub(super) async fn open(path: &Path, synchronous: SqliteSynchronous) -> SqlResult<SqliteConnection> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY)
        .disable_statement_logging()
        .connect()
        .await
}

pub(super) async fn prepare(db: &mut SqliteConnection) -> Result<(), BusError> {
    let storage = |error: sqlx::Error| BusError::Storage(error.to_string());
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *db).await.map_err(storage)?;
    if version > SCHEMA_VERSION {
        return Err(BusError::Storage("it was written by a newer version of Lockstep; use that one".to_owned()));
    }
    sqlx::raw_sql(include_str!("schema.sql")).execute(db).await.map_err(storage)?;
    Ok(())
}

pub(super) async fn declare(db: &mut SqliteConnection, topology: &Topology) -> SqlResult<()> {
    for exchange in &topology.exchanges {
        sqlx::query("INSERT OR REPLACE INTO exchange (name, kind, alternate) VALUES (?, ?, ?)")
            .bind(exchange.name.clone())
            .bind(kind_name(exchange.kind))
            .bind(exchange.alternate.clone())
            .execute(&mut *db)
            .await?;
    }
    for queue in &topology.queues {
        sqlx::query(
            "INSERT INTO queue (name, max_length, drop_head, delivery_limit, dead_letters, single_active)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET max_length = excluded.max_length, drop_head = excluded.drop_head,
             delivery_limit = excluded.delivery_limit, dead_letters = excluded.dead_letters,
             single_active = excluded.single_active",
        )
        .bind(queue.name.clone())
        .bind(i64::from(queue.max_length))
        .bind(queue.overflow == Overflow::DropHead)
        .bind(i64::from(queue.delivery_limit))
        .bind(queue.dead_letters)
        .bind(queue.single_active)
        .execute(&mut *db)
        .await?;
    }
    for binding in &topology.bindings {
        sqlx::query("INSERT OR IGNORE INTO binding (exchange, key, queue) VALUES (?, ?, ?)")
            .bind(binding.exchange.clone())
            .bind(binding.key.clone())
            .bind(binding.queue.clone())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Topic => "topic",
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
    }
}

pub(super) async fn routes(db: &mut SqliteConnection) -> SqlResult<Routes> {
    let mut routes = Routes::default();
    for row in sqlx::query("SELECT name, kind, alternate FROM exchange").fetch_all(&mut *db).await? {
        let kind = match row.try_get::<String, _>(1)?.as_str() {
            "direct" => ExchangeKind::Direct,
            "fanout" => ExchangeKind::Fanout,
            _ => ExchangeKind::Topic,
        };
        let exchange = ExchangeRoutes { kind, alternate: row.try_get(2)?, bindings: Vec::new() };
        routes.exchanges.insert(row.try_get(0)?, exchange);
    }
    for row in sqlx::query("SELECT exchange, key, queue FROM binding").fetch_all(&mut *db).await? {
        if let Some(exchange) = routes.exchanges.get_mut(&row.try_get::<String, _>(0)?) {
            exchange.bindings.push((row.try_get(1)?, row.try_get(2)?));
        }
    }
    for row in sqlx::query("SELECT name, depth, max_length, drop_head FROM queue").fetch_all(db).await? {
        let room = Room { depth: row.try_get(1)?, max_length: row.try_get(2)?, drop_head: row.try_get(3)? };
        routes.queues.insert(row.try_get(0)?, room);
    }
    Ok(routes)
}

/// Puts a message into every queue that wants it, or into none. The inner result is the publisher's.
pub(super) async fn publish(
    db: &mut SqliteConnection,
    routes: &mut Routes,
    exchange: &str,
    key: &str,
    message: &Message,
) -> SqlResult<Result<Vec<String>, PublishError>> {
    let queues = routes.find(exchange, key);
    if queues.is_empty() {
        let (exchange, routing_key) = (exchange.to_owned(), key.to_owned());
        return Ok(Err(PublishError::Unroutable { exchange, routing_key }));
    }
    let full = |room: &&Room| !room.drop_head && room.depth >= room.max_length;
    if let Some(name) = queues.iter().find(|name| routes.queues.get(*name).as_ref().is_some_and(full)) {
        return Ok(Err(PublishError::Refused { reason: format!("queue {name} is full") }));
    }
    let headers = serde_json::to_string(&message.headers).unwrap_or_default();
    for name in &queues {
        sqlx::query("INSERT INTO message (queue, id, exchange, routing_key, headers, body) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(name.clone())
            .bind(message.id.clone())
            .bind(exchange.to_owned())
            .bind(key.to_owned())
            .bind(headers.clone())
            .bind(message.body.to_vec())
            .execute(&mut *db)
            .await?;
        if let Some(room) = routes.queues.get_mut(name) {
            room.depth += 1;
            if room.drop_head && room.depth > room.max_length {
                drop_oldest(db, name).await?;
                room.depth -= 1;
            }
        }
    }
    Ok(Ok(queues))
}

async fn drop_oldest(db: &mut SqliteConnection, queue: &str) -> SqlResult<()> {
    sqlx::query("DELETE FROM message WHERE number = (SELECT min(number) FROM message WHERE queue = ? AND held = 0)")
        .bind(queue.to_owned())
        .execute(db)
        .await?;
    Ok(())
}

/// A message handed to a consumer.
#[derive(Debug)]
pub(super) struct Taken {
    pub number: i64,
    pub message: Message,
    pub attempt: u32,
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub taken: Vec<Taken>,
    /// When the next delayed message is due, in milliseconds since 1970.
    pub next_due_ms: Option<i64>,
}

/// Takes the next messages of a queue. Those that were taken too often before go to the dead letters instead.
pub(super) async fn take(db: &mut SqliteConnection, queue: &str, most: usize) -> SqlResult<Batch> {
    let now = now_unix_ms();
    let limits: Option<(i64, bool)> = sqlx::query_as("SELECT delivery_limit, dead_letters FROM queue WHERE name = ?")
        .bind(queue.to_owned())
        .fetch_optional(&mut *db)
        .await?;
    let (limit, to_dead) = limits.unwrap_or((i64::MAX, false));
    let rows = sqlx::query(
        "UPDATE message SET held = 1, deliveries = deliveries + 1 WHERE number IN
         (SELECT number FROM message WHERE queue = ? AND held = 0 AND due_ms <= ? ORDER BY number LIMIT ?)
         RETURNING number, id, headers, body, retries, deliveries",
    )
    .bind(queue.to_owned())
    .bind(now)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(&mut *db)
    .await?;
    let mut batch = Batch::default();
    let found = rows.len();
    for row in rows {
        let (number, deliveries): (i64, i64) = (row.try_get("number")?, row.try_get("deliveries")?);
        // The first delivery is no delivery again.
        if deliveries > limit.saturating_add(1) {
            let reason = "delivered too often without being settled: it may be what ends its consumers";
            if to_dead {
                kill(db, number, reason).await?
            } else {
                forget(db, number).await?
            };
            continue;
        }
        let attempt = row.try_get::<i64, _>("retries")?.saturating_add(deliveries);
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        batch.taken.push(Taken { number, message: read_message(&row)?, attempt });
    }
    batch.taken.sort_by_key(|taken| taken.number);
    if found < most {
        batch.next_due_ms =
            sqlx::query_scalar("SELECT min(due_ms) FROM message WHERE queue = ? AND held = 0 AND due_ms > ?")
                .bind(queue.to_owned())
                .bind(now)
                .fetch_one(db)
                .await?;
    }
    Ok(batch)
}

fn read_message(row: &SqliteRow) -> SqlResult<Message> {
    let headers: String = row.try_get("headers")?;
    let headers = serde_json::from_str(&headers).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Message { id: row.try_get("id")?, headers, body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?) })
}

pub(super) async fn forget(db: &mut SqliteConnection, number: i64) -> SqlResult<u64> {
    let done = sqlx::query("DELETE FROM message WHERE number = ?").bind(number).execute(db).await?;
    Ok(done.rows_affected())
}

pub(super) async fn give_back(db: &mut SqliteConnection, number: i64) -> SqlResult<Option<String>> {
    sqlx::query_scalar("UPDATE message SET held = 0 WHERE number = ? RETURNING queue")
        .bind(number)
        .fetch_optional(db)
        .await
}

/// Gives back everything: for a process that has just become the only one.
pub(super) async fn give_all_back(db: &mut SqliteConnection) -> SqlResult<()> {
    sqlx::query("UPDATE message SET held = 0 WHERE held = 1").execute(db).await?;
    Ok(())
}

/// Moves a message to the end of its queue, not to be taken before `due_ms`.
pub(super) async fn put_off(
    db: &mut SqliteConnection,
    number: i64,
    due_ms: i64,
    reason: &str,
) -> SqlResult<Option<String>> {
    let queue = sqlx::query_scalar(
        "INSERT INTO message (queue, id, exchange, routing_key, headers, body, retries, due_ms, reason)
         SELECT queue, id, exchange, routing_key, headers, body, retries + deliveries, ?, ?
         FROM message WHERE number = ? RETURNING queue",
    )
    .bind(due_ms)
    .bind(reason.to_owned())
    .bind(number)
    .fetch_optional(&mut *db)
    .await?;
    forget(db, number).await?;
    Ok(queue)
}

/// Moves a message to the dead letters.
pub(super) async fn kill(db: &mut SqliteConnection, number: i64, reason: &str) -> SqlResult<u64> {
    let done = sqlx::query(
        "UPDATE message SET origin = queue, queue = ?, reason = ?, dead_ms = ?, held = 0, due_ms = 0 WHERE number = ?",
    )
    .bind(names::DEAD)
    .bind(reason.to_owned())
    .bind(now_unix_ms())
    .bind(number)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Adds a dead letter that was never in a queue.
pub(super) async fn bury(db: &mut SqliteConnection, message: &Message, reason: &str) -> SqlResult<()> {
    sqlx::query(
        "INSERT INTO message (queue, id, exchange, routing_key, headers, body, reason, dead_ms)
         VALUES (?, ?, '', '', ?, ?, ?, ?)",
    )
    .bind(names::DEAD)
    .bind(message.id.clone())
    .bind(serde_json::to_string(&message.headers).unwrap_or_default())
    .bind(message.body.to_vec())
    .bind(reason.to_owned())
    .bind(now_unix_ms())
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn dead(db: &mut SqliteConnection, limit: usize) -> SqlResult<Vec<DeadLetter>> {
    let rows = sqlx::query("SELECT * FROM message WHERE queue = ? ORDER BY number LIMIT ?")
        .bind(names::DEAD)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            let attempts = row.try_get::<i64, _>("retries")? + row.try_get::<i64, _>("deliveries")?;
            Ok(DeadLetter {
                id: row.try_get::<i64, _>("number")?.to_string(),
                message: read_message(row)?,
                queue: row.try_get("origin")?,
                reason: row.try_get::<Option<String>, _>("reason")?.unwrap_or_default(),
                at_unix_ms: row.try_get::<Option<i64>, _>("dead_ms")?.unwrap_or_default(),
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            })
        })
        .collect()
}

/// Where a dead letter came from: none if there is no such letter, `Some(None)` if it was never in a queue.
pub(super) async fn origin(db: &mut SqliteConnection, number: i64) -> SqlResult<Option<Option<String>>> {
    sqlx::query_scalar("SELECT origin FROM message WHERE number = ? AND queue = ?")
        .bind(number)
        .bind(names::DEAD)
        .fetch_optional(db)
        .await
}

/// Puts a message at the end of other queues, as new, and takes it from where it is.
pub(super) async fn move_to(db: &mut SqliteConnection, number: i64, queues: &[String]) -> SqlResult<()> {
    for queue in queues {
        sqlx::query(
            "INSERT INTO message (queue, id, exchange, routing_key, headers, body)
             SELECT ?, id, exchange, routing_key, headers, body FROM message WHERE number = ?",
        )
        .bind(queue.clone())
        .bind(number)
        .execute(&mut *db)
        .await?;
    }
    forget(db, number).await?;
    Ok(())
}

/// Number, exchange and key of all that found no queue.
pub(super) async fn unrouted(db: &mut SqliteConnection) -> SqlResult<Vec<(i64, String, String)>> {
    sqlx::query_as("SELECT number, exchange, routing_key FROM message WHERE queue = ? AND held = 0 ORDER BY number")
        .bind(names::UNROUTED)
        .fetch_all(db)
        .await
}

/// Messages that could be taken now; none if there is no such queue.
pub(super) async fn ready(db: &mut SqliteConnection, queue: &str) -> SqlResult<Option<i64>> {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM message WHERE message.queue = queue.name AND held = 0 AND due_ms <= ?)
         FROM queue WHERE name = ?",
    )
    .bind(now_unix_ms())
    .bind(queue.to_owned())
    .fetch_optional(db)
    .await
}

/// Whether the queue has one active consumer; none if there is no such queue.
pub(super) async fn single_active(db: &mut SqliteConnection, queue: &str) -> SqlResult<Option<bool>> {
    sqlx::query_scalar("SELECT single_active FROM queue WHERE name = ?").bind(queue.to_owned()).fetch_optional(db).await
}
