//! Schedules of sync windows: cron expressions of five fields.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

/// How far to look for the next time: a 29th of February may be eight years away.
const DAYS: u32 = 366 * 9;

/// A schedule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CronError {
    /// Not five fields and no name that is known.
    #[error("{0:?} is not a schedule: it takes five fields (minute hour day month weekday) or a name such as @daily")]
    Fields(String),
    /// One field is wrong.
    #[error("{value:?} is not a valid {field} in a schedule: use {min} to {max}, *, lists, ranges and steps")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
        /// The smallest number.
        min: u32,
        /// The greatest number.
        max: u32,
    },
}

/// A schedule: minutes, hours, days, months and weekdays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_hour: bool,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

impl Schedule {
    /// Reads `minute hour day month weekday`, or `@yearly`, `@monthly`, `@weekly`, `@daily`, `@hourly`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let expanded = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(text.into()));
        };
        let field = |name, min, max, names| Field { name, min, max, names };
        let (minutes, _) = field("minute", 0, 59, &[]).parse(minute)?;
        let (hours, any_hour) = field("hour", 0, 23, &[]).parse(hour)?;
        let (days, any_day) = field("day", 1, 31, &[]).parse(day)?;
        let (months, _) = field("month", 1, 12, &MONTHS).parse(month)?;
        let (weekdays, any_weekday) = field("weekday", 0, 7, &WEEKDAYS).parse(weekday)?;
        // Sunday is 0 and 7.
        let weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        Ok(Self { minutes, hours, days, months, weekdays, any_hour, any_day, any_weekday })
    }

    /// The first time after an instant.
    ///
    /// A time that a change of clocks skips comes as much later as the clocks were moved; one that occurs twice counts once, unless
    /// the schedule names every hour.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date();
        for _ in 0..DAYS {
            if self.is_day(date)
                && let Some(next) = self.next_on(date, after, zone)
            {
                return Some(next);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| u32::try_from(number).is_ok_and(|number| set >> number & 1 == 1);
        if !has(self.months, date.month()) {
            return false;
        }
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        // Both restricted: either will do.
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }

    fn next_on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut best: Option<Timestamp> = None;
        let mut found_at = 0;
        for hour in (0..24).filter(|hour| self.hours >> hour & 1 == 1) {
            // A skipped time moves into the next hour, so that hour has to be seen too.
            if best.is_some() && hour > found_at + 1 {
                break;
            }
            for minute in (0..60).filter(|minute| self.minutes >> minute & 1 == 1) {
                for at in self.instants(date.at(hour, minute, 0, 0), zone).into_iter().flatten() {
                    if at > after && best.is_none_or(|best| at < best) {
                        best = Some(at);
                        found_at = hour;
                    }
                }
            }
        }
        best
    }

    /// The instants that a time on the clock stands for.
    fn instants(&self, at: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let ambiguous = zone.to_ambiguous_timestamp(at);
        match ambiguous.offset() {
            AmbiguousOffset::Fold { .. } if self.any_hour => [ambiguous.earlier().ok(), ambiguous.later().ok()],
            _ => [ambiguous.compatible().ok(), None],
        }
    }
}

impl Field {
    /// The numbers as bits, and whether the field restricts nothing.
    fn parse(&self, text: &str) -> Result<(u64, bool), CronError> {
        let (mut bits, mut any) = (0, false);
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => {
                    (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(|| self.error(text))?)
                }
                None => (part, 1),
            };
            let (from, to) = match range {
                "*" | "?" => {
                    any |= step == 1;
                    (self.min, self.max)
                }
                _ => match range.split_once('-') {
                    Some((from, to)) => (self.number(from, text)?, self.number(to, text)?),
                    None if part.contains('/') => (self.number(range, text)?, self.max),
                    None => (self.number(range, text)?, self.number(range, text)?),
                },
            };
            if from > to {
                return Err(self.error(text));
            }
            bits |= (from..=to).step_by(step).fold(0_u64, |bits, number| bits | 1 << number);
        }
        Ok((bits, any))
    }

    fn number(&self, text: &str, whole: &str) -> Result<u32, CronError> {
        let text = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == text) {
            return u32::try_from(at).map(|at| at + self.min).map_err(|_| self.error(whole));
        }
        let number = text.parse().ok().filter(|number| (self.min..=self.max).contains(number));
        number.ok_or_else(|| self.error(whole))
    }

    fn error(&self, value: &str) -> CronError {
        CronError::Field { field: self.name, value: value.into(), min: self.min, max: self.max }
    }
}

/// `next - duration` of a window, kept inside what a timestamp can hold.
pub(crate) fn minus(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_sub(seconds.seconds()).unwrap_or(Timestamp::MIN)
}

/// The end of a window, kept inside what a timestamp can hold.
pub(crate) fn plus(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        Schedule::parse(schedule)
            .unwrap()
            .next_after(after.parse().unwrap(), &zone)
            .map_or("never".into(), |at| at.to_string())
    }

    #[test]
    fn next_times() {
        for (schedule, after, want) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:30:00Z"),
            ("5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"),
            ("0 22 * * *", "2026-01-01T22:00:00Z", "2026-01-02T22:00:00Z"),
            ("0 9-17/4 * * *", "2026-01-01T10:00:00Z", "2026-01-01T13:00:00Z"),
            ("0 0 * * MON-FRI", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("0 0 1 jan,Jul *", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
            ("0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * *", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", "never"),
            ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ] {
            assert_eq!(next(schedule, after, "UTC"), want, "{schedule} {after}");
        }
    }

    #[test]
    fn changes_of_clocks() {
        for (schedule, after, zone, want) in [
            // Ten in the evening is at 21:00 UTC in winter and at 20:00 UTC in summer.
            ("0 22 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-28T21:00:00Z"),
            ("0 22 * * *", "2026-03-29T12:00:00Z", "Europe/Berlin", "2026-03-29T20:00:00Z"),
            ("0 22 * * *", "2026-10-24T21:00:00Z", "Europe/Berlin", "2026-10-25T21:00:00Z"),
            // 02:30 does not exist on this day, so it comes an hour later on the clock.
            ("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            ("*/30 * * * *", "2026-03-29T00:59:00Z", "Europe/Berlin", "2026-03-29T01:00:00Z"),
            // 02:30 occurs twice on this day and counts once, but every hour means every hour.
            ("30 2 * * *", "2026-10-24T12:00:00Z", "Europe/Berlin", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-26T01:30:00Z"),
            ("30 * * * *", "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T01:30:00Z"),
            ("0 9 * * 1", "2026-03-07T00:00:00Z", "America/New_York", "2026-03-09T13:00:00Z"),
            ("0 0 * * *", "2026-01-01T10:00:00Z", "Asia/Tokyo", "2026-01-01T15:00:00Z"),
        ] {
            assert_eq!(next(schedule, after, zone), want, "{schedule} {after} {zone}");
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        for text in ["*/0 * * * *", "5-1 * * * *", "1- * * * *", ", * * * *", "@sometimes", "* * * foo *"] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}
