//! The resources that people write for Argo CD (`Application`, `ApplicationSet`, `AppProject`, group `argoproj.io/v1alpha1`) as
//! Rust types: every field, defaults, validation that names the field, and the CRDs that an API server needs for them.
//!
//! This crate does no I/O, reads no clock and never drops a field that it does not know.
//!
//! ```
//! let application = resources::Application::parse(serde_json::json!({
//!     "apiVersion": "argoproj.io/v1alpha1",
//!     "kind": "Application",
//!     "metadata": { "name": "gateway", "namespace": "argocd" },
//!     "spec": {
//!         "source": { "repoURL": "https://example.com/acme/gitops.git", "path": "envs/dev/gateway" },
//!         "destination": { "name": "in-cluster", "namespace": "dev" },
//!     },
//! }))?;
//! application.validate()?;
//! assert_eq!(application.sources()[0].revision(), "HEAD");
//! # Ok::<(), resources::Invalid>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod annotations;
mod application;
mod application_set;
mod crds;
mod duration;
mod go_regex;
mod object;
mod operation;
mod project;
mod rules;
mod secret;
mod secret_values;
mod selector;
mod source;
mod status;
mod support;
mod validate;

pub use application::*;
pub use application_set::*;
pub use crds::crds;
pub use duration::parse_duration;
pub use go_regex::go_regex;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub use object::{Object, ObjectKey};
pub use operation::*;
pub use project::*;
pub use rules::is_dns_subdomain;
pub use secret::{is_secret_digest, secret_digest};
pub use secret_values::SecretValues;
pub use selector::*;
pub use source::*;
pub use status::*;
pub use support::{Extra, IntOrString, Time};
pub use validate::{Invalid, Problem};

/// The group of all three kinds.
pub const GROUP: &str = "argoproj.io";
/// Group and version of all three kinds.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";
