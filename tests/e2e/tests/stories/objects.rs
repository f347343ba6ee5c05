//! To whom objects belong: two applications that want the same one, what Argo CD or kubectl applied before, and very many.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster::ApplyOptions;
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, deployment, until};
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

async fn live(stage: &Stage, group: &str, kind: &str, name: &str) -> Result<Object> {
    stage.site().live(group, kind, NAMESPACE, name).await.map_err(anyhow::Error::msg)
}

/// Waits until an Application has a condition of this type that says so.
pub async fn condition(stage: &Stage, name: &str, kind: &str, words: &str) -> Result<()> {
    until(&format!("{name}: {kind} {words:?}"), async || {
        let application = stage.site().application(name).await?;
        let all = application.at("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let says = |condition: &Value| {
            condition["type"] == kind && condition["message"].as_str().is_some_and(|message| message.contains(words))
        };
        if all.iter().any(says) { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await
}

#[tokio::test]
async fn two_applications_claim_one_object() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("first/shared.yaml", config_map("shared", "1"))?;
            copy.write("first/own.yaml", config_map("first", "1"))?;
            copy.write("second/shared.yaml", config_map("shared", "2"))?;
            copy.write("second/own.yaml", config_map("second", "1"))
        })
        .await?;
    stage.site().apply(application("first", &shop.url, "first", true)).await?;
    stage.site().stands("first", "Synced/Healthy").await?;
    let before = live(&stage, "", "ConfigMap", "shared").await?;

    // The one that has it keeps it; the other one says so, does the rest, and is red.
    stage.site().apply(application("second", &shop.url, "second", true)).await?;
    stage.site().has_content(NAMESPACE, "second", "1").await?;
    condition(&stage, "second", "SharedResourceWarning", "is also part of application first").await?;
    shop.git.write("second/own.yaml", config_map("second", "2"))?;
    let commit = shop.push("Change the second").await?;
    let words = "belongs to application first, which wants it otherwise";
    stage.expect(&shop, &commit, "lockstep/dev/second", "failure", words).await?;
    stage.site().stands("second", "OutOfSync/Healthy").await?;
    stage.site().stands("first", "Synced/Healthy").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = live(&stage, "", "ConfigMap", "shared").await?;
    ensure!(before.resource_version() == after.resource_version(), "the two take it from each other");

    // Where both want the same, both are well.
    shop.git.write("second/shared.yaml", config_map("shared", "1"))?;
    let commit = shop.push("Agree").await?;
    stage.expect(&shop, &commit, "lockstep/dev/second", "success", "healthy").await?;
    stage.site().stands("second", "Synced/Healthy").await?;

    // It moves from one to the other, and is not deleted between.
    shop.git.remove("first/shared.yaml")?;
    shop.git.write("second/shared.yaml", config_map("shared", "3"))?;
    shop.push("Move it").await?;
    stage.site().has_content(NAMESPACE, "shared", "3").await?;
    stage.site().stands("second", "Synced/Healthy").await?;
    stage.site().stands("first", "Synced/Healthy").await?;
    let moved = live(&stage, "", "ConfigMap", "shared").await?;
    ensure!(moved.uid() == before.uid(), "it was deleted and made anew");
    let owner = moved.annotation("argocd.argoproj.io/tracking-id").unwrap_or_default();
    ensure!(owner.starts_with("second:"), "it belongs to {owner}");
    stage.strike().await
}

/// As Argo CD's controller or kubectl apply it: a Deployment by server-side apply, a ConfigMap by the client's own apply.
async fn as_before(stage: &Stage, shop: &str) -> Result<()> {
    let cluster = &stage.site().cluster;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    cluster.apply(&Object(namespace), &ApplyOptions::default()).await?;
    let mut object: Value = serde_json::from_str(shop)?;
    object["metadata"]["namespace"] = NAMESPACE.into();
    object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "shop:apps/Deployment:demo/shop".into();
    let argo = ApplyOptions { field_manager: Some("argocd-controller".into()), ..ApplyOptions::default() };
    cluster.apply(&Object(object), &argo).await?;

    let applied = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "settings", "namespace": NAMESPACE, "annotations": {} },
        "data": { "content": "1", "old": "yes" },
    });
    let mut object = applied.clone();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied.to_string().into();
    let kubectl = ApplyOptions { field_manager: Some("kubectl-client-side-apply".into()), ..ApplyOptions::default() };
    cluster.create(&Object(object), &kubectl).await?;
    Ok(())
}

fn environment(object: &mut Value, names: &[&str]) {
    let environment: Vec<Value> = names.iter().map(|name| json!({ "name": name, "value": "1" })).collect();
    object["spec"]["template"]["spec"]["containers"][0]["env"] = environment.into();
}

