//! The Application's options, written into a kustomization with the effect of `kustomize edit`.

use std::collections::BTreeMap;

use resources::Kustomize;
use serde_json::{Map, Value, json};

use crate::RenderError;
use crate::prepare::Ask;
use crate::reads::Reads;
use crate::settings::Environment;
use crate::tree;

/// Whether the kustomization has to be changed at all.
pub(super) fn is_needed(options: &Kustomize) -> bool {
    let texts = [&options.name_prefix, &options.name_suffix, &options.namespace];
    texts.iter().any(|text| !text.is_empty())
        || !(options.images.is_empty()
            && options.replicas.is_empty()
            && options.common_labels.is_empty()
            && options.common_annotations.is_empty()
            && options.patches.is_empty()
            && options.components.is_empty())
}

/// Applies every option, in the order in which people know them to be applied.
pub(super) fn apply(
    kustomization: &mut Value,
    options: &Kustomize,
    ask: &Ask<'_>,
    reads: &mut Reads<'_>,
    folder: &str,
) -> Result<(), RenderError> {
    let (environment, field) = (ask.environment, format!("{}.kustomize", ask.field));
    let components = components(options, reads, ask.index, folder)?;
    let Some(map) = kustomization.as_object_mut() else { return Ok(()) };
    for (name, text) in
        [("namePrefix", &options.name_prefix), ("nameSuffix", &options.name_suffix), ("namespace", &options.namespace)]
    {
        if !text.is_empty() {
            map.insert(name.into(), text.as_str().into());
        }
    }
    images(map, options, environment, &field)?;
    replicas(map, options, &field)?;
    labels(map, options, environment, &field)?;
    annotations(map, options, environment, &field)?;
    let patches: Vec<Value> = options.patches.iter().filter_map(|patch| serde_json::to_value(patch).ok()).collect();
    append(map, "patches", &patches, &field)?;
    append(map, "components", &components, &field)
}

fn images(
    map: &mut Map<String, Value>,
    options: &Kustomize,
    environment: &Environment,
    field: &str,
) -> Result<(), RenderError> {
    if options.images.is_empty() {
        return Ok(());
    }
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    // `imageTags` is the old name of the field, and stays valid.
    for old in ["images", "imageTags"] {
        for image in list(map, old, field)? {
            let name = image.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            all.insert(name, image);
        }
        map.remove(old);
    }
    for (at, text) in options.images.iter().enumerate() {
        let text = environment.substitute(text);
        let Some(mut image) = Image::parse(&text) else {
            return Err(RenderError::settings(
                format!("{field}.images[{at}]"),
                format!("`{text}` is not `name:tag`, `name@digest`, `name=new`, `name=new:tag` or `name=new@digest`"),
            ));
        };
        image.keep_from(all.get(&image.name));
        all.insert(image.name.clone(), image.into_value());
    }
    map.insert("images".into(), all.into_values().collect());
    Ok(())
}

/// One entry of `images`. An asterisk as new name, tag or digest keeps what the kustomization has.
#[derive(Debug, PartialEq, Eq)]
struct Image {
    name: String,
    new_name: String,
    tag: String,
    digest: String,
}

impl Image {
    fn parse(text: &str) -> Option<Self> {
        let (key, reference) = match text.split_once('=') {
            Some((key, reference)) => (Some(key), reference),
            None => (None, text),
        };
        let (name, tag, digest) = split_reference(reference);
        if name == text || name.is_empty() || key == Some("") {
            return None;
        }
        let (name, new_name) = match key {
            Some(key) => (key, name),
            None => (name, ""),
        };
        Some(Self { name: name.into(), new_name: new_name.into(), tag: tag.into(), digest: digest.into() })
    }

    fn keep_from(&mut self, present: Option<&Value>) {
        let kept = |field: &str| present.and_then(|image| image.get(field)?.as_str()).unwrap_or_default().to_owned();
        for (value, field) in [(&mut self.new_name, "newName"), (&mut self.tag, "newTag"), (&mut self.digest, "digest")]
        {
            if value == "*" {
                *value = kept(field);
            }
        }
    }

    fn into_value(self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), self.name.into());
        for (field, value) in [("newName", self.new_name), ("newTag", self.tag), ("digest", self.digest)] {
            if !value.is_empty() {
                map.insert(field.into(), value.into());
            }
        }
        Value::Object(map)
    }
}

/// Name, tag and digest of an image reference. A colon before the first slash belongs to a registry's port.
fn split_reference(reference: &str) -> (&str, &str, &str) {
    let path_starts = reference.find('/').unwrap_or(0);
    let (rest, digest) = match reference[path_starts..].find('@') {
        Some(at) => (&reference[..path_starts + at], &reference[path_starts + at + 1..]),
        None => (reference, ""),
    };
    match rest[path_starts..].find(':') {
        Some(at) => (&rest[..path_starts + at], &rest[path_starts + at + 1..], digest),
        None => (rest, "", digest),
    }
}

