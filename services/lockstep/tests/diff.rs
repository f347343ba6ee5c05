//! `lockstep diff` in real repositories, with the real programs.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Tools;
use serde_json::Value;

const KUSTOMIZATION: &str = "resources: [deployment.yaml]\n";
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  template: {spec: {containers: [{name: main, image: 'web:1'}]}}
";

/// A working copy, and the programs.
struct Shop {
    folder: tempfile::TempDir,
    helm: PathBuf,
    kustomize: PathBuf,
}

/// What the command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Shop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (helm, kustomize) = tokio::join!(Tools::ensure("helm"), Tools::ensure("kustomize"));
        let shop = Self { folder, helm: helm.unwrap(), kustomize: kustomize.unwrap() };
        shop.git(&["init", "--quiet", "--initial-branch=main"]);
        shop.git(&["remote", "add", "origin", "https://forge.example/acme/gitops.git"]);
        shop
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
        let output = command.current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    fn commit(&self, files: &[(&str, &str)]) {
        self.write(files);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=x"]);
    }

    fn diff_in(&self, folder: &Path, arguments: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .arg("diff")
            .args(arguments)
            .current_dir(folder)
            .envs([("LOCKSTEP_HELM", &self.helm), ("LOCKSTEP_KUSTOMIZE", &self.kustomize)])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn diff(&self, arguments: &[&str]) -> Said {
        self.diff_in(self.path(), arguments)
    }

    /// `change kind namespace/name`, or the application's name in front.
    fn changes(&self, arguments: &[&str]) -> Vec<String> {
        let said = self.diff(&[arguments, &["-o", "json"]].concat());
        assert!(said.code < 2, "{}", said.err);
        let told: Value = serde_json::from_str(&said.out).unwrap();
        let text = |change: &Value, field: &str| change[field].as_str().unwrap_or_default().to_owned();
        let line = |change: &Value| {
            let words = ["application", "change", "kind", "namespace", "name"].map(|field| text(change, field));
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        told["changes"].as_array().unwrap().iter().map(line).collect()
    }
}

#[tokio::test]
async fn a_folder_of_manifests() {
    let shop = Shop::new().await;
    let config = |name: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: dev}}\ndata: {{v: {value}}}\n")
    };
    shop.commit(&[("apps/a.yaml", &config("a", "one")), ("apps/b.yaml", &config("b", "one")), ("other/x", "")]);
    shop.git(&["tag", "base"]);
    // Written in another way, and in another file.
    std::fs::remove_file(shop.path().join("apps/b.yaml")).unwrap();
    let same = "# moved\n{kind: ConfigMap, apiVersion: v1, data: {\"v\": 'one'}, metadata: {namespace: dev, name: b}}";
    shop.commit(&[("apps/moved.yaml", same)]);
    let said = shop.diff(&["--revision", "base", "apps"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "no difference\n", ""));

    std::fs::remove_file(shop.path().join("apps/moved.yaml")).unwrap();
    shop.commit(&[("apps/a.yaml", &config("a", "two")), ("apps/c.yaml", &config("c", "one"))]);
    let said = shop.diff(&["--revision", "base", "apps"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for wanted in [
        "--- base: ConfigMap dev/a (apps)\n+++ HEAD: ConfigMap dev/a (apps)\n@@ ",
        "\n-  v: one\n+  v: two\n",
        "--- base: ConfigMap dev/b (apps)\n+++ HEAD: ConfigMap dev/b (apps) (not in HEAD)\n",
        "--- base: ConfigMap dev/c (apps) (not in base)\n",
        "\n1 object changed, 1 added, 1 removed\n",
    ] {
        assert!(said.out.contains(wanted), "{wanted:?} is not in {}", said.out);
    }
    assert!(!said.out.contains('\x1b'));
    assert!(shop.diff(&["--revision", "base", "apps", "--color=always"]).out.contains("\x1b[32m+  v: two\x1b[0m"));
    // From below the root, one file of it, and the other way round.
    let said = shop.diff_in(&shop.path().join("other"), &["--revision", "base", "../apps/a.yaml"]);
    assert!(said.code == 1 && said.out.ends_with("\n1 object changed\n"), "{}{}", said.out, said.err);
    assert_eq!(shop.changes(&["--revision", "HEAD", "--to", "base", "apps/c.yaml"]), ["removed ConfigMap dev c"]);
    let said = shop.diff(&["--revision", "base", "-o", "markdown", "apps"]);
    assert!(said.code == 1 && said.out.starts_with("### 1 object changed, 1 added, 1 removed\n"), "{}", said.out);
    let said = shop.diff(&["--revision", "base", "-o", "yaml", "apps"]);
    assert!(said.code == 1 && said.out.contains("\nchanges:"), "{}", said.out);
    // An index, an object or a lock in the repository would be a trace of ours.
    assert_eq!(shop.git(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_kustomization_and_one_that_fails() {
    let shop = Shop::new().await;
    shop.commit(&[
        ("base/kustomization.yaml", KUSTOMIZATION),
        ("base/deployment.yaml", DEPLOYMENT),
        ("envs/prod/kustomization.yaml", "resources: [../../base]\nnamespace: prod\n"),
        ("envs/dev/kustomization.yaml", "resources: [../../base]\nnamespace: dev\nreplicas: [{name: web, count: 1}]\n"),
    ]);
    shop.git(&["tag", "base"]);
    shop.commit(&[("base/deployment.yaml", &DEPLOYMENT.replace("replicas: 2", "replicas: 3"))]);
    let changes = shop.changes(&["--revision", "base", "envs/prod", "envs/dev/kustomization.yaml"]);
    assert_eq!(changes, ["changed Deployment prod web"]);

    shop.commit(&[("base/kustomization.yaml", "resources: [deployment.yaml, gone.yaml]\n")]);
    for (arguments, side) in [(["--revision", "base"], "HEAD"), (["--revision=HEAD", "--to=base"], "HEAD")] {
        let said = shop.diff(&[&arguments[..], &["envs/prod"]].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        let head = shop.git(&["rev-parse", "--short=7", "HEAD"]);
        let wanted =
            format!("Error: cannot render envs/prod at {side} ({}): base/gone.yaml does not exist", head.trim());
        let named = "`resources[1]` of base/kustomization.yaml names it";
        assert!(said.err.starts_with(&wanted) && said.err.contains(named), "{}", said.err);
    }
}

/// A linked folder, a file of another program beside the manifests, keys as Kubernetes reads them, a key that is there twice, a
/// chart of the first API version, a folder with a chart and a kustomization.
#[tokio::test]
async fn folders_as_people_have_them() {
    let shop = Shop::new().await;
    let config = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {data}\n");
    let twice = "resources: [c.yaml]\nlabels: [{pairs: {team: core}}]\nlabels: [{pairs: {tier: front}}]\n";
    let dependency = "dependencies: [{name: common, version: 0.1.0, repository: 'file://../common'}]\n";
    std::os::unix::fs::symlink("../shared", {
        std::fs::create_dir(shop.path().join("dev")).unwrap();
        shop.path().join("dev/shared")
    })
    .unwrap();
    let commit = |level: &str| {
        shop.commit(&[
            ("shared/c.yaml", &config(&format!("{{level: '{level}', y: 'x', 0x2: 'z'}}"))),
            ("dev/config.json", "{\"team\": \"core\"}"),
            ("base/kustomization.yaml", twice),
            ("base/c.yaml", &config(&format!("{{level: '{level}'}}"))),
            ("web/Chart.yaml", "apiVersion: v1\nname: web\nversion: 0.1.0\n"),
            ("web/requirements.yaml", dependency),
            ("common/Chart.yaml", "apiVersion: v1\nname: common\nversion: 0.1.0\n"),
            ("common/templates/c.yaml", &config(&format!("{{level: '{level}'}}"))),
            ("both/Chart.yaml", "apiVersion: v1\nname: both\nversion: 0.1.0\n"),
            ("both/kustomization.yaml", "resources: [../base]\nnamePrefix: both-\n"),
        ]);
    };
    commit("1");
    shop.git(&["tag", "base"]);
    commit("2");
    for (folder, name) in [("dev", "c"), ("base", "c"), ("web", "c"), ("both", "both-c")] {
        let changes = shop.changes(&["--revision", "base", "--recurse", folder]);
        assert_eq!(changes, [format!("changed ConfigMap {name}")], "{folder}");
    }
    let said = shop.diff(&["--revision", "base", "--recurse", "dev"]);
    assert!(said.out.contains("   \"true\": x\n") || said.out.contains("   'true': x\n"), "{}", said.out);
    let said = shop.diff(&["--revision", "base", "base"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let note = "Note: base: base/kustomization.yaml, line 3: duplicate mapping key: labels; the last one is used\n";
    assert_eq!(said.err, note);
}

/// An Application of the repository.
fn application(name: &str, source: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\nspec:\n  \
         project: default\n  destination: {{name: in-cluster, namespace: shop}}\n  source: {source}\n---\n"
    )
}

#[tokio::test]
async fn applications_as_they_say_it() {
    let shop = Shop::new().await;
    let source =
        |path: &str, more: &str| format!("{{repoURL: 'git@forge.example:acme/gitops.git', path: {path}, {more}}}");
    let template = "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ .Release.Name }}}\nstringData: {token: {{ .Values.token }}}\n";
    let nested = |image: &str| {
        application(
            "kustomized",
            &source("base", &format!("targetRevision: main, kustomize: {{images: ['web={image}']}}")),
        ) + &application("elsewhere", "{repoURL: 'https://forge.example/acme/other', path: x}")
    };
    let root = |values: &str| {
        application("nested", &source("nested", ""))
            + &application("chart", &source("chart", &format!("helm: {{valuesObject: {{token: {values}}}}}")))
            + &application("pinned", &source("base", "targetRevision: v1"))
    };
    shop.commit(&[
        ("base/kustomization.yaml", KUSTOMIZATION),
        ("base/deployment.yaml", DEPLOYMENT),
        ("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n"),
        ("chart/templates/secret.yaml", template),
        ("nested/apps.yaml", &nested("web:1")),
        ("apps/root.yaml", &root("hidden-one")),
    ]);
    shop.git(&["tag", "v1"]);
    shop.commit(&[
        ("base/deployment.yaml", &DEPLOYMENT.replace("replicas: 2", "replicas: 3")),
        ("nested/apps.yaml", &nested("web:2")),
        ("apps/root.yaml", &root("hidden-two")),
    ]);
    for path in ["apps", "apps/root.yaml"] {
        assert_eq!(
            shop.changes(&["--revision", "v1", path]),
            [
                "changed Application argocd chart",
                "argocd/chart changed Secret shop chart",
                "argocd/kustomized changed Deployment shop web",
                "argocd/nested changed Application argocd kustomized",
            ]
        );
    }
    let said = shop.diff(&["--revision", "v1", "nested"]);
    let note =
        "Note: application argocd/elsewhere is left out: of another repository (https://forge.example/acme/other)\n";
    assert_eq!((said.code, said.err.as_str()), (1, note));
    for wanted in ["image: web:1", "image: web:2", "replicas: 2", "replicas: 3"] {
        assert!(said.out.contains(wanted), "{wanted} is not in {}", said.out);
    }
    let said = shop.diff(&["--revision", "v1", "apps"]);
    let secret = said.out.split("--- ").find(|diff| diff.contains(": Secret shop/chart")).unwrap();
    assert!(!secret.contains("hidden") && secret.contains("******** (in v1)") && secret.contains("******** (in HEAD)"));
    // Without the address the sources are somebody else's.
    shop.git(&["remote", "remove", "origin"]);
    let said = shop.diff(&["--revision", "v1", "nested"]);
    assert!(
        said.err.starts_with("Note: the address of this repository is not known; say it with --repo-url\n"),
        "{}",
        said.err
    );
    let said = shop.diff(&["--revision", "v1", "nested", "--repo-url", "https://forge.example/acme/gitops"]);
    assert!(said.out.contains("(application argocd/kustomized)"), "{}", said.out);
}

/// Each cluster has its own, often under the same name.
#[tokio::test]
async fn applications_of_one_name_are_each_compared() {
    let shop = Shop::new().await;
    let config =
        |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web}}\ndata: {{v: {value}}}\n");
    let to = |cluster: &str| {
        let source = format!("{{repoURL: 'https://forge.example/acme/gitops', path: envs/{cluster}}}");
        application("web", &source).replace("name: in-cluster", &format!("name: {cluster}"))
    };
    shop.commit(&[
        ("clusters/dev/web.yaml", &to("dev")),
        ("clusters/prod/web.yaml", &to("prod")),
        ("envs/dev/cm.yaml", &config("one")),
        ("envs/prod/cm.yaml", &config("one")),
    ]);
    let changed =
        |cluster: &str, place: &str| format!("argocd/web (to {cluster}/shop, in {place}) changed ConfigMap shop web");
    for (clusters, value) in [(&["dev"][..], "two"), (&["prod"], "two"), (&["dev", "prod"], "three")] {
        for cluster in clusters {
            shop.write(&[(&format!("envs/{cluster}/cm.yaml"), &config(value))]);
        }
        shop.commit(&[]);
        for paths in [&["clusters/dev", "clusters/prod"][..], &["clusters/prod", "clusters/dev"]] {
            let want: Vec<String> =
                clusters.iter().map(|cluster| changed(cluster, &format!("clusters/{cluster}"))).collect();
            assert_eq!(shop.changes(&[&["--revision", "HEAD~1"], paths].concat()), want, "{clusters:?} {paths:?}");
        }
        // Found by two paths, it is still one.
        let twice = shop.changes(&["--revision", "HEAD~1", "clusters/dev", "clusters/dev/web.yaml"]);
        let one = clusters.contains(&"dev").then(|| "argocd/web changed ConfigMap shop web".to_owned());
        assert_eq!(twice, Vec::from_iter(one));
    }
    // Their own manifests, too.
    shop.commit(&[("clusters/dev/web.yaml", &to("dev").replace("project: default", "project: team"))]);
    let changes = shop.changes(&["--revision", "HEAD~1", "clusters/dev", "clusters/prod"]);
    assert_eq!(changes, ["changed Application argocd web"]);
}

/// What templates leave behind is no difference.
#[tokio::test]
async fn null_is_no_field() {
    let shop = Shop::new().await;
    shop.commit(&[("apps/a.yaml", DEPLOYMENT)]);
    shop.commit(&[("apps/a.yaml", &DEPLOYMENT.replace("replicas: 2", "replicas: 2\n  strategy:\n  paused: null"))]);
    let said = shop.diff(&["--revision", "HEAD~1", "apps"]);
    assert_eq!((said.code, said.out.as_str()), (0, "no difference\n"), "{}", said.err);
}

#[tokio::test]
async fn what_is_not_committed() {
    let shop = Shop::new().await;
    shop.commit(&[("apps/a.yaml", DEPLOYMENT), (".gitignore", "ignored.yaml\n")]);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    shop.write(&[
        ("apps/a.yaml", &DEPLOYMENT.replace("web:1", "web:2")),
        ("apps/new.yaml", service),
        ("apps/ignored.yaml", &service.replace("web", "ignored")),
    ]);
    let count = || shop.git(&["count-objects", "-v"]);
    let (objects, status) = (count(), shop.git(&["status", "--porcelain"]));
    let changes = shop.changes(&["--revision", "HEAD", "--worktree", "--namespace", "dev", "apps"]);
    assert_eq!(changes, ["added Service dev web", "changed Deployment dev web"]);
    assert_eq!((count(), shop.git(&["status", "--porcelain"])), (objects, status));
    let said = shop.diff(&["--revision", "HEAD", "--worktree", "apps"]);
    assert!(said.out.contains("\n+++ the working tree: apps/Deployment web (apps)\n"), "{}", said.out);
}

#[tokio::test]
async fn where_two_branches_parted() {
    let shop = Shop::new().await;
    shop.commit(&[("apps/a.yaml", DEPLOYMENT)]);
    shop.git(&["switch", "--quiet", "--create", "topic"]);
    shop.commit(&[("apps/b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n")]);
    shop.git(&["switch", "--quiet", "main"]);
    shop.commit(&[("apps/a.yaml", &DEPLOYMENT.replace("web:1", "web:2"))]);
    let both = ["--revision", "main", "--to", "topic", "apps"];
    assert_eq!(shop.changes(&both), ["added Service web", "changed Deployment web"]);
    assert_eq!(shop.changes(&[&both[..], &["--merge-base"]].concat()), ["added Service web"]);
}

#[tokio::test]
async fn what_cannot_be_told_is_a_two() {
    let shop = Shop::new().await;
    shop.commit(&[("apps/a.yaml", DEPLOYMENT)]);
    shop.commit(&[("new/a.yaml", DEPLOYMENT)]);
    let outside = tempfile::tempdir().unwrap();
    let clone = outside.path().join("clone");
    let url = format!("file://{}", shop.path().display());
    shop.git(&["clone", "--quiet", "--depth=1", &url, clone.to_str().unwrap()]);
    for (folder, arguments, wanted) in [
        (shop.path(), vec!["--revision", "HEAD", "gone"], "there is no gone, neither in HEAD ("),
        (
            shop.path(),
            vec!["--revision", "origin/main", "apps"],
            "there is no commit origin/main in this repository; fetch it first",
        ),
        (shop.path(), vec!["--revision", "HEAD", "../x"], "../x is not in this repository"),
        (shop.path(), vec!["--revision=--all", "apps"], "\"--all\" is no revision"),
        (&clone, vec!["--revision", "HEAD~1", "apps"], "which is a shallow clone; fetch it first"),
        (outside.path(), vec!["--revision", "HEAD", "apps"], "cannot use a repository in .: git: not a git repository"),
        (shop.path(), vec!["apps"], "--revision"),
    ] {
        let said = shop.diff_in(folder, &arguments);
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.err.contains(wanted), "{wanted:?} is not in {}", said.err);
    }
    // What a shallow clone has is compared, and a folder may be new.
    assert_eq!(shop.diff_in(&clone, &["--revision", "HEAD", "apps"]).code, 0);
    let said = shop.diff(&["--revision", "HEAD~1", "new"]);
    assert_eq!((said.code, said.err.as_str()), (1, "Note: there is no new in HEAD~1\n"));
    assert!(said.out.ends_with("\n1 object added\n"), "{}", said.out);
}
