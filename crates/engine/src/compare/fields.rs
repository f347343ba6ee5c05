//! `metadata.managedFields`: who owns which field, walked beside the object itself.

use resources::Object;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::glob::Pattern;

/// A field manager, as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Name of the manager: `kubectl-edit`, `kube-controller-manager`.
    pub manager: String,
    /// When it last wrote one of its fields, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Applied by us: exactly the fields that were in the manifest.
    Applied,
    /// Written by us in another way: the manifest's fields, and what the API server filled in.
    Written,
    /// What this manager owns is not compared.
    Ignored,
    /// Somebody else.
    Foreign,
}

pub(super) struct Entry<'a> {
    pub(super) role: Role,
    manager: &'a str,
    time: Option<&'a str>,
    root: &'a Map<String, Value>,
}

/// A set of fields at one place: whose, which, and whether it is a leaf that stands further up and so covers the place.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) entry: usize,
    pub(super) fields: &'a Map<String, Value>,
    pub(super) above: bool,
}

pub(super) struct Managed<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    scratch: String,
}

impl<'a> Managed<'a> {
    pub(super) fn of(live: &'a Object, ours: &[String], ignored: &[&Pattern]) -> Self {
        let list = live.at("/metadata/managedFields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let entries = list.iter().filter_map(|entry| read(entry, ours, ignored)).collect();
        Self { entries, scratch: String::with_capacity(64) }
    }

    pub(super) fn roots(&self) -> Vec<Set<'a>> {
        self.entries.iter().enumerate().map(|(entry, found)| Set { entry, fields: found.root, above: false }).collect()
    }

    pub(super) fn any(&self, role: Role) -> bool {
        self.entries.iter().any(|entry| entry.role == role)
    }

    pub(super) fn field(&mut self, sets: &[Set<'a>], name: &str) -> Vec<Set<'a>> {
        if sets.is_empty() {
            return Vec::new();
        }
        self.scratch.clear();
        self.scratch.push_str("f:");
        self.scratch.push_str(name);
        descend(sets, &self.scratch)
    }

    /// The sets of an item in a keyed list. The key is written as the API server does: fields in alphabetical order.
    pub(super) fn item(&mut self, sets: &[Set<'a>], item: &Value, keys: &[String]) -> Vec<Set<'a>> {
        if sets.is_empty() {
            return Vec::new();
        }
        self.scratch.clear();
        self.scratch.push_str("k:{");
        let mut first = true;
        for key in keys {
            let Some(value) = item.get(key) else { continue };
            if !first {
                self.scratch.push(',');
            }
            first = false;
            let (key, value) = (Value::from(key.as_str()), value);
            self.scratch.push_str(&key.to_string());
            self.scratch.push(':');
            self.scratch.push_str(&value.to_string());
        }
        self.scratch.push('}');
        descend(sets, &self.scratch)
    }

    pub(super) fn member(&mut self, sets: &[Set<'a>], value: &Value) -> Vec<Set<'a>> {
        if sets.is_empty() {
            return Vec::new();
        }
        self.scratch.clear();
        self.scratch.push_str("v:");
        self.scratch.push_str(&value.to_string());
        descend(sets, &self.scratch)
    }

    /// Whether a set of this role names the place itself.
    pub(super) fn owned(&self, sets: &[Set<'a>], role: Role) -> bool {
        sets.iter().any(|set| !set.above && self.entries[set.entry].role == role)
    }

    /// Whether a set of this role owns the item or map itself, not only fields in it.
    pub(super) fn owned_itself(&self, sets: &[Set<'a>], role: Role) -> bool {
        sets.iter().any(|set| !set.above && self.entries[set.entry].role == role && set.fields.contains_key("."))
    }

    /// Whether a set of this role covers the place, here or by a leaf further up.
    pub(super) fn covered(&self, sets: &[Set<'a>], role: Role) -> bool {
        sets.iter().any(|set| self.entries[set.entry].role == role)
    }

    /// Whether a set of this role covers the place as a whole from further up.
    pub(super) fn covered_from_above(&self, sets: &[Set<'a>], role: Role) -> bool {
        sets.iter().any(|set| (set.above || set.fields.is_empty()) && self.entries[set.entry].role == role)
    }

    /// The last one among others who wrote here.
    pub(super) fn last_writer(&self, sets: &[Set<'a>]) -> Option<Actor> {
        let foreign = sets.iter().map(|set| &self.entries[set.entry]).filter(|entry| entry.role == Role::Foreign);
        let last = foreign.max_by(|a, b| (a.time, a.manager).cmp(&(b.time, b.manager)))?;
        Some(Actor { manager: last.manager.into(), time: last.time.map(str::to_owned) })
    }
}

fn read<'a>(entry: &'a Value, ours: &[String], ignored: &[&Pattern]) -> Option<Entry<'a>> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str);
    // Status is not compared, and whoever writes it owns nothing of the rest through that entry.
    if text("subresource") == Some("status") {
        return None;
    }
    let manager = text("manager").unwrap_or_default();
    // Below the root, an empty set stands for all that is there.
    let root = entry.get("fieldsV1")?.as_object().filter(|root| !root.is_empty())?;
    let role = if ignored.iter().any(|pattern| pattern.matches(manager)) {
        Role::Ignored
    } else if !ours.iter().any(|own| own == manager) {
        Role::Foreign
    } else if text("operation") == Some("Apply") {
        Role::Applied
    } else {
        Role::Written
    };
    Some(Entry { role, manager, time: text("time"), root })
}

fn descend<'a>(sets: &[Set<'a>], key: &str) -> Vec<Set<'a>> {
    let mut out = Vec::new();
    for set in sets {
        if set.fields.is_empty() {
            out.push(Set { above: true, ..*set });
        } else if let Some(fields) = set.fields.get(key).and_then(Value::as_object) {
            out.push(Set { fields, above: false, ..*set });
        }
    }
    out
}
