//! What a kustomization may say: every key of Kustomize 5.8, what its value is, and which texts are addresses.
//!
//! Kustomize takes keys in any case of letters. We take them as they are written here only, so that nobody reads more in a
//! kustomization than was checked.

use serde_json::Value;

/// What a value has to be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Text that Kustomize puts into objects or compares with them.
    Text,
    Flag,
    Number,
    /// Names and texts.
    Texts,
    /// Anything: the values of a chart.
    Free,
    /// A list of texts that are no addresses.
    Words,
    List(&'static Shape),
    Fields(&'static [Field]),
    /// Text that Kustomize takes for an address or a path.
    Reference(Reference),
}

/// What a text leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A file with objects, or a folder with a kustomization.
    Resource,
    /// A folder with a component.
    Component,
    /// A file that is read as it is.
    File,
    /// The same, with the key that it gets before it: `key=file`.
    KeyedFile,
    /// A file with a patch, or the patch.
    Patch,
    /// A file or folder with configurations of plugins, or the configuration.
    Plugin,
    /// A folder with charts.
    ChartHome,
    /// Where a chart comes from.
    ChartRepository,
    /// A chart's name, which becomes part of a path.
    ChartName,
    /// A text that becomes an argument of Helm.
    Argument,
}

/// One key.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Set where the key itself is refused, with what to do instead.
    pub(super) instead: Option<&'static str>,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, instead: None }
}

const fn refused(name: &'static str, instead: &'static str) -> Field {
    Field { name, shape: Shape::Free, instead: Some(instead) }
}

const FILE: Shape = Shape::Reference(Reference::File);
const ARGUMENT: Shape = Shape::Reference(Reference::Argument);

const META: Shape = Shape::Fields(&[
    field("name", Shape::Text),
    field("namespace", Shape::Text),
    field("labels", Shape::Texts),
    field("annotations", Shape::Texts),
]);

const FIELD_SPECS: Shape = Shape::List(&Shape::Fields(&[
    field("group", Shape::Text),
    field("version", Shape::Text),
    field("kind", Shape::Text),
    field("path", Shape::Text),
    field("create", Shape::Flag),
]));

const SELECTOR: Shape = Shape::Fields(&[
    field("group", Shape::Text),
    field("version", Shape::Text),
    field("kind", Shape::Text),
    field("name", Shape::Text),
    field("namespace", Shape::Text),
    field("annotationSelector", Shape::Text),
    field("labelSelector", Shape::Text),
]);

const PATCH_OPTIONS: Shape =
    Shape::Fields(&[field("allowNameChange", Shape::Flag), field("allowKindChange", Shape::Flag)]);

const PATCH: Shape = Shape::Fields(&[
    field("path", FILE),
    field("patch", Shape::Text),
    field("target", SELECTOR),
    field("options", PATCH_OPTIONS),
]);

const IMAGE: Shape = Shape::Fields(&[
    field("name", Shape::Text),
    field("newName", Shape::Text),
    field("tagSuffix", Shape::Text),
    field("newTag", Shape::Text),
    field("digest", Shape::Text),
]);

const FIELD_OPTIONS: Shape = Shape::Fields(&[
    field("delimiter", Shape::Text),
    field("index", Shape::Number),
    field("encoding", Shape::Text),
    field("create", Shape::Flag),
]);

const REPLACEMENTS: Shape = Shape::List(&Shape::Fields(&[
    field("path", FILE),
    field("sourceValue", Shape::Text),
    field(
        "source",
        Shape::Fields(&[
            field("group", Shape::Text),
            field("version", Shape::Text),
            field("kind", Shape::Text),
            field("name", Shape::Text),
            field("namespace", Shape::Text),
            field("fieldPath", Shape::Text),
            field("options", FIELD_OPTIONS),
        ]),
    ),
    field(
        "targets",
        Shape::List(&Shape::Fields(&[
            field("select", SELECTOR),
            field("reject", Shape::List(&SELECTOR)),
            field("fieldPaths", Shape::Words),
            field("options", FIELD_OPTIONS),
        ])),
    ),
]));

