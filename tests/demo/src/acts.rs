//! The six acts. Each returns what was missing, in a sentence a line.

use std::time::Duration;

use cluster::ApplyOptions;
use github_double::NewPullRequest;
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use crate::stage::{Place, Stage, copy, until};
use crate::timeline;

const LIMIT: Duration = Duration::from_secs(30);
const NEW_DIGEST: &str = "sha256:9c1b0a7f5e3d2c1b0a9f8e7d6c5b4a3928170615f4e3d2c1b0a9f8e7d6c5b4a3";

type Missing = Vec<String>;

/// Plays all acts; returns what was missing.
pub async fn play(stage: &mut Stage) -> Missing {
    let mut missing = Vec::new();
    macro_rules! act {
        ($number:literal, $title:literal, $act:expr) => {
            println!("\n{}. {}", $number, $title);
            match $act.await {
                Ok(lines) => missing.extend(lines.into_iter().map(|line: String| format!("act {}: {line}", $number))),
                Err(error) => missing.push(format!("act {}: {error:#}", $number)),
            }
        };
    }
    act!(1, "the app of apps unfolds; prod waits for somebody", unfold(stage));
    act!(2, "a commit pins a new image digest in envs/dev/gateway", pin(stage));
    act!(3, "a commit that cannot be rendered", broken(stage));
    act!(4, "a pull request on acme/gateway gets a preview", preview(stage));
    act!(5, "somebody scales the Deployment by hand", drift(stage));
    act!(6, "git revert", rollback(stage));
    missing
}

/// Collects what was not seen.
#[derive(Default)]
struct Seen(Missing);

impl Seen {
    async fn expect<T>(&mut self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        let seen = until(LIMIT, look).await;
        match &seen {
            Some(_) => println!("  seen: {what}"),
            None => self.0.push(format!("not seen: {what}")),
        }
        seen
    }

    /// A check in this state whose description contains the words.
    async fn check(&mut self, stage: &Stage, repository: &str, commit: &str, context: &str, state: &str, words: &str) {
        let found = until(LIMIT, async || {
            let check = stage.check(repository, commit, context).await?;
            let description = check.description.clone().unwrap_or_default();
            (check.state == state && description.contains(words)).then_some(description)
        })
        .await;
        match found {
            Some(description) => println!("  check: {context} {state}: {description}"),
            None => {
                let last = stage.check(repository, commit, context).await;
                let last = last.map(|check| format!("{}: {}", check.state, check.description.unwrap_or_default()));
                self.0.push(format!("the check {context} is not {state} with {words:?}; it is {last:?}"));
            }
        }
    }
}

async fn unfold(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let root = stage.gitops.read("bootstrap/root.yaml")?;
    let root = Object(yaml(&root)?);
    for place in stage.places() {
        place
            .cluster
            .apply(&root, &ApplyOptions { field_manager: Some("team".into()), ..ApplyOptions::default() })
            .await?;
    }
    for place in stage.places() {
        seen.expect(&format!("{}: root is Synced, Healthy", place.name), async || {
            stage.standing(place, "root").await.filter(|standing| standing == "Synced/Healthy")
        })
        .await;
        for set in ["services", "previews", "platform"] {
            seen.expect(&format!("{}: ApplicationSet {set}", place.name), async || {
                stage.live(place, "argoproj.io", "ApplicationSet", "argocd", set).await
            })
            .await;
        }
        seen.expect(&format!("{}: platform-monitoring is Synced, Healthy", place.name), async || {
            stage.standing(place, "platform-monitoring").await.filter(|standing| standing == "Synced/Healthy")
        })
        .await;
    }

    println!("  git push: the gateway for dev, staging and prod");
    let envs = stage.file("envs");
    copy(&envs, &stage.gitops.path().join("envs"), &str::to_owned)?;
    let commit = stage.gitops.commit("Run the gateway in dev, staging and prod").await?;
    stage.gitops.push(&stage.push_url("bitvault-gitops"), "main").await?;
    for application in ["gateway-dev", "gateway-staging"] {
        seen.expect(&format!("nonprod: {application} is Synced, Healthy"), async || {
            stage.standing(&stage.nonprod, application).await.filter(|standing| standing == "Synced/Healthy")
        })
        .await;
        let context = format!("lockstep/nonprod/{application}");
        seen.check(stage, "bitvault-gitops", &commit, &context, "success", "healthy").await;
    }
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod", "success", "healthy").await;
    timeline::print(stage, &stage.nonprod, "bitvault-gitops", &commit, "gateway-dev").await;

    let Some(prod) = &stage.prod else { return Ok(seen.0) };
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/prod/gateway-prod", "pending", "waiting for approval")
        .await;
    let deployed = stage.live(prod, "apps", "Deployment", "prod", "gateway").await;
    if deployed.is_some() {
        seen.0.push("prod: the gateway was deployed before anybody approved".into());
    }
    println!("  maria approves {}, as lockstep app approve gateway-prod does", &commit[..7]);
    let approved = json!({ "metadata": { "annotations": { "lockstep.dev/approved": format!("{commit} by maria") } } });
    prod.cluster
        .merge_patch(&ObjectKey::new("argoproj.io", "Application", "argocd", "gateway-prod"), &approved)
        .await?;
    seen.expect("prod: gateway-prod is Synced, Healthy", async || {
        stage.standing(prod, "gateway-prod").await.filter(|standing| standing == "Synced/Healthy")
    })
    .await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/prod/gateway-prod", "success", "healthy").await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/prod", "success", "healthy").await;
    Ok(seen.0)
}

