//! What the payloads of both forges have in common. Every field that is not needed may be missing or null.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use wire::{PullRequest, PullRequestAction, Repository, Side, delivery};

use super::bounded::{List, if_there, line, optional, short};
use crate::is_plain;

/// A payload in words that do not depend on the forge.
#[expect(clippy::large_enum_variant, reason = "made once and taken apart at once")]
#[derive(Debug)]
pub(crate) enum Event {
    Ping,
    Ignored { action: Option<String> },
    Known { repository: Repository, event: delivery::Event },
}

/// Why an authentic payload was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformation(pub(crate) String);

impl Malformation {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

pub(crate) fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformation> {
    serde_json::from_slice(payload).map_err(|error| Malformation(format!("not the JSON that was expected: {error}")))
}

/// A value that may be missing or null.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// The one thing that is read before the signature is checked: whose webhook it says it is, in lower case.
#[derive(Debug, Default)]
pub(crate) struct Peek {
    pub(crate) full_name: Option<String>,
    pub(crate) owner: Option<String>,
}

impl Peek {
    /// What cannot be read names nobody, and then the secrets for everything apply.
    pub(crate) fn at(payload: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Payload {
            repository: Option<Named>,
            organization: Option<Account>,
        }
        #[derive(Deserialize)]
        struct Named {
            #[serde(deserialize_with = "short")]
            full_name: String,
        }
        let Ok(payload) = serde_json::from_slice::<Payload>(payload) else { return Self::default() };
        if let Some(Named { full_name }) = payload.repository {
            let full_name = full_name.to_ascii_lowercase();
            let owner = full_name.split('/').next().map(str::to_owned);
            return Self { full_name: Some(full_name), owner };
        }
        let login = payload.organization.and_then(|organization| organization.login);
        Self { full_name: None, owner: login.map(|login| login.to_ascii_lowercase()) }
    }

