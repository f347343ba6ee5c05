//! What somebody can bring about who may open a pull request and nothing else.

use anyhow::{Context as _, Result, ensure};
use e2e::{Forge, Kind, Stage, WorkingCopy, application, config_map, until};
use github_double::NewPullRequest;
use reqwest::Method;
use serde_json::{Value, json};

const CLUSTER: &str = "nonprod";
const CHECK: &str = "lockstep/nonprod";
const LABEL: &str = "preview";
const FORK: &str = "bob/gateway";

#[tokio::test]
async fn a_fork_runs_only_what_a_maintainer_has_seen() -> Result<()> {
    let mut stage = Stage::set(Kind::Gitea, &[CLUSTER]).await?;
    story(&mut stage).await?;
    stage.strike().await
}

#[tokio::test]
async fn a_fork_runs_only_what_a_maintainer_has_seen_as_github_describes_it() -> Result<()> {
    let mut stage = Stage::set(Kind::GithubChecked, &[CLUSTER]).await?;
    story(&mut stage).await?;
    let violations = stage.forge.github()?.violations();
    ensure!(violations.is_empty(), "not as GitHub describes it: {violations:#?}");
    stage.strike().await
}

/// The fork's author opens a pull request and pushes to it; a maintainer sets the label, takes it away, sets it again.
async fn story(stage: &mut Stage) -> Result<()> {
    let gateway = gateway(stage).await?;
    let address = stage.forge.url().trim_end_matches('/').to_owned();
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": "gateway", "namespace": "argocd" },
        "spec": {
            "sourceRepos": [gateway.url],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        },
    });
    stage.site().apply(project).await?;
    stage.site().apply(previews(&stage.forge, "previews", "pr-{{ .number }}", &gateway.url)).await?;
    // This one reads the fork's own repository, which the project does not permit.
    let strays =
        previews(&stage.forge, "strays", "stray-{{ .number }}", &format!("{address}/{{{{ .head_repository }}}}.git"));
    stage.site().apply(strays).await?;
    for set in ["previews", "strays"] {
        has_condition(stage, set, "False", "as the generators say").await?;
    }

    let fork = fork(stage, &gateway).await?;
    let first = say(&fork, "one").await?;
    let number = open(stage, &gateway).await?;
    // On Gitea whoever opens a pull request can give it the label.
    let words = if matches!(stage.forge, Forge::Gitea(_)) { "was not set for this commit" } else { "is from a fork" };
    stage.expect(&gateway, &first, CHECK, "success", words).await?;
    not_there(stage, "pr-1").await?;

    if matches!(stage.forge, Forge::Gitea(_)) {
        unlabel(stage, &gateway, number).await?;
        stage.expect(&gateway, &first, CHECK, "success", "is from a fork").await?;
    }
    label(stage, &gateway, number).await?;
    stage.site().has_content("pr-1", "gateway", "one").await?;
    stage.site().stands("pr-1", "Synced/Healthy").await?;
    stage.expect(&gateway, &first, "lockstep/nonprod/pr-1", "success", "healthy").await?;
    until("the source that the project does not permit is refused", async || {
        let stray = stage.site().application("stray-1").await?;
        let conditions = stray.0["status"]["conditions"].to_string();
        if conditions.contains("project gateway does not permit the repository") { Ok(()) } else { Err(conditions) }
    })
    .await?;
    not_there_in(stage, "stray-1").await?;

    // The next push is another's code again.
    let second = say(&fork, "two").await?;
    let stays = format!("the preview stays at {}", &first[..7]);
    stage.expect(&gateway, &second, CHECK, "success", &stays).await?;
    is_at(stage, &first, "one").await?;

    // A worker that starts anew knows what was let in.
    stage.site_mut().worker.kill().await?;
    stage.site_mut().worker.start_again().await?;
    let third = say(&fork, "three").await?;
    stage.expect(&gateway, &third, CHECK, "success", &stays).await?;
    is_at(stage, &first, "one").await?;

    unlabel(stage, &gateway, number).await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "pr-1").await?;
    stage.site().gone("", "Namespace", "", "pr-1").await?;
    label(stage, &gateway, number).await?;
    stage.site().has_content("pr-1", "gateway", "three").await?;
    stage.expect(&gateway, &third, "lockstep/nonprod/pr-1", "success", "healthy").await?;

    stage.forge.close_pull(&gateway.name, number).await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "pr-1").await?;
    until("nothing is remembered of a closed pull request", async || {
        let set = stage.site().live("argoproj.io", "ApplicationSet", "argocd", "previews").await?;
        let notes = set.0["metadata"]["annotations"].clone();
        if notes["lockstep.dev/approved-previews"].is_null() { Ok(()) } else { Err(notes.to_string()) }
    })
    .await
}

