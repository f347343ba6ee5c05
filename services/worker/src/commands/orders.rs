//! What a command writes into an Application, and what it cannot write there. Decides only: the caller reads and writes.

use engine::approval::Approval;
use engine::pin::{Pin, pin};
use jiff::Timestamp;
use resources::{
    Application, InitiatedBy, NameValue, Operation, OperationPhase, OperationState, RetryStrategy, RevisionHistory,
    SyncOperation, SyncResource, SyncStrategy, SyncStrategyOptions, annotations, listed,
};
use serde_json::{Value, json};
use wire::Command;
use wire::command::Action;

/// The name in an operation's `info` under which the id of the command is kept that asked for it.
pub const REQUEST: &str = "lockstep.dev/request";

/// What a command means for one Application.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// A JSON merge patch for the Application.
    pub patch: Value,
    /// What it does, for a person.
    pub said: String,
}

/// The Application is not in a state for the command; the text says why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// With a sentence for a person.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// What to write; nothing if that was written before.
pub fn order(application: &Application, command: &Command, now: Timestamp) -> Result<Option<Order>, Refused> {
    if is_known(application, &command.id) {
        return Ok(None);
    }
    let by = command.issued_by.trim();
    let order = match &command.action {
        Some(Action::Sync(sync)) => start(application, command, sync)?,
        Some(Action::Refresh(refresh)) => {
            let kind = if refresh.hard { "hard" } else { "normal" };
            Order { patch: annotate(annotations::REFRESH, kind), said: "refresh asked for".into() }
        }
        Some(Action::Terminate(_)) => terminate(application)?,
        Some(Action::Approve(given)) => approve(application, &given.commits, by, now)?,
        Some(Action::Rollback(to)) => roll_back(application, command, to, now)?,
        Some(Action::Unpin(_)) => unpin(application)?,
        None => return Err(Refused::new("the command is of a kind that this version does not know: update it")),
    };
    Ok(Some(order))
}

/// The commits that the application would sync now: those that its status was compared with.
fn compared(application: &Application) -> Vec<String> {
    let Some(sync) = application.status.as_ref().and_then(|status| status.sync.as_ref()) else { return Vec::new() };
    let commits = listed(&sync.revision, &sync.revisions);
    commits.iter().filter(|commit| !commit.is_empty()).cloned().collect()
}

/// The entry of the history that a rollback goes to: the one of this number, or else the newest before the current one that had
/// other commits or sources. The current one is where the application is pinned, if it is.
pub fn rollback_entry(application: &Application, id: Option<i64>) -> Result<&RevisionHistory, Refused> {
    let history = application.status.as_ref().map_or(&[][..], |status| &status.history);
    let name = application.name();
    let Some(last) = history.len().checked_sub(1) else {
        return Err(Refused::new(format!(
            "{name} has no history: it was never synced, or spec.revisionHistoryLimit is 0"
        )));
    };
    let place = |id: i64| history.iter().position(|entry| entry.id == id);
    if let Some(id) = id {
        let ids: Vec<String> = history.iter().map(|entry| entry.id.to_string()).collect();
        let missing = || Refused::new(format!("{name} has no {id} in its history; there are {}", ids.join(", ")));
        return place(id).map(|place| &history[place]).ok_or_else(missing);
    }
    let pinned = pin(application).ok().flatten().and_then(|pin| pin.history).and_then(place);
    let (before, current) = history.split_at(pinned.unwrap_or(last));
    let differs = |entry: &&RevisionHistory| current.first().is_none_or(|current| !is_same(entry, current));
    before.iter().rev().find(differs).ok_or_else(|| {
        Refused::new(format!(
            "{name} has nothing in its history before the current sync; `lockstep app history {name}` shows it"
        ))
    })
}

fn is_same(a: &RevisionHistory, b: &RevisionHistory) -> bool {
    a.revision == b.revision && a.revisions == b.revisions && a.source == b.source && a.sources == b.sources
}

