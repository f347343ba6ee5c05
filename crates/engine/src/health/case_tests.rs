//! Each kind of the table, healthy, progressing and degraded, in `cases/`: one file for each file of `rules/`.

use std::collections::{BTreeMap, BTreeSet};

use resources::HealthStatus::{Degraded, Healthy, Progressing};
use serde_json::{Map, json};

use super::rule::Family;
use super::*;

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("cases/", $name, ".yaml")))),*] };
}

const FILES: [(&str, &str); 29] = files![
    "api_management",
    "apps_delivery",
    "argo",
    "backup",
    "cert_manager",
    "cloud",
    "cluster_api",
    "crossplane",
    "data_and_ml",
    "databases",
    "datastores",
    "flux",
    "gateway_api",
    "istio",
    "kafka",
    "knative",
    "kubernetes",
    "many_clusters",
    "netapp",
    "network",
    "observability",
    "openshift",
    "policy",
    "scaling",
    "secrets",
    "storage",
    "strimzi",
    "tekton",
    "virtualization",
];

/// Kinds of workloads and of the API itself, which are not counted.
const OWN_KINDS: &str = "Kubernetes";

struct Case {
    file: &'static str,
    object: Object,
    /// `None`: objects like this have no health.
    wanted: Option<HealthStatus>,
    says: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, text) in FILES {
        let kinds: Map<String, Value> = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for (kinds, list) in kinds {
            for kind in kinds.split(',') {
                let (api_version, kind) = kind.trim().split_once(' ').unwrap_or_else(|| panic!("{file}: {kind}"));
                for case in list.as_array().unwrap_or_else(|| panic!("{file}: {kind} is no list")) {
                    cases.push(self::case(file, api_version, kind, case.as_object().unwrap()));
                }
            }
        }
    }
    cases
}

fn case(file: &'static str, api_version: &str, kind: &str, case: &Map<String, Value>) -> Case {
    let says = case.get("says").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut answers = case.iter().filter(|(name, _)| *name != "says");
    let (Some((answer, body)), None) = (answers.next(), answers.next()) else { panic!("{file}: {kind}: {case:?}") };
    let wanted = (answer != "None").then(|| HealthStatus::from(answer.as_str()));
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a", "generation": 2 } });
    for (field, value) in body.as_object().unwrap() {
        match object.get_mut(field).and_then(Value::as_object_mut) {
            Some(map) => map.extend(value.as_object().unwrap().clone()),
            None => object[field] = value.clone(),
        }
    }
    expand(&mut object);
    Case { file, object: Object(object), wanted, says }
}

/// When the cases are judged.
fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// Conditions are written `Type=Status@Generation~Minutes Reason | message`: so many minutes it has been so.
fn expand(value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(field, value)| match value {
            Value::Array(list) if field == "conditions" => {
                list.iter_mut()
                    .filter(|item| item.is_string())
                    .for_each(|item| *item = written(item.as_str().unwrap()));
            }
            value => expand(value),
        }),
        Value::Array(list) => list.iter_mut().for_each(expand),
        _ => {}
    }
}

fn written(text: &str) -> Value {
    let (head, message) = text.split_once('|').map_or((text, ""), |(head, message)| (head, message.trim()));
    let (head, reason) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
    let (kind, status) = head.split_once('=').unwrap_or_else(|| panic!("a condition without status: {text}"));
    let (status, minutes) = status.split_once('~').map_or((status, None), |(status, minutes)| (status, Some(minutes)));
    let (status, generation) = status.split_once('@').map_or((status, None), |(status, at)| (status, Some(at)));
    let mut condition = json!({ "type": kind, "status": status, "reason": reason, "message": message });
    if let Some(generation) = generation {
        condition["observedGeneration"] = generation.parse::<i64>().unwrap().into();
    }
    if let Some(minutes) = minutes {
        condition["lastTransitionTime"] =
            (now() - SignedDuration::from_mins(minutes.parse().unwrap())).to_string().into();
    }
    condition
}

