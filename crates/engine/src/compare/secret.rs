//! The data of Secrets: `data` and `stringData` are compared as the bytes that both become; of live ones a digest is enough.

use resources::{is_secret_digest, secret_digest};
use serde_json::{Map, Value};

use super::normal::{base64_bytes, is_blank};
use super::walk::{Here, Walker};

impl<'a> Walker<'a> {
    pub(super) fn secret_data(
        &mut self,
        here: &Here<'_, 'a>,
        desired: &Map<String, Value>,
        live: &'a Map<String, Value>,
    ) {
        let wanted = Wanted { text: map(desired.get("stringData")), data: map(desired.get("data")) };
        let live = map(live.get("data"));
        let Some(ignore) = here.ignore.field("data") else { return };
        let Some(ignore_text) = here.ignore.field("stringData") else { return };
        let path = here.path.child("data");
        let sets = self.managed.field(here.sets, "data");
        for name in wanted.names() {
            let Some(rest) = ignore.field(name) else { continue };
            if ignore_text.field(name).is_none() {
                continue;
            }
            let path = path.child(name);
            let sets = self.managed.field(&sets, name);
            let value = live.and_then(|live| live.get(name));
            if !wanted.agrees(name, value) {
                let child = Here { path: &path, sets: &sets, prior: None, ignore: &rest, inside: false };
                self.report(&child, wanted.value(name), value);
            }
        }
        let had = |field: &str, name: &str| here.prior.and_then(|prior| prior.get(field)?.get(name));
        for (name, value) in live.into_iter().flatten().filter(|(name, _)| wanted.value(name).is_none()) {
            let Some(rest) = ignore.field(name) else { continue };
            let path = path.child(name);
            let sets = self.managed.field(&sets, name);
            let prior = had("data", name).or_else(|| had("stringData", name));
            let prior = here.prior.map(|_| prior.unwrap_or(&Value::Null));
            self.extra(&Here { path: &path, sets: &sets, prior, ignore: &rest, inside: false }, value, false);
        }
    }
}

fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// What the manifest wants; `stringData` wins over `data`.
struct Wanted<'d> {
    text: Option<&'d Map<String, Value>>,
    data: Option<&'d Map<String, Value>>,
}

impl<'d> Wanted<'d> {
    fn names(&self) -> impl Iterator<Item = &'d String> {
        let (text, data) = (self.text, self.data);
        let only_data = data.into_iter().flatten().filter(move |(name, _)| get(text, name).is_none());
        let all = only_data.chain(text.into_iter().flatten());
        all.filter(|(_, value)| !value.is_null()).map(|(name, _)| name)
    }

    fn value(&self, name: &str) -> Option<&'d Value> {
        get(self.text, name).or_else(|| get(self.data, name))
    }

    fn agrees(&self, name: &str, live: Option<&Value>) -> bool {
        let bytes = match (get(self.text, name), get(self.data, name)) {
            (Some(text), _) => text.as_str().map(|text| text.as_bytes().to_vec()),
            (None, data) if data == live => return true,
            (None, data) => data.and_then(Value::as_str).and_then(base64_bytes),
        };
        let Some(bytes) = bytes else { return false };
        match live {
            Some(live) if !is_blank(live) => match live.as_str() {
                // The store of live objects keeps no values.
                Some(digest) if is_secret_digest(digest) => secret_digest(&bytes) == digest,
                Some(live) => base64_bytes(live).is_some_and(|live| live == bytes),
                None => false,
            },
            Some(_) => bytes.is_empty(),
            None => false,
        }
    }
}

fn get<'d>(map: Option<&'d Map<String, Value>>, name: &str) -> Option<&'d Value> {
    map?.get(name).filter(|value| !value.is_null())
}
