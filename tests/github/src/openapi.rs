//! GitHub's own description of its REST calls and webhooks, and what was not as it says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::routes;
use crate::schema::{Schemas, Unknown, reference};

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenapiError {
    /// The file is not there.
    #[error(
        "GitHub's OpenAPI description {path} cannot be read ({source}); github_double::assets::openapi() fetches it"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no OpenAPI description.
    #[error("{path} is not an OpenAPI description ({source}); delete it, it is fetched again")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it went wrong.
        source: serde_json::Error,
    },
    /// It describes none of a call.
    #[error("{path} does not describe {call}; use the version that github_double::assets names")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Method and path.
        call: String,
    },
}

/// Which side did something that the description does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// The caller, in its query or body.
    Request,
    /// The double, in its answer.
    Response,
    /// The double, in a webhook's payload.
    Webhook,
    /// The caller: there is no such call, or the double does not know it.
    UnknownCall,
}

/// Something that was not as GitHub describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Who did it.
    pub kind: ViolationKind,
    /// `POST /repos/{owner}/{repo}/statuses/{sha}`, or the event and its action.
    pub subject: String,
    /// What, and where in the document.
    pub message: String,
}

impl Violation {
    pub(crate) fn new(kind: ViolationKind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, subject: subject.into(), message: message.into() }
    }

    pub(crate) fn webhook(event: &str, action: Option<&str>, message: String) -> Self {
        Self::new(ViolationKind::Webhook, format!("{event} {}", action.unwrap_or_default()).trim(), message)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}: {}", self.kind, self.subject, self.message)
    }
}

/// The part of GitHub's OpenAPI description that the double needs.
#[derive(Debug)]
pub struct Openapi {
    schemas: Schemas,
    operations: HashMap<(&'static str, &'static str), Operation>,
}

#[derive(Debug)]
struct Operation {
    /// Name and schema of each query parameter.
    query: HashMap<String, Value>,
    body: Option<Value>,
    body_required: bool,
    /// By status code; `None` has no body.
    responses: BTreeMap<u16, Option<Value>>,
}

/// The document with everything left unparsed that may not be needed: it is 13 MB, of which the double needs a hundredth.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    paths: HashMap<String, HashMap<String, &'a RawValue>>,
    #[serde(borrow)]
    components: Components<'a>,
}

#[derive(Deserialize)]
struct Components<'a> {
    #[serde(borrow)]
    schemas: HashMap<String, &'a RawValue>,
    #[serde(borrow)]
    parameters: HashMap<String, &'a RawValue>,
    #[serde(borrow)]
    responses: HashMap<String, &'a RawValue>,
}

const EVENTS: &[&str] = &[
    "webhook-ping",
    "webhook-push",
    "webhook-pull-request-opened",
    "webhook-pull-request-synchronize",
    "webhook-pull-request-closed",
    "webhook-pull-request-reopened",
    "webhook-pull-request-edited",
    "webhook-pull-request-labeled",
    "webhook-pull-request-unlabeled",
    "webhook-pull-request-ready-for-review",
    "webhook-pull-request-converted-to-draft",
];

