//! What a program may do, said without any system call.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::elf;

/// Where dynamic libraries are. Nothing in these folders is secret.
const LIBRARIES: [&str; 7] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/ld.so.preload"];
/// Systems that keep every program and library below one folder.
const STORES: [&str; 2] = ["/nix/store", "/gnu/store"];
/// What time zones are made of, and the two devices that are no devices.
const ALWAYS: [&str; 3] = ["/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom"];
/// What names and certificates are looked up in.
const NETWORK: [&str; 19] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
];
/// Where the programs of the system are, and what Git asks for.
const SYSTEM: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/gitconfig", "/etc/passwd", "/etc/alternatives"];

/// What a program may do. Everything that is not in it is refused. Paths that do not exist are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Files and folders to read, with all that is in them.
    pub read: Vec<PathBuf>,
    /// Files and folders to read and write, with all that is in them. No device, socket or pipe can be made there.
    pub write: Vec<PathBuf>,
    /// Files and folders to read and execute.
    pub execute: Vec<PathBuf>,
    /// Whether sockets to the network may be opened.
    pub network: bool,
    /// Whether other processes may be started, from what is in `execute`.
    pub processes: bool,
    /// What the kernel counts.
    pub limits: Limits,
}

/// Limits that the kernel keeps, whatever becomes of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds of processor time, of all threads together.
    pub processor_seconds: u64,
    /// Size of the largest file that may be written.
    pub file_bytes: u64,
    /// Files that are open at the same time.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processor_seconds: 60, file_bytes: 64 << 20, open_files: 1024 }
    }
}

impl Policy {
    /// What every run of a program needs: its file, its loader and libraries if it has any, time zones.
    pub fn of_program(program: &Path) -> Self {
        let mut policy = Self { write: vec!["/dev/null".into()], ..Self::default() };
        policy.read.extend(ALWAYS.map(PathBuf::from));
        policy.add_program(program);
        policy
    }

    fn add_program(&mut self, program: &Path) {
        self.execute.push(program.to_owned());
        let Some(loader) = elf::loader(program) else { return };
        self.read.extend(LIBRARIES.map(PathBuf::from));
        match STORES.iter().find(|store| loader.starts_with(store)) {
            Some(store) => self.read.push(store.into()),
            // Libraries that are kept with a loader of their own.
            None => self.read.extend(loader.parent().map(Path::to_owned)),
        }
        self.execute.push(loader);
    }

    /// Files and folders to read.
    #[must_use]
    pub fn reading<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Files and folders to read and write.
    #[must_use]
    pub fn writing<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.write.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The network, with what names and certificates are looked up in.
    #[must_use]
    pub fn with_network(mut self) -> Self {
        self.network = true;
        self.read.extend(NETWORK.map(PathBuf::from));
        self
    }

    /// One more program, which the first one may start.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.processes = true;
        self.add_program(program);
        self
    }

    /// Every program of the system: what Git needs to fetch.
    #[must_use]
    pub fn with_system_programs(mut self) -> Self {
        self.processes = true;
        self.execute.extend(SYSTEM.map(PathBuf::from));
        self
    }

    /// The limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(paths: &[PathBuf], path: &str) -> bool {
        paths.iter().any(|known| known == Path::new(path))
    }

    #[test]
    fn a_program_gets_what_it_needs_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("static");
        std::fs::write(&own, "not dynamic").unwrap();
        let policy = Policy::of_program(&own);
        assert_eq!(policy.execute, std::slice::from_ref(&own));
        assert_eq!(policy.write, [PathBuf::from("/dev/null")]);
        assert!(!policy.network && !policy.processes && !has(&policy.read, "/usr/lib"));
        for path in ["/", "/etc", "/proc", "/sys", "/home", "/root", "/var", "/run", "/tmp", "/dev"] {
            let all = policy.clone().with_network().with_system_programs();
            assert!(!has(&all.read, path) && !has(&all.write, path) && !has(&all.execute, path), "{path}");
        }
        let dynamic = Policy::of_program(&std::env::current_exe().unwrap());
        assert!(dynamic.execute.len() == 2 && has(&dynamic.read, "/usr/lib"));
        let two = policy.with_program(&std::env::current_exe().unwrap());
        assert!(two.processes && two.execute.len() == 3);
    }
}
