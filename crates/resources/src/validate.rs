//! Reading manifests and saying what is wrong with them, by the name of the field.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Everything that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Default, thiserror::Error)]
pub struct Invalid {
    /// The problems, in the order of the manifest.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field: `spec.sources[1].helm.valueFiles[0]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl Invalid {
    /// One problem.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { field: field.into(), message: message.into() }] }
    }
}

/// Problems as they are found.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }

    pub(crate) fn done(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid { problems: self.0 }) }
    }
}

pub(crate) fn parse<T: DeserializeOwned>(mut manifest: Value, kind: &str) -> Result<T, Invalid> {
    let Some(fields) = manifest.as_object() else {
        return Err(Invalid::new("", format!("this is no manifest of an {kind} but {}", shape(&manifest))));
    };
    let found = fields.get("kind").and_then(Value::as_str).unwrap_or(kind);
    if found != kind {
        return Err(Invalid::new("kind", format!("expected {kind}, found {found}")));
    }
    let version = fields.get("apiVersion").and_then(Value::as_str).unwrap_or(crate::API_VERSION);
    if version != crate::API_VERSION {
        return Err(Invalid::new("apiVersion", format!("expected {}, found {version}", crate::API_VERSION)));
    }
    for needed in ["metadata", "spec"] {
        if !fields.get(needed).is_some_and(Value::is_object) {
            return Err(Invalid::new(needed, "is missing"));
        }
    }
    drop_nulls(&mut manifest);
    match read(&manifest) {
        Err(invalid) if invalid.problems.iter().all(|problem| problem.field.starts_with("status")) => {
            if let Some(fields) = manifest.as_object_mut() {
                fields.remove("status");
            }
            read(&manifest)
        }
        other => other,
    }
}

fn read<T: DeserializeOwned>(manifest: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(manifest).map_err(|error| {
        let field = error.path().to_string();
        Invalid::new(if field == "." { "" } else { &field }, error.inner().to_string())
    })
}

/// `field: null` means the field is missing, as the API server treats it, except inside values that are not ours to interpret.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields {
                if !matches!(name.as_str(), "valuesObject" | "elements") {
                    drop_nulls(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
