//! The worker's counters, by the words of the design.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use telemetry::Metrics;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    /// Deliveries handled.
    pub deliveries: Counter,
    /// Reconciles by outcome.
    pub reconciles: Family<OutcomeLabel, Counter>,
    /// Objects written to the cluster.
    pub applied: Counter,
    /// Objects removed from the cluster.
    pub pruned: Counter,
    /// Drift that was found and healed.
    pub healed: Counter,
    /// Failed deliveries that a forge was asked to send again.
    pub redeliveries: Counter,
    /// Seconds from a delivery's arrival to its last object applied.
    pub push_to_applied: Histogram,
}

/// `outcome`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `success`, `failure`, `error`, `superseded`, `waiting`.
    pub outcome: String,
}

impl WorkerMetrics {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let new = Self {
            deliveries: Counter::default(),
            reconciles: Family::default(),
            applied: Counter::default(),
            pruned: Counter::default(),
            healed: Counter::default(),
            redeliveries: Counter::default(),
            push_to_applied: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
        };
        metrics.part("worker", |registry| {
            registry.register("deliveries", "Deliveries handled", new.deliveries.clone());
            registry.register("reconciles", "Reconciles by outcome", new.reconciles.clone());
            registry.register("objects_applied", "Objects written to the cluster", new.applied.clone());
            registry.register("objects_pruned", "Objects removed from the cluster", new.pruned.clone());
            registry.register("drift_healed", "Changes nobody asked for that were undone", new.healed.clone());
            registry.register(
                "redeliveries",
                "Failed deliveries that a forge was asked to send again",
                new.redeliveries.clone(),
            );
            registry.register(
                "push_to_applied_seconds",
                "From a delivery's arrival to its last object applied",
                new.push_to_applied.clone(),
            );
        });
        new
    }
}
