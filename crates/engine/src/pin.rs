//! An application that stays at a commit: after a rollback the automated policy follows the pin instead of Git, visibly, until
//! somebody takes the pin away.
//!
//! ```
//! use engine::pin::{Pin, pin};
//! # let mut application = resources::Application::parse(serde_json::json!({
//! #     "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway"},
//! #     "spec": {"source": {"repoURL": "https://git.example.com/a", "path": "a"}, "destination": {"name": "in-cluster"}},
//! #     "status": {"history": [{"id": 4, "revision": "4f2a9c1d", "source": {"repoURL": "https://git.example.com/a", "path": "a"}}]},
//! # })).unwrap();
//! let entry = application.status.as_ref().unwrap().history[0].clone();
//! let written = Pin::to(&entry, &application, "ada", "2026-01-05T12:00:00Z".parse().unwrap());
//! let annotations = application.metadata.annotations.get_or_insert_default();
//! annotations.insert(resources::annotations::PINNED.into(), written.annotation());
//!
//! let pin = pin(&application).unwrap().unwrap();
//! assert_eq!(pin.followed(&application)[0].target_revision, "4f2a9c1d", "what resolve and render work with");
//! assert!(pin.sentence(&application).starts_with("pinned to 4f2a9c1 by ada since 2026-01-05T12:00:00Z (rollback to 4)"));
//! ```

use jiff::Timestamp;
use resources::{Application, ApplicationSource, RevisionHistory, Time, annotations};
use serde::{Deserialize, Serialize};

use crate::approval::Unreadable;
use crate::plan::short;

/// Where an application stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pin {
    /// The commits of all sources, in their order.
    pub commits: Vec<String>,
    /// Who pinned it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// The entry of the history that was rolled back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<i64>,
    /// The sources as they were then, if they were others than the Application has now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ApplicationSource>,
}

impl Pin {
    /// The pin to an entry of the history.
    pub fn to(entry: &RevisionHistory, application: &Application, by: &str, at: Timestamp) -> Self {
        let multi = !entry.revisions.is_empty();
        let commits = if multi { entry.revisions.clone() } else { vec![entry.revision.clone()] };
        let then: Vec<ApplicationSource> =
            if entry.sources.is_empty() { entry.source.iter().cloned().collect() } else { entry.sources.clone() };
        let same = then.is_empty() || then.iter().eq(application.sources());
        Self {
            commits,
            by: by.into(),
            at: Some(at.into()),
            history: Some(entry.id),
            sources: if same { Vec::new() } else { then },
        }
    }

    /// The annotation's value.
    pub fn annotation(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The sources that are followed: those of the pin, else the Application's, each at its commit.
    pub fn followed(&self, application: &Application) -> Vec<ApplicationSource> {
        let mut sources: Vec<ApplicationSource> = if self.sources.is_empty() {
            application.sources().into_iter().cloned().collect()
        } else {
            self.sources.clone()
        };
        for (source, commit) in sources.iter_mut().zip(&self.commits) {
            source.target_revision.clone_from(commit);
        }
        sources
    }

    /// Whether these are the commits that it stays at.
    pub fn is_at(&self, commits: &[String]) -> bool {
        self.commits == commits
    }

    /// For a condition (`PinnedWarning`): where it stays, since when, because of whom, and how that ends.
    pub fn sentence(&self, application: &Application) -> String {
        let by = if self.by.is_empty() { String::new() } else { format!(" by {}", self.by) };
        let since = self.at.map_or(String::new(), |at| format!(" since {at}"));
        let rollback = self.history.map_or(String::new(), |id| format!(" (rollback to {id})"));
        let namespace = if application.namespace().is_empty() {
            String::new()
        } else {
            format!("--namespace {} ", application.namespace())
        };
        format!(
            "pinned to {}{by}{since}{rollback}: other commits are not synced until the pin is taken away: kubectl annotate \
             {namespace}applications.argoproj.io {} {}-",
            short(&self.commits),
            application.name(),
            annotations::PINNED
        )
    }
}

/// The pin of an application, if it has one. It is written as JSON, or as nothing but the commits, separated by commas.
pub fn pin(application: &Application) -> Result<Option<Pin>, Unreadable> {
    let Some(text) = application.annotation(annotations::PINNED).map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = |problem: String| Unreadable { annotation: annotations::PINNED, problem };
    let pin = if text.starts_with('{') {
        serde_json::from_str::<Pin>(text).map_err(|error| wrong(error.to_string()))?
    } else {
        Pin { commits: text.split(',').map(|commit| commit.trim().into()).collect(), ..Pin::default() }
    };
    if pin.commits.iter().any(|commit| commit.is_empty() || commit.contains(char::is_whitespace)) {
        return Err(wrong("it holds something that is not a commit".into()));
    }
    let sources = if pin.sources.is_empty() { application.sources().len() } else { pin.sources.len() };
    if pin.commits.len() != sources {
        let problem =
            format!("each source needs a commit: it names {}, and there are {sources} sources", pin.commits.len());
        return Err(wrong(problem));
    }
    Ok(Some(pin))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn application(pinned: Option<&str>, more: Value) -> Application {
        let mut manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd", "annotations": {}},
            "spec": {"source": source("a"), "destination": {"name": "in-cluster"}},
        });
        if let Some(pinned) = pinned {
            manifest["metadata"]["annotations"]["lockstep.dev/pinned"] = json!(pinned);
        }
        manifest["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Application::parse(manifest).unwrap()
    }

