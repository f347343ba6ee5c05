//! *Render*: the resolved sources to the objects that are desired in the cluster, with namespace and owner filled in.

use std::collections::HashMap;
use std::sync::Arc;

use cluster::ApiKind;
use engine::nulls;
use git::Commit;
use render::{RenderRequest, Rendered, SourceAt};
use resources::{Application, Object, ObjectKey, conditions};
use sha2::{Digest as _, Sha256};

use super::permit::{self, Signed};
use super::resolve::{self, Resolved};
use super::{Cause, Causes, Pass, Stop, discreet};
use crate::Context;
use crate::context::locked;
use crate::index::Tracked;
use crate::registry::{Desired, Managed};

/// Renders, remembers what was read, and prepares the objects.
pub async fn render(pass: &Pass<'_>, signed: Signed) -> Result<Arc<Desired>, Stop> {
    let resolved = signed.sources();
    let request = request(pass.ctx, &pass.application, &signed, pass.causes.has(Cause::HardRefresh))?;
    let rendered = match pass.ctx.renderer.render(&request).await {
        Ok(rendered) => rendered,
        Err(error) => {
            // What a failed render would have read is not known, so any change may mend it.
            locked(&pass.ctx.index).forget_inputs(&pass.managed.id);
            let sentence = discreet::given(pass).mask(&error.to_string()).into_owned();
            return Err(if error.is_transient() { Stop::Later(sentence) } else { Stop::comparison(sentence) });
        }
    };
    remember_inputs(pass, resolved, &rendered).await;
    let commits: Vec<String> = resolved.iter().map(|source| source.commit.to_string()).collect();
    let spec = spec_hash(pass);
    let known = pass.managed.state().desired.clone();
    if let Some(known) = known
        && known.rendered.key == rendered.key
        && known.spec == spec
        && !known.open
    {
        if known.commits == commits {
            return Ok(known);
        }
        let desired = Arc::new(Desired {
            rendered,
            commits,
            places: resolved.iter().map(|source| source.tracked.clone()).collect(),
            objects: known.objects.clone(),
            spec,
            warnings: known.warnings.clone(),
            open: false,
        });
        pass.managed.state().desired = Some(desired.clone());
        return Ok(desired);
    }
    let Prepared { objects, warnings, open } = prepare(pass, &rendered).await?;
    let desired = Arc::new(Desired {
        rendered,
        commits,
        places: resolved.iter().map(|source| source.tracked.clone()).collect(),
        objects: objects.into_iter().map(Arc::new).collect(),
        spec,
        warnings,
        open,
    });
    let mut state = pass.managed.state();
    state.desired = Some(desired.clone());
    state.misjudged.clear();
    drop(state);
    Ok(desired)
}

/// Whether a push leaves the application's manifests as they are although it changed a folder that the application reads.
/// Only asked where no program has to run to know: plain manifests chosen by pattern from a large folder. Compares the two
/// commits and not what was rendered last, which may be older or newer than either.
pub async fn is_untouched(ctx: &Arc<Context>, managed: &Managed, place: &Tracked, from: &Commit, to: &Commit) -> bool {
    let (application, desired) = {
        let state = managed.state();
        (state.application.clone(), state.desired.clone())
    };
    let Some(desired) = desired else { return false };
    if desired.rendered.source_types.iter().any(|kind| kind != "Directory") {
        return false;
    }
    let Ok(permitted) = permit::permitted(ctx, &application) else { return false };
    let at = async |moved: &Commit| -> Option<Signed> {
        let commit = async |tracked: Tracked| {
            if tracked == *place { Some(moved.clone()) } else { ctx.heads.known(&tracked).await }
        };
        let resolved = resolve::at_known(&permitted, commit).await?;
        // A commit that nobody may render is not looked into to save work either.
        permit::signed(ctx, &permitted, &application, resolved).await.ok()
    };
    let (Some(before), Some(after)) = tokio::join!(at(from), at(to)) else { return false };
    let plain = |signed: &Signed| {
        let mut request = request(ctx, &application, signed, false).ok()?;
        // What was a plain directory may be a chart in the newer commit; no program is started to find out.
        request.only_plain = true;
        Some(request)
    };
    let (Some(before), Some(after)) = (plain(&before), plain(&after)) else { return false };
    match tokio::join!(ctx.renderer.render(&before), ctx.renderer.render(&after)) {
        (Ok(before), Ok(after)) => before.key == after.key,
        _ => false,
    }
}

fn request(ctx: &Context, application: &Application, signed: &Signed, hard: bool) -> Result<RenderRequest, Stop> {
    let capabilities = locked(&ctx.capabilities).clone();
    let mut sources = Vec::with_capacity(signed.sources().len());
    for source in signed.sources() {
        let snapshot = ctx.git.repository(&source.tracked.remote).snapshot(&source.commit);
        sources.push(SourceAt {
            source: source.source.clone(),
            repository: source.tracked.remote.to_string(),
            revision: source.tracked.revision.clone(),
            snapshot: snapshot.map_err(|error| Stop::Later(error.to_string()))?,
        });
    }
    Ok(RenderRequest {
        application: application.name().to_owned(),
        namespace: application.spec.destination.namespace.clone(),
        project: application.spec.project().to_owned(),
        sources,
        kube_version: capabilities.version,
        api_versions: capabilities.api_versions,
        hard,
        only_plain: false,
    })
}

