//! Comparing: how many objects a second, what an owned object needs in memory, and how soon a change is repaired in an
//! application with very many objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cluster::{ApplyOptions, Cluster, LiveStore};
use engine::compare::{CompareRules, compare};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use resources::{Object, ObjectKey};
use serde::Deserialize;
use serde_json::json;

use crate::sight::{Sight, release};
use crate::stage::{FLOOR, NAMESPACE, Stage};
use crate::table::{Row, in_millis, number, percentile};
use crate::{drift, machine, progress, source, sync};

const SIZES: [usize; 2] = [1_000, 10_000];
const PARALLEL: usize = 16;
const REPAIRS: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1500);
/// A repair takes at most so many milliseconds, and so many times a bare watch and apply.
const TARGET_MS: f64 = 20.0;
const TARGET_RATIO: f64 = 3.0;
const OURS: [&str; 2] = ["lockstep", "argocd-controller"];

/// All figures.
pub async fn measure(log: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![comparisons()?];
    for objects in SIZES {
        progress(&format!("one application with {objects} objects"));
        let mut stage = Stage::set(1, 0, log).await?;
        let outcome = on(&mut stage, objects).await;
        if outcome.is_err() {
            eprintln!("bench: the end of Lockstep's log:\n{}", stage.end_of_log(40));
        }
        stage.strike().await;
        rows.extend(outcome?);
    }
    Ok(rows)
}

/// Over what a real API server made of manifests of several hundred kinds.
fn comparisons() -> anyhow::Result<Row> {
    #[derive(Deserialize)]
    struct Pair {
        desired: Object,
        live: Object,
    }
    let file = harness::repository_root().join("tests/corpus/recorded/pairs.json");
    let pairs: Vec<Pair> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let rules = CompareRules::new(&[], &OURS);
    let started = Instant::now();
    let (mut compared, mut differing) = (0_u32, 0_u32);
    while started.elapsed() < Duration::from_secs(3) {
        for pair in &pairs {
            differing += u32::from(!compare(&pair.desired, Some(&pair.live), &rules).is_empty());
            compared += 1;
        }
    }
    anyhow::ensure!(differing == 0, "the corpus is in sync");
    let each = started.elapsed() / compared;
    Ok(Row {
        what: format!("comparisons a second, {} objects of the corpus, one thread", pairs.len()),
        lockstep: format!("{:.0} ({:.1} µs each)", 1.0 / each.as_secs_f64(), each.as_secs_f64() * 1e6),
        ..Row::default()
    })
}

async fn on(stage: &mut Stage, objects: usize) -> anyhow::Result<Vec<Row>> {
    sync::fill(stage, objects).await?;
    stage.start_lockstep().await?;
    let mut config_maps = Sight::open(&stage.cluster, "", "ConfigMap", NAMESPACE).await?;
    config_maps.until(LIMIT, |object| object.name() == source::name(0)).await?;
    stage.cluster.create(&sync::application(stage, 0), &ApplyOptions::default()).await?;
    sync::all(&mut config_maps, "release-0", objects).await?;
    synced(&stage.cluster).await?;
    let memory = memory_of_each(&stage.cluster, objects).await?;
    let floor = drift::floor(&stage.cluster, REPAIRS).await?;
    let repairs = repairs(stage, &mut config_maps, objects).await?;
    let (took, bare) = (percentile(&in_millis(&repairs), 50), percentile(&in_millis(&floor), 50));
    progress(&format!("{objects} objects: a repair in {took:.1} ms at the median"));
    let repair = Row {
        what: format!("a change repaired, {objects} objects"),
        lockstep: format!("{} ms (p90 {})", number(took), number(percentile(&in_millis(&repairs), 90))),
        floor: format!("{} ms", number(bare)),
        ratio: Some(took / bare),
        target: Some(TARGET_RATIO),
        absolute: Some((format!("≤ {TARGET_MS} ms"), took <= TARGET_MS)),
        ..Row::default()
    };
    Ok(vec![memory, repair])
}

/// Until its status is written.
async fn synced(cluster: &Cluster) -> anyhow::Result<()> {
    let mut applications = Sight::open(cluster, "argoproj.io", "Application", "argocd").await?;
    let in_sync = |object: &Object| {
        object.name() == "many" && object.at("/status/sync/status").and_then(|status| status.as_str()) == Some("Synced")
    };
    applications.until(LIMIT, in_sync).await.map(drop)
}

/// What the store of live objects keeps of each: this process holds one, and what it needs more is counted.
async fn memory_of_each(cluster: &Cluster, objects: usize) -> anyhow::Result<Row> {
    let owner = Arc::new(|object: &Object| {
        engine::ownership::owner_of(object, &engine::ownership::Tracking::default()).filter(|owner| owner == "many")
    });
    let before = resident()?;
    let store = LiveStore::with_managers(cluster.clone(), owner, OURS.map(str::to_owned).to_vec());
    let kind = cluster.kind("", Some("v1"), "ConfigMap").await?.context("no ConfigMaps")?;
    store.ensure(&[kind]).await?;
    let held = store.owned_by("many");
    anyhow::ensure!(held.len() == objects, "the store holds {} objects", held.len());
    #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
    let each = (resident()? - before).max(0.0) / objects as f64;
    let bytes: usize = held.iter().map(|object| object.0.to_string().len()).sum();
    Ok(Row {
        what: format!("memory of a live object, {objects} objects"),
        lockstep: format!("{each:.1} kB"),
        #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
        floor: format!("{:.1} kB as text", bytes as f64 / objects as f64 / 1000.0),
        ..Row::default()
    })
}

/// Of this process, in kB.
fn resident() -> anyhow::Result<f64> {
    let value = machine::field("/proc/self/status", "VmRSS").context("no VmRSS")?;
    let kib: f64 = value.split_whitespace().next().context("no VmRSS")?.parse()?;
    Ok(kib * 1.024)
}

/// Somebody changes one object after another.
async fn repairs(stage: &Stage, config_maps: &mut Sight, objects: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for pick in 0..REPAIRS {
        // One at a time: the status of the last one is written before.
        tokio::time::sleep(PAUSE).await;
        let name = format!("many-{:05}", pick * objects / REPAIRS);
        let changed = Object(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": NAMESPACE },
            "data": { "release": "by-hand" },
        }));
        let started = drift::change(&stage.cluster, &changed).await?;
        let mut drifted = false;
        let repaired = config_maps.until(LIMIT, |object| {
            drifted |= object.name() == name && release(object) == "by-hand";
            drifted && object.name() == name && release(object) == "release-0"
        });
        took.push(repaired.await.with_context(|| format!("the repair of {name}"))?.saturating_duration_since(started));
    }
    // What the bare loop used is in nobody's way.
    let key = ObjectKey::new("", "ConfigMap", FLOOR, "app-0000");
    let leftovers = [key].map(|key| async move {
        match stage.cluster.delete(&key, &cluster::DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(anyhow::Error::from(error)),
            _ => Ok(()),
        }
    });
    stream::iter(leftovers).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(took)
}
