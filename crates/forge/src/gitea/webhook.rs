use serde::Deserialize;
use wire::{PullRequestAction, Push, delivery};

use crate::webhook::Headers;
use crate::webhook::bounded::{line, short};
use crate::webhook::payload::{
    Account, Event, Malformation, RepositoryPayload, action, base_of, commit, full_ref, head_commit_of, is_zero, json,
    lenient, pull_request,
};

pub(crate) const EVENT: &str = "X-Gitea-Event";
pub(crate) const DELIVERY: &str = "X-Gitea-Delivery";
const SIGNATURE: &str = "X-Gitea-Signature";

/// The signature in hexadecimal digits. Without a secret Gitea sends the header empty.
pub(crate) fn signature(headers: &Headers) -> Option<&str> {
    headers.get(SIGNATURE).filter(|code| !code.is_empty()).or_else(|| crate::github::webhook::signature(headers))
}

pub(crate) fn parse(event: &str, payload: &[u8]) -> Result<Event, Malformation> {
    match event {
        "push" => push(json(payload)?),
        "delete" => delete(json(payload)?),
        "pull_request" => pull_request(payload, pull_request_action, api_url),
        _ => Ok(Event::Ignored { action: action(payload) }),
    }
}

#[derive(Deserialize)]
struct PushPayload {
    #[serde(deserialize_with = "short")]
    r#ref: String,
    #[serde(deserialize_with = "short")]
    before: String,
    #[serde(deserialize_with = "short")]
    after: String,
    #[serde(default)]
    head_commit: Option<HeadCommit>,
    #[serde(default, deserialize_with = "lenient")]
    pusher: Account,
    repository: RepositoryPayload,
}

#[derive(Deserialize)]
struct HeadCommit {
    #[serde(default, deserialize_with = "lenient")]
    id: String,
    #[serde(default, deserialize_with = "line")]
    message: String,
}

fn push(payload: PushPayload) -> Result<Event, Malformation> {
    let (before, after) = (commit(payload.before, "before")?, commit(payload.after, "after")?);
    let full_ref = full_ref(payload.r#ref)?;
    let commit = head_commit_of(payload.head_commit.as_ref().map(|head| head.id.as_str()), &full_ref, &after);
    let push = Push {
        commit,
        r#ref: full_ref,
        created: is_zero(&before),
        deleted: is_zero(&after),
        before,
        after,
        // Gitea does not say when a push was forced, and lists five commits unless it is set up otherwise. So its
        // lists of files never prove that they are complete.
        forced: false,
        changed_paths: None,
        pusher: payload.pusher.login.unwrap_or_default(),
        title: payload.head_commit.map(|head| head.message).unwrap_or_default(),
    };
    Ok(Event::Known { repository: payload.repository.check(api_url)?, event: delivery::Event::Push(push) })
}

#[derive(Deserialize)]
struct DeletePayload {
    #[serde(deserialize_with = "short")]
    r#ref: String,
    #[serde(deserialize_with = "short")]
    ref_type: String,
    #[serde(default, deserialize_with = "lenient")]
    sender: Account,
    repository: RepositoryPayload,
}

/// Where GitHub sends a push of nothing, Gitea has an event of its own, with the ref's short name.
fn delete(payload: DeletePayload) -> Result<Event, Malformation> {
    let folder = match payload.ref_type.as_str() {
        "branch" => "refs/heads/",
        "tag" => "refs/tags/",
        _ => return Ok(Event::Ignored { action: Some(payload.ref_type) }),
    };
    let short = payload.r#ref.strip_prefix(folder).unwrap_or(&payload.r#ref);
    let zeros = "0".repeat(40);
    let push = Push {
        r#ref: full_ref(format!("{folder}{short}"))?,
        before: zeros.clone(),
        after: zeros,
        deleted: true,
        pusher: payload.sender.login.unwrap_or_default(),
        ..Default::default()
    };
    Ok(Event::Known { repository: payload.repository.check(api_url)?, event: delivery::Event::Push(push) })
}

fn pull_request_action(name: &str) -> Option<PullRequestAction> {
    Some(match name {
        "opened" => PullRequestAction::Opened,
        "reopened" => PullRequestAction::Reopened,
        "synchronized" => PullRequestAction::Synchronized,
        "closed" => PullRequestAction::Closed,
        "label_updated" => PullRequestAction::Labeled,
        "label_cleared" => PullRequestAction::Unlabeled,
        // A draft is a pull request with a certain title, so becoming one or ready is an edit too.
        "edited" => PullRequestAction::Edited,
        _ => return None,
    })
}

fn api_url(repository: &RepositoryPayload) -> Option<String> {
    base_of(&repository.url, "/repos/")
}
