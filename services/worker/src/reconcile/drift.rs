//! Drift in words: which fields of which objects are not as the synced commit wants them, who changed them and when.

use resources::{OperationState, SyncOperation, listed};

use super::compare::{Comparison, Resource};
use super::{Done, Pass};
use crate::registry::Desired;
use crate::tracker::{Conclusion, Verdict};

/// How a check begins that tells of drift.
const DRIFT: &str = "drift: ";
/// So many objects are named.
const MOST: usize = 5;

/// The objects that differ from Git, if the application has been synced to these commits before: then the cluster has changed,
/// and not Git.
pub fn sentence(pass: &Pass<'_>, done: &Done) -> Option<String> {
    let application = pass.managed.application();
    let last = application.status.as_ref()?.operation_state.as_ref()?;
    if was_synced(last, &done.desired) { in_words(&done.comparison) } else { None }
}

fn is_drifted(resource: &Resource) -> bool {
    let wanted = resource.desired.is_some() && resource.difference.is_some();
    wanted && resource.held_by.is_none() && !resource.hook
}

/// What of the live objects differs from what is desired.
pub fn in_words(comparison: &Comparison) -> Option<String> {
    let mut changed = comparison.out().filter(|resource| is_drifted(resource)).filter_map(|resource| {
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

/// Whether what looks like drift may be the work of whoever holds the lease by now: what Lockstep itself wrote, and what was
/// deleted or came, of which nobody knows by whose hand. Changes that others made are theirs.
pub fn may_be_a_later_holders(comparison: &Comparison) -> bool {
    comparison.out().any(|resource| {
        let ours = |difference: &engine::compare::Difference| {
            difference.missing || difference.fields.iter().any(|field| field.changed_by.is_none())
        };
        resource.desired.is_none() || resource.live.is_none() || resource.difference.as_ref().is_some_and(ours)
    })
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
