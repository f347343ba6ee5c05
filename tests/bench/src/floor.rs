//! The work itself, by bare programs: one `git fetch`, one `kustomize build`, one server-side apply, each alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use cluster::{ApplyOptions, Cluster};
use tokio::process::Command;

use crate::source;
use crate::stage::{FLOOR, Stage};

/// Another clone of the repository, with a checkout of its first commit.
pub struct Floor {
    mirror: PathBuf,
    checkout: PathBuf,
    url: String,
    header: String,
    kustomize: PathBuf,
    cluster: Cluster,
}

/// How long each part took.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// `git fetch` of one new commit over HTTP.
    pub fetch: Vec<Duration>,
    /// `kustomize build` of one folder.
    pub build: Vec<Duration>,
    /// One server-side apply that changes an object.
    pub apply: Vec<Duration>,
}

impl Floor {
    /// Clones.
    pub async fn prepare(stage: &Stage) -> anyhow::Result<Self> {
        let (mirror, checkout) = (stage.file("floor.git"), stage.file("floor"));
        std::fs::create_dir_all(&mirror)?;
        source::git(&mirror, &["init", "--quiet", "--bare"]).await?;
        let floor = Self {
            mirror,
            checkout,
            url: stage.source.url.clone(),
            header: stage.git_header(),
            kustomize: stage.kustomize.clone(),
            cluster: stage.cluster.clone(),
        };
        floor.fetch().await?;
        let target = floor.checkout.display().to_string();
        source::git(&floor.mirror, &["worktree", "add", "--quiet", "--detach", &target, "refs/heads/main"]).await?;
        for object in source::objects(0, FLOOR) {
            floor.cluster.apply(&object, &ApplyOptions::default()).await?;
        }
        Ok(floor)
    }

    /// Fetches what is new on `main`.
    pub async fn fetch(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let header = format!("http.extraHeader={}", self.header);
        let refspec = "+refs/heads/main:refs/heads/main";
        source::git(
            &self.mirror,
            &[
                "-c",
                &header,
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-auto-maintenance",
                "--no-write-fetch-head",
                &self.url,
                refspec,
            ],
        )
        .await?;
        Ok(started.elapsed())
    }

    /// Renders one application's folder.
    pub async fn build(&self, application: usize) -> anyhow::Result<Duration> {
        build(&self.kustomize, &self.checkout, application).await
    }

    /// Where the folders of all applications are.
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// Applies one object that is another than before.
    pub async fn apply(&self, release: &str) -> anyhow::Result<Duration> {
        let object = source::config_map_object(0, FLOOR, release);
        let started = Instant::now();
        self.cluster.apply(&object, &ApplyOptions::default()).await?;
        Ok(started.elapsed())
    }
}

/// See [`Floor::build`].
pub async fn build(kustomize: &Path, checkout: &Path, application: usize) -> anyhow::Result<Duration> {
    let folder = checkout.join(source::folder(application));
    let started = Instant::now();
    let output = Command::new(kustomize).arg("build").arg(&folder).kill_on_drop(true).output().await?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "kustomize build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(started.elapsed())
}
