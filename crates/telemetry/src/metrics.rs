use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The metrics of one process. Cloning gives another handle to the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// No metrics yet; every name will begin with `<prefix>_`.
    pub fn new(prefix: &str) -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix(prefix))))
    }

    /// Lets a part of the program register its metrics, named `<prefix>_<part>_…`.
    pub fn part<T>(&self, part: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        register(registry.sub_registry_with_prefix(part))
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = text::encode(&mut page, &registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn names_carry_both_prefixes() {
        let metrics = Metrics::new("lockstep");
        let counter = metrics.part("receiver", |registry| {
            let counter = Counter::<u64>::default();
            registry.register("received", "Requests.", counter.clone());
            counter
        });
        counter.inc_by(3);
        let page = metrics.encode();
        assert!(page.contains("lockstep_receiver_received_total 3\n"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
