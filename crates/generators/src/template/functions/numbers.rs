use gotmpl::Value;

use super::{ANY, Args, Entry, Result, text};

pub(super) const TABLE: &[Entry] = &[
    ("add", 0, ANY, |args| Ok(Value::Int(args.values.iter().map(whole).fold(0, i64::wrapping_add)))),
    ("add1", 1, 1, |args| Ok(Value::Int(whole(&args.values[0]).wrapping_add(1)))),
    ("sub", 2, 2, |args| Ok(Value::Int(whole(&args.values[0]).wrapping_sub(whole(&args.values[1]))))),
    ("mul", 1, ANY, |args| Ok(Value::Int(args.values.iter().map(whole).fold(1, i64::wrapping_mul)))),
    ("div", 2, 2, |args| divided(args, i64::checked_div)),
    ("mod", 2, 2, |args| divided(args, i64::checked_rem)),
    ("addf", 0, ANY, |args| decimal(args, Decimal::of(0.0), 0, Decimal::add)),
    ("add1f", 1, 1, |args| decimal(args, Decimal::of(1.0), 0, Decimal::add)),
    ("subf", 1, ANY, |args| decimal(args, Decimal::of(real(&args.values[0])), 1, Decimal::subtract)),
    ("mulf", 1, ANY, |args| decimal(args, Decimal::of(real(&args.values[0])), 1, Decimal::multiply)),
    ("divf", 1, ANY, |args| decimal(args, Decimal::of(real(&args.values[0])), 1, Decimal::divide)),
    ("max", 1, ANY, |args| Ok(Value::Int(args.values.iter().map(whole).max().unwrap_or(0)))),
    ("biggest", 1, ANY, |args| Ok(Value::Int(args.values.iter().map(whole).max().unwrap_or(0)))),
    ("min", 1, ANY, |args| Ok(Value::Int(args.values.iter().map(whole).min().unwrap_or(0)))),
    ("maxf", 1, ANY, |args| Ok(Value::Float(args.values.iter().map(real).fold(f64::NEG_INFINITY, f64::max)))),
    ("minf", 1, ANY, |args| Ok(Value::Float(args.values.iter().map(real).fold(f64::INFINITY, f64::min)))),
    ("ceil", 1, 1, |args| Ok(Value::Float(real(&args.values[0]).ceil()))),
    ("floor", 1, 1, |args| Ok(Value::Float(real(&args.values[0]).floor()))),
    ("round", 2, 3, round),
    ("int", 1, 1, |args| Ok(Value::Int(whole(&args.values[0])))),
    ("int64", 1, 1, |args| Ok(Value::Int(whole(&args.values[0])))),
    ("float64", 1, 1, |args| Ok(Value::Float(real(&args.values[0])))),
    ("atoi", 1, 1, |args| Ok(Value::Int(args.text(0)?.parse().unwrap_or(0)))),
    ("toDecimal", 1, 1, |args| Ok(Value::Int(i64::from_str_radix(&text(&args.values[0]), 8).unwrap_or(0)))),
    ("until", 1, 1, |args| {
        let end = args.whole(0)?;
        Ok(Value::List(steps(args, 0, end, if end < 0 { -1 } else { 1 })?.into_iter().map(Value::Int).collect()))
    }),
    ("untilStep", 3, 3, |args| {
        let steps = steps(args, args.whole(0)?, args.whole(1)?, args.whole(2)?)?;
        Ok(Value::List(steps.into_iter().map(Value::Int).collect()))
    }),
    ("seq", 0, 3, sequence),
];

/// How many numbers a series may have.
const MOST: i64 = 100_000;

/// Any value as a whole number; 0 if it is none. Strings may be written `0x1F` or `010`, as in Go.
pub(super) fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).unwrap_or(0),
        Value::Float(number) => *number as i64,
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => {
            let (sign, digits) =
                text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(text)), |digits| (-1, digits));
            let lower = digits.to_ascii_lowercase().replace('_', "");
            let radix =
                |prefix: &str, radix| lower.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, radix).ok());
            let parsed = radix("0x", 16)
                .or_else(|| radix("0b", 2))
                .or_else(|| radix("0o", 8))
                .or_else(|| if lower.len() > 1 { radix("0", 8) } else { None });
            parsed.unwrap_or_else(|| lower.parse().ok()).unwrap_or(0) * sign
        }
        _ => 0,
    }
}

