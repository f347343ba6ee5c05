use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;

use crate::{
    Command, Delivery, Feedback, Forge, Report, Repository, TraceParent, WireError, delivery::Event, escape_word,
};

/// The types of message, as in `cloudEvents:type`. A change that old readers cannot take gets a new version.
pub mod types {
    /// A [`crate::Delivery`].
    pub const DELIVERY: &str = "dev.lockstep.delivery.v1";
    /// A [`crate::Command`].
    pub const COMMAND: &str = "dev.lockstep.command.v1";
    /// A [`crate::Report`].
    pub const REPORT: &str = "dev.lockstep.report.v1";
    /// A [`crate::Feedback`].
    pub const FEEDBACK: &str = "dev.lockstep.feedback.v1";
    /// A forge's webhook as it came, kept because it was authentic but could not be understood. Not protobuf.
    pub const WEBHOOK: &str = "dev.lockstep.webhook.v1";

    pub(super) const ALL: [&str; 5] = [DELIVERY, COMMAND, REPORT, FEEDBACK, WEBHOOK];
}

/// A message that has a type of its own on the wire.
pub trait Typed {
    /// Its `cloudEvents:type`.
    const TYPE: &'static str;
}

impl Typed for Delivery {
    const TYPE: &'static str = types::DELIVERY;
}
impl Typed for Command {
    const TYPE: &'static str = types::COMMAND;
}
impl Typed for Report {
    const TYPE: &'static str = types::REPORT;
}
impl Typed for Feedback {
    const TYPE: &'static str = types::FEEDBACK;
}

const SPEC_VERSION: &str = "1.0";
const CONTENT_TYPE: &str = "content-type";
const TRACEPARENT: &str = "traceparent";
const PROTOBUF: &str = "application/protobuf";
const OCTETS: &str = "application/octet-stream";

/// A message with its CloudEvents 1.0 attributes, in binary mode: attributes are headers, the body is the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Unique for its source. A delivery's is the forge's delivery id, a command's its own id.
    pub id: String,
    /// Who it comes from, as a URI reference: `/github/acme/gateway`, `/cluster/prod`.
    pub source: String,
    /// One of [`types`].
    pub r#type: String,
    /// What it is about: a ref, `pull/12`, an application, a commit.
    pub subject: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub time_unix_ms: i64,
    /// The span that caused it.
    pub traceparent: Option<TraceParent>,
    /// The encoded message.
    pub data: Bytes,
}

