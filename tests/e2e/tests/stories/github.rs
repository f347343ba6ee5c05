//! GitHub, whose every call, answer and webhook is held against its own description.

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, until};

use crate::{pulls, push};

#[tokio::test]
async fn push_to_status_as_github_describes_it() -> Result<()> {
    let stage = Stage::set(Kind::GithubChecked, &["dev"]).await?;
    push::story(&stage).await?;
    nothing_is_amiss(&stage)?;
    stage.strike().await
}

#[tokio::test]
async fn pull_request_to_preview_to_gone_as_github_describes_it() -> Result<()> {
    let stage = Stage::set(Kind::GithubChecked, &[pulls::CLUSTER]).await?;
    pulls::story(&stage).await?;
    nothing_is_amiss(&stage)?;
    stage.strike().await
}

/// GitHub sends a webhook once. The workers do not poll here, so the commit is heard of by the same delivery or not at all.
#[tokio::test]
async fn a_webhook_that_did_not_arrive_is_asked_for_again() -> Result<()> {
    let mut stage = Stage::redelivering(Kind::GithubChecked, &["dev"], "1s").await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    stage.receiver.kill().await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let commit = shop.push("Say two").await?;
    let attempts = |stage: &Stage| -> Result<Vec<github_double::Delivery>> {
        let all = stage.forge.github()?.deliveries("acme", "shop").into_iter();
        Ok(all.filter(|one| one.event == "push" && one.payload["after"] == *commit).collect())
    };
    let lost = until("GitHub gives up", async || {
        let first = attempts(&stage).map_err(|error| error.to_string())?.into_iter().next();
        first.filter(|one| one.responded_at_us.is_some()).ok_or_else(|| "no webhook was sent".to_owned())
    })
    .await?;
    ensure!(!lost.succeeded() && !lost.redelivery, "{}", lost.status);
    ensure!(stage.forge.checks(&shop.name, &commit).await?.is_empty(), "somebody has told of the commit");

    stage.receiver.start_again().await?;
    stage.site().has_content(NAMESPACE, "shop", "two").await?;
    stage.expect(&shop, &commit, "lockstep/dev", "success", "all healthy").await?;
    let attempts = attempts(&stage)?;
    let last = attempts.last().context("the delivery is gone")?;
    ensure!(last.redelivery && last.succeeded(), "{}", last.status);
    ensure!(attempts.iter().all(|one| one.guid == lost.guid), "the delivery has got another id");

    // What has arrived is left alone, however often the list is read.
    let double = stage.forge.github()?;
    let read =
        || double.calls().iter().filter(|call| call.method == "GET" && call.path.ends_with("/deliveries")).count();
    let before = read();
    until("the list is read three times more", async || {
        let now = read();
        if now >= before + 3 { Ok(()) } else { Err(format!("{now} of {}", before + 3)) }
    })
    .await?;
    let same = double.deliveries("acme", "shop").iter().filter(|one| one.guid == lost.guid).count();
    ensure!(same == attempts.len(), "it was asked for again although it had arrived");
    nothing_is_amiss(&stage)?;
    stage.strike().await
}

fn nothing_is_amiss(stage: &Stage) -> Result<()> {
    let double = stage.forge.github()?;
    let violations = double.violations();
    ensure!(violations.is_empty(), "not as GitHub describes it: {violations:#?}");
    ensure!(!double.calls().is_empty(), "no call was made at all");
    Ok(())
}
