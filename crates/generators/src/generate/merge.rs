//! `merge`: the sets of one generator, completed and overridden by those of others with the same key.

use resources::MergeGenerator;
use serde_json::Value;

use super::{Context, Place, generate as generate_child};
use crate::{
    ExpandError,
    params::{Params, flatten, overlay, summary},
};

pub(super) async fn generate(
    context: &Context<'_>,
    merge: &MergeGenerator,
    place: Place<'_>,
    field: &str,
) -> Result<Vec<Params>, ExpandError> {
    let mut merged: Vec<(Key, Params)> = Vec::new();
    for (index, child) in merge.generators.iter().enumerate() {
        let field = format!("{field}.generators[{index}]");
        let sets = generate_child(context, child, Place { field: &field, given: place.given }).await?;
        let mut keyed: Vec<(Key, Params)> = Vec::new();
        for params in sets {
            let key = key(merge, &params);
            if keyed.iter().any(|(other, _)| *other == key) {
                let message = format!(
                    "gives two sets of parameters with the same key ({}); see {}",
                    merge.merge_keys.join(", "),
                    summary(&params)
                );
                return Err(ExpandError::parameters(&field, message));
            }
            keyed.push((key, params));
        }
        if index == 0 {
            merged = keyed;
            continue;
        }
        for (key, params) in keyed {
            // A set that the first generator does not have is dropped.
            if let Some((_, base)) = merged.iter_mut().find(|(other, _)| *other == key) {
                overlay(base, &params);
            }
        }
    }
    Ok(merged.into_iter().map(|(_, params)| params).collect())
}

type Key = Vec<Option<Value>>;

/// The values of the merge keys; a key may be a path, such as `values.env`.
fn key(merge: &MergeGenerator, params: &Params) -> Key {
    let flat = flatten(params);
    let value = |name: &String| params.get(name).cloned().or_else(|| flat.get(name).map(|text| text.as_str().into()));
    merge.merge_keys.iter().map(value).collect()
}
