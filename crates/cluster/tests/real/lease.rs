//! One holder at a time.

use std::time::Duration;

use cluster::{ApplyOptions, ClusterError, DeleteOptions, Lease, LeaseOptions, Lost};
use harness::Passage;
use resources::ObjectKey;
use serde_json::json;

use crate::{config_map, connect, kubeconfig, namespace, test, until};

const QUICK: LeaseOptions = LeaseOptions {
    duration: Duration::from_secs(2),
    give_up: Duration::from_millis(1500),
    every: Duration::from_millis(100),
    attempt: Duration::from_millis(500),
    margin: Duration::from_millis(200),
};

#[test]
fn it_goes_from_one_holder_to_the_next() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let hold = async |who: &str| Lease::hold_with(&cluster, &ns, "worker", who, QUICK).await.unwrap();
        let first = hold("one").await;
        let waiting = tokio::time::timeout(Duration::from_secs(3), hold("two")).await;
        assert!(waiting.is_err() && !first.is_lost(), "a Lease that is renewed is not taken");
        first.release().await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(1), hold("two")).await.expect("released");

        // The same identity again, as after a crash: at once, and the earlier run notices.
        let again = tokio::time::timeout(Duration::from_secs(1), hold("two")).await.expect("our own");
        tokio::time::timeout(Duration::from_secs(2), second.lost()).await.expect("taken over");
        assert!(!again.is_lost());

        // Nobody renews it any more: it is taken after its time.
        drop(again);
        let third = tokio::time::timeout(Duration::from_secs(10), hold("three")).await.expect("expired");
        assert!(!third.is_lost());
    });
}

/// Long enough for a machine that is busy; one attempt is short.
const PATIENT: LeaseOptions = LeaseOptions {
    duration: Duration::from_secs(30),
    give_up: Duration::from_secs(20),
    every: Duration::from_millis(200),
    attempt: Duration::from_secs(1),
    margin: Duration::from_secs(5),
};

fn lease_of(namespace: &str) -> ObjectKey {
    ObjectKey::new("coordination.k8s.io", "Lease", namespace, "worker")
}

#[test]
fn a_request_that_hangs_does_not_use_up_the_time_of_the_next() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let passage = Passage::to(cluster.server()).await.unwrap();
        let distant = connect(&passage.kubeconfig(&kubeconfig(None)).unwrap()).await;
        let held = Lease::hold_with(&distant, &ns, "worker", "one", PATIENT).await.unwrap();
        let version = async || cluster.get(&lease_of(&ns)).await.unwrap().unwrap().resource_version().to_owned();
        passage.silence();
        // One attempt at least is under way and never answered.
        tokio::time::sleep(PATIENT.every + PATIENT.attempt).await;
        let before = version().await;
        passage.open();
        until("it is renewed over a new connection", async || (version().await != before).then_some(())).await;
        assert!(!held.is_lost());
    });
}

#[test]
fn a_loss_says_why() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let hold = async |who: &str| Lease::hold_with(&cluster, &ns, "worker", who, QUICK).await.unwrap();
        let first = hold("one").await;
        let again = hold("one").await;
        assert_eq!(first.lost().await, Lost::TakenByLaterRun { holder: "one".into() });
        assert!(again.term() > first.term());
        let patch = json!({ "spec": { "holderIdentity": "two" } });
        cluster.merge_patch(&lease_of(&ns), &patch).await.unwrap();
        assert_eq!(again.lost().await, Lost::Taken { holder: "two".into() });
        cluster.delete(&lease_of(&ns), &DeleteOptions::default()).await.unwrap();
        let third = hold("three").await;
        cluster.delete(&lease_of(&ns), &DeleteOptions::default()).await.unwrap();
        assert_eq!(third.lost().await, Lost::Removed);
        // And it can be taken again at once.
        let fourth = hold("three").await;
        cluster.merge_patch(&lease_of(&ns), &json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
        cluster.fenced(fourth.fence()).confirms_lease().await.unwrap();
        assert!(!fourth.is_lost(), "somebody labelled it, and it is still ours");
    });
}

