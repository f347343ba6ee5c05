//! A person's word for one commit: written on the Application, read by [`crate::gate`].
//!
//! ```
//! use engine::approval::Approval;
//! let approval = Approval {
//!     commits: vec!["4f2a9c1d".into()],
//!     by: "ada".into(),
//!     at: Some("2026-01-05T12:00:00Z".parse().unwrap()),
//! };
//! assert_eq!(approval.to_string(), "4f2a9c1d by ada at 2026-01-05T12:00:00Z", "the annotation's value");
//! assert_eq!("4f2a9c1d by ada at 2026-01-05T12:00:00Z".parse(), Ok(approval));
//! ```

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use resources::{AppProject, Application, ApplicationSource, OperationState, Time, annotations, listed};
use serde::Serialize;
use thiserror::Error;

use crate::plan::short;

/// An annotation that a person wrote and that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the annotation {annotation} cannot be read: {problem}")]
pub struct Unreadable {
    /// Which.
    pub annotation: &'static str,
    /// What is wrong, and what to write.
    pub problem: String,
}

/// Somebody's word that commits may be synced. It counts for exactly these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The commits of all sources, in their order.
    pub commits: Vec<String>,
    /// Who.
    pub by: String,
    /// When, if that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl fmt::Display for Approval {
    /// The annotation's value: `COMMIT by WHO at TIME`, commits of several sources with commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.commits.join(","), self.by)?;
        self.at.map_or(Ok(()), |at| write!(f, " at {}", Time(at)))
    }
}

impl FromStr for Approval {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let wrong = |problem: String| Unreadable { annotation: annotations::APPROVED, problem };
        let (commits, who) = text.trim().split_once(" by ").ok_or_else(|| {
            wrong(format!("{text:?} does not say who approved; write COMMIT by NAME, or COMMIT by NAME at TIME"))
        })?;
        let commits: Vec<String> = commits.split(',').map(|commit| commit.trim().to_owned()).collect();
        if commits.iter().any(|commit| commit.is_empty() || commit.contains(char::is_whitespace)) {
            return Err(wrong(format!("{text:?} does not begin with a commit; write COMMIT by NAME")));
        }
        let (by, at) = match who.rsplit_once(" at ") {
            None => (who, None),
            Some((by, at)) => {
                let time = at.trim().parse::<Timestamp>();
                let time =
                    time.map_err(|_| wrong(format!("{at:?} is not a time; write it as 2026-01-31T12:00:00Z")))?;
                (by, Some(time))
            }
        };
        if by.trim().is_empty() {
            return Err(wrong(format!("{text:?} does not say who approved; write COMMIT by NAME")));
        }
        Ok(Self { commits, by: by.trim().into(), at })
    }
}

impl Approval {
    /// Whether it is for exactly these commits.
    pub fn is_for(&self, commits: &[String]) -> bool {
        self.commits == commits
    }

    /// The operation or the past sync that it has let through already: the commits were synced since it was given.
    pub fn used_by(&self, application: &Application) -> Option<Use> {
        let status = application.status.as_ref()?;
        // Kubernetes keeps whole seconds.
        let since = |began: Option<Time>| match (self.at, began) {
            (Some(at), Some(began)) => began.0.as_second() >= at.as_second(),
            (None, _) => true,
            (Some(_), None) => false,
        };
        let past = status.history.iter().any(|past| {
            self.commits == listed(&past.revision, &past.revisions)
                && since(past.deploy_started_at.or(past.deployed_at))
        });
        if past {
            return Some(Use::Synced);
        }
        let last = status.operation_state.as_ref().filter(|last| last.phase.is_final() && since(last.started_at))?;
        let result = last.sync_result.as_ref()?;
        if self.commits != listed(&result.revision, &result.revisions) || is_partial(last) {
            return None;
        }
        Some(if last.phase.is_success() { Use::Synced } else { Use::Tried })
    }
}

/// What an approval was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its commits were synced.
    Synced,
    /// A sync of its commits was tried and failed.
    Tried,
}

/// The approval on an Application, if there is one.
pub fn approval(application: &Application) -> Result<Option<Approval>, Unreadable> {
    let text = application.annotation(annotations::APPROVED).filter(|text| !text.trim().is_empty());
    text.map(Approval::from_str).transpose()
}

/// Whether automated syncs of an application wait for an approval: the Application says so, or its project. What neither says no
/// nor can be understood counts as yes.
pub fn is_required(application: &Application, project: Option<&AppProject>) -> bool {
    let asks = |value: Option<&str>| value.is_some_and(|value| !matches!(value.trim(), "" | "none" | "false"));
    asks(application.annotation(annotations::APPROVAL))
        || asks(project.and_then(|project| project.annotation(annotations::APPROVAL)))
}

