//! Whether a plan may be carried out now.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use resources::{AppProject, Application, conditions};

use crate::approval::{self, Approval, Use};
use crate::pin::pin;
use crate::plan::{Plan, is_deletion_approved};
use crate::project::{self, Target, Violation};
use crate::windows::{self, WindowDecision, WindowRequest};

/// What asked for the sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The automated policy: a commit, or drift.
    Automated,
    /// A person or a command.
    Manual {
        /// Who.
        by: String,
    },
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Automated => f.write_str("automated sync policy"),
            Self::Manual { by } => f.write_str(by),
        }
    }
}

/// Everything that the decision depends on.
#[derive(Clone, Debug)]
pub struct GateInput<'a> {
    /// The application.
    pub application: &'a Application,
    /// Its project; `None`: there is no project of that name.
    pub project: Option<&'a AppProject>,
    /// The destination cluster under all its names.
    pub target: &'a Target,
    /// The namespace in which Applications may use any project.
    pub control_namespace: &'a str,
    /// What asked.
    pub trigger: Trigger,
    /// What would be done.
    pub plan: Arc<Plan>,
    /// When the operation began, if it runs already: the gate has let it through before, so only windows are asked again. One that
    /// is only recorded and still waits here does not run.
    pub running_since: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A plan that may be carried out. Only [`gate`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    plan: Arc<Plan>,
    trigger: Trigger,
    approval: Option<Approval>,
    at: Timestamp,
}

impl Approved {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What asked for it.
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// On whose word, where the policy asks for somebody's.
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref()
    }

    /// When it was approved.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Go.
    Allowed(Approved),
    /// Not now.
    Waiting {
        /// For what, as a sentence. Kept as the message of a condition of the type `SyncWaiting`, it lets a confirmation by the
        /// annotation `argocd.argoproj.io/deletion-approved` be told from one that was meant for something before.
        reason: String,
        /// When to ask again, if that can be told.
        until: Option<Timestamp>,
    },
    /// Not at all.
    Denied {
        /// Why, as sentences.
        reason: String,
    },
}

/// Decides whether a plan may be carried out now: project rules first, then policy (a pin, an approval), then sync windows, then
/// the brake on mass pruning.
pub fn gate(input: &GateInput<'_>) -> Decision {
    let violations = violations(input);
    if !violations.is_empty() {
        let sentences: Vec<String> = violations.into_iter().map(|violation| violation.message).collect();
        return Decision::Denied { reason: sentences.join("; ") };
    }
    let allowed = |approval| {
        let (plan, trigger) = (input.plan.clone(), input.trigger.clone());
        Decision::Allowed(Approved { plan, trigger, approval, at: input.now })
    };
    if input.plan.is_empty() || input.plan.dry_run {
        return allowed(None);
    }
    let runs = input.running_since.is_some();
    let approval = match admitted(input) {
        Ok(approval) => approval,
        Err(_) if runs => None,
        Err(reason) => return Decision::Waiting { reason, until: None },
    };
    let brake = if runs { None } else { unconfirmed_brake(input) };
    let windows = input.project.map_or(&[][..], |project| &project.spec.sync_windows);
    let request = WindowRequest {
        application: input.application.name(),
        namespace: &input.application.spec.destination.namespace,
        target: input.target,
        manual: matches!(input.trigger, Trigger::Manual { .. }),
        running_since: input.running_since,
    };
    match (windows::decide(windows, &request, input.now), brake) {
        (WindowDecision::Open, None) => allowed(approval),
        (WindowDecision::Open, Some(brake)) => Decision::Waiting { reason: brake, until: None },
        (WindowDecision::Closed { reason, opens_at }, None) => Decision::Waiting { reason, until: opens_at },
        (WindowDecision::Closed { reason, opens_at }, Some(brake)) => {
            Decision::Waiting { reason: format!("{reason}; also {brake}"), until: opens_at }
        }
    }
}

