//! Both clients against a forge that is played by the test: what they send, and what they make of the answers.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use forge::hooks::Ensured;
use forge::{Credential, FeedbackError, ForgeAccount, ForgeClient, ForgeKind, Forges, RepositoryRef};
use serde_json::{Value, json};
use wire::{Check, CheckState, Deployment, DeploymentState};

const COMMIT: &str = "2222222222222222222222222222222222222222";

/// What was asked, and what is answered.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    line: String,
    authorization: String,
    body: Value,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

fn answer(status: u16, body: Value) -> Answer {
    Answer { status, headers: Vec::new(), body }
}

type Script = dyn Fn(&str, &HttpRequest) -> Answer + Send + Sync;

struct Double {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Double {
    fn start(script: impl Fn(&str, &HttpRequest) -> Answer + Send + Sync + 'static) -> Self {
        let (script, calls): (Arc<Script>, _) = (Arc::new(script), Arc::new(Mutex::new(Vec::new())));
        let recorded = calls.clone();
        let server = HttpServer::new(move || {
            let (script, calls) = (script.clone(), recorded.clone());
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let (script, calls) = (script.clone(), calls.clone());
                async move {
                    let line = format!("{} {}", request.method(), request.uri());
                    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
                    let authorization = header.unwrap_or_default().to_owned();
                    let answer = script(&line, &request);
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    calls.lock().unwrap().push(Call { line, authorization, body });
                    let mut response = HttpResponse::build(answer.status.try_into().unwrap());
                    for header in answer.headers {
                        response.insert_header(header);
                    }
                    response.json(answer.body)
                }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { url, calls }
    }

    fn client(&self, kind: ForgeKind, credential: Credential) -> Arc<dyn ForgeClient> {
        let forges = Forges::new(vec![ForgeAccount::new(kind, &self.url, credential)]).unwrap();
        forges.accounts()[0].client().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.line.clone()).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        self.calls.lock().unwrap().iter().map(|call| call.body.clone()).collect()
    }
}

fn token() -> Credential {
    Credential::Token("t0ken".into())
}

fn repository() -> RepositoryRef {
    RepositoryRef { owner: "acme".into(), name: "gateway".into() }
}

fn check() -> Check {
    Check {
        context: "lockstep/prod".into(),
        state: CheckState::Failure.into(),
        description: "x".repeat(200),
        target_url: "javascript:1".into(),
    }
}

fn deployment(state: DeploymentState) -> Deployment {
    Deployment {
        environment: "preview 1".into(),
        state: state.into(),
        description: "Preview".into(),
        environment_url: "https://pr-1.example".into(),
        transient: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn github_takes_a_commit_status() {
    let double = Double::start(|_, _| answer(201, json!({ "id": 1 })));
    double.client(ForgeKind::Github, token()).check(&repository(), COMMIT, &check()).await.unwrap();
    let calls = double.calls.lock().unwrap();
    assert_eq!(calls[0].line, format!("POST /repos/acme/gateway/statuses/{COMMIT}"));
    assert_eq!(calls[0].authorization, "Bearer t0ken");
    let description = format!("{}…", "x".repeat(139));
    assert_eq!(calls[0].body, json!({ "state": "failure", "context": "lockstep/prod", "description": description }));
}

#[tokio::test]
async fn gitea_takes_a_commit_status() {
    let double = Double::start(|_, _| answer(201, json!({ "id": 1 })));
    double.client(ForgeKind::Gitea, token()).check(&repository(), COMMIT, &check()).await.unwrap();
    let calls = double.calls.lock().unwrap();
    assert_eq!(calls[0].line, format!("POST /api/v1/repos/acme/gateway/statuses/{COMMIT}"));
    assert_eq!(calls[0].authorization, "token t0ken");
    assert_eq!((&calls[0].body["state"], &calls[0].body["target_url"]), (&json!("failure"), &json!("")));
}

#[tokio::test]
async fn a_deployment_is_made_once_and_found_again() {
    let exists = Arc::new(Mutex::new(false));
    let seen = exists.clone();
    let double = Double::start(move |line, _| match line {
        line if line.starts_with("GET ") && *seen.lock().unwrap() => answer(200, json!([{ "id": 9 }, { "id": 4 }])),
        line if line.starts_with("GET ") => answer(200, json!([])),
        line if line.ends_with("/deployments") => {
            *seen.lock().unwrap() = true;
            answer(201, json!({ "id": 9 }))
        }
        _ => answer(201, json!({ "id": 1 })),
    });
    let client = double.client(ForgeKind::Github, token());
    let write = async |client: &Arc<dyn ForgeClient>, state| {
        client.deployment(&repository(), COMMIT, &deployment(state)).await.unwrap();
    };
    write(&client, DeploymentState::Inactive).await;
    write(&client, DeploymentState::InProgress).await;
    write(&client, DeploymentState::Success).await;
    // Another process, or this one after a restart.
    write(&double.client(ForgeKind::Github, token()), DeploymentState::Inactive).await;
    let base = "/repos/acme/gateway/deployments";
    let find = format!("GET {base}?ref={COMMIT}&environment=preview+1&per_page=1");
    assert_eq!(
        double.lines(),
        [
            find.clone(),
            find.clone(),
            format!("POST {base}"),
            format!("POST {base}/9/statuses"),
            format!("POST {base}/9/statuses"),
            find,
            format!("GET {base}?environment=preview+1&per_page=30"),
            format!("POST {base}/4/statuses"),
            format!("POST {base}/9/statuses"),
        ]
    );
    let bodies = double.bodies();
    assert_eq!(
        bodies[2],
        json!({
            "ref": COMMIT, "environment": "preview 1", "auto_merge": false, "required_contexts": [],
            "transient_environment": true, "description": "Preview",
        })
    );
    let status =
        |state: &str| json!({ "state": state, "description": "Preview", "environment_url": "https://pr-1.example" });
    assert_eq!(bodies[3..5], [status("in_progress"), status("success")]);
    assert_eq!(bodies[7..], [status("inactive"), status("inactive")]);
}

#[tokio::test]
async fn a_deployment_on_gitea_is_a_status_with_its_link() {
    let double = Double::start(|_, _| answer(201, json!({})));
    let client = double.client(ForgeKind::Gitea, token());
    for state in [DeploymentState::Success, DeploymentState::Inactive] {
        client.deployment(&repository(), COMMIT, &deployment(state)).await.unwrap();
    }
    let status = |description: &str, url: &str| {
        json!({
            "state": "success", "context": "lockstep/deployment/preview 1", "description": description, "target_url": url,
        })
    };
    assert_eq!(double.bodies(), [status("Preview", "https://pr-1.example"), status("Taken down. Preview", "")]);
}

#[tokio::test]
async fn answers_are_told_apart() {
    for kind in [ForgeKind::Github, ForgeKind::Gitea] {
        let double = Double::start(|line, _| match line {
            line if line.contains("/limited/") => {
                Answer { headers: vec![("retry-after", "7".into())], ..answer(403, json!({ "message": "slow down" })) }
            }
            line if line.contains("/broken/") => answer(502, json!({})),
            line if line.contains("/moved/") => Answer { headers: vec![], ..answer(200, json!({})) },
            _ => answer(404, json!({ "message": "Not Found" })),
        });
        let client = double.client(kind, token());
        for (name, expected) in [
            ("limited", "RateLimited { retry_after: Some(7s)"),
            ("broken", "Transient"),
            ("moved", "Permanent"),
            ("gone", "NotFound"),
            ("..", "Permanent"),
        ] {
            let repository = RepositoryRef { owner: "acme".into(), name: name.into() };
            let error = client.check(&repository, COMMIT, &check()).await.unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{kind} {name}: {error:?}");
        }
        assert_eq!(double.lines().len(), 4, "each call is made once, and none for a name that is none");
        let error = client.check(&repository(), "HEAD", &check()).await.unwrap_err();
        assert!(matches!(error, FeedbackError::Permanent { .. }));
    }
}

#[tokio::test]
async fn a_forge_that_is_away_is_transient_and_its_error_shows_no_token() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for kind in [ForgeKind::Github, ForgeKind::Gitea] {
        let forges = Forges::new(vec![ForgeAccount::new(kind, &format!("http://{free}"), token())]).unwrap();
        let error = forges.accounts()[0].client().check(&repository(), COMMIT, &check()).await.unwrap_err();
        assert!(matches!(error, FeedbackError::Transient { .. }), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("t0ken"));
    }
}

#[tokio::test]
async fn a_github_app_acts_through_its_installation() {
    let double = Double::start(|line, _| match line {
        line if line.ends_with("/installation") => answer(200, json!({ "id": 77 })),
        line if line.ends_with("/access_tokens") => answer(
            201,
            json!({ "token": "ghs_1", "expires_at": "2099-01-01T00:00:00Z", "permissions": {}, "repositories": [] }),
        ),
        _ => answer(201, json!({})),
    });
    let private_key_pem = include_str!("data/throwaway-rsa-key.pem").to_owned();
    let client = double.client(ForgeKind::Github, Credential::App { id: 5, private_key_pem });
    for name in ["gateway", "other"] {
        let repository = RepositoryRef { owner: "acme".into(), name: name.into() };
        client.check(&repository, COMMIT, &check()).await.unwrap();
    }
    assert_eq!(
        double.lines(),
        [
            "GET /repos/acme/gateway/installation".to_owned(),
            "POST /app/installations/77/access_tokens".into(),
            format!("POST /repos/acme/gateway/statuses/{COMMIT}"),
            format!("POST /repos/acme/other/statuses/{COMMIT}"),
        ]
    );
    assert_eq!(double.calls.lock().unwrap()[3].authorization, "Bearer ghs_1");
}

#[tokio::test]
async fn all_pages_of_pull_requests() {
    let pull = |number: u64| {
        let side = |full_name: &str| {
            json!({
                "ref": "b", "sha": COMMIT,
                "repo": { "full_name": full_name, "clone_url": format!("https://h/{full_name}.git") },
            })
        };
        json!({
            "number": number, "title": "T", "draft": true, "labels": [{ "name": "preview" }], "user": { "login": "bob" },
            "head": side("bob/gateway"), "base": side("acme/gateway"), "html_url": "https://h/p",
        })
    };
    for (kind, size, path) in [
        (ForgeKind::Github, 100, "/repos/acme/gateway/pulls?state=open&sort=created&direction=asc&per_page=100&page="),
        (ForgeKind::Gitea, 50, "/api/v1/repos/acme/gateway/pulls?state=open&sort=oldest&limit=50&page="),
    ] {
        let double = Double::start(move |line, request| {
            if request.headers().contains_key("if-none-match") {
                return answer(304, json!(null));
            }
            let numbers = if line.ends_with("page=1") { 1..=size } else { size + 1..=size + 1 };
            let headers = vec![("etag", format!("\"{line}\""))];
            Answer { headers, ..answer(200, numbers.map(pull).collect()) }
        });
        let client = double.client(kind, token());
        let pulls = client.open_pulls(&repository()).await.unwrap();
        assert_eq!(pulls.len() as u64, size + 1);
        let last = pulls.last().unwrap();
        assert_eq!((last.number, last.draft, last.fork, last.author.as_str()), (size + 1, true, true, "bob"));
        assert_eq!(last.labels, ["preview"]);
        assert_eq!(last.head.repository, RepositoryRef::from_url("https://h/bob/gateway"));
        assert_eq!(last.head.clone_url.as_deref(), Some("https://h/bob/gateway.git"));
        let pages = [1, 2, 1, 2].map(|page| format!("GET {path}{page}"));
        assert_eq!(double.lines(), pages, "read twice, the second time by its tags");
    }
}

#[tokio::test]
async fn a_webhook_is_created_and_then_updated() {
    let url = "https://lockstep.example/webhooks/github";
    for (kind, expected) in [
        (ForgeKind::Github, ["POST /repos/acme/gateway/hooks", "PATCH /repos/acme/gateway/hooks/3"].as_slice()),
        (
            ForgeKind::Gitea,
            &[
                "POST /api/v1/repos/acme/gateway/hooks",
                "POST /api/v1/repos/acme/gateway/hooks",
                "DELETE /api/v1/repos/acme/gateway/hooks/3",
            ],
        ),
    ] {
        let exists = Arc::new(Mutex::new(false));
        let seen = exists.clone();
        let double = Double::start(move |line, _| match line.split(' ').next().unwrap() {
            "GET" if *seen.lock().unwrap() => answer(
                200,
                json!([{ "id": 2, "config": { "url": "https://other" } }, { "id": 3, "config": { "url": url } }]),
            ),
            "GET" => answer(200, json!([{ "id": 2, "config": {} }])),
            "POST" => answer(201, json!({ "id": 3 })),
            "PATCH" => answer(200, json!({ "id": 3 })),
            _ => answer(204, json!(null)),
        });
        let client = double.client(kind, token());
        let events = forge::hooks::EVENTS;
        assert_eq!(client.ensure_webhook(&repository(), url, "s3cret", &events).await, Ok(Ensured::Created));
        *exists.lock().unwrap() = true;
        assert_eq!(client.ensure_webhook(&repository(), url, "s3cret", &events).await, Ok(Ensured::Updated));
        let lines: Vec<_> = double.lines().into_iter().filter(|line| !line.starts_with("GET")).collect();
        assert_eq!(lines, expected);
        let bodies = double.bodies();
        let created = bodies.iter().find(|body| !body.is_null()).unwrap();
        assert_eq!(created["config"]["secret"], "s3cret");
        assert_eq!(created["config"]["content_type"], "json");
        assert_eq!(created["active"], true);
        assert!(created["events"].as_array().unwrap().contains(&json!("pull_request")));
    }
}
