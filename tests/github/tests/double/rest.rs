//! The REST calls: what is stored, what is refused, and how.

use serde_json::json;

use crate::support::{Receiver, TOKEN, World, app_token};

const APP: &str = "/repos/acme/app";

async fn head(world: &World) -> String {
    world.api().get("/repos/acme/app/commits/main").await.body["sha"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_commit_has_statuses_of_which_the_newest_counts() {
    let world = World::new().await;
    let api = world.api();
    let sha = head(&world).await;
    let path = format!("{APP}/statuses/{sha}");
    for (context, state) in [("lockstep/a", "pending"), ("lockstep/b", "success"), ("lockstep/a", "success")] {
        let body = json!({"state": state, "context": context, "description": "d", "target_url": "https://l.example/1"});
        let answer = api.post(&path, body).await;
        assert_eq!((answer.status, answer.body["creator"]["login"].as_str()), (201, Some("ada")));
    }
    let listed = api.get(&format!("{APP}/commits/main/statuses")).await;
    let states: Vec<_> = listed.body.as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["success", "success", "pending"]);
    let combined = api.get(&format!("{APP}/commits/{sha}/status")).await.body;
    assert_eq!((&combined["state"], &combined["total_count"]), (&json!("success"), &json!(2)));
    let seen: Vec<_> = world.double.statuses("acme", "app", &sha).into_iter().map(|s| (s.context, s.state)).collect();
    let expected = [("lockstep/a", "pending"), ("lockstep/b", "success"), ("lockstep/a", "success")];
    assert_eq!(seen, expected.map(|(c, s)| (c.to_owned(), s.to_owned())));
    world.end();
}

#[tokio::test]
async fn a_status_that_github_refuses_is_refused() {
    let world = World::new().await;
    let api = world.api();
    let sha = head(&world).await;
    let unknown = "0123456789012345678901234567890123456789";
    let long = |n: usize| "x".repeat(n);
    for (sha, body, message) in [
        (unknown, json!({"state": "success"}), format!("No commit found for SHA: {unknown}")),
        (&sha[..7], json!({"state": "success"}), format!("No commit found for SHA: {}", &sha[..7])),
        (
            sha.as_str(),
            json!({"state": "success", "description": long(141)}),
            "description is too long (maximum is 140 characters)".to_owned(),
        ),
        (
            sha.as_str(),
            json!({"state": "success", "context": long(256)}),
            "context is too long (maximum is 255 characters)".to_owned(),
        ),
        (
            sha.as_str(),
            json!({"state": "success", "target_url": "ftp://x"}),
            "target_url must use http(s) scheme".to_owned(),
        ),
    ] {
        let answer = api.post(&format!("{APP}/statuses/{sha}"), body).await;
        assert_eq!((answer.status, answer.message()), (422, message.as_str()));
    }
    let most = json!({"state": "success", "description": "ü".repeat(140), "context": long(255)});
    assert_eq!(api.post(&format!("{APP}/statuses/{sha}"), most).await.status, 201);
    assert_eq!(api.post("/repos/acme/none/statuses/x", json!({"state": "success"})).await.status, 404);
    world.end();
}

#[tokio::test]
async fn a_commit_and_context_take_a_thousand_statuses() {
    let world = World::new().await;
    let api = world.api();
    let path = format!("{APP}/statuses/{}", head(&world).await);
    for n in 0..1_000 {
        assert_eq!(api.post(&path, json!({"state": "pending", "context": "c"})).await.status, 201, "{n}");
    }
    let answer = api.post(&path, json!({"state": "pending", "context": "c"})).await;
    let message = "This SHA and context has reached the maximum number of statuses.";
    assert_eq!((answer.status, answer.message()), (422, message));
    assert_eq!(api.post(&path, json!({"state": "pending", "context": "d"})).await.status, 201);
    world.end();
}

#[tokio::test]
async fn deployments_keep_their_statuses_and_retire_the_one_before() {
    let world = World::new().await;
    let api = world.api();
    let deploy = json!({"ref": "main", "environment": "dev", "required_contexts": [], "auto_merge": false});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let created = api.post(&format!("{APP}/deployments"), deploy.clone()).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let id = created.body["id"].as_i64().unwrap();
        for state in ["in_progress", "success"] {
            let status = json!({"state": state, "environment_url": "https://dev.example", "description": state});
            assert_eq!(api.post(&format!("{APP}/deployments/{id}/statuses"), status).await.status, 201);
        }
        ids.push(id);
    }
    let newest = |id: i64| format!("{APP}/deployments/{id}/statuses?per_page=1");
    assert_eq!(api.get(&newest(ids[0])).await.body[0]["state"], "inactive");
    assert_eq!(api.get(&newest(ids[1])).await.body[0]["state"], "success");
    let listed = api.get(&format!("{APP}/deployments?environment=dev&ref=main")).await.body;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(api.get(&format!("{APP}/deployments?environment=prod")).await.body, json!([]));
    assert_eq!(api.delete(&format!("{APP}/deployments/{}", ids[1])).await.status, 422);
    assert_eq!(api.delete(&format!("{APP}/deployments/{}", ids[0])).await.status, 204);
    assert_eq!(world.double.deployments("acme", "app").len(), 1);
    world.end();
}

