//! Applying, creating, replacing, patching, deleting, and what is said when it does not work.

use cluster::{ApplyOptions, ClusterError, DeleteOptions, Deleted, Kubeconfig, Options, Propagation, Validate};
use resources::ObjectKey;
use serde_json::json;

use crate::{config_map, connect, definition, deployment, kubeconfig, namespace, object, replica_sets, test, until};

#[test]
fn an_apply_tells_what_it_did() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let first = cluster.apply(&config_map(&ns, "a", None, "1"), &ApplyOptions::default()).await.unwrap();
        assert!(first.created && first.changed);

        let known = ApplyOptions { live_version: Some(first.object.resource_version().into()), ..Default::default() };
        let same = cluster.apply(&config_map(&ns, "a", None, "1"), &known).await.unwrap();
        assert!(!same.created && !same.changed);

        let dry = ApplyOptions { dry_run: true, ..known.clone() };
        let would = cluster.apply(&config_map(&ns, "a", None, "2"), &dry).await.unwrap();
        assert_eq!(would.object.at("/data/key"), Some(&"2".into()));
        let live = cluster.get(&first.object.key()).await.unwrap().unwrap();
        assert_eq!(live.at("/data/key"), Some(&"1".into()));

        // A live object can be applied as it is: its managed fields are not sent.
        let again = cluster.apply(&live, &known).await.unwrap();
        assert!(!again.created);
        let other = cluster.apply(&config_map(&ns, "a", None, "2"), &known).await.unwrap();
        assert!(!other.created && other.changed);
        assert_eq!(other.object.at("/metadata/managedFields/0/manager"), Some(&"lockstep".into()));
    });
}

#[test]
fn a_conflict_names_the_other_manager_and_the_field_until_it_is_forced() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let hpa = ApplyOptions { field_manager: Some("hpa".into()), ..Default::default() };
        cluster.apply(&deployment(&ns, 3), &hpa).await.unwrap();
        let polite = ApplyOptions { force_conflicts: false, ..Default::default() };
        let error = cluster.apply(&deployment(&ns, 1), &polite).await.unwrap_err();
        let ClusterError::Conflict { fields, .. } = &error else { panic!("{error}") };
        assert_eq!((fields[0].manager.as_str(), fields[0].field.as_str()), ("hpa", ".spec.replicas"));
        assert!(error.is_conflict() && !error.is_transient());
        assert!(error.to_string().contains(".spec.replicas is managed by \"hpa\""), "{error}");
        let forced = cluster.apply(&deployment(&ns, 1), &ApplyOptions::default()).await.unwrap();
        assert_eq!(forced.object.at("/spec/replicas"), Some(&1.into()));
    });
}

#[test]
fn a_refusal_carries_the_api_servers_words() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let negative = deployment(&ns, 1).tap(|d| d["spec"]["replicas"] = json!(-1));
        let error = cluster.apply(&negative, &ApplyOptions::default()).await.unwrap_err();
        let ClusterError::Invalid { fields, .. } = &error else { panic!("{error}") };
        assert_eq!(fields, &["spec.replicas"]);
        assert!(error.to_string().contains("must be greater than or equal to 0"), "{error}");

        let typo = config_map(&ns, "a", None, "1").tap(|c| c["dtaa"] = json!({}));
        let error = cluster.apply(&typo, &ApplyOptions::default()).await.unwrap_err();
        assert!(matches!(error, ClusterError::Invalid { .. }) && error.to_string().contains("dtaa"), "{error}");
        let lax = ApplyOptions { validate: Validate::Ignore, ..Default::default() };
        assert!(cluster.create(&typo, &lax).await.unwrap().created);

        let error =
            cluster.apply(&config_map("not-there", "a", None, "1"), &ApplyOptions::default()).await.unwrap_err();
        assert!(
            matches!(&error, ClusterError::NamespaceMissing { namespace, .. } if namespace == "not-there"),
            "{error}"
        );
        assert!(error.is_not_found() && !error.is_transient());

        let unknown =
            object(json!({"apiVersion": "apps/v9", "kind": "Deployment", "metadata": {"name": "a", "namespace": ns}}));
        let error = cluster.apply(&unknown, &ApplyOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("(served: apps/v1)"), "{error}");

        for (namespace, name) in [(ns.as_str(), "../../secrets/a"), (ns.as_str(), ""), ("", "a")] {
            let error =
                cluster.apply(&config_map(namespace, name, None, "1"), &ApplyOptions::default()).await.unwrap_err();
            assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
        }
    });
}

