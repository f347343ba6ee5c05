//! Caches, limits and several sources: what a worker relies on.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::testing::{Asked, Bench, names, source};
use crate::tree::memory::MemoryTree;

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n")
}

fn sample() -> MemoryTree {
    MemoryTree::new(&[
        ("apps/web/kustomization.yaml", "resources: [a.yaml]\n"),
        ("apps/web/a.yaml", &map("a", "1")),
        ("apps/web/notes.txt", "not read"),
        ("plain/a.yaml", &map("plain", "1")),
        ("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n"),
        ("chart/templates/m.yaml", &map("chart", "1")),
        ("other/x", "1"),
    ])
}

#[tokio::test]
async fn an_unrelated_change_starts_no_program_and_reads_no_file() {
    for path in ["apps/web", "plain", "chart"] {
        let bench = Bench::new().await;
        let first = bench.one(&Arc::new(sample()), source(path, json!({}))).await.unwrap();
        assert!(!first.from_cache);
        let started = bench.renderer.programs_started();
        let changed = Arc::new(sample().with(&[("other/x", Some("2"))]));
        let second = bench.one(&changed, source(path, json!({}))).await.unwrap();
        assert!(second.from_cache, "{path}");
        assert_eq!((&second.objects, &second.key, &second.inputs), (&first.objects, &first.key, &first.inputs));
        assert_eq!(bench.renderer.programs_started(), started, "{path}");
        assert_eq!(changed.reads.load(Ordering::Relaxed), 0, "{path}: only entries are looked at");
    }
}

#[tokio::test]
async fn a_change_of_an_input_renders_again_and_a_revert_does_not() {
    let bench = Bench::new().await;
    let ask = |tree: MemoryTree| {
        let tree = Arc::new(tree);
        let bench = &bench;
        async move { bench.one(&tree, source("apps/web", json!({}))).await.unwrap() }
    };
    let first = ask(sample()).await;
    let changed = ask(sample().with(&[("apps/web/a.yaml", Some(&map("a", "2")))])).await;
    assert!(!changed.from_cache && changed.key != first.key);
    assert_eq!(changed.objects[0].at("/data/value").unwrap(), "2");
    let reverted = ask(sample()).await;
    assert!(reverted.from_cache && reverted.key == first.key);
    let unread = ask(sample().with(&[("apps/web/notes.txt", Some("changed, in the same folder"))])).await;
    assert!(unread.from_cache && unread.key == first.key);
    assert_eq!(bench.renderer.programs_started(), 2);
    let appeared = sample().with(&[("apps/web/.argocd-source.yaml", Some("directory: {include: 'a.yaml'}\n"))]);
    assert_eq!(ask(appeared).await.source_types, ["Directory"], "that a file was absent is an input, too");
}

#[tokio::test]
async fn a_new_file_in_a_plain_folder_counts_and_another_does_not() {
    let bench = Bench::new().await;
    let first = bench.one(&Arc::new(sample()), source("plain", json!({}))).await.unwrap();
    let readme = Arc::new(sample().with(&[("plain/README.md", Some("hello"))]));
    let same = bench.one(&readme, source("plain", json!({}))).await.unwrap();
    assert!(same.from_cache && same.key == first.key);
    assert_ne!(same.inputs, first.inputs, "the inputs are those of the commit that was asked for");
    let again = bench.one(&readme, source("plain", json!({}))).await.unwrap();
    assert!(Arc::ptr_eq(&same, &again), "and are shared from then on");
    let more = Arc::new(sample().with(&[("plain/b.yaml", Some(&map("b", "1")))]));
    let more = bench.one(&more, source("plain", json!({}))).await.unwrap();
    assert_eq!(names(&more), ["ConfigMap plain", "ConfigMap b"]);
}

#[tokio::test]
async fn results_outlive_the_process_and_damaged_ones_are_made_anew() {
    let bench = Bench::new().await;
    let tree = Arc::new(sample());
    let first = bench.one(&tree, source("apps/web", json!({}))).await.unwrap();
    bench.renderer.flush().await;
    let cache = bench.folder.path().join("cache");
    let next = Bench::with(|config| config.cache_dir = cache.clone()).await;
    let found = next.one(&tree, source("apps/web", json!({}))).await.unwrap();
    assert!(found.from_cache && found.objects == first.objects);
    assert_eq!(next.renderer.programs_started(), 0);

    let mut files: Vec<_> = vec![cache.clone()];
    let mut damaged = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "manifests may hold secrets");
            std::fs::write(path, "damaged").unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    let third = Bench::with(|config| config.cache_dir = cache).await;
    let rendered = third.one(&tree, source("apps/web", json!({}))).await.unwrap();
    assert!(!rendered.from_cache && rendered.objects == first.objects);
}

