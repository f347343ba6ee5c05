//! Parts of a payload that may have any length, read so that what is kept of them is bounded: a body's memory is its bytes
//! and what JSON needs to read them, whatever is in it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest text that is kept. Names, refs and addresses are far shorter.
const LONGEST: usize = 4096;

/// What is made of a text, without a copy of all of it.
struct Text<F, T>(F, PhantomData<T>);

impl<T, F: FnOnce(&str) -> Result<T, usize>> Visitor<'_> for Text<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(|length| E::custom(format!("a text of {length} bytes, more than {LONGEST}")))
    }
}

fn text<'de, D: Deserializer<'de>, T>(from: D, make: impl FnOnce(&str) -> Result<T, usize>) -> Result<T, D::Error> {
    from.deserialize_str(Text(make, PhantomData))
}

/// A text that must be there; one that is too long is an error.
pub(crate) fn short<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |text| if text.len() <= LONGEST { Ok(text.to_owned()) } else { Err(text.len()) })
}

/// A text that is kept unless it is too long to be of use; then it is empty.
#[derive(Debug, Default)]
pub(crate) struct Clipped(pub(crate) String);

impl<'de> Deserialize<'de> for Clipped {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text(from, |text| Ok(Self(if text.len() <= LONGEST { text.to_owned() } else { String::new() })))
    }
}

/// The same where it may be missing or null.
pub(crate) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<Clipped>::deserialize(from)?.unwrap_or_default().0)
}

/// The same where it matters whether it is there at all.
pub(crate) fn if_there<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Clipped>::deserialize(from)?.map(|text| text.0))
}

/// The first line of a text for people, which may be missing or null: at most 200 characters.
pub(crate) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    struct Line(String);
    impl<'de> Deserialize<'de> for Line {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            text(from, |text| Ok(Self(super::payload::first_line(text))))
        }
    }
    Ok(Option::<Line>::deserialize(from)?.map(|line| line.0).unwrap_or_default())
}

/// The first `most` elements of a list, and whether there were more.
#[derive(Debug)]
pub(crate) struct List<T, const MOST: usize> {
    pub(crate) kept: Vec<T>,
    pub(crate) more: bool,
}

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        Self { kept: Vec::new(), more: false }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Elements<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MOST {
                    let Some(element) = list.next_element()? else { return Ok(List { kept, more: false }) };
                    kept.push(element);
                }
                let more = list.next_element::<IgnoredAny>()?.is_some();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List { kept, more })
            }
        }
        from.deserialize_seq(Elements(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct All {
        #[serde(deserialize_with = "short")]
        short: String,
        #[serde(default, deserialize_with = "optional")]
        optional: String,
        #[serde(default, deserialize_with = "if_there")]
        if_there: Option<String>,
        #[serde(default, deserialize_with = "line")]
        line: String,
        #[serde(default)]
        list: List<u8, 2>,
    }

    #[test]
    fn what_is_kept() {
        let long = "x".repeat(LONGEST + 1);
        let read = |text: &str| serde_json::from_str::<All>(text).map_err(|error| error.to_string());
        let all = read(r#"{"short":"a\u0062","optional":"c","if_there":"d","line":"e\nf","list":[1,2]}"#).unwrap();
        assert_eq!((all.short.as_str(), all.optional.as_str(), all.if_there.as_deref()), ("ab", "c", Some("d")));
        assert_eq!((all.line.as_str(), all.list.kept.as_slice(), all.list.more), ("e", [1, 2].as_slice(), false));
        let none = read(r#"{"short":"","optional":null,"if_there":null,"line":null}"#).unwrap();
        assert_eq!((none.optional.as_str(), none.if_there, none.line.as_str()), ("", None, ""));
        let cut = read(&format!(
            r#"{{"short":"","optional":"{long}","if_there":"{long}","line":"{long}","list":[1,2,3,"x"]}}"#
        ));
        let cut = cut.unwrap();
        assert_eq!((cut.optional.as_str(), cut.if_there.as_deref(), cut.line.len()), ("", Some(""), 200));
        assert!(cut.list.kept == [1, 2] && cut.list.more);
        for (text, problem) in [
            (format!(r#"{{"short":"{long}"}}"#), "a text of 4097 bytes"),
            (r#"{"short":1}"#.to_owned(), "expected a string"),
            (r#"{"short":"","optional":1}"#.to_owned(), "expected a string"),
            (r#"{"short":"","list":["x"]}"#.to_owned(), "invalid type"),
            (r#"{"short":"","list":[1,2,3"#.to_owned(), "EOF"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
