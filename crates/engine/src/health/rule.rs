//! What a rule can say.
//!
//! A rule is data: for some kinds, lines from top to bottom, of which the first that applies gives the answer. Where none applies,
//! the kstatus conventions do. What lines cannot say is a function ([`ask`], [`by`]).

use std::borrow::Cow;

use jiff::Timestamp;
use resources::{HealthStatus, Object};
use serde_json::Value;

use super::{GRACE, Health, condition, find_condition, number};

/// What a kind waits for until its controller has seen the newest change.
pub(super) const UNOBSERVED: &str = "waiting for its controller to see the change";
const WAITING: &str = "waiting for its controller";

/// The rules of one product, or of several that belong together.
pub(super) struct Family {
    /// As people call it.
    pub(super) name: &'static str,
    /// Its rules.
    pub(super) rules: &'static [Rule],
}

/// How the objects of some kinds are judged.
pub(super) struct Rule {
    /// The group; `*.example.com` is every group below example.com.
    pub(super) group: &'static str,
    /// The kinds; `*` is every kind of the group.
    pub(super) kinds: &'static [&'static str],
    lines: &'static [Line],
    /// The answers of healthy, progressing and degraded that such an object's status cannot give.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests ask for a case of all others"))]
    pub(super) never: &'static [HealthStatus],
}

impl Rule {
    /// The answer of the first line that applies.
    pub(super) fn judge(&self, object: &Object, now: Timestamp) -> Option<Health> {
        self.lines.iter().find_map(|line| line.answer(object, now))
    }

    pub(super) const fn never(self, never: &'static [HealthStatus]) -> Self {
        Self { never, ..self }
    }
}

pub(super) const fn rule(group: &'static str, kinds: &'static [&'static str], lines: &'static [Line]) -> Rule {
    Rule { group, kinds, lines, never: &[] }
}

/// One line: when it applies, and what the answer is then.
#[derive(Clone, Copy)]
pub(super) struct Line {
    test: Test,
    status: HealthStatus,
    /// Conditions: the reasons that count, all if empty.
    only: &'static [&'static str],
    /// Conditions: the reasons that do not count.
    except: &'static [&'static str],
    /// Conditions: what the message has to contain, one of these.
    about: &'static [&'static str],
    /// What is said, instead of what was found.
    words: &'static str,
    /// Where more is said: the first of these that has a text.
    details: &'static [&'static str],
    /// Progressing as long as it is new.
    patient: bool,
}