/// How an approval is given, and why the one that is there does not count, to follow on what waits.
pub(crate) fn how_to(application: &Application, commits: &[String]) -> String {
    let name = application.name();
    let all = commits.join(",");
    let there = match approval(application) {
        Ok(None) => String::new(),
        Err(unreadable) => format!("; {unreadable}"),
        Ok(Some(given)) if given.is_for(commits) => {
            format!("; the approval by {} has been used", given.by)
        }
        Ok(Some(given)) if is_abbreviation(&given.commits, commits) => {
            format!(
                "; the approval by {} names only the beginning of the commit, which has to be written out",
                given.by
            )
        }
        Ok(Some(given)) => format!("; the approval by {} is for {}", given.by, short(&given.commits)),
    };
    format!(
        "lockstep app approve {name}, or set the annotation {} of the Application to \"{all} by YOUR NAME\"{there}",
        annotations::APPROVED
    )
}

fn is_abbreviation(given: &[String], commits: &[String]) -> bool {
    given.len() == commits.len() && given.iter().zip(commits).all(|(given, commit)| commit.starts_with(given.as_str()))
}

/// Whether the last sync that succeeded was of these commits of the same sources, so that they were let in before.
pub fn was_synced(application: &Application, commits: &[String]) -> bool {
    let Some(status) = &application.status else { return false };
    let same_sources = |source: &Option<ApplicationSource>, sources: &[ApplicationSource]| {
        let spec = &application.spec;
        if spec.is_multi_source() { sources == spec.sources } else { *source == spec.source }
    };
    if let Some(last) = status.history.last() {
        return commits == listed(&last.revision, &last.revisions) && same_sources(&last.source, &last.sources);
    }
    // An application may keep no history.
    let last = status.operation_state.as_ref().filter(|last| last.phase.is_success() && !is_partial(last));
    last.and_then(|last| last.sync_result.as_ref()).is_some_and(|result| {
        commits == listed(&result.revision, &result.revisions) && same_sources(&result.source, &result.sources)
    })
}

