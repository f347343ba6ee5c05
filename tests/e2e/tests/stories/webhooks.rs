//! Webhooks that a forge does not send, to the real receiver.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn forged_replayed_truncated_webhooks() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "zero"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let sender = Sender { stage: &stage, http: http.clone() };
    let webhook = the_first_push(&stage, &shop).await?;

    forged_and_truncated(&sender, &webhook).await?;
    replayed(&sender, &shop, &webhook).await?;
    unknown_and_not_understood(&sender).await?;
    too_large(&stage).await?;
    replayed_while_the_worker_is_down(&mut stage, http, &shop, &webhook).await?;
    stage.strike().await
}

/// A webhook as it was sent.
#[derive(Clone)]
pub struct Webhook {
    headers: BTreeMap<String, String>,
    /// As it is sent.
    pub body: Vec<u8>,
}

impl Webhook {
    /// With another value of a header.
    pub fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, header: &str) -> Self {
        self.headers.remove(header);
        self
    }

    /// Signed again.
    pub fn signed(self, secret: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        self.with("X-Hub-Signature-256", &signature)
    }
}

/// Sends webhooks as they are.
pub struct Sender<'a> {
    /// To whose receiver.
    pub stage: &'a Stage,
    /// With what.
    pub http: reqwest::Client,
}

impl Sender<'_> {
    /// Returns the status.
    pub async fn send(&self, webhook: &Webhook) -> Result<u16> {
        let mut request = self.http.post(format!("{}/webhooks/github", self.stage.receiver_url));
        for (name, value) in &webhook.headers {
            request = request.header(name, value);
        }
        Ok(request.body(webhook.body.clone()).send().await?.status().as_u16())
    }

    async fn expect(&self, what: &str, webhook: &Webhook, status: u16) -> Result<()> {
        let answer = self.send(webhook).await?;
        ensure!(answer == status, "{what}: the receiver answers {answer}, not {status}");
        Ok(())
    }
}

/// A push that was synced, and the webhook that told of it.
pub async fn the_first_push(stage: &Stage, shop: &WorkingCopy) -> Result<Webhook> {
    shop.git.write("app/config.yaml", config_map("shop", "one"))?;
    let commit = shop.push("Say one").await?;
    stage.expect(shop, &commit, "lockstep/dev", "success", "all healthy").await?;
    let deliveries = stage.forge.github()?.deliveries("acme", "shop");
    let delivery = deliveries.iter().find(|one| one.payload["after"] == *commit).context("no webhook was sent")?;
    ensure!(delivery.status_code == 202, "the receiver answers {}", delivery.status);
    Ok(Webhook { headers: delivery.request_headers.clone(), body: delivery.payload.to_string().into_bytes() })
}

async fn forged_and_truncated(sender: &Sender<'_>, webhook: &Webhook) -> Result<()> {
    let other = |id: &str| webhook.clone().with("X-GitHub-Delivery", id);
    sender.expect("another secret", &other("f-1").signed("guessed"), 401).await?;
    sender.expect("no signature", &other("f-2").without("X-Hub-Signature-256"), 401).await?;
    sender.expect("half a signature", &other("f-3").with("X-Hub-Signature-256", "sha256=abcd"), 401).await?;
    let mut changed = other("f-4");
    changed.body.extend_from_slice(b" ");
    sender.expect("a body that was changed", &changed, 401).await?;
    let mut truncated = other("f-5");
    truncated.body.truncate(webhook.body.len() / 2);
    sender.expect("a truncated body", &truncated, 401).await?;
    sender.expect("no event", &other("f-6").without("X-GitHub-Event"), 400).await?;
    sender.expect("another content type", &other("f-7").with("Content-Type", "text/plain"), 415).await
}

