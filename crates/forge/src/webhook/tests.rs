use proptest::prelude::*;
use serde_json::{Value, json};
use wire::{PullRequestAction, delivery::Event as Delivered};

use super::*;

const BEFORE: &str = "1111111111111111111111111111111111111111";
const AFTER: &str = "2222222222222222222222222222222222222222";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn secret() -> Secret {
    Secret::new("right").unwrap()
}

fn headers(kind: ForgeKind, event: &str, signature: Option<&str>, content_type: &str) -> Headers {
    let mut pairs = vec![
        ("X-GitHub-Event", event.to_owned()),
        ("X-GitHub-Delivery", "d-1".to_owned()),
        ("content-type", content_type.to_owned()),
    ];
    if kind == ForgeKind::Gitea {
        pairs.extend([("X-Gitea-Event", event.to_owned()), ("x-gitea-delivery", "d-2".to_owned())]);
        pairs.extend(signature.map(|code| ("X-Gitea-Signature", code.to_owned())));
    }
    pairs.extend(signature.map(|code| ("X-Hub-Signature-256", format!("sha256={code}"))));
    pairs.into_iter().collect()
}

fn signed(kind: ForgeKind, event: &str, body: &[u8]) -> Headers {
    headers(kind, event, Some(&hex::encode(secret().sign(body))), "application/json")
}

fn parsed(kind: ForgeKind, event: &str, payload: &Value) -> Parsed {
    let body = Bytes::from(payload.to_string());
    let headers = signed(kind, event, &body);
    parse(verify(kind, &headers, body, &[secret()]).unwrap(), 7)
}

fn delivery(kind: ForgeKind, event: &str, payload: &Value) -> Delivery {
    match parsed(kind, event, payload) {
        Parsed::Delivery(delivery) => delivery.into_inner(),
        other => panic!("{other:?}"),
    }
}

fn repository(kind: ForgeKind, full_name: &str) -> Value {
    let mut repository = json!({
        "id": 1,
        "name": full_name.split('/').next_back(),
        "full_name": full_name,
        "private": false,
        "html_url": format!("https://forge.example/{full_name}"),
        "clone_url": format!("https://forge.example/{full_name}.git"),
        "ssh_url": format!("git@forge.example:{full_name}.git"),
        "default_branch": "main",
    });
    match kind {
        ForgeKind::Github => {
            repository["url"] = json!(format!("https://forge.example/{full_name}"));
            repository["statuses_url"] = json!(format!("https://api.forge.example/repos/{full_name}/statuses/{{sha}}"));
        }
        ForgeKind::Gitea => {
            repository["url"] = json!(format!("https://forge.example/api/v1/repos/{full_name}"));
        }
    }
    repository
}

fn push(kind: ForgeKind) -> Value {
    let commit = json!({
        "id": AFTER, "message": "Pin gateway\n\nbody", "distinct": true,
        "added": ["b"], "removed": [], "modified": ["a"],
    });
    json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": AFTER,
        "created": false, "deleted": false, "forced": false, "base_ref": null,
        "commits": [commit], "total_commits": 1, "head_commit": commit,
        "pusher": { "name": "ann", "login": "ann" },
        "repository": repository(kind, "acme/gateway"),
    })
}

fn pull(kind: ForgeKind, action: &str) -> Value {
    json!({
        "action": action, "number": 12,
        "pull_request": {
            "number": 12, "title": "Add limits", "draft": true, "merged": false, "html_url": "https://forge.example/p/12",
            "labels": [{ "name": "preview" }], "user": { "login": "bob" },
            "head": { "ref": "limits", "sha": AFTER, "repo": repository(kind, "bob/gateway") },
            "base": { "ref": "main", "sha": BEFORE, "repo": repository(kind, "acme/gateway") },
        },
        "repository": repository(kind, "acme/gateway"),
    })
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = new;
    value
}

#[test]
fn the_forge_is_told_by_its_headers() {
    for kind in [ForgeKind::Github, ForgeKind::Gitea] {
        assert_eq!(identify(&headers(kind, "push", None, "application/json")), Some(kind));
    }
    assert_eq!(identify(&Headers::from_iter([("X-Gitlab-Event", "Push Hook")])), None);
}

