//! Webhooks: sent for what happens, signed, recorded, never in anybody's way.

use std::time::Duration;

use github_double::{Double, NewPullRequest};
use serde_json::{Value, json};

use crate::support::{Receiver, SECRET, SOON, World};

const ZERO: &str = "0000000000000000000000000000000000000000";

async fn hooked() -> (World, Receiver) {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let events = ["push", "pull_request"];
    world.double.add_hook("acme", "app", &receiver.url, Some(SECRET), &events).await.unwrap();
    world.delivered("ping", None).await;
    (world, receiver)
}

/// Payloads of all pushes, once there are so many.
async fn pushes(world: &World, count: usize) -> Vec<Value> {
    let find = |d: &Double| {
        let all: Vec<_> = d.deliveries("acme", "app").into_iter().filter(|d| d.event == "push").collect();
        let done = all.len() >= count && all.iter().all(|d| d.responded_at_us.is_some());
        done.then(|| all.iter().map(|d| d.payload.as_ref().clone()).collect())
    };
    world.double.until(SOON, find).await.expect("the pushes were not delivered")
}

#[tokio::test]
async fn a_push_is_announced_signed_and_whole() {
    let (world, receiver) = hooked().await;
    let copy = world.clone("copy").await;
    let before = copy.git(&["rev-parse", "HEAD"]).await;
    copy.commit("envs/dev/new.yaml", "a: 1\n", "Add").await;
    copy.git(&["rm", "--quiet", "README.md"]).await;
    let after = copy.commit("envs/dev/values.yaml", "replicas: 2\n", "Change and remove").await;
    copy.git(&["push", "--quiet", "origin", "main"]).await;
    let push = pushes(&world, 1).await.remove(0);
    assert_eq!(
        (&push["ref"], &push["before"], &push["after"]),
        (&json!("refs/heads/main"), &json!(before), &json!(after))
    );
    assert_eq!((&push["created"], &push["deleted"], &push["forced"]), (&json!(false), &json!(false), &json!(false)));
    let files: Vec<_> =
        push["commits"].as_array().unwrap().iter().map(|c| (&c["added"], &c["modified"], &c["removed"])).collect();
    assert_eq!(files[0], (&json!(["envs/dev/new.yaml"]), &json!([]), &json!([])));
    assert_eq!(files[1], (&json!([]), &json!(["envs/dev/values.yaml"]), &json!(["README.md"])));
    assert_eq!(push["head_commit"]["id"], after);
    assert_eq!(push["repository"]["clone_url"], world.double.clone_url("acme", "app"));
    assert_eq!((&push["pusher"]["name"], &push["sender"]["login"]), (&json!("ada"), &json!("ada")));

    let received = receiver.received();
    let push = received.iter().find(|r| r.event == "push").unwrap();
    assert!(received.iter().all(|r| r.signed), "{received:?}");
    assert!(push.user_agent.starts_with("GitHub-Hookshot/") && push.content_type == "application/json");
    assert_eq!(push.delivery.parse::<uuid::Uuid>().unwrap().to_string(), push.delivery);
    world.end();
}

#[tokio::test]
async fn branches_and_tags_come_go_and_are_rewritten() {
    let (world, _receiver) = hooked().await;
    let copy = world.clone("copy").await;
    let first = copy.branch("topic").await;
    copy.git(&["commit", "--quiet", "--amend", "--message", "Again"]).await;
    let second = copy.git(&["rev-parse", "HEAD"]).await;
    copy.git(&["push", "--quiet", "--force", "origin", "topic"]).await;
    copy.git(&["tag", "v1"]).await;
    copy.git(&["push", "--quiet", "origin", "v1"]).await;
    copy.git(&["push", "--quiet", "origin", ":topic"]).await;
    copy.git(&["push", "--quiet", "origin", "origin/main:refs/heads/same"]).await;
    let pushes = pushes(&world, 5).await;
    let seen: Vec<_> = pushes
        .iter()
        .map(|p| {
            let flags = ["created", "deleted", "forced"].map(|f| p[f].as_bool().unwrap());
            let text = |f: &str| p[f].as_str().unwrap().to_owned();
            (text("ref"), text("before"), text("after"), flags, p["commits"].as_array().unwrap().len())
        })
        .collect();
    let expected = |name: &str, before: &str, after: &str, flags, commits| {
        (name.to_owned(), before.to_owned(), after.to_owned(), flags, commits)
    };
    assert_eq!(seen[0], expected("refs/heads/topic", ZERO, &first, [true, false, false], 1));
    assert_eq!(seen[1], expected("refs/heads/topic", &first, &second, [false, false, true], 1));
    assert_eq!(seen[2], expected("refs/tags/v1", ZERO, &second, [true, false, false], 0));
    assert_eq!(seen[3], expected("refs/heads/topic", &second, ZERO, [false, true, false], 0));
    assert_eq!((&pushes[3]["head_commit"], &pushes[4]["base_ref"]), (&Value::Null, &json!("refs/heads/main")));
    assert_eq!((seen[4].3, seen[4].4), ([true, false, false], 0));
    world.end();
}

