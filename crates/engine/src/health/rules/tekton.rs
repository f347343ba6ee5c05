//! Tekton: runs, triggers and the operator.

use resources::HealthStatus::{Degraded, Healthy, Suspended};

use crate::health::rule::{Family, Line, is, no, rest, rule, yes};

const RUN: &[Line] = &[
    yes("Succeeded", Healthy),
    no("Succeeded", Degraded),
    is("/spec/status", &["PipelineRunPending"], Suspended).says("pending until somebody starts it"),
    rest("Succeeded"),
];

/// False with the reason `Error` is a failure; with others it is on its way.
const COMPONENT: &[Line] = &[yes("Ready", Healthy), no("Ready", Degraded).only(&["Error"]), rest("Ready")];

pub(super) const FAMILY: Family = Family {
    name: "Tekton",
    rules: &[
        rule("tekton.dev", &["CustomRun", "PipelineRun", "TaskRun"], RUN),
        rule(
            "triggers.tekton.dev",
            &["EventListener"],
            &[yes("Ready", Healthy), no("Ready", Degraded), yes("Available", Healthy), rest("Available")],
        ),
        rule(
            "operator.tekton.dev",
            &[
                "TektonAddon",
                "TektonChain",
                "TektonConfig",
                "TektonDashboard",
                "TektonHub",
                "TektonPipeline",
                "TektonResult",
                "TektonTrigger",
            ],
            COMPONENT,
        ),
    ],
};