const REPLICA: Shape = Shape::Fields(&[field("name", Shape::Text), field("count", Shape::Number)]);

const GENERATOR_OPTIONS: Shape = Shape::Fields(&[
    field("labels", Shape::Texts),
    field("annotations", Shape::Texts),
    field("disableNameSuffixHash", Shape::Flag),
    field("immutable", Shape::Flag),
]);

const KEYED_FILES: Shape = Shape::List(&Shape::Reference(Reference::KeyedFile));
const FILES: Shape = Shape::List(&FILE);
const PLUGINS: Shape = Shape::List(&Shape::Reference(Reference::Plugin));
const COMMANDS: &str = "Kustomize runs no commands any more; write a file and name it in `files`";

/// What the generators of ConfigMaps and Secrets have in common, and what precedes it.
macro_rules! generator {
    ($($more:expr),*) => {
        &[
            $($more,)*
            field("namespace", Shape::Text),
            field("name", Shape::Text),
            field("behavior", Shape::Text),
            field("literals", Shape::Words),
            field("files", KEYED_FILES),
            field("envs", FILES),
            field("env", FILE),
            field("options", GENERATOR_OPTIONS),
            refused("commands", COMMANDS),
        ]
    };
}

/// A chart, and what precedes it.
macro_rules! chart {
    ($($more:expr),*) => {
        &[
            $($more,)*
            field("name", Shape::Reference(Reference::ChartName)),
            field("version", ARGUMENT),
            field("repo", Shape::Reference(Reference::ChartRepository)),
            field("releaseName", ARGUMENT),
            field("namespace", ARGUMENT),
            field("additionalValuesFiles", FILES),
            field("valuesFile", FILE),
            field("valuesInline", Shape::Free),
            field("valuesMerge", Shape::Text),
            field("includeCRDs", Shape::Flag),
            field("skipHooks", Shape::Flag),
            field("apiVersions", Shape::List(&ARGUMENT)),
            field("kubeVersion", ARGUMENT),
            refused("nameTemplate", "set releaseName"),
            field("skipTests", Shape::Flag),
            field("debug", Shape::Flag),
            field("devel", Shape::Flag),
        ]
    };
}

const CONFIG_HOME: &str = "Helm would take plugins and repositories from there; remove it";

