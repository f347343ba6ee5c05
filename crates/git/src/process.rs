//! Running `git` for what needs the network, and the programs that verify signatures: with a clean environment, credentials
//! that no other process can see, a time limit and a limit on what they may say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::credentials::{Authentication, Credential};
use crate::error::Complaint;
use crate::{GitError, RepositoryUrl, Secret, Transport, private};

/// What `ls-remote` may answer: about two million refs.
const MAX_OUTPUT: u64 = 256 << 20;
/// A forge may send messages without end; the first of them are enough for a person.
const MAX_COMPLAINT: u64 = 64 << 10;
/// What `gpg` or `ssh-keygen` may say about a signature or a list of keys.
const MAX_ANSWER: u64 = 4 << 20;
/// Verifying takes milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// No run of git takes so long.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Variables of our own environment that git needs to reach the outside.
const PASSED_ON: &[&str] = &[
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_EXEC_PATH",
    "SSH_AUTH_SOCK",
    "LD_LIBRARY_PATH",
];
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$LOCKSTEP_GIT_USERNAME" "$LOCKSTEP_GIT_PASSWORD"; }; f"#;

/// The `git` program and the folder that it takes for its home.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    home: PathBuf,
    scratch: PathBuf,
    started: AtomicU64,
}

/// One run of git.
pub(crate) struct Run<'a> {
    pub mirror: &'a Path,
    pub arguments: Vec<OsString>,
    pub input: Vec<u8>,
    pub limit: Duration,
}

/// Why a run failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Complaint {
        kind: Complaint,
        message: String,
    },
    TimedOut,
    TooMuch,
    TooLarge {
        limit: u64,
    },
    NotStarted(String),
    /// Something of our own, before git was started.
    Local(GitError),
}

/// What a program that verifies signatures has said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub success: bool,
    pub output: String,
    pub complaint: String,
}

/// Credentials on their way to git: environment variables, and files that vanish with this value.
#[derive(Default)]
pub(crate) struct Access {
    environment: Vec<(&'static str, String)>,
    settings: Vec<(String, String)>,
    secrets: Vec<String>,
    /// Only kept for its being dropped at the end.
    files: Option<TempDir>,
}

impl Program {
    /// Finds `git` and prepares its home below `root`.
    pub(crate) fn find(root: &Path) -> Result<Self, GitError> {
        let home = root.join("home");
        let scratch = root.join("scratch");
        for folder in [&home, &scratch] {
            private::private_folder(folder).map_err(GitError::disk(format!("creating {}", folder.display())))?;
        }
        let path = on_path("git").ok_or_else(|| GitError::NoGit { message: "there is no git on PATH".into() })?;
        let program = Self { path, home, scratch, started: AtomicU64::new(0) };
        program.clear_abandoned();
        Ok(program)
    }

    /// How many processes have been started; each program's own children not counted.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Prepares a credential for the run. `redirects` says that the repository is known to answer from another address.
    pub(crate) fn access(
        &self,
        url: &RepositoryUrl,
        credential: Option<Credential>,
        redirects: bool,
    ) -> Result<Access, GitError> {
        let credential = with_url_password(url, credential);
        let mut access = Access::default();
        match url.transport() {
            Transport::Http | Transport::Https => self.http_access(&mut access, url, &credential, redirects)?,
            Transport::Ssh => self.ssh_access(&mut access, &credential)?,
            Transport::Local => {}
        }
        Ok(access)
    }

