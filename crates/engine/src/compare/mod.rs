//! What differs between the object that Git wants and the one that the cluster has.
//!
//! A desired object says part of what the live one holds: others own fields too, and the API server fills in defaults. So a
//! field counts when the manifest has it and the live object does not agree, or when it was ours (`metadata.managedFields`
//! says so) and the manifest no longer has it. Where neither managed fields nor the built-in types can tell what was ours, the
//! place is named in [`Difference::doubts`]: there a dry-run apply is worth its call, and [`compare_predicted`] takes its answer.

mod defaults;
mod fields;
mod ignore;
mod jq;
mod lists;
mod nature;
mod normal;
mod path;
mod places;
mod respect;
mod secret;
mod versions;
mod walk;

use std::borrow::Cow;
use std::fmt;

use resources::{IgnoreDifference, Object};
use serde::Serialize;
use serde_json::Value;

pub use self::fields::Actor;
use self::fields::{Managed, Role};
use self::ignore::{Ignored, Rule};
use self::nature::{KnownField, Nature};
use self::path::Path;
pub use self::respect::respecting;
use self::walk::{Here, Walker};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How to compare, made once and used for many objects.
#[derive(Clone, Debug)]
pub struct CompareRules {
    rules: Vec<Rule>,
    managers: Vec<String>,
    settings: Settings,
    warnings: Vec<String>,
}

impl Default for CompareRules {
    /// Nothing is ignored, and no manager is ours.
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl CompareRules {
    /// Rules from an application's `ignoreDifferences`, and the field managers that are ours.
    pub fn new(ignore: &[IgnoreDifference], managers: &[&str]) -> Self {
        Self::with_system(ignore, &SystemRules::default(), managers)
    }

    /// The same with what holds for every application.
    ///
    /// `jqPathExpressions` may be what `del(…)` takes in jq, as far as it selects and does nothing else. What is not understood
    /// or not allowed is not applied and is named in [`CompareRules::warnings`].
    pub fn with_system(ignore: &[IgnoreDifference], system: &SystemRules, managers: &[&str]) -> Self {
        let mut warnings = Vec::new();
        let rules = ignore.iter().chain(&system.ignore).map(|source| Rule::new(source, &mut warnings)).collect();
        let mut known = Vec::new();
        for field in &system.known_types {
            match KnownField::new(&field.group, &field.kind, &field.field, &field.type_name) {
                Ok(field) => known.push(field),
                Err(warning) => warnings.push(warning),
            }
        }
        Self {
            rules,
            managers: managers.iter().map(|&manager| manager.to_owned()).collect(),
            settings: Settings {
                ignore_aggregated_roles: system.ignore_aggregated_roles,
                ignore_status: system.ignore_status,
                known,
            },
            warnings,
        }
    }

    /// What could not be understood, as sentences for a condition.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// How every application's objects are compared: what `argocd-cm` says.
#[derive(Clone, Debug)]
pub struct SystemRules {
    /// `resource.customizations.ignoreDifferences.*`, with the group and kind of the key.
    pub ignore: Vec<IgnoreDifference>,
    /// `ignoreAggregatedRoles` of `resource.compareoptions`: the rules of an aggregated ClusterRole are its controller's.
    pub ignore_aggregated_roles: bool,
    /// `ignoreResourceStatusField` of `resource.compareoptions`.
    pub ignore_status: IgnoreStatus,
    /// `resource.customizations.knownTypeFields.*`.
    pub known_types: Vec<KnownTypeField>,
}

impl Default for SystemRules {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            ignore_aggregated_roles: true,
            ignore_status: IgnoreStatus::default(),
            known_types: Vec::new(),
        }
    }
}

/// Whose `status` is left out of the comparison when a manifest has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoreStatus {
    /// Everybody's.
    #[default]
    All,
    /// Those of CustomResourceDefinitions.
    Crd,
    /// Nobody's.
    None,
}

impl IgnoreStatus {
    /// Reads a setting: `all`, `crd`, `none` or `off`. `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "all" => Some(Self::All),
            "crd" => Some(Self::Crd),
            "none" | "off" | "false" => Some(Self::None),
            _ => None,
        }
    }
}

