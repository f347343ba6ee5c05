//! Pull requests.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Call;
use crate::core::Core;
use crate::git::Bare;
use crate::model::{PullRequest, Side};
use crate::pulls::{announce, changes, close, edit, fields, merged, pushed, refresh};
use crate::reply::Reply;
use crate::time::now_us;
use crate::views::{PullSides, Shape};

type PullId = (String, String, u64);

fn id(call: &Call) -> Result<PullId, Reply> {
    Ok((call.owner().to_owned(), call.repository().to_owned(), call.number("pull_number")?))
}

fn view(core: &Core, id: &PullId, detail: bool) -> Result<Value, Reply> {
    let state = core.state();
    let repository = state.repository(&id.0, &id.1).ok_or_else(Reply::not_found)?;
    let pull = repository.pulls.get(&id.2).ok_or_else(Reply::not_found)?;
    let head = state.repository(&pull.head.owner, &pull.head.repository);
    Ok(core.links.pull(repository, pull, PullSides { head, shape: Shape::Nested }, detail))
}

pub(super) fn list(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let state = call.query("state").unwrap_or("open");
    let wanted = |p: &PullRequest| {
        let label = format!("{}:{}", p.head.owner, p.head.branch);
        (state == "all" || (state == "open") == p.open)
            && call.query("head").is_none_or(|h| h.eq_ignore_ascii_case(&label))
            && call.query("base").is_none_or(|b| b == p.base.branch)
    };
    let mut pulls: Vec<(i64, u64)> = core.read(call.owner(), call.repository(), |r| {
        let by_update = call.query("sort") == Some("updated");
        let key = |p: &PullRequest| if by_update { p.updated_at_us } else { p.created_at_us };
        r.pulls.values().filter(|p| wanted(p)).map(|p| (key(p), p.number)).collect()
    })?;
    pulls.sort_unstable();
    if call.query("direction") != Some("asc") {
        pulls.reverse();
    }
    let view = |(_, number)| {
        view(core, &(call.owner().to_owned(), call.repository().to_owned(), number), false).unwrap_or_default()
    };
    Ok(call.page(pulls, view))
}

pub(super) fn get(core: &Core, call: &Call) -> Result<Reply, Reply> {
    Ok(Reply::ok(view(core, &id(call)?, true)?))
}

pub(super) async fn create(core: &Arc<Core>, call: &Call) -> Result<Reply, Reply> {
    let (owner, name) = (call.owner(), call.repository());
    let (title, head, base) = (call.required("title")?, call.required("head")?, call.required("base")?);
    let bare = core.bare(owner, name)?;
    let _writing = core.writing.lock().await;
    let invalid = |field: &str| {
        Reply::validation("Validation Failed", json!([{"resource": "PullRequest", "field": field, "code": "invalid"}]))
    };
    let base_sha = bare.resolve(&format!("refs/heads/{base}")).await?.ok_or_else(|| invalid("base"))?;
    let head = head_side(core, call, head).await?.ok_or_else(|| invalid("head"))?;
    let conflict = |message: String| Reply::invalid("PullRequest", "head", &message);
    let taken = core.read(owner, name, |r| {
        let same = |p: &PullRequest| {
            p.open && p.base.branch == base && p.head.branch == head.branch && p.head.owner == head.owner
        };
        r.pulls.values().any(same)
    })?;
    if taken {
        return Err(conflict(format!("A pull request already exists for {}:{}.", head.owner, head.branch)));
    }
    let now = now_us();
    let (pull_id, label) = (core.id(), head.branch.clone());
    let number = core.write(owner, name, |r| {
        let number = r.pulls.keys().next_back().map_or(1, |n| n + 1);
        let base = Side { owner: r.owner.clone(), repository: r.name.clone(), branch: base.to_owned(), sha: base_sha };
        let pull = PullRequest {
            id: pull_id,
            number,
            title: title.to_owned(),
            body: call.text("body").map(str::to_owned),
            open: true,
            draft: call.flag("draft", false),
            merged: false,
            head,
            base,
            author: call.login.clone(),
            labels: Vec::new(),
            created_at_us: now,
            updated_at_us: now,
            closed_at_us: None,
            merged_at_us: None,
            merged_by: None,
            merge_commit_sha: None,
            mergeable: None,
            commits: 0,
            additions: 0,
            deletions: 0,
            changed_files: 0,
        };
        r.pulls.insert(number, pull);
        number
    })?;
    let id = (owner.to_owned(), name.to_owned(), number);
    refresh(core, &id).await?;
    if core.read(owner, name, |r| r.pulls.get(&number).is_some_and(|p| p.commits == 0))? {
        core.write(owner, name, |r| r.pulls.remove(&number))?;
        return Err(conflict(format!("No commits between {base} and {label}")));
    }
    announce(core, &id, "opened", &call.login, Map::new())?;
    Ok(Reply::created(view(core, &id, true)?))
}

/// `branch`, or `owner:branch` for a fork of the same name.
async fn head_side(core: &Core, call: &Call, head: &str) -> Result<Option<Side>, Reply> {
    let (owner, branch) = head.split_once(':').unwrap_or((call.owner(), head));
    let Ok((bare, owner, name)) =
        core.read(owner, call.repository(), |r| (Bare(r.path.clone()), r.owner.clone(), r.name.clone()))
    else {
        return Ok(None);
    };
    let sha = bare.resolve(&format!("refs/heads/{branch}")).await?;
    Ok(sha.map(|sha| Side { owner, repository: name, branch: branch.to_owned(), sha }))
}