/// The word on which the sync may start, where one is needed; or what it waits for.
fn admitted(input: &GateInput<'_>) -> Result<Option<Approval>, String> {
    let (application, plan) = (input.application, &input.plan);
    let (commits, short) = (plan.commits(), plan.short_commits());
    match pin(application) {
        Ok(Some(pin)) if !pin.is_at(commits) => {
            return Err(format!("waiting to sync {short}: {}", pin.sentence(application)));
        }
        Err(problem) if input.trigger == Trigger::Automated => return Err(problem.to_string()),
        _ => {}
    }
    let approval = approval::approval(application).ok().flatten().filter(|approval| approval.is_for(commits));
    let required = approval::is_required(application, input.project);
    let ask = || {
        let how = approval::how_to(application, commits);
        format!("waiting for approval of {short} ({}): {how}", plan.counts())
    };
    match &input.trigger {
        // Whoever starts a sync by hand gives their word for it with their name.
        Trigger::Manual { by } if !required || !by.trim().is_empty() || approval.is_some() => Ok(approval),
        Trigger::Manual { .. } => Err(format!("{}; the operation does not say who started it", ask())),
        Trigger::Automated if application.spec.automated().is_none() => match approval {
            Some(approval) if approval.used_by(application).is_none() => Ok(Some(approval)),
            _ if required => Err(ask()),
            _ => Err(format!(
                "waiting for somebody to start the sync of {short} ({}): lockstep app sync {}",
                plan.counts(),
                application.name()
            )),
        },
        // What was let in once may be repaired without asking again.
        Trigger::Automated if required && approval.is_none() && !approval::was_synced(application, commits) => {
            Err(ask())
        }
        Trigger::Automated => Ok(approval),
    }
}

