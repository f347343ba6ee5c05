//! What cannot be applied is said at once and not tried for ever; and what only seemed to differ is left alone.

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, deployment, until};
use resources::Object;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::objects::condition;

async fn live(stage: &Stage, group: &str, kind: &str, name: &str) -> Result<Object> {
    stage.site().live(group, kind, NAMESPACE, name).await.map_err(anyhow::Error::msg)
}

/// Values that the API server cannot decode: it answers with 500, and means what it was sent.
#[tokio::test]
async fn a_value_that_cannot_be_decoded_fails_the_sync() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("quantity/a.yaml", deployment("quantity", 0, ""))?;
            copy.write("base64/a.yaml", config_map("base64", "1"))
        })
        .await?;
    for name in ["quantity", "base64"] {
        stage.site().apply(application(name, &shop.url, name, true)).await?;
        stage.site().stands(name, "Synced/Healthy").await?;
    }
    let mut broken: Value = serde_json::from_str(&deployment("quantity", 0, ""))?;
    broken["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "100 MB" } });
    shop.git.write("quantity/a.yaml", broken.to_string())?;
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "a": "not base64!" } });
    shop.git.write("base64/s.yaml", secret.to_string())?;
    let commit = shop.push("What cannot be decoded").await?;
    for (name, check, words) in [
        ("quantity", "apps/Deployment demo/quantity: ", "quantities must match"),
        ("base64", "Secret demo/s: data[a] is not base64", "data[a] is not base64"),
    ] {
        stage.expect(&shop, &commit, &format!("lockstep/dev/{name}"), "failure", check).await?;
        condition(&stage, name, "SyncError", words).await?;
        stage.site().stands(name, "OutOfSync/Healthy").await?;
    }
    let log = stage.site().worker.log();
    ensure!(!log.contains("kube_client"), "the client's own words are in the log: {log}");

    broken["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "100M" } });
    shop.git.write("quantity/a.yaml", broken.to_string())?;
    shop.git.write("base64/s.yaml", secret.to_string().replace("not base64!", "YWJj"))?;
    let commit = shop.push("What can").await?;
    for name in ["quantity", "base64"] {
        stage.expect(&shop, &commit, &format!("lockstep/dev/{name}"), "success", "healthy").await?;
    }
    stage.strike().await
}

/// An operation that writes more than one object, in one wave.
#[tokio::test]
async fn nothing_is_written_beside_what_is_refused() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let mut twins: Value = serde_json::from_str(&deployment("twins", 0, ""))?;
    let entry = |value: &str| json!({ "name": "A", "value": value });
    twins["spec"]["template"]["spec"]["containers"][0]["env"] = json!([entry("1"), entry("2")]);
    let twice = twins.to_string();
    twins["spec"]["template"]["spec"]["containers"][0]["env"] = json!([entry("1")]);
    // It is there before, and nobody's.
    stage.site().apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).await?;
    let mut theirs = twins.clone();
    theirs["metadata"]["namespace"] = NAMESPACE.into();
    stage.site().apply(theirs).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/twins.yaml", &twice)?;
            copy.write("app/beside.yaml", config_map("beside", "1"))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    let words = "nothing was changed: apps/Deployment demo/twins: failed to create typed patch object";
    condition(&stage, "shop", "SyncError", words).await?;
    condition(&stage, "shop", "SyncError", "env: duplicate entries for key [name=\"A\"]").await?;
    ensure!(live(&stage, "", "ConfigMap", "beside").await.is_err(), "it was half applied");
    // Only what is not there is missing.
    let resources = until("the health of each object", async || {
        let shop = stage.site().application("shop").await?;
        let all = shop.at("/status/resources").and_then(Value::as_array).cloned().unwrap_or_default();
        let health = |kind: &str| {
            let found = all.iter().find(|one| one["kind"] == kind);
            found.and_then(|one| one["health"]["status"].as_str()).unwrap_or("-").to_owned()
        };
        let seen = (health("Deployment"), health("ConfigMap"));
        if seen.0 == "Healthy" { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
    .await?;
    ensure!(resources.1 == "Missing", "{resources:?}");
    shop.git.write("app/twins.yaml", twins.to_string())?;
    let commit = shop.push("One of them").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().has_content(NAMESPACE, "beside", "1").await?;
    stage.strike().await
}

/// The same moment in another notation: what the comparison takes for a difference, the API server does not.
#[tokio::test]
async fn what_an_apply_does_not_change_is_no_difference() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    let lease = |holder: &str| {
        let spec = json!({ "holderIdentity": holder, "acquireTime": "2026-01-05T13:00:00.000000+01:00" });
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "turn" }, "spec": spec })
            .to_string()
    };
    let shop = stage.repository("acme/shop", |copy| copy.write("app/lease.yaml", lease("one"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    shop.git.write("app/lease.yaml", lease("two"))?;
    let commit = shop.push("Somebody else's turn").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    cli.app("diff shop").await?.expect(0, &[])?;
    cli.app("plan shop --exit-code").await?.expect(0, &["nothing to do"])?;
    let shop = stage.site().application("shop").await.map_err(anyhow::Error::msg)?;
    let conditions = shop.at("/status/conditions").map(ToString::to_string).unwrap_or_default();
    ensure!(!conditions.contains("SelfHealWarning"), "{conditions}");
    // A change is still one.
    let key = resources::ObjectKey::new("coordination.k8s.io", "Lease", NAMESPACE, "turn");
    stage.site().cluster.merge_patch(&key, &json!({ "spec": { "holderIdentity": "somebody" } })).await?;
    until("the lease is healed", async || {
        let lease = stage.site().live("coordination.k8s.io", "Lease", NAMESPACE, "turn").await?;
        let holder = lease.at("/spec/holderIdentity").cloned();
        if holder == Some("two".into()) { Ok(()) } else { Err(format!("{holder:?}")) }
    })
    .await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    stage.strike().await
}

fn hook(content: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "hook", "annotations": { "argocd.argoproj.io/hook": "Sync" } },
        "data": { "content": content },
    })
    .to_string()
}

