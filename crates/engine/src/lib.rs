//! The decisions: what differs ([`compare`]; what null means: [`nulls`]), how well it is ([`health`], with what it has brought
//! about: [`tree`]), what to do in which order ([`plan`]), whether it may be
//! done now ([`gate`], with what the project permits: [`project`], [`accounts`], [`signatures`]; when: [`windows`]; on whose word:
//! [`approval`]), which commit is followed ([`pin`]), what must be well first ([`dependencies`]), whether it is time to sync, to
//! repair or to try again ([`sync`], [`heal`], [`retry`]), and to whom an object belongs ([`ownership`], [`orphans`]).
//!
//! This crate does no I/O, knows no async runtime, reads no clock and draws no random number: time is a parameter, and the same
//! input gives the same answer in the same order.
//!
//! ```
//! use engine::compare::{CompareRules, compare};
//! use resources::Object;
//! use serde_json::json;
//!
//! let object = |replicas: u32| {
//!     Object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "gateway" }, "spec": { "replicas": replicas } }))
//! };
//! let rules = CompareRules::new(&[], &["lockstep"]);
//! let difference = compare(&object(3), Some(&object(1)), &rules);
//! assert_eq!(difference.to_string(), "spec.replicas: live 1, wanted 3");
//! assert!(engine::health::health(&object(1), jiff::Timestamp::now()).is_some());
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod approval;
pub mod compare;
pub mod cron;
pub mod dependencies;
pub mod gate;
pub mod glob;
pub mod heal;
pub mod health;
pub mod kinds;
pub mod nulls;
pub mod orphans;
pub mod ownership;
pub mod pin;
pub mod plan;
pub mod project;
pub mod retry;
pub mod signatures;
pub mod sync;
pub mod tree;
pub mod windows;
