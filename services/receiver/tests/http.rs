//! The receiver over real HTTP, with a bus that the test holds in its hand.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // `attacks.rs` uses the rest.
mod support;

use std::time::Duration;

use bus::PublishError;
use forge::webhook::{Secret, SecretBook};
use receiver::Trust;
use serde_json::{Value, json};
use support::{AFTER, Fixture, Mode, Webhook};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_push_is_accepted_once_it_is_stored() {
    for (path, webhook) in [
        ("/webhooks/github", Webhook::github("push")),
        ("/api/webhook", Webhook::github("push")),
        ("/webhooks/gitea", Webhook::gitea("push")),
        ("/api/webhook", Webhook::gitea("push")),
    ] {
        let fixture = Fixture::start().await;
        let answer = fixture.send(path, &webhook).await;
        assert_eq!(answer.status, 202, "{path}");
        assert_eq!((&answer.body["outcome"], &answer.body["delivery"]), (&json!("accepted"), &json!("d-1")));
        let published = fixture.bus.published();
        let (exchange, key, message) = &published[0];
        assert_eq!(exchange, "lockstep.deliveries");
        assert_eq!(*key, format!("{}.push.acme.gateway", webhook.forge));
        assert_eq!(message.id, "d-1");
        let envelope = wire::Envelope::try_from(message).unwrap();
        assert_eq!(answer.body["trace"], envelope.traceparent.as_ref().unwrap().trace_id());
        assert_eq!(envelope.open::<wire::Delivery>().unwrap().commit(), Some(AFTER));
    }
}

#[tokio::test]
async fn no_answer_before_the_confirmation() {
    let fixture = Fixture::start().await;
    let (gate, webhook) = (fixture.bus.hold(), Webhook::github("push"));
    let send = fixture.send("/webhooks/github", &webhook);
    tokio::pin!(send);
    tokio::select! {
        _ = &mut send => panic!("answered before it was stored"),
        () = gate.entered() => {}
    }
    assert!(fixture.bus.published().is_empty());
    gate.open();
    assert_eq!(send.await.status, 202);
}

