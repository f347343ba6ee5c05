//! Applications that have nothing but hooks. No object of theirs is ever out of sync, so they are synced when their hooks have become
//! others than those that ran last. What ran last is told by an annotation, which outlives the process.

use engine::plan::{Part, Phase};
use resources::{Object, annotations, listed};
use sha2::{Digest as _, Sha256};

use super::Pass;
use super::apply::Performed;
use crate::registry::Desired;

/// What such an application waits for.
pub const NOT_RUN: &str = "its hooks have not run yet as they are now";

/// Whether the application has nothing but hooks, and they have to run.
pub fn are_due(pass: &Pass<'_>, desired: &Desired) -> bool {
    let Some(digest) = digest(desired) else { return false };
    if let Some(ran) = pass.managed.application().annotation(annotations::HOOKS_RAN) {
        return ran != digest;
    }
    // Of what was synced before there was the annotation, or by Argo CD.
    let application = pass.managed.application();
    let last = application.status.as_ref().and_then(|status| status.history.last());
    last.is_none_or(|last| listed(&last.revision, &last.revisions) != desired.commits)
}

/// What the annotation says after an operation: the hooks that ran.
pub fn ran(desired: &Desired, performed: &Performed) -> Option<String> {
    let whole = performed.failure.is_none() && !performed.dry_run && !performed.selective;
    if whole { digest(desired) } else { None }
}

fn digest(desired: &Desired) -> Option<String> {
    let runs = |object: &Object| match Part::of(object) {
        Part::Hook(phases) => Some(phases.iter().any(|phase| *phase < Phase::SyncFail)),
        Part::Skip | Part::Unknown(_) => Some(false),
        Part::Resource => None,
    };
    let runs: Option<Vec<bool>> = desired.objects.iter().map(|object| runs(object)).collect();
    if !runs?.contains(&true) {
        return None;
    }
    let mut digest = Sha256::new();
    for object in &desired.objects {
        digest.update(object.0.to_string());
        digest.update([0]);
    }
    Some(hex::encode(&digest.finalize()[..16]))
}
