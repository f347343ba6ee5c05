//! Which kinds a cluster serves. Asked for in one go (aggregated discovery), kept, and asked for again when a kind is
//! missing or a CustomResourceDefinition changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use kube::client::APIGroupDiscoveryList;
use kube::core::discovery::v2::ACCEPT_AGGREGATED_DISCOVERY_V2;
use resources::{Object, ObjectKey};

use crate::client::{Call, Cluster, Inner, Selection, parse, segment};
use crate::error::{ClusterError, Subject};
use crate::watch::{Sink, Watcher};

/// A missing kind asks the API server again, but not more often than this.
const FRESH: Duration = Duration::from_secs(1);
/// A change of many definitions at once asks the API server again no more often than this.
const BETWEEN: Duration = Duration::from_millis(200);
/// Aggregated APIs come and go without an event.
const OLD: Duration = Duration::from_secs(600);
/// How long a missing kind is waited for after a CustomResourceDefinition changed: discovery follows a little later.
const SETTLING: Duration = Duration::from_secs(3);

/// A kind in one version, as the cluster serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, for example `v1`.
    pub version: String,
    /// Kind, as in manifests.
    pub kind: String,
    /// The name in paths, for example `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it can be listed and watched.
    pub watchable: bool,
    /// Whether its status is written separately.
    pub has_status: bool,
}

impl ApiKind {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of all its objects in all namespaces.
    pub(crate) fn root(&self) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/{}", self.api_version(), self.plural)
    }

    /// The path of its objects in one namespace.
    pub(crate) fn path(&self, namespace: Option<&str>, subject: &Subject<'_>) -> Result<String, ClusterError> {
        let Some(namespace) = namespace else { return Ok(self.root()) };
        let namespace = segment(namespace, "metadata.namespace", subject)?;
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        Ok(format!("{root}/{}/namespaces/{namespace}/{}", self.api_version(), self.plural))
    }
}

/// What the API server served when it was last asked.
struct Snapshot {
    at: Instant,
    /// By group and kind: the served versions, preferred first.
    kinds: HashMap<(String, String), Vec<ApiKind>>,
    api_versions: Vec<String>,
}

/// The cache.
#[derive(Default)]
pub(crate) struct Discovery {
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    /// One question at a time; who waits takes the answer.
    asking: tokio::sync::Mutex<()>,
    stale: AtomicBool,
    changed_at: Mutex<Option<Instant>>,
    watching: OnceLock<()>,
}

impl Discovery {
    /// A definition changed: what is cached may no longer be true, and what the API server says is not yet true for a
    /// moment.
    pub(crate) fn invalidate(&self) {
        *self.changed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.doubt();
    }

    /// Something cached turned out to be wrong.
    pub(crate) fn doubt(&self) {
        self.stale.store(true, Ordering::Release);
    }

    fn current(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a kind that is missing may only not be served yet.
    pub(crate) fn settling(&self) -> bool {
        let at = *self.changed_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < SETTLING)
    }
}

impl Cluster {
    /// The kind of a manifest: in the version asked for, or in the one that the API server prefers. None if the cluster
    /// does not serve it.
    pub async fn kind(&self, group: &str, version: Option<&str>, kind: &str) -> Result<Option<ApiKind>, ClusterError> {
        let mut snapshot = self.discover(false).await?;
        let started = Instant::now();
        loop {
            if let Some(found) = find(&snapshot, group, version, kind) {
                return Ok(Some(found));
            }
            let settling = self.inner.discovery.settling() && started.elapsed() < SETTLING;
            if snapshot.at.elapsed() < FRESH && !settling {
                return Ok(None);
            }
            if settling && snapshot.at > started {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            snapshot = self.discover(true).await?;
        }
    }

    /// The kind of an object, or an error that says what is missing.
    pub async fn kind_of(&self, object: &Object) -> Result<ApiKind, ClusterError> {
        match self.kind(object.group(), Some(object.version()), object.kind()).await? {
            Some(kind) => Ok(kind),
            None => Err(self.unknown_kind(object.group(), object.api_version(), object.kind())),
        }
    }

    /// All that is served, as Helm's `.Capabilities.APIVersions` wants it: `apps/v1` and `apps/v1/Deployment`, sorted.
    pub async fn api_versions(&self) -> Result<Vec<String>, ClusterError> {
        Ok(self.discover(false).await?.api_versions.clone())
    }

    /// All kinds in their preferred versions.
    pub async fn kinds(&self) -> Result<Vec<ApiKind>, ClusterError> {
        let snapshot = self.discover(false).await?;
        Ok(snapshot.kinds.values().filter_map(|versions| versions.first().cloned()).collect())
    }

    pub(crate) fn unknown_kind(&self, group: &str, api_version: &str, kind: &str) -> ClusterError {
        let snapshot = self.inner.discovery.current();
        let served = snapshot.as_ref().and_then(|s| s.kinds.get(&(group.to_owned(), kind.to_owned())));
        let hint = served.map_or_else(String::new, |versions| {
            let list: Vec<_> = versions.iter().map(ApiKind::api_version).collect();
            format!(" (served: {})", list.join(", "))
        });
        ClusterError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned(), hint }
    }

