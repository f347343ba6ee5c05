//! The filter of system calls: a list of those that programs written in Go, and the C library below some of them, need to
//! compute and to work with files. What is not in it does not exist for the program (`ENOSYS`), so that what a newer kernel
//! adds is not there either; what a program is likely to try and to speak of is refused with a better word (`EPERM`).
//!
//! Where a call can reach another process, its arguments are looked at: signals and limits only for the process itself, new
//! threads but no new processes, no descriptor of a terminal.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::Policy;

/// Calls without conditions that every program may make.
const ALWAYS: &[c_long] = &[
    // Descriptors and files; which files is Landlock's.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fchmod,
    libc::SYS_fchdir,
    libc::SYS_chdir,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and waiting.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Which file may be executed is Landlock's; without it, nothing but the program's own file has a use.
    libc::SYS_execve,
    // Signals to oneself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time.
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_delete,
    libc::SYS_setitimer,
    // Who one is.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
];

/// The older names of calls, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_getdents,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_arch_prctl,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What programs may do besides where they may use the network or start others.
const BUSY: &[c_long] =
    &[libc::SYS_fchmodat, libc::SYS_utimensat, libc::SYS_getpgid, libc::SYS_setpgid, libc::SYS_socketpair];

/// Calls on sockets.
const NETWORK: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
];

/// Calls that a program may be expected to try: refused, and not absent.
const REFUSED: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
];

/// Namespaces that `clone` can make; the only one that it cannot is that of time.
const NAMESPACES: u64 = 0x7e02_0000;

/// A rule: all of these arguments are so. The first number is that of the argument.
type Arguments<'a> = &'a [(u8, SeccompCmpOp, u64)];

/// The filters in the order in which they are put on. Of two that refuse, the later one chooses the error.
pub(crate) fn programs(policy: &Policy, pid: u32) -> Result<Vec<BpfProgram>, BackendError> {
    let mut allowed = Rules::default();
    allowed.add(ALWAYS);
    allowed.add(OLDER);
    let own = u64::from(pid);
    allowed.when(libc::SYS_tgkill, &[&[(0, SeccompCmpOp::Eq, own)]])?;
    for none_or_own in [0, own] {
        allowed.when(libc::SYS_prlimit64, &[&[(0, SeccompCmpOp::Eq, none_or_own)]])?;
    }
    // Whether it is a terminal, and how large; not what types into one.
    for request in [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO] {
        allowed.when(libc::SYS_ioctl, &[&[(1, SeccompCmpOp::Eq, request)]])?;
    }
    // For the second filter, which takes them away.
    allowed.add(&[libc::SYS_seccomp]);
    for option in
        [libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_CAPBSET_READ]
    {
        allowed.when(libc::SYS_prctl, &[&[(0, SeccompCmpOp::Eq, option as u64)]])?;
    }
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    if policy.processes {
        allowed.when(libc::SYS_clone, &[&[(0, SeccompCmpOp::MaskedEq(NAMESPACES), 0)]])?;
        // Which processes is Landlock's.
        allowed.add(&[libc::SYS_kill, libc::SYS_tgkill]);
        #[cfg(target_arch = "x86_64")]
        allowed.add(&[libc::SYS_vfork, libc::SYS_fork, libc::SYS_chmod]);
    } else {
        allowed.when(libc::SYS_clone, &[&[(0, SeccompCmpOp::MaskedEq(NAMESPACES | thread), thread)]])?;
        allowed.when(libc::SYS_kill, &[&[(0, SeccompCmpOp::Eq, own)]])?;
    }
    if policy.network || policy.processes {
        allowed.add(BUSY);
    }
    if policy.network {
        allowed.add(NETWORK);
        let domain = |domain: i32| (0, SeccompCmpOp::Eq, domain as u64);
        allowed.when(
            libc::SYS_socket,
            &[
                &[domain(libc::AF_INET)],
                &[domain(libc::AF_INET6)],
                // For the addresses of the machine, which resolvers look at.
                &[domain(libc::AF_NETLINK), (2, SeccompCmpOp::Eq, 0)],
            ],
        )?;
    }
    let mut refused = Rules::default();
    refused.add(REFUSED);
    refused.0.retain(|call, _| !allowed.0.contains_key(call));
    refused.add(&[libc::SYS_seccomp]);
    if !policy.processes {
        refused.when(libc::SYS_clone, &[&[(0, SeccompCmpOp::MaskedEq(thread), 0)]])?;
        #[cfg(target_arch = "x86_64")]
        refused.add(&[libc::SYS_fork, libc::SYS_vfork]);
    }
    let error = |number: i32| SeccompAction::Errno(number as u32);
    Ok(vec![
        compile(allowed, error(libc::ENOSYS), SeccompAction::Allow)?,
        compile(refused, SeccompAction::Allow, error(libc::EPERM))?,
    ])
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, BackendError> {
    // Calls of another architecture's table, which the kernel also knows, end the program.
    let here: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules.0, otherwise, matched, here)?.try_into()
}

/// By number of the call: no rule is without conditions, several are alternatives.
#[derive(Default)]
struct Rules(BTreeMap<i64, Vec<SeccompRule>>);

impl Rules {
    fn add(&mut self, calls: &[c_long]) {
        self.0.extend(calls.iter().map(|&call| (call, Vec::new())));
    }

    fn when(&mut self, call: c_long, alternatives: &[Arguments<'_>]) -> Result<(), BackendError> {
        for arguments in alternatives {
            let conditions = arguments.iter().map(|(number, operator, value)| {
                // The kernel's own types of these are 32 bits wide; what is above is ignored by it and must be by us.
                SeccompCondition::new(*number, SeccompCmpArgLen::Dword, operator.clone(), *value)
            });
            let rule = SeccompRule::new(conditions.collect::<Result<Vec<_>, _>>()?)?;
            self.0.entry(call).or_default().push(rule);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_small_enough_for_the_kernel() {
        let quiet = Policy::default();
        for policy in [quiet.clone(), quiet.clone().with_network(), quiet.with_network().with_system_programs()] {
            let programs = programs(&policy, 1234).unwrap();
            assert_eq!(programs.len(), 2);
            assert!(programs.iter().all(|program| program.len() < 1500), "{policy:?}");
        }
    }

    #[test]
    fn no_list_contains_what_another_refuses() {
        let dangerous = [libc::SYS_execveat, libc::SYS_io_uring_setup, libc::SYS_memfd_create, libc::SYS_pidfd_open];
        for call in ALWAYS.iter().chain(OLDER) {
            assert!(!REFUSED.contains(call) && !NETWORK.contains(call) && !dangerous.contains(call), "{call}");
        }
    }
}
