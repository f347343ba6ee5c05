//! The first half of a render: what a source is, what it reads, and the key of its result. No program is started here.

use std::sync::Arc;

use resources::ApplicationSource;
use sha2::{Digest, Sha256};

use crate::cache::Recent;
use crate::reads::Reads;
use crate::settings::{Environment, SourceType, folder, source_type, with_overrides};
use crate::tool::Tool;
use crate::tree::{Kind, SharedTree};
use crate::{Input, RenderConfig, RenderError, directory, helm, kustomize};

/// Changes whenever the same input may give another result.
const FORMAT: &str = "2";

/// A request, without what only its caller needs.
#[derive(Clone, Default)]
pub(crate) struct Job {
    pub(crate) application: String,
    pub(crate) namespace: String,
    pub(crate) project: String,
    pub(crate) kube_version: String,
    pub(crate) api_versions: Arc<[String]>,
    pub(crate) hard: bool,
    /// Only plain manifests: no program is started.
    pub(crate) only_plain: bool,
    pub(crate) sources: Vec<ApplicationSource>,
    pub(crate) repositories: Vec<String>,
    pub(crate) revisions: Vec<String>,
    pub(crate) trees: Vec<SharedTree>,
}

/// What the programs are, and what was learnt about charts.
pub(crate) struct Workshop {
    pub(crate) config: RenderConfig,
    pub(crate) helm: Result<Tool, RenderError>,
    pub(crate) kustomize: Result<Tool, RenderError>,
    /// Whether the chart with this tree id looks at the cluster's capabilities.
    pub(crate) charts: std::sync::Mutex<Recent<String, bool>>,
    /// Charts by tree id whose schemas lead nowhere else.
    pub(crate) schemas: std::sync::Mutex<Recent<String, ()>>,
}

/// One source, and what is needed to prepare it.
pub(crate) struct Ask<'j> {
    pub(crate) job: &'j Job,
    pub(crate) workshop: &'j Workshop,
    pub(crate) index: usize,
    /// `source`, `sources[1]`.
    pub(crate) field: &'j str,
    pub(crate) folder: &'j str,
    /// The source with its overrides.
    pub(crate) source: &'j ApplicationSource,
    pub(crate) environment: &'j Environment,
}

/// A source that is ready to be rendered.
pub(crate) struct Prepared {
    pub(crate) index: usize,
    pub(crate) key: String,
    pub(crate) inputs: Vec<Input>,
    pub(crate) work: Work,
    /// Whether the key includes the commit itself.
    pub(crate) used_revision: bool,
    /// Whether everything that it reads is known.
    pub(crate) traced: bool,
}

/// How a source is rendered.
pub(crate) enum Work {
    Directory(Vec<directory::File>),
    Kustomize(kustomize::Work),
    Helm(helm::Work),
}

impl Work {
    pub(crate) fn source_type(&self) -> SourceType {
        match self {
            Self::Directory(_) => SourceType::Directory,
            Self::Kustomize(_) => SourceType::Kustomize,
            Self::Helm(_) => SourceType::Helm,
        }
    }
}

/// Prepares every source that renders something.
pub(crate) fn prepare_all(job: &Job, workshop: &Workshop) -> Result<Vec<Prepared>, RenderError> {
    if job.sources.is_empty() {
        return Err(RenderError::settings("source", "the Application has no source"));
    }
    let rendering = (0..job.sources.len()).filter(|&index| !job.sources[index].is_ref_only());
    rendering.map(|index| prepare(job, workshop, index)).collect()
}

fn prepare(job: &Job, workshop: &Workshop, index: usize) -> Result<Prepared, RenderError> {
    let field = if job.sources.len() == 1 { "source".to_owned() } else { format!("sources[{index}]") };
    let folder = find_folder(job, index, &field)?;
    // What the overrides say is in the settings; that they were looked at is no reason for another key.
    let mut overrides = Reads::new(&job.trees);
    let source = with_overrides(&job.sources[index], &job.application, &mut overrides, index, &folder)?;
    let mut reads = Reads::new(&job.trees);
    let environment = Environment::new(job, index);
    let ask = Ask { job, workshop, index, field: &field, folder: &folder, source: &source, environment: &environment };
    let kind = source_type(&source, &field, &mut reads, index, &folder)?;
    let mut key = Key::new(kind.as_str());
    let (work, traced) = match kind {
        SourceType::Directory => {
            let files = directory::files(&ask, &mut reads)?;
            // The whole folder is an input, since a new file in it may count; the key is made of the files that do.
            for file in &files {
                key.add([file.shown.as_str(), file.id.as_str()]);
            }
            let place = reads.resolve(index, &folder)?.path;
            reads.entry(index, &place)?;
            (Work::Directory(files), true)
        }
        SourceType::Kustomize => {
            let tool = workshop.kustomize.as_ref().map_err(Clone::clone)?;
            let work = kustomize::prepare(&ask, &mut reads, tool)?;
            key.add([tool.identity.as_str()]);
            key.add(work.settings());
            let traced = !work.trace.remote;
            (Work::Kustomize(work), traced)
        }
        SourceType::Helm => {
            let tool = workshop.helm.as_ref().map_err(Clone::clone)?;
            let work = helm::prepare(&ask, &mut reads)?;
            key.add([tool.identity.as_str()]);
            key.add(work.settings());
            let traced = !work.fetch;
            (Work::Helm(work), traced)
        }
    };
    if kind != SourceType::Directory {
        for input in &reads.inputs() {
            key.add([&input.source.to_string(), input.path.as_str(), input.id.as_deref().unwrap_or("")]);
        }
    }
    let inputs = reads.with(overrides).inputs();
    Ok(Prepared { index, key: key.finish(), inputs, work, used_revision: environment.used_revision(), traced })
}

/// The folder of a source, if it is one that can be rendered at all.
fn find_folder(job: &Job, index: usize, field: &str) -> Result<String, RenderError> {
    let source = &job.sources[index];
    if source.is_chart() {
        return Err(RenderError::unsupported(
            format!("spec.{field}.chart, a chart of a Helm repository,"),
            "put the chart into a Git repository (`helm pull --untar`) and name its folder in `path`",
        ));
    }
    let folder = folder(source, field)?;
    match job.trees[index].resolve(&folder)?.entry.map(|entry| entry.kind) {
        Some(Kind::Tree) => Ok(folder),
        Some(_) => Err(RenderError::settings(format!("{field}.path"), format!("{folder} is not a folder"))),
        None => {
            let hint = format!("spec.{field}.path names it");
            Err(RenderError::Missing { path: folder, commit: job.trees[index].commit(), hint })
        }
    }
}

/// A digest of texts, each with its length, so that no two lists of texts look alike.
pub(crate) struct Key(Sha256);

impl Key {
    pub(crate) fn new(kind: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.add([FORMAT, kind]);
        key
    }

    pub(crate) fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        let mut count = 0_u64;
        for text in texts {
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
            count += 1;
        }
        self.0.update(count.to_le_bytes());
    }

    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}
