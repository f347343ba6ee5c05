//! Git over HTTP.

use crate::support::{TOKEN, World, git, try_git};

#[tokio::test]
async fn clones_fetches_and_pushes() {
    let world = World::new().await;
    let one = world.clone("one").await;
    assert_eq!(std::fs::read_to_string(one.path.join("envs/dev/values.yaml")).unwrap(), "replicas: 1\n");
    let commit = one.commit("envs/dev/values.yaml", "replicas: 2\n", "Two").await;
    one.git(&["push", "--quiet", "origin", "main"]).await;
    let two = world.clone("two").await;
    assert_eq!(two.git(&["rev-parse", "HEAD"]).await, commit);
    world.end();
}

#[tokio::test]
async fn a_large_push_arrives_whole() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    // Above git's limit for one request, so that it is sent in chunks.
    let text: String = (0..400_000_u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    copy.commit("large.txt", &text, "Large").await;
    copy.git(&["push", "--quiet", "origin", "main"]).await;
    let again = world.clone("again").await;
    assert_eq!(std::fs::read_to_string(again.path.join("large.txt")).unwrap(), text);
    world.end();
}

#[tokio::test]
async fn any_commit_can_be_fetched_by_its_id() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    let lost = copy.branch("topic").await;
    copy.git(&["switch", "--quiet", "--create", "other", "origin/main"]).await;
    copy.commit("other.txt", "x", "Other").await;
    copy.git(&["push", "--quiet", "--force", "origin", "other:topic"]).await;
    let empty = world.folder.path().join("empty");
    git(world.folder.path(), &["init", "--quiet", "empty"]).await;
    let url = world.double.clone_url("acme", "app").replace("http://", &format!("http://x-access-token:{TOKEN}@"));
    git(&empty, &["fetch", "--quiet", "--depth=1", &url, &lost]).await;
    assert_eq!(git(&empty, &["rev-parse", "FETCH_HEAD"]).await, lost);
    world.end();
}

#[tokio::test]
async fn only_those_with_a_token_get_in_and_only_writers_push() {
    let world = World::new().await;
    world.double.add_token("ghp_reader", "bob", github_double::TokenAccess::Read);
    let url = |user: &str| world.double.clone_url("acme", "app").replace("http://", &format!("http://{user}@"));
    for (who, url, enters) in [
        ("nobody", world.double.clone_url("acme", "app"), false),
        ("a wrong token", url("ada:ghp_wrong"), false),
        ("a reader", url("bob:ghp_reader"), true),
        ("a writer", url(&format!("ada:{TOKEN}")), true),
    ] {
        assert_eq!(try_git(world.folder.path(), &["ls-remote", &url]).await.0, enters, "{who}");
    }
    let copy = world.clone("copy").await;
    copy.commit("x", "x", "X").await;
    let (pushed, message) = try_git(&copy.path, &["push", &url("bob:ghp_reader"), "main"]).await;
    assert!(!pushed && message.contains("403"), "{message}");
    world.end();
}

#[tokio::test]
async fn pull_requests_have_refs_that_nobody_pushes_to() {
    let world = World::new().await;
    let copy = world.clone("copy").await;
    let commit = copy.branch("topic").await;
    let new = github_double::NewPullRequest::new("Topic", "topic", "main");
    let pull = world.double.open_pull_request("acme", "app", &new).await.unwrap();
    assert_eq!((pull.number, pull.mergeable, pull.commits), (1, Some(true), 1));
    let refs = copy.git(&["ls-remote", "origin", "refs/pull/*"]).await;
    assert!(refs.contains(&format!("{commit}\trefs/pull/1/head")), "{refs}");
    assert!(refs.contains("refs/pull/1/merge"), "{refs}");
    copy.git(&["fetch", "--quiet", "origin", "refs/pull/1/merge"]).await;
    let parents = copy.git(&["log", "-1", "--format=%P", "FETCH_HEAD"]).await;
    assert!(parents.ends_with(&commit), "{parents}");
    assert!(!try_git(&copy.path, &["push", "origin", "main:refs/pull/1/head"]).await.0);
    world.end();
}
