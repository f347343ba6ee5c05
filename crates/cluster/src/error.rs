//! What can go wrong between us and an API server, and whether trying again helps.

use std::time::Duration;

use kube::core::response::Status;
use resources::{Object, ObjectKey};

use crate::client::malformed;
use crate::discreet;

/// One field that another manager holds, from a refused server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConflict {
    /// The field manager that owns the field, for example `kubectl-client-side-apply`.
    pub manager: String,
    /// The field as the API server names it, for example `.spec.replicas`.
    pub field: String,
}

/// A request that did not succeed. The text says what to do where something can be done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig or the in-cluster environment cannot be used.
    #[error("cannot read how to reach the cluster: {0}")]
    Config(String),
    /// No connection, or it broke. Trying again later may help.
    #[error("cannot reach the API server {server}: {reason}")]
    Unreachable {
        /// Address of the API server.
        server: String,
        /// The causes, outermost first.
        reason: String,
    },
    /// No answer in time. Whether the request was carried out is not known.
    #[error("{what}: no answer from the API server within {} s", after.as_secs_f32())]
    TimedOut {
        /// The request.
        what: String,
        /// The limit that was reached.
        after: Duration,
    },
    /// The write was not sent: the lease under which it was decided may be somebody else's by now.
    #[error("nothing was written, since the lease {lease} may not be held any more: {reason}")]
    Fenced {
        /// The Lease, as `namespace/name`.
        lease: String,
        /// Why.
        reason: String,
    },
    /// The API server is overloaded, starting, or something behind it (etcd, a webhook) failed.
    #[error("{what}: the API server cannot do it now: {message}")]
    Busy {
        /// The request.
        what: String,
        /// The API server's words.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The credentials are not accepted.
    #[error("the API server does not accept the credentials (check the kubeconfig's user or token): {0}")]
    Unauthorized(String),
    /// The credentials are accepted and not sufficient.
    #[error("{what}: not permitted{}: {message}", remedy(acting_as.as_deref(), message))]
    Forbidden {
        /// The request.
        what: String,
        /// The API server's words, which name the user, the verb and the resource.
        message: String,
        /// The user as whom the request was made, if not as ourselves.
        acting_as: Option<String>,
    },
    /// The object does not exist.
    #[error("{0} does not exist")]
    NotFound(Box<ObjectKey>),
    /// The object's namespace does not exist.
    #[error("namespace {namespace:?} of {key} does not exist; create it or set the sync option CreateNamespace=true")]
    NamespaceMissing {
        /// The missing namespace.
        namespace: String,
        /// The object that was to be written.
        key: Box<ObjectKey>,
    },
    /// The cluster does not serve this kind.
    #[error("the cluster has no kind {kind} in {api_version}{hint}; is its CustomResourceDefinition installed?")]
    UnknownKind {
        /// Group and version as in the manifest.
        api_version: String,
        /// Kind as in the manifest.
        kind: String,
        /// Versions in which the kind is served, as ` (served: apps/v1)`, or nothing.
        hint: String,
    },
    /// Fields are owned by somebody else, or the object changed in between.
    #[error("{key}: conflict: {message}")]
    Conflict {
        /// The object.
        key: Box<ObjectKey>,
        /// Who owns which field; empty if the conflict is one of versions or uids.
        fields: Vec<FieldConflict>,
        /// A sentence.
        message: String,
    },
    /// `create` of an object that is there.
    #[error("{0} exists already")]
    AlreadyExists(Box<ObjectKey>),
    /// The API server or an admission webhook refuses the content.
    #[error("{key}: {message}")]
    Invalid {
        /// The object.
        key: Box<ObjectKey>,
        /// The API server's words; a Secret's values are taken out of them.
        message: String,
        /// The offending fields, where the API server lists them.
        fields: Vec<String>,
    },
    /// The object is there, and what is to change cannot be changed in it.
    #[error("{key}: {message}; {}", way_out(key))]
    Immutable {
        /// The object.
        key: Box<ObjectKey>,
        /// The API server's words; a Secret's values are taken out of them.
        message: String,
        /// The offending fields, where the API server lists them.
        fields: Vec<String>,
    },
    /// A `resourceVersion` is too old to go on from; list again.
    #[error("the resource version is too old: {0}")]
    Expired(String),
    /// The answer is not what the Kubernetes API promises.
    #[error("{what}: the answer cannot be understood: {reason}")]
    Malformed {
        /// The request.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else the API server says.
    #[error("{what}: {message} ({reason}, HTTP {code})")]
    Api {
        /// The request.
        what: String,
        /// HTTP status.
        code: u16,
        /// Kubernetes' reason.
        reason: String,
        /// The API server's words.
        message: String,
    },
}

impl ClusterError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Expired(_)
            | Self::Fenced { .. } => true,
            Self::Api { code, .. } => *code >= 500 && !matches!(code, 501 | 505),
            _ => false,
        }
    }

    /// The object, its namespace or its kind is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::NamespaceMissing { .. } | Self::UnknownKind { .. })
    }

    /// The error of a request that was made as somebody else names that user.
    pub(crate) fn acting_as(mut self, user: Option<&str>) -> Self {
        if let Self::Forbidden { acting_as, .. } = &mut self {
            *acting_as = user.map(str::to_owned);
        }
        self
    }

    /// Another writer was there first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::AlreadyExists(_))
    }
}

