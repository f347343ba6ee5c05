use std::ops::Deref;

use bytes::Bytes;

use super::form::Packing;
use super::payload::{Event, Malformation, Peek};
use super::secrets::{Secret, SecretBook};
use super::{Headers, identify};
use crate::{ForgeKind, gitea, github};

/// Proof that its content came from a forge that knows one of our secrets. Only this module's functions make one.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(super) fn new(content: T) -> Self {
        Self(content)
    }

    /// Gives up the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A webhook as it came, with what its headers say.
#[derive(Debug)]
pub struct RawWebhook {
    pub(super) kind: ForgeKind,
    pub(super) event: String,
    pub(super) delivery_id: String,
    /// As it arrived.
    pub(super) body: Bytes,
    /// The JSON inside; the same bytes unless the body is a form.
    pub(super) payload: Bytes,
    /// The repository or organisation by which the secrets were chosen; None if all secrets are for everything.
    pub(super) scope: Option<Peek>,
}

impl RawWebhook {
    /// The forge's name of the event.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// A secret speaks only for the repository it was chosen by.
    pub(super) fn check_scope(&self, event: Event) -> Result<Event, Malformation> {
        let (Some(scope), Event::Known { repository, .. }) = (&self.scope, &event) else { return Ok(event) };
        if scope.is(&repository.owner, &repository.name) {
            return Ok(event);
        }
        Err(Malformation("the payload names different repositories in different places".into()))
    }
}

/// Why a request is not a webhook of ours. None of it says anything about the body's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A header that every webhook of the forge has.
    #[error("the {0} header is missing or not usable; this address takes webhooks from GitHub and Gitea only")]
    Header(&'static str),
    /// A header by which something is decided came more than once.
    #[error("the {0} header came twice; each header of a webhook must come once, also through a proxy")]
    Twice(&'static str),
    /// Neither JSON nor a form.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// No signature, or something that cannot be one.
    #[error("the webhook is not signed with HMAC-SHA256; set a secret in the forge's webhook settings")]
    Unsigned,
    /// Signed with another secret, or changed on the way.
    #[error("the signature does not match; the secret in the forge's webhook settings must be one configured here")]
    Signature,
}

/// Checks a webhook's signature against each of `secrets`, in constant time for each.
pub fn verify(
    kind: ForgeKind,
    headers: &Headers,
    body: impl Into<BodyBytes>,
    secrets: &[Secret],
) -> Result<Verified<RawWebhook>, Rejected> {
    let (raw, packing) = read(kind, headers, body.into().0)?;
    check(&raw, packing, headers, secrets)?;
    Ok(Verified::new(raw))
}

/// Like [`verify`], with the secrets that `book` has for the webhook's repository.
pub fn authenticate(
    kind: ForgeKind,
    headers: &Headers,
    body: impl Into<BodyBytes>,
    book: &SecretBook,
) -> Result<Verified<RawWebhook>, Rejected> {
    let (mut raw, packing) = read(kind, headers, body.into().0)?;
    if book.is_scoped() {
        let peek = Peek::at(&raw.payload);
        check(&raw, packing, headers, book.secrets_for(&peek))?;
        raw.scope = Some(peek);
    } else {
        check(&raw, packing, headers, book.default_secrets())?;
    }
    Ok(Verified::new(raw))
}

/// Takes a webhook without asking for a signature: for `--insecure-no-secret` alone, where anybody who reaches the port
/// is believed.
pub fn accept_unsigned(
    kind: ForgeKind,
    headers: &Headers,
    body: impl Into<BodyBytes>,
) -> Result<Verified<RawWebhook>, Rejected> {
    read(kind, headers, body.into().0).map(|(raw, _)| Verified::new(raw))
}

/// What can be said before the body is read: whether the headers are those of a webhook, and if it has to be signed,
/// whether it carries what can be a signature.
pub fn check_headers(kind: ForgeKind, headers: &Headers, has_to_be_signed: bool) -> Result<(), Rejected> {
    read_headers(kind, headers)?;
    if has_to_be_signed {
        code(kind, headers)?;
    }
    Ok(())
}

/// The most memory that a body of `bytes` takes until it is understood, together with what is made of it: JSON with an
/// escaped text or deep nesting needs as much again to be read, and a form has its JSON beside it. What is kept in the end
/// has a limit that does not depend on the body.
pub fn memory(headers: &Headers, bytes: usize) -> usize {
    let copies = if Packing::of(headers.get("content-type")) == Some(Packing::Form) { 3 } else { 2 };
    bytes.saturating_mul(copies)
}

/// A request's body; made from [`Bytes`] without a copy, or from a slice with one.
#[derive(Debug)]
pub struct BodyBytes(Bytes);

impl From<Bytes> for BodyBytes {
    fn from(body: Bytes) -> Self {
        Self(body)
    }
}

impl From<&[u8]> for BodyBytes {
    fn from(body: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(body))
    }
}

impl<const N: usize> From<&[u8; N]> for BodyBytes {
    fn from(body: &[u8; N]) -> Self {
        Self(Bytes::copy_from_slice(body))
    }
}

fn read(kind: ForgeKind, headers: &Headers, body: Bytes) -> Result<(RawWebhook, Packing), Rejected> {
    let (event, delivery_id, packing) = read_headers(kind, headers)?;
    let (event, delivery_id) = (event.to_owned(), delivery_id.to_owned());
    let payload = packing.payload(&body);
    Ok((RawWebhook { kind, event, delivery_id, body, payload, scope: None }, packing))
}

fn read_headers(kind: ForgeKind, headers: &Headers) -> Result<(&str, &str, Packing), Rejected> {
    let (event, id) = match kind {
        ForgeKind::Github => (github::webhook::EVENT, github::webhook::DELIVERY),
        ForgeKind::Gitea => (gitea::webhook::EVENT, gitea::webhook::DELIVERY),
    };
    if let Some(header) = headers.twice() {
        return Err(Rejected::Twice(header));
    }
    // Gitea's webhooks carry GitHub's headers too; at GitHub's own address they are still Gitea's.
    if identify(headers) != Some(kind) {
        return Err(Rejected::Header(event));
    }
    let token = |name| headers.get(name).filter(|value| is_token(value)).ok_or(Rejected::Header(name));
    let packing = Packing::of(headers.get("content-type")).ok_or(Rejected::ContentType);
    Ok((token(event)?, token(id)?, packing?))
}

fn signature(kind: ForgeKind, headers: &Headers) -> Option<&str> {
    match kind {
        ForgeKind::Github => github::webhook::signature(headers),
        ForgeKind::Gitea => gitea::webhook::signature(headers),
    }
}

/// The signature, if it can be one of HMAC-SHA256.
fn code(kind: ForgeKind, headers: &Headers) -> Result<[u8; 32], Rejected> {
    let mut code = [0; 32];
    hex::decode_to_slice(signature(kind, headers).ok_or(Rejected::Unsigned)?, &mut code)
        .map_err(|_| Rejected::Unsigned)?;
    Ok(code)
}

/// Names of events and ids of deliveries end up in message properties and logs.
fn is_token(value: &str) -> bool {
    (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn check(raw: &RawWebhook, packing: Packing, headers: &Headers, secrets: &[Secret]) -> Result<(), Rejected> {
    let code = code(raw.kind, headers)?;
    let signed = match (raw.kind, packing) {
        // Gitea signs the JSON and then packs it, GitHub signs what it sends.
        (ForgeKind::Gitea, Packing::Form) => &raw.payload,
        _ => &raw.body,
    };
    secrets.iter().any(|secret| secret.signed(signed, &code)).then_some(()).ok_or(Rejected::Signature)
}
