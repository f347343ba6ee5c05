//! Monitoring, logs and traces.

use resources::HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};
use resources::Object;
use serde_json::Value;

use crate::health::rule::{
    Family, Line, OBSERVED, absent, ask, behind_in, by, flag, is, list, no, otherwise, present, rest, rule, when, yes,
};
use crate::health::{Health, condition, text};

const SERVER: &[Line] = &[
    flag("/spec/paused", Suspended).says("paused"),
    behind_in("Reconciled"),
    no("Reconciled", Degraded),
    yes("Available", Healthy),
    // Some pods are not ready, as in every rolling update.
    when("Available", "Degraded", Progressing),
    // None is, as in the beginning.
    no("Available", Degraded).patient(),
    rest("Available"),
];

/// Read by servers, which say whether they take it where this is switched on.
const READ_BY_SERVERS: &[Line] = &[ask(rejected), otherwise(Healthy)];

pub(super) const PROMETHEUS: Family = Family {
    name: "Prometheus operator",
    rules: &[
        rule("monitoring.coreos.com", &["Alertmanager", "Prometheus", "PrometheusAgent", "ThanosRuler"], SERVER),
        rule(
            "monitoring.coreos.com",
            &["AlertmanagerConfig", "PodMonitor", "Probe", "PrometheusRule", "ScrapeConfig", "ServiceMonitor"],
            READ_BY_SERVERS,
        )
        .never(&[Progressing]),
    ],
};

fn rejected(object: &Object) -> Option<Health> {
    list(object, "/status/bindings").iter().find_map(|binding| {
        let conditions = binding.get("conditions").and_then(Value::as_array)?;
        let refused = conditions.iter().map(condition).find(|c| c.kind == "Accepted" && c.is_false())?;
        let server = binding.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(Health::degraded(format!("refused by {server}: {}", refused.text())))
    })
}

/// A part of Grafana: whether its instances have it.
const fn synchronized(condition: &'static str) -> [Line; 6] {
    [
        flag("/spec/suspend", Suspended).says("suspended"),
        yes("InvalidSpec", Degraded),
        yes("NoMatchingInstance", Progressing),
        no(condition, Degraded),
        yes(condition, Healthy),
        rest(condition),
    ]
}

pub(super) const GRAFANA: Family = Family {
    name: "Grafana operator",
    rules: &[
        rule(
            "grafana.integreatly.org",
            &["Grafana"],
            &[
                is("/status/stageStatus", &["failed"], Degraded).details(&["/status/lastMessage", "/status/stage"]),
                is("/status/stageStatus", &["in progress"], Progressing).details(&["/status/stage"]),
                is("/status/stage", &["complete"], Healthy),
                otherwise(Progressing).details(&["/status/stage"]),
            ],
        ),
        rule("grafana.integreatly.org", &["GrafanaAlertRuleGroup"], &synchronized("AlertGroupSynchronized")),
        rule("grafana.integreatly.org", &["GrafanaContactPoint"], &synchronized("ContactPointSynchronized")),
        rule("grafana.integreatly.org", &["GrafanaDashboard"], &synchronized("DashboardSynchronized")),
        rule(
            "grafana.integreatly.org",
            &["GrafanaDatasource"],
            &[
                flag("/spec/suspend", Suspended).says("suspended"),
                yes("InvalidSpec", Degraded),
                yes("NoMatchingInstance", Progressing),
                no("DatasourceSynchronized", Degraded),
                yes("DatasourceSynchronized", Healthy),
                // Before version 5.16 there is no condition.
                flag("/status/NoMatchingInstances", Degraded).says("no Grafana has it"),
                present("/status/lastMessage", Degraded),
                present("/status/hash", Healthy),
                present("/status/uid", Healthy),
                otherwise(Progressing),
            ],
        ),
        rule(
            "grafana-org-operator.kubitus-project.gitlab.io",
            &["*"],
            &[yes("Ready", Healthy), no("Ready", Degraded).patient(), rest("Ready")],
        ),
        rule("grafana.integreatly.org", &["GrafanaFolder"], &synchronized("FolderSynchronized")),
        rule("grafana.integreatly.org", &["GrafanaLibraryPanel"], &synchronized("LibraryPanelSynchronized")),
        rule("grafana.integreatly.org", &["GrafanaMuteTiming"], &synchronized("MuteTimingSynchronized")),
        rule(
            "grafana.integreatly.org",
            &["GrafanaNotificationPolicy"],
            &synchronized("NotificationPolicySynchronized"),
        ),
        rule(
            "grafana.integreatly.org",
            &["GrafanaNotificationTemplate"],
            &synchronized("NotificationTemplateSynchronized"),
        ),
    ],
};

const VICTORIA: &[Line] = &[
    OBSERVED,
    is("/status/updateStatus", &["failed"], Degraded).details(&["/status/reason"]),
    is("/status/updateStatus", &["paused"], Suspended),
    is("/status/updateStatus", &["operational"], Healthy),
    otherwise(Progressing).details(&["/status/updateStatus"]),
];

