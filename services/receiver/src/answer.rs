use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use serde::Serialize;

/// Why a request was not accepted. Each has a name in the metrics, a status, and a sentence for whoever set up the
/// webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is served at this path.
    Path,
    /// Only POST is.
    Method,
    /// Headers, content type or signature.
    Webhook(forge::webhook::Rejected),
    /// Over the limit, in bytes.
    TooLarge(usize),
    /// The body did not come in time, or so slowly that it would not.
    Slow,
    /// The body ended before it was complete.
    Broken,
    /// Too many bodies at once for the memory.
    Busy,
    /// The broker has not stored it.
    Broker(&'static str),
}

impl Refusal {
    /// For metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        use forge::webhook::Rejected;
        match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::Webhook(Rejected::Header(_)) => "headers",
            Self::Webhook(Rejected::Twice(_)) => "header_twice",
            Self::Webhook(Rejected::ContentType) => "content_type",
            Self::Webhook(Rejected::Unsigned) => "unsigned",
            Self::Webhook(Rejected::Signature) => "signature",
            Self::TooLarge(_) => "too_large",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Busy => "busy",
            Self::Broker(reason) => reason,
        }
    }

    fn status(&self) -> StatusCode {
        use forge::webhook::Rejected;
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Webhook(Rejected::Header(_) | Rejected::Twice(_)) | Self::Broken => StatusCode::BAD_REQUEST,
            Self::Webhook(Rejected::ContentType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Webhook(Rejected::Unsigned | Rejected::Signature) => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Broker(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Path => {
                "webhooks come in at /webhooks/github, /webhooks/gitea and, told apart by their headers, /api/webhook"
                    .into()
            }
            Self::Method => "only POST is served here".into(),
            Self::Webhook(rejected) => rejected.to_string(),
            Self::TooLarge(limit) => format!("a webhook has at most {limit} bytes"),
            Self::Slow => "the body did not arrive in time, or too slowly to arrive in time".into(),
            Self::Broken => "the body ended before it was complete".into(),
            Self::Busy => "too many webhooks are being received; send it again".into(),
            Self::Broker(_) => "the delivery could not be stored; send it again".into(),
        }
    }

    /// RFC 9457 problem details.
    pub(crate) fn answer(&self) -> HttpResponse {
        let status = self.status();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Method => response.insert_header((ALLOW, "POST")),
            Self::Busy | Self::Broker(_) => response.insert_header((RETRY_AFTER, "10")),
            _ => &mut response,
        };
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.detail(),
        };
        let mut response = response.json(problem);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, actix_web::http::header::HeaderValue::from_static("application/problem+json"));
        response
    }
}

#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

/// What is said to a webhook that was taken.
#[derive(Serialize)]
pub(crate) struct Taken<'a> {
    /// `accepted`, `pong`, `ignored`, `not understood`.
    pub(crate) outcome: &'static str,
    /// The forge's delivery id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery: Option<&'a str>,
    /// The trace in which it is handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// Why it was not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}
