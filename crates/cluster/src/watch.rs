//! Watching a kind: a list, then every change, for as long as somebody listens. Goes on by itself after time-outs,
//! broken connections and restarts of the API server: from the last resource version where the API server still knows
//! it, with a new list where it does not, so that no change is lost.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::io::AsyncBufReadExt as _;
use futures::{AsyncBufRead, Stream};
use kube::core::response::Status;
use resources::{Object, ObjectKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use crate::client::{Call, Cluster, Inner, Selection, malformed, with_type};
use crate::discovery::ApiKind;
use crate::error::{ClusterError, from_kube, from_status};

/// Bookmarks come about once a minute; a stream that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The pause after an answer that a second attempt will not change: no permission, no such kind.
const REFUSED_PAUSE: Duration = Duration::from_secs(15);

/// Who takes in what a watch tells. There is one contract for all of them: a reset is the whole truth, so that what it does not
/// have is gone, whatever was missed meanwhile.
pub trait Sink: Send {
    /// What it holds, of the kind that is watched.
    fn known(&self) -> Vec<ObjectKey>;

    /// An object was created or changed, or is there.
    fn applied(&mut self, object: Object);

    /// An object is gone.
    fn gone(&mut self, key: &ObjectKey);

    /// All objects there are: at first, and again whenever changes may have been missed. What else it holds is gone.
    fn reset(&mut self, all: Vec<Object>, _version: &str) {
        let listed: HashSet<ObjectKey> = all.iter().map(Object::key).collect();
        for key in self.known().iter().filter(|key| !listed.contains(key)) {
            self.gone(key);
        }
        all.into_iter().for_each(|object| self.applied(object));
    }

    /// An object is gone; at least `apiVersion`, `kind` and `metadata` of its last state.
    fn deleted(&mut self, outline: Object) {
        self.gone(&outline.key());
    }

    /// A reset is complete: what is held is what there is.
    fn complete(&mut self) {}

    /// Everything up to this version has been told.
    fn bookmark(&mut self, _version: &str) {}

    /// An attempt failed, told once per outage; the watch goes on.
    fn failed(&mut self, _error: ClusterError) {}
}

/// One change, as [`Cluster::watch`] tells it.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// All objects there are: at first, and again whenever changes may have been missed. What is not among them is gone.
    Reset(Vec<Object>),
    /// An object was created or changed.
    Applied(Object),
    /// An object is gone; this was its last state.
    Deleted(Object),
}

/// Told from an object's `apiVersion`, `kind` and `metadata` whether the rest of it is worth reading.
pub(crate) type Keep = Arc<dyn Fn(&Object) -> bool + Send + Sync>;

pub(crate) enum RawEvent {
    /// A complete list as of `version`; what is not kept is left out.
    Reset {
        objects: Vec<Object>,
        version: String,
    },
    Changed(Object),
    /// Changed, and not kept: `apiVersion`, `kind` and `metadata` only.
    Dropped(Object),
    /// Gone; `apiVersion`, `kind` and `metadata` only.
    Deleted(Object),
    /// Everything up to this version has been told.
    Bookmark(String),
    /// An attempt failed; the watcher goes on.
    Failed(ClusterError),
}

type Lines = std::pin::Pin<Box<dyn AsyncBufRead + Send>>;

enum State {
    List,
    Connect(String),
    Read(Lines, String),
}

/// The state of one watch. It does not keep the cluster alive: when the last [`Cluster`] is dropped, it ends.
pub(crate) struct Watcher {
    cluster: Weak<Inner>,
    alive: Option<watch::Receiver<()>>,
    selection: Selection,
    keep: Option<Keep>,
    state: State,
    line: Vec<u8>,
    pause: Duration,
    /// Failures are told once, not once per attempt.
    told: bool,
    wait: Option<Duration>,
    wake: Arc<Notify>,
}

impl Watcher {
    pub(crate) fn new(cluster: Weak<Inner>, selection: Selection, keep: Option<Keep>) -> Self {
        let alive = cluster.upgrade().map(|inner| inner.alive.subscribe());
        Self {
            cluster,
            alive,
            selection,
            keep,
            state: State::List,
            line: Vec::new(),
            pause: Duration::ZERO,
            told: false,
            wait: None,
            wake: Arc::default(),
        }
    }

