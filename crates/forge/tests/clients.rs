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

const RECEIVER: &str = "https://lockstep.example/webhooks/github";

fn delivery(id: u64, delivered_at: &str, status_code: u16) -> Value {
    json!({
        "id": id, "guid": format!("guid-{id}"), "delivered_at": delivered_at, "redelivery": false, "duration": 0.1,
        "status": if status_code == 202 { "OK" } else { "failed to connect to host" }, "status_code": status_code,
        "event": "push", "action": null, "installation_id": null, "repository_id": 1, "throttled_at": null,
    })
}

#[tokio::test]
async fn failed_deliveries_are_listed_by_pages_and_asked_for_again() {
    let double = Double::start(|line, _| match line.split_once("/deliveries") {
        None => answer(
            200,
            json!([
                { "id": 2, "active": true, "config": { "url": "https://ci.example/hook" } },
                { "id": 3, "active": true, "config": { "url": RECEIVER } },
                { "id": 4, "active": true, "config": { "url": "https://other.example/x/api/webhook/" } },
                { "id": 5, "active": false, "config": { "url": RECEIVER } },
                { "id": 6, "active": true, "config": {} },
            ]),
        ),
        Some((_, rest)) if rest.ends_with("/attempts") => answer(202, json!({})),
        Some((_, rest)) => {
            let (page, next) = match rest {
                "?per_page=100" => {
                    (json!([delivery(9, "2026-05-03T00:00:09Z", 502), delivery(8, "2026-05-03T00:00:08Z", 202)]), "a+b")
                }
                "?per_page=100&cursor=a%2Bb" => {
                    (json!([delivery(7, "2026-05-02T00:00:00Z", 500), delivery(6, "2026-04-01T00:00:00Z", 500)]), "c")
                }
                _ => (json!([]), "d"),
            };
            // A link to another host is no reason to send the token there.
            let next = next.replace('+', "%2B");
            let link = format!("<http://evil.example/repositories/1/hooks/3/deliveries?cursor={next}>; rel=\"next\"");
            Answer { headers: vec![("link", link)], ..answer(200, page) }
        }
    });
    let client = double.client(ForgeKind::Github, token());
    let redeliveries = client.redeliveries().unwrap();
    let hooks = redeliveries.hooks(&repository()).await.unwrap();
    let paths: Vec<_> = hooks.iter().map(|hook| hook.path()).collect();
    assert_eq!(paths, ["/repos/acme/gateway/hooks/3", "/repos/acme/gateway/hooks/4"]);
    let since = "2026-05-01T00:00:00Z".parse().unwrap();
    let attempts = redeliveries.attempts(&hooks[0], since).await.unwrap();
    let seen: Vec<_> = attempts.iter().map(|one| (one.id, one.guid.as_str(), one.outcome)).collect();
    use forge::redelivery::Outcome::{Delivered, Failed};
    assert_eq!(seen, [(9, "guid-9", Failed), (8, "guid-8", Delivered), (7, "guid-7", Failed)]);
    redeliveries.redeliver(&hooks[0], 9).await.unwrap();
    let base = "/repos/acme/gateway/hooks";
    assert_eq!(
        double.lines(),
        [
            format!("GET {base}?per_page=100"),
            format!("GET {base}/3/deliveries?per_page=100"),
            format!("GET {base}/3/deliveries?per_page=100&cursor=a%2Bb"),
            format!("POST {base}/3/deliveries/9/attempts"),
        ],
        "no page is read that is too old"
    );
    assert!(double.calls.lock().unwrap().iter().all(|call| call.authorization == "Bearer t0ken"));
}

