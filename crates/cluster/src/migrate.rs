//! Taking an object over from those who wrote it before: `kubectl apply`, Argo CD.
//!
//! Server-side apply removes a field that is no longer in the manifest only if the manager that applies owned it and nobody
//! else does. What others wrote before us would stay for ever. So their ownership becomes ours, by one patch of
//! `metadata.managedFields`: no field of the object changes by it, no generation, no pod.
//!
//! A set of fields belongs to the version in which it was written, and a manager has one set only. Of an object that was
//! written in several versions, the sets that ours cannot take in go to managers of their own
//! (`lockstep-before-autoscaling.v1`), which apply nothing after our apply: so the API server converts the sets, and what
//! nobody else owns goes.

use resources::{Object, ObjectKey};
use serde_json::{Map, Value, json};

use crate::client::{Applied, ApplyOptions, Call, Cluster, Query, Target, Validate, parse};
use crate::error::{ClusterError, Subject};
use crate::limiter::Priority;

/// Another writer may be faster this often.
const ATTEMPTS: u32 = 5;

type Fields = Map<String, Value>;

impl Cluster {
    /// Makes what the managers `from` own of an object ours, without changing the object: fields that they wrote go with the
    /// first apply that does not have them. Tells whether there was anything to do; a missing object is no error.
    ///
    /// Only fields of the object itself are taken over, never its status and never those of a subresource (a scale, for
    /// example). The annotation `kubectl.kubernetes.io/last-applied-configuration` is one of them: it goes with the next apply
    /// and not here, because a Deployment counts a change of its annotations as a new generation. The cluster's own manager may be among them: what it wrote by [`Cluster::replace`] is then owned as if it were applied.
    ///
    /// [`Cluster::apply`] does this by itself, see [`ApplyOptions::migrate_from`].
    pub async fn migrate(&self, key: &ObjectKey, from: &[String]) -> Result<bool, ClusterError> {
        let (path, subject) = self.path_of("take over", key).await?;
        self.migrate_at(&subject, &path, from, self.field_manager(), None).await
    }

    /// Whether one of these managers owns fields of this object that [`Cluster::migrate`] would make ours. The object must
    /// have all its managed fields: for one of a [`crate::LiveStore`], ask [`crate::LiveStore::needs_migration`].
    pub fn needs_migration(&self, object: &Object, from: &[String]) -> bool {
        others(object, self.field_manager()).any(|manager| is_taken(manager, from, self.field_manager()))
    }

