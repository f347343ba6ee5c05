use crate::RetryClass;

/// The names of exchanges and queues.
pub mod names {
    /// Topic exchange for webhooks; key `<forge>.<event>.<owner>.<repository>`.
    pub const DELIVERIES: &str = "lockstep.deliveries";
    /// Exchange and queue for deliveries that came before any worker's queue was there.
    pub const UNROUTED: &str = "lockstep.unrouted";
    /// Direct exchange for what people ask of a worker; key = cluster.
    pub const COMMANDS: &str = "lockstep.commands";
    /// Topic exchange for what workers did; key `<cluster>.<kind>`.
    pub const REPORTS: &str = "lockstep.reports";
    /// Queue with the last reports, so that a report has a place to go when no console runs.
    pub const REPORTS_RECENT: &str = "lockstep.reports.recent";
    /// Queue of the console.
    pub const CONSOLE: &str = "lockstep.console";
    /// Exchange and queue for what could not be handled.
    pub const DEAD: &str = "lockstep.dead";
    /// The exchange whose routing keys are the names of queues. Only for people's commands: whoever may use it reaches every
    /// queue. A program publishes to the exchange that has the queue's own name.
    pub const DEFAULT: &str = "";

    /// The queue of a cluster's worker.
    pub fn worker_queue(cluster: &str) -> String {
        format!("lockstep.worker.{cluster}")
    }

    /// The outbox of a cluster's checks.
    pub fn feedback_queue(cluster: &str) -> String {
        format!("lockstep.feedback.{cluster}")
    }
}

/// How an exchange finds queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// By the words of the key, with `*` for one and `#` for any number.
    Topic,
    /// By the key as it is.
    Direct,
    /// All that are bound.
    Fanout,
}

/// A place to publish to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it finds queues.
    pub kind: ExchangeKind,
    /// The exchange that gets what no queue here takes.
    pub alternate: Option<String>,
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Refuses the publish. For everything that must not be lost.
    Reject,
    /// Forgets its oldest message.
    DropHead,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// One consumer works, the others stand by.
    pub single_active: bool,
    /// How many messages it keeps.
    pub max_length: u32,
    /// What happens to one more.
    pub overflow: Overflow,
    /// How often a message is delivered again before it is taken for one that kills its consumers. Counts deliveries that
    /// were not settled, not [`crate::Received::retry`].
    pub delivery_limit: u32,
    /// Whether what exceeds `delivery_limit` goes to the dead letters.
    pub dead_letters: bool,
    /// Whether [`crate::Received::retry`] works.
    pub retry: bool,
}

/// A queue's wish for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// From which exchange.
    pub exchange: String,
    /// To which queue.
    pub queue: String,
    /// With which key, or pattern of keys for a topic exchange.
    pub key: String,
}

/// Exchanges, queues and bindings that a program relies on. Declaring is repeatable, and every program declares what it
/// uses, so the order in which they start does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues.
    pub queues: Vec<Queue>,
    /// The bindings.
    pub bindings: Vec<Binding>,
}

/// A million dead letters of ordinary size are a few gigabytes; more than this nobody looks through.
const MAX_DEAD: u32 = 1_000_000;
/// About a day of a busy organisation's webhooks for a worker that is gone.
const MAX_WAITING: u32 = 100_000;
const MAX_RECENT: u32 = 1_000;
/// A worker that ends this often with the same message at hand is ended by the message. Everything that was handed to it counts as
/// tried when it is killed, not only what it was working on, so there have to be far more tries than a bad day has kills.
const DELIVERY_LIMIT: u32 = 500;
/// Dead letters are looked at without being taken, which the broker counts as deliveries. RabbitMQ 3 knows no "never".
const NO_DELIVERY_LIMIT: u32 = 1_000_000_000;

impl Queue {
    /// A queue for work: one active consumer, refuses when full, retry, delivery limit, dead letters. With it comes a direct
    /// exchange of the same name, so that the right to publish to it can be given without the right to publish to others.
    pub fn work(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            single_active: true,
            max_length: MAX_WAITING,
            overflow: Overflow::Reject,
            delivery_limit: DELIVERY_LIMIT,
            dead_letters: true,
            retry: true,
        }
    }

    /// A queue that only keeps.
    pub fn keep(name: impl Into<String>, max_length: u32, overflow: Overflow) -> Self {
        Self {
            name: name.into(),
            single_active: false,
            max_length,
            overflow,
            delivery_limit: NO_DELIVERY_LIMIT,
            dead_letters: false,
            retry: false,
        }
    }

    /// The queues in which messages of this one wait for their next attempt.
    pub(crate) fn retry_queues(&self) -> impl Iterator<Item = String> {
        RetryClass::ALL.into_iter().filter(|_| self.retry).map(|class| class.queue(&self.name))
    }
}

