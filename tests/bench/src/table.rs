//! Figures, tables, and the file that keeps them.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;

use crate::{machine, millis};

/// One figure beside its floor.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Lockstep's figure, with its unit.
    pub lockstep: String,
    /// The floor's, with its unit.
    pub floor: String,
    /// Lockstep's divided by the floor's.
    pub ratio: Option<f64>,
    /// What the ratio shall be at most; at least where `at_least`.
    pub target: Option<f64>,
    /// The ratio is one of rates, not of times.
    pub at_least: bool,
    /// A target that is no ratio, in words, and whether it is met.
    pub absolute: Option<(String, bool)>,
}

impl Row {
    fn cells(&self) -> [String; 5] {
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}"));
        let sign = if self.at_least { "≥" } else { "≤" };
        let mut targets = Vec::new();
        let mut met = Vec::new();
        if let (Some(ratio), Some(target)) = (self.ratio, self.target) {
            targets.push(format!("{sign} {target} ×"));
            met.push(if self.at_least { ratio >= target } else { ratio <= target });
        }
        if let Some((words, reached)) = &self.absolute {
            targets.push(words.clone());
            met.push(*reached);
        }
        let verdict = match (met.is_empty(), met.iter().all(|met| *met)) {
            (true, _) => "",
            (_, true) => " ✓",
            (_, false) => " ✗",
        };
        [
            self.what.clone(),
            self.lockstep.clone(),
            self.floor.clone(),
            ratio.unwrap_or_default(),
            format!("{}{verdict}", targets.join(", ")),
        ]
    }
}

/// A table with its name in the file.
#[derive(Clone, Debug)]
pub struct Section {
    name: &'static str,
    /// The figures.
    pub rows: Vec<Row>,
    /// Sentences below the table.
    pub notes: Vec<String>,
}

impl Section {
    /// A table without notes.
    pub fn new(name: &'static str, rows: Vec<Row>) -> Self {
        Self { name, rows, notes: Vec::new() }
    }
}

impl fmt::Display for Section {
    /// As Markdown, in columns that can be read as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [self.name, "Lockstep", "floor", "ratio", "target"].map(str::to_owned);
        let lines: Vec<[String; 5]> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: Vec<usize> =
            (0..5).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
        for (number, line) in lines.iter().enumerate() {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "| {} |", rules.join(" | "))?;
            }
        }
        for note in &self.notes {
            write!(f, "\n{note}\n")?;
        }
        Ok(())
    }
}

/// Puts the tables between their markers in docs/performance.md. What was not measured stays as it is.
pub fn write(sections: &[Section]) -> anyhow::Result<()> {
    let file = harness::repository_root().join("docs/performance.md");
    let mut text = std::fs::read_to_string(&file).context("docs/performance.md cannot be read")?;
    text = replaced(&text, "machine", &machine::describe())?;
    for section in sections {
        text = replaced(&text, section.name, section.to_string().trim_end())?;
    }
    std::fs::write(&file, text).context("docs/performance.md cannot be written")
}

fn replaced(text: &str, name: &str, content: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- bench: {name} -->"), format!("<!-- end: {name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.with_context(|| format!("docs/performance.md has no {begin} … {end}"))?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}

/// The value that so many hundredths of all are below; of nothing it is zero.
pub fn percentile(values: &[f64], hundredths: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * hundredths + 50) / 100).copied().unwrap_or_default()
}

/// Durations in milliseconds.
pub fn in_millis(durations: &[Duration]) -> Vec<f64> {
    durations.iter().copied().map(millis).collect()
}

/// With as many digits as mean something.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=11).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 90), percentile(&[], 50)), (6.0, 10.0, 0.0));
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb\n";
        assert_eq!(replaced(text, "x", "new").unwrap(), "a\n<!-- bench: x -->\nnew\n<!-- end: x -->\nb\n");
        assert!(replaced(text, "y", "new").is_err());
    }

    #[test]
    fn a_row_says_whether_its_targets_are_met() {
        let row = Row { ratio: Some(1.4), target: Some(1.5), ..Row::default() };
        assert_eq!(row.cells()[4], "≤ 1.5 × ✓");
        let row = Row { ratio: Some(0.8), target: Some(0.9), at_least: true, ..Row::default() };
        assert_eq!(row.cells()[4], "≥ 0.9 × ✗");
        let row = Row { absolute: Some(("≤ 120 MB".into(), true)), ..Row::default() };
        assert_eq!(row.cells()[4], "≤ 120 MB ✓");
        assert_eq!(Row::default().cells()[4], "");
    }
}
