//! The cluster, and what is done with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use harness::ControlPlane;
use resources::Object;
use serde_json::{Value, json};

use crate::PARALLEL;
use crate::changes::{Change, patched};
use crate::output::{Record, without_credentials};
use crate::sources::{Manifest, Origin};

/// The namespace of manifests that name none, as the destination of an Application is.
const NAMESPACE: &str = "shop";
/// Who changes things by hand.
const EDITOR: &str = "kubectl-edit";
/// Who applies on the client's side.
const KUBECTL: &str = "kubectl-client-side-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Hundreds of definitions are much work for an API server on a small machine.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(300);

/// One cluster, as we and as somebody else reach it.
pub struct Stage {
    cluster: Cluster,
    editor: Cluster,
    _plane: ControlPlane,
}

impl Stage {
    /// Starts the cluster.
    pub async fn set() -> Result<Self> {
        let plane = ControlPlane::start("corpus").await?;
        let from = Kubeconfig::file(&plane.kubeconfig);
        let options = || Options { retry_for: Duration::from_secs(120), ..Options::default() };
        let cluster = Cluster::connect(&from, options()).await?;
        let editor = Cluster::connect(&from, Options { field_manager: EDITOR.into(), ..options() }).await?;
        Ok(Self { cluster, editor, _plane: plane })
    }

