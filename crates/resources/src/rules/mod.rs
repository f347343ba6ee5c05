//! What is valid: one file for each kind. Each rule names the field and says what would be right.

mod application;
mod application_set;
mod project;

use crate::validate::Problems;

/// A name as Kubernetes accepts it for most objects: a DNS subdomain.
pub fn is_dns_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().last()];
        ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn check_name(name: &str, problems: &mut Problems) {
    if name.is_empty() {
        problems.add("metadata.name", "is missing");
    } else if !is_dns_subdomain(name) {
        let rule =
            "use lower-case letters, digits, '-' and '.', at most 253 characters, with a letter or digit at both ends";
        problems.add("metadata.name", format!("{name:?} is not a valid name: {rule}"));
    }
}

fn check_pointers(pointers: &[String], field: &str, problems: &mut Problems) {
    for (index, pointer) in pointers.iter().enumerate() {
        if !pointer.starts_with('/') {
            problems
                .add(format!("{field}[{index}]"), format!("{pointer:?} is not a JSON pointer: it starts with \"/\""));
        }
    }
}
