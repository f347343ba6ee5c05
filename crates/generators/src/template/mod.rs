//! The two template languages of ApplicationSets: Go templates with sprig's functions, and `{{name}}`.
//!
//! Functions that give another result at each call are left out on purpose (an ApplicationSet would change its Applications at
//! every look), and so are those that make keys and passwords; see [`LEFT_OUT`]. A variable that holds a dictionary can be changed
//! by `set`, `unset` and `merge`; a parameter cannot.

mod functions;
mod legacy;
mod rewrite;
mod value;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use gotmpl::MissingKey;
use serde_json::Value;

pub use functions::LEFT_OUT;
pub(crate) use functions::{base_name, dir_name, parse_yaml};

use crate::{
    TemplateError,
    params::{Params, flatten},
};

/// How large the text of one template may become.
const MAX_OUTPUT: usize = 1 << 20;
/// How often all loops of one template may go round.
const MAX_ROUNDS: u64 = 100_000;

/// Fills in one template. With `go`, `options` are those of Go templates, such as `missingkey=error`; without, `{{name}}` is
/// replaced and unknown names stay as they are.
///
/// ```
/// let params = serde_json::json!({ "env": "dev", "path": { "basename": "gateway" } });
/// let params = params.as_object().unwrap();
/// let name = generators::template("{{ .path.basename | upper }}-{{ .env }}", params, true, &[])?;
/// assert_eq!(name, "GATEWAY-dev");
/// assert_eq!(generators::template("{{path.basename}}-{{other}}", params, false, &[])?, "gateway-{{other}}");
/// # Ok::<(), generators::TemplateError>(())
/// ```
pub fn template(text: &str, params: &Params, go: bool, options: &[String]) -> Result<String, TemplateError> {
    let templates = Templates::new(go, options)?;
    templates.fill(text, &templates.scope(params))
}

/// The templates of one ApplicationSet: each is parsed once, however many Applications it makes.
pub(crate) struct Templates {
    go: bool,
    missing_key: MissingKey,
    parsed: Mutex<HashMap<String, Arc<gotmpl::Template>>>,
}

/// Parameters in the form that the template language needs.
pub(crate) enum Scope {
    Go(gotmpl::Value),
    Legacy(BTreeMap<String, String>),
}

impl Templates {
    pub(crate) fn new(go: bool, options: &[String]) -> Result<Self, TemplateError> {
        let mut missing_key = MissingKey::default();
        for option in options {
            let value = option.strip_prefix("missingkey=").and_then(|value| value.parse().ok());
            missing_key = value.ok_or_else(|| TemplateError::new(option, "is not an option of Go templates"))?;
        }
        Ok(Self { go, missing_key, parsed: Mutex::default() })
    }

    pub(crate) fn is_go(&self) -> bool {
        self.go
    }

    pub(crate) fn scope(&self, params: &Params) -> Scope {
        if self.go { Scope::Go(value::from_params(params)) } else { Scope::Legacy(flatten(params)) }
    }

    /// Fills in one text.
    pub(crate) fn fill(&self, text: &str, scope: &Scope) -> Result<String, TemplateError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        match scope {
            Scope::Legacy(values) => Ok(legacy::replace(text, values)),
            Scope::Go(values) => {
                let mut out = Bounded::default();
                let result = self.parsed(text)?.execute_fmt(&mut out, values);
                match result {
                    Ok(()) => Ok(out.text),
                    Err(_) if out.full => {
                        Err(TemplateError::new(text, format!("the result is longer than {MAX_OUTPUT} bytes")))
                    }
                    Err(error) => Err(TemplateError::new(text, explain(&error, values))),
                }
            }
        }
    }

    /// Fills in every string of a value, the names of members included. The error comes with the path of the string.
    pub(crate) fn fill_all(&self, value: &Value, scope: &Scope, field: &str) -> Result<Value, (String, TemplateError)> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text, scope).map_err(|error| (field.to_owned(), error))?),
            Value::Array(items) => {
                let filled =
                    items.iter().enumerate().map(|(index, it)| self.fill_all(it, scope, &format!("{field}[{index}]")));
                Value::Array(filled.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let filled = fields.iter().map(|(name, value)| {
                    let field = format!("{field}.{name}");
                    let name = self.fill(name, scope).map_err(|error| (field.clone(), error))?;
                    Ok((name, self.fill_all(value, scope, &field)?))
                });
                Value::Object(filled.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn parsed(&self, text: &str) -> Result<Arc<gotmpl::Template>, TemplateError> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = parsed.get(text) {
            return Ok(template.clone());
        }
        let template =
            Arc::new(rewrite::parse(text, self.missing_key).map_err(|reason| TemplateError::new(text, reason))?);
        parsed.insert(text.to_owned(), template.clone());
        Ok(template)
    }
}

/// What went wrong, with what a person needs to find out why.
fn explain(error: &gotmpl::TemplateError, values: &gotmpl::Value) -> String {
    match error {
        gotmpl::TemplateError::MissingKey { key } => {
            let known: Vec<&str> = match values {
                gotmpl::Value::Map(values) => values.keys().map(AsRef::as_ref).collect(),
                _ => Vec::new(),
            };
            format!("there is no parameter {key:?}; the parameters are {}", known.join(", "))
        }
        gotmpl::TemplateError::Exec(message) => message.clone(),
        other => other.to_string(),
    }
}

#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.text.len() + text.len() > MAX_OUTPUT {
            self.full = true;
            return Err(std::fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}