    fn source(path: &str) -> Value {
        json!({"repoURL": "https://git.example.com/a", "path": path, "targetRevision": "main"})
    }

    #[test]
    fn what_is_written() {
        let two = json!({"sources": [source("a"), source("b")]});
        for (text, more, want) in [
            ("", json!({}), "none"),
            ("4f2a", json!({}), "4f2a"),
            (" 4f2a , 5e1b ", two.clone(), "4f2a,5e1b"),
            (r#"{"commits":["4f2a"],"by":"ada"}"#, json!({}), "4f2a"),
            (
                r#"{"commits":["4f2a"],"sources":[{"repoURL":"https://git.example.com/b","path":"b"}]}"#,
                json!({}),
                "4f2a",
            ),
            ("4f2a", two.clone(), "each source needs a commit: it names 1, and there are 2 sources"),
            (r#"{"commits":[]}"#, json!({}), "it names 0"),
            ("{}", json!({}), "it names 0"),
            ("4f2a please", json!({}), "not a commit"),
            ("4f2a,", two, "not a commit"),
            (r#"{"commits":"4f2a"}"#, json!({}), "cannot be read: invalid type"),
        ] {
            match pin(&application(Some(text), more)) {
                Ok(found) => assert_eq!(found.map_or("none".into(), |pin| pin.commits.join(",")), want, "{text}"),
                Err(error) => assert!(error.to_string().contains(want), "{text}: {error}"),
            }
        }
        assert_eq!(pin(&application(None, json!({}))), Ok(None));
    }

    #[test]
    fn a_rollback_keeps_the_sources_that_have_changed_since() {
        let at: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        for (path, kept) in [("a", 0), ("older", 1)] {
            let entry: RevisionHistory =
                serde_json::from_value(json!({"id": 4, "revision": "4f2a9c1d00", "source": source(path)})).unwrap();
            let app = application(None, json!({}));
            let written = Pin::to(&entry, &app, "ada", at);
            assert_eq!(written.sources.len(), kept, "{path}");
            let app = application(Some(&written.annotation()), json!({}));
            let read = pin(&app).unwrap().unwrap();
            assert_eq!(read, written);
            let followed = read.followed(&app);
            assert_eq!((followed[0].path.as_str(), followed[0].target_revision.as_str()), (path, "4f2a9c1d00"));
        }
        let entry: RevisionHistory = serde_json::from_value(
            json!({"id": 5, "revisions": ["4f2a", "5e1b"], "sources": [source("a"), source("b")]}),
        )
        .unwrap();
        let app = application(None, json!({"sources": [source("a"), source("b")]}));
        let written = Pin::to(&entry, &app, "ada", at);
        assert!(written.sources.is_empty() && written.is_at(&["4f2a".into(), "5e1b".into()]));
    }

    #[test]
    fn sentences() {
        let app = application(None, json!({}));
        let pin = Pin { commits: vec!["4f2a9c1d00".into()], ..Pin::default() };
        assert_eq!(
            pin.sentence(&app),
            "pinned to 4f2a9c1: other commits are not synced until the pin is taken away: kubectl annotate --namespace argocd \
             applications.argoproj.io gateway lockstep.dev/pinned-"
        );
    }
}
