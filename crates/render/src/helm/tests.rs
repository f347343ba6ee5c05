//! Every option on one small chart, rendered by the real program.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::testing::{Asked, Bench, inputs, names, source};
use crate::tree::memory::MemoryTree;

const TEMPLATE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data:
  color: {{ .Values.color | quote }}
  number: {{ kindOf .Values.number | quote }}
  list: {{ .Values.list | toJson | quote }}
  file: {{ .Values.file | quote }}
  nested: {{ .Values.nested.a | quote }}
"#;

fn sample() -> MemoryTree {
    MemoryTree::new(&[
        ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("charts/web/values.yaml", "color: chart\nnumber: 1\nlist: [a]\nfile: ''\nnested: {a: chart}\n"),
        ("charts/web/values-dev.yaml", "color: dev\n"),
        ("charts/web/conf/one.yaml", "color: one\n"),
        ("charts/web/conf/two.yaml", "color: two\nnested: {a: two}\n"),
        ("charts/web/conf/deep/three.yaml", "color: three\n"),
        ("charts/web/text.txt", "from a file"),
        ("charts/web/templates/map.yaml", TEMPLATE),
        (
            "charts/web/crds/crd.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.example.com}\n",
        ),
        (
            "charts/web/templates/hook.yaml",
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: pre-install}\n",
        ),
        (
            "charts/web/templates/tests/t.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations: {helm.sh/hook: test}\n",
        ),
        ("charts/web/values.schema.json", r#"{"properties": {"color": {"type": "string"}}}"#),
        ("envs/prod.yaml", "color: prod\n"),
        ("envs/web.yaml", "color: by-name\n"),
    ])
}

async fn render(options: Value) -> Result<Arc<crate::Rendered>, RenderError> {
    Bench::new().await.one(&Arc::new(sample()), source("charts/web", json!({"helm": options}))).await
}

