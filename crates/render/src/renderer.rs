//! The renderer: caches first, then programs.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use indexmap::IndexMap;
use resources::{ApplicationSource, Object, ObjectKey};
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use yaml::Duplicates;

use crate::allowance::{Allowance, Asker, Wanted};
use crate::cache::{Disk, Recent, Stored, lock};
use crate::collect::{collect, first_lines};
use crate::confine::Confinement;
use crate::places::{Load, Places};
use crate::prepare::{Job, Key, Prepared, Work, Workshop, prepare_all};
use crate::scratch::{self, Scratch};
use crate::tool::{self, Output, Starts, Tool};
use crate::tree::{SharedTree, parent};
use crate::{Input, Limits, RenderConfig, RenderError, RenderRequest, Rendered, Warning, directory, helm, kustomize};

/// How long a failure is remembered: long enough for the other applications of a broken commit and for impatient retries.
const FAILURE_LIFETIME: Duration = Duration::from_secs(60);

/// Renders sources. Cheap to clone; all clones share their caches and their limit on programs.
#[derive(Clone)]
pub struct Renderer {
    inner: Arc<Inner>,
}

struct Inner {
    workshop: Workshop,
    limits: Limits,
    scratch: PathBuf,
    starts: Starts,
    confinement: Confinement,
    /// For programs.
    places: Arc<Places>,
    /// For manifests that are parsed in this process.
    parses: Arc<Places>,
    hashers: [RandomState; 2],
    /// What each application read last, by everything but the commit.
    memos: Mutex<Recent<u128, Arc<Memo>>>,
    results: Mutex<Recent<String, Arc<Rendered>>>,
    failures: Mutex<Recent<String, (Instant, RenderError)>>,
    disk: Disk,
    writes: Mutex<JoinSet<()>>,
}

/// A render that is remembered by what it read.
struct Memo {
    key: String,
    /// Ids of the sources' root folders: the shortest proof that nothing changed.
    roots: Vec<Option<String>>,
    folders: Vec<Folder>,
    /// Sources whose result contains the commit, with that commit.
    revisions: Vec<(usize, String)>,
}

/// The inputs in one folder. While the folder has the same id, none of them needs to be looked at.
struct Folder {
    source: usize,
    path: String,
    id: Option<String>,
    inputs: Vec<Input>,
}

/// A request without a copy of anything.
pub(crate) struct View<'a> {
    pub(crate) application: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) project: &'a str,
    pub(crate) kube_version: &'a str,
    pub(crate) api_versions: &'a Arc<[String]>,
    pub(crate) hard: bool,
    pub(crate) only_plain: bool,
    pub(crate) sources: Vec<(&'a ApplicationSource, &'a str, &'a str)>,
    pub(crate) trees: Vec<SharedTree>,
}

/// One source's result.
struct Part {
    key: String,
    inputs: Vec<Input>,
    warnings: Vec<Warning>,
    objects: Vec<Object>,
    source_type: &'static str,
    from_cache: bool,
    /// Whether the key stands for the result.
    traced: bool,
    used_revision: Option<usize>,
}

impl Renderer {
    /// Opens the caches and asks the programs for their versions. A program that is missing is an error only for the sources
    /// that need it.
    ///
    /// # Errors
    /// If the cache or scratch folder cannot be used, or programs cannot be confined although they have to be.
    pub async fn new(config: RenderConfig) -> Result<Self, RenderError> {
        let (folder, most) = (config.cache_dir.clone(), config.cache_disk_bytes);
        let opening = config.clone();
        let (disk, scratch) = blocking(move || {
            let disk = Disk::open(&folder, most)
                .map_err(|e| RenderError::io(format!("opening the cache folder {}", folder.display()), e))?;
            Ok((disk, scratch::root(&opening)?))
        })
        .await?;
        let confinement = Confinement::new(&config).await?;
        let (helm, kustomize) = tokio::join!(
            Tool::probe("helm", &config.helm, &confinement),
            Tool::probe("kustomize", &config.kustomize, &confinement)
        );
        for error in [helm.as_ref().err(), kustomize.as_ref().err()].into_iter().flatten() {
            tracing::warn!(%error, "sources that need this program will fail");
        }
        Ok(Self {
            inner: Arc::new(Inner {
                limits: Limits::of(&config),
                confinement,
                places: Places::new(config.parallel, config.longest_wait),
                parses: Places::new(config.parallel, config.longest_wait),
                results: Mutex::new(Recent::new(config.cache_memory_bytes)),
                workshop: Workshop {
                    config,
                    helm,
                    kustomize,
                    charts: Mutex::new(Recent::new(10_000)),
                    schemas: Mutex::new(Recent::new(10_000)),
                },
                scratch,
                starts: Starts::default(),
                hashers: [RandomState::new(), RandomState::new()],
                memos: Mutex::new(Recent::new(100_000)),
                failures: Mutex::new(Recent::new(1_000)),
                disk,
                writes: Mutex::new(JoinSet::new()),
            }),
        })
    }

