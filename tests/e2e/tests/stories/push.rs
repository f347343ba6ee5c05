//! From a push to the status on its commit.

use anyhow::{Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, deployment, until};

const CONTEXT: &str = "lockstep/dev";
const OWN_CONTEXT: &str = "lockstep/dev/shop";

#[tokio::test]
async fn push_to_status() -> Result<()> {
    let stage = Stage::set(Kind::Gitea, &["dev"]).await?;
    story(&stage).await?;
    stage.strike().await
}

/// Somebody takes a commit away again by force, instead of reverting it.
#[tokio::test]
async fn a_forced_push_goes_back() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().has_content(NAMESPACE, "shop", "one").await?;
    let good = shop.git.head().await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let bad = shop.push("Say two").await?;
    stage.expect(&shop, &bad, CONTEXT, "success", "all healthy").await?;
    shop.force(&good).await?;
    stage.site().has_content(NAMESPACE, "shop", "one").await?;
    stage.expect(&shop, &good, CONTEXT, "success", "all healthy").await?;

    // And to a commit beside it.
    shop.git.checkout(&good).await?;
    shop.git.write("app/config.yaml", config_map("shop", "three"))?;
    let beside = shop.push("Say three instead").await?;
    stage.expect(&shop, &beside, CONTEXT, "success", "all healthy").await?;
    shop.force(&bad).await?;
    stage.site().has_content(NAMESPACE, "shop", "two").await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    stage.strike().await
}

/// The story, on any forge.
pub async fn story(stage: &Stage) -> Result<()> {
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("README.md", "The shop.\n")?;
            copy.write("app/config.yaml", config_map("shop", "one"))?;
            copy.write("app/deployment.yaml", deployment("shop", 0, ""))?;
            copy.write("app/kustomization.yaml", "resources:\n  - config.yaml\n  - deployment.yaml\n")
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    a_push_is_synced(stage, &shop).await?;
    a_push_that_does_not_render_changes_nothing(stage, &shop).await?;
    a_push_that_concerns_nothing_says_so(stage, &shop).await
}

async fn a_push_is_synced(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let commit = shop.push("Say two").await?;
    stage.site().has_content(NAMESPACE, "shop", "two").await?;
    stage.expect(shop, &commit, OWN_CONTEXT, "success", "healthy").await?;
    stage.expect(shop, &commit, CONTEXT, "success", "1 of 1 applications changed, all healthy").await?;
    // The check is in the outbox before the status is written, so that a kill in between loses neither.
    until("the status tells the same", async || {
        let application = stage.site().application("shop").await?;
        let status = &application.0["status"];
        let history = status["history"].as_array().cloned().unwrap_or_default();
        let told = status["sync"]["revision"] == commit
            && status["operationState"]["phase"] == "Succeeded"
            && history.last().is_some_and(|last| last["revision"] == commit);
        if told { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

async fn a_push_that_does_not_render_changes_nothing(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    let versions = async || -> Result<[String; 2]> {
        let config = stage.site().live("", "ConfigMap", NAMESPACE, "shop").await.map_err(anyhow::Error::msg)?;
        let workload = stage.site().live("apps", "Deployment", NAMESPACE, "shop").await.map_err(anyhow::Error::msg)?;
        Ok([config.resource_version().to_owned(), workload.0["metadata"]["generation"].to_string()])
    };
    let before = versions().await?;
    shop.git.write("app/config.yaml", config_map("shop", "three"))?;
    shop.git.replace("app/kustomization.yaml", "  - deployment.yaml", "  - absent.yaml")?;
    let commit = shop.push("Name a file that is not there").await?;
    stage.expect(shop, &commit, OWN_CONTEXT, "error", "absent.yaml").await?;
    stage.expect(shop, &commit, CONTEXT, "error", "shop: ").await?;
    ensure!(versions().await? == before, "something changed although the commit does not render");

    shop.git.replace("app/kustomization.yaml", "  - absent.yaml", "  - deployment.yaml")?;
    let mended = shop.push("Name it rightly").await?;
    stage.site().has_content(NAMESPACE, "shop", "three").await?;
    stage.expect(shop, &mended, CONTEXT, "success", "all healthy").await?;
    stage.site().stands("shop", "Synced/Healthy").await
}

async fn a_push_that_concerns_nothing_says_so(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    shop.git.write("README.md", "The shop, explained.\n")?;
    let commit = shop.push("Explain").await?;
    stage.expect(shop, &commit, CONTEXT, "success", "no application concerned").await?;
    let checks = stage.forge.checks(&shop.name, &commit).await?;
    ensure!(checks.keys().eq([CONTEXT]), "{checks:?}");
    Ok(())
}
