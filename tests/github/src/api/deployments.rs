//! Deployments and their statuses.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, at_most, statuses};
use crate::core::Core;
use crate::git::Bare;
use crate::model::{Deployment, DeploymentStatus, Repository};
use crate::pulls;
use crate::reply::Reply;
use crate::time::now_us;

const STATES: [&str; 7] = ["error", "failure", "inactive", "in_progress", "queued", "pending", "success"];

pub(super) fn list(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| {
        let wanted = |name: &str, value: &str| call.query(name).is_none_or(|w| w == "none" || w == value);
        let deployments: Vec<&Deployment> = r
            .deployments
            .iter()
            .rev()
            .filter(|d| {
                wanted("sha", &d.sha)
                    && wanted("ref", &d.reference)
                    && wanted("task", &d.task)
                    && wanted("environment", &d.environment)
            })
            .collect();
        call.page(deployments, |d| core.links.deployment(r, d))
    })
}

pub(super) async fn create(core: &Arc<Core>, call: &Call) -> Result<Reply, Reply> {
    let reference = call.required("ref")?;
    let environment = call.text("environment").unwrap_or("production");
    at_most("Deployment", "environment", environment, 255)?;
    if let Some(description) = call.text("description") {
        at_most("Deployment", "description", description, 140)?;
    }
    let missing = || Reply::error(422, format!("No ref found for: {reference}"));
    let sha = core.commit(call.owner(), call.repository(), reference).await?.ok_or_else(missing)?;
    if call.flag("auto_merge", true)
        && let Some(reply) = auto_merge(core, call, reference, &sha).await?
    {
        return Ok(reply);
    }
    core.read(call.owner(), call.repository(), |r| required_contexts(r, call, reference, &sha))??;
    let now = now_us();
    let deployment = Deployment {
        id: core.id(),
        sha,
        reference: reference.to_owned(),
        task: call.text("task").unwrap_or("deploy").to_owned(),
        environment: environment.to_owned(),
        description: call.text("description").map(str::to_owned),
        payload: call.body.get("payload").filter(|p| !p.is_null()).cloned().unwrap_or_else(|| json!({})),
        transient_environment: call.flag("transient_environment", false),
        production_environment: call.flag("production_environment", environment == "production"),
        creator: call.login.clone(),
        created_at_us: now,
        updated_at_us: now,
        statuses: Vec::new(),
    };
    core.write(call.owner(), call.repository(), |r| {
        let reply = Reply::created(core.links.deployment(r, &deployment));
        r.deployments.push(deployment);
        reply
    })
}

/// All statuses of the commit must be green unless the call says which; callers forget that on GitHub, so here too.
fn required_contexts(repository: &Repository, call: &Call, reference: &str, sha: &str) -> Result<(), Reply> {
    let newest = statuses::newest(repository, sha);
    let red: Vec<Value> = match call.body.get("required_contexts").and_then(Value::as_array) {
        Some(required) => required
            .iter()
            .filter_map(Value::as_str)
            .filter(|c| !newest.iter().any(|s| s.context == *c && s.state == "success"))
            .map(Value::from)
            .collect(),
        None => newest.iter().filter(|s| s.state != "success").map(|s| s.context.as_str().into()).collect(),
    };
    if red.is_empty() {
        return Ok(());
    }
    let message = format!("Conflict: Commit status checks failed for {reference}.");
    let errors = json!([{"contexts": red, "resource": "Deployment", "field": "required_contexts", "code": "invalid"}]);
    Err(Reply::json(
        409,
        json!({"message": message, "errors": errors, "documentation_url": "https://docs.github.com/rest", "status": "409"}),
    ))
}

/// Merges the default branch into a branch that is behind it; the caller is to deploy again then.
async fn auto_merge(core: &Arc<Core>, call: &Call, reference: &str, sha: &str) -> Result<Option<Reply>, Reply> {
    let (owner, name) = (call.owner(), call.repository());
    let (bare, default) = core.read(owner, name, |r| (Bare(r.path.clone()), r.default_branch.clone()))?;
    let full = format!("refs/heads/{reference}");
    let _writing = core.writing.lock().await;
    let before = bare.refs().await?;
    let Some(base) = before.get(&format!("refs/heads/{default}")) else { return Ok(None) };
    if !before.contains_key(&full) || bare.is_ancestor(base, sha).await? {
        return Ok(None);
    }
    let Some(tree) = bare.merge_tree(sha, base).await? else {
        return Err(Reply::error(409, format!("Conflict merging {default} into {reference}.")));
    };
    let merge = bare.commit_tree(&tree, &[sha, base], &format!("Merge {default} into {reference}")).await?;
    bare.update_ref(&full, &merge).await?;
    let changes = pulls::changes(&before, &bare.refs().await?, &call.login);
    pulls::pushed(core, owner, name, changes).await?;
    let message = format!("Auto-merged {default} into {reference} on deployment.");
    Ok(Some(Reply::json(202, json!({"message": message}))))
}

