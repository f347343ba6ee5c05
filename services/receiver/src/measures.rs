use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge::ForgeKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use telemetry::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByForge {
    forge: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEvent {
    forge: &'static str,
    event: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySize {
    size: &'static str,
}

/// What the receiver counts.
#[derive(Clone)]
pub(crate) struct Measures {
    received: Counter,
    accepted: Family<ByEvent, Counter>,
    rejected: Family<ByReason, Counter>,
    ignored: Family<ByEvent, Counter>,
    malformed: Family<ByForge, Counter>,
    pings: Family<ByForge, Counter>,
    publish: Histogram,
    pub(crate) connections: Gauge,
    hung_up: Family<ByReason, Counter>,
    reserved: Family<BySize, Gauge>,
    ignored_events: Arc<Mutex<HashSet<String>>>,
}

/// Names of ignored events that are counted apart. GitHub has about 70.
const MOST_EVENTS: usize = 150;

impl Measures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        // 0.25 ms to 8 s.
        let publish = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let own = Self {
            received: Counter::default(),
            accepted: Family::default(),
            rejected: Family::default(),
            ignored: Family::default(),
            malformed: Family::default(),
            pings: Family::default(),
            publish,
            connections: Gauge::default(),
            hung_up: Family::default(),
            reserved: Family::default(),
            ignored_events: Arc::default(),
        };
        metrics.part("receiver", |registry| {
            registry.register("received", "Requests at a webhook address.", own.received.clone());
            registry.register("accepted", "Deliveries that are on the broker's disk.", own.accepted.clone());
            registry.register("rejected", "Requests that were not accepted.", own.rejected.clone());
            registry.register("ignored", "Authentic webhooks that nobody needs.", own.ignored.clone());
            registry.register("malformed", "Authentic webhooks kept as dead letters.", own.malformed.clone());
            registry.register("pings", "Pings answered.", own.pings.clone());
            registry.register(
                "publish_seconds",
                "From publishing a delivery to the broker's confirmation.",
                own.publish.clone(),
            );
            registry.register("connections", "Connections that are open.", own.connections.clone());
            registry.register(
                "hung_up",
                "Connections that were closed before a request was complete.",
                own.hung_up.clone(),
            );
            registry.register("reserved_bytes", "Memory that is reserved for bodies.", own.reserved.clone());
        });
        own
    }

    pub(crate) fn received(&self) {
        self.received.inc();
    }

    pub(crate) fn accepted(&self, kind: ForgeKind, event: &'static str) {
        self.accepted.get_or_create(&ByEvent { forge: kind.name(), event: event.into() }).inc();
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn hung_up(&self, reason: &'static str) {
        self.hung_up.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn reserved(&self, size: &'static str) -> Gauge {
        self.reserved.get_or_create(&BySize { size }).clone()
    }

    pub(crate) fn ignored(&self, kind: ForgeKind, event: &str) {
        let event = self.bounded(event).to_owned();
        self.ignored.get_or_create(&ByEvent { forge: kind.name(), event }).inc();
    }

    pub(crate) fn malformed(&self, kind: ForgeKind) {
        self.malformed.get_or_create(&ByForge { forge: kind.name() }).inc();
    }

    pub(crate) fn ping(&self, kind: ForgeKind) {
        self.pings.get_or_create(&ByForge { forge: kind.name() }).inc();
    }

    pub(crate) fn published(&self, took: Duration) {
        self.publish.observe(took.as_secs_f64());
    }

    /// A sender chooses the event's name; the number of series must not be its choice too.
    fn bounded<'a>(&self, event: &'a str) -> &'a str {
        let mut known = self.ignored_events.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(event) {
            return event;
        }
        if known.len() >= MOST_EVENTS || event.len() > 40 {
            return "other";
        }
        known.insert(event.to_owned());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::new("lockstep");
        let measures = Measures::new(&metrics);
        for n in 0..MOST_EVENTS + 50 {
            measures.ignored(ForgeKind::Github, &format!("event{n}"));
        }
        measures.ignored(ForgeKind::Github, "event1");
        let page = metrics.encode();
        assert!(page.contains(r#"lockstep_receiver_ignored_total{forge="github",event="event1"} 2"#), "{page}");
        assert!(page.contains(r#"lockstep_receiver_ignored_total{forge="github",event="other"} 50"#), "{page}");
    }
}
