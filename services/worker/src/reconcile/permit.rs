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
}

/// Resolved sources, whose commits carry the signatures that the project wants.
#[derive(Debug)]
pub struct Signed(Vec<Resolved>);

impl Permitted {
    /// The project.
    pub fn project(&self) -> &AppProject {
        &self.project
    }

    /// The sources that the application follows, in their order: those of an operation or a pin, if it has one.
    pub fn sources(&self) -> &[ApplicationSource] {
        &self.sources
    }

    /// The places in Git that the application follows. A source whose address cannot be read has none; resolving it says why.
    pub fn places(&self) -> Vec<Tracked> {
        let project = self.project.name();
        self.sources.iter().filter_map(|source| super::resolve::tracked(project, source).ok()).collect()
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
    if sentences.is_empty() { Ok(Permitted { project, sources }) } else { Err(Stop::invalid(sentences.join("; "))) }
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
        if policy.mode != Mode::None {
            verify(ctx, project, application, source, &address, policy.mode).await?;
        }
    }
    Ok(Signed(resolved))
}

async fn verify(
    ctx: &Context,
    project: &AppProject,
    application: &Application,
    source: &Resolved,
    address: &str,
    mode: Mode,
) -> Result<(), Stop> {
    let keys = keys(ctx).await?;
    let repository = ctx.git.repository(&source.tracked.remote);
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
    let refused: Vec<(Commit, git::Signature)> = if mode == Mode::Strict {
        let last = application.status.as_ref().and_then(|status| status.history.last());
        let last = last.and_then(|last| Commit::parse(&last.revision).ok());
        let trusted = |signature: &git::Signature| permitted(&source.commit, signature).is_ok();
        repository.verify_range(last.as_ref(), &source.commit, &keys, trusted).await.map_err(failed)?.refused
    } else {
        let revision = Revision::parse(&source.tracked.revision).map_err(failed)?;
        let signature = repository.verify_revision(&revision, &source.commit, &keys).await.map_err(failed)?;
        vec![(source.commit.clone(), signature)]
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