/// What a request was about, for its error.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    /// `apply`, `list`, …
    pub verb: &'static str,
    /// The object, or for lists a key with an empty name.
    pub key: ObjectKey,
    /// What was sent, to take a Secret's values out of the answer.
    pub sent: Option<&'a Object>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(verb: &'static str, key: ObjectKey) -> Self {
        Self { verb, key, sent: None }
    }

    pub(crate) fn of(verb: &'static str, object: &'a Object, key: ObjectKey) -> Self {
        Self { verb, key, sent: Some(object) }
    }

    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.verb, self.key).trim_end().to_owned()
    }

    /// Whether an answer may repeat the values of a Secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.key.group.is_empty() && self.key.kind.starts_with("Secret")
    }

    /// What may be told of the API server's words.
    fn told(&self, status: &Status) -> String {
        if self.is_secret() { discreet::sentence(status, self.sent) } else { status.message.clone() }
    }
}

/// The error for an API server's Status.
pub(crate) fn from_status(subject: &Subject<'_>, status: &Status) -> ClusterError {
    let details = status.details.as_ref();
    let key = || Box::new(subject.key.clone());
    let message = subject.told(status);
    let what = subject.what();
    let retry_after =
        details.map(|d| d.retry_after_seconds).filter(|s| *s > 0).map(|s| Duration::from_secs(u64::from(s)));
    match (status.reason.as_str(), status.code) {
        ("Unauthorized", _) | (_, 401) => ClusterError::Unauthorized(message),
        ("Forbidden", _) if status.message.contains("is being terminated") => {
            ClusterError::Busy { what, message, retry_after }
        }
        ("Forbidden", _) | (_, 403) => ClusterError::Forbidden { what, message, acting_as: None },
        ("NotFound", _) if details.is_some_and(|d| d.kind == "namespaces") && subject.key.kind != "Namespace" => {
            ClusterError::NamespaceMissing { namespace: subject.key.namespace.clone(), key: key() }
        }
        ("NotFound", _) if details.is_some_and(|d| !d.name.is_empty()) => ClusterError::NotFound(key()),
        // A path that is not served at all is answered by the mux, in plain text or without a name.
        (_, 404) => ClusterError::UnknownKind {
            api_version: subject.key.group.clone(),
            kind: subject.key.kind.clone(),
            hint: String::new(),
        },
        ("AlreadyExists", _) => ClusterError::AlreadyExists(key()),
        ("Conflict", _) | (_, 409) => conflict(subject, status, message),
        ("Expired" | "Gone", _) | (_, 410) => ClusterError::Expired(message),
        ("Invalid" | "BadRequest" | "RequestEntityTooLarge", _) | (_, 400 | 413 | 422) => {
            let fields: Vec<String> = details
                .map(|d| d.causes.iter().filter(|c| !c.field.is_empty()).map(|c| c.field.clone()).collect())
                .unwrap_or_default();
            if is_immutable(subject, status) {
                ClusterError::Immutable { key: key(), message, fields }
            } else {
                ClusterError::Invalid { key: key(), message, fields }
            }
        }
        (_, 500) if is_about_the_content(&status.message) => {
            ClusterError::Invalid { key: key(), message, fields: Vec::new() }
        }
        ("TooManyRequests" | "ServerTimeout" | "Timeout" | "ServiceUnavailable" | "InternalError", _)
        | (_, 429 | 500 | 502 | 503 | 504) => ClusterError::Busy { what, message, retry_after },
        (reason, code) => ClusterError::Api { what, code, reason: reason.to_owned(), message },
    }
}

