//! What an application's objects have brought about in the cluster, asked for when somebody wants to see it: nothing of it is
//! watched, so that memory follows what is owned.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cluster::{Cluster, ClusterError};
use engine::health::Health;
use engine::tree::{Node, descendants};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use resources::{Object, ObjectKey};
use serde_json::Value;

/// So many objects below an application's own are read whole; of others the tree has no health.
const MOST: usize = 2_000;
const PARALLEL: usize = 16;

/// The trees below these live objects.
pub async fn trees(
    cluster: &Cluster,
    roots: &[Arc<Object>],
    health: impl Fn(&Object) -> Option<Health>,
) -> Result<Vec<Node>, ClusterError> {
    let mut kinds = cluster.namespaced_kinds().await?;
    // They tell of objects and belong to none.
    kinds.retain(|kind| !matches!(kind.kind.as_str(), "Event" | "Lease"));
    let namespaces: BTreeSet<&str> =
        roots.iter().map(|root| root.namespace()).filter(|namespace| !namespace.is_empty()).collect();
    let mut outlines = Vec::new();
    for namespace in namespaces {
        outlines.extend(cluster.list_metadata(&kinds, Some(namespace)).await?.objects);
    }
    let roots: Vec<&Object> = roots.iter().map(Arc::as_ref).collect();
    let below: Vec<&Object> = descendants(&roots, &outlines.iter().collect::<Vec<_>>());
    let reads: Vec<_> = below.iter().take(MOST).map(|outline| whole(cluster, outline.key())).collect();
    let read: Vec<Object> =
        stream::iter(reads).buffered(PARALLEL).try_filter_map(async |object| Ok(object)).try_collect().await?;
    let volumes: Vec<_> =
        roots.iter().copied().chain(&read).filter_map(volume).map(|key| whole(cluster, key)).collect();
    let volumes: Vec<Object> =
        stream::iter(volumes).buffered(PARALLEL).try_filter_map(async |object| Ok(object)).try_collect().await?;
    let known: HashMap<&str, &Object> = read.iter().map(|object| (object.uid(), object)).collect();
    let others: Vec<&Object> =
        below.into_iter().map(|outline| known.get(outline.uid()).copied().unwrap_or(outline)).chain(&volumes).collect();
    Ok(engine::tree::trees(&roots, &others, health))
}

async fn whole(cluster: &Cluster, key: ObjectKey) -> Result<Option<Object>, ClusterError> {
    match cluster.get(&key).await {
        // What one may list, one may not always get.
        Err(ClusterError::Forbidden { .. }) => Ok(None),
        found => found,
    }
}

fn volume(claim: &Object) -> Option<ObjectKey> {
    let name = claim.at("/spec/volumeName").and_then(Value::as_str).filter(|name| !name.is_empty())?;
    (claim.kind() == "PersistentVolumeClaim").then(|| ObjectKey::new("", "PersistentVolume", "", name))
}
