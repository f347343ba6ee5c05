//! The half of who starts programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Policy, Support};

/// The first argument that makes our own program the sandbox's second half.
pub(crate) const ENTRY: &str = "sandbox-exec";
/// The argument that asks what holds here. A program without the second half takes it for an option that it does not know.
pub(crate) const CHECK: &str = "--what-holds";
/// How the second half ends when it could not become the program.
pub const FAILED: i32 = 125;
/// How its message begins then.
pub(crate) const REFUSED: &str = "sandbox: ";

/// The small program with the second half, beside our own.
const BESIDE: &str = "lockstep-sandbox";
/// What both halves have to agree on: raised with each change of what they tell each other.
const PROTOCOL: &str = concat!(env!("CARGO_PKG_VERSION"), " 1");

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

/// What the second half answers when it is asked what holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    protocol: String,
    support: Support,
}

impl Answer {
    pub(crate) fn of(support: Support) -> Self {
        Self { protocol: PROTOCOL.to_owned(), support }
    }
}

/// Why a program cannot be started in the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A path that cannot be told.
    #[error("the sandbox cannot be told of a path that is not UTF-8 text: {0}")]
    Path(serde_json::Error),
    /// The helper is something else.
    #[error(
        "{helper} is not a program of this version that can confine others: {answer}; this is a defect, please report it"
    )]
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

/// Where the second half is, the best place first: in a small program beside ours, which is loaded in no time, and in our own,
/// whatever has become of its file.
pub fn helpers() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(BESIDE)).filter(|path| path.is_file());
    beside.into_iter().chain(["/proc/self/exe".into()]).collect()
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
/// If the program is not one that has the second half, in our version.
pub fn parse_check(program: &Path, output: &std::process::Output) -> Result<Support, SandboxError> {
    let text = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str::<Answer>(text.trim()) {
        Ok(answer) if output.status.success() && answer.protocol == PROTOCOL => Ok(answer.support),
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
