//! What happened in a repository and who did it; turned into webhooks one after the other, so that they leave in order.

use serde_json::Value;

/// One thing that webhooks may be sent for.
#[derive(Debug)]
pub(crate) struct Event {
    pub owner: String,
    pub repository: String,
    /// `X-GitHub-Event`.
    pub name: &'static str,
    /// Only that webhook; absent: all that want the event.
    pub hook: Option<i64>,
    pub payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    /// As things were when it happened.
    Ready(Box<Value>),
    /// Its commits are read only if a webhook wants them.
    Push(RefChange),
}

/// A ref before and after a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefChange {
    /// Full name.
    pub name: String,
    /// All zeros when created.
    pub before: String,
    /// All zeros when deleted.
    pub after: String,
    pub actor: String,
    /// Commits that the repository's other branches had before; what a new branch is measured against.
    pub known: Vec<String>,
}

impl RefChange {
    pub(crate) fn branch(&self) -> Option<&str> {
        self.name.strip_prefix("refs/heads/")
    }
}