impl Envelope {
    /// A webhook that was understood.
    pub fn delivery(delivery: &Delivery) -> Self {
        let subject = match &delivery.event {
            Some(Event::Push(push)) => Some(push.r#ref.clone()),
            Some(Event::PullRequest(pull)) => Some(format!("pull/{}", pull.number)),
            None => None,
        };
        let source = repository_source(delivery.forge(), delivery.repository.as_ref());
        Self::typed(delivery, delivery.id.clone(), source, subject, delivery.received_at_unix_ms)
    }

    /// Something a person asks a worker to do.
    pub fn command(command: &Command) -> Self {
        let subject = application_subject(&command.application_namespace, &command.application_name);
        let source = format!("/command/{}", escape_word(&command.cluster));
        Self::typed(command, command.id.clone(), source, subject, command.issued_at_unix_ms)
    }

    /// What a reconcile did. Its time is that of its last step.
    pub fn report(report: &Report) -> Self {
        let subject = application_subject(&report.application_namespace, &report.application_name);
        let source = format!("/cluster/{}", escape_word(&report.cluster));
        let time = report.steps.last().map_or_else(now_unix_ms, |step| step.at_unix_us / 1000);
        Self::typed(report, new_id(), source, subject, time)
    }

    /// Something to write back to a forge.
    pub fn feedback(feedback: &Feedback) -> Self {
        let source = repository_source(feedback.forge(), feedback.repository.as_ref());
        let time = feedback.created_at_unix_us / 1000;
        Self::typed(feedback, new_id(), source, Some(feedback.commit.clone()), time)
    }

    /// An authentic webhook that could not be understood, for the dead letters.
    pub fn webhook(forge: Forge, id: &str, event: &str, body: Bytes, received_at_unix_ms: i64) -> Self {
        Self {
            id: if id.is_empty() { new_id() } else { id.to_owned() },
            source: format!("/{}", forge.name()),
            r#type: types::WEBHOOK.to_owned(),
            subject: Some(event.to_owned()).filter(|s| !s.is_empty()),
            time_unix_ms: received_at_unix_ms,
            traceparent: None,
            data: body,
        }
    }

    fn typed<M: Message + Typed>(
        message: &M,
        id: String,
        source: String,
        subject: Option<String>,
        time_unix_ms: i64,
    ) -> Self {
        Self {
            id: if id.is_empty() { new_id() } else { id },
            source,
            r#type: M::TYPE.to_owned(),
            subject: subject.filter(|s| !s.is_empty()),
            time_unix_ms,
            traceparent: None,
            data: Bytes::from(message.encode_to_vec()),
        }
    }

    /// The same message as part of a trace.
    pub fn with_trace(mut self, parent: TraceParent) -> Self {
        self.traceparent = Some(parent);
        self
    }

    /// The headers to send: `cloudEvents:` attributes, `content-type`, and `traceparent` if there is one.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        let mut attribute = |name: &str, value: &str| headers.insert(format!("cloudEvents:{name}"), value.to_owned());
        attribute("specversion", SPEC_VERSION);
        attribute("id", &self.id);
        attribute("source", &self.source);
        attribute("type", &self.r#type);
        if let Some(subject) = &self.subject {
            attribute("subject", subject);
        }
        // Outside jiff's range of years there is no RFC 3339 text: such a time is left out.
        if let Ok(time) = jiff::Timestamp::from_millisecond(self.time_unix_ms) {
            attribute("time", &time.to_string());
        }
        headers.insert(CONTENT_TYPE.to_owned(), content_type(&self.r#type).to_owned());
        if let Some(parent) = &self.traceparent {
            headers.insert(TRACEPARENT.to_owned(), parent.to_string());
        }
        headers
    }

    /// Reads what [`Envelope::headers`] wrote. Strict, so that a foreign message is never half understood; only a broken
    /// `traceparent` is dropped, since a trace must not cost a delivery. Headers it does not know are ignored.
    pub fn from_headers(headers: &BTreeMap<String, String>, data: Bytes) -> Result<Self, WireError> {
        let required =
            |name| attribute(headers, name).filter(|v| !v.is_empty()).ok_or(WireError::MissingAttribute(name));
        let version = required("specversion")?;
        if version != SPEC_VERSION {
            return Err(WireError::SpecVersion { found: version.to_owned() });
        }
        let r#type = required("type")?;
        if !types::ALL.contains(&r#type) {
            return Err(WireError::UnknownType { found: r#type.to_owned() });
        }
        let (expected, found) = (content_type(r#type), headers.get(CONTENT_TYPE).map_or("", String::as_str));
        if found != expected {
            return Err(WireError::ContentType { found: found.to_owned(), expected });
        }
        let time_unix_ms = match attribute(headers, "time") {
            Some(text) => text
                .parse::<jiff::Timestamp>()
                .map_err(|_| WireError::Time { found: text.to_owned() })?
                .as_millisecond(),
            None => 0,
        };
        Ok(Self {
            id: required("id")?.to_owned(),
            source: required("source")?.to_owned(),
            r#type: r#type.to_owned(),
            subject: attribute(headers, "subject").map(str::to_owned),
            time_unix_ms,
            traceparent: headers.get(TRACEPARENT).and_then(|text| TraceParent::parse(text).ok()),
            data,
        })
    }

    /// The message inside, if it is of the type that the reader wants.
    pub fn open<M: Message + Default + Typed>(&self) -> Result<M, WireError> {
        if self.r#type != M::TYPE {
            return Err(WireError::WrongType { expected: M::TYPE, found: self.r#type.clone() });
        }
        M::decode(self.data.clone()).map_err(|source| WireError::Body { expected: M::TYPE, source })
    }
}

/// CloudEvents for AMQP allows two prefixes: `:` is preferred, `_` is for JMS.
fn attribute<'a>(headers: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    headers
        .get(&format!("cloudEvents:{name}"))
        .or_else(|| headers.get(&format!("cloudEvents_{name}")))
        .map(String::as_str)
}

fn content_type(r#type: &str) -> &'static str {
    if r#type == types::WEBHOOK { OCTETS } else { PROTOBUF }
}

fn repository_source(forge: Forge, repository: Option<&Repository>) -> String {
    match repository {
        Some(r) => format!("/{}/{}/{}", forge.name(), escape_word(&r.owner), escape_word(&r.name)),
        None => format!("/{}", forge.name()),
    }
}

fn application_subject(namespace: &str, name: &str) -> Option<String> {
    (!name.is_empty()).then(|| format!("{namespace}/{name}"))
}

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, CheckState, Push, Refresh, Step, command, feedback};
    use proptest::prelude::*;

    fn delivery() -> Delivery {
        let repository = Repository { owner: "acme".into(), name: "gateway".into(), ..Default::default() };
        Delivery {
            forge: Forge::Github.into(),
            id: "72d3162e-cc78-11e3-81ab-4c9367dc0958".into(),
            repository: Some(repository),
            event: Some(Event::Push(Push { r#ref: "refs/heads/main".into(), ..Default::default() })),
            received_at_unix_ms: 1_700_000_000_123,
            body_sha256: vec![7; 32],
        }
    }

    #[test]
    fn headers_of_a_delivery() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = Envelope::delivery(&delivery()).with_trace(parent.parse().unwrap()).headers();
        let expected = [
            ("cloudEvents:id", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("cloudEvents:source", "/github/acme/gateway"),
            ("cloudEvents:specversion", "1.0"),
            ("cloudEvents:subject", "refs/heads/main"),
            ("cloudEvents:time", "2023-11-14T22:13:20.123Z"),
            ("cloudEvents:type", "dev.lockstep.delivery.v1"),
            ("content-type", "application/protobuf"),
            ("traceparent", parent),
        ];
        assert_eq!(headers, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn each_type_comes_back() {
        fn check<M: Message + Default + Typed + PartialEq>(message: &M, sent: Envelope, subject: Option<&str>) {
            let received = Envelope::from_headers(&sent.headers(), sent.data.clone()).unwrap();
            assert_eq!(received, sent);
            assert!(!received.id.is_empty());
            assert_eq!(received.subject.as_deref(), subject);
            assert!(received.open::<M>().unwrap() == *message);
        }
        let command = Command {
            id: "c1".into(),
            cluster: "prod".into(),
            application_namespace: "argocd".into(),
            application_name: "gateway".into(),
            action: Some(command::Action::Refresh(Refresh { hard: true })),
            ..Default::default()
        };
        let steps = vec![Step { name: "received".into(), at_unix_us: 5_000_000 }];
        let report = Report { cluster: "prod".into(), steps, ..Default::default() };
        let content =
            Check { context: "lockstep/prod".into(), state: CheckState::Success.into(), ..Default::default() };
        let feedback =
            Feedback { commit: "a1".into(), content: Some(feedback::Content::Check(content)), ..Default::default() };
        check(&delivery(), Envelope::delivery(&delivery()), Some("refs/heads/main"));
        check(&command, Envelope::command(&command), Some("argocd/gateway"));
        check(&report, Envelope::report(&report), None);
        check(&feedback, Envelope::feedback(&feedback), Some("a1"));
        assert_eq!(Envelope::report(&report).time_unix_ms, 5_000);
        assert_eq!(Envelope::command(&command).id, "c1");
    }

    #[test]
    fn strict() {
        type Change = fn(&mut BTreeMap<String, String>);
        let cases: [(&str, Change, Option<&str>); 11] = [
            ("as sent", |_| (), None),
            ("no type", |h| drop(h.remove("cloudEvents:type")), Some("`cloudEvents:type`")),
            ("empty id", |h| drop(h.insert("cloudEvents:id".into(), String::new())), Some("`cloudEvents:id`")),
            ("no source", |h| drop(h.remove("cloudEvents:source")), Some("`cloudEvents:source`")),
            ("no version", |h| drop(h.remove("cloudEvents:specversion")), Some("`cloudEvents:specversion`")),
            ("version 2", |h| drop(h.insert("cloudEvents:specversion".into(), "2.0".into())), Some("\"2.0\"")),
            (
                "a newer type",
                |h| drop(h.insert("cloudEvents:type".into(), "dev.lockstep.delivery.v2".into())),
                Some("unknown type \"dev.lockstep.delivery.v2\""),
            ),
            ("JSON", |h| drop(h.insert("content-type".into(), "application/json".into())), Some("application/json")),
            ("bad time", |h| drop(h.insert("cloudEvents:time".into(), "yesterday".into())), Some("\"yesterday\"")),
            ("unknown header", |h| drop(h.insert("x-death".into(), "3".into())), None),
            ("broken trace", |h| drop(h.insert("traceparent".into(), "00-00".into())), None),
        ];
        let sent = Envelope::delivery(&delivery());
        for (name, change, problem) in cases {
            let mut headers = sent.headers();
            change(&mut headers);
            let result = Envelope::from_headers(&headers, sent.data.clone());
            match problem {
                None => assert_eq!(result.unwrap(), sent, "{name}"),
                Some(text) => assert!(result.unwrap_err().to_string().contains(text), "{name}"),
            }
        }
    }

    #[test]
    fn the_other_prefix_is_read_too() {
        let sent = Envelope::delivery(&delivery());
        let headers = sent.headers().into_iter().map(|(k, v)| (k.replace("cloudEvents:", "cloudEvents_"), v)).collect();
        assert_eq!(Envelope::from_headers(&headers, sent.data.clone()).unwrap(), sent);
    }

    #[test]
    fn only_what_was_asked_for_is_opened() {
        let sent = Envelope::delivery(&delivery());
        let error = sent.open::<Command>().unwrap_err();
        assert!(matches!(error, WireError::WrongType { .. }), "{error}");
        let cut = Envelope { data: sent.data.slice(..sent.data.len() - 3), ..sent };
        assert!(matches!(cut.open::<Delivery>().unwrap_err(), WireError::Body { .. }));
    }

    #[test]
    fn a_webhook_that_was_not_understood_is_kept_as_it_came() {
        let sent = Envelope::webhook(Forge::Gitea, "", "push", Bytes::from_static(b"{\"ref\":"), 5);
        let received = Envelope::from_headers(&sent.headers(), sent.data.clone()).unwrap();
        assert_eq!(received, sent);
        assert_eq!(&received.data[..], b"{\"ref\":");
        assert!(matches!(received.open::<Delivery>().unwrap_err(), WireError::WrongType { .. }));
    }

    proptest! {
        #[test]
        fn round_trip(
            id in ".{1,40}", source in ".{1,40}", subject in proptest::option::of(".{1,40}"),
            time in 0_i64..4_000_000_000_000, traced in any::<bool>(), data in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let traceparent = traced.then(TraceParent::new_root);
            let r#type = types::COMMAND.to_owned();
            let sent = Envelope { id, source, r#type, subject, time_unix_ms: time, traceparent, data: data.into() };
            prop_assert_eq!(Envelope::from_headers(&sent.headers(), sent.data.clone()).unwrap(), sent);
        }

        #[test]
        fn any_body_is_an_error_or_a_delivery(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sent = Envelope { data: data.into(), ..Envelope::delivery(&delivery()) };
            let _ = sent.open::<Delivery>();
        }
    }
}
