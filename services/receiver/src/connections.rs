//! Who is connected. A connection whose request is not complete is worth nothing yet, and can be had by anybody; when there
//! are too many, the one that has kept us waiting for the longest makes way. So a forge, which sends at once what it has to
//! say, gets in and is heard, however many hold connections open. Who has sent something that we have not read yet does
//! not keep us waiting; when there are only such, the kernel keeps the next ones until we are done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::task::AtomicWaker;

use crate::measures::Measures;

/// All connections.
pub(crate) struct Connections {
    most: usize,
    pub(crate) idle_limit: Duration,
    table: Mutex<Table>,
    /// There are more than there may be, and nobody keeps us waiting.
    crowded: AtomicBool,
    measures: Measures,
}

#[derive(Default)]
struct Table {
    open: usize,
    next: u64,
    /// Those whose request is not complete, by the order in which they began it.
    waiting: BTreeMap<u64, Arc<Peer>>,
    stopping: bool,
}

impl Peer {
    fn keeps_us_waiting(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }
}

impl Table {
    fn wait(&mut self, peer: &Arc<Peer>) {
        self.next += 1;
        peer.place.store(self.next, Ordering::Release);
        self.waiting.insert(self.next, peer.clone());
    }
}

/// What may be read from a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tap {
    /// A request's head, within its limits of time and size.
    Head = 0,
    /// Nothing: there is no memory for the body yet, or a request is being answered.
    Shut = 1,
    /// The body.
    Body = 2,
    /// A little more of a body that is not wanted, so that the client comes to reading the answer.
    Rest = 3,
}

/// One connection.
pub(crate) struct Peer {
    connections: Arc<Connections>,
    place: AtomicU64,
    tap: AtomicU8,
    /// Counts the changes of the tap.
    turns: AtomicU64,
    /// Bytes that were read since the last of them.
    read: AtomicUsize,
    /// KiB that are reserved for its body, of which not all is there yet.
    pub(crate) holds: AtomicU32,
    /// All that it sent has been read, and more is to come.
    silent: AtomicBool,
    complete: AtomicBool,
    hung_up: AtomicBool,
    ending: AtomicBool,
    waker: AtomicWaker,
}

impl Connections {
    pub(crate) fn new(most: usize, idle_limit: Duration, measures: Measures) -> Arc<Self> {
        Arc::new(Self { most, idle_limit, table: Mutex::default(), crowded: AtomicBool::new(false), measures })
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    pub(crate) fn admit(self: &Arc<Self>) -> Arc<Peer> {
        let mut table = self.table();
        let peer = Arc::new(Peer {
            connections: self.clone(),
            place: AtomicU64::new(0),
            tap: AtomicU8::new(Tap::Head as u8),
            turns: AtomicU64::new(0),
            read: AtomicUsize::new(0),
            holds: AtomicU32::new(0),
            silent: AtomicBool::new(false),
            complete: AtomicBool::new(true),
            hung_up: AtomicBool::new(false),
            ending: AtomicBool::new(table.stopping),
            waker: AtomicWaker::new(),
        });
        table.open += 1;
        table.wait(&peer);
        self.thin_out(&mut table);
        peer
    }

    /// Hangs up on those who keep us waiting, the oldest first, until there are no more connections than there may be.
    fn thin_out(&self, table: &mut Table) {
        while table.open > self.most {
            let Some(place) = table.waiting.iter().find(|(_, peer)| peer.keeps_us_waiting()).map(|(place, _)| *place)
            else {
                break;
            };
            self.hang_up(table, place, "crowded");
        }
        self.crowded.store(table.open > self.most, Ordering::Release);
        self.measures.connections.set(i64::try_from(table.open).unwrap_or(i64::MAX));
    }

    /// Hangs up on those whose bodies have been coming for the longest, until they give back so many KiB.
    pub(crate) fn make_room(&self, wanted: u32, but: &Peer) {
        let mut table = self.table();
        let mut found = Vec::new();
        let mut sum = 0;
        for (place, peer) in &table.waiting {
            let holds = peer.holds.load(Ordering::Acquire);
            if sum < wanted && holds > 0 && peer.keeps_us_waiting() && !std::ptr::eq(Arc::as_ptr(peer), but) {
                sum += holds;
                found.push(*place);
            }
        }
        for place in found {
            self.hang_up(&mut table, place, "memory");
        }
    }

    /// Lets idle connections end, and the others after their answer.
    pub(crate) fn stop(&self) {
        let mut table = self.table();
        table.stopping = true;
        for peer in table.waiting.values() {
            peer.ending.store(true, Ordering::Release);
            peer.waker.wake();
        }
    }

    fn hang_up(&self, table: &mut Table, place: u64, reason: &'static str) {
        let Some(peer) = table.waiting.remove(&place) else { return };
        table.open = table.open.saturating_sub(1);
        peer.hung_up.store(true, Ordering::Release);
        peer.waker.wake();
        self.measures.hung_up(reason);
    }
}

impl Peer {
    fn turn(&self, tap: Tap) {
        self.silent.store(false, Ordering::Release);
        self.read.store(0, Ordering::Release);
        self.tap.store(tap as u8, Ordering::Release);
        self.turns.fetch_add(1, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(crate) fn tap(&self) -> Tap {
        match self.tap.load(Ordering::Acquire) {
            0 => Tap::Head,
            1 => Tap::Shut,
            2 => Tap::Body,
            _ => Tap::Rest,
        }
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    pub(crate) fn bytes_read(&self) -> usize {
        self.read.load(Ordering::Acquire)
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.silent.store(false, Ordering::Release);
        self.read.fetch_add(bytes, Ordering::AcqRel);
    }

    /// It has sent no more than what was read.
    pub(crate) fn is_silent(&self) {
        self.silent.store(true, Ordering::Release);
        if self.connections.crowded.load(Ordering::Acquire) {
            self.connections.thin_out(&mut self.connections.table());
        }
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Acquire)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) fn idle_limit(&self) -> Duration {
        self.connections.idle_limit
    }

    /// Wakes this task when there is something else to do.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn count_hung_up(&self, reason: &'static str) {
        self.connections.measures.hung_up(reason);
    }

    /// A request's head is there; its body, if it has one, is not.
    pub(crate) fn begin(&self, has_body: bool) {
        self.complete.store(!has_body, Ordering::Release);
        self.turn(Tap::Shut);
    }

    /// There is memory for the body.
    pub(crate) fn read_body(&self) {
        self.turn(Tap::Body);
    }

    /// Its body has its memory elsewhere now.
    pub(crate) fn holds_no_more(&self) {
        self.holds.store(0, Ordering::Release);
    }

    /// All of the request is there, so that nobody else gets its place.
    pub(crate) fn is_complete(&self) {
        self.complete.store(true, Ordering::Release);
        self.turn(Tap::Shut);
        self.connections.table().waiting.remove(&self.place.load(Ordering::Acquire));
    }

    /// The answer is there, and the next request may come.
    pub(crate) fn answered(self: &Arc<Self>) {
        let mut table = self.connections.table();
        if !self.is_hung_up() {
            table.waiting.remove(&self.place.load(Ordering::Acquire));
            table.wait(self);
        }
        self.ending.store(table.stopping, Ordering::Release);
        drop(table);
        self.turn(if self.complete.load(Ordering::Acquire) { Tap::Head } else { Tap::Rest });
    }

    /// The connection is closed.
    pub(crate) fn leave(&self) {
        let mut table = self.connections.table();
        table.waiting.remove(&self.place.load(Ordering::Acquire));
        if !self.is_hung_up() {
            table.open = table.open.saturating_sub(1);
        }
        self.connections.thin_out(&mut table);
    }
}

#[cfg(test)]
mod tests {
    use telemetry::Metrics;

