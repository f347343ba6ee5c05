//! From a change that somebody else made to its repair, beside one watch event and one apply.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use cluster::{ApplyOptions, Cluster};
use resources::Object;

use crate::progress;
use crate::sight::{Sight, release};
use crate::source::{self, name};
use crate::stage::{FLOOR, NAMESPACE, Stage};
use crate::table::{Row, in_millis, number, percentile};

/// No repair may take longer.
const LIMIT: Duration = Duration::from_secs(30);
const DRIFTED: &str = "changed-by-hand";
/// Repaired within so many milliseconds.
const TARGET_MS: f64 = 20.0;

/// Changes the ConfigMaps of different applications one after another. The clocks of both figures begin when the change is
/// answered, and end when a watch tells of the repair.
pub async fn measure(stage: &mut Stage, repairs: usize) -> anyhow::Result<Row> {
    let floor = floor(&stage.cluster, repairs).await?;
    let mut config_maps = Sight::open(&stage.cluster, "", "ConfigMap", NAMESPACE).await?;
    let mut took = Vec::new();
    for application in source::spread(stage.count, repairs.min(stage.count)) {
        let wanted = name(application);
        let key = source::config_map_object(application, NAMESPACE, "").key();
        let before = stage.cluster.get(&key).await?.with_context(|| format!("{key} is not there"))?;
        let started = change(&stage.cluster, &source::config_map_object(application, NAMESPACE, DRIFTED)).await?;
        let (mut drifted, right) = (false, release(&before).to_owned());
        let repaired = config_maps.until(LIMIT, |object| {
            if object.name() == wanted {
                drifted |= release(object) == DRIFTED;
            }
            object.name() == wanted && drifted && release(object) == right
        });
        took.push(
            repaired.await.with_context(|| format!("the repair of {wanted}"))?.saturating_duration_since(started),
        );
    }
    let (took, floor) = (in_millis(&took), in_millis(&floor));
    let (median, bare) = (percentile(&took, 50), percentile(&floor, 50));
    progress(&format!("{} repairs at {}: {median:.1} ms at the median", took.len(), stage.count));
    Ok(Row {
        what: format!("{} applications", stage.count),
        lockstep: format!("{} ms (p90 {})", number(median), number(percentile(&took, 90))),
        floor: format!("{} ms", number(bare)),
        ratio: Some(median / bare),
        absolute: Some((format!("≤ {TARGET_MS} ms"), median <= TARGET_MS)),
        ..Row::default()
    })
}

/// Whoever changes it, it is not Lockstep.
pub async fn change(cluster: &Cluster, object: &Object) -> anyhow::Result<Instant> {
    let options = ApplyOptions { field_manager: Some("somebody".into()), ..ApplyOptions::default() };
    cluster.apply(object, &options).await?;
    Ok(Instant::now())
}

/// One watch event and one apply.
pub async fn floor(cluster: &Cluster, repairs: usize) -> anyhow::Result<Vec<Duration>> {
    let right = source::config_map_object(0, FLOOR, "first");
    cluster.apply(&right, &ApplyOptions::default()).await?;
    let mut config_maps = Sight::open(cluster, "", "ConfigMap", FLOOR).await?;
    let mut took = Vec::new();
    for _ in 0..repairs {
        let started = change(cluster, &source::config_map_object(0, FLOOR, DRIFTED)).await?;
        config_maps.until(LIMIT, |object| release(object) == DRIFTED).await?;
        cluster.apply(&right, &ApplyOptions::default()).await?;
        let repaired = config_maps.until(LIMIT, |object| release(object) == "first").await?;
        took.push(repaired.saturating_duration_since(started));
    }
    Ok(took)
}
