//! Objects that somebody else applied before us: what they wrote and Git dropped goes, and nothing restarts.

use cluster::{ApplyOptions, Cluster};
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use crate::access::{account, grant};
use crate::live::store;
use crate::{deployment, namespace, object, replica_sets, test, until};

const KUBECTL: &str = "kubectl-client-side-apply";
const ARGOCD: &str = "argocd-controller";
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn from(managers: &[&str]) -> Vec<String> {
    managers.iter().map(|manager| (*manager).to_owned()).collect()
}

fn as_manager(manager: &str) -> ApplyOptions {
    ApplyOptions { field_manager: Some(manager.to_owned()), ..Default::default() }
}

/// What was applied before: a label, a variable and a port more than `new`.
fn old(namespace: &str) -> Object {
    let mut old = new(namespace);
    old.set_label("old", "1");
    let container = &mut old.0["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{"name": "KEPT", "value": "1"}, {"name": "DROPPED", "value": "1"}]);
    container["ports"] = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
    old
}

/// What Git has.
fn new(namespace: &str) -> Object {
    let mut new = deployment(namespace, 1);
    new.set_label("owner", namespace);
    let container = &mut new.0["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{"name": "KEPT", "value": "1"}]);
    container["ports"] = json!([{"containerPort": 8080}]);
    new
}

/// As `kubectl apply` writes it.
async fn kubectl_apply(cluster: &Cluster, object: &Object) -> Object {
    let mut object = object.clone();
    let copy = object.0.to_string();
    object.set_annotation(COPY, &copy);
    cluster.create(&object, &as_manager(KUBECTL)).await.unwrap().object
}

fn managers(object: &Object) -> Vec<String> {
    let entries = object.at("/metadata/managedFields").and_then(Value::as_array).unwrap();
    let of_the_object = entries.iter().filter(|entry| entry.get("subresource").is_none());
    let mut names: Vec<String> = of_the_object
        .map(|entry| format!("{}/{}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap()))
        .collect();
    names.sort();
    names
}

fn generation(object: &Object) -> u64 {
    object.at("/metadata/generation").and_then(Value::as_u64).unwrap()
}

fn assert_dropped(object: &Object) {
    let container = &object.0["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"], json!([{"name": "KEPT", "value": "1"}]), "{container}");
    assert_eq!(container["ports"].as_array().unwrap().len(), 1, "{container}");
    assert_eq!((object.label("old"), object.annotation(COPY)), (None, None));
}

/// Waits until the controller has done what the object asks for.
async fn rolled_out(cluster: &Cluster, object: &Object) -> Object {
    until("the roll-out", async || {
        let live = cluster.get(&object.key()).await.unwrap()?;
        let observed = live.at("/status/observedGeneration").and_then(Value::as_u64) == Some(generation(&live));
        (observed && live.at("/status/updatedReplicas") == Some(&1.into())).then_some(live)
    })
    .await
}

#[test]
fn only_the_ownership_moves_and_then_what_git_dropped_goes() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let created = kubectl_apply(&cluster, &old(&ns)).await;
        let (key, names) = (created.key(), from(&[KUBECTL, ARGOCD]));
        let before = rolled_out(&cluster, &created).await;
        assert!(cluster.needs_migration(&before, &names) && !cluster.needs_migration(&before, &from(&[ARGOCD])));

        assert!(cluster.migrate(&key, &names).await.unwrap());
        let after = cluster.get(&key).await.unwrap().unwrap();
        assert_eq!(managers(&after), ["lockstep/Apply"]);
        assert_eq!((generation(&after), after.at("/spec")), (generation(&before), before.at("/spec")));
        assert_eq!((after.label("old"), after.annotation(COPY).is_some()), (Some("1"), true));
        assert!(!cluster.migrate(&key, &names).await.unwrap(), "there is nothing left to move");

        // Nothing in Git changed: nothing changes but kubectl's copy, which a Deployment counts as a generation.
        let options = ApplyOptions { migrate_from: names, ..Default::default() };
        let same = cluster.apply(&old(&ns), &options).await.unwrap().object;
        assert_eq!((same.annotation(COPY), same.at("/spec")), (None, before.at("/spec")));
        assert_eq!(replica_sets(&cluster, &ns).await.len(), 1);

        let dropped = cluster.apply(&new(&ns), &options).await.unwrap().object;
        assert_dropped(&dropped);
        assert_eq!(generation(&dropped), generation(&same) + 1);

        let missing = ObjectKey::new("apps", "Deployment", &ns, "missing");
        assert!(!cluster.migrate(&missing, &options.migrate_from).await.unwrap());
    });
}

