//! From an ApplicationSet to its Applications.

use std::{collections::HashMap, time::Duration};

use resources::{API_VERSION, Application, ApplicationSet, Generator, Template, annotations::RESOURCES_FINALIZER};
use serde_json::{Map, Value, json};

use crate::{
    ExpandError, ForkPolicy, Lookup, PullRequestQuery,
    forks::check_pinned,
    generate::{Context, Place, generate, own_template},
    params::{Params, overlay, summary},
    patch,
    template::{Templates, parse_yaml},
};

/// What a set gives.
#[derive(Debug, Default)]
pub struct Expansion {
    /// The Applications, in the order of the generators.
    pub applications: Vec<Application>,
    /// Sets of parameters of which no Application can be made, each with the reason. They keep no other from being made.
    pub refused: Vec<Refused>,
    /// Patterns and selectors that nothing fits, in words: a generator that finds nothing is seldom what somebody means.
    pub found_nothing: Vec<String>,
}

/// A set of parameters of which no Application can be made.
#[derive(Debug)]
pub struct Refused {
    /// The name that it would have, if that is a possible one.
    pub name: Option<String>,
    /// It would have a name, and that is none.
    pub impossible_name: bool,
    /// Why.
    pub error: ExpandError,
}

/// The Applications of a set, in the order of its generators. They are in the set's namespace and carry the finalizer that
/// deletes their objects with them, unless the template sets finalizers or the set preserves resources.
///
/// An error says that the Applications are not known. The list is empty only if the generators truly gave nothing.
pub async fn expand(set: &ApplicationSet, lookup: &dyn Lookup) -> Result<Expansion, ExpandError> {
    set.validate().map_err(ExpandError::InvalidSet)?;
    let templates = Templates::new(set.spec.go_template, &set.spec.go_template_options)
        .map_err(|source| ExpandError::Template { field: "spec.goTemplateOptions".into(), source })?;
    let forks = ForkPolicy::of(set)?;
    let context = Context::new(lookup, &templates, forks.clone());
    let mut expansion = Expansion::default();
    let mut origins: HashMap<String, String> = HashMap::new();
    for (index, generator) in set.spec.generators.iter().enumerate() {
        let field = format!("spec.generators[{index}]");
        let given = Params::new();
        let sets = generate(&context, generator, Place { field: &field, given: &given }).await?;
        let template = template_of(set, generator);
        for params in sets {
            let origin = format!("{field} ({})", summary(&params));
            let made = make(set, &templates, &template, &params, &origin).and_then(|application| {
                check_pinned(&forks, &params, &application)
                    .map_err(|reason| ExpandError::parameters(&format!("spec.template, for {origin}"), reason))?;
                Ok(application)
            });
            let made = made.and_then(|application| match origins.get(application.name()) {
                Some(first) => Err(ExpandError::Duplicate {
                    name: application.name().to_owned(),
                    first: first.clone(),
                    second: origin.clone(),
                }),
                None => Ok(application),
            });
            match made {
                Ok(application) => {
                    origins.insert(application.name().to_owned(), origin);
                    expansion.applications.push(application);
                }
                Err(error) => expansion.refused.push(refused(set, &templates, &template, &params, error)),
            }
        }
    }
    expansion.found_nothing = context.all_that_found_nothing();
    Ok(expansion)
}

/// The name tells which Application it would be.
fn refused(
    set: &ApplicationSet,
    templates: &Templates,
    template: &Map<String, Value>,
    params: &Params,
    error: ExpandError,
) -> Refused {
    let pattern = template.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default();
    let name = match &error {
        ExpandError::InvalidApplication { name, .. } | ExpandError::Duplicate { name, .. } => Some(name.clone()),
        // A patch may give another name.
        _ if !set.spec.template_patch.is_empty() => None,
        _ => templates.fill(pattern, &templates.scope(params)).ok(),
    };
    let possible = name.clone().filter(|name| resources::is_dns_subdomain(name));
    Refused { impossible_name: name.is_some() && possible.is_none(), name: possible, error }
}

/// The set's template with what the generator replaces in it.
fn template_of(set: &ApplicationSet, generator: &Generator) -> Map<String, Value> {
    let object = |template: &Template| match serde_json::to_value(template) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut template = object(&set.spec.template);
    if let Some(own) = own_template(generator) {
        overlay(&mut template, &without_empty(&object(own)));
    }
    template
}

