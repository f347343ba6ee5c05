//! `ignoreDifferences`: rules made ready for many comparisons.
//!
//! A place is ignored when a rule selects it in the desired object or in the live one. Argo CD deletes what a rule selects from
//! both sides, so that a condition that holds on one side only (`select(.replicas > 3)`) makes a difference of its own; here the
//! two places are the same one.

use std::sync::Arc;

use resources::{IgnoreDifference, Object};
use serde_json::Value;

use super::jq::Filter;
use super::places::Places;
use crate::glob::Pattern;

/// One step of a path to ignore.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A field, or an index written as a number.
    Field(String),
    /// Each element.
    Each,
    /// The elements whose field at this path has this value.
    Where(Vec<String>, Value),
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    group: Pattern,
    kind: Pattern,
    name: Option<Pattern>,
    namespace: Option<Pattern>,
    paths: Vec<Vec<Step>>,
    filters: Vec<Arc<Filter>>,
    managers: Vec<Pattern>,
}

impl Rule {
    pub(super) fn new(source: &IgnoreDifference, warnings: &mut Vec<String>) -> Self {
        let (mut paths, mut filters) = (Vec::new(), Vec::new());
        for pointer in &source.json_pointers {
            match parse_pointer(pointer) {
                Some(path) => paths.push(path),
                None => warnings.push(format!(
                    "ignoreDifferences: the JSON pointer {pointer:?} is not one: it must start with / and name a field"
                )),
            }
        }
        for expression in &source.jq_path_expressions {
            if let Some(path) = parse_jq(expression) {
                paths.push(path);
                continue;
            }
            match Filter::new(expression) {
                Ok(filter) => filters.push(Arc::new(filter)),
                Err(reason) => warnings.push(format!(
                    "ignoreDifferences: the jq expression {expression:?} is not applied: {reason}; use a path such as \
                     .spec.replicas or .spec.containers[] | select(.name == \"app\") | .image"
                )),
            }
        }
        let optional = |text: &str| (!text.is_empty()).then(|| Pattern::new(text));
        Self {
            group: Pattern::new(&source.group),
            kind: Pattern::new(&source.kind),
            name: optional(&source.name),
            namespace: optional(&source.namespace),
            paths,
            filters,
            managers: source.managed_fields_managers.iter().map(|manager| Pattern::new(manager)).collect(),
        }
    }

    pub(super) fn applies_to(&self, object: &Object) -> bool {
        self.kind.matches(object.kind())
            && self.group.matches(object.group())
            && self.name.as_ref().is_none_or(|name| name.matches(object.name()))
            && self.namespace.as_ref().is_none_or(|namespace| namespace.matches(object.namespace()))
    }
}

/// What the rules ignore of one object, desired and live.
#[derive(Default)]
pub(super) struct Ignored<'r> {
    steps: Vec<&'r [Step]>,
    desired: Places,
    live: Places,
    /// Managers whose fields are ignored.
    pub(super) managers: Vec<&'r Pattern>,
    /// Expressions that failed, as sentences. They ignore nothing.
    pub(super) warnings: Vec<String>,
}

impl<'r> Ignored<'r> {
    pub(super) fn of(rules: &'r [Rule], desired: &Object, live: &Object) -> Self {
        let mut ignored = Self::default();
        let secret = desired.is_secret();
        for rule in rules.iter().filter(|rule| rule.applies_to(desired)) {
            ignored.steps.extend(rule.paths.iter().map(Vec::as_slice));
            ignored.managers.extend(&rule.managers);
            for filter in &rule.filters {
                match (filter.places(&desired.0), filter.places(&live.0)) {
                    (Ok(desired), Ok(live)) => {
                        ignored.desired.absorb(desired);
                        ignored.live.absorb(live);
                    }
                    (Err(reason), _) | (_, Err(reason)) => {
                        // What went wrong is told with the value that it went wrong on.
                        let reason = if secret { "it fails on this Secret".to_owned() } else { reason };
                        ignored.warnings.push(format!(
                            "ignoreDifferences: the jq expression {:?} is not applied: {reason}",
                            filter.expression()
                        ));
                    }
                }
            }
        }
        if secret {
            ignored.desired.join("data", "stringData");
            ignored.live.join("data", "stringData");
        }
        ignored
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.desired.is_empty() && self.live.is_empty() && self.managers.is_empty()
    }

