//! What a person does with `lockstep app`, beside the worker that does the work.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, deployment, until};
use harness::Lockstep;
use resources::ObjectKey;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It ended so, and said these words on one of the two ways.
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Result<Self> {
        ensure!(self.code == code, "it ended with {} instead of {code}: {self:#?}", self.code);
        for word in words {
            ensure!(self.out.contains(word) || self.err.contains(word), "it does not say {word:?}: {self:#?}");
        }
        Ok(self)
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:#?}"))
    }
}

/// A terminal that is none: what a pipeline has.
pub(crate) struct Cli {
    binary: PathBuf,
    kubeconfig: String,
    credentials: String,
}

impl Cli {
    pub(crate) async fn new(stage: &Stage) -> Result<Self> {
        Ok(Self {
            binary: Lockstep::binary().await?,
            kubeconfig: stage.site().plane.kubeconfig.display().to_string(),
            credentials: stage.file("git-credentials.yaml").display().to_string(),
        })
    }

    /// Runs `lockstep app`, its arguments separated by spaces.
    pub(crate) async fn app(&self, arguments: &str) -> Result<Said> {
        self.answering("", arguments).await
    }

    async fn answering(&self, answer: &str, arguments: &str) -> Result<Said> {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .arg("app")
            .args(arguments.split(' '))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("LOCKSTEP_GIT_CREDENTIALS_FILE", &self.credentials)
            .env("USER", "ada")
            .env_remove("LOCKSTEP_BUS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().context("cannot run lockstep")?;
        if let Some(mut input) = process.stdin.take() {
            // It may have ended without reading.
            let _ = input.write_all(answer.as_bytes()).await;
        }
        let output = process.wait_with_output().await?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

#[tokio::test]
async fn a_manual_application_is_looked_at_and_synced() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    cli.app("list").await?.expect(0, &["no applications"])?;
    cli.app("get ledger").await?.expect(1, &["there is no application argocd/ledger", "--namespace"])?;
    let ledger =
        stage.repository("acme/ledger", |copy| copy.write("app/config.yaml", config_map("ledger", "one"))).await?;
    stage.site().apply(application("ledger", &ledger.url, "app", false)).await?;
    stage.site().stands("ledger", "OutOfSync/Missing").await?;
    cli.app("get ledgre").await?.expect(1, &["did you mean ledger?"])?;

    before_the_first_sync(&cli).await?;
    the_first_sync(&stage, &cli).await?;
    drift_is_shown(&stage, &cli).await?;
    another_revision(&stage, &cli, &ledger).await?;
    only_what_is_selected(&stage, &cli, &ledger).await?;
    stage.strike().await
}

async fn before_the_first_sync(cli: &Cli) -> Result<()> {
    let waits = "waiting for somebody to start the sync";
    cli.app("plan ledger").await?.expect(0, &["ledger: 2 to create", "create   ConfigMap demo/ledger", waits])?;
    cli.app("plan ledger --exit-code -o yaml").await?.expect(1, &["state: waiting", "action: Create"])?;
    let plan = cli.app("plan ledger -o json").await?.expect(0, &[])?.json()?;
    ensure!(plan["counts"]["create"] == 2 && plan["decision"]["state"] == "waiting", "{plan}");
    ensure!(plan["plan"]["waves"].is_array() && plan["sync"] == "OutOfSync", "{plan}");
    let diff = cli.app("diff ledger").await?.expect(1, &["--- cluster: ConfigMap demo/ledger (not in the cluster)"])?;
    ensure!(diff.out.contains("+  content: one\n") && !diff.out.contains('\x1b'), "{diff:?}");
    let coloured = cli.app("diff ledger --color always").await?.expect(1, &[])?;
    ensure!(coloured.out.contains("\x1b[32m+  content: one\x1b[0m\n"), "{coloured:?}");
    cli.app("diff ledger --revision nowhere").await?.expect(2, &["nowhere"])?;
    cli.app("wait ledger --sync --timeout 2s").await?.expect(2, &["not after 2 s; last seen: OutOfSync (1 of 1)"])?;
    cli.app("history ledger").await?.expect(0, &["nothing has been synced yet"])?;
    cli.app("terminate ledger").await?.expect(1, &["no operation that runs or waits"])?;
    cli.app("rollback ledger").await?.expect(1, &["no history"])?;
    Ok(())
}

async fn the_first_sync(stage: &Stage, cli: &Cli) -> Result<()> {
    cli.app("sync ledger --dry-run").await?.expect(0, &["dry run asked for", "ledger: Succeeded"])?;
    ensure!(stage.site().content(NAMESPACE, "ledger").await.is_err(), "a dry run stored something");
    let said =
        cli.app("sync ledger").await?.expect(0, &["sync asked for", "ConfigMap demo/ledger", "ledger: Succeeded"])?;
    // Each change is a line with its time.
    ensure!(said.out.lines().any(|line| line.contains("Z ledger: ")), "{said:?}");
    ensure!(stage.site().content(NAMESPACE, "ledger").await == Ok("one".into()), "it has not waited for its end");
    cli.app("wait ledger").await?.expect(0, &[])?;
    cli.app("diff ledger").await?.expect(0, &[])?;
    cli.app("plan ledger --exit-code").await?.expect(0, &["nothing to do"])?;
    cli.app("list").await?.expect(0, &["ledger  default  Synced  Healthy"])?;
    cli.app("get ledger").await?.expect(0, &["Succeeded by ada", "The only object is as it should be"])?;
    let object = cli.app("get ledger -o json").await?.expect(0, &[])?.json()?;
    ensure!(object["kind"] == "Application" && object["metadata"].get("managedFields").is_none(), "{object}");
    let history = cli.app("history ledger -o json").await?.expect(0, &[])?.json()?;
    ensure!(history[0]["by"] == "ada" && history[0]["current"] == true, "{history}");
    ensure!(history.as_array().is_some_and(|history| history.len() == 1), "{history}");
    Ok(())
}

async fn drift_is_shown(stage: &Stage, cli: &Cli) -> Result<()> {
    let key = ObjectKey::new("", "ConfigMap", NAMESPACE, "ledger");
    let change = json!({ "data": { "content": "by hand" }, "metadata": { "labels": { "foreign": "x" } } });
    stage.site().cluster.merge_patch(&key, &change).await?;
    let diff = cli.app("diff ledger").await?.expect(1, &[])?;
    let changes: Vec<&str> = diff.out.lines().filter(|line| line.starts_with(['-', '+'])).collect();
    ensure!(
        changes
            == [
                "--- cluster: ConfigMap demo/ledger",
                "+++ git: ConfigMap demo/ledger",
                "-  content: by hand",
                "+  content: one"
            ],
        "{diff:?}"
    );
    cli.app("plan ledger").await?.expect(0, &["ledger: 1 to update", "data.content: \"by hand\" -> \"one\""])?;
    cli.app("sync ledger").await?.expect(0, &["configured"])?;
    cli.app("diff ledger").await?.expect(0, &[])?;
    Ok(())
}

/// A branch is looked at and synced, and then what the application follows.
async fn another_revision(stage: &Stage, cli: &Cli, ledger: &WorkingCopy) -> Result<()> {
    ledger.git.write("app/config.yaml", config_map("ledger", "topic"))?;
    let topic = ledger.push_to("topic", "Say topic").await?;
    cli.app("diff ledger --revision topic").await?.expect(1, &["-  content: one", "+  content: topic"])?;
    cli.app("plan ledger --revision topic")
        .await?
        .expect(0, &["1 to update", "allowed, started by ada", &topic[..7]])?;
    cli.app("plan ledger").await?.expect(0, &["nothing to do"])?;
    cli.app("sync ledger --revision topic").await?.expect(0, &["ledger: Succeeded"])?;
    ensure!(stage.site().content(NAMESPACE, "ledger").await == Ok("topic".into()), "the branch was not synced");
    let bus = format!("sync ledger --bus={} --cluster=dev", stage.broker.url);
    cli.app(&bus).await?.expect(0, &["asked the worker of cluster dev"])?;
    stage.site().has_content(NAMESPACE, "ledger", "one").await?;
    cli.app("rollback ledger 1").await?.expect(0, &["rolling back to", "number 1", "ledger: Succeeded"])?;
    ensure!(stage.site().content(NAMESPACE, "ledger").await == Ok("topic".into()), "it was not rolled back");
    let object = stage.site().application("ledger").await.map_err(anyhow::Error::msg)?;
    ensure!(object.annotation("lockstep.dev/pinned").is_none(), "what nobody syncs by itself needs no pin");
    Ok(())
}

async fn only_what_is_selected(stage: &Stage, cli: &Cli, ledger: &WorkingCopy) -> Result<()> {
    ledger.git.write("app/config.yaml", config_map("ledger", "two"))?;
    ledger.git.write("app/more.yaml", config_map("more", "two"))?;
    ledger.push("Say two").await?;
    let waits = "waiting for somebody to start the sync";
    let commit = ledger.git.git(&["rev-parse", "HEAD"]).await?;
    stage.expect(ledger, commit.trim(), "lockstep/dev/ledger", "pending", waits).await?;
    cli.app("sync ledger --resource :ConfigMap:more").await?.expect(0, &["ConfigMap demo/more", "Succeeded"])?;
    ensure!(stage.site().content(NAMESPACE, "more").await == Ok("two".into()), "what was selected is not there");
    ensure!(stage.site().content(NAMESPACE, "ledger").await == Ok("topic".into()), "more than was selected");
    cli.app("get ledger").await?.expect(0, &["1 OF 2 OBJECTS", "ConfigMap demo/ledger"])?;
    cli.app("refresh ledger").await?.expect(0, &["refresh asked for"])?;
    Ok(())
}

#[tokio::test]
async fn an_operation_is_ended() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    let slow = stage
        .repository("acme/slow", |copy| {
            copy.write("app/first.yaml", deployment("slow", 0, "never-ready"))?;
            copy.write("app/second.yaml", deployment("late", 1, ""))
        })
        .await?;
    stage.site().apply(application("slow", &slow.url, "app", false)).await?;
    stage.site().stands("slow", "OutOfSync/Missing").await?;
    cli.app("sync slow --async").await?.expect(0, &["sync asked for"])?;
    until("the operation runs", async || {
        let said = cli.app("get slow").await.map_err(|error| error.to_string())?;
        if said.out.contains("sync Running") { Ok(()) } else { Err(said.out) }
    })
    .await?;
    cli.app("sync slow")
        .await?
        .expect(1, &["a sync that ada asked for is under way", "lockstep app terminate slow"])?;
    cli.app("wait slow --operation --timeout 1s").await?.expect(2, &["sync Running"])?;
    cli.app("terminate slow").await?.expect(0, &["the sync that ada asked for is being ended"])?;
    cli.app("wait slow --operation").await?.expect(1, &["the operation ended with"])?;
    ensure!(stage.site().live("apps", "Deployment", NAMESPACE, "late").await.is_err(), "it went on");
    stage.strike().await
}

#[tokio::test]
async fn an_automated_application_is_rolled_back_and_let_go() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/config.yaml", config_map("shop", "one"))?;
            copy.write("app/hook.yaml", hook())
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let bad = says(&stage, &shop, "two").await?;
    stage.expect(&shop, &bad, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().cluster.delete(&marker(), &cluster::DeleteOptions::default()).await?;

    let said = cli.app("rollback shop").await?.expect(0, &["it is pinned there", "lockstep app unpin shop"])?;
    ensure!(said.out.contains("shop: Succeeded"), "{said:?}");
    ensure!(stage.site().content(NAMESPACE, "shop").await == Ok("one".into()), "it was not rolled back");
    // Hooks run in a rollback.
    stage.site().live("", "ConfigMap", NAMESPACE, "hook-ran").await.map_err(anyhow::Error::msg)?;
    cli.app("get shop").await?.expect(0, &["Pinned:", "by ada"])?;
    cli.app("history shop").await?.expect(0, &["ada", "pinned", "current"])?;
    let later = says(&stage, &shop, "three").await?;
    stage.expect(&shop, &later, "lockstep/dev/shop", "pending", "pinned").await?;
    drift_is_healed_at_the_pin(&stage).await?;
    cli.app("plan shop").await?.expect(0, &["nothing to do"])?;
    cli.app("unpin shop").await?.expect(0, &["follows Git again"])?;
    stage.site().has_content(NAMESPACE, "shop", "three").await?;
    stage.expect(&shop, &later, "lockstep/dev/shop", "success", "healthy").await?;
    cli.app("unpin shop").await?.expect(1, &["is not pinned"])?;
    the_same_over_the_bus(&stage, &cli).await?;
    stage.strike().await
}

/// Whoever has no credential of the cluster asks its worker.
async fn the_same_over_the_bus(stage: &Stage, cli: &Cli) -> Result<()> {
    let bus = format!("--bus={} --cluster=dev", stage.broker.url);
    cli.app(&format!("rollback shop {bus}")).await?.expect(0, &["asked the worker"])?;
    until("it is pinned", async || {
        let object = stage.site().application("shop").await?;
        object.annotation("lockstep.dev/pinned").map(drop).ok_or_else(|| "it is not".to_owned())
    })
    .await?;
    cli.app("wait shop --operation").await?.expect(0, &[])?;
    cli.app(&format!("unpin shop {bus}")).await?.expect(0, &["asked the worker"])?;
    stage.site().has_content(NAMESPACE, "shop", "three").await?;
    stage.site().stands("shop", "Synced/Healthy").await
}

async fn drift_is_healed_at_the_pin(stage: &Stage) -> Result<()> {
    let key = ObjectKey::new("", "ConfigMap", NAMESPACE, "shop");
    stage.site().cluster.merge_patch(&key, &json!({ "data": { "content": "by hand" } })).await?;
    stage.site().has_content(NAMESPACE, "shop", "one").await
}

async fn says(stage: &Stage, shop: &WorkingCopy, content: &str) -> Result<String> {
    shop.git.write("app/config.yaml", config_map("shop", content))?;
    let commit = shop.push(&format!("Say {content}")).await?;
    until("the push is known", async || {
        let checks = stage.forge.checks(&shop.name, &commit).await.map_err(|error| format!("{error:#}"))?;
        if checks.contains_key("lockstep/dev/shop") { Ok(()) } else { Err(format!("{checks:?}")) }
    })
    .await?;
    Ok(commit)
}

fn marker() -> ObjectKey {
    ObjectKey::new("", "ConfigMap", NAMESPACE, "hook-ran")
}

fn hook() -> String {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "hook-ran", "annotations": { "argocd.argoproj.io/hook": "PostSync" } },
    })
    .to_string()
}

