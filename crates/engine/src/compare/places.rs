//! Places in one object, as a tree beside it: what a jq expression selects.

use std::collections::{BTreeMap, HashMap};

use jaq_json::Val;
use serde_json::Value;

/// Places in an object. Those that the object does not have are kept too, as far as they lead through fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The place itself, with all that is in it.
    whole: bool,
    fields: HashMap<String, Places>,
    items: BTreeMap<usize, Places>,
}

impl Places {
    /// Whether this place is one of them.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        !self.whole && self.fields.is_empty() && self.items.is_empty()
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.fields.get(name)
    }

    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        self.items.get(&index)
    }

    /// Adds a place by a path as `path(…)` gives it. One that cannot be in the object is left out.
    pub(super) fn add(&mut self, path: &[Val], object: &Value) {
        let mut here = self;
        let mut value = Some(object);
        // The part of a list that a slice has taken: `.[1:3][0]` is `.[1]`.
        let mut window: Option<(usize, usize)> = None;
        for step in path {
            match step {
                Val::TStr(name) => {
                    let Ok(name) = std::str::from_utf8(name) else { return };
                    if window.is_some() || !matches!(value, None | Some(Value::Null | Value::Object(_))) {
                        return;
                    }
                    value = value.and_then(|value| value.get(name));
                    here = here.fields.entry(name.to_owned()).or_default();
                }
                Val::Num(number) => {
                    let Some(items) = value.and_then(Value::as_array) else { return };
                    let (start, length) = window.take().unwrap_or((0, items.len()));
                    let Some(index) = number.as_isize().and_then(|index| within(index, length)) else { return };
                    value = items.get(start + index);
                    here = here.items.entry(start + index).or_default();
                }
                Val::Obj(slice) => {
                    let Some(items) = value.and_then(Value::as_array) else { return };
                    let (start, length) = window.unwrap_or((0, items.len()));
                    let bound = |name: &str| match slice.get(&Val::utf8_str(name.to_owned())) {
                        Some(Val::Num(number)) => number.as_isize().map(|index| clipped(index, length)),
                        _ => None,
                    };
                    let (from, to) = (bound("start").unwrap_or(0), bound("end").unwrap_or(length));
                    window = Some((start + from, to.saturating_sub(from)));
                }
                _ => return,
            }
        }
        match window {
            None => here.whole = true,
            Some((start, length)) => {
                for index in start..start + length {
                    here.items.entry(index).or_default().whole = true;
                }
            }
        }
    }

    /// Adds all places of another set.
    pub(super) fn absorb(&mut self, other: Self) {
        self.whole |= other.whole;
        for (name, places) in other.fields {
            self.fields.entry(name).or_default().absorb(places);
        }
        for (index, places) in other.items {
            self.items.entry(index).or_default().absorb(places);
        }
    }

    /// Makes two fields one: what is meant in one of them is meant in the other.
    pub(super) fn join(&mut self, one: &str, other: &str) {
        let mut both = self.fields.get(one).cloned().unwrap_or_default();
        both.absorb(self.fields.get(other).cloned().unwrap_or_default());
        if !both.is_empty() {
            self.fields.insert(one.to_owned(), both.clone());
            self.fields.insert(other.to_owned(), both);
        }
    }

    /// The value without these places.
    #[cfg(test)]
    pub(super) fn removed_from(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(name, _)| !self.field(name).is_some_and(Self::is_whole));
                let deeper = |(name, value): (&String, &Value)| {
                    (name.clone(), self.field(name).map_or_else(|| value.clone(), |places| places.removed_from(value)))
                };
                Value::Object(kept.map(deeper).collect())
            }
            Value::Array(items) => {
                let kept = items.iter().enumerate().filter(|(index, _)| !self.item(*index).is_some_and(Self::is_whole));
                let deeper = |(index, value): (usize, &Value)| {
                    self.item(index).map_or_else(|| value.clone(), |places| places.removed_from(value))
                };
                Value::Array(kept.map(deeper).collect())
            }
            other => other.clone(),
        }
    }
}

/// An index that may count from the end, in a list of this length.
fn within(index: isize, length: usize) -> Option<usize> {
    let index = if index < 0 { length.checked_sub(index.unsigned_abs())? } else { index.unsigned_abs() };
    (index < length).then_some(index)
}

/// The same for the bound of a slice.
fn clipped(index: isize, length: usize) -> usize {
    if index < 0 { length.saturating_sub(index.unsigned_abs()) } else { index.unsigned_abs().min(length) }
}
