//! The keys `resource.customizations` and `resource.customizations.<type>.<group>_<Kind>`.

use std::collections::BTreeMap;

use resources::IgnoreDifference;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;

use crate::entries::{Entries, Entry, Key, KnownTypeField};
use crate::lua::Script;
use crate::{filter, options};

/// The old key with a map of all kinds, and the beginning of those that are about one kind.
const CUSTOMIZATIONS: &str = "resource.customizations";

/// Whether this crate reads a key.
pub(crate) fn is_read(key: &str) -> bool {
    key == CUSTOMIZATIONS
        || key.strip_prefix(CUSTOMIZATIONS).is_some_and(|rest| rest.starts_with('.'))
        || [filter::EXCLUSIONS, filter::INCLUSIONS, options::KEY].contains(&key)
}

/// A value in YAML, or in one sentence why not.
pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // As Argo CD's library reads: the last of two equal names counts.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| one_line(&error.to_string()))
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().trim_start_matches("error: ").into()
}

/// A value of nothing but blanks and comments, which counts as not there.
pub(crate) fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// What may be said of fields to ignore. The kind is in the key.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ignored {
    json_pointers: Option<Vec<String>>,
    jq_path_expressions: Option<Vec<String>>,
    managed_fields_managers: Option<Vec<String>>,
}

impl From<Ignored> for IgnoreDifference {
    fn from(ignored: Ignored) -> Self {
        Self {
            json_pointers: ignored.json_pointers.unwrap_or_default(),
            jq_path_expressions: ignored.jq_path_expressions.unwrap_or_default(),
            managed_fields_managers: ignored.managed_fields_managers.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Reads all that is said of kinds.
pub(crate) fn entries(data: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Entries {
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    if let Some(text) = data.get(CUSTOMIZATIONS).filter(|text| !is_blank(text)) {
        single(text, &mut entries, warnings);
    }
    for (name, value) in data {
        let Some(rest) = name.strip_prefix(CUSTOMIZATIONS).and_then(|rest| rest.strip_prefix('.')) else { continue };
        if let Err(why) = split(rest, value, &mut entries) {
            warnings.push(format!("{name}: {why}"));
        }
    }
    for entry in entries.values() {
        if let Some(error) = entry.health.as_ref().and_then(Script::error) {
            warnings.push(format!(
                "{CUSTOMIZATIONS}.{error}. Objects of the kind are Unknown until the script is repaired"
            ));
        }
    }
    Entries::new(entries)
}

/// One key of the form `<type>.<group>_<Kind>`.
fn split(rest: &str, value: &str, entries: &mut BTreeMap<Key, Entry>) -> Result<(), String> {
    let (kind_of_value, target) = rest.split_once('.').unwrap_or((rest, ""));
    if !TYPES.contains(&kind_of_value) {
        return Err(format!("there is no customization {kind_of_value:?}; there are {}", TYPES.join(", ")));
    }
    let key = if target == "all" { Some(Key::all()) } else { Key::parse(target, '_') };
    let key = key.ok_or_else(|| {
        format!(
            "it names no kind; write {CUSTOMIZATIONS}.{kind_of_value}.<group>_<Kind>, or only <Kind> for the core group"
        )
    })?;
    set(kind_of_value, &key, &Value::String(value.into()), entries)
}

/// What can be said of a kind. The last two are about Argo CD's console and cache, and change nothing here.
const TYPES: [&str; 6] =
    ["health", "useOpenLibs", "ignoreDifferences", "knownTypeFields", "actions", "ignoreResourceUpdates"];

fn set(kind_of_value: &str, key: &Key, value: &Value, entries: &mut BTreeMap<Key, Entry>) -> Result<(), String> {
    match kind_of_value {
        "health" => {
            let source = value.as_str().ok_or("the script is no text; write it as a block: |")?;
            let script = (!source.trim().is_empty()).then(|| Script::new(format!("health.{}", key.text('_')), source));
            entries.entry(key.clone()).or_default().health = script;
        }
        // All scripts have the same libraries.
        "useOpenLibs" => {
            is_bool(value).then_some(()).ok_or("it must be \"true\" or \"false\"")?;
        }
        "ignoreDifferences" => {
            let ignored: Option<Ignored> = nested(value).map_err(|why| {
                format!("{why}; write lists named jsonPointers, jqPathExpressions and managedFieldsManagers")
            })?;
            entries.entry(key.clone()).or_default().ignore_differences = ignored.map(IgnoreDifference::from);
        }
        "knownTypeFields" => {
            let fields: Option<Vec<KnownTypeField>> =
                nested(value).map_err(|why| format!("{why}; write a list of {{field, type}}"))?;
            entries.entry(key.clone()).or_default().known_type_fields = fields.unwrap_or_default();
        }
        _ => {}
    }
    Ok(())
}

/// As Go reads a bool.
fn is_bool(value: &Value) -> bool {
    const BOOLS: [&str; 12] = ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"];
    value.is_boolean() || value.as_str().is_some_and(|text| BOOLS.contains(&text.trim()))
}

/// A value that may be YAML inside YAML.
fn nested<T: DeserializeOwned>(value: &Value) -> Result<Option<T>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if is_blank(text) => Ok(None),
        Value::String(text) => yaml(text).map(Some),
        value => serde_json::from_value(value.clone()).map(Some).map_err(|error| error.to_string()),
    }
}

/// The old key: a map of `group/Kind` to all that is said of it.
fn single(text: &str, entries: &mut BTreeMap<Key, Entry>, warnings: &mut Vec<String>) {
    let kinds: Map<String, Value> = match yaml(text) {
        Ok(kinds) => kinds,
        Err(why) => {
            warnings.push(format!(
                "{CUSTOMIZATIONS}: {why}; write a map of group/Kind, with keys that begin with * quoted"
            ));
            return;
        }
    };
    for (name, said) in kinds {
        let mut warn = |why: String| warnings.push(format!("{CUSTOMIZATIONS}: {name}: {why}"));
        let Some(key) = Key::parse(&name, '/') else {
            warn("it names no kind; write group/Kind, or only Kind for the core group".into());
            continue;
        };
        let Value::Object(said) = said else {
            warn(format!("it must be a map with {}", FIELDS.map(|(field, _)| field).join(", ")));
            continue;
        };
        for (field, value) in said {
            let Some((_, kind_of_value)) = FIELDS.iter().find(|(own, _)| *own == field) else {
                warn(format!("there is no {field:?}; there are {}", FIELDS.map(|(field, _)| field).join(", ")));
                continue;
            };
            if let Err(why) = set(kind_of_value, &key, &value, entries) {
                warn(format!("{field}: {why}"));
            }
        }
    }
}

/// The fields of an entry of the old key, and what they are called as keys of their own.
const FIELDS: [(&str, &str); 6] = [
    ("health.lua", "health"),
    ("health.lua.useOpenLibs", "useOpenLibs"),
    ("ignoreDifferences", "ignoreDifferences"),
    ("knownTypeFields", "knownTypeFields"),
    ("actions", "actions"),
    ("ignoreResourceUpdates", "ignoreResourceUpdates"),
];
