//! Differences and ancestry compared with git's own answers, on random repositories.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use git::Commit;
use proptest::prelude::*;
use support::{Remote, git, git_input, mirrors};

const MAIN: &str = "refs/heads/main";

/// What a file can be: content, and whether it is executable or a link.
type Files = BTreeMap<String, (u8, u8)>;

/// Few names and several levels, so that a name is a file here and a folder there.
fn files() -> impl Strategy<Value = Files> {
    let name = prop::sample::select(vec!["a", "b", "a.x", "a-", "c"]);
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    prop::collection::btree_map(path, (0u8..4, 0u8..3), 0..20).prop_map(|files| {
        // A path cannot be a file and a folder at once.
        let folders: Vec<String> =
            files.keys().flat_map(|p| p.match_indices('/').map(|(i, _)| p[..i].to_owned())).collect();
        files.into_iter().filter(|(path, _)| !folders.contains(path)).collect()
    })
}

/// One `fast-import` makes all commits of a case.
fn import(remote: &Remote, commits: &[(Files, Vec<usize>, i64)]) -> Vec<Commit> {
    let mut stream = String::new();
    for (index, (files, parents, time)) in commits.iter().enumerate() {
        let _ = writeln!(
            stream,
            "commit refs/heads/c{index}\nmark :{}\ncommitter J <j@example.com> {time} +0000\ndata 1\nx",
            index + 1
        );
        for (n, parent) in parents.iter().enumerate() {
            let _ = writeln!(stream, "{} :{}", if n == 0 { "from" } else { "merge" }, parent + 1);
        }
        let _ = writeln!(stream, "deleteall");
        for (path, (content, kind)) in files {
            let mode = ["100644", "100755", "120000"][usize::from(*kind)];
            let _ = writeln!(stream, "M {mode} inline {path}\ndata 1\n{content}");
        }
    }
    // Every commit in one history, so that one fetch brings them all.
    let _ = writeln!(stream, "commit {MAIN}\ncommitter J <j@example.com> 1 +0000\ndata 1\nx");
    for index in 0..commits.len() {
        let _ = writeln!(stream, "{} :{}", if index == 0 { "from" } else { "merge" }, index + 1);
    }
    git_input(&remote.bare(), &["fast-import", "--quiet", "--force"], stream.as_bytes());
    let names: Vec<String> = (0..commits.len()).map(|n| format!("refs/heads/c{n}")).collect();
    let arguments: Vec<&str> = std::iter::once("rev-parse").chain(names.iter().map(String::as_str)).collect();
    git(&remote.bare(), &arguments).lines().map(|l| Commit::parse(l).unwrap()).collect()
}

fn fetched(remote: &Remote, mirrors: &support::Mirrors) -> std::sync::Arc<git::Repository> {
    let repository = mirrors.git.repository(&remote.url());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(repository.resolve(&git::Revision::parse(MAIN).unwrap())).unwrap();
    repository
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_paths_are_those_of_git_diff(trees in prop::collection::vec(files(), 4)) {
        let (remote, mirrors) = (Remote::new(), mirrors());
        let commits: Vec<_> = trees.iter().map(|files| (files.clone(), Vec::new(), 1)).collect();
        let commits = import(&remote, &commits);
        let repository = fetched(&remote, &mirrors);
        for a in &commits {
            for b in &commits {
                let wanted = git(&remote.bare(), &["diff-tree", "-r", "--no-renames", "--name-only", a.as_str(), b.as_str()]);
                let mut wanted: Vec<&str> = wanted.lines().collect();
                wanted.sort_unstable();
                prop_assert_eq!(repository.changed_paths(a, b).unwrap(), wanted);
            }
        }
        // What is listed is what is there.
        for (commit, files) in commits.iter().zip(&trees) {
            let listed = repository.snapshot(commit).unwrap().list("", true).unwrap();
            let listed: Vec<_> = listed.into_iter().filter(|(_, e)| e.kind != git::EntryKind::Tree).map(|(p, _)| p).collect();
            prop_assert_eq!(listed, files.keys().cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ancestry_is_that_of_git_whatever_the_clocks_say(
        shape in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..3), 0i64..2_000_000_000), 1..14)
    ) {
        let (remote, mirrors) = (Remote::new(), mirrors());
        let commits: Vec<_> = shape.iter().enumerate().map(|(n, (parents, time))| {
            let mut parents: Vec<usize> = if n == 0 { Vec::new() } else { parents.iter().map(|p| p.index(n)).collect() };
            parents.sort_unstable();
            parents.dedup();
            (Files::new(), parents, *time)
        }).collect();
        // Ancestry by definition.
        let mut above: Vec<Vec<bool>> = Vec::new();
        for (n, (_, parents, _)) in commits.iter().enumerate() {
            let mut row = vec![false; commits.len()];
            row[n] = true;
            for parent in parents {
                let inherited = above[*parent].clone();
                row.iter_mut().zip(inherited).for_each(|(mine, theirs)| *mine |= theirs);
            }
            above.push(row);
        }
        let ids = import(&remote, &commits);
        let repository = fetched(&remote, &mirrors);
        // Commits that are the same in everything are one commit, and then either answer is right for its twins.
        for (b, row) in above.iter().enumerate() {
            for (a, expected) in row.iter().enumerate() {
                let same_elsewhere = (0..ids.len()).any(|x| ids[x] == ids[a] && row[x]);
                prop_assert_eq!(repository.is_ancestor(&ids[a], &ids[b]).unwrap(), *expected || same_elsewhere, "{} in {}", a, b);
            }
        }
    }
}

