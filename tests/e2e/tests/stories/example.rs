//! The example repository in two clusters, each with a worker of its own.

use anyhow::{Result, ensure};
use e2e::{Kind, Stage, WorkingCopy, example, from_yaml};
use serde_json::json;

use crate::pulls;

#[tokio::test]
async fn app_of_apps_from_the_example_repository() -> Result<()> {
    let stage = Stage::set(Kind::Gitea, &["nonprod", "prod"]).await?;
    let gitops = gitops(&stage).await?;
    // The ApplicationSet of previews asks for its pull requests.
    pulls::gateway(&stage).await?;
    the_root_unfolds(&stage).await?;
    let commit = a_service_is_added(&stage, &gitops).await?;
    prod_waits_for_somebody(&stage, &gitops, &commit).await?;
    each_cluster_has_its_own(&stage).await?;
    a_service_is_removed_from_dev(&stage, &gitops).await?;
    stage.strike().await
}

const FILES: [&str; 13] = [
    "projects/prod.yaml",
    "projects/platform.yaml",
    "projects/nonprod.yaml",
    "platform/monitoring/alerts.yaml",
    "platform/monitoring/kustomization.yaml",
    "platform/ingress/ingress-class.yaml",
    "applicationsets/services.yaml",
    "applicationsets/platform.yaml",
    "charts/service/Chart.yaml",
    "charts/service/templates/ingress.yaml",
    "charts/service/templates/deployment.yaml",
    "charts/service/templates/service.yaml",
    "charts/service/values.yaml",
];

/// The example without its services, which come later.
async fn gitops(stage: &Stage) -> Result<WorkingCopy> {
    let previews = pulls::previews(&stage.forge)?;
    let url = stage.forge.url().to_owned();
    stage
        .repository("acme/bitvault-gitops", |copy| {
            for file in FILES {
                copy.write(file, example(&format!("bitvault-gitops/{file}"), &url)?)?;
            }
            copy.write("applicationsets/previews.yaml", previews)
        })
        .await
}

async fn the_root_unfolds(stage: &Stage) -> Result<()> {
    let root = from_yaml(&example("bitvault-gitops/bootstrap/root.yaml", stage.forge.url())?)?;
    for site in &stage.sites {
        site.apply(root.clone()).await?;
    }
    for site in &stage.sites {
        site.stands("root", "Synced/Healthy").await?;
        for platform in ["platform-monitoring", "platform-ingress"] {
            e2e::until(&format!("{platform} in {}", site.name), async || site.application(platform).await).await?;
            site.stands(platform, "Synced/Healthy").await?;
        }
    }
    Ok(())
}

async fn a_service_is_added(stage: &Stage, gitops: &WorkingCopy) -> Result<String> {
    for env in ["dev", "staging", "prod"] {
        for file in ["image", "values"] {
            let file = format!("envs/{env}/gateway/{file}.yaml");
            gitops.git.write(&file, example(&format!("bitvault-gitops/{file}"), stage.forge.url())?)?;
        }
    }
    let commit = gitops.push("Run the gateway in dev, staging and prod").await?;
    let nonprod = &stage.sites[0];
    for application in ["gateway-dev", "gateway-staging"] {
        e2e::until(application, async || nonprod.application(application).await).await?;
        nonprod.stands(application, "Synced/Healthy").await?;
        let context = format!("lockstep/nonprod/{application}");
        stage.expect(gitops, &commit, &context, "success", "healthy").await?;
    }
    stage.expect(gitops, &commit, "lockstep/nonprod", "success", "all healthy").await?;
    Ok(commit)
}

async fn prod_waits_for_somebody(stage: &Stage, gitops: &WorkingCopy, commit: &str) -> Result<()> {
    let (prod, own) = (&stage.sites[1], "lockstep/prod/gateway-prod");
    stage.expect(gitops, commit, own, "pending", "waiting for approval").await?;
    stage.expect(gitops, commit, "lockstep/prod", "pending", "waiting").await?;
    ensure!(prod.live("apps", "Deployment", "prod", "gateway").await.is_err(), "prod did not wait");
    let approved = json!({ "metadata": { "annotations": { "lockstep.dev/approved": format!("{commit} by maria") } } });
    prod.patch_application("gateway-prod", approved).await?;
    prod.stands("gateway-prod", "Synced/Healthy").await?;
    prod.live("apps", "Deployment", "prod", "gateway").await.map_err(anyhow::Error::msg)?;
    stage.expect(gitops, commit, own, "success", "healthy").await?;
    stage.expect(gitops, commit, "lockstep/prod", "success", "all healthy").await?;
    Ok(())
}

async fn each_cluster_has_its_own(stage: &Stage) -> Result<()> {
    let (nonprod, prod) = (&stage.sites[0], &stage.sites[1]);
    ensure!(nonprod.application("gateway-prod").await.is_err(), "nonprod has an Application of prod");
    ensure!(prod.application("gateway-dev").await.is_err(), "prod has an Application of nonprod");
    ensure!(prod.live("", "Namespace", "", "dev").await.is_err(), "prod has a namespace of nonprod");
    Ok(())
}

async fn a_service_is_removed_from_dev(stage: &Stage, gitops: &WorkingCopy) -> Result<()> {
    let nonprod = &stage.sites[0];
    gitops.git.remove("envs/dev/gateway")?;
    // A pattern that finds nothing any more would be taken for a slip, and nothing would be removed.
    for file in ["image", "values"] {
        let from = format!("bitvault-gitops/envs/dev/gateway/{file}.yaml");
        gitops.git.write(&format!("envs/dev/ledger/{file}.yaml"), example(&from, stage.forge.url())?)?;
    }
    let commit = gitops.push("The ledger takes the place of the gateway in dev").await?;
    nonprod.gone("argoproj.io", "Application", "argocd", "gateway-dev").await?;
    stage.expect(gitops, &commit, "lockstep/nonprod", "success", "").await?;
    nonprod.stands("gateway-staging", "Synced/Healthy").await
}
