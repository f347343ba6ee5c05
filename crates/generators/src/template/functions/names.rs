use super::{Args, Entry, Result};
use gotmpl::Value;

pub(super) const TABLE: &[Entry] =
    &[("normalize", 1, 1, |args| Ok(crate::normalize(args.text(0)?).into())), ("slugify", 1, 3, slugify)];

/// `slugify [limit [smart]] text`.
fn slugify(args: &Args<'_>) -> Result<Value> {
    let last = args.values.len() - 1;
    let limit = if last > 0 { super::size(args.whole(0)?) } else { 50 };
    let smart = if last > 1 { args.yes(1)? } else { true };
    Ok(crate::slugify(args.text(last)?, limit, smart).into())
}
