//! What a program in the sandbox can do on this kernel, tried by a program that wants to get out.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sandbox::{FAILED, Limits, Policy, Sandbox, Support, check_command, parse_check, refusal};

const HELPER: &str = env!("CARGO_BIN_EXE_sandbox-exec");

/// The program that tries, linked statically or with the C library.
fn attempt(with_libc: bool) -> &'static Path {
    static BUILT: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    BUILT[usize::from(with_libc)].get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attempt");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(if with_libc { "attempt-libc" } else { "attempt" });
        let mut go = Command::new("go");
        go.current_dir(sources).env("CGO_ENABLED", if with_libc { "1" } else { "0" }).env("GOFLAGS", "");
        let built = go.args(["build", "-o"]).arg(&program).arg(".").output().expect("Go is needed for this test");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    })
}

fn support() -> Support {
    static FOUND: OnceLock<Support> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let output = check_command(HELPER.as_ref()).output().unwrap();
        parse_check(HELPER.as_ref(), &output).unwrap()
    })
}

fn command(policy: &Policy, program: &Path) -> Command {
    let mut command = Sandbox::new(HELPER, support()).command(policy, program).unwrap();
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(policy: &Policy, attempts: &[String]) -> Output {
    command(policy, attempt(false)).args(attempts).output().unwrap()
}

/// What became of each attempt; empty: it went well.
fn outcomes(policy: &Policy, attempts: &[String]) -> BTreeMap<String, String> {
    let output = run(policy, attempts);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[track_caller]
fn all_refused(policy: &Policy, attempts: &[String]) {
    let went_well: Vec<_> = outcomes(policy, attempts).into_iter().filter(|(_, error)| error.is_empty()).collect();
    assert!(went_well.is_empty(), "{went_well:?}");
}

#[track_caller]
fn all_well(policy: &Policy, attempts: &[String]) {
    let failed: Vec<_> = outcomes(policy, attempts).into_iter().filter(|(_, error)| !error.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// A folder that is given to the program, and one that is not.
struct Ground {
    given: tempfile::TempDir,
    secret: tempfile::TempDir,
    policy: Policy,
}

impl Ground {
    fn new() -> Self {
        let (given, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(given.path().join("own"), "own").unwrap();
        std::fs::write(secret.path().join("token"), "token").unwrap();
        let policy = Policy::of_program(attempt(false)).writing([given.path()]);
        Self { given, secret, policy }
    }

    fn own(&self, name: &str) -> String {
        self.given.path().join(name).display().to_string()
    }

    fn secret(&self, name: &str) -> String {
        self.secret.path().join(name).display().to_string()
    }
}

#[test]
fn this_kernel_enforces_all_of_it() {
    let support = support();
    assert!(support.landlock >= 1, "the tests need a kernel with Landlock: {support:?}");
    assert!(
        support.files && support.sockets && support.signals && support.processes && support.syscalls,
        "{support:?}"
    );
}

#[test]
fn a_program_does_its_work() {
    let ground = Ground::new();
    let renamed = format!("rename:{}={}", ground.own("new"), ground.own("newer"));
    let attempts = [
        format!("read:{}", ground.own("own")),
        format!("list:{}", ground.own("")),
        format!("write:{}", ground.own("new")),
        "write:/dev/null".into(),
        "zone:UTC".into(),
        "compute:".into(),
    ];
    all_well(&ground.policy, &attempts);
    all_well(&ground.policy, &[renamed]);
    all_well(&ground.policy, &[format!("truncate:{}", ground.own("newer"))]);
    all_well(&ground.policy, &[format!("remove:{}", ground.own("newer"))]);
    // One with the C library has a loader, libraries, and other calls for its threads.
    let policy = Policy::of_program(attempt(true));
    let output = command(&policy, attempt(true)).arg("compute:").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_that_were_not_given_are_out_of_reach() {
    let ground = Ground::new();
    let token = ground.secret("token");
    let attempts = [
        format!("read:{token}"),
        format!("read:{}/../{}", ground.own(""), token.trim_start_matches("/tmp/")),
        format!("list:{}", ground.secret("")),
        format!("through:{token}={}", ground.own("link")),
        format!("write:{}", ground.secret("new")),
        format!("write:{token}"),
        format!("truncate:{token}"),
        format!("remove:{token}"),
        format!("rename:{token}={}", ground.own("taken")),
        format!("rename:{}={}", ground.own("own"), ground.secret("given")),
        format!("link:{token}={}", ground.own("linked")),
        format!("chmod:{token}"),
        format!("fifo:{}", ground.own("pipe")),
        format!("read:/proc/{}/environ", std::process::id()),
        "read:/proc/self/environ".into(),
        "read:/proc/self/maps".into(),
        "read:/etc/passwd".into(),
        "read:/etc/hostname".into(),
        "list:/".into(),
        "list:/sys".into(),
        "list:/dev".into(),
        "write:/tmp/lockstep-sandbox-canary".into(),
        "write:/dev/shm/lockstep-sandbox-canary".into(),
        format!("write:{}", attempt(false).display()),
    ];
    all_refused(&ground.policy, &attempts);
    assert_eq!(std::fs::read_to_string(&token).unwrap(), "token");
    assert_eq!(std::fs::read_dir(ground.secret.path()).unwrap().count(), 1);
    use std::os::unix::fs::PermissionsExt as _;
    assert_ne!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o777);
}

#[test]
fn a_folder_to_read_cannot_be_written() {
    let ground = Ground::new();
    let policy = ground.policy.clone().reading([ground.secret.path()]);
    all_well(&policy, &[format!("read:{}", ground.secret("token")), format!("list:{}", ground.secret(""))]);
    all_refused(
        &policy,
        &[
            format!("write:{}", ground.secret("token")),
            format!("write:{}", ground.secret("new")),
            format!("remove:{}", ground.secret("token")),
            format!("run:{}", ground.secret("token")),
        ],
    );
}

#[test]
fn nothing_can_be_reached() {
    let ground = Ground::new();
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("lockstep-canary-{}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let path = ground.given.path().join("socket");
    let seen = UnixListener::bind(&path).unwrap();
    let attempts = [
        format!("dial:tcp={}", v4.local_addr().unwrap()),
        format!("dial:tcp={}", v6.local_addr().unwrap()),
        format!("dial:udp={}", udp.local_addr().unwrap()),
        format!("dial:unix={}", path.display()),
        format!("dial:unix=@{name}"),
        "dial:udp=203.0.113.1:53".into(),
        "dial:tcp=localhost:1".into(),
        "listen:127.0.0.1:0".into(),
        "listen:[::1]:0".into(),
        "call:socketpair".into(),
        // Unix, IPv4, IPv6, netlink, packet, vsock, and one that does not exist.
        "raw:1".into(),
        "raw:2".into(),
        "raw:10".into(),
        "raw:16".into(),
        "raw:17".into(),
        "raw:40".into(),
        "raw:99".into(),
    ];
    let outcomes = outcomes(&ground.policy, &attempts);
    assert_eq!(outcomes.len(), attempts.len());
    for (attempt, error) in &outcomes {
        assert!(error.contains("not permitted") || error.contains("lookup"), "{attempt}: {error:?}");
    }
    v4.set_nonblocking(true).unwrap();
    v6.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    hidden.set_nonblocking(true).unwrap();
    seen.set_nonblocking(true).unwrap();
    assert!(v4.accept().is_err() && v6.accept().is_err() && hidden.accept().is_err() && seen.accept().is_err());
    assert!(udp.recv(&mut [0; 16]).is_err(), "nothing has arrived");
}

#[test]
fn the_network_is_given_without_files() {
    let ground = Ground::new();
    let policy = ground.policy.clone().with_network();
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = ground.given.path().join("socket");
    let _seen = UnixListener::bind(&path).unwrap();
    all_well(&policy, &[format!("dial:tcp={}", v4.local_addr().unwrap())]);
    all_refused(
        &policy,
        &[
            format!("read:{}", ground.secret("token")),
            format!("write:{}", ground.secret("new")),
            format!("dial:unix={}", path.display()),
            "raw:17".into(),
            "run:/bin/sh".into(),
            "read:/etc/passwd".into(),
        ],
    );
}

#[test]
fn nothing_else_can_be_executed() {
    let ground = Ground::new();
    let script = ground.given.path().join("script");
    std::fs::write(&script, "#!/bin/sh\ntouch /tmp/lockstep-sandbox-ran\n").unwrap();
    let copy = ground.given.path().join("copy");
    std::fs::copy(attempt(false), &copy).unwrap();
    let mut attempts: Vec<String> =
        ["/bin/sh", "/bin/true", "/usr/bin/env", "/usr/bin/git", HELPER].map(|path| format!("run:{path}")).into();
    attempts.push(format!("run:{}", script.display()));
    attempts.push(format!("run:{}", copy.display()));
    // Not even itself: there are no other processes.
    attempts.push(format!("run:{}", attempt(false).display()));
    all_refused(&ground.policy, &attempts);
    // An attempt to become another program ends this one only if it succeeds.
    for path in ["/bin/sh", "/usr/bin/git", &copy.display().to_string()] {
        all_refused(&ground.policy, &[format!("become:{path}")]);
    }
}

#[test]
fn another_program_can_be_started_if_it_was_given() {
    let ground = Ground::new();
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let policy = ground.policy.clone().with_program(&shell);
    all_well(&policy, &[format!("run:{}", shell.display())]);
    all_refused(
        &policy,
        &[
            "run:/usr/bin/git".into(),
            format!("read:{}", ground.secret("token")),
            "dial:tcp=127.0.0.1:1".into(),
            format!("signal:{}", std::process::id()),
            "call:unshare".into(),
        ],
    );
}

#[test]
fn other_processes_are_out_of_reach() {
    let ground = Ground::new();
    let other = std::process::id();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    let attempts = [
        format!("signal:{other}"),
        format!("signal:{}", bystander.id()),
        "signal:1".into(),
        "signal:-1".into(),
        format!("limit:{other}"),
        format!("limit:{}", bystander.id()),
    ];
    all_refused(&ground.policy, &attempts);
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn calls_that_no_render_needs_do_not_work() {
    let ground = Ground::new();
    let names = [
        "ptrace",
        "process_vm_readv",
        "io_uring_setup",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "mount",
        "unshare",
        "setns",
        "clone3",
        "keyctl",
        "add_key",
        "kexec_load",
        "memfd_create",
        "execveat",
        "open_by_handle_at",
        "pidfd_open",
        "pidfd_send_signal",
        "shmget",
        "mq_open",
        "setsid",
        "chroot",
        "landlock_restrict",
        "seccomp",
        "rt_sigqueueinfo",
        "sched_setaffinity",
        "fchmodat",
        "fchownat",
        "utimensat",
        "setxattr",
        "x32_getpid",
        "unknown_to_anybody",
    ];
    let attempts: Vec<String> = names.iter().map(|name| format!("call:{name}")).collect();
    let outcomes = outcomes(&ground.policy, &attempts);
    assert_eq!(outcomes.len(), names.len());
    for (attempt, error) in &outcomes {
        // Not what the kernel says of wrong arguments.
        let refused = error.contains("not permitted") || error.contains("not implemented");
        assert!(refused, "{attempt}: {error:?}");
    }
}

#[test]
fn no_power_is_left_and_none_can_be_had() {
    let ground = Ground::new();
    let policy = ground.policy.clone().reading(["/proc"]);
    let holds = |line: &str| format!("contains:/proc/self/status={line}");
    let none = "0000000000000000";
    let attempts = ["NoNewPrivs:\t1".to_owned(), "Seccomp:\t2".to_owned()]
        .into_iter()
        .chain(["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| format!("{set}:\t{none}")));
    all_well(&policy, &attempts.map(|line| holds(&line)).collect::<Vec<_>>());
}

#[test]
fn burning_processor_time_ends_at_the_limit() {
    let ground = Ground::new();
    let policy = ground.policy.clone().limited(Limits { processor_seconds: 1, ..Limits::default() });
    let begun = Instant::now();
    let output = run(&policy, &["burn:".into()]);
    use std::os::unix::process::ExitStatusExt as _;
    assert!(matches!(output.status.signal(), Some(9 | 24)), "{}", output.status);
    assert!(begun.elapsed() < Duration::from_secs(30), "by the kernel, not by this test");
}

#[test]
fn a_file_ends_at_the_limit() {
    let ground = Ground::new();
    let policy = ground.policy.clone().limited(Limits { file_bytes: 4 << 20, ..Limits::default() });
    let filled = run(&policy, &[format!("fill:{}", ground.own("large"))]);
    assert_eq!(std::fs::metadata(ground.own("large")).unwrap().len(), 4 << 20, "{filled:?}");
}

#[test]
fn what_cannot_be_started_says_why() {
    let ground = Ground::new();
    let script = ground.given.path().join("helm");
    std::fs::write(&script, "#!/bin/sh\nexec helm \"$@\"\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (program, words) in
        [(script.as_path(), "name the program itself"), (Path::new("/nowhere/helm"), "cannot start /nowhere/helm")]
    {
        let output = command(&Policy::of_program(program), program).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let why = refusal(output.status.code(), &stderr).unwrap_or_else(|| panic!("{output:?}"));
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_kernel_that_enforces_less_than_it_did_starts_nothing() {
    // The filter of a first sandbox takes the second its means.
    let ground = Ground::new();
    let policy = ground.policy.clone().with_program(HELPER.as_ref());
    let inner = Sandbox::new(HELPER, support()).command(&ground.policy, attempt(false)).unwrap();
    let mut outer = command(&policy, HELPER.as_ref());
    let output = outer.args(inner.get_args()).arg("compute:").output().unwrap();
    assert_eq!(output.status.code(), Some(FAILED), "{output:?}");
}

#[test]
fn another_program_is_not_taken_for_the_helper() {
    for program in ["/bin/true", "/bin/echo"] {
        let output = check_command(program.as_ref()).output().unwrap();
        let error = parse_check(program.as_ref(), &output).unwrap_err().to_string();
        assert!(error.contains(program) && error.contains("report it"), "{error}");
    }
}
