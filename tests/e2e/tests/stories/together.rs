//! `lockstep up`: whatever becomes of the cluster, the receiver takes webhooks, and the worker comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::DeleteOptions;
use e2e::{NAMESPACE, Together, application, config_map, install_definitions, until, within};
use resources::ObjectKey;
use serde_json::Value;

/// Longer than a lease is kept without a renewal.
const AWAY: Duration = Duration::from_secs(30);

/// Asks the receiver again and again whether it is there; counts the answers, and ends with the first that is none.
fn asks(url: String, answers: Arc<AtomicU64>) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        loop {
            match reqwest::Client::new().get(&url).timeout(Duration::from_secs(10)).send().await {
                Ok(answer) if answer.status().is_success() => answers.fetch_add(1, Ordering::Relaxed),
                other => return format!("{other:?}"),
            };
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

async fn says(up: &Together, words: &str) -> Result<()> {
    until(&format!("it says {words:?}"), async || {
        let log = up.site.worker.log();
        if log.contains(words) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await
}

#[tokio::test]
async fn a_cluster_that_is_away_stops_nothing_but_the_work() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut up = Together::start().await?;
    let pid = up.site.worker.pid();
    let answers = Arc::new(AtomicU64::new(0));
    let asking = asks(format!("{}/readyz", up.receiver_url), answers.clone());

    // What is not there at the start is waited for.
    says(&up, "install the CRDs").await?;
    install_definitions("dev", &up.site.cluster).await?;
    let shop = up.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    let ledger =
        up.repository("acme/ledger", |copy| copy.write("app/config.yaml", config_map("ledger", "one"))).await?;
    for copy in [&shop, &ledger] {
        let name = copy.name.trim_start_matches("acme/");
        up.site.apply(application(name, &copy.url, "app", true)).await?;
        up.site.stands(name, "Synced/Healthy").await?;
    }

    // The worker loses its cluster; there, things go on: drift, and a Secret that is deleted.
    up.passage.close();
    let away = tokio::time::Instant::now();
    let mut drifted: Value = serde_json::from_str(&config_map("shop", "drifted"))?;
    drifted["metadata"]["namespace"] = NAMESPACE.into();
    up.site.apply(drifted).await?;
    up.site.cluster.delete(&ObjectKey::new("", "Secret", "argocd", "ledger"), &DeleteOptions::default()).await?;
    shop.git.write("app/more.yaml", config_map("more", "one"))?;
    let pushed = shop.push("More").await?;
    until("the receiver takes the webhook", async || {
        let deliveries = up.forge.github().map_err(|error| error.to_string())?.deliveries("acme", "shop");
        let taken = deliveries.iter().any(|one| one.payload["after"] == *pushed && one.succeeded());
        if taken { Ok(()) } else { Err(format!("{} deliveries", deliveries.len())) }
    })
    .await?;
    says(&up, "could not be renewed").await?;
    tokio::time::sleep_until(away + AWAY).await;
    ensure!(up.site.content(NAMESPACE, "shop").await == Ok("drifted".into()), "the way was not closed");

    up.passage.open();
    up.site.has_content(NAMESPACE, "shop", "one").await?;
    up.site.has_content(NAMESPACE, "more", "one").await?;
    up.site.stands("shop", "Synced/Healthy").await?;
    within(Duration::from_secs(60), "nobody reads the ledger's repository any more", async || {
        let ledger = up.site.application("ledger").await?;
        let conditions = ledger.at("/status/conditions").unwrap_or(&Value::Null).to_string();
        if conditions.contains("credentials") { Ok(()) } else { Err(conditions) }
    })
    .await?;
    ledger.git.write("app/config.yaml", config_map("ledger", "two"))?;
    let unread = ledger.push("Nobody may read it any more").await?;
    until("the commit's check says so", async || {
        let checks = up.forge.checks(&ledger.name, &unread).await.map_err(|error| format!("{error:#}"))?;
        let refused = checks.get("lockstep/dev").is_some_and(|check| check.state == "error");
        if refused { Ok(()) } else { Err(format!("{checks:?}")) }
    })
    .await?;
    ensure!(up.site.content(NAMESPACE, "ledger").await == Ok("one".into()), "the credential is still in use");

    // A restart of the API server itself is no news either.
    up.site.plane.restart().await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    shop.push("Say two").await?;
    up.site.has_content(NAMESPACE, "shop", "two").await?;

    ensure!(up.site.worker.is_running() && up.site.worker.pid() == pid, "it is another process");
    ensure!(!asking.is_finished(), "the receiver did not answer: {}", asking.await?);
    asking.abort();
    ensure!(answers.load(Ordering::Relaxed) > 100, "it was hardly asked: {answers:?}");
    up.strike().await
}
