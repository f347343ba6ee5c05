//! `git`: the folders of a repository, or the files with parameters in it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use resources::GitGenerator;
use serde_json::{Map, Value, json};

use super::{Context, Place, add_values};
use crate::{
    ExpandError, ForkPolicy, file_globs,
    forks::{follows_fork, unpinned},
    glob::{directory_matches, from_root},
    normalize,
    params::{Params, flatten},
    template::{base_name, dir_name, parse_yaml},
};

pub(super) async fn generate(
    context: &Context<'_>,
    git: &GitGenerator,
    place: Place<'_>,
    field: &str,
) -> Result<Vec<Params>, ExpandError> {
    if context.forks != ForkPolicy::Always && follows_fork(place.given, &git.repo_url, &git.revision) {
        return Err(ExpandError::parameters(&format!("{field}.revision"), unpinned(&git.revision)));
    }
    let mut sets = if git.directories.is_empty() {
        files(context, git, field).await?
    } else {
        let chosen = directories(context, git, field).await?;
        chosen.iter().map(|path| with_path(context, git, Map::new(), path, None)).collect()
    };
    for params in &mut sets {
        add_values(context, &git.values, params, place, field)?;
    }
    Ok(sets)
}

async fn directories(context: &Context<'_>, git: &GitGenerator, field: &str) -> Result<Vec<String>, ExpandError> {
    let known = {
        let key = (git.repo_url.clone(), git.revision.clone());
        let mut kept = context.directories.lock().await;
        match kept.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = context.lookup.git_directories(&git.repo_url, &git.revision).await;
                let found = Arc::new(found.map_err(|source| ExpandError::Lookup { field: field.into(), source })?);
                kept.insert(key, found.clone());
                found
            }
        }
    };
    let mut chosen = Vec::new();
    let patterns: Vec<String> = git.directories.iter().map(|wanted| from_root(&wanted.path)).collect();
    let mut fits = vec![false; patterns.len()];
    for path in known.iter().map(|path| path.trim_matches('/')).filter(|path| !is_hidden(path)) {
        let (mut included, mut excluded) = (false, false);
        for (index, wanted) in git.directories.iter().enumerate() {
            let matched = directory_matches(&patterns[index], path);
            let wrong = |message| ExpandError::parameters(&format!("{field}.directories[{index}].path"), message);
            if matched.map_err(wrong)? {
                included |= !wanted.exclude;
                excluded |= wanted.exclude;
                fits[index] = true;
            }
        }
        if included && !excluded {
            chosen.push(path.to_owned());
        }
    }
    for (index, wanted) in git.directories.iter().enumerate().filter(|(index, it)| !it.exclude && !fits[*index]) {
        nothing_fits(context, git, &format!("{field}.directories[{index}].path"), &wanted.path, "folder");
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

fn nothing_fits(context: &Context<'_>, git: &GitGenerator, field: &str, pattern: &str, what: &str) {
    let revision = if git.revision.is_empty() { "HEAD" } else { &git.revision };
    context.found_nothing(field, &format!("no {what} of {} at {revision} fits {pattern:?}", git.repo_url));
}

fn is_hidden(path: &str) -> bool {
    path.is_empty() || path.split('/').any(|part| part.starts_with('.'))
}

async fn files(context: &Context<'_>, git: &GitGenerator, field: &str) -> Result<Vec<Params>, ExpandError> {
    let globs = |exclude: bool| {
        git.files.iter().filter(|it| it.exclude == exclude).map(|it| it.path.clone()).collect::<Vec<_>>()
    };
    let wrong = |message| ExpandError::parameters(&format!("{field}.files"), message);
    let included = globs(false);
    let (include, exclude) = (file_globs(&included).map_err(wrong)?, file_globs(&globs(true)).map_err(wrong)?);
    let found = context.lookup.git_files(&git.repo_url, &git.revision, &included).await;
    let found = found.map_err(|source| ExpandError::Lookup { field: field.into(), source })?;
    for (index, wanted) in git.files.iter().enumerate().filter(|(_, it)| !it.exclude) {
        let glob = file_globs(std::slice::from_ref(&wanted.path)).map_err(wrong)?;
        if !found.iter().any(|(path, _)| glob.is_match(path)) {
            nothing_fits(context, git, &format!("{field}.files[{index}].path"), &wanted.path, "file");
        }
    }
    let chosen: BTreeMap<String, Bytes> =
        found.into_iter().filter(|(path, _)| include.is_match(path) && !exclude.is_match(path)).collect();

    let mut sets = Vec::new();
    for (path, content) in chosen {
        let wrong = |message: String| ExpandError::parameters(field, format!("the file {path} {message}"));
        let text = std::str::from_utf8(&content).map_err(|_| wrong("is not text".into()))?;
        let parsed = parse_yaml(text).map_err(|reason| wrong(format!("is neither YAML nor JSON: {reason}")))?;
        let objects = match parsed {
            Value::Null => vec![Value::Object(Map::new())],
            Value::Array(items) => items,
            object => vec![object],
        };
        for object in objects {
            let Value::Object(params) = object else {
                return Err(wrong("has neither an object nor a list of objects".into()));
            };
            let params = if context.templates.is_go() {
                params
            } else {
                flatten(&params).into_iter().map(|(name, value)| (name, value.into())).collect()
            };
            let file = base_name(&path);
            sets.push(with_path(context, git, params, &dir_name(&path), Some(file)));
        }
    }
    Ok(sets)
}

/// Adds the parameters that describe a path, in the form of each template language.
fn with_path(context: &Context<'_>, git: &GitGenerator, mut params: Params, path: &str, file: Option<&str>) -> Params {
    let base = base_name(path);
    let segments: Vec<&str> = path.split('/').collect();
    let prefix = git.path_param_prefix.as_str();
    if context.templates.is_go() {
        let mut described = json!({
            "path": path,
            "basename": base,
            "basenameNormalized": normalize(base),
            "segments": segments,
        });
        if let (Some(file), Some(described)) = (file, described.as_object_mut()) {
            described.insert("filename".into(), file.into());
            described.insert("filenameNormalized".into(), normalize(file).into());
        }
        match prefix {
            "" => params.insert("path".into(), described),
            prefix => params.insert(prefix.into(), json!({ "path": described })),
        };
        return params;
    }
    let name = if prefix.is_empty() { "path".to_owned() } else { format!("{prefix}.path") };
    params.insert(format!("{name}.basename"), base.into());
    params.insert(format!("{name}.basenameNormalized"), normalize(base).into());
    if let Some(file) = file {
        params.insert(format!("{name}.filename"), file.into());
        params.insert(format!("{name}.filenameNormalized"), normalize(file).into());
    }
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| !segment.is_empty()) {
        params.insert(format!("{name}[{index}]"), (*segment).into());
    }
    params.insert(name, path.into());
    params
}
