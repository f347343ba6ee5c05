//! Git for Lockstep: mirrors, fetches and trees.
//!
//! Each repository has a bare mirror in a folder. The `git` program fetches into it, because it knows every server, proxy
//! and key; reading happens in this process. A pushed commit costs one `git fetch`, shared by all who wait for the same
//! repository, and whatever is asked afterwards costs no process at all, except who signed a commit: that takes a `gpg` or two
//! or three `ssh-keygen`, once.
//!
//! Mirrors belong to an address and to the credential that it was fetched with ([`Grant`]): whoever gets another one, or another
//! address, sees what that shows and nothing else.
//!
//! This crate never writes to a remote, never runs anything that a repository contains (no hooks, filters or submodules),
//! never writes outside the folders that it is given, and never puts a credential on a command line, into a URL or into an
//! error. It treats what it fetches as hostile.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use git::{Commit, Git, GitConfig, GitError, NoCredentials, Remote, RepositoryUrl};
//!
//! # async fn pushed() -> Result<(), GitError> {
//! let git = Git::open(GitConfig {
//!     root: "/var/lib/lockstep/git".into(), credentials: Arc::new(NoCredentials), fetch_timeout: Duration::from_secs(60),
//!     stall_timeout: Duration::from_secs(60), max_repository_bytes: 4 << 30, allow_local: false,
//! })?;
//! let shop = Remote::of(RepositoryUrl::parse("https://forge.example/acme/shop.git")?, "team-shop");
//! let repository = git.repository(&shop);
//! let (before, after) = (Commit::parse(&"a".repeat(40))?, Commit::parse(&"b".repeat(40))?);
//! if repository.fetch_pushed(&after, "refs/heads/main").await?.reachable {
//!     let changed = repository.changed_paths(&before, &after)?;
//!     let file = repository.snapshot(&after)?.read("apps/shop/values.yaml", 1 << 20)?;
//!     println!("{} files changed, values.yaml has {} bytes", changed.len(), file.len());
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod changes;
mod commit;
mod credentials;
mod error;
mod fetch;
mod local;
mod materialize;
mod mirror;
mod private;
mod process;
mod remote;
mod repository;
mod revision;
mod signature;
mod slots;
mod snapshot;
mod tree;

pub use address::{RepositoryKey, RepositoryUrl, Secret, Transport};
pub use commit::Commit;
pub use credentials::{
    Authentication, Credential, Credentials, Grant, NamedSecret, NoCredentials, SecretCredentials, StaticCredentials,
    Taken,
};
pub use error::GitError;
pub use local::Local;
pub use materialize::{Limits, Materialized};
pub use private::private_folder;
pub use remote::Remote;
pub use repository::{Fetched, Git, GitConfig, Repository};
pub use revision::{Resolved, Revision, VersionRange};
pub use signature::{Keys, Signature, Verified};
pub use snapshot::{Entry, Snapshot, Trail};
pub use tree::EntryKind;
