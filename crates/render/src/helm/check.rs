//! What reaches Helm's command line, held against what Helm would make of it.

use serde_json::Value;

use super::archive;
use crate::RenderError;
use crate::reads::Reads;
use crate::settings::MAX_SETTINGS_BYTES;
use crate::tree::{Kind, file_name};

/// How large an archive of a chart may be.
const MAX_ARCHIVE_BYTES: u64 = 32 << 20;

/// The numbers of a version, or an error that names the field.
pub(crate) fn checked_kube_version(version: &str, field: &str) -> Result<String, RenderError> {
    super::kube_version(version).ok_or_else(|| {
        RenderError::settings(format!("{field}.kubeVersion"), format!("`{version}` is not a Kubernetes version"))
    })
}

/// `apps/v1`, `apps/v1/Deployment`.
pub(crate) fn check_api_version(version: &str, field: &str) -> Result<(), RenderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if version.starts_with(|c: char| c.is_ascii_alphanumeric()) && version.chars().all(plain) {
        return Ok(());
    }
    Err(RenderError::settings(
        format!("{field}.apiVersions"),
        format!("`{}` is not an API version, such as apps/v1 or apps/v1/Deployment", version.escape_debug()),
    ))
}

/// A namespace, or none.
pub(super) fn check_namespace(namespace: &str, field: &str) -> Result<(), RenderError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = namespace.len() <= 63
        && namespace.chars().all(|c| plain(c) || c == '-')
        && (namespace.is_empty() || namespace.starts_with(plain) && namespace.ends_with(plain));
    if valid {
        return Ok(());
    }
    Err(RenderError::settings(field, format!("`{}` cannot be the name of a namespace", namespace.escape_debug())))
}

/// The name of one value, as Helm's `--set` reads it: `a.b`, `list[0].c`, `annotations.example\.com/x`. What Helm would take
/// for the end of the name, and for the next one, is an error: a backslash before it says that it is part of the name.
pub(super) fn check_parameter(name: &str, field: &str) -> Result<(), RenderError> {
    let wrong = |why: &str| {
        let shown = name.escape_debug();
        Err(RenderError::settings(
            format!("{field}.name"),
            format!("`{shown}` cannot be the name of a parameter: {why}"),
        ))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.starts_with('-') {
        return wrong("it begins with a dash");
    }
    if name.chars().any(char::is_control) {
        return wrong("it has a control character in it");
    }
    let mut chars = name.chars();
    let mut index: Option<String> = None;
    while let Some(c) = chars.next() {
        if c == '\\' && index.is_none() {
            if chars.next().is_none() {
                return wrong("it ends with a backslash");
            }
            continue;
        }
        match (c, &mut index) {
            ('=' | ',' | '{' | '}', None) => {
                return wrong(&format!("write `\\{c}` if the `{c}` belongs to it, and several parameters one by one"));
            }
            ('[', None) => index = Some(String::new()),
            (']', Some(digits)) if !digits.is_empty() => index = None,
            (digit, Some(digits)) if digit.is_ascii_digit() && digits.len() < 5 => digits.push(digit),
            (']', None) | (_, Some(_)) => return wrong("a bracket holds the number of an item, as in `list[0]`"),
            _ => {}
        }
    }
    if index.is_some() { wrong("a bracket is not closed") } else { Ok(()) }
}

/// Refuses charts whose schema leads elsewhere: Helm would read the file, or fetch the address.
pub(crate) fn check_schemas(reads: &Reads<'_>, index: usize, folder: &str) -> Result<(), RenderError> {
    for (path, entry) in reads.tree(index).list(folder, true)? {
        if entry.kind != Kind::Tree && entry.kind != Kind::Submodule {
            check_file(reads, index, &path)?;
        }
    }
    Ok(())
}

/// Looks into a file that is a schema, or an archive that may have some.
pub(super) fn check_file(reads: &Reads<'_>, index: usize, path: &str) -> Result<(), RenderError> {
    let (schema, archived) = (file_name(path) == "values.schema.json", path.ends_with(".tgz"));
    if !(schema || archived) {
        return Ok(());
    }
    let target = reads.tree(index).resolve(path)?;
    if !target.is(Kind::Blob) {
        return Ok(());
    }
    if schema {
        check_schema(path, &reads.read(index, &target.path, MAX_SETTINGS_BYTES)?)
    } else {
        archive::check(path, &reads.read(index, &target.path, MAX_ARCHIVE_BYTES)?)
    }
}

pub(super) fn check_schema(path: &str, content: &[u8]) -> Result<(), RenderError> {
    let refuse = |why: String| {
        RenderError::unsupported(
            format!("{path}: {why}"),
            "write what it refers to into the schema, or set helm.skipSchemaValidation",
        )
    };
    let schema: Value =
        serde_json::from_slice(content).map_err(|error| refuse(format!("a schema that is no JSON ({error})")))?;
    match outside(&schema, schema["$id"].as_str()) {
        Some(reference) => Err(refuse(format!("a schema that leads to `{}`", reference.escape_debug()))),
        None => Ok(()),
    }
}

/// The first reference of a schema that leads out of it.
fn outside<'s>(schema: &'s Value, own: Option<&str>) -> Option<&'s str> {
    match schema {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let text = value.as_str();
            let leads = match (key.as_str(), text) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Some(text)) => {
                    let target = text.split('#').next().unwrap_or_default();
                    // By the schema's own full name it leads to itself; a shorter one counts from the nearest `$id`.
                    !(target.is_empty() || target.contains("://") && Some(target) == own)
                }
                ("$schema", Some(text)) => !is_draft(text),
                _ => false,
            };
            text.filter(|_| leads).or_else(|| outside(value, own))
        }),
        Value::Array(items) => items.iter().find_map(|item| outside(item, own)),
        _ => None,
    }
}

