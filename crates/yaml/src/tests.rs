use std::cell::Cell;

use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Value, Fault> {
    parse_single(text, Duplicates::Refuse, &mut Budget::default())
}

fn one(text: &str) -> Value {
    read(text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"))
}

/// What the others' reader makes of many small texts: recorded from `sigs.k8s.io/yaml` 1.6 by `recorded/record`.
#[test]
fn texts_mean_what_kubernetes_takes_them_for() {
    let (mut same, mut refused) = (0, 0);
    for line in include_str!("../recorded/texts.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let found = parse_single(text, Duplicates::LastWins, &mut Budget::default());
        match (case["json"].as_str(), found) {
            (Some(expected), Ok(found)) => {
                let mut expected: Value = serde_json::from_str(expected).unwrap();
                normalize(&mut expected);
                // serde_json reads large fractions to the last digit but one.
                assert_eq!(rounded(found), rounded(expected), "{text:?}");
                same += 1;
            }
            (None, Err(_)) => same += 1,
            // Stricter is safe: it is told, with the line.
            (Some(_), Err(fault)) => {
                assert_eq!(case["stricter"], true, "{text:?} can be read by the others: {fault}");
                refused += 1;
            }
            (None, Ok(found)) => {
                assert_eq!(case["looser"], true, "{text:?} is refused by the others: {found}");
                refused += 1;
            }
        }
    }
    assert!(same > 400, "{same} are the same, {refused} are not");
}

fn rounded(value: Value) -> String {
    match value {
        Value::Number(number) if number.as_f64().is_some_and(|f| f.abs() > 1e15) && !number.is_i64() => {
            format!("{:.12e}", number.as_f64().unwrap())
        }
        Value::Array(items) => format!("{:?}", items.into_iter().map(rounded).collect::<Vec<_>>()),
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.into_iter().map(|(k, v)| (k, rounded(v))).collect();
            format!("{sorted:?}")
        }
        other => other.to_string(),
    }
}

#[test]
fn merges_and_anchors() {
    assert_eq!(
        one("base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nagain: *b\n"),
        json!({"base": {"x": 1, "z": 2}, "use": {"x": 1, "z": 3}, "again": {"x": 1, "z": 2}})
    );
}

#[test]
fn documents_are_numbered_and_empty_ones_left_out() {
    let text = "# licence\n---\n# nothing\n---\na: 1\n--- # why\nb: |\n  ---x\n  text\n---\n---\n--- {c: 3}\n...\n";
    let found: Vec<(usize, usize, Value)> = documents(text)
        .map(|d| (d.number, d.first_line, parse(&d, Duplicates::Refuse, &mut Budget::default()).unwrap()))
        .collect();
    assert_eq!(found, vec![(1, 4, json!({"a": 1})), (2, 6, json!({"b": "---x\ntext\n"})), (3, 12, json!({"c": 3}))]);
    assert_eq!(documents("\u{feff}# only a comment\n%YAML 1.1\n---\n").count(), 0);
    assert_eq!(documents("a: 1\n---").count(), 1);
    assert_eq!(documents("--- ---\n---\n").map(|d| d.text.to_owned()).collect::<Vec<_>>(), [" ---\n"]);
}

#[test]
fn faults_name_the_line_of_the_whole_text() {
    let text = "a: 1\n---\nb: 1\nc: [1\nd: 2\n";
    let second = documents(text).nth(1).unwrap();
    let fault = parse(&second, Duplicates::Refuse, &mut Budget::default()).unwrap_err();
    assert_eq!(fault.document, 2);
    assert!((4..=6).contains(&fault.line), "{fault:?}");
}

