//! Fetching what was pushed and resolving revisions, against real repositories.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use git::{Commit, GitError, Revision};
use support::{Remote, git, mirrors, mirrors_with};

const MAIN: &str = "refs/heads/main";

#[tokio::test]
async fn a_pushed_commit_costs_one_fetch_and_a_second_look_none() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a.yaml", "a: 1")]);
    let repository = mirrors.git.repository(&remote.url());
    assert!(!repository.has(&first));
    let fetched = repository.fetch_pushed(&first, MAIN).await.unwrap();
    assert_eq!((fetched.tip, fetched.reachable), (first.clone(), true));
    assert_eq!(mirrors.git.processes_started(), 1);
    repository.fetch_pushed(&first, MAIN).await.unwrap();
    assert_eq!(mirrors.git.processes_started(), 1);

    let second = remote.pushed(&[("a.yaml", "a: 2")]);
    assert!(repository.fetch_pushed(&second, MAIN).await.unwrap().reachable);
    assert_eq!(mirrors.git.processes_started(), 2);
    assert!(repository.is_ancestor(&first, &second).unwrap());
    assert!(!repository.is_ancestor(&second, &first).unwrap());
    assert_eq!(&repository.snapshot(&first).unwrap().read("a.yaml", 100).unwrap()[..], b"a: 1");
    assert_eq!(&repository.snapshot(&second).unwrap().read("a.yaml", 100).unwrap()[..], b"a: 2");
}

#[tokio::test]
async fn an_overtaken_push_shows_the_newer_tip() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let second = remote.pushed(&[("a", "2")]);
    let repository = mirrors.git.repository(&remote.url());
    let fetched = repository.fetch_pushed(&first, MAIN).await.unwrap();
    assert_eq!((fetched.tip, fetched.reachable), (second, true));
}

#[tokio::test]
async fn a_forced_push_back_is_seen_although_the_commit_was_known() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let second = remote.pushed(&[("a", "2")]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&second, MAIN).await.unwrap();
    remote.push(&format!("{first}:{MAIN}"));
    let fetched = repository.fetch_pushed(&first, MAIN).await.unwrap();
    assert_eq!((fetched.tip, fetched.reachable), (first, true));
}

#[tokio::test]
async fn a_commit_that_was_pushed_away_is_not_reachable() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let base = remote.pushed(&[("a", "1")]);
    let lost = remote.pushed(&[("a", "lost")]);
    git(&remote.work(), &["reset", "--quiet", "--hard", base.as_str()]);
    let kept = remote.pushed(&[("a", "kept")]);
    let repository = mirrors.git.repository(&remote.url());
    // Known here or only there: the same answer.
    for _ in 0..2 {
        let fetched = repository.fetch_pushed(&lost, MAIN).await.unwrap();
        assert_eq!((fetched.tip, fetched.reachable), (kept.clone(), false));
    }
}

#[tokio::test]
async fn what_the_forge_does_not_have_yet_is_said_to_be_so() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    let unknown = Commit::parse(&"1".repeat(40)).unwrap();
    let not_yet =
        |r: Result<git::Fetched, GitError>| matches!(r, Err(ref e @ GitError::NotThereYet { .. }) if e.is_transient());
    assert!(not_yet(repository.fetch_pushed(&unknown, MAIN).await));
    assert!(not_yet(repository.fetch_pushed(&first, "refs/heads/new").await));
    // The commit is there and the ref has not moved yet.
    let second = remote.commit(&[("a", "2")]);
    remote.push("HEAD:refs/heads/other");
    assert!(not_yet(repository.fetch_pushed(&second, MAIN).await));
    remote.push(&format!("HEAD:{MAIN}"));
    assert!(repository.fetch_pushed(&second, MAIN).await.unwrap().reachable);
}

