//! Webhooks in. The receiver authenticates a webhook's raw bytes, parses them into a [`wire::Delivery`], publishes that
//! with the broker's confirmation, and answers 202. It keeps no state, so any number of receivers run side by side.
//!
//! It never answers 2xx before the delivery is on the broker's disk, never publishes what is not
//! [`forge::webhook::Verified`], and never answers an authentic webhook with a 4xx for its content.
//!
//! Everybody can reach its port. `stream` gives the HTTP server of each connection no more bytes than it may have,
//! `connections` decides who makes way when there are too many, and `budget` shares out the memory for bodies.
//!
//! ```no_run
//! use receiver::{Receiver, ReceiverConfig, Trust};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> anyhow::Result<()> {
//! let bus = bus::connect("amqp://127.0.0.1:5672/%2f").await?;
//! let secrets = forge::webhook::SecretBook::load("secrets.yaml".as_ref())?;
//! let config = ReceiverConfig::new("127.0.0.1:8080".parse()?, Trust::signed(secrets)?);
//! let receiver = Receiver::bind(config, bus, telemetry::Metrics::new("lockstep"))?;
//! println!("listening on {}", receiver.address());
//! receiver.run(CancellationToken::new()).await
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod body;
mod budget;
mod config;
mod connections;
mod files;
mod handler;
mod measures;
mod server;
mod stream;

use std::sync::Arc;

use bus::Bus;
use tokio_util::sync::CancellationToken;

pub use config::{ReceiverArgs, ReceiverConfig, Trust};
pub use server::Receiver;

/// Receives webhooks until `shutdown`, then finishes the requests that are being answered.
pub async fn run(config: ReceiverConfig, bus: Arc<dyn Bus>, shutdown: CancellationToken) -> anyhow::Result<()> {
    Receiver::bind(config, bus, telemetry::Metrics::new("lockstep"))?.run(shutdown).await
}
