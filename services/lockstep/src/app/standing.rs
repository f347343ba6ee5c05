//! How an application is, in one line, and whether that is what somebody waits for. Decides only: no clock, no cluster.

use resources::{
    Application, ApplicationStatus, HealthStatus, Operation, OperationPhase, OperationState, ResourceStatus,
    SyncStatus, conditions,
};
use worker::commands::REQUEST;

use super::table::{one_line, short};

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goals {
    /// The cluster has what Git has.
    pub sync: bool,
    /// It is healthy.
    pub health: bool,
    /// No operation is under way, and the last one did not fail.
    pub operation: bool,
    /// No operation is under way. One that failed before the waiting began is of no interest.
    pub rest: bool,
}

impl Goals {
    /// Those that were named; all, if none was.
    pub fn new(sync: bool, health: bool, operation: bool) -> Self {
        if sync || health || operation {
            return Self { sync, health, operation, rest: false };
        }
        Self { sync: true, health: true, operation: false, rest: true }
    }
}

/// The end of the waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What was waited for is there.
    Reached,
    /// It will not come; why.
    Failed(String),
}

/// What was asked for is neither there nor gone by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on waiting.
    Open,
    /// The request is nowhere to be seen: somebody took it back, or it will be there in a moment.
    Lost,
    /// No more waiting.
    Ended(Ended),
}

/// One application that is waited for.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    goals: Goals,
    /// The operation that was asked for, if that is what is waited for.
    request: Option<String>,
    /// The operation that had ended when the waiting began.
    old: Option<Option<OperationState>>,
}

impl Watched {
    /// Waits for goals.
    pub fn goals(goals: Goals) -> Self {
        Self { goals, ..Self::default() }
    }

    /// Waits until the operation has ended that this command asked for.
    pub fn request(id: &str) -> Self {
        Self { request: Some(id.to_owned()), ..Self::default() }
    }

    /// Judges the application as it is now.
    pub fn judge(&mut self, application: &Application) -> Verdict {
        let last = application.status.as_ref().and_then(|status| status.operation_state.as_ref());
        match &self.request {
            Some(request) => of_request(request, application, last),
            None => self.of_goals(application, last),
        }
    }

    fn of_goals(&mut self, application: &Application, last: Option<&OperationState>) -> Verdict {
        let old = self.old.get_or_insert_with(|| last.filter(|last| last.phase.is_final()).cloned());
        let is_new = last != old.as_ref();
        if application.is_being_deleted() {
            return Verdict::Open;
        }
        if application.operation.is_some() || last.is_some_and(|last| !last.phase.is_final()) {
            let waits = self.goals.operation || self.goals.rest || !self.is_there(application);
            return if waits { Verdict::Open } else { Verdict::Ended(Ended::Reached) };
        }
        if let Some(last) = last.filter(|last| !last.phase.is_success())
            && (self.goals.operation || (self.goals.rest && is_new && !self.is_there(application)))
        {
            return Verdict::Ended(Ended::Failed(ended(last)));
        }
        if self.is_there(application) {
            return Verdict::Ended(Ended::Reached);
        }
        let (sync, health) = sync_and_health(application);
        // What is out of sync and will be synced by itself may get well by that.
        let settled = sync == SyncStatus::Synced || application.spec.automated().is_none();
        if self.goals.health && health == HealthStatus::Degraded && settled {
            let message = application.status.as_ref().map_or(String::new(), health_message);
            return Verdict::Ended(Ended::Failed(format!("it is Degraded{message}")));
        }
        Verdict::Open
    }

    fn is_there(&self, application: &Application) -> bool {
        let (sync, health) = sync_and_health(application);
        (!self.goals.sync || sync == SyncStatus::Synced) && (!self.goals.health || health == HealthStatus::Healthy)
    }
}

fn of_request(request: &str, application: &Application, last: Option<&OperationState>) -> Verdict {
    let is_ours =
        |operation: &Operation| operation.info.iter().any(|fact| fact.name == REQUEST && fact.value == request);
    if application.operation.as_ref().is_some_and(is_ours) {
        return Verdict::Open;
    }
    let Some(state) = last.filter(|last| is_ours(&last.operation)) else { return Verdict::Lost };
    match state.phase {
        phase if !phase.is_final() => Verdict::Open,
        phase if phase.is_success() => Verdict::Ended(Ended::Reached),
        _ => Verdict::Ended(Ended::Failed(ended(state))),
    }
}

fn ended(state: &OperationState) -> String {
    let message = one_line(&state.message);
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("the operation ended with {}{message}", state.phase)
}

