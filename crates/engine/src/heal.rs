//! Repairing drift, object by object: at once, and with growing waits where somebody changes it back each time.
//!
//! ```
//! use engine::heal::{Drift, HealHistory};
//! use jiff::ToSpan;
//! # let key = resources::ObjectKey::new("apps", "Deployment", "dev", "gateway");
//! # let now: jiff::Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
//! let mut history = HealHistory::default();
//! let drift = [Drift { key: &key, difference: None }];
//! history.observe(&drift, now);
//! assert!(history.is_due(&key, now), "the first repair is at once");
//! history.healed(&[key.clone()], now);
//!
//! history.observe(&drift, now);
//! assert!(!history.is_due(&key, now), "it came back at once");
//! assert_eq!(history.due(&key), Some(now + 2.seconds()));
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use resources::{Application, ObjectKey, SyncResource, annotations};

use crate::compare::Difference;

/// The longest wait between two repairs, and how long an object has to stay well for its past to be forgotten, in seconds.
const LIMIT: i64 = 300;
/// From so many repairs on it is a fight and no accident.
const FIGHT: u32 = 3;
/// So many objects and fields are named in a sentence.
const NAMED: usize = 3;

/// An object that differs from what was synced.
#[derive(Clone, Copy, Debug)]
pub struct Drift<'a> {
    /// Which.
    pub key: &'a ObjectKey,
    /// How; `None`: it is not known, or the object is to go.
    pub difference: Option<&'a Difference>,
}