#[derive(Clone, Copy)]
enum Test {
    Condition { kind: &'static str, status: &'static str },
    Value { at: &'static str, values: &'static [&'static str] },
    Begins { at: &'static str, with: &'static [&'static str] },
    Present(&'static str),
    Absent(&'static str),
    Exists(&'static str),
    Behind(&'static str),
    ConditionBehind(&'static str),
    Fewer { at: &'static str, than: &'static str },
    Item { list: &'static str, fields: &'static [(&'static str, &'static str)] },
    Rest(&'static str),
    Ask(fn(&Object) -> Option<Health>),
    By(fn(&Object) -> Health),
    ByAge(fn(&Object, Timestamp) -> Health),
}

const fn line(test: Test, status: HealthStatus) -> Line {
    Line { test, status, only: &[], except: &[], about: &[], words: "", details: &[], patient: false }
}

/// The condition of this type has this status.
pub(super) const fn when(kind: &'static str, status: &'static str, health: HealthStatus) -> Line {
    line(Test::Condition { kind, status }, health)
}

/// The condition is true.
pub(super) const fn yes(kind: &'static str, health: HealthStatus) -> Line {
    when(kind, "True", health)
}

/// The condition is false.
pub(super) const fn no(kind: &'static str, health: HealthStatus) -> Line {
    when(kind, "False", health)
}

/// The text, number or boolean at the pointer is one of these.
pub(super) const fn is(at: &'static str, values: &'static [&'static str], health: HealthStatus) -> Line {
    line(Test::Value { at, values }, health)
}

/// The text at the pointer begins with one of these.
pub(super) const fn begins(at: &'static str, with: &'static [&'static str], health: HealthStatus) -> Line {
    line(Test::Begins { at, with }, health)
}

/// The switch at the pointer is on.
pub(super) const fn flag(at: &'static str, health: HealthStatus) -> Line {
    is(at, &["true"], health)
}

/// There is something at the pointer: no null, nothing empty.
pub(super) const fn present(at: &'static str, health: HealthStatus) -> Line {
    line(Test::Present(at), health)
}

/// There is nothing at the pointer.
pub(super) const fn absent(at: &'static str, health: HealthStatus) -> Line {
    line(Test::Absent(at), health)
}

/// The field at the pointer is there, even if it is empty.
pub(super) const fn exists(at: &'static str, health: HealthStatus) -> Line {
    line(Test::Exists(at), health)
}

/// Progressing while the generation at the pointer, where there is one, is older than the object's.
pub(super) const fn behind(observed: &'static str) -> Line {
    line(Test::Behind(observed), HealthStatus::Progressing)
}

/// Progressing while this condition is about an older generation.
pub(super) const fn behind_in(condition: &'static str) -> Line {
    line(Test::ConditionBehind(condition), HealthStatus::Progressing)
}

/// Progressing while one number is less than another: replicas that are ready, and that are wanted (1 if nothing is said).
pub(super) const fn fewer(at: &'static str, than: &'static str) -> Line {
    line(Test::Fewer { at, than }, HealthStatus::Progressing)
}

/// An item of the list has all these values.
pub(super) const fn item(
    list: &'static str,
    fields: &'static [(&'static str, &'static str)],
    health: HealthStatus,
) -> Line {
    line(Test::Item { list, fields }, health)
}

/// In all other cases: progressing, and what this condition says.
pub(super) const fn rest(condition: &'static str) -> Line {
    line(Test::Rest(condition), HealthStatus::Progressing)
}

/// In all other cases.
pub(super) const fn otherwise(health: HealthStatus) -> Line {
    line(Test::Rest(""), health)
}

/// A function that may know the answer.
pub(super) const fn ask(function: fn(&Object) -> Option<Health>) -> Line {
    line(Test::Ask(function), HealthStatus::Unknown)
}

/// A function that knows the answer.
pub(super) const fn by(function: fn(&Object) -> Health) -> Line {
    line(Test::By(function), HealthStatus::Unknown)
}

/// A function that knows the answer, which depends on how old something is.
pub(super) const fn by_age(function: fn(&Object, Timestamp) -> Health) -> Line {
    line(Test::ByAge(function), HealthStatus::Unknown)
}

/// Progressing until the controller has seen the newest change, where it says what it has seen.
pub(super) const OBSERVED: Line = behind("/status/observedGeneration");

/// What most controllers mean by their condition `Ready` if they set it to false for failures only.
pub(super) const READY: &[Line] =
    &[OBSERVED, yes("Ready", HealthStatus::Healthy), no("Ready", HealthStatus::Degraded), rest("Ready")];

/// The three conditions of operators in OpenShift's manner.
pub(super) const AVAILABLE_PROGRESSING_DEGRADED: &[Line] = &[
    OBSERVED,
    yes("Degraded", HealthStatus::Degraded),
    yes("Progressing", HealthStatus::Progressing),
    no("Available", HealthStatus::Degraded),
    yes("Available", HealthStatus::Healthy),
    rest("Available"),
];

impl Line {
    /// Only for these reasons.
    pub(super) const fn only(self, only: &'static [&'static str]) -> Self {
        Self { only, ..self }
    }

    /// Not for these reasons.
    pub(super) const fn except(self, except: &'static [&'static str]) -> Self {
        Self { except, ..self }
    }

    /// Only if the message contains one of these.
    pub(super) const fn about(self, about: &'static [&'static str]) -> Self {
        Self { about, ..self }
    }

    /// Says this instead of what was found.
    pub(super) const fn says(self, words: &'static str) -> Self {
        Self { words, ..self }
    }

    /// Says also what is at the first of these pointers that has a text. For [`item`], pointers into the item.
    pub(super) const fn details(self, details: &'static [&'static str]) -> Self {
        Self { details, ..self }
    }

    /// Progressing while it is new: a condition since it became so, everything else since the object was made. For what may pass
    /// by itself, as what is wrong only until the rest of the same push is there.
    pub(super) const fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    pub(super) fn answer(&self, object: &Object, now: Timestamp) -> Option<Health> {
        let mut since = None;
        let health = self.found(object, now, &mut since)?;
        let silent = health.status == HealthStatus::Progressing && health.message.is_empty();
        let health = if silent { Health::progressing(WAITING) } else { health };
        Some(if self.patient { health.after(GRACE, since.or_else(|| object.created_at()), now) } else { health })
    }

    fn found(&self, object: &Object, now: Timestamp, since: &mut Option<Timestamp>) -> Option<Health> {
        let found: Cow<'_, str> = match self.test {
            Test::Ask(function) => return function(object),
            Test::By(function) => return Some(function(object)),
            Test::ByAge(function) => return Some(function(object, now)),
            Test::Condition { kind, status } => {
                let condition = find_condition(object, kind).filter(|condition| condition.status == status)?;
                *since = condition.since;
                let counts = (self.only.is_empty() || self.only.contains(&condition.reason))
                    && !self.except.contains(&condition.reason)
                    && (self.about.is_empty() || self.about.iter().any(|part| condition.message.contains(part)));
                if !counts {
                    return None;
                }
                match condition.text() {
                    "" => format!("{kind} is {status}").into(),
                    text => text.into(),
                }
            }
            Test::Value { at, values } => {
                let found = object.at(at).and_then(plain)?;
                values.contains(&found.as_ref()).then_some(found)?
            }
            Test::Begins { at, with } => {
                let found = object.at(at).and_then(plain)?;
                with.iter().any(|start| found.starts_with(start)).then_some(found)?
            }
            Test::Present(at) => {
                let found = object.at(at).filter(|value| !is_empty(value))?;
                plain(found).unwrap_or_default()
            }
            Test::Absent(at) => object.at(at).is_none_or(is_empty).then_some("".into())?,
            Test::Exists(at) => object.at(at).is_some_and(|value| !value.is_null()).then_some("".into())?,
            Test::Behind(at) => {
                let seen = object.at(at).and_then(generation)?;
                (seen < number(object, "/metadata/generation")?).then_some(UNOBSERVED.into())?
            }
            Test::ConditionBehind(kind) => {
                let list = object.at("/status/conditions")?.as_array()?;
                let found = list.iter().find(|item| item.get("type").and_then(Value::as_str) == Some(kind))?;
                let seen = found.get("observedGeneration").and_then(generation)?;
                (seen < number(object, "/metadata/generation")?).then_some(UNOBSERVED.into())?
            }
            Test::Fewer { at, than } => {
                let (count, wanted) = (number(object, at).unwrap_or(0), number(object, than).unwrap_or(1));
                let words = if self.words.is_empty() { "replicas ready" } else { self.words };
                return (count < wanted).then(|| Health::new(self.status, format!("{count} of {wanted} {words}")));
            }
            Test::Item { list, fields } => {
                let items = object.at(list)?.as_array()?;
                let item = items.iter().find(|item| {
                    fields.iter().all(|(field, value)| item.get(field).and_then(plain).as_deref() == Some(value))
                })?;
                *since = condition(item).since;
                let said = self.details.iter().map(|at| item.pointer(at)).find_map(|value| value.and_then(plain));
                let said = said.unwrap_or_else(|| condition(item).text().into());
                return Some(self.health(join(self.words, &said)));
            }
            Test::Rest("") => "".into(),
            Test::Rest(kind) => find_condition(object, kind).map_or("", |condition| condition.text()).into(),
        };
        let details = self.details.iter().find_map(|at| object.at(at).and_then(first_text)).unwrap_or_default();
        let found = if self.words.is_empty() { &found } else { self.words };
        Some(self.health(join(found, details)))
    }

    fn health(&self, message: String) -> Health {
        match self.status {
            // What is well needs no words.
            HealthStatus::Healthy => Health::healthy(),
            HealthStatus::Progressing if message.is_empty() => Health::progressing(WAITING),
            status => Health::new(status, message),
        }
    }
}

fn join(found: &str, details: &str) -> String {
    match (found, details) {
        (found, "") => found.into(),
        ("", details) => details.into(),
        (found, details) if found == details => found.into(),
        (found, details) => format!("{found}: {details}"),
    }
}

/// A text, number or boolean as text.
fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(true) => Some("true".into()),
        Value::Bool(false) => Some("false".into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// A text that says something, or the first of a list of texts.
fn first_text(value: &Value) -> Option<&str> {
    let value = match value {
        Value::Array(list) => list.first()?,
        value => value,
    };
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A generation: a number, or a text that begins with one (`3-d41d8c`). Other texts, such as hashes, say nothing.
fn generation(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.split('-').next()?.parse().ok(),
        value => value.as_i64(),
    }
}

/// The worst of several answers, each about a part, as controllers of routes and policies write them.
pub(super) fn worst(answers: impl IntoIterator<Item = Health>) -> Option<Health> {
    let mut worst: Option<Health> = None;
    for answer in answers {
        if worst.as_ref().is_none_or(|worst| answer.status > worst.status) {
            worst = Some(answer);
        }
    }
    worst
}

/// The list at a pointer; empty where there is none.
pub(super) fn list<'a>(object: &'a Object, at: &str) -> &'a [Value] {
    object.at(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether the conditions in this part are about an older generation than the object's.
pub(super) fn part_is_behind(object: &Object, part: &Value) -> bool {
    let Some(newest) = number(object, "/metadata/generation") else { return false };
    let conditions = part.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.filter_map(|condition| condition.get("observedGeneration")?.as_i64()).any(|seen| seen < newest)
}
