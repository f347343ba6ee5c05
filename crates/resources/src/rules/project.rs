use std::collections::BTreeSet;

use super::check_name;
use crate::{AppProject, Invalid, ProjectRole, SyncWindow, parse_duration, validate::Problems};

/// The longest description.
const DESCRIPTION: usize = 255;

impl AppProject {
    /// Whether it can be worked with; every problem names its field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        let spec = &self.spec;
        check_name(self.name(), &mut problems);
        check_description(&spec.description, "spec.description", &mut problems);
        let mut repositories = BTreeSet::new();
        for (index, repository) in spec.source_repos.iter().enumerate() {
            let field = format!("spec.sourceRepos[{index}]");
            if repository == "!*" {
                problems.add(&field, "forbids every repository; leave the list empty for that");
            }
            if !repositories.insert(repository) {
                problems.add(&field, format!("{repository:?} is listed twice"));
            }
        }
        for (index, destination) in spec.destinations.iter().enumerate() {
            for (name, value) in [("server", &destination.server), ("namespace", &destination.namespace)] {
                if value == "!*" {
                    problems.add(
                        format!("spec.destinations[{index}].{name}"),
                        "forbids everything; leave the entry out for that",
                    );
                }
            }
        }
        let mut roles = BTreeSet::new();
        for (index, role) in spec.roles.iter().enumerate() {
            let field = format!("spec.roles[{index}]");
            if !roles.insert(&role.name) {
                problems.add(format!("{field}.name"), format!("{:?} is the name of another role as well", role.name));
            }
            check_role(role, self.name(), &field, &mut problems);
        }
        for (index, window) in spec.sync_windows.iter().enumerate() {
            check_window(window, &format!("spec.syncWindows[{index}]"), &mut problems);
        }
        let mut accounts = BTreeSet::new();
        for (index, account) in spec.destination_service_accounts.iter().enumerate() {
            let field = format!("spec.destinationServiceAccounts[{index}]");
            if account.default_service_account.trim().is_empty() {
                problems.add(format!("{field}.defaultServiceAccount"), "is missing");
            }
            if !accounts.insert((&account.server, &account.namespace)) {
                problems.add(&field, "names the destination of another entry as well");
            }
        }
        problems.done()
    }
}

fn check_description(text: &str, field: &str, problems: &mut Problems) {
    if text.chars().count() > DESCRIPTION {
        problems.add(field, format!("is longer than {DESCRIPTION} characters"));
    }
}

fn check_role(role: &ProjectRole, project: &str, field: &str, problems: &mut Problems) {
    let valid = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if role.name.is_empty() || !valid(&role.name) {
        problems.add(format!("{field}.name"), "use letters, digits, '-' and '_'");
    }
    for (index, policy) in role.policies.iter().enumerate() {
        let field = format!("{field}.policies[{index}]");
        let parts: Vec<&str> = policy.split(',').map(str::trim).collect();
        let ["p", subject, _resource, _action, object, effect] = parts.as_slice() else {
            problems.add(field, "must read: p, subject, resource, action, object, effect");
            continue;
        };
        let expected = format!("proj:{project}:{}", role.name);
        if *subject != expected {
            problems.add(&field, format!("must be about {expected:?}, not {subject:?}"));
        }
        if !object.starts_with(&format!("{project}/")) && !object.is_empty() && *object != project {
            problems.add(&field, format!("must be about objects of this project ({project}/…), not {object:?}"));
        }
        if !matches!(*effect, "allow" | "deny") {
            problems.add(&field, format!("ends in allow or deny, not {effect:?}"));
        }
    }
}

fn check_window(window: &SyncWindow, field: &str, problems: &mut Problems) {
    if !matches!(window.kind.as_str(), "allow" | "deny") {
        problems.add(format!("{field}.kind"), format!("{:?} is neither allow nor deny", window.kind));
    }
    let parts = window.schedule.split_whitespace().count();
    if !(window.schedule.starts_with('@') || parts == 5) {
        let message = format!("{:?} is not a cron expression of five fields, such as \"0 22 * * *\"", window.schedule);
        problems.add(format!("{field}.schedule"), message);
    }
    match parse_duration(&window.duration) {
        Err(message) => problems.add(format!("{field}.duration"), message),
        Ok(duration) if duration.is_zero() => {
            problems.add(format!("{field}.duration"), "is zero; the window never opens")
        }
        Ok(_) => {}
    }
    check_description(&window.description, &format!("{field}.description"), problems);
}