fn start(application: &Application, command: &Command, sync: &wire::Sync) -> Result<Order, Refused> {
    is_free(application)?;
    let asked = resources::listed(&sync.revision, &sync.revisions);
    let asks = asked.iter().any(|revision| !revision.is_empty());
    let sources = application.sources().len();
    if asks && asked.len() != sources.max(1) {
        return Err(Refused::new(format!(
            "{} has {sources} sources: give a revision for each, in their order",
            application.name()
        )));
    }
    let multi = application.spec.is_multi_source();
    let mut operation = SyncOperation {
        prune: sync.prune,
        dry_run: sync.dry_run,
        sync_options: options(application.spec.sync_options(), &sync.sync_options),
        resources: sync.resources.iter().map(selected).collect(),
        ..SyncOperation::default()
    };
    if asks && multi {
        operation.revisions = asked.to_vec();
    } else if asks {
        operation.revision.clone_from(&asked[0]);
    }
    if sync.force {
        let forced = SyncStrategyOptions { force: true, ..SyncStrategyOptions::default() };
        operation.sync_strategy = Some(SyncStrategy { hook: Some(forced), ..SyncStrategy::default() });
    }
    let retry =
        sync.retry_limit.map(|limit| RetryStrategy { limit, ..application.spec.retry().cloned().unwrap_or_default() });
    let mut said = if sync.dry_run { "dry run asked for" } else { "sync asked for" }.to_owned();
    if let Ok(Some(pin)) = pin(application) {
        said += &format!(" ({})", pin.sentence(application));
    }
    Ok(Order { patch: json!({ "operation": as_asked(command, operation, retry) }), said })
}

fn as_asked(command: &Command, sync: SyncOperation, retry: Option<RetryStrategy>) -> Operation {
    Operation {
        sync: Some(sync),
        initiated_by: Some(InitiatedBy { username: command.issued_by.trim().into(), ..InitiatedBy::default() }),
        info: vec![NameValue { name: REQUEST.into(), value: command.id.clone(), ..NameValue::default() }],
        retry,
        ..Operation::default()
    }
}

/// Options of an operation replace those of the Application, so these come along.
fn options(own: &[String], added: &[String]) -> Vec<String> {
    if added.is_empty() {
        return Vec::new();
    }
    let name = |option: &str| option.split('=').next().unwrap_or_default().trim().to_owned();
    let names: Vec<String> = added.iter().map(|option| name(option)).collect();
    own.iter().filter(|option| !names.contains(&name(option))).chain(added).cloned().collect()
}

fn selected(resource: &wire::SelectedResource) -> SyncResource {
    SyncResource {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        namespace: resource.namespace.clone(),
        ..SyncResource::default()
    }
}

/// Two operations that people ask for do not run at once, and one does not push the other aside silently.
fn is_free(application: &Application) -> Result<(), Refused> {
    let name = application.name();
    let out = format!("wait for it (lockstep app wait --operation {name}) or end it (lockstep app terminate {name})");
    if let Some(operation) = &application.operation {
        let by = whose(operation);
        return Err(Refused::new(format!("a sync that {by} asked for has not begun yet; {out}")));
    }
    let Some(state) = running(application) else { return Ok(()) };
    let automated = state.operation.initiated_by.as_ref().is_some_and(|by| by.automated);
    // One that the policy started is short, and what is asked for follows it. One that failed is done but for its retry.
    if automated || (state.finished_at.is_some() && state.phase == OperationPhase::Running) {
        return Ok(());
    }
    Err(Refused::new(format!("a sync that {} asked for is under way; {out}", whose(&state.operation))))
}

fn whose(operation: &Operation) -> String {
    let by = operation.initiated_by.as_ref();
    match by.map(|by| by.username.as_str()).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None if by.is_some_and(|by| by.automated) => "the sync policy".into(),
        None => "somebody".into(),
    }
}

fn running(application: &Application) -> Option<&OperationState> {
    let state = application.status.as_ref()?.operation_state.as_ref()?;
    (!state.phase.is_final()).then_some(state)
}

fn terminate(application: &Application) -> Result<Order, Refused> {
    let running = running(application);
    let mut patch = json!({});
    // What has not begun must not begin when the other has ended.
    if application.operation.is_some() {
        patch["operation"] = Value::Null;
    }
    if running.is_some() {
        patch["status"] = json!({ "operationState": { "phase": OperationPhase::Terminating.as_str() } });
    }
    let said = match (running, &application.operation) {
        (Some(running), _) => format!("the sync that {} asked for is being ended", whose(&running.operation)),
        (None, Some(asked)) => format!("the sync that {} asked for is taken back: it had not begun", whose(asked)),
        (None, None) => {
            return Err(Refused::new(format!("{} has no operation that runs or waits", application.name())));
        }
    };
    Ok(Order { patch, said })
}

