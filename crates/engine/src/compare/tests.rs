use proptest::prelude::*;
use serde_json::json;

use super::*;

fn yaml(text: &str) -> Object {
    Object(serde_saphyr::from_str(text).unwrap())
}

fn rules() -> CompareRules {
    CompareRules::new(&[], &["lockstep", "argocd-controller"])
}

fn joined(head: &str, body: &str) -> Object {
    let (mut head, body) = (yaml(head), yaml(body));
    head.0.as_object_mut().unwrap().extend(body.0.as_object().unwrap().clone());
    head
}

/// Desired and live with the same head, compared.
fn differences(head: &str, desired: &str, live: &str) -> Vec<String> {
    let (desired, live) = (joined(head, desired), joined(head, live));
    paths(&compare(&desired, Some(&live), &rules()))
}

fn paths(difference: &Difference) -> Vec<String> {
    difference.fields.iter().map(|field| field.path.clone()).collect()
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gateway, namespace: dev}";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: gateway, namespace: dev}";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gateway, namespace: dev}";
const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: gateway, namespace: dev}";
const CUSTOM: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: gateway, namespace: dev}";

#[test]
fn what_api_servers_rewrite_is_no_difference() {
    let pod = |container: &str| format!("spec: {{template: {{spec: {{containers: [{container}]}}}}}}");
    for (head, desired, live) in [
        (
            DEPLOYMENT,
            &*pod("{name: a, resources: {limits: {cpu: 1000m, memory: 1Gi}}}"),
            &*pod("{name: a, resources: {limits: {cpu: '1', memory: 1024Mi}}}"),
        ),
        (
            DEPLOYMENT,
            &*pod("{name: a, resources: {requests: {cpu: 1}}}"),
            &*pod("{name: a, resources: {requests: {cpu: '1'}}}"),
        ),
        (
            DEPLOYMENT,
            "spec: {replicas: 1}",
            "spec: {replicas: 1, progressDeadlineSeconds: 600, strategy: {type: RollingUpdate}}",
        ),
        (DEPLOYMENT, "spec: {template: {metadata: {creationTimestamp: null}}}", "spec: {}"),
        (DEPLOYMENT, "spec: {template: {spec: {hostNetwork: false}}}", "spec: {template: {spec: {}}}"),
        (DEPLOYMENT, &*pod("{name: a, env: [], securityContext: {}, args: null}"), &*pod("{name: a}")),
        (DEPLOYMENT, &*pod("{name: a, env: [{name: A, value: ''}]}"), &*pod("{name: a, env: [{name: A}]}")),
        (
            DEPLOYMENT,
            &*pod("{name: a, ports: [{containerPort: 80}]}"),
            &*pod("{name: a, ports: [{containerPort: 80, protocol: TCP}]}"),
        ),
        (DEPLOYMENT, "status: {replicas: 1}", "status: {replicas: 2}"),
        (DEPLOYMENT, "spec: {replicas: null}", "spec: {replicas: 2}"),
        (SERVICE, "spec: {ports: [{port: 80, targetPort: '8080'}]}", {
            "spec: {clusterIP: 10.0.0.1, ports: [{port: 80, protocol: TCP, targetPort: 8080, nodePort: 30000}]}"
        }),
        (SERVICE, "spec: {ports: [{port: 80, name: a}, {port: 81, name: b}]}", {
            "spec: {ports: [{port: 81, name: b, protocol: TCP}, {port: 80, name: a, protocol: TCP}]}"
        }),
        (CONFIG, "data: {}", "{}"),
        (CUSTOM, "spec: {duration: 2160h, renewBefore: 360h}", "spec: {duration: 2160h0m0s, renewBefore: 360h0m0s}"),
        (CUSTOM, "spec: {weight: 1}", "spec: {weight: 1.0}"),
        (
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a}",
            "webhooks: [{name: x, clientConfig: {caBundle: Cg==}, rules: [{operations: [CREATE]}]}]",
            "webhooks: [{name: x, clientConfig: {caBundle: QUJD}, rules: [{operations: [CREATE], scope: '*'}], matchPolicy: Equivalent}]",
        ),
        (
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}",
            "spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {resources: {requests: {storage: 1Gi}}}}]}",
            "spec: {volumeClaimTemplates: [{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d, creationTimestamp: null}, \
             spec: {resources: {requests: {storage: 1Gi}}, volumeMode: Filesystem}, status: {phase: Pending}}]}",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}",
            "spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}",
            "spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80, protocol: TCP}]}]}",
        ),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}",
            "{aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}, rules: []}",
            "{aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}, rules: [{verbs: [get]}]}",
        ),
        (SECRET, "stringData: {a: hello}", "{data: {a: aGVsbG8=}, type: Opaque}"),
        (SECRET, "data: {a: \"aGVs\\nbG8\"}", "data: {a: aGVsbG8=}"),
        (SECRET, "{data: {a: eA==}, stringData: {a: hello}}", "data: {a: aGVsbG8=}"),
    ] {
        assert_eq!(differences(head, desired, live), Vec::<String>::new(), "{desired}\n{live}");
    }
}

