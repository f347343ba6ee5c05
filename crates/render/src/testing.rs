//! A renderer with the real programs, on commits made of literals.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use harness::Tools;
use resources::ApplicationSource;
use serde_json::{Value, json};

use crate::renderer::View;
use crate::tree::SharedTree;
use crate::tree::memory::MemoryTree;
use crate::{RenderConfig, RenderError, Rendered, Renderer, SandboxMode};

pub(crate) const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// Writes a program. Another process does the writing: a test beside this one that starts a program at that moment would
/// inherit our open file, and a file that is open for writing cannot be started ("Text file busy").
pub(crate) fn write_program(path: &Path, text: &str) {
    let mut shell = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// The real programs, which are built where they are missing.
async fn programs() -> RenderConfig {
    let (helm, kustomize) = (Tools::ensure("helm").await, Tools::ensure("kustomize").await);
    RenderConfig {
        helm: helm.unwrap(),
        kustomize: kustomize.unwrap(),
        sandbox: SandboxMode::Required,
        sandbox_helper: Some(Tools::ensure("sandbox-exec").await.unwrap()),
        ..RenderConfig::default()
    }
}

/// A script that plays a program needs a shell, and others beside it.
fn is_script(program: &Path) -> bool {
    std::fs::read(program).is_ok_and(|content| content.starts_with(b"#!"))
}

/// A renderer with caches of its own.
pub(crate) struct Bench {
    pub(crate) renderer: Renderer,
    pub(crate) folder: tempfile::TempDir,
}

/// A request with defaults that tests change.
pub(crate) struct Asked {
    pub(crate) sources: Vec<(ApplicationSource, SharedTree, String)>,
    pub(crate) application: String,
    pub(crate) namespace: String,
    pub(crate) kube_version: String,
    pub(crate) api_versions: Vec<String>,
    pub(crate) hard: bool,
}

impl Asked {
    pub(crate) fn of(sources: &[(Value, &Arc<MemoryTree>)]) -> Self {
        let sources = sources
            .iter()
            .map(|(source, tree)| {
                let source = serde_json::from_value(source.clone()).unwrap();
                (source, Arc::clone(tree) as SharedTree, REVISION.to_owned())
            })
            .collect();
        Self {
            sources,
            application: "web".into(),
            namespace: "shop".into(),
            kube_version: "1.36.3".into(),
            api_versions: vec!["v1".into(), "apps/v1/Deployment".into()],
            hard: false,
        }
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut RenderConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RenderConfig { cache_dir: folder.path().join("cache"), ..programs().await };
        change(&mut config);
        if is_script(&config.helm) || is_script(&config.kustomize) {
            config.sandbox = SandboxMode::Off;
        }
        Self { renderer: Renderer::new(config).await.unwrap(), folder }
    }

    pub(crate) async fn render(&self, asked: &Asked) -> Result<Arc<Rendered>, RenderError> {
        self.renderer
            .render_view(View {
                application: &asked.application,
                namespace: &asked.namespace,
                project: "default",
                kube_version: &asked.kube_version,
                api_versions: &asked.api_versions.as_slice().into(),
                hard: asked.hard,
                only_plain: false,
                sources: asked
                    .sources
                    .iter()
                    .map(|(source, _, revision)| (source, "https://git.example/r", revision.as_str()))
                    .collect(),
                trees: asked.sources.iter().map(|(_, tree, _)| Arc::clone(tree)).collect(),
            })
            .await
    }

    /// Renders one source.
    pub(crate) async fn one(&self, tree: &Arc<MemoryTree>, source: Value) -> Result<Arc<Rendered>, RenderError> {
        self.render(&Asked::of(&[(source, tree)])).await
    }
}

/// `source` with a repository.
pub(crate) fn source(path: &str, more: Value) -> Value {
    let mut source = json!({"repoURL": "https://git.example/r", "path": path, "targetRevision": "main"});
    for (name, value) in more.as_object().unwrap() {
        source[name] = value.clone();
    }
    source
}

/// `kind name` of every object, in order.
pub(crate) fn names(rendered: &Rendered) -> Vec<String> {
    rendered.objects.iter().map(|o| format!("{} {}", o.kind(), o.name())).collect()
}

/// Paths of the inputs; those that are absent begin with `!`.
pub(crate) fn inputs(rendered: &Rendered) -> Vec<String> {
    rendered.inputs.iter().map(|i| if i.id.is_some() { i.path.clone() } else { format!("!{}", i.path) }).collect()
}