/// What the brake waits for, unless a person has said that it is meant: by approving this very commit, or by a confirmation that
/// is not older than the question.
fn unconfirmed_brake(input: &GateInput<'_>) -> Option<String> {
    let application = input.application;
    let reason = format!("waiting for confirmation: {}", input.plan.brake_sentence()?);
    let approval = approval::approval(application).ok().flatten();
    let approved = approval.is_some_and(|approval| {
        approval.is_for(input.plan.commits()) && approval.used_by(application) != Some(Use::Synced)
    });
    let asked = application
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .find(|condition| condition.r#type == conditions::SYNC_WAITING && condition.message.contains(&reason));
    let confirmed = asked
        .and_then(|condition| condition.last_transition_time)
        .is_some_and(|since| is_deletion_approved(application, since.0));
    (!approved && !confirmed).then_some(reason)
}

fn violations(input: &GateInput<'_>) -> Vec<Violation> {
    let Some(project) = input.project else {
        let name = input.application.spec.project();
        // Argo CD creates this project by itself, and it permits everything.
        if name == "default" {
            return Vec::new();
        }
        let message = format!(
            "project {name} does not exist: create the AppProject {name} in namespace {}, or correct spec.project",
            input.control_namespace
        );
        return vec![Violation { project: name.into(), field: "spec.project", message }];
    };
    let mut found = project::application_violations(project, input.application, input.target, input.control_namespace);
    found.extend(project::plan_violations(project, input.target, &input.plan));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|violation| seen.insert(violation.message.clone()));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ownership::Tracking;
    use crate::plan::{PlanInput, ResourceState, plan};

    fn decide(spec: Value, project: Option<Value>, kind: &str, trigger: Trigger) -> Decision {
        let namespace = if kind == "Namespace" { "" } else { "prod" };
        let object = resources::Object(
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": namespace}}),
        );
        let states = [ResourceState {
            key: object.key(),
            desired: Some(Arc::new(object)),
            live: None,
            difference: None,
            held_by: None,
        }];
        let states = if kind.is_empty() { &[][..] } else { &states };
        Case { spec, project, states, trigger: Some(trigger), ..Case::default() }.decide()
    }

    /// A question to the gate, at eleven in the evening.
    #[derive(Default)]
    struct Case<'a> {
        spec: Value,
        annotations: Value,
        status: Value,
        project: Option<Value>,
        project_annotations: Value,
        states: &'a [ResourceState],
        operation: resources::SyncOperation,
        trigger: Option<Trigger>,
        running_since: Option<&'a str>,
    }

    impl Case<'_> {
        fn decide(&self) -> Decision {
            let mut whole = json!({
                "project": "team",
                "source": {"repoURL": "https://git.example.com/acme/gitops", "path": "a"},
                "destination": {"name": "prod", "namespace": "prod"},
            });
            whole.as_object_mut().unwrap().extend(self.spec.as_object().cloned().unwrap_or_default());
            let application = Application::parse(json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
                "metadata": {"name": "gateway", "namespace": "argocd", "annotations": self.annotations},
                "spec": whole, "status": self.status,
            }))
            .unwrap();
            let project = self.project.clone().map(|spec| {
                AppProject::parse(json!({
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
                    "metadata": {"name": "team", "annotations": self.project_annotations}, "spec": spec,
                }))
                .unwrap()
            });
            let tracking = Tracking::default();
            let now = "2026-01-05T23:00:00Z".parse().unwrap();
            let input = PlanInput::of_operation(
                &application,
                &self.operation,
                false,
                self.states,
                ("gateway", &tracking),
                (COMMIT, now),
            );
            let plan = Arc::new(plan(&input).unwrap());
            let target = Target::of(&application.spec.destination);
            gate(&GateInput {
                application: &application,
                project: project.as_ref(),
                target: &target,
                control_namespace: "argocd",
                trigger: self.trigger.clone().unwrap_or(Trigger::Automated),
                plan,
                running_since: self.running_since.map(|since| since.parse().unwrap()),
                now,
            })
        }

        fn told(&self) -> String {
            match self.decide() {
                Decision::Allowed(approved) => match approved.approval() {
                    Some(approval) => format!("allowed by {}", approval.by),
                    None => "allowed".into(),
                },
                Decision::Waiting { reason, until: Some(_) } => format!("until: {reason}"),
                Decision::Waiting { reason, .. } => reason,
                Decision::Denied { reason } => format!("denied: {reason}"),
            }
        }
    }

    const COMMIT: &str = "0123456789";

    fn open() -> Value {
        json!({"sourceRepos": ["*"], "destinations": [{"name": "*", "namespace": "*"}]})
    }

    fn with(mut value: Value, more: Value) -> Value {
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    }

    #[test]
    fn decisions() {
        let automated = json!({"syncPolicy": {"automated": {}}});
        let off = json!({"syncPolicy": {"automated": {"enabled": false}}});
        let by = || Trigger::Manual { by: "ada".into() };
        let auto = || Trigger::Automated;
        let freeze = json!({"syncWindows": [{"kind": "deny", "schedule": "0 22 * * *", "duration": "8h", "applications": ["*"]}]});
        for (spec, project, kind, trigger, want) in [
            (automated.clone(), Some(open()), "ConfigMap", auto(), "allowed"),
            (json!({}), Some(open()), "ConfigMap", by(), "allowed"),
            (
                json!({}),
                Some(open()),
                "ConfigMap",
                auto(),
                "waiting for somebody to start the sync of 0123456 (1 to create)",
            ),
            (off, Some(open()), "ConfigMap", auto(), "waiting for somebody to start the sync"),
            (json!({}), Some(open()), "", auto(), "allowed"),
            (automated.clone(), None, "ConfigMap", auto(), "denied: project team does not exist"),
            (with(automated.clone(), json!({"project": ""})), None, "ConfigMap", auto(), "allowed"),
            (automated.clone(), Some(json!({})), "ConfigMap", by(), {
                "denied: project team does not permit the repository https://git.example.com/acme/gitops"
            }),
            (automated.clone(), Some(json!({"sourceRepos": ["*"]})), "ConfigMap", by(), {
                "denied: project team does not permit namespace \"prod\" in cluster prod"
            }),
            (
                automated.clone(),
                Some(open()),
                "Namespace",
                by(),
                "denied: project team does not permit the cluster-scoped Namespace a",
            ),
            (
                automated.clone(),
                Some(with(open(), freeze.clone())),
                "ConfigMap",
                auto(),
                "waiting: Sync operation blocked by sync window",
            ),
            (
                automated.clone(),
                Some(with(open(), freeze.clone())),
                "ConfigMap",
                by(),
                "waiting: Sync operation blocked by sync window",
            ),
            (json!({}), Some(with(open(), freeze)), "", auto(), "allowed"),
        ] {
            let got = match decide(spec.clone(), project.clone(), kind, trigger) {
                Decision::Allowed(_) => "allowed".into(),
                Decision::Waiting { reason, .. } if reason.starts_with("waiting") => reason,
                Decision::Waiting { reason, .. } => format!("waiting: {reason}"),
                Decision::Denied { reason } => format!("denied: {reason}"),
            };
            assert!(got.starts_with(want), "{spec} {project:?} {kind}\n{got}\n{want}");
        }
    }

    #[test]
    fn all_violations_are_named() {
        let Decision::Denied { reason } = decide(json!({}), Some(json!({})), "ConfigMap", Trigger::Automated) else {
            panic!()
        };
        assert!(reason.contains("repository") && reason.contains("namespace \"prod\""), "{reason}");
        assert_eq!(reason.matches("namespace \"prod\"").count(), 1, "each once: {reason}");
    }

    #[test]
    fn an_approval_knows_what_it_approved() {
        let Decision::Allowed(approved) =
            decide(json!({}), Some(open()), "ConfigMap", Trigger::Manual { by: "ada".into() })
        else {
            panic!()
        };
        assert_eq!(approved.plan().revision, "0123456789");
        assert_eq!(approved.trigger().to_string(), "ada");
    }

    fn wanted(name: &str) -> ResourceState {
        let object = resources::Object(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"}}),
        );
        ResourceState {
            key: object.key(),
            desired: Some(Arc::new(object)),
            live: None,
            difference: None,
            held_by: None,
        }
    }

    fn gone(name: &str) -> ResourceState {
        let mut state = wanted(name);
        let mut live = Arc::unwrap_or_clone(state.desired.take().unwrap());
        crate::ownership::stamp(&mut live, "gateway", "prod", &Tracking::default());
        state.live = Some(Arc::new(live));
        state
    }

    fn synced(commit: &str, path: &str, started: &str) -> Value {
        let source = json!({"repoURL": "https://git.example.com/acme/gitops", "path": path});
        json!({"history": [{"id": 0, "revision": commit, "source": source, "deployStartedAt": started}]})
    }

    #[test]
    fn approvals() {
        let automated = json!({"syncPolicy": {"automated": {}}});
        let manual = json!({});
        let required = json!({"lockstep.dev/approval": "required"});
        let by = |name: &str| Some(Trigger::Manual { by: name.into() });
        let right = "0123456789 by ada at 2026-01-05T20:00:00Z";
        let before = || synced(COMMIT, "a", "2026-01-05T19:00:00Z");
        let after = || synced(COMMIT, "a", "2026-01-05T21:00:00Z");
        let ask = "waiting for approval of 0123456 (1 to create): lockstep app approve gateway, or set the annotation \
                   lockstep.dev/approved of the Application to \"0123456789 by YOUR NAME\"";
        for (spec, required_by, approved, status, trigger, want) in [
            (&automated, "", "", json!({}), None, "allowed"),
            (&automated, "application", "", json!({}), None, ask),
            (&automated, "project", "", json!({}), None, ask),
            (&automated, "project", right, json!({}), None, "allowed by ada"),
            (
                &automated,
                "project",
                "9876543210 by ada",
                json!({}),
                None,
                &format!("{ask}; the approval by ada is for 9876543"),
            ),
            (
                &automated,
                "project",
                "0123456 by ada",
                json!({}),
                None,
                &format!("{ask}; the approval by ada names only the beginning"),
            ),
            (
                &automated,
                "project",
                "0123456789",
                json!({}),
                None,
                &format!("{ask}; the annotation lockstep.dev/approved cannot be read"),
            ),
            // Drift of what was let in is repaired, also when the approval is gone; but not with another source.
            (&automated, "project", right, after(), None, "allowed by ada"),
            (&automated, "project", "", after(), None, "allowed"),
            (&automated, "project", "", synced(COMMIT, "b", "2026-01-05T21:00:00Z"), None, ask),
            (&automated, "project", "", synced("9876543210", "a", "2026-01-05T21:00:00Z"), None, ask),
            (&automated, "project", "", json!({}), by("ada"), "allowed"),
            (
                &automated,
                "project",
                "",
                json!({}),
                by(""),
                &format!("{ask}; the operation does not say who started it"),
            ),
            (&automated, "project", right, json!({}), by(""), "allowed by ada"),
            (
                &manual,
                "",
                "",
                json!({}),
                None,
                "waiting for somebody to start the sync of 0123456 (1 to create): lockstep app sync gateway",
            ),
            (&manual, "", right, json!({}), None, "allowed by ada"),
            (&manual, "", right, before(), None, "allowed by ada"),
            (&manual, "", right, after(), None, "waiting for somebody to start the sync"),
            (&manual, "application", right, after(), None, &format!("{ask}; the approval by ada has been used")),
            (&manual, "application", "", json!({}), None, ask),
            (&manual, "", "9876543210 by ada", json!({}), None, "waiting for somebody to start the sync"),
        ] {
            let mut annotations = json!({});
            if required_by == "application" {
                annotations = required.clone();
            }
            if !approved.is_empty() {
                annotations["lockstep.dev/approved"] = json!(approved);
            }
            let case = Case {
                spec: spec.clone(),
                annotations,
                status: status.clone(),
                project: Some(open()),
                project_annotations: if required_by == "project" { required.clone() } else { json!({}) },
                states: &[wanted("a")],
                trigger: trigger.clone(),
                ..Case::default()
            };
            let got = case.told();
            assert!(got.starts_with(want), "{spec} {required_by} {approved:?} {status} {trigger:?}\n{got}\n{want}");
        }
    }

    #[test]
    fn pins() {
        let by = Some(Trigger::Manual { by: "ada".into() });
        for (pinned, trigger, want) in [
            (COMMIT, None, "allowed"),
            ("9876543210", None, "waiting to sync 0123456: pinned to 9876543: other commits are not synced until"),
            ("9876543210", by.clone(), "waiting to sync 0123456: pinned to 9876543"),
            ("{", None, "the annotation lockstep.dev/pinned cannot be read"),
            ("{", by, "allowed"),
        ] {
            let got = Case {
                spec: json!({"syncPolicy": {"automated": {}}}),
                annotations: json!({"lockstep.dev/pinned": pinned}),
                project: Some(open()),
                states: &[wanted("a")],
                trigger,
                ..Case::default()
            }
            .told();
            assert!(got.starts_with(want), "{pinned}\n{got}\n{want}");
        }
    }

    #[test]
    fn the_brake() {
        let question = "waiting for confirmation: the sync of 0123456 would prune all 2 objects of gateway; if that is meant: \
                        lockstep app approve gateway, or set the annotation argocd.argoproj.io/deletion-approved of the Application \
                        to the present time";
        let asked = |message: &str| json!({"conditions": [{"type": "SyncWaiting", "message": message, "lastTransitionTime": "2026-01-05T22:00:00Z"}]});
        let with = |mut status: Value, more: Value| {
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            status
        };
        let ended = |phase: &str, started: &str| json!({"operationState": {"phase": phase, "startedAt": started, "syncResult": {"revision": COMMIT}}});
        let deletion = |at: &str| json!({"argocd.argoproj.io/deletion-approved": at});
        let approved = |text: &str| json!({"lockstep.dev/approved": text});
        let right = || approved("0123456789 by ada at 2026-01-05T20:00:00Z");
        for (annotations, status, want) in [
            (json!({}), json!({}), question),
            (json!({"lockstep.dev/allow-mass-prune": "true"}), json!({}), "allowed"),
            (json!({"lockstep.dev/allow-mass-prune": "no"}), json!({}), question),
            // A confirmation counts from when it was asked for.
            (deletion("2026-01-05T22:30:00Z"), json!({}), question),
            (deletion("2026-01-05T22:30:00Z"), asked(question), "allowed"),
            (deletion("2026-01-05T22:30:00Z"), asked(&format!("the window is closed; also {question}")), "allowed"),
            (deletion("2026-01-05T21:30:00Z"), asked(question), question),
            (
                deletion("2026-01-05T22:30:00Z"),
                asked("waiting for confirmation: the sync of 9876543 would prune"),
                question,
            ),
            (right(), json!({}), "allowed by ada"),
            (approved("9876543210 by ada"), json!({}), question),
            // Once it has been followed it does not allow the next one of the same commit.
            (right(), ended("Succeeded", "2026-01-05T21:00:00Z"), question),
            (right(), ended("Failed", "2026-01-05T21:00:00Z"), "allowed by ada"),
            (right(), with(asked(question), ended("Succeeded", "2026-01-05T19:00:00Z")), "allowed by ada"),
        ] {
            for trigger in [Trigger::Automated, Trigger::Manual { by: "eve".into() }] {
                let got = Case {
                    spec: json!({"syncPolicy": {"automated": {"prune": true}}}),
                    annotations: annotations.clone(),
                    status: status.clone(),
                    project: Some(open()),
                    states: &[gone("a"), gone("b")],
                    operation: resources::SyncOperation { prune: true, ..Default::default() },
                    trigger: Some(trigger),
                    ..Case::default()
                }
                .told();
                assert_eq!(got, want, "{annotations} {status}");
            }
        }
    }

    #[test]
    fn the_brake_and_a_window_are_told_of_together() {
        let freeze = json!({"syncWindows": [{"kind": "deny", "schedule": "0 22 * * *", "duration": "8h", "applications": ["*"]}]});
        let mut case = Case {
            spec: json!({"syncPolicy": {"automated": {"prune": true}}}),
            project: Some(with(open(), freeze)),
            states: &[gone("a")],
            operation: resources::SyncOperation { prune: true, ..Default::default() },
            ..Case::default()
        };
        let told = case.told();
        assert!(told.starts_with("until: Sync operation blocked by sync window: the deny window"), "{told}");
        assert!(
            told.contains("; also waiting for confirmation: the sync of 0123456 would prune the only object of"),
            "{told}"
        );
        case.annotations = json!({"lockstep.dev/approved": "0123456789 by ada"});
        assert!(!case.told().contains("confirmation"), "{}", case.told());
    }

    #[test]
    fn what_runs_or_only_tries_is_not_asked_again() {
        let (project, states) = (Some(open()), [gone("a"), wanted("b")]);
        let operation = |dry_run| resources::SyncOperation { prune: true, dry_run, ..Default::default() };
        let case = |dry_run, running_since| Case {
            annotations: json!({"lockstep.dev/approval": "required", "lockstep.dev/pinned": "9876543210"}),
            project: project.clone(),
            states: &states,
            operation: operation(dry_run),
            running_since,
            ..Case::default()
        };
        assert!(case(false, None).told().starts_with("waiting to sync"));
        assert_eq!(case(false, Some("2026-01-05T21:00:00Z")).told(), "allowed");
        assert_eq!(case(true, None).told(), "allowed");
    }
}
