//! Where each followed revision stands: the newest commit that this worker knows of, per repository and revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use git::{Commit, GitError, RepositoryUrl, Revision};

use crate::index::Tracked;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Heads {
    places: Mutex<HashMap<Tracked, Arc<tokio::sync::Mutex<Option<Commit>>>>>,
}

impl Heads {
    /// The head of a place, asked of the forge the first time; many who ask at once share one answer.
    pub async fn resolve(&self, git: &git::Git, url: &RepositoryUrl, tracked: &Tracked) -> Result<Commit, GitError> {
        let place = self.place(tracked);
        let mut head = place.lock().await;
        if let Some(commit) = &*head {
            return Ok(commit.clone());
        }
        // Whoever waits for the lock shall not hold the memory of asking.
        let commit = Box::pin(ask(git, url, tracked)).await?;
        *head = Some(commit.clone());
        Ok(commit)
    }

    /// The head as far as it is known, without asking anybody.
    pub async fn known(&self, tracked: &Tracked) -> Option<Commit> {
        self.place(tracked).lock().await.clone()
    }

    /// The place stands at this commit from now on.
    pub async fn advance(&self, tracked: &Tracked, commit: Commit) {
        *self.place(tracked).lock().await = Some(commit);
    }

    /// Nobody follows these any more.
    pub fn retain(&self, keep: impl Fn(&Tracked) -> bool) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).retain(|tracked, _| keep(tracked));
    }

    fn place(&self, tracked: &Tracked) -> Arc<tokio::sync::Mutex<Option<Commit>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(tracked.clone()).or_default().clone()
    }
}

/// Asks the forge where the revision stands, and fetches that commit.
pub async fn ask(git: &git::Git, url: &RepositoryUrl, tracked: &Tracked) -> Result<Commit, GitError> {
    let repository = git.repository(url);
    Ok(repository.resolve(&Revision::parse(&tracked.revision)?).await?.commit)
}
