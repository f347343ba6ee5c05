//! The one task that touches the file. What has gathered while a commit waited for the disk goes into the next one, so
//! many publishes share a transaction.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::sqlite::SqliteConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::routes::Routes;
use super::store::{self, Batch, SqlResult};
use crate::{BusError, DeadLetter, Message, PublishError, Topology, names};

/// More in one transaction makes those who came first wait for nothing.
const MAX_BATCH: usize = 256;

type Reply<T> = oneshot::Sender<T>;

pub(super) enum Op {
    Publish {
        exchange: String,
        key: String,
        message: Message,
        reply: Reply<Result<(), PublishError>>,
        _permit: OwnedSemaphorePermit,
    },
    Bury {
        message: Message,
        reason: String,
        reply: Reply<()>,
    },
    Ack {
        number: i64,
        reply: Reply<u64>,
    },
    PutOff {
        number: i64,
        due_ms: i64,
        reason: String,
        reply: Reply<Option<String>>,
    },
    Kill {
        number: i64,
        reason: String,
        reply: Reply<u64>,
    },
    GiveBack {
        number: i64,
    },
    GiveAllBack {
        reply: Reply<()>,
    },
    Take {
        queue: String,
        most: usize,
        reply: Reply<Batch>,
    },
    Declare {
        topology: Topology,
        reply: Reply<()>,
    },
    Ready {
        queue: String,
        reply: Reply<Option<i64>>,
    },
    SingleActive {
        queue: String,
        reply: Reply<Option<bool>>,
    },
    Dead {
        limit: usize,
        reply: Reply<Vec<DeadLetter>>,
    },
    Replay {
        id: String,
        reply: Reply<Result<(), BusError>>,
    },
    Discard {
        id: String,
        reply: Reply<Result<(), BusError>>,
    },
    Reroute {
        reply: Reply<u64>,
    },
    Ping {
        reply: Reply<()>,
    },
}

impl Op {
    /// Whether somebody relies on it being on disk. What is lost of the others only makes messages come again.
    fn must_reach_disk(&self) -> bool {
        match self {
            Self::Publish { .. } | Self::Bury { .. } | Self::PutOff { .. } | Self::Kill { .. } => true,
            Self::Declare { .. } | Self::Replay { .. } | Self::Discard { .. } | Self::Reroute { .. } => true,
            Self::Ack { .. } | Self::GiveBack { .. } | Self::GiveAllBack { .. } | Self::Take { .. } => false,
            Self::Ready { .. } | Self::SingleActive { .. } | Self::Dead { .. } | Self::Ping { .. } => false,
        }
    }
}

/// Wakes consumers: a counter per queue that goes up when there may be something new.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<String, watch::Sender<u64>>>);

impl Bells {
    pub(super) fn listen(&self, queue: &str) -> watch::Receiver<u64> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.entry(queue.to_owned()).or_default().subscribe()
    }

    fn ring(&self, queue: &str) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(queue) {
            bell.send_modify(|count| *count += 1);
        }
    }
}

/// What is to be done once the transaction is on disk.
#[derive(Default)]
struct After {
    replies: Vec<Box<dyn FnOnce() + Send>>,
    /// Queues with something new.
    ring: BTreeSet<String>,
}

impl After {
    fn reply<T: Send + 'static>(&mut self, to: Reply<T>, value: T) {
        self.replies.push(Box::new(move || drop(to.send(value))));
    }
}

pub(super) struct Writer {
    pub(super) ops: mpsc::UnboundedReceiver<Op>,
    /// A commit on it waits for the disk.
    pub(super) durable: SqliteConnection,
    /// A commit on it does not.
    pub(super) quick: SqliteConnection,
    pub(super) bells: std::sync::Arc<Bells>,
    pub(super) last_error: std::sync::Arc<Mutex<String>>,
}

impl Writer {
    /// Until the last handle is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.ops.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let durable = batch.iter().any(Op::must_reach_disk);
            let db = if durable { &mut self.durable } else { &mut self.quick };
            match transaction(db, &mut batch).await {
                Ok(after) => {
                    after.replies.into_iter().for_each(|reply| reply());
                    after.ring.iter().for_each(|queue| self.bells.ring(queue));
                }
                Err(error) => {
                    // Nobody gets an answer, and whoever waits for one finds the reason here.
                    tracing::error!(%error, "the journal does not work");
                    *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                }
            }
            batch.clear();
        }
    }
}

async fn transaction(db: &mut SqliteConnection, batch: &mut Vec<Op>) -> SqlResult<After> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *db).await?;
    let mut after = After::default();
    let mut routes = None;
    for op in batch.drain(..) {
        if let Err(error) = apply(db, op, &mut routes, &mut after).await {
            let _ = sqlx::query("ROLLBACK").execute(db).await;
            return Err(error);
        }
    }
    if let Err(error) = sqlx::query("COMMIT").execute(&mut *db).await {
        let _ = sqlx::query("ROLLBACK").execute(db).await;
        return Err(error);
    }
    Ok(after)
}