impl Openapi {
    /// Reads a description, once per process and file.
    pub fn load(path: &Path) -> Result<Arc<Self>, OpenapiError> {
        static LOADED: Mutex<Option<HashMap<PathBuf, Arc<Openapi>>>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.get_or_insert_default();
        if let Some(openapi) = loaded.get(path) {
            return Ok(openapi.clone());
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| OpenapiError::Read { path: path.to_owned(), source })?;
        let openapi = Arc::new(Self::parse(path, &text)?);
        loaded.insert(path.to_owned(), openapi.clone());
        Ok(openapi)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, OpenapiError> {
        let broken = |source| OpenapiError::Parse { path: path.to_owned(), source };
        let document: Document<'_> = serde_json::from_str(text).map_err(broken)?;
        let mut operations = HashMap::new();
        let mut needed: Vec<String> = EVENTS.iter().map(|e| (*e).to_owned()).collect();
        needed.extend(["basic-error".to_owned(), "validation-error".to_owned()]);
        for (method, template) in routes::known() {
            let raw = document.paths.get(template).and_then(|p| p.get(method.to_lowercase().as_str()));
            let raw = raw
                .ok_or_else(|| OpenapiError::Missing { path: path.to_owned(), call: format!("{method} {template}") })?;
            let operation = Operation::parse(raw, &document.components).map_err(broken)?;
            operation.schemas().for_each(|schema| references(schema, &mut needed));
            operations.insert((method, template), operation);
        }
        let mut schemas = Schemas::default();
        let mut seen = HashSet::new();
        while let Some(name) = needed.pop() {
            if seen.insert(name.clone())
                && let Some(raw) = document.components.schemas.get(&name)
            {
                let schema: Value = serde_json::from_str(raw.get()).map_err(broken)?;
                references(&schema, &mut needed);
                schemas.0.insert(name, schema);
            }
        }
        Ok(Self { schemas, operations })
    }

    /// What a request has that the description does not allow.
    pub fn request(&self, method: &str, template: &str, query: &HashMap<String, String>, body: &Value) -> Vec<String> {
        let Some(operation) = self.operation(method, template) else {
            return vec!["not described".to_owned()];
        };
        let mut problems = Vec::new();
        for (name, text) in query {
            match operation.query.get(name) {
                Some(schema) => {
                    let value = typed(schema, text);
                    let found = self.schemas.check(schema, &value, Unknown::Allowed);
                    problems.extend(found.into_iter().map(|p| format!("?{name}={text}: {p}")));
                }
                None => problems.push(format!("?{name}: GitHub knows no such parameter")),
            }
        }
        match &operation.body {
            Some(_) if body.is_null() && !operation.body_required => {}
            Some(schema) => problems.extend(self.schemas.check(schema, body, Unknown::Reported)),
            None if body.is_null() || *body == serde_json::json!({}) => {}
            None => problems.push("a body where none is expected".to_owned()),
        }
        problems
    }

    /// What an answer has that the description does not allow. `None` is an answer without a JSON body.
    pub fn response(&self, method: &str, template: &str, status: u16, body: Option<&Value>) -> Vec<String> {
        let Some(operation) = self.operation(method, template) else {
            return vec!["not described".to_owned()];
        };
        if (400..500).contains(&status) {
            // Any call may be refused, though GitHub lists refusals for few, and real ones have more fields than described.
            let list = status == 422 && body.is_some_and(|b| b.get("errors").is_some());
            let name = if list { "validation-error" } else { "basic-error" };
            let schema = serde_json::json!({"$ref": format!("#/components/schemas/{name}")});
            return match body {
                Some(body) => self.schemas.check(&schema, body, Unknown::Allowed),
                None => vec![format!("{status}: the body is missing")],
            };
        }
        match (operation.responses.get(&status), body) {
            (None, _) => vec![format!("{status}: GitHub never answers so")],
            (Some(None), None) => Vec::new(),
            (Some(None), Some(_)) => vec![format!("{status}: a body where none is expected")],
            (Some(Some(_)), None) => vec![format!("{status}: the body is missing")],
            (Some(Some(schema)), Some(body)) => self.schemas.check(schema, body, Unknown::Reported),
        }
    }

    /// What a webhook's payload has that the description does not allow.
    pub fn webhook(&self, event: &str, payload: &Value) -> Vec<String> {
        let name = match payload["action"].as_str() {
            Some(action) => format!("webhook-{event}-{action}").replace('_', "-"),
            None => format!("webhook-{event}").replace('_', "-"),
        };
        match self.schemas.0.get(&name) {
            Some(schema) => self.schemas.check(schema, payload, Unknown::Reported),
            None => vec![format!("{name} is not described")],
        }
    }

    fn operation(&self, method: &str, template: &str) -> Option<&Operation> {
        self.operations.iter().find(|((m, t), _)| *m == method && *t == template).map(|(_, operation)| operation)
    }
}

impl Operation {
    fn parse(raw: &RawValue, components: &Components<'_>) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::from_str(raw.get())?;
        let mut query = HashMap::new();
        for parameter in value["parameters"].as_array().into_iter().flatten() {
            let parameter = resolve(parameter, "parameters", &components.parameters)?;
            if parameter["in"] == "query"
                && let Some(name) = parameter["name"].as_str()
            {
                query.insert(name.to_owned(), parameter["schema"].clone());
            }
        }
        let schema = |value: &Value| value["content"]["application/json"].get("schema").cloned();
        let mut responses = BTreeMap::new();
        for (code, response) in value["responses"].as_object().into_iter().flatten() {
            let response = resolve(response, "responses", &components.responses)?;
            if let Ok(code) = code.parse() {
                responses.insert(code, schema(&response));
            }
        }
        let body = &value["requestBody"];
        Ok(Self { query, body: schema(body), body_required: body["required"] == true, responses })
    }

    fn schemas(&self) -> impl Iterator<Item = &Value> {
        self.query.values().chain(&self.body).chain(self.responses.values().flatten())
    }
}

/// The parameter or response itself, or the one it refers to.
fn resolve(value: &Value, kind: &str, all: &HashMap<String, &RawValue>) -> Result<Value, serde_json::Error> {
    let name = value.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(&format!("#/components/{kind}/")));
    match name.and_then(|n| all.get(n)) {
        Some(raw) => serde_json::from_str(raw.get()),
        None => Ok(value.clone()),
    }
}

fn references(schema: &Value, needed: &mut Vec<String>) {
    needed.extend(reference(schema).map(str::to_owned));
    match schema {
        Value::Object(fields) => fields.values().for_each(|v| references(v, needed)),
        Value::Array(items) => items.iter().for_each(|v| references(v, needed)),
        _ => {}
    }
}

/// A query parameter as the value its schema means.
fn typed(schema: &Value, text: &str) -> Value {
    match schema["type"].as_str() {
        Some("integer" | "number" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}
