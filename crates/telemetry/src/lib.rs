//! What every Lockstep program shows of itself: logs, metrics, and an HTTP port that says whether it is alive and ready.
//!
//! This crate never decides what a service measures or when it is ready, and it never ends a process: the service owns
//! its [`Metrics`], its [`Readiness`] and its shutdown, and this crate only puts them on a port.
//!
//! ```no_run
//! use telemetry::{Admin, LogFormat, Metrics, Readiness};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), telemetry::TelemetryError> {
//! telemetry::init_logs(LogFormat::Text, None)?;
//! let (metrics, readiness, shutdown) = (Metrics::new("lockstep"), Readiness::default(), CancellationToken::new());
//! readiness.set("bus", Err("connecting".into()));
//! let admin = Admin::new(metrics, readiness.clone()).bind("127.0.0.1:9090")?;
//! readiness.set("bus", Ok(()));
//! admin.run(shutdown).await
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod logs;
mod metrics;
mod readiness;

pub use admin::{Admin, BoundAdmin, Routes};
pub use logs::{LogFormat, init_logs};
pub use metrics::Metrics;
pub use readiness::Readiness;

/// What can go wrong while a program starts to show itself.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter does not parse.
    #[error("the log filter {filter:?} is not valid: {reason}; write it like \"info,receiver=debug\"")]
    Filter {
        /// What was given.
        filter: String,
        /// Why it was refused.
        reason: String,
    },
    /// Another part of the program has set up logging before.
    #[error("logging is already set up in this process; call init_logs once, in main")]
    AlreadySet,
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the admin server failed: {0}")]
    Server(#[from] std::io::Error),
}