    fn http_access(
        &self,
        access: &mut Access,
        url: &RepositoryUrl,
        credential: &Credential,
        redirects: bool,
    ) -> Result<(), GitError> {
        let header = match &credential.authentication {
            Authentication::Basic { username, password } => {
                let pair =
                    base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", password.reveal()));
                access.secrets.extend([pair.clone(), password.reveal().to_owned()]);
                access.environment.push(("LOCKSTEP_GIT_USERNAME", one_line(username)));
                access.environment.push(("LOCKSTEP_GIT_PASSWORD", one_line(password.reveal())));
                Some(format!("Basic {pair}"))
            }
            Authentication::Bearer { token } => {
                access.secrets.push(token.reveal().to_owned());
                Some(format!("Bearer {}", one_line(token.reveal())))
            }
            Authentication::Anonymous | Authentication::SshKey { .. } => None,
        };
        if let Some(header) = header {
            // A header is sent wherever a redirect leads. So either no redirect is followed, or (once one has been seen)
            // git asks for the credential itself, and gets it for the original host only.
            let helper_works = matches!(credential.authentication, Authentication::Basic { .. });
            if redirects && helper_works {
                access.set(&format!("credential.{}.helper", url.origin()), HELPER);
            } else {
                access.set("http.extraHeader", &format!("Authorization: {header}"));
                access.set("http.followRedirects", "false");
            }
        }
        if credential.insecure {
            access.set("http.sslVerify", "false");
        }
        if let Some(proxy) = &credential.proxy {
            access.set("http.proxy", proxy);
        }
        let files = [
            ("http.sslCAInfo", credential.ca_certificates.as_deref()),
            ("http.sslCert", credential.client_certificate.as_deref()),
            ("http.sslKey", credential.client_key.as_ref().map(Secret::reveal)),
        ];
        for (setting, content) in files {
            if let Some(content) = content {
                let file = self.file(access, &setting[5..], content)?;
                access.set(setting, &file);
            }
        }
        Ok(())
    }

    fn ssh_access(&self, access: &mut Access, credential: &Credential) -> Result<(), GitError> {
        let mut command = String::from(
            "ssh -F none -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3",
        );
        if let Authentication::SshKey { private_key } = &credential.authentication {
            access.secrets.push(private_key.reveal().to_owned());
            // ssh insists on the line end, which is easily lost on the way through a Secret.
            let key = format!("{}\n", private_key.reveal().replace("\r\n", "\n").trim_end());
            let file = self.file(access, "key", &key)?;
            command.push_str(&format!(" -o IdentitiesOnly=yes -o IdentityAgent=none -i {}", quoted(&file)));
        }
        if credential.insecure {
            command.push_str(
                " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null",
            );
        } else {
            command.push_str(" -o StrictHostKeyChecking=yes");
            if let Some(lines) = &credential.known_hosts {
                let file = self.file(access, "known_hosts", &format!("{lines}\n"))?;
                command
                    .push_str(&format!(" -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null", quoted(&file)));
            }
        }
        access.environment.push(("GIT_SSH_COMMAND", command));
        access.environment.push(("GIT_SSH_VARIANT", "ssh".into()));
        Ok(())
    }

