//! From what the generators give to the Applications in the cluster: what is made, changed, left alone and removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use cluster::{ApplyOptions, ClusterError, DeleteOptions};
use generators::{Expansion, Refused};
use resources::{Application, ApplicationSet, Object, ObjectMeta, annotations};
use serde_json::{Value, json};

use super::{SetError, SetState};
use crate::context::{application_key, locked};
use crate::reconcile::{Cause, delete};
use crate::{AppId, Context, projects, watches};

/// The field manager of generated Applications: people may own other fields of them.
const MANAGER: &str = "lockstep-applicationset";
/// More Applications than this, and more than half of a set's, are not removed without a person's word.
const MASS_DELETION: usize = 5;

/// What an expansion did.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Applications that were made or changed.
    pub(super) changed: BTreeSet<AppId>,
    /// Applications that were removed.
    pub(super) removed: BTreeSet<AppId>,
    /// What did not work. The rest was done.
    pub(super) error: Option<SetError>,
    /// What somebody should know although nothing failed.
    pub(super) notes: Vec<String>,
}

impl Brought {
    pub(super) fn failed(error: SetError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

/// What stands under the name of a generated Application.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// The set made it.
    Ours {
        uid: String,
    },
    /// Nobody's, and somebody says that the set may have it.
    Offered {
        uid: String,
    },
    /// Somebody else's, and why.
    Foreign(String),
}

/// Whose an Application is. A name alone is no right: it can come from a branch that anybody may have named.
pub(super) fn found(set: &ApplicationSet, live: Option<&ObjectMeta>) -> Found {
    let Some(live) = live else { return Found::Nothing };
    let name = live.name.as_deref().unwrap_or_default();
    let uid = live.uid.clone().unwrap_or_default();
    let owners = live.owner_references.iter().flatten();
    match owners.clone().find(|owner| owner.controller == Some(true)) {
        Some(owner) if Some(&owner.uid) == set.metadata.uid.as_ref() => Found::Ours { uid },
        Some(owner) => Found::Foreign(format!(
            "Application {name} belongs to another {} ({}) and is left alone; give one of the two another name",
            owner.kind, owner.name
        )),
        None => {
            let handed_over = live.annotations.as_ref().and_then(|notes| notes.get(annotations::ADOPT_BY));
            if handed_over.is_some_and(|to| to == set.name()) {
                return Found::Offered { uid };
            }
            Found::Foreign(format!(
                "Application {name} is not of this ApplicationSet and is left alone: delete it, or annotate it {}: {}",
                annotations::ADOPT_BY,
                set.name()
            ))
        }
    }
}

/// What is asked before anything is removed.
pub(super) struct Removal<'a> {
    /// How many Applications the set has.
    pub(super) existing: usize,
    /// Those that the generators do not give.
    pub(super) surplus: Vec<&'a AppId>,
    pub(super) refused: &'a [Refused],
    /// Patterns that find nothing and are not known to have found nothing before.
    pub(super) lost: &'a [String],
    /// The set makes previews of pull requests, which come and go.
    pub(super) previews: bool,
    /// A person has said that it may remove many.
    pub(super) allowed: bool,
}

impl<'a> Removal<'a> {
    /// Which may be removed, or why none may (G5).
    pub(super) fn decide(self) -> Result<Vec<&'a AppId>, SetError> {
        let Self { existing, mut surplus, refused, lost, previews, allowed } = self;
        let kept: HashSet<&str> = refused.iter().filter_map(|refused| refused.name.as_deref()).collect();
        surplus.retain(|id| !kept.contains(id.name.as_str()));
        if surplus.is_empty() {
            return Ok(surplus);
        }
        // Without a name it cannot be told which Application is not given. One with an impossible name was never made; of
        // previews that is enough, or a branch of that name would keep those of closed pull requests for ever.
        let unknown = |refused: &Refused| refused.name.is_none() && !(refused.impossible_name && previews);
        if refused.iter().any(unknown) {
            return Err(SetError::Unsure { removed: names(&surplus) });
        }
        let all = surplus.len() == existing && !previews;
        let many = surplus.len() > MASS_DELETION && surplus.len() * 2 > existing;
        if (all || many || !lost.is_empty()) && !allowed {
            let because = lost.iter().map(|lost| format!(". {lost}")).collect();
            return Err(SetError::MassDeletion { removed: surplus.len(), existing, names: names(&surplus), because });
        }
        Ok(surplus)
    }
}

