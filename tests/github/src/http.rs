//! One door for everything: git, the REST calls, and the double's own controls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use futures::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::{self, Call};
use crate::core::{Core, Rate};
use crate::faults::{Fault, FaultKind};
use crate::model::ApiCall;
use crate::openapi::{Violation, ViolationKind};
use crate::reply::{Body, Reply};
use crate::routes::{self, Route};
use crate::time::{now_us, seconds};
use crate::{control, git_http};

/// A push may be large; more than this is a mistake in a test.
const LARGEST_BODY: usize = 1 << 30;
const HOUR_US: i64 = 3_600_000_000;

pub(crate) async fn handle(core: web::Data<Core>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let core = core.into_inner();
    let body = match read(payload).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
    let path = request.path().to_owned();
    if let Some(rest) = path.strip_prefix("/_double/") {
        return control::serve(&core, request.method().as_str(), rest, &body).await;
    }
    if let Some(rest) = api_path(&core, &path) {
        return rest_call(&core, &request, rest, query, &body).await;
    }
    let fault = core.state().faults.take(request.method().as_str(), &path);
    match fault {
        None => git_http::serve(&core, &request, &query, &body).await,
        Some(fault) => {
            let served = if fault.after || matches!(fault.kind, FaultKind::Delay { .. }) {
                Some(git_http::serve(&core, &request, &query, &body).await)
            } else {
                None
            };
            match (play(&fault).await, served) {
                (Some(reply), _) => respond(&reply, "text/plain"),
                (None, Some(served)) => served,
                (None, None) => HttpResponse::InternalServerError().finish(),
            }
        }
    }
}

/// The path below the API's base; without a base it is told by its first part.
fn api_path<'a>(core: &Core, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(core.api_prefix.as_str())?;
    let known = rest.starts_with('/')
        && (!core.api_prefix.is_empty() || ["/repos/", "/orgs/", "/app/"].iter().any(|p| rest.starts_with(p)));
    known.then_some(rest)
}

async fn read(mut payload: web::Payload) -> Result<Vec<u8>, HttpResponse> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|e| HttpResponse::BadRequest().body(e.to_string()))?;
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(HttpResponse::PayloadTooLarge().finish());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn rest_call(
    core: &Arc<Core>,
    request: &HttpRequest,
    path: &str,
    query: HashMap<String, String>,
    body: &[u8],
) -> HttpResponse {
    let at_us = now_us();
    let method = request.method().as_str();
    let route = routes::find(method, path);
    let template = route.as_ref().map_or("", |r| r.template);
    let fault = core.state().faults.take(method, path);
    let early = fault.as_ref().filter(|f| !f.after && !matches!(f.kind, FaultKind::Delay { .. }));
    let mut login = String::new();
    let mut reply = match early {
        Some(fault) => play(fault).await.unwrap_or_else(Reply::not_found),
        None => {
            let reply = answer(core, request, route, query, body, &mut login).await;
            let late = match &fault {
                Some(fault) => play(fault).await,
                None => None,
            };
            late.unwrap_or_else(|| conditional(request, reply))
        }
    };
    rate_headers(core, &mut reply);
    let duration_us = now_us() - at_us;
    tracing::debug!(method, path, status = reply.status, duration_us, "call");
    core.state().calls.push(ApiCall {
        method: method.to_owned(),
        path: path.to_owned(),
        template: template.to_owned(),
        status: reply.status,
        login,
        at_us,
        duration_us,
    });
    core.notify();
    respond(&reply, "application/json; charset=utf-8")
}

/// The right answer: who calls, whether it may, what it wants, and whether both sides keep to GitHub's description.
async fn answer(
    core: &Arc<Core>,
    request: &HttpRequest,
    route: Option<Route>,
    query: HashMap<String, String>,
    body: &[u8],
    login: &mut String,
) -> Reply {
    let method = request.method().as_str();
    let Some(route) = route else {
        let message = "the double knows no such call";
        core.violation(Violation::new(ViolationKind::UnknownCall, format!("{method} {}", request.path()), message));
        return Reply::not_found();
    };
    let access = match route.operation {
        operation if operation.is_of_the_app() => Access::App,
        operation if operation.is_about_hooks() => Access::Hooks,
        _ if method == "GET" => Access::Read,
        _ => Access::Write,
    };
    match authorize(core, request, access) {
        Ok(name) => *login = name,
        Err(reply) => return reply,
    }
    if let Err(reply) = count(core) {
        return reply;
    }
    let body = match body {
        [] => Value::Null,
        body => match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => return Reply::error(400, "Problems parsing JSON"),
        },
    };
    let address = format!("{}{}", core.links.web, request.path());
    let accept = request.headers().get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let call = Call { route, query, body, accept, address, login: login.clone() };
    check_request(core, method, &call);
    let reply = api::handle(core, &call).await;
    check_reply(core, method, call.route.template, &reply);
    reply
}

fn check_request(core: &Core, method: &str, call: &Call) {
    let Some(openapi) = &core.openapi else { return };
    for message in openapi.request(method, call.route.template, &call.query, &call.body) {
        core.violation(Violation::new(ViolationKind::Request, format!("{method} {}", call.route.template), message));
    }
}