    async fn discover(&self, again: bool) -> Result<Arc<Snapshot>, ClusterError> {
        let discovery = &self.inner.discovery;
        discovery.watching.get_or_init(|| watch_definitions(self));
        let asked = Instant::now();
        let usable = |snapshot: &Arc<Snapshot>| {
            let age = snapshot.at.elapsed();
            if again {
                snapshot.at > asked
            } else {
                age < OLD && (age < BETWEEN || !discovery.stale.load(Ordering::Acquire))
            }
        };
        if let Some(snapshot) = discovery.current().filter(&usable) {
            return Ok(snapshot);
        }
        let _one = discovery.asking.lock().await;
        if let Some(snapshot) = discovery.current().filter(usable) {
            return Ok(snapshot);
        }
        discovery.stale.store(false, Ordering::Release);
        // Shared by all clones, so asked for as ourselves.
        match Self::ourselves(self.inner.clone()).ask().await {
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                *discovery.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
                Ok(snapshot)
            }
            Err(error) => {
                discovery.stale.store(true, Ordering::Release);
                // What was true a moment ago is better than nothing while the API server is away.
                discovery.current().filter(|_| !again && error.is_transient()).ok_or(error)
            }
        }
    }

    async fn ask(&self) -> Result<Snapshot, ClusterError> {
        let at = Instant::now();
        let subject = Subject::new("discover the kinds of the cluster", ObjectKey::new("", "", "", ""));
        let ask = async |path: &str| {
            let mut call = Call::get(path.to_owned());
            call.accept = ACCEPT_AGGREGATED_DISCOVERY_V2;
            let reply = self.call(&subject, &call).await?;
            parse::<APIGroupDiscoveryList>(&subject, &reply.text)
        };
        let (core, groups) = futures::try_join!(ask("/api"), ask("/apis"))?;
        if core.items.is_empty() {
            return Err(ClusterError::Malformed {
                what: subject.what(),
                reason: "no aggregated discovery; Kubernetes 1.27 or newer is needed".to_owned(),
            });
        }
        Ok(snapshot(at, [core, groups]))
    }
}

fn snapshot(at: Instant, lists: [APIGroupDiscoveryList; 2]) -> Snapshot {
    let mut kinds: HashMap<(String, String), Vec<ApiKind>> = HashMap::new();
    let mut api_versions = Vec::new();
    for group in lists.into_iter().flat_map(|list| list.items) {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for served in group.versions {
            let version = served.version.unwrap_or_default();
            let api_version = if name.is_empty() { version.clone() } else { format!("{name}/{version}") };
            for resource in served.resources {
                let Some(response) = resource.response_kind else { continue };
                let Some(kind) = response.kind.filter(|kind| !kind.is_empty()) else { continue };
                let verbs = &resource.verbs;
                let has = |verb: &str| verbs.iter().any(|v| v == verb);
                api_versions.push(format!("{api_version}/{kind}"));
                kinds.entry((name.clone(), kind.clone())).or_default().push(ApiKind {
                    group: name.clone(),
                    version: version.clone(),
                    kind,
                    plural: resource.resource.unwrap_or_default(),
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    watchable: has("list") && has("watch"),
                    has_status: resource.subresources.iter().any(|s| s.subresource.as_deref() == Some("status")),
                });
            }
            api_versions.push(api_version);
        }
    }
    api_versions.sort_unstable();
    api_versions.dedup();
    Snapshot { at, kinds, api_versions }
}

fn find(snapshot: &Snapshot, group: &str, version: Option<&str>, kind: &str) -> Option<ApiKind> {
    let versions = snapshot.kinds.get(&(group.to_owned(), kind.to_owned()))?;
    match version {
        Some(version) => versions.iter().find(|served| served.version == version).cloned(),
        None => versions.first().cloned(),
    }
}

