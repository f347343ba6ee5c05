//! From paths to objects, on one side: what a path renders to, and the Applications among it as their own settings say.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use engine::nulls;
use futures::{StreamExt as _, TryStreamExt as _};
use git::{EntryKind, RepositoryKey, RepositoryUrl};
use render::{RenderRequest, Renderer, SourceAt};
use resources::{Application, ApplicationSource, Object, ObjectKey, SecretValues};

use super::checkout::{Checkout, Fixed, Side};
use super::names;

/// Renders that are prepared at the same time; the renderer itself says how many programs run.
const PARALLEL: usize = 16;
/// The largest file with manifests.
const MAX_FILE_BYTES: u64 = 64 << 20;
const CHART: &str = "Chart.yaml";
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const GROUP: &str = "argoproj.io";

/// What is rendered together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A folder or file, from the root of the repository.
    Path(String),
    /// An Application, as NAMESPACE/NAME or NAME, and with more where that is not enough ([`names`]).
    Application(String),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) if path.is_empty() => f.write_str("."),
            Self::Path(path) => f.write_str(path),
            Self::Application(name) => write!(f, "application {name}"),
        }
    }
}

/// What identifies an object of a unit. One without a name has its `generateName` and an asterisk, and its place among its like.
pub type Key = (ObjectKey, usize);

/// What one side has.
#[derive(Debug, Default, PartialEq)]
pub struct Rendered {
    /// The objects.
    pub units: BTreeMap<Unit, BTreeMap<Key, Object>>,
    /// Paths that are not there.
    pub absent: BTreeSet<String>,
    /// What is left out, as sentences.
    pub notes: BTreeSet<String>,
    /// The Applications among the units: name, and name as the unit has it.
    pub applications: BTreeSet<(String, String)>,
}

/// With what it is rendered.
pub struct Bench {
    /// The repository.
    pub checkout: Checkout,
    /// The renderer.
    pub renderer: Renderer,
    /// The addresses of this repository, by which sources are known to be in it.
    pub own: Vec<RepositoryKey>,
    /// One of them, as sources may show it.
    pub url: String,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Read plain manifests in folders below, too.
    pub recurse: bool,
    /// Version of the clusters.
    pub kube_version: String,
    /// What they serve.
    pub api_versions: Arc<[String]>,
}

enum Work {
    Folder(String),
    File(String),
    Application(Box<Application>),
}

impl Bench {
    /// Renders paths and the Applications that they lead to.
    pub async fn render(&self, side: &Side, paths: &[String]) -> anyhow::Result<Rendered> {
        let mut done = Rendered::default();
        let mut works = Vec::new();
        for path in paths {
            match work_of(side, path)? {
                Some(work) => works.push((Unit::Path(path.clone()), work)),
                None => drop(done.absent.insert(path.clone())),
            }
        }
        let mut found = Applications::default();
        while !works.is_empty() {
            let rendering = works.drain(..).map(|(unit, work)| async move {
                let objects = self.objects(side, &unit, &work).await;
                let objects = objects.with_context(|| format!("cannot render {unit} at {side}"))?;
                anyhow::Ok((unit, work, objects))
            });
            let rendered: Vec<_> = futures::stream::iter(rendering).buffered(PARALLEL).try_collect().await?;
            for (unit, work, (objects, notes)) in rendered {
                done.notes.extend(notes);
                let Some(objects) = objects else { continue };
                for object in objects.iter().filter(|object| object.group() == GROUP) {
                    match object.kind() {
                        "Application" => works.extend(found.add(object, &unit, side)?),
                        "ApplicationSet" => {
                            let key = object.key();
                            done.notes.insert(format!("{key} is compared itself; what it makes is not expanded"));
                        }
                        _ => {}
                    }
                }
                let namespace = match &work {
                    Work::Application(application) => &application.spec.destination.namespace,
                    Work::Folder(_) | Work::File(_) => &self.namespace,
                };
                done.units.insert(unit, by_key(objects, namespace));
            }
        }
        done.applications = found.names;
        Ok(done)
    }

    /// The objects of a unit, none if it is left out; and what to say about it.
    async fn objects(
        &self,
        side: &Side,
        unit: &Unit,
        work: &Work,
    ) -> anyhow::Result<(Option<Vec<Object>>, Vec<String>)> {
        let (request, mut notes) = match work {
            Work::File(path) => return Ok((Some(read(side, path)?), Vec::new())),
            Work::Folder(path) => (self.folder(side, path)?, Vec::new()),
            Work::Application(application) => {
                let (request, notes) = self.application(side, unit, application).await?;
                let Some(request) = request else { return Ok((None, notes)) };
                (request, notes)
            }
        };
        let rendered = match self.renderer.render(&request).await {
            Ok(rendered) => rendered,
            Err(error) => {
                // What a chart is given may be a password, and what fails may quote it.
                let given = SecretValues::of_sources(request.sources.iter().map(|source| &source.source));
                bail!("{}", given.mask(&format!("{:#}", anyhow::Error::from(error))));
            }
        };
        notes.extend(rendered.warnings.iter().map(|warning| format!("{unit}: {}", warning.message)));
        Ok((Some(rendered.objects.clone()), notes))
    }

