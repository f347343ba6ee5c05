//! Custom resources without a rule: the conventions that most follow (`observedGeneration`, and the conditions `Stalled`,
//! `Reconciling`, `Ready`), and the words in which the others say that something failed.

use jiff::Timestamp;
use resources::Object;

use super::rule::UNOBSERVED;
use super::{Condition, GRACE, Health, conditions, find_condition, is_behind, text};

/// Where a controller says in a word how it goes.
const STATES: [&str; 6] = [
    "/status/phase",
    "/status/state",
    "/status/status",
    "/status/health",
    "/status/health/status",
    "/status/healthStatus",
];

/// What says that something is wrong.
const WRONG: [&str; 15] = [
    "crashed",
    "degraded",
    "err",
    "error",
    "errored",
    "errors",
    "failed",
    "failure",
    "faulted",
    "invalid",
    "lost",
    "rejected",
    "stalled",
    "unhealthy",
    "unrecoverable",
];
/// What is tried again, and may pass by itself.
const TRIED_AGAIN: [&str; 4] = ["err", "error", "errored", "errors"];
/// What takes it back, as in `NoErrors` and `FailureHandled`.
const NOT: [&str; 9] = ["budget", "free", "handled", "no", "not", "recovered", "resolved", "tolerated", "without"];
/// What is on its way.
const UNDER_WAY: [&str; 29] = [
    "applying",
    "bootstrapping",
    "configuring",
    "creating",
    "deleting",
    "deploying",
    "initializing",
    "installing",
    "joining",
    "migrating",
    "pending",
    "preparing",
    "processing",
    "progress",
    "progressing",
    "provisioning",
    "queued",
    "reconciling",
    "restarting",
    "restoring",
    "scaling",
    "scheduling",
    "starting",
    "syncing",
    "terminating",
    "updating",
    "upgrading",
    "validating",
    "waiting",
];
/// What waits for somebody.
const WAITING_FOR_SOMEBODY: [&str; 3] = ["hibernated", "paused", "suspended"];
/// Conditions that are about the object itself: without them it is of no use, also where nothing says `Ready`.
const TAKEN: [&str; 2] = ["Accepted", "Valid"];
/// Conditions that come true in the end.
const REACHED: [&str; 6] = ["Deployed", "Healthy", "Programmed", "Reconciled", "Succeeded", "Synced"];

pub(super) fn custom_resource(object: &Object, now: Timestamp) -> Option<Health> {
    // Without a status there is nothing to judge: many kinds are pure settings.
    object.at("/status").filter(|status| !status.is_null())?;
    if is_behind(object) {
        return Some(Health::progressing(UNOBSERVED));
    }
    let is_true = |kind: &str| find_condition(object, kind).filter(Condition::is_true);
    if let Some(stalled) = is_true("Stalled") {
        return Some(Health::degraded(stalled.text()));
    }
    if let Some(wrong) = failure(object, now) {
        return Some(wrong);
    }
    if let Some(reconciling) = is_true("Reconciling") {
        return Some(Health::progressing(reconciling.text()));
    }
    match find_condition(object, "Ready").or_else(|| find_condition(object, "Available")) {
        Some(ready) if ready.is_true() => Some(Health::healthy()),
        Some(ready) if ready.is_false() && says(ready.reason, &WRONG) => Some(new_or_wrong(object, &ready, now)),
        Some(ready) => Some(Health::progressing(ready.text())),
        None => unready(object, now).or_else(|| state(object)),
    }
}

/// A condition or a word that says that it failed, whatever else is said.
fn failure(object: &Object, now: Timestamp) -> Option<Health> {
    let wrong = conditions(object).find(|condition| condition.is_true() && says(condition.kind, &WRONG));
    if let Some(wrong) = wrong {
        let message = if wrong.text().is_empty() { wrong.kind } else { wrong.text() };
        let health = Health::degraded(message);
        let again = says(wrong.kind, &TRIED_AGAIN);
        return Some(if again {
            health.after(GRACE, wrong.since.or_else(|| object.created_at()), now)
        } else {
            health
        });
    }
    let word = STATES.into_iter().map(|at| text(object, at)).find(|word| says(word, &WRONG))?;
    let reason = ["/status/message", "/status/reason", "/status/error", "/status/errorMessage"];
    let reason = reason.into_iter().map(|at| text(object, at)).find(|reason| !reason.is_empty());
    let health = Health::degraded(reason.map_or_else(|| word.into(), |reason| format!("{word}: {reason}")));
    Some(if says(word, &TRIED_AGAIN) { health.after(GRACE, object.created_at(), now) } else { health })
}

/// Where nothing says `Ready`, another condition that is false tells.
fn unready(object: &Object, now: Timestamp) -> Option<Health> {
    let mut waiting = None;
    for condition in conditions(object).filter(Condition::is_false) {
        let is_on_its_way = says(condition.reason, &UNDER_WAY);
        if says(condition.reason, &WRONG) || (TAKEN.contains(&condition.kind) && !is_on_its_way) {
            return Some(new_or_wrong(object, &condition, now));
        }
        if TAKEN.contains(&condition.kind) || REACHED.contains(&condition.kind) {
            waiting = waiting.or_else(|| Some(Health::progressing(said(&condition))));
        }
    }
    waiting
}

fn new_or_wrong(object: &Object, condition: &Condition<'_>, now: Timestamp) -> Health {
    Health::degraded(said(condition)).after(GRACE, condition.since.or_else(|| object.created_at()), now)
}

fn said(condition: &Condition<'_>) -> String {
    match condition.text() {
        "" => format!("{} is {}", condition.kind, condition.status),
        text => text.into(),
    }
}

fn state(object: &Object) -> Option<Health> {
    STATES.into_iter().map(|at| text(object, at)).find_map(|word| {
        if says(word, &WAITING_FOR_SOMEBODY) {
            Some(Health::suspended(word))
        } else {
            says(word, &UNDER_WAY).then(|| Health::progressing(word))
        }
    })
}

/// Whether a name or a short text has one of these words: `InvalidSpec`, `install-failed`, `ERROR`.
fn says(text: &str, words: &[&str]) -> bool {
    let mut found = false;
    for (place, word) in split(text).iter().enumerate() {
        // The rest of a longer text is about something else.
        if NOT.contains(&word.as_str()) || place > 3 {
            return false;
        }
        found |= words.contains(&word.as_str());
    }
    found
}

/// The words of `camelCase`, `snake_case` and ordinary text, in small letters.
fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for character in text.chars() {
        let starts = !before.is_alphanumeric() || (before.is_lowercase() && character.is_uppercase());
        if character.is_alphanumeric() {
            if starts || words.is_empty() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(character.to_lowercase());
            }
        }
        before = character;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names() {
        for (text, words) in [
            ("InvalidSpec", "invalid spec"),
            ("ERROR", "error"),
            ("install-failed", "install failed"),
            ("In Progress", "in progress"),
            ("HEALTH_ERR", "health err"),
            ("", ""),
        ] {
            assert_eq!(split(text).join(" "), words);
        }
        for (text, wrong) in [
            ("PartiallyFailed", true),
            ("NoErrors", false),
            ("ErrorBudgetAvailable", false),
            ("FailureHandled", false),
            ("Ready", false),
            ("a text about an error of something else", false),
        ] {
            assert_eq!(says(text, &WRONG), wrong, "{text}");
        }
    }
}
