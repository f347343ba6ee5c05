//! Other ways to deliver applications: Flagger, OpenKruise, KubeVela, kapp-controller, Camel K.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::apps;
use crate::health::rule::{Family, Line, OBSERVED, by, fewer, flag, is, otherwise, rest, rule, yes};

const KAPP: &[Line] = &[
    flag("/spec/paused", Suspended).says("paused"),
    OBSERVED,
    yes("ReconcileFailed", Degraded).details(&["/status/usefulErrorMessage"]),
    yes("DeleteFailed", Degraded).details(&["/status/usefulErrorMessage"]),
    yes("ReconcileSucceeded", Healthy),
    rest("Reconciling"),
];

const CAMEL: &[Line] = &[
    OBSERVED,
    is("/status/phase", &["Error"], Degraded).details(&["/status/conditions/0/message"]),
    is("/status/phase", &["Running", "Ready"], Healthy),
    otherwise(Progressing).details(&["/status/phase"]),
];

pub(super) const FAMILY: Family = Family {
    name: "Delivery of applications",
    rules: &[
        rule(
            "apps.kruise.io",
            &["CloneSet"],
            &[
                flag("/spec/updateStrategy/paused", Suspended).says("paused"),
                OBSERVED,
                yes("FailedUpdate", Degraded),
                yes("FailedScale", Degraded),
                fewer("/status/readyReplicas", "/spec/replicas"),
                fewer("/status/updatedReadyReplicas", "/status/expectedUpdatedReplicas").says("replicas updated"),
                otherwise(Healthy),
            ],
        ),
        rule("apps.kruise.io", &["DaemonSet"], &[by(apps::daemon_set)]).never(&[Degraded]),
        rule("apps.kruise.io", &["StatefulSet"], &[by(apps::stateful_set)]).never(&[Degraded]),
        rule(
            "apps.kruise.io",
            &["BroadcastJob"],
            &[
                is("/status/phase", &["completed"], Healthy),
                is("/status/phase", &["failed"], Degraded),
                is("/status/phase", &["paused"], Suspended),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "rollouts.kruise.io",
            &["Rollout"],
            &[
                OBSERVED,
                flag("/spec/strategy/paused", Suspended).says("paused"),
                is("/status/phase", &["Disabled", "Disabling"], Suspended).says("disabled"),
                is("/status/phase", &["Healthy"], Healthy),
                is("/status/canaryStatus/currentStepState", &["StepPaused"], Suspended).details(&["/status/message"]),
                otherwise(Progressing).details(&["/status/message", "/status/phase"]),
            ],
        )
        // The workload says what fails.
        .never(&[Degraded]),
        rule("camel.apache.org", &["Integration", "IntegrationKit", "IntegrationPlatform", "Pipe"], CAMEL),
        rule(
            "core.oam.dev",
            &["Application"],
            &[
                OBSERVED,
                is("/status/status", &["running"], Healthy),
                is("/status/status", &["workflowSuspending"], Suspended).says("its workflow is suspended"),
                is("/status/status", &["unhealthy", "workflowFailed", "workflowTerminated"], Degraded)
                    .details(&["/status/workflow/message"]),
                otherwise(Progressing).details(&["/status/status"]),
            ],
        ),
        rule(
            "flagger.app",
            &["Canary"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                is("/status/phase", &["Initialized", "Succeeded"], Healthy),
                is("/status/phase", &["Failed"], Degraded).details(&["/status/conditions/0/message"]),
                is("/status/phase", &["Waiting", "WaitingPromotion"], Suspended)
                    .details(&["/status/conditions/0/message"]),
                otherwise(Progressing).details(&["/status/conditions/0/message", "/status/phase"]),
            ],
        ),
        rule("kappctrl.k14s.io", &["App"], KAPP),
        rule("packaging.carvel.dev", &["PackageInstall", "PackageRepository"], KAPP),
    ],
};
