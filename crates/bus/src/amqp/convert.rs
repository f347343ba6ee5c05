//! Messages to AMQP properties and back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::Message;

const CONTENT_TYPE: &str = "content-type";
const PERSISTENT: u8 = 2;
/// Room for a sentence and a tool's first lines; the message's own headers need the rest of the frame.
const MAX_REASON_BYTES: usize = 4096;

/// Headers that the bus adds for itself.
pub(super) mod own {
    /// Which attempt the next delivery is.
    pub const ATTEMPT: &str = "lockstep-attempt";
    /// Not before this moment, in milliseconds since 1970.
    pub const DUE: &str = "lockstep-due";
    /// Why it was put off or is a dead letter.
    pub const REASON: &str = "lockstep-reason";
    /// The queue that a dead letter came from.
    pub const QUEUE: &str = "lockstep-queue";
    /// Names a dead letter.
    pub const DEAD_ID: &str = "lockstep-dead-id";
    /// Since when it is one, in milliseconds since 1970.
    pub const DEAD_AT: &str = "lockstep-dead-at";

    pub const PREFIX: &str = "lockstep-";
}

/// What the broker notes about a message that it moved to the dead letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Death {
    pub queue: String,
    pub reason: String,
    pub at_unix_s: u64,
}

/// A message as it came over AMQP.
#[derive(Debug)]
pub(super) struct Decoded {
    pub message: Message,
    pub own: BTreeMap<String, String>,
    /// Deliveries before this one that were not settled.
    pub delivery_count: u32,
    /// The last death.
    pub death: Option<Death>,
}

impl Decoded {
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.own.get(name)?.parse().ok()
    }

    pub(super) fn attempt(&self) -> u32 {
        self.number(own::ATTEMPT).unwrap_or(1_u32).saturating_add(self.delivery_count)
    }
}

/// Sizes have been checked: what is too long for a short string is cut rather than a panic.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(crate::message::MAX_SHORT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::try_new(&text[..end]).unwrap_or_default()
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

pub(super) fn cut_reason(reason: &str) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("x-") || name.starts_with(own::PREFIX)
}

pub(super) fn properties(message: &Message, own: &[(&str, String)], expires: Option<Duration>) -> BasicProperties {
    let mut table = FieldTable::default();
    let carried = message.headers.iter().filter(|(name, _)| !is_reserved(name) && *name != CONTENT_TYPE);
    for (name, value) in carried {
        table.insert(short(name), long(value));
    }
    for (name, value) in own {
        table.insert(short(name), long(value));
    }
    let mut properties = BasicProperties::default()
        .with_headers(table)
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short(&message.id));
    if let Some(content_type) = message.headers.get(CONTENT_TYPE) {
        properties = properties.with_content_type(short(content_type));
    }
    if let Some(expires) = expires {
        properties = properties.with_expiration(short(&expires.as_millis().to_string()));
    }
    properties
}

pub(super) fn decode(delivery: &mut Delivery) -> Decoded {
    let body = Bytes::from(std::mem::take(&mut delivery.data));
    let properties = &delivery.properties;
    let mut headers = BTreeMap::new();
    let mut own = BTreeMap::new();
    let mut delivery_count = 0;
    let mut death = None;
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner()) {
        match (name.as_str(), value) {
            ("x-delivery-count", value) => delivery_count = number(value).unwrap_or_default(),
            ("x-death", AMQPValue::FieldArray(deaths)) => death = deaths.as_slice().first().and_then(read_death),
            (name, AMQPValue::LongString(text)) if name.starts_with(own::PREFIX) => {
                own.insert(name.to_owned(), text.to_string());
            }
            (name, AMQPValue::LongString(text)) if !is_reserved(name) => {
                headers.insert(name.to_owned(), text.to_string());
            }
            _ => {}
        }
    }
    if let Some(content_type) = properties.content_type() {
        headers.insert(CONTENT_TYPE.to_owned(), content_type.to_string());
    }
    let id = properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    Decoded { message: Message { id, headers, body }, own, delivery_count, death }
}

fn number(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::LongLongInt(n) => u32::try_from(*n).ok(),
        AMQPValue::LongInt(n) => u32::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(*n),
        AMQPValue::ShortInt(n) => u32::try_from(*n).ok(),
        AMQPValue::ShortShortInt(n) => u32::try_from(*n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(u32::from(*n)),
        AMQPValue::ShortUInt(n) => Some(u32::from(*n)),
        _ => None,
    }
}

fn read_death(value: &AMQPValue) -> Option<Death> {
    let AMQPValue::FieldTable(table) = value else { return None };
    let text = |name: &str| match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    let at_unix_s = match table.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => *seconds,
        _ => 0,
    };
    Some(Death { queue: text("queue"), reason: text("reason"), at_unix_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(properties: BasicProperties) -> Delivery {
        let mut delivery = Delivery::mock(1, "e".into(), "k".into(), false, b"body".to_vec());
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn a_message_comes_back_without_what_is_the_bus_s_own() {
        let headers = [
            ("cloudEvents:id", "d1"),
            ("content-type", "application/protobuf"),
            ("x-evil", "1"),
            ("lockstep-due", "9"),
        ];
        let message = Message {
            id: "d1".into(),
            headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            body: Bytes::from_static(b"body"),
        };
        let own = [(own::ATTEMPT, "3".to_owned())];
        let sent = properties(&message, &own, Some(Duration::from_millis(1500)));
        assert_eq!(sent.expiration().as_ref().map(ShortString::as_str), Some("1500"));
        let decoded = decode(&mut delivery(sent));
        let expected = [("cloudEvents:id", "d1"), ("content-type", "application/protobuf")];
        assert_eq!(decoded.message.headers, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!((decoded.message.id.as_str(), &decoded.message.body[..]), ("d1", &b"body"[..]));
        assert_eq!((decoded.attempt(), decoded.number::<i64>(own::DUE)), (3, None));
    }

    #[test]
    fn what_the_broker_adds() {
        let mut table = FieldTable::default();
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(4));
        let mut death = FieldTable::default();
        death.insert("queue".into(), long("q"));
        death.insert("reason".into(), long("delivery_limit"));
        death.insert("time".into(), AMQPValue::Timestamp(7));
        let mut deaths = lapin::types::FieldArray::default();
        deaths.push(AMQPValue::FieldTable(death));
        table.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        let decoded = decode(&mut delivery(BasicProperties::default().with_headers(table)));
        assert_eq!(decoded.attempt(), 5);
        assert_eq!(decoded.death, Some(Death { queue: "q".into(), reason: "delivery_limit".into(), at_unix_s: 7 }));
        assert!(decoded.message.headers.is_empty());
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(short(&"é".repeat(200)).as_str().len(), 254);
        assert_eq!(cut_reason(&("x".to_owned() + &"é".repeat(4000))).len(), 4095);
    }
}
