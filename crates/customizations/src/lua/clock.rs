//! Lua's `os`, as far as it is safe: `time`, `date`, `clock` and `difftime`. All times are UTC.

use std::rc::Rc;

use jiff::fmt::strtime;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use mlua::{Error, Lua, Result, Table, Value};

use super::limits::Limits;

/// How long a format of `os.date` may be.
const MAX_FORMAT: usize = 256;

/// The library.
pub(super) fn library(lua: &Lua, limits: &Rc<Limits>) -> Result<Table> {
    let os = lua.create_table()?;
    let limits = limits.clone();
    os.raw_set("clock", lua.create_function(move |_, ()| Ok(limits.seconds()))?)?;
    os.raw_set("difftime", lua.create_function(|_, (later, earlier): (f64, f64)| Ok(later - earlier))?)?;
    os.raw_set("time", lua.create_function(|_, fields: Option<Table>| time(fields))?)?;
    os.raw_set("date", lua.create_function(date)?)?;
    Ok(os)
}

fn time(fields: Option<Table>) -> Result<f64> {
    let Some(fields) = fields else { return Ok(Timestamp::now().as_second() as f64) };
    let field = |name: &str, default: Option<i64>| match fields.get::<Option<f64>>(name)? {
        Some(value) => Ok((value as i64).clamp(-1_000_000_000, 1_000_000_000)),
        None => default.ok_or_else(|| Error::runtime(format!("os.time: the field '{name}' is missing"))),
    };
    let (year, month, day) = (field("year", None)?, field("month", None)?, field("day", None)?);
    let (hour, min, sec) = (field("hour", Some(12))?, field("min", Some(0))?, field("sec", Some(0))?);
    // The thirteenth month is January, as mktime has it.
    let (year, month) = (year + (month - 1).div_euclid(12), (month - 1).rem_euclid(12) + 1);
    let days = days_from_1970(year, month) + day - 1;
    Ok((days * 86_400 + hour * 3_600 + min * 60 + sec) as f64)
}

/// Days from 1970-01-01 to the first of a month, in the Gregorian calendar.
fn days_from_1970(year: i64, month: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 - 719_468
}

fn date(lua: &Lua, (format, at): (Option<String>, Option<f64>)) -> Result<Value> {
    let format = format.unwrap_or_else(|| "%c".into());
    if format.len() > MAX_FORMAT {
        return Err(Error::runtime("os.date: the format is longer than 256 characters"));
    }
    let at = match at {
        Some(seconds) => Timestamp::from_second(seconds as i64)
            .map_err(|_| Error::runtime("os.date: the time is before the year -9999 or after 9999"))?,
        None => Timestamp::now(),
    };
    let at = at.to_zoned(TimeZone::UTC);
    let format = format.trim_start_matches('!');
    if format.starts_with("*t") {
        return Ok(Value::Table(fields(lua, &at)?));
    }
    let text = strtime::format(format, &at).map_err(|error| Error::runtime(format!("os.date: {error}")))?;
    Ok(Value::String(lua.create_string(text)?))
}

fn fields(lua: &Lua, at: &Zoned) -> Result<Table> {
    let fields = lua.create_table()?;
    for (name, value) in [
        ("year", i32::from(at.year())),
        ("month", at.month().into()),
        ("day", at.day().into()),
        ("hour", at.hour().into()),
        ("min", at.minute().into()),
        ("sec", at.second().into()),
        ("wday", i32::from(at.weekday().to_sunday_one_offset())),
        ("yday", at.day_of_year().into()),
    ] {
        fields.raw_set(name, value)?;
    }
    fields.raw_set("isdst", false)?;
    Ok(fields)
}
