//! What can go wrong, in terms of what to do about it.

use std::time::Duration;

/// An error of this crate. The text of each says what to do; none contains a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// git was ended before it was done: the machine is out of memory, or somebody killed it.
    #[error("{how} before it was done; if that comes again, give the worker more memory")]
    Killed {
        /// Which program, and by which signal.
        how: String,
    },
    /// The text is not the URL of a repository that can be fetched.
    #[error("{url:?} is not a usable repository URL: {reason}")]
    InvalidUrl {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is not a full commit name.
    #[error("{text:?} is not a commit: give all 40 hexadecimal digits")]
    InvalidCommit {
        /// What was given.
        text: String,
    },
    /// The text cannot be a revision or the name of a ref.
    #[error(
        "{text:?} is not a revision: give a branch, a tag, a full ref, a commit or a version constraint ({reason})"
    )]
    InvalidRevision {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A credentials file that cannot be read.
    #[error("the Git credentials {file} cannot be used: {reason}")]
    InvalidCredentials {
        /// The file.
        file: String,
        /// What is wrong with it, without the secret.
        reason: String,
    },
    /// The forge refused the credentials, or there are none for this repository.
    #[error("{repository}: the forge refused access; check the repository's credentials ({message})")]
    AuthenticationFailed {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// There is no such repository, or the credentials may not see it.
    #[error(
        "{repository}: repository not found, or its credentials may not see it; check the URL and the credentials ({message})"
    )]
    RepositoryNotFound {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// The repository answers from another address, where its credentials are not sent.
    #[error("{repository}: the repository has moved; use its new URL ({message})")]
    Moved {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// The host cannot be reached, or broke off. Worth another try.
    #[error("{repository}: the forge cannot be reached; it is tried again ({message})")]
    Unreachable {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// The host's certificate or key is not trusted.
    #[error(
        "{repository}: the forge's identity is not trusted; configure its certificate or its known_hosts line ({message})"
    )]
    Untrusted {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// The fetch took longer than allowed. Worth another try.
    #[error("{repository}: no answer within {} s; it is tried again, or raise the fetch timeout", after.as_secs_f32())]
    TimedOut {
        /// The repository.
        repository: String,
        /// The limit that was exceeded.
        after: Duration,
    },
    /// The forge does not have it yet: its storage can lag behind its webhooks. Ask again for a while.
    #[error("{repository}: the forge does not have {what} yet; it is asked again")]
    NotThereYet {
        /// The repository.
        repository: String,
        /// The commit or ref.
        what: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repository}: there is no revision {revision:?}; push it, or correct the revision{hint}")]
    RevisionNotFound {
        /// The repository.
        repository: String,
        /// What was asked for.
        revision: String,
        /// An addition to the sentence, or empty.
        hint: String,
    },
    /// The commit has not been fetched.
    #[error("{repository}: commit {commit} has not been fetched; resolve or fetch it first")]
    NotFetched {
        /// The repository.
        repository: String,
        /// The commit.
        commit: String,
    },
    /// The object is not a commit (a tag can point to a file).
    #[error("{repository}: {what} is not a commit")]
    NotACommit {
        /// The repository.
        repository: String,
        /// The object or ref.
        what: String,
    },
    /// A limit on size or number was exceeded.
    #[error("{what} exceeds the limit of {limit}; make it smaller, or raise the limit")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in the unit of the thing (bytes, files).
        limit: u64,
    },
    /// The path is not in the commit.
    #[error("there is no {path:?} in commit {commit}; correct the path")]
    NoSuchPath {
        /// The path from the repository's root.
        path: String,
        /// The commit, shortened.
        commit: String,
    },
    /// The path is there but is something else than was needed.
    #[error("{path:?} is a {found}, not a {wanted}")]
    WrongKind {
        /// The path from the repository's root.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A path or a symbolic link that leads out of the repository.
    #[error("{path:?} leads out of the repository; use a path inside it")]
    LeavesRepository {
        /// The path or the link with its target.
        path: String,
    },
    /// Content that no honest repository has, such as a file called `.git`.
    #[error("{path:?} is refused: {reason}")]
    Refused {
        /// The path from the repository's root.
        path: String,
        /// Why.
        reason: String,
    },
    /// The local mirror is damaged. It is made anew at the next fetch, so try again.
    #[error("{repository}: the local mirror is damaged and is fetched anew; it is tried again ({message})")]
    Damaged {
        /// The repository.
        repository: String,
        /// What was found.
        message: String,
    },
    /// A repository on this disk lacks an object.
    #[error(
        "{repository}: not everything of the commit is there ({message}); a clone with --filter or --depth lacks what it did \
         not need: fetch the rest, or clone it whole"
    )]
    Incomplete {
        /// The repository.
        repository: String,
        /// What was found.
        message: String,
    },
    /// Git failed in a way that has no name here.
    #[error("{repository}: git failed: {message}")]
    Failed {
        /// The repository.
        repository: String,
        /// Git's own words.
        message: String,
    },
    /// The `git` program cannot be started.
    #[error("git cannot be run: {message}; install git 2.34 or newer and put it on PATH")]
    NoGit {
        /// What happened.
        message: String,
    },
    /// A program that verifies signatures cannot be started.
    #[error("{program} cannot be run: {message}; install GnuPG 2.2 and OpenSSH 8.8 or newer and put them on PATH")]
    NoProgram {
        /// `gpg` or `ssh-keygen`.
        program: &'static str,
        /// What happened.
        message: String,
    },
    /// What was given as a public key is none.
    #[error("the signing key {key} cannot be used: {reason}")]
    InvalidKey {
        /// Which: the entry or line, and where it stands.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There was no answer about a signature. Worth another try.
    #[error("{what} cannot be verified: {message}; it is tried again")]
    NotVerified {
        /// What was to be verified.
        what: String,
        /// What happened.
        message: String,
    },
    /// More commits have to be verified than anybody would wait for.
    #[error(
        "{repository}: more than {limit} commits before {commit} have to be verified; review them and sign a commit with the \
         trailer `Argocd-gpg-seal: WHY`, before which nothing is verified"
    )]
    HistoryTooLong {
        /// The repository.
        repository: String,
        /// The newest of them.
        commit: String,
        /// How many are verified.
        limit: usize,
    },
    /// The local disk.
    #[error("{action}: {message}; check the disk and the permissions of the data directory")]
    Disk {
        /// What was being done.
        action: String,
        /// The system's own words.
        message: String,
    },
}

