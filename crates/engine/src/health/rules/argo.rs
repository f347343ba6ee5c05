//! Argo: CD, Rollouts, Workflows, Events, and Numaflow and Kargo, which come from the same house.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::argo::{application, application_set};
use crate::health::rule::{Family, Line, OBSERVED, behind, by, flag, is, no, otherwise, rest, rule, yes};

const RUN: &[Line] = &[
    is("/status/phase", &["Successful"], Healthy),
    is("/status/phase", &["Failed", "Error"], Degraded).details(&["/status/message"]),
    // Neither a success nor a failure: a person has to look.
    is("/status/phase", &["Inconclusive"], Suspended).details(&["/status/message"]),
    otherwise(Progressing).details(&["/status/message", "/status/phase"]),
];

const NUMAFLOW: &[Line] = &[
    OBSERVED,
    is("/status/phase", &["Failed"], Degraded).details(&["/status/message"]),
    is("/status/phase", &["Paused"], Suspended).says("paused"),
    is("/status/phase", &["Running"], Healthy),
    otherwise(Progressing).details(&["/status/message", "/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Argo",
    rules: &[
        rule("argoproj.io", &["Application"], &[by(application)]),
        rule("argoproj.io", &["ApplicationSet"], &[by(application_set)]),
        rule(
            "argoproj.io",
            &["Rollout"],
            &[
                flag("/spec/paused", Suspended).says("paused"),
                // A generation as text; very old versions wrote a hash, which says nothing.
                behind("/status/observedGeneration"),
                is("/status/phase", &["Healthy"], Healthy),
                is("/status/phase", &["Degraded"], Degraded).details(&["/status/message"]),
                is("/status/phase", &["Paused"], Suspended).details(&["/status/message"]),
                yes("InvalidSpec", Degraded),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule("argoproj.io", &["AnalysisRun", "Experiment"], RUN),
        rule(
            "argoproj.io",
            &["Workflow"],
            &[
                is("/status/phase", &["Succeeded"], Healthy),
                is("/status/phase", &["Failed", "Error"], Degraded).details(&["/status/message"]),
                flag("/spec/suspend", Suspended).says("suspended"),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule(
            "argoproj.io",
            &["CronWorkflow"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                yes("SpecError", Degraded),
                yes("SubmissionError", Degraded),
                is("/status/phase", &["Stopped"], Suspended).says("stopped"),
                otherwise(Healthy),
            ],
        )
        // It waits for its time, which is what it is for.
        .never(&[Progressing]),
        rule(
            "argoproj.io",
            &["EventBus"],
            &[no("Configured", Degraded), no("Deployed", Degraded), yes("Deployed", Healthy), rest("Deployed")],
        ),
        rule(
            "argoproj.io",
            &["EventSource"],
            &[no("SourcesProvided", Degraded), no("Deployed", Degraded), yes("Deployed", Healthy), rest("Deployed")],
        ),
        rule(
            "argoproj.io",
            &["Sensor"],
            &[
                no("DependenciesProvided", Degraded),
                no("TriggersProvided", Degraded),
                no("Deployed", Degraded),
                yes("Deployed", Healthy),
                rest("Deployed"),
            ],
        ),
        rule("numaflow.numaproj.io", &["InterStepBufferService", "MonoVertex", "Pipeline", "Vertex"], NUMAFLOW),
        rule(
            "kargo.akuity.io",
            &["Promotion"],
            &[
                is("/status/phase", &["Succeeded"], Healthy),
                is("/status/phase", &["Failed", "Errored", "Aborted"], Degraded).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule(
            "kargo.akuity.io",
            &["Stage"],
            &[
                OBSERVED,
                is("/status/health/status", &["Unhealthy"], Degraded).details(&["/status/health/issues"]),
                is("/status/health/status", &["Healthy", "NotApplicable"], Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "kargo.akuity.io",
            &["Warehouse"],
            &[OBSERVED, no("Healthy", Degraded), yes("Reconciling", Progressing), yes("Ready", Healthy), rest("Ready")],
        ),
    ],
};
