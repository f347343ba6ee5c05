//! Programs that are started for a test and end with it: when their value is dropped, and also when this process ends in
//! whatever way.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, ChildStdin, Command};

/// Waits for the end of its input, which is the end of this process, then ends the group and removes its scratch folder.
/// The program takes the shell's place, so its process id is the one we know.
const GUARD: &str = r#"exec 3<&0
(trap '' TERM; cat <&3 >/dev/null 2>&1
 kill -TERM 0; sleep 1; test -z "$HARNESS_SCRATCH" || rm -rf "$HARNESS_SCRATCH"; kill -KILL 0) >/dev/null 2>&1 &
exec "$0" "$@" 3<&- </dev/null"#;

/// How long a program may take to end after it was killed.
const KILLED: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to this process's environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts; this process's folder if none.
    pub directory: Option<PathBuf>,
    /// Takes its output and errors, at the end of what is there.
    pub log: PathBuf,
    /// Removed if this process dies without dropping the program.
    pub scratch: Option<PathBuf>,
}

impl Program {
    /// A program with its log.
    pub fn new(path: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            log: log.into(),
            scratch: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Starts it as a process group of its own.
    pub fn start(&self) -> Result<Process> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(GUARD).arg(&self.path).args(&self.arguments).envs(self.environment.iter().cloned());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(scratch) = &self.scratch {
            command.env("HARNESS_SCRATCH", scratch);
        }
        command.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child.id().context("the program ended at once")?;
        let stdin = child.stdin.take().context("the program has no standard input")?;
        Ok(Process { child, pid, log: self.log.clone(), _stdin: stdin })
    }
}

/// A running program and all that it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    log: PathBuf,
    _stdin: ChildStdin,
}

impl Process {
    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        last_lines(&self.log)
    }

    /// Sends a signal to the program alone, for example `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, &self.pid.to_string());
    }

    /// Sends a signal to the program and all that it started.
    pub fn signal_all(&self, name: &str) {
        signal(name, &format!("-{}", self.pid));
    }

    /// SIGKILL to the program and all that it started, as a crash; returns when it is gone.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.signal_all("KILL");
        self.wait(KILLED).await
    }

    /// SIGTERM to the program; returns when it has ended by itself, and fails if it has not within the limit.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal("TERM");
        self.wait(limit).await
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("process {} has not ended within {limit:?}\n{}", self.pid, self.last_words()),
        }
    }

    /// Waits until an URL answers with a success, and fails early if the program ends before.
    pub async fn ready(&mut self, url: &str, limit: Duration) -> Result<()> {
        let client = crate::http_client()?;
        let started = Instant::now();
        loop {
            if let Ok(answer) = client.get(url).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("process {} ended ({status}) before {url} answered\n{}", self.pid, self.last_words());
            }
            if started.elapsed() > limit {
                bail!("{url} does not answer after {limit:?}\n{}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard is of the group until now, so its number cannot be another's.
        self.signal_all("KILL");
        let limit = Instant::now() + KILLED;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `kill(1)`: sending a signal is not in the standard library, and the system call is not safe Rust.
pub(crate) fn signal(name: &str, target: &str) {
    let mut command = std::process::Command::new("kill");
    // That it is gone already is what was wanted.
    let _ = command.args([&format!("-{name}"), "--", target]).stderr(Stdio::null()).status();
}

/// The last lines of a file, for error messages.
pub(crate) fn last_lines(file: &Path) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(25);
    format!("{}:\n{}", file.display(), lines[from..].join("\n"))
}

/// A port of 127.0.0.1 that nobody uses. It is below those that the kernel gives to outgoing connections, so that nobody
/// takes it while a server that had it is down for a moment.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(20_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 30000");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A process that nobody has waited for yet is a Z, and as good as gone.
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn a_program_ends_with_its_value_and_its_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let script = format!("sleep 100 & echo $! > {}; wait", file.display());
        let program = Program::new("/bin/sh", folder.path().join("log")).arguments(["-c", &script]);
        let mut process = program.start().unwrap();
        let child = loop {
            assert!(process.is_running(), "{}", process.last_words());
            match std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
                Some(pid) => break pid,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(alive(child) && alive(process.pid()));
        let pid = process.pid();
        drop(process);
        assert!(!alive(pid));
        // It has its signal; the kernel may need a moment more.
        while alive(child) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_orderly_end_has_a_status_and_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done";
        let program = Program::new("/bin/sh", folder.path().join("log")).arguments(["-c", script]);
        let mut process = program.start().unwrap();
        while !process.last_words().contains("up") {
            tokio::task::yield_now().await;
        }
        assert_eq!(process.terminate(Duration::from_secs(10)).await.unwrap().code(), Some(3));
        assert!(process.last_words().ends_with("bye"));
    }
}