/// Watches the CustomResourceDefinitions (their metadata only) for as long as the cluster is used.
fn watch_definitions(cluster: &Cluster) {
    let weak: Weak<Inner> = Arc::downgrade(&cluster.inner);
    let kind = ApiKind {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
        namespaced: false,
        watchable: true,
        has_status: true,
    };
    let selection = Selection { kind, namespace: None, selector: None, metadata_only: true, name: None };
    tokio::spawn(async move {
        let watcher = Watcher::new(weak.clone(), selection, None);
        watcher.feed(&mut Definitions { cluster: weak, listed: false }).await;
    });
}

/// Each change of a definition puts what is cached in doubt; which definition it was does not matter, so none is held.
struct Definitions {
    cluster: Weak<Inner>,
    listed: bool,
}

impl Definitions {
    fn changed(&self) {
        if let Some(inner) = self.cluster.upgrade() {
            inner.discovery.invalidate();
        }
    }
}

impl Sink for Definitions {
    fn known(&self) -> Vec<ObjectKey> {
        Vec::new()
    }

    fn applied(&mut self, _: Object) {
        self.changed();
    }

    fn gone(&mut self, _: &ObjectKey) {
        self.changed();
    }

    fn reset(&mut self, _: Vec<Object>, _: &str) {
        // The first list says nothing new: discovery is asked for right after this task was started.
        if std::mem::replace(&mut self.listed, true) {
            self.changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn served() -> Snapshot {
        let core = json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "scope": "Namespaced", "verbs": ["get", "list", "watch"],
             "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
             "subresources": [{"subresource": "status", "verbs": ["get"]}]},
            {"resource": "bindings", "scope": "Namespaced", "verbs": ["create"],
             "responseKind": {"group": "", "version": "v1", "kind": "Binding"}}]}]}]});
        let groups = json!({"items": [{"metadata": {"name": "autoscaling"}, "versions": [
            {"version": "v2", "resources": [{"resource": "horizontalpodautoscalers", "scope": "Namespaced",
                "verbs": ["list", "watch"], "responseKind": {"kind": "HorizontalPodAutoscaler"}}]},
            {"version": "v1", "resources": [{"resource": "horizontalpodautoscalers", "scope": "Namespaced",
                "verbs": ["list", "watch"], "responseKind": {"kind": "HorizontalPodAutoscaler"}}]}]}]});
        let list = |value| serde_json::from_value::<APIGroupDiscoveryList>(value).unwrap();
        snapshot(Instant::now(), [list(core), list(groups)])
    }

    #[test]
    fn kinds_are_found_in_the_preferred_or_the_wanted_version() {
        let served = served();
        let version = |group: &str, version: Option<&str>, kind: &str| {
            find(&served, group, version, kind).map(|found| found.api_version())
        };
        assert_eq!(version("autoscaling", None, "HorizontalPodAutoscaler").as_deref(), Some("autoscaling/v2"));
        assert_eq!(version("autoscaling", Some("v1"), "HorizontalPodAutoscaler").as_deref(), Some("autoscaling/v1"));
        assert_eq!(version("autoscaling", Some("v3"), "HorizontalPodAutoscaler"), None);
        assert_eq!(version("", Some("v1"), "Pod").as_deref(), Some("v1"));
        let binding = find(&served, "", None, "Binding").unwrap();
        assert!(!binding.watchable && !binding.has_status);
        assert_eq!(
            served.api_versions,
            [
                "autoscaling/v1",
                "autoscaling/v1/HorizontalPodAutoscaler",
                "autoscaling/v2",
                "autoscaling/v2/HorizontalPodAutoscaler",
                "v1",
                "v1/Binding",
                "v1/Pod"
            ]
        );
    }

    #[test]
    fn paths() {
        let served = served();
        let subject = Subject::new("get", ObjectKey::new("", "Pod", "dev", "x"));
        let pod = find(&served, "", None, "Pod").unwrap();
        let hpa = find(&served, "autoscaling", None, "HorizontalPodAutoscaler").unwrap();
        assert_eq!(pod.path(Some("dev"), &subject).unwrap(), "/api/v1/namespaces/dev/pods");
        assert_eq!(hpa.root(), "/apis/autoscaling/v2/horizontalpodautoscalers");
        assert!(pod.path(Some("../x"), &subject).is_err());
        assert!(pod.path(Some(""), &subject).is_err());
    }
}