/// A branch can have any name; production's Application is not to be had by it.
#[tokio::test]
async fn a_branch_named_like_an_application_does_not_replace_it() -> Result<()> {
    let stage = Stage::set(Kind::Github, &[CLUSTER]).await?;
    let gateway = gateway(&stage).await?;
    let site = stage.site();
    site.apply(application("prod-gateway", &gateway.url, "deploy", true)).await?;
    site.stands("prod-gateway", "Synced/Healthy").await?;
    let mut set = previews(&stage.forge, "previews", "{{ .branch_slug }}", &gateway.url);
    set["spec"]["template"]["spec"]["project"] = json!("default");
    site.apply(set).await?;
    has_condition(&stage, "previews", "False", "as the generators say").await?;

    gateway.git.branch("prod-gateway").await?;
    gateway.git.write("deploy/config.yaml", config_map("gateway", "evil"))?;
    let evil = gateway.push_to("prod-gateway", "Say evil").await?;
    let number = stage.forge.open_pull(&gateway.name, "prod-gateway", "Evil").await?;
    let words = "Application prod-gateway is not of this ApplicationSet and is left alone";
    stage.expect(&gateway, &evil, CHECK, "error", words).await?;
    has_condition(&stage, "previews", "True", words).await?;
    production_is_as_it_was(&stage).await?;

    // The refused name keeps no other from being made, and goes with its pull request.
    gateway.push_commit(&evil, "other_branch").await?;
    let second = stage.forge.open_pull(&gateway.name, "other_branch", "Other").await?;
    site.has_content("other-branch", "gateway", "evil").await?;
    stage.forge.close_pull(&gateway.name, second).await?;
    site.gone("argoproj.io", "Application", "argocd", "other-branch").await?;
    stage.forge.close_pull(&gateway.name, number).await?;
    has_condition(&stage, "previews", "False", "as the generators say").await?;
    production_is_as_it_was(&stage).await?;

    // Somebody who may change the Application can hand it over.
    let double = stage.forge.github()?;
    double.reopen_pull_request("acme", "gateway", number).await?;
    has_condition(&stage, "previews", "True", words).await?;
    let offer = json!({ "metadata": { "annotations": { "lockstep.dev/adopt-by": "previews" } } });
    site.patch_application("prod-gateway", offer).await?;
    until("the Application is taken over", async || {
        let live = site.application("prod-gateway").await?;
        let owner = live.0["metadata"]["ownerReferences"][0]["name"].clone();
        if owner == "previews" { Ok(()) } else { Err(live.0["metadata"].to_string()) }
    })
    .await?;
    has_condition(&stage, "previews", "False", "as the generators say").await?;
    stage.strike().await
}

async fn production_is_as_it_was(stage: &Stage) -> Result<()> {
    let live = stage.site().application("prod-gateway").await.map_err(anyhow::Error::msg)?;
    ensure!(live.0["spec"]["source"]["targetRevision"] == "main", "{}", live.0["spec"]);
    ensure!(live.0["metadata"]["ownerReferences"].is_null(), "{}", live.0["metadata"]);
    ensure!(live.0["metadata"]["deletionTimestamp"].is_null(), "{}", live.0["metadata"]);
    let content = stage.site().content(e2e::NAMESPACE, "gateway").await.map_err(anyhow::Error::msg)?;
    ensure!(content == "main", "production says {content:?}");
    Ok(())
}

async fn gateway(stage: &Stage) -> Result<WorkingCopy> {
    stage.repository("acme/gateway", |copy| copy.write("deploy/config.yaml", config_map("gateway", "main"))).await
}

/// An ApplicationSet with a preview for each pull request of `acme/gateway`, in a namespace of the same name.
fn previews(forge: &Forge, set: &str, name: &str, source: &str) -> Value {
    let mut generator = json!({ "owner": "acme", "repo": "gateway" });
    if let Forge::Gitea(gitea) = forge {
        generator["api"] = json!(gitea.url);
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": { "name": set, "namespace": "argocd" },
        "spec": {
            "goTemplate": true,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [{ "pullRequest": { forge.name(): generator } }],
            "template": {
                "metadata": { "name": name },
                "spec": {
                    "project": "gateway",
                    "source": { "repoURL": source, "targetRevision": "{{ .head_sha }}", "path": "deploy" },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
                    "syncPolicy": { "automated": {}, "syncOptions": ["CreateNamespace=true"] },
                },
            },
        },
    })
}

