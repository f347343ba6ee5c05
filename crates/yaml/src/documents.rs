//! A text's documents.

/// One document of a text, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Which one, from 1.
    pub number: usize,
    /// Its first line in the whole text, from 1.
    pub first_line: usize,
    /// What it says.
    pub text: &'a str,
}

/// The documents of a text, one after the other.
#[derive(Clone, Debug)]
pub struct Documents<'a> {
    rest: &'a str,
    number: usize,
    line: usize,
    /// Whether the rest begins behind a separator, in the middle of its line.
    behind: bool,
}

/// Cuts a text at its `---` lines. Documents without content are left out.
pub fn documents(text: &str) -> Documents<'_> {
    Documents { rest: text.strip_prefix('\u{feff}').unwrap_or(text), number: 0, line: 1, behind: false }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Document<'a>;

    fn next(&mut self) -> Option<Document<'a>> {
        loop {
            let (text, first_line) = (self.rest, self.line);
            // `--- {a: b}` is a document on the line of its own separator, which has been taken off.
            let (mut at, mut content, mut found) = (0, false, false);
            for row in text.split_inclusive('\n') {
                if !(self.behind && at == 0) && is_separator(row) {
                    found = true;
                    break;
                }
                content = content || has_content(row);
                at += row.len();
                if row.ends_with('\n') {
                    self.line += 1;
                }
            }
            let document = &text[..at];
            if found {
                self.rest = &text[at + 3..];
                self.behind = true;
            } else {
                self.rest = "";
            }
            if content {
                self.number += 1;
                return Some(Document { number: self.number, first_line, text: document });
            }
            if !found {
                return None;
            }
        }
    }
}

fn is_separator(row: &str) -> bool {
    row.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line is more than space, comment, directive or end-of-document mark.
fn has_content(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "...")
}
