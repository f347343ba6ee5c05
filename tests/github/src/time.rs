//! The one clock: microseconds since 1970, and the texts that GitHub writes times in.

use jiff::Timestamp;

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

/// `2026-01-31T12:00:00Z`, as nearly every field of GitHub's.
pub(crate) fn iso(us: i64) -> String {
    timestamp(us).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-31T12:00:00.123456Z`, where a millisecond matters.
pub(crate) fn iso_us(us: i64) -> String {
    format!("{:.6}", timestamp(us))
}

/// Whole seconds since 1970.
pub(crate) fn seconds(us: i64) -> i64 {
    us.div_euclid(1_000_000)
}

fn timestamp(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_github_does() {
        let us = 1_700_000_000_123_456;
        assert_eq!(iso(us), "2023-11-14T22:13:20Z");
        assert_eq!(iso_us(us), "2023-11-14T22:13:20.123456Z");
        assert_eq!(seconds(us), 1_700_000_000);
    }
}
