//! A Lease in the cluster: of all replicas of a worker, its holder works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use resources::{Object, ObjectKey};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::{ApplyOptions, Cluster};
use crate::error::ClusterError;

/// Tells one run of a program from a later run under the same identity.
const RUN: &str = "lockstep.dev/run";

/// The clockwork of a Lease.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOptions {
    /// A holder that has not renewed for this long counts as gone.
    pub duration: Duration,
    /// A holder that could not renew for this long gives up; less than `duration`, so that it stops before another
    /// one starts.
    pub give_up: Duration,
    /// Between two renewals, and between two looks at somebody else's Lease.
    pub every: Duration,
}

impl Default for LeaseOptions {
    /// Long enough to keep the Lease through a restart of the API server.
    fn default() -> Self {
        Self { duration: Duration::from_secs(30), give_up: Duration::from_secs(20), every: Duration::from_secs(2) }
    }
}

/// Takes a Lease.
pub struct Lease;

impl Lease {
    /// Waits until the Lease is ours, and renews it from then on.
    ///
    /// `identity` names the replica. The same identity takes its own Lease over at once, so that a program that was
    /// killed and started again need not wait; the earlier run, if it still lives, notices and loses it.
    pub async fn hold(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> Result<LeaseHeld, ClusterError> {
        Self::hold_with(cluster, namespace, name, identity, LeaseOptions::default()).await
    }

    /// Like [`Lease::hold`], with another clockwork.
    pub async fn hold_with(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        identity: &str,
        options: LeaseOptions,
    ) -> Result<LeaseHeld, ClusterError> {
        let holder = Holder {
            cluster: cluster.clone(),
            key: ObjectKey::new("coordination.k8s.io", "Lease", namespace, name),
            identity: identity.to_owned(),
            run: uuid::Uuid::new_v4().to_string(),
            options,
        };
        let mut seen: Option<(String, Instant)> = None;
        loop {
            match holder.take(&mut seen).await {
                Ok(Some(lease)) => return Ok(holder.keep(lease)),
                Ok(None) => {}
                Err(error) if error.is_transient() || error.is_conflict() => {
                    tracing::debug!(%error, "lease not taken; trying again");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(options.every).await;
        }
    }
}

/// A Lease that is ours, until [`LeaseHeld::lost`]. Dropping it stops the renewals; [`LeaseHeld::release`] also lets
/// others take it at once.
pub struct LeaseHeld {
    holder: Arc<Holder>,
    lost: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl LeaseHeld {
    /// Ready when the Lease is no longer ours: somebody else took it, or it could not be renewed in time. Whoever works
    /// under it must stop then.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An ended task renews no more, which is a loss too.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Whether the Lease is known to be lost.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Gives the Lease back, so that another replica takes over without waiting.
    pub async fn release(self) -> Result<(), ClusterError> {
        self.task.abort();
        if self.is_lost() {
            return Ok(());
        }
        let Some(mut lease) = self.holder.cluster.get(&self.holder.key).await? else { return Ok(()) };
        if !self.holder.is_ours(&lease) {
            return Ok(());
        }
        lease.0["spec"]["holderIdentity"] = Value::String(String::new());
        match self.holder.cluster.replace(&lease, &ApplyOptions::default()).await {
            Ok(_) => Ok(()),
            // Somebody was faster; it is theirs.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for LeaseHeld {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Holder {
    cluster: Cluster,
    key: ObjectKey,
    identity: String,
    run: String,
    options: LeaseOptions,
}

impl Holder {
    fn is_ours(&self, lease: &Object) -> bool {
        lease.annotation(RUN) == Some(&self.run)
            && lease.at("/spec/holderIdentity").and_then(Value::as_str) == Some(&self.identity)
    }

    /// One attempt. `seen` is the version of somebody else's Lease and when we first saw it: whether it is renewed is
    /// told by our own clock, so that clocks that differ do not matter.
    async fn take(&self, seen: &mut Option<(String, Instant)>) -> Result<Option<Object>, ClusterError> {
        let Some(lease) = self.cluster.get(&self.key).await? else {
            let lease = self.stamped(
                &Object(json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.key.name, "namespace": self.key.namespace}, "spec": {}
                })),
                true,
            );
            return Ok(Some(self.cluster.create(&lease, &ApplyOptions::default()).await?.object));
        };
        let current = lease.at("/spec/holderIdentity").and_then(Value::as_str).unwrap_or("");
        if !current.is_empty() && current != self.identity {
            let version = lease.resource_version();
            match seen {
                Some((known, since)) if known == version => {
                    if since.elapsed() < self.options.duration {
                        return Ok(None);
                    }
                }
                _ => {
                    *seen = Some((version.to_owned(), Instant::now()));
                    return Ok(None);
                }
            }
        }
        let lease = self.stamped(&lease, true);
        Ok(Some(self.cluster.replace(&lease, &ApplyOptions::default()).await?.object))
    }

    /// The Lease with our name and the time. The `resourceVersion` stays: a write in between is a conflict.
    fn stamped(&self, lease: &Object, taken: bool) -> Object {
        let mut lease = lease.clone();
        let now = Value::String(micro_time(Timestamp::now()));
        let spec = &mut lease.0["spec"];
        spec["holderIdentity"] = self.identity.clone().into();
        spec["leaseDurationSeconds"] = self.options.duration.as_secs().max(1).into();
        spec["renewTime"] = now.clone();
        if taken {
            spec["acquireTime"] = now;
            let transitions = spec.get("leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
            spec["leaseTransitions"] = (transitions + 1).into();
        }
        lease.set_annotation(RUN, &self.run);
        lease
    }

    fn keep(self, lease: Object) -> LeaseHeld {
        let holder = Arc::new(self);
        let (tell, lost) = watch::channel(false);
        let task = tokio::spawn(renew(holder.clone(), lease, tell));
        LeaseHeld { holder, lost, task }
    }
}

async fn renew(holder: Arc<Holder>, mut lease: Object, tell: watch::Sender<bool>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(holder.options.every).await;
        let left = holder.options.give_up.saturating_sub(renewed.elapsed());
        // The request itself may hang as long as the API server is away.
        let attempt = tokio::time::timeout(left, async {
            match holder.cluster.replace(&holder.stamped(&lease, false), &ApplyOptions::default()).await {
                Err(error) if error.is_conflict() => match holder.cluster.get(&holder.key).await? {
                    // Somebody edited it (a label, perhaps) and it is still ours: renew that.
                    Some(newer) if holder.is_ours(&newer) => Ok(Some(newer)),
                    _ => Ok(None),
                },
                Ok(applied) => Ok(Some(applied.object)),
                Err(error) => Err(error),
            }
        });
        match attempt.await {
            Ok(Ok(Some(newer))) => {
                lease = newer;
                renewed = Instant::now();
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => tracing::warn!(%error, lease = %holder.key, "lease not renewed; trying again"),
            Err(_) => {}
        }
        if renewed.elapsed() >= holder.options.give_up {
            break;
        }
    }
    tracing::warn!(lease = %holder.key, identity = holder.identity, "lease lost");
    tell.send_replace(true);
}

/// Kubernetes' MicroTime.
fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds() {
        let at: Timestamp = "2026-03-01T10:20:30.5Z".parse().unwrap();
        assert_eq!(micro_time(at), "2026-03-01T10:20:30.500000Z");
    }
}
