use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::client::GithubClient;
use crate::hooks::{HookConfig, read_hooks};
use crate::redelivery::{Attempt, Hook, Outcome, Redeliveries, leads_to_lockstep};
use crate::{FeedbackError, RepositoryRef};

/// At 100 deliveries each this is more than a busy organisation has in three days; what is older is left to the poll.
const MOST_PAGES: u32 = 100;

/// GitHub's texts say only that something was not found or is not accessible.
const REPOSITORY_RIGHT: &str = "to ask for failed deliveries again, give the token or App the permission \"Webhooks: read \
     and write\" of the repository (a classic token: the scope admin:repo_hook)";
const ORGANISATION_RIGHT: &str = "its organisation's are not shown; if one of those leads to Lockstep, give the token or \
     App the permission \"Webhooks: read and write\" of the organisation (a classic token: the scope admin:org_hook)";

#[async_trait]
impl Redeliveries for GithubClient {
    async fn hooks(&self, repository: &RepositoryRef) -> Result<Vec<Hook>, FeedbackError> {
        repository.check()?;
        let mut hooks = self.app_hook().await?;
        let own = self.hooks_below(&repository.api_path(), repository).await?;
        hooks.extend(own.iter().flatten().cloned());
        if !hooks.is_empty() {
            return Ok(hooks);
        }
        let organisation = self.hooks_below(&format!("/orgs/{}", repository.owner), repository).await?;
        match (own, organisation) {
            (Ok(_), Ok(found)) => Ok(found),
            (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(refused), _) => {
                Err(FeedbackError::Unauthorized { message: format!("{}; {REPOSITORY_RIGHT}", message_of(refused)) })
            }
            (Ok(_), Err(_)) => {
                let message = format!("no webhook of {repository} leads to Lockstep, and {ORGANISATION_RIGHT}");
                Err(FeedbackError::NotFound { message })
            }
        }
    }

    async fn attempts(&self, hook: &Hook, since: Timestamp) -> Result<Vec<Attempt>, FeedbackError> {
        let mut attempts = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let uri = format!("{}/deliveries?per_page=100{cursor}", hook.path());
            let answer = self.exchange(hook.through(), Method::GET, uri, None, None, &[200]).await?;
            let page = read_attempts(&answer.body)?;
            let reached = page.iter().any(|attempt| attempt.at < since);
            attempts.extend(page.into_iter().filter(|attempt| attempt.at >= since));
            match next_cursor(&answer.headers) {
                Some(next) if !reached => {
                    cursor = format!("&cursor={}", byte_serialize(next.as_bytes()).collect::<String>());
                }
                _ => break,
            }
        }
        Ok(attempts)
    }

    async fn redeliver(&self, hook: &Hook, attempt: u64) -> Result<(), FeedbackError> {
        let uri = format!("{}/deliveries/{attempt}/attempts", hook.path());
        match self.exchange(hook.through(), Method::POST, uri, None, None, &[202]).await {
            Ok(_) => Ok(()),
            Err(FeedbackError::Unauthorized { message }) => {
                Err(FeedbackError::Unauthorized { message: format!("{message}; {REPOSITORY_RIGHT}") })
            }
            Err(error) => Err(error),
        }
    }
}

/// A list, or why it is not shown.
type Shown<T> = Result<T, FeedbackError>;

impl GithubClient {
    /// The webhooks of a repository or an organisation that lead to Lockstep. Any failure but a refusal is one.
    async fn hooks_below(&self, place: &str, through: &RepositoryRef) -> Result<Shown<Vec<Hook>>, FeedbackError> {
        // GitHub allows 20 webhooks for each event, so one page has them all.
        let uri = format!("{place}/hooks?per_page=100");
        let found = match self.exchange(Some(through), Method::GET, uri, None, None, &[200]).await {
            Ok(found) => found,
            Err(refused) if is_refusal(&refused) => return Ok(Err(refused)),
            Err(error) => return Err(error),
        };
        let hooks = read_hooks(&found.body)?.into_iter().filter(|hook| hook.is_lockstep());
        Ok(Ok(hooks.map(|hook| Hook::new(format!("{place}/hooks/{}", hook.id), Some(through))).collect()))
    }