#[test]
fn real_differences() {
    let pod = |container: &str| format!("spec: {{template: {{spec: {{containers: [{container}]}}}}}}");
    for (head, desired, live, want) in [
        (DEPLOYMENT, "spec: {replicas: 3}", "spec: {replicas: 1}", "spec.replicas"),
        (DEPLOYMENT, "spec: {replicas: 0}", "spec: {replicas: 1}", "spec.replicas"),
        (
            DEPLOYMENT,
            "spec: {template: {spec: {automountServiceAccountToken: false}}}",
            "spec: {template: {spec: {}}}",
            { "spec.template.spec.automountServiceAccountToken" },
        ),
        (DEPLOYMENT, &pod("{name: a, image: x:2}"), &pod("{name: b, image: y}, {name: a, image: x:1}"), {
            "spec.template.spec.containers[name=a].image"
        }),
        (DEPLOYMENT, &pod("{name: a}, {name: b}"), &pod("{name: a}"), "spec.template.spec.containers[name=b]"),
        (DEPLOYMENT, &pod("{name: a, args: [x, y]}"), &pod("{name: a, args: [y, x]}"), {
            "spec.template.spec.containers[name=a].args[0] spec.template.spec.containers[name=a].args[1]"
        }),
        (
            DEPLOYMENT,
            &pod("{name: a, args: [x]}"),
            &pod("{name: a, args: [x, y]}"),
            "spec.template.spec.containers[name=a].args",
        ),
        (
            DEPLOYMENT,
            "spec: {template: {spec: {initContainers: [{name: a}, {name: b}]}}}",
            { "spec: {template: {spec: {initContainers: [{name: b}, {name: a}]}}}" },
            "spec.template.spec.initContainers",
        ),
        (
            DEPLOYMENT,
            &pod("{name: a, resources: {limits: {cpu: 1}}}"),
            &pod("{name: a, resources: {limits: {cpu: 2000m}}}"),
            { "spec.template.spec.containers[name=a].resources.limits.cpu" },
        ),
        (CONFIG, "data: {a: 1000m, timeout: 60s}", "data: {a: '1', timeout: 1m}", "data.a data.timeout"),
        (CONFIG, "data: {a: \"x\\n\"}", "data: {a: x}", "data.a"),
        (CONFIG, "data: {a: x}", "{}", "data"),
        (SERVICE, "spec: {ports: [{port: 80, protocol: UDP}]}", "spec: {ports: [{port: 80, protocol: TCP}]}", {
            "spec.ports[port=80,protocol=UDP]"
        }),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a}",
            "rules: [{resources: [secrets], verbs: [get]}]",
            "rules: [{resources: [secrets], verbs: [get], resourceNames: [a]}]",
            "rules[0].resourceNames",
        ),
        (SECRET, "stringData: {a: hello}", "data: {a: eA==}", "data.a"),
        (SECRET, "data: {a: eA==, b: eA==}", "data: {a: eA==}", "data.b"),
        (CUSTOM, "spec: {tag: 1}", "spec: {tag: '1'}", "spec.tag"),
        (CUSTOM, "spec: {a: [1]}", "spec: {a: {b: 1}}", "spec.a"),
    ] {
        assert_eq!(differences(head, desired, live).join(" "), want, "{desired}\n{live}");
    }
}

