//! The crate against a real API server: one control plane for all of it, in one test program.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod access;
mod lease;
mod live;
mod migration;
mod outage;
mod watching;
mod writing;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use harness::{ControlPlane, ControlPlaneOptions};
use resources::Object;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

/// One runtime for all tests: the control plane belongs to it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// Tests share it by reading; who stops it writes.
static CONTROL_PLANE: OnceCell<RwLock<ControlPlane>> = OnceCell::const_new();

static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();

/// The administrator's kubeconfig, or another user's; for tests that run, which have the control plane already.
fn kubeconfig(user: Option<&str>) -> PathBuf {
    let admin = KUBECONFIG.get().unwrap();
    user.map_or(admin.clone(), |user| admin.with_file_name(format!("kubeconfig-{user}")))
}

async fn control_plane() -> &'static RwLock<ControlPlane> {
    let start = async || {
        let users = vec!["nobody-in-particular".to_owned()];
        let control_plane =
            ControlPlane::start_with(ControlPlaneOptions { users, ..Default::default() }).await.unwrap();
        KUBECONFIG.set(control_plane.kubeconfig.clone()).unwrap();
        RwLock::new(control_plane)
    };
    CONTROL_PLANE.get_or_init(start).await
}

/// Runs a test beside others.
fn test(body: impl AsyncFnOnce(Cluster)) {
    RUNTIME.block_on(async {
        let control_plane = control_plane().await.read().await;
        body(connect(&control_plane.kubeconfig).await).await;
    });
}

async fn connect(kubeconfig: &std::path::Path) -> Cluster {
    Cluster::connect(&Kubeconfig::file(kubeconfig), Options::default()).await.unwrap()
}

/// A namespace that no other test uses.
async fn namespace(cluster: &Cluster) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let object = object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    assert!(cluster.apply(&object, &ApplyOptions::default()).await.unwrap().created);
    name
}

fn object(value: Value) -> Object {
    Object(value)
}

fn config_map(namespace: &str, name: &str, owner: Option<&str>, value: &str) -> Object {
    let mut object = object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace}, "data": {"key": value}
    }));
    if let Some(owner) = owner {
        object.set_label("owner", owner);
    }
    object
}

fn deployment(namespace: &str, replicas: u32) -> Object {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "gateway"}}, "template": {
            "metadata": {"labels": {"app": "gateway"}},
            "spec": {"containers": [{"name": "gateway", "image": "registry.example/gateway:1"}]}}}
    }))
}

async fn replica_sets(cluster: &Cluster, namespace: &str) -> Vec<Object> {
    let kind = cluster.kind("apps", Some("v1"), "ReplicaSet").await.unwrap().unwrap();
    cluster.list(&kind, Some(namespace), None).await.unwrap()
}

/// Asks until the answer is good.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

fn definition(plural: &str, kind: &str) -> Object {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}
    }))
}