/// Whether an API server means what it was sent, though it calls it a failure of its own: a value that the kind does not declare or
/// that cannot be decoded. It says so in words only. A conversion webhook that is away is not what was sent.
fn is_about_the_content(message: &str) -> bool {
    const WORDS: [&str; 8] = [
        "failed to create typed patch object",
        "failed to create typed new object",
        "failed to create typed live object",
        "failed to convert new object",
        "failed to convert patch object",
        "unable to convert unstructured object",
        "cannot be handled as a",
        "error decoding",
    ];
    WORDS.iter().any(|words| message.contains(words)) && !message.contains("webhook")
}

/// Whether a refusal is about what is there already. The API says so in words only, in these.
fn is_immutable(subject: &Subject<'_>, status: &Status) -> bool {
    const WORDS: [&str; 5] =
        ["immutable", "may not change", "may not be changed", "cannot change roleRef", "updates to statefulset spec"];
    let says = |message: &str| WORDS.iter().any(|words| message.contains(words));
    match &status.details {
        Some(details) if !details.causes.is_empty() => details.causes.iter().any(|cause| says(&cause.message)),
        // The sentence quotes the object's name, which may be any word.
        _ => says(&status.message.replace(&format!("{:?}", subject.key.name), "")),
    }
}

/// What a person can do about an immutable field.
fn way_out(key: &ObjectKey) -> &'static str {
    match key.kind.as_str() {
        "Namespace" | "CustomResourceDefinition" => {
            "it cannot be changed in an object that is there; to delete and create it, with everything in it, is left to a person"
        }
        "PersistentVolumeClaim" | "PersistentVolume" => {
            "it cannot be changed in an object that is there, and to delete that would lose its data: leave the field as it is, or make \
             a new one under another name and move the data"
        }
        // A database, a bucket, a cluster: with the object goes what its controller keeps for it.
        _ if is_custom(key) => {
            "it cannot be changed in an object that is there; the sync option Force=true on it would delete and create it, with what \
             its controller keeps for it, which may be data"
        }
        _ => {
            "it cannot be changed in an object that is there; to delete and create it, set the sync option Force=true \
             (or Replace=true,Force=true) on it"
        }
    }
}

/// Whether the kind is none of Kubernetes itself.
fn is_custom(key: &ObjectKey) -> bool {
    let own = key.group.strip_suffix(".k8s.io").unwrap_or(&key.group);
    own.contains('.') && !matches!(own, "rbac.authorization" | "flowcontrol.apiserver" | "internal.apiserver")
}

/// What a person can do about a missing permission.
fn remedy(acting_as: Option<&str>, message: &str) -> String {
    match acting_as {
        None => "; grant it to Lockstep's user in this cluster".to_owned(),
        Some(user) if message.contains("cannot impersonate") => {
            format!(" to act as {user}; grant Lockstep's user the verb impersonate on it")
        }
        Some(user) => format!(" to {user}, as whom Lockstep acts here; grant it to that user"),
    }
}

