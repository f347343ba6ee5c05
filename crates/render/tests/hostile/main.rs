//! Hostile sources, rendered by the real programs from a real repository: each is refused with a sentence or renders harmlessly,
//! and nothing of what must not be read, run or reached is.
//!
//! In the tables `{FILE}` is a file outside of the repository, `{REPOSITORY}` somebody else's repository on the same disk,
//! `{PORT}` a port of this machine on which somebody listens, and `{TOUCH}` a file that a command would make.
#![allow(clippy::unwrap_used)]

mod helm;
mod kustomize;
mod plain;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use git::{Git, GitConfig, NoCredentials, RepositoryUrl, Revision, Snapshot};
use harness::Tools;
use render::{RenderConfig, RenderRequest, Renderer, SourceAt};
use serde_json::{Value, json};

/// What is outside and must never be seen.
const SECRET: &str = "canary-7f3b-of-somebody-else";

/// One hostile source.
struct Case {
    name: &'static str,
    /// Files below the case's folder.
    files: Vec<(&'static str, String)>,
    /// Symbolic links, and where they lead.
    links: Vec<(&'static str, &'static str)>,
    /// What the Application says beside its path.
    source: Value,
    /// The folder of the source, below the case's.
    path: &'static str,
    /// The worker that renders it.
    worker: Worker,
    expected: Expected,
}

/// How the worker is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Default,
    /// Programs may use the network.
    Network,
    /// Kustomize may inflate charts.
    Charts,
    /// Both.
    ChartsAndNetwork,
}

enum Expected {
    /// An error that has this in it.
    Refused(&'static str),
    /// An error in the program's own words, or objects: whatever that program makes of it.
    Either,
    /// Objects, without anything of the canaries.
    Harmless,
}

impl Case {
    fn new(name: &'static str, files: &[(&'static str, &str)], expected: Expected) -> Self {
        Self {
            name,
            files: files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect(),
            links: Vec::new(),
            source: json!({}),
            path: "app",
            worker: Worker::Default,
            expected,
        }
    }

    fn source(mut self, source: Value) -> Self {
        self.source = source;
        self
    }

    fn link(mut self, path: &'static str, target: &'static str) -> Self {
        self.links.push((path, target));
        self
    }

    fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn on(mut self, worker: Worker) -> Self {
        self.worker = worker;
        self
    }
}

/// What a hostile source would like to reach.
struct Canaries {
    folder: tempfile::TempDir,
    listener: TcpListener,
}

