//! The bus in one SQLite file, for one process: `lockstep up`.
//!
//! All handles of a process that name the same file share one [`Shared`]; another process may publish to the file and
//! look at its dead letters, but not consume.

mod consume;
mod routes;
mod store;
mod writer;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use sqlx::sqlite::SqliteSynchronous;
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Bus, BusError, Consumer, Counters, DeadLetter, Message, PUBLISH_LIMIT, PublishError, Topology};
use writer::{Bells, Op, Writer};

/// Publishes that wait for the disk at a time.
const IN_FLIGHT: usize = 1024;

/// One journal of this process.
struct Shared {
    path: PathBuf,
    ops: mpsc::UnboundedSender<Op>,
    in_flight: Arc<Semaphore>,
    bells: Arc<Bells>,
    last_error: Arc<Mutex<String>>,
    counters: Counters,
    /// Whose turn it is, for queues with one active consumer.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Held by the process that consumes.
    lock: OnceCell<File>,
}

/// The journals of this process, by path.
static OPEN: LazyLock<tokio::sync::Mutex<HashMap<PathBuf, Weak<Shared>>>> = LazyLock::new(Default::default);

impl Shared {
    async fn open(path: &Path) -> Result<Arc<Self>, BusError> {
        let path = prepare_file(path)?;
        let mut open = OPEN.lock().await;
        if let Some(shared) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let failed = |error: sqlx::Error| BusError::Storage(format!("{}: {error}", path.display()));
        let mut durable = store::open(&path, SqliteSynchronous::Full).await.map_err(failed)?;
        store::prepare(&mut durable).await?;
        let quick = store::open(&path, SqliteSynchronous::Normal).await.map_err(failed)?;
        let (ops, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Self {
            path: path.clone(),
            ops,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            bells: Arc::default(),
            last_error: Arc::default(),
            counters: Counters::default(),
            turns: Mutex::default(),
            lock: OnceCell::new(),
        });
        let (bells, last_error) = (shared.bells.clone(), shared.last_error.clone());
        tokio::spawn(Writer { ops: receiver, durable, quick, bells, last_error }.run());
        open.retain(|_, other| other.strong_count() > 0);
        open.insert(path, Arc::downgrade(&shared));
        Ok(shared)
    }

    fn why(&self) -> String {
        let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        format!("{}: {}", self.path.display(), if error.is_empty() { "the writer has ended" } else { &error })
    }

    /// Hands an operation to the writer and waits until it is committed.
    async fn ask<T>(&self, op: impl FnOnce(oneshot::Sender<T>) -> Op) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.ops.send(op(reply));
        if let Ok(value) = answer.await {
            return Ok(value);
        }
        // The transaction failed. Once the writer takes the next one it has noted why.
        let (reply, next) = oneshot::channel();
        let _ = self.ops.send(Op::Ping { reply });
        let _ = next.await;
        Err(BusError::Storage(self.why()))
    }

    /// [`Shared::ask`] with the limits of a publish.
    async fn ask_publish<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<T>, tokio::sync::OwnedSemaphorePermit) -> Op,
    ) -> Result<T, PublishError> {
        let deadline = Instant::now() + PUBLISH_LIMIT;
        let answer = timeout_at(deadline, async {
            let closed = |_| BusError::Closed;
            let permit = self.in_flight.clone().acquire_owned().await.map_err(closed)?;
            self.ask(|reply| op(reply, permit)).await
        });
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(PublishError::Unavailable { reason: error.to_string() }),
            Err(_) => Err(PublishError::TimedOut { after: PUBLISH_LIMIT }),
        }
    }

    /// Makes this process the one that consumes. What a dead one had is given back.
    async fn become_consumer(&self) -> Result<(), BusError> {
        let locked = self.lock.get_or_try_init(|| async {
            let path = self.path.with_added_extension("lock");
            let failed = |error: std::io::Error| BusError::Storage(format!("{}: {error}", path.display()));
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(BusError::InUse(self.path.display().to_string())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            self.ask(|reply| Op::GiveAllBack { reply }).await?;
            Ok(file)
        });
        locked.await.map(drop)
    }

    fn turn(&self, queue: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(queue.to_owned()).or_default().clone()
    }
}

/// Creates the file for its owner only (webhooks of private repositories are in it), and its folder if need be.
fn prepare_file(path: &Path) -> Result<PathBuf, BusError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| BusError::Storage(format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    path.canonicalize().map_err(failed)
}

/// A handle on a journal.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    closed: CancellationToken,
    _close: DropGuard,
}

impl Journal {
    pub(crate) async fn open(path: &Path) -> Result<Self, BusError> {
        let shared = Shared::open(path).await?;
        let closed = CancellationToken::new();
        Ok(Self { shared, _close: closed.clone().drop_guard(), closed })
    }

    fn ensure_open(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() { Err(BusError::Closed) } else { Ok(()) }
    }

    async fn publish_within(&self, exchange: &str, key: &str, message: Message) -> Result<(), PublishError> {
        message.check_size(exchange, key)?;
        self.ensure_open().map_err(|error| PublishError::Unavailable { reason: error.to_string() })?;
        let (exchange, key) = (exchange.to_owned(), key.to_owned());
        self.shared.ask_publish(|reply, _permit| Op::Publish { exchange, key, message, reply, _permit }).await?
    }
}

#[async_trait]
impl Bus for Journal {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        self.ensure_open()?;
        self.shared.ask(|reply| Op::Declare { topology: topology.clone(), reply }).await
    }

    async fn publish(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), PublishError> {
        Counters::add(&self.shared.counters.published);
        let result = self.publish_within(exchange, routing_key, message).await;
        self.shared.counters.count_publish(&result);
        result
    }

    async fn bury(&self, message: Message, reason: &str) -> Result<(), PublishError> {
        Counters::add(&self.shared.counters.published);
        let result = async {
            message.check_size("", "")?;
            self.ensure_open().map_err(|error| PublishError::Unavailable { reason: error.to_string() })?;
            let reason = reason.to_owned();
            self.shared.ask_publish(|reply, _| Op::Bury { message, reason, reply }).await
        };
        let result = result.await;
        self.shared.counters.count_publish(&result);
        result
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, BusError> {
        self.ensure_open()?;
        consume::consume(&self.shared, queue, prefetch, self.closed.child_token()).await
    }

    async fn depth(&self, queue: &str) -> Result<u64, BusError> {
        let count = self.shared.ask(|reply| Op::Ready { queue: queue.to_owned(), reply }).await?;
        let count = count.ok_or_else(|| BusError::NoQueue(queue.to_owned()))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
        self.shared.ask(|reply| Op::Dead { limit, reply }).await
    }

    async fn replay(&self, id: &str) -> Result<(), BusError> {
        self.shared.ask(|reply| Op::Replay { id: id.to_owned(), reply }).await?
    }

    async fn discard(&self, id: &str) -> Result<(), BusError> {
        self.shared.ask(|reply| Op::Discard { id: id.to_owned(), reply }).await?
    }

    async fn reroute(&self) -> Result<u64, BusError> {
        self.shared.ask(|reply| Op::Reroute { reply }).await
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.ensure_open()?;
        self.shared.ask(|reply| Op::Ping { reply }).await
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    async fn close(&self) {
        self.closed.cancel();
        // What was handed to the writer before is done when this is.
        let _ = self.shared.ask(|reply| Op::Ping { reply }).await;
    }
}
