//! What is one repository and what is not: for credentials, for mirrors, for whoever waits.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use git::{GitError, NamedSecret, NoCredentials, Remote, Repository, RepositoryUrl, Revision, SecretCredentials};
use support::{Mirrors, Server, mirrors, mirrors_with};

const MAIN: &str = "refs/heads/main";
/// `joe:hunter2`
const BASIC: &str = "Basic am9lOmh1bnRlcjI=";

fn secret(name: &str, url: &str, project: &str) -> NamedSecret {
    let labels = BTreeMap::from([("argocd.argoproj.io/secret-type".to_owned(), "repo-creds".to_owned())]);
    let data = [("url", url), ("username", "joe"), ("password", "hunter2"), ("project", project)];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).collect();
    NamedSecret { name: name.to_owned(), labels, data }
}

/// A private repository, and mirrors with these Secrets.
async fn private(secrets: &[(&str, &str)]) -> (support::Remote, git::Commit, Server, Arc<SecretCredentials>, Mirrors) {
    let remote = support::Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    *server.behaviour.authorization.lock().unwrap() = Some(BASIC.to_owned());
    let credentials = Arc::new(SecretCredentials::new());
    credentials.reset(secrets.iter().map(|(name, project)| secret(name, &server.address, project)));
    let mirrors = mirrors_with(credentials.clone(), |_| {});
    (remote, commit, server, credentials, mirrors)
}

fn of(mirrors: &Mirrors, server: &Server, project: &str) -> Arc<Repository> {
    mirrors.git.repository(Remote::of(server.url(), project))
}

fn sent(server: &Server) -> usize {
    let mut seen = server.behaviour.seen.lock().unwrap();
    std::mem::take(&mut *seen).iter().filter(|header| header.is_some()).count()
}

