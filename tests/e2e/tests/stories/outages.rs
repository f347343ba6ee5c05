//! Whatever is killed at whatever moment: every accepted delivery ends in a final check.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, deployment, until, within};
use github_double::{Fault, FaultKind, Faults};
use resources::{ObjectKey, annotations};
use serde_json::json;

/// Applications in the repository of a load.
const APPLICATIONS: usize = 5;
/// What broke has to recover first.
const RECOVERY: Duration = Duration::from_secs(180);

#[tokio::test]
async fn worker_killed_in_the_middle_of_a_sync() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("auto/1.yaml", config_map("auto", "before"))?;
            copy.write("manual/1.yaml", config_map("manual", "before"))
        })
        .await?;
    for (name, automated) in [("auto", true), ("manual", false)] {
        stage.site().apply(application(name, &shop.url, name, automated)).await?;
    }
    stage.site().stands("auto", "Synced/Healthy").await?;
    stage.site().stands("manual", "OutOfSync/Missing").await?;

    // The second wave waits for a Deployment that nobody lets become ready.
    for name in ["auto", "manual"] {
        shop.git.write(&format!("{name}/2.yaml"), deployment(&format!("{name}-first"), 0, "never-ready"))?;
        let second = config_map(&format!("{name}-second"), "after").replacen(
            r#""metadata":{"#,
            r#""metadata":{"annotations":{"argocd.argoproj.io/sync-wave":"1"},"#,
            1,
        );
        shop.git.write(&format!("{name}/3.yaml"), second)?;
    }
    let commit = shop.push("Two waves").await?;
    stage.expect(&shop, &commit, "lockstep/dev/manual", "pending", "waiting for somebody").await?;
    let operation = json!({ "operation": { "initiatedBy": { "username": "maria" }, "sync": {} } });
    stage.site().patch_application("manual", operation).await?;
    for name in ["auto", "manual"] {
        is_in_the_middle(&stage, name).await?;
    }

    stage.site_mut().worker.kill().await?;
    stage.site_mut().worker.start_again().await?;
    for name in ["auto", "manual"] {
        is_in_the_middle(&stage, name).await?;
        release(&stage, &format!("{name}-first")).await?;
    }
    for name in ["auto", "manual"] {
        stage.site().has_content(NAMESPACE, &format!("{name}-second"), "after").await?;
        stage.site().stands(name, "Synced/Healthy").await?;
        stage.expect(&shop, &commit, &format!("lockstep/dev/{name}"), "success", "healthy").await?;
    }
    stage.expect(&shop, &commit, "lockstep/dev", "success", "all healthy").await?;
    let application = stage.site().application("manual").await.map_err(anyhow::Error::msg)?;
    let state = &application.0["status"]["operationState"];
    ensure!(state["phase"] == "Succeeded" && state["operation"]["initiatedBy"]["username"] == "maria", "{state}");
    stage.strike().await
}

