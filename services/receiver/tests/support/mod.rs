use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, BusError, Consumer, Counters, DeadLetter, Message, PublishError, Topology};
use forge::webhook::{Secret, SecretBook};
use receiver::{Receiver, ReceiverConfig, Trust};
use serde_json::{Value, json};
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub const BEFORE: &str = "1111111111111111111111111111111111111111";
pub const AFTER: &str = "2222222222222222222222222222222222222222";

fn secret() -> Secret {
    Secret::new("right").unwrap()
}

/// What the bus of a test does with a publish.
#[derive(Clone)]
pub enum Mode {
    Store,
    Fail(PublishError),
    Hang,
    Hold(Arc<Gate>),
}

/// Holds publishes until it is opened.
pub struct Gate {
    entered: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Returns once for each publish that has come.
    pub async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    pub fn open(&self) {
        self.open.close();
    }
}

pub struct TestBus {
    mode: Mutex<Mode>,
    published: Mutex<Vec<(String, String, Message)>>,
    buried: Mutex<Vec<(Message, String)>>,
    declared: Notify,
    counters: Counters,
}

impl TestBus {
    fn new() -> Self {
        Self {
            mode: Mutex::new(Mode::Store),
            published: Mutex::default(),
            buried: Mutex::default(),
            declared: Notify::new(),
            counters: Counters::default(),
        }
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn hold(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0) });
        self.set(Mode::Hold(gate.clone()));
        gate
    }

    pub fn published(&self) -> Vec<(String, String, Message)> {
        self.published.lock().unwrap().clone()
    }

    pub fn buried(&self) -> Vec<(Message, String)> {
        self.buried.lock().unwrap().clone()
    }

    pub async fn declared(&self) {
        self.declared.notified().await;
    }

    async fn decide(&self) -> Result<(), PublishError> {
        let mode = self.mode.lock().unwrap().clone();
        match mode {
            Mode::Store => Ok(()),
            Mode::Fail(error) => Err(error),
            Mode::Hang => std::future::pending().await,
            Mode::Hold(gate) => {
                gate.entered.add_permits(1);
                let _ = gate.open.acquire().await;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Bus for TestBus {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        assert_eq!(*topology, Topology::for_receiver());
        self.declared.notify_one();
        Ok(())
    }

    async fn publish(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), PublishError> {
        self.decide().await?;
        self.published.lock().unwrap().push((exchange.into(), routing_key.into(), message));
        Ok(())
    }

    async fn bury(&self, message: Message, reason: &str) -> Result<(), PublishError> {
        self.decide().await?;
        self.buried.lock().unwrap().push((message, reason.into()));
        Ok(())
    }

    async fn consume(&self, _: &str, _: u16) -> Result<Consumer, BusError> {
        unreachable!("the receiver consumes nothing")
    }

    async fn depth(&self, _: &str) -> Result<u64, BusError> {
        unreachable!()
    }

    async fn dead(&self, _: usize) -> Result<Vec<DeadLetter>, BusError> {
        unreachable!()
    }

    async fn replay(&self, _: &str) -> Result<(), BusError> {
        unreachable!()
    }

    async fn discard(&self, _: &str) -> Result<(), BusError> {
        unreachable!()
    }

    async fn reroute(&self) -> Result<u64, BusError> {
        unreachable!()
    }

    async fn ping(&self) -> Result<(), BusError> {
        let mode = self.mode.lock().unwrap().clone();
        match mode {
            Mode::Fail(error) => Err(BusError::Unavailable(error.to_string())),
            _ => Ok(()),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn close(&self) {}
}

/// A webhook as a forge sends it.
#[derive(Clone)]
pub struct Webhook {
    pub forge: &'static str,
    pub event: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Webhook {
    pub fn github(event: &str) -> Self {
        let headers = [("x-github-event", event), ("x-github-delivery", "d-1"), ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { forge: "github", event: event.into(), headers, body: String::new() }.with_body(&push())
    }

    pub fn gitea(event: &str) -> Self {
        let github = Self::github(event);
        let more = [("x-gitea-event", event), ("x-gitea-delivery", "d-1")];
        let mut gitea = Self { forge: "gitea", ..github };
        gitea.headers.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        gitea.with_body(&push())
    }

    pub fn with_body(self, body: &Value) -> Self {
        self.with_text(&body.to_string())
    }

    pub fn with_text(mut self, body: &str) -> Self {
        self.body = body.into();
        self.signed_with(&secret())
    }

    /// Another body with the signature of the one before.
    pub fn with_forged_text(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    pub fn signed_with(mut self, secret: &Secret) -> Self {
        self.sign(&hex::encode(secret.sign(self.body.as_bytes())));
        self
    }

    fn sign(&mut self, code: &str) {
        self.headers.insert("x-hub-signature-256".into(), format!("sha256={code}"));
        if self.forge == "gitea" {
            self.headers.insert("x-gitea-signature".into(), code.into());
        }
    }

    pub fn into_form(mut self) -> Self {
        let encoded: String = self.body.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("payload={encoded}");
        let signed = if self.forge == "gitea" { &self.body } else { &form };
        let code = hex::encode(secret().sign(signed.as_bytes()));
        self.sign(&code);
        self.body = form;
        self.with("content-type", "application/x-www-form-urlencoded")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub fn text(&self) -> String {
        self.body.clone()
    }

    /// All of the request.
    pub fn request(&self, path: &str) -> Vec<u8> {
        [self.head(path, &format!("content-length: {}", self.body.len())).as_bytes(), self.body.as_bytes()].concat()
    }

    /// The request up to its body.
    pub fn head(&self, path: &str, length: &str) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n\r\n")
    }
}

fn push() -> Value {
    json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": AFTER,
        "repository": {
            "full_name": "acme/gateway", "html_url": "https://forge.example/acme/gateway",
            "clone_url": "https://forge.example/acme/gateway.git",
        },
    })
}

pub struct Answer {
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A running receiver.
pub struct Fixture {
    pub bus: Arc<TestBus>,
    pub address: SocketAddr,
    pub admin_address: SocketAddr,
    pub shutdown: CancellationToken,
    running: Mutex<Option<tokio::task::JoinHandle<anyhow::Result<()>>>>,
    client: reqwest::Client,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ReceiverConfig)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bus = Arc::new(TestBus::new());
        let trust = Trust::signed(SecretBook::for_everything(vec![secret()])).unwrap();
        let mut config = ReceiverConfig::new(([127, 0, 0, 1], 0).into(), trust);
        config.threads = 2;
        change(&mut config);
        let receiver = Receiver::bind(config, bus.clone(), Metrics::new("lockstep")).unwrap();
        let (address, admin_address) = (receiver.address(), receiver.admin_address());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(receiver.run(shutdown.clone()));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { bus, address, admin_address, shutdown, running: Mutex::new(Some(running)), client }
    }

    pub async fn send(&self, path: &str, webhook: &Webhook) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address)).body(webhook.body.clone());
        for (name, value) in &webhook.headers {
            request = request.header(name, value);
        }
        Self::answer(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        Self::answer(self.client.get(format!("http://{}{path}", self.address))).await
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, body }
    }

    /// Sends bytes as they are, and keeps the connection open.
    pub async fn open(&self, pieces: &[&[u8]]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        for piece in pieces {
            // The receiver may have hung up already.
            let _ = stream.write_all(piece).await;
        }
        stream
    }

    /// Sends bytes as they are; returns what comes back until the receiver closes.
    pub async fn raw(&self, pieces: &[&[u8]]) -> String {
        let mut stream = self.open(pieces).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(read.is_ok(), "the connection stays open after: {answer}");
        answer
    }

    /// Asks for the end and waits for it.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        let running = self.running.lock().unwrap().take().unwrap();
        running.await.unwrap().unwrap();
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
