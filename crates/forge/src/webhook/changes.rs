use std::collections::BTreeSet;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use wire::ChangedPaths;

use super::bounded::{Clipped, List, optional};

/// A commit in a push, as far as it says which files changed.
#[derive(Debug, Deserialize)]
struct CommitPayload {
    #[serde(default, deserialize_with = "optional")]
    id: String,
    #[serde(default)]
    added: Option<Files>,
    #[serde(default)]
    modified: Option<Files>,
    #[serde(default)]
    removed: Option<Files>,
}

type Files = List<Clipped, MOST_FILES_OF_A_COMMIT>;

/// GitHub lists at most this many commits in a push.
const MOST_COMMITS: usize = 2048;
/// A commit that lists this many files may have more: GitHub pages a commit's files by 300.
const MOST_FILES_OF_A_COMMIT: usize = 300;
/// More than this is not worth its place in a message; whoever needs the paths compares the trees.
const MOST_PATHS: usize = 10_000;
/// The same for all paths together.
const MOST_BYTES_OF_PATHS: usize = 512 * 1024;

impl CommitPayload {
    /// None where the lists may be incomplete. Three empty lists are such a case: that is how a merge looks whose own
    /// changes are not told. So is a path that was too long to keep.
    fn files(self) -> Option<impl Iterator<Item = String>> {
        let lists = [self.added?, self.modified?, self.removed?];
        let count: usize = lists.iter().map(|list| list.kept.len()).sum();
        let kept = lists.iter().flat_map(|list| &list.kept).all(|path| !path.0.is_empty());
        let complete = kept && (1..MOST_FILES_OF_A_COMMIT).contains(&count);
        complete.then(|| lists.into_iter().flat_map(|list| list.kept).map(|path| path.0))
    }
}

/// The commits of a push, read one by one: of each only its id and its paths are kept, and none of them once it is clear
/// that they are not all.
#[derive(Debug)]
pub(crate) struct Commits {
    count: usize,
    ids: Vec<String>,
    bytes: usize,
    paths: Option<BTreeSet<String>>,
}

impl Default for Commits {
    fn default() -> Self {
        Self { count: 0, ids: Vec::new(), bytes: 0, paths: Some(BTreeSet::new()) }
    }
}

impl Commits {
    fn add(&mut self, commit: CommitPayload) {
        self.count += 1;
        if self.count >= MOST_COMMITS {
            self.paths = None;
        }
        let Some(paths) = &mut self.paths else { return };
        // What is longer is no commit's id.
        self.ids.push(if commit.id.len() <= 64 { commit.id.clone() } else { String::new() });
        let Some(files) = commit.files() else {
            self.paths = None;
            return;
        };
        for path in files {
            let length = path.len();
            if paths.insert(path) {
                self.bytes += length;
            }
        }
        if paths.len() > MOST_PATHS || self.bytes > MOST_BYTES_OF_PATHS {
            self.paths = None;
        }
    }

    /// All paths that a fast-forward push to `after` changed, or None if the payload may not have them all. `size` is the
    /// number of commits where the payload tells it.
    pub(crate) fn changed_paths(self, after: &str, size: Option<usize>) -> Option<ChangedPaths> {
        let complete = size.is_none_or(|size| size == self.count) && self.ids.iter().any(|id| id == after);
        let paths = self.paths.filter(|_| complete)?;
        Some(ChangedPaths { paths: paths.into_iter().collect() })
    }
}

impl<'de> Deserialize<'de> for Commits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Commits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of commits")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Commits, A::Error> {
                let mut commits = Commits::default();
                while commits.paths.is_some() {
                    let Some(commit) = list.next_element()? else { return Ok(commits) };
                    commits.add(commit);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(commits)
            }
        }
        from.deserialize_seq(Each)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn commit(id: &str, added: &[&str], modified: &[&str], removed: &[&str]) -> Value {
        json!({ "id": id, "added": added, "modified": modified, "removed": removed })
    }

    #[test]
    fn only_complete_lists_count() {
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first = || commit("1", &["b"], &["a"], &[]);
        let unknown = || json!({ "id": "2" });
        let each = |count: usize, length: usize| -> Vec<Value> {
            let commit = |n: usize| {
                let paths: Vec<String> = (0..100).map(|path| format!("{n}/{path}/{}", "x".repeat(length))).collect();
                json!({ "id": "1", "added": paths, "modified": [], "removed": [] })
            };
            (0..count).map(commit).collect()
        };
        let long = "x".repeat(5_000);
        let some = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        let cases = [
            ("one commit", vec![first()], "1", None, some(&["a", "b"])),
            ("several", vec![first(), commit("2", &[], &["a"], &["c"])], "2", Some(2), some(&["a", "b", "c"])),
            ("no commits", vec![], "1", None, None),
            ("the pushed commit is not among them", vec![first()], "2", None, None),
            ("fewer than there are", vec![first()], "1", Some(2), None),
            ("more than there are", vec![first(), unknown()], "1", Some(1), None),
            ("a commit without lists", vec![first(), unknown()], "2", None, None),
            ("a merge that tells nothing", vec![first(), commit("2", &[], &[], &[])], "2", None, None),
            ("a list that may be cut", vec![commit("1", &many, &[], &[])], "1", None, None),
            ("lists that may be cut", vec![commit("1", &many[..200], &many[..100], &[])], "1", None, None),
            ("as many commits as GitHub tells", (0..2048).map(|_| first()).collect(), "1", None, None),
            ("a path that is too long", vec![commit("1", &["a", &long], &[], &[])], "1", None, None),
            ("too many paths", each(101, 1), "1", None, None),
            ("paths that are too long together", each(10, 600), "1", None, None),
            ("an id that is none", vec![commit(&long, &["a"], &[], &[]), first()], &long, None, None),
        ];
        for (name, commits, after, size, expected) in cases {
            let commits: Commits = serde_json::from_value(commits.into()).unwrap();
            assert_eq!(commits.changed_paths(after, size).map(|c| c.paths), expected, "{name}");
        }
        let all: Commits = serde_json::from_value(each(100, 1).into()).unwrap();
        assert_eq!(all.changed_paths("1", None).unwrap().paths.len(), MOST_PATHS);
    }

    /// What comes after the lists turned out to be incomplete is not even read.
    #[test]
    fn what_does_not_count_is_not_kept() {
        let few = json!({ "id": "1", "added": ["a"] });
        let commits: Commits = serde_json::from_value(vec![few; 50_000].into()).unwrap();
        assert!(commits.paths.is_none() && commits.ids.len() == 1);
    }
}