/// A field of a custom resource that has a type of Kubernetes. Quantities and durations are already known by the names of their
/// fields (`cpu`, `limits.*`, `timeout`, `…Interval`); this is for those with other names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownTypeField {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Where, with dots: `spec.template.spec`. Lists on the way are gone through.
    pub field: String,
    /// What: `core/Quantity`, `meta/v1/Duration`, `core/v1/PodSpec`.
    pub type_name: String,
}

/// The settings of [`SystemRules`], ready for use.
#[derive(Clone, Debug)]
struct Settings {
    ignore_aggregated_roles: bool,
    ignore_status: IgnoreStatus,
    known: Vec<KnownField>,
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
    /// Rules that could not be applied to this object, as sentences for a condition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
            write!(f, " (changed by {}", actor.manager)?;
            if let Some(time) = &actor.time {
                write!(f, " at {time}")?;
            }
            f.write_str(")")?;
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
    let filled = defaults::filled(desired, live);
    let desired = &*filled;
    let versions = versions::in_one_version(desired, live);
    let (wanted, found) = versions.as_ref().map_or((desired, live), |(desired, live)| (&**desired, &**live));
    let ignored = Ignored::of(&rules.rules, wanted, found);
    let mut walker = walker(wanted, found, &ignored, rules);
    // Written by kubectl and by Argo CD when they apply on the client's side; our own apply has better knowledge.
    let last_applied = match previous {
        None if !walker.applied => last_applied(live),
        _ => None,
    };
    let mut prior = previous.map(|previous| &previous.0).or(last_applied.as_ref());
    let converted = match (&versions, prior) {
        (Some((Cow::Owned(_), _)), Some(prior)) => versions::upgraded(&Object(prior.clone())),
        _ => None,
    };
    if let Some(converted) = &converted {
        prior = Some(&converted.0);
    }
    if prior.is_none() && walker.managed.entries.is_empty() {
        walker.doubt(&Path::ROOT.child("metadata").child("managedFields"));
    }
    if versions.is_none() {
        walker.doubt(&Path::ROOT.child("apiVersion"));
    }
    walk(&mut walker, &wanted.0, &found.0, prior, &ignored);
    walker.out
}

/// Compares the API server's answer to a dry-run apply with what it holds now. Everything counts but what it writes itself.
pub fn compare_predicted(predicted: &Object, live: &Object, rules: &CompareRules) -> Difference {
    let versions = versions::in_one_version(predicted, live);
    let (predicted, live) = versions.as_ref().map_or((predicted, live), |(predicted, live)| (&**predicted, &**live));
    let ignored = Ignored::of(&rules.rules, predicted, live);
    let mut walker = walker(predicted, live, &ignored, rules);
    walker.nature = walker.nature.without_status();
    walker.exact = true;
    walk(&mut walker, &predicted.0, &live.0, None, &ignored);
    walker.out
}

/// What kubectl and Argo CD left on an object that they applied on the client's side.
fn last_applied(live: &Object) -> Option<Value> {
    live.annotation(LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok())
}

fn walker<'a>(desired: &Object, live: &'a Object, ignored: &Ignored<'_>, rules: &'a CompareRules) -> Walker<'a> {
    let managed = Managed::of(live, &rules.managers, &ignored.managers);
    Walker {
        applied: managed.any(Role::Applied),
        managed,
        out: Difference { warnings: ignored.warnings.clone(), ..Difference::default() },
        nature: Nature::of(desired, &rules.settings),
        exact: false,
    }
}

fn walk<'a>(
    walker: &mut Walker<'a>,
    desired: &Value,
    live: &'a Value,
    prior: Option<&'a Value>,
    ignored: &Ignored<'_>,
) {
    let (sets, marks) = (walker.managed.roots(), ignored.marks());
    let here = Here { path: &Path::ROOT, sets: &sets, prior, ignore: &marks, inside: false };
    walker.value(&here, desired, Some(live));
    if walker.nature.secret
        && let (Some(desired), Some(live)) = (desired.as_object(), live.as_object())
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
