//! What is known of the live objects, without any I/O: which event is news and which is old.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use resources::{Object, ObjectKey};
use serde_json::Value;

use crate::migrate::{is_taken, others};

/// Something about an object changed that we did not write ourselves.
#[derive(Clone, Debug)]
pub struct LiveChange {
    /// The object.
    pub key: ObjectKey,
    /// Whose it is, or was.
    pub owner: Arc<str>,
    /// Its state now; none if it is gone or belongs to somebody else now.
    pub object: Option<Arc<Object>>,
}

struct Entry {
    object: Arc<Object>,
    owner: Arc<str>,
    managers: Managers,
}

/// The managers other than our own apply that own fields of an object; nobody, as a rule.
type Managers = Box<[Box<str>]>;

/// An object as it is kept.
pub(crate) struct Kept {
    object: Object,
    managers: Managers,
}

impl Kept {
    /// Drops what only costs memory: managed fields of managers that have written nothing since we did. Their names are kept,
    /// since migration asks for them. Of a Secret's values nothing but digests stays.
    pub(crate) fn new(mut object: Object, keep: &[String], ours: &str) -> Self {
        let managers = others(&object, ours).map(Box::from).collect();
        lean(&mut object, keep);
        object.digest_secret();
        Self { object, managers }
    }
}

/// Above so many it is no longer worth to name them.
const MOST_TOUCHED: usize = 256;

/// What an owner has.
#[derive(Default)]
struct Owned {
    keys: BTreeSet<ObjectKey>,
    touched: Touched,
}

/// Objects that came, changed or went, by whosever hand, since somebody last asked.
enum Touched {
    These(HashSet<ObjectKey>),
    TooMany,
}

impl Default for Touched {
    fn default() -> Self {
        Self::These(HashSet::new())
    }
}

impl Touched {
    fn add(&mut self, key: &ObjectKey) {
        match self {
            Self::These(keys) if keys.len() < MOST_TOUCHED => {
                keys.insert(key.clone());
            }
            Self::These(_) => *self = Self::TooMany,
            Self::TooMany => {}
        }
    }
}

/// All owned objects of the watched kinds.
#[derive(Default)]
pub(crate) struct Store {
    objects: HashMap<ObjectKey, Entry>,
    owners: HashMap<Arc<str>, Owned>,
    /// By group and kind: the newest version up to which the watch has told everything.
    seen: HashMap<(String, String), String>,
}

