//! Requests to one API server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use kube::client::Body;
use kube::core::response::Status;
use resources::{Object, ObjectKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::discovery::{ApiKind, Discovery};
use crate::error::{ClusterError, FieldConflict, Subject, from_kube, from_status};
use crate::fence::Fence;
use crate::limiter::{Limiter, Priority, RequestLoad, Slot};
use crate::{Kubeconfig, Options};

/// So often an object is replaced again that somebody else changed in between.
const REPLACES: u32 = 5;

/// What the API server does with fields that the kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validate {
    /// Refuses the object.
    #[default]
    Strict,
    /// Drops them and answers with a warning.
    Warn,
    /// Drops them silently.
    Ignore,
}

/// How an object is written.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// Let the API server answer as if, and store nothing.
    pub dry_run: bool,
    /// Take fields over from other managers; otherwise they are a [`ClusterError::Conflict`].
    pub force_conflicts: bool,
    /// Unknown fields.
    pub validate: Validate,
    /// Another field manager than the cluster's own.
    pub field_manager: Option<String>,
    /// The live object's `resourceVersion` where the caller knows it: [`Applied::changed`] is told from it.
    pub live_version: Option<String>,
    /// Managers from which the object is taken over, for an apply: what they own becomes ours (see [`Cluster::migrate`]), so
    /// that a field of theirs that the manifest does not have goes. Costs nothing where nothing of theirs is left: the
    /// answer of the apply tells. A dry run takes nothing over, so its answer still has such fields.
    pub migrate_from: Vec<String>,
    /// These managers are known to own fields ([`crate::LiveStore::needs_migration`]): they are taken over before the apply,
    /// so that all that changes, changes at once. Otherwise it is done after the apply, which is then repeated.
    pub needs_migration: bool,
    /// Tell in [`Applied::taken`] what a forced apply takes from others. Costs a second request where it takes something.
    pub tell_taken: bool,
    /// An apply expects the object at `live_version`. If it has another by now, the cluster's [`Fence`] looks at the lease
    /// before the object is written: whoever changed it may be a later holder.
    pub expects_live: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            force_conflicts: true,
            validate: Validate::default(),
            field_manager: None,
            live_version: None,
            migrate_from: Vec::new(),
            needs_migration: false,
            tell_taken: false,
            expects_live: false,
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object as it is now.
    pub object: Object,
    /// It was not there before.
    pub created: bool,
    /// Its `resourceVersion` is another one than `live_version`; true where that is not known.
    pub changed: bool,
    /// What the API server wants a person to know: deprecated versions, dropped fields.
    pub warnings: Vec<String>,
    /// The fields that others set to other values, and lost to us; told if [`ApplyOptions::tell_taken`] asks for it.
    pub taken: Vec<FieldConflict>,
}

impl Applied {
    /// Two writes as one.
    pub(crate) fn then(&mut self, later: Self) {
        let created = self.created;
        let (mut warnings, mut taken) = (std::mem::take(&mut self.warnings), std::mem::take(&mut self.taken));
        *self = later;
        warnings.append(&mut self.warnings);
        warnings.dedup();
        taken.append(&mut self.taken);
        (self.created, self.warnings, self.taken) = (created, warnings, taken);
        self.changed |= created;
    }
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted first, and the object stays until then.
    Foreground,
    /// The object goes at once, and they after it.
    #[default]
    Background,
    /// They stay.
    Orphan,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// What happens to what it owns.
    pub propagation: Propagation,
    /// Delete only this very object, not a later one of the same name.
    pub uid: Option<String>,
    /// Let the API server answer as if.
    pub dry_run: bool,
}

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// It will go when its finalizers, or the objects that it owns, have gone.
    Started,
    /// It was not there.
    Missing,
}

/// One cluster. Cheap to clone; all clones share connections, discovery and limits.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
    acting_as: Option<Arc<str>>,
    manager: Option<Arc<str>>,
    fence: Option<Fence>,
}

pub(crate) struct Inner {
    pub client: kube::Client,
    pub server: String,
    pub options: Options,
    pub discovery: Discovery,
    config: kube::Config,
    limiter: Arc<Limiter>,
    /// Dropped with the last clone of the cluster, which ends its watches.
    pub alive: watch::Sender<()>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.inner.server)
            .field("acting_as", &self.acting_as)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// One HTTP request, kept so that it can be sent again.