async fn apply(db: &mut SqliteConnection, op: Op, routes: &mut Option<Routes>, after: &mut After) -> SqlResult<()> {
    match op {
        Op::Publish { exchange, key, message, reply, .. } => {
            let routes = routes_of(db, routes).await?;
            let result = store::publish(db, routes, &exchange, &key, &message).await?;
            let result = result.map(|queues| after.ring.extend(queues));
            after.reply(reply, result);
        }
        Op::Bury { message, reason, reply } => {
            store::bury(db, &message, &reason).await?;
            after.reply(reply, ());
        }
        Op::Ack { number, reply } => {
            let done = store::forget(db, number).await?;
            after.reply(reply, done);
        }
        Op::PutOff { number, due_ms, reason, reply } => {
            let queue = store::put_off(db, number, due_ms, &reason).await?;
            after.ring.extend(queue.clone());
            after.reply(reply, queue);
        }
        Op::Kill { number, reason, reply } => {
            let done = store::kill(db, number, &reason).await?;
            after.reply(reply, done);
        }
        Op::GiveBack { number } => after.ring.extend(store::give_back(db, number).await?),
        Op::GiveAllBack { reply } => {
            store::give_all_back(db).await?;
            after.reply(reply, ());
        }
        Op::Take { queue, most, reply } => {
            let batch = store::take(db, &queue, most).await?;
            after.reply(reply, batch);
        }
        Op::Declare { topology, reply } => {
            store::declare(db, &topology).await?;
            *routes = None;
            after.reply(reply, ());
        }
        other => look_after(db, other, routes, after).await?,
    }
    Ok(())
}

/// What people and programs ask about queues and dead letters.
async fn look_after(
    db: &mut SqliteConnection,
    op: Op,
    routes: &mut Option<Routes>,
    after: &mut After,
) -> SqlResult<()> {
    match op {
        Op::Ready { queue, reply } => {
            let count = store::ready(db, &queue).await?;
            after.reply(reply, count);
        }
        Op::SingleActive { queue, reply } => {
            let single = store::single_active(db, &queue).await?;
            after.reply(reply, single);
        }
        Op::Dead { limit, reply } => {
            let letters = store::dead(db, limit).await?;
            after.reply(reply, letters);
        }
        Op::Replay { id, reply } => {
            let result = replay(db, &id, routes, after).await?;
            after.reply(reply, result);
        }
        Op::Discard { id, reply } => {
            let result = match find(db, &id).await? {
                Some((number, _)) => store::forget(db, number).await.map(|_| Ok(()))?,
                None => Err(BusError::NoDeadLetter(id)),
            };
            after.reply(reply, result);
        }
        Op::Reroute { reply } => {
            let mut moved = 0;
            for (number, exchange, key) in store::unrouted(db).await? {
                let queues = routes_of(db, routes).await?.find(&exchange, &key);
                if !queues.is_empty() && !queues.iter().any(|queue| queue == names::UNROUTED) {
                    store::move_to(db, number, &queues).await?;
                    after.ring.extend(queues);
                    moved += 1;
                }
            }
            after.reply(reply, moved);
        }
        Op::Ping { reply } => after.reply(reply, ()),
        // The others were handled by the caller.
        _ => {}
    }
    Ok(())
}

async fn routes_of<'a>(db: &mut SqliteConnection, routes: &'a mut Option<Routes>) -> SqlResult<&'a mut Routes> {
    if routes.is_none() {
        *routes = Some(store::routes(db).await?);
    }
    Ok(routes.get_or_insert_default())
}

async fn find(db: &mut SqliteConnection, id: &str) -> SqlResult<Option<(i64, Option<String>)>> {
    let Ok(number) = id.parse() else { return Ok(None) };
    Ok(store::origin(db, number).await?.map(|origin| (number, origin)))
}

async fn replay(
    db: &mut SqliteConnection,
    id: &str,
    routes: &mut Option<Routes>,
    after: &mut After,
) -> SqlResult<Result<(), BusError>> {
    let Some((number, origin)) = find(db, id).await? else { return Ok(Err(BusError::NoDeadLetter(id.to_owned()))) };
    let Some(queue) = origin else { return Ok(Err(BusError::NoWayBack(id.to_owned()))) };
    if !routes_of(db, routes).await?.queues.contains_key(&queue) {
        return Ok(Err(BusError::NoQueue(queue)));
    }
    store::move_to(db, number, std::slice::from_ref(&queue)).await?;
    after.ring.insert(queue);
    Ok(Ok(()))
}
