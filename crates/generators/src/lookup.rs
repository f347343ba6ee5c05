//! What generators ask of the world. The answers come from outside; this crate does no I/O.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use regex::Regex;
use resources::{PullRequestGenerator, SecretRef, go_regex};

use crate::LookupError;

/// Answers to the questions of generators.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Every folder of a repository at a revision (empty: the default branch), relative to its root, without the root.
    async fn git_directories(&self, repository: &str, revision: &str) -> Result<Vec<String>, LookupError>;

    /// The files that [`file_globs`](crate::file_globs) selects, with their contents. More files than that do no harm.
    async fn git_files(
        &self,
        repository: &str,
        revision: &str,
        globs: &[String],
    ) -> Result<Vec<(String, Bytes)>, LookupError>;

    /// The clusters that have a Secret, without the one in which Lockstep runs unless it has one as well.
    async fn clusters(&self) -> Result<Vec<ClusterEntry>, LookupError>;

    /// The open pull requests of a repository. More than the query asks for do no harm.
    async fn pull_requests(&self, query: &PullRequestQuery) -> Result<Vec<PullRequestEntry>, LookupError>;
}

/// A cluster, as its Secret describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Name.
    pub name: String,
    /// Address of the API server.
    pub server: String,
    /// The project it belongs to; empty for all.
    pub project: String,
    /// Labels of the Secret.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
}

/// A forge with pull requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullRequestForge {
    /// GitHub and GitHub Enterprise.
    GitHub,
    /// Gitea and Forgejo.
    Gitea,
}

/// Which pull requests are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct PullRequestQuery {
    /// The forge.
    pub forge: PullRequestForge,
    /// Address of the API; empty for GitHub's own.
    pub api: String,
    /// Organisation or person.
    pub owner: String,
    /// Name of the repository.
    pub repository: String,
    /// Labels that must all be there.
    pub labels: Vec<String>,
    /// One of these must match; none means all.
    pub filters: Vec<Filter>,
    /// Secret with a token.
    pub token: Option<SecretRef>,
    /// Secret with the credentials of a GitHub App; empty for none.
    pub app_secret: String,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// A repository that does not exist has no pull requests.
    pub not_found_is_empty: bool,
}

/// Conditions on one pull request, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Regular expression for the branch.
    pub branch: Option<Pattern>,
    /// Regular expression for the branch it goes to.
    pub target_branch: Option<Pattern>,
    /// Regular expression for the title.
    pub title: Option<Pattern>,
}

/// A regular expression that compares by its text.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// An open pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullRequestEntry {
    /// Number, as the forge shows it.
    pub number: u64,
    /// Title.
    pub title: String,
    /// Its branch.
    pub branch: String,
    /// The branch it goes to.
    pub target_branch: String,
    /// Its newest commit.
    pub head_sha: String,
    /// Login of whoever opened it.
    pub author: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// It is a draft.
    pub draft: bool,
    /// Its page; empty if unknown.
    pub url: String,
    /// `owner/name` of the repository of its branch; another one for a fork; empty if that was deleted.
    pub head_repository: String,
    /// Whoever pushes to its branch needs no right to the repository it goes to.
    pub fork: bool,
    /// What GitHub says of the author: `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE` …; empty elsewhere.
    pub author_association: String,
    /// Of a fork: the commit that a maintainer let in.
    pub approved: Option<String>,
    /// When it was changed last, in milliseconds since 1970; 0 if unknown.
    pub updated_at: i64,
}

impl PullRequestQuery {
    /// The query of a generator.
    pub fn new(generator: &PullRequestGenerator) -> Result<Self, String> {
        let mut query = if let Some(github) = &generator.github {
            Self {
                forge: PullRequestForge::GitHub,
                api: github.api.clone(),
                owner: github.owner.clone(),
                repository: github.repo.clone(),
                labels: github.labels.clone(),
                filters: Vec::new(),
                token: github.token_ref.clone(),
                app_secret: github.app_secret_name.clone(),
                insecure: false,
                not_found_is_empty: generator.continue_on_repo_not_found_error,
            }
        } else if let Some(gitea) = &generator.gitea {
            Self {
                forge: PullRequestForge::Gitea,
                api: gitea.api.clone(),
                owner: gitea.owner.clone(),
                repository: gitea.repo.clone(),
                labels: gitea.labels.clone(),
                filters: Vec::new(),
                token: gitea.token_ref.clone(),
                app_secret: String::new(),
                insecure: gitea.insecure,
                not_found_is_empty: generator.continue_on_repo_not_found_error,
            }
        } else {
            return Err(format!("pull requests of {} are not supported yet", generator.forges().join(", ")));
        };
        for filter in &generator.filters {
            query.filters.push(Filter {
                branch: pattern(filter.branch_match.as_deref())?,
                target_branch: pattern(filter.target_branch_match.as_deref())?,
                title: pattern(filter.title_match.as_deref())?,
            });
        }
        Ok(query)
    }
}

fn pattern(text: Option<&str>) -> Result<Option<Pattern>, String> {
    let Some(text) = text else { return Ok(None) };
    let compiled = go_regex(text).map_err(|_| format!("{text:?} is not a regular expression"))?;
    Ok(Some(Pattern(compiled)))
}

/// Whether a pull request is one that the query asks for: all labels, and one of the filters if there are any.
pub fn matches(query: &PullRequestQuery, entry: &PullRequestEntry) -> bool {
    let fits = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.0.is_match(text));
    let labelled = query.labels.iter().all(|label| entry.labels.contains(label));
    let filtered = query.filters.iter().any(|filter| {
        fits(&filter.branch, &entry.branch)
            && fits(&filter.target_branch, &entry.target_branch)
            && fits(&filter.title, &entry.title)
    });
    labelled && (query.filters.is_empty() || filtered)
}