/// Whether it is one of the drafts of JSON Schema, which validators know by heart.
fn is_draft(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return false;
    };
    let rest = rest.trim_end_matches('#');
    matches!(
        rest,
        "json-schema.org/schema"
            | "json-schema.org/draft-04/schema"
            | "json-schema.org/draft-06/schema"
            | "json-schema.org/draft-07/schema"
            | "json-schema.org/draft/2019-09/schema"
            | "json-schema.org/draft/2020-12/schema"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters() {
        for name in [
            "color",
            "image.tag",
            "list[0]",
            "list[12].name",
            r"ingress.annotations.kubernetes\.io/tls",
            r"annotations.example\.com/a\=b",
            r"a\,b",
            r"weird\\name",
            "with space",
            "global.über",
            "a-b_c",
            "@x",
        ] {
            assert!(check_parameter(name, "f").is_ok(), "{name}");
        }
        for (name, expected) in [
            ("", "it is empty"),
            ("x=/root/.kube/config,y", "write `\\=`"),
            ("x=http://127.0.0.1:8080/secret,y", "write `\\=`"),
            ("a,b", "write `\\,`"),
            (r"a\\,b", "write `\\,`"),
            (r"a\\=b", "write `\\=`"),
            ("a{b}", "write `\\{`"),
            (r"a\", "ends with a backslash"),
            (r"a\\\", "ends with a backslash"),
            ("-x", "begins with a dash"),
            ("--set", "begins with a dash"),
            ("a\nb", "control character"),
            ("a\0b", "control character"),
            ("a[b]", "bracket"),
            ("a[]", "bracket"),
            ("a[0", "not closed"),
            ("a]", "bracket"),
            ("a[0]=b", "write `\\=`"),
            ("a[999999]", "bracket"),
        ] {
            let error = check_parameter(name, "source.helm.parameters[0]").unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with("spec.source.helm.parameters[0].name"), "{error}");
        }
    }

    #[test]
    fn schemas_stay_within_themselves() {
        for fine in [
            r##"{"$schema": "https://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#/$defs/x"}}}"##,
            r##"{"$id": "https://example.com/s.json", "items": {"$ref": "https://example.com/s.json#/$defs/x"}}"##,
            r##"{"properties": {"$ref": {"type": "string"}, "$schema": {"type": "string"}}}"##,
            "true",
        ] {
            assert!(check_schema("s", fine.as_bytes()).is_ok(), "{fine}");
        }
        for (wrong, named) in [
            (r##"{"$ref": "http://127.0.0.1:8080/x.json"}"##, "http://127.0.0.1:8080/x.json"),
            (r##"{"a": [{"$ref": "file:///etc/passwd"}]}"##, "file:///etc/passwd"),
            (r##"{"$id": "http://127.0.0.1/", "properties": {"a": {"$ref": "x.json"}}}"##, "x.json"),
            (r##"{"$schema": "http://127.0.0.1/meta"}"##, "http://127.0.0.1/meta"),
            (r##"{"$dynamicRef": "//127.0.0.1/x"}"##, "//127.0.0.1/x"),
            ("{", "no JSON"),
        ] {
            let error = check_schema("web/values.schema.json", wrong.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("skipSchemaValidation"), "{error}");
        }
    }

    #[test]
    fn namespaces_and_api_versions() {
        for name in ["", "shop", "a-1"] {
            assert!(check_namespace(name, "f").is_ok(), "{name}");
        }
        for name in ["-x", "Shop", "a b", "a,b", "a\n", &"x".repeat(64)] {
            assert!(check_namespace(name, "f").is_err(), "{name}");
        }
        for version in ["v1", "apps/v1", "apps/v1/Deployment", "cilium.io/v2alpha1"] {
            assert!(check_api_version(version, "f").is_ok(), "{version}");
        }
        for version in ["", "--set", "a,b", "a b", "/v1", "v1\n"] {
            assert!(check_api_version(version, "f").is_err(), "{version}");
        }
    }
}