pub(crate) struct Call {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub content_type: &'static str,
    pub accept: &'static str,
    pub body: Vec<u8>,
    /// Sending it twice does no more than sending it once.
    pub repeatable: bool,
    /// It changes something that is stored.
    pub writes: bool,
    pub priority: Priority,
}

impl Call {
    pub(crate) fn get(target: String) -> Self {
        Self {
            method: Method::GET,
            target,
            content_type: "application/json",
            accept: "application/json",
            body: Vec::new(),
            repeatable: true,
            writes: false,
            priority: Priority::Control,
        }
    }

    fn send(method: Method, target: String, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { method, content_type, body, writes: true, priority: Priority::Bulk, ..Self::get(target) }
    }

    pub(crate) fn merge_patch(target: String, patch: &Value) -> Self {
        let body = patch.to_string().into_bytes();
        Self { priority: Priority::Control, ..Self::send(Method::PATCH, target, "application/merge-patch+json", body) }
    }

    pub(crate) fn post(target: String, object: &Object) -> Self {
        let call = Self::send(Method::POST, target, "application/json", object.0.to_string().into_bytes());
        Self { repeatable: false, ..call }
    }

    pub(crate) fn put(target: String, object: &Object) -> Self {
        Self { method: Method::PUT, ..Self::post(target, object) }
    }

    pub(crate) fn request(&self) -> Result<Request<Vec<u8>>, http::Error> {
        self.request_within(None)
    }

    /// With a limit that the API server knows, too: it does not carry out later what we no longer wait for.
    fn request_within(&self, limit: Option<Duration>) -> Result<Request<Vec<u8>>, http::Error> {
        let uri = match limit {
            None => Cow::Borrowed(&self.target),
            Some(limit) => {
                let separator = if self.target.contains('?') { '&' } else { '?' };
                Cow::Owned(format!("{}{separator}timeout={}ms", self.target, limit.as_millis().max(1)))
            }
        };
        let mut request = Request::builder().method(self.method.clone()).uri(uri.as_str()).header(ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        request.body(self.body.clone())
    }
}

/// A successful answer.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Cluster {
    /// Prepares connections to a cluster. Fails only if the configuration cannot be used; whether the API server is
    /// there is known after the first request.
    pub async fn connect(from: &Kubeconfig, options: Options) -> Result<Self, ClusterError> {
        // A second installation is an error value and does not matter: somebody else chose already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = from.load().await?;
        // kube tries again up to 15 times with growing pauses; our own limits are in `call`.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        Self::open(config, options)
    }

    fn open(config: kube::Config, options: Options) -> Result<Self, ClusterError> {
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = kube::Client::try_from(config.clone())
            .map_err(|error| ClusterError::Config(crate::error::chain(&error)))?;
        let limiter = Limiter::new(options.in_flight);
        let (discovery, alive) = (Discovery::default(), watch::Sender::new(()));
        Ok(Self::ourselves(Arc::new(Inner { client, server, options, discovery, config, limiter, alive })))
    }

    /// The same cluster over connections of its own and with limits of its own, as ourselves.
    pub(crate) fn apart(&self, options: Options) -> Result<Self, ClusterError> {
        let options = Options { field_manager: self.field_manager().to_owned(), ..options };
        Self::open(self.inner.config.clone(), options)
    }

    /// With our own credentials and as nobody else.
    pub(crate) fn ourselves(inner: Arc<Inner>) -> Self {
        Self { inner, acting_as: None, manager: None, fence: None }
    }

    /// The same cluster, whose requests are made as this user, `system:serviceaccount:team-a:deployer` for example: the API
    /// server permits what that user may do, if we may act as it. Discovery and watches stay our own, and so does a
    /// [`crate::LiveStore`].
    pub fn impersonating(&self, user: &str) -> Self {
        Self { acting_as: Some(user.into()), ..self.clone() }
    }

    /// The same cluster, where fields are owned under another name. Connections and limits stay shared.
    pub fn managed_as(&self, manager: &str) -> Self {
        Self { manager: Some(manager.into()), ..self.clone() }
    }

    /// The same cluster, whose writes ask whether a lease is still held: one that is not is [`ClusterError::Fenced`] and nothing is
    /// sent. Reads ask nothing.
    pub fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// Returns when writes are permitted: before something begins that consists of many. Without a fence they always are.
    pub async fn permits_writes(&self) -> Result<(), ClusterError> {
        match &self.fence {
            Some(fence) => fence.permit().await,
            None => Ok(()),
        }
    }

