//! `lockstep app list`, `get` and `history`: what the Applications say of themselves.

use std::fmt::Write as _;
use std::process::ExitCode;

use engine::approval::approval;
use engine::pin::pin;
use resources::{Application, ApplicationStatus, Condition, Object, ResourceStatus, RevisionHistory, Time};
use serde::Serialize;
use serde_json::json;

use super::output::Output;
use super::reach::{Access, Applications, Named, parsed};
use super::standing::{asker, at, is_out_of_sync, is_unwell, operation};
use super::table::{one_line, short, table};

/// The options of `list`.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    access: Access,
    /// Those of all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How they are printed: a table, or a List of Applications.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// The options of `get`.
#[derive(clap::Args)]
pub struct Get {
    /// The Application, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    application: String,
    #[command(flatten)]
    access: Access,
    /// How it is printed: as text, or as the Application is.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Runs `list`.
pub async fn list(args: List) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let objects: Vec<Object> = applications.list(args.all_namespaces).await?.into_iter().map(lean).collect();
    let all = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    args.output.print(&all, || list_text(objects, args.all_namespaces))?;
    Ok(ExitCode::SUCCESS)
}

/// Without what only the API server needs.
fn lean(mut object: Object) -> Object {
    if let Some(metadata) = object.0.pointer_mut("/metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    object
}

fn list_text(objects: Vec<Object>, with_namespace: bool) -> String {
    let row = |object: Object| {
        let name =
            if with_namespace { format!("{}/{}", object.namespace(), object.name()) } else { object.name().into() };
        match parsed(object) {
            Err(invalid) => {
                let unknown = || "-".to_owned();
                vec![name, unknown(), "Invalid".into(), unknown(), unknown(), one_line(&format!("{invalid:#}"))]
            }
            Ok(application) => {
                let status = application.status.clone().unwrap_or_default();
                vec![
                    name,
                    application.spec.project().to_owned(),
                    status.sync_status().to_string(),
                    status.health_status().to_string(),
                    or_dash(at(&status)),
                    remark(&application, &status),
                ]
            }
        }
    };
    let rows: Vec<Vec<String>> = objects.into_iter().map(row).collect();
    if rows.is_empty() {
        return "no applications\n".into();
    }
    table(&["NAME", "PROJECT", "SYNC", "HEALTH", "COMMIT", "REMARK"], &rows)
}

/// What is most worth knowing, in a line.
fn remark(application: &Application, status: &ApplicationStatus) -> String {
    if let Some(operation) = operation(application) {
        return operation;
    }
    let worst = status.conditions.iter().find(|condition| condition.is_error()).or(status.conditions.first());
    if let Some(condition) = worst {
        return one_line(&condition.message);
    }
    status.health.as_ref().map_or(String::new(), |health| one_line(&health.message))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// Runs `get`.
pub async fn get(args: Get) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let id = applications.id(&args.application);
    let object = lean(applications.object(&id).await?);
    let text = match args.output {
        Output::Text => get_text(&parsed(object.clone())?),
        _ => String::new(),
    };
    args.output.print(&object.0, || text)?;
    Ok(ExitCode::SUCCESS)
}

fn get_text(application: &Application) -> String {
    let status = application.status.clone().unwrap_or_default();
    let mut text = format!("{}/{}\n", application.namespace(), application.name());
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<13}{value}", format!("{name}:"));
        }
    };
    fact("Project", application.spec.project());
    for source in application.sources() {
        let place = [source.path.as_str(), source.chart.as_str()].into_iter().find(|place| !place.is_empty());
        let place = place.map_or(String::new(), |place| format!(" {place}"));
        fact("Source", &format!("{}{place} at {}", shown_address(&source.repo_url), source.revision()));
    }
    let destination = &application.spec.destination;
    let cluster = if destination.name.is_empty() { &destination.server } else { &destination.name };
    fact("Destination", format!("{cluster} {}", destination.namespace).trim());
    fact("Policy", &policy(application));
    let at = at(&status);
    let at = if at.is_empty() { at } else { format!(" at {at}") };
    fact("Sync", &format!("{}{at}", status.sync_status()));
    let health = status.health.as_ref().map_or(String::new(), |health| one_line(&health.message));
    let health = if health.is_empty() { health } else { format!(": {health}") };
    fact("Health", &format!("{}{health}", status.health_status()));
    fact("Operation", &last_operation(application, &status));
    match pin(application) {
        Ok(None) => {}
        Ok(Some(pin)) => fact("Pinned", &pin.sentence(application)),
        Err(unreadable) => fact("Pinned", &unreadable.to_string()),
    }
    match approval(application) {
        Ok(None) => {}
        Ok(Some(given)) => {
            let used = if given.used_by(application).is_some() { ", which has been used" } else { "" };
            let when = given.at.map_or(String::new(), |at| format!(" at {}", Time(at)));
            fact("Approved", &format!("{} by {}{when}{used}", short(&given.commits), given.by));
        }
        Err(unreadable) => fact("Approved", &unreadable.to_string()),
    }
    for url in status.summary.iter().flat_map(|summary| &summary.external_urls) {
        fact("Address", url);
    }
    text + &conditions_text(&status.conditions) + &resources_text(&status.resources)
}

