//! The renderer on a real Git repository, through the public interface alone.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use git::{Commit, Git, GitConfig, NoCredentials, RepositoryUrl, Revision};
use harness::Tools;
use render::{RenderConfig, RenderError, RenderRequest, Renderer, SourceAt};
use serde_json::json;

struct Forge {
    folder: tempfile::TempDir,
    git: Git,
}

impl Forge {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let git = Git::open(GitConfig {
            root: folder.path().join("mirrors"),
            credentials: Arc::new(NoCredentials),
            fetch_timeout: Duration::from_secs(30),
            stall_timeout: std::time::Duration::from_secs(60),
            max_repository_bytes: 1 << 30,
            allow_local: true,
        })
        .unwrap();
        let forge = Self { folder, git };
        forge.run(&["init", "--quiet", "--initial-branch=main"]);
        forge
    }

    fn run(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let status = Command::new("git").args(identity).args(arguments).current_dir(self.work()).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn work(&self) -> std::path::PathBuf {
        self.folder.path().join("work")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    async fn commit(&self) -> SourceAt {
        self.run(&["add", "--all"]);
        self.run(&["commit", "--quiet", "--message=x"]);
        let url = format!("file://{}", self.work().display());
        let repository = self.git.repository(&RepositoryUrl::parse(&url).unwrap());
        let commit: Commit = repository.resolve(&Revision::parse("main").unwrap()).await.unwrap().commit;
        SourceAt {
            source: serde_json::from_value(json!({"repoURL": url})).unwrap(),
            repository: url,
            revision: commit.to_string(),
            snapshot: repository.snapshot(&commit).unwrap(),
        }
    }
}

fn request(at: &SourceAt, path: &str) -> RenderRequest {
    let mut at = at.clone();
    at.source.path = path.into();
    RenderRequest {
        application: "web".into(),
        namespace: "shop".into(),
        project: "default".into(),
        sources: vec![at],
        kube_version: "1.36.3".into(),
        ..RenderRequest::default()
    }
}

async fn renderer(folder: &Path) -> Renderer {
    let config = RenderConfig {
        cache_dir: folder.join("cache"),
        helm: Tools::ensure("helm").await.unwrap(),
        kustomize: Tools::ensure("kustomize").await.unwrap(),
        sandbox_helper: Some(Tools::ensure("sandbox-exec").await.unwrap()),
        ..RenderConfig::default()
    };
    Renderer::new(config).await.unwrap()
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn every_source_type_from_commit_to_commit() {
    let forge = Forge::new();
    forge.write("base/kustomization.yaml", "resources: [a.yaml]\n");
    forge.write("base/a.yaml", &map("base"));
    forge.write("envs/dev/kustomization.yaml", "resources: [shared]\nnamePrefix: dev-\n");
    forge.link("envs/dev/shared", "../../base");
    forge.write("plain/a.yaml", &map("plain"));
    forge.link("plain/linked.yaml", "../base/a.yaml");
    forge.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n");
    forge.write("shared/m.yaml", &map("chart"));
    forge.link("chart/templates", "../shared");
    let first = forge.commit().await;
    forge.write("unrelated/x", "1");
    let second = forge.commit().await;
    forge.write("base/a.yaml", &map("changed"));
    let third = forge.commit().await;

    let renderer = renderer(forge.folder.path()).await;
    for (path, names, changed, programs) in [
        ("envs/dev", vec!["dev-base"], vec!["dev-changed"], 2),
        ("plain", vec!["plain", "base"], vec!["plain", "changed"], 0),
        ("chart", vec!["chart"], vec!["chart"], 1),
    ] {
        let before = renderer.programs_started();
        let found =
            |rendered: &render::Rendered| rendered.objects.iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
        let rendered = renderer.render(&request(&first, path)).await.unwrap();
        assert_eq!(found(&rendered), names, "{path}");
        let unrelated = renderer.render(&request(&second, path)).await.unwrap();
        assert!(unrelated.from_cache && unrelated.key == rendered.key, "{path}");
        let last = renderer.render(&request(&third, path)).await.unwrap();
        assert_eq!(found(&last), changed, "{path}");
        assert_eq!(renderer.programs_started() - before, programs, "{path}");
        let touched = rendered.inputs.iter().any(|input| input.is_touched_by("base/a.yaml"));
        assert_eq!(touched, path != "chart", "{path}: {:?}", rendered.inputs);
    }
}

#[tokio::test]
async fn links_out_of_the_repository() {
    let forge = Forge::new();
    forge.write("app/kustomization.yaml", "resources: [a.yaml]\n");
    forge.link("app/a.yaml", "../../../../etc/passwd");
    forge.link("plain/a.yaml", "/etc/passwd");
    forge.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n");
    forge.link("chart/templates/x.yaml", "../../../x");
    let at = forge.commit().await;
    let renderer = renderer(forge.folder.path()).await;
    for path in ["app", "plain", "chart"] {
        let error = renderer.render(&request(&at, path)).await.unwrap_err();
        assert!(matches!(error, RenderError::LeavesRepository { .. }), "{path}: {error}");
    }
    assert_eq!(renderer.programs_started(), 0);
}
