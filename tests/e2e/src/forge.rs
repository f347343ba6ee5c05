//! The two forges behind one face.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use github_double::{Double, DoubleOptions, NewPullRequest, assets};
use harness::Gitea;

/// Which forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The real Gitea.
    Gitea,
    /// The GitHub double.
    Github,
    /// The GitHub double that holds every call, answer and webhook against GitHub's OpenAPI description.
    GithubChecked,
}

/// A forge.
#[derive(Debug)]
pub enum Forge {
    /// The real Gitea.
    Gitea(Box<Gitea>),
    /// The GitHub double.
    Github(Double),
}

/// The newest status of one context on a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `pending`, `success`, `failure`, `error`.
    pub state: String,
    /// The sentence.
    pub description: String,
    /// The link.
    pub url: String,
}

impl Check {
    /// Whether it will stay.
    pub fn is_final(&self) -> bool {
        ["success", "failure", "error"].contains(&self.state.as_str())
    }
}

const TOKEN: &str = "token-of-the-stories";

impl Forge {
    pub(crate) async fn start(kind: Kind, folder: &Path) -> Result<Self> {
        if kind == Kind::Gitea {
            let gitea = Gitea::start().await?;
            gitea.create_organisation("acme").await?;
            return Ok(Self::Gitea(Box::new(gitea)));
        }
        let mut options = DoubleOptions::new(folder.join("github")).token(TOKEN);
        if kind == Kind::GithubChecked {
            options = options.openapi(assets::openapi().await?);
        }
        Ok(Self::Github(Double::start(options).await?))
    }

    /// The double; an error where the forge is another.
    pub fn github(&self) -> Result<&Double> {
        match self {
            Self::Github(double) => Ok(double),
            Self::Gitea(_) => anyhow::bail!("this forge is Gitea"),
        }
    }

    /// `gitea`, `github`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gitea(_) => "gitea",
            Self::Github(_) => "github",
        }
    }

    /// Where its pages are.
    pub fn url(&self) -> &str {
        match self {
            Self::Gitea(gitea) => &gitea.url,
            Self::Github(double) => double.url(),
        }
    }

    /// Where its API is.
    pub fn api_url(&self) -> String {
        match self {
            Self::Gitea(gitea) => format!("{}/api/v1", gitea.url),
            Self::Github(double) => double.api_url().to_owned(),
        }
    }

    /// A token that may do everything, which is also the password for Git.
    pub fn token(&self) -> &str {
        match self {
            Self::Gitea(gitea) => &gitea.token,
            Self::Github(_) => TOKEN,
        }
    }

    /// Whose token it is.
    pub fn user(&self) -> &str {
        match self {
            Self::Gitea(gitea) => &gitea.user,
            Self::Github(_) => "git",
        }
    }

    /// Makes an empty repository and returns its clone URL.
    pub(crate) async fn create(&self, repository: &str) -> Result<String> {
        match self {
            Self::Gitea(gitea) => gitea.create_repository(repository).await,
            Self::Github(double) => {
                let (owner, name) = parts(repository)?;
                double.create_repository(owner, name, None).await?;
                Ok(double.clone_url(owner, name))
            }
        }
    }

    /// Opens a pull request from a branch to `main` and returns its number.
    pub async fn open_pull(&self, repository: &str, branch: &str, title: &str) -> Result<u64> {
        match self {
            Self::Gitea(gitea) => gitea.open_pull(repository, branch, "main", title).await,
            Self::Github(double) => {
                let (owner, name) = parts(repository)?;
                Ok(double.open_pull_request(owner, name, &NewPullRequest::new(title, branch, "main")).await?.number)
            }
        }
    }

    /// Closes a pull request without merging it.
    pub async fn close_pull(&self, repository: &str, number: u64) -> Result<()> {
        match self {
            Self::Gitea(gitea) => gitea.close_pull(repository, number).await,
            Self::Github(double) => {
                let (owner, name) = parts(repository)?;
                double.close_pull_request(owner, name, number).await?;
                Ok(())
            }
        }
    }

    /// The newest status of each context on a commit.
    pub async fn checks(&self, repository: &str, commit: &str) -> Result<BTreeMap<String, Check>> {
        let mut checks = BTreeMap::new();
        match self {
            Self::Gitea(gitea) => {
                let mut statuses = gitea.statuses(repository, commit).await?;
                statuses.sort_by_key(|status| status["id"].as_u64());
                for status in statuses {
                    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
                    let check =
                        Check { state: text("status"), description: text("description"), url: text("target_url") };
                    checks.insert(text("context"), check);
                }
            }
            Self::Github(double) => {
                let (owner, name) = parts(repository)?;
                for status in double.statuses(owner, name, commit) {
                    let check = Check {
                        state: status.state,
                        description: status.description.unwrap_or_default(),
                        url: status.target_url.unwrap_or_default(),
                    };
                    checks.insert(status.context, check);
                }
            }
        }
        Ok(checks)
    }
}

/// Owner and name.
fn parts(repository: &str) -> Result<(&str, &str)> {
    repository.split_once('/').context("a repository is OWNER/NAME")
}
