//! Programs that render: nobody waits long for another team's, and they end with what wanted them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, Stage, application, config_map, until, within};
use resources::ObjectKey;
use serde_json::json;

/// Takes longer than any limit.
const BURN: &str = "{{ range until 9999 }}{{ range until 9999 }}{{ range until 9999 }}{{ end }}{{ end }}{{ end }}\n";
/// Well below the minute of processor time after which the kernel ends it anyway.
const SOON: Duration = Duration::from_secs(20);

/// The programs that the worker has started and that still run.
fn renders(stage: &Stage) -> Result<usize> {
    let worker = stage.site().worker.pid().context("the worker has ended")?;
    let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
    let ours = |stat: &String| {
        let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
        let mut fields = rest.split_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        name.contains("(helm") && state != Some("Z") && parent == Some(&worker.to_string())
    };
    Ok(std::fs::read_dir("/proc")?.flatten().filter_map(stat).filter(ours).count())
}

#[tokio::test]
async fn a_chart_that_burns_holds_up_nobody_and_ends_with_its_application() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            copy.write("burn/Chart.yaml", "apiVersion: v2\nname: burn\nversion: 0.1.0\n")?;
            copy.write("burn/templates/burn.yaml", BURN)?;
            copy.write("calm/Chart.yaml", "apiVersion: v2\nname: calm\nversion: 0.1.0\n")?;
            copy.write("calm/templates/calm.yaml", config_map("calm", "1"))
        })
        .await?;
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": "calm", "namespace": "argocd" },
        "spec": { "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }] },
    });
    stage.site().apply(project).await?;

    // One team takes every place, and more.
    let places = std::thread::available_parallelism()?.get();
    let burning: Vec<String> = (0..=places).map(|number| format!("burn-{number}")).collect();
    for name in &burning {
        let mut app = application(name, &shop.url, "burn", true);
        app["spec"]["source"]["helm"] = json!({ "releaseName": name });
        stage.site().apply(app).await?;
    }
    until("every place is taken", async || match renders(&stage) {
        Ok(running) if running >= places => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;

    // Another one does not wait for it.
    let mut calm = application("calm", &shop.url, "calm", true);
    calm["spec"]["project"] = "calm".into();
    calm["spec"]["syncPolicy"]["syncOptions"] = json!([]);
    calm["spec"]["destination"]["namespace"] = "default".into();
    stage.site().apply(calm).await?;
    within(SOON, "the other team's application is synced", async || {
        let found = stage.site().live("", "ConfigMap", "default", "calm").await;
        found.map(drop)
    })
    .await?;
    ensure!(renders(&stage)? >= places, "the programs have ended, and nothing was shown");

    // They end with their Applications.
    for name in &burning {
        let key = ObjectKey::new("argoproj.io", "Application", "argocd", name);
        stage.site().cluster.delete(&key, &cluster::DeleteOptions::default()).await?;
    }
    within(SOON, "nothing burns any more", async || match renders(&stage) {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    ensure!(stage.site().worker.log().contains("sandbox.state"), "the worker does not say how it confines programs");
    stage.strike().await
}