    /// Renders the sources of an application, or finds that nothing they read has changed.
    ///
    /// # Errors
    /// Whatever is wrong with the sources; [`RenderError::is_transient`] tells whether trying again may help.
    pub async fn render(&self, request: &RenderRequest) -> Result<Arc<Rendered>, RenderError> {
        let trees = request.sources.iter().map(|s| Arc::new(s.snapshot.clone()) as SharedTree).collect();
        self.render_view(View {
            application: &request.application,
            namespace: &request.namespace,
            project: &request.project,
            kube_version: &request.kube_version,
            api_versions: &request.api_versions,
            hard: request.hard,
            only_plain: request.only_plain,
            sources: request.sources.iter().map(|s| (&s.source, s.repository.as_str(), s.revision.as_str())).collect(),
            trees,
        })
        .await
    }

    /// How many programs have been started for renders.
    pub fn programs_started(&self) -> u64 {
        self.inner.starts.count()
    }

    /// Renders that run, and those that wait for others.
    pub fn load(&self) -> Load {
        self.inner.places.load()
    }

    /// How programs are confined.
    pub fn sandbox(&self) -> sandbox::State {
        self.inner.confinement.state()
    }

    /// The versions of Helm and Kustomize, as they call themselves; `None` for one that is missing.
    pub fn tool_versions(&self) -> [(&'static str, Option<&str>); 2] {
        [
            ("helm", self.inner.workshop.helm.as_ref().ok().map(|tool| tool.version.as_str())),
            ("kustomize", self.inner.workshop.kustomize.as_ref().ok().map(|tool| tool.version.as_str())),
        ]
    }

    /// Waits until all results are on disk, for an orderly stop.
    pub async fn flush(&self) {
        let mut writes = std::mem::take(&mut *lock(&self.inner.writes));
        while writes.join_next().await.is_some() {}
    }

    pub(crate) async fn render_view(&self, view: View<'_>) -> Result<Arc<Rendered>, RenderError> {
        let identity = self.inner.identity(&view);
        if !view.hard
            && let Some(result) = self.inner.unchanged(identity, &view)?
        {
            return Ok(result);
        }
        let job = Arc::new(Job {
            application: view.application.to_owned(),
            namespace: view.namespace.to_owned(),
            project: view.project.to_owned(),
            kube_version: view.kube_version.to_owned(),
            api_versions: Arc::clone(view.api_versions),
            hard: view.hard,
            only_plain: view.only_plain,
            sources: view.sources.iter().map(|(source, ..)| (*source).clone()).collect(),
            repositories: view.sources.iter().map(|(_, repository, _)| (*repository).to_owned()).collect(),
            revisions: view.sources.iter().map(|(.., revision)| (*revision).to_owned()).collect(),
            trees: view.trees,
        });
        Arc::clone(&self.inner).render(job, identity).await
    }
}

impl Inner {
    /// A number for everything in a request but the commit.
    fn identity(&self, view: &View<'_>) -> u128 {
        let mut hash = Hashing(self.hashers.each_ref().map(BuildHasher::build_hasher));
        for text in [view.application, view.namespace, view.project, view.kube_version] {
            hash.text(text);
        }
        view.api_versions.iter().for_each(|version| hash.text(version));
        for (source, repository, _) in &view.sources {
            hash.text(repository);
            // Writing into a hash cannot fail.
            let _ = serde_json::to_writer(&mut hash, source);
        }
        hash.finish()
    }