/// What a generator's template leaves empty replaces nothing.
fn without_empty(fields: &Map<String, Value>) -> Map<String, Value> {
    let kept = fields.iter().filter_map(|(name, value)| {
        let value = match value {
            Value::Object(inner) => Value::Object(without_empty(inner)),
            other => other.clone(),
        };
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        (!empty).then(|| (name.clone(), value))
    });
    kept.collect()
}

fn make(
    set: &ApplicationSet,
    templates: &Templates,
    template: &Map<String, Value>,
    params: &Params,
    origin: &str,
) -> Result<Application, ExpandError> {
    let scope = templates.scope(params);
    let filled = templates
        .fill_all(&Value::Object(template.clone()), &scope, "spec.template")
        .map_err(|(field, source)| ExpandError::Template { field: format!("{field}, for {origin}"), source })?;
    let mut object = json!({ "apiVersion": API_VERSION, "kind": Application::KIND });
    if let (Some(object), Value::Object(filled)) = (object.as_object_mut(), filled) {
        object.extend(filled);
        if !set.spec.template_patch.is_empty() {
            let text = templates.fill(&set.spec.template_patch, &scope);
            let text = text.map_err(|source| ExpandError::Template {
                field: format!("spec.templatePatch, for {origin}"),
                source,
            })?;
            apply_patch(object, &text, origin)?;
        }
        finish(set, object);
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let invalid = |source| ExpandError::InvalidApplication { name: name.clone(), generator: origin.into(), source };
    let application = Application::parse(object).map_err(invalid)?;
    if name.is_empty() {
        return Err(invalid(resources::Invalid::new("metadata.name", "is empty")));
    }
    if !resources::is_dns_subdomain(&name) {
        let rule = "is no name for Kubernetes: lower-case letters, digits, '-' and '.', at most 253, with a letter or digit at \
                    both ends; branch_slug and normalize make such names";
        return Err(invalid(resources::Invalid::new("metadata.name", rule)));
    }
    Ok(application)
}

/// Merges the patch. The project stays: whoever may change a parameter must not get other permissions by it.
fn apply_patch(object: &mut Map<String, Value>, text: &str, origin: &str) -> Result<(), ExpandError> {
    let field = format!("spec.templatePatch, for {origin}");
    match parse_yaml(text).map_err(|reason| ExpandError::parameters(&field, format!("is not YAML: {reason}")))? {
        Value::Null => Ok(()),
        Value::Object(mut fields) => {
            if let Some(Value::Object(spec)) = fields.get_mut("spec") {
                spec.remove("project");
            }
            for fixed in ["apiVersion", "kind", "status", "operation"] {
                fields.remove(fixed);
            }
            patch::merge(object, &fields);
            Ok(())
        }
        _ => Err(ExpandError::parameters(&field, "is not an object")),
    }
}

fn finish(set: &ApplicationSet, object: &mut Map<String, Value>) {
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    metadata.insert("namespace".into(), set.namespace().into());
    let has_finalizers = metadata.get("finalizers").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    if !has_finalizers && !set.spec.preserves_resources_on_deletion() {
        metadata.insert("finalizers".into(), json!([RESOURCES_FINALIZER]));
    }
}

/// What an ApplicationSet depends on, so that an event can be told to concern it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Repositories with their revisions (empty: the default branch). Inside a matrix either can be a template.
    pub repositories: Vec<(String, String)>,
    /// Pull requests. Inside a matrix owner and repository can be templates.
    pub pull_requests: Vec<PullRequestQuery>,
    /// It asks for the clusters.
    pub clusters: bool,
    /// The shortest time after which a generator wants to look again.
    pub requeue_after: Option<Duration>,
}

impl Inputs {
    /// What a set depends on. Generators that cannot be read are left out; expanding the set names them.
    pub fn of(set: &ApplicationSet) -> Self {
        let mut inputs = Self::default();
        inputs.add(&set.spec.generators);
        inputs
    }

    fn add(&mut self, generators: &[Generator]) {
        for generator in generators {
            if let Some(git) = &generator.git {
                self.repositories.push((git.repo_url.clone(), git.revision.clone()));
                self.look_again(git.requeue_after_seconds);
            }
            if let Some(pulls) = &generator.pull_request {
                self.pull_requests.extend(PullRequestQuery::new(pulls).ok());
                self.look_again(pulls.requeue_after_seconds);
            }
            self.clusters |= generator.clusters.is_some();
            self.add(generator.matrix.as_ref().map_or(&[], |it| &it.generators));
            self.add(generator.merge.as_ref().map_or(&[], |it| &it.generators));
        }
    }

    fn look_again(&mut self, seconds: Option<i64>) {
        let after = seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        self.requeue_after = match (self.requeue_after, after) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }
}
