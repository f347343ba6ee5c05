//! YAML as Kubernetes reads it.
//!
//! `kubectl`, the API server, Argo CD, Helm and Kustomize share one way from YAML to JSON (`sigs.k8s.io/yaml`), and it is that of
//! YAML 1.1: `yes` is true, `0755` is 493, the key `y` becomes `true` and `0x2` becomes `2`, of two equal keys the last one
//! counts, `3.0` is the integer 3. Who reads it otherwise compares objects with something that the API server never stored.
//!
//! This crate does no I/O and knows no objects. What a text may become is bounded by a [`Budget`], so that a bomb of aliases costs
//! little to refuse.
//!
//! ```
//! use yaml::{Budget, Duplicates};
//!
//! let text = "on: yes\n---\nmode: 0755\n";
//! let mut budget = Budget::default();
//! let read: Result<Vec<_>, _> =
//!     yaml::documents(text).map(|document| yaml::parse(&document, Duplicates::Refuse, &mut budget)).collect();
//! assert_eq!(read.unwrap(), [serde_json::json!({"true": true}), serde_json::json!({"mode": 493})]);
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod budget;
mod compose;
mod documents;
mod resolve;
mod write;

use std::fmt;

use serde_json::{Number, Value};

pub use budget::{Budget, weight};
pub use documents::{Document, Documents, documents};
pub use write::to_flow;

/// What a repeated key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// An error: somebody wrote it by hand and means one of the two.
    Refuse,
    /// The later one counts, as it does for those who apply the file with other tools.
    LastWins,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is no YAML, or none that JSON can hold.
    Syntax,
    /// A key is there twice.
    DuplicateKey,
    /// It would become larger than its [`Budget`] allows.
    Budget,
    /// The budget's watch said to stop.
    Stopped,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which document of the text, from 1.
    pub document: usize,
    /// Which line of the whole text, from 1; 0 where it is not known.
    pub line: usize,
    /// What is wrong, in words.
    pub message: String,
    /// What kind of fault it is.
    pub cause: Cause,
}

impl Fault {
    /// A fault of syntax or meaning.
    pub fn new(document: usize, line: usize, message: impl Into<String>) -> Self {
        Self { document, line, message: message.into(), cause: Cause::Syntax }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}", self.document)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// Parses one document.
///
/// # Errors
/// If it is no YAML, or more than the budget allows.
pub fn parse(document: &Document<'_>, duplicates: Duplicates, budget: &mut Budget<'_>) -> Result<Value, Fault> {
    compose::compose(document, duplicates, budget)
}

/// Parses a text of one document; an empty one is null.
///
/// # Errors
/// If it is no YAML, holds several documents, or is more than the budget allows.
pub fn parse_single(text: &str, duplicates: Duplicates, budget: &mut Budget<'_>) -> Result<Value, Fault> {
    let mut documents = documents(text);
    let Some(first) = documents.next() else { return Ok(Value::Null) };
    if let Some(second) = documents.next() {
        return Err(Fault::new(second.number, second.first_line, "one document is expected here"));
    }
    parse(&first, duplicates, budget)
}

/// Turns whole floating-point numbers into integers, as Go's JSON encoder prints them.
pub fn normalize(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(map) => map.values_mut().for_each(normalize),
        _ => {}
    }
}

fn whole(float: f64) -> Option<Number> {
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then(|| Number::from(float as i64))
}

#[cfg(test)]
mod tests;
