//! Answers of the REST calls, and GitHub's shape of an error.

use serde_json::{Value, json};

/// An answer. Handlers return it both as `Ok` and as `Err`, so that `?` ends a call early.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: Body,
    pub headers: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    Text { content_type: &'static str, text: String },
}

const DOCUMENTATION: &str = "https://docs.github.com/rest";

impl Reply {
    pub(crate) fn json(status: u16, value: Value) -> Self {
        Self { status, body: Body::Json(value), headers: Vec::new() }
    }

    pub(crate) fn ok(value: Value) -> Self {
        Self::json(200, value)
    }

    pub(crate) fn created(value: Value) -> Self {
        let location = value.get("url").and_then(Value::as_str).map(str::to_owned);
        let reply = Self::json(201, value);
        match location {
            Some(url) => reply.header("Location", url),
            None => reply,
        }
    }

    pub(crate) fn no_content() -> Self {
        Self { status: 204, body: Body::Empty, headers: Vec::new() }
    }

    pub(crate) fn error(status: u16, message: impl Into<String>) -> Self {
        Self::json(
            status,
            json!({"message": message.into(), "documentation_url": DOCUMENTATION, "status": status.to_string()}),
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// 422 as GitHub answers for a field that it does not take.
    pub(crate) fn invalid(resource: &str, field: &str, message: &str) -> Self {
        Self::validation(
            "Validation Failed",
            json!([{"resource": resource, "field": field, "code": "custom", "message": message}]),
        )
    }

    pub(crate) fn validation(message: &str, errors: Value) -> Self {
        Self::json(
            422,
            json!({"message": message, "errors": errors, "documentation_url": DOCUMENTATION, "status": "422"}),
        )
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::error(422, format!("Invalid request.\n\n\"{field}\" wasn't supplied."))
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the double failed");
        Self::error(500, format!("github-double: {error}"))
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
