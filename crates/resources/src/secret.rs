//! Secrets without their values: whoever only has to know whether a value is the same keeps a digest of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Object;

/// No base64 has a colon, so a digest is never taken for a value.
const PREFIX: &str = "sha256:";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The digest of a value.
///
/// ```
/// use resources::secret_digest;
/// assert_eq!(secret_digest(b"hidden"), secret_digest(b"hidden"));
/// assert!(secret_digest(b"hidden").starts_with("sha256:"));
/// ```
pub fn secret_digest(value: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(Sha256::digest(value)))
}

/// Whether a value of a Secret's `data` is a digest.
pub fn is_secret_digest(value: &str) -> bool {
    value.starts_with(PREFIX)
}

impl Object {
    /// Whether it is a Secret.
    pub fn is_secret(&self) -> bool {
        self.group().is_empty() && self.kind() == "Secret"
    }

    /// Puts digests in the places of a Secret's values, and takes away the annotation in which `kubectl` repeats them. Every other
    /// object stays as it is. An empty value is no secret.
    pub fn digest_secret(&mut self) {
        if !self.is_secret() {
            return;
        }
        if let Some(data) = self.0.get_mut("data").and_then(Value::as_object_mut) {
            for value in data.values_mut() {
                let Some(text) = value.as_str().filter(|text| !text.is_empty() && !is_secret_digest(text)) else {
                    continue;
                };
                let bytes = STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec());
                *value = secret_digest(&bytes).into();
            }
        }
        if let Some(annotations) = self.0.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(LAST_APPLIED);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_secrets_are_digested_and_only_once() {
        let text = "kubectl.kubernetes.io/last-applied-configuration";
        let mut secret = Object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "annotations": { text: "hidden", "b": "c" } },
            "data": { "password": STANDARD.encode("hidden"), "empty": "" },
        }));
        secret.digest_secret();
        secret.digest_secret();
        assert_eq!(secret.at("/data/password"), Some(&secret_digest(b"hidden").into()));
        assert_eq!(secret.at("/data/empty"), Some(&"".into()));
        assert!(!secret.0.to_string().contains("hidden"));
        let mut other = Object(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" } }));
        other.digest_secret();
        assert_eq!(other.at("/data/a"), Some(&"b".into()));
    }
}
