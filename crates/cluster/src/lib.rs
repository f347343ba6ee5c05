//! One Kubernetes cluster: which kinds it has, reading, watching, server-side apply and deletion, for objects of any kind
//! as JSON.
//!
//! It never decides anything: not what is to be applied, not whether two objects differ, not whose an object is. It never
//! limits requests per second (how many are under way at once is limited, and in which order they go: [`Priority`]), and it
//! never tries again without an end: [`Options`] says how long.
//!
//! ```no_run
//! use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
//! use resources::Object;
//!
//! # async fn example(manifest: Object) -> Result<(), cluster::ClusterError> {
//! let cluster = Cluster::connect(&Kubeconfig::file("kubeconfig"), Options::default()).await?;
//! let applied = cluster.apply(&manifest, &ApplyOptions::default()).await?;
//! println!("Kubernetes {}: {} created: {}", cluster.version().await?, applied.object.key(), applied.created);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod connect;
mod discovery;
mod discreet;
mod error;
mod fence;
mod lease;
mod limiter;
mod live;
mod metadata;
mod migrate;
mod schema;
mod watch;

pub use client::{Applied, ApplyOptions, Cluster, DeleteOptions, Deleted, Propagation, Validate};
pub use connect::{Kubeconfig, Options};
pub use discovery::ApiKind;
pub use error::{ClusterError, FieldConflict};
pub use fence::Fence;
pub use lease::{Lease, LeaseHeld, LeaseOptions, Lost};
pub use limiter::{Priority, RequestLoad, in_flow};
pub use live::{LiveChange, LiveChanges, LiveStore, OwnerOf, Writing};
pub use metadata::MetadataList;
pub use watch::{Sink, WatchEvent};
