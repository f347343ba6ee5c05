//! What is the same although it is written differently: quantities, durations, numbers as text, nothing in its many forms.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::path::Path;

/// Whether a value says nothing: null, empty text, an empty list, a map of such.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_blank),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a value is the zero of its type, which API servers leave out for most fields.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        other => is_blank(other),
    }
}

/// Plain booleans and numbers of the built-in types that vanish when they are false or zero, under whatever parent.
pub(super) fn vanishes_when_zero(field: &str) -> bool {
    matches!(
        field,
        "hostNetwork"
            | "hostPID"
            | "hostIPC"
            | "stdin"
            | "stdinOnce"
            | "tty"
            | "readOnly"
            | "paused"
            | "minReadySeconds"
            | "initialDelaySeconds"
            | "publishNotReadyAddresses"
            | "preserveUnknownFields"
            | "insecureSkipTLSVerify"
            | "deprecated"
            | "nullable"
            | "uniqueItems"
            | "exclusiveMaximum"
            | "exclusiveMinimum"
            | "globalDefault"
            | "unschedulable"
            | "priority"
            | "hidden"
    ) || field.starts_with("x-kubernetes-")
}

/// Whether two scalars mean the same at this place.
pub(super) fn same_scalar(path: &Path<'_>, desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::String(a), Value::String(b)) => a == b || same_text(path, a, b),
        // Whole numbers beyond what a float holds exactly are compared as what they are.
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            number_as_text(path, &number.to_string(), text)
        }
        (a, b) => a == b,
    }
}

fn same_text(path: &Path<'_>, a: &str, b: &str) -> bool {
    if path.is_free_text() {
        return false;
    }
    if is_quantity_field(path)
        && let (Some(a), Some(b)) = (quantity(a), quantity(b))
    {
        return a == b;
    }
    if path.field().is_some_and(is_duration_field)
        && let (Some(a), Some(b)) = (duration(a), duration(b))
    {
        return a == b;
    }
    // A certificate authority that is filled in by a controller; the manifest only holds the place.
    path.field() == Some("caBundle") && matches!(a, "" | "Cg==" | "Cgo=")
}

fn number_as_text(path: &Path<'_>, number: &str, text: &str) -> bool {
    if path.is_free_text() {
        return false;
    }
    if is_quantity_field(path) {
        return quantity(number).is_some_and(|number| quantity(text) == Some(number));
    }
    path.field().is_some_and(takes_number_or_text) && number == text
}

/// Fields of type IntOrString, and ports, which people quote.
fn takes_number_or_text(field: &str) -> bool {
    matches!(field, "maxSurge" | "maxUnavailable" | "minAvailable" | "number" | "port")
        || field.ends_with("Port")
        || field.ends_with("port")
}

fn is_quantity_field(path: &Path<'_>) -> bool {
    const MAPS: [&str; 12] = [
        "limits",
        "requests",
        "hard",
        "used",
        "capacity",
        "allocatable",
        "overhead",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
    ];
    match (path.parent_field(), path.field()) {
        (Some(parent), Some(_)) if MAPS.contains(&parent) => true,
        (Some("target" | "current" | "metric"), Some("value")) => true,
        (_, Some(field)) => matches!(
            field,
            "sizeLimit"
                | "divisor"
                | "averageValue"
                | "targetAverageValue"
                | "targetValue"
                | "cpu"
                | "memory"
                | "storage"
                | "ephemeral-storage"
        ),
        _ => false,
    }
}

