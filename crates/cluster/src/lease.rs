//! A Lease in the cluster: of all replicas of a worker, its holder works.
//!
//! Its requests go over connections of their own, so that they stand in no line behind the work that is done under it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use resources::{Object, ObjectKey};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Options;
use crate::client::{Call, Cluster, Query, parse, segment};
use crate::error::{ClusterError, Subject};
use crate::fence::{Fence, Moment};
use crate::limiter::Priority;

/// Tells one run of a program from a later run under the same identity.
const RUN: &str = "lockstep.dev/run";

/// The pause before a Lease is renewed that somebody else edited just now.
const EDITED: Duration = Duration::from_millis(20);

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
    /// The limit of one attempt to renew: a request that hangs must not use up the time of those after it.
    pub attempt: Duration,
    /// No write may end later than this before the end of `duration`.
    pub margin: Duration,
}

impl Default for LeaseOptions {
    /// Long enough to keep the Lease through a restart of the API server.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(30),
            give_up: Duration::from_secs(20),
            every: Duration::from_secs(2),
            attempt: Duration::from_secs(3),
            margin: Duration::from_secs(5),
        }
    }
}

impl LeaseOptions {
    /// A renewal that is as late as this has been kept from being made.
    pub(crate) fn overdue(&self) -> Duration {
        self.every + self.every / 2
    }

    /// So soon an attempt has ended, whenever one wants it.
    pub(crate) fn answered(&self) -> Duration {
        self.again() + 2 * self.attempt
    }

    /// The pause after an attempt that failed: several fit into the time that is left.
    fn again(&self) -> Duration {
        self.every / 2
    }
}

/// Why a Lease is no longer ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nobody else has it, as far as we know; the API server could not be told that we are still there.
    #[error("it could not be renewed for {} s ({attempts} attempts; the last: {last})", after.as_secs())]
    NotRenewed {
        /// Since the last renewal that succeeded.
        after: Duration,
        /// How often it was tried since then.
        attempts: u32,
        /// How the last attempt failed.
        last: String,
    },
    /// Another replica took it.
    #[error("{holder} holds it now")]
    Taken {
        /// Its identity.
        holder: String,
    },
    /// A later run of the same replica took it.
    #[error("a later run of this replica ({holder}) holds it now")]
    TakenByLaterRun {
        /// The identity of both.
        holder: String,
    },
    /// Somebody deleted it, or took our name out of it.
    #[error("somebody deleted it or took our name out of it")]
    Removed,
    /// We gave it back.
    #[error("it was given back")]
    Released,
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
        let own =
            Options { request_timeout: options.attempt, retry_for: Duration::ZERO, in_flight: 2, ..Options::default() };
        let holder = Holder {
            cluster: cluster.apart(own)?,
            key: ObjectKey::new("coordination.k8s.io", "Lease", namespace, name),
            identity: identity.to_owned(),
            run: uuid::Uuid::new_v4().to_string(),
            options,
        };
        let mut seen = Seen::default();
        let mut away = false;
        loop {
            let sent = Moment::now();
            match holder.take(&mut seen).await {
                Ok(Some(lease)) => return Ok(holder.keep(lease, sent)),
                Ok(None) => away = false,
                Err(error) if error.is_conflict() => {
                    tracing::debug!(%error, lease = %holder.key, "lease.not_taken: somebody was faster; trying again");
                }
                Err(error) if error.is_transient() => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, lease = %holder.key, "lease.not_taken: trying again");
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(options.every).await;
        }
    }
}

/// A Lease that is ours, until [`LeaseHeld::lost`]. Dropping it stops the renewals and permits no write any more;
/// [`LeaseHeld::release`] also lets others take it at once.
pub struct LeaseHeld {
    holder: Arc<Holder>,
    term: u64,
    fence: Fence,
    lost: watch::Receiver<Option<Lost>>,
    task: tokio::task::JoinHandle<()>,
}