#[tokio::test]
async fn what_argo_cd_applied_is_taken_over_and_nothing_restarts() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let mut wanted: Value = serde_json::from_str(&deployment("shop", 0, ""))?;
    environment(&mut wanted, &["KEPT", "DROPPED"]);
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/shop.yaml", wanted.to_string())?;
            copy.write("app/settings.yaml", config_map("settings", "1"))
        })
        .await?;
    as_before(&stage, &wanted.to_string()).await?;
    let ready = async || {
        let object = stage.site().live("apps", "Deployment", NAMESPACE, "shop").await?;
        let ready = object.at("/status/readyReplicas").and_then(Value::as_i64);
        if ready == Some(1) { Ok(object) } else { Err(format!("{ready:?} replicas are ready")) }
    };
    let before = until("the Deployment runs", ready).await?;

    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let after = live(&stage, "apps", "Deployment", "shop").await?;
    for pointer in ["/metadata/uid", "/metadata/generation", "/spec/template"] {
        ensure!(before.at(pointer) == after.at(pointer), "{pointer} is another");
    }
    // What Git drops goes, although others had applied it.
    let settings = live(&stage, "", "ConfigMap", "settings").await?;
    ensure!(settings.at("/data/old").is_none(), "{:?}", settings.at("/data"));
    environment(&mut wanted, &["KEPT"]);
    shop.git.write("app/shop.yaml", wanted.to_string())?;
    let commit = shop.push("Drop a variable").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    let after = live(&stage, "apps", "Deployment", "shop").await?;
    let names: Vec<&Value> = after
        .at("/spec/template/spec/containers/0/env")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|variable| &variable["name"])
        .collect();
    ensure!(names == ["KEPT"], "{names:?}");
    let managers: Vec<&str> = after
        .at("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    ensure!(!managers.contains(&"argocd-controller"), "fields are still Argo CD's: {managers:?}");
    stage.strike().await
}

const MANY: usize = 3_000;

fn write_many(shop: &harness::GitRepo, count: usize, content: impl Fn(usize) -> String) -> Result<()> {
    for file in 0..MANY / 100 {
        let numbers = (file * 100..(file + 1) * 100).filter(|number| *number < count);
        let documents: Vec<String> =
            numbers.map(|number| config_map(&format!("many-{number}"), &content(number))).collect();
        shop.write(&format!("app/{file}.yaml"), documents.join("\n---\n"))?;
    }
    Ok(())
}

async fn version(stage: &Stage, name: &str) -> Result<String> {
    let application = stage.site().application(name).await.map_err(anyhow::Error::msg)?;
    Ok(application.resource_version().to_owned())
}

#[tokio::test]
async fn an_application_of_three_thousand_objects() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| write_many(copy, MANY, |_| "x".repeat(40))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let application = stage.site().application("shop").await.map_err(anyhow::Error::msg)?;
    let bytes = application.0.to_string().len();
    ensure!(bytes < 1_000_000, "the Application has {bytes} bytes");
    let list = ObjectKey::new("", "ConfigMap", NAMESPACE, "many-2999");
    stage.site().cluster.get(&list).await?.context("the last object is not there")?;

    // Nothing changes, so nothing is written.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_rest = version(&stage, "shop").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(at_rest == version(&stage, "shop").await?, "the Application is written without a change");

    write_many(&shop.git, MANY, |number| if number == 1_234 { "changed".into() } else { "x".repeat(40) })?;
    let commit = shop.push("Change one of them").await?;
    stage.site().has_content(NAMESPACE, "many-1234", "changed").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    most_of_them_go(&stage, &shop).await?;
    stage.strike().await
}

async fn most_of_them_go(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    write_many(&shop.git, 1_000, |_| "x".repeat(40))?;
    let commit = shop.push("Remove most of them").await?;
    stage.expect(shop, &commit, "lockstep/dev/shop", "pending", "would prune 2000 of the 3000 objects").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    live(stage, "", "ConfigMap", "many-2999").await?;
    let now = jiff::Timestamp::now().to_string();
    let confirmed = json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": now } } });
    stage.site().patch_application("shop", confirmed).await?;
    stage.expect(shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "many-2999").await?;
    live(stage, "", "ConfigMap", "many-999").await?;
    Ok(())
}

#[tokio::test]
async fn ownership_by_label_and_by_installation() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-cm", "namespace": "argocd" },
        "data": { "application.resourceTrackingMethod": "label", "installationID": "one" },
    });
    stage.site().apply(settings).await?;
    stage.site_mut().worker.kill().await?;
    stage.site_mut().worker.start_again().await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/kept.yaml", config_map("kept", "1"))?;
            copy.write("app/gone.yaml", config_map("gone", "1"))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let kept = live(&stage, "", "ConfigMap", "kept").await?;
    ensure!(kept.label("app.kubernetes.io/instance") == Some("shop"), "it has no label");
    ensure!(kept.annotation("argocd.argoproj.io/tracking-id").is_none(), "it has the annotation besides");
    ensure!(kept.annotation("argocd.argoproj.io/installation-id") == Some("one"), "it names no installation");

    // Another installation's object of the same label is not ours to prune.
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "theirs", "namespace": NAMESPACE, "labels": { "app.kubernetes.io/instance": "shop" },
                      "annotations": { "argocd.argoproj.io/installation-id": "two" } },
    });
    stage.site().apply(theirs).await?;
    shop.git.remove("app/gone.yaml")?;
    let commit = shop.push("Remove one").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "gone").await?;
    live(&stage, "", "ConfigMap", "theirs").await?;
    stage.strike().await
}