#[tokio::test]
async fn a_pull_request_is_announced_through_its_life() {
    let (world, _receiver) = hooked().await;
    let copy = world.clone("copy").await;
    let first = copy.branch("topic").await;
    let double = &world.double;
    double.open_pull_request("acme", "app", &NewPullRequest::new("Topic", "topic", "main")).await.unwrap();
    let second = copy.commit("more.txt", "more\n", "More").await;
    copy.git(&["push", "--quiet", "origin", "topic"]).await;
    double.add_labels("acme", "app", 1, &["preview"]).await.unwrap();
    double.remove_label("acme", "app", 1, "preview").await.unwrap();
    double.set_draft("acme", "app", 1, true).unwrap();
    double.set_draft("acme", "app", 1, false).unwrap();
    world.api().patch("/repos/acme/app/pulls/1", json!({"title": "New title"})).await;
    double.close_pull_request("acme", "app", 1).await.unwrap();
    double.reopen_pull_request("acme", "app", 1).await.unwrap();
    double.merge_pull_request("acme", "app", 1).await.unwrap();
    let find = |d: &Double| {
        let all: Vec<_> = d.deliveries("acme", "app").into_iter().filter(|d| d.event == "pull_request").collect();
        (all.len() == 10 && all.iter().all(|d| d.succeeded())).then_some(all)
    };
    let all = double.until(SOON, find).await.expect("not all were delivered");
    let actions: Vec<_> = all.iter().map(|d| d.action.as_deref().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "opened",
            "synchronize",
            "labeled",
            "unlabeled",
            "converted_to_draft",
            "ready_for_review",
            "edited",
            "closed",
            "reopened",
            "closed"
        ]
    );
    assert_eq!(all[0].payload["pull_request"]["head"]["sha"], first);
    let synchronize = &all[1].payload;
    assert_eq!((&synchronize["before"], &synchronize["after"]), (&json!(first), &json!(second)));
    assert_eq!(synchronize["pull_request"]["head"]["sha"], second);
    assert_eq!(all[2].payload["label"]["name"], "preview");
    assert_eq!(all[2].payload["pull_request"]["labels"][0]["name"], "preview");
    assert_eq!(all[3].payload["pull_request"]["labels"], json!([]));
    assert_eq!(all[4].payload["pull_request"]["draft"], true);
    assert_eq!(all[6].payload["changes"]["title"]["from"], "Topic");
    assert_eq!(all[7].payload["pull_request"]["merged"], false);
    assert_eq!(all[9].payload["pull_request"]["merged"], true);
    // The merge is a push to main as well.
    let pushes = pushes(&world, 3).await;
    assert_eq!(pushes[2]["after"], all[9].payload["pull_request"]["merge_commit_sha"]);
    world.end();
}

#[tokio::test]
async fn a_pull_request_follows_what_is_pushed_by_hand() {
    let (world, _receiver) = hooked().await;
    let copy = world.clone("copy").await;
    for name in ["merged", "deleted"] {
        copy.branch(name).await;
        world.double.open_pull_request("acme", "app", &NewPullRequest::new(name, name, "main")).await.unwrap();
    }
    copy.git(&["push", "--quiet", "origin", "merged:main"]).await;
    copy.git(&["push", "--quiet", "origin", ":deleted"]).await;
    let find = |d: &Double| {
        let ended = |d: &github_double::PullRequest| (d.title.clone(), d.open, d.merged);
        let all: Vec<_> = d.pull_requests("acme", "app").iter().map(ended).collect();
        all.iter().all(|(_, open, _)| !open).then_some(all)
    };
    let all = world.double.until(SOON, find).await.unwrap();
    assert_eq!(all, [("merged".to_owned(), false, true), ("deleted".to_owned(), false, false)]);
    world.end();
}

