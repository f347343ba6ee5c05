//! `lockstep app wait`, and the waiting of the commands that start something. On a terminal each application has a line that
//! changes; elsewhere each change is a line.

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use cluster::{ClusterError, WatchEvent};
use futures::StreamExt as _;
use futures::stream::select_all;
use jiff::Timestamp;
use resources::{Application, Object};
use worker::AppId;

use super::reach::{Access, Applications, explained, parsed};
use super::standing::{Ended, Goals, Verdict, Watched, line};

/// So long a request may be nowhere to be seen before it counts as taken back.
const LOST: Duration = Duration::from_secs(5);
/// How often is looked at what only time decides.
const TICK: Duration = Duration::from_millis(500);

/// The options of `wait`.
#[derive(clap::Args)]
pub struct Args {
    /// The Applications, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    access: Access,
    /// Until the cluster has what Git has.
    #[arg(long)]
    sync: bool,
    /// Until it is healthy. Fails when it is degraded and nothing is under way.
    #[arg(long)]
    health: bool,
    /// Until no operation is under way. Fails if the last one failed.
    #[arg(long)]
    operation: bool,
    /// How long to wait.
    #[arg(long, default_value = "10m", value_parser = worker::config::parse_duration)]
    timeout: Duration,
}

/// Runs `wait`.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let goals = Goals::new(args.sync, args.health, args.operation);
    let mut waits = Vec::new();
    for name in &args.names {
        let id = applications.id(name);
        applications.get(&id).await?;
        waits.push(Wait::new(name, id, Watched::goals(goals)));
    }
    follow(&applications, &mut waits, args.timeout).await
}

/// One application and what is waited for.
pub struct Wait {
    name: String,
    id: AppId,
    watched: Watched,
    /// As last seen.
    pub application: Option<Application>,
    line: String,
    lost: Option<Instant>,
    ended: Option<Ended>,
}

impl Wait {
    /// For an application, named as the person names it.
    pub fn new(name: &str, id: AppId, watched: Watched) -> Self {
        Self { name: name.into(), id, watched, application: None, line: String::new(), lost: None, ended: None }
    }

    fn see(&mut self, object: Object) {
        match parsed(object) {
            Ok(application) => {
                self.line = line(&application);
                self.application = Some(application);
                self.judge();
            }
            Err(invalid) => self.line = format!("{invalid:#}"),
        }
    }

    fn judge(&mut self) {
        let Some(application) = &self.application else { return };
        if self.ended.is_some() {
            return;
        }
        match self.watched.judge(application) {
            Verdict::Ended(ended) => self.ended = Some(ended),
            Verdict::Open => self.lost = None,
            Verdict::Lost if self.lost.get_or_insert_with(Instant::now).elapsed() < LOST => {}
            Verdict::Lost => {
                self.ended = Some(Ended::Failed("the operation was taken back before it began".into()));
            }
        }
    }

    fn gone(&mut self) {
        self.line = "deleted".into();
        self.ended.get_or_insert_with(|| Ended::Failed("the Application was deleted".into()));
    }
}

/// Waits for all of them; tells how it went and what that means for the exit code.
pub async fn follow(applications: &Applications, waits: &mut [Wait], limit: Duration) -> anyhow::Result<ExitCode> {
    let streams = waits
        .iter()
        .enumerate()
        .map(|(number, wait)| Box::pin(applications.watch(&wait.id).map(move |event| (number, event))));
    let mut events = pin!(select_all(streams));
    let mut progress = Progress::new();
    let deadline = tokio::time::Instant::now() + limit;
    while waits.iter().any(|wait| wait.ended.is_none()) {
        tokio::select! {
            next = events.next() => {
                let Some((number, event)) = next else { bail!("the watches ended") };
                take(&mut waits[number], event)?;
            }
            () = tokio::time::sleep(TICK) => waits.iter_mut().for_each(Wait::judge),
            () = tokio::time::sleep_until(deadline) => break,
        }
        progress.show(waits);
    }
    progress.end();
    Ok(conclude(waits, limit))
}

