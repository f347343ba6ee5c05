//! The API server goes away for ten seconds.

use std::time::Duration;

use cluster::{ApplyOptions, ClusterError, DeleteOptions, Lease, Options};
use tokio::time::sleep;

use crate::live::{change_of, store};
use crate::{RUNTIME, config_map, connect, control_plane, namespace};

#[test]
fn ten_seconds_without_an_api_server() {
    RUNTIME.block_on(async {
        let mut control_plane = control_plane().await.write().await;
        let cluster = connect(&control_plane.kubeconfig).await;
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        let kept = cluster.apply(&config_map(&ns, "kept", Some(&ns), "1"), &options).await.unwrap().object;
        let doomed = cluster.apply(&config_map(&ns, "doomed", Some(&ns), "1"), &options).await.unwrap().object;
        let live = store(&cluster);
        live.ensure(&[cluster.kind_of(&kept).await.unwrap()]).await.unwrap();
        let mut changes = live.changes();
        let lease = Lease::hold(&cluster, &ns, "worker", "one").await.unwrap();

        control_plane.pause().await.unwrap();
        // One that has no patience is told at once, and it is told that trying again may help.
        let impatient = Options { retry_for: Duration::ZERO, ..Default::default() };
        let kubeconfig = cluster::Kubeconfig::file(&control_plane.kubeconfig);
        let error = cluster::Cluster::connect(&kubeconfig, impatient).await.unwrap().version().await.unwrap_err();
        assert!(matches!(error, ClusterError::Unreachable { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains(cluster.server()), "{error}");
        // What is known stays known.
        assert_eq!(live.owned_by(&ns).len(), 2);

        // A write that begins while it is away succeeds when it is back.
        sleep(Duration::from_secs(3)).await;
        let write = tokio::spawn({
            let (cluster, object) = (cluster.clone(), config_map(&ns, "new", Some(&ns), "1"));
            async move { cluster.apply(&object, &ApplyOptions::default()).await }
        });
        sleep(Duration::from_secs(7)).await;
        control_plane.resume().await.unwrap();
        // Before the store's watch is back, perhaps: nothing of it may be lost.
        cluster.delete(&doomed.key(), &DeleteOptions::default()).await.unwrap();
        cluster.apply(&config_map(&ns, "kept", Some(&ns), "2"), &options).await.unwrap();
        write.await.unwrap().unwrap();
        let mut expected = vec!["doomed", "kept", "new"];
        while !expected.is_empty() {
            let change = change_of(&mut changes, &ns).await;
            expected.retain(|name| *name != change.key.name);
        }
        assert!(live.get(&doomed.key()).is_none());
        assert_eq!(live.get(&kept.key()).unwrap().at("/data/key"), Some(&"2".into()));
        assert_eq!(live.owned_by(&ns).len(), 2);
        assert!(!lease.is_lost(), "the lease outlives the outage");
        lease.release().await.unwrap();
    });
}
