//! Repositories, branches, commits, refs.

use serde_json::{Value, json};

use super::Call;
use crate::core::Core;
use crate::reply::{Body, Reply};
use crate::views::Shape;

pub(super) fn get(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| Reply::ok(core.links.repository(r, Shape::Full)))
}

async fn refs(core: &Core, call: &Call) -> Result<Vec<(String, String)>, Reply> {
    let bare = core.bare(call.owner(), call.repository())?;
    Ok(bare.refs().await?.into_iter().collect())
}

pub(super) async fn list_branches(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let refs = refs(core, call).await?;
    let branches = refs.iter().filter_map(|(n, id)| n.strip_prefix("refs/heads/").map(|n| (n, id))).collect();
    core.read(call.owner(), call.repository(), |r| {
        let api = core.links.repository_api(&r.owner, &r.name);
        call.page(branches, |(name, id)| {
            json!({"name": name, "commit": {"sha": id, "url": format!("{api}/commits/{id}")}, "protected": false})
        })
    })
}

pub(super) async fn get_branch(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let branch = call.parameter("branch");
    let bare = core.bare(call.owner(), call.repository())?;
    let missing = || Reply::error(404, "Branch not found");
    let id =
        core.commit(call.owner(), call.repository(), &format!("refs/heads/{branch}")).await?.ok_or_else(missing)?;
    let commit = bare.commit(&id).await?.ok_or_else(missing)?;
    core.read(call.owner(), call.repository(), |r| {
        let api = format!("{}/branches/{branch}", core.links.repository_api(&r.owner, &r.name));
        let html = format!("{}/tree/{branch}", core.links.repository_web(&r.owner, &r.name));
        Reply::ok(json!({
            "name": branch,
            "commit": core.links.commit(r, &commit),
            "_links": {"self": api, "html": html},
            "protected": false,
            "protection": {"enabled": false},
            "protection_url": format!("{api}/protection"),
        }))
    })
}

pub(super) async fn get_commit(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let revision = call.parameter("ref");
    let bare = core.bare(call.owner(), call.repository())?;
    let missing = || Reply::error(422, format!("No commit found for SHA: {revision}"));
    let id = core.commit(call.owner(), call.repository(), revision).await?.ok_or_else(missing)?;
    if call.accept.contains("application/vnd.github.sha") {
        let body = Body::Text { content_type: "application/vnd.github.sha; charset=utf-8", text: id };
        return Ok(Reply { status: 200, body, headers: Vec::new() });
    }
    let commit = bare.commit(&id).await?.ok_or_else(missing)?;
    core.read(call.owner(), call.repository(), |r| Reply::ok(core.links.commit(r, &commit)))
}

pub(super) async fn get_ref(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let wanted = format!("refs/{}", call.parameter("ref"));
    let refs = refs(core, call).await?;
    let (name, id) = refs.into_iter().find(|(n, _)| *n == wanted).ok_or_else(Reply::not_found)?;
    core.read(call.owner(), call.repository(), |r| Reply::ok(core.links.git_ref(r, &name, &id)))
}

pub(super) async fn matching_refs(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let prefix = format!("refs/{}", call.parameter("ref"));
    let refs = refs(core, call).await?;
    core.read(call.owner(), call.repository(), |r| {
        let matching = refs.iter().filter(|(name, _)| name.starts_with(&prefix));
        Reply::ok(matching.map(|(name, id)| core.links.git_ref(r, name, id)).collect::<Vec<Value>>().into())
    })
}
