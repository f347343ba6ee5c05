//! Payloads of webhooks, shaped as GitHub's are.

use serde_json::{Map, Value, json};

use crate::core::State;
use crate::events::RefChange;
use crate::git::{Bare, CommitInfo, GitError, ZERO};
use crate::model::{Hook, PullRequest, Repository};
use crate::views::{Links, PullSides, Shape, email};

/// What git knows about a push.
pub(crate) struct PushFacts {
    forced: bool,
    commits: Vec<CommitInfo>,
    head: Option<CommitInfo>,
    base_ref: Option<String>,
}

/// Reads the commits of a push. Tags list none, as on GitHub.
pub(crate) async fn push_facts(bare: &Bare, change: &RefChange) -> Result<PushFacts, GitError> {
    let deleted = change.after == ZERO;
    let created = change.before == ZERO;
    let commits = if deleted || change.branch().is_none() {
        Vec::new()
    } else if created {
        bare.commits(&change.after, &change.known).await?
    } else {
        bare.commits(&change.after, std::slice::from_ref(&change.before)).await?
    };
    let head = match commits.last() {
        Some(last) if last.id == change.after => Some(last.clone()),
        _ if deleted => None,
        // The tip may be a tag object or a commit that was there before.
        _ => bare.commit(&change.after).await?,
    };
    let mut base_ref = None;
    if created {
        let refs = bare.refs().await?;
        base_ref = refs
            .into_iter()
            .find(|(name, id)| name.starts_with("refs/heads/") && *name != change.name && *id == change.after)
            .map(|(name, _)| name);
    }
    Ok(PushFacts { forced: bare.is_forced(&change.before, &change.after).await, commits, head, base_ref })
}

pub(crate) fn push(links: &Links, repository: &Repository, change: &RefChange, facts: &PushFacts) -> Value {
    let web = links.repository_web(&repository.owner, &repository.name);
    let created = change.before == ZERO;
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let compare = if created {
        let name = change.name.rsplit("refs/heads/").next().unwrap_or(&change.name);
        format!("{web}/compare/{name}")
    } else {
        format!("{web}/compare/{}...{}", short(&change.before), short(&change.after))
    };
    let commits: Vec<Value> = facts.commits.iter().map(|c| links.push_commit(repository, c)).collect();
    json!({
        "ref": change.name,
        "before": change.before,
        "after": change.after,
        "repository": links.repository(repository, Shape::Push),
        "pusher": {"name": change.actor, "email": email(&change.actor)},
        "organization": links.organization(&repository.owner),
        "sender": links.user(&change.actor),
        "created": created,
        "deleted": change.after == ZERO,
        "forced": facts.forced,
        "base_ref": facts.base_ref,
        "compare": compare,
        "commits": commits,
        "head_commit": facts.head.as_ref().map(|c| links.push_commit(repository, c)),
    })
}

/// `pull_request` with an action; `extra` has the fields that only this action has.
pub(crate) fn pull_request(
    links: &Links,
    state: &State,
    repository: &Repository,
    pull: &PullRequest,
    action: &str,
    actor: &str,
    extra: Map<String, Value>,
) -> Value {
    let head = state.repository(&pull.head.owner, &pull.head.repository);
    let mut payload = json!({
        "action": action,
        "number": pull.number,
        "pull_request": links.pull(repository, pull, PullSides { head, shape: Shape::Side }, true),
    });
    if let Some(payload) = payload.as_object_mut() {
        payload.extend(extra);
        payload.insert("repository".to_owned(), links.repository(repository, Shape::Webhook));
        payload.insert("organization".to_owned(), links.organization(&repository.owner));
        payload.insert("sender".to_owned(), links.user(actor));
    }
    payload
}

pub(crate) fn ping(links: &Links, repository: &Repository, hook: &Hook, actor: &str) -> Value {
    json!({
        "zen": "What was pushed is what runs.",
        "hook_id": hook.id,
        "hook": links.hook(repository, hook),
        "repository": links.repository(repository, Shape::Webhook),
        "organization": links.organization(&repository.owner),
        "sender": links.user(actor),
    })
}
