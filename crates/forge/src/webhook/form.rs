use bytes::Bytes;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Json,
    /// `payload=<JSON, percent-encoded>`
    Form,
}

impl Packing {
    /// By the `Content-Type` header; None for what no forge sends.
    pub(super) fn of(content_type: Option<&str>) -> Option<Self> {
        let media_type = content_type?.split(';').next()?.trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else {
            None
        }
    }

    /// The JSON inside. A form without a payload, or with several, has none.
    pub(super) fn payload(self, body: &Bytes) -> Bytes {
        if self == Self::Json {
            return body.clone();
        }
        let pairs = body.split(|byte| *byte == b'&').map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[pair.len()..]),
        });
        let mut payloads = pairs.filter(|(name, _)| name.len() <= LONGEST_NAME && decode(name) == b"payload");
        match (payloads.next(), payloads.next()) {
            (Some((_, payload)), None) => Bytes::from(decode(payload)),
            _ => Bytes::new(),
        }
    }
}

/// `payload` with each letter encoded.
const LONGEST_NAME: usize = 3 * "payload".len();

/// Decodes to bytes and not to text, so that what is not text does not grow by being replaced: JSON tells that later.
fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|digits| {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(digit(digits[0])? * 16 + digit(digits[1])?)
        });
        decoded.push(hex.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing() {
        let cases = [
            (Some("application/json"), Some(Packing::Json)),
            (Some("Application/JSON; charset=utf-8"), Some(Packing::Json)),
            (Some("application/x-www-form-urlencoded"), Some(Packing::Form)),
            (Some("text/plain"), None),
            (Some("application/jsonp"), None),
            (Some(""), None),
            (None, None),
        ];
        for (content_type, expected) in cases {
            assert_eq!(Packing::of(content_type), expected, "{content_type:?}");
        }
    }

    #[test]
    fn payloads() {
        let cases = [
            ("payload=%7B%22a%22%3A%22b+c%22%7D", r#"{"a":"b c"}"#),
            ("x=1&payload=%7B%7D", "{}"),
            ("payload=1&payload=2", ""),
            ("p%61yload=1&x", "1"),
            ("payload=1&p%61yload=2", ""),
            ("payload", ""),
            ("payload=a=b", "a=b"),
            ("payload=%zz%4%", "%zz%4%"),
            ("payloads=1", ""),
            ("", ""),
            ("{}", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(Packing::Form.payload(&Bytes::from(body)), expected, "{body}");
        }
        assert_eq!(Packing::Form.payload(&Bytes::from_static(b"payload=%FF\xff")), b"\xff\xff".as_slice());
    }
}
