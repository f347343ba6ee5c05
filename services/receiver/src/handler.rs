use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::{HttpRequest, HttpResponse, web};
use bus::{Bus, Message, PublishError, names};
use bytes::Bytes;
use forge::ForgeKind;
use forge::webhook::{self, Headers, Malformed, Parsed, RawWebhook, Rejected, Verified};
use tokio::sync::Semaphore;
use wire::{Delivery, Envelope, TraceParent};

use crate::answer::{Refusal, Taken};
use crate::body::{Bodies, closing};
use crate::budget::{Reserved, SMALL};
use crate::config::Trust;
use crate::connections::Peer;
use crate::measures::Measures;

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) bodies: Bodies,
    /// Large bodies are read one after another, so that small ones have a processor meanwhile.
    pub(crate) large_turn: Semaphore,
    pub(crate) publish_limit: Duration,
    pub(crate) measures: Measures,
}

/// A request at a webhook address. `kind` is what the address is for; None where the headers tell.
pub(crate) async fn receive(
    shared: web::Data<Shared>,
    kind: Option<ForgeKind>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    shared.measures.received();
    match shared.handle(kind, &request, &mut payload).await {
        Ok(response) => response,
        Err(refusal) => {
            let reason = refusal.reason();
            shared.measures.rejected(reason);
            tracing::debug!(reason, path = request.path(), "webhook.rejected");
            closing(refusal.answer(), payload)
        }
    }
}

impl Shared {
    async fn handle(
        &self,
        kind: Option<ForgeKind>,
        request: &HttpRequest,
        payload: &mut web::Payload,
    ) -> Result<HttpResponse, Refusal> {
        let received_at = now_unix_ms();
        let headers: Headers =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
        let kind = kind.or_else(|| webhook::identify(&headers)).ok_or(Rejected::Header("X-GitHub-Event"));
        let kind = kind.map_err(Refusal::Webhook)?;
        webhook::check_headers(kind, &headers, self.trust.0.is_some()).map_err(Refusal::Webhook)?;

        let peer = request.conn_data::<Arc<Peer>>().ok_or(Refusal::Broken)?;
        let body = self.bodies.read(peer, request, payload, |bytes| webhook::memory(&headers, bytes)).await?;
        let (bytes, mut reserved) = (body.bytes, body.reserved);
        let parsed = if bytes.len() <= SMALL {
            understand(&self.trust, kind, &headers, bytes, received_at)?
        } else {
            let _turn = self.large_turn.acquire().await;
            let trust = self.trust.clone();
            let understood = web::block(move || understand(&trust, kind, &headers, bytes, received_at)).await;
            understood.map_err(|_| Refusal::Busy)??
        };
        match parsed {
            Parsed::Delivery(delivery) => self.publish(kind, delivery, &mut reserved).await,
            Parsed::Ping => {
                self.measures.ping(kind);
                Ok(taken(HttpResponse::Ok(), Taken { outcome: "pong", delivery: None, trace: None, reason: None }))
            }
            Parsed::Ignored { event, action } => {
                self.measures.ignored(kind, &event);
                tracing::debug!(forge = kind.name(), event, action, "webhook.ignored");
                let taken_as = Taken { outcome: "ignored", delivery: None, trace: None, reason: None };
                Ok(taken(HttpResponse::Accepted(), taken_as))
            }
            Parsed::Malformed(malformed) => self.bury(malformed, received_at).await,
        }
    }

    /// Only what is verified gets here.
    async fn publish(
        &self,
        kind: ForgeKind,
        delivery: Verified<Delivery>,
        reserved: &mut Reserved,
    ) -> Result<HttpResponse, Refusal> {
        let trace = TraceParent::new_root();
        let trace_id = trace.trace_id();
        let message = Message::from(Envelope::delivery(&delivery).with_trace(trace));
        // The body is gone. There is the delivery, the message, and a copy that is sent.
        reserved.shrink(3 * message.body.len());
        let (routing_key, begun) = (delivery.routing_key(), Instant::now());
        self.stored(self.bus.publish(names::DELIVERIES, &routing_key, message)).await?;
        self.measures.published(begun.elapsed());
        self.measures.accepted(kind, delivery.event_name());
        tracing::info!(
            forge = kind.name(),
            event = delivery.event_name(),
            delivery = delivery.id,
            repository = delivery.repository.as_ref().map(|r| r.full_name()),
            commit = delivery.commit(),
            trace_id,
            publish_ms = begun.elapsed().as_secs_f64() * 1000.0,
            "webhook.accepted"
        );
        let taken_as = Taken { outcome: "accepted", delivery: Some(&delivery.id), trace: Some(trace_id), reason: None };
        Ok(taken(HttpResponse::Accepted(), taken_as))
    }

    /// A forge that gets a 4xx may switch the webhook off, and a person cannot see what was wrong. So what is authentic
    /// is kept, with the reason, where a person looks.
    async fn bury(&self, malformed: Verified<Malformed>, received_at: i64) -> Result<HttpResponse, Refusal> {
        let kind = malformed.kind;
        let (event, id) = (malformed.event.as_str(), malformed.delivery_id.as_str());
        let envelope = Envelope::webhook(kind.into(), id, event, malformed.body.clone(), received_at);
        let reason = format!("{kind} {event} webhook not understood: {}", malformed.reason);
        self.stored(self.bus.bury(envelope.into(), &reason)).await?;
        self.measures.malformed(kind);
        tracing::warn!(forge = kind.name(), event, delivery = id, reason = malformed.reason, "webhook.not_understood");
        let taken_as =
            Taken { outcome: "not understood", delivery: Some(id), trace: None, reason: Some(&malformed.reason) };
        Ok(taken(HttpResponse::Accepted(), taken_as))
    }

    async fn stored(&self, sent: impl Future<Output = Result<(), PublishError>>) -> Result<(), Refusal> {
        let sent = tokio::time::timeout(self.publish_limit, sent).await;
        let (reason, error) = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => (reason_of(&error), Some(error)),
            Err(_) => ("broker_timeout", None),
        };
        tracing::warn!(reason, error = error.map(|e| e.to_string()), "webhook.not_stored");
        Err(Refusal::Broker(reason))
    }
}

fn understand(
    trust: &Trust,
    kind: ForgeKind,
    headers: &Headers,
    bytes: Bytes,
    received_at: i64,
) -> Result<Parsed, Refusal> {
    let verified: Result<Verified<RawWebhook>, Rejected> = match &trust.0 {
        Some(secrets) => webhook::authenticate(kind, headers, bytes, secrets),
        None => webhook::accept_unsigned(kind, headers, bytes),
    };
    Ok(webhook::parse(verified.map_err(Refusal::Webhook)?, received_at))
}

fn reason_of(error: &PublishError) -> &'static str {
    match error {
        PublishError::Unroutable { .. } => "broker_unroutable",
        PublishError::Refused { .. } => "broker_refused",
        PublishError::TimedOut { .. } => "broker_timeout",
        PublishError::Unavailable { .. } => "broker_unavailable",
        _ => "broker_other",
    }
}

fn taken(mut response: actix_web::HttpResponseBuilder, taken: Taken<'_>) -> HttpResponse {
    response.json(taken)
}

fn now_unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