    /// Asks the API server whether the lease is still ours that the fence stands for. Without a fence there is nothing to ask.
    pub async fn confirms_lease(&self) -> Result<(), ClusterError> {
        match &self.fence {
            Some(fence) => fence.look().await,
            None => Ok(()),
        }
    }

    /// The requests under way and waiting, by class.
    pub fn load(&self) -> [RequestLoad; 3] {
        self.inner.limiter.load()
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// The name under which we own fields.
    pub fn field_manager(&self) -> &str {
        self.manager.as_deref().unwrap_or(&self.inner.options.field_manager)
    }

    /// The cluster's Kubernetes version, as `1.36.3`.
    pub async fn version(&self) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let subject = Subject::new("get the version", ObjectKey::new("", "", "", ""));
        let reply = self.call(&subject, &Call::get("/version".to_owned())).await?;
        let version: Version = parse(&subject, &reply.text)?;
        let plain = version.git_version.trim_start_matches('v');
        Ok(plain.split(['+', '-']).next().unwrap_or(plain).to_owned())
    }

    /// Whether the API server answers that it is ready, asked once.
    pub async fn ready(&self) -> bool {
        let limit = Duration::from_secs(2);
        let call = Call::get("/readyz".to_owned());
        matches!(
            tokio::time::timeout(limit, self.once(&Subject::new("get", ObjectKey::new("", "", "", "")), &call)).await,
            Ok(Ok(_))
        )
    }

    /// Server-side apply.
    pub async fn apply(&self, object: &Object, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let target = self.target("apply", object).await?;
        let migrates = !options.dry_run && !options.migrate_from.is_empty();
        if migrates && options.needs_migration {
            let ours = options.field_manager.as_deref().unwrap_or(self.field_manager());
            self.migrate_at(&target.subject, &target.path, &options.migrate_from, ours, None).await?;
        }
        let applied = self.apply_once(&target, object, options).await?;
        if migrates { self.take_over(&target, object, options, applied).await } else { Ok(applied) }
    }

    pub(crate) async fn apply_once(
        &self,
        target: &Target<'_>,
        object: &Object,
        options: &ApplyOptions,
    ) -> Result<Applied, ClusterError> {
        let asks_first = options.force_conflicts && options.tell_taken;
        match self.apply_expecting(target, object, options, options.force_conflicts && !asks_first).await {
            Err(ClusterError::Conflict { mut fields, .. }) if asks_first && !fields.is_empty() => {
                fields.retain(|field| !options.migrate_from.contains(&field.manager));
                let mut applied = self.apply_by_force(target, object, options, true).await?;
                applied.taken = fields;
                Ok(applied)
            }
            outcome => outcome,
        }
    }

