use proptest::prelude::*;
use serde_json::json;

use super::*;

pub(super) fn yaml(text: &str) -> Object {
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

pub(super) fn paths(difference: &Difference) -> Vec<String> {
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
        (
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}",
            "spec: {group: example.com, scope: Namespaced, preserveUnknownFields: false, names: {kind: Widget, plural: widgets}, \
             conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], \
             clientConfig: {caBundle: Cg==, service: {name: a, namespace: b}}}}, \
             versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}, \
             additionalPrinterColumns: [{name: Age, type: date, jsonPath: .metadata.creationTimestamp, priority: 0}]}]}",
            "{spec: {group: example.com, scope: Namespaced, \
             names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}, \
             conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], \
             clientConfig: {caBundle: QUJD, service: {name: a, namespace: b, port: 443}}}}, \
             versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}, \
             additionalPrinterColumns: [{name: Age, type: date, jsonPath: .metadata.creationTimestamp}]}]}, \
             status: {acceptedNames: {kind: Widget, plural: widgets}}}",
        ),
        (
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}",
            "spec: {scope: Cluster}",
            "spec: {scope: Cluster, conversion: {strategy: None}}",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap",
            "metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{}}'}}",
            "metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap",
            "metadata: {name: a}",
            "metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}",
            "spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: '80'}}}}]}}]}",
            "spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}}]}",
        ),
        (
            DEPLOYMENT,
            &*pod("{name: a, livenessProbe: {httpGet: {port: '8080', scheme: HTTP}}, ports: [{containerPort: '80'}]}"),
            &*pod(
                "{name: a, livenessProbe: {httpGet: {port: 8080, scheme: HTTP}}, ports: [{containerPort: 80, protocol: TCP}]}",
            ),
        ),
        (
            DEPLOYMENT,
            "spec: {strategy: {rollingUpdate: {maxSurge: '1'}}}",
            "spec: {strategy: {rollingUpdate: {maxSurge: 1}}}",
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
    assert_eq!(
        replicas.to_string(),
        "spec.replicas: live 5, wanted 3 (changed by kubectl-edit at 2026-01-02T03:04:05Z)"
    );
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

pub(super) trait WithFields {
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
    // What the API server converts, it compares too.
    let (live, desired) = (yaml("{apiVersion: a.b/v1, kind: A}"), yaml("{apiVersion: a.b/v2, kind: A}"));
    assert!(compare(&desired, Some(&live), &rules()).doubts.contains(&"apiVersion".into()));
}

#[test]
fn autoscalers_of_two_versions() {
    let head = |version: &str| {
        format!("apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: a}}")
    };
    let live = "spec: {minReplicas: 1, maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, \
                target: {type: Utilization, averageUtilization: 80}}}]}";
    for (version, spec, want) in [
        ("v1", "{maxReplicas: 3, targetCPUUtilizationPercentage: 80}", ""),
        ("v1", "{maxReplicas: 3}", ""),
        ("v1", "{maxReplicas: 4, targetCPUUtilizationPercentage: 80}", "spec.maxReplicas"),
        (
            "v1",
            "{maxReplicas: 3, targetCPUUtilizationPercentage: 70}",
            "spec.metrics[0].resource.target.averageUtilization",
        ),
        (
            "v2beta1",
            "{maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, targetAverageUtilization: 80}}]}",
            "",
        ),
    ] {
        let (desired, live) = (joined(&head(version), &format!("spec: {spec}")), joined(&head("v2"), live));
        let difference = compare(&desired, Some(&live), &rules());
        assert_eq!(paths(&difference).join(" "), want, "{version} {spec}");
        assert!(!difference.doubts.contains(&"apiVersion".into()));
    }
    // What an Argo CD applied as v1 and no longer wants is still known.
    let mut old = joined(&head("v2"), live);
    let previous = joined(&head("v1"), "spec: {maxReplicas: 3, minReplicas: 1, targetCPUUtilizationPercentage: 80}");
    old.set_annotation(LAST_APPLIED, &previous.0.to_string());
    let desired = joined(&head("v1"), "spec: {maxReplicas: 3}");
    assert_eq!(paths(&compare(&desired, Some(&old), &rules())), ["spec.minReplicas", "spec.metrics"]);
}

#[test]
fn settings_for_every_application() {
    let cluster_role = |rules: &str| {
        yaml(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: a}}, \
             aggregationRule: {{clusterRoleSelectors: []}}, rules: {rules}}}"
        ))
    };
    for (ignore_aggregated_roles, want) in [(true, ""), (false, "rules")] {
        let system = SystemRules { ignore_aggregated_roles, ..SystemRules::default() };
        let rules = CompareRules::with_system(&[], &system, &["lockstep"]);
        let (desired, live) = (cluster_role("[]"), cluster_role("[{verbs: [get]}]"));
        assert_eq!(paths(&compare(&desired, Some(&live), &rules)).join(" "), want, "{ignore_aggregated_roles}");
    }

    for (text, crd, other) in [("all", false, false), ("crd", false, true), ("none", true, true), ("off", true, true)] {
        let ignore_status = IgnoreStatus::parse(text).unwrap();
        let system = SystemRules { ignore_status, ..SystemRules::default() };
        let rules = CompareRules::with_system(&[], &system, &["lockstep"]);
        for (head, counts) in [
            ("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}", crd),
            (CUSTOM, other),
        ] {
            let desired = joined(head, "status: {phase: Wanted}");
            let live = joined(head, "status: {phase: Other, more: 1}");
            let want = if counts { "status.phase" } else { "" };
            assert_eq!(paths(&compare(&desired, Some(&live), &rules)).join(" "), want, "{text} {head}");
            assert!(compare_predicted(&desired, &live, &rules).is_empty(), "{text} {head}");
        }
    }
    assert_eq!(IgnoreStatus::parse("some"), None);

    // The application's rules and the system's hold together.
    let rule = |pointer: &str| IgnoreDifference {
        group: "*".into(),
        kind: "*".into(),
        json_pointers: vec![pointer.into()],
        ..IgnoreDifference::default()
    };
    let system = SystemRules { ignore: vec![rule("/spec/b"), rule("broken")], ..SystemRules::default() };
    let rules = CompareRules::with_system(&[rule("/spec/a")], &system, &["lockstep"]);
    let (desired, live) = (joined(CUSTOM, "spec: {a: 1, b: 1, c: 1}"), joined(CUSTOM, "spec: {a: 2, b: 2, c: 2}"));
    assert_eq!(paths(&compare(&desired, Some(&live), &rules)), ["spec.c"]);
    assert_eq!(rules.warnings().len(), 1);
}

