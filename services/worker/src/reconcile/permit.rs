//! What has to be known before a repository is contacted, a commit is looked into or an object is touched: whether the project
//! permits it, and whether the commits carry the signatures that it wants.
//!
//! [`Permitted`] and [`Signed`] can be made here and nowhere else. Whoever fetches, polls, renders or deletes for an application
//! has to hold them, so there is no way around the project.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::project::{Target, application_violations, source_permitted};
use engine::signatures::{Mode, Signature, signature_permitted, signature_policy};
use git::{Commit, GitError, Keys, Revision};
use resources::{AppProject, Application, ApplicationSource, Destination, ObjectKey};

use super::Stop;
use super::resolve::Resolved;
use crate::Context;
use crate::index::Tracked;

/// An application whose project exists and permits its namespace, its destination and each of its sources.
#[derive(Clone, Debug)]
pub struct Permitted {
    project: Arc<AppProject>,
    sources: Vec<ApplicationSource>,
    /// What its spec follows, also while it is pinned to something else.
    followed: Vec<ApplicationSource>,
}

/// Resolved sources, whose commits carry the signatures that the project wants.
#[derive(Debug)]
pub struct Signed(Vec<Resolved>);

impl Permitted {
    /// The project.
    pub fn project(&self) -> &AppProject {
        &self.project
    }

    /// The sources that are to be synced, in their order: those of an operation or a pin, if it has one.
    pub fn sources(&self) -> &[ApplicationSource] {
        &self.sources
    }

    /// The sources of the application's spec, also while it is pinned to others.
    pub fn followed(&self) -> &[ApplicationSource] {
        &self.followed
    }

    /// The places in Git that the application's spec follows, also while it is pinned. A source whose address cannot be read has none; resolving it says why.
    pub fn places(&self) -> Vec<Tracked> {
        let project = self.project.name();
        self.followed.iter().filter_map(|source| super::resolve::tracked(project, source).ok()).collect()
    }
}

impl Signed {
    /// The sources, in their order.
    pub fn sources(&self) -> &[Resolved] {
        &self.0
    }
}

/// Asks the application's project. A repository that it does not permit is not contacted, whatever names it.
pub fn permitted(ctx: &Context, application: &Application) -> Result<Permitted, Stop> {
    let project = project_of(ctx, application)?;
    let mut violations = application_violations(&project, application, &target(ctx, application), ctx.namespace());
    // An operation and a pin may bring sources of their own.
    let sources = super::plan::sources(application);
    violations.extend(sources.iter().filter_map(|source| source_permitted(&project, &source.repo_url).err()));
    let mut sentences: Vec<String> = Vec::new();
    for violation in violations {
        if !sentences.contains(&violation.message) {
            sentences.push(violation.message);
        }
    }
    let followed = application.sources().into_iter().cloned().collect();
    if sentences.is_empty() {
        Ok(Permitted { project, sources, followed })
    } else {
        Err(Stop::invalid(sentences.join("; ")))
    }
}

/// The application's project, whatever it permits.
pub fn project_of(ctx: &Context, application: &Application) -> Result<Arc<AppProject>, Stop> {
    let name = application.spec.project();
    ctx.projects.get(name).ok_or_else(|| {
        Stop::invalid(format!(
            "project {name} does not exist: create the AppProject {name} in namespace {}, or correct spec.project",
            ctx.namespace()
        ))
    })
}

/// Every name of this worker's cluster.
pub fn target(ctx: &Context, application: &Application) -> Target {
    Target::of(&application.spec.destination).with(
        &[ctx.cluster.server(), Destination::IN_CLUSTER_SERVER],
        &[ctx.cluster_name(), Destination::IN_CLUSTER_NAME],
    )
}

/// Whether the commits carry the signatures that the project wants. Asked before anything of them is rendered.
pub async fn signed(
    ctx: &Context,
    permitted: &Permitted,
    application: &Application,
    resolved: Vec<Resolved>,
) -> Result<Signed, Stop> {
    for source in &resolved {
        let address = source.tracked.remote.to_string();
        let project = permitted.project();
        let policy = signature_policy(project, &address).map_err(|violation| Stop::invalid(violation.message))?;
        let last = application.status.as_ref().and_then(|status| status.history.last());
        let last = last.and_then(|last| Commit::parse(&last.revision).ok());
        let since = if policy.mode == Mode::Strict { Some(last) } else { None };
        if policy.mode != Mode::None {
            verify(ctx, project, (&source.tracked, &source.commit), &address, since).await?;
        }
    }
    Ok(Signed(resolved))
}

/// A place that the generators of an ApplicationSet may read: the project of its Applications permits the repository. A set whose
/// project is only known once the template is filled in reads as nobody in particular; each of its Applications is asked for itself.
#[derive(Clone, Debug)]
pub struct Readable(Tracked);

