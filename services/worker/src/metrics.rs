//! The worker's counters, by the words of the design.

use cluster::{Cluster, RequestLoad};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use render::Renderer;
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

/// Lets what the renderer knows of itself be seen: how programs are confined, how many run, how many wait.
pub fn register_renders(metrics: &Metrics, renderer: &Renderer) {
    let sandbox = Family::<PartLabel, Gauge>::default();
    for (part, holds) in renderer.sandbox().parts() {
        sandbox.get_or_create(&PartLabel { part: part.to_owned() }).set(i64::from(holds));
    }
    let renders = Renders(renderer.clone());
    metrics.part("render", |registry| {
        registry.register("sandbox", "What the sandbox of programs that render confines: 1 if it does", sandbox);
        registry.register_collector(Box::new(renders));
    });
}

/// `part`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    /// `files`, `sockets`, `signals`, ….
    part: String,
}

/// Asked when somebody looks.
struct Renders(Renderer);

impl std::fmt::Debug for Renders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renders")
    }
}

impl Collector for Renders {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let load = self.0.load();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("running", "Renders that have a place", count(load.running)),
            ("waiting", "Renders that wait for a place", count(load.waiting)),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let longest = ConstGauge::new(load.longest_wait.as_secs_f64());
        let help = "How long the render has waited for a place that waits longest";
        longest.encode(encoder.encode_descriptor("longest_wait_seconds", help, None, longest.metric_type())?)?;
        let started = ConstCounter::new(self.0.programs_started());
        started.encode(encoder.encode_descriptor("programs", "Programs started", None, started.metric_type())?)
    }
}

/// The requests to the API server, asked when somebody looks: in flight and waiting, by class.
pub fn register_requests(metrics: &Metrics, cluster: &Cluster) {
    let requests = Requests(cluster.clone());
    metrics.part("worker", |registry| registry.register_collector(Box::new(requests)));
}

#[derive(Debug)]
struct Requests(Cluster);

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let load = self.0.load();
        let mut family = |name: &str, help: &str, count: fn(&RequestLoad) -> usize| {
            let kind = ConstGauge::new(0i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for load in &load {
                let count = i64::try_from(count(load)).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&[("class", load.priority.name())])?)?;
            }
            Ok::<(), std::fmt::Error>(())
        };
        family("api_requests_in_flight", "Requests that the API server has not answered yet", |load| load.in_flight)?;
        family("api_requests_waiting", "Requests that wait for their turn", |load| load.waiting)
    }
}