fn is_partial(last: &OperationState) -> bool {
    last.operation.sync.as_ref().is_some_and(|sync| !sync.resources.is_empty() || sync.dry_run)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn application(annotations: Value, status: Value) -> Application {
        Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd", "annotations": annotations},
            "spec": {"source": {"repoURL": "https://git.example.com/a", "path": "a"}, "destination": {"name": "in-cluster"}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_written() {
        for (text, want) in [
            ("4f2a by ada", "4f2a|ada|"),
            ("4f2a by ada at 2026-01-05T12:00:00Z", "4f2a|ada|2026-01-05T12:00:00Z"),
            (
                " 4f2a , 5e1b by  Ada of Acme  at 2026-01-05T13:00:00+01:00 ",
                "4f2a,5e1b|Ada of Acme|2026-01-05T12:00:00Z",
            ),
            ("4f2a", "does not say who approved"),
            ("4f2a by ", "does not say who approved"),
            (" by ada", "does not say who approved"),
            ("4f2a 5e1b by ada", "does not begin with a commit"),
            ("4f2a, by ada", "does not begin with a commit"),
            ("4f2a by ada at noon", "\"noon\" is not a time"),
            ("4f2a by  at 2026-01-05T12:00:00Z", "does not say who approved"),
        ] {
            match text.parse::<Approval>() {
                Ok(Approval { commits, by, at }) => {
                    let at = at.map(|at| at.to_string()).unwrap_or_default();
                    assert_eq!(format!("{}|{by}|{at}", commits.join(",")), want, "{text}");
                }
                Err(error) => assert!(error.to_string().contains(want), "{text}: {error}"),
            }
        }
        assert_eq!(approval(&application(json!({}), json!({}))), Ok(None));
        assert_eq!(approval(&application(json!({"lockstep.dev/approved": " "}), json!({}))), Ok(None));
    }

    #[test]
    fn where_it_is_required() {
        let project = |value: Option<&str>| {
            let annotations = value.map_or(json!({}), |value| json!({"lockstep.dev/approval": value}));
            AppProject::parse(json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "spec": {},
                "metadata": {"name": "team", "annotations": annotations},
            }))
            .unwrap()
        };
        for (own, of_project, want) in [
            (None, None, false),
            (Some("required"), None, true),
            (None, Some("required"), true),
            (Some("none"), Some("required"), true),
            (Some("none"), Some("none"), false),
            (Some("false"), None, false),
            (Some(""), None, false),
            (Some("requird"), None, true),
        ] {
            let annotations = own.map_or(json!({}), |own: &str| json!({"lockstep.dev/approval": own}));
            let app = application(annotations, json!({}));
            assert_eq!(is_required(&app, Some(&project(of_project))), want, "{own:?} {of_project:?}");
        }
        assert!(is_required(&application(json!({"lockstep.dev/approval": "required"}), json!({})), None));
        assert!(!is_required(&application(json!({}), json!({})), None));
    }

    #[test]
    fn uses() {
        let ended = |phase: &str, revision: &str, started: &str| {
            json!({"operationState": {
                "operation": {"sync": {}}, "phase": phase, "startedAt": started, "syncResult": {"revision": revision},
            }})
        };
        let past = |revision: &str, started: &str| json!({"history": [{"id": 0, "revision": revision, "deployStartedAt": started, "deployedAt": "2026-01-09T00:00:00Z"}]});
        let mut partial = ended("Succeeded", "4f2a", "2026-01-05T13:00:00Z");
        partial["operationState"]["operation"]["sync"]["resources"] = json!([{"kind": "ConfigMap", "name": "a"}]);
        let (timed, timeless) = ("4f2a by ada at 2026-01-05T12:00:00.9Z", "4f2a by ada");
        for (approval, status, want) in [
            (timed, json!({}), None),
            (timed, ended("Succeeded", "4f2a", "2026-01-05T12:00:00Z"), Some(Use::Synced)),
            (timed, ended("Failed", "4f2a", "2026-01-05T12:00:00Z"), Some(Use::Tried)),
            (timed, ended("Running", "4f2a", "2026-01-05T12:00:00Z"), None),
            (timed, ended("Succeeded", "4f2a", "2026-01-05T11:59:59Z"), None),
            (timed, ended("Succeeded", "5e1b", "2026-01-05T13:00:00Z"), None),
            (timed, partial, None),
            (timed, past("4f2a", "2026-01-05T13:00:00Z"), Some(Use::Synced)),
            (timed, past("4f2a", "2026-01-05T11:00:00Z"), None),
            (timeless, json!({}), None),
            (timeless, past("4f2a", "2026-01-01T00:00:00Z"), Some(Use::Synced)),
            (timeless, ended("Error", "4f2a", "2026-01-01T00:00:00Z"), Some(Use::Tried)),
        ] {
            let approval: Approval = approval.parse().unwrap();
            assert_eq!(approval.used_by(&application(json!({}), status.clone())), want, "{approval} {status}");
        }
    }

    #[test]
    fn what_was_synced_before() {
        let source = json!({"repoURL": "https://git.example.com/a", "path": "a"});
        let other = json!({"repoURL": "https://git.example.com/a", "path": "b"});
        let entry = |revision: &str, source: &Value| json!({"id": 0, "revision": revision, "source": source});
        let ended = |phase: &str| json!({"operationState": {"phase": phase, "syncResult": {"revision": "4f2a", "source": source}}});
        for (status, want) in [
            (json!({}), false),
            (json!({"history": [entry("4f2a", &source)]}), true),
            (json!({"history": [entry("4f2a", &other)]}), false),
            (json!({"history": [entry("4f2a", &source), entry("5e1b", &source)]}), false),
            (ended("Succeeded"), true),
            (ended("Failed"), false),
        ] {
            assert_eq!(was_synced(&application(json!({}), status.clone()), &["4f2a".into()]), want, "{status}");
        }
    }

    #[test]
    fn how_to_approve() {
        let commit = ["4f2a9c1d00".to_owned()];
        for (given, want) in [
            (None, "set the annotation lockstep.dev/approved of the Application to \"4f2a9c1d00 by YOUR NAME\""),
            (Some("5e1b77aabb by ada"), "; the approval by ada is for 5e1b77a"),
            (
                Some("4f2a9c1 by ada"),
                "; the approval by ada names only the beginning of the commit, which has to be written out",
            ),
            (Some("4f2a9c1d00 by ada"), "; the approval by ada has been used"),
            (Some("yes"), "; the annotation lockstep.dev/approved cannot be read: \"yes\" does not say who approved"),
        ] {
            let annotations = given.map_or(json!({}), |given: &str| json!({"lockstep.dev/approved": given}));
            let said = how_to(&application(annotations, json!({})), &commit);
            assert!(said.starts_with("lockstep app approve gateway, or "), "{said}");
            assert!(said.contains(want), "{said}");
        }
    }
}
