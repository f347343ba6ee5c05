//! Hostile clients, with a receiver in this process. What they cost in memory is measured in `tests/e2e`, where the receiver
//! has a process of its own.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // `http.rs` uses the rest.
mod support;

use futures::StreamExt as _;
use serde_json::json;
use support::{Fixture, Webhook};
use tokio::io::AsyncReadExt as _;

const PATH: &str = "/webhooks/github";

#[tokio::test]
async fn a_body_without_a_signature_is_not_read() {
    let fixture = Fixture::start().await;
    let unsigned = Webhook::github("push").without("x-hub-signature-256");
    let short = Webhook::github("push").with("x-hub-signature-256", "sha256=00");
    for webhook in [unsigned, short] {
        for length in ["content-length: 26214400", "transfer-encoding: chunked"] {
            // The answer comes, and the connection ends, though nothing of the body was sent.
            let answer = fixture.raw(&[webhook.head(PATH, length).as_bytes()]).await;
            assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close"), "{length}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_header_that_decides_something_comes_once() {
    let fixture = Fixture::start().await;
    let (github, gitea) = (Webhook::github("push"), Webhook::gitea("push"));
    let code = format!("x-hub-signature-256: sha256={}", "0".repeat(64));
    let cases = [
        (PATH, &github, "X-GitHub-Event: ping", "X-GitHub-Event"),
        (PATH, &github, "X-GitHub-Event: push", "X-GitHub-Event"),
        ("/api/webhook", &github, "x-github-event: ping", "X-GitHub-Event"),
        (PATH, &github, "x-github-delivery: d-2", "X-GitHub-Delivery"),
        (PATH, &github, &code, "X-Hub-Signature-256"),
        (PATH, &github, "x-hub-signature-256: \u{fc}", "X-Hub-Signature-256"),
        (PATH, &github, "content-type: application/x-www-form-urlencoded", "Content-Type"),
        ("/webhooks/gitea", &gitea, "x-gitea-event: create", "X-Gitea-Event"),
        ("/webhooks/gitea", &gitea, "x-gitea-signature:", "X-Gitea-Signature"),
        ("/webhooks/gitea", &gitea, "x-github-event: push", "X-GitHub-Event"),
    ];
    for (path, webhook, header, named) in cases {
        let length = format!("connection: close\r\n{header}\r\ncontent-length: {}", webhook.text().len());
        let answer = fixture.raw(&[webhook.head(path, &length).as_bytes(), webhook.text().as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{header}: {answer}");
        assert!(answer.contains(&format!("the {named} header came twice")), "{header}: {answer}");
    }
    // These are refused by the HTTP server, in fewer words.
    for length in [
        "content-length: 10\r\ncontent-length: 10",
        "content-length: 10\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "host: y\r\ncontent-length: 10",
    ] {
        let answer = fixture.raw(&[github.head(PATH, length).as_bytes(), b"0123456789"]).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
    }
    assert!(fixture.bus.published().is_empty() && fixture.bus.buried().is_empty());
}

#[tokio::test]
async fn connections_that_say_nothing_make_way() {
    let fixture = Fixture::with(|config| config.max_connections = 4).await;
    let webhook = Webhook::github("push").with("connection", "close").request(PATH);
    let forged = Webhook::github("push").with_forged_text("{}");
    let texts = [String::new(), "POST /web".into(), forged.head(PATH, "content-length: 100")];
    let mut held = Vec::new();
    for text in texts.iter().cycle().take(30) {
        held.push(fixture.open(&[text.as_bytes()]).await);
        if held.len() % 10 == 0 {
            assert!(fixture.raw(&[&webhook]).await.starts_with("HTTP/1.1 202 "));
        }
    }
    // The first has been hung up on, without a word.
    let mut answer = Vec::new();
    let _ = held[0].read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let page = fixture.get("/metrics").await.text;
    let crowded =
        page.lines().find_map(|line| line.strip_prefix(r#"lockstep_receiver_hung_up_total{reason="crowded"} "#));
    assert!(crowded.unwrap().parse::<u32>().unwrap() >= 26, "{page}");
    let open = page.lines().find_map(|line| line.strip_prefix("lockstep_receiver_connections "));
    assert!(open.unwrap().parse::<u32>().unwrap() <= 5, "{page}");
}

#[tokio::test]
async fn requests_one_after_another_on_one_connection() {
    let fixture = Fixture::start().await;
    let push = Webhook::github("push").request(PATH);
    let refused = Webhook::github("push").with_forged_text("{}").request(PATH);
    let last = Webhook::github("push").with("connection", "close").request(PATH);
    // All at once, and each after the answer to the one before.
    let answers = fixture.raw(&[&[&push[..], &refused, &push, &last].concat()]).await;
    let statuses: Vec<_> =
        answers.matches("HTTP/1.1 ").zip(answers.split("HTTP/1.1 ").skip(1)).map(|(_, a)| &a[..3]).collect();
    assert_eq!(statuses, ["202", "401", "202", "202"]);
    for webhook in [Webhook::github("push"), Webhook::github("push").with_forged_text("{}"), Webhook::github("push")] {
        fixture.send(PATH, &webhook).await;
    }
    assert_eq!(fixture.bus.published().len(), 5);
}

#[tokio::test]
async fn bodies_whose_length_is_not_announced() {
    let fixture = Fixture::start().await;
    for padding in [0, 1_000, 300_000, 3_000_000] {
        let mut payload: serde_json::Value = serde_json::from_str(&Webhook::github("push").text()).unwrap();
        payload["padding"] = json!("x".repeat(padding));
        let webhook = Webhook::github("push").with_body(&payload).with("connection", "close");
        let text = webhook.text();
        let mut pieces = vec![webhook.head(PATH, "transfer-encoding: chunked").into_bytes()];
        for piece in text.as_bytes().chunks(100_000) {
            pieces.push([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        pieces.push(b"0\r\n\r\n".to_vec());
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let answer = fixture.raw(&pieces).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{padding}: {answer}");
    }
    // A path that nobody serves does not read such a body to its end either.
    let endless = b"POST /nothing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    assert!(fixture.raw(&[endless]).await.starts_with("HTTP/1.1 404 "));
}

/// Payloads that a forge did not write, all of them signed. A 5xx would make a forge send it again, or switch the webhook off.
#[tokio::test]
async fn no_signed_payload_is_answered_with_a_5xx() {
    const MUTATIONS: u64 = 7_500;
    let fixture = Fixture::start().await;
    let pull = json!({
        "action": "opened", "number": 1, "repository": { "full_name": "acme/gateway" },
        "pull_request": {
            "number": 1, "labels": [{ "name": "preview" }], "draft": false,
            "head": { "ref": "a", "sha": support::AFTER, "repo": { "full_name": "bob/gateway" } },
            "base": { "ref": "b", "sha": support::BEFORE, "repo": { "full_name": "acme/gateway" } },
        },
    });
    let seeds = [Webhook::github("push"), Webhook::gitea("push"), Webhook::github("pull_request").with_body(&pull)];
    let requests = (0..MUTATIONS).map(|number| {
        let (fixture, seed) = (&fixture, &seeds[usize::try_from(number).unwrap() % seeds.len()]);
        let path = if seed.forge == "gitea" { "/webhooks/gitea" } else { PATH };
        async move {
            let webhook = seed.clone().with_text(&mutated(seed.text(), number));
            let webhook = if number % 5 == 0 { webhook.into_form() } else { webhook };
            (number, fixture.send(path, &webhook).await.status)
        }
    });
    let mut answers = futures::stream::iter(requests).buffer_unordered(16);
    while let Some((number, status)) = answers.next().await {
        assert!((200..300).contains(&status), "mutation {number}: {status}");
    }
}

/// One to four changes at places that follow from the number.
fn mutated(text: String, number: u64) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let words = [
        "null",
        "{}",
        "[]",
        "\"",
        "1e999",
        "-1",
        "\\u0000",
        "{\"a\":",
        "[[[[",
        "true",
        "\u{0}",
        "\\ud800",
        "18446744073709551616",
    ];
    let mut bytes = text.into_bytes();
    for _ in 0..=next(3) {
        let at = next(bytes.len());
        let end = (at + next(40)).min(bytes.len());
        match next(5) {
            0 if !bytes.is_empty() => bytes[at] ^= u8::try_from(1 + next(126)).unwrap(),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..end, words[next(words.len())].bytes())),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