/// The first wave is applied, the second is not.
async fn is_in_the_middle(stage: &Stage, name: &str) -> Result<()> {
    let site = stage.site();
    until(&format!("{name} is in the middle of its sync"), async || {
        site.live("apps", "Deployment", NAMESPACE, &format!("{name}-first")).await?;
        let state = site.application(name).await?.0["status"]["operationState"].clone();
        if state["phase"] == "Running" { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    let second = format!("{name}-second");
    ensure!(site.content(NAMESPACE, &second).await.is_err(), "{second} came before {name}-first was healthy");
    Ok(())
}

/// Lets the pods of a Deployment become ready.
pub async fn release(stage: &Stage, deployment: &str) -> Result<()> {
    let cluster = &stage.site().cluster;
    let kind = cluster.kind("", Some("v1"), "Pod").await?.ok_or_else(|| anyhow::anyhow!("no pods"))?;
    let selector = format!("app={deployment}");
    let pods = until(&format!("pods of {deployment}"), async || {
        match cluster.list(&kind, Some(NAMESPACE), Some(&selector)).await {
            Ok(pods) if !pods.is_empty() => Ok(pods),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    for pod in pods {
        let key = ObjectKey::new("", "Pod", NAMESPACE, pod.name());
        let patch = json!({ "metadata": { "annotations": { "local.lockstep.dev/pod": null } } });
        cluster.merge_patch(&key, &patch).await?;
    }
    Ok(())
}

/// The moment between recording that a newer commit is wanted and saying that it took the older one's place.
#[tokio::test]
async fn worker_killed_before_it_could_say_superseded() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let ledger =
        stage.repository("acme/ledger", |copy| copy.write("app/config.yaml", config_map("ledger", "one"))).await?;
    stage.site().apply(application("ledger", &ledger.url, "app", false)).await?;
    stage.site().stands("ledger", "OutOfSync/Missing").await?;
    ledger.git.write("app/config.yaml", config_map("ledger", "two"))?;
    let older = ledger.push("Say two").await?;
    stage.expect(&ledger, &older, "lockstep/dev/ledger", "pending", "waiting for somebody").await?;

    // The forge answers late, so the broker can be stopped after the delivery has come and before it is recorded.
    let late = FaultKind::Delay { milliseconds: 2_000 };
    stage.forge.github()?.fault(Fault::new("/acme/ledger.git/*", late).times(1_000));
    ledger.git.write("app/config.yaml", config_map("ledger", "three"))?;
    let newer = ledger.push("Say three").await?;
    is_taken(&stage, &newer).await?;
    stage.broker.pause();
    let recorded = within(Duration::from_secs(15), "the newer commit is wanted", async || {
        let application = stage.site().application("ledger").await?;
        let wanted = application.annotation(annotations::WANTED).unwrap_or_default().to_owned();
        if wanted.contains(&newer) { Ok(()) } else { Err(wanted) }
    });
    // A worker that holds the record back until it can say so is as right as one that remembers.
    println!("recorded while the broker was frozen: {}", recorded.await.is_ok());
    stage.site_mut().worker.kill().await?;
    stage.broker.resume();
    stage.forge.github()?.faults(Faults::default()).await?;
    stage.site_mut().worker.start_again().await?;

    stage.expect(&ledger, &older, "lockstep/dev/ledger", "success", "superseded").await?;
    stage.expect(&ledger, &older, "lockstep/dev", "success", "superseded").await?;
    stage.expect(&ledger, &newer, "lockstep/dev", "pending", "waiting for somebody").await?;
    let operation = json!({ "operation": { "initiatedBy": { "username": "maria" }, "sync": {} } });
    stage.site().patch_application("ledger", operation).await?;
    stage.expect(&ledger, &newer, "lockstep/dev", "success", "all healthy").await?;
    stage.site().has_content(NAMESPACE, "ledger", "three").await?;
    stage.strike().await
}

/// The receiver has accepted the webhook of the commit, and the worker has taken it from its queue.
async fn is_taken(stage: &Stage, commit: &str) -> Result<()> {
    let bus = bus::connect(&stage.broker.url).await?;
    let queue = bus::names::worker_queue("dev");
    until("the worker has the delivery", async || {
        let deliveries = stage.forge.github().map_err(|error| error.to_string())?.deliveries("acme", "ledger");
        if !deliveries.iter().any(|one| one.payload["after"] == *commit && one.succeeded()) {
            return Err("it is not accepted".to_owned());
        }
        match bus.depth(&queue).await {
            Ok(0) => Ok(()),
            other => Err(format!("in the queue: {other:?}")),
        }
    })
    .await?;
    bus.close().await;
    Ok(())
}

#[tokio::test]
async fn rabbitmq_restarted_under_load() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let mut load = Load::new(&stage).await?;
    load.push(10).await?;
    stage.broker.stop().await?;
    load.push(5).await?;
    stage.broker.start_again().await?;
    load.push(10).await?;
    // The second time without a warning.
    stage.broker.kill().await?;
    load.push(5).await?;
    stage.broker.start_again().await?;
    load.push(10).await?;
    load.ends_well(&stage).await?;
    stage.strike().await
}

#[tokio::test]
async fn api_server_gone_for_longer_than_a_lease_is_kept() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let mut load = Load::new(&stage).await?;
    let pid = stage.site().worker.pid();
    load.push(10).await?;
    stage.site_mut().plane.pause().await?;
    let gone = tokio::time::Instant::now();
    load.push(10).await?;
    tokio::time::sleep_until(gone + Duration::from_secs(31)).await;
    stage.site_mut().plane.resume().await?;
    load.push(5).await?;
    load.ends_well(&stage).await?;
    ensure!(stage.site_mut().worker.is_running() && stage.site().worker.pid() == pid, "the worker has given up");
    let log = stage.site().worker.log();
    ensure!(log.contains("could not be renewed"), "the lease outlived it: the story tells nothing");
    stage.strike().await
}

/// Commits that each change one of a few applications.
struct Load {
    copy: WorkingCopy,
    commits: Vec<String>,
}

fn name(application: usize) -> String {
    format!("load-{application}")
}

impl Load {
    async fn new(stage: &Stage) -> Result<Self> {
        let copy = stage
            .repository("acme/load", |copy| {
                let all = 0..APPLICATIONS;
                all.map(name).try_for_each(|name| copy.write(&format!("{name}/config.yaml"), config_map(&name, "")))
            })
            .await?;
        for name in (0..APPLICATIONS).map(name) {
            stage.site().apply(application(&name, &copy.url, &name, true)).await?;
        }
        for name in (0..APPLICATIONS).map(name) {
            stage.site().stands(&name, "Synced/Healthy").await?;
        }
        Ok(Self { copy, commits: Vec::new() })
    }

    async fn push(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let number = self.commits.len();
            let name = name(number % APPLICATIONS);
            self.copy.git.write(&format!("{name}/config.yaml"), config_map(&name, &number.to_string()))?;
            self.commits.push(self.copy.push(&format!("Commit {number}")).await?);
        }
        Ok(())
    }

    /// What the receiver did not accept is sent again, as GitHub's page lets people do; then every commit ends.
    async fn ends_well(&self, stage: &Stage) -> Result<()> {
        let double = stage.forge.github()?;
        within(RECOVERY, "every delivery is accepted", async || {
            let deliveries = double.deliveries("acme", "load");
            let mut open = 0;
            for commit in &self.commits {
                let mine = |one: &&github_double::Delivery| one.event == "push" && one.payload["after"] == **commit;
                let attempts: Vec<_> = deliveries.iter().filter(mine).collect();
                if attempts.iter().any(|one| one.succeeded()) {
                    continue;
                }
                open += 1;
                if let Some(last) = attempts.last().filter(|last| last.responded_at_us.is_some()) {
                    double.redeliver(last);
                }
            }
            if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
        })
        .await?;
        within(RECOVERY, "every check is final", async || {
            let mut open = Vec::new();
            for commit in &self.commits {
                let checks = stage.forge.checks(&self.copy.name, commit).await.map_err(|error| error.to_string())?;
                let all_final = checks.values().all(e2e::Check::is_final);
                if !checks.contains_key("lockstep/dev") || !all_final {
                    open.push(format!("{commit}: {checks:?}"));
                }
            }
            if open.is_empty() { Ok(()) } else { Err(format!("{}: {}", open.len(), open.join("\n"))) }
        })
        .await?;
        for application in 0..APPLICATIONS {
            let newest = (0..self.commits.len()).rfind(|number| number % APPLICATIONS == application).unwrap_or(0);
            let name = name(application);
            stage.site().has_content(NAMESPACE, &name, &newest.to_string()).await?;
            stage.site().stands(&name, "Synced/Healthy").await?;
        }
        // Each commit changes one application, and both checks have to say so. One whose webhook came before that of the
        // commit below it brought that one's change, too.
        for (number, commit) in self.commits.iter().enumerate() {
            let checks = stage.forge.checks(&self.copy.name, commit).await?;
            let own = format!("lockstep/dev/{}", name(number % APPLICATIONS));
            ensure!(
                checks.contains_key("lockstep/dev") && checks.contains_key(&own),
                "{number} ({commit}): {checks:?}"
            );
            ensure!(checks.values().all(|check| check.state == "success"), "{number} ({commit}): {checks:?}");
        }
        let application = stage.site().application(&name(0)).await.map_err(anyhow::Error::msg)?;
        ensure!(
            application.0["status"]["conditions"].as_array().is_none_or(Vec::is_empty),
            "{}",
            application.0["status"]
        );
        Ok(())
    }
}

#[tokio::test]
async fn a_push_that_nothing_told_of_while_the_worker_was_away() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    stage.site_mut().worker.kill().await?;
    stage.receiver.kill().await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let commit = shop.push("Say two to nobody").await?;
    stage.receiver.start_again().await?;
    stage.site_mut().worker.start_again().await?;
    stage.site().has_content(NAMESPACE, "shop", "two").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.expect(&shop, &commit, "lockstep/dev", "success", "all healthy").await?;
    stage.strike().await
}