#[tokio::test]
async fn what_waits_is_approved() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "one"))).await?;
    let mut gated = application("shop", &shop.url, "app", true);
    gated["metadata"]["annotations"] = json!({ "lockstep.dev/approval": "required" });
    stage.site().apply(gated).await?;
    stage.site().stands("shop", "OutOfSync/Missing").await?;
    cli.app("plan shop").await?.expect(0, &["2 to create", "waiting", "lockstep app approve shop"])?;
    let refused = cli.answering("", "approve shop").await?.expect(1, &["ConfigMap demo/shop", "give --yes"])?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_err(), "{refused:?}");
    cli.app("approve shop --yes --commit 0123456").await?.expect(1, &["is not the commit that would be synced"])?;
    cli.app("approve shop --yes").await?.expect(0, &["2 to create", "approved by ada"])?;
    stage.site().has_content(NAMESPACE, "shop", "one").await?;
    stage.site().stands("shop", "Synced/Healthy").await?;

    let commit = says(&stage, &shop, "two").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "pending", "approve").await?;
    cli.app("diff shop").await?.expect(1, &["-  content: one", "+  content: two"])?;
    ensure!(stage.site().content(NAMESPACE, "shop").await == Ok("one".into()), "it did not wait");
    let bus = format!("approve shop --yes --as=eve --bus={} --cluster=dev", stage.broker.url);
    cli.app(&bus).await?.expect(0, &["asked the worker"])?;
    stage.site().has_content(NAMESPACE, "shop", "two").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    cli.app("history shop").await?.expect(0, &[&commit[..7], "eve"])?;
    cli.app("get shop").await?.expect(0, &["by eve", "which has been used"])?;
    stage.strike().await
}
