use serde::Deserialize;
use wire::{PullRequestAction, Push, delivery};

use crate::webhook::Headers;
use crate::webhook::bounded::{line, short};
use crate::webhook::changes::Commits;
use crate::webhook::payload::{
    Account, Event, Malformation, RepositoryPayload, action, base_of, commit, full_ref, head_commit_of, is_zero, json,
    lenient, pull_request,
};

pub(crate) const EVENT: &str = "X-GitHub-Event";
pub(crate) const DELIVERY: &str = "X-GitHub-Delivery";
const SIGNATURE: &str = "X-Hub-Signature-256";

/// The signature in hexadecimal digits.
pub(crate) fn signature(headers: &Headers) -> Option<&str> {
    headers.get(SIGNATURE)?.strip_prefix("sha256=")
}

pub(crate) fn parse(event: &str, payload: &[u8]) -> Result<Event, Malformation> {
    match event {
        "ping" => Ok(Event::Ping),
        "push" => push(json(payload)?),
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
    #[serde(default, deserialize_with = "lenient")]
    created: bool,
    #[serde(default, deserialize_with = "lenient")]
    deleted: bool,
    #[serde(default, deserialize_with = "lenient")]
    forced: bool,
    #[serde(default, deserialize_with = "lenient")]
    commits: Commits,
    /// Not in today's webhooks, only in the events API; honoured if it comes.
    #[serde(default)]
    size: Option<usize>,
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
    let created = payload.created || is_zero(&before);
    let deleted = payload.deleted || is_zero(&after);
    // Of a new, deleted or forced ref the commits do not tell the difference between before and after.
    let tells = !created && !deleted && !payload.forced;
    let commit = head_commit_of(payload.head_commit.as_ref().map(|head| head.id.as_str()), &full_ref, &after);
    let changed_paths = payload.commits.changed_paths(&after, payload.size).filter(|_| tells);
    let push = Push {
        commit,
        r#ref: full_ref,
        before,
        after,
        created,
        deleted,
        forced: payload.forced,
        changed_paths,
        pusher: payload.pusher.name.or(payload.pusher.login).unwrap_or_default(),
        title: payload.head_commit.map(|head| head.message).unwrap_or_default(),
    };
    Ok(Event::Known { repository: payload.repository.check(api_url)?, event: delivery::Event::Push(push) })
}

fn pull_request_action(name: &str) -> Option<PullRequestAction> {
    Some(match name {
        "opened" => PullRequestAction::Opened,
        "reopened" => PullRequestAction::Reopened,
        "synchronize" => PullRequestAction::Synchronized,
        "closed" => PullRequestAction::Closed,
        "labeled" => PullRequestAction::Labeled,
        "unlabeled" => PullRequestAction::Unlabeled,
        "edited" => PullRequestAction::Edited,
        "ready_for_review" => PullRequestAction::ReadyForReview,
        "converted_to_draft" => PullRequestAction::ConvertedToDraft,
        _ => return None,
    })
}

fn api_url(repository: &RepositoryPayload) -> Option<String> {
    base_of(&repository.statuses_url, "/repos/")
}
