//! A source to manifests: plain directories, Kustomize and Helm, and what each of them read.
//!
//! Every render is traced. Its result is kept under a key made of the ids of everything that it read, the settings of the source
//! and the versions of the tools, so a commit that touches none of it costs a look at a few tree entries and starts no program.
//!
//! This crate never contacts a cluster or a forge, never sets a namespace, a label or an annotation of its own, and never lets
//! a source read outside of its commit. Charts, kustomizations and manifests are taken to be hostile: programs run in a sandbox and
//! a cleared environment, with limits on time, memory and output. Who uses this crate calls `sandbox::enter_if_asked` first of all
//! in `main`: the same program is run again to put the sandbox on, unless another one is named that can.
//!
//! ```no_run
//! # async fn example(git: git::Git, application: resources::Application) -> Result<(), Box<dyn std::error::Error>> {
//! use render::{RenderConfig, RenderRequest, Renderer, SourceAt};
//!
//! let renderer = Renderer::new(RenderConfig { cache_dir: "/var/cache/lockstep".into(), ..RenderConfig::default() }).await?;
//! let source = application.sources()[0].clone();
//! let repository = git.repository(&git::RepositoryUrl::parse(&source.repo_url)?);
//! let commit = repository.resolve(&git::Revision::parse(source.revision())?).await?.commit;
//! let snapshot = repository.snapshot(&commit)?;
//! let sources = vec![SourceAt { repository: source.repo_url.clone(), revision: commit.to_string(), source, snapshot }];
//! let request = RenderRequest { application: application.name().into(), sources, ..RenderRequest::default() };
//! println!("{} objects", renderer.render(&request).await?.objects.len());
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod allowance;
mod cache;
mod collect;
mod confine;
mod directory;
mod error;
mod helm;
mod kustomize;
mod manifests;
mod places;
mod prepare;
mod reads;
mod renderer;
mod scratch;
mod settings;
mod snapshot;
#[cfg(test)]
mod testing;
mod tool;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resources::{ApplicationSource, Object};
use serde::{Deserialize, Serialize};

pub use error::RenderError;
pub use manifests::{Unreadable, objects};
pub use places::Load;
pub use renderer::Renderer;
pub use sandbox::{Mode as SandboxMode, State as SandboxState};

/// Where programs and caches are, and what a render may use.
#[derive(Clone, Debug)]
pub struct RenderConfig {
    /// Folder for results that outlive the process. Other processes may share it.
    pub cache_dir: PathBuf,
    /// Folder for the files that a program works on; best in memory. `None`: `/dev/shm` if there is one, else the system's
    /// folder for temporary files.
    pub scratch_dir: Option<PathBuf>,
    /// The `helm` program: a path, or a name to look for on `PATH`.
    pub helm: PathBuf,
    /// The `kustomize` program: a path, or a name to look for on `PATH`.
    pub kustomize: PathBuf,
    /// Further flags of `kustomize build`, such as `--enable-helm`.
    pub kustomize_build_options: Vec<String>,
    /// Whether programs are confined: to their scratch folder, without network, without other programs.
    pub sandbox: SandboxMode,
    /// The program that confines others, whose `main` begins with `sandbox::enter_if_asked`. `None`: `lockstep-sandbox` beside
    /// our own, or our own.
    pub sandbox_helper: Option<PathBuf>,
    /// How long one program may run.
    pub timeout: Duration,
    /// How much processor time one program may use, with all its threads. A busy machine does not make this longer.
    pub processor_time: Duration,
    /// How long a render may wait for a place among those that run at the same time.
    pub longest_wait: Duration,
    /// How much memory one program may use, with the programs that it starts.
    pub memory_limit_bytes: u64,
    /// How much one program may print, and how large the manifests of one directory may be together.
    pub max_output_bytes: u64,
    /// How many objects one source may have.
    pub max_objects: usize,
    /// How many programs run at the same time. They are shared out by project; one more runs where a project would have to
    /// wait for another that took all of them.
    pub parallel: usize,
    /// How much of the results is kept in memory.
    pub cache_memory_bytes: u64,
    /// How much of the results is kept on disk.
    pub cache_disk_bytes: u64,
    /// Whether programs may use the network: remote bases, dependencies of charts. What is read there is not traced, so such
    /// sources are rendered again every time.
    pub allow_network: bool,
}