    fn request(&self, application: &str, namespace: &str, sources: Vec<SourceAt>) -> RenderRequest {
        RenderRequest {
            application: application.to_owned(),
            namespace: namespace.to_owned(),
            project: "default".into(),
            sources,
            kube_version: self.kube_version.clone(),
            api_versions: Arc::clone(&self.api_versions),
            hard: false,
            only_plain: false,
        }
    }

    fn folder(&self, side: &Side, path: &str) -> anyhow::Result<RenderRequest> {
        let mut source =
            ApplicationSource { repo_url: self.url.clone(), path: path.to_owned(), ..ApplicationSource::default() };
        if self.recurse && !holds_any(side, path, KUSTOMIZATIONS.iter().chain([&CHART]))? {
            source.directory = Some(Box::new(resources::Directory { recurse: true, ..Default::default() }));
        }
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("lockstep");
        let at =
            SourceAt { source, repository: self.url.clone(), revision: "HEAD".into(), snapshot: side.snapshot.clone() };
        Ok(self.request(name, &self.namespace, vec![at]))
    }

    async fn application(
        &self,
        side: &Side,
        unit: &Unit,
        application: &Application,
    ) -> anyhow::Result<(Option<RenderRequest>, Vec<String>)> {
        let (sources, mut notes) = own_sources(unit, &application.sources(), &self.own);
        let mut at = Vec::with_capacity(sources.len());
        for source in sources {
            let snapshot = match self.checkout.fixed(&source.target_revision).await? {
                Fixed::Follows => side.snapshot.clone(),
                Fixed::At(snapshot) => snapshot,
                Fixed::Missing => {
                    let revision = source.revision();
                    notes
                        .push(format!("{unit} is left out: it stays at {revision}, which is not here; fetch it first"));
                    return Ok((None, notes));
                }
            };
            // As the worker says it: what a source is told of its revision is what it asked for, the same on both sides.
            let revision = source.revision().to_owned();
            at.push(SourceAt { source: source.clone(), repository: source.repo_url.clone(), revision, snapshot });
        }
        if at.iter().all(|at| at.source.is_ref_only()) {
            return Ok((None, notes));
        }
        let spec = &application.spec;
        let mut request = self.request(application.name(), &spec.destination.namespace, at);
        request.project = spec.project().to_owned();
        Ok((Some(request), notes))
    }
}

/// What there is to do for a path; nothing if it is not there.
fn work_of(side: &Side, path: &str) -> anyhow::Result<Option<Work>> {
    let Some((_, entry)) = side.snapshot.follow(path).with_context(|| format!("cannot read {side}"))? else {
        return Ok(None);
    };
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(Some(match entry.kind {
        EntryKind::Tree => Work::Folder(path.to_owned()),
        EntryKind::Submodule => bail!("{path} is a submodule at {side}; run lockstep diff in it"),
        // What people have changed in a kustomization or a chart is what it renders to.
        _ if name == CHART || KUSTOMIZATIONS.contains(&name) => Work::Folder(folder.to_owned()),
        _ => Work::File(path.to_owned()),
    }))
}

fn holds_any<'n>(side: &Side, folder: &str, names: impl Iterator<Item = &'n &'n str>) -> anyhow::Result<bool> {
    for name in names {
        let path = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
        if side.snapshot.entry(&path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(side: &Side, path: &str) -> anyhow::Result<Vec<Object>> {
    let bytes = side.snapshot.read(path, MAX_FILE_BYTES)?;
    let text = std::str::from_utf8(&bytes).context("it is not UTF-8 text")?;
    Ok(render::objects(text)?)
}

/// The Applications of one side, each once however often it is come upon.
#[derive(Default)]
struct Applications {
    /// By name, and then the very same manifest: it is found by two paths.
    known: HashMap<String, Vec<Object>>,
    names: BTreeSet<(String, String)>,
}

impl Applications {
    fn add(&mut self, object: &Object, found_in: &Unit, side: &Side) -> anyhow::Result<Option<(Unit, Work)>> {
        let key = object.key();
        let name = if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) };
        let known = self.known.entry(name.clone()).or_default();
        if known.contains(object) {
            return Ok(None);
        }
        known.push(object.clone());
        let parsed = Application::parse(object.0.clone())
            .map_err(|invalid| anyhow!("application {name} of {found_in} is not valid at {side}: {invalid}"))?;
        let whole = names::whole(&name, &parsed.spec.destination, found_in);
        let mut number = 0;
        let whole = loop {
            let whole = names::numbered(&whole, number);
            if self.names.insert((name.clone(), whole.clone())) {
                break whole;
            }
            number += 1;
        };
        Ok(Some((Unit::Application(whole), Work::Application(Box::new(parsed)))))
    }
}

