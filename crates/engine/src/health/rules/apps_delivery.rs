//! Other ways to deliver applications: Flagger, OpenKruise, KubeVela, kapp-controller, Camel K, Keptn, Spin, OpenFaaS.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended, Unknown};

use crate::health::kruise;
use crate::health::rule::{
    Family, Line, OBSERVED, absent, by, fewer, flag, is, no, otherwise, present, rest, rule, yes,
};

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

/// Versions, tasks and evaluations: `Warning` passes, too.
const fn keptn(status: &'static str) -> [Line; 3] {
    [
        is(status, KEPTN_PASSED, Healthy),
        is(status, &["Failed", "Deprecated"], Degraded),
        otherwise(Progressing).details(KEPTN_STATUS),
    ]
}

const KEPTN_PASSED: &[&str] = &["Succeeded", "Warning"];
const KEPTN_STATUS: &[&str] = &["/status/message", "/status/status", "/status/overallStatus"];

pub(super) const FAMILY: Family = Family {
    name: "Delivery of applications",
    rules: &[
        rule(
            "apps.kruise.io",
            &["AdvancedCronJob"],
            // Before its first time nothing is wrong; the Jobs that it makes say how they went.
            &[
                flag("/spec/paused", Suspended).says("paused"),
                present("/status/active", Progressing).says("a run is under way"),
                otherwise(Healthy),
            ],
        )
        .never(&[Degraded]),
        rule("apps.kruise.io", &["CloneSet"], &[by(kruise::clone_set)]),
        rule("apps.kruise.io", &["DaemonSet"], &[by(kruise::daemon_set)]).never(&[Degraded]),
        rule("apps.kruise.io", &["StatefulSet"], &[by(kruise::stateful_set)]).never(&[Degraded]),
        rule("game.kruise.io", &["GameServerSet"], &[by(kruise::stateful_set)]).never(&[Degraded]),
        rule(
            "game.kruise.io",
            &["GameServer"],
            &[
                is("/status/currentState", &["Ready"], Healthy),
                is("/status/currentState", &["Crash"], Degraded).says("crashed"),
                is("/status/currentState", &["NotReady"], Degraded).says("not ready").patient(),
                is("/status/currentState", &["Unknown"], Unknown),
                otherwise(Progressing).details(&["/status/currentState"]),
            ],
        ),
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
        rule(
            "lifecycle.keptn.sh",
            &["KeptnAppVersion", "KeptnTask", "KeptnWorkloadInstance", "KeptnWorkloadVersion"],
            &keptn("/status/status"),
        ),
        rule("lifecycle.keptn.sh", &["KeptnEvaluation"], &keptn("/status/overallStatus")),
        rule(
            "metrics.keptn.sh",
            &["Analysis"],
            &[
                flag("/status/pass", Healthy),
                flag("/status/warning", Healthy),
                is("/status/state", &["Completed"], Degraded).says("its objectives are not met"),
                otherwise(Progressing).details(&["/status/state"]),
            ],
        ),
        rule(
            "metrics.keptn.sh",
            &["KeptnMetric"],
            &[
                present("/status/errMsg", Degraded),
                present("/status/value", Healthy),
                present("/status/intervalResults", Healthy),
                otherwise(Progressing),
            ],
        ),
        rule(
            "core.spinkube.dev",
            &["SpinApp"],
            &[
                absent("/status", Progressing),
                no("Progressing", Degraded),
                no("Available", Degraded).patient(),
                fewer("/status/readyReplicas", "/spec/replicas"),
                otherwise(Healthy),
            ],
        ),
        rule(
            "openfaas.com",
            &["Function"],
            &[
                OBSERVED,
                yes("Stalled", Degraded),
                // Nobody calls it: it starts again with the next call.
                is("/status/replicas", &["0"], Suspended).says("scaled to nothing until it is called"),
                yes("Ready", Healthy),
                rest("Ready"),
            ],
        ),
        rule(
            "spot.io",
            &["SpotDeployment"],
            &[
                OBSERVED,
                yes("InvalidSpec", Degraded),
                is("/status/phase", &["Healthy", "Completed", "Succeeded", "Finished"], Healthy),
                is("/status/phase", &["Degraded", "Failed", "Error", "Canceled", "Aborted", "Invalid"], Degraded)
                    .details(&["/status/message"]),
                is("/status/phase", &["Paused"], Suspended).details(&["/status/message"]),
                no("Progressing", Degraded),
                present("/status/phase", Progressing).details(&["/status/message"]),
            ],
        ),
        rule("packaging.carvel.dev", &["PackageInstall", "PackageRepository"], KAPP),
    ],
};
