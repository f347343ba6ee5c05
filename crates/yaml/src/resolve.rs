//! What a scalar without quotes means.

use serde_json::{Number, Value};

use crate::whole;

/// A scalar's meaning, before it is a value or a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    Null,
    Bool(bool),
    Int(i64),
    /// Too large for a signed number.
    Large(u64),
    Float(f64),
    /// The text itself.
    Text,
    /// `<<`
    Merge,
}

impl Meaning {
    /// As a value; `None` if JSON has none.
    pub(crate) fn into_value(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Large(value) => value.into(),
            Self::Float(value) => match whole(value) {
                Some(whole) => Value::Number(whole),
                None => Value::Number(Number::from_f64(value)?),
            },
            Self::Text | Self::Merge => text.into(),
        })
    }

    /// As a key; `None` if it can be none.
    pub(crate) fn into_key(self, text: &str) -> Option<String> {
        Some(match self {
            Self::Null | Self::Large(_) => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => float_key(value),
            Self::Text | Self::Merge => text.to_owned(),
        })
    }
}

/// The meaning of a plain scalar.
pub(crate) fn plain(text: &str) -> Meaning {
    let Some(&first) = text.as_bytes().first() else { return Meaning::Null };
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Meaning::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Meaning::Bool(false),
        "~" | "null" | "Null" | "NULL" => Meaning::Null,
        ".nan" | ".NaN" | ".NAN" => Meaning::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Meaning::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Meaning::Float(f64::NEG_INFINITY),
        "<<" => Meaning::Merge,
        _ if first == b'.' => fraction(text).map_or(Meaning::Text, Meaning::Float),
        _ if first.is_ascii_digit() || matches!(first, b'+' | b'-') => number(text),
        _ => Meaning::Text,
    }
}

fn number(text: &str) -> Meaning {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, &plain[1..]),
        Some(b'+') => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(value) = integer(digits) {
        match (negative, i64::try_from(value)) {
            (false, Ok(value)) => return Meaning::Int(value),
            (true, Ok(value)) => return Meaning::Int(-value),
            (true, Err(_)) if value == 1 << 63 => return Meaning::Int(i64::MIN),
            (false, Err(_)) if !plain.starts_with('+') => return Meaning::Large(value),
            _ => {}
        }
    }
    decimal(&plain).map_or(Meaning::Text, Meaning::Float)
}

/// A whole number in one of Go's bases.
fn integer(digits: &str) -> Option<u64> {
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust's parser takes a sign here, Go's does not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

/// A number that begins with its point: here an underscore stands between two digits, elsewhere anywhere.
fn fraction(text: &str) -> Option<f64> {
    let digit = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    let fits = text.match_indices('_').all(|(at, _)| digit(at.checked_sub(1)) && digit(Some(at + 1)));
    fits.then(|| decimal(&text.replace('_', ""))).flatten()
}

/// A decimal fraction, with an exponent or without; `None` for everything else, also for what is too large.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    let valid = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|text| !text.is_empty() && digits(text));
    if !valid {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A key that is a fraction, as Go writes it with the digits of a 32-bit number.
fn float_key(value: f64) -> String {
    let value = value as f32;
    if value.is_nan() {
        return ".nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        exponent if (-4..6).contains(&exponent) || (value == 0.0) => {
            let plain = format!("{value}");
            if value == 0.0 { plain.trim_end_matches(".0").into() } else { plain }
        }
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
    }
}
