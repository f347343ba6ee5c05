//! Sync options, each as its own object or application asks for it.

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, deployment, until};
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use crate::objects::condition;
use crate::sync::annotated;

fn with_options(manifest: &str, options: &str) -> Result<Value> {
    let mut object: Value = serde_json::from_str(manifest)?;
    object["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] = options.into();
    Ok(object)
}

async fn config(stage: &Stage, name: &str) -> Result<Object> {
    stage.site().live("", "ConfigMap", NAMESPACE, name).await.map_err(anyhow::Error::msg)
}

#[tokio::test]
async fn replaced_forced_and_refused() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let mut immutable = with_options(&config_map("frozen", "1"), "Force=true")?;
    immutable["immutable"] = true.into();
    let replaced = with_options(&config_map("replaced", "1"), "Replace=true")?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/frozen.yaml", immutable.to_string())?;
            copy.write("app/replaced.yaml", replaced.to_string())
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    // What others added to an object that is replaced goes with the next change.
    let more = json!({ "data": { "more": "by hand" } });
    let key = ObjectKey::new("", "ConfigMap", NAMESPACE, "replaced");
    stage.site().cluster.merge_patch(&key, &more).await?;
    let frozen = config(&stage, "frozen").await?;
    immutable["data"]["content"] = "2".into();
    shop.git.write("app/frozen.yaml", immutable.to_string())?;
    shop.git.write("app/replaced.yaml", with_options(&config_map("replaced", "2"), "Replace=true")?.to_string())?;
    let commit = shop.push("Change them").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    ensure!(config(&stage, "frozen").await?.uid() != frozen.uid(), "what is immutable was not made anew");
    stage.site().has_content(NAMESPACE, "frozen", "2").await?;
    let replaced = config(&stage, "replaced").await?;
    ensure!(replaced.at("/data/more").is_none(), "what was added is still there");

    // An unknown field is an error, and it is named.
    let mut unknown: Value = serde_json::from_str(&config_map("unknown", "1"))?;
    unknown["contents"] = "not a field".into();
    shop.git.write("app/unknown.yaml", unknown.to_string())?;
    let commit = shop.push("A field that nobody knows").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "failure", "contents").await?;
    stage.strike().await
}

#[tokio::test]
async fn what_is_deleted_last_and_what_stays() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/late.yaml", with_options(&config_map("late", "1"), "PruneLast=true")?.to_string())?;
            copy.write("app/early.yaml", config_map("early", "1"))?;
            copy.write("app/shop.yaml", deployment("shop", 0, ""))?;
            copy.write("app/stays.yaml", config_map("stays", "1"))
        })
        .await?;
    let mut app = application("shop", &shop.url, "app", true);
    app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true", "PrunePropagationPolicy=orphan"]);
    stage.site().apply(app).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    // The one that goes last waits for the health of what comes instead.
    shop.git.remove("app/late.yaml")?;
    shop.git.remove("app/early.yaml")?;
    shop.git.write("app/instead.yaml", deployment("instead", 0, "after=3s"))?;
    shop.push("Something else instead").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "early").await?;
    config(&stage, "late").await.context("it did not go last")?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "late").await?;
    let instead = stage.site().live("apps", "Deployment", NAMESPACE, "instead").await.map_err(anyhow::Error::msg)?;
    ensure!(
        instead.at("/status/readyReplicas").and_then(Value::as_i64) == Some(1),
        "it went before the other was well"
    );

    // An orphan keeps running.
    shop.git.remove("app/shop.yaml")?;
    let commit = shop.push("Without the shop").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().gone("apps", "Deployment", NAMESPACE, "shop").await?;
    let kind = stage.site().cluster.kind("apps", Some("v1"), "ReplicaSet").await?.context("no ReplicaSets")?;
    let sets = stage.site().cluster.list(&kind, Some(NAMESPACE), Some("app=shop")).await?;
    ensure!(sets.len() == 1, "the ReplicaSet did not outlive its Deployment");

    // Without a finalizer an Application leaves everything where it is.
    let key = ObjectKey::new("argoproj.io", "Application", "argocd", "shop");
    stage.site().cluster.delete(&key, &cluster::DeleteOptions::default()).await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "shop").await?;
    config(&stage, "stays").await?;

    // With one for the background it takes its objects along.
    let mut app = application("shop", &shop.url, "app", true);
    app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io/background"]);
    stage.site().apply(app).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    stage.site().cluster.delete(&key, &cluster::DeleteOptions::default()).await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "stays").await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "shop").await?;
    stage.strike().await
}