fn take(wait: &mut Wait, event: Result<WatchEvent, ClusterError>) -> anyhow::Result<()> {
    match event {
        Ok(WatchEvent::Reset(objects)) => match objects.into_iter().next() {
            Some(object) => wait.see(object),
            None => wait.gone(),
        },
        Ok(WatchEvent::Applied(object)) => wait.see(object),
        Ok(WatchEvent::Deleted(_)) => wait.gone(),
        // The watch goes on by itself when the API server is back.
        Err(error) if error.is_transient() => wait.line = error.to_string(),
        Err(error) => return Err(explained(error)),
    }
    Ok(())
}

fn conclude(waits: &[Wait], limit: Duration) -> ExitCode {
    let (mut failed, mut open) = (false, false);
    for wait in waits {
        match &wait.ended {
            Some(Ended::Reached) => {}
            Some(Ended::Failed(why)) => {
                failed = true;
                eprintln!("{}: {why}", wait.name);
            }
            None => {
                open = true;
                let last = if wait.line.is_empty() { "nothing was seen of it" } else { &wait.line };
                eprintln!("{}: not after {} s; last seen: {last}", wait.name, limit.as_secs_f32());
            }
        }
    }
    match (failed, open) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// What is shown meanwhile.
struct Progress {
    live: bool,
    shown: Vec<String>,
}

impl Progress {
    fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { live: std::io::stdout().is_terminal() && !dumb, shown: Vec::new() }
    }

    fn show(&mut self, waits: &[Wait]) {
        let lines: Vec<String> = waits.iter().map(|wait| format!("{}: {}", wait.name, wait.line)).collect();
        if lines == self.shown {
            return;
        }
        let text =
            if self.live { redrawn(&self.shown, &lines) } else { changed(&self.shown, &lines, Timestamp::now()) };
        let mut out = std::io::stdout().lock();
        // Nobody reads it any more; the exit code still counts.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.shown = lines;
    }

    fn end(&mut self) {
        self.shown.clear();
    }
}

/// The lines once more over those before. Each is cut at the terminal's edge, by the terminal: a line that is folded would not
/// be where it is looked for the next time.
fn redrawn(before: &[String], lines: &[String]) -> String {
    let up = if before.is_empty() { String::new() } else { format!("\x1b[{}A", before.len()) };
    let lines: String = lines.iter().map(|line| format!("\r\x1b[2K{line}\n")).collect();
    format!("{up}\x1b[?7l{lines}\x1b[?7h")
}

/// The lines that are others than before, each with the time.
fn changed(before: &[String], lines: &[String], now: Timestamp) -> String {
    let time = now.strftime("%H:%M:%SZ");
    let is_new = |(number, line): &(usize, &String)| before.get(*number) != Some(*line) && !line.ends_with(": ");
    lines.iter().enumerate().filter(is_new).map(|(_, line)| format!("{time} {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_tell_changes_only() {
        let lines = |all: &[&str]| all.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        let now: Timestamp = "2026-01-05T12:00:07Z".parse().unwrap();
        for (before, now_there, want) in [
            (&[][..], &["a: Synced", "b: "][..], "12:00:07Z a: Synced\n"),
            (&["a: Synced", "b: "], &["a: Synced", "b: OutOfSync"], "12:00:07Z b: OutOfSync\n"),
            (&["a: Synced"], &["a: Synced"], ""),
        ] {
            assert_eq!(changed(&lines(before), &lines(now_there), now), want, "{before:?} {now_there:?}");
        }
    }

    #[test]
    fn a_terminal_is_drawn_over() {
        let lines = ["a: Synced".to_owned()];
        assert_eq!(redrawn(&[], &lines), "\x1b[?7l\r\x1b[2Ka: Synced\n\x1b[?7h");
        assert!(redrawn(&lines, &lines).starts_with("\x1b[1A\x1b[?7l"));
    }
}
