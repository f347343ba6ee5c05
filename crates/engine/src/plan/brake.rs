//! The brake: a sync that would delete most of an application waits until a person has said that it is meant.

use resources::{Application, annotations};
use serde::Serialize;

use super::{Part, PlanInput, Step};
use crate::ownership::owner_of;

/// So many objects may always go, unless they are all there are.
const FEW: usize = 5;

/// What the brake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Brake {
    /// How many objects would be deleted.
    pub pruned: usize,
    /// How many objects the application has in the cluster.
    pub total: usize,
}

impl Brake {
    /// Whether deleting so many of an application's objects is braked: more than half and more than five, or all.
    ///
    /// ```
    /// use engine::plan::Brake;
    /// assert_eq!(Brake::on(6, 11), Some(Brake { pruned: 6, total: 11 }));
    /// assert_eq!(Brake::on(6, 12), None, "not more than half");
    /// assert_eq!(Brake::on(5, 6), None, "not more than five");
    /// assert_eq!(Brake::on(1, 1), Some(Brake { pruned: 1, total: 1 }));
    /// ```
    pub fn on(pruned: usize, total: usize) -> Option<Self> {
        let all = pruned > 0 && pruned >= total;
        let most = pruned > FEW && pruned > total / 2;
        (all || most).then_some(Self { pruned, total })
    }

    /// What would happen and how to say that it is meant, to follow on "the sync": `would prune 6 of the 11 objects of …`.
    pub fn sentence(&self, application: &str) -> String {
        let Self { pruned, total } = self;
        let what = match (pruned, total) {
            (1, 1) => "the only object".into(),
            _ if pruned >= total => format!("all {pruned} objects"),
            _ => format!("{pruned} of the {total} objects"),
        };
        format!(
            "would prune {what} of {application}; if that is meant: lockstep app approve {application}, or set the annotation {} of \
             the Application to the present time",
            annotations::DELETION_APPROVED
        )
    }

    /// The brake of a sync that would delete these.
    pub(super) fn of(input: &PlanInput<'_>, prune: &[&Step]) -> Option<Self> {
        // Deletions of which each one waits for a confirmation need no second one.
        if is_lifted(input.application) || prune.iter().all(|step| step.options.confirm) {
            return None;
        }
        let live = input.resources.iter().filter_map(|state| state.live.as_deref());
        let owned = live.filter(|live| {
            Part::of(live).is_resource() && owner_of(live, input.tracking).as_deref() == Some(input.instance)
        });
        // The only object was given another name: something takes its place.
        let replaced = || {
            let wanted = |object: &resources::Object| Part::of(object).is_resource();
            input.resources.iter().any(|state| state.desired.as_deref().is_some_and(wanted))
        };
        Self::on(prune.len(), owned.count()).filter(|brake| brake.total > 1 || !replaced())
    }
}

fn is_lifted(application: &Application) -> bool {
    let policy = application.spec.sync_policy.as_ref().and_then(|policy| policy.automated.as_ref());
    policy.is_some_and(|automated| automated.allow_empty)
        || application.annotation(annotations::ALLOW_MASS_PRUNE).is_some_and(|value| value.trim() == "true")
}
