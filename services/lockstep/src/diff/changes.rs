//! What differs between the two sides, object by object. Values are compared, not their text.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::compare::{CompareRules, Difference, FieldDifference, SystemRules, compare_predicted};
use resources::{Object, ObjectKey};
use serde::Serialize;
use serde_json::{Map, Value};

use super::units::{Rendered, Unit};
use crate::app::{Names, Pair, between};

/// Annotations by which Lockstep and Argo CD are told something. On live objects they are written at any time and do not count
/// when Git has none; here both sides are Git.
const NOTES: [&str; 4] = [
    "lockstep.dev/",
    "argocd.argoproj.io/refresh",
    "argocd.argoproj.io/hydrate",
    "argocd.argoproj.io/deletion-approved",
];

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Only the second side has it.
    Added,
    /// Only the first side has it.
    Removed,
    /// The sides differ.
    Changed,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

/// One object that differs.
#[derive(Debug)]
pub struct Change {
    /// Where it is from.
    pub unit: Unit,
    /// Which it is.
    pub key: ObjectKey,
    /// What happened to it.
    pub what: What,
    /// In which fields, if both sides have it. Values of Secrets are masked.
    pub fields: Vec<FieldDifference>,
    /// As a unified diff.
    pub diff: String,
}

/// How many objects differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Both sides have it.
    pub changed: usize,
    /// Only the second side has it.
    pub added: usize,
    /// Only the first side has it.
    pub removed: usize,
}

impl Counts {
    /// Counts changes.
    pub fn of(changes: &[Change]) -> Self {
        let count = |what| changes.iter().filter(|change| change.what == what).count();
        Self { changed: count(What::Changed), added: count(What::Added), removed: count(What::Removed) }
    }
}

impl std::fmt::Display for Counts {
    /// `3 objects changed, 1 added, 1 removed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [(self.changed, "changed"), (self.added, "added"), (self.removed, "removed")];
        let mut first = true;
        for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
            match (first, count) {
                (true, 1) => write!(f, "1 object {word}")?,
                (true, _) => write!(f, "{count} objects {word}")?,
                (false, _) => write!(f, ", {count} {word}")?,
            }
            first = false;
        }
        if first { f.write_str("no difference") } else { Ok(()) }
    }
}

/// Everything that differs, unit by unit.
pub fn changes(before: &Rendered, after: &Rendered, names: [&str; 2]) -> Vec<Change> {
    // Both sides come from Git: what a cluster would fill in or leave to others counts too.
    let system = SystemRules { ignore_aggregated_roles: false, ..SystemRules::default() };
    let rules = CompareRules::with_system(&[], &system, &[]);
    let places = names.map(|name| format!("in {name}"));
    let names = Names { heads: names, places: [&places[0], &places[1]] };
    let units: BTreeSet<&Unit> = before.units.keys().chain(after.units.keys()).collect();
    let mut found = Vec::new();
    for unit in units {
        let (before, after) = (before.units.get(unit), after.units.get(unit));
        let keys: BTreeSet<_> = before.into_iter().chain(after).flat_map(|objects| objects.keys()).collect();
        for key in keys {
            let sides = (before.and_then(|objects| objects.get(key)), after.and_then(|objects| objects.get(key)));
            let title = format!("{} ({unit})", key.0);
            let (what, fields, diff) = match sides {
                (None, Some(object)) => (What::Added, Vec::new(), between(&names, &title, Pair::Added(object))),
                (Some(object), None) => (What::Removed, Vec::new(), between(&names, &title, Pair::Removed(object))),
                (Some(before), Some(after)) => {
                    let after = as_stored(after);
                    let difference = difference(&as_stored(before), &after, &rules);
                    if difference.is_empty() {
                        continue;
                    }
                    let diff = between(&names, &title, Pair::Changed(&after, &difference));
                    (What::Changed, difference.fields, diff)
                }
                (None, None) => continue,
            };
            found.push(Change { unit: unit.clone(), key: key.0.clone(), what, fields, diff });
        }
    }
    found
}

