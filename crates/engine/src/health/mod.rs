//! How well an object is.
//!
//! A rule for each kind, a few lines of data (`rules/`, one file per family), or a function where data cannot say it; the kstatus
//! conventions for all other custom resources. To add a kind, add its lines and its cases (`cases/`); the tests ask for both.

mod apps;
mod argo;
mod batch;
mod core;
mod extension;
mod kruise;
mod kstatus;
mod pod;
mod rollout;
mod rule;
mod rules;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use resources::{HealthStatus, Object, ObjectKey};
use rule::Rule;
use serde::Serialize;
use serde_json::Value;

/// So long something that is new may look as if it had failed: a metric that has not arrived, what comes with the same push.
const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// How well an object or an application is, with a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The answer.
    pub status: HealthStatus,
    /// What it is waiting for, or what is wrong; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Until then the answer holds as long as the object stays as it is; after it, time alone has made it another.
    #[serde(skip)]
    pub until: Option<Timestamp>,
}

impl Health {
    /// A health with its sentence.
    pub fn new(status: HealthStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), until: None }
    }

    pub(crate) fn healthy() -> Self {
        Self::new(HealthStatus::Healthy, "")
    }

    pub(crate) fn progressing(message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Progressing, message)
    }

    pub(crate) fn degraded(message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Degraded, message)
    }

    pub(crate) fn suspended(message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Suspended, message)
    }

    /// The same, but progressing in the first time after it began to be so. Where nobody knows when that was, it is long ago.
    fn after(self, grace: SignedDuration, since: Option<Timestamp>, now: Timestamp) -> Self {
        match since.and_then(|since| since.checked_add(grace).ok()) {
            Some(until) if now < until => Self { until: Some(until), ..Self::progressing(self.message) },
            _ => self,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl From<Health> for resources::Health {
    fn from(health: Health) -> Self {
        Self { status: Some(health.status), message: health.message, ..Self::default() }
    }
}

/// The rules by group and kind; those for many groups or kinds apart, the narrowest first.
struct Table {
    exact: HashMap<(&'static str, &'static str), &'static Rule>,
    patterns: Vec<(&'static str, &'static Rule)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let (mut exact, mut patterns) = (HashMap::new(), Vec::new());
    for rule in rules::FAMILIES.iter().flat_map(|family| family.rules) {
        for kind in rule.kinds {
            if *kind == "*" || rule.group.starts_with("*.") {
                patterns.push((*kind, rule));
            } else {
                exact.insert((rule.group, *kind), rule);
            }
        }
    }
    patterns
        .sort_by_key(|(kind, rule)| (rule.group.starts_with("*."), std::cmp::Reverse(rule.group.len()), *kind == "*"));
    Table { exact, patterns }
});

/// A kind that has a rule of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct JudgedKind {
    /// The product that it belongs to.
    pub product: &'static str,
    /// Its group; `*.example.com` is every group below example.com.
    pub group: &'static str,
    /// The kind; `*` is every other kind of the group.
    pub kind: &'static str,
}

/// The kinds that have a rule of their own, product by product. All others follow the kstatus conventions.
pub fn kinds() -> impl Iterator<Item = JudgedKind> {
    rules::FAMILIES.iter().flat_map(|family| {
        family
            .rules
            .iter()
            .flat_map(|rule| rule.kinds.iter().map(|kind| JudgedKind { product: family.name, group: rule.group, kind }))
    })
}

fn rule_of(group: &str, kind: &str) -> Option<&'static Rule> {
    let in_group = |pattern: &str| match pattern.strip_prefix('*') {
        Some(suffix) => group.ends_with(suffix),
        None => group == pattern,
    };
    let matches = |(pattern, rule): &&(&str, &Rule)| (*pattern == "*" || *pattern == kind) && in_group(rule.group);
    let exact = TABLE.exact.get(&(group, kind)).copied();
    exact.or_else(|| TABLE.patterns.iter().find(matches).map(|(_, rule)| *rule))
}

/// How well a live object is. `None`: objects of this kind are neither well nor ill (a ConfigMap).
///
/// `now` decides whether something is new: what would be a failure is then still on its way.
pub fn health(object: &Object, now: Timestamp) -> Option<Health> {
    if object.is_being_deleted() {
        return Some(being_deleted(object));
    }
    let (group, kind) = (object.group(), object.kind());
    match rule_of(group, kind) {
        Some(rule) => rule.judge(object, now).or_else(|| kstatus::custom_resource(object, now)),
        None if crate::kinds::is_builtin_group(group) => None,
        None => kstatus::custom_resource(object, now),
    }
}