#[tokio::test]
async fn a_hard_render_trusts_nothing() {
    let bench = Bench::new().await;
    let tree = Arc::new(sample());
    let mut asked = Asked::of(&[(source("apps/web", json!({})), &tree)]);
    bench.render(&asked).await.unwrap();
    asked.hard = true;
    assert!(!bench.render(&asked).await.unwrap().from_cache);
    assert_eq!(bench.renderer.programs_started(), 2);
}

#[tokio::test]
async fn the_commit_is_part_of_the_key_only_for_those_who_use_it() {
    let tree = Arc::new(sample());
    let tagged = json!({"kustomize": {"commonAnnotations": {"commit": "$ARGOCD_APP_REVISION"}, "commonAnnotationsEnvsubst": true}});
    for (options, programs) in [(json!({}), 1), (tagged, 2)] {
        let bench = Bench::new().await;
        for revision in ["1111111111", "2222222222", "2222222222"] {
            let mut asked = Asked::of(&[(source("apps/web", options.clone()), &tree)]);
            asked.sources[0].2 = revision.into();
            let rendered = bench.render(&asked).await.unwrap();
            if programs == 2 {
                assert_eq!(rendered.objects[0].annotation("commit"), Some(revision));
            }
        }
        assert_eq!(bench.renderer.programs_started(), programs);
    }
}

#[tokio::test]
async fn applications_that_read_the_same_share_a_result() {
    let bench = Bench::new().await;
    let tree = Arc::new(sample());
    let mut asked = Asked::of(&[(source("apps/web", json!({})), &tree)]);
    for name in ["one", "two", "three"] {
        asked.application = name.into();
        bench.render(&asked).await.unwrap();
    }
    assert_eq!(bench.renderer.programs_started(), 1);
}

#[tokio::test]
async fn several_sources_and_the_last_one_wins() {
    let bench = Bench::new().await;
    let first = Arc::new(sample());
    let second =
        Arc::new(MemoryTree::new(&[("more/b.yaml", &map("b", "1")), ("more/plain.yaml", &map("plain", "second"))]));
    let asked = Asked::of(&[
        (source("plain", json!({})), &first),
        (source("apps/web", json!({})), &first),
        (source("more", json!({})), &second),
    ]);
    let rendered = bench.render(&asked).await.unwrap();
    assert_eq!(names(&rendered), ["ConfigMap a", "ConfigMap b", "ConfigMap plain"]);
    assert_eq!(rendered.objects[2].at("/data/value").unwrap(), "second");
    assert_eq!(rendered.source_types, ["Directory", "Kustomize", "Directory"]);
    assert_eq!(rendered.warnings.len(), 1);
    assert_eq!(rendered.warnings[0].kind, "RepeatedResourceWarning");
    assert!(rendered.warnings[0].message.contains("ConfigMap shop/plain occurs 2 times"), "{:?}", rendered.warnings);
    assert!(bench.render(&asked).await.unwrap().from_cache);
    let error = bench
        .render(&Asked::of(&[(source("gone", json!({})), &first), (source("plain", json!({})), &first)]))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "gone does not exist at commit abc1234; spec.sources[0].path names it");
}

#[tokio::test]
async fn what_cannot_be_rendered() {
    let bench = Bench::new().await;
    let tree = Arc::new(sample());
    let table = [
        (json!({"repoURL": "https://charts.example", "chart": "redis", "targetRevision": "1.0"}), "helm pull --untar"),
        (source("../x", json!({})), "leads out of the repository"),
        (source("apps/web/a.yaml", json!({})), "is not a folder"),
        (source("plain", json!({"plugin": {"name": "x"}})), "render in CI"),
    ];
    for (source, expected) in table {
        let error = bench.one(&tree, source).await.unwrap_err();
        assert!(error.to_string().contains(expected) && !error.is_transient(), "{error}");
    }
    assert!(bench.render(&Asked::of(&[])).await.is_err());
}

/// A program that plays kustomize.
fn fake(folder: &std::path::Path, body: &str) -> PathBuf {
    let path = folder.join("kustomize");
    let text = format!("#!/bin/sh\nif [ \"$1\" = version ]; then echo v5.0.0; exit; fi\n{body}\n");
    crate::testing::write_program(&path, &text);
    path
}

#[tokio::test]
async fn limits_hold_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("scratch");
    let many = "i=0; while [ $i -lt 60 ]; do echo '---'; echo 'apiVersion: v1'; echo 'kind: X'; echo \"metadata: {name: x$i}\"; i=$((i+1)); done";
    let table = [
        ("sleep 600", "`timeout`", true),
        ("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", "`max_output_bytes`", false),
        (many, "`max_objects`", false),
        ("echo 'a: &a [x]'; echo 'b: [*a'", "the output of kustomize, document 1", false),
        ("echo broken on purpose >&2; exit 1", "kustomize failed: broken on purpose", false),
    ];
    for (body, expected, transient) in table {
        let bench = Bench::with(|config| {
            config.kustomize = fake(folder.path(), body);
            config.scratch_dir = Some(scratch.clone());
            config.timeout = Duration::from_millis(700);
            config.max_output_bytes = 1 << 16;
            config.max_objects = 50;
        })
        .await;
        let tree = Arc::new(sample());
        let error = bench.one(&tree, source("apps/web", json!({}))).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "the scratch folder is removed");
        let started = bench.renderer.programs_started();
        bench.one(&tree, source("apps/web", json!({}))).await.unwrap_err();
        let again = bench.renderer.programs_started() - started;
        assert_eq!(again > 0, transient, "{expected}: only what may heal is tried again at once");
    }
}

