use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::allowance::Asker;
use crate::tree::memory::MemoryTree;

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(10), memory_bytes: 1 << 30, output_bytes: 1 << 20, objects: 100 };

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

fn render(tree: MemoryTree, settings: Directory) -> Result<Vec<String>, RenderError> {
    let trees: [SharedTree; 1] = [Arc::new(tree)];
    let mut reads = Reads::new(&trees);
    let files = list(&mut reads, 0, "app", &settings, "source")?;
    let asker = Asker::default();
    Ok(parse(&trees[0], &files, &LIMITS, asker.wanted())?.iter().map(|o| o.name().to_owned()).collect())
}

fn sample() -> MemoryTree {
    MemoryTree::new(&[
        ("app/a.yaml", &map("a")),
        ("app/b.yml", &(map("b1") + "---\n" + &map("b2"))),
        ("app/c.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#),
        ("app/README.md", "# read me"),
        ("app/deep/d.yaml", &map("d")),
        ("app/deep/er/e.yaml", &map("e")),
        ("app/values.yaml", "replicas: 3\n"),
        ("app/empty.yaml", "# nothing\n---\n"),
        ("app/skipped.yaml", &("# +argocd:skip-file-rendering\n".to_owned() + &map("skipped"))),
        ("other/o.yaml", &map("o")),
    ])
}

#[test]
fn every_option() {
    let with = |recurse, include: &str, exclude: &str| Directory {
        recurse,
        include: include.into(),
        exclude: exclude.into(),
        ..Directory::default()
    };
    let table: &[(Directory, &[&str])] = &[
        (with(false, "", ""), &["a", "b1", "b2", "c"]),
        (with(true, "", ""), &["a", "b1", "b2", "c", "d", "e"]),
        (with(true, "*.yml", ""), &["b1", "b2"]),
        (with(true, "{a.yaml,deep/*}", ""), &["a", "d", "e"]),
        (with(true, "", "deep/*"), &["a", "b1", "b2", "c"]),
        (with(true, "**/*.yaml", "**/er/**"), &["d"]),
        (with(true, "*.yaml", "{a,deep/d}.yaml"), &["e"]),
        (with(false, "nothing", ""), &[]),
    ];
    for (settings, expected) in table {
        assert_eq!(render(sample(), settings.clone()).unwrap(), *expected, "{settings:?}");
    }
}

#[test]
fn links_inside_are_read_and_links_outside_refused() {
    let inside = sample().link("app/linked.yaml", "../other/o.yaml").link("app/gone.yaml", "nowhere.yaml");
    assert_eq!(render(inside, Directory::default()).unwrap(), ["a", "b1", "b2", "c", "o"]);
    let folder = sample().link("app/more.yaml", "../other");
    assert_eq!(render(folder, Directory::default()).unwrap(), ["a", "b1", "b2", "c"]);
    for target in ["../../../etc/passwd", "/etc/passwd"] {
        let error = render(sample().link("app/out.yaml", target), Directory::default()).unwrap_err();
        assert!(matches!(error, RenderError::LeavesRepository { .. }), "{error}");
        assert!(error.to_string().contains(target), "{error}");
    }
}

#[test]
fn broken_files_are_named_with_document_and_line() {
    let broken = map("one") + "---\n" + &map("two") + "data: [\n";
    let table: &[(&str, &str, &str)] = &[
        ("app/x.yaml", &broken, "app/x.yaml, document 2, line"),
        ("app/x.yaml", &(map("one") + "---\njust: text\n"), "app/x.yaml, document 2: not a Kubernetes object"),
        ("app/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "no `metadata.name`"),
        ("app/x.yaml", "apiVersion: v1\nkind: A\nkind: B\nmetadata: {name: x}\n", "app/x.yaml, document 1, line 3"),
        (
            "app/x.json",
            "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {}}",
            "app/x.json, document 1: ConfigMap has no `metadata.name`",
        ),
        ("app/x.json", "{\"apiVersion\": 1, \"kind\" : 2, \"metadata\": 3", "app/x.json, document 1, line 1"),
        ("app/x.jsonnet", "{}", "Jsonnet is not supported"),
    ];
    for (path, content, expected) in table {
        let error = render(sample().with(&[(path, Some(content))]), Directory::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_transient());
    }
}

/// Whatever its extension, a file beside the manifests that is none is passed over.
#[test]
fn what_is_no_manifest_is_left_out() {
    for (path, content) in [
        ("app/config.json", "{\"team\": \"core\"}"),
        ("app/config.json", "{\"kind\": \"bundle\", \"items\": [1"),
        ("app/tsconfig.json", "{ // with comments\n}"),
        ("app/config.yaml", "team: core\n"),
        ("app/config.yaml", "{{ template }}\n"),
    ] {
        let found = render(sample().with(&[(path, Some(content))]), Directory::default());
        assert_eq!(found.unwrap(), ["a", "b1", "b2", "c"], "{path}: {content}");
    }
}

#[test]
fn linked_folders_are_read_once() {
    let recurse = Directory { recurse: true, ..Directory::default() };
    let names = |tree: MemoryTree| render(tree, recurse.clone()).unwrap();
    let own = ["a", "b1", "b2", "c", "d", "e"];
    let with = |more: &[&'static str]| own.iter().chain(more).copied().collect::<Vec<_>>();
    assert_eq!(names(sample().link("app/shared", "../other")), with(&["o"]));
    assert_eq!(names(sample().link("app/one", "../other").link("app/two", "../other")), with(&["o"]));
    assert_eq!(names(sample().link("app/loop", ".").link("app/deep/up", "..")), own);
    assert_eq!(names(sample().link("app/again", "deep")), own);
    assert_eq!(names(sample().link("app/zall", "..")), with(&["o"]), "with what was read before left out");
    assert_eq!(names(sample().link("app/out", "../../etc")), own, "not named like a manifest");
    let nested = sample().link("app/shared", "../other").link("other/more", "../third");
    assert_eq!(names(nested.with(&[("third/t.yaml", Some(&map("t")))])), with(&["t", "o"]));
    let flat = render(sample().link("app/shared", "../other"), Directory::default()).unwrap();
    assert_eq!(flat, ["a", "b1", "b2", "c"], "a folder below, like any other");
    let only = Directory { include: "shared/*".into(), ..recurse.clone() };
    assert_eq!(render(sample().link("app/shared", "../other"), only).unwrap(), ["o"]);

    let trees: [SharedTree; 1] = [Arc::new(sample().link("app/shared", "../other"))];
    let mut reads = Reads::new(&trees);
    list(&mut reads, 0, "app", &recurse, "source").unwrap();
    let inputs: Vec<String> = reads.inputs().into_iter().map(|input| input.path).collect();
    assert_eq!(inputs, ["app/shared", "other"], "a change there renders it anew");
}

#[test]
fn sizes_and_counts_are_limited() {
    let long = map("long") + &format!("data: {{x: {}}}\n", "y".repeat(600_000));
    let two = sample().with(&[("app/x.yaml", Some(&long)), ("app/y.yaml", Some(&long))]);
    assert!(matches!(render(two, Directory::default()), Err(RenderError::Limit { .. })));
    let many: String = (0..101).map(|n| map(&format!("m{n}")) + "---\n").collect();
    let error = render(sample().with(&[("app/x.yaml", Some(&many))]), Directory::default()).unwrap_err();
    assert!(error.to_string().contains("max_objects"), "{error}");
}

#[test]
fn a_bad_pattern_names_its_field() {
    let settings = Directory { include: "[".into(), ..Directory::default() };
    let error = render(sample(), settings).unwrap_err();
    assert!(error.to_string().starts_with("spec.source.directory.include"), "{error}");
}