#[tokio::test]
async fn a_deployment_waits_for_green_statuses_unless_told_otherwise() {
    let world = World::new().await;
    let api = world.api();
    let sha = head(&world).await;
    api.post(&format!("{APP}/statuses/{sha}"), json!({"state": "pending", "context": "lockstep/a"})).await;
    let answer = api.post(&format!("{APP}/deployments"), json!({"ref": sha, "environment": "dev"})).await;
    assert_eq!((answer.status, answer.body["message"].as_str().unwrap().contains("checks failed")), (409, true));
    let answer = api.post(&format!("{APP}/deployments"), json!({"ref": sha, "required_contexts": []})).await;
    assert_eq!((answer.status, answer.body["environment"].as_str()), (201, Some("production")));
    world.end();
}

#[tokio::test]
async fn a_pull_request_lives_and_is_merged() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    let api = world.api();
    let commit = copy.branch("feature/x").await;
    let new = json!({"title": "X", "head": "feature/x", "base": "main", "body": "why", "draft": false});
    let created = api.post(&format!("{APP}/pulls"), new.clone()).await;
    assert_eq!((created.status, created.body["head"]["sha"].as_str()), (201, Some(commit.as_str())));
    assert_eq!(
        api.post(&format!("{APP}/pulls"), new).await.message(),
        "A pull request already exists for acme:feature/x."
    );
    let nothing = json!({"title": "Y", "head": "main", "base": "main"});
    assert_eq!(api.post(&format!("{APP}/pulls"), nothing).await.message(), "No commits between main and main");

    let labels = api.post(&format!("{APP}/issues/1/labels"), json!({"labels": ["preview", "bug"]})).await.body;
    assert_eq!(labels.as_array().unwrap().len(), 2);
    assert_eq!(api.delete(&format!("{APP}/issues/1/labels/bug")).await.status, 200);
    assert_eq!(api.delete(&format!("{APP}/issues/1/labels/bug")).await.status, 404);
    let comment = api.post(&format!("{APP}/issues/1/comments"), json!({"body": "first"})).await.body;
    let path = format!("{APP}/issues/comments/{}", comment["id"]);
    assert_eq!(api.patch(&path, json!({"body": "second"})).await.body["body"], "second");
    let comments = api.get(&format!("{APP}/issues/1/comments")).await.body;
    assert_eq!((comments.as_array().unwrap().len(), comments[0]["body"].as_str()), (1, Some("second")));

    let listed = api.get(&format!("{APP}/pulls?state=open&head=acme:feature/x&base=main")).await.body;
    assert_eq!((&listed[0]["number"], &listed[0]["labels"][0]["name"]), (&json!(1), &json!("preview")));
    let stale = api.put(&format!("{APP}/pulls/1/merge"), json!({"sha": head(&world).await})).await;
    assert_eq!(stale.status, 409);
    assert_eq!(api.get(&format!("{APP}/pulls/1/merge")).await.status, 404);
    let merged = api.put(&format!("{APP}/pulls/1/merge"), json!({"sha": commit, "merge_method": "merge"})).await;
    assert_eq!((merged.status, &merged.body["merged"]), (200, &json!(true)));
    assert_eq!(head(&world).await, merged.body["sha"].as_str().unwrap());
    assert_eq!(api.get(&format!("{APP}/pulls/1/merge")).await.status, 204);
    let pull = api.get(&format!("{APP}/pulls/1")).await.body;
    assert_eq!((&pull["state"], &pull["merged"], &pull["comments"]), (&json!("closed"), &json!(true), &json!(1)));
    assert_eq!(api.get(&format!("{APP}/pulls")).await.body, json!([]));
    world.end();
}