async fn has_condition(stage: &Stage, set: &str, occurred: &str, words: &str) -> Result<()> {
    until(&format!("{set} tells {words:?}"), async || {
        let live = stage.site().live("argoproj.io", "ApplicationSet", "argocd", set).await?;
        let conditions = live.0["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = |one: &Value| {
            one["type"] == "ErrorOccurred"
                && one["status"] == occurred
                && one["message"].as_str().is_some_and(|message| message.contains(words))
        };
        if conditions.iter().any(told) { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await
}

/// Somebody without any right to the repository makes a fork of it.
async fn fork(stage: &Stage, gateway: &WorkingCopy) -> Result<WorkingCopy> {
    match &stage.forge {
        Forge::Gitea(gitea) => {
            let user = json!({ "username": "bob", "email": "bob@example.com", "password": "bob-of-the-stories-1", "must_change_password": false });
            gitea.call(Method::POST, "/admin/users", Some(user)).await?;
            gitea.call(Method::POST, "/repos/acme/gateway/forks?sudo=bob", Some(json!({}))).await?;
            gitea
                .call(Method::POST, "/repos/acme/gateway/labels", Some(json!({ "name": LABEL, "color": "#00aabb" })))
                .await?;
        }
        Forge::Github(double) => double.fork("acme", "gateway", "bob").await?,
    }
    stage.clone_of(gateway, FORK, "fix").await
}

/// Another commit in the fork's branch.
async fn say(fork: &WorkingCopy, what: &str) -> Result<String> {
    fork.git.write("deploy/config.yaml", config_map("gateway", what))?;
    fork.push_to("fix", &format!("Say {what}")).await
}

/// The fork's author opens the pull request.
async fn open(stage: &Stage, gateway: &WorkingCopy) -> Result<u64> {
    let Forge::Gitea(gitea) = &stage.forge else {
        let new = NewPullRequest::new("Fix", "bob:fix", "main");
        return Ok(stage.forge.github()?.open_pull_request("acme", "gateway", &new).await?.number);
    };
    let labels = [label_id(stage, gateway).await?];
    let body = json!({ "head": "bob:fix", "base": "main", "title": "Fix", "labels": labels });
    let pull = gitea.call(Method::POST, "/repos/acme/gateway/pulls?sudo=bob", Some(body)).await?;
    pull["number"].as_u64().context("the pull request has no number")
}

async fn label_id(stage: &Stage, gateway: &WorkingCopy) -> Result<u64> {
    let Forge::Gitea(gitea) = &stage.forge else { anyhow::bail!("only Gitea's labels have numbers") };
    let labels = gitea.call(Method::GET, &format!("/repos/{}/labels", gateway.name), None).await?;
    let found = labels.as_array().into_iter().flatten().find(|label| label["name"] == LABEL);
    found.and_then(|label| label["id"].as_u64()).context("the label is not there")
}

/// A maintainer's word.
async fn label(stage: &Stage, gateway: &WorkingCopy, number: u64) -> Result<()> {
    match &stage.forge {
        Forge::Gitea(gitea) => {
            let body = json!({ "labels": [label_id(stage, gateway).await?] });
            let path = format!("/repos/{}/issues/{number}/labels", gateway.name);
            gitea.call(Method::POST, &path, Some(body)).await.map(drop)
        }
        Forge::Github(double) => Ok(double.add_labels("acme", "gateway", number, &[LABEL]).await?),
    }
}

async fn unlabel(stage: &Stage, gateway: &WorkingCopy, number: u64) -> Result<()> {
    match &stage.forge {
        Forge::Gitea(gitea) => {
            let id = label_id(stage, gateway).await?;
            let path = format!("/repos/{}/issues/{number}/labels/{id}", gateway.name);
            gitea.call(Method::DELETE, &path, None).await.map(drop)
        }
        Forge::Github(double) => Ok(double.remove_label("acme", "gateway", number, LABEL).await?),
    }
}

/// The check has been told after the decision, so what is not there now was not made.
async fn not_there(stage: &Stage, name: &str) -> Result<()> {
    ensure!(stage.site().application(name).await.is_err(), "{name} was made");
    not_there_in(stage, name).await
}

async fn not_there_in(stage: &Stage, namespace: &str) -> Result<()> {
    ensure!(stage.site().live("", "Namespace", "", namespace).await.is_err(), "the namespace {namespace} was made");
    Ok(())
}

async fn is_at(stage: &Stage, commit: &str, content: &str) -> Result<()> {
    let live = stage.site().application("pr-1").await.map_err(anyhow::Error::msg)?;
    ensure!(live.0["spec"]["source"]["targetRevision"] == commit, "{}", live.0["spec"]);
    let now = stage.site().content("pr-1", "gateway").await.map_err(anyhow::Error::msg)?;
    ensure!(now == content, "the preview says {now:?}");
    Ok(())
}