#[test]
fn what_argo_cd_applied_is_taken_over_in_one_change() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let names = from(&[KUBECTL, ARGOCD]);
        let live = store(&cluster);
        let first = cluster.apply(&old(&ns), &as_manager(ARGOCD)).await.unwrap().object;
        live.ensure(&[cluster.kind_of(&first).await.unwrap()]).await.unwrap();
        let key = first.key();
        let before = rolled_out(&cluster, &first).await;
        assert!(live.needs_migration(&key, &names) && !live.needs_migration(&key, &from(&[KUBECTL])));

        // As it is in Git: adopted, and nothing restarts.
        let options = ApplyOptions {
            migrate_from: names.clone(),
            needs_migration: live.needs_migration(&key, &names),
            ..Default::default()
        };
        let adopted = cluster.apply(&old(&ns), &options).await.unwrap().object;
        live.record(&adopted);
        assert_eq!((generation(&adopted), adopted.at("/spec")), (generation(&before), before.at("/spec")));
        assert_eq!(managers(&adopted), ["lockstep/Apply"]);
        assert!(!live.needs_migration(&key, &names));
        assert_eq!(replica_sets(&cluster, &ns).await.len(), 1);

        // Argo CD comes back once more, and Git has changed in two ways by then: one roll-out for both.
        cluster.apply(&old(&ns), &as_manager(ARGOCD)).await.unwrap();
        let mut newest = new(&ns);
        newest.0["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/gateway:2".into();
        let dropped = cluster.apply(&newest, &options).await.unwrap().object;
        assert_dropped(&dropped);
        assert_eq!((generation(&dropped), managers(&dropped)), (generation(&before) + 1, from(&["lockstep/Apply"])));
        rolled_out(&cluster, &dropped).await;
        assert_eq!(replica_sets(&cluster, &ns).await.len(), 2);
    });
}

#[test]
fn what_was_not_known_is_seen_in_the_answer_and_costs_nothing_afterwards() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        kubectl_apply(&cluster, &old(&ns)).await;
        let options = ApplyOptions { migrate_from: from(&[KUBECTL]), ..Default::default() };
        // A dry run takes nothing over.
        let dry = ApplyOptions { dry_run: true, needs_migration: true, ..options.clone() };
        assert_eq!(cluster.apply(&new(&ns), &dry).await.unwrap().object.label("old"), Some("1"));
        let unmoved = cluster.get(&new(&ns).key()).await.unwrap().unwrap();
        assert_eq!(managers(&unmoved), [format!("{KUBECTL}/Update")]);

        let applied = cluster.apply(&new(&ns), &options).await.unwrap();
        assert_dropped(&applied.object);
        assert!(applied.changed && !applied.created);
        assert_eq!(managers(&applied.object), ["lockstep/Apply"]);

        // Whoever may only patch can go on: nothing is asked for any more.
        let user = account(&ns, "patcher");
        grant(
            &cluster,
            &ns,
            &user,
            &json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]),
        )
        .await;
        let patcher = cluster.impersonating(&user);
        until("the permission", async || patcher.apply(&new(&ns), &options).await.ok()).await;
        assert!(patcher.get(&applied.object.key()).await.is_err(), "it may not read");
    });
}

#[test]
fn the_fields_of_others_stay() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        kubectl_apply(&cluster, &old(&ns)).await;
        let key = new(&ns).key();
        // Somebody restarts it by hand, as `kubectl rollout restart` does, and something scales it.
        let restarted = object(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": key.name, "namespace": ns},
            "spec": {"replicas": 3, "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}),
        );
        cluster.apply(&restarted, &as_manager("kubectl-rollout")).await.unwrap();
        let mut desired = new(&ns);
        desired.0["spec"].as_object_mut().unwrap().shift_remove("replicas");
        let options = ApplyOptions { migrate_from: from(&[KUBECTL]), ..Default::default() };
        let applied = cluster.apply(&desired, &options).await.unwrap().object;
        assert_dropped(&applied);
        assert_eq!(applied.at("/spec/replicas"), Some(&3.into()));
        assert_eq!(
            applied.at("/spec/template/metadata/annotations"),
            Some(&json!({"kubectl.kubernetes.io/restartedAt": "now"}))
        );
        assert_eq!(managers(&applied), ["kubectl-rollout/Apply", "lockstep/Apply"]);
    });
}

