//! What recorded objects (`tests/corpus`) brought to light.

use super::*;

/// What the corpus of a real API server found (`tests/corpus`), in a few words each.
#[test]
fn found_by_the_corpus() {
    const POLICY: &str =
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: a}";
    const NETWORK: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}";
    const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}";
    const LIMITS: &str = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: a}";
    let added = "key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300";
    for (head, desired, live, want) in [
        // Filled in by the API server inside of what counts as one value.
        (
            POLICY,
            "spec: {matchConstraints: {resourceRules: []}}",
            { "spec: {matchConstraints: {resourceRules: [], matchPolicy: Equivalent, namespaceSelector: {}}}" },
            "",
        ),
        (
            POLICY,
            "spec: {matchConstraints: {resourceRules: []}}",
            { "spec: {matchConstraints: {resourceRules: [], matchPolicy: Exact}}" },
            "spec.matchConstraints.matchPolicy",
        ),
        (
            DEPLOYMENT,
            "spec: {volumes: [{name: i, downwardAPI: {items: [{path: cpu, resourceFieldRef: {resource: requests.cpu}}]}}]}",
            "spec: {volumes: [{name: i, downwardAPI: {items: [{path: cpu, resourceFieldRef: {resource: requests.cpu, divisor: '0'}}]}}]}",
            "",
        ),
        (
            DEPLOYMENT,
            "spec: {volumeClaimTemplates: [{metadata: {name: d}, status: {}}]}",
            { "spec: {volumeClaimTemplates: [{metadata: {name: d}, status: {phase: Pending}}]}" },
            "",
        ),
        (
            LIMITS,
            "spec: {limits: [{type: Container, default: {cpu: 1}}]}",
            { "spec: {limits: [{type: Container, default: {cpu: '1'}, defaultRequest: {cpu: '1'}}]}" },
            "",
        ),
        (
            LIMITS,
            "spec: {limits: [{type: Container, default: {cpu: 1}}]}",
            { "spec: {limits: [{type: Container, default: {cpu: '1'}, defaultRequest: {cpu: 500m}}]}" },
            "spec.limits[0].defaultRequest.cpu",
        ),
        (PODS, "spec: {tolerations: [{key: a}]}", &format!("spec: {{tolerations: [{{key: a}}, {{{added}}}]}}"), ""),
        (PODS, "spec: {tolerations: [{key: a}]}", "spec: {tolerations: [{key: a}, {key: b}]}", "spec.tolerations"),
        // Selectors count as one value, an empty one selects everything.
        (
            NETWORK,
            "spec: {podSelector: {}}",
            "spec: {podSelector: {matchLabels: {a: b}}}",
            "spec.podSelector.matchLabels",
        ),
        (SERVICE, "spec: {selector: {a: b}}", "spec: {selector: {a: b, c: ''}}", "spec.selector.c"),
        // An empty text is an entry of a map of texts.
        (CONFIG, "data: {a: '', b: x}", "data: {b: x}", "data.a"),
        (SERVICE, "spec: {template: {metadata: {labels: {a: ''}}}}", "spec: {template: {metadata: {}}}", {
            "spec.template.metadata.labels"
        }),
        (SECRET, "data: {a: ''}", "data: {}", "data.a"),
        (SECRET, "data: {a: ''}", "data: {a: ''}", ""),
        // Beyond what a float tells apart.
        (CUSTOM, "spec: {a: 9007199254740993}", "spec: {a: 9007199254740992}", "spec.a"),
        (CUSTOM, "spec: {a: 3.0}", "spec: {a: 3}", ""),
    ] {
        assert_eq!(differences(head, desired, live).join(" "), want, "{desired}\n{live}");
    }
    for (desired, live, want) in [
        (joined(CONFIG, "data: {b: x}"), joined(CONFIG, "data: {a: '', b: x}"), "data.a"),
        (joined(CONFIG, "{}"), joined(CONFIG, "data: {a: ''}"), "data"),
        (joined(SECRET, "data: {}"), joined(SECRET, "data: {a: ''}"), "data.a"),
        (joined(CONFIG, "{}"), joined(CONFIG, "data: {}"), ""),
        (
            yaml(
                "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {targetCPUUtilizationPercentage: 75}}",
            ),
            yaml(
                "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {metrics: [{type: Resource, \
                 resource: {name: cpu, target: {type: Utilization, averageUtilization: 75}}}]}}",
            ),
            "",
        ),
    ] {
        assert_eq!(paths(&compare_predicted(&desired, &live, &rules())).join(" "), want, "{desired:?}");
    }
    // Somebody took a whole map of a custom resource over: whether what it has besides would go, its schema says.
    let taken = joined(CUSTOM, "spec: {a: 1, b: 2}").with_fields(r#"{"f:metadata":{"f:labels":{}}}"#);
    let difference = compare(&joined(CUSTOM, "spec: {a: 1}"), Some(&taken), &rules());
    assert_eq!((difference.fields.len(), difference.doubts), (0, vec!["spec".to_owned()]));
    // In an item of a list of a custom resource, what looks like a default of Kubernetes may be none.
    let atomic =
        joined(CUSTOM, "spec: {ports: [{port: 1, protocol: TCP}]}").with_fields(r#"{"f:spec":{"f:ports":{}}}"#);
    let difference = compare(&joined(CUSTOM, "spec: {ports: [{port: 1}]}"), Some(&atomic), &rules());
    assert_eq!((difference.fields.len(), difference.doubts.len()), (0, 1));
}
