//! Judges what a real API server made of hundreds of manifests (`tests/corpus`): no difference where there is none, none
//! overlooked where there is one, by both comparers.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;

use engine::compare::{CompareRules, Difference, compare, compare_predicted};
use engine::health::kinds;
use resources::Object;
use serde::Deserialize;
use serde_json::Value;

/// The managers that are ours, as the worker has them.
const OURS: [&str; 2] = ["lockstep", "argocd-controller"];
/// So many pairs in a hundred may leave a doubt, which costs a dry run and no more.
const DOUBTS_IN_A_HUNDRED: usize = 3;
/// So many differences only the API server can tell.
const ONLY_BY_DRY_RUN: usize = 3;

/// One line of a recorded file; `tests/corpus/src/output.rs` writes it.
#[derive(Deserialize)]
struct Record {
    name: String,
    desired: Object,
    live: Object,
    #[serde(default)]
    predicted: Option<Object>,
    #[serde(default)]
    path: String,
    #[serde(default)]
    same: bool,
    #[serde(default)]
    doubt: bool,
}

impl Record {
    fn structural(&self) -> Difference {
        compare(&self.desired, Some(&self.live), &rules())
    }

    /// As the worker's store has live objects: it forgets what other managers own, and the values of Secrets.
    fn structural_when_lean(&self) -> Difference {
        let mut live = self.live.clone();
        if let Some(fields) = live.0.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
            fields.retain(|entry| OURS.iter().any(|ours| entry["manager"] == *ours));
        }
        live.digest_secret();
        compare(&self.desired, Some(&live), &rules())
    }

    fn predicted(&self) -> Difference {
        let mut live = self.live.clone();
        live.digest_secret();
        // A dry run answers with the annotation that the store forgets; it is not compared.
        compare_predicted(self.predicted.as_ref().unwrap_or(&self.live), &live, &rules())
    }

    /// What each comparer says; the structural one also of an object whose other managers are forgotten.
    fn answers(&self) -> [(&'static str, Difference); 3] {
        [
            ("structural", self.structural()),
            ("structural, lean", self.structural_when_lean()),
            ("dry run", self.predicted()),
        ]
    }
}

fn rules() -> CompareRules {
    CompareRules::new(&[], &OURS)
}

fn read(file: &str) -> Vec<Record> {
    let file =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/corpus/recorded").join(file);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Everything that is wrong at once, a line each.
fn none(wrong: &[[String; 3]]) {
    let width = |column: usize| wrong.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let lines: Vec<String> = wrong.iter().map(|[a, b, c]| format!("{a:first$}  {b:second$}  {c}")).collect();
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), lines.join("\n"));
}

fn row(record: &Record, comparer: &str, says: impl ToString) -> [String; 3] {
    [record.name.clone(), comparer.to_owned(), says.to_string()]
}

#[test]
fn what_was_applied_is_in_sync() {
    let pairs = read("pairs.json");
    assert!(pairs.len() >= 150, "only {} pairs", pairs.len());
    let mut wrong = Vec::new();
    let mut doubtful = Vec::new();
    for pair in &pairs {
        for (comparer, difference) in pair.answers() {
            if !difference.is_empty() {
                wrong.push(row(pair, comparer, &difference));
            }
        }
        let doubts = pair.structural().doubts;
        if !doubts.is_empty() {
            doubtful.push(format!("{}: {}", pair.name, doubts.join(", ")));
        }
    }
    none(&wrong);
    assert!(
        doubtful.len() * 100 <= pairs.len() * DOUBTS_IN_A_HUNDRED,
        "{} of {} pairs leave a doubt:\n{}",
        doubtful.len(),
        pairs.len(),
        doubtful.join("\n")
    );
}

#[test]
fn what_was_changed_is_seen_and_what_others_may_do_is_not() {
    let all = read("differences.json");
    let (same, different): (Vec<Record>, Vec<Record>) = all.into_iter().partition(|record| record.same);
    assert!(different.len() >= 100, "only {} differences", different.len());
    assert!(same.len() >= 15, "only {} changes that are no difference", same.len());
    let mut wrong = Vec::new();
    for record in &different {
        let seen = |difference: &Difference| difference.fields.iter().any(|field| field.path.starts_with(&record.path));
        for (comparer, difference) in record.answers() {
            let excused = record.doubt && comparer != "dry run" && !difference.doubts.is_empty();
            if !seen(&difference) && !excused {
                let said = if difference.is_empty() { "nothing".to_owned() } else { difference.to_string() };
                wrong.push(row(record, comparer, format!("{} was changed, and it says: {said}", record.path)));
            }
        }
    }
    for record in &same {
        for (comparer, difference) in record.answers() {
            if !difference.is_empty() {
                wrong.push(row(record, comparer, &difference));
            }
        }
    }
    none(&wrong);
    let excused = different.iter().filter(|record| record.doubt).count();
    assert!(excused <= ONLY_BY_DRY_RUN, "{excused} differences are excused");
}

#[test]
fn an_object_does_not_differ_from_itself() {
    let mut wrong = Vec::new();
    for record in read("pairs.json").iter().chain(&read("differences.json")) {
        let by_fields = compare(&record.live, Some(&record.live), &rules());
        let exactly = compare_predicted(&record.live, &record.live, &rules());
        for (what, difference) in [("structural", by_fields), ("dry run", exactly)] {
            if !difference.is_empty() {
                wrong.push(row(record, what, &difference));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_kind_with_a_rule_of_its_own_is_there() {
    // No API server has it any more.
    const NOT_SERVED: [(&str, &str); 1] = [("extensions", "Ingress")];
    let pairs = read("pairs.json");
    let there: HashSet<(&str, &str)> = pairs.iter().map(|pair| (pair.live.group(), pair.live.kind())).collect();
    let plain = kinds().filter(|kind| kind.kind != "*" && !kind.group.starts_with("*."));
    let missing: Vec<String> = plain
        .filter(|kind| !there.contains(&(kind.group, kind.kind)) && !NOT_SERVED.contains(&(kind.group, kind.kind)))
        .map(|kind| format!("{}/{}", kind.group, kind.kind))
        .collect();
    assert!(missing.is_empty(), "{} kinds have no pair: {}", missing.len(), missing.join(", "));
}