/// Any value as a number; 0 if it is none.
fn real(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        other => whole(other) as f64,
    }
}

fn divided(args: &Args<'_>, operation: fn(i64, i64) -> Option<i64>) -> Result<Value> {
    let result = operation(whole(&args.values[0]), whole(&args.values[1]));
    result.map(Value::Int).ok_or_else(|| args.error("cannot divide by zero"))
}

fn round(args: &Args<'_>) -> Result<Value> {
    let (number, places) = (real(&args.values[0]), args.whole(1)?);
    let from = args.values.get(2).map_or(0.5, real);
    let power = 10_f64.powi(places.clamp(-300, 300) as i32);
    let shifted = number * power;
    let rounded = if shifted.fract() >= from { shifted.ceil() } else { shifted.floor() };
    Ok(Value::Float(rounded / power))
}

fn steps(args: &Args<'_>, start: i64, end: i64, step: i64) -> Result<Vec<i64>> {
    let mut steps = Vec::new();
    if step == 0 {
        return Ok(steps);
    }
    if end.abs_diff(start) / step.unsigned_abs() > MOST.unsigned_abs() {
        return Err(args.error(format!("gives more than {MOST} numbers")));
    }
    let mut at = start;
    while (step > 0 && at < end) || (step < 0 && at > end) {
        steps.push(at);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(steps)
}

fn sequence(args: &Args<'_>) -> Result<Value> {
    let (start, step, end) = match args.values.len() {
        0 => return Ok("".into()),
        1 => (1, None, args.whole(0)?),
        2 => (args.whole(0)?, None, args.whole(1)?),
        _ => (args.whole(0)?, Some(args.whole(1)?), args.whole(2)?),
    };
    let direction = if end < start { -1 } else { 1 };
    if step.is_some_and(|step| step > 0) && direction < 0 {
        return Ok("".into());
    }
    let steps = steps(args, start, end.saturating_add(direction), step.unwrap_or(direction))?;
    Ok(steps.iter().map(i64::to_string).collect::<Vec<_>>().join(" ").into())
}

fn decimal(
    args: &Args<'_>,
    first: Option<Decimal>,
    from: usize,
    with: fn(Decimal, Decimal) -> Option<Decimal>,
) -> Result<Value> {
    let mut result = first;
    for value in args.rest(from) {
        result = result.zip(Decimal::of(real(value))).and_then(|(one, two)| with(one, two));
    }
    result
        .map(|it| Value::Float(it.to_f64()))
        .ok_or_else(|| args.error("cannot be computed: a division by zero or too large a number"))
}

/// A number with decimal places, so that 0.1 and 0.2 make 0.3.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    places: u32,
}

impl Decimal {
    /// Places after the point that a division gives.
    const PRECISION: u32 = 16;

    fn of(number: f64) -> Option<Self> {
        let text = number.to_string();
        let (before, after) = text.split_once('.').unwrap_or((&text, ""));
        Some(Self { digits: format!("{before}{after}").parse().ok()?, places: u32::try_from(after.len()).ok()? })
    }

    fn at(self, places: u32) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow(places - self.places)?)
    }

    fn add(self, other: Self) -> Option<Self> {
        let places = self.places.max(other.places);
        Some(Self { digits: self.at(places)?.checked_add(other.at(places)?)?, places })
    }

    fn subtract(self, other: Self) -> Option<Self> {
        self.add(Self { digits: -other.digits, ..other })
    }

    fn multiply(self, other: Self) -> Option<Self> {
        Some(Self { digits: self.digits.checked_mul(other.digits)?, places: self.places.checked_add(other.places)? })
    }

    fn divide(self, other: Self) -> Option<Self> {
        let places = self.places.max(other.places);
        let scaled = self.at(places)?.checked_mul(10_i128.pow(Self::PRECISION))?;
        let divisor = other.at(places)?;
        let (quotient, remainder) = (scaled.checked_div(divisor)?, scaled.checked_rem(divisor)?);
        let away = i128::from(remainder.abs().checked_mul(2)? >= divisor.abs()) * scaled.signum() * divisor.signum();
        Some(Self { digits: quotient + away, places: Self::PRECISION })
    }

    fn to_f64(self) -> f64 {
        format!("{}e-{}", self.digits, self.places).parse().unwrap_or(f64::NAN)
    }
}
