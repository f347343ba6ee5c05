//! Pull requests' events: what they say is known at once, and which commits of forks maintainers have let in is written down
//! before anything follows from it.

use std::sync::Arc;

use cluster::ClusterError;
use generators::{Approvals, ForkPolicy, Inputs, LabelEvent, PullRequestEntry, matches};
use resources::{ApplicationSet, annotations};
use serde_json::json;
use wire::PullRequestAction;

use super::{ApplicationSets, Effects, SetState, set_key};
use crate::Context;
use crate::context::locked;
use crate::lookup::{Asking, entry_of_event, pulls_key};

/// What an event means before any set is expanded.
#[derive(Debug, Default)]
pub struct Heard {
    /// Some set makes a preview of the pull request's head commit. Otherwise nothing of it is even fetched.
    pub previewed: bool,
    /// Why no set does, and what a maintainer can do.
    pub why_not: Option<String>,
}

impl ApplicationSets {
    /// Takes up an event. When it returns, what a maintainer has let in is in the cluster.
    pub async fn hear(
        &self,
        ctx: &Arc<Context>,
        forge: wire::Forge,
        repository: &wire::Repository,
        pull: &wire::PullRequest,
    ) -> Result<Heard, ClusterError> {
        let repository = pulls_key(forge.name(), &repository.owner, &repository.name);
        let key = format!("{repository}#{}", pull.number);
        let before = self.pulls.known(&repository, pull.number);
        let mut entry = entry_of_event(pull);
        let mut heard = Heard::default();
        let mut all = self.all();
        all.retain(|state| locked(&state.answers).asks_pulls_of(&repository));
        if all.is_empty() {
            // Nothing is remembered of repositories that nobody asks about: anybody can make up their names.
            return Ok(heard);
        }
        for state in all {
            // What the policy is cannot be read: the expansion says so.
            let policy = ForkPolicy::of(&locked(&state.set)).unwrap_or(ForkPolicy::Never);
            let _approving = state.approving.lock().await;
            let mut approvals = locked(&state.approvals).clone();
            let event = LabelEvent {
                pull: &entry,
                closed: pull.action() == PullRequestAction::Closed,
                labeled: pull.action() == PullRequestAction::Labeled,
                label: &pull.label,
                sender: &pull.sender,
                before: before.as_ref(),
            };
            approvals.take(&policy, &key, &event);
            entry.approved = approvals.commit(&key).map(str::to_owned);
            write(ctx, &state, approvals).await?;
            if asks_for(&locked(&state.set), repository_full_name(&repository), &entry) {
                match policy.why_not(&entry) {
                    None => heard.previewed = true,
                    Some(reason) => heard.why_not = Some(reason),
                }
            }
        }
        if heard.previewed {
            heard.why_not = None;
        }
        self.pulls.take(&repository, pull);
        Ok(heard)
    }

    /// Expands the sets that ask for the pull requests of the repository.
    pub async fn on_pull_request(
        &self,
        ctx: &Arc<Context>,
        forge: wire::Forge,
        repository: &wire::Repository,
    ) -> Effects {
        let mut effects = Effects::default();
        let repository = pulls_key(forge.name(), &repository.owner, &repository.name);
        for state in self.all() {
            if locked(&state.answers).asks_pulls_of(&repository) {
                self.expand_into(ctx, &state, &mut effects).await;
            }
        }
        effects
    }
}

/// Whether a set wants this pull request at all. Its labels do not count: they can still be set.
fn asks_for(set: &ApplicationSet, full_name: &str, entry: &PullRequestEntry) -> bool {
    Inputs::of(set).pull_requests.into_iter().any(|mut query| {
        let asked = format!("{}/{}", query.owner, query.repository);
        query.labels.clear();
        // In a matrix the repository may be a template.
        (asked.contains("{{") || asked.eq_ignore_ascii_case(full_name)) && matches(&query, entry)
    })
}

/// `acme/gateway` of `github:acme/gateway`.
fn repository_full_name(repository: &str) -> &str {
    repository.split_once(':').map_or(repository, |(_, full_name)| full_name)
}

/// Pull requests that are no longer open need no approval.
pub(super) async fn forget_closed(ctx: &Arc<Context>, state: &SetState, asking: &Asking) {
    let _approving = state.approving.lock().await;
    let mut approvals = locked(&state.approvals).clone();
    for (repository, open) in asking.open_pulls() {
        approvals.retain(&repository, &open);
    }
    if let Err(error) = write(ctx, state, approvals).await {
        tracing::debug!(application_set = %state.id, %error, "application_set.approvals_not_written");
    }
}

async fn write(ctx: &Arc<Context>, state: &SetState, approvals: Approvals) -> Result<(), ClusterError> {
    if *locked(&state.approvals) == approvals {
        return Ok(());
    }
    let patch = json!({ "metadata": { "annotations": { annotations::APPROVED_PREVIEWS: approvals.to_annotation() } } });
    match ctx.control.merge_patch(&set_key(&state.id), &patch).await {
        Ok(_) => {}
        // The set is gone.
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    *locked(&state.approvals) = approvals;
    Ok(())
}
