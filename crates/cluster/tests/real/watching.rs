//! Watching a kind.

use std::pin::pin;

use cluster::{ApplyOptions, DeleteOptions, WatchEvent};
use futures::StreamExt as _;

use crate::{config_map, namespace, test};

#[test]
fn a_list_and_then_every_change() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        let first = cluster.apply(&config_map(&ns, "a", Some("x"), "1"), &options).await.unwrap().object;
        cluster.apply(&config_map(&ns, "other", None, "1"), &options).await.unwrap();
        let kind = cluster.kind_of(&first).await.unwrap();
        let mut events = pin!(cluster.watch(&kind, Some(&ns), Some("owner=x")));

        let Some(Ok(WatchEvent::Reset(list))) = events.next().await else { panic!() };
        assert_eq!(list.iter().map(|o| (o.kind(), o.name())).collect::<Vec<_>>(), [("ConfigMap", "a")]);
        cluster.apply(&config_map(&ns, "other", None, "2"), &options).await.unwrap();
        cluster.apply(&config_map(&ns, "a", Some("x"), "2"), &options).await.unwrap();
        let Some(Ok(WatchEvent::Applied(changed))) = events.next().await else { panic!() };
        assert_eq!((changed.api_version(), changed.at("/data/key")), ("v1", Some(&"2".into())));
        cluster.delete(&first.key(), &DeleteOptions::default()).await.unwrap();
        let Some(Ok(WatchEvent::Deleted(gone))) = events.next().await else { panic!() };
        assert_eq!(gone.key(), first.key());
    });
}

#[test]
fn one_object_and_no_other() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        let other = cluster.apply(&config_map(&ns, "other", None, "1"), &options).await.unwrap().object;
        let kind = cluster.kind_of(&other).await.unwrap();
        let mut events = pin!(cluster.watch_one(&kind, Some(&ns), "a"));
        let Some(Ok(WatchEvent::Reset(list))) = events.next().await else { panic!() };
        assert!(list.is_empty(), "{list:?}");
        cluster.apply(&config_map(&ns, "other", None, "2"), &options).await.unwrap();
        cluster.apply(&config_map(&ns, "a", None, "1"), &options).await.unwrap();
        let Some(Ok(WatchEvent::Applied(object))) = events.next().await else { panic!() };
        assert_eq!(object.name(), "a");
        let mut again = pin!(cluster.watch_one(&kind, Some(&ns), "a"));
        let Some(Ok(WatchEvent::Reset(list))) = again.next().await else { panic!() };
        assert_eq!(list.iter().map(|object| object.name()).collect::<Vec<_>>(), ["a"]);
    });
}

#[test]
fn long_lists_come_in_pages() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = cluster::Options { page: 3, ..Default::default() };
        let small =
            cluster::Cluster::connect(&cluster::Kubeconfig::file(crate::kubeconfig(None)), options).await.unwrap();
        let writes = (0..10).map(|n| {
            let cluster = cluster.clone();
            let object = config_map(&ns, &format!("c{n}"), Some("x"), "1");
            async move { cluster.apply(&object, &ApplyOptions::default()).await.unwrap() }
        });
        let written = futures::future::join_all(writes).await;
        let kind = small.kind_of(&written[0].object).await.unwrap();
        assert_eq!(small.list(&kind, Some(&ns), Some("owner=x")).await.unwrap().len(), 10);
        let mut events = pin!(small.watch(&kind, Some(&ns), Some("owner=x")));
        let Some(Ok(WatchEvent::Reset(list))) = events.next().await else { panic!() };
        assert_eq!(list.len(), 10);
    });
}
