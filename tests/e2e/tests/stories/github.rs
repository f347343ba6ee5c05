//! GitHub, whose every call, answer and webhook is held against its own description.

use anyhow::{Result, ensure};
use e2e::{Kind, Stage};

use crate::{pulls, push};

#[tokio::test]
async fn push_to_status_as_github_describes_it() -> Result<()> {
    let stage = Stage::set(Kind::GithubChecked, &["dev"]).await?;
    push::story(&stage).await?;
    nothing_is_amiss(&stage)?;
    stage.strike().await
}

#[tokio::test]
async fn pull_request_to_preview_to_gone_as_github_describes_it() -> Result<()> {
    let stage = Stage::set(Kind::GithubChecked, &[pulls::CLUSTER]).await?;
    pulls::story(&stage).await?;
    nothing_is_amiss(&stage)?;
    stage.strike().await
}

fn nothing_is_amiss(stage: &Stage) -> Result<()> {
    let double = stage.forge.github()?;
    let violations = double.violations();
    ensure!(violations.is_empty(), "not as GitHub describes it: {violations:#?}");
    ensure!(!double.calls().is_empty(), "no call was made at all");
    Ok(())
}