#[tokio::test]
async fn an_application_of_hooks_runs_them_when_they_change() -> Result<()> {
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/hook.yaml", hook("1"))?;
            copy.write("app/README.md", "one")
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().has_content(NAMESPACE, "hook", "1").await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let uid = live(&stage, "", "ConfigMap", "hook").await?.uid().to_owned();

    // Another commit with the same hooks, also for a worker that knows nothing yet.
    shop.git.write("app/README.md", "two")?;
    let commit = shop.push("Nothing for a cluster").await?;
    stage.expect(&shop, &commit, "lockstep/dev", "success", "").await?;
    stage.site_mut().worker.kill().await?;
    stage.site_mut().worker.start_again().await?;
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    stage.site().patch_application("shop", refresh).await?;
    until("the order to refresh is followed", async || {
        let shop = stage.site().application("shop").await?;
        let order = shop.at("/metadata/annotations/argocd.argoproj.io~1refresh").cloned();
        if order.is_none() { Ok(()) } else { Err(format!("{order:?}")) }
    })
    .await?;
    ensure!(live(&stage, "", "ConfigMap", "hook").await?.uid() == uid, "the hook ran again");

    shop.git.write("app/hook.yaml", hook("2"))?;
    let commit = shop.push("Another hook").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    let after = live(&stage, "", "ConfigMap", "hook").await?;
    ensure!(after.uid() != uid && after.at("/data/content") == Some(&"2".into()), "{:?}", after.at("/data"));
    stage.strike().await
}

/// Many applications of a forge that is away.
#[tokio::test]
async fn what_is_away_is_told_once() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    for number in 0..5 {
        let name = format!("away-{number}");
        stage.site().apply(application(&name, "http://127.0.0.1:9/acme/away.git", "app", true)).await?;
    }
    for number in 0..5 {
        condition(&stage, &format!("away-{number}"), "ComparisonError", "127.0.0.1:9").await?;
    }
    let log = stage.site().worker.log();
    let told = log.lines().filter(|line| line.contains("127.0.0.1:9")).count();
    ensure!(told == 1, "it is told {told} times: {log}");
    stage.strike().await
}

/// What a person sees whose environment has RUST_BACKTRACE.
#[tokio::test]
async fn an_error_is_its_causes() -> Result<()> {
    let binary = harness::Lockstep::binary().await?;
    for (variable, traced) in [("OTHER", false), ("LOCKSTEP_BACKTRACE", true)] {
        let mut command = tokio::process::Command::new(&binary);
        command.args(["app", "list", "--kubeconfig", "/nowhere"]).env("RUST_BACKTRACE", "1").env(variable, "1");
        let output = command.kill_on_drop(true).output().await.context("cannot run lockstep")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.starts_with("Error: ") && said.contains("/nowhere"), "{said}");
        ensure!(
            said.contains("backtrace") == traced && (said.trim().lines().count() > 1) == traced,
            "{variable}: {said}"
        );
    }
    Ok(())
}
