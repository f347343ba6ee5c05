//! The commands that ask something of an application: `sync`, `approve`, `rollback`, `unpin`, `refresh`, `terminate`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use resources::{Application, ResourceResult};
use wire::command::Action;
use wire::{SelectedResource, Terminate as End, Unpin as Loose};
use worker::commands::approved_commits;

use super::inspect::{self, Workbench};
use super::output::print;
use super::reach::{Applications, Asked, Target};
use super::standing::{Watched, is_out_of_sync};
use super::table::{one_line, short, table};
use super::wait::{Wait, follow};

/// Whether the end is waited for.
#[derive(clap::Args)]
struct Patience {
    /// Do not wait for the end.
    #[arg(long = "async")]
    leave: bool,
    /// How long to wait.
    #[arg(long, default_value = "10m", value_parser = worker::config::parse_duration)]
    timeout: Duration,
}

/// The options of `sync`.
#[derive(clap::Args)]
pub struct Sync {
    #[command(flatten)]
    target: Target,
    /// Another revision than the one it follows; with several sources one for each, in their order.
    #[arg(long = "revision", value_name = "REVISION")]
    revisions: Vec<String>,
    /// Delete what Git no longer has.
    #[arg(long)]
    prune: bool,
    /// Only try: nothing is stored.
    #[arg(long)]
    dry_run: bool,
    /// Delete and create what cannot be updated.
    #[arg(long)]
    force: bool,
    /// Replace whole objects instead of applying what differs.
    #[arg(long)]
    replace: bool,
    /// Only this object, as GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME; the core group is empty. May be repeated. Hooks do not
    /// run then.
    #[arg(long = "resource", value_name = "GROUP:KIND:[NAMESPACE/]NAME", value_parser = selected)]
    resources: Vec<SelectedResource>,
    /// A sync option, beside those of the Application. May be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<String>,
    /// How often it is tried again after it failed; below zero without an end.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retry_limit: Option<i64>,
    #[command(flatten)]
    patience: Patience,
}

/// The options of `approve`.
#[derive(clap::Args)]
pub struct Approve {
    #[command(flatten)]
    target: Target,
    /// The commit; with several sources one for each, in their order. Without it, what the application would sync now.
    #[arg(long = "commit", value_name = "COMMIT")]
    commits: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    workbench: Workbench,
}

/// The options of `rollback`.
#[derive(clap::Args)]
pub struct Rollback {
    #[command(flatten)]
    target: Target,
    /// The number in the history; without it, the one before the current.
    #[arg(value_name = "ID")]
    id: Option<i64>,
    /// Delete what was not there then, also where the Application's policy does not.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    patience: Patience,
}

/// The options of `unpin`.
#[derive(clap::Args)]
pub struct Unpin {
    #[command(flatten)]
    target: Target,
}

/// The options of `refresh`.
#[derive(clap::Args)]
pub struct Refresh {
    #[command(flatten)]
    target: Target,
    /// Forget the cached render, too.
    #[arg(long)]
    hard: bool,
}

/// The options of `terminate`.
#[derive(clap::Args)]
pub struct Terminate {
    #[command(flatten)]
    target: Target,
}

/// Runs `sync`.
pub async fn sync(args: Sync) -> anyhow::Result<ExitCode> {
    let mut sync_options = args.options;
    if args.replace {
        sync_options.push("Replace=true".into());
    }
    let (revision, revisions) = match args.revisions.as_slice() {
        [] => (String::new(), Vec::new()),
        [one] => (one.clone(), Vec::new()),
        _ => (String::new(), args.revisions),
    };
    let action = Action::Sync(wire::Sync {
        revision,
        revisions,
        prune: args.prune,
        dry_run: args.dry_run,
        sync_options,
        force: args.force,
        resources: args.resources,
        retry_limit: args.retry_limit,
    });
    let asked = args.target.ask(action).await?;
    to_the_end(&args.target, asked, &args.patience).await
}

