//! Gitea and Forgejo.

pub(crate) mod client;
mod feedback;
mod hooks;
mod pulls;
pub(crate) mod webhook;
