//! KEDA and the vertical autoscaler.

use resources::HealthStatus::{Degraded, Healthy, Progressing, Suspended};

use crate::health::rule::{Family, Line, READY, no, rest, rule, yes};

const SCALED: &[Line] =
    &[yes("Paused", Suspended), yes("Fallback", Degraded), yes("Ready", Healthy), no("Ready", Degraded), rest("Ready")];

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
        rule("keda.sh", &["ScaledJob", "ScaledObject"], SCALED),
    ],
};
