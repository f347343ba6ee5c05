//! The half of who starts programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Policy, Support};

/// The first argument that makes our own program the sandbox's second half.
pub(crate) const ENTRY: &str = "sandbox-exec";
/// The argument that asks what holds here.
pub(crate) const CHECK: &str = "check";
/// How the second half ends when it could not become the program.
pub const FAILED: i32 = 125;
/// How its message begins then.
pub(crate) const REFUSED: &str = "sandbox: ";

/// Starts programs confined.
#[derive(Clone, Debug)]
pub struct Sandbox {
    helper: PathBuf,
    support: Support,
}

/// What the second half is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) policy: Policy,
    /// What holds on this machine: if it does not hold this time, the program is not started.
    pub(crate) support: Support,
}

/// Why a program cannot be started in the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A path that cannot be told.
    #[error("the sandbox cannot be told of a path that is not UTF-8 text: {0}")]
    Path(serde_json::Error),
    /// The helper is something else.
    #[error("{helper} is not a program that can confine others: {answer}; this is a defect, please report it")]
    NotAHelper {
        /// What was run.
        helper: String,
        /// What it said.
        answer: String,
    },
}

impl Sandbox {
    /// A sandbox whose second half is in `helper`, on a machine where `support` was found to hold.
    pub fn new(helper: impl Into<PathBuf>, support: Support) -> Self {
        Self { helper: helper.into(), support }
    }

    /// A command that becomes `program`, confined. Arguments of the program are added to it, as is everything else.
    ///
    /// # Errors
    /// If a path of the policy is not UTF-8 text.
    pub fn command(&self, policy: &Policy, program: &Path) -> Result<Command, SandboxError> {
        let order = Order { policy: policy.clone(), support: self.support };
        let order = serde_json::to_string(&order).map_err(SandboxError::Path)?;
        let mut command = helper(&self.helper);
        command.arg(order).arg(program);
        Ok(command)
    }
}

/// A command that tries what the kernel enforces here, and prints it for [`parse_check`].
pub fn check_command(program: &Path) -> Command {
    let mut command = helper(program);
    command.arg(CHECK).env_clear();
    command
}

/// What [`check_command`] found.
///
/// # Errors
/// If the program is not one that has the second half.
pub fn parse_check(program: &Path, output: &std::process::Output) -> Result<Support, SandboxError> {
    let text = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(text.trim()) {
        Ok(support) if output.status.success() => Ok(support),
        _ => Err(SandboxError::NotAHelper {
            helper: program.display().to_string(),
            answer: format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()
            ),
        }),
    }
}

/// Why the second half did not become the program, if that is how it ended.
pub fn refusal(code: Option<i32>, stderr: &str) -> Option<&str> {
    let message = stderr.strip_prefix(REFUSED)?;
    (code == Some(FAILED)).then_some(message.trim())
}

fn helper(program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    // What `ps` shows for the moment until it is another program.
    command.arg0(OsStr::new("lockstep-sandbox")).arg(ENTRY);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_failure_of_the_program() {
        assert_eq!(refusal(Some(FAILED), "sandbox: no Landlock\n"), Some("no Landlock"));
        assert_eq!(refusal(Some(1), "sandbox: no Landlock\n"), None);
        assert_eq!(refusal(Some(FAILED), "Error: sandbox: x"), None);
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        use std::os::unix::ffi::OsStrExt as _;
        let policy = Policy::default().reading([OsStr::from_bytes(b"/a\xff")]);
        let told = Sandbox::new("/proc/self/exe", Support::default()).command(&policy, Path::new("/bin/true"));
        assert!(told.unwrap_err().to_string().contains("not UTF-8"));
    }
}
