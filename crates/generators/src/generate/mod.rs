//! The generators, a file for each. To add one is to add a file and a line in [`parameters`].

mod clusters;
mod git;
mod list;
mod matrix;
mod merge;
mod pull_request;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex as Plain, PoisonError},
};

use futures::{FutureExt, future::BoxFuture, lock::Mutex};
use resources::{Generator, Template};
use serde_json::{Map, Value};

use crate::{
    ClusterEntry, ExpandError, ForkPolicy, Lookup,
    params::{Params, combine, flatten},
    template::Templates,
};

/// The folders of repositories, by address and revision.
type Directories = HashMap<(String, String), Arc<Vec<String>>>;

/// What every generator may use.
pub(crate) struct Context<'a> {
    pub(crate) lookup: &'a dyn Lookup,
    pub(crate) templates: &'a Templates,
    pub(crate) forks: ForkPolicy,
    /// Patterns and selectors that nothing fits, in words.
    nothing: Plain<BTreeSet<String>>,
    /// A matrix asks the same question for each of its rows; the answers are kept for one expansion.
    directories: Mutex<Directories>,
    clusters: Mutex<Option<Arc<Vec<ClusterEntry>>>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(lookup: &'a dyn Lookup, templates: &'a Templates, forks: ForkPolicy) -> Self {
        let (directories, clusters, nothing) = (Mutex::default(), Mutex::default(), Plain::default());
        Self { lookup, templates, forks, nothing, directories, clusters }
    }

    /// Something that was looked for is not there: `field` and what it is.
    pub(crate) fn found_nothing(&self, field: &str, what: &str) {
        let mut nothing = self.nothing.lock().unwrap_or_else(PoisonError::into_inner);
        nothing.insert(format!("{field}: {what}"));
    }

    pub(crate) fn all_that_found_nothing(&self) -> Vec<String> {
        self.nothing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A generator and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// `spec.generators[0].matrix.generators[1]`.
    pub(crate) field: &'a str,
    /// Parameters of generators before this one in a matrix, which this one may use.
    pub(crate) given: &'a Params,
}

/// The sets of parameters that a generator gives, its selector applied.
pub(crate) fn generate<'a>(
    context: &'a Context<'a>,
    generator: &'a Generator,
    place: Place<'a>,
) -> BoxFuture<'a, Result<Vec<Params>, ExpandError>> {
    async move {
        let filled = filled(context, generator, place)?;
        let mut sets = parameters(context, &filled, place).await?;
        if let Some(selector) = &filled.selector {
            let before = sets.len();
            sets.retain(|params| {
                let flat = flatten(params);
                selector.matches(|name| flat.get(name).map(String::as_str))
            });
            if sets.is_empty() && before > 0 && generator.pull_request.is_none() {
                context.found_nothing(&format!("{}.selector", place.field), "fits none of the results");
            }
        }
        Ok(sets)
    }
    .boxed()
}

async fn parameters(
    context: &Context<'_>,
    generator: &Generator,
    place: Place<'_>,
) -> Result<Vec<Params>, ExpandError> {
    let inside = |name: &str| format!("{}.{name}", place.field);
    match generator {
        Generator { list: Some(list), .. } => list::generate(context, list, &inside("list")),
        Generator { clusters: Some(clusters), .. } => {
            clusters::generate(context, clusters, place, &inside("clusters")).await
        }
        Generator { git: Some(git), .. } => git::generate(context, git, place, &inside("git")).await,
        Generator { pull_request: Some(pulls), .. } => {
            pull_request::generate(context, pulls, place, &inside("pullRequest")).await
        }
        Generator { matrix: Some(matrix), .. } => matrix::generate(context, matrix, place, &inside("matrix")).await,
        Generator { merge: Some(merge), .. } => merge::generate(context, merge, place, &inside("merge")).await,
        other => {
            let what = other
                .kinds()
                .first()
                .map_or("a generator without a kind".into(), |kind| format!("the generator {kind}"));
            Err(ExpandError::Unsupported { field: place.field.into(), what })
        }
    }
}

/// The template with which a generator replaces parts of the set's.
pub(crate) fn own_template(generator: &Generator) -> Option<&Template> {
    None.or(generator.list.as_ref().and_then(|it| it.template.as_ref()))
        .or(generator.clusters.as_ref().and_then(|it| it.template.as_ref()))
        .or(generator.git.as_ref().and_then(|it| it.template.as_ref()))
        .or(generator.pull_request.as_ref().and_then(|it| it.template.as_ref()))
        .or(generator.matrix.as_ref().and_then(|it| it.template.as_ref()))
        .or(generator.merge.as_ref().and_then(|it| it.template.as_ref()))
}

/// The generator with the parameters of earlier ones filled in. What is filled in later, when more parameters are known, stays:
/// templates, `values`, and generators inside this one.
fn filled(context: &Context<'_>, generator: &Generator, place: Place<'_>) -> Result<Generator, ExpandError> {
    if place.given.is_empty() {
        return Ok(generator.clone());
    }
    let wrong = |message: String| ExpandError::parameters(place.field, message);
    let Ok(Value::Object(mut fields)) = serde_json::to_value(generator) else {
        return Err(wrong("cannot be written as JSON".into()));
    };
    let scope = context.templates.scope(place.given);
    let fill = |value: &Value, field: String| {
        context
            .templates
            .fill_all(value, &scope, &field)
            .map_err(|(field, source)| ExpandError::Template { field, source })
    };
    for (kind, settings) in &mut fields {
        let field = format!("{}.{kind}", place.field);
        match settings {
            Value::Object(settings) if kind != "selector" => {
                for (name, value) in settings.iter_mut() {
                    if !matches!(name.as_str(), "template" | "values" | "generators") {
                        *value = fill(value, format!("{field}.{name}"))?;
                    }
                }
            }
            settings => *settings = fill(settings, field)?,
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| wrong(error.to_string()))
}

/// Adds a generator's `values`, which may use its own parameters and those of earlier generators.
pub(crate) fn add_values<'v>(
    context: &Context<'_>,
    values: impl IntoIterator<Item = (&'v String, &'v String)>,
    params: &mut Params,
    place: Place<'_>,
    field: &str,
) -> Result<(), ExpandError> {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let scope = context.templates.scope(&combine(params, place.given));
    let mut filled = Map::new();
    for (name, template) in values {
        let value = context.templates.fill(template, &scope);
        let value =
            value.map_err(|source| ExpandError::Template { field: format!("{field}.values.{name}"), source })?;
        filled.insert(name.clone(), value.into());
    }
    params.insert("values".into(), Value::Object(filled));
    Ok(())
}
