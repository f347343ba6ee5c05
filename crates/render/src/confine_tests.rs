//! The real programs in the real sandbox, told to do what our checks would not let a source tell them.

use std::net::TcpListener;
use std::time::Instant;

use harness::Tools;

use super::*;
use crate::tool::{Output, Starts, Tool};

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(60), memory_bytes: 1 << 30, output_bytes: 16 << 20, objects: 1000 };

/// A repository with a chart and a kustomization, a home, and a file that nobody may see.
struct Ground {
    folder: tempfile::TempDir,
    confinement: Confinement,
    tools: [Tool; 2],
}

impl Ground {
    async fn new() -> Self {
        Self::with(Duration::from_secs(30)).await
    }

    async fn with(processor_time: Duration) -> Self {
        let config = RenderConfig {
            sandbox: Mode::Required,
            processor_time,
            sandbox_helper: Some(Tools::ensure("sandbox-exec").await.unwrap()),
            ..RenderConfig::default()
        };
        let confinement = Confinement::new(&config).await.unwrap();
        let tool = async |name| Tool::probe(name, &Tools::ensure(name).await.unwrap(), &confinement).await.unwrap();
        let tools = [tool("helm").await, tool("kustomize").await];
        let ground = Self { folder: tempfile::tempdir().unwrap(), confinement, tools };
        ground.write("canary", "secret: canary\n");
        ground.write("repository/chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n");
        ground.write("repository/chart/templates/a.yaml", "kind: X\nsecret: {{ .Values.secret }}\n");
        ground.write("repository/base/kustomization.yaml", "resources: [a.yaml]\n");
        ground.write("repository/base/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\n");
        ground.write("repository/app/kustomization.yaml", "resources: [../base]\nnamePrefix: my-\n");
        ground.write("home/values.yaml", "secret: own\n");
        ground
    }

