//! `list`: sets of parameters as they are written.

use resources::ListGenerator;
use serde_json::Value;

use super::Context;
use crate::{
    ExpandError,
    params::{Params, flatten},
    template::parse_yaml,
};

pub(super) fn generate(context: &Context<'_>, list: &ListGenerator, field: &str) -> Result<Vec<Params>, ExpandError> {
    let mut elements: Vec<(String, Value)> = list
        .elements
        .iter()
        .enumerate()
        .map(|(index, it)| (format!("{field}.elements[{index}]"), it.clone()))
        .collect();
    let field = format!("{field}.elementsYaml");
    match parse_yaml(&list.elements_yaml)
        .map_err(|reason| ExpandError::parameters(&field, format!("is not YAML: {reason}")))?
    {
        Value::Null => {}
        Value::Array(more) => {
            elements.extend(more.into_iter().enumerate().map(|(index, it)| (format!("{field}[{index}]"), it)));
        }
        _ => return Err(ExpandError::parameters(&field, "is not a list")),
    }
    let read = |(field, element): (String, Value)| match element {
        Value::Object(params) if context.templates.is_go() => Ok(params),
        Value::Object(params) => Ok(flatten(&params).into_iter().map(|(name, value)| (name, value.into())).collect()),
        _ => Err(ExpandError::parameters(&field, "is not a set of parameters; write name: value")),
    };
    elements.into_iter().map(read).collect()
}
