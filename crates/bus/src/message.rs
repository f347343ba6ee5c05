use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use wire::{Envelope, WireError};

use crate::PublishError;

/// The largest body: a forge's largest webhook (25 MiB) and what is added to it.
pub const MAX_BODY_BYTES: usize = 26 * 1024 * 1024;
/// All header names and values together. AMQP sends them in one frame of 128 KiB; the rest is for what the broker adds.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// AMQP's limit for ids, keys and names.
pub(crate) const MAX_SHORT_BYTES: usize = 255;

/// What is carried: an id, headers, a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The CloudEvents id. Two messages may have the same: consumers take the second for a repetition.
    pub id: String,
    /// CloudEvents attributes, `content-type`, `traceparent`. Names that begin with `x-` or `lockstep-` are the bus's own
    /// and are not carried.
    pub headers: BTreeMap<String, String>,
    /// The encoded message.
    pub body: Bytes,
}

impl Message {
    pub(crate) fn check_size(&self, exchange: &str, routing_key: &str) -> Result<(), PublishError> {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let name = self.headers.keys().map(String::len).max().unwrap_or_default();
        let content_type = self.headers.get("content-type").map_or(0, String::len);
        let limits = [
            ("body", self.body.len(), MAX_BODY_BYTES),
            ("headers", headers, MAX_HEADER_BYTES),
            ("header name", name, MAX_SHORT_BYTES),
            ("content type", content_type, MAX_SHORT_BYTES),
            ("id", self.id.len(), MAX_SHORT_BYTES),
            ("exchange name", exchange.len(), MAX_SHORT_BYTES),
            ("routing key", routing_key.len(), MAX_SHORT_BYTES),
        ];
        match limits.into_iter().find(|(_, bytes, limit)| bytes > limit) {
            Some((what, bytes, limit)) => Err(PublishError::TooLarge { what, bytes, limit }),
            None => Ok(()),
        }
    }
}

/// Bodies and headers are other people's data: logs get only sizes.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl From<Envelope> for Message {
    fn from(envelope: Envelope) -> Self {
        Self { id: envelope.id.clone(), headers: envelope.headers(), body: envelope.data }
    }
}

impl TryFrom<Message> for Envelope {
    type Error = WireError;

    fn try_from(message: Message) -> Result<Self, WireError> {
        Envelope::from_headers(&message.headers, message.body)
    }
}

impl TryFrom<&Message> for Envelope {
    type Error = WireError;

    fn try_from(message: &Message) -> Result<Self, WireError> {
        Envelope::from_headers(&message.headers, message.body.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_back() {
        let command = wire::Command { id: "c1".into(), cluster: "prod".into(), ..Default::default() };
        let envelope = Envelope::command(&command);
        let message = Message::from(envelope.clone());
        assert_eq!(message.id, "c1");
        assert_eq!(Envelope::try_from(&message).unwrap(), envelope);
        assert!(!format!("{message:?}").contains("cloudEvents"));
    }

    #[test]
    fn what_the_broker_cannot_carry_is_an_error() {
        let message = |id: usize, header: usize, body: usize| Message {
            id: "i".repeat(id),
            headers: BTreeMap::from([("subject".to_owned(), "h".repeat(header))]),
            body: Bytes::from(vec![0; body]),
        };
        let cases = [
            (message(255, 100, 100), "", 255, None),
            (message(1, MAX_HEADER_BYTES - 15, MAX_BODY_BYTES), "", 1, None),
            (message(256, 1, 1), "", 1, Some("id")),
            (message(1, MAX_HEADER_BYTES, 1), "", 1, Some("headers")),
            (message(1, 1, MAX_BODY_BYTES + 1), "", 1, Some("body")),
            (message(1, 1, 1), "", 256, Some("routing key")),
        ];
        for (message, exchange, key, problem) in cases {
            let result = message.check_size(exchange, &"k".repeat(key));
            let found = result.err().map(|e| match e {
                PublishError::TooLarge { what, .. } => what,
                other => panic!("{other}"),
            });
            assert_eq!(found, problem);
        }
    }
}
