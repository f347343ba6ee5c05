//! What an object is and what it would become, as a unified diff.
//!
//! Both sides are made from what Git has: the side of the cluster is that with each difference that *compare* found put in.
//! So what the API server fills in, what others own and what only looks different is on neither side.

use engine::compare::Difference;
use resources::Object;
use serde_json::{Map, Value};
use similar::TextDiff;
use worker::reconcile::compare::Resource;

/// Lines around a change.
const CONTEXT: usize = 3;
/// What stands for a value of a Secret.
const MASK: &str = "********";

/// How the two sides of a diff are called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// In its head.
    pub heads: [&'a str; 2],
    /// In a remark: `in the cluster`.
    pub places: [&'a str; 2],
}

const CLUSTER_AND_GIT: Names<'_> = Names { heads: ["cluster", "git"], places: ["in the cluster", "in Git"] };

/// What the two sides have of an object.
#[derive(Clone, Copy, Debug)]
pub enum Pair<'a> {
    /// Only the second side has it.
    Added(&'a Object),
    /// Only the first side has it.
    Removed(&'a Object),
    /// The second side's, and where the first side differs.
    Changed(&'a Object, &'a Difference),
}

/// The diff of one object; nothing if it is as Git has it, or is no part of the comparison.
pub fn unified(resource: &Resource) -> Option<String> {
    let pair = match (&resource.desired, &resource.live) {
        (Some(desired), None) if !resource.hook => Pair::Added(desired),
        (Some(desired), Some(_)) if !resource.hook => {
            Pair::Changed(desired, resource.difference.as_ref().filter(|difference| !difference.is_empty())?)
        }
        (None, Some(live)) if resource.requires_pruning => Pair::Removed(live),
        _ => return None,
    };
    Some(between(&CLUSTER_AND_GIT, &resource.key.to_string(), pair))
}

/// The diff of one object between two sides.
pub fn between(names: &Names<'_>, title: &str, pair: Pair<'_>) -> String {
    let [first, second] = names.places.map(|place| format!(" (not {place})"));
    let (before, after, remarks) = match pair {
        Pair::Added(object) => (String::new(), yaml(&shown(object)), [first.as_str(), ""]),
        Pair::Removed(object) => (yaml(&shown(object)), String::new(), ["", second.as_str()]),
        Pair::Changed(object, difference) => {
            let (before, after) = sides(names, object, difference);
            (yaml(&before), yaml(&after), ["", ""])
        }
    };
    let hunks = TextDiff::from_lines(&before, &after).unified_diff().context_radius(CONTEXT).to_string();
    let [one, other] = names.heads;
    format!("--- {one}: {title}{}\n+++ {other}: {title}{}\n{hunks}", remarks[0], remarks[1])
}

/// The same for a terminal.
pub fn coloured(diff: &str) -> String {
    let colour = |number: usize, line: &str| match line.as_bytes().first() {
        _ if number < 2 => Some("1"),
        Some(b'-') => Some("31"),
        Some(b'+') => Some("32"),
        Some(b'@') => Some("36"),
        _ => None,
    };
    let paint = |(number, line): (usize, &str)| match colour(number, line) {
        Some(code) => format!("\x1b[{code}m{line}\x1b[0m\n"),
        None => format!("{line}\n"),
    };
    diff.lines().enumerate().map(paint).collect()
}

fn yaml(value: &Value) -> String {
    // A value that came as JSON can be written as YAML.
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string()).trim_end().to_owned() + "\n"
}

/// An object without what the API server keeps in it, and without a Secret's values.
fn shown(object: &Object) -> Value {
    const KEPT_BY_SERVER: [&str; 6] =
        ["managedFields", "creationTimestamp", "generation", "resourceVersion", "selfLink", "uid"];
    let mut value = object.0.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("status");
    }
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        KEPT_BY_SERVER.iter().for_each(|field| drop(metadata.shift_remove(*field)));
        if let Some(notes) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            notes.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if object.is_secret() {
        for field in ["data", "stringData"] {
            let values = value.get_mut(field).and_then(Value::as_object_mut);
            values.into_iter().flatten().for_each(|(_, value)| *value = MASK.into());
        }
    }
    value
}

/// What the cluster has and what Git wants, as far as they differ.
fn sides(names: &Names<'_>, desired: &Object, difference: &Difference) -> (Value, Value) {
    let (mut live, mut wanted) = (shown(desired), shown(desired));
    for field in &difference.fields {
        let path = path(&field.path);
        let secret = desired.is_secret()
            && matches!(path.first(), Some(Segment::Field(top)) if top == "data" || top == "stringData");
        // Both are masked: what is different must not look the same.
        let masked = |value: &Option<Value>, whose: &str| {
            value.as_ref().map(|value| if secret { format!("{MASK} ({whose})").into() } else { value.clone() })
        };
        put(&mut live, &path, masked(&field.live, names.places[0]));
        put(&mut wanted, &path, masked(&field.desired, names.places[1]));
    }
    (live, wanted)
}

