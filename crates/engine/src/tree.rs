//! What an application's objects have brought about: ReplicaSets, Pods, claims, slices, down to the one that is not well.
//!
//! Objects are linked by owner references, and by the usual other links where Kubernetes sets none: a StatefulSet and the claims of
//! its templates, a Service and its endpoints, a ServiceAccount and its tokens, a claim and its volume, a Certificate and its Secret.

use std::collections::{HashMap, HashSet};

use resources::{Object, ObjectKey};
use serde::Serialize;
use serde_json::Value;

use crate::health::Health;

/// So deep is looked; a cycle of owners ends here too.
const DEEPEST: usize = 12;

/// An object and what it has brought about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Which object.
    pub key: ObjectKey,
    /// How well it is; `None` for kinds that are neither well nor ill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What belongs to it, by kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

impl Node {
    /// The object below this one that explains why it is not well, and its health: the worst, and of those the deepest.
    pub fn cause(&self) -> Option<(&ObjectKey, &Health)> {
        let below = self.children.iter().filter_map(|child| child.cause_or_self());
        below.max_by_key(|(_, health)| health.status)
    }

    fn cause_or_self(&self) -> Option<(&ObjectKey, &Health)> {
        let own = self.health.as_ref().filter(|health| health.status > resources::HealthStatus::Healthy);
        match (self.cause(), own) {
            (Some(below), Some(own)) if below.1.status < own.status || below.1.message.is_empty() => {
                Some((&self.key, own))
            }
            (Some(below), _) => Some(below),
            (None, own) => own.map(|own| (&self.key, own)),
        }
    }

    /// How many objects there are, this one included.
    pub fn count(&self) -> usize {
        1 + self.children.iter().map(Self::count).sum::<usize>()
    }
}

/// The trees of these roots. Of `others`, what does not belong to them is left out; it may be metadata only, then without health.
pub fn trees(roots: &[&Object], others: &[&Object], health: impl Fn(&Object) -> Option<Health>) -> Vec<Node> {
    let links = Links::new(roots, others);
    let mut seen: HashSet<&str> = roots.iter().map(|root| root.uid()).filter(|uid| !uid.is_empty()).collect();
    roots.iter().map(|root| links.node(root, &health, &mut seen, 0)).collect()
}

/// The objects that belong to any of these, however deep.
pub fn descendants<'a>(roots: &[&'a Object], others: &[&'a Object]) -> Vec<&'a Object> {
    let links = Links::new(roots, others);
    let mut seen: HashSet<&str> = roots.iter().map(|root| root.uid()).collect();
    let (mut found, mut next): (Vec<&Object>, Vec<&Object>) = (Vec::new(), roots.to_vec());
    while let Some(object) = next.pop() {
        for child in links.children(object) {
            if seen.insert(child.uid()) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

struct Links<'a> {
    by_owner: HashMap<&'a str, Vec<&'a Object>>,
    by_name: HashMap<(&'a str, &'a str), Vec<&'a Object>>,
}

impl<'a> Links<'a> {
    fn new(roots: &[&'a Object], others: &[&'a Object]) -> Self {
        let mut links = Self { by_owner: HashMap::new(), by_name: HashMap::new() };
        let known: HashSet<&str> = roots.iter().map(|root| root.uid()).collect();
        for object in others.iter().copied().filter(|object| !known.contains(object.uid())) {
            let mut owned = false;
            for owner in owners(object) {
                links.by_owner.entry(owner).or_default().push(object);
                owned = true;
            }
            if !owned {
                links.by_name.entry((object.kind(), object.namespace())).or_default().push(object);
            }
        }
        links
    }

    fn children(&self, parent: &Object) -> Vec<&'a Object> {
        let mut children: Vec<&'a Object> = match parent.uid() {
            "" => Vec::new(),
            uid => self.by_owner.get(uid).into_iter().flatten().copied().collect(),
        };
        for (kind, namespace) in [
            ("PersistentVolumeClaim", parent.namespace()),
            ("Endpoints", parent.namespace()),
            ("EndpointSlice", parent.namespace()),
            ("Secret", parent.namespace()),
            ("PersistentVolume", ""),
        ] {
            let all = self.by_name.get(&(kind, namespace)).into_iter().flatten();
            children.extend(all.filter(|object| is_linked(parent, object)));
        }
        children.sort_by_cached_key(|object| object.key());
        children
    }

    fn node(
        &self,
        object: &Object,
        health: &impl Fn(&Object) -> Option<Health>,
        seen: &mut HashSet<&'a str>,
        depth: usize,
    ) -> Node {
        let mut children = Vec::new();
        if depth < DEEPEST {
            for child in self.children(object) {
                if seen.insert(child.uid()) {
                    children.push(self.node(child, health, seen, depth + 1));
                }
            }
        }
        Node { key: object.key(), health: health(object), children }
    }
}

fn owners(object: &Object) -> impl Iterator<Item = &str> {
    let references = object.at("/metadata/ownerReferences").and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|reference| reference.get("uid")?.as_str())
}