impl Default for RenderConfig {
    fn default() -> Self {
        Self {
            cache_dir: std::env::temp_dir().join("lockstep-renders"),
            scratch_dir: None,
            helm: "helm".into(),
            kustomize: "kustomize".into(),
            kustomize_build_options: Vec::new(),
            sandbox: SandboxMode::default(),
            sandbox_helper: None,
            timeout: Duration::from_secs(90),
            processor_time: Duration::from_secs(60),
            longest_wait: Duration::from_secs(600),
            memory_limit_bytes: 1 << 30,
            max_output_bytes: 32 << 20,
            max_objects: 20_000,
            parallel: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            cache_memory_bytes: 64 << 20,
            cache_disk_bytes: 1 << 30,
            allow_network: false,
        }
    }
}

/// One source at one commit.
#[derive(Clone)]
pub struct SourceAt {
    /// What the Application says.
    pub source: ApplicationSource,
    /// The repository's address, as `ARGOCD_APP_SOURCE_REPO_URL` shows it.
    pub repository: String,
    /// The commit, as `ARGOCD_APP_REVISION` shows it.
    pub revision: String,
    /// The commit's files.
    pub snapshot: git::Snapshot,
}

/// What to render.
#[derive(Clone, Default)]
pub struct RenderRequest {
    /// Name of the Application.
    pub application: String,
    /// Namespace of its destination; may be empty.
    pub namespace: String,
    /// Its AppProject.
    pub project: String,
    /// Its sources, in order. The same object from a later one wins.
    pub sources: Vec<SourceAt>,
    /// Version of the target cluster.
    pub kube_version: String,
    /// What the target cluster serves: `apps/v1`, `apps/v1/Deployment`.
    pub api_versions: Arc<[String]>,
    /// Render again, whatever is cached.
    pub hard: bool,
    /// Only plain manifests: a source that a program would have to render is refused, and none is started.
    pub only_plain: bool,
}

/// The manifests of an application, and what they were made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The objects, in the order of the tool.
    pub objects: Vec<Object>,
    /// Everything that was read, folders and files. A commit that changes none of these renders to the same objects.
    pub inputs: Vec<Input>,
    /// Same key, same objects. Two commits with the same key do not differ for this application.
    pub key: String,
    /// Whether no program was started and no manifest was parsed for it.
    pub from_cache: bool,
    /// What is odd, but no error.
    pub warnings: Vec<Warning>,
    /// `Directory`, `Kustomize` or `Helm`, one for each source that renders something.
    pub source_types: Vec<String>,
}

/// Something that a render read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Which source, from 0.
    pub source: usize,
    /// Path of a file or folder from the root of the repository; empty for all of it.
    pub path: String,
    /// Id of its content. `None`: it was not there, and that mattered.
    pub id: Option<String>,
}

impl Input {
    /// Whether a change of `path` touches this input.
    pub fn is_touched_by(&self, path: &str) -> bool {
        // A file may take the place of a folder, so both directions count.
        reads::is_below(path, &self.path) || reads::is_below(&self.path, path)
    }
}

/// Something odd about an application's manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A type of Application condition, such as `RepeatedResourceWarning`.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

/// What one render may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) memory_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) objects: usize,
}

impl Limits {
    fn of(config: &RenderConfig) -> Self {
        Self {
            timeout: config.timeout,
            memory_bytes: config.memory_limit_bytes,
            output_bytes: config.max_output_bytes,
            objects: config.max_objects,
        }
    }

    pub(crate) fn check_objects(&self, count: usize) -> Result<(), RenderError> {
        if count <= self.objects {
            return Ok(());
        }
        Err(RenderError::Limit {
            what: "the number of objects".into(),
            limit: self.objects.to_string(),
            setting: "max_objects",
        })
    }
}
