//! Reading a repository on this disk where it is.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git::{Commit, GitError, Local};
use support::{Remote, git};

/// Every file of a folder and when it was written last.
fn files(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.metadata().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind => drop(found.insert(entry.path(), kind.modified().unwrap())),
        }
    }
    found
}

fn read(local: &Local, commit: &Commit, path: &str) -> String {
    let bytes = local.snapshot(commit).unwrap().read(path, 1 << 20).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn commits_are_read_where_they_are_and_nothing_is_written() {
    let remote = Remote::new();
    let first = remote.commit(&[("apps/a.yaml", "one")]);
    let second = remote.commit(&[("apps/a.yaml", "two")]);
    git(&remote.work(), &["gc", "--quiet"]);
    let third = remote.commit(&[("apps/a.yaml", "three")]);
    let before = files(&remote.work());
    let scratch = tempfile::tempdir().unwrap();
    let local = Local::open(&scratch.path().join("own"), &remote.work().join(".git/objects"), "shop").unwrap();
    for (commit, wanted) in [(&first, "one"), (&second, "two"), (&third, "three")] {
        assert_eq!(read(&local, commit, "apps/a.yaml"), wanted);
    }
    assert_eq!(files(&remote.work()), before);
    let absent = Commit::parse(&"a".repeat(40)).unwrap();
    assert!(matches!(local.snapshot(&absent), Err(GitError::NotFetched { .. })));
}

#[test]
fn shallow_clones_and_further_objects() {
    let remote = Remote::new();
    remote.commit(&[("a.yaml", "one")]);
    let tip = remote.pushed(&[("a.yaml", "two")]);
    let scratch = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.bare().display());
    git(scratch.path(), &["clone", "--quiet", "--depth", "1", &url, "clone"]);
    let clone = scratch.path().join("clone");
    let local = Local::open(&scratch.path().join("own"), &clone.join(".git/objects"), "shop").unwrap();
    assert_eq!(read(&local, &tip, "a.yaml"), "two");
    // What is not committed, written beside the repository's own objects.
    std::fs::write(clone.join("a.yaml"), "three").unwrap();
    let before = files(&clone.join(".git/objects"));
    let script = "export GIT_OBJECT_DIRECTORY=\"$0\" GIT_INDEX_FILE=\"$0/../index\"; git add --all && git commit-tree -m x \
                  \"$(git write-tree)\"";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(local.objects())
        .current_dir(&clone)
        .envs([("GIT_AUTHOR_NAME", "Joe"), ("GIT_AUTHOR_EMAIL", "j@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Joe"), ("GIT_COMMITTER_EMAIL", "j@example.com")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commit = Commit::parse(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!(read(&local, &commit, "a.yaml"), "three");
    assert_eq!(files(&clone.join(".git/objects")), before);
}

#[test]
fn what_is_missing_is_said_and_not_called_a_mirror() {
    let remote = Remote::new();
    let commit = remote.commit(&[("a.yaml", "one")]);
    let blob = git(&remote.work(), &["rev-parse", "HEAD:a.yaml"]);
    let objects = remote.work().join(".git/objects");
    std::fs::remove_file(objects.join(&blob[..2]).join(&blob[2..])).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let local = Local::open(&scratch.path().join("own"), &objects, "shop").unwrap();
    let error = local.snapshot(&commit).unwrap().read("a.yaml", 1 << 20).unwrap_err();
    assert!(matches!(error, GitError::Incomplete { .. }) && !error.is_transient(), "{error}");
    let error = Local::open(&scratch.path().join("other"), &scratch.path().join("none"), "shop").unwrap_err();
    assert!(matches!(error, GitError::Disk { .. }), "{error}");
}
