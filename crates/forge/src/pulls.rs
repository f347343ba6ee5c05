//! The open pull requests of a repository.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::webhook::payload::unix_ms;
use crate::{FeedbackError, RepositoryRef};

/// An open pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPull {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Login of who opened it.
    pub author: String,
    /// True while it is not meant to be merged.
    pub draft: bool,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// What is to be merged.
    pub head: PullSide,
    /// Where to.
    pub base: PullSide,
    /// True if the head is in another repository, or in none any more, or in no branch at all (Gitea's `refs/for/…`): whoever
    /// pushes to it needs no right to this one.
    pub fork: bool,
    /// What GitHub says of the author: `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE` …; empty elsewhere.
    pub author_association: String,
    /// Its page.
    pub html_url: String,
    /// When it was changed last, in milliseconds since 1970; 0 if the forge does not say.
    pub updated_at_unix_ms: i64,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSide {
    /// Branch, without `refs/heads/`.
    pub branch: String,
    /// The branch's newest commit.
    pub commit: String,
    /// The repository; None if the fork has been deleted.
    pub repository: Option<RepositoryRef>,
    /// Where the repository can be cloned, by https.
    pub clone_url: Option<String>,
}

/// Lists pull requests.
#[async_trait]
pub trait PullRequests: Send + Sync + 'static {
    /// All open pull requests, oldest first. A list that may not be complete is an error, never a shorter list.
    async fn open_pulls(&self, repository: &RepositoryRef) -> Result<Vec<OpenPull>, FeedbackError>;
}

/// More pages than any repository has; a forge that turns pages in a circle ends here.
const MOST_PAGES: u32 = 200;
/// How often a list of several pages is read until two readings agree.
const MOST_READINGS: u32 = 5;

/// An answer to a conditional request.
pub(crate) enum Page {
    NotModified,
    Full { body: Bytes, headers: HeaderMap },
}

/// The pages that were read last, with their tags, so that what has not changed is not sent again.
#[derive(Default)]
pub(crate) struct PageCache(Mutex<HashMap<String, Arc<CachedPage>>>);

struct CachedPage {
    tag: String,
    pulls: Vec<OpenPull>,
    more: bool,
}

/// Pages kept; at 100 pull requests each that is more than anybody has.
const MOST_CACHED: usize = 1000;

impl PageCache {
    fn get(&self, key: &str) -> Option<Arc<CachedPage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: &str, page: &Arc<CachedPage>) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MOST_CACHED && !pages.contains_key(key) {
            pages.clear();
        }
        pages.insert(key.to_owned(), page.clone());
    }
}

/// Where the pages of a list come from.
#[async_trait]
pub(crate) trait Pages: Sync {
    /// One page, or [`Page::NotModified`] if it still has this tag.
    async fn page(&self, number: u32, tag: Option<&str>) -> Result<Page, FeedbackError>;
}

/// Reads all pages. `name` is the list's in the cache.
///
/// Pages shift while they are read if a pull request is closed, and one could slip through between two of them. So a
/// list of several pages is read until two readings agree; tags make the second one cheap.
pub(crate) async fn read_all(
    cache: &PageCache,
    name: &str,
    page_size: usize,
    list: &dyn Pages,
) -> Result<Vec<OpenPull>, FeedbackError> {
    let mut last: Option<Vec<OpenPull>> = None;
    for _ in 0..MOST_READINGS {
        let (pulls, pages) = read_once(cache, name, page_size, list).await?;
        if pages == 1 || last.as_ref() == Some(&pulls) {
            return Ok(pulls);
        }
        last = Some(pulls);
    }
    let message = "the list of pull requests changes faster than it can be read".into();
    Err(FeedbackError::Transient { retry_after: None, message })
}

