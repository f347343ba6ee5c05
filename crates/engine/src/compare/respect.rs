//! `RespectIgnoreDifferences=true`: what is applied leaves alone what is ignored.
//!
//! At every ignored place the live object's value stands in the manifest's place, so that an apply changes nothing there and gives
//! up nothing that we own. Where the live object has nothing, the field is left out; where it does not even have what the field
//! would stand in (a container that is new), the manifest's value is kept, since that is not a difference in the field.
//!
//! Of an ignored map, only those fields are sent that the manifest has or that we own: to send the others would make us their
//! owner too, and put back yesterday's value when their own manager writes at the same moment.

use resources::Object;
use serde_json::{Map, Value};

use super::fields::{Managed, Role, Set};
use super::ignore::{Ignored, Marks};
use super::lists::{ListKind, is_ordered, list_kind};
use super::nature::{Nature, is_own_note};
use super::normal::same_scalar;
use super::path::Path;
use super::walk::{Here, find_item, kept_items, prior_item};
use super::{CompareRules, last_applied};

/// The desired object with the live one's values at every place that the rules ignore: by JSON pointer, by jq, and by the managers
/// that own them.
pub fn respecting(desired: &Object, live: &Object, rules: &CompareRules) -> Object {
    let ignored = Ignored::of(&rules.rules, desired, live);
    if ignored.is_empty() {
        return desired.clone();
    }
    let managed = Managed::of(live, &rules.managers, &ignored.managers);
    let applied = managed.any(Role::Applied);
    let prior = if applied { None } else { last_applied(live) };
    let nature = Nature::of(desired, &rules.settings);
    let mut merger = Merger { managed, nature, applied };
    let (sets, marks) = (merger.managed.roots(), ignored.marks());
    let here = Here { path: &Path::ROOT, sets: &sets, prior: prior.as_ref(), ignore: &marks, inside: false };
    let (Some(wanted), Some(found)) = (desired.0.as_object(), live.0.as_object()) else { return desired.clone() };
    let mut out = merger.map(&here, wanted, found);
    if merger.nature.secret {
        merger.secret(&here, wanted, found, &mut out);
    }
    Object(Value::Object(out))
}

struct Merger<'a> {
    managed: Managed<'a>,
    nature: Nature<'a>,
    /// We applied the live object, so that managed fields say what was ours.
    applied: bool,
}

impl<'a> Merger<'a> {
    /// What is sent at a place that the manifest has and that is not ignored as a whole.
    fn value(&mut self, here: &Here<'_, 'a>, desired: &Value, live: Option<&'a Value>) -> Option<Value> {
        let live = match live {
            None | Some(Value::Null) => {
                let left_out = self.managed.covered(here.sets, Role::Ignored) && !desired.is_null();
                return (!left_out).then(|| desired.clone());
            }
            Some(live) => live,
        };
        if desired.is_null() {
            return Some(self.extra(here, live, false).unwrap_or(Value::Null));
        }
        if self.managed.covered_from_above(here.sets, Role::Ignored) {
            return Some(self.kept(here, Some(desired), live));
        }
        Some(match (desired, live) {
            (Value::Object(desired), Value::Object(live)) => Value::Object(self.map(here, desired, live)),
            (Value::Array(desired), Value::Array(live)) => Value::Array(self.list(here, desired, live)),
            _ if self.managed.covered(here.sets, Role::Ignored) => live.clone(),
            _ => desired.clone(),
        })
    }

    /// What is sent at a place that is ignored as a whole.
    fn ignored(
        &mut self,
        here: &Here<'_, 'a>,
        desired: Option<&Value>,
        live: Option<&'a Value>,
        atomic: bool,
    ) -> Option<Value> {
        let live = live.filter(|live| !live.is_null())?;
        let wanted = desired.filter(|desired| !desired.is_null());
        (wanted.is_some() || atomic || self.is_ours(here)).then(|| self.kept(here, wanted, live))
    }

    /// Whether an apply that leaves this place out would remove it or give it up.
    fn is_ours(&self, here: &Here<'_, 'a>) -> bool {
        here.inside
            || here.prior.is_some_and(|prior| !prior.is_null())
            || self.managed.covered(here.sets, Role::Applied)
            || self.managed.covered(here.sets, Role::Written)
    }