    /// Ends the current pause between two attempts.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// The next event; none when the cluster is no longer used.
    pub(crate) async fn next(&mut self) -> Option<RawEvent> {
        let mut alive = self.alive.clone()?;
        loop {
            let step = async {
                if let Some(wait) = self.wait {
                    // Who wakes us wants to hear how it went.
                    if tokio::time::timeout(wait, self.wake.notified()).await.is_ok() {
                        self.told = false;
                    }
                    self.wait = None;
                }
                self.step().await
            };
            let event = tokio::select! {
                event = step => event,
                _ = alive.changed() => return None,
            };
            match event {
                Ok(Some(RawEvent::Failed(_))) | Ok(None) => {}
                Ok(Some(event)) => {
                    self.pause = Duration::ZERO;
                    self.told = false;
                    return Some(event);
                }
                Err(error) => {
                    if let Some(event) = self.failed(error) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Tells a sink everything, until the cluster is no longer used.
    pub(crate) async fn feed(mut self, sink: &mut dyn Sink) {
        while let Some(event) = self.next().await {
            match event {
                RawEvent::Reset { objects, version } => {
                    sink.reset(objects, &version);
                    sink.complete();
                }
                RawEvent::Changed(object) => sink.applied(object),
                RawEvent::Dropped(outline) | RawEvent::Deleted(outline) => sink.deleted(outline),
                RawEvent::Bookmark(version) => sink.bookmark(&version),
                RawEvent::Failed(error) => sink.failed(error),
            }
        }
    }

    /// Plans the next attempt.
    fn failed(&mut self, error: ClusterError) -> Option<RawEvent> {
        let version = match std::mem::replace(&mut self.state, State::List) {
            State::Read(_, version) | State::Connect(version) => Some(version),
            State::List => None,
        };
        if let ClusterError::Expired(_) = error {
            // The history is gone: list again, at once the first time.
            self.wait = (!self.pause.is_zero()).then_some(self.pause);
            self.pause = (self.pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
            return None;
        }
        // Only a transient failure leaves what we know untouched; after a refusal things may be different.
        if let Some(version) = version
            && error.is_transient()
        {
            self.state = State::Connect(version);
        }
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
        let wait = if error.is_transient() { self.pause } else { REFUSED_PAUSE };
        self.wait = Some(wait.mul_f64(rand::random_range(0.8..1.2)));
        (!std::mem::replace(&mut self.told, true)).then_some(RawEvent::Failed(error))
    }

    async fn step(&mut self) -> Result<Option<RawEvent>, ClusterError> {
        match &mut self.state {
            State::List => self.list().await.map(Some),
            State::Connect(version) => {
                let version = version.clone();
                let lines = self.connect(&version).await?;
                self.line.clear();
                self.state = State::Read(lines, version);
                Ok(None)
            }
            State::Read(..) => self.read().await,
        }
    }

    fn cluster(&self) -> Result<Cluster, ClusterError> {
        let gone = || ClusterError::Config("the cluster is no longer used".to_owned());
        self.cluster.upgrade().map(Cluster::ourselves).ok_or_else(gone)
    }

    async fn list(&mut self) -> Result<RawEvent, ClusterError> {
        let cluster = self.cluster()?;
        let mut objects = Vec::new();
        let (kind, keep) = (&self.selection.kind, &self.keep);
        let version = cluster
            .pages(&self.selection, &mut |item| {
                if let Ok(object) = decode(item, kind, keep.as_ref())? {
                    objects.push(object);
                }
                Ok(())
            })
            .await?;
        objects.shrink_to_fit();
        self.state = State::Connect(version.clone());
        Ok(RawEvent::Reset { objects, version })
    }

    async fn connect(&mut self, version: &str) -> Result<Lines, ClusterError> {
        let cluster = self.cluster()?;
        let subject = self.selection.subject("watch");
        let mut query = self.selection.query();
        query.add("watch", "true");
        query.add("allowWatchBookmarks", "true");
        // Spread, so that the watches of all kinds do not end in the same second.
        query.add("timeoutSeconds", &rand::random_range(280..600).to_string());
        query.add("resourceVersion", version);
        let mut call = Call::get(format!("{}?{query}", self.selection.path()?));
        if self.selection.metadata_only {
            call.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        }
        let request = call.request().map_err(|error| malformed(&subject, error))?;
        let limit = cluster.inner.options.request_timeout;
        let lines = tokio::time::timeout(limit, cluster.inner.client.request_stream(request))
            .await
            .map_err(|_| ClusterError::TimedOut { what: subject.what(), after: limit })?
            .map_err(|error| from_kube(&subject, &cluster.inner.server, error))?;
        Ok(Box::pin(lines))
    }

    async fn read(&mut self) -> Result<Option<RawEvent>, ClusterError> {
        let subject = self.selection.subject("watch");
        let State::Read(lines, version) = &mut self.state else { return Ok(None) };
        let outcome = tokio::time::timeout(SILENCE, lines.read_until(b'\n', &mut self.line)).await;
        let complete = self.line.ends_with(b"\n");
        match outcome {
            Ok(Ok(_)) if complete => {}
            // The end of a stream, in the middle of a line or not, is how each watch ends: go on from the last version.
            Ok(_) | Err(_) => {
                let version = version.clone();
                if let Ok(Err(error)) = &outcome {
                    tracing::debug!(watch = subject.what(), %error, "watch broken; going on");
                }
                self.state = State::Connect(version);
                // A server that closes each stream at once must not be asked in a tight loop.
                self.pause = (self.pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE);
                self.wait = Some(self.pause);
                return Ok(None);
            }
        }
        let event = event(&self.line, &self.selection, self.keep.as_ref());
        self.line.clear();
        // Room for one very large object is not kept for ever.
        self.line.shrink_to(64 * 1024);
        let event = event?;
        match &event {
            RawEvent::Bookmark(newer) => version.clone_from(newer),
            RawEvent::Changed(object) | RawEvent::Dropped(object) | RawEvent::Deleted(object) => {
                object.resource_version().clone_into(version);
            }
            RawEvent::Reset { .. } | RawEvent::Failed(_) => {}
        }
        Ok(Some(event))
    }
}

/// One line of a watch.
fn event(line: &[u8], selection: &Selection, keep: Option<&Keep>) -> Result<RawEvent, ClusterError> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        r#type: &'a str,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let subject = selection.subject("watch");
    let bad = |error: serde_json::Error| malformed(&subject, error);
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(bad)?;
    match frame.r#type {
        "ADDED" | "MODIFIED" => Ok(match decode(frame.object, &selection.kind, keep).map_err(bad)? {
            Ok(object) => RawEvent::Changed(object),
            Err(object) => RawEvent::Dropped(object),
        }),
        "DELETED" => Ok(match keep {
            Some(_) => RawEvent::Deleted(slim(frame.object, &selection.kind).map_err(bad)?),
            None => match decode(frame.object, &selection.kind, None).map_err(bad)? {
                Ok(object) | Err(object) => RawEvent::Deleted(object),
            },
        }),
        "BOOKMARK" => {
            let object = slim(frame.object, &selection.kind).map_err(bad)?;
            Ok(RawEvent::Bookmark(object.resource_version().to_owned()))
        }
        "ERROR" => Err(from_status(&subject, &serde_json::from_str::<Status>(frame.object.get()).map_err(bad)?)),
        other => Err(malformed(&subject, format!("an event of type {other:?}"))),
    }
}

/// The whole object if it is to be kept, otherwise its outline as the error.
fn decode(raw: &RawValue, kind: &ApiKind, keep: Option<&Keep>) -> Result<Result<Object, Object>, serde_json::Error> {
    if let Some(keep) = keep {
        let outline = slim(raw, kind)?;
        if !keep(&outline) {
            return Ok(Err(outline));
        }
    }
    let mut object: Object = serde_json::from_str(raw.get())?;
    with_type(&mut object, kind);
    Ok(Ok(object))
}

/// `apiVersion`, `kind` and the part of the metadata that tells who an object is and whose.
fn slim(raw: &RawValue, kind: &ApiKind) -> Result<Object, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(default)]
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Metadata {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        deletion_timestamp: Option<String>,
        labels: Option<Map<String, Value>>,
        annotations: Option<Map<String, Value>>,
    }
    let metadata = serde_json::from_str::<Outline>(raw.get())?.metadata;
    let mut map = Map::new();
    let texts = [
        ("name", metadata.name),
        ("namespace", metadata.namespace),
        ("uid", metadata.uid),
        ("resourceVersion", metadata.resource_version),
        ("deletionTimestamp", metadata.deletion_timestamp),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            map.insert(field.into(), text.into());
        }
    }
    for (field, values) in [("labels", metadata.labels), ("annotations", metadata.annotations)] {
        if let Some(values) = values {
            map.insert(field.into(), values.into());
        }
    }
    let mut object = Object(serde_json::json!({"metadata": map}));
    with_type(&mut object, kind);
    Ok(object)
}

