//! Objects in an application's namespace that no application owns, where its project wants to know of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::MetadataList;
use resources::{AppProject, conditions};

use super::{Cause, Pass};
use crate::AppId;
use crate::context::locked;

/// Listing a namespace asks for each of its kinds: a list is used for so long, unless somebody asks for a refresh.
const LIFETIME: Duration = Duration::from_secs(300);

/// What namespaces held when they were last listed.
#[derive(Debug, Default)]
pub struct Listed(Mutex<HashMap<String, (Instant, Arc<MetadataList>)>>);

/// The warning, if there is one. What cannot be listed for the moment leaves the warning as it was.
pub async fn sentence(pass: &Pass<'_>, project: &AppProject) -> Option<String> {
    project.spec.orphaned_resources.as_ref().filter(|orphans| orphans.warns())?;
    let namespace = &pass.application.spec.destination.namespace;
    if namespace.is_empty() {
        return None;
    }
    match listed(pass, namespace).await {
        Ok(list) => {
            let exists = |instance: &str| {
                pass.ctx.registry.get(&AppId::of_tracking_name(instance, pass.ctx.namespace())).is_some()
            };
            let orphans = engine::orphans::orphans(project, &list.objects, &pass.ctx.tracking, exists);
            engine::orphans::sentence(&orphans)
        }
        Err(error) => {
            tracing::warn!(namespace, %error, "orphans.not_listed");
            let status = pass.application.status.as_ref()?;
            let known = status.conditions.iter().find(|known| known.r#type == conditions::ORPHANED_RESOURCE_WARNING)?;
            Some(known.message.clone())
        }
    }
}

async fn listed(pass: &Pass<'_>, namespace: &str) -> Result<Arc<MetadataList>, cluster::ClusterError> {
    let known = locked(&pass.ctx.listed.0).get(namespace).cloned();
    if let Some((at, list)) = known
        && at.elapsed() < LIFETIME
        && !pass.causes.has(Cause::HardRefresh)
    {
        return Ok(list);
    }
    let kinds = pass.ctx.cluster.namespaced_kinds().await?;
    let list = Arc::new(pass.ctx.cluster.list_metadata(&kinds, Some(namespace)).await?);
    locked(&pass.ctx.listed.0).insert(namespace.to_owned(), (Instant::now(), list.clone()));
    Ok(list)
}