fn conflict(subject: &Subject<'_>, status: &Status, message: String) -> ClusterError {
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    let fields: Vec<FieldConflict> = causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| FieldConflict {
            manager: quoted(&cause.message).unwrap_or_else(|| "somebody else".to_owned()),
            field: cause.field.clone(),
        })
        .collect();
    let message = if fields.is_empty() {
        message
    } else {
        let list: Vec<_> = fields.iter().map(|f| format!("{} is managed by {:?}", f.field, f.manager)).collect();
        list.join(", ")
    };
    ClusterError::Conflict { key: Box::new(subject.key.clone()), fields, message }
}

/// The first text in double quotes.
fn quoted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('"')?;
    let (inside, _) = rest.split_once('"')?;
    Some(inside.to_owned())
}

/// The error for a request that got no Status.
pub(crate) fn from_kube(subject: &Subject<'_>, server: &str, error: kube::Error) -> ClusterError {
    match error {
        kube::Error::Api(status) => from_status(subject, &status),
        kube::Error::Auth(reason) => ClusterError::Unauthorized(reason.to_string()),
        kube::Error::SerdeError(reason) => malformed(subject, reason),
        kube::Error::FromUtf8(reason) => malformed(subject, reason),
        other => ClusterError::Unreachable { server: server.to_owned(), reason: chain(&other) },
    }
}

