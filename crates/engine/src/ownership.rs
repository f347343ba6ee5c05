//! Which application an object belongs to, in the formats that Argo CD writes, so that an adopted cluster needs no relabelling.

use std::fmt;

pub use resources::annotations::{INSTALLATION_ID, INSTANCE_LABEL, TRACKING_ID};
use resources::{Object, ObjectKey};

/// The longest value that Kubernetes accepts for a label, in bytes.
const LABEL_LIMIT: usize = 63;

/// How ownership is written on objects, and read from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingMethod {
    /// The annotation [`TRACKING_ID`].
    #[default]
    Annotation,
    /// The instance label.
    Label,
    /// Both are written; the annotation is what counts.
    AnnotationAndLabel,
}

impl TrackingMethod {
    /// Reads the setting `application.resourceTrackingMethod`; a value that is not known means annotation, as for Argo CD.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "label" => Self::Label,
            "annotation+label" => Self::AnnotationAndLabel,
            _ => Self::Annotation,
        }
    }
}

impl fmt::Display for TrackingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Annotation => "annotation",
            Self::Label => "label",
            Self::AnnotationAndLabel => "annotation+label",
        })
    }
}

/// The installation's settings for ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// What is written and read.
    pub method: TrackingMethod,
    /// The label's key (`application.instanceLabelKey`).
    pub label_key: String,
    /// Only objects of this installation are ours, where it is set.
    pub installation_id: Option<String>,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { method: TrackingMethod::default(), label_key: INSTANCE_LABEL.into(), installation_id: None }
    }
}

/// The value of the tracking annotation: `<application>:<group>/<kind>:<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackingId {
    /// The application's instance name, see [`instance_name`].
    pub application: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// The object's namespace; for a cluster-scoped object the application's destination namespace.
    pub namespace: String,
    /// Name; it may contain colons, as those of RBAC objects do.
    pub name: String,
}

impl TrackingId {
    /// Reads an annotation's value.
    ///
    /// ```
    /// use engine::ownership::TrackingId;
    /// let id = TrackingId::parse("gateway:apps/Deployment:dev/gateway").unwrap();
    /// assert_eq!((id.group.as_str(), id.name.as_str()), ("apps", "gateway"));
    /// assert!(TrackingId::parse("gateway").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (application, rest) = text.split_once(':')?;
        let (group_kind, rest) = rest.split_once(':')?;
        let (group, kind) = group_kind.split_once('/')?;
        let (namespace, name) = rest.split_once('/')?;
        if application.is_empty() || kind.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self {
            application: application.into(),
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// Whether it names this object. A copied annotation (a controller that copies annotations to its children) does not.
    pub fn references(&self, object: &Object) -> bool {
        // A cluster-scoped object has no namespace of its own, so whatever the annotation says about it is right.
        let namespace = object.namespace().is_empty() || self.namespace == object.namespace();
        self.name == object.name()
            && self.kind == object.kind()
            && namespace
            && same_group(&self.group, object.group(), &self.kind)
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}:{}/{}", self.application, self.group, self.kind, self.namespace, self.name)
    }
}

/// The API server serves some kinds in a second group under the same identity.
fn same_group(a: &str, b: &str, kind: &str) -> bool {
    let canonical = |group: &str| -> String {
        match (group, kind) {
            ("extensions", "Ingress" | "NetworkPolicy") => "networking.k8s.io".into(),
            ("extensions", "Deployment" | "DaemonSet" | "ReplicaSet") => "apps".into(),
            _ => group.into(),
        }
    };
    a == b || canonical(a) == canonical(b)
}

/// The name under which an application owns objects: its own name, or `<namespace>_<name>` when it does not live in the
/// control namespace.
pub fn instance_name(namespace: &str, name: &str, control_namespace: &str) -> String {
    if namespace.is_empty() || namespace == control_namespace { name.into() } else { format!("{namespace}_{name}") }
}

/// The instance name of the application that owns the object, if one does.
pub fn owner_of(object: &Object, tracking: &Tracking) -> Option<String> {
    if let Some(installation) = &tracking.installation_id
        && object.annotation(INSTALLATION_ID) != Some(installation.as_str())
    {
        return None;
    }
    match tracking.method {
        TrackingMethod::Label => object.label(&tracking.label_key).filter(|owner| !owner.is_empty()).map(str::to_owned),
        TrackingMethod::Annotation | TrackingMethod::AnnotationAndLabel => {
            let id = TrackingId::parse(object.annotation(TRACKING_ID)?)?;
            id.references(object).then_some(id.application)
        }
    }
}

/// Writes ownership on a desired object. `application` is the instance name, `namespace` the application's destination
/// namespace, which stands in for the namespace of cluster-scoped objects.
pub fn stamp(object: &mut Object, application: &str, namespace: &str, tracking: &Tracking) {
    if tracking.method != TrackingMethod::Label {
        let key = object.key();
        let id = tracking_id(application, &key, namespace);
        object.set_annotation(TRACKING_ID, &id.to_string());
    }
    match tracking.method {
        TrackingMethod::Annotation => {}
        TrackingMethod::Label => object.set_label(&tracking.label_key, application),
        TrackingMethod::AnnotationAndLabel => object.set_label(&tracking.label_key, label_value(application)),
    }
    if let Some(installation) = &tracking.installation_id {
        object.set_annotation(INSTALLATION_ID, installation);
    }
}

/// The tracking id that [`stamp`] writes for an object.
pub fn tracking_id(application: &str, key: &ObjectKey, namespace: &str) -> TrackingId {
    TrackingId {
        application: application.into(),
        group: key.group.clone(),
        kind: key.kind.clone(),
        namespace: if key.namespace.is_empty() { namespace.into() } else { key.namespace.clone() },
        name: key.name.clone(),
    }
}

