//! The recorded files: one record in a line, so that a later recording can be read as a diff.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use resources::Object;
use serde::Serialize;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// What it shows.
    pub name: String,
    /// The manifest, placed in its namespace.
    pub desired: Object,
    /// As the API server has it.
    pub live: Object,
    /// The answer to a dry-run apply. Absent: it is the live object, to the letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Object>,
    /// Where a difference must be reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// There is no difference, although something changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub same: bool,
    /// The structural comparison may be in doubt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub doubt: bool,
}

/// Leaves out what only the recording's cluster could use: it is gone, but a token looks like one that works.
pub fn without_credentials(mut object: Object) -> Object {
    if object.at("/type").is_some_and(|r#type| r#type == "kubernetes.io/service-account-token") {
        for field in ["/data/token", "/data/ca.crt"] {
            if let Some(value) = object.0.pointer_mut(field) {
                *value = "bGVmdCBvdXQ=".into();
            }
        }
    }
    object
}

/// Writes a JSON array.
pub fn write(file: &Path, records: &[Record]) -> Result<()> {
    let mut text = String::from("[\n");
    for (index, record) in records.iter().enumerate() {
        let comma = if index + 1 < records.len() { "," } else { "" };
        writeln!(text, "{}{comma}", serde_json::to_string(record)?)?;
    }
    text.push_str("]\n");
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