#[tokio::test]
async fn names_that_cannot_stand_side_by_side_as_files_do_not_disturb() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    remote.push("HEAD:refs/heads/x");
    assert!(repository.fetch_pushed(&first, "refs/heads/x").await.unwrap().reachable);
    remote.push(":refs/heads/x");
    remote.push("HEAD:refs/heads/x/y");
    assert!(repository.fetch_pushed(&first, "refs/heads/x/y").await.unwrap().reachable);
    // The one that is gone is known until somebody asks for something else of it.
    let gone = Commit::parse(&"1".repeat(40)).unwrap();
    assert!(repository.fetch_pushed(&gone, "refs/heads/x").await.is_err());
    assert!(repository.fetch_pushed(&first, "refs/heads/x").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_at_once_share_few_processes() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commits: Vec<Commit> = (0..20).map(|n| remote.pushed(&[("a", &n.to_string())])).collect();
    remote.push("HEAD:refs/heads/same");
    let newest = commits.last().unwrap().clone();
    let repository = mirrors.git.repository(&remote.url());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (repository, commit) = (Arc::clone(&repository), commits[n % commits.len()].clone());
        tasks.spawn(async move { repository.fetch_pushed(&commit, MAIN).await });
    }
    while let Some(fetched) = tasks.join_next().await {
        let fetched = fetched.unwrap().unwrap();
        assert_eq!((fetched.tip, fetched.reachable), (newest.clone(), true));
    }
    assert!(mirrors.git.processes_started() <= 3, "{}", mirrors.git.processes_started());

    // Many refs, some of which are not there, are a fetch, a list and a fetch.
    let before = mirrors.git.processes_started();
    for n in 0..30 {
        remote.push(&format!("HEAD:refs/heads/b{n}"));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (repository, newest) = (Arc::clone(&repository), newest.clone());
        tasks.spawn(async move { (n, repository.fetch_pushed(&newest, &format!("refs/heads/b{n}")).await) });
    }
    while let Some(result) = tasks.join_next().await {
        let (n, fetched) = result.unwrap();
        assert_eq!(fetched.is_ok(), n < 30, "{n}: {fetched:?}");
    }
    assert!(mirrors.git.processes_started() - before <= 8, "{}", mirrors.git.processes_started() - before);
}

#[tokio::test]
async fn whoever_goes_away_does_not_take_the_fetch_from_the_others() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commit = remote.pushed(&[("a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    let (r, c) = (Arc::clone(&repository), commit.clone());
    let impatient = tokio::spawn(async move { r.fetch_pushed(&c, MAIN).await });
    tokio::task::yield_now().await;
    impatient.abort();
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
}

#[tokio::test]
async fn revisions_resolve_to_commits() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let v1 = remote.pushed(&[("a", "1")]);
    git(&remote.work(), &["tag", "v1.0.0"]);
    let v12 = remote.pushed(&[("a", "2")]);
    git(&remote.work(), &["tag", "-a", "-m", "x", "v1.2.0"]);
    let v2 = remote.pushed(&[("a", "3")]);
    git(&remote.work(), &["tag", "2.0.0"]);
    git(&remote.work(), &["tag", "both"]);
    let main = remote.pushed(&[("a", "4")]);
    git(&remote.work(), &["branch", "both"]);
    git(&remote.work(), &["branch", "release/1.x", v1.as_str()]);
    git(&remote.work(), &["push", "--quiet", "--all", "origin"]);
    git(&remote.work(), &["push", "--quiet", "--tags", "origin"]);
    let repository = mirrors.git.repository(&remote.url());
    let cases: &[(&str, &Commit, Option<&str>)] = &[
        ("HEAD", &main, Some("refs/heads/main")),
        ("", &main, Some("refs/heads/main")),
        ("main", &main, Some("refs/heads/main")),
        ("refs/heads/main", &main, Some("refs/heads/main")),
        ("heads/main", &main, Some("refs/heads/main")),
        ("release/1.x", &v1, Some("refs/heads/release/1.x")),
        ("both", &main, Some("refs/heads/both")),
        ("refs/tags/both", &v2, Some("refs/tags/both")),
        ("v1.0.0", &v1, Some("refs/tags/v1.0.0")),
        ("v1.2.0", &v12, Some("refs/tags/v1.2.0")),
        ("1.*", &v12, Some("refs/tags/v1.2.0")),
        ("^1.0", &v12, Some("refs/tags/v1.2.0")),
        (">=1.0.0 <1.2.0", &v1, Some("refs/tags/v1.0.0")),
        ("1.2", &v12, Some("refs/tags/v1.2.0")),
        ("*", &v2, Some("refs/tags/2.0.0")),
        (v1.as_str(), &v1, None),
        (&v1.as_str()[..8], &v1, None),
    ];
    for (text, commit, full_ref) in cases {
        let resolved =
            repository.resolve(&Revision::parse(text).unwrap()).await.unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((&resolved.commit, resolved.full_ref.as_deref()), (*commit, *full_ref), "{text}");
        assert!(repository.snapshot(&resolved.commit).is_ok());
    }
    for text in ["nothing", "refs/heads/nothing", "9.*", "deadbeef", &"1".repeat(40)] {
        let error = repository.resolve(&Revision::parse(text).unwrap()).await.unwrap_err();
        assert!(matches!(error, GitError::RevisionNotFound { .. }) && !error.is_transient(), "{text}: {error}");
    }
    let refs = repository.remote_refs().await.unwrap();
    assert!(refs.contains(&("refs/tags/v1.2.0".to_owned(), v12)), "a tag by its commit: {refs:?}");
    assert!(refs.contains(&("refs/heads/main".to_owned(), main)));
}

#[tokio::test]
async fn an_annotated_tag_is_pushed_under_its_own_name_or_its_commits() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let commit = remote.pushed(&[("a", "1")]);
    git(&remote.work(), &["tag", "-a", "-m", "x", "v1"]);
    remote.push("refs/tags/v1");
    let tag = remote.id("refs/tags/v1");
    assert_ne!(tag, commit);
    let repository = mirrors.git.repository(&remote.url());
    for named in [&tag, &commit] {
        let fetched = repository.fetch_pushed(named, "refs/tags/v1").await.unwrap();
        assert_eq!((&fetched.tip, &fetched.pushed, fetched.reachable), (&commit, &commit, true));
    }
    assert_eq!(mirrors.git.processes_started(), 1);
    // Moved on meanwhile: what was pushed is still the old tag's commit.
    let newer = remote.commit(&[("a", "2")]);
    git(&remote.work(), &["tag", "-f", "-a", "-m", "y", "v1"]);
    git(&remote.work(), &["push", "-q", "-f", "origin", "refs/tags/v1"]);
    let moved = remote.id("refs/tags/v1");
    let fetched = repository.fetch_pushed(&moved, "refs/tags/v1").await.unwrap();
    assert_eq!((&fetched.tip, &fetched.pushed), (&newer, &newer));
    let fetched = repository.fetch_pushed(&tag, "refs/tags/v1").await.unwrap();
    assert_eq!((&fetched.tip, &fetched.pushed, fetched.reachable), (&newer, &commit, true));
}