const VICTORIA_SETTINGS: &[Line] = &[
    // Nobody has taken it yet, or nobody reads this kind.
    absent("/status/updateStatus", Healthy),
    OBSERVED,
    is("/status/updateStatus", &["failed"], Degraded).details(&["/status/reason"]),
    is("/status/updateStatus", &["operational"], Healthy),
    otherwise(Progressing).details(&["/status/updateStatus"]),
];

pub(super) const VICTORIA_METRICS: Family = Family {
    name: "VictoriaMetrics operator",
    rules: &[
        rule(
            "operator.victoriametrics.com",
            &[
                "VLAgent",
                "VLCluster",
                "VLSingle",
                "VMAgent",
                "VMAlert",
                "VMAlertmanager",
                "VMAnomaly",
                "VMAuth",
                "VMCluster",
                "VMSingle",
                "VTCluster",
                "VTSingle",
            ],
            VICTORIA,
        ),
        rule(
            "operator.victoriametrics.com",
            &[
                "VMAlertmanagerConfig",
                "VMNodeScrape",
                "VMPodScrape",
                "VMProbe",
                "VMRule",
                "VMScrapeConfig",
                "VMServiceScrape",
                "VMStaticScrape",
                "VMUser",
            ],
            VICTORIA_SETTINGS,
        ),
    ],
};

const STACK: &[Line] = &[
    yes("ConfigurationError", Degraded),
    yes("Failed", Degraded),
    yes("Degraded", Degraded),
    yes("Ready", Healthy),
    rest("Pending"),
];

/// The objects of Humio and LogScale: whether they are there.
const HUMIO: &[Line] = &[
    is("/status/state", &["Exists"], Healthy),
    is("/status/state", &["ConfigError"], Degraded).details(&["/status/message"]),
    is("/status/state", &["NotFound"], Missing),
    is("/status/state", &["Unknown"], Unknown),
    otherwise(Progressing).details(&["/status/state"]),
];

/// What Coralogix has of it.
const CORALOGIX: &[Line] = &[
    yes("RemoteSynced", Healthy),
    no("RemoteSynced", Degraded).patient(),
    yes("Synced", Healthy),
    no("Synced", Degraded).patient(),
    rest("RemoteSynced"),
];

const FLOW: &[Line] = &[
    present("/status/problems", Degraded).details(&["/status/problems"]),
    flag("/status/active", Healthy),
    otherwise(Progressing),
];

pub(super) const OTHERS: Family = Family {
    name: "Logs, traces, metrics and load tests",
    rules: &[
        rule("coralogix.com", &["Alert", "RecordingRuleGroupSet"], CORALOGIX),
        rule(
            "core.humio.com",
            &["HumioAction", "HumioAlert", "HumioIngestToken", "HumioParser", "HumioRepository", "HumioView"],
            HUMIO,
        ),
        rule(
            "core.humio.com",
            &["HumioCluster"],
            &[
                is("/status/state", &["Running"], Healthy),
                is("/status/state", &["ConfigError"], Degraded).details(&["/status/message"]),
                is("/status/state", &["Unknown"], Unknown),
                otherwise(Progressing).details(&["/status/message", "/status/state"]),
            ],
        ),
        rule(
            "datadoghq.com",
            &["DatadogMetric"],
            &[yes("Error", Degraded), no("Valid", Degraded), yes("Valid", Healthy), rest("Valid")],
        ),
        rule(
            "kiali.io",
            &["Kiali"],
            &[
                yes("Failure", Degraded).patient(),
                yes("Successful", Healthy),
                yes("Running", Healthy).only(&["Successful"]),
                rest("Running"),
            ],
        ),
        rule(
            "jaegertracing.io",
            &["Jaeger"],
            &[
                is("/status/phase", &["Running"], Healthy),
                is("/status/phase", &["Failed"], Degraded),
                otherwise(Progressing).details(&["/status/phase"]),
            ],
        ),
        rule(
            "k6.io",
            &["K6", "TestRun"],
            &[
                is("/status/stage", &["finished"], Healthy),
                is("/status/stage", &["error"], Degraded).details(&["/status/conditions/0/message"]),
                is("/status/stage", &["stopped"], Suspended),
                otherwise(Progressing).details(&["/status/stage"]),
            ],
        ),
        rule("logging.banzaicloud.io", &["ClusterFlow", "ClusterOutput", "Flow", "Output"], FLOW),
        rule("loki.grafana.com", &["LokiStack"], STACK),
        rule("opentelemetry.io", &["OpenTelemetryCollector"], &[by(collector)]).never(&[Degraded]),
        rule("tempo.grafana.com", &["TempoMonolithic", "TempoStack"], STACK),
    ],
};

/// `1/2` replicas; other modes than a Deployment or a StatefulSet have no count.
fn collector(object: &Object) -> Health {
    let replicas = text(object, "/status/scale/statusReplicas");
    match replicas.split_once('/') {
        Some((ready, wanted)) if ready != wanted => Health::progressing(format!("{ready} of {wanted} replicas ready")),
        Some(_) => Health::healthy(),
        None if object.at("/status/version").is_some() => Health::healthy(),
        None => Health::progressing("waiting for its operator"),
    }
}