#[test]
fn the_cost_of_a_difference_follows_the_change() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let mut files = Files::new();
    for folder in 0..300 {
        for file in 0..30 {
            files.insert(format!("f{folder}/x/{file}"), (1, 0));
        }
    }
    let mut changed = files.clone();
    changed.insert("f7/x/3".into(), (2, 0));
    let mut all = files.clone();
    all.values_mut().for_each(|(content, _)| *content = 3);
    let commits = import(&remote, &[(files, vec![], 1), (changed, vec![0], 2), (all, vec![1], 3)]);
    let repository = fetched(&remote, &mirrors);
    let timed = |a: &Commit, b: &Commit| {
        let started = std::time::Instant::now();
        let count = repository.changed_paths(a, b).unwrap().len();
        (count, started.elapsed())
    };
    let (few, one) = timed(&commits[0], &commits[1]);
    let (many, whole) = timed(&commits[0], &commits[2]);
    println!("1 of 9000 files: {one:?}; all of them: {whole:?}");
    assert_eq!((few, many), (1, 9000));
    assert!(one * 3 < whole, "{one:?} {whole:?}");
}

#[test]
fn commits_that_were_not_fetched_are_an_error() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commit = remote.pushed(&[("a", "1")]);
    let repository = fetched(&remote, &mirrors);
    let unknown = Commit::parse(&"1".repeat(40)).unwrap();
    assert!(matches!(repository.is_ancestor(&unknown, &commit), Err(git::GitError::NotFetched { .. })));
    assert!(matches!(repository.changed_paths(&commit, &unknown), Err(git::GitError::NotFetched { .. })));
    assert!(matches!(repository.snapshot(&unknown), Err(git::GitError::NotFetched { .. })));
}

#[test]
fn commits_with_unreadable_dates_have_ancestors_all_the_same() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let tree = git(&remote.bare(), &["rev-parse", &format!("{first}^{{tree}}")]);
    let odd = |parent: &str| {
        let text = format!("tree {tree}\nparent {parent}\nauthor Joe\ncommitter Joe <joe> long ago\n\nx\n");
        git_input(&remote.bare(), &["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], text.as_bytes())
    };
    let second = odd(first.as_str());
    let third = odd(&second);
    let other = git(&remote.bare(), &["commit-tree", "-m", "x", "-p", &second, &tree]);
    let newest = git(&remote.bare(), &["commit-tree", "-m", "x", "-p", &third, "-p", &other, &tree]);
    git(&remote.bare(), &["update-ref", MAIN, &newest]);
    let repository = fetched(&remote, &mirrors);
    let ids = [first.as_str(), &second, &third, &newest].map(|id| Commit::parse(id).unwrap());
    for (a, older) in ids.iter().enumerate() {
        for (b, newer) in ids.iter().enumerate() {
            assert_eq!(repository.is_ancestor(older, newer).unwrap(), a <= b, "{a} {b}");
        }
    }
    let other = Commit::parse(&other).unwrap();
    assert!(!repository.is_ancestor(&other, &ids[2]).unwrap());
    assert!(repository.snapshot(&ids[2]).is_ok());
}
