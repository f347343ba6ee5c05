//! From the start of Lockstep to all applications synced and healthy, beside the same renders and applies by a bare loop.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cluster::ApplyOptions;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::floor::{self, Floor};
use crate::progress;
use crate::sight::Sight;
use crate::source;
use crate::stage::{FLOOR, Memory, Stage};
use crate::table::Row;

/// Renders at one time; as many as there are cores on the machine that the targets were set on.
const BUILDS: usize = 2;
/// Applications applied at one time.
const APPLIES: usize = 16;
/// No first sync may take longer.
const LIMIT: Duration = Duration::from_secs(600);

/// The bare loop: each folder rendered, two at a time, and its objects created as soon as they are rendered.
pub async fn floor(stage: &Stage) -> anyhow::Result<Duration> {
    let floor = Floor::prepare(stage).await?;
    for object in source::objects(0, FLOOR) {
        stage.cluster.delete(&object.key(), &cluster::DeleteOptions::default()).await?;
    }
    let started = Instant::now();
    let renders = (0..stage.count).map(|application| {
        let (kustomize, checkout) = (stage.kustomize.clone(), floor.checkout().to_path_buf());
        // A task of its own, so that a render goes on while everybody else waits for the API server.
        async move {
            tokio::spawn(async move { floor::build(&kustomize, &checkout, application).await.map(|_| application) })
                .await?
        }
    });
    stream::iter(renders)
        .buffer_unordered(BUILDS)
        .map_ok(|application| async move {
            let [config_map, service] = source::objects(application, FLOOR);
            let options = ApplyOptions::default();
            tokio::try_join!(stage.cluster.apply(&config_map, &options), stage.cluster.apply(&service, &options))?;
            anyhow::Ok(())
        })
        .try_buffer_unordered(APPLIES)
        .try_collect::<Vec<()>>()
        .await?;
    let took = started.elapsed();
    progress(&format!("floor of the first sync of {}: {:.2} s", stage.count, took.as_secs_f64()));
    let leftovers = (0..stage.count)
        .flat_map(|application| source::objects(application, FLOOR))
        .map(|object| async move { stage.cluster.delete(&object.key(), &cluster::DeleteOptions::default()).await });
    stream::iter(leftovers).buffer_unordered(APPLIES).try_collect::<Vec<_>>().await?;
    // The clone must not be in the way of the next one.
    std::fs::remove_dir_all(stage.file("floor"))?;
    std::fs::remove_dir_all(stage.file("floor.git"))?;
    Ok(took)
}

/// Starts Lockstep, and waits until every Application is synced and healthy.
pub async fn lockstep(stage: &mut Stage) -> anyhow::Result<(Duration, Memory)> {
    let mut applications = Sight::open(&stage.cluster, "argoproj.io", "Application", "argocd").await?;
    let mut done = HashSet::new();
    let count = stage.count;
    let started = Instant::now();
    stage.start_lockstep().await?;
    let mut told = 0;
    let last = applications.until(LIMIT, |application| {
        let text = |pointer: &str| application.at(pointer).and_then(|value| value.as_str()).unwrap_or("");
        if text("/status/sync/status") == "Synced" && text("/status/health/status") == "Healthy" {
            done.insert(application.name().to_owned());
        } else {
            done.remove(application.name());
        }
        if done.len() * 4 / count > told {
            told = done.len() * 4 / count;
            progress(&format!("{} of {count} synced after {:.2} s", done.len(), started.elapsed().as_secs_f64()));
        }
        done.len() == count
    });
    let last = last.await;
    stage.check_running()?;
    Ok((last?.duration_since(started), stage.memory()?))
}

/// The figure beside its floor.
pub fn row(count: usize, lockstep: Duration, floor: Duration) -> Row {
    Row {
        what: format!("{count} applications"),
        lockstep: format!("{:.2} s", lockstep.as_secs_f64()),
        floor: format!("{:.2} s", floor.as_secs_f64()),
        ratio: Some(lockstep.as_secs_f64() / floor.as_secs_f64()),
        target: Some(2.0),
        ..Row::default()
    }
}