/// The webhook of an older commit comes again after a newer one.
async fn replayed(sender: &Sender<'_>, shop: &WorkingCopy, webhook: &Webhook) -> Result<()> {
    let stage = sender.stage;
    let older = shop.git.head().await?;
    shop.git.write("app/config.yaml", config_map("shop", "two"))?;
    let newer = shop.push("Say two").await?;
    stage.expect(shop, &newer, "lockstep/dev", "success", "all healthy").await?;
    let config = async || stage.site().live("", "ConfigMap", NAMESPACE, "shop").await.map_err(anyhow::Error::msg);
    let before = config().await?;
    for _ in 0..3 {
        sender.expect("a replayed webhook", webhook, 202).await?;
    }
    // Deliveries of one repository are handled in order: once this one is done, the replayed ones are.
    shop.git.write("app/marker.yaml", config_map("marker", "after the replay"))?;
    let marker = shop.push("Add a marker").await?;
    stage.expect(shop, &marker, "lockstep/dev", "success", "all healthy").await?;
    ensure!(config().await? == before, "a replayed webhook changed something");
    for commit in [&older, &newer] {
        stage.expect(shop, commit, "lockstep/dev", "success", "").await?;
        stage.expect(shop, commit, "lockstep/dev/shop", "success", "").await?;
    }
    Ok(())
}

/// A worker that has just started knows of no newer commit yet.
async fn replayed_while_the_worker_is_down(
    stage: &mut Stage,
    http: reqwest::Client,
    shop: &WorkingCopy,
    webhook: &Webhook,
) -> Result<()> {
    let config =
        async |stage: &Stage| stage.site().live("", "ConfigMap", NAMESPACE, "shop").await.map_err(anyhow::Error::msg);
    let before = config(stage).await?;
    for round in 0..3 {
        stage.site_mut().worker.kill().await?;
        Sender { stage, http: http.clone() }.expect("a replayed webhook", webhook, 202).await?;
        stage.site_mut().worker.start_again().await?;
        shop.git.write("app/marker.yaml", config_map("marker", &format!("after restart {round}")))?;
        let marker = shop.push("Move the marker").await?;
        stage.expect(shop, &marker, "lockstep/dev", "success", "all healthy").await?;
        ensure!(config(stage).await? == before, "a replayed webhook changed something");
    }
    Ok(())
}

async fn unknown_and_not_understood(sender: &Sender<'_>) -> Result<()> {
    let stage = sender.stage;
    let make = |event: &str, id: &str, body: &[u8]| {
        let headers = [("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("Content-Type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Webhook { headers, body: body.to_vec() }.signed(stage.secret())
    };
    sender.expect("a ping", &make("ping", "u-1", b"{\"zen\":\"Keep it.\"}"), 200).await?;
    sender
        .expect("an unknown event", &make("sponsorship_of_the_moon", "u-2", b"{\"action\":\"created\"}"), 202)
        .await?;
    sender.expect("not JSON", &make("push", "u-3", b"\xff\x00 garbage"), 202).await?;
    sender.expect("a field is missing", &make("push", "u-4", b"{\"ref\":\"refs/heads/main\"}"), 202).await?;
    let bus = bus::connect(&stage.broker.url).await?;
    let dead = until("the dead letters", async || match bus.dead(10).await {
        Ok(dead) if dead.len() == 2 => Ok(dead),
        other => Err(format!("{other:?}")),
    })
    .await?;
    bus.close().await;
    ensure!(dead.iter().all(|one| one.reason.contains("push webhook not understood")), "{dead:?}");
    let list = ["deliveries", "dead", &format!("--bus={}", stage.broker.url)].map(str::to_owned);
    let listed = stage.lockstep(&list).await?;
    ensure!(listed.lines().count() == 2 && listed.contains("not understood"), "{listed}");
    Ok(())
}

/// The answer comes before the body is read: nothing but the headers is sent.
async fn too_large(stage: &Stage) -> Result<()> {
    let address = stage.receiver_url.trim_start_matches("http://");
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    let request = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: push\r\nX-GitHub-Delivery: t-1\r\nX-Hub-Signature-256: sha256={}\r\n\
         Content-Length: {}\r\n\r\n",
        "0".repeat(64),
        25 * 1024 * 1024 + 1
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 12];
    connection.read_exact(&mut answer).await?;
    ensure!(answer == b"HTTP/1.1 413", "{}", String::from_utf8_lossy(&answer));
    Ok(())
}