#[test]
fn labels_and_annotations() {
    let head = "apiVersion: v1\nkind: ConfigMap";
    let desired = "metadata: {name: a, uid: x, labels: {app: a}, annotations: {note: 'true'}, finalizers: [b]}";
    let live = "metadata: {name: a, uid: y, labels: {app: b, other: c}, annotations: {note: 'true', lockstep.dev/wanted: x}, \
                finalizers: [a, b], resourceVersion: '1'}";
    assert_eq!(differences(head, desired, live), ["metadata.labels.app"]);
}

/// A live Deployment with managed fields of several managers.
fn managed(ours: &str, operation: &str) -> Object {
    yaml(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: gateway
  namespace: dev
  labels: {{app: gateway, old: ours, other: theirs}}
  managedFields:
  - manager: {ours}
    operation: {operation}
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {{f:labels: {{f:app: {{}}, f:old: {{}}}}}}
      f:spec:
        f:replicas: {{}}
        f:minReadySeconds: {{}}
        f:template:
          f:spec:
            f:containers:
              'k:{{"name":"app"}}': {{'.': {{}}, f:name: {{}}, f:image: {{}}, f:env: {{'k:{{"name":"OLD"}}': {{'.': {{}}, f:name: {{}}, f:value: {{}}}}}}}}
              'k:{{"name":"sidecar"}}': {{'.': {{}}, f:name: {{}}, f:image: {{}}}}
  - manager: kubectl-edit
    operation: Update
    time: '2026-01-02T03:04:05Z'
    fieldsV1:
      f:metadata: {{f:labels: {{f:other: {{}}}}}}
      f:spec: {{f:replicas: {{}}, f:template: {{f:spec: {{f:containers: {{'k:{{"name":"injected"}}': {{'.': {{}}, f:name: {{}}}}}}}}}}}}
  - manager: kube-controller-manager
    operation: Update
    subresource: status
    fieldsV1: {{f:status: {{f:replicas: {{}}}}}}
spec:
  replicas: 5
  progressDeadlineSeconds: 600
  template:
    spec:
      containers:
      - {{name: injected}}
      - {{name: app, image: "app:1", terminationMessagePath: /dev/termination-log, env: [{{name: OLD, value: x}}, {{name: SET, value: y}}]}}
      - {{name: sidecar, image: "side:1", imagePullPolicy: Always}}
"#
    ))
}

fn wanted() -> Object {
    yaml(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: dev, labels: {app: gateway}}
spec:
  minReadySeconds: 0
  replicas: 3
  template: {spec: {containers: [{name: app, image: 'app:1'}]}}
",
    )
}

#[test]
fn what_was_ours_and_is_no_longer_wanted_is_a_difference() {
    let difference = compare(&wanted(), Some(&managed("lockstep", "Apply")), &rules());
    assert_eq!(
        paths(&difference),
        [
            "spec.replicas",
            "spec.template.spec.containers[name=app].env[name=OLD]",
            "spec.template.spec.containers[name=sidecar]",
            "metadata.labels.old",
        ]
        .map(String::from)
        .into_iter()
        .collect::<Vec<_>>()
        .tap_sorted(&difference)
    );
    let replicas = difference.fields.iter().find(|field| field.path == "spec.replicas").unwrap();
    assert_eq!(replicas.changed_by.as_ref().unwrap().manager, "kubectl-edit");
    assert_eq!(replicas.to_string(), "spec.replicas: live 5, wanted 3 (changed by kubectl-edit)");
    assert!(difference.doubts.is_empty());

    // Without replicas in the manifest both own it, and leaving it out removes nothing.
    let mut without = wanted();
    without.0["spec"].as_object_mut().unwrap().remove("replicas");
    assert!(
        !paths(&compare(&without, Some(&managed("lockstep", "Apply")), &rules())).contains(&"spec.replicas".into())
    );
    // Somebody else's fields are theirs.
    assert_eq!(paths(&compare(&wanted(), Some(&managed("helm", "Apply")), &rules())), ["spec.replicas"]);
}

