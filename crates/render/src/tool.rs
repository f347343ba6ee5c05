//! Running Helm and Kustomize: one process per render, confined, in a cleared environment, with limits that hold.
//!
//! A program runs in a process group of its own, and the whole group is killed when it takes too long, too much memory or
//! prints too much, and when the render is cancelled. Its memory is watched rather than capped by the kernel, because Go
//! programs reserve far more address space than they use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use sandbox::Policy;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::confine::Confinement;
use crate::{Limits, RenderError};

/// How much of a program's standard error is kept.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How often memory is looked at: often enough that a program cannot outgrow the machine in between.
const MEMORY_INTERVAL: Duration = Duration::from_millis(20);

/// A program, found and identified.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    /// What it says of itself, such as `v5.8.0`.
    pub(crate) version: String,
    /// What goes into the key of a render: another build of the same version is another program.
    pub(crate) identity: String,
}

/// One run.
pub(crate) struct Run<'a> {
    pub(crate) tool: &'a Tool,
    pub(crate) arguments: Vec<OsString>,
    /// Working folder.
    pub(crate) folder: &'a Path,
    /// A folder of its own for whatever the program wants to keep; gone after the render.
    pub(crate) home: &'a Path,
    pub(crate) network: bool,
}

/// What a run printed.
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Counts the programs that were started, for metrics and for the tests that prove that none was.
#[derive(Debug, Default)]
pub(crate) struct Starts(AtomicU64);

impl Starts {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tool {
    /// Finds a program on `PATH` or where it is said to be, and asks for its version, confined as it will be later: what
    /// cannot work in the sandbox is found out now.
    pub(crate) async fn probe(name: &'static str, path: &Path, confinement: &Confinement) -> Result<Self, RenderError> {
        let missing =
            |message: String| RenderError::ToolMissing { tool: name, path: path.display().to_string(), message };
        let found = find(path).ok_or_else(|| missing("not found, or not executable".into()))?;
        let found = std::path::absolute(found).map_err(|e| missing(e.to_string()))?;
        let file = std::fs::metadata(&found).map_err(|e| missing(e.to_string()))?;
        let arguments: &[&str] = if name == "helm" { &["version", "--short"] } else { &["version"] };
        let mut command = confinement.command(&found, &Policy::of_program(&found))?;
        let asked = command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null()).output();
        let output = tokio::time::timeout(Duration::from_secs(20), asked)
            .await
            .map_err(|_| missing("its version took more than 20 s".into()))?
            .map_err(|e| missing(e.to_string()))?;
        let version = String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or("").to_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(why) = sandbox::refusal(output.status.code(), &said) {
            let way_out = "or go without the sandbox by `--render-sandbox=off`";
            return Err(missing(format!("{why}, {way_out}")));
        }
        if !output.status.success() || version.is_empty() {
            return Err(missing(format!("`{name} {}` did not print a version", arguments.join(" "))));
        }
        let changed = file.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let identity = format!("{name} {version} {} {}", file.len(), changed.as_nanos());
        Ok(Self { name, path: found, version, identity })
    }
}

fn find(path: &Path) -> Option<PathBuf> {
    let runnable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if path.components().count() > 1 {
        return runnable(path).then(|| path.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(path)).find(|p| runnable(p))
}

/// Runs a program to its end, or kills it at a limit.
pub(crate) async fn run(
    run: Run<'_>,
    limits: &Limits,
    starts: &Starts,
    confinement: &Confinement,
) -> Result<Output, RenderError> {
    let mut command = confinement.command(&run.tool.path, &confinement.policy(&run, limits))?;
    command
        .args(&run.arguments)
        .current_dir(run.folder)
        .env_clear()
        .envs(environment(&run, limits))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let begun = std::time::Instant::now();
    let mut child = command.spawn().map_err(|error| RenderError::ToolMissing {
        tool: run.tool.name,
        path: run.tool.path.display().to_string(),
        message: error.to_string(),
    })?;
    starts.0.fetch_add(1, Ordering::Relaxed);
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let kernel = confinement.kernel_limits(limits);
    group.limit(&kernel);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());

    let work = async {
        let output = read_all(stdout, limits.output_bytes);
        let messages = read_start(stderr);
        let (output, messages) = tokio::join!(output, messages);
        let output = output.map_err(|e| RenderError::io(format!("reading from {}", run.tool.name), e))?;
        if output.len() as u64 > limits.output_bytes {
            return Err(exceeded(run.tool.name, "output", bytes(limits.output_bytes), "max_output_bytes"));
        }
        let status = child.wait().await.map_err(|e| RenderError::io(format!("waiting for {}", run.tool.name), e))?;
        Ok((output, messages, status))
    };
    let watched = async {
        tokio::select! {
            done = work => done,
            () = group.outgrows(limits.memory_bytes) => {
                Err(exceeded(run.tool.name, "memory", bytes(limits.memory_bytes), "memory_limit_bytes"))
            }
        }
    };
    let result = tokio::time::timeout(limits.timeout, watched)
        .await
        .unwrap_or_else(|_| Err(exceeded(run.tool.name, "time", format!("{:?}", limits.timeout), "timeout")));
    let (stdout, stderr, status) = result?;
    group.0 = None;
    tracing::debug!(
        tool = run.tool.name,
        duration_ms = begun.elapsed().as_millis(),
        output_bytes = stdout.len(),
        status = status.code(),
        "program ended"
    );
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    if let Some(why) = sandbox::refusal(status.code(), &stderr) {
        return Err(RenderError::Sandbox { message: format!("{} could not be confined: {why}", run.tool.name) });
    }
    if let Some(error) = ended_by_the_kernel(run.tool.name, status, begun.elapsed(), kernel.processor_seconds) {
        return Err(error);
    }
    Ok(Output { success: status.success(), stdout, stderr })
}

