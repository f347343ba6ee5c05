//! When a commit reached each step, as the forge and the worker saw it.

use serde_json::Value;

use crate::stage::{Place, Stage};

/// Prints the way of a commit to an application: milliseconds since the webhook was sent.
pub async fn print(stage: &Stage, place: &Place, repository: &str, commit: &str, application: &str) {
    let deliveries = stage.forge.deliveries("acme", repository);
    let delivery = deliveries.iter().rev().find(|delivery| delivery.payload.to_string().contains(commit));
    let start = delivery.map(|delivery| delivery.requested_at_us);
    let reports = stage.reports(place).await;
    let mine = reports.iter().rev().find(|report| {
        report["commit"].as_str() == Some(commit) && report["application"].as_str() == Some(application)
    });
    let mut moments: Vec<(String, i64)> = Vec::new();
    if let Some(answered) = delivery.and_then(|delivery| delivery.responded_at_us) {
        moments.push(("confirmed".into(), answered));
    }
    for step in mine.and_then(|report| report["steps"].as_array()).into_iter().flatten() {
        if let (Some(name), Some(at)) = (step["name"].as_str(), step["atUnixUs"].as_i64()) {
            moments.push((name.replace('_', " "), at));
        }
    }
    moments.sort_by_key(|(_, at)| *at);
    let start = start.or_else(|| moments.first().map(|(_, at)| *at)).unwrap_or_default();
    let line: Vec<String> = moments
        .iter()
        .filter(|(name, _)| {
            ["received", "confirmed", "routed", "rendered", "applied", "healthy", "check posted"]
                .contains(&name.as_str())
        })
        // Messages carry whole milliseconds, so what came at once can seem to have come before.
        .map(|(name, at)| format!("{name} {:.1}", to_millis((at - start).max(0))))
        .collect();
    println!("  {application:14} {} (ms)", line.join(" → "));
}

/// Prints how a repair went: milliseconds since the worker began.
pub async fn print_last(stage: &Stage, place: &Place, application: &str, cause: &str) {
    let reports = stage.reports(place).await;
    let mine: Option<&Value> = reports
        .iter()
        .rev()
        .find(|report| report["application"].as_str() == Some(application) && report["cause"].as_str() == Some(cause));
    let Some(steps) = mine.and_then(|report| report["steps"].as_array()) else { return };
    let at = |name: &str| {
        steps.iter().find(|step| step["name"].as_str() == Some(name)).and_then(|step| step["atUnixUs"].as_i64())
    };
    if let (Some(compared), Some(applied)) = (at("rendered"), at("applied")) {
        println!("  {application:14} noticed → applied {:.1} (ms)", to_millis(applied - compared));
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of one run")]
fn to_millis(micros: i64) -> f64 {
    micros as f64 / 1000.0
}
