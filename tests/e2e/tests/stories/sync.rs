//! How a sync is carried out: hooks and waves, what is removed and when, and what an application waits for.

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, until};
use jiff::Timestamp;
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

/// A ConfigMap with annotations.
pub(crate) fn annotated(name: &str, content: &str, annotations: Value) -> String {
    let mut object: Value = serde_json::from_str(&config_map(name, content)).unwrap_or_default();
    object["metadata"]["annotations"] = annotations;
    object.to_string()
}

/// A Job that runs as `behaviour` says; `annotations` make it a hook.
fn job(name: &str, behaviour: &str, annotations: Value) -> String {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": { "annotations": { "local.lockstep.dev/pod": behaviour } },
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{ "name": "job", "image": "registry.example/job:1" }],
                },
            },
        },
    })
    .to_string()
}

fn hook(phase: &str) -> Value {
    json!({ "argocd.argoproj.io/hook": phase })
}

fn created(object: &Object) -> Timestamp {
    object.created_at().unwrap_or_default()
}

async fn live(stage: &Stage, kind: &str, name: &str) -> Result<Object> {
    let group = if kind == "Job" { "batch" } else { "" };
    stage.site().live(group, kind, NAMESPACE, name).await.map_err(anyhow::Error::msg)
}

async fn says(stage: &Stage, copy: &WorkingCopy, application: &str, state: &str, words: &str) -> Result<String> {
    let commit = copy.push("A change").await?;
    stage.expect(copy, &commit, &format!("lockstep/dev/{application}"), state, words).await?;
    Ok(commit)
}

#[tokio::test]
async fn hooks_and_waves_come_in_their_order() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let wave = |number: &str| json!({ "argocd.argoproj.io/sync-wave": number });
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/before.yaml", job("before", "after=2s", hook("PreSync")))?;
            copy.write("app/first.yaml", annotated("first", "1", wave("-1")))?;
            copy.write("app/middle.yaml", job("middle", "after=2s", wave("0")))?;
            copy.write("app/last.yaml", annotated("last", "1", wave("1")))?;
            copy.write("app/after.yaml", job("after", "", hook("PostSync")))?;
            copy.write("app/failed.yaml", job("failed", "", hook("SyncFail")))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    until("the hook after the sync has run", async || {
        stage.site().live("batch", "Job", NAMESPACE, "after").await.map(drop)
    })
    .await?;
    let order = [("Job", "before"), ("ConfigMap", "first"), ("Job", "middle"), ("ConfigMap", "last"), ("Job", "after")];
    let mut times = Vec::new();
    for (kind, name) in order {
        times.push(created(&live(&stage, kind, name).await?));
    }
    ensure!(times.is_sorted(), "{times:?}");
    let waits = |from: usize, to: usize| times[to].duration_since(times[from]).as_secs();
    ensure!(waits(0, 1) >= 1 && waits(2, 3) >= 1, "what comes next did not wait: {times:?}");
    ensure!(live(&stage, "Job", "failed").await.is_err(), "a hook for a failed sync has run");
    a_hook_that_fails_ends_the_sync(&stage, &shop).await?;
    a_hook_without_an_end_meets_its_deadline(&stage, &shop).await?;
    stage.strike().await
}

#[tokio::test]
async fn what_waits_for_a_later_wave_or_for_nothing_holds_up_no_wave() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let wave = |number: &str| json!({ "argocd.argoproj.io/sync-wave": number });
    // The cluster binds every claim at once, but not to a volume that does not exist: like one whose volume is made for its first pod.
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data", "annotations": wave("0") },
        "spec": {
            "volumeName": "nowhere",
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "16Mi" } },
        },
    });
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "job", "image": "registry.example/job:1" }] });
    let nightly = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": { "name": "nightly", "annotations": wave("0") },
        "spec": {
            "schedule": "0 3 * * *",
            "suspend": true,
            "jobTemplate": { "spec": { "template": { "spec": pod } } },
        },
    });
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/claim.yaml", claim.to_string())?;
            copy.write("app/nightly.yaml", nightly.to_string())?;
            copy.write("app/last.yaml", annotated("last", "1", wave("1")))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().has_content(NAMESPACE, "last", "1").await?;
    stage.site().stands("shop", "Synced/Progressing").await?;

    shop.git.remove("app/claim.yaml")?;
    says(&stage, &shop, "shop", "success", "healthy").await?;
    stage.strike().await
}

