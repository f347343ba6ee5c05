//! Whether a plan may be carried out now.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use resources::{AppProject, Application};

use crate::plan::Plan;
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
    /// When the operation began, if it runs already.
    pub running_since: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A plan that may be carried out. Only [`gate`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    plan: Arc<Plan>,
    trigger: Trigger,
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
        /// For what, as a sentence.
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

/// Decides whether a plan may be carried out now: project rules first, then policy, then sync windows.
pub fn gate(input: &GateInput<'_>) -> Decision {
    let violations = violations(input);
    if !violations.is_empty() {
        let sentences: Vec<String> = violations.into_iter().map(|violation| violation.message).collect();
        return Decision::Denied { reason: sentences.join("; ") };
    }
    let allowed =
        || Decision::Allowed(Approved { plan: input.plan.clone(), trigger: input.trigger.clone(), at: input.now });
    if input.plan.is_empty() {
        return allowed();
    }
    let manual = matches!(input.trigger, Trigger::Manual { .. });
    if !manual && input.application.spec.automated().is_none() {
        let commit: String = input.plan.revision.chars().take(7).collect();
        let name = input.application.name();
        return Decision::Waiting {
            reason: format!(
                "waiting for somebody to start the sync of {commit} ({}): lockstep app sync {name}",
                input.plan.counts()
            ),
            until: None,
        };
    }
    let windows = input.project.map_or(&[][..], |project| &project.spec.sync_windows);
    let request = WindowRequest {
        application: input.application.name(),
        namespace: &input.application.spec.destination.namespace,
        target: input.target,
        manual,
        running_since: input.running_since,
    };
    match windows::decide(windows, &request, input.now) {
        WindowDecision::Open => allowed(),
        WindowDecision::Closed { reason, opens_at } => Decision::Waiting { reason, until: opens_at },
    }
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
        let mut whole = json!({
            "project": "team",
            "source": {"repoURL": "https://git.example.com/acme/gitops", "path": "a"},
            "destination": {"name": "prod", "namespace": "prod"},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let application = Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway", "namespace": "argocd"}, "spec": whole,
        }))
        .unwrap();
        let project = project.map(|spec| {
            AppProject::parse(json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"}, "spec": spec,
            }))
            .unwrap()
        });
        let namespace = if kind == "Namespace" { "" } else { "prod" };
        let object = resources::Object(
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": namespace}}),
        );
        let states = [ResourceState { key: object.key(), desired: Some(object), live: None, difference: None }];
        let (tracking, operation) = (Tracking::default(), resources::SyncOperation::default());
        let now = "2026-01-05T23:00:00Z".parse().unwrap();
        let states = if kind.is_empty() { &[][..] } else { &states };
        let input = PlanInput::of_operation(
            &application,
            &operation,
            false,
            states,
            ("gateway", &tracking),
            ("0123456789", now),
        );
        let plan = Arc::new(plan(&input).unwrap());
        let target = Target::of(&application.spec.destination);
        gate(&GateInput {
            application: &application,
            project: project.as_ref(),
            target: &target,
            control_namespace: "argocd",
            trigger,
            plan,
            running_since: None,
            now,
        })
    }

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
}