    /// The last result, if nothing that it read has changed. Starts no program and reads no file.
    fn unchanged(&self, identity: u128, view: &View<'_>) -> Result<Option<Arc<Rendered>>, RenderError> {
        let memo = lock(&self.memos).get(&identity);
        let Some(memo) = memo.filter(|memo| memo.revisions.iter().all(|(source, at)| view.sources[*source].2 == at))
        else {
            return Ok(None);
        };
        if !memo.holds_for(&view.trees)? {
            return Ok(None);
        }
        Ok(self.cached(&memo.key, None))
    }

    /// A result from memory, as a cached one, with the inputs as they are now.
    fn cached(&self, key: &str, inputs: Option<&[Input]>) -> Option<Arc<Rendered>> {
        let found = lock(&self.results).get(&key.to_owned())?;
        let current = inputs.is_none_or(|inputs| found.inputs == inputs);
        if found.from_cache && current {
            return Some(found);
        }
        // Copied once, at its first use: from then on everybody shares it.
        let mut copy = (*found).clone();
        copy.from_cache = true;
        if let Some(inputs) = inputs {
            copy.inputs = inputs.to_vec();
        }
        let copy = Arc::new(copy);
        self.keep(&copy);
        Some(copy)
    }

    fn keep(&self, rendered: &Arc<Rendered>) {
        let weight = rendered.objects.iter().map(|object| weight(&object.0)).sum::<u64>() + 1_000;
        lock(&self.results).put(rendered.key.clone(), Arc::clone(rendered), weight);
    }

    async fn render(self: Arc<Self>, job: Arc<Job>, identity: u128) -> Result<Arc<Rendered>, RenderError> {
        let prepared = {
            let (inner, job) = (Arc::clone(&self), Arc::clone(&job));
            blocking(move || prepare_all(&job, &inner.workshop)).await?
        };
        if job.only_plain && prepared.iter().any(|source| !matches!(source.work, Work::Directory(_))) {
            return Err(RenderError::unsupported("a source that a program renders", "render it as a whole"));
        }
        let key = combined_key(prepared.iter().map(|p| p.key.as_str()));
        if !job.hard && prepared.iter().all(|p| p.traced) {
            let inputs = merged_inputs(prepared.iter().map(|p| &p.inputs));
            if let Some(found) = self.cached(&key, Some(&inputs)) {
                let used = prepared.iter().filter(|p| p.used_revision).map(|p| p.index).collect();
                self.remember(identity, &job, &found, used)?;
                return Ok(found);
            }
        }
        let parts = prepared.into_iter().map(|prepared| Arc::clone(&self).part(Arc::clone(&job), prepared));
        let parts = try_join_all(parts).await?;
        let traced = parts.iter().all(|part| part.traced);
        let used = parts.iter().filter_map(|part| part.used_revision).collect();
        let rendered = Arc::new(merge(parts, &job.namespace));
        self.limits.check_objects(rendered.objects.len())?;
        if traced {
            self.keep(&rendered);
            self.remember(identity, &job, &rendered, used)?;
        }
        Ok(rendered)
    }

    fn remember(&self, identity: u128, job: &Job, rendered: &Rendered, used: Vec<usize>) -> Result<(), RenderError> {
        let revisions = used.into_iter().map(|source| (source, job.revisions[source].clone())).collect();
        let memo = Memo::new(rendered, &job.trees, revisions)?;
        lock(&self.memos).put(identity, Arc::new(memo), 1);
        Ok(())
    }

    /// One source: from disk, or by parsing manifests, or by running its program.
    async fn part(self: Arc<Self>, job: Arc<Job>, prepared: Prepared) -> Result<Part, RenderError> {
        let remembered = if job.hard { None } else { self.failure(&prepared.key) };
        if let Some(error) = remembered {
            return Err(error);
        }
        let (key, traced) = (prepared.key.clone(), prepared.traced);
        let result = self.part_by_work(job, prepared).await;
        if let Err(error) = &result
            && traced
            && !error.is_transient()
        {
            lock(&self.failures).put(key, (Instant::now(), error.clone()), 1);
        }
        result
    }

    fn failure(&self, key: &str) -> Option<RenderError> {
        let (at, error) = lock(&self.failures).get(&key.to_owned())?;
        (at.elapsed() < FAILURE_LIFETIME).then_some(error)
    }

