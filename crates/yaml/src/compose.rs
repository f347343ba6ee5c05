//! Events to a value.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{self as parser, ErrorKind, Event, Marker, ScalarStyle, Tag};

use crate::budget::{self, Exceeded};
use crate::resolve::{self, Meaning};
use crate::{Budget, Cause, Document, Duplicates, Fault};

/// How deep a document may nest. The deepest CustomResourceDefinitions have about 60 levels, and JSON parsers stop at 128.
const MAX_DEPTH: usize = 100;
/// How many nodes the aliases of one document may stand for.
const MAX_ALIASED: u64 = 100_000;
/// How many comments may follow a token without a space, as Go's parser takes them.
const MAX_TIGHT_COMMENTS: usize = 100;

/// Parses one document.
pub(crate) fn compose(
    document: &Document<'_>,
    duplicates: Duplicates,
    budget: &mut Budget<'_>,
) -> Result<Value, Fault> {
    let mut text = Cow::Borrowed(document.text);
    let mut spaced = 0;
    loop {
        let mut composer = Composer::new(&text, duplicates, budget);
        match composer.document() {
            Ok(value) => return Ok(value),
            // `a: "text"#comment`: the comment has to be set apart for this parser.
            Err(Trouble { tight_comment: Some(at), .. })
                if spaced < MAX_TIGHT_COMMENTS && text.is_char_boundary(at) =>
            {
                let used = composer.used;
                budget.give_back(used);
                spaced += 1;
                let text = text.to_mut();
                text.insert(at, ' ');
            }
            Err(trouble) => {
                let line = if trouble.line == 0 { 0 } else { document.first_line + trouble.line - 1 };
                let used = composer.used;
                budget.give_back(used);
                return Err(Fault { document: document.number, line, message: trouble.message, cause: trouble.cause });
            }
        }
    }
}

/// A fault in the document's own lines.
struct Trouble {
    line: usize,
    message: String,
    cause: Cause,
    /// Where a comment follows a token without a space.
    tight_comment: Option<usize>,
}

impl Trouble {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), cause: Cause::Syntax, tight_comment: None }
    }
}

/// A node that an alias may stand for.
struct Anchored {
    value: Value,
    nodes: u64,
    bytes: u64,
    depth: usize,
}

/// A node, and what it is made of.
struct Node {
    value: Value,
    nodes: u64,
    bytes: u64,
    /// How many levels it has; 0 for a scalar.
    depth: usize,
}

struct Composer<'t, 'b, 'w> {
    events: parser::Parser<'t, parser::StrInput<'t>>,
    text: &'t str,
    duplicates: Duplicates,
    budget: &'b mut Budget<'w>,
    /// Memory that was taken from the budget for this document.
    used: u64,
    anchors: HashMap<usize, Anchored>,
    has_aliases: bool,
    aliased: u64,
}

type Spanned<'t> = (Event<'t>, usize);

impl<'t, 'b, 'w> Composer<'t, 'b, 'w> {
    fn new(text: &'t str, duplicates: Duplicates, budget: &'b mut Budget<'w>) -> Self {
        let options = parser::options! {
            emit_comments: false,
            block_scalar_eof_without_line_feed: true,
            flow_nesting_limit: MAX_DEPTH + 20,
            block_nesting_limit: MAX_DEPTH + 20,
        };
        Self {
            events: parser::Parser::new_from_str_with_options(text, options),
            text,
            duplicates,
            budget,
            used: 0,
            anchors: HashMap::new(),
            has_aliases: text.contains('*'),
            aliased: 0,
        }
    }