#[tokio::test]
async fn pings_and_what_nobody_needs() {
    let fixture = Fixture::start().await;
    let cases = [
        (Webhook::github("ping").with_body(&json!({ "zen": "x" })), 200, "pong"),
        (Webhook::github("star").with_body(&json!({ "action": "created" })), 202, "ignored"),
        (Webhook::github("brand_new").with_body(&json!({})), 202, "ignored"),
        (Webhook::github("pull_request").with_body(&json!({ "action": "assigned" })), 202, "ignored"),
        (Webhook::gitea("repository").with_body(&json!({})), 202, "ignored"),
    ];
    for (webhook, status, outcome) in cases {
        let answer = fixture.send("/api/webhook", &webhook).await;
        assert_eq!((answer.status, &answer.body["outcome"]), (status, &json!(outcome)), "{}", webhook.event);
    }
    assert!(fixture.bus.published().is_empty());
    let page = fixture.get("/metrics").await.text;
    assert!(page.contains(r#"lockstep_receiver_ignored_total{forge="github",event="star"} 1"#), "{page}");
    assert!(page.contains(r#"lockstep_receiver_pings_total{forge="github"} 1"#), "{page}");
}

#[tokio::test]
async fn what_is_not_understood_is_kept_with_its_reason() {
    let fixture = Fixture::start().await;
    for body in ["not json", "{}", r#"{"ref":"refs/heads/main","before":"x","after":"y"}"#] {
        let answer = fixture.send("/webhooks/github", &Webhook::github("push").with_text(body)).await;
        assert_eq!((answer.status, &answer.body["outcome"]), (202, &json!("not understood")), "{body}");
        let (message, reason) = fixture.bus.buried().pop().unwrap();
        assert_eq!(message.body, body);
        assert!(reason.starts_with("github push webhook not understood: "), "{reason}");
        assert_eq!(wire::Envelope::try_from(&message).unwrap().r#type, wire::types::WEBHOOK);
    }
    assert!(fixture.bus.published().is_empty());
    // Not even this is lost when the broker is away.
    fixture.bus.set(Mode::Fail(PublishError::Unavailable { reason: "away".into() }));
    let answer = fixture.send("/webhooks/github", &Webhook::github("push").with_text("not json")).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let fixture = Fixture::start().await;
    let push = || Webhook::github("push");
    let cases = [
        ("no headers of a forge", "/api/webhook", push().without("x-github-event"), 400),
        ("no delivery id", "/webhooks/github", push().without("x-github-delivery"), 400),
        ("an id that is none", "/webhooks/github", push().with("x-github-delivery", "a b"), 400),
        ("another forge's", "/webhooks/gitea", push(), 400),
        ("another forge's", "/webhooks/github", Webhook::gitea("push"), 400),
        ("no signature", "/webhooks/github", push().without("x-hub-signature-256"), 401),
        ("the old signature", "/webhooks/github", push().with("x-hub-signature-256", "sha1=00"), 401),
        ("another body", "/webhooks/github", push().with_forged_text("{}"), 401),
        ("cut short", "/webhooks/github", push().with_forged_text(&push().text()[..100]), 401),
        ("no content type", "/webhooks/github", push().without("content-type"), 415),
        ("another content type", "/webhooks/github", push().with("content-type", "text/plain"), 415),
        ("another path", "/webhooks/gitlab", push(), 404),
        ("another path", "/", push(), 404),
    ];
    for (name, path, webhook, status) in cases {
        let answer = fixture.send(path, &webhook).await;
        assert_eq!(answer.status, status, "{name} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{name}");
        assert_eq!(answer.body["status"], status, "{name}");
        assert!(answer.body["detail"].as_str().unwrap().len() > 10, "{name}");
    }
    let answer = fixture.get("/webhooks/github").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert!(fixture.bus.published().is_empty() && fixture.bus.buried().is_empty());
    let page = fixture.get("/metrics").await.text;
    for (reason, count) in
        [("headers", 5), ("unsigned", 2), ("signature", 2), ("content_type", 2), ("path", 2), ("method", 1)]
    {
        let line = format!("lockstep_receiver_rejected_total{{reason=\"{reason}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
}

#[tokio::test]
async fn the_same_delivery_twice_is_published_twice() {
    // Which of them counts is the consumer's to know: only it knows whether the first one came to a good end.
    let fixture = Fixture::start().await;
    for _ in 0..2 {
        assert_eq!(fixture.send("/webhooks/github", &Webhook::github("push")).await.status, 202);
    }
    let ids: Vec<_> = fixture.bus.published().into_iter().map(|(_, _, message)| message.id).collect();
    assert_eq!(ids, ["d-1", "d-1"]);
}

#[tokio::test]
async fn forms_as_each_forge_signs_them() {
    let fixture = Fixture::start().await;
    for (path, webhook) in [
        ("/webhooks/github", Webhook::github("push").into_form()),
        ("/webhooks/gitea", Webhook::gitea("push").into_form()),
    ] {
        assert_eq!(fixture.send(path, &webhook).await.status, 202, "{path}");
    }
    assert_eq!(fixture.bus.published().len(), 2);
}

#[tokio::test]
async fn a_broker_that_does_not_store_it() {
    let fixture = Fixture::with(|config| config.publish_limit = Duration::from_millis(50)).await;
    let cases = [
        (Mode::Fail(PublishError::Refused { reason: "full".into() }), "broker_refused"),
        (Mode::Fail(PublishError::Unavailable { reason: "away".into() }), "broker_unavailable"),
        (Mode::Fail(PublishError::TimedOut { after: Duration::from_secs(8) }), "broker_timeout"),
        (Mode::Fail(PublishError::Unroutable { exchange: "x".into(), routing_key: "y".into() }), "broker_unroutable"),
        (Mode::Hang, "broker_timeout"),
    ];
    for (mode, reason) in cases {
        fixture.bus.set(mode);
        let answer = fixture.send("/webhooks/github", &Webhook::github("push")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "10"), "{reason}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let page = fixture.get("/metrics").await.text;
        assert!(page.contains(&format!("rejected_total{{reason=\"{reason}\"}}")), "{page}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_not_read() {
    let fixture = Fixture::start().await;
    let limit = 25 * 1024 * 1024;
    // Announced, and nothing of it sent: the answer comes all the same.
    let head = Webhook::github("push").head("/webhooks/github", &format!("content-length: {}", limit + 1));
    assert!(fixture.raw(&[head.as_bytes()]).await.starts_with("HTTP/1.1 413 "));
    // Not announced.
    let fixture = Fixture::with(|config| config.body_limit = 1000).await;
    let head = Webhook::github("push").head("/webhooks/github", "transfer-encoding: chunked");
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let answer = fixture.raw(&[head.as_bytes(), chunk.as_bytes(), chunk.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_accepted() {
    let fixture = Fixture::start().await;
    let mut payload: Value = serde_json::from_str(&Webhook::github("push").text()).unwrap();
    payload["padding"] = json!("");
    let padding = 25 * 1024 * 1024 - payload.to_string().len();
    payload["padding"] = json!("x".repeat(padding));
    let webhook = Webhook::github("push").with_body(&payload);
    assert_eq!(webhook.text().len(), 25 * 1024 * 1024);
    assert_eq!(fixture.send("/webhooks/github", &webhook).await.status, 202);
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let fixture = Fixture::with(|config| config.body_memory = 4 * 1024).await;
    let (unfinished, ping) = (Webhook::github("push"), Webhook::github("ping").with_body(&json!({})));
    let head = unfinished.head("/webhooks/github", "content-length: 2000");
    let mut held = fixture.open(&[head.as_bytes(), "x".repeat(999).as_bytes()]).await;
    while !fixture.get("/metrics").await.text.contains(r#"reserved_bytes{size="small"} 1024"#) {
        tokio::task::yield_now().await;
    }
    // Nobody knows yet whether it is authentic: it makes way.
    assert_eq!(fixture.send("/webhooks/github", &ping).await.status, 200);
    let mut rest = Vec::new();
    let _ = held.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    let page = fixture.get("/metrics").await.text;
    assert!(page.contains(r#"lockstep_receiver_hung_up_total{reason="memory"} 1"#), "{page}");
    // What is authentic does not.
    let gate = fixture.bus.hold();
    let kept = Webhook::github("push").with_text("not json");
    let (kept, refused) = tokio::join!(fixture.send("/webhooks/github", &kept), async {
        gate.entered().await;
        let refused = fixture.send("/webhooks/github", &ping).await;
        gate.open();
        refused
    });
    assert_eq!((kept.status, refused.status, refused.header("retry-after")), (202, 503, "10"));
    while !fixture.get("/metrics").await.text.contains(r#"reserved_bytes{size="small"} 0"#) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn slow_clients_do_not_stay() {
    let limit = Duration::from_millis(200);
    let fixture = Fixture::with(|config| (config.read_limit, config.idle_limit) = (limit, limit)).await;
    let head = Webhook::github("push").head("/webhooks/github", "content-length: 100");
    let body = fixture.raw(&[head.as_bytes(), b"{"]).await;
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
    let headers = fixture.raw(&[b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\n"]).await;
    assert!(headers.starts_with("HTTP/1.1 408 "), "{headers}");
    assert_eq!(fixture.raw(&[b""]).await, "");
    // One that is too long, and too many.
    for (headers, status) in [(format!("x-a: {}", "b".repeat(240_000)), "431"), ("x-a: b\r\n".repeat(30_000), "4")] {
        let endless = format!("POST /webhooks/github HTTP/1.1\r\nhost: x\r\n{headers}");
        let answer = fixture.raw(&[endless.as_bytes()]).await;
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let page = fixture.get("/metrics").await.text;
    for reason in ["idle", "slow_head", "large_head"] {
        assert!(page.contains(&format!("hung_up_total{{reason=\"{reason}\"}} 1")), "{reason} {page}");
    }
}

#[tokio::test]
async fn secrets_by_repository_and_owner() {
    let text = "default: [default-secret]\nowners:\n  acme: [acme-secret, acme-new]\n";
    let book = SecretBook::parse(text, "secrets".as_ref()).unwrap();
    let fixture = Fixture::with(|config| config.trust = Trust::signed(book).unwrap()).await;
    for (secret, status) in [("acme-secret", 202), ("acme-new", 202), ("default-secret", 401)] {
        let webhook = Webhook::github("push").signed_with(&Secret::new(secret).unwrap());
        assert_eq!(fixture.send("/webhooks/github", &webhook).await.status, status, "{secret}");
    }
}

#[tokio::test]
async fn without_a_secret_everybody_is_believed_if_that_is_wanted() {
    assert!(Trust::signed(SecretBook::default()).is_err());
    let fixture = Fixture::with(|config| config.trust = Trust::everybody()).await;
    let webhook = Webhook::github("push").without("x-hub-signature-256");
    assert_eq!(fixture.send("/webhooks/github", &webhook).await.status, 202);
}

#[tokio::test]
async fn health_and_readiness() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/healthz").await.status, 200);
    fixture.bus.declared().await;
    while fixture.get("/readyz").await.status != 200 {
        tokio::task::yield_now().await;
    }
    fixture.bus.set(Mode::Fail(PublishError::Unavailable { reason: "away".into() }));
    let answer = fixture.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("bus: "), "{}", answer.text);
    assert_eq!(fixture.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn operators_can_have_their_own_port() {
    let fixture = Fixture::with(|config| config.admin_listen = Some(([127, 0, 0, 1], 0).into())).await;
    assert_eq!(fixture.get("/metrics").await.status, 404);
    let answer = reqwest::get(format!("http://{}/metrics", fixture.admin_address)).await.unwrap();
    assert_eq!(answer.status(), 200);
    fixture.stop().await;
}

#[tokio::test]
async fn a_stop_drops_no_request_that_is_being_answered() {
    let fixture = Fixture::start().await;
    let gate = fixture.bus.hold();
    let webhook = Webhook::github("push");
    let sends = futures::future::join_all((0..8).map(|_| fixture.send("/webhooks/github", &webhook)));
    let stop = async {
        for _ in 0..8 {
            gate.entered().await;
        }
        fixture.shutdown.cancel();
        // No new connection is taken, while those that are open wait.
        while tokio::net::TcpStream::connect(fixture.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    let (answers, ()) = tokio::join!(sends, stop);
    assert!(answers.iter().all(|answer| answer.status == 202));
    assert_eq!(fixture.bus.published().len(), 8);
    // Clients keep their connections; they do not keep the receiver.
    let begun = std::time::Instant::now();
    fixture.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
