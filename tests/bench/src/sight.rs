//! Seeing changes as the API server tells them: a watch that was open before, with the moment at which each event came.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cluster::{Cluster, WatchEvent};
use futures::StreamExt as _;
use resources::Object;
use tokio::sync::mpsc;

/// An open watch on one kind in one namespace.
pub struct Sight {
    events: mpsc::UnboundedReceiver<(Object, Instant)>,
    task: tokio::task::JoinHandle<()>,
}

impl Sight {
    /// Opens it; returns once the first list is there.
    pub async fn open(cluster: &Cluster, group: &str, kind: &str, namespace: &str) -> anyhow::Result<Self> {
        let served = cluster.kind(group, None, kind).await?.with_context(|| format!("the cluster serves no {kind}"))?;
        let mut stream = Box::pin(cluster.watch(&served, Some(namespace), None));
        let (sender, events) = mpsc::unbounded_channel();
        match stream.next().await {
            Some(Ok(WatchEvent::Reset(objects))) => {
                let now = Instant::now();
                objects.into_iter().for_each(|object| drop(sender.send((object, now))));
            }
            Some(Err(error)) => return Err(error.into()),
            _ => bail!("the watch on {kind} did not begin with a list"),
        }
        let task = tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                let now = Instant::now();
                let objects = match event {
                    Ok(WatchEvent::Reset(objects)) => objects,
                    Ok(WatchEvent::Applied(object)) => vec![object],
                    Ok(WatchEvent::Deleted(_)) | Err(_) => continue,
                };
                for object in objects {
                    if sender.send((object, now)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { events, task })
    }

    /// The moment at which the first object came that is what is looked for.
    pub async fn until(&mut self, limit: Duration, mut wanted: impl FnMut(&Object) -> bool) -> anyhow::Result<Instant> {
        let look = async {
            while let Some((object, at)) = self.events.recv().await {
                if wanted(&object) {
                    return Ok(at);
                }
            }
            bail!("the watch ended")
        };
        tokio::time::timeout(limit, look).await.map_err(|_| anyhow::anyhow!("not seen within {limit:?}"))?
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The release that a ConfigMap of the bench carries.
pub fn release(object: &Object) -> &str {
    object.at("/data/release").and_then(|value| value.as_str()).unwrap_or("")
}
