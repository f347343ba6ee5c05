//! Who comes before whom.

use std::collections::BTreeMap;

use resources::{Object, ObjectKey};

use super::Phase;
use crate::kinds;

/// Where something stands: phase, then wave.
pub(super) type Slot = (Phase, i32);

/// Something that has to be put in order.
pub(super) struct Item<T> {
    pub(super) slot: Slot,
    pub(super) key: ObjectKey,
    /// Group and kind that a CustomResourceDefinition brings.
    pub(super) defines: Option<(String, String)>,
    /// It moves to the end of the phase Sync.
    pub(super) last: bool,
    pub(super) what: T,
}

impl<T> Item<T> {
    pub(super) fn new(slot: Slot, key: ObjectKey, object: &Object, what: T) -> Self {
        Self {
            slot,
            key,
            defines: object.defines().map(|(group, kind)| (group.to_owned(), kind.to_owned())),
            last: false,
            what,
        }
    }

    /// The order of creation.
    fn rank(&self) -> (Slot, usize, &str, &str, &str, &str) {
        let ObjectKey { group, kind, namespace, name } = &self.key;
        (self.slot, kinds::order(group, kind), name, kind, group, namespace)
    }
}

/// Puts items in the order of creation. Namespaces and definitions move up to the first that needs them.
pub(super) fn sort<T>(items: &mut [Item<T>]) {
    let mut first_in: BTreeMap<String, Slot> = BTreeMap::new();
    let mut first_of: BTreeMap<(String, String), Slot> = BTreeMap::new();
    let (mut last_in, mut last_of): (BTreeMap<String, bool>, BTreeMap<(String, String), bool>) = Default::default();
    for item in items.iter() {
        if !item.key.namespace.is_empty() {
            lower(&mut first_in, item.key.namespace.clone(), item.slot);
            *last_in.entry(item.key.namespace.clone()).or_default() |= item.last;
        }
        let kind = (item.key.group.clone(), item.key.kind.clone());
        *last_of.entry(kind.clone()).or_default() |= item.last;
        lower(&mut first_of, kind, item.slot);
    }
    for item in items.iter_mut() {
        let (needed, last) = match (&item.defines, item.key.group.as_str(), item.key.kind.as_str()) {
            (Some(kind), ..) => (first_of.get(kind), last_of.get(kind)),
            (None, "", "Namespace") => (first_in.get(&item.key.name), last_in.get(&item.key.name)),
            _ => (None, None),
        };
        if let Some(needed) = needed {
            item.slot = item.slot.min(*needed);
        }
        item.last |= last.is_some_and(|last| *last);
    }
    items.sort_by(|a, b| a.rank().cmp(&b.rank()));
}

fn lower<K: Ord>(map: &mut BTreeMap<K, Slot>, key: K, slot: Slot) {
    let first = map.entry(key).or_insert(slot);
    *first = slot.min(*first);
}

/// The waves in which sorted items are deleted: the last wave takes the place of the first, and so on. Those that are to be
/// deleted last come after everything that the phase does.
pub(super) fn deletion_waves<T>(items: &[Item<T>], last_applied: Option<i32>) -> Vec<i32> {
    let mut waves: Vec<i32> = items.iter().filter(|item| !item.last).map(|item| item.slot.1).collect();
    waves.sort_unstable();
    waves.dedup();
    let end = waves.last().copied().max(last_applied).map_or(0, |wave| wave.saturating_add(1));
    let mirrored = |wave: i32| {
        let at = waves.partition_point(|other| *other < wave);
        waves.get(waves.len().wrapping_sub(at + 1)).copied().unwrap_or(wave)
    };
    items.iter().map(|item| if item.last { end } else { mirrored(item.slot.1) }).collect()
}
