//! What differs between the object that Git wants and the one that the cluster has.
//!
//! A desired object says part of what the live one holds: others own fields too, and the API server fills in defaults. So a
//! field counts when the manifest has it and the live object does not agree, or when it was ours (`metadata.managedFields`
//! says so) and the manifest no longer has it. Where neither managed fields nor the built-in types can tell what was ours, the
//! place is named in [`Difference::doubts`]: there a dry-run apply is worth its call, and [`compare_predicted`] takes its answer.

mod fields;
mod ignore;
mod lists;
mod normal;
mod path;
mod secret;
mod walk;

use std::fmt;

use resources::{IgnoreDifference, Object};
use serde::Serialize;
use serde_json::Value;

pub use self::fields::Actor;
use self::fields::{Managed, Role};
use self::ignore::{Rule, Step, into_field};
use self::path::Path;
use self::walk::{Here, Walker};
use crate::glob::Pattern;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How to compare, made once and used for many objects.
#[derive(Clone, Debug, Default)]
pub struct CompareRules {
    rules: Vec<Rule>,
    managers: Vec<String>,
    warnings: Vec<String>,
}

impl CompareRules {
    /// Rules from `ignoreDifferences` (the application's and the system's) and the field managers that are ours.
    ///
    /// Of `jqPathExpressions` those are understood that are paths, with `[]` and `select(.name == "…")`; what is not understood
    /// is not applied and is named in [`CompareRules::warnings`].
    pub fn new(ignore: &[IgnoreDifference], managers: &[&str]) -> Self {
        let mut warnings = Vec::new();
        let rules = ignore.iter().map(|source| Rule::new(source, &mut warnings)).collect();
        Self { rules, managers: managers.iter().map(|&manager| manager.to_owned()).collect(), warnings }
    }

    /// What could not be understood, as sentences for a condition.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Each field that differs, in the manifest's order.
    pub fields: Vec<FieldDifference>,
    /// The cluster does not have the object at all.
    pub missing: bool,
    /// Places that only the API server can judge (it fills in defaults there, and we may have owned them). They do not count as
    /// a difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

impl Difference {
    /// The difference of an object that does not exist.
    pub fn missing() -> Self {
        Self { missing: true, ..Self::default() }
    }

    /// Whether desired and live agree.
    pub fn is_empty(&self) -> bool {
        !self.missing && self.fields.is_empty()
    }

    /// Whether they agree beyond doubt: applying would change nothing.
    pub fn is_certainly_empty(&self) -> bool {
        self.is_empty() && self.doubts.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing {
            return f.write_str("not in the cluster");
        }
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            field.fmt(f)?;
        }
        Ok(())
    }
}

/// One field that differs. Values of Secrets are masked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDifference {
    /// Where: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What the manifest says. `None`: it no longer has the field, an apply would remove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
    /// What the cluster has. `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Who else wrote the live value, if managed fields say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Actor>,
}

impl fmt::Display for FieldDifference {
    /// `spec.replicas: live 5, wanted 3 (changed by kubectl)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match (&self.desired, &self.live) {
            (Some(desired), Some(live)) => write!(f, "live {}, wanted {}", Short(live), Short(desired))?,
            (Some(desired), None) => write!(f, "not there, wanted {}", Short(desired))?,
            (None, Some(live)) => write!(f, "live {}, would be removed", Short(live))?,
            (None, None) => f.write_str("differs")?,
        }
        if let Some(actor) = &self.changed_by {
            write!(f, " (changed by {})", actor.manager)?;
        }
        Ok(())
    }
}

/// A value in at most one short line.
pub(crate) struct Short<'a>(pub(crate) &'a Value);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 100;
        let text = self.0.to_string();
        match text.char_indices().nth(LIMIT) {
            Some((cut, _)) => write!(f, "{}…", &text[..cut]),
            None => f.write_str(&text),
        }
    }
}

/// Compares what Git wants with what the cluster has.
pub fn compare(desired: &Object, live: Option<&Object>, rules: &CompareRules) -> Difference {
    compare_with(desired, live, None, rules)
}

