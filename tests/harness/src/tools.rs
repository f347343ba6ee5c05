//! The programs that tests need, found or built once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

/// Helm's module and version.
const HELM: (&str, &str) = ("helm.sh/helm/v4/cmd/helm", "v4.3.1");
/// Kustomize's module and version.
const KUSTOMIZE: (&str, &str) = ("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.0");
/// The Kubernetes version that the local control plane says it is; the module's own is in its go.mod.
const KUBERNETES: (&str, &str, &str) = ("v1.36.3", "1", "36");

/// Finds or builds programs.
pub struct Tools;

impl Tools {
    /// The path of `controlplane`, `gitea`, `helm`, `kustomize` or `rabbitmq`. Helm and Kustomize are taken from PATH if
    /// they are there; what has to be built is built once, kept in the cache folder, and built again when its sources
    /// change. Several processes may ask at once. Work of more than two seconds is told on standard error.
    pub async fn ensure(name: &str) -> Result<PathBuf> {
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || ensure_tool(&name)).await?
    }

    /// The folder for what is kept: `$LOCKSTEP_CACHE`, or `lockstep` in the user's cache folder.
    pub fn cache() -> Result<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable("LOCKSTEP_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("lockstep")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/lockstep")))
            .context("no folder to keep programs in; set LOCKSTEP_CACHE")?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

/// The root of the checkout that this crate was built in.
pub fn repository_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A program on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn ensure_tool(name: &str) -> Result<PathBuf> {
    match name {
        "helm" => installed("helm", HELM),
        "kustomize" => installed("kustomize", KUSTOMIZE),
        "controlplane" => built(&Build {
            name,
            sources: "deploy/local/controlplane",
            arguments: &["build", "-trimpath", &linker_flags()],
            package: ".",
            duration: "about five minutes on two cores the first time",
            assets: None,
        }),
        "gitea" => built(&Build {
            name,
            sources: "deploy/local/gitea",
            arguments: &["build", "-tags", "sqlite sqlite_unlock_notify"],
            package: "code.gitea.io/gitea",
            duration: "about three minutes on two cores the first time; needs a C compiler",
            assets: Some(("code.gitea.io/gitea", &["templates", "options", "public"])),
        }),
        "rabbitmq" => {
            let debian = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
            let found = if debian.exists() { Some(debian) } else { on_path("rabbitmq-server") };
            found.context("rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server")
        }
        other => bail!("no tool is called {other:?}"),
    }
}

fn linker_flags() -> String {
    let version = "k8s.io/component-base/version.git";
    let (full, major, minor) = KUBERNETES;
    format!("-ldflags=-s -w -X {version}Version={full} -X {version}Major={major} -X {version}Minor={minor}")
}

/// A Go program at a version, by `go install`.
fn installed(name: &str, (module, version): (&str, &str)) -> Result<PathBuf> {
    if let Some(path) = on_path(name) {
        return Ok(path);
    }
    let folder = Tools::cache()?.join("tools").join(format!("{name}-{version}"));
    once(&folder, name, || {
        let mut command = go()?;
        command.env("GOBIN", &folder).env("GOFLAGS", "").args(["install", &format!("{module}@{version}")]);
        run(command, &format!("building {name} {version}"), "about a minute the first time")
    })
}

struct Build<'a> {
    name: &'a str,
    /// The folder of the module, below the root of the repository.
    sources: &'a str,
    arguments: &'a [&'a str],
    package: &'a str,
    duration: &'a str,
    /// A module, and its folders that the program reads: copied to `assets` beside it.
    assets: Option<(&'a str, &'a [&'a str])>,
}

/// A program from one of our own modules.
fn built(build: &Build<'_>) -> Result<PathBuf> {
    let sources = repository_root().join(build.sources);
    let folder = Tools::cache()?.join("tools").join(format!("{}-{}", build.name, hash(&sources, build.arguments)?));
    once(&folder, build.name, || {
        let mut command = go()?;
        let target = folder.join(format!("{}.part", build.name));
        command.current_dir(&sources).args(build.arguments).arg("-o").arg(&target).arg(build.package);
        run(command, &format!("building {}", build.name), build.duration)?;
        if let Some((module, folders)) = build.assets {
            let output = go()?.current_dir(&sources).args(["list", "-m", "-f", "{{.Dir}}", module]).output()?;
            ensure!(output.status.success(), "go list -m {module} failed");
            let from = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            for name in folders {
                crate::repo::copy(&from.join(name), &folder.join("assets").join(name))?;
            }
        }
        // Only a complete program has the name that is looked for.
        fs::rename(&target, folder.join(build.name))?;
        Ok(())
    })
}

/// The program in its folder, made by the first process that asks while others wait.
fn once(folder: &Path, name: &str, make: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let program = folder.join(name);
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    if lock.try_lock().is_err() {
        eprintln!("harness: waiting for another process that builds {name}");
        lock.lock()?;
    }
    if !program.is_file() {
        make()?;
    }
    ensure!(program.is_file(), "{} was not made", program.display());
    Ok(program)
}

fn go() -> Result<Command> {
    let Some(go) = on_path("go") else {
        bail!("Go is not installed, and a program that the tests need has to be built; install Go 1.26 or newer")
    };
    Ok(Command::new(go))
}

/// Runs a command, tells when it takes long, and shows its output only if it fails.
fn run(mut command: Command, what: &str, duration: &str) -> Result<()> {
    let output = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(output.reopen()?).stderr(output.reopen()?);
    let mut child = command.spawn().with_context(|| format!("{what}: cannot start {command:?}"))?;
    let started = Instant::now();
    let mut next = Duration::from_secs(2);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= next {
            if next < Duration::from_secs(30) {
                eprintln!("harness: {what} ({duration})");
                next = Duration::from_secs(30);
            } else {
                eprintln!("harness: {what}, {} s so far", started.elapsed().as_secs());
                next += Duration::from_secs(30);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if started.elapsed() > Duration::from_secs(2) {
        eprintln!("harness: {what} took {} s", started.elapsed().as_secs());
    }
    ensure!(status.success(), "{what} failed ({status})\n{}", crate::process::last_lines(output.path()));
    Ok(())
}

/// Names a build by what goes into it.
fn hash(sources: &Path, arguments: &[&str]) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        !name.ends_with("_test.go") && (name.ends_with(".go") || name == "go.mod" || name == "go.sum")
    });
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update([0]);
        digest.update(fs::read(&file)?);
    }
    digest.update(arguments.join("\0"));
    Ok(hex::encode(&digest.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_its_sources_and_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("main.go", "package main");
        let first = hash(folder.path(), &["build"]).unwrap();
        write("README.md", "text");
        write("main_test.go", "package main");
        assert_eq!(hash(folder.path(), &["build"]).unwrap(), first);
        assert_ne!(hash(folder.path(), &["build", "-race"]).unwrap(), first);
        write("main.go", "package main // changed");
        assert_ne!(hash(folder.path(), &["build"]).unwrap(), first);
    }

    #[test]
    fn what_is_there_is_not_made_again_and_what_fails_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let made = once(folder.path(), "tool", || Ok(fs::write(folder.path().join("tool"), "")?)).unwrap();
        assert_eq!(once(folder.path(), "tool", || bail!("made twice")).unwrap(), made);

        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such module >&2; exit 1"]);
        let error = run(command, "building x", "").unwrap_err().to_string();
        assert!(error.contains("building x failed") && error.contains("no such module"), "{error}");
    }

    #[tokio::test]
    async fn an_unknown_tool_is_an_error() {
        assert!(Tools::ensure("hammer").await.unwrap_err().to_string().contains("hammer"));
    }
}
