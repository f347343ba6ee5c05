//! Acting as somebody else, and what one who may little can see.

use cluster::{ApplyOptions, Cluster, ClusterError};
use serde_json::{Value, json};

use crate::{config_map, connect, deployment, kubeconfig, namespace, object, test, until};

/// A service account's name as a user.
pub(crate) fn account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Lets a user do something in a namespace.
pub(crate) async fn grant(cluster: &Cluster, namespace: &str, user: &str, rules: &Value) {
    let name = user.rsplit(':').next().unwrap();
    let role = object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": namespace}, "rules": rules}));
    let binding = object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]}));
    for object in [role, binding] {
        cluster.apply(&object, &ApplyOptions::default()).await.unwrap();
    }
}

#[test]
fn as_somebody_else_we_may_what_they_may() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let user = account(&ns, "deployer");
        let rules =
            json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch", "delete"]}]);
        grant(&cluster, &ns, &user, &rules).await;
        let deployer = cluster.impersonating(&user);
        let options = ApplyOptions::default();
        let map = config_map(&ns, "a", None, "1");
        until("the permission", async || deployer.apply(&map, &options).await.ok()).await;
        assert!(deployer.get(&map.key()).await.unwrap().is_some());

        let error = deployer.apply(&deployment(&ns, 1), &options).await.unwrap_err();
        assert!(matches!(&error, ClusterError::Forbidden { acting_as: Some(name), .. } if *name == user), "{error}");
        let said = error.to_string();
        assert!(said.contains(&format!("not permitted to {user}")) && said.contains("cannot patch"), "{said}");
        assert!(cluster.get(&deployment(&ns, 1).key()).await.unwrap().is_none());

        // In another namespace it may nothing; we ourselves still may.
        let elsewhere = namespace(&cluster).await;
        let error = deployer.apply(&config_map(&elsewhere, "a", None, "1"), &options).await.unwrap_err();
        assert!(matches!(error, ClusterError::Forbidden { .. }), "{error}");
        assert!(cluster.apply(&config_map(&elsewhere, "a", None, "1"), &options).await.unwrap().created);
    });
}

#[test]
fn who_may_not_act_as_somebody_is_told_so() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let user = account(&ns, "deployer");
        let nobody = connect(&kubeconfig(Some("nobody-in-particular"))).await;
        let map = config_map(&ns, "a", None, "1");
        let error = nobody.impersonating(&user).apply(&map, &ApplyOptions::default()).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("not permitted to act as {user}")) && said.contains("impersonate"), "{said}");

        // With the permission to act as this one account, and no other.
        grant(
            &cluster,
            &ns,
            "nobody-in-particular",
            &json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["deployer"], "verbs": ["impersonate"]}]),
        )
        .await;
        grant(
            &cluster,
            &ns,
            &user,
            &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"]}]),
        )
        .await;
        let deployer = nobody.impersonating(&user);
        until("the permission", async || deployer.apply(&map, &ApplyOptions::default()).await.ok()).await;
        let other = nobody.impersonating(&account(&ns, "other"));
        assert!(other.apply(&map, &ApplyOptions::default()).await.is_err());
        // The kinds are asked for as ourselves, also where the first to ask acts as somebody who may nothing.
        assert!(cluster.impersonating("system:anonymous").kind("", Some("v1"), "Pod").await.unwrap().is_some());
    });
}

#[test]
fn all_that_is_in_a_namespace_as_metadata() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let options = ApplyOptions::default();
        cluster.apply(&config_map(&ns, "a", None, "1"), &options).await.unwrap();
        cluster.apply(&deployment(&ns, 1), &options).await.unwrap();
        let kinds = cluster.namespaced_kinds().await.unwrap();
        assert!(kinds.iter().any(|kind| kind.kind == "Secret") && !kinds.iter().any(|kind| kind.kind == "Namespace"));
        let found = until("the replica set", async || {
            let found = cluster.list_metadata(&kinds, Some(&ns)).await.unwrap();
            found.objects.iter().any(|object| object.kind() == "ReplicaSet").then_some(found)
        })
        .await;
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        assert!(found.objects.is_sorted_by_key(|object| object.key()));
        let of = |kind: &str, name: &str| {
            found.objects.iter().find(|object| object.kind() == kind && object.name().starts_with(name)).unwrap()
        };
        assert_eq!(
            of("ConfigMap", "a").0.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["apiVersion", "kind", "metadata"]
        );
        assert_eq!(
            (of("Deployment", "gateway").api_version(), of("Deployment", "gateway").namespace()),
            ("apps/v1", &*ns)
        );
        assert_eq!(of("ReplicaSet", "gateway").at("/metadata/ownerReferences/0/kind"), Some(&"Deployment".into()));
        assert!(found.objects.iter().all(|object| object.namespace() == ns && !object.name().is_empty()));
        assert!(found.objects.iter().all(|object| object.at("/metadata/managedFields").is_none()));

        // One who may list config maps only: the rest is named.
        let user = account(&ns, "reader");
        grant(&cluster, &ns, &user, &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]))
            .await;
        let reader = cluster.impersonating(&user);
        let found = until("the permission", async || {
            let found = reader.list_metadata(&kinds, Some(&ns)).await.unwrap();
            (!found.objects.is_empty()).then_some(found)
        })
        .await;
        assert!(found.objects.iter().all(|object| object.kind() == "ConfigMap"));
        assert_eq!(found.refused.len(), kinds.len() - 1);
        let secrets = found.refused.iter().find(|(kind, _)| kind.kind == "Secret").unwrap();
        assert!(secrets.1.to_string().contains(&user), "{}", secrets.1);
    });
}
