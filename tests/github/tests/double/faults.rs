//! What goes wrong when it is told to.

use std::time::{Duration, Instant};

use github_double::{Double, Fault, FaultKind, Faults, Lag};
use serde_json::json;

use crate::support::{Api, Receiver, SECRET, SOON, World, try_git};

const STATUSES: &str = "/repos/acme/app/statuses/*";

async fn statuses_path(world: &World) -> String {
    let sha = world.api().get("/repos/acme/app/commits/main").await.body["sha"].as_str().unwrap().to_owned();
    format!("/repos/acme/app/statuses/{sha}")
}

#[tokio::test]
async fn the_next_calls_fail_as_told_and_the_one_after_does_not() {
    let world = World::new().await;
    let path = statuses_path(&world).await;
    let calls = vec![
        Fault::retry_after(STATUSES, 403, 2),
        Fault::retry_after(STATUSES, 429, 1),
        Fault::status(STATUSES, 500).times(2).method("POST"),
        Fault::new(STATUSES, FaultKind::RateLimited { reset_in_seconds: 30 }),
    ];
    world.double.faults(Faults { calls, ..Faults::default() }).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let answer = world.api().post(&path, json!({"state": "success"})).await;
        seen.push((answer.status, answer.header("retry-after").to_owned()));
        if seen.len() == 5 {
            assert_eq!(answer.header("x-ratelimit-remaining"), "0");
        }
    }
    let expected = [(403, "2"), (429, "1"), (500, ""), (500, ""), (403, ""), (201, "")];
    assert_eq!(seen, expected.map(|(status, after)| (status, after.to_owned())));
    assert_eq!(world.double.all_statuses("acme", "app").len(), 1);
    assert_eq!(world.double.calls().iter().filter(|c| c.method == "POST").count(), 6);
    world.end();
}

#[tokio::test]
async fn an_answer_is_lost_although_the_call_was_carried_out() {
    let world = World::new().await;
    let path = statuses_path(&world).await;
    world.double.fault(Fault::status(STATUSES, 502).after());
    assert_eq!(world.api().post(&path, json!({"state": "success"})).await.status, 502);
    assert_eq!(world.double.all_statuses("acme", "app").len(), 1);
    world.end();
}

#[tokio::test]
async fn a_call_hangs_or_is_late() {
    let world = World::new().await;
    for (kind, status) in [(FaultKind::Hang { milliseconds: 300 }, 504), (FaultKind::Delay { milliseconds: 300 }, 200)]
    {
        world.double.fault(Fault::new("/repos/acme/app", kind));
        let began = Instant::now();
        assert_eq!(world.api().get("/repos/acme/app").await.status, status);
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
    world.end();
}

#[tokio::test]
async fn the_rate_limit_ends_and_says_so() {
    let world = World::new().await;
    world.double.rate_limit(2);
    let api = world.api();
    assert_eq!(api.get("/repos/acme/app").await.header("x-ratelimit-remaining"), "1");
    assert_eq!(api.get("/repos/acme/app").await.status, 200);
    let refused = api.get("/repos/acme/app").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    let reset: i64 = refused.header("x-ratelimit-reset").parse().unwrap();
    assert!(reset > jiff::Timestamp::now().as_second());
    world.end();
}

#[tokio::test]
async fn a_push_is_not_visible_at_once() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    let lag = Lag { api_ms: 5_000, git_ms: 5_000 };
    world.double.faults(Faults { lag: Some(lag), ..Faults::default() }).await.unwrap();
    let before = copy.git(&["rev-parse", "HEAD"]).await;
    let commit = copy.commit("x", "x", "X").await;
    copy.git(&["push", "--quiet", "origin", "main"]).await;
    let pushed = Instant::now();
    assert!(copy.git(&["ls-remote", "origin", "refs/heads/main"]).await.starts_with(&before));
    let (fetched, _) = try_git(&copy.path, &["fetch", "--refetch", "origin", &commit]).await;
    let status = world.api().post(&format!("/repos/acme/app/statuses/{commit}"), json!({"state": "success"})).await;
    assert!(pushed.elapsed() < Duration::from_secs(5), "the machine is slower than the lag");
    assert!(!fetched);
    assert_eq!(status.message(), format!("No commit found for SHA: {commit}"));
    let visible = async {
        while !copy.git(&["ls-remote", "origin", "refs/heads/main"]).await.starts_with(&commit) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let path = format!("/repos/acme/app/statuses/{commit}");
        while world.api().post(&path, json!({"state": "success"})).await.status != 201 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, visible).await.expect("it never became visible");
    world.end();
}

#[tokio::test]
async fn a_webhook_is_lost_and_recorded() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    world.double.faults(Faults { lose_deliveries: 1, ..Faults::default() }).await.unwrap();
    world.double.add_hook("acme", "app", &receiver.url, Some(SECRET), &["push"]).await.unwrap();
    let lost = world.delivered("ping", None).await;
    assert_eq!((lost.status_code, lost.status.as_str()), (0, "failed to connect to host"));
    assert!(receiver.received().is_empty());
    world.double.redeliver(&lost);
    let find = |d: &Double| d.deliveries("acme", "app").into_iter().find(|d| d.succeeded());
    assert!(world.double.until(SOON, find).await.unwrap().redelivery);
    world.end();
}

#[tokio::test]
async fn faults_are_set_from_outside() {
    let world = World::new().await;
    let control = Api { base: format!("{}/_double", world.double.url()), ..world.api() };
    let faults = json!({"calls": [{"path": "/repos/*", "times": 5, "kind": "status", "status": 503}]});
    assert_eq!(control.put("/faults", faults).await.status, 204);
    assert_eq!(world.api().get("/repos/acme/app").await.status, 503);
    assert_eq!(control.get("/faults").await.body["calls"][0]["times"], 4);
    assert_eq!(control.delete("/faults").await.status, 204);
    assert_eq!(world.api().get("/repos/acme/app").await.status, 200);
    assert_eq!(control.put("/faults", json!({"call": []})).await.status, 400);
    assert_eq!(control.post("/repositories", json!({"owner": "acme", "name": "other"})).await.status, 204);
    assert_eq!(control.post("/repositories", json!({"owner": "acme", "name": "../x"})).await.status, 400);
    assert_eq!(world.api().get("/repos/acme/other").await.status, 200);
    world.end();
}