/// A kustomization or component.
pub(super) const KUSTOMIZATION: &[Field] = &[
    field("kind", Shape::Text),
    field("apiVersion", Shape::Text),
    field("metadata", META),
    field("openapi", Shape::Fields(&[field("path", FILE), field("version", Shape::Text)])),
    field("namePrefix", Shape::Text),
    field("nameSuffix", Shape::Text),
    field("namespace", Shape::Text),
    field("commonLabels", Shape::Texts),
    field(
        "labels",
        Shape::List(&Shape::Fields(&[
            field("pairs", Shape::Texts),
            field("includeSelectors", Shape::Flag),
            field("includeTemplates", Shape::Flag),
            field("fields", FIELD_SPECS),
        ])),
    ),
    field("commonAnnotations", Shape::Texts),
    field("patchesStrategicMerge", Shape::List(&Shape::Reference(Reference::Patch))),
    field("patchesJson6902", Shape::List(&PATCH)),
    field("patches", Shape::List(&PATCH)),
    field("images", Shape::List(&IMAGE)),
    field("imageTags", Shape::List(&IMAGE)),
    field("replacements", REPLACEMENTS),
    field("replicas", Shape::List(&REPLICA)),
    field(
        "vars",
        Shape::List(&Shape::Fields(&[
            field("name", Shape::Text),
            field(
                "objref",
                Shape::Fields(&[
                    field("apiVersion", Shape::Text),
                    field("group", Shape::Text),
                    field("version", Shape::Text),
                    field("kind", Shape::Text),
                    field("name", Shape::Text),
                    field("namespace", Shape::Text),
                ]),
            ),
            field("fieldref", Shape::Fields(&[field("fieldPath", Shape::Text)])),
        ])),
    ),
    field(
        "sortOptions",
        Shape::Fields(&[
            field("order", Shape::Text),
            field(
                "legacySortOptions",
                Shape::Fields(&[field("orderFirst", Shape::Words), field("orderLast", Shape::Words)]),
            ),
        ]),
    ),
    field("resources", Shape::List(&Shape::Reference(Reference::Resource))),
    field("components", Shape::List(&Shape::Reference(Reference::Component))),
    field("crds", FILES),
    field("bases", Shape::List(&Shape::Reference(Reference::Resource))),
    field("configMapGenerator", Shape::List(&Shape::Fields(generator!()))),
    field("secretGenerator", Shape::List(&Shape::Fields(generator!(field("type", Shape::Text))))),
    field(
        "helmGlobals",
        Shape::Fields(&[
            field("chartHome", Shape::Reference(Reference::ChartHome)),
            refused("configHome", CONFIG_HOME),
        ]),
    ),
    field("helmCharts", Shape::List(&Shape::Fields(chart!()))),
    refused("helmChartInflationGenerator", "write helmCharts, which replaced it"),
    field("generatorOptions", GENERATOR_OPTIONS),
    field("configurations", FILES),
    field("generators", PLUGINS),
    field("transformers", PLUGINS),
    field("validators", PLUGINS),
    field("buildMetadata", Shape::Words),
];

/// What every configuration of a plugin may have.
macro_rules! plugin {
    ($($more:expr),*) => {
        &[field("apiVersion", Shape::Text), field("kind", Shape::Text), field("metadata", META), $($more),*]
    };
}

/// The plugins that are part of Kustomize, with the keys of their configuration. Others are programs.
pub(super) const PLUGIN_KINDS: &[(&str, &[Field])] = &[
    ("AnnotationsTransformer", plugin!(field("annotations", Shape::Texts), field("fieldSpecs", FIELD_SPECS))),
    (
        "ConfigMapGenerator",
        generator!(field("apiVersion", Shape::Text), field("kind", Shape::Text), field("metadata", META)),
    ),
    (
        "SecretGenerator",
        generator!(
            field("apiVersion", Shape::Text),
            field("kind", Shape::Text),
            field("metadata", META),
            field("type", Shape::Text)
        ),
    ),
    ("HashTransformer", plugin!()),
    (
        "HelmChartInflationGenerator",
        chart!(
            field("apiVersion", Shape::Text),
            field("kind", Shape::Text),
            field("metadata", META),
            field("chartHome", Shape::Reference(Reference::ChartHome)),
            refused("configHome", CONFIG_HOME)
        ),
    ),
    (
        "IAMPolicyGenerator",
        plugin!(
            field("cloud", Shape::Text),
            field("kubernetesService", Shape::Fields(&[field("name", Shape::Text), field("namespace", Shape::Text)])),
            field("serviceAccount", Shape::Fields(&[field("name", Shape::Text), field("projectId", Shape::Text)]))
        ),
    ),
    ("ImageTagTransformer", plugin!(field("imageTag", IMAGE), field("fieldSpecs", FIELD_SPECS))),
    ("LabelTransformer", plugin!(field("labels", Shape::Texts), field("fieldSpecs", FIELD_SPECS))),
    (
        "NamespaceTransformer",
        plugin!(
            field("fieldSpecs", FIELD_SPECS),
            field("unsetOnly", Shape::Flag),
            field("setRoleBindingSubjects", Shape::Text)
        ),
    ),
    ("PatchJson6902Transformer", plugin!(field("target", SELECTOR), field("path", FILE), field("jsonOp", Shape::Text))),
    (
        "PatchStrategicMergeTransformer",
        plugin!(field("paths", Shape::List(&Shape::Reference(Reference::Patch))), field("patches", Shape::Text)),
    ),
    (
        "PatchTransformer",
        plugin!(
            field("path", FILE),
            field("patch", Shape::Text),
            field("target", SELECTOR),
            field("options", PATCH_OPTIONS)
        ),
    ),
    (
        "PrefixSuffixTransformer",
        plugin!(field("prefix", Shape::Text), field("suffix", Shape::Text), field("fieldSpecs", FIELD_SPECS)),
    ),
    ("PrefixTransformer", plugin!(field("prefix", Shape::Text), field("fieldSpecs", FIELD_SPECS))),
    ("SuffixTransformer", plugin!(field("suffix", Shape::Text), field("fieldSpecs", FIELD_SPECS))),
    ("ReplacementTransformer", plugin!(field("replacements", REPLACEMENTS))),
    ("ReplicaCountTransformer", plugin!(field("replica", REPLICA), field("fieldSpecs", FIELD_SPECS))),
    (
        "ValueAddTransformer",
        plugin!(
            field("value", Shape::Text),
            field(
                "targets",
                Shape::List(&Shape::Fields(&[
                    field("selector", SELECTOR),
                    field("fieldPath", Shape::Text),
                    field("filePathPosition", Shape::Number),
                ]))
            ),
            field("targetFilePath", FILE)
        ),
    ),
];

