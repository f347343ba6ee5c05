//! The one writer of an account: posts feedback in order, the newest first to count, within the forge's limits.
//!
//! [`Queue`] decides and knows neither clock nor forge; [`Outbox`] drives it. Feedback for the same repository, commit
//! and context forms a *lane*: of what waits in a lane only the newest is posted, one call at a time, and after a final
//! state nothing but another final state. Whatever is taken is settled: posted, coalesced into a newer one, or dead.
//! What is not settled when the process ends stays with whoever handed it in.

mod driver;
mod limits;
mod queue;

pub use driver::{Outbox, OutboxStopped, Outboxes, Outcome, Settle};
pub use limits::{Limits, Window};
pub use queue::{Job, Next, Policy, Queue};