#[test]
fn an_error_about_a_secret_does_not_say_what_is_in_it() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ns},
            "data": {"password": "not*base64"}, "stringData": {"other": 123456}}));
        let error = cluster.apply(&secret, &ApplyOptions::default()).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("not*base64") && !text.contains("123456"), "{text}");
    });
}

#[test]
fn create_replace_patch_delete() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        let key = ObjectKey::new("", "ConfigMap", &ns, "a");
        assert!(cluster.get(&key).await.unwrap().is_none());
        // A replacement of nothing creates it.
        let first = cluster.replace(&config_map(&ns, "a", None, "1"), &options).await.unwrap();
        assert!(first.created);
        let error = cluster.create(&config_map(&ns, "a", None, "1"), &options).await.unwrap_err();
        assert!(matches!(error, ClusterError::AlreadyExists(_)) && error.is_conflict());

        let second = cluster.replace(&config_map(&ns, "a", Some("x"), "2"), &options).await.unwrap();
        assert_eq!((second.created, second.object.label("owner")), (false, Some("x")));
        let stale = cluster.replace(&first.object, &options).await.unwrap_err();
        assert!(stale.is_conflict(), "{stale}");
        let patched = cluster.merge_patch(&key, &json!({"data": {"key": null, "new": "3"}})).await.unwrap();
        assert_eq!(patched.at("/data"), Some(&json!({"new": "3"})));

        let wrong = DeleteOptions { uid: Some("6f1d5f3e-0000-0000-0000-000000000000".into()), ..Default::default() };
        assert!(cluster.delete(&key, &wrong).await.unwrap_err().is_conflict());
        let right = DeleteOptions { uid: Some(patched.uid().into()), ..Default::default() };
        assert_eq!(cluster.delete(&key, &right).await.unwrap(), Deleted::Gone);
        assert_eq!(cluster.delete(&key, &right).await.unwrap(), Deleted::Missing);

        let held = cluster.apply(&deployment(&ns, 1), &options).await.unwrap().object;
        let foreground = DeleteOptions { propagation: Propagation::Foreground, ..Default::default() };
        assert_eq!(cluster.delete(&held.key(), &foreground).await.unwrap(), Deleted::Started);
        assert_eq!(
            cluster.list(&cluster.kind_of(&patched).await.unwrap(), Some(&ns), Some("owner=x")).await.unwrap().len(),
            0
        );
    });
}

#[test]
fn a_replacement_keeps_what_is_in_it_and_says_what_cannot_be_changed() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        // A namespace and a definition are updated, not deleted: what is in them stays.
        let prompt = object(
            json!({"apiVersion": "example.com/v1", "kind": "Motto", "metadata": {"name": "a", "namespace": ns}}),
        );
        cluster.apply(&definition("mottos", "Motto"), &options).await.unwrap();
        cluster.apply(&prompt, &options).await.unwrap();
        let mut space = object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}));
        let mut mottos = definition("mottos", "Motto");
        for object in [&mut space, &mut mottos] {
            let before = cluster.get(&object.key()).await.unwrap().unwrap();
            object.set_label("replaced", "yes");
            let after = cluster.replace(object, &options).await.unwrap();
            assert!(!after.created && after.object.label("replaced") == Some("yes"));
            assert_eq!(after.object.uid(), before.uid());
        }
        assert!(cluster.get(&prompt.key()).await.unwrap().is_some());

        // Several at once: none of them is told to try again.
        let writes = (0..4).map(|n| {
            let (cluster, options) = (cluster.clone(), options.clone());
            let object = config_map(&ns, "busy", None, &n.to_string());
            async move { cluster.replace(&object, &options).await }
        });
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }

        cluster.apply(&deployment(&ns, 1), &options).await.unwrap();
        let moved = deployment(&ns, 1).tap(|d| {
            d["spec"]["selector"]["matchLabels"]["app"] = json!("other");
            d["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
        });
        for error in
            [cluster.replace(&moved, &options).await.unwrap_err(), cluster.apply(&moved, &options).await.unwrap_err()]
        {
            let ClusterError::Immutable { fields, .. } = &error else { panic!("{error}") };
            assert_eq!(fields, &["spec.selector"]);
            let said = error.to_string();
            assert!(said.contains(&format!("apps/Deployment {ns}/gateway")) && said.contains("Force=true"), "{said}");
        }
        mottos.0["spec"]["scope"] = json!("Cluster");
        let error = cluster.replace(&mottos, &options).await.unwrap_err();
        assert!(matches!(error, ClusterError::Immutable { .. }) && !error.to_string().contains("Force"), "{error}");
    });
}

