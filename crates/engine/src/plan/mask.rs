//! Values of Secrets never leave a plan, whoever made the difference that it shows.

use resources::ObjectKey;
use serde_json::Value;

use crate::compare::Difference;

/// What stands for a value.
const MASK: &str = "********";
/// kubectl keeps a copy of the whole object in this annotation.
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The difference without values that nobody may see.
pub(super) fn masked(key: &ObjectKey, mut difference: Difference) -> Difference {
    if !(key.group.is_empty() && key.kind == "Secret") {
        return difference;
    }
    for field in &mut difference.fields {
        let whole = ["data", "stringData"].iter().any(|top| is_under(&field.path, top)) || field.path.contains(COPY);
        for value in [&mut field.desired, &mut field.live].into_iter().flatten() {
            if whole {
                *value = MASK.into();
            } else {
                mask_inside(value);
            }
        }
    }
    difference
}

/// Whether a path is a field of the object or lies in it.
fn is_under(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn mask_inside(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if matches!(name.as_str(), "data" | "stringData" | COPY) {
                    *value = MASK.into();
                } else {
                    mask_inside(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_inside),
        _ => {}
    }
}
