//! `git`: the folders of a repository, or the files with parameters in it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use resources::GitGenerator;
use serde_json::{Map, Value, json};

use super::{Context, Place, add_values};
use crate::{
    ExpandError, file_globs,
    glob::directory_matches,
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
    for path in known.iter().map(|path| path.trim_matches('/')).filter(|path| !is_hidden(path)) {
        let (mut included, mut excluded) = (false, false);
        for (index, wanted) in git.directories.iter().enumerate() {
            let pattern = wanted.path.trim_start_matches("./").trim_end_matches('/');
            let matched = directory_matches(pattern, path);
            let wrong = |message| ExpandError::parameters(&format!("{field}.directories[{index}].path"), message);
            if matched.map_err(wrong)? {
                included |= !wanted.exclude;
                excluded |= wanted.exclude;
            }
        }
        if included && !excluded {
            chosen.push(path.to_owned());
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
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
