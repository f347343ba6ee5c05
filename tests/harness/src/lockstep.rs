//! The real `lockstep` program.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::sync::OnceCell;

use crate::process::{Process, Program};
use crate::tools::repository_root;

/// How to run it.
#[derive(Clone, Debug, Default)]
pub struct LockstepOptions {
    /// The program; built from this checkout if none is given.
    pub binary: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// Where its output goes, at the end of what is there.
    pub log: PathBuf,
    /// Answers with a success when the program is ready; without it a start is not waited for.
    pub ready: Option<String>,
}

/// A running `lockstep`, killed when dropped.
#[derive(Debug)]
pub struct Lockstep {
    program: Program,
    ready: Option<String>,
    process: Option<Process>,
}

impl Lockstep {
    /// Starts it, and waits until it is ready.
    pub async fn start(options: LockstepOptions) -> Result<Self> {
        let binary = match options.binary {
            Some(binary) => binary,
            None => Self::binary().await?,
        };
        ensure!(!options.log.as_os_str().is_empty(), "lockstep needs a log file");
        let mut program = Program::new(binary, options.log).arguments(options.arguments);
        program.environment = options.environment;
        let mut this = Self { program, ready: options.ready, process: None };
        this.start_again().await?;
        Ok(this)
    }

    /// Starts it again after it has ended, in the same way.
    pub async fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        if let (Some(url), Some(process)) = (&self.ready, &mut self.process) {
            process.ready(url, Duration::from_secs(120)).await?;
        }
        Ok(())
    }

    /// Starts it again without waiting until it is ready.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(!self.is_running(), "lockstep is running already");
        self.process = Some(self.program.start()?);
        Ok(())
    }

    /// SIGKILL, in the middle of whatever it does.
    pub async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("lockstep is not running")?;
        process.kill().await?;
        Ok(())
    }

    /// SIGTERM; waits for an orderly end.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut process = self.process.take().context("lockstep is not running")?;
        process.terminate(limit).await
    }

    /// Stops it in the middle of whatever it does, as if it had no processor, until [`Lockstep::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            process.signal(name);
        }
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.program.log).unwrap_or_default()).into_owned()
    }

    /// The program of this checkout: `$LOCKSTEP_BIN`, or built once per process, like this program with or without
    /// optimisation.
    pub async fn binary() -> Result<PathBuf> {
        static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
        BUILT.get_or_try_init(build).await.cloned()
    }
}

async fn build() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("LOCKSTEP_BIN") {
        return Ok(binary.into());
    }
    let mut command = tokio::process::Command::from(cargo_build("lockstep", &["lockstep", "lockstep-sandbox"]));
    let mut output = Box::pin(command.kill_on_drop(true).output());
    let output = match tokio::time::timeout(Duration::from_secs(2), &mut output).await {
        Ok(output) => output,
        Err(_) => {
            eprintln!("harness: building lockstep");
            output.await
        }
    };
    built("lockstep", &output.context("cannot run cargo")?)
}

/// The program that confines others, of this checkout; built once per process.
pub(crate) fn sandbox_exec() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*known {
        return Ok(path.clone());
    }
    let output = cargo_build("sandbox", &["sandbox-exec"]).output().context("cannot run cargo")?;
    let path = built("sandbox-exec", &output)?;
    Ok(known.insert(path).clone())
}

fn cargo_build(package: &str, binaries: &[&str]) -> std::process::Command {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--package", package, "--profile", profile]);
    command.args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    command.args(["--message-format", "json-render-diagnostics"]).current_dir(repository_root());
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::inherit());
    command
}

/// The program that a build made.
fn built(binary: &str, output: &std::process::Output) -> Result<PathBuf> {
    ensure!(output.status.success(), "cargo build --bin {binary} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().rev() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if message["target"]["name"] == binary
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo names no program");
}