    async fn part_by_work(self: &Arc<Self>, job: Arc<Job>, prepared: Prepared) -> Result<Part, RenderError> {
        let Prepared { index, key, inputs, work, used_revision, traced } = prepared;
        let mut part = Part {
            source_type: work.source_type().as_str(),
            key,
            inputs,
            warnings: Vec::new(),
            objects: Vec::new(),
            from_cache: false,
            traced,
            used_revision: used_revision.then_some(index),
        };
        let work = match work {
            Work::Directory(files) => {
                let (tree, limits) = (Arc::clone(&job.trees[index]), self.limits);
                let place = self.parses.take(&job.project).await?;
                part.objects = while_wanted(move |wanted| {
                    // Memory is used until the work has ended, which may be after nobody waits for it any more.
                    let _place = place;
                    directory::parse(&tree, &files, &limits, wanted)
                })
                .await?;
                return Ok(part);
            }
            work => work,
        };
        if traced && !job.hard {
            let (inner, key) = (Arc::clone(self), part.key.clone());
            if let Some(stored) = blocking(move || Ok(inner.disk.get(&key))).await? {
                (part.objects, part.warnings, part.from_cache) = (stored.objects, stored.warnings, true);
                return Ok(part);
            }
        }
        // The place covers the scratch folder too, so that waiting renders do not fill it; and what runs with it is boxed, so
        // that waiting ones are small.
        let place = self.places.take(&job.project).await?;
        match work {
            Work::Kustomize(work) => {
                (part.objects, part.warnings) = Box::pin(self.kustomize(&job, index, work)).await?;
            }
            Work::Helm(work) => (part.objects, part.warnings) = Box::pin(self.helm(&job, index, work)).await?,
            Work::Directory(_) => {}
        }
        drop(place);
        if traced {
            self.store(&part);
        } else {
            part.key = content_key(&part.objects);
        }
        Ok(part)
    }

    async fn kustomize(
        self: &Arc<Self>,
        job: &Arc<Job>,
        index: usize,
        mut work: kustomize::Work,
    ) -> Result<(Vec<Object>, Vec<Warning>), RenderError> {
        let tool = self.workshop.kustomize.as_ref().map_err(Clone::clone)?;
        let (inner, tree) = (Arc::clone(self), Arc::clone(&job.trees[index]));
        let own_warnings = std::mem::take(&mut work.trace.warnings);
        let (scratch, work) = blocking(move || {
            let scratch = Scratch::new(&inner.scratch, &tree, work.trace.paths.iter().map(String::as_str))?;
            work.write_checked(&scratch.repository())
                .map_err(|e| RenderError::io("writing the kustomizations that were checked", e))?;
            Ok((scratch, work))
        })
        .await?;
        let (repository, home) = (scratch.repository(), scratch.home());
        let run = work.run(tool, &repository, &home, self.workshop.config.allow_network);
        let output = tool::run(run, &self.limits, &self.starts, &self.confinement).await?;
        if !output.success {
            let message = first_lines(scratch.readable(&output.stderr).trim_start_matches("Error: "), 8);
            let message = format!("{}{message}", kustomize::Work::advice(&message));
            return Err(RenderError::Tool { tool: "kustomize", message });
        }
        let (objects, mut warnings) = self.parse_output("kustomize", output, scratch).await?;
        warnings.splice(0..0, own_warnings);
        Ok((objects, warnings))
    }

    async fn helm(
        self: &Arc<Self>,
        job: &Arc<Job>,
        index: usize,
        work: helm::Work,
    ) -> Result<(Vec<Object>, Vec<Warning>), RenderError> {
        let tool = self.workshop.helm.as_ref().map_err(Clone::clone)?;
        let (inner, job) = (Arc::clone(self), Arc::clone(job));
        let (scratch, work) = blocking(move || {
            let scratch = Scratch::new(&inner.scratch, &job.trees[index], work.paths.iter().map(String::as_str))?;
            let failed = |e| RenderError::io("completing the chart", e);
            work.copy_dependencies(&scratch.repository()).map_err(failed)?;
            work.write_files(&job.trees, &scratch.home())?;
            Ok((scratch, work))
        })
        .await?;
        let (repository, home) = (scratch.repository(), scratch.home());
        let network = self.workshop.config.allow_network;
        let mut runs = Vec::new();
        if work.fetch {
            runs.push(work.fetch(tool, &repository, &home));
        }
        runs.push(work.run(tool, &repository, &home, network));
        let mut last = None;
        for run in runs {
            let output = tool::run(run, &self.limits, &self.starts, &self.confinement).await?;
            if !output.success {
                let message = scratch.readable(&work.readable(&output.stderr, &home));
                let message = first_lines(message.trim_start_matches("Error: "), 8);
                return Err(RenderError::Tool { tool: "helm", message });
            }
            last = Some(output);
        }
        let Some(output) = last else { return Ok((Vec::new(), Vec::new())) };
        self.parse_output("helm", output, scratch).await
    }

