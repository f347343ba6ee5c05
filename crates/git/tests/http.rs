//! Over HTTP: credentials, redirects and what goes wrong on the way.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use git::{Authentication, Credential, GitError, NoCredentials, Revision, Secret, StaticCredentials};
use support::{Remote, Server, mirrors, mirrors_with};

const MAIN: &str = "refs/heads/main";
/// `joe:hunter2`
const BASIC: &str = "Basic am9lOmh1bnRlcjI=";

fn joe(host: &str) -> Arc<StaticCredentials> {
    Arc::new(StaticCredentials::from_yaml(&format!("- url: {host}\n  username: joe\n  password: hunter2\n")).unwrap())
}

#[tokio::test]
async fn credentials_are_sent_with_the_first_request() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    *server.behaviour.authorization.lock().unwrap() = Some(BASIC.to_owned());
    let mirrors = mirrors_with(joe(&server.address), |_| {});
    let repository = mirrors.git.repository(&server.url());
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    // Capabilities, refs, objects: no request is made twice to find out that it needs a credential.
    assert_eq!(server.behaviour.requests.load(Ordering::SeqCst), 3);
    assert!(repository.resolve(&Revision::Head).await.is_ok());
}

#[tokio::test]
async fn without_or_with_wrong_credentials_access_is_refused_and_no_secret_shown() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    *server.behaviour.authorization.lock().unwrap() = Some("Basic other".to_owned());
    for credentials in [Arc::new(NoCredentials) as Arc<dyn git::Credentials>, joe(&server.address)] {
        let mirrors = mirrors_with(credentials, |_| {});
        let error = mirrors.git.repository(&server.url()).fetch_pushed(&commit, MAIN).await.unwrap_err();
        assert!(matches!(error, GitError::AuthenticationFailed { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("am9lOmh1"), "{shown}");
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_its_credential_stays_with_its_host() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let (old, new) = (Server::start(remote.folder.path()).await, Server::start(remote.folder.path()).await);
    *old.behaviour.redirect.lock().unwrap() = Some(new.address.clone());
    let mirrors = mirrors_with(joe(&old.address), |_| {});
    let repository = mirrors.git.repository(&old.url());
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    assert!(new.behaviour.seen.lock().unwrap().iter().all(Option::is_none), "the other host got the credential");
    // A token that can only be a header cannot be kept to its host, so such a repository is not followed.
    struct Bearer;
    #[async_trait::async_trait]
    impl git::Credentials for Bearer {
        fn grant(&self, _: &git::Remote) -> git::Grant {
            git::Grant::named("bearer")
        }

        async fn credential(&self, _: &git::RepositoryUrl, _: &git::Grant) -> Option<Credential> {
            Some(Credential {
                authentication: Authentication::Bearer { token: Secret::new("hunter2") },
                ..Credential::default()
            })
        }
    }
    let mirrors = mirrors_with(Arc::new(Bearer), |_| {});
    let error = mirrors.git.repository(&old.url()).fetch_pushed(&commit, MAIN).await.unwrap_err();
    assert!(matches!(error, GitError::Moved { .. }), "{error:?}");
    assert!(new.behaviour.seen.lock().unwrap().iter().all(Option::is_none));
}

#[tokio::test]
async fn a_renamed_repository_on_the_same_host_gets_its_credential() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    // The new place asks for the credential, and is reached over the same host and port: here by a second name in the path.
    std::fs::rename(remote.folder.path().join("acme"), remote.folder.path().join("corp")).unwrap();
    *server.behaviour.authorization.lock().unwrap() = Some(BASIC.to_owned());
    server.behaviour.moved.lock().unwrap().replace(("/acme/".to_owned(), "/corp/".to_owned()));
    let mirrors = mirrors_with(joe(&server.address), |_| {});
    assert!(mirrors.git.repository(&server.url()).fetch_pushed(&commit, MAIN).await.unwrap().reachable);
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_named() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    let mirrors = mirrors();
    let repository = mirrors.git.repository(&server.url());
    for (status, transient) in [(500, true), (502, true), (503, true), (429, true), (403, false), (404, false)] {
        server.behaviour.status.store(status, Ordering::SeqCst);
        let error = repository.fetch_pushed(&commit, MAIN).await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{status}: {error}");
        let named = match status {
            403 => matches!(error, GitError::AuthenticationFailed { .. }),
            404 => matches!(error, GitError::RepositoryNotFound { .. }),
            _ => matches!(error, GitError::Unreachable { .. }),
        };
        assert!(named, "{status}: {error:?}");
    }
    server.behaviour.status.store(0, Ordering::SeqCst);
    assert!(repository.fetch_pushed(&commit, MAIN).await.unwrap().reachable);
    let url = server.url();
    drop(server);
    // Nobody listens there any more (a new mirror, since the old one knows the commit).
    let error = support::mirrors().git.repository(&url).fetch_pushed(&commit, MAIN).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let remote = Remote::new();
    let commit = remote.pushed(&[("a", "1")]);
    let server = Server::start(remote.folder.path()).await;
    server.behaviour.silent.store(true, Ordering::SeqCst);
    let mirrors = mirrors_with(Arc::new(NoCredentials), |config| config.fetch_timeout = Duration::from_millis(300));
    let started = Instant::now();
    let error = mirrors.git.repository(&server.url()).fetch_pushed(&commit, MAIN).await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }) && error.is_transient(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    // And the next one is not held up by it.
    server.behaviour.silent.store(false, Ordering::SeqCst);
    let patient = support::mirrors();
    assert!(patient.git.repository(&server.url()).fetch_pushed(&commit, MAIN).await.unwrap().reachable);
}

#[tokio::test]
async fn an_unknown_ssh_host_is_not_trusted() {
    // Port 1 refuses before any key is exchanged; what matters is that ssh is started with our options and named rightly.
    let url = git::RepositoryUrl::parse("ssh://git@127.0.0.1:1/acme/shop.git").unwrap();
    let mirrors = mirrors_with(Arc::new(NoCredentials), |config| config.fetch_timeout = Duration::from_secs(20));
    let error = mirrors.git.repository(&url).resolve(&Revision::Head).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
}
