//! What can be known before the first write: kinds that nobody serves, and, where an operation writes more than one object, what
//! the API server refuses. A release that cannot be completed is better not begun: no migration runs for a Deployment that is not
//! valid, and no ConfigMap changes beside it. One object alone is written at once: its answer is as good.

use std::collections::HashSet;

use cluster::{ApplyOptions, ClusterError, Validate};
use engine::plan::{Action, Plan, Step};
use futures::{StreamExt as _, stream};
use resources::{Object, ObjectKey};

use super::{Pass, Stop, written};

/// So many dry runs of one operation are under way at once.
const PARALLEL: usize = 16;

/// What is refused: the objects and why. What is `known` was written before as it is (a repair), or is only tried anyway: then nobody
/// asks beforehand unless something runs in between.
pub async fn refused(pass: &Pass<'_>, plan: &Plan, known: bool) -> Result<Vec<(ObjectKey, String)>, Stop> {
    let unknown = unknown_kinds(pass, plan).await?;
    if !unknown.is_empty() {
        return Ok(unknown);
    }
    let waves = plan.waves.iter().filter(|wave| !wave.apply.is_empty()).count();
    let written = plan.steps().filter(|step| step.object.is_some()).count();
    if waves < 2 && (known || written < 2) {
        return Ok(Vec::new());
    }
    let steps = plan.steps().filter(|step| can_be_tried(step));
    let steps = steps.filter(|step| !step.object.as_ref().is_some_and(|object| is_defined(plan, object)));
    let tries: Vec<_> = steps.map(|step| tried(pass, step)).collect();
    let outcomes: Vec<_> = stream::iter(tries).buffered(PARALLEL).collect().await;
    outcomes.into_iter().filter_map(Result::transpose).collect()
}

/// The first refusal, and how many there are.
pub fn sentence(refused: &[(ObjectKey, String)]) -> Option<String> {
    let (_, first) = refused.first()?;
    let more = if refused.len() > 1 { format!(" (and {} more)", refused.len() - 1) } else { String::new() };
    Some(format!("{first}{more}"))
}

async fn unknown_kinds(pass: &Pass<'_>, plan: &Plan) -> Result<Vec<(ObjectKey, String)>, Stop> {
    let mut asked: HashSet<(&str, &str, &str)> = HashSet::new();
    let mut unknown = Vec::new();
    for step in plan.steps().filter(|step| !step.options.skip_dry_run_on_missing) {
        let Some(object) = &step.object else { continue };
        let kind = (object.group(), object.version(), object.kind());
        if !asked.insert(kind) || is_defined(plan, object) {
            continue;
        }
        match pass.ctx.cluster.kind_of(object).await {
            Ok(_) => {}
            Err(error @ ClusterError::UnknownKind { .. }) => unknown.push((
                step.key.clone(),
                format!("{error}; if it comes with this sync, set the sync option SkipDryRunOnMissingResource=true"),
            )),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(unknown)
}

/// Whether the operation brings the object's kind itself.
fn is_defined(plan: &Plan, object: &Object) -> bool {
    plan.steps().any(|step| {
        step.object.as_ref().and_then(Object::defines).is_some_and(|kind| kind == (object.group(), object.kind()))
    })
}

/// Whether a dry run says what the write will: not for what is deleted first, nor for kinds that may not be there yet.
fn can_be_tried(step: &Step) -> bool {
    let plain = matches!(step.action, Action::Create | Action::Update);
    plain && step.hook.is_none() && !step.options.force && !step.options.skip_dry_run_on_missing
}

/// Only what is wrong with the object itself counts. A quota, a webhook that is not there yet, an address that an earlier wave
/// sets free may look different when its turn comes.
async fn tried(pass: &Pass<'_>, step: &Step) -> Result<Option<(ObjectKey, String)>, Stop> {
    let Some(object) = &step.object else { return Ok(None) };
    let options = ApplyOptions {
        dry_run: true,
        validate: if step.options.validate { Validate::Strict } else { Validate::Ignore },
        ..ApplyOptions::default()
    };
    let written = match written::as_written(pass, step, object).await {
        Ok(written) => written,
        Err(error) if error.is_transient() => return Err(Stop::Later(error.to_string())),
        Err(_) => return Ok(None),
    };
    let live = pass.ctx.live.get(&step.key);
    match written::apply(&pass.writer, &written, live.as_deref(), &options).await {
        Err(error @ (ClusterError::Invalid { .. } | ClusterError::Immutable { .. })) if !is_refusal(&error) => {
            Ok(Some((step.key.clone(), error.to_string())))
        }
        Err(error) if error.is_transient() => Err(Stop::Later(error.to_string())),
        _ => Ok(None),
    }
}

/// Whether it is not the object that is wrong, but what else there is at the moment.
pub(super) fn is_refusal(error: &ClusterError) -> bool {
    let text = error.to_string();
    ["already allocated", "denied the request", "failed calling webhook"].iter().any(|words| text.contains(words))
}
