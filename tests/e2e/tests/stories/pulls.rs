//! From a pull request to its preview, and to nothing again.

use anyhow::{Result, ensure};
use e2e::{Forge, Kind, Stage, WorkingCopy, example, from_yaml, until};

/// The cluster, as the example's ApplicationSet calls it.
pub const CLUSTER: &str = "nonprod";
const PREVIEW: &str = "gateway-pr-1";
const CONTEXT: &str = "lockstep/nonprod/gateway-pr-1";

#[tokio::test]
async fn pull_request_to_preview_to_gone() -> Result<()> {
    let stage = Stage::set(Kind::Gitea, &[CLUSTER]).await?;
    story(&stage).await?;
    stage.strike().await
}

/// The example's ApplicationSet of previews for this forge.
pub fn previews(forge: &Forge) -> Result<String> {
    let text = example("bitvault-gitops/applicationsets/previews.yaml", forge.url())?;
    let Forge::Gitea(gitea) = forge else { return Ok(text) };
    ensure!(text.contains("        github:\n"), "the example's previews are not for GitHub any more");
    Ok(text.replace("        github:\n", &format!("        gitea:\n          api: {}\n", gitea.url)))
}

/// `acme/gateway` from the example.
pub async fn gateway(stage: &Stage) -> Result<WorkingCopy> {
    let url = stage.forge.url().to_owned();
    stage
        .repository("acme/gateway", |copy| {
            for file in ["deployment", "ingress", "kustomization", "service"] {
                let file = format!("deploy/{file}.yaml");
                copy.write(&file, example(&format!("gateway/{file}"), &url)?)?;
            }
            Ok(())
        })
        .await
}

/// The story, on any forge.
pub async fn story(stage: &Stage) -> Result<()> {
    let gateway = gateway(stage).await?;
    let site = stage.site();
    site.apply(from_yaml(&example("bitvault-gitops/projects/nonprod.yaml", stage.forge.url())?)?).await?;
    site.apply(from_yaml(&previews(&stage.forge)?)?).await?;
    until("the ApplicationSet is expanded", async || {
        let set = site.live("argoproj.io", "ApplicationSet", "argocd", "previews").await?;
        let conditions = set.0["status"]["conditions"].clone();
        let up_to_date = |one: &serde_json::Value| one["type"] == "ResourcesUpToDate" && one["status"] == "True";
        let all = conditions.as_array().cloned().unwrap_or_default();
        if all.iter().any(up_to_date) { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await?;

    gateway.git.branch("faster").await?;
    gateway.git.replace("deploy/deployment.yaml", "replicas: 1", "replicas: 2")?;
    let first = gateway.push_to("faster", "Run two replicas").await?;
    let number = stage.forge.open_pull(&gateway.name, "faster", "Faster").await?;
    ensure!(number == 1, "the first pull request has number {number}");
    is_there(stage, &gateway, &first, 2).await?;

    gateway.git.replace("deploy/deployment.yaml", "replicas: 2", "replicas: 3")?;
    let second = gateway.push_to("faster", "Run three replicas").await?;
    is_there(stage, &gateway, &second, 3).await?;

    stage.forge.close_pull(&gateway.name, number).await?;
    site.gone("argoproj.io", "Application", "argocd", PREVIEW).await?;
    site.gone("", "Namespace", "", PREVIEW).await?;
    deployment_is(stage, &gateway, &second, "inactive").await
}

async fn is_there(stage: &Stage, gateway: &WorkingCopy, commit: &str, replicas: i64) -> Result<()> {
    let site = stage.site();
    until(&format!("the preview runs {replicas} replicas"), async || {
        let workload = site.live("apps", "Deployment", PREVIEW, "gateway").await?;
        let now = workload.0["spec"]["replicas"].clone();
        if now == replicas { Ok(()) } else { Err(now.to_string()) }
    })
    .await?;
    site.stands(PREVIEW, "Synced/Healthy").await?;
    stage.expect(gateway, commit, CONTEXT, "success", "healthy").await?;
    deployment_is(stage, gateway, commit, "success").await
}

/// Gitea has no deployments: there a status with the link stands for one.
async fn deployment_is(stage: &Stage, gateway: &WorkingCopy, commit: &str, state: &str) -> Result<()> {
    let address = "http://gateway-pr-1.preview.bitvault.example";
    if let Forge::Gitea(_) = &stage.forge {
        let (context, words) =
            ("lockstep/deployment/gateway-pr-1", if state == "inactive" { "Taken down" } else { "" });
        let check = stage.expect(gateway, commit, context, "success", words).await?;
        ensure!(state == "inactive" || check.url == address, "{check:?}");
        return Ok(());
    }
    let double = stage.forge.github()?;
    until(&format!("the deployment of {commit} is {state}"), async || {
        let deployments = double.deployments("acme", "gateway");
        let mine = deployments.iter().rev().find(|one| one.sha == commit && one.environment == PREVIEW);
        match mine.and_then(|one| one.statuses.last()) {
            Some(last) if last.state == state && (state == "inactive" || last.environment_url == address) => Ok(()),
            _ => Err(format!("{deployments:?}")),
        }
    })
    .await
}
