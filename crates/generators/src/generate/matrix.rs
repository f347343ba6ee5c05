//! `matrix`: each set of one generator with each of another, which may use the parameters of the first.

use resources::MatrixGenerator;

use super::{Context, Place, generate as generate_child};
use crate::{
    ExpandError,
    params::{Params, combine},
};

pub(super) async fn generate(
    context: &Context<'_>,
    matrix: &MatrixGenerator,
    place: Place<'_>,
    field: &str,
) -> Result<Vec<Params>, ExpandError> {
    let [first, second] = matrix.generators.as_slice() else {
        return Err(ExpandError::parameters(field, "has not exactly two generators"));
    };
    let (first_field, second_field) = (format!("{field}.generators[0]"), format!("{field}.generators[1]"));
    let mut sets = Vec::new();
    for row in generate_child(context, first, Place { field: &first_field, given: place.given }).await? {
        let given = combine(&row, place.given);
        for column in generate_child(context, second, Place { field: &second_field, given: &given }).await? {
            if !context.templates.is_go()
                && let Some((name, value)) =
                    row.iter().find(|(name, value)| column.get(*name).is_some_and(|it| it != *value))
            {
                let message = format!("both generators give the parameter {name:?}, one {value}, one {}", column[name]);
                return Err(ExpandError::parameters(field, message));
            }
            sets.push(combine(&row, &column));
        }
    }
    Ok(sets)
}
