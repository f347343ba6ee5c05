use std::collections::BTreeSet;

use super::{check_name, check_pointers};
use crate::{
    Application, ApplicationSource, ApplicationSpec, Destination, Helm, Invalid, Kustomize, Operation, RetryStrategy,
    SourceHydrator, parse_duration, validate::Problems,
};

impl Application {
    /// Whether it can be worked with; every problem names its field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_name(self.name(), &mut problems);
        self.spec.check("spec", &mut problems);
        if let Some(operation) = &self.operation {
            check_operation(operation, &mut problems);
        }
        problems.done()
    }
}

impl ApplicationSpec {
    /// Whether the spec can be worked with; every problem names its field, beginning with `spec`.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        self.check("spec", &mut problems);
        problems.done()
    }

    pub(crate) fn check(&self, field: &str, problems: &mut Problems) {
        if let Some(hydrator) = &self.source_hydrator {
            check_hydrator(hydrator, &format!("{field}.sourceHydrator"), problems);
        } else {
            let sources = self.sources();
            if sources.is_empty() {
                problems.add(format!("{field}.source"), "is missing; give source or sources");
            }
            check_sources(&sources, field, self.is_multi_source(), problems);
        }
        check_destination(&self.destination, &format!("{field}.destination"), problems);
        if let Some(retry) = self.retry() {
            check_retry(retry, &format!("{field}.syncPolicy.retry"), problems);
        }
        for (index, ignored) in self.ignore_differences.iter().enumerate() {
            let field = format!("{field}.ignoreDifferences[{index}]");
            if ignored.kind.is_empty() {
                problems.add(format!("{field}.kind"), "is missing; \"*\" means every kind");
            }
            check_pointers(&ignored.json_pointers, &format!("{field}.jsonPointers"), problems);
        }
        if self.revision_history_limit.is_some_and(|limit| limit < 0) {
            problems.add(format!("{field}.revisionHistoryLimit"), "is negative; 0 keeps no history");
        }
    }
}

fn check_destination(destination: &Destination, field: &str, problems: &mut Problems) {
    match (destination.server.is_empty(), destination.name.is_empty()) {
        (true, true) => problems.add(field, "names no cluster; give server or name"),
        (false, false) => problems.add(field, "names the cluster twice; give either server or name"),
        _ => {}
    }
    if !destination.namespace.is_empty() && !super::is_dns_subdomain(&destination.namespace) {
        problems.add(format!("{field}.namespace"), format!("{:?} is not a valid namespace", destination.namespace));
    }
}

fn check_sources(sources: &[&ApplicationSource], spec: &str, several: bool, problems: &mut Problems) {
    let refs: BTreeSet<&str> =
        sources.iter().map(|source| source.r#ref.as_str()).filter(|name| !name.is_empty()).collect();
    let mut seen_refs = BTreeSet::new();
    let mut seen_names = BTreeSet::new();
    for (index, source) in sources.iter().enumerate() {
        let field = if several { format!("{spec}.sources[{index}]") } else { format!("{spec}.source") };
        check_source(source, several, &field, problems);
        if !source.r#ref.is_empty() && !seen_refs.insert(&source.r#ref) {
            problems.add(format!("{field}.ref"), format!("{:?} is the ref of another source as well", source.r#ref));
        }
        if !source.name.is_empty() && !seen_names.insert(&source.name) {
            problems.add(format!("{field}.name"), format!("{:?} is the name of another source as well", source.name));
        }
        if let Some(helm) = &source.helm {
            check_refs(helm, &refs, &field, problems);
        }
    }
}

fn check_source(source: &ApplicationSource, several: bool, field: &str, problems: &mut Problems) {
    if source.repo_url.trim().is_empty() {
        problems.add(format!("{field}.repoURL"), "is missing");
    }
    let refers = several && !source.r#ref.is_empty();
    let is_oci = source.repo_url.starts_with("oci://");
    match (source.path.is_empty(), source.chart.is_empty()) {
        (false, false) => {
            problems.add(field, "has both path and chart; give path for Git and chart for a Helm repository")
        }
        (true, true) if !refers && !is_oci => {
            problems.add(field, "has neither path nor chart; \"path: .\" is the root")
        }
        _ => {}
    }
    if !source.chart.is_empty() && source.target_revision.is_empty() {
        problems.add(format!("{field}.targetRevision"), "is missing; a chart needs a version or a range such as 1.x");
    }
    check_path(&source.path, &format!("{field}.path"), problems);
    if !source.r#ref.is_empty() {
        let valid = source.r#ref.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !valid {
            problems.add(format!("{field}.ref"), "use letters, digits, '-' and '_' only");
        }
        if !source.chart.is_empty() {
            problems.add(format!("{field}.ref"), "a chart cannot be referred to; only a Git source can");
        }
    }
    let types = [
        ("helm", source.helm.is_some()),
        ("kustomize", source.kustomize.is_some()),
        ("directory", source.directory.is_some()),
        ("plugin", source.plugin.is_some()),
    ];
    let types: Vec<_> = types.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if types.len() > 1 {
        problems.add(field, format!("is of several types at once ({}); keep one", types.join(", ")));
    }
    if let Some(helm) = &source.helm {
        check_helm(helm, &format!("{field}.helm"), problems);
    }
    if let Some(kustomize) = &source.kustomize {
        check_kustomize(kustomize, &format!("{field}.kustomize"), problems);
    }
}

