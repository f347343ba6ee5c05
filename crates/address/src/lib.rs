//! The address of a repository: parsed and normalized once, in one type.
//!
//! Whoever asks whether a repository is permitted, which credential it gets, where it stands and which mirror holds it must
//! mean the same repository as the program that contacts it. So everything is asked of the normalized address, and the same
//! normalized address is what Git is given: what was written is never used again.
//!
//! This crate does no I/O, and resolves no names.
//!
//! ```
//! use address::{RepositoryUrl, comparable, pattern};
//! let url = RepositoryUrl::parse("https://joe@Forge.Example.:443//acme/./lib/../sh%6Fp.git/")?;
//! assert_eq!(url.address(), "https://forge.example/acme/shop.git");
//! // Another way in is another address; a webhook's repository is found by what they have in common.
//! let ssh = RepositoryUrl::parse("git@forge.example:acme/shop.git")?;
//! assert!(url != ssh && url.key() == ssh.key());
//! // How rules see it.
//! assert_eq!(comparable("https://x@forge.example/acme/shop").unwrap(), "https://forge.example/acme/shop");
//! assert_eq!(pattern("git@Forge.example:acme/*.git"), "ssh://forge.example/acme/*");
//! // What leads out of its root is nobody's address.
//! assert!(RepositoryUrl::parse("https://forge.example/../private.git").is_err());
//! # Ok::<(), address::InvalidUrl>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod parts;
mod rules;
mod secret;
mod url;

pub use rules::{comparable, pattern};
pub use secret::Secret;
pub use url::{RepositoryKey, RepositoryUrl, Transport, without_user};

/// The text is not the address of a repository that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a usable repository URL: {reason}")]
pub struct InvalidUrl {
    /// The text, without user information.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}