async fn pin(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let image = stage.gitops.read("envs/dev/gateway/image.yaml")?;
    let old = digest_in(&image);
    stage.gitops.replace("envs/dev/gateway/image.yaml", &old, NEW_DIGEST)?;
    let commit = stage.gitops.commit("Promote a new gateway to dev").await?;
    stage.gitops.push(&stage.push_url("bitvault-gitops"), "main").await?;
    seen.expect("nonprod: the Deployment runs the new digest", async || {
        image_of(stage, "dev").await.filter(|image| image.ends_with(NEW_DIGEST))
    })
    .await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod/gateway-dev", "success", "healthy").await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod", "success", "1 of").await;
    if stage.prod.is_some() {
        seen.check(stage, "bitvault-gitops", &commit, "lockstep/prod", "success", "no application concerned").await;
    }
    timeline::print(stage, &stage.nonprod, "bitvault-gitops", &commit, "gateway-dev").await;
    Ok(seen.0)
}

async fn broken(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let before = generation_of(stage, "dev").await;
    let image = stage.gitops.read("envs/dev/gateway/image.yaml")?;
    stage.gitops.replace("envs/dev/gateway/image.yaml", "  digest: sha256:", "  digest: [sha256:")?;
    let commit = stage.gitops.commit("Break the gateway's values").await?;
    stage.gitops.push(&stage.push_url("bitvault-gitops"), "main").await?;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod/gateway-dev", "error", "image.yaml").await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod", "error", "gateway-dev").await;
    if generation_of(stage, "dev").await != before {
        seen.0.push("the Deployment changed although the commit cannot be rendered".into());
    } else {
        println!("  seen: nothing in the cluster changed");
    }
    stage.gitops.write("envs/dev/gateway/image.yaml", image)?;
    let mended = stage.gitops.commit("Mend the gateway's values").await?;
    stage.gitops.push(&stage.push_url("bitvault-gitops"), "main").await?;
    seen.check(stage, "bitvault-gitops", &mended, "lockstep/nonprod/gateway-dev", "success", "healthy").await;
    Ok(seen.0)
}

