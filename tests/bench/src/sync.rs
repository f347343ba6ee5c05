//! One application with very many objects: what each of them costs, beside a loop that does nothing but apply them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cluster::{ApplyOptions, Cluster};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use resources::{Object, ObjectKey};
use serde_json::json;

use crate::progress;
use crate::sight::{Sight, release};
use crate::source;
use crate::stage::{FLOOR, NAMESPACE, Stage};
use crate::table::{Row, in_millis, number, percentile};

const OBJECTS: usize = 1_000;
/// Objects in one file, as people have them.
const IN_A_FILE: usize = 50;
/// How many objects the bare loop applies at one time: as many as Lockstep does.
const PARALLEL: usize = 16;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);
const MOST: f64 = 1.3;

/// All objects are created, and then all of them are changed several times.
pub async fn measure(log: &str) -> anyhow::Result<Vec<Row>> {
    progress(&format!("one application with {OBJECTS} objects"));
    let mut stage = Stage::set(1, 0, log).await?;
    let outcome = on(&mut stage).await;
    if outcome.is_err() {
        eprintln!("bench: the end of Lockstep's log:\n{}", stage.end_of_log(40));
    }
    stage.strike().await;
    outcome
}

async fn on(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    fill(stage, OBJECTS).await?;
    stage.start_lockstep().await?;
    let mut config_maps = Sight::open(&stage.cluster, "", "ConfigMap", NAMESPACE).await?;
    // Lockstep is up once its other application is there.
    config_maps.until(LIMIT, |object| object.name() == source::name(0)).await?;

    let bare_creation = loop_once(&stage.cluster, "release-0").await?;
    let started = Instant::now();
    stage.cluster.create(&application(stage, 0), &ApplyOptions::default()).await?;
    let creation = all(&mut config_maps, "release-0", OBJECTS).await?.duration_since(started);
    progress(&format!("{OBJECTS} objects created after {:.2} s", creation.as_secs_f64()));

    let (mut bare, mut changes) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let wanted = format!("release-{}", round % 2);
        bare.push(loop_once(&stage.cluster, &wanted).await?);
        let patch = json!({ "spec": { "source": { "path": format!("many/{wanted}") } } });
        let key = ObjectKey::new("argoproj.io", "Application", "argocd", "many");
        let started = Instant::now();
        stage.cluster.merge_patch(&key, &patch).await?;
        changes.push(all(&mut config_maps, &wanted, OBJECTS).await?.duration_since(started));
    }
    progress(&format!("{OBJECTS} objects changed after {:.0} ms at the median", percentile(&in_millis(&changes), 50)));
    Ok(vec![row("created", &[creation], &[bare_creation]), row("changed", &changes, &bare)])
}

fn row(what: &str, took: &[Duration], bare: &[Duration]) -> Row {
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let each = |durations: &[Duration]| percentile(&in_millis(durations), 50) / OBJECTS as f64;
    let (took, bare) = (each(took), each(bare));
    Row {
        what: format!("an object of {OBJECTS}, {what}"),
        lockstep: format!("{} ms", number(took)),
        floor: format!("{} ms", number(bare)),
        ratio: Some(took / bare),
        target: Some(MOST),
        ..Row::default()
    }
}

/// The moment at which the last of them had that content.
pub async fn all(config_maps: &mut Sight, wanted: &str, objects: usize) -> anyhow::Result<Instant> {
    let mut seen = HashSet::new();
    config_maps
        .until(LIMIT, |object| {
            if release(object) == wanted {
                seen.insert(object.name().to_owned());
            }
            seen.len() == objects
        })
        .await
}

/// A loop that does nothing else.
async fn loop_once(cluster: &Cluster, wanted: &str) -> anyhow::Result<Duration> {
    let objects: Vec<Object> = (0..OBJECTS).map(|number| config_map(number, wanted, Some(FLOOR))).collect();
    let started = Instant::now();
    let applies = objects.iter().map(|object| async move {
        cluster.apply(object, &ApplyOptions::default()).await.map(drop).map_err(anyhow::Error::from)
    });
    stream::iter(applies).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(started.elapsed())
}

/// The bare loop's objects are as large as Lockstep's, which say whose they are.
fn config_map(number: usize, wanted: &str, namespace: Option<&str>) -> Object {
    let name = format!("many-{number:05}");
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": name } },
        "data": { "release": wanted, "settings": "x".repeat(200) },
    });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
        let owner = format!("bare:/ConfigMap:{namespace}/{name}");
        object["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": owner });
    }
    Object(object)
}

/// Puts both releases of all objects into the repository.
pub async fn fill(stage: &Stage, objects: usize) -> anyhow::Result<()> {
    let mut text = String::from("commit refs/heads/main\ncommitter bench <bench@example.com> 1700000001 +0000\n");
    source::data(&mut text, "Many objects");
    text.push_str("from refs/heads/main^0\n");
    for wanted in ["release-0", "release-1"] {
        for file in 0..objects / IN_A_FILE {
            let numbers = file * IN_A_FILE..(file + 1) * IN_A_FILE;
            let documents: Vec<String> = numbers.map(|number| config_map(number, wanted, None).0.to_string()).collect();
            let _ = writeln!(text, "M 100644 inline many/{wanted}/{file:03}.yaml");
            source::data(&mut text, &documents.join("\n---\n"));
        }
    }
    source::import(&stage.source.path, &text).await
}

/// The Application with all of them.
pub fn application(stage: &Stage, release: usize) -> Object {
    Object(json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": "many", "namespace": "argocd" },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": stage.source.url, "targetRevision": "main", "path": format!("many/release-{release}"),
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": NAMESPACE },
            "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
        },
    }))
}