#[tokio::test]
async fn a_conflict_cannot_be_merged() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    copy.git(&["switch", "--quiet", "--create", "topic"]).await;
    copy.commit("README.md", "# theirs\n", "Theirs").await;
    copy.git(&["push", "--quiet", "origin", "topic"]).await;
    let new = github_double::NewPullRequest::new("Topic", "topic", "main");
    world.double.open_pull_request("acme", "app", &new).await.unwrap();
    copy.git(&["switch", "--quiet", "main"]).await;
    copy.commit("README.md", "# ours\n", "Ours").await;
    copy.git(&["push", "--quiet", "origin", "main"]).await;
    let pull = world.api().get(&format!("{APP}/pulls/1")).await.body;
    assert_eq!((&pull["mergeable"], &pull["mergeable_state"]), (&json!(false), &json!("dirty")));
    assert_eq!(world.api().put(&format!("{APP}/pulls/1/merge"), json!({})).await.status, 405);
    world.end();
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    for n in 0..5 {
        copy.branch(&format!("topic-{n}")).await;
        let new = github_double::NewPullRequest::new("Topic", &format!("topic-{n}"), "main");
        world.double.open_pull_request("acme", "app", &new).await.unwrap();
    }
    let mut path = format!("{APP}/pulls?per_page=2&state=open");
    let mut numbers = Vec::new();
    loop {
        let answer = world.api().get(&path).await;
        numbers.extend(answer.body.as_array().unwrap().iter().map(|p| p["number"].as_u64().unwrap()));
        let next = answer.header("link").split(", ").find_map(|l| l.strip_suffix("; rel=\"next\"").map(str::to_owned));
        let Some(next) = next else { break };
        path = next.trim_matches(['<', '>']).strip_prefix(world.double.api_url()).unwrap().to_owned();
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    world.end();
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again_and_not_counted() {
    let world = World::new().await;
    let api = world.api();
    let first = api.get(&format!("{APP}/pulls")).await;
    let tag = first.header("etag").to_owned();
    let known = api.send("GET", &format!("{APP}/pulls"), None, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.header("etag")), (304, tag.as_str()));
    assert_eq!(known.header("x-ratelimit-remaining"), first.header("x-ratelimit-remaining"));
    let copy = world.clone("copy").await;
    copy.branch("topic").await;
    let new = github_double::NewPullRequest::new("Topic", "topic", "main");
    world.double.open_pull_request("acme", "app", &new).await.unwrap();
    let changed = api.send("GET", &format!("{APP}/pulls"), None, &[("if-none-match", &tag)]).await;
    assert_eq!(changed.status, 200);
    world.end();
}

#[tokio::test]
async fn tokens_are_needed_and_may_not_everything() {
    let world = World::new().await;
    world.double.add_token("ghp_reader", "bob", github_double::TokenAccess::Read);
    let sha = head(&world).await;
    let post = format!("{APP}/statuses/{sha}");
    for (token, status, posted) in [(None, 401, 401), (Some("ghp_wrong"), 401, 401), (Some("ghp_reader"), 200, 403)] {
        let api = world.api().with_token(token);
        assert_eq!(api.get(APP).await.status, status, "{token:?}");
        assert_eq!(api.post(&post, json!({"state": "success"})).await.status, posted, "{token:?}");
    }
    let basic = world.api().with_token(None);
    let header = format!("token {TOKEN}");
    assert_eq!(basic.send("GET", APP, None, &[("authorization", &header)]).await.status, 200);
    world.end();
}