impl Store {
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.get(key).map(|entry| entry.object.clone())
    }

    /// Whether the object has fields of one of these managers, which are not ours yet.
    pub(crate) fn needs_migration(&self, key: &ObjectKey, from: &[String], ours: &str) -> bool {
        let Some(entry) = self.objects.get(key) else { return false };
        entry.managers.iter().any(|manager| is_taken(manager, from, ours))
    }

    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Arc<Object>> {
        let keys = self.owners.get(owner).into_iter().flat_map(|owned| &owned.keys);
        keys.filter_map(|key| self.get(key)).collect()
    }

    pub(crate) fn count_owned_by(&self, owner: &str) -> usize {
        self.owners.get(owner).map_or(0, |owned| owned.keys.len())
    }

    /// See [`super::LiveStore::take_touched`].
    pub(crate) fn take_touched(&mut self, owner: &str) -> Option<HashSet<ObjectKey>> {
        let Some(owned) = self.owners.get_mut(owner) else { return Some(HashSet::new()) };
        match std::mem::take(&mut owned.touched) {
            Touched::These(keys) => Some(keys),
            Touched::TooMany => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// A complete list of a kind as of `version`: what is missing from it is gone, unless it is newer than the list.
    pub(crate) fn reset(
        &mut self,
        kind: &(String, String),
        version: &str,
        objects: Vec<(Kept, String)>,
    ) -> Vec<LiveChange> {
        let mut changes = Vec::new();
        let listed: HashSet<ObjectKey> = objects.iter().map(|(kept, _)| kept.object.key()).collect();
        let gone: Vec<ObjectKey> = self
            .objects
            .iter()
            .filter(|(key, entry)| {
                key.group == kind.0
                    && key.kind == kind.1
                    && !listed.contains(*key)
                    && !newer(entry.object.resource_version(), version)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            changes.extend(self.remove(&key));
        }
        for (kept, owner) in objects {
            changes.extend(self.put(kept, &owner));
        }
        self.seen.insert(kind.clone(), version.to_owned());
        changes
    }

    /// The watch says that an object is so now.
    pub(crate) fn changed(&mut self, kept: Kept, owner: &str) -> Vec<LiveChange> {
        self.saw(&kept.object);
        self.put(kept, owner)
    }

    /// The watch says that an object is nobody's, or is gone.
    pub(crate) fn lost(&mut self, outline: &Object) -> Vec<LiveChange> {
        self.saw(outline);
        let key = outline.key();
        match self.objects.get(&key) {
            // Our own later write of a new object under the same name.
            Some(entry) if newer(entry.object.resource_version(), outline.resource_version()) => Vec::new(),
            _ => self.remove(&key).into_iter().collect(),
        }
    }

    /// The watch has told everything up to `version`.
    pub(crate) fn bookmark(&mut self, kind: &(String, String), version: &str) {
        self.seen.insert(kind.clone(), version.to_owned());
    }

    /// We wrote this. The store is never behind what we did; and a write that the watch has already gone past, with a
    /// deletion after it perhaps, does not bring an old state back.
    pub(crate) fn record(&mut self, kept: Kept, owner: Option<&str>) -> Vec<LiveChange> {
        let key = kept.object.key();
        let kind = (key.group.clone(), key.kind.clone());
        let Some(seen) = self.seen.get(&kind) else { return Vec::new() };
        if !newer(kept.object.resource_version(), seen) {
            return Vec::new();
        }
        let Some(owner) = owner else { return self.remove(&key).into_iter().collect() };
        let before = self.objects.get(&key).map(|entry| entry.owner.clone());
        let changes = self.put(kept, owner);
        // Our own write is no news, but a former owner has lost something.
        changes.into_iter().filter(|change| before.as_ref() == Some(&change.owner) && change.object.is_none()).collect()
    }

    /// Forgets a kind.
    pub(crate) fn forget(&mut self, kind: &(String, String)) -> Vec<LiveChange> {
        let keys: Vec<_> =
            self.objects.keys().filter(|key| key.group == kind.0 && key.kind == kind.1).cloned().collect();
        self.seen.remove(kind);
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    fn saw(&mut self, object: &Object) {
        let kind = (object.group().to_owned(), object.kind().to_owned());
        self.seen.insert(kind, object.resource_version().to_owned());
    }

    fn put(&mut self, kept: Kept, owner: &str) -> Vec<LiveChange> {
        let Kept { object, managers } = kept;
        let key = object.key();
        let mut changes = Vec::new();
        let owner: Arc<str> = match self.owners.get_key_value(owner) {
            Some((known, _)) => known.clone(),
            None => owner.into(),
        };
        if let Some(entry) = self.objects.get(&key) {
            if entry.object.resource_version() == object.resource_version()
                || newer(entry.object.resource_version(), object.resource_version())
            {
                return changes;
            }
            if entry.owner != owner {
                changes.extend(self.remove(&key));
            }
        }
        let object = Arc::new(object);
        let owned = self.owners.entry(owner.clone()).or_default();
        owned.touched.add(&key);
        owned.keys.insert(key.clone());
        self.objects.insert(key.clone(), Entry { object: object.clone(), owner: owner.clone(), managers });
        changes.push(LiveChange { key, owner, object: Some(object) });
        changes
    }

    /// What is kept of a kind.
    pub(crate) fn keys_of(&self, kind: &(String, String)) -> Vec<ObjectKey> {
        self.objects.keys().filter(|key| key.group == kind.0 && key.kind == kind.1).cloned().collect()
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<LiveChange> {
        let entry = self.objects.remove(key)?;
        if let Some(owned) = self.owners.get_mut(&entry.owner) {
            owned.touched.add(key);
            owned.keys.remove(key);
            if owned.keys.is_empty() {
                self.owners.remove(&entry.owner);
            }
        }
        Some(LiveChange { key: key.clone(), owner: entry.owner, object: None })
    }
}

/// Whether a resource version is known to be later than another one of the same kind. Those of the API server itself are
/// numbers that can be compared; of those that are not (some aggregated APIs) nothing is known, and the watch decides.
pub(crate) fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u128>(), b.parse::<u128>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => false,
    }
}

/// Keeps the managed fields of these managers, and of those others that have written since they last did: with them it can be
/// told who changed what.
fn lean(object: &mut Object, managers: &[String]) {
    let Some(metadata) = object.0.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(fields) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        let is_kept = |entry: &Value| {
            let manager = entry.get("manager").and_then(Value::as_str);
            manager.is_some_and(|manager| managers.iter().any(|kept| kept == manager))
        };
        let last = fields.iter().filter(|entry| is_kept(entry)).filter_map(written_at).max();
        let is_later = |entry: &Value| {
            let status = entry.get("subresource").and_then(Value::as_str) == Some("status");
            // They are told to the second.
            !status && last.is_some() && written_at(entry) >= last
        };
        fields.retain(|entry| is_kept(entry) || is_later(entry));
        fields.shrink_to_fit();
        if fields.is_empty() {
            metadata.shift_remove("managedFields");
        }
    }
}

fn written_at(entry: &Value) -> Option<Timestamp> {
    entry.get("time")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, version: u64) -> Object {
        Object(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "n", "resourceVersion": version.to_string()}}))
    }

    fn kept(name: &str, version: u64) -> Kept {
        Kept::new(object(name, version), &[], "lockstep")
    }

    fn kind() -> (String, String) {
        (String::new(), "ConfigMap".to_owned())
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", "ConfigMap", "n", name)
    }

    fn listed(objects: &[(&str, u64, &str)], version: &str) -> Store {
        let mut store = Store::default();
        let objects = objects.iter().map(|(name, v, owner)| (kept(name, *v), (*owner).to_owned())).collect();
        store.reset(&kind(), version, objects);
        store
    }

    /// `a@app=7 b@app gone`, for short tables.
    fn told(changes: &[LiveChange]) -> String {
        let one = |change: &LiveChange| {
            let state = change.object.as_ref().map_or(" gone".into(), |o| format!("={}", o.resource_version()));
            format!("{}@{}{state}", change.key.name, change.owner)
        };
        changes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn version(store: &Store, name: &str) -> String {
        store.get(&key(name)).map_or("-".into(), |object| object.resource_version().to_owned())
    }

    #[test]
    fn events_are_news_once() {
        let mut store = listed(&[("a", 5, "app")], "5");
        assert_eq!(told(&store.changed(kept("a", 6), "app")), "a@app=6");
        assert_eq!(told(&store.changed(kept("a", 6), "app")), "");
        assert_eq!(told(&store.changed(kept("a", 7), "other")), "a@app gone a@other=7");
        assert_eq!(told(&store.lost(&object("a", 8))), "a@other gone");
        assert_eq!((store.len(), store.owned_by("other").len()), (0, 0));
    }

    #[test]
    fn our_own_writes_are_known_at_once_and_are_no_news() {
        let mut store = listed(&[("a", 5, "app")], "5");
        assert_eq!(told(&store.record(kept("a", 9), Some("app"))), "");
        assert_eq!(version(&store, "a"), "9");
        // Late events from before our write change nothing, its own event is no news, a later one is.
        assert_eq!(told(&store.changed(kept("a", 7), "app")), "");
        assert_eq!(version(&store, "a"), "9");
        assert_eq!(told(&store.changed(kept("a", 9), "app")), "");
        assert_eq!(told(&store.changed(kept("a", 10), "app")), "a@app=10");
    }

    #[test]
    fn a_late_record_does_not_bring_a_deleted_object_back() {
        let mut store = listed(&[("a", 5, "app")], "5");
        store.changed(kept("a", 6), "app");
        store.lost(&object("a", 7));
        store.record(kept("a", 6), Some("app"));
        assert_eq!(version(&store, "a"), "-");
        // A new object of the same name survives the late deletion of the old one.
        store.record(kept("a", 9), Some("app"));
        assert_eq!(told(&store.lost(&object("a", 8))), "");
        assert_eq!(version(&store, "a"), "9");
    }

    #[test]
    fn a_new_list_tells_the_difference() {
        let mut store = listed(&[("same", 1, "app"), ("changed", 2, "app"), ("gone", 3, "app")], "3");
        store.record(kept("ours", 12), Some("app"));
        let list = vec![
            (kept("same", 1), "app".to_owned()),
            (kept("changed", 8), "app".to_owned()),
            (kept("new", 9), "app".to_owned()),
        ];
        let mut changes = store.reset(&kind(), "10", list);
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(told(&changes), "changed@app=8 gone@app gone new@app=9");
        // Written after the list was made: still there.
        assert_eq!(version(&store, "ours"), "12");
        assert_eq!(store.owned_by("app").len(), 4);
    }

    #[test]
    fn what_nobody_owns_is_not_kept() {
        let mut store = listed(&[("a", 5, "app")], "5");
        store.record(kept("b", 6), None);
        assert_eq!(version(&store, "b"), "-");
        assert_eq!(told(&store.record(kept("a", 7), None)), "a@app gone");
    }

    #[test]
    fn other_managers_fields_are_dropped() {
        let mut object = Object(json!({"metadata": {"managedFields": [
            {"manager": "lockstep", "fieldsV1": {}}, {"manager": "kube-controller-manager"}]}, "status": {"x": 1}}));
        lean(&mut object, &["lockstep".to_owned()]);
        assert_eq!(object.at("/metadata/managedFields/0/manager"), Some(&"lockstep".into()));
        assert_eq!(object.at("/metadata/managedFields/1"), None);
        lean(&mut object, &[]);
        assert_eq!(object.at("/metadata/managedFields"), None);
        assert_eq!(object.at("/status/x"), Some(&1.into()));
    }

    #[test]
    fn the_fields_of_those_who_wrote_after_us_are_kept() {
        let entry = |manager: &str, second: u32, subresource: &str| {
            json!({"manager": manager, "subresource": subresource,
            "time": format!("2026-01-05T12:00:{second:02}Z"), "fieldsV1": {}})
        };
        let cases = [
            (vec![entry("lockstep", 5, ""), entry("kubectl", 4, "")], "lockstep"),
            (vec![entry("lockstep", 5, ""), entry("kubectl", 5, "")], "lockstep kubectl"),
            (vec![entry("kubectl", 7, ""), entry("lockstep", 5, ""), entry("hpa", 6, "scale")], "kubectl lockstep hpa"),
            (vec![entry("lockstep", 5, ""), entry("kube-controller-manager", 9, "status")], "lockstep"),
            (vec![entry("kubectl", 7, "")], ""),
        ];
        for (entries, kept) in cases {
            let mut object = Object(json!({"metadata": {"managedFields": entries}}));
            lean(&mut object, &["lockstep".to_owned()]);
            let left = object.at("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
            let left: Vec<&str> = left.iter().filter_map(|entry| entry["manager"].as_str()).collect();
            assert_eq!(left.join(" "), kept, "{entries:?}");
        }
    }

    #[test]
    fn what_was_touched_is_told_once() {
        let touched = |store: &mut Store, owner: &str| {
            store.take_touched(owner).map(|keys| {
                let mut names: Vec<String> = keys.into_iter().map(|key| key.name).collect();
                names.sort();
                names.join(" ")
            })
        };
        let mut store = listed(&[("a", 5, "app"), ("b", 5, "app"), ("c", 5, "other")], "5");
        assert_eq!(touched(&mut store, "app"), Some("a b".into()));
        assert_eq!(touched(&mut store, "app"), Some(String::new()));
        store.changed(kept("a", 6), "app");
        store.record(kept("a", 7), Some("app"));
        assert_eq!(touched(&mut store, "app"), Some("a".into()), "our own writes, too");
        store.changed(kept("a", 8), "other");
        store.lost(&object("c", 9));
        assert_eq!((touched(&mut store, "app"), touched(&mut store, "other")), (Some("a".into()), Some("a c".into())));
        assert_eq!(touched(&mut store, "nobody"), Some(String::new()));
        let many = (0..=MOST_TOUCHED).map(|number| (kept(&number.to_string(), 20), "app".to_owned())).collect();
        store.reset(&kind(), "20", many);
        assert_eq!(touched(&mut store, "app"), None, "too many to name");
        assert_eq!(touched(&mut store, "app"), Some(String::new()));
    }

    #[test]
    fn who_else_owns_fields_is_remembered_by_name() {
        let entry = |manager: &str, operation: &str, field: &str| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": {field: {}}});
        let with = |version: u64, entries: &[serde_json::Value]| {
            let mut object = object("a", version);
            object.0["metadata"]["managedFields"] = entries.into();
            Kept::new(object, &["lockstep".to_owned()], "lockstep")
        };
        let mut store = listed(&[], "1");
        let needs = |store: &Store, manager: &str| store.needs_migration(&key("a"), &[manager.to_owned()], "lockstep");
        assert!(!needs(&store, "kubectl-client-side-apply"), "it is not there");
        let ours = entry("lockstep", "Apply", "f:data");
        let theirs = entry("kubectl-client-side-apply", "Update", "f:data");
        let status = entry("argocd-controller", "Update", "f:status");
        store.changed(with(5, &[ours.clone(), theirs, status]), "app");
        assert!(store.get(&key("a")).unwrap().at("/metadata/managedFields/1").is_none());
        for (manager, want) in [("kubectl-client-side-apply", true), ("argocd-controller", false), ("lockstep", false)]
        {
            assert_eq!(needs(&store, manager), want, "{manager}");
        }
        store.record(with(6, &[ours, entry("lockstep", "Update", "f:data")]), Some("app"));
        assert!(!needs(&store, "kubectl-client-side-apply") && needs(&store, "lockstep"));
    }

    #[test]
    fn versions_compare_as_numbers_where_they_are() {
        assert!(newer("10", "9") && !newer("9", "10") && !newer("9", "9"));
        assert!(!newer("b", "a"));
    }
}
