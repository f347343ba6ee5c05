//! Drift in words: which fields of which objects are not as the synced commit wants them, who changed them and when.

use std::sync::Arc;

use engine::compare::compare;
use resources::{OperationState, SyncOperation, SyncStatus, listed};

use super::Pass;
use super::compare::{Comparison, Resource};
use crate::registry::Desired;
use crate::tracker::{Conclusion, Verdict};

/// How a check begins that tells of drift.
const DRIFT: &str = "drift: ";
/// So many objects are named.
const MOST: usize = 5;

/// The objects that differ from Git, if the application has been synced to these commits before: then the cluster has changed,
/// and not Git.
pub async fn sentence(pass: &Pass<'_>, desired: &Desired, comparison: &mut Comparison) -> Option<String> {
    let application = pass.managed.application();
    let last = application.status.as_ref()?.operation_state.as_ref()?;
    if !was_synced(last, desired) {
        return None;
    }
    attribute(pass, comparison).await;
    in_words(comparison)
}

/// Asks who changed the objects that are named. The store keeps no fields of others, so they are read once more; what cannot be
/// read stays without a name.
pub async fn attribute(pass: &Pass<'_>, comparison: &mut Comparison) {
    let drifted = |resource: &&mut Arc<Resource>| is_drifted(resource) && resource.live.is_some();
    for resource in comparison.resources.iter_mut().filter(drifted).take(MOST) {
        let (Some(desired), Ok(Some(whole))) = (&resource.desired, pass.ctx.cluster.get(&resource.key).await) else {
            continue;
        };
        let difference = compare(desired, Some(&whole), pass.rules());
        if !difference.is_empty() {
            Arc::make_mut(resource).difference = Some(difference);
        }
    }
}

fn is_drifted(resource: &Resource) -> bool {
    let wanted = resource.desired.is_some() && resource.difference.is_some();
    wanted && resource.status == SyncStatus::OutOfSync && resource.held_by.is_none() && !resource.hook
}

/// What of the live objects differs from what is desired.
pub fn in_words(comparison: &Comparison) -> Option<String> {
    let mut changed = comparison.resources.iter().filter(|resource| is_drifted(resource)).filter_map(|resource| {
        // What was deleted cannot say by whom.
        let deleted = resource.live.is_none();
        let text = if deleted { "was deleted".to_owned() } else { resource.difference.as_ref()?.to_string() };
        Some(format!("{} {text}", resource.key))
    });
    let named: Vec<String> = changed.by_ref().take(MOST).collect();
    let more = changed.count();
    if named.is_empty() {
        return None;
    }
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(format!("{}{more}", named.join("; ")))
}

fn was_synced(last: &OperationState, desired: &Desired) -> bool {
    let Some(result) = &last.sync_result else { return false };
    let whole = last.operation.sync.as_ref().is_none_or(SyncOperation::is_whole);
    last.phase.is_success() && whole && listed(&result.revision, &result.revisions) == desired.commits
}

/// A synced commit from which the cluster has drifted, and nothing repairs that by itself.
pub fn conclusion(sentence: &str) -> Conclusion {
    Conclusion { verdict: Verdict::Failure, sentence: format!("{DRIFT}{sentence}") }
}

/// Whether a conclusion tells of drift.
pub fn is_told_by(conclusion: &Conclusion) -> bool {
    conclusion.verdict == Verdict::Failure && conclusion.sentence.starts_with(DRIFT)
}
