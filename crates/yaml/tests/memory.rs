//! What a budget counts is what a value takes: alone in its process, so that nothing else is measured.
#![allow(clippy::unwrap_used)]

use yaml::{Budget, Duplicates};

/// Memory that this process has, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_is_within_what_was_counted() {
    let many = |count: usize, item: &str| format!("[{}]", item.repeat(count));
    let keys: String = (0..60_000).map(|n| format!("key{n}: v\n")).collect();
    let typical: String = (0..2_000)
        .map(|n| {
            format!(
                "- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: c{n}, labels: {{a: b, c: d}}}}\n  data:\n    key: \"a value of some length\"\n"
            )
        })
        .collect();
    let shapes = [
        ("numbers", many(200_000, "1,")),
        ("texts", many(120_000, "a,")),
        ("lists", many(120_000, "[],")),
        ("lists in lists", many(60_000, "[[1]],")),
        ("mappings", many(30_000, "{a: b},")),
        ("larger mappings", many(8_000, "{a: b, c: d, e: f, g: h, i: j},")),
        ("a long mapping", keys),
        ("typical", typical),
        ("a long text", format!("[\"{}\"]", "x".repeat(10_000_000))),
    ];
    // Kept, so that none uses again what another left behind.
    let mut held = Vec::new();
    for (name, text) in shapes {
        let mut budget = Budget::default();
        let before = resident();
        let value = yaml::parse_single(&text, Duplicates::Refuse, &mut budget).unwrap();
        let (taken, counted) = (resident().saturating_sub(before), yaml::weight(&value));
        held.push(value);
        println!("{name}: {} bytes of text, {counted} counted, {taken} taken", text.len());
        assert!(taken < counted + (8 << 20), "{name}: {taken} taken, {counted} counted");
    }
}
