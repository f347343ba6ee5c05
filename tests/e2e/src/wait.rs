//! Waiting for what is to be seen.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Most things are there in a second; a machine that compiles at the same time needs much longer.
pub const LIMIT: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(25);

/// What was looked for, or what is there instead.
pub type Seen<T> = std::result::Result<T, String>;

/// Looks until there is something to see. The error tells what there was at last.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Seen<T>) -> Result<T> {
    within(LIMIT, what, look).await
}

/// The same with a limit of its own.
pub async fn within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Seen<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(instead) if start.elapsed() > limit => bail!("not seen within {limit:?}: {what}; but: {instead}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
