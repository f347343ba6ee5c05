//! The schema of a kind, as the API server publishes it.

use std::collections::HashMap;

use resources::ObjectKey;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{Call, Cluster, malformed};
use crate::discovery::ApiKind;
use crate::error::{ClusterError, Subject};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    components: Components<'a>,
}

#[derive(Default, Deserialize)]
struct Components<'a> {
    #[serde(borrow, default)]
    schemas: HashMap<String, &'a RawValue>,
}

/// Which kinds a schema is for.
#[derive(Deserialize)]
struct For {
    #[serde(rename = "x-kubernetes-group-version-kind", default)]
    kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

impl Cluster {
    /// The OpenAPI schema of a kind, to which the API server lets everybody look. `None`: it publishes none, or not yet: what a
    /// new definition brings comes somewhat later.
    pub async fn schema(&self, kind: &ApiKind) -> Result<Option<Value>, ClusterError> {
        let root = if kind.group.is_empty() { "api" } else { "apis" };
        let subject = Subject::new("read the schema of", ObjectKey::new(&kind.group, &kind.kind, "", ""));
        let call = Call::get(format!("/openapi/v3/{root}/{}", kind.api_version()));
        let reply = match self.call(&subject, &call).await {
            Ok(reply) => reply,
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => return Ok(None),
        };
        find(&reply.text, kind).map_err(|error| malformed(&subject, error))
    }
}

/// Reads of a document, which has megabytes, only what is asked for.
fn find(text: &str, wanted: &ApiKind) -> Result<Option<Value>, serde_json::Error> {
    let document: Document<'_> = serde_json::from_str(text)?;
    for schema in document.components.schemas.values() {
        let found: For = serde_json::from_str(schema.get())?;
        let is = |kind: &Kind| kind.group == wanted.group && kind.version == wanted.version && kind.kind == wanted.kind;
        if found.kinds.iter().any(is) {
            return serde_json::from_str(schema.get()).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_one_kind_is_found_among_many() {
        let text = r#"{"openapi": "3.0.0", "paths": {}, "components": {"schemas": {
            "io.k8s.ObjectMeta": {"type": "object"},
            "com.example.v1.Thing": {"type": "object", "properties": {"spec": {"nullable": true}},
                "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}]}}}}"#;
        let kind = |version: &str, kind: &str| ApiKind {
            group: "example.com".into(),
            version: version.into(),
            kind: kind.into(),
            plural: "things".into(),
            namespaced: true,
            watchable: true,
            has_status: false,
        };
        let found = find(text, &kind("v1", "Thing")).unwrap().unwrap();
        assert_eq!(found["properties"]["spec"]["nullable"], true);
        for other in [kind("v2", "Thing"), kind("v1", "Other")] {
            assert_eq!(find(text, &other).unwrap(), None);
        }
        assert_eq!(find("{}", &kind("v1", "Thing")).unwrap(), None);
    }
}
