//! What a push does to pull requests, and what pull requests do to the repository: `refs/pull/N/head` and `/merge`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::events::{Event, Payload, RefChange};
use crate::git::{Bare, GitError, ZERO};
use crate::model::PullRequest;
use crate::payloads;
use crate::reply::Reply;
use crate::time::now_us;

/// A failure inside the double; a handler answers 500 with it.
impl From<GitError> for Reply {
    fn from(error: GitError) -> Self {
        Reply::internal(error)
    }
}

/// What differs between two listings of refs, without `refs/pull`. `known` is filled for new branches.
pub(crate) fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    actor: &str,
) -> Vec<RefChange> {
    let known: Vec<String> =
        before.iter().filter(|(name, _)| name.starts_with("refs/heads/")).map(|(_, id)| id.clone()).collect();
    let mut names: Vec<&String> = before.keys().chain(after.keys()).filter(|n| !n.starts_with("refs/pull/")).collect();
    names.sort();
    names.dedup();
    let id = |refs: &BTreeMap<String, String>, name: &str| refs.get(name).cloned().unwrap_or_else(|| ZERO.to_owned());
    names
        .into_iter()
        .map(|name| RefChange {
            name: name.clone(),
            before: id(before, name),
            after: id(after, name),
            actor: actor.to_owned(),
            known: known.clone(),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// Takes note of refs that moved: webhooks, pull requests, and the lag that is to be played.
///
/// Called with [`Core::writing`] held, after the refs have moved and before the push is answered.
pub(crate) async fn pushed(core: &Arc<Core>, owner: &str, name: &str, changes: Vec<RefChange>) -> Result<(), Reply> {
    if changes.is_empty() {
        return Ok(());
    }
    core.write(owner, name, |r| r.pushed_at_us = now_us())?;
    lag(core, owner, name, &changes).await?;
    for change in &changes {
        let event = Event {
            owner: owner.to_owned(),
            repository: name.to_owned(),
            name: "push",
            hook: None,
            payload: Payload::Push(change.clone()),
        };
        // Fails only while the double stops.
        let _ = core.events.send(event);
    }
    for change in &changes {
        if let Some(branch) = change.branch() {
            update_heads(core, owner, name, branch, change).await?;
            update_bases(core, owner, name, branch, change).await?;
        }
    }
    Ok(())
}

async fn lag(core: &Arc<Core>, owner: &str, name: &str, changes: &[RefChange]) -> Result<(), Reply> {
    let Some(lag) = core.state().faults.lag else { return Ok(()) };
    let bare = core.bare(owner, name)?;
    if lag.api_ms > 0 {
        let until = Instant::now() + Duration::from_millis(lag.api_ms);
        for change in changes.iter().filter(|c| c.after != ZERO) {
            let mut known = change.known.clone();
            known.extend((change.before != ZERO).then(|| change.before.clone()));
            let ids = bare.commit_ids(&change.after, &known).await?;
            core.write(owner, name, |r| r.hidden.extend(ids.into_iter().map(|id| (id, until))))?;
        }
    }
    if let (true, Some(replica)) = (lag.git_ms > 0, core.read(owner, name, |r| r.replica.clone())?) {
        let (replica, changes) = (Bare(replica), changes.to_vec());
        core.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(lag.git_ms)).await;
            if let Err(error) = replicate(&bare, &replica, &changes).await {
                tracing::error!(%error, "the push is not visible to fetches");
            }
        });
    }
    Ok(())
}

async fn replicate(from: &Bare, to: &Bare, changes: &[RefChange]) -> Result<(), GitError> {
    let updates: Vec<String> =
        changes.iter().filter(|c| c.after != ZERO).map(|c| format!("+{}:{}", c.after, c.name)).collect();
    if !updates.is_empty() {
        to.fetch(from, &updates).await?;
    }
    for change in changes.iter().filter(|c| c.after == ZERO) {
        to.delete_ref(&change.name).await?;
    }
    Ok(())
}

/// Which pull request, and in which repository.
type PullId = (String, String, u64);

fn open_pulls(core: &Core, wanted: impl Fn(&PullRequest) -> bool) -> Vec<PullId> {
    let state = core.state();
    let pulls = state.repositories.values().flat_map(|r| r.pulls.values().map(move |p| (r, p)));
    pulls.filter(|(_, p)| p.open && wanted(p)).map(|(r, p)| (r.owner.clone(), r.name.clone(), p.number)).collect()
}

async fn update_heads(
    core: &Arc<Core>,
    owner: &str,
    name: &str,
    branch: &str,
    change: &RefChange,
) -> Result<(), Reply> {
    let ids = open_pulls(core, |p| {
        p.head.branch == branch
            && p.head.owner.eq_ignore_ascii_case(owner)
            && p.head.repository.eq_ignore_ascii_case(name)
    });
    for id in ids {
        if change.after == ZERO {
            close(core, &id, &change.actor)?;
            continue;
        }
        let mut before = String::new();
        edit(core, &id, |p| {
            before.clone_from(&p.head.sha);
            p.head.sha.clone_from(&change.after);
        })?;
        refresh(core, &id).await?;
        let extra = fields(json!({"before": before, "after": change.after}));
        announce(core, &id, "synchronize", &change.actor, extra)?;
    }
    Ok(())
}