fn sync_and_health(application: &Application) -> (SyncStatus, HealthStatus) {
    let Some(status) = &application.status else { return (SyncStatus::Unknown, HealthStatus::Unknown) };
    (status.sync_status(), status.health_status())
}

fn health_message(status: &ApplicationStatus) -> String {
    let message = status.health.as_ref().map_or(String::new(), |health| one_line(&health.message));
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// How it is, in a line: `OutOfSync (2 of 14 objects), Progressing (1 of 14): …; sync Running: …`.
pub fn line(application: &Application) -> String {
    let Some(status) = &application.status else { return "nothing is known of it yet".into() };
    let resources: Vec<&ResourceStatus> = status.resources.iter().filter(|resource| !resource.hook).collect();
    let count = |wrong: &dyn Fn(&ResourceStatus) -> bool| {
        let wrong = resources.iter().filter(|resource| wrong(resource)).count();
        if wrong == 0 { String::new() } else { format!(" ({wrong} of {})", resources.len()) }
    };
    let out = count(&is_out_of_sync);
    let unwell = count(&is_unwell);
    let mut line =
        format!("{}{out}, {}{unwell}{}", status.sync_status(), status.health_status(), health_message(status));
    if let Some(operation) = operation(application) {
        line += &format!("; {operation}");
    }
    for condition in &status.conditions {
        if condition.r#type == conditions::SYNC_WAITING || condition.is_error() {
            line += &format!("; {}", one_line(&condition.message));
        }
    }
    line
}

/// Where the operation is, if one is under way.
pub fn operation(application: &Application) -> Option<String> {
    if let Some(operation) = &application.operation {
        return Some(format!("a sync that {} asked for has not begun", asker(operation)));
    }
    let state = application.status.as_ref()?.operation_state.as_ref()?;
    if state.phase.is_final() {
        return None;
    }
    let message = one_line(&state.message);
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    if state.phase == OperationPhase::Running && state.finished_at.is_some() {
        return Some(format!("the sync failed and is tried again{message}"));
    }
    Some(format!("sync {}{message}", state.phase))
}

/// Who asked for an operation.
pub fn asker(operation: &Operation) -> &str {
    match &operation.initiated_by {
        Some(by) if !by.username.is_empty() => &by.username,
        Some(by) if by.automated => "the sync policy",
        _ => "somebody",
    }
}

/// Whether an object is not as Git has it.
pub fn is_out_of_sync(resource: &ResourceStatus) -> bool {
    resource.status.is_some_and(|status| status != SyncStatus::Synced)
}

/// Whether an object has a health and is not well.
pub fn is_unwell(resource: &ResourceStatus) -> bool {
    let health = resource.health.as_ref().and_then(|health| health.status);
    health.is_some_and(|health| !matches!(health, HealthStatus::Healthy | HealthStatus::Suspended))
}