fn policy(application: &Application) -> String {
    let Some(automated) = application.spec.automated() else { return "synced when somebody says so".into() };
    let mut policy = "synced by itself".to_owned();
    for (also, what) in [(automated.prune, "pruned"), (automated.self_heal, "healed")] {
        if also {
            policy += &format!(", {what}");
        }
    }
    policy
}

fn last_operation(application: &Application, status: &ApplicationStatus) -> String {
    if let Some(operation) = operation(application) {
        return operation;
    }
    let Some(last) = &status.operation_state else { return String::new() };
    let message = one_line(&last.message);
    let message = if message.is_empty() { message } else { format!(": {message}") };
    let when = last.finished_at.map_or(String::new(), |at| format!(" at {at}"));
    format!("{} by {}{when}{message}", last.phase, asker(&last.operation))
}

fn conditions_text(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let row = |condition: &Condition| {
        let since = condition.last_transition_time.map_or("-".into(), |at| at.to_string());
        vec![condition.r#type.clone(), since, one_line(&condition.message)]
    };
    let rows: Vec<Vec<String>> = conditions.iter().map(row).collect();
    format!("\n{}", table(&["CONDITION", "SINCE", "MESSAGE"], &rows))
}

/// Only what is not as it should be: of most applications everything else is.
fn resources_text(resources: &[ResourceStatus]) -> String {
    let wrong = |resource: &&ResourceStatus| is_out_of_sync(resource) || is_unwell(resource);
    let row = |resource: &ResourceStatus| {
        let key = resources::ObjectKey::new(
            resource.group.as_str(),
            resource.kind.as_str(),
            resource.namespace.as_str(),
            resource.name.as_str(),
        );
        let health = resource.health.clone().unwrap_or_default();
        let sync = match resource.status {
            _ if resource.hook => "hook".to_owned(),
            Some(status) if resource.requires_pruning => format!("{status}, not in Git"),
            status => status.map_or("-".into(), |status| status.to_string()),
        };
        let health_status = health.status.map_or("-".into(), |status| status.to_string());
        vec![key.to_string(), sync, health_status, one_line(&health.message)]
    };
    let rows: Vec<Vec<String>> = resources.iter().filter(wrong).map(row).collect();
    if rows.is_empty() {
        return match resources.len() {
            0 => String::new(),
            1 => "\nThe only object is as it should be.\n".into(),
            all => format!("\nAll {all} objects are as they should be.\n"),
        };
    }
    let head = format!("{} OF {} OBJECTS", rows.len(), resources.len());
    format!("\n{}", table(&[&head, "SYNC", "HEALTH", "MESSAGE"], &rows))
}

/// One past sync.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Past {
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    commits: Vec<String>,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    /// The last one: what the cluster has, if nothing failed since.
    current: bool,
    /// Where the application stays.
    pinned: bool,
}

/// Runs `history`.
pub async fn history(args: Named) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let application = applications.get(&applications.id(&args.application)).await?;
    let past = past(&application);
    args.output.print(&past, || history_text(&past))?;
    Ok(ExitCode::SUCCESS)
}

