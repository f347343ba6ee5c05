//! One worker at a time: what a worker decided before it was stopped is not written after another took its place.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, deployment, until, within};
use harness::Lockstep;
use resources::Object;
use serde_json::Value;

/// A lease lasts half a minute, and the machine may be busy.
const TAKEOVER: Duration = Duration::from_secs(150);

fn in_second_wave(name: &str, content: &str) -> String {
    let wave = r#""metadata":{"annotations":{"argocd.argoproj.io/sync-wave":"1"},"#;
    config_map(name, content).replacen(r#""metadata":{"#, wave, 1)
}

async fn says(worker: &Lockstep, words: &str) -> Result<()> {
    within(TAKEOVER, &format!("a worker says {words:?}"), async || {
        let log = worker.log();
        if log.contains(words) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await
}

/// Everything that a write leaves behind: version, content, who wrote it when.
async fn standing(stage: &Stage, names: &[&str]) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for name in names {
        let object = stage.site().live("", "ConfigMap", NAMESPACE, name).await.map_err(anyhow::Error::msg)?;
        objects.push(object);
    }
    Ok(objects)
}

#[tokio::test]
async fn a_worker_that_was_stopped_in_the_middle_writes_nothing() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("heals/config.yaml", config_map("heals", "one"))?;
            copy.write("waves/config.yaml", config_map("waves-first", "one"))
        })
        .await?;
    for name in ["heals", "waves"] {
        stage.site().apply(application(name, &shop.url, name, true)).await?;
        stage.site().stands(name, "Synced/Healthy").await?;
    }
    // The second wave waits for a Deployment that nobody lets become ready.
    shop.git.write("waves/first.yaml", deployment("waves", 0, "never-ready"))?;
    shop.git.write("waves/second.yaml", in_second_wave("waves-second", "one"))?;
    let older = shop.push("Two waves").await?;
    stage.expect(&shop, &older, "lockstep/dev/waves", "pending", "waves").await?;
    until("the operation is in its first wave", async || {
        stage.site().live("apps", "Deployment", NAMESPACE, "waves").await?;
        let state = stage.site().application("waves").await?.0["status"]["operationState"]["phase"].clone();
        if state == "Running" { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    let mut second = stage.replica().await?;
    says(&second, "lease.held").await?;

    // Stopped: it has a wave to go on with, and drift to heal, of which it knows only when it goes on.
    stage.site().worker.freeze();
    let drifted: Value = serde_json::from_str(&config_map("heals", "drifted"))?;
    let mut drifted = drifted;
    drifted["metadata"]["namespace"] = NAMESPACE.into();
    stage.site().apply(drifted).await?;
    shop.git.write("heals/config.yaml", config_map("heals", "two"))?;
    shop.git.write("waves/second.yaml", in_second_wave("waves-second", "two"))?;
    shop.git.write("waves/only-now.yaml", config_map("waves-new", "two"))?;
    shop.push("Newer content").await?;

    // The second one takes over and brings the newer content about.
    within(TAKEOVER, "the newer content is there", async || {
        let content = stage.site().content(NAMESPACE, "heals").await?;
        if content == "two" { Ok(()) } else { Err(content) }
    })
    .await?;
    stage.site().has_content(NAMESPACE, "waves-new", "two").await?;
    crate::outages::release(&stage, "waves").await?;
    stage.site().has_content(NAMESPACE, "waves-second", "two").await?;
    for name in ["heals", "waves"] {
        stage.site().stands(name, "Synced/Healthy").await?;
    }
    let names = ["heals", "waves-first", "waves-second", "waves-new"];
    let before = standing(&stage, &names).await?;

    // The first one goes on. It finds out, says so, and stands by; nothing of what it had begun is written.
    stage.site().worker.thaw();
    says(&stage.site().worker, "worker.lease_lost").await?;
    let log = stage.site().worker.log();
    ensure!(log.contains("holds it now") && !log.contains("could not be renewed"), "it does not say what happened");
    let after = standing(&stage, &names).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before == after, "{} was written: {} {}", before.key(), before.0, after.0);
    }

    // In the same process it works again when the lease is free.
    let pid = stage.site().worker.pid();
    second.terminate(Duration::from_secs(60)).await?;
    shop.git.write("heals/config.yaml", config_map("heals", "three"))?;
    let newest = shop.push("Newest content").await?;
    within(TAKEOVER, "the first one works again", async || {
        let content = stage.site().content(NAMESPACE, "heals").await?;
        if content == "three" { Ok(()) } else { Err(content) }
    })
    .await?;
    stage.expect(&shop, &newest, "lockstep/dev", "success", "healthy").await?;
    ensure!(stage.site_mut().worker.is_running() && stage.site().worker.pid() == pid, "it is another process");
    stage.strike().await
}
