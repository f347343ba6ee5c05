use std::collections::BTreeSet;

use serde::Deserialize;
use wire::ChangedPaths;

/// A commit in a push, as far as it says which files changed.
#[derive(Debug, Deserialize)]
pub(crate) struct CommitPayload {
    #[serde(default)]
    id: String,
    #[serde(default)]
    added: Option<Vec<String>>,
    #[serde(default)]
    modified: Option<Vec<String>>,
    #[serde(default)]
    removed: Option<Vec<String>>,
}

/// GitHub lists at most this many commits in a push.
const MOST_COMMITS: usize = 2048;
/// A commit that lists this many files may have more: GitHub pages a commit's files by 300.
const MOST_FILES_OF_A_COMMIT: usize = 300;
/// More than this is not worth its place in a message; whoever needs the paths compares the trees.
const MOST_PATHS: usize = 10_000;

impl CommitPayload {
    /// None where the lists may be incomplete. Three empty lists are such a case: that is how a merge looks whose own
    /// changes are not told.
    fn files(&self) -> Option<impl Iterator<Item = &String>> {
        let lists = [self.added.as_ref()?, self.modified.as_ref()?, self.removed.as_ref()?];
        let count: usize = lists.iter().map(|list| list.len()).sum();
        (1..MOST_FILES_OF_A_COMMIT).contains(&count).then(|| lists.into_iter().flatten())
    }
}

/// All paths that a fast-forward push to `after` changed, or None if the payload may not have them all. `size` is the
/// number of commits where the payload tells it.
pub(crate) fn changed_paths(commits: &[CommitPayload], after: &str, size: Option<usize>) -> Option<ChangedPaths> {
    let complete = commits.len() < MOST_COMMITS
        && size.is_none_or(|size| size == commits.len())
        && commits.iter().any(|commit| commit.id == after);
    if !complete {
        return None;
    }
    let mut paths = BTreeSet::new();
    for commit in commits {
        paths.extend(commit.files()?);
        if paths.len() > MOST_PATHS {
            return None;
        }
    }
    Some(ChangedPaths { paths: paths.into_iter().cloned().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str, added: &[&str], modified: &[&str], removed: &[&str]) -> CommitPayload {
        let list = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect());
        CommitPayload { id: id.into(), added: list(added), modified: list(modified), removed: list(removed) }
    }

    #[test]
    fn only_complete_lists_count() {
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first = || commit("1", &["b"], &["a"], &[]);
        let unknown = || CommitPayload { id: "2".into(), added: None, modified: None, removed: None };
        let some = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        let cases = [
            ("one commit", vec![first()], "1", None, some(&["a", "b"])),
            ("several", vec![first(), commit("2", &[], &["a"], &["c"])], "2", Some(2), some(&["a", "b", "c"])),
            ("no commits", vec![], "1", None, None),
            ("the pushed commit is not among them", vec![first()], "2", None, None),
            ("fewer than there are", vec![first()], "1", Some(2), None),
            ("a commit without lists", vec![first(), unknown()], "2", None, None),
            ("a merge that tells nothing", vec![first(), commit("2", &[], &[], &[])], "2", None, None),
            ("a list that may be cut", vec![commit("1", &many, &[], &[])], "1", None, None),
            ("as many commits as GitHub tells", (0..2048).map(|_| first()).collect(), "1", None, None),
        ];
        for (name, commits, after, size, expected) in cases {
            assert_eq!(changed_paths(&commits, after, size).map(|c| c.paths), expected, "{name}");
        }
    }
}
