//! Batch, data processing and machine learning: Spark, Flink, Ray, Kubeflow, KServe, Kueue, Volcano, Temporal.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{Family, Line, OBSERVED, READY, ask, flag, is, no, otherwise, present, rest, rule, yes};
use crate::health::{Health, condition};

const TRAINING: &[Line] = &[
    yes("Failed", Degraded),
    yes("Succeeded", Healthy),
    yes("Suspended", Suspended),
    yes("Restarting", Progressing),
    yes("Running", Progressing),
    rest("Created"),
];

const ENDED: &[Line] = &[
    yes("Failed", Degraded),
    yes("Completed", Healthy),
    yes("Complete", Healthy),
    yes("Suspended", Suspended),
    otherwise(Progressing),
];

const FLINK: &[Line] = &[
    OBSERVED,
    is("/status/jobStatus/state", &["FAILED", "FAILING"], Degraded).says("the job failed").details(&["/status/error"]),
    is("/status/lifecycleState", &["FAILED", "ROLLED_BACK"], Degraded).details(&["/status/error"]),
    is("/status/jobManagerDeploymentStatus", &["ERROR"], Degraded).details(&["/status/error"]),
    is("/status/lifecycleState", &["SUSPENDED"], Suspended),
    is("/status/lifecycleState", &["STABLE"], Healthy),
    is("/status/lifecycleState", &["CREATED", "UPGRADING", "ROLLING_BACK"], Progressing),
    // Before version 1.2 there is no lifecycle, and what is deployed becomes stable only while somebody looks.
    is("/status/reconciliationStatus/state", &["ROLLED_BACK"], Degraded)
        .says("rolled back")
        .details(&["/status/error"]),
    is("/status/reconciliationStatus/state", &["ROLLING_BACK", "UPGRADING"], Progressing),
    is("/spec/job/state", &["suspended"], Suspended).says("suspended"),
    is("/status/jobStatus/state", &["FINISHED"], Healthy),
    is("/status/jobStatus/state", &["CREATED", "INITIALIZING", "RECONCILING", "RESTARTING"], Progressing),
    is("/status/jobManagerDeploymentStatus", &["READY"], Healthy),
    otherwise(Progressing).details(&["/status/lifecycleState", "/status/jobManagerDeploymentStatus"]),
];

const QUEUE: &[Line] = &[
    is("/spec/stopPolicy", &["Hold", "HoldAndDrain"], Suspended).says("stopped"),
    yes("Active", Healthy),
    no("Active", Degraded),
    rest("Active"),
];

const TEMPORAL: &[Line] =
    &[no("ReconcileSuccess", Degraded), yes("ReconcileError", Degraded), yes("Ready", Healthy), rest("Ready")];

