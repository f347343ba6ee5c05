//! `resource.compareoptions`.

use std::collections::BTreeMap;

use engine::compare::IgnoreStatus;
use serde_json::{Map, Value};

use crate::keys;

pub(crate) const KEY: &str = "resource.compareoptions";

/// How objects are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareOptions {
    /// The rules of a ClusterRole with an `aggregationRule` do not count.
    pub ignore_aggregated_roles: bool,
    /// Of which objects `status` does not count.
    pub ignore_resource_status_field: IgnoreStatus,
    /// A change in a field that is ignored does not make an application be compared again.
    pub ignore_differences_on_resource_updates: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            ignore_aggregated_roles: false,
            ignore_resource_status_field: IgnoreStatus::All,
            ignore_differences_on_resource_updates: true,
        }
    }
}

impl CompareOptions {
    pub(crate) fn parse(data: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Self {
        let mut options = Self::default();
        let Some(text) = data.get(KEY).filter(|text| !keys::is_blank(text)) else { return options };
        let fields: Map<String, Value> = match keys::yaml(text) {
            Ok(fields) => fields,
            Err(why) => {
                warnings.push(format!("{KEY}: {why}; write a map of options"));
                return options;
            }
        };
        for (name, value) in &fields {
            if let Err(why) = options.set(name, value) {
                warnings.push(format!("{KEY}: {name}: {why}"));
            }
        }
        options
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), &'static str> {
        let switch = || match value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => Err("it must be true or false"),
        };
        match name {
            "ignoreAggregatedRoles" => self.ignore_aggregated_roles = switch()?,
            "ignoreDifferencesOnResourceUpdates" => self.ignore_differences_on_resource_updates = switch()?,
            "ignoreResourceStatusField" => {
                self.ignore_resource_status_field = match value {
                    Value::String(text) if let Some(status) = IgnoreStatus::parse(text) => status,
                    // An `off` without quotes is false for some readers of YAML.
                    Value::Bool(false) => IgnoreStatus::None,
                    _ => return Err("it must be all, crd or none; status is ignored everywhere"),
                }
            }
            _ => return Err("there is no such option"),
        }
        Ok(())
    }
}