/// Runs `rollback`.
pub async fn rollback(args: Rollback) -> anyhow::Result<ExitCode> {
    let action = Action::Rollback(wire::Rollback { history_id: args.id, prune: args.prune });
    let asked = args.target.ask(action).await?;
    to_the_end(&args.target, asked, &args.patience).await
}

/// Runs `unpin`.
pub async fn unpin(args: Unpin) -> anyhow::Result<ExitCode> {
    args.target.ask(Action::Unpin(Loose {})).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `refresh`.
pub async fn refresh(args: Refresh) -> anyhow::Result<ExitCode> {
    args.target.ask(Action::Refresh(wire::Refresh { hard: args.hard })).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `terminate`.
pub async fn terminate(args: Terminate) -> anyhow::Result<ExitCode> {
    args.target.ask(Action::Terminate(End {})).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `approve`.
pub async fn approve(args: Approve) -> anyhow::Result<ExitCode> {
    let mut commits = args.commits;
    if args.target.bus()?.is_none() {
        let applications = Applications::open(&args.target.access).await?;
        let application = applications.get(&applications.id(&args.target.application)).await?;
        // What is shown and what is approved is the same, also when a newer commit comes in between.
        commits = approved_commits(&application, &commits)?;
        if let Err(error) = inspect::show_plan(&args.target, &args.workbench, &commits).await {
            eprintln!("the plan cannot be shown here: {error:#}");
            print(&out_of_sync(&application))?;
        }
    } else if !args.yes {
        eprintln!("over the bus it cannot be shown what would be synced");
    }
    let what = if commits.is_empty() { "what it would sync now".into() } else { short(&commits) };
    if !args.yes && !confirmed(&format!("Approve {what} of {}?", args.target.application))? {
        bail!("not approved");
    }
    args.target.ask(Action::Approve(wire::Approve { commits })).await?;
    Ok(ExitCode::SUCCESS)
}

/// What the status says would be synced.
fn out_of_sync(application: &Application) -> String {
    let resources = application.status.as_ref().map_or(&[][..], |status| &status.resources);
    let line = |resource: &resources::ResourceStatus| {
        let name = if resource.namespace.is_empty() {
            resource.name.clone()
        } else {
            format!("{}/{}", resource.namespace, resource.name)
        };
        let note = if resource.requires_pruning { " (not in Git)" } else { "" };
        format!("  {} {name}{note}\n", resource.kind)
    };
    let lines: String = resources.iter().filter(|resource| is_out_of_sync(resource)).map(line).collect();
    if lines.is_empty() {
        "its status has nothing that is out of sync\n".into()
    } else {
        format!("out of sync:\n{lines}")
    }
}

/// Asks on the terminal.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is nobody to ask; give --yes to approve without being asked");
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{question} [y/N] ").and_then(|()| out.flush()).context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Waits until what was asked for has ended, and prints what it did.
async fn to_the_end(target: &Target, asked: Asked, patience: &Patience) -> anyhow::Result<ExitCode> {
    let Some((applications, id)) = asked.seen.filter(|_| !patience.leave) else { return Ok(ExitCode::SUCCESS) };
    let mut waits = [Wait::new(&target.application, id, Watched::request(&asked.request))];
    let code = follow(&applications, &mut waits, patience.timeout).await?;
    let [wait] = waits;
    if let Some(application) = wait.application.filter(|_| code == ExitCode::SUCCESS || code == ExitCode::FAILURE) {
        print(&results_text(&application))?;
    }
    Ok(code)
}

/// What the last operation did with each object.
fn results_text(application: &Application) -> String {
    let state = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    let Some(state) = state else { return String::new() };
    let results = state.sync_result.as_ref().map_or(&[][..], |result| &result.resources);
    let row = |result: &ResourceResult| {
        let key = resources::ObjectKey::new(
            result.group.as_str(),
            result.kind.as_str(),
            result.namespace.as_str(),
            result.name.as_str(),
        );
        let hook = result.hook_phase.filter(|_| !result.hook_type.is_empty());
        let done = hook.map(|phase| phase.to_string()).or(result.status.map(|status| status.to_string()));
        vec![result.sync_phase.clone(), key.to_string(), done.unwrap_or_default(), one_line(&result.message)]
    };
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    let table = if rows.is_empty() { String::new() } else { table(&["PHASE", "OBJECT", "DONE", "MESSAGE"], &rows) };
    let message = one_line(&state.message);
    let message = if message.is_empty() { message } else { format!(": {message}") };
    format!("{table}{}: {}{message}\n", application.name(), state.phase)
}

/// `apps:Deployment:prod/gateway`.
fn selected(text: &str) -> Result<SelectedResource, String> {
    let wrong = || format!("{text:?} is not GROUP:KIND:NAME; write apps:Deployment:gateway, :ConfigMap:prod/settings");
    let mut parts = text.splitn(3, ':');
    let (Some(group), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    if kind.is_empty() || name.is_empty() {
        return Err(wrong());
    }
    Ok(SelectedResource { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() })
}

/// `Replace=true`.
fn option(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(format!("{text:?} is not NAME=VALUE; write ServerSideApply=true")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_as_they_are_selected() {
        for (text, want) in [
            ("apps:Deployment:gateway", Some(("apps", "Deployment", "", "gateway"))),
            (":ConfigMap:prod/settings", Some(("", "ConfigMap", "prod", "settings"))),
            (
                "rbac.authorization.k8s.io:ClusterRole:system:x",
                Some(("rbac.authorization.k8s.io", "ClusterRole", "", "system:x")),
            ),
            ("Deployment:gateway", None),
            ("apps::gateway", None),
            ("apps:Deployment:prod/", None),
        ] {
            let want = want.map(|(group, kind, namespace, name)| SelectedResource {
                group: group.into(),
                kind: kind.into(),
                namespace: namespace.into(),
                name: name.into(),
            });
            assert_eq!(selected(text).ok(), want, "{text}");
        }
        assert!(selected("gateway").is_err_and(|error| error.contains("apps:Deployment:gateway")));
    }

    #[test]
    fn options_as_they_are_given() {
        assert_eq!(option("Replace=true"), Ok("Replace=true".to_owned()));
        for text in ["Replace", "=true", "Replace="] {
            assert!(option(text).is_err(), "{text}");
        }
    }

    fn application(status: serde_json::Value) -> Application {
        Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd"},
            "spec": {"source": {"repoURL": "https://git.example.com/a", "path": "a"}, "destination": {"name": "in-cluster"}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_a_sync_did() {
        let status = json!({"operationState": {
            "operation": {}, "phase": "Failed", "message": "one is\nrefused",
            "syncResult": {"revision": "4f2a", "resources": [
                {"group": "batch", "version": "v1", "kind": "Job", "namespace": "prod", "name": "migrate",
                    "hookType": "PreSync", "hookPhase": "Succeeded", "syncPhase": "PreSync", "message": "done"},
                {"group": "", "version": "v1", "kind": "ConfigMap", "namespace": "prod", "name": "a",
                    "status": "SyncFailed", "syncPhase": "Sync", "message": "no"},
            ]},
        }});
        let want = "\
PHASE    OBJECT                  DONE        MESSAGE
PreSync  batch/Job prod/migrate  Succeeded   done
Sync     ConfigMap prod/a        SyncFailed  no
gateway: Failed: one is refused
";
        assert_eq!(results_text(&application(status)), want);
        assert_eq!(results_text(&application(json!({}))), "");
    }

    #[test]
    fn what_the_status_says_is_out_of_sync() {
        let status = json!({"resources": [
            {"kind": "ConfigMap", "namespace": "prod", "name": "a", "status": "OutOfSync"},
            {"kind": "Namespace", "name": "old", "status": "OutOfSync", "requiresPruning": true},
            {"kind": "Service", "namespace": "prod", "name": "b", "status": "Synced"},
        ]});
        let want = "out of sync:\n  ConfigMap prod/a\n  Namespace old (not in Git)\n";
        assert_eq!(out_of_sync(&application(status)), want);
        assert!(out_of_sync(&application(json!({}))).contains("nothing"));
    }
}
