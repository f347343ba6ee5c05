//! Confines a program that works on what strangers wrote: it reads, writes and executes only what it is given, opens no socket,
//! starts no other program, and has its limits from the kernel.
//!
//! It works without privileges and without user namespaces: our own program is run once more, confines itself with Landlock and
//! seccomp before it has a thread or a secret, and then becomes the program that was asked for. That is why the crate has two
//! halves: [`Sandbox`] for who starts programs, and [`enter_if_asked`], the first line of `main`. A small program with nothing but
//! the second half may stand beside ours ([`helpers`]); it is loaded sooner.
//!
//! The crate decides nothing about programs: a [`Policy`] says what one may do, [`Mode`] what to do where the kernel cannot
//! enforce it. It has no `unsafe`, no threads and no async runtime.
//!
//! ```no_run
//! use sandbox::{Policy, Sandbox};
//!
//! # fn example(support: sandbox::Support) -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::new("/proc/self/exe", support);
//! let policy = Policy::of_program("/usr/bin/helm".as_ref()).writing(["/tmp/render"]);
//! let mut command = sandbox.command(&policy, "/usr/bin/helm".as_ref())?;
//! let output = command.arg("version").env_clear().output()?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod child;
mod elf;
mod files;
mod filter;
mod launch;
mod policy;
mod support;

pub use child::enter_if_asked;
pub use launch::{FAILED, Sandbox, SandboxError, check_command, helpers, parse_check, refusal};
pub use policy::{Limits, Policy};
pub use support::{Mode, State, Support, decide};