#[tokio::test]
async fn a_kind_that_comes_with_its_objects_and_one_that_is_shared() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.shop.example.com" },
        "spec": {
            "group": "shop.example.com", "scope": "Namespaced",
            "names": { "kind": "Widget", "plural": "widgets", "singular": "widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            } } }],
        },
    });
    let widget = json!({ "apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": { "name": "one" }, "spec": { "size": 1 } });
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/a-widget.yaml", widget.to_string())?;
            copy.write("app/definition.yaml", definition.to_string())?;
            copy.write("other/a-widget.yaml", widget.to_string())
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let key = ObjectKey::new("shop.example.com", "Widget", NAMESPACE, "one");
    stage.site().cluster.merge_patch(&key, &json!({ "spec": { "size": 2 } })).await?;
    until("the widget is healed", async || {
        let widget = stage.site().live("shop.example.com", "Widget", NAMESPACE, "one").await?;
        let size = widget.at("/spec/size").and_then(Value::as_i64);
        if size == Some(1) { Ok(()) } else { Err(format!("{size:?}")) }
    })
    .await?;

    let mut other = application("other", &shop.url, "other", true);
    other["spec"]["syncPolicy"]["syncOptions"] = json!(["FailOnSharedResource=true"]);
    stage.site().apply(other).await?;
    condition(&stage, "other", "SharedResourceWarning", "is also part of application shop").await?;
    let operation = json!({ "operation": { "initiatedBy": { "username": "ada" }, "sync": {} } });
    stage.site().patch_application("other", operation).await?;
    condition(&stage, "other", "SyncError", "FailOnSharedResource=true forbids to share it").await?;
    stage.strike().await
}

#[tokio::test]
async fn what_a_webhook_would_change_counts_where_a_dry_run_is_asked_for() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let compared =
        |name: &str, option: &str| annotated(name, "1", json!({ "argocd.argoproj.io/compare-options": option }));
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("asked/config.yaml", compared("asked", "ServerSideDiff=true"))?;
            copy.write("spared/config.yaml", compared("spared", "ServerSideDiff=false"))
        })
        .await?;
    for name in ["asked", "spared"] {
        let mut app = application(name, &shop.url, name, true);
        app["spec"]["syncPolicy"]["automated"]["selfHeal"] = false.into();
        stage.site().apply(app).await?;
        stage.site().stands(name, "Synced/Healthy").await?;
    }
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": { "name": "adds" },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"],
            }] },
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{ "patchType": "ApplyConfiguration", "applyConfiguration": {
                "expression": "Object{data: {\"more\": \"added\"}}",
            } }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": "adds" }, "spec": { "policyName": "adds" },
    });
    stage.site().apply(policy).await?;
    stage.site().apply(binding).await?;
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    until("the dry run tells what would be added", async || {
        stage.site().patch_application("asked", refresh.clone()).await.map_err(|error| error.to_string())?;
        let application = stage.site().application("asked").await?;
        let sync = application.at("/status/sync/status").and_then(Value::as_str).unwrap_or_default();
        if sync == "OutOfSync" { Ok(()) } else { Err(sync.to_owned()) }
    })
    .await?;
    stage.site().patch_application("spared", refresh).await?;
    until("it was refreshed", async || {
        let application = stage.site().application("spared").await?;
        if application.annotation("argocd.argoproj.io/refresh").is_none() { Ok(()) } else { Err("not yet".into()) }
    })
    .await?;
    stage.site().stands("spared", "Synced/Healthy").await?;
    stage.strike().await
}