fn check_path(path: &str, field: &str, problems: &mut Problems) {
    if path.starts_with('/') {
        problems.add(field, format!("{path:?} is absolute; write it relative to the root of the repository"));
        return;
    }
    let mut depth = 0_i64;
    for part in path.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            problems.add(field, format!("{path:?} leaves the repository"));
            return;
        }
    }
}

fn check_helm(helm: &Helm, field: &str, problems: &mut Problems) {
    for (index, parameter) in helm.parameters.iter().enumerate() {
        if parameter.name.is_empty() {
            problems.add(format!("{field}.parameters[{index}].name"), "is missing");
        }
    }
    for (index, parameter) in helm.file_parameters.iter().enumerate() {
        if parameter.name.is_empty() {
            problems.add(format!("{field}.fileParameters[{index}].name"), "is missing");
        }
        if parameter.path.is_empty() {
            problems.add(format!("{field}.fileParameters[{index}].path"), "is missing");
        }
    }
    for (index, file) in helm.value_files.iter().enumerate() {
        if file.trim().is_empty() {
            problems.add(format!("{field}.valueFiles[{index}]"), "is empty");
        }
    }
    if !helm.version.is_empty() && helm.version == "v2" {
        problems.add(format!("{field}.version"), "Helm 2 is not supported; remove the field");
    }
}

fn check_refs(helm: &Helm, refs: &BTreeSet<&str>, source: &str, problems: &mut Problems) {
    let files = helm.value_files.iter().enumerate().map(|(index, file)| (format!("helm.valueFiles[{index}]"), file));
    let parameters = helm.file_parameters.iter().enumerate();
    let parameters = parameters.map(|(index, it)| (format!("helm.fileParameters[{index}].path"), &it.path));
    for (field, file) in files.chain(parameters) {
        let Some(name) = file.strip_prefix('$').map(|rest| rest.split('/').next().unwrap_or(rest)) else { continue };
        // Names such as $ARGOCD_APP_NAME are variables that the renderer fills in.
        if !refs.contains(name) && !name.starts_with("ARGOCD_") && !name.starts_with('{') {
            problems
                .add(format!("{source}.{field}"), format!("no source has the ref {name:?}; add it in spec.sources"));
        }
    }
}

fn check_kustomize(kustomize: &Kustomize, field: &str, problems: &mut Problems) {
    for (index, image) in kustomize.images.iter().enumerate() {
        if image.trim().is_empty() {
            problems.add(format!("{field}.images[{index}]"), "is empty; write [old=]image[:tag][@digest]");
        }
    }
    for (index, replica) in kustomize.replicas.iter().enumerate() {
        let field = format!("{field}.replicas[{index}]");
        if replica.name.is_empty() {
            problems.add(format!("{field}.name"), "is missing");
        }
        if replica.count.to_string().parse::<u32>().is_err() {
            problems.add(format!("{field}.count"), format!("\"{}\" is not a number of replicas", replica.count));
        }
    }
    for (index, patch) in kustomize.patches.iter().enumerate() {
        if patch.path.is_empty() == patch.patch.is_empty() {
            problems.add(format!("{field}.patches[{index}]"), "give exactly one of path and patch");
        }
    }
}

fn check_hydrator(hydrator: &SourceHydrator, field: &str, problems: &mut Problems) {
    for (name, value) in [
        ("drySource.repoURL", &hydrator.dry_source.repo_url),
        ("drySource.path", &hydrator.dry_source.path),
        ("drySource.targetRevision", &hydrator.dry_source.target_revision),
        ("syncSource.targetBranch", &hydrator.sync_source.target_branch),
        ("syncSource.path", &hydrator.sync_source.path),
    ] {
        if value.is_empty() {
            problems.add(format!("{field}.{name}"), "is missing");
        }
    }
    check_path(&hydrator.dry_source.path, &format!("{field}.drySource.path"), problems);
    check_path(&hydrator.sync_source.path, &format!("{field}.syncSource.path"), problems);
}

fn check_retry(retry: &RetryStrategy, field: &str, problems: &mut Problems) {
    let Some(backoff) = &retry.backoff else { return };
    for (name, text) in [("duration", &backoff.duration), ("maxDuration", &backoff.max_duration)] {
        if let (false, Err(message)) = (text.is_empty(), parse_duration(text)) {
            problems.add(format!("{field}.backoff.{name}"), message);
        }
    }
    if backoff.factor.is_some_and(|factor| factor < 0) {
        problems.add(format!("{field}.backoff.factor"), "is negative");
    }
}

fn check_operation(operation: &Operation, problems: &mut Problems) {
    if let Some(retry) = &operation.retry {
        check_retry(retry, "operation.retry", problems);
    }
    let Some(sync) = &operation.sync else {
        problems.add("operation", "asks for nothing; give sync");
        return;
    };
    for (index, resource) in sync.resources.iter().enumerate() {
        for (name, value) in [("kind", &resource.kind), ("name", &resource.name)] {
            if value.is_empty() {
                problems.add(format!("operation.sync.resources[{index}].{name}"), "is missing");
            }
        }
    }
    if !sync.sources.is_empty() && !sync.revisions.is_empty() && sync.sources.len() != sync.revisions.len() {
        problems.add("operation.sync.revisions", "must have one entry for each of sources");
    }
}
