//! Sync windows: when an application may be synced, and when it next may.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use resources::{SyncWindow, parse_duration};

use crate::cron::{Schedule, minus, plus};
use crate::glob::matches;
use crate::project::Target;

/// How many openings and closings are looked through for the next time at which a sync may run.
const BOUNDARIES: usize = 500;

/// Whether windows let a sync through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowDecision {
    /// They do.
    Open,
    /// They do not.
    Closed {
        /// Which window, and when it opens, as a sentence.
        reason: String,
        /// When it opens, if that can be told.
        opens_at: Option<Timestamp>,
    },
}

/// A sync, as far as windows are concerned.
#[derive(Clone, Copy, Debug)]
pub struct WindowRequest<'a> {
    /// The application's name.
    pub application: &'a str,
    /// Its destination namespace.
    pub namespace: &'a str,
    /// Its destination cluster.
    pub target: &'a Target,
    /// Whether a person asked for the sync.
    pub manual: bool,
    /// When the operation began, if it runs already (`syncOverrun`).
    pub running_since: Option<Timestamp>,
}

/// Decides whether a sync may run now.
pub fn decide(windows: &[SyncWindow], request: &WindowRequest<'_>, now: Timestamp) -> WindowDecision {
    let windows: Vec<Window<'_>> = windows.iter().filter(|window| concerns(window, request)).map(Window::new).collect();
    let Some(blocking) = blocking(&windows, now, request) else { return WindowDecision::Open };
    let opens_at = next_opening(&windows, now, request);
    let opens = opens_at.map_or(String::new(), |at| format!("; the next sync is possible at {at}"));
    let manual = if !request.manual && allows_manual(&windows, now) { "; it can be started by hand" } else { "" };
    WindowDecision::Closed {
        reason: format!("Sync operation blocked by sync window: {blocking}{opens}{manual}"),
        opens_at,
    }
}

/// A window made ready. One that cannot be read is never forgotten: a deny window counts as always active, an allow window as
/// never.
struct Window<'a> {
    source: &'a SyncWindow,
    deny: bool,
    times: Result<(Schedule, i64, TimeZone), String>,
}

impl<'a> Window<'a> {
    fn new(source: &'a SyncWindow) -> Self {
        Self { source, deny: source.kind != "allow", times: times(source) }
    }

    /// When it began, if it is active.
    fn active_since(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Ok((schedule, seconds, zone)) => {
                schedule.next_after(minus(at, *seconds), zone).filter(|start| *start <= at)
            }
            Err(_) => self.deny.then_some(at),
        }
    }

    fn is_active(&self, at: Timestamp) -> bool {
        self.active_since(at).is_some()
    }

    /// When it next opens or closes.
    fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        let (schedule, seconds, zone) = self.times.as_ref().ok()?;
        let start = schedule.next_after(after, zone);
        let end = self.active_since(after).map(|start| plus(start, *seconds));
        start.into_iter().chain(end).filter(|at| *at > after).min()
    }

    fn sentence(&self) -> String {
        let SyncWindow { schedule, duration, time_zone, description, .. } = self.source;
        let zone = if time_zone.is_empty() { "UTC" } else { time_zone };
        let kind = if self.deny { "deny" } else { "allow" };
        let description = if description.is_empty() { String::new() } else { format!(" ({description})") };
        match &self.times {
            Ok(_) => format!("the {kind} window {schedule:?} for {duration} {zone}{description}"),
            Err(problem) => format!("the {kind} window {schedule:?}{description} cannot be read: {problem}"),
        }
    }
}

fn times(window: &SyncWindow) -> Result<(Schedule, i64, TimeZone), String> {
    if !matches!(window.kind.as_str(), "allow" | "deny") {
        return Err(format!("its kind is {:?}; use allow or deny", window.kind));
    }
    let schedule = Schedule::parse(&window.schedule).map_err(|error| error.to_string())?;
    let duration = parse_duration(&window.duration)
        .map_err(|_| format!("its duration is {:?}; use one such as 1h30m", window.duration))?;
    let seconds = i64::try_from(duration.as_secs()).map_err(|_| "its duration is too long".to_owned())?;
    let zone = match window.time_zone.as_str() {
        "" => TimeZone::UTC,
        name => TimeZone::get(name)
            .map_err(|_| format!("its time zone {name:?} is not known; use one such as Europe/Berlin"))?,
    };
    Ok((schedule, seconds, zone))
}