#[tokio::test]
async fn one_projects_secret_is_not_sent_for_another_and_what_it_fetched_is_not_shown() {
    let (_remote, commit, server, _, mirrors) = private(&[("of-a", "team-a")]).await;
    assert!(of(&mirrors, &server, "team-a").fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    assert!(sent(&server) > 0);
    for asker in [Some("team-b"), Some(""), None] {
        let remote = Remote { url: server.url(), project: asker.map(Into::into) };
        let repository = mirrors.git.repository(&remote);
        assert!(!repository.has(&commit) && repository.snapshot(&commit).is_err(), "{asker:?}");
        // Neither by the ref that the other has fetched, nor by the commit's name.
        let pushed = repository.fetch_pushed(&commit, MAIN).await.map(drop);
        let named = repository.resolve(&Revision::Commit(commit.clone())).await.map(drop);
        let short = repository.resolve(&Revision::Name(commit.as_str()[..10].to_owned())).await.map(drop);
        for result in [pushed, named, short] {
            assert!(matches!(result, Err(GitError::AuthenticationFailed { .. })), "{asker:?} {result:?}");
        }
        assert_eq!(sent(&server), 0, "{asker:?}");
    }
}

#[tokio::test]
async fn whom_the_same_secret_serves_shares_what_was_fetched() {
    let (_remote, commit, server, _, mirrors) = private(&[("all", "")]).await;
    assert!(of(&mirrors, &server, "team-a").fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    let processes = mirrors.git.processes_started();
    assert!(of(&mirrors, &server, "team-b").fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    assert!(of(&mirrors, &server, "team-b").snapshot(&commit).is_ok());
    assert_eq!(mirrors.git.processes_started(), processes);
}

#[tokio::test]
async fn a_secret_that_was_deleted_unseen_ends_with_the_next_list() {
    let (_remote, commit, server, credentials, mirrors) = private(&[("all", "")]).await;
    let held = of(&mirrors, &server, "team-a");
    assert!(held.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    sent(&server);
    credentials.reset([]);
    let repository = of(&mirrors, &server, "team-a");
    assert!(!repository.has(&commit));
    assert!(repository.resolve(&Revision::Head).await.is_err() && held.resolve(&Revision::Head).await.is_err());
    assert_eq!(sent(&server), 0);
}

#[tokio::test]
async fn a_secret_goes_to_its_scheme_host_and_port_alone() {
    let remote = support::Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    let address = server.address.strip_prefix("http://").unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap().to_owned();
    for (url, wanted) in [
        (format!("https://{address}"), false),
        (format!("https://{address}/acme"), false),
        (format!("ssh://git@{address}/acme"), false),
        ("http://127.0.0.1/acme".to_owned(), false),
        ("http://127.0.0.1:1/acme".to_owned(), false),
        (format!("http://localhost:{port}/acme"), false),
        (format!("http://{address}/corp/../acme"), true),
        (format!("http://{address}/acme/shop"), true),
        (format!("http://{address}/acme/./sh%6Fp.git"), true),
    ] {
        let credentials = SecretCredentials::new();
        credentials.reset([secret("x", &url, "")]);
        let mirrors = mirrors_with(Arc::new(credentials), |_| {});
        assert!(of(&mirrors, &server, "team-a").fetch_pushed(&commit, MAIN).await.unwrap().reachable);
        assert_eq!(sent(&server) > 0, wanted, "{url}");
    }
}

#[tokio::test]
async fn what_is_fetched_is_the_normalized_address() {
    let remote = support::Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    let mirrors = mirrors();
    for path in ["/acme/../acme//./shop.git/", "/%61cme/sh%6fp.git", "/acme/shop.git"] {
        let url = RepositoryUrl::parse(&format!("http://x@{}{path}", server.address.strip_prefix("http://").unwrap()));
        let repository = mirrors.git.repository(&url.unwrap());
        assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable, "{path}");
    }
    // It is one and the same, so only the first asked.
    assert_eq!(mirrors.git.processes_started(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_trickles_is_given_up_and_holds_up_nobody() {
    let (slow, quick) = (support::Remote::new(), support::Remote::new());
    slow.pushed(&[("a", "1")]);
    let commit = quick.pushed(&[("a", "1")]);
    let (slow, quick) = (Server::start(slow.folder.path()).await, Server::start(quick.folder.path()).await);
    slow.behaviour.slow.store(true, Ordering::SeqCst);
    let mirrors = mirrors_with(Arc::new(NoCredentials), |config| config.stall_timeout = Duration::from_secs(5));
    // More than there are slots.
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..40 {
        let url = RepositoryUrl::parse(&format!("{}/acme/x{number}.git", slow.address)).unwrap();
        let repository = mirrors.git.repository(Remote::of(url, "slow"));
        waiting.spawn(async move { repository.resolve(&Revision::Head).await });
    }
    while slow.behaviour.requests.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let repository = of(&mirrors, &quick, "quick");
    let fetched = tokio::select! {
        fetched = repository.fetch_pushed(&commit, MAIN) => fetched.unwrap(),
        given_up = waiting.join_next() => panic!("the slow ones were answered first: {given_up:?}"),
    };
    assert!(fetched.reachable);
    let given_up = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(given_up.is_transient(), "{given_up:?}");
}

/// The command lines of processes that name an address.
fn processes(address: &str) -> Vec<String> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(address)).collect()
}

#[tokio::test]
async fn what_is_given_up_leaves_no_process_behind() {
    let remote = support::Remote::new();
    remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    server.behaviour.silent.store(true, Ordering::SeqCst);
    let mirrors = mirrors_with(Arc::new(NoCredentials), |config| config.fetch_timeout = Duration::from_millis(500));
    let error = mirrors.git.repository(&server.url()).resolve(&Revision::Head).await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error:?}");
    // Git's own helper, too, which would wait for the server as long as that likes. The kernel needs a moment.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !processes(&server.address).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", processes(&server.address));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What others may do, for everything below a folder.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(format!("{} {:o}", path.display(), metadata.permissions().mode()));
        }
        if metadata.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn mirrors_are_ours_alone_and_those_of_an_earlier_version_are_closed() {
    let remote = support::Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let before = tempfile::tempdir().unwrap();
    let root = before.path().join("git");
    let (shared, kept) =
        (root.join(format!("x-{}.git", "0a".repeat(12))), root.join(format!("y-{}.git", "0a".repeat(20))));
    for folder in [&shared, &kept] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mirrors = mirrors_with(Arc::new(NoCredentials), |config| config.root = root.clone());
    assert!(!shared.exists() && kept.exists());
    let repository = mirrors.git.repository(&remote.url());
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    repository.pack().await.unwrap();
    assert_eq!(open_to_others(&root), Vec::<String>::new());
}