fn approve(application: &Application, given: &[String], by: &str, at: Timestamp) -> Result<Order, Refused> {
    if by.is_empty() {
        return Err(Refused::new("it is not said who approves; give --as NAME"));
    }
    let now = compared(application);
    let commits = approved_commits(application, given)?;
    let mut said = format!("{} approved by {by}", short(&commits));
    if commits != now {
        let name = application.name();
        said += &match now.as_slice() {
            [] => format!("; it counts when {name} gets there"),
            now => format!("; {name} is at {} now, and it counts when it gets there", short(now)),
        };
    }
    let approval = Approval { commits, by: by.into(), at: Some(at) };
    Ok(Order { patch: annotate(annotations::APPROVED, &approval.to_string()), said })
}

/// The commits that an approval is for, written out: those that are given, or else those that would be synced now.
pub fn approved_commits(application: &Application, given: &[String]) -> Result<Vec<String>, Refused> {
    let now = compared(application);
    if !given.is_empty() {
        return written_out(application, given, &now);
    }
    if now.is_empty() {
        let name = application.name();
        return Err(Refused::new(format!(
            "it is not known which commit {name} would sync: it has not been compared with Git; see `lockstep app get {name}`"
        )));
    }
    Ok(now)
}

/// The beginning of a commit is enough for a person, and not for an approval.
fn written_out(application: &Application, given: &[String], now: &[String]) -> Result<Vec<String>, Refused> {
    let sources = application.sources().len().max(1);
    if given.len() != sources {
        let name = application.name();
        return Err(Refused::new(format!("{name} has {sources} sources: name a commit for each, in their order")));
    }
    let whole = |(number, commit): (usize, &String)| {
        let (commit, now) = (commit.trim().to_lowercase(), now.get(number).map_or("", String::as_str));
        let is_hex = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && commit.len() >= 7 && now.starts_with(&commit) {
            Ok(now.to_owned())
        } else if is_hex && matches!(commit.len(), 40 | 64) {
            Ok(commit)
        } else {
            let there = if now.is_empty() { "no commit yet" } else { now };
            Err(Refused::new(format!(
                "{commit:?} is not the commit that would be synced, which is {there}; another one has to be written out"
            )))
        }
    };
    given.iter().enumerate().map(whole).collect()
}

fn roll_back(
    application: &Application,
    command: &Command,
    to: &wire::Rollback,
    now: Timestamp,
) -> Result<Order, Refused> {
    is_free(application)?;
    let entry = rollback_entry(application, to.history_id)?;
    let policy = application.spec.automated();
    let sync = SyncOperation {
        revision: entry.revision.clone(),
        revisions: entry.revisions.clone(),
        source: entry.source.clone(),
        sources: entry.sources.clone(),
        prune: to.prune || policy.is_some_and(|policy| policy.prune),
        sync_strategy: Some(SyncStrategy { hook: Some(SyncStrategyOptions::default()), ..SyncStrategy::default() }),
        ..SyncOperation::default()
    };
    let mut patch = json!({ "operation": as_asked(command, sync, None) });
    let mut said =
        format!("rolling back to {} (number {})", short(listed(&entry.revision, &entry.revisions)), entry.id);
    if policy.is_some() {
        let pin = Pin::to(entry, application, command.issued_by.trim(), now);
        patch["metadata"] = json!({ "annotations": { (annotations::PINNED): pin.annotation() } });
        said += &format!(
            "; it is pinned there: other commits are not synced until `lockstep app unpin {}`",
            application.name()
        );
    }
    Ok(Order { patch, said })
}

fn unpin(application: &Application) -> Result<Order, Refused> {
    if application.annotation(annotations::PINNED).is_none() {
        return Err(Refused::new(format!("{} is not pinned", application.name())));
    }
    let patch = json!({ "metadata": { "annotations": { (annotations::PINNED): null } } });
    Ok(Order { patch, said: "the pin is taken away: it follows Git again".into() })
}

fn annotate(name: &str, value: &str) -> Value {
    json!({ "metadata": { "annotations": { (name): value } } })
}

/// Whether the command of this id has been carried out: a message may come twice.
fn is_known(application: &Application, id: &str) -> bool {
    let state = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
    let operations = application.operation.iter().chain(state.map(|state| &state.operation));
    let mut facts = operations.flat_map(|operation| &operation.info);
    !id.is_empty() && facts.any(|fact| fact.name == REQUEST && fact.value == id)
}