/// Whether a window is about an application: one of its lists names it, or all that are given with `andOperator`.
fn concerns(window: &SyncWindow, request: &WindowRequest<'_>) -> bool {
    let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches(pattern, text));
    let cluster = request.target.servers.iter().chain(&request.target.names).any(|name| any(&window.clusters, name));
    let lists = [
        (!window.applications.is_empty(), any(&window.applications, request.application)),
        (!window.namespaces.is_empty(), any(&window.namespaces, request.namespace)),
        (!window.clusters.is_empty(), cluster),
    ];
    let mut given = lists.into_iter().filter(|(given, _)| *given).map(|(_, hit)| hit).peekable();
    given.peek().is_some() && if window.and_operator { given.all(|hit| hit) } else { given.any(|hit| hit) }
}

/// The windows that are in the way at this time, or none.
fn in_the_way<'w, 'a>(windows: &'w [Window<'a>], at: Timestamp) -> Vec<&'w Window<'a>> {
    let denies: Vec<_> = windows.iter().filter(|window| window.deny && window.is_active(at)).collect();
    if !denies.is_empty() {
        return denies;
    }
    let allows: Vec<_> = windows.iter().filter(|window| !window.deny).collect();
    if allows.iter().any(|window| window.is_active(at)) { Vec::new() } else { allows }
}