    /// Of a live value that is to stay as it is, all that the manifest has or that is ours.
    fn kept(&mut self, here: &Here<'_, 'a>, desired: Option<&Value>, live: &'a Value) -> Value {
        // Metadata is never one value: most of it is the API server's.
        let metadata = here.path.depth() == 1 && here.path.field() == Some("metadata");
        if !metadata && (here.inside || self.managed.covered_from_above(here.sets, Role::Applied)) {
            return live.clone();
        }
        match (desired, live) {
            (None | Some(Value::Object(_)), Value::Object(map)) => {
                let desired = desired.and_then(Value::as_object);
                Value::Object(self.kept_map(here, desired, map))
            }
            (None | Some(Value::Array(_)), Value::Array(items)) => {
                let desired = desired.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                Value::Array(self.kept_list(here, desired, items))
            }
            _ => live.clone(),
        }
    }

    fn kept_map(
        &mut self,
        here: &Here<'_, 'a>,
        desired: Option<&Map<String, Value>>,
        live: &'a Map<String, Value>,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, value) in desired.into_iter().flatten() {
            // What is never compared is what the object is.
            if self.nature.is_skipped(here.path, name) {
                out.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in live {
            if value.is_null() || self.nature.is_skipped(here.path, name) || is_own_note(here.path, name) {
                continue;
            }
            let wanted = desired.and_then(|desired| desired.get(name)).filter(|wanted| !wanted.is_null());
            let (path, sets) = (here.path.child(name), self.managed.field(here.sets, name));
            let prior = here.prior.map(|prior| prior.get(name).unwrap_or(&Value::Null));
            let child = Here { path: &path, sets: &sets, prior, ..*here };
            if wanted.is_some() || self.is_ours(&child) {
                out.insert(name.clone(), self.kept(&child, wanted, value));
            }
        }
        out
    }

    fn kept_list(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) -> Vec<Value> {
        match self.kind(here, desired, live) {
            ListKind::Atomic => live.to_vec(),
            ListKind::Set => {
                let mut out = Vec::new();
                for value in live {
                    let (path, sets) = (here.path.member(value), self.managed.member(here.sets, value));
                    let prior = prior_member(here, value);
                    let wanted = desired.iter().any(|desired| same_scalar(here.path, desired, value));
                    if wanted || self.is_ours(&Here { path: &path, sets: &sets, prior, ..*here }) {
                        out.push(value.clone());
                    }
                }
                out
            }
            ListKind::Keyed(keys) => {
                let mut out = Vec::new();
                for (index, item) in live.iter().enumerate() {
                    let wanted = find_item(here.path, desired, item, &keys, index, &vec![false; desired.len()]);
                    let (path, sets) = (here.path.item(item, &keys), self.managed.item(here.sets, item, &keys));
                    let prior = here.prior.map(|_| prior_item(here, item, &keys).unwrap_or(&Value::Null));
                    let child = Here { path: &path, sets: &sets, prior, ..*here };
                    if wanted.is_some() || self.is_ours(&child) {
                        let kept = self.kept(&child, wanted.map(|at| &desired[at]), item);
                        out.push(with_keys(kept, item, &keys));
                    }
                }
                out
            }
        }
    }

    fn map(
        &mut self,
        here: &Here<'_, 'a>,
        desired: &Map<String, Value>,
        live: &'a Map<String, Value>,
    ) -> Map<String, Value> {
        let atomic = here.inside
            || self.managed.covered_from_above(here.sets, Role::Applied) && !desired.values().all(Value::is_null);
        let mut out = Map::new();
        for (name, value) in desired {
            if self.nature.is_skipped(here.path, name) {
                out.insert(name.clone(), value.clone());
                continue;
            }
            let (path, sets) = (here.path.child(name), self.managed.field(here.sets, name));
            let prior = here.prior.and_then(|prior| prior.get(name));
            let child = Here { path: &path, sets: &sets, prior, ignore: &Marks::default(), inside: here.inside };
            let sent = match here.ignore.field(name) {
                None => self.ignored(&child, Some(value), live.get(name), atomic),
                Some(ignore) => self.value(&Here { ignore: &ignore, ..child }, value, live.get(name)),
            };
            out.extend(sent.map(|sent| (name.clone(), sent)));
        }
        for (name, value) in live {
            if desired.contains_key(name) || self.nature.is_skipped(here.path, name) || is_own_note(here.path, name) {
                continue;
            }
            out.extend(self.extra_field(here, name, value, atomic).map(|sent| (name.clone(), sent)));
        }
        out
    }

    fn extra_field(&mut self, here: &Here<'_, 'a>, name: &'a str, live: &'a Value, atomic: bool) -> Option<Value> {
        let (path, sets) = (here.path.child(name), self.managed.field(here.sets, name));
        let prior = here.prior.map(|prior| prior.get(name).unwrap_or(&Value::Null));
        let child = Here { path: &path, sets: &sets, prior, ignore: &Marks::default(), inside: here.inside };
        match here.ignore.field(name) {
            None => self.ignored(&child, None, Some(live), atomic),
            Some(ignore) => self.extra(&Here { ignore: &ignore, ..child }, live, atomic),
        }
    }

    /// What is sent of a value that only the live object has and that is not ignored as a whole: what is ignored in it.
    fn extra(&mut self, here: &Here<'_, 'a>, live: &'a Value, atomic: bool) -> Option<Value> {
        let by_manager = self.managed.covered(here.sets, Role::Ignored);
        if live.is_null() || here.ignore.is_empty() && !by_manager {
            return None;
        }
        // Ours, with fields in it that are the manager's: without our part it would be left torn.
        let itself = self.managed.owned_itself(here.sets, Role::Applied);
        if by_manager && itself && !self.managed.owned(here.sets, Role::Foreign) {
            return self.ignored(here, None, Some(live), atomic);
        }
        let sent = match live {
            Value::Object(map) => {
                let fields = map
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), self.extra_field(here, name, value, atomic)?)));
                Some(fields.collect::<Map<_, _>>()).filter(|fields| !fields.is_empty()).map(Value::Object)
            }
            Value::Array(items) if self.kind(here, &[], items) == ListKind::Atomic => {
                // It stays or goes as one value; it stays where nothing of it may go.
                let (_, going) = kept_items(here.ignore, &[], items);
                if going.is_empty() { self.ignored(here, None, Some(live), atomic) } else { None }
            }
            Value::Array(items) => {
                Some(self.list(here, &[], items)).filter(|items| !items.is_empty()).map(Value::Array)
            }
            _ => None,
        };
        // What its manager owns by itself stays when we leave it out.
        let stays = self.applied && !atomic && !here.inside && self.managed.owned(here.sets, Role::Ignored);
        if sent.is_none() && by_manager && !stays {
            return self.ignored(here, None, Some(live), atomic);
        }
        sent
    }

    fn kind(&self, here: &Here<'_, 'a>, desired: &[Value], live: &[Value]) -> ListKind {
        let items = if desired.is_empty() { live } else { desired };
        list_kind(here.sets, here.path.parent_field(), here.path.field(), self.nature.builtin, items)
    }

    fn list(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) -> Vec<Value> {
        match self.kind(here, desired, live) {
            ListKind::Keyed(keys) => self.keyed(here, &keys, desired, live),
            ListKind::Set => self.set(here, desired, live),
            ListKind::Atomic => self.atomic(here, desired, live),
        }
    }

    fn keyed(&mut self, here: &Here<'_, 'a>, keys: &[String], desired: &[Value], live: &'a [Value]) -> Vec<Value> {
        let mut used = vec![false; live.len()];
        // What is sent, and where the live list has it.
        let mut out: Vec<(Value, Option<usize>)> = Vec::new();
        for (index, item) in desired.iter().enumerate() {
            let found = find_item(here.path, live, item, keys, index, &used);
            if let Some(at) = found {
                used[at] = true;
            }
            let other = found.map(|at| &live[at]);
            let (path, prior) = (here.path.item(item, keys), prior_item(here, item, keys));
            let sets = self.managed.item(here.sets, other.unwrap_or(item), keys);
            let child = Here { path: &path, sets: &sets, prior, ignore: &Marks::default(), inside: here.inside };
            let sent = match here.ignore.item(Some((index, item)), found.zip(other)) {
                None => self.ignored(&child, Some(item), other, false),
                Some(ignore) => self.value(&Here { ignore: &ignore, ..child }, item, other),
            };
            out.extend(sent.map(|sent| (with_keys(sent, other.unwrap_or(item), keys), found)));
        }
        let ordered = is_ordered(here.path.field());
        if ordered && self.managed.covered(here.sets, Role::Ignored) {
            out.sort_by_key(|(_, at)| at.unwrap_or(usize::MAX));
        }
        let atomic = here.inside || self.managed.covered_from_above(here.sets, Role::Applied);
        for (index, item) in live.iter().enumerate().filter(|(index, _)| !used[*index]) {
            let (path, sets) = (here.path.item(item, keys), self.managed.item(here.sets, item, keys));
            let prior = here.prior.map(|_| prior_item(here, item, keys).unwrap_or(&Value::Null));
            let child = Here { path: &path, sets: &sets, prior, ignore: &Marks::default(), inside: here.inside };
            let sent = match here.ignore.item(None, Some((index, item))) {
                None => self.ignored(&child, None, Some(item), atomic),
                // An item that goes as a whole takes with it what is ignored in it.
                Some(_) if self.goes(&sets) => None,
                Some(ignore) => self.extra(&Here { ignore: &ignore, ..child }, item, atomic),
            };
            let Some(sent) = sent else { continue };
            let after = |(_, at): &(Value, Option<usize>)| at.is_some_and(|at| at > index);
            let place = if ordered { out.iter().position(after) } else { None };
            out.insert(place.unwrap_or(out.len()), (with_keys(sent, item, keys), Some(index)));
        }
        out.into_iter().map(|(item, _)| item).collect()
    }

    /// Whether an item that the manifest no longer has is removed: it is ours alone.
    fn goes(&self, sets: &[Set<'a>]) -> bool {
        self.managed.owned_itself(sets, Role::Applied)
            && !self.managed.owned(sets, Role::Foreign)
            && !self.managed.covered(sets, Role::Ignored)
    }

    fn set(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) -> Vec<Value> {
        let mut out = Vec::new();
        for (index, value) in desired.iter().enumerate() {
            let there = live.iter().any(|other| same_scalar(here.path, value, other));
            let sets = self.managed.member(here.sets, value);
            let ignored =
                here.ignore.item(Some((index, value)), None).is_none() || self.managed.covered(&sets, Role::Ignored);
            if there || !ignored {
                out.push(value.clone());
            }
        }
        for (index, value) in live.iter().enumerate() {
            if desired.iter().any(|other| same_scalar(here.path, other, value)) {
                continue;
            }
            let (path, sets) = (here.path.member(value), self.managed.member(here.sets, value));
            let prior = prior_member(here, value);
            let child = Here { path: &path, sets: &sets, prior, ignore: &Marks::default(), inside: here.inside };
            let sent = match here.ignore.item(None, Some((index, value))) {
                None => self.ignored(&child, None, Some(value), here.inside),
                Some(ignore) => self.extra(&Here { ignore: &ignore, ..child }, value, here.inside),
            };
            out.extend(sent);
        }
        out
    }

    /// A list that counts as one value: ignored items stay where the live list has them, and the manifest's fill the other places.
    fn atomic(&mut self, here: &Here<'_, 'a>, desired: &[Value], live: &'a [Value]) -> Vec<Value> {
        let (left, right) = kept_items(here.ignore, desired, live);
        let paired = left.len() == right.len();
        let above: Vec<Set<'a>> =
            here.sets.iter().filter(|set| set.fields.is_empty()).map(|set| Set { above: true, ..*set }).collect();
        let prior = here.prior.and_then(Value::as_array).filter(|prior| prior.len() == live.len());
        let (mut out, mut next) = (Vec::with_capacity(live.len()), left.into_iter());
        for (other, item) in live.iter().enumerate() {
            if !right.contains(&other) {
                out.push(item.clone());
                continue;
            }
            let Some(index) = next.next() else { continue };
            let value = &desired[index];
            if !paired {
                out.push(value.clone());
                continue;
            }
            let ignore = here.ignore.item(Some((index, value)), Some((other, item))).unwrap_or_default();
            let path = here.path.index(index);
            let prior = prior.and_then(|prior| prior.get(other));
            let child = Here { path: &path, sets: &above, prior, ignore: &ignore, inside: true };
            out.push(self.value(&child, value, Some(item)).unwrap_or_else(|| value.clone()));
        }
        out.extend(next.map(|index| desired[index].clone()));
        out
    }

    /// The data of a Secret: what is ignored is sent as `data`, as the live object has it.
    fn secret(
        &mut self,
        here: &Here<'_, 'a>,
        desired: &Map<String, Value>,
        live: &'a Map<String, Value>,
        out: &mut Map<String, Value>,
    ) {
        let (data, text) = (here.ignore.field("data"), here.ignore.field("stringData"));
        let path = here.path.child("data");
        let sets = self.managed.field(here.sets, "data");
        let map = |object: Option<&'_ Value>| object.and_then(Value::as_object).cloned().unwrap_or_default();
        let (wanted_data, wanted_text) = (map(desired.get("data")), map(desired.get("stringData")));
        let (mut sent_data, mut sent_text) = (wanted_data.clone(), wanted_text.clone());
        let empty = Map::new();
        let live = live.get("data").and_then(Value::as_object);
        let names = wanted_data.keys().chain(wanted_text.keys()).chain(live.unwrap_or(&empty).keys());
        for name in names {
            let path = path.child(name);
            let sets = self.managed.field(&sets, name);
            let had = |field: &str| here.prior.and_then(|prior| prior.get(field)?.get(name));
            let prior = had("data").or_else(|| had("stringData"));
            let child = Here { path: &path, sets: &sets, prior, ..*here };
            let of = |marks: &Option<Marks<'_>>| marks.as_ref().is_none_or(|marks| marks.field(name).is_none());
            let by_rule = of(&data) || of(&text);
            let by_manager = self.managed.covered(&sets, Role::Ignored);
            if !by_rule && !by_manager {
                continue;
            }
            let some = |map: &Map<String, Value>| map.get(name).is_some_and(|value| !value.is_null());
            let wanted = some(&wanted_data) || some(&wanted_text);
            let stays = !by_rule && self.applied && self.managed.owned(&sets, Role::Ignored);
            sent_data.shift_remove(name);
            sent_text.shift_remove(name);
            if let Some(value) = live.and_then(|live| live.get(name))
                && (wanted || !stays && self.is_ours(&child))
            {
                sent_data.insert(name.clone(), value.clone());
            }
        }
        for (field, sent, wanted) in [("data", sent_data, wanted_data), ("stringData", sent_text, wanted_text)] {
            if sent == wanted {
                continue;
            }
            if sent.is_empty() {
                out.shift_remove(field);
            } else {
                out.insert(field.into(), Value::Object(sent));
            }
        }
    }
}

