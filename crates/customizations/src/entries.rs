//! What is said of kinds: scripts, ignored fields and known types, by group and kind or by a pattern.

use std::collections::HashMap;

use engine::glob::Pattern;
use resources::IgnoreDifference;
use serde::Deserialize;

use crate::lua::Script;

/// A field that holds a value of a type of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct KnownTypeField {
    /// Its path: `spec.resources.cpu`.
    pub(crate) field: String,
    /// The type: `core/Quantity`.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
}

/// What is said of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) health: Option<Script>,
    pub(crate) ignore_differences: Option<IgnoreDifference>,
    pub(crate) known_type_fields: Vec<KnownTypeField>,
}

/// The key of an entry: `example.com/Widget`, `Pod`, `*.example.com/*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) kind: String,
}

impl Key {
    /// Group and kind with something between them; without it the kind is one of the core group.
    pub(crate) fn parse(text: &str, between: char) -> Option<Self> {
        let (group, kind) = text.split_once(between).unwrap_or(("", text));
        let valid = !kind.is_empty() && !kind.contains(between);
        valid.then(|| Self { group: group.into(), kind: kind.into() })
    }

    /// Every kind.
    pub(crate) fn all() -> Self {
        Self { group: "*".into(), kind: "*".into() }
    }

    /// Group and kind with something between them, or the kind alone.
    pub(crate) fn text(&self, between: char) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}{between}{}", self.group, self.kind) }
    }

    fn is_pattern(&self) -> bool {
        [&self.group, &self.kind].iter().any(|text| text.contains(['*', '?', '[', '{']))
    }

    /// How much of it is text, so that `db.example.com/*` comes before `*.example.com/*`.
    fn weight(&self) -> usize {
        let text = self.group.chars().chain(self.kind.chars());
        text.filter(|c| !matches!(c, '*' | '?' | '[' | ']' | '{' | '}')).count()
    }
}

/// All that is said of kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    scripts: HashMap<String, HashMap<String, Script>>,
    /// Those for many kinds, the narrowest first. A pattern is one over group and kind together, as in Argo CD: `*/*` is no kind of
    /// the core group.
    wild: Vec<(Pattern, Script)>,
    pub(crate) ignore_differences: Vec<IgnoreDifference>,
    pub(crate) known_type_fields: Vec<(Key, KnownTypeField)>,
}

impl Entries {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Key, Entry)>) -> Self {
        let (mut own, mut wild) = (Self::default(), Vec::new());
        for (key, entry) in entries {
            own.ignore_differences.extend(entry.ignore_differences.map(|ignored| IgnoreDifference {
                group: key.group.clone(),
                kind: key.kind.clone(),
                ..ignored
            }));
            own.known_type_fields.extend(entry.known_type_fields.into_iter().map(|field| (key.clone(), field)));
            match entry.health {
                Some(script) if key.is_pattern() => wild.push((key, script)),
                Some(script) => {
                    own.scripts.entry(key.group).or_default().insert(key.kind, script);
                }
                None => {}
            }
        }
        wild.sort_by(|(one, _), (two, _)| two.weight().cmp(&one.weight()).then_with(|| one.cmp(two)));
        own.wild = wild.into_iter().map(|(key, script)| (Pattern::new(&key.text('/')), script)).collect();
        own
    }

    /// The script for a kind: that of the kind itself, or else that of the narrowest pattern.
    pub(crate) fn script(&self, group: &str, kind: &str) -> Option<&Script> {
        let exact = self.scripts.get(group).and_then(|kinds| kinds.get(kind));
        if exact.is_some() || self.wild.is_empty() {
            return exact;
        }
        let text = Key { group: group.into(), kind: kind.into() }.text('/');
        self.wild.iter().find(|(pattern, _)| pattern.matches(&text)).map(|(_, script)| script)
    }
}
