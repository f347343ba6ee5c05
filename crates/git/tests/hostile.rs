//! Reading and writing out repositories that somebody made to do harm.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use git::{EntryKind, GitError, Limits, Snapshot};
use support::{Mirrors, Remote, git, git_input, mirrors};

const MAIN: &str = "refs/heads/main";

/// A tree as raw bytes: mode, name, id. No honest program would write most of them.
fn tree(remote: &Remote, entries: &[(&str, &[u8], &str)]) -> String {
    let mut data = Vec::new();
    for (mode, name, id) in entries {
        data.extend_from_slice(mode.as_bytes());
        data.push(b' ');
        data.extend_from_slice(name);
        data.push(0);
        data.extend((0..40).step_by(2).map(|i| u8::from_str_radix(&id[i..i + 2], 16).unwrap()));
    }
    git_input(&remote.bare(), &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &data)
}

fn blob(remote: &Remote, content: &str) -> String {
    git_input(&remote.bare(), &["hash-object", "-w", "--stdin"], content.as_bytes())
}

/// Commits a tree in the remote and fetches it, as from any pushed commit.
async fn snapshot(remote: &Remote, mirrors: &Mirrors, tree: &str) -> Snapshot {
    let commit = git(&remote.bare(), &["commit-tree", "-m", "x", tree]);
    git(&remote.bare(), &["update-ref", MAIN, &commit]);
    let repository = mirrors.git.repository(&remote.url());
    let commit = git::Commit::parse(&commit).unwrap();
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    repository.snapshot(&commit).unwrap()
}

/// Everything below a folder, links not followed.
fn everything(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            found.push(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_and_nothing_is_written_outside() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let content = blob(&remote, "evil");
    let inner = tree(&remote, &[("100755", b"post-checkout", &content)]);
    let names: [&[u8]; 10] =
        [b"..", b".", b".git", b".GIT", b"git~1", b".git ", b".g\xe2\x80\x8cit", b"../evil", b"a/b", b"/tmp/evil"];
    for name in names {
        for (mode, id) in [("100644", &content), ("40000", &inner), ("120000", &content)] {
            let bad = tree(&remote, &[(mode, name, id)]);
            let root = tree(&remote, &[("40000", b"bad", &bad), ("100644", b"good", &content)]);
            let snapshot = snapshot(&remote, &mirrors, &root).await;
            let place = tempfile::tempdir().unwrap();
            let into = place.path().join("into");
            let shown = String::from_utf8_lossy(name).into_owned();
            let refused = |e: GitError| assert!(matches!(e, GitError::Refused { .. }), "{shown}: {e}");
            refused(snapshot.materialize(&[""], &into, Limits::default()).unwrap_err());
            refused(snapshot.materialize(&["bad"], &into, Limits::default()).unwrap_err());
            refused(snapshot.list("", true).unwrap_err());
            assert!(
                everything(place.path()).iter().all(|p| p == "into" || p == "into/bad" || p == "into/good"),
                "{:?}",
                everything(place.path())
            );
            // What is beside it can be used all the same.
            snapshot.materialize(&["good"], &into, Limits::default()).unwrap();
            assert_eq!(&snapshot.read("good", 10).unwrap()[..], b"evil");
        }
    }
}

#[tokio::test]
async fn the_same_name_twice_is_refused() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let target = blob(&remote, "/tmp");
    let inner = tree(&remote, &[("100644", b"evil", &target)]);
    let root = tree(&remote, &[("120000", b"a", &target), ("40000", b"a", &inner)]);
    let snapshot = snapshot(&remote, &mirrors, &root).await;
    let place = tempfile::tempdir().unwrap();
    assert!(matches!(snapshot.materialize(&[""], place.path(), Limits::default()), Err(GitError::Refused { .. })));
    assert!(matches!(snapshot.entry("a"), Err(GitError::Refused { .. })));
}

