/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A CloudEvents attribute that every message has is not there or empty.
    #[error(
        "the message has no `cloudEvents:{0}` header; it was not sent by Lockstep or its headers were lost on the way"
    )]
    MissingAttribute(&'static str),
    /// Another version of CloudEvents.
    #[error("the message is CloudEvents {found:?}, this program reads 1.0; bring all programs to the same version")]
    SpecVersion {
        /// What the header says.
        found: String,
    },
    /// A type that this version does not know.
    #[error(
        "the message is of unknown type {found:?}; a newer program may have sent it, update this one and replay it"
    )]
    UnknownType {
        /// What the header says.
        found: String,
    },
    /// A known type, but not the one asked for.
    #[error("the message is a {found}, not a {expected}; it was published to the wrong exchange")]
    WrongType {
        /// The type that the reader wanted.
        expected: &'static str,
        /// The type that the message has.
        found: String,
    },
    /// The body is declared to be in another format.
    #[error("the message's content type is {found:?}, expected {expected}")]
    ContentType {
        /// What the header says; empty if there is none.
        found: String,
        /// What the type of the message requires.
        expected: &'static str,
    },
    /// `cloudEvents:time` is not RFC 3339.
    #[error("the message's time {found:?} is not an RFC 3339 time")]
    Time {
        /// What the header says.
        found: String,
    },
    /// The body is not the protobuf message that its type promises.
    #[error("the message's body is not a {expected}: {source}")]
    Body {
        /// The type that the reader wanted.
        expected: &'static str,
        /// What the decoder says.
        source: prost::DecodeError,
    },
}
