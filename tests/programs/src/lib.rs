//! The programs that tests, the demonstration and the benchmarks need beside cargo's: found, or built once and kept.
//!
//! ```no_run
//! let kustomize = programs::ensure("kustomize")?;
//! # Ok::<(), anyhow::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

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

/// A program that may have to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// What [`ensure`] calls it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// About how long building takes on two idle cores, in minutes.
    pub minutes: u32,
    /// About how much disk that takes with what Go keeps, in MB.
    pub megabytes: u32,
}

/// Everything that [`ensure`] can build, what takes longest first.
pub const PROGRAMS: &[Program] = &[
    Program { name: "controlplane", title: "a Kubernetes control plane from its sources", minutes: 5, megabytes: 3500 },
    Program { name: "gitea", title: "Gitea", minutes: 3, megabytes: 2000 },
    Program { name: "helm", title: "Helm", minutes: 4, megabytes: 900 },
    Program { name: "kustomize", title: "Kustomize", minutes: 1, megabytes: 200 },
];

/// The path of `controlplane`, `gitea`, `helm`, `kustomize` or `rabbitmq`. Helm and Kustomize are taken from PATH if they are there;
/// what has to be built is built once, kept in the cache folder, and built again when its sources change. Several processes may ask
/// at once. Work of more than two seconds is told on standard error.
///
/// # Errors
/// Says what is missing or what the build said.
pub fn ensure(name: &str) -> Result<PathBuf> {
    found(name, true)?.with_context(|| format!("{name} was not built"))
}

/// Whether [`ensure`] would not have to build it.
pub fn is_there(name: &str) -> bool {
    matches!(found(name, false), Ok(Some(_)))
}

/// The folder for what is kept: `$LOCKSTEP_CACHE`, or `lockstep` in the user's cache folder.
///
/// # Errors
/// If no environment variable tells of a folder, or it cannot be made.
pub fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("LOCKSTEP_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("lockstep")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/lockstep")))
        .context("no folder to keep programs in; set LOCKSTEP_CACHE")?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
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