#[tokio::test]
async fn the_default_branch_may_change() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let main = remote.pushed(&[("a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    let head = async || repository.resolve(&Revision::Head).await.unwrap();
    assert_eq!((head().await.commit, head().await.full_ref.as_deref()), (main, Some(MAIN)));
    let trunk = remote.commit(&[("a", "2")]);
    remote.push("HEAD:refs/heads/trunk");
    git(&remote.bare(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    assert_eq!((head().await.commit, head().await.full_ref.as_deref()), (trunk, Some("refs/heads/trunk")));
}

#[tokio::test]
async fn an_empty_repository_and_a_missing_one_are_told_apart() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let empty = mirrors.git.repository(&remote.url()).resolve(&Revision::Head).await;
    assert!(matches!(empty, Err(GitError::RevisionNotFound { .. })), "{empty:?}");
    let nowhere = git::RepositoryUrl::parse("/nowhere/at/all.git").unwrap();
    let missing = mirrors.git.repository(&nowhere).resolve(&Revision::Head).await;
    assert!(matches!(missing, Err(GitError::RepositoryNotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn local_repositories_need_to_be_allowed() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let mirrors = mirrors_with(Arc::new(git::NoCredentials), |config| config.allow_local = false);
    let repository = mirrors.git.repository(&remote.url());
    assert!(matches!(repository.fetch_pushed(&commit, MAIN).await, Err(GitError::InvalidUrl { .. })));
    assert!(repository.remote_refs().await.is_err() && repository.resolve(&Revision::Head).await.is_err());
    assert_eq!(mirrors.git.processes_started(), 0);
}

#[tokio::test]
async fn a_repository_above_the_limit_is_refused() {
    let remote = Remote::new();
    let noise: String = (0..400_000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let commit = remote.pushed(&[("noise", &noise)]);
    let mirrors = mirrors_with(Arc::new(git::NoCredentials), |config| config.max_repository_bytes = 10_000);
    let repository = mirrors.git.repository(&remote.url());
    // The size is looked at while the fetch runs and before the next, so at the latest the second one is refused.
    let both = (repository.fetch_pushed(&commit, MAIN).await, repository.resolve(&Revision::Head).await);
    assert!(matches!(both.1, Err(GitError::TooLarge { .. })), "{both:?}");
    assert!(both.1.is_err_and(|e| !e.is_transient()));
}

#[tokio::test]
async fn a_damaged_mirror_is_fetched_anew() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("dir/a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&first, MAIN).await.unwrap();
    // As after a power failure: files are there and empty.
    for folder in
        std::fs::read_dir(mirrors.mirror().join("objects")).unwrap().flatten().filter(|f| f.file_name().len() == 2)
    {
        for object in std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|o| !o.path().to_string_lossy().replace('/', "").ends_with(first.as_str()))
        {
            std::fs::remove_file(object.path()).unwrap();
            std::fs::write(object.path(), b"").unwrap();
        }
    }
    let damaged = repository.snapshot(&first).and_then(|s| s.read("dir/a", 10)).unwrap_err();
    assert!(matches!(damaged, GitError::Damaged { .. }) && damaged.is_transient(), "{damaged}");
    repository.fetch_pushed(&first, MAIN).await.unwrap();
    assert_eq!(&repository.snapshot(&first).unwrap().read("dir/a", 10).unwrap()[..], b"1");
}

#[tokio::test]
async fn a_lock_that_a_killed_process_left_does_not_stop_us_for_good() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let first = remote.pushed(&[("a", "1")]);
    let repository = mirrors.git.repository(&remote.url());
    repository.fetch_pushed(&first, MAIN).await.unwrap();
    let folder = mirrors.mirror().join("refs/remotes/lockstep");
    let name = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap().path();
    let lock = std::fs::File::create(name.with_extension("lock")).unwrap();
    lock.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    let second = remote.pushed(&[("a", "2")]);
    assert!(repository.fetch_pushed(&second, MAIN).await.unwrap().reachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn packing_does_not_disturb_readers() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let repository = mirrors.git.repository(&remote.url());
    let mut commits = Vec::new();
    for n in 0..12 {
        let files: Vec<(String, String)> = (0..20).map(|f| (format!("d{f}/f{n}"), format!("{n} {f}"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
        commits.push(remote.pushed(&files));
        repository.fetch_pushed(commits.last().unwrap(), MAIN).await.unwrap();
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (repository, commits, stop) = (Arc::clone(&repository), commits.clone(), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || {
                let mut reads = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for (n, commit) in commits.iter().enumerate() {
                        let content = repository.snapshot(commit).unwrap().read(&format!("d7/f{n}"), 100).unwrap();
                        assert_eq!(content, format!("{n} 7").as_bytes());
                        reads += 1;
                    }
                }
                reads
            })
        })
        .collect();
    repository.pack().await.unwrap();
    let last = remote.pushed(&[("x", "y")]);
    repository.fetch_pushed(&last, MAIN).await.unwrap();
    repository.pack().await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    let loose = std::fs::read_dir(mirrors.mirror().join("objects"))
        .unwrap()
        .flatten()
        .filter(|f| f.file_name().len() == 2)
        .count();
    assert_eq!(loose, 0, "everything is packed");
    assert!(repository.has(&last) && repository.fetch_pushed(&last, MAIN).await.unwrap().reachable);
}

/// Printed beside a plain `git fetch` of the same; the limit is generous, because other tests run at the same moment.
#[tokio::test]
async fn fetching_a_push_costs_little_more_than_git_alone() {
    let (remote, mirrors) = (Remote::new(), mirrors());
    let files: Vec<(String, String)> =
        (0..200).map(|f| (format!("envs/dev/app{f}/config.yaml"), format!("n: {f}"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
    let first = remote.pushed(&files);
    let server = support::Server::start(remote.folder.path()).await;
    let repository = mirrors.git.repository(&server.url());
    repository.fetch_pushed(&first, MAIN).await.unwrap();
    let plain = tempfile::tempdir().unwrap();
    git(plain.path(), &["init", "--quiet", "--bare"]);
    let address = format!("{}/acme/shop.git", server.address);
    let bare_fetch = async || {
        let mut command = tokio::process::Command::new("git");
        command.args(["fetch", "--quiet", &address, "+refs/heads/main:refs/heads/main"]).current_dir(plain.path());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(command.status().await.unwrap().success());
    };
    bare_fetch().await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..15 {
        let commit = remote.pushed(&[("envs/dev/app7/config.yaml", &n.to_string())]);
        let start = Instant::now();
        bare_fetch().await;
        theirs.push(start.elapsed());
        let start = Instant::now();
        repository.fetch_pushed(&commit, MAIN).await.unwrap();
        ours.push(start.elapsed());
    }
    ours.sort();
    theirs.sort();
    println!("fetch_pushed {:?} (best {:?}), git fetch {:?} (best {:?})", ours[7], ours[0], theirs[7], theirs[0]);
    assert!(ours[7] < theirs[7] * 2 + Duration::from_millis(20), "{:?} {:?}", ours[7], theirs[7]);
}