pub(super) const FAMILY: Family = Family {
    name: "Batch, data and machine learning",
    rules: &[
        rule(
            "batch.volcano.sh",
            &["Job"],
            &[
                is("/status/state/phase", &["Completed"], Healthy),
                is("/status/state/phase", &["Aborted", "Failed", "Terminated"], Degraded)
                    .details(&["/status/state/message"]),
                otherwise(Progressing).details(&["/status/state/phase"]),
            ],
        ),
        rule(
            "scheduling.volcano.sh",
            &["Queue"],
            &[
                is("/status/state", &["Open"], Healthy),
                is("/status/state", &["Closed", "Closing"], Suspended),
                is("/status/state", &["Unknown"], Degraded),
                otherwise(Progressing),
            ],
        ),
        rule("flink.apache.org", &["FlinkDeployment", "FlinkSessionJob"], FLINK),
        rule("jobset.x-k8s.io", &["JobSet"], ENDED),
        rule("kubeflow.org", &["JAXJob", "MPIJob", "PaddleJob", "PyTorchJob", "TFJob", "XGBoostJob"], TRAINING),
        rule("kubeflow.org", &["Experiment"], TRAINING),
        rule(
            "kubeflow.org",
            &["Notebook"],
            &[
                present("/metadata/annotations/kubeflow-resource-stopped", Suspended).says("stopped"),
                is(
                    "/status/containerState/waiting/reason",
                    &[
                        "CrashLoopBackOff",
                        "CreateContainerConfigError",
                        "ErrImagePull",
                        "ImagePullBackOff",
                        "InvalidImageName",
                    ],
                    Degraded,
                )
                .details(&["/status/containerState/waiting/message"]),
                present("/status/containerState/terminated", Degraded)
                    .says("the container ended")
                    .details(&["/status/containerState/terminated/reason"]),
                is("/status/readyReplicas", &["1"], Healthy),
                otherwise(Progressing).details(&["/status/containerState/waiting/reason"]),
            ],
        ),
        rule("trainer.kubeflow.org", &["TrainJob"], ENDED),
        rule("kueue.x-k8s.io", &["AdmissionCheck", "ClusterQueue", "LocalQueue"], QUEUE),
        rule(
            "leaderworkerset.x-k8s.io",
            &["LeaderWorkerSet"],
            &[yes("UpdateInProgress", Progressing), yes("Available", Healthy), rest("Progressing")],
        )
        // Its pods say what fails.
        .never(&[Degraded]),
        rule(
            "ray.io",
            &["RayCluster"],
            &[
                OBSERVED,
                yes("ReplicaFailure", Degraded),
                is("/status/state", &["failed", "unhealthy"], Degraded).details(&["/status/reason"]),
                is("/status/state", &["suspended"], Suspended),
                is("/status/state", &["ready"], Healthy),
                rest("RayClusterProvisioned"),
            ],
        ),
        rule(
            "ray.io",
            &["RayJob"],
            &[
                is("/status/jobStatus", &["FAILED"], Degraded).says("the job failed").details(&["/status/message"]),
                is("/status/jobDeploymentStatus", &["Failed", "ValidationFailed"], Degraded)
                    .details(&["/status/message", "/status/reason"]),
                is("/status/jobDeploymentStatus", &["Complete"], Healthy),
                is("/status/jobDeploymentStatus", &["Suspended"], Suspended),
                otherwise(Progressing).details(&["/status/jobDeploymentStatus"]),
            ],
        ),
        rule(
            "ray.io",
            &["RayService"],
            &[
                OBSERVED,
                ask(failed_serve_application),
                yes("Ready", Healthy),
                no("Ready", Progressing),
                is("/status/serviceStatus", &["Running"], Healthy),
                otherwise(Progressing).details(&["/status/serviceStatus"]),
            ],
        ),
        rule(
            "serving.kserve.io",
            &["InferenceService"],
            &[
                yes("Stopped", Suspended),
                OBSERVED,
                is("/status/modelStatus/transitionStatus", &["BlockedByFailedLoad", "InvalidSpec"], Degraded)
                    .details(&["/status/modelStatus/lastFailureInfo/message"]),
                yes("Ready", Healthy),
                is("/status/modelStatus/transitionStatus", &["InProgress"], Progressing)
                    .says("the model is being loaded"),
                no("Ready", Progressing).only(&["MinimumReplicasUnavailable"]),
                no("Ready", Degraded),
                rest("Ready"),
            ],
        ),
        rule("serving.kserve.io", &["InferenceGraph", "TrainedModel"], READY),
        rule(
            "sparkoperator.k8s.io",
            &["SparkApplication"],
            &[
                is("/status/applicationState/state", &["COMPLETED", "RUNNING"], Healthy),
                is("/status/applicationState/state", &["FAILED", "SUBMISSION_FAILED", "UNKNOWN"], Degraded)
                    .details(&["/status/applicationState/errorMessage"]),
                is("/status/applicationState/state", &["SUSPENDED"], Suspended),
                otherwise(Progressing).details(&["/status/applicationState/state"]),
            ],
        ),
        rule(
            "sparkoperator.k8s.io",
            &["ScheduledSparkApplication"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                is("/status/scheduleState", &["Scheduled"], Healthy),
                is("/status/scheduleState", &["FailedValidation"], Degraded).details(&["/status/reason"]),
                otherwise(Progressing),
            ],
        ),
        rule("temporal.io", &["TemporalCluster", "TemporalNamespace"], TEMPORAL),
    ],
};

/// An application of Ray Serve that could not be deployed, in the cluster that serves or in the one that is to follow.
fn failed_serve_application(object: &Object) -> Option<Health> {
    ["/status/pendingServiceStatus", "/status/activeServiceStatus"].into_iter().find_map(|at| {
        let applications = object.at(at)?.get("applicationStatuses")?.as_object()?;
        applications.iter().find_map(|(name, application)| {
            let status = application.get("status").and_then(Value::as_str)?;
            let failed = matches!(status, "DEPLOY_FAILED" | "UNHEALTHY");
            let text = condition(application).message;
            let text = if text.is_empty() { status } else { text };
            failed.then(|| Health::degraded(format!("application {name}: {text}")))
        })
    })
}
