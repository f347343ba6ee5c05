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

    /// `now` and whether the window lets a sync through then.
    fn states(window: Value, times: &[(&str, bool)]) {
        for (now, open) in times {
            let got = run(json!([window]), now, |_| {});
            assert_eq!(got == WindowDecision::Open, *open, "{window} {now}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_instant_until_before_its_last() {
        let edges = [
            ("2026-01-05T21:59:59.999Z", false),
            ("2026-01-05T22:00:00Z", true),
            ("2026-01-06T05:59:59.999Z", true),
            ("2026-01-06T06:00:00Z", false),
        ];
        states(night("allow"), &edges);
        states(night("deny"), &edges.map(|(now, active)| (now, !active)));
        // What opens at the time that was told is open at that time.
        for (now, kind) in [("2026-01-05T12:00:00Z", "allow"), ("2026-01-05T23:00:00Z", "deny")] {
            let told = opens(json!([night(kind)]), now, false);
            assert_eq!(opens(json!([night(kind)]), &told, false), "open", "{kind} {told}");
        }
    }

    #[test]
    fn when_clocks_go_forward() {
        // In Berlin 02:00 becomes 03:00 on the 29th of March 2026, at 01:00 UTC.
        let berlin = |kind: &str, schedule: &str, duration: &str| json!({"kind": kind, "schedule": schedule, "duration": duration, "timeZone": "Europe/Berlin", "applications": ["*"]});
        // Ten in the evening is an hour earlier by UTC afterwards, and eight hours are eight hours.
        states(
            berlin("deny", "0 22 * * *", "8h"),
            &[
                ("2026-03-28T20:59:59Z", true),
                ("2026-03-28T21:00:00Z", false),
                ("2026-03-29T04:59:59Z", false),
                ("2026-03-29T05:00:00Z", true),
                ("2026-03-29T19:59:59Z", true),
                ("2026-03-29T20:00:00Z", false),
            ],
        );
        // Half past two is skipped: the window begins as much later as the clocks were moved, and is as long as ever.
        states(
            berlin("allow", "30 2 * * *", "1h"),
            &[
                ("2026-03-28T01:30:00Z", true),
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:29:59Z", false),
                ("2026-03-29T01:30:00Z", true),
                ("2026-03-29T02:29:59Z", true),
                ("2026-03-29T02:30:00Z", false),
                ("2026-03-30T00:30:00Z", true),
            ],
        );
        let skipped = berlin("allow", "30 2 * * *", "1h");
        assert_eq!(opens(json!([skipped]), "2026-03-28T12:00:00Z", false), "2026-03-29T01:30:00Z");
        // A window that begins before and ends after the skipped hour.
        let across = berlin("deny", "30 1 * * *", "1h");
        assert_eq!(opens(json!([across]), "2026-03-29T00:45:00Z", false), "2026-03-29T01:30:00Z");
    }

    #[test]
    fn when_clocks_go_back() {
        // In Berlin 03:00 becomes 02:00 on the 25th of October 2026, at 01:00 UTC.
        let berlin = |kind: &str, schedule: &str, duration: &str| json!({"kind": kind, "schedule": schedule, "duration": duration, "timeZone": "Europe/Berlin", "applications": ["*"]});
        states(
            berlin("deny", "0 22 * * *", "8h"),
            &[
                ("2026-10-24T19:59:59Z", true),
                ("2026-10-24T20:00:00Z", false),
                ("2026-10-25T03:59:59Z", false),
                ("2026-10-25T04:00:00Z", true),
                ("2026-10-25T20:59:59Z", true),
                ("2026-10-25T21:00:00Z", false),
            ],
        );
        // Half past two comes twice: the window begins the first time, and not again an hour later.
        states(
            berlin("allow", "30 2 * * *", "45m"),
            &[
                ("2026-10-25T00:29:59Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:14:59Z", true),
                ("2026-10-25T01:15:00Z", false),
                ("2026-10-25T01:30:00Z", false),
                ("2026-10-26T01:30:00Z", true),
            ],
        );
        let doubled = berlin("allow", "30 2 * * *", "45m");
        assert_eq!(opens(json!([doubled]), "2026-10-25T01:20:00Z", false), "2026-10-26T01:30:00Z");
        // Every hour is every hour, the doubled one twice.
        states(
            berlin("allow", "30 * * * *", "10m"),
            &[("2026-10-25T00:35:00Z", true), ("2026-10-25T01:35:00Z", true), ("2026-10-25T01:20:00Z", false)],
        );
        // The offset is that of the window's time, whatever it is when the question is asked.
        let new_york = json!({
            "kind": "allow", "schedule": "0 9 * * *", "duration": "1h", "timeZone": "America/New_York", "applications": ["*"],
        });
        assert_eq!(opens(json!([new_york]), "2026-10-31T15:00:00Z", false), "2026-11-01T14:00:00Z");
        assert_eq!(opens(json!([new_york]), "2026-03-07T15:00:00Z", false), "2026-03-08T13:00:00Z");
    }

    #[test]
    fn allow_and_deny_together() {
        let window = |kind: &str, schedule: &str, duration: &str, manual: bool| json!({"kind": kind, "schedule": schedule, "duration": duration, "manualSync": manual, "applications": ["*"]});
        let (day, lunch) = (window("allow", "0 8 * * *", "10h", false), window("deny", "0 12 * * *", "1h", false));
        let both = || json!([day, lunch]);
        for (now, want) in [
            ("2026-01-05T07:00:00Z", "2026-01-05T08:00:00Z"),
            ("2026-01-05T09:00:00Z", "open"),
            ("2026-01-05T12:30:00Z", "2026-01-05T13:00:00Z"),
            ("2026-01-05T13:00:00Z", "open"),
            ("2026-01-05T18:00:00Z", "2026-01-06T08:00:00Z"),
        ] {
            assert_eq!(opens(both(), now, false), want, "{now}");
        }
        // When the deny window ends the allow window has ended too.
        let until_evening = window("deny", "0 12 * * *", "8h", false);
        assert_eq!(opens(json!([day, until_evening]), "2026-01-05T12:30:00Z", false), "2026-01-06T08:00:00Z");
        // By hand: every window that is in the way has to say so, and those that are not in the way do not matter.
        let (free_lunch, free_day) =
            (window("deny", "0 12 * * *", "1h", true), window("allow", "0 8 * * *", "10h", true));
        for (windows, now, want) in [
            (json!([day, free_lunch]), "2026-01-05T12:30:00Z", "open"),
            (json!([free_day, lunch]), "2026-01-05T12:30:00Z", "2026-01-05T13:00:00Z"),
            (json!([free_day, free_lunch]), "2026-01-05T07:00:00Z", "open"),
            (json!([day, free_day]), "2026-01-05T07:00:00Z", "2026-01-05T08:00:00Z"),
            (json!([day, free_lunch]), "2026-01-05T07:00:00Z", "2026-01-05T08:00:00Z"),
        ] {
            assert_eq!(opens(windows.clone(), now, true), want, "{windows} {now}");
        }
    }

    #[test]
    fn overrun_needs_the_word_of_every_window_in_the_way() {
        let deny = |overrun: bool| {
            let mut window = night("deny");
            window["syncOverrun"] = json!(overrun);
            window
        };
        let mut allow = json!({"kind": "allow", "schedule": "0 8 * * *", "duration": "10h", "applications": ["*"]});
        let mut closed_allow = allow.clone();
        closed_allow["syncOverrun"] = json!(true);
        let dark = "2026-01-05T23:00:00Z";
        for (windows, now, since, want) in [
            (json!([deny(true), deny(true)]), dark, "2026-01-05T21:00:00Z", true),
            (json!([deny(true), deny(false)]), dark, "2026-01-05T21:00:00Z", false),
            (json!([closed_allow]), "2026-01-05T18:30:00Z", "2026-01-05T17:00:00Z", true),
            (json!([allow]), "2026-01-05T18:30:00Z", "2026-01-05T17:00:00Z", false),
            (json!([closed_allow, allow]), "2026-01-05T18:30:00Z", "2026-01-05T17:00:00Z", false),
            (json!([closed_allow]), "2026-01-05T18:30:00Z", "2026-01-05T07:00:00Z", false),
        ] {
            let got = run(windows.clone(), now, |request| request.running_since = Some(since.parse().unwrap()));
            assert_eq!(got == WindowDecision::Open, want, "{windows} {now} {since}");
        }
        // One that was started by hand may end if it may be started by hand.
        allow["manualSync"] = json!(true);
        let got = run(json!([allow]), dark, |request| {
            request.manual = true;
            request.running_since = Some("2026-01-05T22:30:00Z".parse().unwrap());
        });
        assert_eq!(got, WindowDecision::Open);
    }

    #[test]
    fn sentences_of_allow_windows() {
        let windows = json!([
            {"kind": "allow", "schedule": "0 8 * * 1-5", "duration": "10h", "timeZone": "Europe/Berlin", "applications": ["*"]},
        ]);
        let WindowDecision::Closed { reason, opens_at } = run(windows, "2026-03-28T12:00:00Z", |_| {}) else {
            panic!()
        };
        assert_eq!(
            reason,
            "Sync operation blocked by sync window: the allow window \"0 8 * * 1-5\" for 10h Europe/Berlin is not open; the next sync \
             is possible at 2026-03-30T06:00:00Z"
        );
        assert_eq!(opens_at.map(|at| at.to_string()).as_deref(), Some("2026-03-30T06:00:00Z"));
        let always = json!([{"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"]}]);
        let WindowDecision::Closed { reason, opens_at: None } = run(always, "2026-03-28T12:00:00Z", |_| {}) else {
            panic!()
        };
        assert!(reason.ends_with(" is active"), "{reason}");
    }

    #[test]
    fn and_or() {
        let dark = "2026-01-05T23:00:00Z";
        let (yes, no) = (["gate*"], ["other"]);
        for (application, namespace, cluster) in (0..8).map(|bits| (bits & 1 == 1, bits & 2 == 2, bits & 4 == 4)) {
            let pick = |hit: bool, right: &'static str| if hit { vec![right] } else { no.to_vec() };
            for and in [true, false] {
                let window = json!({
                    "kind": "deny", "schedule": "0 22 * * *", "duration": "8h", "andOperator": and,
                    "applications": pick(application, yes[0]), "namespaces": pick(namespace, "pro?"), "clusters": pick(cluster, "prod"),
                });
                let hits = [application, namespace, cluster];
                let want = if and { hits.iter().all(|hit| *hit) } else { hits.iter().any(|hit| *hit) };
                assert_eq!(run(json!([window]), dark, |_| {}) != WindowDecision::Open, want, "{window}");
            }
        }
    }
}