    fn document(&mut self) -> Result<Value, Trouble> {
        let mut value = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if value.is_none() => {}
                Event::DocumentStart(..) => {
                    return Err(Trouble::at(line, "a second document begins here without `---`"));
                }
                Event::StreamEnd => break,
                event => value = Some(self.node((event, line), 0)?.value),
            }
        }
        // The anchors are gone with the document.
        let held: u64 = self.anchors.values().map(|anchored| anchored.bytes).sum();
        self.budget.give_back(held);
        Ok(value.unwrap_or(Value::Null))
    }

    fn next(&mut self) -> Result<Spanned<'t>, Trouble> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                let mark = *error.marker();
                let tight_comment = matches!(error.kind(), ErrorKind::CommentNotSeparated)
                    .then(|| comment_from(self.text, &mark))
                    .flatten();
                Err(Trouble { tight_comment, ..Trouble::at(mark.line(), error.info()) })
            }
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn take(&mut self, line: usize, nodes: u64, bytes: u64) -> Result<(), Trouble> {
        self.used += bytes;
        self.budget.take_many(nodes, bytes).map_err(|exceeded| {
            let (message, cause) = match exceeded {
                Exceeded::Nodes(most) => (format!("there are more than {most} values"), Cause::Budget),
                Exceeded::Bytes(most) => {
                    (format!("what it says would take more than {} MiB of memory", most >> 20), Cause::Budget)
                }
                Exceeded::Stopped => ("the reading was stopped".into(), Cause::Stopped),
            };
            Trouble { cause, ..Trouble::at(line, message) }
        })
    }

    /// The node that an event begins.
    fn node(&mut self, (event, line): Spanned<'t>, depth: usize) -> Result<Node, Trouble> {
        if depth > MAX_DEPTH {
            return Err(Trouble::at(line, format!("it nests more than {MAX_DEPTH} levels deep")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let meaning = meaning(&text, style, tag.as_deref(), line)?;
                let value = match tag {
                    Some(tag) if known(&tag) == Some("binary") => decoded(&text, line)?,
                    _ => value_of(meaning, text, line)?,
                };
                let bytes = budget::of_scalar(&value);
                self.take(line, 1, bytes)?;
                self.anchored(anchor, Node { value, nodes: 1, bytes, depth: 0 }, line)
            }
            Event::SequenceStart(_, anchor, _) => {
                let node = self.sequence(line, depth)?;
                self.anchored(anchor, node, line)
            }
            Event::MappingStart(_, anchor, _) => {
                let node = self.mapping(line, depth)?;
                self.anchored(anchor, node, line)
            }
            Event::Alias(id) => self.alias(id, line, depth),
            _ => Err(Trouble::at(line, "a value is expected here")),
        }
    }

    /// Keeps a copy of a node that has an anchor, if there are aliases at all.
    fn anchored(&mut self, anchor: usize, node: Node, line: usize) -> Result<Node, Trouble> {
        if anchor != 0 && self.has_aliases {
            self.take(line, 0, node.bytes)?;
            let Node { nodes, bytes, depth, .. } = node;
            self.anchors.insert(anchor, Anchored { value: node.value.clone(), nodes, bytes, depth });
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, line: usize, depth: usize) -> Result<Node, Trouble> {
        let Some(&Anchored { nodes, bytes, depth: below, .. }) = self.anchors.get(&id) else {
            return Err(Trouble::at(line, "an anchor's value contains itself"));
        };
        self.aliased += nodes;
        if self.aliased > MAX_ALIASED {
            let message = format!("its aliases stand for more than {MAX_ALIASED} values");
            return Err(Trouble { cause: Cause::Budget, ..Trouble::at(line, message) });
        }
        if depth + below > MAX_DEPTH {
            return Err(Trouble::at(line, format!("it nests more than {MAX_DEPTH} levels deep")));
        }
        self.take(line, nodes, bytes)?;
        let value = self.anchors.get(&id).map(|anchored| anchored.value.clone()).unwrap_or_default();
        Ok(Node { value, nodes, bytes, depth: below })
    }

    fn sequence(&mut self, line: usize, depth: usize) -> Result<Node, Trouble> {
        let mut node = Node { value: Value::Null, nodes: 1, bytes: budget::of_container(), depth: 1 };
        self.take(line, 1, node.bytes)?;
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                break;
            }
            let item = self.node(next, depth + 1)?;
            node.grow(&item);
            items.push(item.value);
        }
        items.shrink_to_fit();
        node.value = items.into();
        Ok(node)
    }

    fn mapping(&mut self, line: usize, depth: usize) -> Result<Node, Trouble> {
        let mut node = Node { value: Value::Null, nodes: 1, bytes: budget::of_container(), depth: 1 };
        self.take(line, 1, node.bytes)?;
        let mut map = Map::new();
        // Keys that are written out; what a merge brings may be set again.
        let mut merged = false;
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, tag) => self.key(text, style, anchor, tag.as_deref(), line)?,
                Event::Alias(id) => self.aliased_key(id, line)?,
                _ => return Err(Trouble::at(line, "a key must be text, a number or a boolean")),
            };
            let next = self.next()?;
            let Some(key) = key else {
                merged = true;
                let value = self.node(next, depth + 1)?;
                self.merge(&mut map, value.value, &mut node, line)?;
                continue;
            };
            let bytes = budget::of_key(&key, map.len());
            self.take(line, 0, bytes)?;
            node.bytes += bytes;
            if self.duplicates == Duplicates::Refuse && !merged && map.contains_key(&key) {
                let message = format!("duplicate mapping key: {key}");
                return Err(Trouble { cause: Cause::DuplicateKey, ..Trouble::at(line, message) });
            }
            let value = self.node(next, depth + 1)?;
            node.grow(&value);
            map.insert(key, value.value);
        }
        node.value = Value::Object(map);
        Ok(node)
    }

    /// A key; `None` for `<<`.
    fn key(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<Option<String>, Trouble> {
        let mut text = text;
        if tag.and_then(known) == Some("binary")
            && let Value::String(decoded) = decoded(&text, line)?
        {
            text = Cow::Owned(decoded);
        }
        let meaning = meaning(&text, style, tag, line)?;
        if anchor != 0 {
            let value = value_of(meaning.clone(), text.clone(), line)?;
            let bytes = budget::of_scalar(&value);
            self.anchored(anchor, Node { value, nodes: 1, bytes, depth: 0 }, line)?;
        }
        if meaning == Meaning::Merge {
            return Ok(None);
        }
        let key = meaning.into_key(&text).ok_or_else(|| no_key(line))?;
        Ok(Some(key))
    }

    fn aliased_key(&mut self, id: usize, line: usize) -> Result<Option<String>, Trouble> {
        let node = self.alias(id, line, 0)?;
        match node.value {
            Value::String(text) => Ok(Some(text)),
            Value::Bool(value) => Ok(Some(value.to_string())),
            Value::Number(number) if number.is_i64() => Ok(Some(number.to_string())),
            _ => Err(no_key(line)),
        }
    }

    /// Sets what another mapping, or each of several, has. As Go's parser does it: what comes later in the text wins, and of
    /// several the first.
    fn merge(
        &mut self,
        map: &mut Map<String, Value>,
        from: Value,
        node: &mut Node,
        line: usize,
    ) -> Result<(), Trouble> {
        let wrong = || Trouble::at(line, "`<<` needs a mapping or a list of mappings");
        let sources = match from {
            Value::Object(fields) => vec![fields],
            Value::Array(items) => items
                .into_iter()
                .rev()
                .map(|item| match item {
                    Value::Object(fields) => Ok(fields),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong()),
        };
        for (key, value) in sources.into_iter().flatten() {
            let bytes = budget::of_key(&key, map.len());
            self.take(line, 0, bytes)?;
            node.bytes += bytes + budget::weight(&value);
            node.nodes += count(&value);
            node.depth = node.depth.max(depth_of(&value) + 1);
            map.insert(key, value);
        }
        Ok(())
    }
}

impl Node {
    fn grow(&mut self, child: &Node) {
        self.nodes += child.nodes;
        self.bytes += child.bytes;
        self.depth = self.depth.max(child.depth + 1);
    }
}

fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn no_key(line: usize) -> Trouble {
    Trouble::at(line, "a key must be text, a number or a boolean")
}

fn value_of(meaning: Meaning, text: Cow<'_, str>, line: usize) -> Result<Value, Trouble> {
    if matches!(meaning, Meaning::Text | Meaning::Merge) {
        return Ok(Value::String(text.into_owned()));
    }
    meaning.into_value(&text).ok_or_else(|| Trouble::at(line, format!("`{text}` is a number that JSON cannot hold")))
}

/// What is written in base 64. JSON is text: what is none is replaced.
fn decoded(text: &str, line: usize) -> Result<Value, Trouble> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(plain).map_err(|_| Trouble::at(line, "!!binary is not base 64"))?;
    Ok(String::from_utf8_lossy(&bytes).into())
}

