//! The commit that a delivery wants an application at, kept in the application's `lockstep.dev/wanted` annotation: the
//! promise that an acknowledged delivery ends in a final check, whatever is killed.

use git::{RepositoryKey, RepositoryUrl};
use serde::{Deserialize, Serialize};

use crate::tracker::{CommitKey, Conclusion, Origin, Verdict};

/// One entry of the annotation: there is one for each repository that the application's sources name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Clone address, without credentials.
    pub repository: String,
    /// The commit, whole.
    pub commit: String,
    /// `github`, `gitea`.
    pub forge: String,
    /// Owner and name on the forge.
    pub owner: String,
    /// See `owner`.
    pub name: String,
    /// The forge's API, as far as the payload tells it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_url: String,
    /// The repository's page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub html_url: String,
    /// The delivery's id; empty for a commit found by polling.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub delivery: String,
    /// The trace that the webhook's request began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// When the webhook arrived, milliseconds since 1970.
    #[serde(default)]
    pub received_at: i64,
    /// How it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sentence: String,
}

impl Wanted {
    /// A commit that is now wanted.
    pub fn new(repository: &RepositoryUrl, commit: &str, origin: &Origin, received_at: i64) -> Self {
        Self {
            repository: repository.to_string(),
            commit: commit.into(),
            forge: origin.forge.name().into(),
            owner: origin.repository.owner.clone(),
            name: origin.repository.name.clone(),
            api_url: origin.repository.api_url.clone(),
            html_url: origin.repository.html_url.clone(),
            delivery: origin.delivery.clone(),
            trace: origin.trace.as_ref().map(ToString::to_string).unwrap_or_default(),
            received_at,
            verdict: None,
            sentence: String::new(),
        }
    }

    /// What the tracker calls it; `None` if the annotation was edited into something that names no repository.
    pub fn key(&self) -> Option<CommitKey> {
        Some(CommitKey { repository: self.repository_key()?, commit: self.commit.clone() })
    }

    /// The repository, whatever its spelling.
    pub fn repository_key(&self) -> Option<RepositoryKey> {
        RepositoryUrl::parse(&self.repository).ok().map(|url| url.key())
    }

    /// Where the commit came from.
    pub fn origin(&self) -> Origin {
        Origin {
            forge: wire::Forge::from_name(&self.forge).unwrap_or(wire::Forge::Unspecified),
            repository: wire::Repository {
                owner: self.owner.clone(),
                name: self.name.clone(),
                clone_urls: vec![self.repository.clone()],
                html_url: self.html_url.clone(),
                default_branch: String::new(),
                api_url: self.api_url.clone(),
            },
            delivery: self.delivery.clone(),
            trace: wire::TraceParent::parse(&self.trace).ok(),
        }
    }

    /// How it ended, if it has.
    pub fn conclusion(&self) -> Option<Conclusion> {
        self.verdict.map(|verdict| Conclusion { verdict, sentence: self.sentence.clone() })
    }

    /// Whether no verdict has been reached.
    pub fn is_pending(&self) -> bool {
        self.verdict.is_none()
    }
}

/// Reads the annotation. What cannot be read is as if it were not there: the next delivery writes it anew.
pub fn parse(annotation: Option<&str>) -> Vec<Wanted> {
    annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Writes the annotation.
pub fn format(wanted: &[Wanted]) -> String {
    serde_json::to_string(wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_reads_back_what_was_written() {
        let url = RepositoryUrl::parse("https://github.com/acme/shop.git").unwrap();
        let origin = Origin {
            forge: wire::Forge::Github,
            repository: wire::Repository { owner: "acme".into(), name: "shop".into(), ..Default::default() },
            delivery: "d1".into(),
            trace: Some(wire::TraceParent::new_root()),
        };
        let mut wanted = Wanted::new(&url, "abc", &origin, 17);
        assert_eq!(parse(Some(&format(&[wanted.clone()]))), [wanted.clone()]);
        assert_eq!(wanted.origin().trace, origin.trace);
        wanted.verdict = Some(Verdict::Failure);
        wanted.sentence = "Degraded".into();
        assert_eq!(parse(Some(&format(&[wanted.clone()]))), [wanted]);
    }

    #[test]
    fn an_annotation_that_somebody_broke_is_no_annotation() {
        for text in [None, Some(""), Some("{}"), Some("[{\"commit\":1}]")] {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }
}
