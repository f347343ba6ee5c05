//! Every option on one small repository, rendered by the real program.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, inputs, names, source};
use crate::tree::memory::MemoryTree;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1.0'}]}
";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}}\n";

fn sample() -> MemoryTree {
    MemoryTree::new(&[
        ("base/kustomization.yaml", "resources: [deployment.yaml, service.yaml]\n"),
        ("base/deployment.yaml", DEPLOYMENT),
        ("base/service.yaml", SERVICE),
        (
            "dev/kustomization.yaml",
            "resources: [../base]\nnamePrefix: old-\ncommonAnnotations: {team: a}\nimages: [{name: nginx, newTag: '1.1'}]\n",
        ),
        (
            "components/extra/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [c.yaml]\n",
        ),
        ("components/extra/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"),
        (
            "dev/patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {minReadySeconds: 7}\n",
        ),
        ("README.md", "unrelated"),
    ])
}

async fn render(options: Value) -> Result<Arc<crate::Rendered>, RenderError> {
    Bench::new().await.one(&Arc::new(sample()), source("dev", json!({"kustomize": options}))).await
}

#[tokio::test]
async fn every_option() {
    let image = "/spec/template/spec/containers/0/image";
    let table: &[(Value, &str, &str, Value)] = &[
        (json!({}), "Deployment", image, json!("nginx:1.1")),
        (json!({}), "Deployment", "/metadata/name", json!("old-web")),
        (json!({"namePrefix": "new-"}), "Deployment", "/metadata/name", json!("new-web")),
        (json!({"nameSuffix": "-x"}), "Service", "/metadata/name", json!("old-web-x")),
        (json!({"namespace": "other"}), "Service", "/metadata/namespace", json!("other")),
        (json!({"images": ["nginx:2"]}), "Deployment", image, json!("nginx:2")),
        (json!({"images": ["nginx=web"]}), "Deployment", image, json!("web:1.0")),
        (json!({"images": ["nginx=web:*"]}), "Deployment", image, json!("web:1.1")),
        (json!({"images": ["nginx=host:5000/web:3"]}), "Deployment", image, json!("host:5000/web:3")),
        (json!({"images": ["nginx@sha256:abc"]}), "Deployment", image, json!("nginx@sha256:abc")),
        (json!({"images": ["nginx=web@sha256:abc"]}), "Deployment", image, json!("web@sha256:abc")),
        (json!({"images": ["nginx:$ARGOCD_APP_REVISION_SHORT"]}), "Deployment", image, json!("nginx:0123456")),
        (json!({"images": ["other:2"]}), "Deployment", image, json!("nginx:1.1")),
        (json!({"replicas": [{"name": "web", "count": 3}]}), "Deployment", "/spec/replicas", json!(3)),
        (json!({"replicas": [{"name": "web", "count": "4"}]}), "Deployment", "/spec/replicas", json!(4)),
        (
            json!({"commonLabels": {"a": "$ARGOCD_APP_NAME"}}),
            "Deployment",
            "/spec/selector/matchLabels/a",
            json!("web"),
        ),
        (
            json!({"commonLabels": {"a": "b"}, "labelWithoutSelector": true}),
            "Deployment",
            "/metadata/labels/a",
            json!("b"),
        ),
        (
            json!({"commonLabels": {"a": "b"}, "labelWithoutSelector": true}),
            "Deployment",
            "/spec/selector/matchLabels/a",
            Value::Null,
        ),
        (
            json!({"commonLabels": {"a": "b"}, "labelWithoutSelector": true}),
            "Deployment",
            "/spec/template/metadata/labels/a",
            Value::Null,
        ),
        (
            json!({"commonLabels": {"a": "b"}, "labelWithoutSelector": true, "labelIncludeTemplates": true}),
            "Deployment",
            "/spec/template/metadata/labels/a",
            json!("b"),
        ),
        (
            json!({"commonAnnotations": {"x": "$ARGOCD_APP_NAME"}}),
            "Service",
            "/metadata/annotations/x",
            json!("$ARGOCD_APP_NAME"),
        ),
        (
            json!({"commonAnnotations": {"x": "$ARGOCD_APP_NAME"}, "commonAnnotationsEnvsubst": true}),
            "Service",
            "/metadata/annotations/x",
            json!("web"),
        ),
        (
            json!({"commonAnnotations": {"team": "b"}, "forceCommonAnnotations": true}),
            "Service",
            "/metadata/annotations/team",
            json!("b"),
        ),
        (json!({"patches": [{"path": "patch.yaml"}]}), "Deployment", "/spec/minReadySeconds", json!(7)),
        (
            json!({"patches": [{"target": {"kind": "Service"}, "patch": "- {op: add, path: /spec/type, value: NodePort}"}]}),
            "Service",
            "/spec/type",
            json!("NodePort"),
        ),
        (
            json!({"patches": [{
                "target": {"kind": "Service"},
                "options": {"allowNameChange": true},
                "patch": "apiVersion: v1\nkind: Service\nmetadata: {name: renamed}\n"
            }]}),
            "Service",
            "/metadata/name",
            json!("old-renamed"),
        ),
        (json!({"components": ["../components/extra"]}), "ConfigMap", "/metadata/name", json!("old-extra")),
        (
            json!({"components": ["../components/gone"], "ignoreMissingComponents": true}),
            "Service",
            "/metadata/name",
            json!("old-web"),
        ),
    ];
    for (options, kind, pointer, expected) in table {
        let rendered = render(options.clone()).await.unwrap_or_else(|error| panic!("{options}: {error}"));
        let object =
            rendered.objects.iter().find(|o| o.kind() == *kind).unwrap_or_else(|| panic!("{options}: no {kind}"));
        assert_eq!(object.at(pointer).unwrap_or(&Value::Null), expected, "{options}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_options() {
    let table = [
        (json!({"images": ["nginx"]}), "spec.source.kustomize.images[0]: `nginx`"),
        (json!({"replicas": [{"name": "web", "count": "many"}]}), "spec.source.kustomize.replicas[0].count"),
        (json!({"commonAnnotations": {"team": "b"}}), "set forceCommonAnnotations"),
        (json!({"commonLabels": {"a": "b"}, "labelIncludeTemplates": true}), "needs labelWithoutSelector"),
        (json!({"version": "v4.0.0"}), "this worker has v5"),
        (json!({"components": ["../components/gone"]}), "components/gone does not exist at commit abc1234"),
        (
            json!({"patches": [{"path": "gone.yaml"}]}),
            "dev/gone.yaml does not exist at commit abc1234; `patches[0].path`",
        ),
        (
            json!({"patches": [{"Path": "patch.yaml"}]}),
            "`patches[0].Path` is not how this key is written: write `path`",
        ),
        (json!({"components": ["https://forge.example/o/r"]}), "from the network"),
    ];
    for (options, expected) in table {
        let error = render(options.clone()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{options}: {error}");
        assert!(!error.to_string().contains("/shm/"), "no scratch path: {error}");
    }
}

#[tokio::test]
async fn inputs_are_exactly_what_is_read() {
    let bench = Bench::new().await;
    let rendered = bench.one(&Arc::new(sample()), source("dev", json!({}))).await.unwrap();
    assert_eq!(rendered.source_types, ["Kustomize"]);
    assert_eq!(names(&rendered), ["Service old-web", "Deployment old-web"]);
    assert_eq!(
        inputs(&rendered),
        [
            "!base/Kustomization",
            "base/deployment.yaml",
            "base/kustomization.yaml",
            "!base/kustomization.yml",
            "base/service.yaml",
            "!dev/.argocd-source-web.yaml",
            "!dev/.argocd-source.yaml",
            "!dev/Kustomization",
            "dev/kustomization.yaml",
            "!dev/kustomization.yml",
        ]
    );
}

/// What Kustomize reads is the same as of the original, whatever way that is written in.
#[tokio::test]
async fn what_was_checked_is_what_is_built() {
    let bench = Bench::new().await;
    let built = |content: &str| {
        let tree = Arc::new(
            MemoryTree::new(&[("app/kustomization.yaml", content), ("base/a.yaml", SERVICE), ("app/a.yaml", SERVICE)])
                .link("app/linked", "../base")
                .with(&[("base/kustomization.yaml", Some("resources: [./a.yaml]\n"))]),
        );
        let bench = &bench;
        async move { bench.one(&tree, source("app", json!({}))).await }
    };
    for (content, pointer, expected) in [
        ("\u{feff}resources:\n- a.yaml\nnamePrefix: ü-\n", "/metadata/name", "ü-web"),
        ("{\"resources\": [\"a.yaml\"], \"namePrefix\": \"x-\"}", "/metadata/name", "x-web"),
        ("list: &l [a.yaml]\nresources: *l\n", "", "`list` is no key"),
        ("resources: &l [a.yaml]\nnamePrefix: &p y-\nnameSuffix: *p\n", "/metadata/name", "y-weby-"),
        ("resources: [linked]\n", "/metadata/name", "web"),
        ("resources: [linked/../../base]\n", "/metadata/name", "web"),
        ("resources: [a.yaml]\nlabels: [{pairs: {a: b}}]\nlabels: [{pairs: {c: d}}]\n", "/metadata/labels/c", "d"),
        (
            "resources: [a.yaml]\ncommonAnnotations: {note: \"a\\u2028b\\u0007\"}\n",
            "/metadata/annotations/note",
            "a\u{2028}b\u{7}",
        ),
    ] {
        match built(content).await {
            Ok(rendered) => assert_eq!(rendered.objects[0].at(pointer).unwrap(), expected, "{content}"),
            Err(error) => assert!(error.to_string().contains(expected), "{content}: {error}"),
        }
    }
    let twice = built("resources: [a.yaml]\nlabels: [{pairs: {a: b}}]\nlabels: [{pairs: {c: d}}]\n").await.unwrap();
    assert_eq!(twice.objects[0].at("/metadata/labels/a"), None);
    assert_eq!(twice.warnings.len(), 1, "{:?}", twice.warnings);
    assert!(twice.warnings[0].message.contains("app/kustomization.yaml, line 3: duplicate mapping key: labels"));
    let edited = bench
        .one(
            &Arc::new(MemoryTree::new(&[
                ("app/kustomization.yaml", "resources: [a.yaml]\nnamePrefix: a-\nnamePrefix: b-\n"),
                ("app/a.yaml", SERVICE),
            ])),
            source("app", json!({"kustomize": {"nameSuffix": "-z"}})),
        )
        .await
        .unwrap();
    assert_eq!(names(&edited), ["Service b-web-z"], "with options, too");
}

/// A kustomization with everything that can refer to a file.
fn everything() -> MemoryTree {
    let kustomization = r"
resources: [a.yaml, sub, ./linked/x.yaml]
crds: [crd.json]
configurations: [./names.yaml]
patches:
- path: patches/p.yaml
patchesStrategicMerge:
- patches/s.yaml
- |-
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {inline: 'yes'}
patchesJson6902:
- target: {version: v1, kind: ConfigMap, name: a}
  path: patches/j.json
replacements:
- path: replace.yaml
configMapGenerator:
- name: files
  files: [conf/one.txt, renamed.txt=conf/two.txt]
- name: envs
  envs: [conf/e.env]
secretGenerator:
- name: secret
  files: [conf/one.txt]
generators: [generator.yaml]
transformers:
- transformer.yaml
- |-
  apiVersion: builtin
  kind: PatchTransformer
  metadata: {name: inline}
  path: patches/t2.yaml
  target: {kind: ConfigMap, name: a}
openapi: {path: schema.json}
generatorOptions: {disableNameSuffixHash: true}
";
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: v}}\n");
    MemoryTree::new(&[
        ("app/kustomization.yaml", kustomization),
        ("app/a.yaml", &map("a")),
        ("app/sub/kustomization.yml", "resources: [s.yaml]\n"),
        ("app/sub/s.yaml", &map("s")),
        ("app/real/x.yaml", &map("x")),
        ("app/crd.json", "{}"),
        ("app/names.yaml", "namePrefix: []\n"),
        ("app/patches/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {p: '1'}\n"),
        ("app/patches/s.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {s: '1'}\n"),
        ("app/patches/j.json", r#"[{"op": "add", "path": "/data/j", "value": "1"}]"#),
        ("app/patches/t.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {t: '1'}\n"),
        ("app/patches/t2.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {t2: '1'}\n"),
        ("app/replace.yaml", "- source: {kind: ConfigMap, name: s, fieldPath: data.k}\n  targets:\n  - select: {kind: ConfigMap, name: x}\n    fieldPaths: [data.k]\n"),
        ("app/conf/one.txt", "1"),
        ("app/conf/two.txt", "2"),
        ("app/conf/e.env", "A=1\nB\n"),
        ("app/generator.yaml", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: made}\nname: made\nfiles: [conf/two.txt]\n"),
        ("app/transformer.yaml", "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: patches/t.yaml\ntarget: {kind: ConfigMap, name: a}\n"),
        ("app/schema.json", r#"{"definitions": {}}"#),
        ("app/unused.yaml", &map("unused")),
    ])
    .link("app/linked", "real")
}

#[tokio::test]
async fn everything_that_a_kustomization_can_refer_to() {
    let bench = Bench::new().await;
    let rendered = bench.one(&Arc::new(everything()), source("app", json!({}))).await.unwrap();
    let a = rendered.objects.iter().find(|o| o.name() == "a").unwrap();
    for key in ["p", "s", "inline", "j", "t", "t2"] {
        assert!(a.at(&format!("/data/{key}")).is_some(), "{key}: {:?}", a.0);
    }
    let envs = rendered.objects.iter().find(|o| o.name() == "envs").unwrap();
    assert_eq!(envs.at("/data").unwrap(), &json!({"A": "1", "B": ""}));
    assert!(names(&rendered).iter().any(|name| name.starts_with("ConfigMap made-")));
    let inputs = inputs(&rendered);
    assert!(!inputs.iter().any(|path| path.is_empty()), "the whole repository was not needed: {inputs:?}");
    for path in ["app/linked", "app/real/x.yaml", "app/conf/two.txt", "app/patches/t2.yaml", "app/sub/s.yaml"] {
        assert!(inputs.contains(&path.to_owned()), "{path} is read: {inputs:?}");
    }
    assert!(!inputs.contains(&"app/unused.yaml".to_owned()));
    assert_eq!(bench.renderer.programs_started(), 1);
}

#[tokio::test]
async fn plugins_may_be_listed_in_a_folder_and_their_paths_begin_where_they_are_used() {
    let tree = MemoryTree::new(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\nhelmCharts: []\nvalidators: []\ntransformers: [t]\n"),
        ("app/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ("app/t/kustomization.yaml", "resources: [t.yaml]\n"),
        (
            "app/t/t.yaml",
            "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: ../app/p.yaml\ntarget: {kind: ConfigMap}\n",
        ),
        ("app/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {found: 'yes'}\n"),
    ]);
    let bench = Bench::new().await;
    let rendered = bench.one(&Arc::new(tree.with(&[])), source("app", json!({}))).await.unwrap();
    assert_eq!(rendered.objects[0].at("/data/found").unwrap(), "yes");
    assert!(inputs(&rendered).contains(&"app/p.yaml".to_owned()), "{:?}", inputs(&rendered));
    assert_eq!(bench.renderer.programs_started(), 1);
    // One that changes them might make an address of a path.
    let changing = "resources: [t.yaml]\npatches: [{target: {kind: PatchTransformer}, patch: '[]'}]\n";
    let tree = Arc::new(tree.with(&[("app/t/kustomization.yaml", Some(changing))]));
    let error = bench.one(&tree, source("app", json!({}))).await.unwrap_err().to_string();
    assert!(error.contains("app/t/kustomization.yaml: `patches` in a kustomization of plugins"), "{error}");
}

#[tokio::test]
async fn a_failure_is_remembered_until_the_source_changes() {
    let bench = Bench::new().await;
    let wrong =
        json!({"kustomize": {"patches": [{"patch": "apiVersion: v1\nkind: Secret\nmetadata: {name: none}\n"}]}});
    let simple = Arc::new(sample());
    bench.one(&simple, source("base", wrong.clone())).await.unwrap_err();
    let started = bench.renderer.programs_started();
    bench.one(&simple, source("base", wrong.clone())).await.unwrap_err();
    assert_eq!(bench.renderer.programs_started(), started, "the failure is remembered");
    let mended = sample().with(&[("base/secret.yaml", Some("apiVersion: v1\nkind: Secret\nmetadata: {name: none}\n"))]);
    let mended = mended.with(&[("base/kustomization.yaml", Some("resources: [deployment.yaml, secret.yaml]\n"))]);
    let rendered = bench.one(&Arc::new(mended), source("base", wrong)).await.unwrap();
    assert!(!inputs(&rendered).contains(&String::new()));
}

#[tokio::test]
async fn hostile_kustomizations() {
    let with =
        |content: &str| Arc::new(MemoryTree::new(&[("app/kustomization.yaml", content), ("app/a.yaml", SERVICE)]));
    let table = [
        (with("resources: [../../etc]\n"), "leads out of the repository"),
        (with("resources: [/etc/passwd]\n"), "app/kustomization.yaml -> /etc/passwd leads out"),
        (with("configMapGenerator: [{name: x, files: [../../../etc/passwd]}]\n"), "leads out of the repository"),
        (
            with("resources: ['https://user:secret@forge.example/o/r//x?ref=v1']\n"),
            "https://forge.example/o/r//x?ref=v1 from the network",
        ),
        (with("resources: ['git@forge.example:o/r.git']\n"), "from the network"),
        (with("helmCharts: [{name: x, repo: 'https://charts.example'}]\n"), "--enable-helm"),
        (with("resources: [a.yaml\n"), "app/kustomization.yaml, document 1"),
        (with("resources: [gone.yaml]\n"), "app/gone.yaml does not exist at commit abc1234; `resources[0]`"),
        (with("resources: [.]\n"), "cycle"),
        (with("nonsense: true\n"), "nonsense"),
        (
            Arc::new(
                MemoryTree::new(&[("app/kustomization.yaml", "resources: [out]\n")]).link("app/out", "../../../etc"),
            ),
            "leads out of the repository",
        ),
        (Arc::new(MemoryTree::new(&[("app/x.yaml", SERVICE)])), "app/kustomization.yaml does not exist"),
    ];
    let bench = Bench::new().await;
    for (tree, expected) in table {
        let error = bench.one(&tree, source("app", json!({"kustomize": {}}))).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("secret") && !error.contains("lockstep-render"), "{error}");
    }
}

#[tokio::test]
async fn charts_inside_a_kustomization() {
    use std::os::unix::fs::PermissionsExt;

    let tree = Arc::new(MemoryTree::new(&[
        (
            "app/kustomization.yaml",
            "helmCharts: [{name: c, releaseName: r, valuesFile: v.yaml, additionalValuesFiles: [w.yaml]}]\n",
        ),
        ("app/v.yaml", ""),
        ("app/w.yaml", ""),
        ("app/charts/c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\n"),
    ]));
    // The real program needs the matching release of Helm; what it is given is what counts here.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("kustomize");
    let script = "#!/bin/sh\nif [ \"$1\" = version ]; then echo v5.0.0; exit; fi\n\
                  printf 'apiVersion: v1\\nkind: X\\nmetadata: {name: x}\\nflags: \"%s\"\\nfiles: \"%s\"\\n' \"$*\" \"$(find app -type f | sort | tr '\\n' ' ')\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bench = Bench::with(|config| {
        config.kustomize_build_options = vec!["--enable-helm".into()];
        config.kustomize = program;
    })
    .await;
    let rendered = bench.one(&tree, source("app", json!({}))).await.unwrap();
    let flags = rendered.objects[0].at("/flags").unwrap().as_str().unwrap();
    for part in [
        "build --enable-helm --helm-command ",
        " --helm-kube-version 1.36.3 ",
        " --helm-api-versions v1 --helm-api-versions apps/v1/Deployment ",
    ] {
        assert!(flags.contains(part), "{flags}");
    }
    assert_eq!(
        rendered.objects[0].at("/files").unwrap(),
        "app/charts/c/Chart.yaml app/kustomization.yaml app/v.yaml app/w.yaml "
    );
    let without = Arc::new(tree.with(&[("app/charts/c/Chart.yaml", None)]));
    let error = bench.one(&without, source("app", json!({}))).await.unwrap_err().to_string();
    assert!(error.contains("app/charts/c does not exist") && error.contains("names it as a chart"), "{error}");
    let advice = Work::advice("Error: unknown shorthand flag: 'c' in -c");
    assert!(advice.contains("5.8.1"));
}
