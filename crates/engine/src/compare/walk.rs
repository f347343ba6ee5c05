//! The comparison itself: desired and live side by side, with what is known about each place.

use serde_json::{Map, Value};

use super::fields::{Managed, Role, Set};
use super::ignore::Marks;
use super::lists::{self, ListKind, list_kind};
use super::nature::{Nature, is_own_note};
use super::normal::{is_blank, is_zero, same_scalar, vanishes_when_zero};
use super::path::Path;
use super::{Difference, FieldDifference};

/// What stands for a secret's value, on both sides.
const MASK: &str = "********";
/// How many doubts are named; the rest would say the same.
const DOUBTS: usize = 8;

/// What is known about the place that is being compared.
pub(super) struct Here<'p, 'a> {
    pub(super) path: &'p Path<'p>,
    pub(super) sets: &'p [Set<'a>],
    /// What was applied here before.
    pub(super) prior: Option<&'a Value>,
    pub(super) ignore: &'p Marks<'p>,
    /// Inside a list that counts as one value, so no manager is recorded for its parts.
    pub(super) inside: bool,
}

pub(super) struct Walker<'a> {
    pub(super) managed: Managed<'a>,
    pub(super) out: Difference,
    pub(super) nature: Nature<'a>,
    /// We applied this object, so that managed fields say what was ours.
    pub(super) applied: bool,
    /// Both sides come from the API server: everything counts.
    pub(super) exact: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn value(&mut self, here: &Here<'_, 'a>, desired: &Value, live: Option<&'a Value>) {
        match (desired, live) {
            (Value::Null, None) => {}
            (Value::Null, Some(live)) => {
                // Nulls that mean nothing are taken out before; what this one means, the schema of a custom resource says.
                let open = !self.exact && !self.nature.builtin && here.path.top() != Some("metadata");
                if open && !here.inside && !live.is_null() {
                    return self.doubt(here.path);
                }
                self.extra(here, live, false);
            }
            (desired, None | Some(Value::Null)) => self.absent(here, desired),
            (Value::Object(desired), Some(Value::Object(live))) => self.map(here, desired, live),
            (Value::Array(desired), Some(Value::Array(live))) => self.list(here, desired, live),
            (desired, Some(live)) => {
                let both_empty = is_blank(desired) && is_blank(live);
                let same =
                    || same_scalar(here.path, desired, live) || self.nature.same_by_type(here.path, desired, live);
                if !both_empty && !same() {
                    self.report(here, Some(desired), Some(live));
                }
            }
        }
    }

    fn absent(&mut self, here: &Here<'_, 'a>, desired: &Value) {
        let says_something = is_text_of_its_own(here.path, desired);
        if is_blank(desired) && !says_something {
            return;
        }
        if is_zero(desired) && !says_something {
            // We own it and it is not there: the API server does not store the zero of this field.
            let dropped = self.managed.owned(here.sets, Role::Applied) || self.managed.owned(here.sets, Role::Written);
            let known = self.nature.is_known_type(here.path) && here.path.field().is_some_and(vanishes_when_zero);
            if dropped || known {
                return;
            }
        }
        if here.path.field() == Some("caBundle") && matches!(desired.as_str(), Some("Cg==" | "Cgo=")) {
            return;
        }
        self.report(here, Some(desired), None);
    }

    fn map(&mut self, here: &Here<'_, 'a>, desired: &Map<String, Value>, live: &'a Map<String, Value>) {
        let atomic = here.inside
            || self.nature.builtin && here.path.is_field() && here.path.field().is_some_and(lists::is_atomic_map)
            || self.managed.covered_from_above(here.sets, Role::Applied) && !desired.values().all(Value::is_null);
        // Nothing of it is ours any more although we want it: somebody took it over as a whole, or part by part.
        let lost = self.applied
            && !(self.exact || self.nature.builtin || here.inside || desired.is_empty())
            && here.path.top() != Some("metadata")
            && !self.managed.covered(here.sets, Role::Applied);
        for (name, value) in desired {
            if self.nature.is_skipped(here.path, name) {
                continue;
            }
            let Some(ignore) = here.ignore.field(name) else { continue };
            let path = here.path.child(name);
            let sets = self.managed.field(here.sets, name);
            let prior = here.prior.and_then(|prior| prior.get(name));
            let child = Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside };
            self.value(&child, value, live.get(name));
        }
        for (name, value) in live {
            if desired.contains_key(name) || self.nature.is_skipped(here.path, name) || is_own_note(here.path, name) {
                continue;
            }
            if lost && here.ignore.field(name).is_some() && !is_zero(value) {
                return self.doubt(here.path);
            }
            self.extra_field(here, name, value, atomic);
        }
    }

    fn extra_field(&mut self, here: &Here<'_, 'a>, name: &'a str, value: &'a Value, atomic: bool) {
        let Some(ignore) = here.ignore.field(name) else { return };
        let path = here.path.child(name);
        let sets = self.managed.field(here.sets, name);
        let prior = here.prior.map(|prior| prior.get(name).unwrap_or(&Value::Null));
        self.extra(&Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside }, value, atomic);
    }

    /// A value that only the live object has. It counts when it was ours; what others added or the API server filled in does not.
    pub(super) fn extra(&mut self, here: &Here<'_, 'a>, live: &'a Value, atomic: bool) {
        if live.is_null() || self.exact && is_blank(live) && !is_text_of_its_own(here.path, live) {
            return;
        }
        if self.exact {
            return self.report(here, None, Some(live));
        }
        let foreign = self.managed.owned(here.sets, Role::Foreign);
        if self.managed.owned(here.sets, Role::Applied) {
            let leaf = self.managed.covered_from_above(here.sets, Role::Applied);
            // A map that goes except for what is ignored in it goes field by field.
            let stays = !here.ignore.is_empty() && here.path.is_field() && live.is_object();
            let itself = self.managed.owned_itself(here.sets, Role::Applied) && !stays;
            match live {
                _ if !foreign && (leaf || itself) => {
                    self.report(here, None, Some(live));
                }
                Value::Object(map) if !leaf => {
                    for (name, value) in map {
                        self.extra_field(here, name, value, false);
                    }
                }
                Value::Array(items) if !leaf => self.list(here, &[], items),
                // Another manager wants it too: our leaving it out would not remove it.
                _ => {}
            }
        } else if atomic {
            self.extra_in_atomic(here, live, foreign);
        } else if !self.applied {
            self.extra_by_prior(here, live);
        }
    }

    fn extra_in_atomic(&mut self, here: &Here<'_, 'a>, live: &'a Value, foreign: bool) {
        let nothing = is_zero(live) && !is_text_of_its_own(here.path, live);
        if nothing || is_known_default(here.path.field(), live, self.nature.builtin) {
            return;
        }
        match here.prior {
            Some(Value::Null) => {}
            Some(_) => self.report(here, None, Some(live)),
            None if foreign => {}
            None if self.nature.builtin => self.report(here, None, Some(live)),
            None => self.doubt(here.path),
        }
    }

    fn extra_by_prior(&mut self, here: &Here<'_, 'a>, live: &'a Value) {
        match (here.prior, live) {
            (Some(Value::Null), _) => {}
            (Some(prior), _) if is_blank(prior) => {}
            (Some(Value::Object(_)), Value::Object(map)) => {
                for (name, value) in map {
                    self.extra_field(here, name, value, false);
                }
            }
            (Some(Value::Array(_)), Value::Array(items)) => self.list(here, &[], items),
            (Some(_), _) => self.report(here, None, Some(live)),
            (None, _) if self.managed.owned(here.sets, Role::Written) => self.doubt(here.path),
            (None, _) => {}
        }
    }

    fn list(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) {
        let items = if desired.is_empty() { live } else { desired };
        match list_kind(here.sets, here.path.parent_field(), here.path.field(), self.nature.builtin, items) {
            ListKind::Keyed(keys) => self.keyed(here, &keys, desired, live),
            ListKind::Set => self.set(here, desired, live),
            ListKind::Atomic => self.atomic(here, desired, live),
        }
    }

    fn keyed(&mut self, here: &Here<'_, 'a>, keys: &[String], desired: &[Value], live: &'a [Value]) {
        let mut used = vec![false; live.len()];
        let (mut last, mut ordered) = (0, true);
        for (index, item) in desired.iter().enumerate() {
            let found = find_item(here.path, live, item, keys, index, &used);
            if let Some(at) = found {
                used[at] = true;
                ordered &= at >= last;
                last = at;
            }
            let pair = found.map(|at| (at, &live[at]));
            let Some(ignore) = here.ignore.item(Some((index, item)), pair) else { continue };
            let path = here.path.item(item, keys);
            let prior = prior_item(here, item, keys);
            let sets = self.managed.item(here.sets, found.map_or(item, |at| &live[at]), keys);
            let child = Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside };
            self.value(&child, item, found.map(|at| &live[at]));
        }
        for (index, item) in live.iter().enumerate().filter(|(index, _)| !used[*index]) {
            let Some(ignore) = here.ignore.item(None, Some((index, item))) else { continue };
            let path = here.path.item(item, keys);
            let prior = here.prior.map(|_| prior_item(here, item, keys).unwrap_or(&Value::Null));
            let sets = self.managed.item(here.sets, item, keys);
            let atomic = here.inside || self.managed.covered_from_above(here.sets, Role::Applied);
            self.extra(&Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside }, item, atomic);
        }
        if !ordered && lists::is_ordered(here.path.field()) {
            let names =
                |items: &[Value]| items.iter().map(|item| item.get(&keys[0]).cloned().unwrap_or_default()).collect();
            self.report(here, Some(&Value::Array(names(desired))), Some(&Value::Array(names(live))));
        }
    }

    fn set(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) {
        for (index, value) in desired.iter().enumerate() {
            if here.ignore.item(Some((index, value)), None).is_some()
                && !live.iter().any(|other| same_scalar(here.path, value, other))
            {
                let (path, sets) = (here.path.member(value), self.managed.member(here.sets, value));
                self.report(&Here { path: &path, sets: &sets, prior: None, ..*here }, Some(value), None);
            }
        }
        for (index, value) in live.iter().enumerate() {
            if desired.iter().any(|other| same_scalar(here.path, other, value)) {
                continue;
            }
            let Some(ignore) = here.ignore.item(None, Some((index, value))) else { continue };
            let had = |prior: &Value| prior.as_array().is_some_and(|prior| prior.contains(value));
            let prior = here.prior.map(|prior| if had(prior) { value } else { &Value::Null });
            let (path, sets) = (here.path.member(value), self.managed.member(here.sets, value));
            self.extra(
                &Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside },
                value,
                here.inside,
            );
        }
    }

    fn atomic(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) {
        let (left, right) = kept_items(here.ignore, desired, live);
        if left.len() != right.len() {
            let show = |items: &[Value]| Value::Array(items.to_vec());
            let live_value = (!live.is_empty()).then(|| show(live));
            return self.report(here, Some(&show(desired)), live_value.as_ref());
        }
        // Parts of such a list have no owner of their own.
        let above: Vec<Set<'a>> =
            here.sets.iter().filter(|set| set.fields.is_empty()).map(|set| Set { above: true, ..*set }).collect();
        let prior = here.prior.and_then(Value::as_array).filter(|prior| prior.len() == live.len());
        for (index, other) in left.into_iter().zip(right) {
            let ignore =
                here.ignore.item(Some((index, &desired[index])), Some((other, &live[other]))).unwrap_or_default();
            let path = here.path.index(index);
            let prior = prior.and_then(|prior| prior.get(other));
            let child = Here { path: &path, sets: &above, prior, ignore: &ignore, inside: true };
            // Here a null is an item, and not a field that is left to others.
            if desired[index].is_null() && !is_zero(&live[other]) {
                self.report(&child, Some(&Value::Null), Some(&live[other]));
            } else {
                self.value(&child, &desired[index], Some(&live[other]));
            }
        }
    }

    pub(super) fn report(&mut self, here: &Here<'_, 'a>, desired: Option<&Value>, live: Option<&Value>) {
        if self.managed.covered(here.sets, Role::Ignored) {
            return;
        }
        let masked = self.nature.secret && matches!(here.path.top(), Some("data" | "stringData"));
        let show = |value: &Value| if masked { MASK.into() } else { value.clone() };
        let changed_by = live.and_then(|_| self.managed.last_writer(here.sets));
        self.out.fields.push(FieldDifference {
            path: here.path.to_string(),
            desired: desired.map(show),
            live: live.map(show),
            changed_by,
        });
    }

    pub(super) fn doubt(&mut self, path: &Path<'_>) {
        if self.out.doubts.len() < DOUBTS {
            self.out.doubts.push(path.to_string());
        }
    }
}