#[test]
fn fields_of_known_types() {
    let known = |field: &str, type_name: &str| KnownTypeField {
        group: "example.com".into(),
        kind: "Widget".into(),
        field: field.into(),
        type_name: type_name.into(),
    };
    let system = SystemRules {
        known_types: vec![
            known("spec.size", "core/Quantity"),
            known("spec.parts.wait", "meta/v1/Duration"),
            known("spec.sizes", "core/v1/ResourceList"),
            known("spec.pod", "core/v1/PodSpec"),
            known("spec.odd", "Quantity"),
            known("", "core/Quantity"),
        ],
        ..SystemRules::default()
    };
    let with_types = CompareRules::with_system(&[], &system, &["lockstep"]);
    assert_eq!(with_types.warnings().len(), 2, "{:?}", with_types.warnings());
    for (desired, live, plain, want) in [
        ("{size: 1000m}", "{size: '1'}", "spec.size", ""),
        ("{size: 1}", "{size: '1'}", "spec.size", ""),
        ("{size: 2000m}", "{size: '1'}", "spec.size", "spec.size"),
        ("{parts: [{wait: 60s}]}", "{parts: [{wait: 1m}]}", "spec.parts[0].wait", ""),
        ("{parts: {wait: 60s}}", "{parts: {wait: 1m0s}}", "spec.parts.wait", ""),
        ("{parts: {other: 60s}}", "{parts: {other: 1m}}", "spec.parts.other", "spec.parts.other"),
        ("{sizes: {gpu: 1k}}", "{sizes: {gpu: '1000'}}", "spec.sizes.gpu", ""),
        ("{pod: {hostNetwork: false}}", "{pod: {}}", "spec.pod.hostNetwork", ""),
        // Known by their names, in every kind.
        ("{pod: {resources: {limits: {cpu: 1000m}}}}", "{pod: {resources: {limits: {cpu: '1'}}}}", "", ""),
        ("{timeout: 60s, storage: 1Gi}", "{timeout: 1m0s, storage: 1024Mi}", "", ""),
        ("{odd: 1000m}", "{odd: '1'}", "spec.odd", "spec.odd"),
    ] {
        let (desired, live) = (joined(CUSTOM, &format!("spec: {desired}")), joined(CUSTOM, &format!("spec: {live}")));
        assert_eq!(paths(&compare(&desired, Some(&live), &rules())).join(" "), plain, "{desired:?}");
        assert_eq!(paths(&compare(&desired, Some(&live), &with_types)).join(" "), want, "{desired:?}");
    }
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

pub(super) fn any_value() -> impl Strategy<Value = Value> {
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
        let named = prop::collection::btree_map("[a-c]", (field.clone(), inner.clone()), 1..4).prop_map(|items| {
            items.into_iter().map(|(name, (field, value))| json!({field: value, "name": name})).collect::<Value>()
        });
        let list = prop::sample::select(vec!["containers", "env"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            (list, named, field.clone(), inner.clone())
                .prop_map(|(list, items, field, value)| json!({field: value, list: items})),
            prop::collection::vec((field, inner), 0..4).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

pub(super) fn any_object() -> impl Strategy<Value = Object> {
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

#[test]
fn a_secret_of_which_only_digests_are_known() {
    let wanted = |value: &str| {
        Object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "namespace": "b" }, "stringData": { "p": value },
        }))
    };
    let mut live = wanted("hidden");
    live.0.as_object_mut().unwrap().remove("stringData");
    live.0["data"] = json!({ "p": "aGlkZGVu", "more": "" });
    let mut digested = live.clone();
    digested.digest_secret();
    let rules = CompareRules::new(&[], &["lockstep"]);
    for live in [&live, &digested] {
        assert!(compare(&wanted("hidden"), Some(live), &rules).is_empty());
        let difference = compare(&wanted("other"), Some(live), &rules);
        assert_eq!(difference.fields[0].path, "data.p");
        assert!(!difference.to_string().contains("sha256"), "{difference}");
    }
    assert!(compare_predicted(&live, &digested, &rules).is_empty());
    let mut changed = live.clone();
    changed.0["data"]["p"] = "b3RoZXI=".into();
    assert!(!compare_predicted(&changed, &digested, &rules).is_empty());
}

pub(super) mod properties;
mod recorded;
