//! What a render's program may do: its own files, its scratch folder, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sandbox::{Mode, Policy, Sandbox, State, Support};
use tokio::process::Command;

use crate::tool::Run;
use crate::{Limits, RenderConfig, RenderError};

/// How long the question what the kernel enforces may take.
const CHECK: Duration = Duration::from_secs(20);
/// As many files as a program may have open.
const OPEN_FILES: u64 = 4096;

/// How programs are started.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    state: State,
    sandbox: Option<Sandbox>,
    processor_seconds: u64,
}

impl Confinement {
    /// Finds out what the kernel enforces, unless nothing is to be confined.
    pub(crate) async fn new(config: &RenderConfig) -> Result<Self, RenderError> {
        let processor_seconds = config.processor_time.as_secs().max(1);
        if config.sandbox == Mode::Off {
            return Ok(Self { state: State::Off, sandbox: None, processor_seconds });
        }
        let helpers = config.sandbox_helper.clone().map_or_else(sandbox::helpers, |helper| vec![helper]);
        let (helper, support) = first(&helpers).await?;
        let state = sandbox::decide(config.sandbox, support).map_err(|message| RenderError::Sandbox { message })?;
        Ok(Self { state, sandbox: Some(Sandbox::new(helper, support)), processor_seconds })
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Limits that the kernel keeps even if this process is killed.
    pub(crate) fn kernel_limits(&self, limits: &Limits) -> sandbox::Limits {
        sandbox::Limits {
            processor_seconds: self.processor_seconds,
            file_bytes: limits.output_bytes.max(64 << 20),
            open_files: OPEN_FILES,
        }
    }

    /// What one run may do.
    pub(crate) fn policy(&self, run: &Run<'_>, limits: &Limits) -> Policy {
        let mut policy =
            Policy::of_program(&run.tool.path).writing([run.folder, run.home]).limited(self.kernel_limits(limits));
        let mut arguments = run.arguments.iter();
        if arguments.any(|argument| argument == "--helm-command")
            && let Some(helm) = arguments.next()
        {
            policy = policy.with_program(Path::new(helm));
        }
        if run.network {
            policy = policy.with_network();
            if run.tool.name == "kustomize" {
                // It fetches remote bases with Git, which is many programs.
                policy = policy.with_system_programs();
            }
        }
        policy
    }

    /// A command that becomes the program, without its arguments.
    pub(crate) fn command(&self, program: &Path, policy: &Policy) -> Result<Command, RenderError> {
        let Some(sandbox) = &self.sandbox else { return Ok(Command::new(program)) };
        let command = sandbox.command(policy, program).map_err(|e| RenderError::Sandbox { message: e.to_string() })?;
        Ok(Command::from(command))
    }
}

/// The first program that can confine others, and what the kernel enforces. Of another version, such as one that an update
/// has left behind, none is taken.
async fn first(helpers: &[PathBuf]) -> Result<(&PathBuf, Support), RenderError> {
    let mut error = RenderError::Sandbox { message: "there is no program to confine others".into() };
    for helper in helpers {
        match check(helper).await {
            Ok(support) => return Ok((helper, support)),
            Err(other) => error = other,
        }
        tracing::debug!(%error, "sandbox.helper_passed_over");
    }
    Err(error)
}

async fn check(helper: &Path) -> Result<Support, RenderError> {
    let failed = |message: String| RenderError::Sandbox { message };
    let mut command = Command::from(sandbox::check_command(helper));
    let asked = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(CHECK, asked)
        .await
        .map_err(|_| failed(format!("{} does not say what the kernel confines", helper.display())))?
        .map_err(|e| failed(format!("cannot start {} to confine programs: {e}", helper.display())))?;
    sandbox::parse_check(helper, &output).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
