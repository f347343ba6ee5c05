//! How the changes are told: to people, to machines, and in a pull request.

use serde::Serialize;
use serde_json::Value;

use super::changes::{Change, Counts, What};
use super::checkout::Side;
use super::units::Unit;
use crate::app::coloured;

/// Forges take 65,536 characters in a comment; something may stand around this.
const MARKDOWN_LIMIT: usize = 60_000;
/// A shorter part of a diff says nothing.
const WORTH_CUTTING: usize = 1_000;
/// Notes in a comment.
const MARKDOWN_NOTES: usize = 10;
const NOTE_LENGTH: usize = 300;

/// What was found.
pub struct Report<'a> {
    /// What is compared.
    pub sides: [&'a Side; 2],
    /// What differs.
    pub changes: &'a [Change],
    /// What people should know.
    pub notes: &'a [String],
}

#[derive(Serialize)]
struct Told<'a> {
    from: ToldSide<'a>,
    to: ToldSide<'a>,
    counts: Counts,
    changes: Vec<ToldChange<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ToldSide<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
}

#[derive(Serialize)]
struct ToldChange<'a> {
    change: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<ToldField<'a>>,
    diff: &'a str,
}

#[derive(Serialize)]
struct ToldField<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Value>,
}

impl Serialize for Report<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [from, to] = self
            .sides
            .map(|side| ToldSide { name: &side.name, commit: side.commit.as_ref().map(|commit| commit.as_str()) });
        let changes = self.changes.iter().map(told).collect();
        Told { from, to, counts: Counts::of(self.changes), changes, notes: self.notes }.serialize(serializer)
    }
}

fn told(change: &Change) -> ToldChange<'_> {
    let (application, path) = match &change.unit {
        Unit::Application(name) => (Some(name.as_str()), None),
        Unit::Path(path) => (None, Some(path.as_str())),
    };
    let fields = change.fields.iter().map(|field| ToldField {
        path: &field.path,
        from: field.live.as_ref(),
        to: field.desired.as_ref(),
    });
    ToldChange {
        change: change.what,
        application,
        path,
        group: &change.key.group,
        kind: &change.key.kind,
        namespace: &change.key.namespace,
        name: &change.key.name,
        fields: fields.collect(),
        diff: &change.diff,
    }
}

impl Report<'_> {
    /// The diffs, and a sentence.
    pub fn text(&self, colour: bool) -> String {
        let diff = |change: &Change| if colour { coloured(&change.diff) } else { change.diff.clone() };
        let diffs: String = self.changes.iter().map(diff).collect();
        format!("{diffs}{}\n", Counts::of(self.changes))
    }

    /// For a comment on a pull request: each object to be unfolded, and no longer than a comment may be.
    pub fn markdown(&self) -> String {
        let [from, to] = self.sides.map(|side| match &side.commit {
            Some(commit) if commit.as_str() != side.name => format!("{} ({})", code(&side.name), commit.short()),
            _ => code(&side.name),
        });
        let mut text = format!("### {}\n\n{from} → {to}\n", capitalized(&Counts::of(self.changes).to_string()));
        let notes = self.markdown_notes();
        // The last words have to fit, too.
        let limit = MARKDOWN_LIMIT - length(&notes) - NOTE_LENGTH;
        let (mut unit, mut hidden, mut used) = (None, 0, length(&text));
        for change in self.changes {
            let head =
                if unit == Some(&change.unit) { String::new() } else { format!("\n**{}**\n", heading(&change.unit)) };
            let room = limit.saturating_sub(used + length(&head));
            // Once something does not fit, nothing more is shown: what comes first is what there is.
            let block = if hidden > 0 { None } else { block(change, room) };
            let Some(block) = block else {
                hidden += 1;
                continue;
            };
            used += length(&head) + length(&block);
            text = text + &head + &block;
            unit = Some(&change.unit);
        }
        if hidden > 0 {
            let more =
                if hidden == 1 { "1 more object differs".into() } else { format!("{hidden} more objects differ") };
            text += &format!("\n{more}: too much for a comment; `lockstep diff` shows everything.\n");
        }
        text + &notes
    }

    fn markdown_notes(&self) -> String {
        let shown = self.notes.iter().take(MARKDOWN_NOTES);
        let mut lines: Vec<String> =
            shown.map(|note| format!("- {}", escaped(&note.chars().take(NOTE_LENGTH).collect::<String>()))).collect();
        let more = self.notes.len().saturating_sub(MARKDOWN_NOTES);
        if more > 0 {
            lines.push(format!("- and {more} more notes"));
        }
        if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) }
    }
}

