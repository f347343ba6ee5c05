//! *Resolve*: each source's revision to the commit it means now.

use futures::future::try_join_all;
use git::{GitError, Remote, RepositoryUrl};
use resources::{ApplicationSource, annotations};

use super::permit::Permitted;
use super::{Pass, Stop};
use crate::index::Tracked;
use crate::poll;

/// One source, resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The source.
    pub source: ApplicationSource,
    /// The place it follows: its repository for the application's project, and its revision.
    pub tracked: Tracked,
    /// Where that place stands.
    pub commit: git::Commit,
}

/// The place that a source of a project's application follows. Whoever wants to go there asks a [`Permitted`] for its places instead.
pub(super) fn tracked(project: &str, source: &ApplicationSource) -> Result<Tracked, GitError> {
    let url = RepositoryUrl::parse(&source.repo_url)?;
    let revision = source.target_revision.trim();
    let revision = if revision.is_empty() { "HEAD" } else { revision }.to_owned();
    Ok(Tracked { remote: Remote::of(url, project), revision })
}

/// Resolves all sources. An operation that names a revision resolves to that instead.
pub async fn resolve(pass: &Pass<'_>, permitted: &Permitted) -> Result<Vec<Resolved>, Stop> {
    let sources = permitted.sources();
    if sources.is_empty() {
        return Err(Stop::invalid("spec.source is missing; say where the manifests are"));
    }
    let asked = super::plan::asked_revisions(&pass.application);
    let resolving = sources.iter().enumerate().map(|(number, source)| {
        let asked = asked.get(number).filter(|revision| !revision.is_empty()).cloned();
        resolve_one(pass, source, asked)
    });
    try_join_all(resolving).await
}

/// The sources of the spec at commits that are known already. `None`: one is not known, or has no place.
pub async fn at_known<F>(permitted: &Permitted, commit: impl Fn(Tracked) -> F) -> Option<Vec<Resolved>>
where
    F: Future<Output = Option<git::Commit>>,
{
    let mut resolved = Vec::with_capacity(permitted.followed().len());
    for source in permitted.followed() {
        let tracked = tracked(permitted.project().name(), source).ok()?;
        let commit = commit(tracked.clone()).await?;
        resolved.push(Resolved { source: source.clone(), tracked, commit });
    }
    Some(resolved)
}

async fn resolve_one(pass: &Pass<'_>, source: &ApplicationSource, asked: Option<String>) -> Result<Resolved, Stop> {
    let mut place =
        tracked(pass.application.spec.project(), source).map_err(|error| Stop::invalid(error.to_string()))?;
    if let Some(asked) = asked {
        place.revision = asked;
    }
    if pass.application.annotation(annotations::REFRESH).is_some() {
        // Somebody wants it looked at now: what the forge has and no webhook told of is handled as if one had.
        Box::pin(poll::poll_places(pass.ctx, std::slice::from_ref(&place))).await;
    }
    match pass.ctx.heads.resolve(&pass.ctx.git, &place).await {
        Ok(commit) => Ok(Resolved { source: source.clone(), tracked: place, commit }),
        Err(error) if error.is_transient() => Err(Stop::Later(error.to_string())),
        Err(error) => Err(Stop::comparison(error.to_string())),
    }
}
