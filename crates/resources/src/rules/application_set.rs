use super::{check_name, check_pointers};
use crate::{
    ApplicationSet, Generator, GitGenerator, IntOrString, Invalid, LabelSelector, PullRequestGenerator, Strategy,
    validate::Problems,
};

/// Matrix and merge may contain one another once.
const DEEPEST: usize = 2;

impl ApplicationSet {
    /// Whether it can be worked with; every problem names its field. The Applications it makes are validated when they are made.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        let spec = &self.spec;
        check_name(self.name(), &mut problems);
        if spec.generators.is_empty() {
            problems.add("spec.generators", "is empty; give at least one generator");
        }
        for (index, generator) in spec.generators.iter().enumerate() {
            check_generator(generator, &format!("spec.generators[{index}]"), 0, &mut problems);
        }
        if spec.template.metadata.name.is_empty() {
            problems.add("spec.template.metadata.name", "is missing");
        }
        if !spec.template_patch.is_empty() && !spec.go_template {
            problems.add("spec.templatePatch", "needs goTemplate: true");
        }
        for (index, option) in spec.go_template_options.iter().enumerate() {
            let known = ["missingkey=default", "missingkey=invalid", "missingkey=zero", "missingkey=error"];
            if !known.contains(&option.as_str()) {
                let message = format!("{option:?} is not an option of Go templates; they are {}", known.join(", "));
                problems.add(format!("spec.goTemplateOptions[{index}]"), message);
            }
        }
        if let Some(strategy) = &spec.strategy {
            check_strategy(strategy, &mut problems);
        }
        for (index, ignored) in spec.ignore_application_differences.iter().enumerate() {
            let field = format!("spec.ignoreApplicationDifferences[{index}].jsonPointers");
            check_pointers(&ignored.json_pointers, &field, &mut problems);
        }
        problems.done()
    }
}

fn check_generator(generator: &Generator, field: &str, depth: usize, problems: &mut Problems) {
    match generator.kinds().as_slice() {
        [_] => {}
        [] => {
            let unknown: Vec<_> = generator.extra.keys().map(String::as_str).collect();
            let found =
                if unknown.is_empty() { String::new() } else { format!(" ({} is not one)", unknown.join(", ")) };
            problems
                .add(field, format!("has no generator{found}; give list, clusters, git, matrix, merge or pullRequest"));
        }
        several => {
            problems.add(field, format!("has several generators ({}); make one entry for each", several.join(", ")))
        }
    }
    if let Some(selector) = &generator.selector {
        check_selector(selector, &format!("{field}.selector"), problems);
    }
    if let Some(selector) = generator.clusters.as_ref().and_then(|clusters| clusters.selector.as_ref()) {
        check_selector(selector, &format!("{field}.clusters.selector"), problems);
    }
    if let Some(git) = &generator.git {
        check_git(git, &format!("{field}.git"), problems);
    }
    if let Some(pulls) = &generator.pull_request {
        check_pull_requests(pulls, &format!("{field}.pullRequest"), problems);
    }
    if let Some(matrix) = &generator.matrix {
        if matrix.generators.len() != 2 {
            let count = matrix.generators.len();
            problems
                .add(format!("{field}.matrix.generators"), format!("has {count} entries; a matrix has exactly two"));
        }
        check_children(&matrix.generators, &format!("{field}.matrix"), depth, problems);
    }
    if let Some(merge) = &generator.merge {
        if merge.generators.len() < 2 {
            problems.add(format!("{field}.merge.generators"), "has fewer than two entries");
        }
        if merge.merge_keys.is_empty() {
            problems.add(format!("{field}.merge.mergeKeys"), "is empty; name the parameters that identify an entry");
        }
        check_children(&merge.generators, &format!("{field}.merge"), depth, problems);
    }
}

fn check_children(children: &[Generator], field: &str, depth: usize, problems: &mut Problems) {
    if depth + 1 > DEEPEST {
        problems.add(field, format!("is nested too deeply; at most {DEEPEST} of matrix and merge inside one another"));
        return;
    }
    for (index, child) in children.iter().enumerate() {
        check_generator(child, &format!("{field}.generators[{index}]"), depth + 1, problems);
    }
}

