//! One cluster with its worker.

use anyhow::{Context as _, Result};
use cluster::{ApplyOptions, Cluster, Kubeconfig, Options};
use harness::{ControlPlane, Lockstep};
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use crate::wait::{Seen, until};

/// One cluster with its worker.
#[derive(Debug)]
pub struct Site {
    /// The cluster's name.
    pub name: String,
    /// Its worker, a process of its own.
    pub worker: Lockstep,
    /// A client with an administrator's rights.
    pub cluster: Cluster,
    /// The cluster.
    pub plane: ControlPlane,
    /// Where the worker serves metrics and reports: `http://127.0.0.1:PORT`.
    pub admin: String,
}

/// A cluster that is ready for a worker: the CRDs and the namespace are there.
pub(crate) async fn prepare(name: &str) -> Result<(ControlPlane, Cluster)> {
    let plane = ControlPlane::start(name).await?;
    let cluster = Cluster::connect(&Kubeconfig::file(&plane.kubeconfig), Options::default()).await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } });
    cluster.apply(&Object(namespace), &ApplyOptions::default()).await?;
    install_definitions(name, &cluster).await?;
    Ok((plane, cluster))
}

/// Applies the CRDs and returns when they are served.
pub async fn install_definitions(name: &str, cluster: &Cluster) -> Result<()> {
    for crd in resources::crds() {
        cluster.apply(&crd, &ApplyOptions::default()).await?;
    }
    for kind in ["Application", "ApplicationSet", "AppProject"] {
        until(&format!("{name} serves {kind}"), async || {
            match cluster.kind("argoproj.io", Some("v1alpha1"), kind).await {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

impl Site {
    /// Applies an object as a member of the team.
    pub async fn apply(&self, object: Value) -> Result<Object> {
        let options = ApplyOptions { field_manager: Some("team".into()), ..ApplyOptions::default() };
        Ok(self.cluster.apply(&Object(object), &options).await?.object)
    }

    /// A live object; an error says why it is not to be had.
    pub async fn live(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Seen<Object> {
        let key = ObjectKey::new(group, kind, namespace, name);
        match self.cluster.get(&key).await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => Err(format!("there is no {key}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let key = ObjectKey::new(group, kind, namespace, name);
        until(&format!("{}: {key} is gone", self.name), async || match self.cluster.get(&key).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(format!("it is there: {}", object.0["status"])),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// An Application.
    pub async fn application(&self, name: &str) -> Seen<Object> {
        self.live("argoproj.io", "Application", "argocd", name).await
    }

    /// Changes an Application by a merge patch.
    pub async fn patch_application(&self, name: &str, patch: Value) -> Result<()> {
        let key = ObjectKey::new("argoproj.io", "Application", "argocd", name);
        self.cluster.merge_patch(&key, &patch).await.with_context(|| format!("cannot change {key}"))?;
        Ok(())
    }

    /// Waits until an Application stands at `Sync/Health`.
    pub async fn stands(&self, application: &str, standing: &str) -> Result<()> {
        until(&format!("{}: {application} is {standing}", self.name), async || {
            let object = self.application(application).await?;
            let text = |pointer: &str| object.at(pointer).and_then(Value::as_str).unwrap_or("-");
            let now = format!("{}/{}", text("/status/sync/status"), text("/status/health/status"));
            let conditions = object.at("/status/conditions").unwrap_or(&Value::Null);
            if now == standing { Ok(()) } else { Err(format!("{now} {conditions}")) }
        })
        .await
    }

    /// The `content` of a ConfigMap.
    pub async fn content(&self, namespace: &str, name: &str) -> Seen<String> {
        let object = self.live("", "ConfigMap", namespace, name).await?;
        let content = object.at("/data/content").and_then(Value::as_str);
        content.map(str::to_owned).ok_or_else(|| "it has no content".to_owned())
    }

    /// Waits until a ConfigMap has that `content`.
    pub async fn has_content(&self, namespace: &str, name: &str, expected: &str) -> Result<()> {
        until(&format!("{}: {namespace}/{name} has {expected:?}", self.name), async || {
            let content = self.content(namespace, name).await?;
            if content == expected { Ok(()) } else { Err(content) }
        })
        .await
    }
}
