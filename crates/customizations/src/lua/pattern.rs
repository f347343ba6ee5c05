//! Lua's patterns, with a limit on the work that one match may cause.
//!
//! Lua's own matcher tries all ways a pattern may fit and looks at no clock while it does: `("a"):rep(1000):find(".-.-.-.-b")` takes
//! hours. This one asks its [`Meter`] as it goes.

use std::ops::Range;

/// How many captures a pattern may have, as in Lua.
const MAX_CAPTURES: usize = 32;

/// How long a pattern may be that is more than a plain text.
const MAX_LENGTH: usize = 4096;

/// How many parts of a pattern may call for another try (`*`, `+`, `-`, `?`, captures). Each is a call deeper.
const MAX_CHOICES: usize = 200;

/// Counts work, and says when it is too much.
pub(super) trait Meter {
    /// A unit of work. `Err`: there is no time for it.
    fn step(&self) -> Result<(), Fault>;
}

/// Why a pattern gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pattern cannot be read.
    Malformed(&'static str),
    /// It took too long.
    OutOfTime,
}

/// What one character must be.
#[derive(Clone, Debug, PartialEq)]
enum Class {
    Any,
    Byte(u8),
    /// `%a` and the like: the letter in lower case, and whether it is meant the other way round.
    Named(u8, bool),
    Set(Vec<Member>, bool),
}

#[derive(Clone, Debug, PartialEq)]
enum Member {
    Range(u8, u8),
    Named(u8, bool),
}

fn is_in(name: u8, byte: u8) -> bool {
    match name {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        // C counts the vertical tab, Rust does not.
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        _ => byte == 0,
    }
}

fn named(letter: u8) -> Option<(u8, bool)> {
    b"acdlpsuwxz"
        .contains(&letter.to_ascii_lowercase())
        .then(|| (letter.to_ascii_lowercase(), letter.is_ascii_uppercase()))
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Byte(own) => *own == byte,
            Self::Named(name, inverse) => is_in(*name, byte) != *inverse,
            Self::Set(members, inverse) => {
                let found = members.iter().any(|member| match member {
                    Member::Range(low, high) => (*low..=*high).contains(&byte),
                    Member::Named(name, inverse) => is_in(*name, byte) != *inverse,
                });
                found != *inverse
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Repeat {
    Once,
    /// `?`
    Maybe,
    /// `*` and `+`, as many as possible, at least this many.
    Many(usize),
    /// `-`, as few as possible.
    Few,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    One(Class, Repeat),
    Open,
    Close,
    /// `()`
    Position,
    /// `%1`
    Again(usize),
    /// `%bxy`
    Balanced(u8, u8),
    /// `%f[set]`
    Frontier(Class),
    /// `$` at the end.
    End,
}

/// A pattern, ready to match.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    items: Vec<Item>,
    /// It begins with `^`.
    pub(super) anchored: bool,
}

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    Text(Range<usize>),
    /// The place of a `()`, from 0.
    Position(usize),
}

/// A place where the pattern fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) captures: Vec<Capture>,
}

impl Pattern {
    /// Reads a pattern. `anchors`: whether a `^` at its beginning ties it to one place, as everywhere but in `gmatch`.
    pub(super) fn parse(text: &[u8], anchors: bool) -> Result<Self, Fault> {
        if text.len() > MAX_LENGTH {
            return Err(Fault::Malformed("it is longer than 4096 characters"));
        }
        let anchored = anchors && text.first() == Some(&b'^');
        let mut reader = Reader { text, at: usize::from(anchored), items: Vec::new(), open: Vec::new(), captures: 0 };
        while let Some(byte) = reader.next() {
            reader.item(byte)?;
        }
        if !reader.open.is_empty() {
            return Err(Fault::Malformed("a capture has no end"));
        }
        let choices = reader.items.iter().filter(|item| !matches!(item, Item::One(_, Repeat::Once))).count();
        if choices > MAX_CHOICES {
            return Err(Fault::Malformed("it has too many parts"));
        }
        Ok(Self { items: reader.items, anchored })
    }

    /// The first place at or after `from` where the pattern fits; only at `from` if it is anchored.
    pub(super) fn find(&self, text: &[u8], from: usize, meter: &dyn Meter) -> Result<Option<Found>, Fault> {
        for start in from..=text.len() {
            if let Some(found) = self.fits(text, start, meter)? {
                return Ok(Some(found));
            }
            if self.anchored {
                break;
            }
        }
        Ok(None)
    }

