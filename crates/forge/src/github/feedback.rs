use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Check, CheckState, Deployment, DeploymentState};

use super::client::{Answer, GithubClient};
use crate::feedback::{FeedbackWriter, check_commit, cut, cut_context, link};
use crate::{FeedbackError, RepositoryRef};

/// Characters of a description, of statuses and deployments alike.
const DESCRIPTION: usize = 140;
/// Characters of a context.
const CONTEXT: usize = 255;

#[async_trait]
impl FeedbackWriter for GithubClient {
    async fn check(&self, repository: &RepositoryRef, commit: &str, check: &Check) -> Result<(), FeedbackError> {
        check_commit(commit)?;
        let mut body = json!({
            "state": match check.state() {
                CheckState::Unspecified | CheckState::Pending => "pending",
                CheckState::Success => "success",
                CheckState::Failure => "failure",
                CheckState::Error => "error",
            },
            "context": cut_context(&check.context, CONTEXT),
        });
        put(&mut body, "description", Some(cut(&check.description, DESCRIPTION)));
        put(&mut body, "target_url", link(&check.target_url));
        self.call(repository, Method::POST, &format!("/statuses/{commit}"), Some(&body), &[201]).await?;
        Ok(())
    }

    async fn deployment(
        &self,
        repository: &RepositoryRef,
        commit: &str,
        deployment: &Deployment,
    ) -> Result<(), FeedbackError> {
        check_commit(commit)?;
        let key = (repository.to_string().to_ascii_lowercase(), commit.to_owned(), deployment.environment.clone());
        let id = match self.deployments.get(&key) {
            Some(id) => id,
            None => match self.find_deployment(repository, commit, deployment).await? {
                Some(id) => id,
                // What was never deployed need not be taken down.
                None if deployment.state() == DeploymentState::Inactive => return Ok(()),
                None => self.create_deployment(repository, commit, deployment).await?,
            },
        };
        self.deployments.put(key.clone(), id);
        if deployment.state() == DeploymentState::Inactive && deployment.transient {
            self.retire(repository, id, deployment).await?;
        }
        let posted = self.post_status(repository, id, deployment).await;
        if matches!(posted, Err(FeedbackError::NotFound { .. })) {
            // Somebody has deleted it; the next attempt looks again.
            self.deployments.forget(&key);
        }
        posted
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

impl GithubClient {
    /// The deployment that an earlier attempt has made, maybe in another process.
    async fn find_deployment(
        &self,
        repository: &RepositoryRef,
        commit: &str,
        deployment: &Deployment,
    ) -> Result<Option<u64>, FeedbackError> {
        let environment = encode(&deployment.environment);
        let path = format!("/deployments?ref={commit}&environment={environment}&per_page=1");
        let answer = self.call(repository, Method::GET, &path, None, &[200]).await?;
        Ok(read::<Vec<Id>>(&answer)?.first().map(|found| found.id))
    }

    async fn create_deployment(
        &self,
        repository: &RepositoryRef,
        commit: &str,
        deployment: &Deployment,
    ) -> Result<u64, FeedbackError> {
        let mut body = json!({
            "ref": commit,
            "environment": deployment.environment,
            // The commit itself is deployed, whatever its checks say: Lockstep's own are among them.
            "auto_merge": false,
            "required_contexts": [],
            "transient_environment": deployment.transient,
        });
        put(&mut body, "description", Some(cut(&deployment.description, DESCRIPTION)));
        let answer = self.call(repository, Method::POST, "/deployments", Some(&body), &[201]).await?;
        Ok(read::<Id>(&answer)?.id)
    }

    async fn post_status(
        &self,
        repository: &RepositoryRef,
        id: u64,
        deployment: &Deployment,
    ) -> Result<(), FeedbackError> {
        let mut body = json!({
            "state": match deployment.state() {
                DeploymentState::Unspecified | DeploymentState::Pending => "pending",
                DeploymentState::InProgress => "in_progress",
                DeploymentState::Success => "success",
                DeploymentState::Failure => "failure",
                DeploymentState::Error => "error",
                DeploymentState::Inactive => "inactive",
            },
        });
        put(&mut body, "description", Some(cut(&deployment.description, DESCRIPTION)));
        put(&mut body, "environment_url", link(&deployment.environment_url));
        put(&mut body, "log_url", link(&deployment.log_url));
        self.call(repository, Method::POST, &format!("/deployments/{id}/statuses"), Some(&body), &[201]).await?;
        Ok(())
    }

    /// GitHub retires older deployments by itself only in lasting environments, so those of a preview's earlier commits
    /// are taken down with it.
    async fn retire(
        &self,
        repository: &RepositoryRef,
        newest: u64,
        deployment: &Deployment,
    ) -> Result<(), FeedbackError> {
        let path = format!("/deployments?environment={}&per_page=30", encode(&deployment.environment));
        let answer = self.call(repository, Method::GET, &path, None, &[200]).await?;
        for Id { id } in read::<Vec<Id>>(&answer)?.into_iter().filter(|found| found.id < newest) {
            self.post_status(repository, id, deployment).await?;
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, FeedbackError> {
    serde_json::from_slice(&answer.body).map_err(|error| FeedbackError::Transient {
        retry_after: None,
        message: format!("the answer is not what was expected: {error}"),
    })
}

fn put(body: &mut Value, name: &str, value: Option<impl Into<String>>) {
    if let Some(value) = value.map(Into::into).filter(|value| !value.is_empty()) {
        body[name] = Value::String(value);
    }
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Repository, commit, environment.
type Key = (String, String, String);

/// The ids of the deployments that were written to last.
#[derive(Default)]
pub(super) struct Deployments(Mutex<(HashMap<Key, u64>, VecDeque<Key>)>);

const MOST_REMEMBERED: usize = 1000;

impl Deployments {
    fn get(&self, key: &Key) -> Option<u64> {
        self.lock().0.get(key).copied()
    }

    fn put(&self, key: Key, id: u64) {
        let (ids, order) = &mut *self.lock();
        if ids.insert(key.clone(), id).is_none() {
            order.push_back(key);
        }
        while ids.len() > MOST_REMEMBERED {
            let Some(oldest) = order.pop_front() else { break };
            ids.remove(&oldest);
        }
    }

    fn forget(&self, key: &Key) {
        let (ids, order) = &mut *self.lock();
        ids.remove(key);
        order.retain(|other| other != key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HashMap<Key, u64>, VecDeque<Key>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