/// `None`: it would have to be built, and `make` does not want that.
fn found(name: &str, make: bool) -> Result<Option<PathBuf>> {
    match name {
        "helm" => installed("helm", HELM, make),
        "kustomize" => installed("kustomize", KUSTOMIZE, make),
        "controlplane" => built(
            make,
            &Build {
                name,
                sources: "deploy/local/controlplane",
                arguments: &["build", "-trimpath", &linker_flags()],
                package: ".",
                assets: None,
            },
        ),
        "gitea" => built(
            make,
            &Build {
                name,
                sources: "deploy/local/gitea",
                arguments: &["build", "-tags", "sqlite sqlite_unlock_notify"],
                package: "code.gitea.io/gitea",
                assets: Some(("code.gitea.io/gitea", &["templates", "options", "public"])),
            },
        ),
        "rabbitmq" => {
            let debian = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
            let found = if debian.exists() { Some(debian) } else { on_path("rabbitmq-server") };
            let missing = "rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server";
            found.context(missing).map(Some)
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
fn installed(name: &str, (module, version): (&str, &str), make: bool) -> Result<Option<PathBuf>> {
    if let Some(path) = on_path(name) {
        return Ok(Some(path));
    }
    let folder = cache()?.join("tools").join(format!("{name}-{version}"));
    if !make {
        return Ok(Some(folder.join(name)).filter(|program| program.is_file()));
    }
    let program = once(&folder, name, || {
        let mut command = go()?;
        command.env("GOBIN", &folder).env("GOFLAGS", "").args(["install", &format!("{module}@{version}")]);
        run(command, &format!("building {name} {version}"), &duration(name), &folder.join("build.log"))
    });
    program.map(Some)
}

fn duration(name: &str) -> String {
    let minutes = PROGRAMS.iter().find(|program| program.name == name).map_or(1, |program| program.minutes);
    let plural = if minutes == 1 { "" } else { "s" };
    format!("about {minutes} minute{plural} on two idle cores the first time")
}

struct Build<'a> {
    name: &'a str,
    /// The folder of the module, below the root of the repository.
    sources: &'a str,
    arguments: &'a [&'a str],
    package: &'a str,
    /// A module, and its folders that the program reads: copied to `assets` beside it.
    assets: Option<(&'a str, &'a [&'a str])>,
}

/// A program from one of our own modules.
fn built(make: bool, build: &Build<'_>) -> Result<Option<PathBuf>> {
    let sources = repository_root().join(build.sources);
    let folder = cache()?.join("tools").join(format!("{}-{}", build.name, hash(&sources, build.arguments)?));
    if !make {
        return Ok(Some(folder.join(build.name)).filter(|program| program.is_file()));
    }
    let program = once(&folder, build.name, || {
        let mut command = go()?;
        let target = folder.join(format!("{}.part", build.name));
        command.current_dir(&sources).args(build.arguments).arg("-o").arg(&target).arg(build.package);
        run(command, &format!("building {}", build.name), &duration(build.name), &folder.join("build.log"))?;
        if let Some((module, folders)) = build.assets {
            let output = go()?.current_dir(&sources).args(["list", "-m", "-f", "{{.Dir}}", module]).output()?;
            ensure!(output.status.success(), "go list -m {module} failed");
            let from = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            for name in folders {
                copy(&from.join(name), &folder.join("assets").join(name))?;
            }
        }
        // Only a complete program has the name that is looked for.
        fs::rename(&target, folder.join(build.name))?;
        Ok(())
    });
    program.map(Some)
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
        eprintln!("programs: waiting for another process that builds {name}");
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
fn run(mut command: Command, what: &str, duration: &str, log: &Path) -> Result<()> {
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| format!("{what}: cannot start {command:?}"))?;
    let started = Instant::now();
    let mut next = Duration::from_secs(2);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= next {
            if next < Duration::from_secs(30) {
                eprintln!("programs: {what} ({duration})");
                next = Duration::from_secs(30);
            } else {
                eprintln!("programs: {what}, {} s so far", started.elapsed().as_secs());
                next += Duration::from_secs(30);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if started.elapsed() > Duration::from_secs(2) {
        eprintln!("programs: {what} took {} s", started.elapsed().as_secs());
    }
    ensure!(status.success(), "{what} failed ({status})\n{}", last_lines(log));
    Ok(())
}

/// What a failed build said last.
fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
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
    Ok(digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this process and test, gone afterwards.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("lockstep-programs-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_build_is_named_by_its_sources_and_arguments() {
        let folder = Folder::new("hash");
        let write = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
        write("main.go", "package main");
        let first = hash(&folder.0, &["build"]).unwrap();
        write("README.md", "text");
        write("main_test.go", "package main");
        assert_eq!(hash(&folder.0, &["build"]).unwrap(), first);
        assert_ne!(hash(&folder.0, &["build", "-race"]).unwrap(), first);
        write("main.go", "package main // changed");
        assert_ne!(hash(&folder.0, &["build"]).unwrap(), first);
    }

    #[test]
    fn what_is_there_is_not_made_again_and_what_fails_says_why() {
        let folder = Folder::new("once");
        let made = once(&folder.0, "tool", || Ok(fs::write(folder.0.join("tool"), "")?)).unwrap();
        assert_eq!(once(&folder.0, "tool", || bail!("made twice")).unwrap(), made);

        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such module >&2; exit 1"]);
        let error = run(command, "building x", "", &folder.0.join("log")).unwrap_err().to_string();
        assert!(error.contains("building x failed") && error.contains("no such module"), "{error}");
    }

    #[test]
    fn an_unknown_program_is_an_error() {
        assert!(ensure("hammer").unwrap_err().to_string().contains("hammer"));
        assert!(!is_there("hammer"));
    }
}