fn allows_manual(windows: &[Window<'_>], at: Timestamp) -> bool {
    in_the_way(windows, at).iter().all(|window| window.source.manual_sync)
}

fn is_open(windows: &[Window<'_>], at: Timestamp, request: &WindowRequest<'_>) -> bool {
    let closed = in_the_way(windows, at);
    closed.is_empty() || request.manual && closed.iter().all(|window| window.source.manual_sync)
}

fn blocking(windows: &[Window<'_>], now: Timestamp, request: &WindowRequest<'_>) -> Option<String> {
    if is_open(windows, now, request) {
        return None;
    }
    let closed = in_the_way(windows, now);
    // What was allowed to begin may end, if every window in its way says so.
    if request.running_since.is_some_and(|since| is_open(windows, since, request))
        && closed.iter().all(|window| window.source.sync_overrun)
    {
        return None;
    }
    let sentences: Vec<String> = closed.iter().map(|window| window.sentence()).collect();
    let verb = if closed.iter().any(|window| window.deny) { "is active" } else { "is not open" };
    Some(format!("{} {verb}", sentences.join(" and ")))
}

fn next_opening(windows: &[Window<'_>], now: Timestamp, request: &WindowRequest<'_>) -> Option<Timestamp> {
    let mut at = now;
    for _ in 0..BOUNDARIES {
        at = windows.iter().filter_map(|window| window.next_change(at)).min()?;
        if is_open(windows, at, request) {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(windows: Value, now: &str, change: impl FnOnce(&mut WindowRequest<'_>)) -> WindowDecision {
        let windows: Vec<SyncWindow> = serde_json::from_value(windows).unwrap();
        let target = Target { servers: vec!["https://kubernetes.default.svc".into()], names: vec!["prod".into()] };
        let mut request = WindowRequest {
            application: "gateway",
            namespace: "prod",
            target: &target,
            manual: false,
            running_since: None,
        };
        change(&mut request);
        decide(&windows, &request, now.parse().unwrap())
    }

    fn opens(windows: Value, now: &str, manual: bool) -> String {
        match run(windows, now, |request| request.manual = manual) {
            WindowDecision::Open => "open".into(),
            WindowDecision::Closed { opens_at, .. } => opens_at.map_or("never".into(), |at| at.to_string()),
        }
    }

    fn night(kind: &str) -> Value {
        json!({"kind": kind, "schedule": "0 22 * * *", "duration": "8h", "applications": ["*"]})
    }

    #[test]
    fn open_and_closed() {
        let (day, dark) = ("2026-01-05T12:00:00Z", "2026-01-05T23:00:00Z");
        let with = |mut window: Value, more: Value| {
            window.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            window
        };
        let manual = json!({"manualSync": true});
        for (windows, now, by_hand, want) in [
            (json!([]), day, false, "open"),
            (json!([night("deny")]), day, false, "open"),
            (json!([night("deny")]), dark, false, "2026-01-06T06:00:00Z"),
            (json!([night("deny")]), "2026-01-05T22:00:00Z", false, "2026-01-06T06:00:00Z"),
            (json!([night("deny")]), "2026-01-06T06:00:00Z", false, "open"),
            (json!([night("deny")]), dark, true, "2026-01-06T06:00:00Z"),
            (json!([with(night("deny"), manual.clone())]), dark, true, "open"),
            (json!([with(night("deny"), manual.clone()), night("deny")]), dark, true, "2026-01-06T06:00:00Z"),
            (json!([night("allow")]), dark, false, "open"),
            (json!([night("allow")]), day, false, "2026-01-05T22:00:00Z"),
            (json!([night("allow")]), day, true, "2026-01-05T22:00:00Z"),
            (json!([with(night("allow"), manual.clone())]), day, true, "open"),
            (json!([night("allow"), night("deny")]), dark, false, "never"),
            (
                json!([night("allow"), {"kind": "allow", "schedule": "0 10 * * *", "duration": "4h", "applications": ["gateway"]}]),
                { day },
                false,
                "open",
            ),
            (json!([with(night("deny"), json!({"applications": ["other"]}))]), dark, false, "open"),
            (json!([with(night("deny"), json!({"timeZone": "Asia/Tokyo"}))]), "2026-01-05T13:30:00Z", false, {
                "2026-01-05T21:00:00Z"
            }),
            (
                json!([{"kind": "deny", "schedule": "* * * * *", "duration": "1h", "clusters": ["prod"]}]),
                day,
                false,
                "never",
            ),
        ] {
            assert_eq!(opens(windows.clone(), now, by_hand), want, "{windows} {now} {by_hand}");
        }
    }

    #[test]
    fn which_applications() {
        let dark = "2026-01-05T23:00:00Z";
        for (lists, want) in [
            (json!({}), false),
            (json!({"applications": ["gate*"]}), true),
            (json!({"applications": ["other"], "namespaces": ["prod"]}), true),
            (json!({"applications": ["other"], "namespaces": ["prod"], "andOperator": true}), false),
            (json!({"applications": ["gateway"], "namespaces": ["prod"], "andOperator": true}), true),
            (json!({"applications": ["gateway"], "clusters": ["nonprod"], "andOperator": true}), false),
            (json!({"clusters": ["https://kubernetes.default.svc"]}), true),
        ] {
            let mut window = json!({"kind": "deny", "schedule": "0 22 * * *", "duration": "8h"});
            window.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
            assert_eq!(run(json!([window]), dark, |_| {}) != WindowDecision::Open, want, "{lists}");
        }
    }

    #[test]
    fn running_operations() {
        let dark = "2026-01-05T23:00:00Z";
        let (before, inside) = ("2026-01-05T21:59:00Z", "2026-01-05T22:30:00Z");
        for (overrun, since, want) in [(true, before, true), (false, before, false), (true, inside, false)] {
            let mut window = night("deny");
            window["syncOverrun"] = json!(overrun);
            let got = run(json!([window]), dark, |request| request.running_since = Some(since.parse().unwrap()));
            assert_eq!(got == WindowDecision::Open, want, "{overrun} {since}");
        }
    }

    #[test]
    fn a_freeze_that_cannot_be_read_is_a_freeze() {
        for change in [
            json!({"schedule": "nonsense"}),
            json!({"duration": "long"}),
            json!({"timeZone": "Mars/Base"}),
            json!({"kind": "dney"}),
        ] {
            for kind in ["deny", "allow"] {
                let mut window = night(kind);
                window.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
                assert_eq!(opens(json!([window]), "2026-01-05T12:00:00Z", true), "never", "{window}");
            }
        }
    }

    #[test]
    fn sentences() {
        let mut window = night("deny");
        window["description"] = json!("holidays");
        window["manualSync"] = json!(true);
        let WindowDecision::Closed { reason, .. } = run(json!([window]), "2026-01-05T23:00:00Z", |_| {}) else {
            panic!()
        };
        assert_eq!(
            reason,
            "Sync operation blocked by sync window: the deny window \"0 22 * * *\" for 8h UTC (holidays) is active; the next sync is \
             possible at 2026-01-06T06:00:00Z; it can be started by hand"
        );
    }
}
