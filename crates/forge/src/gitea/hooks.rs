use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use super::client::GiteaClient;
use crate::hooks::{Ensured, HookJson, Hooks, read_hooks};
use crate::{FeedbackError, RepositoryRef};

/// No repository has more pages of webhooks.
const MOST_PAGES: u32 = 20;

#[async_trait]
impl Hooks for GiteaClient {
    async fn ensure_webhook(
        &self,
        repository: &RepositoryRef,
        url: &str,
        secret: &str,
        events: &[&str],
    ) -> Result<Ensured, FeedbackError> {
        let old: Vec<_> = self.webhooks(repository).await?.into_iter().filter(|hook| hook.sends_to(url)).collect();
        let mut events = events.to_vec();
        // Where GitHub sends a push of nothing, Gitea has an event of its own.
        if events.contains(&"push") {
            events.push("delete");
        }
        let body = json!({
            "type": "gitea",
            "active": true,
            "events": events,
            "config": { "url": url, "content_type": "json", "secret": secret },
        });
        self.call(repository, Method::POST, "/hooks", Some(&body), None, &[201]).await?;
        // Gitea cannot change a webhook's secret. The new one comes first: twice the same delivery does no harm, a
        // missing one does.
        for hook in &old {
            self.call(repository, Method::DELETE, &format!("/hooks/{}", hook.id), None, None, &[204, 404]).await?;
        }
        Ok(if old.is_empty() { Ensured::Created } else { Ensured::Updated })
    }
}

impl GiteaClient {
    async fn webhooks(&self, repository: &RepositoryRef) -> Result<Vec<HookJson>, FeedbackError> {
        let mut hooks: Vec<HookJson> = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("/hooks?page={page}&limit=50");
            let answer = self.call(repository, Method::GET, &path, None, None, &[200]).await?;
            let more =
                answer.headers.get("link").and_then(|v| v.to_str().ok()).is_some_and(|l| l.contains(r#"rel="next""#));
            hooks.extend(read_hooks(&answer.body)?);
            if !more {
                break;
            }
        }
        Ok(hooks)
    }
}
