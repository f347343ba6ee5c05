//! What `argocd-cm` says about compare and health, as it is now.

use std::sync::{Arc, PoisonError, RwLock};

use customizations::Customizations;
use engine::compare::SystemRules;
use engine::ownership::{Tracking, TrackingMethod};
use resources::Object;

/// The ConfigMap, as in Argo CD.
pub const CONFIG_MAP: &str = "argocd-cm";

/// What holds for every application; cheap to ask, replaced as a whole.
#[derive(Debug, Default)]
pub struct Current(RwLock<Arc<Settings>>);

/// The ConfigMap's content, ready for use.
#[derive(Debug, Default)]
pub struct Settings {
    /// As it was read.
    pub customizations: Customizations,
    /// What of it the comparison needs.
    pub system: SystemRules,
}

impl Current {
    /// As it is now.
    pub fn get(&self) -> Arc<Settings> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up what the ConfigMap says, or that there is none; tells whether anything is different.
    pub fn set(&self, config_map: Option<&Object>) -> bool {
        let mut customizations = config_map.map(Customizations::of_config_map).unwrap_or_default();
        let earlier = self.get();
        if customizations == earlier.customizations {
            return false;
        }
        customizations.keep_from(&earlier.customizations);
        for warning in customizations.warnings() {
            tracing::warn!(warning, "customizations.left_out: {CONFIG_MAP}");
        }
        let system = customizations.system_rules();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Settings { customizations, system });
        true
    }
}

/// How ownership is written and read: `application.resourceTrackingMethod`, `application.instanceLabelKey`, `installationID`.
pub fn tracking(config_map: Option<&Object>) -> Tracking {
    let data = config_map.and_then(|config_map| config_map.at("/data"));
    let text = |key: &str| data.and_then(|data| data.get(key)?.as_str()).map(str::trim).filter(|text| !text.is_empty());
    let default = Tracking::default();
    Tracking {
        method: text("application.resourceTrackingMethod").map(TrackingMethod::parse).unwrap_or_default(),
        label_key: text("application.instanceLabelKey").map_or(default.label_key, str::to_owned),
        installation_id: text("installationID").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use engine::compare::IgnoreStatus;
    use serde_json::json;

    use super::*;

    #[test]
    fn how_ownership_is_written() {
        let map = |data: serde_json::Value| Object(json!({ "kind": "ConfigMap", "data": data }));
        assert_eq!(tracking(None), Tracking::default());
        let set = tracking(Some(&map(json!({
            "application.resourceTrackingMethod": "annotation+label",
            "application.instanceLabelKey": "example.com/instance",
            "installationID": "one",
        }))));
        assert_eq!(set.method, TrackingMethod::AnnotationAndLabel);
        assert_eq!((set.label_key.as_str(), set.installation_id.as_deref()), ("example.com/instance", Some("one")));
        assert_eq!(tracking(Some(&map(json!({ "installationID": " " })))), Tracking::default());
    }

    #[test]
    fn only_what_is_read_counts_as_a_change() {
        let current = Current::default();
        let map = |data: serde_json::Value| Object(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data }));
        assert!(!current.set(Some(&map(json!({ "url": "https://argocd.example.com" })))));
        let known = "- field: spec.cpu\n  type: core/Quantity\n";
        assert!(current.set(Some(&map(json!({
            "resource.customizations.knownTypeFields.example.com_Widget": known,
            "resource.customizations.ignoreDifferences.apps_Deployment": "jsonPointers: [/spec/replicas]",
            "resource.compareoptions": "ignoreResourceStatusField: none",
        })))));
        let settings = current.get();
        assert_eq!(settings.system.ignore[0].kind, "Deployment");
        assert_eq!(settings.system.ignore_status, IgnoreStatus::None);
        let known = &settings.system.known_types[0];
        assert_eq!((known.group.as_str(), known.field.as_str()), ("example.com", "spec.cpu"));
        assert!(current.set(None));
        assert!(current.get().system.ignore.is_empty());
    }
}
