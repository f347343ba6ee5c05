//! Many deliveries while the worker is killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Check, Kind, NAMESPACE, Stage, WorkingCopy, application, config_map, within};
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _};

const DELIVERIES: usize = 500;
const APPLICATIONS: usize = 50;
const KILLS: usize = 10;
/// After the last push, for everything that is left.
const AFTERMATH: Duration = Duration::from_secs(300);
/// The worker stays down for so many pushes at the most, and then has them all at once.
const LONGEST_OUTAGE: usize = 40;
/// A kill comes so many milliseconds after a push, or after a start, at the most.
const DELAY_MS: u64 = 1_500;

#[tokio::test]
async fn kill_storm() -> Result<()> {
    let seed = match std::env::var("LOCKSTEP_SEED") {
        Ok(seed) => seed.parse().context("LOCKSTEP_SEED is a number")?,
        Err(_) => rand::random::<u64>(),
    };
    println!("the storm's seed; to see the same again: LOCKSTEP_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);

    let mut stage = Stage::set(Kind::Github, &["dev"]).await?;
    let (copy, commits) = repository(&stage, &mut random).await?;
    for name in (0..APPLICATIONS).map(name) {
        stage.site().apply(application(&name, &copy.url, &name, true)).await?;
    }
    for name in (0..APPLICATIONS).map(name) {
        stage.site().stands(&name, "Synced/Healthy").await?;
    }

    let moments: BTreeSet<usize> = sample(&mut random, DELIVERIES, KILLS).into_iter().collect();
    let mut starts_at = None;
    for (number, (commit, _)) in commits.iter().enumerate() {
        copy.push_commit(commit, "main").await?;
        let worker = &mut stage.site_mut().worker;
        if moments.contains(&number) {
            if starts_at.is_some() {
                worker.spawn()?;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(0..DELAY_MS))).await;
            worker.kill().await?;
            starts_at = Some(number + random.random_range(0..LONGEST_OUTAGE));
        }
        if starts_at.is_some_and(|at| at <= number) {
            // Not waited for: it may be killed again before it is ready.
            worker.spawn()?;
            starts_at = None;
        }
    }
    if starts_at.is_some() {
        stage.site_mut().worker.spawn()?;
    }
    ends_well(&stage, &commits).await?;
    stage.strike().await
}

fn name(application: usize) -> String {
    format!("storm-{application}")
}

/// The repository with its first commit pushed, and the commits to come, each with the application that it changes.
async fn repository(stage: &Stage, random: &mut impl rand::Rng) -> Result<(WorkingCopy, Vec<(String, usize)>)> {
    let copy = stage
        .repository("acme/storm", |copy| {
            let mut all = (0..APPLICATIONS).map(name);
            all.try_for_each(|name| copy.write(&format!("{name}/config.yaml"), config_map(&name, "")))
        })
        .await?;
    let mut commits = Vec::new();
    for number in 0..DELIVERIES {
        let changed = random.random_range(0..APPLICATIONS);
        let name = name(changed);
        copy.git.write(&format!("{name}/config.yaml"), config_map(&name, &number.to_string()))?;
        commits.push((copy.git.commit(&format!("Commit {number}")).await?, changed));
    }
    Ok((copy, commits))
}

async fn ends_well(stage: &Stage, commits: &[(String, usize)]) -> Result<()> {
    let double = stage.forge.github()?;
    within(AFTERMATH, "every delivery is accepted", async || {
        let accepted =
            double.deliveries("acme", "storm").iter().filter(|one| one.event == "push" && one.succeeded()).count();
        if accepted == DELIVERIES { Ok(()) } else { Err(format!("{accepted} are")) }
    })
    .await?;
    within(AFTERMATH, "every check is final", async || {
        let checks = checks(stage)?;
        let open: Vec<String> = commits
            .iter()
            .enumerate()
            .filter_map(|(number, (commit, changed))| {
                let mine = checks.get(commit);
                let done =
                    mine.is_some_and(|mine| mine.contains_key("lockstep/dev") && mine.values().all(Check::is_final));
                (!done).then(|| format!("{number} ({commit}, {}): {mine:?}", name(*changed)))
            })
            .collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{} are not:\n{}", open.len(), open.join("\n"))) }
    })
    .await?;
    let newest: BTreeMap<usize, usize> =
        commits.iter().enumerate().map(|(number, (_, changed))| (*changed, number)).collect();
    for (changed, number) in newest {
        stage.site().has_content(NAMESPACE, &name(changed), &number.to_string()).await?;
        stage.site().stands(&name(changed), "Synced/Healthy").await?;
    }
    let checks = checks(stage).map_err(anyhow::Error::msg)?;
    // Each commit changes one application, and both checks have to say so.
    for (number, (commit, changed)) in commits.iter().enumerate() {
        let (mine, own) = (&checks[commit], format!("lockstep/dev/{}", name(*changed)));
        ensure!(mine.contains_key(&own) && mine.contains_key("lockstep/dev"), "{number} ({commit}): {mine:?}");
        ensure!(mine.values().all(|check| check.state == "success"), "{number} ({commit}): {mine:?}");
    }
    nothing_is_opened_again(stage)?;
    let bus = bus::connect(&stage.broker.url).await?;
    let dead = bus.dead(10).await?;
    ensure!(dead.is_empty(), "there are dead letters: {dead:?}");
    bus.close().await;
    Ok(())
}

/// What was final on the forge stays as it was, whoever was killed and whatever came twice.
fn nothing_is_opened_again(stage: &Stage) -> Result<()> {
    let mut finals: BTreeMap<(String, String), String> = BTreeMap::new();
    for status in stage.forge.github()?.all_statuses("acme", "storm") {
        let key = (status.sha, status.context);
        match finals.get(&key) {
            Some(before) => ensure!(*before == status.state, "{key:?} was {before} and became {}", status.state),
            None if status.state != "pending" => drop(finals.insert(key, status.state)),
            None => {}
        }
    }
    Ok(())
}

/// The newest status of each context of each commit.
fn checks(stage: &Stage) -> Result<BTreeMap<String, BTreeMap<String, Check>>, String> {
    let double = stage.forge.github().map_err(|error| error.to_string())?;
    let mut checks: BTreeMap<String, BTreeMap<String, Check>> = BTreeMap::new();
    for status in double.all_statuses("acme", "storm") {
        let check = Check {
            state: status.state,
            description: status.description.unwrap_or_default(),
            url: status.target_url.unwrap_or_default(),
        };
        checks.entry(status.sha).or_default().insert(status.context, check);
    }
    Ok(checks)
}