    /// What is ignored, seen from the root.
    pub(super) fn marks(&self) -> Marks<'_> {
        let some = |places: &'_ Places| !places.is_empty();
        Marks {
            steps: self.steps.clone(),
            desired: Some(&self.desired).filter(|places| some(places)),
            live: Some(&self.live).filter(|places| some(places)),
        }
    }
}

/// What is ignored below a place that is not itself ignored.
#[derive(Clone, Default)]
pub(super) struct Marks<'r> {
    /// The rest of the paths that lead through this place.
    steps: Vec<&'r [Step]>,
    desired: Option<&'r Places>,
    live: Option<&'r Places>,
}

impl<'r> Marks<'r> {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.desired.is_none() && self.live.is_none()
    }

    /// Those below a field. `None`: the field itself is ignored.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        if self.is_empty() {
            return Some(Self::default());
        }
        let steps = advance(&self.steps, |step| match step {
            Step::Field(field) => field == name,
            Step::Each => true,
            Step::Where(..) => false,
        })?;
        let below = |places: Option<&'r Places>| places.and_then(|places| places.field(name));
        Self::at(steps, below(self.desired), below(self.live))
    }

    /// Those below an item of a list, given with its index on the sides that have it. `None`: the item itself is ignored.
    pub(super) fn item(&self, desired: Option<(usize, &Value)>, live: Option<(usize, &Value)>) -> Option<Self> {
        if self.is_empty() {
            return Some(Self::default());
        }
        let steps = advance(&self.steps, |step| {
            let Some((index, item)) = desired.or(live) else { return false };
            match step {
                Step::Field(field) => field.parse() == Ok(index),
                Step::Each => true,
                Step::Where(path, value) => {
                    let found = path.iter().try_fold(item, |item, field| item.get(field));
                    found.unwrap_or(&Value::Null) == value
                }
            }
        })?;
        let below = |places: Option<&'r Places>, item: Option<(usize, &Value)>| places?.item(item?.0);
        Self::at(steps, below(self.desired, desired), below(self.live, live))
    }

    fn at(steps: Vec<&'r [Step]>, desired: Option<&'r Places>, live: Option<&'r Places>) -> Option<Self> {
        let whole = desired.is_some_and(Places::is_whole) || live.is_some_and(Places::is_whole);
        (!whole).then_some(Self { steps, desired, live })
    }
}

/// The rest of the paths that lead through a step. `None`: one ends there.
fn advance<'r>(rest: &[&'r [Step]], takes: impl Fn(&Step) -> bool) -> Option<Vec<&'r [Step]>> {
    let mut out = Vec::new();
    for path in rest {
        let Some((first, tail)) = path.split_first() else { continue };
        if takes(first) {
            if tail.is_empty() {
                return None;
            }
            out.push(tail);
        }
    }
    Some(out)
}

/// An RFC 6901 pointer. The whole document cannot be ignored.
fn parse_pointer(pointer: &str) -> Option<Vec<Step>> {
    let rest = pointer.strip_prefix('/')?;
    Some(rest.split('/').map(|token| Step::Field(token.replace("~1", "/").replace("~0", "~"))).collect())
}