#[tokio::test]
async fn values_and_their_precedence() {
    let table: &[(Value, &str, &str)] = &[
        (json!({}), "color", "chart"),
        (json!({"valueFiles": ["values-dev.yaml"]}), "color", "dev"),
        (json!({"valueFiles": ["/envs/prod.yaml"]}), "color", "prod"),
        (json!({"valueFiles": ["../../envs/prod.yaml"]}), "color", "prod"),
        (json!({"valueFiles": ["values-dev.yaml", "/envs/prod.yaml"]}), "color", "prod"),
        (json!({"valueFiles": ["/envs/$ARGOCD_APP_NAME.yaml"]}), "color", "by-name"),
        (json!({"valueFiles": ["conf/*.yaml"]}), "color", "two"),
        (json!({"valueFiles": ["conf/**/*.yaml"]}), "nested", "two"),
        (json!({"valueFiles": ["conf/{one,deep/three}.yaml"]}), "color", "one"),
        (json!({"valueFiles": ["gone.yaml", "none-*.yaml"], "ignoreMissingValueFiles": true}), "color", "chart"),
        (json!({"valueFiles": ["values-dev.yaml"], "values": "color: values"}), "color", "values"),
        (json!({"values": "color: values", "valuesObject": {"color": "object"}}), "color", "object"),
        (
            json!({"valuesObject": {"color": "object"}, "parameters": [{"name": "color", "value": "parameter"}]}),
            "color",
            "parameter",
        ),
        (json!({"parameters": [{"name": "nested.a", "value": "$ARGOCD_APP_NAMESPACE"}]}), "nested", "shop"),
        (json!({"parameters": [{"name": "number", "value": "2"}]}), "number", "int64"),
        (json!({"parameters": [{"name": "number", "value": "2", "forceString": true}]}), "number", "string"),
        (json!({"parameters": [{"name": "color", "value": "a,b=c"}]}), "color", "a,b=c"),
        (json!({"parameters": [{"name": "list", "value": "{x,y}"}]}), "list", r#"["x","y"]"#),
        (json!({"parameters": [{"name": "list[0]", "value": "first"}]}), "list", r#"["first"]"#),
        (json!({"parameters": [{"name": r"list[0].a\.b/c", "value": "x"}]}), "list", r#"[{"a.b/c":"x"}]"#),
        (json!({"parameters": [{"name": r"nested.a", "value": r"x\,y"}]}), "nested", "x,y"),
        (json!({"fileParameters": [{"name": "file", "path": "text.txt"}]}), "file", "from a file"),
        (json!({"fileParameters": [{"name": "file", "path": "/envs/prod.yaml"}]}), "file", "color: prod\n"),
    ];
    for (options, key, expected) in table {
        let rendered = render(options.clone()).await.unwrap_or_else(|error| panic!("{options}: {error}"));
        let map = rendered.objects.iter().find(|o| o.kind() == "ConfigMap").unwrap();
        assert_eq!(map.at(&format!("/data/{key}")).unwrap(), expected, "{options}");
    }
}

#[tokio::test]
async fn switches() {
    let all = ["CustomResourceDefinition xs.example.com", "ConfigMap web", "Pod test", "Job migrate"];
    let without = |name: &str| all.iter().copied().filter(|n| !n.contains(name)).collect::<Vec<_>>();
    let table: &[(Value, Vec<&str>)] = &[
        (json!({}), all.to_vec()),
        (json!({"skipCrds": true}), without("Custom")),
        (json!({"skipTests": true}), without("Pod")),
        (json!({"releaseName": "other"}), vec![all[0], "ConfigMap other", all[2], all[3]]),
        (json!({"valuesObject": {"color": 5}, "skipSchemaValidation": true}), all.to_vec()),
        (json!({"version": "v3", "passCredentials": true}), all.to_vec()),
    ];
    for (options, expected) in table {
        let rendered = render(options.clone()).await.unwrap();
        assert_eq!(names(&rendered), *expected, "{options}");
        assert_eq!(rendered.source_types, ["Helm"]);
    }
    let rendered = render(json!({"namespace": "elsewhere"})).await.unwrap();
    assert!(rendered.objects.iter().any(|o| o.namespace() == "elsewhere"));
    let hook = rendered.objects.iter().find(|o| o.kind() == "Job").unwrap();
    assert_eq!(hook.annotation("helm.sh/hook"), Some("pre-install"), "hooks keep their annotations");
}

#[tokio::test]
async fn what_is_wrong_with_the_options() {
    let table = [
        (json!({"valueFiles": ["gone.yaml"]}), "charts/web/gone.yaml does not exist at commit abc1234"),
        (json!({"valueFiles": ["none-*.yaml"]}), "set ignoreMissingValueFiles"),
        (json!({"valueFiles": ["../../../etc/passwd"]}), "leads out of the repository"),
        (json!({"valueFiles": ["/../x"]}), "leads out of the repository"),
        (json!({"valueFiles": ["https://example.com/v.yaml"]}), "from the network"),
        (json!({"valueFiles": ["$values/x.yaml"]}), "no source has `ref: values`"),
        (
            json!({"fileParameters": [{"name": "file", "path": "gone"}]}),
            "spec.source.helm.fileParameters[0].path names it",
        ),
        (
            json!({"fileParameters": [{"name": "x=/etc/passwd,file", "path": "text.txt"}]}),
            "spec.source.helm.fileParameters[0].name: `x=/etc/passwd,file` cannot be the name of a parameter",
        ),
        (json!({"parameters": [{"name": "a=1,color", "value": "x"}]}), "spec.source.helm.parameters[0].name"),
        (json!({"namespace": "--kubeconfig=x"}), "spec.source.helm.namespace"),
        (json!({"releaseName": "--post-renderer=x"}), "cannot be a release name"),
        (json!({"releaseName": "Upper"}), "cannot be a release name"),
        (json!({"version": "v2"}), "Helm 2"),
        (json!({"values": "a: ["}), "spec.source.helm.values"),
        (json!({"valuesObject": {"color": 5}}), "helm failed: "),
    ];
    for (options, expected) in table {
        let error = render(options.clone()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{options}: {error}");
        assert!(!error.contains("lockstep-render") && !error.contains("values-0.yaml"), "no scratch path: {error}");
    }
}

#[tokio::test]
async fn values_from_another_source() {
    let chart = Arc::new(sample());
    let other = Arc::new(MemoryTree::new(&[("apps/web/values.yaml", "color: other\n"), ("unrelated", "1")]));
    let helm = json!({"helm": {"valueFiles": ["$config/apps/$ARGOCD_APP_NAME/values.yaml"]}});
    let sources = |other: &Arc<MemoryTree>| {
        Asked::of(&[
            (source("charts/web", helm.clone()), &chart),
            (json!({"repoURL": "https://git.example/config", "ref": "config"}), other),
        ])
    };
    let bench = Bench::new().await;
    let rendered = bench.render(&sources(&other)).await.unwrap();
    let map = rendered.objects.iter().find(|o| o.kind() == "ConfigMap").unwrap();
    assert_eq!(map.at("/data/color").unwrap(), "other");
    assert_eq!(rendered.source_types, ["Helm"], "a source with only a ref renders nothing");
    assert!(rendered.inputs.iter().any(|i| i.source == 1 && i.path == "apps/web/values.yaml"));
    let unrelated = Arc::new(other.with(&[("unrelated", Some("2"))]));
    assert!(bench.render(&sources(&unrelated)).await.unwrap().from_cache);
    let changed = Arc::new(other.with(&[("apps/web/values.yaml", Some("color: changed\n"))]));
    assert!(!bench.render(&sources(&changed)).await.unwrap().from_cache);
}

#[tokio::test]
async fn capabilities_count_only_for_charts_that_ask() {
    let asking = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  kube: '{{ .Capabilities.KubeVersion }}'\n  \
                  apps: '{{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" }}'\n";
    let plain = Arc::new(sample());
    let curious = Arc::new(sample().with(&[("charts/web/templates/c.yaml", Some(asking))]));
    for (tree, programs) in [(plain, 1), (curious, 2)] {
        let bench = Bench::new().await;
        let mut asked = Asked::of(&[(source("charts/web", json!({})), &tree)]);
        asked.kube_version = "v1.30.1-gke.5".into();
        let first = bench.render(&asked).await.unwrap();
        if let Some(map) = first.objects.iter().find(|o| o.name() == "c") {
            assert_eq!(map.at("/data").unwrap(), &json!({"kube": "v1.30.1", "apps": "true"}));
        }
        asked.api_versions = vec!["v1".into()];
        let second = bench.render(&asked).await.unwrap();
        assert_eq!(bench.renderer.programs_started(), programs);
        assert_eq!(first.key == second.key, programs == 1);
    }
    let overridden = source("charts/web", json!({"helm": {"kubeVersion": "1.29", "apiVersions": ["x/v1"]}}));
    let tree = Arc::new(sample().with(&[("charts/web/templates/c.yaml", Some(asking))]));
    let rendered = Bench::new().await.one(&tree, overridden).await.unwrap();
    let map = rendered.objects.iter().find(|o| o.name() == "c").unwrap();
    assert_eq!(map.at("/data").unwrap(), &json!({"kube": "v1.29.0", "apps": "false"}));
}

#[tokio::test]
async fn dependencies() {
    let chart =
        |name: &str, dependencies: &str| format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n{dependencies}");
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let local = |name: &str, path: &str| {
        format!("dependencies: [{{name: {name}, version: 0.1.0, repository: 'file://{path}'}}]\n")
    };
    let remote = "dependencies: [{name: redis, version: 1.x, repository: 'https://u:secret@charts.example'}]\n";
    let base = MemoryTree::new(&[
        ("apps/a/Chart.yaml", &chart("a", &local("b", "../../libs/b"))),
        ("apps/a/templates/a.yaml", &map("a")),
        ("libs/b/Chart.yaml", &chart("b", &local("c", "../c"))),
        ("libs/b/templates/b.yaml", &map("b")),
        ("libs/c/Chart.yaml", &chart("c", "")),
        ("libs/c/templates/c.yaml", &map("c")),
    ]);
    let bench = Bench::new().await;
    let rendered = bench.one(&Arc::new(base.with(&[])), source("apps/a", json!({}))).await.unwrap();
    let mut found = names(&rendered);
    found.sort();
    assert_eq!(found, ["ConfigMap a", "ConfigMap b", "ConfigMap c"]);
    assert_eq!(bench.renderer.programs_started(), 1, "local charts need no further program");
    let inputs = inputs(&rendered);
    assert!(["apps/a", "libs/b", "libs/c"].iter().all(|p| inputs.contains(&(*p).to_owned())), "{inputs:?}");

    let vendored = base.with(&[
        ("apps/a/Chart.yaml", Some(&chart("a", remote))),
        ("apps/a/charts/redis/Chart.yaml", Some("apiVersion: v2\nname: redis\nversion: 1.2.3\n")),
        ("apps/a/charts/redis/templates/r.yaml", Some(&map("redis"))),
    ]);
    let rendered = bench.one(&Arc::new(vendored), source("apps/a", json!({}))).await.unwrap();
    assert!(names(&rendered).contains(&"ConfigMap redis".to_owned()));

    let table = [
        (
            base.with(&[("apps/a/Chart.yaml", Some(&chart("a", remote)))]),
            "run `helm dependency build` and commit charts/",
        ),
        (base.with(&[("libs/c/Chart.yaml", Some(&chart("c", &local("b", "../b"))))]), "in a circle"),
        (
            base.with(&[("apps/a/Chart.yaml", Some(&chart("a", &local("b", "../../../b"))))]),
            "leads out of the repository",
        ),
        (base.with(&[("apps/a/Chart.yaml", Some(&chart("a", &local("x", "../x"))))]), "apps/x does not exist"),
        (base.with(&[("apps/a/Chart.yaml", Some(&chart("a", "dependencies: [{name: x}]\n")))]), "has no repository"),
        (base.with(&[("apps/a/Chart.yaml", None), ("apps/a/x.txt", Some(""))]), "apps/a/Chart.yaml does not exist"),
    ];
    for (tree, expected) in table {
        let error = bench.one(&Arc::new(tree), source("apps/a", json!({"helm": {}}))).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn dependencies_of_the_first_api_version() {
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let base = MemoryTree::new(&[
        ("web/Chart.yaml", "apiVersion: v1\nname: web\nversion: 0.1.0\n"),
        ("web/requirements.yaml", "dependencies:\n- {name: common, version: 0.1.0, repository: 'file://../common'}\n"),
        ("common/Chart.yaml", "apiVersion: v1\nname: common\nversion: 0.1.0\n"),
        ("common/templates/cm.yaml", &map("c")),
    ]);
    let bench = Bench::new().await;
    let rendered = bench.one(&Arc::new(base.with(&[])), source("web", json!({}))).await.unwrap();
    assert_eq!(names(&rendered), ["ConfigMap c"]);
    assert!(inputs(&rendered).contains(&"common".to_owned()), "{:?}", inputs(&rendered));
    let remote = "dependencies:\n- {name: redis, version: 1.x, repository: 'https://u:secret@charts.example'}\n";
    let tree = Arc::new(base.with(&[("web/requirements.yaml", Some(remote))]));
    let error = bench.one(&tree, source("web", json!({}))).await.unwrap_err().to_string();
    assert!(error.contains("web/requirements.yaml needs chart redis") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn links_in_a_chart() {
    let tree = Arc::new(
        MemoryTree::new(&[
            ("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 0.1.0\n"),
            ("shared/templates/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\n"),
        ])
        .link("app/templates", "../shared/templates"),
    );
    let bench = Bench::new().await;
    let rendered = bench.one(&tree, source("app", json!({}))).await.unwrap();
    assert_eq!(names(&rendered), ["ConfigMap shared"]);
    assert!(inputs(&rendered).contains(&"shared/templates".to_owned()), "{:?}", inputs(&rendered));
    let out = Arc::new(
        MemoryTree::new(&[("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 0.1.0\n")])
            .link("app/files", "../../etc"),
    );
    let error = bench.one(&out, source("app", json!({}))).await.unwrap_err();
    assert!(matches!(error, RenderError::LeavesRepository { .. }), "{error}");
}

#[tokio::test]
async fn messages_and_oddities_of_charts() {
    let with = |template: &str| Arc::new(sample().with(&[("charts/web/templates/x.yaml", Some(template))]));
    let bench = Bench::new().await;
    let failing =
        bench.one(&with("{{ fail \"set a color\" }}"), source("charts/web", json!({}))).await.unwrap_err().to_string();
    assert!(failing.starts_with("helm failed: ") && failing.contains("set a color"), "{failing}");
    let repeated = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '1'}\ndata: {a: '2'}\n";
    let rendered = bench.one(&with(repeated), source("charts/web", json!({}))).await.unwrap();
    assert_eq!(rendered.objects.iter().find(|o| o.name() == "x").unwrap().at("/data/a").unwrap(), "2");
    assert!(rendered.warnings[0].message.contains("templates/x.yaml"), "{:?}", rendered.warnings);
    let nameless =
        bench.one(&with("apiVersion: v1\nkind: ConfigMap\n"), source("charts/web", json!({}))).await.unwrap_err();
    assert!(nameless.to_string().contains("web/templates/x.yaml"), "{nameless}");
}

#[test]
fn versions_and_commas() {
    for (version, expected) in [
        ("v1.36.3", Some("1.36.3")),
        ("1.30", Some("1.30.0")),
        ("v1.27.3-gke.1+x", Some("1.27.3")),
        ("1", None),
        ("latest", None),
    ] {
        assert_eq!(kube_version(version).as_deref(), expected, "{version}");
    }
    for (value, expected) in [("a,b", "a\\,b"), ("a\\,b", "a\\,b"), ("{a,b}", "{a,b}"), ("", "")] {
        assert_eq!(escape_commas(value), expected);
    }
}