/// The commits that the status speaks of, for a person.
pub fn at(status: &ApplicationStatus) -> String {
    let Some(sync) = &status.sync else { return String::new() };
    short(resources::listed(&sync.revision, &sync.revisions))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn application(operation: Value, status: Value) -> Application {
        let mut manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd"},
            "spec": {"source": {"repoURL": "https://git.example.com/a", "path": "a"},
                "destination": {"name": "in-cluster"}, "syncPolicy": {"automated": {}}},
            "status": status,
        });
        if !operation.is_null() {
            manifest["operation"] = operation;
        }
        Application::parse(manifest).unwrap()
    }

    fn status(sync: &str, health: &str, phase: &str) -> Value {
        let mut status = json!({"sync": {"status": sync}, "health": {"status": health, "message": "a  message"}});
        if !phase.is_empty() {
            status["operationState"] = json!({
                "operation": {"info": [{"name": REQUEST, "value": "c1"}]}, "phase": phase, "message": "a\nmessage",
            });
        }
        status
    }

    fn told(verdict: Verdict) -> String {
        match verdict {
            Verdict::Open => "open".into(),
            Verdict::Lost => "lost".into(),
            Verdict::Ended(Ended::Reached) => "reached".into(),
            Verdict::Ended(Ended::Failed(why)) => why,
        }
    }

    #[test]
    fn goals() {
        let (sync, health, operation) = ((true, false, false), (false, true, false), (false, false, true));
        let (every, failed) = ((false, false, false), "the operation ended with Failed: a message");
        for (goals, sync, health, phase, want) in [
            (sync, "Synced", "Degraded", "", "reached"),
            (sync, "OutOfSync", "Healthy", "Failed", "open"),
            (sync, "Synced", "Healthy", "Running", "reached"),
            (health, "OutOfSync", "Healthy", "Running", "reached"),
            (health, "Synced", "Progressing", "", "open"),
            (health, "Synced", "Degraded", "", "it is Degraded: a message"),
            (health, "OutOfSync", "Degraded", "", "open"),
            (health, "Synced", "Degraded", "Running", "open"),
            (operation, "OutOfSync", "Degraded", "Running", "open"),
            (operation, "OutOfSync", "Degraded", "Succeeded", "reached"),
            (operation, "OutOfSync", "Degraded", "", "reached"),
            (operation, "Synced", "Healthy", "Failed", failed),
            (every, "Synced", "Healthy", "", "reached"),
            (every, "Synced", "Healthy", "Running", "open"),
            (every, "Synced", "Healthy", "Failed", "reached"),
            (every, "OutOfSync", "Healthy", "Succeeded", "open"),
            // It failed before anybody waited; what is waited for comes later.
            (every, "OutOfSync", "Healthy", "Failed", "open"),
            (every, "Synced", "Degraded", "Succeeded", "it is Degraded: a message"),
        ] {
            let app = application(Value::Null, status(sync, health, phase));
            let (by_sync, by_health, by_operation) = goals;
            let mut watched = Watched::goals(Goals::new(by_sync, by_health, by_operation));
            assert_eq!(told(watched.judge(&app)), want, "{goals:?} {sync} {health} {phase}");
        }
    }

    #[test]
    fn what_fails_while_it_is_waited_for() {
        let mut watched = Watched::goals(Goals::new(false, false, false));
        for (phase, want) in [("Failed", "open"), ("Running", "open"), ("Error", "the operation ended with Error")] {
            let app = application(Value::Null, status("OutOfSync", "Healthy", phase));
            let got = told(watched.judge(&app));
            assert!(got.starts_with(want), "{phase}: {got}");
        }
    }

    #[test]
    fn a_request() {
        let ours = json!({"info": [{"name": REQUEST, "value": "c1"}]});
        let other = json!({"info": [{"name": REQUEST, "value": "c2"}]});
        let mut foreign = status("Synced", "Healthy", "Succeeded");
        foreign["operationState"]["operation"] = other.clone();
        for (operation, status, want) in [
            (ours.clone(), status("Synced", "Healthy", ""), "open"),
            (ours, foreign.clone(), "open"),
            (Value::Null, status("Synced", "Healthy", "Running"), "open"),
            (Value::Null, status("OutOfSync", "Degraded", "Succeeded"), "reached"),
            (Value::Null, status("Synced", "Healthy", "Failed"), "the operation ended with Failed: a message"),
            // Somebody else's operation waits already: ours has ended.
            (other, status("Synced", "Healthy", "Succeeded"), "reached"),
            (Value::Null, foreign, "lost"),
            (Value::Null, status("Synced", "Healthy", ""), "lost"),
        ] {
            let app = application(operation.clone(), status.clone());
            assert_eq!(told(Watched::request("c1").judge(&app)), want, "{operation} {status}");
        }
    }

    #[test]
    fn lines() {
        let mut many = status("OutOfSync", "Progressing", "Running");
        many["resources"] = json!([
            {"kind": "ConfigMap", "name": "a", "status": "Synced"},
            {"kind": "ConfigMap", "name": "b", "status": "OutOfSync", "health": {"status": "Missing"}},
            {"kind": "Deployment", "name": "c", "status": "Synced", "health": {"status": "Progressing"}},
            {"kind": "Job", "name": "d", "hook": true, "health": {"status": "Degraded"}},
        ]);
        many["conditions"] = json!([
            {"type": "SyncWaiting", "message": "waiting for ada"},
            {"type": "PinnedWarning", "message": "pinned"},
        ]);
        let mut again = status("OutOfSync", "Healthy", "Running");
        again["operationState"]["finishedAt"] = json!("2026-01-05T12:00:00Z");
        for (operation, status, want) in [
            (Value::Null, status("Synced", "Healthy", "Succeeded"), "Synced, Healthy: a message"),
            (
                Value::Null,
                many,
                "OutOfSync (1 of 3), Progressing (2 of 3): a message; sync Running: a message; waiting for ada",
            ),
            (
                json!({"initiatedBy": {"username": "ada"}}),
                status("Synced", "Healthy", ""),
                "Synced, Healthy: a message; a sync that ada asked for has not begun",
            ),
            (Value::Null, again, "OutOfSync, Healthy: a message; the sync failed and is tried again: a message"),
        ] {
            assert_eq!(line(&application(operation, status.clone())), want, "{status}");
        }
    }
}