/// Whether an object becomes well only by what may come in a later wave: a claim whose volume is made for the first pod that uses
/// it. It does not hold up the waves after it.
pub fn waits_for_later_waves(object: &Object) -> bool {
    object.group().is_empty() && object.kind() == "PersistentVolumeClaim" && text(object, "/status/phase") == "Pending"
}

fn being_deleted(object: &Object) -> Health {
    let finalizers: Vec<&str> = object
        .at("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match finalizers.as_slice() {
        [] => Health::progressing("being deleted"),
        held => Health::progressing(format!("being deleted, waiting for finalizer {}", held.join(", "))),
    }
}

/// One object of an application, as far as the application's health is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResourceHealth<'a> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// Its health; `None` for kinds that have none.
    pub health: Option<&'a Health>,
    /// Git has it and the cluster has not.
    pub missing: bool,
    /// Whether it is left out: hooks, and objects with the annotation `argocd.argoproj.io/ignore-healthcheck: "true"`.
    pub ignored: bool,
}

/// Whether an object asks to be left out of its application's health.
pub fn ignores_health_check(object: &Object) -> bool {
    object.annotation("argocd.argoproj.io/ignore-healthcheck") == Some("true")
}

/// The health of an application: the worst of its objects. Missing objects count only when all are missing.
pub fn aggregate<'a>(resources: impl IntoIterator<Item = ResourceHealth<'a>>) -> Health {
    let (mut worst, mut missing, mut present): (Option<ResourceHealth<'a>>, _, _) = (None, 0_usize, 0_usize);
    for resource in resources.into_iter().filter(|resource| !resource.ignored) {
        if resource.missing {
            missing += 1;
            continue;
        }
        present += 1;
        let status = |resource: &ResourceHealth<'_>| resource.health.map(|health| health.status);
        if resource.health.is_some() && status(&resource) > worst.as_ref().and_then(status) {
            worst = Some(resource);
        }
    }
    if missing > 0 && present == 0 {
        let objects = if missing == 1 { "its only object is" } else { "all its objects are" };
        return Health::new(HealthStatus::Missing, format!("{objects} missing in the cluster"));
    }
    match worst {
        Some(ResourceHealth { key, health: Some(health), .. }) if health.status != HealthStatus::Healthy => {
            let message = if health.message.is_empty() { String::new() } else { format!(": {}", health.message) };
            Health::new(health.status, format!("{key}{message}"))
        }
        _ => Health::healthy(),
    }
}

/// A condition of `status.conditions`.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    /// Since when it has this status.
    pub(crate) since: Option<Timestamp>,
}

impl<'a> Condition<'a> {
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// The message, or the reason where there is none.
    pub(crate) fn text(&self) -> &'a str {
        if self.message.is_empty() { self.reason } else { self.message }
    }
}

pub(crate) fn condition(value: &Value) -> Condition<'_> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let status = match value.get("status") {
        // Some controllers write it so, or only those conditions that hold.
        None | Some(Value::Bool(true)) => "True",
        Some(Value::Bool(false)) => "False",
        _ => text("status"),
    };
    let since = text("lastTransitionTime").parse().ok();
    Condition { kind: text("type"), status, reason: text("reason"), message: text("message"), since }
}

pub(crate) fn conditions(object: &Object) -> impl Iterator<Item = Condition<'_>> {
    object.at("/status/conditions").and_then(Value::as_array).into_iter().flatten().map(condition)
}

pub(crate) fn find_condition<'a>(object: &'a Object, kind: &str) -> Option<Condition<'a>> {
    conditions(object).find(|condition| condition.kind == kind)
}

pub(crate) fn number(object: &Object, pointer: &str) -> Option<i64> {
    object.at(pointer).and_then(Value::as_i64)
}

pub(crate) fn text<'a>(object: &'a Object, pointer: &str) -> &'a str {
    object.at(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a controller has not yet seen the newest change, where it says what it has seen.
pub(crate) fn is_unobserved(object: &Object) -> bool {
    let generation = number(object, "/metadata/generation").unwrap_or(0);
    generation > number(object, "/status/observedGeneration").unwrap_or(0)
}

/// The same where a controller may also say nothing.
pub(crate) fn is_behind(object: &Object) -> bool {
    let generations = (number(object, "/metadata/generation"), number(object, "/status/observedGeneration"));
    matches!(generations, (Some(newest), Some(seen)) if seen < newest)
}

#[cfg(test)]
mod case_tests;
#[cfg(test)]
mod tests;