pub(super) async fn update(core: &Arc<Core>, call: &Call) -> Result<Reply, Reply> {
    let id = id(call)?;
    let _writing = core.writing.lock().await;
    let before = core.read(&id.0, &id.1, |r| r.pulls.get(&id.2).cloned())?.ok_or_else(Reply::not_found)?;
    let mut from = Map::new();
    if let Some(title) = call.text("title").filter(|t| *t != before.title) {
        edit(core, &id, |p| title.clone_into(&mut p.title))?;
        from.insert("title".to_owned(), json!({"from": before.title}));
    }
    if let Some(body) = call.text("body").filter(|b| Some(*b) != before.body.as_deref()) {
        edit(core, &id, |p| p.body = Some(body.to_owned()))?;
        from.insert("body".to_owned(), json!({"from": before.body.clone().unwrap_or_default()}));
    }
    if let Some(base) = call.text("base").filter(|b| *b != before.base.branch) {
        let bare = core.bare(&id.0, &id.1)?;
        let Some(sha) = bare.resolve(&format!("refs/heads/{base}")).await? else {
            return Err(Reply::validation(
                "Validation Failed",
                json!([{"resource": "PullRequest", "field": "base", "code": "invalid"}]),
            ));
        };
        edit(core, &id, |p| {
            base.clone_into(&mut p.base.branch);
            p.base.sha = sha;
        })?;
        refresh(core, &id).await?;
        from.insert("base".to_owned(), json!({"ref": {"from": before.base.branch}, "sha": {"from": before.base.sha}}));
    }
    if !from.is_empty() {
        announce(core, &id, "edited", &call.login, fields(json!({"changes": from})))?;
    }
    match call.text("state") {
        Some("closed") if before.open => close(core, &id, &call.login)?,
        Some("open") if !before.open => reopen(core, &id, &before, &call.login).await?,
        _ => {}
    }
    Ok(Reply::ok(view(core, &id, true)?))
}

async fn reopen(core: &Arc<Core>, id: &PullId, pull: &PullRequest, actor: &str) -> Result<(), Reply> {
    let cannot = |message: &str| Reply::invalid("PullRequest", "state", message);
    if pull.merged {
        return Err(cannot("state cannot be changed. The pull request has been merged."));
    }
    let head = core.bare(&pull.head.owner, &pull.head.repository)?;
    let Some(sha) = head.resolve(&format!("refs/heads/{}", pull.head.branch)).await? else {
        return Err(cannot(&format!("state cannot be changed. The {} branch has been deleted.", pull.head.branch)));
    };
    edit(core, id, |p| {
        p.open = true;
        p.closed_at_us = None;
        p.head.sha = sha;
    })?;
    refresh(core, id).await?;
    announce(core, id, "reopened", actor, Map::new())
}

/// GitHub changes a draft through GraphQL only, so this is no REST call.
pub(crate) fn set_draft(core: &Core, id: &PullId, draft: bool, actor: &str) -> Result<(), Reply> {
    let changed = edit(core, id, |p| std::mem::replace(&mut p.draft, draft) != draft)?;
    if changed {
        let action = if draft { "converted_to_draft" } else { "ready_for_review" };
        announce(core, id, action, actor, Map::new())?;
    }
    Ok(())
}

pub(super) fn is_merged(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id = id(call)?;
    let merged = core.read(&id.0, &id.1, |r| r.pulls.get(&id.2).is_some_and(|p| p.merged))?;
    if merged { Ok(Reply::no_content()) } else { Err(Reply::not_found()) }
}

pub(super) async fn merge(core: &Arc<Core>, call: &Call) -> Result<Reply, Reply> {
    let id = id(call)?;
    let _writing = core.writing.lock().await;
    let bare = core.bare(&id.0, &id.1)?;
    let pull = core.read(&id.0, &id.1, |r| r.pulls.get(&id.2).cloned())?.ok_or_else(Reply::not_found)?;
    if call.text("sha").is_some_and(|sha| sha != pull.head.sha) {
        return Err(Reply::error(409, "Head branch was modified. Review and try the merge again."));
    }
    let not_mergeable = || Reply::error(405, "Pull Request is not mergeable");
    if !pull.open || pull.draft {
        return Err(not_mergeable());
    }
    let before = bare.refs().await?;
    let base_ref = format!("refs/heads/{}", pull.base.branch);
    let base = before.get(&base_ref).ok_or_else(not_mergeable)?;
    let tree = bare.merge_tree(base, &pull.head.sha).await?.ok_or_else(not_mergeable)?;
    let (parents, title, body) = match call.text("merge_method").unwrap_or("merge") {
        "merge" => (
            vec![base.as_str(), pull.head.sha.as_str()],
            format!("Merge pull request #{} from {}/{}", pull.number, pull.head.owner, pull.head.branch),
            pull.title.clone(),
        ),
        "squash" => (vec![base.as_str()], format!("{} (#{})", pull.title, pull.number), String::new()),
        "rebase" => return Err(Reply::error(405, "Rebase merges are not allowed on this repository.")),
        _ => return Err(Reply::invalid("PullRequest", "merge_method", "merge_method is not included in the list")),
    };
    let title = call.text("commit_title").map_or(title, str::to_owned);
    let body = call.text("commit_message").map_or(body, str::to_owned);
    let commit = bare.commit_tree(&tree, &parents, format!("{title}\n\n{body}").trim_end()).await?;
    bare.update_ref(&base_ref, &commit).await?;
    // Marked before the push is looked at, which would otherwise find the merge by itself.
    merged(core, &id, &call.login, &commit)?;
    let changes = changes(&before, &bare.refs().await?, &call.login);
    pushed(core, &id.0, &id.1, changes).await?;
    Ok(Reply::ok(json!({"sha": commit, "merged": true, "message": "Pull Request successfully merged"})))
}
