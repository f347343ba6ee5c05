use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Three waiting rooms for delayed messages.
///
/// A broker looks at the expiry of the first message of a queue only, so a long wait in front holds up the short ones
/// behind it. A room therefore takes waits up to its own length: nobody is held up for longer than that. Longer waits go
/// through the longest room several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    Short,
    Medium,
    Long,
}

impl RetryClass {
    pub(crate) const ALL: [Self; 3] = [Self::Short, Self::Medium, Self::Long];

    fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Short => 2,
            Self::Medium => 30,
            Self::Long => 600,
        })
    }

    /// Where to wait next, and for how long, when `remaining` is left.
    pub(crate) fn next(remaining: Duration) -> (Self, Duration) {
        let fits = Self::ALL.into_iter().find(|class| remaining <= class.longest());
        let class = fits.unwrap_or(Self::Long);
        (class, remaining.clamp(Duration::from_millis(1), class.longest()))
    }

    pub(crate) fn queue(self, of: &str) -> String {
        let suffix = match self {
            Self::Short => "short",
            Self::Medium => "medium",
            Self::Long => "long",
        };
        format!("{of}.retry.{suffix}")
    }
}

pub(crate) fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The moment that is `after` from now, in milliseconds since 1970.
pub(crate) fn due_unix_ms(after: Duration) -> i64 {
    now_unix_ms().saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

/// What is left until that moment; none if it has passed.
pub(crate) fn remaining(due_unix_ms: i64) -> Option<Duration> {
    let left = due_unix_ms.saturating_sub(now_unix_ms());
    u64::try_from(left).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms() {
        let cases = [
            (0, RetryClass::Short, 1),
            (300, RetryClass::Short, 300),
            (2_000, RetryClass::Short, 2_000),
            (2_001, RetryClass::Medium, 2_001),
            (45_000, RetryClass::Long, 45_000),
            (3_600_000, RetryClass::Long, 600_000),
        ];
        for (remaining, class, wait) in cases {
            let expected = (class, Duration::from_millis(wait));
            assert_eq!(RetryClass::next(Duration::from_millis(remaining)), expected, "{remaining} ms");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(remaining(now_unix_ms() - 1), None);
        assert!(remaining(due_unix_ms(Duration::from_secs(60))).unwrap() > Duration::from_secs(59));
        assert_eq!(due_unix_ms(Duration::MAX), i64::MAX);
    }
}