fn names(ids: &[&AppId]) -> String {
    let mut names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(5);
    names.truncate(5);
    let shown = names.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Makes the cluster's Applications what the generators give. What fails for one is told, and the others are gone on with.
pub(super) async fn bring_about(
    ctx: &Arc<Context>,
    state: &SetState,
    set: &ApplicationSet,
    expansion: Expansion,
) -> Brought {
    let Expansion { applications, refused, found_nothing } = expansion;
    let policy = set.spec.applications_sync();
    let previews = set.spec.generators.iter().any(makes_previews);
    let ours: Vec<Application> = applications
        .into_iter()
        .filter(|application| {
            projects::is_ours(&application.spec.destination, ctx.cluster_name(), ctx.cluster.server())
        })
        .collect();
    let mut existing: BTreeMap<AppId, String> = BTreeMap::new();
    for managed in ctx.registry.all() {
        let application = managed.application();
        if let Found::Ours { uid } = found(set, Some(&application.metadata))
            && !application.is_being_deleted()
        {
            existing.insert(managed.id.clone(), uid);
        }
    }
    let wanted: HashSet<AppId> = ours.iter().map(AppId::of).collect();
    let mut brought = Brought::default();
    let mut problems: Vec<SetError> = Vec::new();
    let mut blocked = HashSet::new();
    for application in &ours {
        let id = AppId::of(application);
        match bring_one(ctx, set, application, previews).await {
            Ok(true) => {
                brought.changed.insert(id);
            }
            Ok(false) => {}
            Err(error) => {
                if matches!(error, SetError::NotOurs(_)) {
                    blocked.insert(id);
                }
                let away = error.is_transient();
                problems.push(error);
                if away {
                    break;
                }
            }
        }
    }
    *locked(&state.wanted) = wanted.clone();
    *locked(&state.blocked) = blocked;
    let removal = Removal {
        existing: existing.len(),
        surplus: existing.keys().filter(|id| !wanted.contains(*id)).collect(),
        refused: &refused,
        lost: &lost(state, &found_nothing),
        previews,
        allowed: set.annotation(annotations::ALLOW_MASS_DELETION) == Some("true"),
    };
    let decided = if policy.deletes() { removal.decide() } else { Ok(Vec::new()) };
    match decided {
        Ok(surplus) => {
            *locked(&state.found_nothing) = Some(found_nothing.clone());
            for id in surplus {
                match remove(ctx, id, &existing[id]).await {
                    Ok(()) => drop(brought.removed.insert(id.clone())),
                    Err(error) => problems.push(SetError::Cluster { name: id.name.clone(), error }),
                }
            }
        }
        Err(error) => problems.push(error),
    }
    problems.extend(refused.into_iter().map(|refused| SetError::Expand(refused.error)));
    brought.error = SetError::of(problems);
    brought.notes = found_nothing;
    brought
}

/// Patterns that find nothing now. What found nothing the last time is no news; after a start nothing is known.
fn lost(state: &SetState, found_nothing: &[String]) -> Vec<String> {
    let before = locked(&state.found_nothing);
    let known = |one: &&String| before.as_ref().is_some_and(|before| before.contains(one));
    found_nothing.iter().filter(|one| !known(one)).cloned().collect()
}

/// Makes or changes one Application; tells whether there was anything to do.
async fn bring_one(
    ctx: &Arc<Context>,
    set: &ApplicationSet,
    application: &Application,
    previews: bool,
) -> Result<bool, SetError> {
    let id = AppId::of(application);
    let failed = |error| SetError::Cluster { name: id.name.clone(), error };
    let known = ctx.registry.get(&id).map(|managed| managed.application());
    let (metadata, live) = match known {
        Some(live) => (Some(live.metadata.clone()), Some(live)),
        // One of another cluster, or one that cannot be read, is there as well.
        None => match ctx.cluster.get(&application_key(&id)).await.map_err(failed)? {
            None => (None, None),
            Some(object) => {
                let metadata = object.0.get("metadata").cloned().unwrap_or_default();
                let metadata = serde_json::from_value(metadata).unwrap_or_default();
                (Some(metadata), Application::parse(object.0).ok().map(Arc::new))
            }
        },
    };
    let mut manifest = manifest(set, application, previews && !locked(&ctx.previewed).is_empty());
    match found(set, metadata.as_ref()) {
        Found::Nothing => {}
        Found::Foreign(reason) => return Err(SetError::NotOurs(reason)),
        Found::Ours { uid } | Found::Offered { uid } => {
            let same = live.is_some_and(|live| is_there(&live, &manifest));
            if !set.spec.applications_sync().updates() || same {
                return Ok(false);
            }
            // Should another have taken its place meanwhile, that is a conflict.
            manifest.0["metadata"]["uid"] = uid.into();
        }
    }
    let options = ApplyOptions { field_manager: Some(MANAGER.into()), ..ApplyOptions::default() };
    let applied = ctx.cluster.apply(&manifest, &options).await.map_err(failed)?;
    watches::take_application(ctx, applied.object, Cause::Changed);
    Ok(true)
}

async fn remove(ctx: &Context, id: &AppId, uid: &str) -> Result<(), ClusterError> {
    let options = DeleteOptions { uid: Some(uid.to_owned()), ..DeleteOptions::default() };
    match ctx.cluster.delete(&application_key(id), &options).await {
        Ok(_) => tracing::info!(application = %id, "application_set.removed"),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn makes_previews(generator: &resources::Generator) -> bool {
    let nested = generator.matrix.iter().flat_map(|matrix| &matrix.generators);
    let merged = generator.merge.iter().flat_map(|merge| &merge.generators);
    generator.pull_request.is_some() || nested.chain(merged).any(makes_previews)
}

/// The Application as it is applied: what the template says, who made it, and for a preview that its namespace goes with it.
fn manifest(set: &ApplicationSet, application: &Application, preview: bool) -> Object {
    let metadata = &application.metadata;
    let mut notes = metadata.annotations.clone().unwrap_or_default();
    if preview {
        notes.entry(delete::DELETE_NAMESPACE.into()).or_insert_with(|| "true".into());
    }
    let mut object = json!({
        "apiVersion": application.api_version,
        "kind": "Application",
        "metadata": {
            "name": application.name(),
            "namespace": set.namespace(),
            "ownerReferences": [{
                "apiVersion": set.api_version,
                "kind": "ApplicationSet",
                "name": set.name(),
                "uid": set.metadata.uid.clone().unwrap_or_default(),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": application.spec,
    });
    let mut put = |name: &str, value: Value| object["metadata"][name] = value;
    if let Some(labels) = metadata.labels.as_ref().filter(|labels| !labels.is_empty()) {
        put("labels", json!(labels));
    }
    if !notes.is_empty() {
        put("annotations", json!(notes));
    }
    if let Some(finalizers) = metadata.finalizers.as_ref().filter(|finalizers| !finalizers.is_empty()) {
        put("finalizers", json!(finalizers));
    }
    Object(object)
}

/// Whether the Application has everything that the manifest says.
fn is_there(live: &Application, manifest: &Object) -> bool {
    let Ok(wanted) = Application::parse(manifest.0.clone()) else { return false };
    let has = |live: &Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        let empty = BTreeMap::new();
        let live = live.as_ref().unwrap_or(&empty);
        wanted.iter().flatten().all(|(name, value)| live.get(name) == Some(value))
    };
    let finalizers = live.metadata.finalizers.clone().unwrap_or_default();
    live.spec == wanted.spec
        && has(&live.metadata.labels, &wanted.metadata.labels)
        && has(&live.metadata.annotations, &wanted.metadata.annotations)
        && wanted.metadata.finalizers.iter().flatten().all(|name| finalizers.contains(name))
}

#[cfg(test)]
mod tests;