/// An object that can be unfolded, its diff cut to the room that there is. None if there is too little of it.
fn block(change: &Change, room: usize) -> Option<String> {
    let fence = fence(&change.diff);
    let framed = |diff: &str, rest: &str| {
        let title = escaped(&format!("{}: {}", change.key, change.what));
        format!("\n<details><summary>{title}</summary>\n\n{fence}diff\n{diff}{fence}\n{rest}\n</details>\n")
    };
    let whole = framed(&change.diff, "");
    if length(&whole) <= room {
        return Some(whole);
    }
    let cut = "\nThis diff is cut: it is too much for a comment; `lockstep diff` shows all of it.\n";
    let room = room.checked_sub(length(&framed("", cut)))?;
    if room < WORTH_CUTTING {
        return None;
    }
    let mut kept = String::new();
    let mut used = 0;
    for line in change.diff.split_inclusive('\n') {
        used += length(line);
        if used > room {
            break;
        }
        kept += line;
    }
    // A head without a change is no diff.
    (kept.lines().count() > 3).then(|| framed(&kept, cut))
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn heading(unit: &Unit) -> String {
    match unit {
        Unit::Application(name) => format!("application {}", code(name)),
        Unit::Path(_) => code(&unit.to_string()),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A name as it is, whatever is in it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace(char::is_whitespace, " "))
}

/// Text that is neither markup nor a mention.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '@' => safe += "&#64;",
            '`' | '*' | '_' | '[' | ']' | '~' | '#' | '|' | '\\' => safe += &format!("&#{};", u32::from(character)),
            character if character.is_whitespace() => safe.push(' '),
            character => safe.push(character),
        }
    }
    safe
}

