//! Consuming from the journal.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::writer::Op;
use crate::received::Settle;
use crate::retry::{due_unix_ms, now_unix_ms};
use crate::{BusError, Consumer, Counters, Message, Received};

/// Another process that publishes to the file cannot wake us.
const LOOK: Duration = Duration::from_secs(1);
/// As RabbitMQ.
const MAX_PREFETCH: u16 = 2000;

pub(super) async fn consume(
    shared: &Arc<Shared>,
    queue: &str,
    prefetch: u16,
    stop: CancellationToken,
) -> Result<Consumer, BusError> {
    shared.become_consumer().await?;
    let single = shared.ask(|reply| Op::SingleActive { queue: queue.to_owned(), reply }).await?;
    let single_active = single.ok_or_else(|| BusError::NoQueue(queue.to_owned()))?;
    let prefetch = usize::from(prefetch.clamp(1, MAX_PREFETCH));
    let (send, receive) = mpsc::channel(prefetch);
    let pump = Pump { shared: shared.clone(), queue: queue.to_owned(), prefetch, send, stop: stop.clone() };
    tokio::spawn(pump.run(single_active));
    Ok(Consumer::new(queue.to_owned(), receive, stop))
}

struct Pump {
    shared: Arc<Shared>,
    queue: String,
    prefetch: usize,
    send: mpsc::Sender<Received>,
    stop: CancellationToken,
}

impl Pump {
    async fn run(self, single_active: bool) {
        // First come, first served; whoever stands by gets its turn when this task ends.
        let _turn = if single_active {
            let turn = self.shared.turn(&self.queue).lock_owned();
            let Some(turn) = self.stop.run_until_cancelled(turn).await else { return };
            Some(turn)
        } else {
            None
        };
        let credit = Arc::new(Semaphore::new(self.prefetch));
        let mut bell = self.shared.bells.listen(&self.queue);
        loop {
            let permit = self.stop.run_until_cancelled(credit.clone().acquire_owned()).await;
            let Some(Ok(permit)) = permit else { return };
            let mut permits = vec![permit];
            permits.extend(std::iter::from_fn(|| credit.clone().try_acquire_owned().ok()));
            bell.mark_unchanged();
            // Not to be cancelled: what was taken and has no owner would be held until the process ends.
            let Some((all_taken, wait)) = self.take(permits).await else { return };
            if all_taken {
                let changed = tokio::time::timeout(wait, bell.changed());
                if self.stop.run_until_cancelled(changed).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Takes as many messages as there are permits and passes them on. Says whether there were fewer, and how long to
    /// wait for the next. None if nobody listens any more.
    async fn take(&self, permits: Vec<OwnedSemaphorePermit>) -> Option<(bool, Duration)> {
        let (queue, most) = (self.queue.clone(), permits.len());
        let batch = match self.shared.ask(|reply| Op::Take { queue, most, reply }).await {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(queue = self.queue, %error, "nothing taken; trying again");
                return Some((true, LOOK));
            }
        };
        let all_taken = batch.taken.len() < most;
        let received: Vec<_> = batch
            .taken
            .into_iter()
            .zip(permits)
            .map(|(taken, permit)| {
                let settle = JournalSettle {
                    shared: self.shared.clone(),
                    number: taken.number,
                    settled: false,
                    _credit: permit,
                };
                Received::new(taken.message, self.queue.clone(), taken.attempt, Box::new(settle))
            })
            .collect();
        for one in received {
            Counters::add(&self.shared.counters.received);
            self.send.send(one).await.ok()?;
        }
        let wait = batch.next_due_ms.map(|due| due.saturating_sub(now_unix_ms()).max(1));
        let wait = wait.and_then(|ms| u64::try_from(ms).ok()).map_or(LOOK, Duration::from_millis);
        Some((all_taken, wait.min(LOOK)))
    }
}

struct JournalSettle {
    shared: Arc<Shared>,
    number: i64,
    settled: bool,
    // Room for one more message in the prefetch.
    _credit: OwnedSemaphorePermit,
}

impl JournalSettle {
    async fn ask<T>(
        mut self: Box<Self>,
        op: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Op,
    ) -> Result<T, BusError> {
        // From here on the writer has it, even if nobody waits for the answer.
        self.settled = true;
        let answer = self.shared.ask(op).await;
        // A transaction that failed has changed nothing.
        self.settled = answer.is_ok();
        answer
    }
}

#[async_trait]
impl Settle for JournalSettle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        let (shared, number) = (self.shared.clone(), self.number);
        let done = self.ask(|reply| Op::Ack { number, reply }).await?;
        Counters::add(&shared.counters.acknowledged);
        if done == 0 { Err(BusError::Lost) } else { Ok(()) }
    }

    async fn retry(self: Box<Self>, _: Message, _: u32, after: Duration, reason: &str) -> Result<(), BusError> {
        let (shared, number) = (self.shared.clone(), self.number);
        let (due_ms, reason) = (due_unix_ms(after), reason.to_owned());
        let queue = self.ask(|reply| Op::PutOff { number, due_ms, reason, reply }).await?;
        Counters::add(&shared.counters.retried);
        queue.map(drop).ok_or(BusError::Lost)
    }

    async fn dead_letter(self: Box<Self>, _: Message, _: u32, reason: &str) -> Result<(), BusError> {
        let (shared, number, reason) = (self.shared.clone(), self.number, reason.to_owned());
        let done = self.ask(|reply| Op::Kill { number, reason, reply }).await?;
        Counters::add(&shared.counters.dead_lettered);
        if done == 0 { Err(BusError::Lost) } else { Ok(()) }
    }

    fn is_lost(&self) -> bool {
        false
    }
}

impl Drop for JournalSettle {
    fn drop(&mut self) {
        if !self.settled {
            Counters::add(&self.shared.counters.given_back);
            let _ = self.shared.ops.send(Op::GiveBack { number: self.number });
        }
    }
}