fn past(application: &Application) -> Vec<Past> {
    let history = application.status.as_ref().map_or(&[][..], |status| &status.history);
    let pinned = pin(application).ok().flatten().and_then(|pin| pin.history);
    let one = |(number, entry): (usize, &RevisionHistory)| Past {
        id: entry.id,
        at: entry.deployed_at,
        commits: resources::listed(&entry.revision, &entry.revisions).to_vec(),
        by: match &entry.initiated_by {
            Some(by) if by.automated => "the sync policy".into(),
            Some(by) => by.username.clone(),
            None => String::new(),
        },
        approved_by: approver(application, entry),
        current: number + 1 == history.len(),
        pinned: pinned == Some(entry.id),
    };
    history.iter().enumerate().map(one).collect()
}

/// Who approved it, as far as the annotation still tells: it holds the last approval only.
fn approver(application: &Application, entry: &RevisionHistory) -> Option<String> {
    let given = approval(application).ok().flatten()?;
    let commits = resources::listed(&entry.revision, &entry.revisions);
    let began = entry.deploy_started_at.or(entry.deployed_at);
    let since = match (given.at, began) {
        (Some(at), Some(began)) => began.0.as_second() >= at.as_second(),
        (None, _) => true,
        (Some(_), None) => false,
    };
    (given.is_for(commits) && since).then_some(given.by)
}

fn history_text(past: &[Past]) -> String {
    if past.is_empty() {
        return "nothing has been synced yet\n".into();
    }
    let row = |past: &Past| {
        let mark = match (past.current, past.pinned) {
            (true, true) => "current, pinned",
            (true, false) => "current",
            (false, true) => "pinned",
            (false, false) => "",
        };
        vec![
            past.id.to_string(),
            past.at.map_or("-".into(), |at| at.to_string()),
            short(&past.commits),
            or_dash(past.by.clone()),
            or_dash(past.approved_by.clone().unwrap_or_default()),
            mark.into(),
        ]
    };
    let rows: Vec<Vec<String>> = past.iter().map(row).collect();
    table(&["ID", "WHEN", "COMMIT", "BY", "APPROVED BY", ""], &rows)
}

