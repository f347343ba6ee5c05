//! What is written back to a forge: checks (commit statuses) and deployments.

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use wire::{CheckState, DeploymentState, Feedback, feedback::Content};

use crate::{FeedbackError, RepositoryRef};

/// Writes feedback to one account of a forge. Writing the same again changes nothing that a person would notice, so
/// every call may be repeated.
#[async_trait]
pub trait FeedbackWriter: Send + Sync + 'static {
    /// Sets a commit status. Text longer than the forge takes is cut.
    async fn check(&self, repository: &RepositoryRef, commit: &str, check: &wire::Check) -> Result<(), FeedbackError>;

    /// Records a deployment of `commit` and its newest status; as a commit status where the forge has no deployments.
    async fn deployment(
        &self,
        repository: &RepositoryRef,
        commit: &str,
        deployment: &wire::Deployment,
    ) -> Result<(), FeedbackError>;

    /// Writes whichever of the two it is.
    async fn write(&self, feedback: &Feedback) -> Result<(), FeedbackError> {
        let missing = |what: &str| FeedbackError::Permanent { message: format!("the feedback has no {what}") };
        let repository = RepositoryRef::from(feedback.repository.as_ref().ok_or_else(|| missing("repository"))?);
        match feedback.content.as_ref().ok_or_else(|| missing("content"))? {
            Content::Check(check) => self.check(&repository, &feedback.commit, check).await,
            Content::Deployment(deployment) => self.deployment(&repository, &feedback.commit, deployment).await,
        }
    }
}

/// True for states after which nothing is expected to follow.
pub(crate) fn is_final(content: &Content) -> bool {
    match content {
        Content::Check(check) => {
            matches!(check.state(), CheckState::Success | CheckState::Failure | CheckState::Error)
        }
        Content::Deployment(deployment) => !matches!(
            deployment.state(),
            DeploymentState::Unspecified | DeploymentState::Pending | DeploymentState::InProgress
        ),
    }
}

/// Refuses what does not belong into a path of the API.
pub(crate) fn check_commit(commit: &str) -> Result<(), FeedbackError> {
    if matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(FeedbackError::Permanent { message: "the feedback's commit is not a commit id".into() })
}

/// `text` in at most `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A context in at most `most` characters; two that differ stay different.
pub(crate) fn cut_context(context: &str, most: usize) -> String {
    if context.chars().count() <= most {
        return context.to_owned();
    }
    let start: String = context.chars().take(most - 9).collect();
    format!("{start}~{}", &hex::encode(Sha256::digest(context))[..8])
}

/// Links that a forge takes; None for anything but http and https.
pub(crate) fn link(url: &str) -> Option<&str> {
    (url.starts_with("https://") || url.starts_with("http://")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting() {
        assert_eq!(cut("short", 140), "short");
        assert_eq!(cut(&"é".repeat(140), 140), "é".repeat(140));
        assert_eq!(cut(&"é".repeat(141), 140), format!("{}…", "é".repeat(139)));
        assert_eq!(cut("one two", 5), "one…");
        let (a, b) = (format!("{}a", "x".repeat(255)), format!("{}b", "x".repeat(255)));
        let (short_a, short_b) = (cut_context(&a, 255), cut_context(&b, 255));
        assert_eq!((short_a.chars().count(), short_b.chars().count()), (255, 255));
        assert_ne!(short_a, short_b);
    }

    #[test]
    fn links() {
        assert_eq!(link("https://x"), Some("https://x"));
        assert_eq!(link("javascript:alert(1)"), None);
        assert_eq!(link(""), None);
    }
}
