use yaml::{Budget, Duplicates};

use super::*;

fn one(text: &str) -> Value {
    yaml::parse_single(text, Duplicates::Refuse, &mut Budget::default()).unwrap()
}

#[test]
fn a_large_output_passes() {
    let mut text = String::new();
    for number in 0..6_000 {
        text.push_str(&format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{number}\ndata:\n"));
        for row in 0..20 {
            text.push_str(&format!("  key{row}: \"the value of row {row}, long enough to count\"\n"));
        }
    }
    assert!(text.len() > 5_000_000);
    let mut objects = Vec::new();
    let mut budget = Budget::default();
    for document in yaml::documents(&text) {
        collect(yaml::parse(&document, Duplicates::Refuse, &mut budget).unwrap(), &mut objects).unwrap();
    }
    assert_eq!(objects.len(), 6_000);
}

#[test]
fn lists_are_flattened() {
    let mut objects = Vec::new();
    let list = one("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n\
         - apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - metadata: {name: c}\n");
    collect(list, &mut objects).unwrap();
    collect(one("apiVersion: v1\nkind: ConfigMapList\nitems: null\n"), &mut objects).unwrap();
    collect(one("{}"), &mut objects).unwrap();
    // A kind that only ends in "List" is an object like any other.
    collect(one("apiVersion: x/v1\nkind: AllowList\nmetadata: {name: l}\n"), &mut objects).unwrap();
    let names: Vec<_> = objects.iter().map(|o| format!("{} {}", o.kind(), o.name())).collect();
    assert_eq!(names, ["Secret s", "ConfigMap c", "AllowList l"]);
}

#[test]
fn what_is_not_an_object_says_why() {
    let table = [
        ("- a\n", "a list"),
        ("kind: X\n", "`apiVersion` is missing"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "`kind` is missing"),
        ("apiVersion: v1\nkind: X\n", "no `metadata.name`"),
        ("apiVersion: v1\nkind: X\nmetadata: {name: 12}\n", "put it in quotes"),
        ("apiVersion: 1\nkind: X\n", "a number"),
    ];
    for (text, expected) in table {
        let message = collect(one(text), &mut Vec::new()).unwrap_err();
        assert!(message.contains(expected), "{text:?}: {message}");
    }
}