/// The same, knowing what was applied last: fields that `previous` had and `desired` has not are removed even where managed
/// fields cannot tell (inside lists that count as one value, and on objects that were not applied server-side).
pub fn compare_with(
    desired: &Object,
    live: Option<&Object>,
    previous: Option<&Object>,
    rules: &CompareRules,
) -> Difference {
    let Some(live) = live else { return Difference::missing() };
    let mut walker = walker(desired, live, rules);
    // Written by kubectl and by Argo CD when they apply on the client's side; our own apply has better knowledge.
    let last_applied: Option<Value> = match previous {
        None if !walker.applied => live.annotation(LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok()),
        _ => None,
    };
    let prior = previous.map(|previous| &previous.0).or(last_applied.as_ref());
    if prior.is_none() && walker.managed.entries.is_empty() {
        walker.doubt(&Path::ROOT.child("metadata").child("managedFields"));
    }
    if desired.version() != live.version() {
        walker.doubt(&Path::ROOT.child("apiVersion"));
    }
    walk(&mut walker, &desired.0, &live.0, prior, rules, desired);
    walker.out
}

/// Compares the API server's answer to a dry-run apply with what it holds now. Everything counts but what it writes itself.
pub fn compare_predicted(predicted: &Object, live: &Object, rules: &CompareRules) -> Difference {
    let mut walker = walker(predicted, live, rules);
    walker.exact = true;
    walk(&mut walker, &predicted.0, &live.0, None, rules, predicted);
    walker.out
}

fn walker<'a>(desired: &Object, live: &'a Object, rules: &CompareRules) -> Walker<'a> {
    let ignored: Vec<&Pattern> =
        rules.rules.iter().filter(|rule| rule.applies_to(desired)).flat_map(|rule| &rule.managers).collect();
    let managed = Managed::of(live, &rules.managers, &ignored);
    let core = desired.group().is_empty();
    Walker {
        applied: managed.any(Role::Applied),
        managed,
        out: Difference::default(),
        secret: core && desired.kind() == "Secret",
        application: desired.group() == "argoproj.io" && desired.kind() == "Application",
        builtin: crate::kinds::is_builtin_group(desired.group()),
        aggregated: desired.kind() == "ClusterRole"
            && desired.at("/aggregationRule").is_some_and(|rule| !rule.is_null()),
        exact: false,
    }
}

fn walk<'a>(
    walker: &mut Walker<'a>,
    desired: &Value,
    live: &'a Value,
    prior: Option<&'a Value>,
    rules: &'a CompareRules,
    object: &Object,
) {
    let ignore: Vec<&'a [Step]> = rules
        .rules
        .iter()
        .filter(|rule| rule.applies_to(object))
        .flat_map(|rule| &rule.paths)
        .map(Vec::as_slice)
        .collect();
    let sets = walker.managed.roots();
    let here = Here { path: &Path::ROOT, sets: &sets, prior, ignore: &ignore, inside: false };
    walker.value(&here, desired, Some(live));
    if walker.secret
        && let (Some(desired), Some(live)) = (desired.as_object(), live.as_object())
        && into_field(&ignore, "data").is_some()
    {
        walker.secret_data(&here, desired, live);
    }
}

/// `argocd.argoproj.io/compare-options` of a resource or an Application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareOptions {
    /// The object may exist although Git does not have it: it does not make the application out of sync.
    pub ignore_extraneous: bool,
    /// Whether to compare by dry run; `None`: nothing said.
    pub server_side_diff: Option<bool>,
    /// A dry run also counts what mutating webhooks change.
    pub include_mutation_webhook: bool,
}

impl CompareOptions {
    /// Reads an annotation's value.
    pub fn parse(text: &str) -> Self {
        let mut options = Self::default();
        for option in text.split(',').map(str::trim) {
            match option {
                "IgnoreExtraneous" => options.ignore_extraneous = true,
                "ServerSideDiff=true" => options.server_side_diff = Some(true),
                "ServerSideDiff=false" => options.server_side_diff = Some(false),
                "IncludeMutationWebhook=true" => options.include_mutation_webhook = true,
                _ => {}
            }
        }
        options
    }

    /// Those of an object.
    pub fn of(object: &Object) -> Self {
        object.annotation("argocd.argoproj.io/compare-options").map(Self::parse).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