impl Topology {
    /// What every program shares: all exchanges, the dead letters, the unrouted deliveries, the recent reports.
    pub fn shared() -> Self {
        let exchange = |name: &str, kind, alternate: Option<&str>| Exchange {
            name: name.to_owned(),
            kind,
            alternate: alternate.map(str::to_owned),
        };
        Self {
            exchanges: vec![
                exchange(names::DEAD, ExchangeKind::Fanout, None),
                exchange(names::UNROUTED, ExchangeKind::Fanout, None),
                exchange(names::DELIVERIES, ExchangeKind::Topic, Some(names::UNROUTED)),
                exchange(names::COMMANDS, ExchangeKind::Direct, None),
                exchange(names::REPORTS, ExchangeKind::Topic, None),
            ],
            queues: vec![
                Queue::keep(names::DEAD, MAX_DEAD, Overflow::Reject),
                Queue::keep(names::UNROUTED, MAX_WAITING, Overflow::Reject),
                Queue::keep(names::REPORTS_RECENT, MAX_RECENT, Overflow::DropHead),
            ],
            bindings: Vec::new(),
        }
        .bind(names::DEAD, names::DEAD, "")
        .bind(names::UNROUTED, names::UNROUTED, "")
        .bind(names::REPORTS, names::REPORTS_RECENT, "#")
    }

    /// What a receiver needs.
    pub fn for_receiver() -> Self {
        Self::shared()
    }

    /// What the worker of a cluster needs.
    pub fn for_cluster(cluster: &str) -> Self {
        let worker = names::worker_queue(cluster);
        let mut topology = Self::shared();
        topology.queues.push(Queue::work(&worker));
        topology.queues.push(Queue::work(names::feedback_queue(cluster)));
        topology.bind(names::DELIVERIES, &worker, "#").bind(names::COMMANDS, &worker, cluster)
    }

    /// What the console needs. Its queue forgets the oldest reports rather than stop the workers.
    pub fn for_console() -> Self {
        let mut topology = Self::shared();
        topology
            .queues
            .push(Queue { single_active: true, ..Queue::keep(names::CONSOLE, MAX_WAITING, Overflow::DropHead) });
        topology.bind(names::REPORTS, names::CONSOLE, "#")
    }

    /// Adds a binding.
    pub fn bind(mut self, exchange: &str, queue: &str, key: &str) -> Self {
        self.bindings.push(Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() });
        self
    }

    /// Adds what another topology has and this one has not. Where both have a name, the other's settings hold.
    pub fn merge(&mut self, other: &Self) {
        self.exchanges.retain(|one| !other.exchanges.iter().any(|new| new.name == one.name));
        self.queues.retain(|one| !other.queues.iter().any(|new| new.name == one.name));
        self.exchanges.extend(other.exchanges.iter().cloned());
        self.queues.extend(other.queues.iter().cloned());
        let new: Vec<_> = other.bindings.iter().filter(|one| !self.bindings.contains(one)).cloned().collect();
        self.bindings.extend(new);
    }

    /// Whether whatever is published to the exchange finds a queue, as far as this topology tells.
    pub(crate) fn always_routes(&self, exchange: &Exchange) -> bool {
        let takes_all = |exchange: &Exchange| {
            self.bindings.iter().filter(|binding| binding.exchange == exchange.name).any(|binding| {
                match exchange.kind {
                    ExchangeKind::Fanout => true,
                    ExchangeKind::Topic => binding.key == "#",
                    ExchangeKind::Direct => false,
                }
            })
        };
        let alternate = self.exchanges.iter().find(|other| Some(&other.name) == exchange.alternate.as_ref());
        takes_all(exchange) || alternate.is_some_and(takes_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(topology: &Topology) -> Vec<&str> {
        topology.queues.iter().map(|queue| queue.name.as_str()).collect()
    }

    #[test]
    fn each_program_gets_its_queues() {
        let shared = ["lockstep.dead", "lockstep.unrouted", "lockstep.reports.recent"];
        assert_eq!(names_of(&Topology::for_receiver()), shared);
        let prod = Topology::for_cluster("prod");
        assert_eq!(names_of(&prod)[3..], ["lockstep.worker.prod", "lockstep.feedback.prod"]);
        let worker = &prod.queues[3];
        assert!(worker.single_active && worker.dead_letters && worker.retry);
        assert_eq!((worker.overflow, worker.delivery_limit), (Overflow::Reject, DELIVERY_LIMIT));
        let retry: Vec<_> = worker.retry_queues().collect();
        assert_eq!(retry[0], "lockstep.worker.prod.retry.short");
        assert_eq!(names_of(&Topology::for_console())[3..], ["lockstep.console"]);
    }

    #[test]
    fn what_always_finds_a_queue() {
        let topology = Topology::for_cluster("prod");
        let routed: Vec<_> =
            topology.exchanges.iter().filter(|e| topology.always_routes(e)).map(|e| e.name.as_str()).collect();
        assert_eq!(routed, [names::DEAD, names::UNROUTED, names::DELIVERIES, names::REPORTS]);
    }

    #[test]
    fn merging_keeps_one_of_each() {
        let mut both = Topology::for_cluster("prod");
        both.merge(&Topology::for_cluster("nonprod"));
        both.merge(&Topology::for_cluster("nonprod"));
        assert_eq!(both.exchanges.len(), 5);
        assert_eq!(both.queues.len(), 3 + 2 + 2);
        assert_eq!(both.bindings.len(), 3 + 2 + 2);
    }
}