async fn read_once(
    cache: &PageCache,
    name: &str,
    page_size: usize,
    list: &dyn Pages,
) -> Result<(Vec<OpenPull>, u32), FeedbackError> {
    let mut pulls: Vec<OpenPull> = Vec::new();
    for number in 1..=MOST_PAGES {
        let key = format!("{name} {number}");
        let cached = cache.get(&key);
        let tag = cached.as_ref().map(|page| page.tag.as_str());
        let page = match (list.page(number, tag).await?, cached) {
            (Page::NotModified, Some(page)) => page,
            (Page::NotModified, None) => {
                return Err(FeedbackError::Permanent { message: "304 to an unconditional request".into() });
            }
            (Page::Full { body, headers }, _) => {
                let page = Arc::new(read_page(&body, &headers, page_size)?);
                if !page.tag.is_empty() {
                    cache.put(&key, &page);
                }
                page
            }
        };
        for pull in &page.pulls {
            if !pulls.iter().any(|other| other.number == pull.number) {
                pulls.push(pull.clone());
            }
        }
        if !page.more {
            return Ok((pulls, number));
        }
    }
    Err(FeedbackError::Permanent { message: format!("more than {MOST_PAGES} pages of pull requests") })
}

fn read_page(body: &[u8], headers: &HeaderMap, page_size: usize) -> Result<CachedPage, FeedbackError> {
    let pulls: Vec<PullJson> = serde_json::from_slice(body).map_err(|error| FeedbackError::Transient {
        retry_after: None,
        message: format!("the list of pull requests is not what was expected: {error}"),
    })?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A cached page may have become full since its header was written, so a full page always has a successor.
    let more = pulls.len() >= page_size || text("link").contains(r#"rel="next""#);
    let tag = text("etag").to_owned();
    Ok(CachedPage { tag, pulls: pulls.into_iter().map(OpenPull::from).collect(), more })
}

/// A pull request as both forges write it.
#[derive(Deserialize)]
struct PullJson {
    number: u64,
    title: Option<String>,
    draft: Option<bool>,
    labels: Option<Vec<Named>>,
    user: Option<Login>,
    author_association: Option<String>,
    updated_at: Option<String>,
    head: SideJson,
    base: SideJson,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    login: String,
}

#[derive(Deserialize)]
struct SideJson {
    r#ref: String,
    sha: String,
    repo: Option<RepositoryJson>,
}

#[derive(Deserialize)]
struct RepositoryJson {
    full_name: String,
    clone_url: Option<String>,
}

impl From<PullJson> for OpenPull {
    fn from(pull: PullJson) -> Self {
        let (head, base) = (PullSide::from(pull.head), PullSide::from(pull.base));
        Self {
            number: pull.number,
            title: pull.title.unwrap_or_default(),
            author: pull.user.map(|user| user.login).unwrap_or_default(),
            draft: pull.draft.unwrap_or_default(),
            labels: pull.labels.unwrap_or_default().into_iter().map(|label| label.name).collect(),
            author_association: pull.author_association.unwrap_or_default(),
            fork: is_fork(&head, &base),
            head,
            base,
            html_url: pull.html_url.unwrap_or_default(),
            updated_at_unix_ms: pull.updated_at.map_or(0, |at| unix_ms(&at)),
        }
    }
}

fn is_fork(head: &PullSide, base: &PullSide) -> bool {
    let name = |side: &PullSide| side.repository.as_ref().map(|it| it.to_string().to_lowercase());
    name(head).is_none() || name(head) != name(base) || head.branch.starts_with("refs/")
}

impl From<SideJson> for PullSide {
    fn from(side: SideJson) -> Self {
        let names = side.repo.as_ref().and_then(|repo| repo.full_name.split_once('/'));
        Self {
            branch: side.r#ref,
            commit: side.sha,
            repository: names.map(|(owner, name)| RepositoryRef { owner: owner.into(), name: name.into() }),
            clone_url: side.repo.and_then(|repo| repo.clone_url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Asked = Mutex<Vec<(u32, Option<String>)>>;

    /// Answers a page by its number, its tag, and how many were asked for before.
    struct List<F>(F, Asked);

    #[async_trait]
    impl<F: Fn(u32, Option<&str>, usize) -> Result<Page, FeedbackError> + Sync> Pages for List<F> {
        async fn page(&self, number: u32, tag: Option<&str>) -> Result<Page, FeedbackError> {
            let mut asked = self.1.lock().unwrap();
            asked.push((number, tag.map(str::to_owned)));
            (self.0)(number, tag, asked.len() - 1)
        }
    }

    fn page(numbers: &[u64], tag: &str) -> Page {
        let side = r#"{"ref":"b","sha":"1","repo":{"full_name":"a/x","clone_url":"https://h/a/x.git"}}"#;
        let pull = |n: &u64| format!(r#"{{"number":{n},"head":{side},"base":{side},"labels":null}}"#);
        let body = format!("[{}]", numbers.iter().map(pull).collect::<Vec<_>>().join(","));
        let mut headers = HeaderMap::new();
        headers.insert("etag", tag.parse().unwrap());
        Page::Full { body: body.into(), headers }
    }

    #[tokio::test]
    async fn whose_head_it_is() {
        let list = r#"[
            {"number":1,"head":{"ref":"a","sha":"1","repo":{"full_name":"Acme/X"}},"base":{"ref":"b","sha":"1","repo":{"full_name":"acme/x"}}},
            {"number":2,"author_association":"NONE","updated_at":"1970-01-01T00:00:02+00:00","head":{"ref":"a","sha":"1","repo":{"full_name":"bob/x"}},"base":{"ref":"b","sha":"1","repo":{"full_name":"acme/x"}}},
            {"number":3,"head":{"ref":"a","sha":"1","repo":null},"base":{"ref":"b","sha":"1","repo":{"full_name":"acme/x"}}},
            {"number":4,"head":{"ref":"refs/pull/4/head","sha":"1","repo":{"full_name":"acme/x"}},"base":{"ref":"b","sha":"1","repo":{"full_name":"acme/x"}}}]"#;
        let answer =
            |_: u32, _: Option<&str>, _: usize| Ok(Page::Full { body: list.into(), headers: HeaderMap::new() });
        let pulls = read_all(&PageCache::default(), "x", 100, &List(answer, Asked::default())).await.unwrap();
        let told: Vec<_> = pulls.iter().map(|it| (it.fork, &*it.author_association, it.updated_at_unix_ms)).collect();
        assert_eq!(told, [(false, "", 0), (true, "NONE", 2000), (true, "", 0), (true, "", 0)]);
    }

    fn numbers(pulls: &[OpenPull]) -> Vec<u64> {
        pulls.iter().map(|pull| pull.number).collect()
    }

    #[tokio::test]
    async fn what_slips_between_two_pages_is_found() {
        // After the first page has been read, 1 is closed, and 3 moves to the first page.
        let answer = |number: u32, _: Option<&str>, before: usize| {
            let open: &[u64] = if before == 0 { &[1, 2, 3] } else { &[2, 3] };
            Ok(page(open.chunks(2).nth(number as usize - 1).unwrap_or_default(), ""))
        };
        let pulls = read_all(&PageCache::default(), "x", 2, &List(answer, Asked::default())).await.unwrap();
        assert_eq!(numbers(&pulls), [2, 3]);
    }

    #[tokio::test]
    async fn an_unchanged_page_comes_from_the_cache() {
        let answer = |_: u32, tag: Option<&str>, _: usize| {
            Ok(if tag == Some("\"1\"") { Page::NotModified } else { page(&[7], "\"1\"") })
        };
        let (cache, list) = (PageCache::default(), List(answer, Asked::default()));
        for _ in 0..2 {
            assert_eq!(numbers(&read_all(&cache, "x", 100, &list).await.unwrap()), [7]);
        }
        assert_eq!(*list.1.lock().unwrap(), [(1, None), (1, Some("\"1\"".to_owned()))]);
    }

    #[tokio::test]
    async fn an_error_on_a_later_page_is_an_error() {
        let broken = |number: u32, _: Option<&str>, _: usize| match number {
            1 => Ok(page(&[1], "")),
            _ => Err(FeedbackError::Transient { retry_after: None, message: "gone".into() }),
        };
        assert!(read_all(&PageCache::default(), "x", 1, &List(broken, Asked::default())).await.is_err());
        let endless = |_: u32, _: Option<&str>, _: usize| Ok(page(&[1], ""));
        assert!(read_all(&PageCache::default(), "x", 1, &List(endless, Asked::default())).await.is_err());
    }
}