#[tokio::test]
async fn a_fork_opens_a_pull_request_and_updates_it() {
    let (world, _receiver) = hooked().await;
    world.double.fork("acme", "app", "mallory").await.unwrap();
    let copy = world.clone("copy").await;
    let fork =
        world.double.clone_url("mallory", "app").replace("http://", &format!("http://x:{}@", crate::support::TOKEN));
    copy.git(&["switch", "--quiet", "--create", "patch"]).await;
    copy.commit("patch.txt", "1\n", "Patch").await;
    copy.git(&["push", "--quiet", &fork, "patch"]).await;
    let new = NewPullRequest::new("Patch", "mallory:patch", "main");
    world.double.open_pull_request("acme", "app", &new).await.unwrap();
    let commit = copy.commit("patch.txt", "2\n", "Patch again").await;
    copy.git(&["push", "--quiet", &fork, "patch"]).await;
    let synchronize = world.delivered("pull_request", Some("synchronize")).await.payload;
    assert_eq!(synchronize["pull_request"]["head"]["repo"]["full_name"], "mallory/app");
    assert_eq!(synchronize["pull_request"]["head"]["repo"]["fork"], true);
    assert_eq!(synchronize["pull_request"]["base"]["repo"]["full_name"], "acme/app");
    assert!(copy.git(&["ls-remote", "origin", "refs/pull/1/head"]).await.starts_with(&commit));
    world.end();
}

#[tokio::test]
async fn a_form_is_signed_as_it_is_sent() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let config = json!({"url": receiver.url, "content_type": "form", "secret": SECRET});
    world.api().post("/repos/acme/app/hooks", json!({"config": config})).await;
    world.delivered("ping", None).await;
    let ping = receiver.received().remove(0);
    assert!(ping.signed);
    assert_eq!(ping.content_type, "application/x-www-form-urlencoded");
    assert_eq!(ping.payload["hook"]["config"]["secret"], "********");
    world.end();
}

#[tokio::test]
async fn a_slow_receiver_delays_no_push_and_is_not_asked_again() {
    let (world, receiver) = hooked().await;
    receiver.answer(500, Duration::from_secs(5));
    let copy = world.clone("copy").await;
    copy.commit("x", "x", "X").await;
    copy.git(&["push", "--quiet", "origin", "main"]).await;
    let pushed_at_us = jiff::Timestamp::now().as_microsecond();
    let delivery = world.delivered("push", None).await;
    assert_eq!((delivery.status_code, delivery.status.as_str()), (500, "Invalid HTTP Response: 500"));
    assert!(delivery.responded_at_us.unwrap() > pushed_at_us, "the push waited for the webhook");
    assert!(delivery.duration_us().unwrap() >= 5_000_000);
    assert_eq!(receiver.received().iter().filter(|r| r.event == "push").count(), 1);
    world.end();
}

#[tokio::test]
async fn nobody_waits_longer_than_ten_seconds() {
    let (world, receiver) = hooked().await;
    receiver.answer(202, Duration::from_secs(30));
    let copy = world.clone("copy").await;
    copy.branch("topic").await;
    let delivery = world.delivered("push", None).await;
    assert_eq!((delivery.status_code, delivery.status.as_str()), (0, "timed out"));
    let seconds = delivery.duration_us().unwrap() as f64 / 1e6;
    assert!((9.9..12.0).contains(&seconds), "{seconds}");
    world.end();
}

#[tokio::test]
async fn deliveries_are_listed_and_sent_again() {
    let (world, receiver) = hooked().await;
    receiver.answer(503, Duration::ZERO);
    let copy = world.clone("copy").await;
    copy.branch("topic").await;
    world.delivered("push", None).await;
    let api = world.api();
    let hook = world.double.hooks("acme", "app")[0].id;
    let path = format!("/repos/acme/app/hooks/{hook}/deliveries");
    let failed = api.get(&format!("{path}?status=failure")).await.body;
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["event"]), (1, &json!("push")));
    let detail = api.get(&format!("{path}/{}", failed[0]["id"])).await.body;
    assert_eq!(detail["request"]["payload"]["ref"], "refs/heads/topic");
    assert_eq!(detail["request"]["headers"]["X-GitHub-Event"], "push");
    receiver.answer(202, Duration::ZERO);
    let again = api.post(&format!("{path}/{}/attempts", failed[0]["id"]), json!({})).await;
    assert_eq!(again.status, 202);
    let find = |d: &Double| d.deliveries("acme", "app").into_iter().find(|d| d.redelivery && d.succeeded());
    let redelivered = world.double.until(SOON, find).await.expect("it was not sent again");
    assert_eq!(redelivered.guid, failed[0]["guid"].as_str().unwrap());
    assert_ne!(redelivered.id, failed[0]["id"].as_i64().unwrap());
    let ids: Vec<_> = receiver.received().into_iter().filter(|r| r.event == "push").map(|r| r.delivery).collect();
    assert_eq!(ids, [redelivered.guid.clone(), redelivered.guid]);
    let page = api.get(&format!("{path}?per_page=2")).await;
    let link = page.header("link").to_owned();
    let next = link.strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")).expect("a link to the rest");
    let rest = api.get(next.strip_prefix(world.double.api_url()).unwrap()).await.body;
    assert_eq!((page.body.as_array().unwrap().len(), rest.as_array().unwrap().len()), (2, 1));
    world.end();
}