/// The sources that are in this repository and need no other one, and what is said of the others.
fn own_sources<'s>(
    unit: &Unit,
    sources: &[&'s ApplicationSource],
    own: &[RepositoryKey],
) -> (Vec<&'s ApplicationSource>, Vec<String>) {
    let url = |source: &ApplicationSource| RepositoryUrl::parse(&source.repo_url).ok();
    let is_own =
        |source: &ApplicationSource| !source.is_chart() && url(source).is_some_and(|url| own.contains(&url.key()));
    let whose = |source: &ApplicationSource| match url(source) {
        Some(url) => url.to_string(),
        None => "no Git repository".into(),
    };
    let lent: HashSet<&str> =
        sources.iter().filter(|source| is_own(source)).map(|source| source.r#ref.as_str()).collect();
    let lacking = |source: &'s ApplicationSource| references(source).find(|name| !lent.contains(name));
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for (number, &source) in sources.iter().enumerate() {
        let why = if !is_own(source) {
            format!("of another repository ({})", whose(source))
        } else if let Some(name) = lacking(source) {
            format!("it takes files of ${name}, which is another repository")
        } else {
            kept.push(source);
            continue;
        };
        left.push((number, why));
    }
    let renders = kept.iter().any(|source| !source.is_ref_only());
    let notes = match (renders, left.as_slice()) {
        (false, []) => vec![format!("{unit} is left out: it has no source to render")],
        (false, [(_, why), ..]) => vec![format!("{unit} is left out: {why}")],
        (true, left) => {
            let note = |(number, why): &(usize, String)| format!("source {} of {unit} is left out: {why}", number + 1);
            left.iter().map(note).collect()
        }
    };
    (kept, notes)
}

/// The other sources that a source takes files of, by their names.
fn references(source: &ApplicationSource) -> impl Iterator<Item = &str> {
    let helm = source.helm.as_deref();
    let files = helm
        .into_iter()
        .flat_map(|helm| helm.value_files.iter().chain(helm.file_parameters.iter().map(|parameter| &parameter.path)));
    // `$ARGOCD_APP_NAME/…` and the like are variables.
    files
        .filter_map(|file| file.strip_prefix('$')?.split_once('/').map(|(name, _)| name))
        .filter(|name| !name.starts_with("ARGOCD_") && !name.starts_with('{'))
}

fn is_application(object: &Object) -> bool {
    object.group() == GROUP && object.kind() == "Application"
}

fn by_key(objects: Vec<Object>, namespace: &str) -> BTreeMap<Key, Object> {
    let text =
        |object: &Object, pointer: &str| object.at(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let definitions: HashSet<(String, String)> = objects
        .iter()
        .filter(|object| object.kind() == "CustomResourceDefinition" && text(object, "/spec/scope") == "Cluster")
        .map(|object| (text(object, "/spec/group"), text(object, "/spec/names/kind")))
        .collect();
    let mut found = BTreeMap::new();
    let schemas: Vec<Object> = objects.iter().filter(|object| object.defines().is_some()).cloned().collect();
    for mut object in objects {
        let brought = schemas.iter().find(|definition| definition.defines() == Some((object.group(), object.kind())));
        let schema = brought.and_then(|definition| nulls::schema_of(definition, object.version()));
        nulls::drop_nulls(&mut object, schema);
        let mut key = object.key();
        let cluster =
            is_cluster_scoped(&key.group, &key.kind) || definitions.contains(&(key.group.clone(), key.kind.clone()));
        if cluster {
            key.namespace.clear();
        } else if key.namespace.is_empty() {
            namespace.clone_into(&mut key.namespace);
        }
        let mut number = 0;
        if key.name.is_empty() {
            key.name = text(&object, "/metadata/generateName") + "*";
        }
        // Of an object that occurs several times, the last one counts. Applications of one name are for several clusters.
        if key.name.ends_with('*') || is_application(&object) {
            number = found.range((key.clone(), 0)..=(key.clone(), usize::MAX)).count();
        }
        found.insert((key, number), object);
    }
    found
}

/// Kinds of Kubernetes itself that are in no namespace. What a cluster makes of others, only its definitions say.
fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    engine::kinds::is_builtin_group(group)
        && matches!(
            kind,
            "Namespace"
                | "Node"
                | "PersistentVolume"
                | "ClusterRole"
                | "ClusterRoleBinding"
                | "CustomResourceDefinition"
                | "APIService"
                | "StorageClass"
                | "CSIDriver"
                | "CSINode"
                | "VolumeAttachment"
                | "VolumeAttributesClass"
                | "IngressClass"
                | "IPAddress"
                | "ServiceCIDR"
                | "PriorityClass"
                | "RuntimeClass"
                | "PodSecurityPolicy"
                | "MutatingWebhookConfiguration"
                | "ValidatingWebhookConfiguration"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "CertificateSigningRequest"
                | "ClusterTrustBundle"
                | "FlowSchema"
                | "PriorityLevelConfiguration"
                | "DeviceClass"
                | "ResourceSlice"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(value: serde_json::Value) -> ApplicationSource {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn sources_of_this_repository() {
        let own = [RepositoryUrl::parse("https://forge.example/acme/gitops.git").unwrap().key()];
        let unit = Unit::Application("web".into());
        let here = || json!({"repoURL": "git@forge.example:acme/gitops", "path": "apps/web"});
        let with = |files: &[&str]| {
            let mut source = here();
            source["helm"] = json!({"valueFiles": files});
            source
        };
        let elsewhere = json!({"repoURL": "https://user:token@forge.example/acme/other", "path": "a"});
        let chart = json!({"repoURL": "https://charts.example/stable", "chart": "redis"});
        let lender = json!({"repoURL": "https://forge.example/acme/gitops", "ref": "values"});
        for (sources, wanted, notes) in [
            (vec![here()], vec![0], vec![]),
            (
                vec![elsewhere.clone()],
                vec![],
                vec!["application web is left out: of another repository (https://forge.example/acme/other)"],
            ),
            (
                vec![chart.clone(), here()],
                vec![1],
                vec!["source 1 of application web is left out: of another repository (https://charts.example/stable)"],
            ),
            (vec![with(&["$values/a.yaml", "b.yaml"]), lender.clone()], vec![0, 1], vec![]),
            (
                vec![with(&["$values/a.yaml"]), here()],
                vec![1],
                vec!["source 1 of application web is left out: it takes files of $values, which is another repository"],
            ),
            (vec![with(&["$ARGOCD_APP_NAME/a.yaml"])], vec![0], vec![]),
            (
                vec![chart, lender],
                vec![1],
                vec!["application web is left out: of another repository (https://charts.example/stable)"],
            ),
            (vec![], vec![], vec!["application web is left out: it has no source to render"]),
        ] {
            let sources: Vec<ApplicationSource> = sources.into_iter().map(source).collect();
            let all: Vec<&ApplicationSource> = sources.iter().collect();
            let (kept, said) = own_sources(&unit, &all, &own);
            let kept: Vec<usize> = kept.iter().map(|kept| all.iter().position(|one| one == kept).unwrap()).collect();
            assert_eq!((kept, said), (wanted, notes.into_iter().map(str::to_owned).collect()), "{sources:?}");
        }
    }

    #[test]
    fn what_identifies_an_object() {
        let object = |kind: &str, metadata: serde_json::Value| {
            let (api, kind) = kind.rsplit_once('/').unwrap();
            Object(json!({"apiVersion": api, "kind": kind, "metadata": metadata}))
        };
        let mut definition = object("apiextensions.k8s.io/v1/CustomResourceDefinition", json!({"name": "d"}));
        definition.0["spec"] = json!({"scope": "Cluster", "group": "example.com", "names": {"kind": "Wide"}});
        let objects = vec![
            object("v1/Service", json!({"name": "a"})),
            object("v1/Service", json!({"name": "b", "namespace": "other"})),
            object("v1/Namespace", json!({"name": "dev"})),
            object("example.com/v1/Wide", json!({"name": "w"})),
            object("example.com/v1/Narrow", json!({"name": "n"})),
            object("batch/v1/Job", json!({"generateName": "migrate-"})),
            object("batch/v1/Job", json!({"generateName": "migrate-"})),
            object("v1/Service", json!({"name": "a", "namespace": "dev", "labels": {"last": "counts"}})),
            definition,
        ];
        let found = by_key(objects, "dev");
        let keys: Vec<String> = found.keys().map(|(key, number)| format!("{key} {number}")).collect();
        assert_eq!(
            keys,
            [
                "Namespace dev 0",
                "Service dev/a 0",
                "Service other/b 0",
                "apiextensions.k8s.io/CustomResourceDefinition d 0",
                "batch/Job dev/migrate-* 0",
                "batch/Job dev/migrate-* 1",
                "example.com/Narrow dev/n 0",
                "example.com/Wide w 0",
            ]
        );
        let service = &found[&(ObjectKey::new("", "Service", "dev", "a"), 0)];
        assert_eq!(service.label("last"), Some("counts"));
    }
}
