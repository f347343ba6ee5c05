//! What users wrote into Argo CD's ConfigMap `argocd-cm` for compare and health: `resource.customizations.*`,
//! `resource.exclusions`, `resource.inclusions` and `resource.compareoptions`.
//!
//! This crate does no I/O and knows no async runtime. It reads the clock for the time limit of scripts and for their `os.time`, and
//! for nothing else. A value that cannot be read never stops the others: it is left out, and [`Customizations::warnings`] says so.
//!
//! ```
//! use customizations::Customizations;
//! use resources::{HealthStatus, Object};
//! use serde_json::json;
//!
//! let data = [
//!     ("resource.customizations.health.example.com_Widget", "return { status = obj.status.phase, message = 'as it says' }"),
//!     ("resource.customizations.ignoreDifferences.all", "managedFieldsManagers: [kube-controller-manager]"),
//!     ("resource.exclusions", "[{apiGroups: ['*.example.net']}]"),
//! ];
//! let customizations = Customizations::parse(&data.map(|(key, value)| (key.into(), value.into())).into());
//! assert!(customizations.warnings().is_empty());
//!
//! let widget = Object(json!({ "apiVersion": "example.com/v1", "kind": "Widget", "status": { "phase": "Degraded" } }));
//! assert_eq!(customizations.health(&widget, jiff::Timestamp::now()).unwrap().status, HealthStatus::Degraded);
//! assert_eq!(customizations.ignore_differences()[0].kind, "*");
//! assert!(customizations.is_excluded("db.example.net", "Database", &["in-cluster"]));
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod entries;
mod filter;
mod keys;
mod lua;
mod options;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::compare::{KnownTypeField, SystemRules};
use engine::health::Health;
use entries::Entries;
use filter::Filters;
use jiff::Timestamp;
use resources::{IgnoreDifference, Object};
use sha2::{Digest as _, Sha256};

pub use options::CompareOptions;

/// What `argocd-cm` says about compare and health. [`Default`] says nothing.
///
/// Two are equal if they were read from the same values.
#[derive(Clone, Debug, Default)]
pub struct Customizations {
    entries: Entries,
    filters: Filters,
    compare_options: CompareOptions,
    warnings: Vec<String>,
    digest: String,
}

impl Customizations {
    /// Reads the `data` of the ConfigMap. Keys that are about something else are not looked at.
    pub fn parse(data: &BTreeMap<String, String>) -> Self {
        let mut warnings = Vec::new();
        let entries = keys::entries(data, &mut warnings);
        let filters = Filters::parse(data, &mut warnings);
        let compare_options = CompareOptions::parse(data, &mut warnings);
        Self { entries, filters, compare_options, warnings, digest: digest(data) }
    }

    /// Reads the ConfigMap itself, as the cluster has it or as a manifest.
    pub fn of_config_map(config_map: &Object) -> Self {
        let data = config_map.at("/data").and_then(|data| data.as_object()).into_iter().flatten();
        Self::parse(&data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
    }

    /// What could not be read and was left out: sentences that begin with the key and say what to do.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Changes when something changes that this crate reads, and only then. Empty where nothing is set.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The fields whose difference does not count in any application, for
    /// [`CompareRules`](engine::compare::CompareRules), beside the application's own.
    pub fn ignore_differences(&self) -> &[IgnoreDifference] {
        &self.entries.ignore_differences
    }

    /// All that holds for the comparison of every application's objects.
    pub fn system_rules(&self) -> SystemRules {
        let known = |(key, field): &(entries::Key, entries::KnownTypeField)| KnownTypeField {
            group: key.group.clone(),
            kind: key.kind.clone(),
            field: field.field.clone(),
            type_name: field.type_name.clone(),
        };
        SystemRules {
            ignore: self.ignore_differences().to_vec(),
            ignore_status: self.compare_options.ignore_resource_status_field,
            known_types: self.entries.known_type_fields.iter().map(known).collect(),
            ..SystemRules::default()
        }
    }

    /// `resource.compareoptions`.
    pub fn compare_options(&self) -> &CompareOptions {
        &self.compare_options
    }

    /// Whether objects of a kind are neither watched nor compared nor written. `cluster` is all that the cluster is called: its
    /// address, its name.
    pub fn is_excluded(&self, group: &str, kind: &str, cluster: &[&str]) -> bool {
        self.filters.is_excluded(group, kind, cluster)
    }

    /// Lists of kinds that cannot be read stay as they were: a typing error must not put what was left out under management.
    pub fn keep_from(&mut self, earlier: &Self) {
        self.filters.keep(&earlier.filters);
    }

    /// How well a live object is: by the user's Lua for its kind, or else by the engine's rules. An object that is being deleted is
    /// progressing, whatever its Lua would say. `None`: it has no health.
    ///
    /// A script ends within about a second, and blocks the thread for as long. `now` is for the engine's rules; scripts ask the clock.
    pub fn health(&self, object: &Object, now: Timestamp) -> Option<Health> {
        if object.is_being_deleted() {
            return engine::health::health(object, now);
        }
        match self.entries.script(object.group(), object.kind()) {
            Some(script) => script.judge(object),
            None => engine::health::health(object, now),
        }
    }
}

impl PartialEq for Customizations {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Customizations {}

fn digest(data: &BTreeMap<String, String>) -> String {
    let mut own = data.iter().filter(|(key, _)| keys::is_read(key)).peekable();
    if own.peek().is_none() {
        return String::new();
    }
    let mut text = String::new();
    for (key, value) in own {
        // Lengths keep one key with a long value apart from two keys.
        let _ = write!(text, "{} {} {key}{value}", key.len(), value.len());
    }
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests;
