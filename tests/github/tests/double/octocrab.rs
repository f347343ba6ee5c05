//! The client that most programs in Rust use understands every answer.

use octocrab::Octocrab;
use octocrab::models::StatusState;
use octocrab::params::State;
use octocrab::params::repos::Reference;

use github_double::NewPullRequest;

use crate::support::{Receiver, SECRET, TOKEN, World};

#[tokio::test]
async fn octocrab_reads_what_the_double_answers() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let hook = world.double.add_hook("acme", "app", &receiver.url, Some(SECRET), &["push"]).await.unwrap();
    let copy = world.clone("copy").await;
    let sha = copy.branch("topic").await;
    world.double.open_pull_request("acme", "app", &NewPullRequest::new("Topic", "topic", "main")).await.unwrap();
    world.double.add_labels("acme", "app", 1, &["preview"]).await.unwrap();
    world.delivered("push", None).await;
    let client = Octocrab::builder().base_uri(world.double.api_url()).unwrap().personal_token(TOKEN).build().unwrap();
    let repository = client.repos("acme", "app");

    assert_eq!(repository.get().await.unwrap().full_name.as_deref(), Some("acme/app"));
    let status = repository.create_status(sha.clone(), StatusState::Success).context("lockstep".to_owned());
    status.description("Synced".to_owned()).target("https://l.example".to_owned()).send().await.unwrap();
    assert_eq!(repository.list_statuses(sha.clone()).per_page(100).send().await.unwrap().items.len(), 1);
    let combined = repository.combined_status_for_ref(&Reference::Branch("topic".to_owned())).await.unwrap();
    assert_eq!((combined.sha, combined.total_count), (sha.clone(), 1));

    let deployments = repository.deployments();
    let deployment =
        deployments.create(&sha).environment("dev").required_contexts(Vec::<String>::new()).auto_merge(false);
    let deployment = deployment.send().await.unwrap();
    assert_eq!(deployments.list().send().await.unwrap().items[0].id, deployment.id);

    let pulls = client.pulls("acme", "app");
    let listed = pulls.list().state(State::Open).per_page(10).send().await.unwrap();
    assert_eq!((listed.items.len(), listed.items[0].head.sha.as_str()), (1, sha.as_str()));
    assert_eq!(pulls.get(1).await.unwrap().labels.map(|l| l[0].name.clone()).as_deref(), Some("preview"));
    client.issues("acme", "app").create_comment(1, "Hello").await.unwrap();
    assert_eq!(client.issues("acme", "app").list_comments(1).send().await.unwrap().items.len(), 1);

    let hook = u64::try_from(hook).unwrap();
    assert_eq!(repository.hooks().get(hook).await.unwrap().config.url, receiver.url);
    let deliveries = repository.hooks().deliveries(hook).list().send().await.unwrap();
    assert_eq!(deliveries.items.len(), 2);
    world.end();
}