/// The indices of those items of a list that are compared, desired and live.
pub(super) fn kept_items(ignore: &Marks<'_>, desired: &[Value], live: &[Value]) -> (Vec<usize>, Vec<usize>) {
    let desired = desired.iter().enumerate().filter(|item| ignore.item(Some(*item), None).is_some());
    let live = live.iter().enumerate().filter(|item| ignore.item(None, Some(*item)).is_some());
    (desired.map(|(index, _)| index).collect(), live.map(|(index, _)| index).collect())
}

/// Whether a value is a map of texts or an entry of one, where an empty text is another thing than none.
fn is_text_of_its_own(path: &Path<'_>, value: &Value) -> bool {
    let around = match value {
        Value::String(_) => path.parent_field(),
        Value::Object(map) if map.values().any(Value::is_string) => path.field(),
        _ => return false,
    };
    path.is_field() && (path.is_free_text() || around == Some("selector"))
}

/// What the API server fills in inside lists that count as one value.
fn is_known_default(field: Option<&str>, live: &Value, builtin: bool) -> bool {
    match field {
        Some("status" | "creationTimestamp") => true,
        // What it fills in for the kinds of others is in their schemas.
        _ if !builtin => false,
        Some("protocol") => live == "TCP",
        Some("apiVersion") => live == "v1",
        Some("kind") => live == "PersistentVolumeClaim",
        Some("volumeMode") => live == "Filesystem",
        Some("scope") => live == "*",
        Some("apiGroup") => live == "rbac.authorization.k8s.io",
        Some("expirationSeconds") => live == 3600,
        Some("defaultMode") => live == 420,
        Some("scheme") => live == "HTTP",
        Some("matchPolicy") => live == "Equivalent",
        Some("divisor") => live == "0",
        Some("phase") => live == "Pending",
        Some("allocationMode") => live == "ExactCount",
        Some("count") => live == 1,
        _ => false,
    }
}

pub(super) fn find_item(
    path: &Path<'_>,
    live: &[Value],
    item: &Value,
    keys: &[String],
    hint: usize,
    used: &[bool],
) -> Option<usize> {
    let fits = |at: usize| !used[at] && same_key(path, item, &live[at], keys);
    if hint < live.len() && fits(hint) {
        return Some(hint);
    }
    (0..live.len()).find(|at| fits(*at))
}

fn same_key(path: &Path<'_>, a: &Value, b: &Value, keys: &[String]) -> bool {
    keys.iter().all(|key| match (a.get(key), b.get(key)) {
        (Some(a), Some(b)) => same_scalar(&path.child(key), a, b),
        (None, None) => true,
        (Some(only), None) | (None, Some(only)) => {
            lists::key_default(key).is_some_and(|default| only == default) || only.is_null()
        }
    })
}

pub(super) fn prior_item<'a>(here: &Here<'_, 'a>, item: &Value, keys: &[String]) -> Option<&'a Value> {
    let prior = here.prior?.as_array()?;
    prior.iter().find(|prior| same_key(here.path, prior, item, keys))
}