    /// What is not as it was when the apply was decided was changed by somebody: one who holds the lease now, perhaps.
    async fn apply_expecting(
        &self,
        target: &Target<'_>,
        object: &Object,
        options: &ApplyOptions,
        force: bool,
    ) -> Result<Applied, ClusterError> {
        let expected = options.live_version.as_deref().filter(|_| options.expects_live && !options.dry_run);
        let Some(version) = expected else { return self.apply_by_force(target, object, options, force).await };
        let mut at_version = object.clone();
        if let Some(metadata) = at_version.0.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), version.into());
        }
        match self.apply_by_force(target, &at_version, options, force).await {
            Err(ClusterError::Conflict { fields, .. }) if fields.is_empty() => {
                self.confirms_lease().await?;
                self.apply_by_force(target, object, options, force).await
            }
            outcome => outcome,
        }
    }

    async fn apply_by_force(
        &self,
        target: &Target<'_>,
        object: &Object,
        options: &ApplyOptions,
        force: bool,
    ) -> Result<Applied, ClusterError> {
        let mut query = self.write_query(options);
        query.add("force", if force { "true" } else { "false" });
        let call = Call::send(
            Method::PATCH,
            format!("{}?{query}", target.path),
            "application/apply-patch+yaml",
            target.body(object),
        );
        self.write(&target.subject, call, options).await
    }

    /// Creates an object; [`ClusterError::AlreadyExists`] if it is there.
    pub async fn create(&self, object: &Object, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let target = self.target("create", object).await?;
        let query = self.write_query(options);
        let mut call =
            Call::send(Method::POST, format!("{}?{query}", target.collection), "application/json", target.body(object));
        call.repeatable = false;
        self.write(&target.subject, call, options).await
    }

    /// Replaces an object as a whole, by an update and never by deleting it, so that a namespace keeps its content and a
    /// definition its objects; creates it if it is missing. Without a `resourceVersion` the newest one is overwritten, with
    /// one a change in between is a [`ClusterError::Conflict`]. What cannot be changed is [`ClusterError::Immutable`].
    pub async fn replace(&self, object: &Object, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let target = self.target("replace", object).await?;
        if !object.resource_version().is_empty() {
            return self.put(&target, object, options).await;
        }
        let mut attempt = 1;
        loop {
            let outcome = match self.get_at(&target.subject, &target.path).await? {
                None => self.create(object, options).await,
                Some(live) => {
                    let mut object = object.clone();
                    if let Some(metadata) = object.0.pointer_mut("/metadata").and_then(Value::as_object_mut) {
                        metadata.insert("resourceVersion".into(), live.resource_version().into());
                    }
                    self.put(&target, &object, options).await
                }
            };
            match outcome {
                // Somebody was faster, a controller with the status perhaps: that is no reason to give up.
                Err(error) if error.is_conflict() && attempt < REPLACES => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn put(&self, target: &Target<'_>, object: &Object, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let query = self.write_query(options);
        let mut call =
            Call::send(Method::PUT, format!("{}?{query}", target.path), "application/json", target.body(object));
        call.repeatable = false;
        self.write(&target.subject, call, options).await
    }

    /// Changes some fields of an object (JSON merge patch).
    pub async fn merge_patch(&self, key: &ObjectKey, patch: &Value) -> Result<Object, ClusterError> {
        self.merge_patch_with(key, patch, &ApplyOptions::default()).await
    }

    /// The same as these options say: by whom, and whether it is only tried.
    pub async fn merge_patch_with(
        &self,
        key: &ObjectKey,
        patch: &Value,
        options: &ApplyOptions,
    ) -> Result<Object, ClusterError> {
        self.merge_patch_at(key, "", patch, options).await
    }

    /// Changes some fields of an object's status, for kinds with a status subresource.
    pub async fn merge_patch_status(&self, key: &ObjectKey, patch: &Value) -> Result<Object, ClusterError> {
        self.merge_patch_at(key, "/status", patch, &ApplyOptions::default()).await
    }

    async fn merge_patch_at(
        &self,
        key: &ObjectKey,
        below: &str,
        patch: &Value,
        options: &ApplyOptions,
    ) -> Result<Object, ClusterError> {
        let (path, subject) = self.path_of("patch", key).await?;
        let query = self.write_query(options);
        let call = Call::merge_patch(format!("{path}{below}?{query}"), patch);
        let reply = self.call(&subject, &call).await?;
        parse(&subject, &reply.text)
    }

    /// Deletes an object. That it is missing is no error.
    pub async fn delete(&self, key: &ObjectKey, options: &DeleteOptions) -> Result<Deleted, ClusterError> {
        let (path, subject) = self.path_of("delete", key).await?;
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": format!("{:?}", options.propagation)});
        if let Some(uid) = &options.uid {
            body["preconditions"] = json!({"uid": uid});
        }
        if options.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        let mut call = Call::send(Method::DELETE, path, "application/json", body.to_string().into_bytes());
        call.writes = !options.dry_run;
        match self.call(&subject, &call).await {
            Ok(reply) => {
                let answer: Object = parse(&subject, &reply.text)?;
                // An object in the answer has a deletion time stamp only if something still holds it.
                Ok(if answer.kind() != "Status" && answer.is_being_deleted() {
                    Deleted::Started
                } else {
                    Deleted::Gone
                })
            }
            Err(ClusterError::NotFound(_)) => Ok(Deleted::Missing),
            Err(error) => Err(error),
        }
    }

    /// One object, or none if it does not exist.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ClusterError> {
        let (path, subject) = self.path_of("get", key).await?;
        self.get_at(&subject, &path).await
    }

    async fn get_at(&self, subject: &Subject<'_>, path: &str) -> Result<Option<Object>, ClusterError> {
        match self.call(subject, &Call::get(path.to_owned())).await {
            Ok(reply) => Ok(Some(parse(subject, &reply.text)?)),
            Err(ClusterError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind, in one namespace or in all, optionally with a label selector.
    pub async fn list(
        &self,
        kind: &ApiKind,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Object>, ClusterError> {
        let mut objects = Vec::new();
        let selection = Selection {
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            selector: selector.map(str::to_owned),
            metadata_only: false,
            name: None,
        };
        self.pages(&selection, &mut |item| {
            objects.push(serde_json::from_str(item.get())?);
            Ok(())
        })
        .await?;
        for object in &mut objects {
            with_type(object, kind);
        }
        Ok(objects)
    }

    /// Calls `item` for each object of a list, page by page, and returns the list's resource version. A list that
    /// expires between two pages is [`ClusterError::Expired`].
    pub(crate) async fn pages(
        &self,
        selection: &Selection,
        item: &mut (dyn for<'a> FnMut(&'a RawValue) -> Result<(), serde_json::Error> + Send),
    ) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(default)]
            metadata: PageMeta,
            #[serde(borrow, default)]
            items: Option<Vec<&'a RawValue>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct PageMeta {
            resource_version: String,
            r#continue: Option<String>,
        }
        let subject = selection.subject("list");
        let mut token = String::new();
        loop {
            let mut query = selection.query();
            query.add("limit", &self.inner.options.page.to_string());
            if !token.is_empty() {
                query.add("continue", &token);
            }
            let mut call = Call::get(format!("{}?{query}", selection.path()?));
            call.priority = Priority::Bulk;
            if selection.metadata_only {
                call.accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
            }
            let reply = self.call(&subject, &call).await?;
            let page: Page<'_> = parse(&subject, &reply.text)?;
            for raw in page.items.unwrap_or_default() {
                item(raw).map_err(|error| malformed(&subject, error))?;
            }
            match page.metadata.r#continue {
                Some(next) if !next.is_empty() => token = next,
                _ => return Ok(page.metadata.resource_version),
            }
        }
    }

    fn write_query(&self, options: &ApplyOptions) -> Query {
        let mut query = Query::default();
        query.add("fieldManager", options.field_manager.as_deref().unwrap_or(self.field_manager()));
        let validate = format!("{:?}", options.validate);
        query.add("fieldValidation", &validate);
        if options.dry_run {
            query.add("dryRun", "All");
        }
        query
    }

    async fn write(
        &self,
        subject: &Subject<'_>,
        mut call: Call,
        options: &ApplyOptions,
    ) -> Result<Applied, ClusterError> {
        call.writes = !options.dry_run;
        let reply = self.call(subject, &call).await?;
        let object: Object = parse(subject, &reply.text)?;
        if object.kind() == "CustomResourceDefinition" && !options.dry_run {
            self.inner.discovery.invalidate();
        }
        let created = reply.status == StatusCode::CREATED;
        let changed = created || options.live_version.as_deref() != Some(object.resource_version());
        Ok(Applied { object, created, changed, warnings: warnings(&reply.headers), taken: Vec::new() })
    }

    /// Where an object is written to.
    async fn target<'a>(&self, verb: &'static str, object: &'a Object) -> Result<Target<'a>, ClusterError> {
        let kind = self.kind_of(object).await?;
        let mut key = object.key();
        if !kind.namespaced {
            key.namespace.clear();
        }
        let subject = Subject::of(verb, object, key.clone());
        let collection = kind.path(kind.namespaced.then_some(key.namespace.as_str()), &subject)?;
        let path = format!("{collection}/{}", segment(&key.name, "metadata.name", &subject)?);
        let strip_namespace = !kind.namespaced && !object.namespace().is_empty();
        Ok(Target { subject, collection, path, strip_namespace })
    }

    pub(crate) async fn path_of(
        &self,
        verb: &'static str,
        key: &ObjectKey,
    ) -> Result<(String, Subject<'static>), ClusterError> {
        let subject = Subject::new(verb, key.clone());
        let Some(kind) = self.kind(&key.group, None, &key.kind).await? else {
            return Err(self.unknown_kind(&key.group, &key.group, &key.kind));
        };
        let collection = kind.path(kind.namespaced.then_some(key.namespace.as_str()), &subject)?;
        let path = format!("{collection}/{}", segment(&key.name, "metadata.name", &subject)?);
        Ok((path, subject))
    }

    /// Sends a request, again after transient failures, within the limits of [`Options`].
    pub(crate) async fn call(&self, subject: &Subject<'_>, call: &Call) -> Result<Reply, ClusterError> {
        // How long it waits for its turn is no failure of the API server's.
        let mut failing: Option<Instant> = None;
        let options = &self.inner.options;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.once(subject, call).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let wait = match &error {
                ClusterError::Busy { message, .. } if message.contains("is being terminated") => return Err(error),
                ClusterError::Busy { retry_after, .. } => retry_after.unwrap_or(pause).max(pause),
                ClusterError::Unreachable { .. } if call.repeatable => pause,
                ClusterError::UnknownKind { .. } => {
                    self.inner.discovery.doubt();
                    if !self.inner.discovery.settling() {
                        return Err(error);
                    }
                    // Its definition is new: the API server knows it before it serves it.
                    Duration::from_millis(100)
                }
                _ => return Err(error),
            };
            let wait = wait.mul_f64(rand::random_range(0.8..1.2));
            if failing.get_or_insert_with(Instant::now).elapsed() + wait > options.retry_for {
                return Err(error);
            }
            tracing::debug!(request = subject.what(), error = %error, wait_ms = wait.as_millis() as u64, "request tried again");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn once(&self, subject: &Subject<'_>, call: &Call) -> Result<Reply, ClusterError> {
        let (_slot, left) = self.admitted(call).await?;
        let limit =
            left.map_or(self.inner.options.request_timeout, |left| left.min(self.inner.options.request_timeout));
        let request = call.request_within(left.map(|_| limit)).map_err(|error| malformed(subject, error))?;
        let answer = tokio::time::timeout(limit, self.exchange(subject, request)).await;
        answer.unwrap_or_else(|_| Err(ClusterError::TimedOut { what: subject.what(), after: limit }))
    }

    /// Waits for a turn. A write is admitted only while the lease is held, and then with the time that is left of it.
    async fn admitted(&self, call: &Call) -> Result<(Slot, Option<Duration>), ClusterError> {
        let Some(fence) = self.fence.as_ref().filter(|_| call.writes) else {
            return Ok((self.inner.limiter.acquire(call.priority).await, None));
        };
        loop {
            fence.permit().await?;
            let slot = self.inner.limiter.acquire(call.priority).await;
            // The wait may have been long.
            if let Some(left) = fence.now()? {
                return Ok((slot, Some(left)));
            }
        }
    }

    async fn exchange(&self, subject: &Subject<'_>, mut request: Request<Vec<u8>>) -> Result<Reply, ClusterError> {
        if let Some(user) = &self.acting_as {
            let user = HeaderValue::try_from(&**user).map_err(|error| malformed(subject, error))?;
            request.headers_mut().insert("impersonate-user", user);
        }
        let broken = |error| from_kube(subject, &self.inner.server, error);
        let response = self.inner.client.send(request.map(Body::from)).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bytes().await.map_err(broken)?;
        let text = String::from_utf8(bytes.into()).map_err(|error| malformed(subject, error.utf8_error()))?;
        if parts.status.is_success() {
            return Ok(Reply { status: parts.status, headers: parts.headers, text });
        }
        Err(failure(subject, parts.status, &text).acting_as(self.acting_as.as_deref()))
    }
}

/// The error for an answer that is not a success.
fn failure(subject: &Subject<'_>, code: StatusCode, text: &str) -> ClusterError {
    let status = serde_json::from_str::<Status>(text).unwrap_or_else(|_| {
        // A proxy, or a path that nobody serves: plain text or a page. Its first line is enough.
        let line: String = text.trim().lines().next().unwrap_or_default().chars().take(300).collect();
        Status::failure(&line, "")
    });
    from_status(subject, &status.with_code(code.as_u16()))
}

/// The part of a URL after the question mark.
#[derive(Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A kind, where, and which of its objects.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub kind: ApiKind,
    pub namespace: Option<String>,
    pub selector: Option<String>,
    pub metadata_only: bool,
    /// Only the object of this name.
    pub name: Option<String>,
}

