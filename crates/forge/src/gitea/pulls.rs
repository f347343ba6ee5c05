use async_trait::async_trait;
use reqwest::Method;

use super::client::GiteaClient;
use crate::pulls::{OpenPull, Page, Pages, PullRequests, read_all};
use crate::{FeedbackError, RepositoryRef};

/// Gitea's largest page, unless it is set up otherwise; its `Link` header tells whether there are more.
const PAGE_SIZE: usize = 50;

#[async_trait]
impl PullRequests for GiteaClient {
    async fn open_pulls(&self, repository: &RepositoryRef) -> Result<Vec<OpenPull>, FeedbackError> {
        let list = PullPages { client: self, repository };
        read_all(&self.pages, &repository.to_string(), PAGE_SIZE, &list).await
    }
}

struct PullPages<'a> {
    client: &'a GiteaClient,
    repository: &'a RepositoryRef,
}

#[async_trait]
impl Pages for PullPages<'_> {
    async fn page(&self, number: u32, tag: Option<&str>) -> Result<Page, FeedbackError> {
        let path = format!("/pulls?state=open&sort=oldest&limit={PAGE_SIZE}&page={number}");
        let answer = self.client.call(self.repository, Method::GET, &path, None, tag, &[200, 304]).await?;
        Ok(match answer.status {
            304 => Page::NotModified,
            _ => Page::Full { body: answer.body, headers: answer.headers },
        })
    }
}