fn check_git(git: &GitGenerator, field: &str, problems: &mut Problems) {
    if git.repo_url.is_empty() {
        problems.add(format!("{field}.repoURL"), "is missing");
    }
    match (git.directories.is_empty(), git.files.is_empty()) {
        (true, true) => problems.add(field, "has neither directories nor files"),
        (false, false) => problems.add(field, "has both directories and files; make one entry for each"),
        _ => {}
    }
    for (name, paths) in [("directories", &git.directories), ("files", &git.files)] {
        for (index, path) in paths.iter().enumerate() {
            if path.path.is_empty() {
                problems.add(format!("{field}.{name}[{index}].path"), "is missing");
            }
        }
    }
}

fn check_pull_requests(pulls: &PullRequestGenerator, field: &str, problems: &mut Problems) {
    match pulls.forges().as_slice() {
        [_] => {}
        [] => problems.add(field, "names no forge; give github or gitea"),
        several => problems.add(field, format!("names several forges ({}); keep one", several.join(", "))),
    }
    let github = pulls.github.iter().map(|it| ("github", &it.owner, &it.repo));
    let gitea = pulls.gitea.iter().map(|it| ("gitea", &it.owner, &it.repo));
    for (forge, owner, repo) in github.chain(gitea) {
        for (name, value) in [("owner", owner), ("repo", repo)] {
            if value.is_empty() {
                problems.add(format!("{field}.{forge}.{name}"), "is missing");
            }
        }
    }
    if pulls.gitea.as_ref().is_some_and(|gitea| gitea.api.is_empty()) {
        problems.add(format!("{field}.gitea.api"), "is missing; give the address of the server");
    }
    for (index, filter) in pulls.filters.iter().enumerate() {
        for (name, pattern) in [
            ("branchMatch", &filter.branch_match),
            ("targetBranchMatch", &filter.target_branch_match),
            ("titleMatch", &filter.title_match),
        ] {
            if let Some(Err(reason)) = pattern.as_deref().map(crate::go_regex) {
                problems
                    .add(format!("{field}.filters[{index}].{name}"), format!("is not a regular expression: {reason}"));
            }
        }
    }
}

fn check_selector(selector: &LabelSelector, field: &str, problems: &mut Problems) {
    for (index, condition) in selector.match_expressions.iter().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        if condition.key.is_empty() {
            problems.add(format!("{field}.key"), "is missing");
        }
        match condition.operator.as_str() {
            "In" | "NotIn" if condition.values.is_empty() => {
                problems.add(format!("{field}.values"), format!("is empty; {} needs values", condition.operator));
            }
            "Exists" | "DoesNotExist" if !condition.values.is_empty() => {
                problems.add(format!("{field}.values"), format!("{} takes no values", condition.operator));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => problems.add(
                format!("{field}.operator"),
                format!("{other:?} is unknown; the operators are In, NotIn, Exists and DoesNotExist"),
            ),
        }
    }
}

fn check_strategy(strategy: &Strategy, problems: &mut Problems) {
    if !matches!(strategy.r#type.as_str(), "" | "AllAtOnce" | "RollingSync") {
        problems.add("spec.strategy.type", format!("{:?} is unknown; use AllAtOnce or RollingSync", strategy.r#type));
    }
    let steps = strategy.rolling_sync.iter().flat_map(|rolling| &rolling.steps);
    for (index, step) in steps.enumerate() {
        let field = format!("spec.strategy.rollingSync.steps[{index}]");
        for (number, condition) in step.match_expressions.iter().enumerate() {
            if !matches!(condition.operator.as_str(), "In" | "NotIn") {
                problems.add(format!("{field}.matchExpressions[{number}].operator"), "must be In or NotIn");
            }
        }
        let valid = match &step.max_update {
            None => true,
            Some(IntOrString::Int(number)) => *number >= 0,
            Some(IntOrString::String(text)) => {
                text.strip_suffix('%').and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it <= 100)
            }
        };
        if !valid {
            problems.add(format!("{field}.maxUpdate"), "must be a number or a percentage such as 25%");
        }
    }
}
