//! What an AppProject permits and wants to know: signatures, accounts, namespaces with Applications, objects nobody owns.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, until};
use resources::ObjectKey;
use serde_json::{Value, json};

use crate::objects::condition;

fn project(spec: Value) -> Value {
    let mut project = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": "team", "namespace": "argocd" },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        },
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        project["spec"][name] = value.clone();
    }
    project
}

fn of_team(name: &str, url: &str) -> Value {
    let mut app = application(name, url, "app", true);
    app["spec"]["project"] = "team".into();
    app
}

/// An SSH key pair of a person; returns the public key.
async fn key(file: &Path) -> Result<String> {
    let mut command = tokio::process::Command::new("ssh-keygen");
    let file_name = file.display().to_string();
    let made = command.args(["-q", "-t", "ed25519", "-N", "", "-f", &file_name]).status().await?;
    ensure!(made.success(), "ssh-keygen failed");
    Ok(std::fs::read_to_string(file.with_extension("pub"))?)
}

/// Commits everything, signed with that key, and pushes it.
async fn push_signed(shop: &WorkingCopy, key: &Path, message: &str) -> Result<String> {
    let key = format!("user.signingkey={}", key.display());
    shop.git.git(&["add", "--all"]).await?;
    shop.git.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "--quiet", "-S", "-m", message]).await?;
    let commit = shop.git.head().await?;
    shop.push_commit(&commit, "main").await?;
    Ok(commit)
}

#[tokio::test]
async fn only_signed_commits_are_taken() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let (ada, eve) = (stage.file("ada"), stage.file("eve"));
    let public = key(&ada).await?;
    key(&eve).await?;
    let mut command = tokio::process::Command::new("ssh-keygen");
    let listed = command.args(["-l", "-f", &ada.with_extension("pub").display().to_string()]).output().await?;
    let listed = String::from_utf8(listed.stdout)?;
    let fingerprint = listed.split_whitespace().nth(1).context("no fingerprint")?;
    stage
        .site()
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "lockstep-ssh-keys", "namespace": "argocd" },
            "data": { "allowed_signers": format!("ada@example.com {public}") },
        }))
        .await?;
    let policy = json!({ "repos": [{ "url": "*" }], "gpg": { "mode": "head", "keys": [fingerprint] } });
    stage.site().apply(project(json!({ "sourceIntegrity": { "git": { "policies": [policy] } } }))).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    stage.site().apply(of_team("shop", &shop.url)).await?;
    condition(&stage, "shop", "InvalidSpecError", "which is not signed").await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_err(), "an unsigned commit was applied");

    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let commit = push_signed(&shop, &eve, "Eve signs").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "error", "which is signed by").await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_err(), "a commit with a strange signature was applied");
    crate::cli::Cli::new(&stage).await?.app("plan shop").await?.expect(2, &["which is signed by"])?;

    shop.git.write("app/config.yaml", config_map("shop", "3"))?;
    let commit = push_signed(&shop, &ada, "Ada signs").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().has_content(NAMESPACE, "shop", "3").await?;
    stage.strike().await
}

#[tokio::test]
async fn objects_are_written_by_the_account_of_their_namespace() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let accounts = json!([{ "server": "*", "namespace": "*", "defaultServiceAccount": "deployer" }]);
    stage.site().apply(project(json!({ "destinationServiceAccounts": accounts }))).await?;
    for object in [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "deployer", "namespace": NAMESPACE } }),
    ] {
        stage.site().apply(object).await?;
    }
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    let mut app = of_team("shop", &shop.url);
    app["spec"]["syncPolicy"]["syncOptions"] = json!([]);
    app["spec"]["syncPolicy"]["retry"] = json!({ "limit": 0 });
    stage.site().apply(app).await?;
    let who = "system:serviceaccount:demo:deployer";
    condition(&stage, "shop", "SyncError", who).await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_err(), "it was written without permission");

    let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] }]);
    for object in [
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": { "name": "deployer", "namespace": NAMESPACE }, "rules": rules }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": { "name": "deployer", "namespace": NAMESPACE },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer" },
                "subjects": [{ "kind": "ServiceAccount", "name": "deployer", "namespace": NAMESPACE }] }),
    ] {
        stage.site().apply(object).await?;
    }
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let commit = shop.push("Again").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().has_content(NAMESPACE, "shop", "2").await?;
    // What is drift is healed by the same account.
    let key = ObjectKey::new("", "ConfigMap", NAMESPACE, "shop");
    stage.site().cluster.merge_patch(&key, &json!({ "data": { "content": "by hand" } })).await?;
    stage.site().has_content(NAMESPACE, "shop", "2").await?;
    stage.strike().await
}

#[tokio::test]
async fn applications_in_namespaces_that_the_project_permits() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let orphans = json!({ "orphanedResources": { "warn": true, "ignore": [{ "kind": "ConfigMap", "name": "kube-root-ca.crt" }] } });
    stage.site().apply(project(orphans.clone())).await?;
    for name in ["team-a", "elsewhere", NAMESPACE] {
        stage.site().apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await?;
    }
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    for namespace in ["team-a", "elsewhere"] {
        let mut app = of_team("shop", &shop.url);
        app["metadata"]["namespace"] = namespace.into();
        stage.site().apply(app).await?;
    }
    let conditions = async |namespace: &str| {
        let object = stage.site().live("argoproj.io", "Application", namespace, "shop").await?;
        Ok::<_, String>(object.at("/status/conditions").unwrap_or(&Value::Null).to_string())
    };
    until("the project does not permit the namespace", async || {
        let text = conditions("team-a").await?;
        if text.contains("sourceNamespaces") { Ok(()) } else { Err(text) }
    })
    .await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_err(), "it was synced without permission");

    let mut permitting = project(orphans);
    permitting["spec"]["sourceNamespaces"] = json!(["team-*"]);
    stage.site().apply(permitting).await?;
    stage.site().has_content(NAMESPACE, "shop", "1").await?;
    let object = stage.site().live("", "ConfigMap", NAMESPACE, "shop").await.map_err(anyhow::Error::msg)?;
    let owner = object.annotation("argocd.argoproj.io/tracking-id").unwrap_or_default();
    ensure!(owner.starts_with("team-a_shop:"), "it belongs to {owner}");
    ensure!(
        conditions("elsewhere").await == Ok("null".into()),
        "an Application outside of the namespaces was looked at"
    );

    // Objects in its namespace that nobody owns are named.
    let stray =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "stray", "namespace": NAMESPACE } });
    stage.site().apply(stray).await?;
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    let key = ObjectKey::new("argoproj.io", "Application", "team-a", "shop");
    stage.site().cluster.merge_patch(&key, &refresh).await?;
    until("the stray ConfigMap is named", async || {
        let text = conditions("team-a").await?;
        if text.contains("OrphanedResourceWarning") && text.contains("stray") { Ok(()) } else { Err(text) }
    })
    .await?;
    let kubeconfig = format!("--kubeconfig={}", stage.site().plane.kubeconfig.display());
    let said = stage.lockstep(&["app", "orphans", "team-a/shop", &kubeconfig].map(str::to_owned)).await?;
    ensure!(said.contains("stray") && !said.contains("kube-root-ca.crt") && !said.contains(" shop"), "{said}");
    stage.strike().await
}
