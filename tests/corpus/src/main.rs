//! Records the corpus of comparisons: what manifests become when a real API server stores them.
//!
//! It starts a cluster, applies every manifest of `manifests/` as a worker would, makes the changes of `changes.yaml` in the
//! name of somebody else, and writes what the cluster has and what a dry-run apply answers to `recorded/`. The judging is done
//! elsewhere (`crates/engine/tests/corpus.rs`), from those files and without any cluster.

mod changes;
mod definitions;
mod output;
mod sources;
mod stage;

use std::path::Path;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::output::Record;
use crate::sources::{Origin, Sources};
use crate::stage::Stage;

/// So many objects are recorded at once.
const PARALLEL: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Sources::read(folder)?;
    let changes = changes::read(&folder.join("changes.yaml"))?;
    progress(&format!("{} manifests, {} changes", sources.manifests.len(), changes.len()));
    let definitions = definitions::all(&sources)?;
    let stage = Stage::set().await?;
    stage.define(&definitions).await?;
    stage.place(&mut sources.manifests).await?;
    progress(&format!("{} definitions are served; applying", definitions.len()));
    stage.fill(&sources.manifests).await?;
    stage.settle(&sources.manifests).await?;

    progress("recording pairs");
    let records = sources.manifests.iter().map(|manifest| stage.pairs(manifest));
    let pairs: Vec<Vec<Record>> = stream::iter(records).buffered(PARALLEL).try_collect().await?;
    let pairs: Vec<Record> = pairs.into_iter().flatten().collect();

    progress("recording changes");
    let records = changes.iter().enumerate().map(|(index, change)| stage.change(index, change, &sources.manifests));
    let records: Vec<Result<Record>> = stream::iter(records).buffered(PARALLEL).collect().await;
    let (mut differences, mut wrong) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            Ok(record) => differences.push(record),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{} changes cannot be made:\n{}", wrong.len(), wrong.join("\n"));

    let foreign = sources.manifests.iter().filter(|manifest| manifest.origin != Origin::Applied).count();
    output::write(&folder.join("recorded/pairs.json"), &pairs)?;
    output::write(&folder.join("recorded/differences.json"), &differences)?;
    progress(&format!(
        "recorded {} pairs ({foreign} of objects that others made) and {} changes",
        pairs.len(),
        differences.len()
    ));
    Ok(())
}

/// Tells a person what is going on.
fn progress(what: &str) {
    eprintln!("corpus: {what}");
}