    fn path(&self, path: &str) -> String {
        self.folder.path().join(path).display().to_string()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    async fn run(&self, tool: usize, arguments: &[&str]) -> Result<Output, RenderError> {
        let (folder, home) = (self.folder.path().join("repository"), self.folder.path().join("home"));
        let run = Run {
            tool: &self.tools[tool],
            arguments: arguments.iter().map(Into::into).collect(),
            folder: &folder,
            home: &home,
            network: false,
        };
        crate::tool::run(run, &LIMITS, &Starts::default(), &self.confinement).await
    }

    async fn helm(&self, arguments: &[&str]) -> Output {
        let arguments = [&["template", "name", "chart"], arguments].concat();
        self.run(0, &arguments).await.unwrap()
    }

    async fn kustomize(&self, kustomization: &str, arguments: &[&str]) -> Output {
        self.write("repository/own/kustomization.yaml", kustomization);
        self.run(1, &[&["build", "own"], arguments].concat()).await.unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr)
}

#[tokio::test]
async fn helm_renders_and_reads_nothing_else() {
    let ground = Ground::new().await;
    let rendered = ground.helm(&["--values", &ground.path("home/values.yaml")]).await;
    assert!(rendered.success && text(&rendered).contains("secret: own"), "{}", text(&rendered));
    let canary = ground.path("canary");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/values", listener.local_addr().unwrap());
    for arguments in [
        ["--values", canary.as_str()],
        ["--set-file", &format!("secret={canary}")],
        ["--values", "/etc/passwd"],
        ["--values", "/proc/self/environ"],
        ["--values", &address],
        ["--set-file", &format!("secret={address}")],
        ["--post-renderer", "/bin/cat"],
        ["--repo", &address],
        ["--output-dir", &ground.path("outside")],
    ] {
        let output = ground.helm(&arguments).await;
        let said = text(&output);
        assert!(
            !output.success && !said.contains("secret: canary") && !said.contains("root:"),
            "{arguments:?}: {said}"
        );
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing was asked for");
    assert!(!std::path::Path::new(&ground.path("outside")).exists());
    // A link in the chart that leads out of it, which Helm follows.
    std::os::unix::fs::symlink(&canary, ground.path("repository/chart/templates/link.yaml")).unwrap();
    let output = ground.helm(&[]).await;
    assert!(!output.success && !text(&output).contains("secret: canary"), "{}", text(&output));
}

#[tokio::test]
async fn kustomize_builds_with_a_base_and_reads_nothing_else() {
    let ground = Ground::new().await;
    let built = ground.run(1, &["build", "app"]).await.unwrap();
    assert!(built.success && text(&built).contains("name: my-base"), "{}", text(&built));
    let canary = ground.path("canary");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ran = ground.path("ran");
    for kustomization in [
        format!("resources: ['{canary}']\n"),
        format!("configMapGenerator: [{{name: x, files: ['{canary}']}}]\n"),
        format!("resources: ['http://{address}/x.yaml']\n"),
        format!("resources: ['https://{address}/o/r//x?ref=v1']\n"),
        format!("Resources: ['file:///x//y?ref=--upload-pack=sh%20-c%20touch%20{ran}']\n"),
        format!("components: ['file://{}//y?ref=v1']\n", ground.path("home")),
        format!("patchesStrategicMerge: ['http://{address}/x.yaml']\n"),
        format!("generators: [plugin.yaml]\nresources: ['http://{address}/x']\n"),
    ] {
        let output = ground.kustomize(&kustomization, &["--load-restrictor", "LoadRestrictionsNone"]).await;
        let said = text(&output);
        assert!(!output.success && !said.contains("secret: canary"), "{kustomization}: {said}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing was asked for");
    assert!(!std::path::Path::new(&ran).exists(), "nothing was run");
    let git = ground.kustomize("resources: ['https://forge.example/o/r//x?ref=v1']\n", &[]).await;
    assert!(text(&git).contains("not permitted"), "{}", text(&git));
}

#[tokio::test]
async fn many_files_and_functions_work_as_without_a_sandbox() {
    let ground = Ground::new().await;
    for number in 0..300 {
        ground.write(&format!("repository/chart/templates/t{number}.yaml"), "kind: X\nname: {{ .Release.Name }}\n");
        ground.write(&format!("repository/chart/files/f{number}.txt"), "content");
    }
    let zone = r#"zone: {{ dateInZone "15:04" (toDate "2006-01-02" "2020-01-01") "Europe/Berlin" }}"#;
    let random =
        "random: {{ randAlphaNum 8 }} {{ uuidv4 }} {{ genSelfSignedCert \"a\" nil nil 1 | toJson | sha256sum }}";
    let count = "files: {{ len (.Files.Glob \"files/*\") }}";
    ground.write("repository/chart/templates/z.yaml", &format!("kind: X\n{zone}\n{random}\n{count}\n"));
    let output = ground.helm(&[]).await;
    let said = text(&output);
    assert!(output.success && said.matches("name: name").count() == 300, "{said}");
    assert!(said.contains("files: 300") && said.contains("zone: "), "{said}");
}

const BURN: &str = "{{ range until 9999 }}{{ range until 9999 }}{{ range until 9999 }}{{ end }}{{ end }}{{ end }}\n";

#[tokio::test]
async fn a_chart_that_burns_processor_time_ends_by_the_kernel() {
    let ground = Ground::with(Duration::from_secs(1)).await;
    ground.write("repository/chart/templates/b.yaml", BURN);
    let error = ground.run(0, &["template", "name", "chart"]).await.err().unwrap();
    assert!(error.to_string().contains("processor time of helm exceeded the limit of 1 s"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_cancelled_render_ends_its_program() {
    let ground = Ground::new().await;
    ground.write("repository/chart/templates/b.yaml", BURN);
    let chart = ground.path("repository/chart");
    let ours = || {
        // Nobody else's has this folder among its arguments.
        let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            String::from_utf8_lossy(&line).contains(&chart).then_some(())
        });
        all.count()
    };
    let arguments = ["template", "name", chart.as_str()];
    let mut render = Box::pin(ground.run(0, &arguments));
    let begun = Instant::now();
    while ours() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin");
        let step = tokio::time::timeout(Duration::from_millis(20), &mut render).await;
        assert!(step.is_err(), "it burns");
    }
    drop(render);
    while ours() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_helper_nothing_is_rendered() {
    for (helper, words) in [("/bin/true", "report it"), ("/nowhere", "cannot start /nowhere to confine")] {
        for sandbox in [Mode::Available, Mode::Required] {
            let config = RenderConfig { sandbox, sandbox_helper: Some(helper.into()), ..RenderConfig::default() };
            let error = Confinement::new(&config).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

#[tokio::test]
async fn the_first_helper_that_can_is_taken() {
    let able = Tools::ensure("sandbox-exec").await.unwrap();
    let helpers = ["/nowhere".into(), "/bin/true".into(), able.clone(), "/bin/echo".into()];
    assert_eq!(first(&helpers).await.unwrap().0, &able);
    // This test is a program without a second half, and so is whatever stands beside it.
    assert!(first(&sandbox::helpers()).await.unwrap_err().to_string().contains("/proc/self/exe"));
}

#[tokio::test]
async fn a_wrapper_is_told_from_the_program() {
    let ground = Ground::new().await;
    let wrapper = ground.folder.path().join("helm");
    crate::testing::write_program(&wrapper, "#!/bin/sh\nexec /usr/local/bin/helm \"$@\"\n");
    let error = Tool::probe("helm", &wrapper, &ground.confinement).await.unwrap_err().to_string();
    assert!(error.contains("name the program itself") && error.contains("--render-sandbox=off"), "{error}");
}

#[tokio::test]
async fn what_a_run_may_do() {
    let config =
        RenderConfig { sandbox: Mode::Off, processor_time: Duration::from_secs(30), ..RenderConfig::default() };
    let confinement = Confinement::new(&config).await.unwrap();
    let tool = |name| Tool { name, path: "/opt/tool".into(), version: String::new(), identity: String::new() };
    let (folder, home) = (Path::new("/scratch/repository"), Path::new("/scratch/home"));
    let has = |paths: &[PathBuf], path: &str| paths.iter().any(|known| known == Path::new(path));
    for (name, network, arguments, programs) in [
        ("helm", false, vec!["template"], vec!["/opt/tool"]),
        ("kustomize", false, vec!["build"], vec!["/opt/tool"]),
        ("kustomize", false, vec!["build", "--helm-command", "/opt/helm"], vec!["/opt/tool", "/opt/helm"]),
        ("helm", true, vec!["dependency"], vec!["/opt/tool"]),
        ("kustomize", true, vec!["build"], vec!["/opt/tool", "/usr", "/bin"]),
    ] {
        let tool = tool(name);
        let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        let policy = confinement.policy(&Run { tool: &tool, arguments, folder, home, network }, &LIMITS);
        assert!(programs.iter().all(|program| has(&policy.execute, program)), "{name} {network}: {policy:?}");
        assert!(has(&policy.execute, "/usr") == programs.contains(&"/usr"));
        assert_eq!(policy.processes, programs.len() > 1, "{name} {network}");
        assert_eq!(policy.network, network);
        assert_eq!(policy.write, ["/dev/null", "/scratch/repository", "/scratch/home"].map(PathBuf::from));
        assert_eq!(policy.limits.processor_seconds, 30);
    }
}
