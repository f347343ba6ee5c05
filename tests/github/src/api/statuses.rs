//! Commit statuses.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Call, at_most};
use crate::core::Core;
use crate::model::{CommitStatus, Repository};
use crate::reply::Reply;
use crate::time::now_us;
use crate::views::Shape;

const STATES: [&str; 4] = ["error", "failure", "pending", "success"];
/// GitHub takes no more for one commit and context.
const PER_CONTEXT: usize = 1_000;

pub(super) async fn create(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let sha = call.parameter("sha");
    let state = call.required("state")?;
    if !STATES.contains(&state) {
        return Err(Reply::invalid("Status", "state", "state must be one of error, failure, pending, success"));
    }
    let full = sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
    let known = if full { core.commit(call.owner(), call.repository(), sha).await? } else { None };
    // The repository is looked for first: without it the commit cannot be missing.
    core.read(call.owner(), call.repository(), |_| ())?;
    let sha = known.ok_or_else(|| Reply::error(422, format!("No commit found for SHA: {sha}")))?;
    let context = call.text("context").unwrap_or("default");
    at_most("Status", "context", context, 255)?;
    if let Some(description) = call.text("description") {
        at_most("Status", "description", description, 140)?;
    }
    let target_url = call.text("target_url").filter(|u| !u.is_empty());
    if target_url.is_some_and(|u| !u.starts_with("http://") && !u.starts_with("https://")) {
        return Err(Reply::invalid("Status", "target_url", "target_url must use http(s) scheme"));
    }
    let status = CommitStatus {
        id: core.id(),
        sha,
        state: state.to_owned(),
        context: context.to_owned(),
        description: call.text("description").map(str::to_owned),
        target_url: target_url.map(str::to_owned),
        creator: call.login.clone(),
        created_at_us: now_us(),
    };
    core.write(call.owner(), call.repository(), |r| {
        if r.statuses.iter().filter(|s| s.sha == status.sha && s.context == status.context).count() >= PER_CONTEXT {
            return Err(Reply::validation(
                "Validation Failed",
                json!([{
                    "resource": "Status",
                    "code": "custom",
                    "message": "This SHA and context has reached the maximum number of statuses.",
                }]),
            ));
        }
        let reply = Reply::created(core.links.status(r, &status));
        r.statuses.push(status);
        Ok(reply)
    })?
}

async fn commit(core: &Core, call: &Call) -> Result<Option<String>, Reply> {
    core.commit(call.owner(), call.repository(), call.parameter("ref")).await
}

/// Newest first.
pub(super) async fn list(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let sha = commit(core, call).await?;
    core.read(call.owner(), call.repository(), |r| {
        let statuses: Vec<&CommitStatus> = r.statuses.iter().rev().filter(|s| Some(&s.sha) == sha.as_ref()).collect();
        call.page(statuses, |s| core.links.status(r, s))
    })
}

/// The newest of each context and what they come to.
pub(super) async fn combined(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let sha = commit(core, call).await?.ok_or_else(Reply::not_found)?;
    core.read(call.owner(), call.repository(), |r| {
        let newest = newest(r, &sha);
        let (page, size) = call.page_bounds();
        let shown = newest.iter().skip((page - 1) * size).take(size).map(|s| core.links.simple_status(r, s));
        let commit_url = format!("{}/commits/{sha}", core.links.repository_api(&r.owner, &r.name));
        let reply = Reply::ok(json!({
            "state": overall(&newest),
            "statuses": shown.collect::<Vec<Value>>(),
            "sha": sha,
            "total_count": newest.len(),
            "repository": core.links.repository(r, Shape::Nested),
            "commit_url": commit_url,
            "url": format!("{commit_url}/status"),
        }));
        match call.page_links(page, size, newest.len()) {
            Some(links) => reply.header("Link", links),
            None => reply,
        }
    })
}

/// The newest status of each context of a commit.
pub(super) fn newest<'a>(repository: &'a Repository, sha: &str) -> Vec<&'a CommitStatus> {
    let mut seen = HashSet::new();
    repository.statuses.iter().rev().filter(|s| s.sha == sha && seen.insert(s.context.as_str())).collect()
}

fn overall(statuses: &[&CommitStatus]) -> &'static str {
    let any = |states: &[&str]| statuses.iter().any(|s| states.contains(&s.state.as_str()));
    if any(&["error", "failure"]) {
        "failure"
    } else if statuses.is_empty() || any(&["pending"]) {
        "pending"
    } else {
        "success"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_combine_as_githubs_do() {
        for (states, expected) in [
            (&[][..], "pending"),
            (&["success"][..], "success"),
            (&["success", "pending"], "pending"),
            (&["success", "pending", "error"], "failure"),
            (&["failure", "success"], "failure"),
        ] {
            let statuses: Vec<CommitStatus> = states
                .iter()
                .map(|state| CommitStatus {
                    id: 1,
                    sha: String::new(),
                    state: (*state).to_owned(),
                    context: String::new(),
                    description: None,
                    target_url: None,
                    creator: String::new(),
                    created_at_us: 0,
                })
                .collect();
            assert_eq!(overall(&statuses.iter().collect::<Vec<_>>()), expected, "{states:?}");
        }
    }
}
