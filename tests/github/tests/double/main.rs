//! The double as its users meet it: through the git program, through HTTP, and as a receiver of webhooks.
#![allow(clippy::unwrap_used)]

mod faults;
mod git;
mod octocrab;
mod payloads;
mod program;
mod rest;
mod support;
mod webhooks;
