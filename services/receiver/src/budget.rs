//! The memory for bodies and for what is made of them. Nobody is authenticated before his body is there, so strangers share
//! it: reserved by what a request announces, before anything of the body is read.
//!
//! Small bodies, which nearly all of a forge's are, have a quarter for themselves. When that is used up, the body that has
//! kept us waiting for the longest makes way. Large ones wait for a moment, and are then told to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::Refusal;
use crate::connections::{Connections, Peer};
use crate::measures::Measures;

/// The largest body that is small.
pub(crate) const SMALL: usize = 256 * 1024;
const KIB: usize = 1024;
/// How long a small body waits for those that were hung up on.
const SMALL_WAIT: Duration = Duration::from_millis(500);
/// How long a large one waits for others to be stored. A forge waits for ten seconds in all.
const LARGE_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct Budget {
    small: Pool,
    large: Pool,
    connections: Arc<Connections>,
}

struct Pool {
    permits: Arc<Semaphore>,
    kib: u32,
    reserved: Gauge,
    waiting: Arc<AtomicUsize>,
}

/// A share of the memory, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    permit: OwnedSemaphorePermit,
    reserved: Gauge,
}

impl Pool {
    fn new(bytes: usize, reserved: Gauge) -> Self {
        let kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX).max(1);
        Self { permits: Arc::new(Semaphore::new(kib as usize)), kib, reserved, waiting: Arc::default() }
    }

    /// A body that is larger than all there is gets all there is.
    fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).clamp(1, self.kib)
    }

    fn now(&self, weight: u32) -> Option<Reserved> {
        Some(self.reserved(self.permits.clone().try_acquire_many_owned(weight).ok()?))
    }

    async fn within(&self, weight: u32, limit: Duration) -> Result<Reserved, Refusal> {
        let _waiting = Waiting::begin(&self.waiting);
        match timeout(limit, self.permits.clone().acquire_many_owned(weight)).await {
            Ok(Ok(permit)) => Ok(self.reserved(permit)),
            _ => Err(Refusal::Busy),
        }
    }

    fn reserved(&self, permit: OwnedSemaphorePermit) -> Reserved {
        self.reserved.inc_by(bytes(permit.num_permits()));
        Reserved { permit, reserved: self.reserved.clone() }
    }
}

struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Budget {
    pub(crate) fn new(total: usize, connections: Arc<Connections>, measures: &Measures) -> Self {
        let (small, large) = (total / 4, total - total / 4);
        let small = Pool::new(small, measures.reserved("small"));
        Self { small, large: Pool::new(large, measures.reserved("large")), connections }
    }

    /// Memory for a body that may have up to [`SMALL`] bytes.
    pub(crate) async fn small(&self, memory: usize, peer: &Peer) -> Result<Reserved, Refusal> {
        let weight = self.small.weight(memory);
        let reserved = match self.small.now(weight) {
            Some(reserved) => reserved,
            None => {
                self.connections.make_room(weight, peer);
                self.small.within(weight, SMALL_WAIT).await?
            }
        };
        peer.holds.store(weight, Ordering::Release);
        Ok(reserved)
    }

    /// Memory for any other.
    pub(crate) async fn large(&self, memory: usize) -> Result<Reserved, Refusal> {
        let weight = self.large.weight(memory);
        match self.large.now(weight) {
            Some(reserved) => Ok(reserved),
            None => self.large.within(weight, LARGE_WAIT).await,
        }
    }

    /// Whether another large body waits for memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.large.waiting.load(Ordering::Acquire) > 0
    }
}

impl Reserved {
    /// Gives back what is more than so many bytes need.
    pub(crate) fn shrink(&mut self, memory: usize) {
        let more = self.permit.num_permits().saturating_sub(memory.div_ceil(KIB).max(1));
        if let Some(more) = self.permit.split(more) {
            self.reserved.dec_by(bytes(more.num_permits()));
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.reserved.dec_by(bytes(self.permit.num_permits()));
    }
}

fn bytes(permits: usize) -> i64 {
    i64::try_from(permits * KIB).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use telemetry::Metrics;

    use super::*;

    fn budget(kib: usize) -> (Budget, Arc<Connections>, Metrics) {
        let metrics = Metrics::new("lockstep");
        let measures = Measures::new(&metrics);
        let connections = Connections::new(100, Duration::from_secs(5), measures.clone());
        (Budget::new(kib * KIB, connections.clone(), &measures), connections, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_leave_a_quarter() {
        let (budget, connections, metrics) = budget(1024);
        let held = budget.large(100_000 * KIB).await.unwrap();
        assert_eq!(budget.large(1).await.unwrap_err(), Refusal::Busy);
        let peer = connections.admit();
        let small = budget.small(256 * KIB, &peer).await.unwrap();
        let page = metrics.encode();
        assert!(page.contains(r#"lockstep_receiver_reserved_bytes{size="large"} 786432"#), "{page}");
        assert!(page.contains(r#"lockstep_receiver_reserved_bytes{size="small"} 262144"#), "{page}");
        drop((held, small));
        assert!(metrics.encode().contains(r#"lockstep_receiver_reserved_bytes{size="large"} 0"#));
        assert!(budget.large(1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_small_body_makes_way() {
        let (budget, connections, _) = budget(1024);
        let peers = [(); 4].map(|()| connections.admit());
        let mut held = Vec::new();
        for peer in &peers[..2] {
            held.push(budget.small(128 * KIB, peer).await.unwrap());
        }
        peers[0].is_silent();
        peers[1].is_silent();
        let next = budget.small(KIB, &peers[2]);
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending());
        assert!(peers[0].is_hung_up() && !peers[1].is_hung_up());
        held.remove(0);
        assert!(next.await.is_ok());
        // Those that are complete do not.
        peers[1].is_complete();
        peers[1].is_silent();
        let _more = budget.small(126 * KIB, &peers[2]).await;
        peers[2].is_complete();
        assert_eq!(budget.small(128 * KIB, &peers[3]).await.unwrap_err(), Refusal::Busy);
        assert!(!peers[1].is_hung_up() && !peers[2].is_hung_up());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_needed_is_given_back() {
        let (budget, _, _) = budget(1024);
        let mut first = budget.large(768 * KIB).await.unwrap();
        let second = budget.large(KIB);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending() && budget.is_wanted());
        first.shrink(10);
        assert!(second.await.is_ok() && !budget.is_wanted());
        first.shrink(usize::MAX);
        assert!(budget.large(766 * KIB).await.is_ok());
    }
}
