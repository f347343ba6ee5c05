use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;
use wire::{Check, CheckState, Deployment, DeploymentState};

use super::client::GiteaClient;
use crate::feedback::{FeedbackWriter, check_commit, cut, cut_context, link};
use crate::{FeedbackError, RepositoryRef};

/// Gitea sets no limit; more than this is not read by anybody.
const DESCRIPTION: usize = 500;
/// As GitHub's, so that a required context has one name on both.
const CONTEXT: usize = 255;

#[async_trait]
impl FeedbackWriter for GiteaClient {
    async fn check(&self, repository: &RepositoryRef, commit: &str, check: &Check) -> Result<(), FeedbackError> {
        check_commit(commit)?;
        let body = json!({
            "state": match check.state() {
                CheckState::Unspecified | CheckState::Pending => "pending",
                CheckState::Success => "success",
                CheckState::Failure => "failure",
                CheckState::Error => "error",
            },
            "context": cut_context(&check.context, CONTEXT),
            "description": cut(&check.description, DESCRIPTION),
            "target_url": link(&check.target_url).unwrap_or_default(),
        });
        self.call(repository, Method::POST, &format!("/statuses/{commit}"), Some(&body), None, &[201]).await?;
        Ok(())
    }

    /// Gitea has no deployments: a status with a link to the environment says the same.
    async fn deployment(
        &self,
        repository: &RepositoryRef,
        commit: &str,
        deployment: &Deployment,
    ) -> Result<(), FeedbackError> {
        let (state, prefix) = match deployment.state() {
            DeploymentState::Unspecified | DeploymentState::Pending => (CheckState::Pending, ""),
            DeploymentState::InProgress => (CheckState::Pending, "Deploying. "),
            DeploymentState::Success => (CheckState::Success, ""),
            DeploymentState::Failure => (CheckState::Failure, ""),
            DeploymentState::Error => (CheckState::Error, ""),
            DeploymentState::Inactive => (CheckState::Success, "Taken down. "),
        };
        let url = match deployment.state() {
            DeploymentState::Inactive => &deployment.log_url,
            _ if deployment.environment_url.is_empty() => &deployment.log_url,
            _ => &deployment.environment_url,
        };
        let check = Check {
            context: format!("lockstep/deployment/{}", deployment.environment),
            state: state.into(),
            description: format!("{prefix}{}", deployment.description).trim_end().to_owned(),
            target_url: url.clone(),
        };
        self.check(repository, commit, &check).await
    }
}