impl LeaseHeld {
    /// Ready when the Lease is no longer ours, and why. Whoever works under it must stop then.
    pub async fn lost(&self) -> Lost {
        let mut lost = self.lost.clone();
        // An ended task renews no more, which is a loss too.
        lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone()).unwrap_or(Lost::Released)
    }

    /// Whether the Lease is known to be lost.
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// How often the Lease has changed hands: greater with each holder.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// What writes under this Lease have to ask.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Gives the Lease back, so that another replica takes over without waiting.
    pub async fn release(self) -> Result<(), ClusterError> {
        self.task.abort();
        self.fence.end(&Lost::Released);
        if self.is_lost() {
            return Ok(());
        }
        let Some(mut lease) = self.holder.get().await? else { return Ok(()) };
        if !self.holder.is_ours(&lease) {
            return Ok(());
        }
        lease.0["spec"]["holderIdentity"] = Value::String(String::new());
        match self.holder.put(&lease).await {
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
        self.fence.end(&Lost::Released);
    }
}

/// Somebody else's Lease: its version and when we first saw it. Whether it is renewed is told by our own clock, so that
/// clocks that differ do not matter.
#[derive(Default)]
struct Seen {
    version: String,
    since: Option<Instant>,
    holder: String,
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
        lease.annotation(RUN) == Some(&self.run) && holder_of(lease) == self.identity
    }

    /// The path is known without asking which kinds there are, which may take long just when the Lease is to be renewed.
    fn path(&self, subject: &Subject<'_>) -> Result<String, ClusterError> {
        let namespace = segment(&self.key.namespace, "metadata.namespace", subject)?;
        Ok(format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"))
    }

    async fn send(&self, verb: &'static str, lease: Option<&Object>) -> Result<Object, ClusterError> {
        let subject = Subject::new(verb, self.key.clone());
        let collection = self.path(&subject)?;
        let path = format!("{collection}/{}", segment(&self.key.name, "metadata.name", &subject)?);
        let mut query = Query::default();
        query.add("fieldManager", self.cluster.field_manager());
        let mut call = match (verb, lease) {
            ("create", Some(lease)) => Call::post(format!("{collection}?{query}"), lease),
            (_, Some(lease)) => Call::put(format!("{path}?{query}"), lease),
            (_, None) => Call::get(path),
        };
        call.priority = Priority::Lease;
        let reply = self.cluster.call(&subject, &call).await?;
        parse(&subject, &reply.text)
    }

    async fn get(&self) -> Result<Option<Object>, ClusterError> {
        match self.send("get", None).await {
            Ok(lease) => Ok(Some(lease)),
            Err(ClusterError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, lease: &Object) -> Result<Object, ClusterError> {
        self.send("renew", Some(lease)).await
    }

    /// One attempt.
    async fn take(&self, seen: &mut Seen) -> Result<Option<Object>, ClusterError> {
        let Some(lease) = self.get().await? else {
            let lease = self.stamped(
                &Object(json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.key.name, "namespace": self.key.namespace}, "spec": {}
                })),
                true,
            );
            return Ok(Some(self.send("create", Some(&lease)).await?));
        };
        let current = holder_of(&lease);
        if !current.is_empty() && current != self.identity {
            let version = lease.resource_version();
            match seen.since {
                Some(since) if seen.version == version => {
                    if since.elapsed() < self.options.duration {
                        return Ok(None);
                    }
                    tracing::info!(lease = %self.key, holder = current, "lease.expired: its holder has not renewed it");
                }
                _ => {
                    if seen.holder != current {
                        tracing::info!(lease = %self.key, holder = current, "lease.held: standing by");
                        current.clone_into(&mut seen.holder);
                    }
                    version.clone_into(&mut seen.version);
                    seen.since = Some(Instant::now());
                    return Ok(None);
                }
            }
        }
        Ok(Some(self.put(&self.stamped(&lease, true)).await?))
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

    /// What a Lease that could not be renewed says now: still ours, or whose.
    fn judged(&self, lease: Option<Object>) -> Result<Object, Lost> {
        let Some(lease) = lease else { return Err(Lost::Removed) };
        if self.is_ours(&lease) {
            return Ok(lease);
        }
        let holder = holder_of(&lease).to_owned();
        Err(match holder.as_str() {
            "" => Lost::Removed,
            _ if holder == self.identity => Lost::TakenByLaterRun { holder },
            _ => Lost::Taken { holder },
        })
    }

    fn keep(self, lease: Object, sent: Moment) -> LeaseHeld {
        let term = lease.at("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        let fence = Fence::new(format!("{}/{}", self.key.namespace, self.key.name), sent, self.options);
        let holder = Arc::new(self);
        let (tell, lost) = watch::channel(None);
        let task = tokio::spawn(renew(holder.clone(), lease, fence.clone(), tell));
        LeaseHeld { holder, term, fence, lost, task }
    }
}

fn holder_of(lease: &Object) -> &str {
    lease.at("/spec/holderIdentity").and_then(Value::as_str).unwrap_or("")
}

async fn renew(holder: Arc<Holder>, mut lease: Object, fence: Fence, tell: watch::Sender<Option<Lost>>) {
    let options = &holder.options;
    let mut failures = 0;
    let mut pause = options.every;
    let lost = loop {
        // Those who wait to write do not make an API server that is away be asked in a tight loop.
        let hurries = async {
            if failures > 0 {
                std::future::pending::<()>().await;
            }
            fence.wanted().await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hurries => {}
        }
        let sent = Moment::now();
        // However late it is: as long as nobody else has taken it, the Lease is still ours.
        let attempt = tokio::time::timeout(options.attempt, async {
            match holder.put(&holder.stamped(&lease, false)).await {
                // Somebody edited it (a label, perhaps) and it may still be ours: then that is renewed next.
                Err(error) if error.is_conflict() || error.is_not_found() => Ok(Err(holder.get().await?)),
                renewed => renewed.map(Ok),
            }
        });
        let error = match attempt.await {
            Ok(Ok(Ok(renewed))) => {
                lease = renewed;
                (failures, pause) = (0, options.every.saturating_sub(sent.age()));
                fence.renewed(sent);
                continue;
            }
            Ok(Ok(Err(found))) => match holder.judged(found) {
                Ok(newer) => {
                    (lease, pause) = (newer, EDITED);
                    continue;
                }
                Err(lost) => break lost,
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", options.attempt.as_secs_f32()),
        };
        failures += 1;
        let age = fence.age();
        tracing::warn!(lease = %holder.key, error, age_s = age.as_secs(), "lease.not_renewed: trying again");
        if age >= options.give_up {
            break Lost::NotRenewed { after: age, attempts: failures, last: error };
        }
        pause = options.again();
        fence.attempted();
    };
    tracing::warn!(lease = %holder.key, identity = holder.identity, reason = %lost, "lease.lost");
    fence.end(&lost);
    tell.send_replace(Some(lost));
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

    #[test]
    fn a_loss_says_what_happened() {
        let text = |lost: Lost| lost.to_string();
        let last = "no answer within 3 s".to_owned();
        assert_eq!(
            text(Lost::NotRenewed { after: Duration::from_secs(21), attempts: 5, last }),
            "it could not be renewed for 21 s (5 attempts; the last: no answer within 3 s)"
        );
        assert_eq!(text(Lost::Taken { holder: "worker-1_ab".into() }), "worker-1_ab holds it now");
    }

    #[test]
    fn several_attempts_fit_into_the_time_before_giving_up() {
        let options = LeaseOptions::default();
        let one = options.attempt + options.again();
        assert!(options.give_up >= 4 * one, "four attempts that hang take {:?}", 4 * one);
        assert!(options.give_up < options.duration - options.margin && options.overdue() < options.give_up);
    }
}