impl From<address::InvalidUrl> for GitError {
    fn from(address::InvalidUrl { url, reason }: address::InvalidUrl) -> Self {
        Self::InvalidUrl { url, reason }
    }
}

impl GitError {
    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Killed { .. }
                | Self::NotThereYet { .. }
                | Self::Damaged { .. }
                | Self::NotVerified { .. }
                | Self::Disk { .. }
        )
    }

    pub(crate) fn disk(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |error| Self::Disk { action, message: error.to_string() }
    }
}

/// What a failed run of git said, sorted by what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    MissingRef,
    NotOurs,
    Locked,
    Redirected,
    Authentication,
    NotFound,
    Untrusted,
    Unreachable,
    Damaged,
    Other,
}

/// Phrases of git, curl and ssh (always in English: they run with `LC_ALL=C`). The first that matches decides, so the
/// specific ones stand first.
const PHRASES: &[(&str, Complaint)] = &[
    ("couldn't find remote ref", Complaint::MissingRef),
    ("not our ref", Complaint::NotOurs),
    ("unadvertised object", Complaint::NotOurs),
    ("cannot lock ref", Complaint::Locked),
    (".lock': file exists", Complaint::Locked),
    ("another git process seems to be running", Complaint::Locked),
    ("unable to update url base from redirection", Complaint::Redirected),
    ("returned error: 301", Complaint::Redirected),
    ("returned error: 302", Complaint::Redirected),
    ("returned error: 307", Complaint::Redirected),
    ("returned error: 308", Complaint::Redirected),
    ("authentication failed", Complaint::Authentication),
    ("could not read username", Complaint::Authentication),
    ("could not read password", Complaint::Authentication),
    ("permission denied (", Complaint::Authentication),
    ("too many authentication failures", Complaint::Authentication),
    ("invalid format", Complaint::Authentication),
    ("returned error: 401", Complaint::Authentication),
    ("returned error: 403", Complaint::Authentication),
    ("access denied", Complaint::Authentication),
    ("repository not found", Complaint::NotFound),
    ("does not appear to be a git repository", Complaint::NotFound),
    ("could not be found", Complaint::NotFound),
    ("returned error: 404", Complaint::NotFound),
    ("returned error: 410", Complaint::NotFound),
    ("not valid: is this a git repository?", Complaint::NotFound),
    ("host key verification failed", Complaint::Untrusted),
    ("ssl certificate problem", Complaint::Untrusted),
    ("certificate verification failed", Complaint::Untrusted),
    ("server certificate", Complaint::Untrusted),
    ("could not resolve", Complaint::Unreachable),
    ("failed to connect", Complaint::Unreachable),
    ("couldn't connect", Complaint::Unreachable),
    ("connection refused", Complaint::Unreachable),
    ("connection timed out", Complaint::Unreachable),
    ("connection reset", Complaint::Unreachable),
    ("connection closed", Complaint::Unreachable),
    ("network is unreachable", Complaint::Unreachable),
    ("no route to host", Complaint::Unreachable),
    ("empty reply from server", Complaint::Unreachable),
    ("operation too slow", Complaint::Unreachable),
    ("returned error: 5", Complaint::Unreachable),
    ("returned error: 429", Complaint::Unreachable),
    ("returned error: 408", Complaint::Unreachable),
    ("http 5", Complaint::Unreachable),
    ("http 429", Complaint::Unreachable),
    ("bad object", Complaint::Damaged),
    ("is corrupt", Complaint::Damaged),
    ("did not send all necessary objects", Complaint::Damaged),
    ("not a git repository: ", Complaint::Damaged),
    ("unresolvable reference", Complaint::Damaged),
    ("bad config line", Complaint::Damaged),
    ("early eof", Complaint::Unreachable),
    ("remote end hung up", Complaint::Unreachable),
    ("unexpected disconnect", Complaint::Unreachable),
    ("rpc failed", Complaint::Unreachable),
    ("gnutls", Complaint::Unreachable),
    ("tls", Complaint::Unreachable),
    ("expected flush", Complaint::Unreachable),
    ("protocol error", Complaint::Unreachable),
];

