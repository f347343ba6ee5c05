//! KEDA and the vertical autoscaler.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, READY, no, rest, rule, when, yes};

const SCALED: &[Line] = &[
    yes("Paused", Suspended),
    yes("Fallback", Degraded),
    yes("Ready", Healthy),
    // The first metrics are on their way.
    no("Ready", Progressing).only(&["HPAMetricsUnavailable", "MetricsUnavailable"]),
    // What it scales comes with the same push.
    no("Ready", Degraded).patient(),
    rest("Ready"),
];

pub(super) const FAMILY: Family = Family {
    name: "Autoscaling",
    rules: &[
        rule(
            "autoscaling.k8s.io",
            &["VerticalPodAutoscaler"],
            &[
                yes("ConfigUnsupported", Degraded),
                yes("NoPodsMatched", Progressing),
                yes("RecommendationProvided", Healthy),
                rest("RecommendationProvided"),
            ],
        ),
        rule("http.keda.sh", &["HTTPScaledObject"], READY),
        rule(
            "keda.sh",
            &["ScaledJob"],
            &[
                yes("Paused", Suspended),
                yes("Fallback", Degraded),
                yes("Ready", Healthy),
                no("Ready", Degraded).patient(),
                // KEDA decides within seconds, if it runs.
                when("Ready", "Unknown", Degraded).patient(),
                rest("Ready"),
            ],
        ),
        rule("keda.sh", &["ScaledObject"], SCALED),
    ],
};