trait TapSorted {
    fn tap_sorted(self, like: &Difference) -> Vec<String>;
}

impl TapSorted for Vec<String> {
    /// The same paths in the order of the difference, which follows the manifest.
    fn tap_sorted(mut self, like: &Difference) -> Vec<String> {
        let order = paths(like);
        self.sort_by_key(|path| order.iter().position(|other| other == path));
        self
    }
}

#[test]
fn fields_that_were_written_and_not_applied_are_in_doubt() {
    let live = managed("argocd-controller", "Update");
    let difference = compare(&wanted(), Some(&live), &rules());
    assert_eq!(paths(&difference), ["spec.replicas"]);
    assert!(difference.doubts.contains(&"metadata.labels.old".into()), "{:?}", difference.doubts);

    // With what was applied before, there is no doubt.
    let mut previous = wanted();
    previous.set_label("old", "ours");
    let difference = compare_with(&wanted(), Some(&live), Some(&previous), &rules());
    assert_eq!(paths(&difference), ["metadata.labels.old", "spec.replicas"]);
    assert!(difference.doubts.is_empty());

    // Argo CD and kubectl leave that as an annotation.
    let mut live = live;
    live.set_annotation(LAST_APPLIED, &previous.0.to_string());
    let difference = compare(&wanted(), Some(&live), &rules());
    assert_eq!(paths(&difference), ["metadata.labels.old", "spec.replicas"]);
}

#[test]
fn lists_of_custom_resources() {
    let live = |fields: &str| {
        yaml(&format!(
            "{CUSTOM}\nspec: {{data: [{{key: a, strategy: Default}}, {{key: b}}]}}\n\
             status: {{}}"
        ))
        .with_fields(fields)
    };
    let desired = |list: &str| yaml(&format!("{CUSTOM}\nspec: {{data: {list}}}"));
    let keyed =
        r#"{"f:spec":{"f:data":{"k:{\"key\":\"a\"}":{".":{},"f:key":{}},"k:{\"key\":\"b\"}":{".":{},"f:key":{}}}}}"#;
    let atomic = r#"{"f:spec":{"f:data":{}}}"#;
    for (fields, list, want, doubts) in [
        (keyed, "[{key: b}, {key: a}]", "", 0),
        (keyed, "[{key: b}]", "spec.data[key=a]", 0),
        (atomic, "[{key: a}, {key: b}]", "", 1),
        (atomic, "[{key: a, strategy: Default}, {key: b}]", "", 0),
        (atomic, "[{key: b}, {key: a}]", "spec.data[0].key spec.data[1].key", 1),
        (atomic, "[{key: b}]", "spec.data", 0),
    ] {
        let difference = compare(&desired(list), Some(&live(fields)), &rules());
        assert_eq!(paths(&difference).join(" "), want, "{list} {fields}");
        assert_eq!(difference.doubts.len(), doubts, "{list} {:?}", difference.doubts);
    }
}

trait WithFields {
    fn with_fields(self, fields: &str) -> Self;
}

impl WithFields for Object {
    fn with_fields(mut self, fields: &str) -> Self {
        let fields: Value = serde_json::from_str(fields).unwrap();
        self.0["metadata"]["managedFields"] =
            json!([{"manager": "lockstep", "operation": "Apply", "fieldsV1": fields}]);
        self
    }
}