    async fn parse_output(
        self: &Arc<Self>,
        tool: &'static str,
        output: Output,
        scratch: Scratch,
    ) -> Result<(Vec<Object>, Vec<Warning>), RenderError> {
        let limits = self.limits;
        while_wanted(move |wanted| {
            // Removing the scratch folder takes a moment, too: not on an asynchronous thread.
            drop(scratch);
            parse_output(tool, &output.stdout, &limits, wanted)
        })
        .await
    }

    fn store(self: &Arc<Self>, part: &Part) {
        let stored = Stored { warnings: part.warnings.clone(), objects: part.objects.clone() };
        let (inner, key) = (Arc::clone(self), part.key.clone());
        let mut writes = lock(&self.writes);
        while writes.try_join_next().is_some() {}
        writes.spawn_blocking(move || {
            if let Err(error) = inner.disk.put(&key, &stored) {
                tracing::warn!(%error, "a render could not be written to the cache; it will be rendered again after a restart");
            }
        });
    }
}

impl Memo {
    fn new(rendered: &Rendered, trees: &[SharedTree], revisions: Vec<(usize, String)>) -> Result<Self, RenderError> {
        let id = |source: usize, path: &str| Ok(trees[source].entry(path)?.map(|entry| entry.id));
        let mut by_folder: IndexMap<(usize, &str), Vec<Input>> = IndexMap::new();
        for input in &rendered.inputs {
            by_folder.entry((input.source, parent(&input.path))).or_default().push(input.clone());
        }
        let folders: Result<Vec<Folder>, RenderError> = by_folder
            .into_iter()
            .map(|((source, path), inputs)| Ok(Folder { source, path: path.into(), id: id(source, path)?, inputs }))
            .collect();
        let roots: Result<Vec<_>, RenderError> = (0..trees.len()).map(|source| id(source, "")).collect();
        Ok(Self { key: rendered.key.clone(), roots: roots?, folders: folders?, revisions })
    }