fn find<'a>(repository: &'a Repository, call: &Call) -> Result<&'a Deployment, Reply> {
    let id: i64 = call.number("deployment_id")?;
    repository.deployments.iter().find(|d| d.id == id).ok_or_else(Reply::not_found)
}

pub(super) fn get(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| Ok(Reply::ok(core.links.deployment(r, find(r, call)?))))?
}

/// Only an inactive deployment can be deleted, unless it is the only one.
pub(super) fn delete(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.write(call.owner(), call.repository(), |r| {
        let deployment = find(r, call)?;
        let id = deployment.id;
        let active = deployment.statuses.last().is_none_or(|s| s.state != "inactive");
        if active && r.deployments.len() > 1 {
            let message =
                "We cannot delete an active deployment unless it is the only deployment in a given environment.";
            return Err(Reply::error(422, message));
        }
        r.deployments.retain(|d| d.id != id);
        Ok(Reply::no_content())
    })?
}

/// Newest first.
pub(super) fn list_statuses(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| {
        let deployment = find(r, call)?;
        let newest_first: Vec<_> = deployment.statuses.iter().rev().collect();
        Ok(call.page(newest_first, |s| core.links.deployment_status(r, deployment, s)))
    })?
}

pub(super) fn get_status(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id: i64 = call.number("status_id")?;
    core.read(call.owner(), call.repository(), |r| {
        let deployment = find(r, call)?;
        let status = deployment.statuses.iter().find(|s| s.id == id).ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(core.links.deployment_status(r, deployment, status)))
    })?
}

pub(super) fn create_status(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let state = call.required("state")?;
    if !STATES.contains(&state) {
        return Err(Reply::invalid("DeploymentStatus", "state", "state is not included in the list"));
    }
    let description = call.text("description").unwrap_or_default();
    at_most("DeploymentStatus", "description", description, 140)?;
    let log_url = call.text("log_url").or_else(|| call.text("target_url")).unwrap_or_default();
    let environment_url = call.text("environment_url").unwrap_or_default();
    for (field, url) in [("log_url", log_url), ("environment_url", environment_url)] {
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Reply::invalid("DeploymentStatus", field, &format!("{field} must use http(s) scheme")));
        }
    }
    let now = now_us();
    let status = DeploymentStatus {
        id: core.id(),
        state: state.to_owned(),
        description: description.to_owned(),
        environment_url: environment_url.to_owned(),
        log_url: log_url.to_owned(),
        creator: call.login.clone(),
        created_at_us: now,
    };
    core.write(call.owner(), call.repository(), |r| {
        let id = find(r, call)?.id;
        let deployment = r.deployments.iter_mut().find(|d| d.id == id).ok_or_else(Reply::not_found)?;
        deployment.statuses.push(status.clone());
        deployment.updated_at_us = now;
        if let Some(environment) = call.text("environment") {
            environment.clone_into(&mut deployment.environment);
        }
        let environment = deployment.environment.clone();
        if state == "success" && call.flag("auto_inactive", true) {
            retire(core, r, id, &environment);
        }
        Ok(Reply::created(core.links.deployment_status(r, find(r, call)?, &status)))
    })?
}

/// Earlier deployments of the environment that succeeded become inactive; previews and production stay.
fn retire(core: &Core, repository: &mut Repository, newest: i64, environment: &str) {
    for deployment in &mut repository.deployments {
        let earlier = deployment.id < newest
            && deployment.environment == environment
            && !deployment.transient_environment
            && !deployment.production_environment;
        if earlier && let Some(last) = deployment.statuses.last().filter(|s| s.state == "success").cloned() {
            let now = now_us();
            let inactive = DeploymentStatus { id: core.id(), state: "inactive".to_owned(), created_at_us: now, ..last };
            deployment.statuses.push(inactive);
            deployment.updated_at_us = now;
        }
    }
}
