//! What the types share: serialisation, schemas, the methods that all kinds have.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Fields that this version does not know, kept as they are.
pub type Extra = Map<String, Value>;

/// Whether a field has its default and is left out, as Go's `omitempty` does.
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(crate) fn api_version() -> String {
    crate::API_VERSION.into()
}

pub(crate) fn metadata_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

/// A list of anything, for the places where the structure repeats itself without an end.
pub(crate) fn free_list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "x-kubernetes-preserve-unknown-fields": true } })
}

/// A moment, written as Kubernetes writes it: RFC 3339, UTC, whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub jiff::Timestamp);

impl From<jiff::Timestamp> for Time {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| serde::de::Error::custom(format!("{text:?} is not an RFC 3339 time")))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A number or a string, as in `maxUnavailable: 25%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A string.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::String(text) => text.fmt(f),
        }
    }
}

impl JsonSchema for IntOrString {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrString".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] })
    }
}

/// An enum of names whose last member `Unknown` stands for every name it does not list.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $member:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $member,)+ }

        impl $name {
            /// The name, as the API writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$member => stringify!($member),)+ }
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                match name { $(stringify!($member) => Self::$member,)+ _ => Self::Unknown }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    };
}
pub(crate) use open_enum;

/// What `Application`, `ApplicationSet` and `AppProject` have in common.
macro_rules! kind {
    ($type:ident, $kind:literal) => {
        impl $type {
            /// The kind's name.
            pub const KIND: &str = $kind;

            /// Reads a manifest. Unknown fields are kept; a field of the wrong type is an error that names it. A status that
            /// cannot be read counts as none, because it can be found out again.
            pub fn parse(manifest: serde_json::Value) -> Result<Self, crate::Invalid> {
                crate::validate::parse(manifest, Self::KIND)
            }

            /// The manifest.
            pub fn to_object(&self) -> crate::Object {
                crate::Object(serde_json::to_value(self).unwrap_or_default())
            }

            /// `metadata.name`, or the empty string.
            pub fn name(&self) -> &str {
                self.metadata.name.as_deref().unwrap_or_default()
            }

            /// `metadata.namespace`, or the empty string.
            pub fn namespace(&self) -> &str {
                self.metadata.namespace.as_deref().unwrap_or_default()
            }

            /// One annotation.
            pub fn annotation(&self, name: &str) -> Option<&str> {
                self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
            }

            /// One label.
            pub fn label(&self, name: &str) -> Option<&str> {
                self.metadata.labels.as_ref()?.get(name).map(String::as_str)
            }

            /// Whether the API server has been asked to delete it.
            pub fn is_being_deleted(&self) -> bool {
                self.metadata.deletion_timestamp.is_some()
            }

            /// What identifies it in its cluster.
            pub fn key(&self) -> crate::ObjectKey {
                crate::ObjectKey::new(crate::GROUP, Self::KIND, self.namespace(), self.name())
            }
        }
    };
}
pub(crate) use kind;
