use std::fmt;
use std::str::FromStr;

use tracing_subscriber::{EnvFilter, fmt as format, layer::SubscriberExt, util::SubscriberInitExt};

use crate::TelemetryError;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is not a log format; use \"text\" or \"json\"")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Sends this process's log to standard error. The filter is, in this order, `filter`, `RUST_LOG`, or `info`.
pub fn init_logs(layout: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let text = filter.or(from_environment.as_deref()).filter(|t| !t.trim().is_empty()).unwrap_or("info");
    let registry = tracing_subscriber::registry().with(parse_filter(&with_defaults(text))?);
    let lines = format::layer().with_writer(std::io::stderr);
    let set = match layout {
        LogFormat::Text => {
            registry.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    set.map_err(|_| TelemetryError::AlreadySet)
}

/// The Kubernetes client logs each refused request as an error and says neither which object it was about nor why: whoever made the
/// request does. What the filter itself says of it counts.
fn with_defaults(text: &str) -> String {
    const CLIENT: &str = "kube_client";
    if text.contains(CLIENT) { text.to_owned() } else { format!("{text},{CLIENT}::client::builder=off") }
}

fn parse_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(text)
        .map_err(|error| TelemetryError::Filter { filter: text.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for layout in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(layout.to_string().parse(), Ok(layout));
        }
        assert!("xml".parse::<LogFormat>().unwrap_err().contains("\"text\" or \"json\""));
    }

    #[test]
    fn a_refused_request_is_logged_by_who_made_it() {
        for (given, used) in [
            ("info", "info,kube_client::client::builder=off"),
            ("warn,worker=debug", "warn,worker=debug,kube_client::client::builder=off"),
            ("info,kube_client=debug", "info,kube_client=debug"),
        ] {
            assert_eq!(with_defaults(given), used);
            assert!(parse_filter(used).is_ok());
        }
    }

    #[test]
    fn a_bad_filter_is_named() {
        assert!(parse_filter("info,receiver=debug").is_ok());
        assert!(parse_filter("receiver=loud").unwrap_err().to_string().contains("receiver=loud"));
    }
}
