//! The repository's own commands: `cargo xtask demo | test | bench | setup`. It depends on nothing heavy, so that the first
//! line appears at once; the work itself is done by the programs it builds.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

mod progress;

use anyhow::{Context as _, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--once] [--one-cluster] [--kubeconfig FILE]... [--bus amqp://...]
              build what is needed, start two clusters, a forge and Lockstep, and play the story of the README
  test [NAME]  everything that CI runs: formatting, clippy, unit tests, end-to-end tests
  e2e [NAME]  end-to-end tests only
  bench [NAME]  measure Lockstep beside its floor and print the ratios
  corpus      record again what manifests become in a cluster (tests/corpus)
  setup       install what the tests need and cargo does not bring: RabbitMQ (Debian), and the Go programs

The Go programs (a local Kubernetes control plane, Gitea, helm, kustomize) are built once and kept in ~/.cache/lockstep, or in
$LOCKSTEP_CACHE.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_str() {
        "demo" => demo(&rest),
        "test" => setup().and_then(|()| test(&rest)),
        "e2e" => setup().and_then(|()| e2e(&rest)),
        "bench" => setup().and_then(|()| bench(&rest)),
        "corpus" => setup().and_then(|()| corpus()),
        "setup" => setup(),
        _ => {
            eprintln!("{USAGE}");
            return if command == "help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let own_clusters = !arguments.iter().any(|argument| argument == "--kubeconfig");
    let needed: &[&str] = if own_clusters { &["helm", "kustomize", "controlplane"] } else { &["helm", "kustomize"] };
    build(needed, "Lockstep and the demonstration", &["build", "--package", "lockstep", "--package", "demo"])?;
    let mut demo = Command::new(target().join("debug/demo"));
    demo.args(arguments).env("LOCKSTEP_BIN", target().join("debug/lockstep"));
    let status = demo.status().context("cannot run the demonstration")?;
    if !status.success() {
        bail!("the demonstration did not show everything; what was missing is said above");
    }
    Ok(())
}

/// One build for everything: another selection of packages would have other features and be built a second time.
fn test(arguments: &[String]) -> anyhow::Result<()> {
    step("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    let programs = progress::Programs::build(EVERY_PROGRAM);
    step("clippy", || progress::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("building everything", || progress::cargo(&["build", "--workspace", "--all-targets"]))?;
    step("programs that tests start", || programs.built())?;
    let mut all = vec!["test", "--workspace"];
    if !arguments.is_empty() {
        all.push("--");
        all.extend(arguments.iter().map(String::as_str));
    }
    step("unit and end-to-end tests", || run(cargo_command(&all).env("LOCKSTEP_BIN", target().join("debug/lockstep"))))
}

fn e2e(arguments: &[String]) -> anyhow::Result<()> {
    build(EVERY_PROGRAM, "everything", &["build", "--workspace", "--all-targets"])?;
    let mut all = vec!["test", "--workspace", "--test", "stories", "--"];
    all.extend(arguments.iter().map(String::as_str));
    step("end-to-end tests", || run(cargo_command(&all).env("LOCKSTEP_BIN", target().join("debug/lockstep"))))
}

fn bench(arguments: &[String]) -> anyhow::Result<()> {
    build(
        &["kustomize", "controlplane"],
        "Lockstep and the benchmark, optimized",
        &["build", "--profile", "bench", "--package", "lockstep", "--package", "bench"],
    )?;
    let mut bench = Command::new(target().join("release/bench"));
    bench.args(arguments).env("LOCKSTEP_BIN", target().join("release/lockstep"));
    let status = bench.status().context("cannot run the benchmark")?;
    if !status.success() {
        bail!("the benchmark did not end well");
    }
    Ok(())
}

fn corpus() -> anyhow::Result<()> {
    build(&["controlplane"], "the recorder", &["build", "--workspace"])?;
    run(&mut Command::new(target().join("debug/corpus")))
}

/// Everything that some test starts.
const EVERY_PROGRAM: &[&str] = &["helm", "kustomize", "controlplane", "gitea"];

/// Builds with cargo, and beside it the programs that Go builds: says beforehand what is missing and what that costs.
fn build(needed: &[&'static str], what: &str, arguments: &[&str]) -> anyhow::Result<()> {
    progress::announce(needed, what);
    let programs = progress::Programs::build(needed);
    step(&format!("building {what}"), || progress::cargo(arguments))?;
    if programs.is_busy() { step("waiting for what Go builds", || programs.built()) } else { programs.built() }
}

/// What neither cargo nor Go brings.
fn setup() -> anyhow::Result<()> {
    if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() && !has("rabbitmq-server") {
        if !has("apt-get") {
            bail!(
                "rabbitmq-server is missing; install RabbitMQ 3.10 or newer (Debian: apt-get install rabbitmq-server)"
            );
        }
        step("installing rabbitmq-server", || {
            // Its own service would only take the port; each test starts a broker of its own.
            let script = "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && \
                          apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null";
            run(Command::new("sh").args(["-c", script]))
        })?;
    }
    if !has("go") {
        bail!(
            "go is missing; install Go 1.26 or newer: the tests build a Kubernetes control plane and a Gitea with it"
        );
    }
    if !has("git") {
        bail!("git is missing; install Git 2.39 or newer");
    }
    Ok(())
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn step(what: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    eprintln!("==> {what}");
    let start = Instant::now();
    work().with_context(|| what.to_owned())?;
    eprintln!("    {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    run(&mut cargo_command(arguments))
}

fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// As cargo says it now: with a target folder that several checkouts share, this program may have been built in another one.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