impl Selection {
    pub(crate) fn subject(&self, verb: &'static str) -> Subject<'static> {
        let namespace = self.namespace.clone().unwrap_or_default();
        Subject::new(
            verb,
            ObjectKey::new(
                self.kind.group.clone(),
                self.kind.kind.clone(),
                namespace,
                self.name.clone().unwrap_or_default(),
            ),
        )
    }

    pub(crate) fn path(&self) -> Result<String, ClusterError> {
        let namespace = self.namespace.as_deref().filter(|_| self.kind.namespaced);
        match namespace {
            Some(_) => self.kind.path(namespace, &self.subject("list")),
            None => Ok(self.kind.root()),
        }
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default();
        if let Some(selector) = &self.selector {
            query.add("labelSelector", selector);
        }
        if let Some(name) = &self.name {
            query.add("fieldSelector", &format!("metadata.name={name}"));
        }
        query
    }
}

pub(crate) struct Target<'a> {
    pub subject: Subject<'a>,
    collection: String,
    pub path: String,
    strip_namespace: bool,
}

impl Target<'_> {
    /// The object as it is sent: an apply must not carry managed fields, and a cluster-scoped object no namespace.
    fn body(&self, object: &Object) -> Vec<u8> {
        let data = secret_data(object);
        if !self.strip_namespace && data.is_none() && object.at("/metadata/managedFields").is_none() {
            return object.0.to_string().into_bytes();
        }
        let mut object = object.0.clone();
        if let (Some(data), Some(map)) = (data, object.as_object_mut()) {
            map.shift_remove("stringData");
            map.insert("data".into(), Value::Object(data));
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
            if self.strip_namespace {
                metadata.shift_remove("namespace");
            }
        }
        object.to_string().into_bytes()
    }
}

