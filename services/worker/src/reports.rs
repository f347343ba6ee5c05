//! What each reconcile did, told to the console over the bus and kept for a while for whoever asks this worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bus::{Bus, Message, names};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wire::{Envelope, Report, TraceParent};

use crate::context::locked;

/// So many reports are kept.
const KEPT: usize = 4096;

/// The recent reports; the newest last.
#[derive(Debug)]
pub struct ReportLog {
    kept: Mutex<VecDeque<Report>>,
    queue: mpsc::UnboundedSender<(Report, Option<TraceParent>)>,
}

impl ReportLog {
    /// Starts the task that publishes.
    pub fn start(bus: Arc<dyn Bus>) -> Self {
        let (queue, mut reports) = mpsc::unbounded_channel::<(Report, Option<TraceParent>)>();
        tokio::spawn(async move {
            while let Some((report, trace)) = reports.recv().await {
                let key = format!("{}.{}", report.cluster, report.cause);
                let mut envelope = Envelope::report(&report);
                envelope.traceparent = trace.map(|trace| trace.child());
                let message = Message::from(envelope);
                // The console rebuilds what it missed from the Applications: a lost report costs it a moment.
                if let Err(error) = bus.publish(names::REPORTS, &key, message).await {
                    tracing::debug!(%error, "report.not_published");
                }
            }
        });
        Self { kept: Mutex::default(), queue }
    }

    /// Adds a report, which belongs to the trace of the delivery that caused it.
    pub fn add(&self, report: Report, trace: Option<TraceParent>) {
        let mut kept = locked(&self.kept);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(report.clone());
        drop(kept);
        let _ = self.queue.send((report, trace));
    }

    /// The forge has a check: notes it in every report of that commit and application (the cluster's own check: in all of
    /// the commit's).
    pub fn posted(&self, commit: &str, application: &str) {
        let now = Timestamp::now().as_microsecond();
        for report in locked(&self.kept).iter_mut().rev().take(512) {
            let id = format!("{}/{}", report.application_namespace, report.application_name);
            let done = report.steps.iter().any(|step| step.name == "check_posted");
            if report.commit == commit && (application.is_empty() || id == application) && !done {
                report.steps.push(wire::Step { name: "check_posted".into(), at_unix_us: now });
            }
        }
    }

    /// As JSON, for the admin port.
    pub fn to_json(&self) -> Value {
        locked(&self.kept).iter().map(to_json).collect()
    }
}

fn to_json(report: &Report) -> Value {
    let steps: Vec<Value> =
        report.steps.iter().map(|step| json!({ "name": step.name, "atUnixUs": step.at_unix_us })).collect();
    json!({
        "cluster": report.cluster,
        "namespace": report.application_namespace,
        "application": report.application_name,
        "delivery": report.delivery_id,
        "repository": report.repository,
        "commit": report.commit,
        "cause": report.cause,
        "outcome": report.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase(),
        "message": report.message,
        "sync": report.sync_status,
        "health": report.health_status,
        "created": report.created,
        "changed": report.changed,
        "pruned": report.pruned,
        "steps": steps,
    })
}