#[test]
fn orphans_stay_and_belong_to_nobody() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let gateway = cluster.apply(&deployment(&ns, 1), &ApplyOptions::default()).await.unwrap().object;
        let owner = until("the replica set", async || replica_sets(&cluster, &ns).await.pop()).await;
        assert_eq!(owner.at("/metadata/ownerReferences/0/uid"), Some(&gateway.uid().into()));
        let pods = cluster.kind("", Some("v1"), "Pod").await.unwrap().unwrap();
        let pod = until("the pod", async || cluster.list(&pods, Some(&ns), None).await.unwrap().pop()).await;

        let orphan =
            DeleteOptions { propagation: Propagation::Orphan, uid: Some(gateway.uid().into()), ..Default::default() };
        assert_eq!(cluster.delete(&gateway.key(), &orphan).await.unwrap(), Deleted::Started);
        until("the deletion", async || cluster.get(&gateway.key()).await.unwrap().is_none().then_some(())).await;
        let left = replica_sets(&cluster, &ns).await;
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].uid(), left[0].at("/metadata/ownerReferences")), (owner.uid(), None));
        let still = cluster.get(&pod.key()).await.unwrap().unwrap();
        assert!(still.uid() == pod.uid() && !still.is_being_deleted());

        // In the background they go too, after it.
        let background = DeleteOptions { propagation: Propagation::Background, ..Default::default() };
        assert_eq!(cluster.delete(&owner.key(), &background).await.unwrap(), Deleted::Gone);
        until("the pod's deletion", async || cluster.get(&pod.key()).await.unwrap().is_none().then_some(())).await;
    });
}

#[test]
fn a_kind_can_be_used_as_soon_as_its_definition_is_applied() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        assert!(cluster.kind("example.com", Some("v1"), "Prompt").await.unwrap().is_none());
        let options = ApplyOptions::default();
        cluster.apply(&definition("prompts", "Prompt"), &options).await.unwrap();
        let prompt = object(json!({"apiVersion": "example.com/v1", "kind": "Prompt",
            "metadata": {"name": "a", "namespace": ns}, "spec": {"any": [1, {"x": null}]}}));
        assert!(cluster.apply(&prompt, &options).await.unwrap().created);
        assert!(cluster.api_versions().await.unwrap().contains(&"example.com/v1/Prompt".to_owned()));

        // Somebody else's definitions are noticed too.
        let somebody = connect(&kubeconfig(None)).await;
        assert!(cluster.kind("example.com", Some("v1"), "Later").await.unwrap().is_none());
        somebody.apply(&definition("laters", "Later"), &options).await.unwrap();
        let found = async {
            while cluster.kind("example.com", Some("v1"), "Later").await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), found).await.unwrap();
    });
}

#[test]
fn who_may_not_is_told_what_is_missing() {
    test(async |cluster| {
        let version = cluster.version().await.unwrap();
        assert!(version.starts_with("1.") && !version.contains(['v', '+', '-']), "{version}");
        assert!(cluster.ready().await);
        let ns = namespace(&cluster).await;
        let nobody = connect(&kubeconfig(Some("nobody-in-particular"))).await;
        let error = nobody.apply(&config_map(&ns, "a", None, "1"), &ApplyOptions::default()).await.unwrap_err();
        assert!(
            matches!(error, ClusterError::Forbidden { .. }) && error.to_string().contains("nobody-in-particular"),
            "{error}"
        );

        let context = Kubeconfig::File { path: kubeconfig(None), context: Some("other".into()) };
        let error = cluster::Cluster::connect(&context, Options::default()).await.unwrap_err();
        assert!(error.to_string().contains("it has local"), "{error}");
    });
}

trait Tap {
    fn tap(self, change: impl FnOnce(&mut serde_json::Value)) -> Self;
}

impl Tap for resources::Object {
    fn tap(mut self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        change(&mut self.0);
        self
    }
}