fn difference(before: &Object, after: &Object, rules: &CompareRules) -> Difference {
    let mut found = compare_predicted(after, before, rules);
    // A comparison with a cluster takes the same object in another version for the same.
    let (old, new) = (before.api_version(), after.api_version());
    if old != new {
        found.fields.insert(0, changed("apiVersion", Some(old), Some(new)));
    }
    // Those that went all together are named together.
    let gone = found.fields.iter().any(|field| field.path == "metadata.annotations");
    let notes = before.at("/metadata/annotations").and_then(Value::as_object).filter(|_| !gone);
    for (name, value) in notes.into_iter().flatten() {
        let told = NOTES.iter().any(|note| name == note || note.ends_with('/') && name.starts_with(note));
        if told && after.annotation(name).is_none() {
            let path = format!("metadata.annotations[{}]", Value::from(name.as_str()));
            found.fields.push(changed(&path, value.as_str(), None));
        }
    }
    found
}

fn changed(path: &str, before: Option<&str>, after: Option<&str>) -> FieldDifference {
    FieldDifference {
        path: path.to_owned(),
        desired: after.map(Value::from),
        live: before.map(Value::from),
        changed_by: None,
    }
}

/// A Secret as it is stored: `stringData` becomes `data`. Everything else as it is.
fn as_stored(object: &Object) -> Object {
    let mut object = object.clone();
    if !object.group().is_empty() || object.kind() != "Secret" {
        return object;
    }
    let Some(fields) = object.0.as_object_mut() else { return object };
    if let Some(Value::Object(texts)) = fields.shift_remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if !data.is_object() {
            *data = Value::Object(Map::new());
        }
        for (name, text) in texts {
            let value = text.as_str().map_or_else(|| text.clone(), |text| STANDARD.encode(text).into());
            data[name] = value;
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn side(text: &str) -> Rendered {
        let objects = render::objects(text).unwrap();
        let objects = objects.into_iter().map(|object| ((object.key(), 0), object)).collect::<BTreeMap<_, _>>();
        Rendered { units: BTreeMap::from([(Unit::Path("apps".into()), objects)]), ..Rendered::default() }
    }

    fn all(before: &str, after: &str) -> Vec<Change> {
        changes(&side(before), &side(after), ["main", "HEAD"])
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let fields =
            |change: &Change| change.fields.iter().map(|field| field.path.clone()).collect::<Vec<_>>().join(" ");
        let changes = all(before, after);
        changes
            .iter()
            .map(|change| format!("{} {} {}", change.what, change.key, fields(change)).trim_end().into())
            .collect()
    }

    const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod, labels: {app: web}}
spec:
  replicas: 2
  template: {spec: {containers: [{name: main, image: 'web:1', resources: {limits: {cpu: 1000m}}}]}}
";

    #[test]
    fn the_way_it_is_written_is_no_difference() {
        for after in [
            "{kind: Deployment, apiVersion: apps/v1, metadata: {labels: {\"app\": 'web'}, namespace: prod, name: web}, \
             spec: {template: {spec: {containers: [{image: web:1, name: main, resources: {limits: {cpu: '1'}}}]}}, replicas: 2}}",
            "# a comment\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: prod, labels: {app: web}, \
             annotations: {}}\nspec:\n  replicas: 2\n  template: {spec: {containers: [{name: main, image: 'web:1', \
             resources: {limits: {cpu: 1}}}]}}",
        ] {
            assert_eq!(told(DEPLOYMENT, after), [""; 0], "{after}");
            assert_eq!(told(after, DEPLOYMENT), [""; 0], "{after}");
        }
    }

    #[test]
    fn objects_are_matched_by_group_kind_namespace_and_name() {
        let object = |api: &str, kind: &str, namespace: &str, name: &str, value: &str| {
            format!(
                "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: '{namespace}'}}\nspec: {{v: {value}}}\n"
            )
        };
        let before = object("a.example/v1", "K", "x", "one", "1") + &object("a.example/v1", "K", "x", "two", "1");
        for (after, wanted) in [
            (object("a.example/v1", "K", "x", "two", "1") + &object("a.example/v1", "K", "x", "one", "1"), vec![]),
            (
                object("b.example/v1", "K", "x", "one", "1") + &object("a.example/v1", "K", "x", "two", "2"),
                vec!["removed a.example/K x/one", "changed a.example/K x/two spec.v", "added b.example/K x/one"],
            ),
            (
                object("a.example/v1", "K", "y", "one", "1") + &object("a.example/v1", "K", "x", "two", "1"),
                vec!["removed a.example/K x/one", "added a.example/K y/one"],
            ),
            (
                object("a.example/v2", "K", "x", "one", "1") + &object("a.example/v1", "K", "x", "two", "1"),
                vec!["changed a.example/K x/one apiVersion"],
            ),
        ] {
            assert_eq!(told(&before, &after), wanted, "{after}");
        }
    }

    #[test]
    fn everything_that_git_has_counts() {
        let object = |more: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, {more}}}\n");
        let role = |rules: &str| {
            format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: a}}\naggregationRule: {{clusterRoleSelectors: [{{}}]}}\nrules: {rules}\n"
            )
        };
        let note = |name: &str| object(&format!("annotations: {{{name}: '1'}}"));
        let none = object("labels: {}");
        for (before, after, wanted) in [
            (object("labels: {a: b}"), none.clone(), "changed Pod a metadata.labels.a"),
            (note("lockstep.dev/hook-deadline"), none.clone(), "changed Pod a metadata.annotations"),
            (
                object("annotations: {lockstep.dev/hook-deadline: 1m, a: b}"),
                object("annotations: {a: b}"),
                "changed Pod a metadata.annotations[\"lockstep.dev/hook-deadline\"]",
            ),
            (none, note("lockstep.dev/hook-deadline"), "changed Pod a metadata.annotations"),
            (role("[]"), role("[{verbs: [get]}]"), "changed rbac.authorization.k8s.io/ClusterRole a rules"),
        ] {
            let found = told(&before, &after);
            assert_eq!(found, [wanted], "{before}");
            assert!(all(&before, &after)[0].diff.contains("\n@@ "), "{before}");
        }
    }

    #[test]
    fn secrets_are_masked_and_still_differ() {
        let secret = |fields: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{fields}\n");
        let (text, data) = (secret("stringData: {p: hidden, q: same}"), secret("data: {p: aGlkZGVu, q: c2FtZQ==}"));
        assert_eq!(told(&text, &data), [""; 0]);
        assert_eq!(told(&data, &text), [""; 0]);
        assert_eq!(told(&text, &text), [""; 0]);
        let other = secret("stringData: {p: other, q: same}");
        for (before, after) in [(&text, &other), (&data, &other), (&other, &data)] {
            let found = all(before, after);
            let [change] = found.as_slice() else { panic!("{found:?}") };
            let (diff, fields) = (&change.diff, serde_json::to_string(&change.fields).unwrap());
            assert!(diff.contains("******** (in main)") && diff.contains("******** (in HEAD)"), "{diff}");
            for hidden in ["hidden", "aGlkZGVu", "other", "b3RoZXI=", "same", "c2FtZQ=="] {
                assert!(!diff.contains(hidden) && !fields.contains(hidden), "{diff}{fields}");
            }
        }
        for (before, after) in [("", text.as_str()), (data.as_str(), "")] {
            let found = all(before, after);
            assert!(found.len() == 1 && !found[0].diff.contains("hidden") && !found[0].diff.contains("aGlkZGVu"));
        }
    }

    #[test]
    fn sentences() {
        for (changed, added, removed, wanted) in [
            (0, 0, 0, "no difference"),
            (1, 0, 0, "1 object changed"),
            (3, 1, 1, "3 objects changed, 1 added, 1 removed"),
            (0, 1, 2, "1 object added, 2 removed"),
            (0, 0, 2, "2 objects removed"),
        ] {
            assert_eq!(Counts { changed, added, removed }.to_string(), wanted);
        }
    }
}
