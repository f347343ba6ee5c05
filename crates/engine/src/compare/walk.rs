//! The comparison itself: desired and live side by side, with what is known about each place.

use serde_json::{Map, Value};

use super::fields::{Managed, Role, Set};
use super::ignore::{Step, into_field, into_item};
use super::lists::{self, ListKind, list_kind};
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
    pub(super) ignore: &'p [&'a [Step]],
    /// Inside a list that counts as one value, so no manager is recorded for its parts.
    pub(super) inside: bool,
}

pub(super) struct Walker<'a> {
    pub(super) managed: Managed<'a>,
    pub(super) out: Difference,
    pub(super) secret: bool,
    pub(super) application: bool,
    /// A kind of Kubernetes itself, whose lists and defaults are known.
    pub(super) builtin: bool,
    /// We applied this object, so that managed fields say what was ours.
    pub(super) applied: bool,
    /// A ClusterRole whose rules a controller fills in.
    pub(super) aggregated: bool,
    /// Both sides come from the API server: everything counts.
    pub(super) exact: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn value(&mut self, here: &Here<'_, 'a>, desired: &Value, live: Option<&'a Value>) {
        match (desired, live) {
            (Value::Null, None) => {}
            (Value::Null, Some(live)) => self.extra(here, live, false),
            (desired, None | Some(Value::Null)) => self.absent(here, desired),
            (Value::Object(desired), Some(Value::Object(live))) => self.map(here, desired, live),
            (Value::Array(desired), Some(Value::Array(live))) => self.list(here, desired, live),
            (desired, Some(live)) => {
                let both_empty = is_blank(desired) && is_blank(live);
                if !both_empty && !same_scalar(here.path, desired, live) {
                    self.report(here, Some(desired), Some(live));
                }
            }
        }
    }

    fn absent(&mut self, here: &Here<'_, 'a>, desired: &Value) {
        if is_blank(desired) {
            return;
        }
        if is_zero(desired) {
            // We own it and it is not there: the API server does not store the zero of this field.
            let dropped = self.managed.owned(here.sets, Role::Applied) || self.managed.owned(here.sets, Role::Written);
            let known = self.builtin && here.path.field().is_some_and(vanishes_when_zero);
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
        let atomic = here.inside || self.managed.covered_from_above(here.sets, Role::Applied) && !desired.is_empty();
        for (name, value) in desired {
            if self.is_skipped(here.path, name) {
                continue;
            }
            let Some(ignore) = into_field(here.ignore, name) else { continue };
            let path = here.path.child(name);
            let sets = self.managed.field(here.sets, name);
            let prior = here.prior.and_then(|prior| prior.get(name));
            let child = Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside };
            self.value(&child, value, live.get(name));
        }
        for (name, value) in live {
            if desired.contains_key(name) || self.is_skipped(here.path, name) || is_own_note(here.path, name) {
                continue;
            }
            self.extra_field(here, name, value, atomic);
        }
    }

    fn extra_field(&mut self, here: &Here<'_, 'a>, name: &'a str, value: &'a Value, atomic: bool) {
        let Some(ignore) = into_field(here.ignore, name) else { return };
        let path = here.path.child(name);
        let sets = self.managed.field(here.sets, name);
        let prior = here.prior.map(|prior| prior.get(name).unwrap_or(&Value::Null));
        self.extra(&Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside }, value, atomic);
    }

    /// A value that only the live object has. It counts when it was ours; what others added or the API server filled in does not.
    pub(super) fn extra(&mut self, here: &Here<'_, 'a>, live: &'a Value, atomic: bool) {
        if live.is_null() || self.exact && is_blank(live) {
            return;
        }
        if self.exact {
            return self.report(here, None, Some(live));
        }
        let foreign = self.managed.owned(here.sets, Role::Foreign);
        if self.managed.owned(here.sets, Role::Applied) {
            let leaf = self.managed.covered_from_above(here.sets, Role::Applied);
            match live {
                _ if !foreign && (leaf || self.managed.owned_itself(here.sets, Role::Applied)) => {
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
        if is_zero(live) || is_known_default(here.path.field(), live) {
            return;
        }
        match here.prior {
            Some(Value::Null) => {}
            Some(_) => self.report(here, None, Some(live)),
            None if foreign => {}
            None if self.builtin => self.report(here, None, Some(live)),
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
        match list_kind(here.sets, here.path.parent_field(), here.path.field(), self.builtin, items) {
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
            let Some(ignore) = into_item(here.ignore, index, item) else { continue };
            let path = here.path.item(item, keys);
            let prior = prior_item(here, item, keys);
            let sets = self.managed.item(here.sets, found.map_or(item, |at| &live[at]), keys);
            let child = Here { path: &path, sets: &sets, prior, ignore: &ignore, inside: here.inside };
            self.value(&child, item, found.map(|at| &live[at]));
        }
        for (index, item) in live.iter().enumerate().filter(|(index, _)| !used[*index]) {
            let Some(ignore) = into_item(here.ignore, index, item) else { continue };
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
            if into_item(here.ignore, index, value).is_some()
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
            let Some(ignore) = into_item(here.ignore, index, value) else { continue };
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
        let kept = |items: &[Value]| -> Vec<usize> {
            let kept = |(index, item): (usize, &Value)| into_item(here.ignore, index, item).map(|_| index);
            items.iter().enumerate().filter_map(kept).collect()
        };
        let (left, right) = (kept(desired), kept(live));
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
            let ignore = into_item(here.ignore, index, &desired[index]).unwrap_or_default();
            let path = here.path.index(index);
            let prior = prior.and_then(|prior| prior.get(other));
            let child = Here { path: &path, sets: &above, prior, ignore: &ignore, inside: true };
            self.value(&child, &desired[index], Some(&live[other]));
        }
    }

    fn is_skipped(&self, path: &Path<'_>, name: &str) -> bool {
        match path.depth() {
            0 => match name {
                "apiVersion" | "kind" | "status" => true,
                "operation" => self.application,
                "data" | "stringData" => self.secret,
                "rules" => self.aggregated,
                _ => false,
            },
            1 => {
                path.field() == Some("metadata")
                    && matches!(
                        name,
                        "name"
                            | "generateName"
                            | "namespace"
                            | "uid"
                            | "resourceVersion"
                            | "generation"
                            | "creationTimestamp"
                            | "deletionTimestamp"
                            | "deletionGracePeriodSeconds"
                            | "managedFields"
                            | "selfLink"
                    )
            }
            2 => {
                path.field() == Some("annotations")
                    && path.top() == Some("metadata")
                    && matches!(
                        name,
                        "kubectl.kubernetes.io/last-applied-configuration" | "deployment.kubernetes.io/revision"
                    )
            }
            _ => false,
        }
    }

    pub(super) fn report(&mut self, here: &Here<'_, 'a>, desired: Option<&Value>, live: Option<&Value>) {
        if self.managed.covered(here.sets, Role::Ignored) {
            return;
        }
        let masked = self.secret && matches!(here.path.top(), Some("data" | "stringData"));
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

/// Annotations with which Lockstep and Argo CD talk to themselves on live objects.
fn is_own_note(path: &Path<'_>, name: &str) -> bool {
    path.depth() == 2
        && path.field() == Some("annotations")
        && path.top() == Some("metadata")
        && (name.starts_with("lockstep.dev/")
            || matches!(
                name,
                "argocd.argoproj.io/refresh" | "argocd.argoproj.io/hydrate" | "argocd.argoproj.io/deletion-approved"
            ))
}

/// What the API server fills in inside lists that count as one value.
fn is_known_default(field: Option<&str>, live: &Value) -> bool {
    match field {
        Some("status" | "creationTimestamp") => true,
        Some("protocol") => live == "TCP",
        Some("apiVersion") => live == "v1",
        Some("kind") => live == "PersistentVolumeClaim",
        Some("volumeMode") => live == "Filesystem",
        Some("scope") => live == "*",
        Some("apiGroup") => live == "rbac.authorization.k8s.io",
        Some("expirationSeconds") => live == 3600,
        Some("defaultMode") => live == 420,
        Some("scheme") => live == "HTTP",
        _ => false,
    }
}

fn find_item(
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

fn prior_item<'a>(here: &Here<'_, 'a>, item: &Value, keys: &[String]) -> Option<&'a Value> {
    let prior = here.prior?.as_array()?;
    prior.iter().find(|prior| same_key(here.path, prior, item, keys))
}