/// What was applied before at a member of a set.
fn prior_member<'a>(here: &Here<'_, 'a>, value: &'a Value) -> Option<&'a Value> {
    let had = |prior: &Value| prior.as_array().is_some_and(|prior| prior.contains(value));
    here.prior.map(|prior| if had(prior) { value } else { &Value::Null })
}

/// An item of a keyed list with its key, without which it cannot be sent.
fn with_keys(item: Value, like: &Value, keys: &[String]) -> Value {
    let Value::Object(mut fields) = item else { return item };
    for key in keys {
        if let Some(value) = like.get(key)
            && !fields.contains_key(key)
        {
            fields.insert(key.clone(), value.clone());
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use resources::IgnoreDifference;
    use serde_json::json;

    use super::super::tests::properties::{applied, in_kind_of, made_by_another};
    use super::super::tests::{WithFields as _, any_object, paths, yaml};
    use super::super::{LAST_APPLIED, compare};
    use super::*;

    const HEAD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gateway, namespace: dev}\n";

    fn rules(pointers: &[&str], expressions: &[&str], managers: &[&str]) -> CompareRules {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let rule = IgnoreDifference {
            group: "*".into(),
            kind: "*".into(),
            json_pointers: own(pointers),
            jq_path_expressions: own(expressions),
            managed_fields_managers: own(managers),
            ..IgnoreDifference::default()
        };
        let rules = CompareRules::new(&[rule], &["lockstep"]);
        assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
        rules
    }

    /// Pointers begin with `/`, expressions with `.`; anything else is a manager.
    fn rules_of(text: &str) -> CompareRules {
        let pick = |first: Option<char>| -> Vec<&str> {
            text.split(';')
                .map(str::trim)
                .filter(|part| match first {
                    Some(first) => part.starts_with(first),
                    None => !part.is_empty() && !part.starts_with(['/', '.']),
                })
                .collect()
        };
        rules(&pick(Some('/')), &pick(Some('.')), &pick(None))
    }

    /// Desired, live, its managed fields as ours, the rules, and what is sent.
    #[test]
    fn what_is_sent() {
        let image = "{template: {spec: {containers: [{name: a, image: 'a:1'}, {name: b, image: 'b:1'}]}}}";
        let other = "{template: {spec: {containers: [{name: b, image: 'b:2'}, {name: a, image: 'a:2', tty: true}]}}}";
        let ours = r#"{"f:spec": {"f:replicas": {}, "f:paused": {}}}"#;
        for (desired, live, fields, rule, want) in [
            // Live's value in place of the manifest's.
            ("{replicas: 3, paused: true}", "{replicas: 5, paused: false}", "{}", "/spec/replicas", {
                "{replicas: 5, paused: true}"
            }),
            // Left out where live has none.
            ("{replicas: 3, paused: true}", "{paused: true}", "{}", "/spec/replicas", "{paused: true}"),
            // What we own is not given up; what others own is not taken.
            ("{paused: true}", "{replicas: 5, paused: true}", ours, "/spec/replicas", "{paused: true, replicas: 5}"),
            ("{paused: true}", "{replicas: 5, paused: true}", "{}", "/spec/replicas", "{paused: true}"),
            ("{replicas: 3}", "{replicas: 5, paused: true}", ours, "/spec/replicas", "{replicas: 5}"),
            // Keyed lists are matched by their keys.
            (image, other, "{}", "/spec/template/spec/containers/0/image", {
                "{template: {spec: {containers: [{name: a, image: 'a:2'}, {name: b, image: 'b:1'}]}}}"
            }),
            (image, other, "{}", ".spec.template.spec.containers[] | select(.name == \"b\") | .image", {
                "{template: {spec: {containers: [{name: a, image: 'a:1'}, {name: b, image: 'b:2'}]}}}"
            }),
            (image, other, "{}", ".spec.template.spec.containers[] | select(.name | startswith(\"b\")).image", {
                "{template: {spec: {containers: [{name: a, image: 'a:1'}, {name: b, image: 'b:2'}]}}}"
            }),
            (image, other, "{}", ".spec.template.spec.containers[] | select(.name == \"a\")", {
                "{template: {spec: {containers: [{name: a, image: 'a:2'}, {name: b, image: 'b:1'}]}}}"
            }),
            // A condition that holds on one side is enough.
            (
                image,
                other,
                "{}",
                ".spec.template.spec.containers[] | select(.image == \"a:2\" or .image == \"b:1\").image",
                { "{template: {spec: {containers: [{name: a, image: 'a:2'}, {name: b, image: 'b:2'}]}}}" },
            ),
            // What is new needs all of its fields.
            (
                image,
                "{template: {spec: {containers: [{name: b, image: 'b:2'}]}}}",
                "{}",
                { "/spec/template/spec/containers/0/image; /spec/template/spec/containers/1/image" },
                "{template: {spec: {containers: [{name: a, image: 'a:1'}, {name: b, image: 'b:2'}]}}}",
            ),
            // A container that was ours and is no longer wanted goes with what is ignored in it.
            (
                "{template: {spec: {containers: [{name: a}]}}}",
                "{template: {spec: {containers: [{name: a}, {name: b, image: 'b:2'}]}}}",
                r#"{"f:spec": {"f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"a\"}": {".": {}, "f:name": {}},
                    "k:{\"name\":\"b\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}}"#,
                ".spec.template.spec.containers[].image",
                "{template: {spec: {containers: [{name: a}]}}}",
            ),
            // Lists that count as one value.
            ("{args: [x, y]}", "{args: [a, b, c]}", "{}", "/spec/args/0", "{args: [a, y]}"),
            ("{args: [x, y]}", "{args: [a]}", "{}", "/spec/args/1", "{args: [x]}"),
            ("{args: [x, y]}", "{args: [a, b, c]}", "{}", ".spec.args[1:]", "{args: [x, b, c]}"),
            ("{args: [x, y]}", "{args: [a, b, c]}", "{}", ".spec.args[]", "{args: [a, b, c]}"),
            ("{args: [x, y]}", "{args: [a, b, c]}", "{}", "/spec/args", "{args: [a, b, c]}"),
            ("{hooks: [{n: 1, ca: x}]}", "{hooks: [{n: 2, ca: y}]}", "{}", ".spec.hooks[].ca", {
                "{hooks: [{n: 1, ca: y}]}"
            }),
            ("{hooks: [{n: 1}]}", "{hooks: [{n: 2, ca: y}]}", "{}", ".spec.hooks[].ca", "{hooks: [{n: 1, ca: y}]}"),
            // Managers.
            ("{replicas: 3, paused: true}", "{replicas: 5, paused: false}", "{}", "hpa", "{replicas: 5, paused: true}"),
            ("{paused: true}", "{replicas: 5, paused: true}", ours, "hpa", "{paused: true}"),
            ("{list: [x], m: {a: 1, b: 1}}", "{list: [a, b], m: {a: 2, c: 2}}", "{}", "hpa", {
                "{list: [a, b], m: {a: 2}}"
            }),
            ("{list: [x], m: {a: 1}}", "{list: [a, b], m: {a: 2}}", "{}", "other", "{list: [x], m: {a: 1}}"),
            // Of an ignored map, what the manifest has or is ours.
            (
                "{m: {a: 1, b: 1}}",
                "{m: {a: 2, c: 2, d: 2}}",
                r#"{"f:spec": {"f:m": {"f:a": {}, "f:d": {}}}}"#,
                "/spec/m",
                { "{m: {a: 2, d: 2}}" },
            ),
            ("{}", "{m: {a: 2, c: 2}}", r#"{"f:spec": {"f:m": {".": {}, "f:a": {}}}}"#, "/spec/m/a", "{m: {a: 2}}"),
            ("{}", "{m: {a: 2, c: 2}}", r#"{"f:spec": {"f:m": {}}}"#, "/spec/m", "{m: {a: 2, c: 2}}"),
            // What is ignored and not there.
            ("{replicas: 3}", "{replicas: 5}", "{}", "/spec/other; .spec.more[].x", "{replicas: 3}"),
            ("{replicas: null}", "{replicas: 5}", "{}", "/spec/replicas", "{}"),
        ] {
            let object = |spec: &str| yaml(&format!("{HEAD}spec: {spec}"));
            let mut live = object(live).with_fields(fields);
            let entries = live.0["metadata"]["managedFields"].as_array_mut().unwrap();
            entries.push(json!({"manager": "hpa", "operation": "Update", "fieldsV1": {
                "f:spec": {"f:replicas": {}, "f:list": {}, "f:m": {}}
            }}));
            let got = respecting(&object(desired), &live, &rules_of(rule));
            assert_eq!(got, object(want), "{rule}: {desired} {live:?}");
        }
    }

    #[test]
    fn what_the_object_is_stays() {
        let desired = yaml(&format!("{HEAD}  \nspec: {{replicas: 3}}"));
        let mut live = yaml(&format!("{HEAD}spec: {{replicas: 5}}")).with_fields("{}");
        live.0["metadata"]["uid"] = json!("u");
        live.0["metadata"]["resourceVersion"] = json!("1");
        live.set_label("a", "b");
        for rule in ["/metadata", "/kind; /apiVersion; /metadata/name", ".metadata", ".. | .metadata?"] {
            assert_eq!(respecting(&desired, &live, &rules_of(rule)), desired, "{rule}");
        }
        // No rule, no change.
        assert_eq!(respecting(&desired, &live, &rules(&[], &[], &[])), desired);
        // What was applied on the client's side counts as ours.
        live.0["metadata"]["managedFields"] = json!([]);
        live.set_annotation(LAST_APPLIED, &json!({"spec": {"replicas": 5, "paused": true}}).to_string());
        live.0["spec"]["paused"] = json!(true);
        let got = respecting(&desired, &live, &rules_of("/spec/paused"));
        assert_eq!(got.0["spec"], json!({"replicas": 3, "paused": true}));
    }

    #[test]
    fn sets() {
        let object = |finalizers: &str| {
            yaml(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, finalizers: {finalizers}}}}}"))
        };
        let ours = r#"{"f:metadata": {"f:finalizers": {"v:\"a\"": {}, "v:\"x\"": {}}}}"#;
        for (desired, live, rule, want) in [
            ("[a, b]", "[a, x, y]", ".metadata.finalizers[] | select(. != \"a\")", "[a, x]"),
            ("[a, b]", "[a, x, y]", ".metadata.finalizers[] | select(. == \"b\")", "[a]"),
            ("[a, b]", "[a, x, y]", "/metadata/finalizers", "[a, x]"),
            ("[a, b]", "[a, x, y]", "/metadata/labels", "[a, b]"),
        ] {
            let live = object(live).with_fields(ours);
            assert_eq!(respecting(&object(desired), &live, &rules_of(rule)), object(want), "{rule}");
        }
    }

    #[test]
    fn secrets() {
        let object = |body: &str| yaml(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: a}}, {body}}}"));
        let live = object("data: {a: bGl2ZQ==, b: bGl2ZQ==}").with_fields(r#"{"f:data": {"f:a": {}, "f:b": {}}}"#);
        for (desired, rule, want) in [
            ("stringData: {a: x, c: x}", "/data/a", "stringData: {c: x}, data: {a: bGl2ZQ==}"),
            ("stringData: {a: x}", "/stringData/a", "data: {a: bGl2ZQ==}"),
            ("stringData: {a: x}", ".data | .a", "data: {a: bGl2ZQ==}"),
            ("stringData: {a: x}", ".stringData | (.a, .b)", "data: {a: bGl2ZQ==, b: bGl2ZQ==}"),
            ("data: {a: eA==, c: eA==}", "/data", "data: {a: bGl2ZQ==, b: bGl2ZQ==}"),
            ("data: {a: eA==}", "/data/b", "data: {a: eA==, b: bGl2ZQ==}"),
            ("data: {c: eA==, a: eA==}", "/data/c", "data: {a: eA==}"),
            ("data: {a: eA==}", "/type", "data: {a: eA==}"),
        ] {
            let got = respecting(&object(desired), &live, &rules_of(rule));
            let want = object(want);
            assert_eq!(
                (got.at("/data"), got.at("/stringData")),
                (want.at("/data"), want.at("/stringData")),
                "{desired} {rule}"
            );
            let hidden = paths(&compare(&got, Some(&live), &rules(&[], &[], &[])));
            assert_eq!(hidden, paths(&compare(&got, Some(&live), &rules_of(rule))), "{desired} {rule}");
        }
    }

    const RULES: [&str; 22] = [
        "/spec",
        "/spec/a",
        "/spec/replicas",
        "/spec/containers",
        "/spec/containers/0",
        "/spec/containers/1/value",
        "/spec/a/0",
        "/data/a",
        "/data",
        "other",
        ".spec[]",
        ".spec.containers[].value",
        ".spec.containers[] | select(.name == \"a\")",
        ".spec.containers[] | select(.name == \"a\" or .value) | .value",
        ".spec.containers[] | select(.env) | .env[0:1]",
        ".spec.a[1:]",
        ".spec.a[1:][0].name",
        ".. | .value?",
        ".. | .cpu?, .name?",
        ".spec | .. | select(type == \"string\")",
        ".data | .[keys[] | select(startswith(\"a\"))]",
        ".spec.env[] | select(.name | contains(\"a\")).value",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What rules hide of the manifest, they have nothing to hide of what is sent.
        #[test]
        fn what_is_ignored_is_not_changed(
            foreign in any_object(),
            previous in any_object(),
            desired in any_object(),
            rule in prop::collection::vec(prop::sample::select(RULES.to_vec()), 1..4),
        ) {
            let (mut foreign, mut previous) = (foreign, previous);
            in_kind_of(&desired, &mut foreign)?;
            in_kind_of(&desired, &mut previous)?;
            let live = applied(&made_by_another(&foreign), &previous);
            let rules_on = rules_of(&rule.join(";"));
            let sent = respecting(&desired, &live, &rules_on);
            let all = paths(&compare(&sent, Some(&live), &rules(&[], &[], &[])));
            let mut shown = paths(&compare(&sent, Some(&live), &rules_on));
            // A rule with an index means another item when one is left out before it.
            shown.extend(paths(&compare(&desired, Some(&live), &rules_on)));
            for path in all {
                prop_assert!(shown.contains(&path), "{path} is hidden\n{rule:?}\nlive {}\nsent {}", live.0, sent.0);
            }
        }
    }
}
