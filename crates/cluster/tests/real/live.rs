//! The store of live objects.

use std::sync::Arc;

use cluster::{ApplyOptions, Cluster, DeleteOptions, LiveChange, LiveChanges, LiveStore};
use resources::{Object, ObjectKey};
use serde_json::json;

use crate::{config_map, definition, deployment, namespace, object, test};

/// A store that takes the label `owner` for the owner.
pub(crate) fn store(cluster: &Cluster) -> LiveStore {
    LiveStore::new(cluster.clone(), Arc::new(|object: &Object| object.label("owner").map(str::to_owned)))
}

/// The next change of one owner: other tests write too.
pub(crate) async fn change_of(changes: &mut LiveChanges, owner: &str) -> LiveChange {
    let next = async {
        loop {
            let change = changes.recv().await;
            if &*change.owner == owner {
                return change;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), next).await.expect("a change")
}

#[test]
fn it_keeps_what_is_owned_and_tells_what_others_do() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let (app, other) = (format!("{ns}-app"), format!("{ns}-other"));
        let options = ApplyOptions::default();
        let owned = cluster.apply(&config_map(&ns, "a", Some(&app), "1"), &options).await.unwrap().object;
        let unowned = cluster.apply(&config_map(&ns, "b", None, "1"), &options).await.unwrap().object;
        let kinds = [cluster.kind_of(&owned).await.unwrap()];
        let live = store(&cluster);
        live.ensure(&kinds).await.unwrap();
        assert!(live.has("", "ConfigMap") && live.kinds() == kinds);
        assert_eq!(live.get(&owned.key()).unwrap().at("/data/key"), Some(&"1".into()));
        assert!(live.get(&unowned.key()).is_none());
        assert_eq!(live.owned_by(&app).len(), 1);

        let mut changes = live.changes();
        // Our own write: known at once, and no news.
        let writing = live.writing(&owned.key());
        let ours = cluster.apply(&config_map(&ns, "a", Some(&app), "2"), &options).await.unwrap().object;
        writing.record(&ours);
        assert_eq!(live.get(&owned.key()).unwrap().at("/data/key"), Some(&"2".into()));
        // Somebody else's: the first that is told.
        let kubectl = ApplyOptions { field_manager: Some("kubectl".into()), ..Default::default() };
        cluster.apply(&config_map(&ns, "a", Some(&app), "3"), &kubectl).await.unwrap();
        let change = change_of(&mut changes, &app).await;
        let object = change.object.unwrap();
        assert_eq!(object.at("/data/key"), Some(&"3".into()));
        // Who wrote after us is kept, so that it can be told.
        let fields = object.at("/metadata/managedFields").and_then(|fields| fields.as_array());
        assert!(fields.into_iter().flatten().any(|entry| entry["manager"] == "kubectl"), "{object:?}");

        // Somebody adopts one, gives it to another, deletes it.
        cluster.merge_patch(&unowned.key(), &json!({"metadata": {"labels": {"owner": app}}})).await.unwrap();
        assert_eq!(change_of(&mut changes, &app).await.key.name, "b");
        cluster.merge_patch(&unowned.key(), &json!({"metadata": {"labels": {"owner": other}}})).await.unwrap();
        assert!(change_of(&mut changes, &app).await.object.is_none());
        assert_eq!(live.owned_by(&other).len(), 1);
        cluster.delete(&unowned.key(), &DeleteOptions::default()).await.unwrap();
        let mut changes = changes;
        loop {
            if change_of(&mut changes, &other).await.object.is_none() {
                break;
            }
        }
        assert!(live.get(&unowned.key()).is_none() && live.owned_by(&other).is_empty());
        // The outlines of unowned objects take the owner away as well.
        cluster.merge_patch(&owned.key(), &json!({"metadata": {"labels": {"owner": null}}})).await.unwrap();
        assert!(change_of(&mut changes, &app).await.object.is_none());
    });
}

#[test]
fn it_keeps_the_status_and_follows_it() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let mut workload = deployment(&ns, 2);
        workload.set_label("owner", &ns);
        let written = cluster.apply(&workload, &ApplyOptions::default()).await.unwrap().object;
        let live = store(&cluster);
        let mut changes = live.changes();
        live.ensure(&[cluster.kind_of(&written).await.unwrap()]).await.unwrap();
        loop {
            let change = change_of(&mut changes, &ns).await;
            let object = change.object.unwrap();
            if object.at("/status/availableReplicas") == Some(&2.into()) {
                break;
            }
        }
    });
}

#[test]
fn a_kind_that_goes_away_takes_its_objects_with_it_and_may_come_back() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        let definition = definition("visitors", "Visitor");
        let visitor = object(json!({"apiVersion": "example.com/v1", "kind": "Visitor",
            "metadata": {"name": "a", "namespace": ns, "labels": {"owner": ns}}}));
        cluster.apply(&definition, &options).await.unwrap();
        cluster.apply(&visitor, &options).await.unwrap();
        let kinds = [cluster.kind_of(&visitor).await.unwrap()];
        let live = store(&cluster);
        live.ensure(&kinds).await.unwrap();
        assert_eq!(live.owned_by(&ns).len(), 1);
        let mut changes = live.changes();
        cluster.delete(&definition.key(), &DeleteOptions::default()).await.unwrap();
        assert!(change_of(&mut changes, &ns).await.object.is_none());
        assert!(live.owned_by(&ns).is_empty());

        let gone = ObjectKey::new("apiextensions.k8s.io", "CustomResourceDefinition", "", definition.name());
        while cluster.get(&gone).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        cluster.apply(&definition, &options).await.unwrap();
        cluster.apply(&visitor, &options).await.unwrap();
        // The store may not have noticed yet that the kind is another one now; asking again gets it there.
        let back = async {
            while live.owned_by(&ns).is_empty() {
                let _ = live.ensure(&kinds).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), back).await.unwrap();
    });
}

#[test]
fn a_kind_that_is_not_there_is_an_error() {
    test(async |cluster| {
        let mut kind = cluster.kind("", Some("v1"), "ConfigMap").await.unwrap().unwrap();
        kind.plural = "nonsense".into();
        let live = store(&cluster);
        for _ in 0..3 {
            let again =
                tokio::time::timeout(std::time::Duration::from_secs(10), live.ensure(std::slice::from_ref(&kind)));
            assert!(again.await.expect("an answer at once").unwrap_err().is_not_found());
        }
        assert!(!live.has("", "ConfigMap"));
    });
}