async fn a_hook_that_fails_ends_the_sync(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    shop.git.write("app/before.yaml", job("before", "fail", hook("PreSync")))?;
    shop.git.write("app/last.yaml", annotated("last", "2", json!({ "argocd.argoproj.io/sync-wave": "1" })))?;
    says(stage, shop, "shop", "failure", "hook batch/Job demo/before failed").await?;
    ensure!(stage.site().content(NAMESPACE, "last").await == Ok("1".into()), "it went on after the hook had failed");
    live(stage, "Job", "failed").await.context("the hook for a failed sync has not run")?;
    Ok(())
}

async fn a_hook_without_an_end_meets_its_deadline(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    let annotations = json!({
        "argocd.argoproj.io/hook": "PreSync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation,HookFailed",
        "lockstep.dev/hook-deadline": "3s",
    });
    shop.git.write("app/before.yaml", job("before", "never-ready", annotations))?;
    says(stage, shop, "shop", "failure", "has not ended within 3 s").await?;
    stage.site().gone("batch", "Job", NAMESPACE, "before").await?;
    shop.git.write("app/before.yaml", job("before", "", hook("PreSync")))?;
    says(stage, shop, "shop", "success", "healthy").await?;
    stage.site().has_content(NAMESPACE, "last", "2").await
}

#[tokio::test]
async fn what_is_removed_and_when() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let sync_option = |option: &str| json!({ "argocd.argoproj.io/sync-options": option });
    let shop = stage
        .repository("acme/shop", |copy| {
            for number in 0..8 {
                copy.write(&format!("app/many-{number}.yaml"), config_map(&format!("many-{number}"), "1"))?;
            }
            copy.write("app/kept.yaml", annotated("kept", "1", sync_option("Prune=false")))?;
            copy.write("app/asked.yaml", annotated("asked", "1", sync_option("Prune=confirm")))?;
            copy.write("app/gone.yaml", config_map("gone", "1"))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    // An object of the same kind that nobody owns.
    let stranger: Value = serde_json::from_str(&config_map("stranger", "1"))?;
    let mut stranger = stranger;
    stranger["metadata"]["namespace"] = NAMESPACE.into();
    stage.site().apply(stranger).await?;

    for name in ["kept", "asked", "gone"] {
        shop.git.remove(&format!("app/{name}.yaml"))?;
    }
    says(&stage, &shop, "shop", "pending", "waiting for pruning confirmation of ConfigMap demo/asked").await?;
    confirm(&stage, "shop").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "asked").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "gone").await?;
    live(&stage, "ConfigMap", "kept").await?;

    // More than half of what it owns: somebody has to say so.
    for number in 0..7 {
        shop.git.remove(&format!("app/many-{number}.yaml"))?;
    }
    let commit = says(&stage, &shop, "shop", "pending", "waiting for confirmation").await?;
    live(&stage, "ConfigMap", "many-0").await.context("the brake did not hold")?;
    confirm(&stage, "shop").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "many-0").await?;
    live(&stage, "ConfigMap", "many-7").await?;
    live(&stage, "ConfigMap", "stranger").await?;
    stage.strike().await
}

async fn confirm(stage: &Stage, name: &str) -> Result<()> {
    // Kubernetes keeps whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let now = resources::Time(Timestamp::now()).to_string();
    let annotations = json!({ "argocd.argoproj.io/deletion-approved": now });
    stage.site().patch_application(name, json!({ "metadata": { "annotations": annotations } })).await
}