/// Links without an owner reference.
fn is_linked(parent: &Object, child: &Object) -> bool {
    let text = |object: &Object, pointer: &str| object.at(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = parent.name();
    match (parent.group(), parent.kind(), child.kind()) {
        ("apps", "StatefulSet", "PersistentVolumeClaim") => {
            let templates = parent.at("/spec/volumeClaimTemplates").and_then(Value::as_array);
            templates.into_iter().flatten().filter_map(|template| template.pointer("/metadata/name")?.as_str()).any(
                |template| {
                    let rest = child.name().strip_prefix(template).and_then(|rest| rest.strip_prefix('-'));
                    let ordinal = rest.and_then(|rest| rest.strip_prefix(name)).and_then(|rest| rest.strip_prefix('-'));
                    ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
                },
            )
        }
        ("", "Service", "Endpoints") => child.name() == name,
        ("", "Service", "EndpointSlice") => child.label("kubernetes.io/service-name") == Some(name),
        ("", "ServiceAccount", "Secret") => child.annotation("kubernetes.io/service-account.name") == Some(name),
        ("cert-manager.io", "Certificate", "Secret") => {
            child.annotation("cert-manager.io/certificate-name") == Some(name)
                || text(parent, "/spec/secretName").as_deref() == Some(child.name())
        }
        ("", "PersistentVolumeClaim", "PersistentVolume") => {
            text(parent, "/spec/volumeName").as_deref() == Some(child.name())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use resources::HealthStatus;
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, name: &str, owner: &str, more: Value) -> Object {
        let mut object = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": { "name": name, "namespace": "dev", "uid": name, "ownerReferences": [] },
        });
        if !owner.is_empty() {
            object["metadata"]["ownerReferences"] = json!([{ "uid": owner }]);
        }
        for (field, value) in more.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        Object(object)
    }

    fn judged(object: &Object) -> Option<Health> {
        let text = object.at("/judge").and_then(Value::as_str)?;
        let (status, message) = text.split_once(' ').unwrap_or((text, ""));
        Some(Health::new(HealthStatus::from(status), message))
    }

    fn shown(node: &Node) -> String {
        let children: Vec<String> = node.children.iter().map(shown).collect();
        if children.is_empty() { node.key.name.clone() } else { format!("{}({})", node.key.name, children.join(" ")) }
    }

    #[test]
    fn owner_references_and_other_links() {
        let template = json!({ "spec": { "volumeClaimTemplates": [{ "metadata": { "name": "data" } }] } });
        let all = [
            object("apps/v1", "Deployment", "web", "", json!({})),
            object("apps/v1", "StatefulSet", "db", "", template),
            object("v1", "Service", "web", "", json!({})),
            object("apps/v1", "ReplicaSet", "web-1", "web", json!({})),
            object("v1", "Pod", "web-1-b", "web-1", json!({})),
            object("v1", "Pod", "web-1-a", "web-1", json!({})),
            object("v1", "Pod", "stray", "elsewhere", json!({})),
            object("v1", "PersistentVolumeClaim", "data-db-0", "", json!({ "spec": { "volumeName": "volume" } })),
            object("v1", "PersistentVolumeClaim", "data-db-x", "", json!({})),
            object("v1", "PersistentVolumeClaim", "data-other-0", "", json!({})),
            object("v1", "Endpoints", "endpoints-of-others", "", json!({})),
        ];
        let mut slice = object("discovery.k8s.io/v1", "EndpointSlice", "web-x", "", json!({}));
        slice.set_label("kubernetes.io/service-name", "web");
        let mut volume = object("v1", "PersistentVolume", "volume", "", json!({}));
        volume.0["metadata"]["namespace"] = "".into();
        // Services and Deployments of one name have different uids.
        let mut all: Vec<Object> = all.into_iter().chain([slice, volume]).collect();
        all[2].0["metadata"]["uid"] = "service".into();
        let (roots, others): (Vec<&Object>, Vec<&Object>) = (all[..3].iter().collect(), all[3..].iter().collect());
        let trees = trees(&roots, &others, judged);
        let shown: Vec<String> = trees.iter().map(shown).collect();
        assert_eq!(shown, ["web(web-1(web-1-a web-1-b))", "db(data-db-0(volume))", "web(web-x)"]);
        assert_eq!(descendants(&roots, &others).len(), 6);
        assert_eq!(trees[0].count(), 4);
    }

    #[test]
    fn the_worst_and_deepest_is_the_cause() {
        let all = [
            object("apps/v1", "Deployment", "web", "", json!({ "judge": "Degraded 0 of 1 ready" })),
            object("apps/v1", "ReplicaSet", "new", "web", json!({ "judge": "Progressing" })),
            object("v1", "Pod", "p", "new", json!({ "judge": "Degraded cannot pull image y" })),
            object("apps/v1", "ReplicaSet", "old", "web", json!({ "judge": "Healthy" })),
        ];
        let others: Vec<&Object> = all[1..].iter().collect();
        let tree = &trees(&[&all[0]], &others, judged)[0];
        let (key, health) = tree.cause().unwrap();
        assert_eq!((key.name.as_str(), health.message.as_str()), ("p", "cannot pull image y"));
        assert_eq!(trees(&[&all[0]], &others[2..], judged)[0].cause(), None, "a healthy one explains nothing");
    }

    #[test]
    fn owners_in_a_circle_end() {
        let all = [
            object("v1", "ConfigMap", "a", "c", json!({})),
            object("v1", "ConfigMap", "b", "a", json!({})),
            object("v1", "ConfigMap", "c", "b", json!({})),
        ];
        let others: Vec<&Object> = all.iter().collect();
        assert_eq!(shown(&trees(&[&all[0]], &others, judged)[0]), "a(b(c))");
        assert_eq!(descendants(&[&all[0]], &others).len(), 2);
    }
}
