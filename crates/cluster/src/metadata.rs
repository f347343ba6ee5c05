//! What is there, without its content: metadata of all objects of many kinds.

use futures::StreamExt as _;
use resources::Object;
use serde_json::Value;

use crate::client::{Cluster, Selection};
use crate::discovery::ApiKind;
use crate::error::ClusterError;

/// So many lists are under way at once.
const PARALLEL: usize = 8;
/// A list that grows too old between two of its pages is begun again, so often.
const ATTEMPTS: u32 = 3;

/// What [`Cluster::list_metadata`] found.
#[derive(Clone, Debug, Default)]
pub struct MetadataList {
    /// `apiVersion`, `kind` and `metadata` of each object, without its managed fields; ordered by key.
    pub objects: Vec<Object>,
    /// Kinds that could not be listed, and why: not permitted, or not served any more. Nothing is known of their objects.
    pub refused: Vec<(ApiKind, ClusterError)>,
}

impl Cluster {
    /// All kinds whose objects live in namespaces and can be listed, in their preferred versions, in order.
    pub async fn namespaced_kinds(&self) -> Result<Vec<ApiKind>, ClusterError> {
        let mut kinds = self.kinds().await?;
        kinds.retain(|kind| kind.namespaced && kind.watchable);
        kinds.sort_by(|a, b| (&a.group, &a.kind).cmp(&(&b.group, &b.kind)));
        Ok(kinds)
    }

    /// The metadata of all objects of these kinds, in one namespace or in all. A kind that is refused is named and left out;
    /// any other failure is an error, so that what could not be asked for is not mistaken for what is not there.
    pub async fn list_metadata(
        &self,
        kinds: &[ApiKind],
        namespace: Option<&str>,
    ) -> Result<MetadataList, ClusterError> {
        let lists: Vec<_> = kinds.iter().map(|kind| self.metadata_of(kind, namespace)).collect();
        let mut answers = futures::stream::iter(lists).buffered(PARALLEL);
        let mut found = MetadataList::default();
        let mut kinds = kinds.iter();
        while let Some(answer) = answers.next().await {
            let Some(kind) = kinds.next() else { break };
            match answer {
                Ok(objects) => found.objects.extend(objects),
                Err(error) if is_refusal(&error) => found.refused.push((kind.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        found.objects.sort_by_cached_key(Object::key);
        Ok(found)
    }

    async fn metadata_of(&self, kind: &ApiKind, namespace: Option<&str>) -> Result<Vec<Object>, ClusterError> {
        let selection = Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: None,
            metadata_only: true,
            name: None,
        };
        let mut attempt = 1;
        loop {
            let mut objects = Vec::new();
            let listed = self
                .pages(&selection, &mut |item| {
                    objects.push(outline(serde_json::from_str(item.get())?, kind));
                    Ok(())
                })
                .await;
            match listed {
                Ok(_) => return Ok(objects),
                Err(ClusterError::Expired(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The API server calls each of these a PartialObjectMetadata; a caller wants to know what it is.
fn outline(item: Value, kind: &ApiKind) -> Object {
    let mut metadata = match item {
        Value::Object(mut item) => item.shift_remove("metadata").unwrap_or_default(),
        _ => Value::Null,
    };
    if let Some(fields) = metadata.as_object_mut() {
        fields.shift_remove("managedFields");
    }
    Object(serde_json::json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata}))
}

fn is_refusal(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Forbidden { .. } | ClusterError::Api { code: 405, .. }) || error.is_not_found()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_outline_says_what_the_object_is() {
        let kind = ApiKind {
            group: "apps".into(),
            version: "v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
            namespaced: true,
            watchable: true,
            has_status: true,
        };
        let item = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "a", "namespace": "dev", "managedFields": [{}], "ownerReferences": [{"name": "b"}]}});
        let object = outline(item, &kind);
        assert_eq!(object.key().to_string(), "apps/Deployment dev/a");
        assert_eq!(object.at("/metadata/ownerReferences/0/name"), Some(&"b".into()));
        assert!(object.at("/metadata/managedFields").is_none());
    }
}