fn environment(run: &Run<'_>, limits: &Limits) -> Vec<(String, OsString)> {
    let mut variables: Vec<(String, OsString)> = vec![
        ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ("HOME".into(), run.home.into()),
        ("TMPDIR".into(), run.home.into()),
        ("LANG".into(), "C.UTF-8".into()),
        ("HELM_NO_PLUGINS".into(), "1".into()),
        // These programs live for milliseconds: collecting garbage early costs Helm a fifth of its time.
        ("GOGC".into(), "400".into()),
        ("GOMEMLIMIT".into(), (limits.memory_bytes / 4 * 3).to_string().into()),
        ("GOMAXPROCS".into(), "2".into()),
        // A remote base may name further ones, which nobody has checked: no repositories of this disk, no helpers.
        ("GIT_ALLOW_PROTOCOL".into(), if run.network { "https:http:ssh" } else { "none" }.into()),
    ];
    if !run.network {
        // Nothing listens there: whatever tries to reach the network fails at once instead of succeeding by accident.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            variables.push((name.into(), "http://127.0.0.1:1".into()));
        }
    }
    variables
}

/// What to say of a program that the kernel has killed: for its processor time, or because memory is short. Neither is told, but
/// the first takes a while: programs use few processors at the same time.
fn ended_by_the_kernel(
    tool: &'static str,
    status: std::process::ExitStatus,
    took: Duration,
    most: u64,
) -> Option<RenderError> {
    use std::os::unix::process::ExitStatusExt as _;
    let killed = [Signal::KILL.as_raw(), Signal::XCPU.as_raw()].contains(&status.signal()?);
    if killed && took.as_secs_f64() >= most as f64 / 4.0 {
        return Some(exceeded(tool, "processor time", format!("{most} s"), "processor_time"));
    }
    killed
        .then(|| RenderError::io(format!("running {tool}"), "the system killed it; mostly that is for want of memory"))
}

fn exceeded(tool: &str, what: &str, limit: String, setting: &'static str) -> RenderError {
    RenderError::Limit { what: format!("the {what} of {tool}"), limit, setting }
}

fn bytes(count: u64) -> String {
    if count.is_multiple_of(1 << 20) { format!("{} MiB", count >> 20) } else { format!("{count} bytes") }
}

/// Reads to the end, or until one byte more than allowed has come.
async fn read_all(source: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if let Some(source) = source {
        source.take(max.saturating_add(1)).read_to_end(&mut content).await?;
    }
    Ok(content)
}

/// Reads to the end and keeps the start: the first message is the one that matters.
async fn read_start(source: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut source) = source else { return kept };
    let mut part = [0; 8192];
    while let Ok(count @ 1..) = source.read(&mut part).await {
        let room = MAX_MESSAGE_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..count.min(room)]);
    }
    kept
}

/// A process group that is killed when this is dropped, unless the program has ended.
struct Group(Option<Pid>);

impl Group {
    /// Limits that the kernel keeps even if this process is killed: processor time, the size of files, no core files. In the
    /// sandbox the program has set them itself, before it began.
    fn limit(&self, limits: &sandbox::Limits) {
        let set = |resource, most: u64| {
            // The program may have ended already; then there is nothing to limit.
            let _ = prlimit(self.0, resource, Rlimit { current: Some(most), maximum: Some(most) });
        };
        if self.0.is_some() {
            set(Resource::Cpu, limits.processor_seconds);
            set(Resource::Fsize, limits.file_bytes);
            set(Resource::Core, 0);
        }
    }

    /// Returns once the processes of the group use more memory than allowed.
    async fn outgrows(&self, most: u64) {
        let Some(pid) = self.0 else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(MEMORY_INTERVAL);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if resident_bytes(pid.as_raw_nonzero().get(), 3) > most {
                return;
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Memory of a process and its descendants; 0 for what has ended.
fn resident_bytes(pid: i32, depth: u32) -> u64 {
    let own = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .unwrap_or(0)
        * 1024;
    if depth == 0 {
        return own;
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let below: u64 = children
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<i32>>())
        .map(|child| resident_bytes(child, depth - 1))
        .sum();
    own + below
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
