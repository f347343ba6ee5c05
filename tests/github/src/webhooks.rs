//! Sending webhooks: signed, once, with GitHub's deadline of ten seconds and no retry.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::events::{Event, Payload};
use crate::git::Bare;
use crate::model::{ContentType, Delivery, Hook, Target};
use crate::openapi::Violation;
use crate::payloads;
use crate::time::now_us;
use crate::views::{APP_ID, login_id};

const DEADLINE: Duration = Duration::from_secs(10);
/// GitHub does not send payloads above this.
const LARGEST_PAYLOAD: usize = 25 * 1024 * 1024;
const KEPT_RESPONSE: usize = 64 * 1024;

/// Makes webhooks of events until told to stop. Deliveries run side by side; they start in the order of the events.
pub(crate) async fn run(core: Arc<Core>, mut events: UnboundedReceiver<Event>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Some(event) => send(&core, event).await,
            None => return,
        }
    }
}

async fn send(core: &Arc<Core>, event: Event) {
    let hooks: Vec<Hook> = {
        let state = core.state();
        let Some(repository) = state.repository(&event.owner, &event.repository) else { return };
        let wanted = |h: &&Hook| event.hook.is_none_or(|id| id == h.id) && h.wants(event.name);
        state.hooks_of(repository).filter(wanted).cloned().collect()
    };
    if hooks.is_empty() {
        return;
    }
    let payload = match event.payload {
        Payload::Ready(value) => *value,
        Payload::Push(change) => {
            let Ok(bare) = core.read(&event.owner, &event.repository, |r| Bare(r.path.clone())) else { return };
            match payloads::push_facts(&bare, &change).await {
                Ok(facts) => {
                    let payload =
                        core.read(&event.owner, &event.repository, |r| payloads::push(&core.links, r, &change, &facts));
                    let Ok(payload) = payload else { return };
                    payload
                }
                Err(error) => return tracing::error!(%error, r#ref = change.name, "the push's commits cannot be read"),
            }
        }
    };
    check(core, event.name, &payload);
    let payload = Arc::new(payload);
    for hook in hooks {
        let payload = match hook.target {
            Target::Repository | Target::Organization => payload.clone(),
            Target::Integration => {
                let mut payload = payload.as_ref().clone();
                payload["installation"] = core.links.simple_installation(&event.owner);
                check(core, event.name, &payload);
                Arc::new(payload)
            }
        };
        let source = (event.owner.clone(), event.repository.clone());
        let guid = uuid::Uuid::new_v4().to_string();
        deliver(core, hook, source, Message { event: event.name.to_owned(), guid, payload, again: false });
    }
}

fn check(core: &Core, event: &str, payload: &Value) {
    let Some(openapi) = &core.openapi else { return };
    for message in openapi.webhook(event, payload) {
        core.violation(Violation::webhook(event, payload["action"].as_str(), message));
    }
}

struct Message {
    event: String,
    guid: String,
    payload: Arc<Value>,
    again: bool,
}

/// Sends a delivery again, with the same id and payload, as the webhook is configured now.
pub(crate) fn redeliver(core: &Arc<Core>, hook: Hook, delivery: &Delivery) {
    let message = Message {
        event: delivery.event.clone(),
        guid: delivery.guid.clone(),
        payload: delivery.payload.clone(),
        again: true,
    };
    deliver(core, hook, (delivery.owner.clone(), delivery.repository.clone()), message);
}

fn deliver(core: &Arc<Core>, hook: Hook, (owner, repository): (String, String), message: Message) {
    let body = body(hook.content_type, &message.payload);
    let target = match hook.target {
        Target::Repository => core.read(&owner, &repository, |r| r.id).unwrap_or_default(),
        Target::Organization => login_id(&owner),
        Target::Integration => APP_ID,
    };
    let headers = headers(&hook, &message, target, &body);
    let mut delivery = Delivery {
        id: core.id(),
        guid: message.guid,
        hook_id: hook.id,
        installation_id: (hook.target == Target::Integration).then(|| login_id(&owner)),
        owner,
        repository,
        event: message.event,
        action: message.payload["action"].as_str().map(str::to_owned),
        redelivery: message.again,
        requested_at_us: now_us(),
        responded_at_us: None,
        status_code: 0,
        status: "pending".to_owned(),
        request_headers: headers.clone(),
        payload: message.payload,
        response_headers: BTreeMap::new(),
        response_body: String::new(),
    };
    let id = delivery.id;
    let refused = if body.len() > LARGEST_PAYLOAD {
        Some("payload too large")
    } else if core.state().faults.take_lost_delivery() {
        Some("failed to connect to host")
    } else {
        None
    };
    if let Some(reason) = refused {
        delivery.responded_at_us = Some(delivery.requested_at_us);
        reason.clone_into(&mut delivery.status);
    }
    core.state().deliveries.push(delivery);
    core.notify();
    if refused.is_none() {
        let core = core.clone();
        core.runtime.clone().spawn(async move { post(&core, id, hook, headers, body).await });
    }
}

async fn post(core: &Core, id: i64, hook: Hook, headers: BTreeMap<String, String>, body: Vec<u8>) {
    let mut request = core.http.post(&hook.url).timeout(DEADLINE).body(body);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    if let Some(delivery) = core.state().delivery_mut(id) {
        delivery.requested_at_us = now_us();
    }
    let result = request.send().await;
    let answered_at_us = now_us();
    let (code, status, headers, body) = match result {
        Ok(response) => {
            let code = response.status();
            let headers = response.headers().iter();
            let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
            let headers = headers.collect();
            let mut text = response.text().await.unwrap_or_default();
            text.truncate(text.floor_char_boundary(KEPT_RESPONSE));
            let status =
                if code.is_success() { "OK".to_owned() } else { format!("Invalid HTTP Response: {}", code.as_u16()) };
            (code.as_u16(), status, headers, text)
        }
        Err(error) if error.is_timeout() => (0, "timed out".to_owned(), BTreeMap::new(), String::new()),
        Err(error) => {
            tracing::debug!(error = ?error.source(), hook = hook.id, "the webhook's receiver cannot be reached");
            (0, "failed to connect to host".to_owned(), BTreeMap::new(), String::new())
        }
    };
    let mut state = core.state();
    if let Some(delivery) = state.delivery_mut(id) {
        tracing::debug!(event = delivery.event, guid = delivery.guid, code, status, "webhook delivered");
        delivery.responded_at_us = Some(answered_at_us);
        delivery.status_code = code;
        delivery.status.clone_from(&status);
        delivery.response_headers = headers;
        delivery.response_body = body;
        if let Some(hook) = state.hook_mut(hook.id) {
            hook.last_response = Some((code, status));
        }
    }
    drop(state);
    core.notify();
}

fn body(content_type: ContentType, payload: &Value) -> Vec<u8> {
    let json = payload.to_string();
    match content_type {
        ContentType::Json => json.into_bytes(),
        ContentType::Form => {
            url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish().into_bytes()
        }
    }
}

fn headers(hook: &Hook, message: &Message, target: i64, body: &[u8]) -> BTreeMap<String, String> {
    let content_type = match hook.content_type {
        ContentType::Json => "application/json",
        ContentType::Form => "application/x-www-form-urlencoded",
    };
    let mut headers: BTreeMap<String, String> = [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", content_type.to_owned()),
        ("User-Agent", "GitHub-Hookshot/0d0ub1e".to_owned()),
        ("X-GitHub-Delivery", message.guid.clone()),
        ("X-GitHub-Event", message.event.clone()),
        ("X-GitHub-Hook-ID", hook.id.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", target.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", hook.target.name().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(secret) = &hook.secret {
        headers.insert("X-Hub-Signature-256".to_owned(), signature(secret.0.as_bytes(), body));
    }
    headers
}

/// The value of `X-Hub-Signature-256`.
pub(crate) fn signature(secret: &[u8], body: &[u8]) -> String {
    match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mut mac) => {
            mac.update(body);
            format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
        }
        // HMAC takes keys of any length.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_githubs_documentation_shows() {
        assert_eq!(
            signature(b"It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn a_form_has_the_payload_as_its_only_field() {
        let body = body(ContentType::Form, &serde_json::json!({"a": "b c&d"}));
        assert_eq!(String::from_utf8(body).unwrap(), "payload=%7B%22a%22%3A%22b+c%26d%22%7D");
    }
}
