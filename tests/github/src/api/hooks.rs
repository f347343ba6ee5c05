//! Webhooks of repositories, organisations and Apps, and their deliveries.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Call;
use crate::core::{Core, State};
use crate::events::{Event, Payload};
use crate::model::{ContentType, Delivery, Hook, Repository, Secret, Target};
use crate::payloads;
use crate::reply::Reply;
use crate::routes::Operation;
use crate::time::now_us;
use crate::webhooks;

fn find<'a>(repository: &'a Repository, call: &Call) -> Result<&'a Hook, Reply> {
    with_id(&repository.hooks, call)
}

fn with_id<'a>(hooks: &'a [Hook], call: &Call) -> Result<&'a Hook, Reply> {
    let id: i64 = call.number("hook_id")?;
    hooks.iter().find(|h| h.id == id).ok_or_else(Reply::not_found)
}

fn of_organization<'a>(state: &'a State, call: &Call) -> Result<&'a [Hook], Reply> {
    let organization = call.parameter("org").to_lowercase();
    let known = state.repositories.values().any(|r| r.owner.to_lowercase() == organization);
    match state.organization_hooks.get(&organization) {
        Some(hooks) => Ok(hooks),
        None if known => Ok(&[]),
        None => Err(Reply::not_found()),
    }
}

/// The webhook that a call about deliveries names: a repository's, an organisation's, or the App's.
fn named<'a>(state: &'a State, call: &Call) -> Result<&'a Hook, Reply> {
    match call.route.operation {
        Operation::ListOrganizationDeliveries | Operation::RedeliverOrganization => {
            with_id(of_organization(state, call)?, call)
        }
        Operation::ListAppDeliveries | Operation::RedeliverApp => state.app_hook.as_ref().ok_or_else(Reply::not_found),
        _ => {
            let repository = state.repository(call.owner(), call.repository()).ok_or_else(Reply::not_found)?;
            find(repository, call)
        }
    }
}

pub(super) fn list_of_organization(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let state = core.state();
    let hooks = of_organization(&state, call)?.iter().collect();
    Ok(call.page(hooks, |h| core.links.organization_hook(call.parameter("org"), h)))
}

pub(super) fn app_config(core: &Core, _call: &Call) -> Result<Reply, Reply> {
    let state = core.state();
    let hook = state.app_hook.as_ref().ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(core.links.hook_config(hook)))
}

pub(super) fn list(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| call.page(r.hooks.iter().collect(), |h| core.links.hook(r, h)))
}

pub(super) fn get(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| Ok(Reply::ok(core.links.hook(r, find(r, call)?))))?
}

fn configure(hook: &mut Hook, config: &Value) -> Result<(), Reply> {
    let text = |field: &str| config.get(field).and_then(Value::as_str);
    if let Some(url) = text("url") {
        let valid = url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
        if !valid {
            return Err(Reply::invalid("Hook", "url", "url is not a valid URL"));
        }
        url.clone_into(&mut hook.url);
    }
    hook.content_type = match text("content_type") {
        Some("json") => ContentType::Json,
        Some("form") | None => ContentType::Form,
        Some(_) => return Err(Reply::invalid("Hook", "content_type", "content_type must be json or form")),
    };
    // A configuration without a secret removes the one there was, as on GitHub.
    hook.secret = text("secret").filter(|s| !s.is_empty()).map(|s| Secret(s.to_owned()));
    if let Some(insecure) = config.get("insecure_ssl") {
        hook.insecure_ssl = insecure.as_str().map_or_else(|| insecure.to_string(), str::to_owned);
    }
    Ok(())
}

