use engine::compare::{IgnoreStatus, KnownTypeField};
use resources::HealthStatus;
use serde_json::json;

use super::*;

fn parse(data: &[(&str, &str)]) -> Customizations {
    Customizations::parse(&data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

/// What is ignored, as `group/kind: pointers; jq; managers`.
fn ignored(customizations: &Customizations) -> Vec<String> {
    let lists = |ignored: &IgnoreDifference| {
        [&ignored.json_pointers, &ignored.jq_path_expressions, &ignored.managed_fields_managers]
            .map(|list| list.join(" "))
    };
    let text =
        |ignored: &IgnoreDifference| format!("{}/{}: {}", ignored.group, ignored.kind, lists(ignored).join("; "));
    customizations.ignore_differences().iter().map(text).collect()
}

fn object(api_version: &str, kind: &str) -> Object {
    Object(json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a" } }))
}

/// The message that the Lua for a kind gives.
fn message(customizations: &Customizations, api_version: &str, kind: &str) -> Option<String> {
    customizations.health(&object(api_version, kind), Timestamp::MAX).map(|health| health.message)
}

const PAUSED: &str = "return { status = 'Suspended', message = 'the user says so' }";

#[test]
fn differences_are_ignored_by_key() {
    for (key, value, wanted) in [
        ("apps_Deployment", "jsonPointers:\n- /spec/replicas\n", "apps/Deployment: /spec/replicas; ; "),
        ("Secret", "jsonPointers: [/data/a, /data/b]", "/Secret: /data/a /data/b; ; "),
        ("_Secret", "jsonPointers: [/data]", "/Secret: /data; ; "),
        ("all", "managedFieldsManagers:\n- kube-controller-manager", "*/*: ; ; kube-controller-manager"),
        (
            "admissionregistration.k8s.io_MutatingWebhookConfiguration",
            "jqPathExpressions:\n- '.webhooks[]?.clientConfig.caBundle'",
            "admissionregistration.k8s.io/MutatingWebhookConfiguration: ; .webhooks[]?.clientConfig.caBundle; ",
        ),
        ("*.crossplane.io_*", "jsonPointers: [/spec]\njqPathExpressions:\n", "*.crossplane.io/*: /spec; ; "),
        ("apps_Deployment", "{\"jsonPointers\": [\"/spec/replicas\"]}", "apps/Deployment: /spec/replicas; ; "),
    ] {
        let customizations = parse(&[(&format!("resource.customizations.ignoreDifferences.{key}"), value)]);
        assert_eq!(customizations.warnings(), [""; 0], "{key}");
        assert_eq!(ignored(&customizations), [wanted], "{key}");
    }
    let empty = parse(&[("resource.customizations.ignoreDifferences.apps_Deployment", "\n# nothing yet\n")]);
    assert_eq!((ignored(&empty).len(), empty.warnings().len()), (0, 0));
}

#[test]
fn the_old_key_says_everything_at_once() {
    let customizations = parse(&[(
        "resource.customizations",
        r#"
        example.com/Widget:
          health.lua: &paused |
            return { status = "Suspended", message = "the user says so" }
          health.lua.useOpenLibs: true
          ignoreDifferences: |
            jsonPointers:
            - /spec/size
            jqPathExpressions:
            - .spec.items[].id
          knownTypeFields:
          - field: spec.resources
            type: core/v1/ResourceRequirements
          actions: |
            discovery.lua: return {}
        "*.crossplane.io/*":
          health.lua: *paused
          ignoreDifferences:
            managedFieldsManagers: [provider]
        Pod:
          health.lua: *paused
        "#,
    )]);
    assert_eq!(customizations.warnings(), [""; 0]);
    assert_eq!(
        ignored(&customizations),
        ["*.crossplane.io/*: ; ; provider", "example.com/Widget: /spec/size; .spec.items[].id; "]
    );
    let field = KnownTypeField {
        group: "example.com".into(),
        kind: "Widget".into(),
        field: "spec.resources".into(),
        type_name: "core/v1/ResourceRequirements".into(),
    };
    assert_eq!(customizations.system_rules().known_types, [field]);
    for (api_version, kind) in [("example.com/v1", "Widget"), ("s3.aws.crossplane.io/v1", "Bucket"), ("v1", "Pod")] {
        assert_eq!(message(&customizations, api_version, kind).as_deref(), Some("the user says so"), "{kind}");
    }
    assert_eq!(message(&customizations, "example.com/v1", "Gadget"), None);
}

#[test]
fn the_narrowest_health_counts() {
    let script = |name: &str| format!("return {{ status = 'Degraded', message = '{name}' }}");
    let old = format!(
        "'*/*': {{health.lua: \"{}\"}}\n'*.example.com/*': {{health.lua: \"{}\"}}\ndb.example.com/*: {{health.lua: \"{}\"}}\n\
         db.example.com/Old: {{health.lua: \"{}\"}}\ndb.example.com/Ignored: {{ignoreDifferences: {{jsonPointers: [/spec]}}}}\n",
        script("all"),
        script("groups"),
        script("kinds"),
        script("old")
    );
    let customizations = parse(&[
        ("resource.customizations", &old),
        ("resource.customizations.health.db.example.com_Exact", &script("exact")),
        ("resource.customizations.health.ConfigMap", &script("core")),
        ("resource.customizations.health.db.example.com_Old", &script("key of its own")),
        ("resource.customizations.health.other.net_Blank", " \n"),
    ]);
    assert_eq!(customizations.warnings(), [""; 0]);
    for (api_version, kind, wanted) in [
        ("db.example.com/v1", "Exact", Some("exact")),
        ("db.example.com/v1", "Else", Some("kinds")),
        ("db.example.com/v1", "Ignored", Some("kinds")),
        ("db.example.com/v1", "Old", Some("key of its own")),
        ("web.example.com/v1", "Else", Some("groups")),
        ("other.net/v1", "Else", Some("all")),
        ("other.net/v1", "Blank", Some("all")),
        ("v1", "ConfigMap", Some("core")),
        // `*/*` is no kind of the core group, as in Argo CD.
        ("v1", "Secret", None),
    ] {
        assert_eq!(message(&customizations, api_version, kind).as_deref(), wanted, "{api_version} {kind}");
    }
}

#[test]
fn the_engine_judges_what_nobody_wrote_a_script_for() {
    let customizations = parse(&[("resource.customizations.health.example.com_Widget", PAUSED)]);
    let deployment = object("apps/v1", "Deployment");
    assert_eq!(customizations.health(&deployment, Timestamp::MAX), engine::health::health(&deployment, Timestamp::MAX));
    assert!(customizations.health(&deployment, Timestamp::MAX).is_some());

    let mut widget = object("example.com/v1", "Widget");
    assert_eq!(customizations.health(&widget, Timestamp::MAX).unwrap().status, HealthStatus::Suspended);
    widget.0["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(customizations.health(&widget, Timestamp::MAX).unwrap().status, HealthStatus::Progressing);
}

#[test]
fn a_script_can_say_that_there_is_no_health() {
    let customizations = parse(&[("resource.customizations.health.apps_Deployment", "return nil")]);
    assert_eq!(customizations.health(&object("apps/v1", "Deployment"), Timestamp::MAX), None);
}

#[test]
fn kinds_are_excluded_and_included() {
    let exclusions = "- apiGroups: ['*.cilium.io', cilium.io]\n  kinds: [CiliumIdentity]\n- apiGroups: ['']\n  kinds: [Endpoints]\n  \
                      clusters: ['https://prod-*']\n- kinds: ['*Review']\n";
    let inclusions = "- apiGroups: [apps, '']\n  kinds: ['*']\n- apiGroups: [cilium.io]\n  clusters: [prod-*]\n";
    let local: &[&str] = &["https://kubernetes.default.svc", "in-cluster"];
    let prod: &[&str] = &["https://prod-1.example.com", "prod-1"];
    for (excluded, included, group, kind, cluster, wanted) in [
        ("", "", "apps", "Deployment", local, false),
        (exclusions, "", "apps", "Deployment", local, false),
        (exclusions, "", "cilium.io", "CiliumIdentity", local, true),
        (exclusions, "", "a.cilium.io", "CiliumIdentity", local, true),
        (exclusions, "", "cilium.io", "CiliumNetworkPolicy", local, false),
        (exclusions, "", "", "Endpoints", local, false),
        (exclusions, "", "", "Endpoints", prod, true),
        (exclusions, "", "authorization.k8s.io", "SubjectAccessReview", local, true),
        ("", inclusions, "apps", "Deployment", local, false),
        ("", inclusions, "", "Pod", local, false),
        ("", inclusions, "batch", "Job", local, true),
        ("", inclusions, "cilium.io", "CiliumIdentity", local, true),
        ("", inclusions, "cilium.io", "CiliumIdentity", prod, false),
        (exclusions, inclusions, "cilium.io", "CiliumIdentity", prod, true),
        // Inclusions for another cluster say nothing about this one.
        ("", "- apiGroups: [apps]\n  clusters: [prod-1]\n", "batch", "Job", local, false),
        ("", "- apiGroups: [apps]\n  clusters: [prod-1]\n", "batch", "Job", prod, true),
        ("", "[]", "batch", "Job", local, false),
    ] {
        let customizations = parse(&[("resource.exclusions", excluded), ("resource.inclusions", included)]);
        assert_eq!(customizations.warnings(), [""; 0]);
        let found = customizations.is_excluded(group, kind, cluster);
        assert_eq!(found, wanted, "{group}/{kind} {cluster:?}\n{excluded}\n{included}");
    }
}

#[test]
fn a_list_that_cannot_be_read_stays_as_it_was() {
    let good = parse(&[("resource.exclusions", "[{kinds: [Event]}]")]);
    let excluded = |data: &[(&str, &str)]| {
        let mut customizations = parse(data);
        customizations.keep_from(&good);
        customizations.is_excluded("", "Event", &["here"])
    };
    assert!(excluded(&[("resource.exclusions", "{kinds: [Event")]));
    assert!(!excluded(&[("resource.exclusions", "[]")]) && !excluded(&[]));
}

#[test]
fn compare_options_have_the_defaults_of_argo_cd() {
    let usual = CompareOptions::default();
    assert_eq!(usual.ignore_resource_status_field, IgnoreStatus::All);
    for (text, wanted) in [
        ("", usual),
        ("ignoreAggregatedRoles: true", CompareOptions { ignore_aggregated_roles: true, ..usual }),
        ("ignoreResourceStatusField: crd", CompareOptions { ignore_resource_status_field: IgnoreStatus::Crd, ..usual }),
        (
            "ignoreResourceStatusField: none",
            CompareOptions { ignore_resource_status_field: IgnoreStatus::None, ..usual },
        ),
        (
            "ignoreResourceStatusField: off",
            CompareOptions { ignore_resource_status_field: IgnoreStatus::None, ..usual },
        ),
        (
            "ignoreResourceStatusField: false",
            CompareOptions { ignore_resource_status_field: IgnoreStatus::None, ..usual },
        ),
        (
            "ignoreDifferencesOnResourceUpdates: false",
            CompareOptions { ignore_differences_on_resource_updates: false, ..usual },
        ),
    ] {
        let customizations = parse(&[("resource.compareoptions", text)]);
        assert_eq!(customizations.warnings(), [""; 0], "{text}");
        assert_eq!(*customizations.compare_options(), wanted, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_named() {
    let good = ("resource.customizations.ignoreDifferences.Secret", "jsonPointers: [/data]");
    for (key, value, wanted) in [
        (
            "resource.customizations.health",
            "x",
            "it names no kind; write resource.customizations.health.<group>_<Kind>",
        ),
        ("resource.customizations.health.a_b_C", PAUSED, "it names no kind"),
        ("resource.customizations.health.example.com_", PAUSED, "it names no kind"),
        (
            "resource.customizations.colour.Pod",
            "red",
            "there is no customization \"colour\"; there are health, useOpenLibs",
        ),
        ("resource.customizations.useOpenLibs.Pod", "maybe", "it must be \"true\" or \"false\""),
        ("resource.customizations.ignoreDifferences.Pod", "jsonPointers: /spec", "write lists named jsonPointers"),
        ("resource.customizations.ignoreDifferences.Pod", "a: [", "write lists named jsonPointers"),
        ("resource.customizations.knownTypeFields.Pod", "a: b", "write a list of {field, type}"),
        ("resource.customizations", "*.example.com/*:\n  health.lua: x", "with keys that begin with * quoted"),
        ("resource.customizations", "- a", "write a map of group/Kind"),
        ("resource.customizations", "a/b/C: {}", "a/b/C: it names no kind"),
        ("resource.customizations", "Pod: x", "Pod: it must be a map with health.lua"),
        ("resource.customizations", "Pod: {health: x}", "Pod: there is no \"health\"; there are health.lua"),
        ("resource.customizations", "Pod: {health.lua: 1}", "Pod: health.lua: the script is no text"),
        ("resource.exclusions", "apiGroups: [a]", "write a list of {apiGroups, kinds, clusters}"),
        ("resource.inclusions", "- apiGroups: a", "write a list of {apiGroups, kinds, clusters}"),
        ("resource.compareoptions", "- a", "write a map of options"),
        ("resource.compareoptions", "ignoreResourceStatusField: some", "it must be all, crd or none"),
        ("resource.compareoptions", "ignoreAggregatedRoles: 1", "ignoreAggregatedRoles: it must be true or false"),
        ("resource.compareoptions", "colour: red", "colour: there is no such option"),
    ] {
        let customizations = parse(&[(key, value), good]);
        let [warning] = customizations.warnings() else { panic!("{key}: {:?}", customizations.warnings()) };
        assert!(warning.starts_with(&format!("{key}: ")) && warning.contains(wanted), "{warning}");
        assert!(!warning.contains('\n'), "{warning}");
        assert_eq!(ignored(&customizations), ["/Secret: /data; ; "], "{key}");
        assert!(!customizations.is_excluded("a", "B", &["c"]), "{key}");
    }
}

#[test]
fn one_entry_that_is_wrong_leaves_the_others() {
    let customizations = parse(&[(
        "resource.customizations",
        "a/A: {health.lua: 'return {status = \"Healthy\"}', ignoreDifferences: 3}\nb/B: 4\nc/C: {knownTypeFields: [{field: a, type: b}]}",
    )]);
    assert_eq!(customizations.warnings().len(), 2, "{:?}", customizations.warnings());
    assert_eq!(customizations.health(&object("a/v1", "A"), Timestamp::MAX).unwrap().status, HealthStatus::Healthy);
    assert_eq!(customizations.system_rules().known_types.len(), 1);
}

#[test]
fn a_script_that_does_not_compile_is_a_warning_and_unknown() {
    let customizations = parse(&[("resource.customizations.health.example.com_Widget", "hs = {\n\nreturn hs")]);
    assert_eq!(
        customizations.warnings(),
        [
            "resource.customizations.health.example.com_Widget:3: unexpected symbol near 'return'. Objects of the kind are Unknown \
          until the script is repaired"
        ]
    );
    let health = customizations.health(&object("example.com/v1", "Widget"), Timestamp::MAX).unwrap();
    assert_eq!(health.to_string(), "Unknown: health.example.com_Widget:3: unexpected symbol near 'return'");
}

#[test]
fn a_change_is_noticed() {
    let one = parse(&[("resource.exclusions", "[]"), ("url", "https://a.example.com")]);
    let same = parse(&[("resource.exclusions", "[]"), ("url", "https://b.example.com")]);
    let other = parse(&[("resource.exclusions", "[{kinds: [A]}]")]);
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_ne!(one.digest(), other.digest());
    assert_eq!(parse(&[("url", "x"), ("resource.respectRBAC", "strict")]), Customizations::default());
    let config_map = Object(json!({ "kind": "ConfigMap", "data": { "resource.exclusions": "[]", "number": 3 } }));
    assert_eq!(Customizations::of_config_map(&config_map), one);
    assert_eq!(Customizations::of_config_map(&object("v1", "ConfigMap")), Customizations::default());
}

#[test]
fn the_examples_of_the_documentation_work() {
    let blocks: Vec<&str> = include_str!("../../../docs/customizations.md").split("```").collect();
    let example = |wanted: &str| {
        let block = blocks.iter().find(|block| block.starts_with("yaml") && block.contains(wanted)).unwrap();
        Customizations::of_config_map(&Object(serde_saphyr::from_str(block.strip_prefix("yaml").unwrap()).unwrap()))
    };
    let database = |status, reason| {
        Object(json!({
            "apiVersion": "example.com/v1",
            "kind": "Database",
            "status": { "conditions": [{ "type": "Ready", "status": status, "reason": reason, "message": "as it says" }] },
        }))
    };
    let health = example("resource.customizations.health.example.com_Database");
    for (status, reason, wanted) in [
        ("True", "Up", "Healthy: as it says"),
        ("False", "Failed", "Degraded: as it says"),
        ("False", "Starting", "Progressing: as it says"),
    ] {
        assert_eq!(health.health(&database(status, reason), Timestamp::MAX).unwrap().to_string(), wanted);
    }
    let waiting = health.health(&object("example.com/v1", "Database"), Timestamp::MAX).unwrap();
    assert_eq!(waiting.to_string(), "Progressing: waiting for its first condition");
    assert!(example("resource.exclusions").is_excluded("cilium.io", "CiliumEndpoint", &["in-cluster"]));
}

#[test]
fn customizations_go_to_any_thread() {
    fn needs<T: Send + Sync + Clone + 'static>() {}
    needs::<Customizations>();
}
