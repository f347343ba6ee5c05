//! `pullRequest`: the open pull requests of a repository.

use resources::PullRequestGenerator;
use serde_json::json;

use super::{Context, Place, add_values};
use crate::{ExpandError, LookupError, PullRequestEntry, PullRequestQuery, branch_slug, matches, params::Params};

pub(super) async fn generate(
    context: &Context<'_>,
    generator: &PullRequestGenerator,
    place: Place<'_>,
    field: &str,
) -> Result<Vec<Params>, ExpandError> {
    let query = PullRequestQuery::new(generator).map_err(|what| match generator.forges().first().copied() {
        Some(forge @ ("gitlab" | "bitbucketServer" | "bitbucket" | "azuredevops")) => ExpandError::Unsupported {
            field: format!("{field}.{forge}"),
            what: format!("a pullRequest generator for {forge}"),
        },
        _ => ExpandError::parameters(field, what),
    })?;
    let mut found = match context.lookup.pull_requests(&query).await {
        Err(LookupError::NotFound(_)) if query.not_found_is_empty => Vec::new(),
        found => found.map_err(|source| ExpandError::Lookup { field: field.into(), source })?,
    };
    found.retain(|entry| matches(&query, entry));
    found.sort_by_key(|entry| entry.number);
    found.dedup_by_key(|entry| entry.number);
    let mut sets = Vec::new();
    for mut entry in found {
        let Some(commit) = context.forks.commit(&entry).map(str::to_owned) else { continue };
        entry.head_sha = commit;
        let mut params = parameters(&entry, context.templates.is_go());
        add_values(context, &generator.values, &mut params, place, field)?;
        sets.push(params);
    }
    Ok(sets)
}

fn parameters(entry: &PullRequestEntry, go: bool) -> Params {
    let start = |length: usize| entry.head_sha.get(..length).unwrap_or(&entry.head_sha);
    let mut params = json!({
        "number": entry.number.to_string(),
        "title": entry.title,
        "branch": entry.branch,
        "branch_slug": branch_slug(&entry.branch),
        "target_branch": entry.target_branch,
        "target_branch_slug": branch_slug(&entry.target_branch),
        "head_sha": entry.head_sha,
        "head_short_sha": start(8),
        "head_short_sha_7": start(7),
        "author": entry.author,
        // Beyond what Argo CD gives.
        "draft": entry.draft.to_string(),
        "url": entry.url,
        "head_repository": entry.head_repository,
        "fork": entry.fork.to_string(),
        "author_association": entry.author_association,
    });
    if go && let Some(params) = params.as_object_mut() {
        params.insert("labels".into(), json!(entry.labels));
        params.insert("draft".into(), entry.draft.into());
        params.insert("fork".into(), entry.fork.into());
    }
    params.as_object().cloned().unwrap_or_default()
}
