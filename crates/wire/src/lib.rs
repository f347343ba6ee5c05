//! The messages that travel between Lockstep's programs, as Rust types: what is in them (generated from
//! `proto/lockstep/v1`), the CloudEvents attributes around them, and the trace context that ties a webhook to its check.
//!
//! This crate never does I/O and knows no broker: an [`Envelope`] is a map of headers and some bytes, and who carries it
//! is not its business.
//!
//! ```
//! use wire::{Delivery, Envelope, Forge, Push, Repository, delivery::Event};
//!
//! # fn main() -> Result<(), wire::WireError> {
//! let repository = Repository { owner: "acme".into(), name: "gateway".into(), ..Default::default() };
//! let push = Push { r#ref: "refs/heads/main".into(), after: "5f".repeat(20), ..Default::default() };
//! let mut delivery = Delivery { id: "72d3162e".into(), repository: Some(repository), ..Default::default() };
//! delivery.set_forge(Forge::Github);
//! delivery.event = Some(Event::Push(push));
//! assert_eq!(delivery.routing_key(), "github.push.acme.gateway");
//!
//! let sent = Envelope::delivery(&delivery);
//! let received = Envelope::from_headers(&sent.headers(), sent.data.clone())?;
//! assert_eq!(received.open::<Delivery>()?, delivery);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod delivery_ext;
mod envelope;
mod error;
mod routing;
mod trace;

#[expect(missing_docs, clippy::large_enum_variant, reason = "generated; the comments are in proto/lockstep/v1")]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/lockstep.v1.rs"));
}

pub use envelope::{Envelope, Typed, types};
pub use error::WireError;
pub use routing::escape_word;
pub use trace::{TraceParent, TraceParentError};
pub use v1::*;
