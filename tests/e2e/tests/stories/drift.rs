//! What counts as a difference and as healthy: drift and who brought it about, fields that are not ours, rules of one's own, and
//! why a workload does not become healthy.

use anyhow::{Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, deployment, until};
use serde_json::{Value, json};

use crate::objects::condition;

async fn scale(stage: &Stage, replicas: u32) -> Result<()> {
    let only = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop", "namespace": NAMESPACE },
        "spec": { "replicas": replicas },
    });
    stage.site().apply(only).await.map(drop)
}

async fn replicas(stage: &Stage) -> Result<i64> {
    let object = stage.site().live("apps", "Deployment", NAMESPACE, "shop").await.map_err(anyhow::Error::msg)?;
    Ok(object.at("/spec/replicas").and_then(Value::as_i64).unwrap_or_default())
}

#[tokio::test]
async fn drift_is_told_with_who_and_when() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/shop.yaml", deployment("shop", 0, ""))).await?;
    let mut app = application("shop", &shop.url, "app", true);
    app["spec"]["syncPolicy"]["automated"]["selfHeal"] = false.into();
    stage.site().apply(app.clone()).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    shop.git.write("app/config.yaml", config_map("shop", "1"))?;
    let commit = shop.push("A second object").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;

    // Nothing heals it, so its condition and the commit's check say what was changed, and by whom.
    scale(&stage, 2).await?;
    let words = "spec.replicas: live 2, wanted 1 (changed by team at 20";
    condition(&stage, "shop", "DriftWarning", words).await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "failure", "drift: apps/Deployment demo/shop").await?;
    scale(&stage, 1).await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;

    // With self-heal it is repaired, and the operation says what that was.
    app["spec"]["syncPolicy"]["automated"]["selfHeal"] = true.into();
    stage.site().apply(app).await?;
    scale(&stage, 3).await?;
    until("it is healed and told", async || {
        let application = stage.site().application("shop").await?;
        let message = application.at("/status/operationState/message").and_then(Value::as_str).unwrap_or_default();
        if message
            .contains("healed drift: apps/Deployment demo/shop spec.replicas: live 3, wanted 1 (changed by team at 20")
        {
            Ok(())
        } else {
            Err(message.to_owned())
        }
    })
    .await?;
    ensure!(replicas(&stage).await? == 1, "it was not healed");
    stage.strike().await
}

#[tokio::test]
async fn rules_of_ones_own_count() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/shop.yaml", deployment("shop", 0, ""))?;
            copy.write("app/config.yaml", config_map("shop", "1"))?;
            copy.write(
                "app/secret.yaml",
                json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "left-out" } }).to_string(),
            )
        })
        .await?;
    let health = "hs = {status = 'Healthy'}\nif obj.data.content == '2' then hs = {status = 'Degraded', message = 'two is too many'} end\nreturn hs";
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-cm", "namespace": "argocd" },
        "data": {
            "resource.customizations.health.ConfigMap": health,
            "resource.customizations.ignoreDifferences.apps_Deployment": "jqPathExpressions:\n- .spec | .replicas?\n",
            "resource.exclusions": "- kinds: [LimitRange]\n",
        },
    });
    stage.site().apply(settings).await?;
    let mut app = application("shop", &shop.url, "app", true);
    app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true", "RespectIgnoreDifferences=true"]);
    stage.site().apply(app).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    condition(&stage, "shop", "ExcludedResourceWarning", "LimitRange").await?;
    ensure!(stage.site().live("", "LimitRange", NAMESPACE, "left-out").await.is_err(), "what is excluded was written");

    // Somebody else scales; neither the comparison nor the next sync minds.
    scale(&stage, 3).await?;
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let mut changed: Value = serde_json::from_str(&deployment("shop", 0, ""))?;
    changed["metadata"]["labels"] = json!({ "team": "shop" });
    shop.git.write("app/shop.yaml", changed.to_string())?;
    let commit = shop.push("Another label").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "failure", "two is too many").await?;
    stage.site().stands("shop", "Synced/Degraded").await?;
    ensure!(replicas(&stage).await? == 3, "an ignored field was written");

    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-cm", "namespace": "argocd" }, "data": {},
    });
    stage.site().apply(settings).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    ensure!(replicas(&stage).await? == 1, "the rule is gone and the field is Git's again");
    stage.strike().await
}

#[tokio::test]
async fn a_pod_that_cannot_start_is_named() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| copy.write("app/shop.yaml", deployment("shop", 0, "image-pull-error")))
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    until("the health names the pod", async || {
        let application = stage.site().application("shop").await?;
        let message = application.at("/status/health/message").and_then(Value::as_str).unwrap_or_default();
        if message.contains("cannot pull image registry.example/main:1") { Ok(()) } else { Err(message.to_owned()) }
    })
    .await?;
    let kubeconfig = stage.site().plane.kubeconfig.display().to_string();
    let arguments = ["app", "tree", "shop", "--kubeconfig", &kubeconfig].map(str::to_owned);
    let said = stage.lockstep(&arguments).await?;
    for words in
        ["Deployment demo/shop", "└─ apps/ReplicaSet demo/shop-", "   └─ Pod demo/shop-", "because Pod demo/shop-"]
    {
        ensure!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    stage.strike().await
}

#[tokio::test]
async fn who_fights_back_is_named() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/shop.yaml", deployment("shop", 0, ""))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let fights = async {
        loop {
            if replicas(&stage).await.is_ok_and(|now| now == 1) {
                scale(&stage, 4).await?;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        #[expect(unreachable_code, reason = "the loop ends with the story")]
        Ok::<(), anyhow::Error>(())
    };
    let told = condition(&stage, "shop", "SelfHealWarning", "team");
    tokio::select! {
        told = told => told?,
        ended = fights => ended?,
    }
    stage.strike().await
}
