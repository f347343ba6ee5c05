//! Plain tables: columns as wide as they must be, two spaces between them.

/// A head and its rows. The last column may be of any length.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = head.iter().map(|title| width(title)).collect();
    for row in rows {
        for (most, cell) in widths.iter_mut().zip(row) {
            *most = (*most).max(width(cell));
        }
    }
    let mut text = String::new();
    let mut add = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, most) in cells.zip(&widths) {
            line += cell;
            line += &" ".repeat(most - width(cell) + 2);
        }
        text += line.trim_end();
        text.push('\n');
    };
    add(&mut head.iter().copied());
    for row in rows {
        add(&mut row.iter().map(String::as_str));
    }
    text
}

/// A message in one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `4f2a9c1`, of several sources `4f2a9c1, 5e1b9c1`.
pub fn short(commits: &[String]) -> String {
    let short: Vec<&str> = commits.iter().map(|commit| commit.get(..7).unwrap_or(commit)).collect();
    short.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["gateway", "Synced", ""]), row(["späti", "OutOfSync", "a long message"])];
        let want = "\
NAME     SYNC       MESSAGE
gateway  Synced
späti    OutOfSync  a long message
";
        assert_eq!(table(&["NAME", "SYNC", "MESSAGE"], &rows), want);
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn words_and_commits() {
        assert_eq!(one_line(" a\n  b\tc "), "a b c");
        assert_eq!(short(&["4f2a9c1d0b".into(), "v1".into()]), "4f2a9c1, v1");
    }
}