#[tokio::test]
async fn hooks_around_a_deletion() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/config.yaml", config_map("shop", "1"))?;
            copy.write(
                "app/kept.yaml",
                annotated("kept", "1", json!({ "argocd.argoproj.io/sync-options": "Delete=false" })),
            )?;
            copy.write(
                "app/asked.yaml",
                annotated("asked", "1", json!({ "argocd.argoproj.io/sync-options": "Delete=confirm" })),
            )?;
            copy.write("app/backup.yaml", job("backup", "after=2s", hook("PreDelete")))?;
            copy.write("app/farewell.yaml", job("farewell", "after=2s", hook("PostDelete")))
        })
        .await?;
    let mut whole = application("shop", &shop.url, "app", true);
    whole["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    stage.site().apply(whole).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    ensure!(live(&stage, "Job", "backup").await.is_err(), "a hook of the deletion has run in a sync");

    let key = ObjectKey::new("argoproj.io", "Application", "argocd", "shop");
    stage.site().cluster.delete(&key, &cluster::DeleteOptions::default()).await?;
    until("the backup runs", async || stage.site().live("batch", "Job", NAMESPACE, "backup").await.map(drop)).await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await.is_ok(), "the objects did not wait for the backup");
    until("it waits for somebody", async || {
        let application = stage.site().application("shop").await?;
        let conditions = application.at("/status/conditions").map(Value::to_string).unwrap_or_default();
        if conditions.contains("waiting for confirmation to delete ConfigMap demo/asked") {
            Ok(())
        } else {
            Err(conditions)
        }
    })
    .await?;
    confirm(&stage, "shop").await?;
    stage.site().gone("", "ConfigMap", NAMESPACE, "shop").await?;
    until("the farewell runs", async || stage.site().live("batch", "Job", NAMESPACE, "farewell").await.map(drop))
        .await?;
    stage.site().gone("argoproj.io", "Application", "argocd", "shop").await?;
    stage.site().gone("batch", "Job", NAMESPACE, "farewell").await?;
    stage.site().gone("batch", "Job", NAMESPACE, "backup").await?;
    live(&stage, "ConfigMap", "kept").await?;
    stage.strike().await
}

#[tokio::test]
async fn an_application_waits_for_those_it_depends_on_and_for_its_window() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("database/job.yaml", job("database", "never-ready", json!({})))?;
            copy.write("app/config.yaml", config_map("shop", "1"))
        })
        .await?;
    let mut app = application("shop", &shop.url, "app", true);
    app["metadata"]["annotations"] = json!({ "lockstep.dev/depends-on": "database" });
    stage.site().apply(app).await?;
    waits(&stage, "shop", "database").await?;
    stage.site().apply(application("database", &shop.url, "database", true)).await?;
    stage.site().stands("database", "Synced/Progressing").await?;
    waits(&stage, "shop", "database (Progressing)").await?;
    shop.git.write("database/job.yaml", job("database-2", "", json!({})))?;
    let commit = shop.push("A database that ends").await?;
    stage.expect(&shop, &commit, "lockstep/dev/database", "success", "healthy").await?;
    stage.site().has_content(NAMESPACE, "shop", "1").await?;

    a_window_opens(&stage, &shop).await?;
    stage.strike().await
}

/// What its condition says it waits for.
async fn waits(stage: &Stage, name: &str, words: &str) -> Result<()> {
    until(&format!("{name} waits: {words}"), async || {
        let application = stage.site().application(name).await?;
        let all = application.at("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let waiting = all.iter().find(|condition| condition["type"] == "SyncWaiting");
        match waiting.and_then(|condition| condition["message"].as_str()) {
            Some(message) if message.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// A window that is closed for the rest of this minute, and of the next if there is little left.
async fn a_window_opens(stage: &Stage, shop: &WorkingCopy) -> Result<()> {
    let seconds = Timestamp::now().as_second().rem_euclid(60);
    let left = if seconds > 45 { 120 - seconds } else { 60 - seconds };
    let now = Timestamp::now();
    let start = jiff::tz::TimeZone::UTC.to_datetime(now);
    let schedule = format!("{} {} * * *", start.minute(), start.hour());
    let duration = format!("{}s", left + seconds);
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": { "name": "default", "namespace": "argocd" },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
            "syncWindows": [{ "kind": "deny", "schedule": schedule, "duration": duration, "applications": ["shop"] }],
        },
    });
    stage.site().apply(project).await?;
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let commit = says(stage, shop, "shop", "pending", "blocked by sync window").await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await == Ok("1".into()), "the window was not waited for");
    e2e::within(std::time::Duration::from_secs(150), "the window opens", async || {
        let content = stage.site().content(NAMESPACE, "shop").await?;
        if content == "2" { Ok(()) } else { Err(content) }
    })
    .await?;
    stage.expect(shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    Ok(())
}

#[tokio::test]
async fn children_come_in_waves_and_one_is_left_alone() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("database/job.yaml", job("database", "after=3s", json!({})))?;
            copy.write("app/config.yaml", config_map("shop", "1"))?;
            copy.write("alone/config.yaml", config_map("alone", "1"))
        })
        .await?;
    let child = |name: &str, wave: &str| {
        let mut child = application(name, &shop.url, name, true);
        child["metadata"]["annotations"] = json!({ "argocd.argoproj.io/sync-wave": wave });
        child.to_string()
    };
    shop.git.write("root/database.yaml", child("database", "0"))?;
    shop.git.write("root/app.yaml", child("app", "1"))?;
    shop.push("Children").await?;
    let mut root = application("root", &shop.url, "root", true);
    root["spec"]["destination"]["namespace"] = "argocd".into();
    stage.site().apply(root).await?;
    stage.site().has_content(NAMESPACE, "shop", "1").await?;
    let waited = created(&live(&stage, "ConfigMap", "shop").await?)
        .duration_since(created(&live(&stage, "Job", "database").await?))
        .as_secs();
    ensure!(waited >= 2, "the second wave did not wait for the health of the first: {waited} s");

    let mut alone = application("alone", &shop.url, "alone", true);
    alone["metadata"]["annotations"] = json!({ "argocd.argoproj.io/skip-reconcile": "true" });
    stage.site().apply(alone).await?;
    shop.git.write("alone/config.yaml", config_map("alone", "2"))?;
    says(&stage, &shop, "alone", "success", "left alone").await?;
    ensure!(stage.site().content(NAMESPACE, "alone").await.is_err(), "it was not left alone");
    let again = json!({ "metadata": { "annotations": { "argocd.argoproj.io/skip-reconcile": null } } });
    stage.site().patch_application("alone", again).await?;
    stage.site().has_content(NAMESPACE, "alone", "2").await?;

    // Content comes from Git and from nowhere else.
    let operation = json!({ "operation": { "sync": { "manifests": [config_map("alone", "by hand")] } } });
    stage.site().patch_application("alone", operation).await?;
    until("the operation is refused", async || {
        let application = stage.site().application("alone").await?;
        let message = application.at("/status/operationState/message").and_then(Value::as_str).unwrap_or_default();
        if message.contains("that are not in Git") { Ok(()) } else { Err(message.to_owned()) }
    })
    .await?;
    ensure!(stage.site().content(NAMESPACE, "alone").await == Ok("2".into()), "what is not in Git was applied");
    stage.strike().await
}

