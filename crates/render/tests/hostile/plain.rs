//! Plain manifests, and what stands beside them.

use serde_json::json;

use super::Expected::{Harmless, Refused};
use super::{Case, Expected};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

fn of(name: &'static str, text: &str, expected: Expected) -> Case {
    Case::new(name, &[("app/a.yaml", text)], expected)
}

pub(crate) fn cases() -> Vec<Case> {
    let data = |text: &str| format!("{MAP}data: {text}\n");
    let bomb = (1..10).fold(format!("{MAP}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"), |text, level| {
        let previous = format!("*a{}", level - 1);
        text + &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "))
    });
    let merges = format!(
        "{MAP}a: &a {{{}}}\nb:\n{}",
        (0..2_000).map(|n| format!("k{n}: 1, ")).collect::<String>(),
        "- {<<: *a}\n".repeat(2_000)
    );
    vec![
        of("y-bomb", &bomb, Refused("memory_limit_bytes")),
        of("y-merges", &merges, Refused("memory_limit_bytes")),
        of("y-lists", &data(&format!("[{}]", "[],".repeat(3_000_000))), Refused("memory_limit_bytes")),
        of("y-mappings", &data(&format!("[{}]", "{a: b},".repeat(600_000))), Refused("memory_limit_bytes")),
        of("y-deep", &data(&"[".repeat(50_000)), Refused("document 1")),
        of("y-deep-block", &format!("{MAP}x:\n  {}1\n", "- ".repeat(5_000)), Refused("document 1")),
        of("y-deep-mapping", &data(&"{a: ".repeat(50_000)), Refused("document 1")),
        of("y-objects", &format!("{MAP}---\n").repeat(20_001), Refused("max_objects")),
        of("y-recursive", &data("&a {b: *a}"), Refused("contains itself")),
        of(
            "y-latin",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: \"\\ud800\"}\n",
            Refused("document 1"),
        ),
        of("y-key-list", &data("{? [a] : b}"), Refused("a key must be")),
        of("y-long-key", &format!("{MAP}data:\n  ? {}\n  : x\n", "k".repeat(100_000)), Harmless),
        of("y-tags", &data("{a: !!python/object/apply:os.system [touch, b]}"), Harmless),
        of("y-include", &data("{a: !include {FILE}}"), Harmless),
        Case::new("y-jsonnet", &[("app/a.jsonnet", "importstr '{FILE}'")], Refused("Jsonnet")),
        Case::new("y-link", &[("app/b.yaml", MAP)], Refused("leads out")).link("app/a.yaml", "{FILE}"),
        Case::new("y-link-folder", &[("app/b.yaml", MAP)], Harmless)
            .link("app/more", "{REPOSITORY}")
            .source(json!({"directory": {"recurse": true}})),
        Case::new("y-link-circle", &[("app/b.yaml", MAP)], Harmless)
            .link("app/x/y", "../..")
            .link("app/z", "x")
            .source(json!({"directory": {"recurse": true}})),
        Case::new("y-include-pattern", &[("app/b.yaml", MAP)], Harmless)
            .source(json!({"directory": {"include": "../../**"}})),
        Case::new("y-pattern-bomb", &[("app/b.yaml", MAP)], Refused("directory.include"))
            .source(json!({"directory": {"include": "{".repeat(2_000)}})),
        Case::new("y-path-out", &[("app/b.yaml", MAP)], Refused("leads out"))
            .source(json!({"directory": {}}))
            .at("../../.."),
        Case::new(
            "y-override",
            &[
                ("app/b.yaml", MAP),
                ("app/.argocd-source.yaml", "repoURL: 'file://{REPOSITORY}'\npath: /\ndirectory: {recurse: true}\n"),
            ],
            Harmless,
        ),
        Case::new(
            "y-override-bomb",
            &[("app/b.yaml", MAP), ("app/.argocd-source.yaml", &bomb)],
            Refused(".argocd-source.yaml"),
        ),
        Case::new("y-plugin", &[("app/b.yaml", MAP)], Refused("plugin")).source(json!({"plugin": {"name": "sh"}})),
    ]
}