    pub(crate) fn is(&self, owner: &str, name: &str) -> bool {
        self.full_name.as_ref().is_some_and(|full| full.eq_ignore_ascii_case(&format!("{owner}/{name}")))
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Account {
    #[serde(default, deserialize_with = "if_there")]
    pub(crate) login: Option<String>,
    #[serde(default, deserialize_with = "if_there")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RepositoryPayload {
    #[serde(deserialize_with = "short")]
    full_name: String,
    #[serde(default, deserialize_with = "optional")]
    html_url: String,
    #[serde(default, deserialize_with = "optional")]
    clone_url: String,
    #[serde(default, deserialize_with = "optional")]
    ssh_url: String,
    #[serde(default, deserialize_with = "optional")]
    default_branch: String,
    /// GitHub only: `https://api.github.com/repos/acme/gateway/statuses/{sha}`.
    #[serde(default, deserialize_with = "optional")]
    pub(crate) statuses_url: String,
    /// Gitea: `https://git.example/api/v1/repos/acme/gateway`.
    #[serde(default, deserialize_with = "optional")]
    pub(crate) url: String,
}

impl RepositoryPayload {
    /// The repository, without any address that does not end in its name: who may sign for one repository must not be
    /// able to speak of another.
    pub(crate) fn check(self, api_url: fn(&Self) -> Option<String>) -> Result<Repository, Malformation> {
        let api_url = api_url(&self).unwrap_or_default();
        let parts = self.full_name.split_once('/').filter(|(o, n)| is_plain(o) && is_plain(n));
        let (owner, name) = parts.ok_or_else(|| Malformation::new("repository.full_name is not owner/name"))?;
        let clone_urls = [&self.clone_url, &self.ssh_url].into_iter().filter(|url| names(url, &self.full_name));
        let clone_urls = clone_urls.cloned().collect();
        let html_url = Some(self.html_url).filter(|url| names(url, &self.full_name)).unwrap_or_default();
        let (owner, name) = (owner.to_owned(), name.to_owned());
        Ok(Repository { owner, name, clone_urls, html_url, default_branch: self.default_branch, api_url })
    }
}

fn names(url: &str, full_name: &str) -> bool {
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let Some(start) = path.len().checked_sub(full_name.len() + 1) else { return false };
    matches!(path.as_bytes()[start], b'/' | b':')
        && path.get(start + 1..).is_some_and(|end| end.eq_ignore_ascii_case(full_name))
        && !path.chars().any(|c| c.is_control() || " ?#%\\".contains(c))
}

/// The part of `url` before `marker`, if it is an address.
pub(crate) fn base_of(url: &str, marker: &str) -> Option<String> {
    let (base, _) = url.split_once(marker)?;
    (base.starts_with("https://") || base.starts_with("http://")).then(|| base.to_owned())
}

/// A commit id: 40 or 64 hexadecimal digits.
pub(crate) fn commit(text: String, field: &str) -> Result<String, Malformation> {
    let valid = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then_some(text).ok_or_else(|| Malformation(format!("{field} is not a commit id")))
}

pub(crate) fn is_zero(commit: &str) -> bool {
    commit.bytes().all(|b| b == b'0')
}

/// The commit that a push brought, from the payload's head commit: only a tag can name something else than a commit.
pub(crate) fn head_commit_of(head: Option<&str>, full_ref: &str, after: &str) -> String {
    let head = head.filter(|_| full_ref.starts_with("refs/tags/") && !is_zero(after));
    head.and_then(|id| commit(id.to_owned(), "head_commit.id").ok()).unwrap_or_default()
}

/// A point in time as forges write it, 0 for one that cannot be read.
pub(crate) fn unix_ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond())
}

/// A full ref name.
pub(crate) fn full_ref(text: String) -> Result<String, Malformation> {
    let valid = text.starts_with("refs/") && text.len() <= 1024 && !text.chars().any(char::is_control);
    valid.then_some(text).ok_or_else(|| Malformation::new("ref is not a full ref name (refs/heads/…, refs/tags/…)"))
}

/// The first line, for people, at most 200 characters.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Deserialize)]
struct PullRequestPayload {
    #[serde(deserialize_with = "short")]
    action: String,
    pull_request: PullPayload,
    repository: RepositoryPayload,
    #[serde(default, deserialize_with = "lenient")]
    sender: Account,
    /// GitHub only: the label that was set or taken away.
    #[serde(default)]
    label: Option<LabelPayload>,
}

/// A `pull_request` event; `action_of` knows the forge's names of those actions that somebody needs.
pub(crate) fn pull_request(
    payload: &[u8],
    action_of: fn(&str) -> Option<PullRequestAction>,
    api_url: fn(&RepositoryPayload) -> Option<String>,
) -> Result<Event, Malformation> {
    let payload: PullRequestPayload = match json(payload) {
        Ok(payload) => payload,
        // What nobody needs may look as it likes.
        Err(malformation) => match action(payload) {
            Some(action) if action_of(&action).is_none() => return Ok(Event::Ignored { action: Some(action) }),
            _ => return Err(malformation),
        },
    };
    let Some(action) = action_of(&payload.action) else {
        return Ok(Event::Ignored { action: Some(payload.action) });
    };
    let repository = payload.repository.check(api_url)?;
    let mut pull = payload.pull_request.check(&repository, action, api_url)?;
    pull.sender = payload.sender.login.unwrap_or_default();
    pull.label = payload.label.map(|label| label.name).unwrap_or_default();
    Ok(Event::Known { repository, event: delivery::Event::PullRequest(pull) })
}

/// The action of any event, if it has one.
pub(crate) fn action(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(deserialize_with = "short")]
        action: String,
    }
    Some(serde_json::from_slice::<Payload>(payload).ok()?.action)
}

/// A forge allows a hundred. Some of them alone could make a preview that all of them together forbid.
const MOST_LABELS: usize = 1000;

