//! How much may be made of a text.

use serde_json::Value;

/// After how many nodes the watch is asked.
const EVERY: u32 = 1024;

/// What a value takes beside its content: its place in a list, with what a growing list keeps in reserve.
const PLACE: u64 = 120;
/// What a list or a mapping takes that is not empty.
const CONTAINER: u64 = 64;
/// The first entries of a mapping, for which it reserves room at once.
const MAPPING: u64 = 560;
/// One entry of a mapping.
const ENTRY: u64 = 230;
/// What a text takes beside its bytes.
const TEXT: u64 = 24;

/// How much may be made of texts. One budget serves all texts of a source, one after the other.
///
/// Memory is estimated, and rather too high: small nodes take many times the bytes that they are written with.
pub struct Budget<'w> {
    nodes: u64,
    bytes: u64,
    granted: (u64, u64),
    ticks: u32,
    watch: Option<&'w (dyn Fn() -> bool + 'w)>,
}

impl Default for Budget<'_> {
    /// Enough for any file that a person wrote: four million nodes, 256 MiB.
    fn default() -> Self {
        Self::new(4_000_000, 256 << 20)
    }
}

impl<'w> Budget<'w> {
    /// So many nodes, and so many bytes of memory.
    pub fn new(nodes: u64, bytes: u64) -> Self {
        Self { nodes, bytes, granted: (nodes, bytes), ticks: 0, watch: None }
    }

    /// Asks now and then whether to stop.
    pub fn watched(mut self, stop: &'w (dyn Fn() -> bool + 'w)) -> Self {
        self.watch = Some(stop);
        self
    }

    /// Takes nodes and their memory, or says what there is not enough of.
    pub(crate) fn take_many(&mut self, nodes: u64, bytes: u64) -> Result<(), Exceeded> {
        self.ticks += 1;
        if self.ticks >= EVERY {
            self.ticks = 0;
            if self.watch.is_some_and(|stop| stop()) {
                return Err(Exceeded::Stopped);
            }
        }
        self.nodes = self.nodes.checked_sub(nodes).ok_or(Exceeded::Nodes(self.granted.0))?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Exceeded::Bytes(self.granted.1))?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.bytes
    }

    /// Gives back the memory of what is no longer held.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes).min(self.granted.1);
    }
}

/// What a budget did not have.
#[derive(Debug)]
pub(crate) enum Exceeded {
    Nodes(u64),
    Bytes(u64),
    Stopped,
}

/// What a scalar takes in a list.
pub(crate) fn of_scalar(value: &Value) -> u64 {
    PLACE + if let Value::String(text) = value { text_bytes(text) } else { 0 }
}

/// What a list or mapping takes, without what is in it.
pub(crate) fn of_container() -> u64 {
    PLACE + CONTAINER
}

/// What the n-th key takes, from 0, without its value.
pub(crate) fn of_key(key: &str, n: usize) -> u64 {
    let entry = match n {
        0 => MAPPING,
        1..=3 => 0,
        _ => ENTRY,
    };
    // The value has no place of its own.
    (entry + text_bytes(key)).saturating_sub(if n < 4 { 0 } else { PLACE })
}

fn text_bytes(text: &str) -> u64 {
    if text.is_empty() { 0 } else { TEXT + text.len() as u64 }
}

/// About how much memory a value takes.
pub fn weight(value: &Value) -> u64 {
    match value {
        Value::Array(items) => of_container() + items.iter().map(weight).sum::<u64>(),
        Value::Object(map) => {
            let entries = map.iter().enumerate();
            of_container() + entries.map(|(n, (key, value))| of_key(key, n) + weight(value)).sum::<u64>()
        }
        scalar => of_scalar(scalar),
    }
}