/// What `data` and `stringData` of a Secret become. The API server would remember us as the owner of `stringData`, which it does
/// not keep: a key that goes from there would stay in `data` for ever. `None`: nothing to do, or the API server refuses it.
fn secret_data(object: &Object) -> Option<Map<String, Value>> {
    if !object.group().is_empty() || object.kind() != "Secret" {
        return None;
    }
    let text = object.0.get("stringData")?.as_object()?;
    let mut data = match object.0.get("data") {
        None | Some(Value::Null) => Map::new(),
        Some(data) => data.as_object()?.clone(),
    };
    for (name, value) in text {
        data.insert(name.clone(), BASE64_STANDARD.encode(value.as_str()?).into());
    }
    Some(data)
}

/// A name as part of a path. Manifests are not trusted: a name must not lead to another resource.
pub(crate) fn segment<'a>(name: &'a str, field: &str, subject: &Subject<'_>) -> Result<&'a str, ClusterError> {
    let invalid = |message: String| {
        Err(ClusterError::Invalid { key: Box::new(subject.key.clone()), message, fields: vec![field.to_owned()] })
    };
    if name.is_empty() {
        return invalid(format!("{field} is empty"));
    }
    let forbidden = |c: char| {
        !c.is_ascii_graphic()
            || matches!(c, '/' | '%' | '?' | '#' | '"' | '<' | '>' | '\\' | '`' | '{' | '}' | '^' | '|')
    };
    if name == "." || name == ".." || name.contains(forbidden) {
        return invalid(format!("{field} {name:?} is not a valid name"));
    }
    Ok(name)
}

