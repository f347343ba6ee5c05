//! Where a comparison stands. A path is a chain on the stack; its text is only made when a difference is found.

use std::fmt;

use serde_json::Value;

/// A place in an object.
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

enum Segment<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    /// An item of a keyed list, with the fields that are its key.
    Item(&'a Value, &'a [String]),
    /// A member of a set.
    Member(&'a Value),
}

impl<'a> Path<'a> {
    pub(super) const ROOT: Path<'static> = Path { parent: None, segment: Segment::Root };

    pub(super) fn child(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Field(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }

    pub(super) fn item(&'a self, item: &'a Value, keys: &'a [String]) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Item(item, keys) }
    }

    pub(super) fn member(&'a self, value: &'a Value) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Member(value) }
    }

    /// The name of the field that this is, or is an item of.
    pub(super) fn field(&self) -> Option<&'a str> {
        match self.segment {
            Segment::Field(name) => Some(name),
            Segment::Root => None,
            _ => self.parent?.field(),
        }
    }

    /// The name of the field around [`Path::field`].
    pub(super) fn parent_field(&self) -> Option<&'a str> {
        match self.segment {
            Segment::Field(_) => self.parent?.field(),
            Segment::Root => None,
            _ => self.parent?.parent_field(),
        }
    }

    /// Whether this is a field, and not an item of a list.
    pub(super) fn is_field(&self) -> bool {
        matches!(self.segment, Segment::Field(_))
    }

    /// The names of the fields that lead here, without the lists between them.
    pub(super) fn fields(&self) -> Vec<&'a str> {
        let mut fields = self.parent.map(Path::fields).unwrap_or_default();
        if let Segment::Field(name) = self.segment {
            fields.push(name);
        }
        fields
    }

    /// How many steps below the root.
    pub(super) fn depth(&self) -> usize {
        self.parent.map_or(0, |parent| parent.depth() + 1)
    }

    /// The field right below the root.
    pub(super) fn top(&self) -> Option<&'a str> {
        match self.parent {
            Some(parent) if parent.parent.is_none() => self.field(),
            Some(parent) => parent.top(),
            None => None,
        }
    }

    /// Whether values here are text that nobody interprets: data, labels, annotations.
    pub(super) fn is_free_text(&self) -> bool {
        let own = matches!(
            self.segment,
            Segment::Field(
                "annotations"
                    | "labels"
                    | "matchLabels"
                    | "nodeSelector"
                    | "data"
                    | "stringData"
                    | "binaryData"
                    | "args"
                    | "command"
            )
        );
        own || self.parent.is_some_and(Path::is_free_text)
    }
}

impl fmt::Display for Path<'_> {
    /// `spec.template.spec.containers[name=app].image`, `metadata.annotations["example.com/a"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Field(name) if is_plain(name) => {
                if parent.parent.is_some() {
                    f.write_str(".")?;
                }
                f.write_str(name)
            }
            Segment::Field(name) => write!(f, "[{}]", Value::from(name)),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Member(value) => write!(f, "[={}]", Bare(value)),
            Segment::Item(item, keys) => {
                f.write_str("[")?;
                let mut first = true;
                for key in keys {
                    let Some(value) = item.get(key) else { continue };
                    if !first {
                        f.write_str(",")?;
                    }
                    first = false;
                    write!(f, "{key}={}", Bare(value))?;
                }
                f.write_str("]")
            }
        }
    }
}

struct Bare<'a>(&'a Value);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text() {
        let (spec, ports) = (Path::ROOT.child("spec"), "ports");
        let list = spec.child(ports);
        let item = json!({"port": 80, "protocol": "TCP"});
        let keys = ["port".to_owned(), "protocol".to_owned()];
        let entry = list.item(&item, &keys);
        assert_eq!(entry.child("targetPort").to_string(), "spec.ports[port=80,protocol=TCP].targetPort");
        assert_eq!(list.index(2).to_string(), "spec.ports[2]");
        let annotations = Path::ROOT.child("metadata");
        let annotations = annotations.child("annotations");
        assert_eq!(annotations.child("a.b/c").to_string(), "metadata.annotations[\"a.b/c\"]");
        let finalizer = json!("x");
        assert_eq!(annotations.member(&finalizer).to_string(), "metadata.annotations[=x]");
        assert_eq!((entry.field(), entry.parent_field(), entry.top()), (Some("ports"), Some("spec"), Some("spec")));
        assert_eq!(entry.depth(), 3);
    }
}