/// Checks a value, and hands every reference in it to `visit`, which may write it anew. Faults name the key.
///
/// # Errors
/// A sentence of what is wrong, or what `visit` says.
pub(super) fn walk<E: From<String>>(
    value: &mut Value,
    fields: &[Field],
    visit: &mut dyn FnMut(&str, Reference, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    mapping(value, fields, "", visit)
}

type Visit<'v, E> = dyn FnMut(&str, Reference, &mut String) -> Result<(), E> + 'v;

fn mapping<E: From<String>>(value: &mut Value, fields: &[Field], at: &str, visit: &mut Visit<'_, E>) -> Result<(), E> {
    let Value::Object(map) = value else { return Err(wrong(at, "a mapping", value).into()) };
    for (key, value) in map.iter_mut() {
        let place = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let Some(field) = fields.iter().find(|field| field.name == key) else {
            return Err(unknown(&place, key, fields).into());
        };
        if let Some(instead) = field.instead.filter(|_| !value.is_null()) {
            return Err(format!("`{place}` is not supported: {instead}").into());
        }
        shape(value, &field.shape, &place, visit)?;
    }
    Ok(())
}

fn shape<E: From<String>>(value: &mut Value, wanted: &Shape, at: &str, visit: &mut Visit<'_, E>) -> Result<(), E> {
    if value.is_null() {
        return Ok(());
    }
    match (wanted, &mut *value) {
        (Shape::Free, _) | (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => Ok(()),
        (Shape::Number, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::Texts, Value::Object(map)) => {
            match map.iter().find(|(_, value)| !(value.is_string() || value.is_null())) {
                Some((key, value)) => Err(wrong(&format!("{at}.{key}"), "text", value).into()),
                None => Ok(()),
            }
        }
        (Shape::Words, Value::Array(items)) => match items.iter().find(|item| !(item.is_string() || item.is_null())) {
            Some(item) => Err(wrong(&format!("{at}[]"), "text", item).into()),
            None => Ok(()),
        },
        (Shape::List(of), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                let place = format!("{at}[{index}]");
                if item.is_null() {
                    return Err(format!("`{place}` is empty: remove it").into());
                }
                shape(item, of, &place, visit)?;
            }
            Ok(())
        }
        (Shape::Fields(fields), Value::Object(_)) => mapping(value, fields, at, visit),
        (Shape::Reference(reference), Value::String(text)) => visit(at, *reference, text),
        (Shape::Text | Shape::Reference(_), _) => Err(wrong(at, "text", value).into()),
        (Shape::Flag, _) => Err(wrong(at, "true or false", value).into()),
        (Shape::Number, _) => Err(wrong(at, "a whole number", value).into()),
        (Shape::Texts | Shape::Fields(_), _) => Err(wrong(at, "a mapping", value).into()),
        (Shape::Words | Shape::List(_), _) => Err(wrong(at, "a list", value).into()),
    }
}

fn wrong(at: &str, wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    let hint = if wanted == "text" && matches!(found, "a number" | "a boolean") { ": put it in quotes" } else { "" };
    let at = if at.is_empty() { "it" } else { &format!("`{at}`") };
    format!("{at} must be {wanted}, found {found}{hint}")
}

fn unknown(place: &str, key: &str, fields: &[Field]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    match fields.iter().find(|field| plain(field.name) == plain(key)) {
        Some(field) => format!("`{place}` is not how this key is written: write `{}`", field.name),
        None => format!("`{place}` is no key that Kustomize 5.8 has here: remove it, or correct its spelling"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut value: Value) -> Result<Vec<(String, Reference, String)>, String> {
        let mut seen = Vec::new();
        walk::<String>(&mut value, KUSTOMIZATION, &mut |at, reference, text| {
            seen.push((at.to_owned(), reference, text.clone()));
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn only_the_schema_s_own_spelling_is_taken() {
        for (value, expected) in [
            (json!({"Resources": []}), "`Resources` is not how this key is written: write `resources`"),
            (json!({"RESOURCES": []}), "write `resources`"),
            (json!({"patches": [{"Path": "x"}]}), "`patches[0].Path` is not how this key is written: write `path`"),
            (json!({"config_map_generator": []}), "write `configMapGenerator`"),
            (json!({"re\u{17f}ources": []}), "no key that Kustomize 5.8 has"),
            (json!({"nonsense": true}), "`nonsense` is no key"),
            (json!({"openapi": {"Path": "x"}}), "write `path`"),
            (json!({"helmGlobals": {"configHome": "x"}}), "`helmGlobals.configHome` is not supported"),
            (json!({"secretGenerator": [{"commands": {"a": "sh"}}]}), "`secretGenerator[0].commands` is not supported"),
            (json!({"generatorOptions": {"shell": ["sh"]}}), "`generatorOptions.shell` is no key"),
            (json!({"resources": "x"}), "`resources` must be a list, found text"),
            (json!({"resources": [null]}), "`resources[0]` is empty"),
            (json!({"resources": [{"path": "x"}]}), "`resources[0]` must be text, found a mapping"),
            (json!({"commonLabels": {"a": 1}}), "`commonLabels.a` must be text, found a number: put it in quotes"),
            (json!([]), "it must be a mapping, found a list"),
        ] {
            let error = check(value.clone()).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn every_reference_is_visited() {
        let seen = check(json!({
            "resources": ["r"], "bases": ["b"], "components": ["c"], "crds": ["d"], "configurations": ["e"],
            "openapi": {"path": "f"}, "patches": [{"path": "g"}], "patchesJson6902": [{"path": "h"}],
            "patchesStrategicMerge": ["i"], "replacements": [{"path": "j"}], "generators": ["k"],
            "transformers": ["l"], "validators": ["m"], "configMapGenerator": [{"files": ["n"], "envs": ["o"], "env": "p"}],
            "secretGenerator": [{"files": ["q"]}], "helmGlobals": {"chartHome": "s"},
            "helmCharts": [{"name": "t", "repo": "u", "valuesFile": "v", "additionalValuesFiles": ["w"], "version": "x"}],
            "namePrefix": "https://example.com", "vars": [{"name": "y", "objref": {"kind": "z"}}], "images": null,
        }))
        .unwrap();
        let texts: Vec<&str> = seen.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts.len(), 23, "{texts:?}");
        assert!(seen.contains(&("helmCharts[0].repo".into(), Reference::ChartRepository, "u".into())));
    }
}
