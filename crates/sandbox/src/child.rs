//! The half that confines itself and then becomes another program. It runs before anything else of the process: there is one
//! thread, no runtime, no secret.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs};

use crate::launch::{Answer, CHECK, ENTRY, FAILED, Order, REFUSED};
use crate::{Limits, Policy, Support, files, filter};

/// The first line of `main` of a program that confines others. Returns at once unless this process was started to become one
/// of those; then it never returns.
pub fn enter_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ENTRY)) {
        return;
    }
    let message = run(arguments);
    eprintln!("{REFUSED}{message}");
    std::process::exit(FAILED);
}

/// Returns only what went wrong.
fn run(mut arguments: impl Iterator<Item = OsString>) -> String {
    let Some(order) = arguments.next() else { return "nothing was asked for".into() };
    if order == CHECK {
        return check();
    }
    let order: Order = match order.to_str().map(serde_json::from_str) {
        Some(Ok(order)) => order,
        _ => return "the order is not understood".into(),
    };
    let Some(program) = arguments.next() else { return "no program was named".into() };
    let held = match confine(&order.policy) {
        Ok(held) => held,
        Err(message) => return message,
    };
    // What could be confined when the caller began can be now. If not, something is wrong, and nothing is started.
    if (order.support.landlock > 0 && held.landlock == 0) || (order.support.syscalls && !held.syscalls) {
        return "the kernel does not enforce what it enforced before".into();
    }
    let error = Command::new(&program).args(arguments).exec();
    format!("cannot start {}: {error}{}", program.display(), advice(&error))
}

/// Those who are not allowed by the policy, although it names them, are mostly not what the policy takes them for.
fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; a script or a wrapper cannot start others in the sandbox, so name the program itself"
        }
        _ => "",
    }
}

/// What was put on.
struct Held {
    landlock: u32,
    syscalls: bool,
}

fn confine(policy: &Policy) -> Result<Held, String> {
    limit(&policy.limits).map_err(|error| format!("cannot set limits: {error}"))?;
    set_no_new_privs(true).map_err(|error| format!("cannot give up privileges: {error}"))?;
    // Root keeps its powers otherwise. What is given up here does not come back with the next program.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(|error| format!("cannot give up capabilities: {error}"))?;
    let landlock = files::confine(policy).map_err(|error| format!("cannot confine files: {error}"))?;
    let programs = filter::programs(policy, std::process::id());
    let programs = programs.map_err(|error| format!("cannot make the filter of system calls: {error}"));
    let syscalls = match programs {
        Ok(programs) => programs.iter().all(|program| seccompiler::apply_filter(program).is_ok()),
        // An architecture whose calls are not known.
        Err(_) => false,
    };
    Ok(Held { landlock, syscalls })
}

/// The limits are those that are also kept if nobody watches any more. Memory is not among them: Go reserves far more
/// addresses than it uses. Neither is the number of processes, which the kernel counts by user: it would count ours.
fn limit(limits: &Limits) -> rustix::io::Result<()> {
    let set = |resource, most: u64| {
        // Only down: a lower limit of whoever started us stays.
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    set(Resource::Cpu, limits.processor_seconds)?;
    set(Resource::Fsize, limits.file_bytes)?;
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Core, 0)
}

/// Confines itself as strictly as possible and tries what then still can be done. Only what was refused counts, not what the
/// kernel says of itself.
fn check() -> String {
    let readable = std::fs::read_dir("/").is_ok();
    let parent = rustix::process::getppid();
    let held = match confine(&Policy::default()) {
        Ok(held) => held,
        Err(message) => return message,
    };
    let udp = std::net::UdpSocket::bind("127.0.0.1:0");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0");
    let unix = std::os::unix::net::UnixDatagram::unbound();
    let started = Command::new("/proc/self/exe").arg(ENTRY).spawn().map(|mut child| child.wait());
    let support = Support {
        landlock: held.landlock,
        files: held.landlock > 0 && readable && std::fs::read_dir("/").is_err(),
        tcp: held.landlock >= 4,
        sockets: udp.is_err() && tcp.is_err() && unix.is_err(),
        signals: parent.is_some_and(|parent| rustix::process::test_kill_process(parent).is_err()),
        processes: started.is_err(),
        syscalls: held.syscalls,
    };
    match serde_json::to_string(&Answer::of(support)) {
        Ok(text) => {
            println!("{text}");
            std::process::exit(0)
        }
        Err(error) => error.to_string(),
    }
}