#[tokio::test]
async fn an_organisations_webhook_counts_where_the_repository_has_none() {
    let own = |status| (status, json!([{ "id": 1, "config": { "url": "https://ci.example" } }]));
    let organisation = |url: &str| (200, json!([{ "id": 7, "config": { "url": url } }]));
    let refused = |status| (status, json!({ "message": "Resource not accessible by personal access token" }));
    let repository_right = "Webhooks: read and write\" of the repository (a classic token: the scope admin:repo_hook)";
    let organisation_right = "the scope admin:org_hook";
    for (what, own, organisation, expected) in [
        ("both are shown", own(200), organisation(RECEIVER), Ok(vec!["/orgs/acme/hooks/7"])),
        ("the repository's are not", refused(403), organisation(RECEIVER), Ok(vec!["/orgs/acme/hooks/7"])),
        ("nor has the organisation one", refused(404), organisation("https://ci.example"), Err(repository_right)),
        ("none is shown", refused(403), refused(404), Err(repository_right)),
        ("there is none", own(200), organisation("https://ci.example"), Ok(vec![])),
        ("the organisation's are not shown", own(200), refused(403), Err(organisation_right)),
    ] {
        let double = Double::start(move |line, _| {
            let (status, body) = if line.starts_with("GET /orgs/") { &organisation } else { &own };
            answer(*status, body.clone())
        });
        let client = double.client(ForgeKind::Github, token());
        let found = client.redeliveries().unwrap().hooks(&repository()).await;
        match (found, expected) {
            (Ok(hooks), Ok(paths)) => assert!(hooks.iter().map(|hook| hook.path()).eq(paths), "{what}: {hooks:?}"),
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "{what}: {error}");
                assert!(
                    matches!(error, FeedbackError::Unauthorized { .. } | FeedbackError::NotFound { .. }),
                    "{what}: {error:?}"
                );
            }
            (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn trouble_with_a_list_of_webhooks_is_no_empty_list() {
    for (status, headers, expected) in [
        (502, vec![], "Transient"),
        (403, vec![("retry-after", "7".to_owned())], "RateLimited"),
        (500, vec![], "Transient"),
    ] {
        let double = Double::start(move |_, _| Answer { headers: headers.clone(), ..answer(status, json!({})) });
        let client = double.client(ForgeKind::Github, token());
        let error = client.redeliveries().unwrap().hooks(&repository()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{status}: {error:?}");
        assert_eq!(double.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_app_asks_for_its_own_webhook_as_itself() {
    let double = Double::start(|line, _| match line {
        "GET /app/hook/config" => answer(200, json!({ "url": RECEIVER, "content_type": "json" })),
        line if line.ends_with("/installation") => answer(200, json!({ "id": 77 })),
        line if line.ends_with("/access_tokens") => answer(
            201,
            json!({ "token": "ghs_1", "expires_at": "2099-01-01T00:00:00Z", "permissions": {}, "repositories": [] }),
        ),
        line if line.ends_with("/attempts") => answer(202, json!({})),
        line if line.starts_with("GET /app/hook/deliveries") => {
            answer(200, json!([delivery(9, "2026-05-03T00:00:09Z", 502)]))
        }
        _ => answer(403, json!({ "message": "Resource not accessible by integration" })),
    });
    let private_key_pem = include_str!("data/throwaway-rsa-key.pem").to_owned();
    let client = double.client(ForgeKind::Github, Credential::App { id: 5, private_key_pem });
    let redeliveries = client.redeliveries().unwrap();
    let hooks = redeliveries.hooks(&repository()).await.unwrap();
    assert_eq!(hooks.iter().map(|hook| hook.path()).collect::<Vec<_>>(), ["/app/hook"]);
    let attempts = redeliveries.attempts(&hooks[0], jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    redeliveries.redeliver(&hooks[0], attempts[0].id).await.unwrap();
    let calls = double.calls.lock().unwrap();
    let of_the_app: Vec<_> = calls.iter().filter(|call| call.line.contains("/app/hook")).collect();
    let lines: Vec<_> = of_the_app.iter().map(|call| call.line.as_str()).collect();
    assert_eq!(
        lines,
        ["GET /app/hook/config", "GET /app/hook/deliveries?per_page=100", "POST /app/hook/deliveries/9/attempts"]
    );
    assert!(of_the_app.iter().all(|call| call.authorization.matches('.').count() == 2), "a JWT has three parts");
}

#[tokio::test]
async fn nobody_asks_gitea_or_without_a_credential() {
    let double = Double::start(|_, _| answer(200, json!([])));
    assert!(double.client(ForgeKind::Gitea, token()).redeliveries().is_none());
    assert!(double.client(ForgeKind::Github, Credential::None).redeliveries().is_none());
    assert!(double.lines().is_empty());
}