/// What a scalar means by its text, its quotes and its tag.
fn meaning(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Meaning, Trouble> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { resolve::plain(text) } else { Meaning::Text });
    };
    let Some(wanted) = tag.core_suffix().or_else(|| known(tag)) else { return Ok(Meaning::Text) };
    let found = resolve::plain(text);
    let fits = match (wanted, found) {
        ("str" | "timestamp", _) => Some(Meaning::Text),
        ("merge", Meaning::Merge) => Some(Meaning::Merge),
        ("bool", found @ Meaning::Bool(_))
        | ("null", found @ Meaning::Null)
        | ("int", found @ (Meaning::Int(_) | Meaning::Large(_)))
        | ("float", found @ Meaning::Float(_)) => Some(found),
        ("float", Meaning::Int(value)) => Some(Meaning::Float(value as f64)),
        ("bool" | "null" | "int" | "float", _) => None,
        _ => Some(Meaning::Text),
    };
    fits.ok_or_else(|| Trouble::at(line, format!("`{text}` is no !!{wanted}")))
}

fn known(tag: &Tag) -> Option<&'static str> {
    let suffix = tag.suffix_in_namespace("tag:yaml.org,2002:")?;
    ["timestamp", "merge", "binary"].into_iter().find(|name| *name == suffix)
}

/// Where the `#` of a comment is that stands too close.
fn comment_from(text: &str, mark: &Marker) -> Option<usize> {
    let start = match mark.byte_offset() {
        Some(offset) => offset,
        None => text.char_indices().nth(mark.index()).map(|(at, _)| at)?,
    };
    text.get(start..)?.starts_with('#').then_some(start)
}
