use std::time::Duration;

/// Why a forge did not do what it was asked. The message is the forge's own, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// Too many calls. Nothing more should be sent to this account until then.
    #[error("the forge limits the rate of calls{}: {message}", after(*.retry_after))]
    RateLimited {
        /// How long the forge wants to be left alone, if it says so.
        retry_after: Option<Duration>,
        /// The forge's message.
        message: String,
    },
    /// The token is not valid or may not do this.
    #[error("the forge refuses the credential: {message}; check the token's or App's permissions for this repository")]
    Unauthorized {
        /// The forge's message.
        message: String,
    },
    /// No such repository or commit, or none that the credential may see, or not yet.
    #[error("the forge does not have it, or does not show it to this credential: {message}")]
    NotFound {
        /// The forge's message.
        message: String,
    },
    /// The forge or the way to it is broken; trying again can help.
    #[error("the forge cannot be reached or is not well{}: {message}", after(*.retry_after))]
    Transient {
        /// When to try again, if the forge says so.
        retry_after: Option<Duration>,
        /// What happened.
        message: String,
    },
    /// The same call will never work.
    #[error("the forge does not accept it: {message}")]
    Permanent {
        /// The forge's message.
        message: String,
    },
}

fn after(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(" (for {} s)", wait.as_secs())).unwrap_or_default()
}

/// What of an answer tells how it failed.
#[derive(Debug, Default)]
pub(crate) struct Failure<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) remaining: Option<&'a str>,
    /// Seconds since 1970.
    pub(crate) reset: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// Never wait longer than this on a header's word: GitHub's windows are one hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3700);

impl<'a> Failure<'a> {
    pub(crate) fn of(status: u16, headers: &'a reqwest::header::HeaderMap, body: &'a [u8]) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            status,
            retry_after: text("retry-after"),
            remaining: text("x-ratelimit-remaining"),
            reset: text("x-ratelimit-reset"),
            body,
        }
    }

    pub(crate) fn classify(&self, now: jiff::Timestamp) -> FeedbackError {
        let message = format!("{} {}", self.status, message_in(self.body));
        let lower = message.to_ascii_lowercase();
        let retry_after = self.wait(now);
        match self.status {
            401 => FeedbackError::Unauthorized { message },
            429 => FeedbackError::RateLimited { retry_after, message },
            403 if retry_after.is_some() || lower.contains("rate limit") || lower.contains("abuse") => {
                FeedbackError::RateLimited { retry_after, message }
            }
            403 => FeedbackError::Unauthorized { message },
            404 | 410 => FeedbackError::NotFound { message },
            // How GitHub says that a commit is not there (yet).
            422 if lower.contains("no commit found") || lower.contains("no ref found") => {
                FeedbackError::NotFound { message }
            }
            408 | 425 | 500..=599 => FeedbackError::Transient { retry_after, message },
            _ => FeedbackError::Permanent { message },
        }
    }

    /// `Retry-After` in seconds or as a date; else the reset of a limit that is used up.
    fn wait(&self, now: jiff::Timestamp) -> Option<Duration> {
        let until =
            |then: jiff::Timestamp| Duration::from_secs(then.duration_since(now).as_secs().max(1).unsigned_abs());
        let header = self.retry_after.and_then(|text| {
            let seconds = text.trim().parse().ok().map(Duration::from_secs);
            seconds.or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|date| until(date.timestamp())))
        });
        let used_up = self.remaining.is_some_and(|remaining| remaining.trim() == "0");
        let reset = self.reset.filter(|_| used_up).and_then(|reset| reset.trim().parse().ok());
        let reset = reset.and_then(|reset| jiff::Timestamp::from_second(reset).ok()).map(until);
        header.or(reset).map(|wait| wait.min(LONGEST_WAIT))
    }
}

/// The `message` of a JSON answer with what its `errors` add, else the beginning of the text.
fn message_in(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        message: String,
        #[serde(default)]
        errors: Option<serde_json::Value>,
    }
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { message, errors: Some(errors) }) => format!("{message} {errors}"),
        Ok(Answer { message, errors: None }) => message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    if line.trim().is_empty() { "(no message)".into() } else { line.trim().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classification() {
        let now = jiff::Timestamp::from_second(1_000).unwrap();
        let limited = |seconds: Option<u64>| (Some("RateLimited"), seconds);
        let plain = |kind| (Some(kind), None);
        let case =
            |status, retry_after, remaining, reset, body| Failure { status, retry_after, remaining, reset, body };
        let cases = [
            (case(401, None, None, None, b"{}" as &[u8]), plain("Unauthorized")),
            (case(403, None, Some("10"), Some("1060"), b""), plain("Unauthorized")),
            (case(403, Some("7"), None, None, b""), limited(Some(7))),
            (case(403, None, Some("0"), Some("1060"), b""), limited(Some(60))),
            (case(403, None, Some("0"), Some("10"), b""), limited(Some(1))),
            (case(403, None, None, None, br#"{"message":"You have exceeded a secondary rate limit"}"#), limited(None)),
            (case(429, None, None, None, b""), limited(None)),
            (case(429, Some("Thu, 01 Jan 1970 00:17:40 GMT"), None, None, b""), limited(Some(60))),
            (case(429, Some("99999999"), None, None, b""), limited(Some(3700))),
            (case(404, None, None, None, b""), plain("NotFound")),
            (case(422, None, None, None, br#"{"message":"No commit found for SHA: 1"}"#), plain("NotFound")),
            (case(422, None, None, None, br#"{"message":"Validation Failed","errors":[1]}"#), plain("Permanent")),
            (case(503, Some("3"), None, None, b""), (Some("Transient"), Some(3))),
            (case(301, None, None, None, b""), plain("Permanent")),
        ];
        for (failure, (kind, seconds)) in cases {
            let error = failure.classify(now);
            let wait = match &error {
                FeedbackError::RateLimited { retry_after, .. } | FeedbackError::Transient { retry_after, .. } => {
                    *retry_after
                }
                _ => None,
            };
            let debug = format!("{error:?}");
            assert_eq!((debug.split(' ').next(), wait.map(|w| w.as_secs())), (kind, seconds), "{failure:?}");
        }
    }

    #[test]
    fn messages() {
        assert_eq!(message_in(br#"{"message":"Bad\ncredentials"}"#), "Bad credentials");
        assert_eq!(message_in(br#"{"message":"Failed","errors":["x"]}"#), r#"Failed ["x"]"#);
        assert_eq!(message_in(b"<html>"), "<html>");
        assert_eq!(message_in(b""), "(no message)");
    }
}