    /// Writes a file that only we can read (the folder is ours alone, and so is the file).
    fn file(&self, access: &mut Access, name: &str, content: &str) -> Result<String, GitError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let failed = || GitError::disk("writing a credential for git");
        let folder = match access.files.take() {
            Some(folder) => folder,
            None => {
                self.clear_abandoned();
                TempDir::with_prefix_in("access-", &self.scratch).map_err(failed())?
            }
        };
        let path = folder.path().join(name);
        access.files = Some(folder);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed())?;
        file.write_all(content.as_bytes()).map_err(failed())?;
        Ok(path.display().to_string())
    }

    /// Removes the files of processes that were killed while git ran.
    fn clear_abandoned(&self) {
        let Ok(entries) = std::fs::read_dir(&self.scratch) else { return };
        for folder in entries.flatten().map(|e| e.path()).filter(|p| crate::mirror::age(p) > ABANDONED) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Runs git and returns what it wrote to standard output.
    pub(crate) async fn run(&self, run: Run<'_>, access: &Access) -> Result<Vec<u8>, Failure> {
        let (mut child, mut group) = self.start(&run, access)?;
        let answered = tokio::time::timeout(run.limit, communicate(&mut child, &run.input, MAX_OUTPUT)).await;
        let Ok(answered) = answered else {
            drop(group);
            let _ = child.kill().await;
            return Err(Failure::TimedOut);
        };
        let (status, output, complaint) = answered.map_err(|error| Failure::NotStarted(error.to_string()))?;
        group.0 = None;
        if output.len() as u64 > MAX_OUTPUT {
            return Err(Failure::TooMuch);
        }
        if status.success() {
            return Ok(output);
        }
        let complaint = String::from_utf8_lossy(&complaint);
        if let Some(how) = killed(status, &complaint) {
            return Err(Failure::Local(GitError::Killed { how }));
        }
        Err(Failure::Complaint { kind: Complaint::of(&complaint), message: access.scrub(&complaint) })
    }

    /// Runs a program that verifies signatures. It gets nothing of our environment and has nobody to ask.
    pub(crate) async fn ask(
        &self,
        name: &'static str,
        arguments: Vec<OsString>,
        input: &[u8],
    ) -> Result<Answer, GitError> {
        self.ask_within(ANSWER_LIMIT, name, arguments, input).await
    }

    async fn ask_within(
        &self,
        limit: Duration,
        name: &'static str,
        arguments: Vec<OsString>,
        input: &[u8],
    ) -> Result<Answer, GitError> {
        let no_program = |message| GitError::NoProgram { program: name, message };
        let path = on_path(name).ok_or_else(|| no_program("it is not on PATH".into()))?;
        let mut command = Command::new(path);
        command.env_clear();
        command.envs(["PATH", "TMPDIR", "LD_LIBRARY_PATH"].into_iter().filter_map(|n| Some((n, std::env::var_os(n)?))));
        command.env("HOME", &self.home).env("LC_ALL", "C").env("TZ", "UTC");
        command.args(arguments).current_dir(&self.home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        self.started.fetch_add(1, Ordering::Relaxed);
        let mut child = command.spawn().map_err(|error| no_program(error.to_string()))?;
        let failed = |message: String| GitError::NotVerified { what: format!("a signature (with {name})"), message };
        let answered = tokio::time::timeout(limit, communicate(&mut child, input, MAX_ANSWER)).await;
        let Ok(answered) = answered else {
            let _ = child.kill().await;
            return Err(failed(format!("no answer within {} s", limit.as_secs_f32())));
        };
        let (status, output, complaint) = answered.map_err(|error| failed(error.to_string()))?;
        if status.code().is_none() || output.len() as u64 > MAX_ANSWER {
            let fault = if status.code().is_none() { status.to_string() } else { "it said too much".to_owned() };
            return Err(failed(fault));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer { success: status.success(), output: text(&output), complaint: text(&complaint) })
    }

    fn start(&self, run: &Run<'_>, access: &Access) -> Result<(Child, Group), Failure> {
        let mut command = Command::new(&self.path);
        command.env_clear();
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("HOME", &self.home).env("GIT_DIR", run.mirror).env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS", "")
            .env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file");
        command.envs(access.environment.iter().map(|(name, value)| (name, value)));
        let settings = &access.settings;
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.args(&run.arguments).current_dir(&self.home);
        let stdin = if run.input.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        self.started.fetch_add(1, Ordering::Relaxed);
        let child = command.spawn().map_err(|error| Failure::NotStarted(error.to_string()))?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        Ok((child, group))
    }
}

/// Git and the programs that it has started, which would otherwise go on reading from a slow server. Killed when this is
/// dropped, unless git has ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// How git, or a program that it started, was ended by somebody else. That says nothing of the repository.
fn killed(status: std::process::ExitStatus, complaint: &str) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    if let Some(signal) = status.signal() {
        return Some(format!("git was killed by signal {signal}"));
    }
    let line = complaint.lines().find(|line| line.contains("died of signal"))?;
    Some(line.trim_start_matches("error: ").trim_start_matches("fatal: ").to_owned())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Answer {
    /// What the program complained about, for a person.
    pub(crate) fn words(&self) -> String {
        Access::default().scrub(&self.complaint)
    }
}

/// A password written into the URL counts when nothing else is configured.
fn with_url_password(url: &RepositoryUrl, credential: Option<Credential>) -> Credential {
    let mut credential = credential.unwrap_or_default();
    if let (Authentication::Anonymous, Some(password)) = (&credential.authentication, url.password()) {
        let username = url.user().unwrap_or_default().to_owned();
        credential.authentication = Authentication::Basic { username, password: password.clone() };
    }
    credential
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect()
}

/// For `GIT_SSH_COMMAND`, which a shell reads.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

async fn communicate(
    child: &mut Child,
    input: &[u8],
    most: u64,
) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // Git may stop reading before the end; what it says then matters more than that.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), output, complaint) = tokio::join!(feed, read(stdout, most + 1), read(stderr, MAX_COMPLAINT));
    Ok((child.wait().await?, output?, complaint?))
}

