//! A GitHub that runs in the process: git over smart HTTP, the REST calls that Lockstep makes, and signed webhooks.
//!
//! It exists because no GitHub can be run locally. Tests and the demo talk to it by nothing but Git and HTTP, as they would
//! to GitHub, and read afterwards through [`Double`] what arrived. With [`DoubleOptions::openapi`] every call, every answer
//! and every webhook payload is held against GitHub's own OpenAPI description; what does not fit is in
//! [`Double::violations`].
//!
//! It never listens on anything but loopback, never keeps anything but the bare repositories below its folder, and never
//! verifies the signature of an App's token: it is a double, not a forge.
//!
//! ```no_run
//! # async fn example() -> Result<(), github_double::DoubleError> {
//! use github_double::{Double, DoubleOptions};
//!
//! let github = Double::start(DoubleOptions::new("/tmp/github").token("ghp_example")).await?;
//! github.create_repository("acme", "app", None).await?;
//! println!("git clone {}", github.clone_url("acme", "app"));
//! // ... a push over HTTP, a status through github.api_url() ...
//! let head = github.commit_id("acme", "app", "main").await.unwrap_or_default();
//! for status in github.statuses("acme", "app", &head) {
//!     println!("{} is {}", status.context, status.state);
//! }
//! assert!(github.violations().is_empty());
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
pub mod assets;
mod control;
mod core;
mod double;
mod events;
mod faults;
mod git;
mod git_http;
mod http;
mod model;
mod openapi;
mod payloads;
mod pulls;
mod reply;
mod routes;
mod schema;
mod time;
mod views;
mod webhooks;

pub use double::{Double, DoubleError, DoubleOptions, NewPullRequest, TokenAccess};
pub use faults::{Fault, FaultKind, Faults, Lag};
pub use model::{
    ApiCall, Comment, CommitStatus, ContentType, Delivery, Deployment, DeploymentStatus, Hook, PullRequest, Side,
    Target,
};
pub use openapi::{Openapi, OpenapiError, Violation, ViolationKind};