#[test]
fn ignored_differences() {
    let desired = yaml(&format!(
        "{DEPLOYMENT}\nspec: {{replicas: 3, template: {{spec: {{containers: [{{name: app, image: 'a:1'}}, {{name: b, image: 'b:1'}}]}}}}}}"
    ));
    let live = yaml(&format!(
        "{DEPLOYMENT}\nspec: {{replicas: 5, template: {{spec: {{containers: [{{name: app, image: 'a:2'}}, {{name: b, image: 'b:2'}}]}}}}}}"
    ));
    let (replicas, a, b) = (
        "spec.replicas",
        "spec.template.spec.containers[name=app].image",
        "spec.template.spec.containers[name=b].image",
    );
    let pointers = |pointers: &[&str]| IgnoreDifference {
        json_pointers: pointers.iter().map(|&pointer| pointer.to_owned()).collect(),
        ..IgnoreDifference::default()
    };
    let jq = |expression: &str| IgnoreDifference {
        jq_path_expressions: vec![expression.into()],
        ..IgnoreDifference::default()
    };
    for (rule, want) in [
        (pointers(&["/spec/replicas"]), vec![a, b]),
        (pointers(&["/spec/template/spec/containers/0/image"]), vec![replicas, b]),
        (pointers(&["/spec/template", "/spec/nothing"]), vec![replicas]),
        (pointers(&["/spec"]), vec![]),
        (jq(".spec.replicas"), vec![a, b]),
        (jq(".spec.template.spec.containers[].image"), vec![replicas]),
        (jq(".spec.template.spec.containers[] | select(.name == \"b\") | .image"), vec![replicas, a]),
        (jq(".spec.template.spec.containers[] | select(.name == \"b\")"), vec![replicas, a]),
        (jq("del(.spec)"), vec![replicas, a, b]),
    ] {
        for (group, kind, applies) in [("apps", "Deployment", true), ("*", "*", true), ("apps", "StatefulSet", false)] {
            let rule = IgnoreDifference { group: group.into(), kind: kind.into(), ..rule.clone() };
            let rules = CompareRules::new(std::slice::from_ref(&rule), &["lockstep"]);
            let got = paths(&compare(&desired, Some(&live), &rules));
            assert_eq!(got, if applies { want.clone() } else { vec![replicas, a, b] }, "{rule:?}");
            assert_eq!(rules.warnings().len(), usize::from(rule.jq_path_expressions == ["del(.spec)"]));
        }
    }
    let managers = IgnoreDifference {
        group: "*".into(),
        kind: "*".into(),
        managed_fields_managers: vec!["kubectl*".into()],
        ..IgnoreDifference::default()
    };
    let rules = CompareRules::new(&[managers], &["lockstep"]);
    let got = paths(&compare(&wanted(), Some(&managed("lockstep", "Apply")), &rules));
    assert!(!got.contains(&replicas.into()) && got.contains(&"metadata.labels.old".into()), "{got:?}");
}