    /// `known` is the object as it was a moment ago, where that is known.
    pub(crate) async fn migrate_at(
        &self,
        subject: &Subject<'_>,
        path: &str,
        from: &[String],
        ours: &str,
        known: Option<&Object>,
    ) -> Result<bool, ClusterError> {
        let mut query = Query::default();
        query.add("fieldManager", ours);
        let mut known = known.cloned();
        let mut attempt = 1;
        loop {
            let live = match known.take() {
                Some(live) => live,
                None => match self.metadata(subject, path).await? {
                    Some(live) => live,
                    None => return Ok(false),
                },
            };
            let Some(patch) = migration(&live, from, ours) else { return Ok(false) };
            let mut call = Call::merge_patch(format!("{path}?{query}"), &patch);
            (call.accept, call.priority) = (PARTIAL, Priority::Bulk);
            match self.call(subject, &call).await {
                Ok(_) => return Ok(true),
                Err(ClusterError::NotFound(_)) => return Ok(false),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn metadata(&self, subject: &Subject<'_>, path: &str) -> Result<Option<Object>, ClusterError> {
        let mut call = Call::get(path.to_owned());
        (call.accept, call.priority) = (PARTIAL, Priority::Bulk);
        match self.call(subject, &call).await {
            Ok(reply) => Ok(Some(parse(subject, &reply.text)?)),
            Err(ClusterError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After an apply: its answer shows who else owns fields. Costs nothing where it shows nobody.
    pub(crate) async fn take_over(
        &self,
        target: &Target<'_>,
        object: &Object,
        options: &ApplyOptions,
        mut applied: Applied,
    ) -> Result<Applied, ClusterError> {
        let from = &options.migrate_from;
        let ours = options.field_manager.as_deref().unwrap_or(self.field_manager());
        if applied.created || !others(&applied.object, ours).any(|manager| is_taken(manager, from, ours)) {
            return Ok(applied);
        }
        if self.migrate_at(&target.subject, &target.path, from, ours, Some(&applied.object)).await? {
            applied.then(self.apply_once(target, object, options).await?);
        }
        let remainders: Vec<String> =
            others(&applied.object, ours).filter(|manager| is_remainder(manager, ours)).map(str::to_owned).collect();
        for manager in remainders {
            let mut nothing = json!({"apiVersion": object.api_version(), "kind": object.kind(),
                "metadata": {"name": object.name()}});
            if !object.namespace().is_empty() {
                nothing["metadata"]["namespace"] = object.namespace().into();
            }
            let options = ApplyOptions {
                field_manager: Some(manager),
                live_version: options.live_version.clone(),
                validate: Validate::Ignore,
                ..ApplyOptions::default()
            };
            applied.then(self.apply_once(target, &Object(nothing), &options).await?);
        }
        Ok(applied)
    }
}

/// Metadata is enough to move ownership.
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The managers, other than our own apply, that own more of the object itself than its status.
pub(crate) fn others<'a>(object: &'a Object, ours: &'a str) -> impl Iterator<Item = &'a str> {
    entries(object).iter().filter(move |entry| is_somebody_elses(entry, ours)).map(|entry| text(entry, "manager"))
}

/// Whether a manager's fields are to become ours: named, or left by a migration that was not finished.
pub(crate) fn is_taken(manager: &str, from: &[String], ours: &str) -> bool {
    from.iter().any(|name| name == manager) || is_remainder(manager, ours)
}

fn is_remainder(manager: &str, ours: &str) -> bool {
    manager.strip_prefix(ours).is_some_and(|rest| rest.starts_with("-before-"))
}

fn remainder(ours: &str, version: &str) -> String {
    format!("{ours}-before-{}", version.replace('/', "."))
}

fn entries(object: &Object) -> &[Value] {
    object.at("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_our_apply(entry: &Value, ours: &str) -> bool {
    text(entry, "manager") == ours && text(entry, "operation") == "Apply" && text(entry, "subresource").is_empty()
}

fn is_somebody_elses(entry: &Value, ours: &str) -> bool {
    let fields = entry.get("fieldsV1").and_then(Value::as_object);
    text(entry, "subresource").is_empty()
        && !is_our_apply(entry, ours)
        && fields.is_some_and(|fields| fields.keys().any(|name| name != "f:status"))
}

/// The merge patch that moves ownership; none if there is nothing to move.
fn migration(live: &Object, from: &[String], ours: &str) -> Option<Value> {
    let fields = moved(entries(live), from, ours)?;
    Some(json!({"metadata": {"resourceVersion": live.resource_version(), "managedFields": fields}}))
}

/// The managed fields, with what `from` owns in our own entry.
fn moved(entries: &[Value], from: &[String], ours: &str) -> Option<Vec<Value>> {
    let moves =
        |entry: &Value| is_somebody_elses(entry, ours) && from.iter().any(|name| name == text(entry, "manager"));
    // Times are of one form and in one zone: they compare as texts.
    let newest = entries.iter().filter(|entry| moves(entry)).max_by_key(|entry| text(entry, "time"))?;
    let base = entries.iter().find(|entry| is_our_apply(entry, ours)).unwrap_or(newest);
    let version = text(base, "apiVersion").to_owned();
    let mut result: Vec<Value> = Vec::with_capacity(entries.len() + 1);
    let mut sets: Vec<(String, Value)> = Vec::new();
    for entry in entries {
        let (manager, moving) = (text(entry, "manager"), moves(entry));
        let owner = match text(entry, "apiVersion") {
            _ if is_our_apply(entry, ours) || is_remainder(manager, ours) => manager.to_owned(),
            _ if !moving => {
                result.push(entry.clone());
                continue;
            }
            theirs if theirs == version => ours.to_owned(),
            theirs => remainder(ours, theirs),
        };
        let mut set = entry.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default();
        if moving && let Some(status) = set.shift_remove("f:status") {
            let mut rest = entry.clone();
            rest["fieldsV1"] = json!({"f:status": status});
            result.push(rest);
        }
        match sets.iter_mut().find(|(name, _)| *name == owner) {
            Some((_, known)) => {
                if let Some(fields) = known.get_mut("fieldsV1").and_then(Value::as_object_mut) {
                    union(fields, &set);
                }
            }
            None => {
                let mut entry = entry.clone();
                entry["manager"] = owner.as_str().into();
                entry["operation"] = "Apply".into();
                entry["fieldsV1"] = set.into();
                sets.push((owner, entry));
            }
        }
    }
    result.extend(sets.into_iter().map(|(_, entry)| entry));
    Some(result)
}

/// Adds one set of fields to another. A name with nothing below it is a field that is owned as such; one with something below
/// it is owned itself only if it has the member `.`.
fn union(into: &mut Fields, other: &Fields) {
    for (name, below) in other {
        let Some(below) = below.as_object() else { continue };
        match into.get_mut(name).and_then(Value::as_object_mut) {
            None => {
                into.insert(name.clone(), Value::Object(below.clone()));
            }
            Some(known) if known.is_empty() && below.is_empty() => {}
            Some(known) => {
                if name != "." && (known.is_empty() || below.is_empty()) {
                    known.insert(".".into(), json!({}));
                }
                union(known, below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, version: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": version, "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn at(mut entry: Value, field: &str, value: &str) -> Value {
        entry[field] = value.into();
        entry
    }

    fn from(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// `manager/operation version {fields}`, one line each, in order.
    fn lines(entries: &[Value]) -> Vec<String> {
        let line = |entry: &Value| {
            let (manager, operation, version) =
                (text(entry, "manager"), text(entry, "operation"), text(entry, "apiVersion"));
            format!("{manager}/{operation} {version} {}", entry["fieldsV1"].to_string().replace('"', ""))
        };
        let mut lines: Vec<String> = entries.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn sets_are_joined() {
        let cases = [
            (json!({}), json!({"f:a": {}}), json!({"f:a": {}})),
            (json!({"f:a": {}}), json!({"f:a": {}}), json!({"f:a": {}})),
            (json!({"f:a": {}}), json!({"f:b": {}}), json!({"f:a": {}, "f:b": {}})),
            // Owned as a whole and in parts: both.
            (json!({"f:a": {}}), json!({"f:a": {"f:b": {}}}), json!({"f:a": {".": {}, "f:b": {}}})),
            (json!({"f:a": {"f:b": {}}}), json!({"f:a": {}}), json!({"f:a": {".": {}, "f:b": {}}})),
            (
                json!({"f:a": {".": {}, "f:b": {}}}),
                json!({"f:a": {".": {}, "f:c": {}}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}}),
            ),
            (
                json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}),
                json!({"f:l": {"k:{\"name\":\"b\"}": {".": {}}, "k:{\"name\":\"a\"}": {"f:env": {}}}}),
                json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:env": {}}, "k:{\"name\":\"b\"}": {".": {}}}}),
            ),
        ];
        for (a, b, want) in cases {
            let mut joined = a.as_object().unwrap().clone();
            union(&mut joined, b.as_object().unwrap());
            assert_eq!(Value::Object(joined), want, "{a} {b}");
        }
    }

    #[test]
    fn whose_fields_become_ours() {
        let kubectl = || entry("kubectl-client-side-apply", "Update", "apps/v1", json!({"f:spec": {"f:a": {}}}));
        let argocd = || entry("argocd-controller", "Apply", "apps/v1", json!({"f:spec": {"f:b": {}}}));
        let ours = || entry("lockstep", "Apply", "apps/v1", json!({"f:spec": {"f:c": {}}}));
        let replaced = || entry("lockstep", "Update", "apps/v1", json!({"f:spec": {"f:d": {}}}));
        let scale = || at(argocd(), "subresource", "scale");
        let status = || entry("argocd-controller", "Update", "apps/v1", json!({"f:status": {"f:x": {}}}));
        let both =
            || entry("argocd-controller", "Update", "apps/v1", json!({"f:spec": {"f:e": {}}, "f:status": {"f:x": {}}}));
        let old = || entry("kubectl-client-side-apply", "Update", "apps/v1beta1", json!({"f:spec": {"f:f": {}}}));
        let left = || entry("lockstep-before-apps.v1beta1", "Apply", "apps/v1beta1", json!({"f:spec": {"f:g": {}}}));
        type Case = (&'static str, Vec<Value>, &'static [&'static str]);
        let all = from(&["kubectl-client-side-apply", "argocd-controller", "lockstep"]);
        let cases: [Case; 11] = [
            ("one becomes ours", vec![kubectl()], &["lockstep/Apply apps/v1 {f:spec:{f:a:{}}}"]),
            ("an applier too", vec![argocd()], &["lockstep/Apply apps/v1 {f:spec:{f:b:{}}}"]),
            (
                "all are one",
                vec![argocd(), ours(), kubectl(), replaced()],
                &["lockstep/Apply apps/v1 {f:spec:{f:b:{},f:c:{},f:a:{},f:d:{}}}"],
            ),
            ("ours alone", vec![ours()], &[]),
            ("subresources stay", vec![scale(), ours()], &[]),
            ("the status stays", vec![status()], &[]),
            (
                "the status stays where it was",
                vec![both()],
                &["argocd-controller/Update apps/v1 {f:status:{f:x:{}}}", "lockstep/Apply apps/v1 {f:spec:{f:e:{}}}"],
            ),
            (
                "a stranger stays",
                vec![at(kubectl(), "manager", "kubectl-edit"), kubectl()],
                &["kubectl-edit/Update apps/v1 {f:spec:{f:a:{}}}", "lockstep/Apply apps/v1 {f:spec:{f:a:{}}}"],
            ),
            ("one in another version", vec![old()], &["lockstep/Apply apps/v1beta1 {f:spec:{f:f:{}}}"]),
            (
                "several versions",
                vec![old(), at(kubectl(), "time", "2026-02-01T00:00:00Z")],
                &[
                    "lockstep-before-apps.v1beta1/Apply apps/v1beta1 {f:spec:{f:f:{}}}",
                    "lockstep/Apply apps/v1 {f:spec:{f:a:{}}}",
                ],
            ),
            (
                "what was left behind is kept",
                vec![left(), ours(), old()],
                &[
                    "lockstep-before-apps.v1beta1/Apply apps/v1beta1 {f:spec:{f:g:{},f:f:{}}}",
                    "lockstep/Apply apps/v1 {f:spec:{f:c:{}}}",
                ],
            ),
        ];
        for (name, entries, want) in cases {
            let result = moved(&entries, &all, "lockstep").unwrap_or_default();
            assert_eq!(lines(&result), want, "{name}");
            let again = result.iter().filter(|entry| is_somebody_elses(entry, "lockstep")).map(|e| text(e, "manager"));
            let again: Vec<&str> = again.filter(|manager| all.iter().any(|from| from == manager)).collect();
            assert!(again.is_empty(), "{name}: {again:?}");
        }
    }

    #[test]
    fn the_annotation_of_client_side_apply_is_owned_and_not_touched() {
        let owned = json!({"f:metadata": {"f:annotations": {".": {}, "f:copy": {}}}, "f:data": {"f:a": {}}});
        let object =
            Object(json!({"metadata": {"resourceVersion": "7", "annotations": {"copy": "{}"}, "managedFields": [
            entry("kubectl-client-side-apply", "Update", "v1", owned)]}}));
        let patch = migration(&object, &from(&["kubectl-client-side-apply"]), "lockstep").unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert!(patch["metadata"].get("annotations").is_none());
        assert_eq!(
            lines(patch["metadata"]["managedFields"].as_array().unwrap()),
            ["lockstep/Apply v1 {f:metadata:{f:annotations:{.:{},f:copy:{}}},f:data:{f:a:{}}}"]
        );
    }

    #[test]
    fn who_is_taken_over() {
        let object = Object(json!({"metadata": {"managedFields": [
            entry("kube-controller-manager", "Update", "v1", json!({"f:status": {}})),
            entry("kubectl-edit", "Update", "v1", json!({"f:spec": {}})),
            entry("lockstep", "Apply", "v1", json!({"f:spec": {}})),
            entry("lockstep", "Update", "v1", json!({"f:spec": {}})),
            entry("lockstep-before-x.v1", "Apply", "x/v1", json!({"f:spec": {}}))]}}));
        let found: Vec<&str> = others(&object, "lockstep").collect();
        assert_eq!(found, ["kubectl-edit", "lockstep", "lockstep-before-x.v1"]);
        let names = from(&["kubectl-client-side-apply"]);
        assert!(is_taken("kubectl-client-side-apply", &names, "lockstep"));
        assert!(is_taken("lockstep-before-x.v1", &names, "lockstep"));
        assert!(!is_taken("kubectl-edit", &names, "lockstep") && !is_taken("lockstep-status", &names, "lockstep"));
    }
}
