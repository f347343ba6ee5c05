//! What a person sees while something is built: beforehand what it will take, meanwhile that it goes on, afterwards how long it took.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Where nobody sees cargo's own progress, a line says so often how far it is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Programs that Go builds while cargo is at work.
pub struct Programs(Option<JoinHandle<anyhow::Result<()>>>);

impl Programs {
    /// Starts building those that are missing, one after the other.
    pub fn build(names: &[&'static str]) -> Self {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !programs::is_there(name)).collect();
        if missing.is_empty() {
            return Self(None);
        }
        Self(Some(std::thread::spawn(move || {
            for name in missing {
                programs::ensure(name)?;
            }
            Ok(())
        })))
    }

    /// Whether something is still being built.
    pub fn is_busy(&self) -> bool {
        self.0.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until all of them are there.
    pub fn built(self) -> anyhow::Result<()> {
        match self.0 {
            Some(thread) => thread.join().unwrap_or_else(|_| bail!("the build of a program ended in a panic")),
            None => Ok(()),
        }
    }
}

/// Says what is missing, about how long it takes and how much disk, where that is worth knowing.
pub fn announce(needed: &[&str], what: &str) {
    let missing = programs::PROGRAMS.iter().filter(|program| needed.contains(&program.name));
    let missing: Vec<&programs::Program> = missing.filter(|program| !programs::is_there(program.name)).collect();
    if missing.is_empty() {
        return;
    }
    eprintln!("The first time takes a while. Built once and kept:");
    eprintln!("  {what}, with the libraries it needs: about 6 minutes on two idle cores, 6 GB");
    for program in &missing {
        let (minutes, megabytes) = (program.minutes, program.megabytes);
        let gigabytes = f64::from(megabytes) / 1000.0;
        eprintln!("  {}: about {minutes} min, {gigabytes:.1} GB with what Go keeps", program.title);
    }
    let gigabytes = 6.0 + missing.iter().map(|program| f64::from(program.megabytes) / 1000.0).sum::<f64>();
    eprintln!("Cargo and Go work side by side. In all about {gigabytes:.0} GB of disk.");
}

/// Runs cargo so that one sees it work: with its own progress on a terminal, with a line every few seconds elsewhere.
pub fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = super::cargo_command(arguments);
    if std::io::stderr().is_terminal() {
        return super::run(&mut command);
    }
    if follow(&mut command)? {
        return Ok(());
    }
    bail!("cargo {} failed", arguments.join(" "))
}

/// Passes on what has to be read and counts the rest; tells whether it went well.
fn follow(command: &mut Command) -> anyhow::Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let started = Instant::now();
    let (mut next, mut done) = (INTERVAL, 0);
    for line in BufReader::new(child.stderr.take().context("cargo has no standard error")?).lines() {
        let line = line?;
        if is_progress(&line) {
            done += usize::from(is_step(&line));
            if started.elapsed() >= next {
                next = started.elapsed() + INTERVAL;
                eprintln!("    {done} packages so far, {:.0} s", started.elapsed().as_secs_f64());
            }
        } else {
            eprintln!("{line}");
        }
    }
    Ok(child.wait()?.success())
}

/// A line of cargo's that says what it is doing, and nothing that somebody has to read.
fn is_progress(line: &str) -> bool {
    let words =
        ["Compiling", "Checking", "Downloading", "Downloaded", "Finished", "Updating", "Locking", "Blocking", "Fresh"];
    line.starts_with(' ') && words.contains(&line.split_whitespace().next().unwrap_or_default())
}

fn is_step(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("Compiling" | "Checking"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_counted_and_warnings_are_shown() {
        for (line, progress, step) in [
            ("   Compiling serde v1.0.0", true, true),
            ("    Checking bus v0.1.0", true, true),
            ("    Finished `dev` profile", true, false),
            ("warning: unused variable", false, false),
            ("   --> src/main.rs:1:1", false, false),
            ("error: could not compile `bus`", false, false),
        ] {
            assert_eq!((is_progress(line), is_progress(line) && is_step(line)), (progress, step), "{line}");
        }
    }
}