/// Cut to what a label may hold, ending in a letter or digit.
fn label_value(application: &str) -> &str {
    let mut end = application.len().min(LABEL_LIMIT);
    while !application.is_char_boundary(end) {
        end -= 1;
    }
    let cut = &application[..end];
    if end == application.len() { cut } else { cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(annotation: Option<&str>, label: Option<&str>) -> Object {
        let mut object = Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway", "namespace": "dev"}
        }));
        if let Some(annotation) = annotation {
            object.set_annotation(TRACKING_ID, annotation);
        }
        if let Some(label) = label {
            object.set_label(INSTANCE_LABEL, label);
        }
        object
    }

    #[test]
    fn tracking_ids() {
        let cases = [
            ("gateway:apps/Deployment:dev/gateway", Some(("gateway", "apps", "Deployment", "dev", "gateway"))),
            ("gateway:/Service:dev/gateway", Some(("gateway", "", "Service", "dev", "gateway"))),
            ("team_gateway:/Service:dev/gateway", Some(("team_gateway", "", "Service", "dev", "gateway"))),
            (
                "rbac:rbac.authorization.k8s.io/ClusterRole:dev/system:reader:x",
                Some(("rbac", "rbac.authorization.k8s.io", "ClusterRole", "dev", "system:reader:x")),
            ),
            ("crds:apiextensions.k8s.io/CustomResourceDefinition:/a.b", {
                Some(("crds", "apiextensions.k8s.io", "CustomResourceDefinition", "", "a.b"))
            }),
            ("", None),
            ("gateway", None),
            ("gateway:Service:dev/gateway", None),
            ("gateway:/Service:gateway", None),
            (":/Service:dev/gateway", None),
            ("gateway:/Service:dev/", None),
        ];
        for (text, want) in cases {
            let got = TrackingId::parse(text);
            let parts = got.as_ref().map(|id| (&*id.application, &*id.group, &*id.kind, &*id.namespace, &*id.name));
            assert_eq!(parts, want, "{text}");
            if let Some(id) = got {
                assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn owners() {
        let own = "gateway:apps/Deployment:dev/gateway";
        let copied = "gateway:apps/Deployment:dev/other";
        let moved = "gateway:apps/Deployment:prod/gateway";
        let older = "gateway:extensions/Deployment:dev/gateway";
        let method = |method| Tracking { method, ..Tracking::default() };
        let cases = [
            (TrackingMethod::Annotation, Some(own), None, Some("gateway")),
            (TrackingMethod::Annotation, Some(older), None, Some("gateway")),
            (TrackingMethod::Annotation, Some(copied), None, None),
            (TrackingMethod::Annotation, Some(moved), None, None),
            (TrackingMethod::Annotation, None, Some("helm-release"), None),
            (TrackingMethod::Label, None, Some("gateway"), Some("gateway")),
            (TrackingMethod::Label, Some(own), None, None),
            (TrackingMethod::Label, None, Some(""), None),
            (TrackingMethod::AnnotationAndLabel, Some(own), Some("else"), Some("gateway")),
            (TrackingMethod::AnnotationAndLabel, None, Some("gateway"), None),
        ];
        for (tracking, annotation, label, want) in cases {
            let got = owner_of(&deployment(annotation, label), &method(tracking));
            assert_eq!(got.as_deref(), want, "{tracking} {annotation:?} {label:?}");
        }
    }

    #[test]
    fn a_stamped_object_is_owned() {
        let long = "a".repeat(62) + "-bcd";
        for method in [TrackingMethod::Annotation, TrackingMethod::Label, TrackingMethod::AnnotationAndLabel] {
            let tracking = Tracking { method, installation_id: Some("one".into()), ..Tracking::default() };
            let mut object = deployment(None, None);
            stamp(&mut object, "gateway", "dev", &tracking);
            assert_eq!(owner_of(&object, &tracking).as_deref(), Some("gateway"), "{method}");
            let other = Tracking { installation_id: Some("two".into()), ..tracking };
            assert_eq!(owner_of(&object, &other), None, "another installation, {method}");
        }
        let both = Tracking { method: TrackingMethod::AnnotationAndLabel, ..Tracking::default() };
        let mut object = deployment(None, None);
        stamp(&mut object, &long, "dev", &both);
        assert_eq!(object.label(INSTANCE_LABEL), Some("a".repeat(62).as_str()), "cut at 63 and trimmed");
        assert_eq!(owner_of(&object, &both), Some(long), "the annotation is not cut");
    }

    #[test]
    fn cluster_scoped_objects_carry_the_destination_namespace() {
        let mut object = Object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev"}}));
        stamp(&mut object, "gateway", "team", &Tracking::default());
        assert_eq!(object.annotation(TRACKING_ID), Some("gateway:/Namespace:team/dev"));
        assert_eq!(owner_of(&object, &Tracking::default()).as_deref(), Some("gateway"));
    }

    #[test]
    fn instance_names() {
        assert_eq!(instance_name("argocd", "gateway", "argocd"), "gateway");
        assert_eq!(instance_name("team", "gateway", "argocd"), "team_gateway");
    }

    #[test]
    fn methods() {
        for (text, want) in [
            ("annotation", TrackingMethod::Annotation),
            ("label", TrackingMethod::Label),
            ("annotation+label", TrackingMethod::AnnotationAndLabel),
            ("", TrackingMethod::Annotation),
            ("nonsense", TrackingMethod::Annotation),
        ] {
            assert_eq!(TrackingMethod::parse(text), want, "{text}");
        }
    }
}
