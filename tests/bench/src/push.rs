//! From the webhook's request to the changed object, beside a fetch, a render and an apply, each alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use crate::floor::{Floor, Parts};
use crate::sight::{Sight, release};
use crate::source::{NAME, OWNER, Pushed, name};
use crate::stage::{CLUSTER, NAMESPACE, Stage};
use crate::table::{Row, in_millis, number, percentile};
use crate::{millis, progress};

/// No push may take longer.
const LIMIT: Duration = Duration::from_secs(30);

/// What came of all pushes.
pub struct Measured {
    live: Vec<Duration>,
    checked: Vec<Duration>,
    parts: Parts,
    /// When each step was reached.
    pub steps: Steps,
}

/// The median moments of the steps, in milliseconds since the request was sent.
#[derive(Clone, Debug, Default)]
pub struct Steps(Vec<(String, f64)>);

/// Pushes one by one, each after everything about the one before has come to its end; between them the floor.
pub async fn measure(stage: &mut Stage, pushes: usize) -> anyhow::Result<Measured> {
    let floor = Floor::prepare(stage).await?;
    let mut config_maps = Sight::open(&stage.cluster, "", "ConfigMap", NAMESPACE).await?;
    let (mut live, mut checked, mut parts) = (Vec::new(), Vec::new(), Parts::default());
    let mut sent = Vec::new();
    for _ in 0..pushes {
        let pushed = stage.source.push().await?;
        parts.fetch.push(floor.fetch().await?);
        parts.build.push(floor.build(pushed.application).await?);
        parts.apply.push(floor.apply(&pushed.release).await?);

        let body = stage.source.payload(&pushed);
        let head = stage.request_head(&body)?;
        let delivery = uuid::Uuid::new_v4().to_string();
        let mut connection = stage.connect().await?;
        let (started, at) = (Instant::now(), Timestamp::now().as_microsecond());
        let status = connection.deliver(&head, &delivery, &body).await?;
        ensure!(status == 202, "the receiver answers {status}");
        let wanted = name(pushed.application);
        let seen =
            config_maps.until(LIMIT, |object| object.name() == wanted && release(object) == pushed.release).await;
        live.push(seen.with_context(|| format!("{} of {wanted}", pushed.release))?.duration_since(started));
        let posted = check(stage, &pushed).await?;
        checked.push(Duration::from_micros(u64::try_from(posted - at).unwrap_or_default()));
        sent.push((pushed.commit, at));
    }
    let steps = Steps::read(&stage.reports().await?, &sent);
    let measured = Measured { live, checked, parts, steps };
    progress(&format!("{} pushes at {}: {:.1} ms at the median", pushes, stage.count, measured.median()));
    progress(&measured.steps.sentence(stage.count));
    Ok(measured)
}

/// Waits until the cluster's check on the commit is final; it must be a success. Returns when the forge took it.
async fn check(stage: &Stage, pushed: &Pushed) -> anyhow::Result<i64> {
    let context = format!("lockstep/{CLUSTER}");
    let last = |forge: &github_double::Double| {
        let statuses = forge.statuses(OWNER, NAME, &pushed.commit);
        statuses.into_iter().filter(|status| status.context == context).max_by_key(|status| status.id)
    };
    let found = stage.forge.until(LIMIT, |forge| last(forge).filter(|status| status.state != "pending")).await;
    let status = found.with_context(|| format!("{context} is not final; it is {:?}", last(&stage.forge)))?;
    ensure!(status.state == "success", "{context} is {}: {:?}", status.state, status.description);
    Ok(status.created_at_us)
}

impl Steps {
    fn read(reports: &[serde_json::Value], sent: &[(String, i64)]) -> Self {
        let mut moments: Vec<(String, Vec<f64>)> = Vec::new();
        for report in reports.iter().filter(|report| report["outcome"] == "success") {
            let Some((_, at)) = sent.iter().find(|(commit, _)| report["commit"] == commit.as_str()) else { continue };
            for step in report["steps"].as_array().into_iter().flatten() {
                let (Some(name), Some(reached)) = (step["name"].as_str(), step["atUnixUs"].as_i64()) else { continue };
                let since = millis(Duration::from_micros(u64::try_from(reached - at).unwrap_or_default()));
                match moments.iter_mut().find(|(known, _)| known == name) {
                    Some((_, all)) => all.push(since),
                    None => moments.push((name.to_owned(), vec![since])),
                }
            }
        }
        let mut medians: Vec<(String, f64)> =
            moments.into_iter().map(|(name, all)| (name.replace('_', " "), percentile(&all, 50))).collect();
        medians.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        Self(medians)
    }

    /// All of them in a line.
    pub fn sentence(&self, count: usize) -> String {
        let steps: Vec<String> = self.0.iter().map(|(name, at)| format!("{name} {}", number(*at))).collect();
        format!("{count} applications, milliseconds since the request at the median: {}.", steps.join(", "))
    }
}

impl Measured {
    /// From the request to the live object, in milliseconds.
    pub fn median(&self) -> f64 {
        percentile(&in_millis(&self.live), 50)
    }

    /// The figures beside their floor.
    pub fn rows(&self, count: usize) -> Vec<Row> {
        let medians =
            [&self.parts.fetch, &self.parts.build, &self.parts.apply].map(|part| percentile(&in_millis(part), 50));
        let floor: f64 = medians.iter().sum();
        let both = |values: &[Duration]| {
            let values = in_millis(values);
            format!("{} ms (p90 {})", number(percentile(&values, 50)), number(percentile(&values, 90)))
        };
        let [fetch, build, apply] = medians.map(number);
        let row = Row {
            what: format!("to the live object, {count} applications"),
            lockstep: both(&self.live),
            floor: format!("{} ms = {fetch} fetch + {build} kustomize + {apply} apply", number(floor)),
            ratio: Some(self.median() / floor),
            target: (count == 200).then_some(1.5),
            ..Row::default()
        };
        let checked = Row {
            what: format!("to the final check, {count} applications"),
            lockstep: both(&self.checked),
            ..Row::default()
        };
        vec![row, checked]
    }
}
