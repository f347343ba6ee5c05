//! Argo: CD, Rollouts, Workflows, Events, and Numaflow and Kargo, which come from the same house.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended, Unknown};

use crate::health::argo::{application, application_set, numaflow, promoter};
use crate::health::rollout::rollout;
use crate::health::rule::{
    Family, Line, OBSERVED, by, by_age, flag, is, no, otherwise, present, rest, rule, when, yes,
};

const RUN: &[Line] = &[
    is("/status/phase", &["Successful"], Healthy),
    is("/status/phase", &["Failed", "Error"], Degraded).details(&["/status/message"]),
    // Neither a success nor a failure: a person has to look.
    is("/status/phase", &["Inconclusive"], Suspended).details(&["/status/message"]),
    otherwise(Progressing).details(&["/status/message", "/status/phase"]),
];

const NUMAFLOW: &[Line] = &[by_age(numaflow)];

const NUMAPLANE: &[Line] = &[
    OBSERVED,
    is("/status/phase", &["Failed"], Degraded).details(&["/status/message"]),
    no("ProgressiveUpgradeSucceeded", Degraded),
    no("ChildResourceDeployed", Degraded).patient(),
    no("ChildResourcesHealthy", Progressing).only(&["Progressing"]),
    no("ChildResourcesHealthy", Degraded).patient(),
    when("ChildResourcesHealthy", "Unknown", Progressing),
    present("/status/upgradeInProgress", Progressing).says("an upgrade is under way"),
    is("/status/phase", &["Deployed"], Healthy),
    otherwise(Progressing).details(&["/status/message", "/status/phase"]),
];

/// Providers and repositories only say whether they could be reached.
const PROMOTER: &[Line] = &[by(promoter)];

pub(super) const FAMILY: Family = Family {
    name: "Argo",
    rules: &[
        rule("argoproj.io", &["Application"], &[by(application)]),
        rule("argoproj.io", &["ApplicationSet"], &[by(application_set)]),
        rule("argoproj.io", &["Rollout"], &[by(rollout)]),
        rule(
            "argoproj.io",
            &["AnalysisRun"],
            &[
                is("/status/phase", &["Successful"], Healthy),
                is("/status/phase", &["Failed", "Error"], Degraded).details(&["/status/message"]),
                // Nobody knows until a person has looked.
                is("/status/phase", &["Inconclusive"], Unknown).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        ),
        rule("argoproj.io", &["Experiment"], RUN),
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
            "numaplane.numaproj.io",
            &["ISBServiceRollout", "MonoVertexRollout", "NumaflowControllerRollout", "PipelineRollout"],
            NUMAPLANE,
        ),
        rule(
            "promoter.argoproj.io",
            &[
                "ArgoCDCommitStatus",
                "ChangeTransferPolicy",
                "ClusterScmProvider",
                "CommitStatus",
                "GitCommitStatus",
                "GitRepository",
                "PromotionStrategy",
                "PullRequest",
                "ScmProvider",
                "TimedCommitStatus",
                "WebRequestCommitStatus",
            ],
            PROMOTER,
        ),
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
