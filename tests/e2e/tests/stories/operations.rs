//! What happens without a push, and what waits for somebody.

use anyhow::{Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, deployment, until};
use resources::ObjectKey;
use serde_json::json;

#[tokio::test]
async fn drift_is_healed_and_a_revert_rolls_back() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/config.yaml", config_map("shop", "good"))?;
            copy.write("app/deployment.yaml", deployment("shop", 0, ""))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    drift(&stage).await?;
    rollback(&stage, &shop).await?;
    a_broken_commit_is_reverted(&stage, &shop).await?;
    stage.strike().await
}

async fn drift(stage: &Stage) -> Result<()> {
    let site = stage.site();
    let workload = ObjectKey::new("apps", "Deployment", NAMESPACE, "shop");
    let scaled = site.cluster.merge_patch(&workload, &json!({ "spec": { "replicas": 5 } })).await?;
    let scaled = scaled.0["metadata"]["generation"].as_i64().unwrap_or_default();
    until("the Deployment has one replica again", async || {
        let live = site.live("apps", "Deployment", NAMESPACE, "shop").await?;
        let generation = live.0["metadata"]["generation"].as_i64().unwrap_or_default();
        let replicas = &live.0["spec"]["replicas"];
        if generation > scaled && *replicas == 1 { Ok(()) } else { Err(replicas.to_string()) }
    })
    .await?;
    let config = ObjectKey::new("", "ConfigMap", NAMESPACE, "shop");
    site.cluster.merge_patch(&config, &json!({ "data": { "content": "edited by hand" } })).await?;
    site.has_content(NAMESPACE, "shop", "good").await?;
    site.cluster.delete(&config, &cluster::DeleteOptions::default()).await?;
    site.has_content(NAMESPACE, "shop", "good").await?;
    site.stands("shop", "Synced/Healthy").await
}

async fn rollback(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    shop.git.write("app/config.yaml", config_map("shop", "bad"))?;
    shop.git.write("app/new.yaml", config_map("new", "only in the bad commit"))?;
    let bad = shop.push("A change that nobody wants").await?;
    stage.site().has_content(NAMESPACE, "new", "only in the bad commit").await?;
    stage.expect(shop, &bad, "lockstep/dev", "success", "all healthy").await?;
    let good = shop.git.revert(&bad).await?;
    shop.push_commit(&good, "main").await?;
    stage.site().has_content(NAMESPACE, "shop", "good").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "new").await?;
    stage.expect(shop, &good, "lockstep/dev/shop", "success", "healthy").await?;
    Ok(())
}

/// The manifests are then the same as those that were rendered last, and the check has to turn green all the same.
async fn a_broken_commit_is_reverted(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    shop.git.write("app/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: broken\n")?;
    let broken = shop.push("Break it").await?;
    stage.expect(shop, &broken, "lockstep/dev/shop", "error", "broken.yaml").await?;
    let mended = shop.git.revert(&broken).await?;
    shop.push_commit(&mended, "main").await?;
    stage.expect(shop, &mended, "lockstep/dev/shop", "success", "healthy").await?;
    stage.expect(shop, &mended, "lockstep/dev", "success", "1 of 1 applications changed").await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let application = stage.site().application("shop").await.map_err(anyhow::Error::msg)?;
    let conditions = &application.0["status"]["conditions"];
    ensure!(conditions.as_array().is_none_or(Vec::is_empty), "{conditions}");
    Ok(())
}

#[tokio::test]
async fn a_manual_application_waits_for_somebody() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let ledger =
        stage.repository("acme/ledger", |copy| copy.write("app/config.yaml", config_map("ledger", "one"))).await?;
    stage.site().apply(application("ledger", &ledger.url, "app", false)).await?;
    stage.site().stands("ledger", "OutOfSync/Missing").await?;

    let commit = push(&stage, &ledger, "two").await?;
    ensure!(stage.site().content(NAMESPACE, "ledger").await.is_err(), "it did not wait");
    let operation = json!({ "operation": { "initiatedBy": { "username": "maria" }, "sync": { "revision": commit } } });
    stage.site().patch_application("ledger", operation).await?;
    is_synced(&stage, &ledger, &commit, "two").await?;
    let application = stage.site().application("ledger").await.map_err(anyhow::Error::msg)?;
    let state = &application.0["status"]["operationState"];
    ensure!(state["phase"] == "Succeeded" && state["operation"]["initiatedBy"]["username"] == "maria", "{state}");
    ensure!(application.0.get("operation").is_none_or(serde_json::Value::is_null), "the operation is still asked for");

    let commit = push(&stage, &ledger, "three").await?;
    ensure!(stage.site().content(NAMESPACE, "ledger").await == Ok("two".to_owned()), "it did not wait");
    let bus = format!("--bus={}", stage.broker.url);
    let command = ["app", "sync", &bus, "--cluster=dev", "ledger"].map(str::to_owned);
    stage.lockstep(&command).await?;
    is_synced(&stage, &ledger, &commit, "three").await?;
    stage.strike().await
}

async fn push(stage: &Stage, ledger: &WorkingCopy, content: &str) -> Result<String> {
    ledger.git.write("app/config.yaml", config_map("ledger", content))?;
    let commit = ledger.push(&format!("Say {content}")).await?;
    let words = "waiting for somebody to start the sync";
    stage.expect(ledger, &commit, "lockstep/dev/ledger", "pending", words).await?;
    stage.expect(ledger, &commit, "lockstep/dev", "pending", words).await?;
    Ok(commit)
}

async fn is_synced(stage: &Stage, ledger: &WorkingCopy, commit: &str, content: &str) -> Result<()> {
    stage.site().has_content(NAMESPACE, "ledger", content).await?;
    stage.expect(ledger, commit, "lockstep/dev/ledger", "success", "healthy").await?;
    stage.expect(ledger, commit, "lockstep/dev", "success", "all healthy").await?;
    stage.site().stands("ledger", "Synced/Healthy").await
}
