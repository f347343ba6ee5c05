//! What the kernel enforces here, and what follows from that.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What was found to hold when it was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// The version of Landlock; 0 without it.
    pub landlock: u32,
    /// Files outside of the policy can neither be read nor written nor executed.
    pub files: bool,
    /// TCP connections are refused by Landlock too, and not only with the sockets.
    pub tcp: bool,
    /// No socket of any kind can be opened.
    pub sockets: bool,
    /// No process outside can be signalled.
    pub signals: bool,
    /// No process can be started.
    pub processes: bool,
    /// The filter of system calls holds.
    pub syscalls: bool,
}

/// What to do where the kernel cannot enforce all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Do not start.
    Required,
    /// Use what there is, and say what is missing.
    #[default]
    Available,
    /// Confine nothing.
    Off,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "available" => Ok(Self::Available),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is no way to use the sandbox; write required, available or off")),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Available => "available",
            Self::Off => "off",
        })
    }
}

/// How programs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Without a sandbox, because somebody said so.
    Off,
    /// In one that holds this.
    On(Support),
}

impl State {
    /// Each part with whether it holds, for logs and metrics.
    pub fn parts(&self) -> [(&'static str, bool); 6] {
        let Support { files, tcp, sockets, signals, processes, syscalls, .. } = self.support();
        [
            ("files", files),
            ("tcp", tcp),
            ("sockets", sockets),
            ("signals", signals),
            ("processes", processes),
            ("syscalls", syscalls),
        ]
    }

    /// What holds.
    pub fn support(&self) -> Support {
        match self {
            Self::Off => Support::default(),
            Self::On(support) => *support,
        }
    }

    /// Whether everything holds that matters: TCP is confined with the sockets, whatever Landlock knows of it.
    pub fn is_whole(&self) -> bool {
        self.missing().is_empty()
    }

    fn missing(&self) -> Vec<&'static str> {
        let missing = |name: &&str| *name != "tcp";
        self.parts().into_iter().filter(|(_, holds)| !holds).map(|(name, _)| name).filter(missing).collect()
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::On(support) = self else {
            return f.write_str("off: programs that render can do whatever this process can");
        };
        let kernel = match support.landlock {
            0 => "without Landlock".to_owned(),
            version => format!("with Landlock {version}"),
        };
        match self.missing().as_slice() {
            [] => write!(f, "on {kernel}: files, sockets, signals, processes and system calls are confined"),
            missing => write!(f, "on {kernel}, which does not confine {}", listed(missing)),
        }
    }
}

/// What follows from what is wanted and what there is; an error is why not to start.
///
/// # Errors
/// If the sandbox is required and files or sockets cannot be confined.
pub fn decide(mode: Mode, support: Support) -> Result<State, String> {
    let needed = [("files", support.files), ("sockets", support.sockets)];
    let lacking: Vec<&str> = needed.into_iter().filter(|(_, holds)| !holds).map(|(name, _)| name).collect();
    match mode {
        Mode::Off => Ok(State::Off),
        Mode::Required if !lacking.is_empty() => {
            let kernel = if support.landlock == 0 { " (it has no Landlock, which came with Linux 5.13)" } else { "" };
            Err(format!(
                "the sandbox for programs that render is required, and this kernel cannot confine {}{kernel}; use one that \
                 can, or say `--render-sandbox=available` to go without",
                listed(&lacking)
            ))
        }
        Mode::Required | Mode::Available => Ok(State::On(support)),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Support =
        Support { landlock: 7, files: true, tcp: true, sockets: true, signals: true, processes: true, syscalls: true };

    #[test]
    fn what_follows_from_what_the_kernel_gives() {
        let none = Support::default();
        let old = Support { landlock: 0, files: false, tcp: false, ..ALL };
        let landlock_alone = Support { sockets: false, processes: false, syscalls: false, ..ALL };
        let first = Support { landlock: 1, tcp: false, ..ALL };
        for (mode, support, want) in [
            (Mode::Off, ALL, Ok("off")),
            (Mode::Off, none, Ok("off")),
            (Mode::Available, ALL, Ok("on with Landlock 7: files, sockets, signals, processes and system calls")),
            (Mode::Available, first, Ok("on with Landlock 1: files, sockets, ")),
            (Mode::Available, old, Ok("on without Landlock, which does not confine files")),
            (Mode::Available, none, Ok("which does not confine files, sockets, signals, processes and syscalls")),
            (Mode::Required, ALL, Ok("on with Landlock 7")),
            (Mode::Required, first, Ok("on with Landlock 1")),
            (Mode::Required, old, Err("cannot confine files (it has no Landlock")),
            (Mode::Required, landlock_alone, Err("cannot confine sockets; use one that can")),
            (Mode::Required, none, Err("cannot confine files and sockets (it has no")),
        ] {
            let got = decide(mode, support);
            match (&got, want) {
                (Ok(state), Ok(words)) => assert!(state.to_string().contains(words), "{mode} {support:?}: {state}"),
                (Err(sentence), Err(words)) => assert!(sentence.contains(words), "{mode} {support:?}: {sentence}"),
                _ => panic!("{mode} {support:?}: {got:?}"),
            }
        }
        assert!(State::On(first).is_whole() && !State::On(old).is_whole() && !State::Off.is_whole());
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        for mode in [Mode::Required, Mode::Available, Mode::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("yes".parse::<Mode>().unwrap_err().contains("required, available or off"));
    }
}
