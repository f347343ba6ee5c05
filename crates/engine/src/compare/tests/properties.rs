//! Rules that hold for any objects.

use super::*;

/// What an apply does at its simplest: what the manifest says replaces what is there.
fn merge(live: &mut Value, desired: &Value) {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            for (name, value) in desired.iter().filter(|(_, value)| !value.is_null()) {
                merge(live.entry(name).or_insert(Value::Null), value);
            }
        }
        (live, desired) => *live = desired.clone(),
    }
}

/// Makes the object one of the kind of the other.
pub(in super::super) fn in_kind_of(desired: &Object, object: &mut Object) -> Result<(), TestCaseError> {
    prop_assume!(desired.kind() != "Secret" || object.kind() == "Secret");
    for field in ["apiVersion", "kind"] {
        object.0[field] = desired.0[field].clone();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_object_agrees_with_itself(object in any_object()) {
        let difference = compare(&object, Some(&object), &rules());
        prop_assert!(difference.is_empty(), "{difference}");
        prop_assert!(compare_predicted(&object, &object, &rules()).is_empty());
    }

    #[test]
    fn a_difference_that_is_applied_is_gone(desired in any_object(), live in any_object()) {
        let mut live = live;
        in_kind_of(&desired, &mut live)?;
        let before = compare(&desired, Some(&live), &rules());
        merge(&mut live.0, &desired.0);
        let after = compare(&desired, Some(&live), &rules());
        prop_assert!(after.is_empty(), "{before}\n{after}");
    }
}

/// The fields of a manifest as managed fields name them. Lists under these names are keyed by `name`, where their items have one.
pub(in crate::compare) fn fields_of(value: &Value) -> Value {
    let Some(map) = value.as_object() else { return json!({}) };
    let field = |(name, value): (&String, &Value)| {
        let inner = match keyed_items(name, value) {
            Some(items) => items
                .into_iter()
                .map(|(key, item)| {
                    let mut inner = fields_of(item);
                    inner["."] = json!({});
                    (format!("k:{}", json!({"name": key})), inner)
                })
                .collect(),
            None => fields_of(value),
        };
        (format!("f:{name}"), inner)
    };
    // An empty map owns none of what others put into it.
    fn says(value: &Value) -> bool {
        value.as_object().map_or(!value.is_null(), |map| map.values().any(says))
    }
    Value::Object(map.iter().filter(|(_, value)| says(value)).map(field).collect())
}

/// The items of a list by their names, if it is one of those that are keyed.
fn keyed_items<'v>(field: &str, value: &'v Value) -> Option<Vec<(&'v str, &'v Value)>> {
    let items = value.as_array().filter(|items| matches!(field, "containers" | "env") && !items.is_empty())?;
    let named: Vec<_> = items.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect::<Option<_>>()?;
    let distinct = named.iter().enumerate().all(|(at, (name, _))| named[..at].iter().all(|(other, _)| other != name));
    distinct.then_some(named)
}

/// What a server-side apply does to the fields of one map: what was ours and is no longer wanted goes, unless somebody else has it.
fn drop_fields(live: &mut Value, before: &Value, now: &Value, others: &Value) {
    for (key, inner) in before.as_object().unwrap().iter().filter(|(key, _)| *key != ".") {
        let (wanted, shared) = (now.get(key), others.get(key));
        let empty = json!({});
        if wanted.is_none() && shared.is_none() {
            match (key.strip_prefix("f:"), live.as_array().is_some()) {
                (Some(name), false) => drop(live.as_object_mut().and_then(|map| map.shift_remove(name))),
                (None, true) => live.as_array_mut().unwrap().retain(|item| key_of(item) != *key),
                _ => {}
            }
            continue;
        }
        let child = match key.strip_prefix("f:") {
            Some(name) => live.get_mut(name),
            None => live.as_array_mut().and_then(|items| items.iter_mut().find(|item| key_of(item) == *key)),
        };
        if let Some(child) = child {
            drop_fields(child, inner, wanted.unwrap_or(&empty), shared.unwrap_or(&empty));
        }
    }
}

fn key_of(item: &Value) -> String {
    format!("k:{}", json!({"name": item["name"]}))
}