    /// An App's own webhook, which tells of every repository that it is installed in.
    async fn app_hook(&self) -> Result<Vec<Hook>, FeedbackError> {
        if !self.is_app() {
            return Ok(Vec::new());
        }
        let found = match self.exchange(None, Method::GET, "/app/hook/config".into(), None, None, &[200]).await {
            Ok(found) => found,
            Err(refused) if is_refusal(&refused) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let config: HookConfig = serde_json::from_slice(&found.body).map_err(unexpected)?;
        let ours = config.url.as_deref().is_some_and(leads_to_lockstep);
        Ok(ours.then(|| Hook::new("/app/hook", None)).into_iter().collect())
    }
}

fn is_refusal(error: &FeedbackError) -> bool {
    matches!(error, FeedbackError::Unauthorized { .. } | FeedbackError::NotFound { .. })
}

fn message_of(error: FeedbackError) -> String {
    match error {
        FeedbackError::RateLimited { message, .. }
        | FeedbackError::Unauthorized { message }
        | FeedbackError::NotFound { message }
        | FeedbackError::Transient { message, .. }
        | FeedbackError::Permanent { message } => message,
    }
}

fn unexpected(error: serde_json::Error) -> FeedbackError {
    FeedbackError::Permanent { message: format!("the list of deliveries is not what was expected: {error}") }
}

#[derive(Deserialize)]
struct DeliveryJson {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    status_code: Option<i64>,
    #[serde(default)]
    event: Option<String>,
}

fn read_attempts(body: &[u8]) -> Result<Vec<Attempt>, FeedbackError> {
    let page: Vec<DeliveryJson> = serde_json::from_slice(body).map_err(unexpected)?;
    let attempts = page.into_iter().map(|one| Attempt {
        id: one.id,
        guid: one.guid,
        event: one.event.unwrap_or_default(),
        at: one.delivered_at,
        outcome: Outcome::of(&one.status.unwrap_or_default(), one.status_code.unwrap_or_default()),
    });
    Ok(attempts.collect())
}

/// The cursor of the next page. Nothing else is taken from the link: a token is sent to no address that an answer names.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get("link")?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
    let (address, _) = next.trim().strip_prefix('<')?.split_once('>')?;
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let cases = [
            (
                r#"<https://h/repositories/1/hooks/2/deliveries?per_page=100&cursor=v1_17%2B>; rel="next""#,
                Some("v1_17+"),
            ),
            (r#"<https://h/x?cursor=a>; rel="prev", <https://h/x?cursor=b>; rel="next""#, Some("b")),
            (r#"<https://h/x?cursor=a>; rel="prev""#, None),
            (r#"<https://h/x?page=2>; rel="next""#, None),
            ("nonsense", None),
            ("", None),
        ];
        for (link, expected) in cases {
            let headers = HeaderMap::from_iter([(reqwest::header::LINK, link.parse().unwrap())]);
            assert_eq!(next_cursor(&headers).as_deref(), expected, "{link}");
        }
        assert_eq!(next_cursor(&HeaderMap::new()), None);
    }

    #[test]
    fn deliveries_as_github_lists_them() {
        let body =
            br#"[{"id":12345678,"guid":"0b989ba4-242f-11e5-81e1-c7b6966d2516","delivered_at":"2019-06-03T00:57:16Z",
            "redelivery":false,"duration":0.27,"status":"OK","status_code":200,"event":"push","action":null,
            "installation_id":null,"repository_id":123,"throttled_at":null}]"#;
        let attempts = read_attempts(body).unwrap();
        assert_eq!(
            (attempts[0].id, attempts[0].event.as_str(), attempts[0].outcome),
            (12345678, "push", Outcome::Delivered)
        );
        assert_eq!(attempts[0].at.to_string(), "2019-06-03T00:57:16Z");
        assert!(read_attempts(b"{}").is_err());
    }
}