#[test]
fn cases_are_judged_as_they_say() {
    let mut wrong = Vec::new();
    for Case { file, object, wanted, says } in cases() {
        let manifest = &object.0;
        let got = health(&object, now());
        let status = got.as_ref().map(|health| health.status);
        let message = got.map(|health| health.message).unwrap_or_default();
        let needs_words = wanted.is_some_and(|status| status != Healthy && object.kind() != "Application");
        if status != wanted {
            wrong.push(format!("{file}: wanted {wanted:?}, got {status:?} {message:?}: {manifest}"));
        } else if !message.contains(&says) {
            wrong.push(format!("{file}: {message:?} has no {says:?}: {manifest}"));
        } else if needs_words && message.is_empty() {
            wrong.push(format!("{file}: says nothing: {manifest}"));
        }
    }
    assert!(wrong.is_empty(), "{} are judged otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_kind_has_its_cases() {
    let mut seen: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let cases = cases();
    for Case { object, wanted, .. } in &cases {
        let rule = rule_of(object.group(), object.kind()).unwrap_or_else(|| panic!("no rule for {}", object.key()));
        let kind = rule.kinds.iter().find(|kind| **kind == object.kind()).copied().unwrap_or("*");
        seen.entry((rule.group, kind)).or_default().insert(wanted.map_or("None", HealthStatus::as_str));
    }
    let (mut kinds, mut patterns, mut missing) = (0, 0, Vec::new());
    for Family { name, rules } in rules::FAMILIES {
        for rule in *rules {
            for kind in rule.kinds {
                if *kind == "*" || rule.group.starts_with('*') {
                    patterns += 1;
                } else if *name != OWN_KINDS {
                    kinds += 1;
                }
                let seen = seen.get(&(rule.group, *kind)).cloned().unwrap_or_default();
                for status in [Healthy, Progressing, Degraded] {
                    if seen.contains(status.as_str()) == rule.never.contains(&status) {
                        let never = if rule.never.contains(&status) { "is never" } else { "has no case for" };
                        missing.push(format!("{}/{kind} {never} {status}", rule.group));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(kinds >= 120, "only {kinds} kinds");
    println!("{kinds} kinds and {patterns} patterns, {} cases", cases.len());
}

#[test]
fn no_kind_has_two_rules() {
    let mut seen = BTreeSet::new();
    for rule in rules::FAMILIES.iter().flat_map(|family| family.rules) {
        for kind in rule.kinds {
            assert!(seen.insert((rule.group, *kind)), "{}/{kind} has two rules", rule.group);
        }
    }
}

#[test]
fn the_narrowest_rule_counts() {
    for (group, kind, wanted) in [
        ("pkg.crossplane.io", "Provider", Some(("pkg.crossplane.io", "Provider"))),
        ("ec2.aws.crossplane.io", "VPC", Some(("*.crossplane.io", "*"))),
        ("crossplane.io", "VPC", None),
        ("evilcrossplane.io", "VPC", None),
        ("customize.core.cnrm.cloud.google.com", "A", Some(("customize.core.cnrm.cloud.google.com", "*"))),
        ("core.cnrm.cloud.google.com", "A", Some(("*.cnrm.cloud.google.com", "*"))),
        ("karpenter.azure.com", "AKSNodeClass", Some(("karpenter.azure.com", "AKSNodeClass"))),
        ("kubedb.com", "Redis", Some(("kubedb.com", "*"))),
        ("apps", "Gadget", None),
    ] {
        let found = rule_of(group, kind);
        assert_eq!(found.map(|rule| rule.group), wanted.map(|wanted| wanted.0), "{group}/{kind}");
        assert!(wanted.is_none_or(|wanted| found.unwrap().kinds.contains(&wanted.1)), "{group}/{kind}");
    }
}

#[test]
fn the_documentation_has_every_kind() {
    let (_, text) = include_str!("../../../../docs/health.md").split_once("## The kinds").unwrap();
    let written: BTreeSet<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.contains("| group |")).collect();
    let documented = documented();
    let missing: Vec<&str> = documented.iter().map(String::as_str).filter(|line| !written.contains(line)).collect();
    assert!(missing.is_empty(), "the table of docs/health.md lacks these lines:\n{}", missing.join("\n"));
    assert_eq!(written.len(), documented.len(), "the table of docs/health.md has lines without a rule");
}

/// The lines of the table of kinds: a group of a product on each.
fn documented() -> Vec<String> {
    let mut lines = Vec::new();
    for Family { name, rules } in rules::FAMILIES {
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for rule in *rules {
            groups.entry(rule.group).or_default().extend(rule.kinds);
        }
        for (group, kinds) in groups {
            let group = if group.is_empty() { "core".into() } else { format!("`{group}`") };
            let kinds: Vec<&str> =
                kinds.into_iter().map(|kind| if kind == "*" { "every other kind" } else { kind }).collect();
            lines.push(format!("| {name} | {group} | {} |", kinds.join(", ")));
        }
    }
    lines
}
