//! The worker: keeps one cluster in lockstep with Git. One per cluster, with credentials for that cluster and no other.
//!
//! The way of a delivery through this crate: [`intake`] takes it from the cluster's queue, finds the applications it
//! concerns in the [`index`], records what is wanted of each and acknowledges; [`queue`] hands each application to
//! [`reconcile`], whose eight steps are a file each; [`tracker`] turns what became of the commit into checks, and
//! [`feedback`] puts them into the outbox that [`outbox`] empties towards the forge.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod application_sets;
pub mod commands;
pub mod config;
pub mod context;
pub mod customizations;
pub mod feedback;
pub mod heads;
pub mod index;
pub mod inspect;
pub mod intake;
pub mod lanes;
pub mod lookup;
pub mod metrics;
pub mod outbox;
pub mod poll;
pub mod projects;
pub mod queue;
pub mod reconcile;
pub mod registry;
pub mod reports;
pub mod run;
pub mod sweep;
pub mod tasks;
mod term;
pub mod timeline;
pub mod tracker;
pub mod tree;
mod troubles;
pub mod wanted;
pub mod watches;
mod ways;

use std::fmt;

pub use config::{Options, WorkerConfig};
pub use context::Context;
pub use run::run;

/// Namespace and name of an Application.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl AppId {
    /// From its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of an Application.
    pub fn of(application: &resources::Application) -> Self {
        Self::new(application.namespace(), application.name())
    }

    /// What Argo CD's tracking calls it: the name, or `namespace_name` outside the control namespace.
    pub fn tracking_name(&self, control_namespace: &str) -> String {
        if self.namespace == control_namespace {
            self.name.clone()
        } else {
            format!("{}_{}", self.namespace, self.name)
        }
    }

    /// The reverse of [`AppId::tracking_name`]. A name cannot contain an underscore, so this is exact.
    pub fn of_tracking_name(name: &str, control_namespace: &str) -> Self {
        match name.split_once('_') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new(control_namespace, name),
        }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