fn is_duration_field(field: &str) -> bool {
    const WORDS: [&str; 9] =
        ["duration", "interval", "timeout", "period", "before", "after", "ttl", "delay", "lifetime"];
    WORDS.iter().any(|word| {
        field.len() >= word.len()
            && field.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// A resource quantity in billionths. None: it is none, or finer or greater than any real one.
pub(super) fn quantity(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let (mantissa, decimals) = decimal(digits)?;
    let exact = |value: i128, exponent: i32| -> Option<i128> {
        let exponent = exponent - decimals;
        if exponent >= 0 {
            value.checked_mul(10_i128.checked_pow(exponent.unsigned_abs())?)
        } else {
            let divisor = 10_i128.checked_pow(exponent.unsigned_abs())?;
            (value % divisor == 0).then_some(value / divisor)
        }
    };
    let binary = |power: u32| exact(mantissa.checked_mul(1024_i128.checked_pow(power)?)?, 9);
    match suffix {
        "n" => exact(mantissa, 0),
        "u" => exact(mantissa, 3),
        "m" => exact(mantissa, 6),
        "" => exact(mantissa, 9),
        "k" => exact(mantissa, 12),
        "M" => exact(mantissa, 15),
        "G" => exact(mantissa, 18),
        "T" => exact(mantissa, 21),
        "P" => exact(mantissa, 24),
        "E" => exact(mantissa, 27),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&exponent).then(|| exact(mantissa, 9 + exponent)).flatten()
        }
    }
}

/// A Go duration in nanoseconds.
pub(super) fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at(end);
        let (mantissa, decimals) = decimal(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let divisor = 10_i128.checked_pow(decimals.unsigned_abs())?;
        total = total.checked_add(mantissa.checked_mul(unit)? / divisor)?;
        rest = tail;
    }
    Some(if negative { -total } else { total })
}

/// A decimal number as its digits and how many of them stand behind the point.
fn decimal(text: &str) -> Option<(i128, i32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.starts_with(['+', '-']) || fraction.contains('.') || fraction.len() > 30 {
        return None;
    }
    let digits = whole.trim_start_matches(['+', '-']);
    if digits.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number: i128 = 0;
    for byte in digits.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    let decimals = i32::try_from(fraction.len()).ok()?;
    Some((if whole.starts_with('-') { -number } else { number }, decimals))
}

/// The bytes behind base64, written with line breaks or without padding as people do.
pub(super) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return LENIENT.decode(text).ok();
    }
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (a, b, same) in [
            ("1000m", "1", true),
            ("0.5", "500m", true),
            ("1Gi", "1024Mi", true),
            ("1Gi", "1073741824", true),
            ("1.5Gi", "1536Mi", true),
            ("1e3", "1k", true),
            ("1E3", "1000", true),
            ("1G", "1Gi", false),
            ("100m", "0.1", true),
            ("100m", "0.2", false),
            ("10E", "10000P", true),
            (".5", "500m", true),
            ("-1", "-1000m", true),
        ] {
            let (left, right) = (quantity(a), quantity(b));
            assert!(left.is_some() && right.is_some(), "{a} {b}");
            assert_eq!(left == right, same, "{a} {b}");
        }
        for text in ["", "abc", "1 Gi", "1Gib", "1.2.3", "--", "1e", "1e99", "m", "0x10"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (a, b, same) in [
            ("2160h", "2160h0m0s", true),
            ("90m", "1h30m", true),
            ("1.5h", "1h30m0s", true),
            ("0", "0s", true),
            ("1m", "1h", false),
            ("-5s", "-5000ms", true),
        ] {
            let (left, right) = (duration(a), duration(b));
            assert!(left.is_some() && right.is_some(), "{a} {b}");
            assert_eq!(left == right, same, "{a} {b}");
        }
        for text in ["", "5", "h", "1d", "1h30", "abc"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn blank_and_zero() {
        use serde_json::json;
        for value in [json!(null), json!(""), json!([]), json!({}), json!({"a": null, "b": {"c": []}})] {
            assert!(is_blank(&value) && is_zero(&value), "{value}");
        }
        for value in [json!(false), json!(0), json!(0.0)] {
            assert!(!is_blank(&value) && is_zero(&value), "{value}");
        }
        for value in [json!("a"), json!([null]), json!({"a": 0}), json!(true), json!(1)] {
            assert!(!is_blank(&value), "{value}");
        }
    }
}