impl Complaint {
    pub(crate) fn of(stderr: &str) -> Self {
        let stderr = stderr.to_lowercase();
        let by_phrase = PHRASES.iter().find(|(phrase, _)| stderr.contains(phrase)).map(|(_, complaint)| *complaint);
        by_phrase.unwrap_or_else(|| {
            let absent = |line: &str| line.starts_with("fatal: repository '") && line.ends_with("' not found");
            if stderr.lines().any(absent) { Self::NotFound } else { Self::Other }
        })
    }

    /// The error for the user; `message` has been scrubbed.
    pub(crate) fn error(self, repository: &str, message: String) -> GitError {
        let repository = repository.to_owned();
        match self {
            Self::MissingRef | Self::NotOurs => GitError::NotThereYet { repository, what: message },
            // A lock that was not released in time is somebody else's short work: worth another try.
            Self::Locked | Self::Unreachable => GitError::Unreachable { repository, message },
            Self::Redirected => GitError::Moved { repository, message },
            Self::Authentication => GitError::AuthenticationFailed { repository, message },
            Self::NotFound => GitError::RepositoryNotFound { repository, message },
            Self::Untrusted => GitError::Untrusted { repository, message },
            Self::Damaged => GitError::Damaged { repository, message },
            Self::Other => GitError::Failed { repository, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_sorted_by_what_to_do() {
        let cases = [
            ("fatal: couldn't find remote ref refs/heads/x", Complaint::MissingRef),
            ("fatal: remote error: upload-pack: not our ref 0123", Complaint::NotOurs),
            ("error: Server does not allow request for unadvertised object 0123", Complaint::NotOurs),
            (
                "fatal: could not read Username for 'https://forge': terminal prompts disabled",
                Complaint::Authentication,
            ),
            ("fatal: Authentication failed for 'https://forge/a/b/'", Complaint::Authentication),
            (
                "git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                Complaint::Authentication,
            ),
            ("fatal: repository 'https://forge/a/b/' not found", Complaint::NotFound),
            ("remote: Repository not found.\nfatal: repository 'https://forge/a/b/' not found", Complaint::NotFound),
            ("fatal: '/tmp/x' does not appear to be a git repository", Complaint::NotFound),
            ("fatal: unable to access 'https://f/': Could not resolve host: f", Complaint::Unreachable),
            (
                "fatal: unable to access 'http://f/': Failed to connect to f port 1: Connection refused",
                Complaint::Unreachable,
            ),
            ("fatal: unable to access 'http://f/': The requested URL returned error: 503", Complaint::Unreachable),
            (
                "fatal: unable to access 'https://f/': SSL certificate problem: self signed certificate",
                Complaint::Untrusted,
            ),
            (
                "fatal: unable to access 'https://f/': server certificate verification failed. CAfile: none",
                Complaint::Untrusted,
            ),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", Complaint::Untrusted),
            ("error: cannot lock ref 'refs/lockstep/x': Unable to create '/x.lock': File exists.", Complaint::Locked),
            ("error: object file objects/ab/cd is empty\nfatal: loose object abcd is corrupt", Complaint::Damaged),
            ("fatal: something new", Complaint::Other),
        ];
        for (stderr, wanted) in cases {
            assert_eq!(Complaint::of(stderr), wanted, "{stderr}");
        }
    }

    #[test]
    fn only_what_heals_by_itself_is_transient() {
        let r = || "forge/a/b".to_owned();
        let m = || "m".to_owned();
        assert!(GitError::Unreachable { repository: r(), message: m() }.is_transient());
        assert!(GitError::NotThereYet { repository: r(), what: m() }.is_transient());
        assert!(GitError::TimedOut { repository: r(), after: Duration::from_secs(3) }.is_transient());
        assert!(GitError::NotVerified { what: m(), message: m() }.is_transient());
        assert!(!GitError::InvalidKey { key: m(), reason: m() }.is_transient());
        assert!(!GitError::AuthenticationFailed { repository: r(), message: m() }.is_transient());
        assert!(!GitError::RepositoryNotFound { repository: r(), message: m() }.is_transient());
        assert!(!GitError::TooLarge { what: m(), limit: 1 }.is_transient());
        assert!(!GitError::RevisionNotFound { repository: r(), revision: m(), hint: String::new() }.is_transient());
    }
}
