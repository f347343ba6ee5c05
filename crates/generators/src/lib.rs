//! From an ApplicationSet to its Applications: the generators and the two template languages.
//!
//! This crate does no I/O: what generators ask of the world is answered by a [`Lookup`]. An error is never an empty result.
//!
//! ```
//! # use generators::*;
//! # async fn example(lookup: &dyn Lookup) -> Result<(), Box<dyn std::error::Error>> {
//! let set = resources::ApplicationSet::parse(serde_json::json!({
//!     "metadata": { "name": "services", "namespace": "argocd" },
//!     "spec": {
//!         "goTemplate": true,
//!         "generators": [{ "list": { "elements": [{ "env": "dev" }, { "env": "prod" }] } }],
//!         "template": { "metadata": { "name": "gateway-{{ .env }}" }, "spec": { "destination": { "name": "{{ .env }}" } } },
//!     },
//! }))?;
//! let expansion = expand(&set, lookup).await?;
//! assert_eq!(expansion.applications[1].name(), "gateway-prod");
//! assert!(expansion.refused.is_empty());
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod expand;
mod forks;
mod generate;
mod glob;
mod lookup;
mod names;
mod params;
mod patch;
mod template;

pub use error::{ExpandError, LookupError, TemplateError};
pub use expand::{Expansion, Inputs, Refused, expand};
pub use forks::{Approvals, ForkPolicy, LabelEvent};
pub use glob::file_globs;
pub use lookup::{
    ClusterEntry, Filter, Lookup, Pattern, PullRequestEntry, PullRequestForge, PullRequestQuery, matches,
};
pub use names::{branch_slug, normalize, slug, slugify};
pub use template::{LEFT_OUT, template};
