use std::{fmt, str::FromStr};

/// A position in a trace, as in the W3C `traceparent` header.
///
/// ```
/// let parent: wire::TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// assert_eq!(parent.child().trace_id(), parent.trace_id());
/// # Ok::<(), wire::TraceParentError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// The text is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent (00-<32 hex digits>-<16 hex digits>-<2 hex digits>, ids not all zero)")]
pub struct TraceParentError;

const SAMPLED: u8 = 1;
/// Length of a version 00 header.
const LENGTH: usize = 55;

impl TraceParent {
    /// Starts a new, sampled trace.
    pub fn new_root() -> Self {
        Self { trace: not_zero(), span: not_zero(), flags: SAMPLED }
    }

    /// A new span in the same trace.
    pub fn child(&self) -> Self {
        Self { span: not_zero(), ..*self }
    }

    /// Reads a header's value. Versions after 00 are read as far as 00 goes, as the standard asks.
    pub fn parse(text: &str) -> Result<Self, TraceParentError> {
        let head = text.get(..LENGTH).ok_or(TraceParentError)?;
        let mut parts = head.split('-');
        let mut next = || parts.next().ok_or(TraceParentError);
        let [version] = digits::<1>(next()?)?;
        let trace = digits::<16>(next()?)?;
        let span = digits::<8>(next()?)?;
        let [flags] = digits::<1>(next()?)?;
        let rest = &text[LENGTH..];
        let length_fits = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        if version == 0xff || !length_fits || trace == [0; 16] || span == [0; 8] {
            return Err(TraceParentError);
        }
        Ok(Self { trace, span, flags })
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }

    /// The span's id: 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex::encode(self.span)
    }

    /// Whether the trace is being recorded.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Random bytes; all zeros would be an invalid id.
fn not_zero<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    while bytes == [0; N] {
        rand::fill(&mut bytes[..]);
    }
    bytes
}

/// Exactly N bytes as lower-case digits: the standard forbids capitals.
fn digits<const N: usize>(text: &str) -> Result<[u8; N], TraceParentError> {
    let mut bytes = [0; N];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(TraceParentError);
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| TraceParentError)?;
    Ok(bytes)
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace), hex::encode(self.span), self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn parses() {
        let cases = [
            (GOOD, true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", false),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false),
            ("", false),
            ("ééééééééééééééééééééééééééééééééééééééé", false),
        ];
        for (text, valid) in cases {
            assert_eq!(TraceParent::parse(text).is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let root: TraceParent = GOOD.parse().unwrap();
        let child = root.child();
        assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(child.span_id(), root.span_id());
        assert!(child.sampled());
        assert_ne!(TraceParent::new_root().trace_id(), TraceParent::new_root().trace_id());
    }

    proptest! {
        #[test]
        fn round_trip(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let one = TraceParent { trace, span, flags };
            prop_assert_eq!(TraceParent::parse(&one.to_string()), Ok(one));
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = TraceParent::parse(&text);
        }
    }
}