#[tokio::test]
async fn what_cannot_end_well_is_not_begun() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/config.yaml", config_map("shop", "1"))?;
            copy.write("app/before.yaml", job("before", "", hook("PreSync")))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let ran = live(&stage, "Job", "before").await?;

    let broken = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" },
                         "spec": { "ports": [{ "port": 70_000 }] } });
    shop.git.write("app/service.yaml", broken.to_string())?;
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    says(&stage, &shop, "shop", "failure", "nothing was changed").await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await == Ok("1".into()), "a part of it was applied");
    ensure!(
        live(&stage, "Job", "before").await?.uid() == ran.uid(),
        "the hook ran for a sync that cannot be completed"
    );

    let unknown = json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": "shop" } });
    shop.git.write("app/service.yaml", unknown.to_string())?;
    says(&stage, &shop, "shop", "failure", "the cluster has no kind Widget").await?;
    shop.git.remove("app/service.yaml")?;

    // Another manager's field is taken, and the operation says from whom.
    let by_hand = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop", "namespace": NAMESPACE },
                          "data": { "content": "by hand" } });
    let mut app = application("shop", &shop.url, "app", true);
    app["spec"]["syncPolicy"]["automated"]["selfHeal"] = false.into();
    stage.site().apply(app).await?;
    stage.site().apply(by_hand).await?;
    shop.git.write("app/config.yaml", config_map("shop", "3"))?;
    says(&stage, &shop, "shop", "success", "healthy").await?;
    until("the operation tells from whom it took the field", async || {
        let application = stage.site().application("shop").await?;
        let results = application.at("/status/operationState/syncResult/resources").map(Value::to_string);
        let results = results.unwrap_or_default();
        if results.contains("took .data.content from team") { Ok(()) } else { Err(results) }
    })
    .await?;
    stage.strike().await
}

