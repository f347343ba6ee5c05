//! What the sandbox costs each program that is started: the same program bare and confined, one after the other.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ::sandbox::{Policy, Sandbox, check_command, parse_check};
use anyhow::ensure;
use harness::{Lockstep, Tools};

use crate::progress;
use crate::table::{Row, in_millis, number, percentile};

/// Pairs of starts.
const STARTS: usize = 200;
/// The sandbox may cost so many milliseconds.
const TARGET_MS: f64 = 2.0;

/// All figures.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    progress("the sandbox of programs that render");
    let helper = Lockstep::binary().await?.with_file_name("lockstep-sandbox");
    let (kustomize, helm) = (Tools::ensure("kustomize").await?, Tools::ensure("helm").await?);
    tokio::task::spawn_blocking(move || {
        let support = parse_check(&helper, &check_command(&helper).output()?)?;
        let sandbox = Sandbox::new(&helper, support);
        let folder = tempfile::tempdir()?;
        write(folder.path(), "kustomization.yaml", "resources: [a.yaml]\n")?;
        write(folder.path(), "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")?;
        write(folder.path(), "Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n")?;
        write(folder.path(), "templates/a.yaml", "kind: ConfigMap\n")?;
        let here = folder.path().display().to_string();
        let rows = [
            ("kustomize version", &kustomize, vec!["version"]),
            ("kustomize build, one object", &kustomize, vec!["build", &here]),
            ("helm template, one object", &helm, vec!["template", "name", &here]),
        ];
        rows.into_iter().map(|(what, program, arguments)| row(what, program, &arguments, &sandbox, &folder)).collect()
    })
    .await?
}

fn write(folder: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
    Ok(std::fs::write(path, content)?)
}

fn row(
    what: &str,
    program: &Path,
    arguments: &[&str],
    sandbox: &Sandbox,
    folder: &tempfile::TempDir,
) -> anyhow::Result<Row> {
    let policy = Policy::of_program(program).writing([folder.path()]);
    let (mut bare, mut confined, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..STARTS {
        let alone = start(Command::new(program), arguments, folder)?;
        let inside = start(sandbox.command(&policy, program)?, arguments, folder)?;
        // The first ones read the files from disk.
        if round >= STARTS / 10 {
            bare.push(alone);
            confined.push(inside);
            more.push(inside.as_secs_f64() * 1000.0 - alone.as_secs_f64() * 1000.0);
        }
    }
    let more = percentile(&more, 50);
    progress(&format!("{what}: {more:.2} ms more at the median"));
    Ok(Row {
        what: what.to_owned(),
        lockstep: format!("{} ms (+{} ms)", number(percentile(&in_millis(&confined), 50)), number(more)),
        floor: format!("{} ms", number(percentile(&in_millis(&bare), 50))),
        absolute: Some((format!("≤ {TARGET_MS} ms more"), more <= TARGET_MS)),
        ..Row::default()
    })
}

fn start(mut command: Command, arguments: &[&str], folder: &tempfile::TempDir) -> anyhow::Result<Duration> {
    command.args(arguments).env_clear().env("HOME", folder.path()).env("GOMAXPROCS", "2").stdin(Stdio::null());
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}