#[tokio::test]
async fn an_app_gets_a_token_of_its_installation() {
    let world = World::new().await;
    let app = world.api().with_token(Some(&app_token()));
    let installation = app.get(&format!("{APP}/installation")).await;
    assert_eq!(installation.status, 200);
    let path = format!("/app/installations/{}/access_tokens", installation.body["id"]);
    let token = app.post(&path, json!({"repositories": ["app"]})).await;
    assert_eq!(token.status, 201);
    let api = world.api().with_token(token.body["token"].as_str());
    let status = api.post(&format!("{APP}/statuses/{}", head(&world).await), json!({"state": "success"})).await;
    assert_eq!(status.body["creator"]["login"], "lockstep[bot]");
    assert_eq!(world.api().get(&format!("{APP}/installation")).await.status, 401);
    world.end();
}

#[tokio::test]
async fn branches_refs_and_commits_are_found() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    let commit = copy.branch("feature/x").await;
    let api = world.api();
    let branches = api.get(&format!("{APP}/branches")).await.body;
    assert_eq!(branches.as_array().unwrap().len(), 2);
    assert_eq!(api.get(&format!("{APP}/branches/feature/x")).await.body["commit"]["sha"], commit);
    assert_eq!(api.get(&format!("{APP}/git/ref/heads/feature/x")).await.body["object"]["sha"], commit);
    assert_eq!(api.get(&format!("{APP}/git/matching-refs/heads/fea")).await.body.as_array().unwrap().len(), 1);
    let shown = api.get(&format!("{APP}/commits/{commit}")).await.body;
    assert_eq!((&shown["files"][0]["filename"], &shown["stats"]["total"]), (&json!("feature-x.txt"), &json!(1)));
    let sha = [("accept", "application/vnd.github.sha")];
    assert_eq!(api.send("GET", &format!("{APP}/commits/feature/x"), None, &sha).await.body, json!(commit));
    assert_eq!(api.get(&format!("{APP}/git/ref/heads/none")).await.status, 404);
    assert_eq!(api.get(&format!("{APP}/branches/none")).await.status, 404);
    assert_eq!(api.get(&format!("{APP}/commits/none")).await.status, 422);
    world.end();
}

#[tokio::test]
async fn webhooks_are_configured() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let api = world.api();
    let config = json!({"url": receiver.url, "content_type": "json", "secret": "s3cret", "insecure_ssl": "0"});
    let hooks = format!("{APP}/hooks");
    let new = json!({"name": "web", "active": true, "events": ["push", "pull_request"], "config": config});
    let created = api.post(&hooks, new.clone()).await;
    assert_eq!((created.status, &created.body["config"]["secret"]), (201, &json!("********")));
    assert_eq!(api.post(&hooks, new).await.message(), "Hook already exists on this repository");
    let path = format!("{hooks}/{}", created.body["id"]);
    let changed = api.patch(&path, json!({"add_events": ["status"], "active": false})).await.body;
    assert_eq!((&changed["events"], &changed["active"]), (&json!(["push", "pull_request", "status"]), &json!(false)));
    assert!(world.double.hooks("acme", "app")[0].has_secret());
    // As on GitHub: a configuration without a secret removes it.
    api.patch(&path, json!({"config": {"url": receiver.url, "content_type": "json"}})).await;
    assert!(!world.double.hooks("acme", "app")[0].has_secret());
    assert_eq!(api.get(&hooks).await.body.as_array().unwrap().len(), 1);
    assert_eq!(api.delete(&path).await.status, 204);
    assert_eq!(api.get(&path).await.status, 404);
    world.end();
}

#[tokio::test]
async fn what_github_does_not_describe_is_found_out() {
    let world = World::new().await;
    let api = world.api();
    let sha = head(&world).await;
    api.post(&format!("{APP}/statuses/{sha}"), json!({"state": "success", "descripton": "typing error"})).await;
    api.get(&format!("{APP}/pulls?labels=preview")).await;
    api.get(&format!("{APP}/pulls?state=all&per_page=many")).await;
    api.get("/repos/acme/app/no/such/call").await;
    let seen: Vec<String> = world.double.violations().iter().map(|v| v.message.clone()).collect();
    assert_eq!(
        seen,
        [
            "$.descripton: GitHub knows no such field",
            "?labels: GitHub knows no such parameter",
            "?per_page=many: $: a string where integer is expected",
            "the double knows no such call",
        ]
    );
    let control = world.api();
    let url = world.double.url().to_owned();
    let shown = crate::support::Api { base: url, ..control }.get("/_double/violations").await.body;
    assert_eq!(shown.as_array().unwrap().len(), 4);
}