async fn preview(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let (namespace, context) = ("gateway-pr-1", "lockstep/nonprod/gateway-pr-1");
    stage.gateway.branch("faster").await?;
    stage.gateway.replace("deploy/deployment.yaml", "replicas: 1", "replicas: 2")?;
    let commit = stage.gateway.commit("Run two replicas").await?;
    stage.gateway.push(&stage.push_url("gateway"), "faster").await?;
    let pull =
        stage.forge.open_pull_request("acme", "gateway", &NewPullRequest::new("Faster", "faster", "main")).await?;
    println!("  pull request #{} is opened", pull.number);
    seen.expect("nonprod: gateway-pr-1 is Synced, Healthy", async || {
        stage.standing(&stage.nonprod, "gateway-pr-1").await.filter(|standing| standing == "Synced/Healthy")
    })
    .await;
    seen.check(stage, "gateway", &commit, context, "success", "healthy").await;
    let url = seen
        .expect("a deployment with its URL on the pull request's commit", async || {
            let deployments = stage.forge.deployments("acme", "gateway");
            let mine = deployments.into_iter().find(|one| one.sha == commit && one.environment == namespace)?;
            let last = mine.statuses.last()?.clone();
            (last.state == "success" && !last.environment_url.is_empty()).then_some(last.environment_url)
        })
        .await;
    println!("  preview: {}", url.unwrap_or_default());
    timeline::print(stage, &stage.nonprod, "gateway", &commit, "gateway-pr-1").await;

    stage.gateway.replace("deploy/deployment.yaml", "replicas: 2", "replicas: 3")?;
    let second = stage.gateway.commit("Run three replicas").await?;
    stage.gateway.push(&stage.push_url("gateway"), "faster").await?;
    seen.expect("the second commit updates the preview", async || {
        replicas_of(stage, namespace).await.filter(|replicas| *replicas == 3)
    })
    .await;
    seen.check(stage, "gateway", &second, context, "success", "healthy").await;

    stage.forge.close_pull_request("acme", "gateway", pull.number).await?;
    println!("  pull request #{} is closed", pull.number);
    let place = &stage.nonprod;
    seen.expect("the preview is gone", async || {
        gone(stage, place, "argoproj.io", "Application", "argocd", "gateway-pr-1").await
    })
    .await;
    seen.expect("its namespace is gone", async || gone(stage, place, "", "Namespace", "", namespace).await).await;
    seen.expect("the deployment is inactive", async || {
        let deployments = stage.forge.deployments("acme", "gateway");
        deployments.iter().any(|one| one.statuses.last().is_some_and(|status| status.state == "inactive")).then_some(())
    })
    .await;
    Ok(seen.0)
}

async fn drift(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let place = &stage.nonprod;
    let wanted = replicas_of(stage, "dev").await;
    let key = ObjectKey::new("apps", "Deployment", "dev", "gateway");
    let scaled = place.cluster.merge_patch(&key, &json!({ "spec": { "replicas": 7 } })).await?;
    println!("  somebody: kubectl scale deployment gateway --replicas 7");
    let scaled = scaled.at("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    seen.expect("healed", async || {
        let replicas = replicas_of(stage, "dev").await;
        let generation = generation_of(stage, "dev").await.unwrap_or_default();
        (replicas == wanted && generation > scaled).then_some(())
    })
    .await;
    seen.expect("nonprod: gateway-dev is Synced, Healthy", async || {
        stage.standing(place, "gateway-dev").await.filter(|standing| standing == "Synced/Healthy")
    })
    .await;
    timeline::print_last(stage, place, "gateway-dev", "drift").await;
    Ok(seen.0)
}

async fn rollback(stage: &mut Stage) -> anyhow::Result<Missing> {
    let mut seen = Seen::default();
    let pinned = stage.gitops.git(&["log", "--format=%H", "--grep", "Promote a new gateway to dev", "-n", "1"]).await?;
    let commit = stage.gitops.revert(pinned.trim()).await?;
    stage.gitops.push(&stage.push_url("bitvault-gitops"), "main").await?;
    seen.expect("nonprod: the Deployment runs the old digest again", async || {
        image_of(stage, "dev").await.filter(|image| !image.ends_with(NEW_DIGEST))
    })
    .await;
    seen.check(stage, "bitvault-gitops", &commit, "lockstep/nonprod/gateway-dev", "success", "healthy").await;
    timeline::print(stage, &stage.nonprod, "bitvault-gitops", &commit, "gateway-dev").await;
    Ok(seen.0)
}

async fn deployment(stage: &Stage, namespace: &str) -> Option<Object> {
    stage.live(&stage.nonprod, "apps", "Deployment", namespace, "gateway").await
}

async fn image_of(stage: &Stage, namespace: &str) -> Option<String> {
    let deployment = deployment(stage, namespace).await?;
    deployment.at("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned)
}

async fn replicas_of(stage: &Stage, namespace: &str) -> Option<i64> {
    deployment(stage, namespace).await?.at("/spec/replicas").and_then(Value::as_i64)
}

async fn generation_of(stage: &Stage, namespace: &str) -> Option<i64> {
    deployment(stage, namespace).await?.at("/metadata/generation").and_then(Value::as_i64)
}

async fn gone(_stage: &Stage, place: &Place, group: &str, kind: &str, namespace: &str, name: &str) -> Option<()> {
    match place.cluster.get(&ObjectKey::new(group, kind, namespace, name)).await {
        Ok(None) => Some(()),
        _ => None,
    }
}

fn digest_in(image: &str) -> String {
    image.lines().find_map(|line| line.trim().strip_prefix("digest: ")).unwrap_or_default().to_owned()
}

fn yaml(text: &str) -> anyhow::Result<Value> {
    Ok(serde_saphyr::from_str(text)?)
}