/// A step of a path as [`engine::compare::FieldDifference::path`] writes it.
#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Field(String),
    Index(usize),
    /// The item of a list with these fields.
    Item(Vec<(String, String)>),
    /// The value in a set.
    Member(String),
}

/// `spec.containers[name=app].args[0]`, `metadata.annotations["example.com/a"]`, `finalizers[=x]`.
fn path(text: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let Some(inside) = rest.strip_prefix('[') else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            segments.push(Segment::Field(rest[..end].to_owned()));
            rest = &rest[end..];
            continue;
        };
        let mut quoted = serde_json::Deserializer::from_str(inside).into_iter::<Value>();
        if inside.starts_with('"')
            && let Some(Ok(Value::String(name))) = quoted.next()
        {
            segments.push(Segment::Field(name));
            rest = inside[quoted.byte_offset()..].strip_prefix(']').unwrap_or_default();
            continue;
        }
        let end = closing(inside);
        segments.push(bracket(&inside[..end]));
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    segments
}

/// Where the bracket ends: values are written as they are, and may hold brackets themselves.
fn closing(inside: &str) -> usize {
    let ends = |at: &usize| matches!(inside[at + 1..].bytes().next(), None | Some(b'.' | b'['));
    inside.match_indices(']').map(|(at, _)| at).find(ends).unwrap_or(inside.len())
}

fn bracket(text: &str) -> Segment {
    if let Some(member) = text.strip_prefix('=') {
        return Segment::Member(member.to_owned());
    }
    if let Ok(index) = text.parse() {
        return Segment::Index(index);
    }
    let mut keys: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        match (part.split_once('='), keys.last_mut()) {
            (Some((key, value)), _) => keys.push((key.to_owned(), value.to_owned())),
            // A comma inside of a value.
            (None, Some((_, value))) => *value += &format!(",{part}"),
            (None, None) => keys.push((part.to_owned(), String::new())),
        }
    }
    Segment::Item(keys)
}

/// Puts a value at a place, or takes away what is there.
fn put(target: &mut Value, path: &[Segment], value: Option<Value>) {
    let Some((first, rest)) = path.split_first() else {
        if let Some(value) = value {
            *target = value;
        }
        return;
    };
    match first {
        Segment::Field(name) => {
            if !target.is_object() {
                if value.is_none() {
                    return;
                }
                *target = Value::Object(Map::new());
            }
            let Some(map) = target.as_object_mut() else { return };
            match (rest.is_empty(), value) {
                (true, Some(value)) => {
                    let value = map.get(name).and_then(|there| in_order(there, &value)).unwrap_or(value);
                    map.insert(name.clone(), value);
                }
                (true, None) => drop(map.shift_remove(name)),
                (false, None) => {
                    if let Some(inner) = map.get_mut(name) {
                        put(inner, rest, None);
                    }
                }
                (false, value) => put(map.entry(name.clone()).or_insert(Value::Null), rest, value),
            }
        }
        _ => put_item(target, first, rest, value),
    }
}

fn put_item(target: &mut Value, item: &Segment, rest: &[Segment], value: Option<Value>) {
    if !target.is_array() {
        if value.is_none() {
            return;
        }
        *target = Value::Array(Vec::new());
    }
    let Some(list) = target.as_array_mut() else { return };
    let place = match item {
        Segment::Index(index) => (*index < list.len()).then_some(*index),
        Segment::Member(member) => list.iter().position(|value| bare(value) == *member),
        Segment::Item(keys) => find(list, keys),
        Segment::Field(_) => None,
    };
    match (place, rest.is_empty(), value) {
        (Some(place), true, Some(value)) => list[place] = value,
        (Some(place), true, None) => drop(list.remove(place)),
        (Some(place), false, value) => put(&mut list[place], rest, value),
        (None, true, Some(value)) => list.push(value),
        (None, false, Some(value)) => {
            let mut new = Value::Object(Map::new());
            if let Segment::Item(keys) = item {
                for (key, value) in keys {
                    let number = serde_json::from_str(value).ok().filter(Value::is_number);
                    new[key] = number.unwrap_or_else(|| value.clone().into());
                }
            }
            put(&mut new, rest, Some(value));
            list.push(new);
        }
        (None, _, None) => {}
    }
}

