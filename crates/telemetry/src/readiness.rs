use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a probe may take before it counts as failed.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Probe = Arc<dyn Fn() -> Answer + Send + Sync>;

/// Whether a program can do its work, as a list of named conditions. Without any condition it is ready.
/// Cloning gives another handle to the same list.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Conditions>>);

#[derive(Default)]
struct Conditions {
    states: BTreeMap<&'static str, Result<(), String>>,
    probes: BTreeMap<&'static str, Probe>,
    notes: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// Records what is known about `name`: met, or why not.
    pub fn set(&self, name: &'static str, state: Result<(), String>) {
        self.lock().states.insert(name, state);
    }

    /// Adds a condition that is asked whenever somebody wants to know, for at most two seconds.
    pub fn probe<F, A>(&self, name: &'static str, probe: F)
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.lock().probes.insert(name, Arc::new(move || Box::pin(probe())));
    }

    /// Says something beside the conditions, which changes nothing about them.
    pub fn note(&self, name: &'static str, text: impl Into<String>) {
        self.lock().notes.insert(name, text.into());
    }

    /// What was said beside the conditions.
    pub fn notes(&self) -> Vec<(&'static str, String)> {
        self.lock().notes.iter().map(|(name, text)| (*name, text.clone())).collect()
    }

    /// The conditions that are not met, with the reason. Empty means ready.
    pub async fn unmet(&self) -> Vec<(&'static str, String)> {
        let (mut unmet, probes) = {
            let conditions = self.lock();
            let states = conditions.states.iter().filter_map(|(name, state)| Some((*name, state.clone().err()?)));
            (states.collect::<Vec<_>>(), conditions.probes.clone())
        };
        for (name, probe) in probes {
            match tokio::time::timeout(PROBE_LIMIT, probe()).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => unmet.push((name, reason)),
                Err(_) => unmet.push((name, format!("no answer within {} s", PROBE_LIMIT.as_secs()))),
            }
        }
        unmet
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn conditions() {
        let readiness = Readiness::default();
        assert!(readiness.unmet().await.is_empty());
        readiness.set("live", Err("listing".into()));
        readiness.probe("bus", || async { Err("gone".to_owned()) });
        readiness.probe("slow", std::future::pending);
        let unmet = readiness.unmet().await;
        assert_eq!(
            unmet,
            [("live", "listing".to_owned()), ("bus", "gone".into()), ("slow", "no answer within 2 s".into())]
        );
        readiness.set("live", Ok(()));
        readiness.probe("bus", || async { Ok(()) });
        readiness.probe("slow", || async { Ok(()) });
        assert!(readiness.unmet().await.is_empty());
    }
}