/// Items of a list carry neither `apiVersion` nor `kind`.
pub(crate) fn with_type(object: &mut Object, kind: &ApiKind) {
    if let Some(map) = object.0.as_object_mut() {
        if !map.contains_key("kind") {
            map.shift_insert(0, "kind".into(), kind.kind.clone().into());
        }
        if !map.contains_key("apiVersion") {
            map.shift_insert(0, "apiVersion".into(), kind.api_version().into());
        }
    }
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(subject: &Subject<'_>, text: &'a str) -> Result<T, ClusterError> {
    serde_json::from_str(text).map_err(|error| malformed(subject, error))
}

pub(crate) fn malformed(subject: &Subject<'_>, error: impl std::fmt::Display) -> ClusterError {
    // What reads JSON quotes what it did not expect.
    let reason = if subject.is_secret() { "it is not what a Secret is".to_owned() } else { error.to_string() };
    ClusterError::Malformed { what: subject.what(), reason }
}

/// The texts of `Warning: 299 - "text"` headers.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &http::HeaderValue| {
        let value = value.to_str().ok()?;
        let (_, rest) = value.split_once('"')?;
        let (text, _) = rest.rsplit_once('"')?;
        Some(text.replace("\\\"", "\""))
    };
    headers.get_all(http::header::WARNING).iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests;