#[test]
fn repeated_keys() {
    let fault = read("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert_eq!((fault.cause, fault.line, fault.message.as_str()), (Cause::DuplicateKey, 3, "duplicate mapping key: a"));
    assert_eq!(read("on: 1\ntrue: 3\n").unwrap_err().cause, Cause::DuplicateKey, "by what they mean");
    let last = parse_single("a: 1\nb: 2\na: 3\n", Duplicates::LastWins, &mut Budget::default()).unwrap();
    assert_eq!(last, json!({"a": 3, "b": 2}));
}

#[test]
fn bombs_are_refused() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        aliases.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", ")));
    }
    let merges = format!(
        "a: &a {{{}}}\nb:\n{}",
        (0..1000).map(|n| format!("k{n}: 1, ")).collect::<String>(),
        "- {<<: *a}\n".repeat(1000)
    );
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(20_000));
    for bomb in [aliases, merges, text] {
        let fault = read(&bomb).unwrap_err();
        assert_eq!(fault.cause, Cause::Budget, "{fault}");
    }
    for deep in [format!("a: {}1{}\n", "[".repeat(400), "]".repeat(400)), "- ".repeat(100_000), "{a: ".repeat(5_000)] {
        assert_eq!(read(&deep).unwrap_err().cause, Cause::Syntax);
    }
    let chain = (1..60).fold("a0: &a0 [[1]]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [[*a{}]]\n", n - 1));
    assert!(read(&chain).unwrap_err().message.contains("levels deep"), "by aliases, too");
    let crd_like =
        format!("{}x: 1\n", (0..80).map(|d| format!("{}p:\n", " ".repeat(d))).collect::<String>() + &" ".repeat(80));
    assert!(read(&crd_like).is_ok());
}

#[test]
fn a_budget_serves_several_texts() {
    let mut budget = Budget::new(10, 1 << 20);
    assert!(parse_single("[1, 2, 3, 4]", Duplicates::Refuse, &mut budget).is_ok());
    let fault = parse_single("[1, 2, 3, 4, 5]", Duplicates::Refuse, &mut budget).unwrap_err();
    assert_eq!((fault.cause, fault.message.as_str()), (Cause::Budget, "there are more than 10 values"));
    let mut budget = Budget::new(1_000_000, 1 << 20);
    let fault = parse_single(&"- [a, b]\n".repeat(10_000), Duplicates::Refuse, &mut budget).unwrap_err();
    assert!(fault.message.contains("1 MiB of memory"), "{fault}");
    assert!(parse_single(&"- [a, b]\n".repeat(10), Duplicates::Refuse, &mut budget).is_ok(), "it was given back");
}

#[test]
fn what_is_charged_is_what_is_weighed() {
    let text = "a: [1, x, {b: c, d: [], e: {}, f: 1, g: 2, h: yyyyyy}]\nanchored: &a {x: 1}\nagain: *a\nmerged: {<<: *a, z: 1}\n";
    let mut budget = Budget::default();
    let before = budget.left();
    let value = parse_single(text, Duplicates::Refuse, &mut budget).unwrap();
    let charged = before - budget.left();
    assert!(charged >= weight(&value) && charged < weight(&value) * 2, "{charged} for {}", weight(&value));
}

#[test]
fn the_watch_stops_it() {
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let mut budget = Budget::default().watched(&stop);
    let fault = parse_single(&"- 1\n".repeat(100_000), Duplicates::Refuse, &mut budget).unwrap_err();
    assert_eq!(fault.cause, Cause::Stopped);
    assert!(fault.line < 10_000, "{fault}");
}

#[test]
fn what_is_written_is_read_again() {
    let marks = "a\u{85}b\u{2028}c\u{feff}\u{0}\u{7f}\u{a0}é日本😀\u{10ffff}\"\\/\n\r\t'#: -";
    let value =
        json!({"k": [1, -2, 0.5, true, null, "yes", "1", "", marks], marks: {}, "yes": [], "~": "~", "<<": "x"});
    let text = to_flow(&value);
    assert!(!text.contains(['\n', '\u{85}', '\u{2028}', '\u{feff}', '\u{7f}']), "{text}");
    assert_eq!(one(&text), value);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
}