    /// Whether the pattern fits at this place.
    pub(super) fn fits(&self, text: &[u8], start: usize, meter: &dyn Meter) -> Result<Option<Found>, Fault> {
        let mut matcher = Matcher { text, items: &self.items, captures: Vec::new(), meter };
        let Some(end) = matcher.run(start, 0)? else { return Ok(None) };
        let captures = matcher.captures.into_iter().map(|slot| match slot {
            Slot::Position(at) => Capture::Position(at),
            Slot::Text(range) => Capture::Text(range),
            // Every capture has an end, or the pattern would not have been read.
            Slot::Open(at) => Capture::Text(at..end),
        });
        Ok(Some(Found { range: start..end, captures: captures.collect() }))
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    items: Vec<Item>,
    open: Vec<usize>,
    captures: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn item(&mut self, byte: u8) -> Result<(), Fault> {
        let class = match byte {
            b'(' => return self.open(),
            b')' => {
                self.open.pop().ok_or(Fault::Malformed("a capture has no beginning"))?;
                self.items.push(Item::Close);
                return Ok(());
            }
            b'$' if self.peek().is_none() => {
                self.items.push(Item::End);
                return Ok(());
            }
            b'%' => match self.next() {
                None => return Err(Fault::Malformed("it ends with %")),
                Some(b'b') => {
                    let (Some(open), Some(close)) = (self.next(), self.next()) else {
                        return Err(Fault::Malformed("%b needs two characters"));
                    };
                    self.items.push(Item::Balanced(open, close));
                    return Ok(());
                }
                Some(b'f') => {
                    if self.next() != Some(b'[') {
                        return Err(Fault::Malformed("%f needs a set"));
                    }
                    let set = self.set()?;
                    self.items.push(Item::Frontier(set));
                    return Ok(());
                }
                Some(digit @ b'0'..=b'9') => {
                    // An end of a capture is after its beginning, so what is open now is not closed at this place.
                    let index = usize::from(digit - b'0');
                    if index == 0 || index > self.captures || self.open.contains(&(index - 1)) {
                        return Err(Fault::Malformed("% and a digit need a capture before it"));
                    }
                    self.items.push(Item::Again(index - 1));
                    return Ok(());
                }
                Some(letter) => {
                    named(letter).map_or(Class::Byte(letter), |(name, inverse)| Class::Named(name, inverse))
                }
            },
            b'[' => self.set()?,
            b'.' => Class::Any,
            byte => Class::Byte(byte),
        };
        let repeat = match self.peek() {
            Some(b'?') => Repeat::Maybe,
            Some(b'*') => Repeat::Many(0),
            Some(b'+') => Repeat::Many(1),
            Some(b'-') => Repeat::Few,
            _ => Repeat::Once,
        };
        self.at += usize::from(repeat != Repeat::Once);
        self.items.push(Item::One(class, repeat));
        Ok(())
    }

    fn open(&mut self) -> Result<(), Fault> {
        if self.captures == MAX_CAPTURES {
            return Err(Fault::Malformed("it has more than 32 captures"));
        }
        if self.peek() == Some(b')') {
            self.at += 1;
            self.items.push(Item::Position);
        } else {
            self.open.push(self.captures);
            self.items.push(Item::Open);
        }
        self.captures += 1;
        Ok(())
    }

    /// A set, after its `[`.
    fn set(&mut self) -> Result<Class, Fault> {
        const NO_END: Fault = Fault::Malformed("a set has no ]");
        let inverse = self.peek() == Some(b'^');
        self.at += usize::from(inverse);
        let mut members = Vec::new();
        loop {
            let byte = self.next().ok_or(NO_END)?;
            match byte {
                b']' if !members.is_empty() => return Ok(Class::Set(members, inverse)),
                b'%' => {
                    let letter = self.next().ok_or(NO_END)?;
                    members.push(match named(letter) {
                        Some((name, inverse)) => Member::Named(name, inverse),
                        None => Member::Range(letter, letter),
                    });
                }
                low => match self.text.get(self.at..self.at + 2) {
                    Some(&[b'-', high]) if high != b']' => {
                        self.at += 2;
                        members.push(Member::Range(low, high));
                    }
                    _ => members.push(Member::Range(low, low)),
                },
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Slot {
    Open(usize),
    Text(Range<usize>),
    Position(usize),
}

struct Matcher<'a> {
    text: &'a [u8],
    items: &'a [Item],
    captures: Vec<Slot>,
    meter: &'a dyn Meter,
}

impl Matcher<'_> {
    /// Where the match ends that begins at `at` with the item `index`.
    fn run(&mut self, mut at: usize, mut index: usize) -> Result<Option<usize>, Fault> {
        let items = self.items;
        loop {
            self.meter.step()?;
            let Some(item) = items.get(index) else { return Ok(Some(at)) };
            index += 1;
            match item {
                Item::One(class, Repeat::Once) => {
                    if !self.has(class, at) {
                        return Ok(None);
                    }
                    at += 1;
                }
                Item::One(class, Repeat::Maybe) => {
                    if self.has(class, at)
                        && let Some(end) = self.run(at + 1, index)?
                    {
                        return Ok(Some(end));
                    }
                }
                Item::One(class, Repeat::Many(least)) => return self.longest(class, *least, at, index),
                Item::One(class, Repeat::Few) => loop {
                    if let Some(end) = self.run(at, index)? {
                        return Ok(Some(end));
                    }
                    if !self.has(class, at) {
                        return Ok(None);
                    }
                    at += 1;
                },
                Item::Open => return self.with(Slot::Open(at), at, index),
                Item::Position => return self.with(Slot::Position(at), at, index),
                Item::Close => return self.closed(at, index),
                Item::Again(capture) => {
                    // A position has no text: it fits nowhere.
                    let Some(Slot::Text(range)) = self.captures.get(*capture) else { return Ok(None) };
                    let wanted = &self.text[range.clone()];
                    for _ in 0..wanted.len() / 64 {
                        self.meter.step()?;
                    }
                    if !self.text[at..].starts_with(wanted) {
                        return Ok(None);
                    }
                    at += wanted.len();
                }
                Item::Balanced(open, close) => match self.balanced(at, *open, *close)? {
                    Some(end) => at = end,
                    None => return Ok(None),
                },
                Item::Frontier(class) => {
                    let before = if at == 0 { 0 } else { self.text[at - 1] };
                    let here = self.text.get(at).copied().unwrap_or(0);
                    if class.has(before) || !class.has(here) {
                        return Ok(None);
                    }
                }
                Item::End => return Ok((at == self.text.len()).then_some(at)),
            }
        }
    }

    /// As many of the class as there are, or as few as make the rest match.
    fn longest(&mut self, class: &Class, least: usize, at: usize, index: usize) -> Result<Option<usize>, Fault> {
        let mut count = 0;
        while self.has(class, at + count) {
            self.meter.step()?;
            count += 1;
        }
        for count in (least..=count).rev() {
            if let Some(end) = self.run(at + count, index)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// The innermost open capture ends here.
    fn closed(&mut self, at: usize, index: usize) -> Result<Option<usize>, Fault> {
        let open = self.captures.iter().rposition(|slot| matches!(slot, Slot::Open(_)));
        let Some((place, Slot::Open(start))) = open.map(|place| (place, self.captures[place].clone())) else {
            return Ok(None);
        };
        self.captures[place] = Slot::Text(start..at);
        let end = self.run(at, index)?;
        if end.is_none() {
            self.captures[place] = Slot::Open(start);
        }
        Ok(end)
    }

    fn has(&self, class: &Class, at: usize) -> bool {
        self.text.get(at).is_some_and(|byte| class.has(*byte))
    }

    fn with(&mut self, slot: Slot, at: usize, index: usize) -> Result<Option<usize>, Fault> {
        self.captures.push(slot);
        let end = self.run(at, index)?;
        if end.is_none() {
            self.captures.pop();
        }
        Ok(end)
    }

    fn balanced(&self, at: usize, open: u8, close: u8) -> Result<Option<usize>, Fault> {
        if self.text.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (offset, byte) in self.text[at + 1..].iter().enumerate() {
            self.meter.step()?;
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + offset + 2));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// So many steps and no more.
    struct Steps(Cell<u64>);

    impl Meter for Steps {
        fn step(&self) -> Result<(), Fault> {
            let left = self.0.get().checked_sub(1).ok_or(Fault::OutOfTime)?;
            self.0.set(left);
            Ok(())
        }
    }

    fn find(text: &str, pattern: &str) -> Result<Option<Vec<String>>, Fault> {
        let found = Pattern::parse(pattern.as_bytes(), true)?.find(text.as_bytes(), 0, &Steps(Cell::new(100_000)))?;
        Ok(found.map(|found| {
            let captures = found.captures.into_iter().map(|capture| match capture {
                Capture::Text(range) => text[range].to_owned(),
                Capture::Position(at) => format!("@{at}"),
            });
            std::iter::once(text[found.range].to_owned()).chain(captures).collect()
        }))
    }

    #[test]
    fn patterns_fit_as_in_lua() {
        for (text, pattern, wanted) in [
            ("hello world", "o w", Some(vec!["o w"])),
            ("hello", "", Some(vec![""])),
            ("hello", "l+", Some(vec!["ll"])),
            ("hello", "xl*", None),
            ("hello", "hx*e", Some(vec!["he"])),
            ("hello", "^ello", None),
            ("hello", "lo$", Some(vec!["lo"])),
            ("a$b", "a$b", Some(vec!["a$b"])),
            ("colour color", "colou?r$", Some(vec!["color"])),
            ("<a><b>", "<.->", Some(vec!["<a>"])),
            ("<a><b>", "<.*>", Some(vec!["<a><b>"])),
            ("key = value", "(%w+)%s*=%s*(%w+)", Some(vec!["key = value", "key", "value"])),
            ("2026-03-04T05:06:07Z", "(%d+)-(%d+)-(%d+)T", Some(vec!["2026-03-04T", "2026", "03", "04"])),
            ("abc", "()b()", Some(vec!["b", "@1", "@2"])),
            ("nested", "(n(es)(t))", Some(vec!["nest", "nest", "es", "t"])),
            ("x 'it''s' y", "(['\"])(.-)%1", Some(vec!["'it'", "'", "it"])),
            ("f(a(b)c)d", "%b()", Some(vec!["(a(b)c)"])),
            ("f(a(b", "%b()", None),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some(vec!["THE"])),
            ("a-b", "[a-c]-[-]b", Some(vec!["a-b"])),
            ("a]b", "[]]", Some(vec!["]"])),
            ("a^b", "[b^]", Some(vec!["^"])),
            ("v1.2.3", "[^%d]%d%.", Some(vec!["v1."])),
            ("a.b", "%.", Some(vec!["."])),
            ("a-b", "[%w-]+", Some(vec!["a-b"])),
            ("aaa", "a-$", Some(vec!["aaa"])),
            ("one\ttwo\x0b", "%s", Some(vec!["\t"])),
            ("AbC", "%u%l%u", Some(vec!["AbC"])),
            ("a1", "%D%d", Some(vec!["a1"])),
            // A try that failed leaves no capture behind.
            ("aab", "(a)b", Some(vec!["ab", "a"])),
            ("xaab", "(a*)b", Some(vec!["aab", "aa"])),
        ] {
            let wanted = wanted.map(|parts| parts.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(find(text, pattern), Ok(wanted), "{text} {pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for (pattern, wanted) in [
            ("%", "it ends with %"),
            ("[a", "a set has no ]"),
            ("[]", "a set has no ]"),
            ("[%", "a set has no ]"),
            ("(a", "a capture has no end"),
            ("a)", "a capture has no beginning"),
            ("%1", "% and a digit need a capture before it"),
            ("(a%1)", "% and a digit need a capture before it"),
            ("(a)%2", "% and a digit need a capture before it"),
            ("%bx", "%b needs two characters"),
            ("%fa", "%f needs a set"),
        ] {
            assert_eq!(find("a", pattern), Err(Fault::Malformed(wanted)), "{pattern}");
        }
        assert_eq!(find("a", &"()".repeat(33)), Err(Fault::Malformed("it has more than 32 captures")));
        assert_eq!(find("a", &"a".repeat(4097)), Err(Fault::Malformed("it is longer than 4096 characters")));
        assert_eq!(find("a", &"a?".repeat(201)), Err(Fault::Malformed("it has too many parts")));
    }

    #[test]
    fn work_is_bounded() {
        let text = "a".repeat(1000);
        for pattern in
            [".-.-.-.-.-b", "a*a*a*a*b", "(a-)(a-)(a-)%3%2b", &format!("{}{}", "a?".repeat(100), "a".repeat(999))]
        {
            assert_eq!(find(&text, pattern), Err(Fault::OutOfTime), "{pattern}");
        }
        let open = "(".repeat(1000);
        assert_eq!(find(&open, "%b()x"), Err(Fault::OutOfTime));
        assert_eq!(find(&text, "a*$").map(|found| found.is_some()), Ok(true));
    }
}