    use super::*;

    fn connections(most: usize) -> Arc<Connections> {
        Connections::new(most, Duration::from_secs(5), Measures::new(&Metrics::new("lockstep")))
    }

    #[test]
    fn who_makes_way() {
        let all = connections(3);
        let [first, second, third] = [(); 3].map(|()| {
            let peer = all.admit();
            peer.is_silent();
            peer
        });
        // Waiting begins anew with an answer, and does not with a body.
        first.begin(false);
        first.is_complete();
        first.answered();
        first.is_silent();
        second.begin(true);
        second.read_body();
        second.is_silent();
        let fourth = all.admit();
        assert!(second.is_hung_up() && !first.is_hung_up() && !third.is_hung_up());
        // Who has just sent something does not.
        third.add_read(1);
        let fifth = all.admit();
        assert!(first.is_hung_up() && !third.is_hung_up());
        let sixth = all.admit();
        assert!(![&third, &fourth, &fifth, &sixth].iter().any(|peer| peer.is_hung_up()));
        // There is one too many, and it is the first to be silent.
        fifth.is_silent();
        assert!(fifth.is_hung_up());
        fourth.is_silent();
        // Who is being answered stays, as do all when there is room.
        third.begin(true);
        third.is_complete();
        third.is_silent();
        sixth.leave();
        let seventh = all.admit();
        assert!(![&third, &fourth, &seventh].iter().any(|peer| peer.is_hung_up()));
        // Those who were hung up on do not count any more, before and after they are gone.
        for peer in [first, second, fifth] {
            peer.leave();
        }
        assert_eq!(all.table().open, 3);
    }

    #[test]
    fn who_gives_back_memory() {
        let all = connections(9);
        let [first, second, third, fourth, fifth] = [(); 5].map(|()| all.admit());
        for (peer, holds) in [(&first, 0), (&second, 10), (&third, 10), (&fourth, 10), (&fifth, 10)] {
            peer.begin(true);
            peer.read_body();
            peer.holds.store(holds, Ordering::Release);
            peer.is_silent();
        }
        third.add_read(1);
        fourth.is_complete();
        all.make_room(15, &fifth);
        let peers = [&first, &second, &third, &fourth, &fifth];
        assert_eq!(peers.map(|peer| peer.is_hung_up()), [false, true, false, false, false]);
    }

    #[test]
    fn what_may_be_read() {
        let all = connections(9);
        let peer = all.admit();
        type Step = (&'static str, fn(&Arc<Peer>), Tap);
        let steps: [Step; 8] = [
            ("at first", |_| (), Tap::Head),
            ("a head", |peer| peer.begin(true), Tap::Shut),
            ("with memory", |peer| peer.read_body(), Tap::Body),
            ("all of it", |peer| peer.is_complete(), Tap::Shut),
            ("the answer", |peer| peer.answered(), Tap::Head),
            ("the next", |peer| peer.begin(true), Tap::Shut),
            ("an answer before the body", |peer| peer.answered(), Tap::Rest),
            ("another", |peer| peer.begin(false), Tap::Shut),
        ];
        for (what, step, expected) in steps {
            step(&peer);
            assert_eq!(peer.tap(), expected, "{what}");
        }
        assert!(!peer.is_ending());
        all.stop();
        assert!(peer.is_ending() && all.admit().is_ending());
    }
}