/// A fence that nothing in the text closes.
fn fence(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use git::Commit;
    use serde_json::json;

    use super::super::changes::changes;
    use super::super::units::Rendered;
    use super::*;

    /// Two sides; nothing is read from them.
    fn sides() -> (tempfile::TempDir, Side, Side) {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new("git");
            command.current_dir(folder.path()).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
            let output = command.args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["init", "--quiet"]);
        run(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
        let commit = Commit::parse(&run(&["rev-parse", "HEAD"])).unwrap();
        let local = git::Local::open(&folder.path().join("own"), &folder.path().join(".git/objects"), "x").unwrap();
        let snapshot = local.snapshot(&commit).unwrap();
        let from = Side { name: "main".into(), commit: Some(commit), snapshot: snapshot.clone() };
        (folder, from, Side { name: "the working tree".into(), commit: None, snapshot })
    }

    fn rendered(objects: &[(&str, String)]) -> Rendered {
        let mut units: BTreeMap<Unit, BTreeMap<_, _>> = BTreeMap::new();
        for (name, value) in objects {
            let unit = if *name < "n" { Unit::Application("argocd/shop".into()) } else { Unit::Path("apps".into()) };
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "dev"}, "data": {"v": value},
            });
            let object = resources::Object(object);
            units.entry(unit).or_default().insert((object.key(), 0), object);
        }
        Rendered { units, ..Rendered::default() }
    }

    fn found(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<Change> {
        let owned = |objects: &[(&str, &str)]| {
            rendered(&objects.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>())
        };
        changes(&owned(before), &owned(after), ["main", "the working tree"])
    }

    #[test]
    fn a_comment() {
        let (_folder, from, to) = sides();
        let changes = found(&[("a", "1"), ("z", "1")], &[("a", "2"), ("b", "x")]);
        let notes = ["application <b> of @acme is left out".to_owned()];
        let text = Report { sides: [&from, &to], changes: &changes, notes: &notes }.markdown();
        let short = from.commit.as_ref().unwrap().short();
        for wanted in [
            &format!("### 1 object changed, 1 added, 1 removed\n\n`main` ({short}) → `the working tree`\n"),
            "\n**`apps`**\n",
            "\n**application `argocd/shop`**\n",
            "\n<details><summary>ConfigMap dev/a: changed</summary>\n\n```diff\n--- main: ConfigMap dev/a (application argocd/shop)\n",
            "```\n\n</details>\n",
            "\n- application &lt;b&gt; of &#64;acme is left out\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
        assert_eq!(text.matches("<details>").count(), 3);
        let none = Report { sides: [&from, &to], changes: &[], notes: &[] }.markdown();
        assert!(none.starts_with("### No difference\n") && !none.contains("<details>"));
    }

    #[test]
    fn a_comment_has_a_limit() {
        let (_folder, from, to) = sides();
        let large = "ä line of text\n".repeat(9_000);
        let notes = vec!["n".repeat(1_000); 200];
        for (sizes, shown, hidden) in [(vec![2_000; 10], 10, 0), (vec![20_000; 10], 3, 7), (vec![large.len(); 3], 1, 2)]
        {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
            let cut = |size: usize| large.chars().take(size).collect::<String>();
            let objects: Vec<_> = names.iter().zip(&sizes).map(|(name, size)| (*name, cut(*size))).collect();
            let changes = changes(&rendered(&[]), &rendered(&objects), ["main", "HEAD"]);
            let text = Report { sides: [&from, &to], changes: &changes, notes: &notes }.markdown();
            assert!(length(&text) <= MARKDOWN_LIMIT, "{}", length(&text));
            let found = (text.matches("<details>").count(), text.matches("</details>").count());
            assert_eq!(found, (shown, shown), "{sizes:?}");
            assert_eq!(text.matches("```").count(), 2 * shown);
            let more =
                text.lines().find(|line| line.contains("too much for a comment; `lockstep diff` shows everything"));
            assert_eq!(more.is_some(), hidden > 0, "{more:?}");
            assert!(hidden == 0 || more.unwrap().starts_with(&format!("{hidden} more")), "{more:?}");
            assert!(text.contains("- and 190 more notes"));
        }
    }

    #[test]
    fn nothing_in_a_diff_ends_its_fence() {
        let (_folder, from, to) = sides();
        let changes = found(&[], &[("a", "````\n</details>")]);
        let text = Report { sides: [&from, &to], changes: &changes, notes: &[] }.markdown();
        assert!(text.contains("\n`````diff\n") && text.contains("\n`````\n"), "{text}");
    }

    #[test]
    fn for_machines() {
        let (_folder, from, to) = sides();
        let changes = found(&[("a", "1")], &[("a", "2"), ("z", "x")]);
        let report = Report { sides: [&from, &to], changes: &changes, notes: &[] };
        let mut value = serde_json::to_value(&report).unwrap();
        let diff = value["changes"][1]["diff"].take();
        assert!(diff.as_str().unwrap().contains("\n-  v: "), "{diff}");
        value["changes"][0]["diff"].take();
        assert_eq!(
            value,
            json!({
                "from": {"name": "main", "commit": from.commit.as_ref().unwrap().as_str()},
                "to": {"name": "the working tree"},
                "counts": {"changed": 1, "added": 1, "removed": 0},
                "changes": [
                    {"change": "added", "path": "apps", "group": "", "kind": "ConfigMap", "namespace": "dev", "name": "z", "diff": null},
                    {
                        "change": "changed", "application": "argocd/shop", "group": "", "kind": "ConfigMap", "namespace": "dev",
                        "name": "a", "fields": [{"path": "data.v", "from": "1", "to": "2"}], "diff": null,
                    },
                ],
                "notes": [],
            })
        );
    }

    #[test]
    fn text_ends_with_a_sentence() {
        let (_folder, from, to) = sides();
        let changes = found(&[("a", "1")], &[("a", "2")]);
        let report = Report { sides: [&from, &to], changes: &changes, notes: &[] };
        let text = report.text(false);
        assert!(
            text.starts_with("--- main: ") && text.ends_with("\n1 object changed\n") && !text.contains('\x1b'),
            "{text}"
        );
        assert!(report.text(true).contains("\x1b[32m+  v: "), "{}", report.text(true));
    }
}
