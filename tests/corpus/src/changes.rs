//! `changes.yaml`: what somebody changes, in the cluster or in Git, and where it must be seen.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// One change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What it shows, in a few words.
    pub name: String,
    /// The object, as `apps/Deployment shop/web`.
    pub object: String,
    /// A patch (merge patch, or JSON patch where it is a list) of the live object, by `kubectl-edit`.
    #[serde(default)]
    pub live: Option<Value>,
    /// The same by server-side apply: the fields that `kubectl-edit` takes for itself.
    #[serde(default)]
    pub apply: Option<Value>,
    /// A merge patch of the live object's status.
    #[serde(default)]
    pub status: Option<Value>,
    /// A patch of the manifest: a new commit that is not applied yet.
    #[serde(default)]
    pub desired: Option<Value>,
    /// Where it must be reported: the beginning of the path of a field. Absent for what is no difference.
    #[serde(default)]
    pub path: Option<String>,
    /// Only the API server can tell, and the structural comparison may be in doubt.
    #[serde(default)]
    pub doubt: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Real differences.
    different: Vec<Change>,
    /// What looks like a difference and is none.
    same: Vec<Change>,
}

/// Reads the file; differences come first.
pub fn read(file: &Path) -> Result<Vec<Change>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read: File = serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
    for change in &read.different {
        ensure!(change.path.is_some(), "{}: a difference needs a path", change.name);
    }
    for change in &read.same {
        ensure!(change.path.is_none() && !change.doubt, "{}: no difference has neither path nor doubt", change.name);
    }
    Ok(read.different.into_iter().chain(read.same).collect())
}

/// Applies a merge patch, or a JSON patch where it is a list.
pub fn patched(value: &Value, patch: &Value) -> Result<Value> {
    let mut value = value.clone();
    match patch {
        Value::Array(_) => {
            let patch: json_patch::Patch = serde_json::from_value(patch.clone()).context("not a JSON patch")?;
            json_patch::patch(&mut value, &patch)?;
        }
        Value::Object(_) => json_patch::merge(&mut value, patch),
        other => bail!("{other} is no patch"),
    }
    Ok(value)
}