/// Reads to the end and keeps the first `limit` bytes.
async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(limit).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

impl Access {
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Prepares what git said for a person: the lines that matter, without secrets and control characters.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().filter(|s| !s.trim().is_empty()) {
            text = text.replace(secret.trim(), "***");
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // Hints and the general advice at the end say less than the lines before them.
        let lines = lines.filter(|l| {
            !l.starts_with("hint:") && !l.starts_with("Please make sure") && !l.starts_with("and the repository exists")
        });
        let shown: Vec<String> = lines
            .take(6)
            .map(|line| words_without_users(line).chars().filter(|c| !c.is_control()).take(300).collect())
            .collect();
        shown.join("; ")
    }
}

/// Removes user information from every URL in a line.
fn words_without_users(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.find("://") {
        Some(at) => {
            let start = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+').map_or(0, |i| i + 1);
            format!("{}{}", &word[..start], address::without_user(&word[start..]))
        }
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

impl Failure {
    /// The error for the user.
    pub(crate) fn error(self, repository: &RepositoryUrl, limit: Duration) -> GitError {
        let repository = repository.to_string();
        match self {
            Self::Complaint { kind, message } => kind.error(&repository, message),
            Self::TimedOut => GitError::TimedOut { repository, after: limit },
            Self::TooMuch => GitError::TooLarge { what: format!("{repository}: the list of refs"), limit: MAX_OUTPUT },
            Self::TooLarge { limit } => GitError::TooLarge { what: format!("{repository}: the repository"), limit },
            Self::NotStarted(message) => GitError::NoGit { message },
            Self::Local(error) => error,
        }
    }

    pub(crate) fn kind(&self) -> Option<Complaint> {
        match self {
            Self::Complaint { kind, .. } => Some(*kind),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn who_was_killed_says_nothing_of_the_repository() {
        use std::os::unix::process::ExitStatusExt as _;
        let (nine, failed) = (std::process::ExitStatus::from_raw(9), std::process::ExitStatus::from_raw(128 << 8));
        for (status, complaint, want) in [
            (nine, "", Some("git was killed by signal 9")),
            (failed, "error: git-remote-https died of signal 15\n", Some("git-remote-https died of signal 15")),
            (failed, "fatal: repository not found", None),
        ] {
            assert_eq!(killed(status, complaint).as_deref(), want);
        }
        assert!(GitError::Killed { how: String::new() }.is_transient());
    }

    fn access(url: &str, credential: Credential) -> (tempfile::TempDir, Access) {
        let root = tempfile::tempdir().unwrap();
        let program = Program::find(root.path()).unwrap();
        let access = program.access(&RepositoryUrl::parse(url).unwrap(), Some(credential), false).unwrap();
        (root, access)
    }

    #[test]
    fn what_git_says_is_shown_without_secrets() {
        let (_root, access) = access("https://f.example/a/b", Credential::basic("joe", "hunter2"));
        let encoded = "am9lOmh1bnRlcjI=";
        let said = format!(
            "remote: your password hunter2 ({encoded}) is \u{1b}[31mwrong\nfatal: unable to access 'https://joe:other@f.example/a/b/': no\nhint: x"
        );
        let shown = access.scrub(&said);
        assert!(
            !shown.contains("hunter2")
                && !shown.contains(encoded)
                && !shown.contains("other")
                && !shown.contains('\u{1b}'),
            "{shown}"
        );
        assert!(shown.contains("'https://f.example/a/b/': no"), "{shown}");
    }

    #[test]
    fn a_key_is_a_file_that_only_we_can_read_and_that_vanishes() {
        let (root, access) =
            access("git@f.example:a/b", Credential { known_hosts: Some("line".into()), ..Credential::ssh_key("KEY") });
        let command = &access.environment.iter().find(|(k, _)| *k == "GIT_SSH_COMMAND").unwrap().1;
        assert!(!command.contains("KEY") && command.contains("StrictHostKeyChecking=yes"), "{command}");
        let folder = access.files.as_ref().unwrap().path().to_owned();
        assert!(folder.starts_with(root.path()));
        let mode = std::fs::metadata(folder.join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(folder.join("key")).unwrap(), "KEY\n");
        drop(access);
        assert!(!folder.exists());
    }

    #[test]
    fn a_header_cannot_be_continued_by_a_token() {
        let credential = Credential {
            authentication: Authentication::Bearer { token: Secret::new("a\nX-Evil: 1") },
            ..Credential::default()
        };
        let (_root, access) = access("https://f.example/a/b", credential);
        assert!(access.settings.iter().all(|(_, value)| !value.contains('\n')));
    }

    #[test]
    fn a_password_in_the_url_counts_when_nothing_is_configured() {
        let url = RepositoryUrl::parse("https://joe:hunter2@f.example/a/b").unwrap();
        assert_eq!(with_url_password(&url, None), Credential::basic("joe", "hunter2"));
        assert_eq!(with_url_password(&url, Some(Credential::token("t"))), Credential::token("t"));
    }

    #[tokio::test]
    async fn programs_that_verify_get_nothing_of_us_and_have_little_time() {
        let root = tempfile::tempdir().unwrap();
        let program = Program::find(root.path()).unwrap();
        let limit = Duration::from_secs(20);
        let answer = program.ask_within(limit, "env", Vec::new(), b"").await.unwrap();
        let names: Vec<&str> = answer.output.lines().filter_map(|line| line.split('=').next()).collect();
        let allowed = ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "HOME", "LC_ALL", "TZ"];
        assert!(answer.success && names.iter().all(|name| allowed.contains(name)), "{names:?}");
        assert!(answer.output.contains(&format!("HOME={}", root.path().join("home").display())), "{}", answer.output);
        let answer = program.ask_within(limit, "cat", Vec::new(), b"what goes in").await.unwrap();
        assert_eq!((answer.success, answer.output.as_str()), (true, "what goes in"));

        let error = program.ask_within(limit, "no-such-program", Vec::new(), b"").await.unwrap_err();
        assert!(matches!(error, GitError::NoProgram { program: "no-such-program", .. }), "{error}");
        let error = program.ask_within(Duration::from_millis(50), "sleep", vec!["60".into()], b"").await.unwrap_err();
        assert!(matches!(&error, GitError::NotVerified { .. }) && error.is_transient(), "{error}");
        let much = vec!["-c".into(), format!("{}", MAX_ANSWER + 1).into(), "/dev/zero".into()];
        let error = program.ask_within(limit, "head", much, b"").await.unwrap_err();
        assert!(error.to_string().contains("it said too much"), "{error}");
        let kill = vec!["-c".into(), "kill -9 $$".into()];
        let error = program.ask_within(limit, "sh", kill, b"").await.unwrap_err();
        assert!(matches!(error, GitError::NotVerified { .. }), "{error}");
    }
}