/// Tells the index what the render read. If a followed revision has moved on meanwhile, a push may have been judged by what
/// an older render read: look once more.
async fn remember_inputs(pass: &Pass<'_>, resolved: &[Resolved], rendered: &Rendered) {
    for (number, source) in resolved.iter().enumerate() {
        let read = rendered.inputs.iter().filter(|input| input.source == number).map(|input| input.path.clone());
        locked(&pass.ctx.index).set_inputs(&pass.managed.id, &source.tracked, read.collect());
        let head = pass.ctx.heads.known(&source.tracked).await;
        if head.is_some_and(|head| head != source.commit) {
            pass.ctx.queue.push(pass.managed.id.clone(), Causes::of(Cause::Retry));
        }
    }
}

/// The spec in short: another spec may want another namespace, owner or option of the same render.
pub fn spec_hash(pass: &Pass<'_>) -> String {
    let followed = super::plan::sources(&pass.application);
    let asked = super::plan::asked_revisions(&pass.application);
    let asked: Vec<String> = asked.into_iter().filter(|revision| !revision.is_empty()).collect();
    let text = serde_json::to_vec(&(&pass.application.spec, followed, asked)).unwrap_or_default();
    hex::encode(Sha256::digest(text))
}

struct Prepared {
    objects: Vec<Object>,
    warnings: Vec<(String, String)>,
    /// The cluster does not know all kinds yet, so that another look may come to something else.
    open: bool,
}

async fn prepare(pass: &Pass<'_>, rendered: &Rendered) -> Result<Prepared, Stop> {
    let mut open = false;
    let mut warnings: Vec<(String, String)> =
        rendered.warnings.iter().map(|warning| (warning.kind.to_string(), warning.message.clone())).collect();
    let namespace = &pass.application.spec.destination.namespace;
    let owner = pass.tracking_name();
    let mut objects: Vec<Object> = Vec::with_capacity(rendered.objects.len());
    let mut places: HashMap<ObjectKey, usize> = HashMap::with_capacity(rendered.objects.len());
    for object in &rendered.objects {
        let mut object = object.clone();
        open |= !drop_nulls(pass, &mut object, &rendered.objects).await?;
        let namespaced = is_namespaced(pass, &object, &rendered.objects).await?;
        if !namespaced {
            if let Some(metadata) = object.0.pointer_mut("/metadata").and_then(serde_json::Value::as_object_mut) {
                metadata.remove("namespace");
            }
        } else if object.namespace().is_empty() {
            if namespace.is_empty() {
                return Err(Stop::invalid(format!(
                    "spec.destination.namespace is empty, and {} names no namespace; set one of them",
                    object.key()
                )));
            }
            object.set_namespace(namespace);
        }
        engine::ownership::stamp(&mut object, &owner, namespace, &pass.ctx.tracking);
        let key = object.key();
        match places.get(&key) {
            // Those that get their names when they are created are each one of its own.
            _ if key.name.is_empty() => objects.push(object),
            Some(place) => {
                warnings.push((
                    conditions::REPEATED_RESOURCE_WARNING.into(),
                    format!("{key} appears more than once; the last one counts"),
                ));
                objects[*place] = object;
            }
            None => {
                places.insert(key, objects.len());
                objects.push(object);
            }
        }
    }
    Ok(Prepared { objects, warnings, open })
}

/// Null means absent ([`nulls`]). `false`: nobody could say which nulls of the object are values.
async fn drop_nulls(pass: &Pass<'_>, object: &mut Object, all: &[Object]) -> Result<bool, Stop> {
    if !nulls::has_nulls(&object.0) {
        return Ok(true);
    }
    if !nulls::needs_schema(object) {
        nulls::drop_nulls(object, None);
        return Ok(true);
    }
    let brought = all.iter().find(|candidate| candidate.defines() == Some((object.group(), object.kind())));
    let schema = match brought.and_then(|definition| nulls::schema_of(definition, object.version())) {
        Some(schema) => Some(schema.clone()),
        None => match kind_of(pass, object.group(), object.version(), object.kind()).await? {
            Some(kind) => pass.ctx.cluster.schema(&kind).await?,
            None => None,
        },
    };
    nulls::drop_nulls(object, schema.as_ref());
    Ok(schema.is_some())
}

/// Asks the cluster, or the CustomResourceDefinition that is rendered beside the object. A kind that nobody knows is taken
/// for namespaced; applying it says what is missing.
async fn is_namespaced(pass: &Pass<'_>, object: &Object, all: &[Object]) -> Result<bool, Stop> {
    if let Some(kind) = kind_of(pass, object.group(), object.version(), object.kind()).await? {
        return Ok(kind.namespaced);
    }
    let definition = all.iter().find(|candidate| candidate.defines() == Some((object.group(), object.kind())));
    Ok(definition.is_none_or(|crd| crd.at("/spec/scope").and_then(|scope| scope.as_str()) != Some("Cluster")))
}

/// A kind as the cluster serves it, in the version asked for or else in any.
pub async fn kind_of(pass: &Pass<'_>, group: &str, version: &str, kind: &str) -> Result<Option<ApiKind>, Stop> {
    Ok(pass.ctx.cluster.kind(group, Some(version), kind).await?)
}