/// The jq expressions that are paths: `.a.b`, `.a["b"]`, `.a[0]`, `.a[]`, `.a[]?`, pipes between them, and
/// `select(.b == "c")` after `[]`.
fn parse_jq(expression: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in split_pipes(expression)? {
        let part = part.trim();
        if let Some(condition) = part.strip_prefix("select(").and_then(|rest| rest.strip_suffix(')')) {
            let (path, value) = condition.split_once("==")?;
            let fields = parse_path(path.trim())?
                .into_iter()
                .map(|step| match step {
                    Step::Field(field) => Some(field),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()?;
            let value = serde_json::from_str(value.trim()).ok()?;
            match steps.last_mut() {
                Some(last @ Step::Each) => *last = Step::Where(fields, value),
                _ => return None,
            }
        } else {
            steps.extend(parse_path(part)?);
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn split_pipes(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '|' if !quoted => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn parse_path(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('.')?;
    let mut steps = Vec::new();
    let mut after_dot = true;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('?') {
            if after_dot {
                return None;
            }
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('[') {
            let (step, tail) = parse_bracket(tail)?;
            steps.push(step);
            rest = tail;
            after_dot = false;
        } else if let Some(tail) = rest.strip_prefix('.') {
            if after_dot {
                return None;
            }
            rest = tail;
            after_dot = true;
        } else if after_dot {
            let (field, tail) = parse_name(rest)?;
            steps.push(Step::Field(field));
            rest = tail;
            after_dot = false;
        } else {
            return None;
        }
    }
    (!after_dot).then_some(steps)
}

fn parse_bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(tail) = text.strip_prefix(']') {
        return Some((Step::Each, tail));
    }
    if text.starts_with('"') {
        let (name, tail) = parse_quoted(text)?;
        return Some((Step::Field(name), tail.strip_prefix(']')?));
    }
    let (index, tail) = text.split_once(']')?;
    index.parse::<usize>().ok()?;
    Some((Step::Field(index.into()), tail))
}

fn parse_name(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        return parse_quoted(text);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, tail) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| (name.into(), tail))
}

fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = stream.next()?.ok()?;
    let end = stream.byte_offset();
    Some((name, &text[end..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.into())
    }

    #[test]
    fn pointers() {
        assert_eq!(parse_pointer("/spec/replicas"), Some(vec![field("spec"), field("replicas")]));
        assert_eq!(parse_pointer("/metadata/annotations/a~1b~0c"), {
            Some(vec![field("metadata"), field("annotations"), field("a/b~c")])
        });
        assert_eq!(parse_pointer("/a/~01"), Some(vec![field("a"), field("~1")]));
        assert_eq!(parse_pointer("spec"), None);
        assert_eq!(parse_pointer(""), None);
    }

    #[test]
    fn jq_paths() {
        let named = Step::Where(vec!["name".into()], json!("app"));
        for (text, want) in [
            (".spec.replicas", Some(vec![field("spec"), field("replicas")])),
            (".a[\"b.c\"].d", Some(vec![field("a"), field("b.c"), field("d")])),
            (".a.\"b.c\"", Some(vec![field("a"), field("b.c")])),
            (".webhooks[]?.clientConfig.caBundle", {
                Some(vec![field("webhooks"), Step::Each, field("clientConfig"), field("caBundle")])
            }),
            (".a[0].b", Some(vec![field("a"), field("0"), field("b")])),
            (".a.[0]", Some(vec![field("a"), field("0")])),
            (".c[] | select(.name == \"app\") | .image", Some(vec![field("c"), named.clone(), field("image")])),
            (".c[] | select(.name==\"a|p\")", {
                Some(vec![field("c"), Step::Where(vec!["name".into()], json!("a|p"))])
            }),
            (".c[]|select(.name == \"app\")", Some(vec![field("c"), named])),
            ("", None),
            (".", None),
            ("..", None),
            (".a..b", None),
            ("del(.a)", None),
            (".a | keys", None),
            (".a | select(.b == 1)", None),
            (".a[] | select(.b == \"c\" or .d)", None),
            (".a[1:2]", None),
            (".a, .b", None),
            ("(.a)", None),
        ] {
            assert_eq!(parse_jq(text), want, "{text}");
        }
    }

    #[test]
    fn rules_select_objects() {
        let object = Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway", "namespace": "dev"}
        }));
        for (group, kind, name, namespace, want) in [
            ("apps", "Deployment", "", "", true),
            ("*", "*", "", "", true),
            ("apps", "Deployment", "gateway", "dev", true),
            ("apps", "Deployment", "other", "", false),
            ("apps", "Deployment", "", "prod", false),
            ("", "Deployment", "", "", false),
            ("apps", "StatefulSet", "", "", false),
        ] {
            let source = IgnoreDifference {
                group: group.into(),
                kind: kind.into(),
                name: name.into(),
                namespace: namespace.into(),
                ..IgnoreDifference::default()
            };
            let got = Rule::new(&source, &mut Vec::new()).applies_to(&object);
            assert_eq!(got, want, "{group} {kind} {name} {namespace}");
        }
    }
}