#[tokio::test]
async fn only_so_many_programs_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = folder.path().join("running");
    std::fs::create_dir(&running).unwrap();
    let body = format!(
        "touch {0}/$$; ls {0} | wc -l >> {1}; sleep 0.05; rm {0}/$$; printf 'apiVersion: v1\\nkind: X\\nmetadata: {{name: x}}\\n'",
        running.display(),
        folder.path().join("counts").display()
    );
    let bench = Bench::with(|config| {
        config.kustomize = fake(folder.path(), &body);
        config.parallel = 2;
    })
    .await;
    let trees: Vec<_> =
        (0..8).map(|n| Arc::new(sample().with(&[("apps/web/a.yaml", Some(&map("a", &n.to_string())))]))).collect();
    try_join_all(trees.iter().map(|tree| bench.one(tree, source("apps/web", json!({}))))).await.unwrap();
    let counts = std::fs::read_to_string(folder.path().join("counts")).unwrap();
    let most = counts.lines().map(|line| line.trim().parse::<u32>().unwrap()).max();
    assert_eq!((counts.lines().count(), most), (8, Some(2)));
}

#[tokio::test]
async fn a_missing_program_fails_only_those_who_need_it() {
    let bench = Bench::with(|config| config.helm = "/nowhere/helm".into()).await;
    let tree = Arc::new(sample());
    assert!(bench.one(&tree, source("apps/web", json!({}))).await.is_ok());
    let error = bench.one(&tree, source("chart", json!({}))).await.unwrap_err();
    assert!(error.to_string().contains("install it or set its path") && error.is_transient(), "{error}");
    assert_eq!(bench.renderer.tool_versions()[0], ("helm", None));
}

#[tokio::test]
async fn both_programs_work_on_the_same_repository_at_once() {
    let bench = Bench::new().await;
    let tree = Arc::new(sample());
    let (kustomize, helm) =
        tokio::join!(bench.one(&tree, source("apps/web", json!({}))), bench.one(&tree, source("chart", json!({}))));
    assert_eq!(
        (names(&kustomize.unwrap()), names(&helm.unwrap())),
        (vec!["ConfigMap a".into()], vec!["ConfigMap chart".into()])
    );
}

#[test]
fn inputs_and_changed_paths() {
    let input = |path: &str| Input { source: 0, path: path.into(), id: None };
    for (path, changed, expected) in [
        ("apps/web", "apps/web/a.yaml", true),
        ("apps/web", "apps/web", true),
        ("apps/web", "apps/web2/a.yaml", false),
        ("apps/web/a.yaml", "apps/web", true),
        ("", "anything", true),
    ] {
        assert_eq!(input(path).is_touched_by(changed), expected, "{path} {changed}");
    }
}

/// Manifests are parsed in this process: work that nobody waits for ends, and until then it has its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parsing_takes_a_place_and_ends_with_its_render() {
    const FILES: usize = 3_000;
    let keys: String = (0..200).map(|n| format!("  key{n}: value\n")).collect();
    let long = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: long}}\ndata:\n{keys}");
    let files: Vec<(String, String)> = (0..FILES).map(|n| (format!("plain/f{n}.yaml"), long.clone())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let large = Arc::new(MemoryTree::new(&files));
    let small = Arc::new(MemoryTree::new(&[("plain/a.yaml", &map("a", "1"))]));
    let bench = Arc::new(Bench::with(|config| config.parallel = 1).await);
    let rendering = {
        let (bench, large) = (Arc::clone(&bench), Arc::clone(&large));
        tokio::spawn(async move { bench.one(&large, source("plain", json!({"directory": {}}))).await.map(|_| ()) })
    };
    while large.reads.load(Ordering::Relaxed) < 5 {
        tokio::task::yield_now().await;
    }
    rendering.abort();
    let rendered = bench.one(&small, source("plain", json!({"directory": {}}))).await.unwrap();
    assert_eq!(names(&rendered), ["ConfigMap a"], "its turn came");
    let read = large.reads.load(Ordering::Relaxed);
    assert!(read < FILES / 2, "{read} files were read for nobody");
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(large.reads.load(Ordering::Relaxed), read, "the place was given back at the end of the work");
}