#[tokio::test]
async fn an_organisations_webhook_is_told_of_each_of_its_repositories() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.answer(503, Duration::ZERO);
    world.double.create_repository("acme", "other", Some(&world.folder.path().join("seed"))).await.unwrap();
    let id = world.double.add_organization_hook("acme", &receiver.url, Some(SECRET), &["push"]);
    world.clone("copy").await.branch("topic").await;
    let push = world.delivered("push", None).await;
    assert_eq!(push.request_headers["X-GitHub-Hook-Installation-Target-Type"], "organization");
    let api = world.api();
    let hooks = api.get("/orgs/Acme/hooks").await.body;
    assert_eq!((&hooks[0]["id"], &hooks[0]["config"]["url"]), (&json!(id), &json!(receiver.url)));
    assert_eq!(api.get("/repos/acme/app/hooks").await.body, json!([]));
    let path = format!("/orgs/acme/hooks/{id}/deliveries");
    let listed = api.get(&format!("{path}?per_page=100")).await.body;
    assert_eq!((&listed[0]["id"], &listed[0]["status_code"]), (&json!(push.id), &json!(503)));
    receiver.answer(202, Duration::ZERO);
    assert_eq!(api.post(&format!("{path}/{}/attempts", push.id), json!({})).await.status, 202);
    again(&world, &push.guid).await;
    assert_eq!(api.get("/orgs/nobody/hooks").await.status, 404);
    assert_eq!(api.get("/orgs/acme/hooks/1/deliveries").await.status, 404);
    world.end();
}

#[tokio::test]
async fn an_apps_webhook_is_told_of_everything_and_asked_for_by_the_app_alone() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.answer(503, Duration::ZERO);
    let app = world.api().with_token(Some(&crate::support::app_token()));
    assert_eq!(app.get("/app/hook/config").await.status, 404);
    world.double.set_app_hook(&receiver.url, Some(SECRET), &["push"]);
    world.clone("copy").await.branch("topic").await;
    let push = world.delivered("push", None).await;
    assert_eq!(app.get("/app/hook/config").await.body["url"], receiver.url);
    let listed = app.get("/app/hook/deliveries?per_page=100").await.body;
    assert_eq!((&listed[0]["id"], &listed[0]["event"]), (&json!(push.id), &json!("push")));
    assert_eq!(listed[0]["installation_id"], push.payload["installation"]["id"]);
    let attempts = format!("/app/hook/deliveries/{}/attempts", push.id);
    assert_eq!(world.api().post(&attempts, json!({})).await.status, 401, "a token is no App");
    receiver.answer(202, Duration::ZERO);
    assert_eq!(app.post(&attempts, json!({})).await.status, 202);
    again(&world, &push.guid).await;
    world.end();
}

/// Waits until a delivery was sent again and arrived: signed, with the same id and payload.
async fn again(world: &World, guid: &str) {
    let find = |d: &Double| d.deliveries("acme", "app").into_iter().find(|d| d.redelivery && d.succeeded());
    let redelivered = world.double.until(SOON, find).await.expect("it was not sent again");
    assert_eq!(redelivered.guid, guid);
    let first = world.delivered("push", None).await;
    assert_eq!((&first.payload, &first.request_headers), (&redelivered.payload, &redelivered.request_headers));
    assert_ne!(first.id, redelivered.id);
}

#[tokio::test]
async fn webhooks_need_a_permission_of_their_own() {
    let (world, _receiver) = hooked().await;
    let hook = world.double.hooks("acme", "app")[0].id;
    let ping = world.delivered("ping", None).await.id;
    for (token, access, status) in [
        ("ghp_writer", github_double::TokenAccess::NoHooks, 403),
        ("ghp_reader", github_double::TokenAccess::Read, 403),
        ("ghp_owner", github_double::TokenAccess::Write, 200),
    ] {
        world.double.add_token(token, "bob", access);
        let api = world.api().with_token(Some(token));
        assert_eq!(api.get("/repos/acme/app").await.status, 200, "{token}");
        let path = format!("/repos/acme/app/hooks/{hook}/deliveries");
        for path in ["/repos/acme/app/hooks", "/orgs/acme/hooks", path.as_str()] {
            assert_eq!(api.get(path).await.status, status, "{token} {path}");
        }
        let again = api.post(&format!("{path}/{ping}/attempts"), json!({})).await.status;
        assert_eq!(again, if status == 200 { 202 } else { status }, "{token}");
    }
    world.end();
}
