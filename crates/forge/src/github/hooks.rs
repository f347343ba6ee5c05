use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use super::client::GithubClient;
use crate::hooks::{Ensured, Hooks, read_hooks};
use crate::{FeedbackError, RepositoryRef};

/// GitHub allows 20 webhooks for each event, so one page has them all.
const PATH: &str = "/hooks?per_page=100";

#[async_trait]
impl Hooks for GithubClient {
    async fn ensure_webhook(
        &self,
        repository: &RepositoryRef,
        url: &str,
        secret: &str,
        events: &[&str],
    ) -> Result<Ensured, FeedbackError> {
        let found = self.call(repository, Method::GET, PATH, None, &[200]).await?;
        let config = json!({ "url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0" });
        let mut body = json!({ "active": true, "events": events, "config": config });
        match read_hooks(&found.body)?.into_iter().find(|hook| hook.sends_to(url)) {
            Some(hook) => {
                self.call(repository, Method::PATCH, &format!("/hooks/{}", hook.id), Some(&body), &[200]).await?;
                Ok(Ensured::Updated)
            }
            None => {
                body["name"] = "web".into();
                self.call(repository, Method::POST, "/hooks", Some(&body), &[201]).await?;
                Ok(Ensured::Created)
            }
        }
    }
}