/// An address as it may be shown: without the password that somebody wrote into it.
fn shown_address(address: &str) -> String {
    git::RepositoryUrl::parse(address).map_or_else(
        |_| address.to_owned(),
        |url| {
            if url.password().is_some() { url.to_string() } else { address.to_owned() }
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn object(name: &str, annotations: Value, status: Value) -> Object {
        Object(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd", "annotations": annotations},
            "spec": {
                "source": {"repoURL": "https://git.example.com/a", "path": "apps/gateway", "targetRevision": "main"},
                "destination": {"name": "in-cluster", "namespace": "prod"},
                "syncPolicy": {"automated": {"prune": true}},
            },
            "status": status,
        }))
    }

    fn application(annotations: Value, status: Value) -> Application {
        parsed(object("gateway", annotations, status)).unwrap()
    }

    #[test]
    fn a_list() {
        let healthy = json!({"sync": {"status": "Synced", "revision": "4f2a9c1d0b"}, "health": {"status": "Healthy"}});
        let failed = json!({
            "sync": {"status": "OutOfSync", "revision": "4f2a9c1d0b"}, "health": {"status": "Degraded"},
            "conditions": [{"type": "PinnedWarning", "message": "pinned"}, {"type": "SyncError", "message": "it\nfailed"}],
        });
        let mut broken = object("broken", json!({}), json!({}));
        broken.0["spec"]["destination"] = json!(7);
        let objects = vec![object("gateway", json!({}), healthy), object("ledger", json!({}), failed), broken];
        let text = list_text(objects, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME     PROJECT  SYNC       HEALTH    COMMIT   REMARK");
        assert_eq!(lines[1], "gateway  default  Synced     Healthy   4f2a9c1");
        assert_eq!(lines[2], "ledger   default  OutOfSync  Degraded  4f2a9c1  it failed");
        assert!(lines[3].starts_with("broken   -        Invalid    -         -        the Application"), "{text}");
        assert_eq!(list_text(Vec::new(), false), "no applications\n");
        let text = list_text(vec![object("gateway", json!({}), json!({}))], true);
        assert!(text.contains("argocd/gateway  default  Unknown  Unknown  -"), "{text}");
    }

    #[test]
    fn one_application() {
        let status = json!({
            "sync": {"status": "OutOfSync", "revision": "4f2a9c1d0b"},
            "health": {"status": "Degraded", "message": "pod x cannot\npull image y"},
            "operationState": {"phase": "Failed", "message": "no", "finishedAt": "2026-01-05T12:00:00Z",
                "operation": {"initiatedBy": {"username": "ada"}}},
            "conditions": [{"type": "SyncError", "message": "it failed", "lastTransitionTime": "2026-01-05T12:00:00Z"}],
            "resources": [
                {"kind": "ConfigMap", "namespace": "prod", "name": "a", "status": "Synced"},
                {"group": "apps", "kind": "Deployment", "namespace": "prod", "name": "b", "status": "Synced",
                    "health": {"status": "Degraded", "message": "pod x"}},
                {"kind": "ConfigMap", "namespace": "prod", "name": "old", "status": "OutOfSync", "requiresPruning": true},
            ],
        });
        let annotations = json!({"lockstep.dev/approved": "5e1b9c1d0b by eve at 2026-01-05T11:00:00Z"});
        let want = "\
argocd/gateway
Project:     default
Source:      https://git.example.com/a apps/gateway at main
Destination: in-cluster prod
Policy:      synced by itself, pruned
Sync:        OutOfSync at 4f2a9c1
Health:      Degraded: pod x cannot pull image y
Operation:   Failed by ada at 2026-01-05T12:00:00Z: no
Approved:    5e1b9c1 by eve at 2026-01-05T11:00:00Z

CONDITION  SINCE                 MESSAGE
SyncError  2026-01-05T12:00:00Z  it failed

2 OF 3 OBJECTS          SYNC                  HEALTH    MESSAGE
apps/Deployment prod/b  Synced                Degraded  pod x
ConfigMap prod/old      OutOfSync, not in Git  -
";
        let text = get_text(&application(annotations, status));
        // The widths of the last table follow its longest cells.
        let squeeze = |text: &str| text.lines().map(one_line).collect::<Vec<_>>().join("\n");
        assert_eq!(squeeze(&text), squeeze(want), "{text}");
        let fine = json!({"resources": [{"kind": "ConfigMap", "name": "a", "status": "Synced"}]});
        assert!(get_text(&application(json!({}), fine)).ends_with("\nThe only object is as it should be.\n"));
    }

    #[test]
    fn past_syncs() {
        let entry = |id: i64, revision: &str, by: Value| {
            json!({"id": id, "revision": revision, "initiatedBy": by,
                "deployStartedAt": "2026-01-05T12:00:00Z", "deployedAt": "2026-01-05T12:00:01Z"})
        };
        let status = json!({"history": [
            entry(3, "4f2a9c1d0b", json!({"username": "ada"})),
            entry(4, "5e1b9c1d0b", json!({"automated": true})),
            entry(5, "4f2a9c1d0b", json!({})),
        ]});
        let annotations = json!({
            "lockstep.dev/approved": "5e1b9c1d0b by eve at 2026-01-05T11:00:00Z",
            "lockstep.dev/pinned": r#"{"commits":["4f2a9c1d0b"],"history":3}"#,
        });
        let past = past(&application(annotations, status));
        let want = "\
ID  WHEN                  COMMIT   BY               APPROVED BY
3   2026-01-05T12:00:01Z  4f2a9c1  ada              -            pinned
4   2026-01-05T12:00:01Z  5e1b9c1  the sync policy  eve
5   2026-01-05T12:00:01Z  4f2a9c1  -                -            current
";
        assert_eq!(history_text(&past), want);
        let json = serde_json::to_value(&past).unwrap();
        assert_eq!(
            json[1],
            json!({"id": 4, "at": "2026-01-05T12:00:01Z", "commits": ["5e1b9c1d0b"], "by": "the sync policy",
                "approvedBy": "eve", "current": false, "pinned": false})
        );
        assert_eq!(history_text(&[]), "nothing has been synced yet\n");
    }
}