impl Readable {
    /// The place.
    pub fn place(&self) -> &Tracked {
        &self.0
    }
}

/// Asks the project for which a generator reads.
pub fn readable(ctx: &Context, place: Tracked) -> Result<Readable, Stop> {
    if let Some(project) = reading_for(ctx, &place)? {
        let address = place.remote.url.to_string();
        source_permitted(&project, &address).map_err(|violation| Stop::invalid(violation.message))?;
    }
    Ok(Readable(place))
}

/// Whether a generator may read this commit: its own signature counts, as of a revision that somebody else has let in.
pub async fn readable_at(ctx: &Context, readable: &Readable, commit: &Commit) -> Result<(), Stop> {
    let place = readable.place();
    let Some(project) = reading_for(ctx, place)? else { return Ok(()) };
    let address = place.remote.url.to_string();
    let policy = signature_policy(&project, &address).map_err(|violation| Stop::invalid(violation.message))?;
    if policy.mode == Mode::None { Ok(()) } else { verify(ctx, &project, (place, commit), &address, None).await }
}

fn reading_for(ctx: &Context, place: &Tracked) -> Result<Option<Arc<AppProject>>, Stop> {
    let Some(name) = &place.remote.project else { return Ok(None) };
    let missing = || {
        Stop::invalid(format!(
            "project {name} does not exist, and the ApplicationSet reads on its behalf: create the AppProject {name} in namespace {}, \
             or correct spec.template.spec.project",
            ctx.namespace()
        ))
    };
    ctx.projects.get(name).map(Some).ok_or_else(missing)
}

/// `since`: all commits after this one have to be signed, or all there are; `None`: the commit alone.
async fn verify(
    ctx: &Context,
    project: &AppProject,
    (place, head): (&Tracked, &Commit),
    address: &str,
    since: Option<Option<Commit>>,
) -> Result<(), Stop> {
    let keys = keys(ctx).await?;
    let repository = ctx.git.repository(&place.remote);
    let failed = |error: GitError| {
        if error.is_transient() { Stop::Later(error.to_string()) } else { Stop::comparison(error.to_string()) }
    };
    let permitted = |commit: &Commit, signature: &git::Signature| {
        // A policy may name the main key or the subkey.
        let mut answers = verdicts(signature)
            .into_iter()
            .map(|verdict| signature_permitted(project, address, commit.as_ref(), &verdict));
        let first =
            answers.next().unwrap_or_else(|| signature_permitted(project, address, commit.as_ref(), &Signature::Bad));
        first.or_else(|first| if answers.any(|answer| answer.is_ok()) { Ok(()) } else { Err(first) })
    };
    let refused: Vec<(Commit, git::Signature)> = if let Some(last) = since {
        let trusted = |signature: &git::Signature| permitted(head, signature).is_ok();
        repository.verify_range(last.as_ref(), head, &keys, trusted).await.map_err(failed)?.refused
    } else {
        let revision = Revision::parse(&place.revision).map_err(failed)?;
        let signature = repository.verify_revision(&revision, head, &keys).await.map_err(failed)?;
        vec![(head.clone(), signature)]
    };
    for (commit, signature) in &refused {
        permitted(commit, signature).map_err(|violation| Stop::invalid(violation.message))?;
    }
    Ok(())
}

/// A good signature counts by each name of its key.
fn verdicts(signature: &git::Signature) -> Vec<Signature> {
    match signature {
        git::Signature::None => vec![Signature::None],
        git::Signature::Good { .. } => {
            signature.good_keys().map(|key| Signature::Good { key: key.to_owned() }).collect()
        }
        git::Signature::UnknownKey { key } => vec![Signature::UnknownKey { key: key.clone() }],
        git::Signature::Bad { .. } | git::Signature::Expired { .. } | git::Signature::Revoked { .. } => {
            vec![Signature::Bad]
        }
    }
}

/// The keys that signatures are verified with: GPG keys where Argo CD keeps them, and SSH keys beside them.
async fn keys(ctx: &Context) -> Result<Keys, Stop> {
    let data = async |name: &str| -> Result<BTreeMap<String, String>, Stop> {
        let key = ObjectKey::new("", "ConfigMap", ctx.namespace(), name);
        let object = ctx.cluster.get(&key).await?;
        let data = object.as_ref().and_then(|object| object.at("/data")).and_then(|data| data.as_object());
        let texts = data.into_iter().flatten();
        Ok(texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect())
    };
    let told = |error: GitError| Stop::comparison(error.to_string());
    Keys::from_config_map(data(Keys::GPG_CONFIG_MAP).await?)
        .map_err(told)?
        .with_ssh(data(Keys::SSH_CONFIG_MAP).await?)
        .map_err(told)
}
