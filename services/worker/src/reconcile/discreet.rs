//! No value of a Secret in what is told. What an API server says about a Secret itself is never passed on (crate `cluster`); but
//! others quote values, too: a webhook that refuses a Deployment, a pod's last words, a chart that fails. Whatever leaves a pass,
//! as a log line, condition, check or report, goes through here.

use std::borrow::Cow;

use resources::{ApplicationStatus, SecretValues};

use super::{Pass, Stop};
use crate::tracker::Conclusion;

/// The values of the Secrets that the application wants, as far as it is known what it wants.
pub fn values(pass: &Pass<'_>) -> SecretValues {
    let desired = pass.managed.state().desired.clone();
    let Some(desired) = desired else { return SecretValues::default() };
    let values = SecretValues::of(desired.objects.iter().map(|object| &**object).filter(|object| object.is_secret()));
    if values.is_empty() {
        return values;
    }
    let names = desired.objects.iter().flat_map(|object| [object.name(), object.namespace(), object.kind()]);
    values.except(names.chain(names_of(pass)))
}

/// What charts are given may be a password, and what fails may quote it.
pub fn given(pass: &Pass<'_>) -> SecretValues {
    let sources = super::plan::sources(&pass.application);
    SecretValues::of_sources(&sources).and(values(pass)).except(names_of(pass))
}

fn names_of<'p>(pass: &'p Pass<'_>) -> impl Iterator<Item = &'p str> {
    let (application, spec) = (&pass.application, &pass.application.spec);
    let destination = &spec.destination;
    let names =
        [application.name(), application.namespace(), spec.project(), &destination.namespace, &destination.name];
    names.into_iter().chain([pass.ctx.cluster_name()])
}

/// A sentence as it may be told.
pub fn told<'t>(pass: &Pass<'_>, sentence: &'t str) -> Cow<'t, str> {
    let values = if sentence.is_empty() { SecretValues::default() } else { values(pass) };
    values.mask(sentence).into_owned().into()
}

/// Why the steps ended, as it may be told.
pub fn stop(pass: &Pass<'_>, stop: Stop) -> Stop {
    match stop {
        Stop::Later(sentence) => Stop::Later(told(pass, &sentence).into_owned()),
        Stop::Failed { condition, sentence, verdict } => {
            Stop::Failed { condition, sentence: told(pass, &sentence).into_owned(), verdict }
        }
        Stop::Superseded => Stop::Superseded,
    }
}

/// What the check of a commit may say.
pub fn conclusion(values: &SecretValues, conclusion: Conclusion) -> Conclusion {
    Conclusion { sentence: values.mask(&conclusion.sentence).into_owned(), ..conclusion }
}

/// Every message of a status.
pub fn status(values: &SecretValues, status: &mut ApplicationStatus) {
    if values.is_empty() {
        return;
    }
    let mask = |text: &mut String| {
        if let Cow::Owned(masked) = values.mask(text) {
            *text = masked;
        }
    };
    status.conditions.iter_mut().for_each(|condition| mask(&mut condition.message));
    if let Some(state) = &mut status.operation_state {
        mask(&mut state.message);
        for result in state.sync_result.iter_mut().flat_map(|result| &mut result.resources) {
            mask(&mut result.message);
        }
    }
    if let Some(health) = &mut status.health {
        mask(&mut health.message);
    }
    for resource in &mut status.resources {
        if let Some(health) = &mut resource.health {
            mask(&mut health.message);
        }
    }
}
