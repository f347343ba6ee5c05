//! Where each followed revision stands: the newest commit that this worker knows of, for each [`Tracked`] place. What one
//! project's address shows never decides where another's stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use git::{Commit, GitError, Revision};

use crate::index::Tracked;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Heads {
    places: Mutex<HashMap<Tracked, Arc<tokio::sync::Mutex<Option<Commit>>>>>,
}

impl Heads {
    /// The head of a place, asked of the forge the first time; many who ask at once share one answer. It is asked again where
    /// the commit is not at hand: the mirror is another one when another credential serves the place.
    pub async fn resolve(&self, git: &git::Git, tracked: &Tracked) -> Result<Commit, GitError> {
        let place = self.place(tracked);
        let mut head = place.lock().await;
        if let Some(commit) = &*head
            && git.repository(&tracked.remote).has(commit)
        {
            return Ok(commit.clone());
        }
        // Whoever waits for the lock shall not hold the memory of asking.
        let commit = Box::pin(ask(git, tracked)).await?;
        *head = Some(commit.clone());
        Ok(commit)
    }

    /// The head as far as it is known, without asking anybody.
    pub async fn known(&self, tracked: &Tracked) -> Option<Commit> {
        self.place(tracked).lock().await.clone()
    }

    /// Holds the place while somebody decides whether its head moves: nobody else reads or moves it in between.
    pub async fn hold(&self, tracked: &Tracked) -> Held {
        Held(self.place(tracked).lock_owned().await)
    }

    /// It is not known any more where the place stands: whoever wants to know asks the forge.
    pub fn forget(&self, tracked: &Tracked) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(tracked);
    }

    /// Nobody follows these any more.
    pub fn retain(&self, keep: impl Fn(&Tracked) -> bool) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).retain(|tracked, _| keep(tracked));
    }

    fn place(&self, tracked: &Tracked) -> Arc<tokio::sync::Mutex<Option<Commit>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(tracked.clone()).or_default().clone()
    }
}

/// A place whose head nobody else can move. Every move of a head but the first goes through here, so that it is never moved by
/// somebody who has decided on what it was before.
#[derive(Debug)]
pub struct Held(tokio::sync::OwnedMutexGuard<Option<Commit>>);

impl Held {
    /// The head as far as it is known.
    pub fn commit(&self) -> Option<&Commit> {
        self.0.as_ref()
    }

    /// The place stands at this commit from now on.
    pub fn advance(&mut self, commit: Commit) {
        *self.0 = Some(commit);
    }
}

/// Asks the forge where the revision stands, and fetches that commit.
pub async fn ask(git: &git::Git, tracked: &Tracked) -> Result<Commit, GitError> {
    let repository = git.repository(&tracked.remote);
    Ok(repository.resolve(&Revision::parse(&tracked.revision)?).await?.commit)
}