    fn holds_for(&self, trees: &[SharedTree]) -> Result<bool, RenderError> {
        let same = |source: usize, path: &str, id: &Option<String>| -> Result<bool, RenderError> {
            Ok(trees[source].entry(path)?.map(|entry| entry.id) == *id)
        };
        let mut all = self.roots.len() == trees.len();
        for (source, id) in self.roots.iter().enumerate() {
            all = all && same(source, "", id)?;
        }
        if all {
            return Ok(true);
        }
        for folder in &self.folders {
            if folder.id.is_some() && same(folder.source, &folder.path, &folder.id)? {
                continue;
            }
            for input in &folder.inputs {
                if !same(input.source, &input.path, &input.id)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Two independent keyed hashes: nobody can aim at a collision of both.
struct Hashing([std::hash::DefaultHasher; 2]);

impl Hashing {
    fn text(&mut self, text: &str) {
        self.0.iter_mut().for_each(|hasher| {
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        });
    }

    fn finish(&self) -> u128 {
        (u128::from(self.0[0].finish()) << 64) | u128::from(self.0[1].finish())
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.iter_mut().for_each(|hasher| hasher.write(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RenderError> + Send + 'static,
) -> Result<T, RenderError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(RenderError::io("rendering", error)))
}

/// Runs work that ends soon after nobody waits for it any more.
async fn while_wanted<T: Send + 'static>(
    work: impl FnOnce(Wanted) -> Result<T, RenderError> + Send + 'static,
) -> Result<T, RenderError> {
    let asker = Asker::default();
    let wanted = asker.wanted();
    blocking(move || work(wanted)).await
}

fn combined_key<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let keys: Vec<&str> = keys.collect();
    if let [one] = keys.as_slice() {
        return (*one).to_owned();
    }
    let mut key = Key::new("several");
    key.add(keys);
    key.finish()
}

/// The key of a result whose inputs are not all known: the result itself.
fn content_key(objects: &[Object]) -> String {
    let mut key = Key::new("content");
    for object in objects {
        key.add([object.0.to_string().as_str()]);
    }
    key.finish()
}

fn merged_inputs<'a>(parts: impl Iterator<Item = &'a Vec<Input>>) -> Vec<Input> {
    let mut inputs: Vec<Input> = parts.flatten().cloned().collect();
    inputs.sort_by(|a, b| (a.source, &a.path).cmp(&(b.source, &b.path)));
    inputs.dedup();
    inputs
}

/// Puts the sources' objects together. Of an object that occurs several times, the last one stays.
fn merge(parts: Vec<Part>, namespace: &str) -> Rendered {
    let key = combined_key(parts.iter().map(|part| part.key.as_str()));
    let inputs = merged_inputs(parts.iter().map(|part| &part.inputs));
    let from_cache = !parts.is_empty() && parts.iter().all(|part| part.from_cache);
    let source_types = parts.iter().map(|part| part.source_type.to_owned()).collect();
    let mut warnings = Vec::new();
    let mut last: IndexMap<ObjectKey, (usize, u32)> = IndexMap::new();
    let mut objects: Vec<Option<Object>> = Vec::new();
    for part in parts {
        warnings.extend(part.warnings);
        for object in part.objects {
            if !object.name().is_empty() {
                let mut key = object.key();
                if key.namespace.is_empty() {
                    key.namespace = namespace.to_owned();
                }
                let seen = last.entry(key).or_insert((objects.len(), 0));
                seen.1 += 1;
                if seen.1 > 1 {
                    objects[seen.0] = None;
                    seen.0 = objects.len();
                }
            }
            objects.push(Some(object));
        }
    }
    for (object, (_, count)) in last.iter().filter(|(_, (_, count))| *count > 1) {
        warnings.push(Warning {
            kind: "RepeatedResourceWarning".into(),
            message: format!("{object} occurs {count} times in the sources of this application; the last one is used"),
        });
    }
    Rendered { objects: objects.into_iter().flatten().collect(), inputs, key, from_cache, warnings, source_types }
}

/// Parses what a program printed. A repeated key in a chart is a warning: people cannot mend the charts of others.
fn parse_output(
    tool: &'static str,
    output: &[u8],
    limits: &Limits,
    wanted: Wanted,
) -> Result<(Vec<Object>, Vec<Warning>), RenderError> {
    let whole = |message: &str| RenderError::Yaml {
        path: format!("the output of {tool}"),
        document: 1,
        line: 0,
        message: message.into(),
    };
    let text = std::str::from_utf8(output).map_err(|_| whole("it is not UTF-8 text"))?;
    let allowance = Allowance::new(wanted, limits);
    let stop = || allowance.is_over();
    let mut budget = allowance.budget(&stop);
    let (mut objects, mut warnings) = (Vec::new(), Vec::new());
    for document in yaml::documents(text) {
        allowance.check()?;
        let template = document.text.lines().take(3).find_map(|line| line.strip_prefix("# Source: "));
        let place = || match template {
            Some(template) => format!("the output of {tool} for {}", template.trim()),
            None => format!("the output of {tool}"),
        };
        let value = match yaml::parse(&document, Duplicates::Refuse, &mut budget) {
            Err(fault) if fault.cause == yaml::Cause::DuplicateKey && tool == "helm" => {
                let message = format!("{}: {}; the last one is used", place(), first_lines(&fault.message, 1));
                warnings.push(Warning { kind: "RepeatedKeyWarning".into(), message });
                yaml::parse(&document, Duplicates::LastWins, &mut budget)
            }
            parsed => parsed,
        };
        let value = value.map_err(|fault| allowance.error(place(), fault))?;
        collect(value, &mut objects).map_err(|message| RenderError::Yaml {
            path: place(),
            document: document.number,
            line: document.first_line,
            message,
        })?;
        limits.check_objects(objects.len())?;
    }
    Ok((objects, warnings))
}

/// About how much a value counts in the cache.
fn weight(value: &Value) -> u64 {
    32 + match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| 48 + name.len() as u64 + weight(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "renderer_tests.rs"]
mod tests;
