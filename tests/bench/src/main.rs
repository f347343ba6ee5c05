//! Measures Lockstep beside its floor: the same fetches, renders, applies and publishes, done by bare programs in the same
//! run. Prints tables with ratios, and with `--write` keeps them in `docs/performance.md`.

mod compare;
mod drift;
mod first_sync;
mod floor;
mod http;
mod machine;
mod push;
mod sandbox;
mod sight;
mod source;
mod stage;
mod sync;
mod table;
mod webhook;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use stage::Stage;
use table::{Row, Section};

/// Measures Lockstep beside its floor and prints the ratios.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
struct Args {
    /// What is measured.
    #[arg(default_value = "all")]
    what: What,
    /// Numbers of applications in one repository; each gets a cluster and a forge of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,200,1000")]
    applications: Vec<usize>,
    /// Pushes, and repairs, at each number of applications.
    #[arg(long, default_value_t = 30)]
    pushes: usize,
    /// Update the tables in docs/performance.md.
    #[arg(long)]
    write: bool,
    /// RUST_LOG of Lockstep; its log is printed when something goes wrong.
    #[arg(long, default_value = "info")]
    log: String,
    /// Keep Lockstep's last log in this file.
    #[arg(long)]
    keep_log: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// From a webhook to the changed object.
    Push,
    /// From the start to all applications synced and healthy.
    FirstSync,
    /// From a webhook to its 202.
    Webhook,
    /// Resident memory after the first sync.
    Memory,
    /// From a change by somebody else to its repair.
    Drift,
    /// One application with 1,000 objects.
    Sync,
    /// Comparisons, memory of an owned object, and repairs at 1,000 and 10,000 objects.
    Compare,
    /// What the sandbox costs each program that renders.
    Sandbox,
    /// Everything.
    All,
}

impl Args {
    fn wants(&self, what: What) -> bool {
        self.what == What::All || self.what == what
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    if cfg!(debug_assertions) {
        progress("this is a debug build: its figures mean nothing");
    }
    let mut results = Results::default();
    if args.wants(What::Webhook) {
        (results.webhook, results.shares) = webhook::measure(&args.log).await?;
    }
    if args.wants(What::Sync) {
        results.sync = sync::measure(&args.log).await?;
    }
    if args.wants(What::Compare) {
        results.compare = compare::measure(&args.log).await?;
    }
    if args.wants(What::Sandbox) {
        results.sandbox = sandbox::measure().await?;
    }
    if !matches!(args.what, What::Webhook | What::Sync | What::Compare | What::Sandbox) {
        for &count in &args.applications {
            measure(&args, count, &mut results).await?;
        }
    }
    let sections = results.sections();
    println!("{}\n", machine::describe());
    for section in &sections {
        println!("{section}");
    }
    if args.write {
        table::write(&sections)?;
    }
    Ok(())
}

#[derive(Default)]
struct Results {
    push: Vec<Row>,
    steps: Vec<(usize, push::Steps)>,
    medians: Vec<(usize, f64)>,
    first_sync: Vec<Row>,
    webhook: Vec<Row>,
    shares: String,
    memory: Vec<Row>,
    drift: Vec<Row>,
    sync: Vec<Row>,
    compare: Vec<Row>,
    sandbox: Vec<Row>,
}

/// Everything at one number of applications, on one stage.
async fn measure(args: &Args, count: usize, results: &mut Results) -> anyhow::Result<()> {
    progress(&format!("{count} applications: a cluster, a forge and a repository"));
    let mut stage = Stage::set(count, args.pushes, &args.log).await?;
    let outcome = on(args, count, &mut stage, results).await;
    if let Some(file) = &args.keep_log {
        std::fs::write(file, stage.log())?;
    }
    if outcome.is_err() {
        eprintln!("bench: the end of Lockstep's log:\n{}", stage.end_of_log(40));
    }
    stage.strike().await;
    outcome
}

async fn on(args: &Args, count: usize, stage: &mut Stage, results: &mut Results) -> anyhow::Result<()> {
    let floor = if args.wants(What::FirstSync) && count > 1 { Some(first_sync::floor(stage).await?) } else { None };
    let (synced, at_rest) = first_sync::lockstep(stage).await?;
    if let Some(floor) = floor {
        results.first_sync.push(first_sync::row(count, synced, floor));
    }
    if args.wants(What::Push) {
        let measured = push::measure(stage, args.pushes).await?;
        results.push.extend(measured.rows(count));
        results.medians.push((count, measured.median()));
        results.steps.push((count, measured.steps));
    }
    if args.wants(What::Drift) && count > 1 {
        results.drift.push(drift::measure(stage, args.pushes).await?);
    }
    if args.wants(What::Memory) {
        results.memory.extend(stage::memory_rows(count, &at_rest, &stage.memory()?));
    }
    Ok(())
}

impl Results {
    fn sections(mut self) -> Vec<Section> {
        let at = |count: usize| self.medians.iter().find(|(known, _)| *known == count).map(|(_, median)| *median);
        if let (Some(small), Some(large)) = (at(200), at(1000)) {
            self.push.push(Row {
                what: "the same at 1,000 beside 200 applications".into(),
                lockstep: format!("{} ms", table::number(large)),
                floor: format!("{} ms", table::number(small)),
                ratio: Some(large / small),
                target: Some(1.2),
                ..Row::default()
            });
        }
        let mut push = Section::new("push", self.push);
        push.notes = self.steps.iter().map(|(count, steps)| steps.sentence(*count)).collect();
        let mut webhook = Section::new("webhook", self.webhook);
        webhook.notes.push(self.shares);
        let all = vec![
            push,
            Section::new("first-sync", self.first_sync),
            webhook,
            Section::new("memory", self.memory),
            Section::new("drift", self.drift),
            Section::new("sync", self.sync),
            Section::new("compare", self.compare),
            Section::new("sandbox", self.sandbox),
        ];
        all.into_iter().filter(|section| !section.rows.is_empty()).collect()
    }
}

/// Tells a person what is going on.
fn progress(what: &str) {
    eprintln!("bench: {what}");
}

/// A duration in milliseconds.
fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