/// What was repaired lately, and by whom it was changed back. Kept in memory: after a restart everything is repaired at once
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealHistory {
    objects: BTreeMap<ObjectKey, Healed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Healed {
    times: u32,
    at: Timestamp,
    /// It has drifted again since.
    drifted: bool,
    managers: BTreeSet<String>,
    fields: BTreeSet<String>,
    deleted: bool,
}

impl HealHistory {
    /// Takes up which objects differ now, all of them: before it is decided what to repair.
    pub fn observe(&mut self, drifts: &[Drift<'_>], now: Timestamp) {
        let now_drifted: BTreeMap<&ObjectKey, Option<&Difference>> =
            drifts.iter().map(|drift| (drift.key, drift.difference)).collect();
        self.objects.retain(|key, healed| {
            let rested = now.duration_since(healed.at) >= SignedDuration::from_secs(LIMIT);
            let Some(difference) = now_drifted.get(key) else {
                healed.drifted = false;
                return !rested;
            };
            if !healed.drifted && rested {
                return false;
            }
            healed.drifted = true;
            healed.learn(*difference);
            true
        });
    }

    /// When an object may next be repaired; `None`: at once.
    pub fn due(&self, key: &ObjectKey) -> Option<Timestamp> {
        self.objects.get(key).map(|healed| later(healed.at, wait(healed.times)))
    }

    /// Whether an object may be repaired now.
    pub fn is_due(&self, key: &ObjectKey, now: Timestamp) -> bool {
        self.due(key).is_none_or(|due| due <= now)
    }

    /// These have been repaired.
    pub fn healed(&mut self, keys: &[ObjectKey], now: Timestamp) {
        for key in keys {
            let healed = self.objects.entry(key.clone()).or_insert_with(|| Healed {
                times: 0,
                at: now,
                drifted: false,
                managers: BTreeSet::new(),
                fields: BTreeSet::new(),
                deleted: false,
            });
            healed.times = healed.times.saturating_add(1);
            healed.at = now;
            healed.drifted = false;
        }
    }

    /// Begins anew: what is desired has changed, so whoever fought may have no reason any more.
    pub fn forget(&mut self) {
        self.objects.clear();
    }

    /// Who keeps changing what back, for a condition (`SelfHealWarning`); `None`: nobody.
    pub fn sentence(&self) -> Option<String> {
        let fights: Vec<(&ObjectKey, &Healed)> =
            self.objects.iter().filter(|(_, healed)| healed.times >= FIGHT).collect();
        if fights.is_empty() {
            return None;
        }
        let mut told: Vec<String> = fights.iter().take(NAMED).map(|(key, healed)| healed.tell(key)).collect();
        if fights.len() > NAMED {
            told.push(format!("{} more objects are fought over", fights.len() - NAMED));
        }
        Some(format!(
            "{}. Leave the fields to whoever writes them (ignoreDifferences, with managedFieldsManagers), or stop it",
            told.join("; ")
        ))
    }
}

impl Healed {
    fn learn(&mut self, difference: Option<&Difference>) {
        let Some(difference) = difference else { return };
        self.deleted |= difference.missing;
        for field in &difference.fields {
            if let Some(actor) = field.changed_by.as_ref().filter(|actor| !actor.manager.is_empty()) {
                self.managers.insert(actor.manager.clone());
            }
            if self.fields.len() <= NAMED {
                self.fields.insert(field.path.clone());
            }
        }
    }

    fn tell(&self, key: &ObjectKey) -> String {
        let managers: Vec<&str> = self.managers.iter().map(String::as_str).collect();
        let (who, keep) = match managers.as_slice() {
            [] => ("something".into(), "keeps"),
            [one] => ((*one).to_owned(), "keeps"),
            many => (many.join(" and "), "keep"),
        };
        let mut fields: Vec<&str> = self.fields.iter().take(NAMED).map(String::as_str).collect();
        if self.fields.len() > NAMED {
            fields.push("…");
        }
        let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
        let does = if self.fields.is_empty() && self.deleted { "deleting" } else { "changing" };
        let due = resources::Time(later(self.at, wait(self.times)));
        format!(
            "{who} {keep} {does} {key}{fields}; it was repaired {} times, the next time not before {due}",
            self.times
        )
    }
}

/// Two seconds, then three times as long each time, five minutes at most.
fn wait(times: u32) -> i64 {
    2_i64.saturating_mul(3_i64.saturating_pow(times.saturating_sub(1))).min(LIMIT)
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}

/// The selective sync that repairs these objects and nothing else, for `operation.sync.resources`.
///
/// ```
/// let drifted = resources::ObjectKey::new("apps", "Deployment", "dev", "gateway");
/// let operation = resources::SyncOperation {
///     resources: engine::heal::selection(&[drifted.clone()]),
///     ..resources::SyncOperation::default()
/// };
/// assert!(operation.resources[0].selects(&drifted) && !operation.runs_hooks());
/// ```
pub fn selection(keys: &[ObjectKey]) -> Vec<SyncResource> {
    let resource = |key: &ObjectKey| SyncResource {
        group: key.group.clone(),
        kind: key.kind.clone(),
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        ..SyncResource::default()
    };
    keys.iter().map(resource).collect()
}

/// Whether repairing drift is a whole sync of the application, hooks included (`lockstep.dev/heal-hooks: "true"`), instead of
/// bringing back the objects that have drifted.
pub fn runs_hooks(application: &Application) -> bool {
    application.annotation(annotations::HEAL_HOOKS).is_some_and(|value| value.trim() == "true")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::{Actor, FieldDifference};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("apps", "Deployment", "dev", name)
    }

    fn at(seconds: i64) -> Timestamp {
        later("2026-01-05T12:00:00Z".parse().unwrap(), seconds)
    }

    fn changed(path: &str, manager: &str) -> Difference {
        let actor = (!manager.is_empty()).then(|| Actor { manager: manager.into(), time: None });
        let field =
            FieldDifference { path: path.into(), desired: Some(json!(1)), live: Some(json!(2)), changed_by: actor };
        Difference { fields: vec![field], ..Difference::default() }
    }

    /// When an object is repaired that drifts again a second after each repair.
    fn repairs(count: usize) -> Vec<i64> {
        let (mut history, key, mut times) = (HealHistory::default(), key("a"), vec![]);
        for second in 0.. {
            history.observe(&[Drift { key: &key, difference: None }], at(second));
            if history.is_due(&key, at(second)) {
                history.healed(std::slice::from_ref(&key), at(second));
                times.push(second);
                if times.len() == count {
                    break;
                }
            }
        }
        times
    }

    #[test]
    fn waits_grow_to_five_minutes_and_stay_there() {
        assert_eq!(repairs(9), [0, 2, 8, 26, 80, 242, 542, 842, 1142]);
    }

    #[test]
    fn an_object_that_stayed_well_begins_anew() {
        for (rest, anew) in [(299, false), (300, true)] {
            let (mut history, key) = (HealHistory::default(), key("a"));
            for second in [0, 1, 2] {
                history.healed(std::slice::from_ref(&key), at(second));
            }
            // Looked at in between, and found well.
            history.observe(&[], at(100));
            history.observe(&[Drift { key: &key, difference: None }], at(2 + rest));
            assert_eq!(history.due(&key).is_none(), anew, "{rest}");
        }
        let (mut history, key) = (HealHistory::default(), key("a"));
        history.healed(std::slice::from_ref(&key), at(0));
        history.observe(&[], at(300));
        assert_eq!(history, HealHistory::default(), "nothing is kept of it");
    }

    #[test]
    fn each_object_has_its_own_waits() {
        let (mut history, a, b) = (HealHistory::default(), key("a"), key("b"));
        history.healed(std::slice::from_ref(&a), at(0));
        history.observe(&[Drift { key: &a, difference: None }, Drift { key: &b, difference: None }], at(1));
        assert!(!history.is_due(&a, at(1)) && history.is_due(&b, at(1)));
        history.forget();
        assert!(history.is_due(&a, at(1)));
    }

    #[test]
    fn who_fights() {
        let tell = |differences: &[Difference], times: u32| {
            let (mut history, key) = (HealHistory::default(), key("gateway"));
            for second in 0..times {
                history.healed(std::slice::from_ref(&key), at(i64::from(second)));
                for difference in differences {
                    history.observe(&[Drift { key: &key, difference: Some(difference) }], at(i64::from(second)));
                }
            }
            history.sentence().unwrap_or_default()
        };
        let replicas = changed("spec.replicas", "scaler");
        assert_eq!(tell(std::slice::from_ref(&replicas), 2), "", "twice may be an accident");
        assert_eq!(
            tell(std::slice::from_ref(&replicas), 3),
            "scaler keeps changing apps/Deployment dev/gateway (spec.replicas); it was repaired 3 times, the next time not before \
             2026-01-05T12:00:20Z. Leave the fields to whoever writes them (ignoreDifferences, with managedFieldsManagers), or stop it"
        );
        for (differences, want) in [
            (vec![], "something keeps changing apps/Deployment dev/gateway; it was"),
            (vec![Difference::missing()], "something keeps deleting apps/Deployment dev/gateway; it was"),
            (
                vec![changed("spec.paused", "")],
                "something keeps changing apps/Deployment dev/gateway (spec.paused); it was",
            ),
            (
                vec![replicas, changed("spec.paused", "kubectl")],
                "kubectl and scaler keep changing apps/Deployment dev/gateway (spec.paused, spec.replicas); it was",
            ),
            (
                ["a", "b", "c", "d", "e"].iter().map(|path| changed(path, "x")).collect(),
                "x keeps changing apps/Deployment dev/gateway (a, b, c, …); it was",
            ),
        ] {
            let told = tell(&differences, 3);
            assert!(told.starts_with(want), "{told}");
        }
    }

    #[test]
    fn many_fights_are_counted() {
        let keys: Vec<ObjectKey> = ["a", "b", "c", "d", "e"].map(key).into();
        let mut history = HealHistory::default();
        for second in 0..3 {
            history.healed(&keys, at(second));
        }
        assert!(history.sentence().unwrap().contains("; 2 more objects are fought over. Leave"));
    }

    #[test]
    fn hooks_are_asked_for() {
        for (value, want) in [(None, false), (Some("true"), true), (Some("false"), false), (Some(" true "), true)] {
            let annotations = value.map_or(json!({}), |value| json!({"lockstep.dev/heal-hooks": value}));
            let application = Application::parse(json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "spec": {"destination": {"name": "in-cluster"}},
                "metadata": {"name": "a", "annotations": annotations},
            }))
            .unwrap();
            assert_eq!(runs_hooks(&application), want, "{value:?}");
        }
    }
}