#[tokio::test]
async fn links_are_followed_inside_the_repository_and_never_out_of_it() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let work = remote.work();
    remote.commit(&[("base/config.yaml", "base"), ("base/deep/er/x", "x"), ("apps/a/own", "own")]);
    let link = |target: &str, path: &str| {
        std::fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, work.join(path)).unwrap();
    };
    link("../../base/config.yaml", "apps/a/config.yaml");
    link("../../base", "apps/a/base");
    link("deep/er", "base/short");
    // On disk `base/..` is the root, whatever the names say.
    link("base/../apps/a/own", "apps/a/around");
    // By names alone this stays inside; on disk `short/..` is `base/deep`, so it does as well, elsewhere.
    link("../../base/short/../er/x", "apps/a/physical");
    link("nothing/here", "apps/dangling");
    link("../../etc/passwd", "out/one");
    link("/etc/passwd", "out2/absolute");
    link("base/../../../etc/passwd", "out3");
    link("base/short/../../../../etc/passwd", "out4");
    link("missing/../../etc", "out5");
    link("loop2", "loop1");
    link("loop1", "loop2");
    let commit = remote.pushed(&[]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&commit, MAIN).await.unwrap();
    let snapshot = repository.snapshot(&commit).unwrap();

    for (path, content) in [
        ("apps/a/config.yaml", "base"),
        ("apps/a/base/config.yaml", "base"),
        ("apps/a/base/short/x", "x"),
        ("apps/a/around", "own"),
        ("apps/a/physical", "x"),
        ("apps/a/../../base/config.yaml", "base"),
        ("./apps//a/own", "own"),
    ] {
        assert_eq!(snapshot.read(path, 100).unwrap(), content.as_bytes(), "{path}");
    }
    assert_eq!(snapshot.entry("apps/a/base").unwrap().unwrap().kind, EntryKind::Symlink);
    assert_eq!(snapshot.follow("apps/a/base").unwrap().unwrap().0, "base");
    assert_eq!(snapshot.entry("apps/a/base/config.yaml").unwrap(), snapshot.entry("base/config.yaml").unwrap());
    assert_eq!(snapshot.entry("apps/dangling/x").unwrap(), None);
    assert!(matches!(snapshot.read("apps/dangling", 10), Err(GitError::NoSuchPath { .. })));
    assert!(matches!(snapshot.read("loop1", 10), Err(GitError::Refused { .. })));
    for path in
        ["out/one", "out2/absolute", "out3", "out4", "out5", "../x", "apps/../../x", "/etc/passwd", "missing/../../x"]
    {
        assert!(
            matches!(snapshot.read(path, 10), Err(GitError::LeavesRepository { .. })),
            "{path}: {:?}",
            snapshot.read(path, 10)
        );
    }

    let place = tempfile::tempdir().unwrap();
    snapshot.materialize(&["apps"], place.path(), Limits::default()).unwrap();
    for (path, content) in [
        ("apps/a/config.yaml", "base"),
        ("apps/a/base/short/x", "x"),
        ("apps/a/around", "own"),
        ("apps/a/physical", "x"),
    ] {
        assert_eq!(
            std::fs::read_to_string(place.path().join(path)).unwrap(),
            content,
            "{path}: on disk as in the snapshot"
        );
    }
    for path in ["out", "out2", "out3", "out4", "out5", "loop1", ""] {
        let place = tempfile::tempdir().unwrap();
        let error = snapshot.materialize(&[path], place.path(), Limits::default()).unwrap_err();
        assert!(matches!(error, GitError::LeavesRepository { .. } | GitError::Refused { .. }), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_link_on_disk_is_not_written_through() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commit = remote.pushed(&[("a/b/c", "evil"), ("d", "evil")]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&commit, MAIN).await.unwrap();
    let snapshot = repository.snapshot(&commit).unwrap();
    let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(place.path().join("a")).unwrap();
    std::os::unix::fs::symlink(outside.path(), place.path().join("a/b")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("d"), place.path().join("d")).unwrap();
    assert!(snapshot.materialize(&["a"], place.path(), Limits::default()).is_err());
    assert!(snapshot.materialize(&["d"], place.path(), Limits::default()).is_err());
    assert_eq!(everything(outside.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_few_bytes_that_claim_billions_of_files_end_at_the_limit() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let mut next = blob(&remote, "x");
    let mut mode = "100644";
    for _ in 0..10 {
        let names: Vec<Vec<u8>> = (0..10).map(|n| format!("d{n}").into_bytes()).collect();
        let entries: Vec<_> = names.iter().map(|n| (mode, n.as_slice(), next.as_str())).collect();
        next = tree(&remote, &entries);
        mode = "40000";
    }
    let bomb = snapshot(&remote, &mirrors, &next).await;
    let place = tempfile::tempdir().unwrap();
    let few = Limits { max_files: 1000, ..Limits::default() };
    assert!(matches!(bomb.materialize(&[""], place.path(), few), Err(GitError::TooLarge { .. })));
    assert!(matches!(bomb.list("", true), Err(GitError::TooLarge { .. })));
    let empty = tree(&remote, &[]);
    let empty = snapshot(&remote, &mirrors, &empty).await;
    let repository = mirrors.git.repository(&remote.url());
    assert!(matches!(repository.changed_paths(empty.commit(), bomb.commit()), Err(GitError::TooLarge { .. })));
    // And a folder so deep that no path to it can exist.
    let mut deep = blob(&remote, "x");
    let mut mode = "100644";
    for _ in 0..600 {
        deep = tree(&remote, &[(mode, b"d", &deep)]);
        mode = "40000";
    }
    let deep = snapshot(&remote, &mirrors, &deep).await;
    assert!(matches!(deep.list("", true), Err(GitError::TooLarge { .. })));
    assert!(matches!(repository.changed_paths(empty.commit(), deep.commit()), Err(GitError::TooLarge { .. })));
}

#[tokio::test]
async fn limits_hold_for_bytes_and_for_single_files() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commit = remote.pushed(&[("a", &"a".repeat(1000)), ("b", &"b".repeat(1000))]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&commit, MAIN).await.unwrap();
    let snapshot = repository.snapshot(&commit).unwrap();
    let place = tempfile::tempdir().unwrap();
    let with = |limits: Limits| snapshot.materialize(&[""], place.path(), limits);
    assert!(matches!(with(Limits { max_bytes: 1500, ..Limits::default() }), Err(GitError::TooLarge { .. })));
    assert!(matches!(with(Limits { max_file_bytes: 999, ..Limits::default() }), Err(GitError::TooLarge { .. })));
    assert!(matches!(with(Limits { max_files: 1, ..Limits::default() }), Err(GitError::TooLarge { .. })));
    let written = with(Limits::default()).unwrap();
    assert_eq!((written.files, written.bytes), (2, 2000));
    assert!(matches!(snapshot.read("a", 999), Err(GitError::TooLarge { .. })));
    assert!(matches!(snapshot.read("", 999), Err(GitError::WrongKind { .. })));
    assert!(matches!(snapshot.list("a", false), Err(GitError::WrongKind { .. })));
    assert!(matches!(snapshot.read("c", 999), Err(GitError::NoSuchPath { .. })));
    assert!(matches!(snapshot.list("c", true), Err(GitError::NoSuchPath { .. })));
}

#[tokio::test]
async fn files_folders_modes_and_submodules_are_as_git_has_them() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    remote.commit(&[("a/run.sh", "#!/bin/sh"), ("a/b/c.yaml", "c"), ("a.yaml", "a"), ("large.bin", pointer)]);
    git(&remote.work(), &["update-index", "--chmod=+x", "a/run.sh"]);
    git(&remote.work(), &["update-index", "--add", "--cacheinfo", &format!("160000,{},a/module", "1".repeat(40))]);
    git(&remote.work(), &["commit", "--quiet", "-m", "x"]);
    remote.push("HEAD:refs/heads/main");
    let commit = remote.id("HEAD");
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&commit, MAIN).await.unwrap();
    let snapshot = repository.snapshot(&commit).unwrap();
    let names = |path: &str, recursive| {
        snapshot.list(path, recursive).unwrap().into_iter().map(|(p, e)| (p, e.kind)).collect::<Vec<_>>()
    };
    let own = |list: &[(&str, EntryKind)]| list.iter().map(|(p, k)| ((*p).to_owned(), *k)).collect::<Vec<_>>();
    use EntryKind::{Blob, Executable, Submodule, Tree};
    assert_eq!(names("", false), own(&[("a", Tree), ("a.yaml", Blob), ("large.bin", Blob)]));
    assert_eq!(
        names("./a/", true),
        own(&[("a/b", Tree), ("a/b/c.yaml", Blob), ("a/module", Submodule), ("a/run.sh", Executable)])
    );
    // A submodule's commit is not in this repository, and nothing is behind it.
    assert_eq!(snapshot.entry("a/module/x").unwrap(), None);
    assert!(matches!(snapshot.read("a/module", 10), Err(GitError::WrongKind { .. })));
    assert_eq!(snapshot.entry("a").unwrap().unwrap().id, remote.id("HEAD:a").as_str());

    let place = tempfile::tempdir().unwrap();
    let written = snapshot.materialize(&["a", "large.bin"], place.path(), Limits::default()).unwrap();
    assert_eq!(written.submodules, ["a/module"]);
    assert_eq!(everything(place.path()), ["a", "a/b", "a/b/c.yaml", "a/module", "a/run.sh", "large.bin"]);
    assert_eq!(std::fs::read_to_string(place.path().join("large.bin")).unwrap(), pointer);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |p: &str| std::fs::metadata(place.path().join(p)).unwrap().permissions().mode() & 0o111;
    assert!(mode("a/run.sh") != 0 && mode("a/b/c.yaml") == 0);
    // More of the same commit may be added later.
    snapshot.materialize(&["a.yaml", "a/b"], place.path(), Limits::default()).unwrap();
    assert!(place.path().join("a.yaml").exists());
}

#[tokio::test]
async fn nothing_that_a_repository_contains_is_run() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let marker = remote.folder.path().join("marker");
    let filter = format!(
        "[filter \"x\"]\n\tsmudge = touch {}\n[core]\n\tfsmonitor = touch {}\n",
        marker.display(),
        marker.display()
    );
    let module = format!(
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c 'touch {}'\n\tupdate = !touch {}\n",
        marker.display(),
        marker.display()
    );
    let commit = remote.pushed(&[
        (".gitattributes", "* filter=x"),
        (".gitconfig", &filter),
        (".gitmodules", &module),
        ("a", "1"),
    ]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&commit, MAIN).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    repository.snapshot(&commit).unwrap().materialize(&[""], place.path(), Limits::default()).unwrap();
    assert!(!marker.exists() && place.path().join("a").exists());
}
