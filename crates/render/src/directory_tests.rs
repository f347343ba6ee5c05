use std::sync::Arc;
use std::time::Duration;

use super::*;
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
    Ok(parse(&trees[0], &files, &LIMITS)?.iter().map(|o| o.name().to_owned()).collect())
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
        ("app/x.json", "{\"name\": \"package\"}", "`directory.exclude`"),
        ("app/x.json", "{", "app/x.json, document 1, line 1"),
        ("app/x.jsonnet", "{}", "Jsonnet is not supported"),
    ];
    for (path, content, expected) in table {
        let error = render(sample().with(&[(path, Some(content))]), Directory::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_transient());
    }
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
