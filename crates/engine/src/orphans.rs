//! Objects in an application's namespace that no application owns (`orphanedResources` of a project).
//!
//! ```
//! use engine::orphans::{orphans, sentence};
//! use engine::ownership::Tracking;
//! # let project = resources::AppProject::parse(serde_json::json!({
//! #     "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"}, "spec": {"orphanedResources": {}},
//! # })).unwrap();
//! let left = resources::Object(serde_json::json!({
//!     "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": "dev"},
//! }));
//! let found = orphans(&project, [&left], &Tracking::default(), |_application| true);
//! assert_eq!(sentence(&found).as_deref(), Some("1 object that no application owns: ConfigMap dev/left"));
//! ```

use resources::{AppProject, GroupKindName, Object, ObjectKey};
use serde_json::Value;

use crate::glob::matches;
use crate::ownership::{Tracking, owner_of};
use crate::project::kind_permitted;

/// So many objects are named in a sentence.
const NAMED: usize = 10;

/// The orphans among the objects of a namespace, in order; none where the project does not watch for them. Metadata is enough:
/// nothing else of an object is read.
///
/// `exists` tells whether there is an application of this instance name: what a deleted one has left behind is an orphan.
/// Left out is what the cluster makes by itself in each namespace, what another object owns, kinds that the project does not
/// permit, and what the project ignores.
pub fn orphans<'a>(
    project: &AppProject,
    objects: impl IntoIterator<Item = &'a Object>,
    tracking: &Tracking,
    exists: impl Fn(&str) -> bool,
) -> Vec<ObjectKey> {
    let Some(settings) = &project.spec.orphaned_resources else { return Vec::new() };
    let mut found: Vec<ObjectKey> = objects
        .into_iter()
        .filter(|object| !object.namespace().is_empty() && !object.is_being_deleted())
        .filter(|object| !has_owner(object) && !is_of_the_cluster(object))
        .filter(|object| owner_of(object, tracking).is_none_or(|application| !exists(&application)))
        .map(Object::key)
        .filter(|key| kind_permitted(project, &key.group, &key.kind, &key.name, true).is_ok())
        .filter(|key| !settings.ignore.iter().any(|pattern| ignores(pattern, key)))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// For a condition (`OrphanedResourceWarning`), where [`resources::OrphanedResources::warns`]; `None`: there are none.
pub fn sentence(orphans: &[ObjectKey]) -> Option<String> {
    let mut names: Vec<String> = orphans.iter().take(NAMED).map(ObjectKey::to_string).collect();
    if orphans.len() > NAMED {
        names.push(format!("and {} more", orphans.len() - NAMED));
    }
    let objects = if orphans.len() == 1 { "object" } else { "objects" };
    (!orphans.is_empty()).then(|| format!("{} {objects} that no application owns: {}", orphans.len(), names.join(", ")))
}

/// An empty kind or name means any, an empty group the core group.
fn ignores(pattern: &GroupKindName, key: &ObjectKey) -> bool {
    matches(&pattern.group, &key.group)
        && (pattern.kind.is_empty() || matches(&pattern.kind, &key.kind))
        && (pattern.name.is_empty() || matches(&pattern.name, &key.name))
}

fn has_owner(object: &Object) -> bool {
    object.at("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|owners| !owners.is_empty())
}

/// What Kubernetes itself puts into namespaces.
fn is_of_the_cluster(object: &Object) -> bool {
    match (object.group(), object.kind(), object.name()) {
        ("", "ConfigMap", "kube-root-ca.crt") | ("", "ServiceAccount", "default") => true,
        ("", "Service" | "Endpoints", "kubernetes") => object.namespace() == "default",
        ("", "Endpoints" | "Event", _)
        | ("events.k8s.io", "Event", _)
        | ("discovery.k8s.io", "EndpointSlice", _)
        | ("coordination.k8s.io", "Lease", _) => true,
        ("", "Secret", _) => object.annotation("kubernetes.io/service-account.name").is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ownership::stamp;

    fn object(version: &str, kind: &str, name: &str) -> Object {
        Object(json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "dev"}}))
    }

    fn found(settings: Value, objects: &[Object]) -> Vec<String> {
        let spec =
            json!({"orphanedResources": settings, "namespaceResourceBlacklist": [{"group": "", "kind": "LimitRange"}]});
        let project = AppProject::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"}, "spec": spec,
        }))
        .unwrap();
        let orphans = orphans(&project, objects, &Tracking::default(), |application| application == "gateway");
        orphans.into_iter().map(|key| format!("{} {}", key.kind, key.name)).collect()
    }

    #[test]
    fn who_is_an_orphan() {
        let with = |mut object: Object, pointer: &str, value: Value| {
            object.0["metadata"][pointer] = value;
            object
        };
        let owned = |application: &str| {
            let mut object = object("v1", "ConfigMap", "a");
            stamp(&mut object, application, "dev", &Tracking::default());
            object
        };
        let config = || object("v1", "ConfigMap", "a");
        let mut copied = config();
        copied.set_annotation("argocd.argoproj.io/tracking-id", "gateway:/ConfigMap:dev/b");
        let mut token = object("v1", "Secret", "default-token");
        token.set_annotation("kubernetes.io/service-account.name", "default");
        let in_default = |object| with(object, "namespace", json!("default"));
        for (object, want) in [
            (config(), true),
            (object("apps/v1", "Deployment", "a"), true),
            (object("v1", "Secret", "a"), true),
            (owned("gateway"), false),
            (owned("deleted"), true),
            (copied, true),
            (with(config(), "ownerReferences", json!([{"kind": "Deployment", "name": "a"}])), false),
            (with(config(), "ownerReferences", json!([])), true),
            (with(config(), "deletionTimestamp", json!("2026-01-01T00:00:00Z")), false),
            (with(object("v1", "Namespace", "dev"), "namespace", json!("")), false),
            (object("v1", "ConfigMap", "kube-root-ca.crt"), false),
            (object("v1", "ServiceAccount", "default"), false),
            (object("v1", "ServiceAccount", "deployer"), true),
            (token, false),
            (object("v1", "Service", "kubernetes"), true),
            (in_default(object("v1", "Service", "kubernetes")), false),
            (object("v1", "Endpoints", "a"), false),
            (object("v1", "Event", "a"), false),
            (object("events.k8s.io/v1", "Event", "a"), false),
            (object("discovery.k8s.io/v1", "EndpointSlice", "a"), false),
            (object("coordination.k8s.io/v1", "Lease", "a"), false),
            (object("v1", "LimitRange", "a"), false),
        ] {
            assert_eq!(found(json!({}), std::slice::from_ref(&object)).len(), usize::from(want), "{object:?}");
        }
        assert!(found(json!(null), &[config()]).is_empty(), "the project does not watch");
    }

    #[test]
    fn what_the_project_ignores() {
        let objects =
            [object("v1", "ConfigMap", "b"), object("v1", "ConfigMap", "a"), object("apps/v1", "Deployment", "a")];
        for (ignore, want) in [
            (json!([]), vec!["ConfigMap a", "ConfigMap b", "Deployment a"]),
            (json!([{"group": "", "kind": "ConfigMap"}]), vec!["Deployment a"]),
            (json!([{"group": "", "kind": "ConfigMap", "name": "a"}]), vec!["ConfigMap b", "Deployment a"]),
            (json!([{"group": "*", "kind": "*", "name": "a*"}]), vec!["ConfigMap b"]),
            (json!([{"group": "apps"}]), vec!["ConfigMap a", "ConfigMap b"]),
            (json!([{"group": "", "kind": "Deployment"}]), vec!["ConfigMap a", "ConfigMap b", "Deployment a"]),
            (json!([{"group": "*", "kind": "Deploy*"}, {"group": "", "kind": "", "name": "b"}]), vec!["ConfigMap a"]),
        ] {
            assert_eq!(found(json!({"ignore": ignore}), &objects), want, "{ignore}");
        }
    }

    #[test]
    fn sentences() {
        let keys = |count: usize| -> Vec<ObjectKey> {
            (0..count).map(|at| ObjectKey::new("", "ConfigMap", "dev", format!("n{at:02}"))).collect()
        };
        assert_eq!(sentence(&[]), None);
        assert!(sentence(&keys(10)).unwrap().ends_with("ConfigMap dev/n08, ConfigMap dev/n09"));
        let many = sentence(&keys(12)).unwrap();
        assert!(many.starts_with("12 objects that no application owns: ConfigMap dev/n00, "), "{many}");
        assert!(many.ends_with("ConfigMap dev/n09, and 2 more"), "{many}");
    }
}
