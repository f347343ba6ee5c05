//! What is counted while an expression runs, and what it may call of ours.

use std::cell::Cell;

use jaq_core::box_iter::box_once;
use jaq_core::data::HasLut;
use jaq_core::native::{Fun, bome, v};
use jaq_core::{DataT, Error, Exn, Lut, Native, ValR};
use jaq_json::{Num, Val};
use regex::Regex;

use super::{KEY, NUMBER, SUMMAND, TEST, TICK, WEIGH};

/// Text counts like a value for each so many bytes; where a regular expression looks at it, each byte counts.
const BYTES_PER_STEP: usize = 16;

/// jaq's data for a run in which steps are counted.
pub(super) struct Counted;

impl DataT for Counted {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

#[derive(Clone)]
pub(super) struct Run<'a> {
    pub(super) lut: &'a Lut<Counted>,
    /// Steps that are left.
    pub(super) left: &'a Cell<usize>,
    pub(super) regexes: &'a [Regex],
}

impl<'a> HasLut<'a, Counted> for Run<'a> {
    fn lut(&self) -> &'a Lut<Counted> {
        self.lut
    }
}

impl Run<'_> {
    pub(super) fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.left.get().saturating_sub(steps);
        self.left.set(left);
        if left == 0 { Err("it takes too many steps on this object".to_owned()) } else { Ok(()) }
    }

    /// Counts a value with what is directly in it.
    fn count(&self, value: &Val) -> Result<(), Error<Val>> {
        let size = match value {
            Val::TStr(text) | Val::BStr(text) => text.len() / BYTES_PER_STEP,
            Val::Arr(items) => items.len(),
            Val::Obj(map) => map.len(),
            _ => 0,
        };
        self.spend(1 + size).map_err(Error::str)
    }

    /// Counts a value with all that is in it.
    fn weigh(&self, value: &Val) -> Result<(), Error<Val>> {
        let mut left = self.left.get();
        weigh(value, &mut left);
        self.left.set(left);
        self.spend(1).map_err(Error::str)
    }
}

/// Takes the size of a value from what is left.
pub(super) fn weigh(value: &Val, left: &mut usize) {
    let own = match value {
        Val::TStr(text) | Val::BStr(text) => 1 + text.len() / BYTES_PER_STEP,
        _ => 1,
    };
    *left = left.saturating_sub(own);
    match value {
        Val::Arr(items) => {
            for item in items.iter() {
                if *left == 0 {
                    return;
                }
                weigh(item, left);
            }
        }
        Val::Obj(map) => {
            for (key, value) in map.iter() {
                if *left == 0 {
                    return;
                }
                weigh(key, left);
                weigh(value, left);
            }
        }
        _ => {}
    }
}

pub(super) fn natives() -> impl Iterator<Item = Fun<Counted>> {
    let tick = Native::<Counted>::new(|cv| box_once(cv.0.data().count(&cv.1).map(|()| cv.1).map_err(Exn::from)))
        .with_paths(|cv| box_once(cv.0.data().count(&cv.1.0).map(|()| cv.1).map_err(Exn::from)));
    let weigh = Native::<Counted>::new(|cv| bome(cv.0.data().weigh(&cv.1).map(|()| cv.1)));
    let key = Native::<Counted>::new(|cv| {
        bome(match cv.1 {
            Val::TStr(_) | Val::Num(_) => Ok(cv.1),
            _ => Err(Error::str("an index must be a text or a number")),
        })
    });
    let calculable = Native::<Counted>::new(|cv| bome(number(&cv.1).map(|()| cv.1)));
    let summand = Native::<Counted>::new(|cv| {
        bome(match cv.1 {
            Val::Num(_) => number(&cv.1).map(|()| cv.1),
            _ => cv.0.data().weigh(&cv.1).map(|()| cv.1),
        })
    });
    let test = Native::<Counted>::new(|mut cv| {
        let number = cv.0.pop_var();
        bome(test(cv.0.data(), &cv.1, &number))
    });
    let has = Native::<Counted>::new(|mut cv| {
        let key = cv.0.pop_var();
        bome(match (&cv.1, &key) {
            (Val::Obj(map), Val::TStr(_)) => Ok(map.contains_key(&key).into()),
            (Val::Arr(items), Val::Num(index)) => {
                Ok(index.as_isize().is_some_and(|index| usize::try_from(index).is_ok_and(|at| at < items.len())).into())
            }
            _ => Err(Error::str("has asks an object for a field, or a list for an index")),
        })
    });
    let contains = Native::<Counted>::new(|mut cv| {
        let part = cv.0.pop_var();
        bome(contains(cv.0.data(), &cv.1, &part).map(Val::from))
    });
    [
        (TICK, v(0), tick),
        (WEIGH, v(0), weigh),
        (KEY, v(0), key),
        (NUMBER, v(0), calculable),
        (SUMMAND, v(0), summand),
        (TEST, v(1), test),
        ("has", v(1), has),
        ("contains", v(1), contains),
    ]
    .into_iter()
}

/// Numbers of a size with which to calculate is one step each; greater ones grow by it.
fn number(value: &Val) -> Result<(), Error<Val>> {
    const MOST: isize = 1 << 53;
    match value {
        Val::Num(Num::Int(number)) if (-MOST..=MOST).contains(number) => Ok(()),
        Val::Num(Num::Float(_) | Num::Dec(_)) => Ok(()),
        Val::Num(_) => Err(Error::str("it calculates with a number that is too large")),
        _ => Err(Error::str("it calculates with what is no number")),
    }
}

fn test(run: &Run<'_>, value: &Val, number: &Val) -> ValR<Val> {
    let Val::TStr(text) = value else { return Err(Error::str("test wants a text")) };
    let Ok(text) = std::str::from_utf8(text) else { return Err(Error::str("test wants a text")) };
    let index = match number {
        Val::Num(number) => number.as_isize().and_then(|number| usize::try_from(number).ok()),
        _ => None,
    };
    let regex = index.and_then(|index| run.regexes.get(index)).ok_or_else(|| Error::str("test has no expression"))?;
    run.spend(text.len()).map_err(Error::str)?;
    Ok(regex.is_match(text).into())
}

/// Whether a value has another one in it, as jq means it. Each pair that is looked at is a step.
fn contains(run: &Run<'_>, value: &Val, part: &Val) -> Result<bool, Error<Val>> {
    run.count(part)?;
    run.count(value)?;
    Ok(match (value, part) {
        (Val::TStr(value), Val::TStr(part)) => match (std::str::from_utf8(value), std::str::from_utf8(part)) {
            (Ok(value), Ok(part)) => value.contains(part),
            _ => value == part,
        },
        (Val::Arr(value), Val::Arr(part)) => {
            for part in part.iter() {
                let mut found = false;
                for value in value.iter() {
                    found |= contains(run, value, part)?;
                    if found {
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            true
        }
        (Val::Obj(value), Val::Obj(part)) => {
            for (key, part) in part.iter() {
                let Some(value) = value.get(key) else { return Ok(false) };
                if !contains(run, value, part)? {
                    return Ok(false);
                }
            }
            true
        }
        (value, part) => value == part,
    })
}