/// A runtime of one thread that sleeps is a process that was stopped: nothing of it runs, the renewal neither.
#[test]
fn who_was_stopped_and_lost_its_lease_writes_nothing() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let (stalled, goes_on) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel::<()>());
        let first = std::thread::spawn({
            let (ns, stalled, goes_on) = (ns.clone(), stalled.0, goes_on.1);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let cluster = connect(&kubeconfig(None)).await;
                    let held = Lease::hold_with(&cluster, &ns, "worker", "one", QUICK).await.unwrap();
                    let writer = cluster.fenced(held.fence());
                    let older = config_map(&ns, "content", None, "older");
                    writer.apply(&older, &ApplyOptions::default()).await.unwrap();
                    stalled.send(()).unwrap();
                    goes_on.recv().unwrap();
                    let key = older.key();
                    let patch = json!({ "data": { "key": "older" } });
                    [
                        writer.apply(&older, &ApplyOptions::default()).await.map(drop),
                        writer.replace(&older, &ApplyOptions::default()).await.map(drop),
                        writer.create(&config_map(&ns, "new", None, "older"), &ApplyOptions::default()).await.map(drop),
                        writer.merge_patch(&key, &patch).await.map(drop),
                        writer.managed_as("status").merge_patch(&key, &patch).await.map(drop),
                        writer.impersonating("system:admin").merge_patch(&key, &patch).await.map(drop),
                        writer.delete(&key, &DeleteOptions::default()).await.map(drop),
                        writer.permits_writes().await,
                    ]
                })
            }
        });
        let stalled = stalled.1;
        tokio::task::spawn_blocking(move || stalled.recv().unwrap()).await.unwrap();
        let second = Lease::hold_with(&cluster, &ns, "worker", "two", QUICK).await.unwrap();
        let newer = config_map(&ns, "content", None, "newer");
        let written = cluster.fenced(second.fence()).apply(&newer, &ApplyOptions::default()).await.unwrap().object;
        goes_on.0.send(()).unwrap();
        let outcomes = tokio::task::spawn_blocking(move || first.join().unwrap()).await.unwrap();
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            assert!(matches!(error, ClusterError::Fenced { .. }) && error.is_transient(), "{number}: {error}");
        }
        assert_eq!(cluster.get(&newer.key()).await.unwrap().unwrap(), written, "nothing was written");
        assert!(cluster.get(&config_map(&ns, "new", None, "").key()).await.unwrap().is_none());
    });
}

/// Between the decision and the write somebody else wrote: the lease is looked at before that is overwritten.
#[test]
fn an_apply_that_expects_another_object_looks_at_the_lease() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let held = Lease::hold_with(&cluster, &ns, "worker", "one", PATIENT).await.unwrap();
        let writer = cluster.fenced(held.fence());
        let ours = config_map(&ns, "content", None, "ours");
        let first = writer.apply(&ours, &ApplyOptions::default()).await.unwrap().object;
        let options = ApplyOptions {
            expects_live: true,
            live_version: Some(first.resource_version().to_owned()),
            ..ApplyOptions::default()
        };
        let theirs = config_map(&ns, "content", None, "theirs");
        let as_them = ApplyOptions { field_manager: Some("them".into()), ..ApplyOptions::default() };
        cluster.apply(&theirs, &as_them).await.unwrap();
        // Another one changed it, and the lease is ours: the apply goes through.
        let healed = writer.apply(&ours, &options).await.unwrap().object;
        assert_eq!(healed.at("/data/key"), Some(&"ours".into()));
        // Somebody else holds the lease and changed it. The renewal has not found out yet, or just did.
        cluster.merge_patch(&lease_of(&ns), &json!({ "spec": { "holderIdentity": "two" } })).await.unwrap();
        cluster.apply(&theirs, &as_them).await.unwrap();
        let error = writer.apply(&ours, &options).await.unwrap_err();
        assert!(matches!(error, ClusterError::Fenced { .. }), "{error}");
        assert_eq!(cluster.get(&ours.key()).await.unwrap().unwrap().at("/data/key"), Some(&"theirs".into()));
    });
}