#[test]
fn secrets_are_masked() {
    let desired = yaml(&format!("{SECRET}\ntype: Opaque\nstringData: {{password: hunter2}}"));
    let live = yaml(&format!("{SECRET}\ntype: Opaque\ndata: {{password: c2VjcmV0, old: b2xk}}"))
        .with_fields(r#"{"f:data":{"f:password":{},"f:old":{}}}"#);
    let difference = compare(&desired, Some(&live), &rules());
    assert_eq!(paths(&difference), ["data.password", "data.old"]);
    let text = format!("{difference} {difference:?} {}", serde_json::to_string(&difference).unwrap());
    for secret in ["hunter2", "c2VjcmV0", "b2xk"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn missing_and_versions() {
    let difference = compare(&wanted(), None, &rules());
    assert!(difference.missing && !difference.is_empty());
    assert_eq!(difference.to_string(), "not in the cluster");
    let live = yaml("{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}}");
    let desired = yaml("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}}");
    assert!(compare(&desired, Some(&live), &rules()).doubts.contains(&"apiVersion".into()));
}

#[test]
fn a_dry_run_says_everything() {
    let live = managed("lockstep", "Apply");
    assert!(compare_predicted(&live, &live, &rules()).is_empty());
    let mut predicted = live.clone();
    predicted.0["metadata"]["resourceVersion"] = json!("9");
    predicted.0["metadata"]["managedFields"] = json!([]);
    assert!(compare_predicted(&predicted, &live, &rules()).is_empty());
    predicted.0["metadata"]["labels"].as_object_mut().unwrap().remove("other");
    predicted.0["spec"]["replicas"] = json!(3);
    let mut got = paths(&compare_predicted(&predicted, &live, &rules()));
    got.sort();
    assert_eq!(got, ["metadata.labels.other", "spec.replicas"]);
}

#[test]
fn compare_options() {
    for (text, want) in [
        ("", CompareOptions::default()),
        ("IgnoreExtraneous", CompareOptions { ignore_extraneous: true, ..CompareOptions::default() }),
        ("IgnoreExtraneous , ServerSideDiff=true", {
            CompareOptions { ignore_extraneous: true, server_side_diff: Some(true), ..CompareOptions::default() }
        }),
        ("ServerSideDiff=false,IncludeMutationWebhook=true", {
            CompareOptions {
                server_side_diff: Some(false),
                include_mutation_webhook: true,
                ..CompareOptions::default()
            }
        }),
    ] {
        assert_eq!(CompareOptions::parse(text), want, "{text}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        "[a-c0-9mGi]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let field = prop::sample::select(vec![
            "a",
            "name",
            "ports",
            "port",
            "containers",
            "env",
            "limits",
            "cpu",
            "value",
            "replicas",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..4).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Object> {
    let kind = prop::sample::select(vec![
        ("apps/v1", "Deployment"),
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("example.com/v1", "Widget"),
    ]);
    (kind, any_value(), any_value()).prop_map(|((version, kind), spec, mut data)| {
        if kind == "Secret" {
            let fields = data.as_object().cloned().unwrap_or_default();
            data = fields.into_iter().filter(|(_, value)| value.is_null() || value.is_string()).collect();
        }
        Object(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec, "data": data}))
    })
}

/// What an apply does at its simplest: what the manifest says replaces what is there.
fn merge(live: &mut Value, desired: &Value) {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            for (name, value) in desired.iter().filter(|(_, value)| !value.is_null()) {
                merge(live.entry(name).or_insert(Value::Null), value);
            }
        }
        (live, desired) => *live = desired.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_object_agrees_with_itself(object in any_object()) {
        let difference = compare(&object, Some(&object), &rules());
        prop_assert!(difference.is_empty(), "{difference}");
        prop_assert!(compare_predicted(&object, &object, &rules()).is_empty());
    }

    #[test]
    fn a_difference_that_is_applied_is_gone(desired in any_object(), live in any_object()) {
        let mut live = live;
        prop_assume!(desired.kind() != "Secret" || live.kind() == "Secret");
        for field in ["apiVersion", "kind"] {
            live.0[field] = desired.0[field].clone();
        }
        let before = compare(&desired, Some(&live), &rules());
        merge(&mut live.0, &desired.0);
        let after = compare(&desired, Some(&live), &rules());
        prop_assert!(after.is_empty(), "{before}\n{after}");
    }
}

/// Not a benchmark, but a guard against a comparison that costs a clone of everything: debug builds are ten times slower.
#[test]
fn a_comparison_is_cheap() {
    let (desired, live, rules) = (wanted(), managed("lockstep", "Apply"), rules());
    let started = std::time::Instant::now();
    for _ in 0..2_000 {
        std::hint::black_box(compare(&desired, Some(&live), &rules));
    }
    assert!(started.elapsed().as_secs() < 5, "{:?} for 2,000 comparisons", started.elapsed());
}
