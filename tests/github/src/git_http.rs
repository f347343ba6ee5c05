//! Git's smart protocol over HTTP, through `git http-backend`.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tokio::io::AsyncWriteExt;

use crate::core::Core;
use crate::git::{self, Bare, GitError};
use crate::http::{Access, authorize};
use crate::pulls;
use crate::routes::decode;

/// What a request to a repository's address wants.
struct Wanted {
    owner: String,
    name: String,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    service_path: &'static str,
    /// Whether it is about pushing.
    push: bool,
}

/// Reads `/owner/name.git/info/refs?service=…` and the two services; `.git` may be left out, as on GitHub.
fn parse(method: &str, path: &str, query: &HashMap<String, String>) -> Option<Wanted> {
    let mut segments = path.trim_start_matches('/').splitn(3, '/');
    let (owner, name, rest) = (segments.next()?, segments.next()?, segments.next()?);
    let (service_path, push) = match (method, rest) {
        ("GET", "info/refs") => match query.get("service").map(String::as_str) {
            Some("git-upload-pack") => ("info/refs", false),
            Some("git-receive-pack") => ("info/refs", true),
            _ => return None,
        },
        ("POST", "git-upload-pack") => ("git-upload-pack", false),
        ("POST", "git-receive-pack") => ("git-receive-pack", true),
        _ => return None,
    };
    let name = decode(name.strip_suffix(".git").unwrap_or(name));
    Some(Wanted { owner: decode(owner), name, service_path, push })
}

pub(crate) async fn serve(
    core: &Arc<Core>,
    request: &HttpRequest,
    query: &HashMap<String, String>,
    body: &[u8],
) -> HttpResponse {
    let Some(wanted) = parse(request.method().as_str(), request.path(), query) else {
        return HttpResponse::NotFound().body("Not Found");
    };
    let login = match authorize(core, request, if wanted.push { Access::Write } else { Access::Read }) {
        Ok(login) => login,
        Err(reply) if reply.status == 401 => {
            return HttpResponse::Unauthorized()
                .insert_header(("WWW-Authenticate", "Basic realm=\"GitHub\""))
                .body("Invalid username or token.");
        }
        Err(_) => return HttpResponse::Forbidden().body("Permission to the repository denied."),
    };
    let repository = core.read(&wanted.owner, &wanted.name, |r| {
        let path = r.replica.clone().filter(|_| !wanted.push).unwrap_or_else(|| r.path.clone());
        (path, r.path.clone(), r.owner.clone(), r.name.clone())
    });
    let Ok((served, path, owner, name)) = repository else {
        return HttpResponse::NotFound().body("Repository not found.");
    };
    let backend = Backend { directory: Bare(served), path: wanted.service_path, login: &login, request, body };
    let result = if wanted.service_path == "git-receive-pack" {
        push(core, &owner, &name, &Bare(path), backend).await
    } else {
        backend.run().await
    };
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "git over HTTP failed");
        HttpResponse::InternalServerError().body(error.to_string())
    })
}

/// Runs the push and tells by the refs before and after what it did.
async fn push(
    core: &Arc<Core>,
    owner: &str,
    name: &str,
    bare: &Bare,
    backend: Backend<'_>,
) -> Result<HttpResponse, GitError> {
    let _writing = core.writing.lock().await;
    let before = bare.refs().await?;
    let login = backend.login.to_owned();
    let response = backend.run().await?;
    let changes = pulls::changes(&before, &bare.refs().await?, &login);
    for change in &changes {
        tracing::debug!(owner, name, r#ref = change.name, before = change.before, after = change.after, "pushed");
    }
    if let Err(reply) = pulls::pushed(core, owner, name, changes).await {
        tracing::error!(?reply, "the push could not be followed up");
    }
    Ok(response)
}

struct Backend<'a> {
    directory: Bare,
    path: &'static str,
    login: &'a str,
    request: &'a HttpRequest,
    body: &'a [u8],
}

impl Backend<'_> {
    async fn run(self) -> Result<HttpResponse, GitError> {
        let header = |name: &str| self.request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut command = git::command();
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.directory.0)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", format!("/{}", self.path))
            .env("REQUEST_METHOD", self.request.method().as_str())
            .env("QUERY_STRING", self.request.query_string())
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_USER", self.login)
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // The backend may answer without reading everything.
                let _ = stdin.write_all(self.body).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output?;
        if !output.stderr.is_empty() {
            tracing::debug!(stderr = %String::from_utf8_lossy(&output.stderr).trim(), "git http-backend");
        }
        response(output.stdout).ok_or_else(|| GitError::Failed {
            command: "http-backend".to_owned(),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// The answer of a CGI program: headers, an empty line, the body.
fn response(output: Vec<u8>) -> Option<HttpResponse> {
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")?;
    let mut response = HttpResponse::Ok();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next()?.parse::<u16>().ok()?;
            response.status(StatusCode::from_u16(code).ok()?);
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.trim()))
            && name != CONTENT_LENGTH
        {
            response.insert_header((name, value));
        }
    }
    let mut body = output;
    body.drain(..end + 4);
    Some(response.body(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gits_own_requests_reach_it() {
        let query = |service: &str| HashMap::from([("service".to_owned(), service.to_owned())]);
        let seen = |method: &str, path: &str, service: &str| {
            parse(method, path, &query(service)).map(|w| (w.owner, w.name, w.service_path, w.push))
        };
        let expected = |service_path, push| Some(("acme".to_owned(), "app".to_owned(), service_path, push));
        assert_eq!(seen("GET", "/acme/app.git/info/refs", "git-upload-pack"), expected("info/refs", false));
        assert_eq!(seen("GET", "/acme/app/info/refs", "git-receive-pack"), expected("info/refs", true));
        assert_eq!(seen("POST", "/acme/app.git/git-receive-pack", ""), expected("git-receive-pack", true));
        for (method, path) in [
            ("GET", "/acme/app.git/info/refs"),
            ("GET", "/acme/app.git/HEAD"),
            ("POST", "/acme/app.git/git-upload-archive"),
            ("GET", "/acme/../etc/passwd"),
        ] {
            assert_eq!(seen(method, path, "git-upload-archive"), None, "{path}");
        }
    }
}