/// `pull_request` as both forges write it.
#[derive(Debug, Deserialize)]
struct PullPayload {
    number: u64,
    #[serde(default, deserialize_with = "line")]
    title: String,
    #[serde(default, deserialize_with = "lenient")]
    draft: bool,
    #[serde(default, deserialize_with = "lenient")]
    merged: bool,
    #[serde(default, deserialize_with = "optional")]
    html_url: String,
    #[serde(default, deserialize_with = "lenient")]
    labels: List<LabelPayload, MOST_LABELS>,
    #[serde(default, deserialize_with = "lenient")]
    user: Account,
    /// GitHub only.
    #[serde(default, deserialize_with = "lenient")]
    author_association: String,
    #[serde(default, deserialize_with = "lenient")]
    updated_at: String,
    head: SidePayload,
    base: SidePayload,
}

#[derive(Debug, Deserialize)]
struct LabelPayload {
    #[serde(deserialize_with = "short")]
    name: String,
}

#[derive(Debug, Deserialize)]
struct SidePayload {
    #[serde(deserialize_with = "short")]
    r#ref: String,
    #[serde(deserialize_with = "short")]
    sha: String,
    /// Null when a fork has been deleted.
    #[serde(default)]
    repo: Option<RepositoryPayload>,
}

impl PullPayload {
    fn check(
        self,
        repository: &Repository,
        action: PullRequestAction,
        api_url: fn(&RepositoryPayload) -> Option<String>,
    ) -> Result<PullRequest, Malformation> {
        let side = |side: SidePayload, name: &str| {
            Ok(Side {
                repository: side.repo.map(|repo| repo.check(api_url)).transpose()?,
                branch: side.r#ref,
                commit: commit(side.sha, &format!("pull_request.{name}.sha"))?,
            })
        };
        let (head, mut base) = (side(self.head, "head")?, side(self.base, "base")?);
        match &base.repository {
            Some(other) if !other.full_name().eq_ignore_ascii_case(&repository.full_name()) => {
                return Err(Malformation::new("pull_request.base.repo is not the webhook's repository"));
            }
            _ => base.repository = Some(repository.clone()),
        }
        if self.labels.more {
            return Err(Malformation(format!("pull_request has more than {MOST_LABELS} labels")));
        }
        let mut pull = PullRequest {
            number: self.number,
            action: action.into(),
            head: Some(head),
            base: Some(base),
            draft: self.draft,
            labels: self.labels.kept.into_iter().map(|label| label.name).collect(),
            title: self.title,
            author: self.user.login.unwrap_or_default(),
            merged: self.merged,
            html_url: self.html_url,
            author_association: self.author_association,
            updated_at_unix_ms: unix_ms(&self.updated_at),
            ..Default::default()
        };
        pull.from_fork = pull.is_from_fork();
        Ok(pull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_name_another_repository_are_left_out() {
        let cases = [
            ("https://github.com/acme/gateway.git", true),
            ("https://git.example/sub/Acme/Gateway", true),
            ("git@github.com:acme/gateway.git", true),
            ("ssh://git@git.example:22/acme/gateway.git", true),
            ("https://github.com/evil/acme/gateway.git#/other/x", false),
            ("https://github.com/other/gateway.git?/acme/gateway", false),
            ("https://github.com/other/gateway.git#/acme/gateway", false),
            ("https://github.com/other/gateway.git", false),
            ("https://github.com/xacme/gateway", false),
            ("acme/gateway", false),
            ("", false),
            ("https://github.com/ü/gateway", false),
        ];
        for (url, expected) in cases {
            assert_eq!(names(url, "acme/gateway"), expected, "{url}");
        }
    }

    #[test]
    fn peeks() {
        let cases = [
            (r#"{"repository":{"full_name":"Acme/X"},"organization":{"login":"o"}}"#, Some("acme/x"), Some("acme")),
            (r#"{"organization":{"login":"O"}}"#, None, Some("o")),
            (r#"{"repository":{"full_name":"a/x"},"repository":{"full_name":"b/x"}}"#, None, None),
            (r#"{"repository":{"full_name":1}}"#, None, None),
            ("[1", None, None),
        ];
        for (payload, full_name, owner) in cases {
            let peek = Peek::at(payload.as_bytes());
            assert_eq!((peek.full_name.as_deref(), peek.owner.as_deref()), (full_name, owner), "{payload}");
        }
    }
}