impl Canaries {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), SECRET).unwrap();
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: stolen}}\ndata: {{secret: {SECRET}}}\n");
        std::fs::write(other.join("kustomization.yaml"), "resources: [m.yaml]\n").unwrap();
        std::fs::write(other.join("m.yaml"), map).unwrap();
        git(&other, &["init", "--quiet", "--initial-branch=main"]);
        git(&other, &["add", "--all"]);
        git(&other, &["commit", "--quiet", "--message=x"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { folder, listener }
    }

    fn touched(&self) -> PathBuf {
        self.folder.path().join("touched")
    }

    /// A text with the canaries' places.
    fn fill(&self, text: &str) -> String {
        text.replace("{FILE}", &self.folder.path().join("file").display().to_string())
            .replace("{REPOSITORY}", &self.folder.path().join("other").display().to_string())
            .replace("{TOUCH}", &self.touched().display().to_string())
            .replace("{PORT}", &self.listener.local_addr().unwrap().port().to_string())
    }

    fn check(&self, case: &str, told: &str) {
        assert!(!told.contains(SECRET), "{case}: what is outside was read: {told}");
        assert!(!told.contains("lockstep-render-"), "{case}: a scratch path is shown: {told}");
        assert!(!self.touched().exists(), "{case}: a command was run");
        let reached = self.listener.accept().is_ok();
        assert!(!reached, "{case}: this machine was connected to");
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let status = Command::new("git").args(identity).args(arguments).current_dir(folder).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

/// All cases in one commit, each in a folder of its name.
async fn commit(work: &Path, mirrors: &Path, cases: &[Case], canaries: &Canaries) -> Snapshot {
    git(work, &["init", "--quiet", "--initial-branch=main"]);
    for case in cases {
        let folder = work.join(case.name);
        for (path, text) in &case.files {
            let path = folder.join(canaries.fill(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, canaries.fill(text)).unwrap();
        }
        for (path, target) in &case.links {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(canaries.fill(target), path).unwrap();
        }
    }
    git(work, &["add", "--all", "--force"]);
    git(work, &["commit", "--quiet", "--message=x"]);
    let git = Git::open(GitConfig {
        root: mirrors.to_owned(),
        credentials: Arc::new(NoCredentials),
        fetch_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(60),
        max_repository_bytes: 1 << 30,
        allow_local: true,
    })
    .unwrap();
    let repository = git.repository(&RepositoryUrl::parse(&format!("file://{}", work.display())).unwrap());
    let commit = repository.resolve(&Revision::parse("main").unwrap()).await.unwrap().commit;
    repository.snapshot(&commit).unwrap()
}

async fn renderer(folder: &Path, worker: Worker) -> Renderer {
    let charts = matches!(worker, Worker::Charts | Worker::ChartsAndNetwork);
    let config = RenderConfig {
        cache_dir: folder.join(format!("cache-{worker:?}")),
        helm: Tools::ensure("helm").await.unwrap(),
        kustomize: Tools::ensure("kustomize").await.unwrap(),
        kustomize_build_options: if charts { vec!["--enable-helm".into()] } else { Vec::new() },
        allow_network: matches!(worker, Worker::Network | Worker::ChartsAndNetwork),
        timeout: Duration::from_secs(60),
        sandbox_helper: Some(Tools::ensure("sandbox-exec").await.unwrap()),
        ..RenderConfig::default()
    };
    Renderer::new(config).await.unwrap()
}

#[tokio::test]
async fn nothing_is_read_run_or_reached_that_must_not_be() {
    let cases: Vec<Case> = kustomize::cases().into_iter().chain(helm::cases()).chain(plain::cases()).collect();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let canaries = Canaries::new();
    let snapshot = commit(&work, &folder.path().join("mirrors"), &cases, &canaries).await;
    let mut renderers = std::collections::HashMap::new();
    for worker in [Worker::Default, Worker::Network, Worker::Charts, Worker::ChartsAndNetwork] {
        renderers.insert(worker, renderer(folder.path(), worker).await);
    }
    for case in &cases {
        let mut source = case.source.clone();
        source["repoURL"] = "https://forge.example/acme/r".into();
        source["path"] = format!("{}/{}", case.name, case.path).into();
        let source = serde_json::from_str(&canaries.fill(&source.to_string())).unwrap();
        let request = RenderRequest {
            application: "web".into(),
            namespace: "shop".into(),
            project: "default".into(),
            sources: vec![SourceAt {
                source,
                repository: "https://forge.example/acme/r".into(),
                revision: "0123456789abcdef0123456789abcdef01234567".into(),
                snapshot: snapshot.clone(),
            }],
            kube_version: "1.36.3".into(),
            ..RenderRequest::default()
        };
        let result = renderers[&case.worker].render(&request).await;
        let told = match &result {
            Ok(rendered) => format!("{:?} {:?}", rendered.objects, rendered.warnings),
            Err(error) => error.to_string(),
        };
        canaries.check(case.name, &told);
        match (&case.expected, &result) {
            (Expected::Refused(part), Err(_)) => {
                assert!(told.contains(&canaries.fill(part)), "{}: {told} has no {part:?}", case.name);
            }
            (Expected::Either, _) | (Expected::Harmless, Ok(_)) => {}
            _ => panic!("{}: {told}", case.name),
        }
    }
}

/// The canaries themselves: what would be noticed.
#[test]
fn canaries_sing() {
    let sings = |act: &dyn Fn(&Canaries) -> String| {
        let canaries = Canaries::new();
        let told = act(&canaries);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| canaries.check("test", &told))).is_err()
    };
    assert!(!sings(&|_| "fine".into()));
    assert!(sings(&|canaries| std::fs::read_to_string(canaries.folder.path().join("file")).unwrap()));
    assert!(sings(&|canaries| {
        std::fs::write(canaries.touched(), "").unwrap();
        String::new()
    }));
    assert!(sings(&|canaries| {
        std::net::TcpStream::connect(canaries.listener.local_addr().unwrap()).unwrap();
        String::new()
    }));
}
