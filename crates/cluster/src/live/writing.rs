//! Our own writes come back as watch events, sometimes before their answer does. While a write is under way, changes of its
//! object are held back; what turns out to be the write itself is dropped.

use std::collections::HashMap;

use resources::{Object, ObjectKey};

use super::LiveStore;
use super::store::{LiveChange, newer};

/// The changes that are held back.
#[derive(Default)]
pub(crate) struct Held(HashMap<ObjectKey, Write>);

#[derive(Default)]
struct Write {
    /// How many are under way.
    open: u32,
    /// The newest version that one of them made.
    version: Option<String>,
    changes: Vec<LiveChange>,
}

impl Held {
    pub(crate) fn begin(&mut self, key: &ObjectKey) {
        self.0.entry(key.clone()).or_default().open += 1;
    }

    /// Keeps back what belongs to a write under way, and returns the rest.
    pub(crate) fn hold(&mut self, changes: Vec<LiveChange>) -> Vec<LiveChange> {
        if self.0.is_empty() {
            return changes;
        }
        let mut others = Vec::new();
        for change in changes {
            match self.0.get_mut(&change.key) {
                Some(write) => write.changes.push(change),
                None => others.push(change),
            }
        }
        others
    }

    /// A write has ended, with the version that it made. Returns what somebody else did in the meantime.
    pub(crate) fn end(&mut self, key: &ObjectKey, version: Option<&str>) -> Vec<LiveChange> {
        let Some(write) = self.0.get_mut(key) else { return Vec::new() };
        write.open -= 1;
        if let Some(version) = version
            && write.version.as_deref().is_none_or(|known| newer(version, known))
        {
            write.version = Some(version.to_owned());
        }
        if write.open > 0 {
            return Vec::new();
        }
        let Some(write) = self.0.remove(key) else { return Vec::new() };
        let news = |change: &LiveChange| match (&change.object, &write.version) {
            (Some(object), Some(ours)) => newer(object.resource_version(), ours),
            _ => true,
        };
        write.changes.into_iter().filter(news).collect()
    }
}

/// A write of ours that is under way; see [`LiveStore::writing`]. Dropped without [`Writing::record`], it was none.
#[must_use = "a write that is not kept open holds nothing back"]
pub struct Writing {
    store: LiveStore,
    key: ObjectKey,
    version: Option<String>,
}

impl LiveStore {
    /// Says that an object is about to be written by us: its changes are held back until the value is dropped, so that
    /// the write is not mistaken for somebody else's. [`LiveStore::get`] is always up to date.
    pub fn writing(&self, key: &ObjectKey) -> Writing {
        self.inner.shared.begin(key);
        Writing { store: self.clone(), key: key.clone(), version: None }
    }
}

impl Writing {
    /// Takes in the result, as [`LiveStore::record`] does.
    pub fn record(mut self, object: &Object) {
        self.version = Some(object.resource_version().to_owned());
        self.store.record(object);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.store.inner.shared.end(&self.key, self.version.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn change(name: &str, version: Option<u32>) -> LiveChange {
        let object = version.map(|v| Arc::new(Object(json!({"metadata": {"resourceVersion": v.to_string()}}))));
        LiveChange { key: key(name), owner: "app".into(), object }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", "ConfigMap", "n", name)
    }

    #[test]
    fn only_what_others_did_is_told() {
        type Versions = &'static [Option<u32>];
        // (changes while we write, the version we made, those that are told after it)
        let cases: [(Versions, Option<u32>, Versions); 6] = [
            (&[Some(5)], Some(5), &[]),
            (&[Some(4), Some(5)], Some(5), &[]),
            (&[Some(5), Some(6)], Some(5), &[Some(6)]),
            (&[None], Some(5), &[None]),
            (&[Some(5)], None, &[Some(5)]),
            (&[], Some(5), &[]),
        ];
        for (during, ours, told) in cases {
            let mut held = Held::default();
            held.begin(&key("a"));
            let others = held.hold(during.iter().map(|v| change("a", *v)).chain([change("b", Some(9))]).collect());
            assert_eq!(others.len(), 1, "b is not ours");
            let after = held.end(&key("a"), ours.map(|v| v.to_string()).as_deref());
            let after: Vec<_> =
                after.iter().map(|c| c.object.as_ref().map(|o| o.resource_version().parse().unwrap())).collect();
            assert_eq!(after, told, "{during:?} {ours:?}");
            assert_eq!(held.hold(vec![change("a", Some(7))]).len(), 1, "nothing is held any more");
        }
    }

    #[test]
    fn several_writes_of_one_object_end_together() {
        let mut held = Held::default();
        held.begin(&key("a"));
        held.begin(&key("a"));
        held.hold(vec![change("a", Some(5)), change("a", Some(6)), change("a", Some(7))]);
        assert!(held.end(&key("a"), Some("6")).is_empty());
        assert_eq!(held.end(&key("a"), Some("5")).len(), 1);
    }
}
