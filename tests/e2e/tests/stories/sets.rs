//! ApplicationSets that lose what they found, and tags.

use anyhow::{Result, ensure};
use e2e::{Kind, Stage, application, config_map, until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// A pattern that finds nothing is a mistake more often than a wish.
#[tokio::test]
async fn a_pattern_that_finds_nothing_removes_nothing() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("apps/a/config.yaml", config_map("a", "one"))).await?;
    let site = stage.site();
    // A leading slash means the root of the repository.
    site.apply(folders(&shop.url, "/apps/*")).await?;
    site.stands("a", "Synced/Healthy").await?;

    site.apply(folders(&shop.url, "services/*")).await?;
    has_condition(&stage, "True", "would remove 1 of 1 Applications at once (a)").await?;
    has_condition(&stage, "True", "no folder of").await?;
    site.apply(folders(&shop.url, "./apps/*/")).await?;
    has_condition(&stage, "False", "as the generators say").await?;

    // Somebody deletes what the set made: it is made again.
    let before = site.application("a").await.map_err(anyhow::Error::msg)?;
    site.cluster.delete(&before.key(), &cluster::DeleteOptions::default()).await?;
    until("the Application is made again", async || {
        let now = site.application("a").await?;
        if now.uid() != before.uid() { Ok(()) } else { Err("it is still the old one".to_owned()) }
    })
    .await?;
    site.stands("a", "Synced/Healthy").await?;

    shop.git.git(&["mv", "apps", "services"]).await?;
    let moved = shop.push("Move the folder").await?;
    stage
        .expect(&shop, &moved, "lockstep/dev/folders", "error", "would remove 1 of 1 Applications at once (a)")
        .await?;
    let live = site.application("a").await.map_err(anyhow::Error::msg)?;
    ensure!(live.0["metadata"]["deletionTimestamp"].is_null(), "{}", live.0["metadata"]);
    ensure!(site.content("a", "a").await.map_err(anyhow::Error::msg)? == "one", "its objects are not as they were");

    let mut allowed = folders(&shop.url, "./apps/*/");
    allowed["metadata"]["annotations"] = json!({ "lockstep.dev/allow-mass-deletion": "true" });
    site.apply(allowed).await?;
    site.gone("argoproj.io", "Application", "argocd", "a").await?;
    stage.strike().await
}

/// Whoever signs a release pushes a tag object: the checks belong on its commit.
#[tokio::test]
async fn an_annotated_tag_moves_a_version_range_and_its_commit_gets_the_check() -> Result<()> {
    let stage = Stage::set(Kind::GithubChecked, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    let site = stage.site();
    shop.git.git(&["tag", "-a", "v1.0.0", "-m", "One"]).await?;
    push_tag(&shop, "v1.0.0").await?;
    let mut ranged = application("ranged", &shop.url, "app", true);
    ranged["spec"]["source"]["targetRevision"] = json!(">=1.0.0");
    site.apply(ranged).await?;
    site.stands("ranged", "Synced/Healthy").await?;

    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let two = shop.push("Say two").await?;
    shop.git.git(&["tag", "-a", "v1.1.0", "-m", "Two"]).await?;
    push_tag(&shop, "v1.1.0").await?;
    site.has_content(e2e::NAMESPACE, "shop", "two").await?;
    stage.expect(&shop, &two, "lockstep/dev/ranged", "success", "healthy").await?;
    // An older version, pushed later, moves nothing and concerns nothing.
    shop.git.write("app/config.yaml", config_map("shop", "late"))?;
    let late = shop.git.commit("Say late").await?;
    shop.git.git(&["tag", "-a", "v1.0.1", "-m", "Late"]).await?;
    push_tag(&shop, "v1.0.1").await?;
    stage.expect(&shop, &late, "lockstep/dev", "success", "no application concerned").await?;
    ensure!(site.content(e2e::NAMESPACE, "shop").await.map_err(anyhow::Error::msg)? == "two", "it went back");
    let refused = stage.forge.github()?.calls();
    let refused: Vec<_> =
        refused.iter().filter(|call| call.path.contains("/statuses/") && call.status == 422).collect();
    ensure!(refused.is_empty(), "{refused:?}");
    stage.strike().await
}

/// A forge that does not say which branch is the default one: only asking tells.
#[tokio::test]
async fn another_branch_is_not_the_default_one_even_if_the_payload_does_not_say() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    let site = stage.site();
    let mut head = application("shop", &shop.url, "app", true);
    head["spec"]["source"]["targetRevision"] = json!("HEAD");
    site.apply(head).await?;
    site.stands("shop", "Synced/Healthy").await?;

    shop.git.branch("dev").await?;
    shop.git.write("app/config.yaml", config_map("shop", "dev"))?;
    let dev = shop.push_to("dev", "Say dev").await?;
    let double = stage.forge.github()?;
    let sent = until("the push of dev is told", async || {
        let deliveries = double.deliveries("acme", "shop");
        deliveries
            .into_iter()
            .find(|one| one.payload["after"] == *dev && one.succeeded())
            .ok_or_else(|| "not yet".to_owned())
    })
    .await?;
    let mut payload = (*sent.payload).clone();
    for field in ["default_branch", "master_branch"] {
        payload["repository"].as_object_mut().map(|repository| repository.remove(field));
    }
    let body = payload.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(stage.secret().as_bytes())?;
    mac.update(body.as_bytes());
    let request =
        reqwest::Client::builder().no_proxy().build()?.post(format!("{}/webhooks/github", stage.receiver_url));
    let request = request
        .header("X-GitHub-Event", "push")
        .header("X-GitHub-Delivery", "without-a-default-branch")
        .header("Content-Type", "application/json")
        .header("X-Hub-Signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    let answer = request.body(body).send().await?.status();
    ensure!(answer.is_success(), "{answer}");

    // Deliveries of one repository keep their order.
    shop.git.checkout("main").await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let two = shop.push("Say two").await?;
    stage.expect(&shop, &two, "lockstep/dev/shop", "success", "healthy").await?;
    let live = site.application("shop").await.map_err(anyhow::Error::msg)?;
    let history = live.0["status"]["history"].to_string();
    ensure!(history.contains(&two) && !history.contains(&dev), "{history}");
    stage.strike().await
}

async fn push_tag(shop: &e2e::WorkingCopy, tag: &str) -> Result<()> {
    shop.push_ref(&format!("refs/tags/{tag}"), &format!("refs/tags/{tag}")).await
}

fn folders(url: &str, pattern: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": { "name": "folders", "namespace": "argocd" },
        "spec": {
            "goTemplate": true,
            "generators": [{ "git": { "repoURL": url, "revision": "main", "directories": [{ "path": pattern }] } }],
            "template": {
                "metadata": { "name": "{{ .path.basename }}" },
                "spec": {
                    "project": "default",
                    "source": { "repoURL": url, "targetRevision": "main", "path": "{{ .path.path }}" },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": "{{ .path.basename }}" },
                    "syncPolicy": { "automated": {}, "syncOptions": ["CreateNamespace=true"] },
                },
            },
        },
    })
}

async fn has_condition(stage: &Stage, occurred: &str, words: &str) -> Result<()> {
    until(&format!("the set tells {words:?}"), async || {
        let live = stage.site().live("argoproj.io", "ApplicationSet", "argocd", "folders").await?;
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