/// A list whose order differs, of which the difference has the names alone: the same items in that order.
fn in_order(there: &Value, names: &Value) -> Option<Value> {
    let (items, names) = (there.as_array()?, names.as_array()?);
    let named = |name: &Value| items.iter().find(|item| item.get("name") == Some(name)).cloned();
    let items: Option<Vec<Value>> = names.iter().filter(|name| name.is_string()).map(named).collect();
    items.filter(|items| !items.is_empty() && items.len() == names.len()).map(Value::Array)
}

/// The item with these keys. One that does not say a key has its default there, but it has to say one.
fn find(list: &[Value], keys: &[(String, String)]) -> Option<usize> {
    let says = |item: &Value, (key, value): &(String, String)| item.get(key).map(|there| bare(there) == *value);
    let exactly = list.iter().position(|item| keys.iter().all(|key| says(item, key) == Some(true)));
    exactly.or_else(|| {
        list.iter().position(|item| {
            keys.iter().any(|key| says(item, key) == Some(true))
                && keys.iter().all(|key| says(item, key) != Some(false))
        })
    })
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::compare::{CompareRules, compare};
    use resources::SyncStatus;

    use super::*;

    fn object(yaml: &str) -> Object {
        Object(serde_saphyr::from_str(yaml).unwrap())
    }

    fn resource(desired: Option<&str>, live: Option<&str>) -> Resource {
        let (desired, live) = (desired.map(object), live.map(object));
        let difference =
            desired.as_ref().map(|desired| compare(desired, live.as_ref(), &CompareRules::new(&[], &["lockstep"])));
        let key = desired.as_ref().or(live.as_ref()).unwrap().key();
        Resource {
            key,
            version: "v1".into(),
            requires_pruning: desired.is_none(),
            held_by: None,
            owned: live.is_some(),
            desired: desired.map(Arc::new),
            live: live.map(Arc::new),
            difference,
            health: None,
            status: SyncStatus::OutOfSync,
            hook: false,
        }
    }

    const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: prod}
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: proxy
        image: proxy:1
      - name: main
        image: main:2
        ports: [{containerPort: 80}]
";

    #[test]
    fn only_what_differs() {
        let live = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: prod, uid: u1, resourceVersion: '7', generation: 2}
spec:
  replicas: 1
  revisionHistoryLimit: 10
  template:
    spec:
      containers:
      - {name: proxy, image: 'proxy:1', imagePullPolicy: IfNotPresent}
      - name: main
        image: main:1
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 80, protocol: TCP}]
status: {replicas: 1}
";
        let want = "\
--- cluster: apps/Deployment prod/gateway
+++ git: apps/Deployment prod/gateway
@@ -4,13 +4,13 @@
   name: gateway
   namespace: prod
 spec:
-  replicas: 1
+  replicas: 3
   template:
     spec:
       containers:
       - name: proxy
         image: proxy:1
       - name: main
-        image: main:1
+        image: main:2
         ports:
         - containerPort: 80