/// An error's causes in one line, without saying anything twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(value: Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    fn deployment() -> Subject<'static> {
        Subject::new("apply", ObjectKey::new("apps", "Deployment", "dev", "gateway"))
    }

    #[test]
    fn a_conflict_names_the_manager_and_the_field() {
        let error = from_status(
            &deployment(),
            &status(json!({"status": "Failure", "code": 409, "reason": "Conflict",
                "message": "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1: .spec.replicas",
                "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.replicas",
                    "message": "conflict with \"hpa\" using apps/v1"}]}})),
        );
        assert!(error.is_conflict());
        assert_eq!(error.to_string(), "apps/Deployment dev/gateway: conflict: .spec.replicas is managed by \"hpa\"");
    }

    #[test]
    fn statuses_become_what_a_caller_decides_by() {
        // (status, transient, not found, conflict, part of the text)
        let cases = [
            (
                json!({"code": 404, "reason": "NotFound", "message": "namespaces \"dev\" not found",
                "details": {"kind": "namespaces", "name": "dev"}}),
                false,
                true,
                false,
                "CreateNamespace=true",
            ),
            (
                json!({"code": 404, "reason": "NotFound", "message": "x", "details": {"kind": "deployments", "name": "gateway"}}),
                false,
                true,
                false,
                "does not exist",
            ),
            (
                json!({"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource"}),
                false,
                true,
                false,
                "CustomResourceDefinition",
            ),
            (json!({"code": 409, "reason": "AlreadyExists", "message": "x"}), false, false, true, "exists already"),
            (
                json!({"code": 422, "reason": "Invalid", "message": "spec.replicas: must be >= 0",
                "details": {"causes": [{"field": "spec.replicas"}]}}),
                false,
                false,
                false,
                "must be >= 0",
            ),
            (
                json!({"code": 429, "reason": "TooManyRequests", "message": "slow down", "details": {"retryAfterSeconds": 3}}),
                true,
                false,
                false,
                "slow down",
            ),
            (
                json!({"code": 500, "reason": "InternalError", "message": "failed calling webhook"}),
                true,
                false,
                false,
                "webhook",
            ),
            (
                json!({"code": 500, "reason": "", "message": "failed to create typed patch object (dev/gateway): .spec.x: field not declared in schema"}),
                false,
                false,
                false,
                ".spec.x",
            ),
            (
                json!({"code": 403, "reason": "Forbidden", "message": "User \"u\" cannot patch"}),
                false,
                false,
                false,
                "grant it to Lockstep's user",
            ),
            (
                json!({"code": 403, "reason": "Forbidden", "message": "unable to create new content in namespace dev because it is being terminated"}),
                true,
                false,
                false,
                "terminated",
            ),
            (
                json!({"code": 401, "reason": "Unauthorized", "message": "Unauthorized"}),
                false,
                false,
                false,
                "credentials",
            ),
            (json!({"code": 410, "reason": "Expired", "message": "too old"}), true, false, false, "too old"),
        ];
        for (input, transient, not_found, conflict, text) in cases {
            let error = from_status(&deployment(), &status(input.clone()));
            assert_eq!(error.is_transient(), transient, "{input}");
            assert_eq!(error.is_not_found(), not_found, "{input}");
            assert_eq!(error.is_conflict(), conflict, "{input}");
            assert!(error.to_string().contains(text), "{input}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_changed_is_told_apart_and_what_to_do_about_it() {
        let cases = [
            (
                "Job",
                "Job \"immutable\" is invalid: spec.template: Invalid value: {}: field is immutable",
                "Replace=true,Force=true",
            ),
            ("Service", "spec.clusterIPs[0]: Invalid value: may not change once set", "Force=true"),
            (
                "StatefulSet",
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
                "Force=true",
            ),
            ("RoleBinding", "roleRef: Invalid value: {}: cannot change roleRef", "Force=true"),
            ("CustomResourceDefinition", "spec.scope: Invalid value: field is immutable", "left to a person"),
            ("Namespace", "metadata.name: field is immutable", "left to a person"),
            (
                "PersistentVolumeClaim",
                "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
                "would lose its data: leave the field as it is",
            ),
            ("postgresql.cnpg.io/Cluster", "spec.storage: Invalid value: storage is immutable", "which may be data"),
            ("snapshot.storage.k8s.io/VolumeSnapshot", "spec.source: field is immutable", "which may be data"),
            ("networking.k8s.io/IngressClass", "spec.controller: field is immutable", "set the sync option Force=true"),
            ("Deployment", "spec.replicas: must be greater than or equal to 0", ""),
            ("ConfigMap", "ConfigMap \"immutable\" is invalid: data: Required value", ""),
        ];
        for (kind, message, text) in cases {
            let (group, kind) = kind.split_once('/').unwrap_or(("", kind));
            let subject = Subject::new("apply", ObjectKey::new(group, kind, "dev", "immutable"));
            let error = from_status(&subject, &status(json!({"code": 422, "reason": "Invalid", "message": message})));
            assert_eq!(matches!(error, ClusterError::Immutable { .. }), !text.is_empty(), "{error}");
            let said = error.to_string();
            assert!(said.contains(kind) && said.contains(message) && said.contains(text), "{said}");
        }
    }

    #[test]
    fn a_refusal_names_the_user_as_whom_we_acted() {
        let refuse = |message: &str| {
            let refused = json!({"code": 403, "reason": "Forbidden", "message": message});
            from_status(&deployment(), &status(refused)).acting_as(Some("system:serviceaccount:dev:deployer"))
        };
        assert_eq!(
            refuse("User \"system:serviceaccount:dev:deployer\" cannot patch").to_string(),
            "apply apps/Deployment dev/gateway: not permitted to system:serviceaccount:dev:deployer, as whom Lockstep acts \
             here; grant it to that user: User \"system:serviceaccount:dev:deployer\" cannot patch"
        );
        let said = refuse("User \"lockstep\" cannot impersonate resource \"serviceaccounts\"").to_string();
        assert!(
            said.contains("not permitted to act as system:serviceaccount:dev:deployer; grant Lockstep's user"),
            "{said}"
        );
    }

    /// As a real API server answers, and whose trouble it is.
    #[test]
    fn what_was_sent_is_wrong_or_the_server_is_in_trouble() {
        const CONVERT: &str = "failed to convert new object (/q; apps/v1, Kind=Deployment) to proper version: ";
        const UNSTRUCTURED: &str = "unable to convert unstructured object to apps/v1, Kind=Deployment: ";
        for (code, reason, message, transient) in [
            (500, "", format!("{CONVERT}{UNSTRUCTURED}quantities must match the regular expression '^x$'"), false),
            (500, "", format!("{CONVERT}{UNSTRUCTURED}error decoding from json: illegal base64 data at input byte 3"), false),
            (500, "", format!("{CONVERT}{UNSTRUCTURED}cannot convert float64 to int32"), false),
            (500, "", format!("{CONVERT}{UNSTRUCTURED}json: cannot unmarshal object into Go value of type int32"), false),
            (500, "", format!("{CONVERT}{UNSTRUCTURED}parsing time \"yesterday\" as \"2006\": cannot parse"), false),
            (500, "", "failed to create typed patch object (/e; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema".into(), false),
            (500, "", "failed to create typed live object (/e; apps/v1, Kind=Deployment): .spec.env: duplicate entries for key".into(), false),
            (400, "BadRequest", "Secret in version \"v1\" cannot be handled as a ConfigMap: unknown conversion".into(), false),
            (400, "BadRequest", "invalid object type: /v1, Kind=Foo".into(), false),
            (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728".into(), false),
            (415, "UnsupportedMediaType", "415: Unsupported Media Type".into(), false),
            (405, "MethodNotAllowed", "the server does not allow this method on the requested resource".into(), false),
            (422, "Invalid", "ConfigMap \"a\" is invalid: []: Too long: may not be more than 1048576 bytes".into(), false),
            (501, "NotImplemented", "not implemented".into(), false),
            (500, "", format!("{CONVERT}conversion webhook for example.com/v1, Kind=Thing failed: connection refused"), true),
            (500, "InternalError", "Internal error occurred: failed calling webhook \"a\": connection refused".into(), true),
            (500, "", "etcdserver: request timed out".into(), true),
            (500, "InternalError", "Internal error occurred: resource quota evaluation timed out".into(), true),
            (429, "TooManyRequests", "the server is overloaded".into(), true),
            (503, "ServiceUnavailable", "the server is currently unable to handle the request".into(), true),
            (504, "Timeout", "Timeout: request did not complete within the allotted timeout".into(), true),
            (502, "", "Bad Gateway".into(), true),
        ] {
            let error = from_status(&deployment(), &status(json!({"code": code, "reason": reason, "message": message})));
            assert_eq!(error.is_transient(), transient, "{message}: {error:?}");
            assert!(error.to_string().contains(&message), "{error}");
        }
    }

    #[test]
    fn a_secrets_values_never_reach_an_error() {
        let secret =
            Object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "dev"},
            "stringData": {"password": "hunter2"}, "data": {"token": "c2VzYW1l", "port": 5432}}));
        let message = "stringData[password]: Invalid value: \"hunter2\", token sesame (c2VzYW1l), got 5432";
        for (code, reason) in [
            (400, "BadRequest"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (409, "Conflict"),
            (409, "AlreadyExists"),
            (410, "Gone"),
            (413, "RequestEntityTooLarge"),
            (418, "Teapot"),
            (422, "Invalid"),
            (429, "TooManyRequests"),
            (500, ""),
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
            (504, "Timeout"),
        ] {
            let causes =
                json!([{"reason": "FieldManagerConflict", "field": ".data.token", "message": "conflict with sesame"}]);
            let answer = json!({"code": code, "reason": reason, "message": message, "details": {"causes": causes}});
            let known = Subject::of("apply", &secret, secret.key());
            // What is only read or deleted was not sent.
            for subject in [known, Subject::new("delete", secret.key())] {
                let error = from_status(&subject, &status(answer.clone()));
                let text = format!("{error} {error:?}");
                for secret in ["hunter2", "sesame", "c2VzYW1l", "5432"] {
                    assert!(!text.contains(secret), "{text}");
                }
                assert!(code == 410 || code == 401 || text.contains("Secret"), "{text}");
            }
        }
        let unread = malformed(&Subject::new("list", secret.key()), "invalid type: string \"hunter2\", expected a map");
        assert!(!unread.to_string().contains("hunter2"), "{unread}");
    }
}
