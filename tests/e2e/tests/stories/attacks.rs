//! What a hostile tenant, author or sender of webhooks tries, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, until};
use resources::ObjectKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::objects::condition;
use crate::webhooks::{Sender, the_first_push};

/// A server that nobody has a reason to talk to. It counts who does.
struct Canary {
    address: String,
    contacts: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let contacts = Arc::new(AtomicUsize::new(0));
        let counted = contacts.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { address, contacts })
    }

    fn is_silent(&self) -> Result<()> {
        let contacts = self.contacts.load(Ordering::SeqCst);
        ensure!(contacts == 0, "the canary was contacted {contacts} times");
        Ok(())
    }
}

/// A project of one repository and one namespace.
fn team(repository: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": { "name": "team", "namespace": "argocd" },
        "spec": { "sourceRepos": [repository], "destinations": [{ "server": "*", "namespace": NAMESPACE }],
                  "clusterResourceWhitelist": [{ "group": "", "kind": "Namespace" }] },
    })
}

fn of_team(name: &str, url: &str) -> Value {
    let mut app = application(name, url, "app", true);
    app["spec"]["project"] = "team".into();
    app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    app
}

#[tokio::test]
async fn a_repository_that_the_project_forbids_is_not_contacted() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    stage.site().apply(team(&shop.url)).await?;
    let canary = Canary::start().await?;
    let private = format!("http://{}/acme/private.git", canary.address);
    stage.site().apply(of_team("spy", &private)).await?;
    condition(&stage, "spy", "InvalidSpecError", "does not permit the repository").await?;
    stage.site().apply(of_team("shop", &shop.url)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    // Neither by a refresh nor by a webhook that names it.
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    stage.site().patch_application("spy", refresh).await?;
    let webhook = the_first_push(&stage, &shop).await?;
    let mut payload: Value = serde_json::from_slice(&webhook.body)?;
    for (field, value) in
        [("full_name", "acme/private"), ("name", "private"), ("clone_url", &private), ("html_url", &private)]
    {
        payload["repository"][field] = value.into();
    }
    let mut forged = webhook;
    forged.body = payload.to_string().into_bytes();
    let forged = forged.with("X-GitHub-Delivery", "forbidden-1").signed(stage.secret());
    let sender = Sender { stage: &stage, http: reqwest::Client::builder().no_proxy().build()? };
    ensure!(sender.send(&forged).await? == 202, "the webhook is authentic and was not taken");
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let commit = shop.push("After it").await?;
    stage.expect(&shop, &commit, "lockstep/dev", "success", "all healthy").await?;
    until("the order to refresh is followed", async || {
        let spy = stage.site().application("spy").await?;
        let order = spy.at("/metadata/annotations/argocd.argoproj.io~1refresh").cloned();
        if order.is_none() { Ok(()) } else { Err(format!("{order:?}")) }
    })
    .await?;
    canary.is_silent()?;

    // Once the project permits it, it is asked at once.
    let mut project = team(&shop.url);
    project["spec"]["sourceRepos"] = json!([shop.url, private]);
    stage.site().apply(project).await?;
    until("the permitted repository is contacted", async || {
        if canary.contacts.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    stage.strike().await
}

#[tokio::test]
async fn a_deletion_takes_nothing_that_the_project_forbids() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    stage.site().apply(team(&shop.url)).await?;
    stage.site().apply(of_team("shop", &shop.url)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    // Another team's object that says it is of this application.
    stage.site().apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "other" } })).await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "theirs", "namespace": "other",
                      "annotations": { "argocd.argoproj.io/tracking-id": "shop:/ConfigMap:other/theirs" } },
        "data": { "content": "precious" },
    });
    stage.site().apply(theirs).await?;
    let stage_annotation =
        |value: Value| json!({ "metadata": { "annotations": { "lockstep.dev/deletion-stage": value } } });
    stage.site().patch_application("shop", stage_annotation("done".into())).await?;
    let application = ObjectKey::new("argoproj.io", "Application", "argocd", "shop");
    stage.site().cluster.delete(&application, &cluster::DeleteOptions::default()).await?;
    condition(&stage, "shop", "DeletionError", "does not permit namespace \"other\"").await?;
    let exist = async || -> Result<()> {
        for (namespace, name) in [(NAMESPACE, "shop"), ("other", "theirs")] {
            stage.site().content(namespace, name).await.map_err(anyhow::Error::msg).context("it was deleted")?;
        }
        Ok(())
    };
    exist().await?;

    // Nor does a stage that nobody knows leave the objects behind.
    let theirs = ObjectKey::new("", "ConfigMap", "other", "theirs");
    let released = json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": null } } });
    stage.site().cluster.merge_patch(&theirs, &released).await?;
    condition(&stage, "shop", "DeletionError", "no stage of a deletion").await?;
    exist().await?;
    stage.site().patch_application("shop", stage_annotation(Value::Null)).await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "shop").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "shop").await?;
    stage.site().content("other", "theirs").await.map_err(anyhow::Error::msg)?;
    stage.strike().await
}