fn replicas(map: &mut Map<String, Value>, options: &Kustomize, field: &str) -> Result<(), RenderError> {
    if options.replicas.is_empty() {
        return Ok(());
    }
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for entry in list(map, "replicas", field)? {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        all.insert(name, entry);
    }
    for (at, replica) in options.replicas.iter().enumerate() {
        let count = match serde_json::to_value(&replica.count) {
            Ok(Value::Number(count)) => count.as_i64(),
            Ok(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let count = count.filter(|count| *count >= 0).ok_or_else(|| {
            RenderError::settings(format!("{field}.replicas[{at}].count"), "must be a whole number, not negative")
        })?;
        all.insert(replica.name.clone(), json!({"name": replica.name, "count": count}));
    }
    map.insert("replicas".into(), all.into_values().collect());
    Ok(())
}

fn labels(
    map: &mut Map<String, Value>,
    options: &Kustomize,
    environment: &Environment,
    field: &str,
) -> Result<(), RenderError> {
    if options.common_labels.is_empty() {
        return Ok(());
    }
    let wanted: Vec<(&String, String)> =
        options.common_labels.iter().map(|(name, value)| (name, environment.substitute(value))).collect();
    if !options.label_without_selector {
        if options.label_include_templates {
            return Err(RenderError::settings(
                format!("{field}.labelIncludeTemplates"),
                "needs labelWithoutSelector: set it too",
            ));
        }
        return set_all(map, "commonLabels", wanted, options.force_common_labels, &format!("{field}.commonLabels"));
    }
    let mut entries = list(map, "labels", field)?;
    let is = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_bool).unwrap_or(false);
    let matching = |entry: &Value| {
        !is(entry, "includeSelectors") && is(entry, "includeTemplates") == options.label_include_templates
    };
    let at = entries.iter().position(matching).unwrap_or_else(|| {
        let mut entry = json!({"includeSelectors": false, "pairs": {}});
        if options.label_include_templates {
            entry["includeTemplates"] = true.into();
        }
        entries.push(entry);
        entries.len() - 1
    });
    if let Some(entry) = entries[at].as_object_mut() {
        set_all(entry, "pairs", wanted, options.force_common_labels, &format!("{field}.commonLabels"))?;
    }
    map.insert("labels".into(), entries.into());
    Ok(())
}

fn annotations(
    map: &mut Map<String, Value>,
    options: &Kustomize,
    environment: &Environment,
    field: &str,
) -> Result<(), RenderError> {
    if options.common_annotations.is_empty() {
        return Ok(());
    }
    let value = |value: &String| {
        if options.common_annotations_envsubst { environment.substitute(value) } else { value.clone() }
    };
    let wanted = options.common_annotations.iter().map(|(name, text)| (name, value(text))).collect();
    let place = format!("{field}.commonAnnotations");
    set_all(map, "commonAnnotations", wanted, options.force_common_annotations, &place)
}

/// Sets entries of a mapping. One that is there already is an error unless it is forced: somebody meant the other value.
fn set_all(
    map: &mut Map<String, Value>,
    name: &str,
    wanted: Vec<(&String, String)>,
    force: bool,
    place: &str,
) -> Result<(), RenderError> {
    let target = map.entry(name).or_insert_with(|| json!({}));
    if target.is_null() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return Err(RenderError::settings(place, format!("`{name}` of the kustomization is not a mapping")));
    };
    for (key, value) in wanted {
        if !force && target.contains_key(key) {
            let (last, kind) = if place.ends_with("Labels") {
                ("forceCommonLabels", "label")
            } else {
                ("forceCommonAnnotations", "annotation")
            };
            return Err(RenderError::settings(
                format!("{place}.{key}"),
                format!("the kustomization sets this {kind} already: set {last}, or remove one of the two"),
            ));
        }
        target.insert(key.clone(), value.into());
    }
    Ok(())
}

fn append(map: &mut Map<String, Value>, name: &str, new: &[Value], field: &str) -> Result<(), RenderError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut all = list(map, name, field)?;
    for value in new {
        // A component that is listed twice would be applied twice.
        if name != "components" || !all.contains(value) {
            all.push(value.clone());
        }
    }
    map.insert(name.into(), all.into());
    Ok(())
}

fn list(map: &Map<String, Value>, name: &str, field: &str) -> Result<Vec<Value>, RenderError> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(_) => Err(RenderError::settings(field, format!("`{name}` of the kustomization is not a list"))),
    }
}

/// The components to add: patterns expanded, missing ones left out if that is wanted.
fn components(
    options: &Kustomize,
    reads: &mut Reads<'_>,
    index: usize,
    folder: &str,
) -> Result<Vec<Value>, RenderError> {
    let mut found = Vec::new();
    for component in &options.components {
        let local = tree::join(folder, component);
        let exists = match &local {
            Some(path) => reads.resolve(index, path)?.entry.is_some(),
            None => false,
        };
        if exists || !options.ignore_missing_components {
            found.push(component.as_str().into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references() {
        let table = [
            ("nginx:1.2", Some(("nginx", "", "1.2", ""))),
            ("nginx@sha256:ab", Some(("nginx", "", "", "sha256:ab"))),
            ("nginx:1.2@sha256:ab", Some(("nginx", "", "1.2", "sha256:ab"))),
            ("nginx=web", Some(("nginx", "web", "", ""))),
            ("nginx=localhost:5000/web:2", Some(("nginx", "localhost:5000/web", "2", ""))),
            (
                "localhost:5000/a/b=localhost:5000/c@sha256:ab",
                Some(("localhost:5000/a/b", "localhost:5000/c", "", "sha256:ab")),
            ),
            ("nginx=*:2", Some(("nginx", "*", "2", ""))),
            ("nginx", None),
            ("localhost:5000/nginx", None),
            ("=x", None),
            ("", None),
        ];
        for (text, expected) in table {
            let image = Image::parse(text);
            let found =
                image.as_ref().map(|i| (i.name.as_str(), i.new_name.as_str(), i.tag.as_str(), i.digest.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