impl Cluster {
    /// Watches a kind, in one namespace or in all, optionally with a label selector. The stream begins with
    /// [`WatchEvent::Reset`] and goes on until it is dropped; an error says that an attempt failed (once per
    /// outage), and the stream goes on after it.
    pub fn watch(
        &self,
        kind: &ApiKind,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> impl Stream<Item = Result<WatchEvent, ClusterError>> + Send + 'static {
        let selection = Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: selector.map(str::to_owned),
            metadata_only: false,
            name: None,
        };
        self.watching(selection)
    }

    /// Watches one object. The list that begins the stream holds it, or nothing while it does not exist.
    pub fn watch_one(
        &self,
        kind: &ApiKind,
        namespace: Option<&str>,
        name: &str,
    ) -> impl Stream<Item = Result<WatchEvent, ClusterError>> + Send + 'static {
        self.watching(Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: None,
            metadata_only: false,
            name: Some(name.to_owned()),
        })
    }

    /// Like [`Cluster::watch`], into a sink, for as long as the future is polled. It ends only with the cluster itself.
    pub async fn feed(&self, kind: &ApiKind, namespace: Option<&str>, selector: Option<&str>, sink: &mut dyn Sink) {
        let selection = Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: selector.map(str::to_owned),
            metadata_only: false,
            name: None,
        };
        Watcher::new(Arc::downgrade(&self.inner), selection, None).feed(sink).await;
    }

    /// Like [`Cluster::watch_one`], into a sink.
    pub async fn feed_one(&self, kind: &ApiKind, namespace: Option<&str>, name: &str, sink: &mut dyn Sink) {
        let selection = Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: None,
            metadata_only: false,
            name: Some(name.to_owned()),
        };
        Watcher::new(Arc::downgrade(&self.inner), selection, None).feed(sink).await;
    }

    fn watching(&self, selection: Selection) -> impl Stream<Item = Result<WatchEvent, ClusterError>> + Send + 'static {
        let watcher = Watcher::new(Arc::downgrade(&self.inner), selection, None);
        // The stream keeps the cluster in use for as long as somebody listens.
        futures::stream::unfold((watcher, self.clone()), |(mut watcher, cluster)| async move {
            loop {
                let item = match watcher.next().await? {
                    RawEvent::Reset { objects, .. } => Ok(WatchEvent::Reset(objects)),
                    RawEvent::Changed(object) => Ok(WatchEvent::Applied(object)),
                    RawEvent::Deleted(object) => Ok(WatchEvent::Deleted(object)),
                    RawEvent::Failed(error) => Err(error),
                    RawEvent::Dropped(_) | RawEvent::Bookmark(_) => continue,
                };
                return Some((item, (watcher, cluster)));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        let kind = ApiKind {
            group: String::new(),
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced: true,
            watchable: true,
            has_status: false,
        };
        Selection { kind, namespace: None, selector: None, metadata_only: false, name: None }
    }

    #[test]
    fn lines_become_events_and_what_is_not_kept_is_only_outlined() {
        let keep: Keep = Arc::new(|object| object.label("mine").is_some());
        let line = |r#type: &str, labels: &str| {
            format!(
                r#"{{"type":"{type}","object":{{"metadata":{{"name":"a","namespace":"n","resourceVersion":"7","labels":{{{labels}}},"managedFields":[]}},"data":{{"k":"v"}}}}}}"#
            )
        };
        let read = |r#type: &str, labels: &str| event(line(r#type, labels).as_bytes(), &selection(), Some(&keep));

        let Ok(RawEvent::Changed(object)) = read("ADDED", r#""mine":"1""#) else { panic!() };
        assert_eq!(
            (object.kind(), object.api_version(), object.at("/data/k").unwrap()),
            ("ConfigMap", "v1", &"v".into())
        );

        let Ok(RawEvent::Dropped(object)) = read("MODIFIED", "") else { panic!() };
        assert_eq!((object.name(), object.resource_version(), object.at("/data")), ("a", "7", None));

        let Ok(RawEvent::Deleted(object)) = read("DELETED", r#""mine":"1""#) else { panic!() };
        assert_eq!(object.key().to_string(), "ConfigMap n/a");

        let Ok(RawEvent::Bookmark(version)) = read("BOOKMARK", "") else { panic!() };
        assert_eq!(version, "7");
    }

    #[test]
    fn what_a_reset_does_not_have_is_gone() {
        #[derive(Default)]
        struct Names(std::collections::BTreeSet<String>, Vec<String>);
        impl Sink for Names {
            fn known(&self) -> Vec<ObjectKey> {
                self.0.iter().map(|name| ObjectKey::new("", "ConfigMap", "n", name)).collect()
            }
            fn applied(&mut self, object: Object) {
                self.1.push(format!("+{}", object.name()));
                self.0.insert(object.name().to_owned());
            }
            fn gone(&mut self, key: &ObjectKey) {
                self.1.push(format!("-{}", key.name));
                self.0.remove(&key.name);
            }
        }
        let object = |name: &str| {
            Object(
                serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}}),
            )
        };
        let mut names = Names::default();
        names.reset(vec![object("a"), object("b")], "1");
        names.applied(object("c"));
        names.deleted(object("a"));
        names.reset(vec![object("c"), object("d")], "9");
        assert_eq!(names.1.join(" "), "+a +b +c -a -b +c +d");
        names.reset(Vec::new(), "10");
        assert!(names.0.is_empty());
    }

    #[test]
    fn an_error_event_is_an_error_and_an_old_version_is_expired() {
        let gone = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version: 1 (9)"}}"#;
        assert!(matches!(event(gone, &selection(), None), Err(ClusterError::Expired(_))));
        assert!(matches!(
            event(b"{\"type\":\"ODD\",\"object\":{}}", &selection(), None),
            Err(ClusterError::Malformed { .. })
        ));
        assert!(event(b"not json", &selection(), None).is_err());
    }
}
