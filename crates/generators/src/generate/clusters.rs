//! `clusters`: the clusters that have a Secret, and the one in which Lockstep runs.

use std::sync::Arc;

use resources::{ClustersGenerator, Destination};
use serde_json::{Map, Value, json};

use super::{Context, Place, add_values};
use crate::{ClusterEntry, ExpandError, normalize, params::Params};

pub(super) async fn generate(
    context: &Context<'_>,
    generator: &ClustersGenerator,
    place: Place<'_>,
    field: &str,
) -> Result<Vec<Params>, ExpandError> {
    let known = entries(context, field).await?;
    let selector = generator.selector.clone().unwrap_or_default();
    let mut chosen: Vec<ClusterEntry> =
        known.iter().filter(|it| selector.matches(|name| it.labels.get(name).map(String::as_str))).cloned().collect();
    if chosen.is_empty() && !selector.is_empty() {
        context.found_nothing(&format!("{field}.selector"), "no cluster's Secret has these labels");
    }
    // The cluster in which Lockstep runs has no labels to select by, unless it has a Secret like the others.
    let local = |entry: &ClusterEntry| entry.server == Destination::IN_CLUSTER_SERVER;
    if selector.is_empty() && !known.iter().any(local) {
        let (name, server) = (Destination::IN_CLUSTER_NAME.into(), Destination::IN_CLUSTER_SERVER.into());
        chosen.push(ClusterEntry { name, server, ..ClusterEntry::default() });
    }
    chosen.sort_by(|one, two| one.name.cmp(&two.name).then_with(|| one.server.cmp(&two.server)));

    let mut sets = Vec::new();
    for entry in chosen {
        let mut params = parameters(&entry);
        add_values(context, &generator.values, &mut params, place, field)?;
        sets.push(params);
    }
    if generator.flat_list {
        let all = sets.into_iter().map(Value::Object).collect();
        return Ok(vec![Map::from_iter([("clusters".to_owned(), Value::Array(all))])]);
    }
    Ok(sets)
}

async fn entries(context: &Context<'_>, field: &str) -> Result<Arc<Vec<ClusterEntry>>, ExpandError> {
    let mut kept = context.clusters.lock().await;
    if let Some(entries) = &*kept {
        return Ok(entries.clone());
    }
    let found =
        context.lookup.clusters().await.map_err(|source| ExpandError::Lookup { field: field.into(), source })?;
    Ok(kept.insert(Arc::new(found)).clone())
}

fn parameters(entry: &ClusterEntry) -> Params {
    let params = json!({
        "name": entry.name,
        "nameNormalized": normalize(&entry.name),
        "server": entry.server,
        "project": entry.project,
        "metadata": { "labels": entry.labels, "annotations": entry.annotations },
    });
    params.as_object().cloned().unwrap_or_default()
}
