//! Pods: what the containers say, in words that lead to the cause.

use resources::Object;
use serde_json::Value;

use super::{Health, find_condition, text};

pub(super) fn pod(object: &Object) -> Health {
    let restarts = matches!(text(object, "/spec/restartPolicy"), "" | "Always");
    let stuck = containers(object).find_map(|(name, status)| waiting_for_nothing(name, status));
    match text(object, "/status/phase") {
        "Succeeded" => Health::healthy(),
        "Failed" => Health::degraded(failure(object)),
        // A pod that runs to its end may recover by itself or fails as a whole; one that restarts would wait forever.
        _ if restarts && stuck.is_some() => Health::degraded(stuck.unwrap_or_default()),
        "Running" if restarts => running(object),
        "Running" => Health::progressing("running"),
        _ => Health::progressing(pending(object, stuck)),
    }
}

fn running(object: &Object) -> Health {
    if find_condition(object, "Ready").is_some_and(|ready| ready.is_true()) {
        return Health::healthy();
    }
    let ended = containers(object).find_map(|(name, status)| {
        let last = status.pointer("/lastState/terminated")?;
        (status.get("ready") != Some(&true.into())).then(|| format!("container {name} ended before: {}", exit(last)))
    });
    match ended {
        Some(message) => Health::degraded(message),
        None => {
            let waiting: Vec<&str> = containers(object)
                .filter(|(_, status)| status.get("ready") == Some(&false.into()))
                .map(|(name, _)| name)
                .collect();
            let message =
                if waiting.is_empty() { "not ready".into() } else { format!("waiting for {}", waiting.join(", ")) };
            Health::progressing(message)
        }
    }
}

fn pending(object: &Object, stuck: Option<String>) -> String {
    if let Some(stuck) = stuck {
        return stuck;
    }
    if let Some(scheduled) = find_condition(object, "PodScheduled").filter(|condition| condition.is_false()) {
        return format!("cannot be scheduled: {}", scheduled.text());
    }
    let message = text(object, "/status/message");
    if message.is_empty() { "pending".into() } else { message.into() }
}

/// The container that waits for what will not come by itself: an image that cannot be pulled, a crash loop, a bad setting.
fn waiting_for_nothing(name: &str, status: &Value) -> Option<String> {
    let waiting = status.pointer("/state/waiting")?;
    let field = |field: &str| waiting.get(field).and_then(Value::as_str).unwrap_or_default();
    let (reason, message) = (field("reason"), field("message"));
    if !(reason.starts_with("Err")
        || reason.ends_with("Error")
        || reason.ends_with("BackOff")
        || reason == "InvalidImageName")
    {
        return None;
    }
    let image = status.get("image").and_then(Value::as_str).unwrap_or_default();
    Some(match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            format!("container {name} cannot pull image {image}{}", tail(message, reason))
        }
        "CrashLoopBackOff" => match status.pointer("/lastState/terminated") {
            Some(last) => format!("container {name} keeps ending: {}", exit(last)),
            None => format!("container {name} keeps ending{}", tail(message, reason)),
        },
        _ => format!("container {name}: {reason}{}", tail(message, "")),
    })
}

fn tail(message: &str, otherwise: &str) -> String {
    match (message, otherwise) {
        ("", "") => String::new(),
        ("", other) => format!(" ({other})"),
        (message, _) => format!(": {message}"),
    }
}

fn exit(terminated: &Value) -> String {
    let field = |field: &str| terminated.get(field).and_then(Value::as_str).unwrap_or_default();
    let code = terminated.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
    let reason = match field("reason") {
        "OOMKilled" => ", out of memory",
        _ => "",
    };
    let message = field("message").trim();
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("exit code {code}{reason}{message}")
}

fn failure(object: &Object) -> String {
    let (reason, message) = (text(object, "/status/reason"), text(object, "/status/message"));
    if !message.is_empty() {
        return if reason.is_empty() { message.into() } else { format!("{reason}: {message}") };
    }
    let ended = containers(object).find_map(|(name, status)| {
        let terminated = status.pointer("/state/terminated")?;
        let failed = terminated.get("exitCode").and_then(Value::as_i64).is_some_and(|code| code != 0);
        failed.then(|| format!("container {name} ended: {}", exit(terminated)))
    });
    ended.unwrap_or_else(|| if reason.is_empty() { "failed".into() } else { reason.into() })
}

fn containers(object: &Object) -> impl Iterator<Item = (&str, &Value)> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|list| object.at(list).and_then(Value::as_array))
        .flatten()
        .map(|status| (status.get("name").and_then(Value::as_str).unwrap_or_default(), status))
}