";
        let got = unified(&resource(Some(DEPLOYMENT), Some(live))).unwrap();
        // How deep lists are indented is up to the writer of YAML.
        let squeeze =
            |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        assert_eq!(squeeze(&got), squeeze(want), "{got}");
        assert_eq!(unified(&resource(Some(DEPLOYMENT), Some(DEPLOYMENT))), None);
    }

    #[test]
    fn another_order_hides_nothing() {
        let pod = |containers: &str| {
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: b}}, spec: {{initContainers: {containers}}}}}"
            )
        };
        let desired = pod("[{name: one, image: 'x:2'}, {name: two, image: 'z:1'}]");
        let live = pod("[{name: two, image: 'z:1'}, {name: one, image: 'x:1'}]");
        let got = unified(&resource(Some(&desired), Some(&live))).unwrap();
        let changed: Vec<String> =
            got.lines().skip(3).filter(|line| !line.starts_with(' ')).map(|line| line.replace(' ', "")).collect();
        assert_eq!(changed, ["+-name:one", "+image:x:2", "--name:one", "-image:x:1"].map(str::to_owned), "{got}");
    }

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b}, data: {k: v}}";
        let got = unified(&resource(Some(config), None)).unwrap();
        assert!(got.starts_with("--- cluster: ConfigMap b/a (not in the cluster)\n+++ git: ConfigMap b/a\n"), "{got}");
        assert!(got.contains("\n+  k: v\n") && !got.contains("\n-"), "{got}");
        let live = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b, uid: u}, data: {k: v}}";
        let got = unified(&resource(None, Some(live))).unwrap();
        assert!(got.starts_with("--- cluster: ConfigMap b/a\n+++ git: ConfigMap b/a (not in Git)\n"), "{got}");
        assert!(got.contains("\n-  k: v\n") && !got.contains("uid"), "{got}");
        let kept = Resource { requires_pruning: false, ..resource(None, Some(live)) };
        assert_eq!(unified(&kept), None);
        let hook = Resource { hook: true, ..resource(Some(config), None) };
        assert_eq!(unified(&hook), None);
    }

    #[test]
    fn secrets_are_masked_and_still_differ() {
        let desired =
            "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: b}, stringData: {p: hidden, q: same}}";
        let live =
            "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: b}, data: {p: b3RoZXI=, q: c2FtZQ==}}";
        let got = unified(&resource(Some(desired), Some(live))).unwrap();
        assert!(
            got.contains("-  p: '******** (in the cluster)'")
                || got.contains("-  p: \"******** (in the cluster)\"")
                || got.contains("-  p: ******** (in the cluster)"),
            "{got}"
        );
        for hidden in ["hidden", "same", "b3RoZXI=", "c2FtZQ=="] {
            assert!(!got.contains(hidden), "{got}");
        }
        for one_sided in [resource(Some(desired), None), resource(None, Some(live))] {
            let got = unified(&one_sided).unwrap();
            assert!(got.contains(MASK) && !got.contains("hidden") && !got.contains("b3RoZXI="), "{got}");
        }
    }

    #[test]
    fn paths_as_compare_writes_them() {
        let field = |name: &str| Segment::Field(name.into());
        let item = |keys: &[(&str, &str)]| {
            Segment::Item(keys.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
        };
        for (text, want) in [
            ("", vec![]),
            ("spec.replicas", vec![field("spec"), field("replicas")]),
            (
                "spec.containers[name=app].args[0]",
                vec![field("spec"), field("containers"), item(&[("name", "app")]), field("args"), Segment::Index(0)],
            ),
            (
                r#"metadata.annotations["example.com/a"]"#,
                vec![field("metadata"), field("annotations"), field("example.com/a")],
            ),
            (r#"data["a]\"b"].c"#, vec![field("data"), field("a]\"b"), field("c")]),
            (
                "spec.ports[port=80,protocol=TCP].name",
                vec![field("spec"), field("ports"), item(&[("port", "80"), ("protocol", "TCP")]), field("name")],
            ),
            ("f[=a[0]]", vec![field("f"), Segment::Member("a[0]".into())]),
            ("f[name=a,b].c", vec![field("f"), item(&[("name", "a,b")]), field("c")]),
        ] {
            assert_eq!(path(text), want, "{text}");
        }
    }

    #[test]
    fn values_are_put_and_taken_away() {
        use serde_json::json;
        let base = json!({"a": {"list": [{"name": "x", "v": 1}, {"port": 80}], "set": ["p", "q"]}});
        for (at, value, want) in [
            ("a.b.c", Some(json!(1)), json!({"a": {"list": base["a"]["list"], "set": ["p", "q"], "b": {"c": 1}}})),
            ("a.b.c", None, base.clone()),
            ("a.set[=q]", None, json!({"a": {"list": base["a"]["list"], "set": ["p"]}})),
            ("a.set[=r]", Some(json!("r")), json!({"a": {"list": base["a"]["list"], "set": ["p", "q", "r"]}})),
            ("a.set[0]", Some(json!("z")), json!({"a": {"list": base["a"]["list"], "set": ["z", "q"]}})),
            (
                "a.list[name=x].v",
                Some(json!(2)),
                json!({"a": {"list": [{"name": "x", "v": 2}, {"port": 80}], "set": ["p", "q"]}}),
            ),
            ("a.list[name=x]", None, json!({"a": {"list": [{"port": 80}], "set": ["p", "q"]}})),
            (
                "a.list[port=80,protocol=TCP].name",
                Some(json!("web")),
                json!({"a": {"list": [{"name": "x", "v": 1}, {"port": 80, "name": "web"}], "set": ["p", "q"]}}),
            ),
            (
                "a.list[name=y].v",
                Some(json!(3)),
                json!({"a": {"list": [{"name": "x", "v": 1}, {"port": 80}, {"name": "y", "v": 3}], "set": ["p", "q"]}}),
            ),
        ] {
            let mut value_at = base.clone();
            put(&mut value_at, &path(at), value.clone());
            assert_eq!(value_at, want, "{at} {value:?}");
        }
    }

    #[test]
    fn colours() {
        let got = coloured("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n");
        let want = "\x1b[1m--- a\x1b[0m\n\x1b[1m+++ b\x1b[0m\n\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-x\x1b[0m\n\x1b[32m+y\x1b[0m\n z\n";
        assert_eq!(got, want);
    }
}
