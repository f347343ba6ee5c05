//! Our payloads beside real ones: every field that we send exists in an example of GitHub's with the same JSON type.

use std::collections::{BTreeMap, BTreeSet};

use github_double::{Double, NewPullRequest, assets};
use serde_json::{Value, json};

use crate::support::{Receiver, SECRET, SOON, World};

/// What came after the examples were collected; GitHub's OpenAPI description has it, which the double checks by itself.
const NEWER: &[&str] = &["has_discussions"];

/// JSON types by path; items of an array share the path `…[]`.
fn types(value: &Value, at: String, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    found.entry(at.clone()).or_default().insert(name);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(n, v)| types(v, format!("{at}.{n}"), found)),
        Value::Array(items) => items.iter().for_each(|v| types(v, format!("{at}[]"), found)),
        _ => {}
    }
}

/// Everything that happens to a push and a pull request, as the double sends it.
async fn ours() -> (World, Vec<(String, Value)>) {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let events = ["push", "pull_request"];
    world.double.add_hook("acme", "app", &receiver.url, Some(SECRET), &events).await.unwrap();
    let copy = world.clone("copy").await;
    copy.branch("topic").await;
    let double = &world.double;
    double.open_pull_request("acme", "app", &NewPullRequest::new("Topic", "topic", "main")).await.unwrap();
    copy.commit("more.txt", "more\n", "More").await;
    copy.git(&["push", "--quiet", "origin", "topic"]).await;
    double.add_labels("acme", "app", 1, &["preview"]).await.unwrap();
    double.close_pull_request("acme", "app", 1).await.unwrap();
    copy.git(&["push", "--quiet", "origin", ":topic"]).await;
    let find = |d: &Double| {
        let all = d.deliveries("acme", "app");
        (all.len() == 8 && all.iter().all(|d| d.succeeded())).then_some(all)
    };
    let all = double.until(SOON, find).await.expect("not all were delivered");
    let payloads = all.iter().map(|d| (d.event.clone(), d.payload.as_ref().clone())).collect();
    (world, payloads)
}

#[tokio::test]
async fn every_field_that_we_send_is_one_that_github_sends() {
    let (world, ours) = ours().await;
    let examples = assets::examples().await.unwrap();
    let mut wrong = Vec::new();
    for event in ["push", "pull_request"] {
        let mut real = BTreeMap::new();
        for payload in &examples.iter().find(|e| e.name == event).unwrap().examples {
            types(payload, String::new(), &mut real);
        }
        let mut sent = BTreeMap::new();
        for (_, payload) in ours.iter().filter(|(e, _)| e == event) {
            types(payload, String::new(), &mut sent);
        }
        for (path, kinds) in sent {
            if NEWER.iter().any(|n| path.ends_with(n)) {
                continue;
            }
            match real.get(&path) {
                None => wrong.push(format!("{event}{path}: GitHub sends no such field")),
                // An example that is always null says nothing about the other type.
                Some(real) if real.len() == 1 && real.contains("null") => {}
                Some(real) => {
                    let other: Vec<_> = kinds.iter().filter(|k| **k != "null" && !real.contains(*k)).collect();
                    if !other.is_empty() {
                        wrong.push(format!("{event}{path}: {other:?}, GitHub sends {real:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.end();
}

#[tokio::test]
async fn what_lockstep_reads_is_there() {
    let (world, ours) = ours().await;
    let push = ["ref", "before", "after", "created", "deleted", "forced", "commits", "head_commit", "pusher.name"];
    let repository = ["name", "owner.login", "clone_url", "ssh_url", "html_url", "default_branch", "url", "private"];
    let pull = ["number", "title", "draft", "merged", "labels", "html_url", "user.login", "state"];
    let side = ["ref", "sha", "repo.clone_url", "repo.full_name", "repo.owner.login", "repo.default_branch"];
    let at = |value: &Value, path: &str| path.split('.').try_fold(value.clone(), |v, field| v.get(field).cloned());
    for (event, payload) in &ours {
        let mut needed: Vec<String> = repository.iter().map(|f| format!("repository.{f}")).collect();
        match event.as_str() {
            "push" => needed.extend(push.map(str::to_owned)),
            "pull_request" => {
                needed.extend(["action", "number"].map(str::to_owned));
                needed.extend(pull.map(|f| format!("pull_request.{f}")));
                needed.extend(["head", "base"].iter().flat_map(|s| side.map(|f| format!("pull_request.{s}.{f}"))));
            }
            _ => needed.push("hook_id".to_owned()),
        }
        for path in needed {
            let found = at(payload, &path);
            // Only a deleted branch has no head commit.
            let may_be_null = path == "head_commit" && payload["deleted"] == json!(true);
            assert!(found.is_some_and(|v| may_be_null || !v.is_null()), "{event}: {path}");
        }
    }
    world.end();
}