#[test]
fn what_was_written_in_another_version_goes_too() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let scaler = |version: &str, spec: Value| {
            let mut spec = spec;
            spec["maxReplicas"] = 5.into();
            spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"});
            object(json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "gateway", "namespace": ns}, "spec": spec}))
        };
        // Git has had it in v2 for long; somebody has written it in v1.
        let desired = scaler("v2", json!({}));
        cluster.apply(&desired, &ApplyOptions::default()).await.unwrap();
        let mut written = scaler("v1", json!({"minReplicas": 2}));
        written.set_label("old", "1");
        cluster.replace(&written, &as_manager(KUBECTL)).await.unwrap();
        let live = cluster.get(&desired.key()).await.unwrap().unwrap();
        assert_eq!(managers(&live), [format!("{KUBECTL}/Update"), "lockstep/Apply".to_owned()]);

        let options = ApplyOptions { migrate_from: from(&[KUBECTL]), ..Default::default() };
        let applied = cluster.apply(&desired, &options).await.unwrap().object;
        assert_eq!((applied.label("old"), applied.at("/spec/minReplicas")), (None, Some(&1.into())), "{applied:?}");
        assert_eq!(managers(&applied), ["lockstep/Apply"]);
        assert_eq!(applied.at("/metadata/managedFields/0/apiVersion"), Some(&"autoscaling/v2".into()));
    });
}

#[test]
fn a_migration_that_was_interrupted_is_finished() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        cluster.apply(&new(&ns), &ApplyOptions::default()).await.unwrap();
        cluster.apply(&old(&ns), &as_manager("lockstep-before-apps.v1beta1")).await.unwrap();
        let options = ApplyOptions { migrate_from: from(&[KUBECTL]), ..Default::default() };
        let applied = cluster.apply(&new(&ns), &options).await.unwrap().object;
        assert_dropped(&applied);
        assert_eq!(managers(&applied), ["lockstep/Apply"]);
    });
}

#[test]
fn what_we_replaced_is_ours_to_apply() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        cluster.replace(&old(&ns), &ApplyOptions::default()).await.unwrap();
        let options = ApplyOptions { migrate_from: from(&["lockstep"]), ..Default::default() };
        let applied = cluster.apply(&new(&ns), &options).await.unwrap().object;
        assert_dropped(&applied);
        assert_eq!(managers(&applied), ["lockstep/Apply"]);
    });
}

#[test]
fn a_forced_apply_tells_what_it_takes() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        cluster.apply(&deployment(&ns, 1), &ApplyOptions::default()).await.unwrap();
        let tells = ApplyOptions { tell_taken: true, ..Default::default() };
        assert!(cluster.apply(&deployment(&ns, 1), &tells).await.unwrap().taken.is_empty());
        cluster.apply(&deployment(&ns, 3), &as_manager("hpa")).await.unwrap();
        // By a dry run it is known beforehand.
        for dry_run in [true, false] {
            let options = ApplyOptions { dry_run, ..tells.clone() };
            let applied = cluster.apply(&deployment(&ns, 1), &options).await.unwrap();
            assert_eq!(applied.object.at("/spec/replicas"), Some(&1.into()));
            let taken: Vec<_> = applied.taken.iter().map(|t| (t.manager.as_str(), t.field.as_str())).collect();
            assert_eq!(taken, [("hpa", ".spec.replicas")]);
        }
        assert!(cluster.apply(&deployment(&ns, 1), &tells).await.unwrap().taken.is_empty());
        // Of those from whom we take everything over, it is not told.
        cluster.apply(&deployment(&ns, 3), &as_manager(ARGOCD)).await.unwrap();
        let options = ApplyOptions { migrate_from: from(&[ARGOCD]), ..tells };
        assert!(cluster.apply(&deployment(&ns, 1), &options).await.unwrap().taken.is_empty());
    });
}