#[test]
fn a_push_in_the_forges_words() {
    for (kind, api_url, paths) in [
        (ForgeKind::Github, "https://api.forge.example", Some(vec!["a".to_owned(), "b".into()])),
        (ForgeKind::Gitea, "https://forge.example/api/v1", None),
    ] {
        let payload = push(kind);
        let delivery = delivery(kind, "push", &payload);
        assert_eq!(delivery.forge(), wire::Forge::from(kind));
        assert_eq!(delivery.id, if kind == ForgeKind::Gitea { "d-2" } else { "d-1" });
        assert_eq!(delivery.received_at_unix_ms, 7);
        assert_eq!(delivery.body_sha256, Sha256::digest(payload.to_string()).to_vec());
        let repository = delivery.repository.unwrap();
        assert_eq!(repository.full_name(), "acme/gateway");
        assert_eq!(
            repository.clone_urls,
            ["https://forge.example/acme/gateway.git", "git@forge.example:acme/gateway.git"]
        );
        assert_eq!((repository.api_url.as_str(), repository.default_branch.as_str()), (api_url, "main"));
        let Some(Delivered::Push(push)) = delivery.event else { panic!() };
        assert_eq!(
            (push.r#ref.as_str(), push.before.as_str(), push.after.as_str()),
            ("refs/heads/main", BEFORE, AFTER)
        );
        assert_eq!((push.pusher.as_str(), push.title.as_str()), ("ann", "Pin gateway"));
        assert_eq!(push.changed_paths.map(|changed| changed.paths), paths);
    }
}

#[test]
fn pushes_of_every_sort() {
    // created, deleted, forced, with paths
    let github = || push(ForgeKind::Github);
    let cases = [
        ("fast-forward", github(), (false, false, false, true)),
        ("forced", with(github(), "/forced", json!(true)), (false, false, true, false)),
        ("created", with(github(), "/before", json!(ZERO)), (true, false, false, false)),
        ("deleted", with(github(), "/after", json!(ZERO)), (false, true, false, false)),
        ("tag", with(github(), "/ref", json!("refs/tags/v1")), (false, false, false, true)),
        ("head missing", with(github(), "/head_commit", json!(null)), (false, false, false, true)),
        ("commits null", with(github(), "/commits", json!(null)), (false, false, false, false)),
    ];
    for (name, payload, expected) in cases {
        let Some(Delivered::Push(push)) = delivery(ForgeKind::Github, "push", &payload).event else { panic!() };
        assert_eq!((push.created, push.deleted, push.forced, push.changed_paths.is_some()), expected, "{name}");
    }
    let deleted = json!({
        "ref": "feature/x", "ref_type": "branch", "repository": repository(ForgeKind::Gitea, "acme/gateway"),
    });
    let Some(Delivered::Push(push)) = delivery(ForgeKind::Gitea, "delete", &deleted).event else { panic!() };
    assert_eq!((push.r#ref.as_str(), push.deleted), ("refs/heads/feature/x", true));
}

#[test]
fn the_commit_of_a_tag() {
    let (tag, commit) = ("7".repeat(40), "c".repeat(40));
    for kind in [ForgeKind::Github, ForgeKind::Gitea] {
        let of = |reference: &str, head: Value| {
            let payload = with(with(push(kind), "/ref", json!(reference)), "/after", json!(tag));
            let payload = with(payload, "/head_commit", head);
            let delivery = delivery(kind, "push", &payload);
            let Some(Delivered::Push(push)) = delivery.event.clone() else { panic!() };
            (push.after, push.commit, delivery.commit().unwrap_or_default().to_owned())
        };
        let head = json!({ "id": commit, "message": "x" });
        let expected = (tag.clone(), commit.clone(), commit.clone());
        assert_eq!(of("refs/tags/v1.2.0", head.clone()), expected, "{kind}: annotated");
        // Of a branch `after` is the commit, whatever else the payload says.
        assert_eq!(of("refs/heads/main", head), (tag.clone(), String::new(), tag.clone()), "{kind}: a branch");
        for head in [json!(null), json!({ "id": null }), json!({ "id": "--x" })] {
            assert_eq!(of("refs/tags/v1", head), (tag.clone(), String::new(), tag.clone()), "{kind}: unknown");
        }
    }
}

#[test]
fn a_pull_request_in_the_forges_words() {
    use PullRequestAction::*;
    let github = [
        ("opened", Opened),
        ("reopened", Reopened),
        ("synchronize", Synchronized),
        ("closed", Closed),
        ("labeled", Labeled),
        ("unlabeled", Unlabeled),
        ("edited", Edited),
        ("ready_for_review", ReadyForReview),
        ("converted_to_draft", ConvertedToDraft),
    ];
    let gitea = [
        ("opened", Opened),
        ("reopened", Reopened),
        ("synchronized", Synchronized),
        ("closed", Closed),
        ("label_updated", Labeled),
        ("label_cleared", Unlabeled),
        ("edited", Edited),
    ];
    let all = github.map(|(name, action)| (ForgeKind::Github, name, action)).into_iter();
    for (kind, name, action) in all.chain(gitea.map(|(name, action)| (ForgeKind::Gitea, name, action))) {
        let Some(Delivered::PullRequest(pull)) = delivery(kind, "pull_request", &pull(kind, name)).event else {
            panic!()
        };
        assert_eq!(pull.action(), action, "{kind} {name}");
        assert_eq!((pull.number, pull.draft, pull.merged), (12, true, false));
        assert_eq!((pull.labels.as_slice(), pull.author.as_str()), (["preview".to_owned()].as_slice(), "bob"));
        let (head, base) = (pull.head.unwrap(), pull.base.unwrap());
        assert_eq!((head.branch.as_str(), head.commit.as_str()), ("limits", AFTER));
        assert_eq!(head.repository.unwrap().full_name(), "bob/gateway");
        assert_eq!((base.branch.as_str(), base.repository.unwrap().full_name().as_str()), ("main", "acme/gateway"));
    }
    // Whose head it is, who did it, and which label it was.
    for kind in [ForgeKind::Github, ForgeKind::Gitea] {
        let mut labelled = with(
            pull(kind, "labeled"),
            "/action",
            json!(if kind == ForgeKind::Github { "labeled" } else { "label_updated" }),
        );
        labelled["sender"] = json!({ "login": "ann" });
        labelled["pull_request"]["updated_at"] = json!("1970-01-01T01:00:03+01:00");
        if kind == ForgeKind::Github {
            labelled["label"] = json!({ "name": "preview" });
            labelled["pull_request"]["author_association"] = json!("FIRST_TIME_CONTRIBUTOR");
        }
        let own = with(labelled.clone(), "/pull_request/head/repo", repository(kind, "Acme/Gateway"));
        let refs_for = with(own.clone(), "/pull_request/head/ref", json!("refs/pull/12/head"));
        let gone = with(labelled.clone(), "/pull_request/head/repo", json!(null));
        for (payload, fork) in [(labelled, true), (own, false), (refs_for, true), (gone, true)] {
            let Some(Delivered::PullRequest(pull)) = delivery(kind, "pull_request", &payload).event else { panic!() };
            assert_eq!((pull.from_fork, pull.sender.as_str()), (fork, "ann"), "{kind} {payload}");
            assert_eq!(pull.updated_at_unix_ms, 3000);
            let said = (pull.label.as_str(), pull.author_association.as_str());
            assert_eq!(said, if kind == ForgeKind::Github { ("preview", "FIRST_TIME_CONTRIBUTOR") } else { ("", "") });
        }
    }
    // A fork that has been deleted, and lists that are not there.
    let bare = with(pull(ForgeKind::Github, "closed"), "/pull_request/head/repo", json!(null));
    let bare = with(bare, "/pull_request/labels", json!(null));
    let Some(Delivered::PullRequest(pull)) = delivery(ForgeKind::Github, "pull_request", &bare).event else { panic!() };
    assert!(pull.labels.is_empty() && pull.head.unwrap().repository.is_none());
}

#[test]
fn what_nobody_needs_is_ignored() {
    let cases = [
        (ForgeKind::Github, "star", json!({ "action": "created" }), Some("created")),
        (ForgeKind::Github, "delete", json!({ "ref": "x" }), None),
        (ForgeKind::Github, "brand_new", json!([1]), None),
        (ForgeKind::Github, "pull_request", pull(ForgeKind::Github, "assigned"), Some("assigned")),
        (ForgeKind::Github, "pull_request", json!({ "action": "invented" }), Some("invented")),
        (ForgeKind::Gitea, "pull_request", pull(ForgeKind::Gitea, "milestoned"), Some("milestoned")),
        (ForgeKind::Gitea, "ping", json!({}), None),
    ];
    for (kind, event, payload, expected) in cases {
        match parsed(kind, event, &payload) {
            Parsed::Ignored { event: name, action } => {
                assert_eq!((name.as_str(), action.as_deref()), (event, expected))
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(parsed(ForgeKind::Github, "ping", &json!({ "zen": "x" })), Parsed::Ping));
}

#[test]
fn what_is_not_understood_says_why() {
    let github = || push(ForgeKind::Github);
    let without = |field: &str| {
        let mut payload = github();
        payload.as_object_mut().unwrap().remove(field);
        payload
    };
    let cases = [
        ("push", json!("text"), "JSON"),
        ("push", without("ref"), "`ref`"),
        ("push", without("repository"), "`repository`"),
        ("push", with(github(), "/ref", json!("main")), "full ref name"),
        ("push", with(github(), "/after", json!("HEAD")), "after is not a commit id"),
        ("push", with(github(), "/after", json!("--upload-pack=x")), "after is not a commit id"),
        ("push", with(github(), "/repository/full_name", json!("a/b/c")), "owner/name"),
        ("push", with(github(), "/repository/full_name", json!("../x")), "owner/name"),
        ("push", with(github(), "/ref", json!("r".repeat(5_000))), "a text of 5000 bytes"),
        (
            "pull_request",
            with(pull(ForgeKind::Github, "opened"), "/pull_request/labels", vec![json!({ "name": "a" }); 1_001].into()),
            "more than 1000 labels",
        ),
        ("pull_request", json!({}), "`action`"),
        ("pull_request", json!({ "action": "opened" }), "`pull_request`"),
        (
            "pull_request",
            with(pull(ForgeKind::Github, "opened"), "/pull_request/base/repo/full_name", json!("other/x")),
            "base.repo",
        ),
    ];
    for (event, payload, expected) in cases {
        match parsed(ForgeKind::Github, event, &payload) {
            Parsed::Malformed(kept) => {
                assert!(kept.reason.contains(expected), "{}", kept.reason);
                assert_eq!(kept.body, payload.to_string());
                assert_eq!((kept.event.as_str(), kept.delivery_id.as_str()), (event, "d-1"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn addresses_of_another_repository_do_not_get_through() {
    let payload = with(push(ForgeKind::Github), "/repository/clone_url", json!("https://forge.example/other/x.git"));
    let delivery = delivery(ForgeKind::Github, "push", &payload);
    assert_eq!(delivery.repository.unwrap().clone_urls, ["git@forge.example:acme/gateway.git"]);
}

#[test]
fn signatures() {
    let (github, gitea) = (ForgeKind::Github, ForgeKind::Gitea);
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let body = push(github).to_string();
    let packed = format!("payload={}", url::form_urlencoded::byte_serialize(body.as_bytes()).collect::<String>());
    let code = |signed: &str, text: &str| Some(hex::encode(Secret::new(text).unwrap().sign(signed.as_bytes())));
    let cases = [
        ("json", github, json, body.as_str(), code(&body, "right"), Ok(())),
        ("json", gitea, json, &body, code(&body, "right"), Ok(())),
        ("the older secret", github, json, &body, code(&body, "old"), Ok(())),
        ("upper case", github, json, &body, code(&body, "right").map(|c| c.to_uppercase()), Ok(())),
        ("form, signed as sent", github, form, &packed, code(&packed, "right"), Ok(())),
        ("form, signed inside", gitea, form, &packed, code(&body, "right"), Ok(())),
        ("form, signed inside", github, form, &packed, code(&body, "right"), Err(Rejected::Signature)),
        ("form, signed as sent", gitea, form, &packed, code(&packed, "right"), Err(Rejected::Signature)),
        ("another secret", github, json, &body, code(&body, "wrong"), Err(Rejected::Signature)),
        ("nothing", github, json, &body, None, Err(Rejected::Unsigned)),
        ("nothing", gitea, json, &body, None, Err(Rejected::Unsigned)),
        ("too short", github, json, &body, Some("00".into()), Err(Rejected::Unsigned)),
        ("not hexadecimal", github, json, &body, Some("zz".repeat(32)), Err(Rejected::Unsigned)),
        ("another type", github, "text/plain", &body, code(&body, "right"), Err(Rejected::ContentType)),
    ];
    for (name, kind, content_type, body, code, expected) in cases {
        let headers = headers(kind, "push", code.as_deref(), content_type);
        let secrets = [secret(), Secret::new("old").unwrap()];
        let verified = verify(kind, &headers, body.as_bytes(), &secrets);
        let parsed = verified.map(|raw| parse(raw, 0));
        if let Ok(parsed) = &parsed {
            assert!(matches!(parsed, Parsed::Delivery(_)), "{name}: {parsed:?}");
        }
        assert_eq!(parsed.map(|_| ()), expected, "{name}");
    }
    let headers = signed(github, "push", body.as_bytes());
    assert_eq!(verify(github, &headers, body.as_bytes(), &[]).err(), Some(Rejected::Signature), "no secret, no entry");
    assert_eq!(verify(gitea, &headers, body.as_bytes(), &[secret()]).err(), Some(Rejected::Header("X-Gitea-Event")));
}

#[test]
fn what_the_headers_tell_before_there_is_a_body() {
    let (kind, code) = (ForgeKind::Github, format!("sha256={}", "0".repeat(64)));
    let pairs = [
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "d-1"),
        ("Content-Type", "application/json"),
        ("X-Hub-Signature-256", code.as_str()),
    ];
    let checked = |pairs: &[(&str, &str)]| check_headers(kind, &pairs.iter().copied().collect(), true);
    assert_eq!(checked(&pairs), Ok(()));
    for (name, value) in pairs {
        assert_eq!(checked(&[&pairs[..], &[(name, value)]].concat()), Err(Rejected::Twice(name)));
        // Also if the second cannot be used.
        assert_eq!(checked(&[&pairs[..], &[(name, "")]].concat()), Err(Rejected::Twice(name)));
    }
    for signature in ["", "sha256=", &code[..70], &code[7..], &format!("sha1={}", "0".repeat(40)), &format!("{code}0")]
    {
        let headers = [&pairs[..3], &[("X-Hub-Signature-256", signature)]].concat();
        assert_eq!(checked(&headers), Err(Rejected::Unsigned), "{signature}");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")].into_iter().collect();
    assert_eq!((memory(&pairs.into_iter().collect(), 10), memory(&form, 10)), (20, 30));
}

#[test]
fn a_secret_speaks_only_for_its_repository() {
    let text = "default: [right]\nowners:\n  acme: [acme-secret]\n";
    let book = SecretBook::parse(text, std::path::Path::new("s")).unwrap();
    let authenticated = |payload: &str, secret: &str| {
        let code = hex::encode(Secret::new(secret).unwrap().sign(payload.as_bytes()));
        let headers = headers(ForgeKind::Github, "push", Some(&code), "application/json");
        authenticate(ForgeKind::Github, &headers, payload.as_bytes(), &book).map(|raw| parse(raw, 0))
    };
    let named =
        |name: &str| with(push(ForgeKind::Github), "/repository", repository(ForgeKind::Github, name)).to_string();
    assert!(matches!(authenticated(&named("acme/x"), "acme-secret"), Ok(Parsed::Delivery(_))));
    assert!(matches!(authenticated(&named("other/x"), "right"), Ok(Parsed::Delivery(_))));
    assert_eq!(authenticated(&named("acme/x"), "right").err(), Some(Rejected::Signature));
    assert_eq!(authenticated(&named("ACME/x"), "right").err(), Some(Rejected::Signature));
    assert_eq!(authenticated(&named("other/x"), "acme-secret").err(), Some(Rejected::Signature));
    // Two answers to the question whose webhook it is.
    let twice = named("acme/x").replacen('{', r#"{"repository":{"full_name":"other/x"},"#, 1);
    assert!(matches!(authenticated(&twice, "right"), Ok(Parsed::Malformed(_))));
}

fn events() -> impl Strategy<Value = (ForgeKind, &'static str)> {
    let kinds = prop_oneof![Just(ForgeKind::Github), Just(ForgeKind::Gitea)];
    (kinds, prop_oneof![Just("push"), Just("pull_request"), Just("delete"), Just("ping"), Just("other")])
}

proptest! {
    #[test]
    fn any_change_to_a_signed_body_is_rejected(at in any::<prop::sample::Index>(), flip in 1u8.., kind in 0..4usize) {
        let body = push(ForgeKind::Github).to_string().into_bytes();
        let headers = signed(ForgeKind::Github, "push", &body);
        let mut changed = body.clone();
        let at = at.index(body.len());
        match kind {
            0 => changed[at] ^= flip,
            1 => changed.truncate(at),
            2 => changed.insert(at, flip),
            _ => changed.extend_from_slice(&body[..=at]),
        }
        prop_assert_eq!(verify(ForgeKind::Github, &headers, &changed[..], &[secret()]).err(), Some(Rejected::Signature));
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..300), event in events(), form in any::<bool>()) {
        let (kind, event) = event;
        let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers = headers(kind, event, None, content_type);
        let _ = Peek::at(&body);
        let _ = parse(accept_unsigned(kind, &headers, &body[..]).unwrap(), 0);
    }

    #[test]
    fn no_change_to_a_payload_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), event in events()) {
        let (kind, event) = event;
        let payload = if event == "pull_request" { pull(kind, "opened") } else { push(kind) };
        let mut body = payload.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let headers = headers(kind, event, None, "application/json");
        let _ = parse(accept_unsigned(kind, &headers, &body[..]).unwrap(), 0);
    }
}