async fn update_bases(
    core: &Arc<Core>,
    owner: &str,
    name: &str,
    branch: &str,
    change: &RefChange,
) -> Result<(), Reply> {
    if change.after == ZERO {
        return Ok(());
    }
    let ids = open_pulls(core, |p| {
        p.base.branch == branch
            && p.base.owner.eq_ignore_ascii_case(owner)
            && p.base.repository.eq_ignore_ascii_case(name)
    });
    let bare = core.bare(owner, name)?;
    for id in ids {
        let head = core.read(owner, name, |r| r.pulls.get(&id.2).map(|p| p.head.sha.clone()))?.unwrap_or_default();
        if bare.is_ancestor(&head, &change.after).await? {
            merged(core, &id, &change.actor, &change.after)?;
        } else {
            refresh(core, &id).await?;
        }
    }
    Ok(())
}

/// Changes a pull request and its time of update; 404 when it is gone.
pub(crate) fn edit<T>(core: &Core, id: &PullId, edit: impl FnOnce(&mut PullRequest) -> T) -> Result<T, Reply> {
    let edited = core.write(&id.0, &id.1, |r| {
        r.pulls.get_mut(&id.2).map(|p| {
            p.updated_at_us = now_us();
            edit(p)
        })
    })?;
    edited.ok_or_else(Reply::not_found)
}

/// Fetches the head into the base repository, tries the merge, counts what it changes.
pub(crate) async fn refresh(core: &Arc<Core>, id: &PullId) -> Result<(), Reply> {
    let bare = core.bare(&id.0, &id.1)?;
    let pull = core.read(&id.0, &id.1, |r| r.pulls.get(&id.2).cloned())?.ok_or_else(Reply::not_found)?;
    let head_ref = format!("refs/pull/{}/head", id.2);
    if pull.head.owner == pull.base.owner && pull.head.repository == pull.base.repository {
        bare.update_ref(&head_ref, &pull.head.sha).await?;
    } else if let Ok(fork) = core.bare(&pull.head.owner, &pull.head.repository) {
        bare.fetch(&fork, &[format!("+{}:{head_ref}", pull.head.sha)]).await?;
    }
    let base = bare.resolve(&format!("refs/heads/{}", pull.base.branch)).await?;
    let base = base.unwrap_or_else(|| pull.base.sha.clone());
    let extent = bare.extent(&base, &pull.head.sha).await?;
    let tree = bare.merge_tree(&base, &pull.head.sha).await?;
    let merge_ref = format!("refs/pull/{}/merge", id.2);
    let merge = match &tree {
        Some(tree) => {
            let message = format!("Merge {} into {base}", pull.head.sha);
            let merge = bare.commit_tree(tree, &[&base, &pull.head.sha], &message).await?;
            bare.update_ref(&merge_ref, &merge).await?;
            Some(merge)
        }
        None => {
            bare.delete_ref(&merge_ref).await?;
            None
        }
    };
    edit(core, id, |p| {
        p.mergeable = Some(merge.is_some());
        p.merge_commit_sha = merge;
        p.commits = extent.commits;
        p.additions = extent.additions;
        p.deletions = extent.deletions;
        p.changed_files = extent.files;
    })
}

/// Closes without a merge.
pub(crate) fn close(core: &Core, id: &PullId, actor: &str) -> Result<(), Reply> {
    edit(core, id, |p| {
        p.open = false;
        p.closed_at_us = Some(now_us());
    })?;
    announce(core, id, "closed", actor, Map::new())
}

/// Marks as merged by that commit; the base branch has it already.
pub(crate) fn merged(core: &Core, id: &PullId, actor: &str, commit: &str) -> Result<(), Reply> {
    edit(core, id, |p| {
        let now = now_us();
        p.open = false;
        p.merged = true;
        p.closed_at_us = Some(now);
        p.merged_at_us = Some(now);
        p.merged_by = Some(actor.to_owned());
        p.merge_commit_sha = Some(commit.to_owned());
        p.mergeable = None;
    })?;
    announce(core, id, "closed", actor, Map::new())
}

/// Sends `pull_request` with the pull request as it is now.
pub(crate) fn announce(
    core: &Core,
    id: &PullId,
    action: &str,
    actor: &str,
    extra: Map<String, Value>,
) -> Result<(), Reply> {
    let state = core.state();
    let repository = state.repository(&id.0, &id.1).ok_or_else(Reply::not_found)?;
    let pull = repository.pulls.get(&id.2).ok_or_else(Reply::not_found)?;
    let payload = payloads::pull_request(&core.links, &state, repository, pull, action, actor, extra);
    let event = Event {
        owner: id.0.clone(),
        repository: id.1.clone(),
        name: "pull_request",
        hook: None,
        payload: Payload::Ready(Box::new(payload)),
    };
    // Fails only while the double stops.
    let _ = core.events.send(event);
    Ok(())
}

pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(n, i)| ((*n).to_owned(), (*i).to_owned())).collect()
    }

    #[test]
    fn a_push_is_what_differs_between_two_listings() {
        let before =
            refs(&[("refs/heads/a", "1"), ("refs/heads/b", "2"), ("refs/heads/c", "3"), ("refs/pull/1/head", "1")]);
        let after =
            refs(&[("refs/heads/a", "1"), ("refs/heads/b", "4"), ("refs/tags/v1", "4"), ("refs/pull/1/head", "4")]);
        let changes = changes(&before, &after, "ada");
        let seen: Vec<_> = changes.iter().map(|c| (c.name.as_str(), c.before.as_str(), c.after.as_str())).collect();
        assert_eq!(seen, [("refs/heads/b", "2", "4"), ("refs/heads/c", "3", ZERO), ("refs/tags/v1", ZERO, "4")]);
        assert_eq!(changes[0].known, ["1", "2", "3"]);
        assert_eq!(changes[2].branch(), None);
    }
}