fn short(commits: &[String]) -> String {
    let short: Vec<&str> = commits.iter().map(|commit| crate::intake::short(commit)).collect();
    short.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "4f2a9c1d0b7e6a5f4e3d2c1b0a99887766554433";
    const OTHER: &str = "5e1b9c1d0b7e6a5f4e3d2c1b0a99887766554433";

    fn application(spec: Value, annotations: Value, operation: Value, status: Value) -> Application {
        let mut manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd", "annotations": annotations},
            "spec": {"source": source("a"), "destination": {"name": "in-cluster"}},
            "status": status,
        });
        manifest["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        if !operation.is_null() {
            manifest["operation"] = operation;
        }
        Application::parse(manifest).unwrap()
    }

    fn source(path: &str) -> Value {
        json!({"repoURL": "https://git.example.com/a", "path": path})
    }

    fn command(action: Action) -> Command {
        Command { id: "c1".into(), issued_by: "ada".into(), action: Some(action), ..Command::default() }
    }

    fn now() -> Timestamp {
        "2026-01-05T12:00:00Z".parse().unwrap()
    }

    /// The patch, or the refusal.
    fn written(application: &Application, action: Action) -> Result<Value, String> {
        let order = order(application, &command(action), now()).map_err(|refused| refused.to_string())?;
        Ok(order.unwrap().patch)
    }

    fn manual() -> Application {
        application(json!({}), json!({}), Value::Null, json!({}))
    }

    #[test]
    fn a_sync_as_it_is_asked_for() {
        let none = || wire::Sync::default();
        let two = json!({"sources": [source("a"), source("b")], "source": null});
        let own = json!({"syncPolicy": {"syncOptions": ["CreateNamespace=true", "Replace=false"],
            "retry": {"limit": 3, "backoff": {"duration": "1s"}}}});
        for (spec, sync, want) in [
            (json!({}), none(), json!({})),
            (json!({}), wire::Sync { revision: "v2".into(), ..none() }, json!({"revision": "v2"})),
            (json!({}), wire::Sync { prune: true, dry_run: true, ..none() }, json!({"prune": true, "dryRun": true})),
            (json!({}), wire::Sync { force: true, ..none() }, json!({"syncStrategy": {"hook": {"force": true}}})),
            (own.clone(), none(), json!({})),
            (
                own.clone(),
                wire::Sync { sync_options: vec!["Replace=true".into()], ..none() },
                json!({"syncOptions": ["CreateNamespace=true", "Replace=true"]}),
            ),
            (
                json!({}),
                wire::Sync {
                    resources: vec![wire::SelectedResource {
                        group: "apps".into(),
                        kind: "Deployment".into(),
                        name: "a".into(),
                        ..Default::default()
                    }],
                    ..none()
                },
                json!({"resources": [{"group": "apps", "kind": "Deployment", "name": "a"}]}),
            ),
            (
                two.clone(),
                wire::Sync { revisions: vec!["v1".into(), "v2".into()], ..none() },
                json!({"revisions": ["v1", "v2"]}),
            ),
        ] {
            let app = application(spec, json!({}), Value::Null, json!({}));
            let patch = written(&app, Action::Sync(sync.clone())).unwrap();
            let want = json!({"operation": {
                "sync": want, "initiatedBy": {"username": "ada"}, "info": [{"name": REQUEST, "value": "c1"}],
            }});
            assert_eq!(patch, want, "{sync:?}");
        }
        let retried = wire::Sync { retry_limit: Some(-1), ..none() };
        let patch = written(&application(own, json!({}), Value::Null, json!({})), Action::Sync(retried)).unwrap();
        assert_eq!(patch["operation"]["retry"], json!({"limit": -1, "backoff": {"duration": "1s"}}));
        let one = wire::Sync { revision: "v1".into(), ..none() };
        let refused = written(&application(two, json!({}), Value::Null, json!({})), Action::Sync(one)).unwrap_err();
        assert_eq!(refused, "gateway has 2 sources: give a revision for each, in their order");
    }

    #[test]
    fn one_operation_at_a_time() {
        let state = |phase: &str, more: Value| {
            let mut state = json!({"operation": {"initiatedBy": {"username": "eve"}}, "phase": phase});
            state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"operationState": state})
        };
        let automated = json!({"operation": {"initiatedBy": {"automated": true}}});
        let asked = json!({"initiatedBy": {"username": "eve"}});
        for (operation, status, sync, terminate) in [
            (Value::Null, json!({}), "ok", "gateway has no operation that runs or waits"),
            (asked.clone(), json!({}), "a sync that eve asked for has not begun yet; wait", r#"{"operation":null}"#),
            (
                Value::Null,
                state("Running", json!({})),
                "a sync that eve asked for is under way; wait for it (lockstep app wait --operation gateway)",
                r#"{"status":{"operationState":{"phase":"Terminating"}}}"#,
            ),
            (
                asked,
                state("Running", json!({})),
                "a sync that eve asked for has not begun yet",
                r#"{"operation":null,"status":{"operationState":{"phase":"Terminating"}}}"#,
            ),
            (
                Value::Null,
                state("Running", automated),
                "ok",
                r#"{"status":{"operationState":{"phase":"Terminating"}}}"#,
            ),
            (
                Value::Null,
                state("Running", json!({"finishedAt": "2026-01-05T11:00:00Z"})),
                "ok",
                r#"{"status":{"operationState":{"phase":"Terminating"}}}"#,
            ),
            (Value::Null, state("Failed", json!({})), "ok", "gateway has no operation"),
        ] {
            let app = application(json!({}), json!({}), operation.clone(), status.clone());
            let told = |action| written(&app, action).map_or_else(|refused| refused, |patch| patch.to_string());
            let got =
                written(&app, Action::Sync(wire::Sync::default())).map_or_else(|refused| refused, |_| "ok".into());
            assert!(got.starts_with(sync), "{operation} {status}: {got}");
            let got = told(Action::Terminate(wire::Terminate {}));
            assert!(got.starts_with(terminate), "{operation} {status}: {got}");
        }
    }

    #[test]
    fn what_is_approved() {
        let at = |status: Value| application(json!({}), json!({}), Value::Null, status);
        let now = at(json!({"sync": {"status": "OutOfSync", "revision": COMMIT}}));
        let two = application(
            json!({"sources": [source("a"), source("b")], "source": null}),
            json!({}),
            Value::Null,
            json!({"sync": {"status": "OutOfSync", "revisions": [COMMIT, OTHER]}}),
        );
        for (app, commits, want) in [
            (&now, vec![], format!("{COMMIT} by ada at 2026-01-05T12:00:00Z")),
            (&now, vec![COMMIT], format!("{COMMIT} by ada at 2026-01-05T12:00:00Z")),
            (&now, vec!["4F2A9C1"], format!("{COMMIT} by ada at 2026-01-05T12:00:00Z")),
            (&now, vec![OTHER], format!("{OTHER} by ada at 2026-01-05T12:00:00Z")),
            (&now, vec!["5e1b9c1"], format!("\"5e1b9c1\" is not the commit that would be synced, which is {COMMIT}")),
            (&now, vec!["main"], "\"main\" is not the commit that would be synced".into()),
            (&now, vec![COMMIT, OTHER], "gateway has 1 sources: name a commit for each".into()),
            (&two, vec![], format!("{COMMIT},{OTHER} by ada at 2026-01-05T12:00:00Z")),
            (&two, vec!["4f2a9c1d", OTHER], format!("{COMMIT},{OTHER} by ada at 2026-01-05T12:00:00Z")),
            (&at(json!({})), vec![], "it is not known which commit gateway would sync".into()),
        ] {
            let commits: Vec<String> = commits.into_iter().map(str::to_owned).collect();
            let got = match written(app, Action::Approve(wire::Approve { commits: commits.clone() })) {
                Ok(patch) => patch["metadata"]["annotations"][annotations::APPROVED].as_str().unwrap().to_owned(),
                Err(refused) => refused,
            };
            assert!(got.starts_with(&want), "{commits:?}: {got}");
        }
        let nobody = Command { issued_by: " ".into(), ..command(Action::Approve(wire::Approve::default())) };
        assert!(order(&now, &nobody, self::now()).unwrap_err().to_string().contains("who approves"));
        let later = command(Action::Approve(wire::Approve { commits: vec![OTHER.into()] }));
        let said = order(&now, &later, self::now()).unwrap().unwrap().said;
        assert_eq!(said, "5e1b9c1 approved by ada; gateway is at 4f2a9c1 now, and it counts when it gets there");
    }

    fn past(entries: &[(i64, &str, &str)]) -> Value {
        let entry = |(id, revision, path): &(i64, &str, &str)| json!({"id": id, "revision": revision, "source": source(path), "deployedAt": "2026-01-01T00:00:00Z"});
        json!({"history": entries.iter().map(entry).collect::<Vec<_>>()})
    }

    #[test]
    fn where_a_rollback_goes() {
        let many = past(&[(0, "aaa", "a"), (1, "bbb", "a"), (2, "ccc", "a"), (3, "bbb", "a")]);
        for (status, pinned, id, want) in [
            (many.clone(), None, None, "2"),
            (many.clone(), None, Some(0), "0"),
            (many.clone(), None, Some(9), "gateway has no 9 in its history; there are 0, 1, 2, 3"),
            // Back once more: before where it was rolled back to.
            (many.clone(), Some(r#"{"commits":["bbb"],"history":1}"#), None, "0"),
            (
                many.clone(),
                Some(r#"{"commits":["aaa"],"history":0}"#),
                None,
                "gateway has nothing in its history before",
            ),
            (many, Some(r#"{"commits":["aaa"],"history":7}"#), None, "2"),
            (past(&[(4, "aaa", "a"), (5, "bbb", "a"), (6, "bbb", "a")]), None, None, "4"),
            (past(&[(4, "bbb", "a"), (5, "bbb", "b")]), None, None, "4"),
            (past(&[(4, "bbb", "a")]), None, None, "gateway has nothing in its history before"),
            (json!({}), None, None, "gateway has no history"),
        ] {
            let annotations = pinned.map_or(json!({}), |pin| json!({(annotations::PINNED): pin}));
            let app = application(json!({}), annotations, Value::Null, status.clone());
            let got = rollback_entry(&app, id).map_or_else(|refused| refused.to_string(), |entry| entry.id.to_string());
            assert!(got.starts_with(want), "{status} {pinned:?} {id:?}: {got}");
        }
    }

    #[test]
    fn a_rollback_runs_hooks_and_pins_what_is_synced_by_itself() {
        let status = past(&[(3, COMMIT, "a"), (4, OTHER, "a")]);
        let automated = json!({"syncPolicy": {"automated": {"prune": true}}});
        for (spec, prune, pinned) in [(json!({}), false, false), (automated, true, true)] {
            let app = application(spec, json!({}), Value::Null, status.clone());
            let patch = written(&app, Action::Rollback(wire::Rollback::default())).unwrap();
            let sync = &patch["operation"]["sync"];
            assert_eq!(sync["revision"], COMMIT);
            assert_eq!(sync["source"], source("a"));
            assert_eq!(sync["syncStrategy"], json!({"hook": {}}));
            assert_eq!(sync.get("prune").is_some(), prune);
            let mut after = app.clone();
            let pin = patch["metadata"]["annotations"][annotations::PINNED].as_str();
            assert_eq!(pin.is_some(), pinned);
            let Some(pin) = pin else { continue };
            after.metadata.annotations.get_or_insert_default().insert(annotations::PINNED.into(), pin.into());
            let read = engine::pin::pin(&after).unwrap().unwrap();
            assert_eq!((read.commits, read.by.as_str(), read.history), (vec![COMMIT.to_owned()], "ada", Some(3)));
            let back = written(&after, Action::Unpin(wire::Unpin {})).unwrap();
            assert_eq!(back, json!({"metadata": {"annotations": {(annotations::PINNED): null}}}));
        }
        assert_eq!(written(&manual(), Action::Unpin(wire::Unpin {})), Err("gateway is not pinned".into()));
    }

    #[test]
    fn a_message_that_comes_twice_changes_nothing() {
        let asked = written(&manual(), Action::Sync(wire::Sync::default())).unwrap()["operation"].clone();
        let again = command(Action::Sync(wire::Sync::default()));
        let waits = application(json!({}), json!({}), asked.clone(), json!({}));
        assert_eq!(order(&waits, &again, now()), Ok(None));
        let ended = json!({"operationState": {"operation": asked, "phase": "Succeeded"}});
        assert_eq!(order(&application(json!({}), json!({}), Value::Null, ended), &again, now()), Ok(None));
        let nothing = Command { action: None, ..again };
        assert!(order(&manual(), &nothing, now()).unwrap_err().to_string().contains("update it"));
    }
}
