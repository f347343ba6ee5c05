//! Webhooks: told apart by their headers, verified on their raw bytes, and only then parsed.
//!
//! The order is in the types. [`identify`] reads headers only. [`verify`] or [`authenticate`] turns raw bytes into
//! [`Verified`], which nothing else can make, and [`parse`] takes nothing else. Before verification one thing is read
//! from the body, by [`SecretBook`]: the repository's name, to choose the secrets with; and a delivery whose repository
//! turns out to be another one is not understood.

pub(crate) mod bounded;
pub(crate) mod changes;
mod form;
mod headers;
pub(crate) mod payload;
mod secrets;
mod verified;

#[cfg(test)]
mod tests;

pub use headers::Headers;
#[cfg(test)]
use payload::Peek;
use payload::{Event, Malformation};
pub use secrets::{Secret, SecretBook, SecretError};
pub use verified::{RawWebhook, Rejected, Verified, accept_unsigned, authenticate, check_headers, memory, verify};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wire::Delivery;

use crate::{ForgeKind, gitea, github};

/// What an authentic webhook turned out to be.
#[expect(clippy::large_enum_variant, reason = "made once and taken apart at once")]
#[derive(Debug)]
pub enum Parsed {
    /// Something to publish.
    Delivery(Verified<Delivery>),
    /// The forge tries whether somebody listens.
    Ping,
    /// An event or an action that nobody needs, or that is newer than this program.
    Ignored {
        /// The forge's name of the event.
        event: String,
        /// The forge's name of the action, where the event has one.
        action: Option<String>,
    },
    /// Authentic, but not understood. To be kept with its reason.
    Malformed(Verified<Malformed>),
}

/// An authentic webhook that could not be understood.
#[derive(Debug)]
pub struct Malformed {
    /// Who sent it.
    pub kind: ForgeKind,
    /// The forge's name of the event.
    pub event: String,
    /// The forge's delivery id.
    pub delivery_id: String,
    /// What was not understood, for a person.
    pub reason: String,
    /// The body as it arrived.
    pub body: Bytes,
}

/// Tells the forge by its headers. Gitea is looked for first, as it sends GitHub's headers too.
pub fn identify(headers: &Headers) -> Option<ForgeKind> {
    if headers.get(gitea::webhook::EVENT).is_some() {
        Some(ForgeKind::Gitea)
    } else if headers.get(github::webhook::EVENT).is_some() {
        Some(ForgeKind::Github)
    } else {
        None
    }
}

/// Puts an authentic webhook into words that do not depend on the forge.
pub fn parse(webhook: Verified<RawWebhook>, received_at_unix_ms: i64) -> Parsed {
    let raw = webhook.into_inner();
    let parsed = match raw.kind {
        ForgeKind::Github => github::webhook::parse(&raw.event, &raw.payload),
        ForgeKind::Gitea => gitea::webhook::parse(&raw.event, &raw.payload),
    };
    let parsed = parsed.and_then(|event| raw.check_scope(event));
    match parsed {
        Ok(Event::Ping) => Parsed::Ping,
        Ok(Event::Ignored { action }) => Parsed::Ignored { event: raw.event, action },
        Ok(Event::Known { repository, event }) => Parsed::Delivery(Verified::new(Delivery {
            forge: wire::Forge::from(raw.kind).into(),
            id: raw.delivery_id,
            repository: Some(repository),
            event: Some(event),
            received_at_unix_ms,
            body_sha256: Sha256::digest(&raw.body).to_vec(),
        })),
        Err(Malformation(reason)) => Parsed::Malformed(Verified::new(Malformed {
            kind: raw.kind,
            event: raw.event,
            delivery_id: raw.delivery_id,
            reason,
            body: raw.body,
        })),
    }
}