fn check_reply(core: &Core, method: &str, template: &str, reply: &Reply) {
    let Some(openapi) = &core.openapi else { return };
    let problems = match &reply.body {
        Body::Json(value) => openapi.response(method, template, reply.status, Some(value)),
        Body::Empty => openapi.response(method, template, reply.status, None),
        // Other media types have no schema.
        Body::Text { .. } => Vec::new(),
    };
    for message in problems {
        core.violation(Violation::new(ViolationKind::Response, format!("{method} {template}"), message));
    }
}

/// `ETag`, and 304 for whoever has the answer already.
fn conditional(request: &HttpRequest, reply: Reply) -> Reply {
    if request.method() != actix_web::http::Method::GET || reply.status != 200 {
        return reply;
    }
    let digest = match &reply.body {
        Body::Json(value) => Sha256::digest(value.to_string()),
        Body::Text { text, .. } => Sha256::digest(text),
        Body::Empty => return reply,
    };
    let tag = format!("W/\"{}\"", hex::encode(digest));
    let known = request.headers().get("if-none-match").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if known.split(',').any(|k| opaque(k) == opaque(&tag)) {
        let links = reply.headers.into_iter().filter(|(name, _)| *name == "Link").collect();
        return Reply { status: 304, body: Body::Empty, headers: links }.header("ETag", tag);
    }
    reply.header("ETag", tag)
}

/// What a caller needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Webhooks, even to see them.
    Hooks,
    /// A GitHub App as itself, not as an installation.
    App,
}

/// Who calls; 401 without a valid token, 403 with one that may not.
pub(crate) fn authorize(core: &Core, request: &HttpRequest, access: Access) -> Result<String, Reply> {
    let header = request.headers().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (scheme, credential) = header.split_once(' ').unwrap_or_default();
    let (user, token) = match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(credential).unwrap_or_default(),
        "bearer" | "token" => (String::new(), credential.trim().to_owned()),
        _ => Default::default(),
    };
    let identity = core.state().tokens.get(&token).cloned();
    let identity = identity.filter(|i| i.expires_at_us.is_none_or(|end| end > now_us()));
    if access == Access::App && core.authenticated {
        return if api::is_app_token(&token) {
            Ok("lockstep[bot]".to_owned())
        } else {
            Err(Reply::error(401, "A JSON web token could not be decoded"))
        };
    }
    match identity {
        Some(identity)
            if (access == Access::Write && !identity.write) || (access == Access::Hooks && !identity.hooks) =>
        {
            Err(Reply::error(403, "Resource not accessible by personal access token"))
        }
        Some(identity) => Ok(identity.login),
        None if core.authenticated && token.is_empty() => Err(Reply::error(401, "Requires authentication")),
        None if core.authenticated => Err(Reply::error(401, "Bad credentials")),
        // Without tokens a name is believed, so that a test can play several people.
        None if user.is_empty() => Ok(core.login.clone()),
        None => Ok(user),
    }
}

fn basic(credential: &str) -> Option<(String, String)> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(credential.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Counts against the primary rate limit.
fn count(core: &Core) -> Result<(), Reply> {
    let mut state = core.state();
    let now = now_us();
    if state.rate.reset_at_us <= now {
        state.rate = Rate { limit: state.rate.limit, used: 0, reset_at_us: now + HOUR_US };
    }
    if state.rate.used >= state.rate.limit {
        return Err(Reply::error(403, "API rate limit exceeded for user."));
    }
    state.rate.used += 1;
    Ok(())
}

fn rate_headers(core: &Core, reply: &mut Reply) {
    let mut state = core.state();
    if reply.status == 304 {
        // GitHub does not count these.
        state.rate.used = state.rate.used.saturating_sub(1);
    }
    let Rate { limit, used, reset_at_us } = state.rate;
    let headers = [
        ("X-RateLimit-Limit", limit.to_string()),
        ("X-RateLimit-Remaining", limit.saturating_sub(used).to_string()),
        ("X-RateLimit-Used", used.to_string()),
        ("X-RateLimit-Reset", seconds(reset_at_us).to_string()),
        ("X-RateLimit-Resource", "core".to_owned()),
    ];
    for (name, value) in headers {
        if !reply.headers.iter().any(|(n, _)| *n == name) {
            reply.headers.push((name, value));
        }
    }
}

/// Waits if that is the fault; answers unless the right answer is only to be late.
async fn play(fault: &Fault) -> Option<Reply> {
    match fault.kind {
        FaultKind::Status { status } => Some(Reply::error(status, "Server Error")),
        FaultKind::RetryAfter { status, seconds } => {
            let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            Some(Reply::error(status, message).header("Retry-After", seconds.to_string()))
        }
        FaultKind::RateLimited { reset_in_seconds } => {
            let reset = seconds(now_us()) + i64::try_from(reset_in_seconds).unwrap_or(i64::MAX / 2);
            let reply = Reply::error(403, "API rate limit exceeded for user.");
            Some(reply.header("X-RateLimit-Remaining", "0").header("X-RateLimit-Reset", reset.to_string()))
        }
        FaultKind::Hang { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Some(Reply::error(504, "We couldn't respond to your request in time."))
        }
        FaultKind::Delay { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            None
        }
    }
}

fn respond(reply: &Reply, json_type: &'static str) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in &reply.headers {
        response.insert_header((*name, value.as_str()));
    }
    match &reply.body {
        Body::Empty => response.finish(),
        Body::Json(value) => response.insert_header(("Content-Type", json_type)).body(value.to_string()),
        Body::Text { content_type, text } => response.insert_header(("Content-Type", *content_type)).body(text.clone()),
    }
}
