use serde_json::json;

use super::*;

fn one(text: &str) -> Value {
    parse_single(text, Duplicates::Refuse).unwrap()
}

#[test]
fn scalars_mean_what_kubernetes_takes_them_for() {
    // Recorded from sigs.k8s.io/yaml 1.6, which the API server and the other tools use.
    let table = [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("on", json!(true)),
        ("n", json!(false)),
        ("true", json!(true)),
        ("\"yes\"", json!("yes")),
        ("~", Value::Null),
        ("", Value::Null),
        ("null", Value::Null),
        ("0755", json!(493)),
        ("0o755", json!(493)),
        ("08", json!(8)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("1_000", json!(1000)),
        ("+1", json!(1)),
        ("-7", json!(-7)),
        ("3.0", json!(3)),
        ("1e3", json!(1000)),
        ("12e5", json!(1_200_000)),
        ("0.5", json!(0.5)),
        (".5", json!(0.5)),
        ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("184467440737095516150", json!(184_467_440_737_095_516_150_f64)),
        ("2024-01-02", json!("2024-01-02")),
        ("2024-01-02T03:04:05Z", json!("2024-01-02T03:04:05Z")),
        ("1:30", json!("1:30")),
        ("1.2.3", json!("1.2.3")),
        ("!!str 12", json!("12")),
        ("!!binary aGVsbG8=", json!("hello")),
        ("100m", json!("100m")),
        ("Infinity", json!("Infinity")),
        ("=", json!("=")),
        ("-0755", json!(-493)),
        ("0_7", json!(7)),
        ("-08", json!(-8)),
        ("1.", json!(1)),
        ("0.0", json!(0)),
        ("+.5", json!(0.5)),
        ("1E3", json!(1000)),
        ("0b2", json!("0b2")),
        ("-0b11", json!(-3)),
    ];
    for (text, expected) in table {
        assert_eq!(one(&format!("a: {text}\n")), json!({ "a": expected }), "{text:?}");
    }
}

#[test]
fn values_that_json_cannot_hold_are_refused() {
    for text in [".inf", ".nan", "1e999"] {
        assert!(parse_single(&format!("a: {text}\n"), Duplicates::Refuse).is_err(), "{text}");
    }
}

#[test]
fn keys_stay_text() {
    assert_eq!(one("1: a\ntrue: b\n0x2: c\n8080: d\n"), json!({"1": "a", "true": "b", "0x2": "c", "8080": "d"}));
}

#[test]
fn merges_and_anchors() {
    assert_eq!(
        one("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n"),
        json!({"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "again": {"x": 1, "y": 2}})
    );
}

#[test]
fn documents_are_numbered_and_empty_ones_left_out() {
    let text = "# licence\n---\n# nothing\n---\na: 1\n--- # why\nb: |\n  ---x\n  text\n---\n---\n--- {c: 3}\n...\n";
    let found: Vec<(usize, usize, Value)> =
        documents(text).iter().map(|d| (d.number, d.first_line, parse(d, Duplicates::Refuse).unwrap())).collect();
    assert_eq!(found, vec![(1, 4, json!({"a": 1})), (2, 6, json!({"b": "---x\ntext\n"})), (3, 12, json!({"c": 3})),]);
    assert!(documents("\u{feff}# only a comment\n%YAML 1.1\n---\n").is_empty());
}

#[test]
fn faults_name_the_line_of_the_whole_text() {
    let text = "a: 1\n---\nb: 1\nc: [1\nd: 2\n";
    let fault = parse(&documents(text)[1], Duplicates::Refuse).unwrap_err();
    assert_eq!(fault.document, 2);
    assert!((4..=5).contains(&fault.line), "{fault:?}");
}

#[test]
fn repeated_keys() {
    let fault = parse_single("a: 1\nb: 2\na: 3\n", Duplicates::Refuse).unwrap_err();
    assert_eq!((fault.duplicate_key, fault.line, fault.message.as_str()), (true, 3, "duplicate mapping key: a"));
    assert_eq!(parse_single("a: 1\nb: 2\na: 3\n", Duplicates::LastWins).unwrap(), json!({"a": 3, "b": 2}));
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", ")));
    }
    let begun = std::time::Instant::now();
    assert!(parse_single(&bomb, Duplicates::Refuse).is_err());
    println!("refused after {:?}", begun.elapsed());
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
}

#[test]
fn depth_is_limited() {
    let deep = format!("a: {}1{}\n", "[".repeat(400), "]".repeat(400));
    assert!(parse_single(&deep, Duplicates::Refuse).is_err());
    let crd_like =
        format!("{}x: 1\n", (0..80).map(|d| format!("{}p:\n", " ".repeat(d))).collect::<String>() + &" ".repeat(80));
    assert!(parse_single(&crd_like, Duplicates::Refuse).is_ok());
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
    for document in documents(&text) {
        collect(parse(&document, Duplicates::Refuse).unwrap(), &mut objects).unwrap();
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
