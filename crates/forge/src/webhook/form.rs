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
        let mut payloads = url::form_urlencoded::parse(body).filter(|(name, _)| name == "payload");
        match (payloads.next(), payloads.next()) {
            (Some((_, payload)), None) => Bytes::from(payload.into_owned().into_bytes()),
            _ => Bytes::new(),
        }
    }
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
            ("", ""),
            ("{}", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(Packing::Form.payload(&Bytes::from(body)), expected, "{body}");
        }
    }
}