    /// Applies definitions and waits until all their kinds are served.
    pub async fn define(&self, definitions: &[Object]) -> Result<()> {
        let options = ApplyOptions::default();
        let applies = definitions.iter().map(|definition| self.cluster.apply(definition, &options));
        stream::iter(applies).buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        let started = Instant::now();
        for definition in definitions {
            let group = definition.at("/spec/group").and_then(Value::as_str).unwrap_or_default();
            let kind = definition.at("/spec/names/kind").and_then(Value::as_str).unwrap_or_default();
            while self.cluster.kind(group, None, kind).await?.is_none() {
                ensure!(started.elapsed() < PATIENCE, "the cluster does not serve {group}/{kind}");
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Gives each manifest that names none its namespace, and makes the namespaces.
    pub async fn place(&self, manifests: &mut [Manifest]) -> Result<()> {
        let mut namespaces = BTreeSet::new();
        for Manifest { object, .. } in manifests.iter_mut() {
            if object.namespace().is_empty() && self.cluster.kind_of(object).await.is_ok_and(|kind| kind.namespaced) {
                object.set_namespace(NAMESPACE);
            }
            if !object.namespace().is_empty() {
                namespaces.insert(object.namespace().to_owned());
            }
        }
        let named: BTreeSet<String> = manifests
            .iter()
            .filter(|manifest| manifest.object.kind() == "Namespace")
            .map(|manifest| manifest.object.name().to_owned())
            .collect();
        for name in namespaces.difference(&named) {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            self.editor.apply(&Object(namespace), &ApplyOptions::default()).await?;
        }
        Ok(())
    }

    /// Makes every object: what others need first.
    pub async fn fill(&self, manifests: &[Manifest]) -> Result<()> {
        let early = |kind: &str| {
            matches!(kind, "Namespace" | "CustomResourceDefinition" | "PriorityClass" | "StorageClass" | "RuntimeClass")
        };
        for first in [true, false] {
            let wave = manifests.iter().filter(|manifest| early(manifest.object.kind()) == first);
            let makes = wave.map(|manifest| self.make(&manifest.object, manifest.origin));
            let outcomes: Vec<Result<()>> = stream::iter(makes).buffer_unordered(PARALLEL).collect().await;
            // All that is wrong with the manifests, and not only the first thing.
            let wrong: Vec<String> = outcomes.into_iter().filter_map(Result::err).map(|e| format!("{e:#}")).collect();
            ensure!(wrong.is_empty(), "{} manifests are refused:\n{}", wrong.len(), wrong.join("\n"));
        }
        Ok(())
    }

    async fn make(&self, object: &Object, origin: Origin) -> Result<()> {
        if origin != Origin::Applied {
            let mut created = object.clone();
            created.set_annotation(LAST_APPLIED, &format!("{}\n", object.0));
            let options = ApplyOptions { field_manager: Some(KUBECTL.into()), ..ApplyOptions::default() };
            self.retry(object, async || self.cluster.create(&created, &options).await).await?;
        }
        if origin == Origin::Foreign {
            return Ok(());
        }
        let migrate_from = if origin == Origin::Adopted { vec![KUBECTL.to_owned()] } else { Vec::new() };
        let options = ApplyOptions { migrate_from, ..ApplyOptions::default() };
        let applied = self.retry(object, async || self.cluster.apply(object, &options).await).await?;
        for warning in &applied.warnings {
            eprintln!("corpus: {}: {warning}", object.key());
        }
        Ok(())
    }

    /// Right after a definition is established, the API server may still not serve its kind.
    async fn retry<T>(&self, object: &Object, call: impl AsyncFn() -> Result<T, cluster::ClusterError>) -> Result<T> {
        let started = Instant::now();
        loop {
            match call().await {
                Err(error) if error.is_not_found() && started.elapsed() < Duration::from_secs(20) => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome.with_context(|| object.key().to_string()),
            }
        }
    }

    /// Waits until controllers have done what they do, and leave the objects alone.
    pub async fn settle(&self, manifests: &[Manifest]) -> Result<()> {
        let started = Instant::now();
        let mut last = Vec::new();
        loop {
            let gets = manifests.iter().map(|manifest| self.live(&manifest.object));
            let now: Vec<Object> = stream::iter(gets).buffered(PARALLEL).try_collect().await?;
            let now: Vec<String> = now.iter().map(|object| object.resource_version().to_owned()).collect();
            if now == last {
                return Ok(());
            }
            let restless = now.iter().zip(&last).filter(|(now, last)| now != last).count();
            if started.elapsed() > Duration::from_secs(90) {
                eprintln!("corpus: {restless} objects do not come to rest");
                return Ok(());
            }
            last = now;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }

    /// The object as the API server has it, in the version of the manifest.
    async fn live(&self, object: &Object) -> Result<Object> {
        let kind = self.cluster.kind_of(object).await?;
        let namespace = kind.namespaced.then(|| object.namespace());
        let all = self.cluster.list(&kind, namespace, None).await?;
        let found = all.into_iter().find(|live| live.name() == object.name());
        found.with_context(|| format!("{} is gone", object.key()))
    }

    /// What a manifest became. Where the kind has a newer version that others prefer, the same once more in that one.
    pub async fn pairs(&self, manifest: &Manifest) -> Result<Vec<Record>> {
        let object = &manifest.object;
        let made = match manifest.origin {
            Origin::Applied => "",
            Origin::Adopted => ", taken over from kubectl",
            Origin::Foreign => ", not ours yet",
        };
        let record = self.record(format!("{}{made}", object.key()), object, object).await?;
        let mut records = vec![record];
        let preferred = self.cluster.get(&object.key()).await?.with_context(|| format!("{} is gone", object.key()))?;
        if preferred.version() != object.version() {
            let mut other = records[0].clone();
            other.name = format!("{}, written as {}, read as {}", object.key(), object.version(), preferred.version());
            other.predicted.get_or_insert_with(|| records[0].live.clone());
            other.live = preferred;
            records.push(other);
        }
        Ok(records)
    }

    /// What a change makes different. A change in the cluster is made to a copy, so that changes do not meet.
    pub async fn change(&self, index: usize, change: &Change, manifests: &[Manifest]) -> Result<Record> {
        self.changed(index, change, manifests).await.with_context(|| change.name.clone())
    }

    async fn changed(&self, index: usize, change: &Change, manifests: &[Manifest]) -> Result<Record> {
        let manifest = manifests.iter().find(|manifest| manifest.object.key().to_string() == change.object);
        let manifest = manifest.with_context(|| format!("there is no manifest of {}", change.object))?;
        let mut record = match &change.desired {
            Some(patch) => {
                let desired = Object(patched(&manifest.object.0, patch)?);
                self.record(change.name.clone(), &desired, &manifest.object).await?
            }
            None => {
                let mut copy = manifest.object.clone();
                copy.0["metadata"]["name"] = format!("{}-{index}", copy.name()).into();
                self.make(&copy, manifest.origin).await?;
                self.edit(&copy, change).await?;
                self.record(change.name.clone(), &copy, &copy).await?
            }
        };
        record.path.clone_from(&change.path);
        record.same = change.path.is_none();
        record.doubt = change.doubt;
        Ok(record)
    }

    /// Changes a live object as somebody else.
    async fn edit(&self, object: &Object, change: &Change) -> Result<()> {
        let key = object.key();
        if let Some(fields) = &change.apply {
            let head = json!({ "apiVersion": object.api_version(), "kind": object.kind(),
                "metadata": { "name": key.name, "namespace": key.namespace } });
            self.editor.apply(&Object(patched(&head, fields)?), &ApplyOptions::default()).await?;
        }
        if let Some(patch) = &change.live {
            let started = Instant::now();
            loop {
                let outcome = match patch {
                    Value::Array(_) => {
                        let live = self.live(object).await?;
                        let edited = Object(patched(&live.0, patch)?);
                        self.editor.replace(&edited, &ApplyOptions::default()).await.map(drop)
                    }
                    merge => self.editor.merge_patch(&key, merge).await.map(drop),
                };
                match outcome {
                    // A controller was faster.
                    Err(error) if error.is_conflict() && started.elapsed() < PATIENCE => {}
                    outcome => break outcome?,
                }
            }
        }
        if let Some(patch) = &change.status {
            self.editor.merge_patch_status(&key, patch).await?;
        }
        ensure!(
            change.apply.is_some() || change.live.is_some() || change.status.is_some(),
            "it changes nothing: one of desired, live, apply and status is needed"
        );
        Ok(())
    }

    /// The live object and the answer to a dry run of the same moment.
    async fn record(&self, name: String, desired: &Object, at: &Object) -> Result<Record> {
        let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let live = self.live(at).await?;
            let predicted = self.retry(desired, async || self.cluster.apply(desired, &options).await).await?.object;
            if self.live(at).await?.resource_version() == live.resource_version() {
                let (live, predicted) = (without_credentials(live), without_credentials(predicted));
                let predicted = (predicted != live).then_some(predicted);
                let (path, same, doubt) = (None, false, false);
                return Ok(Record { name, desired: desired.clone(), live, predicted, path, same, doubt });
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{} does not come to rest", at.key())
    }
}
