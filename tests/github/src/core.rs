//! The state all parts share, behind one mutex that is never held across an `await`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::events::Event;
use crate::faults::Faults;
use crate::git::Bare;
use crate::model::{ApiCall, Delivery, Hook, Identity, Repository};
use crate::openapi::{Openapi, Violation};
use crate::reply::Reply;
use crate::views::Links;

/// Owner and name in lower case: GitHub does not tell letter case apart.
pub(crate) type RepositoryKey = (String, String);

pub(crate) fn key(owner: &str, name: &str) -> RepositoryKey {
    (owner.to_lowercase(), name.to_lowercase())
}

#[derive(Default)]
pub(crate) struct State {
    pub repositories: BTreeMap<RepositoryKey, Repository>,
    /// Webhooks of owners, by login in lower case.
    pub organization_hooks: HashMap<String, Vec<Hook>>,
    pub app_hook: Option<Hook>,
    pub tokens: HashMap<String, Identity>,
    /// Newest last.
    pub deliveries: Vec<Delivery>,
    pub calls: Vec<ApiCall>,
    pub violations: Vec<Violation>,
    pub faults: Faults,
    pub rate: Rate,
}

/// The primary rate limit: one window for all tokens.
#[derive(Debug)]
pub(crate) struct Rate {
    pub limit: u64,
    pub used: u64,
    pub reset_at_us: i64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { limit: 5_000, used: 0, reset_at_us: 0 }
    }
}

impl State {
    pub(crate) fn repository(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories.get(&key(owner, name))
    }

    pub(crate) fn repository_mut(&mut self, owner: &str, name: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(&key(owner, name))
    }

    /// The webhooks that events of a repository go to.
    pub(crate) fn hooks_of<'a>(&'a self, repository: &'a Repository) -> impl Iterator<Item = &'a Hook> {
        let organization = self.organization_hooks.get(&repository.owner.to_lowercase());
        repository.hooks.iter().chain(organization.into_iter().flatten()).chain(&self.app_hook)
    }

    pub(crate) fn hook(&self, id: i64) -> Option<&Hook> {
        let all = self.repositories.values().flat_map(|r| &r.hooks);
        all.chain(self.organization_hooks.values().flatten()).chain(&self.app_hook).find(|h| h.id == id)
    }

    pub(crate) fn hook_mut(&mut self, id: i64) -> Option<&mut Hook> {
        let all = self.repositories.values_mut().flat_map(|r| &mut r.hooks);
        all.chain(self.organization_hooks.values_mut().flatten()).chain(&mut self.app_hook).find(|h| h.id == id)
    }

    pub(crate) fn delivery_mut(&mut self, id: i64) -> Option<&mut Delivery> {
        // The one looked for is nearly always among the newest.
        self.deliveries.iter_mut().rev().find(|d| d.id == id)
    }
}

pub(crate) struct Core {
    pub root: PathBuf,
    pub links: Links,
    /// `/api/v3`, or empty.
    pub api_prefix: String,
    /// Whether calls and git requests need a token.
    pub authenticated: bool,
    /// Login of whoever has no other.
    pub login: String,
    pub openapi: Option<Arc<Openapi>>,
    pub http: reqwest::Client,
    pub runtime: tokio::runtime::Handle,
    pub events: mpsc::UnboundedSender<Event>,
    /// Serialises everything that moves refs, so that a push can be told by the refs before and after it.
    pub writing: tokio::sync::Mutex<()>,
    pub changed: watch::Sender<u64>,
    pub next_id: AtomicI64,
    pub state: Mutex<State>,
}

impl Core {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not hide what the double has seen until then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Wakes whoever waits for something to happen.
    pub(crate) fn notify(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Reads a repository, or answers 404.
    pub(crate) fn read<T>(&self, owner: &str, name: &str, read: impl FnOnce(&Repository) -> T) -> Result<T, Reply> {
        self.state().repository(owner, name).map(read).ok_or_else(Reply::not_found)
    }

    /// Changes a repository, or answers 404.
    pub(crate) fn write<T>(
        &self,
        owner: &str,
        name: &str,
        write: impl FnOnce(&mut Repository) -> T,
    ) -> Result<T, Reply> {
        let result = self.state().repository_mut(owner, name).map(write).ok_or_else(Reply::not_found);
        self.notify();
        result
    }

    pub(crate) fn bare(&self, owner: &str, name: &str) -> Result<Bare, Reply> {
        self.read(owner, name, |r| Bare(r.path.clone()))
    }

    /// The commit behind a branch, tag or id as far as the REST calls know it already.
    pub(crate) async fn commit(&self, owner: &str, name: &str, revision: &str) -> Result<Option<String>, Reply> {
        let bare = self.bare(owner, name)?;
        let found = bare.resolve(revision).await.map_err(Reply::internal)?;
        let Some(sha) = found else { return Ok(None) };
        Ok(self.read(owner, name, |r| !r.is_hidden(&sha))?.then_some(sha))
    }

    pub(crate) fn violation(&self, violation: Violation) {
        tracing::warn!(%violation, "not as GitHub describes it");
        self.state().violations.push(violation);
        self.notify();
    }
}
