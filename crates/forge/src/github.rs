//! GitHub.com and GitHub Enterprise Server.

pub(crate) mod client;
mod feedback;
mod hooks;
mod pulls;
mod redelivery;
pub(crate) mod webhook;
