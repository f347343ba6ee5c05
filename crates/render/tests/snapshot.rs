//! The renderer on a real Git repository, through the public interface alone.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use git::{Commit, Git, GitConfig, NoCredentials, RepositoryUrl, Revision};
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
    Renderer::new(RenderConfig { cache_dir: folder.join("cache"), ..RenderConfig::default() }).await.unwrap()
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

/// Prints what a render costs beside the bare program. Run with `--nocapture` to see it.
#[tokio::test]
async fn overhead() {
    let forge = Forge::new();
    forge.write("base/kustomization.yaml", "resources: [a.yaml, s.yaml]\n");
    forge.write("base/a.yaml", &map("base"));
    forge.write("base/s.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n");
    for app in 0..50 {
        forge.write(
            &format!("apps/a{app}/kustomization.yaml"),
            &format!("resources: [../../base]\nnamePrefix: a{app}-\n"),
        );
    }
    forge.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n");
    forge.write("chart/values.yaml", "v: 0\n");
    forge.write("chart/templates/m.yaml", &(map("chart") + "data: {v: '{{ .Values.v }}'}\n"));
    let at = forge.commit().await;
    forge.write("unrelated", "1");
    let next = forge.commit().await;
    let renderer = renderer(forge.folder.path()).await;

    let mut bare = Vec::new();
    let mut ours = Vec::new();
    let mut cached = Vec::new();
    let repository = forge.work();
    for app in 0..50 {
        let path = format!("apps/a{app}");
        let begun = std::time::Instant::now();
        assert!(Command::new("kustomize").arg("build").arg(repository.join(&path)).output().unwrap().status.success());
        bare.push(begun.elapsed());
        let begun = std::time::Instant::now();
        renderer.render(&request(&at, &path)).await.unwrap();
        ours.push(begun.elapsed());
        let begun = std::time::Instant::now();
        assert!(renderer.render(&request(&next, &path)).await.unwrap().from_cache);
        let first = begun.elapsed();
        let begun = std::time::Instant::now();
        assert!(renderer.render(&request(&next, &path)).await.unwrap().from_cache);
        cached.push((first, begun.elapsed()));
    }
    let mut helm = (Vec::new(), Vec::new());
    for round in 0..10 {
        let begun = std::time::Instant::now();
        assert!(
            Command::new("helm")
                .args(["template", "web"])
                .arg(repository.join("chart"))
                .output()
                .unwrap()
                .status
                .success()
        );
        helm.0.push(begun.elapsed());
        let mut request = request(&at, "chart");
        let values = json!({"values": format!("v: {round}")});
        request.sources[0].source.helm = serde_json::from_value(values).unwrap();
        let begun = std::time::Instant::now();
        renderer.render(&request).await.unwrap();
        helm.1.push(begun.elapsed());
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!("kustomize bare {:?}, rendered {:?}", median(bare), median(ours));
    println!("helm      bare {:?}, rendered {:?}", median(helm.0), median(helm.1));
    println!(
        "cached: first {:?}, then {:?}",
        median(cached.iter().map(|c| c.0).collect()),
        median(cached.iter().map(|c| c.1).collect())
    );
}
