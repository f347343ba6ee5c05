use std::io;
use std::net::TcpListener;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that the kernel keeps until they are taken; it cuts this to its own limit.
const BACKLOG: i32 = 4096;

/// Lets the process have as many files as it may, and returns how many that are. Programs are started with a low limit for
/// the sake of old ones that cannot count to more; None: there is no limit.
pub(crate) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current
        }
    }
}

/// How many connections there may be at a time: what is wanted, and at most half of the files, since the broker, the port
/// for operators and in `lockstep up` a worker need theirs.
pub(crate) fn most_connections(wanted: usize, files: Option<u64>) -> usize {
    let half = files.and_then(|files| usize::try_from(files / 2).ok()).unwrap_or(usize::MAX);
    wanted.min(half).max(1)
}

/// How many may be taken from the kernel when there may be `most`: those who make way are gone a little after the new ones
/// came.
pub(crate) fn most_taken(most: usize, files: Option<u64>) -> usize {
    let three_quarters = files.and_then(|files| usize::try_from(files / 4 * 3).ok()).unwrap_or(usize::MAX);
    most.saturating_mul(2).min(three_quarters).max(most)
}

/// Has the kernel keep more connections than a listener of the standard library does, so that one who knocks while many do
/// is not turned away.
pub(crate) fn lengthen_queue(listener: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_for_others() {
        for (wanted, files, expected) in
            [(1024, Some(20_000), 1024), (1024, Some(1024), 512), (1024, None, 1024), (0, None, 1), (1024, Some(1), 1)]
        {
            assert_eq!(most_connections(wanted, files), expected, "{wanted} {files:?}");
        }
        for (most, files, expected) in
            [(1024, Some(20_000), 2048), (128, Some(256), 192), (9, None, 18), (1, Some(1), 1)]
        {
            assert_eq!(most_taken(most, files), expected, "{most} {files:?}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let raised = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert!(raised == now.maximum && now.current == now.maximum, "{now:?}");
    }
}