fn names(call: &Call, field: &str) -> Option<Vec<String>> {
    let list = call.body.get(field)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

pub(super) fn create(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let config = call.body.get("config").ok_or_else(|| Reply::missing("config"))?;
    if config.get("url").and_then(Value::as_str).is_none() {
        return Err(Reply::invalid("Hook", "url", "url cannot be blank"));
    }
    let now = now_us();
    let mut hook = Hook {
        id: core.id(),
        target: Target::Repository,
        url: String::new(),
        content_type: ContentType::Form,
        secret: None,
        insecure_ssl: "0".to_owned(),
        events: names(call, "events").unwrap_or_else(|| vec!["push".to_owned()]),
        active: call.flag("active", true),
        created_at_us: now,
        updated_at_us: now,
        last_response: None,
    };
    configure(&mut hook, config)?;
    let reply = core.write(call.owner(), call.repository(), |r| {
        let overlaps = |h: &Hook| h.events.iter().any(|e| hook.events.contains(e));
        if r.hooks.iter().any(|h| h.url == hook.url && overlaps(h)) {
            let errors =
                json!([{"resource": "Hook", "code": "custom", "message": "Hook already exists on this repository"}]);
            return Err(Reply::validation("Validation Failed", errors));
        }
        let reply = Reply::created(core.links.hook(r, &hook));
        r.hooks.push(hook.clone());
        Ok(reply)
    })??;
    send_ping(core, call, &hook)?;
    Ok(reply)
}

fn send_ping(core: &Core, call: &Call, hook: &Hook) -> Result<(), Reply> {
    let payload = core.read(call.owner(), call.repository(), |r| payloads::ping(&core.links, r, hook, &call.login))?;
    let event = Event {
        owner: call.owner().to_owned(),
        repository: call.repository().to_owned(),
        name: "ping",
        hook: Some(hook.id),
        payload: Payload::Ready(Box::new(payload)),
    };
    // Fails only while the double stops.
    let _ = core.events.send(event);
    Ok(())
}

pub(super) fn update(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.write(call.owner(), call.repository(), |r| {
        let mut hook = find(r, call)?.clone();
        if let Some(config) = call.body.get("config") {
            configure(&mut hook, config)?;
        }
        if let Some(events) = names(call, "events") {
            hook.events = events;
        }
        if let Some(added) = names(call, "add_events") {
            hook.events.extend(added);
        }
        if let Some(removed) = names(call, "remove_events") {
            hook.events.retain(|e| !removed.contains(e));
        }
        let mut seen = std::collections::HashSet::new();
        hook.events.retain(|e| seen.insert(e.clone()));
        hook.active = call.flag("active", hook.active);
        hook.updated_at_us = now_us();
        if let Some(stored) = r.hooks.iter_mut().find(|h| h.id == hook.id) {
            stored.clone_from(&hook);
        }
        Ok(Reply::ok(core.links.hook(r, &hook)))
    })?
}

pub(super) fn delete(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.write(call.owner(), call.repository(), |r| {
        let id = find(r, call)?.id;
        r.hooks.retain(|h| h.id != id);
        Ok(Reply::no_content())
    })?
}

pub(super) fn ping(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let hook = core.read(call.owner(), call.repository(), |r| find(r, call).cloned())??;
    send_ping(core, call, &hook)?;
    Ok(Reply::no_content())
}

/// Newest first, continued by cursor instead of by page.
pub(super) fn list_deliveries(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let state = core.state();
    let hook = named(&state, call)?.id;
    let (_, size) = call.page_bounds();
    let cursor = call.query("cursor").and_then(|c| c.rsplit('_').next()).and_then(|c| c.parse::<i64>().ok());
    let wanted = |d: &&Delivery| match call.query("status") {
        Some("success") => d.succeeded(),
        Some("failure") => !d.succeeded() && d.responded_at_us.is_some(),
        _ => true,
    };
    let mut matching = state.deliveries.iter().rev().filter(|d| d.hook_id == hook);
    let mut matching = matching.by_ref().filter(|d| cursor.is_none_or(|c| d.id <= c)).filter(wanted);
    let show = |d: &Delivery| state.repository(&d.owner, &d.repository).map(|r| core.links.delivery(r, d));
    let shown: Vec<Value> = matching.by_ref().take(size).filter_map(show).collect();
    let reply = Reply::ok(shown.into());
    Ok(match matching.next() {
        Some(next) => reply.header("Link", call.link(&[("cursor", &format!("v1_{}", next.id))], "next")),
        None => reply,
    })
}

fn find_delivery(core: &Core, call: &Call) -> Result<(Hook, Delivery), Reply> {
    let id: i64 = call.number("delivery_id")?;
    let state = core.state();
    let hook = named(&state, call)?;
    let delivery = state.deliveries.iter().find(|d| d.id == id && d.hook_id == hook.id);
    Ok((hook.clone(), delivery.cloned().ok_or_else(Reply::not_found)?))
}

pub(super) fn get_delivery(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let (hook, delivery) = find_delivery(core, call)?;
    core.read(call.owner(), call.repository(), |r| Reply::ok(core.links.delivery_detail(r, &hook, &delivery)))
}

pub(super) fn redeliver(core: &Arc<Core>, call: &Call) -> Result<Reply, Reply> {
    let (hook, delivery) = find_delivery(core, call)?;
    webhooks::redeliver(core, hook, &delivery);
    Ok(Reply::json(202, json!({})))
}