#[tokio::test]
async fn hooks_without_a_name_of_their_own_are_waited_for() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let generated = |prefix: &str, behaviour: &str| {
        let mut object: Value = serde_json::from_str(&job("", behaviour, hook("PreSync"))).unwrap_or_default();
        object["metadata"]["name"] = Value::Null;
        object["metadata"]["generateName"] = prefix.into();
        object.to_string()
    };
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("app/first.yaml", generated("migrate-", "after=3s"))?;
            copy.write("app/second.yaml", generated("migrate-", ""))?;
            copy.write("app/config.yaml", config_map("shop", "1"))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let kind = stage.site().cluster.kind("batch", Some("v1"), "Job").await?.context("no Jobs")?;
    let jobs = stage.site().cluster.list(&kind, Some(NAMESPACE), None).await?;
    ensure!(jobs.len() == 2, "{:?}", jobs.iter().map(Object::name).collect::<Vec<_>>());
    let first = jobs.iter().map(created).min().context("no Jobs")?;
    let waited = created(&live(&stage, "ConfigMap", "shop").await?).duration_since(first).as_secs();
    ensure!(waited >= 2, "the sync did not wait for its hooks: {waited} s");

    // One that is taken away while it runs has not succeeded.
    shop.git.write("app/first.yaml", job("slow", "never-ready", hook("PreSync")))?;
    shop.git.remove("app/second.yaml")?;
    shop.git.write("app/config.yaml", config_map("shop", "2"))?;
    let commit = shop.push("A hook that runs").await?;
    until("the hook runs", async || stage.site().live("batch", "Job", NAMESPACE, "slow").await.map(drop)).await?;
    let key = ObjectKey::new("batch", "Job", NAMESPACE, "slow");
    stage.site().cluster.delete(&key, &cluster::DeleteOptions::default()).await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "failure", "was deleted before it had ended").await?;
    ensure!(stage.site().content(NAMESPACE, "shop").await == Ok("1".into()), "it went on without its hook");
    stage.strike().await
}

#[tokio::test]
async fn a_check_speaks_only_of_its_commit() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", config_map("shop", "1"))).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    shop.git.write("app/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [")?;
    let broken = shop.push("Break it").await?;
    stage.expect(&shop, &broken, "lockstep/dev/shop", "error", "broken.yaml").await?;

    // What was synced before is still healed, and that makes the broken commit no better.
    let by_hand = json!({ "data": { "content": "by hand" } });
    let key = ObjectKey::new("", "ConfigMap", NAMESPACE, "shop");
    stage.site().cluster.merge_patch(&key, &by_hand).await?;
    stage.site().has_content(NAMESPACE, "shop", "1").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    stage.expect(&shop, &broken, "lockstep/dev/shop", "error", "broken.yaml").await?;
    let application = stage.site().application("shop").await.map_err(anyhow::Error::msg)?;
    let conditions = application.at("/status/conditions").map(Value::to_string).unwrap_or_default();
    ensure!(conditions.contains("ComparisonError"), "the error is forgotten: {conditions}");

    // A source that the project does not permit is not fetched because an operation names it.
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": { "name": "default", "namespace": "argocd" },
        "spec": { "sourceRepos": [shop.url], "destinations": [{ "server": "*", "namespace": "*" }] },
    });
    stage.site().apply(project).await?;
    let source = json!({ "repoURL": shop.url.replace("acme/shop", "acme/other"), "path": "app" });
    let operation = json!({ "operation": { "initiatedBy": { "username": "eve" }, "sync": { "source": source } } });
    stage.site().patch_application("shop", operation).await?;
    until("the operation is refused and gone", async || {
        let application = stage.site().application("shop").await?;
        let message = application.at("/status/operationState/message").and_then(Value::as_str).unwrap_or_default();
        let gone = application.at("/operation").is_none_or(Value::is_null);
        if gone && message.contains("acme/other") { Ok(()) } else { Err(message.to_owned()) }
    })
    .await?;

    // Nor does a hook around the deletion do what the project does not permit.
    shop.git.remove("app/broken.yaml")?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "shop", "annotations": hook("PreDelete") }, "rules": [],
    });
    shop.git.write("app/role.yaml", role.to_string())?;
    says(&stage, &shop, "shop", "success", "healthy").await?;
    let finalizers = json!({ "metadata": { "finalizers": ["resources-finalizer.argocd.argoproj.io"] } });
    stage.site().patch_application("shop", finalizers).await?;
    let application = ObjectKey::new("argoproj.io", "Application", "argocd", "shop");
    stage.site().cluster.delete(&application, &cluster::DeleteOptions::default()).await?;
    crate::objects::condition(&stage, "shop", "DeletionError", "ClusterRole").await?;
    let made = stage.site().live("rbac.authorization.k8s.io", "ClusterRole", "", "shop").await;
    ensure!(made.is_err(), "a hook did what the project does not permit");
    live(&stage, "ConfigMap", "shop").await?;
    stage.strike().await
}