/// What a server-side apply then does: what is wanted replaces what is there, item by item in keyed lists.
fn put_fields(live: &mut Value, desired: &Value, field: &str) {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            for (name, value) in desired.iter().filter(|(_, value)| !value.is_null()) {
                put_fields(live.entry(name).or_insert(Value::Null), value, name);
            }
        }
        (live, desired) => {
            if let (Some(_), Some(items)) = (keyed_items(field, live), keyed_items(field, desired)) {
                let list = live.as_array_mut().unwrap();
                for (_, item) in items {
                    match list.iter_mut().find(|other| key_of(other) == key_of(item)) {
                        Some(other) => put_fields(other, item, ""),
                        None => list.push(item.clone()),
                    }
                }
            } else {
                *live = desired.clone();
            }
        }
    }
}

/// The fields of others that a forced apply leaves to them: those that it does not have, or has with the same value.
fn left_to_others(others: &mut Value, now: &Value, old: Option<&Value>, new: Option<&Value>) {
    fn child<'v>(value: Option<&'v Value>, key: &str) -> Option<&'v Value> {
        match key.strip_prefix("f:") {
            Some(name) => value?.get(name),
            None => value?.as_array()?.iter().find(|item| key_of(item) == *key),
        }
    }
    let Some(map) = others.as_object_mut() else { return };
    map.retain(|key, inner| match now.get(key) {
        Some(now) if now.as_object().is_some_and(|now| now.is_empty()) => child(old, key) == child(new, key),
        Some(now) => {
            left_to_others(inner, now, child(old, key), child(new, key));
            inner.as_object().is_some_and(|inner| inner.keys().any(|key| key != "."))
        }
        None => true,
    });
}

/// The parts of an object that a manifest is made of here.
fn body(object: &Object) -> Value {
    let part = |name: &str| object.0.get(name).cloned().unwrap_or_default();
    json!({"spec": part("spec"), "data": part("data"), "metadata": {"labels": part("labels")}})
}

/// A live object after a server-side apply by us, with managed fields as the API server would write them.
pub(in crate::compare) fn applied(live: &Object, desired: &Object) -> Object {
    let mut live = live.clone();
    let managers = live.at("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |ours: bool| {
        let found = managers.iter().find(|entry| (entry["manager"] == "lockstep") == ours);
        found.map_or_else(|| json!({}), |entry| entry["fieldsV1"].clone())
    };
    let (before, mut others, now) = (of(true), of(false), fields_of(&body(desired)));
    left_to_others(&mut others, &now, Some(&live.0), Some(&desired.0));
    drop_fields(&mut live.0, &before, &now, &others);
    put_fields(&mut live.0, &body(desired), "");
    for field in ["apiVersion", "kind"] {
        live.0[field] = desired.0[field].clone();
    }
    live.0["metadata"]["managedFields"] = json!([
        {"manager": "lockstep", "operation": "Apply", "fieldsV1": now},
        {"manager": "other", "operation": "Update", "fieldsV1": others},
    ]);
    live
}

/// An object that somebody else made.
pub(in crate::compare) fn made_by_another(object: &Object) -> Object {
    let mut object = object.clone();
    object.0["metadata"]["managedFields"] =
        json!([{"manager": "other", "operation": "Update", "fieldsV1": fields_of(&body(&object))}]);
    object
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_that_is_applied_server_side_is_gone(
        foreign in any_object(), previous in any_object(), desired in any_object()
    ) {
        let (mut foreign, mut previous) = (foreign, previous);
        in_kind_of(&desired, &mut foreign)?;
        in_kind_of(&desired, &mut previous)?;
        let live = applied(&made_by_another(&foreign), &previous);
        prop_assert!(compare(&previous, Some(&live), &rules()).is_empty(), "{}", compare(&previous, Some(&live), &rules()));
        let before = compare(&desired, Some(&live), &rules());
        let after_live = applied(&live, &desired);
        let after = compare(&desired, Some(&after_live), &rules());
        prop_assert!(after.is_empty(), "before {before}\nafter {after}\nlive {}\nthen {}", live.0, after_live.0);
        // And the other way round: an apply changes something exactly where there is one.
        let mut changed = compare_predicted(&after_live, &live, &rules());
        if before.is_certainly_empty() {
            // A zero inside a list that counts as one value is taken for a default.
            changed.fields.retain(|field| field.desired.is_some() || !field.live.as_ref().is_some_and(normal::is_zero));
            prop_assert!(changed.is_empty(), "changed {changed}\nlive {}\nthen {}", live.0, after_live.0);
        } else if !before.is_empty() {
            let same = body(&live) == body(&after_live);
            prop_assert!(!same, "before {before}\nlive {}\nthen {}", live.0, after_live.0);
        }
    }
}
